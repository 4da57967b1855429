#include "edge/access/identity.h"

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"

/* Members of one list: a person in more groups than this is rare, and all are looked at in each request. */
#define LIST_MAX 2048

struct held {
	struct access_identity identity; /* first */
	atomic_size_t refs;
	struct arena arena;
	json_t *json; /* owned: claims are borrowed from it */
};

static struct bytes text_of(const json_t *value)
{
	return bytes_of(json_string_value(value), json_string_length(value));
}

/* The texts of a list; what is no text is left out. They live in the JSON. */
static const struct bytes *texts_of(struct arena *arena, const json_t *list, size_t *ret_count)
{
	size_t count = json_array_size(list), kept = 0;
	struct bytes *texts;

	if (count > LIST_MAX)
		count = LIST_MAX;
	texts = arena_alloc(arena, count * sizeof(*texts) + 1);
	for (size_t i = 0; i < count; i++)
		if (json_is_string(json_array_get(list, i)))
			texts[kept++] = text_of(json_array_get(list, i));
	*ret_count = kept;
	return texts;
}

static size_t count_memberships(const json_t *list)
{
	size_t count = 0;

	for (size_t i = 0; i < json_array_size(list); i++)
		count += 1 + json_array_size(json_object_get(json_array_get(list, i), "teams"));
	return count < LIST_MAX ? count : LIST_MAX;
}

/* One entry for the organisation, one for each of its teams. */
static void take_memberships(struct arena *arena, const json_t *list, struct access_facts *f)
{
	size_t max = count_memberships(list);
	struct access_membership *m = arena_alloc(arena, max * sizeof(*m) + 1);

	f->memberships = m;
	for (size_t i = 0; i < json_array_size(list) && f->membership_count < max; i++) {
		const json_t *one = json_array_get(list, i);
		const json_t *teams = json_object_get(one, "teams");
		struct bytes name = text_of(json_object_get(one, "name"));

		if (name.len == 0)
			continue;
		m[f->membership_count++] = (struct access_membership){ name, BYTES_NONE };
		for (size_t k = 0; k < json_array_size(teams) && f->membership_count < max; k++)
			m[f->membership_count++] =
				(struct access_membership){ name,
							    text_of(json_array_get(teams, k)) };
	}
}

struct access_identity *access_identity_new(const char *session, const char *person,
					    struct bytes json, usec created_at, usec expires_at,
					    struct err *err)
{
	struct access_facts *f;
	struct held *h;
	json_t *all;

	if (json.len > ACCESS_IDENTITY_BYTES) {
		err_set(err, E_LIMIT, "the identity has more than %d bytes", ACCESS_IDENTITY_BYTES);
		return NULL;
	}
	all = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(all) || json_string_length(json_object_get(all, "email")) == 0) {
		json_decref(all);
		err_set(err, E_PARSE, "the identity cannot be read, or has no e-mail address");
		return NULL;
	}
	h = mem_alloc(sizeof(*h));
	atomic_init(&h->refs, 1);
	arena_init(&h->arena);
	h->json = all;
	h->identity.session = arena_strdup(&h->arena, bytes_str(session));
	h->identity.person = arena_strdup(&h->arena, bytes_str(person));
	h->identity.name = arena_strdup(&h->arena, text_of(json_object_get(all, "name")));
	h->identity.created_at = created_at;
	h->identity.expires_at = expires_at;
	f = &h->identity.facts;
	f->has_identity = true;
	f->email = text_of(json_object_get(all, "email"));
	f->idp = text_of(json_object_get(all, "idp"));
	f->methods = texts_of(&h->arena, json_object_get(all, "amr"), &f->method_count);
	f->groups = texts_of(&h->arena, json_object_get(all, "groups"), &f->group_count);
	take_memberships(&h->arena, json_object_get(all, "organizations"), f);
	f->claims = json_object_get(all, "claims");
	return &h->identity;
}

struct access_identity *access_identity_ref(struct access_identity *i)
{
	struct held *h = CONTAINER_OF(i, struct held, identity);

	atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
	return i;
}

struct access_identity *access_identity_unref(struct access_identity *i)
{
	struct held *h;

	if (!i)
		return NULL;
	h = CONTAINER_OF(i, struct held, identity);
	if (atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	json_decref(h->json);
	arena_done(&h->arena);
	return mem_free(h);
}
