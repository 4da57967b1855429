#include "base/uuid.h"

#include "base/encode.h"
#include "base/random.h"

struct uuid uuid_random(void)
{
	struct uuid u;

	random_bytes(u.b, sizeof(u.b));
	u.b[6] = (uint8_t)((u.b[6] & 0x0f) | 0x40);
	u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
	return u;
}

static bool is_dash_position(size_t i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

bool uuid_parse(struct bytes text, struct uuid *ret)
{
	uint8_t digits[32];
	size_t n = 0;

	if (text.len != 36)
		return false;
	for (size_t i = 0; i < 36; i++) {
		if (is_dash_position(i) != (text.ptr[i] == '-'))
			return false;
		if (!is_dash_position(i))
			digits[n++] = text.ptr[i];
	}
	struct uuid u;
	if (!hex_decode(bytes_of(digits, sizeof(digits)), u.b))
		return false;
	*ret = u;
	return true;
}

char *uuid_text(const struct uuid *u, char text[UUID_TEXT_SIZE])
{
	char digits[32];
	size_t n = 0;

	hex_encode(uuid_bytes(u), digits);
	for (size_t i = 0; i < 36; i++)
		text[i] = is_dash_position(i) ? '-' : digits[n++];
	text[36] = 0;
	return text;
}

bool uuid_is_zero(const struct uuid *u)
{
	static const struct uuid zero;

	return uuid_eq(u, &zero);
}
