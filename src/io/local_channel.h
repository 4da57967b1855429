/* A conversation between two processes of one host: whole messages and open descriptors, over a Unix
 * SOCK_SEQPACKET socket. The descriptors are the caller's to close; all are close-on-exec and none blocks.
 * Any thread, one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/err.h"

/* Descriptors in one message; the kernel takes 253. */
#define LOCAL_CHANNEL_FDS 16

/* Listens at `path` (mode 0600 from the first moment on); what nobody listens on any more is replaced. The
 * descriptor, or an error. For listener_new() (io/conn.h). */
int local_channel_listen(const char *path, struct err *err);
/* E_NOT_FOUND: there is nothing at `path`, or nobody behind it. */
int local_channel_connect(const char *path, struct err *err);

/* Two ends of one conversation. */
int local_channel_pair(int fds[2], struct err *err);

/* Whom the kernel saw connect (or listen, from the side that connected). False when it does not say. */
struct local_channel_peer {
	pid_t pid;
	uid_t uid;
};
bool local_channel_peer(int fd, struct local_channel_peer *ret);

/* One message, not empty, with up to LOCAL_CHANNEL_FDS descriptors, which stay the caller's own too. 0, E_BUSY
 * when there is no room now, E_CLOSED when the peer has gone, or another error. */
int local_channel_send(int fd, struct bytes message, const int *fds, size_t fd_count,
		       struct err *err);
/* One message of up to `size` bytes, its length returned; descriptors that came with it in fds[0 to
 * *ret_fd_count], owned by the caller. E_AGAIN when there is none yet, E_CLOSED at the end, E_LIMIT for a longer
 * message or more descriptors (all of them are closed then). */
ssize_t local_channel_receive(int fd, void *ptr, size_t size, int fds[LOCAL_CHANNEL_FDS],
			      size_t *ret_fd_count, struct err *err);
/* Blocks until there is something to receive (or the end of it): false when there was nothing in time. */
bool local_channel_wait(int fd, int64_t timeout_ms);
