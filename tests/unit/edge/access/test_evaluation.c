/* What an external service is asked, and which of its answers count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/access/evaluation.h"
#include "edge/access/keys.h"
#include "edge/access/token.h"
#include "jose/jwt.h"

#define NOW (1767225600 * USEC_PER_SEC)
#define SECONDS (NOW / USEC_PER_SEC)
#define NONCE "the nonce of this question"

struct setup {
	struct access_keys *ours, *service, *stranger;
	struct key_set *service_keys;
};

static struct key_set *public_of(const struct access_keys *keys)
{
	char *text = access_keys_public(keys);
	struct key_set *set = key_set_parse(bytes_str(text), NULL);

	mem_free(text);
	assert_non_null(set);
	return set;
}

static int start(void **state)
{
	struct setup *s = mem_alloc(sizeof(*s));

	s->ours = access_keys_new(NOW, NULL);
	s->service = access_keys_new(NOW, NULL);
	s->stranger = access_keys_new(NOW, NULL);
	s->service_keys = public_of(s->service);
	*state = s;
	return 0;
}

static int stop(void **state)
{
	struct setup *s = *state;

	key_set_free(s->service_keys);
	access_keys_free(s->ours);
	access_keys_free(s->service);
	access_keys_free(s->stranger);
	mem_free(s);
	return 0;
}

static json_t *answer_of(const char *nonce, json_t *success)
{
	return json_pack("{s:s, s:o, s:I, s:I}", "nonce", nonce, "success", success, "iat",
			 (json_int_t)SECONDS, "exp", (json_int_t)SECONDS + 60);
}

/* Signs the claims, which are dropped. */
static int read_answer(struct setup *s, const struct access_keys *by, json_t *claims, usec now,
		       enum access_answer *ret)
{
	char *token = access_keys_sign(by, claims);
	struct err err = { 0 };
	int r = evaluation_read(s->service_keys, token, NONCE, now, ret, &err);

	assert_true(r == 0 || err.text[0]);
	mem_free(token);
	return r;
}

static void a_good_answer_is_yes_or_no(void **state)
{
	struct setup *s = *state;
	enum access_answer answer;

	assert_int_equal(read_answer(s, s->service, answer_of(NONCE, json_true()), NOW, &answer), 0);
	assert_int_equal(answer, ACCESS_YES);
	assert_int_equal(read_answer(s, s->service, answer_of(NONCE, json_false()), NOW, &answer),
			 0);
	assert_int_equal(answer, ACCESS_NO);
}

static void what_cannot_be_trusted_is_no_answer(void **state)
{
	struct setup *s = *state;
	enum access_answer answer = ACCESS_UNKNOWN;
	json_t *claims;

	/* A key that is not the service's; also ours, which everybody may fetch the public half of. */
	assert_int_equal(read_answer(s, s->stranger, answer_of(NONCE, json_true()), NOW, &answer),
			 E_NOT_FOUND);
	assert_int_equal(read_answer(s, s->ours, answer_of(NONCE, json_true()), NOW, &answer),
			 E_NOT_FOUND);
	/* To another question, to none. */
	assert_int_equal(read_answer(s, s->service, answer_of("x", json_true()), NOW, &answer),
			 E_DENIED);
	claims = answer_of(NONCE, json_true());
	json_object_del(claims, "nonce");
	assert_int_equal(read_answer(s, s->service, claims, NOW, &answer), E_DENIED);
	/* Of another time. */
	assert_int_equal(read_answer(s, s->service, answer_of(NONCE, json_true()),
				     NOW + 60 * USEC_PER_SEC + JWT_LEEWAY, &answer),
			 E_TIMEOUT);
	assert_int_equal(read_answer(s, s->service, answer_of(NONCE, json_true()),
				     NOW - JWT_LEEWAY - USEC_PER_SEC, &answer),
			 E_TIMEOUT);
	claims = answer_of(NONCE, json_true());
	json_object_del(claims, "exp");
	assert_int_equal(read_answer(s, s->service, claims, NOW, &answer), E_INVALID);
	/* Neither yes nor no. */
	assert_int_equal(
		read_answer(s, s->service, answer_of(NONCE, json_string("true")), NOW, &answer),
		E_INVALID);
	assert_int_equal(read_answer(s, s->service, answer_of(NONCE, json_integer(1)), NOW, &answer),
			 E_INVALID);
	assert_int_equal(answer, ACCESS_UNKNOWN);
	assert_int_equal(evaluation_read(s->service_keys, "a.b.c", NONCE, NOW, &answer, NULL),
			 E_PARSE);
}

