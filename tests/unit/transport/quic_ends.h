/* A QUIC server and a client on loopback, joined: what the UDP tests of this folder share. Included once per program.
 */
#pragma once

#include "unit/io/turns.h"

#include "base/limits.h"
#include "io/udp.h"
#include "quic/quic.h"
#include "tls/authority.h"
#include "transport/quic_endpoint.h"
#include "transport/udp_flow.h"

static struct tls_certificate *certificate;
static struct tls_context *server_tls, *client_tls;

static struct tls_certificate *choose(void *ctx, struct bytes server_name)
{
	(void)ctx;
	(void)server_name;
	return certificate;
}

static int make_tls(void **state)
{
	static const char *const alpn[] = { "argotunnel", NULL };
	const char *names[] = { "quic.cftunnel.com" };
	struct authority_pair ca, leaf;

	(void)state;
	tls_global_init();
	assert_int_equal(authority_create("Test CA", &ca, NULL), 0);
	assert_int_equal(authority_issue(&ca, names, 1, 30, &leaf, NULL), 0);
	certificate = tls_certificate_load(bytes_str(leaf.cert_pem), bytes_str(leaf.key_pem), NULL);
	const struct tls_client_options options = { .ca_pem = bytes_str(ca.cert_pem), .alpn = alpn };
	server_tls = tls_context_server(choose, NULL, NULL, alpn, NULL);
	client_tls = tls_context_client(&options, NULL);
	assert_non_null(server_tls);
	assert_non_null(client_tls);
	authority_pair_done(&ca);
	authority_pair_done(&leaf);
	return 0;
}

static int drop_tls(void **state)
{
	(void)state;
	tls_context_unref(server_tls);
	tls_context_unref(client_tls);
	tls_certificate_unref(certificate);
	return 0;
}

static int open_udp(struct address *ret)
{
	assert_int_equal(address_parse(BYTES_LIT("127.0.0.1:0"), ret, NULL), 0);
	int fd = udp_open(ret, false, NULL);
	assert_true(fd >= 0);
	return fd;
}

static const struct quic_server_options *server_options(void)
{
	static const uint8_t secret[32] = { 7 };
	static struct quic_server_options options;

	options = (struct quic_server_options){ .tls = server_tls,
						.retry_above = 1000,
						.secret = { secret, 32 } };
	return &options;
}

/* What a connector says about itself, but for its features. */
static struct registration registration_with(const struct bytes *features, size_t count)
{
	return (struct registration){
		.account = BYTES_LIT("0123456789abcdef0123456789abcdef"),
		.secret = BYTES_LIT("32 bytes that nobody will guess!"),
		.tunnel = { { 1, 2, 3 } },
		.connector = { { 99 } },
		.version = BYTES_LIT("test"),
		.arch = BYTES_LIT("linux_amd64"),
		.features = features,
		.feature_count = count,
	};
}

static inline struct address address_at(const char *text)
{
	struct address a;

	assert_int_equal(address_parse(bytes_str(text), &a, NULL), 0);
	return a;
}
