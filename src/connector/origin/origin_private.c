/* A TCP connection to an address that the edge names, as far as the configuration lets it: raw bytes both ways,
 * each direction ends by itself. */
#include "base/mem.h"
#include "connector/connector_metrics.h"
#include "connector/origin/origin_internal.h"

#define FLOW_MAGIC 0x666c6f77

/* Of a chunk each; then others have their turn. */
#define READS_PER_TURN 32

struct flow {
	uint32_t magic;
	struct exchange *x;
	struct origin_private *limits; /* borrowed: outlives every exchange */
	struct conn_attempt *attempt;  /* until it is connected */
	struct byte_stream *stream;    /* owned, then */
	int keepalive_seconds;
	usec dialled_at;
	bool visitor_ended; /* and the far end knows */
	bool far_ended;
};

static void flow_free(struct flow *f)
{
	CHECK(f, FLOW_MAGIC);
	f->limits->flows--;
	conn_attempt_cancel(f->attempt);
	byte_stream_close(f->stream);
	f->magic = 0;
	mem_free(f);
}

static void finish(struct flow *f)
{
	struct exchange *x = f->x;

	flow_free(f);
	exchange_release_answerer(x);
}

static void fail(struct flow *f, const struct err *err, const char *title)
{
	struct exchange *x = f->x;

	exchange_failed(x, FAILURE_ORIGIN, err->code == E_TIMEOUT ? 504 : 502, 0, title,
			"The destination " BYTES_FMT " did not answer: %s.",
			BYTES_ARG(x->request.authority), err->text);
	x->failure.origin = x->request.authority;
	x->failure.errno_name = bytes_str(err_errno_name(err->sys_errno));
	flow_free(f);
	exchange_fail(x);
}

/* --- Bytes ------------------------------------------------------------------------------------ */

/* The last thing a caller does. */
static void pump_out(struct flow *f)
{
	struct body *body = &f->x->request_body;
	struct bytes run;

	while (!f->visitor_ended && body_peek(body, &run, 1)) {
		size_t n = byte_stream_write(f->stream, run);
		body_consume(body, n);
		if (n < run.len)
			return; /* on_writable() follows */
	}
	if (f->visitor_ended || !body_is_done(body))
		return;
	f->visitor_ended = true;
	byte_stream_shutdown(f->stream);
	if (f->far_ended)
		finish(f);
}

/* The last thing a caller does. */
static void pump_in(struct flow *f)
{
	struct body *body = &f->x->response_body;
	struct err err = { 0 };
	ssize_t n = 1;

	if (f->far_ended)
		return;
	for (int i = 0; i < READS_PER_TURN && n > 0; i++) {
		size_t room;
		uint8_t *at = body_reserve(body, &room);
		if (!at)
			return; /* on_response_room() follows */
		n = byte_stream_read(f->stream, at, room, &err);
		body_commit(body, n > 0 ? (size_t)n : 0);
	}
	if (n > 0) {
		byte_stream_want_read(f->stream); /* the others first */
	} else if (n == 0) {
		f->far_ended = true;
		body_end(body);
		if (f->visitor_ended)
			finish(f);
	} else if (n != E_AGAIN) {
		fail(f, &err, "Connection broken");
	}
}

static void on_readable(void *ctx)
{
	struct flow *f = ctx;

	CHECK(f, FLOW_MAGIC);
	pump_in(f);
}

static void on_writable(void *ctx)
{
	struct flow *f = ctx;

	CHECK(f, FLOW_MAGIC);
	pump_out(f);
}

static void on_error(void *ctx, const struct err *err)
{
	struct flow *f = ctx;

	CHECK(f, FLOW_MAGIC);
	/* It has said all it had to say; what still went there is for nobody. */
	if (f->far_ended)
		finish(f);
	else
		fail(f, err, "Connection broken");
}

static const struct byte_stream_events stream_events = {
	.on_readable = on_readable,
	.on_writable = on_writable,
	.on_error = on_error,
};

/* --- The exchange's answerer ------------------------------------------------------------------- */

static void on_request_data(struct exchange *x)
{
	struct flow *f = x->answerer_ctx;

	if (f->stream)
		pump_out(f);
}

static void on_response_room(struct exchange *x)
{
	struct flow *f = x->answerer_ctx;

	if (f->stream)
		pump_in(f);
}

