#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>

#include "base/limits.h"
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
	/* Not only where a SOCKS proxy uses them. */
	assert_refused("originRequest:\n  ipRules:\n  - {prefix: x/8}\ningress:\n" CATCH_ALL, 3,
		       "unable to create ip rule for socks-proxy: unable to parse cidr: x/8");
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
		bool is_tls;
	} cases[] = {
		{ "http://localhost:3000", INGRESS_HTTP, "http://localhost:3000", "http",
		  "localhost", 3000, false },
		{ "HTTPS://[::1]", INGRESS_HTTP, "https://[::1]", "https", "::1", 443, true },
		{ "ws://a", INGRESS_HTTP, "ws://a", "ws", "a", 80, false },
		{ "wss://a:1", INGRESS_HTTP, "wss://a:1", "wss", "a", 1, true },
		{ "h2c://a", INGRESS_HTTP, "h2c://a", "h2c", "a", 80, false },
		{ "h2c://[::1]:50051", INGRESS_HTTP, "h2c://[::1]:50051", "h2c", "::1", 50051,
		  false },
		{ "unix:/run/a.sock", INGRESS_UNIX, "unix:/run/a.sock", "unix", "", 0, false },
		{ "unix+tls:/a", INGRESS_UNIX, "unix+tls:/a", "unix+tls", "", 0, true },
		{ "http_status:404", INGRESS_STATUS, "http_status:404", "", "", 0, false },
		{ "hello-world", INGRESS_HELLO_WORLD, "hello_world", "", "", 0, false },
		{ "bastion", INGRESS_BASTION, "bastion", "", "", 0, false },
		{ "socks-proxy", INGRESS_SOCKS, "socks-proxy", "", "", 0, false },
		{ "ssh://localhost", INGRESS_TCP, "ssh://localhost:22", "ssh", "localhost", 22,
		  false },
		{ "rdp://h", INGRESS_TCP, "rdp://h:3389", "rdp", "h", 3389, false },
		{ "smb://h", INGRESS_TCP, "smb://h:445", "smb", "h", 445, false },
		{ "tcp://h", INGRESS_TCP, "tcp://h:7864", "tcp", "h", 7864, false },
		{ "tcp://[fe80::1]:9", INGRESS_TCP, "tcp://[fe80::1]:9", "tcp", "fe80::1", 9,
		  false },
		{ "udp://h:53", INGRESS_UDP, "udp://h:53", "udp", "h", 53, false },
		{ "UDP://[::1]:53", INGRESS_UDP, "udp://[::1]:53", "udp", "::1", 53, false },
		{ "foo://h", INGRESS_TCP, "foo://h", "foo", "h", 0, false },
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
		assert_int_equal(rule->origin.is_bastion, rule->kind == INGRESS_BASTION);
		assert_int_equal(ingress_warning_count(in),
				 rule->kind == INGRESS_TCP && rule->port == 0);
		assert_string_equal(rule->label, "*");
		ingress_unref(in);
	}
}

