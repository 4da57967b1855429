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

static struct tls_context *tls_of(const struct ingress_rule *rule, const char *const *alpn,
				  struct err *err)
{
	const struct tls_client_options options = {
		.ca_file = rule->origin.ca_pool,
		.keep_system_roots = true,
		.no_verify = rule->origin.no_tls_verify,
		.alpn = alpn,
	};

	return tls_context_client(&options, err);
}

static int open_tls(struct origin *o, struct err *err)
{
	static const char *const alpn[] = { "h2", "http/1.1", NULL };
	bool offers_http2 = o->rule->origin.http2_origin;

	o->tls = tls_of(o->rule, offers_http2 ? alpn : NULL, err);
	if (o->tls && offers_http2)
		o->tls_http1 = tls_of(o->rule, NULL, err);
	if (o->tls && (o->tls_http1 || !offers_http2))
		return 0;
	return err_wrap(err, "rule %u (%s)", o->rule->index, o->rule->service);
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
		o->loop = loop;
		o->rule = ingress_rule(ingress, i);
		o->opened_at = clock_wall_now();
		list_init(&o->idle);
		set->count++;
		if (o->rule->is_tls && open_tls(o, err) < 0)
			return origin_set_unref(set);
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
		struct origin *o = &set->origins[i];
		origin_http_close_idle(o);
		if (o->h2)
			origin_h2_close(o);
		tls_context_unref(o->tls);
		tls_context_unref(o->tls_http1);
	}
	ingress_unref(set->ingress);
	return mem_free(set);
}

struct origin *origin_of_rule(struct origin_set *set, size_t rule)
{
	BUG_IF(rule >= set->count);
	return &set->origins[rule];
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

bool origin_is_replayable(const struct exchange *x)
{
	static const char *const methods[] = { "GET", "HEAD", "OPTIONS", "TRACE" };

	if (x->request.length != HEAD_LENGTH_NONE || x->request.is_upgrade)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (bytes_eq(x->request.method, bytes_str(methods[i])))
			return true;
	return false;
}

struct origin_target origin_target_of(const struct exchange *x)
{
	const struct field *client = fields_find(&x->request.fields, HEAD_CF_CONNECTING_IP);

	return (struct origin_target){
		.authority = x->request.authority,
		.client_ip = x->client_ip.len || !client ? x->client_ip : client->value,
		.is_raw = x->is_port,
		.has_proxy_header = x->has_proxy_header,
	};
}

static void start_http(struct origin *o, struct exchange *x)
{
	const struct ingress_rule *rule = o->rule;

	if (strcmp(rule->scheme, "h2c") == 0)
		origin_h2_start(o, x);
	else if (rule->origin.disable_chunked_encoding &&
		 x->request.length == HEAD_LENGTH_UNKNOWN && !x->request.is_upgrade)
		origin_collect(o, x, start_http);
	else if (rule->is_tls && rule->origin.http2_origin)
		origin_h2_start(o, x);
	else
		origin_http_start(o, x);
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
	struct origin *o = &set->origins[rule->index];

	(void)ctx;
	switch (rule->kind) {
	case INGRESS_STATUS:
		return answer_status(x, rule->status);
	case INGRESS_HTTP:
	case INGRESS_UNIX:
		if (x->is_port)
			origin_tcp_start(o, x);
		else
			start_http(o, x);
		break;
	case INGRESS_TCP:
	case INGRESS_BASTION:
	case INGRESS_SOCKS:
		origin_tcp_start(o, x);
		break;
	case INGRESS_UDP:
		exchange_failed(x, FAILURE_CONNECTOR, 502, 0, "Not a website",
				"The service %s speaks UDP; it is reached through a UDP port of the "
				"edge, not by HTTP.",
				rule->service);
		x->failure.rule = arena_printf(&x->arena, "%u: %s", rule->index, rule->label);
		return HANDLED_FAILED;
	case INGRESS_HELLO_WORLD:
		hello_world_start(o, x);
		break;
	}
	return HANDLED_TAKEN;
}
