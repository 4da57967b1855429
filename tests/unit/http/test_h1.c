#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/h1.h"

static struct arena arena;

static int setup(void **state)
{
	arena_init(&arena);
	return 0;
}

static int teardown(void **state)
{
	arena_done(&arena);
	return 0;
}

static void assert_text(struct bytes b, const char *text)
{
	if (!bytes_eq(b, bytes_str(text)))
		fail_msg("got \"" BYTES_FMT "\", want \"%s\"", BYTES_ARG(b), text);
}

/* A copy that is exactly as long, so that ASan sees a read past the end. */
static struct bytes exact(const void *data, size_t len)
{
	uint8_t *copy = arena_alloc_bytes(&arena, len + (len == 0));

	memcpy(copy, data, len);
	return bytes_of(copy, len);
}

/* --- Where a head ends ----------------------------------------------------------------------- */

static void the_end_of_a_head_is_found_at_every_split(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nrest\r\n\r\n";
	size_t head_len = sizeof("GET / HTTP/1.1\r\nHost: a\r\n\r\n") - 1;
	size_t scanned = 0;

	for (size_t len = 0; len < head_len; len++)
		assert_int_equal(h1_head_length(exact(text, len), &scanned), 0);
	assert_int_equal(h1_head_length(bytes_str(text), &scanned), head_len);
	scanned = 0;
	assert_int_equal(h1_head_length(bytes_str(text), &scanned), head_len);
}

static void a_bare_line_feed_ends_the_wait(void **state)
{
	size_t scanned = 0;

	assert_int_equal(h1_head_length(BYTES_LIT("\n"), &scanned), 1);
	assert_int_equal(h1_head_length(BYTES_LIT("GET / HTTP/1.1\nHost: a\n\n"), &scanned), 15);
	scanned = 0;
	assert_int_equal(h1_head_length(BYTES_LIT("a\r\nb\n\r\n"), &scanned), 5);
	scanned = 0;
	assert_int_equal(h1_head_length(BYTES_LIT("\r\n"), &scanned), 0);
}

static void a_head_that_cannot_fit_is_refused(void **state)
{
	size_t scanned = 0;
	uint8_t *large = mem_alloc(LIMIT_HEAD_BYTES + 10);

	memset(large, 'a', LIMIT_HEAD_BYTES + 10);
	assert_int_equal(h1_head_length(bytes_of(large, LIMIT_HEAD_BYTES - 1), &scanned), 0);
	assert_int_equal(h1_head_length(bytes_of(large, LIMIT_HEAD_BYTES), &scanned), E_LIMIT);
	memcpy(large + LIMIT_HEAD_BYTES - 4, "\r\n\r\n", 4);
	scanned = 0;
	assert_int_equal(h1_head_length(bytes_of(large, LIMIT_HEAD_BYTES + 10), &scanned),
			 LIMIT_HEAD_BYTES);
	memcpy(large + LIMIT_HEAD_BYTES - 4, "aa\r\n\r\n", 6);
	scanned = 0;
	assert_int_equal(h1_head_length(bytes_of(large, LIMIT_HEAD_BYTES + 10), &scanned), E_LIMIT);
	mem_free(large);
}

/* --- Requests that are refused --------------------------------------------------------------- */

struct refusal {
	const char *what;
	struct bytes text;
	int code;
	int status;
};

#define R(what, text, code, status)                 \
	{                                           \
		what, BYTES_LIT(text), code, status \
	}
#define HOST "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST

