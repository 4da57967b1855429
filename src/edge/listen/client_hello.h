/* The name that a TLS client asks for, read from its first message before any TLS library has it (RFC 8446 §4.1.2, RFC 6066
 * §3). Only what leads to the name is looked at: versions, groups and extensions that nobody knows are not our
 * business, and of an encrypted ClientHello the outer name is what counts. Pure.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

/* With record headers: post-quantum key shares have 1.7 KB, what pads itself on purpose has a few more. */
#define CLIENT_HELLO_MAX (16 * 1024)
#define CLIENT_HELLO_NAME_SIZE 256

struct client_hello {
	char name[CLIENT_HELLO_NAME_SIZE]; /* lower case, without a dot at the end; "": it asks for none */
};

/* `in` is all that has come, CLIENT_HELLO_MAX bytes at most. 0: it is there. E_AGAIN: *ret_missing more bytes at least are
 * needed to know. E_INVALID: that is no ClientHello, or one in too many records: let a TLS library say so. */
int client_hello_parse(struct bytes in, struct client_hello *ret, size_t *ret_missing);
