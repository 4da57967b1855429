/* Nothing frees a connection but settle(), which every event ends with: what happens before only says so in the
 * fields. */
#include "edge/ports/port_tcp.h"

#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "edge/access_log.h"
#include "edge/forward/dispatch.h"
#include "edge/forward/forward.h"
#include "edge/forward/rewrite.h"
#include "edge/listen/allowance.h"
#include "edge/listen/visitor.h"
#include "edge/ports/proxy_v2.h"
#include "edge/worker.h"
#include "http/exchange_log.h"
#include "http/websocket.h"
#include "io/conn.h"
#include "transport/transport.h"

#define COMPONENT "edge/ports"

#define CONN_MAGIC 0x706f7274

/* Of a chunk each; then others have their turn. */
#define READS_PER_TURN 32
/* Frames with less payload than this wait for more room: heads would eat it up. */
#define MIN_PAYLOAD_BYTES 1024
/* How often one looks whether a slow visitor has taken the rest. */
#define DRAIN_LOOK_MS 50

struct metric metric_port_connections = {
	.name = "adit_edge_port_connections",
	.help = "Connections to public TCP ports now",
	.type = METRIC_GAUGE,
};
struct metric metric_port_connections_total = {
	.name = "adit_edge_port_connections_total",
	.help = "Connections to public TCP ports",
};
struct metric metric_port_connections_refused = {
	.name = "adit_edge_port_connections_refused_total",
	.help = "Connections to public TCP ports over a limit",
};
struct metric metric_port_bytes_in = {
	.name = "adit_edge_port_bytes_total",
	.labels = "direction=\"in\"",
	.help = "Bytes of connections to public TCP ports, from visitors and to them",
};
struct metric metric_port_bytes_out = {
	.name = "adit_edge_port_bytes_total",
	.labels = "direction=\"out\"",
	.help = "Bytes of connections to public TCP ports, from visitors and to them",
};

/* What the exchange is for; in its arena, and there when the log line is written. */
struct errand {
	struct snapshot_route route;
	uint64_t in, out; /* bytes from the visitor, and to it */
};

struct conn {
	uint32_t magic;
	struct list node; /* in worker->port_conns */
	struct worker *worker;
	struct port *port; /* counted; NULL: TLS that is passed through */
	uint16_t number;
	struct address peer, local;
	struct allowance *allowance; /* owned */
	struct byte_stream *stream;  /* owned */
	struct exchange *y;          /* its producer */
	struct errand *errand;       /* in y's arena */
	bool has_proxy_header;
	bool is_websocket;
	bool half_close; /* WebSocket: agreed on, each direction ends by itself */

	bool is_open;       /* the connector has answered */
	bool visitor_ended; /* nothing more comes from there, and the connector is told */
	bool far_ended;     /* nothing more comes from there, and the visitor is told */
	bool is_over;       /* settle() frees it; */
	bool is_broken;     /* and resets the visitor's connection */
	bool is_draining;   /* all that is left is what the visitor has not taken yet */
	size_t backlog;

	/* WebSocket, from the connector. */
	struct websocket_reader reader;
	size_t payload_left; /* at the front of the response body */
	bool has_sent_close;

	struct timer timer; /* until it is open: the connector's answer; then: silence, and the end's end */
	usec active_at;
};

/* --- Ends --------------------------------------------------------------------------------------- */

static void conn_free(struct conn *c)
{
	struct worker *w = c->worker;

	CHECK(c, CONN_MAGIC);
	timer_stop(&c->timer);
	list_remove(&c->node);
	c->stream = c->is_broken ? conn_reset(c->stream) : byte_stream_close(c->stream);
	exchange_release_producer(c->y);
	allowance_leave(c->allowance);
	if (c->port)
		port_leave(c->port, &c->peer);
	port_unref(c->port);
	metric_add(&metric_port_connections, -1);
	c->magic = 0;
	mem_free(c);
	w->visitor_count--;
	worker_check_drained(w);
}

/* The end of every event. */
static void settle(struct conn *c)
{
	/* Both directions have ended, and the connector has all of it. */
	if (c->far_ended && c->y->answerer_is_gone && !c->is_draining) {
		c->is_draining = true;
		c->backlog = byte_stream_backlog(c->stream);
		timer_set(&c->timer, DRAIN_LOOK_MS);
	}
	if (c->is_draining && byte_stream_backlog(c->stream) == 0)
		c->is_over = true;
	if (c->is_over)
		conn_free(c);
}

