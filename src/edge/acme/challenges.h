/* What a certificate authority may be shown at the moment: pages (HTTP-01, RFC 8555 §8.3) and certificates
 * (TLS-ALPN-01, RFC 8737). Immutable and counted, like a snapshot: the control thread makes a new set and gives it to
 * every worker before the authority is told. NULL is the empty set. Any thread.
 */
#pragma once

#include "acme/acme.h"
#include "http/exchange.h"

struct challenges;
struct tls_certificate;

/* Those of `list` that are for the two methods; texts are copied. NULL without any. */
struct challenges *challenges_new(const struct acme_challenge *list, size_t count, struct err *err);
struct challenges *challenges_ref(struct challenges *c);
struct challenges *challenges_unref(struct challenges *c);

/* The page for a token of that host; empty: there is none. Borrowed from the set, as the next. */
struct bytes challenges_page(const struct challenges *c, struct bytes host, struct bytes token);
struct tls_certificate *challenges_certificate(const struct challenges *c, struct bytes server_name);

/* The handler of the plain HTTP listener: answers for pending tokens, and passes on everything else. */
enum handled challenges_handle(struct exchange *x, void *worker);
