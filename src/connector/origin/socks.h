/* SOCKS5 (RFC 1928), the server's side: no authentication, CONNECT alone. Pure: bytes in, structs out. */
#pragma once

#include "base/err.h"
#include "connector/ingress/ingress.h"
#include "io/address.h"

/* §6. */
enum socks_code {
	SOCKS_OK = 0,
	SOCKS_FAILED = 1,
	SOCKS_DENIED = 2, /* by a rule */
	SOCKS_NETWORK_UNREACHABLE = 3,
	SOCKS_HOST_UNREACHABLE = 4,
	SOCKS_REFUSED = 5,
	SOCKS_BAD_COMMAND = 7,
	SOCKS_BAD_ADDRESS_TYPE = 8,
};

#define SOCKS_REPLY_SIZE 10
#define SOCKS_MESSAGE_MAX \
	(4 + 1 + 255 + 2) /* a request with the longest name; a greeting is shorter */

enum socks_event {
	SOCKS_MORE,    /* all bytes are used up, more are needed */
	SOCKS_GREETED, /* `reply` is to be sent; the request follows */
	SOCKS_REQUEST, /* host and port are to be connected to, and socks_print_reply() to be sent */
	SOCKS_REFUSAL, /* `reply` (possibly empty) is to be sent, then the connection to be closed */
};

struct socks_reader {
	/* Of the event. */
	struct bytes reply;
	struct bytes host; /* name or IP literal without brackets; borrowed from the reader */
	uint16_t port;
	/* Private. */
	bool has_greeted;
	uint8_t message[SOCKS_MESSAGE_MAX];
	size_t len;
	uint8_t reply_bytes[SOCKS_REPLY_SIZE];
	char host_text[ADDRESS_TEXT_SIZE];
};

void socks_reader_init(struct socks_reader *r);
/* Takes at most one message off the front of *data. What follows a request is payload. */
enum socks_event socks_next(struct socks_reader *r, struct bytes *data);

/* The answer to a request. The address we connected from is nobody's business: 0.0.0.0:0. */
void socks_print_reply(enum socks_code code, uint8_t dst[SOCKS_REPLY_SIZE]);
/* What a failed connect is called. */
enum socks_code socks_code_of(const struct err *err);

/* May the client get there? By ipRules, see ingress_ip_is_allowed(). */
bool socks_allows(const struct ingress_origin *origin, const struct address *to);
