/* What the visitors of one address may do, counted over all workers: connections at once and per second, requests
 * at once and per second. IPv6 addresses count by /64, which is what one customer has, and once more by /48, with
 * LIMIT_VISITOR_WIDE times as much of each, as some have whole ones. Addresses in exempt networks may do anything.
 *
 * Whoever accepts visitors asks: https, http, public TCP ports, each with the visitor's own address
 * (after a PROXY header). Why it is made like this: docs/decisions/0007-limits-per-visitor.md. An allowance
 * belongs to one worker's thread, the table to all.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/metrics.h"

struct address;
struct allowance;
struct allowances;
struct network;

struct allowance_limits {
	uint32_t connections,
		connection_rate; /* of one address, at once and per second; 0: any number */
	uint32_t requests, request_rate;
	uint32_t all_connections;     /* of all visitors, exempt or not; 0: any number */
	int64_t buffers;              /* bytes of bufq_memory(), of everybody; 0: any number */
	const struct network *exempt; /* borrowed for good */
	size_t exempt_count;
};

enum allowance_answer {
	ALLOWANCE_GIVEN,
	ALLOWANCE_BUFFERS, /* no memory for bodies is left: whoever it is */
	ALLOWANCE_ALL,     /* too many connections of all visitors together */
	ALLOWANCE_CONNECTIONS,
	ALLOWANCE_CONNECTION_RATE,
	ALLOWANCE_REQUESTS,
	ALLOWANCE_REQUEST_RATE,
	ALLOWANCE_ANSWERS,
};

/* The limits are copied. One table per process. */
struct allowances *allowances_new(const struct allowance_limits *limits);
/* After every allowance was given back. */
struct allowances *allowances_free(struct allowances *a);

/* A new connection, before anything is spent on it. With ALLOWANCE_GIVEN *ret is what it holds until
 * allowance_leave(); anything else is counted and now and then logged: close it. Without a table (NULL) everything
 * is allowed, and *ret is NULL, which the other calls take. */
enum allowance_answer allowance_enter(struct allowances *a, const struct address *visitor,
				      struct allowance **ret);
/* The connection has ended; its requests may still go on. NULL is fine; returns NULL. */
struct allowance *allowance_leave(struct allowance *h);
/* A request of that connection. With ALLOWANCE_GIVEN allowance_end() follows when it is over; else *ret_wait_sec
 * is when to try again, and the request is refused with 429 (ALLOWANCE_BUFFERS: 503). */
enum allowance_answer allowance_begin(struct allowance *h, unsigned *ret_wait_sec);
void allowance_end(struct allowance *h);

/* What a refused request is told. */
const char *allowance_reason(enum allowance_answer answer);

extern struct metric metric_limited_addresses;
extern struct metric metric_limited[ALLOWANCE_ANSWERS];
