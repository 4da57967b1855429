/* Bodies in both directions, at their own speeds; upgrades; services behind TLS. */
#include "unit/connector/tls_service.h"

/* --- Request bodies -------------------------------------------------------------------------- */

static void post(struct visit *v, enum head_length length, uint64_t content_length,
		 struct bytes data)
{
	struct exchange *x = prepare(v, "POST", "/up");

	x->request.length = length;
	x->request.content_length = content_length;
	v->upload = data;
	v->upload_ends = true;
	exchange_start(x, &chain);
	go_on_uploading(v);
}

static void a_body_of_known_length_is_sent_as_it_is(void **state)
{
	post(&visit, HEAD_LENGTH_KNOWN, 5, BYTES_LIT("hello"));
	accept_service();
	hear(service, "POST /up HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 5\r\n"
		      "Connection: keep-alive\r\n\r\nhello");
	hear_nothing(service);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	leave(&visit);
	get(&visit); /* the connection is good for more */
	hear_head(service);
}

static void a_body_of_unknown_length_is_chunked_with_its_trailers(void **state)
{
	struct exchange *x = prepare(&visit, "PUT", "/up");

	x->request.length = HEAD_LENGTH_UNKNOWN;
	exchange_start(x, &chain);
	accept_service();
	hear(service, "PUT /up HTTP/1.1\r\nHost: app.example.com\r\nTransfer-Encoding: chunked\r\n"
		      "Connection: keep-alive\r\n\r\n");
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("hello")), 5);
	hear(service, "5\r\nhello\r\n");
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("0123456789abcdef")), 16);
	assert_int_equal(fields_add(&x->request_body.trailers, &x->arena, BYTES_LIT("x-sum"),
				    BYTES_LIT("7")),
			 0);
	/* What may not be a trailer, or would break out of its line, is left out. */
	assert_int_equal(fields_add(&x->request_body.trailers, &x->arena, BYTES_LIT("x-evil"),
				    BYTES_LIT("a\r\n\r\nGET /admin HTTP/1.1\r\n")),
			 0);
	body_end(&x->request_body);
	hear(service, "10\r\n0123456789abcdef\r\n0\r\n");
	char rest[200];
	let_it_turn();
	ssize_t n = read(service, rest, sizeof(rest) - 1);
	assert_true(n >= 2);
	rest[n] = 0;
	assert_null(strstr(rest, "GET"));
	assert_string_equal(rest + n - 2, "\r\n");
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
}

static void a_post_without_a_body_says_so(void **state)
{
	ask(&visit, "POST", "/");
	accept_service();
	assert_non_null(strstr(hear_head(service), "Content-Length: 0\r\n"));
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	leave(&visit);
	ask(&visit, "DELETE", "/");
	assert_null(strstr(hear_head(service), "Content-Length"));
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
}

static uint8_t *pattern(size_t size)
{
	uint8_t *data = mem_alloc(size);

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 24);
	return data;
}

enum { LARGE = 6 << 20 };

/* Reads a chunked body to its end with reads of odd sizes; the world turns in between. */
static void hear_chunked(ssize_t (*hear_some)(void *ctx, uint8_t *dst, size_t cap), void *ctx,
			 struct bytes want)
{
	enum { SIZE_LINE, DATA, AFTER_DATA, LAST_LINE, DONE } at = SIZE_LINE;
	uint8_t got[3000];
	char line[32];
	size_t left = 0, line_len = 0;
	int tries = 0;

	while (at != DONE) {
		ssize_t n = hear_some(ctx, got, 1 + random_below(sizeof(got)));
		if (n == E_AGAIN) {
			patience(&tries);
			continue;
		}
		assert_true(n > 0);
		tries = 0;
		for (ssize_t i = 0; i < n; i++) {
			assert_int_not_equal(at, DONE);
			if (at == DATA) {
				assert_true(want.len && want.ptr[0] == got[i]);
				want = bytes_from(want, 1);
				at = --left ? DATA : AFTER_DATA;
				continue;
			}
			assert_true(line_len < sizeof(line) - 1);
			line[line_len++] = (char)got[i];
			line[line_len] = 0;
			if (got[i] != '\n')
				continue;
			line_len = 0;
			if (at == SIZE_LINE) {
				left = strtoul(line, NULL, 16);
				at = left ? DATA : LAST_LINE;
			} else {
				assert_string_equal(line, "\r\n");
				at = at == AFTER_DATA ? SIZE_LINE : DONE;
			}
		}
	}
	assert_int_equal(want.len, 0);
}

