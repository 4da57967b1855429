/* The first steps of a visitor's request: whose is it? Worker thread. */
#pragma once

#include "http/exchange.h"

/* Handler: finds host and route. The control host goes on to the control plane, a routed hostname to
 * the tunnel; an unknown one fails with 404. Sets x->host, x->route. */
enum handled route_handle(struct exchange *x, void *worker);
/* Handler of the plain HTTP listener: 301 to https. */
enum handled route_redirect(struct exchange *x, void *worker);
