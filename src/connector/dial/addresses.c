#include "connector/dial/addresses.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "connector/dial/proxy.h"
#include "io/loop.h"
#include "io/host_watch.h"
#include "io/resolve.h"

#define COMPONENT "connector/dial"

/* Of one host, of one SRV name, and in all: more edges than this serve no connector better. */
#define MAX_HOST_ADDRESSES 16
#define MAX_SERVICES 16
#define MAX_PLACES 64
/* A place that failed is among the last for so long. */
#define FAILED_USEC (60 * USEC_PER_SEC)
/* What an SRV record's time to live may be shortened to. */
#define SERVICE_TTL_MIN_SEC 30
/* One that hangs on a dead network, and the one that replaces it. */
#define MAX_LOOKUPS 2

#define DEFAULT_PORT 7844
#define OWN_SERVICE "_adit-tunnel._tcp."
#define STOCK_SERVICE "v2-origintunneld._tcp.argotunnel.com"

/* A place with what the pool remembers of it. */
struct known {
	struct edge_place place;
	size_t source; /* index of its entry */
	usec failed_at;
	bool has_failed;
};

struct found {
	struct known known[MAX_PLACES];
	size_t count;
	uint32_t ttl_sec;            /* the least of SRV records; UINT32_MAX: there are none */
	bool has_failed[MAX_PLACES]; /* by source */
	struct err err;              /* the first failure */
};

/* One run on a thread of the pool. */
struct lookup {
	struct edge_pool *pool; /* NULL: it is gone, nobody waits. The loop's thread alone looks. */
	uint64_t serial;
	struct edge_pool_options options; /* a copy; its pointers are good until the loop is gone */
	bool proxy_resolves;
	struct found found;
};

struct edge_pool {
	struct loop *loop;
	struct edge_pool_options options;
	void (*on_change)(void *ctx);
	void *ctx;
	bool has_names;                      /* there is something to look up */
	struct lookup *lookups[MAX_LOOKUPS]; /* under way; NULL: free */
	uint64_t last_serial, taken_serial;
	usec last_start; /* 0: there was none */
	bool is_urgent;
	struct timer again;
	struct known known[MAX_PLACES];
	size_t count;
	struct err err;
};

bool edge_place_eq(const struct edge_place *a, const struct edge_place *b)
{
	return a->is_proxied == b->is_proxied && a->address.len == b->address.len &&
	       memcmp(&a->address.any, &b->address.any, a->address.len) == 0 &&
	       (a->address.len || strcmp(a->name, b->name) == 0);
}

/* --- Looking up, on a thread of the pool ------------------------------------------------------ */

static bool is_proxied(const struct lookup *l, struct bytes host, uint16_t port)
{
	return l->options.proxy &&
	       (l->options.always_proxied || !proxy_is_bypassed(l->options.no_proxy, host, port));
}

static void note_failure(struct lookup *l, size_t source, const struct err *err)
{
	l->found.has_failed[source] = true;
	if (!l->found.err.code)
		l->found.err = *err;
}

static void add(struct lookup *l, size_t source, const struct edge_place *place)
{
	struct found *f = &l->found;

	for (size_t i = 0; i < f->count; i++)
		if (edge_place_eq(&f->known[i].place, place))
			return; /* a certificate names an edge once per connection */
	if (f->count < MAX_PLACES)
		f->known[f->count++] = (struct known){ .place = *place, .source = source };
}

