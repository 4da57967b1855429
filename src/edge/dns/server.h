/* The name server of one worker: UDP and TCP sockets, queries in, answers out. Its loop.
 */
#pragma once

#include "base/metrics.h"
#include "edge/dns/peers.h"
#include "io/loop.h"

struct dns_server;

struct dns_server_options {
	const char *id;           /* for NSID; borrowed for life */
	unsigned rate_per_second; /* see edge/dns/rate.h; 0: no limit */
	/* The same on all workers, and after a restart if the caller keeps them. */
	uint8_t cookie_secrets[2][DNS_COOKIE_SECRET_BYTES];
};

struct dns_server *dns_server_new(struct loop *l, const struct dns_server_options *options);
/* Take the descriptors over (udp_open, listen_open). */
void dns_server_add_udp(struct dns_server *s, int fd);
void dns_server_add_tcp(struct dns_server *s, int fd);
/* Takes the reference over. Before the first call everything is refused. */
void dns_server_set_zones(struct dns_server *s, struct dns_zones *zones);
/* Who may have whole zones; takes the reference over. Before the first call nobody. */
void dns_server_set_peers(struct dns_server *s, struct dns_peers *peers);
/* Somebody else has the sockets: no new queries; what comes by open connections is answered. */
void dns_server_leave(struct dns_server *s);
/* Closes listeners and connections. */
void dns_server_stop(struct dns_server *s);
struct dns_server *dns_server_free(struct dns_server *s);

/* Once, before threads start. */
void dns_server_register_metrics(void);
extern struct metric metric_dns_queries_udp, metric_dns_queries_tcp, metric_dns_dropped,
	metric_dns_limited, metric_dns_truncated, metric_dns_streams;
/* By RCODE: NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, and others. */
extern struct metric metric_dns_answers[7];
extern struct metric metric_dns_transfers[2]; /* done, refused */
