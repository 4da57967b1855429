#include "edge/access/objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "base/uuid.h"
#include "config/yaml.h"
#include "edge/access/authority_file.h"
#include "edge/access/view.h"
#include "store/store_access.h"

#define TOKEN_LIFE_PRESET "8760h"

/* Members that clients may send back to us and never choose. */
static const char *const fixed[] = {
	"id",           "uid",       "aud",           "created_at",      "updated_at",
	"last_seen_at", "client_id", "secret_sha256", "previous_sha256", "previous_until"
};

static char *random_hex(size_t bytes)
{
	uint8_t raw[32];
	char *text;

	random_bytes(raw, bytes);
	text = hex_text(bytes_of(raw, bytes));
	secret_wipe(raw, sizeof(raw));
	return text;
}

static void set_random(json_t *object, const char *member, size_t bytes)
{
	char *text = random_hex(bytes);

	json_object_set_new(object, member, json_string(text));
	mem_free(text);
}

static void set_time(json_t *object, const char *member, usec at)
{
	char text[40];

	json_object_set_new(object, member, json_string(clock_rfc3339(at, text, sizeof(text))));
}

/* --- Trying a change --------------------------------------------------------------------------- */

static size_t index_of(const struct access_object *objects, size_t count, enum access_kind kind,
		       const char *id)
{
	for (size_t i = 0; i < count; i++) {
		const char *there = json_string_value(json_object_get(objects[i].body, "id"));

		if (objects[i].kind == kind && there && strcmp(there, id) == 0)
			return i;
	}
	return count;
}

/* Would the configuration be one that works with this object (NULL: without it)? */
static int try_change(struct store *store, enum access_kind kind, const char *id, json_t *body,
		      struct err *err)
{
	struct access_object *objects;
	struct access_set *set;
	size_t count, at;
	int r = access_objects_load(store, &objects, &count, err);

	if (r < 0)
		return r;
	at = index_of(objects, count, kind, id);
	if (at == count && body) {
		objects = mem_resize(objects, (count + 1) * sizeof(*objects));
		objects[count++] = (struct access_object){ kind, NULL };
	}
	if (at < count) {
		json_decref(objects[at].body);
		objects[at].body = json_incref(body);
		if (!body)
			objects[at] = objects[--count];
	}
	set = access_set_build(objects, count, err);
	r = set ? access_set_check_groups(set, err) : err->code;
	access_set_unref(set);
	access_objects_done(objects, count);
	return r;
}

static int put(struct store *store, enum access_kind kind, json_t *body, struct err *err)
{
	const char *id = json_string_value(json_object_get(body, "id"));
	int r = try_change(store, kind, id, body, err);
	char *text;

	if (r < 0)
		return r;
	text = json_dumps(body, JSON_COMPACT);
	r = store_access_object_put(store, access_kind_name(kind), id, bytes_str(text), err);
	secret_wipe(text, strlen(text));
	free(text); /* allowed: jansson took it from malloc */
	return r;
}

/* --- Reading ------------------------------------------------------------------------------------ */

json_t *access_object_list(struct store *store, enum access_kind kind, struct err *err)
{
	struct access_object *objects;
	json_t *list;
	size_t count;

	if (access_objects_load(store, &objects, &count, err) < 0)
		return NULL;
	list = json_array();
	for (size_t i = 0; i < count; i++)
		if (objects[i].kind == kind)
			json_array_append(list, objects[i].body);
	access_objects_done(objects, count);
	return list;
}

json_t *access_object_get(struct store *store, enum access_kind kind, const char *id,
			  struct err *err)
{
	struct access_object *objects;
	json_t *found = NULL;
	size_t count, at;

	if (access_objects_load(store, &objects, &count, err) < 0)
		return NULL;
	at = index_of(objects, count, kind, id);
	if (at < count)
		found = json_incref(objects[at].body);
	else
		err_set(err, E_NOT_FOUND, "there is no %s %s", access_kind_text(kind), id);
	access_objects_done(objects, count);
	return found;
}

/* --- Writing ------------------------------------------------------------------------------------ */

/* What was sent, without what clients may not choose. */
static json_t *copy_sent(const json_t *sent)
{
	json_t *body = json_deep_copy(sent);

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		json_object_del(body, fixed[i]);
	return body;
}

