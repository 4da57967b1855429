/* Records as people write them. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "edge/dns/zone.h"

/* RFC 1035 §3.3: a character string. */
#define STRING_BYTES 255
/* Longer texts fit into no message; what is cut here is refused later for its length. */
#define TEXT_MAX (4 * 65535)

static int append_escaped(struct buf *b, const char *text, size_t len)
{
	char escaped[5];
	int r = 0;

	for (size_t i = 0; i < len && r == 0; i++) {
		uint8_t c = (uint8_t)text[i];
		if (c < ' ' || c > '~') {
			(void)snprintf(escaped, sizeof(escaped), "\\%03u", c);
			r = buf_append_str(b, escaped);
		} else {
			if (c == '"' || c == '\\')
				r = buf_append_str(b, "\\");
			if (r == 0)
				r = buf_append(b, bytes_of(&c, 1));
		}
	}
	return r;
}

/* In pieces of 255 bytes, each in quotes. */
static char *quoted(const char *before, size_t before_len, const char *text)
{
	size_t len = strlen(text), at = 0;
	struct buf b;

	buf_init(&b, TEXT_MAX);
	int r = buf_append(&b, bytes_of(before, before_len));
	do {
		size_t piece = len - at < STRING_BYTES ? len - at : STRING_BYTES;
		if (r == 0)
			r = buf_append_str(&b, at ? " \"" : "\"");
		if (r == 0)
			r = append_escaped(&b, text + at, piece);
		if (r == 0)
			r = buf_append_str(&b, "\"");
		at += piece;
	} while (r == 0 && at < len);
	char *ret = r == 0 ? buf_take_str(&b) : mem_strdup("");
	buf_done(&b);
	return ret;
}

char *dns_record_from_people(const char *type, const char *data)
{
	if (strcasecmp(type, "TXT") == 0 && data[0] != '"')
		return quoted("", 0, data);
	if (strcasecmp(type, "CAA") == 0) {
		/* 0 issue letsencrypt.org */
		size_t at = strspn(data, " ");
		for (int i = 0; i < 2; i++) {
			at += strcspn(data + at, " ");
			at += strspn(data + at, " ");
		}
		if (data[at] && data[at] != '"')
			return quoted(data, at, data + at);
	}
	return mem_strdup(data);
}
