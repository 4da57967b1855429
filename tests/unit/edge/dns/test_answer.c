/* Queries as clients send them; the answers are read back with the library, their signatures verified. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <ldns/ldns.h>

#include "base/check.h"
#include "base/mem.h"
#include "edge/dns/answer.h"

#define TEN "0123456789"
#define LONG "\"" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "\""

static struct dns_key *key;
static struct dns_zones *zones;
static struct dns_service service = { .id = "HOME01" };
static struct dns_outcome outcome;
static uint8_t out[DNS_MESSAGE_BYTES];
static size_t out_len;
static struct address from;

static struct dns_zone *build(uint32_t serial, const struct dns_zone *previous, const char *extra)
{
	static struct address addresses[2];
	static const char *const servers[] = { "ns1.example.com", "ns.elsewhere.net" };
	const char *hostnames[] = { "app.example.com", "*.apps.example.com", "example.com",
				    "deep.below.example.com", extra };
	static const struct dns_record records[] = {
		{ "example.com", "MX", "10 mail.example.com.", 300 },
		{ "mail.example.com", "A", "192.0.2.9", 300 },
		{ "www.example.com", "CNAME", "app.example.com.", 300 },
		{ "out.example.com", "CNAME", "elsewhere.net.", 300 },
		{ "lost.example.com", "CNAME", "nothing.example.com.", 300 },
		{ "loop.example.com", "CNAME", "loop.example.com.", 300 },
		{ "example.com", "TXT", "\"v=spf1 -all\"", 300 },
		{ "_sip._tcp.example.com", "SRV", "1 2 5060 mail.example.com.", 300 },
		{ "example.com", "CAA", "0 issue \"ca.example.net\"", 300 },
		{ "big.example.com", "TXT", LONG " " LONG " " LONG, 300 },
	};

	assert_int_equal(address_parse(BYTES_LIT("203.0.113.7:443"), &addresses[0], NULL), 0);
	assert_int_equal(address_parse(BYTES_LIT("[2001:db8::7]:443"), &addresses[1], NULL), 0);
	const struct dns_zone_facts facts = {
		.name = "example.com",
		.serial = serial,
		.contact = "first.last@example.com",
		.name_servers = servers,
		.name_server_count = ARRAY_LEN(servers),
		.addresses = addresses,
		.address_count = ARRAY_LEN(addresses),
		.hostnames = hostnames,
		.hostname_count = extra ? 5 : 4,
		.records = records,
		.record_count = ARRAY_LEN(records),
		.key = key,
		.now = clock_wall_now(),
	};
	struct err err = { 0 };
	struct dns_zone *z = dns_zone_build(&facts, previous, &err);
	assert_string_equal(err.text, "");
	assert_non_null(z);
	return z;
}

static int start(void **state)
{
	struct dns_zone *z;

	assert_int_equal(address_parse(BYTES_LIT("198.51.100.3:5353"), &from, NULL), 0);
	key = dns_key_new(NULL);
	z = build(7, NULL, NULL);
	zones = dns_zones_new(&z, 1);
	service.zones = zones;
	return 0;
}

static int stop(void **state)
{
	zones = dns_zones_unref(zones);
	key = dns_key_free(key);
	return 0;
}

/* --- Asking ---------------------------------------------------------------------------------- */

struct asking {
	bool with_edns, with_signatures, by_tcp;
	uint16_t size;
	struct bytes options;
};

static enum dns_action send_packet(struct bytes packet, bool by_tcp)
{
	const struct dns_query q = { packet, &from, by_tcp, clock_wall_now() };

	return dns_answer(&service, &q, out, &out_len, &outcome);
}

