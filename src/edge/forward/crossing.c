#include "edge/forward/crossing.h"

#include <stdatomic.h>

#include "base/limits.h"
#include "base/mem.h"
#include "edge/forward/dispatch.h"
#include "edge/forward/forward.h"
#include "edge/worker.h"
#include "io/pipe.h"

/* The near side is the visitor's worker, the far side the session's. Each side's members are touched
 * on its own loop only. What travels in a shared member is written before the post (or pipe close)
 * that announces it, whose lock orders the two. */
struct crossing {
	atomic_int refs; /* near, far, and every post under way */
	/* Of the connection that far has sent it down; -1: none yet. For the log, when near's visitor does not wait for
	 * any word of far's. */
	atomic_int sent_index;
	struct worker *near_worker, *far_worker;
	struct forward_how how; /* its dispatch and replay are near's own; its replica is counted */

	/* Written by near before the far side starts. */
	struct arena request_arena;
	struct head request;
	struct bytes host, client_ip;
	char id[EXCHANGE_ID_SIZE];
	bool is_tls, is_tcp, has_body, expects_continue;
	struct fields request_trailers; /* before the request pipe is closed */

	/* Written by far. */
	struct arena answer_arena;
	struct head response;
	struct failure failure;
	struct uuid connector;
	int conn_index;
	struct fields response_trailers; /* before the response pipe is closed */

	/* Near side's own. */
	struct exchange *x;
	struct pipe_writer *request_writer;
	struct pipe_reader *response_reader;
	bool near_has_head, near_response_ended;

	/* Far side's own. */
	struct exchange *y;
	struct pipe_reader *request_reader;
	struct pipe_writer *response_writer;
	bool is_far_done, far_response_ended;
};

