/* Some services (old WSGI servers) cannot read chunked requests: with disableChunkedEncoding a body whose
 * length nobody told is taken in first, before there is a connection that would only wait. */
#include "base/limits.h"
#include "connector/origin/origin_internal.h"

/* The exchange's answerer until the body is complete; in its arena. */
struct collection {
	struct origin *origin; /* borrowed; the exchange keeps its set */
	void (*start)(struct origin *o, struct exchange *x);
	struct bufq taken;
};

static void fail(struct exchange *x, struct collection *c)
{
	const struct ingress_rule *rule = c->origin->rule;

	bufq_done(&c->taken);
	exchange_failed(
		x, FAILURE_CONNECTOR, 411, 0, "Length required",
		"The service %s is set to take no chunked bodies, and more than %d bytes came "
		"without a Content-Length.",
		rule->service, LIMIT_COLLECTED_BODY_BYTES);
	x->failure.origin = bytes_str(rule->service);
	x->failure.rule = arena_printf(&x->arena, "%u: %s", rule->index, rule->label);
	exchange_fail(x);
}

static void finish(struct exchange *x, struct collection *c)
{
	x->request.length = HEAD_LENGTH_KNOWN;
	x->request.content_length = bufq_len(&c->taken);
	bufq_move(&x->request_body.queue, &c->taken);
	exchange_release_answerer(x);
	c->start(c->origin, x);
}

static void on_request_data(struct exchange *x)
{
	struct collection *c = x->answerer_ctx;
	struct body *body = &x->request_body;
	struct bytes run;

	while (body_peek(body, &run, 1)) {
		if (run.len > bufq_room(&c->taken)) {
			fail(x, c);
			return;
		}
		bufq_write_all(&c->taken, run);
		body_consume(body, run.len);
	}
	if (body_is_done(body))
		finish(x, c);
}

static void on_response_room(struct exchange *x)
{
	(void)x; /* there is no response yet */
}

static void on_cancelled(struct exchange *x)
{
	struct collection *c = x->answerer_ctx;

	bufq_done(&c->taken);
	exchange_release_answerer(x);
}

static const struct exchange_answerer answerer = {
	.name = "collect",
	.on_request_data = on_request_data,
	.on_response_room = on_response_room,
	.on_cancelled = on_cancelled,
};

void origin_collect(struct origin *o, struct exchange *x,
		    void (*start)(struct origin *o, struct exchange *x))
{
	static const struct head go_ahead = { .status = 100 };
	struct collection *c = arena_alloc(&x->arena, sizeof(*c));

	c->origin = o;
	c->start = start;
	bufq_init(&c->taken, LIMIT_COLLECTED_BODY_BYTES);
	exchange_answer_by(x, &answerer, c);
	/* The service will be asked when the body is here: nobody else can say it. */
	if (x->expects_continue && x->relays_continue)
		exchange_interim(x, &go_ahead);
}