static void on_cancelled(struct exchange *x)
{
	finish(x->answerer_ctx);
}

static const struct exchange_answerer answerer = {
	.name = "private network",
	.on_request_data = on_request_data,
	.on_response_room = on_response_room,
	.on_cancelled = on_cancelled,
};

/* --- Connecting -------------------------------------------------------------------------------- */

static void on_connected(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct flow *f = ctx;
	struct exchange *x = f->x;

	CHECK(f, FLOW_MAGIC);
	f->attempt = NULL;
	if (!stream) {
		metric_add(&connector_metrics.connect_streams_errors, 1);
		fail(f, err,
		     err->code == E_TIMEOUT ? "Destination timed out" : "Destination unreachable");
		return;
	}
	histogram_observe(&connector_metrics.connect_latency, loop_now(x->loop) - f->dialled_at);
	f->stream = stream;
	byte_stream_set_events(stream, &stream_events, f);
	conn_set_keepalive(stream, f->keepalive_seconds);
	x->response.status = 200;
	x->response.is_upgrade = true;
	x->response.length = HEAD_LENGTH_UNKNOWN;
	exchange_respond(x);
	byte_stream_want_read(stream);
	pump_out(f);
}

static enum handled refuse(struct exchange *x, int status, const char *title, const char *why)
{
	return exchange_failed(x, FAILURE_CONNECTOR, status, 0, title,
			       "The connector does not connect to " BYTES_FMT ": %s.",
			       BYTES_ARG(bytes_first(x->request.authority, 100)), why);
}

/* Whoever reaches the network behind the connector is not meant to reach the connector. */
static bool is_own_api(const struct origin_private *own, const struct address *to)
{
	struct network there, here, nowhere;
	static const struct address wild4 = { .v4 = { .sin_family = AF_INET },
					      .len = sizeof(wild4.v4) };
	static const struct address wild6 = { .v6 = { .sin6_family = AF_INET6 },
					      .len = sizeof(wild6.v6) };

	if (own->own_api.len == 0 || address_port(to) != address_port(&own->own_api) ||
	    !network_of_address(to, &there) || !network_of_address(&own->own_api, &here))
		return false;
	if (network_holds(&here, &there))
		return true;
	bool is_wild = network_of_address(&wild4, &nowhere) && network_holds(&nowhere, &here);
	is_wild |= network_of_address(&wild6, &nowhere) && network_holds(&nowhere, &here);
	return is_wild && address_is_of_this_host(to);
}

enum handled origin_private_handle(struct exchange *x, void *ctx)
{
	struct origin_private *limits = ctx;
	const struct ingress_private *p = ingress_private(origin_set_ingress(x->snapshot));
	uint32_t max = limits->has_max ? limits->max : p->max_active_flows;
	struct address to;
	struct bytes host;
	uint16_t port;

	if (address_split(x->request.authority, &host, &port, NULL) < 0 || port == 0 ||
	    !address_from_ip(host, port, &to))
		return refuse(x, 400, "No address",
			      "a destination is an IP address and a port, as in 10.0.0.5:5432");
	const char *why = ingress_private_refusal(p, &to);
	if (!why && is_own_api(limits, &to))
		why = "its own API listens there";
	if (why)
		return refuse(x, 403, "Destination not allowed", why);
	if (max && limits->flows >= max) {
		refuse(x, 429, "Too many connections",
		       "it carries as many private network connections as maxActiveFlows allows");
		x->failure.is_rate_limited = true;
		return HANDLED_FAILED;
	}
	struct flow *f = mem_alloc(sizeof(*f));
	f->magic = FLOW_MAGIC;
	f->x = x;
	f->limits = limits;
	f->limits->flows++;
	/* In whole seconds, as the kernel counts them; a fraction is not "off". */
	usec seconds = (p->tcp_keepalive + USEC_PER_SEC - 1) / USEC_PER_SEC;
	f->keepalive_seconds = seconds < 32767 ? (int)seconds : 32767;
	f->dialled_at = loop_now(x->loop);
	exchange_answer_by(x, &answerer, f);
	f->attempt = conn_connect(x->loop, &to, p->connect_timeout / USEC_PER_MSEC, on_connected, f);
	return HANDLED_TAKEN;
}
