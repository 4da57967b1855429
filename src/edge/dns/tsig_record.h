/* The signature at the end of a DNS message (RFC 8945 §4.2), read from the bytes that it covers: a library's parsed
 * message has lost what they were. Pure, any thread.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

#define DNS_NAME_BYTES 255

/* A name on the wire: labels with their lengths, lower case, no pointers. */
struct dns_wire_name {
	uint8_t bytes[DNS_NAME_BYTES];
	size_t len;
};

struct dns_tsig_record {
	size_t at;                 /* where in the message the record begins */
	struct dns_wire_name name; /* of the key */
	struct dns_wire_name algorithm;
	uint64_t time; /* of signing: seconds since 1970, 48 bits */
	uint16_t fudge, id, error;
	/* Borrowed from the message. */
	struct bytes mac;
	struct bytes other;
};

enum dns_tsig_found { DNS_TSIG_ABSENT, DNS_TSIG_PRESENT, DNS_TSIG_MALFORMED };

/* *ret is filled in when there is one. Malformed is what is not well-formed up to the signature, has one where none may
 * be, or bytes behind it. */
enum dns_tsig_found dns_tsig_find(struct bytes message, struct dns_tsig_record *ret);
