#include "edge/dns/publish.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/store.h"

#define COMPONENT "edge/dns"

struct dns_publisher {
	struct store *store;
	struct dns_publisher_options options;
	struct dns_zones *zones; /* the last ones; counted */
	usec renew_at;
};

struct dns_publisher *dns_publisher_new(struct store *store,
					const struct dns_publisher_options *options)
{
	struct dns_publisher *p = mem_alloc(sizeof(*p));

	p->store = store;
	p->options = *options;
	p->zones = dns_zones_new(NULL, 0);
	p->renew_at = INT64_MAX;
	return p;
}

struct dns_publisher *dns_publisher_free(struct dns_publisher *p)
{
	if (!p)
		return NULL;
	dns_zones_unref(p->zones);
	return mem_free(p);
}

usec dns_publisher_renew_at(const struct dns_publisher *p)
{
	return p->renew_at;
}

/* --- Keys ------------------------------------------------------------------------------------ */

/* Kept sealed, by the zone's id: a zone that is removed and added again gets a new one. */
static struct dns_key *key_of(struct store *store, const struct store_zone *zone, struct err *err)
{
	char id[UUID_TEXT_SIZE];
	char *name = mem_printf("dns.key.%s", uuid_text(&zone->id, id));
	struct err reason = { 0 };
	char *text = store_setting_get(store, name, &reason);
	struct dns_key *key = NULL;

	if (text) {
		key = dns_key_parse(text, err);
	} else if (reason.code == E_NOT_FOUND) {
		key = dns_key_new(err);
		text = key ? dns_key_text(key) : NULL;
		if (key && store_setting_put(store, name, text, true, err) < 0)
			key = dns_key_free(key);
	} else {
		err_set(err, reason.code, "%s", reason.text);
	}
	if (text)
		secret_wipe(text, strlen(text));
	mem_free(text);
	mem_free(name);
	return key;
}

char *dns_publisher_ds(struct store *store, const char *name, struct err *err)
{
	struct store_zone zone = { 0 };

	if (store_zone_find(store, name, &zone, err) < 0)
		return NULL;
	struct dns_key *key = key_of(store, &zone, err);
	char *ds = key ? dns_key_ds(key, zone.name) : NULL;
	dns_key_free(key);
	store_zone_done(&zone);
	return ds;
}

/* --- One zone -------------------------------------------------------------------------------- */

struct source {
	struct store_zone *zones;
	struct store_route *routes;
	struct store_dns_record *records;
	size_t zone_count, route_count, record_count;
};

static void source_done(struct source *src)
{
	for (size_t i = 0; i < src->zone_count; i++)
		store_zone_done(&src->zones[i]);
	for (size_t i = 0; i < src->route_count; i++)
		store_route_done(&src->routes[i]);
	for (size_t i = 0; i < src->record_count; i++)
		store_dns_record_done(&src->records[i]);
	mem_free(src->zones);
	mem_free(src->routes);
	mem_free(src->records);
}

static int read_source(struct dns_publisher *p, struct source *src, struct err *err)
{
	int r = store_zone_list(p->store, &src->zones, &src->zone_count, err);

	if (r == 0)
		r = store_route_list(p->store, &src->routes, &src->route_count, err);
	if (r == 0)
		r = store_dns_record_list(p->store, NULL, &src->records, &src->record_count, err);
	return r;
}

struct lists {
	const char **hostnames;
	struct dns_record *records;
	char *own_servers[2];
};

static void lists_done(struct lists *l)
{
	mem_free(l->hostnames);
	mem_free(l->records);
	mem_free(l->own_servers[0]);
	mem_free(l->own_servers[1]);
}

