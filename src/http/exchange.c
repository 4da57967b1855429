#include "http/exchange.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"

#define EXCHANGE_MAGIC 0x78636867

/* Events noted for delivery, in the order they are delivered. */
enum pending {
	PENDING_CANCEL = 1 << 0,        /* to the answerer */
	PENDING_INTERIM = 1 << 7,       /* to the producer */
	PENDING_HEAD = 1 << 1,          /* to the producer */
	PENDING_FAILED = 1 << 2,        /* to the producer */
	PENDING_RESPONSE_DATA = 1 << 3, /* to the producer */
	PENDING_REQUEST_DATA = 1 << 4,  /* to the answerer */
	PENDING_RESPONSE_ROOM = 1 << 5, /* to the answerer */
	PENDING_REQUEST_ROOM = 1 << 6,  /* to the producer */
};

static atomic_long live_count;

long exchange_live_count(void)
{
	return atomic_load_explicit(&live_count, memory_order_relaxed);
}

static void exchange_free(struct exchange *x)
{
	list_remove(&x->watch);
	if (x->on_end)
		x->on_end(x, x->chain ? x->chain->ctx : NULL);
	if (x->drop_snapshot)
		x->drop_snapshot(x->snapshot);
	deferred_cancel(&x->deferred);
	bufq_done(&x->request_body.queue);
	bufq_done(&x->response_body.queue);
	atomic_fetch_sub_explicit(&live_count, 1, memory_order_relaxed);
	x->magic = 0;
	/* The exchange lives in its own arena. */
	struct arena arena = x->arena;
	arena_done(&arena);
}

static void note(struct exchange *x, unsigned event)
{
	x->pending |= event;
	loop_defer(x->loop, &x->deferred);
}

static bool take(struct exchange *x, unsigned event)
{
	bool was_noted = x->pending & event;

	x->pending &= ~event;
	return was_noted;
}

struct interim {
	struct list node;
	struct head head;
};

static void deliver_interims(struct exchange *x)
{
	struct list *node;

	while (x->producer && x->producer->on_interim && (node = list_pop(&x->interims)))
		x->producer->on_interim(x, &LIST_ENTRY(node, struct interim, node)->head);
}

static void deliver(struct deferred *d)
{
	struct exchange *x = CONTAINER_OF(d, struct exchange, deferred);

	CHECK(x, EXCHANGE_MAGIC);
	/* Either side may release itself in any of these; nobody frees the exchange meanwhile. */
	if (take(x, PENDING_CANCEL) && x->answerer)
		x->answerer->on_cancelled(x);
	if (take(x, PENDING_INTERIM))
		deliver_interims(x);
	if (take(x, PENDING_HEAD) && x->producer)
		x->producer->on_head(x);
	if (take(x, PENDING_FAILED) && x->producer) {
		take(x, PENDING_RESPONSE_DATA); /* of a response that is cut off now */
		x->producer->on_failed(x);
	}
	/* A producer that has just answered the failure itself gets its head first, later in this turn. */
	if (x->has_head && !(x->pending & PENDING_HEAD) && take(x, PENDING_RESPONSE_DATA) &&
	    x->producer)
		x->producer->on_response_data(x);
	if (take(x, PENDING_REQUEST_DATA) && x->answerer)
		x->answerer->on_request_data(x);
	if (take(x, PENDING_RESPONSE_ROOM) && x->answerer)
		x->answerer->on_response_room(x);
	if (take(x, PENDING_REQUEST_ROOM) && x->producer)
		x->producer->on_request_room(x);
	if (!x->producer && !x->answerer)
		exchange_free(x);
}

/* --- Bodies ---------------------------------------------------------------------------------- */

static bool is_request(const struct body *b)
{
	return b == &b->exchange->request_body;
}

static void note_data(struct body *b)
{
	note(b->exchange, is_request(b) ? PENDING_REQUEST_DATA : PENDING_RESPONSE_DATA);
}

static void note_room(struct body *b)
{
	note(b->exchange, is_request(b) ? PENDING_REQUEST_ROOM : PENDING_RESPONSE_ROOM);
}

