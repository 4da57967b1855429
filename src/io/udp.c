#include "io/udp.h"

#include <time.h> /* which errqueue.h forgets */

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"

/* What libc's headers of older systems lack (linux/udp.h clashes with netinet/udp.h). */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* With GRO the kernel hands over what arrived together, up to 64 KiB. */
#define SLOT_BYTES 65536
#define SLOTS 4
/* Of udp_new_small(). */
#define SMALL_SLOTS 64
#define SEND_MANY 32
/* Packets told in one call: what GRO puts together is 64 packets, newer kernels may put 128. */
#define BATCH 64
/* UDP_MAX_SEGMENTS of older kernels, and less than the largest datagram with its headers. */
#define SEGMENTS_MAX 64
#define SEND_BYTES_MAX 65000
/* System calls of one udp_send() that the kernel answered with somebody else's ICMP error. */
#define SEND_TRIES 3

union control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) +
		      CMSG_SPACE(sizeof(struct in_pktinfo)) + 3 * CMSG_SPACE(sizeof(int)) + 64];
};

struct udp_socket {
	struct loop *loop;
	int fd; /* owned */
	struct loop_watch *watch;
	const struct udp_events *events; /* borrowed, static */
	void *ctx;                       /* borrowed, the user's */
	struct address local;
	bool has_segments; /* the kernel takes UDP_SEGMENT */
	bool wants_writable;
	bool is_deaf;           /* reads nothing any more */
	bool is_busy, is_freed; /* udp_free() in an event waits for its end */

	/* Reading. */
	struct mmsghdr *messages; /* owned: one for each slot */
	struct slot {
		struct iovec vector;
		struct address from;
		union control control;
	} * slots;            /* owned */
	int slot_count, used; /* the kernel has filled in that many */
	uint8_t *memory;      /* owned: of all slots */
	struct udp_packet batch[BATCH];
	size_t batched;
};

/* --- Opening --------------------------------------------------------------------------------- */

static void set_option(int fd, int level, int option, int value)
{
	/* What a kernel does not have is done without. */
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static void set_buffer(int fd, int force, int plain)
{
	int size = LIMIT_UDP_SOCKET_BUFFER_BYTES;

	if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof(size)) < 0)
		set_option(fd, SOL_SOCKET, plain, size);
}

int udp_open(struct address *address, bool shared, struct err *err)
{
	char text[ADDRESS_TEXT_SIZE];
	int family = address->any.sa_family;

	address_text(address, text);
	if (family != AF_INET && family != AF_INET6)
		return err_set(err, E_INVALID, "%s is no address for UDP", text);
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(err, E_IO, errno, "UDP on %s", text);

	/* An IPv6 socket serves IPv4 peers too, so it gets both families' options. PROBE: never fragment, and
	 * do not believe in path MTUs that ICMP told; QUIC finds its own (RFC 9000 §14). */
	set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
	set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
	set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
	if (family == AF_INET6) {
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, address->is_v6only);
		set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
		set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
		set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
	}
	set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
	if (shared)
		set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (bind(fd, &address->any, address->len) < 0) {
		int sys_errno = errno;
		close(fd);
		return err_set_errno(err, E_IO, sys_errno, "UDP on %s", text);
	}
	address->len = sizeof(address->v6);
	getsockname(fd, &address->any, &address->len);
	return fd;
}

int udp_steer(int fd, const struct sock_filter *program, size_t len, struct err *err)
{
	const struct sock_fprog filter = {
		.len = (unsigned short)len,
		.filter = (struct sock_filter *)(uintptr_t)program,
	};

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof(filter)) < 0)
		return err_set_errno(err, E_UNSUPPORTED, errno, "choosing among UDP sockets");
	return 0;
}

/* --- Receiving ------------------------------------------------------------------------------- */

static void take_v4(struct address *to, struct in_addr ip)
{
	/* An IPv4 packet on an IPv6 socket: the peer looks like ::ffff:1.2.3.4, and so do we. */
	if (to->any.sa_family == AF_INET) {
		to->v4.sin_addr = ip;
		return;
	}
	memset(&to->v6.sin6_addr, 0, 10);
	memset(&to->v6.sin6_addr.s6_addr[10], 0xff, 2);
	memcpy(&to->v6.sin6_addr.s6_addr[12], &ip, 4);
}

