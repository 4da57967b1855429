/* Tunnel sessions over HTTP/2: the session, its control stream, its pings. */
#include "base/limits.h"
#include "base/mem.h"
#include "transport/h2/h2_tunnel.h"

/* An edge resets a stream whenever a visitor leaves, and one session carries thousands of visitors. */
#define TUNNEL_GLITCHES_PER_SEC (20 * LIMIT_H2_GLITCHES_PER_SEC)
/* A head of LIMIT_HEAD_BYTES grows by a third in base64, and by what the edge adds. */
#define TUNNEL_HEAD_BYTES (2 * LIMIT_HEAD_BYTES)

/* --- Reasons and codes ----------------------------------------------------------------------- */

static uint32_t code_of(enum reason why, enum session_side side)
{
	switch (why) {
	case REASON_DONE:
		/* The edge has the whole answer and drops the rest of its own request. */
		return side == SESSION_EDGE ? H2_CANCEL : H2_NO_ERROR;
	case REASON_CANCELLED:
	case REASON_LOST:
	case REASON_TIMEOUT:
		return H2_CANCEL;
	case REASON_FAILED:
		return H2_INTERNAL_ERROR;
	case REASON_REFUSED:
		return H2_REFUSED_STREAM;
	case REASON_PROTOCOL:
		return H2_PROTOCOL_ERROR;
	case REASON_FLOOD:
		return H2_ENHANCE_YOUR_CALM;
	}
	return H2_INTERNAL_ERROR;
}

static enum reason reason_of_code(uint32_t code)
{
	switch (code) {
	case H2_NO_ERROR:
		return REASON_DONE;
	case H2_CANCEL:
		return REASON_CANCELLED;
	case H2_REFUSED_STREAM:
		return REASON_REFUSED;
	case H2_ENHANCE_YOUR_CALM:
		return REASON_FLOOD;
	case H2_INTERNAL_ERROR:
		return REASON_FAILED;
	default:
		return REASON_PROTOCOL;
	}
}

/* --- What the tunnel asks of its driver ------------------------------------------------------- */

static struct h2_tunnel *of_base(struct tunnel *t)
{
	return CONTAINER_OF(t, struct h2_tunnel, base);
}

static size_t write_control(struct tunnel *t, struct bytes data, bool fin)
{
	return h2_stream_write(of_base(t)->control_stream, data, fin);
}

static void disconnect(struct tunnel *t, enum reason why)
{
	timer_stop(&of_base(t)->ping);
	h2_session_close(of_base(t)->h2,
			 why == REASON_DONE ? H2_NO_ERROR : code_of(why, t->base.side),
			 reason_text(why));
}

static void say_leaving(struct tunnel *t)
{
	/* A connector of ours dials elsewhere before we go; to stock ones it is the end of new streams. */
	h2_session_announce_end(of_base(t)->h2);
}

static const struct tunnel_driver driver = {
	.transport = &h2_transport,
	.write_control = write_control,
	.disconnect = disconnect,
	.say_leaving = say_leaving,
};

void h2_tunnel_set_control(struct h2_tunnel *t, struct h2_stream *h2)
{
	t->control_stream = h2;
	t->base.has_control_stream = h2 != NULL;
}

/* --- Streams --------------------------------------------------------------------------------- */

struct tunnel_stream *tunnel_stream_new(struct h2_tunnel *t, enum stream_kind kind)
{
	struct tunnel_stream *ts = mem_alloc(sizeof(*ts));

	ts->magic = TUNNEL_STREAM_MAGIC;
	ts->base.session = &t->base.base;
	ts->kind = kind;
	t->base.streams++;
	return ts;
}

void tunnel_stream_free(struct tunnel_stream *ts)
{
	ts->magic = 0;
	mem_free(ts);
}

void tunnel_stream_reset(struct tunnel_stream *ts, enum reason why)
{
	if (ts->is_reset)
		return;
	ts->is_reset = true;
	ts->reset_reason = why;
	h2_stream_reset(ts->h2, code_of(why, ts->base.session->side));
}

static void h2_reset(struct stream *st, enum reason why)
{
	tunnel_stream_reset(tunnel_stream_of(st), why);
}

static size_t h2_write(struct stream *st, struct bytes data, bool fin)
{
	struct tunnel_stream *ts = tunnel_stream_of(st);

	return ts->is_cut ? data.len : h2_stream_write(ts->h2, data, fin);
}

