/* The table of public ports: which are open, and why others are not. Control thread.
 *
 * It follows the routes of each new snapshot: opens a socket per worker where a port has come, closes them where
 * it has gone. A port that cannot be listened on says why in its state, and is tried again.
 */
#pragma once

#include "edge/ports/port_allow.h"
#include "io/address.h"

struct edge_config;
struct loop;
struct ports;
struct snapshot;
struct worker;

/* All borrowed until ports_free(). */
struct ports *ports_new(struct loop *loop, const struct edge_config *cfg,
			struct worker *const *workers, size_t worker_count);
struct ports *ports_free(struct ports *p); /* NULL is fine; returns NULL; the sockets are the workers' */
void ports_update(struct ports *p, const struct snapshot *s);
/* The edge drains: its workers close all of them, nothing is opened any more. */
void ports_drain(struct ports *p);

#define PORTS_ERROR_SIZE 256

struct ports_state {
	bool is_known;                   /* there is a route */
	bool is_open;                    /* else: */
	char error[PORTS_ERROR_SIZE];    /* "cannot listen: …" */
	uint64_t in_use, total, refused; /* connections, or flows */
};
void ports_state(const struct ports *p, enum port_protocol protocol, uint16_t number,
		 struct ports_state *ret);
/* How many are open, and how many are not and should be. */
void ports_count(const struct ports *p, size_t *ret_open, size_t *ret_failed);

/* One socket of an open port. The descriptor belongs to the worker, and stays open until ports_update(),
 * ports_drain() or ports_free() closes it: the control thread may duplicate it. */
struct ports_socket {
	enum port_protocol protocol;
	struct address address;
	size_t worker;
	int fd;
};
/* Calls fn() for each; any order. */
void ports_each_socket(const struct ports *p, void (*fn)(void *ctx, const struct ports_socket *s),
		       void *ctx);
/* Before the first ports_update(): sockets that somebody else has opened for us, as ports_each_socket() shows
 * them (`worker` does not count). Used for routes that want the same address, closed when none does. Takes the
 * descriptor over. */
void ports_inherit(struct ports *p, const struct ports_socket *s);
