#include "io/local_channel.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A handful of processes may ask, each once. */
#define BACKLOG 4

static int make_address(const char *path, struct sockaddr_un *ret, struct err *err)
{
	size_t len = strlen(path);

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (len == 0 || len >= sizeof(ret->sun_path))
		return err_set(err, E_INVALID, "%s: longer than the %zu bytes of a socket's path",
			       path, sizeof(ret->sun_path) - 1);
	memcpy(ret->sun_path, path, len);
	return 0;
}

static int make_socket(const char *path, struct err *err)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? err_set_errno(err, E_IO, errno, "%s", path) : fd;
}

int local_channel_connect(const char *path, struct err *err)
{
	struct sockaddr_un to;
	int code = make_address(path, &to, err);

	if (code < 0)
		return code;
	int fd = make_socket(path, err);
	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		code = errno == ENOENT || errno == ECONNREFUSED ? E_NOT_FOUND : E_IO;
		code = err_set_errno(err, code, errno, "%s", path);
		close(fd);
		return code;
	}
	return fd;
}

/* A socket file that nobody listens on any more is in the way of bind(2). */
static void remove_stale(const char *path)
{
	struct stat st;

	if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return;
	struct err err;
	int fd = local_channel_connect(path, &err);
	if (fd >= 0)
		close(fd);
	else if (err.sys_errno == ECONNREFUSED)
		unlink(path);
}

int local_channel_listen(const char *path, struct err *err)
{
	struct sockaddr_un at;
	int code = make_address(path, &at, err);

	if (code < 0)
		return code;
	remove_stale(path);
	int fd = make_socket(path, err);
	if (fd < 0)
		return fd;
	/* The mode must be right before anybody can connect. */
	mode_t mask = umask(0177);
	int ret = bind(fd, (const struct sockaddr *)&at, sizeof(at));
	int sys_errno = errno;
	umask(mask);
	if (ret == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	if (ret == 0)
		sys_errno = errno;
	close(fd);
	return err_set_errno(err, E_IO, sys_errno, "listen on %s", path);
}

int local_channel_pair(int fds[2], struct err *err)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return err_set_errno(err, E_IO, errno, "pair of local sockets");
	return 0;
}

bool local_channel_peer(int fd, struct local_channel_peer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || len != sizeof(cred))
		return false;
	*ret = (struct local_channel_peer){ cred.pid, cred.uid };
	return true;
}

union control {
	char space[CMSG_SPACE(LOCAL_CHANNEL_FDS * sizeof(int))];
	struct cmsghdr align;
};

static int failed(struct err *err)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return E_AGAIN;
	int code = errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? E_CLOSED : E_IO;
	return err_set_errno(err, code, errno, "local socket");
}

int local_channel_send(int fd, struct bytes message, const int *fds, size_t fd_count,
		       struct err *err)
{
	struct iovec part = { (void *)(uintptr_t)message.ptr, message.len };
	struct msghdr head = { .msg_iov = &part, .msg_iovlen = 1 };
	union control control = { 0 };
	ssize_t n;

	BUG_IF(fd_count > LOCAL_CHANNEL_FDS || message.len == 0);
	if (fd_count) {
		head.msg_control = control.space;
		head.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	do
		n = sendmsg(fd, &head, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? failed(err) : 0;
}

static void close_all(const int *fds, size_t *count)
{
	while (*count)
		close(fds[--*count]);
}

ssize_t local_channel_receive(int fd, void *ptr, size_t size, int fds[LOCAL_CHANNEL_FDS],
			      size_t *ret_fd_count, struct err *err)
{
	struct iovec part = { ptr, size };
	union control control;
	struct msghdr head = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	int resets = 0;
	ssize_t n;

	*ret_fd_count = 0;
	/* A peer that closes without having read all of ours is told by ECONNRESET, once, before its last words. */
	do
		n = recvmsg(fd, &head, MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || (errno == ECONNRESET && resets++ == 0)));
	if (n < 0)
		return failed(err);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&head); c; c = CMSG_NXTHDR(&head, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		/* The kernel makes no more of them than there is room for. */
		BUG_IF(*ret_fd_count + count > LOCAL_CHANNEL_FDS);
		memcpy(fds + *ret_fd_count, CMSG_DATA(c), count * sizeof(int));
		*ret_fd_count += count;
	}
	if (head.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		close_all(fds, ret_fd_count);
		return err_set(err, E_LIMIT, "a message larger than %zu bytes or %d descriptors",
			       size, LOCAL_CHANNEL_FDS);
	}
	if (n == 0) {
		close_all(fds, ret_fd_count);
		return err_set(err, E_CLOSED, "the other side has gone");
	}
	return n;
}

bool local_channel_wait(int fd, int64_t timeout_ms)
{
	struct pollfd watch = { .fd = fd, .events = POLLIN };
	int n;

	do
		n = poll(&watch, 1, (int)timeout_ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}
