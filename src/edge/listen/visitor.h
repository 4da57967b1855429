/* Visitors' connections: HTTPS (HTTP/1.1 and HTTP/2 by ALPN) and plain HTTP. Worker thread. */
#pragma once

#include "base/metrics.h"

struct address;
struct worker;

/* Accept callbacks; `worker` is a struct worker. */
void visitor_accept_https(void *worker, int fd, const struct address *peer);
void visitor_accept_http(void *worker, int fd, const struct address *peer);

/* Finish the requests that run, take no further ones; close at once. */
void visitor_drain_all(struct worker *w);
void visitor_close_all(struct worker *w);

extern struct metric metric_visitors, metric_visitors_refused, metric_requests[6];
