/* Tunnel sessions over QUIC: the session, its control stream, what the streams' events mean. */
#include "base/limits.h"
#include "base/mem.h"
#include "transport/quic/quic_udp.h"
#include "wire/heads.h"

/* While the peer is in doubt: how often it is asked, after silence, and how often we look. */
#define DOUBT_PING_MS 100
#define DOUBT_LOOK_MS 50
/* The same while it is checked for any other reason. */
#define CHECK_PING_MS 500

/* --- Reasons and codes ----------------------------------------------------------------------- */

static uint64_t code_of(enum reason why)
{
	return why == REASON_REFUSED ? QUIC_CODE_REFUSED : QUIC_CODE_NONE;
}

static enum reason reason_of_code(uint64_t code, enum session_side side)
{
	if (code == QUIC_CODE_REFUSED)
		return REASON_REFUSED;
	/* A connector resets because it failed, an edge because nobody wants the answer any more. */
	return side == SESSION_EDGE ? REASON_FAILED : REASON_CANCELLED;
}

/* --- What the tunnel asks of its driver ------------------------------------------------------- */

static struct quic_tunnel *of_base(struct tunnel *t)
{
	return CONTAINER_OF(t, struct quic_tunnel, base);
}

static size_t write_control(struct tunnel *t, struct bytes data, bool fin)
{
	return quic_stream_write(of_base(t)->control_stream, data, fin);
}

static void disconnect(struct tunnel *t, enum reason why)
{
	timer_stop(&of_base(t)->check);
	timer_stop(&of_base(t)->doubt.timer);
	quic_conn_close(of_base(t)->conn, QUIC_CODE_NONE, reason_text(why));
}

static void draining(struct tunnel *t)
{
	quic_udp_draining(of_base(t));
}

static void say_leaving(struct tunnel *t)
{
	quic_edge_say_leaving(of_base(t));
}

static const struct tunnel_driver driver = {
	.draining = draining,
	.transport = &quic_transport,
	.write_control = write_control,
	.disconnect = disconnect,
	.features = QUIC_EDGE_FEATURES,
	.edge_closes = true,
	.say_leaving = say_leaving,
};

static void set_control(struct quic_tunnel *t, struct quic_stream *q)
{
	t->control_stream = q;
	t->base.has_control_stream = q != NULL;
}

/* --- Streams --------------------------------------------------------------------------------- */

static void on_late_reset(struct timer *timer)
{
	struct quic_tunnel_stream *ts = CONTAINER_OF(timer, struct quic_tunnel_stream, late_reset);

	quic_stream_reset(ts->q, code_of(ts->reset_reason));
}

struct quic_tunnel_stream *quic_tunnel_stream_new(struct quic_tunnel *t, enum stream_kind kind,
						  struct quic_stream *q)
{
	struct quic_tunnel_stream *ts = mem_alloc(sizeof(*ts));

	ts->magic = QUIC_TUNNEL_STREAM_MAGIC;
	ts->base.session = &t->base.base;
	ts->kind = kind;
	ts->q = q;
	buf_init(&ts->head_in, CONNECT_BYTES + CONNECT_PREAMBLE_BYTES);
	timer_init(&ts->late_reset, t->base.base.loop, on_late_reset);
	quic_stream_set_ctx(q, ts);
	t->base.streams++;
	return ts;
}

static void stream_free(struct quic_tunnel_stream *ts)
{
	timer_stop(&ts->late_reset);
	buf_done(&ts->head_in);
	quic_frames_done(&ts->in);
	quic_frames_done(&ts->out);
	ts->magic = 0;
	mem_free(ts);
}

