/* Administration of Access that is more than one object: documents, questions about policies, people, the audit log. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "edge/access/api_access.h"
#include "edge/access/desk.h"
#include "edge/access/document.h"
#include "edge/access/identity.h"
#include "edge/access/objects.h"
#include "edge/access/view.h"
#include "store/store_access.h"

#define AUDIT_MAX 1000

static enum ask_result answer_failure(struct ask *a, const struct err *err)
{
	switch (err->code) {
	case E_NOT_FOUND:
	case E_EXISTS:
	case E_PARSE:
	case E_INVALID:
	case E_LIMIT:
	case E_UNSUPPORTED:
		return answer_error(a, err->code == E_NOT_FOUND ? 404 : 400, API_INVALID, "%s",
				    err->text);
	default:
		return answer_store_error(a, err);
	}
}

/* --- Documents ----------------------------------------------------------------------------------- */

enum ask_result api_access_export(struct ask *a)
{
	struct err err = { 0 };
	json_t *document = access_document_export(a->control->store, &err);

	return document ? answer_result(a, document) : answer_failure(a, &err);
}

/* As the changes of single objects are noted. */
static void note(struct ask *a, const json_t *change)
{
	const char *done = json_string_value(json_object_get(change, "action"));
	const char *action = strcmp(done, "created") == 0   ? "create"
			     : strcmp(done, "removed") == 0 ? "delete"
							    : "update";
	struct arena *arena = &a->request->arena;
	struct store_audit entry = {
		.action = arena_strdup(
			arena,
			arena_printf(arena, "%s.%s",
				     json_string_value(json_object_get(change, "kind")), action)),
		.actor = arena_strdup(arena, bytes_str(a->actor)),
		.address = arena_strdup(arena, a->request->client_ip),
		.subject = arena_strdup(
			arena, bytes_str(json_string_value(json_object_get(change, "name")))),
		.outcome = arena_strdup(arena, BYTES_LIT("done")),
		.detail = arena_strdup(arena, BYTES_LIT("{\"by\":\"apply\"}")),
	};

	(void)store_audit_add(a->control->store, &entry, NULL);
}

enum ask_result api_access_apply(struct ask *a)
{
	json_t *body = ask_body(a), *result, *change;
	struct err err = { 0 };
	int is_dry, prunes;
	size_t i;

	if (!body)
		return ASK_ANSWERED;
	if (!ask_flag(a, body, "dry_run", &is_dry) || !ask_flag(a, body, "prune", &prunes)) {
		json_decref(body);
		return ASK_ANSWERED;
	}
	const struct access_apply how = { .is_dry = is_dry > 0,
					  .prunes = prunes > 0,
					  .has_countries = a->control->has_country_database };
	const json_t *document = json_object_get(body, "document");
	if (!json_is_object(document)) {
		json_decref(body);
		return answer_error(a, 400, API_INVALID, "the document is no mapping");
	}
	result = access_document_apply(a->control->store, document, &how, &err);
	json_decref(body);
	if (!result)
		return answer_failure(a, &err);
	if (!how.is_dry && json_array_size(json_object_get(result, "changes"))) {
		json_array_foreach(json_object_get(result, "changes"), i, change) note(a, change);
		control_changed(a->control);
	}
	return answer_result(a, result);
}

/* --- Who would be let in --------------------------------------------------------------------------- */

struct trial {
	const struct access_set *set;
	const struct access_app *app;
	struct access_identity *identity; /* counted; NULL: nobody has signed in */
	struct access_facts facts;
};

/* By name, id or audience, else as a visitor would come: "app.example.com/admin". */
static const struct access_app *find_app(struct ask *a, const struct access_set *set,
					 const char *word)
{
	const struct access_app *app = access_set_app(set, bytes_str(word));
	size_t count, slash = strcspn(word, "/");

	if (app)
		return app;
	const struct access_app *apps = access_set_apps(set, &count);
	for (size_t i = 0; i < count; i++)
		if (strcmp(apps[i].name, word) == 0)
			return &apps[i];
	struct bytes target = word[slash] ? bytes_str(word + slash) : BYTES_LIT("/");
	(void)access_set_find(set, bytes_of(word, slash), target, &a->request->arena, &app);
	return app;
}

