/* The certificates with which the connector ends TLS itself, one `struct tls_sites` for a set of rules: read from
 * files, which are read again when they change, or ordered from an ACME authority (order.h). What is good stays in use
 * until something better is there. One loop.
 */
#pragma once

#include "connector/ingress/ingress.h"

struct loop;
struct tls_context;
struct tls_sites;

/* Of the rules of `in` that have `tls`. Sites that `before` (NULL: none) has with the same settings are taken over with
 * all they have. Reads files: errors are logged, and leave a site without a certificate. */
struct tls_sites *tls_sites_new(struct loop *loop, const struct ingress *in,
				struct tls_sites *before);
struct tls_sites *tls_sites_free(struct tls_sites *s);

/* For this rule; borrowed. NULL: there is no certificate yet, nor a challenge to answer. */
struct tls_context *tls_sites_context(const struct tls_sites *s, const struct ingress_rule *rule);
