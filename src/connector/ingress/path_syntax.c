/* RE2's syntax as Go's regexp/syntax documents it, read from left to right and written for PCRE2. */
#include "connector/ingress/path_regex.h"

#include <stdio.h>

/* Go allows no larger counts; without a bound a short pattern becomes a huge program. */
#define LIMIT_REPEAT 1000
/* Groups in groups: both this file and PCRE2 stay far from the end of their stacks. */
#define LIMIT_GROUPS 100

struct syntax {
	struct bytes all;
	struct bytes left;
	struct buf *out;
	struct err *err;
	unsigned depth;
	bool has_atom;       /* something stands here that a repetition could apply to */
	struct bytes repeat; /* where the repetition just read began; none: len 0 */
};

static int syntax_error(struct syntax *s, const char *what, struct bytes where)
{
	return err_set(s->err, E_INVALID, "error parsing regexp: %s: `%.*s`", what,
		       (int)(where.len > 200 ? 200 : where.len),
		       where.ptr ? (const char *)where.ptr : "");
}

/* From `start` up to what is left now. */
static struct bytes since(const struct syntax *s, struct bytes start)
{
	return bytes_first(start, start.len - s->left.len);
}

static int peek(const struct syntax *s, size_t at)
{
	return at < s->left.len ? s->left.ptr[at] : -1;
}

static void skip(struct syntax *s, size_t count)
{
	s->left = bytes_from(s->left, count);
}

