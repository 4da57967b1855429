/* Fetching keys from somebody who is not there; the rest is tests/e2e/test_51_access_check.py. */
#include "unit/io/turns.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "connector/serve/issuer_keys.h"

/* Nobody listens at port 1. */
#define NOBODY "https://127.0.0.1:1"

struct waiter {
	struct access_wait wait;
	int told;
};

static struct issuer_keys *keys;
static int told;

static void on_done(struct access_wait *w)
{
	struct waiter *waiter = CONTAINER_OF(w, struct waiter, wait);

	assert_null(w->team);
	waiter->told++;
	told++;
	happened();
}

static int start(void **state)
{
	told = 0;
	make_loop(state);
	keys = issuer_keys_new(loop);
	return 0;
}

static int stop(void **state)
{
	keys = issuer_keys_free(keys);
	return free_loop(state);
}

static bool wait_for_keys(struct access_team *team, struct waiter *w)
{
	w->wait.done = on_done;
	list_init(&w->wait.node);
	return access_team_wait(team, &w->wait);
}

static void all_who_wait_are_told_once_how_it_ended(void **state)
{
	struct access_team *team = access_team_get(keys, NOBODY);
	struct waiter *waiters = mem_alloc_array(LIMIT_ACCESS_WAITING + 1, sizeof(*waiters));

	assert_ptr_equal(access_team_get(keys, NOBODY), team);
	assert_null(access_team_keys(team));
	assert_string_equal(access_team_error(team)->text, "");
	for (size_t i = 0; i < LIMIT_ACCESS_WAITING; i++)
		assert_true(wait_for_keys(team, &waiters[i]));
	assert_false(wait_for_keys(team, &waiters[LIMIT_ACCESS_WAITING]));
	assert_int_equal(told, 0);
	WAIT_FOR(told == LIMIT_ACCESS_WAITING);
	for (size_t i = 0; i < LIMIT_ACCESS_WAITING; i++)
		assert_int_equal(waiters[i].told, 1);
	assert_null(access_team_keys(team));
	assert_non_null(strstr(access_team_error(team)->text, NOBODY));
	/* The last try was a moment ago. */
	assert_false(wait_for_keys(team, &waiters[0]));
	mem_free(waiters);
}

static void who_has_left_is_not_told(void **state)
{
	struct access_team *team = access_team_get(keys, NOBODY);
	struct waiter first = { .told = 0 }, second = { .told = 0 };

	assert_true(wait_for_keys(team, &first));
	assert_true(wait_for_keys(team, &second));
	access_wait_cancel(&first.wait);
	access_wait_cancel(&first.wait);
	WAIT_FOR(told == 1);
	assert_int_equal(second.told, 1);
}

static void more_teams_than_threads_are_asked_one_after_the_other(void **state)
{
	struct waiter waiters[3 * LIMIT_ACCESS_FETCHES] = { 0 };
	char issuer[64];

	for (size_t i = 0; i < ARRAY_LEN(waiters); i++) {
		snprintf(issuer, sizeof(issuer), NOBODY "/%zu/", i);
		assert_true(wait_for_keys(access_team_get(keys, issuer), &waiters[i]));
	}
	WAIT_FOR(told == ARRAY_LEN(waiters));
}

static void it_may_end_while_somebody_waits(void **state)
{
	struct waiter waiters[LIMIT_ACCESS_FETCHES + 1] = { 0 };
	char issuer[64];

	for (size_t i = 0; i < ARRAY_LEN(waiters); i++) {
		snprintf(issuer, sizeof(issuer), NOBODY "/%zu", i);
		assert_true(wait_for_keys(access_team_get(keys, issuer), &waiters[i]));
	}
	keys = issuer_keys_free(keys);
	access_wait_cancel(&waiters[0].wait);
	free_loop(state);
	make_loop(state);
	assert_int_equal(told, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_who_wait_are_told_once_how_it_ended),
		TEST(who_has_left_is_not_told),
		TEST(more_teams_than_threads_are_asked_one_after_the_other),
		TEST(it_may_end_while_somebody_waits),
	};

	/* A proxy would be asked for nobody's port. */
	setenv("NO_PROXY", "*", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
