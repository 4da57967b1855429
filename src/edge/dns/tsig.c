#include "edge/dns/tsig.h"

#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/secret.h"

#define FUDGE_SEC 300
#define RCODE_NOTAUTH 9
#define HEADER_BYTES 12
/* Of the RDATA. */
enum {
	RDATA_ALGORITHM,
	RDATA_TIME,
	RDATA_FUDGE,
	RDATA_MAC,
	RDATA_ID,
	RDATA_ERROR,
	RDATA_COUNT = 7
};

static const char *const algorithms[] = { "hmac-sha256.", "hmac-sha512.", "hmac-sha384.",
					  "hmac-sha224.", "hmac-sha1." };

const char *dns_tsig_algorithm(const char *name)
{
	size_t len = strlen(name);

	len -= len && name[len - 1] == '.';
	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++)
		if (strlen(algorithms[i]) == len + 1 && strncasecmp(algorithms[i], name, len) == 0)
			return algorithms[i];
	return NULL;
}

int dns_tsig_check_key(const struct dns_tsig_key *k, struct err *err)
{
	ldns_rdf *name = ldns_dname_new_frm_str(k->name);
	uint8_t raw[512];
	size_t len = strlen(k->secret);
	bool has_secret = len < sizeof(raw) &&
			  base64_decode(BASE64_STD, bytes_str(k->secret), raw, &len) && len >= 16;

	secret_wipe(raw, sizeof(raw));
	ldns_rdf_deep_free(name);
	if (!name)
		return err_set(err, E_INVALID, "\"%s\" is not the name of a key", k->name);
	if (!k->algorithm)
		return err_set(err, E_INVALID,
			       "the algorithm of the key %s is not one of hmac-sha256, hmac-sha512, "
			       "hmac-sha384, hmac-sha224, hmac-sha1",
			       k->name);
	if (!has_secret)
		return err_set(err, E_INVALID,
			       "the secret of the key %s is not base64 of at least 16 bytes",
			       k->name);
	return 0;
}

/* --- Verifying ------------------------------------------------------------------------------- */

static const struct dns_tsig_key *find_key(const ldns_rr *tsig, const struct dns_tsig_key *keys,
					   size_t count)
{
	for (size_t i = 0; i < count; i++) {
		ldns_rdf *name = ldns_dname_new_frm_str(keys[i].name);
		bool is_it = name && ldns_dname_compare(name, ldns_rr_owner(tsig)) == 0;
		ldns_rdf_deep_free(name);
		if (is_it)
			return &keys[i];
	}
	return NULL;
}

static bool has_algorithm(const ldns_rr *tsig, const char *algorithm)
{
	ldns_rdf *name = ldns_dname_new_frm_str(algorithm);
	bool is_it = ldns_dname_compare(name, ldns_rr_rdf(tsig, RDATA_ALGORITHM)) == 0;

	ldns_rdf_deep_free(name);
	return is_it;
}

static bool is_now(const ldns_rr *tsig, usec now)
{
	const ldns_rdf *time = ldns_rr_rdf(tsig, RDATA_TIME);
	uint16_t fudge = ldns_rdf2native_int16(ldns_rr_rdf(tsig, RDATA_FUDGE));
	int64_t signed_at = 0, seconds = now / USEC_PER_SEC;

	for (size_t i = 0; i < ldns_rdf_size(time); i++)
		signed_at = signed_at << 8 | ldns_rdf_data(time)[i];
	if (fudge > FUDGE_SEC)
		fudge = FUDGE_SEC;
	return signed_at <= seconds + fudge && signed_at >= seconds - fudge;
}

/* The library loses the record when it does not know the algorithm: it sees ours only. */
static bool is_complete(const ldns_rr *tsig)
{
	return ldns_rr_rd_count(tsig) >= RDATA_COUNT &&
	       ldns_rdf_size(ldns_rr_rdf(tsig, RDATA_TIME)) == 6;
}

static enum dns_tsig verify_by(ldns_pkt *p, struct bytes wire, const struct dns_tsig_key *k,
			       usec now, const ldns_rdf *mac)
{
	const ldns_rr *tsig = ldns_pkt_tsig(p);

	return has_algorithm(tsig, k->algorithm) && is_now(tsig, now) &&
			       ldns_pkt_tsig_verify(p, wire.ptr, wire.len, k->name, k->secret, mac)
		       ? DNS_TSIG_GOOD
		       : DNS_TSIG_BAD;
}

