/* Nothing is sent to an address that has not sent: replies go where the client's datagrams came from, and from the
 * address of ours that they went to. */
#include "edge/ports/port_udp.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "edge/access_log.h"
#include "edge/listen/visitor.h"
#include "edge/ports/proxy_v2.h"
#include "edge/ports/udp_carry.h"
#include "edge/tunnels/registry.h"
#include "edge/worker.h"
#include "http/exchange_log.h"
#include "io/udp.h"

#define COMPONENT "edge/ports"

/* Between two looks at who has been silent. */
#define SWEEP_MS 1000
/* The same trouble of a port is not logged more often. */
#define LOG_AGAIN_USEC (60 * USEC_PER_SEC)
/* What a tunnel can carry is far smaller: nothing of more than one Ethernet frame is taken. */
#define MAX_DATAGRAM 2048

struct metric metric_port_flows = {
	.name = "adit_edge_port_flows",
	.help = "Flows of public UDP ports now",
	.type = METRIC_GAUGE,
};
struct metric metric_port_flows_total = {
	.name = "adit_edge_port_flows_total",
	.help = "Flows of public UDP ports",
};
struct metric metric_port_datagrams_in = {
	.name = "adit_edge_port_datagrams_total",
	.labels = "direction=\"in\"",
	.help = "Datagrams of public UDP ports that were passed on, from visitors and to them",
};
struct metric metric_port_datagrams_out = {
	.name = "adit_edge_port_datagrams_total",
	.labels = "direction=\"out\"",
	.help = "Datagrams of public UDP ports that were passed on, from visitors and to them",
};

#define DROPPED(reason_)                                                              \
	{                                                                             \
		.name = "adit_edge_port_datagrams_dropped_total",                     \
		.labels = "reason=\"" reason_ "\"",                                   \
		.help = "Datagrams of public UDP ports that were dropped, by reason", \
	}
struct metric metric_port_dropped[PORT_DROP_COUNT] = {
	[PORT_DROP_NO_ROUTE] = DROPPED("no_route"),
	[PORT_DROP_NO_TUNNEL] = DROPPED("no_tunnel"),
	[PORT_DROP_NO_QUIC] = DROPPED("no_quic"),
	[PORT_DROP_LIMIT] = DROPPED("limit"),
	[PORT_DROP_REFUSED] = DROPPED("refused"),
	[PORT_DROP_TOO_LARGE] = DROPPED("too_large"),
	[PORT_DROP_TUNNEL_FULL] = DROPPED("tunnel_full"),
	[PORT_DROP_SOCKET_FULL] = DROPPED("socket_full"),
};

struct port_udp {
	struct worker *worker;
	struct port *port; /* borrowed from who owns this */
	struct udp_socket *socket;
	struct map *clients; /* client_key() -> struct client */
	struct list by_age;  /* the one that has been silent longest comes first */
	struct timer sweep, leave;
	usec closed_until; /* nobody is there: not asked again before */
	enum port_drop closed_for;
	usec logged_at;
};

struct client;

/* What a client's datagrams go by. */
struct way {
	struct client *client;
	struct udp_carry *carry; /* owned; NULL: there is none */
};

struct client {
	struct list node; /* in by_age */
	struct port_udp *udp;
	struct address address, ours; /* where it sends from, and to */
	/* Without a carry the next datagram opens one. The other way is one whose connector leaves: only
	 * replies come. */
	struct way ways[2], *way;
	struct registry_try tries[REGISTRY_TRIES];
	size_t try_count;
	bool has_answer; /* from the last one tried */
	usec active_at, refused_until;
	/* For the log. */
	char id[EXCHANGE_ID_SIZE];
	struct snapshot *snapshot; /* counted: of its beginning */
	const struct snapshot_port *to;
	struct uuid connector;
	usec started_at;
	uint64_t in, out;
};

static void drop(enum port_drop why)
{
	metric_add(&metric_port_dropped[why], 1);
}

/* --- Clients ------------------------------------------------------------------------------------ */

#define KEY_BYTES 18

static struct bytes client_key(const struct address *a, uint8_t key[KEY_BYTES])
{
	uint16_t port = address_port(a);
	size_t len = 0;

	if (a->any.sa_family == AF_INET6) {
		memcpy(key, a->v6.sin6_addr.s6_addr, 16);
		len = 16;
	} else {
		memcpy(key, &a->v4.sin_addr, 4);
		len = 4;
	}
	key[len] = (uint8_t)(port >> 8);
	key[len + 1] = (uint8_t)port;
	return bytes_of(key, len + 2);
}

