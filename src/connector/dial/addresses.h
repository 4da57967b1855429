/* Where the edge can be reached: what was configured, looked up (off the loop) and kept fresh, and which of it a
 * connection should try next.
 *
 * An entry of --edge or of the credentials is one of
 *
 *	HOST:PORT   all A and AAAA addresses of the host
 *	IP:PORT     itself
 *	DOMAIN      the SRV records of _adit-tunnel._tcp.DOMAIN, each as HOST:PORT; without any, DOMAIN:7844
 *
 * and without entries it is the SRV records of the stock service, of a region perhaps (PROTOCOL §1.2). What a
 * proxy looks up is not looked up here. When a look-up fails, what it gave before stays. One loop.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "io/address.h"

struct edge_pool;
struct loop;
struct proxy;

/* "HOST:PORT": a name of 253 bytes, brackets, a port. */
#define EDGE_NAME_BYTES 264

/* One way to one edge; a value. Two are the same when name and address are. */
struct edge_place {
	char name[EDGE_NAME_BYTES]; /* "host:port", as configured or as an SRV record has it */
	struct address address; /* of it; len 0: by name only, it is looked up on the way (by the proxy) */
	uint16_t priority; /* of the SRV record: the lower, the earlier */
	bool is_proxied;
};

bool edge_place_eq(const struct edge_place *a, const struct edge_place *b);

struct edge_pool_options {
	/* Texts are borrowed until the loop is gone: a look-up cannot be stopped. */
	char *const *edges; /* edge_count entries as above */
	size_t edge_count;
	const char *region; /* without entries; NULL: the global one */
	int family;         /* AF_INET, AF_INET6, or AF_UNSPEC for both */
	/* Borrowed for life. */
	const struct address *from; /* our own address; NULL: any. Routes count from there. */
	const struct proxy *proxy;  /* NULL: none */
	bool always_proxied;        /* else no_proxy and loopback go directly */
	const char *no_proxy;
};

/* on_change(ctx): a look-up has ended, well or not. Not inside a call. */
struct edge_pool *edge_pool_new(struct loop *l, const struct edge_pool_options *options,
				void (*on_change)(void *ctx), void *ctx);
struct edge_pool *edge_pool_free(struct edge_pool *p);

/* Looks everything up again, soon: at most once per EDGE_LOOKUP_MIN_MS. `is_urgent` (the network has changed): even
 * if a look-up is under way, which may wait for a name server that is out of reach. Nothing happens when there is
 * nothing to be looked up. By itself it is done every EDGE_LOOKUP_MS, or when SRV records say so. */
void edge_pool_refresh(struct edge_pool *p, bool is_urgent);
#define EDGE_LOOKUP_MIN_MS 1000
#define EDGE_LOOKUP_MS (5 * 60 * 1000)

/* Why there is no place, or why the last look-up failed in part; code 0: it went well. */
const struct err *edge_pool_error(const struct edge_pool *p);
size_t edge_pool_count(const struct edge_pool *p);
const struct edge_place *edge_pool_place(const struct edge_pool *p, size_t i);
bool edge_pool_has(const struct edge_pool *p, const struct edge_place *place);

/* What a dial has learnt. A place that failed is tried last for a while. */
void edge_pool_failed(struct edge_pool *p, const struct edge_place *place);
void edge_pool_worked(struct edge_pool *p, const struct edge_place *place);

struct edge_wish {
	unsigned index;                /* of the connection: families alternate over them */
	const struct edge_place *last; /* where it was; NULL: nowhere yet */
	bool avoid_last;               /* there is another connection of ours there already */
	/* Where the other connections are. */
	const struct edge_place *const *others;
	size_t other_count;
};

/* The best places for a connection in the order to be raced (RFC 8305: the second is of the other family if there
 * is one), at most `max`. One alone when it is proxied. 0: none is known (yet). */
size_t edge_pool_pick(const struct edge_pool *p, const struct edge_wish *wish,
		      struct edge_place *ret, size_t max);
