#include "wire/heads.h"

#include <jansson.h>

#include "base/encode.h"

/* --- Names ----------------------------------------------------------------------------------- */

bool heads_is_filtered(struct bytes name)
{
	static const struct bytes prefixes[] = {
		{ (const uint8_t *)"int-", 4 },
		{ (const uint8_t *)"cloudflared-", 12 },
		{ (const uint8_t *)"proxy-", 6 },
	};

	if (name.len && name.ptr[0] == ':')
		return true;
	/* Nearly every name fails here. */
	if (name.len < 3 || (name.ptr[0] | 0x20) != 'c' || (name.ptr[1] | 0x20) != 'f' ||
	    name.ptr[2] != '-')
		return false;
	struct bytes rest = bytes_from(name, 3);
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (bytes_eq_nocase(bytes_first(rest, prefixes[i].len), prefixes[i]))
			return true;
	return false;
}

/* --- Decoding -------------------------------------------------------------------------------- */

/* Value of a base64 character plus 1; 0 for every other byte, so that a plain initialiser does. */
#define V(c, v) [(uint8_t)(c)] = (v) + 1
static const uint8_t digits[256] = {
	V('A', 0),  V('B', 1),  V('C', 2),  V('D', 3),  V('E', 4),  V('F', 5),  V('G', 6),
	V('H', 7),  V('I', 8),  V('J', 9),  V('K', 10), V('L', 11), V('M', 12), V('N', 13),
	V('O', 14), V('P', 15), V('Q', 16), V('R', 17), V('S', 18), V('T', 19), V('U', 20),
	V('V', 21), V('W', 22), V('X', 23), V('Y', 24), V('Z', 25), V('a', 26), V('b', 27),
	V('c', 28), V('d', 29), V('e', 30), V('f', 31), V('g', 32), V('h', 33), V('i', 34),
	V('j', 35), V('k', 36), V('l', 37), V('m', 38), V('n', 39), V('o', 40), V('p', 41),
	V('q', 42), V('r', 43), V('s', 44), V('t', 45), V('u', 46), V('v', 47), V('w', 48),
	V('x', 49), V('y', 50), V('z', 51), V('0', 52), V('1', 53), V('2', 54), V('3', 55),
	V('4', 56), V('5', 57), V('6', 58), V('7', 59), V('8', 60), V('9', 61), V('+', 62),
	V('/', 63),
};
#undef V

void heads_reader_init(struct heads_reader *r, struct bytes text, struct arena *a)
{
	r->left = text;
	/* Four characters make three bytes; a rest of two or three makes less than its length. */
	r->out = arena_alloc_bytes(a, text.len / 4 * 3 + 3);
}

/* Decodes base64 up to the first other character. The end of it goes to *ret. False on a length or on
 * trailing bits that no encoder makes. */
static bool take_base64(struct heads_reader *r, struct bytes *ret)
{
	const uint8_t *in = r->left.ptr;
	const uint8_t *end = in + r->left.len;
	uint8_t *out = r->out;
	uint32_t v = 0;
	unsigned have = 0;

	while (end - in >= 4) {
		uint32_t a = digits[in[0]], b = digits[in[1]], c = digits[in[2]], d = digits[in[3]];
		if (!a || !b || !c || !d)
			break;
		v = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
		*out++ = (uint8_t)(v >> 16);
		*out++ = (uint8_t)(v >> 8);
		*out++ = (uint8_t)v;
		in += 4;
	}
	/* At most three more: with four the loop above had gone on. */
	for (v = 0; in < end && digits[*in]; in++, have++)
		v = v << 6 | (digits[*in] - 1u);
	if (have == 1 || (have == 2 && (v & 15)) || (have == 3 && (v & 3)))
		return false;
	if (have == 2) {
		*out++ = (uint8_t)(v >> 4);
	} else if (have == 3) {
		*out++ = (uint8_t)(v >> 10);
		*out++ = (uint8_t)(v >> 2);
	}
	*ret = bytes_of(r->out, (size_t)(out - r->out));
	r->out = out;
	r->left = bytes_of(in, (size_t)(end - in));
	return true;
}

