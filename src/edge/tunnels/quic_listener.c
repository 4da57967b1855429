#include "edge/tunnels/quic_listener.h"

#include <pthread.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/listen/sockets.h"
#include "edge/listen/visitor.h"
#include "edge/tunnels/accept.h"
#include "edge/tunnels/quic_relay.h"
#include "edge/worker.h"
#include "io/udp.h"
#include "transport/quic_endpoint.h"

#define COMPONENT "edge/tunnels"
#define WHAT "tunnel over QUIC"

struct metric metric_quic_foreign = {
	.name = "adit_edge_quic_foreign_packets_total",
	.labels = "result=\"handed_over\"",
	.help = "QUIC packets that the kernel gave to another worker than their connection's",
};
struct metric metric_quic_foreign_lost = {
	.name = "adit_edge_quic_foreign_packets_total",
	.labels = "result=\"dropped\"",
	.help = "QUIC packets that the kernel gave to another worker than their connection's",
};

/* A packet that the kernel gave to another worker than the one whose connection it is for. */
struct foreign_packet {
	struct list node;
	struct address from, to;
	uint8_t ecn;
	size_t len;
	uint8_t data[];
};

struct quic_listener {
	struct worker *worker;    /* borrowed */
	struct quic_relay *relay; /* borrowed */
	bool takes_connectors, takes_visitors;
	size_t number;                    /* the same in every worker of one address */
	struct tunnel_endpoint *endpoint; /* owned; NULL once closed */

	pthread_mutex_t lock; /* of the rest: other workers put packets there */
	struct list packets;  /* struct foreign_packet */
	size_t packet_count;
};

/* --- Packets for other workers --------------------------------------------------------------- */

static void on_packets(void *arg)
{
	struct quic_listener *l = arg;
	struct list packets, *node;

	list_init(&packets);
	pthread_mutex_lock(&l->lock);
	while ((node = list_pop(&l->packets)))
		list_append(&packets, node);
	l->packet_count = 0;
	pthread_mutex_unlock(&l->lock);
	while ((node = list_pop(&packets))) {
		struct foreign_packet *p = LIST_ENTRY(node, struct foreign_packet, node);
		if (l->endpoint)
			quic_endpoint_feed(tunnel_endpoint_quic(l->endpoint), &p->from, &p->to,
					   p->ecn, bytes_of(p->data, p->len));
		mem_free(p);
	}
}

/* Any thread. What does not fit is lost, as packets may be. */
void quic_listener_give(struct quic_listener *l, const struct address *from,
			const struct address *to, uint8_t ecn, struct bytes data)
{
	struct foreign_packet *p = mem_try_alloc(1, sizeof(*p) + data.len);

	if (!p)
		return;
	p->from = *from;
	p->to = *to;
	p->ecn = ecn;
	p->len = data.len;
	memcpy(p->data, data.ptr, data.len);
	pthread_mutex_lock(&l->lock);
	bool is_full = l->packet_count == LIMIT_QUIC_HANDED_OVER;
	bool is_first = l->packet_count == 0;
	if (!is_full) {
		list_append(&l->packets, &p->node);
		l->packet_count++;
	}
	pthread_mutex_unlock(&l->lock);
	metric_add(is_full ? &metric_quic_foreign_lost : &metric_quic_foreign, 1);
	if (is_full)
		mem_free(p);
	else if (is_first)
		loop_post(l->worker->loop, on_packets, l);
}

static bool on_foreign(void *ctx, unsigned index, const struct address *from,
		       const struct address *to, uint8_t ecn, struct bytes packet)
{
	const struct quic_listener *l = ctx;
	size_t worker;

	if (!quic_relay_is_ours(l->relay, index, &worker))
		return quic_relay_send(l->relay, index, l->number, from, to, ecn, packet);
	quic_listener_give(l->worker->peers[worker]->quic[l->number], from, to, ecn, packet);
	return true;
}

/* --- ICMP for other workers -------------------------------------------------------------------- */

struct closed_port {
	struct quic_listener *listener; /* borrowed: it outlives its worker's loop */
	struct address peer;
};

static void on_closed_port(void *arg)
{
	struct closed_port *p = arg;

	if (p->listener->endpoint)
		quic_endpoint_unreachable(tunnel_endpoint_quic(p->listener->endpoint), &p->peer);
	mem_free(p);
}

/* The kernel picks the socket that hears of it by the addresses alone. */
static void on_foreign_unreachable(void *ctx, const struct address *to)
{
	const struct quic_listener *l = ctx;
	const struct worker *w = l->worker;

	for (size_t i = 0; i < w->peer_count; i++) {
		if (i == w->index)
			continue;
		struct closed_port *p = mem_alloc(sizeof(*p));
		*p = (struct closed_port){ w->peers[i]->quic[l->number], *to };
		loop_post(w->peers[i]->loop, on_closed_port, p);
	}
}

