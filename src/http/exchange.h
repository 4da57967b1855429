/* One request and its response: the object everything in Adit happens to.
 *
 * Something produces an exchange (an HTTP/1 or HTTP/2 connection, a tunnel session), handlers look at
 * it in turn, one of them answers it (a tunnel stream, an origin connection, the control plane, an
 * error page). Neither side knows what the other is. All on one loop.
 *
 *   producer:  x = exchange_new(); fill x->request; exchange_start(x, handlers)
 *   answerer:  exchange_answer_by(x, …); fill x->response; exchange_respond(x);
 *              body_write(&x->response_body, …); body_end(…); exchange_release_answerer(x)
 *
 * Bodies are bounded queues. The side that writes looks at body_room() first and gets its room event
 * when the far side has taken some; the side that reads gets its data event.
 *
 * No event arrives inside a call: events are noted in the exchange and delivered by the loop later in
 * the same turn, in this order: cancel, interim heads, head, data, room. Each side releases the exchange exactly
 * once; the memory goes when both have.
 */
#pragma once

#include "base/arena.h"
#include "base/bufq.h"
#include "base/clock.h"
#include "base/uuid.h"
#include "http/head.h"
#include "io/loop.h"

struct exchange;
struct tls_peer;
struct tls_policy;

/* --- Failures: why there is no response from the origin -------------------------------------- */

enum failure_hop {
	FAILURE_EDGE,      /* the edge itself refuses: unknown host, too large, loop */
	FAILURE_TUNNEL,    /* no connector, or it went away */
	FAILURE_CONNECTOR, /* the connector could not serve it */
	FAILURE_ORIGIN,    /* the service behind the connector */
	FAILURE_VISITOR,   /* the visitor's own request is bad, or the visitor left */
};

struct failure {
	enum failure_hop hop;
	int status;          /* what the visitor gets: 404, 502, 530 … */
	int code;            /* Cloudflare's number where there is one (1033), else 0 */
	struct bytes title;  /* "Bad gateway"; static or in the exchange's arena, as all below */
	struct bytes detail; /* one sentence for a person */
	struct bytes origin; /* "http://localhost:3000"; empty when not known */
	struct bytes rule;   /* "1: app.example.com /api"; empty when not known */
	struct bytes errno_name;  /* "ECONNREFUSED"; empty when there is none */
	bool was_sent;            /* the origin may have seen the request: no retry */
	bool is_rate_limited;     /* the connector carries as many flows as it may */
	unsigned retry_after_sec; /* when to ask again; 0: nothing is said */
};

/* --- Bodies ---------------------------------------------------------------------------------- */

struct body {
	struct bufq queue;
	struct exchange *exchange; /* borrowed, embeds this */
	bool has_ended;            /* the writer is done; queued bytes may still wait */
	bool wants_room;           /* the writer met a full queue and waits for its room event */
	struct fields trailers;    /* set before has_ended */
	uint64_t total;            /* bytes ever written */
};

static inline size_t body_room(struct body *b)
{
	size_t room = bufq_room(&b->queue);
	if (room == 0)
		b->wants_room = true;
	return room;
}
/* Takes what fits; a short count means that a room event follows. */
size_t body_write(struct body *b, struct bytes data);
/* Takes all: only where a flow-control window already bounds the amount. */
void body_write_all(struct body *b, struct bytes data);
/* Read straight into the queue: NULL when full (a room event follows); then commit. */
uint8_t *body_reserve(struct body *b, size_t *ret_size);
void body_commit(struct body *b, size_t size);
/* No more bytes. Trailers, if any, are in b->trailers before this call. */
void body_end(struct body *b);
static inline int body_peek(const struct body *b, struct bytes *runs, int max)
{
	return bufq_peek(&b->queue, runs, max);
}
void body_consume(struct body *b, size_t size);
/* Ended and every byte taken. */
static inline bool body_is_done(const struct body *b)
{
	return b->has_ended && b->queue.len == 0;
}

/* --- The two sides --------------------------------------------------------------------------- */

