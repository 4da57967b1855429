#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "edge/access/countries.h"

/* libmaxminddb 1.7 loses four kibibytes when what a file says of itself is damaged in some ways (the pool of
 * MMDB_get_entry_data_list()): once for each time somebody puts such a file there. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libmaxminddb\n";
}

#define FOLDER "tests/data/countries/"

static const char *country(const struct countries *c, const char *ip)
{
	static char code[COUNTRY_TEXT_SIZE];

	memset(code, '?', sizeof(code));
	countries_find_ip(c, bytes_str(ip), code);
	return code;
}

static struct countries *opened(const char *path)
{
	struct err err = { 0 };
	struct countries *c = countries_open(path, &err);

	if (!c)
		fail_msg("%s", err.text);
	return c;
}

static void test_addresses_have_countries(void **state)
{
	static const char *const files[] = { FOLDER "country.mmdb", FOLDER "narrow.mmdb",
					     FOLDER "wide.mmdb", FOLDER "v4.mmdb" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		struct countries *c = opened(files[i]);
		bool has_v6 = strstr(files[i], "v4") == NULL;

		assert_string_equal(country(c, "127.0.0.1"), "PT");
		assert_string_equal(country(c, "127.255.255.255"), "PT");
		assert_string_equal(country(c, "128.0.0.0"), "");
		assert_string_equal(country(c, "192.0.2.77"), "DE");
		assert_string_equal(country(c, "192.0.3.0"), "");
		assert_string_equal(country(c, "203.0.113.127"), "ES"); /* in upper case */
		assert_string_equal(country(c, "203.0.113.128"), "");
		assert_string_equal(country(c, "2001:db8::1"), has_v6 ? "JP" : "");
		assert_string_equal(country(c, "2001:db9::1"), "");
		assert_string_equal(countries_type(c), "Test-Country");
		assert_int_equal(countries_built_at(c), 1700000000 * USEC_PER_SEC);
		countries_unref(c);
	}
}

static void test_an_ipv4_address_is_one_in_ipv6_spelling_too(void **state)
{
	struct countries *c = opened(FOLDER "country.mmdb"), *v4 = opened(FOLDER "v4.mmdb");

	(void)state;
	assert_string_equal(country(c, "::ffff:192.0.2.77"), "DE");
	assert_string_equal(country(c, "::ffff:c000:24d"), "DE");
	assert_string_equal(country(v4, "::ffff:192.0.2.77"), "DE");
	countries_unref(c);
	countries_unref(v4);
}

static void test_what_is_no_country_is_unknown(void **state)
{
	struct countries *c = opened(FOLDER "country.mmdb");

	(void)state;
	assert_string_equal(country(c, "198.51.100.1"),
			    ""); /* where a network is registered is elsewhere */
	assert_string_equal(country(c, "198.51.101.1"), "");
	assert_string_equal(country(c, "198.51.102.1"), "");
	assert_string_equal(country(c, "198.51.103.1"), "");
	assert_string_equal(country(c, ""), "");
	assert_string_equal(country(c, "nowhere"), "");
	assert_string_equal(country(c, "192.0.2"), "");
	countries_unref(c);
	assert_string_equal(country(NULL, "127.0.0.1"), "");
}

static void test_other_makers_databases_are_read(void **state)
{
	static const char *const files[] = { FOLDER "code.mmdb", FOLDER "flat.mmdb" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		struct countries *c = opened(files[i]);

		assert_string_equal(country(c, "192.0.2.1"), "DE");
		countries_unref(c);
	}
}

static void test_the_last_reference_frees(void **state)
{
	struct countries *c = opened(FOLDER "country.mmdb");

	(void)state;
	assert_ptr_equal(countries_ref(c), c);
	assert_null(countries_unref(c));
	assert_string_equal(country(c, "127.0.0.1"), "PT");
	assert_null(countries_unref(c));
	assert_null(countries_ref(NULL));
	assert_null(countries_unref(NULL));
}

/* --- Files that are none --------------------------------------------------------------------------- */

static void refused(const char *path, int code, const char *says)
{
	struct err err = { 0 };

	assert_null(countries_open(path, &err));
	assert_int_equal(err.code, code);
	assert_non_null(strstr(err.text, path));
	assert_non_null(strstr(err.text, says));
	assert_null(countries_open(path, NULL));
}

