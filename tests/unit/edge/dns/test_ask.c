/* Questions to a name server that answers well, late, wrongly, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "edge/dns/ask.h"
#include "unit/edge/dns/name_server.h"

static const struct dns_tsig_key key = { "key.example", "hmac-sha256.",
					 "c2VjcmV0IG9mIDMyIGJ5dGVzLCBubyBsZXNzLCBvaw==" };
static const struct dns_tsig_key other_secret = { "key.example", "hmac-sha256.",
						  "YW5vdGhlciBzZWNyZXQsIHdoaWNoIGlzIHdyb25nISE=" };

static struct loop *loop;
static struct name_server server;
static int got;
static struct err why;

static int start(void **state)
{
	(void)state;
	loop = loop_new(NULL);
	server = (struct name_server){ 0 };
	name_server_start(&server, loop);
	return loop ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	name_server_stop(&server);
	loop_free(loop);
	return 0;
}

static void on_done(void *ctx, int rcode, const struct err *err)
{
	(void)ctx;
	got = rcode;
	why = err ? *err : (struct err){ 0 };
	loop_stop(loop);
}

static ldns_pkt *question(void)
{
	ldns_pkt *p = ldns_pkt_new();
	ldns_rr *rr = ldns_rr_new();

	ldns_rr_set_question(rr, true);
	ldns_rr_set_owner(rr, ldns_dname_new_frm_str("example.com"));
	ldns_rr_set_type(rr, LDNS_RR_TYPE_SOA);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	ldns_pkt_set_opcode(p, LDNS_PACKET_UPDATE);
	ldns_pkt_push_rr(p, LDNS_SECTION_QUESTION, rr);
	return p;
}

static void ask(const struct dns_tsig_key *with, unsigned attempts)
{
	const struct dns_asking how = { &server.address, with, attempts, 20 };

	got = -2;
	struct dns_ask *a = dns_ask_new(loop, &how, question(), on_done, NULL);
	loop_run(loop);
	dns_ask_free(a);
}

static void test_an_answer_ends_it(void **state)
{
	(void)state;
	server.rcode = LDNS_RCODE_REFUSED;
	ask(NULL, 3);
	assert_int_equal(got, LDNS_RCODE_REFUSED);
	assert_int_equal(server.count, 1);
}

static void test_it_is_asked_again_until_then(void **state)
{
	(void)state;
	server.ignores = 3;
	ask(NULL, 6);
	assert_int_equal(got, LDNS_RCODE_NOERROR);
	assert_true(server.count >= 4);
}

static void test_silence_is_a_timeout(void **state)
{
	(void)state;
	server.ignores = ASKED_MAX;
	ask(NULL, 3);
	assert_int_equal(got, -1);
	assert_int_equal(why.code, E_TIMEOUT);
	assert_int_equal(server.count, 3);
}

static void test_answers_with_another_id_do_not_count(void **state)
{
	(void)state;
	server.change_id = 1;
	ask(NULL, 2);
	assert_int_equal(got, -1);
	assert_int_equal(why.code, E_TIMEOUT);
}

static void test_questions_and_answers_are_signed(void **state)
{
	(void)state;
	server.key = &key;
	server.answer_key = &key;
	ask(&key, 2);
	assert_int_equal(got, LDNS_RCODE_NOERROR);
	assert_int_equal(server.good, 1);
}

static void test_unsigned_answers_do_not_count_but_say_why(void **state)
{
	(void)state;
	server.rcode = 9;
	ask(&key, 2);
	assert_int_equal(got, -1);
	assert_int_equal(why.code, E_DENIED);
	assert_non_null(strstr(why.text, "NOTAUTH"));
}

static void test_answers_signed_with_another_secret_do_not_count(void **state)
{
	(void)state;
	server.key = &key;
	server.answer_key = &other_secret;
	ask(&key, 2);
	assert_int_equal(got, -1);
	assert_int_equal(why.code, E_DENIED);
}

static void test_a_closed_port_is_named(void **state)
{
	struct address address = server.address;
	const struct dns_asking how = { &address, NULL, 2, 20 };

	(void)state;
	name_server_stop(&server);
	struct dns_ask *a = dns_ask_new(loop, &how, question(), on_done, NULL);
	loop_run(loop);
	dns_ask_free(a);
	assert_int_equal(got, -1);
	assert_int_equal(why.code, E_REFUSED);
	server = (struct name_server){ 0 };
	name_server_start(&server, loop);
}

static void test_codes_have_words(void **state)
{
	(void)state;
	assert_string_equal(dns_rcode_name(9), "NOTAUTH");
	assert_string_equal(dns_rcode_name(17), "BADKEY");
	assert_non_null(dns_rcode_meaning(5));
	assert_non_null(dns_rcode_name(4095));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_an_answer_ends_it, start, stop),
		cmocka_unit_test_setup_teardown(test_it_is_asked_again_until_then, start, stop),
		cmocka_unit_test_setup_teardown(test_silence_is_a_timeout, start, stop),
		cmocka_unit_test_setup_teardown(test_answers_with_another_id_do_not_count, start,
						stop),
		cmocka_unit_test_setup_teardown(test_questions_and_answers_are_signed, start, stop),
		cmocka_unit_test_setup_teardown(test_unsigned_answers_do_not_count_but_say_why,
						start, stop),
		cmocka_unit_test_setup_teardown(
			test_answers_signed_with_another_secret_do_not_count, start, stop),
		cmocka_unit_test_setup_teardown(test_a_closed_port_is_named, start, stop),
		cmocka_unit_test(test_codes_have_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
