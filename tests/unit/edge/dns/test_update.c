/* Updates as another name server gets them; what is done about its answers. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "edge/dns/update.h"
#include "edge/dns/update_message.h"
#include "store/store.h"
#include "unit/edge/dns/name_server.h"

#define RECORDS "A 203.0.113.7\nAAAA 2001:db8::7"

static const struct dns_tsig_key key = { "key.example", "hmac-sha256.",
					 "c2VjcmV0IG9mIDMyIGJ5dGVzLCBubyBsZXNzLCBvaw==" };

static struct loop *loop;
static struct name_server server;
static struct store *store;
static char dir[64], account[33];
static struct uuid zone, tunnel;
static struct address addresses[2];
static struct dns_updates *updates;
static int shown_count, shown_code;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void begin_updates(void)
{
	updates = dns_updates_new(store, loop, addresses, ARRAY_LEN(addresses));
}

static int start(void **state)
{
	struct store_tunnel t = { 0 };
	struct store_zone z = { 0 };
	char text[ADDRESS_TEXT_SIZE];

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/adit-test-updates-XXXXXX");
	assert_non_null(mkdtemp(dir));
	store = store_open(dir, true, NULL);
	assert_non_null(store);
	assert_int_equal(store_account_first(store, account, NULL), 0);
	assert_int_equal(store_tunnel_create(store, account, "home",
					     BYTES_LIT("0123456789abcdef0123456789abcdef"), &t,
					     NULL),
			 0);
	tunnel = t.id;
	store_tunnel_done(&t);
	assert_int_equal(store_zone_add(store, account, "example.com", &z, NULL), 0);
	zone = z.id;
	store_zone_done(&z);
	loop = loop_new(NULL);
	server = (struct name_server){ .key = &key, .answer_key = &key };
	name_server_start(&server, loop);
	address_text(&server.address, text);
	const struct store_dns_update u = { zone, NULL, text, (char *)"key.example", (char *)"", 60 };
	assert_int_equal(store_dns_update_put(store, &u, NULL), 0);
	assert_int_equal(address_parse(BYTES_LIT("203.0.113.7:0"), &addresses[0], NULL), 0);
	assert_int_equal(address_parse(BYTES_LIT("[2001:db8::7]:0"), &addresses[1], NULL), 0);
	shown_count = 0;
	begin_updates();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	dns_updates_free(updates);
	name_server_stop(&server);
	loop_free(loop);
	store_close(store);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

static void route(const char *name)
{
	enum store_route_change change;

	assert_int_equal(store_route_put(store, &zone, name, &tunnel, false, &change, NULL), 0);
}

static json_int_t count_of(const char *member)
{
	json_t *list = dns_updates_json(updates);
	const json_t *zones = json_object_get(list, "zones");
	const json_t *value = json_object_get(list, member);
	if (!value)
		value = json_object_get(json_array_get(zones, 0), member);
	json_int_t n = json_is_array(value) ? (json_int_t)json_array_size(value)
					    : json_integer_value(value);

	json_decref(list);
	return n;
}

static void stop_when_settled(struct timer *t)
{
	if (count_of("waiting") == 0)
		loop_stop(loop);
	else
		timer_set(t, 5);
}

static void settle(void)
{
	struct timer timer;

	timer_init(&timer, loop, stop_when_settled);
	timer_set(&timer, 20);
	loop_run(loop);
	timer_stop(&timer);
}

static void apply(void)
{
	assert_int_equal(dns_updates_apply(updates, &key, 1, NULL), 0);
	settle();
}

static char *there(void)
{
	struct store_dns_updated *list = NULL;
	size_t count = 0;
	char *text = NULL;

	assert_int_equal(store_dns_updated_list(store, &list, &count, NULL), 0);
	for (size_t i = 0; i < count; i++) {
		if (!text)
			text = mem_strdup(list[i].data);
		store_dns_updated_done(&list[i]);
	}
	mem_free(list);
	return text;
}

static void assert_there(const char *expected)
{
	char *text = there();

	if (expected)
		assert_string_equal(text, expected);
	else
		assert_null(text);
	mem_free(text);
}

/* Of a section: "A IN", "CNAME NONE", one a line. */
static void assert_section(size_t asked, ldns_pkt_section section, const char *expected)
{
	ldns_rr_list *list = ldns_pkt_get_section_clone(server.asked[asked], section);
	char text[512] = "";
	size_t len = 0;

	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		char *type = ldns_rr_type2str(ldns_rr_get_type(rr));
		char *class = ldns_rr_class2str(ldns_rr_get_class(rr));
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s %zu\n", type, class,
					ldns_rr_rd_count(rr));
		LDNS_FREE(type);
		LDNS_FREE(class);
	}
	assert_string_equal(text, expected);
	ldns_rr_list_deep_free(list);
}

