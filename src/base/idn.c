/* Punycode (RFC 3492), encoding only. */
#include "base/idn.h"

#include "base/err.h"

#define PUNY_BASE 36
#define PUNY_T_MIN 1
#define PUNY_T_MAX 26
#define PUNY_SKEW 38
#define PUNY_DAMP 700
#define PUNY_BIAS 72
#define PUNY_FIRST 0x80

/* A label is at most 63 bytes in DNS, and an encoded one is never shorter than its characters. */
#define LIMIT_LABEL_CHARS 63

static uint32_t adapt(uint32_t delta, uint32_t points, bool is_first)
{
	uint32_t k = 0;

	delta = is_first ? delta / PUNY_DAMP : delta / 2;
	delta += delta / points;
	for (; delta > (PUNY_BASE - PUNY_T_MIN) * PUNY_T_MAX / 2; k += PUNY_BASE)
		delta /= PUNY_BASE - PUNY_T_MIN;
	return k + (PUNY_BASE - PUNY_T_MIN + 1) * delta / (delta + PUNY_SKEW);
}

static char puny_digit(uint32_t d)
{
	return (char)(d < 26 ? 'a' + d : '0' + (d - 26));
}

/* One generalised variable-length integer (RFC 3492 §3.3). */
static int puny_put(struct buf *out, uint32_t value, uint32_t bias)
{
	for (uint32_t k = PUNY_BASE;; k += PUNY_BASE) {
		uint32_t t = k <= bias                ? PUNY_T_MIN
			     : k >= bias + PUNY_T_MAX ? PUNY_T_MAX
						      : k - bias;
		char digit = puny_digit(value < t ? value : t + (value - t) % (PUNY_BASE - t));
		int r = buf_append(out, bytes_of(&digit, 1));
		if (r < 0 || value < t)
			return r;
		value = (value - t) / (PUNY_BASE - t);
	}
}

static int puny_encode(const uint32_t *chars, size_t count, struct buf *out)
{
	uint32_t n = PUNY_FIRST, delta = 0, bias = PUNY_BIAS, done = 0;
	int r = buf_append_str(out, "xn--");

	for (size_t i = 0; r == 0 && i < count; i++)
		if (chars[i] < PUNY_FIRST) {
			uint8_t c = (uint8_t)chars[i];
			r = buf_append(out, bytes_of(&c, 1));
			done++;
		}
	uint32_t basic = done;
	if (r == 0 && basic)
		r = buf_append_str(out, "-");
	/* At most 63 characters below 0x110000: no product reaches 2^32. */
	while (r == 0 && done < count) {
		uint32_t next = UINT32_MAX;
		for (size_t i = 0; i < count; i++)
			if (chars[i] >= n && chars[i] < next)
				next = chars[i];
		delta += (next - n) * (done + 1);
		n = next;
		for (size_t i = 0; r == 0 && i < count; i++) {
			delta += chars[i] < n;
			if (chars[i] != n)
				continue;
			r = puny_put(out, delta, bias);
			bias = adapt(delta, done + 1, done == basic);
			delta = 0;
			done++;
		}
		delta++;
		n++;
	}
	return r;
}

/* The characters of a UTF-8 label; false when it is none or too long. */
static bool label_decode(struct bytes b, uint32_t chars[LIMIT_LABEL_CHARS], size_t *ret_count)
{
	size_t count = 0;

	for (size_t i = 0; i < b.len; count++) {
		uint8_t c = b.ptr[i];
		size_t size = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

		if (count == LIMIT_LABEL_CHARS || (c >= 0x80 && c < 0xc2) || c > 0xf4 ||
		    size > b.len - i)
			return false;
		uint32_t value = size == 1 ? bytes_lower(c) : c & 0xffu >> (size + 1);
		for (size_t k = 1; k < size; k++) {
			if ((b.ptr[i + k] & 0xc0) != 0x80)
				return false;
			value = value << 6 | (b.ptr[i + k] & 0x3f);
		}
		chars[count] = value;
		i += size;
	}
	*ret_count = count;
	return true;
}

int idn_encode(struct bytes name, struct buf *out)
{
	size_t start = out->len;
	struct bytes label;
	bool is_first = true;
	int r = 0;

	while (r == 0 && bytes_split(&name, '.', &label)) {
		uint32_t chars[LIMIT_LABEL_CHARS];
		size_t count = 0;
		bool is_ascii = true;

		for (size_t i = 0; i < label.len; i++)
			is_ascii &= label.ptr[i] < 0x80;
		if (!is_first)
			r = buf_append_str(out, ".");
		is_first = false;
		if (r == 0 && is_ascii)
			r = buf_append(out, label);
		else if (r == 0)
			r = label_decode(label, chars, &count) ? puny_encode(chars, count, out)
							       : E_PARSE;
	}
	if (r < 0)
		out->len = start;
	return r;
}