static struct access_rule rule_of(struct arena *arena)
{
	struct access_rule rule;
	json_t *object = json_pack("{s:{s:s, s:s}}", "external_evaluation", "evaluate_url",
				   "https://judge.example.com/", "keys_url",
				   "https://judge.example.com/keys");

	assert_int_equal(access_rule_parse(object, arena, &rule, NULL), 0);
	json_decref(object);
	return rule;
}

static struct access_identity *ann(void)
{
	return access_identity_new(
		"session", "1234",
		BYTES_LIT("{\"email\": \"ann@example.com\", \"name\": \"Ann\", \"idp\": \"p1\", "
			  "\"amr\": [\"pwd\"], \"groups\": [\"ops\"], \"organizations\": [{\"name\": "
			  "\"acme\", \"teams\": [\"core\"]}], \"claims\": {\"dept\": \"IT\"}}"),
		NOW, NOW + 3600 * USEC_PER_SEC, NULL);
}

static void the_question_says_who_it_is_and_is_a_token_for_nobody_else(void **state)
{
	struct setup *s = *state;
	struct arena arena;
	arena_init(&arena);
	struct access_rule rule = rule_of(&arena);
	struct access_identity *identity = ann();
	struct evaluation *e = evaluation_new(&rule), *other = evaluation_new(&rule);
	const struct evaluation_about about = {
		.issuer = "https://adit.example.com",
		.identity = identity,
		.facts = &identity->facts,
		.provider_type = "oidc",
		.client_ip = BYTES_LIT("192.0.2.1"),
		.now = NOW,
	};
	struct key_set *keys = public_of(s->ours);
	const char *audience = "https://judge.example.com/";
	struct jwt_claims claims;
	struct access_claims access;
	struct err err = { 0 };
	json_t *all, *who, *wanted;

	evaluation_sign(e, s->ours, &about);
	assert_int_equal(jwt_verify(keys, bytes_str(e->question),
				    &(struct jwt_expected){ .issuer = about.issuer,
							    .audiences = &audience,
							    .audience_count = 1,
							    .now = NOW },
				    &arena, &claims, &err),
			 0);
	assert_int_equal(claims.expires_at, NOW + EVALUATION_LIFE);
	all = json_loadb((const char *)claims.json.ptr, claims.json.len, 0, NULL);
	who = json_object_get(all, "identity");
	wanted = json_pack("{s:s, s:s, s:s, s:s, s:{s:s, s:s}, s:[s], s:[s], s:[{s:s, s:[s]}], "
			   "s:s, s:I, s:{s:s}}",
			   "id", "1234", "user_uuid", "1234", "email", "ann@example.com", "name",
			   "Ann", "idp", "id", "p1", "type", "oidc", "amr", "pwd", "groups", "ops",
			   "organizations", "name", "acme", "teams", "core", "ip", "192.0.2.1",
			   "iat", (json_int_t)SECONDS, "oidc_fields", "dept", "IT");
	assert_true(json_equal(who, wanted));
	/* Each question has a nonce of its own. */
	assert_string_equal(json_string_value(json_object_get(all, "nonce")), e->service->nonce);
	assert_string_not_equal(e->service->nonce, other->service->nonce);
	/* Who receives it cannot use it here, whatever they are called. */
	for (enum access_token_type type = 0; type < TOKEN_TYPES; type++)
		assert_int_equal(access_token_check(keys, bytes_str(e->question), type, about.issuer,
						    audience, NOW, &arena, &access, &err),
				 E_DENIED);
	json_decref(wanted);
	json_decref(all);
	key_set_free(keys);
	evaluation_free(e);
	evaluation_free(other);
	access_identity_unref(identity);
	arena_done(&arena);
}

static void marks_tell_services_apart_and_nothing_else(void **state)
{
	struct arena arena;
	arena_init(&arena);
	struct access_rule rule = rule_of(&arena);
	struct bytes same = access_external_mark(&arena, rule.value, rule.detail);
	struct bytes keys = access_external_mark(&arena, rule.value, rule.value);

	assert_int_equal(rule.mark.len, 16);
	assert_true(bytes_eq(rule.mark, same));
	assert_false(bytes_eq(rule.mark, keys));
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_answer_is_yes_or_no),
		cmocka_unit_test(what_cannot_be_trusted_is_no_answer),
		cmocka_unit_test(the_question_says_who_it_is_and_is_a_token_for_nobody_else),
		cmocka_unit_test(marks_tell_services_apart_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