static void udp_services_are_found_by_hostname_alone(void **state)
{
	struct ingress *in = good("ingress:\n"
				  "- hostname: a.com\n  service: http://x\n"
				  "- hostname: a.com\n  service: udp://h:1\n"
				  "- hostname: '*.b.com'\n  service: udp://h:2\n" CATCH_ALL);
	struct ingress *all = good("ingress:\n- hostname: a.com\n  service: http://x\n"
				   "- service: udp://h:1\n");

	assert_int_equal(ingress_match_udp(in, BYTES_LIT("A.com:53"))->index, 1);
	assert_int_equal(ingress_match_udp(in, BYTES_LIT("x.b.com"))->index, 2);
	assert_null(ingress_match_udp(in, BYTES_LIT("c.com")));
	assert_int_equal(ingress_match_udp(all, BYTES_LIT("a.com"))->index, 1);
	assert_int_equal(ingress_match_udp(all, BYTES_LIT("z"))->index, 1);
	ingress_unref(in);
	ingress_unref(all);
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

static void what_cannot_work_is_told_once(void **state)
{
	struct ingress *in = good("originRequest: {proxyPort: 0}\n"
				  "ingress:\n"
				  "- hostname: a.com\n  service: https://x\n"
				  "  originRequest: {proxyPort: 1, proxyAddress: 127.0.0.1}\n"
				  "- hostname: b.com\n  path: ^/x\n  service: foo://h\n"
				  "- hostname: c.com\n  service: http://x\n"
				  "  originRequest: {access: {required: true}}\n" CATCH_ALL);
	static const char *const texts[] = {
		"originRequest.proxyPort has no effect: bastion mode listens nowhere",
		"originRequest.proxyAddress has no effect: bastion mode listens nowhere",
		"Rule #2 (b.com ^/x): the service foo://h names no port and its scheme has none, so no "
		"connection to it can be made",
		"Rule #3 (c.com): access is required but no audTag is named, so every request will be "
		"refused",
	};

	assert_int_equal(ingress_warning_count(in), ARRAY_LEN(texts));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_string_equal(ingress_warning(in, i), texts[i]);
	ingress_unref(in);
}

static void every_other_option_is_read_too(void **state)
{
	struct ingress *in = good(
		"originRequest:\n"
		"  matchSNItoHost: true\n  http2Origin: true\n  proxyType: socks\n"
		"  stripPrefix: /a/b//\n  proxyProtocol: v1\n  idleTimeout: 5m\n"
		"  setHeaders: {X-One: 1, x-two: ' b c '}\n  removeHeaders: [Cookie]\n"
		"ingress:\n"
		"- hostname: a.com\n  service: https://x\n"
		"- hostname: b.com\n  service: https://x\n"
		"  originRequest: {matchSNItoHost: false, http2Origin: false, proxyType: '', "
		"stripPrefix: '', proxyProtocol: v2, idleTimeout: 0s, setHeaders: {X-Three: ''}, "
		"removeHeaders: []}\n" CATCH_ALL);
	const struct ingress_origin *a = &ingress_rule(in, 0)->origin,
				    *b = &ingress_rule(in, 1)->origin;

	assert_true(a->match_sni_to_host && a->http2_origin && a->is_socks);
	assert_string_equal(a->strip_prefix, "/a/b");
	assert_int_equal(a->proxy_protocol, INGRESS_PROXY_V1);
	assert_int_equal(a->idle_timeout, 300 * USEC_PER_SEC);
	assert_int_equal(a->set_header_count, 2);
	assert_string_equal(a->set_headers[0].name, "X-One");
	assert_string_equal(a->set_headers[0].value, "1");
	assert_string_equal(a->set_headers[1].name, "x-two");
	assert_string_equal(a->set_headers[1].value, "b c");
	assert_int_equal(a->remove_header_count, 1);
	assert_string_equal(a->remove_headers[0], "Cookie");
	assert_false(b->match_sni_to_host || b->http2_origin || b->is_socks);
	assert_null(b->strip_prefix);
	assert_int_equal(b->proxy_protocol, INGRESS_PROXY_V2);
	assert_int_equal(b->idle_timeout, 0);
	assert_int_equal(b->set_header_count, 1);
	assert_string_equal(b->set_headers[0].value, "");
	assert_int_equal(b->remove_header_count, 0);
	assert_int_equal(ingress_warning_count(in), 0);
	ingress_unref(in);
}

static void values_that_are_not_allowed_name_what_is(void **state)
{
	static const struct {
		const char *option, *text;
	} cases[] = {
		{ "proxyType: http",
		  "1:28: originRequest.proxyType is \"http\"; \"socks\" and \"\" are "
		  "allowed" },
		{ "proxyProtocol: v3",
		  "1:32: originRequest.proxyProtocol is \"v3\"; \"v1\", \"v2\" and "
		  "\"\" are allowed" },
		{ "proxyPort: 70000", "1:28: 70000 is out of range, 0 to 65535 are allowed" },
		{ "ipRules: 5", "1:26: originRequest.ipRules is not a list" },
		{ "ipRules: [a]", "1:27: an IP rule is a map of prefix, ports and allow" },
		{ "ipRules: [{prefix: '::/0', ports: 5}]",
		  "1:51: the ports of an IP rule are not a list of numbers" },
		{ "idleTimeout: 5", "1:30: cannot unmarshal !!int `5` into time.Duration" },
		{ "stripPrefix: app",
		  "1:30: originRequest.stripPrefix is \"app\"; a path like /app is allowed, as visitors' "
		  "URLs have it, without query, \".\" and \"..\"" },
		{ "setHeaders: [a]",
		  "1:29: originRequest.setHeaders is not a map of names to values" },
		{ "setHeaders: {'a b': c}",
		  "1:30: originRequest.setHeaders: \"a b\" is not the name of a header field" },
		{ "setHeaders: {A: \"b\\r\\nc\"}",
		  "1:33: originRequest.setHeaders.A holds a control byte" },
		{ "setHeaders: {A: }",
		  "1:30: originRequest.setHeaders.A has no value; removeHeaders takes "
		  "fields away" },
		{ "setHeaders: {A: b, a: c}", "1:36: originRequest.setHeaders names a twice" },
		{ "setHeaders: {hOST: b}",
		  "1:30: originRequest.setHeaders may not name hOST: use httpHostHeader" },
		{ "setHeaders: {transfer-encoding: chunked}",
		  "1:30: originRequest.setHeaders may not name transfer-encoding: it says how the body "
		  "is framed" },
		{ "removeHeaders: Cookie",
		  "1:32: originRequest.removeHeaders is not a list of names" },
		{ "removeHeaders: [Connection]",
		  "1:33: originRequest.removeHeaders may not name Connection: it concerns one "
		  "connection only and is made anew for each" },
		{ "access: [a]",
		  "1:25: originRequest.access is not a map of required, teamName, issuer, audTag "
		  "and environment" },
		{ "access: {environment: usa}",
		  "1:39: access.environment is \"usa\"; \"fed\" and \"\" are allowed" },
		{ "access: {teamName: 'a b'}",
		  "1:36: access.teamName is \"a b\"; a team's name, a host name or an https:// URL "
		  "without a query is allowed" },
		{ "access: {teamName: 'http://a'}",
		  "1:36: access.teamName is \"http://a\"; a team's name, a host name or an https:// URL "
		  "without a query is allowed" },
		{ "access: {issuer: 'http://a'}",
		  "1:34: access.issuer is \"http://a\"; an https:// URL without a query is allowed, "
		  "such as that of an edge's control host" },
		{ "access: {issuer: acme}",
		  "1:34: access.issuer is \"acme\"; an https:// URL without a query is allowed, such "
		  "as that of an edge's control host" },
		{ "access: {issuer: 'https://a?b'}",
		  "1:34: access.issuer is \"https://a?b\"; an https:// URL without a query is "
		  "allowed, such as that of an edge's control host" },
		{ "access: {issuer: 'https:///b'}",
		  "1:34: access.issuer is \"https:///b\"; an https:// URL without a query is "
		  "allowed, such as that of an edge's control host" },
		{ "access: {issuer: [a]}", "1:34: expected string found list" },
		{ "access: {teamName: acme, issuer: 'https://adit.example.com'}",
		  "1:50: access.issuer is \"https://adit.example.com\", but access.teamName \"acme\" "
		  "means \"https://acme.cloudflareaccess.com\"; leave one of them out" },
		{ "access: {audTag: x}", "1:34: access.audTag is not a list of strings" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[256], expected[512];
		snprintf(text, sizeof(text), "originRequest: {%s}\ningress:\n" CATCH_ALL,
			 cases[i].option);
		snprintf(expected, sizeof(expected), "config.yml:%s", cases[i].text);
		assert_refused(text, 1, expected);
	}
	static const char *const prefixes[] = { "/a//b", "/a/../b", "/./a", "/a?b",
						"/a b",  "/\u00fc", "/a#" };
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		char text[256];
		struct err err;
		snprintf(text, sizeof(text),
			 "originRequest: {stripPrefix: '%s'}\ningress:\n" CATCH_ALL, prefixes[i]);
		assert_null(load(text, INGRESS_YAML, &err, NULL));
		assert_non_null(strstr(err.text, "originRequest.stripPrefix is"));
	}
}

static void access_of_a_rule_replaces_all_of_the_top_levels(void **state)
{
	struct ingress *in =
		good("originRequest:\n  access: {required: true, teamName: t, audTag: [x, y]}\n"
		     "ingress:\n"
		     "- hostname: a.com\n  service: http://x\n"
		     "  originRequest: {access: {required: false}}\n"
		     "- hostname: b.com\n  service: http://x\n"
		     "  originRequest: {access: {required: true, teamName: 'https://i.example/', "
		     "audTag: [z], environment: fed}}\n"
		     "- service: http://y\n");
	const struct ingress_access *a = &ingress_rule(in, 0)->origin.access,
				    *b = &ingress_rule(in, 1)->origin.access,
				    *c = &ingress_rule(in, 2)->origin.access;

	assert_false(a->is_required);
	assert_string_equal(a->team_name, "");
	assert_string_equal(a->issuer, "");
	assert_int_equal(a->audience_count, 0);
	assert_true(b->is_required);
	assert_string_equal(b->team_name, "https://i.example/");
	assert_string_equal(b->issuer, "https://i.example/");
	assert_string_equal(b->environment, "fed");
	assert_int_equal(b->audience_count, 1);
	assert_string_equal(b->audiences[0], "z");
	assert_true(c->is_required);
	assert_string_equal(c->team_name, "t");
	assert_string_equal(c->issuer, "https://t.cloudflareaccess.com");
	assert_string_equal(c->environment, "");
	assert_int_equal(c->audience_count, 2);
	assert_string_equal(c->audiences[1], "y");
	ingress_unref(in);
}

static void an_issuer_is_inherited_with_all_of_access(void **state)
{
	struct ingress *in = good(
		"originRequest:\n  access: {required: true, issuer: 'https://e.example', audTag: [x]}\n"
		"ingress:\n"
		"- hostname: a.com\n  service: http://x\n"
		/* Not a second issuer beside the first one: the whole of access is this. */
		"  originRequest: {access: {required: true, teamName: t, audTag: [y]}}\n"
		"- hostname: b.com\n  service: http://x\n"
		"  originRequest: {connectTimeout: 1s}\n"
		"- service: http://y\n");
	const struct ingress_access *a = &ingress_rule(in, 0)->origin.access,
				    *b = &ingress_rule(in, 1)->origin.access,
				    *c = &ingress_rule(in, 2)->origin.access;

	assert_string_equal(a->issuer, "https://t.cloudflareaccess.com");
	assert_string_equal(a->own_issuer, "");
	assert_string_equal(b->issuer, "https://e.example");
	assert_true(b->is_required && c->is_required);
	assert_string_equal(c->issuer, "https://e.example");
	assert_string_equal(c->own_issuer, "https://e.example");
	ingress_unref(in);
}

static void json_may_name_an_issuer_too(void **state)
{
	static const char sent[] =
		"{\"ingress\":[{\"service\":\"http://x\",\"originRequest\":{\"access\":{\"required\":"
		"true,\"teamName\":\"\",\"audTag\":[\"a\"],\"issuer\":\"https://e.example\"}}}],"
		"\"warp-routing\":{}}";
	struct err err = { 0 };
	struct ingress *in = load(sent, INGRESS_JSON, &err, NULL);
	struct buf out;

	if (!in)
		fail_msg("%s", err.text);
	assert_string_equal(ingress_rule(in, 0)->origin.access.issuer, "https://e.example");
	/* And it is written as it was read. */
	buf_init(&out, 4096);
	assert_int_equal(ingress_write_json(in, &out), 0);
	char *text = buf_take_str(&out);
	assert_string_equal(text, sent);
	mem_free(text);
	buf_done(&out);
	ingress_unref(in);
	assert_null(load("{\"ingress\":[{\"service\":\"http://x\",\"originRequest\":{\"access\":"
			 "{\"teamName\":\"t\",\"issuer\":\"https://e.example\"}}}]}",
			 INGRESS_JSON, &err, NULL));
	assert_non_null(strstr(err.text, "leave one of them out"));
}

static void the_issuer_follows_from_the_teams_name(void **state)
{
	static const struct {
		const char *access, *issuer;
	} cases[] = {
		{ "teamName: acme", "https://acme.cloudflareaccess.com" },
		{ "teamName: acme, environment: fed", "https://acme.fed.cloudflareaccess.com" },
		{ "teamName: sso.example.com, environment: fed", "https://sso.example.com" },
		{ "teamName: 'localhost:8443'", "https://localhost:8443" },
		{ "teamName: 'https://sso.example.com/team/'", "https://sso.example.com/team/" },
		{ "required: true", "" },
		{ "issuer: 'https://adit.example.com'", "https://adit.example.com" },
		{ "issuer: 'https://adit.example.com:8443/x', environment: fed",
		  "https://adit.example.com:8443/x" },
		{ "issuer: 'https://adit.example.com', teamName: ''", "https://adit.example.com" },
		{ "issuer: '', teamName: acme", "https://acme.cloudflareaccess.com" },
		/* Both, and they mean the same. */
		{ "issuer: 'https://acme.cloudflareaccess.com', teamName: acme",
		  "https://acme.cloudflareaccess.com" },
		{ "issuer: 'https://a.example', teamName: a.example", "https://a.example" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[256];
		snprintf(text, sizeof(text), "originRequest: {access: {%s}}\ningress:\n" CATCH_ALL,
			 cases[i].access);
		struct ingress *in = good(text);
		assert_string_equal(ingress_rule(in, 0)->origin.access.issuer, cases[i].issuer);
		ingress_unref(in);
	}
}

static bool may_reach(const struct ingress *in, const char *ip, uint16_t port)
{
	uint8_t address[16] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET, ip, address + 12) != 1)
		assert_int_equal(inet_pton(AF_INET6, ip, address), 1);
	return ingress_ip_is_allowed(&ingress_rule(in, 0)->origin, address, port);
}

