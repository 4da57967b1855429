#include "base/redact.h"

#include "base/check.h"

static bool contains_nocase(struct bytes text, const char *word)
{
	struct bytes w = bytes_str(word);

	for (size_t i = 0; i + w.len <= text.len; i++)
		if (bytes_eq_nocase(bytes_of(text.ptr + i, w.len), w))
			return true;
	return false;
}

static bool ends_with_nocase(struct bytes text, const char *word)
{
	struct bytes w = bytes_str(word);

	return text.len >= w.len && bytes_eq_nocase(bytes_from(text, text.len - w.len), w);
}

bool redact_is_secret_name(struct bytes name)
{
	static const char *const parts[] = {
		"token",      "secret",     "passw",          "authorization", "cookie",
		"credential", "api-key",    "api_key",        "apikey",        "access-key",
		"access_key", "accesskey",  "private-key",    "private_key",   "session",
		"signature",  "cf-access-", "sec-websocket-", "jwt",           "x-auth",
	};
	static const char *const whole[] = { "auth", "key", "sig", "pwd", "pass", "code" };
	static const char *const harmless[] = {
		"file", "path", "url", "sec-websocket-version", "sec-websocket-extensions",
	};

	for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
		if (ends_with_nocase(name, harmless[i]))
			return false;
	for (size_t i = 0; i < ARRAY_LEN(whole); i++)
		if (bytes_eq_nocase(name, bytes_str(whole[i])))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (contains_nocase(name, parts[i]))
			return true;
	return false;
}

/* --- Values in running text ------------------------------------------------------------------ */

static bool is_name_byte(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-' || c == '.';
}

/* The word that ends before `end`. */
static struct bytes word_before(struct bytes text, size_t end)
{
	size_t begin = end;

	while (begin && is_name_byte(text.ptr[begin - 1]))
		begin--;
	return bytes_of(text.ptr + begin, end - begin);
}

static bool ends_value(uint8_t c)
{
	return c <= ' ' || c == 0x7f || memchr("&;,\"'<>()[]{}#", c, 14) != NULL;
}

static size_t value_length(struct bytes text)
{
	size_t len = 0;

	while (len < text.len && !ends_value(text.ptr[len]))
		len++;
	return len;
}

/* What begins at `at` and must not be seen: its first byte in *ret_from, and its length. */
static size_t secret_at(struct bytes text, size_t at, size_t *ret_from)
{
	struct bytes rest = bytes_from(text, at);
	size_t from = at;

	switch (text.ptr[at]) {
	case '=':
		if (!redact_is_secret_name(word_before(text, at)))
			return 0;
		from = at + 1;
		break;
	case ':':
		if (bytes_starts_with(rest, BYTES_LIT("://"))) {
			struct bytes host = bytes_from(rest, 3);
			size_t end = 0;
			while (end < host.len && !ends_value(host.ptr[end]) &&
			       host.ptr[end] != '/' && host.ptr[end] != '?')
				end++;
			host = bytes_first(host, end);
			*ret_from = at + 3;
			/* The last '@': a password may have one. */
			while (host.len && host.ptr[host.len - 1] != '@')
				host.len--;
			return host.len ? host.len - 1 : 0;
		}
		/* JSON */
		if (at == 0 || text.ptr[at - 1] != '"' ||
		    !redact_is_secret_name(word_before(text, at - 1)))
			return 0;
		from = at + 1;
		while (from < text.len && text.ptr[from] == ' ')
			from++;
		break;
	case ' ':
		if (!ends_with_nocase(bytes_first(text, at), "bearer") &&
		    !ends_with_nocase(bytes_first(text, at), "basic"))
			return 0;
		from = at + 1;
		/* "basic functions" is no password */
		if (value_length(bytes_from(text, from)) < 12)
			return 0;
		break;
	default:
		return 0;
	}
	if (from < text.len && (text.ptr[from] == '"' || text.ptr[from] == '\''))
		from++;
	*ret_from = from;
	return value_length(bytes_from(text, from));
}

static size_t put(char *dst, size_t size, size_t len, struct bytes text)
{
	text = bytes_first(text, size - len);
	if (text.len)
		memcpy(dst + len, text.ptr, text.len);
	return len + text.len;
}

struct bytes redact_text(struct bytes text, char *dst, size_t size)
{
	size_t done = 0, len = 0;
	bool is_masked = false;

	for (size_t at = 0; at < text.len; at++) {
		size_t from = 0, secret = secret_at(text, at, &from);
		if (secret == 0)
			continue;
		is_masked = true;
		len = put(dst, size, len, bytes_from(bytes_first(text, from), done));
		len = put(dst, size, len, BYTES_LIT(REDACTED));
		done = from + secret;
		at = done - 1;
	}
	if (!is_masked)
		return text;
	len = put(dst, size, len, bytes_from(text, done));
	return bytes_of(dst, len);
}

struct bytes redact_url(struct bytes url)
{
	url = bytes_first(url, bytes_index(url, '?'));
	url = bytes_first(url, bytes_index(url, '#'));
	for (size_t i = 0; i + 2 < url.len; i++) {
		if (url.ptr[i] != '/' || url.ptr[i + 1] != '/')
			continue;
		struct bytes rest = bytes_from(url, i + 2);
		struct bytes host = bytes_first(rest, bytes_index(rest, '/'));
		size_t at = bytes_index(host, '@');
		if (at == host.len)
			return url;
		while (bytes_index(bytes_from(host, at + 1), '@') < host.len - at - 1)
			at += 1 + bytes_index(bytes_from(host, at + 1), '@');
		return bytes_from(rest, at + 1);
	}
	return url;
}