void quic_tunnel_stream_reset(struct quic_tunnel_stream *ts, enum reason why)
{
	if (ts->is_reset)
		return;
	ts->is_reset = true;
	ts->reset_reason = why;
	quic_stream_stop(ts->q, code_of(why));
	/* A reset overtakes what was written before, as it does not in HTTP/2: a message that was ended arrives
	 * without one, one that cannot be ended is broken off in words where there are some, and the last words
	 * of a raw stream get some time. */
	if (quic_stream_has_ended(ts->q))
		return;
	if (ts->is_answered && ts->out.is_on && quic_frames_break_off(&ts->out, ts->q))
		return;
	if (why == REASON_CANCELLED && ts->kind != STREAM_HTTP && quic_stream_queued(ts->q))
		timer_set(&ts->late_reset, LIMIT_QUIC_LATE_RESET_MS);
	else
		quic_stream_reset(ts->q, code_of(why));
}

static void quic_reset(struct stream *st, enum reason why)
{
	quic_tunnel_stream_reset(quic_tunnel_stream_of(st), why);
}

static size_t quic_write(struct stream *st, struct bytes data, bool fin)
{
	struct quic_tunnel_stream *ts = quic_tunnel_stream_of(st);

	if (ts->is_reset)
		return data.len;
	return ts->out.is_on ? quic_frames_write(&ts->out, ts->q, data, fin)
			     : quic_stream_write(ts->q, data, fin);
}

static void quic_finish(struct stream *st, const struct fields *trailers)
{
	struct quic_tunnel_stream *ts = quic_tunnel_stream_of(st);

	if (ts->is_reset)
		return;
	if (ts->out.is_on)
		quic_frames_finish(&ts->out, ts->q, trailers);
	else
		(void)quic_stream_write(ts->q, BYTES_NONE, true);
}

static void quic_consume(struct stream *st, size_t n)
{
	quic_stream_consume(quic_tunnel_stream_of(st)->q, n);
}

/* --- Bodies ---------------------------------------------------------------------------------- */

static void report_end(struct quic_tunnel_stream *ts)
{
	if (ts->peer_ended || ts->is_reset)
		return;
	ts->peer_ended = true;
	ts->base.events->on_data(&ts->base, BYTES_NONE, true);
}

static void report_trailers(struct quic_tunnel_stream *ts)
{
	struct heads_reader reader;
	struct wire_pair pair;
	struct fields fields = { 0 };
	struct arena a;
	int rc;

	if (!ts->base.events->on_trailers || ts->peer_ended)
		return;
	arena_init(&a);
	heads_reader_init(&reader, buf_bytes(&ts->in.trailers), &a);
	while ((rc = heads_next(&reader, &pair)) > 0) {
		if (!head_name_is_valid(pair.name) || !head_value_is_valid(pair.value) ||
		    fields_add(&fields, &a, pair.name, bytes_trim(pair.value)) < 0)
			break;
	}
	if (rc == 0) {
		ts->peer_ended = true;
		ts->base.events->on_trailers(&ts->base, &fields);
	} else {
		quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
	}
	arena_done(&a);
}

/* Payload; false when the stream has been reset. */
static bool report_run(struct quic_tunnel_stream *ts, struct bytes run)
{
	if (ts->has_length && run.len > ts->length_left) {
		/* At the connector the length is what counts, not FIN: stock edges may send more. */
		if (ts->base.session->side == SESSION_EDGE) {
			quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
			return false;
		}
		quic_stream_consume(ts->q, run.len - (size_t)ts->length_left);
		run = bytes_first(run, (size_t)ts->length_left);
	}
	ts->length_left -= ts->has_length ? run.len : 0;
	if (run.len)
		ts->base.events->on_data(&ts->base, run, false);
	return !ts->is_reset;
}

/* Half a message is none. */
static void peer_gave_up(struct quic_tunnel_stream *ts, uint64_t code)
{
	ts->is_reset = true;
	ts->reset_reason = reason_of_code(code, ts->base.session->side);
	quic_stream_stop(ts->q, QUIC_CODE_NONE);
	quic_stream_reset(ts->q, QUIC_CODE_NONE);
}

