/* Services behind a WebSocket: TCP, bastion, SOCKS; and the built-in pages. */
#include "unit/connector/service.h"

#include "http/websocket.h"

static const uint8_t mask[4] = { 0x12, 0x34, 0x56, 0x78 };

/* --- The visitor's side ---------------------------------------------------------------------- */

static struct exchange *prepare_upgrade(struct visit *v, const char *path)
{
	struct exchange *x = prepare(v, "GET", path);

	x->request.is_upgrade = true;
	x->request.length = HEAD_LENGTH_UNKNOWN;
	add_field(x, "sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
	return x;
}

static void assert_upgraded(struct visit *v)
{
	WAIT_FOR(v->has_head || v->has_failed);
	if (v->has_failed)
		fail_msg("failed: %s", v->detail);
	assert_int_equal(v->x->response.status, 101);
	const struct field *accept = fields_find(&v->x->response.fields, HEAD_SEC_WEBSOCKET_ACCEPT);
	assert_non_null(accept);
	assert_true(bytes_eq(accept->value, BYTES_LIT("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
}

static void upgrade_to(struct visit *v, const char *path)
{
	exchange_start(prepare_upgrade(v, path), &chain);
	assert_upgraded(v);
}

/* To a tcp:// service that has accepted the connection. */
static void upgrade(struct visit *v)
{
	upgrade_to(v, "/");
	accept_service();
}

static void upgrade_with_half_close(struct visit *v)
{
	struct exchange *x = prepare_upgrade(v, "/");

	add_field(x, WEBSOCKET_HALF_CLOSE_FIELD, "1");
	exchange_start(x, &chain);
	assert_upgraded(v);
	const struct field *field =
		fields_find_text(&x->response.fields, BYTES_LIT(WEBSOCKET_HALF_CLOSE_FIELD));
	assert_non_null(field);
	accept_service();
}

static void send_raw(struct visit *v, struct bytes data)
{
	body_write_all(&v->x->request_body, data);
}

static void send_frame(struct visit *v, uint8_t first, struct bytes payload)
{
	uint8_t head[WEBSOCKET_HEAD_MAX];
	size_t len = websocket_print_head(WEBSOCKET_BINARY, payload.len, mask, head);
	uint8_t *copy = mem_alloc(payload.len + 1);

	head[0] = first;
	if (payload.len)
		memcpy(copy, payload.ptr, payload.len);
	websocket_mask(copy, payload.len, mask, 0);
	send_raw(v, bytes_of(head, len));
	send_raw(v, bytes_of(copy, payload.len));
	mem_free(copy);
}

#define SEND(v, first, payload) send_frame(v, first, BYTES_LIT(payload))
#define BINARY 0x82
#define TEXT 0x81
#define CLOSE 0x88
#define PING 0x89

/* Frames that have come, as text: "data(x) end empty ping() pong(x) close(1000)". */
static const char *told(struct visit *v)
{
	static char text[4096];
	struct websocket_reader r;
	struct buf copy;
	bool in_data = false;
	size_t len = 0;

	buf_init(&copy, 64 << 20);
	assert_int_equal(buf_append(&copy, buf_bytes(&v->body)), 0);
	uint8_t *at = copy.ptr;
	size_t size = copy.len;
	text[0] = 0;
	websocket_reader_init(&r, WEBSOCKET_CLIENT);
	for (;;) {
		enum websocket_event event = websocket_next(&r, &at, &size);
		if (event == WEBSOCKET_MORE || event == WEBSOCKET_BROKEN)
			break;
		const char *word = event == WEBSOCKET_DATA      ? (in_data ? "" : "data(")
				   : event == WEBSOCKET_MESSAGE ? (r.is_empty ? "empty " : "")
				   : r.opcode == WEBSOCKET_PING ? "ping("
				   : r.opcode == WEBSOCKET_PONG ? "pong("
								: "close(";
		if (in_data && event != WEBSOCKET_DATA)
			len += (size_t)snprintf(text + len, sizeof(text) - len, ") ");
		in_data = event == WEBSOCKET_DATA;
		assert_true(len + strlen(word) + r.payload.len + 20 < sizeof(text));
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", word);
		if (event == WEBSOCKET_CONTROL && r.opcode == WEBSOCKET_CLOSE)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%u) ",
						r.close_code);
		else if (event != WEBSOCKET_MESSAGE)
			len += (size_t)snprintf(text + len, sizeof(text) - len, BYTES_FMT "%s",
						BYTES_ARG(r.payload), in_data ? "" : ") ");
	}
	buf_done(&copy);
	return text;
}

#define WAIT_TOLD(v, want)                                                           \
	do {                                                                         \
		int tries = 0;                                                       \
		while (strcmp(told(v), want) != 0) {                                 \
			if (++tries > 3000)                                          \
				fail_msg("told \"%s\", want \"%s\"", told(v), want); \
			let_it_turn();                                               \
		}                                                                    \
	} while (0)

static int start_tcp(void **state)
{
	start(state);
	serve("tcp", NULL);
	return 0;
}

/* --- Opening --------------------------------------------------------------------------------- */

static void bytes_go_both_ways(void **state)
{
	upgrade(&visit);
	SEND(&visit, BINARY, "hello");
	hear(service, "hello");
	say(service, "SSH-2.0");
	WAIT_TOLD(&visit, "data(SSH-2.0) ");
	SEND(&visit, TEXT, "text is bytes, too");
	hear(service, "text is bytes, too");
	SEND(&visit, 0x02, "frag");
	SEND(&visit, PING, "in between");
	SEND(&visit, 0x80, "ments");
	hear(service, "fragments");
	WAIT_TOLD(&visit, "data(SSH-2.0) pong(in between) ");
}

static void frames_may_come_in_any_pieces(void **state)
{
	uint8_t frame[WEBSOCKET_HEAD_MAX + 5];
	size_t len = websocket_print_head(WEBSOCKET_BINARY, 5, mask, frame);

	memcpy(frame + len, "bytes", 5);
	websocket_mask(frame + len, 5, mask, 0);
	upgrade(&visit);
	for (size_t i = 0; i < len + 5; i++) {
		send_raw(&visit, bytes_of(frame + i, 1));
		let_it_turn();
	}
	hear(service, "bytes");
}

static void frames_may_come_with_the_handshake(void **state)
{
	struct exchange *x = prepare_upgrade(&visit, "/");

	SEND(&visit, BINARY, "early");
	exchange_start(x, &chain);
	assert_upgraded(&visit);
	accept_service();
	hear(service, "early");
}

static void without_a_key_there_is_nothing_to_accept(void **state)
{
	struct exchange *x = prepare(&visit, "GET", "/");

	x->request.is_upgrade = true;
	exchange_start(x, &chain);
	WAIT_FOR(visit.has_head);
	assert_int_equal(x->response.status, 101);
	assert_int_equal(x->response.fields.count, 0);
}

static void a_service_that_is_down_is_a_failure(void **state)
{
	close(listener);
	listener = -1;
	exchange_start(prepare_upgrade(&visit, "/"), &chain);
	assert_failure(&visit, 502, "The service tcp://127.0.0.1:");
	assert_string_equal(visit.errno_name, "ECONNREFUSED");
	assert_false(visit.failure.was_sent);
}

static void the_service_gets_a_proxy_header(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.proxy_protocol = INGRESS_PROXY_V1;
	start(state);
	serve("tcp", &options);
	struct exchange *x = prepare_upgrade(&visit, "/");
	add_field(x, "cf-connecting-ip", "192.0.2.9");
	exchange_start(x, &chain);
	assert_upgraded(&visit);
	accept_service();
	hear(service, "PROXY TCP4 192.0.2.9 ");
}

static void a_request_that_is_no_websocket_is_told_what_to_do(void **state)
{
	struct exchange *x = prepare(&visit, "GET", "/");

	x->request.authority = BYTES_LIT("<b>.example.com");
	body_end(&x->request_body);
	exchange_start(x, &chain);
	WAIT_FOR(visit.has_end);
	assert_int_equal(x->response.status, 400);
	assert_int_equal(buf_append(&visit.body, BYTES_LIT("\0")), 0);
	assert_non_null(
		strstr((char *)visit.body.ptr, "adit access tcp --hostname &lt;b&gt;.example.com"));
	assert_nobody_connects();
}

/* --- Ending ---------------------------------------------------------------------------------- */

static void a_visitor_who_closes_is_answered_when_the_service_has_everything(void **state)
{
	upgrade(&visit);
	SEND(&visit, BINARY, "last words");
	SEND(&visit, CLOSE, "\x03\xe9");
	hear(service, "last words");
	hear_the_end(service);
	WAIT_FOR(visit.has_end);
	WAIT_TOLD(&visit, "close(1001) ");
	assert_true(visit.x->answerer_is_gone);
}

static void a_close_without_a_code_is_answered_without_one(void **state)
{
	upgrade(&visit);
	SEND(&visit, CLOSE, "");
	WAIT_FOR(visit.has_end);
	assert_int_equal(visit.body.len, 2);
	assert_memory_equal(visit.body.ptr, "\x88\x00", 2);
}

static void the_end_of_the_stream_ends_the_service(void **state)
{
	upgrade(&visit);
	SEND(&visit, BINARY, "bye");
	body_end(&visit.x->request_body);
	hear(service, "bye");
	hear_the_end(service);
	WAIT_FOR(visit.has_end);
}

static void a_service_that_ends_closes_the_websocket(void **state)
{
	upgrade(&visit);
	say(service, "that was all");
	close_service();
	WAIT_FOR(visit.has_end);
	WAIT_TOLD(&visit, "data(that was all) close(1000) ");
}

static void a_reset_by_the_service_is_told(void **state)
{
	upgrade(&visit);
	say(service, "half");
	WAIT_TOLD(&visit, "data(half) ");
	reset_and_close(service);
	service = -1;
	WAIT_FOR(visit.has_end);
	WAIT_TOLD(&visit, "data(half) close(1011) ");
}

static void violations_are_closed_with_their_code(void **state)
{
	static const struct bytes wrong[] = {
		BYTES_LIT("\x82\x01x"),                          /* no mask */
		BYTES_LIT("\xc2\x81\0\0\0\0x"),                  /* reserved bit */
		BYTES_LIT("\x83\x80\0\0\0\0"),                   /* reserved opcode */
		BYTES_LIT("\x80\x80\0\0\0\0"),                   /* continues nothing */
		BYTES_LIT("\x88\x81\0\0\0\0\x03"),               /* half a close code */
		BYTES_LIT("\x88\x82\0\0\0\0\x03\xed"),           /* 1005 */
		BYTES_LIT("\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0"), /* 64 bits */
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		upgrade(&visit);
		SEND(&visit, BINARY, "fine");
		send_raw(&visit, wrong[i]);
		hear(service, "fine");
		hear_the_end(service);
		WAIT_FOR(visit.has_end);
		WAIT_TOLD(&visit, "close(1002) ");
		close_service();
		leave(&visit);
	}
}

static void a_visitor_who_leaves_ends_the_connection(void **state)
{
	upgrade(&visit);
	SEND(&visit, BINARY, "x");
	hear(service, "x");
	leave(&visit);
	hear_the_end(service);
}

static void a_visitor_may_leave_while_the_service_is_dialled(void **state)
{
	exchange_start(prepare_upgrade(&visit, "/"), &chain);
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
}

static void silence_ends_it_when_asked_for(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.idle_timeout = 30 * USEC_PER_MSEC;
	start(state);
	serve("tcp", &options);
	upgrade(&visit);
	WAIT_FOR(visit.has_end);
	WAIT_TOLD(&visit, "close(1001) ");
	hear_the_end(service);
}

/* --- Half-close ------------------------------------------------------------------------------ */

static void the_visitor_may_end_first(void **state)
{
	upgrade_with_half_close(&visit);
	SEND(&visit, BINARY, "question");
	SEND(&visit, BINARY, "");
	hear(service, "question");
	hear_the_end(service);
	say(service, "answer");
	WAIT_TOLD(&visit, "data(answer) ");
	close_service();
	WAIT_FOR(visit.has_end);
	WAIT_TOLD(&visit, "data(answer) empty close(1000) ");
}

static void the_service_may_end_first(void **state)
{
	upgrade_with_half_close(&visit);
	say(service, "banner");
	assert_int_equal(shutdown(service, SHUT_WR), 0);
	WAIT_TOLD(&visit, "data(banner) empty ");
	let_it_turn();
	assert_false(visit.has_end);
	SEND(&visit, BINARY, "still here");
	hear(service, "still here");
	SEND(&visit, BINARY, "");
	hear_the_end(service);
	WAIT_FOR(visit.has_end);
	WAIT_TOLD(&visit, "data(banner) empty close(1000) ");
}

static void a_close_frame_ends_both_directions_at_once(void **state)
{
	upgrade_with_half_close(&visit);
	SEND(&visit, CLOSE, "\x03\xe8");
	hear_the_end(service);
	WAIT_FOR(visit.has_end);
	WAIT_TOLD(&visit, "close(1000) ");
}

static void data_after_the_end_is_a_violation(void **state)
{
	upgrade_with_half_close(&visit);
	SEND(&visit, BINARY, "");
	SEND(&visit, BINARY, "more");
	WAIT_FOR(visit.has_end);
	WAIT_TOLD(&visit, "close(1002) ");
}

static void not_agreed_on_empty_messages_mean_nothing(void **state)
{
	upgrade(&visit);
	SEND(&visit, BINARY, "");
	SEND(&visit, BINARY, "x");
	hear(service, "x");
	assert_null(
		fields_find_text(&visit.x->response.fields, BYTES_LIT(WEBSOCKET_HALF_CLOSE_FIELD)));
}

/* --- Pressure -------------------------------------------------------------------------------- */

static void a_visitor_who_does_not_read_stops_the_service(void **state)
{
	uint8_t *block = mem_alloc(1 << 20);
	size_t sent = 0;
	int still = 0;

	upgrade(&visit);
	visit.reads = false;
	while (still < 20) {
		ssize_t n = send(service, block, 1 << 20, MSG_NOSIGNAL);
		still = n > 0 ? 0 : still + 1;
		sent += n > 0 ? (size_t)n : 0;
		let_it_turn();
		assert_true(sent < 64u << 20);
	}
	assert_true(bufq_len(&visit.x->response_body.queue) <= LIMIT_BODY_QUEUE_BYTES);
	close_service();
	visit.reads = true;
	take_response(&visit);
	WAIT_FOR(visit.has_end);
	assert_true(visit.body.len >= sent);
	mem_free(block);
}

static void a_service_that_does_not_read_stops_the_visitor(void **state)
{
	enum { FRAME = 60000, TOTAL = 600 };
	uint8_t *block = mem_alloc(FRAME);
	size_t frames = 0, got = 0;
	int still = 0;

	upgrade(&visit);
	/* As a transport with a window: no more than 512 KiB wait. */
	while (still < 20) {
		if (bufq_len(&visit.x->request_body.queue) < 8 * FRAME) {
			for (size_t i = 0; i < FRAME; i++)
				block[i] = (uint8_t)(frames * FRAME + i);
			send_frame(&visit, BINARY, bytes_of(block, FRAME));
			frames++;
			still = 0;
		} else {
			still++;
		}
		let_it_turn();
		assert_true(frames < TOTAL);
	}
	SEND(&visit, CLOSE, "\x03\xe8");
	for (int tries = 0; got < frames * FRAME;) {
		ssize_t n = read(service, block, FRAME);
		for (ssize_t i = 0; i < n; i++, got++)
			assert_int_equal(block[i], (uint8_t)got);
		if (n <= 0)
			patience(&tries);
	}
	hear_the_end(service);
	WAIT_FOR(visit.has_end);
	mem_free(block);
}

static void pings_that_nobody_reads_the_answers_of_do_not_pile_up(void **state)
{
	char want[128 + 10];
	uint8_t payload[125];

	upgrade(&visit);
	visit.reads = false;
	for (int i = 0; i < 5000; i++) {
		memset(payload, 'a' + i % 26, sizeof(payload));
		send_frame(&visit, PING, bytes_of(payload, sizeof(payload)));
		if (i % 100 == 0)
			let_it_turn();
	}
	SEND(&visit, BINARY, "and on");
	hear(service, "and on");
	assert_true(bufq_len(&visit.x->response_body.queue) <= LIMIT_BODY_QUEUE_BYTES);
	visit.reads = true;
	take_response(&visit);
	let_it_turn();
	/* The last one is answered. */
	snprintf(want, sizeof(want), "\x8a\x7d%.125s", (const char *)payload);
	assert_memory_equal(visit.body.ptr + visit.body.len - 127, want, 127);
}

/* --- Bastion --------------------------------------------------------------------------------- */

static int start_bastion(void **state)
{
	start(state);
	listener = raw_listener("127.0.0.1", 0, 100, &service_address);
	set_nonblocking(listener);
	use_service("bastion", NULL);
	return 0;
}

static struct exchange *prepare_jump(struct visit *v, const char *format)
{
	struct exchange *x = prepare_upgrade(v, "/");
	char destination[200];

	snprintf(destination, sizeof(destination), "%s", format);
	char *mark = strstr(destination, "PORT");
	if (mark)
		snprintf(mark, sizeof(destination) - (size_t)(mark - destination), "%u%s",
			 address_port(&service_address), strstr(format, "PORT") + 4);
	assert_int_equal(fields_add(&x->request.fields, &x->arena,
				    BYTES_LIT("cf-access-jump-destination"),
				    arena_copy(&x->arena, bytes_str(destination))),
			 0);
	return x;
}

static void a_bastion_goes_where_the_request_says(void **state)
{
	static const char *const destinations[] = {
		"127.0.0.1:PORT",       "localhost:PORT",
		"ssh://127.0.0.1:PORT", "ssh://user@127.0.0.1:PORT/path?query",
		"127.0.0.1:PORT/path",  "tcp://[::ffff:127.0.0.1]:PORT",
	};

	for (size_t i = 0; i < ARRAY_LEN(destinations); i++) {
		exchange_start(prepare_jump(&visit, destinations[i]), &chain);
		assert_upgraded(&visit);
		accept_service();
		SEND(&visit, BINARY, "jump");
		hear(service, "jump");
		leave(&visit);
		hear_the_end(service);
		close_service();
	}
}

static void a_bastion_without_a_destination_says_so(void **state)
{
	static const char *const destinations[] = { "",       "host",       "http://host/",
						    "::1",    "host:99999", "ssh://host:x",
						    "ssh://", "[::1]",      ":22" };

	for (size_t i = 0; i < ARRAY_LEN(destinations); i++) {
		exchange_start(prepare_jump(&visit, destinations[i]), &chain);
		WAIT_FOR(visit.has_end || visit.has_failed);
		assert_false(visit.has_failed);
		assert_int_equal(visit.x->response.status, 400);
		assert_int_equal(buf_append(&visit.body, BYTES_LIT("\0")), 0);
		assert_non_null(strstr((char *)visit.body.ptr, "--destination"));
		leave(&visit);
	}
}

static void a_destination_that_is_down_is_a_failure(void **state)
{
	close(listener);
	listener = -1;
	exchange_start(prepare_jump(&visit, "ssh://127.0.0.1:PORT"), &chain);
	assert_failure(&visit, 502, "The destination 127.0.0.1:");
	assert_string_equal(visit.errno_name, "ECONNREFUSED");
}

/* --- SOCKS ----------------------------------------------------------------------------------- */

#define GREETING "\x05\x01\x00"

static const struct ingress_ip_rule loopback_only[] = {
	{ .prefix = { [10] = 0xff, [11] = 0xff, 127, 0, 0, 2 }, .bits = 128 },
	{ .prefix = { [10] = 0xff, [11] = 0xff, 127 }, .bits = 104, .is_allowed = true },
};

static void serve_socks(const struct ingress_ip_rule *rules, size_t count)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.ip_rules = rules;
	options.ip_rule_count = count;
	listener = raw_listener("127.0.0.1", 0, 100, &service_address);
	set_nonblocking(listener);
	use_service("socks-proxy", &options);
}

static int start_socks(void **state)
{
	start(state);
	serve_socks(loopback_only, 2);
	return 0;
}

/* A request for this address (host bytes with their type and length) and the service's port. */
static void send_socks(struct visit *v, struct bytes host)
{
	uint8_t text[300] = GREETING "\x05\x01";
	uint16_t port = address_port(&service_address);

	memcpy(text + 5, host.ptr, host.len);
	text[5 + host.len] = (uint8_t)(port >> 8);
	text[6 + host.len] = (uint8_t)port;
	send_frame(v, BINARY, bytes_of(text, 7 + host.len));
}

static void wait_bytes(struct visit *v, struct bytes want)
{
	WAIT_FOR(v->body.len >= want.len || v->has_end);
	assert_int_equal(v->body.len, want.len);
	assert_memory_equal(v->body.ptr, want.ptr, want.len);
}

#define GREETED "\x82\x02\x05\x00"
#define REPLY(code) "\x82\x0a\x05" code "\x00\x01\0\0\0\0\0\0"

static void socks_connects_to_what_is_allowed(void **state)
{
	static const struct bytes hosts[] = {
		BYTES_LIT("\x00\x01\x7f\x00\x00\x01"),
		BYTES_LIT("\x00\x03\x09"
			  "127.0.0.1"),
		BYTES_LIT("\x00\x03\x09"
			  "localhost"), /* ::1 is not allowed, 127.0.0.1 is */
		BYTES_LIT("\x00\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01"),
	};

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		upgrade_to(&visit, "/");
		send_socks(&visit, hosts[i]);
		SEND(&visit, BINARY, "at once");
		accept_service();
		wait_bytes(&visit, BYTES_LIT(GREETED REPLY("\x00")));
		hear(service, "at once");
		say(service, "back");
		close_service();
		WAIT_FOR(visit.has_end);
		wait_bytes(&visit, BYTES_LIT(GREETED REPLY("\x00") "\x82\x04"
								   "back\x88\x02\x03\xe8"));
		leave(&visit);
	}
}

