/* What certificates and requests are signed with. Never included from outside the folder. */
#pragma once

#include <gnutls/abstract.h>

#include "tls/private_key.h"

/* Both borrowed. The first is NULL when it cannot sign. */
gnutls_privkey_t private_key_signer(const struct private_key *k);
gnutls_pubkey_t private_key_public(const struct private_key *k);
