#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"
#include "http/head.h"

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
	char got[512];

	assert_true(b.len < sizeof(got));
	if (b.len)
		memcpy(got, b.ptr, b.len);
	got[b.len] = 0;
	assert_string_equal(got, text);
}

static void add(struct fields *f, const char *name, const char *value)
{
	assert_int_equal(fields_add(f, &arena, bytes_str(name), bytes_str(value)), 0);
}

static void every_known_name_is_found_in_any_case(void **state)
{
	for (int token = HEAD_OTHER + 1; token < HEAD_NAME_COUNT; token++) {
		struct bytes text = head_name_text((enum head_name)token);
		uint8_t upper[64];
		assert_true(text.len > 0 && text.len < sizeof(upper));
		assert_int_equal(head_name_of(text), token);
		for (size_t i = 0; i < text.len; i++)
			upper[i] = (uint8_t)(text.ptr[i] >= 'a' && text.ptr[i] <= 'z'
						     ? text.ptr[i] - 32
						     : text.ptr[i]);
		assert_int_equal(head_name_of(bytes_of(upper, text.len)), token);
		upper[text.len - 1] = '_';
		assert_int_equal(head_name_of(bytes_of(upper, text.len)), HEAD_OTHER);
	}
	assert_int_equal(head_name_of(BYTES_NONE), HEAD_OTHER);
	assert_int_equal(head_name_of(BYTES_LIT("x")), HEAD_OTHER);
	assert_int_equal(head_name_of(BYTES_LIT("a-name-that-is-far-longer-than-any-that-we-know")),
			 HEAD_OTHER);
	assert_int_equal(head_name_text(HEAD_OTHER).len, 0);
}

static void names_and_values_are_judged_by_their_bytes(void **state)
{
	assert_true(head_name_is_valid(BYTES_LIT("X-a_b.c!#$%&'*+^`|~09")));
	assert_false(head_name_is_valid(BYTES_NONE));
	assert_false(head_name_is_valid(BYTES_LIT("a b")));
	assert_false(head_name_is_valid(BYTES_LIT("a:")));
	assert_false(head_name_is_valid(BYTES_LIT("a\0")));
	assert_false(head_name_is_valid(BYTES_LIT("\xc3\xa4")));
	assert_true(head_value_is_valid(BYTES_NONE));
	assert_true(head_value_is_valid(BYTES_LIT("a \t\xc3\xa4 \"x\"")));
	assert_false(head_value_is_valid(BYTES_LIT("a\nb")));
	assert_false(head_value_is_valid(BYTES_LIT("a\r")));
	assert_false(head_value_is_valid(BYTES_LIT("a\0b")));
	assert_false(head_value_is_valid(BYTES_LIT("\x7f")));
}

static void fields_are_added_found_replaced_and_removed(void **state)
{
	struct fields f = { 0 };

	add(&f, "X-A", "1");
	add(&f, "Cookie", "a=1");
	add(&f, "x-a", "2");
	add(&f, "COOKIE", "b=2");
	assert_text(fields_find(&f, HEAD_COOKIE)->value, "a=1");
	assert_text(fields_find_text(&f, BYTES_LIT("x-A"))->value, "1");
	assert_null(fields_find(&f, HEAD_HOST));
	assert_null(fields_find_text(&f, BYTES_LIT("x-b")));
	fields_remove_text(&f, BYTES_LIT("X-a"));
	assert_int_equal(f.count, 2);
	assert_int_equal(fields_set(&f, &arena, HEAD_COOKIE, BYTES_LIT("c")), 0);
	assert_int_equal(f.count, 1);
	assert_text(f.list[0].name, "cookie");
	assert_text(f.list[0].value, "c");
	fields_remove(&f, HEAD_COOKIE);
	assert_int_equal(f.count, 0);
}

static void the_number_of_fields_is_limited(void **state)
{
	struct fields f = { 0 }, copy;

	for (int i = 0; i < LIMIT_HEAD_FIELDS; i++)
		add(&f, "a", "b");
	assert_int_equal(fields_add(&f, &arena, BYTES_LIT("a"), BYTES_LIT("b")), E_LIMIT);
	assert_int_equal(f.count, LIMIT_HEAD_FIELDS);
	assert_int_equal(fields_copy(&copy, &f, &arena), 0);
	assert_int_equal(copy.count, LIMIT_HEAD_FIELDS);
}

static void a_copied_head_shares_nothing_with_the_first(void **state)
{
	char method[] = "GET", path[] = "/x", name[] = "X-A", value[] = "v";
	struct head from = { .method = bytes_str(method), .path = bytes_str(path), .status = 7 };
	struct head to;

	add(&from.fields, name, value);
	add(&from.fields, "empty", "");
	from.length = HEAD_LENGTH_KNOWN;
	from.content_length = 5;
	assert_int_equal(head_copy(&to, &from, &arena), 0);
	method[0] = path[0] = name[0] = value[0] = '?';
	assert_text(to.method, "GET");
	assert_text(to.path, "/x");
	assert_text(to.scheme, "");
	assert_text(to.fields.list[0].name, "X-A");
	assert_text(to.fields.list[0].value, "v");
	assert_text(to.fields.list[1].value, "");
	assert_int_equal(to.status, 7);
	assert_int_equal(to.content_length, 5);
}