static void socks_denies_what_is_not(void **state)
{
	static const struct bytes hosts[] = {
		BYTES_LIT("\x00\x01\x7f\x00\x00\x02"),
		BYTES_LIT("\x00\x01\x0a\x00\x00\x01"),
		BYTES_LIT("\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
		BYTES_LIT("\x00\x03\x09"
			  "127.0.0.2"),
	};

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		upgrade_to(&visit, "/");
		send_socks(&visit, hosts[i]);
		WAIT_FOR(visit.has_end);
		wait_bytes(&visit, BYTES_LIT(GREETED REPLY("\x02") "\x88\x02\x03\xe8"));
		leave(&visit);
	}
	assert_nobody_connects();
}

static void socks_without_rules_denies_everything(void **state)
{
	serve_socks(NULL, 0);
	upgrade_to(&visit, "/");
	send_socks(&visit, BYTES_LIT("\x00\x01\x7f\x00\x00\x01"));
	WAIT_FOR(visit.has_end);
	wait_bytes(&visit, BYTES_LIT(GREETED REPLY("\x02") "\x88\x02\x03\xe8"));
	assert_nobody_connects();
}

static void socks_tells_why_it_could_not_connect(void **state)
{
	close(listener);
	listener = -1;
	upgrade_to(&visit, "/");
	send_socks(&visit, BYTES_LIT("\x00\x01\x7f\x00\x00\x01"));
	WAIT_FOR(visit.has_end);
	wait_bytes(&visit, BYTES_LIT(GREETED REPLY("\x05") "\x88\x02\x03\xe8"));
}

