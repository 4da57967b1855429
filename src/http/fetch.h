/* One outbound HTTP request, done by libcurl while the caller waits.
 *
 * For command-line programs and the control thread: it blocks, so a worker never calls it. Safe from
 * several threads at once. TLS is verified against the system's roots (or SSL_CERT_FILE and
 * SSL_CERT_DIR) and the authority given here, redirects are not followed, proxies are used only when
 * asked for, and the body that comes back has a maximum.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"

struct fetch_header {
	const char *name;  /* a token of RFC 9110 */
	const char *value; /* no CR, LF or NUL */
};

/* Zero is a sensible value of every field but url. All pointers are borrowed for the call. */
struct fetch_request {
	const char *method; /* NULL: "GET" */
	const char *url;    /* http:// or https:// */
	const struct fetch_header *headers;
	size_t header_count;
	struct bytes body; /* sent when ptr is not NULL, even with length 0 */

	usec timeout;         /* of everything; 0: 15 s */
	usec connect_timeout; /* TCP and TLS; 0: 15 s */
	size_t body_max;      /* bytes of the answer's body; 0: LIMIT_API_BODY_BYTES */

	const char *unix_path; /* connect to this socket; the URL's host is only the Host header */
	const char *ca_file;   /* PEM, trusted in addition to the system's roots */
	struct bytes ca_pem;   /* the same, from memory */
	bool use_proxy;        /* HTTPS_PROXY, ALL_PROXY and NO_PROXY are honoured */
};

struct fetch_response {
	int status;
	char *content_type; /* owned; as received, "" when there is none */
	struct buf body;    /* owned; also filled for error statuses */
	struct buf head;    /* owned; see fetch_response_header() */
};

/* 0 once a complete response arrived, whatever its status; *ret then belongs to the caller, who ends it
 * with fetch_response_done(). On failure *ret is untouched and `err` names the host: E_INVALID (URL,
 * header or CA file), E_NOT_FOUND (name does not resolve), E_REFUSED, E_TIMEOUT, E_TLS, E_LIMIT (body
 * over body_max), E_CLOSED, E_PROTOCOL, E_IO. */
int fetch(const struct fetch_request *req, struct fetch_response *ret, struct err *err) MUST_USE;
void fetch_response_done(struct fetch_response *res);
/* The first field of that name, without blanks at its ends, borrowed; empty when there is none. */
struct bytes fetch_response_header(const struct fetch_response *res, const char *name);

/* Appends `text` percent-encoded for a query or path segment (RFC 3986 unreserved stay). */
int fetch_escape(struct buf *out, struct bytes text) MUST_USE;
