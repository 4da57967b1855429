/* The head of a request or response, the same struct whichever protocol carried it.
 *
 * Names and values are borrowed from the exchange's arena (or the parser's buffer, where said). A
 * field keeps the spelling it came with; names compare without case. Well-known names carry a token,
 * so that nobody compares strings twice.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

enum head_name {
	HEAD_OTHER = 0,
	HEAD_ACCEPT,
	HEAD_ACCEPT_ENCODING,
	HEAD_AUTHORIZATION,
	HEAD_CDN_LOOP,
	HEAD_CF_ACCESS_JWT_ASSERTION,
	HEAD_CF_ACCESS_EMAIL, /* cf-access-authenticated-user-email */
	HEAD_CF_CONNECTING_IP,
	HEAD_CF_IPCOUNTRY,
	HEAD_CF_RAY,
	HEAD_CF_RESPONSE_HEADERS, /* cf-cloudflared-response-headers */
	HEAD_CF_RESPONSE_META,    /* cf-cloudflared-response-meta */
	HEAD_CF_UPGRADE,          /* cf-cloudflared-proxy-connection-upgrade */
	HEAD_CF_PROXY_SRC,        /* cf-cloudflared-proxy-src */
	HEAD_CF_VISITOR,
	HEAD_CONNECTION,
	HEAD_CONTENT_LENGTH,
	HEAD_CONTENT_TYPE,
	HEAD_COOKIE,
	HEAD_DATE,
	HEAD_EXPECT,
	HEAD_HOST,
	HEAD_HTTP2_SETTINGS,
	HEAD_KEEP_ALIVE,
	HEAD_LOCATION,
	HEAD_PROXY_AUTHENTICATE,
	HEAD_PROXY_AUTHORIZATION,
	HEAD_PROXY_CONNECTION,
	HEAD_SEC_WEBSOCKET_ACCEPT,
	HEAD_SEC_WEBSOCKET_KEY,
	HEAD_SEC_WEBSOCKET_VERSION,
	HEAD_SERVER,
	HEAD_SET_COOKIE,
	HEAD_TE,
	HEAD_TRAILER,
	HEAD_TRANSFER_ENCODING,
	HEAD_TRUE_CLIENT_IP,
	HEAD_UPGRADE,
	HEAD_USER_AGENT,
	HEAD_X_FORWARDED_FOR,
	HEAD_X_FORWARDED_HOST,
	HEAD_X_FORWARDED_PROTO,
	HEAD_NAME_COUNT
};

struct field {
	struct bytes name;
	struct bytes value; /* trimmed of blanks */
	enum head_name token;
};

/* A growing list in an arena; at most LIMIT_HEAD_FIELDS. */
struct fields {
	struct field *list;
	size_t count;
	size_t cap;
};

/* What the message's framing said about its body. */
enum head_length {
	HEAD_LENGTH_NONE,  /* there is no body */
	HEAD_LENGTH_KNOWN, /* content_length bytes */
	HEAD_LENGTH_UNKNOWN, /* until the end of the stream (chunked, h2 without content-length, close) */
};

struct head {
	/* request */
	struct bytes method;    /* "GET"; verbatim, case matters */
	struct bytes scheme;    /* "https" or "http": how the visitor came */
	struct bytes authority; /* host[:port] as the visitor wrote it */
	struct bytes path;      /* origin-form target, verbatim: "/a%2Fb/../c?x=1", or "*" */
	bool is_upgrade;        /* a WebSocket handshake: after 101 both bodies are a raw stream */
	/* response */
	int status;
	/* both */
	enum head_length length;
	uint64_t content_length;
	struct fields fields; /* no pseudo fields, no Host: see authority */
};

/* Token of a name in any case, HEAD_OTHER when it is not in the list above. */
enum head_name head_name_of(struct bytes name);
/* The lower-case spelling of a token. */
struct bytes head_name_text(enum head_name token);
/* True for a valid field name (RFC 9110 token). */
bool head_name_is_valid(struct bytes name);
/* True when there is no NUL, CR, LF or other control byte except tab. */
bool head_value_is_valid(struct bytes value);

/* Adds at the end; copies nothing. E_LIMIT past LIMIT_HEAD_FIELDS. */
int fields_add(struct fields *f, struct arena *a, struct bytes name, struct bytes value);
/* The first one, or NULL. */
struct field *fields_find(const struct fields *f, enum head_name token);
struct field *fields_find_text(const struct fields *f, struct bytes name);
/* Removes every one of that name. */
void fields_remove(struct fields *f, enum head_name token);
void fields_remove_text(struct fields *f, struct bytes name);
/* Removes the old ones and adds this one. */
int fields_set(struct fields *f, struct arena *a, enum head_name token, struct bytes value);
/* Copies every name and value into the arena. */
int fields_copy(struct fields *to, const struct fields *from, struct arena *a);
int head_copy(struct head *to, const struct head *from, struct arena *a);

/* "x-forwarded-for" -> "X-Forwarded-For", as Go writes names: towards HTTP/1 peers and in serialized
 * tunnel headers. `dst` has name.len bytes. A name with a byte that is no token character is copied as is. */
void head_name_canonical(struct bytes name, uint8_t *dst);
/* True when a comma-separated value has the token (case ignored): Connection: keep-alive, Upgrade. */
bool head_value_has_token(struct bytes value, struct bytes token);

/* Takes out what concerns one hop only (RFC 9110 §7.6.1): Connection and every field it names,
 * Keep-Alive, Proxy-Connection, Proxy-Authenticate, Proxy-Authorization, TE (unless "trailers"),
 * Transfer-Encoding, Upgrade, HTTP2-Settings. An upgrade's Connection and Upgrade go too; is_upgrade
 * remembers it. */
void head_strip_hop_by_hop(struct head *h);
/* host [ ":" port ] of RFC 9110 §7.2, without user information. */
bool head_authority_is_valid(struct bytes authority);
/* No byte that may not stand in a path or query. What RFC 3986 wants escaped but browsers send as it is
 * ('|', '{', bytes of UTF-8) passes; '#' would be cut off by some and kept by others. */
bool head_path_is_valid(struct bytes path);
/* The host without port and trailing dot, lower-cased into the arena. */
struct bytes head_host(struct bytes authority, struct arena *a);
/* "Not Found"; "" for unknown codes. */
const char *head_reason(int status);
