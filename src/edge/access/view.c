#include "edge/access/view.h"

#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/access/countries.h"
#include "store/store_access.h"

#define COMPONENT "edge/access"
#define KEYS_SETTING "access.keys"

struct access_view {
	atomic_size_t refs;
	struct arena arena;
	struct access_set *set;
	char *keys; /* owned */
	usec keys_due;
	const char *issuer;
	struct countries *countries; /* counted; NULL: there is no database */
	struct map *revoked;         /* application's id -> usec in the arena */
};

/* --- Objects ---------------------------------------------------------------------------------- */

static const char *const kind_names[ACCESS_KINDS] = {
	[ACCESS_APP] = "application", [ACCESS_POLICY] = "policy",
	[ACCESS_GROUPS] = "group",    [ACCESS_PROVIDER] = "provider",
	[ACCESS_TOKEN] = "token",     [ACCESS_ORGANIZATION] = "organization",
};

const char *access_kind_name(enum access_kind kind)
{
	return kind_names[kind];
}

bool access_kind_parse(const char *name, enum access_kind *ret)
{
	for (size_t i = 0; i < ACCESS_KINDS; i++) {
		if (strcmp(kind_names[i], name) == 0) {
			*ret = (enum access_kind)i;
			return true;
		}
	}
	return false;
}

void access_objects_done(struct access_object *objects, size_t count)
{
	for (size_t i = 0; i < count; i++)
		json_decref(objects[i].body);
	mem_free(objects);
}

int access_objects_load(struct store *store, struct access_object **ret, size_t *ret_count,
			struct err *err)
{
	struct store_access_object *stored;
	struct access_object *objects;
	size_t count, loaded = 0;
	int r = store_access_object_list(store, &stored, &count, err);

	if (r < 0)
		return r;
	objects = mem_alloc_array(count ? count : 1, sizeof(*objects));
	for (size_t i = 0; i < count; i++) {
		struct store_access_object *o = &stored[i];
		json_t *body = json_loadb((const char *)o->body.ptr, o->body.len, 0, NULL);

		if (!body || !access_kind_parse(o->kind, &objects[loaded].kind))
			r = err_set(err, E_PARSE, "Access: the %s %s in the database is damaged",
				    o->kind, o->id);
		objects[loaded++].body = body;
		store_access_object_done(o);
	}
	mem_free(stored);
	if (r < 0) {
		access_objects_done(objects, loaded);
		return r;
	}
	*ret = objects;
	*ret_count = count;
	return 0;
}

/* --- The view --------------------------------------------------------------------------------- */

static int build_set(struct access_view *v, struct store *store, struct err *err)
{
	struct access_object *objects;
	size_t count;
	int r = access_objects_load(store, &objects, &count, err);

	if (r < 0)
		return r;
	v->set = access_set_build(objects, count, err);
	access_objects_done(objects, count);
	return v->set ? 0 : err_wrap(err, "Access");
}

static int put_keys(struct store *store, const struct access_keys *keys, struct err *err)
{
	char *text = access_keys_text(keys);
	int r = store_setting_put(store, KEYS_SETTING, text, true, err);

	secret_wipe(text, strlen(text));
	mem_free(text);
	return r;
}

static int make_keys(struct store *store, struct access_keys **ret, struct err *err)
{
	*ret = access_keys_new(clock_wall_now(), err);
	return *ret ? put_keys(store, *ret, err) : err_wrap(err, "Access");
}

static int read_keys(struct store *store, struct access_keys **ret, struct err *err)
{
	struct err why = { 0 };
	char *text = store_setting_get(store, KEYS_SETTING, &why);

	*ret = text ? access_keys_parse(text, &why) : NULL;
	if (text)
		secret_wipe(text, strlen(text));
	mem_free(text);
	if (!*ret && err)
		*err = why;
	return *ret ? 0 : why.code;
}

int access_view_rotate(struct store *store, enum access_rotation how, struct access_keys **ret,
		       struct err *err)
{
	struct access_keys *keys;
	int r = read_keys(store, &keys, err);

	if (r < 0)
		return r;
	r = access_keys_rotate(keys, clock_wall_now(), how, err);
	if (r > 0)
		r = put_keys(store, keys, err);
	if (r < 0 || !ret)
		access_keys_free(keys);
	else
		*ret = keys;
	return r < 0 ? r : 0;
}

static int load_keys(struct access_view *v, struct store *store, struct err *err)
{
	struct err why = { 0 };
	struct access_keys *keys = NULL;
	size_t apps;
	int r = access_view_rotate(store, ACCESS_ROTATE_DUE, &keys, &why);

	(void)access_set_apps(v->set, &apps);
	v->keys_due = INT64_MAX;
	/* What has just been used is still good if nothing can be written now. */
	if (r < 0 && r != E_NOT_FOUND) {
		log_error(COMPONENT, "the signing keys could not be changed",
			  LOG_STR("error", why.text));
		r = read_keys(store, &keys, &why);
	} else if (r == E_NOT_FOUND) {
		r = apps ? make_keys(store, &keys, &why) : 0;
	}
	if (r < 0 && err)
		*err = why;
	v->keys = r == 0 && keys ? access_keys_public(keys) : mem_strdup("");
	if (r == 0 && keys)
		v->keys_due = access_keys_due(keys);
	access_keys_free(keys);
	return r;
}

static int load_revocations(struct access_view *v, struct store *store, struct err *err)
{
	struct store_revocation *list;
	size_t count;
	int r = store_revocation_list(store, &list, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		usec *before = arena_alloc(&v->arena, sizeof(*before));

		*before = list[i].before;
		map_put(v->revoked, bytes_str(list[i].app), before);
		store_revocation_done(&list[i]);
	}
	mem_free(list);
	return 0;
}

struct access_view *access_view_build(struct store *store, const char *issuer,
				      struct countries *countries, struct err *err)
{
	struct access_view *v = mem_alloc(sizeof(*v));
	int r;

	atomic_init(&v->refs, 1);
	arena_init(&v->arena);
	v->issuer = arena_strdup(&v->arena, bytes_str(issuer));
	v->countries = countries_ref(countries);
	v->revoked = map_new();
	r = build_set(v, store, err);
	if (r == 0)
		r = load_keys(v, store, err);
	if (r == 0)
		r = load_revocations(v, store, err);
	return r < 0 ? access_view_unref(v) : v;
}

struct access_view *access_view_ref(struct access_view *v)
{
	atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
	return v;
}

struct access_view *access_view_unref(struct access_view *v)
{
	if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	access_set_unref(v->set);
	countries_unref(v->countries);
	map_free(v->revoked);
	mem_free(v->keys);
	arena_done(&v->arena);
	return mem_free(v);
}

const struct access_set *access_view_set(const struct access_view *v)
{
	return v->set;
}

const char *access_view_keys(const struct access_view *v)
{
	return v->keys;
}

usec access_view_keys_due(const struct access_view *v)
{
	return v->keys_due;
}

const char *access_view_issuer(const struct access_view *v)
{
	return v->issuer;
}

const struct countries *access_view_countries(const struct access_view *v)
{
	return v->countries;
}

usec access_view_era(const struct access_view *v, const char *app_id)
{
	const usec *before = map_find(v->revoked, bytes_str(app_id));

	return before ? *before : 0;
}
