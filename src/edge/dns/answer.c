#include "edge/dns/answer.h"

#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/writer.h"
#include "edge/dns/shape.h"
#include "edge/dns/tsig_record.h"
#include "edge/dns/zone_internal.h"
#include "tls/hmac.h"

/* CNAMEs followed within our zones. */
#define CHAIN_MAX 8
#define HEADER_BYTES 12
/* Of a record: type, class, TTL, length of the data. */
#define RECORD_FIXED_BYTES 10
/* What a pointer reaches. */
#define POINTER_MAX 0x3fff
#define EDNS_VERSION 0
#define RCODE_BADVERS 16
#define OPTION_NSID 3
#define OPTION_COOKIE 10
#define CLIENT_COOKIE_BYTES 8
#define SERVER_COOKIE_BYTES 16
#define COOKIE_MAX_BYTES 40
/* A server cookie is good for an hour, and for clocks five minutes ahead (RFC 9018 §4.3). */
#define COOKIE_AGE_SEC 3600
#define COOKIE_AHEAD_SEC 300

/* The longest record that we make: a name of 255 bytes, HMAC-SHA-512. */
#define TSIG_MAX_BYTES 364

#define FLAG_QR 0x8000
#define FLAG_AA 0x0400
#define FLAG_TC 0x0200
#define FLAG_RD 0x0100
#define FLAG_CD 0x0010
#define OPCODE_SHIFT 11

/* --- The zones ------------------------------------------------------------------------------- */

struct zone_entry {
	struct dns_zone *zone;
	const struct dns_node *apex; /* its key is the zone's */
};

struct dns_zones {
	size_t refs, count;
	struct zone_entry list[]; /* by key */
};

