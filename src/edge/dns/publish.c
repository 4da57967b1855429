#include "edge/dns/publish.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/store.h"

#define COMPONENT "edge/dns"

static struct metric_set metric_roll = {
	.name = "adit_edge_dns_key_roll",
	.help = "Step of each zone's key roll: 0 none, 2 new key published, 3 DS record awaited, 4 old key retiring",
	.type = METRIC_GAUGE,
	.label_names = { "zone" },
	.max = 1000,
};

struct dns_publisher {
	struct store *store;
	struct dns_publisher_options options;
	struct dns_zones *zones; /* the last ones; counted */
	usec renew_at;
	struct dns_record *challenges; /* owned, names and data as well */
	size_t challenge_count;
	struct err failure;          /* of the last time; code 0: none */
	struct dns_roll_wait *rolls; /* owned, and each */
	size_t roll_count;
	struct step {
		char *zone;
		enum dns_roll_step step;
	} * steps; /* owned, and each: of rolls that are under way */
	size_t step_count;
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

static void drop_challenges(struct dns_publisher *p)
{
	for (size_t i = 0; i < p->challenge_count; i++) {
		mem_free((char *)(uintptr_t)p->challenges[i].name);
		mem_free((char *)(uintptr_t)p->challenges[i].data);
	}
	p->challenges = mem_free(p->challenges);
	p->challenge_count = 0;
}

static void drop_rolls(struct dns_publisher *p);

struct dns_publisher *dns_publisher_free(struct dns_publisher *p)
{
	if (!p)
		return NULL;
	drop_challenges(p);
	drop_rolls(p);
	dns_zones_unref(p->zones);
	return mem_free(p);
}

void dns_publisher_set_challenges(struct dns_publisher *p, const struct dns_record *list,
				  size_t count)
{
	drop_challenges(p);
	p->challenges = mem_alloc_array(count + 1, sizeof(p->challenges[0]));
	for (size_t i = 0; i < count; i++)
		p->challenges[p->challenge_count++] = (struct dns_record){
			.name = mem_strdup(list[i].name),
			.type = "TXT",
			.data = mem_strdup(list[i].data),
			.ttl = list[i].ttl,
		};
}

bool dns_publisher_is_well(const struct dns_publisher *p, struct err *err)
{
	if (p->failure.code && err)
		*err = p->failure;
	return p->failure.code == 0;
}

usec dns_publisher_renew_at(const struct dns_publisher *p)
{
	return p->renew_at;
}

char *dns_publisher_ds(struct store *store, const char *name, struct err *err)
{
	struct store_zone zone = { 0 };
	struct dns_keys keys = { 0 };

	if (store_zone_find(store, name, &zone, err) < 0)
		return NULL;
	int r = dns_keys_load(store, &zone.id, &keys, err);
	char *ds = r == 0 ? dns_key_ds(dns_keys_signing(&keys), zone.name) : NULL;
	dns_keys_done(&keys);
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
	struct dns_delegation *delegations; /* their texts are owned */
	size_t delegation_count;
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
	for (size_t i = 0; i < l->delegation_count; i++) {
		struct dns_delegation *d = &l->delegations[i];
		for (size_t k = 0; k < d->name_server_count; k++)
			mem_free((char *)(uintptr_t)d->name_servers[k]);
		mem_free((void *)(uintptr_t)d->name_servers);
		mem_free((char *)(uintptr_t)d->ds);
	}
	mem_free(l->delegations);
}

static bool is_within(const char *name, const char *zone)
{
	size_t len = strlen(name), zone_len = strlen(zone);

	return len >= zone_len && strcasecmp(name + len - zone_len, zone) == 0 &&
	       (len == zone_len || name[len - zone_len - 1] == '.');
}

/* In that zone, and in none below it. */
static bool is_of_zone(const struct source *src, const char *name, const struct store_zone *zone)
{
	if (!is_within(name, zone->name))
		return false;
	for (size_t i = 0; i < src->zone_count; i++)
		if (strlen(src->zones[i].name) > strlen(zone->name) &&
		    is_within(name, src->zones[i].name))
			return false;
	return true;
}

/* The edge's own names, where people have not said otherwise. */
static void collect_hosts(const struct source *src, const struct store_zone *zone,
			  const struct dns_publisher_options *o, struct lists *l,
			  struct dns_zone_facts *f)
{
	for (size_t i = 0; i < o->host_count; i++) {
		bool is_said = !is_of_zone(src, o->hosts[i], zone);
		for (size_t k = 0; k < f->record_count && !is_said; k++)
			is_said = strcasecmp(l->records[k].name, o->hosts[i]) == 0 &&
				  (strcmp(l->records[k].type, "A") == 0 ||
				   strcmp(l->records[k].type, "AAAA") == 0 ||
				   strcmp(l->records[k].type, "CNAME") == 0);
		if (!is_said)
			l->hostnames[f->hostname_count++] = o->hosts[i];
	}
}

static void collect_extra(const struct source *src, const struct store_zone *zone,
			  const struct dns_record *list, size_t count, struct lists *l,
			  struct dns_zone_facts *f)
{
	for (size_t i = 0; i < count; i++)
		if (is_of_zone(src, list[i].name, zone))
			l->records[f->record_count++] = list[i];
}

static void collect(const struct dns_publisher *p, const struct source *src,
		    const struct store_zone *zone, struct lists *l, struct dns_zone_facts *f)
{
	const struct dns_publisher_options *o = &p->options;

	l->hostnames = mem_alloc_array(src->route_count + o->host_count + 1, sizeof(*l->hostnames));
	l->records = mem_alloc_array(src->record_count + o->glue_count + p->challenge_count + 1,
				     sizeof(*l->records));
	for (size_t i = 0; i < src->route_count; i++)
		if (is_of_zone(src, src->routes[i].hostname, zone))
			l->hostnames[f->hostname_count++] = src->routes[i].hostname;
	for (size_t i = 0; i < src->record_count; i++) {
		const struct store_dns_record *r = &src->records[i];
		if (is_of_zone(src, r->name, zone))
			l->records[f->record_count++] =
				(struct dns_record){ r->name, r->type, r->data, r->ttl };
	}
	collect_hosts(src, zone, o, l, f);
	collect_extra(src, zone, o->glue, o->glue_count, l, f);
	collect_extra(src, zone, p->challenges, p->challenge_count, l, f);
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

static char **servers_of(const struct dns_publisher_options *o, const char *zone, size_t *ret_count)
{
	char **list = mem_alloc_array(o->name_server_count + 2, sizeof(list[0]));

	for (size_t i = 0; i < o->name_server_count; i++)
		list[i] = mem_strdup(o->name_servers[i]);
	*ret_count = o->name_server_count;
	if (*ret_count == 0) {
		list[(*ret_count)++] = mem_printf("ns1.%s", zone);
		list[(*ret_count)++] = mem_printf("ns2.%s", zone);
	}
	return list;
}

/* Zones that begin right below this one, with none between. */
static int collect_delegations(struct dns_publisher *p, const struct source *src,
			       const struct store_zone *zone, struct lists *l,
			       struct dns_zone_facts *f, struct err *err)
{
	l->delegations = mem_alloc_array(src->zone_count + 1, sizeof(l->delegations[0]));
	for (size_t i = 0; i < src->zone_count; i++) {
		const struct store_zone *child = &src->zones[i];
		const char *above = strchr(child->name, '.');
		struct dns_keys keys = { 0 };
		if (!above || !is_of_zone(src, above + 1, zone))
			continue;
		if (p->options.is_signed && dns_keys_load(p->store, &child->id, &keys, err) < 0)
			return err ? err->code : E_INTERNAL;
		struct dns_delegation *d = &l->delegations[l->delegation_count++];
		d->name = child->name;
		d->name_servers = (const char *const *)servers_of(&p->options, child->name,
								  &d->name_server_count);
		d->ds = keys.current ? dns_key_ds(dns_keys_signing(&keys), child->name) : NULL;
		dns_keys_done(&keys);
	}
	f->delegations = l->delegations;
	f->delegation_count = l->delegation_count;
	return 0;
}

/* --- Keys ------------------------------------------------------------------------------------ */

/* The zone around it that is ours, as it was published last; NULL: the parent is somebody else's. */
static const struct dns_zone *zone_above(const struct dns_publisher *p, const char *name)
{
	const struct dns_zone *z = NULL;

	while (!z && (name = strchr(name, '.')))
		z = dns_zones_by_name(p->zones, ++name);
	return z;
}

static bool advance_keys(const struct dns_publisher *p, const char *zone, struct dns_keys *keys,
			 usec now)
{
	const struct dns_publisher_options *o = &p->options;
	const struct dns_zone *before = dns_zones_by_name(p->zones, zone);
	const struct dns_zone *above = zone_above(p, zone);
	struct dns_roll_times times = {
		.key_ttl = o->ttl,
		.zone_ttl = before ? dns_zone_ttl_max(before) : o->ttl,
		.ds_ttl = o->ds_ttl,
		.margin = dns_zone_lag(o->ttl),
	};

	/* The DS record was replaced with the first publication after the switch. */
	if (keys->step == DNS_ROLL_DS && above &&
	    dns_zone_vouches(above, zone, keys->next, &times.ds_ttl))
		keys->seen_by = DNS_SEEN_BY_US;
	return dns_keys_advance(keys, &times, now);
}

static void tell_step(const char *zone, const struct dns_keys *keys)
{
	char *ds = dns_key_ds(dns_keys_signing(keys), zone);

	switch (keys->step) {
	case DNS_ROLL_NONE:
		log_info(COMPONENT, "the old DNSSEC key is gone", LOG_STR("zone", zone),
			 LOG_INT("keyTag", dns_key_tag(keys->current)));
		break;
	case DNS_ROLL_NEW:
	case DNS_ROLL_PUBLISHED:
		log_info(COMPONENT, "a new DNSSEC key is published", LOG_STR("zone", zone),
			 LOG_INT("keyTag", dns_key_tag(keys->next)));
		break;
	case DNS_ROLL_DS:
		log_warn(COMPONENT, "the parent zone needs a new DS record in place of the old one",
			 LOG_STR("zone", zone), LOG_STR("ds", ds));
		break;
	case DNS_ROLL_RETIRING:
		log_info(COMPONENT, "the parent zone has the new DS record", LOG_STR("zone", zone),
			 LOG_STR("ds", ds));
		break;
	}
	mem_free(ds);
}

static void note_roll(struct dns_publisher *p, const char *zone, const struct dns_keys *keys)
{
	usec due = dns_keys_due(keys);

	if (due < p->renew_at)
		p->renew_at = due;
	if (keys->next) {
		p->steps = mem_resize(p->steps, (p->step_count + 1) * sizeof(p->steps[0]));
		p->steps[p->step_count++] = (struct step){ mem_strdup(zone), keys->step };
	}
	if (keys->step != DNS_ROLL_DS && keys->step != DNS_ROLL_RETIRING)
		return;
	const struct dns_zone *above = zone_above(p, zone);
	if (above) {
		if (keys->step == DNS_ROLL_DS)
			p->renew_at = 0;
		return;
	}
	p->rolls = mem_resize(p->rolls, (p->roll_count + 1) * sizeof(p->rolls[0]));
	p->rolls[p->roll_count++] = (struct dns_roll_wait){
		.zone = mem_strdup(zone),
		.ds = dns_key_ds(keys->next, zone),
		.is_seen = keys->seen_by != DNS_SEEN_BY_NOBODY,
		.is_final = keys->seen_by == DNS_SEEN_BY_OPERATOR,
	};
}

static void drop_rolls(struct dns_publisher *p)
{
	for (size_t i = 0; i < p->roll_count; i++) {
		mem_free(p->rolls[i].zone);
		mem_free(p->rolls[i].ds);
	}
	for (size_t i = 0; i < p->step_count; i++)
		mem_free(p->steps[i].zone);
	p->rolls = mem_free(p->rolls);
	p->steps = mem_free(p->steps);
	p->roll_count = p->step_count = 0;
}

enum dns_roll_step dns_publisher_roll_step(const struct dns_publisher *p, const char *zone)
{
	for (size_t i = 0; i < p->step_count; i++)
		if (strcasecmp(p->steps[i].zone, zone) == 0)
			return p->steps[i].step;
	return DNS_ROLL_NONE;
}

const struct dns_roll_wait *dns_publisher_waits(const struct dns_publisher *p, size_t *ret_count)
{
	*ret_count = p->roll_count;
	return p->rolls;
}

/* --- One zone, built ------------------------------------------------------------------------- */

/* NULL: it could not be built. The old one when nothing has changed. */
static struct dns_zone *build(struct dns_publisher *p, const struct source *src,
			      const struct store_zone *zone, const struct dns_keys *keys, usec now,
			      struct err *err)
{
	const struct dns_publisher_options *o = &p->options;
	struct dns_zone *before = dns_zones_by_name(p->zones, zone->name);
	struct dns_zone_facts f = {
		.name = zone->name,
		.serial = before ? dns_zone_serial(before) : 0,
		.contact = o->contact,
		.addresses = o->addresses,
		.address_count = o->address_count,
		.key = keys ? dns_keys_signing(keys) : NULL,
		.other_key = keys ? dns_keys_other(keys) : NULL,
		.ttl = o->ttl,
		.now = now,
	};
	struct lists lists = { 0 };

	collect(p, src, zone, &lists, &f);
	struct dns_zone *z = collect_delegations(p, src, zone, &lists, &f, err) < 0
				     ? NULL
				     : dns_zone_build(&f, before, err);
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
		if (z && before)
			dns_zone_follow(z, before);
	}
	lists_done(&lists);
	return z;
}

static struct dns_zone *publish(struct dns_publisher *p, const struct source *src,
				const struct store_zone *zone, struct err *err)
{
	struct dns_keys keys = { 0 };
	usec now = clock_wall_now();

	if (!p->options.is_signed)
		return build(p, src, zone, NULL, now, err);
	if (dns_keys_load(p->store, &zone->id, &keys, err) < 0)
		return NULL;
	bool has_advanced = advance_keys(p, zone->name, &keys, now);
	struct dns_zone *z = build(p, src, zone, &keys, now, err);
	/* What could not be published has not happened. */
	if (z && has_advanced && dns_keys_save(p->store, &zone->id, &keys, err) < 0)
		z = dns_zone_unref(z);
	if (z && has_advanced)
		tell_step(zone->name, &keys);
	if (z)
		note_roll(p, zone->name, &keys);
	metric_set(metric_of(&metric_roll, bytes_str(zone->name), BYTES_NONE),
		   z && keys.next ? keys.step : 0);
	dns_keys_done(&keys);
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
	p->failure = (struct err){ 0 };
	drop_rolls(p);
	for (size_t i = 0; i < src.zone_count; i++) {
		const struct store_zone *zone = &src.zones[i];
		struct err reason = { 0 };
		struct dns_zone *z = publish(p, &src, zone, &reason);
		struct dns_zone *before = dns_zones_by_name(p->zones, zone->name);
		if (!z) {
			log_error(COMPONENT, "a zone cannot be published as it is now",
				  LOG_STR("zone", zone->name), LOG_STR("error", reason.text));
			p->failure = reason;
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