static ldns_pkt *ask_with(const char *name, ldns_rr_type type, const struct asking *how)
{
	ldns_rdf *owner = ldns_dname_new_frm_str(name);
	ldns_pkt *p = ldns_pkt_query_new(owner, type, LDNS_RR_CLASS_IN, LDNS_RD), *answer;
	uint8_t *wire;
	size_t len;

	ldns_pkt_set_id(p, 4711);
	if (how->with_edns) {
		ldns_pkt_set_edns_udp_size(p, how->size ? how->size : 4096);
		ldns_pkt_set_edns_do(p, how->with_signatures);
		if (how->options.len)
			ldns_pkt_set_edns_data(p, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_UNKNOWN,
									how->options.len,
									how->options.ptr));
	}
	assert_int_equal(ldns_pkt2wire(&wire, p, &len), LDNS_STATUS_OK);
	assert_int_equal(send_packet(bytes_of(wire, len), how->by_tcp), DNS_ANSWER);
	free(wire);
	ldns_pkt_free(p);
	assert_int_equal(ldns_wire2pkt(&answer, out, out_len), LDNS_STATUS_OK);
	assert_int_equal(ldns_pkt_id(answer), 4711);
	assert_true(ldns_pkt_qr(answer) && ldns_pkt_rd(answer) && !ldns_pkt_ra(answer));
	return answer;
}

static ldns_pkt *ask(const char *name, ldns_rr_type type)
{
	return ask_with(name, type, &(struct asking){ .with_edns = true, .with_signatures = true });
}

static ldns_pkt *ask_plainly(const char *name, ldns_rr_type type)
{
	return ask_with(name, type, &(struct asking){ 0 });
}

/* --- What came ------------------------------------------------------------------------------- */

static size_t count_of(ldns_pkt *p, ldns_pkt_section section, ldns_rr_type type)
{
	ldns_rr_list *list = ldns_pkt_rr_list_by_type(p, type, section);
	size_t count = list ? ldns_rr_list_rr_count(list) : 0;

	ldns_rr_list_deep_free(list);
	return count;
}

/* Every set of answer and authority has a signature that the zone's key has made. */
static void assert_signed(ldns_pkt *p)
{
	ldns_pkt *q = ask("example.com", LDNS_RR_TYPE_DNSKEY);
	ldns_rr_list *keys = ldns_pkt_rr_list_by_type(q, LDNS_RR_TYPE_DNSKEY, LDNS_SECTION_ANSWER);
	ldns_rr_list *both = ldns_pkt_all_noquestion(p), *set;

	assert_int_equal(ldns_rr_list_rr_count(keys), 1);
	ldns_rr_list *sigs = ldns_rr_list_new(), *data = ldns_rr_list_new();
	for (size_t i = 0; i < ldns_rr_list_rr_count(both); i++) {
		ldns_rr *rr = ldns_rr_list_rr(both, i);
		ldns_rr_list_push_rr(ldns_rr_get_type(rr) == LDNS_RR_TYPE_RRSIG ? sigs : data, rr);
	}
	while ((set = ldns_rr_list_pop_rrset(data)) != NULL) {
		ldns_rr_list *good = ldns_rr_list_new();
		assert_int_equal(ldns_verify(set, sigs, keys, good), LDNS_STATUS_OK);
		ldns_rr_list_free(good);
		ldns_rr_list_free(set);
	}
	ldns_rr_list_free(data);
	ldns_rr_list_free(sigs);
	ldns_rr_list_deep_free(both);
	ldns_rr_list_deep_free(keys);
	ldns_pkt_free(q);
}

static bool nsec_covers(ldns_pkt *p, const char *name)
{
	ldns_rr_list *list = ldns_pkt_rr_list_by_type(p, LDNS_RR_TYPE_NSEC, LDNS_SECTION_AUTHORITY);
	ldns_rdf *owner = ldns_dname_new_frm_str(name);
	bool is_covered = false;

	for (size_t i = 0; list && i < ldns_rr_list_rr_count(list); i++)
		is_covered |= ldns_nsec_covers_name(ldns_rr_list_rr(list, i), owner);
	ldns_rdf_deep_free(owner);
	ldns_rr_list_deep_free(list);
	return is_covered;
}