static void socks_refuses_other_commands_and_protocols(void **state)
{
	upgrade_to(&visit, "/");
	SEND(&visit, BINARY, GREETING "\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x50");
	WAIT_FOR(visit.has_end);
	wait_bytes(&visit, BYTES_LIT(GREETED REPLY("\x07") "\x88\x02\x03\xe8"));
	leave(&visit);
	upgrade_to(&visit, "/");
	SEND(&visit, BINARY, "GET / HTTP/1.1\r\n\r\n");
	WAIT_FOR(visit.has_end);
	wait_bytes(&visit, BYTES_LIT("\x88\x02\x03\xe8"));
}

static void a_visitor_may_leave_while_socks_connects(void **state)
{
	upgrade_to(&visit, "/");
	send_socks(&visit, BYTES_LIT("\x00\x01\x7f\x00\x00\x01"));
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
}

static void a_visitor_may_close_while_socks_connects(void **state)
{
	upgrade_to(&visit, "/");
	send_socks(&visit, BYTES_LIT("\x00\x01\x7f\x00\x00\x01"));
	SEND(&visit, CLOSE, "\x03\xe8");
	WAIT_FOR(visit.has_end);
}

static void unread_pongs_do_not_stop_a_reply(void **state)
{
	upgrade_to(&visit, "/");
	visit.reads = false;
	send_socks(&visit, BYTES_LIT("\x00\x01\x7f\x00\x00\x01"));
	for (int i = 0; i < 40000; i++)
		SEND(&visit, PING, "");
	accept_service();
	SEND(&visit, BINARY, "through");
	hear(service, "through");
	visit.reads = true;
	take_response(&visit);
}