static void h2_finish(struct stream *st, const struct fields *trailers)
{
	struct tunnel_stream *ts = tunnel_stream_of(st);

	if (ts->is_cut)
		return;
	bool is_carried = st->session->side == SESSION_CONNECTOR ||
			  session_has_feature(st->session, FEATURE_TRAILERS);
	h2_stream_finish(ts->h2, is_carried ? trailers : NULL);
}

static void h2_consume(struct stream *st, size_t n)
{
	h2_stream_consume(tunnel_stream_of(st)->h2, n);
}

/* --- Events of the HTTP/2 session ------------------------------------------------------------ */

static struct h2_tunnel *tunnel_of_h2(struct h2_stream *h2)
{
	struct h2_tunnel *t = h2_session_ctx(h2_stream_session(h2));

	CHECK(&t->base, TUNNEL_MAGIC);
	return t;
}

/* NULL for the control stream. */
static struct tunnel_stream *stream_of_h2(struct h2_stream *h2)
{
	struct tunnel_stream *ts = h2_stream_ctx(h2);

	if (ts)
		CHECK(ts, TUNNEL_STREAM_MAGIC);
	return ts;
}

static void on_request(struct h2_session *h2, struct h2_stream *st, const struct head *head,
		       bool fin)
{
	connector_on_request(h2_session_ctx(h2), st, head, fin);
}

static void on_response(struct h2_stream *st, const struct head *head, bool fin)
{
	struct tunnel_stream *ts = stream_of_h2(st);

	if (!ts) {
		if (head->status != 200 || fin)
			tunnel_close(&tunnel_of_h2(st)->base, REASON_PROTOCOL);
	} else if (!ts->is_reset) {
		if (head->status < 200)
			edge_on_interim(ts, head);
		else
			edge_on_response(ts, head, fin);
	}
}

static void on_data(struct h2_stream *st, struct bytes data, bool fin)
{
	struct tunnel_stream *ts = stream_of_h2(st);

	if (!ts) {
		if (st == tunnel_of_h2(st)->control_stream) {
			h2_stream_consume(st, data.len);
			tunnel_feed_control(&tunnel_of_h2(st)->base, data, fin);
		}
		return;
	}
	if (ts->is_reset)
		return;
	if (ts->base.session->side == SESSION_EDGE && !edge_check_length(ts, data.len, fin)) {
		tunnel_stream_reset(ts, REASON_PROTOCOL);
		return;
	}
	ts->peer_ended |= fin;
	if (ts->base.events && ts->base.events->on_data)
		ts->base.events->on_data(&ts->base, data, fin);
}

static void on_trailers(struct h2_stream *st, const struct fields *trailers)
{
	struct tunnel_stream *ts = stream_of_h2(st);

	bool is_edge = ts && ts->base.session->side == SESSION_EDGE;

	if (!ts || !ts->base.events || !ts->base.events->on_trailers || trailers->count == 0 ||
	    (!is_edge && !session_has_feature(ts->base.session, FEATURE_TRAILERS))) {
		on_data(st, BYTES_NONE, true);
		return;
	}
	if (ts->is_reset)
		return;
	if (is_edge && !edge_check_length(ts, 0, true)) {
		tunnel_stream_reset(ts, REASON_PROTOCOL);
		return;
	}
	ts->peer_ended = true;
	ts->base.events->on_trailers(&ts->base, trailers);
}

static void on_writable(struct h2_stream *st)
{
	struct tunnel_stream *ts = stream_of_h2(st);

	if (!ts)
		tunnel_pump_control(&tunnel_of_h2(st)->base);
	else if (!ts->is_reset && ts->base.events && ts->base.events->on_writable)
		ts->base.events->on_writable(&ts->base);
}

static void on_stream_closed(struct h2_stream *st, uint32_t code)
{
	struct tunnel_stream *ts = stream_of_h2(st);
	struct h2_tunnel *t = tunnel_of_h2(st);

	if (!ts) {
		if (t->control_stream == st) {
			h2_tunnel_set_control(t, NULL);
			if (!h2_session_failure(t->h2))
				tunnel_lose_control(&t->base);
		}
		return;
	}
	enum reason why = reason_of_code(code);
	if (ts->is_reset)
		why = ts->reset_reason;
	else if (why != REASON_DONE && why != REASON_REFUSED && h2_session_failure(t->h2))
		why = REASON_LOST;
	t->base.lost_streams |= why == REASON_LOST;
	t->base.streams--;
	if (ts->base.events && ts->base.events->on_closed)
		ts->base.events->on_closed(&ts->base, why);
	tunnel_stream_free(ts);
	if (!h2_session_failure(t->h2))
		tunnel_check_drained(&t->base);
}