static const struct refusal refusals[] = {
	/* request line */
	R("nothing", "\r\n\r\n", E_PARSE, 400),
	R("no end", "GET / HTTP/1.1", E_PARSE, 400),
	R("an empty line first", "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("no target", "GET HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("HTTP/0.9", "GET /\r\n\r\n", E_PARSE, 400),
	R("two spaces after the method", "GET  / HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("two spaces before the version", "GET /  HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a tab for a space", "GET\t/ HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a leading space", " GET / HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a trailing space", "GET / HTTP/1.1 \r\n" HOST "\r\n", E_PARSE, 400),
	R("a space in the target", "GET /a b HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a tab in the target", "GET /a\tb HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a NUL in the target", "GET /a\0b HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a DEL in the target", "GET /\x7f HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a CR in the target", "GET /a\rb HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a fragment", "GET /a#b HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a relative target", "GET a/b HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a query alone", "GET ?a HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("another scheme", "GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a scheme without slashes", "GET http:a HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("an absolute target without host", "GET http:/// HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("user information", "GET http://u@a/ HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("user and password", "GET http://u:p@a/ HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a backslash host", "GET http://a\\@b/ HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("an asterisk with GET", "GET * HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("CONNECT", "CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n", E_UNSUPPORTED, 501),
	R("CONNECT to a path", "CONNECT / HTTP/1.1\r\n" HOST "\r\n", E_UNSUPPORTED, 501),
	R("a method with a bad byte", "G(T / HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a method with a high byte", "G\xc3T / HTTP/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("a small http", "GET / http/1.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("HTTP/2.0", "GET / HTTP/2.0\r\n" HOST "\r\n", E_UNSUPPORTED, 505),
	R("the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", E_UNSUPPORTED, 505),
	R("HTTP/1.2", "GET / HTTP/1.2\r\n" HOST "\r\n", E_UNSUPPORTED, 505),
	R("HTTP/0.9 in words", "GET / HTTP/0.9\r\n" HOST "\r\n", E_UNSUPPORTED, 505),
	R("HTTP/1.10", "GET / HTTP/1.10\r\n" HOST "\r\n", E_PARSE, 400),
	R("HTTP/01.1", "GET / HTTP/01.1\r\n" HOST "\r\n", E_PARSE, 400),
	R("HTTP/1,1", "GET / HTTP/1,1\r\n" HOST "\r\n", E_PARSE, 400),
	/* line ends */
	R("a bare LF after the request line", "GET / HTTP/1.1\n" HOST "\r\n", E_PARSE, 400),
	R("a bare LF after a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", E_PARSE, 400),
	R("a bare LF as the last line", "GET / HTTP/1.1\r\n" HOST "\n", E_PARSE, 400),
	R("CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", E_PARSE, 400),
	R("a CR in a value", GET "A: b\rc\r\n\r\n", E_PARSE, 400),
	R("a CR before the colon", GET "A\r: b\r\n\r\n", E_PARSE, 400),
	R("no empty line", "GET / HTTP/1.1\r\n" HOST, E_PARSE, 400),
	R("an empty line inside", GET "\r\nA: b\r\n\r\n", E_PARSE, 400),
	/* fields */
	R("no colon", GET "A\r\n\r\n", E_PARSE, 400),
	R("no name", GET ": b\r\n\r\n", E_PARSE, 400),
	R("a blank before the colon", GET "A : b\r\n\r\n", E_PARSE, 400),
	R("a tab before the colon", GET "A\t: b\r\n\r\n", E_PARSE, 400),
	R("a blank in the name", GET "A B: b\r\n\r\n", E_PARSE, 400),
	R("a folded line", GET "A: b\r\n c\r\n\r\n", E_PARSE, 400),
	R("a line folded with a tab", GET "A: b\r\n\tc\r\n\r\n", E_PARSE, 400),
	R("a blank before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", E_PARSE, 400),
	R("a line of blanks", GET "  \r\n\r\n", E_PARSE, 400),
	R("a NUL in a name", GET "A\0: b\r\n\r\n", E_PARSE, 400),
	R("a NUL in a value", GET "A: \0\r\n\r\n", E_PARSE, 400),
	R("a control byte in a value", GET "A: \x01\r\n\r\n", E_PARSE, 400),
	R("a DEL in a value", GET "A: \x7f\r\n\r\n", E_PARSE, 400),
	R("a vertical tab before a value",
	  POST "Transfer-Encoding:\x0b"
	       "chunked\r\n\r\n",
	  E_PARSE, 400),
	R("a high byte in a name", GET "\xc3\xa4: b\r\n\r\n", E_PARSE, 400),
	/* Host */
	R("no Host", "GET / HTTP/1.1\r\n\r\n", E_PARSE, 400),
	R("no Host with an absolute target", "GET http://a/ HTTP/1.1\r\n\r\n", E_PARSE, 400),
	R("two Hosts", GET "Host: b\r\n\r\n", E_PARSE, 400),
	R("two equal Hosts", GET "hOST: a\r\n\r\n", E_PARSE, 400),
	R("two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", E_PARSE, 400),
	R("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", E_PARSE, 400),
	R("a list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", E_PARSE, 400),
	R("a Host with a blank", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", E_PARSE, 400),
	R("a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", E_PARSE, 400),
	R("a Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", E_PARSE, 400),
	R("a Host with a bad port", "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", E_PARSE, 400),
	R("a Host with a large port", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", E_PARSE, 400),
	R("a Host with two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", E_PARSE, 400),
	R("a Host that is a port", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", E_PARSE, 400),
	R("a Host with an escape", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", E_PARSE, 400),
	R("an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", E_PARSE, 400),
	R("brackets around a name", "GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", E_PARSE, 400),
	R("empty brackets", "GET / HTTP/1.1\r\nHost: []\r\n\r\n", E_PARSE, 400),
	R("text after brackets", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", E_PARSE, 400),
	R("very long brackets",
	  "GET / HTTP/1.1\r\nHost: [0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]\r\n\r\n",
	  E_PARSE, 400),
	R("a bad Host beside an absolute target", "GET http://a/ HTTP/1.1\r\nHost: b@c\r\n\r\n",
	  E_PARSE, 400),
	/* Content-Length */
	R("an empty length", POST "Content-Length:\r\n\r\n", E_PARSE, 400),
	R("a length with a plus", POST "Content-Length: +5\r\n\r\n", E_PARSE, 400),
	R("a length with a minus", POST "Content-Length: -5\r\n\r\n", E_PARSE, 400),
	R("a length with a blank", POST "Content-Length: 5 5\r\n\r\n", E_PARSE, 400),
	R("a hexadecimal length", POST "Content-Length: 0x5\r\n\r\n", E_PARSE, 400),
	R("a length with a point", POST "Content-Length: 5.0\r\n\r\n", E_PARSE, 400),
	R("a length with a unit", POST "Content-Length: 5b\r\n\r\n", E_PARSE, 400),
	R("a length in quotes", POST "Content-Length: \"5\"\r\n\r\n", E_PARSE, 400),
	R("a length over 63 bits", POST "Content-Length: 9223372036854775808\r\n\r\n", E_PARSE, 400),
	R("a length over 64 bits", POST "Content-Length: 18446744073709551621\r\n\r\n", E_PARSE,
	  400),
	R("two lengths", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", E_PARSE, 400),
	R("two lengths in a list", POST "Content-Length: 5, 6\r\n\r\n", E_PARSE, 400),
	R("two spellings of a length", POST "Content-Length: 5\r\nContent-Length: 05\r\n\r\n",
	  E_PARSE, 400),
	R("a list with an end", POST "Content-Length: 5,\r\n\r\n", E_PARSE, 400),
	R("a list with a hole", POST "Content-Length: 5,,5\r\n\r\n", E_PARSE, 400),
	R("a list with a start", POST "Content-Length: ,5\r\n\r\n", E_PARSE, 400),
	/* Transfer-Encoding */
	R("length and chunked", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
	  E_PARSE, 400),
	R("chunked and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
	  E_PARSE, 400),
	R("chunked and zero", POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
	  E_PARSE, 400),
	R("length and an unknown coding", POST "Content-Length: 5\r\nTransfer-Encoding: x\r\n\r\n",
	  E_PARSE, 400),
	R("chunked twice", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	  E_PARSE, 400),
	R("chunked and identity",
	  POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", E_PARSE, 400),
	R("chunked twice in a list", POST "Transfer-Encoding: chunked, chunked\r\n\r\n", E_PARSE,
	  400),
	R("an empty coding", POST "Transfer-Encoding:\r\n\r\n", E_PARSE, 400),
	R("a comma as coding", POST "Transfer-Encoding: ,\r\n\r\n", E_PARSE, 400),
	R("chunked with a comma", POST "Transfer-Encoding: chunked,\r\n\r\n", E_UNSUPPORTED, 501),
	R("chunked in quotes", POST "Transfer-Encoding: \"chunked\"\r\n\r\n", E_PARSE, 400),
	R("chunked with a parameter", POST "Transfer-Encoding: chunked;a=b\r\n\r\n", E_PARSE, 400),
	R("chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", E_PARSE,
	  400),
	R("gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", E_UNSUPPORTED, 501),
	R("chunked, identity", POST "Transfer-Encoding: chunked, identity\r\n\r\n", E_UNSUPPORTED,
	  501),
	R("identity", POST "Transfer-Encoding: identity\r\n\r\n", E_UNSUPPORTED, 501),
	R("xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n", E_UNSUPPORTED, 501),
	R("Transfer Encoding with an underscore is another field but Content-Length is bad",
	  POST "Transfer_Encoding: chunked\r\nContent-Length: 1,2\r\n\r\n", E_PARSE, 400),
	R("a bad option in Connection", GET "Connection: a b\r\n\r\n", E_PARSE, 400),
};

static void whatever_could_be_read_two_ways_is_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		const struct refusal *r = &refusals[i];
		struct bytes text = exact(r->text.ptr, r->text.len);
		struct head head = { .status = 77 };
		struct h1_request_info info;
		struct err err = { 0 };
		int code = h1_parse_request(text, &arena, &head, &info, &err);
		if (code != r->code || err.code != code || err.text[0] == 0 || head.status != 77)
			fail_msg("%s: got %d \"%s\"", r->what, code, err.text);
		if (h1_refusal_status(code, text) != r->status)
			fail_msg("%s: status %d", r->what, h1_refusal_status(code, text));
	}
}

static int parse_printed(struct buf *b, struct err *err)
{
	struct head head;
	struct h1_request_info info;
	int code = h1_parse_request(buf_bytes(b), &arena, &head, &info, err);
	int status = code < 0 ? h1_refusal_status(code, buf_bytes(b)) : 0;

	buf_done(b);
	return status;
}

static void what_exceeds_a_limit_is_refused(void **state)
{
	struct buf b;
	struct err err;

	buf_init(&b, 2 * LIMIT_HEAD_BYTES);
	assert_int_equal(buf_append_str(&b, "GET /"), 0);
	for (int i = 0; i < LIMIT_TARGET_BYTES; i++)
		assert_int_equal(buf_append_str(&b, "a"), 0);
	assert_int_equal(buf_append_str(&b, " HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
	assert_int_equal(parse_printed(&b, &err), 414);

	assert_int_equal(buf_append_str(&b, GET), 0);
	for (int i = 0; i <= LIMIT_HEAD_FIELDS; i++)
		assert_int_equal(buf_append_str(&b, "A: b\r\n"), 0);
	assert_int_equal(buf_append_str(&b, "\r\n"), 0);
	assert_int_equal(parse_printed(&b, &err), 431);

	assert_int_equal(buf_append_str(&b, GET "Connection: a"), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(buf_append_str(&b, ",a"), 0);
	assert_int_equal(buf_append_str(&b, "\r\n\r\n"), 0);
	assert_int_equal(parse_printed(&b, &err), 431);

	assert_int_equal(buf_append_str(&b, GET "A: "), 0);
	for (int i = 0; i < LIMIT_HEAD_BYTES; i++)
		assert_int_equal(buf_append_str(&b, "a"), 0);
	assert_int_equal(buf_append_str(&b, "\r\n\r\n"), 0);
	assert_int_equal(parse_printed(&b, &err), 431);
	assert_int_equal(h1_refusal_status(E_LIMIT, BYTES_LIT("GET / HTTP/1.1\r\n")), 431);
}

/* --- Requests that are taken ----------------------------------------------------------------- */

static struct h1_request_info parse(const char *text, struct head *head)
{
	struct h1_request_info info = { 0 };
	struct err err = { 0 };

	if (h1_parse_request(bytes_str(text), &arena, head, &info, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return info;
}

static void a_request_is_taken_apart(void **state)
{
	struct head head;
	char text[] = "GET /a%2Fb/../c?x=1&y={|} HTTP/1.1\r\nhOsT: App.example.com:8443\r\n"
		      "X-Empty:\r\nX-Blank: \t a \t b \t\r\nCookie: \xc3\xa4\r\n\r\n";
	struct h1_request_info info = parse(text, &head);

	memset(text, '?', sizeof(text) - 1); /* everything was copied */
	assert_text(head.method, "GET");
	assert_text(head.path, "/a%2Fb/../c?x=1&y={|}");
	assert_text(head.authority, "App.example.com:8443");
	assert_text(head.scheme, "");
	assert_int_equal(head.length, HEAD_LENGTH_NONE);
	assert_false(head.is_upgrade);
	assert_int_equal(head.fields.count, 3);
	assert_text(head.fields.list[0].name, "X-Empty");
	assert_text(head.fields.list[0].value, "");
	assert_text(head.fields.list[1].value, "a \t b");
	assert_int_equal(head.fields.list[2].token, HEAD_COOKIE);
	assert_true(info.keep_alive);
	assert_false(info.is_http10 || info.is_chunked || info.expects_continue);
}

static void every_form_of_target_is_understood(void **state)
{
	static const char *const cases[][3] = {
		{ "GET http://B.c:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "B.c:1", "/x?y" },
		{ "GET HTTPS://b HTTP/1.1\r\nHost: a\r\n\r\n", "b", "/" },
		{ "GET http://b?x=/y HTTP/1.1\r\nHost: a\r\n\r\n", "b", "/?x=/y" },
		{ "OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", "b", "*" },
		{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "a", "*" },
		{ "GET //x/ HTTP/1.1\r\nHost: a\r\n\r\n", "a", "//x/" },
		{ "GET / HTTP/1.0\r\n\r\n", "", "/" },
		{ "GET http://b/ HTTP/1.0\r\n\r\n", "b", "/" },
		{ "GET / HTTP/1.1\r\nHost: [2001:db8::1]:65535\r\n\r\n", "[2001:db8::1]:65535",
		  "/" },
		{ "GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\n\r\n", "[::ffff:1.2.3.4]", "/" },
		{ "GET / HTTP/1.1\r\nHost: my_host.:\r\n\r\n", "my_host.:", "/" },
		{ "M-SEARCH / HTTP/1.1\r\nHost: 1.2.3.4\r\n\r\n", "1.2.3.4", "/" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct head head;
		parse(cases[i][0], &head);
		assert_text(head.authority, cases[i][1]);
		assert_text(head.path, cases[i][2]);
	}
}

static void equal_lengths_become_one_number(void **state)
{
	struct head head;

	parse(POST "Content-Length: 5\r\nX: y\r\nContent-Length: 5 , 5\r\n\r\n", &head);
	assert_int_equal(head.length, HEAD_LENGTH_KNOWN);
	assert_int_equal(head.content_length, 5);
	assert_int_equal(head.fields.count, 2);
	assert_text(fields_find(&head.fields, HEAD_CONTENT_LENGTH)->value, "5");
	parse(POST "Content-Length: 9223372036854775807\r\n\r\n", &head);
	assert_int_equal(head.content_length, INT64_MAX);
	parse(POST "Content-Length: 0\r\n\r\n", &head);
	assert_int_equal(head.length, HEAD_LENGTH_KNOWN);
	assert_int_equal(head.content_length, 0);
}

static void chunked_is_taken_in_any_case(void **state)
{
	struct head head;
	struct h1_request_info info =
		parse(POST "Transfer-Encoding: \t CHUNKED \r\nExpect: 100-Continue\r\n\r\n", &head);

	assert_true(info.is_chunked);
	assert_true(info.expects_continue);
	assert_int_equal(head.length, HEAD_LENGTH_UNKNOWN);
}

static void nothing_is_expected_without_a_body_or_in_http10(void **state)
{
	struct head head;

	assert_false(parse(GET "Expect: 100-continue\r\n\r\n", &head).expects_continue);
	assert_false(
		parse("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", &head)
			.expects_continue);
}

static void the_connection_stays_open_when_both_agree(void **state)
{
	struct head head;

	assert_true(parse(GET "Connection: Keep-Alive\r\n\r\n", &head).keep_alive);
	assert_false(parse(GET "Connection: x, Close\r\n\r\n", &head).keep_alive);
	assert_false(
		parse(GET "Connection: close\r\nConnection: keep-alive\r\n\r\n", &head).keep_alive);
	assert_false(parse("GET / HTTP/1.0\r\n\r\n", &head).keep_alive);
	assert_true(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &head).keep_alive);
}

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static void a_websocket_handshake_is_recognised(void **state)
{
	struct head head;

	parse(GET "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" KEY "\r\n", &head);
	assert_true(head.is_upgrade);
	static const char *const others[] = {
		GET "Upgrade: websocket\r\n" KEY "\r\n",
		GET "Connection: upgrade\r\n" KEY "\r\n",
		GET "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		GET "Connection: upgrade\r\nUpgrade: h2c\r\n" KEY "\r\n",
		POST "Connection: upgrade\r\nUpgrade: websocket\r\n" KEY "\r\n",
		GET "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n" KEY "\r\n",
		GET "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n" KEY
		    "\r\n",
		"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" KEY "\r\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		parse(others[i], &head);
		assert_false(head.is_upgrade);
	}
}

/* --- Responses ------------------------------------------------------------------------------- */

struct answer {
	const char *method;
	const char *text;
	int status;
	enum head_length length;
	uint64_t content_length;
	bool keep_alive, is_chunked, ends_by_close;
};

#define OK "HTTP/1.1 200 OK\r\n"

static const struct answer answers[] = {
	{ "GET", OK "Content-Length: 5\r\n\r\n", 200, HEAD_LENGTH_KNOWN, 5, 1, 0, 0 },
	{ "GET", OK "Content-Length: 5\r\nConnection: close\r\n\r\n", 200, HEAD_LENGTH_KNOWN, 5, 0,
	  0, 0 },
	{ "GET", OK "Transfer-Encoding: chunked\r\n\r\n", 200, HEAD_LENGTH_UNKNOWN, 0, 1, 1, 0 },
	{ "GET", OK "\r\n", 200, HEAD_LENGTH_UNKNOWN, 0, 0, 0, 1 },
	{ "GET", OK "Connection: keep-alive\r\n\r\n", 200, HEAD_LENGTH_UNKNOWN, 0, 0, 0, 1 },
	{ "GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", 200, HEAD_LENGTH_KNOWN, 5, 0, 0,
	  0 },
	{ "GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", 200,
	  HEAD_LENGTH_KNOWN, 5, 1, 0, 0 },
	{ "HEAD", OK "Content-Length: 5\r\n\r\n", 200, HEAD_LENGTH_NONE, 5, 1, 0, 0 },
	{ "HEAD", OK "Transfer-Encoding: chunked\r\n\r\n", 200, HEAD_LENGTH_NONE, 0, 1, 0, 0 },
	{ "HEAD", OK "\r\n", 200, HEAD_LENGTH_NONE, 0, 1, 0, 0 },
	{ "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, HEAD_LENGTH_NONE, 5,
	  1, 0, 0 },
	{ "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, HEAD_LENGTH_NONE, 0,
	  1, 0, 0 },
	{ "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, HEAD_LENGTH_NONE, 5,
	  0, 0, 0 },
	{ "GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204,
	  HEAD_LENGTH_NONE, 0, 0, 0, 0 },
	{ "GET", "HTTP/1.1 100 Continue\r\n\r\n", 100, HEAD_LENGTH_NONE, 0, 1, 0, 0 },
	{ "CONNECT", OK "\r\n", 200, HEAD_LENGTH_NONE, 0, 0, 0, 0 },
	{ "CONNECT", "HTTP/1.1 407 No\r\nContent-Length: 1\r\n\r\n", 407, HEAD_LENGTH_KNOWN, 1, 1,
	  0, 0 },
	{ "GET", "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, HEAD_LENGTH_KNOWN, 0, 1, 0, 0 },
	{ "GET", "HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n", 999, HEAD_LENGTH_KNOWN, 0, 1, 0, 0 },
	{ "GET", "HTTP/1.1 200 \xc3\xa4\tb\r\nContent-Length: 0\r\n\r\n", 200, HEAD_LENGTH_KNOWN, 0,
	  1, 0, 0 },
};

static void the_body_of_a_response_is_framed_by_the_rules(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		const struct answer *an = &answers[i];
		struct head head;
		struct h1_response_info info;
		struct err err = { 0 };
		if (h1_parse_response(bytes_str(an->text), bytes_str(an->method), &arena, &head,
				      &info, &err) < 0)
			fail_msg("%s %s: %s", an->method, an->text, err.text);
		if (head.status != an->status || head.length != an->length ||
		    head.content_length != an->content_length || info.keep_alive != an->keep_alive ||
		    info.is_chunked != an->is_chunked || info.ends_by_close != an->ends_by_close)
			fail_msg("%s %s: read wrongly", an->method, an->text);
	}
}

static void malformed_responses_are_refused(void **state)
{
	static const struct refusal cases[] = {
		R("no status", "HTTP/1.1 \r\n\r\n", E_PARSE, 0),
		R("two digits", "HTTP/1.1 20 OK\r\n\r\n", E_PARSE, 0),
		R("four digits", "HTTP/1.1 2000 OK\r\n\r\n", E_PARSE, 0),
		R("a sign", "HTTP/1.1 +20 OK\r\n\r\n", E_PARSE, 0),
		R("a status below 100", "HTTP/1.1 099 OK\r\n\r\n", E_PARSE, 0),
		R("two spaces", "HTTP/1.1  200 OK\r\n\r\n", E_PARSE, 0),
		R("no version", "ICY 200 OK\r\n\r\n", E_PARSE, 0),
		R("another version", "HTTP/2.0 200 OK\r\n\r\n", E_UNSUPPORTED, 0),
		R("a bare LF inside the head", "HTTP/1.1 200 OK\n\nA: b\r\n\r\n", E_PARSE, 0),
		R("a bare CR", OK "A: b\rc\r\n\r\n", E_PARSE, 0),
		R("version 1.x", "HTTP/1.x 200 OK\r\n\r\n", E_PARSE, 0),
		R("a control byte", "HTTP/1.1 200 \x01\r\n\r\n", E_PARSE, 0),
		R("a folded status line", OK " c\r\n\r\n", E_PARSE, 0),
		R("a fold that hides a length", OK "A: b\r\n \r\nContent-Length : 5\r\n\r\n",
		  E_PARSE, 0),
		R("a blank before the colon", OK "Content-Length : 5\r\n\r\n", E_PARSE, 0),
		R("length and chunked",
		  OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", E_PARSE, 0),
		R("two lengths", OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", E_PARSE, 0),
		R("chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		  E_PARSE, 0),
		R("gzip", OK "Transfer-Encoding: gzip\r\n\r\n", E_UNSUPPORTED, 0),
		R("gzip, chunked", OK "Transfer-Encoding: gzip, chunked\r\n\r\n", E_UNSUPPORTED, 0),
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct head head;
		struct h1_response_info info;
		int code = h1_parse_response(cases[i].text, BYTES_LIT("GET"), &arena, &head, &info,
					     NULL);
		if (code != cases[i].code)
			fail_msg("%s: got %d", cases[i].what, code);
	}
}

static void responses_of_old_servers_are_read(void **state)
{
	static const char *const texts[] = {
		"HTTP/1.1 200 OK\nContent-Length: 5\nX-Fold: a b\n\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Fold: a\r\n b\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 5\r\nX-Fold: a\n\tb\r\n\n",
		"HTTP/1.2 200 OK\r\nContent-Length: 5\r\nX-Fold: a b\r\n\r\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct head head;
		struct h1_response_info info;
		size_t scanned = 0;
		char more[100];
		struct bytes text = bytes_str(texts[i]);
		for (size_t len = 0; len < text.len; len++)
			assert_int_equal(h1_response_length(exact(text.ptr, len), &scanned), 0);
		snprintf(more, sizeof(more), "%sBODY\n\n", texts[i]);
		assert_int_equal(h1_response_length(bytes_str(more), &scanned), text.len);
		assert_int_equal(
			h1_parse_response(text, BYTES_LIT("GET"), &arena, &head, &info, NULL), 0);
		assert_int_equal(head.status, 200);
		assert_int_equal(head.content_length, 5);
		assert_int_equal(head.fields.count, 2);
		struct bytes value = head.fields.list[1].value;
		assert_int_equal(value.ptr[0], 'a');
		assert_int_equal(value.ptr[value.len - 1], 'b');
	}
}

static void what_is_no_response_is_not_waited_for(void **state)
{
	static const char *const texts[] = { "S",        "SSH-2.0-x\r\n", "\x15\x03\x01",
					     "http/1.1", "HTTP 200",      "\r\n" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct head head;
		struct h1_response_info info;
		size_t scanned = 0;
		struct bytes text = bytes_str(texts[i]);
		assert_int_equal(h1_response_length(text, &scanned), text.len);
		assert_int_equal(
			h1_parse_response(text, BYTES_LIT("GET"), &arena, &head, &info, NULL),
			E_PARSE);
	}
}

/* --- Chunked bodies -------------------------------------------------------------------------- */

/* Feeds `text` in pieces of `step` bytes. Returns what h1_chunked_next() ended with; the payload goes
 * to `payload`, the number of bytes after the end to *ret_left. */
static int decode(struct h1_chunked *c, struct bytes text, size_t step, struct buf *payload,
		  size_t *ret_left)
{
	h1_chunked_init(c);
	buf_init(payload, 1 << 20);
	while (text.len) {
		struct bytes piece = exact(text.ptr, step < text.len ? step : text.len);
		struct bytes rest = piece, run;
		int ret;
		while ((ret = h1_chunked_next(c, &rest, &run, NULL)) == 1) {
			assert_true(run.len > 0);
			assert_int_equal(buf_append(payload, run), 0);
		}
		text = bytes_from(text, piece.len - rest.len);
		if (ret != 0) {
			*ret_left = text.len;
			return ret;
		}
		assert_int_equal(rest.len, 0);
	}
	return 0;
}

static void chunks_are_put_together_at_every_split(void **state)
{
	struct bytes text =
		BYTES_LIT("5\r\nhello\r\n00006;a=\"b\" ;\tc\r\n world\r\n1A\r\n"
			  "abcdefghijklmnopqrstuvwxyz\r\n0;x\r\nX-A:  1 \r\nContent-Length: 9\r\n"
			  "X-Forwarded-For: x\r\nX-B:2\r\n\r\nNEXT");

	for (size_t step = 1; step <= text.len; step++) {
		struct h1_chunked c;
		struct buf payload;
		size_t left = 0;
		assert_int_equal(decode(&c, text, step, &payload, &left), 2);
		assert_int_equal(left, 4);
		assert_text(buf_bytes(&payload), "hello worldabcdefghijklmnopqrstuvwxyz");
		struct fields trailers;
		assert_int_equal(h1_chunked_trailers(&c, &arena, &trailers, NULL), 0);
		assert_int_equal(trailers.count, 2);
		assert_text(trailers.list[0].name, "X-A");
		assert_text(trailers.list[0].value, "1");
		assert_text(trailers.list[1].value, "2");
		h1_chunked_done(&c);
		buf_done(&payload);
	}
}

static void malformed_chunks_are_refused_at_every_split(void **state)
{
	static const struct refusal cases[] = {
		R("no size", "\r\n", E_PARSE, 0),
		R("an extension without size", ";a\r\n", E_PARSE, 0),
		R("a blank before the size", " 5\r\nhello\r\n", E_PARSE, 0),
		R("a blank after the size", "5 \r\nhello\r\n", E_PARSE, 0),
		R("a tab before the extension", "5\t;a\r\nhello\r\n", E_PARSE, 0),
		R("a minus", "-5\r\nhello\r\n", E_PARSE, 0),
		R("a plus", "+5\r\nhello\r\n", E_PARSE, 0),
		R("0x", "0x5\r\nhello\r\n", E_PARSE, 0),
		R("an underscore", "1_0\r\n", E_PARSE, 0),
		R("a bare LF after the size", "5\nhello\r\n", E_PARSE, 0),
		R("a bare CR after the size", "5\rhello\r\n", E_PARSE, 0),
		R("CR CR LF", "5\r\r\nhello\r\n", E_PARSE, 0),
		R("a bare LF in an extension", "5;a\nhello\r\n", E_PARSE, 0),
		R("a NUL in an extension", "5;\0\r\nhello\r\n", E_PARSE, 0),
		R("data longer than the size", "5\r\nhelloo\r\n", E_PARSE, 0),
		R("a bare LF after the data", "5\r\nhello\n", E_PARSE, 0),
		R("a bare CR after the data", "5\r\nhello\r0\r\n", E_PARSE, 0),
		R("a size over 63 bits", "8000000000000000\r\n", E_PARSE, 0),
		R("a size over 64 bits", "10000000000000005\r\n", E_PARSE, 0),
		R("many zeros", "00000000000000005\r\n", E_PARSE, 0),
		R("a bare LF as the end", "0\r\n\n", E_PARSE, 0),
		R("a bare CR as the end", "0\r\n\rX", E_PARSE, 0),
		R("a bare LF after a trailer", "0\r\nA: b\n\r\n", E_PARSE, 0),
		R("a trailer without colon", "0\r\nAb\r\n\r\n", E_PARSE, 0),
		R("a blank before a trailer's colon", "0\r\nA : b\r\n\r\n", E_PARSE, 0),
		R("a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", E_PARSE, 0),
		R("a CR in a trailer", "0\r\nA: b\rc\r\n\r\n", E_PARSE, 0),
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (size_t step = 1; step <= cases[i].text.len; step++) {
			struct h1_chunked c;
			struct buf payload;
			size_t left;
			int ret = decode(&c, cases[i].text, step, &payload, &left);
			if (ret != cases[i].code)
				fail_msg("%s: got %d", cases[i].what, ret);
			/* It stays so. */
			struct bytes more = BYTES_LIT("0\r\n\r\n"), run;
			assert_int_equal(h1_chunked_next(&c, &more, &run, NULL), E_PARSE);
			h1_chunked_done(&c);
			buf_done(&payload);
		}
	}
}

static void sizes_may_be_padded_where_that_is_allowed(void **state)
{
	struct bytes rest = BYTES_LIT("5  \t\r\nhello\r\n0 ;x\r\n\r\n"), run;
	struct h1_chunked c;

	h1_chunked_init(&c);
	c.allows_padding = true;
	assert_int_equal(h1_chunked_next(&c, &rest, &run, NULL), 1);
	assert_text(run, "hello");
	assert_int_equal(h1_chunked_next(&c, &rest, &run, NULL), 2);
	h1_chunked_done(&c);
	h1_chunked_init(&c);
	c.allows_padding = true;
	rest = BYTES_LIT("5 5\r\n");
	assert_int_equal(h1_chunked_next(&c, &rest, &run, NULL), E_PARSE);
	h1_chunked_done(&c);
}

static void endless_extensions_and_trailers_are_refused(void **state)
{
	struct h1_chunked c;
	struct bytes run;
	int ret;

	h1_chunked_init(&c);
	struct bytes data = BYTES_LIT("5;");
	assert_int_equal(h1_chunked_next(&c, &data, &run, NULL), 0);
	for (int i = 0; (data = BYTES_LIT("a"), ret = h1_chunked_next(&c, &data, &run, NULL)) == 0;
	     i++)
		assert_true(i < LIMIT_CHUNK_LINE_BYTES);
	assert_int_equal(ret, E_LIMIT);
	h1_chunked_done(&c);

	h1_chunked_init(&c);
	data = BYTES_LIT("0\r\n");
	assert_int_equal(h1_chunked_next(&c, &data, &run, NULL), 0);
	for (int i = 0;
	     (data = BYTES_LIT("A: b\r\n"), ret = h1_chunked_next(&c, &data, &run, NULL)) == 0; i++)
		assert_true(i < LIMIT_HEAD_BYTES);
	assert_int_equal(ret, E_LIMIT);
	h1_chunked_done(&c);

	h1_chunked_init(&c);
	data = BYTES_LIT("0\r\n");
	assert_int_equal(h1_chunked_next(&c, &data, &run, NULL), 0);
	for (int i = 0; i <= LIMIT_HEAD_FIELDS; i++) {
		data = BYTES_LIT("A: b\r\n");
		assert_int_equal(h1_chunked_next(&c, &data, &run, NULL), 0);
	}
	data = BYTES_LIT("\r\n");
	assert_int_equal(h1_chunked_next(&c, &data, &run, NULL), 2);
	struct fields trailers;
	assert_int_equal(h1_chunked_trailers(&c, &arena, &trailers, NULL), E_LIMIT);
	h1_chunked_done(&c);
}

static void an_unfinished_body_asks_for_more(void **state)
{
	static const char *const cases[] = {
		"", "5", "5\r\n", "5\r\nhel", "5\r\nhello\r\n", "0\r\n", "0\r\nA: b\r\n", "0\r\n\r"
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct h1_chunked c;
		struct buf payload;
		size_t left;
		assert_int_equal(decode(&c, bytes_str(cases[i]), 100, &payload, &left), 0);
		h1_chunked_done(&c);
		buf_done(&payload);
	}
}

/* --- Printing -------------------------------------------------------------------------------- */

static void a_request_is_printed(void **state)
{
	struct head head;
	struct buf out;

	buf_init(&out, 4096);
	parse("POST /x?y HTTP/1.1\r\nx-lower: 1\r\nHost: a.b\r\nConnection: close\r\n"
	      "Transfer-Encoding: chunked\r\n\r\n",
	      &head);
	assert_int_equal(h1_print_request(&head, H1_CHUNKED, true, true, &out), 0);
	assert_text(buf_bytes(&out), "POST /x?y HTTP/1.1\r\nHost: a.b\r\nX-Lower: 1\r\n"
				     "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n");
	buf_clear(&out);
	head.content_length = 7;
	assert_int_equal(h1_print_request(&head, H1_LENGTH, false, false, &out), 0);
	assert_text(buf_bytes(&out), "POST /x?y HTTP/1.1\r\nHost: a.b\r\nx-lower: 1\r\n"
				     "Content-Length: 7\r\nConnection: close\r\n\r\n");
	buf_clear(&out);
	parse(GET "TE: trailers\r\nContent-Length: 0\r\n\r\n", &head);
	assert_int_equal(h1_print_request(&head, H1_NO_BODY, true, true, &out), 0);
	assert_text(buf_bytes(&out), "GET / HTTP/1.1\r\nHost: a\r\nTe: trailers\r\n"
				     "Connection: keep-alive, TE\r\n\r\n");
	buf_clear(&out);
	parse(GET "Upgrade: websocket\r\nConnection: upgrade\r\n" KEY "\r\n", &head);
	assert_int_equal(h1_print_request(&head, H1_RAW_UPGRADE, true, true, &out), 0);
	assert_text(buf_bytes(&out), "GET / HTTP/1.1\r\nHost: a\r\n"
				     "Sec-Websocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
				     "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	buf_done(&out);
}

static void a_response_is_printed(void **state)
{
	struct head head = { .status = 200, .content_length = 3 };
	struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(fields_add(&head.fields, &arena, BYTES_LIT("set-cookie"), BYTES_LIT("a")),
			 0);
	assert_int_equal(
		fields_add(&head.fields, &arena, BYTES_LIT("content-length"), BYTES_LIT("9")), 0);
	assert_int_equal(h1_print_response(&head, H1_LENGTH, true, true, &out), 0);
	assert_text(buf_bytes(&out), "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nContent-Length: 3\r\n"
				     "Connection: keep-alive\r\n\r\n");
	buf_clear(&out);
	head.status = 530;
	assert_int_equal(h1_print_response(&head, H1_UNTIL_CLOSE, true, false, &out), 0);
	assert_text(buf_bytes(&out), "HTTP/1.1 530 \r\nset-cookie: a\r\nConnection: close\r\n\r\n");
	buf_clear(&out);
	head.status = 304;
	assert_int_equal(h1_print_response(&head, H1_NO_BODY, true, false, &out), 0);
	assert_text(buf_bytes(&out),
		    "HTTP/1.1 304 Not Modified\r\nset-cookie: a\r\nContent-Length: 9\r\n"
		    "Connection: keep-alive\r\n\r\n");
	buf_clear(&out);
	head.status = 204;
	assert_int_equal(h1_print_response(&head, H1_NO_BODY, true, false, &out), 0);
	assert_text(buf_bytes(&out), "HTTP/1.1 204 No Content\r\nset-cookie: a\r\n"
				     "Connection: keep-alive\r\n\r\n");
	buf_clear(&out);
	head.status = 101;
	assert_int_equal(h1_print_response(&head, H1_RAW_UPGRADE, true, false, &out), 0);
	assert_text(buf_bytes(&out), "HTTP/1.1 101 Switching Protocols\r\nset-cookie: a\r\n"
				     "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	buf_done(&out);
}

static void nothing_is_printed_that_would_break_the_message(void **state)
{
	static const struct field bad[] = {
		{ BYTES_LIT("a"), BYTES_LIT("b\r\nc: d"), HEAD_OTHER },
		{ BYTES_LIT("a"), BYTES_LIT("b\nc"), HEAD_OTHER },
		{ BYTES_LIT("a"), BYTES_LIT("b\0c"), HEAD_OTHER },
		{ BYTES_LIT("a: b\r\nc"), BYTES_LIT("d"), HEAD_OTHER },
		{ BYTES_LIT("a b"), BYTES_LIT("d"), HEAD_OTHER },
		{ BYTES_LIT(""), BYTES_LIT("d"), HEAD_OTHER },
	};
	struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(buf_append_str(&out, "before"), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct head head = { .status = 200 };
		assert_int_equal(fields_add(&head.fields, &arena, bad[i].name, bad[i].value), 0);
		assert_int_equal(h1_print_response(&head, H1_NO_BODY, true, true, &out), E_INVALID);
		assert_text(buf_bytes(&out), "before");
	}
	static const char *const paths[] = { "", "/a b", "/a\r\nb", "/\x7f" };
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct head head = { .method = BYTES_LIT("GET"), .path = bytes_str(paths[i]) };
		assert_int_equal(h1_print_request(&head, H1_NO_BODY, true, true, &out), E_INVALID);
	}
	struct head head = { .method = BYTES_LIT("G T"), .path = BYTES_LIT("/") };
	assert_int_equal(h1_print_request(&head, H1_NO_BODY, true, true, &out), E_INVALID);
	head.method = BYTES_LIT("GET");
	head.authority = BYTES_LIT("a\r\nb");
	assert_int_equal(h1_print_request(&head, H1_NO_BODY, true, true, &out), E_INVALID);
	head.status = 1000;
	assert_int_equal(h1_print_response(&head, H1_NO_BODY, true, true, &out), E_INVALID);
	assert_text(buf_bytes(&out), "before");
	buf_done(&out);
}

static void a_full_buffer_is_left_as_it_was(void **state)
{
	struct head head;

	parse(GET "A: b\r\nContent-Length: 3\r\n\r\n", &head);
	head.status = 200;
	for (size_t max = 7; max < 90; max++) {
		struct buf out;
		buf_init(&out, max);
		assert_int_equal(buf_append_str(&out, "before"), 0);
		int ret = h1_print_request(&head, H1_LENGTH, true, true, &out);
		if (ret < 0) {
			assert_int_equal(ret, E_LIMIT);
			assert_text(buf_bytes(&out), "before");
		}
		out.len = 6;
		ret = h1_print_response(&head, H1_NO_BODY, true, true, &out);
		if (ret < 0) {
			assert_int_equal(ret, E_LIMIT);
			assert_text(buf_bytes(&out), "before");
		}
		buf_done(&out);
	}
}

static void what_is_printed_parses_to_the_same(void **state)
{
	static const char *const texts[] = {
		GET "A: b\r\nX-A: c  d\r\nA:\r\n\r\n",
		POST "Content-Length: 12\r\n\r\n",
		POST "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
		GET "Connection: upgrade\r\nUpgrade: websocket\r\n" KEY "\r\n",
		"OPTIONS http://a HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct head first, second;
		struct buf out;
		struct h1_request_info info = parse(texts[i], &first);
		enum h1_framing framing = first.is_upgrade  ? H1_RAW_UPGRADE
					  : info.is_chunked ? H1_CHUNKED
					  : first.length    ? H1_LENGTH
							    : H1_NO_BODY;
		buf_init(&out, 4096);
		assert_int_equal(h1_print_request(&first, framing, info.keep_alive, false, &out), 0);
		assert_int_equal(buf_append_str(&out, ""), 0);
		char *text = buf_take_str(&out);
		struct h1_request_info again = parse(text, &second);
		mem_free(text);
		assert_true(bytes_eq(first.method, second.method));
		assert_true(bytes_eq(first.path, second.path));
		assert_true(bytes_eq(first.authority, second.authority));
		assert_int_equal(first.length, second.length);
		assert_int_equal(first.content_length, second.content_length);
		assert_int_equal(first.is_upgrade, second.is_upgrade);
		assert_int_equal(info.is_chunked, again.is_chunked);
		assert_int_equal(info.keep_alive, again.keep_alive);
	}
}

static void sizes_of_chunks_are_hexadecimal(void **state)
{
	char dst[20];

	assert_int_equal(h1_print_chunk_head(0x1a2b, dst), 6);
	assert_string_equal(dst, "1a2b\r\n");
	assert_int_equal(h1_print_chunk_head(UINT64_MAX, dst), 18);
	assert_int_equal(h1_print_chunk_head(0, dst), 3);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_end_of_a_head_is_found_at_every_split),
		CASE(a_bare_line_feed_ends_the_wait),
		CASE(a_head_that_cannot_fit_is_refused),
		CASE(whatever_could_be_read_two_ways_is_refused),
		CASE(what_exceeds_a_limit_is_refused),
		CASE(a_request_is_taken_apart),
		CASE(every_form_of_target_is_understood),
		CASE(equal_lengths_become_one_number),
		CASE(chunked_is_taken_in_any_case),
		CASE(nothing_is_expected_without_a_body_or_in_http10),
		CASE(the_connection_stays_open_when_both_agree),
		CASE(a_websocket_handshake_is_recognised),
		CASE(the_body_of_a_response_is_framed_by_the_rules),
		CASE(malformed_responses_are_refused),
		CASE(responses_of_old_servers_are_read),
		CASE(what_is_no_response_is_not_waited_for),
		CASE(chunks_are_put_together_at_every_split),
		CASE(malformed_chunks_are_refused_at_every_split),
		CASE(sizes_may_be_padded_where_that_is_allowed),
		CASE(endless_extensions_and_trailers_are_refused),
		CASE(an_unfinished_body_asks_for_more),
		CASE(a_request_is_printed),
		CASE(a_response_is_printed),
		CASE(nothing_is_printed_that_would_break_the_message),
		CASE(a_full_buffer_is_left_as_it_was),
		CASE(what_is_printed_parses_to_the_same),
		CASE(sizes_of_chunks_are_hexadecimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
