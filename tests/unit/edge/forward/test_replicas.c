/* Several connectors of one tunnel: who takes what, who is asked next, who is left out. */
#include "unit/edge/line.h"

#include "base/metrics.h"
#include "edge/forward/dispatch.h"

enum { REPLICAS = 5 };
static struct line replica[REPLICAS];

static void up(int i, struct worker *w)
{
	line_up(&replica[i], w, (uint8_t)(i + 1), 0);
}

static int stop_all(void **state)
{
	visit_done(&visit);
	visit_done(&second);
	for (int i = 0; i < REPLICAS; i++)
		if (replica[i].worker)
			line_cut(&replica[i]);
	memset(replica, 0, sizeof(replica));
	return stop(state);
}

static int who(const struct call *c)
{
	return (int)(c->line - replica);
}

/* One request that is answered; who took it. */
static int ask(void)
{
	visit_get(&visit);
	struct call *c = next_call();
	int i = who(c);
	answer_whole(c, 200, "ok");
	assert_got(&visit, 200, "ok");
	WAIT_FOR(visit.x->answerer_is_gone && !c->stream);
	leave(&visit);
	buf_done(&c->body);
	call_count = calls_taken = 0; /* the table is small */
	return i;
}

static void ask_often(int times, int hits[REPLICAS])
{
	memset(hits, 0, REPLICAS * sizeof(hits[0]));
	for (int i = 0; i < times; i++)
		hits[ask()]++;
}

static void service_fails(struct call *c, bool was_sent)
{
	const struct head head = { .status = 502 };
	const struct answer failed = {
		.head = &head,
		.from_connector = true,
		.failure_json = was_sent ? BYTES_LIT("{\"hop\":\"origin\",\"status\":502,"
						     "\"title\":\"Service unreachable\"}")
					 : BYTES_LIT("{\"hop\":\"origin\",\"status\":502,"
						     "\"title\":\"Service unreachable\","
						     "\"sent\":false}"),
	};

	stream_answer(c->stream, &failed, true);
}

/* --- Sharing --------------------------------------------------------------------------------- */

static void a_replica_with_more_connections_gets_no_more(void **state)
{
	int hits[REPLICAS] = { 0 };

	line_up(&lines[0], &workers[0], 1, 1);
	line_up(&lines[1], &workers[0], 1, 2);
	up(0, &workers[0]);
	up(1, &workers[0]);
	for (int i = 0; i < 20; i++) {
		struct tunnel_session *ts = choose_session(&workers[0], &tunnel.id);
		hits[ts->connector.b[0] - 1]++;
	}
	assert_int_equal(hits[0], 10);
	assert_int_equal(hits[1], 10);
}

static void what_a_connector_says_about_itself_is_heard(void **state)
{
	static const struct {
		const char *feature;
		uint32_t weight;
		bool is_backup;
		const char *label;
	} table[] = {
		{ "adit_weight=7", 7, false, "" },
		{ "adit_weight=1000", 1000, false, "" },
		{ "adit_weight=1001", 1, false, "" },
		{ "adit_weight=0", 1, false, "" },
		{ "adit_weight=-1", 1, false, "" },
		{ "adit_weight=", 1, false, "" },
		{ "adit_weight", 1, false, "" },
		{ "adit_backup", 1, true, "" },
		{ "adit_backups", 1, false, "" },
		{ "adit_label=web-1 in Ulm", 1, false, "web-1 in Ulm" },
		{ "adit_label=", 1, false, "" },
		{ "adit_label=a,b", 1, false, "" },
		{ "adit_label= a", 1, false, "" },
		{ "adit_label=\x1b[31m", 1, false, "" },
		{ "adit_label="
		  "0123456789012345678901234567890123456789012345678901234567890123",
		  1, false, "" },
	};
	const struct uuid id = { { 1 } };
	struct replica_facts f;

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct bytes feature = bytes_str(table[i].feature);
		replica_facts_read(&f, &feature, 1, &id, BYTES_LIT("0123456789abcdef"));
		assert_int_equal(f.weight, table[i].weight);
		assert_int_equal(f.is_backup, table[i].is_backup);
		assert_string_equal(f.label, table[i].label);
		assert_int_equal(strlen(f.tag), REPLICA_TAG_LEN);
	}
}

