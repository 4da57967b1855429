/* Text forms of bytes: base64 (RFC 4648 §4 and §5) and hexadecimal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

enum base64_form {
	BASE64_STD,     /* padded, + and / */
	BASE64_STD_RAW, /* no padding, + and / */
	BASE64_URL,     /* padded, - and _ */
	BASE64_URL_RAW, /* no padding, - and _ */
};

/* Bytes that encoding `len` may need, without a NUL. */
static inline size_t base64_size(size_t len)
{
	return (len + 2) / 3 * 4;
}

/* `dst` has base64_size(src.len) bytes; returns how many were written. No NUL is added. */
size_t base64_encode(enum base64_form form, struct bytes src, char *dst);
/* `dst` has src.len / 4 * 3 + 3 bytes. False on any character, padding or trailing bit that the form
 * does not allow; *ret_len is then untouched. */
bool base64_decode(enum base64_form form, struct bytes src, uint8_t *dst, size_t *ret_len);
/* NUL-terminated, owned by the caller. */
char *base64_text(enum base64_form form, struct bytes src);

/* Lower case; `dst` has 2 * src.len bytes; no NUL is added. */
void hex_encode(struct bytes src, char *dst);
bool hex_decode(struct bytes src, uint8_t *dst); /* dst has src.len / 2; false on odd or non-hex */
char *hex_text(struct bytes src);                /* NUL-terminated, owned by the caller */
