#include "edge/dns/tsig.h"

#include <ldns/ldns.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/encode.h"
#include "base/secret.h"
#include "base/writer.h"
#include "edge/dns/tsig_record.h"

#define FUDGE_SEC 300
#define RCODE_FORMERR 1
#define RCODE_NOTAUTH 9
#define HEADER_BYTES 12
#define TYPE_TSIG 250
#define CLASS_ANY 255
/* Base64 of more than any of the algorithms makes use of. */
#define SECRET_BYTES_MAX 512
/* Two names, type to length, time to lengths, and six bytes of time. */
#define RECORD_BYTES_MAX (2 * DNS_NAME_BYTES + 10 + 16 + HMAC_BYTES_MAX + 6)

static const struct {
	const char *name;
	enum hmac hmac;
} algorithms[] = {
	{ "hmac-sha256.", HMAC_SHA256 }, { "hmac-sha512.", HMAC_SHA512 },
	{ "hmac-sha384.", HMAC_SHA384 }, { "hmac-sha224.", HMAC_SHA224 },
	{ "hmac-sha1.", HMAC_SHA1 },
};

const char *dns_tsig_algorithm(const char *name)
{
	size_t len = strlen(name);

	len -= len && name[len - 1] == '.';
	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++)
		if (strlen(algorithms[i].name) == len + 1 &&
		    strncasecmp(algorithms[i].name, name, len) == 0)
			return algorithms[i].name;
	return NULL;
}

static bool decode_secret(const struct dns_tsig_key *k, uint8_t raw[SECRET_BYTES_MAX], size_t *len)
{
	return strlen(k->secret) < SECRET_BYTES_MAX &&
	       base64_decode(BASE64_STD, bytes_str(k->secret), raw, len);
}

