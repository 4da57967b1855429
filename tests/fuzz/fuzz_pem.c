/* Chains and keys as people and authorities hand them over. */
#include <string.h>

#include "base/mem.h"
#include "tls/pem.h"
#include "tls/request.h"

static void look(const char *chain, const char *key)
{
	static const char *const names[] = { "a.example.com" };
	struct tls_chain_info info;
	struct err err = { 0 };

	if (tls_chain_info(chain, &info, &err) == 0) {
		for (const char *c = info.names; *c; c++)
			BUG_IF((*c < ' ' && *c != '\n') || *c == ' ' || *c > '~');
		mem_free(info.names);
	} else {
		BUG_IF(!err.text[0]);
	}
	if (tls_chain_check(chain, key, names, 1, &err) < 0)
		BUG_IF(!err.text[0]);
	mem_free(tls_renewal_id(chain));
	(void)tls_certificate_start(chain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pem_parts parts;
	struct err err = { 0 };
	char *whole = mem_strndup(bytes_of(data, size));

	if (pem_split(bytes_of(data, size), &parts, &err) == 0) {
		BUG_IF(!parts.chain != (parts.certificate_count == 0));
		if (parts.chain)
			look(parts.chain, parts.key.len ? (const char *)parts.key.ptr : "");
		pem_parts_done(&parts);
	} else {
		BUG_IF(!err.text[0]);
	}
	look(whole, whole);
	mem_free(whole);
	return 0;
}
