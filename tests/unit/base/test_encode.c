#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/uuid.h"

static void assert_encodes(enum base64_form form, struct bytes plain, const char *want)
{
	char *text = base64_text(form, plain);
	uint8_t back[64];
	size_t len = 99;

	assert_string_equal(text, want);
	assert_true(base64_decode(form, bytes_str(text), back, &len));
	assert_int_equal(len, plain.len);
	if (len)
		assert_memory_equal(back, plain.ptr, len);
	mem_free(text);
}

static void assert_refused(enum base64_form form, struct bytes text)
{
	uint8_t back[64];
	size_t len = 99;

	if (base64_decode(form, text, back, &len))
		fail_msg("form %d took \"" BYTES_FMT "\"", form, BYTES_ARG(text));
	assert_int_equal(len, 99);
}

static void base64_agrees_with_the_vectors_of_rfc_4648(void **state)
{
	static const struct {
		const char *plain, *padded, *raw;
	} vectors[] = {
		{ "", "", "" },
		{ "f", "Zg==", "Zg" },
		{ "fo", "Zm8=", "Zm8" },
		{ "foo", "Zm9v", "Zm9v" },
		{ "foob", "Zm9vYg==", "Zm9vYg" },
		{ "fooba", "Zm9vYmE=", "Zm9vYmE" },
		{ "foobar", "Zm9vYmFy", "Zm9vYmFy" },
	};

	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		struct bytes plain = bytes_str(vectors[i].plain);
		assert_encodes(BASE64_STD, plain, vectors[i].padded);
		assert_encodes(BASE64_URL, plain, vectors[i].padded);
		assert_encodes(BASE64_STD_RAW, plain, vectors[i].raw);
		assert_encodes(BASE64_URL_RAW, plain, vectors[i].raw);
	}
}

static void base64_alphabets_differ_in_two_letters_and_do_not_mix(void **state)
{
	struct bytes plain = BYTES_LIT("\xfb\xef\xbe\xff\xff\xff");

	assert_encodes(BASE64_STD, plain, "++++////");
	assert_encodes(BASE64_STD_RAW, plain, "++++////");
	assert_encodes(BASE64_URL, plain, "----____");
	assert_encodes(BASE64_URL_RAW, plain, "----____");
	assert_refused(BASE64_STD, BYTES_LIT("----"));
	assert_refused(BASE64_STD_RAW, BYTES_LIT("____"));
	assert_refused(BASE64_URL, BYTES_LIT("++++"));
	assert_refused(BASE64_URL_RAW, BYTES_LIT("////"));
}

static void base64_padding_is_all_or_nothing(void **state)
{
	static const char *const wrong_padded[] = {
		"Zg",    "Zg=",    "Zg===",    "Zm8",      "Z===", "====", "=",          "==",
		"Zm9v=", "Zm9v==", "Zm9v====", "Zg==Zg==", "Z=g=", "=Zg=", "Zm9vYg==\n", "Zm=v",
	};
	static const char *const wrong_raw[] = { "Zg==", "Zm8=", "Z", "Zm9vZ", "=", "Zm9v====" };

	for (size_t i = 0; i < ARRAY_LEN(wrong_padded); i++) {
		assert_refused(BASE64_STD, bytes_str(wrong_padded[i]));
		assert_refused(BASE64_URL, bytes_str(wrong_padded[i]));
	}
	for (size_t i = 0; i < ARRAY_LEN(wrong_raw); i++) {
		assert_refused(BASE64_STD_RAW, bytes_str(wrong_raw[i]));
		assert_refused(BASE64_URL_RAW, bytes_str(wrong_raw[i]));
	}
}

static void base64_has_one_text_per_value(void **state)
{
	/* The bits that are cut off have to be zero. */
	assert_refused(BASE64_STD, BYTES_LIT("Zh=="));
	assert_refused(BASE64_STD, BYTES_LIT("Zm9="));
	assert_refused(BASE64_URL_RAW, BYTES_LIT("Zh"));
	assert_refused(BASE64_URL_RAW, BYTES_LIT("Zm9"));
}