#define ASSERT_ANSWER(p, code, answers, authorities)                        \
	do {                                                                \
		assert_int_equal(ldns_pkt_get_rcode(p), LDNS_RCODE_##code); \
		assert_int_equal(ldns_pkt_ancount(p), answers);             \
		assert_int_equal(ldns_pkt_nscount(p), authorities);         \
	} while (0)

/* ---------------------------------------------------------------------------------------------- */

static void a_routed_name_has_the_addresses_of_the_edge(void **state)
{
	ldns_pkt *p = ask_plainly("APP.example.com", LDNS_RR_TYPE_A);

	ASSERT_ANSWER(p, NOERROR, 1, 0);
	assert_true(ldns_pkt_aa(p));
	assert_int_equal(ldns_pkt_edns(p), 0);
	char *text = ldns_rdf2str(ldns_rr_rdf(ldns_rr_list_rr(ldns_pkt_answer(p), 0), 0));
	assert_string_equal(text, "203.0.113.7");
	free(text);
	ldns_pkt_free(p);
	p = ask("app.example.com", LDNS_RR_TYPE_AAAA);
	ASSERT_ANSWER(p, NOERROR, 2, 0);
	assert_signed(p);
	ldns_pkt_free(p);
}

static void a_wildcard_answers_for_what_is_not_there(void **state)
{
	ldns_pkt *p = ask("a.b.apps.example.com", LDNS_RR_TYPE_A);

	ASSERT_ANSWER(p, NOERROR, 2, 2);
	assert_true(nsec_covers(p, "a.b.apps.example.com"));
	assert_signed(p);
	char *owner = ldns_rdf2str(ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_answer(p), 0)));
	assert_string_equal(owner, "a.b.apps.example.com.");
	free(owner);
	ldns_pkt_free(p);
	p = ask("x.apps.example.com", LDNS_RR_TYPE_MX);
	ASSERT_ANSWER(p, NOERROR, 0, 4); /* one NSEC says both */
	assert_signed(p);
	ldns_pkt_free(p);
	/* The name that the wildcard hangs below has nothing of its own. */
	p = ask("apps.example.com", LDNS_RR_TYPE_A);
	ASSERT_ANSWER(p, NOERROR, 0, 4);
	assert_signed(p);
	ldns_pkt_free(p);
}

static void what_is_not_there_is_denied_with_proof(void **state)
{
	ldns_pkt *p = ask("nothing.example.com", LDNS_RR_TYPE_A);

	assert_int_equal(ldns_pkt_get_rcode(p), LDNS_RCODE_NXDOMAIN);
	assert_int_equal(ldns_pkt_ancount(p), 0);
	assert_int_equal(count_of(p, LDNS_SECTION_AUTHORITY, LDNS_RR_TYPE_SOA), 1);
	assert_true(nsec_covers(p, "nothing.example.com"));
	assert_true(nsec_covers(p, "*.example.com"));
	assert_signed(p);
	ldns_pkt_free(p);
	p = ask_plainly("nothing.example.com", LDNS_RR_TYPE_A);
	ASSERT_ANSWER(p, NXDOMAIN, 0, 1);
	ldns_pkt_free(p);
	p = ask("app.example.com", LDNS_RR_TYPE_TXT);
	ASSERT_ANSWER(p, NOERROR, 0, 4);
	assert_signed(p);
	ldns_pkt_free(p);
	p = ask("below.example.com", LDNS_RR_TYPE_A);
	ASSERT_ANSWER(p, NOERROR, 0, 4);
	assert_true(nsec_covers(p, "below.example.com"));
	ldns_pkt_free(p);
}

static void aliases_are_followed_as_far_as_we_know(void **state)
{
	ldns_pkt *p = ask_plainly("www.example.com", LDNS_RR_TYPE_A);

	ASSERT_ANSWER(p, NOERROR, 2, 0);
	ldns_pkt_free(p);
	p = ask_plainly("out.example.com", LDNS_RR_TYPE_A);
	ASSERT_ANSWER(p, NOERROR, 1, 0);
	ldns_pkt_free(p);
	p = ask_plainly("lost.example.com", LDNS_RR_TYPE_A);
	ASSERT_ANSWER(p, NXDOMAIN, 1, 1);
	ldns_pkt_free(p);
	p = ask_plainly("www.example.com", LDNS_RR_TYPE_CNAME);
	ASSERT_ANSWER(p, NOERROR, 1, 0);
	ldns_pkt_free(p);
	p = ask_plainly("loop.example.com", LDNS_RR_TYPE_A);
	assert_true(ldns_pkt_ancount(p) <= 8);
	ldns_pkt_free(p);
}

