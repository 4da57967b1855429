/* Which public ports tunnels may have, as the edge's operator says: "2222", "20000-20100", "53/udp". Without
 * a protocol both are meant. Pure; a table is read by any thread once it is made.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum port_protocol { PORT_TCP, PORT_UDP };

/* "tcp", "udp". */
const char *port_protocol_name(enum port_protocol protocol);

struct port_range {
	uint16_t first, last; /* 1 to 65535, both belong to it */
	bool has[2];          /* by enum port_protocol */
};

/* E_INVALID with a sentence about what is wrong. */
int port_range_parse(struct bytes text, struct port_range *ret, struct err *err);

/* Texts of the settings, each of which port_range_parse() has taken. Borrowed. */
struct port_allow {
	const char *const *list;
	size_t count;
};

bool port_allow_has(const struct port_allow *allow, enum port_protocol protocol, uint16_t port);