static void log_flow(const struct client *c)
{
	char ip[ADDRESS_TEXT_SIZE], path[16];
	struct snapshot_route route = { .hostname = "", .tunnel = c->to->tunnel };
	struct exchange x = {
		.client_ip = bytes_str(address_ip_text(&c->address, ip)),
		.host = bytes_str(c->to->target.text),
		.protocol = "udp",
		.route = &route,
		.connector = c->connector,
		.conn_index = -1,
	};
	struct exchange_outcome o = {
		.status = c->in || c->out ? 200 : 502,
		.sent = c->out,
		.received = c->in,
		.first_byte = -1,
		.total = clock_now() - c->started_at,
	};

	(void)snprintf(path, sizeof(path), ":%u", c->to->port);
	memcpy(x.id, c->id, sizeof(x.id));
	x.request.method = BYTES_LIT("UDP");
	x.asked_path = bytes_str(path);
	access_log_write(&x, &o);
}

static void client_free(struct client *c)
{
	struct port_udp *u = c->udp;
	uint8_t key[KEY_BYTES];

	udp_carry_close(c->ways[0].carry);
	udp_carry_close(c->ways[1].carry);
	map_take(u->clients, client_key(&c->address, key));
	list_remove(&c->node);
	port_leave(u->port, &c->address);
	metric_add(&metric_port_flows, -1);
	log_flow(c);
	snapshot_unref(c->snapshot);
	mem_free(c);
}

static void touch(struct client *c)
{
	c->active_at = loop_now(c->udp->worker->loop);
	list_remove(&c->node);
	list_append(&c->udp->by_age, &c->node);
}

static void on_sweep(struct timer *t)
{
	struct port_udp *u = CONTAINER_OF(t, struct port_udp, sweep);
	usec now = loop_now(u->worker->loop);

	while (!list_is_empty(&u->by_age)) {
		struct client *c = LIST_ENTRY(u->by_age.next, struct client, node);
		if (now - c->active_at < LIMIT_PORT_FLOW_IDLE_MS * USEC_PER_MSEC)
			break;
		client_free(c);
	}
	if (!list_is_empty(&u->by_age))
		timer_set(&u->sweep, SWEEP_MS);
}

/* Somebody makes room for a newcomer: the oldest of its address, or of all. False: nobody can. */
static bool make_room(struct port_udp *u, const struct address *newcomer, enum port_entry why)
{
	size_t slot = port_slot(u->port, newcomer);
	int looked = 0;

	LIST_FOR_EACH(node, &u->by_age) {
		struct client *c = LIST_ENTRY(node, struct client, node);
		if (looked++ == LIMIT_PORT_FLOW_SEARCH)
			break;
		if (why == PORT_FULL || port_slot(u->port, &c->address) == slot) {
			client_free(c);
			return true;
		}
	}
	return false;
}

static struct client *client_new(struct port_udp *u, const struct snapshot_port *to,
				 const struct udp_packet *p)
{
	struct worker *w = u->worker;
	enum port_entry entry = port_enter(u->port, &p->from);
	uint8_t key[KEY_BYTES];

	if (entry != PORT_ENTERED && make_room(u, &p->from, entry))
		entry = port_enter(u->port, &p->from);
	if (entry != PORT_ENTERED) {
		drop(PORT_DROP_LIMIT);
		return NULL;
	}
	struct client *c = mem_alloc(sizeof(*c));
	c->udp = u;
	c->ways[0].client = c->ways[1].client = c;
	c->way = &c->ways[0];
	c->address = p->from;
	c->ours = p->to;
	c->snapshot = snapshot_ref(w->snapshot);
	c->to = to;
	c->started_at = clock_now();
	visitor_request_id(c->id);
	list_append(&u->by_age, &c->node);
	map_put(u->clients, client_key(&c->address, key), c);
	metric_add(&metric_port_flows, 1);
	metric_add(&metric_port_flows_total, 1);
	if (!timer_is_set(&u->sweep))
		timer_set(&u->sweep, SWEEP_MS);
	return c;
}

/* --- From the tunnel ---------------------------------------------------------------------------- */

