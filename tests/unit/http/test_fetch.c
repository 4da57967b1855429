#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/fetch.h"

/* Answers one connection with fixed bytes and keeps what it was asked. */
struct server {
	int fd;
	pthread_t thread;
	const char *answer;
	char request[8192];
	char url[64];
	char path[64]; /* of a Unix socket */
};

static void *serve_once(void *arg)
{
	struct server *s = arg;
	size_t used = 0;
	int fd = accept(s->fd, NULL, NULL);

	while (fd >= 0 && used < sizeof(s->request) - 1) {
		ssize_t got = recv(fd, s->request + used, sizeof(s->request) - 1 - used, 0);
		if (got <= 0)
			break;
		used += (size_t)got;
		s->request[used] = 0;
		const char *end = strstr(s->request, "\r\n\r\n");
		const char *length = strcasestr(s->request, "content-length: ");
		if (end && strlen(end + 4) >= (length ? strtoul(length + 16, NULL, 10) : 0))
			break;
	}
	if (fd >= 0) {
		(void)!send(fd, s->answer, strlen(s->answer), MSG_NOSIGNAL);
		close(fd);
	}
	return NULL;
}

static void server_start(struct server *s, const char *answer, bool is_unix)
{
	s->answer = answer;
	s->request[0] = 0;
	if (is_unix) {
		struct sockaddr_un a = { .sun_family = AF_UNIX };
		snprintf(s->path, sizeof(s->path), "/tmp/adit-fetch-%d.sock", (int)getpid());
		unlink(s->path);
		memcpy(a.sun_path, s->path, strlen(s->path));
		s->fd = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	} else {
		struct sockaddr_in a = { .sin_family = AF_INET };
		socklen_t len = sizeof(a);
		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		s->fd = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
		assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &len), 0);
		snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", ntohs(a.sin_port));
	}
	assert_int_equal(listen(s->fd, 1), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve_once, s), 0);
}

static void server_stop(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
	if (s->path[0])
		unlink(s->path);
}

static void posts_a_body_and_returns_status_type_and_body(void **state)
{
	struct server s = { 0 };
	server_start(&s,
		     "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\n"
		     "Content-Length: 2\r\n\r\n{}",
		     false);
	struct fetch_header headers[] = { { "Authorization", "Bearer abc" }, { "X-Empty", "" } };
	struct fetch_request req = { .method = "PUT",
				     .url = s.url,
				     .headers = headers,
				     .header_count = 2,
				     .body = BYTES_LIT("hello") };
	struct fetch_response res;
	struct err err = { 0 };

	int r = fetch(&req, &res, &err);
	if (r != 0)
		fail_msg("%s", err.text);
	server_stop(&s);
	assert_int_equal(res.status, 409);
	assert_string_equal(res.content_type, "application/json");
	assert_true(bytes_eq(buf_bytes(&res.body), BYTES_LIT("{}")));
	assert_non_null(strstr(s.request, "PUT / HTTP/1.1\r\n"));
	assert_non_null(strstr(s.request, "Authorization: Bearer abc\r\n"));
	assert_non_null(strstr(s.request, "X-Empty:"));
	assert_null(strstr(s.request, "Content-Type"));
	assert_null(strstr(s.request, "Expect"));
	assert_non_null(strstr(s.request, "\r\n\r\nhello"));
	fetch_response_done(&res);
}

static void speaks_through_a_unix_socket(void **state)
{
	struct server s = { 0 };
	server_start(&s, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", true);
	struct fetch_request req = { .url = "http://edge/status", .unix_path = s.path };
	struct fetch_response res;
	struct err err = { 0 };

	int r = fetch(&req, &res, &err);
	if (r != 0)
		fail_msg("%s", err.text);
	server_stop(&s);
	assert_int_equal(res.status, 200);
	assert_string_equal(res.content_type, "");
	assert_non_null(strstr(s.request, "GET /status HTTP/1.1\r\nHost: edge\r\n"));
	fetch_response_done(&res);
}

static void does_not_follow_a_redirect(void **state)
{
	struct server s = { 0 };
	server_start(&s,
		     "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"
		     "Content-Length: 0\r\n\r\n",
		     false);
	struct fetch_request req = { .url = s.url };
	struct fetch_response res;

	assert_int_equal(fetch(&req, &res, NULL), 0);
	server_stop(&s);
	assert_int_equal(res.status, 302);
	fetch_response_done(&res);
}

static void refuses_a_body_over_its_maximum(void **state)
{
	struct server s = { 0 };
	server_start(&s, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", false);
	struct fetch_request req = { .url = s.url, .body_max = 9 };
	struct fetch_response res;
	struct err err = { 0 };

	assert_int_equal(fetch(&req, &res, &err), E_LIMIT);
	server_stop(&s);
	assert_non_null(strstr(err.text, "larger than 9 bytes"));
}

static void a_connection_cut_short_is_closed(void **state)
{
	struct server s = { 0 };
	server_start(&s, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01", false);
	struct fetch_request req = { .url = s.url };
	struct fetch_response res;

	assert_int_equal(fetch(&req, &res, NULL), E_CLOSED);
	server_stop(&s);
}

static void tells_why_it_cannot(void **state)
{
	static const struct {
		const char *url;
		int code;
	} cases[] = {
		{ "http://127.0.0.1:1/secret?token=x", E_REFUSED },
		{ "ftp://127.0.0.1/", E_INVALID },
		{ "http://", E_INVALID },
	};
	struct fetch_response res;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct fetch_request req = { .url = cases[i].url };
		struct err err = { 0 };
		assert_int_equal(fetch(&req, &res, &err), cases[i].code);
		assert_null(strstr(err.text, "token"));
	}
	struct fetch_header bad = { "X", "a\r\nB: c" };
	struct fetch_request req = { .url = "http://127.0.0.1:1",
				     .headers = &bad,
				     .header_count = 1 };
	assert_int_equal(fetch(&req, &res, NULL), E_INVALID);
	struct fetch_request no_ca = { .url = "http://127.0.0.1:1", .ca_file = "/nonexistent" };
	assert_int_equal(fetch(&no_ca, &res, NULL), E_INVALID);
	struct fetch_request no_socket = { .url = "http://x/", .unix_path = "/nonexistent" };
	struct err err = { 0 };
	assert_true(fetch(&no_socket, &res, &err) < 0);
	assert_non_null(strstr(err.text, "/nonexistent"));
}

static void escapes_for_a_query(void **state)
{
	struct buf out;

	buf_init(&out, 64);
	assert_int_equal(fetch_escape(&out, BYTES_LIT("a b/ü=~-._Z9\0")), 0);
	char *text = buf_take_str(&out);
	assert_string_equal(text, "a%20b%2F%C3%BC%3D~-._Z9%00");
	mem_free(text);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(posts_a_body_and_returns_status_type_and_body),
		cmocka_unit_test(speaks_through_a_unix_socket),
		cmocka_unit_test(does_not_follow_a_redirect),
		cmocka_unit_test(refuses_a_body_over_its_maximum),
		cmocka_unit_test(a_connection_cut_short_is_closed),
		cmocka_unit_test(tells_why_it_cannot),
		cmocka_unit_test(escapes_for_a_query),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
