#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "connector/access/refusal.h"
#include "connector/access/target.h"

static struct arena arena;

static int start(void **state)
{
	arena_init(&arena);
	return 0;
}

static int stop(void **state)
{
	arena_done(&arena);
	return 0;
}

static void assert_text(struct bytes b, const char *want)
{
	char text[600];

	snprintf(text, sizeof(text), BYTES_FMT, BYTES_ARG(b));
	assert_string_equal(text, want);
}

/* --- Hostnames ------------------------------------------------------------------------------- */

static void hostnames_are_read_as_people_write_them(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
		const char *path;
	} cases[] = {
		{ "h.example.com", "h.example.com", 443, "/" },
		{ "H.Example.COM", "h.example.com", 443, "/" },
		{ "h.example.com:8443", "h.example.com", 8443, "/" },
		{ "https://h.example.com", "h.example.com", 443, "/" },
		{ "http://h.example.com/", "h.example.com", 443, "/" },
		{ "HTTPS://h.example.com:1/a/b?c=d#e", "h.example.com", 1, "/a/b?c=d" },
		{ "h.example.com?x", "h.example.com", 443, "/?x" },
		{ "127.0.0.1", "127.0.0.1", 443, "/" },
		{ "::1", "::1", 443, "/" },
		{ "[::1]", "::1", 443, "/" },
		{ "[::1]:9", "::1", 9, "/" },
		{ "b\xc3\xbc"
		  "cher.example",
		  "xn--bcher-kva.example", 443, "/" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct bytes host, path;
		uint16_t port;
		struct err err;
		if (access_parse_hostname(&arena, cases[i].text, &host, &port, &path, &err) < 0)
			fail_msg("%s: %s", cases[i].text, err.text);
		assert_text(host, cases[i].host);
		assert_int_equal(port, cases[i].port);
		assert_text(path, cases[i].path);
	}
}

static void what_is_no_hostname_is_refused(void **state)
{
	static const char *const wrong[] = {
		"",      "https://", "/path",  "h:0",        "h:65536",       "h:x",
		"a b",   "a\r\nb",   "user@h", "h/\r\nX: y", "[::1",          "a,b",
		"a:b:c", "\xff\xfe", "h/\x7f", "ftp://h",    "h/caf\xc3\xa9",
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct bytes host, path;
		uint16_t port;
		struct err err = { 0 };
		if (access_parse_hostname(&arena, wrong[i], &host, &port, &path, &err) == 0)
			fail_msg("\"%s\" was taken", wrong[i]);
		assert_int_equal(err.code, E_INVALID);
	}
}

/* --- The request ----------------------------------------------------------------------------- */

static struct access_target target;

static struct access_options options_of(const char *hostname)
{
	return (struct access_options){ .program = "adit", .hostname = hostname };
}

static void fill(const struct access_options *o)
{
	struct err err = { 0 };

	if (access_target_init(&target, o, &err) < 0)
		fail_msg("%s", err.text);
}

static void assert_field(const char *name, const char *value)
{
	const struct field *f = fields_find_text(&target.request.fields, bytes_str(name));

	if (!value) {
		assert_null(f);
		return;
	}
	if (!f)
		fail_msg("there is no %s", name);
	assert_text(f->value, value);
}

static void the_request_says_who_asks_and_what_for(void **state)
{
	struct access_options o = options_of("h.example.com:8443");

	o.destination = "10.0.0.1:22";
	o.token_id = "id.access";
	o.token_secret = "s3cret";
	fill(&o);
	assert_text(target.request.authority, "h.example.com:8443");
	assert_text(target.server_name, "h.example.com");
	assert_field("Cf-Access-Client-Id", "id.access");
	assert_field("Cf-Access-Client-Secret", "s3cret");
	assert_field("Cf-Access-Jump-Destination", "10.0.0.1:22");
	assert_field("User-Agent", "adit/" ADIT_VERSION);
	assert_field("Adit-Half-Close", "1");
	assert_field("Accept", "application/json");
	access_target_done(&target);
}

