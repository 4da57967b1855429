#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/shared.h"

struct thing {
	struct shared shared;
	int made_with;
};

static struct shared_set things = SHARED_SET_INIT;
static atomic_int alive;

static struct shared *make(const void *arg)
{
	struct thing *t = mem_alloc(sizeof(*t));

	t->made_with = *(const int *)arg;
	atomic_fetch_add(&alive, 1);
	return &t->shared;
}

static void destroy(struct shared *s)
{
	atomic_fetch_sub(&alive, 1);
	mem_free(CONTAINER_OF(s, struct thing, shared));
}

static struct thing *get(const char *name, int arg)
{
	return CONTAINER_OF(shared_get(&things, bytes_str(name), make, &arg), struct thing, shared);
}

static void whoever_asks_first_makes_it(void **state)
{
	struct thing *a = get("a", 1), *b = get("b", 2), *again = get("a", 3);

	assert_ptr_equal(a, again);
	assert_ptr_not_equal(a, b);
	assert_int_equal(again->made_with, 1);
	shared_unref(&a->shared, destroy);
	assert_int_equal(atomic_load(&alive), 2);
	shared_ref(&b->shared);
	shared_unref(&b->shared, destroy);
	shared_unref(&b->shared, destroy);
	assert_int_equal(atomic_load(&alive), 1);
	shared_unref(&again->shared, destroy);
	assert_int_equal(atomic_load(&alive), 0);
	assert_null(things.by_name);
	struct thing *anew = get("a", 4);
	assert_int_equal(anew->made_with, 4);
	shared_unref(&anew->shared, destroy);
}

static void *come_and_go(void *arg)
{
	char name[8];

	for (int i = 0; i < 20000; i++) {
		int n = (int)random_below(5);
		(void)snprintf(name, sizeof(name), "%d", n);
		struct thing *t = get(name, n);
		if (t->made_with != n)
			return t;
		shared_unref(&t->shared, destroy);
	}
	return NULL;
}

static void many_threads_may_come_and_go(void **state)
{
	pthread_t threads[4];
	void *result;

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, come_and_go, NULL);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &result);
		assert_null(result);
	}
	assert_int_equal(atomic_load(&alive), 0);
	assert_null(things.by_name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whoever_asks_first_makes_it),
		cmocka_unit_test(many_threads_may_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