struct exchange_producer {
	const char *name; /* "h1", "h2", "tunnel", "crossing" */
	/* An interim (1xx) head, in order and before on_head; borrowed, lives as long as the exchange. NULL:
	 * there is nobody to tell. */
	void (*on_interim)(struct exchange *x, const struct head *head);
	/* x->response is complete. Comes once, unless on_failed comes instead. */
	void (*on_head)(struct exchange *x);
	/* Bytes or the end wait in x->response_body. Only after on_head. */
	void (*on_response_data)(struct exchange *x);
	/* x->request_body has room again; or the answerer has gone and takes no more of it: see
	 * x->answerer_is_gone. */
	void (*on_request_room)(struct exchange *x);
	/* The answerer gave up; x->failure says why. Before on_head: the producer makes an error answer
	 * of it (or a handler did already). After: the response cannot be completed, cut it off. */
	void (*on_failed)(struct exchange *x);
};

struct exchange_answerer {
	const char *name; /* "tunnel", "origin", "control", "page" */
	/* Bytes or the end wait in x->request_body. */
	void (*on_request_data)(struct exchange *x);
	/* x->response_body has room again. */
	void (*on_response_room)(struct exchange *x);
	/* The producer has gone (the visitor left). The answerer stops and releases. Last event. */
	void (*on_cancelled)(struct exchange *x);
};

enum handled {
	HANDLED_NEXT,   /* not mine: ask the next handler */
	HANDLED_TAKEN,  /* answered, or parked: the handler called exchange_answer_by() */
	HANDLED_FAILED, /* x->failure is filled in: exchange_fail() follows */
};

struct handler {
	const char *name;
	enum handled (*handle)(struct exchange *x, void *ctx);
};

/* One worker's chain; ctx is the worker's. The last handler never returns HANDLED_NEXT. */
struct handler_chain {
	const struct handler *handlers;
	size_t count;
	void *ctx; /* borrowed */
	/* Turns a failure into a response, before the head was sent. NULL: the producer does. */
	void (*answer_failure)(struct exchange *x, void *ctx);
};

#define EXCHANGE_ID_SIZE 33

struct exchange {
	uint32_t magic;
	struct loop *loop; /* borrowed */
	struct arena arena;
	struct head request, response;
	struct body request_body, response_body;
	struct failure failure;

	const struct exchange_producer *producer; /* NULL once released */
	void *producer_ctx;
	const struct exchange_answerer *answerer; /* NULL: none yet, or released */
	void *answerer_ctx;
	bool answerer_is_gone;
	bool has_head; /* exchange_respond() was called */
	bool has_failed;
	/* The visitor waits for "100 Continue" before it sends the body. The producer says it on its own, unless
	 * a handler sets relays_continue: then somebody further on says it, with exchange_interim(). The Expect
	 * field itself is not in request.fields. */
	bool expects_continue, relays_continue;
	struct list interims; /* not delivered yet */
	unsigned interim_count;

