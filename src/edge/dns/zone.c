#include <stdatomic.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "edge/dns/zone_internal.h"

#define SOA_REFRESH 1200
#define SOA_RETRY 180
#define SOA_EXPIRE (14 * 86400)
/* For how long "there is no such name" is believed: a new route should be seen soon. */
#define NEGATIVE_TTL 60
/* A node that leaves is out of the answers after this. */
#define ADDRESS_TTL 60

/* --- Names ----------------------------------------------------------------------------------- */

size_t dns_name_key(const ldns_rdf *name, uint8_t ret[DNS_NAME_KEY_BYTES])
{
	return dns_name_key_of(ldns_rdf_data(name), ldns_rdf_size(name), ret);
}

size_t dns_name_key_of(const uint8_t *wire, size_t size, uint8_t ret[DNS_NAME_KEY_BYTES])
{
	const uint8_t *labels[128];
	size_t at = 0, count = 0, len = 0;

	while (at < size && wire[at] != 0 && count < ARRAY_LEN(labels)) {
		labels[count++] = wire + at;
		at += 1 + (size_t)wire[at];
	}
	while (count--) {
		for (size_t i = 1; i <= labels[count][0]; i++) {
			int c = bytes_lower(labels[count][i]);
			if (c <= 1) {
				ret[len++] = 1;
				c++;
			}
			ret[len++] = (uint8_t)c;
		}
		ret[len++] = 0;
	}
	return len;
}

size_t dns_name_key_parent(const uint8_t *key, size_t len)
{
	BUG_IF(len == 0);
	for (len--; len > 0 && key[len - 1] != 0; len--)
		;
	return len;
}

int dns_name_key_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

/* --- Looking up ------------------------------------------------------------------------------ */

const struct dns_node *dns_zone_find(const struct dns_zone *z, const uint8_t *key, size_t len,
				     size_t *ret_at)
{
	size_t low = 0, high = z->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct dns_node *n = &z->nodes[middle];
		int order = dns_name_key_compare(n->key, n->key_len, key, len);
		if (order == 0) {
			*ret_at = middle;
			return n;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_at = low;
	return NULL;
}

const struct dns_node *dns_zone_before(const struct dns_zone *z, size_t at)
{
	/* The apex is first and has records. */
	while (at > 1 && z->nodes[at - 1].set_count == 0)
		at--;
	return &z->nodes[at ? at - 1 : 0];
}

const struct dns_set *dns_node_set(const struct dns_node *n, ldns_rr_type type)
{
	for (size_t i = 0; i < n->set_count; i++)
		if (n->sets[i].type == type)
			return &n->sets[i];
	return NULL;
}

/* --- Records as text ------------------------------------------------------------------------- */

/* Records are built line by line: what could end a line or begin a comment or another token is refused where
 * it has no business. */
static bool is_plain(const char *text, bool allows_blanks)
{
	bool is_quoted = false;

	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
			return false;
		if (*c == '\\' && c[1])
			c++;
		else if (*c == '"')
			is_quoted = !is_quoted;
		else if (!is_quoted &&
			 (*c == ';' || *c == '(' || *c == ')' || (*c == ' ' && !allows_blanks)))
			return false;
	}
	return !is_quoted && *text;
}

static ldns_rr *parse(const char *name, uint32_t ttl, const char *type, const char *data)
{
	char *line = mem_printf("%s. %u IN %s %s", name, ttl, type, data);
	ldns_rr *rr = NULL;

	if (ldns_rr_new_frm_str(&rr, line, 0, NULL, NULL) != LDNS_STATUS_OK)
		rr = NULL;
	mem_free(line);
	return rr;
}

static const ldns_rr_type user_types[] = {
	LDNS_RR_TYPE_A,   LDNS_RR_TYPE_AAAA, LDNS_RR_TYPE_CNAME, LDNS_RR_TYPE_MX,
	LDNS_RR_TYPE_TXT, LDNS_RR_TYPE_SRV,  LDNS_RR_TYPE_CAA,
};

