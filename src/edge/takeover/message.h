/* What two edges say to each other at a takeover: one JSON object per message of a local channel
 * (io/local_channel.h), with descriptors beside it where it names sockets (docs/decisions/0005-takeover.md).
 *
 *   successor            running edge
 *   hello     ------->
 *             <-------   sockets ...   (descriptors)
 *             <-------   state ...     (what is kept in memory only, in pieces)
 *             <-------   all           (nothing is written any more)
 *   ready     ------->                 (routes and certificates are there, the sockets as well)
 *             <-------   done          (accepts no more)
 * Either may say "refused" with a reason instead, and hangs up. Any thread.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "edge/listen/sockets.h"
#include "io/local_channel.h"

/* Both ends must have the same; raised when a member is added that may not be ignored. */
#define TAKEOVER_VERSION 1
/* Of one message. */
#define TAKEOVER_MESSAGE_BYTES (32 * 1024)
/* Of state in one message: JSON may need six bytes for one. */
#define TAKEOVER_PIECE_BYTES (4 * 1024)

enum takeover_type {
	TAKEOVER_HELLO,
	TAKEOVER_SOCKETS,
	TAKEOVER_STATE,
	TAKEOVER_ALL,
	TAKEOVER_READY,
	TAKEOVER_DONE,
	TAKEOVER_REFUSED,
};

struct takeover_socket {
	const char *what, *address; /* in the arena, or borrowed when printing */
	enum socket_kind kind;
	bool is_first; /* of its group */
};

struct takeover_message {
	enum takeover_type type;
	int64_t version;     /* hello, all */
	const char *program; /* hello: ADIT_VERSION, for people */
	struct takeover_socket sockets[LOCAL_CHANNEL_FDS];
	size_t socket_count;
	const char *text;   /* state: a piece of it; refused: why */
	int64_t count;      /* all: sockets sent */
	int64_t generation; /* all: of the successor; 1 is the first edge */
};

/* Parses one; texts go to the arena. E_PARSE, E_LIMIT. Unknown members are ignored. */
int takeover_message_read(struct bytes json, struct arena *a, struct takeover_message *ret,
			  struct err *err);
/* Appends its text; E_LIMIT when it does not fit, E_INVALID when a socket's path is no UTF-8. */
int takeover_message_print(const struct takeover_message *m, struct buf *out) MUST_USE;
const char *takeover_type_name(enum takeover_type type);