static void headers_are_added_but_not_those_of_the_handshake(void **state)
{
	char *headers[] = {
		(char *)"X-One: a, b",     (char *)"x-two:c",
		(char *)"Upgrade: h2c",    (char *)"Sec-WebSocket-Key: mine",
		(char *)"Host: elsewhere", (char *)"User-Agent: other",
		(char *)"Accept: text/x",
	};
	struct access_options o = options_of("h.example.com");

	o.headers = headers;
	o.header_count = ARRAY_LEN(headers);
	fill(&o);
	assert_field("X-One", "a, b");
	assert_field("X-Two", "c");
	assert_field("Upgrade", NULL);
	assert_field("Sec-WebSocket-Key", NULL);
	assert_field("Host", NULL);
	assert_field("User-Agent", "adit/" ADIT_VERSION);
	assert_field("Accept", "text/x");
	access_target_done(&target);
}

static void headers_that_break_a_request_are_refused_without_their_value(void **state)
{
	static const char *const wrong[] = { "no colon", "bad name: s3cret", ": s3cret",
					     "X: s3cret\r\nY: z" };

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		char *headers[] = { (char *)wrong[i] };
		struct access_options o = options_of("h.example.com");
		struct err err = { 0 };
		o.headers = headers;
		o.header_count = 1;
		assert_int_equal(access_target_init(&target, &o, &err), E_INVALID);
		assert_null(strstr(err.text, "s3cret"));
	}
}

static void more_headers_than_fit_are_refused(void **state)
{
	char *headers[300];
	struct access_options o = options_of("h.example.com");
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		headers[i] = (char *)"X: y";
	o.headers = headers;
	o.header_count = ARRAY_LEN(headers);
	assert_int_equal(access_target_init(&target, &o, &err), E_LIMIT);
}

static void a_secret_with_a_line_end_is_refused(void **state)
{
	struct access_options o = options_of("h.example.com");
	struct err err = { 0 };

	o.token_secret = "s3cret\r\nX: y";
	assert_int_equal(access_target_init(&target, &o, &err), E_INVALID);
	assert_null(strstr(err.text, "s3cret"));
}

static void a_private_network_is_asked_for_with_the_token_of_the_account(void **state)
{
	char *headers[] = { (char *)"Authorization: Bearer mine",
			    (char *)"Adit-Virtual-Network: mine" };
	struct access_options o = options_of("https://adit.example.com:8443/client/v4");

	o.destination = "10.0.0.5:5432";
	o.api_token = BYTES_LIT("t0ken");
	o.vnet = "lab";
	o.headers = headers;
	o.header_count = ARRAY_LEN(headers);
	fill(&o);
	assert_text(target.request.path, "/cdn-cgi/adit/tcp");
	assert_text(target.request.authority, "adit.example.com:8443");
	assert_field("Authorization", "Bearer t0ken");
	assert_field("Adit-Virtual-Network", "lab");
	assert_field("Cf-Access-Jump-Destination", "10.0.0.5:5432");
	access_target_done(&target);

	/* Behind a bastion names are fine, and nobody learns of the token. */
	o.api_token = BYTES_NONE;
	o.destination = "db.internal:5432";
	o.header_count = 0;
	fill(&o);
	assert_text(target.request.path, "/client/v4");
	assert_null(fields_find_text(&target.request.fields, BYTES_LIT("Authorization")));
	assert_null(fields_find_text(&target.request.fields, BYTES_LIT("Adit-Virtual-Network")));
	access_target_done(&target);
}

static void names_in_a_private_network_are_refused(void **state)
{
	static const char *const bad[] = { "db.internal:5432", "10.0.0.5", "10.0.0.5:0",
					   "fd00::1:22" };
	struct access_options o = options_of("adit.example.com");

	o.api_token = BYTES_LIT("t0ken");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };
		o.destination = bad[i];
		assert_int_equal(access_target_init(&target, &o, &err), E_INVALID);
		assert_non_null(strstr(err.text, "IP address and port"));
		assert_null(strstr(err.text, "t0ken"));
	}
}