static void break_off(struct conn *c)
{
	c->is_over = c->is_broken = true;
}

/* --- Visitor to service ------------------------------------------------------------------------- */

static void put_frame(struct conn *c, uint8_t *payload, size_t len)
{
	uint8_t head[WEBSOCKET_HEAD_MAX], mask[4];

	/* Nobody in between could be fooled by what is not masked, but stock connectors insist on it. */
	random_bytes(mask, sizeof(mask));
	size_t head_len = websocket_print_head(WEBSOCKET_BINARY, len, mask, head);
	websocket_mask(payload, len, mask, 0);
	body_write_all(&c->y->request_body, bytes_of(head, head_len));
	body_write_all(&c->y->request_body, bytes_of(payload, len));
}

static void put_control(struct conn *c, enum websocket_opcode opcode, struct bytes payload)
{
	uint8_t frame[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX], mask[4];

	random_bytes(mask, sizeof(mask));
	size_t len = websocket_print_control(opcode, payload, mask, frame);
	body_write_all(&c->y->request_body, bytes_of(frame, len));
}

static void put_close(struct conn *c, uint16_t code)
{
	uint8_t frame[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX], mask[4];

	if (c->has_sent_close || c->y->request_body.has_ended)
		return;
	c->has_sent_close = true;
	random_bytes(mask, sizeof(mask));
	size_t len = websocket_print_close(code, NULL, mask, frame);
	body_write_all(&c->y->request_body, bytes_of(frame, len));
	body_end(&c->y->request_body);
}

/* The visitor's own end goes on where there is a word for it. Where there is none (a stock connector) the
 * stream's end says it, which forward.c holds back until the answer has come. */
static void end_visitor(struct conn *c)
{
	if (c->visitor_ended)
		return;
	c->visitor_ended = true;
	if (c->y->request_body.has_ended)
		return;
	if (!c->is_websocket || !c->half_close)
		body_end(&c->y->request_body);
	else if (c->far_ended)
		put_close(c, WEBSOCKET_CLOSE_NORMAL);
	else
		put_frame(c, NULL, 0);
}

/* E_AGAIN when there is no room, on_request_room() follows. */
static ssize_t read_raw(struct conn *c, struct err *err)
{
	struct body *body = &c->y->request_body;
	size_t room;
	uint8_t *at = body_reserve(body, &room);

	if (!at)
		return E_AGAIN;
	ssize_t n = byte_stream_read(c->stream, at, room, err);
	body_commit(body, n > 0 ? (size_t)n : 0);
	return n;
}

static ssize_t read_framed(struct conn *c, uint8_t *scratch, struct err *err)
{
	struct body *body = &c->y->request_body;
	size_t room = body_room(body);

	if (room < WEBSOCKET_HEAD_MAX + MIN_PAYLOAD_BYTES) {
		body->wants_room = true;
		return E_AGAIN;
	}
	room -= WEBSOCKET_HEAD_MAX;
	ssize_t n = byte_stream_read(c->stream, scratch,
				     room < BUFQ_CHUNK_BYTES ? room : BUFQ_CHUNK_BYTES, err);
	if (n > 0)
		put_frame(c, scratch, (size_t)n);
	return n;
}

static void read_visitor(struct conn *c)
{
	uint8_t *scratch;
	ssize_t n = 1;

	if (!c->is_open || c->visitor_ended || c->is_over)
		return;
	/* The service has ended everything: what still comes is for nobody. */
	if (c->y->answerer_is_gone || c->y->request_body.has_ended)
		return;
	scratch = bufq_chunk_take();
	for (int i = 0; i < READS_PER_TURN && n > 0; i++) {
		struct err err = { 0 };
		n = c->is_websocket ? read_framed(c, scratch, &err) : read_raw(c, &err);
		if (n > 0) {
			c->errand->in += (uint64_t)n;
			metric_add(&metric_port_bytes_in, n);
			c->active_at = loop_now(c->worker->loop);
		}
	}
	bufq_chunk_return(scratch);
	if (n > 0)
		byte_stream_want_read(c->stream); /* the others first */
	else if (n == 0)
		end_visitor(c);
	else if (n != E_AGAIN)
		break_off(c);
}