static void a_tcp_service_may_be_reached_through_socks(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.is_socks = true;
	start(state);
	serve("tcp", &options);
	upgrade(&visit);
	say(service, "banner");
	let_it_turn();
	assert_int_equal(visit.body.len, 0);
	/* Whatever is asked for: it is the rule's service. */
	send_socks(&visit, BYTES_LIT("\x00\x03\x0b"
				     "example.com"));
	SEND(&visit, BINARY, "x");
	hear(service, "x");
	WAIT_FOR(visit.body.len >= 4 + 12 + 8);
	wait_bytes(&visit, BYTES_LIT(GREETED REPLY("\x00") "\x82\x06"
							   "banner"));
}

/* --- hello_world ----------------------------------------------------------------------------- */

static int start_hello(void **state)
{
	start(state);
	use_service("hello_world", NULL);
	return 0;
}

static const char *page_of(struct visit *v)
{
	WAIT_FOR(v->has_end || v->has_failed);
	assert_false(v->has_failed);
	assert_int_equal(buf_append(&v->body, BYTES_LIT("\0")), 0);
	return (char *)v->body.ptr;
}

static void assert_type(struct visit *v, const char *want)
{
	const struct field *type = fields_find(&v->x->response.fields, HEAD_CONTENT_TYPE);

	assert_non_null(type);
	assert_true(bytes_eq(type->value, bytes_str(want)));
}

