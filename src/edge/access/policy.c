#include "edge/access/policy.h"

#include <string.h>

#include "config/yaml.h"

static const char *const decisions[] = {
	[ACCESS_ALLOW] = "allow",
	[ACCESS_BLOCK] = "deny",
	[ACCESS_BYPASS] = "bypass",
	[ACCESS_SERVICE_AUTH] = "non_identity",
};

const char *access_decision_name(enum access_decision decision)
{
	return decisions[decision];
}

/* --- Conditions ------------------------------------------------------------------------------- */

static int parse_list(const json_t *object, const char *member, struct arena *arena,
		      struct access_rule **ret, size_t *ret_count, struct err *err)
{
	const json_t *list = json_object_get(object, member);
	size_t count = json_array_size(list);

	*ret = NULL;
	*ret_count = 0;
	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return err_set(err, E_PARSE, "\"%s\" must be a list of rules", member);
	if (count > ACCESS_RULES_MAX)
		return err_set(err, E_LIMIT, "\"%s\" has more than %d rules", member,
			       ACCESS_RULES_MAX);
	*ret = arena_alloc(arena, count * sizeof(**ret) + 1);
	for (size_t i = 0; i < count; i++) {
		int r = access_rule_parse(json_array_get(list, i), arena, &(*ret)[i], err);
		if (r < 0)
			return err_wrap(err, "%s, rule %zu", member, i + 1);
	}
	*ret_count = count;
	return 0;
}

int access_conditions_parse(const json_t *object, struct arena *arena,
			    struct access_conditions *ret, struct err *err)
{
	int r = parse_list(object, "include", arena, &ret->include, &ret->include_count, err);

	if (r == 0)
		r = parse_list(object, "require", arena, &ret->require, &ret->require_count, err);
	if (r == 0)
		r = parse_list(object, "exclude", arena, &ret->exclude, &ret->exclude_count, err);
	if (r == 0 && ret->include_count == 0)
		r = err_set(err, E_PARSE,
			    "\"include\" needs a rule at least; {\"everyone\": {}} is for all");
	return r;
}

static void put_list(json_t *object, const char *member, const struct access_rule *list,
		     size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, access_rule_json(&list[i]));
	json_object_set_new(object, member, array);
}

void access_conditions_json(const struct access_conditions *c, json_t *object)
{
	put_list(object, "include", c->include, c->include_count);
	put_list(object, "require", c->require, c->require_count);
	put_list(object, "exclude", c->exclude, c->exclude_count);
}

static bool any_needs_identity(const struct access_rule *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (access_rule_needs_identity(&list[i]))
			return true;
	return false;
}

bool access_conditions_need_identity(const struct access_conditions *c)
{
	return any_needs_identity(c->include, c->include_count) ||
	       any_needs_identity(c->require, c->require_count) ||
	       any_needs_identity(c->exclude, c->exclude_count);
}

/* The first rule of the list with this answer; NULL: none has it. */
static const struct access_rule *first_with(const struct access_rule *list, size_t count,
					    const struct access_facts *facts, bool in_doubt,
					    enum access_answer answer)
{
	for (size_t i = 0; i < count; i++)
		if (access_rule_answer(&list[i], facts, in_doubt) == answer)
			return &list[i];
	return NULL;
}

static enum access_answer because(struct access_why *why, enum access_step step,
				  const struct access_rule *rule, enum access_answer answer)
{
	if (why)
		*why = (struct access_why){ .step = step, .rule = rule };
	return answer;
}

/* What is certain comes first: one rule that says no settles it, whatever the unknown ones will say. */
enum access_answer access_conditions_answer(const struct access_conditions *c,
					    const struct access_facts *facts, bool in_doubt,
					    struct access_why *why)
{
	const struct access_rule *included, *rule;

	included = first_with(c->include, c->include_count, facts, in_doubt, ACCESS_YES);
	if (!included) {
		included = first_with(c->include, c->include_count, facts, in_doubt, ACCESS_UNKNOWN);
		if (!included)
			return because(why, ACCESS_NOT_INCLUDED, NULL, ACCESS_NO);
	}
	rule = first_with(c->exclude, c->exclude_count, facts, !in_doubt, ACCESS_YES);
	if (rule)
		return because(why, ACCESS_EXCLUDED, rule, ACCESS_NO);
	rule = first_with(c->require, c->require_count, facts, in_doubt, ACCESS_NO);
	if (rule)
		return because(why, ACCESS_NOT_REQUIRED, rule, ACCESS_NO);

