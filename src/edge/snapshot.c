#include "edge/snapshot.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "edge/access/countries.h"
#include "edge/access/view.h"
#include "edge/certificates.h"
#include "edge/route/network_table.h"
#include "store/store.h"
#include "tls/ocsp.h"
#include "tls/tls.h"

#define COMPONENT "edge/snapshot"
#define MAGIC_SNAPSHOT 0x736e6170
/* No longer name can be in the maps; it also bounds the search for a wildcard. */
#define MAX_HOST_BYTES 253

struct held_certificate {
	int64_t rev;
	struct tls_certificate *tls; /* counted */
	struct tls_certificate
		*stapled; /* counted: the same with its authority's answer; NULL: there is none */
};

struct snapshot {
	uint32_t magic;
	atomic_size_t refs;
	int64_t revision;
	usec renew_at;
	struct arena arena; /* names, routes */
	const char *control_host;
	struct snapshot_tunnel *tunnels; /* owned, with their secrets */
	size_t tunnel_count;
	struct held_certificate *certificates; /* owned */
	size_t certificate_count;
	struct snapshot_vnet *vnets; /* in the arena */
	size_t vnet_count;
	struct network_table networks; /* a table for each of vnets, of snapshot_network */
	struct snapshot_port *ports;   /* in the arena */
	size_t port_count;
	struct map *ports_by_key;    /* port_key() -> snapshot_port */
	struct map *tokens;          /* hash of an API token -> account id, in the arena */
	struct map *by_id;           /* UUID -> snapshot_tunnel */
	struct map *exact, *below;   /* "a.b" -> snapshot_route, and "b" -> that of "*.b" */
	struct snapshot_site *sites; /* owned, with their policies */
	size_t site_count;
	bool has_passthrough;
	struct map *site_exact, *site_below; /* as the routes' -> snapshot_site */
	struct map *site_zone;               /* name of a zone -> snapshot_site */
	struct map *by_name;                 /* name in the store -> held_certificate */
	struct access_view *access;
	struct cert_names {
		struct map *exact, *below; /* as the routes' -> tls_certificate */
	} certs[CERTIFICATE_SOURCES];      /* the later source wins */
	struct tls_certificate *unnamed;   /* borrowed from certificates, as the next */
	struct tls_certificate *tunnel_certificate;
};

/* --- Life -------------------------------------------------------------------------------------- */

static struct snapshot *snapshot_new(void)
{
	struct snapshot *s = mem_alloc(sizeof(*s));

	s->magic = MAGIC_SNAPSHOT;
	atomic_init(&s->refs, 1);
	arena_init(&s->arena);
	s->ports_by_key = map_new();
	s->tokens = map_new();
	s->by_id = map_new();
	s->exact = map_new();
	s->below = map_new();
	s->site_exact = map_new();
	s->site_below = map_new();
	s->site_zone = map_new();
	s->by_name = map_new();
	for (size_t i = 0; i < CERTIFICATE_SOURCES; i++)
		s->certs[i] = (struct cert_names){ map_new(), map_new() };
	return s;
}

