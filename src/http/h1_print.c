#include <inttypes.h>
#include <stdio.h>

#include "http/h1_internal.h"

/* Heads also come from peers whose protocol does not keep CR and LF out of a value (the tunnel's
 * serialized fields), so everything is looked at before it is written: what would end a line early is
 * refused here, whoever let it in. */

static bool is_framing(enum head_name token)
{
	return token == HEAD_CONTENT_LENGTH || token == HEAD_TRANSFER_ENCODING ||
	       token == HEAD_CONNECTION || token == HEAD_HOST;
}

static int print_field(struct bytes name, struct bytes value, bool canonical, struct buf *out)
{
	if (!head_name_is_valid(name) || !head_value_is_valid(value))
		return E_INVALID;
	int ret = buf_reserve(out, name.len + value.len + 4);
	if (ret < 0)
		return ret;
	uint8_t *at = out->ptr + out->len;
	if (canonical)
		head_name_canonical(name, at);
	else
		memcpy(at, name.ptr, name.len);
	at += name.len;
	*at++ = ':';
	*at++ = ' ';
	if (value.len)
		memcpy(at, value.ptr, value.len);
	at += value.len;
	*at++ = '\r';
	*at++ = '\n';
	buf_added(out, name.len + value.len + 4);
	return 0;
}

static int print_fields(const struct fields *f, enum h1_framing framing, bool canonical,
			struct buf *out)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct field *field = &f->list[i];
		if (is_framing(field->token) ||
		    (field->token == HEAD_UPGRADE && framing == H1_RAW_UPGRADE))
			continue;
		int ret = print_field(field->name, field->value, canonical, out);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Decimal by hand: printf() was a fiftieth of a small request's time. */
static int print_length(uint64_t length, struct buf *out)
{
	char digits[20];
	size_t at = sizeof(digits);
	int ret = buf_append_str(out, "Content-Length: ");

	do
		digits[--at] = (char)('0' + length % 10);
	while (length /= 10);
	if (ret == 0)
		ret = buf_append(out, bytes_of(digits + at, sizeof(digits) - at));
	return ret < 0 ? ret : buf_append_str(out, "\r\n");
}

/* The framing fields and the empty line. */
static int print_end(const struct head *head, enum h1_framing framing, bool keep_alive,
		     struct buf *out)
{
	int ret = 0;

	if (framing == H1_LENGTH)
		ret = print_length(head->content_length, out);
	else if (framing == H1_CHUNKED)
		ret = buf_append_str(out, "Transfer-Encoding: chunked\r\n");
	if (ret < 0)
		return ret;
	if (framing == H1_RAW_UPGRADE)
		return buf_append_str(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	if (framing == H1_UNTIL_CLOSE)
		keep_alive = false;
	/* HTTP/1.1 needs no word to stay open, but an HTTP/1.0 peer does, and a head does not say who
	 * will read it. TE concerns this hop alone and has to be named (RFC 9110 §10.1.4). */
	ret = buf_append_str(out, keep_alive ? "Connection: keep-alive" : "Connection: close");
	if (ret == 0 && head->status == 0 && fields_find(&head->fields, HEAD_TE))
		ret = buf_append_str(out, ", TE");
	return ret < 0 ? ret : buf_append_str(out, "\r\n\r\n");
}

/* A target that stays one word on the request line. */
static bool target_is_valid(struct bytes path)
{
	if (path.len == 0)
		return false;
	for (size_t i = 0; i < path.len; i++)
		if (path.ptr[i] <= ' ' || path.ptr[i] == 0x7f)
			return false;
	return true;
}

int h1_print_request(const struct head *head, enum h1_framing framing, bool keep_alive,
		     bool canonical, struct buf *out)
{
	size_t start = out->len;
	int ret;

	if (!head_name_is_valid(head->method) || !target_is_valid(head->path))
		return E_INVALID;
	ret = buf_reserve(out, head->method.len + head->path.len + 11);
	if (ret == 0)
		ret = buf_append(out, head->method);
	if (ret == 0)
		ret = buf_append_str(out, " ");
	if (ret == 0)
		ret = buf_append(out, head->path);
	if (ret == 0)
		ret = buf_append_str(out, " HTTP/1.1\r\n");
	if (ret == 0)
		ret = print_field(BYTES_LIT("Host"), head->authority, false, out);
	if (ret == 0)
		ret = print_fields(&head->fields, framing, canonical, out);
	if (ret == 0)
		ret = print_end(head, framing, keep_alive, out);
	if (ret < 0)
		out->len = start;
	return ret;
}

/* The answer to HEAD and a 304 tell the length of what was not sent (RFC 9110 §8.6). */
static int print_untold_length(const struct head *head, struct buf *out)
{
	const struct field *length = fields_find(&head->fields, HEAD_CONTENT_LENGTH);
	uint64_t number;

	if (head->status / 100 == 1 || head->status == 204 || !length ||
	    !bytes_to_u64(length->value, &number))
		return 0;
	return print_length(number, out);
}

static int print_status(int status, struct buf *out)
{
	uint8_t line[] = "HTTP/1.1 000 ";

	if (status < 100 || status > 999)
		return E_INVALID;
	for (int i = 0, left = status; i < 3; i++, left /= 10)
		line[11 - i] = (uint8_t)('0' + left % 10);
	int ret = buf_append(out, bytes_of(line, sizeof(line) - 1));
	if (ret == 0)
		ret = buf_append_str(out, head_reason(status));
	return ret < 0 ? ret : buf_append_str(out, "\r\n");
}

int h1_print_interim(const struct head *head, struct buf *out)
{
	size_t start = out->len;
	int ret = print_status(head->status, out);

	if (ret == 0)
		ret = print_fields(&head->fields, H1_UNTIL_CLOSE, false, out);
	if (ret == 0)
		ret = buf_append_str(out, "\r\n");
	if (ret < 0)
		out->len = start;
	return ret;
}

int h1_print_response(const struct head *head, enum h1_framing framing, bool keep_alive,
		      bool canonical, struct buf *out)
{
	size_t start = out->len;
	int ret = print_status(head->status, out);

	if (ret == 0)
		ret = print_fields(&head->fields, framing, canonical, out);
	if (ret == 0 && framing == H1_NO_BODY)
		ret = print_untold_length(head, out);
	if (ret == 0)
		ret = print_end(head, framing, keep_alive, out);
	if (ret < 0)
		out->len = start;
	return ret;
}

int h1_print_trailers(const struct fields *trailers, struct buf *out)
{
	size_t start = out->len;

	for (size_t i = 0; i < trailers->count; i++) {
		const struct field *field = &trailers->list[i];
		if (!h1_may_be_trailer(field->name))
			continue;
		int ret = print_field(field->name, field->value, false, out);
		if (ret < 0) {
			out->len = start;
			return ret;
		}
	}
	return 0;
}

size_t h1_print_chunk_head(uint64_t size, char dst[20])
{
	return (size_t)snprintf(dst, 20, "%" PRIx64 "\r\n", size);
}
