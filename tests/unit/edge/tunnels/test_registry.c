/* Which session takes the next request, and who closes whom. */
#include "unit/edge/line.h"

static const struct uuid other_tunnel = { { 2 } };

static struct tunnel_session *choose(void)
{
	return choose_session(&workers[0], &tunnel.id);
}

static void nobody_is_chosen_where_nobody_is(void **state)
{
	assert_null(choose());
	assert_null(choose_other(&workers[0], &tunnel.id));
	line_open(&lines[0], &workers[0], &other_tunnel, 1, 0, true);
	WAIT_FOR(lines[0].is_up);
	assert_null(choose());
	assert_ptr_equal(choose_session(&workers[0], &other_tunnel), lines[0].ts);
	assert_int_equal(registry_session_count(&workers[0]), 1);
	assert_int_equal(atomic_load(&sessions_told), 1);
}

static void equals_take_turns(void **state)
{
	int hits[3] = { 0 };

	for (uint8_t i = 0; i < 3; i++)
		line_up(&lines[i], &workers[0], 1, i);
	for (int i = 0; i < 30; i++) {
		struct tunnel_session *ts = choose();
		hits[ts->index]++;
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(hits[i], 10);
}

static void the_least_busy_comes_first(void **state)
{
	for (uint8_t i = 0; i < 3; i++)
		line_up(&lines[i], &workers[0], 1, i);
	/* Two requests that go on occupy two sessions. */
	visit_get(&visit);
	visit_get(&second);
	struct call *a = next_call(), *b = next_call();
	assert_ptr_not_equal(a->line, b->line);
	for (int i = 0; i < 5; i++) {
		struct tunnel_session *ts = choose();
		assert_ptr_not_equal(ts, a->line->ts);
		assert_ptr_not_equal(ts, b->line->ts);
	}
}

static void only_sessions_that_carry_udp_take_flows(void **state)
{
	struct registry_choice choice;
	struct registry_ask ask = { .tunnel = &tunnel.id, .host = BYTES_LIT("app.test") };

	assert_false(registry_has_any(&workers[0], &tunnel.id));
	line_up(&lines[0], &workers[0], 1, 0);
	line_up(&lines[1], &workers[1], 1, 1);
	assert_true(registry_has_any(&workers[0], &tunnel.id));
	assert_true(registry_choose(&workers[0], &ask, &choice));
	/* The fake transport is like HTTP/2: it has streams alone, here and on the other worker. */
	ask.needs = REGISTRY_UDP_ADDRESS;
	assert_false(registry_choose(&workers[0], &ask, &choice));
	ask.needs = REGISTRY_UDP_HOSTNAME;
	assert_false(registry_choose(&workers[1], &ask, &choice));
	assert_null(registry_udp_session_of(&workers[0], &tunnel.id, &lines[0].connector_id, true));
}

static void who_is_leaving_is_not_chosen(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	line_up(&lines[1], &workers[0], 1, 1);
	/* A request holds it until it has finished. */
	visit_get(&visit);
	struct call *c = next_call();
	session_drain(c->line->connector);
	let_it_turn();
	struct line *stays = c->line == &lines[0] ? &lines[1] : &lines[0];
	for (int i = 0; i < 4; i++)
		assert_ptr_equal(choose(), stays->ts);
	session_drain(stays->connector);
	WAIT_FOR(!stays->edge);
	assert_null(choose());
	answer_whole(c, 200, "ok");
	assert_got(&visit, 200, "ok");
	WAIT_FOR(!c->line->edge);
	assert_int_equal(registry_session_count(&workers[0]), 0);
	assert_int_equal(atomic_load(&sessions_told), 0);
}

static void a_connector_that_comes_back_replaces_itself(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	line_up(&lines[1], &workers[0], 1, 1);
	line_up(&lines[2], &workers[0], 1, 0);
	WAIT_FOR(!lines[0].edge);
	assert_non_null(lines[1].edge);
	assert_non_null(lines[2].edge);
	assert_int_equal(registry_session_count(&workers[0]), 2);
}

static void it_replaces_itself_on_another_worker_too(void **state)
{
	line_up(&lines[0], &workers[1], 1, 0);
	line_up(&lines[1], &workers[1], 2, 0); /* another replica */
	line_up(&lines[2], &workers[0], 1, 0);
	WAIT_FOR(!lines[0].edge);
	let_it_turn();
	assert_non_null(lines[1].edge);
	assert_non_null(lines[2].edge);
}

static void workers_know_of_each_others_sessions(void **state)
{
	line_up(&lines[0], &workers[1], 1, 0);
	line_up(&lines[1], &workers[1], 1, 1);
	assert_null(choose());
	assert_ptr_equal(choose_other(&workers[0], &tunnel.id), &workers[1]);
	assert_non_null(choose_session(&workers[1], &tunnel.id));
	line_cut(&lines[0]);
	assert_ptr_equal(choose_other(&workers[0], &tunnel.id), &workers[1]);
	line_cut(&lines[1]);
	assert_null(choose_other(&workers[0], &tunnel.id));
	assert_int_equal(map_count(workers[0].tunnels), 0);
}

static void a_tunnel_has_a_bounded_number_of_sessions(void **state)
{
	struct line *many = mem_alloc_array(LIMIT_SESSIONS_PER_TUNNEL, sizeof(*many));

	for (size_t i = 0; i < LIMIT_SESSIONS_PER_TUNNEL; i++)
		line_open(&many[i], &workers[i % WORKERS], &tunnel.id, (uint8_t)(i / 4 + 1),
			  (uint8_t)(i % 4), true);
	WAIT_FOR(many[LIMIT_SESSIONS_PER_TUNNEL - 1].is_up);
	let_it_turn();
	assert_int_equal(registry_session_count(&workers[0]) + registry_session_count(&workers[1]),
			 LIMIT_SESSIONS_PER_TUNNEL);
	for (size_t i = 0; i < WORKERS; i++) {
		line_open(&lines[i], &workers[i], &tunnel.id, 200, 9, true);
		WAIT_FOR(lines[i].refusals == 1);
		WAIT_FOR(!lines[i].edge && !lines[i].connector);
	}
	/* Another tunnel is not concerned. */
	line_open(&lines[2], &workers[0], &other_tunnel, 200, 9, true);
	WAIT_FOR(lines[2].is_up);
	registry_close_all(&workers[0]);
	registry_close_all(&workers[1]);
	for (size_t i = 0; i < LIMIT_SESSIONS_PER_TUNNEL; i++)
		WAIT_FOR(!many[i].edge && !many[i].connector);
	WAIT_FOR(!lines[2].edge);
	let_it_turn();
	mem_free(many);
}

static void a_tunnel_or_one_connector_of_it_can_be_disconnected(void **state)
{
	struct uuid second_connector = { { 2 } };

	line_up(&lines[0], &workers[0], 1, 0);
	line_up(&lines[1], &workers[0], 2, 0);
	line_open(&lines[2], &workers[0], &other_tunnel, 2, 0, true);
	WAIT_FOR(lines[2].is_up);
	registry_disconnect(&workers[0], &tunnel.id, &second_connector);
	assert_non_null(lines[1].edge); /* later */
	WAIT_FOR(!lines[1].edge);
	let_it_turn();
	assert_non_null(lines[0].edge);
	assert_non_null(lines[2].edge);
	registry_disconnect(&workers[0], &tunnel.id, NULL);
	WAIT_FOR(!lines[0].edge);
	let_it_turn();
	assert_non_null(lines[2].edge);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LINES(nobody_is_chosen_where_nobody_is),
		ON_LINES(equals_take_turns),
		ON_LINES(the_least_busy_comes_first),
		ON_LINES(only_sessions_that_carry_udp_take_flows),
		ON_LINES(who_is_leaving_is_not_chosen),
		ON_LINES(a_connector_that_comes_back_replaces_itself),
		ON_LINES(it_replaces_itself_on_another_worker_too),
		ON_LINES(workers_know_of_each_others_sessions),
		ON_LINES(a_tunnel_has_a_bounded_number_of_sessions),
		ON_LINES(a_tunnel_or_one_connector_of_it_can_be_disconnected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
