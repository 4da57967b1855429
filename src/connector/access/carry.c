/* Nothing frees the carry but settle(), which every event ends with: whatever happens in between only says
 * so in the fields. */
#include "connector/access/carry.h"

#include "base/bufq.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/random.h"
#include "http/websocket.h"
#include "io/byte_stream.h"
#include "io/loop.h"

#define CARRY_MAGIC 0x63617272

#define CLOSE_NO_STATUS 1005 /* a close frame without a code (RFC 6455 §7.4.1) */
/* How often one looks whether a slow local reader has taken the rest. */
#define DRAIN_LOOK_MS 50

struct access_carry {
	uint32_t magic;
	struct byte_stream *local;  /* owned */
	struct byte_stream *remote; /* owned; NULL once it has ended */
	bool has_half_close;
	access_carry_done *done;
	void *ctx;
	struct timer ping, wait;
	struct deferred start;
	bool is_over;
	struct err verdict; /* code 0: properly */

	/* Towards the far end: one frame at a time. */
	uint8_t *out; /* owned chunk: room for the longest head, then payload */
	size_t out_start, out_end;
	bool local_ended;    /* no more bytes from there */
	uint16_t close_code; /* to be sent; 0: none */
	const char *close_reason;
	bool has_sent_close; /* nothing follows it */
	bool owes_pong, owes_ping;
	uint8_t pong[WEBSOCKET_CONTROL_MAX];
	size_t pong_len;
	/* Data frames sent: in all, before the last ping, before the last one that was answered. */
	uint64_t sent, sent_before_ping, sent_before_pong;
	bool awaits_pong;
	bool has_heard; /* anything since the last ping */

	/* Towards `local`. */
	uint8_t *in; /* owned chunk */
	size_t in_start, in_end;
	struct bytes payload; /* points into `in`: what `local` had no room for yet */
	struct websocket_reader reader;
	bool remote_ended; /* its end has been said, or it is gone */
	bool is_local_shut;
};

static void carry_free(struct access_carry *c)
{
	timer_stop(&c->ping);
	timer_stop(&c->wait);
	deferred_cancel(&c->start);
	byte_stream_close(c->local);
	byte_stream_close(c->remote);
	bufq_chunk_return(c->out);
	bufq_chunk_return(c->in);
	c->magic = 0;
	mem_free(c);
}

/* The first verdict counts. */
static void fail(struct access_carry *c, const struct err *err)
{
	if (!c->is_over && !c->verdict.code)
		c->verdict = *err;
	c->is_over = true;
}

/* --- Towards the far end --------------------------------------------------------------------- */

static void put_control(struct access_carry *c, enum websocket_opcode opcode, struct bytes payload)
{
	uint8_t mask[4];

	random_bytes(mask, sizeof(mask));
	c->out_start = 0;
	c->out_end = websocket_print_control(opcode, payload, mask, c->out);
}

static void put_close(struct access_carry *c)
{
	uint8_t mask[4];

	random_bytes(mask, sizeof(mask));
	c->out_start = 0;
	c->out_end = websocket_print_close(c->close_code, c->close_reason, mask, c->out);
	c->has_sent_close = true;
	timer_stop(&c->ping);
	timer_set(&c->wait, LIMIT_ACCESS_CLOSE_MS);
}

/* The ping carries how much of ours it stands behind, so that its answer says what was digested. */
static void put_ping(struct access_carry *c)
{
	uint8_t count[8];

	c->awaits_pong = true;
	c->has_heard = false;
	c->sent_before_ping = c->sent;
	for (size_t i = 0; i < sizeof(count); i++)
		count[i] = (uint8_t)(c->sent >> (56 - 8 * i));
	put_control(c, WEBSOCKET_PING, bytes_of(count, sizeof(count)));
}

static void on_pong(struct access_carry *c)
{
	struct bytes payload = c->reader.payload;
	uint64_t count = 0;

	if (payload.len != 8)
		return; /* nobody asked (RFC 6455 §5.5.3) */
	for (size_t i = 0; i < payload.len; i++)
		count = count << 8 | payload.ptr[i];
	if (count > c->sent_before_ping || count < c->sent_before_pong)
		return;
	c->sent_before_pong = count;
	if (count == c->sent_before_ping)
		c->awaits_pong = false;
}