static bool find_provider(const struct trial *t, const char *word, const char **ret)
{
	size_t count;
	const struct access_provider *list = access_set_providers(t->set, &count);

	for (size_t i = 0; i < count; i++) {
		if (strcmp(list[i].name, word) == 0 || strcmp(list[i].id, word) == 0) {
			*ret = list[i].id;
			return true;
		}
	}
	return false;
}

/* The person of the question, with {email, idp, amr, groups, organizations, claims}. */
static int read_person(struct trial *t, const json_t *body, struct err *err)
{
	json_t *person = json_deep_copy(json_object_get(body, "identity"));
	const char *idp = json_string_value(json_object_get(person, "idp")), *id;
	char *text;

	if (!json_is_object(person)) {
		json_decref(person);
		return 0;
	}
	if (idp && !find_provider(t, idp, &id)) {
		err_set(err, E_NOT_FOUND, "there is no identity provider \"%.100s\"", idp);
		json_decref(person);
		return err->code;
	}
	if (idp)
		json_object_set_new(person, "idp", json_string(id));
	text = json_dumps(person, JSON_COMPACT);
	json_decref(person);
	t->identity = access_identity_new("", "", bytes_str(text), 0, INT64_MAX, err);
	free(text); /* allowed: jansson took it from malloc */
	if (!t->identity)
		return err->code;
	t->facts = t->identity->facts;
	return 0;
}

static int read_connection(struct trial *t, const json_t *body, const struct countries *countries,
			   struct err *err)
{
	const char *ip = json_string_value(json_object_get(body, "ip"));
	const char *name = json_string_value(json_object_get(body, "common_name"));
	const char *token = json_string_value(json_object_get(body, "service_token"));
	struct address address;

	if (ip) {
		if (!address_from_ip(bytes_str(ip), 0, &address))
			return err_set(err, E_PARSE, "%.60s is no IP address", ip);
		t->facts.has_address = network_of_address(&address, &t->facts.address);
		countries_find_ip(countries, bytes_str(ip), t->facts.country);
	}
	if (name) {
		t->facts.has_certificate = true;
		t->facts.common_name = bytes_str(name);
	}
	if (token) {
		const struct access_service_token *found = access_set_token_named(t->set, token);
		if (!found)
			return err_set(err, E_NOT_FOUND, "there is no service token \"%.100s\"",
				       token);
		t->facts.service_token = bytes_str(found->id);
	}
	return 0;
}

static json_t *policies_json(const struct trial *t)
{
	static const char *const answers
		[] = { [ACCESS_NO] = "no", [ACCESS_YES] = "yes", [ACCESS_UNKNOWN] = "not known" };
	json_t *list = json_array();

	for (size_t i = 0; i < t->app->policy_count; i++) {
		const struct access_policy *p = t->app->policies[i];
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s}", "name", p->name, "decision",
						access_decision_name(p->decision), "holds",
						answers[access_policy_answer(p, &t->facts, NULL)]));
	}
	return list;
}

static json_t *verdict_json(struct ask *a, const struct trial *t)
{
	static const char *const outcomes[] = {
		[ACCESS_REFUSED] = "refused",          [ACCESS_PASS] = "bypassed",
		[ACCESS_SERVICE] = "let in",           [ACCESS_ALLOWED] = "let in",
		[ACCESS_SIGN_IN] = "asked to sign in", [ACCESS_ASK] = "asked elsewhere",
	};
	struct arena *arena = &a->request->arena;
	struct access_verdict v = access_decide(t->app->policies, t->app->policy_count, &t->facts);
	bool is_in = v.outcome == ACCESS_PASS || v.outcome == ACCESS_SERVICE ||
		     v.outcome == ACCESS_ALLOWED;

	return json_pack("{s:{s:s, s:s}, s:b, s:s, s:s?, s:s, s:s?, s:b, s:o}", "application", "id",
			 t->app->id, "name", t->app->name, "passes", (int)is_in, "outcome",
			 outcomes[v.outcome], "policy", v.policy ? v.policy->name : NULL, "why",
			 arena_strdup(arena, access_verdict_text(&v, arena)), "country",
			 t->facts.country[0] ? t->facts.country : NULL,
			 "purpose_justification_required", (int)(is_in && v.policy->asks_purpose),
			 "policies", policies_json(t));
}