int dns_tsig_check_key(const struct dns_tsig_key *k, struct err *err)
{
	ldns_rdf *name = ldns_dname_new_frm_str(k->name);
	uint8_t raw[SECRET_BYTES_MAX];
	size_t len = 0;
	bool has_secret = decode_secret(k, raw, &len) && len >= 16;

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

/* --- MACs ------------------------------------------------------------------------------------ */

static struct dns_wire_name wire_name(const char *text)
{
	ldns_rdf *rdf = ldns_dname_new_frm_str(text);
	struct dns_wire_name name = { 0 };

	BUG_IF(!rdf || ldns_rdf_size(rdf) > sizeof(name.bytes));
	ldns_dname2canonical(rdf);
	name.len = ldns_rdf_size(rdf);
	memcpy(name.bytes, ldns_rdf_data(rdf), name.len);
	ldns_rdf_deep_free(rdf);
	return name;
}

static struct bytes name_bytes(const struct dns_wire_name *name)
{
	return bytes_of(name->bytes, name->len);
}

static enum hmac hmac_of(const struct dns_tsig_key *k)
{
	size_t i = 0;

	while (i < ARRAY_LEN(algorithms) && algorithms[i].name != k->algorithm &&
	       strcmp(algorithms[i].name, k->algorithm) != 0)
		i++;
	BUG_IF(i == ARRAY_LEN(algorithms));
	return algorithms[i].hmac;
}

static void put16(uint8_t *to, size_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static void put_time(uint8_t to[6], uint64_t time)
{
	for (int i = 0; i < 6; i++)
		to[i] = (uint8_t)(time >> (40 - 8 * i));
}

/* What a MAC is made over (§4.3). */
struct signed_parts {
	struct bytes message;                 /* without the record; its header is replaced: */
	uint16_t id, additional;              /* by these */
	const struct dns_tsig_record *record; /* name, algorithm, time, fudge, error, other */
	const struct dns_tsig_mac *before;    /* len 0: it answers nothing */
	bool is_next;                         /* only the times of the record count (§5.3.1) */
};

static void make_mac(const struct signed_parts *s, const struct dns_tsig_key *k,
		     struct dns_tsig_mac *ret)
{
	const struct dns_tsig_record *t = s->record;
	uint8_t header[HEADER_BYTES], size[2], class_and_ttl[6] = { 0, CLASS_ANY }, numbers[12];
	uint8_t raw[SECRET_BYTES_MAX];
	size_t raw_len = 0;

	put16(size, s->before->len);
	memcpy(header, s->message.ptr, sizeof(header));
	put16(header, s->id);
	put16(header + 10, s->additional);
	put_time(numbers, t->time);
	put16(numbers + 6, t->fudge);
	put16(numbers + 8, t->error);
	put16(numbers + 10, t->other.len);
	const struct bytes parts[] = {
		bytes_of(size, s->before->len ? sizeof(size) : 0),
		bytes_of(s->before->bytes, s->before->len),
		bytes_of(header, sizeof(header)),
		bytes_from(s->message, sizeof(header)),
		s->is_next ? BYTES_NONE : name_bytes(&t->name),
		bytes_of(class_and_ttl, s->is_next ? 0 : sizeof(class_and_ttl)),
		s->is_next ? BYTES_NONE : name_bytes(&t->algorithm),
		bytes_of(numbers, s->is_next ? 8 : sizeof(numbers)),
		s->is_next ? BYTES_NONE : t->other,
	};
	BUG_IF(!decode_secret(k, raw, &raw_len));
	ret->len =
		hmac_make(hmac_of(k), bytes_of(raw, raw_len), parts, ARRAY_LEN(parts), ret->bytes);
	secret_wipe(raw, sizeof(raw));
}

/* --- Verifying ------------------------------------------------------------------------------- */

static bool is_name(const struct dns_wire_name *name, const char *text)
{
	struct dns_wire_name other = wire_name(text);

	return bytes_eq(name_bytes(name), name_bytes(&other));
}

static const struct dns_tsig_key *find_key(const struct dns_tsig_record *t,
					   const struct dns_tsig_key *keys, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_name(&t->name, keys[i].name) && is_name(&t->algorithm, keys[i].algorithm))
			return &keys[i];
	return NULL;
}

static bool is_now(const struct dns_tsig_record *t, usec now)
{
	int64_t fudge = t->fudge < FUDGE_SEC ? t->fudge : FUDGE_SEC;
	int64_t signed_at = (int64_t)t->time, seconds = now / USEC_PER_SEC;

	return signed_at <= seconds + fudge && signed_at >= seconds - fudge;
}

/* A MAC that is cut short (§5.2.2.1) is none. */
static enum dns_tsig check(const struct dns_tsig_record *t, struct bytes message,
			   const struct dns_tsig_key *k, usec now, const struct dns_tsig_mac *before)
{
	const struct signed_parts parts = {
		.message = bytes_first(message, t->at),
		.id = t->id,
		.additional = (uint16_t)((message.ptr[10] << 8 | message.ptr[11]) - 1),
		.record = t,
		.before = before,
	};
	struct dns_tsig_mac expected;

	make_mac(&parts, k, &expected);
	if (!secret_bytes_eq(bytes_of(expected.bytes, expected.len), t->mac))
		return DNS_TSIG_BAD_MAC;
	return is_now(t, now) ? DNS_TSIG_GOOD : DNS_TSIG_BAD_TIME;
}

/* DNS_TSIG_GOOD: it may be looked at. */
static enum dns_tsig find(struct bytes message, struct dns_tsig_record *t)
{
	switch (dns_tsig_find(message, t)) {
	case DNS_TSIG_ABSENT:
		return DNS_TSIG_NONE;
	case DNS_TSIG_MALFORMED:
		return DNS_TSIG_BAD_FORM;
	case DNS_TSIG_PRESENT:
		break;
	}
	return DNS_TSIG_GOOD;
}

enum dns_tsig dns_tsig_verify(struct bytes message, const struct dns_tsig_key *keys,
			      size_t key_count, usec now, const struct dns_tsig_key **ret_key,
			      struct dns_tsig_mac *ret_mac)
{
	static const struct dns_tsig_mac none;
	struct dns_tsig_record t;
	enum dns_tsig verdict = find(message, &t);

	if (verdict != DNS_TSIG_GOOD)
		return verdict;
	const struct dns_tsig_key *k = find_key(&t, keys, key_count);
	verdict = k ? check(&t, message, k, now, &none) : DNS_TSIG_BAD_KEY;
	if (verdict == DNS_TSIG_GOOD || verdict == DNS_TSIG_BAD_TIME) {
		*ret_key = k;
		ret_mac->len = t.mac.len;
		memcpy(ret_mac->bytes, t.mac.ptr, t.mac.len);
	}
	return verdict;
}

enum dns_tsig dns_tsig_verify_answer(struct bytes message, const struct dns_tsig_key *k, usec now,
				     const struct dns_tsig_mac *mac)
{
	struct dns_tsig_record t;
	enum dns_tsig verdict = find(message, &t);

	if (verdict != DNS_TSIG_GOOD)
		return verdict;
	return find_key(&t, k, 1) ? check(&t, message, k, now, mac) : DNS_TSIG_BAD_KEY;
}

int dns_tsig_error(struct bytes message)
{
	struct dns_tsig_record t;

	return dns_tsig_find(message, &t) == DNS_TSIG_PRESENT ? t.error : 0;
}

/* --- Signing --------------------------------------------------------------------------------- */

/* False: there is no room. */
static bool append_record(uint8_t *message, size_t *len, size_t size,
			  const struct dns_tsig_record *t)
{
	uint8_t time[6];
	struct writer w = writer_of(message + *len, size - *len);
	unsigned additional = (unsigned)message[10] << 8 | message[11];

	put_time(time, t->time);
	writer_put(&w, name_bytes(&t->name));
	writer_u16be(&w, TYPE_TSIG);
	writer_u16be(&w, CLASS_ANY);
	writer_u32be(&w, 0);
	writer_u16be(&w, (uint16_t)(t->algorithm.len + 16 + t->mac.len + t->other.len));
	writer_put(&w, name_bytes(&t->algorithm));
	writer_put(&w, bytes_of(time, sizeof(time)));
	writer_u16be(&w, t->fudge);
	writer_u16be(&w, (uint16_t)t->mac.len);
	writer_put(&w, t->mac);
	writer_u16be(&w, t->id);
	writer_u16be(&w, t->error);
	writer_u16be(&w, (uint16_t)t->other.len);
	writer_put(&w, t->other);
	if (!writer_ok(&w) || additional == UINT16_MAX)
		return false;
	*len += w.len;
	put16(message + 10, additional + 1);
	return true;
}

/* `other`: see §5.2.3. */
static bool sign(uint8_t *message, size_t *len, size_t size, const struct dns_tsig_key *k,
		 struct dns_tsig_record *t, struct dns_tsig_mac *mac, bool is_next)
{
	const struct signed_parts parts = {
		.message = bytes_of(message, *len),
		.id = t->id,
		.additional = (uint16_t)(message[10] << 8 | message[11]),
		.record = t,
		.before = mac,
		.is_next = is_next,
	};
	struct dns_tsig_mac made;

	t->name = wire_name(k->name);
	t->algorithm = wire_name(k->algorithm);
	make_mac(&parts, k, &made);
	*mac = made;
	t->mac = bytes_of(mac->bytes, mac->len);
	return append_record(message, len, size, t);
}

static uint16_t id_of(const uint8_t *message)
{
	return (uint16_t)(message[0] << 8 | message[1]);
}

bool dns_tsig_sign(uint8_t *message, size_t *len, size_t size, const struct dns_tsig_key *k,
		   usec now, struct dns_tsig_mac *mac, bool is_next)
{
	struct dns_tsig_record t = {
		.time = (uint64_t)(now / USEC_PER_SEC),
		.fudge = FUDGE_SEC,
		.id = id_of(message),
	};

	BUG_IF(*len < HEADER_BYTES);
	return sign(message, len, size, k, &t, mac, is_next);
}

/* --- Ordinary answers ------------------------------------------------------------------------- */

/* §5.2: no answer but this, and nothing that it could be taken for. What was wrong stands in a record like the query's,
 * signed only where the MAC was right. */
static void refuse(struct bytes query, enum dns_tsig why, const struct dns_tsig_key *k,
		   struct dns_tsig_mac *mac, usec now, uint8_t *answer, size_t *len, size_t size)
{
	struct dns_tsig_record t;
	uint8_t time[6];

	memset(answer + 4, 0, 8);
	answer[2] &= 0x81; /* QR, RD */
	answer[3] = why == DNS_TSIG_BAD_FORM ? RCODE_FORMERR : RCODE_NOTAUTH;
	*len = HEADER_BYTES;
	if (dns_tsig_find(query, &t) != DNS_TSIG_PRESENT)
		return;
	t.id = id_of(answer);
	t.error = (uint16_t)why;
	t.mac = t.other = BYTES_NONE;
	if (why == DNS_TSIG_BAD_TIME) {
		put_time(time, (uint64_t)(now / USEC_PER_SEC));
		t.other = bytes_of(time, sizeof(time));
		(void)sign(answer, len, size, k, &t, mac, false);
	} else {
		(void)append_record(answer, len, size, &t);
	}
}

void dns_tsig_answer(struct bytes query, const struct dns_tsig_key *keys, size_t key_count,
		     usec now, uint8_t *answer, size_t *len, size_t size)
{
	const struct dns_tsig_key *k = NULL;
	struct dns_tsig_mac mac = { .len = 0 };
	enum dns_tsig verdict = dns_tsig_verify(query, keys, key_count, now, &k, &mac);

	if (verdict != DNS_TSIG_GOOD)
		refuse(query, verdict, k, &mac, now, answer, len, size);
	else if (!dns_tsig_sign(answer, len, size, k, now, &mac, false))
		refuse(query, DNS_TSIG_BAD_FORM, k, &mac, now, answer, len, size);
}