static void snapshot_free(struct snapshot *s)
{
	for (size_t i = 0; i < s->tunnel_count; i++)
		secret_done(&s->tunnels[i].secret);
	mem_free(s->tunnels);
	for (size_t i = 0; i < s->certificate_count; i++) {
		tls_certificate_unref(s->certificates[i].tls);
		tls_certificate_unref(s->certificates[i].stapled);
	}
	mem_free(s->certificates);
	for (size_t i = 0; i < s->site_count; i++)
		tls_policy_unref(s->sites[i].policy);
	mem_free(s->sites);
	network_table_done(&s->networks);
	access_view_unref(s->access);
	map_free(s->ports_by_key);
	map_free(s->tokens);
	map_free(s->by_id);
	map_free(s->exact);
	map_free(s->below);
	map_free(s->site_exact);
	map_free(s->site_below);
	map_free(s->site_zone);
	map_free(s->by_name);
	for (size_t i = 0; i < CERTIFICATE_SOURCES; i++) {
		map_free(s->certs[i].exact);
		map_free(s->certs[i].below);
	}
	arena_done(&s->arena);
	s->magic = 0;
	mem_free(s);
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	CHECK(s, MAGIC_SNAPSHOT);
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

struct snapshot *snapshot_unref(struct snapshot *s)
{
	if (!s)
		return NULL;
	CHECK(s, MAGIC_SNAPSHOT);
	/* What other threads read happened before; the last one sees it all and frees. */
	if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
		snapshot_free(s);
	return NULL;
}

static struct tls_certificate *find_certificate(const struct snapshot *s, struct bytes name,
						enum certificate_source least)
{
	struct tls_certificate *found = NULL;

	for (size_t i = CERTIFICATE_SOURCES; !found && i-- > (size_t)least;) {
		found = map_find(s->certs[i].exact, name);
		if (!found)
			found = map_find(s->certs[i].below,
					 bytes_from(name, bytes_index(name, '.') + 1));
	}
	return found;
}

/* --- Building ---------------------------------------------------------------------------------- */

/* What was read from the store for one build. */
struct source {
	struct store_zone *zones;
	struct store_tunnel *tunnels;
	struct store_route *routes;
	struct store_certificate *certificates;
	struct store_vnet *vnets;
	struct store_network_route *networks;
	struct store_token_hash *tokens;
	struct store_port *ports;
	struct store_site *sites;
	struct store_ocsp *answers;
	size_t site_count, answer_count;
	size_t zone_count, tunnel_count, route_count, certificate_count;
	size_t vnet_count, network_count, token_count, port_count;
};

static void source_done(struct source *src)
{
	for (size_t i = 0; i < src->zone_count; i++)
		store_zone_done(&src->zones[i]);
	for (size_t i = 0; i < src->tunnel_count; i++)
		store_tunnel_done(&src->tunnels[i]);
	for (size_t i = 0; i < src->route_count; i++)
		store_route_done(&src->routes[i]);
	for (size_t i = 0; i < src->certificate_count; i++)
		store_certificate_done(&src->certificates[i]);
	for (size_t i = 0; i < src->vnet_count; i++)
		store_vnet_done(&src->vnets[i]);
	for (size_t i = 0; i < src->network_count; i++)
		store_network_route_done(&src->networks[i]);
	for (size_t i = 0; i < src->port_count; i++)
		store_port_done(&src->ports[i]);
	for (size_t i = 0; i < src->site_count; i++)
		store_site_done(&src->sites[i]);
	mem_free(src->sites);
	for (size_t i = 0; i < src->answer_count; i++)
		store_ocsp_done(&src->answers[i]);
	mem_free(src->answers);
	mem_free(src->ports);
	mem_free(src->vnets);
	mem_free(src->networks);
	mem_free(src->tokens);
	mem_free(src->zones);
	mem_free(src->tunnels);
	mem_free(src->routes);
	mem_free(src->certificates);
}

static int read_control_host(struct snapshot *s, struct store *store, struct err *err)
{
	struct err why = { 0 };
	char *host = store_setting_get(store, "control.host", &why);

	if (!host && why.code != E_NOT_FOUND) {
		if (err)
			*err = why;
		return why.code;
	}
	s->control_host = arena_strdup(&s->arena, bytes_str(host));
	mem_free(host);
	return 0;
}

static int read_networks(struct store *store, struct source *src, struct err *err)
{
	const struct store_vnet_filter vnets = { .is_default = -1 };
	const struct store_network_filter routes = { 0 };
	int r = store_vnet_list(store, &vnets, &src->vnets, &src->vnet_count, err);

	if (r == 0)
		r = store_network_route_list(store, &routes, &src->networks, &src->network_count,
					     NULL, err);
	if (r == 0)
		r = store_token_hashes(store, &src->tokens, &src->token_count, err);
	if (r == 0)
		r = store_port_list(store, NULL, &src->ports, &src->port_count, err);
	if (r == 0)
		r = store_site_list(store, &src->sites, &src->site_count, err);
	if (r == 0)
		r = store_ocsp_list(store, &src->answers, &src->answer_count, err);
	return r;
}

static int read_store(struct snapshot *s, struct store *store, struct source *src, struct err *err)
{
	const struct store_tunnel_filter living = { .is_deleted = 0 };
	/* First: a write that comes between the questions makes the next snapshot newer than this. */
	s->revision = store_revision(store, err);
	int r = s->revision < 0 ? E_IO : read_control_host(s, store, err);

	if (r == 0)
		r = store_zone_list(store, &src->zones, &src->zone_count, err);
	if (r == 0)
		r = store_tunnel_list(store, &living, &src->tunnels, &src->tunnel_count, NULL, err);
	if (r == 0)
		r = store_route_list(store, &src->routes, &src->route_count, err);
	if (r == 0)
		r = read_networks(store, src, err);
	if (r < 0)
		return r;
	struct certificate_needs needs = {
		.zones = src->zones,
		.zone_count = src->zone_count,
		.routes = src->routes,
		.route_count = src->route_count,
		.control_host = s->control_host[0] ? s->control_host : NULL,
	};
	return certificates_update(store, &needs, &src->certificates, &src->certificate_count,
				   &s->renew_at, err);
}

/* What is not set, or is a policy of a newer program, is inherited. */
static struct snapshot_balance balance_of(const struct store_balance *b,
					  struct snapshot_balance inherited)
{
	(void)balance_policy_parse(bytes_str(b->policy), &inherited.policy);
	if (b->eject_on_5xx != STORE_UNSET)
		inherited.eject_on_5xx = b->eject_on_5xx == STORE_YES;
	return inherited;
}

static void take_tunnels(struct snapshot *s, struct source *src)
{
	s->tunnels = mem_alloc_array(src->tunnel_count, sizeof(*s->tunnels));
	s->tunnel_count = src->tunnel_count;
	for (size_t i = 0; i < src->tunnel_count; i++) {
		struct store_tunnel *from = &src->tunnels[i];
		struct snapshot_tunnel *to = &s->tunnels[i];
		to->id = from->id;
		memcpy(to->account, from->account, sizeof(to->account));
		to->name = arena_strdup(&s->arena, bytes_str(from->name));
		to->secret = from->secret;
		from->secret = (struct secret){ 0 };
		to->balance = balance_of(&from->balance, (struct snapshot_balance){ 0 });
		map_put(s->by_id, uuid_bytes(&to->id), to);
	}
}

/* "*.b" goes under "b" into `below`, anything else into `exact`. */
static void put_name(struct map *exact, struct map *below, struct bytes name, void *value)
{
	if (bytes_starts_with(name, BYTES_LIT("*.")))
		map_put(below, bytes_from(name, 2), value);
	else
		map_put(exact, name, value);
}

static void take_routes(struct snapshot *s, const struct source *src)
{
	for (size_t i = 0; i < src->route_count; i++) {
		const struct store_route *from = &src->routes[i];
		struct snapshot_tunnel *tunnel = map_find(s->by_id, uuid_bytes(&from->tunnel));
		/* Its tunnel came or went between the two questions; the next snapshot knows. */
		if (!tunnel)
			continue;
		struct snapshot_route *to = arena_alloc(&s->arena, sizeof(*to));
		to->hostname = arena_strdup(&s->arena, bytes_str(from->hostname));
		to->tunnel = tunnel;
		to->balance = balance_of(&from->balance, tunnel->balance);
		put_name(s->exact, s->below, bytes_str(to->hostname), to);
	}
}

static void take_vnets(struct snapshot *s, const struct source *src)
{
	s->vnets = arena_alloc(&s->arena, src->vnet_count * sizeof(*s->vnets) + 1);
	s->vnet_count = src->vnet_count;
	for (size_t i = 0; i < src->vnet_count; i++) {
		const struct store_vnet *from = &src->vnets[i];
		struct snapshot_vnet *to = &s->vnets[i];
		to->id = from->id;
		memcpy(to->account, from->account, sizeof(to->account));
		to->name = arena_strdup(&s->arena, bytes_str(from->name));
		to->is_default = from->is_default;
	}
}

static const struct snapshot_vnet *vnet_of_id(const struct snapshot *s, const struct uuid *id)
{
	for (size_t i = 0; i < s->vnet_count; i++)
		if (uuid_eq(&s->vnets[i].id, id))
			return &s->vnets[i];
	return NULL;
}

/* Routes come grouped by virtual network. */
static void take_networks(struct snapshot *s, const struct source *src)
{
	const struct snapshot_vnet *vnet = NULL;

	for (size_t i = 0; i < src->network_count; i++) {
		const struct store_network_route *from = &src->networks[i];
		struct snapshot_tunnel *tunnel = map_find(s->by_id, uuid_bytes(&from->tunnel));
		if (!vnet || !uuid_eq(&vnet->id, &from->vnet))
			vnet = vnet_of_id(s, &from->vnet);
		/* One came or went between two questions; the next snapshot knows. */
		if (!tunnel || !vnet)
			continue;
		struct snapshot_network *to = arena_alloc(&s->arena, sizeof(*to));
		*to = (struct snapshot_network){ from->network, vnet, tunnel };
		network_table_add(&s->networks, (size_t)(vnet - s->vnets), &to->network, to);
	}
	network_table_sort(&s->networks);
}

#define PORT_KEY_BYTES 3

static struct bytes port_key(enum port_protocol protocol, uint16_t port, uint8_t key[PORT_KEY_BYTES])
{
	key[0] = (uint8_t)protocol;
	key[1] = (uint8_t)(port >> 8);
	key[2] = (uint8_t)port;
	return bytes_of(key, PORT_KEY_BYTES);
}

static void take_ports(struct snapshot *s, const struct source *src)
{
	uint8_t key[PORT_KEY_BYTES];

	s->ports = arena_alloc(&s->arena, src->port_count * sizeof(*s->ports) + 1);
	for (size_t i = 0; i < src->port_count; i++) {
		const struct store_port *from = &src->ports[i];
		struct snapshot_port *to = &s->ports[s->port_count];
		const struct snapshot_tunnel *tunnel = map_find(s->by_id, uuid_bytes(&from->tunnel));
		/* Its tunnel came or went between the two questions; the next snapshot knows. What a
		 * newer program may have put there leads nowhere. */
		if (!tunnel || port_target_parse(bytes_str(from->service), &to->target, NULL) < 0)
			continue;
		to->protocol = from->is_udp ? PORT_UDP : PORT_TCP;
		to->port = from->port;
		to->has_proxy_header = from->has_proxy_header;
		to->tunnel = tunnel;
		map_put(s->ports_by_key, port_key(to->protocol, to->port, key), to);
		s->port_count++;
	}
}

/* What Access guards is not open at the back. */
static void guard_ports(struct snapshot *s)
{
	const struct access_set *set = access_view_set(s->access);
	uint8_t key[PORT_KEY_BYTES];

	for (size_t i = 0; i < s->port_count; i++) {
		struct snapshot_port *p = &s->ports[i];

		p->is_guarded = !p->target.is_address &&
				access_set_has_host(set, bytes_str(p->target.text));
		if (p->is_guarded)
			map_take(s->ports_by_key, port_key(p->protocol, p->port, key));
	}
}

/* --- Sites ------------------------------------------------------------------------------------- */

static const char *either(const char *own, const char *inherited)
{
	return own ? own : inherited;
}

static struct tls_policy *make_policy(const struct store_site *p, struct err *err)
{
	struct tls_policy_options options = {
		.needs_tls13 = p->min_tls && strcmp(p->min_tls, "1.3") == 0,
		.client_ca_pem = bytes_str(p->client_ca),
	};

	if (p->client_auth && strcmp(p->client_auth, "off") != 0)
		options.client_auth = strcmp(p->client_auth, "optional") == 0 ? TLS_CLIENT_OPTIONAL
									      : TLS_CLIENT_REQUIRED;
	return tls_policy_new(&options, err);
}

/* `p` as it is, with nothing left to inherit. */
static int add_site(struct snapshot *s, const struct store_site *p, struct map *map,
		    struct bytes name, struct err *err)
{
	struct snapshot_site *site = &s->sites[s->site_count++];

	site->hsts = p->hsts && p->hsts[0] ? arena_strdup(&s->arena, bytes_str(p->hsts)) : NULL;
	site->is_passthrough = p->passthrough && strcmp(p->passthrough, "on") == 0;
	s->has_passthrough |= site->is_passthrough;
	site->asks_certificate = p->client_auth && strcmp(p->client_auth, "off") != 0;
	if (site->asks_certificate || (p->min_tls && strcmp(p->min_tls, "1.3") == 0)) {
		site->policy = make_policy(p, err);
		if (!site->policy)
			return err_wrap(err, "TLS of %s", p->hostname[0] ? p->hostname : "a zone");
	}
	map_put(map, name, site);
	return 0;
}

static struct store_site inherit(const struct store_site *own, const struct store_site *zone)
{
	struct store_site p = *own;

	if (!zone)
		return p;
	p.hsts = (char *)(uintptr_t)either(p.hsts, zone->hsts);
	p.min_tls = (char *)(uintptr_t)either(p.min_tls, zone->min_tls);
	p.client_auth = (char *)(uintptr_t)either(p.client_auth, zone->client_auth);
	p.client_ca = (char *)(uintptr_t)either(p.client_ca, zone->client_ca);
	return p;
}

/* What the zone of the control host asks, without the certificate. */
static int add_control_site(struct snapshot *s, const struct store_site *zone, const char *name,
			    struct err *err)
{
	static const char off[] = "off";
	struct bytes host = bytes_str(s->control_host), suffix = bytes_str(name);
	struct store_site p = *zone;

	if (!p.client_auth || strcmp(p.client_auth, off) == 0 || host.len <= suffix.len ||
	    !bytes_ends_with(host, suffix) || host.ptr[host.len - suffix.len - 1] != '.' ||
	    map_find(s->site_exact, host))
		return 0;
	p.client_auth = (char *)(uintptr_t)off;
	return add_site(s, &p, s->site_exact, host, err);
}

static int take_sites(struct snapshot *s, const struct source *src, struct err *err)
{
	struct map *names = map_new(), *zones = map_new();
	int r = 0;

	/* One more for each zone: the control host's. */
	s->sites = mem_alloc_array(2 * src->site_count + 1, sizeof(*s->sites));
	for (size_t i = 0; i < src->zone_count; i++)
		map_put(names, uuid_bytes(&src->zones[i].id), src->zones[i].name);
	for (size_t i = 0; i < src->site_count; i++)
		if (!src->sites[i].hostname[0])
			map_put(zones, uuid_bytes(&src->sites[i].zone), &src->sites[i]);
	for (size_t i = src->site_count; r == 0 && i-- > 0;) {
		const struct store_site *own = &src->sites[i];
		const char *zone = map_find(names, uuid_bytes(&own->zone));
		struct bytes name = bytes_str(own->hostname[0] ? own->hostname : zone);
		if (!zone)
			continue; /* it came or went between two questions */
		if (!own->hostname[0]) {
			/* Those of zones come last here: hostnames' own are known. */
			r = add_site(s, own, s->site_zone, name, err);
			if (r == 0)
				r = add_control_site(s, own, zone, err);
			continue;
		}
		struct store_site p = inherit(own, map_find(zones, uuid_bytes(&own->zone)));
		bool is_wildcard = bytes_starts_with(name, BYTES_LIT("*."));
		r = add_site(s, &p, is_wildcard ? s->site_below : s->site_exact,
			     is_wildcard ? bytes_from(name, 2) : name, err);
	}
	map_free(names);
	map_free(zones);
	return r;
}

static void take_tokens(struct snapshot *s, const struct source *src)
{
	for (size_t i = 0; i < src->token_count; i++) {
		const struct store_token_hash *t = &src->tokens[i];
		map_put(s->tokens, bytes_of(t->hash, sizeof(t->hash)),
			arena_strdup(&s->arena, bytes_str(t->account)));
	}
}

static struct tls_certificate *load_certificate(struct store *store, const char *name,
						struct err *err)
{
	struct store_certificate c = { 0 };

	if (store_certificate_get(store, name, &c, err) < 0)
		return NULL;
	struct tls_certificate *tls = certificate_use(&c, err);
	store_certificate_done(&c);
	return tls;
}

static struct tls_certificate *staple(const struct tls_certificate *tls, const struct map *answers)
{
	char id[TLS_OCSP_ID_SIZE];

	if (map_count(answers) == 0)
		return NULL;
	tls_ocsp_id(tls, id);
	const struct store_ocsp *o = map_find(answers, bytes_str(id));
	if (!o || o->response_len == 0)
		return NULL;
	return tls_certificate_with_staple(tls, bytes_of(o->response, o->response_len),
					   o->fresh_until);
}

/* From the previous snapshot when it is still the same one: parsing keys is the slow part. */
static int hold_certificate(struct snapshot *s, struct store *store,
			    const struct snapshot *previous, const struct store_certificate *from,
			    const struct map *answers, struct tls_certificate **ret, struct err *err)
{
	struct bytes name = bytes_str(from->name);
	const struct held_certificate *old = previous ? map_find(previous->by_name, name) : NULL;
	struct tls_certificate *tls = old && old->rev == from->rev
					      ? tls_certificate_ref(old->tls)
					      : load_certificate(store, from->name, err);

	if (!tls)
		return E_TLS;
	struct held_certificate *held = &s->certificates[s->certificate_count++];
	held->rev = from->rev;
	held->tls = tls;
	held->stapled = staple(tls, answers);
	map_put(s->by_name, name, held);
	*ret = held->stapled ? held->stapled : tls;
	return 0;
}

/* What comes later takes the names of what came before. Ours by name backwards, as "control" must not take the place
 * of "domain …"; those of others by age. */
static int by_strength(const void *a, const void *b)
{
	const struct store_certificate *left = a, *right = b;
	enum certificate_source source = certificate_source_of(left->name);

	if (source != certificate_source_of(right->name))
		return source < certificate_source_of(right->name) ? -1 : 1;
	if (source == CERTIFICATE_BUILTIN)
		return strcmp(right->name, left->name);
	return left->rev < right->rev ? -1 : left->rev > right->rev;
}

static int take_certificate(struct snapshot *s, struct store *store,
			    const struct snapshot *previous, const struct store_certificate *from,
			    const struct map *answers, struct err *err)
{
	enum certificate_source source = certificate_source_of(from->name);
	struct bytes rest = bytes_str(from->hostnames), line = BYTES_NONE;
	struct tls_certificate *tls = NULL;
	struct err why = { 0 };

	/* One that has ended is worse than that of the built-in CA, which some at least trust. */
	if (source != CERTIFICATE_BUILTIN && from->expires_at <= clock_wall_now())
		return 0;
	int r = hold_certificate(s, store, previous, from, answers, &tls, &why);
	if (r < 0 && source != CERTIFICATE_BUILTIN) {
		log_error(COMPONENT, "a certificate cannot be used", LOG_STR("name", from->name),
			  LOG_STR("error", why.text));
		return 0;
	}
	if (r < 0) {
		if (err)
			*err = why;
		return r;
	}
	while (bytes_split(&rest, '\n', &line))
		put_name(s->certs[source].exact, s->certs[source].below, line, tls);
	if (strcmp(from->name, CERTIFICATE_TUNNEL) == 0)
		s->tunnel_certificate = tls;
	return 0;
}

static int take_certificates(struct snapshot *s, struct store *store,
			     const struct snapshot *previous, const struct source *src,
			     struct err *err)
{
	s->certificates = mem_alloc_array(src->certificate_count, sizeof(*s->certificates));
	if (src->certificate_count)
		qsort(src->certificates, src->certificate_count, sizeof(*src->certificates),
		      by_strength);
	struct map *answers = map_new();
	int r = 0;
	for (size_t i = 0; i < src->answer_count; i++)
		map_put(answers, bytes_str(src->answers[i].certificate), &src->answers[i]);
	for (size_t i = 0; r == 0 && i < src->certificate_count; i++)
		r = take_certificate(s, store, previous, &src->certificates[i], answers, err);
	map_free(answers);
	if (r < 0)
		return r;
	/* Who dials an address sends no name (RFC 6066 §3), so a control host that is an address has to be
	 * what is shown then. */
	struct address literal;
	bool is_address = address_from_ip(bytes_str(s->control_host), 0, &literal);
	const char *first = src->zone_count && !is_address ? src->zones[0].name : s->control_host;
	s->unnamed = find_certificate(s, bytes_str(first), CERTIFICATE_BUILTIN);
	return 0;
}

struct snapshot *snapshot_build(struct store *store, const char *issuer, struct countries *countries,
				const struct snapshot *previous, struct err *err)
{
	struct snapshot *s = snapshot_new();
	struct source src = { 0 };
	int r = read_store(s, store, &src, err);

	if (r == 0) {
		take_tunnels(s, &src);
		take_routes(s, &src);
		take_vnets(s, &src);
		take_networks(s, &src);
		take_ports(s, &src);
		take_tokens(s, &src);
		r = take_sites(s, &src, err);
	}
	if (r == 0) {
		r = take_certificates(s, store, previous, &src, err);
	}
	if (r == 0) {
		s->access = access_view_build(store, issuer, countries, err);
		r = s->access ? 0 : E_INVALID;
	}
	if (r == 0) {
		guard_ports(s);
		if (access_view_keys_due(s->access) < s->renew_at)
			s->renew_at = access_view_keys_due(s->access);
	}
	if (r == 0)
		certificates_report(src.certificates, src.certificate_count);
	source_done(&src);
	return r < 0 ? snapshot_unref(s) : s;
}

/* --- Reading ------------------------------------------------------------------------------------ */

void snapshot_country(const struct snapshot *s, struct bytes ip, char ret[COUNTRY_FIELD_SIZE])
{
	const struct countries *countries = s ? access_view_countries(s->access) : NULL;

	countries_find_ip(countries, ip, ret);
	if (countries && !ret[0])
		memcpy(ret, "XX", COUNTRY_FIELD_SIZE);
}

int64_t snapshot_revision(const struct snapshot *s)
{
	return s->revision;
}

usec snapshot_renew_at(const struct snapshot *s)
{
	return s->renew_at;
}

struct access_view *snapshot_access(const struct snapshot *s)
{
	return s->access;
}

const char *snapshot_control_host(const struct snapshot *s)
{
	return s->control_host;
}

const struct snapshot_route *snapshot_route(const struct snapshot *s, struct bytes host)
{
	CHECK(s, MAGIC_SNAPSHOT);
	if (host.len == 0 || host.len > MAX_HOST_BYTES || host.ptr[0] == '.')
		return NULL;
	const struct snapshot_route *route = map_find(s->exact, host);
	while (!route && host.len > 0) {
		host = bytes_from(host, bytes_index(host, '.') + 1);
		route = map_find(s->below, host);
	}
	return route;
}

static const struct snapshot_site *find_above(const struct map *map, struct bytes host)
{
	const struct snapshot_site *site = NULL;

	while (!site && host.len > 0) {
		host = bytes_from(host, bytes_index(host, '.') + 1);
		site = map_find(map, host);
	}
	return site;
}

struct tls_certificate *snapshot_each_certificate(const struct snapshot *s, size_t i)
{
	return i < s->certificate_count ? s->certificates[i].tls : NULL;
}

const struct snapshot_site *snapshot_site(const struct snapshot *s, struct bytes host)
{
	const struct snapshot_site *site;

	CHECK(s, MAGIC_SNAPSHOT);
	if (s->site_count == 0 || host.len == 0 || host.len > MAX_HOST_BYTES || host.ptr[0] == '.')
		return NULL;
	site = map_find(s->site_exact, host);
	if (!site)
		site = find_above(s->site_below, host);
	if (!site)
		site = map_find(s->site_zone, host);
	return site ? site : find_above(s->site_zone, host);
}

bool snapshot_has_passthrough(const struct snapshot *s)
{
	CHECK(s, MAGIC_SNAPSHOT);
	return s->has_passthrough;
}

const struct snapshot_route *snapshot_passthrough(const struct snapshot *s, struct bytes host)
{
	const struct snapshot_site *site = s->has_passthrough ? snapshot_site(s, host) : NULL;

	/* A wildcard's does not take the control host away. */
	if (!site || !site->is_passthrough || bytes_eq(host, bytes_str(s->control_host)))
		return NULL;
	/* Who is to be asked cannot be asked in there. */
	if (access_set_has_host(access_view_set(s->access), host))
		return NULL;
	return snapshot_route(s, host);
}

const struct snapshot_tunnel *snapshot_tunnel(const struct snapshot *s, const struct uuid *id)
{
	CHECK(s, MAGIC_SNAPSHOT);
	return map_find(s->by_id, uuid_bytes(id));
}

const char *snapshot_token_account(const struct snapshot *s, struct bytes token)
{
	uint8_t hash[STORE_TOKEN_HASH_BYTES];

	CHECK(s, MAGIC_SNAPSHOT);
	store_token_hash(token, hash);
	/* Who can choose a hash to look for knows a token: the time it takes tells nothing. */
	return map_find(s->tokens, bytes_of(hash, sizeof(hash)));
}

const struct snapshot_vnet *snapshot_vnet(const struct snapshot *s, const char *account,
					  struct bytes name)
{
	struct uuid id;
	bool is_id = uuid_parse(name, &id);

	CHECK(s, MAGIC_SNAPSHOT);
	for (size_t i = 0; i < s->vnet_count; i++) {
		const struct snapshot_vnet *v = &s->vnets[i];
		bool is_meant = name.len == 0 ? v->is_default
				: is_id       ? uuid_eq(&v->id, &id)
					      : bytes_eq(name, bytes_str(v->name));
		if (is_meant && strcmp(v->account, account) == 0)
			return v;
	}
	return NULL;
}

const struct snapshot_network *snapshot_network(const struct snapshot *s,
						const struct snapshot_vnet *vnet,
						const struct address *to)
{
	struct network address;

	CHECK(s, MAGIC_SNAPSHOT);
	if (!network_of_address(to, &address))
		return NULL;
	return network_table_find(&s->networks, (size_t)(vnet - s->vnets), &address);
}

size_t snapshot_network_count(const struct snapshot *s)
{
	return s->networks.count;
}

const struct snapshot_port *snapshot_port(const struct snapshot *s, enum port_protocol protocol,
					  uint16_t port)
{
	uint8_t key[PORT_KEY_BYTES];

	CHECK(s, MAGIC_SNAPSHOT);
	return map_find(s->ports_by_key, port_key(protocol, port, key));
}

const struct snapshot_port *snapshot_ports(const struct snapshot *s, size_t *ret_count)
{
	CHECK(s, MAGIC_SNAPSHOT);
	*ret_count = s->port_count;
	return s->ports;
}

struct tls_certificate *snapshot_certificate(const struct snapshot *s, struct bytes server_name)
{
	CHECK(s, MAGIC_SNAPSHOT);
	if (server_name.len == 0)
		return s->unnamed;
	if (server_name.len > MAX_HOST_BYTES || server_name.ptr[0] == '.')
		return NULL;
	return find_certificate(s, server_name, CERTIFICATE_BUILTIN);
}

bool snapshot_is_certified(const struct snapshot *s, struct bytes server_name)
{
	CHECK(s, MAGIC_SNAPSHOT);
	return server_name.len && server_name.len <= MAX_HOST_BYTES && server_name.ptr[0] != '.' &&
	       find_certificate(s, server_name, CERTIFICATE_ACME);
}

struct tls_certificate *snapshot_tunnel_certificate(const struct snapshot *s)
{
	return s->tunnel_certificate;
}

bool snapshot_is_tunnel_name(const struct snapshot *s, struct bytes server_name)
{
	return server_name.len && snapshot_certificate(s, server_name) == s->tunnel_certificate;
}
