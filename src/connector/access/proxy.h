/* Does a way lead through an HTTP proxy? From the variables HTTPS_PROXY and NO_PROXY, read as everybody
 * reads them (curl, Go): a proxy's URL, and a list of what is reached without it. Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"

struct proxy {
	struct bytes host;
	uint16_t port;
	struct bytes authorization; /* value of Proxy-Authorization; empty: none */
};

/* 1 with *ret (texts from `a`), 0: directly, E_INVALID, E_UNSUPPORTED: a proxy that is no plain HTTP one.
 * `https_proxy` and `no_proxy` may be NULL. Loopback is always reached directly.
 *
 * NO_PROXY is a list with commas: "*" (everything), "example.com" and ".example.com" (the name, or only what
 * is below it), "10.0.0.0/8", addresses; each but the CIDR may end with ":port". */
int proxy_choose(struct arena *a, const char *https_proxy, const char *no_proxy, struct bytes host,
		 uint16_t port, struct proxy *ret, struct err *err) MUST_USE;
