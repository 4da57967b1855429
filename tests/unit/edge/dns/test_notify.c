/* Secondaries are told of new serials, each once, signed where they have a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "edge/dns/notify.h"
#include "unit/edge/dns/name_server.h"

static const struct dns_tsig_key key = { "key.example", "hmac-sha256.",
					 "c2VjcmV0IG9mIDMyIGJ5dGVzLCBubyBsZXNzLCBvaw==" };

static struct loop *loop;
static struct name_server server;
static struct dns_peer secondary;
static struct dns_notifier *notifier;

static int start(void **state)
{
	(void)state;
	loop = loop_new(NULL);
	server = (struct name_server){ .key = &key, .answer_key = &key };
	name_server_start(&server, loop);
	secondary = (struct dns_peer){ .key = "key.example", .notify = server.address };
	notifier = dns_notifier_new(loop);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	dns_notifier_free(notifier);
	name_server_stop(&server);
	loop_free(loop);
	return 0;
}

static struct dns_zones *zones(uint32_t first, uint32_t second)
{
	static struct address address;
	static const char *const servers[] = { "ns1.example.com" };
	static const char *const names[] = { "example.com", "example.net" };
	const uint32_t serials[] = { first, second };
	struct dns_zone *list[2];
	size_t count = 0;

	assert_int_equal(address_parse(BYTES_LIT("203.0.113.7:443"), &address, NULL), 0);
	for (size_t i = 0; i < 2; i++) {
		const struct dns_zone_facts facts = {
			.name = names[i],
			.serial = serials[i],
			.name_servers = servers,
			.name_server_count = 1,
			.addresses = &address,
			.address_count = 1,
			.now = clock_wall_now(),
		};
		if (serials[i])
			list[count++] = dns_zone_build(&facts, NULL, NULL);
	}
	return dns_zones_new(list, count);
}

static void give(struct dns_zones *z)
{
	struct dns_peers *peers = dns_peers_new(&key, 1, &secondary, 1);

	dns_notifier_zones(notifier, z, peers);
	dns_peers_unref(peers);
	dns_zones_unref(z);
}

static char state_of(const char *zone)
{
	json_t *list = dns_notifier_json(notifier), *item;
	char state = 0;
	size_t i;

	json_array_foreach(
		list, i, item) if (strcmp(json_string_value(json_object_get(item, "zone")), zone) ==
				   0) state = json_string_value(json_object_get(item, "state"))[0];
	json_decref(list);
	return state;
}

static void stop_when_settled(struct timer *t)
{
	if (state_of("example.com") != 'a' && state_of("example.net") != 'a')
		loop_stop(loop);
	else
		timer_set(t, 5);
}

static void tell(uint32_t first, uint32_t second)
{
	struct timer timer;

	give(zones(first, second));
	timer_init(&timer, loop, stop_when_settled);
	timer_set(&timer, 5);
	loop_run(loop);
	timer_stop(&timer);
}

static void test_all_zones_at_first_then_those_with_a_new_serial(void **state)
{
	(void)state;
	tell(7, 8);
	assert_int_equal(server.count, 2);
	assert_int_equal(server.good, 2);
	assert_int_equal(state_of("example.com"), 'c');
	tell(7, 9);
	assert_int_equal(server.count, 3);
	const ldns_pkt *p = server.asked[2];
	assert_int_equal(ldns_pkt_get_opcode(p), LDNS_PACKET_NOTIFY);
	assert_true(ldns_pkt_aa(p));
	assert_int_equal(ldns_pkt_ancount(p), 1);
	const ldns_rr *soa = ldns_rr_list_rr(ldns_pkt_answer(p), 0);
	assert_int_equal(ldns_rdf2native_int32(ldns_rr_rdf(soa, 2)), 9);
	tell(7, 9);
	assert_int_equal(server.count, 3);
}

static void test_zones_that_are_gone_are_forgotten(void **state)
{
	(void)state;
	tell(7, 8);
	tell(7, 0);
	assert_int_equal(state_of("example.net"), 0);
	tell(7, 8);
	assert_int_equal(server.count, 3);
}

static void test_a_refusal_is_said(void **state)
{
	int64_t before = metric_get(&metric_dns_notifies[1]);

	(void)state;
	server.rcode = LDNS_RCODE_REFUSED;
	tell(7, 0);
	assert_int_equal(state_of("example.com"), 'f');
	assert_int_equal(metric_get(&metric_dns_notifies[1]), before + 1);
	json_t *list = dns_notifier_json(notifier);
	const char *text = json_string_value(json_object_get(json_array_get(list, 0), "error"));
	assert_non_null(strstr(text, "REFUSED"));
	json_decref(list);
}

static void test_what_is_under_way_about_an_older_serial_is_dropped(void **state)
{
	(void)state;
	give(zones(7, 0));
	tell(8, 0);
	assert_int_equal(server.count, 1);
	const ldns_rr *soa = ldns_rr_list_rr(ldns_pkt_answer(server.asked[0]), 0);
	assert_int_equal(ldns_rdf2native_int32(ldns_rr_rdf(soa, 2)), 8);
}

static void test_a_secondary_that_is_new_is_told_of_all_others_of_nothing(void **state)
{
	(void)state;
	tell(7, 8);
	tell(7, 8);
	assert_int_equal(server.count, 2);
	struct address address = secondary.notify;
	secondary.notify.len = 0;
	tell(7, 8);
	assert_int_equal(state_of("example.com"), 0);
	secondary.notify = address;
	tell(7, 8);
	assert_int_equal(server.count, 4);
}

static void test_who_has_no_address_is_not_told(void **state)
{
	(void)state;
	secondary.notify.len = 0;
	tell(7, 8);
	assert_int_equal(server.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_all_zones_at_first_then_those_with_a_new_serial, start, stop),
		cmocka_unit_test_setup_teardown(test_zones_that_are_gone_are_forgotten, start, stop),
		cmocka_unit_test_setup_teardown(test_a_refusal_is_said, start, stop),
		cmocka_unit_test_setup_teardown(
			test_what_is_under_way_about_an_older_serial_is_dropped, start, stop),
		cmocka_unit_test_setup_teardown(
			test_a_secondary_that_is_new_is_told_of_all_others_of_nothing, start, stop),
		cmocka_unit_test_setup_teardown(test_who_has_no_address_is_not_told, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
