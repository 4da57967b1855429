/* Does the way to an application lead through an HTTP proxy? From the variables HTTPS_PROXY and NO_PROXY, read
 * as everybody reads them (curl, Go). Pure.
 */
#pragma once

#include "connector/dial/proxy.h"

/* 1 with *ret (texts from `a`), 0: directly, E_INVALID, E_UNSUPPORTED: a proxy that is no plain HTTP one.
 * `https_proxy` and `no_proxy` may be NULL. */
int proxy_choose(struct arena *a, const char *https_proxy, const char *no_proxy, struct bytes host,
		 uint16_t port, struct proxy *ret, struct err *err) MUST_USE;
