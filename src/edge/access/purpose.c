#include "edge/access/purpose.h"

#include <jansson.h>

/* How many bytes at `i` are a character that has no place in a line of a log; 0: it has one. */
static size_t strange_bytes(struct bytes text, size_t i)
{
	uint8_t first = text.ptr[i];
	uint8_t second = i + 1 < text.len ? text.ptr[i + 1] : 0;
	uint8_t third = i + 2 < text.len ? text.ptr[i + 2] : 0;

	if (first < 0x20 || first == 0x7f)
		return 1;
	if (first == 0xc2 && second < 0xa0) /* U+0080 to U+009F */
		return 2;
	/* U+200E, U+200F; U+2028 to U+202E: ends of lines and of directions */
	if (first == 0xe2 && second == 0x80 &&
	    (third == 0x8e || third == 0x8f || (third >= 0xa8 && third <= 0xae)))
		return 3;
	if (first == 0xe2 && second == 0x81 && third >= 0xa6 && third <= 0xa9) /* U+2066 … */
		return 3;
	return 0;
}

bool purpose_is_text(struct bytes typed)
{
	json_t *text = json_stringn(typed.len ? (const char *)typed.ptr : "", typed.len);
	bool is_text = text != NULL;

	json_decref(text);
	return is_text;
}

bool purpose_clean(struct bytes typed, struct arena *arena, struct bytes *ret)
{
	uint8_t *line;
	size_t len = 0;

	if (typed.len > PURPOSE_BYTES_MAX || !purpose_is_text(typed))
		return false;
	line = arena_alloc_bytes(arena, typed.len);
	for (size_t i = 0; i < typed.len;) {
		size_t strange = strange_bytes(typed, i);

		if (!strange)
			line[len++] = typed.ptr[i];
		else if (len && line[len - 1] != ' ')
			line[len++] = ' ';
		i += strange ? strange : 1;
	}
	*ret = bytes_trim(bytes_of(line, len));
	return ret->len > 0;
}