static void on_datagram(void *ctx, struct bytes payload)
{
	struct way *way = ctx;
	struct client *c = way->client;
	const struct address *from = c->ours.len ? &c->ours : NULL;
	struct err err;

	touch(c);
	c->has_answer = true;
	ssize_t sent = payload.len ? udp_send(c->udp->socket, from, &c->address, 0, payload,
					      payload.len, &err)
				   : udp_send_empty(c->udp->socket, from, &c->address, &err);
	if (sent < (ssize_t)payload.len) {
		drop(PORT_DROP_SOCKET_FULL);
		return;
	}
	c->out += payload.len;
	metric_add(&metric_port_datagrams_out, 1);
}

static void close_other_way(struct client *c)
{
	struct way *other = c->way == &c->ways[0] ? &c->ways[1] : &c->ways[0];

	other->carry = udp_carry_close(other->carry);
}

/* What was on its way when connectors began to leave has come; they wait for their flows to end. */
static void on_leave(struct timer *t)
{
	struct port_udp *u = CONTAINER_OF(t, struct port_udp, leave);

	LIST_FOR_EACH(node, &u->by_age)
		close_other_way(LIST_ENTRY(node, struct client, node));
}

static void on_draining(void *ctx)
{
	struct way *way = ctx;
	struct client *c = way->client;

	if (way != c->way)
		return;
	c->way = way == &c->ways[0] ? &c->ways[1] : &c->ways[0];
	c->way->carry = udp_carry_close(c->way->carry);
	c->try_count = 0;
	if (!timer_is_set(&c->udp->leave))
		timer_set(&c->udp->leave, LIMIT_PORT_FLOW_LEAVE_MS);
}

static void log_trouble(struct port_udp *u, const char *what, struct bytes text)
{
	usec now = loop_now(u->worker->loop);

	if (u->logged_at && now - u->logged_at < LOG_AGAIN_USEC)
		return;
	u->logged_at = now;
	log_warn(COMPONENT, what, LOG_INT("port", u->port->number), LOG_STR("protocol", "udp"),
		 LOG_BYTES("reason", text));
}

static void on_closed(void *ctx, enum reason why, struct bytes text)
{
	struct way *way = ctx;
	struct client *c = way->client;
	bool is_bad = why == REASON_REFUSED || why == REASON_FLOOD || why == REASON_FAILED;

	way->carry = NULL;
	if (way != c->way)
		return;
	if (!is_bad || c->has_answer || c->try_count == 0) {
		c->try_count = 0;
		return;
	}
	log_trouble(c->udp, "A flow of a port reached no service", text);
	/* The client's next datagram goes to another replica, when there is one. */
	c->tries[c->try_count - 1].is_final = true;
}

static const struct udp_carry_events carry_events = {
	.on_datagram = on_datagram,
	.on_draining = on_draining,
	.on_closed = on_closed,
};

/* --- To the tunnel ------------------------------------------------------------------------------ */

static void close_for(struct port_udp *u, enum port_drop why)
{
	bool has_quic = why != PORT_DROP_NO_QUIC;

	u->closed_for = why;
	u->closed_until = loop_now(u->worker->loop) + LIMIT_PORT_CLOSED_MS * USEC_PER_MSEC;
	atomic_store_explicit(&u->port->trouble, has_quic ? PORT_NO_TUNNEL : PORT_NO_QUIC,
			      memory_order_relaxed);
	log_trouble(
		u,
		has_quic ? "Datagrams of a port are dropped: its tunnel has no connector"
			 : "Datagrams of a port are dropped: its tunnel has no connection over QUIC, "
			   "and HTTP/2 carries no UDP",
		BYTES_NONE);
}

