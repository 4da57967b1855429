/* Asks an HTTP/1.1 service: one request at a time on a connection, kept alive in between. */
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "connector/origin/origin_internal.h"
#include "http/h1.h"

#define CONN_MAGIC 0x6f72636e

/* One read; also the most that may wait in a connection whose response has no room. */
#define READ_BYTES (64 * 1024)

/* How long the body is held back for the service's "100 Continue": services that do not know Expect never
 * say it (RFC 9110 §10.1.1). As long as the stock connector waits. */
#define CONTINUE_WAIT_MS 1000

enum state {
	CONN_DIALLING, /* there is no stream yet */
	CONN_HEAD,     /* the request is on its way, the response head has not come */
	CONN_BODY,     /* response body */
	CONN_RAW,      /* after 101: bytes both ways */
	CONN_IDLE,     /* in the pool */
};

struct origin_conn {
	uint32_t magic;
	struct origin *origin; /* borrowed; the exchange or the pool keeps its set */
	struct exchange *x;    /* NULL while idle */
	enum state state;
	struct origin_dial *dial;
	struct byte_stream *stream; /* owned */
	char *server_name;          /* owned; only where origin_name_varies() */
	struct list node;           /* in origin->idle */
	struct timer idle;          /* in the pool, or within an exchange: see idle_limit() */
	usec moved_at;              /* when the exchange's bytes were last seen to move, */
	uint64_t moved_mark;        /* and what movement() said then */

	bool is_reused;      /* has served a request before this one */
	bool request_is_out; /* head and whole body were written, or wait in `unsent` */
	bool heard;          /* any byte of the response came */
	bool request_is_raw; /* upgrade: no framing */
	bool request_is_chunked;
	bool keep_alive;       /* the response allows another request */
	bool holds_body;       /* the service has not said yet that it wants the request's body */
	bool response_is_over; /* raw: the service has ended its side, the visitor has not */
	struct timer continue_wait;
	uint64_t request_left; /* of a length-delimited request body */
	struct buf unsent;     /* what the stream had no room for; goes before anything else */
	int interim_heads;

	struct buf in; /* received, not yet used; empty and without memory mostly */
	size_t scanned;
	struct h1_response_info info;
	uint64_t body_left; /* of a length-delimited response */
	struct h1_chunked chunked;
};

static void start_fresh(struct origin *o, struct exchange *x);
static void finish(struct origin_conn *c);

static void conn_free(struct origin_conn *c)
{
	CHECK(c, CONN_MAGIC);
	timer_stop(&c->idle);
	timer_stop(&c->continue_wait);
	list_remove(&c->node);
	origin_dial_cancel(c->dial);
	byte_stream_close(c->stream);
	buf_done(&c->in);
	buf_done(&c->unsent);
	h1_chunked_done(&c->chunked);
	mem_free(c->server_name);
	c->magic = 0;
	mem_free(c);
}

/* The exchange gets no (complete) response from this connection. */
static void fail(struct origin_conn *c, const struct err *err, const char *title)
{
	struct exchange *x = TAKE(c->x);
	struct origin *o = c->origin;
	bool try_again = c->is_reused && !c->heard && origin_is_replayable(x);
	bool was_sent = c->state >= CONN_HEAD;

	conn_free(c);
	if (o->rule->origin.http2_origin)
		origin_h2_forget(o);
	if (try_again) {
		/* The service closed an idle connection just as we used it: not its answer to us. */
		exchange_release_answerer(x);
		start_fresh(o, x);
		return;
	}
	origin_failed(x, o->rule, err, title, was_sent);
	exchange_fail(x);
}

static void fail_protocol(struct origin_conn *c, struct err *err)
{
	err_wrap(err, "malformed response");
	fail(c, err, "Bad response from the service");
}

/* --- Silence --------------------------------------------------------------------------------- */

/* How long no byte may move; 0: for ever. */
static usec idle_limit(const struct origin_conn *c)
{
	usec limit = c->origin->rule->origin.idle_timeout;
	bool is_half = c->state == CONN_RAW && (c->request_is_out || c->response_is_over);

	/* Whoever has said goodbye and hears nothing may be waiting for a peer that is gone. */
	return limit || !is_half ? limit : LIMIT_BODY_IDLE_MS * USEC_PER_MSEC;
}