static void weights_hold_over_all_workers(void **state)
{
	static const enum balance_policy policies[] = { BALANCE_LEAST, BALANCE_ROUND_ROBIN };
	int hits[REPLICAS];

	facts[0] = "adit_weight=1";
	up(0, &workers[0]);
	facts[0] = "adit_weight=3";
	up(1, &workers[1]);
	facts[0] = "adit_weight=4";
	up(2, &workers[1]);
	for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
		route.balance.policy = policies[i];
		ask_often(80, hits);
		assert_int_equal(hits[0], 10);
		assert_int_equal(hits[1], 30);
		assert_int_equal(hits[2], 40);
	}
}

static void equals_take_turns_wherever_their_connections_are(void **state)
{
	int hits[REPLICAS];

	up(0, &workers[0]);
	up(1, &workers[0]);
	up(2, &workers[1]);
	for (int policy = BALANCE_LEAST; policy <= BALANCE_ROUND_ROBIN; policy++) {
		route.balance.policy = (enum balance_policy)policy;
		ask_often(30, hits);
		for (int i = 0; i < 3; i++)
			assert_int_equal(hits[i], 10);
	}
}

static uint32_t load_of(int i)
{
	const struct uuid connector = { { (uint8_t)(i + 1) } };
	struct replica *r =
		replica_get(&tunnel.id, &connector, &(struct replica_facts){ 0 }, WORKERS);
	uint32_t load = replica_load_get(r);

	replica_unref(r);
	return load;
}

/* Of two workers that choose at the same time each sees what the other one has chosen. */
static void a_request_counts_from_when_it_is_sent_across_until_it_ends(void **state)
{
	up(0, &workers[1]);
	up(1, &workers[1]);
	prepare(&visit, &workers[0], "GET", HEAD_LENGTH_NONE);
	begin(&visit);
	assert_int_equal(call_count, 0); /* nobody over there has heard of it */
	int first = load_of(1) > 0;
	assert_int_equal(load_of(first), 1);
	assert_int_equal(load_of(!first), 0);
	prepare(&second, &workers[1], "GET", HEAD_LENGTH_NONE);
	begin(&second);
	assert_int_equal(load_of(!first), 1);
	struct call *a = next_call(), *b = next_call();
	assert_int_not_equal(who(a), who(b));
	stream_reset(a->stream, REASON_FAILED);
	answer_whole(b, 200, "ok");
	WAIT_FOR(visit.x->answerer_is_gone && second.x->answerer_is_gone);
	let_it_turn();
	assert_int_equal(load_of(0), 0);
	assert_int_equal(load_of(1), 0);
}

static void requests_under_way_count_wherever_they_are(void **state)
{
	facts[0] = "adit_weight=2";
	up(0, &workers[1]);
	facts[0] = NULL;
	up(1, &workers[0]);
	visit_get(&visit);
	struct call *first = next_call();
	int busy = who(first);
	visit_get(&second);
	struct call *next = next_call();
	/* 0 of 2 and 0 of 1, then what keeps the shares even. */
	assert_int_equal(busy, 0);
	assert_int_equal(who(next), 1);
	assert_int_equal(choose_other(&workers[0], &tunnel.id) == &workers[1], true);
	assert_int_equal(choose_other(&workers[1], &tunnel.id) == NULL, true);
	answer_whole(first, 200, "ok");
	answer_whole(next, 200, "ok");
	assert_got(&visit, 200, "ok");
	assert_got(&second, 200, "ok");
}

static void a_client_stays_where_its_address_leads(void **state)
{
	int hits[REPLICAS];

	for (int i = 0; i < 4; i++)
		up(i, &workers[i % 2]);
	route.balance.policy = BALANCE_CLIENT_HASH;
	int chosen = ask();
	ask_often(10, hits);
	assert_int_equal(hits[chosen], 10);
	line_cut(&replica[chosen]);
	int other = ask();
	assert_int_not_equal(other, chosen);
	up(chosen, &workers[0]);
	/* By its id, which is the same again. */
	ask_often(10, hits);
	assert_int_equal(hits[chosen], 10);
}

