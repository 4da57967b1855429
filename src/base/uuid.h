/* UUIDs (RFC 9562): 16 bytes, and the 36-character lower-case text form. */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

#define UUID_TEXT_SIZE 37 /* with the NUL */

struct uuid {
	uint8_t b[16];
};

struct uuid uuid_random(void); /* version 4 */
/* Only the 8-4-4-4-12 form, either case. */
bool uuid_parse(struct bytes text, struct uuid *ret);
char *uuid_text(const struct uuid *u, char text[UUID_TEXT_SIZE]); /* returns text */
bool uuid_is_zero(const struct uuid *u);

static inline bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

static inline struct bytes uuid_bytes(const struct uuid *u)
{
	return bytes_of(u->b, sizeof(u->b));
}