void quic_tunnel_body(struct quic_tunnel_stream *ts, struct bytes data, bool fin)
{
	bool is_edge = ts->base.session->side == SESSION_EDGE;

	if (ts->is_udp) {
		quic_udp_stream_data(ts, data, fin);
		return;
	}
	if (ts->is_reset)
		return;
	if (ts->skips_body || ts->peer_ended) {
		quic_stream_consume(ts->q, data.len);
		return;
	}
	while (data.len && ts->in.is_on) {
		size_t before = data.len;
		struct bytes run = BYTES_NONE;
		int ret = quic_frames_next(&ts->in, &data, &run);
		if (ret < 0) {
			quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
			return;
		}
		/* What is not payload is nobody's to give back but ours. */
		size_t payload = ret == 1 ? run.len : 0;
		quic_stream_consume(ts->q, before - data.len - payload);
		if (ret == 1 && !report_run(ts, run))
			return;
		if (ret == 2 && ts->has_length && ts->length_left) {
			quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
			return;
		}
		if (ret == 2) {
			report_trailers(ts);
			return;
		}
		if (ret == 3) {
			peer_gave_up(ts, QUIC_CODE_NONE);
			return;
		}
	}
	if (data.len && !report_run(ts, data))
		return;
	bool is_complete = ts->has_length && ts->length_left == 0;
	if (fin && ts->has_length && !is_complete) {
		quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
		return;
	}
	if (fin || (is_complete && !is_edge))
		report_end(ts);
}

/* Is it a short call? Then the signature is taken off the front, and no head follows. */
static bool starts_call(struct quic_tunnel_stream *ts, size_t received, bool fin)
{
	enum connect_stream kind = CONNECT_STREAM_UNKNOWN;

	if (ts->flow || connect_stream_of(buf_bytes(&ts->head_in), &kind) < 0 ||
	    kind != CONNECT_STREAM_RPC)
		return false;
	struct buf in = ts->head_in;
	buf_init(&ts->head_in, CONNECT_BYTES + CONNECT_PREAMBLE_BYTES);
	quic_stream_consume(ts->q, received); /* what came before has been */
	quic_rpc_serve(ts);
	quic_rpc_data(ts, bytes_from(buf_bytes(&in), CONNECT_SIGNATURE_BYTES), fin);
	buf_done(&in);
	return true;
}

/* The head is taken off the front; what follows it is body. */
static void on_head_bytes(struct quic_tunnel_stream *ts, struct bytes data, bool fin)
{
	bool is_edge = ts->base.session->side == SESSION_EDGE;
	size_t size, had = ts->head_in.len;
	struct err err;

	if (buf_append(&ts->head_in, data) < 0) {
		quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
		return;
	}
	if (ts->is_peers && starts_call(ts, data.len, fin))
		return;
	int rc = connect_head_size(buf_bytes(&ts->head_in), &size, &err);
	if (rc == 0 && is_edge && ts->is_peers)
		rc = E_PROTOCOL; /* a connector has no requests */
	if (rc == E_AGAIN || (rc == 0 && size > ts->head_in.len)) {
		quic_stream_consume(ts->q, data.len);
		if (fin)
			quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
		return;
	}
	if (rc < 0) {
		quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
		return;
	}
	struct buf in = ts->head_in;
	buf_init(&ts->head_in, CONNECT_BYTES + CONNECT_PREAMBLE_BYTES);
	struct bytes rest = bytes_from(buf_bytes(&in), size);
	quic_stream_consume(ts->q, size - had);
	bool goes_on = is_edge ? quic_edge_on_head(ts, bytes_first(buf_bytes(&in), size))
			       : quic_connector_on_head(ts, bytes_first(buf_bytes(&in), size),
							fin && rest.len == 0);
	if (goes_on && ts->has_head)
		quic_tunnel_body(ts, rest, fin);
	else if (goes_on && (rest.len || fin))
		on_head_bytes(ts, rest, fin); /* an interim head, and more behind it */
	buf_done(&in);
}

