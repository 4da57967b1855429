/* A connection to a public port, and a scripted connector that may say anything. */
#include "unit/edge/line.h"

#include <ftw.h>

#include "edge/certificates.h"
#include "edge/ports/port_tcp.h"
#include "http/websocket.h"
#include "store/store.h"

/* --- A store with ports, and what workers know of it --------------------------------------------- */

static char dir[64];
static struct snapshot *snapshot;

enum { BY_NAME = 2222, BY_ADDRESS, WITH_HEADER, NOWHERE };

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static void add_port(struct store *s, const char *account, const struct uuid *to, uint16_t number,
		     const char *service, bool has_proxy_header)
{
	char none[] = "", name[64];
	struct store_port p = { .port = number,
				.tunnel = *to,
				.service = name,
				.has_proxy_header = has_proxy_header,
				.comment = none };

	snprintf(name, sizeof(name), "%s", service);
	memcpy(p.account, account, sizeof(p.account));
	assert_int_equal(store_port_add(s, &p, &p, NULL), 0);
	store_port_done(&p);
}

static int build(void **state)
{
	struct store_tunnel t = { 0 };
	struct err err = { 0 };
	char account[33];

	snprintf(dir, sizeof(dir), "/tmp/adit-test-port-XXXXXX");
	assert_non_null(mkdtemp(dir));
	struct store *s = store_open(dir, true, &err);
	assert_non_null(s);
	assert_int_equal(store_account_first(s, account, NULL), 0);
	assert_int_equal(certificates_init_ca(s, dir, &err), 0);
	assert_int_equal(store_setting_put(s, "control.host", "adit.example.com", false, NULL), 0);
	assert_int_equal(store_tunnel_create(s, account, "office",
					     BYTES_LIT("0123456789abcdef0123456789abcdef"), &t,
					     NULL),
			 0);
	add_port(s, account, &t.id, BY_NAME, "ssh.example.com", false);
	add_port(s, account, &t.id, BY_ADDRESS, "10.0.0.5:22", false);
	add_port(s, account, &t.id, WITH_HEADER, "ssh.example.com", true);
	tunnel.id = t.id;
	snapshot = snapshot_build(s, "https://adit.example.com", NULL, NULL, &err);
	assert_non_null(snapshot);
	store_tunnel_done(&t);
	store_close(s);
	return 0;
}

