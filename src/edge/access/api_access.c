/* Administration of Access: access/KIND and access/KIND/:, with the names of CONTROL §5.10. By the admin socket
 * only: a tunnel's token must not open what a policy guards. */
#include <string.h>

#include "base/mem.h"
#include "config/yaml.h"
#include "edge/access/api_access.h"
#include "edge/access/desk.h"
#include "edge/access/metrics.h"
#include "edge/access/objects.h"
#include "store/store_access.h"

static const struct {
	const char *name;
	enum access_kind kind;
} kinds[] = {
	{ "apps", ACCESS_APP },
	{ "policies", ACCESS_POLICY },
	{ "groups", ACCESS_GROUPS },
	{ "identity_providers", ACCESS_PROVIDER },
	{ "service_tokens", ACCESS_TOKEN },
	{ "organizations", ACCESS_ORGANIZATION },
};

static bool find_kind(struct ask *a, struct bytes name, enum access_kind *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (bytes_eq(name, bytes_str(kinds[i].name))) {
			*ret = kinds[i].kind;
			return true;
		}
	}
	answer_error(a, 404, API_NO_PATH, "there is no such request");
	return false;
}

static enum ask_result answer_failure(struct ask *a, const struct err *err)
{
	switch (err->code) {
	case E_NOT_FOUND:
		return answer_error(a, 404, API_NOT_FOUND, "%s", err->text);
	case E_EXISTS:
		return answer_error(a, 409, API_INVALID, "%s", err->text);
	case E_PARSE:
	case E_INVALID:
	case E_LIMIT:
	case E_UNSUPPORTED:
		return answer_error(a, 400, API_INVALID, "%s", err->text);
	default:
		return answer_store_error(a, err);
	}
}

static char *kept(struct ask *a, const char *text)
{
	return arena_strdup(&a->request->arena, bytes_str(text));
}

static void note(struct ask *a, const char *action, const char *subject, const char *detail)
{
	struct store_audit entry = {
		.action = kept(a, action),
		.actor = kept(a, a->actor),
		.address = arena_strdup(&a->request->arena, a->request->client_ip),
		.subject = kept(a, subject),
		.outcome = kept(a, "done"),
		.detail = kept(a, detail),
	};

	(void)store_audit_add(a->control->store, &entry, NULL);
	control_changed(a->control);
}

static void changed(struct ask *a, const char *action, enum access_kind kind, const char *name)
{
	struct bytes text =
		arena_printf(&a->request->arena, "%s.%s", access_kind_text(kind), action);

	note(a, arena_strdup(&a->request->arena, text), name, "{}");
}

static const char *name_of(struct ask *a, const json_t *object)
{
	const char *name = json_string_value(json_object_get(object, "name"));

	return arena_strdup(&a->request->arena, bytes_str(name));
}

/* As it is shown; takes the reference. */
static json_t *shown_object(struct ask *a, enum access_kind kind, json_t *object)
{
	json_t *shown = access_object_public(kind, object);
	usec seen;

	if (kind == ACCESS_TOKEN) {
		seen = store_token_seen(a->control->store,
					json_string_value(json_object_get(shown, "id")));
		json_object_set_new(shown, "last_seen_at", api_time_json(seen));
	}
	return shown;
}

static enum ask_result answer_object(struct ask *a, enum access_kind kind, json_t *object,
				     struct access_secret *secret)
{
	json_t *shown = shown_object(a, kind, object);

	if (secret && secret->client_secret[0]) {
		json_object_set_new(shown, "client_secret", json_string(secret->client_secret));
		secret_wipe(secret, sizeof(*secret));
	}
	return answer_result(a, shown);
}

enum ask_result api_access_list(struct ask *a)
{
	struct err err = { 0 };
	enum access_kind kind;
	json_t *list, *one;
	size_t i;

	if (!find_kind(a, a->args[0], &kind))
		return ASK_ANSWERED;
	list = access_object_list(a->control->store, kind, &err);
	if (!list)
		return answer_failure(a, &err);
	json_array_foreach(list, i, one)
		json_array_set_new(list, i, shown_object(a, kind, json_incref(one)));
	size_t count = json_array_size(list);
	return answer_list(a, list, 1, count > 20 ? count : 20, count);
}

enum ask_result api_access_create(struct ask *a)
{
	struct access_secret secret = { 0 };
	struct err err = { 0 };
	enum access_kind kind;
	json_t *sent, *made = NULL;

