/* Where a public port leads to, behind the connector: a hostname of its ingress rules, or an IP address and a
 * port of the network there. Pure, any thread.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "io/address.h"

/* A hostname in DNS, or "[v6]:port". */
#define PORT_TARGET_SIZE 256

struct port_target {
	char text[PORT_TARGET_SIZE]; /* in its one form: lower case, addresses as address_text() has them */
	bool is_address;             /* IP:PORT; else a hostname */
	struct address address;
};

/* E_INVALID with a sentence that says what to write instead. */
int port_target_parse(struct bytes text, struct port_target *ret, struct err *err);
