#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/mem.h"
#include "connector/ingress/ingress.h"

static struct ingress *load(const char *text, enum ingress_form form, struct err *err, int *ret_line)
{
	struct yaml_doc *doc = yaml_parse(bytes_str(text), "config.yml", err);
	const struct yaml_node *place = NULL;

	if (!doc)
		return NULL;
	struct ingress *in = ingress_parse(yaml_root(doc), form, &place, err);
	if (ret_line)
		*ret_line = place ? yaml_line(place) : 0;
	yaml_free(doc);
	return in;
}

static struct ingress *good(const char *text)
{
	struct err err = { 0 };
	struct ingress *in = load(text, INGRESS_YAML, &err, NULL);

	if (!in)
		fail_msg("%s", err.text);
	return in;
}

static void assert_refused(const char *text, int line, const char *expected)
{
	struct err err = { 0 };
	int at = 0;
	struct ingress *in = load(text, INGRESS_YAML, &err, &at);

	assert_null(in);
	assert_string_equal(err.text, expected);
	assert_int_equal(at, line);
}

#define CATCH_ALL "- service: http_status:404\n"

/* ------------------------------------------------------------------------------------------ */

static void refuses_a_file_without_rules(void **state)
{
	static const char none[] = "The config file doesn't contain any ingress rules";

	assert_refused("tunnel: x\n", 0, none);
	assert_refused("", 0, none);
	assert_refused("ingress:\n", 1, none);
	assert_refused("ingress: []\n", 1, none);
	assert_refused("ingress: 5\n", 1, "config.yml:1:10: ingress is not a list of rules");
	assert_refused("- a\n", 1, "config.yml:1:1: the configuration is not a map");
}

static void refuses_a_last_rule_that_is_no_catch_all(void **state)
{
	static const char text[] =
		"The last ingress rule must match all URLs (i.e. it should not have a "
		"hostname or path filter)";

	assert_refused("ingress:\n- hostname: a.com\n  service: http://x\n", 2, text);
	assert_refused("ingress:\n- path: /a\n  service: http://x\n", 2, text);
}

static void refuses_an_early_catch_all(void **state)
{
	assert_refused(
		"ingress:\n- service: http://x\n" CATCH_ALL, 2,
		"Rule #1 is matching the hostname '', but this will match every hostname, meaning "
		"the rules which follow it will never be triggered.");
	assert_refused(
		"ingress:\n- {hostname: a, service: 'http://x'}\n- hostname: '*'\n  service: "
		"http://x\n" CATCH_ALL,
		3,
		"Rule #2 is matching the hostname '*', but this will match every hostname, meaning "
		"the rules which follow it will never be triggered.");
}

static void refuses_bad_hostnames(void **state)
{
	static const char wildcard[] =
		"Hostname patterns can have at most one wildcard character (\"*\") "
		"and it can only be used for subdomains, e.g. \"*.example.com\"";

	assert_refused("ingress:\n- hostname: a.*.com\n  service: http://x\n" CATCH_ALL, 2,
		       wildcard);
	assert_refused("ingress:\n- hostname: '*.*.com'\n  service: http://x\n" CATCH_ALL, 2,
		       wildcard);
	assert_refused("ingress:\n- hostname: a.com:80\n  service: http://x\n" CATCH_ALL, 2,
		       "Hostname cannot contain a port");
	/* As the stock connector: accepted, and never matched. */
	ingress_unref(good("ingress:\n- hostname: '*foo.com'\n  service: http://x\n" CATCH_ALL));
}

static void refuses_bad_path_expressions(void **state)
{
	assert_refused(
		"ingress:\n- path: '*'\n  service: http://x\n" CATCH_ALL, 2,
		"Rule #1 has an invalid regex: error parsing regexp: missing argument to repetition "
		"operator: `*`");
	assert_refused(
		"ingress:\n- path: '(a'\n  service: http://x\n" CATCH_ALL, 2,
		"Rule #1 has an invalid regex: error parsing regexp: missing closing ): `(a`");
}