struct arrival {
	struct address to;
	uint8_t ecn;
	size_t segment; /* 0: one packet */
};

static void read_control(struct msghdr *m, struct arrival *a)
{
	struct in6_pktinfo info6;
	struct in_pktinfo info;
	int number;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO &&
		    len >= sizeof(info)) {
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			take_v4(&a->to, info.ipi_addr);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO &&
			   len >= sizeof(info6)) {
			memcpy(&info6, CMSG_DATA(c), sizeof(info6));
			a->to.v6.sin6_addr = info6.ipi6_addr;
			if (IN6_IS_ADDR_LINKLOCAL(&info6.ipi6_addr))
				a->to.v6.sin6_scope_id = info6.ipi6_ifindex;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS && len >= 1) {
			a->ecn = *CMSG_DATA(c) & IPTOS_ECN_MASK;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS &&
			   len >= sizeof(number)) {
			memcpy(&number, CMSG_DATA(c), sizeof(number));
			a->ecn = (uint8_t)(number & IPTOS_ECN_MASK);
		} else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO &&
			   len >= sizeof(number)) {
			memcpy(&number, CMSG_DATA(c), sizeof(number));
			a->segment = number > 0 ? (size_t)number : 0;
		}
	}
}

static void tell(struct udp_socket *s)
{
	size_t count = s->batched;

	s->batched = 0;
	if (count && !s->is_freed)
		s->events->on_packets(s->ctx, s->batch, count);
}

/* One message, several packets where the kernel has put them together. Returns how many. */
static size_t take_message(struct udp_socket *s, int slot)
{
	struct msghdr *m = &s->messages[slot].msg_hdr;
	struct bytes data = bytes_of(s->slots[slot].vector.iov_base, s->messages[slot].msg_len);
	struct arrival arrival = { .to = s->local };
	size_t count = 0;

	if (m->msg_flags & MSG_TRUNC)
		return 0; /* larger than any packet: not for us */
	read_control(m, &arrival);
	s->slots[slot].from.len = m->msg_namelen;
	size_t segment = arrival.segment ? arrival.segment : data.len;
	/* One without bytes is a datagram, too. */
	do {
		s->batch[s->batched++] = (struct udp_packet){
			.from = s->slots[slot].from,
			.to = arrival.to,
			.ecn = arrival.ecn,
			.data = bytes_first(data, segment),
		};
		data = bytes_from(data, s->batch[s->batched - 1].data.len);
		count++;
		if (s->batched == BATCH)
			tell(s);
	} while (data.len);
	return count;
}

static void prepare(struct udp_socket *s, int i)
{
	struct slot *slot = &s->slots[i];

	s->messages[i].msg_hdr = (struct msghdr){
		.msg_name = &slot->from.any,
		.msg_namelen = sizeof(slot->from.v6),
		.msg_iov = &slot->vector,
		.msg_iovlen = 1,
		.msg_control = &slot->control,
		.msg_controllen = sizeof(slot->control),
	};
}

static void receive(struct udp_socket *s)
{
	size_t count = 0;

	while (count < LIMIT_UDP_PACKETS_PER_TURN && !s->is_freed) {
		for (int i = 0; i < s->used; i++)
			prepare(s, i);
		s->used = 0;
		int n = recvmmsg(s->fd, s->messages, (unsigned)s->slot_count, 0, NULL);
		if (n < 0 && errno == EINTR)
			continue;
		s->used = n > 0 ? n : 0;
		for (int i = 0; i < n; i++)
			count += take_message(s, i);
		tell(s);
		if (n < s->slot_count)
			return;
	}
}

/* --- Errors from the network ----------------------------------------------------------------- */

