/* A connection's life: start, packets, time, the end. */
#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/random.h"
#include "quic/quic_internal.h"

#include <ngtcp2/ngtcp2_crypto_gnutls.h>

/* What we put into a UDP packet at most: Ethernet's 1500 less IPv6 and UDP headers. ngtcp2 finds out whether
 * the path takes it. */
#define UDP_PAYLOAD_MAX 1452
/* In this order: most paths take the first, and the rest is skipped then. PPPoE, DS-Lite, tunnels, IPv6's least. */
static const uint16_t mtu_probes[] = { UDP_PAYLOAD_MAX, 1492 - 48, 1454 - 48, 1400 - 48, 1280 - 48 };
/* Ids that the peer may give us: one in use, spares for changes of the path. */
#define PEER_IDS 4

static void deliver(struct deferred *d);

static ngtcp2_conn *conn_of_ref(ngtcp2_crypto_conn_ref *ref)
{
	return CONTAINER_OF(ref, struct quic_conn, ref)->ng;
}

/* --- Starting -------------------------------------------------------------------------------- */

static struct quic_conn *conn_new(struct quic_endpoint *e, bool is_server)
{
	struct quic_conn *c = mem_alloc(sizeof(*c));

	c->owner.kind = OWNER_CONN;
	c->magic = CONN_MAGIC;
	c->endpoint = e;
	c->events = e->events;
	c->held_max = e->limits.held_max;
	c->is_server = is_server;
	c->ref.get_conn = conn_of_ref;
	c->last_heard = loop_now(e->loop);
	c->wants_streams = true;
	list_init(&c->dirty_node);
	list_init(&c->streams);
	list_init(&c->sendable);
	list_init(&c->blocked);
	list_init(&c->starved);
	list_init(&c->requests);
	list_init(&c->wakes);
	list_init(&c->gone);
	list_init(&c->datagrams);
	c->streams_by_id = map_new();
	deferred_init(&c->deliver, deliver);
	ngtcp2_ccerr_default(&c->close);
	list_append(&e->conns, &c->node);
	e->conn_count++;
	c->is_handshaking = is_server;
	e->handshake_count += is_server;
	return c;
}

static void set_limits(struct quic_endpoint *e, ngtcp2_settings *settings,
		       ngtcp2_transport_params *params)
{
	const struct quic_limits *l = &e->limits;

	ngtcp2_settings_default(settings);
	settings->initial_ts = quic_read_clock(e);
	settings->cc_algo = NGTCP2_CC_ALGO_BBR; /* docs/decisions/0004 */
	settings->max_tx_udp_payload_size = UDP_PAYLOAD_MAX;
	settings->handshake_timeout = (uint64_t)l->handshake_ms * NSEC_PER_MSEC;
	settings->pmtud_probes = mtu_probes;
	settings->pmtud_probeslen = ARRAY_LEN(mtu_probes);
	settings->max_window = l->conn_window_max;
	settings->max_stream_window = l->stream_window_max;

	ngtcp2_transport_params_default(params);
	params->initial_max_stream_data_bidi_local = l->stream_window;
	params->initial_max_stream_data_bidi_remote = l->stream_window;
	params->initial_max_data = l->conn_window;
	params->initial_max_streams_bidi = l->peer_streams;
	params->initial_max_streams_uni = l->peer_uni_streams;
	params->initial_max_stream_data_uni = l->stream_window;
	params->max_idle_timeout = (uint64_t)l->idle_ms * NSEC_PER_MSEC;
	params->active_connection_id_limit = PEER_IDS;
	/* Ours is the payload, theirs the whole frame: type, length, payload. */
	params->max_datagram_frame_size = l->max_datagram ? l->max_datagram + 9 : 0;
}

static int start_tls(struct quic_conn *c, struct tls_context *tls, struct bytes name,
		     struct err *err)
{
	c->tls = tls_quic_new(tls, name, &c->ref, err);
	if (!c->tls)
		return E_TLS;
	void *native = tls_quic_native(c->tls);
	if ((c->is_server ? ngtcp2_crypto_gnutls_configure_server_session(native)
			  : ngtcp2_crypto_gnutls_configure_client_session(native)) != 0)
		return err_set(err, E_TLS, "cannot start a TLS session for QUIC");
	ngtcp2_conn_set_tls_native_handle(c->ng, native);
	ngtcp2_conn_set_keep_alive_timeout(c->ng, (uint64_t)c->endpoint->limits.keepalive_ms *
							  NSEC_PER_MSEC);
	return 0;
}

