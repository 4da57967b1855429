/* Signatures of messages, and what the library makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <ldns/ldns.h>

#include "base/check.h"
#include "base/mem.h"
#include "edge/dns/tsig.h"
#include "edge/dns/tsig_record.h"

#define SECRET "c2VjcmV0IG9mIDMyIGJ5dGVzLCBubyBsZXNzLCBvaw=="

static const struct dns_tsig_key keys[] = {
	{ "key.example", "hmac-sha256.", SECRET },
	{ "512.example.com", "hmac-sha512.", SECRET },
	{ "384.example.com", "hmac-sha384.", SECRET },
	{ "224.example.com", "hmac-sha224.", SECRET },
	{ "1.example.com", "hmac-sha1.", SECRET },
};

struct signed_message {
	uint8_t wire[512];
	size_t len;
	struct dns_tsig_mac mac;
};

/* `mac`: of what it answers; NULL: it is a question. */
static struct signed_message sign_at(const struct dns_tsig_key *k, const struct dns_tsig_mac *mac,
				     usec now)
{
	static const uint8_t plain[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\6\0\1";
	struct signed_message m = { .len = sizeof(plain) - 1 };

	if (mac)
		m.mac = *mac;
	memcpy(m.wire, plain, m.len);
	BUG_IF(!dns_tsig_sign(m.wire, &m.len, sizeof(m.wire), k, now, &m.mac, false));
	return m;
}

static struct signed_message sign(const struct dns_tsig_key *k, const struct dns_tsig_mac *mac)
{
	return sign_at(k, mac, clock_wall_now());
}

static enum dns_tsig check_at(const struct signed_message *m, usec now)
{
	const struct dns_tsig_key *key = NULL;
	struct dns_tsig_mac mac = { .len = 0 };
	enum dns_tsig verdict =
		dns_tsig_verify(bytes_of(m->wire, m->len), keys, ARRAY_LEN(keys), now, &key, &mac);

	if (verdict == DNS_TSIG_GOOD) {
		assert_int_equal(mac.len, m->mac.len);
		assert_memory_equal(mac.bytes, m->mac.bytes, mac.len);
	}
	return verdict;
}

static enum dns_tsig check(const struct signed_message *m)
{
	return check_at(m, clock_wall_now());
}

static void test_every_algorithm(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct signed_message m = sign(&keys[i], NULL);
		assert_int_equal(check(&m), DNS_TSIG_GOOD);
	}
}

static void test_the_id_may_be_changed_by_forwarders(void **state)
{
	struct signed_message m = sign(&keys[0], NULL);

	(void)state;
	m.wire[0] ^= 0xff;
	assert_int_equal(check(&m), DNS_TSIG_GOOD);
}

static void test_any_other_byte_counts(void **state)
{
	struct signed_message m = sign(&keys[0], NULL);

	(void)state;
	for (size_t i = 2; i < m.len; i++) {
		m.wire[i] ^= 1;
		assert_int_not_equal(check(&m), DNS_TSIG_GOOD);
		m.wire[i] ^= 1;
	}
	assert_int_equal(check(&m), DNS_TSIG_GOOD);
}

static void test_every_shorter_message_is_refused(void **state)
{
	struct signed_message m = sign(&keys[0], NULL);

	(void)state;
	for (size_t len = 0; len < m.len; len++) {
		const struct dns_tsig_key *key = NULL;
		struct dns_tsig_mac mac;
		/* Of its own size: a byte too far is found by the sanitizer. */
		uint8_t *cut = mem_alloc(len + 1);
		memcpy(cut, m.wire, len);
		assert_int_equal(dns_tsig_verify(bytes_of(cut, len), keys, ARRAY_LEN(keys),
						 clock_wall_now(), &key, &mac),
				 DNS_TSIG_BAD_FORM);
		mem_free(cut);
	}
}

static void test_a_cut_mac_is_refused(void **state)
{
	struct signed_message m = sign(&keys[0], NULL);
	struct dns_tsig_record t;

	(void)state;
	assert_int_equal(dns_tsig_find(bytes_of(m.wire, m.len), &t), DNS_TSIG_PRESENT);
	assert_int_equal(t.mac.len, 32);
	size_t at = (size_t)(t.mac.ptr - m.wire);
	/* One byte of it is gone, lengths are right. */
	memmove(m.wire + at + 31, m.wire + at + 32, m.len - at - 32);
	m.len--;
	m.wire[at - 1]--;
	m.wire[t.at + t.name.len + 9]--;
	assert_int_equal(dns_tsig_find(bytes_of(m.wire, m.len), &t), DNS_TSIG_PRESENT);
	assert_int_equal(t.mac.len, 31);
	assert_int_equal(check(&m), DNS_TSIG_BAD_MAC);
}

static void test_it_is_good_for_five_minutes(void **state)
{
	struct signed_message m = sign(&keys[0], NULL);
	usec now = clock_wall_now();

	(void)state;
	assert_int_equal(check_at(&m, now + 290 * USEC_PER_SEC), DNS_TSIG_GOOD);
	assert_int_equal(check_at(&m, now - 290 * USEC_PER_SEC), DNS_TSIG_GOOD);
	assert_int_equal(check_at(&m, now + 310 * USEC_PER_SEC), DNS_TSIG_BAD_TIME);
	assert_int_equal(check_at(&m, now - 310 * USEC_PER_SEC), DNS_TSIG_BAD_TIME);
}

