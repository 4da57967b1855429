#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

/* The vector of SipHash-2-4's authors: key 00..0f, input 00..0e. */
static void a_hash_is_the_same_everywhere(void **state)
{
	uint8_t key[HASH_KEY_BYTES], data[15];

	for (uint8_t i = 0; i < sizeof(key); i++)
		key[i] = i;
	for (uint8_t i = 0; i < sizeof(data); i++)
		data[i] = i;
	assert_true(hash_keyed(key, bytes_of(data, sizeof(data))) == UINT64_C(0xa129ca6149be45e5));
	assert_true(hash_keyed(key, BYTES_NONE) == UINT64_C(0x726fdb47dd0e0e31));
}

static void a_mac_depends_on_key_and_data(void **state)
{
	uint8_t a[HASH_MAC_BYTES], b[HASH_MAC_BYTES], long_key[80] = { 1 };

	hash_mac(BYTES_LIT("0123456789abcdef"), BYTES_LIT("x"), a);
	hash_mac(BYTES_LIT("0123456789abcdef"), BYTES_LIT("x"), b);
	assert_memory_equal(a, b, sizeof(a));
	hash_mac(BYTES_LIT("0123456789abcdef"), BYTES_LIT("y"), b);
	assert_memory_not_equal(a, b, sizeof(a));
	hash_mac(BYTES_LIT("0123456789abcdeg"), BYTES_LIT("x"), b);
	assert_memory_not_equal(a, b, sizeof(a));
	hash_mac(bytes_of(long_key, sizeof(long_key)), BYTES_NONE, a);
	hash_mac(bytes_of(long_key, 64), BYTES_NONE, b);
	assert_memory_equal(a, b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hash_is_the_same_everywhere),
		cmocka_unit_test(a_mac_depends_on_key_and_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