static ldns_rr *parse_record(const char *zone, const struct dns_record *r, struct err *err)
{
	size_t name_len = strlen(r->name), zone_len = strlen(zone);
	bool is_known = false;

	if (!is_plain(r->name, false) || name_len < zone_len ||
	    strcasecmp(r->name + name_len - zone_len, zone) != 0 ||
	    (name_len > zone_len && r->name[name_len - zone_len - 1] != '.')) {
		err_set(err, E_INVALID, "\"%s\" is not a name in the zone %s", r->name, zone);
		return NULL;
	}
	ldns_rr_type type = is_plain(r->type, false) ? ldns_get_rr_type_by_name(r->type) : 0;
	for (size_t i = 0; i < ARRAY_LEN(user_types); i++)
		is_known |= user_types[i] == type;
	if (!is_known) {
		err_set(err, E_INVALID,
			"\"%s\" is not a type of record that is served: A, AAAA, CNAME, MX, TXT, SRV "
			"and CAA are",
			r->type);
		return NULL;
	}
	ldns_rr *rr = is_plain(r->data, true) ? parse(r->name, r->ttl, r->type, r->data) : NULL;
	if (!rr) {
		err_set(err, E_INVALID, "\"%s\" is not the data of a %s record", r->data, r->type);
		return NULL;
	}
	if (type == LDNS_RR_TYPE_CNAME && name_len == zone_len) {
		err_set(err, E_INVALID, "the name of the zone itself cannot be a CNAME (RFC 1034)");
		ldns_rr_free(rr);
		return NULL;
	}
	return rr;
}

int dns_record_check(const char *zone, const struct dns_record *r, struct err *err)
{
	struct err reason = { 0 };
	ldns_rr *rr = parse_record(zone, r, &reason);

	if (!rr)
		return err_set(err, reason.code, "%s", reason.text);
	ldns_rr_free(rr);
	return 0;
}

char *dns_record_canonical(const char *zone, const struct dns_record *r, struct err *err)
{
	ldns_rr *rr = parse_record(zone, r, err);
	char *text = NULL;

	if (!rr)
		return NULL;
	ldns_rr2canonical(rr);
	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
		char *part = ldns_rdf2str(ldns_rr_rdf(rr, i));
		char *more = mem_printf("%s%s%s", text ? text : "", text ? " " : "", part);
		LDNS_FREE(part);
		mem_free(text);
		text = more;
	}
	ldns_rr_free(rr);
	return text;
}

/* --- Building -------------------------------------------------------------------------------- */

/* A record on its way into the zone. */
struct item {
	uint8_t *key;
	size_t key_len;
	ldns_rr *rr; /* NULL: only the name */
};

struct building {
	struct dns_zone *zone;
	const struct dns_zone_facts *facts;
	const struct dns_zone *previous;
	struct dns_signer *signer, *other; /* NULL: none */
	uint32_t ttl;
	struct item *items;
	size_t count, room;
};

static void add_item(struct building *b, const uint8_t *key, size_t len, ldns_rr *rr)
{
	if (b->count == b->room) {
		b->room = b->room ? 2 * b->room : 64;
		b->items = mem_resize(b->items, b->room * sizeof(b->items[0]));
	}
	struct item *item = &b->items[b->count++];
	item->key = mem_alloc(len + 1);
	memcpy(item->key, key, len);
	item->key_len = len;
	item->rr = rr;
}

/* Takes the record. */
static void add(struct building *b, ldns_rr *rr)
{
	uint8_t key[DNS_NAME_KEY_BYTES];

	ldns_dname2canonical(ldns_rr_owner(rr));
	add_item(b, key, dns_name_key(ldns_rr_owner(rr), key), rr);
}

static int add_text(struct building *b, const char *name, uint32_t ttl, const char *type,
		    const char *data, struct err *err)
{
	ldns_rr *rr =
		is_plain(name, false) && is_plain(data, true) ? parse(name, ttl, type, data) : NULL;

	if (!rr)
		return err_set(err, E_INVALID, "%s: no %s record can be made of \"%s\"", name, type,
			       data);
	add(b, rr);
	return 0;
}

