/* What a certificate authority may answer from the directory to the order: replies of replies.h, in turn. */
#include "acme/acme.h"
#include "base/check.h"
#include "replies.h"

static char *reply_made(struct bytes body)
{
	(void)body;
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "example.com", "*.example.com" };
	static const enum acme_method methods[] = { ACME_TLS_ALPN_01, ACME_DNS_01, ACME_HTTP_01 };
	static char *account_key;
	const struct acme_options options = {
		.directory = "https://authority.example.com/directory",
		.account_key = account_key,
	};
	struct err err = { 0 };
	usec time;

	struct acme *a = acme_new(&options, &err);
	BUG_IF(!a);
	if (!account_key)
		account_key = acme_account_key(a);
	replies_begin(bytes_of(data, size));
	struct acme_order *o =
		acme_order(a, names, ARRAY_LEN(names), methods, ARRAY_LEN(methods), NULL, &err);
	BUG_IF(!o && !err.text[0]);
	for (size_t i = 0; o && i < o->challenge_count; i++)
		BUG_IF(!o->challenges[i].url || !o->challenges[i].token || !o->challenges[i].name);
	BUG_IF(acme_renewal_time(a, "id.number", &time, &err) == 0 && time < 0);
	acme_order_free(o);
	acme_free(a);
	return 0;
}