/* Changes with every byte that comes, goes, or is taken by the far side of a queue. */
static uint64_t movement(const struct origin_conn *c)
{
	const struct body *up = &c->x->request_body, *down = &c->x->response_body;
	const uint64_t amounts[] = {
		up->total - bufq_len(&up->queue),
		byte_stream_backlog(c->stream),
		c->unsent.len,
		down->total,
		bufq_len(&down->queue),
		c->in.len,
		(uint64_t)c->interim_heads,
		c->state,
	};
	uint64_t mark = 0;

	for (size_t i = 0; i < ARRAY_LEN(amounts); i++)
		mark = mark * 0x100000001b3 + amounts[i];
	return mark;
}

/* Looked at four times per limit, so that bytes themselves cost nothing: it ends a quarter late at most. */
static void look_again(struct origin_conn *c)
{
	timer_set(&c->idle, idle_limit(c) / 4 / USEC_PER_MSEC + 1);
}

static void watch_silence(struct origin_conn *c)
{
	if (!idle_limit(c))
		return;
	c->moved_at = loop_now(c->origin->loop);
	c->moved_mark = movement(c);
	look_again(c);
}

static void on_silence(struct origin_conn *c)
{
	usec limit = idle_limit(c);
	struct err err;

	if (movement(c) != c->moved_mark) {
		watch_silence(c);
	} else if (loop_now(c->origin->loop) - c->moved_at < limit) {
		look_again(c);
	} else if (c->state == CONN_RAW) {
		finish(c);
	} else {
		err_set(&err, E_TIMEOUT, "no byte came or went for %lld ms",
			(long long)(limit / USEC_PER_MSEC));
		fail(c, &err, "Service timed out");
	}
}

/* --- The pool -------------------------------------------------------------------------------- */

static void drop_idle(struct origin_conn *c)
{
	c->origin->idle_count--;
	conn_free(c);
}

static void on_idle_timeout(struct timer *t)
{
	struct origin_conn *c = CONTAINER_OF(t, struct origin_conn, idle);

	CHECK(c, CONN_MAGIC);
	if (c->state == CONN_IDLE)
		drop_idle(c);
	else
		on_silence(c);
}

/* Whether connections of this service are for more than one request. A PROXY header speaks for one
 * visitor alone. */
static bool keeps_connections(const struct origin *o)
{
	return o->rule->origin.keepalive_connections > 0 &&
	       o->rule->origin.proxy_protocol == INGRESS_PROXY_NONE;
}

static void put_idle(struct origin_conn *c)
{
	struct origin *o = c->origin;

	if (!c->keep_alive || c->in.len || !keeps_connections(o)) {
		conn_free(c);
		return;
	}
	if (o->idle_count >= o->rule->origin.keepalive_connections)
		drop_idle(LIST_ENTRY(o->idle.prev, struct origin_conn, node)); /* the oldest */
	buf_done(&c->in);
	c->state = CONN_IDLE;
	c->is_reused = true;
	list_prepend(&o->idle, &c->node);
	o->idle_count++;
	timer_set(&c->idle, o->rule->origin.keepalive_timeout / USEC_PER_MSEC);
	byte_stream_want_read(c->stream); /* so that a close by the service is seen */
}

/* The latest that was opened for this name; NULL: names do not matter. */
static struct origin_conn *take_idle(struct origin *o, const char *server_name)
{
	LIST_FOR_EACH(node, &o->idle) {
		struct origin_conn *c = LIST_ENTRY(node, struct origin_conn, node);
		if (server_name && strcmp(server_name, c->server_name) != 0)
			continue;
		list_remove(&c->node);
		o->idle_count--;
		timer_stop(&c->idle);
		return c;
	}
	return NULL;
}

void origin_http_close_idle(struct origin *o)
{
	for (struct origin_conn *c; (c = take_idle(o, NULL));)
		conn_free(c);
}

/* --- Request --------------------------------------------------------------------------------- */

