#include "transport/tunnel.h"

#include "base/limits.h"

/* --- Ends ------------------------------------------------------------------------------------ */

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

void tunnel_close(struct tunnel *t, enum reason why)
{
	if (t->is_closing)
		return;
	t->is_closing = true;
	t->why = why;
	timer_stop(&t->deadline);
	t->driver->disconnect(t, why);
}

void tunnel_closed(struct tunnel *t, const struct err *err)
{
	enum reason why = t->is_closing   ? t->why
			  : t->is_refused ? REASON_REFUSED
					  : reason_of_err(t, err);

	timer_stop(&t->deadline);
	t->base.events->on_closed(&t->base, why, err);
}

static void on_deadline(struct timer *timer)
{
	struct tunnel *t = CONTAINER_OF(timer, struct tunnel, deadline);

	/* A stream that came while we waited to be gone: its end looks again. */
	if (t->deadline_reason == REASON_DONE && t->streams)
		return;
	tunnel_close(t, t->deadline_reason);
}

static void set_deadline(struct tunnel *t, int64_t ms, enum reason why)
{
	t->deadline_reason = why;
	timer_set(&t->deadline, ms);
}

/* A session that drains ends when its streams are done: at once when we leave and have said goodbye,
 * else by the peer, who is the one that leaves. Where streams overtake the control stream it is the edge that ends
 * it: it alone knows whether another one is on its way. */
void tunnel_check_drained(struct tunnel *t)
{
	bool is_edge = t->base.side == SESSION_EDGE;

	if (!t->base.is_draining || t->streams || t->flows || t->is_closing)
		return;
	if (!t->is_leaving && is_edge) {
		/* A stock connector closes by itself. */
		if (t->driver->edge_closes && t->control_is_over &&
		    tunnel_has_feature(&t->base, FEATURE_LEAVING))
			tunnel_close(t, REASON_DONE);
		else
			set_deadline(t, LIMIT_LINGER_MS, REASON_DONE);
	} else if (t->is_leaving && !is_edge && t->said_goodbye && t->driver->edge_closes) {
		set_deadline(t, LIMIT_LINGER_MS, REASON_DONE);
	} else if (t->is_leaving && (is_edge || t->said_goodbye || !t->has_control_stream)) {
		tunnel_close(t, REASON_DONE);
	} else if (t->is_leaving) {
		set_deadline(t, LIMIT_REGISTER_MS, REASON_DONE); /* until the edge has answered */
	}
}

