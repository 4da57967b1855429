#include "base/limits.h"
#include "http/h1_internal.h"

/* Options in all Connection fields of a head. Real ones have one or two; each names a field that has
 * to be looked for, so a long list would be cheap to send and dear to obey. */
#define CONNECTION_OPTIONS 32

/* --- Lines ----------------------------------------------------------------------------------- */

ssize_t h1_head_length(struct bytes data, size_t *scanned)
{
	size_t from = *scanned < data.len ? *scanned : data.len;
	size_t end = data.len < LIMIT_HEAD_BYTES ? data.len : LIMIT_HEAD_BYTES;

	while (from < end) {
		const uint8_t *lf = memchr(data.ptr + from, '\n', end - from);
		if (!lf)
			break;
		size_t at = (size_t)(lf - data.ptr);
		/* A line end that is not CRLF can only be refused; waiting for more would only let the
		 * sender hold the connection. */
		bool is_bare = at == 0 || data.ptr[at - 1] != '\r';
		bool is_empty_line = at >= 3 && data.ptr[at - 2] == '\n' && data.ptr[at - 3] == '\r';
		if (is_bare || is_empty_line)
			return (ssize_t)at + 1;
		from = at + 1;
	}
	*scanned = end;
	return end == LIMIT_HEAD_BYTES ? E_LIMIT : 0;
}

#define RESPONSE_BEGIN BYTES_LIT("HTTP/")

ssize_t h1_response_length(struct bytes data, size_t *scanned)
{
	size_t from = *scanned < data.len ? *scanned : data.len;
	size_t end = data.len < LIMIT_HEAD_BYTES ? data.len : LIMIT_HEAD_BYTES;
	struct bytes begin = bytes_first(data, RESPONSE_BEGIN.len);

	/* SSH, SMTP or TLS, which now waits for our answer to its greeting. */
	if (!bytes_eq(begin, bytes_first(RESPONSE_BEGIN, begin.len)))
		return (ssize_t)end;
	while (from < end) {
		const uint8_t *lf = memchr(data.ptr + from, '\n', end - from);
		if (!lf)
			break;
		size_t at = (size_t)(lf - data.ptr), before = at;
		if (before && data.ptr[before - 1] == '\r')
			before--;
		if (before == 0 || data.ptr[before - 1] == '\n')
			return (ssize_t)at + 1;
		from = at + 1;
	}
	*scanned = end;
	return end == LIMIT_HEAD_BYTES ? E_LIMIT : 0;
}

static bool is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t';
}

/* The head with CRLF at the end of every line; a fold becomes one space. */
static struct bytes unfold(struct bytes data, struct arena *a)
{
	size_t lines = 0, n = 0;

	for (size_t i = 0; i < data.len; i++)
		lines += data.ptr[i] == '\n';
	uint8_t *to = arena_alloc_bytes(a, data.len + lines);
	lines = 0;
	for (size_t i = 0; i < data.len; i++) {
		uint8_t byte = data.ptr[i], next = i + 1 < data.len ? data.ptr[i + 1] : 0;
		if (byte == '\r' && next == '\n')
			continue; /* comes with the LF */
		if (byte != '\n') {
			to[n++] = byte;
			continue;
		}
		/* Not after the status line: there is no field to be continued. */
		if (lines++ && is_blank(next)) {
			while (n && is_blank(to[n - 1]))
				n--;
			while (i + 1 < data.len && is_blank(data.ptr[i + 1]))
				i++;
			to[n++] = ' ';
			continue;
		}
		to[n++] = '\r';
		to[n++] = '\n';
	}
	return bytes_of(to, n);
}

