#include "io/host_watch.h"

#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#ifdef __linux__
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#endif

/* --- Questions ------------------------------------------------------------------------------- */

bool host_has_address(const struct address *a)
{
	struct address any_port = *a;
	int fd = socket(a->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool has = false;

	if (fd < 0)
		return false;
	if (a->any.sa_family == AF_INET)
		any_port.v4.sin_port = 0;
	else
		any_port.v6.sin6_port = 0;
	has = bind(fd, &any_port.any, any_port.len) == 0;
	close(fd);
	return has;
}

bool host_source_of(const struct address *to, const struct address *from, struct address *ret)
{
	int fd = socket(to->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool has = false;

	if (fd < 0)
		return false;
	if (!from ||
	    (from->any.sa_family == to->any.sa_family && bind(fd, &from->any, from->len) == 0))
		has = connect(fd, &to->any, to->len) == 0;
	*ret = (struct address){ .len = sizeof(ret->v6) };
	has = has && getsockname(fd, &ret->any, &ret->len) == 0;
	close(fd);
	if (has && ret->any.sa_family == AF_INET)
		ret->v4.sin_port = 0;
	else if (has)
		ret->v6.sin6_port = 0;
	return has;
}

bool host_has_route(const struct address *to, const struct address *from)
{
	struct address ours;

	return host_source_of(to, from, &ours);
}

/* --- Messages of the kernel ------------------------------------------------------------------ */

#ifdef __linux__

/* Links of one host: with more, those beyond are told of at each message. */
#define MAX_KNOWN_LINKS 4096
/* One datagram of the kernel: NLMSG_GOODSIZE is a page, dumps (which we do not ask for) are larger. */
#define DATAGRAM_BYTES (32 * 1024)
/* Read in one turn; what is left wakes us again. */
#define DATAGRAMS_PER_TURN 64

/* Was it up before? A link seen for the first time was the opposite, so that its message counts. */
static bool was_up(struct host_links *links, int index, bool is_up)
{
	for (size_t i = 0; i < links->count; i++)
		if (links->links[i].index == index) {
			bool was = links->links[i].is_up;
			links->links[i].is_up = is_up;
			return was;
		}
	if (links->count < MAX_KNOWN_LINKS) {
		links->links =
			mem_resize(links->links, (links->count + 1) * sizeof(links->links[0]));
		links->links[links->count++] = (struct host_link){ index, is_up };
	}
	return !is_up;
}

static void forget(struct host_links *links, int index)
{
	for (size_t i = 0; i < links->count; i++)
		if (links->links[i].index == index) {
			links->links[i] = links->links[--links->count];
			return;
		}
}

static int link_change(struct host_links *links, const struct nlmsghdr *h)
{
	const struct ifinfomsg *m = NLMSG_DATA(h);

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || m->ifi_flags & IFF_LOOPBACK)
		return 0;
	if (h->nlmsg_type == RTM_DELLINK) {
		bool was = was_up(links, m->ifi_index, false);
		forget(links, m->ifi_index);
		return was ? NETWORK_LOST : 0;
	}
	bool is_up = (m->ifi_flags & IFF_UP) && (m->ifi_flags & IFF_RUNNING);
	bool was = was_up(links, m->ifi_index, is_up);
	return was == is_up ? 0 : is_up ? NETWORK_GAINED : NETWORK_LOST;
}

static int address_change(const struct nlmsghdr *h)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || m->ifa_scope == RT_SCOPE_HOST)
		return 0;
	if (h->nlmsg_type == RTM_DELADDR)
		return NETWORK_LOST;
	/* It cannot be used yet; another message says when. */
	return m->ifa_flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) ? 0 : NETWORK_GAINED;
}

static int route_change(const struct nlmsghdr *h)
{
	const struct rtmsg *m = NLMSG_DATA(h);

	/* Those of the local table come with addresses, clones with every destination. */
	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || m->rtm_type != RTN_UNICAST ||
	    m->rtm_table == RT_TABLE_LOCAL || m->rtm_flags & RTM_F_CLONED)
		return 0;
	if (h->nlmsg_type == RTM_DELROUTE)
		return NETWORK_LOST;
	/* In the place of another one, connections may lead nowhere. */
	return h->nlmsg_flags & NLM_F_REPLACE ? NETWORK_GAINED | NETWORK_LOST : NETWORK_GAINED;
}