static void collect(const struct source *src, const struct store_zone *zone,
		    const struct dns_publisher_options *o, struct lists *l, struct dns_zone_facts *f)
{
	l->hostnames = mem_alloc_array(src->route_count + 1, sizeof(*l->hostnames));
	l->records = mem_alloc_array(src->record_count + 1, sizeof(*l->records));
	for (size_t i = 0; i < src->route_count; i++)
		if (uuid_eq(&src->routes[i].zone, &zone->id))
			l->hostnames[f->hostname_count++] = src->routes[i].hostname;
	for (size_t i = 0; i < src->record_count; i++) {
		const struct store_dns_record *r = &src->records[i];
		if (uuid_eq(&r->zone, &zone->id))
			l->records[f->record_count++] =
				(struct dns_record){ r->name, r->type, r->data, r->ttl };
	}
	f->hostnames = l->hostnames;
	f->records = l->records;
	f->name_servers = o->name_servers;
	f->name_server_count = o->name_server_count;
	if (o->name_server_count == 0) {
		/* Registries ask for two names, even where there is one address. */
		l->own_servers[0] = mem_printf("ns1.%s", zone->name);
		l->own_servers[1] = mem_printf("ns2.%s", zone->name);
		f->name_servers = (const char *const *)l->own_servers;
		f->name_server_count = 2;
	}
}

/* NULL: it could not be built. The old one when nothing has changed. */
static struct dns_zone *publish(struct dns_publisher *p, const struct source *src,
				const struct store_zone *zone, struct err *err)
{
	const struct dns_publisher_options *o = &p->options;
	struct dns_zone *before = dns_zones_by_name(p->zones, zone->name);
	struct dns_zone_facts f = {
		.name = zone->name,
		.serial = before ? dns_zone_serial(before) : 0,
		.contact = o->contact,
		.addresses = o->addresses,
		.address_count = o->address_count,
		.now = clock_wall_now(),
	};
	struct lists lists = { 0 };
	struct dns_key *key = o->is_signed ? key_of(p->store, zone, err) : NULL;

	if (o->is_signed && !key)
		return NULL;
	f.key = key;
	collect(src, zone, o, &lists, &f);
	struct dns_zone *z = dns_zone_build(&f, before, err);
	if (z && before && dns_zone_has_same_records(before, z) &&
	    dns_zone_resign_at(before) > f.now) {
		dns_zone_unref(z);
		z = dns_zone_ref(before);
	} else if (z) {
		/* Once more, with the serial that it deserves; the signatures are there. */
		struct dns_zone *draft = z;
		z = store_dns_serial_next(p->store, &zone->id, &f.serial, err) < 0
			    ? NULL
			    : dns_zone_build(&f, draft, err);
		dns_zone_unref(draft);
	}
	lists_done(&lists);
	dns_key_free(key);
	return z;
}

/* --- All of them ----------------------------------------------------------------------------- */

struct dns_zones *dns_publisher_zones(struct dns_publisher *p, struct err *err)
{
	struct source src = { 0 };
	size_t count = 0;

	if (read_source(p, &src, err) < 0) {
		source_done(&src);
		return NULL;
	}
	struct dns_zone **list = mem_alloc_array(src.zone_count + 1, sizeof(struct dns_zone *));
	p->renew_at = INT64_MAX;
	for (size_t i = 0; i < src.zone_count; i++) {
		const struct store_zone *zone = &src.zones[i];
		struct err reason = { 0 };
		struct dns_zone *z = publish(p, &src, zone, &reason);
		struct dns_zone *before = dns_zones_by_name(p->zones, zone->name);
		if (!z) {
			log_error(COMPONENT, "a zone cannot be published as it is now",
				  LOG_STR("zone", zone->name), LOG_STR("error", reason.text));
			z = before ? dns_zone_ref(before) : NULL;
		} else if (z != before) {
			log_debug(COMPONENT, "zone published", LOG_STR("zone", zone->name),
				  LOG_INT("serial", dns_zone_serial(z)),
				  LOG_INT("names", dns_zone_name_count(z)));
		}
		if (!z)
			continue;
		if (dns_zone_resign_at(z) < p->renew_at)
			p->renew_at = dns_zone_resign_at(z);
		list[count++] = z;
	}
	dns_zones_unref(p->zones);
	p->zones = dns_zones_new(list, count);
	mem_free(list);
	source_done(&src);
	return dns_zones_ref(p->zones);
}
