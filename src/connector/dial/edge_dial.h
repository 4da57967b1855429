/* One attempt to reach an edge over TCP: the connection, raced over a few addresses or through a proxy, and TLS.
 * What speaks on it then is the caller's choice. One loop.
 */
#pragma once

#include "connector/dial/addresses.h"
#include "io/byte_stream.h"

struct edge_dial;
struct proxy;
struct tls_context;

/* How edges are reached; the same for all. Borrowed by whoever dials. */
struct edge_way {
	struct loop *loop;
	struct tls_context *tls; /* trusts the edge */
	struct bytes server_name; /* that its certificate has to be for, whatever address is dialled */
	struct tls_context *quic_tls;  /* the same roots, for QUIC */
	struct bytes quic_server_name; /* QUIC's */
	const struct proxy *proxy;     /* NULL: none */
	struct tls_context *proxy_tls; /* trusts an https proxy; NULL: there is none */
	struct address from;           /* our own address; len 0: any */
	int family;                    /* AF_UNSPEC: both */
	bool always_proxied;
	const char *no_proxy;
};

/* Raced at most: one connection in vain per 250 ms of a slow path. */
#define EDGE_DIAL_PLACES 3

struct edge_dial_end {
	/* NULL: failed. Owned by the callee: TLS, verified. */
	struct byte_stream *stream;
	/* Which place it was, of those given; of a failure the one that is to blame, or -1: all of them. */
	int place;
	/* Our own address of it; len 0: not known, or a proxy's connection. */
	struct address local;
	/* Of a failure. */
	const char *step; /* "resolve", "connect", "proxy", "tls" */
	struct err err;
};

/* Comes once, never inside edge_dial(). Borrowed until return. */
typedef void edge_dial_done(void *ctx, const struct edge_dial_end *end);

/* `places` are copied; several only when none is proxied and all have addresses. A place without an address is
 * looked up by the proxy, or, not proxied, here. Ends within `timeout_ms`. A direct connect gets a third of that:
 * what does not answer by then is better asked anew. */
struct edge_dial *edge_dial(const struct edge_way *way, const struct edge_place *places,
			    size_t count, int64_t timeout_ms, edge_dial_done *done, void *ctx);
/* No done() after this. NULL is fine; returns NULL. */
struct edge_dial *edge_dial_cancel(struct edge_dial *d);

/* The place that an entry HOST:PORT of the configuration is, by name; false when it has no port. */
bool edge_place_of_entry(const struct edge_way *way, const char *entry, struct edge_place *ret);
