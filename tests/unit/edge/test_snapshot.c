/* Snapshots of a real store: what they find, what they keep, which certificates they bring. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/mem.h"
#include "edge/certificates.h"
#include "edge/snapshot.h"
#include "store/files.h"
#include "store/store.h"
#include "tls/authority.h"
#include "tls/tls.h"

#define USEC_PER_DAY (24 * 3600 * USEC_PER_SEC)
#define KEY BYTES_LIT("0123456789abcdef0123456789abcdef")

struct fixture {
	char *dir;
	struct store *store;
	char account[33];
	struct uuid zone, web, db; /* example.com, two tunnels */
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static struct uuid add_zone(struct fixture *f, const char *name)
{
	struct store_zone zone = { 0 };

	assert_int_equal(store_zone_add(f->store, f->account, name, &zone, NULL), 0);
	struct uuid id = zone.id;
	store_zone_done(&zone);
	return id;
}

static struct uuid add_tunnel(struct fixture *f, const char *name)
{
	struct store_tunnel t = { 0 };

	assert_int_equal(store_tunnel_create(f->store, f->account, name, KEY, &t, NULL), 0);
	struct uuid id = t.id;
	store_tunnel_done(&t);
	return id;
}

static void add_route(struct fixture *f, const char *hostname, const struct uuid *tunnel)
{
	enum store_route_change change;

	assert_int_equal(store_route_put(f->store, &f->zone, hostname, tunnel, true, &change, NULL),
			 0);
}