static void backups_serve_when_nobody_else_does(void **state)
{
	int hits[REPLICAS];

	up(0, &workers[1]);
	facts[0] = "adit_backup";
	up(1, &workers[0]);
	for (int policy = BALANCE_LEAST; policy <= BALANCE_COOKIE; policy++) {
		route.balance.policy = (enum balance_policy)policy;
		ask_often(10, hits);
		assert_int_equal(hits[0], 10);
	}
	line_cut(&replica[0]);
	ask_often(10, hits);
	assert_int_equal(hits[1], 10);
}

/* --- The cookie ------------------------------------------------------------------------------ */

/* With what the last answer has set, if anything; who took it. */
static char cookie[300];

static int ask_with_cookie(bool *ret_is_new)
{
	struct exchange *x = prepare(&visit, &workers[0], "GET", HEAD_LENGTH_NONE);

	if (cookie[0])
		(void)fields_add(&x->request.fields, &x->arena, BYTES_LIT("Cookie"),
				 bytes_str(cookie));
	body_end(&x->request_body);
	begin(&visit);
	struct call *c = next_call();
	int i = who(c);
	answer_whole(c, 200, "ok");
	assert_got(&visit, 200, "ok");
	const char *set = strstr(visit.fields, "Set-Cookie: ");
	*ret_is_new = set != NULL;
	if (set) {
		assert_non_null(strstr(set, "; Path=/; Secure; HttpOnly; SameSite=Lax\n"));
		snprintf(cookie, sizeof(cookie), "a=b; %.*s; c=d", (int)strcspn(set + 12, ";"),
			 set + 12);
	}
	WAIT_FOR(visit.x->answerer_is_gone && !c->stream);
	leave(&visit);
	buf_done(&c->body);
	call_count = calls_taken = 0;
	return i;
}

static void a_cookie_keeps_a_visitor_with_a_replica(void **state)
{
	bool is_new;

	for (int i = 0; i < 4; i++)
		up(i, &workers[i % 2]);
	route.balance.policy = BALANCE_COOKIE;
	for (int round = 0; round < 4; round++) {
		cookie[0] = 0;
		int chosen = ask_with_cookie(&is_new);
		assert_true(is_new);
		for (int i = 0; i < 10; i++) {
			assert_int_equal(ask_with_cookie(&is_new), chosen);
			assert_false(is_new);
		}
		/* It names no connector to people. */
		assert_null(strstr(cookie, "00000000"));
		line_cut(&replica[chosen]);
		int other = ask_with_cookie(&is_new);
		assert_int_not_equal(other, chosen);
		assert_true(is_new);
		assert_int_equal(ask_with_cookie(&is_new), other);
		assert_false(is_new);
		up(chosen, &workers[0]);
		assert_int_equal(ask_with_cookie(&is_new), other);
	}
}

static void a_label_has_its_visitors_again_under_another_id(void **state)
{
	bool is_new;

	route.balance.policy = BALANCE_COOKIE;
	up(0, &workers[0]);
	facts[0] = "adit_label=red";
	up(1, &workers[0]);
	cookie[0] = 0;
	while (ask_with_cookie(&is_new) != 1)
		cookie[0] = 0;
	line_cut(&replica[1]);
	line_up(&replica[2], &workers[1], 77, 0); /* another process of that name */
	for (int i = 0; i < 5; i++) {
		assert_int_equal(ask_with_cookie(&is_new), 2);
		assert_false(is_new);
	}
}