/* --- Service to visitor ------------------------------------------------------------------------- */

static void end_far(struct conn *c)
{
	if (c->far_ended)
		return;
	c->far_ended = true;
	byte_stream_shutdown(c->stream);
	/* Without half-close the end of one is the end of both. */
	if (c->is_websocket && (!c->half_close || c->visitor_ended))
		put_close(c, WEBSOCKET_CLOSE_NORMAL);
}

/* So much of the front of the body goes to the visitor; false: it takes no more now. */
static bool write_visitor(struct conn *c, struct bytes run)
{
	size_t n = byte_stream_write(c->stream, run);

	body_consume(&c->y->response_body, n);
	c->errand->out += n;
	metric_add(&metric_port_bytes_out, (int64_t)n);
	if (n)
		c->active_at = loop_now(c->worker->loop);
	return n == run.len;
}

static void on_close_frame(struct conn *c)
{
	uint16_t code = c->reader.close_code;

	/* Whatever comes behind it. */
	c->y->response_body.wants_room = false;
	if (code == WEBSOCKET_CLOSE_NORMAL || code == WEBSOCKET_CLOSE_GOING_AWAY || code == 1005) {
		end_far(c);
		put_close(c, WEBSOCKET_CLOSE_NORMAL);
		return;
	}
	log_debug(COMPONENT, "the service broke a connection", LOG_STR("cfRay", c->y->id),
		  LOG_INT("code", code));
	break_off(c);
}

static void on_control(struct conn *c)
{
	if (c->reader.opcode == WEBSOCKET_CLOSE)
		on_close_frame(c);
	else if (c->reader.opcode == WEBSOCKET_PING && !c->y->request_body.has_ended &&
		 body_room(&c->y->request_body) > WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX)
		put_control(c, WEBSOCKET_PONG, c->reader.payload);
}

/* False: no more comes for now. */
static bool take_frame(struct conn *c)
{
	struct body *body = &c->y->response_body;
	struct bytes run = BYTES_NONE;
	bool is_done = !body_peek(body, &run, 1) && body->has_ended;
	uint8_t *at = (uint8_t *)(uintptr_t)run.ptr; /* a server masks nothing: only read */
	size_t left = run.len;
	enum websocket_event event = websocket_next(&c->reader, &at, &left);

	switch (event) {
	case WEBSOCKET_MORE:
		body_consume(body, run.len);
		/* Stock connectors end without a close frame, between two frames. */
		if (is_done && !c->far_ended &&
		    (c->reader.in_frame || c->reader.in_message || c->reader.head_len))
			break_off(c);
		else if (is_done)
			end_far(c);
		return run.len > 0;
	case WEBSOCKET_DATA:
		c->payload_left = c->reader.payload.len;
		body_consume(body, run.len - left - c->payload_left);
		return true;
	case WEBSOCKET_MESSAGE:
		body_consume(body, run.len - left);
		/* An empty message, where that was agreed, is the end of what comes from there. */
		if (c->half_close && c->reader.is_empty && c->reader.opcode == WEBSOCKET_BINARY)
			end_far(c);
		return true;
	case WEBSOCKET_CONTROL:
		body_consume(body, run.len - left);
		on_control(c);
		return true;
	case WEBSOCKET_BROKEN:
		break;
	}
	log_warn(COMPONENT, "the connector sent what is no WebSocket frame",
		 LOG_STR("cfRay", c->y->id));
	break_off(c);
	return false;
}

static void send_framed(struct conn *c)
{
	struct body *body = &c->y->response_body;
	struct bytes run;

	while (!c->is_over) {
		while (c->payload_left && body_peek(body, &run, 1)) {
			run = bytes_first(run, c->payload_left);
			if (c->far_ended) { /* behind its own end: nonsense */
				c->payload_left -= run.len;
				body_consume(body, run.len);
				continue;
			}
			uint64_t before = c->errand->out;
			bool is_whole = write_visitor(c, run);
			c->payload_left -= (size_t)(c->errand->out - before);
			if (!is_whole)
				return; /* on_writable() follows */
		}
		if (c->payload_left || !take_frame(c))
			return;
	}
}

