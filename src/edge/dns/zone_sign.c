/* The key of a zone, and what it signs. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "edge/dns/zone_internal.h"
#include "tls/private_key.h"

/* Signatures are good from an hour ago (clocks differ), for 14 to 15 days, and renewed when a week is left:
 * long enough to notice and mend whatever keeps us from it. Spread, so that they do not all end at once. */
#define SKEW_SEC 3600
#define VALID_SEC (14 * 86400)
#define SPREAD_SEC 86400
#define RENEW_LEFT_SEC (7 * 86400)

/* Of P-256: x and y; and as much in a signature. */
#define DNS_PUBLIC_BYTES 64
#define FLAGS_ZONE_AND_ENTRY 257 /* one key for zone and entry point */

#define KEY_PLACE "key of a DNS zone"
#define TAG "PrivateKey: "

struct dns_key {
	struct private_key *key;
	uint8_t public[DNS_PUBLIC_BYTES];
	uint16_t tag;
};

struct dns_signer {
	const struct dns_key *key; /* borrowed */
	ldns_key *frame;           /* what ldns wants to know of it; owned */
	ldns_rr *public;           /* owned */
	uint32_t now;
	uint16_t tag;
};

/* --- Keys ------------------------------------------------------------------------------------ */

/* DNSKEY (RFC 4034 §2, RFC 6605 §4). */
static ldns_rr *public_of(const struct dns_key *k, const ldns_rdf *zone, uint32_t ttl)
{
	ldns_rr *rr = ldns_rr_new();

	ldns_rr_set_type(rr, LDNS_RR_TYPE_DNSKEY);
	ldns_rr_set_owner(rr, ldns_rdf_clone(zone));
	ldns_rr_set_ttl(rr, ttl);
	ldns_rr_push_rdf(rr, ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, FLAGS_ZONE_AND_ENTRY));
	ldns_rr_push_rdf(rr, ldns_native2rdf_int8(LDNS_RDF_TYPE_INT8, LDNS_DNSSEC_KEYPROTO));
	ldns_rr_push_rdf(rr, ldns_native2rdf_int8(LDNS_RDF_TYPE_ALG, LDNS_ECDSAP256SHA256));
	ldns_rr_push_rdf(rr, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_B64, sizeof(k->public), k->public));
	return rr;
}

static struct dns_key *take(struct private_key *key)
{
	struct dns_key *k = mem_alloc(sizeof(*k));
	uint8_t point[PRIVATE_KEY_POINT_BYTES];
	ldns_rdf *root = ldns_dname_new_frm_str(".");

	k->key = key;
	private_key_point(key, point);
	memcpy(k->public, point + 1, sizeof(k->public));
	ldns_rr *public = public_of(k, root, 0);
	k->tag = ldns_calc_keytag(public);
	ldns_rr_free(public);
	ldns_rdf_deep_free(root);
	return k;
}

struct dns_key *dns_key_new(struct err *err)
{
	struct private_key *key = private_key_make(PRIVATE_KEY_P256, KEY_PLACE, err);

	return key ? take(key) : NULL;
}

/* The private number is the line that is named so; the rest of a key on P-256 follows from it, which ldns works out. */
static char *pem_of_ldns(const char *text, const ldns_key *key, struct err *err)
{
	const char *line = strstr(text, TAG);
	struct bytes digits = bytes_str(line ? line + strlen(TAG) : "");
	uint8_t secret[PRIVATE_KEY_P256_BYTES + 4];
	ldns_rr *public = ldns_key2rr(key);
	const ldns_rdf *point = public ? ldns_rr_dnskey_key(public) : NULL;
	size_t len = 0;
	char *pem = NULL;

	digits = bytes_first(digits, bytes_index(digits, '\n'));
	if (point && ldns_rdf_size(point) == DNS_PUBLIC_BYTES &&
	    digits.len <= base64_size(PRIVATE_KEY_P256_BYTES) &&
	    base64_decode(BASE64_STD, digits, secret, &len)) {
		const struct private_key_numbers numbers = {
			.x = bytes_of(ldns_rdf_data(point), PRIVATE_KEY_P256_BYTES),
			.y = bytes_of(ldns_rdf_data(point) + PRIVATE_KEY_P256_BYTES,
				      PRIVATE_KEY_P256_BYTES),
			.d = bytes_of(secret, len),
		};
		pem = private_key_pem(PRIVATE_KEY_P256, &numbers, err);
	}
	secret_wipe(secret, sizeof(secret));
	if (public)
		ldns_rr_free(public);
	return pem;
}