bool h1_take_line(struct bytes *rest, struct bytes *ret_line, struct err *err)
{
	size_t lf = bytes_index(*rest, '\n');

	if (lf == rest->len) {
		err_set(err, E_PARSE, "a line has no end");
		return false;
	}
	if (lf == 0 || rest->ptr[lf - 1] != '\r') {
		err_set(err, E_PARSE, "a line ends with a bare LF");
		return false;
	}
	*ret_line = bytes_first(*rest, lf - 1);
	*rest = bytes_from(*rest, lf + 1);
	return true;
}

int h1_parse_field(struct bytes line, struct bytes *ret_name, struct bytes *ret_value,
		   struct err *err)
{
	if (line.len && (line.ptr[0] == ' ' || line.ptr[0] == '\t'))
		return err_set(err, E_PARSE, "a field is folded over several lines");
	size_t colon = bytes_index(line, ':');
	if (colon == line.len)
		return err_set(err, E_PARSE, "a field has no colon");
	struct bytes name = bytes_first(line, colon);
	if (!head_name_is_valid(name)) {
		if (colon == 0)
			return err_set(err, E_PARSE, "a field has no name");
		if (line.ptr[colon - 1] == ' ' || line.ptr[colon - 1] == '\t')
			return err_set(err, E_PARSE, "a blank stands before a field's colon");
		return err_set(err, E_PARSE, "a field's name has an invalid byte");
	}
	struct bytes value = bytes_trim(bytes_from(line, colon + 1));
	if (!head_value_is_valid(value))
		return err_set(err, E_PARSE, "the value of " BYTES_FMT " has a control byte",
			       BYTES_ARG(bytes_first(name, 64)));
	*ret_name = name;
	*ret_value = value;
	return 0;
}

/* --- What the fields say about the message --------------------------------------------------- */

/* Collected while the fields go by, judged when all were seen. */
struct framing {
	bool has_length;
	struct bytes length; /* digits */
	unsigned coding_count;
	struct bytes coding;
	unsigned host_count;
	struct bytes host;
	unsigned option_count;
	bool has_close, has_keep_alive, has_upgrade; /* options of Connection */
	bool wants_websocket;
	bool has_websocket_key;
	bool expects_continue;
};

/* One Content-Length, or a list of it; all must be the same digits. */
static int add_length(struct framing *fr, struct bytes value, struct err *err)
{
	struct bytes rest = value, part;

	if (value.len == 0 || value.ptr[value.len - 1] == ',')
		return err_set(err, E_PARSE, "Content-Length is not a number");
	while (bytes_split(&rest, ',', &part)) {
		uint64_t number;
		part = bytes_trim(part);
		if (!bytes_to_u64(part, &number) || number > INT64_MAX)
			return err_set(err, E_PARSE, "Content-Length is not a number");
		if (fr->has_length && !bytes_eq(fr->length, part))
			return err_set(err, E_PARSE, "Content-Length is given twice and differs");
		fr->has_length = true;
		fr->length = part;
	}
	return 0;
}

static int add_options(struct framing *fr, struct bytes value, struct err *err)
{
	struct bytes option;

	while (bytes_split(&value, ',', &option)) {
		option = bytes_trim(option);
		if (++fr->option_count > CONNECTION_OPTIONS)
			return err_set(err, E_LIMIT, "Connection has more than %d options",
				       CONNECTION_OPTIONS);
		if (option.len == 0)
			continue;
		if (!head_name_is_valid(option))
			return err_set(err, E_PARSE, "Connection has an invalid option");
		fr->has_close |= bytes_eq_nocase(option, BYTES_LIT("close"));
		fr->has_keep_alive |= bytes_eq_nocase(option, BYTES_LIT("keep-alive"));
		fr->has_upgrade |= bytes_eq_nocase(option, BYTES_LIT("upgrade"));
	}
	return 0;
}

/* Notes what a field means for the framing. Returns 1 when the field belongs in the list, 0 when it
 * does not. */