enum ask_result api_access_test(struct ask *a)
{
	json_t *body = ask_body(a), *result = NULL;
	struct access_object *objects;
	struct access_set *set = NULL;
	struct trial t = { 0 };
	struct err err = { 0 };
	const char *word;
	size_t count;

	if (!body)
		return ASK_ANSWERED;
	if (!ask_string(a, body, "app", &word)) {
		json_decref(body);
		return ASK_ANSWERED;
	}
	int r = access_objects_load(a->control->store, &objects, &count, &err);
	if (r == 0) {
		t.set = set = access_set_build(objects, count, &err);
		access_objects_done(objects, count);
		r = set ? 0 : err.code;
	}
	if (r == 0) {
		t.app = find_app(a, set, word ? word : "");
		if (!t.app)
			r = err_set(&err, E_NOT_FOUND,
				    "no application is called \"%.200s\", or is there: it is open to "
				    "everybody if it has a route",
				    word ? word : "");
	}
	if (r == 0)
		r = read_person(&t, body, &err);
	if (r == 0)
		r = read_connection(&t, body, a->control->countries, &err);
	if (r == 0)
		result = verdict_json(a, &t);
	access_identity_unref(t.identity);
	access_set_unref(set);
	json_decref(body);
	return result ? answer_result(a, result) : answer_failure(a, &err);
}

/* --- The organisation ------------------------------------------------------------------------------ */

static enum ask_result answer_organization(struct ask *a, json_t *object)
{
	return answer_result(a, access_object_public(ACCESS_ORGANIZATION, object));
}

enum ask_result api_access_organization_get(struct ask *a)
{
	struct err err = { 0 };
	json_t *list = access_object_list(a->control->store, ACCESS_ORGANIZATION, &err), *one;

	if (!list)
		return answer_failure(a, &err);
	one = json_incref(json_array_get(list, 0));
	json_decref(list);
	return one ? answer_organization(a, one)
		   : answer_error(a, 404, API_NOT_FOUND, "there is no organisation yet");
}

enum ask_result api_access_organization_put(struct ask *a)
{
	json_t *body = ask_body(a), *made = NULL, *list;
	struct access_secret none = { 0 };
	struct err err = { 0 };

	if (!body)
		return ASK_ANSWERED;
	list = access_object_list(a->control->store, ACCESS_ORGANIZATION, &err);
	const char *id = json_string_value(json_object_get(json_array_get(list, 0), "id"));
	if (list)
		made = id ? access_object_update(a->control->store, ACCESS_ORGANIZATION, id, body,
						 &err)
			  : access_object_create(a->control->store, ACCESS_ORGANIZATION, body,
						 &none, &err);
	json_decref(list);
	json_decref(body);
	if (!made)
		return answer_failure(a, &err);
	control_changed(a->control);
	return answer_organization(a, made);
}

enum ask_result api_access_revoke_user(struct ask *a)
{
	json_t *body = ask_body(a);
	struct err err = { 0 };
	const char *email;

	if (!body)
		return ASK_ANSWERED;
	if (!ask_string(a, body, "email", &email)) {
		json_decref(body);
		return ASK_ANSWERED;
	}
	int r = desk_revoke_person(a->control, email ? email : "", "person", &err);
	json_decref(body);
	if (r < 0)
		return answer_failure(a, &err);
	control_changed(a->control);
	return answer_result(a, json_true());
}