/* `len` bytes of payload stand behind the room for the head. */
static void put_data(struct access_carry *c, size_t len)
{
	uint8_t mask[4], head[WEBSOCKET_HEAD_MAX];

	random_bytes(mask, sizeof(mask));
	size_t head_len = websocket_print_head(WEBSOCKET_BINARY, len, mask, head);
	websocket_mask(c->out + WEBSOCKET_HEAD_MAX, len, mask, 0);
	c->out_start = WEBSOCKET_HEAD_MAX - head_len;
	c->out_end = WEBSOCKET_HEAD_MAX + len;
	memcpy(c->out + c->out_start, head, head_len);
	c->sent++;
}

/* A close frame, behind what is there to be sent. */
static void say_goodbye(struct access_carry *c, uint16_t code, const char *reason)
{
	if (c->close_code)
		return;
	c->close_code = code;
	c->close_reason = reason;
}

/* Without half-close only a close frame can say it, and that ends the other direction too: what is on its
 * way here would be lost. */
static void on_local_end(struct access_carry *c)
{
	c->local_ended = true;
	if (c->has_half_close)
		put_data(c, 0);
	else
		timer_set(&c->wait, LIMIT_ACCESS_QUIET_MS);
	if (c->remote_ended)
		say_goodbye(c, WEBSOCKET_CLOSE_NORMAL, NULL);
}

/* Puts the next frame into `out`; false: there is none now. */
static bool next_frame(struct access_carry *c)
{
	struct err err = { 0 };

	if (c->has_sent_close)
		return false;
	if (c->owes_pong) {
		c->owes_pong = false;
		put_control(c, WEBSOCKET_PONG, bytes_of(c->pong, c->pong_len));
		return true;
	}
	if (c->owes_ping) {
		c->owes_ping = false;
		put_ping(c);
		return true;
	}
	if (c->close_code) {
		put_close(c);
		return true;
	}
	if (c->local_ended)
		return false;
	ssize_t n = byte_stream_read(c->local, c->out + WEBSOCKET_HEAD_MAX,
				     BUFQ_CHUNK_BYTES - WEBSOCKET_HEAD_MAX, &err);
	if (n == E_AGAIN)
		return false;
	if (n > 0) {
		put_data(c, (size_t)n);
	} else if (n == 0) {
		on_local_end(c);
	} else {
		fail(c, &err);
		return false;
	}
	return true;
}

static void pump_out(struct access_carry *c)
{
	while (c->remote && !c->is_over) {
		struct bytes rest = bytes_of(c->out + c->out_start, c->out_end - c->out_start);
		c->out_start += rest.len ? byte_stream_write(c->remote, rest) : 0;
		if (c->out_start < c->out_end)
			return; /* on_writable() follows */
		if (!next_frame(c))
			return;
	}
}

/* Says goodbye if that can be done at once: `remote` is closed next. */
static void part(struct access_carry *c, uint16_t code, const char *reason)
{
	if (!c->remote || c->has_sent_close || c->out_start < c->out_end)
		return;
	c->close_code = code;
	c->close_reason = reason;
	put_close(c);
	(void)byte_stream_write(c->remote,
				bytes_of(c->out + c->out_start, c->out_end - c->out_start));
}

/* --- Towards `local` ------------------------------------------------------------------------- */

/* Nothing comes or goes there any more; `local` still takes what it had no room for. */
static void remote_left(struct access_carry *c, const struct err *err)
{
	if (!c->remote)
		return;
	if (err && !c->verdict.code)
		c->verdict = *err;
	c->remote_ended = c->local_ended = true;
	timer_stop(&c->ping);
	byte_stream_set_events(c->remote, NULL, NULL);
	c->remote = byte_stream_close(c->remote);
}

static void on_close_frame(struct access_carry *c)
{
	struct bytes reason = bytes_first(bytes_from(c->reader.payload, 2), 100);
	uint16_t code = c->reader.close_code;
	struct err err;
	char text[101];
	size_t len = 0;

	part(c, code == CLOSE_NO_STATUS ? CLOSE_NO_STATUS : WEBSOCKET_CLOSE_NORMAL, NULL);
	if (code == WEBSOCKET_CLOSE_NORMAL || code == CLOSE_NO_STATUS) {
		remote_left(c, NULL);
		return;
	}
	for (; len < reason.len; len++)
		text[len] = (char)(reason.ptr[len] >= ' ' && reason.ptr[len] < 0x7f ? reason.ptr[len]
										    : '?');
	text[len] = 0;
	err_set(&err, E_CLOSED, "the far end ended the stream: %s%s(code %u)", text, len ? " " : "",
		code);
	remote_left(c, &err);
}

