#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/idn.h"

static void assert_encoded(const char *name, const char *want)
{
	struct buf out;

	buf_init(&out, 300);
	assert_int_equal(idn_encode(bytes_str(name), &out), 0);
	assert_int_equal(out.len, strlen(want));
	assert_memory_equal(out.ptr, want, out.len);
	buf_done(&out);
}

static void names_are_encoded_label_by_label(void **state)
{
	assert_encoded("plain.example.com", "plain.example.com");
	assert_encoded("b\xc3\xbc"
		       "cher.example",
		       "xn--bcher-kva.example");
	assert_encoded("www.m\xc3\xbcnchen.de", "www.xn--mnchen-3ya.de");
	assert_encoded("\xe4\xbe\x8b\xe5\xad\x90.example", "xn--fsqu00a.example");
	assert_encoded("\xf0\x9f\x92\xa9.la", "xn--ls8h.la");
}

static void what_is_no_name_is_refused_and_leaves_nothing(void **state)
{
	static const char *const wrong[] = {
		"ok.\xff.example",
		"ok.\xc3",
		"ok.\xe4\xbe",
		"ok.\xc0\xaf",
		"ok."
		"\xc3\xbc"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	struct buf out;

	buf_init(&out, 300);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		assert_int_equal(idn_encode(bytes_str(wrong[i]), &out), E_PARSE);
		assert_int_equal(out.len, 0);
	}
	buf_done(&out);
	buf_init(&out, 5);
	assert_int_equal(idn_encode(BYTES_LIT("abc.defg"), &out), E_LIMIT);
	assert_int_equal(out.len, 0);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_encoded_label_by_label),
		cmocka_unit_test(what_is_no_name_is_refused_and_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