int host_parse_netlink(struct host_links *links, struct bytes datagram)
{
	struct nlmsghdr header;
	int changes = 0;

	while (datagram.len >= sizeof(header)) {
		memcpy(&header, datagram.ptr, sizeof(header));
		if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > datagram.len)
			break;
		const struct nlmsghdr *h = (const void *)datagram.ptr;
		switch (header.nlmsg_type) {
		case RTM_NEWLINK:
		case RTM_DELLINK:
			changes |= link_change(links, h);
			break;
		case RTM_NEWADDR:
		case RTM_DELADDR:
			changes |= address_change(h);
			break;
		case RTM_NEWROUTE:
		case RTM_DELROUTE:
			changes |= route_change(h);
			break;
		default:
			break;
		}
		datagram = bytes_from(datagram, NLMSG_ALIGN(header.nlmsg_len));
	}
	return changes;
}

#else

int host_parse_netlink(struct host_links *links, struct bytes datagram)
{
	(void)links;
	(void)datagram;
	return 0;
}

#endif

void host_links_done(struct host_links *links)
{
	links->links = mem_free(links->links);
	links->count = 0;
}

/* --- The watch ------------------------------------------------------------------------------- */

struct host_watch {
	struct loop *loop;
	void (*fn)(void *ctx, int changes);
	void *ctx;
	int fd; /* -1: nothing is told */
	struct loop_watch *watch;
	struct timer quiet;
	int changes;
	struct host_links links;
};

static void on_quiet(struct timer *t)
{
	struct host_watch *w = CONTAINER_OF(t, struct host_watch, quiet);
	int changes = w->changes;

	w->changes = 0;
	w->fn(w->ctx, changes);
}

#ifdef __linux__

static void on_messages(void *arg, int events)
{
	/* Aligned as the messages are. */
	union {
		struct nlmsghdr align;
		uint8_t bytes[DATAGRAM_BYTES];
	} in UNINITIALIZED;
	struct host_watch *w = arg;

	(void)events;
	for (int i = 0; i < DATAGRAMS_PER_TURN; i++) {
		struct sockaddr_nl from = { 0 };
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(w->fd, &in, sizeof(in), 0, (struct sockaddr *)&from, &len);
		if (n < 0 && errno == ENOBUFS) {
			/* More has happened than could be kept for us. */
			w->changes |= NETWORK_GAINED | NETWORK_LOST;
			continue;
		}
		if (n < 0)
			break;
		if (from.nl_pid == 0) /* else it is some process of this host */
			w->changes |= host_parse_netlink(&w->links, bytes_of(in.bytes, (size_t)n));
	}
	if (w->changes && !timer_is_set(&w->quiet))
		timer_set(&w->quiet, NETWORK_QUIET_MS);
}

static void listen_to_kernel(struct host_watch *w)
{
	const struct sockaddr_nl groups = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
			     RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
	};

	w->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (w->fd >= 0 && bind(w->fd, (const struct sockaddr *)&groups, sizeof(groups)) == 0) {
		w->watch = loop_watch_new(w->loop, w->fd, on_messages, w);
		BUG_IF(!w->watch);
		loop_watch_set(w->watch, LOOP_READABLE);
		return;
	}
	log_debug("io/host_watch", "The kernel does not tell of network changes",
		  LOG_STR("error", strerror(errno)));
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

#else

static void listen_to_kernel(struct host_watch *w)
{
	w->fd = -1;
}

#endif

struct host_watch *host_watch_new(struct loop *l, void (*fn)(void *ctx, int changes), void *ctx)
{
	struct host_watch *w = mem_alloc(sizeof(*w));

	w->loop = l;
	w->fn = fn;
	w->ctx = ctx;
	timer_init(&w->quiet, l, on_quiet);
	listen_to_kernel(w);
	return w;
}

struct host_watch *host_watch_free(struct host_watch *w)
{
	if (!w)
		return NULL;
	timer_stop(&w->quiet);
	loop_watch_free(w->watch);
	if (w->fd >= 0)
		close(w->fd);
	host_links_done(&w->links);
	return mem_free(w);
}
