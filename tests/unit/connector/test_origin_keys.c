/* What the keys of originRequest do to connections and requests of HTTP/1.1 services. */
#include "unit/connector/tls_service.h"

#include <netinet/tcp.h>

static struct ingress_origin options;
static char folder[64];

static int start_keys(void **state)
{
	ingress_origin_defaults(&options);
	return start_tls(state);
}

static void trusting(void)
{
	options.no_tls_verify = true;
	serve("https", &options);
}

static void answer_secure(void)
{
	assert_int_equal(byte_stream_write(secure.stream, bytes_str(OK_RESPONSE)),
			 strlen(OK_RESPONSE));
}

/* --- proxyProtocol --------------------------------------------------------------------------- */

static void get_from(struct visit *v, const char *client_ip)
{
	struct exchange *x = prepare(v, "GET", "/");

	x->client_ip = bytes_str(client_ip);
	body_end(&x->request_body);
	exchange_start(x, &chain);
}

static void a_proxy_header_comes_first(void **state)
{
	char line[100];

	options.proxy_protocol = INGRESS_PROXY_V1;
	serve("http", &options);
	snprintf(line, sizeof(line), "PROXY TCP4 192.0.2.7 127.0.0.1 0 %u\r\nGET / HTTP/1.1\r\n",
		 address_port(&service_address));
	get_from(&visit, "192.0.2.7");
	accept_service();
	hear(service, line);
	assert_non_null(strstr(hear_head(service), "Connection: close\r\n"));
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	hear_the_end(service); /* it speaks for one visitor only */
	close_service();
	leave(&visit);

	get_from(&visit, "2001:db8::7");
	accept_service();
	snprintf(line, sizeof(line), "PROXY TCP6 2001:db8::7 ::ffff:127.0.0.1 0 %u\r\nGET ",
		 address_port(&service_address));
	hear(service, line);
}

static void a_proxy_header_takes_the_visitor_from_the_edges_field(void **state)
{
	options.proxy_protocol = INGRESS_PROXY_V1;
	serve("http", &options);
	struct exchange *x = prepare(&visit, "GET", "/");
	add_field(x, "Cf-Connecting-IP", "198.51.100.9");
	body_end(&x->request_body);
	exchange_start(x, &chain);
	accept_service();
	hear(service, "PROXY TCP4 198.51.100.9 ");
}

static void a_proxy_header_without_a_visitor_says_so(void **state)
{
	options.proxy_protocol = INGRESS_PROXY_V1;
	serve("http", &options);
	get_from(&visit, "unknown\r\nGET /evil");
	accept_service();
	hear(service, "PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n");
}