static uint32_t shorter(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

uint32_t dns_zone_lag(uint32_t ttl)
{
	return shorter(ttl, SOA_REFRESH) + shorter(ttl, SOA_RETRY);
}

static int add_addresses(struct building *b, const char *name, struct err *err)
{
	const struct dns_zone_facts *f = b->facts;
	char ip[ADDRESS_TEXT_SIZE];
	int r = 0;

	for (size_t i = 0; i < f->address_count && r == 0; i++) {
		const struct address *a = &f->addresses[i];
		r = add_text(b, name, shorter(b->ttl, ADDRESS_TTL),
			     a->any.sa_family == AF_INET ? "A" : "AAAA", address_ip_text(a, ip),
			     err);
	}
	return r;
}

static bool is_in_zone(const char *zone, const char *name)
{
	size_t zone_len = strlen(zone), len = strlen(name);

	return len >= zone_len && strcasecmp(name + len - zone_len, zone) == 0 &&
	       (len == zone_len || name[len - zone_len - 1] == '.');
}

/* "first.last@example.com" is first\.last.example.com. */
static char *mailbox(const struct dns_zone_facts *f)
{
	const char *at = f->contact ? strchr(f->contact, '@') : NULL;
	char local[129];
	size_t len = 0;

	if (!at)
		return mem_printf("hostmaster.%s.", f->name);
	for (const char *c = f->contact; c < at && len + 2 < sizeof(local); c++) {
		if (*c == '.')
			local[len++] = '\\';
		local[len++] = *c;
	}
	local[len] = 0;
	return mem_printf("%s.%s.", local, at + 1);
}

/* A name server may stand elsewhere. */
static bool has_own_address(const struct dns_zone_facts *f, const char *name)
{
	for (size_t i = 0; i < f->record_count; i++) {
		const struct dns_record *r = &f->records[i];
		if (strcasecmp(r->name, name) == 0 &&
		    (strcasecmp(r->type, "A") == 0 || strcasecmp(r->type, "AAAA") == 0 ||
		     strcasecmp(r->type, "CNAME") == 0))
			return true;
	}
	return false;
}

static int add_apex(struct building *b, struct err *err)
{
	const struct dns_zone_facts *f = b->facts;
	char *contact = mailbox(f);
	char *soa = mem_printf("%s. %s %u %u %u %u %u", f->name_servers[0], contact, f->serial,
			       shorter(b->ttl, SOA_REFRESH), shorter(b->ttl, SOA_RETRY), SOA_EXPIRE,
			       shorter(b->ttl, NEGATIVE_TTL));
	int r = add_text(b, f->name, b->ttl, "SOA", soa, err);

	mem_free(soa);
	mem_free(contact);
	for (size_t i = 0; i < f->name_server_count && r == 0; i++) {
		char *target = mem_printf("%s.", f->name_servers[i]);
		r = add_text(b, f->name, b->ttl, "NS", target, err);
		mem_free(target);
		if (r == 0 && is_in_zone(f->name, f->name_servers[i]) &&
		    !has_own_address(f, f->name_servers[i]))
			r = add_addresses(b, f->name_servers[i], err);
	}
	return r;
}

static int add_records(struct building *b, struct err *err)
{
	const struct dns_zone_facts *f = b->facts;

	for (size_t i = 0; i < f->record_count; i++) {
		ldns_rr *rr = parse_record(f->name, &f->records[i], err);
		if (!rr)
			return E_INVALID;
		add(b, rr);
	}
	for (size_t i = 0; i < f->hostname_count; i++)
		if (add_addresses(b, f->hostnames[i], err) < 0)
			return E_INVALID;
	return 0;
}

/* NS and DS at the names of zones below (RFC 4035 §2.2). */
static int add_delegations(struct building *b, struct err *err)
{
	const struct dns_zone_facts *f = b->facts;
	int r = 0;

	for (size_t i = 0; i < f->delegation_count; i++) {
		const struct dns_delegation *d = &f->delegations[i];
		for (size_t k = 0; k < d->name_server_count && r == 0; k++) {
			char *target = mem_printf("%s.", d->name_servers[k]);
			r = add_text(b, d->name, b->ttl, "NS", target, err);
			mem_free(target);
		}
		ldns_rr *rr = NULL;
		if (r == 0 && d->ds && f->key &&
		    ldns_rr_new_frm_str(&rr, d->ds, 0, NULL, NULL) != LDNS_STATUS_OK)
			return err_set(err, E_INTERNAL, "%s: its DS record cannot be read", d->name);
		if (rr) {
			ldns_rr_set_ttl(rr, b->ttl);
			add(b, rr);
		}
	}
	return r;
}

/* The names between the zone's and those with records. */
static void add_non_terminals(struct building *b, size_t apex_len)
{
	size_t count = b->count;

	for (size_t i = 0; i < count; i++) {
		size_t len = b->items[i].key_len;
		while (len > apex_len) {
			len = dns_name_key_parent(b->items[i].key, len);
			add_item(b, b->items[i].key, len, NULL);
		}
	}
}

static int compare_items(const void *va, const void *vb)
{
	const struct item *a = va, *b = vb;
	int order = dns_name_key_compare(a->key, a->key_len, b->key, b->key_len);

	if (order || !a->rr || !b->rr)
		return order ? order : (a->rr == NULL) - (b->rr == NULL);
	int a_type = (int)ldns_rr_get_type(a->rr), b_type = (int)ldns_rr_get_type(b->rr);
	return a_type != b_type ? a_type - b_type : ldns_rr_compare(a->rr, b->rr);
}

static struct dns_set *set_of(struct dns_node *n, ldns_rr_type type)
{
	struct dns_set *last = n->set_count ? &n->sets[n->set_count - 1] : NULL;

	if (last && last->type == type)
		return last;
	n->sets = mem_resize(n->sets, (n->set_count + 1) * sizeof(n->sets[0]));
	last = &n->sets[n->set_count++];
	*last = (struct dns_set){ .type = type, .rrs = ldns_rr_list_new() };
	return last;
}

/* Takes the record: the same one twice is one, and all of a set have one TTL (RFC 2181 §5.2). */
static void put(struct dns_node *n, ldns_rr *rr)
{
	struct dns_set *set = set_of(n, ldns_rr_get_type(rr));
	size_t count = ldns_rr_list_rr_count(set->rrs);

	for (size_t i = 0; i < count; i++) {
		if (ldns_rr_compare(ldns_rr_list_rr(set->rrs, i), rr) == 0) {
			ldns_rr_free(rr);
			return;
		}
	}
	if (count)
		ldns_rr_set_ttl(rr, ldns_rr_ttl(ldns_rr_list_rr(set->rrs, 0)));
	ldns_rr_list_push_rr(set->rrs, rr);
}

/* A name from its key: the labels in reverse. */
static ldns_rdf *owner_of_key(const uint8_t *key, size_t len)
{
	uint8_t wire[LDNS_MAX_DOMAINLEN + 1];
	size_t out = 0;

	while (len > 0) {
		size_t from = dns_name_key_parent(key, len), label = out++;
		for (size_t i = from; i < len - 1; i++)
			wire[out++] = key[i] == 1 ? (uint8_t)(key[++i] - 1) : key[i];
		wire[label] = (uint8_t)(out - label - 1);
		len = from;
	}
	wire[out++] = 0;
	return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, out, wire);
}

