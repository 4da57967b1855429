/* Texts with certificates and keys, taken apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tls/authority.h"
#include "tls/pem.h"
#include "tls/request.h"

#define BLOCK(label, inside) "-----BEGIN " label "-----\n" inside "\n-----END " label "-----\n"

static struct pem_parts parts;
static struct err err;

static int tear_down(void **state)
{
	(void)state;
	pem_parts_done(&parts);
	err = (struct err){ 0 };
	return 0;
}

static void takes_certificates_in_order_and_the_key_apart(void **state)
{
	(void)state;
	assert_int_equal(
		pem_split(BYTES_LIT("Subject: x\n" BLOCK("EC PARAMETERS", "Bg==")
					    BLOCK("EC PRIVATE KEY", "S0VZ")
						    BLOCK("CERTIFICATE", "QQ==") "between\r\n" BLOCK(
							    "CERTIFICATE", "Qg==")),
			  &parts, &err),
		0);
	assert_string_equal(parts.chain, BLOCK("CERTIFICATE", "QQ==") BLOCK("CERTIFICATE", "Qg=="));
	assert_int_equal(parts.certificate_count, 2);
	assert_non_null(strstr((char *)parts.key.ptr, "S0VZ"));
	assert_null(strstr((char *)parts.key.ptr, "CERTIFICATE"));
}

static void nothing_is_nothing(void **state)
{
	(void)state;
	assert_int_equal(pem_split(BYTES_LIT("no PEM at all"), &parts, &err), 0);
	assert_null(parts.chain);
	assert_int_equal(parts.key.len, 0);
}

static void refuses(const char *text, const char *words)
{
	assert_int_equal(pem_split(bytes_str(text), &parts, &err), E_INVALID);
	assert_non_null(strstr(err.text, words));
}

static void refuses_what_cannot_be_used(void **state)
{
	(void)state;
	refuses(BLOCK("ENCRYPTED PRIVATE KEY", "AA"), "has a password");
	refuses(BLOCK("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nAA"), "has a password");
	refuses(BLOCK("PRIVATE KEY", "AA") BLOCK("PRIVATE KEY", "AA"), "more than one");
	refuses("-----BEGIN CERTIFICATE-----\nAA\n", "does not end");
	refuses("-----BEGIN CERTIFICATE\nAA\n", "is damaged");
}

static void a_certificate_tells_names_issuer_and_dates(void **state)
{
	static const char *const names[] = { "*.example.com", "Example.com", "127.0.0.1" };
	struct authority_pair ca = { 0 }, leaf = { 0 };
	struct tls_chain_info info;

	(void)state;
	assert_int_equal(authority_create("The CA", &ca, NULL), 0);
	assert_int_equal(authority_issue(&ca, names, 3, 30, &leaf, NULL), 0);
	assert_int_equal(tls_chain_info(leaf.cert_pem, &info, &err), 0);
	assert_string_equal(info.names, "*.example.com\nexample.com");
	assert_string_equal(info.issuer, "The CA");
	assert_true(info.starts_at < clock_wall_now() && info.ends_at > clock_wall_now());
	mem_free(info.names);
	assert_int_equal(tls_chain_info(ca.cert_pem, &info, &err), E_INVALID);
	assert_int_equal(tls_chain_info("rubbish", &info, &err), E_INVALID);
	authority_pair_done(&ca);
	authority_pair_done(&leaf);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(takes_certificates_in_order_and_the_key_apart),
		TEST(nothing_is_nothing),
		TEST(refuses_what_cannot_be_used),
		TEST(a_certificate_tells_names_issuer_and_dates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
