#include "http/websocket.h"

#include "base/check.h"
#include "base/encode.h"
#include "base/random.h"
#include "tls/digest.h"

/* Close code of the reader for a frame without one; never on the wire (§7.1.5). */
#define CLOSE_NO_STATUS 1005

#define FIN 0x80
#define RESERVED 0x70
#define OPCODE 0x0f
#define MASKED 0x80
#define LENGTH 0x7f
#define LENGTH_16 126
#define LENGTH_64 127

/* --- Reading --------------------------------------------------------------------------------- */

void websocket_reader_init(struct websocket_reader *r, enum websocket_end end)
{
	*r = (struct websocket_reader){ .end = end };
}

static enum websocket_event broken(struct websocket_reader *r)
{
	r->is_broken = true;
	r->close_code = WEBSOCKET_CLOSE_PROTOCOL;
	r->payload = BYTES_NONE;
	return WEBSOCKET_BROKEN;
}

static bool is_control(enum websocket_opcode opcode)
{
	return opcode >= WEBSOCKET_CLOSE;
}

/* Can a frame begin with these two bytes, here? */
static bool is_start_valid(const struct websocket_reader *r)
{
	uint8_t first = r->head[0], length = r->head[1] & LENGTH;

	if (first & RESERVED || !(r->head[1] & MASKED) == (r->end == WEBSOCKET_SERVER))
		return false;
	switch (first & OPCODE) {
	case WEBSOCKET_CONTINUATION:
		return r->in_message;
	case WEBSOCKET_TEXT:
	case WEBSOCKET_BINARY:
		return !r->in_message;
	case WEBSOCKET_CLOSE:
		return first & FIN && length <= WEBSOCKET_CONTROL_MAX && length != 1;
	case WEBSOCKET_PING:
	case WEBSOCKET_PONG:
		return first & FIN && length <= WEBSOCKET_CONTROL_MAX;
	default:
		return false;
	}
}

static size_t extended_size(uint8_t second)
{
	switch (second & LENGTH) {
	case LENGTH_16:
		return 2;
	case LENGTH_64:
		return 8;
	default:
		return 0;
	}
}

/* The head is whole and its first two bytes are valid. False: its length is not. */
static bool begin_frame(struct websocket_reader *r)
{
	size_t extended = extended_size(r->head[1]);

	r->frame_opcode = r->head[0] & OPCODE;
	r->is_final = r->head[0] & FIN;
	r->left = r->head[1] & LENGTH;
	if (extended) {
		r->left = 0;
		for (size_t i = 0; i < extended; i++)
			r->left = r->left << 8 | r->head[2 + i];
		if (r->left >> 63)
			return false;
	}
	memcpy(r->mask, r->head + 2 + extended, sizeof(r->mask));
	r->mask_index = 0;
	r->head_len = 0;
	r->in_frame = true;
	if (is_control(r->frame_opcode)) {
		r->control_len = 0;
	} else if (r->frame_opcode != WEBSOCKET_CONTINUATION) {
		r->message_opcode = r->frame_opcode;
		r->in_message = true;
		r->message_has_bytes = false;
	}
	return true;
}

/* 1: the head is whole, 0: more is needed, -1: broken. */
static int take_head(struct websocket_reader *r, uint8_t **data, size_t *size)
{
	for (;;) {
		size_t want = 2;
		if (r->head_len >= 2) {
			if (r->head_len == 2 && !is_start_valid(r))
				return -1;
			want += extended_size(r->head[1]) + (r->head[1] & MASKED ? 4 : 0);
		}
		if (r->head_len == want)
			return begin_frame(r) ? 1 : -1;
		if (*size == 0)
			return 0;
		r->head[r->head_len++] = *(*data)++;
		(*size)--;
	}
}

/* The payload bytes at hand, unmasked; possibly none. */
static struct bytes take_payload(struct websocket_reader *r, uint8_t **data, size_t *size)
{
	size_t len = r->left < *size ? (size_t)r->left : *size;
	struct bytes run = bytes_of(*data, len);

	if (len == 0)
		return BYTES_NONE;
	if (r->end == WEBSOCKET_SERVER)
		websocket_mask(*data, len, r->mask, r->mask_index);
	r->mask_index += len;
	r->left -= len;
	*data += len;
	*size -= len;
	return run;
}

/* Codes that may be on the wire: §7.4.1, those registered since, and the open ranges of §7.4.2. */
static bool is_close_code_valid(unsigned code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
	       (code >= 3000 && code <= 4999);
}

static enum websocket_event end_control(struct websocket_reader *r)
{
	r->opcode = r->frame_opcode;
	r->payload = bytes_of(r->control, r->control_len);
	if (r->opcode == WEBSOCKET_CLOSE) {
		r->close_code = CLOSE_NO_STATUS;
		if (r->control_len) {
			r->close_code = (uint16_t)(r->control[0] << 8 | r->control[1]);
			if (!is_close_code_valid(r->close_code))
				return broken(r);
		}
	}
	return WEBSOCKET_CONTROL;
}