size_t body_write(struct body *b, struct bytes data)
{
	size_t taken = bufq_write(&b->queue, data);

	if (taken < data.len)
		b->wants_room = true;
	if (taken) {
		b->total += taken;
		note_data(b);
	}
	return taken;
}

void body_write_all(struct body *b, struct bytes data)
{
	if (!data.len)
		return;
	bufq_write_all(&b->queue, data);
	b->total += data.len;
	note_data(b);
}

uint8_t *body_reserve(struct body *b, size_t *ret_size)
{
	uint8_t *at = bufq_reserve(&b->queue, ret_size);

	if (!at)
		b->wants_room = true;
	return at;
}

void body_commit(struct body *b, size_t size)
{
	bufq_commit(&b->queue, size);
	b->total += size;
	if (size)
		note_data(b);
}

void body_end(struct body *b)
{
	if (b->has_ended)
		return;
	b->has_ended = true;
	note_data(b);
}

void body_consume(struct body *b, size_t size)
{
	bufq_consume(&b->queue, size);
	/* Half empty: so that a fast pair does not wake each other for every few bytes. */
	if (b->wants_room && bufq_len(&b->queue) <= b->queue.capacity / 2) {
		b->wants_room = false;
		note_room(b);
	}
}

/* --- Life ------------------------------------------------------------------------------------ */

struct exchange *exchange_new(struct loop *loop, const struct exchange_producer *producer, void *ctx)
{
	struct arena arena;

	arena_init(&arena);
	struct exchange *x = arena_alloc(&arena, sizeof(*x));
	x->arena = arena;
	x->magic = EXCHANGE_MAGIC;
	x->loop = loop;
	x->producer = producer;
	x->producer_ctx = ctx;
	x->request_body.exchange = x->response_body.exchange = x;
	bufq_init(&x->request_body.queue, LIMIT_BODY_QUEUE_BYTES);
	bufq_init(&x->response_body.queue, LIMIT_BODY_QUEUE_BYTES);
	x->started_at = clock_now();
	x->conn_index = -1;
	list_init(&x->interims);
	list_init(&x->watch);
	deferred_init(&x->deferred, deliver);
	atomic_fetch_add_explicit(&live_count, 1, memory_order_relaxed);
	return x;
}

static void walk(struct exchange *x)
{
	const struct handler_chain *chain = x->chain;

	while (x->next_handler < chain->count) {
		const struct handler *handler = &chain->handlers[x->next_handler++];

		switch (handler->handle(x, chain->ctx)) {
		case HANDLED_NEXT:
			continue;
		case HANDLED_TAKEN:
			return;
		case HANDLED_FAILED:
			exchange_fail(x);
			return;
		}
	}
	exchange_failed(x, FAILURE_EDGE, 500, 0, "Internal error",
			"No handler answered the request.");
	exchange_fail(x);
}

void exchange_start(struct exchange *x, const struct handler_chain *chain)
{
	x->chain = chain;
	x->next_handler = 0;
	walk(x);
}

void exchange_resume(struct exchange *x)
{
	BUG_IF(!x->answerer || x->has_head || x->has_failed);
	exchange_release_answerer(x);
	walk(x);
}

/* --- The answerer's calls -------------------------------------------------------------------- */

void exchange_answer_by(struct exchange *x, const struct exchange_answerer *answerer, void *ctx)
{
	BUG_IF(x->answerer);
	x->answerer = answerer;
	x->answerer_ctx = ctx;
	x->answerer_is_gone = false;
	if (!x->producer)
		note(x, PENDING_CANCEL);
	else if (bufq_len(&x->request_body.queue) || x->request_body.has_ended)
		note(x, PENDING_REQUEST_DATA);
}

void exchange_interim(struct exchange *x, const struct head *head)
{
	BUG_IF(x->has_head || head->status < 100 || head->status > 199 || head->status == 101);
	if (x->interim_count == LIMIT_INTERIM_HEADS || !x->producer)
		return;
	x->interim_count++;
	struct interim *interim = arena_alloc(&x->arena, sizeof(*interim));
	list_init(&interim->node);
	if (head_copy(&interim->head, head, &x->arena) < 0)
		return;
	list_append(&x->interims, &interim->node);
	note(x, PENDING_INTERIM);
}

