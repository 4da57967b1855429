/* A socket address: IPv4, IPv6 or a Unix path, with its text forms. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>

#include "base/bytes.h"
#include "base/err.h"

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un local;
	};
	socklen_t len;
	/* To listen on: of the IPv6 address "any" IPv6 alone, as IPv4 has a socket of its own. */
	bool is_v6only;
};

#define ADDRESS_TEXT_SIZE 128

/* "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", ":80" (any address, IPv6 and IPv4), "unix:/path". No names. */
int address_parse(struct bytes text, struct address *ret, struct err *err);
/* "host:port" or "[v6]:port" split without looking at what the host is; E_INVALID when there is no port. */
int address_split(struct bytes text, struct bytes *ret_host, uint16_t *ret_port, struct err *err);
/* From an IP literal and a port; false when it is none. */
bool address_from_ip(struct bytes ip, uint16_t port, struct address *ret);
char *address_text(const struct address *a, char text[ADDRESS_TEXT_SIZE]);    /* with port */
char *address_ip_text(const struct address *a, char text[ADDRESS_TEXT_SIZE]); /* v4-mapped as v4 */
uint16_t address_port(const struct address *a);