static int find_host(struct lookup *l, size_t source, struct bytes host, uint16_t port,
		     uint16_t priority, struct err *err)
{
	struct address addresses[MAX_HOST_ADDRESSES];
	struct edge_place place = { .priority = priority, .is_proxied = is_proxied(l, host, port) };
	char name[RESOLVE_NAME_BYTES];
	bool is_v6 = bytes_index(host, ':') < host.len;

	if (host.len == 0 || host.len >= sizeof(name))
		return err_set(err, E_INVALID, "an edge's name is too long");
	memcpy(name, host.ptr, host.len);
	name[host.len] = 0;
	(void)snprintf(place.name, sizeof(place.name), "%s%s%s:%u", is_v6 ? "[" : "", name,
		       is_v6 ? "]" : "", port);
	if (place.is_proxied && l->proxy_resolves) {
		add(l, source, &place);
		return 0;
	}
	int count = resolve_host(name, port, l->options.family, addresses, MAX_HOST_ADDRESSES, err);
	for (int i = 0; i < count; i++) {
		place.address = addresses[i];
		add(l, source, &place);
	}
	return count < 0 ? count : 0;
}

/* 0 as soon as one of them has an address. */
static int find_services(struct lookup *l, size_t source, const char *name, struct err *err)
{
	struct resolve_service *services = mem_alloc_array(MAX_SERVICES, sizeof(*services));
	uint32_t ttl_sec = UINT32_MAX;
	int result = 0, found = 0;
	int count = resolve_services(name, services, MAX_SERVICES, &ttl_sec, err);

	for (int i = 0; i < count; i++) {
		int r = find_host(l, source, bytes_str(services[i].host), services[i].port,
				  services[i].priority, err);
		if (r < 0)
			result = r;
		else
			found++;
	}
	if (count < 0)
		result = count;
	else if (ttl_sec < l->found.ttl_sec)
		l->found.ttl_sec = ttl_sec;
	mem_free(services);
	return found ? 0 : result;
}

/* An entry's host without brackets; *ret_port 0: it has none. */
static bool split_entry(const char *entry, struct bytes *ret_host, uint16_t *ret_port)
{
	struct bytes text = bytes_str(entry);
	struct address literal;

	*ret_port = 0;
	*ret_host = text;
	if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
		*ret_host = bytes_of(text.ptr + 1, text.len - 2);
	else if (bytes_index(text, ':') < text.len && !address_from_ip(text, 0, &literal))
		return address_split(text, ret_host, ret_port, NULL) == 0 && *ret_port > 0;
	return text.len > 0;
}

static int find_domain(struct lookup *l, size_t source, struct bytes domain, struct err *err)
{
	char *service = mem_printf(OWN_SERVICE BYTES_FMT, BYTES_ARG(domain));
	int r = find_services(l, source, service, err);

	mem_free(service);
	return r < 0 ? find_host(l, source, domain, DEFAULT_PORT, 0, err) : 0;
}

static int find_entry(struct lookup *l, size_t source, struct err *err)
{
	const char *entry = l->options.edges[source];
	struct address literal;
	struct bytes host;
	uint16_t port;

	if (!split_entry(entry, &host, &port))
		return err_set(err, E_INVALID, "\"%.200s\" is not the address of an edge", entry);
	if (port)
		return find_host(l, source, host, port, 0, err);
	if (address_from_ip(host, 0, &literal))
		return find_host(l, source, host, DEFAULT_PORT, 0, err);
	return find_domain(l, source, host, err);
}

static int find_stock(struct lookup *l, struct err *err)
{
	const char *region = l->options.region ? l->options.region : "";
	char *name = mem_printf("_%s%s" STOCK_SERVICE, region, *region ? "-" : "");
	int r = find_services(l, 0, name, err);

	mem_free(name);
	return r;
}

static void look_up(void *arg)
{
	struct lookup *l = arg;
	struct err err = { 0 };

	l->found.ttl_sec = UINT32_MAX;
	if (l->options.edge_count == 0 && find_stock(l, &err) < 0)
		note_failure(l, 0, &err);
	for (size_t i = 0; i < l->options.edge_count && i < MAX_PLACES; i++)
		if (find_entry(l, i, &err) < 0)
			note_failure(l, i, &err);
}

/* --- Taking what was found ------------------------------------------------------------------- */

static struct known *find_known(struct known *known, size_t count, const struct edge_place *place)
{
	for (size_t i = 0; i < count; i++)
		if (edge_place_eq(&known[i].place, place))
			return &known[i];
	return NULL;
}

