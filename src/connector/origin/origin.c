#include "connector/origin/origin.h"

#include "base/mem.h"
#include "connector/origin/origin_internal.h"

struct origin_set {
	struct loop *loop;
	struct ingress *ingress; /* counted */
	size_t refs;
	size_t count;
	struct origin origins[];
};

static struct tls_context *tls_of(const struct ingress_rule *rule, struct err *err)
{
	const struct tls_client_options options = {
		.ca_file = rule->origin.ca_pool,
		.keep_system_roots = true,
		.no_verify = rule->origin.no_tls_verify,
	};

	return tls_context_client(&options, err);
}

struct origin_set *origin_set_new(struct loop *loop, struct ingress *ingress, struct err *err)
{
	size_t count = ingress_count(ingress);
	struct origin_set *set = mem_alloc(sizeof(*set) + count * sizeof(set->origins[0]));

	set->loop = loop;
	set->ingress = ingress_ref(ingress);
	set->refs = 1;
	for (size_t i = 0; i < count; i++) {
		struct origin *o = &set->origins[i];
		o->set = set;
		o->rule = ingress_rule(ingress, i);
		list_init(&o->idle);
		set->count++;
		if (o->rule->is_tls && !o->rule->unserved_reason &&
		    !(o->tls = tls_of(o->rule, err))) {
			err_wrap(err, "rule %u (%s)", o->rule->index, o->rule->service);
			return origin_set_unref(set);
		}
	}
	return set;
}

struct origin_set *origin_set_ref(struct origin_set *set)
{
	set->refs++;
	return set;
}

struct origin_set *origin_set_unref(struct origin_set *set)
{
	if (!set || --set->refs > 0)
		return NULL;
	for (size_t i = 0; i < set->count; i++) {
		origin_http_close_idle(&set->origins[i]);
		tls_context_unref(set->origins[i].tls);
	}
	ingress_unref(set->ingress);
	return mem_free(set);
}

struct ingress *origin_set_ingress(struct origin_set *set)
{
	return set->ingress;
}

enum handled origin_failed(struct exchange *x, const struct ingress_rule *rule,
			   const struct err *err, const char *title, bool was_sent)
{
	int status = err->code == E_TIMEOUT ? 504 : 502;

	exchange_failed(x, FAILURE_ORIGIN, status, 0, title, "The service %s did not answer: %s.",
			rule->service, err->text);
	x->failure.origin = bytes_str(rule->service);
	x->failure.rule = arena_printf(&x->arena, "%u: %s", rule->index, rule->label);
	x->failure.errno_name = bytes_str(err_errno_name(err->sys_errno));
	x->failure.was_sent = was_sent;
	return HANDLED_FAILED;
}

static enum handled answer_status(struct exchange *x, int status)
{
	/* As the stock connector: the status and nothing else. */
	x->response.status = status;
	x->response.length = HEAD_LENGTH_NONE;
	exchange_respond(x);
	body_end(&x->response_body);
	exchange_release_answerer(x);
	return HANDLED_TAKEN;
}

enum handled origin_handle(struct exchange *x, void *ctx)
{
	struct origin_set *set = x->snapshot;
	const struct ingress_rule *rule = x->route;

	(void)ctx;
	if (rule->unserved_reason) {
		exchange_failed(x, FAILURE_CONNECTOR, 502, 0, "Service not supported", "%s.",
				rule->unserved_reason);
		x->failure.origin = bytes_str(rule->service);
		x->failure.rule = arena_printf(&x->arena, "%u: %s", rule->index, rule->label);
		return HANDLED_FAILED;
	}
	if (rule->kind == INGRESS_STATUS)
		return answer_status(x, rule->status);
	BUG_IF(rule->kind != INGRESS_HTTP && rule->kind != INGRESS_UNIX);
	origin_http_start(&set->origins[rule->index], x);
	return HANDLED_TAKEN;
}