/* A carry to some replica. False: nobody takes it. */
static bool open_carry(struct client *c)
{
	struct port_udp *u = c->udp;
	struct worker *w = u->worker;
	const struct snapshot_port *to = c->to;
	struct registry_choice choice;
	char ip[ADDRESS_TEXT_SIZE];
	struct registry_ask ask = {
		.tunnel = &to->tunnel->id,
		.policy = to->tunnel->balance.policy,
		.host = bytes_str(to->target.text),
		.client = bytes_str(address_ip_text(&c->address, ip)),
		.needs = to->target.is_address ? REGISTRY_UDP_ADDRESS : REGISTRY_UDP_HOSTNAME,
		.try_count = c->try_count,
	};

	if (ask.policy == BALANCE_COOKIE)
		ask.policy = BALANCE_CLIENT_HASH;
	ask.host_key = registry_host_key(ask.tunnel, ask.host);
	memcpy(ask.tries, c->tries, sizeof(ask.tries));
	if (c->try_count == REGISTRY_TRIES || !registry_choose(w, &ask, &choice)) {
		if (c->try_count) {
			/* All have been asked. A while later they may say something else. */
			c->try_count = 0;
			c->refused_until = loop_now(w->loop) + LIMIT_PORT_CLOSED_MS * USEC_PER_MSEC;
			drop(PORT_DROP_REFUSED);
		} else {
			close_for(u, registry_has_any(w, ask.tunnel) ? PORT_DROP_NO_QUIC
								     : PORT_DROP_NO_TUNNEL);
			drop(u->closed_for);
		}
		return false;
	}
	c->connector = choice.replica->connector;
	c->has_answer = false;
	c->tries[c->try_count++] = (struct registry_try){ .connector = c->connector };
	const struct udp_carry_start how = {
		.near = w,
		.far = choice.session ? w : choice.worker,
		.port = u->port,
		.tunnel = to->tunnel->id,
		.connector = c->connector,
		.target = {
			.hostname = to->target.is_address ? BYTES_NONE
							  : bytes_str(to->target.text),
			.ip = to->target.address,
			.client = c->address,
			.has_proxy_header = to->has_proxy_header,
		},
		.idle_ms = LIMIT_PORT_FLOW_IDLE_MS,
		.events = &carry_events,
		.ctx = c->way,
	};
	c->way->carry = udp_carry_open(&how);
	atomic_store_explicit(&u->port->trouble, PORT_WELL, memory_order_relaxed);
	return true;
}

static void send_on(struct client *c, struct bytes data)
{
	uint8_t datagram[MAX_DATAGRAM];
	size_t len = 0;

	if (c->to->has_proxy_header) {
		len = proxy_v2_write(&c->address, &c->ours, true, datagram);
		if (data.len > sizeof(datagram) - len) {
			drop(PORT_DROP_TOO_LARGE);
			return;
		}
		if (data.len)
			memcpy(datagram + len, data.ptr, data.len);
		data = bytes_of(datagram, len + data.len);
	}
	if (!udp_carry_send(c->way->carry, data)) {
		drop(PORT_DROP_TUNNEL_FULL);
		return;
	}
	c->in += data.len - len;
	metric_add(&metric_port_datagrams_in, 1);
}

static void take_packet(struct port_udp *u, const struct udp_packet *p)
{
	usec now = loop_now(u->worker->loop);
	uint8_t key[KEY_BYTES];
	struct client *c = map_find(u->clients, client_key(&p->from, key));

	if (p->data.len > MAX_DATAGRAM) {
		drop(PORT_DROP_TOO_LARGE);
		return;
	}
	if (!c || !c->way->carry) {
		const struct snapshot_port *to =
			snapshot_port(u->worker->snapshot, PORT_UDP, u->port->number);
		if (!to || now < u->closed_until || (c && now < c->refused_until)) {
			drop(!to                     ? PORT_DROP_NO_ROUTE
			     : now < u->closed_until ? u->closed_for
						     : PORT_DROP_REFUSED);
			return;
		}
		if (!c)
			c = client_new(u, to, p);
		if (!c)
			return;
		if (!open_carry(c)) {
			if (u->closed_until > now)
				client_free(c);
			return;
		}
	}
	touch(c);
	send_on(c, p->data);
}

static void on_packets(void *ctx, const struct udp_packet *packets, size_t count)
{
	for (size_t i = 0; i < count; i++)
		take_packet(ctx, &packets[i]);
}

/* What found no room is dropped by now. */
static void on_writable(void *ctx)
{
	(void)ctx;
}

static const struct udp_events socket_events = {
	.on_packets = on_packets,
	.on_writable = on_writable,
};

/* --- Life --------------------------------------------------------------------------------------- */

struct port_udp *port_udp_new(struct worker *w, struct port *port, int fd)
{
	struct port_udp *u = mem_alloc(sizeof(*u));

	u->worker = w;
	u->port = port;
	u->clients = map_new();
	list_init(&u->by_age);
	timer_init(&u->sweep, w->loop, on_sweep);
	timer_init(&u->leave, w->loop, on_leave);
	u->socket = udp_new(w->loop, fd, &socket_events, u);
	return u;
}

struct port_udp *port_udp_free(struct port_udp *u)
{
	if (!u)
		return NULL;
	timer_stop(&u->sweep);
	timer_stop(&u->leave);
	LIST_FOR_EACH(node, &u->by_age)
		client_free(LIST_ENTRY(node, struct client, node));
	map_free(u->clients);
	udp_free(u->socket);
	return mem_free(u);
}