	if (!find_kind(a, a->args[0], &kind))
		return ASK_ANSWERED;
	sent = ask_body(a);
	if (!sent)
		return ASK_ANSWERED;
	if (access_object_check_served(sent, a->control->has_country_database, &err) == 0)
		made = access_object_create(a->control->store, kind, sent, &secret, &err);
	json_decref(sent);
	if (!made)
		return answer_failure(a, &err);
	changed(a, "create", kind, name_of(a, made));
	return answer_object(a, kind, made, &secret);
}

static const char *id_argument(struct ask *a)
{
	return arena_strdup(&a->request->arena, a->args[1]);
}

enum ask_result api_access_get(struct ask *a)
{
	struct err err = { 0 };
	enum access_kind kind;
	json_t *object;

	if (!find_kind(a, a->args[0], &kind))
		return ASK_ANSWERED;
	object = access_object_get(a->control->store, kind, id_argument(a), &err);
	return object ? answer_object(a, kind, object, NULL) : answer_failure(a, &err);
}

enum ask_result api_access_update(struct ask *a)
{
	struct err err = { 0 };
	enum access_kind kind;
	json_t *sent, *object = NULL;

	if (!find_kind(a, a->args[0], &kind))
		return ASK_ANSWERED;
	sent = ask_body(a);
	if (!sent)
		return ASK_ANSWERED;
	if (access_object_check_served(sent, a->control->has_country_database, &err) == 0)
		object = access_object_update(a->control->store, kind, id_argument(a), sent, &err);
	json_decref(sent);
	if (!object)
		return answer_failure(a, &err);
	changed(a, "update", kind, name_of(a, object));
	return answer_object(a, kind, object, NULL);
}

enum ask_result api_access_delete(struct ask *a)
{
	struct err err = { 0 };
	enum access_kind kind;
	const char *id = id_argument(a);

	if (!find_kind(a, a->args[0], &kind))
		return ASK_ANSWERED;
	if (access_object_delete(a->control->store, kind, id, &err) < 0)
		return answer_failure(a, &err);
	changed(a, "delete", kind, id);
	return answer_result(a, json_pack("{s:s}", "id", id));
}

/* --- Service tokens ----------------------------------------------------------------------------- */

/* "grace": how long the secret of before stays good; none unless it is said. */
enum ask_result api_token_rotate(struct ask *a)
{
	const char *id = arena_strdup(&a->request->arena, a->args[0]);
	struct access_secret secret = { 0 };
	struct err err = { 0 };
	json_t *body, *made = NULL;
	const char *text;
	usec grace = 0;

	body = a->request->body.len ? ask_body(a) : json_object();
	if (!body)
		return ASK_ANSWERED;
	text = json_string_value(json_object_get(body, "grace"));
	if (json_object_get(body, "grace") &&
	    (!text || !duration_parse(bytes_str(text), &grace) || grace < 0))
		err_set(&err, E_INVALID, "\"grace\" must be a duration (\"24h\")");
	else
		made = access_token_rotate(a->control->store, id, clock_wall_now() + grace, &secret,
					   &err);
	json_decref(body);
	if (!made)
		return answer_failure(a, &err);
	changed(a, "rotate", ACCESS_TOKEN, name_of(a, made));
	return answer_object(a, ACCESS_TOKEN, made, &secret);
}

/* Its duration begins anew. */
enum ask_result api_token_refresh(struct ask *a)
{
	const char *id = arena_strdup(&a->request->arena, a->args[0]);
	struct err err = { 0 };
	json_t *object = access_object_get(a->control->store, ACCESS_TOKEN, id, &err);
	json_t *made =
		object ? access_object_update(a->control->store, ACCESS_TOKEN, id, object, &err)
		       : NULL;

	json_decref(object);
	if (!made)
		return answer_failure(a, &err);
	changed(a, "refresh", ACCESS_TOKEN, name_of(a, made));
	return answer_object(a, ACCESS_TOKEN, made, NULL);
}

enum ask_result api_access_ca(struct ask *a)
{
	struct err err = { 0 };
	const struct access_view *view = desk_view(a->control->desk, &err);
	const struct access_app *app =
		view ? access_set_app(access_view_set(view), a->args[0]) : NULL;
	enum ask_result result;
	char *line;

	if (view && !app)
		err_set(&err, E_NOT_FOUND, "there is no application " BYTES_FMT,
			BYTES_ARG(bytes_first(a->args[0], 80)));
	line = app ? desk_ssh_authority(a->control, app, &err) : NULL;
	if (!line)
		return answer_failure(a, &err);
	result = answer_result(a, json_pack("{s:s, s:s, s:s}", "id", app->id, "aud", app->aud,
					    "public_key", line));
	mem_free(line);
	return result;
}