/* --- API tokens -------------------------------------------------------------------------------------- */

enum ask_result api_access_tokens_list(struct ask *a)
{
	struct store_access_token *tokens;
	struct err err = { 0 };
	size_t count;

	if (store_access_token_list(a->control->store, &tokens, &count, &err) < 0)
		return answer_store_error(a, &err);
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		json_array_append_new(list,
				      json_pack("{s:s, s:o}", "name", tokens[i].name, "created_at",
						api_time_json(tokens[i].created_at)));
		store_access_token_done(&tokens[i]);
	}
	mem_free(tokens);
	return answer_list(a, list, 1, count > 20 ? count : 20, count);
}

enum ask_result api_access_tokens_add(struct ask *a)
{
	json_t *body = ask_body(a), *result;
	struct err err = { 0 };
	const char *name;

	if (!body)
		return ASK_ANSWERED;
	if (!ask_string(a, body, "name", &name)) {
		json_decref(body);
		return ASK_ANSWERED;
	}
	char *token = store_access_token_create(a->control->store, name ? name : "", &err);
	if (!token) {
		json_decref(body);
		return answer_failure(a, &err);
	}
	result = json_pack("{s:s, s:s}", "name", name, "token", token);
	json_decref(body);
	secret_wipe(token, strlen(token));
	mem_free(token);
	return answer_result(a, result);
}

enum ask_result api_access_tokens_remove(struct ask *a)
{
	const char *name = arena_strdup(&a->request->arena, a->args[0]);
	struct err err = { 0 };

	if (store_access_token_remove(a->control->store, name, &err) < 0)
		return answer_failure(a, &err);
	return answer_result(a, json_pack("{s:s}", "name", name));
}

/* --- The audit log --------------------------------------------------------------------------------- */

enum ask_result api_access_audit(struct ask *a)
{
	struct store_audit *entries;
	struct err err = { 0 };
	uint64_t limit;
	usec since = 0;
	size_t count;

	if (!ask_number(a, "limit", 100, AUDIT_MAX, &limit) || !ask_time(a, "since", &since))
		return ASK_ANSWERED;
	if (store_audit_list(a->control->store, since, limit, &entries, &count, &err) < 0)
		return answer_store_error(a, &err);
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		const struct store_audit *e = &entries[i];
		json_t *detail = json_loads(e->detail, 0, NULL);
		json_array_append_new(list, json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:o?}", "at",
						      api_time_json(e->at), "action", e->action,
						      "actor", e->actor, "address", e->address,
						      "subject", e->subject, "outcome", e->outcome,
						      "detail", detail));
		store_audit_done(&entries[i]);
	}
	mem_free(entries);
	return answer_list(a, list, 1, count > 20 ? count : 20, count);
}

/* --- People ---------------------------------------------------------------------------------------- */

enum ask_result api_people_remove(struct ask *a)
{
	const char *email = arena_strdup(&a->request->arena, a->args[0]);
	struct err err = { 0 };
	int r = desk_revoke_person(a->control, email, "person", &err);

	if (r == 0)
		r = store_person_remove(a->control->store, email, &err);
	if (r < 0)
		return answer_failure(a, &err);
	control_changed(a->control);
	return answer_result(a, json_pack("{s:s}", "email", email));
}

/* Sessions that began with the old one end. */
enum ask_result api_people_password(struct ask *a)
{
	const char *email = arena_strdup(&a->request->arena, a->args[0]), *password;
	json_t *body = ask_body(a);
	struct err err = { 0 };

	if (!body)
		return ASK_ANSWERED;
	if (!ask_string(a, body, "password", &password)) {
		json_decref(body);
		return ASK_ANSWERED;
	}
	int r = store_person_set_password(a->control->store, email, password, &err);
	if (r == 0)
		r = desk_revoke_person(a->control, email, "person", &err);
	json_decref(body);
	if (r < 0)
		return answer_failure(a, &err);
	control_changed(a->control);
	return answer_result(a, json_pack("{s:s}", "email", email));
}
