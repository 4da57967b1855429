/* A connection through a proxy: connects to it, asks it to connect on, hands out the byte stream to the far end.
 * One loop. */
#pragma once

#include "io/conn.h"

struct proxy;
struct proxy_connect;
struct tls_context;

struct proxy_to {
	const struct proxy *proxy; /* borrowed until the end */
	struct tls_context *tls; /* for an https proxy: what it is trusted by; borrowed until the end */
	/* Our address of the connection to the proxy; NULL: any. Borrowed for the call. */
	const struct address *from;
	struct bytes host; /* name or IP literal without brackets, 255 bytes at most; copied */
	uint16_t port;
};

/* Within `timeout_ms`. done() comes exactly once, never inside this call: with a stream (owned by the callee then)
 * or NULL and an error that names the proxy, never its password: E_DENIED when it wants credentials or refuses
 * them, else E_REFUSED, E_TIMEOUT, E_IO, E_PROTOCOL, E_TLS, E_NOT_FOUND. The far end must not speak first. */
struct proxy_connect *proxy_connect(struct loop *l, const struct proxy_to *to, int64_t timeout_ms,
				    conn_done *done, void *ctx);
/* No done() after this. NULL is fine; returns NULL. */
struct proxy_connect *proxy_connect_cancel(struct proxy_connect *p);
