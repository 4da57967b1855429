/* The connections to the edge: each is dialled, registered, and dialled again for ever when it is lost.
 * One loop. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "base/uuid.h"

struct connector_config;
struct dialer;
struct loop;
struct server;

struct dialer_events {
	/* The first connection has registered (once): READY for the service manager, the pid file. */
	void (*on_first_registered)(void *ctx);
	/* After dialer_drain(): every connection has ended. */
	void (*on_drained)(void *ctx);
};

/* `config`, `server` and `events` are borrowed for life. NULL when the edge's CA is unusable. */
struct dialer *dialer_new(struct loop *loop, const struct connector_config *config,
			  const struct uuid *connector, struct server *server,
			  const struct dialer_events *events, void *ctx, struct err *err);
/* Only after on_drained (or before anything was dialled). */
struct dialer *dialer_free(struct dialer *d);
/* Connection 0 first; the others follow as soon as it has registered. */
void dialer_start(struct dialer *d);
/* Unregisters all, lets running streams finish, dials no more. */
void dialer_drain(struct dialer *d);
/* Ends what is left, at once. */
void dialer_abort(struct dialer *d);
size_t dialer_registered_count(const struct dialer *d);
