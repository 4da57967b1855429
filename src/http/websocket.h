/* WebSocket frames (RFC 6455 §5) and the two ends of a handshake. Pure: bytes in, structs out.
 *
 * Needed where Adit itself is an end of a WebSocket: the connector in front of a TCP service, and
 * `adit access tcp`. WebSockets between a visitor and an HTTP service are never looked into.
 */
#pragma once

#include "base/buf.h"
#include "http/head.h"

enum websocket_opcode {
	WEBSOCKET_CONTINUATION = 0,
	WEBSOCKET_TEXT = 1,
	WEBSOCKET_BINARY = 2,
	WEBSOCKET_CLOSE = 8,
	WEBSOCKET_PING = 9,
	WEBSOCKET_PONG = 10,
};

/* Close codes (§7.4.1). */
enum {
	WEBSOCKET_CLOSE_NORMAL = 1000,
	WEBSOCKET_CLOSE_GOING_AWAY = 1001,
	WEBSOCKET_CLOSE_PROTOCOL = 1002,
	WEBSOCKET_CLOSE_UNSUPPORTED = 1003,
	WEBSOCKET_CLOSE_TOO_LARGE = 1009,
	WEBSOCKET_CLOSE_INTERNAL = 1011,
};

#define WEBSOCKET_CONTROL_MAX 125 /* payload of a control frame (§5.5) */
#define WEBSOCKET_HEAD_MAX 14     /* of a frame, with its mask */
#define WEBSOCKET_ACCEPT_SIZE 28  /* Sec-WebSocket-Accept, without NUL */

/* --- Reading --------------------------------------------------------------------------------- */

/* Which end reads: a server's peer masks every frame, a client's none; anything else is an error. */
enum websocket_end { WEBSOCKET_SERVER, WEBSOCKET_CLIENT };

enum websocket_event {
	WEBSOCKET_MORE,    /* *data is used up, more is needed */
	WEBSOCKET_DATA,    /* a run of message payload, unmasked; text and binary alike */
	WEBSOCKET_MESSAGE, /* a message has ended; `is_empty` says whether it had any payload */
	WEBSOCKET_CONTROL, /* a whole ping, pong or close: opcode and payload */
	WEBSOCKET_BROKEN,  /* the peer broke the protocol: answer with close_code and end */
};

struct websocket_reader {
	enum websocket_end end;
	/* Of the event. */
	enum websocket_opcode opcode; /* DATA, MESSAGE: what the message began with, text or binary */
	struct bytes payload; /* borrowed: from *data, or (control frames) from the reader */
	bool is_empty;
	uint16_t close_code; /* of a close frame, 1005 when it has none; or why it is broken */
	/* Private. */
	uint8_t head[WEBSOCKET_HEAD_MAX];
	size_t head_len;
	uint64_t left;       /* of the frame's payload */
	uint64_t mask_index; /* bytes of the frame unmasked so far */
	uint8_t mask[4];
	uint8_t control[WEBSOCKET_CONTROL_MAX];
	size_t control_len;
	enum websocket_opcode frame_opcode, message_opcode;
	bool in_frame, in_message, is_final, message_has_bytes, is_broken;
};

void websocket_reader_init(struct websocket_reader *r, enum websocket_end end);
/* Takes framing and at most one event off the front of the `*size` bytes at *data; payload is unmasked
 * in place. Frames may be of any size and fragmented at will: nothing is gathered but control frames.
 * Call it until it answers WEBSOCKET_MORE: the end of a message is an event that needs no byte. The payload
 * of a close frame is code and reason, as sent. After a close or WEBSOCKET_BROKEN nothing sensible follows.
 *
 * Lengths need not be in the shortest form, and text need not be UTF-8: neither harms a carrier of bytes. */
enum websocket_event websocket_next(struct websocket_reader *r, uint8_t **data, size_t *size);
/* After WEBSOCKET_DATA: WEBSOCKET_MESSAGE is next, needing no more bytes. */
static inline bool websocket_is_last_run(const struct websocket_reader *r)
{
	return r->left == 0 && r->is_final;
}

/* --- Writing --------------------------------------------------------------------------------- */

/* The head of a final frame with `len` bytes of payload; returns its length. A client passes the mask it
 * puts on the payload with websocket_mask(), a server NULL. */
size_t websocket_print_head(enum websocket_opcode opcode, uint64_t len, const uint8_t mask[4],
			    uint8_t dst[WEBSOCKET_HEAD_MAX]);
/* `offset` is the index of data[0] in the frame's payload. */
void websocket_mask(uint8_t *data, size_t len, const uint8_t mask[4], uint64_t offset);
/* A whole control frame: head and payload (cut at WEBSOCKET_CONTROL_MAX); returns its length. */
size_t websocket_print_control(enum websocket_opcode opcode, struct bytes payload,
			       const uint8_t mask[4],
			       uint8_t dst[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX]);
/* A close frame with code and reason (ASCII, may be NULL); 1005 stands for "no code" (§7.1.5): no payload. */
size_t websocket_print_close(uint16_t code, const char *reason, const uint8_t mask[4],
			     uint8_t dst[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX]);

/* --- Handshake ------------------------------------------------------------------------------- */

/* What a server answers to a Sec-WebSocket-Key (§4.2.2): 28 characters. */
void websocket_accept(struct bytes key, char dst[WEBSOCKET_ACCEPT_SIZE]);
/* A fresh key of 24 characters for a client's request (§4.1). */
#define WEBSOCKET_KEY_SIZE 24
void websocket_key(char dst[WEBSOCKET_KEY_SIZE]);

/* Our own extension (docs/wire.md, "half-close"): when both ends of a WebSocket that carries a TCP stream
 * have named it in this field, an empty binary message says that no more bytes follow in its direction. */
#define WEBSOCKET_HALF_CLOSE_FIELD "Adit-Half-Close"