/* Framing has to leave whole and in order, however little room the stream has. */
static void send_or_keep(struct origin_conn *c, struct bytes data)
{
	if (c->unsent.len == 0)
		data = bytes_from(data, byte_stream_write(c->stream, data));
	/* One head, one run with its framing or one block of trailers at most: it fits. */
	BUG_IF(buf_append(&c->unsent, data) < 0);
}

/* True when nothing waits any more. */
static bool send_kept(struct origin_conn *c)
{
	if (c->unsent.len == 0)
		return true;
	buf_drop(&c->unsent, byte_stream_write(c->stream, buf_bytes(&c->unsent)));
	if (c->unsent.len)
		return false;
	buf_done(&c->unsent);
	return true;
}

static void send_last_chunk(struct origin_conn *c)
{
	struct buf tail;

	buf_init(&tail, LIMIT_HEAD_BYTES);
	/* Trailers that cannot be printed are left out: they are optional by definition. */
	int ret = h1_print_trailers(&c->x->request_body.trailers, &tail);
	send_or_keep(c, BYTES_LIT("0\r\n"));
	if (ret == 0)
		send_or_keep(c, buf_bytes(&tail));
	send_or_keep(c, BYTES_LIT("\r\n"));
	buf_done(&tail);
}

/* A body that is not as long as the head has said would make bytes of it, or of the next request, pass
 * for something else. */
static void fail_length(struct origin_conn *c)
{
	struct err err;

	err_set(&err, E_PROTOCOL, "the request body is not as long as its Content-Length");
	fail(c, &err, "Bad request");
}

static bool request_is_over(struct origin_conn *c)
{
	c->request_is_out = true;
	if (c->request_is_chunked) {
		send_last_chunk(c);
	} else if (c->request_is_raw) {
		byte_stream_shutdown(c->stream);
		if (c->response_is_over) {
			finish(c);
			return false;
		}
		watch_silence(c);
	} else if (c->request_left) {
		fail_length(c);
		return false;
	}
	return true;
}

/* False: the connection is gone. */
static bool pump_request(struct origin_conn *c)
{
	struct body *body = &c->x->request_body;
	struct bytes run;

	if (!send_kept(c) || c->request_is_out || c->holds_body)
		return true;
	/* A service that has not agreed to the upgrade would read further requests in these bytes. */
	if (c->request_is_raw && c->state != CONN_RAW)
		return true;
	while (body_peek(body, &run, 1)) {
		size_t taken = run.len;
		if (c->request_is_chunked) {
			char line[20];
			send_or_keep(c, bytes_of(line, h1_print_chunk_head(run.len, line)));
			send_or_keep(c, run);
			send_or_keep(c, BYTES_LIT("\r\n"));
		} else if (!c->request_is_raw && run.len > c->request_left) {
			fail_length(c);
			return false;
		} else {
			taken = byte_stream_write(c->stream, run);
			c->request_left -= c->request_is_raw ? 0 : taken;
		}
		body_consume(body, taken);
		if (taken < run.len || c->unsent.len)
			return true;
	}
	return !body_is_done(body) || request_is_over(c);
}

/* --- Expect: 100-continue -------------------------------------------------------------------- */

/* The visitor may send its body, and what has come of it goes out. False: the connection is gone. */
static bool go_on(struct origin_conn *c)
{
	static const struct head go_ahead = { .status = 100 };

	c->holds_body = false;
	timer_stop(&c->continue_wait);
	exchange_interim(c->x, &go_ahead);
	return pump_request(c);
}

static void on_continue_wait(struct timer *t)
{
	struct origin_conn *c = CONTAINER_OF(t, struct origin_conn, continue_wait);

	CHECK(c, CONN_MAGIC);
	(void)go_on(c); /* the last thing done with it */
}

/* The visitor waits for a word of the service, and nobody has given it one. A body that is complete waits
 * for nothing. */
static bool is_awaited(const struct exchange *x)
{
	return x->expects_continue && x->relays_continue && !x->request.is_upgrade &&
	       x->request.length != HEAD_LENGTH_NONE && !x->request_body.has_ended;
}

/* --- Sending --------------------------------------------------------------------------------- */