/* --- People -------------------------------------------------------------------------------------- */

static json_t *person_json(const struct store_person *p)
{
	char id[UUID_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:s, s:b, s:o, s:o, s:o}", "id", uuid_text(&p->id, id),
			 "email", p->email, "name", p->name, "has_password", p->has_password,
			 "created_at", api_time_json(p->created_at), "last_seen",
			 api_time_json(p->seen_at), "revoked_at", api_time_json(p->revoked_at));
}

enum ask_result api_people_list(struct ask *a)
{
	struct store_person *people;
	struct err err = { 0 };
	size_t count;
	json_t *list;

	if (store_person_list(a->control->store, &people, &count, &err) < 0)
		return answer_store_error(a, &err);
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		json_array_append_new(list, person_json(&people[i]));
		store_person_done(&people[i]);
	}
	mem_free(people);
	return answer_list(a, list, 1, count > 20 ? count : 20, count);
}

enum ask_result api_people_add(struct ask *a)
{
	json_t *body = ask_body(a), *result;
	const char *email, *name, *password;
	struct store_person person;
	struct err err = { 0 };
	int r;

	if (!body)
		return ASK_ANSWERED;
	if (!ask_string(a, body, "email", &email) || !ask_string(a, body, "name", &name) ||
	    !ask_string(a, body, "password", &password)) {
		json_decref(body);
		return ASK_ANSWERED;
	}
	r = store_person_add(a->control->store, email ? email : "", name, &person, &err);
	if (r == 0 && password)
		r = store_person_set_password(a->control->store, person.email, password, &err);
	json_decref(body);
	if (r < 0)
		return answer_failure(a, &err);
	result = person_json(&person);
	store_person_done(&person);
	return answer_result(a, result);
}

/* Signs somebody out everywhere. */
enum ask_result api_people_revoke(struct ask *a)
{
	const char *email = arena_strdup(&a->request->arena, a->args[0]);
	struct err err = { 0 };

	if (desk_revoke_person(a->control, email, "person", &err) < 0)
		return answer_failure(a, &err);
	control_changed(a->control);
	return answer_result(a, json_pack("{s:s}", "email", email));
}

/* People who are signed in get new ones if the policies let them. */
enum ask_result api_access_revoke(struct ask *a)
{
	struct err err = { 0 };
	const struct access_view *view = desk_view(a->control->desk, &err);
	const struct access_app *app =
		view ? access_set_app(access_view_set(view), a->args[0]) : NULL;

	if (!view)
		return answer_failure(a, &err);
	if (!app)
		return answer_error(a, 404, API_NOT_FOUND, "there is no such application");
	/* It goes with the view. */
	const char *id = arena_strdup(&a->request->arena, bytes_str(app->id));
	if (store_revocation_put(a->control->store, id, clock_wall_now(), &err) < 0)
		return answer_failure(a, &err);
	access_count_revocation("application");
	control_changed(a->control);
	return answer_result(a, json_pack("{s:s}", "id", id));
}

/* "now": a key that nobody has seen yet signs at once; "withdraw": so it does, and what was signed before is void. */
enum ask_result api_access_rotate(struct ask *a)
{
	enum access_rotation how = ACCESS_ROTATE_SOON;
	json_t *body = a->request->body.len ? ask_body(a) : json_object(), *now, *withdraw;
	struct access_keys *keys = NULL;
	struct err err = { 0 };
	int r = 0;

	if (!body)
		return ASK_ANSWERED;
	now = json_object_get(body, "now");
	withdraw = json_object_get(body, "withdraw");
	if ((now && !json_is_boolean(now)) || (withdraw && !json_is_boolean(withdraw)))
		r = err_set(&err, E_INVALID, "\"now\" and \"withdraw\" are true or false");
	if (json_is_true(withdraw))
		how = ACCESS_ROTATE_WITHDRAW;
	else if (json_is_true(now))
		how = ACCESS_ROTATE_NOW;
	json_decref(body);
	if (r == 0)
		r = access_view_rotate(a->control->store, how, &keys, &err);
	if (r < 0)
		return answer_failure(a, &err);
	usec next = access_keys_next(keys);
	access_keys_free(keys);
	note(a, "keys.rotate", "",
	     how == ACCESS_ROTATE_WITHDRAW ? "{\"withdraw\":true}"
	     : how == ACCESS_ROTATE_NOW    ? "{\"now\":true}"
					   : "{}");
	return answer_result(a, json_pack("{s:o}", "signs_at", api_time_json(next)));
}
