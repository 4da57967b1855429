#include "edge/tunnels/quic_relay.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/reader.h"
#include "base/writer.h"
#include "edge/tunnels/quic_listener.h"
#include "edge/worker.h"
#include "io/local_channel.h"

#define WHAT "packets"
#define RANGES (256 / QUIC_RELAY_WORKERS)

struct quic_relay {
	struct sockets *sockets; /* borrowed */
	unsigned range;
	size_t worker_count;
	bool is_split; /* the ids tell edges apart */
	atomic_bool is_left;
	int fds[RANGES];       /* owned; -1 */
	atomic_int to[RANGES]; /* the same; -1: nobody is there any more */

	/* Taken over. */
	int fd; /* owned; -1 */
	struct loop_watch *watch;
	struct worker *const *workers; /* borrowed */
};

/* --- What travels ---------------------------------------------------------------------------- */

static void put_address(struct writer *w, const struct address *a)
{
	if (a->len && a->any.sa_family == AF_INET) {
		writer_u8(w, 4);
		writer_put(w, bytes_of(&a->v4.sin_addr, 4));
		writer_u16be(w, ntohs(a->v4.sin_port));
	} else if (a->len && a->any.sa_family == AF_INET6) {
		writer_u8(w, 6);
		writer_put(w, bytes_of(&a->v6.sin6_addr, 16));
		writer_u16be(w, ntohs(a->v6.sin6_port));
		writer_u32be(w, a->v6.sin6_scope_id);
	} else {
		writer_u8(w, 0);
	}
}

static bool get_address(struct reader *r, struct address *ret)
{
	unsigned family = reader_u8(r);
	struct bytes ip = reader_take(r, family == 4 ? 4 : family == 6 ? 16 : 0);

	*ret = (struct address){ .len = 0 };
	if (family == 0)
		return true;
	if ((family != 4 && family != 6) || !reader_ok(r))
		return false;
	uint16_t port = htons(reader_u16be(r));
	if (family == 4) {
		ret->len = sizeof(ret->v4);
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_port = port;
		memcpy(&ret->v4.sin_addr, ip.ptr, 4);
	} else {
		ret->len = sizeof(ret->v6);
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = port;
		memcpy(&ret->v6.sin6_addr, ip.ptr, 16);
		ret->v6.sin6_scope_id = reader_u32be(r);
	}
	return true;
}

bool relayed_packet_read(struct bytes message, struct relayed_packet *ret)
{
	struct reader r = reader_of(message);

	ret->number = reader_u8(&r);
	ret->worker = reader_u8(&r);
	ret->ecn = reader_u8(&r) & 3;
	if (!get_address(&r, &ret->from) || !get_address(&r, &ret->to))
		return false;
	ret->data = r.left;
	return reader_ok(&r) && ret->from.len && ret->data.len;
}

size_t relayed_packet_write(const struct relayed_packet *p, uint8_t *ptr, size_t size)
{
	struct writer w = writer_of(ptr, size);

	writer_u8(&w, (uint8_t)p->number);
	writer_u8(&w, (uint8_t)p->worker);
	writer_u8(&w, p->ecn);
	put_address(&w, &p->from);
	put_address(&w, &p->to);
	writer_put(&w, p->data);
	return writer_ok(&w) ? w.len : 0;
}

/* --- The newer edge -------------------------------------------------------------------------- */

static const char *range_name(unsigned range, char text[16])
{
	(void)snprintf(text, 16, "range:%u", range);
	return text;
}

struct quic_relay *quic_relay_new(struct sockets *sockets, int64_t generation, size_t workers)
{
	struct quic_relay *r = mem_alloc(sizeof(*r));
	char name[16];

	r->sockets = sockets;
	r->range = (unsigned)(generation % RANGES);
	r->worker_count = workers;
	r->is_split = workers <= QUIC_RELAY_WORKERS;
	r->fd = -1;
	for (unsigned i = 0; i < RANGES; i++) {
		struct socket_group *g =
			sockets_claim(sockets, WHAT, range_name(i, name), SOCKET_PAIR);
		r->fds[i] = g && i != r->range ? sockets_dup(g, 0, NULL) : -1;
		atomic_init(&r->to[i], r->fds[i]);
		/* Our own range's: an edge four takeovers ago, whose ids cannot be told from ours. */
		if (g && i == r->range)
			sockets_close(sockets, g);
	}
	return r;
}

