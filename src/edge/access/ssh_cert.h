/* Short-lived SSH certificates (OpenSSH's PROTOCOL.certkeys): a user's public key, signed by an application's own
 * authority, which an sshd trusts (TrustedUserCAKeys). Pure but for the signature. Any thread, one at a time per key.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"

struct private_key;

/* What an authority's key is for, to the key process (tls/private_key.h). */
#define SSH_AUTHORITY_PLACE "authority of SSH"

/* "ecdsa-sha2-nistp256 AAAA… COMMENT", for TrustedUserCAKeys; owned by the caller. */
char *ssh_authority_line(const struct private_key *ca, const char *comment);

struct ssh_certificate {
	const char *public_key; /* as in an authorized_keys file: ecdsa-sha2-nistp256 or ssh-ed25519 */
	const char *key_id;     /* what sshd logs: the e-mail address */
	const char *principal; /* the Unix user it is good for */
	uint64_t serial;
	usec valid_after, valid_before; /* wall time */
};

#define SSH_KEY_LINE_BYTES 1024

/* One line for a -cert.pub file, without a line break; owned by the caller. NULL: E_PARSE (that is no public key of
 * those kinds), E_INVALID (no principal). */
char *ssh_certificate_sign(const struct private_key *ca, const struct ssh_certificate *c,
			   struct err *err);
/* "joe" of "Joe@example.com": in lower case, with what no Unix user has taken out; owned by the caller, NULL when
 * nothing is left. */
char *ssh_principal(const char *email);
