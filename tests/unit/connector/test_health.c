/* Checks of services, on a service that the test scripts. */
#include "unit/connector/service.h"

#include "base/log.h"
#include "base/metrics.h"
#include "connector/connector_metrics.h"
#include "connector/origin/health.h"

static struct health *health;
static int changes;
static bool is_deaf; /* whoever should tell the edge cannot */

static bool on_changed(void *ctx)
{
	assert_ptr_equal(ctx, &changes);
	changes++;
	happened();
	return !is_deaf;
}

static const struct health_events events = { .on_changed = on_changed };

/* Rules on the service; "@" is its address. Checks follow each other faster than any file may ask. */
static void use_rules(const char *rules)
{
	char text[2000] = "", address[ADDRESS_TEXT_SIZE];
	const struct yaml_node *place;
	struct err err = { 0 };

	address_text(&service_address, address);
	for (size_t len = 0; *rules; len = strlen(text)) {
		size_t before = strcspn(rules, "@");
		snprintf(text + len, sizeof(text) - len, "%.*s%s", (int)before, rules,
			 rules[before] ? address : "");
		rules += before + (rules[before] == '@');
	}
	struct yaml_doc *doc = yaml_parse(bytes_str(text), "config.yml", &err);
	struct ingress *in = doc ? ingress_parse(yaml_root(doc), INGRESS_YAML, &place, &err) : NULL;
	if (!in)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < ingress_count(in); i++) {
		struct ingress_health *h =
			(struct ingress_health *)(uintptr_t)&ingress_rule(in, i)->health;
		h->interval = 20 * USEC_PER_MSEC;
	}
	origin_set_unref(set);
	set = origin_set_new(loop, in, &err);
	assert_non_null(set);
	ingress_unref(in);
	yaml_free(doc);
}

static void begin(const char *rules)
{
	listener = raw_listener("127.0.0.1", 0, 100, &service_address);
	set_nonblocking(listener);
	use_rules(rules);
	health = health_new(loop, set, NULL, &events, &changes);
	assert_int_equal(changes, 0); /* never inside the call */
}

static int start_health(void **state)
{
	log_setup(LOG_FATAL, LOG_CONSOLE);
	changes = 0;
	is_deaf = false;
	return start(state);
}

static int stop_health(void **state)
{
	health = health_free(health);
	return stop(state);
}

/* One check over HTTP, on a connection of its own. */
static void answer_check(const char *answer)
{
	if (service >= 0)
		close_service();
	accept_service();
	const char *head = hear_head(service);
	assert_non_null(strstr(head, "GET "));
	say(service, answer);
	close_service();
}

static void wait_state(enum health_state state)
{
	WAIT_FOR(health_state_of(health, 0) == state);
}

static char *report_text(void)
{
	struct buf b;

	buf_init(&b, LIMIT_HEALTH_REPORT_BYTES);
	assert_int_equal(health_report(health, &b), 0);
	char *text = buf_take_str(&b);
	buf_done(&b);
	return text;
}

static int64_t metric_now(void)
{
	const struct ingress_rule *rule = ingress_rule(origin_set_ingress(set), 0);

	return metric_get(connector_metrics_service_up(rule->label, rule->service));
}

#define CATCH_ALL "- service: http_status:404\n"
#define HTTP_RULE                                                      \
	"ingress:\n- hostname: app.example.com\n  service: http://@\n" \
	"  healthCheck: {path: /healthz, expectedCodes: '200-204', timeout: 10s}\n" CATCH_ALL
#define GOOD "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
#define BAD "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

/* ---------------------------------------------------------------------------------------------- */

static void a_service_is_asked_as_a_visitor_would(void **state)
{
	begin("ingress:\n- hostname: app.example.com\n  service: http://@\n"
	      "  originRequest: {setHeaders: {Authorization: Basic eDp5}}\n"
	      "  healthCheck: {path: '/healthz?deep'}\n" CATCH_ALL);
	accept_service();
	const char *head = hear_head(service);
	assert_non_null(strstr(head, "GET /healthz?deep HTTP/1.1\r\n"));
	assert_non_null(strstr(head, "Host: app.example.com\r\n"));
	assert_non_null(strstr(head, "User-Agent: adit-health-check/"));
	assert_non_null(strstr(head, "Authorization: Basic eDp5\r\n"));
	say(service, GOOD);
	wait_state(HEALTH_UP);
}