/* --- Opening --------------------------------------------------------------------------------- */

static void on_accept(void *ctx, struct quic_conn *c)
{
	const struct quic_listener *l = ctx;

	if (bytes_eq(quic_conn_alpn(c), BYTES_LIT("h3")))
		visitor_accept_h3(l->worker, c);
	else if (l->takes_connectors)
		accept_quic_connector(l->worker, c);
	else
		quic_conn_close(c, 0, "connectors come by TCP");
}

static void add_listener(struct worker *w, int fd, const struct quic_listen *how)
{
	struct quic_listener *l = mem_alloc(sizeof(*l));
	const struct quic_server_options options = {
		.tls = how->takes_visitors ? w->h3_tls : w->quic_tls,
		.takes_visitors = how->takes_visitors,
		.retry_above = LIMIT_QUIC_RETRY_ABOVE,
		.secret = how->secret,
		.on_foreign = on_foreign,
		.on_foreign_unreachable = on_foreign_unreachable,
		.index = quic_relay_index(how->relay, w->index),
	};

	l->worker = w;
	l->takes_connectors = how->takes_connectors;
	l->takes_visitors = how->takes_visitors;
	l->relay = how->relay;
	l->number = w->quic_count;
	list_init(&l->packets);
	pthread_mutex_init(&l->lock, NULL);
	l->endpoint = tunnel_endpoint_new(w->loop, fd, &options, on_accept, l);
	w->quic = mem_resize(w->quic, (w->quic_count + 1) * sizeof(w->quic[0]));
	w->quic[w->quic_count++] = l;
}

/* Opens a socket per worker. */
static struct socket_group *open_all(const struct quic_listen *how, const struct address *address,
				     const char *name, struct err *err)
{
	struct address own = *address;
	/* Sockets that share a port do so with any other program of the same user that wants to: one that does
	 * not share tells whether somebody is there already. */
	int fd = udp_open(&own, false, err);

	if (fd < 0)
		return NULL;
	close(fd); /* allowed: it never reached a loop */
	struct socket_group *group = sockets_add(how->sockets, WHAT, name, SOCKET_DATAGRAM, NULL, 0);
	for (size_t i = 0; i < how->worker_count; i++) {
		fd = udp_open(&own, true, err);
		if (fd < 0) {
			sockets_close(how->sockets, group);
			return NULL;
		}
		sockets_append(group, fd);
	}
	return group;
}

int quic_listen_on_all(const struct quic_listen *how, const struct address *address, struct err *err)
{
	char name[ADDRESS_TEXT_SIZE];
	struct err why = { 0 };
	int fd = 0;

	address_text(address, name);
	struct socket_group *group = sockets_claim(how->sockets, WHAT, name, SOCKET_DATAGRAM);
	if (!group)
		group = open_all(how, address, name, &why);
	if (!group) {
		if (err)
			*err = why;
		return why.code;
	}
	/* Those of an edge with more workers get no packets any more, with fewer some workers share one. */
	size_t used = group->count < how->worker_count ? group->count : how->worker_count;
	if (quic_steer(group->fds[0], quic_relay_mask(how->relay), (unsigned)used, &why) < 0)
		log_debug(COMPONENT, "the kernel does not sort QUIC packets, workers do",
			  LOG_STR("error", why.text));
	for (size_t i = 0; i < how->worker_count; i++) {
		fd = sockets_dup(group, i, err);
		if (fd < 0)
			return fd;
		add_listener(how->workers[i], fd, how);
	}
	return 0;
}

/* --- Life ------------------------------------------------------------------------------------ */

void quic_listener_set_tls(struct quic_listener *l)
{
	/* What was posted to a worker that has ended comes after the end. */
	if (l->endpoint)
		quic_endpoint_set_tls(tunnel_endpoint_quic(l->endpoint),
				      l->takes_visitors ? l->worker->h3_tls : l->worker->quic_tls);
}

void quic_listener_stop(struct quic_listener *l)
{
	if (l->endpoint)
		quic_endpoint_stop_accepting(tunnel_endpoint_quic(l->endpoint));
}

void quic_listener_hand_over(struct quic_listener *l)
{
	if (l->endpoint)
		quic_endpoint_stop_reading(tunnel_endpoint_quic(l->endpoint));
}

void quic_listener_close(struct quic_listener *l)
{
	l->endpoint = tunnel_endpoint_free(l->endpoint);
}

struct quic_listener *quic_listener_free(struct quic_listener *l)
{
	struct list *node;

	while ((node = list_pop(&l->packets)))
		mem_free(LIST_ENTRY(node, struct foreign_packet, node));
	pthread_mutex_destroy(&l->lock);
	return mem_free(l);
}