	/* Facts for handlers and logs. */
	char id[EXCHANGE_ID_SIZE]; /* request id, as both programs log it (CF-Ray without location) */
	struct bytes client_ip;    /* text */
	struct bytes host;         /* lower case, no port */
	struct bytes asked_path;   /* the path as it came, where a handler changes it; else empty */
	bool is_tls;
	/* Who asks, as Access found out: a signed token for the service, and the e-mail address; empty: nobody was
	 * asked, or it is a service. */
	struct bytes identity_token, identity_email;
	/* No HTTP: raw bytes both ways (request.is_upgrade) with request.authority, an IP address and port. The
	 * response's 200 says that they are connected. */
	bool is_tcp;
	/* At the connector: a WebSocket whose messages are the bytes of a public port's connection (docs/wire.md,
	 * "Public ports"); they begin with a PROXY header already. */
	bool is_port, has_proxy_header;
	bool is_tls_stream; /* with is_port: they are a visitor's TLS that the edge passes through */
	/* What the visitor's connection was asked for in its handshake, and the certificate it brought; NULL: nothing,
	 * none. Borrowed from the connection: for handlers that do not wait. */
	const struct tls_policy *tls_policy;
	const struct tls_peer *tls_peer;
	/* The host asks for certificates; the visitor's, in the arena; NULL: it has none. */
	bool asks_certificate;
	const struct tls_peer *certificate;
	const char *alt_svc; /* value of Alt-Svc for answers (RFC 7838); static to the exchange; NULL: none */
	const char *hsts; /* value of Strict-Transport-Security for answers; borrowed from `snapshot` */
	const char *protocol;  /* how the visitor speaks: "h1", "h2"; NULL: not known */
	struct uuid connector; /* which connector carries it, and over which of its connections */
	int conn_index;        /* -1: none does */
	usec started_at, head_at; /* by clock_now(): a turn of the loop is too coarse for people */
	void *route;              /* what the route handler found; borrowed from `snapshot` */
	const struct handler_chain *chain; /* borrowed */
	size_t next_handler;               /* index in the chain: whom exchange_resume() asks */
	void *snapshot;                    /* counted by whoever set drop_snapshot */
	void (*drop_snapshot)(void *snapshot);
	void *listener; /* what the listener keeps of it for on_end; borrowed, in the arena */
	/* Called once when the exchange ends, both sides released: the access log. */
	void (*on_end)(struct exchange *x, void *ctx);

	/* In a list of whoever may cut it, out of it when it ends. */
	struct list watch;
	void *watcher_ctx;

	unsigned pending; /* events noted, not yet delivered */
	struct deferred deferred;
};

/* Fresh, with empty heads; freed when both sides have released it. Body queues hold
 * LIMIT_BODY_QUEUE_BYTES; change x->*_body.queue.capacity before starting when a window bounds it. */
struct exchange *exchange_new(struct loop *loop, const struct exchange_producer *producer,
			      void *ctx);
/* Walks the handlers. x->request is complete; its body may still come. Events may follow on this
 * turn, never inside the call. */
void exchange_start(struct exchange *x, const struct handler_chain *chain);
/* For a handler that parked the exchange (it answers it so far): releases it as the answerer and asks the
 * handlers behind it. */
void exchange_resume(struct exchange *x);

/* --- Calls of the answerer --- */
void exchange_answer_by(struct exchange *x, const struct exchange_answerer *answerer, void *ctx);
/* Hands an interim head (100 to 199, not 101) on, copied. Before exchange_respond(). More than
 * LIMIT_INTERIM_HEADS of one exchange are dropped: each costs memory until it ends. */
void exchange_interim(struct exchange *x, const struct head *head);
void exchange_respond(struct exchange *x); /* x->response is complete */
/* x->failure is filled in; releases the answerer. Before the head the chain's answer_failure gets it
 * (which may answer as a new answerer), else the producer's on_failed. */
void exchange_fail(struct exchange *x);
void exchange_release_answerer(struct exchange *x);
/* By a third party, in the middle of it, and later in this turn: the answerer is cancelled, and to the producer it has
 * failed; x->failure is filled in. */
void exchange_cut(struct exchange *x);
/* Answers at once with a body that is already there: a page, a redirect, a JSON object. The status
 * and further fields are in x->response already; content-type (may be empty) and content-length are set
 * here; a HEAD request gets no body. Data is copied. */
void exchange_answer_whole(struct exchange *x, int status, struct bytes content_type,
			   struct bytes data);

/* --- Calls of the producer --- */
/* The response was delivered, or the visitor left before: then the answerer gets on_cancelled. */
void exchange_release_producer(struct exchange *x);

/* Fills x->failure; for `return exchange_failed(x, …)` in handlers. Texts are copied. */
enum handled exchange_failed(struct exchange *x, enum failure_hop hop, int status, int code,
			     const char *title, const char *detail_fmt, ...) PRINTF_LIKE(6, 7);

/* Exchanges alive in this process, for leak checks and metrics. */
long exchange_live_count(void);