static int note_field(struct framing *fr, enum head_name token, struct bytes value, struct err *err)
{
	int ret;

	switch (token) {
	case HEAD_CONTENT_LENGTH: {
		bool is_first = !fr->has_length;
		ret = add_length(fr, value, err);
		return ret < 0 ? ret : is_first;
	}
	case HEAD_TRANSFER_ENCODING:
		fr->coding_count++;
		fr->coding = value;
		return 1;
	case HEAD_CONNECTION:
		ret = add_options(fr, value, err);
		return ret < 0 ? ret : 1;
	case HEAD_HOST:
		fr->host_count++;
		fr->host = value;
		return 0;
	case HEAD_UPGRADE:
		fr->wants_websocket |= head_value_has_token(value, BYTES_LIT("websocket"));
		return 1;
	case HEAD_SEC_WEBSOCKET_KEY:
		fr->has_websocket_key |= value.len > 0;
		return 1;
	case HEAD_EXPECT:
		fr->expects_continue |= bytes_eq_nocase(value, BYTES_LIT("100-continue"));
		return 1;
	default:
		return 1;
	}
}

/* The lines after the first one, up to and with the empty one. */
static int parse_fields(struct bytes rest, struct arena *a, struct fields *f, struct framing *fr,
			struct err *err)
{
	for (;;) {
		struct bytes line, name, value;
		if (!h1_take_line(&rest, &line, err))
			return E_PARSE;
		if (line.len == 0)
			break;
		int ret = h1_parse_field(line, &name, &value, err);
		if (ret < 0)
			return ret;
		if (fields_add(f, a, name, value) < 0)
			return err_set(err, E_LIMIT, "the head has more than %d fields",
				       LIMIT_HEAD_FIELDS);
		ret = note_field(fr, f->list[f->count - 1].token, value, err);
		if (ret < 0)
			return ret;
		if (ret == 0)
			f->count--;
	}
	if (rest.len)
		return err_set(err, E_PARSE, "an empty line stands inside the head");
	/* Other protocols copy the field as it is: a list has to become one number. */
	struct field *length = fr->has_length ? fields_find(f, HEAD_CONTENT_LENGTH) : NULL;
	if (length)
		length->value = fr->length;
	return 0;
}

/* True: "chunked". False with *ret 0: there is no Transfer-Encoding. */
static bool judge_coding(const struct framing *fr, bool is_http10, int *ret, struct err *err)
{
	struct bytes rest = fr->coding, part;
	int chunked = 0;

	*ret = 0;
	if (fr->coding_count == 0)
		return false;
	if (is_http10) {
		*ret = err_set(err, E_PARSE, "HTTP/1.0 has no Transfer-Encoding");
		return false;
	}
	if (fr->has_length) {
		*ret = err_set(err, E_PARSE, "both Content-Length and Transfer-Encoding");
		return false;
	}
	if (fr->coding_count > 1) {
		*ret = err_set(err, E_PARSE, "Transfer-Encoding is given twice");
		return false;
	}
	if (bytes_eq_nocase(fr->coding, BYTES_LIT("chunked")))
		return true;
	while (bytes_split(&rest, ',', &part)) {
		part = bytes_trim(part);
		chunked += bytes_eq_nocase(part, BYTES_LIT("chunked"));
		if (!head_name_is_valid(part)) {
			*ret = err_set(err, E_PARSE, "Transfer-Encoding is malformed");
			return false;
		}
	}
	if (fr->coding.len == 0 || chunked > 1)
		*ret = err_set(err, E_PARSE, "Transfer-Encoding is malformed");
	else
		*ret = err_set(err, E_UNSUPPORTED, "a Transfer-Encoding other than chunked");
	return false;
}

static bool stays_open(const struct framing *fr, bool is_http10)
{
	return !fr->has_close && (!is_http10 || fr->has_keep_alive);
}