	rule = first_with(c->exclude, c->exclude_count, facts, !in_doubt, ACCESS_UNKNOWN);
	if (!rule)
		rule = first_with(c->require, c->require_count, facts, in_doubt, ACCESS_UNKNOWN);
	if (!rule && access_rule_answer(included, facts, in_doubt) == ACCESS_UNKNOWN)
		rule = included;
	if (rule)
		return because(why, ACCESS_OPEN, rule, ACCESS_UNKNOWN);
	return because(why, ACCESS_INCLUDED, included, ACCESS_YES);
}

/* --- Groups ----------------------------------------------------------------------------------- */

static int take_name(const json_t *object, const char *member, struct arena *arena,
		     const char **ret, struct err *err)
{
	const char *text = json_string_value(json_object_get(object, member));

	if (!text || !text[0] || strlen(text) > 255)
		return err_set(err, E_PARSE, "\"%s\" must be a text of 1 to 255 bytes", member);
	*ret = arena_strdup(arena, bytes_str(text));
	return 0;
}

int access_group_parse(const json_t *object, struct arena *arena, struct access_group *ret,
		       struct err *err)
{
	int r;

	*ret = (struct access_group){ 0 };
	r = take_name(object, "id", arena, &ret->id, err);
	if (r == 0)
		r = take_name(object, "name", arena, &ret->name, err);
	if (r == 0) {
		r = access_conditions_parse(object, arena, &ret->conditions, err);
		if (r < 0)
			err_wrap(err, "group %s", ret->name);
	}
	return r;
}

static struct access_group *group_find(struct access_group *groups, size_t count, struct bytes id)
{
	for (size_t i = 0; i < count; i++)
		if (bytes_eq(bytes_str(groups[i].id), id))
			return &groups[i];
	return NULL;
}

static int link_list(struct access_rule *list, size_t list_count, struct access_group *groups,
		     size_t count, struct err *err)
{
	for (size_t i = 0; i < list_count; i++) {
		if (list[i].selector != ACCESS_GROUP)
			continue;
		list[i].group = group_find(groups, count, list[i].value);
		if (!list[i].group)
			return err_set(err, E_NOT_FOUND, "there is no group " BYTES_FMT,
				       BYTES_ARG(list[i].value));
	}
	return 0;
}

int access_group_link(struct access_conditions *c, struct access_group *groups, size_t count,
		      struct err *err)
{
	int r = link_list(c->include, c->include_count, groups, count, err);

	if (r == 0)
		r = link_list(c->require, c->require_count, groups, count, err);
	if (r == 0)
		r = link_list(c->exclude, c->exclude_count, groups, count, err);
	return r;
}

static unsigned list_depth(const struct access_rule *list, size_t count)
{
	unsigned deepest = 0;

	for (size_t i = 0; i < count; i++)
		if (list[i].group && list[i].group->depth + 1 > deepest)
			deepest = list[i].group->depth + 1;
	return deepest;
}

static unsigned conditions_depth(const struct access_conditions *c)
{
	unsigned include = list_depth(c->include, c->include_count);
	unsigned require = list_depth(c->require, c->require_count);
	unsigned exclude = list_depth(c->exclude, c->exclude_count);
	unsigned most = include > require ? include : require;

	return most > exclude ? most : exclude;
}

/* Depths grow round by round until nothing changes; in a circle they never stop growing. */
int access_group_link_all(struct access_group *groups, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		int r = access_group_link(&groups[i].conditions, groups, count, err);
		if (r < 0)
			return err_wrap(err, "group %s", groups[i].name);
	}
	for (bool changed = true; changed;) {
		changed = false;
		for (size_t i = 0; i < count; i++) {
			unsigned depth = conditions_depth(&groups[i].conditions);

			if (depth > ACCESS_GROUP_DEPTH)
				return err_set(err, E_INVALID,
					       "group %s holds itself, or groups are nested more "
					       "than %d deep",
					       groups[i].name, ACCESS_GROUP_DEPTH);
			changed = changed || depth != groups[i].depth;
			groups[i].depth = depth;
		}
	}
	return 0;
}

/* --- Policies --------------------------------------------------------------------------------- */

/* "24h"; null or missing: -1. */
static int take_duration(const json_t *object, const char *member, usec *ret, struct err *err)
{
	const json_t *value = json_object_get(object, member);

	*ret = -1;
	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value) || !duration_parse(bytes_str(json_string_value(value)), ret) ||
	    *ret < 0)
		return err_set(err, E_PARSE, "\"%s\" must be a duration: \"30m\", \"24h\"", member);
	return 0;
}

static int take_purpose(const json_t *object, struct arena *arena, struct access_policy *p,
			struct err *err)
{
	const json_t *asks = json_object_get(object, "purpose_justification_required");
	const json_t *prompt = json_object_get(object, "purpose_justification_prompt");