enum websocket_event websocket_next(struct websocket_reader *r, uint8_t **data, size_t *size)
{
	if (r->is_broken)
		return broken(r);
	for (;;) {
		if (!r->in_frame) {
			int ret = take_head(r, data, size);
			if (ret <= 0)
				return ret < 0 ? broken(r) : WEBSOCKET_MORE;
		}
		struct bytes run = take_payload(r, data, size);
		if (is_control(r->frame_opcode)) {
			if (run.len)
				memcpy(r->control + r->control_len, run.ptr, run.len);
			r->control_len += run.len;
			if (r->left)
				return WEBSOCKET_MORE;
			r->in_frame = false;
			return end_control(r);
		}
		r->opcode = r->message_opcode;
		r->payload = run;
		if (run.len) {
			r->message_has_bytes = true;
			return WEBSOCKET_DATA;
		}
		if (r->left)
			return WEBSOCKET_MORE;
		r->in_frame = false;
		if (r->is_final) {
			r->in_message = false;
			r->is_empty = !r->message_has_bytes;
			return WEBSOCKET_MESSAGE;
		}
	}
}

/* --- Writing --------------------------------------------------------------------------------- */

size_t websocket_print_head(enum websocket_opcode opcode, uint64_t len, const uint8_t mask[4],
			    uint8_t dst[WEBSOCKET_HEAD_MAX])
{
	size_t at = 2, extended = len < LENGTH_16 ? 0 : len <= UINT16_MAX ? 2 : 8;

	dst[0] = (uint8_t)(FIN | opcode);
	if (extended == 0)
		dst[1] = (uint8_t)len;
	else
		dst[1] = extended == 2 ? LENGTH_16 : LENGTH_64;
	for (size_t i = 0; i < extended; i++)
		dst[at++] = (uint8_t)(len >> (8 * (extended - 1 - i)));
	if (mask) {
		dst[1] |= MASKED;
		memcpy(dst + at, mask, 4);
		at += 4;
	}
	return at;
}

void websocket_mask(uint8_t *data, size_t len, const uint8_t mask[4], uint64_t offset)
{
	uint8_t turned[8];
	uint64_t word, key;
	size_t i = 0;

	for (size_t k = 0; k < sizeof(turned); k++)
		turned[k] = mask[(offset + k) % 4];
	memcpy(&key, turned, sizeof(key));
	for (; len - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, data + i, sizeof(word));
		word ^= key;
		memcpy(data + i, &word, sizeof(word));
	}
	for (; i < len; i++)
		data[i] ^= turned[i % 4];
}

size_t websocket_print_control(enum websocket_opcode opcode, struct bytes payload,
			       const uint8_t mask[4],
			       uint8_t dst[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX])
{
	payload = bytes_first(payload, WEBSOCKET_CONTROL_MAX);
	size_t len = websocket_print_head(opcode, payload.len, mask, dst);

	if (payload.len)
		memcpy(dst + len, payload.ptr, payload.len);
	if (mask)
		websocket_mask(dst + len, payload.len, mask, 0);
	return len + payload.len;
}

size_t websocket_print_close(uint16_t code, const char *reason, const uint8_t mask[4],
			     uint8_t dst[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX])
{
	uint8_t payload[WEBSOCKET_CONTROL_MAX];
	struct bytes text = bytes_first(bytes_str(reason), sizeof(payload) - 2);

	if (code == CLOSE_NO_STATUS)
		return websocket_print_control(WEBSOCKET_CLOSE, BYTES_NONE, mask, dst);
	payload[0] = (uint8_t)(code >> 8);
	payload[1] = (uint8_t)code;
	if (text.len)
		memcpy(payload + 2, text.ptr, text.len);
	return websocket_print_control(WEBSOCKET_CLOSE, bytes_of(payload, 2 + text.len), mask, dst);
}

/* --- Handshake ------------------------------------------------------------------------------- */

void websocket_accept(struct bytes key, char dst[WEBSOCKET_ACCEPT_SIZE])
{
	const struct bytes parts[] = { key, BYTES_LIT("258EAFA5-E914-47DA-95CA-C5AB0DC85B11") };
	uint8_t digest[DIGEST_SHA1_SIZE];

	digest_sha1(parts, ARRAY_LEN(parts), digest);
	base64_encode(BASE64_STD, bytes_of(digest, sizeof(digest)), dst);
}

void websocket_key(char dst[WEBSOCKET_KEY_SIZE])
{
	uint8_t nonce[16];

	random_bytes(nonce, sizeof(nonce));
	base64_encode(BASE64_STD, bytes_of(nonce, sizeof(nonce)), dst);
}
