#include "edge/access/status.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "edge/access/desk.h"
#include "edge/access/keys.h"
#include "edge/access/provider_notes.h"
#include "store/store_access.h"

#define COMPONENT "edge/access"
/* `adit-edge audit` has them all. */
#define DENIALS_SHOWN 5
#define DENIALS_SINCE (24 * 3600 * USEC_PER_SEC)
#define AUDIT_READ 500

static void add(json_t *object, const char *member, json_t *value)
{
	(void)json_object_set_new(object, member, value);
}

static const char *text_of(const json_t *object, const char *member)
{
	const char *text = json_string_value(json_object_get(object, member));

	return text ? text : "";
}

static json_t *provider_json(const struct access_desk *d, const json_t *body)
{
	const struct provider_note *note =
		provider_notes_find(desk_provider_notes(d), text_of(body, "id"));

	return json_pack(
		"{s:s, s:s, s:I, s:I, s:o, s:o, s:s}", "name", text_of(body, "name"), "type",
		text_of(body, "type"), "answered", (json_int_t)(note ? note->answered : 0),
		"failed", (json_int_t)(note ? note->failed : 0), "answered_at",
		api_time_json(note ? note->answered_at : 0), "failed_at",
		api_time_json(note ? note->failed_at : 0), "last_error", note ? note->error : "");
}

static int add_objects(struct control *c, json_t *status, struct err *err)
{
	static const char *const names[ACCESS_KINDS] = {
		[ACCESS_APP] = "applications",
		[ACCESS_POLICY] = "policies",
		[ACCESS_GROUPS] = "groups",
		[ACCESS_TOKEN] = "service_tokens",
	};
	json_int_t counts[ACCESS_KINDS] = { 0 };
	struct access_object *objects;
	json_t *providers;
	size_t count;
	int r = access_objects_load(c->store, &objects, &count, err);

	if (r < 0)
		return r;
	providers = json_array();
	for (size_t i = 0; i < count; i++) {
		counts[objects[i].kind]++;
		if (objects[i].kind == ACCESS_PROVIDER)
			(void)json_array_append_new(providers,
						    provider_json(c->desk, objects[i].body));
	}
	access_objects_done(objects, count);
	for (size_t i = 0; i < ACCESS_KINDS; i++)
		if (names[i])
			add(status, names[i], json_integer(counts[i]));
	add(status, "identity_providers", providers);
	return 0;
}

static int add_sessions(struct control *c, json_t *status, struct err *err)
{
	int64_t count;
	int r = store_session_count(c->store, clock_wall_now(), &count, err);

	if (r == 0)
		add(status, "sessions", json_integer(count));
	return r;
}

/* Without applications there may be no key yet, which is no error. */
static void add_keys(struct control *c, json_t *status)
{
	const struct access_keys *keys = desk_keys(c->desk, NULL);

	add(status, "signing_key_made_at", api_time_json(keys ? access_keys_since(keys) : 0));
	add(status, "next_signing_key_at", api_time_json(keys ? access_keys_change(keys) : 0));
}

static void add_countries(const struct control *c, json_t *status)
{
	const struct countries *k = c->countries;

	add(status, "countries", k ? json_string(countries_type(k)) : json_null());
	add(status, "countries_built_at", api_time_json(k ? countries_built_at(k) : 0));
}

static bool is_denial(const struct store_audit *e)
{
	static const char *const outcomes[] = { "refused", "wrong password", "wrong code",
						"passkey refused", "identity provider failed" };

	for (size_t i = 0; i < ARRAY_LEN(outcomes); i++)
		if (strcmp(e->outcome, outcomes[i]) == 0)
			return true;
	return false;
}

static json_t *denial_json(const struct store_audit *e)
{
	json_t *detail = json_loads(e->detail, 0, NULL), *denial;
	const char *why = text_of(detail, "why");

	denial = json_pack("{s:o, s:s, s:s, s:s, s:s}", "happened_at", api_time_json(e->at), "who",
			   e->actor, "from", e->address, "application", e->subject, "why",
			   why[0] ? why : e->outcome);
	json_decref(detail);
	return denial;
}

/* The newest first. */
static int add_denials(struct control *c, json_t *status, struct err *err)
{
	usec since = clock_wall_now() - DENIALS_SINCE;
	struct store_audit *entries;
	json_t *list;
	size_t count;
	int r = store_audit_list(c->store, since, AUDIT_READ, &entries, &count, err);

	if (r < 0)
		return r;
	list = json_array();
	for (size_t i = count; i-- > 0;) {
		if (json_array_size(list) < DENIALS_SHOWN && is_denial(&entries[i]))
			(void)json_array_append_new(list, denial_json(&entries[i]));
		store_audit_done(&entries[i]);
	}
	mem_free(entries);
	add(status, "recent_denials", list);
	return 0;
}

json_t *access_status(struct control *c)
{
	json_t *status = json_object();
	struct err err = { 0 };

	if (add_objects(c, status, &err) < 0 || add_sessions(c, status, &err) < 0 ||
	    add_denials(c, status, &err) < 0)
		log_error(COMPONENT, "the state of Access cannot be read",
			  LOG_STR("error", err.text));
	add_keys(c, status);
	add_countries(c, status);
	return status;
}
