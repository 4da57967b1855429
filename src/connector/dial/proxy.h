/* A proxy on the way out, as a URL names it, and whom it is not for. Pure.
 *
 *	http://[user:password@]host[:80]      asked to CONNECT (RFC 9110 §9.3.6)
 *	https://[user:password@]host[:443]    the same within TLS
 *	socks5://[user:password@]host[:1080]  SOCKS 5 (RFC 1928, RFC 1929); names are looked up here
 *	socks5h://…                           the same; names are looked up by the proxy
 *
 * Without a scheme it is http. User and password may have %XX in them.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/err.h"

enum proxy_kind { PROXY_HTTP, PROXY_HTTPS, PROXY_SOCKS5 };

struct proxy {
	enum proxy_kind kind;
	bool resolves;     /* it is given names */
	struct bytes host; /* without brackets */
	uint16_t port;
	struct bytes authorization;  /* HTTP: value of Proxy-Authorization; empty: none */
	struct bytes user, password; /* SOCKS: decoded; 255 bytes at most; an empty user: none */
	struct bytes text; /* for people: the URL without user and password; static or of the arena */
};

/* E_INVALID or E_UNSUPPORTED, with `setting` ("HTTPS_PROXY") named; errors repeat nothing that may be a password.
 * Texts are from `a`. */
int proxy_parse(struct arena *a, const char *url, const char *setting, struct proxy *ret,
		struct err *err) MUST_USE;
/* "http", "https", "socks5", "socks5h" */
const char *proxy_scheme(const struct proxy *p);

/* Is it reached without the proxy, as NO_PROXY says? Loopback always is. A list with commas: "*" (everything),
 * "example.com" and ".example.com" (the name and those below it, or only those), "10.0.0.0/8", addresses; each
 * but the CIDR may end with ":port". NULL is an empty list. */
bool proxy_is_bypassed(const char *no_proxy, struct bytes host, uint16_t port);