static int put(struct syntax *s, const char *text)
{
	if (buf_append_str(s->out, text) < 0)
		return syntax_error(s, "expression too large", s->all);
	return 0;
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(int c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex_value(int c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A literal code point; beyond ASCII its UTF-8 bytes, grouped so that a repetition takes them all. */
static int put_char(struct syntax *s, uint32_t c)
{
	char text[40];

	if (c < 0x80 && is_alnum((int)c))
		(void)snprintf(text, sizeof(text), "%c", (char)c);
	else if (c < 0x80)
		(void)snprintf(text, sizeof(text), "\\x%02x", c);
	else if (c < 0x800)
		(void)snprintf(text, sizeof(text), "(?:\\x%02x\\x%02x)", 0xc0 | c >> 6,
			       0x80 | (c & 0x3f));
	else if (c < 0x10000)
		(void)snprintf(text, sizeof(text), "(?:\\x%02x\\x%02x\\x%02x)", 0xe0 | c >> 12,
			       0x80 | (c >> 6 & 0x3f), 0x80 | (c & 0x3f));
	else
		(void)snprintf(text, sizeof(text), "(?:\\x%02x\\x%02x\\x%02x\\x%02x)",
			       0xf0 | c >> 18, 0x80 | (c >> 12 & 0x3f), 0x80 | (c >> 6 & 0x3f),
			       0x80 | (c & 0x3f));
	return put(s, text);
}

/* One UTF-8 character off the front. */
static int char_take(struct syntax *s, uint32_t *ret)
{
	int first = peek(s, 0);
	size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t c = (uint32_t)first;

	if (size > 1)
		c &= 0xffu >> (size + 1);
	if (size > s->left.len || (first >= 0x80 && first < 0xc2) || first > 0xf4)
		return syntax_error(s, "invalid UTF-8", s->all);
	for (size_t i = 1; i < size; i++) {
		if ((s->left.ptr[i] & 0xc0) != 0x80)
			return syntax_error(s, "invalid UTF-8", s->all);
		c = c << 6 | (s->left.ptr[i] & 0x3f);
	}
	skip(s, size);
	*ret = c;
	return 0;
}

/* ------------------------------------------------------------------------------------------
 * Escapes. */

static int octal_take(struct syntax *s, uint32_t *ret)
{
	uint32_t c = 0;

	for (int i = 0; i < 3 && peek(s, 0) >= '0' && peek(s, 0) <= '7'; i++) {
		c = c * 8 + (uint32_t)(peek(s, 0) - '0');
		skip(s, 1);
	}
	*ret = c;
	return 0;
}

/* Behind \x: two digits, or any number in braces. */
static int hex_take(struct syntax *s, struct bytes start, uint32_t *ret)
{
	uint32_t c = 0;
	bool is_braced = peek(s, 0) == '{';
	int digits = 0;

	skip(s, is_braced);
	while (hex_value(peek(s, 0)) >= 0 && (is_braced || digits < 2)) {
		c = c * 16 + (uint32_t)hex_value(peek(s, 0));
		skip(s, 1);
		digits++;
		if (c > 0x10ffff)
			return syntax_error(s, "invalid escape sequence", since(s, start));
	}
	bool is_closed = !is_braced || peek(s, 0) == '}';
	if (is_braced && is_closed)
		skip(s, 1);
	if (!is_closed || digits == 0 || (!is_braced && digits != 2))
		return syntax_error(s, "invalid escape sequence", since(s, start));
	*ret = c;
	return 0;
}

/* An escape that stands for one character, at the backslash. */
static int escape_take(struct syntax *s, uint32_t *ret)
{
	static const char letters[] = "afnrtv", values[] = "\a\f\n\r\t\v";
	struct bytes start = s->left;
	int c = peek(s, 1);

	if (c < 0)
		return syntax_error(s, "trailing backslash at end of expression", BYTES_NONE);
	if (c == '0' || (c >= '1' && c <= '7' && peek(s, 2) >= '0' && peek(s, 2) <= '7')) {
		skip(s, 1);
		return octal_take(s, ret);
	}
	skip(s, 2);
	if (c == 'x')
		return hex_take(s, start, ret);
	const char *letter = c ? strchr(letters, c) : NULL;
	if (letter)
		*ret = (uint32_t)values[letter - letters];
	else if (c < 0x80 && !is_alnum(c))
		*ret = (uint32_t)c;
	else
		return syntax_error(s, "invalid escape sequence", since(s, start));
	return 0;
}

/* \d and its kin as the inside of a class; NULL for other letters. Go's \s has no vertical tab. */
static const char *perl_class(int c)
{
	switch (c) {
	case 'd':
		return "0-9";
	case 'D':
		return "\\x00-\\x2f\\x3a-\\xff";
	case 's':
		return "\\x09\\x0a\\x0c\\x0d\\x20";
	case 'S':
		return "\\x00-\\x08\\x0b\\x0e-\\x1f\\x21-\\xff";
	case 'w':
		return "0-9A-Za-z\\x5f";
	case 'W':
		return "\\x00-\\x2f\\x3a-\\x40\\x5b-\\x5e\\x60\\x7b-\\xff";
	default:
		return NULL;
	}
}

/* ------------------------------------------------------------------------------------------
 * Classes. */

static const char *const posix_names[] = { "alnum", "alpha", "ascii", "blank", "cntrl",
					   "digit", "graph", "lower", "print", "punct",
					   "space", "upper", "word",  "xdigit" };

/* "[:alpha:]" at the front: 1 taken, 0 it is none. */
static int posix_class_take(struct syntax *s)
{
	struct bytes rest = bytes_from(s->left, 2);
	size_t end = 0;

	while (end + 1 < rest.len && !(rest.ptr[end] == ':' && rest.ptr[end + 1] == ']'))
		end++;
	if (end + 1 >= rest.len)
		return 0;
	struct bytes name = bytes_first(rest, end);
	struct bytes whole = bytes_first(s->left, end + 4);
	bool is_negated = name.len && name.ptr[0] == '^';
	if (is_negated)
		name = bytes_from(name, 1);
	for (size_t i = 0; i < ARRAY_LEN(posix_names); i++) {
		if (!bytes_eq(name, bytes_str(posix_names[i])))
			continue;
		if (buf_append(s->out, whole) < 0)
			return syntax_error(s, "expression too large", s->all);
		skip(s, whole.len);
		return 1;
	}
	return syntax_error(s, "invalid character class range", whole);
}

/* One end of a range. */
static int class_char_take(struct syntax *s, struct bytes class_start, uint32_t *ret)
{
	int r;

	if (s->left.len == 0)
		return syntax_error(s, "missing closing ]", class_start);
	struct bytes start = s->left;
	r = peek(s, 0) == '\\' ? escape_take(s, ret) : char_take(s, ret);
	if (r == 0 && *ret >= 0x80)
		return syntax_error(s, "characters beyond ASCII are not supported in a class",
				    since(s, start));
	return r;
}

static int class_item_take(struct syntax *s, struct bytes class_start)
{
	struct bytes start = s->left;
	uint32_t low, high;
	char text[16];

	if (peek(s, 0) == '[' && peek(s, 1) == ':') {
		int r = posix_class_take(s);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	if (peek(s, 0) == '\\' && perl_class(peek(s, 1))) {
		int r = put(s, perl_class(peek(s, 1)));
		skip(s, 2);
		return r;
	}
	if (peek(s, 0) == '\\' && (peek(s, 1) == 'p' || peek(s, 1) == 'P'))
		return syntax_error(s, "Unicode classes are not supported", bytes_first(s->left, 2));
	int r = class_char_take(s, class_start, &low);
	if (r < 0)
		return r;
	high = low;
	if (peek(s, 0) == '-' && peek(s, 1) >= 0 && peek(s, 1) != ']') {
		skip(s, 1);
		if (peek(s, 0) == '\\' && perl_class(peek(s, 1))) {
			skip(s, 2);
			return syntax_error(s, "invalid character class range", since(s, start));
		}
		r = class_char_take(s, class_start, &high);
		if (r < 0)
			return r;
		if (high < low)
			return syntax_error(s, "invalid character class range", since(s, start));
	}
	(void)snprintf(text, sizeof(text), low == high ? "\\x%02x" : "\\x%02x-\\x%02x", low, high);
	return put(s, text);
}

static int class_take(struct syntax *s)
{
	struct bytes start = s->left;
	bool is_first = true;
	int r;

	skip(s, 1);
	bool is_negated = peek(s, 0) == '^';
	skip(s, is_negated);
	r = put(s, is_negated ? "[^" : "[");
	while (r == 0 && (is_first || peek(s, 0) != ']')) {
		if (s->left.len == 0)
			return syntax_error(s, "missing closing ]", start);
		r = class_item_take(s, start);
		is_first = false;
	}
	if (r < 0)
		return r;
	skip(s, 1);
	s->has_atom = true;
	return put(s, "]");
}

/* ------------------------------------------------------------------------------------------
 * Groups. */

static int named_group_take(struct syntax *s, size_t prefix)
{
	struct bytes start = s->left;
	struct bytes name = bytes_from(s->left, prefix);
	size_t len = bytes_index(name, '>');
	bool is_good = len > 0 && len < name.len;

	for (size_t i = 0; is_good && i < len; i++)
		is_good = is_alnum(name.ptr[i]) || name.ptr[i] == '_';
	if (!is_good)
		return syntax_error(s, "invalid named capture",
				    len < name.len ? bytes_first(start, prefix + len + 1) : start);
	skip(s, prefix + len + 1);
	return put(s, "(?:");
}

/* "(?i)" and "(?s-m:": PCRE2 spells the four flags alike. */
static int flags_take(struct syntax *s)
{
	struct bytes start = s->left;
	bool is_negative = false, has_flag = false;

	skip(s, 2);
	for (; s->left.len; skip(s, 1)) {
		int c = peek(s, 0);

		if (c && strchr("imsU", c)) {
			has_flag = true;
		} else if (c == '-' && !is_negative) {
			is_negative = true;
			has_flag = false;
		} else if ((c == ')' || c == ':') && (has_flag || !is_negative)) {
			skip(s, 1);
			if (c == ':') {
				s->depth++;
				s->has_atom = false;
			}
			struct bytes group = since(s, start);
			/* "(?)" sets nothing, and PCRE2 does not know it. */
			if (bytes_eq(group, BYTES_LIT("(?)")))
				return 0;
			if (buf_append(s->out, group) < 0)
				return syntax_error(s, "expression too large", s->all);
			/* A setting cannot be repeated in PCRE2. */
			s->has_atom = false;
			return 0;
		} else {
			skip(s, 1);
			return syntax_error(s, "invalid or unsupported Perl syntax",
					    since(s, start));
		}
	}
	return syntax_error(s, "missing closing )", s->all);
}

static int group_take(struct syntax *s)
{
	int r;

	if (s->depth >= LIMIT_GROUPS)
		return syntax_error(s, "expression nests too deeply", s->all);
	if (peek(s, 1) != '?') {
		skip(s, 1);
		r = put(s, "(?:");
	} else if (peek(s, 2) == 'P' && peek(s, 3) == '<') {
		r = named_group_take(s, 4);
	} else if (peek(s, 2) == '<' && peek(s, 3) != '=' && peek(s, 3) != '!') {
		r = named_group_take(s, 3);
	} else {
		return flags_take(s);
	}
	s->depth++;
	s->has_atom = false;
	return r;
}

/* ------------------------------------------------------------------------------------------
 * Repetitions. */

static bool count_take(struct bytes *b, unsigned *ret)
{
	unsigned value = 0;
	size_t digits = 0;

	for (; b->len && is_digit(b->ptr[0]); *b = bytes_from(*b, 1), digits++)
		if (value <= LIMIT_REPEAT)
			value = value * 10 + (unsigned)(b->ptr[0] - '0');
	*ret = value;
	return digits > 0;
}

/* "{n}", "{n,}", "{n,m}" at the front; otherwise the brace is a literal. */
static bool braces_take(struct syntax *s, bool *ret_is_good)
{
	struct bytes b = bytes_from(s->left, 1);
	unsigned min, max;

	if (!count_take(&b, &min))
		return false;
	max = min;
	if (b.len && b.ptr[0] == ',') {
		b = bytes_from(b, 1);
		if (!count_take(&b, &max))
			max = LIMIT_REPEAT;
	}
	if (!b.len || b.ptr[0] != '}')
		return false;
	*ret_is_good = min <= LIMIT_REPEAT && max <= LIMIT_REPEAT && min <= max;
	skip(s, s->left.len - b.len + 1);
	return true;
}

/* 1 taken, 0 what stands here is no repetition. */
static int repeat_take(struct syntax *s)
{
	struct bytes start = s->left;
	int c = peek(s, 0);
	bool is_good = true;

	if (c == '{' ? !braces_take(s, &is_good) : !(c == '*' || c == '+' || c == '?'))
		return 0;
	if (c != '{')
		skip(s, 1);
	if (!is_good)
		return syntax_error(s, "invalid repeat count", since(s, start));
	if (peek(s, 0) == '?')
		skip(s, 1);
	if (s->repeat.len)
		return syntax_error(s, "invalid nested repetition operator", since(s, s->repeat));
	if (!s->has_atom)
		return syntax_error(s, "missing argument to repetition operator", since(s, start));
	s->repeat = start;
	if (buf_append(s->out, since(s, start)) < 0)
		return syntax_error(s, "expression too large", s->all);
	return 1;
}

/* ------------------------------------------------------------------------------------------ */

static int quoted_take(struct syntax *s)
{
	int r = 0;

	skip(s, 2);
	while (r == 0 && s->left.len && !(peek(s, 0) == '\\' && peek(s, 1) == 'E')) {
		uint32_t c;
		r = char_take(s, &c);
		if (r == 0)
			r = put_char(s, c);
		s->has_atom = true;
	}
	skip(s, 2);
	return r;
}

static int backslash_take(struct syntax *s)
{
	int c = peek(s, 1);
	uint32_t literal;
	int r;

	if (c == 'Q')
		return quoted_take(s);
	s->has_atom = true;
	if (c == 'A' || c == 'z' || c == 'b' || c == 'B') {
		const char text[] = { '(', '?', ':', '\\', (char)c, ')', 0 };
		skip(s, 2);
		return put(s, text);
	}
	if (perl_class(c)) {
		skip(s, 2);
		r = put(s, "[");
		if (r == 0)
			r = put(s, perl_class(c));
		return r < 0 ? r : put(s, "]");
	}
	if (c == 'p' || c == 'P')
		return syntax_error(s, "Unicode classes are not supported", bytes_first(s->left, 2));
	r = escape_take(s, &literal);
	return r < 0 ? r : put_char(s, literal);
}

static int atom_take(struct syntax *s)
{
	int c = peek(s, 0);
	uint32_t literal;

	switch (c) {
	case '(':
		return group_take(s);
	case ')':
		if (s->depth == 0)
			return syntax_error(s, "unexpected )", s->all);
		s->depth--;
		s->has_atom = true;
		break;
	case '|':
		s->has_atom = false;
		break;
	case '[':
		return class_take(s);
	case '\\':
		return backslash_take(s);
	case '^':
	case '$':
		/* In a group, for Go lets an assertion be repeated and PCRE2 does not. */
		s->has_atom = true;
		skip(s, 1);
		return put(s, c == '^' ? "(?:^)" : "(?:$)");
	case '.':
		s->has_atom = true;
		break;
	default:
		s->has_atom = true;
		if (char_take(s, &literal) < 0)
			return E_INVALID;
		return put_char(s, literal);
	}
	const char text[] = { (char)c, 0 };
	skip(s, 1);
	return put(s, text);
}

int path_regex_translate(struct bytes pattern, struct buf *out, struct err *err)
{
	struct syntax s = { .all = pattern, .left = pattern, .out = out, .err = err };

	while (s.left.len) {
		int r = repeat_take(&s);
		if (r == 0) {
			s.repeat = BYTES_NONE;
			r = atom_take(&s);
		}
		if (r < 0)
			return r;
	}
	if (s.depth > 0)
		return syntax_error(&s, "missing closing )", s.all);
	return 0;
}
