#include "connector/serve/access_log.h"

#include "connector/ingress/ingress.h"
#include "http/exchange_log.h"

#define COMPONENT "connector/access"

static void on_end(struct exchange *x, void *ctx)
{
	const struct ingress_rule *rule = x->route;
	struct exchange_line line UNINITIALIZED;

	(void)ctx;
	if (x->has_head)
		exchange_log_head(COMPONENT, "response head", x, &x->response);
	if (!log_access_enabled())
		return;
	struct exchange_outcome o = exchange_outcome_of(x);
	line.count = 0;
	exchange_line_add(&line, LOG_STR("cfRay", x->id));
	exchange_line_add(&line, LOG_INT("connIndex", x->conn_index));
	exchange_line_request(&line, x);
	if (rule) {
		exchange_line_add(&line,
				  LOG_BYTES("ingressRule", arena_printf(&x->arena, "%u: %s",
									rule->index, rule->label)));
		exchange_line_add(&line, LOG_STR("originService", rule->service));
	}
	exchange_line_outcome(&line, &o);
	exchange_line_failure(&line, x, &o);
	line.fields[line.count].key = NULL;
	log_access(COMPONENT, "request", line.fields);
}

void access_log_begin(struct exchange *x)
{
	/* Rules may take a prefix off. */
	x->asked_path = x->request.path;
	x->on_end = on_end;
	exchange_log_head(COMPONENT, "request head", x, &x->request);
}
