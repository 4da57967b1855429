#include "tls/private_key.h"

#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <string.h>

#include "base/check.h"
#include "base/encode.h"
#include "base/mem.h"
#include "tls/key_box_internal.h"
#include "tls/private_key_internal.h"
#include "tls/tls_internal.h"

#define BOXED "boxed "

struct private_key {
	gnutls_pubkey_t public;  /* owned */
	gnutls_privkey_t signer; /* owned; NULL: there is no key process */
	char *text;              /* owned */
	enum private_key_kind kind;
	uint8_t point[PRIVATE_KEY_POINT_BYTES];
	gnutls_datum_t n, e; /* owned by the library */
};

gnutls_privkey_t private_key_signer(const struct private_key *k)
{
	return k->signer;
}

gnutls_pubkey_t private_key_public(const struct private_key *k)
{
	return k->public;
}

struct private_key *private_key_free(struct private_key *k)
{
	if (!k)
		return NULL;
	if (k->signer)
		gnutls_privkey_deinit(k->signer); /* wipes it */
	if (k->public)
		gnutls_pubkey_deinit(k->public);
	gnutls_free(k->n.data);
	gnutls_free(k->e.data);
	if (k->text)
		secret_wipe(k->text, strlen(k->text));
	mem_free(k->text);
	return mem_free(k);
}

static gnutls_datum_t datum_of(struct bytes b)
{
	return (gnutls_datum_t){ (void *)(uintptr_t)b.ptr, (unsigned)b.len };
}

/* A number of at most 32 bytes, right-aligned. False when it is longer. */
static bool put_number(const gnutls_datum_t *from, uint8_t to[PRIVATE_KEY_P256_BYTES])
{
	struct bytes number = bytes_of(from->data, from->size);

	while (number.len && number.ptr[0] == 0)
		number = bytes_from(number, 1);
	if (number.len > PRIVATE_KEY_P256_BYTES)
		return false;
	memset(to, 0, PRIVATE_KEY_P256_BYTES);
	if (number.len)
		memcpy(to + PRIVATE_KEY_P256_BYTES - number.len, number.ptr, number.len);
	return true;
}

/* --- The public half -------------------------------------------------------------------------- */

static int load_point(struct private_key *k)
{
	gnutls_datum_t x = { NULL, 0 }, y = { NULL, 0 };
	gnutls_ecc_curve_t curve;
	int code =
		gnutls_pubkey_export_ecc_raw2(k->public, &curve, &x, &y, GNUTLS_EXPORT_FLAG_NO_LZ);

	k->point[0] = 4;
	if (code == 0 && (curve != GNUTLS_ECC_CURVE_SECP256R1 || !put_number(&x, k->point + 1) ||
			  !put_number(&y, k->point + 1 + PRIVATE_KEY_P256_BYTES)))
		code = GNUTLS_E_ECC_UNSUPPORTED_CURVE;
	gnutls_free(x.data);
	gnutls_free(y.data);
	return code;
}

static int load_public(struct private_key *k)
{
	unsigned bits = 0;
	int algorithm = gnutls_pubkey_get_pk_algorithm(k->public, &bits);

	if (algorithm == GNUTLS_PK_ECDSA) {
		k->kind = PRIVATE_KEY_P256;
		return load_point(k);
	}
	k->kind = PRIVATE_KEY_RSA;
	if (algorithm != GNUTLS_PK_RSA || bits > PRIVATE_KEY_RSA_BITS)
		return GNUTLS_E_UNKNOWN_PK_ALGORITHM;
	return gnutls_pubkey_export_rsa_raw2(k->public, &k->n, &k->e, GNUTLS_EXPORT_FLAG_NO_LZ);
}

enum private_key_kind private_key_kind(const struct private_key *k)
{
	return k->kind;
}

void private_key_point(const struct private_key *k, uint8_t ret[PRIVATE_KEY_POINT_BYTES])
{
	memcpy(ret, k->point, PRIVATE_KEY_POINT_BYTES);
}

