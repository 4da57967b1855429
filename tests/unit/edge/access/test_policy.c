/* Who may pass: the table of tests/data/access/policies.json, and what is refused when it is read.
 *
 * A case is [policies, visitor, outcome, deciding policy, kind of the deciding rule]; without the last two no policy
 * decides. The visitor {} has not signed in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "edge/access/policy.h"

enum { LIST_MAX = 8 };

static const char *const outcomes[] = {
	[ACCESS_REFUSED] = "refused", [ACCESS_PASS] = "pass",       [ACCESS_SERVICE] = "service",
	[ACCESS_ALLOWED] = "allowed", [ACCESS_SIGN_IN] = "sign in", [ACCESS_ASK] = "ask",
};

struct setup {
	struct arena arena;
	json_t *table;
	struct access_group groups[LIST_MAX];
	size_t group_count;
};

/* --- Building --------------------------------------------------------------------------------- */

static struct bytes text_of(const json_t *value)
{
	return bytes_of(json_string_value(value), json_string_length(value));
}

static struct access_policy policy_of(struct setup *s, json_t *object)
{
	struct access_policy p;
	struct err err = { 0 };

	json_object_set(object, "id", json_object_get(object, "name"));
	if (access_policy_parse(object, &s->arena, &p, &err) < 0 ||
	    access_group_link(&p.conditions, s->groups, s->group_count, &err) < 0 ||
	    access_policy_check(&p, &err) < 0)
		fail_msg("%s", err.text);
	return p;
}

static const struct bytes *texts_of(struct setup *s, const json_t *list, size_t *ret_count)
{
	struct bytes *texts;

	*ret_count = json_array_size(list);
	texts = arena_alloc(&s->arena, *ret_count * sizeof(*texts) + 1);
	for (size_t i = 0; i < *ret_count; i++)
		texts[i] = text_of(json_array_get(list, i));
	return texts;
}

static struct access_facts facts_of(struct setup *s, json_t *who)
{
	struct access_facts f = { .claims = json_object_get(who, "claims") };
	const json_t *email = json_object_get(who, "email"), *ip = json_object_get(who, "ip");
	const json_t *teams = json_object_get(who, "teams"), *cn = json_object_get(who, "cn");
	json_t *external = json_object_get(who, "external"), *value;
	const char *country = json_string_value(json_object_get(who, "country")), *key;

	f.has_identity = email != NULL;
	f.email = text_of(email);
	f.idp = text_of(json_object_get(who, "idp"));
	f.methods = texts_of(s, json_object_get(who, "methods"), &f.method_count);
	f.groups = texts_of(s, json_object_get(who, "groups"), &f.group_count);
	if (ip) {
		struct address a;

		assert_true(address_from_ip(text_of(ip), 1, &a));
		f.has_address = network_of_address(&a, &f.address);
	}
	if (country)
		memcpy(f.country, country, 3);
	f.has_certificate = cn != NULL;
	f.common_name = text_of(cn);
	f.service_token = text_of(json_object_get(who, "token"));

	struct access_membership *m =
		arena_alloc(&s->arena, json_array_size(teams) * sizeof(*m) + 1);
	for (size_t i = 0; i < json_array_size(teams); i++) {
		const json_t *pair = json_array_get(teams, i);
		m[f.membership_count++] = (struct access_membership){
			.organisation = text_of(json_array_get(pair, 0)),
			.team = text_of(json_array_get(pair, 1)),
		};
	}
	f.memberships = m;

	struct access_external_answer *answers =
		arena_alloc(&s->arena, json_object_size(external) * sizeof(*answers) + 1);
	json_object_foreach(external, key, value) answers[f.external_count++] =
		(struct access_external_answer){
			access_external_mark(&s->arena, bytes_str(key),
					     BYTES_LIT("https://judge.example.com/keys")),
			json_is_null(value)   ? ACCESS_UNKNOWN
			: json_is_true(value) ? ACCESS_YES
					      : ACCESS_NO,
		};
	f.external = answers;
	return f;
}

