#include "connector/serve/access_check.h"

#include "connector/ingress/ingress.h"

enum handled access_check_handle(struct exchange *x, void *ctx)
{
	const struct ingress_rule *rule = x->route;

	(void)ctx;
	if (!rule->origin.access.is_required)
		return HANDLED_NEXT;
	/* A check that is asked for and not made would expose the service. */
	exchange_failed(x, FAILURE_CONNECTOR, 502, 0, "Access cannot be checked",
			"The rule asks for Access, and this version cannot check its tokens.");
	x->failure.origin = bytes_str(rule->service);
	x->failure.rule = arena_printf(&x->arena, "%u: %s", rule->index, rule->label);
	return HANDLED_FAILED;
}
