#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/conn.h"

/* The kernel clips it to somaxconn. */
#define BACKLOG 4096
/* Out of descriptors: give connections time to end. */
#define PAUSE_MS 100

struct listener {
	struct loop *loop;
	int fd; /* owned */
	struct loop_watch *watch;
	struct timer pause;
	void (*on_accept)(void *ctx, int fd, const struct address *peer);
	void (*on_exhausted)(void *ctx, int sys_errno); /* NULL: nobody is told */
	void *ctx;
};

/* A socket file that nobody listens on any more is in the way of bind(2). */
static void remove_stale_socket(const struct address *address)
{
	struct stat st;

	if (lstat(address->local.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, &address->any, address->len) < 0 && errno == ECONNREFUSED)
		unlink(address->local.sun_path);
	close(fd);
}

bool address_is_of_this_host(const struct address *a)
{
	struct address any_port = *a;

	if (a->any.sa_family == AF_INET)
		any_port.v4.sin_port = 0;
	else if (a->any.sa_family == AF_INET6)
		any_port.v6.sin6_port = 0;
	else
		return true;
	/* Only an address of ours can be bound to, and a datagram socket disturbs nobody. */
	int fd = socket(a->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return true; /* who cannot ask takes care */
	bool is_ours = bind(fd, &any_port.any, any_port.len) == 0;
	close(fd);
	return is_ours;
}

int listen_open(struct address *address, bool shared, struct err *err)
{
	char text[ADDRESS_TEXT_SIZE];
	int on = 1, off = 0;
	int family = address->any.sa_family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	address_text(address, text);
	if (fd < 0)
		return err_set_errno(err, E_IO, errno, "listen on %s", text);
	if (family == AF_UNIX) {
		remove_stale_socket(address);
	} else {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (shared)
			setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
		if (family == AF_INET6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, address->is_v6only ? &on : &off,
				   sizeof(off));
	}
	/* A control socket is for its owner; the mode must be right before anybody can connect. */
	mode_t mask = family == AF_UNIX ? umask(0177) : 0;
	int ret = bind(fd, &address->any, address->len);
	int sys_errno = errno;
	if (family == AF_UNIX)
		umask(mask);
	if (ret < 0 || listen(fd, BACKLOG) < 0) {
		if (ret == 0)
			sys_errno = errno;
		close(fd);
		return err_set_errno(err, E_IO, sys_errno, "listen on %s", text);
	}
	if (family != AF_UNIX) {
		address->len = sizeof(address->v6);
		getsockname(fd, &address->any, &address->len);
	}
	return fd;
}

static void on_pause_over(struct timer *t)
{
	loop_watch_set(CONTAINER_OF(t, struct listener, pause)->watch, LOOP_READABLE);
}

static void on_ready(void *arg, int events)
{
	struct listener *l = arg;

	(void)events;
	for (int i = 0; i < LIMIT_ACCEPTS_PER_TURN; i++) {
		struct address peer = { .len = sizeof(peer.v6) };
		peer.len = (socklen_t)sizeof(struct sockaddr_un);
		int fd = accept4(l->fd, &peer.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			l->on_accept(l->ctx, fd, &peer);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK) {
			int sys_errno = errno;
			loop_watch_set(l->watch, 0);
			timer_set(&l->pause, PAUSE_MS);
			if (l->on_exhausted)
				l->on_exhausted(l->ctx, sys_errno);
		}
		return;
	}
}

struct listener *listener_new(struct loop *loop, int fd,
			      void (*on_accept)(void *ctx, int fd, const struct address *peer),
			      void *ctx)
{
	struct listener *l = mem_alloc(sizeof(*l));

	l->loop = loop;
	l->fd = fd;
	l->on_accept = on_accept;
	l->ctx = ctx;
	timer_init(&l->pause, loop, on_pause_over);
	l->watch = loop_watch_new(loop, fd, on_ready, l);
	BUG_IF(!l->watch);
	loop_watch_set(l->watch, LOOP_READABLE);
	return l;
}

void listener_set_exhausted(struct listener *l, void (*on_exhausted)(void *ctx, int sys_errno))
{
	l->on_exhausted = on_exhausted;
}

struct listener *listener_free(struct listener *l)
{
	if (!l)
		return NULL;
	timer_stop(&l->pause);
	loop_watch_free(l->watch);
	close(l->fd);
	return mem_free(l);
}
