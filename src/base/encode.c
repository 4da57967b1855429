#include "base/encode.h"

#include "base/mem.h"

static const char std_alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static bool is_padded(enum base64_form form)
{
	return form == BASE64_STD || form == BASE64_URL;
}

static bool is_url(enum base64_form form)
{
	return form == BASE64_URL || form == BASE64_URL_RAW;
}

size_t base64_encode(enum base64_form form, struct bytes src, char *dst)
{
	const char *alphabet = is_url(form) ? url_alphabet : std_alphabet;
	char *at = dst;
	size_t i = 0;

	for (; i + 3 <= src.len; i += 3) {
		uint32_t v =
			(uint32_t)src.ptr[i] << 16 | (uint32_t)src.ptr[i + 1] << 8 | src.ptr[i + 2];
		*at++ = alphabet[v >> 18];
		*at++ = alphabet[v >> 12 & 63];
		*at++ = alphabet[v >> 6 & 63];
		*at++ = alphabet[v & 63];
	}
	if (i < src.len) {
		bool two = i + 2 == src.len;
		uint32_t v = (uint32_t)src.ptr[i] << 16 | (two ? (uint32_t)src.ptr[i + 1] << 8 : 0);
		*at++ = alphabet[v >> 18];
		*at++ = alphabet[v >> 12 & 63];
		if (two)
			*at++ = alphabet[v >> 6 & 63];
		if (is_padded(form)) {
			*at++ = '=';
			if (!two)
				*at++ = '=';
		}
	}
	return (size_t)(at - dst);
}

/* The value of one character, or -1. */
static int digit_of(enum base64_form form, uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (is_url(form) ? '-' : '+'))
		return 62;
	if (c == (is_url(form) ? '_' : '/'))
		return 63;
	return -1;
}

bool base64_decode(enum base64_form form, struct bytes src, uint8_t *dst, size_t *ret_len)
{
	uint8_t *at = dst;

	if (is_padded(form)) {
		if (src.len % 4)
			return false;
		for (int pads = 0; pads < 2 && src.len && src.ptr[src.len - 1] == '='; pads++)
			src.len--;
	}
	if (src.len % 4 == 1)
		return false;
	uint32_t v = 0;
	for (size_t i = 0; i < src.len; i++) {
		int d = digit_of(form, src.ptr[i]);
		if (d < 0)
			return false;
		v = v << 6 | (uint32_t)d;
		if (i % 4 == 3) {
			*at++ = (uint8_t)(v >> 16);
			*at++ = (uint8_t)(v >> 8);
			*at++ = (uint8_t)v;
			v = 0;
		}
	}
	if (src.len % 4 == 2) {
		if (v & 15)
			return false;
		*at++ = (uint8_t)(v >> 4);
	} else if (src.len % 4 == 3) {
		if (v & 3)
			return false;
		*at++ = (uint8_t)(v >> 10);
		*at++ = (uint8_t)(v >> 2);
	}
	*ret_len = (size_t)(at - dst);
	return true;
}

char *base64_text(enum base64_form form, struct bytes src)
{
	char *text = mem_alloc(base64_size(src.len) + 1);

	text[base64_encode(form, src, text)] = 0;
	return text;
}

void hex_encode(struct bytes src, char *dst)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < src.len; i++) {
		dst[2 * i] = digits[src.ptr[i] >> 4];
		dst[2 * i + 1] = digits[src.ptr[i] & 15];
	}
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = bytes_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(struct bytes src, uint8_t *dst)
{
	if (src.len % 2)
		return false;
	for (size_t i = 0; i < src.len; i += 2) {
		int high = hex_digit(src.ptr[i]), low = hex_digit(src.ptr[i + 1]);
		if (high < 0 || low < 0)
			return false;
		dst[i / 2] = (uint8_t)(high << 4 | low);
	}
	return true;
}

char *hex_text(struct bytes src)
{
	char *text = mem_alloc(src.len * 2 + 1);

	hex_encode(src, text);
	return text;
}