static enum h1_framing framing_of(const struct head *h)
{
	if (h->is_upgrade)
		return H1_RAW_UPGRADE;
	if (h->length == HEAD_LENGTH_KNOWN)
		return H1_LENGTH;
	if (h->length == HEAD_LENGTH_UNKNOWN)
		return H1_CHUNKED;
	/* Methods that usually have a body say so when they have none (RFC 9110 §8.6). */
	if (bytes_eq(h->method, BYTES_LIT("POST")) || bytes_eq(h->method, BYTES_LIT("PUT")) ||
	    bytes_eq(h->method, BYTES_LIT("PATCH")))
		return H1_LENGTH;
	return H1_NO_BODY;
}

/* Prints and sends the head; 0, or the error of printing. */
static int send_head(struct origin_conn *c, enum h1_framing framing)
{
	struct head *request = &c->x->request;
	struct buf head;
	int ret = 0;

	buf_init(&head, 2 * LIMIT_HEAD_BYTES);
	if (c->holds_body)
		ret = fields_add(&request->fields, &c->x->arena, BYTES_LIT("Expect"),
				 BYTES_LIT("100-continue"));
	if (ret == 0)
		ret = h1_print_request(request, framing, keeps_connections(c->origin), true, &head);
	if (c->holds_body)
		fields_remove(&request->fields, HEAD_EXPECT);
	if (ret == 0)
		send_or_keep(c, buf_bytes(&head));
	buf_done(&head);
	return ret;
}

static void send_request(struct origin_conn *c)
{
	struct exchange *x = c->x;
	enum h1_framing framing = framing_of(&x->request);
	struct err err;

	c->state = CONN_HEAD;
	c->heard = c->request_is_out = c->keep_alive = false;
	c->scanned = 0;
	c->request_is_chunked = framing == H1_CHUNKED;
	c->request_is_raw = framing == H1_RAW_UPGRADE;
	c->request_left = framing == H1_LENGTH ? x->request.content_length : 0;
	c->holds_body = is_awaited(x);
	c->interim_heads = 0;
	watch_silence(c);
	int ret = send_head(c, framing);
	if (ret == E_LIMIT) {
		err_set(&err, E_LIMIT, "the request head is too large");
		fail(c, &err, "Request too large");
		return;
	}
	if (ret < 0) {
		err_set(&err, E_INVALID, "the request head has bytes that HTTP/1.1 cannot carry");
		fail(c, &err, "Bad request");
		return;
	}
	if (c->holds_body)
		timer_set(&c->continue_wait, CONTINUE_WAIT_MS);
	if (framing == H1_NO_BODY ||
	    (framing == H1_LENGTH && x->request.length == HEAD_LENGTH_NONE && !c->request_left))
		c->request_is_out = true;
	(void)pump_request(c); /* the last thing done with it */
}

/* --- Response -------------------------------------------------------------------------------- */

static void finish(struct origin_conn *c)
{
	struct exchange *x = TAKE(c->x);

	/* A service may answer before it has read everything: then the connection is of no more use. */
	c->keep_alive = c->keep_alive && c->request_is_out && c->unsent.len == 0;
	body_end(&x->response_body);
	h1_chunked_done(&c->chunked);
	exchange_release_answerer(x);
	put_idle(c);
}

/* An interim head. False: the connection is gone. */
static bool take_interim(struct origin_conn *c, struct head *head)
{
	struct exchange *x = c->x;
	struct err err;

	if (++c->interim_heads > LIMIT_INTERIM_HEADS) {
		err_set(&err, E_LIMIT, "more than %d interim responses", LIMIT_INTERIM_HEADS);
		fail_protocol(c, &err);
		return false;
	}
	if (head->status == 100 && c->holds_body)
		return go_on(c);
	/* Who waited for it has heard it: from the producer, or from us when the wait was over. */
	if (head->status == 100 && x->expects_continue)
		return true;
	head_strip_hop_by_hop(head);
	exchange_interim(x, head);
	return true;
}