static void on_goaway(struct h2_session *h2)
{
	struct h2_tunnel *t = h2_session_ctx(h2);

	tunnel_set_draining(&t->base);
	tunnel_check_drained(&t->base);
}

static void on_closed(struct h2_session *h2, const struct err *err)
{
	struct h2_tunnel *t = h2_session_ctx(h2);

	timer_stop(&t->ping);
	tunnel_closed(&t->base, err);
	tunnel_done(&t->base);
	buf_done(&t->scratch);
	mem_free(t);
}

static const struct h2_events h2_events = {
	.on_request = on_request,
	.on_response = on_response,
	.on_data = on_data,
	.on_trailers = on_trailers,
	.on_writable = on_writable,
	.on_stream_closed = on_stream_closed,
	.on_goaway = on_goaway,
	.on_closed = on_closed,
};

/* --- Life ------------------------------------------------------------------------------------ */

/* A busy session needs no ping; a silent one shows whether it lives. */
static void on_ping(struct timer *timer)
{
	struct h2_tunnel *t = CONTAINER_OF(timer, struct h2_tunnel, ping);
	usec silent = loop_now(t->base.base.loop) - h2_session_last_heard(t->h2);
	int64_t silent_ms = silent / USEC_PER_MSEC;

	if (silent_ms >= LIMIT_TUNNEL_PING_MS) {
		h2_session_ping(t->h2, LIMIT_TUNNEL_PONG_MS);
		silent_ms = 0;
	}
	timer_set(&t->ping, LIMIT_TUNNEL_PING_MS - silent_ms);
}

static struct session *h2_start(struct loop *l, const struct session_start *how)
{
	struct h2_tunnel *t = mem_alloc(sizeof(*t));
	const struct h2_options options = {
		.role = how->side == SESSION_EDGE ? H2_CLIENT : H2_SERVER,
		.max_streams = LIMIT_TUNNEL_STREAMS + 1, /* and the control stream */
		.stream_window = LIMIT_H2_STREAM_WINDOW,
		.stream_window_max = LIMIT_H2_STREAM_WINDOW_MAX,
		.connection_window = LIMIT_H2_TUNNEL_WINDOW,
		.head_bytes = TUNNEL_HEAD_BYTES,
		.glitches_per_sec = TUNNEL_GLITCHES_PER_SEC,
	};

	tunnel_init(&t->base, l, &driver, how, how->stream->peer);
	buf_init(&t->scratch, TUNNEL_SERIALIZED_BYTES);
	timer_init(&t->ping, l, on_ping);
	t->h2 = h2_session_new(how->stream, &options, &h2_events, t);
	timer_set(&t->ping, LIMIT_TUNNEL_PING_MS);
	if (how->side == SESSION_EDGE)
		edge_open_control(t);
	return &t->base.base;
}

static void h2_close(struct session *s, enum reason why)
{
	tunnel_close(tunnel_of(s), why);
}

static void h2_check(struct session *s, int64_t timeout_ms)
{
	h2_session_ping(h2_tunnel_of(s)->h2, timeout_ms);
}

static bool h2_can_open(const struct session *s)
{
	const struct tunnel *t = CONTAINER_OF(s, const struct tunnel, base);

	return s->side == SESSION_EDGE && !t->is_closing && !s->is_draining &&
	       t->streams < LIMIT_TUNNEL_STREAMS && control_is_registered(t->control) &&
	       h2_session_can_open(CONTAINER_OF(t, const struct h2_tunnel, base)->h2);
}

const struct transport h2_transport = {
	.name = "http2",
	.start = h2_start,
	.open = edge_open,
	.interim = connector_interim,
	.answer = connector_answer,
	.write = h2_write,
	.finish = h2_finish,
	.consume = h2_consume,
	.reset = h2_reset,
	.drain = tunnel_drain,
	.ask_to_move = tunnel_ask_to_move,
	.close = h2_close,
	.check = h2_check,
	.reply = tunnel_reply,
	.can_open = h2_can_open,
	.stream_count = tunnel_stream_count,
	.has_feature = tunnel_has_feature,
	.report = tunnel_report,
};
