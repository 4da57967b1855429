/* Tunnel sessions over HTTP/2: the session, its control stream, its deadlines. */
#include "base/limits.h"
#include "base/mem.h"
#include "transport/h2/tunnel.h"

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

static enum reason reason_of_err(const struct tunnel *t, const struct err *err)
{
	switch (err->code) {
	case E_TIMEOUT:
		return REASON_TIMEOUT;
	case E_LIMIT:
		return REASON_FLOOD;
	case E_PROTOCOL:
	case E_PARSE:
		return REASON_PROTOCOL;
	default:
		return t->base.is_draining && !t->lost_streams ? REASON_DONE : REASON_LOST;
	}
}

/* --- Ends ------------------------------------------------------------------------------------ */

void tunnel_close(struct tunnel *t, enum reason why)
{
	if (t->is_closing)
		return;
	t->is_closing = true;
	t->why = why;
	timer_stop(&t->deadline);
	timer_stop(&t->ping);
	h2_session_close(t->h2, why == REASON_DONE ? H2_NO_ERROR : code_of(why, t->base.side),
			 reason_text(why));
}

static void on_deadline(struct timer *timer)
{
	struct tunnel *t = CONTAINER_OF(timer, struct tunnel, deadline);

	tunnel_close(t, t->deadline_reason);
}

static void set_deadline(struct tunnel *t, int64_t ms, enum reason why)
{
	t->deadline_reason = why;
	timer_set(&t->deadline, ms);
}

/* A session that drains ends when its streams are done: at once when we leave and have said goodbye,
 * else by the peer, who is the one that leaves. */
static void check_drained(struct tunnel *t)
{
	bool is_edge = t->base.side == SESSION_EDGE;

	if (!t->base.is_draining || t->streams || t->is_closing)
		return;
	if (!t->is_leaving) {
		if (is_edge)
			set_deadline(t, LIMIT_LINGER_MS, REASON_DONE);
		return;
	}
	if (is_edge || t->said_goodbye || !t->control_stream)
		tunnel_close(t, REASON_DONE);
	else
		set_deadline(t, LIMIT_REGISTER_MS, REASON_DONE); /* until the edge has answered */
}

static void set_draining(struct tunnel *t)
{
	if (t->base.is_draining)
		return;
	t->base.is_draining = true;
	if (t->base.events->on_draining)
		t->base.events->on_draining(&t->base);
}

/* --- Features -------------------------------------------------------------------------------- */

void tunnel_add_peer_features(struct tunnel *t, struct bytes list)
{
	struct bytes word;

	while (bytes_split(&list, ',', &word)) {
		word = bytes_trim(word);
		if (!bytes_starts_with(word, BYTES_LIT("adit_")))
			continue;
		/* More than fits is more than we know. */
		if (t->peer_features.len + word.len + 1 > t->peer_features.max ||
		    buf_append(&t->peer_features, word) < 0 ||
		    buf_append(&t->peer_features, BYTES_LIT(",")) < 0)
			return;
	}
}

static bool h2_has_feature(const struct session *s, const char *feature)
{
	const struct tunnel *t = CONTAINER_OF(s, const struct tunnel, base);

	return head_value_has_token(buf_bytes(&t->peer_features), bytes_str(feature));
}

/* --- The control stream ---------------------------------------------------------------------- */

void tunnel_pump_control(struct tunnel *t)
{
	struct bytes out;

	if (!t->control_stream || t->is_closing)
		return;
	while ((out = control_output(t->control)).len) {
		size_t taken = h2_stream_write(t->control_stream, out, false);
		control_sent(t->control, taken);
		if (taken < out.len)
			return;
	}
	if (!control_is_done(t->control) || t->said_goodbye)
		return;
	(void)h2_stream_write(t->control_stream, BYTES_NONE, true);
	t->said_goodbye = true;
	check_drained(t);
}

/* The conversation has ended, by END_STREAM or reset. */
static void control_over(struct tunnel *t)
{
	if (t->control_is_over || t->is_closing)
		return;
	t->control_is_over = true;
	if (!t->is_registered || t->is_refused) {
		tunnel_close(t, t->is_refused ? REASON_REFUSED : REASON_PROTOCOL);
		return;
	}
	/* Edge: it leaves, whether it said so before or not. Connector: nobody takes our goodbye. */
	set_draining(t);
	check_drained(t);
}

