/* Passwords as they are kept: argon2id (RFC 9106). Each call takes about a tenth of a second. Any thread. */
#pragma once

#include <sodium.h>
#include <stdbool.h>

#include "base/err.h"

#define PASSWORD_HASH_SIZE crypto_pwhash_STRBYTES

/* E_INVALID: empty or too long; E_LIMIT: no memory for it. */
int password_hash(const char *password, char ret[PASSWORD_HASH_SIZE], struct err *err);
/* Without a hash (NULL) false, after as long a time: it does not tell who has an account. */
bool password_is(const char *hash, const char *password);
