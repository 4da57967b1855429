#include <errno.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "quic/quic_internal.h"

struct handed_packet {
	struct list node;
	struct address from, to;
	uint8_t ecn;
	size_t len;
	uint8_t data[];
};

static const struct quic_events no_events;

static void destroy(struct quic_endpoint *e);

void quic_limits_default(struct quic_limits *limits)
{
	*limits = (struct quic_limits){
		.stream_window = LIMIT_QUIC_STREAM_WINDOW,
		.stream_window_max = LIMIT_QUIC_STREAM_WINDOW_MAX,
		.conn_window = LIMIT_QUIC_CONNECTION_WINDOW,
		.conn_window_max = LIMIT_QUIC_CONNECTION_WINDOW_MAX,
		.peer_streams = 128,
		.max_datagram = 1452,
		.idle_ms = LIMIT_QUIC_IDLE_MS,
		.keepalive_ms = LIMIT_QUIC_KEEPALIVE_MS,
		.handshake_ms = LIMIT_QUIC_HANDSHAKE_MS,
		.max_connections = LIMIT_QUIC_CONNECTIONS,
		.send_queue = LIMIT_QUIC_SEND_QUEUE,
		.held_max = LIMIT_QUIC_HELD_BYTES,
	};
}

ngtcp2_tstamp quic_read_clock(struct quic_endpoint *e)
{
	return e->now = (ngtcp2_tstamp)clock_now() * 1000;
}

void quic_enter(struct quic_endpoint *e)
{
	CHECK(e, ENDPOINT_MAGIC);
	e->busy++;
	quic_read_clock(e);
}

void quic_leave(struct quic_endpoint *e)
{
	if (--e->busy == 0 && e->is_dead)
		destroy(e);
}

void quic_conn_touch(struct quic_conn *c)
{
	struct quic_endpoint *e = c->endpoint;

	if (!list_is_linked(&c->dirty_node))
		list_append(&e->dirty, &c->dirty_node);
	loop_defer_flush(e->loop, &e->flush);
}

/* --- Addresses ------------------------------------------------------------------------------- */

ngtcp2_addr quic_address(const struct address *a)
{
	return (ngtcp2_addr){ (ngtcp2_sockaddr *)(uintptr_t)&a->any, a->len };
}

struct address quic_address_of(const ngtcp2_addr *a)
{
	struct address ret = { 0 };

	BUG_IF(a->addrlen > sizeof(ret.v6));
	memcpy(&ret.any, a->addr, a->addrlen);
	ret.len = a->addrlen;
	return ret;
}

static bool is_same(const struct sockaddr *a, const struct sockaddr *b)
{
	if (a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_INET) {
		const struct sockaddr_in *x = (const void *)a, *y = (const void *)b;
		return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
	}
	const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;
	return x->sin6_port == y->sin6_port &&
	       memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
}

bool quic_same_address(const struct address *a, const ngtcp2_addr *b)
{
	return is_same(&a->any, b->addr);
}

static bool is_wildcard(const struct address *a)
{
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr);
}

/* --- Sending --------------------------------------------------------------------------------- */

/* The socket a path's local address belongs to; the one in use when it is gone. */
static struct quic_socket *socket_of(struct quic_endpoint *e, const ngtcp2_addr *local)
{
	LIST_FOR_EACH(node, &e->old_sockets) {
		struct quic_socket *s = LIST_ENTRY(node, struct quic_socket, node);
		if (quic_same_address(udp_local(s->udp), local))
			return s;
	}
	return e->socket;
}

bool quic_endpoint_send(struct quic_endpoint *e, const ngtcp2_path *path, uint8_t ecn,
			struct bytes data, size_t segment, struct err *err)
{
	struct quic_socket *s = socket_of(e, &path->local);
	struct address from = quic_address_of(&path->local);
	struct address to = quic_address_of(&path->remote);
	/* A socket that is bound to one address needs no telling, and one bound to all takes what the peer
	 * had asked for. */
	bool has_from = is_wildcard(udp_local(s->udp)) && !is_wildcard(&from);