/* --- Requests -------------------------------------------------------------------------------- */

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* "HTTP/1.1" or "HTTP/1.0", in exactly these letters. */
static int parse_version(struct bytes text, bool *ret_is_http10, struct err *err)
{
	if (bytes_eq(text, BYTES_LIT("HTTP/1.1"))) {
		*ret_is_http10 = false;
		return 0;
	}
	if (bytes_eq(text, BYTES_LIT("HTTP/1.0"))) {
		*ret_is_http10 = true;
		return 0;
	}
	if (text.len == 8 && bytes_starts_with(text, BYTES_LIT("HTTP/")) && is_digit(text.ptr[5]) &&
	    text.ptr[6] == '.' && is_digit(text.ptr[7]))
		return err_set(err, E_UNSUPPORTED, "an HTTP version other than 1.0 and 1.1");
	return err_set(err, E_PARSE, "the first line has no HTTP version");
}

/* The authority, if the target has one; the path always. */
static int parse_target(struct bytes target, struct arena *a, struct head *head, struct err *err)
{
	bool is_options = bytes_eq(head->method, BYTES_LIT("OPTIONS"));

	if (target.len > LIMIT_TARGET_BYTES)
		return err_set(err, E_LIMIT, "the target is longer than %d bytes",
			       LIMIT_TARGET_BYTES);
	if (!head_path_is_valid(target))
		return err_set(err, E_PARSE, "the target has an invalid byte");
	if (target.len && target.ptr[0] == '/') {
		head->path = target;
		return 0;
	}
	if (bytes_eq(target, BYTES_LIT("*"))) {
		if (!is_options)
			return err_set(err, E_PARSE, "target * with a method other than OPTIONS");
		head->path = target;
		return 0;
	}

	size_t skip = 0;
	if (bytes_eq_nocase(bytes_first(target, 7), BYTES_LIT("http://")))
		skip = 7;
	else if (bytes_eq_nocase(bytes_first(target, 8), BYTES_LIT("https://")))
		skip = 8;
	if (skip == 0)
		return err_set(err, E_PARSE, "the target is neither a path nor an http URI");
	struct bytes rest = bytes_from(target, skip);
	size_t len = 0;
	while (len < rest.len && rest.ptr[len] != '/' && rest.ptr[len] != '?')
		len++;
	head->authority = bytes_first(rest, len);
	if (!head_authority_is_valid(head->authority))
		return err_set(err, E_PARSE, "the target's host is invalid");
	rest = bytes_from(rest, len);
	if (rest.len == 0) {
		/* RFC 9112 §3.2.4: a proxy's OPTIONS for the server as a whole. */
		head->path = is_options ? BYTES_LIT("*") : BYTES_LIT("/");
	} else if (rest.ptr[0] == '/') {
		head->path = rest;
	} else {
		uint8_t *path = arena_alloc_bytes(a, rest.len + 1);
		path[0] = '/';
		memcpy(path + 1, rest.ptr, rest.len);
		head->path = bytes_of(path, rest.len + 1);
	}
	return 0;
}

static int parse_request_line(struct bytes line, struct arena *a, struct head *head,
			      bool *ret_is_http10, struct err *err)
{
	/* Exactly two spaces: the target has none, so a third ends up in the version and is refused. */
	size_t space = bytes_index(line, ' ');
	head->method = bytes_first(line, space);
	struct bytes rest = bytes_from(line, space + 1);
	if (!head_name_is_valid(head->method) || rest.len == 0)
		return err_set(err, E_PARSE, "the request line is malformed");
	space = bytes_index(rest, ' ');
	struct bytes target = bytes_first(rest, space);
	int ret = parse_version(bytes_from(rest, space + 1), ret_is_http10, err);
	if (ret < 0)
		return ret;
	if (bytes_eq(head->method, BYTES_LIT("CONNECT")))
		return err_set(err, E_UNSUPPORTED, "CONNECT is not supported");
	return parse_target(target, a, head, err);
}

