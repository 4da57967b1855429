/* Durations as Go writes and reads them. */
#include "config/yaml.h"

#include <stdio.h>

static const struct unit {
	const char *name;
	int64_t nsec;
} units[] = {
	/* Longer names first where one begins another. */
	{ "ns", 1 },
	{ "us", 1000 },
	{ "\u00b5s", 1000 },
	{ "\u03bcs", 1000 },
	{ "ms", 1000000 },
	{ "s", 1000000000 },
	{ "m", 60 * (int64_t)1000000000 },
	{ "h", 3600 * (int64_t)1000000000 },
};

static const struct unit *unit_take(struct bytes *b)
{
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		struct bytes name = bytes_str(units[i].name);
		if (bytes_starts_with(*b, name)) {
			*b = bytes_from(*b, name.len);
			return &units[i];
		}
	}
	return NULL;
}

static bool is_digit(struct bytes b)
{
	return b.len && b.ptr[0] >= '0' && b.ptr[0] <= '9';
}

/* "1.5h" and the like off the front of *b, added to *nsec. */
static bool part_take(struct bytes *b, int64_t *nsec)
{
	struct bytes fraction = BYTES_NONE;
	int64_t whole = 0, rest = 0;
	bool has_digit = false;

	for (; is_digit(*b); *b = bytes_from(*b, 1)) {
		has_digit = true;
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, b->ptr[0] - '0', &whole))
			return false;
	}
	if (b->len && b->ptr[0] == '.') {
		fraction = bytes_from(*b, 1);
		for (*b = fraction; is_digit(*b); *b = bytes_from(*b, 1))
			has_digit = true;
		fraction.len -= b->len;
	}
	const struct unit *unit = has_digit ? unit_take(b) : NULL;
	if (!unit || __builtin_mul_overflow(whole, unit->nsec, &whole) ||
	    __builtin_add_overflow(*nsec, whole, nsec))
		return false;
	/* From the last digit on, rest stays below a unit: nothing overflows, and rounding down at each is rounding down. */
	for (size_t i = fraction.len; i > 0; i--)
		rest = (rest + (fraction.ptr[i - 1] - '0') * unit->nsec) / 10;
	return !__builtin_add_overflow(*nsec, rest, nsec);
}

bool duration_parse(struct bytes text, usec *ret)
{
	bool is_negative = text.len && text.ptr[0] == '-';
	int64_t nsec = 0;

	if (text.len && (text.ptr[0] == '-' || text.ptr[0] == '+'))
		text = bytes_from(text, 1);
	if (text.len == 0)
		return false;
	if (bytes_eq(text, BYTES_LIT("0"))) {
		*ret = 0;
		return true;
	}
	while (text.len)
		if (!part_take(&text, &nsec))
			return false;
	*ret = (is_negative ? -nsec : nsec) / 1000;
	return true;
}

/* "1.5" from 1500000 of `unit` 1000000: no trailing zeros. */
static void put_fraction(char *dst, size_t size, uint64_t value, uint64_t unit, const char *name)
{
	uint64_t whole = value / unit, rest = value % unit;
	int digits = 0;

	for (uint64_t u = unit; u > 1; u /= 10)
		digits++;
	while (rest && rest % 10 == 0) {
		rest /= 10;
		digits--;
	}
	if (rest)
		(void)snprintf(dst, size, "%llu.%0*llu%s", (unsigned long long)whole, digits,
			       (unsigned long long)rest, name);
	else
		(void)snprintf(dst, size, "%llu%s", (unsigned long long)whole, name);
}

char *duration_text(usec d, char text[40])
{
	uint64_t v = d < 0 ? 0 - (uint64_t)d : (uint64_t)d;
	const uint64_t second = (uint64_t)USEC_PER_SEC;
	char tail[24];
	int at = 0;

	if (d < 0)
		text[at++] = '-';
	if (v == 0) {
		(void)snprintf(text, 40, "0s");
	} else if (v < second) {
		bool is_ms = v >= 1000;
		put_fraction(text + at, (size_t)(40 - at), v, is_ms ? 1000 : 1,
			     is_ms ? "ms" : "\u00b5s");
	} else {
		put_fraction(tail, sizeof(tail), v % (60 * second), second, "s");
		uint64_t minutes = v / (60 * second);
		if (minutes >= 60)
			(void)snprintf(text + at, (size_t)(40 - at), "%lluh%um%s",
				       (unsigned long long)(minutes / 60), (unsigned)(minutes % 60),
				       tail);
		else if (minutes)
			(void)snprintf(text + at, (size_t)(40 - at), "%um%s", (unsigned)minutes,
				       tail);
		else
			(void)snprintf(text + at, (size_t)(40 - at), "%s", tail);
	}
	return text;
}