void exchange_respond(struct exchange *x)
{
	static const struct bytes hsts = BYTES_LIT("strict-transport-security");
	static const struct bytes alt_svc = BYTES_LIT("alt-svc");

	BUG_IF(x->has_head);
	/* What the service says itself stays (RFC 6797 §6.1). An answer at the field limit goes without. */
	if (x->hsts && x->is_tls && !fields_find_text(&x->response.fields, hsts))
		(void)fields_add(&x->response.fields, &x->arena, hsts, bytes_str(x->hsts));
	if (x->alt_svc && x->is_tls && !fields_find_text(&x->response.fields, alt_svc))
		(void)fields_add(&x->response.fields, &x->arena, alt_svc, bytes_str(x->alt_svc));
	x->has_head = true;
	x->head_at = clock_now();
	note(x, PENDING_HEAD);
}

void exchange_release_answerer(struct exchange *x)
{
	x->answerer = NULL;
	x->answerer_ctx = NULL;
	x->answerer_is_gone = true;
	/* A producer that waits to write the rest of the request learns that nobody wants it. */
	note(x, PENDING_REQUEST_ROOM);
}

void exchange_fail(struct exchange *x)
{
	if (x->answerer)
		exchange_release_answerer(x);
	x->answerer_is_gone = true;
	x->has_failed = true;
	if (!x->producer) {
		note(x, 0);
		return;
	}
	if (!x->has_head && x->chain && x->chain->answer_failure) {
		x->chain->answer_failure(x, x->chain->ctx);
		return;
	}
	note(x, PENDING_FAILED);
}

void exchange_cut(struct exchange *x)
{
	CHECK(x, EXCHANGE_MAGIC);
	if (x->has_failed)
		return;
	x->has_failed = true;
	note(x, PENDING_CANCEL | PENDING_FAILED);
}

void exchange_answer_whole(struct exchange *x, int status, struct bytes content_type,
			   struct bytes data)
{
	char length[24];
	bool has_body = status >= 200 && status != 204 && status != 304;
	bool send_body = has_body && !bytes_eq(x->request.method, BYTES_LIT("HEAD"));

	snprintf(length, sizeof(length), "%zu", data.len);
	x->response.status = status;
	if (has_body) {
		/* The field limit is far above what our own answers carry. */
		if (content_type.len)
			(void)fields_set(&x->response.fields, &x->arena, HEAD_CONTENT_TYPE,
					 arena_copy(&x->arena, content_type));
		(void)fields_set(&x->response.fields, &x->arena, HEAD_CONTENT_LENGTH,
				 arena_copy(&x->arena, bytes_str(length)));
		x->response.content_length = data.len;
	}
	x->response.length = send_body && data.len ? HEAD_LENGTH_KNOWN : HEAD_LENGTH_NONE;
	exchange_respond(x);
	if (send_body)
		body_write_all(&x->response_body, data);
	body_end(&x->response_body);
	exchange_release_answerer(x);
}

/* --- The producer's calls -------------------------------------------------------------------- */

void exchange_release_producer(struct exchange *x)
{
	CHECK(x, EXCHANGE_MAGIC);
	x->producer = NULL;
	x->producer_ctx = NULL;
	note(x, PENDING_CANCEL);
}

enum handled exchange_failed(struct exchange *x, enum failure_hop hop, int status, int code,
			     const char *title, const char *detail_fmt, ...)
{
	char detail[512];
	va_list args;

	va_start(args, detail_fmt);
	vsnprintf(detail, sizeof(detail), detail_fmt, args);
	va_end(args);
	x->failure.hop = hop;
	x->failure.status = status;
	x->failure.code = code;
	x->failure.title = arena_copy(&x->arena, bytes_str(title));
	x->failure.detail = arena_copy(&x->arena, bytes_str(detail));
	return HANDLED_FAILED;
}
