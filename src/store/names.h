/* What may be called how. Names come from people and from the API, so each check says what is wrong.
 * Pure functions, any thread. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

/* cloudflared itself sets no bound; a table of names stays readable with this one. */
#define NAME_TUNNEL_BYTES 100
/* RFC 1035 §2.3.4, without the dot at the end. */
#define NAME_DNS_BYTES 253
#define NAME_LABEL_BYTES 63
/* RFC 5321 §4.5.3.1.3: a path has 256 with its brackets. */
#define NAME_EMAIL_BYTES 254
/* Shown in a list. */
#define NAME_NOTE_BYTES 200

/* Copies in lower case, without a dot at the end. A zone has two labels or more of letters, digits
 * and inner hyphens, and the last is not a number (so no IPv4 address). One label ("localhost", "lan")
 * is refused: certificates for "*.lan" are not accepted by clients, and cookies cannot be kept apart;
 * "home.lan" and "adit.localhost" are fine. Names outside ASCII are given in their "xn--" form. */
int name_zone(const char *text, char ret[NAME_DNS_BYTES + 1], struct err *err);
/* The same rules for a routed hostname, which may begin with "*." and have inner underscores. */
int name_hostname(const char *text, char ret[NAME_DNS_BYTES + 1], struct err *err);
/* UTF-8 without control characters, 1 to NAME_TUNNEL_BYTES bytes, not a UUID. */
int name_tunnel(const char *text, struct err *err);
/* The same for a virtual network. */
int name_vnet(const char *text, struct err *err);
/* UTF-8 without control characters, at most NAME_NOTE_BYTES bytes. */
int name_note(const char *text, struct err *err);
/* local@domain; copied in lower case. Delivery decides the rest. */
int name_email(const char *text, char ret[NAME_EMAIL_BYTES + 1], struct err *err);