/* As keys were kept before: in the form of ldns and BIND. Owned by the caller, who wipes it; NULL: it is none. */
static char *pem_of_before(const char *text, struct err *err)
{
	FILE *f = *text ? fmemopen((void *)(uintptr_t)text, strlen(text), "r") : NULL;
	ldns_key *key = NULL;
	char *pem = NULL;

	ldns_status status = f ? ldns_key_new_frm_fp(&key, f) : LDNS_STATUS_MEM_ERR;
	if (f)
		fclose(f);
	if (status == LDNS_STATUS_OK && ldns_key_algorithm(key) == LDNS_SIGN_ECDSAP256SHA256)
		pem = pem_of_ldns(text, key, err);
	if (key)
		ldns_key_deep_free(key);
	return pem;
}

static bool is_of_before(const char *text)
{
	return strncmp(text, "Private-key-format", strlen("Private-key-format")) == 0;
}

static void forget(char *text)
{
	if (text)
		secret_wipe(text, strlen(text));
	mem_free(text);
}

struct dns_key *dns_key_parse(const char *text, struct err *err)
{
	char *pem = is_of_before(text) ? pem_of_before(text, NULL) : NULL;
	bool is_read = pem || !is_of_before(text);
	struct private_key *key = is_read ? private_key_parse(pem ? pem : text, NULL) : NULL;

	forget(pem);
	if (key && private_key_kind(key) == PRIVATE_KEY_P256)
		return take(key);
	private_key_free(key);
	err_set(err, E_INVALID, "this is no ECDSA P-256 key for DNSSEC");
	return NULL;
}

int dns_key_box(const char *text, char **ret_text, struct err *err)
{
	if (private_key_is_boxed(text))
		return 0;
	char *pem = is_of_before(text) ? pem_of_before(text, err) : mem_strdup(text);
	int r = pem ? private_key_box(pem, KEY_PLACE, ret_text, err)
		    : err_set(err, E_INVALID, "this is no ECDSA P-256 key for DNSSEC");

	forget(pem);
	return r < 0 ? r : 1;
}

uint16_t dns_key_tag(const struct dns_key *k)
{
	return k->tag;
}

char *dns_key_text(const struct dns_key *k)
{
	return private_key_text(k->key);
}

struct dns_key *dns_key_free(struct dns_key *k)
{
	if (!k)
		return NULL;
	private_key_free(k->key);
	return mem_free(k);
}

char *dns_key_ds(const struct dns_key *k, const char *zone)
{
	ldns_rdf *name = ldns_dname_new_frm_str(zone);
	ldns_rr *public = public_of(k, name, 3600);
	ldns_rr *ds = ldns_key_rr2ds(public, LDNS_SHA256);
	char *printed = ldns_rr2str(ds);
	/* Without the comment and the end of the line. */
	char *text = mem_strndup(bytes_of(printed, strcspn(printed, ";\n")));

	LDNS_FREE(printed);
	ldns_rr_free(ds);
	ldns_rr_free(public);
	ldns_rdf_deep_free(name);
	return text;
}

/* --- Signing --------------------------------------------------------------------------------- */

struct dns_signer *dns_signer_new(const struct dns_key *k, const ldns_rdf *zone, usec now)
{
	struct dns_signer *s = mem_alloc(sizeof(*s));

	s->key = k;
	s->frame = ldns_key_new();
	ldns_key_set_algorithm(s->frame, LDNS_SIGN_ECDSAP256SHA256);
	ldns_key_set_flags(s->frame, FLAGS_ZONE_AND_ENTRY);
	ldns_key_set_pubkey_owner(s->frame, ldns_rdf_clone(zone));
	ldns_key_set_keytag(s->frame, k->tag);
	s->public = public_of(k, zone, 0);
	s->now = (uint32_t)(now / USEC_PER_SEC);
	s->tag = k->tag;
	return s;
}

