/* Does the host's network change? Told by the kernel (Linux: routing netlink, no privilege needed); elsewhere
 * nothing is ever told, and whoever asks has to find out by other means too. One loop.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "io/address.h"
#include "io/loop.h"

/* A link, an address or a route has come: what could not be reached may be now. */
#define NETWORK_GAINED 1
/* One has gone: what was reached may not be any more. */
#define NETWORK_LOST 2

struct host_watch;

/* fn() gets what has happened, as a sum of the above, NETWORK_QUIET_MS after the first of a burst and at most
 * once per so much. Loopback and what containers do among themselves without a route are told too: it is a hint.
 * Never NULL: without netlink (another system, a sandbox) fn() is just never called. */
#define NETWORK_QUIET_MS 100
struct host_watch *host_watch_new(struct loop *l, void (*fn)(void *ctx, int changes), void *ctx);
struct host_watch *host_watch_free(struct host_watch *w);

/* Is it an address of this host now? The port does not matter. */
bool host_has_address(const struct address *a);
/* Is there a route to it (from `from`, which may be NULL)? Nothing is sent. */
bool host_has_route(const struct address *to, const struct address *from);
/* Which address of ours packets to it leave from now; the port is 0. False: there is no route. Nothing is sent. */
bool host_source_of(const struct address *to, const struct address *from, struct address *ret);

/* --- For host_watch.c and its tests -------------------------------------------------------------- */

struct host_links {
	struct host_link {
		int index;
		bool is_up;
	} * links; /* owned */
	size_t count;
};

/* What the messages in one datagram of the kernel mean; `links` remembers which links are up. */
int host_parse_netlink(struct host_links *links, struct bytes datagram);
void host_links_done(struct host_links *links);