static void a_proxy_header_stands_before_tls(void **state)
{
	static const char start_of[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
				       "\xc0\0\x02\x07\x7f\0\0\x01\0";
	uint8_t head[28];
	int tries = 0;

	options.proxy_protocol = INGRESS_PROXY_V2;
	trusting();
	get_from(&visit, "192.0.2.7");
	int fd = accept_next();
	while (recv(fd, head, sizeof(head), MSG_PEEK) < (ssize_t)sizeof(head))
		patience(&tries);
	assert_int_equal(read(fd, head, sizeof(head)), sizeof(head));
	assert_memory_equal(head, start_of, sizeof(start_of) - 1);
	assert_int_equal(head[26] << 8 | head[27], address_port(&service_address));
	secure_on(fd);
	hear_secure_head();
	answer_secure();
	assert_body(&visit, "ok");
}

/* --- Names in TLS ---------------------------------------------------------------------------- */

static void visit_host(struct visit *v, const char *authority)
{
	struct exchange *x = prepare(v, "GET", "/");

	x->request.authority = bytes_str(authority);
	body_end(&x->request_body);
	exchange_start(x, &chain);
}

static void visit_and_leave(const char *authority, bool is_new)
{
	visit_host(&visit, authority);
	if (is_new) {
		byte_stream_close(TAKE(secure.stream));
		accept_secure();
	}
	hear_secure_head();
	answer_secure();
	assert_body(&visit, "ok");
	leave(&visit);
}

static void a_service_of_an_address_is_asked_for_no_name(void **state)
{
	trusting();
	visit_and_leave("one.example.com", true);
	assert_string_equal(secure.server_name, "");
	visit_and_leave("two.example.com", false);
}

static void a_name_of_the_rules_own_is_asked_for(void **state)
{
	options.origin_server_name = "inner.example.com";
	options.match_sni_to_host = true; /* the one that is spelled out wins */
	trusting();
	visit_and_leave("one.example.com", true);
	assert_string_equal(secure.server_name, "inner.example.com");
	visit_and_leave("two.example.com", false);
}

static void connections_of_different_names_are_not_mixed(void **state)
{
	struct byte_stream *first;

	options.match_sni_to_host = true;
	trusting();
	visit_and_leave("One.example.com:8443", true);
	assert_string_equal(secure.server_name, "one.example.com");
	first = TAKE(secure.stream);
	visit_and_leave("two.example.com", true);
	assert_string_equal(secure.server_name, "two.example.com");
	visit_and_leave("TWO.example.com", false);
	struct byte_stream *other = secure.stream;
	secure.stream = first;
	visit_and_leave("one.example.com:8443", false);
	assert_nobody_connects();
	byte_stream_close(other);
}

static void an_address_as_host_is_no_name(void **state)
{
	options.match_sni_to_host = true;
	trusting();
	visit_and_leave("[::1]:8443", true);
	assert_string_equal(secure.server_name, "");
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void a_pool_vouches_for_its_certificates_and_their_names(void **state)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/ca.pem", folder);
	write_file(path, ca.cert_pem);
	options.ca_pool = path;
	serve("https", &options);
	visit_and_leave("app.example.com", true); /* 127.0.0.1 is in the certificate */
	set = origin_set_unref(set);
	byte_stream_close(TAKE(secure.stream));
	close(listener);

	options.match_sni_to_host = true;
	serve("https", &options);
	visit_and_leave("one.example.com", true);
	byte_stream_close(TAKE(secure.stream));
	visit_host(&visit, "three.example.com");
	accept_secure();
	assert_failure(&visit, 502, "three.example.com");
	assert_string_equal(visit.title, "Service has no valid TLS");
	unlink(path);
}

static void a_pool_that_cannot_be_read_is_told_with_its_rule(void **state)
{
	struct err err = { 0 };

	options.ca_pool = "/does/not/exist.pem";
	struct ingress *in = ingress_single("https://127.0.0.1:1", &options, &err);
	assert_null(origin_set_new(loop, in, &err));
	assert_non_null(strstr(err.text, "rule 0"));
	assert_non_null(strstr(err.text, "/does/not/exist.pem"));
	ingress_unref(in);
}

static void tls_over_a_unix_socket_asks_for_the_visitors_host(void **state)
{
	char url[128];
	struct address address;

	snprintf(url, sizeof(url), "unix:%s/tls.sock", folder);
	assert_int_equal(address_parse(bytes_str(url), &address, NULL), 0);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, &address.any, address.len), 0);
	assert_int_equal(listen(listener, 5), 0);
	service_address = address;
	snprintf(url, sizeof(url), "unix+tls:%s/tls.sock", folder);
	options.no_tls_verify = true;
	options.proxy_protocol = INGRESS_PROXY_NONE;
	use_service(url, &options);
	visit_and_leave("one.example.com", true);
	assert_string_equal(secure.server_name, "one.example.com");
	struct byte_stream *first = TAKE(secure.stream);
	visit_and_leave("two.example.com", true);
	assert_string_equal(secure.server_name, "two.example.com");
	byte_stream_close(first);
	unlink(address.local.sun_path);
}

static void a_service_without_alpn_gets_its_upgrades_over_http1(void **state)
{
	options.http2_origin = true;
	trusting();
	struct exchange *x = prepare(&visit, "GET", "/socket");
	x->request.is_upgrade = true;
	exchange_start(x, &chain);
	accept_secure();
	hear_secure_head();
	assert_int_equal(tls_alpn(secure.stream).len, 0);
}

/* --- Time ------------------------------------------------------------------------------------ */

static void a_silent_handshake_is_a_gateway_timeout(void **state)
{
	options.tls_timeout = 30 * USEC_PER_MSEC;
	trusting();
	get(&visit);
	accept_service();
	assert_failure(&visit, 504, "TLS handshake");
	assert_string_equal(visit.title, "Service timed out");
	assert_false(visit.failure.was_sent);
}

static void a_silent_service_is_a_gateway_timeout(void **state)
{
	options.idle_timeout = 50 * USEC_PER_MSEC;
	serve("http", &options);
	get(&visit);
	accept_service();
	hear_head(service);
	assert_failure(&visit, 504, "no byte came or went");
	assert_string_equal(visit.title, "Service timed out");
	assert_false(visit.has_head);
	assert_true(visit.failure.was_sent);
	hear_the_end(service);
}

static void silence_within_a_body_cuts_it_off(void **state)
{
	options.idle_timeout = 50 * USEC_PER_MSEC;
	serve("http", &options);
	get(&visit);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
	assert_failure(&visit, 504, "no byte came or went");
	assert_true(visit.has_head);
	assert_false(visit.has_end);
	hear_the_end(service);
}