	if (asks && !json_is_null(asks) && !json_is_boolean(asks))
		return err_set(err, E_PARSE,
			       "\"purpose_justification_required\" must be true or false");
	if (prompt && !json_is_null(prompt) &&
	    (!json_is_string(prompt) || json_string_length(prompt) > PURPOSE_PROMPT_BYTES))
		return err_set(err, E_PARSE,
			       "\"purpose_justification_prompt\" must be a text of %d bytes at most",
			       PURPOSE_PROMPT_BYTES);
	p->asks_purpose = json_is_true(asks);
	if (json_is_string(prompt))
		p->purpose_prompt = arena_strdup(arena, bytes_str(json_string_value(prompt)));
	if (p->asks_purpose && p->decision != ACCESS_ALLOW)
		return err_set(err, E_INVALID,
			       "only a policy that allows can ask for a reason "
			       "(\"purpose_justification_required\")");
	return 0;
}

int access_policy_parse(const json_t *object, struct arena *arena, struct access_policy *ret,
			struct err *err)
{
	const char *decision = json_string_value(json_object_get(object, "decision"));
	size_t i = 0;
	int r;

	*ret = (struct access_policy){ .purpose_prompt = "" };
	r = take_name(object, "id", arena, &ret->id, err);
	if (r == 0)
		r = take_name(object, "name", arena, &ret->name, err);
	if (r < 0)
		return r;
	while (decision && i < ARRAY_LEN(decisions) && strcmp(decisions[i], decision) != 0)
		i++;
	if (!decision || i == ARRAY_LEN(decisions))
		r = err_set(err, E_PARSE,
			    "\"decision\" must be allow, deny, bypass or non_identity");
	ret->decision = (enum access_decision)i;
	if (r == 0)
		r = access_conditions_parse(object, arena, &ret->conditions, err);
	if (r == 0)
		r = take_duration(object, "session_duration", &ret->session, err);
	if (r == 0)
		r = take_purpose(object, arena, ret, err);
	return r < 0 ? err_wrap(err, "policy %s", ret->name) : 0;
}

static const struct access_rule *first_about_person(const struct access_conditions *c)
{
	const struct access_rule *lists[] = { c->include, c->require, c->exclude };
	size_t counts[] = { c->include_count, c->require_count, c->exclude_count };

	for (size_t l = 0; l < ARRAY_LEN(lists); l++)
		for (size_t i = 0; i < counts[l]; i++)
			if (access_rule_needs_identity(&lists[l][i]))
				return &lists[l][i];
	return NULL;
}

int access_policy_check(const struct access_policy *p, struct err *err)
{
	const struct access_rule *rule = NULL;

	if (p->decision == ACCESS_BYPASS || p->decision == ACCESS_SERVICE_AUTH)
		rule = first_about_person(&p->conditions);
	if (!rule)
		return 0;
	return err_set(err, E_INVALID,
		       "policy %s: a %s policy is asked before anybody has signed in, so it cannot "
		       "have the rule %s",
		       p->name, p->decision == ACCESS_BYPASS ? "bypass" : "service auth",
		       rule->kind);
}

enum access_answer access_policy_answer(const struct access_policy *p,
					const struct access_facts *facts, struct access_why *why)
{
	bool in_doubt = p->decision == ACCESS_BLOCK;
	enum access_answer answer = access_conditions_answer(&p->conditions, facts, in_doubt, why);

	if (why && why->rule)
		why->is_in_doubt = access_rule_is_doubtful(why->rule, facts);
	return answer;
}

static struct access_verdict verdict(enum access_outcome outcome, const struct access_policy *policy,
				     const struct access_why *why)
{
	return (struct access_verdict){ .outcome = outcome, .policy = policy, .why = *why };
}

static const struct access_rule *open_in(const struct access_rule *list, size_t count,
					 const struct access_facts *facts, bool in_doubt,
					 bool was_asked);

/* The rule of an external service that leaves the answer open; NULL: there is none. */
static const struct access_rule *open_rule(const struct access_conditions *c,
					   const struct access_facts *facts, bool in_doubt,
					   bool was_asked)
{
	const struct access_rule *r = NULL;

	if (!first_with(c->include, c->include_count, facts, in_doubt, ACCESS_YES))
		r = open_in(c->include, c->include_count, facts, in_doubt, was_asked);
	if (!r)
		r = open_in(c->require, c->require_count, facts, in_doubt, was_asked);
	return r ? r : open_in(c->exclude, c->exclude_count, facts, !in_doubt, was_asked);
}

