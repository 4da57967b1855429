#include "edge/acme/wanted.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "edge/certificates.h"
#include "io/address.h"

#define MAX_DNS_BYTES 253
/* A wildcard that fails so often seems to be impossible (the zone is not delegated to us, say): then names are
 * ordered one by one, too. */
#define FAILURES_TO_FALL_BACK 2

struct builder {
	const struct acme_want_facts *facts;
	struct map *seen;          /* name -> itself */
	struct map *exact, *below; /* names of certificates that people brought */
	struct map *zones;         /* id -> struct store_zone */
	struct acme_want *list;
	size_t count;
};

/* --- Certificates of people ------------------------------------------------------------------- */

static void note_imported(struct builder *b)
{
	for (size_t i = 0; i < b->facts->certificate_count; i++) {
		const struct store_certificate *c = &b->facts->certificates[i];
		struct bytes rest = bytes_str(c->hostnames), line = BYTES_NONE;
		if (certificate_source_of(c->name) != CERTIFICATE_IMPORTED ||
		    c->expires_at <= b->facts->now)
			continue;
		while (bytes_split(&rest, '\n', &line)) {
			if (bytes_starts_with(line, BYTES_LIT("*.")))
				map_put(b->below, bytes_from(line, 2), (void *)(uintptr_t)c);
			else
				map_put(b->exact, line, (void *)(uintptr_t)c);
		}
	}
}

static bool is_covered(const struct builder *b, struct bytes hostname)
{
	if (bytes_starts_with(hostname, BYTES_LIT("*.")))
		return map_find(b->below, bytes_from(hostname, 2));
	return map_find(b->exact, hostname) ||
	       map_find(b->below, bytes_from(hostname, bytes_index(hostname, '.') + 1));
}

static bool are_covered(const struct builder *b, const char *hostnames)
{
	struct bytes rest = bytes_str(hostnames), line = BYTES_NONE;

	while (bytes_split(&rest, '\n', &line))
		if (!is_covered(b, line))
			return false;
	return true;
}

/* --- Adding ----------------------------------------------------------------------------------- */

static void add(struct builder *b, char *name, char *hostnames, bool by_dns, const char *problem)
{
	if (map_find(b->seen, bytes_str(name))) {
		mem_free(name);
		mem_free(hostnames);
		return;
	}
	if (!problem && are_covered(b, hostnames))
		problem = "an imported certificate has these names";
	b->list = mem_resize(b->list, (b->count + 1) * sizeof(*b->list));
	b->list[b->count++] = (struct acme_want){ name, hostnames, by_dns, problem };
	map_put(b->seen, bytes_str(name), name);
}

static void add_host(struct builder *b, const char *hostname, const char *problem)
{
	add(b, mem_printf("host %s", hostname), mem_strdup(hostname), false, problem);
}

static const struct store_acme_name *known(const struct acme_want_facts *f, const char *name)
{
	for (size_t i = 0; i < f->known_count; i++)
		if (strcmp(f->known[i].name, name) == 0)
			return &f->known[i];
	return NULL;
}

/* False: it may well be that it cannot be had. */
static bool add_domain(struct builder *b, const char *domain)
{
	bool has_room = strlen(domain) + 2 <= MAX_DNS_BYTES;
	char *name = mem_printf("domain %s", domain);
	const struct store_acme_name *state = known(b->facts, name);
	bool is_hopeful = !state || state->directory[0] || state->failures < FAILURES_TO_FALL_BACK;

	add(b, name, has_room ? mem_printf("%s\n*.%s", domain, domain) : mem_strdup(domain), true,
	    NULL);
	return is_hopeful;
}

static const char *parent_of(const char *hostname)
{
	const char *dot = strchr(hostname, '.');

	return dot ? dot + 1 : "";
}

static bool is_within(const char *name, const char *zone)
{
	size_t len = strlen(name), zone_len = strlen(zone);

	return len >= zone_len && strcmp(name + len - zone_len, zone) == 0 &&
	       (len == zone_len || name[len - zone_len - 1] == '.');
}

static bool proves_by_dns(const struct builder *b, const char *zone)
{
	const struct acme_want_facts *f = b->facts;

	return (f->challenges == ACME_CHALLENGE_AUTO || f->challenges == ACME_ONLY_DNS_01) &&
	       f->is_authoritative && f->is_authoritative(f->ctx, zone);
}

