/* A text that people put together from certificates and a key (RFC 7468), taken apart. Any thread. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"

struct pem_parts {
	char *chain; /* the certificates alone, in their order; owned; NULL: there is none */
	size_t certificate_count;
	struct secret key; /* the first private key, as PEM, with a NUL that len does not count; empty: there is none */
};

/* What stands between the blocks, and blocks of other kinds, are left out. E_INVALID: a block that does not end, a key
 * with a password, more than one key; E_LIMIT. *ret is done with on failure. */
int pem_split(struct bytes text, struct pem_parts *ret, struct err *err);
void pem_parts_done(struct pem_parts *p);