static int judge_host(struct head *head, const struct framing *fr, bool is_http10, struct err *err)
{
	if (fr->host_count > 1)
		return err_set(err, E_PARSE, "Host is given twice");
	if (fr->host_count == 0) {
		if (!is_http10)
			return err_set(err, E_PARSE, "Host is missing");
		return 0;
	}
	if (!head_authority_is_valid(fr->host))
		return err_set(err, E_PARSE, "Host is invalid");
	/* RFC 9112 §3.2.2: the absolute form wins over Host. */
	if (head->authority.len == 0)
		head->authority = fr->host;
	return 0;
}

int h1_parse_request(struct bytes data, struct arena *a, struct head *ret_head,
		     struct h1_request_info *ret_info, struct err *err)
{
	struct head head = { 0 };
	struct h1_request_info info = { 0 };
	struct framing fr = { 0 };
	struct bytes line;
	int ret;

	if (data.len > LIMIT_HEAD_BYTES)
		return err_set(err, E_LIMIT, "the head is longer than %d bytes", LIMIT_HEAD_BYTES);
	/* One copy; everything below points into it. */
	struct bytes rest = arena_copy(a, data);
	if (!h1_take_line(&rest, &line, err))
		return E_PARSE;
	ret = parse_request_line(line, a, &head, &info.is_http10, err);
	if (ret < 0)
		return ret;
	ret = parse_fields(rest, a, &head.fields, &fr, err);
	if (ret < 0)
		return ret;
	ret = judge_host(&head, &fr, info.is_http10, err);
	if (ret < 0)
		return ret;
	info.is_chunked = judge_coding(&fr, info.is_http10, &ret, err);
	if (ret < 0)
		return ret;

	if (info.is_chunked) {
		head.length = HEAD_LENGTH_UNKNOWN;
	} else if (fr.has_length) {
		head.length = HEAD_LENGTH_KNOWN;
		(void)bytes_to_u64(fr.length, &head.content_length);
	}
	bool has_body = info.is_chunked || head.content_length > 0;
	info.keep_alive = stays_open(&fr, info.is_http10);
	info.expects_continue = fr.expects_continue && !info.is_http10 && has_body;
	/* RFC 6455 §4.1. With a body nobody could tell where the raw stream starts: no upgrade then. */
	head.is_upgrade = fr.has_upgrade && fr.wants_websocket && fr.has_websocket_key &&
			  !has_body && !info.is_http10 && bytes_eq(head.method, BYTES_LIT("GET"));
	*ret_head = head;
	*ret_info = info;
	return 0;
}

int h1_refusal_status(int code, struct bytes data)
{
	struct bytes line = bytes_first(data, bytes_index(data, '\n'));

	switch (code) {
	case E_LIMIT:
		/* The whole of what came may be one line without an end. */
		return line.len > LIMIT_TARGET_BYTES ? 414 : 431;
	case E_UNSUPPORTED: {
		if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		bool is_http10;
		struct bytes version = bytes_from(line, line.len >= 8 ? line.len - 8 : 0);
		return parse_version(version, &is_http10, NULL) == E_UNSUPPORTED ? 505 : 501;
	}
	default:
		return 400;
	}
}

/* --- Responses ------------------------------------------------------------------------------- */

static int parse_status_line(struct bytes line, struct head *head, bool *ret_is_http10,
			     struct err *err)
{
	struct bytes version = bytes_first(line, 8);
	bool is_later = bytes_starts_with(version, BYTES_LIT("HTTP/1.")) && version.len == 8 &&
			version.ptr[7] >= '2' && version.ptr[7] <= '9';
	int ret = parse_version(is_later ? BYTES_LIT("HTTP/1.1") : version, ret_is_http10, err);