struct quic_conn *quic_connect(struct quic_endpoint *e, const struct address *to,
			       struct tls_context *tls, struct bytes server_name, void *ctx,
			       struct err *err)
{
	CHECK(e, ENDPOINT_MAGIC);
	const struct address *local = udp_local(e->socket->udp);
	ngtcp2_path path = { .local = quic_address(local), .remote = quic_address(to) };
	ngtcp2_transport_params params;
	ngtcp2_settings settings;
	ngtcp2_cid theirs, ours;

	if (to->any.sa_family != local->any.sa_family) {
		err_set(err, E_INVALID, "QUIC needs a socket of the same address family");
		return NULL;
	}
	struct quic_conn *c = conn_new(e, false);
	c->ctx = ctx;
	c->peer = *to;
	c->local = *local;
	set_limits(e, &settings, &params);
	theirs.datalen = NGTCP2_MAX_CIDLEN;
	random_bytes(theirs.data, theirs.datalen);
	quic_id_new(e, &ours);
	int ret = ngtcp2_conn_client_new(&c->ng, &theirs, &ours, &path, NGTCP2_PROTO_VER_V1,
					 &quic_client_callbacks, &settings, &params, NULL, c);
	if (ret != 0) {
		c->ng = NULL;
		err_set(err, E_INTERNAL, "QUIC: %s", ngtcp2_strerror(ret));
	} else {
		quic_id_own(e, &ours, &c->owner);
		ret = start_tls(c, tls, server_name, err);
	}
	if (ret != 0) {
		quic_conn_destroy(c);
		return NULL;
	}
	quic_conn_touch(c);
	return c;
}

void quic_conn_accept(struct quic_endpoint *e, const struct quic_packet *p,
		      const ngtcp2_pkt_hd *head, const ngtcp2_cid *original)
{
	ngtcp2_path path = { .local = quic_address(p->to), .remote = quic_address(p->from) };
	struct quic_conn *c = conn_new(e, true);
	ngtcp2_transport_params params;
	ngtcp2_settings settings;
	ngtcp2_cid ours;

	c->peer = *p->from;
	c->local = *p->to;
	set_limits(e, &settings, &params);
	params.original_dcid = original ? *original : head->dcid;
	params.original_dcid_present = 1;
	if (original) {
		params.retry_scid = head->dcid;
		params.retry_scid_present = 1;
		settings.token = head->token;
		settings.tokenlen = head->tokenlen;
		settings.token_type = NGTCP2_TOKEN_TYPE_RETRY;
	}
	quic_id_new(e, &ours);
	params.stateless_reset_token_present =
		ngtcp2_crypto_generate_stateless_reset_token(
			params.stateless_reset_token, e->secret, sizeof(e->secret), &ours) == 0;
	if (ngtcp2_conn_server_new(&c->ng, &head->scid, &ours, &path, head->version,
				   &quic_server_callbacks, &settings, &params, NULL, c) != 0) {
		c->ng = NULL;
		quic_conn_destroy(c);
		return;
	}
	if (start_tls(c, e->tls, BYTES_NONE, NULL) != 0) {
		quic_conn_destroy(c);
		return;
	}
	c->client_dcid = head->dcid;
	quic_id_own(e, &ours, &c->owner);
	quic_id_own(e, &c->client_dcid, &c->owner);
	quic_conn_read(c, p);
}

/* --- The handshake is done ------------------------------------------------------------------- */

static char *copy(struct bytes text)
{
	return text.len ? mem_strndup(text) : NULL;
}

static void no_handshake_any_more(struct quic_conn *c)
{
	if (c->is_handshaking)
		c->endpoint->handshake_count--;
	c->is_handshaking = false;
}

