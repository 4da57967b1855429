/* A public UDP port on one worker: one socket, and a flow through a tunnel session for each client. Worker
 * thread.
 */
#pragma once

#include "edge/ports/port.h"

struct port_udp;
struct worker;

/* Takes the descriptor over; `port` is borrowed. */
struct port_udp *port_udp_new(struct worker *w, struct port *port, int fd);
struct port_udp *port_udp_free(struct port_udp *u); /* NULL is fine; returns NULL */