static void base64_takes_no_other_byte(void **state)
{
	for (int c = 0; c < 256; c++) {
		uint8_t text[4] = { 'Z', 'm', (uint8_t)c, 'v' };
		bool letter =
			(c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		uint8_t back[6];
		size_t len;
		assert_int_equal(base64_decode(BASE64_STD, bytes_of(text, 4), back, &len),
				 letter || c == '+' || c == '/');
		assert_int_equal(base64_decode(BASE64_URL_RAW, bytes_of(text, 4), back, &len),
				 letter || c == '-' || c == '_');
	}
}

static void base64_brings_random_bytes_back(void **state)
{
	uint8_t plain[60], back[64];
	char text[80];

	for (size_t size = 0; size <= sizeof(plain); size++) {
		for (int form = BASE64_STD; form <= BASE64_URL_RAW; form++) {
			size_t len;
			random_bytes(plain, size);
			size_t n =
				base64_encode((enum base64_form)form, bytes_of(plain, size), text);
			assert_true(n <= base64_size(size));
			assert_true(base64_decode((enum base64_form)form, bytes_of(text, n), back,
						  &len));
			assert_int_equal(len, size);
			assert_memory_equal(back, plain, size);
		}
	}
}

static void hex_is_lower_case_and_read_in_both(void **state)
{
	uint8_t back[4];
	char *text = hex_text(BYTES_LIT("\x00\x9f\xAB\xff"));

	assert_string_equal(text, "009fabff");
	mem_free(text);
	assert_true(hex_decode(BYTES_LIT("009FaBff"), back));
	assert_memory_equal(back, "\x00\x9f\xab\xff", 4);
	assert_true(hex_decode(BYTES_NONE, back));
	text = hex_text(BYTES_NONE);
	assert_string_equal(text, "");
	mem_free(text);
}

static void hex_refuses_everything_else(void **state)
{
	static const char *const wrong[] = { "0",   "000", "0g", "g0", "0x", " 0",
					     "0\n", "/0",  ":0", "@a", "`a" };
	uint8_t back[4];

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_false(hex_decode(bytes_str(wrong[i]), back));
}

static void uuid_text_and_bytes_are_each_others_inverse(void **state)
{
	struct uuid u, back;
	char text[UUID_TEXT_SIZE];

	assert_true(uuid_parse(BYTES_LIT("C2CAF7A2-0000-4fff-8abc-00112233445f"), &u));
	assert_memory_equal(u.b, "\xc2\xca\xf7\xa2\x00\x00\x4f\xff\x8a\xbc\x00\x11\x22\x33\x44\x5f",
			    16);
	assert_string_equal(uuid_text(&u, text), "c2caf7a2-0000-4fff-8abc-00112233445f");
	assert_true(uuid_parse(bytes_str(text), &back));
	assert_true(uuid_eq(&u, &back));
	assert_false(uuid_is_zero(&u));
	assert_true(uuid_parse(BYTES_LIT("00000000-0000-0000-0000-000000000000"), &u));
	assert_true(uuid_is_zero(&u));
}

static void uuid_of_any_other_form_is_refused(void **state)
{
	static const char *const wrong[] = {
		"",
		"c2caf7a2-0000-4fff-8abc-00112233445",
		"c2caf7a2-0000-4fff-8abc-00112233445f0",
		"{c2caf7a2-0000-4fff-8abc-00112233445}",
		"c2caf7a200004fff8abc00112233445f",
		"c2caf7a2-0000-4fff-8abc-0011223344g5",
		"c2caf7a20-000-4fff-8abc-00112233445f",
		"c2caf7a2-00004fff--8abc-00112233445f",
		"c2caf7a2_0000_4fff_8abc_00112233445f",
		"-2caf7a2-0000-4fff-8abc-00112233445f",
	};
	struct uuid u = { { 7 } };

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_false(uuid_parse(bytes_str(wrong[i]), &u));
	assert_int_equal(u.b[0], 7);
}

static void random_uuids_are_of_version_4_and_differ(void **state)
{
	struct uuid last = { { 0 } };

	for (int i = 0; i < 100; i++) {
		struct uuid u = uuid_random();
		assert_int_equal(u.b[6] >> 4, 4);
		assert_int_equal(u.b[8] >> 6, 2);
		assert_false(uuid_eq(&u, &last));
		last = u;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_agrees_with_the_vectors_of_rfc_4648),
		cmocka_unit_test(base64_alphabets_differ_in_two_letters_and_do_not_mix),
		cmocka_unit_test(base64_padding_is_all_or_nothing),
		cmocka_unit_test(base64_has_one_text_per_value),
		cmocka_unit_test(base64_takes_no_other_byte),
		cmocka_unit_test(base64_brings_random_bytes_back),
		cmocka_unit_test(hex_is_lower_case_and_read_in_both),
		cmocka_unit_test(hex_refuses_everything_else),
		cmocka_unit_test(uuid_text_and_bytes_are_each_others_inverse),
		cmocka_unit_test(uuid_of_any_other_form_is_refused),
		cmocka_unit_test(random_uuids_are_of_version_4_and_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
