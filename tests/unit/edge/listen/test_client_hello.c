/* The name in a ClientHello, however it is cut into records and pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "edge/listen/client_hello.h"

static uint8_t data[CLIENT_HELLO_MAX];

static struct bytes load(const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "tests/fuzz/corpus/client_hello/%s", name);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	size_t len = fread(data, 1, sizeof(data), file);
	fclose(file);
	return bytes_of(data, len);
}

static void assert_name(struct bytes in, const char *name)
{
	struct client_hello hello;
	size_t missing;

	for (size_t i = 0; i < in.len; i++) {
		assert_int_equal(client_hello_parse(bytes_first(in, i), &hello, &missing), E_AGAIN);
		assert_true(missing > 0 && missing <= in.len - i);
		assert_string_equal(hello.name, "");
	}
	assert_int_equal(client_hello_parse(in, &hello, &missing), 0);
	assert_string_equal(hello.name, name);
}

static void reads_the_name(void **state)
{
	assert_name(load("openssl"), "app.example.com");
	assert_name(load("fragments"), "app.example.com");
}

static void a_client_may_ask_for_none(void **state)
{
	assert_name(load("openssl_no_name"), "");
}

static void everything_else_is_for_a_tls_library(void **state)
{
	static const struct bytes bad[] = {
		BYTES_LIT("GET / HTTP/1.1\r\n"),
		BYTES_LIT("\x16\x02\x01\0\x05"),
		BYTES_LIT("\x15\x03\x01\0\x02\x01\0"),
		BYTES_LIT("\x16\x03\x01\0\0"),
		BYTES_LIT("\x16\x03\x01\xff\xff"),
		BYTES_LIT("\x16\x03\x01\0\x04\x02\0\0\0"),
		BYTES_LIT("\x16\x03\x01\0\x04\x01\x01\0\0"),
		BYTES_LIT("\x16\x03\x01\0\x06\x01\0\0\x02\x03\x03"),
	};
	struct client_hello hello;
	size_t missing;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(client_hello_parse(bad[i], &hello, &missing), E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_name),
		cmocka_unit_test(a_client_may_ask_for_none),
		cmocka_unit_test(everything_else_is_for_a_tls_library),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
