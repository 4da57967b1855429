/* One condition of a policy: what is accepted is written so that it is accepted again and answers the same, about
 * whomever. */
#include <string.h>

#include "base/check.h"
#include "base/secret.h"
#include "edge/access/policy.h"

/* Somebody of whom much is known, somebody who has not signed in, and a service. */
static void facts_make(const struct access_rule *r, json_t *claims, struct access_facts ret[3])
{
	static const struct access_membership team = { BYTES_LIT("acme"), BYTES_LIT("core") };
	static const struct bytes words[] = { BYTES_LIT("pwd"), BYTES_LIT("ops@example.com") };

	ret[0] = (struct access_facts){
		.has_identity = true,
		.email = BYTES_LIT("ann@example.com"),
		.idp = r->idp,
		.methods = words,
		.method_count = 1,
		.memberships = &team,
		.membership_count = 1,
		.groups = words + 1,
		.group_count = 1,
		.claims = claims,
		.country = "PT",
	};
	ret[1] = (struct access_facts){ .has_certificate = true, .common_name = r->value };
	ret[2] = (struct access_facts){ .service_token = BYTES_LIT("1") };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *object = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL), *written;
	struct access_rule rule, again;
	struct access_facts facts[3];
	struct arena arena;
	struct err err = { 0 };

	if (!object)
		return 0;
	arena_init(&arena);
	if (access_rule_parse(object, &arena, &rule, &err) < 0) {
		BUG_IF(!err.text[0]);
	} else {
		written = access_rule_json(&rule);
		BUG_IF(!written);
		BUG_IF(access_rule_parse(written, &arena, &again, &err) < 0);
		BUG_IF(again.selector != rule.selector || !bytes_eq(again.value, rule.value) ||
		       !bytes_eq(again.detail, rule.detail) || !bytes_eq(again.idp, rule.idp) ||
		       !bytes_eq(again.mark, rule.mark) || strcmp(again.ca_file, rule.ca_file) != 0);
		BUG_IF(access_rule_text(&rule, &arena).len == 0);
		facts_make(&rule, object, facts);
		for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
			enum access_answer answer = access_rule_answer(&rule, &facts[i], false);

			BUG_IF(answer != access_rule_answer(&again, &facts[i], false));
			BUG_IF(access_rule_needs_identity(&rule) && !facts[i].has_identity &&
			       answer != ACCESS_UNKNOWN);
		}
		json_decref(written);
	}
	arena_done(&arena);
	json_decref(object);
	return 0;
}
