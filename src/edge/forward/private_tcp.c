#include "edge/forward/private_tcp.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/forward/dispatch.h"
#include "edge/forward/forward.h"
#include "edge/forward/rewrite.h"
#include "edge/worker.h"
#include "http/ws_server.h"

#define COMPONENT "edge/private"

#define LINK_MAGIC 0x70747463

#define DESTINATION_FIELD "Cf-Access-Jump-Destination"
#define VNET_FIELD "Adit-Virtual-Network"

struct metric metric_private_tcp = {
	.name = "adit_edge_private_connections",
	.help = "TCP connections to private networks that are open",
	.type = METRIC_GAUGE,
};
struct metric metric_private_tcp_total = {
	.name = "adit_edge_private_connections_total",
	.help = "TCP connections to private networks that were asked for",
};

/* A visitor's WebSocket, and the stream of bytes inside it as an exchange of its own, which a connector
 * answers. */
struct link {
	uint32_t magic;
	struct ws_server ws;
	bool has_ws; /* the WebSocket is still there */
	struct exchange *y;
	bool half_close;    /* agreed on: each direction ends by itself */
	bool visitor_ended; /* nothing more comes from there */
	bool far_ended;
	struct timer lingering; /* the WebSocket has closed, what it brought is on its way */
	size_t waiting;         /* so much of it, when the timer was set */
};

static struct link *link_of(struct ws_server *ws)
{
	struct link *l = CONTAINER_OF(ws, struct link, ws);

	CHECK(l, LINK_MAGIC);
	return l;
}

/* The WebSocket has gone already. */
static void link_free(struct link *l)
{
	CHECK(l, LINK_MAGIC);
	metric_add(&metric_private_tcp, -1);
	timer_stop(&l->lingering);
	exchange_release_producer(l->y);
	l->magic = 0;
	mem_free(l);
}

static void close_all(struct link *l, uint16_t code, const char *reason)
{
	if (TAKE(l->has_ws))
		ws_server_close(&l->ws, code, reason);
	link_free(l);
}

/* --- From the connector ------------------------------------------------------------------------ */

/* The last thing a caller does. */
static void send_on(struct link *l)
{
	struct body *body = &l->y->response_body;
	struct bytes run;

	while (body_peek(body, &run, 1)) {
		if (l->has_ws) {
			size_t room = ws_server_room(&l->ws);
			if (room == 0)
				return; /* on_room() follows */
			run = bytes_first(run, room);
			ws_server_send(&l->ws, WEBSOCKET_BINARY, true, run);
		}
		body_consume(body, run.len);
	}
	if (!body_is_done(body) || l->far_ended)
		return;
	l->far_ended = true;
	if (l->half_close && l->has_ws && !l->visitor_ended)
		ws_server_send(&l->ws, WEBSOCKET_BINARY, true, BYTES_NONE);
	else
		close_all(l, WEBSOCKET_CLOSE_NORMAL, NULL);
}

static void on_head(struct exchange *y)
{
	struct link *l = y->producer_ctx;
	struct exchange *x = l->ws.x;
	const struct bytes field = BYTES_LIT(WEBSOCKET_HALF_CLOSE_FIELD);

	CHECK(l, LINK_MAGIC);
	x->connector = y->connector;
	x->conn_index = y->conn_index;
	l->half_close = fields_find_text(&x->request.fields, field) != NULL;
	if (l->half_close)
		(void)fields_add(&x->response.fields, &x->arena, field, BYTES_LIT("1"));
	ws_server_accept(&l->ws, 0);
	ws_server_resume(&l->ws);
}

static void on_response_data(struct exchange *y)
{
	send_on(y->producer_ctx);
}

static void on_request_room(struct exchange *y)
{
	struct link *l = y->producer_ctx;

	/* Nobody takes what the visitor still sends. */
	if (y->answerer_is_gone && l->far_ended)
		close_all(l, WEBSOCKET_CLOSE_NORMAL, NULL);
	else if (l->has_ws)
		ws_server_resume(&l->ws);
}

static void copy_failure(struct exchange *x, const struct exchange *y)
{
	struct failure *f = &x->failure;

	*f = y->failure;
	f->title = arena_copy(&x->arena, f->title);
	f->detail = arena_copy(&x->arena, f->detail);
	f->origin = arena_copy(&x->arena, f->origin);
	f->rule = arena_copy(&x->arena, f->rule);
	f->errno_name = arena_copy(&x->arena, f->errno_name);
	x->connector = y->connector;
	x->conn_index = y->conn_index;
}