static void send_raw(struct conn *c)
{
	struct body *body = &c->y->response_body;
	struct bytes run;

	while (body_peek(body, &run, 1))
		if (!write_visitor(c, run))
			return; /* on_writable() follows */
	if (body_is_done(body))
		end_far(c);
}

static void send_on(struct conn *c)
{
	if (!c->is_open || c->is_over)
		return;
	if (c->is_websocket)
		send_framed(c);
	else
		send_raw(c);
}

/* --- Events of the exchange --------------------------------------------------------------------- */

static struct conn *conn_of(void *ctx)
{
	struct conn *c = ctx;

	CHECK(c, CONN_MAGIC);
	return c;
}

static void put_proxy_header(struct conn *c)
{
	uint8_t header[PROXY_V2_MAX];

	if (!c->has_proxy_header)
		return;
	size_t len = proxy_v2_write(&c->peer, &c->local, false, header);
	if (c->is_websocket)
		put_frame(c, header, len);
	else
		body_write_all(&c->y->request_body, bytes_of(header, len));
}

static void on_head(struct exchange *y)
{
	struct conn *c = conn_of(y->producer_ctx);

	if (!y->response.is_upgrade) {
		exchange_failed(y, FAILURE_ORIGIN, 502, 0, "Not a service for streams",
				"The rule of " BYTES_FMT
				" answered %d instead of opening a stream of bytes.",
				BYTES_ARG(y->host), y->response.status);
		log_warn(COMPONENT,
			 c->port ? "The service of a port takes no stream: its rule should be "
				   "tcp://, ssh:// or the like"
				 : "TLS cannot be passed through: the rule has a service without "
				   "TLS, or the connector cannot do it",
			 LOG_STR("cfRay", y->id), LOG_INT("port", c->number),
			 LOG_BYTES("service", y->host), LOG_INT("status", y->response.status));
		break_off(c);
		settle(c);
		return;
	}
	c->is_open = true;
	c->half_close = fields_find_text(&y->response.fields,
					 BYTES_LIT(WEBSOCKET_HALF_CLOSE_FIELD)) != NULL;
	c->active_at = loop_now(c->worker->loop);
	timer_set(&c->timer, LIMIT_BODY_IDLE_MS);
	put_proxy_header(c);
	byte_stream_want_read(c->stream);
	send_on(c);
	settle(c);
}

static void on_response_data(struct exchange *y)
{
	struct conn *c = conn_of(y->producer_ctx);

	send_on(c);
	settle(c);
}

static void on_request_room(struct exchange *y)
{
	struct conn *c = conn_of(y->producer_ctx);

	read_visitor(c);
	settle(c);
}

static void on_failed(struct exchange *y)
{
	struct conn *c = conn_of(y->producer_ctx);
	const struct failure *f = &y->failure;

	if (!y->has_head)
		log_warn(COMPONENT,
			 c->port ? "A connection to a port reached no service"
				 : "TLS that is passed through reached no service",
			 LOG_STR("cfRay", y->id), LOG_INT("port", c->number),
			 LOG_BYTES("service", y->host), LOG_STR("hop", exchange_hop_name(f->hop)),
			 LOG_BYTES("error", f->detail));
	break_off(c);
	settle(c);
}

static const struct exchange_producer producer = {
	.name = "port",
	.on_head = on_head,
	.on_response_data = on_response_data,
	.on_request_room = on_request_room,
	.on_failed = on_failed,
};

/* --- Events of the visitor's connection --------------------------------------------------------- */

static void on_readable(void *ctx)
{
	struct conn *c = conn_of(ctx);

	read_visitor(c);
	settle(c);
}

static void on_writable(void *ctx)
{
	struct conn *c = conn_of(ctx);

	send_on(c);
	settle(c);
}

static void on_error(void *ctx, const struct err *err)
{
	struct conn *c = conn_of(ctx);

	(void)err;
	break_off(c);
	settle(c);
}

static const struct byte_stream_events stream_events = {
	.on_readable = on_readable,
	.on_writable = on_writable,
	.on_error = on_error,
};

