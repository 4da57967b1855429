#include "store/password.h"

#include <string.h>

#include "base/random.h"
#include "base/secret.h"

/* 64 MiB and two passes, about a tenth of a second: a sign-in may cost that, a guesser too. The
 * larger presets of libsodium (256 MiB and up) would push a small server over its memory. */
#define PASSWORD_OPS crypto_pwhash_OPSLIMIT_INTERACTIVE
#define PASSWORD_MEMORY crypto_pwhash_MEMLIMIT_INTERACTIVE
#define PASSWORD_MAX_BYTES 1024

int password_hash(const char *password, char ret[PASSWORD_HASH_SIZE], struct err *err)
{
	size_t len = strlen(password);

	if (len == 0 || len > PASSWORD_MAX_BYTES)
		return err_set(err, E_INVALID, "a password has 1 to %d bytes", PASSWORD_MAX_BYTES);
	if (crypto_pwhash_str(ret, password, len, PASSWORD_OPS, PASSWORD_MEMORY) != 0)
		return err_set(err, E_LIMIT, "not enough memory to hash a password");
	return 0;
}

/* Costs what a real check costs. */
static void check_nothing(const char *password)
{
	uint8_t out[32], salt[crypto_pwhash_SALTBYTES];

	random_bytes(salt, sizeof(salt));
	if (crypto_pwhash(out, sizeof(out), password, strlen(password), salt, PASSWORD_OPS,
			  PASSWORD_MEMORY, crypto_pwhash_ALG_ARGON2ID13) == 0)
		secret_wipe(out, sizeof(out));
}

bool password_is(const char *hash, const char *password)
{
	/* Nobody has such a password: refused before it costs anything. */
	if (strlen(password) > PASSWORD_MAX_BYTES)
		return false;
	if (hash)
		return crypto_pwhash_str_verify(hash, password, strlen(password)) == 0;
	check_nothing(password);
	return false;
}
