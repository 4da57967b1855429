/* An IP network in CIDR form (RFC 4632, RFC 4291 §2.3): an address of which only the first bits count.
 * Pure values, any thread.
 *
 * IPv4 is kept as v4-mapped IPv6, so that one comparison serves both; but an IPv6 network never holds an
 * IPv4 address: ::/0 does not mean 10.0.0.1.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "io/address.h"

struct network {
	uint8_t ip[16]; /* the bits behind the length are 0 */
	uint8_t bits;   /* of the 128; IPv4: 96 to 128 */
};

#define NETWORK_TEXT_SIZE 48

/* "10.0.0.0/8", "fd00::/8"; what stands behind the length is cleared ("10.0.0.1/8" is 10.0.0.0/8). */
bool network_parse(struct bytes text, struct network *ret);
/* The one address. False for a Unix socket. */
bool network_of_address(const struct address *a, struct network *ret);
char *network_text(const struct network *n, char text[NETWORK_TEXT_SIZE]);
bool network_is_v4(const struct network *n);
/* Is all of `inner` in `outer`? */
bool network_holds(const struct network *outer, const struct network *inner);
/* The highest address of the network. */
void network_last(const struct network *n, uint8_t ret[16]);
