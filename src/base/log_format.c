/* Records: packed where a line is logged, turned into text where it is written. */
#include <time.h>

#include "base/check.h"
#include "base/log_internal.h"
#include "base/redact.h"

/* A line always keeps so much for its end: ...", "cut", "}". */
#define TAIL_BYTES 24

static const char *const level_names[] = { "debug", "info", "warn", "error", "fatal" };
static const char *const level_short[] = { "DBG", "INF", "WRN", "ERR", "FTL" };
static const char *const level_colour[] = { "\033[2m", "\033[32m", "\033[33m", "\033[31m",
					    "\033[31m" };

bool log_level_parse(const char *word, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
		if (strcmp(word, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	return false;
}

/* --- Packing --------------------------------------------------------------------------------- */

static size_t padded(size_t len)
{
	return (len + 7) & ~(size_t)7;
}

static bool value_has_bytes(const struct log_field *f)
{
	return f->type == LOG_FIELD_BYTES || f->type == LOG_FIELD_UUID;
}

size_t log_record_pack(void *dst, const struct log_record *head, struct bytes message,
		       const struct log_field *fields)
{
	struct log_record *r = dst;
	uint8_t *at = (uint8_t *)dst + sizeof(*r), *end = (uint8_t *)dst + LOG_RECORD_BYTES;

	*r = *head;
	r->is_cut = message.len > LOG_LINE_BYTES;
	message = bytes_first(message, LOG_LINE_BYTES);
	r->message_len = (uint16_t)message.len;
	r->field_count = 0;
	if (message.len)
		memcpy(at, message.ptr, message.len);
	at += padded(message.len);
	for (; fields && fields->key; fields++) {
		struct log_packed *p = (struct log_packed *)(void *)at;
		struct bytes value = value_has_bytes(fields) ? fields->text : BYTES_NONE;
		bool is_cut = value.len > LOG_VALUE_BYTES;
		value = bytes_first(value, LOG_VALUE_BYTES);
		if ((size_t)(end - at) < sizeof(*p) + padded(value.len)) {
			r->is_cut = true;
			continue; /* a shorter one may fit */
		}
		*p = (struct log_packed){
			.key = fields->key,
			.number = fields->number,
			.len = (uint32_t)value.len,
			.type = (uint8_t)fields->type,
			.is_cut = is_cut,
		};
		at += sizeof(*p);
		if (value.len)
			memcpy(at, value.ptr, value.len);
		at += padded(value.len);
		r->field_count++;
	}
	r->size = (uint32_t)(at - (uint8_t *)dst);
	return r->size;
}

static const char hex_digits[] = "0123456789abcdef";

/* --- Pieces of text -------------------------------------------------------------------------- */

static size_t room(const struct log_line *l)
{
	size_t most = sizeof(l->text) - TAIL_BYTES;

	return l->len < most ? most - l->len : 0;
}

static inline void put(struct log_line *l, const void *text, size_t len)
{
	memcpy(l->text + l->len, text, len);
	l->len += len;
}

static inline void put_str(struct log_line *l, const char *text)
{
	put(l, text, strlen(text));
}

/* Length of the UTF-8 character at the front (RFC 3629: shortest form, no surrogates), or 0. */
static size_t utf8_length(struct bytes b)
{
	uint8_t first = b.ptr[0];
	size_t len = first < 0x80   ? 1
		     : first < 0xc2 ? 0
		     : first < 0xe0 ? 2
		     : first < 0xf0 ? 3
		     : first < 0xf5 ? 4
				    : 0;

	if (len > b.len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((b.ptr[i] & 0xc0) != 0x80)
			return 0;
	if (len > 2) {
		uint8_t second = b.ptr[1];
		if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
		    (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
			return 0;
	}
	return len;
}

static bool is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

#define EVERY_BYTE(c) (0x0101010101010101ull * (c))

/* Not zero when one of eight bytes is below `c` (at most 128); the next: when one is `c`. */
static uint64_t has_below(uint64_t word, uint8_t c)
{
	return (word - EVERY_BYTE(c)) & ~word & EVERY_BYTE(0x80);
}

static uint64_t has_byte(uint64_t word, uint8_t c)
{
	return has_below(word ^ EVERY_BYTE(c), 1);
}

/* Bytes at the front that need no escape: nearly always all of them, so eight at a time. */
static size_t plain_run(struct bytes b)
{
	size_t run = 0;
	uint64_t word;

	for (; run + sizeof(word) <= b.len; run += sizeof(word)) {
		memcpy(&word, b.ptr + run, sizeof(word));
		uint64_t above = ((word + EVERY_BYTE(1)) | word) & EVERY_BYTE(0x80);
		if (above | has_below(word, 0x20) | has_byte(word, '"') | has_byte(word, '\\'))
			break;
	}
	while (run < b.len && is_plain(b.ptr[run]))
		run++;
	return run;
}

/* One character that is not plain, as it may be shown; returns how many bytes it was. */
static size_t escape_one(struct bytes rest, char escape[8], size_t *ret_len)
{
	size_t len = utf8_length(rest);
	uint8_t c = rest.ptr[0];

	if (len == 0) {
		memcpy(escape, "\\ufffd", 6);
		*ret_len = 6;
		return 1;
	}
	if (c == '"' || c == '\\') {
		escape[0] = '\\';
		escape[1] = (char)c;
		*ret_len = 2;
	} else if (c < 0x20 || c == 0x7f || (c == 0xc2 && rest.ptr[1] < 0xa0)) {
		uint8_t low = len == 1 ? c : rest.ptr[1];
		memcpy(escape, "\\u00", 4);
		escape[4] = hex_digits[low >> 4];
		escape[5] = hex_digits[low & 15];
		*ret_len = 6;
	} else {
		memcpy(escape, rest.ptr, len);
		*ret_len = len;
	}
	return len;
}

/* JSON string escapes; valid in console output too. Whole UTF-8 characters pass, but for the control
 * characters of either range: terminals obey the C1 ones (U+0080 to U+009F) as well. False when it was
 * cut, before a whole character and with "...". */
static bool put_escaped(struct log_line *l, struct bytes b, bool is_cut)
{
	char escape[8];

	while (b.len) {
		size_t run = plain_run(b), len;
		if (run > room(l)) {
			put(l, b.ptr, room(l));
			is_cut = true;
			break;
		}
		put(l, b.ptr, run);
		b = bytes_from(b, run);
		if (b.len == 0)
			break;
		run = escape_one(b, escape, &len);
		if (len > room(l)) {
			is_cut = true;
			break;
		}
		put(l, escape, len);
		b = bytes_from(b, run);
	}
	if (is_cut)
		put_str(l, "...");
	return !is_cut;
}

static bool needs_quotes(struct bytes b)
{
	for (size_t i = 0; i < b.len; i++)
		if (b.ptr[i] <= ' ' || b.ptr[i] == '"' || b.ptr[i] == '\\' || b.ptr[i] == '=' ||
		    b.ptr[i] == 0x7f)
			return true;
	return b.len == 0;
}

static size_t digits(uint64_t n, char text[20])
{
	char reversed[20];
	size_t len = 0;

	do {
		reversed[len++] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	for (size_t i = 0; i < len; i++)
		text[i] = reversed[len - 1 - i];
	return len;
}

/* Numbers, booleans and milliseconds; at most 25 bytes. */
static size_t number_text(const struct log_packed *p, char text[32])
{
	uint64_t n = p->number < 0 ? 0 - (uint64_t)p->number : (uint64_t)p->number;
	size_t len = 0;

	if (p->type == LOG_FIELD_BOOL) {
		memcpy(text, p->number ? "true" : "false", 5);
		return p->number ? 4 : 5;
	}
	if (p->number < 0)
		text[len++] = '-';
	if (p->type == LOG_FIELD_INT)
		return len + digits(n, text + len);
	len += digits(n / 1000, text + len);
	text[len++] = '.';
	text[len++] = (char)('0' + n / 100 % 10);
	text[len++] = (char)('0' + n / 10 % 10);
	text[len++] = (char)('0' + n % 10);
	return len;
}

/* As uuid_text(), for the many lines that have one. */
static size_t uuid_digits(const uint8_t b[16], char text[UUID_TEXT_SIZE])
{
	char *at = text;

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = hex_digits[b[i] >> 4];
		*at++ = hex_digits[b[i] & 15];
	}
	return UUID_TEXT_SIZE - 1;
}

/* --- Lines ----------------------------------------------------------------------------------- */

/* The second does not change with every line. */
static void put_time(struct log_line *l, usec wall, bool has_fraction)
{
	static _Thread_local time_t last = -1;
	static _Thread_local char text[32];
	time_t second = (time_t)(wall / USEC_PER_SEC);

	if (second != last) {
		clock_rfc3339(wall, text, sizeof(text));
		last = second;
	}
	put(l, text, 19);
	if (has_fraction) {
		unsigned ms = (unsigned)(wall % USEC_PER_SEC / USEC_PER_MSEC);
		char fraction[4] = { '.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
				     (char)('0' + ms % 10) };
		put(l, fraction, 4);
	}
	put(l, "Z", 1);
}

/* False when it was left out or cut. */
static bool put_field(struct log_line *l, const struct log_packed *p, bool is_json, bool is_event)
{
	char text[UUID_TEXT_SIZE];
	char masked[LOG_VALUE_BYTES] UNINITIALIZED;
	size_t key_len = strlen(p->key);
	struct bytes value = bytes_of(p + 1, p->len);
	bool is_text = p->type == LOG_FIELD_BYTES;

	if (is_text) {
		if (is_event)
			value = redact_text(value, masked, sizeof(masked));
	} else if (p->type == LOG_FIELD_UUID) {
		value = bytes_of(text, p->len == 16 ? uuid_digits(value.ptr, text) : 0);
		is_text = true;
	} else {
		value = bytes_of(text, number_text(p, text));
	}
	/* A text may be cut, down to a few bytes; a number not. */
	if (room(l) < key_len + 5 + (is_text ? 16 : value.len))
		return false;
	if (is_json)
		put_str(l, ",\"");
	else
		put_str(l, " ");
	put(l, p->key, key_len);
	if (is_json)
		put_str(l, "\":");
	else
		put_str(l, "=");
	if (!is_text) {
		put(l, value.ptr, value.len);
		return true;
	}
	bool has_quotes = is_json || needs_quotes(value);
	if (has_quotes)
		put(l, "\"", 1);
	bool is_whole = put_escaped(l, value, p->is_cut);
	if (has_quotes)
		put(l, "\"", 1);
	return is_whole || p->is_cut; /* a long value shows its "..." */
}

void log_format_record(struct log_line *l, const struct log_record *r, enum log_format format,
		       bool use_colour)
{
	const uint8_t *at = (const uint8_t *)(r + 1);
	struct bytes message = bytes_of(at, r->message_len);
	bool is_json = format == LOG_JSON, is_event = r->kind == LOG_EVENT, is_whole = !r->is_cut;
	char masked[LOG_LINE_BYTES] UNINITIALIZED;

	l->len = 0;
	if (r->kind == LOG_TEXT) {
		put(l, message.ptr, message.len < room(l) ? message.len : room(l));
		put(l, "\n", 1);
		return;
	}
	if (is_event)
		message = redact_text(message, masked, sizeof(masked));
	if (is_json) {
		put_str(l, "{\"level\":\"");
		put_str(l, level_names[r->level]);
		put_str(l, "\",\"time\":\"");
		put_time(l, r->wall, !is_event);
		put_str(l, "\",\"component\":\"");
		put_str(l, r->component);
		put_str(l, "\",\"message\":\"");
		is_whole &= put_escaped(l, message, false);
		put(l, "\"", 1);
	} else {
		put_time(l, r->wall, false);
		put(l, " ", 1);
		put_str(l, use_colour ? level_colour[r->level] : "");
		put_str(l, level_short[r->level]);
		put_str(l, use_colour ? "\033[0m " : " ");
		is_whole &= put_escaped(l, message, false);
	}
	at += padded(r->message_len);
	for (unsigned i = 0; i < r->field_count; i++) {
		const struct log_packed *p = (const struct log_packed *)(const void *)at;
		is_whole &= put_field(l, p, is_json, is_event);
		at += sizeof(*p) + padded(p->len);
	}
	if (!is_whole)
		put_str(l, is_json ? ",\"cut\":true" : " cut=true");
	put_str(l, is_json ? "}\n" : "\n");
}