static int tear_down(void **state)
{
	snapshot = snapshot_unref(snapshot);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

/* --- The visitor --------------------------------------------------------------------------------- */

static struct line line;
static struct port *port;
static int visitor = -1;
static struct address visitor_at, edge_at;

static int begin_test(void **state)
{
	assert_int_equal(make_loop(state), 0);
	for (size_t i = 0; i < WORKERS; i++) {
		worker_begin(&workers[i], loop);
		list_init(&workers[i].open_ports);
		list_init(&workers[i].port_conns);
		workers[i].snapshot = snapshot;
	}
	call_count = calls_taken = 0;
	return 0;
}

static int end_test(void **state)
{
	port_tcp_close_all(&workers[0]);
	if (visitor >= 0)
		close(visitor);
	visitor = -1;
	let_it_turn();
	line_cut(&line);
	for (int i = 0; i < call_count; i++)
		buf_done(&calls[i].body);
	for (size_t i = 0; i < WORKERS; i++)
		registry_free(&workers[i]);
	assert_int_equal(metric_get(&metric_port_connections), 0);
	assert_int_equal(atomic_load(&port->in_use), 0);
	port = port_unref(port);
	return free_loop(state);
}

static void come(uint16_t number)
{
	int fds[2];

	port = port_new(PORT_TCP, number);
	tcp_pair(fds);
	set_nonblocking(fds[0]);
	set_nonblocking(fds[1]);
	visitor = fds[0];
	visitor_at.len = edge_at.len = sizeof(edge_at.v6);
	assert_int_equal(getsockname(fds[0], &visitor_at.any, &visitor_at.len), 0);
	assert_int_equal(getsockname(fds[1], &edge_at.any, &edge_at.len), 0);
	port_tcp_accept(&workers[0], port, fds[1], &visitor_at);
}

/* Answers as a connector of ours does. */
static void open_up(struct call *c, int status, bool half_close)
{
	struct field field = { BYTES_LIT(WEBSOCKET_HALF_CLOSE_FIELD), BYTES_LIT("1"), HEAD_OTHER };
	const struct head head = { .status = status,
				   .length = HEAD_LENGTH_UNKNOWN,
				   .fields = { &field, half_close, half_close } };

	stream_answer(c->stream, &(struct answer){ .head = &head }, false);
	let_it_turn();
}

static struct call *connected(uint16_t number)
{
	line_up(&line, &workers[0], 1, 0);
	come(number);
	struct call *c = next_call();
	open_up(c, c->kind == STREAM_TCP ? 200 : 101, true);
	return c;
}

static void reply(struct call *c, const void *data, size_t len, bool fin)
{
	c->reply = bytes_of(data, len);
	c->reply_ends = fin;
	call_go_on(c);
}

/* What comes to the visitor, until it has so many bytes; fewer: its end. -1: a reset. */
static ssize_t hear(char *dst, size_t wanted)
{
	size_t len = 0;

	for (int i = 0; i < 2000; i++) {
		ssize_t n = read(visitor, dst + len, wanted - len);
		if (n > 0)
			len += (size_t)n;
		else if (n == 0)
			return (ssize_t)len;
		else if (errno != EAGAIN)
			return -1;
		if (len == wanted)
			return (ssize_t)len;
		let_it_turn();
	}
	fail_msg("the visitor waits for more than \"%.*s\"", (int)len, dst);
	return -1;
}

static void assert_hears(const char *text)
{
	char got[200];

	assert_int_equal(hear(got, strlen(text)), strlen(text));
	assert_memory_equal(got, text, strlen(text));
}

static void assert_reset(void)
{
	char got[200];

	assert_int_equal(hear(got, sizeof(got)), -1);
	let_it_turn();
	assert_int_equal(metric_get(&metric_port_connections), 0);
}

/* "hello end close(1000) ": what the connector has got in frames, unmasked. */
static const char *framed(struct call *c)
{
	static char text[1000];
	struct websocket_reader r;
	uint8_t *at = c->body.ptr;
	size_t left = c->body.len, len = 0;
	enum websocket_event event;

	text[0] = 0;
	websocket_reader_init(&r, WEBSOCKET_SERVER);
	while ((event = websocket_next(&r, &at, &left)) != WEBSOCKET_MORE) {
		if (event == WEBSOCKET_DATA)
			len += (size_t)snprintf(text + len, sizeof(text) - len, BYTES_FMT " ",
						BYTES_ARG(r.payload));
		else if (event == WEBSOCKET_MESSAGE && r.is_empty)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "end ");
		else if (event == WEBSOCKET_CONTROL)
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						r.opcode == WEBSOCKET_PONG ? "pong " : "close(%u) ",
						r.close_code);
		assert_int_not_equal(event, WEBSOCKET_BROKEN);
	}
	buf_clear(&c->body);
	return text;
}

static void say(const char *text)
{
	assert_int_equal(write(visitor, text, strlen(text)), strlen(text));
}

/* --- Where to ------------------------------------------------------------------------------------ */

static void a_hostname_is_a_websocket(void **state)
{
	line_up(&line, &workers[0], 1, 0);
	come(BY_NAME);
	struct call *c = next_call();
	assert_int_equal(c->kind, STREAM_WEBSOCKET);
	assert_string_equal(c->authority, "ssh.example.com");
	assert_non_null(strstr(c->fields, "127.0.0.1"));
	assert_non_null(strstr(c->fields, "sec-websocket-key: "));
	assert_non_null(strstr(c->fields, "Adit-Port: tcp\n"));
}

