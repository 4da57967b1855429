/* The key of a zone, and what it signs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "edge/dns/zone_internal.h"

/* Signatures are good from an hour ago (clocks differ), for 14 to 15 days, and renewed when a week is left:
 * long enough to notice and mend whatever keeps us from it. Spread, so that they do not all end at once. */
#define SKEW_SEC 3600
#define VALID_SEC (14 * 86400)
#define SPREAD_SEC 86400
#define RENEW_LEFT_SEC (7 * 86400)

#define FLAGS_ZONE_AND_ENTRY 257 /* one key for zone and entry point */

struct dns_key {
	ldns_key *key;
	char *text;
	uint16_t tag;
};

struct dns_signer {
	ldns_key_list *keys; /* of one, owned */
	ldns_rdf *zone;
	uint32_t now;
	uint16_t tag;
};

/* --- Keys ------------------------------------------------------------------------------------ */

static struct dns_key *take(ldns_key *key, char *text)
{
	struct dns_key *k = mem_alloc(sizeof(*k));

	ldns_key_set_flags(key, FLAGS_ZONE_AND_ENTRY);
	k->key = key;
	k->text = text;
	ldns_rr *public = ldns_key2rr(key);
	k->tag = ldns_calc_keytag(public);
	ldns_rr_free(public);
	return k;
}

struct dns_key *dns_key_new(struct err *err)
{
	ldns_key *key = ldns_key_new_frm_algorithm(LDNS_SIGN_ECDSAP256SHA256, 256);
	char *printed = key ? ldns_key2str(key) : NULL;

	if (!printed) {
		if (key)
			ldns_key_deep_free(key);
		err_set(err, E_INTERNAL, "no DNSSEC key could be made");
		return NULL;
	}
	char *text = mem_strdup(printed);
	secret_wipe(printed, strlen(printed));
	LDNS_FREE(printed);
	return take(key, text);
}

struct dns_key *dns_key_parse(const char *text, struct err *err)
{
	FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	ldns_key *key = NULL;

	ldns_status status = f ? ldns_key_new_frm_fp(&key, f) : LDNS_STATUS_MEM_ERR;
	if (f)
		fclose(f);
	if (status != LDNS_STATUS_OK || ldns_key_algorithm(key) != LDNS_SIGN_ECDSAP256SHA256) {
		if (key)
			ldns_key_deep_free(key);
		err_set(err, E_INVALID, "this is no ECDSA P-256 key for DNSSEC");
		return NULL;
	}
	return take(key, mem_strdup(text));
}

uint16_t dns_key_tag(const struct dns_key *k)
{
	return k->tag;
}

char *dns_key_text(const struct dns_key *k)
{
	return mem_strdup(k->text);
}

struct dns_key *dns_key_free(struct dns_key *k)
{
	if (!k)
		return NULL;
	ldns_key_deep_free(k->key);
	secret_wipe(k->text, strlen(k->text));
	mem_free(k->text);
	return mem_free(k);
}

/* A private copy: ldns keeps owner, tag and times in the key. */
static ldns_key *key_for(const struct dns_key *k, const ldns_rdf *zone)
{
	FILE *f = fmemopen(k->text, strlen(k->text), "r");
	ldns_key *key = NULL;

	BUG_IF(!f || ldns_key_new_frm_fp(&key, f) != LDNS_STATUS_OK);
	fclose(f);
	ldns_key_set_flags(key, FLAGS_ZONE_AND_ENTRY);
	ldns_key_set_pubkey_owner(key, ldns_rdf_clone(zone));
	ldns_key_set_keytag(key, k->tag);
	return key;
}

static ldns_rr *public_of(const ldns_key *key, uint32_t ttl)
{
	ldns_rr *rr = ldns_key2rr(key);

	ldns_rr_set_ttl(rr, ttl);
	return rr;
}

char *dns_key_ds(const struct dns_key *k, const char *zone)
{
	ldns_rdf *name = ldns_dname_new_frm_str(zone);
	ldns_key *key = key_for(k, name);
	ldns_rr *public = public_of(key, 3600);
	ldns_rr *ds = ldns_key_rr2ds(public, LDNS_SHA256);
	char *printed = ldns_rr2str(ds);
	/* Without the comment and the end of the line. */
	char *text = mem_strndup(bytes_of(printed, strcspn(printed, ";\n")));

	LDNS_FREE(printed);
	ldns_rr_free(ds);
	ldns_rr_free(public);
	ldns_key_deep_free(key);
	ldns_rdf_deep_free(name);
	return text;
}

/* --- Signing --------------------------------------------------------------------------------- */

struct dns_signer *dns_signer_new(const struct dns_key *k, const ldns_rdf *zone, usec now)
{
	struct dns_signer *s = mem_alloc(sizeof(*s));
	ldns_key *key = key_for(k, zone);

	s->keys = ldns_key_list_new();
	ldns_key_list_push_key(s->keys, key);
	s->zone = ldns_rdf_clone(zone);
	s->now = (uint32_t)(now / USEC_PER_SEC);
	s->tag = ldns_key_keytag(key);
	return s;
}

struct dns_signer *dns_signer_free(struct dns_signer *s)
{
	if (!s)
		return NULL;
	ldns_key_list_free(s->keys);
	ldns_rdf_deep_free(s->zone);
	return mem_free(s);
}

ldns_rr_list *dns_signer_records(const struct dns_signer *s, uint32_t ttl, bool for_parent)
{
	ldns_rr_list *list = ldns_rr_list_new();
	ldns_rr *public = public_of(ldns_key_list_key(s->keys, 0), ttl);

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

ldns_rr *dns_signer_sign(struct dns_signer *s, ldns_rr_list *set)
{
	ldns_key *key = ldns_key_list_key(s->keys, 0);

	ldns_key_set_inception(key, s->now - SKEW_SEC);
	ldns_key_set_expiration(key, s->now + VALID_SEC + (uint32_t)random_below(SPREAD_SEC));
	ldns_rr_list *sigs = ldns_sign_public(set, s->keys);
	BUG_IF(!sigs || ldns_rr_list_rr_count(sigs) != 1);
	ldns_rr *sig = ldns_rr_list_pop_rr(sigs);
	ldns_rr_list_free(sigs);
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
