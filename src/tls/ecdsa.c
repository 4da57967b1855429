#include "tls/ecdsa.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "tls/tls_internal.h"

struct ecdsa_key {
	gnutls_x509_privkey_t key; /* owned */
	gnutls_privkey_t signer;   /* owned */
	uint8_t point[ECDSA_POINT_BYTES];
};

struct ecdsa_key *ecdsa_key_free(struct ecdsa_key *k)
{
	if (!k)
		return NULL;
	if (k->signer)
		gnutls_privkey_deinit(k->signer);
	if (k->key)
		gnutls_x509_privkey_deinit(k->key);
	return mem_free(k);
}

/* A number of at most 32 bytes, right-aligned. False when it is longer. */
static bool put_number(const gnutls_datum_t *from, uint8_t to[ECDSA_NUMBER_BYTES])
{
	struct bytes number = bytes_of(from->data, from->size);

	while (number.len && number.ptr[0] == 0)
		number = bytes_from(number, 1);
	if (number.len > ECDSA_NUMBER_BYTES)
		return false;
	memset(to, 0, ECDSA_NUMBER_BYTES);
	if (number.len)
		memcpy(to + ECDSA_NUMBER_BYTES - number.len, number.ptr, number.len);
	return true;
}

static int load_point(struct ecdsa_key *k)
{
	gnutls_datum_t x = { NULL, 0 }, y = { NULL, 0 }, secret = { NULL, 0 };
	gnutls_ecc_curve_t curve;
	int ret = gnutls_x509_privkey_export_ecc_raw(k->key, &curve, &x, &y, &secret);

	if (ret == 0 && curve != GNUTLS_ECC_CURVE_SECP256R1)
		ret = GNUTLS_E_ECC_UNSUPPORTED_CURVE;
	k->point[0] = 4;
	if (ret == 0 &&
	    (!put_number(&x, k->point + 1) || !put_number(&y, k->point + 1 + ECDSA_NUMBER_BYTES)))
		ret = GNUTLS_E_ECC_UNSUPPORTED_CURVE;
	if (secret.data)
		secret_wipe(secret.data, secret.size);
	gnutls_free(secret.data);
	gnutls_free(x.data);
	gnutls_free(y.data);
	return ret;
}

/* Takes the key over. */
static struct ecdsa_key *take(gnutls_x509_privkey_t key, int ret, struct err *err)
{
	struct ecdsa_key *k = mem_alloc(sizeof(*k));

	k->key = key;
	if (ret == 0)
		ret = load_point(k);
	if (ret == 0)
		ret = gnutls_privkey_init(&k->signer);
	if (ret == 0)
		ret = gnutls_privkey_import_x509(k->signer, k->key, 0);
	if (ret >= 0)
		return k;
	tls_error(err, NULL, ret);
	return ecdsa_key_free(k);
}

struct ecdsa_key *ecdsa_key_new(struct err *err)
{
	gnutls_x509_privkey_t key = NULL;
	int ret;

	tls_global_init();
	ret = gnutls_x509_privkey_init(&key);
	if (ret == 0)
		ret = gnutls_x509_privkey_generate(
			key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	return take(key, ret, err);
}

struct ecdsa_key *ecdsa_key_parse(const char *pem, struct err *err)
{
	gnutls_datum_t text = { (unsigned char *)(uintptr_t)pem, (unsigned)strlen(pem) };
	gnutls_x509_privkey_t key = NULL;
	struct ecdsa_key *k;
	int ret;

	tls_global_init();
	ret = gnutls_x509_privkey_init(&key);
	if (ret == 0)
		ret = gnutls_x509_privkey_import2(key, &text, GNUTLS_X509_FMT_PEM, NULL,
						  GNUTLS_PKCS_PLAIN);
	k = take(key, ret, err);
	if (!k)
		err_set(err, E_PARSE, "this is no key on P-256");
	return k;
}

char *ecdsa_key_pem(const struct ecdsa_key *k)
{
	gnutls_datum_t pem = { NULL, 0 };
	int ret = gnutls_x509_privkey_export2_pkcs8(k->key, GNUTLS_X509_FMT_PEM, NULL,
						    GNUTLS_PKCS_PLAIN, &pem);
	char *text;

	BUG_IF(ret < 0);
	text = mem_strndup(bytes_of(pem.data, pem.size));
	secret_wipe(pem.data, pem.size);
	gnutls_free(pem.data);
	return text;
}

void ecdsa_key_point(const struct ecdsa_key *k, uint8_t ret[ECDSA_POINT_BYTES])
{
	memcpy(ret, k->point, ECDSA_POINT_BYTES);
}

int ecdsa_sign(const struct ecdsa_key *k, struct bytes data, uint8_t r[ECDSA_NUMBER_BYTES],
	       uint8_t s[ECDSA_NUMBER_BYTES], struct err *err)
{
	gnutls_datum_t text = { (unsigned char *)(uintptr_t)data.ptr, (unsigned)data.len };
	gnutls_datum_t signature = { NULL, 0 }, first = { NULL, 0 }, second = { NULL, 0 };
	int ret = gnutls_privkey_sign_data2(k->signer, GNUTLS_SIGN_ECDSA_SECP256R1_SHA256, 0, &text,
					    &signature);

	if (ret == 0)
		ret = gnutls_decode_rs_value(&signature, &first, &second);
	if (ret == 0 && (!put_number(&first, r) || !put_number(&second, s)))
		ret = GNUTLS_E_INTERNAL_ERROR;
	gnutls_free(signature.data);
	gnutls_free(first.data);
	gnutls_free(second.data);
	return ret < 0 ? tls_error(err, NULL, ret) : 0;
}