static void on_timer(struct timer *t)
{
	struct conn *c = CONTAINER_OF(t, struct conn, timer);
	bool is_half = c->visitor_ended || c->far_ended;
	int64_t limit_ms = is_half ? LIMIT_BODY_IDLE_MS : LIMIT_RAW_IDLE_MS;

	CHECK(c, CONN_MAGIC);
	if (!c->is_open) {
		exchange_failed(c->y, FAILURE_CONNECTOR, 504, 0, "No answer in time",
				"The connector has not answered for %d s.",
				LIMIT_PORT_ANSWER_MS / 1000);
		log_warn(COMPONENT,
			 c->port ? "A connection to a port got no answer in time"
				 : "TLS that is passed through got no answer in time",
			 LOG_STR("cfRay", c->y->id), LOG_INT("port", c->number),
			 LOG_BYTES("service", c->y->host));
		break_off(c);
	} else if (c->is_draining && byte_stream_backlog(c->stream) != c->backlog) {
		c->backlog = byte_stream_backlog(c->stream);
		c->active_at = loop_now(c->worker->loop);
		timer_set(&c->timer, DRAIN_LOOK_MS);
	} else if (loop_now(c->worker->loop) - c->active_at >= limit_ms * USEC_PER_MSEC) {
		log_debug(COMPONENT, "idle for too long", LOG_STR("cfRay", c->y->id));
		break_off(c);
	} else {
		timer_set(&c->timer, c->is_draining ? DRAIN_LOOK_MS : LIMIT_BODY_IDLE_MS);
	}
	settle(c);
}

/* --- Opening ------------------------------------------------------------------------------------ */

/* The GET that connectors need means nothing to people. */
static void on_end(struct exchange *y, void *ctx)
{
	const struct errand *errand = CONTAINER_OF(y->route, struct errand, route);
	struct exchange_outcome o = exchange_outcome_of(y);

	(void)ctx;
	y->request.method = BYTES_LIT("TCP");
	o.sent = errand->out;
	o.received = errand->in;
	access_log_write(y, &o);
}

static void add_websocket_fields(struct exchange *y)
{
	struct fields *f = &y->request.fields;
	uint8_t *key = arena_alloc_bytes(&y->arena, WEBSOCKET_KEY_SIZE);

	websocket_key((char *)key);
	/* A handful of fields is far from the limit. */
	(void)fields_add(f, &y->arena, BYTES_LIT("sec-websocket-key"),
			 bytes_of(key, WEBSOCKET_KEY_SIZE));
	(void)fields_add(f, &y->arena, BYTES_LIT("sec-websocket-version"), BYTES_LIT("13"));
	(void)fields_add(f, &y->arena, BYTES_LIT(WEBSOCKET_HALF_CLOSE_FIELD), BYTES_LIT("1"));
}

static void drop_snapshot(void *snapshot)
{
	snapshot_unref(snapshot);
}

static struct exchange *new_exchange(struct conn *c, const struct snapshot_port *to,
				     const struct snapshot_balance *balance)
{
	struct worker *w = c->worker;
	struct exchange *y = exchange_new(w->loop, &producer, c);
	struct errand *errand = arena_alloc(&y->arena, sizeof(*errand));
	struct snapshot_route *route = &errand->route;
	char ip[ADDRESS_TEXT_SIZE];

	visitor_request_id(y->id);
	y->snapshot = snapshot_ref(w->snapshot);
	y->drop_snapshot = drop_snapshot;
	y->on_end = on_end;
	y->protocol = "tcp";
	y->client_ip = arena_copy(&y->arena, bytes_str(address_ip_text(&c->peer, ip)));
	y->host = arena_copy(&y->arena, bytes_str(to->target.text));
	y->asked_path = arena_printf(&y->arena, ":%u", to->port);
	y->is_tcp = to->target.is_address;
	y->request = (struct head){
		.method = BYTES_LIT("GET"),
		.scheme = BYTES_LIT("https"),
		.authority = y->host,
		.path = BYTES_LIT("/"),
		.length = HEAD_LENGTH_UNKNOWN,
		.is_upgrade = true,
	};
	(void)fields_set(&y->request.fields, &y->arena, HEAD_CF_RAY, rewrite_ray(y, w->location));
	(void)fields_set(&y->request.fields, &y->arena, HEAD_CF_CONNECTING_IP, y->client_ip);
	if (!y->is_tcp)
		add_websocket_fields(y);
	(void)fields_add(&y->request.fields, &y->arena, BYTES_LIT(FEATURE_PORTS_FIELD),
			 !c->port               ? BYTES_LIT("tls")
			 : to->has_proxy_header ? BYTES_LIT("tcp, proxy-v2")
						: BYTES_LIT("tcp"));
	route->hostname = "";
	route->tunnel = to->tunnel;
	route->balance = *balance;
	/* A connection carries no cookie: the visitor's address is what is left to recognise it by. */
	if (route->balance.policy == BALANCE_COOKIE)
		route->balance.policy = BALANCE_CLIENT_HASH;
	y->route = route;
	c->errand = errand;
	return y;
}

