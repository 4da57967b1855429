/* Certificates of an ACME authority for one hostname, by TLS-ALPN-01 through the tunnel: ordered when there is none,
 * and anew at two thirds of its life or when the authority says. What blocks runs on the pool. One loop.
 */
#pragma once

struct order;
struct tls_site;

/* Uses what the storage has, and sees to the rest. */
struct order *order_new(struct tls_site *site);
/* Nothing is changed any more; what is under way ends by itself, soon. */
struct order *order_free(struct order *o);