static void test_a_route_is_added_where_nothing_is(void **state)
{
	(void)state;
	route("app.example.com");
	apply();
	assert_int_equal(server.count, 1);
	assert_int_equal(server.good, 1);
	assert_section(0, LDNS_SECTION_ANSWER, "A NONE 0\nAAAA NONE 0\nCNAME NONE 0\n");
	assert_section(0, LDNS_SECTION_AUTHORITY, "A IN 1\nAAAA IN 1\n");
	assert_int_equal(ldns_rr_ttl(ldns_rr_list_rr(ldns_pkt_authority(server.asked[0]), 0)), 60);
	assert_int_equal(count_of("current"), 1);
	assert_there(RECORDS);
	/* Nothing new: nothing is sent. */
	apply();
	assert_int_equal(server.count, 1);
}

static void test_a_route_that_goes_takes_only_our_records(void **state)
{
	(void)state;
	route("app.example.com");
	apply();
	assert_int_equal(store_tunnel_delete(store, account, &tunnel, NULL), 0);
	apply();
	assert_int_equal(server.count, 2);
	assert_section(1, LDNS_SECTION_ANSWER, "");
	assert_section(1, LDNS_SECTION_AUTHORITY, "A NONE 1\nAAAA NONE 1\n");
	assert_int_equal(count_of("current"), 0);
	assert_there(NULL);
}

static void test_after_a_restart_names_are_checked(void **state)
{
	(void)state;
	route("app.example.com");
	apply();
	dns_updates_free(updates);
	begin_updates();
	apply();
	assert_int_equal(server.count, 2);
	assert_section(1, LDNS_SECTION_ANSWER, "CNAME NONE 0\nA IN 1\nAAAA IN 1\n");
	assert_section(1, LDNS_SECTION_AUTHORITY, "");
	assert_int_equal(count_of("current"), 1);
}

static void test_records_that_are_lost_are_added_again(void **state)
{
	(void)state;
	route("app.example.com");
	apply();
	dns_updates_free(updates);
	begin_updates();
	server.rcodes[1] = LDNS_RCODE_NXRRSET;
	server.rcode_count = 2;
	apply();
	assert_int_equal(server.count, 3);
	assert_section(2, LDNS_SECTION_AUTHORITY, "A IN 1\nAAAA IN 1\n");
	assert_int_equal(count_of("current"), 1);
}

static void test_other_addresses_replace_exactly_ours(void **state)
{
	(void)state;
	route("app.example.com");
	apply();
	dns_updates_free(updates);
	updates = dns_updates_new(store, loop, addresses, 1);
	apply();
	assert_int_equal(server.count, 2);
	assert_section(1, LDNS_SECTION_ANSWER, "CNAME NONE 0\nA IN 1\nAAAA IN 1\n");
	assert_section(1, LDNS_SECTION_AUTHORITY, "A ANY 0\nAAAA ANY 0\nCNAME ANY 0\nA IN 1\n");
	assert_there("A 203.0.113.7");
}

static void test_records_of_others_are_a_conflict_until_overwriting_is_allowed(void **state)
{
	(void)state;
	route("app.example.com");
	server.rcodes[0] = LDNS_RCODE_YXRRSET;
	server.rcodes[1] = LDNS_RCODE_NXRRSET;
	server.rcode_count = 2;
	apply();
	assert_int_equal(server.count, 2);
	assert_section(1, LDNS_SECTION_AUTHORITY, "");
	assert_int_equal(count_of("troubles"), 1);
	apply();
	assert_int_equal(server.count, 2);
	assert_int_equal(store_dns_updated_allow(store, &zone, "app.example.com", NULL), 1);
	for (size_t i = 2; i < 5; i++)
		server.rcodes[i] = LDNS_RCODE_NXRRSET;
	server.rcode_count = 5;
	apply();
	/* Check, add, check, overwrite, check. */
	assert_int_equal(server.count, 7);
	assert_section(5, LDNS_SECTION_ANSWER, "");
	assert_section(5, LDNS_SECTION_AUTHORITY,
		       "A ANY 0\nAAAA ANY 0\nCNAME ANY 0\nA IN 1\nAAAA IN 1\n");
	assert_int_equal(count_of("current"), 1);
}

static void test_a_refusal_is_said_with_its_code(void **state)
{
	(void)state;
	route("app.example.com");
	server.rcode = LDNS_RCODE_REFUSED;
	apply();
	assert_int_equal(server.count, 1);
	json_t *list = dns_updates_json(updates);
	json_t *trouble = json_array_get(json_object_get(list, "troubles"), 0);
	assert_string_equal(json_string_value(json_object_get(trouble, "state")), "failed");
	assert_non_null(strstr(json_string_value(json_object_get(trouble, "error")), "REFUSED"));
	json_decref(list);
}