/* "policies" may name policies by id or hold {"id": …} (as the API gives them). */
static void flatten_policies(json_t *body)
{
	json_t *list = json_object_get(body, "policies"), *one;
	size_t i;

	json_array_foreach(list, i, one) if (json_is_object(one)) json_array_set(
		list, i, json_object_get(one, "id") ? json_object_get(one, "id") : json_null());
}

static void new_secret(json_t *body, struct access_secret *secret)
{
	uint8_t hash[HASH_SHA256_BYTES];
	char *text = random_hex(32), *hashed;

	snprintf(secret->client_secret, sizeof(secret->client_secret), "%s", text);
	hash_sha256(bytes_str(text), hash);
	hashed = hex_text(bytes_of(hash, sizeof(hash)));
	json_object_set_new(body, "secret_sha256", json_string(hashed));
	mem_free(hashed);
	secret_wipe(text, strlen(text));
	mem_free(text);
}

/* "duration" from now: "8760h" unless they say otherwise; "forever". */
static int set_token_end(json_t *body, struct err *err)
{
	const json_t *given = json_object_get(body, "duration");
	const char *text = given ? json_string_value(given) : TOKEN_LIFE_PRESET;
	usec life;

	if (text && strcmp(text, "forever") == 0) {
		json_object_del(body, "expires_at");
		return 0;
	}
	if (!text || !duration_parse(bytes_str(text), &life) || life <= 0)
		return err_set(err, E_INVALID,
			       "\"duration\" must be a duration (\"8760h\") or \"forever\"");
	json_object_set_new(body, "duration", json_string(text));
	set_time(body, "expires_at", clock_wall_now() + life);
	return 0;
}

static int make_token(json_t *body, struct access_secret *secret, struct err *err)
{
	char *id = random_hex(16);

	snprintf(secret->client_id, sizeof(secret->client_id), "%s.access", id);
	mem_free(id);
	json_object_set_new(body, "client_id", json_string(secret->client_id));
	new_secret(body, secret);
	return set_token_end(body, err);
}

int access_object_check_served(const json_t *sent, bool has_countries, struct err *err)
{
	static const char *const lists[] = { "include", "require", "exclude" };
	const json_t *rule;
	size_t k;

	for (size_t i = 0; !has_countries && i < ARRAY_LEN(lists); i++) {
		json_array_foreach(json_object_get(sent, lists[i]), k, rule)
		{
			if (json_object_get(rule, "geo"))
				return err_set(
					err, E_UNSUPPORTED,
					"%s[%zu]: the selector geo needs a database of countries: "
					"set country-database in edge.yml, and start the edge anew",
					lists[i], k);
		}
	}
	return authority_files_check(sent, err);
}

/* What policies can say and this edge cannot answer yet is refused when it is said: a rule that never holds would shut
 * people out, or let those in whom it is to keep out. */
static int check_served(const json_t *body, struct err *err)
{
	if (json_is_true(json_object_get(body, "approval_required")) ||
	    json_array_size(json_object_get(body, "approval_groups")))
		return err_set(
			err, E_UNSUPPORTED,
			"\"approval_required\" and \"approval_groups\" are not served: "
			"nobody is asked for approval; \"purpose_justification_required\" is");
	if (json_is_true(json_object_get(body, "isolation_required")))
		return err_set(err, E_UNSUPPORTED,
			       "\"isolation_required\" is not served: this edge has no browsers of "
			       "its own");
	return 0;
}

json_t *access_object_make(enum access_kind kind, const json_t *sent, struct access_secret *secret,
			   struct err *err)
{
	json_t *body = copy_sent(sent);
	struct uuid id = uuid_random();
	char text[UUID_TEXT_SIZE];
	usec now = clock_wall_now();

	json_object_set_new(body, "id", json_string(uuid_text(&id, text)));
	set_time(body, "created_at", now);
	set_time(body, "updated_at", now);
	if (kind == ACCESS_APP) {
		set_random(body, "aud", 32);
		flatten_policies(body);
	}
	int r = check_served(body, err);
	if (r == 0 && kind == ACCESS_TOKEN)
		r = make_token(body, secret, err);
	if (r == 0)
		return body;
	json_decref(body);
	return NULL;
}

