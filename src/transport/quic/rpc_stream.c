/* Short calls on streams of their own (PROTOCOL.md §4.6): a signature, then Cap'n Proto RPC, normally one call. The
 * edge registers and unregisters UDP sessions of datagram version 2 and may push a configuration; the connector
 * unregisters sessions. Either side of either call is here. */
#include "base/limits.h"
#include "base/mem.h"
#include "transport/quic/quic_udp.h"
#include "wire/rpc_session.h"

/* What a served capability is called. */
#define OUR_CAP 0
/* The caller's questions. */
#define ASK_BOOTSTRAP 0
#define ASK_CALL 1
/* What one stream may say: a call takes six messages. */
#define MAX_MESSAGES 32
/* All we write at once: calls and answers of a few hundred bytes. */
#define OUTPUT_BYTES 8192

struct quic_rpc {
	struct quic_tunnel_stream *ts;
	bool is_caller, is_registration;
	struct buf in;
	unsigned messages;
	struct timer deadline;
	bool has_cap; /* caller */
	uint32_t cap;
	bool has_bootstrap; /* served */
	uint32_t bootstrap;
	bool is_waiting; /* served: ts->flow has not been answered yet */
	bool has_ended;  /* our side */
};

/* --- Output ---------------------------------------------------------------------------------- */

static void send_out(struct quic_rpc *rpc, const struct buf *out, int rc, bool fin)
{
	/* A new stream's queue has room for more than one ever says. */
	if (rc < 0 || quic_stream_write(rpc->ts->q, buf_bytes(out), fin) < out->len)
		quic_tunnel_stream_reset(rpc->ts, REASON_FAILED);
	rpc->has_ended |= fin;
}

static void end(struct quic_rpc *rpc)
{
	if (rpc->has_ended || rpc->ts->is_reset)
		return;
	rpc->has_ended = true;
	(void)quic_stream_write(rpc->ts->q, BYTES_NONE, true);
}

static void on_deadline(struct timer *timer)
{
	struct quic_rpc *rpc = CONTAINER_OF(timer, struct quic_rpc, deadline);

	quic_tunnel_stream_reset(rpc->ts, REASON_TIMEOUT);
}

static struct quic_rpc *rpc_new(struct quic_tunnel_stream *ts, bool is_caller)
{
	struct quic_rpc *rpc = mem_alloc(sizeof(*rpc));

	rpc->ts = ts;
	rpc->is_caller = is_caller;
	buf_init(&rpc->in, LIMIT_RPC_UNREGISTERED_BYTES);
	timer_init(&rpc->deadline, ts->base.session->loop, on_deadline);
	timer_set(&rpc->deadline, LIMIT_QUIC_RPC_MS);
	ts->rpc = rpc;
	ts->has_head = true;
	return rpc;
}

void quic_rpc_closed(struct quic_tunnel_stream *ts)
{
	struct quic_rpc *rpc = ts->rpc;
	struct quic_flow *f = ts->flow;

	timer_stop(&rpc->deadline);
	buf_done(&rpc->in);
	ts->rpc = mem_free(rpc);
	/* Nobody answered, or nobody waits for the answer. */
	if (f)
		quic_flow_ended(f,
				ts->is_reset && ts->reset_reason == REASON_TIMEOUT ? REASON_TIMEOUT
				: quic_conn_is_over(f->tunnel->conn)               ? REASON_LOST
				: f->base.session->side == SESSION_CONNECTOR       ? REASON_DONE
										   : REASON_FAILED,
				BYTES_LIT("the registration broke off"));
}

/* --- Calling --------------------------------------------------------------------------------- */

/* Bootstrap, and the call pipelined on its answer. */
static const struct rpc_target bootstrapped = { .kind = RPC_TO_ANSWER, .id = ASK_BOOTSTRAP };

static int begin_call(struct buf *out)
{
	int rc = connect_put_rpc_signature(out);

	return rc == 0 ? rpc_put_bootstrap(out, ASK_BOOTSTRAP) : rc;
}

static struct quic_rpc *call(struct quic_tunnel *t, struct buf *out, int rc)
{
	struct quic_stream *q = rc == 0 ? quic_open(t->conn, NULL) : NULL;

	if (!q)
		return NULL;
	struct quic_rpc *rpc = rpc_new(quic_tunnel_stream_new(t, STREAM_HTTP, q), true);
	send_out(rpc, out, rc, false);
	return rpc;
}