static void ip_rules_decide_who_is_reached(void **state)
{
	struct ingress *in = good("originRequest:\n  ipRules:\n"
				  "  - {prefix: 10.1.2.3/32, allow: false}\n"
				  "  - {prefix: 10.200.0.0/9, ports: [22, 443], allow: true}\n"
				  "  - {prefix: '::/0', ports: [80], allow: true}\n"
				  "  - {prefix: '::ffff:192.168.0.0/112', allow: true}\n"
				  "ingress:\n- service: socks-proxy\n");
	const struct ingress_ip_rule *rules = ingress_rule(in, 0)->origin.ip_rules;

	assert_int_equal(ingress_rule(in, 0)->origin.ip_rule_count, 4);
	assert_int_equal(rules[0].bits, 128);
	assert_int_equal(rules[1].bits, 105);
	assert_int_equal(rules[1].prefix[13], 128); /* 200 without the bits behind /9 */
	assert_int_equal(rules[1].port_count, 2);
	assert_true(may_reach(in, "10.128.0.1", 22));
	assert_true(may_reach(in, "10.255.0.1", 443));
	assert_false(may_reach(in, "10.255.0.1", 80));
	assert_false(may_reach(in, "10.1.2.3", 22));
	assert_false(may_reach(in, "10.127.0.1", 22));
	assert_true(may_reach(in, "fd00::1", 80));
	assert_false(may_reach(in, "fd00::1", 81));
	/* ::/0 is IPv6 only. */
	assert_false(may_reach(in, "8.8.8.8", 80));
	assert_true(may_reach(in, "192.168.200.1", 80));
	ingress_unref(in);

	in = good("ingress:\n- service: socks-proxy\n");
	assert_false(may_reach(in, "10.0.0.1", 80));
	ingress_unref(in);
	in = good("originRequest: {ipRules: [{prefix: 0.0.0.0/0, allow: true}]}\n"
		  "ingress:\n- {service: socks-proxy, originRequest: {ipRules: []}}\n");
	assert_false(may_reach(in, "10.0.0.1", 80));
	ingress_unref(in);
}

