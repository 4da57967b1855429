/* What a hostname asks of its visitors' connections, and what its service learns of their certificates.
 * Worker thread. */
#pragma once

#include "http/exchange.h"

struct snapshot_site;

/* HANDLED_NEXT, or HANDLED_FAILED with 421 (RFC 9110 §15.5.20) when the request came over a connection that was not
 * asked for what `site` (NULL: nothing is set for the host) asks: it was made for another name, or before this was
 * set. Sets x->hsts, x->asks_certificate, x->certificate. */
enum handled site_check(struct exchange *x, const struct snapshot_site *site);

/* Names that say something of the visitor's certificate: nobody's but ours. */
bool site_is_certificate_field(struct bytes name);
/* Adds them where the host asks for certificates; E_LIMIT. */
int site_add_certificate(struct exchange *x);