static void the_apex_says_who_serves_it(void **state)
{
	ldns_pkt *p = ask_plainly("example.com", LDNS_RR_TYPE_NS);

	ASSERT_ANSWER(p, NOERROR, 2, 0);
	assert_int_equal(ldns_pkt_arcount(p), 2);
	ldns_pkt_free(p);
	p = ask_plainly("example.com", LDNS_RR_TYPE_SOA);
	char *text = ldns_rr2str(ldns_rr_list_rr(ldns_pkt_answer(p), 0));
	assert_non_null(strstr(text, "ns1.example.com. first\\.last.example.com. 7 "));
	free(text);
	ldns_pkt_free(p);
	p = ask("example.com", LDNS_RR_TYPE_MX);
	ASSERT_ANSWER(p, NOERROR, 2, 0);
	assert_int_equal(count_of(p, LDNS_SECTION_ADDITIONAL, LDNS_RR_TYPE_A), 1);
	assert_signed(p);
	ldns_pkt_free(p);
	p = ask("example.com", LDNS_RR_TYPE_ANY);
	ASSERT_ANSWER(p, NOERROR, 2, 0); /* one set, and its signature */
	ldns_pkt_free(p);
}

static void other_peoples_names_are_refused(void **state)
{
	static const char *const names[] = { "example.org", "com", ".", "notexample.com" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		ldns_pkt *p = ask_plainly(names[i], LDNS_RR_TYPE_A);
		ASSERT_ANSWER(p, REFUSED, 0, 0);
		assert_false(ldns_pkt_aa(p));
		ldns_pkt_free(p);
	}
}

static void what_does_not_fit_goes_over_tcp(void **state)
{
	ldns_pkt *p = ask_plainly("big.example.com", LDNS_RR_TYPE_TXT);

	assert_true(ldns_pkt_tc(p));
	ASSERT_ANSWER(p, NOERROR, 0, 0);
	ldns_pkt_free(p);
	p = ask_with("big.example.com", LDNS_RR_TYPE_TXT,
		     &(struct asking){ .with_edns = true, /* DNS_UDP_BYTES */ .size = 4096 });
	assert_false(ldns_pkt_tc(p));
	assert_true(out_len > 512);
	ldns_pkt_free(p);
	p = ask_with("big.example.com", LDNS_RR_TYPE_TXT, &(struct asking){ .by_tcp = true });
	assert_false(ldns_pkt_tc(p));
	ASSERT_ANSWER(p, NOERROR, 1, 0);
	size_t len = out_len;
	dns_truncate(out, &len);
	ldns_pkt_free(p);
	assert_int_equal(ldns_wire2pkt(&p, out, len), LDNS_STATUS_OK);
	assert_true(ldns_pkt_tc(p));
	ASSERT_ANSWER(p, NOERROR, 0, 0);
	assert_int_equal(ldns_pkt_qdcount(p), 1);
	ldns_pkt_free(p);
}

static void a_cookie_proves_an_address(void **state)
{
	uint8_t option[4 + 24] = { 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8 };
	struct asking how = { .with_edns = true, .options = bytes_of(option, 12) };
	ldns_pkt *p = ask_with("app.example.com", LDNS_RR_TYPE_A, &how);

	assert_false(outcome.is_known);
	ldns_rdf *data = ldns_pkt_edns_data(p);
	assert_int_equal(ldns_rdf_size(data), 28);
	memcpy(option, ldns_rdf_data(data), 28);
	ldns_pkt_free(p);
	how.options = bytes_of(option, 28);
	ldns_pkt_free(ask_with("app.example.com", LDNS_RR_TYPE_A, &how));
	assert_true(outcome.is_known);
	option[27] ^= 1;
	ldns_pkt_free(ask_with("app.example.com", LDNS_RR_TYPE_A, &how));
	assert_false(outcome.is_known);
	option[3] = 9; /* no length that a cookie has */
	how.options = bytes_of(option, 13);
	p = ask_with("app.example.com", LDNS_RR_TYPE_A, &how);
	ASSERT_ANSWER(p, FORMERR, 0, 0);
	ldns_pkt_free(p);
}

