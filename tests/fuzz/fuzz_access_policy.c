/* {"groups": […], "policies": […]}: whatever they say, nobody is let in of whom nothing is known but by a bypass, and
 * each verdict has a reason. */
#include "base/check.h"
#include "base/mem.h"
#include "edge/access/policy.h"

#define OBJECTS_MAX 64

struct world {
	struct arena arena;
	struct access_group groups[OBJECTS_MAX];
	struct access_policy policies[OBJECTS_MAX];
	const struct access_policy *order[OBJECTS_MAX];
	size_t group_count, policy_count;
};

static int load(struct world *w, const json_t *all, struct err *err)
{
	const json_t *groups = json_object_get(all, "groups"),
		     *policies = json_object_get(all, "policies");

	for (size_t i = 0; i < json_array_size(groups) && i < OBJECTS_MAX; i++)
		if (access_group_parse(json_array_get(groups, i), &w->arena,
				       &w->groups[w->group_count++], err) < 0)
			return err->code;
	if (access_group_link_all(w->groups, w->group_count, err) < 0)
		return err->code;
	for (size_t i = 0; i < json_array_size(policies) && i < OBJECTS_MAX; i++) {
		struct access_policy *p = &w->policies[i];

		if (access_policy_parse(json_array_get(policies, i), &w->arena, p, err) < 0 ||
		    access_group_link(&p->conditions, w->groups, w->group_count, err) < 0 ||
		    access_policy_check(p, err) < 0)
			return err->code;
		w->order[w->policy_count++] = p;
	}
	return 0;
}

static void judge(struct world *w, const struct access_facts *facts)
{
	struct access_verdict v = access_decide(w->order, w->policy_count, facts);

	BUG_IF(access_verdict_text(&v, &w->arena).len == 0);
	BUG_IF(!v.policy && v.outcome != ACCESS_REFUSED && v.outcome != ACCESS_SIGN_IN);
	switch (v.outcome) {
	case ACCESS_ALLOWED:
		BUG_IF(!facts->has_identity || v.policy->decision != ACCESS_ALLOW);
		break;
	case ACCESS_PASS:
		BUG_IF(v.policy->decision != ACCESS_BYPASS);
		break;
	case ACCESS_SERVICE:
		BUG_IF(v.policy->decision != ACCESS_SERVICE_AUTH);
		BUG_IF(!facts->service_token.len && !facts->has_certificate);
		break;
	case ACCESS_SIGN_IN:
		BUG_IF(facts->has_identity);
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct access_facts facts[] = {
		{ .has_identity = false },
		{ .has_identity = true,
		  .email = BYTES_LIT("ann@example.com"),
		  .idp = BYTES_LIT("i") },
		{ .service_token = BYTES_LIT("t") },
		{ .has_certificate = true, .common_name = BYTES_LIT("c") },
	};
	json_t *all = json_loadb((const char *)data, size, 0, NULL);
	struct world *w = mem_alloc(sizeof(*w));
	struct err err = { 0 };

	arena_init(&w->arena);
	if (all && load(w, all, &err) < 0)
		BUG_IF(!err.text[0]);
	else
		for (size_t i = 0; all && i < ARRAY_LEN(facts); i++)
			judge(w, &facts[i]);
	arena_done(&w->arena);
	mem_free(w);
	json_decref(all);
	return 0;
}