void private_key_rsa(const struct private_key *k, struct bytes *ret_n, struct bytes *ret_e)
{
	*ret_n = bytes_of(k->n.data, k->n.size);
	*ret_e = bytes_of(k->e.data, k->e.size);
}

/* --- Boxed texts ------------------------------------------------------------------------------- */

struct boxed_text {
	char *place;
	struct secret public, sealed;
};

static void boxed_done(struct boxed_text *b)
{
	b->place = mem_free(b->place);
	secret_done(&b->public);
	secret_done(&b->sealed);
}

static bool take_part(struct bytes *rest, struct secret *ret)
{
	struct bytes word = BYTES_NONE;

	if (!bytes_split(rest, ' ', &word))
		return false;
	uint8_t *raw = mem_alloc(word.len / 4 * 3 + 3);
	size_t len = 0;
	bool ok = base64_decode(BASE64_STD, word, raw, &len) && len > 0;
	if (ok)
		secret_set(ret, bytes_of(raw, len));
	mem_free(raw);
	return ok;
}

static bool read_boxed(const char *text, struct boxed_text *ret)
{
	struct bytes rest = bytes_str(text);
	struct secret place = { 0 };

	*ret = (struct boxed_text){ 0 };
	if (!private_key_is_boxed(text))
		return false;
	rest = bytes_from(rest, strlen(BOXED));
	bool ok = take_part(&rest, &place) && !memchr(place.ptr, 0, place.len) &&
		  take_part(&rest, &ret->public) && take_part(&rest, &ret->sealed) && rest.len == 0;
	if (ok)
		ret->place = mem_strndup(bytes_of(place.ptr, place.len));
	else
		boxed_done(ret);
	secret_done(&place);
	return ok;
}

static char *write_boxed(const char *place, gnutls_pubkey_t public, struct bytes sealed)
{
	gnutls_datum_t der = { NULL, 0 };

	if (gnutls_pubkey_export2(public, GNUTLS_X509_FMT_DER, &der) < 0)
		return NULL;
	char *parts[] = { base64_text(BASE64_STD, bytes_str(place)),
			  base64_text(BASE64_STD, bytes_of(der.data, der.size)),
			  base64_text(BASE64_STD, sealed) };
	char *text = mem_printf(BOXED "%s %s %s", parts[0], parts[1], parts[2]);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		mem_free(parts[i]);
	gnutls_free(der.data);
	return text;
}

bool private_key_is_boxed(const char *text)
{
	return strncmp(text, BOXED, strlen(BOXED)) == 0;
}

bool private_key_sealed(const char *text, const char *place, struct secret *ret)
{
	struct boxed_text boxed;
	bool ok = read_boxed(text, &boxed) && strcmp(boxed.place, place) == 0;

	if (ok)
		secret_set(ret, bytes_of(boxed.sealed.ptr, boxed.sealed.len));
	boxed_done(&boxed);
	return ok;
}

static int import_public(struct private_key *k, struct bytes der)
{
	gnutls_datum_t datum = datum_of(der);
	int code = gnutls_pubkey_init(&k->public);

	return code < 0 ? code : gnutls_pubkey_import(k->public, &datum, GNUTLS_X509_FMT_DER);
}

static int open_boxed(struct private_key *k, const char *text, struct err *err)
{
	struct boxed_text boxed;
	int r = 0;

	if (!read_boxed(text, &boxed))
		return err_set(err, E_PARSE, "this is no private key");
	struct bytes public = bytes_of(boxed.public.ptr, boxed.public.len);
	if (key_box_is_running())
		r = key_box_open(bytes_of(boxed.sealed.ptr, boxed.sealed.len), boxed.place,
				 &k->public, &k->signer, err);
	else if (import_public(k, public) < 0)
		r = err_set(err, E_PARSE, "this is no private key");
	boxed_done(&boxed);
	return r;
}

/* --- Making and reading ------------------------------------------------------------------------ */

static int import_plain(struct private_key *k, gnutls_x509_privkey_t from)
{
	int code = gnutls_privkey_init(&k->signer);

	if (code == 0)
		code = gnutls_privkey_import_x509(k->signer, from, GNUTLS_PRIVKEY_IMPORT_COPY);
	if (code == 0)
		code = gnutls_pubkey_init(&k->public);
	return code < 0 ? code : gnutls_pubkey_import_privkey(k->public, k->signer, 0, 0);
}

