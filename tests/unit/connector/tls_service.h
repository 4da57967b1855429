/* A service behind TLS, on the loop of the test: what the test programs of connector/origin share. Included
 * once per program. */
#pragma once

#include "unit/connector/service.h"

#include "tls/authority.h"
#include "tls/tls.h"

static struct authority_pair ca;
static struct tls_certificate *certificate;
static struct tls_context *tls;

/* The service's end of a TLS connection. */
static struct {
	struct byte_stream *stream;
	bool is_done;
	uint8_t in[4096];
	size_t in_len;
	bool reads, has_end;
	char server_name[100]; /* that was asked for; empty: none was */
} secure;

static inline struct tls_certificate *choose_certificate(void *ctx, struct bytes server_name)
{
	snprintf(secure.server_name, sizeof(secure.server_name), BYTES_FMT, BYTES_ARG(server_name));
	return certificate;
}

static inline int start_tls(void **state)
{
	const char *names[] = { "127.0.0.1", "one.example.com", "two.example.com" };
	struct authority_pair leaf;

	start(state);
	tls_global_init();
	assert_int_equal(authority_create("Test CA", &ca, NULL), 0);
	assert_int_equal(authority_issue(&ca, names, ARRAY_LEN(names), 30, &leaf, NULL), 0);
	certificate = tls_certificate_load(bytes_str(leaf.cert_pem), bytes_str(leaf.key_pem), NULL);
	authority_pair_done(&leaf);
	tls = tls_context_server(choose_certificate, NULL, NULL, NULL, NULL);
	memset(&secure, 0, sizeof(secure));
	secure.reads = true;
	return certificate && tls ? 0 : -1;
}

static inline int stop_tls(void **state)
{
	secure.stream = byte_stream_close(secure.stream);
	int ret = stop(state);
	tls_context_unref(tls);
	tls_certificate_unref(certificate);
	authority_pair_done(&ca);
	return ret;
}

static inline void on_secure_readable(void *ctx)
{
	happened();
	while (secure.reads && secure.in_len < sizeof(secure.in)) {
		ssize_t n = byte_stream_read(secure.stream, secure.in + secure.in_len,
					     sizeof(secure.in) - secure.in_len, NULL);
		if (n == E_AGAIN)
			return;
		if (n <= 0) {
			secure.has_end = true;
			return;
		}
		secure.in_len += (size_t)n;
	}
}

static inline void on_secure_error(void *ctx, const struct err *err)
{
	secure.has_end = true;
	happened();
}

static const struct byte_stream_events secure_events = { .on_readable = on_secure_readable,
							 .on_error = on_secure_error };

static inline void on_secure(void *ctx, struct byte_stream *stream, const struct err *err)
{
	secure.is_done = true;
	secure.stream = stream;
	if (stream)
		byte_stream_set_events(stream, &secure_events, NULL);
	happened();
}

static inline void secure_on(int fd)
{
	secure.is_done = false;
	(void)tls_accept(tls, conn_adopt(loop, fd, &service_address), 5000, on_secure, NULL);
	WAIT_FOR(secure.is_done);
}

static inline void accept_secure(void)
{
	secure_on(accept_next());
}

static inline void hear_secure_head(void)
{
	WAIT_FOR(secure.in_len >= 4 && memcmp(secure.in + secure.in_len - 4, "\r\n\r\n", 4) == 0);
	secure.in_len = 0;
}
