/* A public port that is open: who uses it, counted over all workers. Shared and counted; its numbers are
 * atomics, changed from any thread.
 */
#pragma once

#include <stdatomic.h>

#include "base/hash.h"
#include "edge/ports/port_allow.h"
#include "io/address.h"

/* Addresses share these counters by a keyed hash: two that fall together share their limit, which takes more
 * addresses than a port serves as a rule, and cannot be aimed at. */
#define PORT_SLOTS 4096

/* What a UDP port met last. */
enum port_trouble { PORT_WELL, PORT_NO_TUNNEL, PORT_NO_QUIC };

struct port {
	atomic_uint refs;
	enum port_protocol protocol;
	uint16_t number;
	uint8_t key[HASH_KEY_BYTES];
	atomic_uint in_use; /* connections or flows now */
	atomic_uint_fast64_t total, refused;
	atomic_uint under_way; /* datagrams between workers */
	atomic_int trouble;    /* enum port_trouble */
	atomic_uint slots[PORT_SLOTS];
};

struct port *port_new(enum port_protocol protocol, uint16_t number);
struct port *port_ref(struct port *p);
struct port *port_unref(struct port *p); /* NULL is fine; returns NULL */

enum port_entry { PORT_ENTERED, PORT_FULL, PORT_ADDRESS_FULL };

/* One more connection or flow of a visitor (IPv6: of its /64), as far as LIMIT_PORT_... allow; port_leave()
 * follows when it was PORT_ENTERED. */
enum port_entry port_enter(struct port *p, const struct address *visitor);
void port_leave(struct port *p, const struct address *visitor);
/* Which counter an address has: the same for the same one. */
size_t port_slot(const struct port *p, const struct address *visitor);