/* Takes the head off the front of *data. 1: done, 0: more is needed, < 0: the connection is gone. */
static int take_head(struct origin_conn *c, struct bytes *data)
{
	struct exchange *x = c->x;
	struct err err = { 0 };

	for (;;) {
		ssize_t len = h1_response_length(*data, &c->scanned);
		if (len == 0)
			return 0;
		if (len < 0)
			err_set(&err, E_LIMIT, "the response head is larger than %d bytes",
				LIMIT_HEAD_BYTES);
		struct head head = { 0 };
		if (len < 0 || h1_parse_response(bytes_first(*data, (size_t)len), x->request.method,
						 &x->arena, &head, &c->info, &err) < 0) {
			fail_protocol(c, &err);
			return -1;
		}
		*data = bytes_from(*data, (size_t)len);
		c->scanned = 0;
		if (head.status < 200 && head.status != 101) {
			if (!take_interim(c, &head))
				return -1;
			continue;
		}
		if (head.status == 101 && !x->request.is_upgrade) {
			err_set(&err, E_PROTOCOL, "101 without an upgrade having been asked for");
			fail_protocol(c, &err);
			return -1;
		}
		x->response = head;
		/* What Connection names is between the service and us; an upgrade is for both ends. */
		if (head.status != 101)
			head_strip_hop_by_hop(&x->response);
		break;
	}
	if (x->response.status == 101) {
		c->state = CONN_RAW;
		x->response.is_upgrade = true;
	} else {
		c->state = CONN_BODY;
		c->keep_alive = c->info.keep_alive && !c->request_is_raw;
		c->body_left = x->response.content_length;
		if (c->info.is_chunked) {
			h1_chunked_init(&c->chunked);
			c->chunked.allows_padding = true;
		}
	}
	timer_stop(&c->continue_wait); /* a body that is held back now is never sent */
	exchange_respond(x);
	return c->state == CONN_RAW && !pump_request(c) ? -1 : 1;
}

/* Moves body bytes from *data to the exchange. 1: the response is complete, 0: more is needed, 2: no room,
 * < 0: the connection is gone. */
static int take_body(struct origin_conn *c, struct bytes *data)
{
	struct exchange *x = c->x;
	struct body *body = &x->response_body;
	struct err err = { 0 };

	if (c->state == CONN_RAW || c->info.ends_by_close) {
		*data = bytes_from(*data, body_write(body, *data));
		return data->len ? 2 : 0;
	}
	if (c->info.is_chunked) {
		while (body_room(body)) {
			struct bytes run;
			int ret = h1_chunked_next(&c->chunked, data, &run, &err);
			if (ret < 0) {
				fail_protocol(c, &err);
				return -1;
			}
			if (ret == 2 && h1_chunked_trailers(&c->chunked, &x->arena, &body->trailers,
							    &err) < 0) {
				fail_protocol(c, &err);
				return -1;
			}
			if (ret == 2)
				return 1;
			if (ret == 0)
				return 0;
			/* A run is at most what one read brought: it may exceed the queue by that much. */
			body_write_all(body, run);
		}
		return 2;
	}
	if (x->response.length == HEAD_LENGTH_KNOWN) {
		struct bytes part = bytes_first(
			*data, c->body_left < SIZE_MAX ? (size_t)c->body_left : SIZE_MAX);
		size_t taken = body_write(body, part);
		*data = bytes_from(*data, taken);
		c->body_left -= taken;
		if (c->body_left == 0)
			return 1;
		return taken < part.len ? 2 : 0;
	}
	return 1;
}

enum fed {
	FED_MORE, /* all used, or the start of a head is kept: read on */
	FED_FULL, /* the exchange has no room: the rest is kept */
	FED_GONE, /* the response is complete or the connection failed: it is not ours any more */
};

static enum fed keep(struct origin_conn *c, struct bytes rest)
{
	struct err err;

	if (buf_append(&c->in, rest) == 0)
		return FED_MORE;
	err_set(&err, E_LIMIT, "the response head is larger than %d bytes", LIMIT_HEAD_BYTES);
	fail_protocol(c, &err);
	return FED_GONE;
}

/* Uses what was received; what cannot be used yet is kept in c->in. */
static enum fed feed(struct origin_conn *c, struct bytes data)
{
	if (c->state == CONN_HEAD) {
		int head = take_head(c, &data);
		if (head < 0)
			return FED_GONE;
		if (head == 0)
			return keep(c, data);
	}
	int body = take_body(c, &data);
	if (body < 0)
		return FED_GONE;
	if (body == 1) {
		/* What follows a complete response was not asked for: such a connection is not reused. */
		if (data.len)
			c->keep_alive = false;
		finish(c);
		return FED_GONE;
	}
	enum fed fed = keep(c, data);
	return fed == FED_MORE && body == 2 ? FED_FULL : fed;
}