/* A routed name, the control host, or a name somebody asked for. `zone` NULL: it is in none of ours. */
static void add_name(struct builder *b, const char *hostname, const char *zone)
{
	const struct acme_want_facts *f = b->facts;
	const char *domain = parent_of(hostname);

	if (zone && proves_by_dns(b, zone)) {
		/* The zone's own wildcard does not reach deeper names, nor the other way round. */
		bool is_hopeful = add_domain(b, is_within(domain, zone) ? domain : zone);
		if (is_hopeful || f->challenges == ACME_ONLY_DNS_01)
			return;
	}
	if (f->challenges == ACME_ONLY_DNS_01)
		add_host(b, hostname,
			 "acme-challenge is dns-01, but this edge's name server does not serve the "
			 "zone");
	else if (hostname[0] == '*')
		add_host(b, hostname,
			 "a wildcard is proven by DNS-01, through this edge's own name server; with "
			 "acme-on-demand names below it are ordered when somebody asks for them");
	else if (f->challenges == ACME_ONLY_HTTP_01 && !f->has_http)
		add_host(b, hostname, "acme-challenge is http-01, but http is off");
	else
		add_host(b, hostname, NULL);
}

/* --- From what ---------------------------------------------------------------------------------- */

static const char *zone_of_name(const struct acme_want_facts *f, const char *hostname)
{
	const char *best = NULL;

	for (size_t i = 0; i < f->zone_count; i++)
		if (is_within(hostname, f->zones[i].name) &&
		    (!best || strlen(f->zones[i].name) > strlen(best)))
			best = f->zones[i].name;
	return best;
}

static bool is_routed(const struct acme_want_facts *f, const char *hostname)
{
	if (strcmp(hostname, f->control_host) == 0)
		return true;
	if (store_site_passes(f->sites, f->site_count, hostname))
		return false;
	for (size_t i = 0; i < f->route_count; i++) {
		const char *routed = f->routes[i].hostname;
		if (strcmp(routed, hostname) == 0)
			return true;
		if (routed[0] == '*' && strcmp(hostname, routed + 2) != 0 &&
		    is_within(hostname, routed + 2))
			return true;
	}
	return false;
}

bool acme_name_is_served(const struct acme_want_facts *f, const char *name)
{
	if (strncmp(name, "host ", 5) == 0)
		return is_routed(f, name + 5);
	return strncmp(name, "domain ", 7) == 0 && zone_of_name(f, name + 7);
}

static void add_routes(struct builder *b)
{
	const struct acme_want_facts *f = b->facts;

	for (size_t i = 0; i < f->route_count; i++) {
		const struct store_zone *zone = map_find(b->zones, uuid_bytes(&f->routes[i].zone));
		if (!zone || store_site_passes(f->sites, f->site_count, f->routes[i].hostname))
			continue;
		/* What visitors have to ask for first: only where a wildcard does not do. */
		if (f->is_on_demand && !proves_by_dns(b, zone->name))
			continue;
		add_name(b, f->routes[i].hostname, zone->name);
	}
}

static void add_asked(struct builder *b)
{
	const struct acme_want_facts *f = b->facts;

	for (size_t i = 0; f->is_on_demand && i < f->known_count; i++)
		if (f->known[i].is_on_demand && strncmp(f->known[i].name, "host ", 5) == 0 &&
		    is_routed(f, f->known[i].name + 5))
			add_name(b, f->known[i].name + 5, zone_of_name(f, f->known[i].name + 5));
}

static void add_control_host(struct builder *b)
{
	const char *host = b->facts->control_host;
	struct address literal;

	if (host[0] && !address_from_ip(bytes_str(host), 0, &literal))
		add_name(b, host, zone_of_name(b->facts, host));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct acme_want *)a)->name, ((const struct acme_want *)b)->name);
}

struct acme_want *acme_wants(const struct acme_want_facts *f, size_t *ret_count)
{
	struct builder b = { f, map_new(), map_new(), map_new(), map_new(), NULL, 0 };

	note_imported(&b);
	for (size_t i = 0; i < f->zone_count; i++) {
		map_put(b.zones, uuid_bytes(&f->zones[i].id), (void *)(uintptr_t)&f->zones[i]);
		if (proves_by_dns(&b, f->zones[i].name))
			(void)add_domain(&b, f->zones[i].name);
	}
	add_control_host(&b);
	add_routes(&b);
	add_asked(&b);
	map_free(b.seen);
	map_free(b.exact);
	map_free(b.below);
	map_free(b.zones);
	if (b.count)
		qsort(b.list, b.count, sizeof(*b.list), by_name);
	*ret_count = b.count;
	return b.list;
}

struct acme_want *acme_wants_free(struct acme_want *wants, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		mem_free(wants[i].name);
		mem_free(wants[i].hostnames);
	}
	return mem_free(wants);
}
