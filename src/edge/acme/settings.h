/* What the settings of ACME may say. Pure functions, but for the file of the external account. */
#pragma once

#include "base/err.h"
#include "base/secret.h"

/* The directory's URL for "letsencrypt", "letsencrypt-staging", "zerossl", "google", "google-staging", or an https
 * URL itself; owned. NULL with E_INVALID. */
char *acme_directory_url(const char *text, struct err *err);
/* How people know it: the name, where it has one, else the URL. */
const char *acme_directory_name(const char *url);

enum acme_challenges {
	ACME_CHALLENGE_AUTO,
	ACME_ONLY_DNS_01,
	ACME_ONLY_TLS_ALPN_01,
	ACME_ONLY_HTTP_01
};
bool acme_challenges_parse(const char *text, enum acme_challenges *ret);

/* External account binding: the first word of the file is the key's id, the second the key in base64url. "credential:"
 * and a name: a file of $CREDENTIALS_DIRECTORY (systemd's LoadCredential=). *ret_id is owned; wipe the key. */
int acme_binding_load(const char *path, char **ret_id, struct secret *ret_key, struct err *err);
