/* Origins over loopback: a visit that asks, and a service that the test scripts on plain sockets between
 * turns. What the test programs of connector/origin share. Included once per program. */
#pragma once

#include "unit/io/turns.h"

#include <poll.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/random.h"
#include "connector/origin/origin.h"
#include "io/conn.h"

/* --- The producer's side --------------------------------------------------------------------- */

struct visit {
	struct exchange *x; /* until released */
	bool reads;         /* takes response bytes as they come */
	bool has_head, has_failed, has_end;
	struct buf body;
	size_t most_queued;
	int request_rooms;
	struct failure failure;
	char errno_name[32], title[64], detail[512], rule[64];
	struct bytes upload; /* what is still to be sent as the request's body */
	bool upload_ends;
	int interims[8]; /* statuses of the interim heads, in order */
	int interim_count;
	struct head last_interim;
};

static inline void take_response(struct visit *v)
{
	struct body *b = &v->x->response_body;
	struct bytes run;

	if (bufq_len(&b->queue) > v->most_queued)
		v->most_queued = bufq_len(&b->queue);
	while (v->reads && body_peek(b, &run, 1)) {
		assert_int_equal(buf_append(&v->body, run), 0);
		body_consume(b, run.len);
	}
	v->has_end = body_is_done(b);
}

static inline void go_on_uploading(struct visit *v)
{
	struct body *b = &v->x->request_body;

	v->upload = bytes_from(v->upload, body_write(b, v->upload));
	if (v->upload.len == 0 && v->upload_ends)
		body_end(b);
}

static inline void on_interim(struct exchange *x, const struct head *head)
{
	struct visit *v = x->producer_ctx;

	assert_false(v->has_head);
	if (v->interim_count < (int)ARRAY_LEN(v->interims))
		v->interims[v->interim_count] = head->status;
	v->interim_count++;
	v->last_interim = *head;
	happened();
}

static inline void on_head(struct exchange *x)
{
	struct visit *v = x->producer_ctx;

	assert_false(v->has_head);
	v->has_head = true;
	happened();
}

static inline void on_response_data(struct exchange *x)
{
	struct visit *v = x->producer_ctx;

	assert_true(v->has_head);
	take_response(v);
	happened();
}

static inline void on_request_room(struct exchange *x)
{
	struct visit *v = x->producer_ctx;

	v->request_rooms++;
	if (!x->answerer_is_gone)
		go_on_uploading(v);
	happened();
}

static inline void copy_text(char *dst, size_t size, struct bytes text)
{
	snprintf(dst, size, BYTES_FMT, BYTES_ARG(text));
}

static inline void on_failed(struct exchange *x)
{
	struct visit *v = x->producer_ctx;

	assert_false(v->has_failed);
	v->has_failed = true;
	v->failure = x->failure;
	copy_text(v->errno_name, sizeof(v->errno_name), x->failure.errno_name);
	copy_text(v->title, sizeof(v->title), x->failure.title);
	copy_text(v->detail, sizeof(v->detail), x->failure.detail);
	copy_text(v->rule, sizeof(v->rule), x->failure.rule);
	happened();
}

static const struct exchange_producer producer = {
	.name = "test",
	.on_interim = on_interim,
	.on_head = on_head,
	.on_response_data = on_response_data,
	.on_request_room = on_request_room,
	.on_failed = on_failed,
};

/* --- The fixture ----------------------------------------------------------------------------- */

static struct origin_set *set;
static struct visit visit, second;
static int listener, service;
static struct address service_address;

static inline void drop_set(void *snapshot)
{
	origin_set_unref(snapshot);
}

static const struct handler handlers[] = { { "origin", origin_handle } };
static const struct handler_chain chain = { handlers, 1, NULL, NULL };

static inline void use_service(const char *url, const struct ingress_origin *options)
{
	struct err err = { 0 };
	struct ingress *in = ingress_single(url, options, &err);

	if (!in)
		fail_msg("%s", err.text);
	set = origin_set_new(loop, in, &err);
	ingress_unref(in);
	if (!set)
		fail_msg("%s", err.text);
}

/* A service on loopback, reached as http:// or https://. */
static inline void serve(const char *scheme, const struct ingress_origin *options)
{
	char url[100], text[ADDRESS_TEXT_SIZE];

	listener = raw_listener("127.0.0.1", 0, 100, &service_address);
	set_nonblocking(listener);
	snprintf(url, sizeof(url), "%s://%s", scheme, address_text(&service_address, text));
	use_service(url, options);
}

static inline int start(void **state)
{
	memset(&visit, 0, sizeof(visit));
	memset(&second, 0, sizeof(second));
	buf_init(&visit.body, 64 << 20);
	buf_init(&second.body, 64 << 20);
	listener = service = -1;
	set = NULL;
	return make_loop(state);
}

static inline int start_plain(void **state)
{
	start(state);
	serve("http", NULL);
	return 0;
}

static inline void finish_visit(struct visit *v)
{
	struct exchange *x = TAKE(v->x);

	if (x)
		exchange_release_producer(x);
	buf_done(&v->body);
}

static inline int stop(void **state)
{
	finish_visit(&visit);
	finish_visit(&second);
	if (service >= 0)
		close(service);
	if (listener >= 0)
		close(listener);
	set = origin_set_unref(set);
	free_loop(state);
	return exchange_live_count() == 0 ? 0 : -1;
}

