/* libfido2, loaded when the first passkey is looked at.
 *
 * Few edges know passkeys, and libfido2 brings OpenSSL's libcrypto, libcbor and libudev along. So its few entry points
 * are found at run time, as those of libcjose are (jose/cjose_library.c); webauthn.c sees its headers.
 */
#include "edge/access/webauthn_library.h"

#include <dlfcn.h>
#include <fido.h>
#include <fido/eddsa.h>
#include <fido/err.h>
#include <fido/es256.h>
#include <fido/rs256.h>
#include <pthread.h>

#include "base/check.h"

/* Result, name, parameters, arguments. */
#define ENTRIES(X)                                                                                \
	X(fido_cred_t *, fido_cred_new, (void), ())                                               \
	X(int, fido_cred_set_type, (fido_cred_t * c, int alg), (c, alg))                          \
	X(int, fido_cred_set_authdata_raw, (fido_cred_t * c, const unsigned char *p, size_t len), \
	  (c, p, len))                                                                            \
	X(const unsigned char *, fido_cred_id_ptr, (const fido_cred_t *c), (c))                   \
	X(size_t, fido_cred_id_len, (const fido_cred_t *c), (c))                                  \
	X(const unsigned char *, fido_cred_pubkey_ptr, (const fido_cred_t *c), (c))               \
	X(size_t, fido_cred_pubkey_len, (const fido_cred_t *c), (c))                              \
	X(fido_assert_t *, fido_assert_new, (void), ())                                           \
	X(int, fido_assert_set_count, (fido_assert_t * a, size_t n), (a, n))                      \
	X(int, fido_assert_set_clientdata_hash,                                                   \
	  (fido_assert_t * a, const unsigned char *p, size_t len), (a, p, len))                   \
	X(int, fido_assert_set_rp, (fido_assert_t * a, const char *id), (a, id))                  \
	X(int, fido_assert_set_up, (fido_assert_t * a, fido_opt_t up), (a, up))                   \
	X(int, fido_assert_set_uv, (fido_assert_t * a, fido_opt_t uv), (a, uv))                   \
	X(int, fido_assert_set_authdata_raw,                                                      \
	  (fido_assert_t * a, size_t i, const unsigned char *p, size_t len), (a, i, p, len))      \
	X(int, fido_assert_set_sig,                                                               \
	  (fido_assert_t * a, size_t i, const unsigned char *p, size_t len), (a, i, p, len))      \
	X(int, fido_assert_verify, (const fido_assert_t *a, size_t i, int alg, const void *key),  \
	  (a, i, alg, key))                                                                       \
	X(const char *, fido_strerr, (int code), (code))                                          \
	X(es256_pk_t *, es256_pk_new, (void), ())                                                 \
	X(int, es256_pk_from_ptr, (es256_pk_t * k, const void *p, size_t len), (k, p, len))       \
	X(eddsa_pk_t *, eddsa_pk_new, (void), ())                                                 \
	X(int, eddsa_pk_from_ptr, (eddsa_pk_t * k, const void *p, size_t len), (k, p, len))       \
	X(rs256_pk_t *, rs256_pk_new, (void), ())                                                 \
	X(int, rs256_pk_from_ptr, (rs256_pk_t * k, const void *p, size_t len), (k, p, len))

/* Those without a result. */
#define VOID_ENTRIES(X)                                \
	X(fido_init, (int flags), (flags))             \
	X(fido_cred_free, (fido_cred_t * *c), (c))     \
	X(fido_assert_free, (fido_assert_t * *a), (a)) \
	X(es256_pk_free, (es256_pk_t * *k), (k))       \
	X(eddsa_pk_free, (eddsa_pk_t * *k), (k))       \
	X(rs256_pk_free, (rs256_pk_t * *k), (k))

#define SLOT(type, name, params, args) type(*name) params;
#define VOID_SLOT(name, params, args) void(*name) params;
static struct {
	ENTRIES(SLOT)
	VOID_ENTRIES(VOID_SLOT)
} lib;

#define ENTRY(type, name, params, args) { #name, &lib.name },
#define VOID_ENTRY(name, params, args) { #name, &lib.name },
static const struct {
	const char *name;
	void *slot;
} entries[] = { ENTRIES(ENTRY) VOID_ENTRIES(VOID_ENTRY) };

#define WRAPPER(type, name, params, args) \
	type name params                  \
	{                                 \
		return lib.name args;     \
	}
#define VOID_WRAPPER(name, params, args) \
	void name params                 \
	{                                \
		lib.name args;           \
	}
ENTRIES(WRAPPER)
VOID_ENTRIES(VOID_WRAPPER)

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static bool is_loaded;

static void load(void)
{
	void *handle = dlopen("libfido2.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		return;
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		void *symbol = dlsym(handle, entries[i].name);

		if (!symbol)
			return;
		*(void **)entries[i].slot = symbol;
	}
	fido_init(0);
	is_loaded = true;
}

bool webauthn_library_load(void)
{
	pthread_once(&load_once, load);
	return is_loaded;
}