static void the_same_host_is_known_in_any_spelling(void **state)
{
	const char *api = "https://adit.example.com:8443/client/v4";

	assert_true(access_is_same_host("adit.example.com:8443", api));
	assert_true(access_is_same_host("https://ADIT.example.com:8443/x", api));
	assert_true(access_is_same_host("adit.example.com", "https://adit.example.com/client/v4"));
	/* Another port is another server: the token must not go there. */
	assert_false(access_is_same_host("adit.example.com", api));
	assert_false(access_is_same_host("adit.example.com.evil.test:8443", api));
	assert_false(access_is_same_host("evil.test:8443", api));
	assert_false(access_is_same_host("", api));
}

static void another_place_is_still_verified(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
		const char *name;
	} cases[] = {
		{ "127.0.0.1", "127.0.0.1", 443, "h.example.com" },
		{ "127.0.0.1:7000", "127.0.0.1", 7000, "h.example.com" },
		{ "[::1]:7000", "::1", 7000, "h.example.com" },
		{ "::1", "::1", 443, "h.example.com" },
		{ "sni.example:7000:127.0.0.1", "127.0.0.1", 7000, "sni.example" },
		{ "sni.example:7000:[::1]", "::1", 7000, "sni.example" },
		{ "sni.example:7000:::1", "::1", 7000, "sni.example" },
	};
	static const char *const wrong[] = { "a:b", "a:b:c", "s:1:h:2", ":", "s:70000:h", "s:0:h" };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct access_options o = options_of("h.example.com");
		o.connect_to = cases[i].text;
		fill(&o);
		assert_text(target.connect_host, cases[i].host);
		assert_int_equal(target.connect_port, cases[i].port);
		assert_text(target.server_name, cases[i].name);
		assert_text(target.request.authority, "h.example.com");
		access_target_done(&target);
	}
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct access_options o = options_of("h.example.com");
		struct err err = { 0 };
		o.connect_to = wrong[i];
		if (access_target_init(&target, &o, &err) != E_INVALID)
			fail_msg("\"%s\" was taken", wrong[i]);
	}
}

/* --- Proxies --------------------------------------------------------------------------------- */

static void no_proxy_decides_who_is_reached_directly(void **state)
{
	static const struct {
		const char *no_proxy, *host;
		bool is_direct;
	} cases[] = {
		{ "", "h.example.com", false },
		{ "*", "h.example.com", true },
		{ "example.com", "h.example.com", true },
		{ "example.com", "example.com", true },
		{ "example.com", "badexample.com", false },
		{ ".example.com", "h.example.com", true },
		{ ".example.com", "example.com", false },
		{ "*.example.com", "h.example.com", true },
		{ "EXAMPLE.com", "h.example.com", true },
		{ "other, example.com", "h.example.com", true },
		{ "example.com:443", "h.example.com", true },
		{ "example.com:8443", "h.example.com", false },
		{ "10.0.0.0/8", "10.1.2.3", true },
		{ "10.0.0.0/8", "11.1.2.3", false },
		{ "10.0.0.0/9", "10.128.0.1", false },
		{ "10.0.0.0/33", "10.1.2.3", false },
		{ "10.1.2.3", "10.1.2.3", true },
		{ "0.0.0.0/0", "10.1.2.3", true },
		{ "fd00::/8", "fd12::1", true },
		{ "fd12::1", "fd12::1", true },
		{ "", "localhost", true },
		{ "", "127.0.0.5", true },
		{ "", "::1", true },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct proxy proxy;
		int r = proxy_choose(&arena, "http://p:3128", cases[i].no_proxy,
				     bytes_str(cases[i].host), 443, &proxy, NULL);
		if (r != !cases[i].is_direct)
			fail_msg("NO_PROXY=%s %s: %d", cases[i].no_proxy, cases[i].host, r);
	}
}

