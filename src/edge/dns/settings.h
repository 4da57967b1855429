/* What the settings say about DNS, worked out: which name servers zones have, and what hostnames resolve to.
 */
#pragma once

#include "base/err.h"
#include "edge/dns/zone.h"

struct edge_config;

struct dns_settings {
	char **name_servers; /* owned, and each; none: ns1.ZONE and ns2.ZONE */
	size_t name_server_count;
	struct dns_record
		*glue; /* owned, names borrowed, data owned: addresses of name servers elsewhere */
	size_t glue_count;
	struct address *addresses; /* owned; ports are 0 */
	size_t address_count;
};

/* Addresses: those of dns-address; else the control host's if it is an address, else those that https listens on
 * (when they are not "all"), else the public ones of this host's interfaces. E_INVALID says what to set when there
 * is none. */
int dns_settings_make(const struct edge_config *cfg, struct dns_settings *ret, struct err *err);
void dns_settings_done(struct dns_settings *s);