static int export_pem(gnutls_x509_privkey_t key, char **ret)
{
	gnutls_datum_t pem = { NULL, 0 };
	int code = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
						     GNUTLS_PKCS_PLAIN, &pem);

	if (code < 0)
		return code;
	*ret = mem_strndup(bytes_of(pem.data, pem.size));
	secret_wipe(pem.data, pem.size);
	gnutls_free(pem.data);
	return 0;
}

static int make_plain(struct private_key *k, enum private_key_kind kind)
{
	gnutls_x509_privkey_t key = NULL;
	bool is_rsa = kind == PRIVATE_KEY_RSA;
	unsigned bits =
		is_rsa ? PRIVATE_KEY_RSA_BITS : GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);
	int code = gnutls_x509_privkey_init(&key);

	if (code == 0)
		code = gnutls_x509_privkey_generate(key, is_rsa ? GNUTLS_PK_RSA : GNUTLS_PK_ECDSA,
						    bits, 0);
	if (code == 0)
		code = import_plain(k, key);
	if (code == 0)
		code = export_pem(key, &k->text);
	if (key)
		gnutls_x509_privkey_deinit(key); /* wipes it */
	return code;
}

struct private_key *private_key_make(enum private_key_kind kind, const char *place, struct err *err)
{
	struct private_key *k = mem_alloc(sizeof(*k));
	struct secret sealed = { 0 };
	int code = 0, r = 0;

	tls_global_init();
	if (key_box_is_running()) {
		r = key_box_make(kind, place, &sealed, &k->public, &k->signer, err);
		if (r == 0)
			k->text = write_boxed(place, k->public, bytes_of(sealed.ptr, sealed.len));
		code = r == 0 && !k->text ? GNUTLS_E_MEMORY_ERROR : 0;
	} else {
		code = make_plain(k, kind);
	}
	secret_done(&sealed);
	if (r == 0 && code == 0)
		code = load_public(k);
	if (r == 0 && code == 0)
		return k;
	if (r == 0)
		tls_error(err, NULL, code);
	return private_key_free(k);
}

static int read_plain(struct private_key *k, const char *pem)
{
	gnutls_datum_t text = datum_of(bytes_str(pem));
	gnutls_x509_privkey_t key = NULL;
	int code = gnutls_x509_privkey_init(&key);

	if (code == 0)
		code = gnutls_x509_privkey_import2(key, &text, GNUTLS_X509_FMT_PEM, NULL,
						   GNUTLS_PKCS_PLAIN);
	if (code == 0)
		code = import_plain(k, key);
	if (key)
		gnutls_x509_privkey_deinit(key); /* wipes it */
	return code;
}

struct private_key *private_key_parse(const char *text, struct err *err)
{
	struct private_key *k = mem_alloc(sizeof(*k));
	int r = 0;

	tls_global_init();
	if (private_key_is_boxed(text))
		r = open_boxed(k, text, err);
	else if (read_plain(k, text) < 0)
		r = err_set(err, E_PARSE, "this is no private key");
	if (r == 0 && load_public(k) < 0)
		r = err_set(err, E_PARSE, "this is no key on P-256, nor of RSA with 2048 bits");
	if (r < 0)
		return private_key_free(k);
	k->text = mem_strdup(text);
	return k;
}

char *private_key_text(const struct private_key *k)
{
	return mem_strdup(k->text);
}

int private_key_box(const char *pem, const char *place, char **ret_text, struct err *err)
{
	struct secret sealed = { 0 };
	struct private_key *k = private_key_parse(pem, err);
	int r = k ? key_box_seal(bytes_str(pem), place, &sealed, err) : E_PARSE;

	if (r == 0) {
		*ret_text = write_boxed(place, k->public, bytes_of(sealed.ptr, sealed.len));
		if (!*ret_text)
			r = err_set(err, E_INTERNAL, "the public half of a key cannot be written");
	}
	secret_done(&sealed);
	private_key_free(k);
	return r;
}