/* --- Events of QUIC -------------------------------------------------------------------------- */

/* NULL: the connection has no session (yet, or at all). */
static struct quic_tunnel *tunnel_of_conn(struct quic_conn *c)
{
	enum quic_holder *owner = quic_conn_ctx(c);

	if (!owner || *owner != QUIC_HELD_BY_SESSION)
		return NULL;
	struct quic_tunnel *t = CONTAINER_OF(owner, struct quic_tunnel, owner);
	CHECK(&t->base, TUNNEL_MAGIC);
	return t;
}

static struct quic_tunnel_stream *stream_of_q(struct quic_stream *q)
{
	struct quic_tunnel_stream *ts = quic_stream_ctx(q);

	if (ts)
		CHECK(ts, QUIC_TUNNEL_STREAM_MAGIC);
	return ts;
}

static void on_stream(struct quic_conn *c, struct quic_stream *q)
{
	struct quic_tunnel *t = tunnel_of_conn(c);
	bool is_edge = t && t->base.base.side == SESSION_EDGE;

	if (is_edge && quic_stream_id(q) == 0 && !t->control_stream) {
		set_control(t, q);
		tunnel_pump_control(&t->base);
	} else if (t && !t->base.is_closing &&
		   (is_edge ? t->base.is_registered : tunnel_may_serve(&t->base))) {
		quic_tunnel_stream_new(t, STREAM_HTTP, q)->is_peers = true;
	} else {
		uint64_t code = t && !is_edge ? QUIC_CODE_REFUSED : QUIC_CODE_NONE;
		quic_stream_stop(q, code);
		quic_stream_reset(q, code);
	}
}

static void on_data(struct quic_stream *q, struct bytes data, bool fin)
{
	struct quic_tunnel *t = tunnel_of_conn(quic_stream_conn(q));
	struct quic_tunnel_stream *ts = stream_of_q(q);

	if (t && q == t->control_stream) {
		quic_stream_consume(q, data.len);
		tunnel_feed_control(&t->base, data, fin);
	} else if (ts && ts->rpc) {
		quic_stream_consume(q, data.len);
		quic_rpc_data(ts, data, fin);
	} else if (ts && !ts->is_reset) {
		if (ts->has_head)
			quic_tunnel_body(ts, data, fin);
		else
			on_head_bytes(ts, data, fin);
	}
}

static void on_writable(struct quic_stream *q)
{
	struct quic_tunnel *t = tunnel_of_conn(quic_stream_conn(q));
	struct quic_tunnel_stream *ts = stream_of_q(q);

	if (t && q == t->control_stream)
		tunnel_pump_control(&t->base);
	else if (ts && !ts->is_reset && ts->base.events && ts->base.events->on_writable)
		ts->base.events->on_writable(&ts->base);
}

static void on_peer_reset(struct quic_stream *q, uint64_t code)
{
	struct quic_tunnel_stream *ts = stream_of_q(q);

	if (ts && !ts->is_reset)
		peer_gave_up(ts, code);
}

/* The peer has what it wants: an answer is complete, or (at the connector) nobody waits for it. */
static void on_peer_stop(struct quic_stream *q, uint64_t code)
{
	struct quic_tunnel_stream *ts = stream_of_q(q);

	if (ts && ts->base.session->side == SESSION_CONNECTOR && !quic_stream_has_ended(q))
		on_peer_reset(q, code);
	else if (ts)
		quic_stream_reset(q, QUIC_CODE_NONE); /* what we still write goes nowhere */
}