	if (e->stuck.len)
		return false;
	ssize_t n = udp_send(s->udp, has_from ? &from : NULL, &to, ecn, data, segment, err);
	if (n < 0 || (size_t)n == data.len)
		return true;
	if (data.ptr >= e->out && data.ptr < e->out + OUT_BYTES) {
		e->stuck.at = (size_t)(data.ptr - e->out) + (size_t)n;
		e->stuck.len = data.len - (size_t)n;
		e->stuck.segment = segment;
		e->stuck.socket = s;
		e->stuck.has_from = has_from;
		e->stuck.from = from;
		e->stuck.to = to;
		e->stuck.ecn = ecn;
	}
	return false;
}

static bool send_stuck(struct quic_endpoint *e)
{
	struct bytes data = bytes_of(e->out + e->stuck.at, e->stuck.len);

	if (!data.len)
		return true;
	ssize_t n = udp_send(e->stuck.socket->udp, e->stuck.has_from ? &e->stuck.from : NULL,
			     &e->stuck.to, e->stuck.ecn, data, e->stuck.segment, NULL);
	if (n >= 0 && (size_t)n < data.len) {
		e->stuck.at += (size_t)n;
		e->stuck.len -= (size_t)n;
		return false;
	}
	e->stuck.len = 0;
	return true;
}

static void on_flush(struct deferred *d)
{
	struct quic_endpoint *e = CONTAINER_OF(d, struct quic_endpoint, flush);
	struct list *node;

	quic_enter(e);
	while (!e->is_dead && send_stuck(e) && (node = list_pop(&e->dirty))) {
		struct quic_conn *c = LIST_ENTRY(node, struct quic_conn, dirty_node);
		if (!c->is_ending && !quic_conn_write(c)) {
			list_remove(&c->dirty_node);
			list_prepend(&e->dirty, &c->dirty_node);
			break; /* on_writable() goes on */
		}
	}
	if (!e->is_dead)
		quic_expiry_arm(e);
	quic_leave(e);
}

static void on_alarm(void *arg)
{
	struct quic_endpoint *e = arg;
	struct quic_conn *c;

	quic_enter(e);
	while ((c = quic_expiry_take(e, (usec)(e->now / 1000))))
		quic_conn_expire(c);
	loop_defer_flush(e->loop, &e->flush);
	quic_leave(e);
}

/* --- Receiving ------------------------------------------------------------------------------- */

/* `last` is the owner of the packet before: most packets of a batch are of one connection. */
struct last_owner {
	uint8_t id[CID_BYTES];
	struct quic_owner *owner; /* NULL: none yet */
};

static struct quic_owner *find_owner(struct quic_endpoint *e, const ngtcp2_version_cid *ids,
				     struct last_owner *last)
{
	if (last->owner && ids->dcidlen == CID_BYTES && memcmp(ids->dcid, last->id, CID_BYTES) == 0)
		return last->owner;
	struct quic_owner *owner = quic_id_find(e, bytes_of(ids->dcid, ids->dcidlen));
	last->owner = ids->dcidlen == CID_BYTES ? owner : NULL;
	if (last->owner)
		memcpy(last->id, ids->dcid, CID_BYTES);
	return owner;
}

static void read_packet(struct quic_endpoint *e, const struct quic_packet *p,
			struct last_owner *last)
{
	ngtcp2_version_cid ids;

	if (p->data.len == 0)
		return; /* ngtcp2 would not have it */
	int ret = ngtcp2_pkt_decode_version_cid(&ids, p->data.ptr, p->data.len, CID_BYTES);

	if (ret == NGTCP2_ERR_VERSION_NEGOTIATION) {
		quic_send_version_negotiation(e, p, &ids);
		return;
	}
	if (ret < 0)
		return;
	struct quic_owner *owner = find_owner(e, &ids, last);
	if (!owner)
		quic_stranger(e, p, &ids);
	else if (owner->kind == OWNER_CLOSED)
		quic_closed_read(e, owner);
	else
		quic_conn_read(CONTAINER_OF(owner, struct quic_conn, owner), p);
}

