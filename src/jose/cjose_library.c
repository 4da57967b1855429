/* libcjose, loaded when the first key is read.
 *
 * Few connectors check tokens, and libcjose brings OpenSSL's libcrypto along: 5 MB of mappings and a
 * start-up of its own. So its few entry points are found at run time, as those of libcurl are
 * (http/curl_library.c); everybody else in this folder sees its headers.
 */
#include "jose/cjose_library.h"

#include <cjose/jwk.h>
#include <cjose/jws.h>
#include <dlfcn.h>
#include <pthread.h>

#include "base/check.h"

static struct {
	cjose_jwk_t *(*rsa_spec)(const cjose_jwk_rsa_keyspec *spec, cjose_err *err);
	cjose_jwk_t *(*ec_spec)(const cjose_jwk_ec_keyspec *spec, cjose_err *err);
	bool (*jwk_release)(cjose_jwk_t *jwk);
	cjose_jws_t *(*jws_import)(const char *compact, size_t len, cjose_err *err);
	bool (*jws_verify)(cjose_jws_t *jws, const cjose_jwk_t *jwk, cjose_err *err);
	void (*jws_release)(cjose_jws_t *jws);
	cjose_jwk_t *(*ec_random)(cjose_jwk_ec_curve curve, cjose_err *err);
	cjose_jwk_t *(*rsa_random)(size_t bits, const uint8_t *e, size_t e_len, cjose_err *err);
	cjose_jwk_t *(*oct_spec)(const uint8_t *data, size_t len, cjose_err *err);
	cjose_jwk_t *(*jwk_import)(const char *json, size_t len, cjose_err *err);
	char *(*jwk_json)(const cjose_jwk_t *jwk, bool with_private, cjose_err *err);
	cjose_header_t *(*header_new)(cjose_err *err);
	bool (*header_set)(cjose_header_t *h, const char *name, const char *value, cjose_err *err);
	bool (*header_set_raw)(cjose_header_t *h, const char *name, const char *value,
			       cjose_err *err);
	void (*header_release)(cjose_header_t *h);
	cjose_jws_t *(*jws_sign)(const cjose_jwk_t *jwk, cjose_header_t *header,
				 const uint8_t *text, size_t len, cjose_err *err);
	bool (*jws_export)(cjose_jws_t *jws, const char **text, cjose_err *err);
} lib;

static const struct {
	const char *name;
	void *slot;
} entries[] = {
	{ "cjose_jwk_create_RSA_spec", &lib.rsa_spec },
	{ "cjose_jwk_create_EC_spec", &lib.ec_spec },
	{ "cjose_jwk_release", &lib.jwk_release },
	{ "cjose_jws_import", &lib.jws_import },
	{ "cjose_jws_verify", &lib.jws_verify },
	{ "cjose_jws_release", &lib.jws_release },
	{ "cjose_jwk_create_EC_random", &lib.ec_random },
	{ "cjose_jwk_create_RSA_random", &lib.rsa_random },
	{ "cjose_jwk_create_oct_spec", &lib.oct_spec },
	{ "cjose_jwk_import", &lib.jwk_import },
	{ "cjose_jwk_to_json", &lib.jwk_json },
	{ "cjose_header_new", &lib.header_new },
	{ "cjose_header_set", &lib.header_set },
	{ "cjose_header_set_raw", &lib.header_set_raw },
	{ "cjose_header_release", &lib.header_release },
	{ "cjose_jws_sign", &lib.jws_sign },
	{ "cjose_jws_export", &lib.jws_export },
};

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static bool is_loaded;

static void load(void)
{
	void *handle = dlopen("libcjose.so.0", RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		return;
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		void *symbol = dlsym(handle, entries[i].name);
		if (!symbol)
			return;
		*(void **)entries[i].slot = symbol;
	}
	is_loaded = true;
}

bool cjose_library_load(void)
{
	pthread_once(&load_once, load);
	return is_loaded;
}

/* --- The entry points ------------------------------------------------------------------------ */

cjose_jwk_t *cjose_jwk_create_RSA_spec(const cjose_jwk_rsa_keyspec *spec, cjose_err *err)
{
	return lib.rsa_spec(spec, err);
}

cjose_jwk_t *cjose_jwk_create_EC_spec(const cjose_jwk_ec_keyspec *spec, cjose_err *err)
{
	return lib.ec_spec(spec, err);
}

bool cjose_jwk_release(cjose_jwk_t *jwk)
{
	return lib.jwk_release(jwk);
}

cjose_jws_t *cjose_jws_import(const char *compact, size_t len, cjose_err *err)
{
	return lib.jws_import(compact, len, err);
}

bool cjose_jws_verify(cjose_jws_t *jws, const cjose_jwk_t *jwk, cjose_err *err)
{
	return lib.jws_verify(jws, jwk, err);
}

void cjose_jws_release(cjose_jws_t *jws)
{
	if (jws)
		lib.jws_release(jws);
}

cjose_jwk_t *cjose_jwk_create_EC_random(cjose_jwk_ec_curve curve, cjose_err *err)
{
	return lib.ec_random(curve, err);
}

cjose_jwk_t *cjose_jwk_create_RSA_random(size_t bits, const uint8_t *e, size_t e_len, cjose_err *err)
{
	return lib.rsa_random(bits, e, e_len, err);
}

cjose_jwk_t *cjose_jwk_create_oct_spec(const uint8_t *data, size_t len, cjose_err *err)
{
	return lib.oct_spec(data, len, err);
}

cjose_jwk_t *cjose_jwk_import(const char *json, size_t len, cjose_err *err)
{
	return lib.jwk_import(json, len, err);
}

char *cjose_jwk_to_json(const cjose_jwk_t *jwk, bool with_private, cjose_err *err)
{
	return lib.jwk_json(jwk, with_private, err);
}

cjose_header_t *cjose_header_new(cjose_err *err)
{
	return lib.header_new(err);
}

bool cjose_header_set(cjose_header_t *h, const char *name, const char *value, cjose_err *err)
{
	return lib.header_set(h, name, value, err);
}

bool cjose_header_set_raw(cjose_header_t *h, const char *name, const char *value, cjose_err *err)
{
	return lib.header_set_raw(h, name, value, err);
}

void cjose_header_release(cjose_header_t *h)
{
	lib.header_release(h);
}

cjose_jws_t *cjose_jws_sign(const cjose_jwk_t *jwk, cjose_header_t *header, const uint8_t *text,
			    size_t len, cjose_err *err)
{
	return lib.jws_sign(jwk, header, text, len, err);
}

bool cjose_jws_export(cjose_jws_t *jws, const char **text, cjose_err *err)
{
	return lib.jws_export(jws, text, err);
}
