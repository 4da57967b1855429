/* HTTP/1.1 messages (RFC 9112): strict parsing and printing. Pure: bytes in, structs out.
 *
 * Strict means that whatever two implementations might read differently is refused: both
 * Content-Length and Transfer-Encoding, several differing Content-Length, blanks before a colon, folded
 * lines, bare CR or LF, a body framed by anything but "chunked" last, control bytes, missing or double
 * Host, invalid targets. Every refusal says what was wrong, for the log.
 *
 * Services are older than that, and what they say goes no further in their spelling: in the head of a
 * response a bare LF ends a line (RFC 9112 §2.2), a folded line is one line (§5.2), and a later minor
 * version is read as 1.1 (RFC 9110 §2.5).
 */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "http/head.h"

/* Length of a complete head at the start of `data`, with its empty line; 0 when more is needed; E_LIMIT
 * once it cannot fit LIMIT_HEAD_BYTES. *scanned remembers how far earlier calls looked (start with 0).
 * At a bare LF the length so far is returned: the parser will refuse it and say why. */
ssize_t h1_head_length(struct bytes data, size_t *scanned);
/* The same for a response, where a bare LF is a line end. What does not begin as one is not waited for: all of
 * it is returned. */
ssize_t h1_response_length(struct bytes data, size_t *scanned);

struct h1_request_info {
	bool is_http10;
	bool keep_alive; /* the connection may carry another request */
	bool is_chunked;
	bool expects_continue;
};

struct h1_response_info {
	bool is_http10;
	bool keep_alive; /* after this response, if its body ends by itself */
	bool is_chunked;
	bool ends_by_close; /* the body runs to the end of the connection */
};

/* `data` is exactly one head. Names, values and target are copied to the arena. scheme is left empty.
 * authority comes from Host or the absolute-form target (which wins, RFC 9112 §3.2.2). All fields are
 * kept but Host; Content-Length once and as plain digits. "Content-Length: 0" is HEAD_LENGTH_KNOWN.
 * E_PARSE, E_LIMIT, or E_UNSUPPORTED: another HTTP version, a transfer coding but chunked, CONNECT. */
int h1_parse_request(struct bytes data, struct arena *a, struct head *ret_head,
		     struct h1_request_info *ret_info, struct err *err);
/* What to answer when h1_head_length() or h1_parse_request() gave `code` for `data`: 400, 414, 431, 501
 * or 505. */
int h1_refusal_status(int code, struct bytes data);
/* `request_method` decides whether there is a body (HEAD, CONNECT). 1xx heads parse too, without body.
 * The answer to HEAD and 304 are HEAD_LENGTH_NONE; their Content-Length stays in the fields. */
int h1_parse_response(struct bytes data, struct bytes request_method, struct arena *a,
		      struct head *ret_head, struct h1_response_info *ret_info, struct err *err);

/* --- Chunked bodies --- */

struct h1_chunked {
	int state;
	uint64_t left; /* of the current chunk */
	size_t line;   /* length of the line being read */
	size_t trailer_bytes;
	/* Blanks may follow a chunk's size: old servers fill it up to a fixed width. For responses; cleared by
	 * h1_chunked_init(). */
	bool allows_padding;
	struct buf trailer; /* raw trailer lines, bounded; freed by h1_chunked_done() */
};

void h1_chunked_init(struct h1_chunked *c);
void h1_chunked_done(struct h1_chunked *c);
/* Eats framing and at most one run of payload from the front of *data. Returns 1 with a payload run
 * (may be called again), 0 when *data is used up and more is needed, 2 at the end of the body (trailers
 * included; *data starts at the next message), or E_PARSE / E_LIMIT. The run is borrowed from *data. */
int h1_chunked_next(struct h1_chunked *c, struct bytes *data, struct bytes *ret_payload,
		    struct err *err);
/* After 2: trailer fields copied into the arena. Fields that may not be trailers are dropped. */
int h1_chunked_trailers(struct h1_chunked *c, struct arena *a, struct fields *ret, struct err *err);

/* --- Printing --- */

enum h1_framing { H1_NO_BODY, H1_LENGTH, H1_CHUNKED, H1_UNTIL_CLOSE, H1_RAW_UPGRADE };

/* "GET /path HTTP/1.1\r\nHost: …". Framing fields (Content-Length, Transfer-Encoding, Connection) are
 * written from the arguments; ones in the head are ignored, but for the Content-Length of a response
 * with H1_NO_BODY (to HEAD, or 304), which is kept. Names are written in canonical case when
 * `canonical`, else as they are. H1_LENGTH writes head->content_length; H1_RAW_UPGRADE writes
 * "Connection: Upgrade" and "Upgrade: websocket". On an error `out` is as before: E_LIMIT when it is
 * full, E_INVALID when a name or value has a byte that would break the message. */
int h1_print_request(const struct head *head, enum h1_framing framing, bool keep_alive,
		     bool canonical, struct buf *out);
int h1_print_response(const struct head *head, enum h1_framing framing, bool keep_alive,
		      bool canonical, struct buf *out);
/* A 1xx head: no framing, nothing about the connection. */
int h1_print_interim(const struct head *head, struct buf *out);
/* Trailer lines, without the "0\r\n" before and the empty line after them. Fields that may not be
 * trailers are dropped. Errors as above. */
int h1_print_trailers(const struct fields *trailers, struct buf *out);
/* "1a2b\r\n"; `dst` has 20 bytes; returns its length. The chunk's data and "\r\n" follow. */
size_t h1_print_chunk_head(uint64_t size, char dst[20]);