/* The kept bytes, and what has just come after them. */
static enum fed feed_kept(struct origin_conn *c, struct bytes more)
{
	struct buf kept = c->in;
	struct err err;

	buf_init(&c->in, LIMIT_HEAD_BYTES + READ_BYTES);
	if (buf_append(&kept, more) < 0) {
		buf_done(&kept);
		err_set(&err, E_LIMIT, "the response head is larger than %d bytes",
			LIMIT_HEAD_BYTES);
		fail_protocol(c, &err);
		return FED_GONE;
	}
	enum fed fed = feed(c, buf_bytes(&kept));
	buf_done(&kept);
	return fed;
}

static void on_end_of_input(struct origin_conn *c, ssize_t n, struct err *err)
{
	if (n == 0 && c->state == CONN_RAW && !c->request_is_out) {
		/* Half of it is over; the visitor may still have something to say. */
		c->response_is_over = true;
		body_end(&c->x->response_body);
		watch_silence(c);
		return;
	}
	if (n == 0 && (c->state == CONN_RAW || (c->state == CONN_BODY && c->info.ends_by_close))) {
		c->keep_alive = false;
		finish(c);
		return;
	}
	if (n == 0)
		err_set(err, E_CLOSED,
			c->heard ? "the connection was closed in the middle of the response"
				 : "the connection was closed without a response");
	fail(c, err, "Service closed the connection");
}

/* Nothing is to be parsed: bytes may go straight into the exchange's queue. */
static bool can_read_direct(const struct origin_conn *c)
{
	if (c->in.len)
		return false;
	return c->state == CONN_RAW || (c->state == CONN_BODY && !c->info.is_chunked &&
					(c->info.ends_by_close || c->body_left));
}

static void read_direct(struct origin_conn *c)
{
	struct body *body = &c->x->response_body;
	bool is_counted = c->state == CONN_BODY && !c->info.ends_by_close;
	struct err err = { 0 };
	size_t room;
	uint8_t *at;

	while ((at = body_reserve(body, &room))) {
		if (is_counted && room > c->body_left)
			room = (size_t)c->body_left;
		ssize_t n = byte_stream_read(c->stream, at, room, &err);
		body_commit(body, n > 0 ? (size_t)n : 0);
		if (n == E_AGAIN)
			return;
		if (n <= 0) {
			on_end_of_input(c, n, &err);
			return;
		}
		if (is_counted) {
			c->body_left -= (uint64_t)n;
			if (c->body_left == 0) {
				finish(c);
				return;
			}
		}
	}
}

static void read_response(struct origin_conn *c)
{
	static _Thread_local uint8_t scratch[READ_BYTES];
	struct err err = { 0 };

	if (c->response_is_over)
		return;
	if (c->in.len && c->state != CONN_HEAD && feed_kept(c, BYTES_NONE) != FED_MORE)
		return;
	for (;;) {
		if (can_read_direct(c)) {
			read_direct(c);
			return;
		}
		ssize_t n = byte_stream_read(c->stream, scratch, sizeof(scratch), &err);
		if (n == E_AGAIN)
			return;
		if (n <= 0) {
			on_end_of_input(c, n, &err);
			return;
		}
		c->heard = true;
		struct bytes data = bytes_of(scratch, (size_t)n);
		enum fed fed = c->in.len ? feed_kept(c, data) : feed(c, data);
		/* A short read has emptied the socket: the loop tells when there is more. */
		if (fed != FED_MORE || (size_t)n < sizeof(scratch))
			return;
	}
}

static void on_readable(void *ctx)
{
	struct origin_conn *c = ctx;

	CHECK(c, CONN_MAGIC);
	if (c->state == CONN_IDLE) {
		/* Nothing was asked: either the service closes, or it does not speak HTTP. Or it was only TLS
		 * on its own account (session tickets). */
		uint8_t scrap;
		if (byte_stream_read(c->stream, &scrap, 1, NULL) == E_AGAIN)
			return;
		drop_idle(c);
		return;
	}
	read_response(c);
}