static void test_a_missing_key_is_said(void **state)
{
	(void)state;
	route("app.example.com");
	assert_int_equal(dns_updates_apply(updates, NULL, 0, NULL), 0);
	assert_int_equal(count_of("troubles"), 1);
	assert_int_equal(server.count, 0);
}

static void test_a_target_makes_aliases_which_share_their_name_with_nothing(void **state)
{
	char text[ADDRESS_TEXT_SIZE];
	const struct store_dns_update u = { zone,
					    NULL,
					    address_text(&server.address, text),
					    (char *)"key.example",
					    (char *)"edge.example.net",
					    60 };

	(void)state;
	assert_int_equal(store_dns_update_put(store, &u, NULL), 0);
	route("app.example.com");
	apply();
	assert_section(0, LDNS_SECTION_ANSWER, "ANY NONE 0\n");
	assert_section(0, LDNS_SECTION_AUTHORITY, "CNAME IN 1\n");
	assert_there("CNAME edge.example.net.");
}

static void on_shown(void *arg, const struct err *err)
{
	(void)arg;
	shown_count++;
	shown_code = err ? err->code : 0;
}

static void test_challenges_come_and_go_beside_others(void **state)
{
	const struct dns_record list[] = {
		{ "_acme-challenge.example.com", "TXT", "\"one\"", 0 },
		{ "_acme-challenge.example.com", "TXT", "\"two\"", 0 },
		{ "_acme-challenge.example.net", "TXT", "\"elsewhere\"", 0 },
	};

	(void)state;
	apply();
	dns_updates_set_challenges(updates, list, 3, on_shown, NULL);
	assert_int_equal(shown_count, 0);
	settle();
	assert_int_equal(shown_count, 1);
	assert_int_equal(shown_code, 0);
	assert_section(0, LDNS_SECTION_ANSWER, "");
	assert_section(0, LDNS_SECTION_AUTHORITY, "TXT IN 1\nTXT IN 1\n");
	dns_updates_set_challenges(updates, NULL, 0, NULL, NULL);
	settle();
	assert_int_equal(server.count, 2);
	assert_section(1, LDNS_SECTION_AUTHORITY, "TXT NONE 1\nTXT NONE 1\n");
	assert_there(NULL);
}

static void test_challenges_of_a_run_that_crashed_are_removed(void **state)
{
	(void)state;
	assert_int_equal(store_dns_updated_put(store, &zone, "_acme-challenge.example.com",
					       "TXT \"old\"", false, NULL),
			 0);
	apply();
	assert_int_equal(server.count, 1);
	assert_section(0, LDNS_SECTION_AUTHORITY, "TXT NONE 1\n");
	assert_there(NULL);
}

static void test_a_challenge_that_fails_says_why(void **state)
{
	const struct dns_record record = { "_acme-challenge.example.com", "TXT", "\"one\"", 0 };

	(void)state;
	apply();
	server.rcode = LDNS_RCODE_REFUSED;
	dns_updates_set_challenges(updates, &record, 1, on_shown, NULL);
	settle();
	assert_int_equal(shown_count, 1);
	assert_int_equal(shown_code, E_REFUSED);
}

static void test_nothing_is_sent_while_another_process_serves(void **state)
{
	(void)state;
	dns_updates_pause(updates, true);
	route("app.example.com");
	assert_int_equal(dns_updates_apply(updates, &key, 1, NULL), 0);
	assert_int_equal(count_of("waiting"), 1);
	dns_updates_pause(updates, false);
	settle();
	assert_int_equal(server.count, 1);
}

static void test_texts_that_are_no_records_are_refused(void **state)
{
	const struct dns_update u = { "example.com", "a.example.com", "", "A nonsense", 60 };
	struct err err = { 0 };

	(void)state;
	assert_null(dns_update_message(&u, DNS_UPDATE_ADD, &err));
	assert_int_equal(err.code, E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
		T(test_a_route_is_added_where_nothing_is),
		T(test_a_route_that_goes_takes_only_our_records),
		T(test_after_a_restart_names_are_checked),
		T(test_records_that_are_lost_are_added_again),
		T(test_other_addresses_replace_exactly_ours),
		T(test_records_of_others_are_a_conflict_until_overwriting_is_allowed),
		T(test_a_refusal_is_said_with_its_code),
		T(test_a_missing_key_is_said),
		T(test_a_target_makes_aliases_which_share_their_name_with_nothing),
		T(test_challenges_come_and_go_beside_others),
		T(test_challenges_of_a_run_that_crashed_are_removed),
		T(test_a_challenge_that_fails_says_why),
		T(test_nothing_is_sent_while_another_process_serves),
		T(test_texts_that_are_no_records_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