static void make_nodes(struct building *b)
{
	struct dns_zone *z = b->zone;

	qsort(b->items, b->count, sizeof(b->items[0]), compare_items);
	z->nodes = mem_alloc_array(b->count, sizeof(z->nodes[0]));
	for (size_t i = 0; i < b->count; i++) {
		struct item *item = &b->items[i];
		struct dns_node *last = z->count ? &z->nodes[z->count - 1] : NULL;
		if (!last ||
		    dns_name_key_compare(last->key, last->key_len, item->key, item->key_len) != 0) {
			last = &z->nodes[z->count++];
			last->key = TAKE(item->key);
			last->key_len = item->key_len;
			last->owner = owner_of_key(last->key, last->key_len);
		}
		if (item->rr)
			put(last, TAKE(item->rr));
	}
}

/* A CNAME stands alone (RFC 1034 §3.6.2). */
static int check_nodes(const struct dns_zone *z, struct err *err)
{
	for (size_t i = 0; i < z->count; i++) {
		const struct dns_node *n = &z->nodes[i];
		const struct dns_set *alias = dns_node_set(n, LDNS_RR_TYPE_CNAME);
		if (!alias || (n->set_count == 1 && ldns_rr_list_rr_count(alias->rrs) == 1))
			continue;
		char *name = ldns_rdf2str(n->owner);
		err_set(err, E_EXISTS, "%s has a CNAME and other records", name);
		LDNS_FREE(name);
		return err ? err->code : E_EXISTS;
	}
	return 0;
}