static void unknown_keys_are_named_with_what_was_meant(void **state)
{
	struct ingress *in =
		good("originRequest:\n  bogus: 1\ningress:\n- hostname: a.com\n"
		     "  service: http://x\n  pth: /\n  originRequest:\n    noTlsVerify: true\n"
		     "    access: {team: x, audTags: [a]}\n"
		     "    ipRules: [{prefix: '::/0', allowed: true}]\n"
		     "  http2Origin: true\n" CATCH_ALL);
	static const char *const texts[] = {
		"config.yml:2:3: unknown key bogus in originRequest",
		"config.yml:6:3: unknown key pth in an ingress rule; did you mean path?",
		"config.yml:11:3: unknown key http2Origin in an ingress rule; it belongs under "
		"originRequest",
		"config.yml:8:5: unknown key noTlsVerify in originRequest; did you mean noTLSVerify?",
		"config.yml:9:14: unknown key team in access",
		"config.yml:9:23: unknown key audTags in access; did you mean audTag?",
		"config.yml:10:32: unknown key allowed in an IP rule; did you mean allow?",
	};

	assert_int_equal(ingress_unknown_count(in), ARRAY_LEN(texts));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_string_equal(ingress_unknown(in, i), texts[i]);
	ingress_unref(in);
}

static void assert_refused_with(const char *text, int line, const char *part)
{
	struct err err = { 0 };
	int at = 0;

	assert_null(load(text, INGRESS_YAML, &err, &at));
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
	assert_int_equal(at, line);
}

