#include "edge/dns/transfer.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "edge/dns/zone_internal.h"

/* Records of a message: as many as surely fit, so that clients can begin early. */
#define MESSAGE_BYTES 16000
#define RCODE_NOTAUTH 9
#define HEADER_BYTES 12

/* The records to be sent, in their order: SOA first and last. Borrowed from zone or change. */
struct dns_transfer {
	struct dns_zone *zone; /* counted */
	ldns_rr_list *records; /* its array is owned, the records are not */
	size_t at;
	uint16_t id;
	ldns_rr *question;              /* owned; in the first message */
	const struct dns_tsig_key *key; /* NULL: not signed */
	struct dns_tsig_mac mac;
	bool is_next;
};

struct dns_transfer *dns_transfer_free(struct dns_transfer *t)
{
	if (!t)
		return NULL;
	dns_zone_unref(t->zone);
	ldns_rr_list_free(t->records);
	ldns_rr_free(t->question);
	return mem_free(t);
}

/* --- What is sent ----------------------------------------------------------------------------- */

static void push_all(ldns_rr_list *to, const ldns_rr_list *list)
{
	for (size_t i = 0; list && i < ldns_rr_list_rr_count(list); i++)
		ldns_rr_list_push_rr(to, ldns_rr_list_rr(list, i));
}

static ldns_rr *soa_of(const struct dns_zone *z)
{
	return ldns_rr_list_rr(dns_node_set(&z->nodes[0], LDNS_RR_TYPE_SOA)->rrs, 0);
}

static void collect_all(struct dns_transfer *t)
{
	const struct dns_zone *z = t->zone;

	for (size_t i = 0; i < z->count; i++) {
		for (size_t k = 0; k < z->nodes[i].set_count; k++) {
			const struct dns_set *set = &z->nodes[i].sets[k];
			if (set->type != LDNS_RR_TYPE_SOA)
				push_all(t->records, set->rrs);
			push_all(t->records, set->sigs);
		}
	}
}

static void collect_change(struct dns_transfer *t, const struct dns_change *c)
{
	ldns_rr_list_push_rr(t->records, c->soa_before);
	push_all(t->records, c->removed);
	ldns_rr_list_push_rr(t->records, c->soa_after);
	push_all(t->records, c->added);
}

/* True: the changes from that serial on are kept (and collected). */
static bool collect_changes(struct dns_transfer *t, uint32_t from)
{
	const struct dns_zone *z = t->zone;

	for (size_t i = 0; i < z->change_count; i++) {
		if (z->changes[i]->from != from)
			continue;
		for (; i < z->change_count; i++)
			collect_change(t, z->changes[i]);
		return true;
	}
	return false;
}

/* Of the version that the client has, in the authority section (RFC 1995 §3). */
static bool serial_of(const ldns_pkt *p, uint32_t *ret)
{
	const ldns_rr_list *list = ldns_pkt_authority(p);
	const ldns_rr *soa =
		list && ldns_rr_list_rr_count(list) == 1 ? ldns_rr_list_rr(list, 0) : NULL;

	if (!soa || ldns_rr_get_type(soa) != LDNS_RR_TYPE_SOA || ldns_rr_rd_count(soa) != 7)
		return false;
	*ret = ldns_rdf2native_int32(ldns_rr_rdf(soa, 2));
	return true;
}

static void collect(struct dns_transfer *t, const ldns_pkt *asked)
{
	bool is_ixfr = ldns_rr_get_type(t->question) == LDNS_RR_TYPE_IXFR;
	uint32_t serial;

	t->records = ldns_rr_list_new();
	ldns_rr_list_push_rr(t->records, soa_of(t->zone));
	if (is_ixfr && serial_of(asked, &serial)) {
		/* As new as ours or newer (RFC 1982): the SOA says so. */
		if ((int32_t)(t->zone->serial - serial) <= 0)
			return;
		if (collect_changes(t, serial)) {
			ldns_rr_list_push_rr(t->records, soa_of(t->zone));
			return;
		}
	}
	collect_all(t);
	ldns_rr_list_push_rr(t->records, soa_of(t->zone));
}

/* --- Messages -------------------------------------------------------------------------------- */

static size_t size_of(const ldns_rr *rr)
{
	return ldns_rr_uncompressed_size(rr);
}

/* The packet's records are borrowed: its lists are emptied before it is freed. */
static void release(ldns_pkt *p)
{
	ldns_rr_list_set_rr_count(ldns_pkt_answer(p), 0);
	ldns_pkt_free(p);
}