static void the_page_shows_the_request_escaped(void **state)
{
	struct exchange *x = prepare(&visit, "POST", "/any?<script>");

	add_field(x, "x-evil", "<img src=x onerror='1'>&\"");
	x->request.length = HEAD_LENGTH_UNKNOWN;
	exchange_start(x, &chain);
	body_write_all(&x->request_body, BYTES_LIT("<body>\x01"));
	let_it_turn();
	assert_false(visit.has_head);
	body_end(&x->request_body);
	const char *page = page_of(&visit);
	assert_int_equal(x->response.status, 200);
	assert_type(&visit, "text/html; charset=utf-8");
	assert_non_null(strstr(page, "/any?&lt;script&gt;"));
	assert_non_null(strstr(page, "<td>X-Evil</td><td>&lt;img src=x onerror=&#39;1&#39;&gt;"
				     "&amp;&#34;</td>"));
	assert_non_null(strstr(page, "<pre>&lt;body&gt;\xef\xbf\xbd</pre>"));
	assert_null(strstr(page, "<img"));
}

static void a_large_body_is_shown_in_part(void **state)
{
	struct exchange *x = prepare(&visit, "POST", "/");
	uint8_t *data = mem_alloc(1 << 20);

	memset(data, '<', 1 << 20);
	x->request.length = HEAD_LENGTH_UNKNOWN;
	visit.upload = bytes_of(data, 1 << 20);
	visit.upload_ends = true;
	exchange_start(x, &chain);
	go_on_uploading(&visit);
	assert_non_null(
		strstr(page_of(&visit), "1048576 bytes, of which these are the first 16384"));
	mem_free(data);
}