static void the_server_names_itself_when_asked(void **state)
{
	static const uint8_t option[] = { 0, 3, 0, 0 };
	ldns_pkt *p =
		ask_with("app.example.com", LDNS_RR_TYPE_A,
			 &(struct asking){ .with_edns = true, .options = bytes_of(option, 4) });

	assert_memory_equal(ldns_rdf_data(ldns_pkt_edns_data(p)), "\0\3\0\6HOME01", 10);
	ldns_pkt_free(p);
}

static void nonsense_is_dropped_or_refused(void **state)
{
	uint8_t packet[] = { 0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1 };

	assert_int_equal(send_packet(bytes_of(packet, sizeof(packet)), false), DNS_DROP);
	assert_int_equal(send_packet(bytes_of(packet, 11), false), DNS_DROP);
	packet[2] = 0;
	packet[12] = 63; /* a label that is not there */
	assert_int_equal(send_packet(bytes_of(packet, sizeof(packet)), false), DNS_ANSWER);
	assert_int_equal(outcome.rcode, LDNS_RCODE_FORMERR);
	packet[12] = 0;
	packet[2] = 5 << 3; /* UPDATE */
	assert_int_equal(send_packet(bytes_of(packet, sizeof(packet)), false), DNS_ANSWER);
	assert_int_equal(outcome.rcode, LDNS_RCODE_NOTIMPL);
	packet[2] = 0;
	packet[14] = 252; /* AXFR */
	assert_int_equal(send_packet(bytes_of(packet, sizeof(packet)), false), DNS_ANSWER);
	assert_int_equal(outcome.rcode, LDNS_RCODE_REFUSED);
	assert_int_equal(send_packet(bytes_of(packet, sizeof(packet)), true), DNS_TRANSFER);
}

static void signatures_are_taken_over(void **state)
{
	const struct dns_zone *before = dns_zones_at(zones, 0);
	struct dns_zone *same = build(8, before, NULL), *more = build(9, before, "new.example.com");

	assert_true(dns_zone_has_same_records(before, same));
	assert_false(dns_zone_has_same_records(before, more));
	assert_int_equal(dns_zone_name_count(more), dns_zone_name_count(before) + 1);
	assert_true(dns_zone_resign_at(before) > clock_wall_now() + 6 * 86400 * USEC_PER_SEC);
	dns_zone_unref(same);
	dns_zone_unref(more);
}

static void a_key_survives_as_text(void **state)
{
	char *text = dns_key_text(key), *ds = dns_key_ds(key, "example.com");
	struct dns_key *again = dns_key_parse(text, NULL);
	char *ds_again = dns_key_ds(again, "example.com");

	assert_string_equal(ds, ds_again);
	assert_non_null(strstr(ds, "IN\tDS\t"));
	assert_null(dns_key_parse("rubbish", NULL));
	mem_free(text);
	mem_free(ds);
	mem_free(ds_again);
	dns_key_free(again);
}

static void records_that_make_no_sense_are_refused(void **state)
{
	static const struct dns_record bad[] = {
		{ "example.org", "A", "192.0.2.1", 60 },
		{ "notexample.com", "A", "192.0.2.1", 60 },
		{ "a.example.com", "A", "192.0.2.256", 60 },
		{ "a.example.com", "A", "192.0.2.1 ; x", 60 },
		{ "a.example.com", "A", "192.0.2.1\nb.example.com. A 192.0.2.2", 60 },
		{ "a.example.com", "NS", "b.example.com.", 60 },
		{ "a.example.com", "DNSKEY", "x", 60 },
		{ "example.com", "CNAME", "b.example.com.", 60 },
		{ "a b.example.com", "A", "192.0.2.1", 60 },
		{ "a..example.com", "A", "192.0.2.1", 60 },
		{ "a.example.com", "TXT", "\"open", 60 },
		{ "a.example.com", "MX", "mail", 60 },
		{ "a.example.com", "", "192.0.2.1", 60 },
		{ "", "A", "192.0.2.1", 60 },
	};
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(dns_record_check("example.com", &bad[i], &err), E_INVALID);
}