static void a_proxy_is_read_from_its_url(void **state)
{
	static const struct {
		const char *url, *host;
		uint16_t port;
		const char *authorization;
	} cases[] = {
		{ "http://p.example:3128", "p.example", 3128, "" },
		{ "p.example:3128", "p.example", 3128, "" },
		{ "http://p.example", "p.example", 80, "" },
		{ "http://p.example:3128/", "p.example", 3128, "" },
		{ "http://[fd00::1]:3128", "fd00::1", 3128, "" },
		{ "http://user:p%40ss@p.example:3128", "p.example", 3128, "Basic dXNlcjpwQHNz" },
	};
	static const char *const wrong[] = { "http://",
					     "http://:3128",
					     "http://p:x",
					     "http://a%zz@p:1",
					     "https://u:s3cret@p:443",
					     "socks5://p:1080",
					     "http://u:s3cret@p:99999" };
	struct proxy proxy;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(proxy_choose(&arena, cases[i].url, NULL, BYTES_LIT("h.example"),
					      443, &proxy, NULL),
				 1);
		assert_text(proxy.host, cases[i].host);
		assert_int_equal(proxy.port, cases[i].port);
		assert_text(proxy.authorization, cases[i].authorization);
	}
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct err err = { 0 };
		if (proxy_choose(&arena, wrong[i], NULL, BYTES_LIT("h.example"), 443, &proxy,
				 &err) >= 0)
			fail_msg("\"%s\" was taken", wrong[i]);
		assert_null(strstr(err.text, "s3cret"));
	}
}

/* --- Refusals -------------------------------------------------------------------------------- */

static const char *explain(int status, const char *name, const char *value, const char *body)
{
	static struct err err;
	struct head head = { .status = status };

	if (name)
		assert_int_equal(
			fields_add(&head.fields, &arena, bytes_str(name), bytes_str(value)), 0);
	refusal_explain(&head, bytes_str(body), BYTES_LIT("h.example"), &err);
	return err.text;
}

static void assert_says(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void refusals_say_what_to_do(void **state)
{
	assert_says(explain(302, "Location", "https://t.example/cdn-cgi/access/login/h?s=state", ""),
		    "service token");
	assert_null(strstr(explain(302, "Location", "https://t/cdn-cgi/access/login?s=state", ""),
			   "state"));
	assert_says(explain(301, "Location", "https://other.example/", ""),
		    "\"https://other.example/\"");
	assert_says(explain(403, NULL, NULL, ""), "service token");
	assert_says(explain(200, "Content-Type", "text/html", "<html>"), "web site");
	assert_says(explain(530, "Content-Type", "text/plain", "error code: 1033\r\nmore"),
		    "error code: 1033");
	const char *text =
		explain(502, "Content-Type", "application/json",
			"{\"error\":\"Service unreachable\",\"detail\":\"connect: refused\","
			"\"hop\":\"origin\",\"code\":7}");
	assert_says(text, "h.example answered 502, code 7: Service unreachable");
	assert_says(text, "at the origin hop");
	assert_says(text, "connect: refused");
}

static void nothing_a_terminal_obeys_passes(void **state)
{
	const char *const texts[] = {
		explain(502, NULL, NULL, "{\"error\":\"a\\u001b[31m\",\"detail\":\"\\u009b1m\"}"),
		explain(502, "Content-Type", "text/plain", "a\x1b[31mb"),
		explain(301, "Location", "https://x\x1b[2J", ""),
		explain(502, NULL, NULL, "{\"error\":1,\"detail\":[]}"),
		explain(502, NULL, NULL, "{\"error\":"),
		explain(999, NULL, NULL, "[]"),
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		for (const char *at = texts[i]; *at; at++)
			assert_true(*at >= ' ' && *at < 0x7f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hostnames_are_read_as_people_write_them),
		TEST(what_is_no_hostname_is_refused),
		TEST(the_request_says_who_asks_and_what_for),
		TEST(headers_are_added_but_not_those_of_the_handshake),
		TEST(headers_that_break_a_request_are_refused_without_their_value),
		TEST(more_headers_than_fit_are_refused),
		TEST(a_secret_with_a_line_end_is_refused),
		TEST(a_private_network_is_asked_for_with_the_token_of_the_account),
		TEST(names_in_a_private_network_are_refused),
		TEST(the_same_host_is_known_in_any_spelling),
		TEST(another_place_is_still_verified),
		TEST(no_proxy_decides_who_is_reached_directly),
		TEST(a_proxy_is_read_from_its_url),
		TEST(refusals_say_what_to_do),
		TEST(nothing_a_terminal_obeys_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