static void a_cookie_that_names_nobody_is_replaced(void **state)
{
	static const char *const forged[] = {
		"__Host-adit_replica=",
		"__Host-adit_replica=x",
		"__Host-adit_replica=aaaaaaaaaaaaaaaaaaaaaa",
		"__Host-adit_replica",
		"adit_replica=aaaaaaaaaaaaaaaaaaaaaa;;;; ;",
	};
	bool is_new;

	route.balance.policy = BALANCE_COOKIE;
	up(0, &workers[0]);
	for (size_t i = 0; i < ARRAY_LEN(forged); i++) {
		snprintf(cookie, sizeof(cookie), "%s", forged[i]);
		(void)ask_with_cookie(&is_new);
		assert_true(is_new);
	}
	/* Other policies set none. */
	route.balance.policy = BALANCE_LEAST;
	cookie[0] = 0;
	(void)ask_with_cookie(&is_new);
	assert_false(is_new);
}

/* --- Another replica is asked ---------------------------------------------------------------- */

static void a_service_that_is_not_there_is_asked_for_elsewhere(void **state)
{
	for (int far = 0; far < 2; far++) {
		up(0, &workers[far]);
		up(1, &workers[far]);
		visit_post(&visit, BYTES_LIT("the body of the request"));
		struct call *a = next_call();
		WAIT_FOR(a->has_fin);
		service_fails(a, false);
		struct call *b = next_call();
		assert_int_not_equal(who(a), who(b));
		WAIT_FOR(b->has_fin);
		assert_int_equal(b->body.len, 23);
		assert_memory_equal(b->body.ptr, "the body of the request", 23);
		answer_whole(b, 201, "made");
		assert_got(&visit, 201, "made");
		assert_int_equal(visit.x->failure.status, 0);
		leave(&visit);
		line_cut(&replica[0]);
		line_cut(&replica[1]);
	}
}

static void from_here_to_there_and_back(void **state)
{
	up(0, &workers[0]);
	up(1, &workers[1]);
	up(2, &workers[0]);
	route.balance.policy = BALANCE_ROUND_ROBIN;
	for (int i = 0; i < 3; i++) {
		visit_post(&visit, BYTES_LIT("body"));
		for (int k = 0; k < 2; k++) {
			struct call *c = next_call();
			WAIT_FOR(c->has_fin);
			service_fails(c, false);
		}
		struct call *c = next_call();
		WAIT_FOR(c->has_fin);
		assert_int_equal(c->body.len, 4);
		answer_whole(c, 200, "ok");
		assert_got(&visit, 200, "ok");
		leave(&visit);
	}
}

static void what_the_service_has_seen_is_not_sent_again(void **state)
{
	up(0, &workers[0]);
	up(1, &workers[0]);
	visit_get(&visit);
	service_fails(next_call(), true);
	assert_failed(&visit, FAILURE_ORIGIN, 502);
	assert_int_equal(call_count, 1);
}

static void a_body_too_long_to_keep_is_not_sent_again(void **state)
{
	uint8_t *data = pattern(LIMIT_REPLAY_BYTES + 1);

	up(0, &workers[0]);
	up(1, &workers[0]);
	visit_post(&visit, bytes_of(data, LIMIT_REPLAY_BYTES + 1));
	struct call *c = next_call();
	WAIT_FOR(c->has_fin);
	service_fails(c, false);
	assert_failed(&visit, FAILURE_ORIGIN, 502);
	assert_int_equal(call_count, 1);
	mem_free(data);
}

static void three_services_that_are_not_there_are_enough(void **state)
{
	for (int i = 0; i < 5; i++)
		up(i, &workers[i % 2]);
	route.balance.policy = BALANCE_ROUND_ROBIN;
	visit_get(&visit);
	for (int i = 0; i < 3; i++)
		service_fails(next_call(), false);
	assert_failed(&visit, FAILURE_ORIGIN, 502);
	assert_string_equal(visit.title, "Service unreachable");
	assert_int_equal(call_count, 3);
}

static void the_only_replica_is_asked_once(void **state)
{
	line_up(&lines[0], &workers[0], 1, 1);
	up(0, &workers[0]);
	visit_get(&visit);
	service_fails(next_call(), false);
	assert_failed(&visit, FAILURE_ORIGIN, 502);
	assert_int_equal(call_count, 1);
}