static void the_first_good_answer_is_enough(void **state)
{
	begin(HTTP_RULE);
	assert_int_equal(health_state_of(health, 0), HEALTH_UNKNOWN);
	WAIT_FOR(changes == 1); /* that there are checks */
	assert_int_equal(metric_now(), -1);
	answer_check(GOOD);
	wait_state(HEALTH_UP);
	WAIT_FOR(changes == 2);
	assert_int_equal(metric_now(), 1);
}

static void bad_answers_in_a_row_take_it_down_and_good_ones_bring_it_back(void **state)
{
	begin(HTTP_RULE);
	answer_check(GOOD);
	wait_state(HEALTH_UP);
	for (int i = 0; i < 3; i++) {
		answer_check(BAD);
		answer_check(GOOD);
	}
	assert_int_equal(health_state_of(health, 0), HEALTH_UP);
	answer_check(BAD);
	answer_check(BAD);
	wait_state(HEALTH_DOWN);
	WAIT_FOR(metric_now() == 0);
	char *text = report_text();
	assert_non_null(
		strstr(text, "\"state\":\"unhealthy\",\"error\":\"answered with status 503\""));
	mem_free(text);
	answer_check(GOOD);
	answer_check(BAD);
	answer_check(GOOD);
	assert_int_equal(health_state_of(health, 0), HEALTH_DOWN);
	answer_check(GOOD);
	wait_state(HEALTH_UP);
	text = report_text();
	assert_non_null(strstr(text, "\"state\":\"healthy\",\"error\":\"\""));
	mem_free(text);
}

static void nobody_there_is_down(void **state)
{
	begin(HTTP_RULE);
	close(listener);
	listener = -1;
	wait_state(HEALTH_DOWN);
	char *text = report_text();
	assert_non_null(strstr(text, "Connection refused"));
	mem_free(text);
}

static void silence_is_down(void **state)
{
	begin("ingress:\n- hostname: app.example.com\n  service: http://@\n"
	      "  healthCheck: {timeout: 5ms}\n" CATCH_ALL);
	wait_state(HEALTH_DOWN);
	char *text = report_text();
	assert_non_null(strstr(text, "\"error\":\"no answer within 5ms\""));
	mem_free(text);
}

static void a_page_without_end_is_not_read_to_its_end(void **state)
{
	static char part[8192];

	begin(HTTP_RULE);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	for (int i = 0; i < 9; i++)
		say_bytes(service, bytes_of(part, sizeof(part)));
	wait_state(HEALTH_UP);
	hear_the_end(service);
}