static json_t *put_or_drop(struct store *store, enum access_kind kind, json_t *body, struct err *err)
{
	if (!body || put(store, kind, body, err) == 0)
		return body;
	json_decref(body);
	return NULL;
}

json_t *access_object_create(struct store *store, enum access_kind kind, const json_t *sent,
			     struct access_secret *secret, struct err *err)
{
	return put_or_drop(store, kind, access_object_make(kind, sent, secret, err), err);
}

/* A provider's secret is not shown, so whoever sends the object back has none: it stays. */
static void keep_secrets(json_t *body, const json_t *before)
{
	json_t *config = json_object_get(body, "config");
	const json_t *old = json_object_get(json_object_get(before, "config"), "client_secret");
	const char *given = json_string_value(json_object_get(config, "client_secret"));

	if (json_is_object(config) && old && (!given || !given[0]))
		json_object_set_new(config, "client_secret", json_deep_copy(old));
}

json_t *access_object_change(enum access_kind kind, const json_t *before, const json_t *sent,
			     struct err *err)
{
	json_t *body = copy_sent(sent);

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		if (json_object_get(before, fixed[i]))
			json_object_set(body, fixed[i], json_object_get(before, fixed[i]));
	set_time(body, "updated_at", clock_wall_now());
	keep_secrets(body, before);
	if (check_served(body, err) < 0) {
		json_decref(body);
		return NULL;
	}
	if (kind == ACCESS_APP)
		flatten_policies(body);
	if (kind == ACCESS_TOKEN) {
		json_object_set(body, "expires_at", json_object_get(before, "expires_at"));
		if (!json_object_get(sent, "duration"))
			json_object_set(body, "duration", json_object_get(before, "duration"));
		if (json_object_get(sent, "duration") && set_token_end(body, err) < 0) {
			json_decref(body);
			return NULL;
		}
	}
	return body;
}

json_t *access_object_update(struct store *store, enum access_kind kind, const char *id,
			     const json_t *sent, struct err *err)
{
	json_t *before = access_object_get(store, kind, id, err), *body;

	if (!before)
		return NULL;
	body = access_object_change(kind, before, sent, err);
	json_decref(before);
	return put_or_drop(store, kind, body, err);
}

int access_object_delete(struct store *store, enum access_kind kind, const char *id, struct err *err)
{
	json_t *object = access_object_get(store, kind, id, err);
	int r = object ? try_change(store, kind, id, NULL, err) : err->code;

	if (object && r < 0) {
		const struct err why = *err;
		const char *name = json_string_value(json_object_get(object, "name"));
		err_set(err, r, "%s %s is still needed: %s", access_kind_text(kind),
			name ? name : id, why.text);
	}
	json_decref(object);
	return r < 0 ? r : store_access_object_remove(store, access_kind_name(kind), id, err);
}

json_t *access_token_rotate(struct store *store, const char *id, usec previous_until,
			    struct access_secret *secret, struct err *err)
{
	json_t *body = access_object_get(store, ACCESS_TOKEN, id, err);

	if (!body)
		return NULL;
	json_object_set(body, "previous_sha256", json_object_get(body, "secret_sha256"));
	set_time(body, "previous_until", previous_until);
	set_time(body, "updated_at", clock_wall_now());
	snprintf(secret->client_id, sizeof(secret->client_id), "%s",
		 json_string_value(json_object_get(body, "client_id")));
	new_secret(body, secret);
	if (put(store, ACCESS_TOKEN, body, err) == 0)
		return body;
	json_decref(body);
	return NULL;
}

json_t *access_object_public(enum access_kind kind, json_t *object)
{
	json_t *shown = json_deep_copy(object), *config = json_object_get(shown, "config");

	json_decref(object);
	if (kind == ACCESS_TOKEN) {
		json_object_del(shown, "secret_sha256");
		json_object_del(shown, "previous_sha256");
	}
	if (kind == ACCESS_PROVIDER && json_object_get(config, "client_secret"))
		json_object_set_new(config, "client_secret", json_string(""));
	return shown;
}
