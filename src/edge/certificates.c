#include "edge/certificates.h"

#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "store/files.h"
#include "tls/authority.h"
#include "tls/private_key.h"
#include "tls/key_box.h"
#include "tls/tls.h"

#define USEC_PER_DAY (24 * 3600 * USEC_PER_SEC)
/* As Let's Encrypt does it: a month to notice that renewing fails. */
#define LEAF_DAYS 90
#define RENEW_BEFORE (30 * USEC_PER_DAY)
/* Names of one certificate; ours have three at most. */
#define MAX_NAMES 4
#define MAX_DNS_BYTES 253
#define CA_PEM_BYTES (16 * 1024)

struct authority {
	struct authority_pair pair; /* owned */
	char fingerprint[96];
	usec expires_at;
};

enum certificate_source certificate_source_of(const char *name)
{
	return strncmp(name, "acme ", 5) == 0     ? CERTIFICATE_ACME
	       : strncmp(name, "import ", 7) == 0 ? CERTIFICATE_IMPORTED
						  : CERTIFICATE_BUILTIN;
}

const char *certificate_source_text(enum certificate_source source)
{
	static const char *const texts[] = {
		[CERTIFICATE_BUILTIN] = "built-in",
		[CERTIFICATE_ACME] = "acme",
		[CERTIFICATE_IMPORTED] = "imported",
	};

	return texts[source];
}

/* --- The CA ---------------------------------------------------------------------------------- */

static int create_ca(struct store *store, struct err *err)
{
	struct authority_pair pair = { 0 };
	uint8_t mark[4];
	char digits[2 * sizeof(mark) + 1] = "", name[48];

	/* So that a person who trusts several can tell them apart. */
	random_bytes(mark, sizeof(mark));
	hex_encode(bytes_of(mark, sizeof(mark)), digits);
	snprintf(name, sizeof(name), "Adit edge CA %s", digits);
	int r = authority_create(name, &pair, err);
	/* The certificate last: it says that both are there. */
	if (r == 0)
		r = store_setting_put(store, "ca.key", pair.key_pem, true, err);
	if (r == 0)
		r = store_setting_put(store, "ca.cert", pair.cert_pem, false, err);
	authority_pair_done(&pair);
	return r;
}

static int write_ca_file(const char *dir, const char *pem, struct err *err)
{
	char *path = mem_printf("%s/ca.pem", dir), *there = mem_alloc(CA_PEM_BYTES);
	struct bytes wanted = bytes_str(pem);
	size_t len = 0;
	int r = 0;

	if (file_load(path, there, CA_PEM_BYTES, &len, NULL) < 0 ||
	    !bytes_eq(bytes_of(there, len), wanted))
		r = file_replace(path, wanted, 0644, err);
	mem_free(path);
	mem_free(there);
	return r;
}

int certificates_init_ca(struct store *store, const char *dir, struct err *err)
{
	struct err why = { 0 };
	char *pem = store_setting_get(store, "ca.cert", &why);
	int r = pem ? 0 : why.code;

	if (r == E_NOT_FOUND) {
		r = create_ca(store, &why);
		pem = r == 0 ? store_setting_get(store, "ca.cert", &why) : NULL;
		if (r == 0 && !pem)
			r = why.code;
	}
	if (r == 0)
		r = write_ca_file(dir, pem, &why);
	mem_free(pem);
	if (r < 0 && err)
		*err = why;
	return r;
}

static int load_ca(struct store *store, struct authority *ret, struct err *err)
{
	struct err why = { 0 };
	int r = 0;

	ret->pair.cert_pem = store_setting_get(store, "ca.cert", &why);
	if (ret->pair.cert_pem)
		ret->pair.key_pem = store_setting_get(store, "ca.key", &why);
	if (!ret->pair.key_pem)
		r = why.code;
	if (r == 0) {
		authority_fingerprint(ret->pair.cert_pem, ret->fingerprint);
		ret->expires_at = authority_expiry(ret->pair.cert_pem);
		if (!ret->fingerprint[0] || ret->expires_at < 0)
			r = err_set(&why, E_TLS, "the certificate of the built-in CA is damaged");
	}
	if (r < 0) {
		err_wrap(&why, "built-in CA");
		authority_pair_done(&ret->pair);
		if (err)
			*err = why;
	}
	return r;
}

/* --- What is needed --------------------------------------------------------------------------- */

/* Name in the store -> hostnames, one a line; both owned. */
static void need(struct map *wanted, const char *name, char *hostnames)
{
	mem_free(map_put(wanted, bytes_str(name), hostnames));
}

static void need_domain(struct map *wanted, const char *domain)
{
	char *name = mem_printf("domain %s", domain);

	if (!map_find(wanted, bytes_str(name))) {
		bool has_room = strlen(domain) + 2 <= MAX_DNS_BYTES;
		need(wanted, name,
		     has_room ? mem_printf("*.%s\n%s", domain, domain) : mem_strdup(domain));
	}
	mem_free(name);
}

