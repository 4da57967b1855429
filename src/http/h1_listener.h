/* A small HTTP/1.1 server for the operator: metrics, readiness, the admin socket. Not for visitors: no
 * TLS, a handful of connections. One loop. */
#pragma once

#include "http/exchange.h"

struct h1_listener;

/* Takes the listening descriptor over. `chain` is borrowed until the close has finished, which is at the
 * latest when the loop is freed. Connections beyond `max_connections` are closed at once. */
struct h1_listener *h1_listener_new(struct loop *loop, int fd, const struct handler_chain *chain,
				    size_t max_connections);
/* Stops listening; what is open may ask once more, and h1_listener_close() follows some day. */
void h1_listener_leave(struct h1_listener *l);
/* Stops listening, closes what is open, frees itself when that is done. NULL is fine; returns NULL. */
struct h1_listener *h1_listener_close(struct h1_listener *l);
