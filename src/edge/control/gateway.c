#include "edge/control/gateway.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "edge/control/control.h"

struct control_gateway {
	struct loop *control_loop;
	struct control *control;
};

/* One request under way. */
struct passage {
	struct control_gateway *gateway;
	struct loop *loop;  /* the exchange's */
	struct exchange *x; /* NULL once the asker has left */
	struct buf body;
	bool is_asked; /* the control thread has it; until then it is the worker's to free */
	struct control_request request;
};

static void passage_free(struct passage *p)
{
	buf_done(&p->body);
	arena_done(&p->request.arena);
	mem_free(p);
}

/* On the worker: the answer is there. */
static void deliver(void *arg)
{
	struct passage *p = arg;
	struct exchange *x = p->x;
	struct control_request *r = &p->request;

	if (x) {
		(void)fields_copy(&x->response.fields, &r->fields, &x->arena);
		exchange_answer_whole(x, r->status, r->content_type, r->answer);
	}
	passage_free(p);
}

/* On the control thread. */
static void on_answered(struct control_request *r)
{
	struct passage *p = r->asker;

	loop_post(p->loop, deliver, p);
}

static void ask(void *arg)
{
	struct passage *p = arg;

	if (!p->gateway->control) {
		p->request.status = 503;
		on_answered(&p->request);
		return;
	}
	control_ask(p->gateway->control, &p->request);
}

static void on_request_data(struct exchange *x)
{
	struct passage *p = x->answerer_ctx;
	struct bytes run;

	if (p->is_asked)
		return;
	while (body_peek(&x->request_body, &run, 1)) {
		if (buf_append(&p->body, run) < 0) {
			passage_free(p);
			exchange_failed(x, FAILURE_VISITOR, 413, 0, "Request too large",
					"The control plane takes requests of up to %d bytes.",
					LIMIT_API_BODY_BYTES);
			exchange_fail(x);
			return;
		}
		body_consume(&x->request_body, run.len);
	}
	if (!x->request_body.has_ended)
		return;
	p->is_asked = true;
	p->request.body = buf_bytes(&p->body);
	loop_post(p->gateway->control_loop, ask, p);
}

static void on_response_room(struct exchange *x)
{
	(void)x; /* the answer is written whole */
}

static void on_cancelled(struct exchange *x)
{
	struct passage *p = x->answerer_ctx;

	if (p->is_asked)
		p->x = NULL;
	else
		passage_free(p);
	exchange_release_answerer(x);
}

static const struct exchange_answerer answerer = {
	.name = "control",
	.on_request_data = on_request_data,
	.on_response_room = on_response_room,
	.on_cancelled = on_cancelled,
};

enum handled control_gateway_handle(struct exchange *x, struct control_gateway *g, bool is_admin)
{
	struct passage *p = mem_alloc(sizeof(*p));

	p->gateway = g;
	p->loop = x->loop;
	p->x = x;
	buf_init(&p->body, LIMIT_API_BODY_BYTES);
	arena_init(&p->request.arena);
	(void)head_copy(&p->request.head, &x->request,
			&p->request.arena); /* within its limit already */
	p->request.client_ip = arena_copy(&p->request.arena, x->client_ip);
	p->request.is_admin = is_admin;
	p->request.answered = on_answered;
	p->request.asker = p;
	exchange_answer_by(x, &answerer, p);
	if (x->request.length == HEAD_LENGTH_NONE && !x->request_body.has_ended)
		body_end(&x->request_body);
	return HANDLED_TAKEN;
}

struct control_gateway *control_gateway_new(struct loop *control_loop, struct control *control)
{
	struct control_gateway *g = mem_alloc(sizeof(*g));

	g->control_loop = control_loop;
	g->control = control;
	return g;
}

void control_gateway_close(struct control_gateway *g)
{
	g->control = NULL;
}

struct control_gateway *control_gateway_free(struct control_gateway *g)
{
	return mem_free(g);
}

struct posted {
	struct control_gateway *gateway;
	void (*fn)(struct control *c, void *arg);
	void *arg;
};

static void on_posted(void *arg)
{
	struct posted *p = arg;

	p->fn(p->gateway->control, p->arg);
	mem_free(p);
}

void control_gateway_post(struct control_gateway *g, void (*fn)(struct control *c, void *arg),
			  void *arg)
{
	struct posted *p = mem_alloc(sizeof(*p));

	*p = (struct posted){ g, fn, arg };
	loop_post(g->control_loop, on_posted, p);
}
