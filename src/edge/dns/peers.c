#include "edge/dns/peers.h"

#include <string.h>

#include "base/mem.h"
#include "store/store.h"

struct dns_peers {
	size_t refs;
	struct dns_tsig_key *keys;
	struct dns_secondary *secondaries;
	struct dns_transfers allowed;
};

const struct dns_tsig_key *dns_peers_key(const struct dns_peers *p, const char *name)
{
	for (size_t i = 0; i < p->allowed.key_count; i++)
		if (strcasecmp(p->keys[i].name, name) == 0)
			return &p->keys[i];
	return NULL;
}

struct dns_peers *dns_peers_new(const struct dns_tsig_key *keys, size_t key_count,
				const struct dns_peer *peers, size_t peer_count)
{
	struct dns_peers *p = mem_alloc(sizeof(*p));

	p->refs = 1;
	p->keys = mem_alloc_array(key_count + 1, sizeof(p->keys[0]));
	p->secondaries = mem_alloc_array(peer_count + 1, sizeof(p->secondaries[0]));
	p->allowed.keys = p->keys;
	p->allowed.secondaries = p->secondaries;
	for (size_t i = 0; i < key_count; i++)
		p->keys[p->allowed.key_count++] = (struct dns_tsig_key){
			mem_strdup(keys[i].name),
			dns_tsig_algorithm(keys[i].algorithm),
			mem_strdup(keys[i].secret),
		};
	for (size_t i = 0; i < peer_count; i++) {
		const struct dns_tsig_key *key = dns_peers_key(p, peers[i].key);
		if (key)
			p->secondaries[p->allowed.secondary_count++] = (struct dns_secondary){
				.key = key,
				.notify = peers[i].notify,
			};
	}
	return p;
}

struct dns_peers *dns_peers_ref(struct dns_peers *p)
{
	__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	return p;
}

struct dns_peers *dns_peers_unref(struct dns_peers *p)
{
	if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return NULL;
	for (size_t i = 0; i < p->allowed.key_count; i++) {
		char *secret = (char *)(uintptr_t)p->keys[i].secret;
		secret_wipe(secret, strlen(secret));
		mem_free(secret);
		mem_free((char *)(uintptr_t)p->keys[i].name);
	}
	mem_free(p->keys);
	mem_free(p->secondaries);
	return mem_free(p);
}

const struct dns_transfers *dns_peers_allowed(const struct dns_peers *p)
{
	return &p->allowed;
}

/* --- From the store --------------------------------------------------------------------------- */

static struct dns_peers *make(const struct store_dns_key *keys, size_t key_count,
			      const struct store_dns_secondary *secondaries, size_t secondary_count)
{
	struct dns_tsig_key *list = mem_alloc_array(key_count + 1, sizeof(list[0]));
	struct dns_peer *peers = mem_alloc_array(secondary_count + 1, sizeof(peers[0]));
	size_t count = 0;

	for (size_t i = 0; i < key_count; i++)
		if (dns_tsig_algorithm(keys[i].algorithm))
			list[count++] = (struct dns_tsig_key){
				keys[i].name,
				keys[i].algorithm,
				(const char *)keys[i].secret.ptr,
			};
	for (size_t i = 0; i < secondary_count; i++) {
		peers[i].key = secondaries[i].key;
		if (address_parse(bytes_str(secondaries[i].address), &peers[i].notify, NULL) < 0)
			peers[i].notify.len = 0;
	}
	struct dns_peers *p = dns_peers_new(list, count, peers, secondary_count);
	mem_free(list);
	mem_free(peers);
	return p;
}

struct dns_peers *dns_peers_load(struct store *store, struct err *err)
{
	struct store_dns_key *keys = NULL;
	struct store_dns_secondary *secondaries = NULL;
	size_t key_count = 0, secondary_count = 0;
	struct dns_peers *p = NULL;

	int r = store_dns_key_list(store, &keys, &key_count, err);
	if (r == 0)
		r = store_dns_secondary_list(store, &secondaries, &secondary_count, err);
	if (r == 0)
		p = make(keys, key_count, secondaries, secondary_count);
	for (size_t i = 0; i < key_count; i++)
		store_dns_key_done(&keys[i]);
	for (size_t i = 0; i < secondary_count; i++)
		store_dns_secondary_done(&secondaries[i]);
	mem_free(keys);
	mem_free(secondaries);
	return p;
}