static int set_up(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct err err = { 0 };

	f->dir = mem_strdup("/tmp/adit-test-snapshot-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->store = store_open(f->dir, true, &err);
	assert_non_null(f->store);
	assert_int_equal(store_account_first(f->store, f->account, NULL), 0);
	assert_int_equal(certificates_init_ca(f->store, f->dir, &err), 0);
	assert_int_equal(
		store_setting_put(f->store, "control.host", "adit.example.com", false, NULL), 0);
	f->zone = add_zone(f, "example.com");
	f->web = add_tunnel(f, "web");
	f->db = add_tunnel(f, "db");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	mem_free(f->dir);
	mem_free(f);
	return 0;
}

static struct snapshot *build(struct fixture *f, const struct snapshot *previous)
{
	struct err err = { 0 };
	struct snapshot *s =
		snapshot_build(f->store, "https://adit.example.com", NULL, previous, &err);

	if (!s)
		print_error("%s\n", err.text);
	assert_non_null(s);
	return s;
}

static const char *route_of(const struct snapshot *s, const char *host)
{
	const struct snapshot_route *route = snapshot_route(s, bytes_str(host));

	return route ? route->hostname : "none";
}

static struct tls_certificate *cert_of(const struct snapshot *s, const char *name)
{
	return snapshot_certificate(s, bytes_str(name));
}

/* --- Routes and tunnels ------------------------------------------------------------------------- */

static void the_exact_route_wins_then_the_longest_wildcard(void **state)
{
	struct fixture *f = *state;

	add_route(f, "example.com", &f->web);
	add_route(f, "*.example.com", &f->web);
	add_route(f, "app.example.com", &f->db);
	add_route(f, "*.dev.example.com", &f->db);
	struct snapshot *s = build(f, NULL);
	assert_string_equal(route_of(s, "example.com"), "example.com");
	assert_string_equal(route_of(s, "app.example.com"), "app.example.com");
	assert_string_equal(route_of(s, "other.example.com"), "*.example.com");
	assert_string_equal(route_of(s, "x.app.example.com"), "*.example.com");
	assert_string_equal(route_of(s, "a.dev.example.com"), "*.dev.example.com");
	assert_string_equal(route_of(s, "a.b.dev.example.com"), "*.dev.example.com");
	assert_string_equal(route_of(s, "dev.example.com"), "*.example.com");
	assert_true(uuid_eq(&snapshot_route(s, BYTES_LIT("app.example.com"))->tunnel->id, &f->db));
	assert_true(uuid_eq(&snapshot_route(s, BYTES_LIT("q.example.com"))->tunnel->id, &f->web));
	snapshot_unref(s);
}

static struct snapshot_balance balance_at(const struct snapshot *s, const char *host)
{
	return snapshot_route(s, bytes_str(host))->balance;
}

static void a_route_shares_as_it_says_or_as_its_tunnel_does(void **state)
{
	const struct store_balance cookie = { .policy = "cookie" },
				   yes = { .eject_on_5xx = STORE_YES },
				   no = { .policy = "round-robin", .eject_on_5xx = STORE_NO },
				   newer = { .policy = "by-phase-of-moon" };
	struct fixture *f = *state;

	add_route(f, "a.example.com", &f->web);
	add_route(f, "b.example.com", &f->web);
	add_route(f, "c.example.com", &f->db);
	struct snapshot *s = build(f, NULL);
	assert_int_equal(balance_at(s, "a.example.com").policy, BALANCE_LEAST);
	assert_false(balance_at(s, "a.example.com").eject_on_5xx);
	snapshot_unref(s);
	assert_int_equal(store_tunnel_set_balance(f->store, f->account, &f->web, &cookie, NULL), 0);
	assert_int_equal(store_route_set_balance(f->store, "b.example.com", &yes, NULL), 0);
	s = build(f, NULL);
	assert_int_equal(balance_at(s, "a.example.com").policy, BALANCE_COOKIE);
	assert_int_equal(balance_at(s, "b.example.com").policy, BALANCE_COOKIE);
	assert_true(balance_at(s, "b.example.com").eject_on_5xx);
	assert_int_equal(balance_at(s, "c.example.com").policy, BALANCE_LEAST);
	snapshot_unref(s);
	assert_int_equal(store_tunnel_set_balance(f->store, f->account, &f->web, &yes, NULL), 0);
	assert_int_equal(store_route_set_balance(f->store, "a.example.com", &no, NULL), 0);
	assert_int_equal(store_route_set_balance(f->store, "b.example.com", &newer, NULL), 0);
	s = build(f, NULL);
	assert_int_equal(balance_at(s, "a.example.com").policy, BALANCE_ROUND_ROBIN);
	assert_false(balance_at(s, "a.example.com").eject_on_5xx);
	assert_int_equal(balance_at(s, "b.example.com").policy, BALANCE_LEAST);
	assert_true(balance_at(s, "b.example.com").eject_on_5xx);
	snapshot_unref(s);
}

static void a_wildcard_does_not_cover_its_own_domain_or_oddities(void **state)
{
	struct fixture *f = *state;
	char longest[70000];

	add_route(f, "*.dev.example.com", &f->web);
	struct snapshot *s = build(f, NULL);
	assert_string_equal(route_of(s, "dev.example.com"), "none");
	assert_string_equal(route_of(s, "example.com"), "none");
	assert_string_equal(route_of(s, "com"), "none");
	assert_string_equal(route_of(s, ""), "none");
	assert_string_equal(route_of(s, "."), "none");
	assert_string_equal(route_of(s, ".dev.example.com"), "none");
	assert_string_equal(route_of(s, "*.dev.example.com.evil"), "none");
	memset(longest, '.', sizeof(longest));
	assert_null(snapshot_route(s, bytes_of(longest, sizeof(longest))));
	assert_null(snapshot_certificate(s, bytes_of(longest, sizeof(longest))));
	snapshot_unref(s);
}

static void living_tunnels_are_found_with_their_secret(void **state)
{
	struct fixture *f = *state;
	struct uuid unknown = uuid_random();

	add_route(f, "app.example.com", &f->db);
	struct snapshot *before = build(f, NULL);
	const struct snapshot_tunnel *t = snapshot_tunnel(before, &f->db);
	assert_non_null(t);
	assert_string_equal(t->name, "db");
	assert_string_equal(t->account, f->account);
	assert_true(secret_eq(&t->secret, KEY));
	assert_null(snapshot_tunnel(before, &unknown));

	assert_int_equal(store_tunnel_delete(f->store, f->account, &f->db, NULL), 0);
	struct snapshot *after = build(f, before);
	assert_null(snapshot_tunnel(after, &f->db));
	assert_string_equal(route_of(after, "app.example.com"), "none");
	assert_true(snapshot_revision(after) > snapshot_revision(before));
	/* Whoever began with the older one keeps what it had. */
	assert_string_equal(route_of(before, "app.example.com"), "app.example.com");
	assert_true(secret_eq(&snapshot_tunnel(before, &f->db)->secret, KEY));
	snapshot_unref(before);
	snapshot_unref(after);
}

static void a_counted_snapshot_lives_as_long_as_its_users(void **state)
{
	struct fixture *f = *state;
	struct snapshot *s = build(f, NULL), *user = snapshot_ref(s);

	assert_null(snapshot_unref(s));
	assert_string_equal(snapshot_control_host(user), "adit.example.com");
	assert_null(snapshot_unref(user));
	assert_null(snapshot_unref(NULL));
}

/* --- Certificates ---------------------------------------------------------------------------------- */

static void every_name_of_the_edge_has_its_certificate(void **state)
{
	struct fixture *f = *state;

	add_zone(f, "home.lan");
	add_route(f, "app.example.com", &f->web);
	add_route(f, "a.dev.example.com", &f->web);
	add_route(f, "b.dev.example.com", &f->web);
	add_route(f, "*.stage.example.com", &f->web);
	struct snapshot *s = build(f, NULL);
	struct tls_certificate *zone = cert_of(s, "example.com"),
			       *dev = cert_of(s, "a.dev.example.com");

	assert_non_null(zone);
	assert_ptr_equal(cert_of(s, "app.example.com"), zone);
	assert_ptr_equal(cert_of(s, "not-routed.example.com"), zone);
	assert_non_null(dev);
	assert_ptr_not_equal(dev, zone);
	assert_ptr_equal(cert_of(s, "b.dev.example.com"), dev);
	assert_non_null(cert_of(s, "any.stage.example.com"));
	assert_ptr_not_equal(cert_of(s, "any.stage.example.com"), dev);
	assert_non_null(cert_of(s, "nas.home.lan"));
	/* The control host has its own, although the zone's covers it. */
	assert_non_null(cert_of(s, "adit.example.com"));
	assert_ptr_not_equal(cert_of(s, "adit.example.com"), zone);
	assert_ptr_equal(cert_of(s, ""), zone);
	assert_null(cert_of(s, "a.b.c.example.com"));
	assert_null(cert_of(s, "example.org"));
	assert_null(cert_of(s, "com"));
	assert_null(cert_of(s, ".example.com"));

	struct tls_certificate *tunnel = snapshot_tunnel_certificate(s);
	assert_non_null(tunnel);
	assert_ptr_equal(cert_of(s, "h2.cftunnel.com"), tunnel);
	assert_ptr_equal(cert_of(s, "quic.cftunnel.com"), tunnel);
	assert_ptr_equal(cert_of(s, "probe.cftunnel.com"), tunnel);
	assert_null(cert_of(s, "other.cftunnel.com"));
	snapshot_unref(s);
}

/* Does a stored certificate hold for `host`, signed by the CA in DIR/ca.pem? */
static bool is_trusted(struct fixture *f, const char *name, const char *host)
{
	struct store_certificate c = { 0 };
	char *path = mem_printf("%s/ca.pem", f->dir);
	gnutls_x509_trust_list_t trust = NULL;
	gnutls_x509_crt_t cert = NULL;
	unsigned status = 1;

	assert_int_equal(store_certificate_get(f->store, name, &c, NULL), 0);
	assert_int_equal(gnutls_x509_trust_list_init(&trust, 0), 0);
	assert_int_equal(
		gnutls_x509_trust_list_add_trust_file(trust, path, NULL, GNUTLS_X509_FMT_PEM, 0, 0),
		1);
	gnutls_datum_t pem = { (unsigned char *)c.cert_pem, (unsigned)strlen(c.cert_pem) };
	assert_int_equal(gnutls_x509_crt_init(&cert), 0);
	assert_int_equal(gnutls_x509_crt_import(cert, &pem, GNUTLS_X509_FMT_PEM), 0);
	gnutls_typed_vdata_st data[] = {
		{ GNUTLS_DT_DNS_HOSTNAME, (unsigned char *)host, 0 },
		{ GNUTLS_DT_KEY_PURPOSE_OID, (unsigned char *)GNUTLS_KP_TLS_WWW_SERVER, 0 },
	};
	int r = gnutls_x509_trust_list_verify_crt2(trust, &cert, 1, data, 2, 0, &status, NULL);
	gnutls_x509_crt_deinit(cert);
	gnutls_x509_trust_list_deinit(trust, 1);
	store_certificate_done(&c);
	mem_free(path);
	return r == 0 && status == 0;
}

static void clients_that_trust_the_ca_file_accept_them(void **state)
{
	struct fixture *f = *state;

	add_route(f, "a.dev.example.com", &f->web);
	snapshot_unref(build(f, NULL));
	assert_true(is_trusted(f, "domain example.com", "example.com"));
	assert_true(is_trusted(f, "domain example.com", "app.example.com"));
	assert_false(is_trusted(f, "domain example.com", "a.dev.example.com"));
	assert_true(is_trusted(f, "domain dev.example.com", "a.dev.example.com"));
	assert_true(is_trusted(f, "control", "adit.example.com"));
	assert_true(is_trusted(f, "tunnel", "h2.cftunnel.com"));
	assert_true(is_trusted(f, "tunnel", "quic.cftunnel.com"));
	assert_true(is_trusted(f, "tunnel", "probe.cftunnel.com"));
	assert_false(is_trusted(f, "tunnel", "example.com"));
}

static void building_again_issues_nothing_and_parses_nothing(void **state)
{
	struct fixture *f = *state;
	struct snapshot *one = build(f, NULL);
	int64_t rev = store_revision(f->store, NULL);

	struct snapshot *two = build(f, one);
	assert_int_equal(store_revision(f->store, NULL), rev);
	assert_ptr_equal(cert_of(one, "example.com"), cert_of(two, "example.com"));
	snapshot_unref(one);

	/* A new route below the zone changes no certificate; a deeper one adds one. */
	add_route(f, "app.example.com", &f->web);
	struct snapshot *three = build(f, two);
	assert_int_equal(store_revision(f->store, NULL), rev + 1);
	assert_ptr_equal(cert_of(two, "example.com"), cert_of(three, "example.com"));
	snapshot_unref(two);
	add_route(f, "a.dev.example.com", &f->web);
	struct snapshot *four = build(f, three);
	assert_ptr_equal(cert_of(three, "example.com"), cert_of(four, "example.com"));
	assert_non_null(cert_of(four, "a.dev.example.com"));
	snapshot_unref(three);
	snapshot_unref(four);
}

static void certificates_survive_a_restart(void **state)
{
	struct fixture *f = *state;
	struct store_certificate before = { 0 }, after = { 0 };

	snapshot_unref(build(f, NULL));
	assert_int_equal(store_certificate_get(f->store, "tunnel", &before, NULL), 0);
	store_close(f->store);
	f->store = store_open(f->dir, false, NULL);
	snapshot_unref(build(f, NULL));
	assert_int_equal(store_certificate_get(f->store, "tunnel", &after, NULL), 0);
	assert_int_equal(before.rev, after.rev);
	assert_string_equal(before.cert_pem, after.cert_pem);
	store_certificate_done(&before);
	store_certificate_done(&after);
}

/* Puts a certificate in place of the issued one. */
static void put_leaf(struct fixture *f, const char *name, const char *host, int days)
{
	struct authority_pair ca = { 0 }, leaf = { 0 };
	struct store_certificate c = { 0 };
	const char *const names[] = { host };

	assert_int_equal(store_certificate_get(f->store, name, &c, NULL), 0);
	ca.cert_pem = store_setting_get(f->store, "ca.cert", NULL);
	ca.key_pem = store_setting_get(f->store, "ca.key", NULL);
	assert_int_equal(authority_issue(&ca, names, 1, days, &leaf, NULL), 0);
	mem_free(c.cert_pem);
	c.cert_pem = mem_strdup(leaf.cert_pem);
	secret_set(&c.key_pem, bytes_str(leaf.key_pem));
	c.expires_at = authority_expiry(leaf.cert_pem);
	assert_int_equal(store_certificates_change(f->store, &c, 1, NULL, 0, NULL), 0);
	store_certificate_done(&c);
	authority_pair_done(&leaf);
	authority_pair_done(&ca);
}

static void what_ends_soon_is_renewed_and_the_rest_is_not(void **state)
{
	struct fixture *f = *state;
	struct store_certificate c = { 0 };
	struct snapshot *one = build(f, NULL);
	usec now = clock_wall_now();

	assert_in_range(snapshot_renew_at(one), now + 50 * USEC_PER_DAY, now + 70 * USEC_PER_DAY);
	put_leaf(f, "control", "adit.example.com", 20);
	struct snapshot *two = build(f, one);
	assert_ptr_not_equal(cert_of(one, "adit.example.com"), cert_of(two, "adit.example.com"));
	assert_ptr_equal(cert_of(one, "example.com"), cert_of(two, "example.com"));
	assert_int_equal(store_certificate_get(f->store, "control", &c, NULL), 0);
	assert_true(c.expires_at > now + 80 * USEC_PER_DAY);
	store_certificate_done(&c);

	/* 45 days are enough; the snapshot says when it is due. */
	put_leaf(f, "control", "adit.example.com", 45);
	int64_t rev = store_revision(f->store, NULL);
	struct snapshot *three = build(f, two);
	assert_int_equal(store_revision(f->store, NULL), rev);
	assert_ptr_not_equal(cert_of(two, "adit.example.com"), cert_of(three, "adit.example.com"));
	assert_in_range(snapshot_renew_at(three), now + 10 * USEC_PER_DAY, now + 20 * USEC_PER_DAY);
	snapshot_unref(one);
	snapshot_unref(two);
	snapshot_unref(three);
}

static void a_new_ca_replaces_every_certificate(void **state)
{
	struct fixture *f = *state;
	struct authority_pair ca = { 0 };
	struct snapshot *one = build(f, NULL);

	assert_int_equal(authority_create("another", &ca, NULL), 0);
	assert_int_equal(store_setting_put(f->store, "ca.key", ca.key_pem, true, NULL), 0);
	assert_int_equal(store_setting_put(f->store, "ca.cert", ca.cert_pem, false, NULL), 0);
	authority_pair_done(&ca);
	assert_int_equal(certificates_init_ca(f->store, f->dir, NULL), 0);
	struct snapshot *two = build(f, one);
	assert_ptr_not_equal(cert_of(one, "example.com"), cert_of(two, "example.com"));
	assert_ptr_not_equal(snapshot_tunnel_certificate(one), snapshot_tunnel_certificate(two));
	assert_true(is_trusted(f, "domain example.com", "app.example.com"));
	snapshot_unref(one);
	snapshot_unref(two);
}

static void a_new_control_host_gets_a_certificate_with_its_name(void **state)
{
	struct fixture *f = *state;
	struct snapshot *one = build(f, NULL);

	assert_int_equal(store_setting_put(f->store, "control.host", "192.0.2.7", false, NULL), 0);
	struct snapshot *two = build(f, one);
	assert_string_equal(snapshot_control_host(two), "192.0.2.7");
	assert_ptr_not_equal(cert_of(two, "192.0.2.7"), NULL);
	assert_ptr_equal(cert_of(two, "adit.example.com"), cert_of(two, "example.com"));
	snapshot_unref(one);
	snapshot_unref(two);
}

static void what_nobody_needs_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct store_certificate c = { 0 };

	add_route(f, "a.dev.example.com", &f->web);
	struct snapshot *one = build(f, NULL);
	assert_int_equal(store_tunnel_delete(f->store, f->account, &f->web, NULL), 0);
	assert_int_equal(store_zone_remove(f->store, "example.com", NULL), 0);
	struct snapshot *two = build(f, one);
	assert_null(cert_of(two, "example.com"));
	assert_null(cert_of(two, "a.dev.example.com"));
	assert_int_equal(store_certificate_get(f->store, "domain example.com", &c, NULL),
			 E_NOT_FOUND);
	/* Without a zone, clients without a name get the control host's. */
	assert_non_null(cert_of(two, ""));
	assert_ptr_equal(cert_of(two, ""), cert_of(two, "adit.example.com"));
	snapshot_unref(one);
	snapshot_unref(two);
}

