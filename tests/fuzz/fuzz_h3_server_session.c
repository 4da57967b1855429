/* A hostile HTTP/3 client: the bytes of its streams in pieces of any size, resets, in any order; no packets
 * (fuzz_quic_peer.c has those).
 *
 * Input: how often writes find no room (one byte), then steps: a byte of what, a byte of which stream, and for those with
 * bytes two of length. A control stream with SETTINGS and the first request stream are there from the start. */
#include "base/limits.h"
#include "fake/memory_stream.h"
#include "fake_quic.h"
#include "http/h3_session.h"

#define STEPS_MAX 500

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step {
	STEP_DATA,
	STEP_DATA_FIN,
	STEP_RESET,
	STEP_STOP,
	STEP_OPEN,
	STEP_OPEN_UNI,
	STEP_ROOM,
	STEP_TURN,
	STEP_DRAIN,
	STEP_COUNT,
};

/* --- Our user: answers most, and all in some other way ----------------------------------------- */

static void on_request(struct h3_session *s, struct h3_stream *st, const struct head *head, bool fin)
{
	const struct head answer = { .status = 200, .length = HEAD_LENGTH_UNKNOWN };
	const struct head early = { .status = 103 };

	(void)s;
	(void)fin;
	fake_must(head->method.len && head->authority.len <= LIMIT_HEAD_BYTES);
	h3_stream_set_ctx(st, st);
	switch (head->path.len % 8) {
	case 7:
		return; /* never answered */
	case 6:
		h3_stream_respond(st, &early, false);
		h3_stream_respond(st, &answer, true);
		return;
	case 5:
		h3_stream_reset(st, H3_INTERNAL_ERROR);
		return;
	default:
		h3_stream_respond(st, &answer, false);
		h3_stream_write(st, head->path, head->path.len % 2);
	}
}

static void on_data(struct h3_stream *st, struct bytes data, bool fin)
{
	fake_must(h3_stream_ctx(st) == st);
	h3_stream_consume(st, data.len);
	if (fin && data.len % 2)
		h3_stream_reset(st, H3_NO_ERROR);
}

static void on_trailers(struct h3_stream *st, const struct fields *trailers)
{
	fake_must(h3_stream_ctx(st) == st && trailers->count <= LIMIT_HEAD_FIELDS);
}

static void on_writable(struct h3_stream *st)
{
	const struct fields none = { 0 };

	if (h3_stream_write(st, BYTES_LIT("some more"), false) == 0)
		h3_stream_finish(st, &none);
}

static void on_stream_closed(struct h3_stream *st, uint64_t code)
{
	(void)code;
	fake_must(h3_stream_ctx(st) == st);
	h3_stream_set_ctx(st, NULL);
}

static void on_moved(struct h3_session *s, const struct address *peer)
{
	(void)s;
	(void)peer;
}

static void on_closed(struct h3_session *s, const struct err *why)
{
	(void)why;
	*(bool *)h3_session_ctx(s) = true;
}

static const struct h3_events events = {
	.on_request = on_request,
	.on_data = on_data,
	.on_trailers = on_trailers,
	.on_writable = on_writable,
	.on_stream_closed = on_stream_closed,
	.on_moved = on_moved,
	.on_closed = on_closed,
};

/* --- The peer ---------------------------------------------------------------------------------- */

static unsigned take_byte(struct bytes *input)
{
	unsigned value = input->len ? input->ptr[0] : 0;

	*input = bytes_from(*input, 1);
	return value;
}

static struct bytes take_bytes(struct bytes *input)
{
	size_t size = take_byte(input);

	size |= (size_t)take_byte(input) << 8;
	struct bytes got = bytes_first(*input, size);
	*input = bytes_from(*input, got.len);
	return got;
}

static void settle(struct quic_conn *c)
{
	loop_settle(c->loop);
	fake_quic_turn(c);
	loop_settle(c->loop);
}

/* Which of its streams: ours are not written to. */
static struct quic_stream *stream_of(struct quic_conn *c, size_t which)
{
	struct quic_stream *st = &c->streams[which % c->count];

	return st->id & 1 ? NULL : st;
}

static void act(struct quic_conn *c, struct h3_session *s, struct bytes *input)
{
	enum step step = take_byte(input) % STEP_COUNT;
	size_t which = take_byte(input);
	struct quic_stream *st = stream_of(c, which);

	switch (step) {
	case STEP_DATA:
	case STEP_DATA_FIN: {
		struct bytes data = take_bytes(input);
		if (st)
			fake_quic_data(st, data, step == STEP_DATA_FIN);
		break;
	}
	case STEP_RESET:
		if (st)
			fake_quic_peer_reset(st, which);
		break;
	case STEP_STOP:
		/* Of any that we write to: our own, too. */
		fake_quic_peer_stop(&c->streams[which % c->count], which);
		break;
	case STEP_OPEN:
		(void)fake_quic_peer_opens(c);
		break;
	case STEP_OPEN_UNI:
		(void)fake_quic_peer_opens_uni(c);
		break;
	case STEP_ROOM:
		c->room = which * which;
		break;
	case STEP_TURN:
		settle(c);
		break;
	case STEP_DRAIN:
		if (which == 255)
			h3_session_drain(s);
		break;
	case STEP_COUNT:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	struct bytes input = bytes_of(data + 1, size - 1);
	bool is_closed = false;

	if (size < 2)
		return 0;
	if (!loop)
		loop = loop_new(NULL);
	struct quic_conn *c = fake_quic_new(loop, false, NULL);
	struct h3_session *s = h3_session_new(c, &events, &is_closed);
	fake_quic_data(fake_quic_peer_opens_uni(c), BYTES_LIT("\0\4\0"), false);
	(void)fake_quic_peer_opens(c);
	settle(c);
	c->room = (size_t)data[0] << 6;
	for (int i = 0; i < STEPS_MAX && input.len && !is_closed; i++)
		act(c, s, &input);
	if (!is_closed)
		settle(c);
	if (!is_closed)
		h3_session_close(s, H3_NO_ERROR, "done");
	if (!is_closed)
		settle(c);
	fake_must(is_closed);
	mem_free(c);
	return 0;
}