	if (ret < 0)
		return ret;
	struct bytes rest = bytes_from(line, 8);
	if (rest.len < 4 || rest.ptr[0] != ' ' || !is_digit(rest.ptr[1]) ||
	    !is_digit(rest.ptr[2]) || !is_digit(rest.ptr[3]) || rest.ptr[1] == '0')
		return err_set(err, E_PARSE, "the status line has no status");
	head->status = (rest.ptr[1] - '0') * 100 + (rest.ptr[2] - '0') * 10 + (rest.ptr[3] - '0');
	/* The space before an empty reason is often forgotten, and nothing hangs on it. */
	rest = bytes_from(rest, 4);
	if ((rest.len && rest.ptr[0] != ' ') || !head_value_is_valid(rest))
		return err_set(err, E_PARSE, "the status line is malformed");
	return 0;
}

/* `rest` is in the arena. */
static int parse_response(struct bytes rest, struct bytes request_method, struct arena *a,
			  struct head *ret_head, struct h1_response_info *ret_info, struct err *err)
{
	struct head head = { 0 };
	struct h1_response_info info = { 0 };
	struct framing fr = { 0 };
	struct bytes line;
	int ret;

	if (!bytes_starts_with(rest, RESPONSE_BEGIN))
		return err_set(err, E_PARSE, "this is not HTTP/1");
	if (!h1_take_line(&rest, &line, err))
		return E_PARSE;
	ret = parse_status_line(line, &head, &info.is_http10, err);
	if (ret < 0)
		return ret;
	ret = parse_fields(rest, a, &head.fields, &fr, err);
	if (ret < 0)
		return ret;
	bool is_chunked = judge_coding(&fr, info.is_http10, &ret, err);
	if (ret < 0)
		return ret;

	if (fr.has_length)
		(void)bytes_to_u64(fr.length, &head.content_length);
	info.keep_alive = stays_open(&fr, info.is_http10);
	bool is_head = bytes_eq(request_method, BYTES_LIT("HEAD"));
	bool is_connected = bytes_eq(request_method, BYTES_LIT("CONNECT")) && head.status / 100 == 2;
	bool never_has_body = head.status / 100 == 1 || head.status == 204;
	if (is_head || is_connected || never_has_body || head.status == 304) {
		/* RFC 9112 §6.3. Where the framing promises a body that may not be, the sender may send
		 * one all the same: the connection is not used again. */
		head.length = HEAD_LENGTH_NONE;
		if (is_connected ||
		    (never_has_body && !is_head && (is_chunked || head.content_length > 0)))
			info.keep_alive = false;
	} else if (is_chunked) {
		head.length = HEAD_LENGTH_UNKNOWN;
		info.is_chunked = true;
	} else if (fr.has_length) {
		head.length = HEAD_LENGTH_KNOWN;
	} else {
		head.length = HEAD_LENGTH_UNKNOWN;
		info.ends_by_close = true;
		info.keep_alive = false;
	}
	head.is_upgrade = head.status == 101 && fr.has_upgrade && fr.wants_websocket;
	*ret_head = head;
	*ret_info = info;
	return 0;
}

/* Lines that end without CR, or go on in the next one. */
static bool has_old_lines(struct bytes data)
{
	for (size_t i = 0; i < data.len; i++) {
		if (data.ptr[i] != '\n')
			continue;
		uint8_t next = i + 1 < data.len ? data.ptr[i + 1] : 0;
		if (i == 0 || data.ptr[i - 1] != '\r' || is_blank(next))
			return true;
	}
	return false;
}

int h1_parse_response(struct bytes data, struct bytes request_method, struct arena *a,
		      struct head *ret_head, struct h1_response_info *ret_info, struct err *err)
{
	if (data.len > LIMIT_HEAD_BYTES)
		return err_set(err, E_LIMIT, "the head is longer than %d bytes", LIMIT_HEAD_BYTES);
	int ret = parse_response(arena_copy(a, data), request_method, a, ret_head, ret_info, err);
	/* Hardly any service needs the second look, so only what failed gets it. */
	if (ret == E_PARSE && has_old_lines(data))
		ret = parse_response(unfold(data, a), request_method, a, ret_head, ret_info, err);
	return ret;
}