/* --- Signing --------------------------------------------------------------------------------- */

static ldns_rr *make_nsec(const struct building *b, const struct dns_node *n, size_t at)
{
	const struct dns_zone *z = b->zone;
	ldns_rr_type types[64];
	size_t count = 0, next = at;

	do
		next = (next + 1) % z->count;
	while (z->nodes[next].set_count == 0);
	for (size_t i = 0; i < n->set_count && count < ARRAY_LEN(types) - 2; i++)
		types[count++] = n->sets[i].type;
	types[count++] = LDNS_RR_TYPE_RRSIG;
	types[count++] = LDNS_RR_TYPE_NSEC;
	ldns_rr *rr = ldns_rr_new();
	ldns_rr_set_type(rr, LDNS_RR_TYPE_NSEC);
	ldns_rr_set_owner(rr, ldns_rdf_clone(n->owner));
	ldns_rr_set_ttl(rr, shorter(b->ttl, NEGATIVE_TTL));
	ldns_rr_push_rdf(rr, ldns_rdf_clone(z->nodes[next].owner));
	ldns_rr_push_rdf(rr, ldns_dnssec_create_nsec_bitmap(types, count, LDNS_RR_TYPE_NSEC));
	return rr;
}

static bool is_same_set(const ldns_rr_list *a, const ldns_rr_list *b)
{
	size_t count = ldns_rr_list_rr_count(a);

	if (count != ldns_rr_list_rr_count(b))
		return false;
	for (size_t i = 0; i < count; i++) {
		const ldns_rr *x = ldns_rr_list_rr(a, i), *y = ldns_rr_list_rr(b, i);
		if (ldns_rr_ttl(x) != ldns_rr_ttl(y) || ldns_rr_compare(x, y) != 0)
			return false;
	}
	return true;
}

static const struct dns_set *former_set(const struct building *b, const struct dns_node *n,
					const struct dns_set *set)
{
	size_t at;
	const struct dns_node *old =
		b->previous ? dns_zone_find(b->previous, n->key, n->key_len, &at) : NULL;
	const struct dns_set *former = old ? dns_node_set(old, set->type) : NULL;

	return former && former->sigs && is_same_set(former->rrs, set->rrs) ? former : NULL;
}

static void sign_by(struct building *b, struct dns_signer *signer, const struct dns_set *former,
		    struct dns_set *set)
{
	ldns_rr *sig = NULL;

	for (size_t i = 0; former && !sig && i < ldns_rr_list_rr_count(former->sigs); i++)
		if (dns_signer_accepts(signer, ldns_rr_list_rr(former->sigs, i)))
			sig = ldns_rr_clone(ldns_rr_list_rr(former->sigs, i));
	if (!sig)
		sig = dns_signer_sign(signer, set->rrs);
	ldns_rr_list_push_rr(set->sigs, sig);
	usec renew_at = dns_signature_renew_at(sig);
	if (renew_at < b->zone->resign_at)
		b->zone->resign_at = renew_at;
}

static void sign_set(struct building *b, const struct dns_node *n, struct dns_set *set)
{
	const struct dns_set *former = former_set(b, n, set);
	/* Whichever of the two the parent vouches for: it says that the other is one, too (RFC 7344 §4.1). */
	bool is_about_keys = set->type == LDNS_RR_TYPE_DNSKEY ||
			     set->type == LDNS_RR_TYPE_CDNSKEY || set->type == LDNS_RR_TYPE_CDS;

	set->sigs = ldns_rr_list_new();
	sign_by(b, b->signer, former, set);
	if (b->other && is_about_keys)
		sign_by(b, b->other, former, set);
}

static void sign(struct building *b)
{
	struct dns_zone *z = b->zone;

	for (size_t i = 0; i < z->count; i++) {
		struct dns_node *n = &z->nodes[i];
		if (n->set_count == 0)
			continue;
		put(n, make_nsec(b, n, i));
		/* What another zone says of itself is signed there (RFC 4035 §2.2). */
		for (size_t k = 0; k < n->set_count; k++)
			if (i == 0 || n->sets[k].type != LDNS_RR_TYPE_NS)
				sign_set(b, n, &n->sets[k]);
	}
	z->is_signed = true;
}