static void on_failed(struct exchange *y)
{
	struct link *l = y->producer_ctx;

	CHECK(l, LINK_MAGIC);
	if (y->has_head || !l->has_ws) {
		close_all(l, WEBSOCKET_CLOSE_INTERNAL, "the connection broke");
		return;
	}
	l->has_ws = false;
	copy_failure(l->ws.x, y);
	ws_server_refuse(&l->ws);
	link_free(l);
}

static const struct exchange_producer producer = {
	.name = "private network",
	.on_head = on_head,
	.on_response_data = on_response_data,
	.on_request_room = on_request_room,
	.on_failed = on_failed,
};

/* --- From the visitor -------------------------------------------------------------------------- */

static ssize_t on_payload(struct ws_server *ws, struct bytes run, bool is_last)
{
	struct link *l = link_of(ws);

	(void)is_last;
	if (l->visitor_ended) {
		close_all(l, WEBSOCKET_CLOSE_PROTOCOL, "data after the end");
		return -1;
	}
	/* What nobody takes is dropped, as a host does with what comes for a connection it has closed. */
	if (l->y->answerer_is_gone)
		return (ssize_t)run.len;
	return (ssize_t)body_write(&l->y->request_body, run);
}

/* An empty message, where that was agreed, is the end of what comes from there. */
static enum ws_taken on_message(struct ws_server *ws)
{
	struct link *l = link_of(ws);

	if (!l->half_close || !ws->reader.is_empty || ws->reader.opcode != WEBSOCKET_BINARY)
		return WS_TAKEN;
	l->visitor_ended = true;
	body_end(&l->y->request_body);
	if (!l->far_ended)
		return WS_TAKEN;
	close_all(l, WEBSOCKET_CLOSE_NORMAL, NULL);
	return WS_GONE;
}

static void on_room(struct ws_server *ws)
{
	send_on(link_of(ws));
}

static void on_lingered(struct timer *t)
{
	struct link *l = CONTAINER_OF(t, struct link, lingering);
	size_t waiting = bufq_len(&l->y->request_body.queue);

	CHECK(l, LINK_MAGIC);
	if (waiting == 0 || waiting == l->waiting) {
		link_free(l);
		return;
	}
	l->waiting = waiting;
	timer_set(&l->lingering, LIMIT_LINGER_MS);
}

/* The far end gets what is on its way to it; what it says meanwhile is for nobody. */
static void on_end(struct ws_server *ws, uint16_t code)
{
	struct link *l = link_of(ws);

	l->has_ws = false;
	ws_server_close(ws, code, code == WEBSOCKET_CLOSE_PROTOCOL ? "protocol error" : NULL);
	body_end(&l->y->request_body);
	if (l->far_ended || l->y->answerer_is_gone) {
		link_free(l);
		return;
	}
	l->waiting = bufq_len(&l->y->request_body.queue);
	timer_set(&l->lingering, LIMIT_LINGER_MS);
}

static void on_cancelled(struct ws_server *ws)
{
	struct link *l = link_of(ws);

	l->has_ws = false;
	link_free(l);
}

static const struct ws_server_events ws_events = {
	.on_payload = on_payload,
	.on_message = on_message,
	.on_room = on_room,
	.on_end = on_end,
	.on_cancelled = on_cancelled,
};

/* --- Opening ----------------------------------------------------------------------------------- */

/* The stream to the destination, with a request that connectors understand. */
static struct exchange *new_stream(struct link *l, struct exchange *x, struct bytes destination,
				   const char *location)
{
	struct exchange *y = exchange_new(x->loop, &producer, l);

	memcpy(y->id, x->id, sizeof(y->id));
	y->is_tls = x->is_tls;
	y->is_tcp = true;
	y->client_ip = arena_copy(&y->arena, x->client_ip);
	y->host = arena_copy(&y->arena, destination);
	y->request = (struct head){
		.method = BYTES_LIT("GET"),
		.scheme = BYTES_LIT("https"),
		.authority = y->host,
		.path = BYTES_LIT("/"),
		.length = HEAD_LENGTH_UNKNOWN,
		.is_upgrade = true,
	};
	/* For the connector's log. Three fields are far from the limit. */
	(void)fields_set(&y->request.fields, &y->arena, HEAD_CF_RAY, rewrite_ray(y, location));
	(void)fields_set(&y->request.fields, &y->arena, HEAD_CF_CONNECTING_IP, y->client_ip);
	return y;
}

