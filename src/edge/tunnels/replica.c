#include "edge/tunnels/replica.h"

#include "base/encode.h"
#include "base/mem.h"
#include "transport/transport.h"

static struct shared_set replicas = SHARED_SET_INIT;

/* --- What a connector says about itself ------------------------------------------------------- */

/* "feature=" in front, cut off. */
static bool value_of(struct bytes feature, const char *name, struct bytes *ret)
{
	size_t len = strlen(name);

	if (!bytes_starts_with(feature, bytes_str(name)) || feature.len == len ||
	    feature.ptr[len] != '=')
		return false;
	*ret = bytes_from(feature, len + 1);
	return true;
}

void replica_facts_read(struct replica_facts *f, const struct bytes *features, size_t count,
			const struct uuid *connector, struct bytes secret)
{
	uint8_t mac[HASH_MAC_BYTES];
	struct bytes value;
	uint64_t weight;

	*f = (struct replica_facts){ .weight = 1 };
	for (size_t i = 0; i < count; i++) {
		if (bytes_eq(features[i], BYTES_LIT(FEATURE_BACKUP)))
			f->is_backup = true;
		else if (value_of(features[i], FEATURE_WEIGHT, &value) &&
			 bytes_to_u64(value, &weight) && weight >= 1 &&
			 weight <= LIMIT_REPLICA_WEIGHT)
			f->weight = (uint32_t)weight;
		else if (value_of(features[i], FEATURE_LABEL, &value) && feature_is_label(value))
			memcpy(f->label, value.ptr, value.len);
	}
	struct bytes name = f->label[0] ? bytes_str(f->label) : uuid_bytes(connector);
	hash_mac(secret, name, mac);
	f->tag[base64_encode(BASE64_URL_RAW, bytes_of(mac, sizeof(mac)), f->tag)] = 0;
}

/* --- Life ------------------------------------------------------------------------------------- */

struct making {
	const struct uuid *tunnel, *connector;
	const struct replica_facts *facts;
	size_t worker_count;
};

static struct shared *make(const void *arg)
{
	const struct making *m = arg;
	struct replica *r = mem_alloc(sizeof(*r));

	r->tunnel = *m->tunnel;
	r->connector = *m->connector;
	r->facts = *m->facts;
	if (r->facts.weight == 0)
		r->facts.weight = 1;
	struct bytes name =
		r->facts.label[0] ? bytes_str(r->facts.label) : uuid_bytes(&r->connector);
	r->identity = hash_keyed(r->tunnel.b, name);
	r->worker_count = m->worker_count;
	r->load = mem_alloc_array(m->worker_count, sizeof(*r->load));
	return &r->shared;
}

struct replica *replica_get(const struct uuid *tunnel, const struct uuid *connector,
			    const struct replica_facts *facts, size_t worker_count)
{
	const struct making m = { tunnel, connector, facts, worker_count };
	struct uuid name[2] = { *tunnel, *connector };

	return CONTAINER_OF(shared_get(&replicas, bytes_of(name, sizeof(name)), make, &m),
			    struct replica, shared);
}

struct replica *replica_ref(struct replica *r)
{
	shared_ref(&r->shared);
	return r;
}

static void destroy(struct shared *s)
{
	struct replica *r = CONTAINER_OF(s, struct replica, shared);

	mem_free(r->load);
	mem_free(r);
}

struct replica *replica_unref(struct replica *r)
{
	if (r)
		shared_unref(&r->shared, destroy);
	return NULL;
}