static void control_data(struct tunnel *t, struct bytes data, bool fin)
{
	struct err err;

	h2_stream_consume(t->control_stream, data.len);
	if (data.len && control_feed(t->control, data, &err) < 0) {
		tunnel_pump_control(t);
		tunnel_close(t, err.code == E_LIMIT ? REASON_FLOOD : REASON_PROTOCOL);
		return;
	}
	tunnel_pump_control(t);
	if (fin)
		control_over(t);
	else
		check_drained(t); /* it may have unregistered */
}

static void on_register(void *ctx, const struct registration *r)
{
	struct tunnel *t = ctx;

	for (size_t i = 0; i < r->feature_count; i++)
		tunnel_add_peer_features(t, r->features[i]);
	if (t->is_closing || !t->base.events->on_register)
		return;
	t->base.events->on_register(&t->base, r);
}

static void on_unregister(void *ctx)
{
	set_draining(ctx);
}

static void on_local_config(void *ctx, struct bytes json)
{
	struct tunnel *t = ctx;

	if (!t->is_closing && t->base.events->on_local_config)
		t->base.events->on_local_config(&t->base, json);
}

static void on_registered(void *ctx, const struct registered *r)
{
	struct tunnel *t = ctx;
	struct err err;

	if (t->is_closing)
		return;
	timer_stop(&t->deadline);
	t->is_registered = r->ok;
	t->is_refused = !r->ok;
	if (r->ok && !r->remotely_managed && t->local_config.len &&
	    control_send_local_config(t->control, buf_bytes(&t->local_config), &err) < 0)
		buf_clear(&t->local_config); /* too large: the edge goes without, it only shows it to people */
	buf_done(&t->local_config);
	if (t->base.events->on_registered)
		t->base.events->on_registered(&t->base, r);
	if (t->is_refused && !t->is_closing)
		set_deadline(t, LIMIT_LINGER_MS, REASON_REFUSED); /* the edge should close first */
}

static const struct control_events control_events = {
	.on_register = on_register,
	.on_unregister = on_unregister,
	.on_local_config = on_local_config,
	.on_registered = on_registered,
};

static void h2_reply(struct session *s, const struct registered *r)
{
	struct tunnel *t = tunnel_of(s);

	if (t->is_closing || !control_reply(t->control, r))
		return;
	timer_stop(&t->deadline);
	t->is_registered = r->ok;
	t->is_refused = !r->ok;
	/* The connector reads the answer, ends the control stream and waits for us to close; at once the
	 * connection could overtake the answer inside it. */
	if (!r->ok)
		set_deadline(t, LIMIT_LINGER_MS, REASON_REFUSED);
	tunnel_pump_control(t);
}

/* --- Streams --------------------------------------------------------------------------------- */

struct tunnel_stream *tunnel_stream_new(struct tunnel *t, enum stream_kind kind)
{
	struct tunnel_stream *ts = mem_alloc(sizeof(*ts));

	ts->magic = TUNNEL_STREAM_MAGIC;
	ts->base.session = &t->base;
	ts->kind = kind;
	t->streams++;
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

static struct tunnel *tunnel_of_h2(struct h2_stream *h2)
{
	struct tunnel *t = h2_session_ctx(h2_stream_session(h2));