static void refuses_bad_services(void **state)
{
	static const struct {
		const char *service, *text;
	} cases[] = {
		{ "localhost",
		  "localhost is an invalid address, please make sure it has a scheme and a hostname" },
		{ "localhost:8080",
		  "localhost:8080 is an invalid address, please make sure it has a scheme and a hostname" },
		{ "http://",
		  "http:// is an invalid address, please make sure it has a scheme and a hostname" },
		{ "//host",
		  "//host is an invalid address, please make sure it has a scheme and a hostname" },
		{ "''", " is an invalid address, please make sure it has a scheme and a hostname" },
		{ "http://x/",
		  "http://x/ is an invalid address, ingress rules don't support proxying to a "
		  "different path on the origin service. The path will be the same as the "
		  "eyeball request's path" },
		{ "http://x:1/a?b",
		  "http://x:1/a?b is an invalid address, ingress rules don't support proxying to a "
		  "different path on the origin service. The path will be the same as the "
		  "eyeball request's path" },
		{ "http://x:abc", "parse \"http://x:abc\": invalid port \":abc\" after host" },
		{ "http://x:99999", "parse \"http://x:99999\": invalid port \":99999\" after host" },
		{ "'http://a b'", "parse \"http://a b\": invalid character \" \" in host name" },
		{ "http_status:1000", "invalid HTTP status code: 1000" },
		{ "http_status:99", "invalid HTTP status code: 99" },
		{ "http_status:-5", "invalid HTTP status code: -5" },
		{ "http_status:abc",
		  "invalid HTTP status code: strconv.Atoi: parsing \"abc\": invalid syntax" },
		{ "'http_status:'",
		  "invalid HTTP status code: strconv.Atoi: parsing \"\": invalid syntax" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[256];
		snprintf(text, sizeof(text), "ingress:\n- service: %s\n", cases[i].service);
		assert_refused(text, 2, cases[i].text);
	}
	assert_refused("ingress:\n- hostname: a.com\n" CATCH_ALL, 2,
		       " is an invalid address, please make sure it has a scheme and a hostname");
}

static void refuses_bad_ip_rules_and_access(void **state)
{
	static const char form[] =
		"ingress:\n- service: socks-proxy\n  originRequest:\n    ipRules:\n%s";
	static const struct {
		const char *rules, *text;
	} cases[] = {
		{ "    - prefix: bad\n",
		  "unable to create ip rule for socks-proxy: unable to parse cidr: bad" },
		{ "    - prefix: 1.2.3.4\n",
		  "unable to create ip rule for socks-proxy: unable to parse cidr: 1.2.3.4" },
		{ "    - prefix: 1.2.3.0/33\n",
		  "unable to create ip rule for socks-proxy: unable to parse cidr: 1.2.3.0/33" },
		{ "    - ports: [1]\n",
		  "unable to create ip rule for socks-proxy: no prefix provided" },
		{ "    - {prefix: '::/0', ports: [0]}\n",
		  "unable to create ip rule for socks-proxy: invalid port 0, needs to be between 1 and 65535" },
	};
	char text[512];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(text, sizeof(text), form, cases[i].rules);
		assert_refused(text, 5, cases[i].text);
	}
	assert_refused(
		"ingress:\n- service: http://x\n  originRequest:\n    access:\n      required: true\n"
		"      audTag: [a]\n",
		5, "access.TeamName cannot be blank when access.audTags are present");
}

static void wrong_types_name_their_place(void **state)
{
	assert_refused("ingress:\n- service: http://x\n  originRequest:\n    connectTimeout: 5\n",
		       4, "config.yml:4:21: cannot unmarshal !!int `5` into time.Duration");
	assert_refused("originRequest: {noTLSVerify: 1}\ningress:\n" CATCH_ALL, 1,
		       "config.yml:1:30: expected boolean found int");
	assert_refused("originRequest: {keepAliveConnections: -1}\ningress:\n" CATCH_ALL, 1,
		       "config.yml:1:39: -1 is out of range, 0 to 100000 are allowed");
	assert_refused(
		"originRequest: {httpHostHeader: \"a\\r\\nb\"}\ningress:\n" CATCH_ALL, 1,
		"config.yml:1:33: originRequest.httpHostHeader holds a blank or a control byte");
	assert_refused("originRequest: [a]\ningress:\n" CATCH_ALL, 1,
		       "config.yml:1:16: originRequest is not a map");
	assert_refused("ingress:\n- hostname: [a]\n  service: http://x\n" CATCH_ALL, 2,
		       "config.yml:2:13: expected string found list");
	assert_refused(
		"ingress:\n- just text\n", 2,
		"config.yml:2:3: an ingress rule is a map of hostname, path, service and originRequest");
}

/* ------------------------------------------------------------------------------------------ */