static bool may_enter(struct worker *w, struct port *port, const struct address *peer,
		      struct allowance **ret)
{
	char ip[ADDRESS_TEXT_SIZE];

	if (w->visitor_count >= LIMIT_VISITORS_PER_WORKER ||
	    allowance_enter(w->limits.allowances, peer, ret) != ALLOWANCE_GIVEN) {
		metric_add(&metric_port_connections_refused, 1);
		return false;
	}
	if (port_enter(port, peer) == PORT_ENTERED)
		return true;
	*ret = allowance_leave(*ret);
	metric_add(&metric_port_connections_refused, 1);
	log_debug(COMPONENT, "connection refused: too many", LOG_INT("port", port->number),
		  LOG_STR("client", address_ip_text(peer, ip)));
	return false;
}

static struct conn *conn_new(struct worker *w, struct port *port, struct byte_stream *stream,
			     struct allowance *allowance)
{
	struct conn *c = mem_alloc(sizeof(*c));

	c->magic = CONN_MAGIC;
	c->worker = w;
	c->port = port ? port_ref(port) : NULL;
	c->peer = *stream->peer;
	c->allowance = allowance;
	c->stream = stream;
	conn_local_address(stream, &c->local);
	list_append(&w->port_conns, &c->node);
	w->visitor_count++;
	metric_add(&metric_port_connections, 1);
	metric_add(&metric_port_connections_total, 1);
	websocket_reader_init(&c->reader, WEBSOCKET_CLIENT);
	timer_init(&c->timer, w->loop, on_timer);
	timer_set(&c->timer, LIMIT_PORT_ANSWER_MS);
	byte_stream_set_events(stream, &stream_events, c);
	return c;
}

static void start(struct conn *c, const struct snapshot_port *to,
		  const struct snapshot_balance *balance)
{
	c->number = to->port;
	c->has_proxy_header = to->has_proxy_header;
	c->is_websocket = !to->target.is_address;
	c->y = new_exchange(c, to, balance);
	if (!dispatch_start(c->worker, c->y, c->y->route)) {
		forward_no_connector(c->y);
		exchange_fail(c->y);
	}
}

void port_tcp_pass(struct worker *w, struct byte_stream *stream, struct allowance *allowance,
		   const struct snapshot_route *route, struct bytes hostname)
{
	struct conn *c = conn_new(w, NULL, stream, allowance);
	struct snapshot_port to = {
		.protocol = PORT_TCP,
		.port = address_port(&c->local),
		.tunnel = route->tunnel,
	};

	BUG_IF(hostname.len >= sizeof(to.target.text));
	memcpy(to.target.text, hostname.ptr, hostname.len);
	start(c, &to, &route->balance);
}

void port_tcp_accept(struct worker *w, struct port *port, int fd, const struct address *peer)
{
	const struct snapshot_port *to = snapshot_port(w->snapshot, PORT_TCP, port->number);

	struct allowance *allowance;

	/* Between the end of the route and that of the listener. */
	if (!to || !may_enter(w, port, peer, &allowance)) {
		close(fd); /* allowed: a socket that never reached a loop */
		return;
	}
	struct byte_stream *stream = conn_adopt(w->loop, fd, peer);
	start(conn_new(w, port, stream, allowance), to, &to->tunnel->balance);
}

void port_tcp_close_all(struct worker *w)
{
	LIST_FOR_EACH(node, &w->port_conns) {
		struct conn *c = LIST_ENTRY(node, struct conn, node);
		break_off(c);
		conn_free(c);
	}
}