static void a_replica_that_leaves_is_chosen_by_nobody(void **state)
{
	int hits[REPLICAS];

	up(0, &workers[1]);
	up(1, &workers[1]);
	route.balance.policy = BALANCE_ROUND_ROBIN;
	/* A request holds it until it has finished. */
	visit_get(&second);
	struct call *c = next_call();
	int leaving = who(c);
	session_drain(replica[leaving].connector);
	let_it_turn();
	assert_non_null(replica[leaving].edge);
	for (int i = 0; i < 10; i++) {
		struct registry_choice choice;
		assert_true(choose_on(&workers[0], &tunnel.id, &choice));
		assert_int_not_equal(choice.replica->connector.b[0], leaving + 1);
	}
	answer_whole(c, 200, "ok");
	assert_got(&second, 200, "ok");
	WAIT_FOR(!replica[leaving].edge);
	leave(&second);
	let_it_turn();
	ask_often(5, hits);
	assert_int_equal(hits[leaving], 0);
}

/* A process that dies takes all its connections along, of which the edge hears one by one. */
/* A connector moves to another connection of the same number: make before break. */
static void a_connection_that_is_replaced_ends_what_it_has_begun(void **state)
{
	for (int there = 0; there < WORKERS; there++) {
		line_up(&lines[0], &workers[0], 1, 0);
		visit_get(&visit);
		struct call *old = next_call();
		answer(old, 200, false);
		WAIT_FOR(visit.has_head);
		line_up(&lines[1], &workers[there], 1, 0);
		visit_get(&second);
		struct call *next = next_call();
		assert_ptr_equal(next->line, &lines[1]);
		answer_whole(next, 200, "new");
		assert_got(&second, 200, "new");
		assert_non_null(lines[0].edge);
		assert_int_equal(stream_write(old->stream, BYTES_LIT("old"), true), 3);
		assert_got(&visit, 200, "old");
		WAIT_FOR(!lines[0].edge); /* nothing holds it any more */
		leave(&visit);
		leave(&second);
		line_cut(&lines[1]);
	}
}

static void after_a_lost_connection_the_others_of_that_replica_wait(void **state)
{
	static const enum balance_policy policies[] = { BALANCE_LEAST, BALANCE_ROUND_ROBIN };

	for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
		route.balance.policy = policies[i];
		up(0, &workers[0]);
		line_up(&lines[0], &workers[0], 1, 1);
		line_up(&lines[1], &workers[1], 1, 2);
		up(1, &workers[1]);
		fake_transport_cut(lines[0].edge);
		WAIT_FOR(!lines[0].edge);
		let_it_turn();
		for (int k = 0; k < 10; k++)
			assert_int_equal(ask(), 1);
		/* There is nobody else: then rather it. */
		line_cut(&replica[1]);
		struct registry_choice choice;
		assert_true(choose_on(&workers[0], &tunnel.id, &choice));
		assert_int_equal(choice.replica->connector.b[0], 1);
		assert_false(choice.is_probe);
		line_cut(&replica[0]);
		line_cut(&lines[1]);
	}
}

/* --- Ejection -------------------------------------------------------------------------------- */

static void a_replica_whose_service_fails_is_left_out(void **state)
{
	int hits[REPLICAS] = { 0 };
	int64_t out = metric_get(&metric_ejections);

	up(0, &workers[0]);
	up(1, &workers[1]);
	up(2, &workers[0]);
	route.balance.policy = BALANCE_ROUND_ROBIN;
	for (int i = 0; i < 60; i++) {
		visit_get(&visit);
		struct call *c = next_call();
		hits[who(c)]++;
		if (who(c) == 1) {
			service_fails(c, true);
			assert_failed(&visit, FAILURE_ORIGIN, 502);
		} else {
			answer_whole(c, 200, "ok");
			assert_got(&visit, 200, "ok");
		}
		WAIT_FOR(visit.x->answerer_is_gone && !c->stream);
		leave(&visit);
		buf_done(&c->body);
		call_count = calls_taken = 0;
	}
	/* A slow machine may have come to a probe or two. */
	assert_in_range(hits[1], LIMIT_EJECT_FAILURES, LIMIT_EJECT_FAILURES + 3);
	assert_int_equal(metric_get(&metric_ejections), out + 1);
	/* For this host only. */
	const struct registry_ask other = {
		.tunnel = &tunnel.id,
		.policy = BALANCE_ROUND_ROBIN,
		.host = BYTES_LIT("other.test"),
		.host_key = registry_host_key(&tunnel.id, BYTES_LIT("other.test")),
	};
	memset(hits, 0, sizeof(hits));
	for (int i = 0; i < 9; i++) {
		struct registry_choice choice;
		assert_true(registry_choose(&workers[0], &other, &choice));
		hits[choice.replica->connector.b[0] - 1]++;
	}
	assert_in_range(hits[1], 2, 4);
}