static void small_pages_are_as_in_the_stock_server(void **state)
{
	ask(&visit, "GET", "/_health");
	assert_string_equal(page_of(&visit), "ok");
	assert_type(&visit, "text/plain; charset=utf-8");
	leave(&visit);
	ask(&visit, "GET", "/uptime?x");
	assert_memory_equal(page_of(&visit), "{\"startTime\":\"20", 16);
	assert_non_null(strstr(page_of(&visit), "Z\",\"uptime\":\""));
	assert_type(&visit, "application/json");
	leave(&visit);
	ask(&visit, "GET", "/ws");
	assert_string_equal(page_of(&visit), "Bad Request\n");
	assert_int_equal(visit.x->response.status, 400);
	leave(&visit);
	exchange_start(prepare_upgrade(&visit, "/"), &chain);
	assert_non_null(strstr(page_of(&visit), "The tunnel works"));
	assert_int_equal(visit.x->response.status, 200);
}

static void events_come_as_often_as_asked_for(void **state)
{
	ask(&visit, "GET", "/sse?freq=10ms");
	WAIT_FOR(visit.has_head);
	assert_type(&visit, "text/event-stream; charset=utf-8");
	WAIT_FOR(visit.body.len >= 27);
	assert_memory_equal(visit.body.ptr, "data: 0\n\ndata: 1\n\ndata: 2\n\n", 27);
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
}