enum dns_tsig dns_tsig_verify(ldns_pkt *p, struct bytes wire, const struct dns_tsig_key *keys,
			      size_t key_count, usec now, const struct dns_tsig_key **ret_key,
			      ldns_rdf **ret_mac)
{
	const ldns_rr *tsig = ldns_pkt_tsig(p);
	const struct dns_tsig_key *k;

	if (!tsig)
		return DNS_TSIG_NONE;
	if (!is_complete(tsig) || !(k = find_key(tsig, keys, key_count)) ||
	    verify_by(p, wire, k, now, NULL) != DNS_TSIG_GOOD)
		return DNS_TSIG_BAD;
	*ret_key = k;
	*ret_mac = ldns_rdf_clone(ldns_rr_rdf(tsig, RDATA_MAC));
	return DNS_TSIG_GOOD;
}

enum dns_tsig dns_tsig_verify_answer(ldns_pkt *p, struct bytes wire, const struct dns_tsig_key *k,
				     usec now, const ldns_rdf *mac)
{
	const ldns_rr *tsig = ldns_pkt_tsig(p);

	if (!tsig)
		return DNS_TSIG_NONE;
	return is_complete(tsig) && find_key(tsig, k, 1) ? verify_by(p, wire, k, now, mac)
							 : DNS_TSIG_BAD;
}

int dns_tsig_error(const ldns_pkt *p)
{
	const ldns_rr *tsig = ldns_pkt_tsig(p);

	return tsig && is_complete(tsig) ? ldns_rdf2native_int16(ldns_rr_rdf(tsig, RDATA_ERROR)) : 0;
}

int dns_tsig_sign(ldns_pkt *p, const struct dns_tsig_key *k, ldns_rdf **mac, bool is_next)
{
	if (ldns_pkt_tsig_sign_next(p, k->name, k->secret, FUDGE_SEC, k->algorithm, *mac,
				    is_next) != LDNS_STATUS_OK)
		return E_INTERNAL;
	ldns_rdf_deep_free(*mac);
	*mac = ldns_rdf_clone(ldns_rr_rdf(ldns_pkt_tsig(p), RDATA_MAC));
	return 0;
}

/* --- Ordinary answers ------------------------------------------------------------------------- */

static bool sign_answer(ldns_pkt *answer, const struct dns_tsig_key *k, ldns_rdf **mac,
			uint8_t *out, size_t *len, size_t size)
{
	uint8_t *wire = NULL;
	size_t wire_len;
	bool is_well = dns_tsig_sign(answer, k, mac, false) == 0 &&
		       ldns_pkt2wire(&wire, answer, &wire_len) == LDNS_STATUS_OK &&
		       wire_len <= size;

	if (is_well) {
		memcpy(out, wire, wire_len);
		*len = wire_len;
	}
	LDNS_FREE(wire);
	return is_well;
}

void dns_tsig_answer(struct bytes query, const struct dns_tsig_key *keys, size_t key_count,
		     usec now, uint8_t *answer, size_t *len, size_t size)
{
	const struct dns_tsig_key *k;
	ldns_pkt *asked = NULL, *reply = NULL;
	ldns_rdf *mac = NULL;

	if (ldns_wire2pkt(&asked, query.ptr, query.len) != LDNS_STATUS_OK ||
	    ldns_wire2pkt(&reply, answer, *len) != LDNS_STATUS_OK ||
	    dns_tsig_verify(asked, query, keys, key_count, now, &k, &mac) != DNS_TSIG_GOOD ||
	    !sign_answer(reply, k, &mac, answer, len, size)) {
		/* RFC 8945 §5.2: no answer but this, and nothing that it could be taken for. */
		memset(answer + 4, 0, 8);
		answer[2] &= 0x81; /* QR, RD */
		answer[3] = RCODE_NOTAUTH;
		*len = HEADER_BYTES;
	}
	ldns_rdf_deep_free(mac);
	ldns_pkt_free(asked);
	ldns_pkt_free(reply);
}
