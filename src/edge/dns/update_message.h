/* Update messages (RFC 2136), each for one name. Pure, any thread.
 *
 * Records are texts, "A 203.0.113.7", one a line, sorted. Prerequisites make sure that only what is by us is ever
 * changed: the server checks them and updates in one go.
 */
#pragma once

#include <ldns/ldns.h>

#include "base/err.h"

enum dns_update_step {
	DNS_UPDATE_ADD,       /* where there is nothing that `records` cannot stand beside */
	DNS_UPDATE_CHECK,     /* changes nothing: is exactly `records` there? */
	DNS_UPDATE_REPLACE,   /* where exactly `before` is there */
	DNS_UPDATE_OVERWRITE, /* whatever addresses and CNAME there are */
	DNS_UPDATE_MERGE,     /* those of `before` go, `records` come, others stay */
};

struct dns_update {
	const char *zone, *name;
	const char *before, *records; /* "": none */
	uint32_t ttl;
};

/* E_INVALID: a text is no record. */
ldns_pkt *dns_update_message(const struct dns_update *u, enum dns_update_step step, struct err *err);