/* --- Images ---------------------------------------------------------------------------------- */

static void make_images(struct dns_set *set, const ldns_rdf *apex)
{
	dns_image_make(&set->records, set->rrs, apex);
	dns_image_make(&set->signatures, set->sigs, apex);
}

/* RFC 2308 §3: its TTL is for how long a negative answer may be kept. */
static void make_negative(struct dns_zone *z)
{
	const struct dns_set *soa = dns_node_set(&z->nodes[0], LDNS_RR_TYPE_SOA);
	struct dns_set *negative = &z->negative;
	ldns_rr *rr = ldns_rr_clone(ldns_rr_list_rr(soa->rrs, 0));
	uint32_t ttl = shorter(ldns_rr_ttl(rr), ldns_rdf2native_int32(ldns_rr_rdf(rr, 6)));

	ldns_rr_set_ttl(rr, ttl);
	negative->type = LDNS_RR_TYPE_SOA;
	negative->rrs = ldns_rr_list_new();
	ldns_rr_list_push_rr(negative->rrs, rr);
	negative->sigs = soa->sigs ? ldns_rr_list_clone(soa->sigs) : NULL;
	for (size_t i = 0; soa->sigs && i < ldns_rr_list_rr_count(negative->sigs); i++)
		ldns_rr_set_ttl(ldns_rr_list_rr(negative->sigs, i), ttl);
}

static void make_all_images(struct dns_zone *z)
{
	const ldns_rdf *apex = z->nodes[0].owner;

	for (size_t i = 0; i < z->count; i++)
		for (size_t k = 0; k < z->nodes[i].set_count; k++)
			make_images(&z->nodes[i].sets[k], apex);
	make_negative(z);
	make_images(&z->negative, apex);
}

static void add_key_records(struct building *b, const struct dns_signer *s, bool for_parent)
{
	ldns_rr_list *records = dns_signer_records(s, b->ttl, for_parent);

	for (size_t i = 0; i < ldns_rr_list_rr_count(records); i++)
		add(b, ldns_rr_list_rr(records, i));
	ldns_rr_list_free(records); /* not what was in it */
}

/* --- Life ------------------------------------------------------------------------------------ */

static int build(struct building *b, struct err *err)
{
	const struct dns_zone_facts *f = b->facts;
	uint8_t key[DNS_NAME_KEY_BYTES];
	ldns_rdf *apex = is_plain(f->name, false) ? ldns_dname_new_frm_str(f->name) : NULL;

	if (!apex)
		return err_set(err, E_INVALID, "\"%s\" is not the name of a zone", f->name);
	ldns_dname2canonical(apex);
	size_t apex_len = dns_name_key(apex, key);
	int r = add_apex(b, err);
	if (r == 0)
		r = add_records(b, err);
	if (r == 0)
		r = add_delegations(b, err);
	if (r == 0) {
		if (f->key) {
			b->signer = dns_signer_new(f->key, apex, f->now);
			add_key_records(b, b->signer, true);
		}
		if (f->key && f->other_key) {
			b->other = dns_signer_new(f->other_key, apex, f->now);
			add_key_records(b, b->other, false);
		}
		add_non_terminals(b, apex_len);
		make_nodes(b);
		r = check_nodes(b->zone, err);
	}
	if (r == 0 && b->signer)
		sign(b);
	if (r == 0)
		make_all_images(b->zone);
	ldns_rdf_deep_free(apex);
	return r;
}

struct dns_zone *dns_zone_build(const struct dns_zone_facts *f, const struct dns_zone *previous,
				struct err *err)
{
	struct dns_zone *z = mem_alloc(sizeof(*z));
	struct building b = { .zone = z,
			      .facts = f,
			      .previous = previous,
			      .ttl = f->ttl ? f->ttl : DNS_TTL };

