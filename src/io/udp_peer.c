#include "io/udp_peer.h"

#include <errno.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"

#define MAGIC_UDP_PEER 0x75647070
/* Taken in one system call. */
#define BATCH 16
/* A pending ICMP error is told by the next call, whatever it wanted. */
#define TRIES 3

struct udp_peer {
	uint32_t magic;
	struct loop *loop;
	int fd; /* owned */
	struct loop_watch *watch;
	struct deferred late; /* an error that a send has met */
	int late_errno;
	const struct udp_peer_events *events; /* borrowed, static */
	void *ctx;                            /* borrowed */
	struct address peer, local;
	bool is_busy, is_freed; /* udp_peer_free() in an event waits for its end */
};

static void destroy(struct udp_peer *p)
{
	p->magic = 0;
	mem_free(p);
}

static bool is_icmp(int sys_errno)
{
	return sys_errno == ECONNREFUSED || sys_errno == EHOSTUNREACH || sys_errno == ENETUNREACH ||
	       sys_errno == EHOSTDOWN || sys_errno == EPROTO || sys_errno == ENOPROTOOPT;
}

/* How many came; -1: none, and why is in errno. */
static int receive(struct udp_peer *p, struct mmsghdr *messages, struct iovec *vectors,
		   uint8_t (*slots)[UDP_PEER_BYTES])
{
	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ slots[i], UDP_PEER_BYTES };
		messages[i] =
			(struct mmsghdr){ .msg_hdr = { .msg_iov = &vectors[i], .msg_iovlen = 1 } };
	}
	return recvmmsg(p->fd, messages, BATCH, MSG_DONTWAIT, NULL);
}

static void on_ready(void *arg, int events)
{
	uint8_t slots[BATCH][UDP_PEER_BYTES] UNINITIALIZED;
	struct mmsghdr messages[BATCH] UNINITIALIZED;
	struct iovec vectors[BATCH] UNINITIALIZED;
	struct udp_peer *p = arg;
	int taken = 0, n = 1, failures = 0;

	(void)events;
	CHECK(p, MAGIC_UDP_PEER);
	p->is_busy = true;
	while (!p->is_freed && taken < LIMIT_UDP_PACKETS_PER_TURN && failures < TRIES) {
		n = receive(p, messages, vectors, slots);
		if (n < 0 && is_icmp(errno)) {
			failures++;
			p->events->on_unreachable(p->ctx, errno);
			continue;
		}
		if (n <= 0)
			break;
		for (int i = 0; i < n && !p->is_freed; i++)
			p->events->on_datagram(p->ctx, bytes_of(slots[i], messages[i].msg_len),
					       messages[i].msg_hdr.msg_flags & MSG_TRUNC);
		taken += n;
		if (n < BATCH)
			break;
	}
	p->is_busy = false;
	if (p->is_freed)
		destroy(p);
	else
		loop_watch_set(p->watch, LOOP_READABLE); /* an error has ended the watch */
}

static void on_late_error(struct deferred *d)
{
	struct udp_peer *p = CONTAINER_OF(d, struct udp_peer, late);

	CHECK(p, MAGIC_UDP_PEER);
	p->events->on_unreachable(p->ctx, p->late_errno);
}

struct udp_peer *udp_peer_new(struct loop *l, const struct address *peer,
			      const struct udp_peer_events *events, void *ctx, struct err *err)
{
	char text[ADDRESS_TEXT_SIZE];

	int fd = socket(peer->any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, &peer->any, peer->len) < 0) {
		int sys_errno = errno;
		if (fd >= 0)
			close(fd);
		err_set_errno(err, E_IO, sys_errno, "UDP to %s", address_text(peer, text));
		return NULL;
	}
	/* A service answers in bursts. Memory is taken by what waits, not by what might. */
	int size = LIMIT_UDP_PEER_BUFFER_BYTES;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	struct udp_peer *p = mem_alloc(sizeof(*p));
	p->magic = MAGIC_UDP_PEER;
	p->loop = l;
	p->fd = fd;
	deferred_init(&p->late, on_late_error);
	p->events = events;
	p->ctx = ctx;
	p->peer = *peer;
	p->local.len = sizeof(p->local.v6);
	getsockname(fd, &p->local.any, &p->local.len);
	p->watch = loop_watch_new(l, fd, on_ready, p);
	loop_watch_set(p->watch, LOOP_READABLE);
	return p;
}

struct udp_peer *udp_peer_free(struct udp_peer *p)
{
	if (!p)
		return NULL;
	CHECK(p, MAGIC_UDP_PEER);
	deferred_cancel(&p->late);
	loop_watch_free(p->watch);
	close(p->fd);
	p->is_freed = true;
	if (!p->is_busy)
		destroy(p);
	return NULL;
}

int udp_peer_send_two(struct udp_peer *p, struct bytes head, struct bytes data)
{
	struct iovec parts[2] = { { (void *)(uintptr_t)head.ptr, head.len },
				  { (void *)(uintptr_t)data.ptr, data.len } };
	const struct msghdr m = { .msg_iov = parts, .msg_iovlen = 2 };

	CHECK(p, MAGIC_UDP_PEER);
	for (int i = 0; i < TRIES; i++) {
		if (sendmsg(p->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (!is_icmp(errno))
			break;
		/* It is about a datagram before this one. */
		p->late_errno = errno;
		loop_defer(p->loop, &p->late);
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
		return E_AGAIN;
	return errno == EMSGSIZE ? E_LIMIT : E_IO;
}

int udp_peer_send(struct udp_peer *p, struct bytes data)
{
	return udp_peer_send_two(p, BYTES_NONE, data);
}

const struct address *udp_peer_address(const struct udp_peer *p)
{
	return &p->peer;
}

const struct address *udp_peer_local(const struct udp_peer *p)
{
	return &p->local;
}