static void reads_every_kind_of_service(void **state)
{
	static const struct {
		const char *text;
		enum ingress_kind kind;
		const char *service, *scheme, *host;
		uint16_t port;
		bool is_tls, is_served;
	} cases[] = {
		{ "http://localhost:3000", INGRESS_HTTP, "http://localhost:3000", "http",
		  "localhost", 3000, false, true },
		{ "HTTPS://[::1]", INGRESS_HTTP, "https://[::1]", "https", "::1", 443, true, true },
		{ "ws://a", INGRESS_HTTP, "ws://a", "ws", "a", 80, false, true },
		{ "wss://a:1", INGRESS_HTTP, "wss://a:1", "wss", "a", 1, true, true },
		{ "unix:/run/a.sock", INGRESS_UNIX, "unix:/run/a.sock", "unix", "", 0, false, true },
		{ "unix+tls:/a", INGRESS_UNIX, "unix+tls:/a", "unix+tls", "", 0, true, true },
		{ "http_status:404", INGRESS_STATUS, "http_status:404", "", "", 0, false, true },
		{ "hello-world", INGRESS_HELLO_WORLD, "hello_world", "", "", 0, false, false },
		{ "bastion", INGRESS_BASTION, "bastion", "", "", 0, false, false },
		{ "socks-proxy", INGRESS_SOCKS, "socks-proxy", "", "", 0, false, false },
		{ "ssh://localhost", INGRESS_TCP, "ssh://localhost:22", "ssh", "localhost", 22,
		  false, false },
		{ "rdp://h", INGRESS_TCP, "rdp://h:3389", "rdp", "h", 3389, false, false },
		{ "smb://h", INGRESS_TCP, "smb://h:445", "smb", "h", 445, false, false },
		{ "tcp://h", INGRESS_TCP, "tcp://h:7864", "tcp", "h", 7864, false, false },
		{ "tcp://[fe80::1]:9", INGRESS_TCP, "tcp://[fe80::1]:9", "tcp", "fe80::1", 9, false,
		  false },
		{ "foo://h", INGRESS_TCP, "foo://h", "foo", "h", 0, false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[256];
		snprintf(text, sizeof(text), "ingress:\n- service: %s\n", cases[i].text);
		struct ingress *in = good(text);
		const struct ingress_rule *rule = ingress_rule(in, 0);

		assert_int_equal(rule->kind, cases[i].kind);
		assert_string_equal(rule->service, cases[i].service);
		assert_string_equal(rule->scheme, cases[i].scheme);
		assert_string_equal(rule->host, cases[i].host);
		assert_int_equal(rule->port, cases[i].port);
		assert_int_equal(rule->is_tls, cases[i].is_tls);
		assert_int_equal(rule->unserved_reason == NULL, cases[i].is_served);
		assert_int_equal(ingress_warning_count(in), !cases[i].is_served);
		assert_string_equal(rule->label, "*");
		ingress_unref(in);
	}
}

static void a_password_in_a_service_is_shown_to_nobody(void **state)
{
	struct ingress *in = good("ingress:\n- service: http://me:secret@h:1?q=1\n");

	assert_string_equal(ingress_rule(in, 0)->service, "http://h:1");
	assert_string_equal(ingress_rule(in, 0)->host, "h");
	assert_int_equal(ingress_warning_count(in), 1);
	assert_string_equal(
		ingress_warning(in, 0),
		"The service http://h:1 is used without its user name, query and fragment");
	ingress_unref(in);
}

static void options_come_from_rule_then_top_then_built_in(void **state)
{
	struct ingress *in = good(
		"originRequest:\n  connectTimeout: 5s\n  noTLSVerify: true\n"
		"  httpHostHeader: top.example.com\n  caPool: /etc/ca.pem\n  tcpKeepAlive: 0s\n"
		"ingress:\n"
		"- hostname: a.com\n  service: https://x\n"
		"  originRequest: {connectTimeout: 1m30s, noTLSVerify: false, "
		"httpHostHeader: '', originServerName: o.example.com, "
		"keepAliveConnections: 7, keepAliveTimeout: 1m, tlsTimeout: 250ms, "
		"noHappyEyeballs: true, disableChunkedEncoding: yes}\n" CATCH_ALL);
	const struct ingress_origin *a = &ingress_rule(in, 0)->origin,
				    *b = &ingress_rule(in, 1)->origin;

	assert_int_equal(a->connect_timeout, 90 * USEC_PER_SEC);
	assert_int_equal(a->tls_timeout, 250 * USEC_PER_MSEC);
	assert_int_equal(a->tcp_keepalive, 0);
	assert_int_equal(a->keepalive_timeout, 60 * USEC_PER_SEC);
	assert_int_equal(a->keepalive_connections, 7);
	assert_true(a->no_happy_eyeballs);
	assert_true(a->disable_chunked_encoding);
	assert_false(a->no_tls_verify);
	assert_null(a->http_host_header);
	assert_string_equal(a->origin_server_name, "o.example.com");
	assert_string_equal(a->ca_pool, "/etc/ca.pem");
	assert_int_equal(b->connect_timeout, 5 * USEC_PER_SEC);
	assert_int_equal(b->tls_timeout, 10 * USEC_PER_SEC);
	assert_int_equal(b->keepalive_timeout, 90 * USEC_PER_SEC);
	assert_int_equal(b->keepalive_connections, 100);
	assert_true(b->no_tls_verify);
	assert_string_equal(b->http_host_header, "top.example.com");
	assert_null(b->origin_server_name);
	assert_int_equal(ingress_warning_count(in), 0);
	ingress_unref(in);
}

static void what_has_no_effect_is_told_once(void **state)
{
	struct ingress *in = good(
		"originRequest: {http2Origin: true, matchSNItoHost: false, proxyPort: 0}\n"
		"ingress:\n"
		"- hostname: a.com\n  service: https://x\n"
		"  originRequest: {http2Origin: true, matchSNItoHost: true, proxyType: socks}\n"
		"- hostname: ssh.example.com\n  path: ^/x\n  service: ssh://localhost\n" CATCH_ALL);
	static const char *const texts[] = {
		"originRequest.http2Origin is not supported yet and has no effect",
		"originRequest.matchSNItoHost is not supported yet and has no effect",
		"originRequest.proxyType is not supported yet and has no effect",
		"Rule #2 (ssh.example.com ^/x) will be answered with 502: the service ssh://localhost:22 needs "
		"TCP streams, which this version does not carry",
	};

	assert_int_equal(ingress_warning_count(in), ARRAY_LEN(texts));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_string_equal(ingress_warning(in, i), texts[i]);
	ingress_unref(in);
}

static void a_service_that_access_must_guard_is_not_served_without(void **state)
{
	struct ingress *in =
		good("originRequest:\n  access: {required: true, teamName: t, audTag: [x]}\n"
		     "ingress:\n"
		     "- hostname: a.com\n  service: http://x\n"
		     "  originRequest: {access: {required: false}}\n"
		     "- service: http://y\n");

	assert_null(ingress_rule(in, 0)->unserved_reason);
	assert_non_null(ingress_rule(in, 1)->unserved_reason);
	ingress_unref(in);
}

static void unknown_keys_are_listed_with_their_lines(void **state)
{
	struct ingress *in =
		good("originRequest:\n  bogus: 1\ningress:\n- hostname: a.com\n"
		     "  service: http://x\n  prot: 80\n  originRequest:\n    noTlsVerify: true\n"
		     "    access: {team: x}\n" CATCH_ALL);
	static const char *const texts[] = {
		"line 2: field bogus not found in type originRequest",
		"line 6: field prot not found in type ingress rule",
		"line 8: field noTlsVerify not found in type originRequest",
		"line 9: field team not found in type access",
	};

	assert_int_equal(ingress_unknown_count(in), ARRAY_LEN(texts));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_string_equal(ingress_unknown(in, i), texts[i]);
	ingress_unref(in);
}

static void bastion_mode_wins_over_a_url(void **state)
{
	struct ingress *in =
		good("ingress:\n- service: http://x\n  originRequest: {bastionMode: true}\n");

	assert_int_equal(ingress_rule(in, 0)->kind, INGRESS_BASTION);
	ingress_unref(in);
}

/* ------------------------------------------------------------------------------------------ */

static void the_first_rule_that_fits_is_chosen(void **state)
{
	struct ingress *in = good("ingress:\n"
				  "- {hostname: app.example.com, path: ^/api, service: 'http://a'}\n"
				  "- {hostname: app.example.com, service: 'http://b'}\n"
				  "- {hostname: '*.example.com', service: 'http://c'}\n"
				  "- {path: '\\.(png|css)$', service: 'http://d'}\n"
				  "- {hostname: b\u00fccher.de, service: 'http://e'}\n"
				  "- {hostname: '*foo.com', service: 'http://f'}\n"
				  "- {hostname: '*', path: /any, service: 'http://g'}\n" CATCH_ALL);
	static const struct {
		const char *host, *path;
		size_t index;
	} cases[] = {
		{ "app.example.com", "/api/x", 0 },
		{ "app.example.com:8443", "/api/x", 0 },
		{ "APP.Example.COM", "/api", 0 },
		{ "app.example.com", "/x/api", 1 },
		{ "www.example.com", "/", 2 },
		{ "a.b.example.com", "/", 2 },
		{ "example.com", "/", 7 },
		{ "notexample.com", "/", 7 },
		{ "other.org", "/a.png", 3 },
		{ "other.org", "/a.png/", 7 },
		{ "xn--bcher-kva.de", "/", 4 },
		{ "b\u00fccher.de", "/", 4 },
		{ "barfoo.com", "/", 7 },
		{ "other.org", "/x/any/y", 6 },
		{ "[::1]:80", "/", 7 },
		{ "", "", 7 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t index = 99;
		const struct ingress_rule *rule = ingress_match(in, bytes_str(cases[i].host),
								bytes_str(cases[i].path), &index);
		assert_non_null(rule);
		if (index != cases[i].index)
			fail_msg("%s%s: %zu", cases[i].host, cases[i].path, index);
		assert_int_equal(rule->index, index);
	}
	assert_string_equal(ingress_rule(in, 0)->label, "app.example.com ^/api");
	assert_string_equal(ingress_rule(in, 3)->label, "* \\.(png|css)$");
	ingress_unref(in);
}

static void international_names_match_in_punycode(void **state)
{
	static const struct {
		const char *name, *puny;
	} cases[] = {
		{ "m\u00fcnchen.example", "xn--mnchen-3ya.example" },
		{ "\u4f8b\u3048.\u30c6\u30b9\u30c8", "xn--r8jz45g.xn--zckzah" },
		{ "*.\u043f\u0440\u0438\u043c\u0435\u0440.example", "a.xn--e1afmkfd.example" },
		{ "\U0001f600.example", "xn--e28h.example" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[256];
		size_t index;
		snprintf(text, sizeof(text),
			 "ingress:\n- hostname: '%s'\n  service: http://x\n" CATCH_ALL,
			 cases[i].name);
		struct ingress *in = good(text);
		ingress_match(in, bytes_str(cases[i].puny), BYTES_LIT("/"), &index);
		assert_int_equal(index, 0);
		ingress_unref(in);
	}
}

static void an_expression_that_takes_too_long_refuses_the_request(void **state)
{
	struct ingress *in = good("ingress:\n- {path: '(a+)+$', service: 'http://x'}\n" CATCH_ALL);
	char path[200];
	size_t index = 99;

	memset(path, 'a', sizeof(path));
	path[sizeof(path) - 1] = '!';
	assert_null(ingress_match(in, BYTES_LIT("h"), bytes_of(path, sizeof(path)), &index));
	assert_int_equal(index, 0);
	ingress_unref(in);
}

/* ------------------------------------------------------------------------------------------ */

static void reads_the_form_that_the_edge_pushes(void **state)
{
	struct err err = { 0 };
	struct ingress *in =
		load("{\"ingress\":[{\"hostname\":\"a.com\",\"service\":\"http://x\","
		     "\"originRequest\":{\"connectTimeout\":7}},{\"service\":\"http_status:404\"}],"
		     "\"originRequest\":{\"keepAliveTimeout\":1},\"warp-routing\":{}}",
		     INGRESS_JSON, &err, NULL);

	if (!in)
		fail_msg("%s", err.text);
	assert_int_equal(ingress_rule(in, 0)->origin.connect_timeout, 7 * USEC_PER_SEC);
	assert_int_equal(ingress_rule(in, 1)->origin.keepalive_timeout, USEC_PER_SEC);
	ingress_unref(in);
	assert_null(load(
		"{\"ingress\":[{\"service\":\"http://x\",\"originRequest\":{\"connectTimeout\":"
		"\"30s\"}}]}",
		INGRESS_JSON, &err, NULL));
	assert_null(load(
		"{\"ingress\":[{\"service\":\"http://x\",\"originRequest\":{\"connectTimeout\":1.5}}]}",
		INGRESS_JSON, &err, NULL));
}

static void writes_the_form_that_the_edge_reads(void **state)
{
	struct ingress *in = good(
		"originRequest: {connectTimeout: 10s}\ningress:\n"
		"- {hostname: a.com, path: /x, service: 'https://y', originRequest: {noTLSVerify: "
		"true, keepAliveConnections: 5, caPool: /c}}\n" CATCH_ALL);
	struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(ingress_write_json(in, &out), 0);
	char *text = buf_take_str(&out);
	assert_string_equal(
		text, "{\"ingress\":[{\"hostname\":\"a.com\",\"path\":\"/x\",\"service\":"
		      "\"https://y\",\"originRequest\":{\"connectTimeout\":10,"
		      "\"keepAliveConnections\":5,\"caPool\":\"/c\",\"noTLSVerify\":true}},"
		      "{\"service\":\"http_status:404\",\"originRequest\":{\"connectTimeout\":10}}],"
		      "\"warp-routing\":{}}");
	mem_free(text);
	buf_done(&out);
	buf_init(&out, 8);
	assert_int_equal(ingress_write_json(in, &out), E_LIMIT);
	buf_done(&out);
	ingress_unref(in);
}

static void a_single_origin_is_one_catch_all(void **state)
{
	static const struct {
		const char *url, *service;
	} cases[] = {
		{ "localhost:8080", "http://localhost:8080" },
		{ "https://h:1/path?q", "https://h:1" },
		{ "unix:/run/x", "unix:/run/x" },
		{ "hello_world", "hello_world" },
		{ "ssh://h", "ssh://h:22" },
	};
	struct ingress_origin origin;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ingress_origin_defaults(&origin);
		char header[] = "a.example.com";
		origin.http_host_header = header;
		struct ingress *in = ingress_single(cases[i].url, &origin, &err);
		assert_non_null(in);
		memset(header, 0, sizeof(header));
		assert_string_equal(ingress_rule(in, 0)->service, cases[i].service);
		assert_string_equal(ingress_rule(in, 0)->origin.http_host_header, "a.example.com");
		ingress_unref(in);
	}
	assert_null(ingress_single("", NULL, &err));
	struct ingress *none = ingress_none();
	const struct ingress_rule *rule = ingress_match(none, BYTES_LIT("x"), BYTES_LIT("/"), NULL);
	assert_int_equal(rule->status, 503);
	ingress_unref(none);
}

static void the_last_reference_frees(void **state)
{
	struct ingress *in = good("ingress:\n- {path: a, service: 'http://x'}\n" CATCH_ALL);
	struct ingress *second = ingress_ref(in);

	assert_ptr_equal(in, second);
	assert_null(ingress_unref(in));
	assert_int_equal(ingress_count(second), 2);
	assert_null(ingress_unref(second));
	assert_null(ingress_unref(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_a_file_without_rules),
		cmocka_unit_test(refuses_a_last_rule_that_is_no_catch_all),
		cmocka_unit_test(refuses_an_early_catch_all),
		cmocka_unit_test(refuses_bad_hostnames),
		cmocka_unit_test(refuses_bad_path_expressions),
		cmocka_unit_test(refuses_bad_services),
		cmocka_unit_test(refuses_bad_ip_rules_and_access),
		cmocka_unit_test(wrong_types_name_their_place),
		cmocka_unit_test(reads_every_kind_of_service),
		cmocka_unit_test(a_password_in_a_service_is_shown_to_nobody),
		cmocka_unit_test(options_come_from_rule_then_top_then_built_in),
		cmocka_unit_test(what_has_no_effect_is_told_once),
		cmocka_unit_test(a_service_that_access_must_guard_is_not_served_without),
		cmocka_unit_test(unknown_keys_are_listed_with_their_lines),
		cmocka_unit_test(bastion_mode_wins_over_a_url),
		cmocka_unit_test(the_first_rule_that_fits_is_chosen),
		cmocka_unit_test(international_names_match_in_punycode),
		cmocka_unit_test(an_expression_that_takes_too_long_refuses_the_request),
		cmocka_unit_test(reads_the_form_that_the_edge_pushes),
		cmocka_unit_test(writes_the_form_that_the_edge_reads),
		cmocka_unit_test(a_single_origin_is_one_catch_all),
		cmocka_unit_test(the_last_reference_frees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