static void no_certificate_is_issued_above_a_zone(void **state)
{
	struct fixture *f = *state;

	/* The store leaves it to its caller that a hostname is in its zone. */
	add_route(f, "app.example.org", &f->web);
	add_route(f, "a.notexample.com", &f->web);
	add_route(f, "a.b.notexample.com", &f->web);
	struct snapshot *s = build(f, NULL);
	assert_null(cert_of(s, "app.example.org"));
	assert_null(cert_of(s, "a.notexample.com"));
	assert_null(cert_of(s, "a.b.notexample.com"));
	assert_null(cert_of(s, "else.com"));
	snapshot_unref(s);
}

/* --- The CA -------------------------------------------------------------------------------------------- */

static void the_ca_is_made_once_and_its_file_restored(void **state)
{
	struct fixture *f = *state;
	char *path = mem_printf("%s/ca.pem", f->dir), one[8192], two[8192];
	size_t one_len = 0, two_len = 0;
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(file_load(path, one, sizeof(one), &one_len, NULL), 0);
	int64_t rev = store_revision(f->store, NULL);
	assert_int_equal(certificates_init_ca(f->store, f->dir, NULL), 0);
	assert_int_equal(store_revision(f->store, NULL), rev);
	assert_int_equal(remove(path), 0);
	assert_int_equal(certificates_init_ca(f->store, f->dir, NULL), 0);
	assert_int_equal(file_load(path, two, sizeof(two), &two_len, NULL), 0);
	assert_int_equal(one_len, two_len);
	assert_memory_equal(one, two, one_len);
	mem_free(path);
}

