/* The running edge's side of a takeover: waits at DIR/takeover.sock for a successor, hands it the sockets and
 * what is kept in memory only, and says when it is done. One successor at a time. Control thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "edge/listen/sockets.h"

struct giver;
struct loop;

struct giver_events {
	/* A successor is starting: nothing may be written from now on; or it has failed: all is as it was. */
	void (*set_frozen)(void *ctx, bool is_frozen);
	/* What the successor must know and the store does not: JSON in ASCII, owned by the caller. Frozen. */
	char *(*state)(void *ctx);
	/* It serves now. The giver takes no further question. */
	void (*handed_over)(void *ctx, pid_t successor);
	/* After set_frozen(false), or before anything was frozen. */
	void (*failed)(void *ctx, const char *why);
};

/* Owned: DIR/takeover.sock. */
char *giver_path(const char *data_dir);
/* Listens, on the socket that came with a takeover if there was one; successors have to wait for `wait_ms`. `sockets`
 * is borrowed. */
struct giver *giver_new(struct loop *loop, const char *data_dir, struct sockets *sockets,
			int64_t generation, int64_t wait_ms, const struct giver_events *events,
			void *ctx, struct err *err);
/* Its socket's name goes, unless a successor has it. NULL is fine. */
struct giver *giver_free(struct giver *g);
