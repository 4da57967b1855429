/* Access policies: who may pass, in which order they are asked, and why it came out so.
 *
 * A policy has include (any must hold), require (all must) and exclude (none may). Bypass policies and, for
 * those who show a service token or a certificate, Service Auth policies are asked first, then Allow and Block in
 * their order; the first that holds decides, and when none does the visitor is refused. Everything here is immutable once parsed and pure. Any thread.
 */
#pragma once

#include "base/clock.h"
#include "edge/access/rule.h"

/* More of each is a mistake, or somebody who wants to make evaluation slow. */
#define ACCESS_RULES_MAX 256
#define ACCESS_GROUP_DEPTH 8
/* A sentence or two on a page. */
#define PURPOSE_PROMPT_BYTES 1024

struct access_conditions {
	struct access_rule *include, *require, *exclude; /* in the arena */
	size_t include_count, require_count, exclude_count;
};

/* A named set of conditions, for use in others. */
struct access_group {
	const char *id, *name;
	struct access_conditions conditions;
	unsigned depth; /* of groups within; set by access_group_link() */
};

enum access_decision { ACCESS_ALLOW, ACCESS_BLOCK, ACCESS_BYPASS, ACCESS_SERVICE_AUTH };

struct access_policy {
	const char *id, *name;
	enum access_decision decision;
	struct access_conditions conditions;
	usec session;               /* how long what it allows lasts; -1: as the application says */
	bool asks_purpose;          /* the person types why, once per session */
	const char *purpose_prompt; /* "": ours */
};

/* Why an answer is what it is. */
struct access_why {
	enum access_step {
		ACCESS_INCLUDED,     /* `rule` let them in, nothing was against it */
		ACCESS_NOT_INCLUDED, /* no include rule holds */
		ACCESS_EXCLUDED,     /* `rule` holds */
		ACCESS_NOT_REQUIRED, /* `rule` does not hold */
		ACCESS_OPEN,         /* `rule` cannot be answered yet */
	} step;
	const struct access_rule *rule; /* NULL with ACCESS_NOT_INCLUDED */
	bool is_in_doubt; /* it asks for a country that nobody can tell: this is what keeps them out */
};

enum access_outcome {
	ACCESS_REFUSED,
	ACCESS_PASS,    /* Bypass: no identity, nothing is logged */
	ACCESS_SERVICE, /* Service Auth */
	ACCESS_ALLOWED, /* a person who may */
	ACCESS_SIGN_IN, /* somebody who signs in might pass */
	ACCESS_ASK,     /* an external service has to be asked: why.rule is its rule */
};

struct access_verdict {
	enum access_outcome outcome;
	const struct access_policy *policy; /* which decided; NULL: none, and so it is refused */
	struct access_why why;              /* of that policy */
};

/* Refused because an external service was asked and did not answer: why.rule is its rule. A policy that depends on
 * it lets nobody in, and keeps out whom it might keep out. */
static inline bool access_verdict_is_unsure(const struct access_verdict *v)
{
	return v->outcome == ACCESS_REFUSED && v->why.step == ACCESS_OPEN;
}

/* "allow", "deny", "bypass", "non_identity". */
const char *access_decision_name(enum access_decision decision);

/* `object` has include, require, exclude. E_PARSE, E_LIMIT, E_UNSUPPORTED. */
int access_conditions_parse(const json_t *object, struct arena *arena,
			    struct access_conditions *ret, struct err *err);
/* Adds the three members to `object`. */
void access_conditions_json(const struct access_conditions *c, json_t *object);
bool access_conditions_need_identity(const struct access_conditions *c);
/* `in_doubt` as of access_rule_answer(); `why` may be NULL. */
enum access_answer access_conditions_answer(const struct access_conditions *c,
					    const struct access_facts *facts, bool in_doubt,
					    struct access_why *why);
/* Does it hold? What nobody can tell lets nobody in: an unknown country is none of those a policy that lets people in
 * asks for, it is one of those that such a policy excludes, and a Block policy holds wherever it might. */
enum access_answer access_policy_answer(const struct access_policy *p,
					const struct access_facts *facts, struct access_why *why);

int access_group_parse(const json_t *object, struct arena *arena, struct access_group *ret,
		       struct err *err);
/* Finds the groups that groups and policies name. E_NOT_FOUND: there is no such group; E_INVALID: groups that hold
 * each other, or are nested too deeply. */
int access_group_link_all(struct access_group *groups, size_t count, struct err *err);
int access_group_link(struct access_conditions *c, struct access_group *groups, size_t count,
		      struct err *err);

/* Bypass and Service Auth policies take no conditions about a person: nobody has signed in there. Call
 * access_policy_check() once its groups are linked. */
int access_policy_parse(const json_t *object, struct arena *arena, struct access_policy *ret,
			struct err *err);
int access_policy_check(const struct access_policy *p, struct err *err);

/* The policies of one application, in its order. */
struct access_verdict access_decide(const struct access_policy *const *policies, size_t count,
				    const struct access_facts *facts);
/* One sentence: "allowed by policy Staff: e-mail address is in example.com". In `arena`. */
struct bytes access_verdict_text(const struct access_verdict *v, struct arena *arena);
