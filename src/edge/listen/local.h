/* The listeners for the operator: the admin socket and the metrics address. Control thread. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct control_gateway;
struct edge_config;
struct local_listeners;
struct loop;
struct sockets;

struct local_listeners *local_listeners_new(struct loop *loop, struct control_gateway *gateway,
					    struct sockets *sockets, const struct edge_config *cfg,
					    struct err *err);
/* A successor has the sockets: stops listening, lets what is open ask once more, leaves the socket's name. */
void local_listeners_leave(struct local_listeners *l);
/* Stops listening and closes what is open; local_listeners_free() follows when the loop has run to its
 * end. */
void local_listeners_close(struct local_listeners *l);
struct local_listeners *local_listeners_free(struct local_listeners *l);
/* What GET /ready answers: 200 or 503. */
void local_listeners_set_ready(struct local_listeners *l, bool is_ready);