static void names_are_written_as_go_writes_them(void **state)
{
	static const char *const cases[][2] = {
		{ "x-forwarded-for", "X-Forwarded-For" },
		{ "SEC-WEBSOCKET-KEY", "Sec-Websocket-Key" },
		{ "a", "A" },
		{ "-a--b", "-A--B" },
		{ "x_y-z", "X_y-Z" },
		{ "1a-2b", "1a-2b" },
		{ "bad name", "bad name" },
		{ "bad:name", "bad:name" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t dst[32];
		struct bytes name = bytes_str(cases[i][0]);
		head_name_canonical(name, dst);
		assert_text(bytes_of(dst, name.len), cases[i][1]);
	}
	head_name_canonical(BYTES_NONE, NULL);
}

static void lists_of_tokens_are_searched_without_case(void **state)
{
	struct bytes token = BYTES_LIT("upgrade");

	assert_true(head_value_has_token(BYTES_LIT("Upgrade"), token));
	assert_true(head_value_has_token(BYTES_LIT("keep-alive,\t Upgrade , x"), token));
	assert_false(head_value_has_token(BYTES_LIT("upgrades, up grade"), token));
	assert_false(head_value_has_token(BYTES_NONE, token));
	assert_false(head_value_has_token(BYTES_LIT(",,"), token));
}

static void what_concerns_one_hop_is_stripped(void **state)
{
	struct head h = { 0 };
	struct fields *f = &h.fields;

	add(f, "Accept", "*/*");
	add(f, "X-Named", "1");
	add(f, "Connection", "keep-alive, X-Named, , connection, TE");
	add(f, "Keep-Alive", "timeout=5");
	add(f, "Proxy-Connection", "keep-alive");
	add(f, "Proxy-Authorization", "x");
	add(f, "Proxy-Authenticate", "x");
	add(f, "TE", "deflate");
	add(f, "te", "gzip, Trailers");
	add(f, "Transfer-Encoding", "chunked");
	add(f, "Upgrade", "websocket");
	add(f, "HTTP2-Settings", "AA");
	add(f, "x-named", "2");
	add(f, "X-Also", "3");
	add(f, "connection", "x-also");
	add(f, "Cookie", "c");
	head_strip_hop_by_hop(&h);
	assert_int_equal(f->count, 3);
	assert_text(f->list[0].name, "Accept");
	assert_text(f->list[1].value, "trailers");
	assert_int_equal(f->list[1].token, HEAD_TE);
	assert_text(f->list[2].name, "Cookie");
	head_strip_hop_by_hop(&h);
	assert_int_equal(f->count, 3);
}

static void te_without_trailers_is_stripped(void **state)
{
	struct head h = { 0 };

	add(&h.fields, "TE", "gzip");
	head_strip_hop_by_hop(&h);
	assert_int_equal(h.fields.count, 0);
}

static void hosts_lose_port_dot_and_case(void **state)
{
	assert_text(head_host(BYTES_LIT("App.Example.COM:8443"), &arena), "app.example.com");
	assert_text(head_host(BYTES_LIT("a.b."), &arena), "a.b");
	assert_text(head_host(BYTES_LIT("a.b.:80"), &arena), "a.b");
	assert_text(head_host(BYTES_LIT("[::1]:80"), &arena), "[::1]");
	assert_text(head_host(BYTES_LIT("[2001:DB8::1]"), &arena), "[2001:db8::1]");
	assert_text(head_host(BYTES_LIT("[::1"), &arena), "[::1");
	assert_text(head_host(BYTES_LIT(":80"), &arena), "");
	assert_text(head_host(BYTES_LIT("."), &arena), "");
	assert_text(head_host(BYTES_NONE, &arena), "");
}

static void reasons_are_known_for_registered_codes_only(void **state)
{
	assert_string_equal(head_reason(200), "OK");
	assert_string_equal(head_reason(404), "Not Found");
	assert_string_equal(head_reason(101), "Switching Protocols");
	assert_string_equal(head_reason(530), "");
	assert_string_equal(head_reason(0), "");
	assert_string_equal(head_reason(-1), "");
	assert_string_equal(head_reason(600), "");
	assert_string_equal(head_reason(999), "");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_known_name_is_found_in_any_case),
		CASE(names_and_values_are_judged_by_their_bytes),
		CASE(fields_are_added_found_replaced_and_removed),
		CASE(the_number_of_fields_is_limited),
		CASE(a_copied_head_shares_nothing_with_the_first),
		CASE(names_are_written_as_go_writes_them),
		CASE(lists_of_tokens_are_searched_without_case),
		CASE(what_concerns_one_hop_is_stripped),
		CASE(te_without_trailers_is_stripped),
		CASE(hosts_lose_port_dot_and_case),
		CASE(reasons_are_known_for_registered_codes_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
