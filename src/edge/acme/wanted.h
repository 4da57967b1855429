/* Which certificates are to be ordered from an ACME authority: for each zone that our name server answers for one with
 * the zone and its wildcard, the same for deeper domains that names are routed below, and one for each routed name
 * elsewhere. Pure; any thread.
 */
#pragma once

#include "edge/acme/settings.h"
#include "store/store.h"

struct acme_want {
	char *name;          /* "domain example.com", "host app.example.com"; owned */
	char *hostnames;     /* one a line, as they are ordered; owned */
	bool by_dns;         /* DNS-01 is the way to prove them; else TLS-ALPN-01 or HTTP-01 */
	const char *problem; /* why it cannot be, or need not be, ordered; NULL: it is ordered */
};

/* All borrowed. */
struct acme_want_facts {
	const struct store_zone *zones;
	size_t zone_count;
	const struct store_route *routes;
	size_t route_count;
	const struct store_site *sites; /* which hostnames' TLS ends elsewhere */
	size_t site_count;
	const struct store_certificate *certificates; /* of people, those that end later than now, count */
	size_t certificate_count;
	const struct store_acme_name *known;
	size_t known_count;
	const char *control_host; /* DNS name or IP literal; "": none */
	enum acme_challenges challenges;
	bool is_on_demand;
	bool has_http; /* there is a listener for plain HTTP */
	/* Does our name server answer for the zone? NULL: for none. */
	bool (*is_authoritative)(void *ctx, const char *zone);
	void *ctx;
	usec now; /* wall */
};

/* Array owned by the caller: acme_wants_free(). Each name once, sorted. */
struct acme_want *acme_wants(const struct acme_want_facts *f, size_t *ret_count);
struct acme_want *acme_wants_free(struct acme_want *wants, size_t count);
/* Whether a name, or the domain, is routed at all: what stands behind "host " or "domain " in a name. */
bool acme_name_is_served(const struct acme_want_facts *f, const char *name);
