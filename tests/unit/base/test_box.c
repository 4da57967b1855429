#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/box.h"
#include "base/encode.h"

static void what_is_sealed_is_opened_by_its_receiver(void **state)
{
	struct box_keys ann, bob;
	struct buf sealed, open;

	(void)state;
	buf_init(&sealed, 1024);
	buf_init(&open, 1024);
	assert_int_equal(box_keys_new(&ann, NULL), 0);
	assert_int_equal(box_keys_new(&bob, NULL), 0);
	assert_int_equal(box_seal(&ann, bob.public_key, BYTES_LIT("a text"), &sealed), 0);
	assert_int_equal(sealed.len, 6 + BOX_OVERHEAD);
	assert_int_equal(box_open(&bob, ann.public_key, buf_bytes(&sealed), &open), 0);
	assert_true(bytes_eq(buf_bytes(&open), BYTES_LIT("a text")));
	buf_done(&sealed);
	buf_done(&open);
}

static void nobody_else_opens_it_and_no_change_goes_unnoticed(void **state)
{
	struct box_keys ann, bob, eve;
	struct buf sealed, open;

	(void)state;
	buf_init(&sealed, 1024);
	buf_init(&open, 1024);
	assert_int_equal(box_keys_new(&ann, NULL), 0);
	assert_int_equal(box_keys_new(&bob, NULL), 0);
	assert_int_equal(box_keys_new(&eve, NULL), 0);
	assert_int_equal(box_seal(&ann, bob.public_key, BYTES_LIT("a text"), &sealed), 0);
	assert_int_equal(box_open(&eve, ann.public_key, buf_bytes(&sealed), &open), E_INVALID);
	assert_int_equal(box_open(&bob, eve.public_key, buf_bytes(&sealed), &open), E_INVALID);
	for (size_t i = 0; i < sealed.len; i++) {
		sealed.ptr[i] ^= 1;
		assert_int_equal(box_open(&bob, ann.public_key, buf_bytes(&sealed), &open),
				 E_INVALID);
		sealed.ptr[i] ^= 1;
	}
	for (size_t len = 0; len < sealed.len; len++)
		assert_int_equal(
			box_open(&bob, ann.public_key, bytes_first(buf_bytes(&sealed), len), &open),
			E_INVALID);
	assert_int_equal(open.len, 0);
	buf_done(&sealed);
	buf_done(&open);
}

static void a_key_of_small_order_gets_nothing(void **state)
{
	static const uint8_t zero[BOX_KEY_BYTES];
	struct box_keys ann;
	struct buf sealed;

	(void)state;
	buf_init(&sealed, 1024);
	assert_int_equal(box_keys_new(&ann, NULL), 0);
	assert_int_equal(box_seal(&ann, zero, BYTES_LIT("a text"), &sealed), E_INVALID);
	assert_int_equal(sealed.len, 0);
	buf_done(&sealed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sealed_is_opened_by_its_receiver),
		cmocka_unit_test(nobody_else_opens_it_and_no_change_goes_unnoticed),
		cmocka_unit_test(a_key_of_small_order_gets_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