static ssize_t read_socket(void *ctx, uint8_t *dst, size_t cap)
{
	ssize_t n = read(*(int *)ctx, dst, cap);

	return n < 0 && errno == EAGAIN ? E_AGAIN : n;
}

static void a_large_chunked_upload_waits_for_a_slow_service(void **state)
{
	uint8_t *data = pattern(LARGE);

	post(&visit, HEAD_LENGTH_UNKNOWN, 0, bytes_of(data, LARGE));
	accept_service();
	hear_head(service);
	for (int i = 0; i < 20; i++)
		let_it_turn();
	/* It waits where it is: not more than the queues hold has been taken. */
	assert_true(visit.upload.len > 0);
	hear_chunked(read_socket, &service, bytes_of(data, LARGE));
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	mem_free(data);
}

static void a_large_upload_of_known_length_waits_for_a_slow_service(void **state)
{
	uint8_t *data = pattern(LARGE);
	uint8_t got[5000];
	size_t total = 0;
	int tries = 0;

	post(&visit, HEAD_LENGTH_KNOWN, LARGE, bytes_of(data, LARGE));
	accept_service();
	hear_head(service);
	for (int i = 0; i < 20; i++)
		let_it_turn();
	assert_true(visit.upload.len > 0);
	while (total < LARGE) {
		ssize_t n = read(service, got, sizeof(got));
		if (n < 0) {
			patience(&tries);
			continue;
		}
		assert_true(n > 0);
		tries = 0;
		assert_memory_equal(got, data + total, (size_t)n);
		total += (size_t)n;
	}
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	mem_free(data);
}

static void an_early_response_ends_the_upload(void **state)
{
	uint8_t *data = pattern(LARGE);

	post(&visit, HEAD_LENGTH_KNOWN, LARGE, bytes_of(data, LARGE));
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
	assert_body(&visit, "big");
	assert_int_equal(visit.x->response.status, 413);
	WAIT_FOR(visit.x->answerer_is_gone);
	assert_true(visit.upload.len > 0);
	hear_the_end(service); /* such a connection is of no more use */
	mem_free(data);
}

static void an_early_response_may_be_long_while_the_upload_goes_on(void **state)
{
	struct exchange *x = prepare(&visit, "POST", "/echo");

	x->request.length = HEAD_LENGTH_UNKNOWN;
	exchange_start(x, &chain);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 5; i++) {
		assert_int_equal(body_write(&x->request_body, BYTES_LIT("ping")), 4);
		hear(service, "4\r\nping\r\n");
		say(service, "4\r\npong\r\n");
		WAIT_FOR(visit.body.len == 4 * (size_t)(i + 1));
	}
	body_end(&x->request_body);
	hear(service, "0\r\n\r\n");
	say(service, "0\r\n\r\n");
	assert_body(&visit, "pongpongpongpongpong");
	leave(&visit);
	get(&visit); /* both were complete: the connection is good for more */
	hear_head(service);
}

static void a_body_of_another_length_than_announced_is_refused(void **state)
{
	/* The surplus would be read as the next request. */
	post(&visit, HEAD_LENGTH_KNOWN, 4, BYTES_LIT("1234GET /admin HTTP/1.1\r\n\r\n"));
	accept_service();
	assert_failure(&visit, 502, "Content-Length");
	assert_non_null(strstr(hear_head(service), "Content-Length: 4\r\n"));
	char rest[100] = "";
	ssize_t n = read(service, rest, sizeof(rest) - 1);
	assert_true(n <= 4);
	hear_the_end(service);
	close_service();
	leave(&visit);

	/* What is missing would be taken from the next one. */
	post(&visit, HEAD_LENGTH_KNOWN, 10, BYTES_LIT("1234"));
	accept_service();
	assert_failure(&visit, 502, "Content-Length");
	hear_head(service);
	hear_the_end(service);
}

/* --- Slow visitors --------------------------------------------------------------------------- */

/* Sends a response until nobody takes any more; returns how much went. */
static size_t say_until_it_stalls(int fd, struct bytes data)
{
	size_t total = 0;
	int stalls = 0;

	while (data.len && stalls < 50) {
		ssize_t n = send(fd, data.ptr, data.len, MSG_NOSIGNAL);
		if (n < 0) {
			stalls++;
			let_it_turn();
			continue;
		}
		stalls = 0;
		total += (size_t)n;
		data = bytes_from(data, (size_t)n);
	}
	return total;
}

