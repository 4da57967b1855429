#include "edge/access/evaluation.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "edge/access/keys.h"
#include "edge/access/oauth_internal.h"
#include "jose/jwt.h"

/* --- Life ---------------------------------------------------------------------------------------- */

struct evaluation *evaluation_new(const struct access_rule *rule)
{
	struct evaluation *e = mem_alloc(sizeof(*e));
	json_t *config =
		json_pack("{s:s%, s:s%, s:s}", "evaluate_url", rule->value.ptr, rule->value.len,
			  "keys_url", rule->detail.ptr, rule->detail.len, "ca_file", rule->ca_file);

	e->service = oauth_new("external_evaluation", config, "");
	e->service->timeout = EVALUATION_TIMEOUT;
	e->service->answer_max = EVALUATION_ANSWER_BYTES;
	e->answer = ACCESS_UNKNOWN;
	json_decref(config);
	return e;
}

struct evaluation *evaluation_free(struct evaluation *e)
{
	if (!e)
		return NULL;
	oauth_free(e->service);
	if (e->question)
		secret_wipe(e->question, strlen(e->question));
	mem_free(e->question);
	return mem_free(e);
}

/* --- The question -------------------------------------------------------------------------------- */

static json_t *text_json(struct bytes text)
{
	return json_stringn(text.len ? (const char *)text.ptr : "", text.len);
}

static json_t *texts_json(const struct bytes *list, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, text_json(list[i]));
	return array;
}

/* [{name, teams[]}], as an identity has them: an organisation comes before its teams. */
static json_t *organizations_json(const struct access_facts *f)
{
	json_t *array = json_array();

	for (size_t i = 0; i < f->membership_count; i++) {
		const struct access_membership *m = &f->memberships[i];
		json_t *last = json_array_get(array, json_array_size(array) - 1);

		if (m->team.len && last)
			json_array_append_new(json_object_get(last, "teams"), text_json(m->team));
		else
			json_array_append_new(array, json_pack("{s:o, s:[]}", "name",
							       text_json(m->organisation), "teams"));
	}
	return array;
}

static json_t *identity_json(const struct evaluation_about *about)
{
	const struct access_facts *f = about->facts;
	json_t *identity = json_pack(
		"{s:s, s:s, s:o, s:s, s:{s:o, s:s}, s:o, s:o, s:o, s:s%, s:I}", "id",
		about->identity->person, "user_uuid", about->identity->person, "email",
		text_json(f->email), "name", about->identity->name, "idp", "id", text_json(f->idp),
		"type", about->provider_type, "amr", texts_json(f->methods, f->method_count),
		"groups", texts_json(f->groups, f->group_count), "organizations",
		organizations_json(f), "ip",
		about->client_ip.len ? (const char *)about->client_ip.ptr : "", about->client_ip.len,
		"iat", (json_int_t)(about->identity->created_at / USEC_PER_SEC));

	if (f->country[0])
		json_object_set_new(identity, "geo", json_pack("{s:s}", "country", f->country));
	if (json_is_object(f->claims))
		json_object_set_new(identity, "oidc_fields", json_deep_copy(f->claims));
	return identity;
}

/* Of a type and for an audience of its own: to nobody else is it a token. */
json_t *evaluation_claims(const struct evaluation *e, const struct evaluation_about *about)
{
	json_int_t now = about->now / USEC_PER_SEC;

	return json_pack(
		"{s:o, s:s, s:[s], s:s, s:I, s:I, s:I, s:s}", "identity", identity_json(about),
		"iss", about->issuer, "aud", oauth_config(e->service, "evaluate_url"), "type",
		"external_evaluation", "iat", now, "nbf", now, "exp",
		now + (json_int_t)(EVALUATION_LIFE / USEC_PER_SEC), "nonce", e->service->nonce);
}

void evaluation_sign(struct evaluation *e, const struct access_keys *keys,
		     const struct evaluation_about *about)
{
	e->question = access_keys_sign(keys, evaluation_claims(e, about));
}

/* --- The answer ------------------------------------------------------------------------------------ */

int evaluation_read(const struct key_set *keys, const char *token, const char *nonce, usec now,
		    enum access_answer *ret, struct err *err)
{
	struct jwt_claims claims;
	struct arena arena;
	json_t *all, *success;
	const char *said;
	int r;

	arena_init(&arena);
	r = jwt_verify_answer(keys, bytes_str(token), now, &arena, &claims, err);
	if (r < 0) {
		arena_done(&arena);
		return r;
	}
	all = json_loadb((const char *)claims.json.ptr, claims.json.len, 0, NULL);
	said = json_string_value(json_object_get(all, "nonce"));
	success = json_object_get(all, "success");
	if (!said || strcmp(said, nonce) != 0)
		r = err_set(err, E_DENIED, "it answers another question");
	else if (!json_is_boolean(success))
		r = err_set(err, E_INVALID, "\"success\" in it is neither true nor false");
	else
		*ret = json_is_true(success) ? ACCESS_YES : ACCESS_NO;
	json_decref(all);
	arena_done(&arena);
	return r;
}

/* A service that makes a new key at each start may call it as before: a wrong signature is a reason to ask for the
 * keys, too, as often as an unknown key is. */
static int check(struct oauth *o, const struct key_set *keys, const char *token, json_t **ret)
{
	enum access_answer answer;
	int r = evaluation_read(keys, token, o->nonce, clock_wall_now(), &answer, &o->err);

	if (r == 0)
		*ret = json_boolean(answer == ACCESS_YES);
	return r == E_INVALID ? E_NOT_FOUND : r;
}

/* {"token": "…"}; a new reference. NULL with o->err. */
static json_t *exchange(struct oauth *o, const char *question)
{
	static const struct fetch_header headers[] = {
		{ "Content-Type", "application/json" },
		{ "Accept", "application/json" },
	};
	json_t *body = json_pack("{s:s}", "token", question);
	char *text = json_dumps(body, JSON_COMPACT);
	json_t *answer = oauth_fetch(o, &(struct fetch_request){
						.method = "POST",
						.url = oauth_config(o, "evaluate_url"),
						.headers = headers,
						.header_count = ARRAY_LEN(headers),
						.body = bytes_str(text),
					});

	secret_wipe(text, strlen(text));
	free(text); /* allowed: jansson took it from malloc */
	json_decref(body);
	return answer;
}

void evaluation_ask(struct evaluation *e)
{
	struct oauth *o = e->service;
	json_t *answer = exchange(o, e->question), *success = NULL;
	const char *token = json_string_value(json_object_get(answer, "token"));

	if (token)
		success = oauth_verified(o, oauth_config(o, "keys_url"), token, check);
	else if (answer)
		err_set(&o->err, E_PROTOCOL, "the answer has no \"token\"");
	if (success)
		e->answer = json_is_true(success) ? ACCESS_YES : ACCESS_NO;
	else
		e->err = o->err;
	json_decref(success);
	json_decref(answer);
}
