#include "edge/access/webauthn.h"

#include <fido.h>
#include <fido/eddsa.h>
#include <fido/err.h>
#include <fido/es256.h>
#include <fido/rs256.h>
#include <jansson.h>
#include <string.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/reader.h"
#include "base/secret.h"
#include "edge/access/webauthn_library.h"

/* Authenticator data (§6.1): hash of the relying party's id, flags, counter, and more for a new key. */
#define FLAG_PRESENT 0x01
#define FLAG_VERIFIED 0x04
#define FLAG_KEY 0x40
#define FLAG_EXTENSIONS 0x80
#define AUTH_DATA_BYTES_MIN (HASH_SHA256_BYTES + 1 + 4)

static const int algorithms[] = { COSE_ES256, COSE_EDDSA, COSE_RS256 };

/* --- What both have ------------------------------------------------------------------------------ */

static bool is_text(const json_t *object, const char *name, const char *value)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text && strcmp(text, value) == 0;
}

static bool challenge_is_right(const json_t *data, struct bytes wanted)
{
	char *text = base64_text(BASE64_URL_RAW, wanted);
	bool is_right = wanted.len && is_text(data, "challenge", text);

	mem_free(text);
	return is_right;
}

/* §5.8.1. A page within another site's frame does not count as ours. */
static int check_client_data(const struct webauthn_expected *e, struct bytes client_data,
			     const char *type, struct err *err)
{
	json_t *data = json_loadb((const char *)client_data.ptr, client_data.len,
				  JSON_REJECT_DUPLICATES, NULL);
	const char *wrong = NULL;

	if (!json_is_object(data))
		wrong = "is none";
	else if (!is_text(data, "type", type))
		wrong = "is for something else";
	else if (!challenge_is_right(data, e->challenge))
		wrong = "answers another challenge";
	else if (!is_text(data, "origin", e->origin))
		wrong = "is of another page";
	else if (json_is_true(json_object_get(data, "crossOrigin")))
		wrong = "is of a frame in another page";
	json_decref(data);
	return wrong ? err_set(err, E_INVALID, "the browser's statement %s", wrong) : 0;
}

/* One item of CBOR (RFC 8949 §3) that holds no others: a number, a string, true, false. */
static bool skip_item(struct reader *r)
{
	uint8_t head = reader_u8(r), major = head >> 5, low = head & 31;
	uint64_t value = low;

	if (low > 27 || major == 4 || major == 5 || major == 6)
		return false;
	if (low >= 24)
		value = reader_uint_(r, (size_t)1 << (low - 24), false);
	if (major == 2 || major == 3)
		(void)reader_take(r, value);
	return reader_ok(r);
}

static bool skip_map(struct reader *r)
{
	uint8_t head = reader_u8(r);

	if (head >> 5 != 5 || (head & 31) > 23)
		return false;
	for (int i = 0; i < 2 * (head & 31); i++)
		if (!skip_item(r))
			return false;
	return reader_ok(r);
}

/* What follows the counter: a key, if it says so, then extensions, if it says so, flat ones. libcbor (0.8) would ask for
 * as much memory as a number in it says. */
static bool has_form(struct reader r, uint8_t flags)
{
	if (flags & FLAG_KEY) {
		(void)reader_take(&r, 16);
		(void)reader_take(&r, reader_u16be(&r));
		if (!skip_map(&r))
			return false;
	}
	if ((flags & FLAG_EXTENSIONS) && !skip_map(&r))
		return false;
	return reader_ok(&r) && r.left.len == 0;
}

static int check_auth_data(const struct webauthn_expected *e, struct bytes auth_data, uint8_t flags,
			   uint32_t *ret_counter, struct err *err)
{
	struct reader r = reader_of(auth_data);
	struct bytes hash = reader_take(&r, HASH_SHA256_BYTES);
	uint8_t wanted[HASH_SHA256_BYTES], have = reader_u8(&r);

	*ret_counter = reader_u32be(&r);
	if (!reader_ok(&r) || auth_data.len > WEBAUTHN_FIELD_BYTES || !has_form(r, have))
		return err_set(err, E_INVALID, "the authenticator's statement is none");
	hash_sha256(bytes_str(e->rp_id), wanted);
	if (!bytes_eq(hash, bytes_of(wanted, sizeof(wanted))))
		return err_set(err, E_INVALID, "the passkey is of another site");
	if ((have & flags) != flags)
		return err_set(err, E_INVALID, "the device has not made sure who used it");
	return 0;
}

static int start(const struct webauthn_expected *e, struct bytes client_data, struct bytes auth_data,
		 const char *type, uint8_t flags, uint32_t *ret_counter, struct err *err)
{
	int r;

	if (client_data.len > WEBAUTHN_FIELD_BYTES)
		return err_set(err, E_INVALID, "the browser's statement is too long");
	r = check_client_data(e, client_data, type, err);
	if (r == 0)
		r = check_auth_data(e, auth_data, flags, ret_counter, err);
	if (r == 0 && !webauthn_library_load())
		r = err_set(err, E_UNSUPPORTED,
			    "libfido2 (libfido2-1), which checks passkeys, is missing");
	return r;
}

/* --- A new key -------------------------------------------------------------------------------------- */