static void test_what_is_no_database_is_refused_with_its_name(void **state)
{
	char pipe[] = "/tmp/adit-countries-XXXXXX";

	(void)state;
	refused(FOLDER "missing.mmdb", E_NOT_FOUND, "No such file");
	refused(FOLDER, E_INVALID, "is no file");
	refused(FOLDER "make.py", E_PARSE, "no database");
	refused("/dev/null", E_INVALID, "is no file");
	refused(FOLDER "owners.mmdb", E_PARSE, "has no countries (it is of the type \"Test-ASN\")");
	refused(FOLDER "empty.mmdb", E_PARSE, "has no countries");
	assert_non_null(mkdtemp(pipe));
	char *path = mem_printf("%s/pipe", pipe);
	assert_int_equal(mkfifo(path, 0600), 0);
	refused(path, E_INVALID, "is no file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(pipe), 0);
	mem_free(path);
}

/* --- Damaged ones ------------------------------------------------------------------------------------ */

struct damaged {
	char path[40];
	uint8_t whole[4096];
	size_t len;
};

static void damaged_init(struct damaged *d, const char *from)
{
	FILE *file = fopen(from, "rb");

	assert_non_null(file);
	d->len = fread(d->whole, 1, sizeof(d->whole), file);
	assert_true(d->len > 100 && d->len < sizeof(d->whole));
	fclose(file);
	snprintf(d->path, sizeof(d->path), "/tmp/adit-countries-XXXXXX");
	int fd = mkstemp(d->path);
	assert_true(fd >= 0);
	close(fd);
}

static void damaged_write(const struct damaged *d, const uint8_t *bytes, size_t len)
{
	FILE *file = fopen(d->path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

/* Whatever it holds: an error, or answers that are countries or none. */
static void look_around(const struct damaged *d)
{
	static const char *const addresses[] = { "127.0.0.1",    "192.0.2.77",     "203.0.113.1",
						 "198.51.100.1", "198.51.103.1",   "2001:db8::1",
						 "::",           "255.255.255.255" };
	struct err err = { 0 };
	struct countries *c = countries_open(d->path, &err);

	if (!c) {
		assert_non_null(strstr(err.text, d->path));
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		const char *code = country(c, addresses[i]);
		assert_true(strlen(code) == 0 || strlen(code) == 2);
	}
	(void)countries_type(c);
	(void)countries_built_at(c);
	countries_unref(c);
}

static void test_a_file_that_is_cut_anywhere_does_no_harm(void **state)
{
	struct damaged d;

	(void)state;
	damaged_init(&d, FOLDER "country.mmdb");
	for (size_t len = 0; len < d.len; len++) {
		damaged_write(&d, d.whole, len);
		look_around(&d);
	}
	assert_int_equal(unlink(d.path), 0);
}

static void test_a_byte_that_is_wrong_anywhere_does_no_harm(void **state)
{
	static const char *const files[] = { FOLDER "country.mmdb", FOLDER "v4.mmdb" };
	static const uint8_t masks[] = { 0xff, 0x01, 0x80, 0x20, 0x40 };
	struct damaged d;

	(void)state;
	for (size_t f = 0; f < ARRAY_LEN(files); f++) {
		damaged_init(&d, files[f]);
		for (size_t at = 0; at < d.len; at++) {
			for (size_t m = 0; m < ARRAY_LEN(masks); m++) {
				d.whole[at] ^= masks[m];
				damaged_write(&d, d.whole, d.len);
				d.whole[at] ^= masks[m];
				look_around(&d);
			}
		}
		assert_int_equal(unlink(d.path), 0);
	}
}

static void test_a_file_that_is_cut_later_disturbs_nobody(void **state)
{
	struct damaged d;
	struct countries *c;

	(void)state;
	damaged_init(&d, FOLDER "country.mmdb");
	damaged_write(&d, d.whole, d.len);
	c = opened(d.path);
	assert_int_equal(truncate(d.path, 0), 0);
	assert_string_equal(country(c, "192.0.2.77"), "DE");
	assert_int_equal(unlink(d.path), 0);
	assert_string_equal(country(c, "2001:db8::77"), "JP");
	countries_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_have_countries),
		cmocka_unit_test(test_an_ipv4_address_is_one_in_ipv6_spelling_too),
		cmocka_unit_test(test_what_is_no_country_is_unknown),
		cmocka_unit_test(test_other_makers_databases_are_read),
		cmocka_unit_test(test_the_last_reference_frees),
		cmocka_unit_test(test_what_is_no_database_is_refused_with_its_name),
		cmocka_unit_test(test_a_file_that_is_cut_anywhere_does_no_harm),
		cmocka_unit_test(test_a_byte_that_is_wrong_anywhere_does_no_harm),
		cmocka_unit_test(test_a_file_that_is_cut_later_disturbs_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