static void a_connection_is_kept_for_the_next_check(void **state)
{
	begin(HTTP_RULE);
	accept_service();
	for (int i = 0; i < 4; i++) {
		hear_head(service);
		say(service, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	}
	assert_nobody_connects();
}

static void tcp_services_are_connected_to(void **state)
{
	begin("ingress:\n- hostname: db.example.com\n  service: tcp://@\n"
	      "  healthCheck: {threshold: 1}\n" CATCH_ALL);
	wait_state(HEALTH_UP);
	close(listener);
	listener = -1;
	wait_state(HEALTH_DOWN);
}

static void what_could_not_be_told_is_told_again(void **state)
{
	begin(HTTP_RULE);
	is_deaf = true;
	WAIT_FOR(changes == 2);
	is_deaf = false;
	WAIT_FOR(changes == 3);
}

static void rules_without_checks_have_nothing_to_say(void **state)
{
	begin("ingress:\n- hostname: a.example.com\n  service: http://@\n" CATCH_ALL);
	assert_int_equal(health_count(health), 0);
	let_it_turn();
	assert_int_equal(changes, 0);
}

static void new_rules_keep_what_is_known_of_the_same_service(void **state)
{
	begin(HTTP_RULE);
	answer_check(GOOD);
	wait_state(HEALTH_UP);
	char *text = report_text();
	json_t *old = json_loads(text, 0, NULL);
	mem_free(text);

	struct health *before = health;
	use_rules("ingress:\n- hostname: new.example.com\n  service: http://@\n"
		  "  healthCheck: {path: /healthz}\n"
		  "- hostname: app.example.com\n  service: http://@\n"
		  "  healthCheck: {path: /healthz}\n" CATCH_ALL);
	int seen = changes;
	health = health_new(loop, set, before, &events, &changes);
	health_free(before);
	assert_int_equal(health_state_of(health, 0), HEALTH_UNKNOWN);
	assert_int_equal(health_state_of(health, 1), HEALTH_UP);
	WAIT_FOR(changes > seen);
	text = report_text();
	json_t *now = json_loads(text, 0, NULL);
	mem_free(text);
	json_t *a = json_object_get(json_object_get(old, "adit"), "health");
	json_t *b = json_object_get(json_object_get(now, "adit"), "health");
	assert_true(json_integer_value(json_object_get(b, "sequence")) >
		    json_integer_value(json_object_get(a, "sequence")));
	json_decref(old);
	json_decref(now);

	/* And none at all is news, too. */
	before = health;
	use_rules("ingress:\n" CATCH_ALL);
	seen = changes;
	health = health_new(loop, set, before, &events, &changes);
	health_free(before);
	WAIT_FOR(changes > seen);
	text = report_text();
	assert_non_null(strstr(text, "\"rules\":[]"));
	mem_free(text);
}

static void a_report_names_who_comes_before_a_checked_rule(void **state)
{
	begin("ingress:\n"
	      "- hostname: elsewhere.test\n  service: http_status:200\n"
	      "- hostname: a.example.com\n  service: http_status:200\n"
	      "- hostname: '*.b.example.com'\n  service: http_status:200\n"
	      "- hostname: '*.example.com'\n  service: http://@\n  healthCheck: {}\n"
	      "- hostname: c.example.com\n  service: http_status:200\n" CATCH_ALL);
	char *text = report_text();
	json_t *report = json_loads(text, 0, NULL);
	json_t *rules = json_object_get(json_object_get(json_object_get(report, "adit"), "health"),
					"rules");
	static const char *const wanted[][2] = {
		{ "a.example.com", "unchecked" },
		{ "*.b.example.com", "unchecked" },
		{ "*.example.com", "unknown" },
	};
	assert_int_equal(strncmp(text, "{\"adit\":", 8), 0); /* the edge looks for that */
	assert_int_equal(json_array_size(rules), ARRAY_LEN(wanted));
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		json_t *rule = json_array_get(rules, i);
		assert_string_equal(json_string_value(json_object_get(rule, "hostname")),
				    wanted[i][0]);
		assert_string_equal(json_string_value(json_object_get(rule, "state")), wanted[i][1]);
	}
	json_decref(report);
	mem_free(text);
	json_t *shown = health_json(health);
	assert_int_equal(json_array_size(shown), 1);
	json_decref(shown);
}

static void international_names_are_reported_in_punycode(void **state)
{
	begin("ingress:\n- hostname: '*.b\xc3\xbc"
	      "cher.example'\n  service: http://@\n  healthCheck: {}\n" CATCH_ALL);
	char *text = report_text();
	assert_non_null(strstr(text, "\"hostname\":\"*.xn--bcher-kva.example\""));
	mem_free(text);
}

static void checks_under_way_may_be_given_up(void **state)
{
	begin(HTTP_RULE);
	accept_service();
	hear_head(service);
	health = health_free(health);
	let_it_turn();
	assert_int_equal(exchange_live_count(), 0);
}

#define CHECKED(test) cmocka_unit_test_setup_teardown(test, start_health, stop_health)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHECKED(rules_without_checks_have_nothing_to_say),
		CHECKED(a_service_is_asked_as_a_visitor_would),
		CHECKED(the_first_good_answer_is_enough),
		CHECKED(bad_answers_in_a_row_take_it_down_and_good_ones_bring_it_back),
		CHECKED(nobody_there_is_down),
		CHECKED(silence_is_down),
		CHECKED(a_page_without_end_is_not_read_to_its_end),
		CHECKED(a_connection_is_kept_for_the_next_check),
		CHECKED(tcp_services_are_connected_to),
		CHECKED(what_could_not_be_told_is_told_again),
		CHECKED(new_rules_keep_what_is_known_of_the_same_service),
		CHECKED(a_report_names_who_comes_before_a_checked_rule),
		CHECKED(international_names_are_reported_in_punycode),
		CHECKED(checks_under_way_may_be_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