void tunnel_set_draining(struct tunnel *t)
{
	if (t->base.is_draining)
		return;
	t->base.is_draining = true;
	if (t->base.events->on_draining)
		t->base.events->on_draining(&t->base);
	if (t->driver->draining)
		t->driver->draining(t);
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

/* The stock features that say how UDP travels. */
static void note_datagrams(struct tunnel *t, const struct registration *r)
{
	for (size_t i = 0; i < r->feature_count; i++) {
		t->has_datagrams_v2 |= bytes_eq(r->features[i], BYTES_LIT("support_datagram_v2"));
		t->has_datagrams_v3 |= bytes_eq(r->features[i], BYTES_LIT("support_datagram_v3_2"));
	}
}

bool tunnel_has_feature(const struct session *s, const char *feature)
{
	const struct tunnel *t = CONTAINER_OF(s, const struct tunnel, base);

	return head_value_has_token(buf_bytes(&t->peer_features), bytes_str(feature));
}

/* --- The control stream ---------------------------------------------------------------------- */

void tunnel_pump_control(struct tunnel *t)
{
	struct bytes out;

	if (!t->has_control_stream || t->is_closing)
		return;
	while ((out = control_output(t->control)).len) {
		size_t taken = t->driver->write_control(t, out, false);
		control_sent(t->control, taken);
		if (taken < out.len)
			return;
	}
	if (!control_is_done(t->control) || t->said_goodbye)
		return;
	(void)t->driver->write_control(t, BYTES_NONE, true);
	t->said_goodbye = true;
	tunnel_check_drained(t);
}

void tunnel_lose_control(struct tunnel *t)
{
	if (t->control_is_over || t->is_closing)
		return;
	t->control_is_over = true;
	if (!t->is_registered || t->is_refused) {
		tunnel_close(t, t->is_refused ? REASON_REFUSED : REASON_PROTOCOL);
		return;
	}
	/* Edge: it leaves, whether it said so before or not. Connector: nobody takes our goodbye. */
	tunnel_set_draining(t);
	tunnel_check_drained(t);
}

void tunnel_feed_control(struct tunnel *t, struct bytes data, bool fin)
{
	struct err err;

	if (data.len && control_feed(t->control, data, &err) < 0) {
		tunnel_pump_control(t);
		tunnel_close(t, err.code == E_LIMIT ? REASON_FLOOD : REASON_PROTOCOL);
		return;
	}
	tunnel_pump_control(t);
	if (fin)
		tunnel_lose_control(t);
	else
		tunnel_check_drained(t); /* it may have unregistered */
}

static void on_register(void *ctx, const struct registration *r)
{
	struct tunnel *t = ctx;

	for (size_t i = 0; i < r->feature_count; i++)
		tunnel_add_peer_features(t, r->features[i]);
	note_datagrams(t, r);
	if (t->is_closing || !t->base.events->on_register)
		return;
	t->base.events->on_register(&t->base, r);
}

static void on_unregister(void *ctx)
{
	tunnel_set_draining(ctx);
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
	/* A request may have been faster, and said the same. */
	if (r->ok && t->peer_features.len == 0)
		tunnel_add_peer_features(t, r->features);
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

void tunnel_reply(struct session *s, const struct registered *r)
{
	struct tunnel *t = tunnel_of(s);
	struct registered answer = *r;

	if (r->ok && t->driver->features && t->peer_features.len)
		answer.features = bytes_str(t->driver->features);
	if (t->is_closing || !control_reply(t->control, &answer))
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

bool tunnel_may_serve(const struct tunnel *t)
{
	return t->is_registered || (t->has_control_stream && !t->is_refused);
}

/* --- Life ------------------------------------------------------------------------------------ */

void tunnel_init(struct tunnel *t, struct loop *l, const struct tunnel_driver *driver,
		 const struct session_start *how, const struct address *peer)
{
	t->magic = TUNNEL_MAGIC;
	t->driver = driver;
	t->peer = *peer; /* the connection goes before on_closed() */
	t->base = (struct session){
		.transport = driver->transport,
		.events = how->events,
		.ctx = how->ctx,
		.loop = l,
		.side = how->side,
		.peer = &t->peer,
	};
	buf_init(&t->peer_features, TUNNEL_FEATURES_BYTES);
	buf_init(&t->local_config, LIMIT_RPC_BYTES);
	timer_init(&t->deadline, l, on_deadline);
	t->control = control_new(how->side, &control_events, t, how->registration);
	if (how->side == SESSION_CONNECTOR)
		note_datagrams(t, how->registration);
	/* Larger than an edge takes: none is sent. */
	if (how->side == SESSION_CONNECTOR && how->registration->index == 0 &&
	    buf_append(&t->local_config, how->local_config) < 0)
		buf_clear(&t->local_config);
	set_deadline(t, LIMIT_REGISTER_MS, REASON_TIMEOUT);
}

void tunnel_done(struct tunnel *t)
{
	control_free(t->control);
	buf_done(&t->peer_features);
	buf_done(&t->local_config);
	t->magic = 0;
}

void tunnel_drain(struct session *s)
{
	struct tunnel *t = tunnel_of(s);

	if (t->is_closing || t->is_leaving)
		return;
	s->is_draining = true;
	t->is_leaving = true;
	if (s->side == SESSION_CONNECTOR) {
		control_unregister(t->control);
		tunnel_pump_control(t);
	} else if (t->driver->say_leaving) {
		t->driver->say_leaving(t);
	}
	tunnel_check_drained(t);
}

bool tunnel_ask_to_move(struct session *s)
{
	struct tunnel *t = tunnel_of(s);

	if (!t->driver->say_leaving || !tunnel_has_feature(s, FEATURE_LEAVING))
		return false;
	if (!t->is_closing && t->is_registered)
		t->driver->say_leaving(t);
	return true;
}

/* As the local configuration: a call that is there, and that a stock edge never gets with this in it. */
bool tunnel_report(struct session *s, struct bytes json)
{
	struct tunnel *t = tunnel_of(s);
	struct err err;

	if (t->is_closing || !t->is_registered || !t->has_control_stream ||
	    control_send_local_config(t->control, json, &err) < 0)
		return false;
	tunnel_pump_control(t);
	return true;
}

size_t tunnel_stream_count(const struct session *s)
{
	return CONTAINER_OF(s, const struct tunnel, base)->streams;
}
