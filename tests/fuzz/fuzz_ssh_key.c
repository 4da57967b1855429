/* The public key that somebody hands in to be signed: a certificate of one line, or a reason. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "edge/access/ssh_cert.h"
#include "tls/private_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct private_key *ca;
	char *key = mem_strndup(bytes_of(data, size));
	char *user = ssh_principal(key);
	struct err err = { 0 };

	if (!ca)
		ca = private_key_make(PRIVATE_KEY_P256, "ssh", NULL);
	char *line =
		ssh_certificate_sign(ca,
				     &(struct ssh_certificate){ .public_key = key,
								.key_id = "ann@example.com",
								.principal = user ? user : "ann",
								.serial = 1,
								.valid_after = 1,
								.valid_before = 2 },
				     &err);

	BUG_IF(!line && !err.text[0]);
	for (const char *c = line; c && *c; c++)
		BUG_IF(*c < ' ' || *c > '~');
	for (const char *c = user; c && *c; c++)
		BUG_IF(!strchr("abcdefghijklmnopqrstuvwxyz0123456789._-", *c));
	mem_free(line);
	mem_free(user);
	mem_free(key);
	return 0;
}