bool quic_rpc_register(struct quic_tunnel *t, struct quic_flow *f)
{
	bool is_v4 = f->ip.any.sa_family == AF_INET;
	const struct rpc_udp_session session = {
		.session = uuid_bytes(&f->id),
		.address =
			is_v4 ? bytes_of(&f->ip.v4.sin_addr, 4) : bytes_of(&f->ip.v6.sin6_addr, 16),
		.port = address_port(&f->ip),
		.idle_ns = (f->idle_ms + LIMIT_UDP_IDLE_SLACK_MS) * 1000000,
	};
	struct buf out;

	buf_init(&out, OUTPUT_BYTES);
	int rc = begin_call(&out);
	if (rc == 0)
		rc = rpc_put_register_udp(&out, ASK_CALL, &bootstrapped, &session);
	struct quic_rpc *rpc = call(t, &out, rc);
	buf_done(&out);
	if (!rpc)
		return false;
	rpc->is_registration = true;
	rpc->ts->flow = f;
	f->stream = rpc->ts;
	return true;
}

void quic_rpc_unregister(struct quic_tunnel *t, const struct uuid *session, struct bytes message)
{
	struct buf out;

	buf_init(&out, OUTPUT_BYTES);
	int rc = begin_call(&out);
	if (rc == 0)
		rc = rpc_put_unregister_udp(&out, ASK_CALL, &bootstrapped, uuid_bytes(session),
					    message);
	/* When there is no stream to be had the other side finds out by idling. */
	(void)call(t, &out, rc);
	buf_done(&out);
}

/* The end of a call, as stock peers end it. */
static void say_goodbye(struct quic_rpc *rpc, bool is_exception)
{
	struct buf out;

	buf_init(&out, OUTPUT_BYTES);
	int rc = rpc_put_finish(&out, ASK_BOOTSTRAP, false);
	if (rc == 0)
		rc = rpc_put_finish(&out, ASK_CALL, is_exception);
	if (rc == 0 && rpc->has_cap)
		rc = rpc_put_release(&out, rpc->cap, 1);
	if (rc == 0)
		rc = rpc_put_abort(&out, BYTES_LIT("rpc: shutdown"));
	send_out(rpc, &out, rc, true);
	buf_done(&out);
}

static void on_result(struct quic_rpc *rpc, const struct rpc_return *r)
{
	struct quic_flow *f = rpc->ts->flow;
	struct bytes error = BYTES_LIT("no answer to the registration"), spans;
	struct err err;

	say_goodbye(rpc, r->kind == RPC_EXCEPTION);
	if (!f)
		return; /* an unregistration: whatever it says, the session is over */
	f->stream = NULL;
	rpc->ts->flow = NULL;
	if (r->kind == RPC_EXCEPTION)
		error = r->exception.reason.len ? r->exception.reason : error;
	else if (r->kind == RPC_RESULTS && rpc_get_registered_udp(r, &error, &spans, &err) < 0)
		error = BYTES_LIT("the answer makes no sense");
	quic_udp_registered(f, error);
}

static void on_caller_message(struct quic_rpc *rpc, const struct rpc_message *m)
{
	if (m->kind == RPC_ABORT) {
		quic_tunnel_stream_reset(rpc->ts, REASON_FAILED);
		return;
	}
	if (m->kind != RPC_RETURN || rpc->has_ended)
		return;
	if (m->ret.answer == ASK_CALL) {
		on_result(rpc, &m->ret);
	} else if (m->ret.answer == ASK_BOOTSTRAP && m->ret.kind == RPC_RESULTS &&
		   m->ret.is_capability) {
		rpc->has_cap = true;
		rpc->cap = m->ret.cap_id;
	} else {
		quic_tunnel_stream_reset(rpc->ts, REASON_FAILED);
	}
}

/* --- Serving --------------------------------------------------------------------------------- */

void quic_rpc_serve(struct quic_tunnel_stream *ts)
{
	rpc_new(ts, false);
}

void quic_rpc_answer(struct quic_tunnel_stream *ts, uint32_t question, struct bytes error)
{
	struct quic_rpc *rpc = ts->rpc;
	struct buf out;

	if (!rpc || ts->is_reset)
		return;
	rpc->is_waiting = false;
	timer_set(&rpc->deadline, LIMIT_QUIC_RPC_MS);
	buf_init(&out, OUTPUT_BYTES);
	send_out(rpc, &out, rpc_put_registered_udp(&out, question, error, BYTES_NONE), false);
	buf_done(&out);
}

static void refuse(struct quic_rpc *rpc, uint32_t question, enum rpc_exception_type type,
		   const char *why)
{
	struct buf out;

	buf_init(&out, OUTPUT_BYTES);
	send_out(rpc, &out, rpc_put_return_exception(&out, question, type, bytes_str(why)), false);
	buf_done(&out);
}

static void on_register_call(struct quic_rpc *rpc, const struct rpc_call *c)
{
	struct rpc_udp_session session;
	struct err err;

	if (rpc_get_register_udp(c, &session, &err) < 0) {
		refuse(rpc, c->question, RPC_FAILED, err.text);
		return;
	}
	/* The answer comes when the service's name is known: its own deadlines hold until then. */
	rpc->is_waiting = true;
	timer_stop(&rpc->deadline);
	quic_udp_on_call(rpc->ts, c->question, &session);
}

