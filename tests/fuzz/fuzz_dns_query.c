/* Any packet over either transport, to a signed zone. An answer is one that the library can read, keeps to its
 * limit, and can be truncated. The asker may have whole zones by address or, with the second bit of the first byte, by
 * key alone. */
#include <ldns/ldns.h>

#include "base/check.h"
#include "edge/dns/answer.h"
#include "edge/dns/transfer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dns_service *serve(void)
{
	static struct dns_service service = { .id = "FUZZ" };
	static const char *const servers[] = { "ns.example.com" };
	static const char *const hostnames[] = { "app.example.com", "*.w.example.com",
						 "a.b.c.example.com" };
	static const struct dns_record records[] = {
		{ "www.example.com", "CNAME", "x.w.example.com.", 60 },
		{ "loop.example.com", "CNAME", "loop.example.com.", 60 },
		{ "example.com", "MX", "1 app.example.com.", 60 },
		{ "example.com", "TXT", "\"text\"", 60 },
		{ "a.example.com", "CNAME", "a.b.c.example.com.", 60 },
	};
	static const struct dns_record below_records[] = {
		{ "a.b.c.example.com", "CNAME", "a.test.", 60 },
		{ "b.c.example.com", "MX", "1 mail.b.c.example.com.", 60 },
		{ "mail.b.c.example.com", "A", "192.0.2.2", 60 },
	};
	static const struct dns_record other_records[] = {
		{ "a.test", "CNAME", "a.w.example.com.", 60 },
		{ "test", "MX", "1 a.test.", 60 },
	};
	struct address address;
	struct dns_key *key = dns_key_new(NULL);

	BUG_IF(address_parse(BYTES_LIT("192.0.2.1:53"), &address, NULL) < 0);
	const struct dns_zone_facts facts = {
		.name = "example.com",
		.serial = 1,
		.name_servers = servers,
		.name_server_count = 1,
		.addresses = &address,
		.address_count = 1,
		.hostnames = hostnames,
		.hostname_count = ARRAY_LEN(hostnames),
		.records = records,
		.record_count = ARRAY_LEN(records),
		.key = key,
		.now = clock_wall_now(),
	};
	/* Aliases lead into one below, and into another. */
	struct dns_zone_facts below = facts, other = facts;
	below.name = "b.c.example.com";
	below.hostname_count = other.hostname_count = 0;
	below.records = below_records;
	below.record_count = ARRAY_LEN(below_records);
	other.name = "test";
	other.records = other_records;
	other.record_count = ARRAY_LEN(other_records);
	struct dns_zone *zones[] = {
		dns_zone_build(&facts, NULL, NULL),
		dns_zone_build(&below, NULL, NULL),
		dns_zone_build(&other, NULL, NULL),
	};
	for (size_t i = 0; i < ARRAY_LEN(zones); i++)
		BUG_IF(!zones[i]);
	service.zones = dns_zones_new(zones, ARRAY_LEN(zones));
	dns_key_free(key);
	return &service;
}

static const struct dns_tsig_key key = { "transfer.example.com", "hmac-sha256.", "c2VjcmV0" };

static void transfer(const struct dns_zones *zones, const struct dns_query *q, bool by_key)
{
	static uint8_t out[DNS_MESSAGE_BYTES];
	struct dns_secondary secondary = { .has_network = true, .key = by_key ? &key : NULL };
	const struct dns_transfers allowed = { &key, 1, &secondary, 1 };
	ldns_pkt *p;
	size_t len;

	BUG_IF(!network_parse(BYTES_LIT("198.51.100.0/24"), &secondary.network));
	struct dns_transfer *t = dns_transfer_new(zones, &allowed, q, out, &len);
	BUG_IF(!t && len < 12);
	while (t && dns_transfer_next(t, out, &len)) {
		BUG_IF(ldns_wire2pkt(&p, out, len) != LDNS_STATUS_OK);
		ldns_pkt_free(p);
	}
	dns_transfer_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dns_service *service;
	static uint8_t out[DNS_MESSAGE_BYTES];
	struct dns_outcome outcome;
	struct address from;
	ldns_pkt *p;
	size_t len;

	if (!service)
		service = serve();
	if (size == 0 || address_parse(BYTES_LIT("198.51.100.1:5353"), &from, NULL) < 0)
		return 0;
	const struct dns_query q = { bytes_of(data + 1, size - 1), &from, data[0] & 1,
				     clock_wall_now() };
	enum dns_action action = dns_answer(service, &q, out, &len, &outcome);
	if (action == DNS_TRANSFER)
		transfer(service->zones, &q, data[0] & 2);
	if (action != DNS_ANSWER)
		return 0;
	if (outcome.is_signed)
		dns_tsig_answer(q.packet, &key, 1, q.now, out, &len, sizeof(out));
	BUG_IF(!q.is_stream && !outcome.is_signed && len > DNS_UDP_BYTES);
	BUG_IF(ldns_wire2pkt(&p, out, len) != LDNS_STATUS_OK);
	ldns_pkt_free(p);
	dns_truncate(out, &len);
	BUG_IF(ldns_wire2pkt(&p, out, len) != LDNS_STATUS_OK);
	ldns_pkt_free(p);
	return 0;
}