static void messages_are_echoed(void **state)
{
	upgrade_to(&visit, "/ws");
	SEND(&visit, TEXT, "text");
	SEND(&visit, BINARY, "");
	SEND(&visit, PING, "p");
	WAIT_FOR(visit.body.len >= 6 + 2 + 3);
	wait_bytes(&visit, BYTES_LIT("\x81\x04text\x82\x00\x8a\x01p"));
	SEND(&visit, 0x01, "ab");
	SEND(&visit, 0x80, "");
	SEND(&visit, CLOSE, "\x03\xe8");
	WAIT_FOR(visit.has_end);
	wait_bytes(&visit, BYTES_LIT("\x81\x04text\x82\x00\x8a\x01p\x01\x02"
				     "ab\x80\x00\x88\x02\x03\xe8"));
}

static void a_long_message_is_echoed_whole(void **state)
{
	enum { SIZE = 1000000 };
	uint8_t *data = mem_alloc(SIZE);
	size_t got = 0;

	random_bytes(data, SIZE);
	upgrade_to(&visit, "/ws");
	send_frame(&visit, BINARY, bytes_of(data, SIZE));
	SEND(&visit, CLOSE, "\x03\xe8");
	WAIT_FOR(visit.has_end);
	struct websocket_reader r;
	websocket_reader_init(&r, WEBSOCKET_CLIENT);
	uint8_t *at = visit.body.ptr;
	size_t size = visit.body.len;
	enum websocket_event event;
	while ((event = websocket_next(&r, &at, &size)) == WEBSOCKET_DATA) {
		assert_int_equal(r.opcode, WEBSOCKET_BINARY);
		assert_memory_equal(r.payload.ptr, data + got, r.payload.len);
		got += r.payload.len;
	}
	assert_int_equal(got, SIZE);
	assert_int_equal(event, WEBSOCKET_MESSAGE);
	assert_int_equal(websocket_next(&r, &at, &size), WEBSOCKET_CONTROL);
	mem_free(data);
}