/* A zone with one alias and one address. */
static struct dns_zone *small_zone(const char *name, const char *alias, const char *target)
{
	static const char *const servers[] = { "ns.elsewhere.net" };
	char *www = mem_printf("www.%s", name);
	const struct dns_record records[] = {
		{ alias, "CNAME", target, 300 },
		{ www, "A", "192.0.2.80", 300 },
	};
	const struct dns_zone_facts facts = {
		.name = name,
		.serial = 1,
		.name_servers = servers,
		.name_server_count = 1,
		.records = records,
		.record_count = ARRAY_LEN(records),
		.key = key,
		.now = clock_wall_now(),
	};
	struct dns_zone *z = dns_zone_build(&facts, NULL, NULL);

	assert_non_null(z);
	mem_free(www);
	return z;
}

/* Into a zone below, into one that is a stranger's, and back into the first: names in the message are pointers to
 * others, and lead to the right ones. */
static void aliases_lead_from_zone_to_zone(void **state)
{
	struct dns_zone *list[] = {
		small_zone("example.org", "a.example.org", "b.home.example.org."),
		small_zone("home.example.org", "b.home.example.org", "c.other.test."),
		small_zone("other.test", "c.other.test", "www.example.org."),
	};
	struct dns_zones *before = zones;
	static const char *const owners[] = { "a.example.org.", "b.home.example.org.",
					      "c.other.test.", "www.example.org." };

	(void)state;
	service.zones = zones = dns_zones_new(list, ARRAY_LEN(list));
	for (int i = 0; i < 2; i++) {
		ldns_pkt *p = i ? ask("A.example.ORG", LDNS_RR_TYPE_A)
				: ask_plainly("a.example.org", LDNS_RR_TYPE_A);
		const ldns_rr_list *answer = ldns_pkt_answer(p);
		assert_int_equal(ldns_rr_list_rr_count(answer), i ? 8 : 4);
		for (size_t k = 0; k < ARRAY_LEN(owners); k++) {
			ldns_rdf *wanted = ldns_dname_new_frm_str(owners[k]);
			const ldns_rr *rr = ldns_rr_list_rr(answer, i ? 2 * k : k);
			assert_int_equal(ldns_dname_compare(ldns_rr_owner(rr), wanted), 0);
			ldns_rdf_deep_free(wanted);
		}
		char *ip = ldns_rdf2str(ldns_rr_rdf(ldns_rr_list_rr(answer, i ? 6 : 3), 0));
		assert_string_equal(ip, "192.0.2.80");
		free(ip);
		ldns_pkt_free(p);
	}
	/* What is not at the end of a chain is said by the zone that would know. */
	ldns_pkt *p = ask("a.example.org", LDNS_RR_TYPE_MX);
	assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_answer(p)), 6);
	const ldns_rr *soa = ldns_rr_list_rr(ldns_pkt_authority(p), 0);
	ldns_rdf *apex = ldns_dname_new_frm_str("example.org.");
	assert_int_equal(ldns_rr_get_type(soa), LDNS_RR_TYPE_SOA);
	assert_int_equal(ldns_dname_compare(ldns_rr_owner(soa), apex), 0);
	ldns_rdf_deep_free(apex);
	ldns_pkt_free(p);
	dns_zones_unref(zones);
	service.zones = zones = before;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_routed_name_has_the_addresses_of_the_edge),
		cmocka_unit_test(a_wildcard_answers_for_what_is_not_there),
		cmocka_unit_test(what_is_not_there_is_denied_with_proof),
		cmocka_unit_test(aliases_are_followed_as_far_as_we_know),
		cmocka_unit_test(aliases_lead_from_zone_to_zone),
		cmocka_unit_test(the_apex_says_who_serves_it),
		cmocka_unit_test(other_peoples_names_are_refused),
		cmocka_unit_test(what_does_not_fit_goes_over_tcp),
		cmocka_unit_test(a_cookie_proves_an_address),
		cmocka_unit_test(the_server_names_itself_when_asked),
		cmocka_unit_test(nonsense_is_dropped_or_refused),
		cmocka_unit_test(signatures_are_taken_over),
		cmocka_unit_test(a_key_survives_as_text),
		cmocka_unit_test(records_that_make_no_sense_are_refused),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