static int start(void **state)
{
	struct setup *s = mem_alloc(sizeof(*s));
	json_t *groups, *group;
	json_error_t why;
	struct err err = { 0 };
	size_t i;

	arena_init(&s->arena);
	s->table = json_load_file("tests/data/access/policies.json", JSON_REJECT_DUPLICATES, &why);
	if (!s->table)
		fail_msg("line %d: %s", why.line, why.text);
	groups = json_object_get(s->table, "groups");
	json_array_foreach(groups, i,
			   group) if (access_group_parse(group, &s->arena,
							 &s->groups[s->group_count++], &err) < 0)
		fail_msg("%s", err.text);
	if (access_group_link_all(s->groups, s->group_count, &err) < 0)
		fail_msg("%s", err.text);
	*state = s;
	return 0;
}

static int end(void **state)
{
	struct setup *s = *state;

	json_decref(s->table);
	arena_done(&s->arena);
	mem_free(s);
	return 0;
}

/* --- The table -------------------------------------------------------------------------------- */

static struct access_verdict decide(struct setup *s, const char *set, const struct access_facts *f)
{
	json_t *list = json_object_get(json_object_get(s->table, "policies"), set), *object;
	struct access_policy *policies;
	const struct access_policy **order;
	size_t i;

	assert_non_null(list);
	policies = arena_alloc(&s->arena, json_array_size(list) * sizeof(*policies) + 1);
	order = arena_alloc(&s->arena, json_array_size(list) * sizeof(*order) + 1);
	json_array_foreach(list, i, object)
	{
		policies[i] = policy_of(s, object);
		order[i] = &policies[i];
	}
	return access_decide(order, json_array_size(list), f);
}

static void each_visitor_is_judged_as_the_table_says(void **state)
{
	struct setup *s = *state;
	json_t *cases = json_object_get(s->table, "cases"), *c;
	size_t i;

	assert_true(json_array_size(cases) >= 100);
	json_array_foreach(cases, i, c)
	{
		const char *set = json_string_value(json_array_get(c, 0));
		const char *policy = json_string_value(json_array_get(c, 3));
		const char *rule = json_string_value(json_array_get(c, 4));
		struct access_facts f = facts_of(s, json_array_get(c, 1));
		struct access_verdict v = decide(s, set, &f);
		struct bytes text = access_verdict_text(&v, &s->arena);

		if (strcmp(outcomes[v.outcome], json_string_value(json_array_get(c, 2))) != 0 ||
		    !policy != !v.policy || (policy && strcmp(v.policy->name, policy) != 0) ||
		    (rule && (!v.why.rule || strcmp(v.why.rule->kind, rule) != 0))) {
			char *line = json_dumps(c, 0);
			fail_msg("case %zu, %s: " BYTES_FMT, i, line, BYTES_ARG(text));
		}
	}
}

/* Whoever has no identity, no token and no certificate is let through by a bypass policy only. */
static void nobody_passes_unknown(void **state)
{
	struct setup *s = *state;
	json_t *sets = json_object_get(s->table, "policies"), *list;
	struct access_facts nobody = { 0 };
	const char *set;

	json_object_foreach(sets, set, list)
	{
		struct access_verdict v = decide(s, set, &nobody);

		assert_true(v.outcome == ACCESS_REFUSED || v.outcome == ACCESS_SIGN_IN ||
			    (v.outcome == ACCESS_PASS && v.policy->decision == ACCESS_BYPASS));
	}
}

/* Each selector by itself, in each list: whom it lets in, and which rule is to blame where it does not. */
struct each {
	const char *rule, *holds_for, *not_for; /* quotes written as ' */
	bool is_of_person;
};

#define FROM(idp) ",'identity_provider_id':'" idp "'"
#define BY(idp) "'email':'a@b.c','idp':'" idp "'"
#define JUDGE "https://judge.example.com"

