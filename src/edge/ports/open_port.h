/* The sockets of public ports on one worker: opened and closed by the control thread's table (ports.h), through
 * posts. Where a port leads says the worker's snapshot at the moment a visitor comes.
 */
#pragma once

#include "base/list.h"
#include "edge/ports/port.h"
#include "io/address.h"

struct listener;
struct udp_socket;
struct worker;
struct port_udp;

struct open_port {
	struct list node; /* in worker->open_ports */
	struct worker *worker;
	struct port *port;         /* counted */
	struct listener *listener; /* TCP; owned */
	struct port_udp *udp;      /* UDP; owned */
	uint64_t generation;       /* of the opening: what closes is that one and no later one */
};

/* Any thread. Takes the descriptor over, and a reference of `port`. */
void open_port_post(struct worker *w, struct port *port, uint64_t generation, int fd);
/* All sockets of that opening. TCP connections go on until they end. */
void open_port_post_close(struct worker *w, uint64_t generation);

/* --- On the worker's thread --- */

/* It drains: no more visitors come, connections go on; or ends: connections are closed, too. */
void open_ports_drain(struct worker *w);
void open_ports_abort(struct worker *w);
