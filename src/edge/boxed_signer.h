/* Signers of tokens (jose/signer.h) whose keys are those of the key process (tls/private_key.h), where there is one. */
#pragma once

#include "base/err.h"
#include "jose/signer.h"
#include "tls/private_key.h"

/* RS256 or ES256. `place`: what it is for. */
struct signer *boxed_signer_make(enum private_key_kind kind, const char *place, struct err *err);
/* As signer_text() gave it, of a key here or there. */
struct signer *boxed_signer_parse(const char *text, struct err *err);
/* A JWK becomes a text of the key process's; owned by the caller. */
int boxed_signer_move(const char *jwk, const char *place, char **ret_text, struct err *err);