static void on_unregister_call(struct quic_rpc *rpc, const struct rpc_call *c)
{
	struct quic_tunnel *t = quic_tunnel_of(rpc->ts->base.session);
	struct bytes session, message;
	struct err err;
	struct buf out;

	if (rpc_get_unregister_udp(c, &session, &message, &err) < 0) {
		refuse(rpc, c->question, RPC_FAILED, err.text);
		return;
	}
	if (quic_udp_version(t) == 3) {
		refuse(rpc, c->question, RPC_FAILED,
		       "datagram v3 does not support UnregisterUdpSession RPC");
		return;
	}
	struct quic_flow *f = quic_flow_find(t, session);
	buf_init(&out, OUTPUT_BYTES);
	send_out(rpc, &out, rpc_put_return_empty(&out, c->question), false);
	buf_done(&out);
	if (f && f->way == UDP_BY_RPC)
		quic_flow_ended(f, REASON_DONE, bytes_first(message, 256));
}

/* A connector's rules are its own. */
static void on_configuration_call(struct quic_rpc *rpc, const struct rpc_call *c)
{
	struct buf out;

	buf_init(&out, OUTPUT_BYTES);
	send_out(rpc, &out,
		 rpc_put_configured(
			 &out, c->question, -1,
			 BYTES_LIT("this connector takes its configuration from its own file only")),
		 false);
	buf_done(&out);
}

static void on_call(struct quic_rpc *rpc, const struct rpc_call *c)
{
	bool is_connector = rpc->ts->base.session->side == SESSION_CONNECTOR;
	const struct rpc_target *to = &c->target;
	bool is_ours =
		to->kind == RPC_TO_CAPABILITY
			? to->id == OUR_CAP
			: to->kind == RPC_TO_ANSWER && to->id == rpc->bootstrap && !to->has_path;

	if (!rpc->has_bootstrap || !is_ours || !c->to_caller)
		refuse(rpc, c->question, RPC_FAILED, "rpc: target not found");
	else if (is_connector && c->interface == RPC_SESSION_INTERFACE &&
		 c->method == RPC_REGISTER_UDP_SESSION)
		on_register_call(rpc, c);
	else if (c->interface == RPC_SESSION_INTERFACE && c->method == RPC_UNREGISTER_UDP_SESSION)
		on_unregister_call(rpc, c);
	else if (is_connector && c->interface == RPC_CONFIGURATION_INTERFACE &&
		 c->method == RPC_UPDATE_CONFIGURATION)
		on_configuration_call(rpc, c);
	else
		refuse(rpc, c->question, RPC_NOT_IMPLEMENTED, "method not implemented");
}

static void on_served_message(struct quic_rpc *rpc, const struct rpc_message *m)
{
	struct buf out;

	switch (m->kind) {
	case RPC_BOOTSTRAP:
		rpc->has_bootstrap = true;
		rpc->bootstrap = m->bootstrap;
		buf_init(&out, OUTPUT_BYTES);
		send_out(rpc, &out, rpc_put_return_capability(&out, m->bootstrap, OUR_CAP), false);
		buf_done(&out);
		break;
	case RPC_CALL:
		on_call(rpc, &m->call);
		break;
	case RPC_ABORT:
		end(rpc);
		break;
	default:
		break; /* Finish and Release: nothing here outlives its answer */
	}
}

/* --- Input ----------------------------------------------------------------------------------- */

static bool on_message(struct quic_rpc *rpc, struct bytes frame)
{
	struct rpc_message m;
	struct err err;

	if (rpc->messages++ == MAX_MESSAGES || rpc_decode(frame, &m, &err) < 0)
		return false;
	if (rpc->is_caller)
		on_caller_message(rpc, &m);
	else if (!rpc->has_ended)
		on_served_message(rpc, &m);
	return true;
}

void quic_rpc_data(struct quic_tunnel_stream *ts, struct bytes data, bool fin)
{
	struct quic_rpc *rpc = ts->rpc;
	struct err err;
	size_t size, at = 0;

	if (ts->is_reset)
		return;
	if (buf_append(&rpc->in, data) < 0) {
		quic_tunnel_stream_reset(ts, REASON_FLOOD);
		return;
	}
	for (;;) {
		struct bytes rest = bytes_from(buf_bytes(&rpc->in), at);
		int rc = capnp_frame_size(rest, LIMIT_RPC_UNREGISTERED_BYTES, &size, &err);
		if (rc == E_AGAIN || (rc == 0 && size > rest.len))
			break;
		if (rc < 0 || !on_message(rpc, bytes_first(rest, size))) {
			quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
			return;
		}
		if (ts->is_reset)
			return;
		at += size;
	}
	buf_drop(&rpc->in, at);
	if (!fin)
		return;
	if (rpc->is_caller && !rpc->has_ended)
		quic_tunnel_stream_reset(ts, REASON_FAILED);
	else if (rpc->is_waiting)
		quic_tunnel_stream_reset(ts, REASON_CANCELLED); /* it has given up */
	else
		end(rpc);
}