/* The library takes a key of one kind that it was told beforehand. */
static bool read_key(int algorithm, struct bytes auth_data, struct arena *arena,
		     struct webauthn_key *ret)
{
	fido_cred_t *cred = fido_cred_new();
	bool is_read = cred && fido_cred_set_type(cred, algorithm) == FIDO_OK &&
		       fido_cred_set_authdata_raw(cred, auth_data.ptr, auth_data.len) == FIDO_OK &&
		       fido_cred_id_len(cred) > 0 && fido_cred_id_len(cred) <= WEBAUTHN_ID_BYTES &&
		       fido_cred_pubkey_len(cred) > 0;

	if (is_read) {
		ret->id =
			arena_copy(arena, bytes_of(fido_cred_id_ptr(cred), fido_cred_id_len(cred)));
		ret->public_key = arena_copy(
			arena, bytes_of(fido_cred_pubkey_ptr(cred), fido_cred_pubkey_len(cred)));
		ret->algorithm = algorithm;
	}
	fido_cred_free(&cred);
	return is_read;
}

int webauthn_register(const struct webauthn_expected *e, struct bytes client_data,
		      struct bytes auth_data, struct arena *arena, struct webauthn_key *ret,
		      struct err *err)
{
	int r = start(e, client_data, auth_data, "webauthn.create",
		      FLAG_PRESENT | FLAG_VERIFIED | FLAG_KEY, &ret->counter, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++)
		if (read_key(algorithms[i], auth_data, arena, ret))
			return 0;
	return err_set(err, E_INVALID, "the passkey is of no kind that is known here");
}

/* --- A known key ------------------------------------------------------------------------------------ */

static int verify(const fido_assert_t *assert, const struct webauthn_key *key)
{
	es256_pk_t *es256;
	eddsa_pk_t *eddsa;
	rs256_pk_t *rs256;
	int r = FIDO_ERR_INVALID_ARGUMENT;

	switch (key->algorithm) {
	case COSE_ES256:
		es256 = es256_pk_new();
		if (es256 &&
		    es256_pk_from_ptr(es256, key->public_key.ptr, key->public_key.len) == FIDO_OK)
			r = fido_assert_verify(assert, 0, COSE_ES256, es256);
		es256_pk_free(&es256);
		break;
	case COSE_EDDSA:
		eddsa = eddsa_pk_new();
		if (eddsa &&
		    eddsa_pk_from_ptr(eddsa, key->public_key.ptr, key->public_key.len) == FIDO_OK)
			r = fido_assert_verify(assert, 0, COSE_EDDSA, eddsa);
		eddsa_pk_free(&eddsa);
		break;
	case COSE_RS256:
		rs256 = rs256_pk_new();
		if (rs256 &&
		    rs256_pk_from_ptr(rs256, key->public_key.ptr, key->public_key.len) == FIDO_OK)
			r = fido_assert_verify(assert, 0, COSE_RS256, rs256);
		rs256_pk_free(&rs256);
		break;
	}
	return r;
}

static int check_signature(const struct webauthn_expected *e, struct bytes client_data,
			   struct bytes auth_data, struct bytes signature,
			   const struct webauthn_key *key)
{
	uint8_t hash[HASH_SHA256_BYTES];
	fido_assert_t *assert = fido_assert_new();
	int r = assert ? fido_assert_set_count(assert, 1) : FIDO_ERR_INTERNAL;

	hash_sha256(client_data, hash);
	if (r == FIDO_OK)
		r = fido_assert_set_clientdata_hash(assert, hash, sizeof(hash));
	if (r == FIDO_OK)
		r = fido_assert_set_rp(assert, e->rp_id);
	if (r == FIDO_OK)
		r = fido_assert_set_up(assert, FIDO_OPT_TRUE);
	if (r == FIDO_OK)
		r = fido_assert_set_uv(assert, FIDO_OPT_TRUE);
	if (r == FIDO_OK)
		r = fido_assert_set_authdata_raw(assert, 0, auth_data.ptr, auth_data.len);
	if (r == FIDO_OK)
		r = fido_assert_set_sig(assert, 0, signature.ptr, signature.len);
	if (r == FIDO_OK)
		r = verify(assert, key);
	fido_assert_free(&assert);
	return r;
}

int webauthn_check(const struct webauthn_expected *e, struct bytes client_data,
		   struct bytes auth_data, struct bytes signature, const struct webauthn_key *key,
		   uint32_t *ret_counter, struct err *err)
{
	uint32_t counter;
	int r = start(e, client_data, auth_data, "webauthn.get", FLAG_PRESENT | FLAG_VERIFIED,
		      &counter, err);

	if (r < 0)
		return r;
	if (signature.len == 0 || signature.len > WEBAUTHN_FIELD_BYTES)
		return err_set(err, E_INVALID, "there is no signature");
	r = check_signature(e, client_data, auth_data, signature, key);
	if (r != FIDO_OK)
		return err_set(err, E_INVALID, "the signature is wrong (%s)", fido_strerr(r));
	/* §7.2 step 21: many do not count at all. */
	if ((counter || key->counter) && counter <= key->counter)
		return err_set(err, E_DENIED,
			       "the passkey's counter did not grow: somebody may have copied it");
	*ret_counter = counter;
	return 0;
}