static void tell_of_change(const struct known *before, size_t before_count,
			   const struct edge_pool *p)
{
	char text[512] = "";
	bool has_changed = before_count != p->count;
	size_t used = 0;

	for (size_t i = 0; i < p->count; i++) {
		char address[ADDRESS_TEXT_SIZE];
		const struct edge_place *place = &p->known[i].place;
		bool is_old = false;

		for (size_t k = 0; k < before_count && !is_old; k++)
			is_old = edge_place_eq(&before[k].place, place);
		has_changed |= !is_old;
		int n = snprintf(text + used, sizeof(text) - used, "%s%s", i ? "," : "",
				 place->address.len ? address_text(&place->address, address)
						    : place->name);
		used += n > 0 && (size_t)n < sizeof(text) - used ? (size_t)n : 0;
	}
	if (has_changed)
		log_info(COMPONENT,
			 before_count ? "The addresses of the edge have changed"
				      : "Found the addresses of the edge",
			 LOG_STR("addresses", text));
}

static void take(struct edge_pool *p, const struct found *f)
{
	struct known *before = mem_alloc_array(MAX_PLACES, sizeof(*before));
	size_t before_count = p->count;

	memcpy(before, p->known, p->count * sizeof(p->known[0]));
	p->count = 0;
	for (size_t i = 0; i < f->count; i++) {
		const struct known *was = find_known(before, before_count, &f->known[i].place);
		struct known *now = &p->known[p->count++];
		*now = f->known[i];
		if (was) {
			now->failed_at = was->failed_at;
			now->has_failed = was->has_failed;
		}
	}
	/* What could not be looked up now is where it was. */
	for (size_t i = 0; i < before_count && p->count < MAX_PLACES; i++)
		if (f->has_failed[before[i].source] &&
		    !find_known(p->known, p->count, &before[i].place))
			p->known[p->count++] = before[i];
	p->err = f->err;
	if (p->has_names)
		tell_of_change(before, before_count, p);
	if (f->err.code)
		log_debug(COMPONENT, "Looking up the edge failed", LOG_STR("error", f->err.text));
	mem_free(before);
}

static void on_looked_up(void *arg)
{
	struct lookup *l = arg;
	struct edge_pool *p = l->pool;
	bool is_newest = false;

	if (!p) {
		mem_free(l);
		return;
	}
	for (size_t i = 0; i < MAX_LOOKUPS; i++)
		if (p->lookups[i] == l)
			p->lookups[i] = NULL;
	/* One that hung says nothing about now. */
	is_newest = l->serial > p->taken_serial;
	if (is_newest) {
		int64_t again_ms = EDGE_LOOKUP_MS;
		p->taken_serial = l->serial;
		take(p, &l->found);
		if (l->found.ttl_sec < SERVICE_TTL_MIN_SEC)
			again_ms = SERVICE_TTL_MIN_SEC * 1000;
		else if (l->found.ttl_sec < EDGE_LOOKUP_MS / 1000)
			again_ms = (int64_t)l->found.ttl_sec * 1000;
		if (!timer_is_set(&p->again))
			timer_set(&p->again, again_ms);
	}
	mem_free(l);
	if (is_newest)
		p->on_change(p->ctx);
}

/* --- When ------------------------------------------------------------------------------------ */

static struct lookup *lookup_new(struct edge_pool *p)
{
	struct lookup *l = mem_alloc(sizeof(*l));

	l->pool = p;
	l->serial = ++p->last_serial;
	l->options = p->options;
	l->proxy_resolves = p->options.proxy && p->options.proxy->resolves;
	return l;
}

