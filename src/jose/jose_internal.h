/* Shared inside jose/ only. */
#pragma once

#include <cjose/jwk.h>

#include "jose/key_set.h"

enum jose_algorithm { JOSE_RS256, JOSE_PS256, JOSE_ES256 };

/* False for every other name, "none" among them. */
bool jose_algorithm_parse(const char *name, enum jose_algorithm *ret);
/* NULL when there is none of this id and kind. */
const cjose_jwk_t *key_set_find(const struct key_set *set, const char *id,
				enum jose_algorithm algorithm);
