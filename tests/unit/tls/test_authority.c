/* The built-in CA, looked at with GnuTLS's own certificate functions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tls/authority.h"
#include "tls/tls.h"

#define DAY_USEC ((usec)86400 * USEC_PER_SEC)

static struct authority_pair ca;

static int make_ca(void **state)
{
	(void)state;
	return authority_create("Test CA", &ca, NULL);
}

static int drop_ca(void **state)
{
	(void)state;
	authority_pair_done(&ca);
	return 0;
}

static gnutls_x509_crt_t import(const char *pem)
{
	gnutls_datum_t datum = { (void *)(uintptr_t)pem, (unsigned)strlen(pem) };
	gnutls_x509_crt_t cert;

	assert_int_equal(gnutls_x509_crt_init(&cert), 0);
	assert_int_equal(gnutls_x509_crt_import(cert, &datum, GNUTLS_X509_FMT_PEM), 0);
	return cert;
}

static struct authority_pair issue(const char *const *names, size_t count, int days)
{
	struct authority_pair pair = { 0 };
	struct err err = { 0 };

	if (authority_issue(&ca, names, count, days, &pair, &err) < 0)
		fail_msg("%s", err.text);
	return pair;
}

static unsigned key_usage(gnutls_x509_crt_t cert)
{
	unsigned usage = 0;

	assert_int_equal(gnutls_x509_crt_get_key_usage(cert, &usage, NULL), 0);
	return usage;
}

static void ca_signs_certificates_and_nothing_else(void **state)
{
	gnutls_x509_crt_t cert = import(ca.cert_pem);
	unsigned is_ca = 0, critical = 0;
	int path_length = -2;

	(void)state;
	assert_true(gnutls_x509_crt_check_issuer(cert, cert));
	assert_true(gnutls_x509_crt_get_basic_constraints(cert, &critical, &is_ca, &path_length) >=
		    0);
	assert_int_equal(is_ca, 1);
	assert_int_equal(critical, 1);
	assert_int_equal(path_length, 0);
	assert_int_equal(key_usage(cert), GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
	gnutls_x509_crt_deinit(cert);
}

static void ca_lasts_ten_years_from_yesterday(void **state)
{
	usec left = authority_expiry(ca.cert_pem) - clock_wall_now();

	(void)state;
	assert_true(left > 3648 * DAY_USEC && left < 3650 * DAY_USEC);
}

static void leaf_verifies_for_its_names_only(void **state)
{
	static const char *const names[] = { "App.Example.com", "*.example.com", "127.0.0.1",
					     "::1" };
	struct authority_pair leaf = issue(names, 4, 90);
	gnutls_x509_crt_t cert = import(leaf.cert_pem), issuer = import(ca.cert_pem);
	unsigned status = ~0U;

	(void)state;
	assert_int_equal(gnutls_x509_crt_verify(cert, &issuer, 1, 0, &status), 0);
	assert_int_equal(status, 0);
	assert_true(gnutls_x509_crt_check_hostname(cert, "app.example.com"));
	assert_true(gnutls_x509_crt_check_hostname(cert, "other.example.com"));
	assert_true(gnutls_x509_crt_check_hostname(cert, "127.0.0.1"));
	assert_true(gnutls_x509_crt_check_hostname(cert, "::1"));
	assert_false(gnutls_x509_crt_check_hostname(cert, "a.b.example.com"));
	assert_false(gnutls_x509_crt_check_hostname(cert, "example.com"));
	assert_false(gnutls_x509_crt_check_hostname(cert, "127.0.0.2"));
	gnutls_x509_crt_deinit(cert);
	gnutls_x509_crt_deinit(issuer);
	authority_pair_done(&leaf);
}

static void leaf_is_for_servers_and_points_at_its_issuer(void **state)
{
	static const char *const names[] = { "a.test" };
	struct authority_pair leaf = issue(names, 1, 90);
	gnutls_x509_crt_t cert = import(leaf.cert_pem), issuer = import(ca.cert_pem);
	char oid[64], key_id[64], authority_id[64];
	size_t oid_size = sizeof(oid), key_id_size = sizeof(key_id);
	size_t authority_id_size = sizeof(authority_id);

	(void)state;
	assert_int_equal(key_usage(cert), GNUTLS_KEY_DIGITAL_SIGNATURE);
	assert_int_equal(gnutls_x509_crt_get_key_purpose_oid(cert, 0, oid, &oid_size, NULL), 0);
	assert_string_equal(oid, GNUTLS_KP_TLS_WWW_SERVER);
	assert_int_equal(gnutls_x509_crt_get_ca_status(cert, NULL), 0);
	assert_int_equal(gnutls_x509_crt_get_subject_key_id(issuer, key_id, &key_id_size, NULL), 0);
	assert_int_equal(
		gnutls_x509_crt_get_authority_key_id(cert, authority_id, &authority_id_size, NULL),
		0);
	assert_int_equal(key_id_size, authority_id_size);
	assert_memory_equal(key_id, authority_id, key_id_size);
	gnutls_x509_crt_deinit(cert);
	gnutls_x509_crt_deinit(issuer);
	authority_pair_done(&leaf);
}

static void serial_numbers_are_random_and_positive(void **state)
{
	static const char *const names[] = { "a.test" };
	unsigned char serials[2][20];
	size_t sizes[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct authority_pair leaf = issue(names, 1, 1);
		gnutls_x509_crt_t cert = import(leaf.cert_pem);
		sizes[i] = sizeof(serials[i]);
		assert_int_equal(gnutls_x509_crt_get_serial(cert, serials[i], &sizes[i]), 0);
		assert_int_equal(sizes[i], 16);
		assert_false(serials[i][0] & 0x80);
		gnutls_x509_crt_deinit(cert);
		authority_pair_done(&leaf);
	}
	assert_memory_not_equal(serials[0], serials[1], 16);
}

static void leaf_never_outlives_its_ca(void **state)
{
	static const char *const names[] = { "a.test" };
	struct authority_pair leaf = issue(names, 1, 3650);

	(void)state;
	assert_true(authority_expiry(leaf.cert_pem) <= authority_expiry(ca.cert_pem));
	authority_pair_done(&leaf);
}

static void refuses_what_is_no_name(void **state)
{
	static const char *const bad[] = {
		"",     "a b",   "a..b",          ".a",          "a.",
		"*",    "a.*.b", "*a.test",       "a/b",         "-*.x",
		"\x01", "a\nb",  "\xc3\xa4.test", "300.1.1.1/8",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct authority_pair pair = { 0 };
		struct err err = { 0 };
		assert_int_equal(authority_issue(&ca, &bad[i], 1, 30, &pair, &err), E_INVALID);
		assert_null(pair.cert_pem);
	}
}

static void refuses_a_name_that_is_too_long(void **state)
{
	char name[300];
	const char *names[] = { name };
	struct authority_pair pair = { 0 };

	(void)state;
	memset(name, 'a', sizeof(name) - 1);
	for (size_t i = 50; i < sizeof(name) - 1; i += 50)
		name[i] = '.';
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(authority_issue(&ca, names, 1, 30, &pair, NULL), E_INVALID);
	name[200] = '\0';
	name[199] = 'a';
	assert_int_equal(authority_issue(&ca, names, 1, 30, &pair, NULL), 0);
	authority_pair_done(&pair);
}

static void refuses_no_names_and_no_days(void **state)
{
	static const char *const names[] = { "a.test" };
	struct authority_pair pair = { 0 };

	(void)state;
	assert_int_equal(authority_issue(&ca, names, 0, 30, &pair, NULL), E_INVALID);
	assert_int_equal(authority_issue(&ca, names, 1, 0, &pair, NULL), E_INVALID);
	assert_int_equal(authority_create("", &pair, NULL), E_INVALID);
}

static void says_when_the_ca_is_broken(void **state)
{
	static const char *const names[] = { "a.test" };
	struct authority_pair broken = { (char *)(uintptr_t) "junk", (char *)(uintptr_t) "junk" };
	struct authority_pair pair = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_true(authority_issue(&broken, names, 1, 30, &pair, &err) < 0);
	assert_non_null(strstr(err.text, "reading the CA"));
}

static void fingerprint_is_sha256_of_the_certificate(void **state)
{
	char text[96], other[96];
	gnutls_datum_t der = { 0 };
	unsigned char digest[32];
	gnutls_x509_crt_t cert = import(ca.cert_pem);

	(void)state;
	authority_fingerprint(ca.cert_pem, text);
	assert_int_equal(strlen(text), 95);
	assert_int_equal(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_DER, &der), 0);
	assert_int_equal(gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, digest), 0);
	for (size_t i = 0; i < 32; i++)
		snprintf(other + 3 * i, 4, "%02X%s", digest[i], i < 31 ? ":" : "");
	assert_string_equal(text, other);
	authority_fingerprint("junk", text);
	assert_string_equal(text, "");
	assert_int_equal(authority_expiry("junk"), -1);
	gnutls_free(der.data);
	gnutls_x509_crt_deinit(cert);
}

static void pair_works_as_a_server_certificate(void **state)
{
	static const char *const names[] = { "a.test" };
	struct authority_pair leaf = issue(names, 1, 30);
	struct err err = { 0 };

	(void)state;
	struct tls_certificate *c =
		tls_certificate_load(bytes_str(leaf.cert_pem), bytes_str(leaf.key_pem), &err);
	assert_non_null(c);
	tls_certificate_unref(c);
	/* The key of another certificate is found out at once. */
	assert_null(tls_certificate_load(bytes_str(leaf.cert_pem), bytes_str(ca.key_pem), &err));
	assert_non_null(strstr(err.text, "does not belong"));
	authority_pair_done(&leaf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ca_signs_certificates_and_nothing_else),
		cmocka_unit_test(ca_lasts_ten_years_from_yesterday),
		cmocka_unit_test(leaf_verifies_for_its_names_only),
		cmocka_unit_test(leaf_is_for_servers_and_points_at_its_issuer),
		cmocka_unit_test(serial_numbers_are_random_and_positive),
		cmocka_unit_test(leaf_never_outlives_its_ca),
		cmocka_unit_test(refuses_what_is_no_name),
		cmocka_unit_test(refuses_a_name_that_is_too_long),
		cmocka_unit_test(refuses_no_names_and_no_days),
		cmocka_unit_test(says_when_the_ca_is_broken),
		cmocka_unit_test(fingerprint_is_sha256_of_the_certificate),
		cmocka_unit_test(pair_works_as_a_server_certificate),
	};

	return cmocka_run_group_tests_name("authority", tests, make_ca, drop_ca);
}
