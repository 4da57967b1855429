/* The sockets that this process listens on, by what they are for: opened here or taken over from the process
 * before (edge/takeover), and what is handed to the next one. Control thread.
 *
 * The table keeps a descriptor of its own of each; whoever serves one gets a duplicate. So a socket lives until
 * its group is closed AND its servers have closed theirs; as long as any process has one open, connections that
 * wait in its queue are not lost.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "base/list.h"
#include "io/address.h"

struct sockets;

/* What a socket is, as its successor must know it. */
enum socket_kind {
	SOCKET_STREAM,
	SOCKET_DATAGRAM,
	SOCKET_MESSAGES, /* SOCK_SEQPACKET, for edge/takeover */
	SOCKET_PAIR,     /* one end of a SOCK_SEQPACKET pair, for edge/tunnels/quic_relay.h */
};

/* The sockets of one address: one, or one per worker (SO_REUSEPORT). Read-only for users. */
struct socket_group {
	struct list node;
	char *what;    /* owned; "https", "tunnel", "admin": as logs say it */
	char *address; /* owned; as configured: port 0 may stand for any */
	enum socket_kind kind;
	int *fds; /* owned, and each */
	size_t count;
	bool is_claimed; /* false: came from the process before, and nobody has asked for it yet */
};

struct sockets *sockets_new(void);
struct sockets *sockets_free(struct sockets *s); /* closes all */

/* A group that was taken over, fits and nobody has claimed yet; it is claimed now. NULL: there is none. A group
 * of one address is claimed once, whatever its count is. */
struct socket_group *sockets_claim(struct sockets *s, const char *what, const char *address,
				   enum socket_kind kind);
/* A new group, claimed, of descriptors opened by the caller; they are taken over. */
struct socket_group *sockets_add(struct sockets *s, const char *what, const char *address,
				 enum socket_kind kind, const int *fds, size_t count);
/* One more in a group; taken over. */
void sockets_append(struct socket_group *g, int fd);
/* sockets_claim() or listen_open(), `count` sockets that share the port if `shared`. *ret_address is the real
 * one. A taken group may have more or fewer than `count`. NULL: *err. */
struct socket_group *sockets_listen(struct sockets *s, const char *what, const char *address,
				    bool shared, size_t count, struct address *ret_address,
				    struct err *err);
/* The i-th descriptor of so many servers, duplicated: where there are fewer sockets than servers, some share one.
 * -1 with *err when the process is out of descriptors. */
int sockets_dup(const struct socket_group *g, size_t i, struct err *err);
/* Closes the table's descriptors of it; the group is gone. */
void sockets_close(struct sockets *s, struct socket_group *g);
/* The same of those that the process before had and nobody wants any more; Unix ones lose their name. */
void sockets_drop_unclaimed(struct sockets *s);
/* All of them. */
void sockets_close_all(struct sockets *s);

/* --- For edge/takeover --- */

/* One descriptor of the process before, taken over by the call; of one group as long as all else is the same as
 * at the call before it and not `is_first`. E_INVALID: it is no socket of that kind (it is closed then). */
int sockets_inherit(struct sockets *s, const char *what, const char *address, enum socket_kind kind,
		    bool is_first, int fd, struct err *err);
/* The group behind `g` in the table; NULL: the first; NULL at the end. */
const struct socket_group *sockets_next(const struct sockets *s, const struct socket_group *g);