	BUG_IF(f->name_server_count == 0);
	z->refs = 1;
	z->name = mem_strdup(f->name);
	z->serial = f->serial;
	z->resign_at = INT64_MAX;
	int r = build(&b, err);
	for (size_t i = 0; i < b.count; i++) {
		mem_free(b.items[i].key);
		if (b.items[i].rr)
			ldns_rr_free(b.items[i].rr);
	}
	mem_free(b.items);
	dns_signer_free(b.signer);
	dns_signer_free(b.other);
	return r < 0 ? dns_zone_unref(z) : z;
}

struct dns_zone *dns_zone_ref(struct dns_zone *z)
{
	__atomic_add_fetch(&z->refs, 1, __ATOMIC_RELAXED);
	return z;
}

static void set_done(struct dns_set *set)
{
	ldns_rr_list_deep_free(set->rrs);
	ldns_rr_list_deep_free(set->sigs);
	dns_image_done(&set->records);
	dns_image_done(&set->signatures);
}

struct dns_zone *dns_zone_unref(struct dns_zone *z)
{
	if (!z || __atomic_sub_fetch(&z->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return NULL;
	for (size_t i = 0; i < z->count; i++) {
		struct dns_node *n = &z->nodes[i];
		for (size_t k = 0; k < n->set_count; k++)
			set_done(&n->sets[k]);
		ldns_rdf_deep_free(n->owner);
		mem_free(n->key);
		mem_free(n->sets);
	}
	for (size_t i = 0; i < z->change_count; i++)
		dns_change_unref(z->changes[i]);
	set_done(&z->negative);
	mem_free(z->nodes);
	mem_free(z->name);
	return mem_free(z);
}

const char *dns_zone_name(const struct dns_zone *z)
{
	return z->name;
}

uint32_t dns_zone_serial(const struct dns_zone *z)
{
	return z->serial;
}

size_t dns_zone_name_count(const struct dns_zone *z)
{
	return z->count;
}

uint32_t dns_zone_ttl_max(const struct dns_zone *z)
{
	uint32_t most = 0;

	for (size_t i = 0; i < z->count; i++) {
		const struct dns_node *n = &z->nodes[i];
		for (size_t k = 0; k < n->set_count; k++) {
			uint32_t ttl = ldns_rr_ttl(ldns_rr_list_rr(n->sets[k].rrs, 0));
			most = ttl > most ? ttl : most;
		}
	}
	return most;
}

bool dns_zone_vouches(const struct dns_zone *z, const char *child, const struct dns_key *k,
		      uint32_t *ret_ttl)
{
	char *text = dns_key_ds(k, child);
	uint8_t key[DNS_NAME_KEY_BYTES];
	ldns_rr *ds = NULL;
	bool has = false;
	size_t at;

	BUG_IF(ldns_rr_new_frm_str(&ds, text, 0, NULL, NULL) != LDNS_STATUS_OK);
	mem_free(text);
	const struct dns_node *n = dns_zone_find(z, key, dns_name_key(ldns_rr_owner(ds), key), &at);
	const struct dns_set *set = n ? dns_node_set(n, LDNS_RR_TYPE_DS) : NULL;
	for (size_t i = 0; set && i < ldns_rr_list_rr_count(set->rrs) && !has; i++)
		has = ldns_rr_compare(ldns_rr_list_rr(set->rrs, i), ds) == 0;
	if (has)
		*ret_ttl = ldns_rr_ttl(ldns_rr_list_rr(set->rrs, 0));
	ldns_rr_free(ds);
	return has;
}

usec dns_zone_resign_at(const struct dns_zone *z)
{
	return z->resign_at;
}

bool dns_zone_has_same_records(const struct dns_zone *a, const struct dns_zone *b)
{
	if (a->count != b->count || a->is_signed != b->is_signed)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct dns_node *x = &a->nodes[i], *y = &b->nodes[i];
		if (dns_name_key_compare(x->key, x->key_len, y->key, y->key_len) != 0 ||
		    x->set_count != y->set_count)
			return false;
		for (size_t k = 0; k < x->set_count; k++) {
			bool is_soa = x->sets[k].type == LDNS_RR_TYPE_SOA;
			if (x->sets[k].type != y->sets[k].type ||
			    (!is_soa && !is_same_set(x->sets[k].rrs, y->sets[k].rrs)))
				return false;
		}
	}
	return true;
}
