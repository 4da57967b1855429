/* Connections of load balancers (setting proxy-protocol-from), which begin with a PROXY header: it is read, and its
 * visitor takes the balancer's place, so that limits, logs and header fields know of nobody else. Who comes from there
 * without a header is turned away: it would be taken for the balancer. From anywhere else a header is never
 * looked for, and is no TLS and no HTTP. Worker thread.
 */
#pragma once

#include "base/metrics.h"
#include "io/address.h"

struct byte_stream;
struct worker;

/* Does this address speak for others? */
bool announced_is_due(const struct worker *w, const struct address *peer);

/* With the connection behind its header, whose peer is the visitor; owned by the callee. Not called when there was no
 * header in time, nor when the worker stops. */
typedef void announced_done(struct worker *w, struct byte_stream *stream);

/* Takes the socket over. */
void announced_start(struct worker *w, int fd, const struct address *peer, announced_done *done);
/* The worker stops: whoever has not sent its header yet is dropped. */
void announced_cancel_all(struct worker *w);

extern struct metric metric_proxy_headers, metric_proxy_headers_local, metric_proxy_headers_bad;