unsigned quic_relay_index(const struct quic_relay *r, size_t worker)
{
	return (unsigned)(r->is_split ? r->range * QUIC_RELAY_WORKERS + worker : worker);
}

unsigned quic_relay_mask(const struct quic_relay *r)
{
	return r->is_split ? QUIC_RELAY_WORKERS - 1 : 255;
}

bool quic_relay_is_ours(const struct quic_relay *r, unsigned index, size_t *ret_worker)
{
	*ret_worker = r->is_split ? index % QUIC_RELAY_WORKERS : index;
	return (!r->is_split || index / QUIC_RELAY_WORKERS == r->range) &&
	       *ret_worker < r->worker_count;
}

bool quic_relay_send(struct quic_relay *r, unsigned index, size_t number, const struct address *from,
		     const struct address *to, uint8_t ecn, struct bytes packet)
{
	uint8_t message[RELAYED_HEAD_BYTES + RELAYED_PACKET_BYTES];
	unsigned range = index / QUIC_RELAY_WORKERS;
	const struct relayed_packet p = { *from, *to,   number, index % QUIC_RELAY_WORKERS,
					  ecn,   packet };

	if (atomic_load(&r->is_left))
		return true;
	int fd = r->is_split ? atomic_load(&r->to[range]) : -1;
	if (fd < 0)
		return false;
	size_t len = relayed_packet_write(&p, message, sizeof(message));
	/* What does not fit is lost, as packets may be. */
	if (len && local_channel_send(fd, bytes_of(message, len), NULL, 0, NULL) == E_CLOSED) {
		atomic_store(&r->to[range], -1);
		return false;
	}
	return true;
}

/* --- The older one --------------------------------------------------------------------------- */

static void on_messages(void *arg, int events)
{
	struct quic_relay *r = arg;
	uint8_t message[RELAYED_HEAD_BYTES + RELAYED_PACKET_BYTES];
	int fds[LOCAL_CHANNEL_FDS];
	size_t fd_count;
	struct relayed_packet p;

	(void)events;
	for (int i = 0; i < LIMIT_UDP_PACKETS_PER_TURN; i++) {
		ssize_t n = local_channel_receive(r->fd, message, sizeof(message), fds, &fd_count,
						  NULL);
		while (fd_count)
			close(fds[--fd_count]); /* allowed: nobody asked for them */
		if (n == E_LIMIT)
			continue;
		if (n < 0 && n != E_AGAIN)
			r->watch = loop_watch_free(r->watch); /* the successor has ended */
		if (n < 0)
			return;
		if (relayed_packet_read(bytes_of(message, (size_t)n), &p) &&
		    p.worker < r->worker_count && p.number < r->workers[p.worker]->quic_count)
			quic_listener_give(r->workers[p.worker]->quic[p.number], &p.from, &p.to,
					   p.ecn, p.data);
	}
}

int quic_relay_offer(struct quic_relay *r, struct loop *loop, struct worker *const *workers,
		     struct err *err)
{
	char name[16];
	int fds[2];

	if (r->fd >= 0 || !r->is_split)
		return 0;
	int code = local_channel_pair(fds, err);
	if (code < 0)
		return code;
	(void)sockets_add(r->sockets, WHAT, range_name(r->range, name), SOCKET_PAIR, &fds[1], 1);
	r->fd = fds[0];
	r->workers = workers;
	r->watch = loop_watch_new(loop, r->fd, on_messages, r);
	BUG_IF(!r->watch);
	loop_watch_set(r->watch, LOOP_READABLE);
	return 0;
}

void quic_relay_leave(struct quic_relay *r)
{
	atomic_store(&r->is_left, true);
}

void quic_relay_close(struct quic_relay *r)
{
	if (!r)
		return;
	r->watch = loop_watch_free(r->watch);
	if (r->fd >= 0)
		close(r->fd); /* allowed: its watch is gone */
	r->fd = -1;
	for (unsigned i = 0; i < RANGES; i++) {
		if (r->fds[i] >= 0)
			close(r->fds[i]); /* allowed: no loop watches it */
		r->fds[i] = -1;
	}
}

struct quic_relay *quic_relay_free(struct quic_relay *r)
{
	return mem_free(r);
}