/* The domain a routed name is directly below, when that is a deeper one than its zone. */
static const char *deeper_domain(const char *hostname, const char *zone)
{
	const char *dot = strchr(hostname, '.');
	const char *domain = dot ? dot + 1 : "";
	size_t len = strlen(domain), zone_len = strlen(zone);

	/* Never above the zone: that is not ours to certify, even with our own CA. */
	if (len < zone_len + 2 || strcmp(domain + len - zone_len, zone) != 0 ||
	    domain[len - zone_len - 1] != '.')
		return NULL;
	return domain;
}

static struct map *list_needs(const struct certificate_needs *needs)
{
	struct map *wanted = map_new(), *zones = map_new();

	need(wanted, CERTIFICATE_TUNNEL,
	     mem_strdup("h2.cftunnel.com\nprobe.cftunnel.com\nquic.cftunnel.com"));
	if (needs->control_host)
		need(wanted, CERTIFICATE_CONTROL, mem_strdup(needs->control_host));
	for (size_t i = 0; i < needs->zone_count; i++) {
		need_domain(wanted, needs->zones[i].name);
		map_put(zones, uuid_bytes(&needs->zones[i].id), needs->zones[i].name);
	}
	for (size_t i = 0; i < needs->route_count; i++) {
		const struct store_route *route = &needs->routes[i];
		const char *zone = map_find(zones, uuid_bytes(&route->zone));
		const char *domain = zone ? deeper_domain(route->hostname, zone) : NULL;
		if (domain)
			need_domain(wanted, domain);
	}
	map_free(zones);
	return wanted;
}

static void free_needs(struct map *wanted)
{
	size_t cursor = 0;
	void *hostnames = NULL;

	while (map_next(wanted, &cursor, NULL, &hostnames))
		mem_free(hostnames);
	map_free(wanted);
}

/* --- Issuing ----------------------------------------------------------------------------------- */

/* No leaf outlives the CA: one that ends with it cannot be renewed. */
static usec due_at(const struct store_certificate *c, const struct authority *ca)
{
	if (certificate_source_of(c->name) != CERTIFICATE_BUILTIN)
		return c->expires_at > clock_wall_now() ? c->expires_at : INT64_MAX;
	return c->expires_at < ca->expires_at ? c->expires_at - RENEW_BEFORE : INT64_MAX;
}

static bool is_good(const struct store_certificate *c, const char *hostnames,
		    const struct authority *ca, usec now)
{
	return due_at(c, ca) > now && strcmp(c->hostnames, hostnames) == 0 &&
	       strcmp(c->issuer, ca->fingerprint) == 0;
}

static int issue(const struct authority *ca, struct bytes name, const char *hostnames,
		 struct store_certificate *ret, struct err *err)
{
	struct authority_pair leaf = { 0 };
	const char *names[MAX_NAMES];
	char *lines[MAX_NAMES];
	struct bytes rest = bytes_str(hostnames), line = BYTES_NONE;
	size_t count = 0;

	while (count < MAX_NAMES && bytes_split(&rest, '\n', &line)) {
		lines[count] = mem_strndup(line);
		names[count] = lines[count];
		count++;
	}
	char *copy = mem_strndup(name), *place = store_certificate_place(copy);
	int r = authority_issue_for(&ca->pair, names, count, LEAF_DAYS, place, &leaf, err);
	mem_free(place);
	mem_free(copy);
	for (size_t i = 0; i < count; i++)
		mem_free(lines[i]);
	if (r < 0) {
		if (err)
			err_wrap(err, "certificate " BYTES_FMT, BYTES_ARG(name));
		return r;
	}
	*ret = (struct store_certificate){
		.name = mem_strndup(name),
		.hostnames = mem_strdup(hostnames),
		.issuer = mem_strdup(ca->fingerprint),
		.expires_at = authority_expiry(leaf.cert_pem),
		.cert_pem = mem_strdup(leaf.cert_pem),
	};
	r = certificate_take_key(ret, leaf.key_pem, err);
	authority_pair_done(&leaf);
	return r;
}

/* --- Their keys --------------------------------------------------------------------------------- */

struct tls_certificate *certificate_use(const struct store_certificate *c, struct err *err)
{
	if (!c->boxed_key.len)
		return tls_certificate_load(bytes_str(c->cert_pem),
					    bytes_of(c->key_pem.ptr, c->key_pem.len), err);
	char *place = store_certificate_place(c->name);
	struct tls_certificate *tls = tls_certificate_load_boxed(
		bytes_str(c->cert_pem), bytes_of(c->boxed_key.ptr, c->boxed_key.len), place, err);
	mem_free(place);
	return tls;
}