static void stalled_visitor(const char *head, bool chunked)
{
	uint8_t *data = pattern(LARGE);
	struct buf response;

	buf_init(&response, 2 * LARGE);
	assert_int_equal(buf_append_str(&response, head), 0);
	for (size_t at = 0; at < LARGE;) {
		size_t n = chunked ? 1 + random_below(100000) : LARGE;
		if (n > LARGE - at)
			n = LARGE - at;
		if (chunked)
			assert_int_equal(buf_printf(&response, "%zx\r\n", n), 0);
		assert_int_equal(buf_append(&response, bytes_of(data + at, n)), 0);
		if (chunked)
			assert_int_equal(buf_append_str(&response, "\r\n"), 0);
		at += n;
	}
	if (chunked)
		assert_int_equal(buf_append_str(&response, "0\r\n\r\n"), 0);

	get(&visit);
	visit.reads = false;
	accept_service();
	hear_head(service);
	struct bytes rest = buf_bytes(&response);
	size_t sent = say_until_it_stalls(service, rest);
	assert_true(sent < LARGE); /* unless the kernel holds all of it */
	/* The queue, and what one read may bring over it. */
	assert_true(bufq_len(&visit.x->response_body.queue) <= LIMIT_BODY_QUEUE_BYTES + 64 * 1024);
	let_it_turn();
	visit.reads = true;
	take_response(&visit);
	say_bytes(service, bytes_from(rest, sent));
	if (strstr(head, "Content-Length") == NULL && !chunked)
		close_service();
	WAIT_FOR(visit.has_end || visit.has_failed);
	assert_false(visit.has_failed);
	assert_int_equal(visit.body.len, LARGE);
	assert_memory_equal(visit.body.ptr, data, LARGE);
	assert_true(visit.most_queued <= LIMIT_BODY_QUEUE_BYTES + 64 * 1024);
	buf_done(&response);
	mem_free(data);
}

static void a_stalled_visitor_bounds_a_body_of_known_length(void **state)
{
	stalled_visitor("HTTP/1.1 200 OK\r\nContent-Length: 6291456\r\n\r\n", false);
}

static void a_stalled_visitor_bounds_a_chunked_body(void **state)
{
	stalled_visitor("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true);
}

static void a_stalled_visitor_bounds_a_body_until_close(void **state)
{
	stalled_visitor("HTTP/1.1 200 OK\r\n\r\n", false);
}

/* --- Upgrades -------------------------------------------------------------------------------- */

static struct exchange *upgrade(void)
{
	struct exchange *x = prepare(&visit, "GET", "/socket");

	x->request.is_upgrade = true;
	add_field(x, "Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==");
	exchange_start(x, &chain);
	accept_service();
	return x;
}

#define AGREED \
	"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

static void an_upgrade_is_raw_both_ways(void **state)
{
	struct exchange *x = upgrade();
	const char *head = hear_head(service);

	assert_non_null(strstr(head, "Connection: Upgrade\r\n"));
	assert_non_null(strstr(head, "Upgrade: websocket\r\n"));
	assert_non_null(strstr(head, "Sec-Websocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"));
	say(service, AGREED "first words");
	WAIT_FOR(visit.body.len == 11);
	assert_int_equal(x->response.status, 101);
	assert_true(x->response.is_upgrade);
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("raw\r\nbytes")), 10);
	hear(service, "raw\r\nbytes");
	say(service, ", more");
	WAIT_FOR(visit.body.len == 17);
	close_service();
	assert_body(&visit, "first words, more");
	assert_false(x->answerer_is_gone); /* the other half */
}

static void the_visitors_end_of_an_upgrade_reaches_the_service(void **state)
{
	struct exchange *x = upgrade();
	char c;

	hear_head(service);
	say(service, AGREED);
	WAIT_FOR(visit.has_head);
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("bye")), 3);
	body_end(&x->request_body);
	hear(service, "bye");
	let_it_turn();
	assert_int_equal(read(service, &c, 1), 0);
	say(service, "bye too");
	WAIT_FOR(visit.body.len == 7);
	close_service();
	assert_body(&visit, "bye too");
}

static void the_services_end_of_an_upgrade_is_not_the_visitors(void **state)
{
	struct exchange *x = upgrade();
	char c;

	hear_head(service);
	say(service, AGREED "last words");
	assert_int_equal(shutdown(service, SHUT_WR), 0);
	assert_body(&visit, "last words");
	let_it_turn();
	assert_false(x->answerer_is_gone);
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("still ")), 6);
	hear(service, "still ");
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("here")), 4);
	body_end(&x->request_body);
	hear(service, "here");
	let_it_turn();
	assert_int_equal(read(service, &c, 1), 0);
	assert_true(x->answerer_is_gone);
	assert_false(visit.has_failed);
}