bool dns_transfer_next(struct dns_transfer *t, uint8_t *out, size_t *ret_len)
{
	size_t count = ldns_rr_list_rr_count(t->records), used = 0;
	ldns_pkt *p;
	uint8_t *wire = NULL;

	if (t->at == count)
		return false;
	p = ldns_pkt_new();
	ldns_pkt_set_id(p, t->id);
	ldns_pkt_set_qr(p, true);
	ldns_pkt_set_aa(p, true);
	if (t->question)
		ldns_pkt_push_rr(p, LDNS_SECTION_QUESTION, TAKE(t->question));
	/* One record fits always: it came by a message itself, or through a line of 64 KiB at most. */
	do {
		ldns_rr *rr = ldns_rr_list_rr(t->records, t->at++);
		used += size_of(rr);
		ldns_pkt_push_rr(p, LDNS_SECTION_ANSWER, rr);
	} while (t->at < count &&
		 used + size_of(ldns_rr_list_rr(t->records, t->at)) < MESSAGE_BYTES);
	bool is_well =
		ldns_pkt2wire(&wire, p, ret_len) == LDNS_STATUS_OK && *ret_len <= DNS_MESSAGE_BYTES;
	if (is_well)
		memcpy(out, wire, *ret_len);
	if (is_well && t->key)
		is_well = dns_tsig_sign(out, ret_len, DNS_MESSAGE_BYTES, t->key, clock_wall_now(),
					&t->mac, t->is_next);
	t->is_next = true;
	LDNS_FREE(wire);
	release(p);
	return is_well;
}

/* --- Who may --------------------------------------------------------------------------------- */

static bool is_allowed(const struct dns_transfers *allowed, const struct address *from,
		       const struct dns_tsig_key *key)
{
	struct network who;

	if (!network_of_address(from, &who))
		return false;
	for (size_t i = 0; i < allowed->secondary_count; i++) {
		const struct dns_secondary *s = &allowed->secondaries[i];
		if (s->key ? s->key != key : !s->has_network)
			continue;
		if (!s->has_network || network_holds(&s->network, &who))
			return true;
	}
	return false;
}

static void refuse(const ldns_pkt *asked, int rcode, uint8_t *out, size_t *ret_len)
{
	ldns_pkt *p = ldns_pkt_new();
	uint8_t *wire = NULL;

	ldns_pkt_set_id(p, ldns_pkt_id(asked));
	ldns_pkt_set_qr(p, true);
	ldns_pkt_set_rcode(p, (uint8_t)rcode);
	ldns_pkt_push_rr(p, LDNS_SECTION_QUESTION,
			 ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_question(asked), 0)));
	BUG_IF(ldns_pkt2wire(&wire, p, ret_len) != LDNS_STATUS_OK);
	memcpy(out, wire, *ret_len);
	LDNS_FREE(wire);
	ldns_pkt_free(p);
}

static struct dns_zone *zone_asked(const struct dns_zones *zones, const ldns_rr *question)
{
	uint8_t key[DNS_NAME_KEY_BYTES];
	size_t len = dns_name_key(ldns_rr_owner(question), key);

	for (size_t i = 0; i < dns_zones_count(zones); i++) {
		struct dns_zone *z = dns_zones_at(zones, i);
		if (dns_name_key_compare(z->nodes[0].key, z->nodes[0].key_len, key, len) == 0)
			return z;
	}
	return NULL;
}

struct dns_transfer *dns_transfer_new(const struct dns_zones *zones,
				      const struct dns_transfers *allowed,
				      const struct dns_query *q, uint8_t *out, size_t *ret_len)
{
	const struct dns_tsig_key *key = NULL;
	struct dns_transfer *t = NULL;
	struct dns_tsig_mac mac = { .len = 0 };
	ldns_pkt *asked;

	/* It has the shape of a query; that does not mean that the library likes what is in it. */
	if (ldns_wire2pkt(&asked, q->packet.ptr, q->packet.len) != LDNS_STATUS_OK) {
		memset(out, 0, HEADER_BYTES);
		memcpy(out, q->packet.ptr, 2);
		out[2] = 0x80;
		out[3] = LDNS_RCODE_FORMERR;
		*ret_len = HEADER_BYTES;
		return NULL;
	}
	const ldns_rr *question = ldns_rr_list_rr(ldns_pkt_question(asked), 0);
	struct dns_zone *zone = zone_asked(zones, question);
	enum dns_tsig tsig =
		dns_tsig_verify(q->packet, allowed->keys, allowed->key_count, q->now, &key, &mac);
	if (!zone || (tsig != DNS_TSIG_NONE && tsig != DNS_TSIG_GOOD)) {
		refuse(asked, RCODE_NOTAUTH, out, ret_len);
		if (tsig != DNS_TSIG_NONE)
			dns_tsig_answer(q->packet, allowed->keys, allowed->key_count, q->now, out,
					ret_len, DNS_MESSAGE_BYTES);
	} else if (!is_allowed(allowed, q->from, key)) {
		refuse(asked, LDNS_RCODE_REFUSED, out, ret_len);
	} else {
		t = mem_alloc(sizeof(*t));
		t->zone = dns_zone_ref(zone);
		t->id = ldns_pkt_id(asked);
		t->question = ldns_rr_clone(question);
		t->key = key;
		t->mac = mac;
		collect(t, asked);
	}
	ldns_pkt_free(asked);
	return t;
}