static void on_stream_closed(struct quic_stream *q, uint64_t code)
{
	struct quic_tunnel *t = tunnel_of_conn(quic_stream_conn(q));
	struct quic_tunnel_stream *ts = stream_of_q(q);

	if (t && q == t->control_stream) {
		set_control(t, NULL);
		if (!quic_conn_is_over(t->conn))
			tunnel_lose_control(&t->base);
		return;
	}
	if (!ts)
		return;
	enum reason why = ts->is_reset ? ts->reset_reason : REASON_DONE;
	/* An edge that we have left closes when it has all of every answer, before its last word for that is here.
	 * Codes of streams on_peer_reset() has seen. */
	bool is_taken = t->base.said_goodbye && code == QUIC_CODE_NONE;
	if (!ts->is_reset && quic_conn_is_over(t->conn) && !is_taken) {
		/* Nobody has seen a request of which nothing has left. */
		bool is_unseen = t->base.base.side == SESSION_EDGE && !quic_stream_has_sent(q);
		why = is_unseen ? REASON_REFUSED : REASON_LOST;
	}
	if (ts->is_udp) {
		quic_udp_stream_closed(ts, why);
		stream_free(ts);
		return;
	}
	if (ts->rpc)
		quic_rpc_closed(ts);
	t->base.lost_streams |= why == REASON_LOST;
	t->base.streams--;
	if (ts->base.events && ts->base.events->on_closed)
		ts->base.events->on_closed(&ts->base, why);
	stream_free(ts);
	if (!quic_conn_is_over(t->conn))
		tunnel_check_drained(&t->base);
}

static void on_ready(struct quic_conn *c)
{
	enum quic_holder *owner = quic_conn_ctx(c);

	if (owner && *owner == QUIC_HELD_BY_ATTEMPT)
		quic_attempt_ready(c);
}

static void on_closed(struct quic_conn *c, const struct err *why)
{
	enum quic_holder *owner = quic_conn_ctx(c);
	struct quic_tunnel *t = tunnel_of_conn(c);

	if (owner && *owner == QUIC_HELD_BY_ATTEMPT)
		quic_attempt_closed(c, why);
	if (!t)
		return;
	quic_udp_done(t);
	timer_stop(&t->check);
	timer_stop(&t->doubt.timer);
	tunnel_closed(&t->base, why);
	tunnel_done(&t->base);
	mem_free(t);
}

/* Never believed without asking, and not asked for again and again. */
static void on_unreachable(struct quic_conn *c)
{
	struct quic_tunnel *t = tunnel_of_conn(c);
	usec rest = LIMIT_QUIC_DOUBT_REST_MS * USEC_PER_MSEC;
	struct quic_facts facts;

	if (!t || t->base.is_closing || timer_is_set(&t->doubt.timer))
		return;
	usec now = loop_now(t->base.base.loop);
	if (t->doubt.until && now < t->doubt.until + rest)
		return;
	quic_conn_facts(c, &facts);
	t->doubt.since = now;
	t->doubt.until = now + LIMIT_QUIC_DOUBT_MS * USEC_PER_MSEC + 4 * facts.smoothed_rtt;
	timer_set(&t->doubt.timer, DOUBT_LOOK_MS);
	quic_conn_ping(c, DOUBT_PING_MS);
	if (t->base.base.events->on_doubt)
		t->base.base.events->on_doubt(&t->base.base, false);
}

static void on_doubt_look(struct timer *timer)
{
	struct quic_tunnel *t = CONTAINER_OF(timer, struct quic_tunnel, doubt.timer);
	usec now = loop_now(t->base.base.loop);

	/* What came in the same turn as the word may have been the last of it. */
	if (quic_conn_last_heard(t->conn) > t->doubt.since) {
		t->doubt.until = now;
		quic_conn_ping(t->conn, 0);
		if (t->base.base.events->on_doubt)
			t->base.base.events->on_doubt(&t->base.base, true);
	} else if (now >= t->doubt.until) {
		tunnel_close(&t->base, REASON_TIMEOUT);
	} else {
		timer_set(&t->doubt.timer, DOUBT_LOOK_MS);
	}
}

static void on_datagram(struct quic_conn *c, struct bytes data)
{
	struct quic_tunnel *t = tunnel_of_conn(c);

	if (t)
		quic_udp_on_datagram(t, data);
}