static inline struct exchange *prepare(struct visit *v, const char *method, const char *path)
{
	struct exchange *x = exchange_new(loop, &producer, v);

	buf_clear(&v->body);
	v->x = x;
	v->reads = true;
	v->has_head = v->has_failed = v->has_end = false;
	v->request_rooms = v->interim_count = 0;
	x->route = (void *)(uintptr_t)ingress_rule(origin_set_ingress(set), 0);
	x->snapshot = origin_set_ref(set);
	x->drop_snapshot = drop_set;
	x->request.method = arena_copy(&x->arena, bytes_str(method));
	x->request.scheme = BYTES_LIT("https");
	x->request.authority = BYTES_LIT("app.example.com");
	x->request.path = arena_copy(&x->arena, bytes_str(path));
	return x;
}

static inline void add_field(struct exchange *x, const char *name, const char *value)
{
	assert_int_equal(
		fields_add(&x->request.fields, &x->arena, bytes_str(name), bytes_str(value)), 0);
}

static inline void ask(struct visit *v, const char *method, const char *path)
{
	struct exchange *x = prepare(v, method, path);

	body_end(&x->request_body);
	exchange_start(x, &chain);
}

static inline void get(struct visit *v)
{
	ask(v, "GET", "/");
}

static inline void leave(struct visit *v)
{
	exchange_release_producer(TAKE(v->x));
	let_it_turn();
}

/* --- The service's side ---------------------------------------------------------------------- */

/* Fails the test when something takes for ever; each call is one more try. */
static inline void patience(int *tries)
{
	enum { AT_ONCE = 1000, WITH_PAUSES = 10000 };

	if (++*tries > AT_ONCE + WITH_PAUSES)
		fail_msg("what the service waits for did not happen");
	if (*tries > AT_ONCE)
		(void)poll(NULL, 0, 1); /* it may wait for a timer */
	let_it_turn();
}

static inline int accept_next(void)
{
	int tries = 0, fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) < 0)
		patience(&tries);
	return fd;
}

static inline void accept_service(void)
{
	service = accept_next();
}

static inline void assert_nobody_connects(void)
{
	let_it_turn();
	assert_int_equal(accept4(listener, NULL, NULL, SOCK_CLOEXEC), -1);
}

/* Reads the head of a request, with its empty line. */
static inline const char *hear_head(int fd)
{
	static char head[70000];
	size_t len = 0;
	int tries = 0;

	for (;;) {
		ssize_t n = read(fd, head + len, 1); /* not a byte of the body */
		if (n == 1) {
			assert_true(++len < sizeof(head));
			head[len] = 0;
			if (len >= 4 && strcmp(head + len - 4, "\r\n\r\n") == 0)
				return head;
			continue;
		}
		if (n == 0)
			fail_msg("closed after \"%s\"", head);
		assert_int_equal(errno, EAGAIN);
		patience(&tries);
	}
}

static inline void hear(int fd, const char *want)
{
	char got[4096];
	size_t len = 0;
	int tries = 0;

	assert_true(strlen(want) < sizeof(got));
	while (len < strlen(want)) {
		ssize_t n = read(fd, got + len, strlen(want) - len);
		if (n > 0) {
			len += (size_t)n;
			continue;
		}
		got[len] = 0;
		if (n == 0)
			fail_msg("closed after \"%s\"", got);
		assert_int_equal(errno, EAGAIN);
		patience(&tries);
	}
	got[len] = 0;
	assert_string_equal(got, want);
}

static inline void hear_nothing(int fd)
{
	char c;

	let_it_turn();
	assert_int_equal(read(fd, &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
}

/* The connection ends, in whichever way. */
static inline void hear_the_end(int fd)
{
	char scrap[4096];
	int tries = 0;

	for (;;) {
		ssize_t n = read(fd, scrap, sizeof(scrap));
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return;
		if (n < 0)
			patience(&tries);
	}
}

static inline void say_bytes(int fd, struct bytes data)
{
	int tries = 0;

	while (data.len) {
		ssize_t n = send(fd, data.ptr, data.len, MSG_NOSIGNAL);
		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			patience(&tries);
			continue;
		}
		data = bytes_from(data, (size_t)n);
	}
}

static inline void say(int fd, const char *text)
{
	say_bytes(fd, bytes_str(text));
}

static inline void close_service(void)
{
	close(service);
	service = -1;
}

static inline void assert_body(struct visit *v, const char *want)
{
	WAIT_FOR(v->has_end || v->has_failed);
	if (v->has_failed)
		fail_msg("failed: %s", v->detail);
	assert_int_equal(v->body.len, strlen(want));
	assert_memory_equal(v->body.ptr, want, v->body.len);
}

static inline void assert_failure(struct visit *v, int status, const char *detail_has)
{
	WAIT_FOR(v->has_failed);
	assert_int_equal(v->failure.hop, FAILURE_ORIGIN);
	assert_int_equal(v->failure.status, status);
	if (!strstr(v->detail, detail_has))
		fail_msg("\"%s\" does not speak of \"%s\"", v->detail, detail_has);
	assert_string_equal(v->rule, "0: *");
}

#define OK_RESPONSE "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