static void on_writable(void *ctx)
{
	struct origin_conn *c = ctx;

	CHECK(c, CONN_MAGIC);
	if (c->x)
		(void)pump_request(c); /* the last thing done with it */
}

static void on_error(void *ctx, const struct err *err)
{
	struct origin_conn *c = ctx;

	CHECK(c, CONN_MAGIC);
	if (!c->x)
		drop_idle(c);
	else if (c->response_is_over)
		finish(c); /* it takes nothing more, and had its say */
	else
		fail(c, err, "Service closed the connection");
}

static const struct byte_stream_events stream_events = {
	.on_readable = on_readable,
	.on_writable = on_writable,
	.on_error = on_error,
};

/* --- The exchange's side --------------------------------------------------------------------- */

static void on_request_data(struct exchange *x)
{
	struct origin_conn *c = x->answerer_ctx;

	if (c->state >= CONN_HEAD)
		(void)pump_request(c); /* the last thing done with it */
}

static void on_response_room(struct exchange *x)
{
	struct origin_conn *c = x->answerer_ctx;

	if (c->state == CONN_BODY || (c->state == CONN_RAW && !c->response_is_over)) {
		byte_stream_want_read(c->stream);
		read_response(c);
	}
}

static void on_cancelled(struct exchange *x)
{
	struct origin_conn *c = x->answerer_ctx;

	c->x = NULL;
	conn_free(c);
	exchange_release_answerer(x);
}

static const struct exchange_answerer answerer = {
	.name = "origin",
	.on_request_data = on_request_data,
	.on_response_room = on_response_room,
	.on_cancelled = on_cancelled,
};

/* --- Connecting ------------------------------------------------------------------------------ */

static struct origin_conn *conn_new(struct origin *o, struct exchange *x)
{
	struct origin_conn *c = mem_alloc(sizeof(*c));

	c->magic = CONN_MAGIC;
	c->origin = o;
	c->x = x;
	c->state = CONN_DIALLING;
	list_init(&c->node);
	timer_init(&c->idle, o->loop, on_idle_timeout);
	timer_init(&c->continue_wait, o->loop, on_continue_wait);
	buf_init(&c->in, LIMIT_HEAD_BYTES + READ_BYTES);
	buf_init(&c->unsent, 2 * LIMIT_HEAD_BYTES + 2 * BUFQ_CHUNK_BYTES);
	if (origin_name_varies(o))
		c->server_name = origin_server_name(o, x->request.authority);
	exchange_answer_by(x, &answerer, c);
	return c;
}

static void use_stream(struct origin_conn *c, struct byte_stream *stream)
{
	c->stream = stream;
	byte_stream_set_events(stream, &stream_events, c);
	send_request(c);
}

static void on_dialled(void *ctx, struct byte_stream *stream, const struct err *err,
		       const char *title)
{
	struct origin_conn *c = ctx;

	CHECK(c, CONN_MAGIC);
	c->dial = NULL;
	if (stream)
		use_stream(c, stream);
	else
		fail(c, err, title);
}

static void start_fresh(struct origin *o, struct exchange *x)
{
	struct origin_conn *c = conn_new(o, x);
	struct origin_target to = origin_target_of(x);

	to.only_http1 = true;
	c->dial = origin_dial(o, &to, on_dialled, c);
}

static struct origin_conn *take_idle_for(struct origin *o, const struct exchange *x)
{
	if (list_is_empty(&o->idle) || !origin_name_varies(o))
		return take_idle(o, NULL);
	char *server_name = origin_server_name(o, x->request.authority);
	struct origin_conn *c = take_idle(o, server_name);
	mem_free(server_name);
	return c;
}

void origin_http_start(struct origin *o, struct exchange *x)
{
	struct origin_conn *c = take_idle_for(o, x);

	if (!c) {
		start_fresh(o, x);
		return;
	}
	c->x = x;
	exchange_answer_by(x, &answerer, c);
	send_request(c);
}

void origin_http_start_on(struct origin *o, struct exchange *x, struct byte_stream *stream)
{
	use_stream(conn_new(o, x), stream);
}