/* Judged as if by answers, at times of the test's own making: only the states are looked at. */
static void judge(int i, bool ok, bool is_probe)
{
	const struct registry_verdict verdict = {
		.host = BYTES_LIT("app.test"),
		.host_key = registry_host_key(&tunnel.id, BYTES_LIT("app.test")),
		.is_probe = is_probe,
		.ok = ok,
	};

	registry_judge(replica[i].ts, &verdict);
}

static bool is_chosen(int i)
{
	for (int k = 0; k < 50; k++) {
		struct registry_choice choice;
		assert_true(choose_on(&workers[0], &tunnel.id, &choice));
		if (choice.replica->connector.b[0] == i + 1)
			return true;
	}
	return false;
}

static void the_last_one_is_not_left_out(void **state)
{
	struct registry_choice choice;

	up(0, &workers[0]);
	up(1, &workers[0]);
	for (int i = 0; i < 10; i++) {
		judge(0, false, false);
		judge(1, false, false);
	}
	/* One of them is out, the other one bears it all. */
	assert_true(choose_on(&workers[0], &tunnel.id, &choice));
	int stays = choice.replica->connector.b[0] - 1;
	assert_false(choice.is_probe);
	assert_false(is_chosen(1 - stays));
	/* When that one goes, somebody has to be asked all the same, and a good answer counts. */
	line_cut(&replica[stays]);
	assert_true(choose_on(&workers[0], &tunnel.id, &choice));
	assert_int_equal(choice.replica->connector.b[0] - 1, 1 - stays);
	assert_true(choice.is_probe);
	judge(1 - stays, true, true);
	assert_true(choose_on(&workers[0], &tunnel.id, &choice));
	assert_false(choice.is_probe);
}

static void backups_count_as_others(void **state)
{
	up(0, &workers[0]);
	facts[0] = "adit_backup";
	up(1, &workers[0]);
	assert_false(is_chosen(1));
	for (int i = 0; i < LIMIT_EJECT_FAILURES; i++)
		judge(0, false, false);
	assert_false(is_chosen(0));
	assert_true(is_chosen(1));
}

static void the_services_own_503_counts_where_it_is_asked_for(void **state)
{
	for (int counts = 0; counts < 2; counts++) {
		up(0, &workers[0]);
		up(1, &workers[0]);
		route.balance = (struct snapshot_balance){ BALANCE_ROUND_ROBIN, counts };
		for (int i = 0; i < 20; i++) {
			visit_get(&visit);
			struct call *c = next_call();
			int status = who(c) == 0 ? 503 : 200;
			answer_whole(c, status, "x");
			assert_got(&visit, status, "x");
			WAIT_FOR(visit.x->answerer_is_gone && !c->stream);
			leave(&visit);
			buf_done(&c->body);
			call_count = calls_taken = 0;
		}
		assert_int_equal(is_chosen(0), !counts);
		line_cut(&replica[0]);
		line_cut(&replica[1]);
	}
}

/* --- What connectors report ------------------------------------------------------------------ */