int certificate_take_key(struct store_certificate *c, const char *text, struct err *err)
{
	char *place = store_certificate_place(c->name);
	int r = 0;

	if (!private_key_sealed(text, place, &c->boxed_key)) {
		secret_set(&c->key_pem, bytes_str(text));
		r = certificate_box(c, err);
	}
	mem_free(place);
	return r;
}

int certificate_box(struct store_certificate *c, struct err *err)
{
	if (!key_box_is_running() || !c->key_pem.len)
		return 0;
	char *place = store_certificate_place(c->name);
	int r = key_box_seal(bytes_of(c->key_pem.ptr, c->key_pem.len), place, &c->boxed_key, err);
	mem_free(place);
	if (r < 0)
		return err_wrap(err, "certificate %s", c->name);
	secret_done(&c->key_pem);
	return 0;
}

/* 1 when it was changed. */
static int box_one(struct store *store, const char *name, struct err *err)
{
	struct store_certificate c = { 0 };
	int r = store_certificate_get(store, name, &c, err);
	bool is_open = c.key_pem.len > 0;

	if (r == 0 && is_open)
		r = certificate_box(&c, err);
	if (r == 0 && is_open)
		r = store_certificates_change(store, &c, 1, NULL, 0, err);
	store_certificate_done(&c);
	return r < 0 ? r : is_open;
}

static void drop_list(struct store_certificate *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		store_certificate_done(&list[i]);
	mem_free(list);
}

/* Issues what is wanted and not kept, drops what is kept and not wanted. */
static int change(struct store *store, const struct authority *ca, const struct map *wanted,
		  const struct map *kept, const char *const *drop, size_t drop_count,
		  struct err *err)
{
	struct store_certificate *put = mem_alloc_array(map_count(wanted), sizeof(*put));
	struct bytes name = BYTES_NONE;
	void *hostnames = NULL;
	size_t count = 0, cursor = 0;
	int r = 0;

	while (r == 0 && map_next(wanted, &cursor, &name, &hostnames))
		if (!map_find(kept, name))
			r = issue(ca, name, hostnames, &put[count++], err);
	if (r == 0)
		r = store_certificates_change(store, put, count, drop, drop_count, err);
	drop_list(put, count);
	return r;
}

static int update(struct store *store, const struct authority *ca, const struct map *wanted,
		  struct store_certificate *list, size_t count, bool *ret_changed, struct err *err)
{
	struct map *kept = map_new();
	const char **drop = mem_alloc_array(count, sizeof(*drop));
	usec now = clock_wall_now();
	size_t drop_count = 0;
	int r = 0;

	for (size_t i = 0; i < count; i++) {
		const char *hostnames = map_find(wanted, bytes_str(list[i].name));
		if (certificate_source_of(list[i].name) != CERTIFICATE_BUILTIN)
			continue;
		if (!hostnames)
			drop[drop_count++] = list[i].name;
		else if (is_good(&list[i], hostnames, ca, now))
			map_put(kept, bytes_str(list[i].name), &list[i]);
	}
	*ret_changed = drop_count > 0 || map_count(kept) < map_count(wanted);
	if (*ret_changed)
		r = change(store, ca, wanted, kept, drop, drop_count, err);
	map_free(kept);
	mem_free(drop);
	return r;
}

int certificates_update(struct store *store, const struct certificate_needs *needs,
			struct store_certificate **ret, size_t *ret_count, usec *ret_renew_at,
			struct err *err)
{
	struct store_certificate *list = NULL;
	struct authority ca = { 0 };
	bool changed = false;
	size_t count = 0;
	usec renew_at = INT64_MAX;
	int r = load_ca(store, &ca, err);

	if (r < 0)
		return r;
	r = store_certificate_list(store, &list, &count, err);
	if (r == 0) {
		struct map *wanted = list_needs(needs);
		r = update(store, &ca, wanted, list, count, &changed, err);
		free_needs(wanted);
	}
	if (r < 0 || changed) {
		drop_list(list, count);
		list = NULL;
	}
	if (r == 0 && changed)
		r = store_certificate_list(store, &list, &count, err);
	for (size_t i = 0; r == 0 && i < count; i++)
		if (due_at(&list[i], &ca) < renew_at)
			renew_at = due_at(&list[i], &ca);
	authority_pair_done(&ca.pair);
	if (r < 0)
		return r;
	*ret = list;
	*ret_count = count;
	*ret_renew_at = renew_at;
	return 0;
}

int certificates_box_all(struct store *store, struct err *err)
{
	struct store_certificate *list = NULL;
	size_t count = 0;
	int boxed = 0;
	int r = key_box_is_running() ? store_certificate_list(store, &list, &count, err) : 0;

	for (size_t i = 0; r >= 0 && i < count; i++) {
		r = box_one(store, list[i].name, err);
		boxed += r > 0;
	}
	drop_list(list, count);
	return r < 0 ? r : boxed;
}