static void a_large_upload_goes_on_after_the_services_end(void **state)
{
	uint8_t *data = pattern(LARGE), *got = mem_alloc(LARGE);
	struct exchange *x = upgrade();
	size_t len = 0;
	int tries = 0;

	hear_head(service);
	say(service, AGREED);
	assert_int_equal(shutdown(service, SHUT_WR), 0);
	assert_body(&visit, "");
	visit.upload = bytes_of(data, LARGE);
	visit.upload_ends = true;
	go_on_uploading(&visit);
	while (len < LARGE) {
		ssize_t n = read(service, got + len, LARGE - len);
		if (n > 0)
			len += (size_t)n;
		else if (n < 0)
			patience(&tries);
		else
			fail_msg("ended after %zu", len);
	}
	assert_memory_equal(got, data, LARGE);
	let_it_turn();
	assert_true(x->answerer_is_gone);
	mem_free(data);
	mem_free(got);
}

static void a_service_that_is_gone_ends_both_halves(void **state)
{
	struct exchange *x = upgrade();

	hear_head(service);
	say(service, AGREED);
	WAIT_FOR(visit.has_head);
	close_service();
	assert_body(&visit, "");
	/* What is sent now meets a reset. */
	for (int i = 0; i < 100 && !x->answerer_is_gone; i++) {
		(void)body_write(&x->request_body, BYTES_LIT("anybody?"));
		let_it_turn();
	}
	assert_true(x->answerer_is_gone);
	assert_false(visit.has_failed);
}

static void a_visitor_may_leave_half_an_upgrade(void **state)
{
	upgrade();
	hear_head(service);
	say(service, AGREED);
	assert_int_equal(shutdown(service, SHUT_WR), 0);
	assert_body(&visit, "");
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
	hear_the_end(service);
}

static void nothing_raw_is_sent_before_the_service_agrees(void **state)
{
	struct exchange *x = upgrade();

	assert_int_equal(body_write(&x->request_body, BYTES_LIT("early")), 5);
	hear_head(service);
	hear_nothing(service);
	say(service, AGREED);
	hear(service, "early");
}