static void on_packets(void *ctx, const struct udp_packet *packets, size_t count)
{
	struct quic_socket *s = ctx;
	struct quic_endpoint *e = s->endpoint;
	struct last_owner last = { .owner = NULL };

	quic_enter(e);
	for (size_t i = 0; i < count && !e->is_dead; i++) {
		struct quic_packet p = {
			.from = &packets[i].from,
			.to = &packets[i].to,
			.bound = udp_local(s->udp),
			.ecn = packets[i].ecn,
			.data = packets[i].data,
		};
		read_packet(e, &p, &last);
	}
	quic_leave(e);
}

static void on_writable(void *ctx)
{
	struct quic_socket *s = ctx;

	loop_defer_flush(s->endpoint->loop, &s->endpoint->flush);
}

/* Believed only where it costs little: before the first packet of the peer a forger has to guess our port, and
 * can make a connection fail that would be tried again. */
static void fail_start(struct quic_conn *c, const struct address *to, int sys_errno)
{
	char text[ADDRESS_TEXT_SIZE];
	struct err err;

	err_set_errno(&err, sys_errno == ECONNREFUSED ? E_REFUSED : E_IO, sys_errno, "QUIC to %s",
		      address_text(to, text));
	quic_conn_end(c, END_SILENT, &err);
}

static bool may_look_up(struct quic_endpoint *e)
{
	usec now = loop_now(e->loop);

	if (now - e->unreachable_since >= USEC_PER_SEC) {
		e->unreachable_since = now;
		e->unreachable_count = 0;
	}
	return e->unreachable_count++ < LIMIT_QUIC_UNREACHABLE_PER_SEC;
}

/* How many connections it was about. */
static size_t tell_unreachable(struct quic_endpoint *e, const struct address *to, int sys_errno)
{
	size_t count = 0;

	if ((to->any.sa_family != AF_INET && to->any.sa_family != AF_INET6) || !may_look_up(e))
		return 1;
	quic_enter(e);
	LIST_FOR_EACH(node, &e->conns) {
		struct quic_conn *c = LIST_ENTRY(node, struct quic_conn, node);
		if (e->is_dead || c->is_ending || !is_same(&c->peer.any, &to->any))
			continue;
		count++;
		if (!c->is_server && !c->received_packets)
			fail_start(c, to, sys_errno);
		else if (sys_errno == ECONNREFUSED && c->is_ready && c->events->on_unreachable)
			c->events->on_unreachable(c);
	}
	quic_leave(e);
	return count;
}

static void on_unreachable(void *ctx, const struct address *to, int sys_errno)
{
	const struct quic_socket *s = ctx;
	struct quic_endpoint *e = s->endpoint;

	if (tell_unreachable(e, to, sys_errno) == 0 && sys_errno == ECONNREFUSED &&
	    e->on_foreign_unreachable)
		e->on_foreign_unreachable(e->ctx, to);
}

void quic_endpoint_unreachable(struct quic_endpoint *e, const struct address *to)
{
	CHECK(e, ENDPOINT_MAGIC);
	if (!e->is_dead)
		(void)tell_unreachable(e, to, ECONNREFUSED);
}

static const struct udp_events socket_events = {
	.on_packets = on_packets,
	.on_writable = on_writable,
	.on_unreachable = on_unreachable,
};

static void on_read_handed_over(struct deferred *d)
{
	struct quic_endpoint *e = CONTAINER_OF(d, struct quic_endpoint, read_handed_over);
	struct list *node;

	quic_enter(e);
	while (!e->is_dead && (node = list_pop(&e->handed_over))) {
		struct handed_packet *h = LIST_ENTRY(node, struct handed_packet, node);
		struct quic_packet p = {
			.from = &h->from,
			.to = &h->to,
			.bound = udp_local(e->socket->udp),
			.ecn = h->ecn,
			.data = bytes_of(h->data, h->len),
			.is_foreign = true,
		};
		struct last_owner last = { .owner = NULL };
		e->handed_over_count--;
		read_packet(e, &p, &last);
		mem_free(h);
	}
	quic_leave(e);
}