static void silence_ends_an_upgrade(void **state)
{
	options.idle_timeout = 50 * USEC_PER_MSEC;
	serve("http", &options);
	struct exchange *x = prepare(&visit, "GET", "/socket");
	x->request.is_upgrade = true;
	exchange_start(x, &chain);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
		     "Upgrade: websocket\r\n\r\nhello");
	assert_body(&visit, "hello");
	assert_true(x->answerer_is_gone);
	assert_false(visit.has_failed);
	hear_the_end(service);
}

static void silence_is_no_matter_between_requests(void **state)
{
	options.idle_timeout = 20 * USEC_PER_MSEC;
	options.keepalive_timeout = 60 * USEC_PER_MSEC;
	serve("http", &options);
	get(&visit);
	accept_service();
	hear_head(service);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	leave(&visit);
	hear_the_end(service); /* in the end, without a failure of anything */
}

/* Our end of the connection to the service. */
static int our_end(void)
{
	for (int fd = 3; fd < 256; fd++) {
		struct address peer = { .len = sizeof(peer.local) };
		if (getpeername(fd, &peer.any, &peer.len) == 0 && peer.any.sa_family == AF_INET &&
		    peer.v4.sin_port == service_address.v4.sin_port)
			return fd;
	}
	fail_msg("no connection");
	return -1;
}

static int socket_option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void connections_are_probed_as_often_as_wanted(void **state)
{
	static const struct {
		usec keepalive;
		int seconds;
	} cases[] = { { 0, 0 },
		      { 7 * USEC_PER_SEC, 7 },
		      { USEC_PER_MSEC, 1 },
		      { 100000 * USEC_PER_SEC, 32767 } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		options.tcp_keepalive = cases[i].keepalive;
		serve("http", &options);
		get(&visit);
		accept_service();
		hear_head(service);
		int fd = our_end();
		assert_int_equal(socket_option(fd, SOL_SOCKET, SO_KEEPALIVE), cases[i].seconds > 0);
		if (cases[i].seconds) {
			assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPIDLE),
					 cases[i].seconds);
			assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPINTVL),
					 cases[i].seconds);
		}
		leave(&visit);
		close_service();
		close(listener);
		set = origin_set_unref(set);
		let_it_turn();
	}
	listener = -1;
}

static void no_connection_is_kept_where_none_is_wanted(void **state)
{
	options.keepalive_connections = 0;
	serve("http", &options);
	for (int i = 0; i < 2; i++) {
		get(&visit);
		accept_service();
		assert_non_null(strstr(hear_head(service), "Connection: close\r\n"));
		say(service, OK_RESPONSE);
		assert_body(&visit, "ok");
		hear_the_end(service);
		close_service();
		leave(&visit);
	}
}

static void names_are_tried_one_after_the_other(void **state)
{
	char url[64];

	options.no_happy_eyeballs = true;
	serve("http", &options);
	set = origin_set_unref(set);
	snprintf(url, sizeof(url), "http://localhost:%u", address_port(&service_address));
	use_service(url, &options);
	get(&visit); /* ::1 refuses, or there is none */
	accept_service();
	hear_head(service);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
}

/* --- disableChunkedEncoding ------------------------------------------------------------------ */

static struct exchange *collect(void)
{
	options.disable_chunked_encoding = true;
	serve("http", &options);
	struct exchange *x = prepare(&visit, "POST", "/up");
	x->request.length = HEAD_LENGTH_UNKNOWN;
	return x;
}

static void a_body_of_unknown_length_is_collected(void **state)
{
	struct exchange *x = collect();

	exchange_start(x, &chain);
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("hel")), 3);
	assert_nobody_connects();
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("lo")), 2);
	assert_int_equal(fields_add(&x->request_body.trailers, &x->arena, BYTES_LIT("X-Sum"),
				    BYTES_LIT("1")),
			 0);
	body_end(&x->request_body);
	accept_service();
	hear(service, "POST /up HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 5\r\n"
		      "Connection: keep-alive\r\n\r\nhello");
	hear_nothing(service); /* trailers have no place here */
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	assert_true(visit.request_rooms <= 2);
}

static void an_empty_body_of_unknown_length_is_none(void **state)
{
	struct exchange *x = collect();

	body_end(&x->request_body);
	exchange_start(x, &chain);
	accept_service();
	assert_non_null(strstr(hear_head(service), "Content-Length: 0\r\n"));
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
}

static uint8_t *pattern(size_t size)
{
	uint8_t *data = mem_alloc(size);

	random_bytes(data, size);
	return data;
}