static enum handled open_stream(struct exchange *x, struct worker *w, struct bytes destination,
				const struct snapshot_network *network)
{
	struct snapshot_route *route = arena_alloc(&x->arena, sizeof(*route));
	struct link *l = mem_alloc(sizeof(*l));

	route->hostname = "";
	route->tunnel = network->tunnel;
	x->route = route; /* the access log names the tunnel */
	l->magic = LINK_MAGIC;
	l->has_ws = true;
	timer_init(&l->lingering, x->loop, on_lingered);
	metric_add(&metric_private_tcp, 1);
	metric_add(&metric_private_tcp_total, 1);
	ws_server_init(&l->ws, x, &ws_events);
	l->y = new_stream(l, x, destination, w->location);
	if (!dispatch_start(w, l->y, route)) {
		forward_no_connector(l->y);
		exchange_fail(l->y);
	}
	return HANDLED_TAKEN;
}

/* --- Who may, and where to ---------------------------------------------------------------------- */

static const char *account_of(const struct exchange *x)
{
	const struct field *f = fields_find_text(&x->request.fields, BYTES_LIT("Authorization"));
	struct bytes value = f ? f->value : BYTES_NONE;

	if (!bytes_eq_nocase(bytes_first(value, 7), BYTES_LIT("Bearer ")))
		return NULL;
	value = bytes_trim(bytes_from(value, 7));
	return value.len ? snapshot_token_account(x->snapshot, value) : NULL;
}

static struct bytes field_of(const struct exchange *x, struct bytes name)
{
	const struct field *f = fields_find_text(&x->request.fields, name);

	return f ? bytes_trim(f->value) : BYTES_NONE;
}

enum handled private_tcp_handle(struct exchange *x, struct worker *w)
{
	struct bytes destination = field_of(x, BYTES_LIT(DESTINATION_FIELD)), host;
	struct bytes name = field_of(x, BYTES_LIT(VNET_FIELD));
	const char *account = account_of(x);
	struct address to;
	char text[ADDRESS_TEXT_SIZE];
	uint16_t port;

	if (!account)
		return exchange_failed(
			x, FAILURE_EDGE, 401, 0, "Not logged in",
			"Private networks are for who holds a certificate of the account: log in with "
			"\"adit tunnel login\".");
	if (!x->request.is_upgrade)
		return exchange_failed(
			x, FAILURE_VISITOR, 400, 0, "Not a website",
			"Private networks are reached through a WebSocket: adit access tcp "
			"--destination IP:PORT");
	if (address_split(destination, &host, &port, NULL) < 0 || port == 0 ||
	    !address_from_ip(host, port, &to))
		return exchange_failed(
			x, FAILURE_VISITOR, 400, 0, "No address",
			"\"%.*s\" is not an IP address and port, as in 10.0.0.5:5432. Names of a private "
			"network mean nothing to the edge.",
			BYTES_ARG(bytes_first(destination, 100)));
	address_text(&to, text);
	const struct snapshot_vnet *vnet = snapshot_vnet(x->snapshot, account, name);
	/* An account that has never looked has no virtual network and no route. */
	if (!vnet && name.len)
		return exchange_failed(x, FAILURE_EDGE, 404, 0, "Unknown virtual network",
				       "The account has no virtual network %.*s.",
				       BYTES_ARG(bytes_first(name, 100)));
	const struct snapshot_network *network =
		vnet ? snapshot_network(x->snapshot, vnet, &to) : NULL;
	if (!network)
		return exchange_failed(
			x, FAILURE_EDGE, 404, 0, "No route",
			"No tunnel leads to %s in the virtual network %s. Add a route: adit tunnel route "
			"ip add CIDR TUNNEL",
			text, vnet ? vnet->name : "default");
	log_info(COMPONENT, "connection to a private network", LOG_STR("cfRay", x->id),
		 LOG_BYTES("client", x->client_ip), LOG_STR("destination", text),
		 LOG_STR("virtualNetwork", vnet->name), LOG_STR("tunnel", network->tunnel->name),
		 LOG_STR("account", account));
	return open_stream(x, w, bytes_str(text), network);
}
