/* Name look-ups that block: for a thread of loop_work(), never on a loop.
 *
 * Both ask as the system is set up at this moment: a resolv.conf that has changed counts at once. Pure
 * functions of the world, no state is kept. Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "io/address.h"

/* A host's name as text, with its NUL (RFC 1035 §2.3.4). */
#define RESOLVE_NAME_BYTES 254

/* The addresses of a host, each with `port`: of a literal itself, of "localhost" ::1 and 127.0.0.1, of any other
 * name what the system says (hosts file, DNS, …), in the order of RFC 6724. `family`: AF_INET, AF_INET6, or
 * AF_UNSPEC for both. Returns how many there are, `max` at most and never 0; E_NOT_FOUND with the reason. */
int resolve_host(const char *host, uint16_t port, int family, struct address *ret, size_t max,
		 struct err *err) MUST_USE;

/* Adds to what a failed look-up is told of when this process may not read what the system's resolver reads: files that were
 * replaced since it shut itself in (sandbox/sandbox.h), whose resolver then asks a name server on this machine. NULL is
 * fine. */
void resolve_explain(struct err *err);

/* The first name server of the system. E_NOT_FOUND. Does not block. */
int resolve_server(struct address *ret, struct err *err) MUST_USE;

/* One SRV record (RFC 2782). */
struct resolve_service {
	char host[RESOLVE_NAME_BYTES];
	uint16_t port;
	uint16_t priority; /* the lower, the earlier */
	uint16_t weight;
};

/* The SRV records of `name` ("_service._tcp.example.com") in the order to be tried: by priority, those of one
 * priority at random by weight. *ret_ttl_sec is how long they may be kept. Returns how many there are, `max` at
 * most and never 0; E_NOT_FOUND: there are none, E_IO: nobody could say. */
int resolve_services(const char *name, struct resolve_service *ret, size_t max,
		     uint32_t *ret_ttl_sec, struct err *err) MUST_USE;
/* The same from an answer as it came over the network, in the order it has; 0 when there are none. E_PARSE. Pure;
 * resolve_services() uses it. */
int resolve_parse_services(struct bytes answer, struct resolve_service *ret, size_t max,
			   uint32_t *ret_ttl_sec) MUST_USE;