static void read_errors(struct udp_socket *s)
{
	socklen_t len = sizeof(int);
	int pending;

	/* A pending error would be the answer to the next packet to anybody. */
	(void)getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &pending, &len);
	for (int i = 0; i < LIMIT_UDP_PACKETS_PER_TURN && !s->is_freed; i++) {
		struct address to = { 0 };
		union control control;
		struct msghdr m = {
			.msg_name = &to.any,
			.msg_namelen = sizeof(to.v6),
			.msg_control = &control,
			.msg_controllen = sizeof(control),
		};
		if (recvmsg(s->fd, &m, MSG_ERRQUEUE) < 0)
			return;
		to.len = m.msg_namelen;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			struct sock_extended_err e;
			if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
			    !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
				continue;
			if (c->cmsg_len < CMSG_LEN(sizeof(e)))
				continue;
			memcpy(&e, CMSG_DATA(c), sizeof(e));
			if ((e.ee_origin == SO_EE_ORIGIN_ICMP || e.ee_origin == SO_EE_ORIGIN_ICMP6) &&
			    e.ee_errno != EMSGSIZE && s->events->on_unreachable && !s->is_freed)
				s->events->on_unreachable(s->ctx, &to, (int)e.ee_errno);
		}
	}
}

/* --- Sending --------------------------------------------------------------------------------- */

static void add_control(struct msghdr *m, struct cmsghdr **at, int level, int type,
			const void *value, size_t len)
{
	struct cmsghdr *c = *at ? CMSG_NXTHDR(m, *at) : CMSG_FIRSTHDR(m);

	BUG_IF(!c);
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), value, len);
	*at = c;
}