static void start(struct edge_pool *p)
{
	size_t running = 0, slot = MAX_LOOKUPS;

	for (size_t i = 0; i < MAX_LOOKUPS; i++) {
		running += p->lookups[i] != NULL;
		slot = p->lookups[i] ? slot : i;
	}
	bool may_start = running == 0 || (p->is_urgent && slot < MAX_LOOKUPS);
	p->is_urgent = false;
	if (!may_start)
		return; /* what comes is as fresh */
	p->last_start = loop_now(p->loop);
	p->lookups[slot] = lookup_new(p);
	loop_work(p->loop, look_up, on_looked_up, p->lookups[slot]);
}

static void on_again(struct timer *t)
{
	start(CONTAINER_OF(t, struct edge_pool, again));
}

void edge_pool_refresh(struct edge_pool *p, bool is_urgent)
{
	usec now = loop_now(p->loop);
	usec earliest = p->last_start ? p->last_start + EDGE_LOOKUP_MIN_MS * USEC_PER_MSEC : now;

	if (!p->has_names)
		return;
	p->is_urgent |= is_urgent;
	if (earliest > now) {
		if (!timer_is_set(&p->again) || p->again.at > earliest)
			timer_set(&p->again, (earliest - now) / USEC_PER_MSEC + 1);
		return;
	}
	timer_stop(&p->again);
	start(p);
}

/* --- Choosing -------------------------------------------------------------------------------- */

enum {
	RANK_AVOID,
	RANK_BAD,
	RANK_FAILED_AT,
	RANK_PRIORITY,
	RANK_FAMILY,
	RANK_PLACE_USERS,
	RANK_HOST_USERS,
	RANK_ELSEWHERE,
	RANK_ORDER,
	RANKS
};

struct candidate {
	const struct edge_place *place;
	int64_t rank[RANKS]; /* compared in this order, the lower the better */
};

static int candidate_compare(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	for (int i = 0; i < RANKS; i++)
		if (x->rank[i] != y->rank[i])
			return x->rank[i] < y->rank[i] ? -1 : 1;
	return 0;
}

static bool is_reachable(const struct edge_pool *p, const struct edge_place *place)
{
	return place->is_proxied || place->address.len == 0 ||
	       host_has_route(&place->address, p->options.from);
}

static void rank(const struct edge_pool *p, const struct edge_wish *wish, size_t i,
		 struct candidate *c)
{
	const struct known *k = &p->known[i];
	usec now = loop_now(p->loop);
	bool is_last = wish->last && edge_place_eq(wish->last, &k->place);
	bool has_failed = k->has_failed && now - k->failed_at < FAILED_USEC;
	/* The system's first choice for connections 0, 2, …, the other family for the rest. */
	bool is_first_family =
		k->place.address.any.sa_family == p->known[0].place.address.any.sa_family;

	*c = (struct candidate){ .place = &k->place };
	c->rank[RANK_AVOID] = is_last && wish->avoid_last;
	c->rank[RANK_BAD] = has_failed + 2 * !is_reachable(p, &k->place);
	c->rank[RANK_FAILED_AT] = has_failed ? k->failed_at : 0;
	c->rank[RANK_PRIORITY] = k->place.priority;
	c->rank[RANK_FAMILY] = is_first_family != (wish->index % 2 == 0);
	for (size_t o = 0; o < wish->other_count; o++) {
		c->rank[RANK_PLACE_USERS] += edge_place_eq(wish->others[o], &k->place);
		c->rank[RANK_HOST_USERS] += strcmp(wish->others[o]->name, k->place.name) == 0;
	}
	c->rank[RANK_ELSEWHERE] = !is_last;
	/* Where nothing else decides, connections begin at different places. */
	c->rank[RANK_ORDER] = (int64_t)((i + p->count - wish->index % p->count) % p->count);
}

/* Moves the first of the other family to the second place, unless it is worse. */
static void alternate(struct candidate *c, size_t count)
{
	for (size_t i = 1; i < count && c[i].rank[RANK_BAD] == c[0].rank[RANK_BAD]; i++) {
		struct candidate other = c[i];
		if (other.place->address.any.sa_family == c[0].place->address.any.sa_family ||
		    other.rank[RANK_AVOID] || other.rank[RANK_PRIORITY] != c[0].rank[RANK_PRIORITY])
			continue;
		memmove(&c[2], &c[1], (i - 1) * sizeof(*c));
		c[1] = other;
		return;
	}
}

