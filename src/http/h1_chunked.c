#include "base/limits.h"
#include "http/h1_internal.h"

/* 16 hexadecimal digits hold every size; readers that take more cut them off in different places. */
#define SIZE_DIGITS 16

enum chunked_state {
	SIZE_START, /* the first digit of a chunk's size */
	SIZE,       /* further digits, ';' or CR */
	PADDING,    /* blanks after the size */
	EXTENSION,  /* skipped up to CR */
	SIZE_LF,
	DATA, /* c->left bytes */
	DATA_CR,
	DATA_LF,
	TRAILER_START, /* the first byte of a trailer line, or the CR of the last line */
	TRAILER,       /* the rest of a trailer line, kept in c->trailer */
	LAST_LF,
	ENDED,
	BROKEN, /* an error was returned and is returned for ever */
};

void h1_chunked_init(struct h1_chunked *c)
{
	*c = (struct h1_chunked){ .state = SIZE_START };
	buf_init(&c->trailer, LIMIT_HEAD_BYTES);
}

void h1_chunked_done(struct h1_chunked *c)
{
	buf_done(&c->trailer);
}

static int broken(struct h1_chunked *c, int code, struct err *err, const char *what)
{
	c->state = BROKEN;
	return err_set(err, code, "%s", what);
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = bytes_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of the line with the chunk's size. */
static int eat_size(struct h1_chunked *c, uint8_t byte, struct err *err)
{
	int digit = hex_value(byte);

	if (++c->line > LIMIT_CHUNK_LINE_BYTES)
		return broken(c, E_LIMIT, err, "the line with a chunk's size is too long");
	switch (c->state) {
	case SIZE_START:
		if (digit < 0)
			return broken(c, E_PARSE, err, "a chunk's size is not hexadecimal");
		c->left = (uint64_t)digit;
		c->state = SIZE;
		return 0;
	case SIZE:
		if (digit >= 0) {
			if (c->line > SIZE_DIGITS || c->left > INT64_MAX >> 4)
				return broken(c, E_PARSE, err, "a chunk's size is out of range");
			c->left = c->left << 4 | (uint64_t)digit;
			return 0;
		}
		__attribute__((fallthrough));
	case PADDING:
		if (byte == ';')
			c->state = EXTENSION;
		else if (byte == '\r')
			c->state = SIZE_LF;
		else if (c->allows_padding && (byte == ' ' || byte == '\t'))
			c->state = PADDING;
		else
			return broken(c, E_PARSE, err, "a chunk's size is not hexadecimal");
		return 0;
	case EXTENSION:
		if (byte == '\r')
			c->state = SIZE_LF;
		else if (!head_value_is_valid(bytes_of(&byte, 1)))
			return broken(c, E_PARSE, err, "a chunk's extension has a control byte");
		return 0;
	default: /* SIZE_LF */
		if (byte != '\n')
			return broken(c, E_PARSE, err, "a bare CR after a chunk's size");
		c->line = 0;
		c->state = c->left ? DATA : TRAILER_START;
		return 0;
	}
}

/* As much of a trailer line as there is; a complete one is checked. */
static int eat_trailer(struct h1_chunked *c, struct bytes *data, struct err *err)
{
	size_t lf = bytes_index(*data, '\n');
	bool is_complete = lf < data->len;
	struct bytes part = bytes_first(*data, is_complete ? lf + 1 : lf);

	if (buf_append(&c->trailer, part) < 0)
		return broken(c, E_LIMIT, err, "the trailers are too long");
	c->line += part.len;
	c->trailer_bytes += part.len;
	*data = bytes_from(*data, part.len);
	if (!is_complete)
		return 0;

	struct bytes rest = bytes_from(buf_bytes(&c->trailer), c->trailer.len - c->line);
	struct bytes line, name, value;
	int ret = h1_take_line(&rest, &line, err) ? h1_parse_field(line, &name, &value, err)
						  : E_PARSE;
	if (ret < 0) {
		c->state = BROKEN;
		return ret;
	}
	c->line = 0;
	c->state = TRAILER_START;
	return 0;
}

int h1_chunked_next(struct h1_chunked *c, struct bytes *data, struct bytes *ret_payload,
		    struct err *err)
{
	while (c->state != ENDED && data->len) {
		uint8_t byte = data->ptr[0];
		int ret = 0;

		switch ((enum chunked_state)c->state) {
		case DATA:
			*ret_payload = bytes_first(*data, c->left < data->len ? (size_t)c->left
									      : data->len);
			*data = bytes_from(*data, ret_payload->len);
			c->left -= ret_payload->len;
			if (c->left == 0)
				c->state = DATA_CR;
			return 1;
		case DATA_CR:
		case DATA_LF:
			if (byte != (c->state == DATA_CR ? '\r' : '\n'))
				return broken(c, E_PARSE, err,
					      "a chunk is longer than its size says");
			c->state = c->state == DATA_CR ? DATA_LF : SIZE_START;
			break;
		case TRAILER_START:
			if (byte == '\r') {
				c->state = LAST_LF;
				break;
			}
			c->state = TRAILER;
			continue;
		case TRAILER:
			ret = eat_trailer(c, data, err);
			if (ret < 0)
				return ret;
			continue;
		case LAST_LF:
			if (byte != '\n')
				return broken(c, E_PARSE, err, "a bare CR after the trailers");
			c->state = ENDED;
			break;
		case BROKEN:
			return err_set(err, E_PARSE, "the chunked body is malformed");
		default:
			ret = eat_size(c, byte, err);
			if (ret < 0)
				return ret;
			break;
		}
		*data = bytes_from(*data, 1);
	}
	return c->state == ENDED ? 2 : 0;
}

/* Fields that decide about framing, routing, rights or the content must be known before the body
 * (RFC 9110 §6.5.1); late ones would slip past whoever checked the head. */
bool h1_may_be_trailer(struct bytes name)
{
	static const struct bytes refused[] = {
		BYTES_LIT("age"),
		BYTES_LIT("cache-control"),
		BYTES_LIT("content-encoding"),
		BYTES_LIT("content-range"),
		BYTES_LIT("expires"),
		BYTES_LIT("forwarded"),
		BYTES_LIT("max-forwards"),
		BYTES_LIT("pragma"),
		BYTES_LIT("range"),
		BYTES_LIT("retry-after"),
		BYTES_LIT("vary"),
		BYTES_LIT("warning"),
		BYTES_LIT("www-authenticate"),
	};
	static const struct bytes refused_prefixes[] = {
		BYTES_LIT("cf-"),
		BYTES_LIT("if-"),
		BYTES_LIT("x-forwarded-"),
	};

	/* Every name with a token is one of those too, but for Server, which harms nobody. */
	enum head_name token = head_name_of(name);
	if (token != HEAD_OTHER)
		return token == HEAD_SERVER;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (bytes_eq_nocase(name, refused[i]))
			return false;
	for (size_t i = 0; i < ARRAY_LEN(refused_prefixes); i++)
		if (bytes_eq_nocase(bytes_first(name, refused_prefixes[i].len), refused_prefixes[i]))
			return false;
	return true;
}

int h1_chunked_trailers(struct h1_chunked *c, struct arena *a, struct fields *ret, struct err *err)
{
	struct bytes rest = arena_copy(a, buf_bytes(&c->trailer));
	struct fields trailers = { 0 };

	while (rest.len) {
		struct bytes line, name, value;
		if (!h1_take_line(&rest, &line, err))
			return E_PARSE;
		int code = h1_parse_field(line, &name, &value, err);
		if (code < 0)
			return code;
		if (!h1_may_be_trailer(name))
			continue;
		if (fields_add(&trailers, a, name, value) < 0)
			return err_set(err, E_LIMIT, "more than %d trailers", LIMIT_HEAD_FIELDS);
	}
	*ret = trailers;
	return 0;
}