void quic_conn_handshake_over(struct quic_conn *c)
{
	const ngtcp2_transport_params *theirs = ngtcp2_conn_get_remote_transport_params(c->ng);
	struct err err;

	if (c->is_ending || c->is_done)
		return;
	if (tls_quic_finish(c->tls, &err) < 0) {
		quic_conn_fail_tls(c, TLS_ALERT_NO_APPLICATION_PROTOCOL, &err);
		return;
	}
	c->is_done = true;
	no_handshake_any_more(c);
	c->alpn = copy(tls_quic_alpn(c->tls));
	c->server_name = copy(tls_quic_server_name(c->tls));
	/* Type, and two bytes of length for what fits into a packet. */
	if (theirs && theirs->max_datagram_frame_size > 3)
		c->datagram_max = theirs->max_datagram_frame_size - 3 > UDP_PAYLOAD_MAX
					  ? UDP_PAYLOAD_MAX
					  : (size_t)theirs->max_datagram_frame_size - 3;
	/* Told once ngtcp2 has returned, or before the first thing that the peer says. */
	c->owes_ready = true;
	loop_defer(c->endpoint->loop, &c->deliver);
}

void quic_conn_tell_ready(struct quic_conn *c)
{
	struct quic_endpoint *e = c->endpoint;

	if (!c->owes_ready)
		return;
	c->owes_ready = false;
	if (c->is_ending)
		return;
	c->is_ready = true;
	if (c->is_server && e->events->on_accept)
		e->events->on_accept(e, c);
	else if (!c->is_server && c->events->on_ready)
		c->events->on_ready(c);
}

/* --- Packets and time ------------------------------------------------------------------------ */

/* Was this what we answer the first packet with? It is not a connection any more then. */
static void ask_for_retry(struct quic_conn *c, const struct quic_packet *p)
{
	ngtcp2_pkt_hd head;
	struct err err;

	if (ngtcp2_accept(&head, p->data.ptr, p->data.len) == 0)
		quic_send_retry(c->endpoint, p, &head);
	err_set(&err, E_CLOSED, "asked to prove its address");
	quic_conn_end(c, END_SILENT, &err);
}