static void an_address_is_a_stream(void **state)
{
	struct call *c = connected(BY_ADDRESS);

	assert_int_equal(c->kind, STREAM_TCP);
	assert_string_equal(c->authority, "10.0.0.5:22");
	say("ping");
	WAIT_FOR(c->body.len == 4);
	reply(c, "pong", 4, false);
	assert_hears("pong");
}

static void a_port_without_a_route_is_closed(void **state)
{
	char got[10];

	line_up(&line, &workers[0], 1, 0);
	come(NOWHERE);
	assert_true(hear(got, sizeof(got)) <= 0);
	assert_int_equal(call_count, 0);
}

static void without_a_connector_the_visitor_is_reset(void **state)
{
	come(BY_NAME);
	assert_reset();
}

/* --- Bytes --------------------------------------------------------------------------------------- */

static void nothing_is_sent_before_the_answer(void **state)
{
	line_up(&line, &workers[0], 1, 0);
	come(BY_NAME);
	struct call *c = next_call();
	say("early");
	let_it_turn();
	assert_int_equal(c->body.len, 0);
	open_up(c, 101, true);
	WAIT_FOR(c->body.len > 0);
	assert_string_equal(framed(c), "early ");
}

static void each_direction_ends_by_itself(void **state)
{
	struct call *c = connected(BY_NAME);

	say("hello");
	assert_int_equal(shutdown(visitor, SHUT_WR), 0);
	WAIT_FOR(c->body.len >= 11 + 6);
	assert_string_equal(framed(c), "hello end ");
	reply(c, "\x82\x03yes\x82\0", 7, false);
	char got[10];
	assert_int_equal(hear(got, sizeof(got)), 3);
	assert_memory_equal(got, "yes", 3);
	WAIT_FOR(c->has_fin);
	assert_string_equal(framed(c), "close(1000) ");
	reply(c, "\x88\0", 2, true);
	let_it_turn();
	assert_int_equal(metric_get(&metric_port_connections), 0);
}

static void frames_may_come_byte_by_byte(void **state)
{
	static const char frames[] = "\x02\x02"
				     "ab"
				     "\x89\x01?"
				     "\x80\x01"
				     "c"
				     "\x82\x7e\0\x02"
				     "de";
	struct call *c = connected(BY_NAME);

	for (size_t i = 0; i < sizeof(frames) - 1; i++) {
		reply(c, frames + i, 1, false);
		let_it_turn();
	}
	assert_hears("abcde");
	WAIT_FOR(c->body.len > 0);
	assert_string_equal(framed(c), "pong ");
}