static void test_other_keys_are_refused(void **state)
{
	const struct dns_tsig_key unknown = { "other.example", "hmac-sha256.", SECRET };
	const struct dns_tsig_key other_secret = { "key.example", "hmac-sha256.",
						   "YW5vdGhlciBzZWNyZXQsIHdoaWNoIGlzIHdyb25nISE=" };
	const struct dns_tsig_key other_algorithm = { "key.example", "hmac-sha512.", SECRET };
	const struct {
		const struct dns_tsig_key *key;
		enum dns_tsig verdict;
	} wrong[] = {
		{ &unknown, DNS_TSIG_BAD_KEY },
		{ &other_secret, DNS_TSIG_BAD_MAC },
		{ &other_algorithm, DNS_TSIG_BAD_KEY },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct signed_message m = sign(wrong[i].key, NULL);
		assert_int_equal(check(&m), wrong[i].verdict);
	}
}

static void test_a_message_without_is_not_signed(void **state)
{
	struct signed_message m = { .wire = { 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1 },
				    .len = 17 };

	(void)state;
	assert_int_equal(check(&m), DNS_TSIG_NONE);
}

static void test_an_answer_builds_on_its_question(void **state)
{
	struct signed_message question = sign(&keys[0], NULL);
	struct signed_message other = sign(&keys[1], NULL);
	struct signed_message answer = sign(&keys[0], &question.mac);
	struct bytes wire = bytes_of(answer.wire, answer.len);
	usec now = clock_wall_now();

	(void)state;
	assert_int_equal(dns_tsig_verify_answer(wire, &keys[0], now, &question.mac), DNS_TSIG_GOOD);
	assert_int_equal(dns_tsig_verify_answer(wire, &keys[0], now, &other.mac), DNS_TSIG_BAD_MAC);
	assert_int_equal(dns_tsig_verify_answer(wire, &keys[1], now, &question.mac),
			 DNS_TSIG_BAD_KEY);
	assert_int_equal(dns_tsig_error(wire), 0);
}

/* ldns knows three of the algorithms. */
static void test_the_library_agrees(void **state)
{
	static const size_t known[] = { 0, 1, 4 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		const struct dns_tsig_key *k = &keys[known[i]];
		struct signed_message m = sign(k, NULL);
		ldns_pkt *p;
		assert_int_equal(ldns_wire2pkt(&p, m.wire, m.len), LDNS_STATUS_OK);
		assert_true(ldns_pkt_tsig_verify(p, m.wire, m.len, k->name, k->secret, NULL));
		ldns_pkt_free(p);

		uint8_t *wire;
		size_t len;
		p = ldns_pkt_query_new(ldns_dname_new_frm_str("www.example.com"), LDNS_RR_TYPE_A,
				       LDNS_RR_CLASS_IN, LDNS_RD);
		assert_int_equal(ldns_pkt_tsig_sign(p, k->name, k->secret, 300, k->algorithm, NULL),
				 LDNS_STATUS_OK);
		assert_int_equal(ldns_pkt2wire(&wire, p, &len), LDNS_STATUS_OK);
		const struct dns_tsig_key *key = NULL;
		struct dns_tsig_mac mac;
		assert_int_equal(dns_tsig_verify(bytes_of(wire, len), keys, ARRAY_LEN(keys),
						 clock_wall_now(), &key, &mac),
				 DNS_TSIG_GOOD);
		assert_ptr_equal(key, k);
		LDNS_FREE(wire);
		ldns_pkt_free(p);
	}
}

static void refusal(const struct signed_message *question, int rcode, int error, size_t mac_len)
{
	uint8_t answer[512];
	size_t len = question->len;
	struct dns_tsig_record t;

	memcpy(answer, question->wire, len);
	answer[2] |= 0x84;
	dns_tsig_answer(bytes_of(question->wire, question->len), keys, ARRAY_LEN(keys),
			clock_wall_now(), answer, &len, sizeof(answer));
	assert_int_equal(answer[2], 0x81);
	assert_int_equal(answer[3], rcode);
	assert_int_equal(dns_tsig_error(bytes_of(answer, len)), error);
	assert_int_equal(dns_tsig_find(bytes_of(answer, len), &t), DNS_TSIG_PRESENT);
	assert_int_equal(t.mac.len, mac_len);
}

static void test_who_is_refused_is_told_why(void **state)
{
	const struct dns_tsig_key unknown = { "other.example", "hmac-sha256.", SECRET };
	struct signed_message m = sign(&keys[0], NULL);

	(void)state;
	m.wire[13] ^= 1;
	refusal(&m, 9, 16, 0);
	m = sign(&unknown, NULL);
	refusal(&m, 9, 17, 0);
	/* Signed, and says what time it is here. */
	m = sign_at(&keys[0], NULL, clock_wall_now() - 3600 * USEC_PER_SEC);
	refusal(&m, 9, 18, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_algorithm),
		cmocka_unit_test(test_the_id_may_be_changed_by_forwarders),
		cmocka_unit_test(test_any_other_byte_counts),
		cmocka_unit_test(test_every_shorter_message_is_refused),
		cmocka_unit_test(test_a_cut_mac_is_refused),
		cmocka_unit_test(test_it_is_good_for_five_minutes),
		cmocka_unit_test(test_other_keys_are_refused),
		cmocka_unit_test(test_a_message_without_is_not_signed),
		cmocka_unit_test(test_an_answer_builds_on_its_question),
		cmocka_unit_test(test_the_library_agrees),
		cmocka_unit_test(test_who_is_refused_is_told_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