static const struct each each_selector[] = {
	{ "'email':{'email':'ann@example.com'}", "'email':'Ann@example.com'",
	  "'email':'eve@example.com'", true },
	{ "'email_domain':{'domain':'example.com'}", "'email':'eve@EXAMPLE.com'",
	  "'email':'eve@example.com.evil.test'", true },
	{ "'ip':{'ip':'192.0.2.0/24'}", "'ip':'192.0.2.255'", "'ip':'192.0.3.0'", false },
	{ "'ip':{'ip':'2001:db8::/32'}", "'ip':'2001:db8:ffff::1'", "'ip':'2001:db9::1'", false },
	{ "'geo':{'country_code':'PT'}", "'country':'PT'", "'country':'ES'", false },
	{ "'group':{'id':'staff'}", "'email':'ann@example.com'", "'email':'guest@example.com'",
	  true },
	{ "'service_token':{'token_id':'t1'}", "'token':'t1'", "'token':'t2'", false },
	{ "'any_valid_service_token':{}", "'token':'t2'", "'cn':'x'", false },
	{ "'certificate':{}", "'cn':'x'", "'token':'t1'", false },
	{ "'common_name':{'common_name':'device-7'}", "'cn':'device-7'", "'cn':'device-70'", false },
	{ "'login_method':{'id':'google'}", BY("google"), BY("github"), true },
	{ "'auth_method':{'auth_method':'mfa'}", BY("x") ",'methods':['pwd','mfa']",
	  BY("x") ",'methods':['pwd']", true },
	{ "'github-organization':{'name':'acme'" FROM("github") "}",
	  BY("github") ",'teams':[['acme','']]", BY("github") ",'teams':[['other','']]", true },
	{ "'github-organization':{'name':'acme','team':'core'" FROM("github") "}",
	  BY("github") ",'teams':[['acme','core']]", BY("github") ",'teams':[['acme','docs']]",
	  true },
	{ "'gsuite':{'email':'ops@example.com'" FROM("google") "}",
	  BY("google") ",'groups':['ops@example.com']",
	  BY("google") ",'groups':['dev@example.com']", true },
	{ "'azureAD':{'id':'1f0c'" FROM("entra") "}", BY("entra") ",'groups':['1f0c']",
	  BY("entra") ",'groups':['1f0']", true },
	{ "'okta':{'name':'Ops'" FROM("okta") "}", BY("okta") ",'groups':['Ops']",
	  BY("other") ",'groups':['Ops']", true },
	{ "'oidc':{'claim_name':'role','claim_value':'admin'" FROM("oidc") "}",
	  BY("oidc") ",'claims':{'role':['admin']}", BY("oidc") ",'claims':{'roles':['admin']}",
	  true },
	{ "'saml':{'attribute_name':'unit','attribute_value':'IT'" FROM("saml") "}",
	  BY("saml") ",'claims':{'unit':'IT'}", BY("saml") ",'claims':{'unit':'HR'}", true },
	{ "'external_evaluation':{'evaluate_url':'" JUDGE "','keys_url':'" JUDGE "/keys'}",
	  BY("x") ",'external':{'" JUDGE "':true}", BY("x") ",'external':{'" JUDGE "':false}",
	  true },
};

static json_t *quoted(const char *before, const char *text, const char *behind)
{
	char *copy = mem_printf("%s%s%s", before, text, behind);

	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	json_t *made = json_loads(copy, 0, NULL);
	if (!made)
		fail_msg("%s", copy);
	mem_free(copy);
	return made;
}