static const struct ingress_health *health_of(const struct ingress *in)
{
	return &ingress_rule(in, 0)->health;
}

static void health_checks_are_read_with_their_presets(void **state)
{
	struct ingress *in = good("ingress:\n- hostname: a.com\n  service: http://x\n"
				  "  healthCheck: {}\n" CATCH_ALL);
	const struct ingress_health *h = health_of(in);

	assert_int_equal(h->kind, INGRESS_CHECK_HTTP);
	assert_string_equal(h->path, "/");
	assert_int_equal(h->interval, 10 * USEC_PER_SEC);
	assert_int_equal(h->timeout, 5 * USEC_PER_SEC);
	assert_int_equal(h->threshold, 2);
	assert_int_equal(h->code_count, 1);
	assert_int_equal(h->codes[0].first, 200);
	assert_int_equal(h->codes[0].last, 399);
	assert_int_equal(ingress_rule(in, 1)->health.kind, INGRESS_CHECK_NONE);
	ingress_unref(in);

	in = good(
		"ingress:\n- hostname: a.com\n  service: https://x\n  healthCheck:\n"
		"    type: http\n    path: /healthz?deep=1\n    interval: 1m30s\n    timeout: 250ms\n"
		"    expectedCodes: [200, '204-206', '301,404']\n    threshold: 5\n" CATCH_ALL);
	h = health_of(in);
	assert_string_equal(h->path, "/healthz?deep=1");
	assert_int_equal(h->interval, 90 * USEC_PER_SEC);
	assert_int_equal(h->timeout, 250 * USEC_PER_MSEC);
	assert_int_equal(h->threshold, 5);
	assert_int_equal(h->code_count, 4);
	assert_int_equal(h->codes[1].first, 204);
	assert_int_equal(h->codes[1].last, 206);
	assert_int_equal(h->codes[3].first, 404);
	ingress_unref(in);

	in = good("ingress:\n- hostname: a.com\n  service: ssh://x\n"
		  "  healthCheck: {threshold: 1}\n" CATCH_ALL);
	assert_int_equal(health_of(in)->kind, INGRESS_CHECK_TCP);
	ingress_unref(in);
	in = good("ingress:\n- hostname: a.com\n  service: unix:/run/x\n"
		  "  healthCheck: {type: tcp}\n" CATCH_ALL);
	assert_int_equal(health_of(in)->kind, INGRESS_CHECK_TCP);
	ingress_unref(in);
}

static void health_checks_that_cannot_be_name_what_can(void **state)
{
	static const struct {
		const char *service, *check, *error;
	} table[] = {
		{ "http://x", "yes", "healthCheck is not a map" },
		{ "http://x", "{type: udp}", "\"http\" and \"tcp\" are allowed" },
		{ "ssh://x", "{type: http}", "does not speak it" },
		{ "ssh://x", "{path: /}", "healthCheck.path has no meaning" },
		{ "http://x", "{type: tcp, expectedCodes: 200}",
		  "healthCheck.expectedCodes has no" },
		{ "http://x", "{path: healthz}", "a path like /healthz" },
		{ "http://x", "{path: '/a b'}", "a path like /healthz" },
		{ "http://x", "{interval: 10ms}", "healthCheck.interval must be from 1s to 1h0m0s" },
		{ "http://x", "{interval: 5}", "config.yml:4:27" },
		{ "http://x", "{timeout: 0s}", "healthCheck.timeout must be from 1ms to 1m0s" },
		{ "http://x", "{threshold: 0}", "config.yml:4:28" },
		{ "http://x", "{expectedCodes: 2xx}", "healthCheck.expectedCodes is \"2xx\"" },
		{ "http://x", "{expectedCodes: '99'}", "is \"99\"" },
		{ "http://x", "{expectedCodes: 300-200}", "is \"300-200\"" },
		{ "http://x", "{expectedCodes: '200-'}", "is \"200-\"" },
		{ "http://x", "{expectedCodes: '200,,201'}", "is \"200,,201\"" },
		{ "http://x", "{expectedCodes: []}", "is empty" },
		{ "http://x", "{expectedCodes: [{}]}", "healthCheck.expectedCodes" },
	};
	char text[400];

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		snprintf(text, sizeof(text),
			 "ingress:\n- hostname: a.com\n  service: %s\n  healthCheck: %s\n" CATCH_ALL,
			 table[i].service, table[i].check);
		assert_refused_with(text, 4, table[i].error);
	}
}