static void without_a_ca_there_is_no_snapshot(void **state)
{
	struct fixture *f = *state;
	char *dir = mem_printf("%s/bare", f->dir);
	struct err err = { 0 };
	struct store *bare = store_open(dir, true, &err);

	assert_non_null(bare);
	assert_null(snapshot_build(bare, "https://adit.example.com", NULL, NULL, &err));
	assert_int_equal(err.code, E_NOT_FOUND);
	assert_null(snapshot_build(bare, "https://adit.example.com", NULL, NULL, NULL));
	store_close(bare);
	mem_free(dir);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* --- Certificates of others ------------------------------------------------------------------ */

static void put_certificate(struct fixture *f, const char *name, const char *hostnames, int days)
{
	const char *names[] = { hostnames };
	struct authority_pair ca = { 0 }, leaf = { 0 };

	assert_int_equal(authority_create("another CA", &ca, NULL), 0);
	assert_int_equal(authority_issue(&ca, names, 1, days, &leaf, NULL), 0);
	struct store_certificate c = {
		.name = (char *)(uintptr_t)name,
		.hostnames = (char *)(uintptr_t)hostnames,
		.issuer = (char *)(uintptr_t) "another CA",
		.expires_at = clock_wall_now() + days * USEC_PER_DAY - USEC_PER_DAY,
		.cert_pem = leaf.cert_pem,
	};
	secret_set(&c.key_pem, bytes_str(leaf.key_pem));
	assert_int_equal(store_certificates_change(f->store, &c, 1, NULL, 0, NULL), 0);
	secret_done(&c.key_pem);
	authority_pair_done(&ca);
	authority_pair_done(&leaf);
}

static void certificates_of_people_win_over_those_of_authorities_and_these_over_ours(void **state)
{
	struct fixture *f = *state;
	struct snapshot *s = build(f, NULL);

	assert_false(snapshot_is_certified(s, BYTES_LIT("a.example.com")));
	struct tls_certificate *ours = snapshot_certificate(s, BYTES_LIT("a.example.com"));
	put_certificate(f, "acme host a.example.com", "a.example.com", 30);
	struct snapshot *t = build(f, s);
	struct tls_certificate *acme = snapshot_certificate(t, BYTES_LIT("a.example.com"));
	assert_true(snapshot_is_certified(t, BYTES_LIT("a.example.com")));
	assert_ptr_not_equal(acme, ours);
	/* A wildcard that somebody brought wins over an exact name that was ordered. */
	put_certificate(f, "import *.example.com", "*.example.com", 30);
	struct snapshot *u = build(f, t);
	assert_ptr_not_equal(snapshot_certificate(u, BYTES_LIT("a.example.com")), acme);
	assert_ptr_equal(snapshot_certificate(u, BYTES_LIT("a.example.com")),
			 snapshot_certificate(u, BYTES_LIT("b.example.com")));
	/* The zone itself is not below its wildcard. */
	assert_ptr_equal(snapshot_certificate(u, BYTES_LIT("example.com")), ours);
	snapshot_unref(s);
	snapshot_unref(t);
	snapshot_unref(u);
}

static void one_that_has_ended_is_not_shown(void **state)
{
	struct fixture *f = *state;

	put_certificate(f, "import a.example.com", "a.example.com", 1);
	struct snapshot *s = build(f, NULL);
	assert_false(snapshot_is_certified(s, BYTES_LIT("a.example.com")));
	assert_non_null(snapshot_certificate(s, BYTES_LIT("a.example.com")));
	snapshot_unref(s);
}

static void the_next_snapshot_is_due_when_one_ends(void **state)
{
	struct fixture *f = *state;

	put_certificate(f, "import a.example.com", "a.example.com", 11);
	struct snapshot *s = build(f, NULL);
	assert_true(snapshot_renew_at(s) < clock_wall_now() + 11 * USEC_PER_DAY);
	snapshot_unref(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_exact_route_wins_then_the_longest_wildcard),
		TEST(a_route_shares_as_it_says_or_as_its_tunnel_does),
		TEST(a_wildcard_does_not_cover_its_own_domain_or_oddities),
		TEST(living_tunnels_are_found_with_their_secret),
		TEST(a_counted_snapshot_lives_as_long_as_its_users),
		TEST(every_name_of_the_edge_has_its_certificate),
		TEST(clients_that_trust_the_ca_file_accept_them),
		TEST(building_again_issues_nothing_and_parses_nothing),
		TEST(certificates_survive_a_restart),
		TEST(what_ends_soon_is_renewed_and_the_rest_is_not),
		TEST(a_new_ca_replaces_every_certificate),
		TEST(a_new_control_host_gets_a_certificate_with_its_name),
		TEST(what_nobody_needs_is_dropped),
		TEST(no_certificate_is_issued_above_a_zone),
		TEST(the_ca_is_made_once_and_its_file_restored),
		TEST(without_a_ca_there_is_no_snapshot),
		TEST(certificates_of_people_win_over_those_of_authorities_and_these_over_ours),
		TEST(one_that_has_ended_is_not_shown),
		TEST(the_next_snapshot_is_due_when_one_ends),
	};

	tls_global_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