/* What comes of the conditions for this visitor, and which kind of rule decided it. */
static void assert_answer(struct setup *s, const char *conditions, const struct each *e,
			  const char *visitor, enum access_answer answer, enum access_step step,
			  const char *kind)
{
	json_t *object = quoted(conditions, e->rule, "}]}"), *who = quoted("{", visitor, "}");
	struct access_facts facts = facts_of(s, who);
	struct access_conditions c;
	struct access_why why = { 0 };
	struct err err = { 0 };

	if (access_conditions_parse(object, &s->arena, &c, &err) < 0 ||
	    access_group_link(&c, s->groups, s->group_count, &err) < 0)
		fail_msg("%s: %s", e->rule, err.text);
	if (access_conditions_answer(&c, &facts, false, &why) != answer || why.step != step ||
	    !why.rule != !kind || (kind && strcmp(why.rule->kind, kind) != 0))
		fail_msg("%s%s for %s: step %d, rule %s", conditions, e->rule, visitor,
			 (int)why.step, why.rule ? why.rule->kind : "none");
	json_decref(who);
	json_decref(object);
}

static void each_selector_lets_in_keeps_out_and_is_asked_for(void **state)
{
	static const char include[] = "{'include':[{",
			  exclude[] = "{'include':[{'everyone':{}}],'exclude':[{",
			  require[] = "{'include':[{'everyone':{}}],'require':[{";
	struct setup *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(each_selector); i++) {
		const struct each *e = &each_selector[i];
		char kind[40];

		snprintf(kind, sizeof(kind), "%.*s", (int)strcspn(e->rule + 1, "'"), e->rule + 1);
		assert_answer(s, include, e, e->holds_for, ACCESS_YES, ACCESS_INCLUDED, kind);
		assert_answer(s, include, e, e->not_for, ACCESS_NO, ACCESS_NOT_INCLUDED, NULL);
		assert_answer(s, exclude, e, e->holds_for, ACCESS_NO, ACCESS_EXCLUDED, kind);
		assert_answer(s, exclude, e, e->not_for, ACCESS_YES, ACCESS_INCLUDED, "everyone");
		assert_answer(s, require, e, e->holds_for, ACCESS_YES, ACCESS_INCLUDED, "everyone");
		assert_answer(s, require, e, e->not_for, ACCESS_NO, ACCESS_NOT_REQUIRED, kind);
		/* Of whom nothing is known. */
		if (e->is_of_person) {
			assert_answer(s, include, e, "", ACCESS_UNKNOWN, ACCESS_OPEN, kind);
			assert_answer(s, exclude, e, "", ACCESS_UNKNOWN, ACCESS_OPEN, kind);
			assert_answer(s, require, e, "", ACCESS_UNKNOWN, ACCESS_OPEN, kind);
		} else {
			bool is_in_doubt =
				strcmp(kind, "geo") == 0; /* whoever might be there is out */

			assert_answer(s, include, e, "", ACCESS_NO, ACCESS_NOT_INCLUDED, NULL);
			assert_answer(s, exclude, e, "", is_in_doubt ? ACCESS_NO : ACCESS_YES,
				      is_in_doubt ? ACCESS_EXCLUDED : ACCESS_INCLUDED,
				      is_in_doubt ? kind : "everyone");
			assert_answer(s, require, e, "", ACCESS_NO, ACCESS_NOT_REQUIRED, kind);
		}
	}
}

/* --- Reading ---------------------------------------------------------------------------------- */

static int parse(struct setup *s, const char *json, struct access_policy *ret, struct err *err)
{
	json_t *object = json_loads(json, 0, NULL);
	int r;

	assert_non_null(object);
	r = access_policy_parse(object, &s->arena, ret, err);
	json_decref(object);
	return r;
}

static void a_policy_is_written_as_it_was_read(void **state)
{
	struct setup *s = *state;
	json_t *sets = json_object_get(s->table, "policies"), *list, *object, *again;
	const char *set;
	size_t i;

	json_object_foreach(sets, set, list) json_array_foreach(list, i, object)
	{
		struct access_policy p = policy_of(s, object);

		again = json_object();
		access_conditions_json(&p.conditions, again);
		json_t *included = json_object_get(object, "include");
		assert_true(json_equal(json_object_get(again, "include"), included));
		json_decref(again);
	}
}