size_t edge_pool_pick(const struct edge_pool *p, const struct edge_wish *wish,
		      struct edge_place *ret, size_t max)
{
	struct candidate candidates[MAX_PLACES];
	size_t count = 0;

	for (size_t i = 0; i < p->count; i++)
		rank(p, wish, i, &candidates[i]);
	qsort(candidates, p->count, sizeof(candidates[0]), candidate_compare);
	if (p->count == 0)
		return 0;
	ret[count++] = *candidates[0].place;
	if (ret[0].is_proxied || ret[0].address.len == 0)
		return count;
	alternate(candidates, p->count);
	for (size_t i = 1; i < p->count && count < max; i++)
		if (!candidates[i].place->is_proxied && candidates[i].place->address.len)
			ret[count++] = *candidates[i].place;
	return count;
}

/* --- Observers ------------------------------------------------------------------------------- */

const struct err *edge_pool_error(const struct edge_pool *p)
{
	return &p->err;
}

size_t edge_pool_count(const struct edge_pool *p)
{
	return p->count;
}

const struct edge_place *edge_pool_place(const struct edge_pool *p, size_t i)
{
	BUG_IF(i >= p->count);
	return &p->known[i].place;
}

bool edge_pool_has(const struct edge_pool *p, const struct edge_place *place)
{
	for (size_t i = 0; i < p->count; i++)
		if (edge_place_eq(&p->known[i].place, place))
			return true;
	return false;
}

void edge_pool_failed(struct edge_pool *p, const struct edge_place *place)
{
	struct known *k = find_known(p->known, p->count, place);

	if (k) {
		k->failed_at = loop_now(p->loop);
		k->has_failed = true;
	}
}

void edge_pool_worked(struct edge_pool *p, const struct edge_place *place)
{
	struct known *k = find_known(p->known, p->count, place);

	if (k)
		k->has_failed = false;
}

/* --- Life ------------------------------------------------------------------------------------ */

/* Can it only be known by asking somebody? */
static bool needs_lookup(const struct edge_pool *p, const char *entry)
{
	const struct edge_pool_options *o = &p->options;
	struct address literal;
	struct bytes host;
	uint16_t port;

	if (!split_entry(entry, &host, &port) || address_from_ip(host, 0, &literal) ||
	    (port && bytes_eq_nocase(host, BYTES_LIT("localhost"))))
		return false;
	bool is_by_name = o->proxy && o->proxy->resolves &&
			  (o->always_proxied || !proxy_is_bypassed(o->no_proxy, host, port));
	return !port || !is_by_name;
}

struct edge_pool *edge_pool_new(struct loop *l, const struct edge_pool_options *options,
				void (*on_change)(void *ctx), void *ctx)
{
	struct edge_pool *p = mem_alloc(sizeof(*p));

	p->loop = l;
	p->options = *options;
	p->on_change = on_change;
	p->ctx = ctx;
	timer_init(&p->again, l, on_again);
	p->has_names = options->edge_count == 0;
	for (size_t i = 0; i < options->edge_count; i++)
		p->has_names |= needs_lookup(p, options->edges[i]);
	if (!p->has_names) {
		/* Nobody is asked, nothing blocks. */
		struct lookup *lookup = lookup_new(p);
		look_up(lookup);
		take(p, &lookup->found);
		mem_free(lookup);
	}
	return p;
}

struct edge_pool *edge_pool_free(struct edge_pool *p)
{
	if (!p)
		return NULL;
	timer_stop(&p->again);
	for (size_t i = 0; i < MAX_LOOKUPS; i++)
		if (p->lookups[i])
			p->lookups[i]->pool = NULL;
	return mem_free(p);
}
