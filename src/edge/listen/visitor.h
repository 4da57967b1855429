/* Visitors' connections: HTTPS (HTTP/1.1 and HTTP/2 by ALPN) and plain HTTP. Worker thread. */
#pragma once

#include "base/metrics.h"
#include "http/exchange.h"

struct address;
struct quic_conn;
struct worker;

/* Accept callbacks; `worker` is a struct worker. */
void visitor_accept_https(void *worker, int fd, const struct address *peer);
void visitor_accept_http(void *worker, int fd, const struct address *peer);

/* A handshake over QUIC with ALPN "h3" is done. */
void visitor_accept_h3(struct worker *w, struct quic_conn *c);

/* A successor has the sockets: everybody may finish, and ask once more where that is simpler than telling them. */
void visitor_leave_all(struct worker *w);
/* Finish the requests that run, take no further ones; close at once. */
void visitor_drain_all(struct worker *w);
void visitor_close_all(struct worker *w);

/* The first handler: refuses requests over a limit of their visitor. */
enum handled visitor_limit_handle(struct exchange *x, void *worker);

/* A fresh request id, unique in this process and very likely beyond. */
void visitor_request_id(char id[EXCHANGE_ID_SIZE]);

extern struct metric metric_visitors, metric_visitors_refused, metric_requests[6],
	metric_requests_by_protocol[4];
