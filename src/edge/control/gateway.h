/* From a worker's exchange to the control plane and back: collects the (bounded) request, posts it to
 * the control thread and answers with what comes back. */
#pragma once

#include <stdbool.h>

#include "http/exchange.h"

struct control;
struct control_gateway;

/* One for the process; made on the control thread before workers start, freed after they have ended. */
struct control_gateway *control_gateway_new(struct loop *control_loop, struct control *control);
/* The control plane is gone: whoever still asks gets 503. Control thread. */
void control_gateway_close(struct control_gateway *g);
struct control_gateway *control_gateway_free(struct control_gateway *g);

/* Any worker. Always HANDLED_TAKEN. `is_admin`: the request came by the admin socket. */
enum handled control_gateway_handle(struct exchange *x, struct control_gateway *g, bool is_admin);

/* Runs fn(control, arg) on the control thread; control is NULL when the control plane is gone. Any thread. */
void control_gateway_post(struct control_gateway *g, void (*fn)(struct control *c, void *arg),
			  void *arg);