static void a_proxy_header_comes_first(void **state)
{
	static const uint8_t signature[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\1\x7f\0\0\1";
	struct call *c = connected(WITH_HEADER);
	struct websocket_reader r;

	assert_non_null(strstr(c->fields, "Adit-Port: tcp, proxy-v2\n"));
	WAIT_FOR(c->body.len >= 6 + 28);
	uint8_t *at = c->body.ptr;
	size_t left = c->body.len;
	websocket_reader_init(&r, WEBSOCKET_SERVER);
	assert_int_equal(websocket_next(&r, &at, &left), WEBSOCKET_DATA);
	assert_int_equal(r.payload.len, 28);
	assert_memory_equal(r.payload.ptr, signature, 24);
	assert_int_equal(r.payload.ptr[24] << 8 | r.payload.ptr[25], address_port(&visitor_at));
	assert_int_equal(r.payload.ptr[26] << 8 | r.payload.ptr[27], address_port(&edge_at));
}

static void a_stalled_connector_stops_the_visitor(void **state)
{
	static char much[64 * 1024];
	size_t written = 0;

	line_up(&line, &workers[0], 1, 0);
	new_calls_stall = true;
	come(BY_NAME);
	struct call *c = next_call();
	new_calls_stall = false;
	open_up(c, 101, true);
	/* What queues and kernel take is bounded. */
	for (int idle = 0; idle < 50; let_it_turn()) {
		ssize_t n = write(visitor, much, sizeof(much));
		idle = n > 0 ? 0 : idle + 1;
		written += n > 0 ? (size_t)n : 0;
		assert_true(written < 64 << 20);
	}
	size_t got = c->body.len;
	let_it_turn();
	assert_int_equal(c->body.len, got);
	c->stalls = false;
	stream_consume(c->stream, c->owed);
	c->owed = 0;
	WAIT_FOR(c->body.len >= written);
}

/* --- A connector that breaks the rules ----------------------------------------------------------- */

static void what_is_no_frame_breaks_the_connection(void **state)
{
	static const struct {
		const char *data;
		size_t len;
	} bad[] = {
		{ "\x82\x83mask123", 9 }, /* masked: that is for clients */
		{ "\xf2\x01"
		  "a",
		  3 }, /* reserved bits */
		{ "\x83\x01"
		  "a",
		  3 }, /* an unknown kind */
		{ "\x80\x01"
		  "a",
		  3 }, /* goes on with what has not begun */
		{ "\x09\x01"
		  "a",
		  3 }, /* a control frame in parts */
		{ "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10 },
	};

	line_up(&line, &workers[0], 1, 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		come(BY_NAME);
		struct call *c = next_call();
		open_up(c, 101, false);
		reply(c, bad[i].data, bad[i].len, false);
		assert_reset();
		close(visitor);
		visitor = -1;
		if (i + 1 < ARRAY_LEN(bad))
			port_unref(port);
	}
}

static void a_service_that_broke_resets_the_visitor(void **state)
{
	struct call *c = connected(BY_NAME);

	reply(c, "\x82\x02no\x88\x02\x03\xf3", 8, true);
	assert_reset();
}

static void the_end_in_the_middle_of_a_frame_is_none(void **state)
{
	struct call *c = connected(BY_NAME);

	reply(c,
	      "\x82\x05"
	      "ab",
	      4, true);
	assert_reset();
}

static void an_answer_that_is_no_stream_is_refused(void **state)
{
	line_up(&line, &workers[0], 1, 0);
	come(BY_NAME);
	struct call *c = next_call();
	open_up(c, 404, false);
	assert_reset();
}

static void a_stream_that_is_reset_resets_the_visitor(void **state)
{
	struct call *c = connected(BY_NAME);

	stream_reset(c->stream, REASON_FAILED);
	assert_reset();
}

static void a_visitor_that_leaves_is_said(void **state)
{
	struct call *c = connected(BY_NAME);

	reset_and_close(visitor);
	visitor = -1;
	WAIT_FOR(!c->stream);
	assert_int_equal(c->why, REASON_CANCELLED);
}

static void a_visitor_may_leave_before_the_answer(void **state)
{
	line_up(&line, &workers[0], 1, 0);
	come(BY_NAME);
	struct call *c = next_call();
	reset_and_close(visitor);
	visitor = -1;
	WAIT_FOR(!c->stream);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_hostname_is_a_websocket),
		TEST(an_address_is_a_stream),
		TEST(a_port_without_a_route_is_closed),
		TEST(without_a_connector_the_visitor_is_reset),
		TEST(nothing_is_sent_before_the_answer),
		TEST(each_direction_ends_by_itself),
		TEST(frames_may_come_byte_by_byte),
		TEST(a_proxy_header_comes_first),
		TEST(a_stalled_connector_stops_the_visitor),
		TEST(what_is_no_frame_breaks_the_connection),
		TEST(a_service_that_broke_resets_the_visitor),
		TEST(the_end_in_the_middle_of_a_frame_is_none),
		TEST(an_answer_that_is_no_stream_is_refused),
		TEST(a_stream_that_is_reset_resets_the_visitor),
		TEST(a_visitor_that_leaves_is_said),
		TEST(a_visitor_may_leave_before_the_answer),
	};

	return cmocka_run_group_tests(tests, build, tear_down);
}