static void report(int i, int sequence, const char *state)
{
	char json[300];
	int told = reports_told;

	snprintf(json, sizeof(json),
		 "{\"adit\":{\"health\":{\"sequence\":%d,\"rules\":[{\"rule\":0,"
		 "\"hostname\":\"app.test\",\"state\":\"%s\"}]}}}",
		 sequence, state);
	assert_true(session_report(replica[i].connector, bytes_str(json)));
	WAIT_FOR(reports_told > told);
	let_it_turn(); /* every worker has been told */
}

static void a_replica_whose_service_is_down_is_skipped_on_all_workers(void **state)
{
	for (int far = 0; far < 2; far++) {
		up(0, &workers[far]);
		up(1, &workers[far]);
		report(0, 1, "unhealthy");
		assert_false(is_chosen(0));
		report(0, 2, "healthy");
		assert_true(is_chosen(0));
		report(0, 1, "unhealthy"); /* overtaken by another connection's */
		assert_true(is_chosen(0));
		report(0, 3, "unknown");
		assert_true(is_chosen(0));
		line_cut(&replica[0]);
		line_cut(&replica[1]);
	}
}

static void when_all_are_down_somebody_is_asked_all_the_same(void **state)
{
	int hits[REPLICAS];

	up(0, &workers[0]);
	up(1, &workers[1]);
	report(0, 1, "unhealthy");
	report(1, 1, "unhealthy");
	route.balance.policy = BALANCE_ROUND_ROBIN;
	ask_often(10, hits);
	assert_int_equal(hits[0], 5);
	assert_int_equal(hits[1], 5);
}

static void a_replica_that_comes_back_is_unknown_again(void **state)
{
	up(0, &workers[0]);
	up(1, &workers[0]);
	report(0, 5, "unhealthy");
	line_cut(&replica[0]);
	up(0, &workers[0]);
	assert_true(is_chosen(0));
	report(0, 1, "unhealthy");
	assert_false(is_chosen(0));
}

#define ON_REPLICAS(test) cmocka_unit_test_setup_teardown(test, start, stop_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_REPLICAS(a_replica_with_more_connections_gets_no_more),
		ON_REPLICAS(what_a_connector_says_about_itself_is_heard),
		ON_REPLICAS(weights_hold_over_all_workers),
		ON_REPLICAS(equals_take_turns_wherever_their_connections_are),
		ON_REPLICAS(a_request_counts_from_when_it_is_sent_across_until_it_ends),
		ON_REPLICAS(requests_under_way_count_wherever_they_are),
		ON_REPLICAS(a_client_stays_where_its_address_leads),
		ON_REPLICAS(backups_serve_when_nobody_else_does),
		ON_REPLICAS(a_cookie_keeps_a_visitor_with_a_replica),
		ON_REPLICAS(a_label_has_its_visitors_again_under_another_id),
		ON_REPLICAS(a_cookie_that_names_nobody_is_replaced),
		ON_REPLICAS(a_service_that_is_not_there_is_asked_for_elsewhere),
		ON_REPLICAS(from_here_to_there_and_back),
		ON_REPLICAS(what_the_service_has_seen_is_not_sent_again),
		ON_REPLICAS(a_body_too_long_to_keep_is_not_sent_again),
		ON_REPLICAS(three_services_that_are_not_there_are_enough),
		ON_REPLICAS(the_only_replica_is_asked_once),
		ON_REPLICAS(a_replica_that_leaves_is_chosen_by_nobody),
		ON_REPLICAS(a_connection_that_is_replaced_ends_what_it_has_begun),
		ON_REPLICAS(after_a_lost_connection_the_others_of_that_replica_wait),
		ON_REPLICAS(a_replica_whose_service_fails_is_left_out),
		ON_REPLICAS(the_last_one_is_not_left_out),
		ON_REPLICAS(backups_count_as_others),
		ON_REPLICAS(the_services_own_503_counts_where_it_is_asked_for),
		ON_REPLICAS(a_replica_whose_service_is_down_is_skipped_on_all_workers),
		ON_REPLICAS(when_all_are_down_somebody_is_asked_all_the_same),
		ON_REPLICAS(a_replica_that_comes_back_is_unknown_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