/* The peer has said goodbye. */
static void take_close(struct quic_conn *c)
{
	const ngtcp2_ccerr *theirs = ngtcp2_conn_get_ccerr(c->ng);
	char reason[80];
	struct err err;

	snprintf(reason, sizeof(reason), "%.*s",
		 (int)(theirs->reasonlen < 70 ? theirs->reasonlen : 70),
		 theirs->reason ? (const char *)theirs->reason : "");
	for (char *p = reason; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
	const char *colon = *reason ? ": " : "";
	c->stream_code = QUIC_CODE_LOST;
	if (theirs->type == NGTCP2_CCERR_TYPE_APPLICATION) {
		c->has_app_code = true;
		c->app_code = c->stream_code = theirs->error_code;
		err_set(&err, E_CLOSED, "the peer closed the connection with code %llu%s%s",
			(unsigned long long)theirs->error_code, colon, reason);
	} else if (theirs->error_code == NGTCP2_NO_ERROR) {
		c->stream_code = 0;
		err_set(&err, E_CLOSED, "the peer closed the connection%s%s", colon, reason);
	} else if (theirs->error_code == NGTCP2_CONNECTION_REFUSED) {
		err_set(&err, E_REFUSED, "the peer takes no connection%s%s", colon, reason);
	} else if (theirs->error_code >= NGTCP2_CRYPTO_ERROR &&
		   theirs->error_code < NGTCP2_CRYPTO_ERROR + 256) {
		err_set(&err, E_TLS, "the peer refused: %s%s%s",
			tls_alert_words((uint8_t)theirs->error_code), colon, reason);
	} else {
		err_set(&err, E_PROTOCOL, "the peer found a QUIC error 0x%llx%s%s",
			(unsigned long long)theirs->error_code, colon, reason);
	}
	quic_conn_end(c, END_DRAIN, &err);
}

static void take_reset(struct quic_conn *c)
{
	struct err err;

	c->stream_code = QUIC_CODE_LOST;
	err_set(&err, E_CLOSED, "the peer does not know the connection any more (stateless reset)");
	quic_conn_end(c, END_DRAIN, &err);
}

void quic_conn_read(struct quic_conn *c, const struct quic_packet *p)
{
	/* A client's socket has one address, whatever the kernel says about a single packet. */
	const struct address *local = c->is_server ? p->to : p->bound;
	ngtcp2_path path = { .local = quic_address(local), .remote = quic_address(p->from) };
	ngtcp2_pkt_info info = { .ecn = p->ecn };
	uint64_t opened = c->received_packets;

	if (c->is_ending)
		return;
	quic_reads(c);
	int ret = ngtcp2_conn_read_pkt(c->ng, &path, &info, p->data.ptr, p->data.len,
				       c->endpoint->now);
	quic_reads(NULL);
	if (c->received_packets != opened) {
		c->last_heard = loop_now(c->endpoint->loop);
		c->received_bytes += p->data.len;
	}
	if (ret == 0) {
		quic_streams_stopped(c);
		quic_conn_touch(c);
	} else if (ret == NGTCP2_ERR_DRAINING) {
		if (c->got_reset)
			take_reset(c);
		else
			take_close(c);
	} else if (ret == NGTCP2_ERR_RETRY) {
		ask_for_retry(c, p);
	} else {
		quic_conn_fail(c, ret);
	}
}

void quic_conn_expire(struct quic_conn *c)
{
	if (c->is_ending)
		return;
	int ret = ngtcp2_conn_handle_expiry(c->ng, c->endpoint->now);
	if (ret != 0)
		quic_conn_fail(c, ret);
	else
		quic_conn_touch(c);
}

/* --- The end --------------------------------------------------------------------------------- */

void quic_conn_end(struct quic_conn *c, enum conn_end end, const struct err *why)
{
	if (c->is_ending)
		return;
	c->is_ending = true;
	c->end = end;
	c->why = *why;
	no_handshake_any_more(c);
	loop_defer(c->endpoint->loop, &c->deliver);
}

void quic_conn_fail_tls(struct quic_conn *c, uint8_t alert, const struct err *why)
{
	if (c->is_ending)
		return;
	ngtcp2_ccerr_set_tls_alert(&c->close, alert, NULL, 0);
	c->stream_code = QUIC_CODE_LOST;
	quic_conn_end(c, END_CLOSING, why);
}

static void fail_handshake(struct quic_conn *c)
{
	uint8_t alert = ngtcp2_conn_get_tls_alert(c->ng);
	const struct err *refusal = c->tls ? tls_quic_refusal(c->tls, &alert) : NULL;
	struct err err;

	if (refusal) {
		err = *refusal;
		err_wrap(&err, "TLS handshake");
	} else {
		err_set(&err, E_TLS, "TLS handshake: %s", tls_alert_words(alert));
	}
	quic_conn_fail_tls(c, alert, &err);
}

void quic_conn_fail(struct quic_conn *c, int code)
{
	enum conn_end end = END_CLOSING;
	struct err err;

	if (c->is_ending)
		return;
	c->stream_code = QUIC_CODE_LOST;
	switch (code) {
	case NGTCP2_ERR_CRYPTO:
		fail_handshake(c);
		return;
	case NGTCP2_ERR_IDLE_CLOSE:
		err_set(&err, E_TIMEOUT, "nothing was heard from the peer for too long");
		end = END_SILENT;
		break;
	case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
		err_set(&err, E_TIMEOUT, "QUIC handshake not finished within %lld ms",
			(long long)c->endpoint->limits.handshake_ms);
		end = c->received_packets ? END_CLOSING : END_SILENT;
		break;
	case NGTCP2_ERR_DROP_CONN:
		err_set(&err, E_PROTOCOL, "no QUIC connection begins like this");
		end = END_SILENT;
		break;
	case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
		err_set(&err, E_PROTOCOL, "the peer speaks no version of QUIC that we know");
		end = END_SILENT;
		break;
	default:
		err_set(&err, E_PROTOCOL, "QUIC: %s", ngtcp2_strerror(code));
		break;
	}
	ngtcp2_ccerr_set_liberr(&c->close, code, NULL, 0);
	quic_conn_end(c, end, &err);
}

void quic_conn_close(struct quic_conn *c, uint64_t code, const char *reason)
{
	CHECK(c, CONN_MAGIC);
	struct err err;

	if (c->is_ending)
		return;
	snprintf(c->reason, sizeof(c->reason), "%s", reason ? reason : "");
	ngtcp2_ccerr_set_application_error(&c->close, code, (const uint8_t *)c->reason,
					   strlen(c->reason));
	c->has_app_code = true;
	c->app_code = c->stream_code = code;
	err_set(&err, E_CLOSED, "closed by us with code %llu%s%s", (unsigned long long)code,
		*c->reason ? ": " : "", c->reason);
	/* What was written before leaves before it, as far as the network takes it now. */
	if (c->is_done)
		c->is_flushed_first = true;
	quic_conn_end(c, END_CLOSING, &err);
}

bool quic_close_code(const struct quic_conn *c, uint64_t *ret)
{
	CHECK(c, CONN_MAGIC);
	if (c->has_app_code)
		*ret = c->app_code;
	return c->has_app_code;
}

static void disown_all(struct quic_conn *c)
{
	size_t count;
	ngtcp2_cid *ids = quic_ids_of(c, &count);

	for (size_t i = 0; i < count; i++)
		quic_id_disown(c->endpoint, &ids[i], &c->owner);
	mem_free(ids);
}

void quic_conn_destroy(struct quic_conn *c)
{
	struct quic_endpoint *e = c->endpoint;

	LIST_FOR_EACH(node, &c->streams)
		quic_stream_free(LIST_ENTRY(node, struct quic_stream, node));
	LIST_FOR_EACH(node, &c->gone)
		quic_stream_free(LIST_ENTRY(node, struct quic_stream, node));
	quic_datagrams_free(c);
	deferred_cancel(&c->deliver);
	no_handshake_any_more(c);
	if (c->ng)
		disown_all(c);
	while (c->reset_token_count)
		quic_reset_token_drop(c, c->reset_tokens[0]);
	quic_expiry_set(c, 0);
	list_remove(&c->dirty_node);
	list_remove(&c->node);
	e->conn_count--;
	ngtcp2_conn_del(c->ng);
	tls_quic_free(c->tls);
	tls_quic_free(c->facts);
	map_free(c->streams_by_id);
	mem_free(c->stops);
	mem_free(c->server_name);
	mem_free(c->alpn);
	c->magic = 0;
	mem_free(c);
}

/* RFC 9000 §10.2: three times the probe timeout. */
static int64_t linger_ms(struct quic_conn *c)
{
	int64_t msec = (int64_t)(3 * ngtcp2_conn_get_pto(c->ng) / NSEC_PER_MSEC);

	return msec < LIMIT_QUIC_CLOSED_MS ? msec : LIMIT_QUIC_CLOSED_MS;
}

static void remember_close(struct quic_conn *c, const ngtcp2_path *path, struct bytes packet)
{
	quic_closed_add(c, path, packet, linger_ms(c));
}

static void finish(struct quic_conn *c)
{
	struct quic_endpoint *e = c->endpoint;

	if (c->is_flushed_first && !e->stuck.len)
		(void)quic_conn_write(c);
	if (c->end == END_CLOSING)
		quic_conn_send_close(c, remember_close);
	else if (c->end == END_DRAIN)
		quic_closed_add(c, NULL, BYTES_NONE, linger_ms(c));
	while (!list_is_empty(&c->streams))
		quic_stream_gone(LIST_ENTRY(c->streams.next, struct quic_stream, node),
				 c->stream_code);
	quic_streams_report_gone(c);
	/* A server's user has never heard of one that did not get so far. */
	if ((c->is_ready || !c->is_server) && c->events->on_closed)
		c->events->on_closed(c, &c->why);
	quic_conn_destroy(c);
}

static void deliver(struct deferred *d)
{
	struct quic_conn *c = CONTAINER_OF(d, struct quic_conn, deliver);
	struct quic_endpoint *e = c->endpoint;

	CHECK(c, CONN_MAGIC);
	quic_enter(e);
	if (c->is_done && c->tls) {
		/* Twenty kilobytes that have done their work: keys are ngtcp2's now. */
		ngtcp2_conn_set_tls_native_handle(c->ng, NULL);
		c->tls = tls_quic_shrink(c->tls);
		c->facts = TAKE(c->tls);
	}
	quic_conn_tell_ready(c);
	quic_streams_report_gone(c);
	if (c->owes_streams && !c->is_ending) {
		c->owes_streams = false;
		if (c->events->on_streams_available)
			c->events->on_streams_available(c);
	}
	quic_streams_wake(c);
	if (c->owes_room && !c->is_ending) {
		c->owes_room = false;
		if (c->events->on_datagram_room)
			c->events->on_datagram_room(c);
	}
	if (c->is_ending && !e->is_dead)
		finish(c);
	quic_leave(e);
}

/* --- Facts ----------------------------------------------------------------------------------- */

void quic_conn_set_ctx(struct quic_conn *c, void *ctx)
{
	CHECK(c, CONN_MAGIC);
	c->ctx = ctx;
}

void *quic_conn_ctx(struct quic_conn *c)
{
	CHECK(c, CONN_MAGIC);
	return c->ctx;
}

struct quic_endpoint *quic_conn_endpoint(struct quic_conn *c)
{
	return c->endpoint;
}

const struct address *quic_conn_peer(const struct quic_conn *c)
{
	return &c->peer;
}

const struct address *quic_conn_local(const struct quic_conn *c)
{
	return &c->local;
}

struct bytes quic_conn_server_name(const struct quic_conn *c)
{
	return bytes_str(c->server_name);
}

struct bytes quic_conn_alpn(const struct quic_conn *c)
{
	return bytes_str(c->alpn);
}

const struct tls_policy *quic_conn_policy(const struct quic_conn *c)
{
	const struct tls_quic *q = c->facts ? c->facts : c->tls;

	return q ? tls_quic_policy(q) : NULL;
}

const struct tls_peer *quic_conn_certificate(const struct quic_conn *c)
{
	const struct tls_quic *q = c->facts ? c->facts : c->tls;

	return q ? tls_quic_peer(q) : NULL;
}

void quic_conn_set_events(struct quic_conn *c, const struct quic_events *events, uint64_t held_max)
{
	CHECK(c, CONN_MAGIC);
	c->events = events;
	c->held_max = held_max;
}

void quic_conn_ping(struct quic_conn *c, int64_t every_ms)
{
	CHECK(c, CONN_MAGIC);
	if (c->is_ending)
		return;
	if (every_ms == 0)
		every_ms = c->endpoint->limits.keepalive_ms;
	ngtcp2_conn_set_keep_alive_timeout(c->ng, (uint64_t)every_ms * NSEC_PER_MSEC);
	quic_conn_touch(c);
}

usec quic_conn_last_heard(const struct quic_conn *c)
{
	return c->last_heard;
}

void quic_conn_facts(const struct quic_conn *c, struct quic_facts *ret)
{
	CHECK(c, CONN_MAGIC);
	ngtcp2_conn_info info;

	ngtcp2_conn_get_conn_info(c->ng, &info);
	*ret = (struct quic_facts){
		.min_rtt = info.min_rtt == UINT64_MAX ? 0 : (usec)(info.min_rtt / 1000),
		.latest_rtt = (usec)(info.latest_rtt / 1000),
		.smoothed_rtt = (usec)(info.smoothed_rtt / 1000),
		.congestion_window = info.cwnd,
		.bytes_in_flight = info.bytes_in_flight,
		.sent_packets = c->sent_packets,
		.lost_packets = c->lost_packets,
		.received_packets = c->received_packets,
		.sent_bytes = c->sent_bytes,
		.received_bytes = c->received_bytes,
		.path_mtu = quic_conn_payload_max(c),
	};
	LIST_FOR_EACH(node, &c->streams)
		ret->lost_packets += ngtcp2_conn_get_stream_loss_count(
			c->ng, LIST_ENTRY(node, struct quic_stream, node)->id);
}

bool quic_conn_is_over(const struct quic_conn *c)
{
	CHECK(c, CONN_MAGIC);
	return c->is_ending;
}
