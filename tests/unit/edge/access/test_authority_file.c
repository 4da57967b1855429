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

#include "base/mem.h"
#include "edge/access/authority_file.h"
#include "tls/authority.h"

static char folder[] = "/tmp/adit-authority-XXXXXX";

static const char *file(const char *name, const char *text)
{
	static char path[64];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	return path;
}

/* Of the object with `path` in place of the @. NULL: it is good. */
static const char *judged(const char *object, const char *path)
{
	static struct err err;
	json_error_t where;
	size_t at = strcspn(object, "@");
	char *text = mem_printf("%.*s%s%s", (int)at, object, path, object + at + 1);
	json_t *sent = json_loads(text, 0, &where);

	assert_non_null(sent);
	err = (struct err){ 0 };
	int r = authority_files_check(sent, &err);
	assert_int_equal(r, r ? E_INVALID : 0);
	json_decref(sent);
	mem_free(text);
	return r ? err.text : NULL;
}

static const char *const places[][2] = {
	{ "{\"config\":{\"ca_file\":\"@\"}}", "config.ca_file: " },
	{ "{\"config\":{\"smtp_ca_file\":\"@\"}}", "config.smtp_ca_file: " },
	{ "{\"include\":[{\"external_evaluation\":{\"ca_file\":\"@\"}}]}",
	  "include[0]: external_evaluation.ca_file: " },
	{ "{\"exclude\":[{\"everyone\":{}},{\"external_evaluation\":{\"ca_file\":\"@\"}}]}",
	  "exclude[1]: external_evaluation.ca_file: " },
};

static void a_certificate_is_good_wherever_it_is_named(void **state)
{
	struct authority_pair ca;

	(void)state;
	assert_int_equal(authority_create("test", &ca, NULL), 0);
	const char *path = file("ca.pem", ca.cert_pem);
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		assert_null(judged(places[i][0], path));
	authority_pair_done(&ca);
	assert_null(judged("{\"name\":\"@\"}", "/nowhere"));
	assert_null(judged("{\"config\":{\"ca_file\":\"@\"}}", ""));
	assert_null(judged("{\"config\":7,\"include\":{\"x\":\"@\"}}", "x"));
}

static void what_cannot_be_used_is_refused_with_its_key(void **state)
{
	char missing[64], pipe[64];

	(void)state;
	(void)snprintf(missing, sizeof(missing), "%s/missing", folder);
	(void)snprintf(pipe, sizeof(pipe), "%s/pipe", folder);
	assert_int_equal(mkfifo(pipe, 0600), 0);
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		const struct {
			const char *path, *why;
		} bad[] = {
			{ missing, "No such file" },
			{ folder, "is no file" },
			{ pipe, "is no file" },
			{ "/dev/null", "is no file" },
			{ file("empty", "no certificate\n"), "has no certificate" },
		};
		for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
			const char *why = judged(places[i][0], bad[k].path);
			assert_non_null(why);
			assert_memory_equal(why, places[i][1], strlen(places[i][1]));
			assert_non_null(strstr(why, bad[k].why));
		}
	}
	assert_non_null(strstr(judged(places[0][0], file("cut", "-----BEGIN CERTIFICATE-----\n")),
			       "config.ca_file"));
}

static void a_file_that_is_too_large_is_not_read_whole(void **state)
{
	char *text = mem_alloc(5 * 1024 * 1024 + 1);

	(void)state;
	memset(text, 'a', 5 * 1024 * 1024);
	assert_non_null(strstr(judged(places[0][0], file("large", text)), "is larger than"));
	mem_free(text);
}

static int begin(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int end(void **state)
{
	static const char *const names[] = { "ca.pem", "pipe", "empty", "cut", "large" };
	char path[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		(void)unlink(path);
	}
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_certificate_is_good_wherever_it_is_named),
		cmocka_unit_test(what_cannot_be_used_is_refused_with_its_key),
		cmocka_unit_test(a_file_that_is_too_large_is_not_read_whole),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
