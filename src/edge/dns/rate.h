/* Response rate limiting: who asks for the same thing over and over from an address that may be forged gets no
 * stream of answers, so that nobody can be flooded through us. A table of fixed size; one loop.
 *
 * Counted are answers per network of the client (IPv4 /24, IPv6 /56) and what they are about. Beyond the rate every
 * second one is truncated, so that a real client comes back over TCP, and the others are dropped.
 */
#pragma once

#include "base/clock.h"
#include "io/address.h"

struct dns_rate;

/* `per_second` answers; twice as many at once. */
struct dns_rate *dns_rate_new(unsigned per_second);
struct dns_rate *dns_rate_free(struct dns_rate *r);

enum dns_rate_verdict { DNS_RATE_PASS, DNS_RATE_TRUNCATE, DNS_RATE_DROP };
enum dns_rate_verdict dns_rate_check(struct dns_rate *r, const struct address *from,
				     uint64_t source, usec now);