/* --- Signing ---------------------------------------------------------------------------------- */

/* SEQUENCE of two INTEGERs becomes two numbers of 32 bytes. */
static int split_signature(const gnutls_datum_t *signature, uint8_t *ret, size_t *ret_len)
{
	gnutls_datum_t r = { NULL, 0 }, s = { NULL, 0 };
	int code = gnutls_decode_rs_value(signature, &r, &s);

	if (code == 0 && (!put_number(&r, ret) || !put_number(&s, ret + PRIVATE_KEY_P256_BYTES)))
		code = GNUTLS_E_INTERNAL_ERROR;
	*ret_len = 2 * (size_t)PRIVATE_KEY_P256_BYTES;
	gnutls_free(r.data);
	gnutls_free(s.data);
	return code;
}

int private_key_sign(const struct private_key *k, struct bytes data,
		     uint8_t ret[PRIVATE_KEY_SIGNATURE_BYTES], size_t *ret_len, struct err *err)
{
	bool is_rsa = k->kind == PRIVATE_KEY_RSA;
	gnutls_datum_t text = datum_of(data), signature = { NULL, 0 };

	if (!k->signer)
		return err_set(err, E_CLOSED, "this key signs where the edge runs only");
	int code = gnutls_privkey_sign_data2(
		k->signer, is_rsa ? GNUTLS_SIGN_RSA_SHA256 : GNUTLS_SIGN_ECDSA_SECP256R1_SHA256, 0,
		&text, &signature);
	if (code == 0 && !is_rsa)
		code = split_signature(&signature, ret, ret_len);
	else if (code == 0 && signature.size > PRIVATE_KEY_SIGNATURE_BYTES)
		code = GNUTLS_E_INTERNAL_ERROR;
	else if (code == 0)
		memcpy(ret, signature.data, *ret_len = signature.size);
	gnutls_free(signature.data);
	return code < 0 ? tls_error(err, NULL, code) : 0;
}

/* --- From numbers ----------------------------------------------------------------------------- */

/* What the library cannot bear does not reach it. */
static bool are_numbers(enum private_key_kind kind, const struct private_key_numbers *n)
{
	if (kind == PRIVATE_KEY_P256)
		return n->x.len == PRIVATE_KEY_P256_BYTES && n->y.len == PRIVATE_KEY_P256_BYTES &&
		       n->d.len == PRIVATE_KEY_P256_BYTES;
	return n->n.len == PRIVATE_KEY_RSA_BITS / 8 && n->e.len && n->d.len && n->p.len && n->q.len;
}

char *private_key_pem(enum private_key_kind kind, const struct private_key_numbers *numbers,
		      struct err *err)
{
	gnutls_datum_t x = datum_of(numbers->x), y = datum_of(numbers->y);
	gnutls_datum_t n = datum_of(numbers->n), e = datum_of(numbers->e), d = datum_of(numbers->d);
	gnutls_datum_t p = datum_of(numbers->p), q = datum_of(numbers->q);
	gnutls_x509_privkey_t key = NULL;
	char *pem = NULL;

	tls_global_init();
	int code = are_numbers(kind, numbers) ? gnutls_x509_privkey_init(&key)
					      : GNUTLS_E_PARSING_ERROR;
	if (code == 0 && kind == PRIVATE_KEY_P256)
		code = gnutls_x509_privkey_import_ecc_raw(key, GNUTLS_ECC_CURVE_SECP256R1, &x, &y,
							  &d);
	else if (code == 0)
		code = gnutls_x509_privkey_import_rsa_raw2(key, &n, &e, &d, &p, &q, NULL, NULL,
							   NULL);
	if (code == 0)
		code = gnutls_x509_privkey_verify_params(key);
	if (code == 0)
		code = export_pem(key, &pem);
	if (key)
		gnutls_x509_privkey_deinit(key); /* wipes it */
	if (code < 0)
		err_set(err, E_PARSE, "these numbers are no private key");
	return pem;
}