static const struct access_rule *open_in(const struct access_rule *list, size_t count,
					 const struct access_facts *facts, bool in_doubt,
					 bool was_asked)
{
	for (size_t i = 0; i < count; i++) {
		const struct access_rule *r = &list[i];

		if (access_rule_answer(r, facts, in_doubt) != ACCESS_UNKNOWN)
			continue;
		if (r->selector == ACCESS_GROUP)
			r = open_rule(&r->group->conditions, facts, in_doubt, was_asked);
		else if (access_rule_was_asked(r, facts) != was_asked)
			r = NULL;
		if (r)
			return r;
	}
	return NULL;
}

/* Allow and Block. Of somebody who has not signed in a Block policy may be open: the next ones are asked
 * then, for a login makes sense only where one of them may allow. Of somebody who has, only an external service leaves
 * one open: it is asked, and if that has failed already, what might let them in does not, and what might keep them out
 * does. */
static struct access_verdict decide_person(const struct access_policy *const *policies,
					   size_t count, const struct access_facts *facts)
{
	struct access_why why = { .step = ACCESS_NOT_INCLUDED }, unsure = why;

	for (size_t i = 0; i < count; i++) {
		const struct access_policy *p = policies[i];
		enum access_answer answer;

		if (p->decision != ACCESS_ALLOW && p->decision != ACCESS_BLOCK)
			continue;
		bool is_block = p->decision == ACCESS_BLOCK;
		answer = access_policy_answer(p, facts, &why);
		if (answer == ACCESS_NO)
			continue;
		if (facts->has_identity && answer == ACCESS_UNKNOWN) {
			why.rule = open_rule(&p->conditions, facts, is_block, false);
			if (why.rule)
				return verdict(ACCESS_ASK, p, &why);
			why.rule = open_rule(&p->conditions, facts, is_block, true);
			if (is_block)
				return verdict(ACCESS_REFUSED, p, &why);
			unsure = unsure.rule ? unsure : why;
			continue;
		}
		if (facts->has_identity)
			return verdict(p->decision == ACCESS_ALLOW ? ACCESS_ALLOWED : ACCESS_REFUSED,
				       p, &why);
		if (p->decision == ACCESS_ALLOW)
			return verdict(ACCESS_SIGN_IN, p, &why);
		if (answer == ACCESS_YES)
			return verdict(ACCESS_REFUSED, p, &why);
	}
	return verdict(ACCESS_REFUSED, NULL, &unsure);
}

/* Bypass: for all whom its rules hold; Service Auth: for those of them who show that they are a service. */
static bool is_asked(const struct access_policy *p, const struct access_facts *facts)
{
	return p->decision == ACCESS_BYPASS ||
	       (p->decision == ACCESS_SERVICE_AUTH &&
		(facts->service_token.len || facts->has_certificate));
}

struct access_verdict access_decide(const struct access_policy *const *policies, size_t count,
				    const struct access_facts *facts)
{
	struct access_why why;

	for (size_t i = 0; i < count; i++) {
		const struct access_policy *p = policies[i];

		if (!is_asked(p, facts))
			continue;
		if (access_policy_answer(p, facts, &why) == ACCESS_YES)
			return verdict(p->decision == ACCESS_BYPASS ? ACCESS_PASS : ACCESS_SERVICE,
				       p, &why);
	}
	return decide_person(policies, count, facts);
}

struct bytes access_verdict_text(const struct access_verdict *v, struct arena *arena)
{
	static const char *const words[] = {
		[ACCESS_REFUSED] = "refused",
		[ACCESS_PASS] = "let through",
		[ACCESS_SERVICE] = "let in as a service",
		[ACCESS_ALLOWED] = "allowed",
		[ACCESS_SIGN_IN] = "has to sign in",
	};
	struct bytes rule;

	if (access_verdict_is_unsure(v))
		return arena_printf(arena, "refused%s%s: " BYTES_FMT " did not answer",
				    v->policy ? " by policy " : "",
				    v->policy ? v->policy->name : "", BYTES_ARG(v->why.rule->value));
	if (v->outcome == ACCESS_ASK)
		return arena_printf(arena,
				    "not decided yet by policy %s: " BYTES_FMT
				    " is asked when they sign in",
				    v->policy->name, BYTES_ARG(v->why.rule->value));
	if (!v->policy)
		return BYTES_LIT("refused: no policy lets them in");
	rule = v->why.rule ? access_rule_text(v->why.rule, arena) : BYTES_LIT("no rule");
	return arena_printf(arena, "%s by policy %s: " BYTES_FMT "%s", words[v->outcome],
			    v->policy->name, BYTES_ARG(rule),
			    v->why.is_in_doubt ? " (nobody knows the country)" : "");
}