int heads_next(struct heads_reader *r, struct wire_pair *ret)
{
	struct wire_pair pair;

	while (r->left.len && r->left.ptr[0] == ';')
		r->left = bytes_from(r->left, 1);
	if (r->left.len == 0)
		return 0;
	if (!take_base64(r, &pair.name) || r->left.len == 0 || r->left.ptr[0] != ':')
		return E_PARSE;
	r->left = bytes_from(r->left, 1);
	pair.value = BYTES_NONE;
	if (r->left.len && (!take_base64(r, &pair.value) || (r->left.len && r->left.ptr[0] != ';')))
		return E_PARSE;
	*ret = pair;
	return 1;
}

/* --- Encoding -------------------------------------------------------------------------------- */

int heads_put(struct buf *out, struct bytes name, struct bytes value)
{
	size_t size;

	if (__builtin_add_overflow(name.len, value.len, &size) || size > out->max)
		return E_LIMIT;
	int rc = buf_reserve(out, base64_size(name.len) + base64_size(value.len) + 2);
	if (rc < 0)
		return rc;
	char *at = (char *)out->ptr + out->len;
	const char *start = at;
	if (out->len)
		*at++ = ';';
	at += base64_encode(BASE64_STD_RAW, name, at);
	*at++ = ':';
	at += base64_encode(BASE64_STD_RAW, value, at);
	buf_added(out, (size_t)(at - start));
	return 0;
}

/* --- Meta ------------------------------------------------------------------------------------ */

/* What stock writes; nearly every response has one of these. */
static const struct stock_meta {
	const char *text;
	struct heads_meta meta;
} stock_metas[] = {
	{ "{\"src\":\"origin\"}", { .from_connector = false } },
	{ "{\"src\":\"cloudflared\"}", { .from_connector = true } },
	{ "{\"src\":\"cloudflared\",\"flow_rate_limited\":true}",
	  { .from_connector = true, .flow_rate_limited = true } },
};

static int meta_from_json(json_t *root, struct arena *a, struct heads_meta *ret)
{
	const char *src = json_string_value(json_object_get(root, "src"));
	struct heads_meta m = { 0 };

	if (!src)
		return E_PARSE;
	if (strcmp(src, "cloudflared") == 0)
		m.from_connector = true;
	else if (strcmp(src, "origin") != 0)
		return E_PARSE;
	m.flow_rate_limited = json_is_true(json_object_get(root, "flow_rate_limited"));
	json_t *adit = json_object_get(root, "adit");
	if (json_is_object(adit)) {
		size_t size = json_dumpb(adit, NULL, 0, JSON_COMPACT);
		char *text = (char *)arena_alloc_bytes(a, size + 1);
		m.adit = bytes_of(text, json_dumpb(adit, text, size, JSON_COMPACT));
	}
	*ret = m;
	return 0;
}

int heads_get_meta(struct bytes text, struct arena *a, struct heads_meta *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(stock_metas); i++) {
		if (bytes_eq(text, bytes_str(stock_metas[i].text))) {
			*ret = stock_metas[i].meta;
			return 0;
		}
	}
	if (text.len > HEADS_META_BYTES)
		return E_LIMIT;
	json_t *root = json_loadb((const char *)text.ptr, text.len, 0, NULL);
	int rc = meta_from_json(root, a, ret);
	json_decref(root);
	return rc;
}

static bool can_pass(struct bytes json)
{
	struct bytes trimmed = bytes_trim(json);

	if (trimmed.len < 2 || trimmed.ptr[0] != '{' || trimmed.ptr[trimmed.len - 1] != '}')
		return false;
	for (size_t i = 0; i < json.len; i++)
		if (json.ptr[i] < 0x20 || json.ptr[i] == 0x7f)
			return false;
	return json.len <= HEADS_META_BYTES - 64;
}

int heads_put_meta(struct buf *out, const struct heads_meta *m)
{
	size_t start = out->len;
	int rc = buf_append_str(out, m->from_connector ? "{\"src\":\"cloudflared\""
						       : "{\"src\":\"origin\"");

	if (rc == 0 && m->flow_rate_limited)
		rc = buf_append_str(out, ",\"flow_rate_limited\":true");
	if (rc == 0 && can_pass(m->adit)) {
		rc = buf_append_str(out, ",\"adit\":");
		if (rc == 0)
			rc = buf_append(out, m->adit);
	}
	if (rc == 0)
		rc = buf_append_str(out, "}");
	if (rc < 0)
		out->len = start;
	return rc;
}