const struct quic_events quic_tunnel_events = {
	.on_accept = quic_accepted,
	.on_ready = on_ready,
	.on_stream = on_stream,
	.on_data = on_data,
	.on_writable = on_writable,
	.on_peer_reset = on_peer_reset,
	.on_peer_stop = on_peer_stop,
	.on_stream_closed = on_stream_closed,
	.on_datagram = on_datagram,
	.on_unreachable = on_unreachable,
	.on_closed = on_closed,
};

/* --- Life ------------------------------------------------------------------------------------ */

/* Whoever is there has answered by now. */
static void on_check(struct timer *timer)
{
	struct quic_tunnel *t = CONTAINER_OF(timer, struct quic_tunnel, check);

	if (quic_conn_last_heard(t->conn) < t->checked_at)
		tunnel_close(&t->base, REASON_TIMEOUT);
	else if (!timer_is_set(&t->doubt.timer))
		quic_conn_ping(t->conn, 0);
}

static void quic_check(struct session *s, int64_t timeout_ms)
{
	struct quic_tunnel *t = quic_tunnel_of(s);
	usec until = loop_now(s->loop) + timeout_ms * USEC_PER_MSEC;

	if (t->base.is_closing || (timer_is_set(&t->check) && t->check.at <= until))
		return;
	t->checked_at = loop_now(s->loop);
	timer_set(&t->check, timeout_ms);
	if (!timer_is_set(&t->doubt.timer))
		quic_conn_ping(t->conn, CHECK_PING_MS);
}

static struct session *quic_start(struct loop *l, const struct session_start *how)
{
	struct quic_tunnel *t = mem_alloc(sizeof(*t));

	t->owner = QUIC_HELD_BY_SESSION;
	t->conn = how->quic;
	tunnel_init(&t->base, l, &driver, how, quic_conn_peer(how->quic));
	timer_init(&t->check, l, on_check);
	timer_init(&t->doubt.timer, l, on_doubt_look);
	quic_conn_set_ctx(t->conn, &t->owner);
	quic_udp_init(t);
	if (how->side == SESSION_CONNECTOR) {
		/* The first stream, without a preamble. Every edge allows one. */
		struct quic_stream *control = quic_open(t->conn, NULL);
		if (control) {
			set_control(t, control);
			tunnel_pump_control(&t->base);
		} else {
			tunnel_close(&t->base, REASON_PROTOCOL);
		}
	}
	return &t->base.base;
}

static void quic_close(struct session *s, enum reason why)
{
	tunnel_close(tunnel_of(s), why);
}

static bool quic_can_open(const struct session *s)
{
	const struct tunnel *t = CONTAINER_OF(s, const struct tunnel, base);

	return s->side == SESSION_EDGE && !t->is_closing && !s->is_draining &&
	       t->streams < LIMIT_TUNNEL_STREAMS && control_is_registered(t->control);
}

const struct transport quic_transport = {
	.name = "quic",
	.start = quic_start,
	.open = quic_edge_open,
	.interim = quic_connector_interim,
	.answer = quic_connector_answer,
	.write = quic_write,
	.finish = quic_finish,
	.consume = quic_consume,
	.reset = quic_reset,
	.drain = tunnel_drain,
	.ask_to_move = tunnel_ask_to_move,
	.close = quic_close,
	.check = quic_check,
	.reply = tunnel_reply,
	.can_open = quic_can_open,
	.stream_count = tunnel_stream_count,
	.has_feature = tunnel_has_feature,
	.can_open_udp = quic_can_open_udp,
	.open_udp = quic_udp_open,
	.udp_accept = quic_udp_accept,
	.udp_limit_idle = quic_udp_limit_idle,
	.udp_send = quic_udp_send_payload,
	.udp_max_payload = quic_udp_max_payload,
	.udp_close = quic_udp_close,
	.report = tunnel_report,
};