static void a_large_body_is_collected_in_its_order(void **state)
{
	enum { SIZE = LIMIT_COLLECTED_BODY_BYTES };
	uint8_t *data = pattern(SIZE), *got = mem_alloc(SIZE);
	struct exchange *x = collect();
	size_t len = 0;
	int tries = 0;

	exchange_start(x, &chain);
	visit.upload = bytes_of(data, SIZE);
	visit.upload_ends = true;
	go_on_uploading(&visit);
	accept_service();
	assert_non_null(strstr(hear_head(service), "Content-Length: 4194304\r\n"));
	while (len < SIZE) {
		ssize_t n = read(service, got + len, SIZE - len);
		if (n > 0)
			len += (size_t)n;
		else
			patience(&tries);
	}
	assert_memory_equal(got, data, SIZE);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	mem_free(data);
	mem_free(got);
}

static void a_body_too_large_to_be_collected_needs_a_length(void **state)
{
	uint8_t *data = pattern(LIMIT_COLLECTED_BODY_BYTES + 1);
	struct exchange *x = collect();

	exchange_start(x, &chain);
	visit.upload = bytes_of(data, LIMIT_COLLECTED_BODY_BYTES + 1);
	go_on_uploading(&visit);
	WAIT_FOR(visit.has_failed);
	assert_int_equal(visit.failure.status, 411);
	assert_int_equal(visit.failure.hop, FAILURE_CONNECTOR);
	assert_nobody_connects();
	mem_free(data);
}

static void a_known_length_is_sent_on_as_it_comes(void **state)
{
	struct exchange *x = collect();

	x->request.length = HEAD_LENGTH_KNOWN;
	x->request.content_length = 5;
	exchange_start(x, &chain);
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("hel")), 3);
	accept_service();
	assert_non_null(strstr(hear_head(service), "Content-Length: 5\r\n"));
	hear(service, "hel");
}

static void who_waits_to_be_asked_is_asked_to_go_on(void **state)
{
	struct exchange *x = collect();

	x->expects_continue = x->relays_continue = true;
	exchange_start(x, &chain);
	WAIT_FOR(visit.interim_count == 1);
	assert_int_equal(visit.interims[0], 100);
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("hello")), 5);
	body_end(&x->request_body);
	accept_service();
	assert_null(strstr(hear_head(service), "Expect"));
	hear(service, "hello");
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	assert_int_equal(visit.interim_count, 1);
}

static void a_visitor_may_leave_while_its_body_is_collected(void **state)
{
	struct exchange *x = collect();

	exchange_start(x, &chain);
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("hel")), 3);
	let_it_turn();
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
	assert_nobody_connects();
}

#define KEYS(test) cmocka_unit_test_setup_teardown(test, start_keys, stop_tls)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KEYS(a_proxy_header_comes_first),
		KEYS(a_proxy_header_takes_the_visitor_from_the_edges_field),
		KEYS(a_proxy_header_without_a_visitor_says_so),
		KEYS(a_proxy_header_stands_before_tls),
		KEYS(a_service_of_an_address_is_asked_for_no_name),
		KEYS(a_name_of_the_rules_own_is_asked_for),
		KEYS(connections_of_different_names_are_not_mixed),
		KEYS(an_address_as_host_is_no_name),
		KEYS(a_pool_vouches_for_its_certificates_and_their_names),
		KEYS(a_pool_that_cannot_be_read_is_told_with_its_rule),
		KEYS(tls_over_a_unix_socket_asks_for_the_visitors_host),
		KEYS(a_service_without_alpn_gets_its_upgrades_over_http1),
		KEYS(a_silent_handshake_is_a_gateway_timeout),
		KEYS(a_silent_service_is_a_gateway_timeout),
		KEYS(silence_within_a_body_cuts_it_off),
		KEYS(silence_ends_an_upgrade),
		KEYS(silence_is_no_matter_between_requests),
		KEYS(connections_are_probed_as_often_as_wanted),
		KEYS(no_connection_is_kept_where_none_is_wanted),
		KEYS(names_are_tried_one_after_the_other),
		KEYS(a_body_of_unknown_length_is_collected),
		KEYS(an_empty_body_of_unknown_length_is_none),
		KEYS(a_large_body_is_collected_in_its_order),
		KEYS(a_body_too_large_to_be_collected_needs_a_length),
		KEYS(a_known_length_is_sent_on_as_it_comes),
		KEYS(who_waits_to_be_asked_is_asked_to_go_on),
		KEYS(a_visitor_may_leave_while_its_body_is_collected),
	};

	snprintf(folder, sizeof(folder), "/tmp/test_origin_keys.XXXXXX");
	if (!mkdtemp(folder))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