static const struct bad {
	const char *json;
	int code;
	const char *says;
} bad[] = {
	{ "{}", E_PARSE, "\"id\"" },
	{ "{\"id\":\"1\",\"name\":\"x\"}", E_PARSE, "decision" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"maybe\"}", E_PARSE, "decision" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\"}", E_PARSE, "include" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[]}", E_PARSE,
	  "include" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":{}}", E_PARSE, "list" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[1]}", E_PARSE,
	  "rule 1" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"emial\":{}}]}",
	  E_PARSE, "did you mean \"email\"" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"warp\":{}}]}",
	  E_UNSUPPORTED, "warp" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"everyone\":{},\"ip\":{}}]}",
	  E_PARSE, "one selector" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"email\":{}}]}",
	  E_PARSE, "must be a text" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"email\":{\"email\":\"ann\"}}]}",
	  E_PARSE, "no e-mail" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"email\":{\"email\":\"\"}}]}",
	  E_PARSE, "empty" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"email\":{\"email\":\"a@\\nb\"}}]}",
	  E_PARSE, "control" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"email_domain\":{\"domain\":\"a@b\"}}]}",
	  E_PARSE, "behind the @" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"email_domain\":{\"domain\":\"@\"}}]}",
	  E_PARSE, "behind the @" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"ip\":{\"ip\":\"10.0.0.0/33\"}}]}",
	  E_PARSE, "no network" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"geo\":{\"country_code\":\"PRT\"}}]}",
	  E_PARSE, "two letters" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"geo\":{\"country_code\":\"0X\"}}]}",
	  E_PARSE, "two letters" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"geo\":{\"country_code\":\"\u00fc\"}}]}",
	  E_PARSE, "two letters" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"gsuite\":{\"email\":\"a@b\"}}]}",
	  E_PARSE, "identity_provider_id" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"external_evaluation\":"
	  "{\"evaluate_url\":\"http://a\",\"keys_url\":\"https://a\"}}]}",
	  E_PARSE, "https" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"everyone\":{}}],"
	  "\"session_duration\":\"soon\"}",
	  E_PARSE, "duration" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"everyone\":{}}],"
	  "\"session_duration\":\"-1h\"}",
	  E_PARSE, "duration" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"everyone\":{}}],"
	  "\"purpose_justification_required\":\"true\"}",
	  E_PARSE, "true or false" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"allow\",\"include\":[{\"everyone\":{}}],"
	  "\"purpose_justification_prompt\":7}",
	  E_PARSE, "must be a text" },
	{ "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"deny\",\"include\":[{\"everyone\":{}}],"
	  "\"purpose_justification_required\":true}",
	  E_INVALID, "only a policy that allows" },
};

static void what_makes_no_sense_is_refused_and_named(void **state)
{
	struct setup *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };
		struct access_policy p;

		if (parse(s, bad[i].json, &p, &err) != bad[i].code || !strstr(err.text, bad[i].says))
			fail_msg("%s: %s", bad[i].json, err.text);
	}
}

static void policies_before_sign_in_take_no_rules_about_people(void **state)
{
	static const char *const jsons[] = {
		"{\"id\":\"1\",\"name\":\"x\",\"decision\":\"bypass\",\"include\":[{\"email\":{\"email\":\"a@b\"}}]}",
		"{\"id\":\"1\",\"name\":\"x\",\"decision\":\"non_identity\",\"include\":[{\"everyone\":{}}],"
		"\"exclude\":[{\"login_method\":{\"id\":\"otp\"}}]}",
		"{\"id\":\"1\",\"name\":\"x\",\"decision\":\"bypass\",\"include\":[{\"everyone\":{}}],"
		"\"require\":[{\"group\":{\"id\":\"admins\"}}]}",
	};
	struct setup *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(jsons); i++) {
		struct access_policy p;
		struct err err = { 0 };

		assert_int_equal(parse(s, jsons[i], &p, &err), 0);
		assert_int_equal(access_group_link(&p.conditions, s->groups, s->group_count, &err),
				 0);
		assert_int_equal(access_policy_check(&p, &err), E_INVALID);
		assert_non_null(strstr(err.text, "before anybody has signed in"));
	}
}