/* `segment` 0: one packet. */
static void write_control(struct msghdr *m, union control *control, const struct address *from,
			  const struct address *to, uint8_t ecn, size_t segment)
{
	bool is_v4 = to->any.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&to->v6.sin6_addr);
	struct cmsghdr *at = NULL;
	int tos = ecn;

	memset(control, 0, sizeof(*control));
	m->msg_control = control;
	m->msg_controllen = sizeof(*control);
	if (from && from->any.sa_family == AF_INET) {
		struct in_pktinfo info = { .ipi_spec_dst = from->v4.sin_addr };
		add_control(m, &at, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else if (from && from->any.sa_family == AF_INET6) {
		struct in6_pktinfo info = { .ipi6_addr = from->v6.sin6_addr,
					    .ipi6_ifindex = from->v6.sin6_scope_id };
		add_control(m, &at, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
	if (ecn && is_v4)
		add_control(m, &at, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	else if (ecn)
		add_control(m, &at, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	if (segment) {
		uint16_t size = (uint16_t)segment;
		add_control(m, &at, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size));
	}
	m->msg_controllen =
		at ? (size_t)((uint8_t *)at - control->bytes) + CMSG_ALIGN(at->cmsg_len) : 0;
	if (!at)
		m->msg_control = NULL;
}

struct outgoing {
	const struct address *from, *to;
	uint8_t ecn;
	struct bytes data; /* what is left */
	size_t segment;
};

static struct iovec vector_of(struct bytes b)
{
	return (struct iovec){ .iov_base = (void *)(uintptr_t)b.ptr, .iov_len = b.len };
}

/* Bytes that left, or -1 with errno. */
static ssize_t send_segments(struct udp_socket *s, const struct outgoing *o)
{
	size_t fit = SEND_BYTES_MAX / o->segment;
	size_t count = fit > SEGMENTS_MAX ? SEGMENTS_MAX : fit ? fit : 1;
	struct bytes part = bytes_first(o->data, o->segment * count);
	struct iovec vector = vector_of(part);
	struct msghdr m = { .msg_name = (void *)(uintptr_t)&o->to->any,
			    .msg_namelen = o->to->len,
			    .msg_iov = &vector,
			    .msg_iovlen = 1 };
	union control control;

	write_control(&m, &control, o->from, o->to, o->ecn, part.len > o->segment ? o->segment : 0);
	ssize_t n = sendmsg(s->fd, &m, 0);
	return n < 0 ? n : (ssize_t)part.len;
}

static ssize_t send_packets(struct udp_socket *s, const struct outgoing *o)
{
	struct mmsghdr messages[16] = { 0 };
	struct iovec vectors[ARRAY_LEN(messages)];
	struct bytes rest = o->data;
	union control control;
	struct msghdr first = { 0 };
	unsigned count = 0;
	ssize_t sent = 0;

	write_control(&first, &control, o->from, o->to, o->ecn, 0);
	for (; rest.len && count < ARRAY_LEN(messages); count++) {
		struct msghdr *m = &messages[count].msg_hdr;
		vectors[count] = vector_of(bytes_first(rest, o->segment));
		*m = first;
		m->msg_name = (void *)(uintptr_t)&o->to->any;
		m->msg_namelen = o->to->len;
		m->msg_iov = &vectors[count];
		m->msg_iovlen = 1;
		rest = bytes_from(rest, o->segment);
	}
	int n = sendmmsg(s->fd, messages, count, 0);
	for (int i = 0; i < n; i++)
		sent += (ssize_t)vectors[i].iov_len;
	return n < 0 ? n : sent;
}

/* Is it the network's word about another packet, or about this one? */
static bool is_icmp(int sys_errno)
{
	return sys_errno == ECONNREFUSED || sys_errno == EHOSTUNREACH || sys_errno == ENETUNREACH ||
	       sys_errno == EPROTO;
}

static void update_interest(struct udp_socket *s)
{
	loop_watch_set(s->watch,
		       (s->is_deaf ? 0 : LOOP_READABLE) | (s->wants_writable ? LOOP_WRITABLE : 0));
}

ssize_t udp_send(struct udp_socket *s, const struct address *from, const struct address *to,
		 uint8_t ecn, struct bytes data, size_t segment, struct err *err)
{
	struct outgoing o = { from, to, ecn, data, segment };
	int tries = 0;

	BUG_IF(segment == 0 || data.len == 0);
	while (o.data.len) {
		bool is_batch = o.data.len > segment && s->has_segments;
		ssize_t n = is_batch || o.data.len <= segment ? send_segments(s, &o)
							      : send_packets(s, &o);
		if (n > 0) {
			o.data = bytes_from(o.data, (size_t)n);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK) {
			s->wants_writable = true;
			update_interest(s);
			break;
		}
		if (is_batch && (errno == EINVAL || errno == EIO)) {
			/* No checksum offload on this way out, or an older kernel. */
			s->has_segments = false;
			continue;
		}
		if (errno == ENOBUFS || errno == ENOMEM)
			break; /* the interface's queue is full: as if the network had dropped it */
		if (errno == EMSGSIZE)
			return err_set(err, E_LIMIT, "packets of %zu bytes are too large", segment);
		if (is_icmp(errno) && ++tries < SEND_TRIES)
			continue; /* the error was pending, and is not any more */
		char text[ADDRESS_TEXT_SIZE];
		return err_set_errno(err, E_IO, errno, "UDP to %s", address_text(to, text));
	}
	return s->wants_writable ? (ssize_t)(data.len - o.data.len) : (ssize_t)data.len;
}

/* One system call's worth. */
static void send_batch(struct udp_socket *s, const struct udp_message *list, size_t count)
{
	struct mmsghdr messages[SEND_MANY];
	struct iovec vectors[SEND_MANY];
	union control controls[SEND_MANY];
	size_t at = 0;
	int tries = 0;

	for (size_t i = 0; i < count; i++) {
		struct msghdr *m = &messages[i].msg_hdr;
		vectors[i] = vector_of(list[i].data);
		*m = (struct msghdr){ .msg_name = (void *)(uintptr_t)&list[i].to->any,
				      .msg_namelen = list[i].to->len,
				      .msg_iov = &vectors[i],
				      .msg_iovlen = 1 };
		write_control(m, &controls[i], list[i].from, list[i].to, 0, 0);
	}
	while (at < count) {
		int n = sendmmsg(s->fd, messages + at, (unsigned)(count - at), 0);
		if (n > 0) {
			at += (size_t)n;
			tries = 0;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ||
			   errno == ENOMEM) {
			return;
		} else if (errno != EINTR && (!is_icmp(errno) || ++tries == SEND_TRIES)) {
			at++; /* this one cannot be sent; others may */
			tries = 0;
		}
	}
}

void udp_send_many(struct udp_socket *s, const struct udp_message *list, size_t count)
{
	for (size_t i = 0; i < count; i += SEND_MANY)
		send_batch(s, list + i, count - i < SEND_MANY ? count - i : SEND_MANY);
}

int udp_send_empty(struct udp_socket *s, const struct address *from, const struct address *to,
		   struct err *err)
{
	struct msghdr m = { .msg_name = (void *)(uintptr_t)&to->any, .msg_namelen = to->len };
	union control control;
	char text[ADDRESS_TEXT_SIZE];

	write_control(&m, &control, from, to, 0, 0);
	for (int i = 0; i < SEND_TRIES; i++) {
		if (sendmsg(s->fd, &m, 0) >= 0)
			return 0;
		if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ENOMEM)
			return E_AGAIN;
		if (errno != EINTR && !is_icmp(errno))
			break;
	}
	return err_set_errno(err, E_IO, errno, "UDP to %s", address_text(to, text));
}

/* --- Life ------------------------------------------------------------------------------------ */

static void destroy(struct udp_socket *s)
{
	loop_watch_free(s->watch);
	close(s->fd);
	mem_free(s->messages);
	mem_free(s->slots);
	mem_free(s->memory);
	mem_free(s);
}

static void on_ready(void *arg, int events)
{
	struct udp_socket *s = arg;

	s->is_busy = true;
	if (events & LOOP_READABLE && !s->is_deaf) {
		receive(s);
		/* An error is told as both (loop.h). */
		if (events & LOOP_WRITABLE && s->events->on_unreachable && !s->is_freed)
			read_errors(s);
	}
	if (events & LOOP_WRITABLE && s->wants_writable && !s->is_freed) {
		s->wants_writable = false;
		s->events->on_writable(s->ctx);
	}
	s->is_busy = false;
	if (s->is_freed)
		destroy(s);
	else
		update_interest(s); /* an error has ended the watch */
}

static struct udp_socket *new_socket(struct loop *l, int fd, int slots, size_t slot_bytes,
				     const struct udp_events *events, void *ctx)
{
	struct udp_socket *s = mem_alloc(sizeof(*s));
	socklen_t len = sizeof(int);
	int segment;

	s->loop = l;
	s->fd = fd;
	s->events = events;
	s->ctx = ctx;
	s->local.len = sizeof(s->local.v6);
	getsockname(fd, &s->local.any, &s->local.len);
	s->has_segments = getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, &len) == 0;
	if (events->on_unreachable) {
		set_option(fd, IPPROTO_IP, IP_RECVERR, 1);
		if (s->local.any.sa_family == AF_INET6)
			set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
	}
	s->slot_count = s->used = slots;
	s->messages = mem_alloc_array((size_t)slots, sizeof(s->messages[0]));
	s->slots = mem_alloc_array((size_t)slots, sizeof(s->slots[0]));
	s->memory = mem_resize(NULL, (size_t)slots * slot_bytes); /* touched as it is needed */
	for (int i = 0; i < slots; i++)
		s->slots[i].vector =
			(struct iovec){ s->memory + (size_t)i * slot_bytes, slot_bytes };
	s->watch = loop_watch_new(l, fd, on_ready, s);
	BUG_IF(!s->watch);
	update_interest(s);
	return s;
}

struct udp_socket *udp_new(struct loop *l, int fd, const struct udp_events *events, void *ctx)
{
	return new_socket(l, fd, SLOTS, SLOT_BYTES, events, ctx);
}

bool udp_is_any(const struct udp_socket *s)
{
	return s->local.any.sa_family == AF_INET ? s->local.v4.sin_addr.s_addr == htonl(INADDR_ANY)
						 : IN6_IS_ADDR_UNSPECIFIED(&s->local.v6.sin6_addr);
}

struct udp_socket *udp_new_small(struct loop *l, int fd, size_t bytes,
				 const struct udp_events *events, void *ctx)
{
	struct udp_socket *s = new_socket(l, fd, SMALL_SLOTS, bytes, events, ctx);

	set_option(fd, IPPROTO_UDP, UDP_GRO, 0);
	set_option(fd, IPPROTO_IP, IP_RECVTOS, 0);
	if (s->local.any.sa_family == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 0);
	/* A socket of one address has no other. */
	if (!udp_is_any(s) && s->local.any.sa_family == AF_INET)
		set_option(fd, IPPROTO_IP, IP_PKTINFO, 0);
	return s;
}

void udp_stop_reading(struct udp_socket *s)
{
	s->is_deaf = true;
	update_interest(s);
}

struct udp_socket *udp_free(struct udp_socket *s)
{
	if (!s)
		return NULL;
	s->is_freed = true;
	if (!s->is_busy)
		destroy(s);
	return NULL;
}

const struct address *udp_local(const struct udp_socket *s)
{
	return &s->local;
}
