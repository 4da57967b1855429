/* What a responder of OCSP answers. */
#include "base/check.h"
#include "base/mem.h"
#include "tls/authority.h"
#include "tls/ocsp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tls_certificate *certificate;

static void set_up(void)
{
	struct authority_pair ca, leaf;
	const char *names[] = { "a.test" };

	tls_global_init();
	BUG_IF(authority_create("fuzz", &ca, NULL) < 0);
	BUG_IF(authority_issue(&ca, names, 1, 30, &leaf, NULL) < 0);
	char *chain = mem_printf("%s%s", leaf.cert_pem, ca.cert_pem);
	certificate = tls_certificate_load(bytes_str(chain), bytes_str(leaf.key_pem), NULL);
	BUG_IF(!certificate);
	mem_free(chain);
	authority_pair_done(&leaf);
	authority_pair_done(&ca);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_ocsp_answer answer;
	struct err err = { 0 };

	if (!certificate)
		set_up();
	/* Nobody has signed for this authority: whatever comes is refused, in words. */
	int r = tls_ocsp_check(certificate, bytes_of(data, size), clock_wall_now(), &answer, &err);
	BUG_IF(r >= 0 || !err.text[0]);
	return 0;
}