static void tls_is_a_hostnames(void **state)
{
	struct ingress *in =
		good("ingress:\n"
		     "- hostname: a.com\n  path: /x\n  service: http://y\n"
		     "- hostname: a.com\n  service: http://x\n"
		     "  tls: {certificate: a.pem, key: a.key}\n"
		     "- hostname: b.com\n  service: hello_world\n"
		     "  tls: {acme: {directory: 'https://ca/dir', storage: /s, email: e}}\n"
		     "- hostname: '*.c.com'\n  service: http_status:200\n"
		     "  tls: {certificate: c.pem, key: c.key}\n" CATCH_ALL);
	const struct ingress_rule *rule = ingress_match_tls(in, BYTES_LIT("A.com"));

	assert_non_null(rule);
	assert_int_equal(rule->index, 1);
	assert_string_equal(rule->tls.certificate, "a.pem");
	assert_string_equal(rule->tls.key, "a.key");
	assert_null(rule->tls.acme_directory);
	rule = ingress_match_tls(in, BYTES_LIT("b.com:443"));
	assert_non_null(rule);
	assert_null(rule->tls.certificate);
	assert_string_equal(rule->tls.acme_directory, "https://ca/dir");
	assert_string_equal(rule->tls.acme_storage, "/s");
	assert_string_equal(rule->tls.acme_email, "e");
	assert_null(rule->tls.acme_ca_file);
	assert_non_null(ingress_match_tls(in, BYTES_LIT("x.c.com")));
	assert_null(ingress_match_tls(in, BYTES_LIT("c.com")));
	assert_null(ingress_match_tls(in, BYTES_LIT("d.com")));
	ingress_unref(in);
}

static void tls_that_cannot_be_is_refused(void **state)
{
	static const struct {
		const char *rule, *error;
	} table[] = {
		{ "service: http://x\n  tls: yes", "tls is not a map" },
		{ "service: http://x\n  tls: {}", "neither certificate and key nor acme" },
		{ "service: http://x\n  tls: {key: k}", "either certificate and key, or acme" },
		{ "service: http://x\n  tls: {certificate: c, keys: k}", "did you mean key?" },
		{ "service: http://x\n  tls: {certificate: [c], key: k}", "expected string" },
		{ "service: http://x\n  tls: {acme: x}", "tls.acme is not a map" },
		{ "service: http://x\n  tls: {acme: {storage: s}}", "tls.acme.directory is" },
		{ "service: ssh://x\n  tls: {certificate: c, key: k}", "speak HTTP" },
		{ "service: udp://x:1\n  tls: {certificate: c, key: k}", "speak HTTP" },
		{ "service: http://x\n  tls: {certificate: c, key: k}\n  path: /x",
		  "a rule without path" },
	};
	char text[400];

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		snprintf(text, sizeof(text), "ingress:\n- hostname: a.com\n  %s\n" CATCH_ALL,
			 table[i].rule);
		assert_refused_with(text, 4, table[i].error);
	}
}

static void what_cannot_be_checked_is_told(void **state)
{
	struct ingress *in = good("ingress:\n- hostname: a.com\n  service: http_status:204\n"
				  "  healthCheck: {pth: /, tresholt: 3}\n" CATCH_ALL);

	assert_int_equal(health_of(in)->kind, INGRESS_CHECK_NONE);
	assert_int_equal(ingress_warning_count(in), 1);
	assert_non_null(strstr(ingress_warning(in, 0), "healthCheck has no effect"));
	assert_int_equal(ingress_unknown_count(in), 2);
	assert_non_null(strstr(ingress_unknown(in, 0), "pth in healthCheck; did you mean path?"));
	assert_non_null(strstr(ingress_unknown(in, 1), "did you mean threshold?"));
	ingress_unref(in);
}