static void other_sites_may_not_use_the_echo(void **state)
{
	static const struct {
		const char *origin;
		int status;
	} cases[] = {
		{ "https://app.example.com", 101 },
		{ "https://APP.example.com:8443", 101 },
		{ "https://evil.example.com", 403 },
		{ "null", 403 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct exchange *x = prepare_upgrade(&visit, "/ws");
		add_field(x, "origin", cases[i].origin);
		exchange_start(x, &chain);
		WAIT_FOR(visit.has_head);
		assert_int_equal(x->response.status, cases[i].status);
		leave(&visit);
	}
}

#define TEST(name, start) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bytes_go_both_ways, start_tcp),
		TEST(frames_may_come_in_any_pieces, start_tcp),
		TEST(frames_may_come_with_the_handshake, start_tcp),
		TEST(without_a_key_there_is_nothing_to_accept, start_tcp),
		TEST(a_service_that_is_down_is_a_failure, start_tcp),
		TEST(the_service_gets_a_proxy_header, NULL),
		TEST(a_request_that_is_no_websocket_is_told_what_to_do, start_tcp),
		TEST(a_visitor_who_closes_is_answered_when_the_service_has_everything, start_tcp),
		TEST(a_close_without_a_code_is_answered_without_one, start_tcp),
		TEST(the_end_of_the_stream_ends_the_service, start_tcp),
		TEST(a_service_that_ends_closes_the_websocket, start_tcp),
		TEST(a_reset_by_the_service_is_told, start_tcp),
		TEST(violations_are_closed_with_their_code, start_tcp),
		TEST(a_visitor_who_leaves_ends_the_connection, start_tcp),
		TEST(a_visitor_may_leave_while_the_service_is_dialled, start_tcp),
		TEST(silence_ends_it_when_asked_for, NULL),
		TEST(the_visitor_may_end_first, start_tcp),
		TEST(the_service_may_end_first, start_tcp),
		TEST(a_close_frame_ends_both_directions_at_once, start_tcp),
		TEST(data_after_the_end_is_a_violation, start_tcp),
		TEST(not_agreed_on_empty_messages_mean_nothing, start_tcp),
		TEST(a_visitor_who_does_not_read_stops_the_service, start_tcp),
		TEST(a_service_that_does_not_read_stops_the_visitor, start_tcp),
		TEST(pings_that_nobody_reads_the_answers_of_do_not_pile_up, start_tcp),
		TEST(a_bastion_goes_where_the_request_says, start_bastion),
		TEST(a_bastion_without_a_destination_says_so, start_bastion),
		TEST(a_destination_that_is_down_is_a_failure, start_bastion),
		TEST(socks_connects_to_what_is_allowed, start_socks),
		TEST(socks_denies_what_is_not, start_socks),
		TEST(socks_without_rules_denies_everything, start),
		TEST(socks_tells_why_it_could_not_connect, start_socks),
		TEST(socks_refuses_other_commands_and_protocols, start_socks),
		TEST(a_visitor_may_leave_while_socks_connects, start_socks),
		TEST(a_visitor_may_close_while_socks_connects, start_socks),
		TEST(unread_pongs_do_not_stop_a_reply, start_socks),
		TEST(a_tcp_service_may_be_reached_through_socks, NULL),
		TEST(the_page_shows_the_request_escaped, start_hello),
		TEST(a_large_body_is_shown_in_part, start_hello),
		TEST(small_pages_are_as_in_the_stock_server, start_hello),
		TEST(events_come_as_often_as_asked_for, start_hello),
		TEST(messages_are_echoed, start_hello),
		TEST(a_long_message_is_echoed_whole, start_hello),
		TEST(other_sites_may_not_use_the_echo, start_hello),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