static void unref(struct crossing *c)
{
	if (atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	arena_done(&c->request_arena);
	arena_done(&c->answer_arena);
	replica_unref(c->how.replica);
	mem_free(c);
}

static void post(struct worker *to, struct crossing *c, void (*fn)(void *arg))
{
	atomic_fetch_add(&c->refs, 1);
	loop_post(to->loop, fn, c);
}

/* Moves what fits from a pipe into a body. True at the end of the pipe. */
static bool pipe_to_body(struct pipe_reader *r, struct body *body, bool *ret_aborted)
{
	size_t room;
	uint8_t *at;

	while ((at = body_reserve(body, &room))) {
		size_t n = pipe_read(r, at, room);
		body_commit(body, n);
		if (n == 0)
			break;
	}
	return pipe_at_end(r, ret_aborted);
}

/* Moves what fits from a body into a pipe. True when the body is done. */
static bool body_to_pipe(struct body *body, struct pipe_writer *w)
{
	struct bytes run;

	while (body_peek(body, &run, 1)) {
		size_t n = pipe_write(w, run);
		body_consume(body, n);
		if (n < run.len)
			return false;
	}
	return body_is_done(body);
}

/* --- Far side: produces the exchange on the session's worker ---------------------------------- */

static void far_done(struct crossing *c, bool aborted)
{
	if (c->is_far_done)
		return;
	c->is_far_done = true;
	if (c->request_reader)
		pipe_reader_close(TAKE(c->request_reader));
	if (c->response_writer)
		pipe_writer_close(TAKE(c->response_writer), aborted);
	exchange_release_producer(TAKE(c->y));
	unref(c);
}

static void near_on_interim(void *arg);
static void near_on_head(void *arg);
static void near_on_failed(void *arg);

/* An interim head on its way: there may be several at once. */
struct crossing_interim {
	struct crossing *crossing; /* counted */
	struct arena arena;        /* holds this struct */
	struct head head;
};

static void far_on_interim(struct exchange *y, const struct head *head)
{
	struct crossing *c = y->producer_ctx;
	struct arena arena;

	arena_init(&arena);
	struct crossing_interim *interim = arena_alloc(&arena, sizeof(*interim));
	(void)head_copy(&interim->head, head, &arena); /* within its limit already */
	interim->crossing = c;
	interim->arena = arena; /* as it is after the last allocation */
	atomic_fetch_add(&c->refs, 1);
	loop_post(c->near_worker->loop, near_on_interim, interim);
}

static void far_on_head(struct exchange *y)
{
	struct crossing *c = y->producer_ctx;

	/* It has passed the same limit before. */
	(void)head_copy(&c->response, &y->response, &c->answer_arena);
	c->connector = y->connector;
	c->conn_index = y->conn_index;
	post(c->near_worker, c, near_on_head);
}

static void far_on_response_data(struct exchange *y)
{
	struct crossing *c = y->producer_ctx;

	if (c->far_response_ended || !body_to_pipe(&y->response_body, c->response_writer))
		return;
	(void)fields_copy(&c->response_trailers, &y->response_body.trailers, &c->answer_arena);
	c->far_response_ended = true;
	pipe_writer_close(TAKE(c->response_writer), false);
	/* A raw stream ends when both of its directions have: when the answerer goes. */
	if (!y->response.is_upgrade || y->answerer_is_gone)
		far_done(c, false);
}

static void far_take_request(struct crossing *c)
{
	struct body *body = &c->y->request_body;
	bool aborted;

	if (!c->request_reader)
		return;
	if (c->y->answerer_is_gone) {
		pipe_reader_close(TAKE(c->request_reader));
		return;
	}
	if (!pipe_to_body(c->request_reader, body, &aborted))
		return;
	pipe_reader_close(TAKE(c->request_reader));
	if (aborted) {
		far_done(c, true);
		return;
	}
	(void)fields_copy(&body->trailers, &c->request_trailers, &c->y->arena);
	body_end(body);
}

static void far_on_request_room(struct exchange *y)
{
	struct crossing *c = y->producer_ctx;

	far_take_request(c);
	if (c->far_response_ended && y->answerer_is_gone)
		far_done(c, false);
}

static void far_on_failed(struct exchange *y)
{
	struct crossing *c = y->producer_ctx;
	struct failure *f = &c->failure;

	c->connector = y->connector;
	c->conn_index = y->conn_index;
	*f = y->failure;
	f->title = arena_copy(&c->answer_arena, f->title);
	f->detail = arena_copy(&c->answer_arena, f->detail);
	f->origin = arena_copy(&c->answer_arena, f->origin);
	f->rule = arena_copy(&c->answer_arena, f->rule);
	f->errno_name = arena_copy(&c->answer_arena, f->errno_name);
	post(c->near_worker, c, near_on_failed);
	far_done(c, true);
}

static const struct exchange_producer far_producer = {
	.name = "crossing",
	.on_interim = far_on_interim,
	.on_head = far_on_head,
	.on_response_data = far_on_response_data,
	.on_request_room = far_on_request_room,
	.on_failed = far_on_failed,
};

static void far_request_ready(void *ctx)
{
	far_take_request(ctx);
}

static void far_response_room(void *ctx)
{
	struct crossing *c = ctx;

	if (pipe_reader_is_gone(c->response_writer))
		far_done(c, true);
	else
		far_on_response_data(c->y);
}

static const struct pipe_events far_pipes = { .on_data = far_request_ready,
					      .on_room = far_response_room };

static void far_start(void *arg)
{
	struct crossing *c = arg;
	struct worker *w = c->far_worker;
	struct exchange *y = exchange_new(w->loop, &far_producer, c);

	c->y = y;
	memcpy(y->id, c->id, sizeof(y->id));
	y->is_tls = c->is_tls;
	y->is_tcp = c->is_tcp;
	y->expects_continue = y->relays_continue = c->expects_continue;
	y->host = c->host; /* the crossing's arena outlives y: the producer holds a reference */
	y->client_ip = c->client_ip;
	y->request = c->request;
	pipe_writer_set_events(c->response_writer, &far_pipes, c);
	if (c->request_reader)
		pipe_reader_set_events(c->request_reader, &far_pipes, c);
	bool has_failed = forward_here(w, y, &c->how) == HANDLED_FAILED;
	atomic_store_explicit(&c->sent_index, y->conn_index, memory_order_relaxed);
	if (has_failed)
		exchange_fail(y);
	else
		far_take_request(c);
	unref(c);
}

static void far_cancel(void *arg)
{
	struct crossing *c = arg;

	far_done(c, true);
	unref(c);
}

/* --- Near side: answers the visitor's exchange ------------------------------------------------ */

static void near_done(struct crossing *c, bool aborted)
{
	c->x = NULL;
	replica_load_add(c->how.replica, c->near_worker->index, -1);
	if (c->request_writer)
		pipe_writer_close(TAKE(c->request_writer), aborted);
	if (c->response_reader)
		pipe_reader_close(TAKE(c->response_reader));
	unref(c);
}

/* Both directions have ended. */
static void near_finish(struct crossing *c)
{
	struct exchange *x = c->x;

	near_done(c, false);
	exchange_release_answerer(x);
}

static void near_send_request(struct crossing *c)
{
	struct replay *body = c->how.replay;
	struct bytes run;

	if (!c->request_writer)
		return;
	while (replay_peek(body, &run)) {
		size_t n = pipe_write(c->request_writer, run);
		replay_consume(body, n);
		if (n < run.len)
			return;
	}
	if (!replay_is_done(body))
		return;
	(void)fields_copy(&c->request_trailers, &body->body->trailers, &c->request_arena);
	pipe_writer_close(TAKE(c->request_writer), false);
	if (c->near_response_ended)
		near_finish(c);
}

static void near_take_response(struct crossing *c)
{
	struct exchange *x = c->x;
	bool aborted;

	/* Data may overtake the head by a post: it waits in the pipe. */
	if (!c->near_has_head || !c->response_reader ||
	    !pipe_to_body(c->response_reader, &x->response_body, &aborted))
		return;
	if (aborted)
		return; /* the failure follows */
	(void)fields_copy(&x->response_body.trailers, &c->response_trailers, &x->arena);
	body_end(&x->response_body);
	if (x->response.is_upgrade && c->request_writer && !pipe_reader_is_gone(c->request_writer)) {
		/* The other direction of a raw stream ends by itself. */
		c->near_response_ended = true;
		pipe_reader_close(TAKE(c->response_reader));
		return;
	}
	near_finish(c);
}

static void near_on_interim(void *arg)
{
	struct crossing_interim *interim = arg;
	struct crossing *c = interim->crossing;
	struct arena arena = interim->arena;

	if (c->x)
		exchange_interim(c->x, &interim->head);
	arena_done(&arena);
	unref(c);
}

static void near_on_head(void *arg)
{
	struct crossing *c = arg;
	struct exchange *x = c->x;

	if (x) {
		(void)head_copy(&x->response, &c->response, &x->arena);
		x->connector = c->connector;
		x->conn_index = c->conn_index;
		c->near_has_head = true;
		dispatch_answered(c->how.dispatch);
		exchange_respond(x);
		near_take_response(c);
	}
	unref(c);
}

static void near_on_failed(void *arg)
{
	struct crossing *c = arg;
	struct exchange *x = c->x;

	if (x) {
		x->connector = c->connector;
		x->conn_index = c->conn_index;
		x->failure = c->failure;
		x->failure.title = arena_copy(&x->arena, c->failure.title);
		x->failure.detail = arena_copy(&x->arena, c->failure.detail);
		x->failure.origin = arena_copy(&x->arena, c->failure.origin);
		x->failure.rule = arena_copy(&x->arena, c->failure.rule);
		x->failure.errno_name = arena_copy(&x->arena, c->failure.errno_name);
		struct dispatch *d = c->how.dispatch;
		near_done(c, true);
		if (!dispatch_again(d))
			exchange_fail(x);
	}
	unref(c);
}

static void near_on_request_data(struct exchange *x)
{
	near_send_request(x->answerer_ctx);
}

static void near_on_response_room(struct exchange *x)
{
	near_take_response(x->answerer_ctx);
}

static void near_on_cancelled(struct exchange *x)
{
	struct crossing *c = x->answerer_ctx;

	if (!c->near_has_head) {
		x->connector = c->how.replica->connector;
		x->conn_index = atomic_load_explicit(&c->sent_index, memory_order_relaxed);
	}
	post(c->far_worker, c, far_cancel);
	near_done(c, true);
	exchange_release_answerer(x);
}

static const struct exchange_answerer near_answerer = {
	.name = "crossing",
	.on_request_data = near_on_request_data,
	.on_response_room = near_on_response_room,
	.on_cancelled = near_on_cancelled,
};

static void near_response_ready(void *ctx)
{
	near_take_response(ctx);
}

static void near_request_room(void *ctx)
{
	struct crossing *c = ctx;

	if (c->near_response_ended && pipe_reader_is_gone(c->request_writer)) {
		near_finish(c);
		return;
	}
	/* A reader that has gone swallows what is written: the request body drains into nothing. */
	near_send_request(c);
}

static const struct pipe_events near_pipes = { .on_data = near_response_ready,
					       .on_room = near_request_room };

void crossing_start(struct worker *here, struct worker *there, struct exchange *x,
		    const struct forward_how *how)
{
	struct crossing *c = mem_alloc(sizeof(*c));

	atomic_init(&c->refs, 2);
	atomic_init(&c->sent_index, -1);
	c->near_worker = here;
	c->far_worker = there;
	c->how = *how;
	replica_ref(how->replica);
	replica_load_add(how->replica, here->index, +1);
	c->x = x;
	arena_init(&c->request_arena);
	arena_init(&c->answer_arena);
	(void)head_copy(&c->request, &x->request, &c->request_arena); /* within its limit already */
	c->host = arena_copy(&c->request_arena, x->host);
	c->client_ip = arena_copy(&c->request_arena, x->client_ip);
	memcpy(c->id, x->id, sizeof(c->id));
	c->is_tls = x->is_tls;
	c->is_tcp = x->is_tcp;
	c->expects_continue = x->expects_continue;
	c->has_body = x->request.is_upgrade || x->request.length != HEAD_LENGTH_NONE;
	pipe_new(LIMIT_BODY_QUEUE_BYTES, there->loop, here->loop, &c->response_writer,
		 &c->response_reader);
	pipe_reader_set_events(c->response_reader, &near_pipes, c);
	if (c->has_body) {
		pipe_new(LIMIT_BODY_QUEUE_BYTES, here->loop, there->loop, &c->request_writer,
			 &c->request_reader);
		pipe_writer_set_events(c->request_writer, &near_pipes, c);
	}
	post(there, c, far_start);
	exchange_answer_by(x, &near_answerer, c);
	near_send_request(c); /* what somebody else was sent before */
}
