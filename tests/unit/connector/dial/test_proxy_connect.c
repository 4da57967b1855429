/* A proxy that the test plays on plain sockets between turns. */
#include "unit/io/turns.h"

#include "connector/dial/proxy.h"
#include "connector/dial/proxy_connect.h"

static struct arena arena;
static struct proxy proxy;
static struct proxy_connect *connecting;
static struct byte_stream *connected;
static struct err done_err;
static int done_count, listener, peer;
static struct address address;

static void on_done(void *ctx, struct byte_stream *stream, const struct err *err)
{
	connecting = NULL;
	connected = stream;
	if (err)
		done_err = *err;
	done_count++;
	happened();
}

static int start(void **state)
{
	arena_init(&arena);
	done_count = 0;
	connected = NULL;
	done_err = (struct err){ 0 };
	peer = -1;
	listener = raw_listener("127.0.0.1", 0, 5, &address);
	return make_loop(state);
}

static int stop(void **state)
{
	connecting = proxy_connect_cancel(connecting);
	byte_stream_close(connected);
	close(listener);
	if (peer >= 0)
		close(peer);
	arena_done(&arena);
	return free_loop(state);
}

/* Connects, and waits until the proxy has been asked something. */
static void ask(const char *scheme, const char *host, char *ret_asked, size_t size,
		int64_t timeout_ms)
{
	char url[128];

	snprintf(url, sizeof(url), "%s127.0.0.1:%u", scheme, address_port(&address));
	assert_int_equal(proxy_parse(&arena, url, "X", &proxy, NULL), 0);
	const struct proxy_to to = { .proxy = &proxy, .host = bytes_str(host), .port = 7844 };
	int before = done_count;
	connecting = proxy_connect(loop, &to, timeout_ms, on_done, NULL);
	assert_int_equal(done_count, before); /* never inside the call */
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	set_nonblocking(peer);
	for (int i = 0; i < 10000; i++) {
		ssize_t n = recv(peer, ret_asked, size - 1, 0);
		if (n > 0) {
			ret_asked[n] = 0;
			return;
		}
		let_it_turn();
	}
	fail_msg("the proxy was not asked");
}

static void say(struct bytes text)
{
	assert_int_equal(send(peer, text.ptr, text.len, MSG_NOSIGNAL), text.len);
}

static void connect_is_asked_and_bytes_pass(void **state)
{
	char asked[2000], text[8];

	ask("http://me:pw@", "edge.test", asked, sizeof(asked), 10000);
	assert_non_null(strstr(asked, "CONNECT edge.test:7844 HTTP/1.1\r\n"));
	assert_non_null(strcasestr(asked, "\r\nHost: edge.test:7844\r\n"));
	assert_non_null(strcasestr(asked, "\r\nProxy-Authorization: Basic bWU6cHc=\r\n"));
	struct bytes answer =
		BYTES_LIT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nX: y\r\n\r\n");
	for (size_t i = 0; i < answer.len; i++) {
		assert_int_equal(done_count, 0);
		say(bytes_of(answer.ptr + i, 1));
		let_it_turn();
	}
	WAIT_FOR(done_count == 1);
	assert_non_null(connected);
	assert_int_equal(byte_stream_write(connected, BYTES_LIT("hi")), 2);
	let_it_turn();
	assert_int_equal(recv(peer, text, sizeof(text), 0), 2);
}

static void an_ipv6_address_has_brackets(void **state)
{
	char asked[2000];

	ask("http://", "2001:db8::1", asked, sizeof(asked), 10000);
	assert_non_null(strstr(asked, "CONNECT [2001:db8::1]:7844 HTTP/1.1\r\n"));
	assert_null(strcasestr(asked, "Proxy-Authorization"));
}