static int compare_entries(const void *va, const void *vb)
{
	const struct dns_node *a = ((const struct zone_entry *)va)->apex,
			      *b = ((const struct zone_entry *)vb)->apex;
	int order = memcmp(a->key, b->key, a->key_len < b->key_len ? a->key_len : b->key_len);

	return order ? order : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

struct dns_zones *dns_zones_new(struct dns_zone *const *zones, size_t count)
{
	struct dns_zones *z = mem_alloc(sizeof(*z) + count * sizeof(z->list[0]));

	z->refs = 1;
	z->count = count;
	for (size_t i = 0; i < count; i++)
		z->list[i] = (struct zone_entry){ zones[i], &zones[i]->nodes[0] };
	qsort(z->list, count, sizeof(z->list[0]), compare_entries);
	return z;
}

struct dns_zones *dns_zones_ref(struct dns_zones *z)
{
	__atomic_add_fetch(&z->refs, 1, __ATOMIC_RELAXED);
	return z;
}

struct dns_zones *dns_zones_unref(struct dns_zones *z)
{
	if (!z || __atomic_sub_fetch(&z->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return NULL;
	for (size_t i = 0; i < z->count; i++)
		dns_zone_unref(z->list[i].zone);
	return mem_free(z);
}

size_t dns_zones_count(const struct dns_zones *z)
{
	return z->count;
}

struct dns_zone *dns_zones_at(const struct dns_zones *z, size_t i)
{
	BUG_IF(i >= z->count);
	return z->list[i].zone;
}

struct dns_zone *dns_zones_by_name(const struct dns_zones *z, const char *name)
{
	for (size_t i = 0; i < z->count; i++)
		if (strcasecmp(dns_zone_name(z->list[i].zone), name) == 0)
			return z->list[i].zone;
	return NULL;
}

static const struct dns_zone *zone_at_key(const struct dns_zones *z, uint8_t *key, size_t len)
{
	struct dns_node node = { .key = key, .key_len = len };
	const struct zone_entry wanted = { .apex = &node };
	const struct zone_entry *e =
		bsearch(&wanted, z->list, z->count, sizeof(z->list[0]), compare_entries);

	return e ? e->zone : NULL;
}

/* The one with the longest name above or at the key. */
static const struct dns_zone *zone_of(const struct dns_zones *z, uint8_t *key, size_t len)
{
	for (;;) {
		const struct dns_zone *zone = zone_at_key(z, key, len);
		if (zone || len == 0)
			return zone;
		len = dns_name_key_parent(key, len);
	}
}

/* --- Writing --------------------------------------------------------------------------------- */

enum { SECTION_ANSWER, SECTION_AUTHORITY, SECTION_ADDITIONAL, SECTION_COUNT };

struct reply {
	const struct dns_service *service;
	const struct dns_query *query;
	struct dns_outcome *outcome;
	struct dns_query_shape shape;
	bool has_question, has_edns, wants_signatures;
	uint8_t *out;
	size_t len;
	size_t limit; /* of the whole message, less what OPT and TSIG will take */
	/* Where in the message the name is that is looked up, and that of its zone. */
	uint16_t name_at, apex_at;
	uint16_t flags;
	uint16_t counts[SECTION_COUNT];
	bool is_cut; /* not all of it has fitted */
	bool wants_id;
	uint8_t client_cookie[CLIENT_COOKIE_BYTES];
	bool has_cookie;
};

static void put16(uint8_t *to, unsigned value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

/* The name that was asked for: of an exact match, and of what a wildcard matched. */
static struct dns_owner asked_owner(const struct reply *r)
{
	return (struct dns_owner){ .pointer = r->name_at };
}

/* Any other name of the zone. */
static struct dns_owner own_owner(const struct reply *r, const struct dns_zone *z,
				  const struct dns_node *n)
{
	size_t len = ldns_rdf_size(n->owner) - ldns_rdf_size(z->nodes[0].owner);

	return (struct dns_owner){ ldns_rdf_data(n->owner), len, r->apex_at };
}

static void write_image(struct reply *r, const struct dns_image *image,
			const struct dns_owner *owner)
{
	dns_image_write(image, owner, r->apex_at, r->out + r->len);
	r->len += dns_image_size(image, owner);
}

/* A set is written whole or not at all; one that is needed and does not fit cuts the message. */
static void write_set(struct reply *r, int section, const struct dns_set *set,
		      const struct dns_owner *owner)
{
	size_t size = dns_image_size(&set->records, owner), count = set->records.count;

	if (r->is_cut)
		return;
	if (r->wants_signatures) {
		size += dns_image_size(&set->signatures, owner);
		count += set->signatures.count;
	}
	if (r->len + size > r->limit) {
		if (section != SECTION_ADDITIONAL)
			r->is_cut = true;
		return;
	}
	write_image(r, &set->records, owner);
	if (r->wants_signatures)
		write_image(r, &set->signatures, owner);
	r->counts[section] = (uint16_t)(r->counts[section] + count);
}

/* --- Negative answers ------------------------------------------------------------------------ */

static void write_nsec(struct reply *r, const struct dns_zone *z, const struct dns_node *n,
		       const struct dns_node **written, size_t *count)
{
	const struct dns_set *set = dns_node_set(n, LDNS_RR_TYPE_NSEC);
	struct dns_owner owner = own_owner(r, z, n);

	for (size_t i = 0; i < *count; i++)
		if (written[i] == n)
			return;
	written[(*count)++] = n;
	if (set)
		write_set(r, SECTION_AUTHORITY, set, &owner);
}

static void write_soa(struct reply *r, const struct dns_zone *z)
{
	struct dns_owner owner = own_owner(r, z, &z->nodes[0]);

	write_set(r, SECTION_AUTHORITY, &z->negative, &owner);
}

static void mark_source(struct reply *r, const void *where, uint16_t what)
{
	r->outcome->source = (uint64_t)(uintptr_t)where * UINT64_C(0x9e3779b97f4a7c15) ^ what;
}

/* The name is there, or a wildcard is (`proof` is where the name would stand), but no such type. */
static void write_nodata(struct reply *r, const struct dns_zone *z, const struct dns_node *n,
			 const struct dns_node *proof)
{
	const struct dns_node *written[2];
	size_t count = 0, at;

	write_soa(r, z);
	if (r->wants_signatures && z->is_signed) {
		/* An empty non-terminal has no NSEC of its own: the one before it covers it. */
		if (n->set_count == 0 && dns_zone_find(z, n->key, n->key_len, &at))
			n = dns_zone_before(z, at);
		write_nsec(r, z, n, written, &count);
		if (proof)
			write_nsec(r, z, proof, written, &count);
	}
}

static void write_nxdomain(struct reply *r, const struct dns_zone *z, size_t at,
			   const uint8_t *encloser, size_t encloser_len)
{
	const struct dns_node *written[2];
	uint8_t wildcard[DNS_NAME_KEY_BYTES];
	size_t count = 0, wildcard_at;

	r->outcome->rcode = LDNS_RCODE_NXDOMAIN;
	mark_source(r, z, LDNS_RCODE_NXDOMAIN);
	write_soa(r, z);
	if (!r->wants_signatures || !z->is_signed)
		return;
	write_nsec(r, z, dns_zone_before(z, at), written, &count);
	memcpy(wildcard, encloser, encloser_len);
	memcpy(wildcard + encloser_len, "*", 2);
	(void)dns_zone_find(z, wildcard, encloser_len + 2, &wildcard_at);
	write_nsec(r, z, dns_zone_before(z, wildcard_at), written, &count);
}

/* --- Looking up ------------------------------------------------------------------------------ */

/* Addresses of the names that an answer points to, as far as they are ours. */
static void write_glue(struct reply *r, const struct dns_zone *z, const struct dns_set *set)
{
	size_t rdf = set->type == LDNS_RR_TYPE_NS ? 0 : set->type == LDNS_RR_TYPE_MX ? 1 : 3;

	if (set->type != LDNS_RR_TYPE_NS && set->type != LDNS_RR_TYPE_MX &&
	    set->type != LDNS_RR_TYPE_SRV)
		return;
	for (size_t i = 0; i < ldns_rr_list_rr_count(set->rrs); i++) {
		uint8_t key[DNS_NAME_KEY_BYTES];
		size_t at, len = dns_name_key(ldns_rr_rdf(ldns_rr_list_rr(set->rrs, i), rdf), key);
		const struct dns_node *n = dns_zone_find(z, key, len, &at);
		const struct dns_set *a = n ? dns_node_set(n, LDNS_RR_TYPE_A) : NULL;
		const struct dns_set *aaaa = n ? dns_node_set(n, LDNS_RR_TYPE_AAAA) : NULL;
		struct dns_owner owner = { 0 };
		if (n)
			owner = own_owner(r, z, n);
		if (a)
			write_set(r, SECTION_ADDITIONAL, a, &owner);
		if (aaaa)
			write_set(r, SECTION_ADDITIONAL, aaaa, &owner);
	}
}

/* RFC 8482: one set is answer enough to "anything there?". */
static const struct dns_set *set_for(const struct dns_node *n, uint16_t type)
{
	if (type == LDNS_RR_TYPE_ANY)
		return n->set_count ? &n->sets[0] : NULL;
	return dns_node_set(n, type);
}

/* What a name has. NULL when all is said, else the name that a CNAME points to. */
static const ldns_rdf *write_node(struct reply *r, const struct dns_zone *z,
				  const struct dns_node *n, const struct dns_node *proof)
{
	const struct dns_node *written[1];
	size_t count = 0;
	const struct dns_set *set = set_for(n, r->outcome->qtype);
	const struct dns_set *alias = set ? NULL : dns_node_set(n, LDNS_RR_TYPE_CNAME);
	struct dns_owner owner = asked_owner(r);

	mark_source(r, n, r->outcome->qtype);
	if (!set && !alias) {
		write_nodata(r, z, n, proof);
		return NULL;
	}
	size_t at = r->len + 2 + RECORD_FIXED_BYTES;
	write_set(r, SECTION_ANSWER, set ? set : alias, &owner);
	/* A wildcard's answer proves that the name itself is not there (RFC 4035 §3.1.3.3). */
	if (proof && r->wants_signatures && z->is_signed)
		write_nsec(r, z, proof, written, &count);
	if (!alias) {
		write_glue(r, z, set);
		return NULL;
	}
	/* The first messages of a chain are short: it is within the reach of pointers. */
	r->name_at = (uint16_t)at;
	return r->is_cut || at > POINTER_MAX ? NULL : ldns_rr_rdf(ldns_rr_list_rr(alias->rrs, 0), 0);
}

static const ldns_rdf *look_up(struct reply *r, const struct dns_zone *z, uint8_t *key, size_t len)
{
	size_t at, encloser_len = len, wildcard_at;
	const struct dns_node *n = dns_zone_find(z, key, len, &at);

	if (n)
		return write_node(r, z, n, NULL);
	do
		encloser_len = dns_name_key_parent(key, encloser_len);
	while (!dns_zone_find(z, key, encloser_len, &wildcard_at));

	uint8_t wildcard[DNS_NAME_KEY_BYTES];
	memcpy(wildcard, key, encloser_len);
	memcpy(wildcard + encloser_len, "*", 2);
	n = dns_zone_find(z, wildcard, encloser_len + 2, &wildcard_at);
	if (n)
		return write_node(r, z, n, dns_zone_before(z, at));
	write_nxdomain(r, z, at, key, encloser_len);
	return NULL;
}

static size_t apex_size(const struct dns_zone *z)
{
	return ldns_rdf_size(z->nodes[0].owner);
}

static void answer_question(struct reply *r)
{
	uint8_t key[DNS_NAME_KEY_BYTES];
	size_t name_len = r->shape.name_len;
	size_t len = dns_name_key_of(r->query->packet.ptr + HEADER_BYTES, name_len, key);
	const struct dns_zone *z = zone_of(r->service->zones, key, len), *above, *before;

	/* Of the DS record of a zone the one above knows (RFC 4035 §3.1.4.1). */
	if (z && r->outcome->qtype == LDNS_RR_TYPE_DS && len > 0 &&
	    zone_at_key(r->service->zones, key, len)) {
		above = zone_of(r->service->zones, key, dns_name_key_parent(key, len));
		z = above ? above : z;
	}
	if (!z) {
		r->outcome->rcode = LDNS_RCODE_REFUSED;
		return;
	}
	r->flags |= FLAG_AA;
	r->name_at = HEADER_BYTES;
	r->apex_at = (uint16_t)(HEADER_BYTES + name_len - apex_size(z));
	for (int i = 0; z && i < CHAIN_MAX; i++) {
		const ldns_rdf *target = look_up(r, z, key, len);
		if (!target)
			break;
		len = dns_name_key(target, key);
		before = z;
		z = zone_of(r->service->zones, key, len);
		/* Another zone's name is at the end of the target's, which stands there in full, or, when it is
		 * below this one, up to this one's. */
		if (z && z != before)
			r->apex_at = (uint16_t)(r->name_at + ldns_rdf_size(target) - apex_size(z));
	}
}

/* --- EDNS ------------------------------------------------------------------------------------ */

/* Version, three reserved bytes, time, and the hash over them, the client's cookie and address (RFC 9018 §4). */
static void make_cookie(const struct reply *r, const uint8_t secret[DNS_COOKIE_SECRET_BYTES],
			uint32_t time, uint8_t ret[SERVER_COOKIE_BYTES])
{
	const struct address *from = r->query->from;
	uint8_t input[CLIENT_COOKIE_BYTES + 8 + 16];
	size_t len = CLIENT_COOKIE_BYTES + 8;

	ret[0] = 1;
	memset(ret + 1, 0, 3);
	for (int i = 0; i < 4; i++)
		ret[4 + i] = (uint8_t)(time >> (24 - 8 * i));
	memcpy(input, r->client_cookie, CLIENT_COOKIE_BYTES);
	memcpy(input + CLIENT_COOKIE_BYTES, ret, 8);
	if (from->any.sa_family == AF_INET) {
		memcpy(input + len, &from->v4.sin_addr, 4);
		len += 4;
	} else {
		memcpy(input + len, &from->v6.sin6_addr, 16);
		len += 16;
	}
	uint64_t hash = hash_keyed(secret, bytes_of(input, len));
	for (int i = 0; i < 8; i++)
		ret[8 + i] = (uint8_t)(hash >> 8 * i);
}

static bool is_our_cookie(const struct reply *r, const uint8_t *cookie)
{
	uint32_t now = (uint32_t)(r->query->now / USEC_PER_SEC), time = 0;
	uint8_t expected[SERVER_COOKIE_BYTES];

	for (int i = 0; i < 4; i++)
		time = time << 8 | cookie[4 + i];
	if ((int32_t)(now - time) > COOKIE_AGE_SEC || (int32_t)(time - now) > COOKIE_AHEAD_SEC)
		return false;
	for (int i = 0; i < 2; i++) {
		make_cookie(r, r->service->cookie_secrets[i], time, expected);
		if (secret_bytes_eq(bytes_of(expected, sizeof(expected)),
				    bytes_of(cookie, SERVER_COOKIE_BYTES)))
			return true;
	}
	return false;
}

/* False: a malformed one (RFC 7873 §5.2.2). */
static bool read_cookie(struct reply *r, struct bytes option)
{
	if (option.len < CLIENT_COOKIE_BYTES || option.len > COOKIE_MAX_BYTES ||
	    (option.len > CLIENT_COOKIE_BYTES && option.len < 2 * CLIENT_COOKIE_BYTES))
		return false;
	memcpy(r->client_cookie, option.ptr, CLIENT_COOKIE_BYTES);
	r->has_cookie = true;
	if (option.len == CLIENT_COOKIE_BYTES + SERVER_COOKIE_BYTES)
		r->outcome->is_known |= is_our_cookie(r, option.ptr + CLIENT_COOKIE_BYTES);
	return true;
}

static bool read_options(struct reply *r, struct bytes options)
{
	while (options.len >= 4) {
		unsigned code = (unsigned)options.ptr[0] << 8 | options.ptr[1];
		size_t len = (size_t)options.ptr[2] << 8 | options.ptr[3];
		if (len > options.len - 4)
			return false;
		struct bytes value = bytes_of(options.ptr + 4, len);
		if (code == OPTION_COOKIE && !r->has_cookie && !read_cookie(r, value))
			return false;
		if (code == OPTION_NSID)
			r->wants_id = true;
		options = bytes_from(options, 4 + len);
	}
	return options.len == 0;
}

static bool read_edns(struct reply *r)
{
	size_t size = r->shape.udp_bytes;

	r->has_edns = true;
	r->wants_signatures = r->shape.wants_signatures;
	if (!r->query->is_stream)
		r->limit = size < 512 ? 512 : size < DNS_UDP_BYTES ? size : DNS_UDP_BYTES;
	if (r->shape.edns_version != EDNS_VERSION) {
		r->outcome->rcode = RCODE_BADVERS;
		return false;
	}
	if (!read_options(r, r->shape.options)) {
		r->outcome->rcode = LDNS_RCODE_FORMERR;
		return false;
	}
	return true;
}

static size_t opt_size(const struct reply *r)
{
	return !r->has_edns
		       ? 0
		       : 11 + (r->has_cookie ? 4 + CLIENT_COOKIE_BYTES + SERVER_COOKIE_BYTES : 0) +
				 (r->wants_id ? 4 + strlen(r->service->id) : 0);
}

static void write_opt(struct reply *r)
{
	uint8_t cookie[SERVER_COOKIE_BYTES];
	size_t size = opt_size(r);
	struct writer w = writer_of(r->out + r->len, size);

	writer_u8(&w, 0);
	writer_u16be(&w, LDNS_RR_TYPE_OPT);
	writer_u16be(&w, DNS_UDP_BYTES);
	writer_u8(&w, (uint8_t)(r->outcome->rcode >> 4));
	writer_u8(&w, EDNS_VERSION);
	writer_u16be(&w, r->wants_signatures ? 0x8000 : 0);
	writer_u16be(&w, (uint16_t)(size - 11));
	if (r->has_cookie) {
		make_cookie(r, r->service->cookie_secrets[0],
			    (uint32_t)(r->query->now / USEC_PER_SEC), cookie);
		writer_u16be(&w, OPTION_COOKIE);
		writer_u16be(&w, CLIENT_COOKIE_BYTES + SERVER_COOKIE_BYTES);
		writer_put(&w, bytes_of(r->client_cookie, CLIENT_COOKIE_BYTES));
		writer_put(&w, bytes_of(cookie, SERVER_COOKIE_BYTES));
	}
	if (r->wants_id) {
		struct bytes id = bytes_str(r->service->id);
		writer_u16be(&w, OPTION_NSID);
		writer_u16be(&w, (uint16_t)id.len);
		writer_put(&w, id);
	}
	BUG_IF(!writer_ok(&w) || w.len != size);
	r->len += size;
	r->counts[SECTION_ADDITIONAL]++;
}

/* --- The message ----------------------------------------------------------------------------- */

static enum dns_action examine(struct reply *r)
{
	struct dns_outcome *o = r->outcome;

	o->is_signed = r->shape.tsig_len > 0;
	if (r->shape.has_opt && !read_edns(r))
		return DNS_ANSWER;
	r->has_question = true;
	o->qtype = r->shape.qtype;
	if (r->shape.qclass != LDNS_RR_CLASS_IN) {
		o->rcode = LDNS_RCODE_REFUSED;
		return DNS_ANSWER;
	}
	if (o->qtype == LDNS_RR_TYPE_AXFR || o->qtype == LDNS_RR_TYPE_IXFR) {
		if (r->query->is_stream)
			return DNS_TRANSFER;
		/* IXFR over UDP: it does not fit (RFC 1995 §2); AXFR has no business there. */
		if (o->qtype == LDNS_RR_TYPE_IXFR)
			r->is_cut = true;
		else
			o->rcode = LDNS_RCODE_REFUSED;
		return DNS_ANSWER;
	}
	return DNS_ANSWER;
}

/* Room for the signature that edge/dns/tsig.h adds: like the query's, with the longest MAC, and names in full. */
static size_t tsig_size(const struct reply *r)
{
	struct dns_tsig_record t;

	if (!r->outcome->is_signed || dns_tsig_find(r->query->packet, &t) != DNS_TSIG_PRESENT)
		return 0;
	size_t size = t.name.len + 10 + t.algorithm.len + 16 + HMAC_BYTES_MAX;
	return size < TSIG_MAX_BYTES ? size : TSIG_MAX_BYTES;
}

static void write_message(struct reply *r)
{
	const uint8_t *asked = r->query->packet.ptr;
	uint16_t flags = (uint16_t)(asked[2] << 8 | asked[3]);

	r->flags = FLAG_QR | (flags & (15 << OPCODE_SHIFT | FLAG_RD | FLAG_CD));
	r->len = HEADER_BYTES;
	r->limit -= opt_size(r) + tsig_size(r);
	if (r->has_question) {
		memcpy(r->out + r->len, asked + HEADER_BYTES, r->shape.name_len + 4);
		r->len += r->shape.name_len + 4;
	}
	size_t after_question = r->len;
	if (r->has_question && r->outcome->rcode == LDNS_RCODE_NOERROR && !r->is_cut)
		answer_question(r);
	if (r->is_cut) {
		/* Nobody uses half of an answer. */
		r->len = after_question;
		memset(r->counts, 0, sizeof(r->counts));
		r->flags |= FLAG_TC;
	}
	if (r->has_edns)
		write_opt(r);
	memcpy(r->out, asked, 2);
	put16(r->out + 2, r->flags | (r->outcome->rcode & 15));
	put16(r->out + 4, r->has_question);
	for (int i = 0; i < SECTION_COUNT; i++)
		put16(r->out + 6 + 2 * i, r->counts[i]);
}

enum dns_action dns_answer(const struct dns_service *s, const struct dns_query *q, uint8_t *out,
			   size_t *ret_len, struct dns_outcome *outcome)
{
	struct reply r = {
		.service = s,
		.query = q,
		.outcome = outcome,
		.out = out,
		.limit = q->is_stream ? DNS_MESSAGE_BYTES : 512,
	};
	enum dns_action action = DNS_ANSWER;

	*outcome = (struct dns_outcome){ .is_known = q->is_stream };
	/* An answer, or nothing that could be answered: silence, or two servers talk for ever. */
	if (q->packet.len < HEADER_BYTES || q->packet.ptr[2] & 0x80)
		return DNS_DROP;
	if ((q->packet.ptr[2] >> 3 & 15) != LDNS_PACKET_QUERY)
		outcome->rcode = LDNS_RCODE_NOTIMPL;
	else if (!dns_query_has_shape(q->packet, &r.shape))
		outcome->rcode = LDNS_RCODE_FORMERR;
	else
		action = examine(&r);
	if (action == DNS_ANSWER) {
		write_message(&r);
		*ret_len = r.len;
	}
	return action;
}

void dns_truncate(uint8_t *answer, size_t *len)
{
	size_t at = HEADER_BYTES;

	BUG_IF(*len < HEADER_BYTES);
	if (answer[5] == 1) {
		while (at < *len && answer[at] != 0)
			at += 1 + (size_t)answer[at];
		at += 5;
	}
	BUG_IF(at > *len);
	memset(answer + 6, 0, 6);
	answer[2] |= FLAG_TC >> 8;
	*len = at;
}
