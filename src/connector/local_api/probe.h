/* Which hop is broken? Tries every address of the edge, each once, over
 * TCP and over UDP, and the service of every rule, from where the
 * connector stands: with its own look-up, routes, rights, roots and names. Nothing is sent: a connection
 * that is made, and whose TLS is verified, is closed again. One loop. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct dialer;
struct loop;
struct origin_set;
struct probe_run;

/* Comes once, never inside probe_run_start(), at the latest after PROBE_MS; the run has ended then.
 * `results` is the callee's:
 *
 *	{"edges":[{"address":"edge.example.com:7844","ok":true,"peer":"203.0.113.7:7844","ms":12},…],
 *	 "udp":[{"address":"edge.example.com:7844","ok":false,"step":"connect","error":"…","ms":5000},…],
 *	 "rules":[{"rule":0,"label":"app.example.com","service":"http://localhost:3000","ok":false,
 *	           "step":"connect","errno":"ECONNREFUSED","error":"…","ms":0},
 *	          {"rule":1,"label":"*","service":"http_status:404","skipped":"nothing to connect to"}]}
 *
 * "udp" is empty with --protocol http2, and lists no address behind a proxy. "step" is "resolve", "connect", "proxy" (a proxy on the way) or "tls". */
typedef void probe_done(void *ctx, json_t *results);

/* A run's time: what has not answered by then is reported so. A little more than tlsTimeout, whose own words
 * tell more. */
#define PROBE_MS 12000

/* `dialer` is borrowed until the run ends, `origins` is counted. */
struct probe_run *probe_run_start(struct loop *loop, struct dialer *dialer,
				  struct origin_set *origins, probe_done *done, void *ctx);
/* No done() after this. NULL is fine; returns NULL. */
struct probe_run *probe_run_cancel(struct probe_run *run);
