#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/map.h"
#include "base/random.h"

static int values[5000];

static struct bytes key_of(int i, char text[16])
{
	return bytes_of(text, (size_t)snprintf(text, 16, "key-%d", i));
}

static void finds_what_was_put_under_any_bytes(void **state)
{
	struct map *m = map_new();

	assert_null(map_find(m, BYTES_LIT("a")));
	assert_null(map_put(m, BYTES_LIT("a"), &values[0]));
	assert_null(map_put(m, BYTES_LIT("a\0"), &values[1]));
	assert_null(map_put(m, BYTES_NONE, &values[2]));
	assert_null(map_put(m, BYTES_LIT("\0\0\0\0\0\0\0\0"), &values[3]));
	assert_null(map_put(m, BYTES_LIT("\0"), &values[4]));
	assert_int_equal(map_count(m), 5);
	assert_ptr_equal(map_find(m, BYTES_LIT("a")), &values[0]);
	assert_ptr_equal(map_find(m, BYTES_LIT("a\0")), &values[1]);
	assert_ptr_equal(map_find(m, BYTES_LIT("")), &values[2]);
	assert_ptr_equal(map_find(m, BYTES_LIT("\0\0\0\0\0\0\0\0")), &values[3]);
	assert_ptr_equal(map_find(m, BYTES_LIT("\0")), &values[4]);
	assert_null(map_find(m, BYTES_LIT("A")));
	assert_null(map_free(m));
	assert_null(map_free(NULL));
}

static void put_replaces_and_tells_what_was_there(void **state)
{
	struct map *m = map_new();
	char key[] = "key";

	assert_null(map_put(m, bytes_str(key), &values[0]));
	key[0] = 'K'; /* the map has a copy */
	assert_ptr_equal(map_put(m, BYTES_LIT("key"), &values[1]), &values[0]);
	assert_int_equal(map_count(m), 1);
	assert_ptr_equal(map_find(m, BYTES_LIT("key")), &values[1]);
	map_free(m);
}

static void take_removes_and_the_key_may_come_back(void **state)
{
	struct map *m = map_new();

	map_put(m, BYTES_LIT("key"), &values[0]);
	assert_ptr_equal(map_take(m, BYTES_LIT("key")), &values[0]);
	assert_null(map_take(m, BYTES_LIT("key")));
	assert_null(map_find(m, BYTES_LIT("key")));
	assert_null(map_take(m, BYTES_LIT("other")));
	assert_int_equal(map_count(m), 0);
	assert_null(map_put(m, BYTES_LIT("key"), &values[1]));
	assert_int_equal(map_count(m), 1);
	map_free(m);
}

static void iteration_meets_each_entry_once(void **state)
{
	enum { COUNT = 1000 };
	struct map *m = map_new();
	char text[16];
	size_t cursor = 0, met = 0;
	struct bytes key;
	void *value;

	assert_false(map_next(m, &cursor, NULL, NULL));
	for (int i = 0; i < COUNT; i++) {
		values[i] = 0;
		map_put(m, key_of(i, text), &values[i]);
	}
	for (int i = 0; i < COUNT; i += 2)
		map_take(m, key_of(i, text));
	cursor = 0;
	while (map_next(m, &cursor, &key, &value)) {
		int *at = value;
		assert_true(bytes_eq(key, key_of((int)(at - values), text)));
		(*at)++;
		met++;
	}
	assert_int_equal(met, COUNT / 2);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(values[i], i % 2);
	assert_false(map_next(m, &cursor, NULL, NULL));
	map_free(m);
}

static void random_use_agrees_with_a_plain_table(void **state)
{
	struct map *m = map_new();
	bool present[ARRAY_LEN(values)] = { 0 };
	size_t count = 0;
	char text[16];

	for (int step = 0; step < 200000; step++) {
		int i = (int)random_below(step < 100000 ? 200 : ARRAY_LEN(values));
		struct bytes key = key_of(i, text);
		void *want = present[i] ? &values[i] : NULL;
		switch (random_below(3)) {
		case 0:
			assert_ptr_equal(map_put(m, key, &values[i]), want);
			count += !present[i];
			present[i] = true;
			break;
		case 1:
			assert_ptr_equal(map_take(m, key), want);
			count -= present[i];
			present[i] = false;
			break;
		default:
			assert_ptr_equal(map_find(m, key), want);
		}
		assert_int_equal(map_count(m), count);
	}
	map_free(m);
}

/* --- list ------------------------------------------------------------------------------------ */

struct item {
	struct list node;
	int number;
};

static struct item *item_of(struct list *node)
{
	return LIST_ENTRY(node, struct item, node);
}

static void list_keeps_order_and_removal_may_be_repeated(void **state)
{
	struct list head;
	struct item items[3] = { { .number = 1 }, { .number = 2 }, { .number = 3 } };
	int want = 1;

	list_init(&head);
	assert_true(list_is_empty(&head));
	assert_null(list_pop(&head));
	for (int i = 0; i < 3; i++) {
		list_init(&items[i].node);
		assert_false(list_is_linked(&items[i].node));
	}
	list_append(&head, &items[1].node);
	list_append(&head, &items[2].node);
	list_prepend(&head, &items[0].node);
	LIST_FOR_EACH(node, &head)
		assert_int_equal(item_of(node)->number, want++);
	assert_int_equal(want, 4);
	list_remove(&items[1].node);
	list_remove(&items[1].node);
	assert_false(list_is_linked(&items[1].node));
	assert_int_equal(item_of(list_pop(&head))->number, 1);
	assert_int_equal(item_of(list_pop(&head))->number, 3);
	assert_true(list_is_empty(&head));
}

static void list_loop_may_remove_the_current_node(void **state)
{
	struct list head;
	struct item items[4];

	list_init(&head);
	for (int i = 0; i < 4; i++) {
		items[i].number = i;
		list_append(&head, &items[i].node);
	}
	LIST_FOR_EACH(node, &head)
		if (item_of(node)->number % 2)
			list_remove(node);
	assert_int_equal(item_of(list_pop(&head))->number, 0);
	assert_int_equal(item_of(list_pop(&head))->number, 2);
	assert_null(list_pop(&head));
}

static void list_take_all_appends_in_order(void **state)
{
	struct list a, b;
	struct item items[4];

	list_init(&a);
	list_init(&b);
	list_take_all(&a, &b);
	assert_true(list_is_empty(&a));
	for (int i = 0; i < 4; i++) {
		items[i].number = i;
		list_append(i < 2 ? &a : &b, &items[i].node);
	}
	list_take_all(&a, &b);
	assert_true(list_is_empty(&b));
	for (int i = 0; i < 4; i++)
		assert_int_equal(item_of(list_pop(&a))->number, i);
	assert_true(list_is_empty(&a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_was_put_under_any_bytes),
		cmocka_unit_test(put_replaces_and_tells_what_was_there),
		cmocka_unit_test(take_removes_and_the_key_may_come_back),
		cmocka_unit_test(iteration_meets_each_entry_once),
		cmocka_unit_test(random_use_agrees_with_a_plain_table),
		cmocka_unit_test(list_keeps_order_and_removal_may_be_repeated),
		cmocka_unit_test(list_loop_may_remove_the_current_node),
		cmocka_unit_test(list_take_all_appends_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