struct dns_signer *dns_signer_free(struct dns_signer *s)
{
	if (!s)
		return NULL;
	ldns_key_deep_free(s->frame);
	ldns_rr_free(s->public);
	return mem_free(s);
}

ldns_rr_list *dns_signer_records(const struct dns_signer *s, uint32_t ttl, bool for_parent)
{
	ldns_rr_list *list = ldns_rr_list_new();
	ldns_rr *public = ldns_rr_clone(s->public);

	ldns_rr_set_ttl(public, ttl);
	ldns_rr_list_push_rr(list, public);
	if (!for_parent)
		return list;
	ldns_rr *child = ldns_rr_clone(public), *ds = ldns_key_rr2ds(public, LDNS_SHA256);

	ldns_rr_set_type(child, LDNS_RR_TYPE_CDNSKEY);
	ldns_rr_set_type(ds, LDNS_RR_TYPE_CDS);
	ldns_rr_list_push_rr(list, child);
	ldns_rr_list_push_rr(list, ds);
	return list;
}

/* What a signature is of (RFC 4034 §3.1.8.1): its own fields, then the set in canonical form and order. */
static ldns_buffer *to_be_signed(const ldns_rr_list *set, const ldns_key *frame, ldns_rr **ret_sig)
{
	ldns_buffer *wire = ldns_buffer_new(LDNS_MAX_PACKETLEN);
	ldns_rr_list *copy = ldns_rr_list_clone(set);

	for (size_t i = 0; i < ldns_rr_list_rr_count(copy); i++) {
		ldns_rr *rr = ldns_rr_list_rr(copy, i);
		ldns_rr_set_ttl(rr, ldns_rr_ttl(ldns_rr_list_rr(set, 0)));
		ldns_rr2canonical(rr);
	}
	ldns_rr_list_sort(copy);
	*ret_sig = ldns_create_empty_rrsig(copy, frame);
	BUG_IF(!wire || !*ret_sig || ldns_rrsig2buffer_wire(wire, *ret_sig) != LDNS_STATUS_OK ||
	       ldns_rr_list2buffer_wire(wire, copy) != LDNS_STATUS_OK);
	ldns_rr_list_deep_free(copy);
	return wire;
}

ldns_rr *dns_signer_sign(struct dns_signer *s, ldns_rr_list *set)
{
	uint8_t signature[PRIVATE_KEY_SIGNATURE_BYTES] = { 0 };
	size_t len = 0;
	ldns_rr *sig = NULL;

	ldns_key_set_inception(s->frame, s->now - SKEW_SEC);
	ldns_key_set_expiration(s->frame, s->now + VALID_SEC + (uint32_t)random_below(SPREAD_SEC));
	ldns_buffer *wire = to_be_signed(set, s->frame, &sig);
	/* When the key process has gone, so does this edge: until then a signature that nobody believes. */
	if (private_key_sign(s->key->key,
			     bytes_of(ldns_buffer_begin(wire), ldns_buffer_position(wire)),
			     signature, &len, NULL) < 0)
		memset(signature, 0, sizeof(signature));
	ldns_rr_rrsig_set_sig(
		sig, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_B64, DNS_PUBLIC_BYTES, signature));
	ldns_buffer_free(wire);
	return sig;
}

static uint32_t expiration_of(const ldns_rr *sig)
{
	return ldns_rdf2native_int32(ldns_rr_rrsig_expiration(sig));
}

bool dns_signer_accepts(const struct dns_signer *s, const ldns_rr *sig)
{
	return ldns_rdf2native_int16(ldns_rr_rrsig_keytag(sig)) == s->tag &&
	       (int32_t)(expiration_of(sig) - s->now) > RENEW_LEFT_SEC;
}

usec dns_signature_renew_at(const ldns_rr *sig)
{
	return ((usec)expiration_of(sig) - RENEW_LEFT_SEC) * USEC_PER_SEC;
}