void quic_endpoint_feed(struct quic_endpoint *e, const struct address *from,
			const struct address *to, uint8_t ecn, struct bytes packet)
{
	CHECK(e, ENDPOINT_MAGIC);
	if (e->is_dead || packet.len == 0 || e->handed_over_count == LIMIT_QUIC_HANDED_OVER)
		return;
	/* Copied, so that no event comes inside this call. */
	struct handed_packet *h = mem_try_alloc(1, sizeof(*h) + packet.len);
	if (!h)
		return;
	h->from = *from;
	h->to = *to;
	h->ecn = ecn;
	h->len = packet.len;
	memcpy(h->data, packet.ptr, packet.len);
	list_append(&e->handed_over, &h->node);
	e->handed_over_count++;
	loop_defer(e->loop, &e->read_handed_over);
}

/* --- Sockets --------------------------------------------------------------------------------- */

static struct quic_socket *socket_new(struct quic_endpoint *e, int fd)
{
	struct quic_socket *s = mem_alloc(sizeof(*s));

	list_init(&s->node);
	s->endpoint = e;
	s->udp = udp_new(e->loop, fd, &socket_events, s);
	return s;
}

static void socket_free(struct quic_socket *s)
{
	if (s->endpoint->stuck.socket == s)
		s->endpoint->stuck.len = 0;
	list_remove(&s->node);
	udp_free(s->udp);
	mem_free(s);
}

int quic_endpoint_rebind(struct quic_endpoint *e, int fd, struct err *err)
{
	CHECK(e, ENDPOINT_MAGIC);
	if (e->is_server || e->is_dead)
		return err_set(err, E_INVALID, "a server's address does not change");

	size_t old = 0;
	LIST_FOR_EACH(node, &e->old_sockets)
		old++;
	if (old == LIMIT_QUIC_OLD_SOCKETS)
		socket_free(LIST_ENTRY(e->old_sockets.next, struct quic_socket, node));
	/* What is under way to the old address is still read for a moment. */
	e->socket->retires_at = loop_now(e->loop) + LIMIT_QUIC_OLD_SOCKET_MS * USEC_PER_MSEC;
	list_append(&e->old_sockets, &e->socket->node);
	e->socket = socket_new(e, fd);
	LIST_FOR_EACH(node, &e->conns) {
		struct quic_conn *c = LIST_ENTRY(node, struct quic_conn, node);
		c->wants_migration = true;
		quic_conn_touch(c);
	}
	if (!timer_is_set(&e->sweep))
		timer_set(&e->sweep, 1000);
	return 0;
}

static bool is_in_use(struct quic_endpoint *e, const struct quic_socket *s)
{
	LIST_FOR_EACH(node, &e->conns) {
		struct quic_conn *c = LIST_ENTRY(node, struct quic_conn, node);
		const ngtcp2_path *path = ngtcp2_conn_get_path(c->ng);
		if (quic_same_address(udp_local(s->udp), &path->local))
			return true;
	}
	return false;
}

static void on_sweep(struct timer *t)
{
	struct quic_endpoint *e = CONTAINER_OF(t, struct quic_endpoint, sweep);
	usec now = loop_now(e->loop);

	quic_closed_sweep(e, false);
	LIST_FOR_EACH(node, &e->old_sockets) {
		struct quic_socket *s = LIST_ENTRY(node, struct quic_socket, node);
		if (s->retires_at <= now && !is_in_use(e, s))
			socket_free(s);
	}
	if (!list_is_empty(&e->closed) || !list_is_empty(&e->old_sockets))
		timer_set(&e->sweep, 1000);
}

/* --- Life ------------------------------------------------------------------------------------ */