static void too_many_health_checks_are_refused(void **state)
{
	for (int count = LIMIT_HEALTH_CHECKS; count <= LIMIT_HEALTH_CHECKS + 1; count++) {
		struct buf b;
		buf_init(&b, 1 << 20);
		assert_int_equal(buf_append_str(&b, "ingress:\n"), 0);
		for (int i = 0; i < count; i++)
			assert_int_equal(buf_printf(&b,
						    "- {hostname: h%d.com, service: 'http://x', "
						    "healthCheck: {}}\n",
						    i),
					 0);
		assert_int_equal(buf_append_str(&b, CATCH_ALL), 0);
		char *text = buf_take_str(&b);
		if (count == LIMIT_HEALTH_CHECKS)
			ingress_unref(good(text));
		else
			assert_refused_with(text, count + 1,
					    "More than 256 rules have a healthCheck");
		mem_free(text);
		buf_done(&b);
	}
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

static void says_which_addresses_the_edge_may_open(void **state)
{
	struct ingress *in =
		good("ingress:\n" CATCH_ALL "warp-routing:\n  connectTimeout: 2s\n"
		     "  maxActiveFlows: 7\n  tcpKeepAlive: 0s\n  allow: [10.0.0.1/8, fd00::/8]\n");
	const struct ingress_private *p = ingress_private(in);
	struct buf out;

	assert_true(p->is_on);
	assert_int_equal(p->connect_timeout, 2 * USEC_PER_SEC);
	assert_int_equal(p->tcp_keepalive, 0);
	assert_int_equal(p->max_active_flows, 7);
	assert_int_equal(p->allow_count, 2);
	buf_init(&out, 4096);
	assert_int_equal(ingress_write_json(in, &out), 0);
	char *text = buf_take_str(&out);
	assert_non_null(strstr(text,
			       "\"warp-routing\":{\"connectTimeout\":2,\"tcpKeepAlive\":0,"
			       "\"maxActiveFlows\":7,\"allow\":[\"10.0.0.0/8\",\"fd00::/8\"]}"));
	mem_free(text);
	buf_done(&out);
	ingress_unref(in);

	in = good("ingress:\n" CATCH_ALL);
	assert_false(ingress_private(in)->is_on);
	assert_int_equal(ingress_private(in)->connect_timeout, 5 * USEC_PER_SEC);
	assert_int_equal(ingress_private(in)->tcp_keepalive, 30 * USEC_PER_SEC);
	ingress_unref(in);
	in = good("ingress:\n" CATCH_ALL "warp-routing: {enabled: false}\n");
	assert_false(ingress_private(in)->is_on);
	ingress_unref(in);
	in = good("ingress:\n" CATCH_ALL "warp-routing: {}\n");
	assert_true(ingress_private(in)->is_on);
	assert_false(ingress_private(in)->has_allow);
	ingress_unref(in);
}

static void refuses_warp_routing_that_makes_no_sense(void **state)
{
	static const char *const bad[][2] = {
		{ "5", "warp-routing is not a map" },
		{ "{allow: 10.0.0.0/8}", "not a list of networks" },
		{ "{allow: [10.0.0.0]}", "\"10.0.0.0\" is not a network" },
		{ "{allow: [10.0.0.0/33]}", "is not a network" },
		{ "{maxActiveFlows: -1}", "" },
		{ "{connectTimeout: 5}", "" },
		{ "{enabled: 7}", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };
		char *text = mem_printf("ingress:\n" CATCH_ALL "warp-routing: %s\n", bad[i][0]);
		assert_null(load(text, INGRESS_YAML, &err, NULL));
		assert_non_null(strstr(err.text, bad[i][1]));
		mem_free(text);
	}
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

static void assert_written(const char *config, int (*write)(const struct ingress *, struct buf *),
			   const char *expected)
{
	struct ingress *in = good(config);
	struct buf out;

	buf_init(&out, 16384);
	assert_int_equal(write(in, &out), 0);
	char *text = buf_take_str(&out);
	assert_string_equal(text, expected);
	mem_free(text);
	buf_done(&out);
	ingress_unref(in);
}

static void what_is_written_says_everything_but_secrets(void **state)
{
	assert_written(
		"ingress:\n- service: bastion\n  originRequest: {matchSNItoHost: true, proxyPort: 5, "
		"proxyType: socks, ipRules: [{prefix: 10.9.9.9/8, ports: [80], allow: true}, {prefix: "
		"'fd00::/8'}], http2Origin: true, access: {required: true, teamName: t, audTag: [a]}, "
		"stripPrefix: /a, setHeaders: {Authorization: secret}, removeHeaders: [Cookie], "
		"proxyProtocol: v2, idleTimeout: 1m}\n",
		ingress_write_json,
		"{\"ingress\":[{\"service\":\"bastion\",\"originRequest\":{\"matchSNItoHost\":true,"
		"\"bastionMode\":true,\"proxyPort\":5,\"proxyType\":\"socks\",\"ipRules\":[{\"prefix\":"
		"\"10.0.0.0/8\",\"ports\":[80],\"allow\":true},{\"prefix\":\"fd00::/8\",\"ports\":[],"
		"\"allow\":false}],\"http2Origin\":true,\"access\":{\"required\":true,\"teamName\":\"t\","
		"\"audTag\":[\"a\"]},\"stripPrefix\":\"/a\",\"setHeaders\":{\"Authorization\":\"*****\"},"
		"\"removeHeaders\":[\"Cookie\"],\"proxyProtocol\":\"v2\",\"idleTimeout\":60}}],"
		"\"warp-routing\":{}}");
}

/* As the stock connector 2026.8.2 answered for this file, but for our five keys and for ipRules, which it
 * writes as [{}]. */
static void the_local_api_shows_every_field(void **state)
{
#define HEAD_OF_OPTIONS                                                                            \
	"{\"connectTimeout\":1.5,\"tlsTimeout\":10,\"tcpKeepAlive\":30,\"noHappyEyeballs\":false," \
	"\"keepAliveTimeout\":90,\"keepAliveConnections\":100,\"httpHostHeader\":\"\","            \
	"\"originServerName\":\"\",\"matchSNItoHost\":false,\"caPool\":\"\","
#define OUR_OPTIONS                                                                               \
	"\"stripPrefix\":\"\",\"setHeaders\":null,\"removeHeaders\":null,\"proxyProtocol\":\"\"," \
	"\"idleTimeout\":0}"
#define PLAIN_OPTIONS                                                                   \
	HEAD_OF_OPTIONS                                                                 \
	"\"noTLSVerify\":false,\"disableChunkedEncoding\":false,\"bastionMode\":false," \
	"\"proxyAddress\":\"127.0.0.1\",\"proxyPort\":0,\"proxyType\":\"\","            \
	"\"ipRules\":null,\"http2Origin\":false,\"access\":{\"required\":true,"         \
	"\"teamName\":\"t\",\"audTag\":[\"x\"]}," OUR_OPTIONS
	assert_written(
		"originRequest:\n  connectTimeout: 1500ms\n"
		"  access: {required: true, teamName: t, audTag: [x]}\n"
		"ingress:\n"
		"- hostname: a.com\n  path: ^/x\n  service: https://y\n"
		"  originRequest: {noTLSVerify: true, ipRules: [{prefix: 1.2.3.0/24, ports: [80], "
		"allow: true}], proxyType: socks, access: {required: false, teamName: q, audTag: "
		"[z], environment: fed}}\n"
		"- hostname: b.com\n  service: ssh://z\n"
		"  originRequest: {bastionMode: true, proxyAddress: 1.2.3.4, proxyPort: 5, access: "
		"{required: false}}\n" CATCH_ALL,
		ingress_write_config_json,
		"{\"ingress\":[{\"hostname\":\"a.com\",\"path\":\"^/x\",\"service\":\"https://y\","
		"\"Handlers\":null,\"originRequest\":" HEAD_OF_OPTIONS
		"\"noTLSVerify\":true,\"disableChunkedEncoding\":false,\"bastionMode\":false,"
		"\"proxyAddress\":\"127.0.0.1\",\"proxyPort\":0,\"proxyType\":\"socks\",\"ipRules\":"
		"[{\"prefix\":\"1.2.3.0/24\",\"ports\":[80],\"allow\":true}],\"http2Origin\":false,"
		"\"access\":{\"teamName\":\"q\",\"audTag\":[\"z\"],\"environment\":\"fed\"}," OUR_OPTIONS
		"},{\"hostname\":\"b.com\",\"path\":null,\"service\":\"bastion\",\"Handlers\":null,"
		"\"originRequest\":" HEAD_OF_OPTIONS
		"\"noTLSVerify\":false,\"disableChunkedEncoding\":false,\"bastionMode\":true,"
		"\"proxyAddress\":\"1.2.3.4\",\"proxyPort\":5,\"proxyType\":\"\",\"ipRules\":null,"
		"\"http2Origin\":false,\"access\":{\"teamName\":\"\",\"audTag\":null}," OUR_OPTIONS
		"},{\"hostname\":\"\",\"path\":null,\"service\":\"http_status:404\",\"Handlers\":null,"
		"\"originRequest\":" PLAIN_OPTIONS
		"}],\"warp-routing\":{},\"originRequest\":" PLAIN_OPTIONS "}");
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
		cmocka_unit_test(udp_services_are_found_by_hostname_alone),
		cmocka_unit_test(a_password_in_a_service_is_shown_to_nobody),
		cmocka_unit_test(options_come_from_rule_then_top_then_built_in),
		cmocka_unit_test(every_other_option_is_read_too),
		cmocka_unit_test(values_that_are_not_allowed_name_what_is),
		cmocka_unit_test(access_of_a_rule_replaces_all_of_the_top_levels),
		cmocka_unit_test(an_issuer_is_inherited_with_all_of_access),
		cmocka_unit_test(json_may_name_an_issuer_too),
		cmocka_unit_test(the_issuer_follows_from_the_teams_name),
		cmocka_unit_test(ip_rules_decide_who_is_reached),
		cmocka_unit_test(what_cannot_work_is_told_once),
		cmocka_unit_test(unknown_keys_are_named_with_what_was_meant),
		cmocka_unit_test(health_checks_are_read_with_their_presets),
		cmocka_unit_test(health_checks_that_cannot_be_name_what_can),
		cmocka_unit_test(what_cannot_be_checked_is_told),
		cmocka_unit_test(tls_is_a_hostnames),
		cmocka_unit_test(tls_that_cannot_be_is_refused),
		cmocka_unit_test(too_many_health_checks_are_refused),
		cmocka_unit_test(bastion_mode_wins_over_a_url),
		cmocka_unit_test(the_first_rule_that_fits_is_chosen),
		cmocka_unit_test(international_names_match_in_punycode),
		cmocka_unit_test(an_expression_that_takes_too_long_refuses_the_request),
		cmocka_unit_test(reads_the_form_that_the_edge_pushes),
		cmocka_unit_test(says_which_addresses_the_edge_may_open),
		cmocka_unit_test(refuses_warp_routing_that_makes_no_sense),
		cmocka_unit_test(writes_the_form_that_the_edge_reads),
		cmocka_unit_test(what_is_written_says_everything_but_secrets),
		cmocka_unit_test(the_local_api_shows_every_field),
		cmocka_unit_test(a_single_origin_is_one_catch_all),
		cmocka_unit_test(the_last_reference_frees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