static void on_control(struct access_carry *c)
{
	const struct websocket_reader *r = &c->reader;

	switch (r->opcode) {
	case WEBSOCKET_PING:
		/* Of several only the last has to be answered (§5.5.3). */
		c->pong_len = r->payload.len;
		if (r->payload.len)
			memcpy(c->pong, r->payload.ptr, r->payload.len);
		c->owes_pong = true;
		break;
	case WEBSOCKET_PONG:
		on_pong(c);
		break;
	default:
		on_close_frame(c);
		break;
	}
}

/* An empty message, where that was agreed, is the end of what comes from there. */
static void on_message(struct access_carry *c)
{
	if (!c->has_half_close || !c->reader.is_empty || c->reader.opcode != WEBSOCKET_BINARY)
		return;
	c->remote_ended = true;
	if (c->local_ended)
		say_goodbye(c, WEBSOCKET_CLOSE_NORMAL, NULL);
}

static void on_broken(struct access_carry *c)
{
	struct err err;

	err_set(&err, E_PROTOCOL, "the far end sent what is no WebSocket frame");
	part(c, WEBSOCKET_CLOSE_PROTOCOL, NULL);
	remote_left(c, &err);
}

/* One event of the input at hand; false when that is used up. */
static bool take_event(struct access_carry *c)
{
	uint8_t *data = c->in + c->in_start;
	size_t size = c->in_end - c->in_start;
	enum websocket_event event = websocket_next(&c->reader, &data, &size);

	c->in_start = c->in_end - size;
	switch (event) {
	case WEBSOCKET_MORE:
		return false;
	case WEBSOCKET_DATA:
		/* Bytes behind their end have no place to go. */
		if (!c->remote_ended)
			c->payload = c->reader.payload;
		break;
	case WEBSOCKET_MESSAGE:
		on_message(c);
		break;
	case WEBSOCKET_CONTROL:
		on_control(c);
		break;
	case WEBSOCKET_BROKEN:
		on_broken(c);
		break;
	}
	return true;
}

/* The far end's connection has ended without a close frame. Stock connectors do that, between two
 * frames; one that knows half-close says its end. */
static void on_remote_end(struct access_carry *c)
{
	const struct websocket_reader *r = &c->reader;
	struct err err;

	err_set(&err, E_CLOSED, "the connection ended in the middle of the stream");
	bool is_cut = r->in_frame || r->in_message || r->head_len ||
		      (c->has_half_close && !c->remote_ended);
	remote_left(c, is_cut ? &err : NULL);
}

/* Reads on; false: nothing now, or no more. */
static bool refill(struct access_carry *c)
{
	struct err err = { 0 };
	ssize_t n = byte_stream_read(c->remote, c->in, BUFQ_CHUNK_BYTES, &err);

	if (n > 0) {
		c->in_start = 0;
		c->in_end = (size_t)n;
		c->has_heard = true;
		if (c->local_ended && !c->has_half_close && !c->close_code)
			timer_set(&c->wait, LIMIT_ACCESS_QUIET_MS);
		return true;
	}
	if (n == 0)
		on_remote_end(c);
	else if (n != E_AGAIN)
		remote_left(c, &err);
	return false;
}

static void pump_in(struct access_carry *c)
{
	while (!c->is_over) {
		if (c->payload.len)
			c->payload = bytes_from(c->payload, byte_stream_write(c->local, c->payload));
		if (c->payload.len)
			return; /* on_writable() follows */
		if (c->remote_ended && !c->is_local_shut) {
			c->is_local_shut = true;
			byte_stream_shutdown(c->local);
		}
		if (!c->remote)
			return;
		if (!take_event(c) && !refill(c) && c->remote)
			return;
	}
}

/* --- Events ---------------------------------------------------------------------------------- */

/* The end of every event; may free the carry. */
static void settle(struct access_carry *c)
{
	if (!c->is_over && !c->remote) {
		/* All that is left is with `local`, whose reader takes the time it takes. */
		c->is_over = c->payload.len == 0 && byte_stream_backlog(c->local) == 0;
		timer_set(&c->wait, DRAIN_LOOK_MS);
	}
	if (!c->is_over)
		return;
	part(c, WEBSOCKET_CLOSE_GOING_AWAY, NULL);

	access_carry_done *done = c->done;
	void *ctx = c->ctx;
	struct err err = c->verdict;
	carry_free(c);
	done(ctx, err.code ? &err : NULL);
}