struct quic_endpoint *quic_endpoint_new(struct loop *l, int fd, const struct quic_limits *limits,
					const struct quic_server_options *server,
					const struct quic_events *events, void *ctx)
{
	struct quic_endpoint *e = mem_alloc(sizeof(*e));

	e->magic = ENDPOINT_MAGIC;
	e->loop = l;
	e->events = events;
	e->ctx = ctx;
	e->limits = *limits;
	list_init(&e->old_sockets);
	list_init(&e->conns);
	list_init(&e->closed);
	list_init(&e->dirty);
	list_init(&e->handed_over);
	e->owners = map_new();
	e->resets = map_new();
	e->out = mem_resize(NULL, OUT_BYTES);
	e->alarm = loop_alarm_new(l, on_alarm, e);
	timer_init(&e->sweep, l, on_sweep);
	deferred_init(&e->flush, on_flush);
	deferred_init(&e->read_handed_over, on_read_handed_over);
	random_bytes(e->secret, sizeof(e->secret));
	if (server) {
		BUG_IF(server->index > 255 || server->secret.len != SECRET_BYTES);
		e->is_server = true;
		e->is_accepting = events->on_accept != NULL;
		e->tls = tls_context_ref(server->tls);
		e->retry_above = server->retry_above;
		e->on_foreign = server->on_foreign;
		e->on_foreign_unreachable = server->on_foreign_unreachable;
		e->index = (uint8_t)server->index;
		memcpy(e->secret, server->secret.ptr, SECRET_BYTES);
	}
	e->socket = socket_new(e, fd);
	return e;
}

void *quic_endpoint_ctx(struct quic_endpoint *e)
{
	return e->ctx;
}

size_t quic_endpoint_connection_count(const struct quic_endpoint *e)
{
	return e->conn_count;
}

void quic_endpoint_set_tls(struct quic_endpoint *e, struct tls_context *tls)
{
	CHECK(e, ENDPOINT_MAGIC);
	BUG_IF(!e->is_server);
	tls_context_unref(e->tls);
	e->tls = tls_context_ref(tls);
}

void quic_endpoint_stop_reading(struct quic_endpoint *e)
{
	CHECK(e, ENDPOINT_MAGIC);
	udp_stop_reading(e->socket->udp);
}

void quic_endpoint_stop_accepting(struct quic_endpoint *e)
{
	CHECK(e, ENDPOINT_MAGIC);
	e->is_accepting = false;
}

static void destroy(struct quic_endpoint *e)
{
	struct list *node;

	while (!list_is_empty(&e->conns)) {
		struct quic_conn *c = LIST_ENTRY(e->conns.next, struct quic_conn, node);
		if (!c->is_ending) {
			ngtcp2_ccerr_set_application_error(&c->close, 0, NULL, 0);
			c->end = END_CLOSING;
		}
		if (c->end == END_CLOSING)
			quic_conn_send_close(c, NULL);
		quic_conn_destroy(c);
	}
	quic_closed_sweep(e, true);
	while ((node = list_pop(&e->handed_over)))
		mem_free(LIST_ENTRY(node, struct handed_packet, node));
	while (!list_is_empty(&e->old_sockets))
		socket_free(LIST_ENTRY(e->old_sockets.next, struct quic_socket, node));
	socket_free(e->socket);
	deferred_cancel(&e->flush);
	deferred_cancel(&e->read_handed_over);
	timer_stop(&e->sweep);
	loop_alarm_free(e->alarm);
	tls_context_unref(e->tls);
	map_free(e->owners);
	map_free(e->resets);
	mem_free(e->heap);
	mem_free(e->out);
	secret_wipe(e->secret, sizeof(e->secret));
	e->magic = 0;
	mem_free(e);
}

struct quic_endpoint *quic_endpoint_free(struct quic_endpoint *e)
{
	if (!e)
		return NULL;
	CHECK(e, ENDPOINT_MAGIC);
	BUG_IF(e->is_dead);
	e->is_dead = true;
	e->events = &no_events;
	if (!e->busy)
		destroy(e);
	return NULL;
}

struct loop *quic_endpoint_loop(struct quic_endpoint *e)
{
	return e->loop;
}