static void a_refused_upgrade_smuggles_nothing(void **state)
{
	struct exchange *x = upgrade();

	struct bytes smuggled = BYTES_LIT("GET /admin HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(body_write(&x->request_body, smuggled), smuggled.len);
	hear_head(service);
	say(service, "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno");
	assert_body(&visit, "no");
	assert_int_equal(x->response.status, 400);
	assert_false(x->response.is_upgrade);
	char scrap[100];
	let_it_turn();
	assert_int_equal(read(service, scrap, sizeof(scrap)), 0); /* closed, without a byte of it */
}

static void a_stalled_visitor_bounds_an_upgrade(void **state)
{
	uint8_t *data = pattern(LARGE);

	upgrade();
	visit.reads = false;
	hear_head(service);
	say(service, AGREED);
	size_t sent = say_until_it_stalls(service, bytes_of(data, LARGE));
	assert_true(sent < LARGE);
	assert_true(bufq_len(&visit.x->response_body.queue) <= LIMIT_BODY_QUEUE_BYTES + 64 * 1024);
	visit.reads = true;
	take_response(&visit);
	say_bytes(service, bytes_of(data + sent, LARGE - sent));
	WAIT_FOR(visit.body.len == LARGE);
	assert_memory_equal(visit.body.ptr, data, LARGE);
	mem_free(data);
}

static void a_visitor_may_leave_an_upgrade(void **state)
{
	upgrade();
	hear_head(service);
	say(service, AGREED);
	WAIT_FOR(visit.has_head);
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
	hear_the_end(service);
}

/* --- TLS ------------------------------------------------------------------------------------- */

static void trusting(struct ingress_origin *options)
{
	ingress_origin_defaults(options);
	options->no_tls_verify = true;
}

static void a_tls_service_is_asked_and_its_connection_kept(void **state)
{
	struct ingress_origin options;

	trusting(&options);
	serve("https", &options);
	for (int i = 0; i < 3; i++) {
		get(&visit);
		if (i == 0)
			accept_secure();
		hear_secure_head();
		assert_int_equal(byte_stream_write(secure.stream, bytes_str(OK_RESPONSE)),
				 strlen(OK_RESPONSE));
		assert_body(&visit, "ok");
		leave(&visit);
		let_it_turn();
	}
	assert_nobody_connects();
	secure.stream = byte_stream_close(secure.stream);
	let_it_turn();
	get(&visit);
	accept_secure();
	hear_secure_head();
}

static void a_certificate_that_nobody_vouches_for_is_a_failure(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	serve("https", &options);
	get(&visit);
	accept_secure();
	assert_failure(&visit, 502, "");
	assert_false(visit.failure.was_sent);
	assert_null(secure.stream);
}

static void a_service_without_tls_is_a_failure(void **state)
{
	struct ingress_origin options;

	trusting(&options);
	serve("https", &options);
	get(&visit);
	accept_service();
	say(service, "HTTP/1.1 400 Bad Request\r\n\r\n");
	assert_failure(&visit, 502, "");
	assert_false(visit.failure.was_sent);
	leave(&visit);
	close_service();

	/* Nor one that closes in the middle of the handshake. */
	get(&visit);
	accept_service();
	close_service();
	assert_failure(&visit, 502, "");
}

static ssize_t read_secure(void *ctx, uint8_t *dst, size_t cap)
{
	return byte_stream_read(secure.stream, dst, cap, NULL);
}

static void a_large_chunked_upload_waits_for_a_slow_tls_service(void **state)
{
	struct ingress_origin options;
	uint8_t *data = pattern(LARGE);

	trusting(&options);
	serve("https", &options);
	struct exchange *x = prepare(&visit, "POST", "/up");
	x->request.length = HEAD_LENGTH_UNKNOWN;
	exchange_start(x, &chain);
	accept_secure();
	hear_secure_head();
	secure.reads = false;
	visit.upload = bytes_of(data, LARGE);
	visit.upload_ends = true;
	go_on_uploading(&visit);
	for (int i = 0; i < 50; i++)
		let_it_turn();
	assert_true(visit.upload.len > 0);
	hear_chunked(read_secure, NULL, bytes_of(data, LARGE));
	assert_int_equal(byte_stream_write(secure.stream, bytes_str(OK_RESPONSE)),
			 strlen(OK_RESPONSE));
	assert_body(&visit, "ok");
	mem_free(data);
}

static void a_visitor_may_leave_during_the_handshake(void **state)
{
	struct ingress_origin options;

	trusting(&options);
	serve("https", &options);
	get(&visit);
	accept_service();
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
	hear_the_end(service);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, start_plain, stop)
#define SECURE(test) cmocka_unit_test_setup_teardown(test, start_tls, stop_tls)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAIN(a_body_of_known_length_is_sent_as_it_is),
		PLAIN(a_body_of_unknown_length_is_chunked_with_its_trailers),
		PLAIN(a_post_without_a_body_says_so),
		PLAIN(a_large_chunked_upload_waits_for_a_slow_service),
		PLAIN(a_large_upload_of_known_length_waits_for_a_slow_service),
		PLAIN(an_early_response_ends_the_upload),
		PLAIN(an_early_response_may_be_long_while_the_upload_goes_on),
		PLAIN(a_body_of_another_length_than_announced_is_refused),
		PLAIN(a_stalled_visitor_bounds_a_body_of_known_length),
		PLAIN(a_stalled_visitor_bounds_a_chunked_body),
		PLAIN(a_stalled_visitor_bounds_a_body_until_close),
		PLAIN(an_upgrade_is_raw_both_ways),
		PLAIN(the_visitors_end_of_an_upgrade_reaches_the_service),
		PLAIN(the_services_end_of_an_upgrade_is_not_the_visitors),
		PLAIN(a_large_upload_goes_on_after_the_services_end),
		PLAIN(a_service_that_is_gone_ends_both_halves),
		PLAIN(a_visitor_may_leave_half_an_upgrade),
		PLAIN(nothing_raw_is_sent_before_the_service_agrees),
		PLAIN(a_refused_upgrade_smuggles_nothing),
		PLAIN(a_stalled_visitor_bounds_an_upgrade),
		PLAIN(a_visitor_may_leave_an_upgrade),
		SECURE(a_tls_service_is_asked_and_its_connection_kept),
		SECURE(a_certificate_that_nobody_vouches_for_is_a_failure),
		SECURE(a_service_without_tls_is_a_failure),
		SECURE(a_large_chunked_upload_waits_for_a_slow_tls_service),
		SECURE(a_visitor_may_leave_during_the_handshake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