static void a_refusal_is_told_with_its_status(void **state)
{
	static const struct {
		const char *answer;
		int code;
		const char *text;
	} cases[] = {
		{ "HTTP/1.1 407 Who?\r\n\r\n", E_DENIED,
		  "it refused CONNECT h:7844: 407 Proxy Authentication Required" },
		{ "HTTP/1.1 502 x\r\nContent-Length: 5\r\n\r\nabcde", E_REFUSED,
		  "it refused CONNECT h:7844: 502 Bad Gateway" },
		{ "SSH-2.0-x\r\n\r\n", E_PARSE, "its answer is no HTTP" },
		{ "HTTP/1.1 200 OK\r\n\r\nmore", E_PROTOCOL, "it sent more than its answer" },
	};
	char asked[2000];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ask("http://me:s3cret@", "h", asked, sizeof(asked), 10000);
		say(bytes_str(cases[i].answer));
		WAIT_FOR(done_count == (int)i + 1);
		assert_null(connected);
		assert_int_equal(done_err.code, cases[i].code);
		if (!strstr(done_err.text, cases[i].text))
			fail_msg("%s", done_err.text);
		assert_non_null(strstr(done_err.text, "the proxy http://127.0.0.1:"));
		assert_null(strstr(done_err.text, "s3cret"));
		close(peer);
		peer = -1;
	}
}

static void a_head_without_end_is_refused(void **state)
{
	char asked[2000], block[4000];

	memset(block, 'a', sizeof(block));
	ask("http://", "h", asked, sizeof(asked), 10000);
	say(BYTES_LIT("HTTP/1.1 200 OK\r\nX: "));
	while (done_count == 0) {
		(void)!send(peer, block, sizeof(block), MSG_NOSIGNAL);
		let_it_turn();
	}
	assert_null(connected);
	assert_int_equal(done_err.code, E_LIMIT);
}

static void a_proxy_that_hangs_up_is_told(void **state)
{
	char asked[2000];

	ask("socks5://", "h", asked, sizeof(asked), 10000);
	close(peer);
	peer = -1;
	WAIT_FOR(done_count == 1);
	assert_non_null(strstr(done_err.text, "it closed the connection"));
}

static void a_mute_proxy_is_a_timeout(void **state)
{
	char asked[2000];

	ask("http://", "h", asked, sizeof(asked), 200);
	WAIT_FOR(done_count == 1);
	assert_int_equal(done_err.code, E_TIMEOUT);
	assert_non_null(strstr(done_err.text, "it did not answer in time"));
}

static void socks_goes_step_by_step(void **state)
{
	char asked[2000];

	ask("socks5h://me:pw@", "edge.test", asked, sizeof(asked), 10000);
	assert_memory_equal(asked, "\5\2\0\2", 4);
	say(BYTES_LIT("\5\2"));
	let_it_turn();
	assert_int_equal(recv(peer, asked, sizeof(asked), 0), 7);
	assert_memory_equal(asked, "\1\2me\2pw", 7);
	say(BYTES_LIT("\1\0"));
	let_it_turn();
	assert_int_equal(recv(peer, asked, sizeof(asked), 0), 16);
	say(BYTES_LIT("\5\0\0\1\0\0"));
	let_it_turn();
	assert_int_equal(done_count, 0);
	say(BYTES_LIT("\0\0\0\0"));
	WAIT_FOR(done_count == 1);
	assert_non_null(connected);
}

static void cancelled_it_says_nothing(void **state)
{
	char asked[2000];

	ask("http://", "h", asked, sizeof(asked), 10000);
	connecting = proxy_connect_cancel(connecting);
	let_it_turn();
	assert_int_equal(done_count, 0);
	assert_null(proxy_connect_cancel(NULL));
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(connect_is_asked_and_bytes_pass),   ON_LOOP(an_ipv6_address_has_brackets),
		ON_LOOP(a_refusal_is_told_with_its_status), ON_LOOP(a_head_without_end_is_refused),
		ON_LOOP(a_proxy_that_hangs_up_is_told),     ON_LOOP(a_mute_proxy_is_a_timeout),
		ON_LOOP(socks_goes_step_by_step),           ON_LOOP(cancelled_it_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