	CHECK(t, TUNNEL_MAGIC);
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
			tunnel_close(tunnel_of_h2(st), REASON_PROTOCOL);
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
		if (st == tunnel_of_h2(st)->control_stream)
			control_data(tunnel_of_h2(st), data, fin);
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
		tunnel_pump_control(tunnel_of_h2(st));
	else if (!ts->is_reset && ts->base.events && ts->base.events->on_writable)
		ts->base.events->on_writable(&ts->base);
}

static void on_stream_closed(struct h2_stream *st, uint32_t code)
{
	struct tunnel_stream *ts = stream_of_h2(st);
	struct tunnel *t = tunnel_of_h2(st);

	if (!ts) {
		if (t->control_stream == st) {
			t->control_stream = NULL;
			if (!h2_session_failure(t->h2))
				control_over(t);
		}
		return;
	}
	enum reason why = reason_of_code(code);
	if (ts->is_reset)
		why = ts->reset_reason;
	else if (why != REASON_DONE && h2_session_failure(t->h2))
		why = REASON_LOST;
	t->lost_streams |= why == REASON_LOST;
	t->streams--;
	if (ts->base.events && ts->base.events->on_closed)
		ts->base.events->on_closed(&ts->base, why);
	tunnel_stream_free(ts);
	if (!h2_session_failure(t->h2))
		check_drained(t);
}

static void on_goaway(struct h2_session *h2)
{
	struct tunnel *t = h2_session_ctx(h2);

	set_draining(t);
	check_drained(t);
}

static void on_closed(struct h2_session *h2, const struct err *err)
{
	struct tunnel *t = h2_session_ctx(h2);

	enum reason why = t->is_closing   ? t->why
			  : t->is_refused ? REASON_REFUSED
					  : reason_of_err(t, err);

	timer_stop(&t->deadline);
	timer_stop(&t->ping);
	t->base.events->on_closed(&t->base, why, err);
	control_free(t->control);
	buf_done(&t->peer_features);
	buf_done(&t->local_config);
	buf_done(&t->scratch);
	t->magic = 0;
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
	struct tunnel *t = CONTAINER_OF(timer, struct tunnel, ping);
	int64_t silent_ms = (loop_now(t->base.loop) - h2_session_last_heard(t->h2)) / USEC_PER_MSEC;

	if (silent_ms >= LIMIT_TUNNEL_PING_MS) {
		h2_session_ping(t->h2, LIMIT_TUNNEL_PONG_MS);
		silent_ms = 0;
	}
	timer_set(&t->ping, LIMIT_TUNNEL_PING_MS - silent_ms);
}

static struct session *h2_start(struct loop *l, const struct session_start *how)
{
	struct tunnel *t = mem_alloc(sizeof(*t));
	const struct h2_options options = {
		.role = how->side == SESSION_EDGE ? H2_CLIENT : H2_SERVER,
		.max_streams = LIMIT_TUNNEL_STREAMS + 1, /* and the control stream */
		.stream_window = LIMIT_H2_STREAM_WINDOW,
		.connection_window = LIMIT_H2_CONNECTION_WINDOW,
		.head_bytes = TUNNEL_HEAD_BYTES,
		.glitches_per_sec = TUNNEL_GLITCHES_PER_SEC,
	};

	t->magic = TUNNEL_MAGIC;
	t->peer = *how->stream->peer; /* the stream goes before on_closed() */
	t->base = (struct session){
		.transport = &h2_transport,
		.events = how->events,
		.ctx = how->ctx,
		.loop = l,
		.side = how->side,
		.peer = &t->peer,
	};
	buf_init(&t->peer_features, TUNNEL_FEATURES_BYTES);
	buf_init(&t->local_config, LIMIT_RPC_BYTES);
	buf_init(&t->scratch, TUNNEL_SERIALIZED_BYTES);
	timer_init(&t->deadline, l, on_deadline);
	timer_init(&t->ping, l, on_ping);
	t->control = control_new(how->side, &control_events, t, how->registration);
	/* Larger than an edge takes: none is sent. */
	if (how->side == SESSION_CONNECTOR && how->registration->index == 0 &&
	    buf_append(&t->local_config, how->local_config) < 0)
		buf_clear(&t->local_config);
	t->h2 = h2_session_new(how->stream, &options, &h2_events, t);
	set_deadline(t, LIMIT_REGISTER_MS, REASON_TIMEOUT);
	timer_set(&t->ping, LIMIT_TUNNEL_PING_MS);
	if (how->side == SESSION_EDGE)
		edge_open_control(t);
	return &t->base;
}

static void h2_drain(struct session *s)
{
	struct tunnel *t = tunnel_of(s);

	if (t->is_closing || t->is_leaving)
		return;
	s->is_draining = true;
	t->is_leaving = true;
	if (s->side == SESSION_EDGE) {
		/* A connector of ours may dial elsewhere before we go; stock ones do not mind. */
		h2_session_drain(t->h2);
	} else {
		control_unregister(t->control);
		tunnel_pump_control(t);
	}
	check_drained(t);
}

static void h2_close(struct session *s, enum reason why)
{
	tunnel_close(tunnel_of(s), why);
}

static bool h2_can_open(const struct session *s)
{
	const struct tunnel *t = CONTAINER_OF(s, const struct tunnel, base);

	return s->side == SESSION_EDGE && !t->is_closing && !s->is_draining &&
	       t->streams < LIMIT_TUNNEL_STREAMS && control_is_registered(t->control) &&
	       h2_session_can_open(t->h2);
}

static size_t h2_stream_count(const struct session *s)
{
	return CONTAINER_OF(s, const struct tunnel, base)->streams;
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
	.drain = h2_drain,
	.close = h2_close,
	.reply = h2_reply,
	.can_open = h2_can_open,
	.stream_count = h2_stream_count,
	.has_feature = h2_has_feature,
};