static struct access_carry *carry_of(void *ctx)
{
	struct access_carry *c = ctx;

	CHECK(c, CARRY_MAGIC);
	return c;
}

static void go_on(struct access_carry *c)
{
	pump_in(c);
	if (c->owes_pong || c->owes_ping || (c->close_code && !c->has_sent_close))
		pump_out(c);
	settle(c);
}

static void on_remote_readable(void *ctx)
{
	go_on(carry_of(ctx));
}

static void on_local_writable(void *ctx)
{
	go_on(carry_of(ctx));
}

static void on_local_readable(void *ctx)
{
	struct access_carry *c = carry_of(ctx);

	pump_out(c);
	settle(c);
}

static void on_remote_writable(void *ctx)
{
	on_local_readable(ctx);
}

static void on_local_error(void *ctx, const struct err *err)
{
	struct access_carry *c = carry_of(ctx);

	fail(c, err);
	settle(c);
}

static void on_remote_error(void *ctx, const struct err *err)
{
	struct access_carry *c = carry_of(ctx);

	remote_left(c, err);
	go_on(c);
}

static void on_start(struct deferred *d)
{
	struct access_carry *c = CONTAINER_OF(d, struct access_carry, start);

	CHECK(c, CARRY_MAGIC);
	pump_in(c);
	pump_out(c);
	settle(c);
}

static void on_ping(struct timer *t)
{
	struct access_carry *c = CONTAINER_OF(t, struct access_carry, ping);
	bool was_digested = c->sent_before_pong == c->sent_before_ping;
	struct err err;

	CHECK(c, CARRY_MAGIC);
	if (c->awaits_pong && !c->has_heard && was_digested && c->payload.len == 0) {
		err_set(&err, E_TIMEOUT, "the far end has not answered for %d s",
			LIMIT_ACCESS_PING_MS / 1000);
		remote_left(c, &err);
	} else {
		c->owes_ping = true;
		timer_set(&c->ping, LIMIT_ACCESS_PING_MS);
	}
	go_on(c);
}

static void on_wait_over(struct timer *t)
{
	struct access_carry *c = CONTAINER_OF(t, struct access_carry, wait);

	CHECK(c, CARRY_MAGIC);
	bool is_slow_here = c->payload.len || byte_stream_backlog(c->local);
	if (c->remote && is_slow_here)
		timer_set(&c->wait, LIMIT_ACCESS_QUIET_MS);
	else if (c->remote && !c->close_code)
		say_goodbye(c, WEBSOCKET_CLOSE_NORMAL, NULL);
	else if (c->remote)
		remote_left(c, NULL); /* it has not answered our close frame */
	go_on(c);
}

static const struct byte_stream_events remote_events = {
	.on_readable = on_remote_readable,
	.on_writable = on_remote_writable,
	.on_error = on_remote_error,
};

static const struct byte_stream_events local_events = {
	.on_readable = on_local_readable,
	.on_writable = on_local_writable,
	.on_error = on_local_error,
};

/* --- Life ------------------------------------------------------------------------------------ */

struct access_carry *access_carry(struct loop *loop, struct byte_stream *local,
				  struct byte_stream *remote, struct bytes early,
				  bool has_half_close, access_carry_done *done, void *ctx)
{
	struct access_carry *c = mem_alloc(sizeof(*c));

	BUG_IF(early.len > BUFQ_CHUNK_BYTES);
	c->magic = CARRY_MAGIC;
	c->local = local;
	c->remote = remote;
	c->has_half_close = has_half_close;
	c->done = done;
	c->ctx = ctx;
	c->out = bufq_chunk_take();
	c->in = bufq_chunk_take();
	if (early.len)
		memcpy(c->in, early.ptr, early.len);
	c->in_end = early.len;
	websocket_reader_init(&c->reader, WEBSOCKET_CLIENT);
	timer_init(&c->ping, loop, on_ping);
	timer_init(&c->wait, loop, on_wait_over);
	timer_set(&c->ping, LIMIT_ACCESS_PING_MS);
	deferred_init(&c->start, on_start);
	loop_defer(loop, &c->start);
	byte_stream_set_events(local, &local_events, c);
	byte_stream_set_events(remote, &remote_events, c);
	return c;
}

struct access_carry *access_carry_cancel(struct access_carry *c)
{
	if (!c)
		return NULL;
	CHECK(c, CARRY_MAGIC);
	part(c, WEBSOCKET_CLOSE_GOING_AWAY, NULL);
	carry_free(c);
	return NULL;
}
