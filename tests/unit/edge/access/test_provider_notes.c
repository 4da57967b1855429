#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "edge/access/provider_notes.h"

static void test_answers_and_failures_are_kept_apart(void **state)
{
	struct provider_notes *n = provider_notes_new();
	struct err fine = { 0 }, denied = { .code = E_DENIED, .text = "no address" };
	struct err broken = { .code = E_TIMEOUT, .text = "it did not answer" };
	const struct provider_note *note;

	(void)state;
	assert_null(provider_notes_find(n, "1"));
	provider_notes_add(n, "1", "One", 1000, &fine);
	provider_notes_add(n, "1", "One", 1000, &denied);
	note = provider_notes_find(n, "1");
	assert_int_equal(note->answered, 2);
	assert_int_equal(note->failed, 0);
	assert_true(note->answered_at > 0 && note->failed_at == 0);
	provider_notes_add(n, "1", "One", 1000, &broken);
	assert_int_equal(note->failed, 1);
	assert_true(note->failed_at > 0);
	assert_string_equal(note->error, "it did not answer");
	assert_null(provider_notes_find(n, "2"));
	provider_notes_unref(n);
}

static void test_words_of_others_are_printable_and_short(void **state)
{
	struct provider_notes *n = provider_notes_new();
	struct err err = { .code = E_PROTOCOL };
	const struct provider_note *note;

	(void)state;
	memset(err.text, 'x', sizeof(err.text) - 1);
	memcpy(err.text, "a\xff\x1b[31m", 7);
	provider_notes_add(n, "1", "One", 0, &err);
	note = provider_notes_find(n, "1");
	assert_int_equal(strlen(note->error), sizeof(note->error) - 1);
	assert_memory_equal(note->error, "a??[31m", 7);
	provider_notes_unref(n);
}

static void test_there_is_a_bound(void **state)
{
	struct provider_notes *n = provider_notes_new();
	struct err fine = { 0 };

	(void)state;
	for (int i = 0; i < PROVIDER_NOTES_MAX + 10; i++) {
		char *id = mem_printf("%d", i);
		provider_notes_add(n, id, "Many", 0, &fine);
		mem_free(id);
	}
	assert_non_null(provider_notes_find(n, "0"));
	assert_null(provider_notes_find(n, "256"));
	assert_ptr_equal(provider_notes_ref(n), n);
	assert_null(provider_notes_unref(n));
	assert_non_null(provider_notes_find(n, "0"));
	assert_null(provider_notes_unref(n));
	assert_null(provider_notes_unref(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_and_failures_are_kept_apart),
		cmocka_unit_test(test_words_of_others_are_printable_and_short),
		cmocka_unit_test(test_there_is_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
