/* The PROXY protocol header that a load balancer sends in front of a visitor's bytes, versions 1 and 2 (HAProxy's
 * proxy-protocol.txt). Pure. What it says is true only of who may say it: edge/listen/announced.h.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "io/address.h"

/* With all its TLVs, which are skipped: a few hundred bytes are usual, with a client's certificate in them 2 KB. */
#define PROXY_HEADER_MAX 4096

struct proxy_header {
	/* The visitor's, with its port. False: the balancer speaks for itself (LOCAL), or does not know, or it is no
	 * IP address (UNKNOWN, UNSPEC, UNIX). */
	bool has_visitor;
	struct address visitor;
};

/* `in` is all that has come. 0: this is the whole header, and nothing more. E_AGAIN: it is a part of one; at least
 * *ret_missing bytes belong to it still, so whoever reads so many takes nothing of what stands behind it. E_INVALID: no
 * header starts like that. */
int proxy_header_parse(struct bytes in, struct proxy_header *ret, size_t *ret_missing,
		       struct err *err);