/* A Service Auth policy is about services: whoever shows nothing is none, whatever its rules say. */
static void a_service_shows_a_token_or_a_certificate(void **state)
{
	static const struct access_facts nobody = { 0 },
					 person = { .has_identity = true,
						    .email = BYTES_LIT("a@b.c") },
					 token = { .service_token = BYTES_LIT("t") },
					 certificate = { .has_certificate = true };
	struct setup *s = *state;
	struct access_policy p;
	const struct access_policy *order = &p;
	struct err err = { 0 };

	assert_int_equal(parse(s,
			       "{\"id\":\"1\",\"name\":\"x\",\"decision\":\"non_identity\","
			       "\"include\":[{\"everyone\":{}}]}",
			       &p, &err),
			 0);
	assert_int_equal(access_decide(&order, 1, &nobody).outcome, ACCESS_REFUSED);
	assert_int_equal(access_decide(&order, 1, &person).outcome, ACCESS_REFUSED);
	assert_int_equal(access_decide(&order, 1, &token).outcome, ACCESS_SERVICE);
	assert_int_equal(access_decide(&order, 1, &certificate).outcome, ACCESS_SERVICE);
}

static void group_init(struct setup *s, struct access_group *g, const char *id, const char *member)
{
	json_t *object = json_pack("{s:s, s:s, s:[{s:{s:s}}]}", "id", id, "name", id, "include",
				   "group", "id", member);
	struct err err = { 0 };

	assert_int_equal(access_group_parse(object, &s->arena, g, &err), 0);
	json_decref(object);
}

static void groups_that_hold_each_other_are_refused(void **state)
{
	struct access_group groups[ACCESS_GROUP_DEPTH + 2];
	struct setup *s = *state;
	struct err err = { 0 };
	char id[4], next[4];

	group_init(s, &groups[0], "a", "a");
	assert_int_equal(access_group_link_all(groups, 1, &err), E_INVALID);

	group_init(s, &groups[0], "a", "b");
	assert_int_equal(access_group_link_all(groups, 1, &err), E_NOT_FOUND);
	group_init(s, &groups[1], "b", "a");
	assert_int_equal(access_group_link_all(groups, 2, &err), E_INVALID);

	for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
		snprintf(id, sizeof(id), "%zu", i);
		snprintf(next, sizeof(next), "%zu", i + 1);
		group_init(s, &groups[i], id, next);
	}
	groups[ARRAY_LEN(groups) - 1].conditions.include[0].selector = ACCESS_EVERYONE;
	assert_int_equal(access_group_link_all(groups, ARRAY_LEN(groups), &err), E_INVALID);
	/* One level less is fine. */
	assert_int_equal(access_group_link_all(groups + 1, ARRAY_LEN(groups) - 1, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_visitor_is_judged_as_the_table_says, start,
						end),
		cmocka_unit_test_setup_teardown(nobody_passes_unknown, start, end),
		cmocka_unit_test_setup_teardown(each_selector_lets_in_keeps_out_and_is_asked_for,
						start, end),
		cmocka_unit_test_setup_teardown(a_policy_is_written_as_it_was_read, start, end),
		cmocka_unit_test_setup_teardown(what_makes_no_sense_is_refused_and_named, start,
						end),
		cmocka_unit_test_setup_teardown(policies_before_sign_in_take_no_rules_about_people,
						start, end),
		cmocka_unit_test_setup_teardown(a_service_shows_a_token_or_a_certificate, start,
						end),
		cmocka_unit_test_setup_teardown(groups_that_hold_each_other_are_refused, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
