/* A connector between a fake tunnel session and services on loopback. */
#include "unit/connector/service.h"

#include <jansson.h>

#include "base/log.h"
#include "connector/connector_config.h"
#include "connector/connector_metrics.h"
#include "connector/serve/serve.h"
#include "fake/fake_transport.h"

/* --- The edge's side ------------------------------------------------------------------------- */

/* Who opened a stream. */
struct caller {
	struct stream *stream; /* NULL once it has closed */
	bool stalls;           /* gives no window back */
	int answers, closes;
	struct answer answer;
	struct head head;
	char json[1024], fields[2000]; /* "name: value\n" each */
	struct buf body;
	size_t owed; /* bytes not given back yet */
	bool has_fin;
	enum reason why;
	struct bytes upload;
	bool upload_ends;
	char trailers[200];
};

static void go_on(struct caller *c)
{
	while (c->stream && (c->upload.len || c->upload_ends)) {
		size_t taken = stream_write(c->stream, c->upload, c->upload_ends);
		bool all = taken == c->upload.len;
		c->upload = bytes_from(c->upload, taken);
		if (!all)
			return;
		c->upload_ends = false;
	}
}

static void print_fields(const struct fields *f, char *dst, size_t size)
{
	size_t len = 0;

	dst[0] = 0;
	for (size_t i = 0; i < f->count; i++)
		len += (size_t)snprintf(dst + len, size - len, BYTES_FMT ": " BYTES_FMT "\n",
					BYTES_ARG(f->list[i].name), BYTES_ARG(f->list[i].value));
}

static void caller_on_answer(struct stream *st, const struct answer *a)
{
	struct caller *c = st->ctx;

	c->answers++;
	c->answer = *a;
	c->head = *a->head;
	print_fields(&a->head->fields, c->fields, sizeof(c->fields));
	snprintf(c->json, sizeof(c->json), BYTES_FMT, BYTES_ARG(a->failure_json));
	happened();
}

static void caller_on_data(struct stream *st, struct bytes data, bool fin)
{
	struct caller *c = st->ctx;

	assert_int_equal(c->answers, 1);
	assert_false(c->has_fin);
	assert_int_equal(buf_append(&c->body, data), 0);
	if (c->stalls)
		c->owed += data.len;
	else
		stream_consume(st, data.len);
	c->has_fin = fin;
	happened();
}

static void caller_on_trailers(struct stream *st, const struct fields *trailers)
{
	struct caller *c = st->ctx;

	print_fields(trailers, c->trailers, sizeof(c->trailers));
	c->has_fin = true;
	happened();
}

static void caller_on_writable(struct stream *st)
{
	go_on(st->ctx);
	happened();
}

static void caller_on_closed(struct stream *st, enum reason why)
{
	struct caller *c = st->ctx;

	c->stream = NULL;
	c->closes++;
	c->why = why;
	happened();
}

static const struct stream_events caller_events = {
	.on_answer = caller_on_answer,
	.on_data = caller_on_data,
	.on_trailers = caller_on_trailers,
	.on_writable = caller_on_writable,
	.on_closed = caller_on_closed,
};

static struct caller caller, other;
static struct session *edge, *connector;
static bool is_registered;
static int edge_closes, connector_closes;
static struct server *server;
static struct connector_config config;

static void on_register(struct session *s, const struct registration *r)
{
	const struct registered answer = { .ok = true };

	session_reply(s, &answer);
}
static void on_edge_closed(struct session *s, enum reason why, const struct err *err)
{
	edge = NULL;
	edge_closes++;
	happened();
}
static const struct session_events edge_events = { .on_register = on_register,
						   .on_closed = on_edge_closed };

/* --- The connector's side -------------------------------------------------------------------- */

static void on_registered(struct session *s, const struct registered *r)
{
	is_registered = r->ok;
	happened();
}
static void on_stream(struct session *s, struct stream *st, enum stream_kind kind,
		      const struct head *head, bool fin)
{
	server_on_stream(server, st, kind, head, fin, 2);
}
static void on_connector_closed(struct session *s, enum reason why, const struct err *err)
{
	connector = NULL;
	connector_closes++;
	happened();
}
static const struct session_events connector_events = {
	.on_registered = on_registered,
	.on_stream = on_stream,
	.on_closed = on_connector_closed,
};

static struct connector_tag tags[] = { { (char *)"site", (char *)"attic" } };

static void start_serving(void)
{
	static const struct uuid id = { { 0xab } };
	const struct registration registration = { .index = 2 };
	const struct session_start at_edge = { .side = SESSION_EDGE, .events = &edge_events };
	const struct session_start at_connector = { .side = SESSION_CONNECTOR,
						    .events = &connector_events,
						    .registration = &registration };

	memset(&config, 0, sizeof(config));
	config.tags = tags;
	config.tag_count = 1;
	server = server_new(loop, &config, &id, set);
	is_registered = false;
	fake_transport_pair(loop, &at_edge, &at_connector, &edge, &connector);
	WAIT_FOR(is_registered);
}

static int start_quiet(void **state)
{
	log_setup(LOG_FATAL, LOG_CONSOLE); /* failures are logged, and here they are wanted */
	memset(&caller, 0, sizeof(caller));
	memset(&other, 0, sizeof(other));
	buf_init(&caller.body, 64 << 20);
	buf_init(&other.body, 64 << 20);
	edge_closes = connector_closes = 0;
	edge = connector = NULL;
	server = NULL;
	return start(state);
}

static int start_served(void **state)
{
	start_quiet(state);
	serve("http", NULL);
	start_serving();
	return 0;
}

static int stop_served(void **state)
{
	if (edge)
		fake_transport_cut(edge);
	if (edge || connector)
		WAIT_FOR(!edge && !connector);
	buf_done(&caller.body);
	buf_done(&other.body);
	server = server_free(server);
	return stop(state);
}

static struct head request(const char *method, const char *path, enum head_length length)
{
	return (struct head){
		.method = bytes_str(method),
		.scheme = BYTES_LIT("https"),
		.authority = BYTES_LIT("app.example.com"),
		.path = bytes_str(path),
		.length = length,
	};
}

static void call(struct caller *c, enum stream_kind kind, const struct head *head, bool fin)
{
	c->stream = session_open(edge, kind, head, fin, &caller_events, c);
	assert_non_null(c->stream);
}

static void call_get(struct caller *c)
{
	struct head head = request("GET", "/", HEAD_LENGTH_NONE);

	call(c, STREAM_HTTP, &head, true);
}

static void assert_answered(struct caller *c, int status, const char *body)
{
	WAIT_FOR(c->has_fin || c->closes);
	WAIT_FOR(c->closes == 1);
	assert_int_equal(c->answers, 1);
	assert_int_equal(c->head.status, status);
	assert_false(c->answer.from_connector);
	assert_int_equal(c->body.len, strlen(body));
	assert_memory_equal(c->body.ptr, body, strlen(body));
	assert_int_equal(c->why, REASON_DONE);
	assert_int_equal(exchange_live_count(), 0);
}

/* --- There and back -------------------------------------------------------------------------- */

static void a_request_goes_to_the_service_and_its_answer_back(void **state)
{
	struct head head = request("GET", "/a?b", HEAD_LENGTH_NONE);
	struct field fields[] = {
		{ BYTES_LIT("cf-ray"), BYTES_LIT("0123456789abcdef-ATTIC"), HEAD_CF_RAY },
		{ BYTES_LIT("cf-cloudflared-proxy-connection-upgrade"), BYTES_LIT("x"),
		  HEAD_CF_UPGRADE },
		{ BYTES_LIT("cf-trace-id"), BYTES_LIT("1"), HEAD_OTHER },
		{ BYTES_LIT("cookie"), BYTES_LIT("a=b"), HEAD_COOKIE },
	};

	head.fields = (struct fields){ fields, ARRAY_LEN(fields), ARRAY_LEN(fields) };
	call(&caller, STREAM_HTTP, &head, true);
	accept_service();
	assert_string_equal(hear_head(service),
			    "GET /a?b HTTP/1.1\r\n"
			    "Host: app.example.com\r\n"
			    "Cf-Ray: 0123456789abcdef-ATTIC\r\n"
			    "Cookie: a=b\r\n"
			    "Cf-Warp-Tag-Id: ab000000-0000-0000-0000-000000000000\r\n"
			    "Cf-Warp-Tag-Site: attic\r\n"
			    "Connection: keep-alive\r\n\r\n");
	say(service, "HTTP/1.1 201 Created\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello");
	assert_answered(&caller, 201, "hello");
	assert_non_null(strstr(caller.fields, "X-A: b\n"));
}

static void a_response_without_a_body_ends_with_its_head(void **state)
{
	call_get(&caller);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 204 No Content\r\n\r\n");
	assert_answered(&caller, 204, "");
}

static void trailers_of_the_response_go_along(void **state)
{
	call_get(&caller);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		     "2\r\nok\r\n0\r\nGrpc-Status: 0\r\n\r\n");
	assert_answered(&caller, 200, "ok");
	assert_string_equal(caller.trailers, "Grpc-Status: 0\n");
}

enum { LARGE = 3 << 20 };

static uint8_t *pattern(size_t size)
{
	uint8_t *data = mem_alloc(size);

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 24);
	return data;
}

static void a_large_upload_goes_through_as_the_service_takes_it(void **state)
{
	uint8_t *data = pattern(LARGE), got[3000];
	struct head head = request("POST", "/up", HEAD_LENGTH_KNOWN);
	size_t total = 0;
	int tries = 0;

	head.content_length = LARGE;
	call(&caller, STREAM_HTTP, &head, false);
	caller.upload = bytes_of(data, LARGE);
	caller.upload_ends = true;
	go_on(&caller);
	accept_service();
	hear_head(service);
	for (int i = 0; i < 50; i++)
		let_it_turn();
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
	assert_answered(&caller, 200, "ok");
	mem_free(data);
}

static void a_stalled_edge_stops_the_service(void **state)
{
	uint8_t *data = pattern(LARGE);
	char head[100];
	struct bytes rest = bytes_of(data, LARGE);
	int stalls = 0;

	caller.stalls = true;
	call_get(&caller);
	accept_service();
	hear_head(service);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LARGE);
	say(service, head);
	while (rest.len && stalls < 50) {
		ssize_t n = send(service, rest.ptr, rest.len, MSG_NOSIGNAL);
		stalls = n < 0 ? stalls + 1 : 0;
		rest = bytes_from(rest, n < 0 ? 0 : (size_t)n);
		let_it_turn();
	}
	assert_true(caller.body.len <= FAKE_WINDOW);
	caller.stalls = false;
	stream_consume(caller.stream, caller.owed);
	say_bytes(service, rest);
	WAIT_FOR(caller.has_fin && caller.closes);
	assert_int_equal(caller.body.len, LARGE);
	assert_memory_equal(caller.body.ptr, data, LARGE);
	mem_free(data);
}

static void an_early_answer_ends_an_upload(void **state)
{
	uint8_t *data = pattern(LARGE);
	struct head head = request("POST", "/up", HEAD_LENGTH_UNKNOWN);

	call(&caller, STREAM_HTTP, &head, false);
	caller.upload = bytes_of(data, LARGE);
	go_on(&caller);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
	WAIT_FOR(caller.has_fin);
	assert_int_equal(caller.head.status, 403);
	hear_the_end(service);
	caller.upload_ends = true;
	go_on(&caller);
	/* The rest of it is taken and dropped, so that it does not hold up the session. */
	WAIT_FOR(caller.closes);
	assert_int_equal(caller.upload.len, 0);
	assert_int_equal(exchange_live_count(), 0);
	mem_free(data);
}

static void an_upgrade_is_raw_both_ways(void **state)
{
	struct head head = request("GET", "/socket", HEAD_LENGTH_NONE);

	head.is_upgrade = true;
	call(&caller, STREAM_WEBSOCKET, &head, false);
	accept_service();
	assert_non_null(strstr(hear_head(service), "Upgrade: websocket\r\n"));
	say(service, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
		     "Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhi");
	WAIT_FOR(caller.body.len == 2);
	assert_int_equal(caller.head.status, 101);
	assert_int_equal(stream_write(caller.stream, BYTES_LIT("hello"), false), 5);
	hear(service, "hello");
	say(service, " there");
	WAIT_FOR(caller.body.len == 8);
	/* The visitor ends, then the service does. */
	assert_int_equal(stream_write(caller.stream, BYTES_LIT("bye"), true), 3);
	hear(service, "bye");
	hear_the_end(service);
	say(service, "!");
	close_service();
	assert_answered(&caller, 101, "hi there!");
}

/* --- Failures -------------------------------------------------------------------------------- */

static void assert_says(json_t *object, const char *key, const char *want)
{
	const char *got = json_string_value(json_object_get(object, key));

	if (!got || !strstr(got, want))
		fail_msg("%s is \"%s\", not \"%s\"", key, got ? got : "(none)", want);
}

static void a_service_that_is_away_is_told_with_its_reason(void **state)
{
	close(listener);
	listener = -1;
	call_get(&caller);
	WAIT_FOR(caller.closes);
	assert_int_equal(caller.answers, 1);
	assert_true(caller.answer.from_connector);
	assert_int_equal(caller.head.status, 502);
	json_t *json = json_loads(caller.json, 0, NULL);
	assert_non_null(json);
	assert_says(json, "hop", "origin");
	assert_says(json, "errno", "ECONNREFUSED");
	assert_says(json, "origin", "http://127.0.0.1:");
	assert_says(json, "rule", "0: *");
	assert_says(json, "title", "Service unreachable");
	assert_says(json, "detail", "refused");
	assert_int_equal(json_integer_value(json_object_get(json, "status")), 502);
	json_decref(json);
	assert_int_equal(exchange_live_count(), 0);
}

static void a_failure_does_not_wait_for_the_upload(void **state)
{
	struct head head = request("POST", "/up", HEAD_LENGTH_UNKNOWN);

	close(listener);
	listener = -1;
	call(&caller, STREAM_HTTP, &head, false);
	WAIT_FOR(caller.answers);
	assert_true(caller.answer.from_connector);
	caller.upload = BYTES_LIT("the rest of the request");
	caller.upload_ends = true;
	go_on(&caller);
	WAIT_FOR(caller.closes);
	assert_int_equal(exchange_live_count(), 0);
}

static void a_response_that_breaks_off_resets_the_stream(void **state)
{
	call_get(&caller);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
	WAIT_FOR(caller.answers);
	close_service();
	WAIT_FOR(caller.closes);
	assert_false(caller.has_fin);
	assert_int_not_equal(caller.why, REASON_DONE);
	assert_int_equal(exchange_live_count(), 0);
}

static void what_breaks_off_in_one_go_is_no_whole_response(void **state)
{
	/* Head, part of the body and the end arrive together. */
	call_get(&caller);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
	close_service();
	WAIT_FOR(caller.closes);
	assert_false(caller.has_fin);
	assert_int_not_equal(caller.why, REASON_DONE);
}

static void a_stream_of_configuration_is_refused_in_words(void **state)
{
	struct head head = request("GET", "/", HEAD_LENGTH_UNKNOWN);

	call(&caller, STREAM_CONFIG, &head, false);
	WAIT_FOR(caller.answers);
	assert_true(caller.answer.from_connector);
	assert_int_equal(caller.head.status, 502);
	assert_non_null(strstr(caller.json, "Stream not supported"));
	stream_reset(caller.stream, REASON_CANCELLED);
	WAIT_FOR(caller.closes);
	assert_int_equal(exchange_live_count(), 0);
}

static void an_address_is_reached_only_where_the_configuration_says_so(void **state)
{
	struct head head = request("GET", "/", HEAD_LENGTH_UNKNOWN);

	head.authority = BYTES_LIT("10.0.0.1:80");
	call(&caller, STREAM_TCP, &head, false);
	WAIT_FOR(caller.answers);
	assert_true(caller.answer.from_connector);
	assert_false(caller.answer.flow_rate_limited);
	assert_int_equal(caller.head.status, 502);
	assert_non_null(strstr(caller.json, "\"status\":403"));
	assert_non_null(strstr(caller.json, "warp-routing: {enabled: true}"));
	stream_reset(caller.stream, REASON_CANCELLED);
	WAIT_FOR(caller.closes);
	assert_int_equal(exchange_live_count(), 0);
}

static void a_head_that_is_full_leaves_no_room_for_ours(void **state)
{
	struct head head = request("GET", "/", HEAD_LENGTH_NONE);
	struct field fields[LIMIT_HEAD_FIELDS];

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		fields[i] = (struct field){ BYTES_LIT("x-a"), BYTES_LIT("b"), HEAD_OTHER };
	head.fields = (struct fields){ fields, ARRAY_LEN(fields), ARRAY_LEN(fields) };
	call(&caller, STREAM_HTTP, &head, true);
	WAIT_FOR(caller.closes);
	assert_true(caller.answer.from_connector);
	assert_non_null(strstr(caller.json, "Too many header fields"));
}

static void use_rules(const char *yaml);

static void a_tcp_stream_is_raw_both_ways_and_counted(void **state)
{
	struct head head = request("GET", "/", HEAD_LENGTH_UNKNOWN);
	int64_t total = metric_get(&connector_metrics.tcp_total_sessions);
	char text[ADDRESS_TEXT_SIZE];

	listener = raw_listener("127.0.0.1", 0, 100, &service_address);
	set_nonblocking(listener);
	use_rules("ingress: [{service: 'http_status:404'}]\nwarp-routing: {allow: [127.0.0.1/32], "
		  "maxActiveFlows: 1}");
	start_serving();
	head.authority = bytes_str(address_text(&service_address, text));
	call(&caller, STREAM_TCP, &head, false);
	accept_service();
	WAIT_FOR(caller.answers);
	assert_int_equal(caller.head.status, 200);
	assert_false(caller.answer.from_connector);
	assert_string_equal(caller.fields, "");
	assert_int_equal(metric_get(&connector_metrics.tcp_active_sessions), 1);
	assert_int_equal(metric_get(&connector_metrics.tcp_total_sessions), total + 1);

	call(&other, STREAM_TCP, &head, false);
	WAIT_FOR(other.answers);
	assert_true(other.answer.from_connector);
	assert_true(other.answer.flow_rate_limited);
	stream_reset(other.stream, REASON_CANCELLED);
	WAIT_FOR(other.closes);

	caller.upload = BYTES_LIT("ping");
	caller.upload_ends = true;
	go_on(&caller);
	hear(service, "ping");
	hear_the_end(service);
	say(service, "pong");
	close_service();
	assert_answered(&caller, 200, "pong");
	assert_int_equal(metric_get(&connector_metrics.tcp_active_sessions), 0);
}

/* --- Rules ----------------------------------------------------------------------------------- */

static void use_rules(const char *yaml)
{
	struct err err = { 0 };
	struct yaml_doc *doc = yaml_parse(bytes_str(yaml), "config.yml", &err);
	struct ingress *in = ingress_parse(yaml_root(doc), INGRESS_YAML, NULL, &err);

	if (!in)
		fail_msg("%s", err.text);
	yaml_free(doc);
	set = origin_set_new(loop, in, &err);
	ingress_unref(in);
	assert_non_null(set);
}

static int status_of(const char *host, const char *path)
{
	struct head head = request("GET", path, HEAD_LENGTH_NONE);

	head.authority = bytes_str(host);
	memset(&caller, 0, sizeof(caller));
	buf_init(&caller.body, 1000);
	call(&caller, STREAM_HTTP, &head, true);
	WAIT_FOR(caller.closes);
	assert_int_equal(caller.answers, 1);
	buf_done(&caller.body);
	return caller.head.status;
}

static void host_and_decoded_path_choose_the_rule(void **state)
{
	use_rules("ingress:\n"
		  "- hostname: app.example.com\n"
		  "  path: ^/api\n"
		  "  service: http_status:201\n"
		  "- hostname: app.example.com\n"
		  "  service: http_status:202\n"
		  "- service: http_status:404\n");
	start_serving();
	assert_int_equal(status_of("app.example.com", "/api/x"), 201);
	assert_int_equal(status_of("APP.example.com:443", "/api?x"), 201);
	assert_int_equal(status_of("app.example.com", "/%61pi"), 201);
	assert_int_equal(status_of("app.example.com", "/a%70%69"), 201);
	assert_int_equal(status_of("app.example.com", "/?/api"), 202);
	assert_int_equal(status_of("app.example.com", "/%2"), 202);
	assert_int_equal(status_of("app.example.com", "/%zz%"), 202);
	assert_int_equal(status_of("other.example.com", "/api"), 404);
	assert_int_equal(status_of("", "/api"), 404);
	assert_int_equal(exchange_live_count(), 0);
}

static void a_host_of_the_rules_own_replaces_the_visitors(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.http_host_header = "inner.test";
	serve("http", &options);
	start_serving();
	call_get(&caller);
	accept_service();
	const char *head = hear_head(service);
	assert_non_null(strstr(head, "\r\nHost: inner.test\r\n"));
	assert_non_null(strstr(head, "\r\nX-Forwarded-Host: app.example.com\r\n"));
}

static void call_path(const char *path, const struct field *fields, size_t count)
{
	struct head head = request("GET", path, HEAD_LENGTH_NONE);

	head.fields = (struct fields){ (struct field *)(uintptr_t)fields, count, count };
	memset(&caller, 0, sizeof(caller));
	buf_init(&caller.body, 1000);
	call(&caller, STREAM_HTTP, &head, true);
}

static void a_prefix_is_taken_off_in_whole_segments(void **state)
{
	static const struct {
		const char *path, *want;
		bool is_stripped;
	} cases[] = {
		{ "/app/x?y", "/x?y", true },
		{ "/app", "/", true },
		{ "/app/", "/", true },
		{ "/app?x=/app/", "/?x=/app/", true },
		{ "/%61pp/x%2Fy", "/x%2Fy", true },
		{ "/app//x", "//x", true },
		{ "/app/app", "/app", true },
		{ "/apple", "/apple", false },
		{ "/apple/app/x", "/apple/app/x", false },
		{ "/app%2Fx", "/app%2Fx", false },
		{ "/ap", "/ap", false },
		{ "/ap%", "/ap%", false },
		{ "/ap%7", "/ap%7", false },
		{ "/App/x", "/App/x", false },
		{ "/x?/app", "/x?/app", false },
		{ "*", "*", false },
	};
	const struct field own = { BYTES_LIT("x-forwarded-prefix"), BYTES_LIT("/evil"), HEAD_OTHER };
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.strip_prefix = "/app";
	serve("http", &options);
	start_serving();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char line[100];
		call_path(cases[i].path, &own, 1);
		if (service < 0)
			accept_service();
		const char *head = hear_head(service);
		snprintf(line, sizeof(line), "GET %s HTTP/1.1\r\n", cases[i].want);
		if (strncmp(head, line, strlen(line)) != 0)
			fail_msg("%s became %.*s", cases[i].path, (int)strcspn(head, "\r"), head);
		assert_int_equal(strstr(head, "\r\nX-Forwarded-Prefix: /app\r\n") != NULL,
				 cases[i].is_stripped);
		assert_null(strstr(head, "evil"));
		say(service, OK_RESPONSE);
		assert_answered(&caller, 200, "ok");
		buf_done(&caller.body);
	}
}

static void a_longer_prefix_may_end_with_a_slash(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.strip_prefix = "/a/b/";
	serve("http", &options);
	start_serving();
	call_path("/a/b/c", NULL, 0);
	accept_service();
	const char *head = hear_head(service);
	assert_non_null(strstr(head, "GET /c HTTP/1.1\r\n"));
	assert_non_null(strstr(head, "\r\nX-Forwarded-Prefix: /a/b\r\n"));
}

static void fields_are_removed_and_then_set(void **state)
{
	static const char *const removed[] = { "COOKIE", "X-Both", "cf-warp-tag-site", "X-Absent" };
	static const struct ingress_header set_headers[] = {
		{ "x-both", "new" },
		{ "Authorization", "Basic eA==" },
		{ "Accept", "text/html" },
		{ "Accept", "text/plain" }, /* both */
	};
	const struct field own[] = {
		{ BYTES_LIT("cookie"), BYTES_LIT("a=b"), HEAD_COOKIE },
		{ BYTES_LIT("x-both"), BYTES_LIT("old"), HEAD_OTHER },
		{ BYTES_LIT("authorization"), BYTES_LIT("mine"), HEAD_OTHER },
		{ BYTES_LIT("X-BOTH"), BYTES_LIT("older"), HEAD_OTHER },
		{ BYTES_LIT("accept"), BYTES_LIT("*/*"), HEAD_OTHER },
	};
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.remove_headers = removed;
	options.remove_header_count = ARRAY_LEN(removed);
	options.set_headers = set_headers;
	options.set_header_count = ARRAY_LEN(set_headers);
	serve("http", &options);
	start_serving();
	call_path("/", own, ARRAY_LEN(own));
	accept_service();
	assert_string_equal(hear_head(service),
			    "GET / HTTP/1.1\r\n"
			    "Host: app.example.com\r\n"
			    "Cf-Warp-Tag-Id: ab000000-0000-0000-0000-000000000000\r\n"
			    "X-Both: new\r\n"
			    "Authorization: Basic eA==\r\n"
			    "Accept: text/html\r\n"
			    "Accept: text/plain\r\n"
			    "Connection: keep-alive\r\n\r\n");
}

static void new_rules_are_for_new_requests(void **state)
{
	struct origin_set *old = set;

	call_get(&caller);
	accept_service();
	hear_head(service);
	use_rules("ingress:\n- service: http_status:410\n");
	server_set_origins(server, set);
	origin_set_unref(old);
	call_get(&other);
	WAIT_FOR(other.closes);
	assert_int_equal(other.head.status, 410);
	say(service, OK_RESPONSE);
	assert_answered(&caller, 200, "ok");
	hear_the_end(service); /* the old set has gone, and its connections with it */
}

/* --- Leaving --------------------------------------------------------------------------------- */

static void a_cancelled_stream_lets_go_of_the_service(void **state)
{
	for (int phase = 0; phase < 4; phase++) {
		struct head head = request("POST", "/", HEAD_LENGTH_UNKNOWN);
		memset(&caller, 0, sizeof(caller));
		buf_init(&caller.body, 1000);
		call(&caller, STREAM_HTTP, &head, false);
		if (phase > 0)
			accept_service();
		if (phase > 1)
			hear_head(service);
		if (phase > 2) {
			say(service, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
			WAIT_FOR(caller.body.len == 4);
		}
		stream_reset(caller.stream, REASON_CANCELLED);
		WAIT_FOR(caller.closes);
		let_it_turn();
		assert_int_equal(exchange_live_count(), 0);
		if (phase == 0) {
			/* The kernel may have connected it meanwhile. */
			let_it_turn();
			service = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
		}
		if (service >= 0) {
			hear_the_end(service);
			close_service();
		}
		buf_done(&caller.body);
	}
}

static void a_lost_session_lets_go_of_every_service(void **state)
{
	call_get(&caller);
	call_get(&other);
	accept_service();
	int second_service = accept_next();
	hear_head(service);
	say(service, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
	WAIT_FOR(caller.body.len == 4 || other.body.len == 4);
	fake_transport_cut(connector);
	WAIT_FOR(!edge && !connector);
	assert_int_equal(caller.closes, 1);
	assert_int_equal(caller.why, REASON_LOST);
	assert_int_equal(other.closes, 1);
	hear_the_end(service);
	hear_the_end(second_service);
	close(second_service);
	assert_int_equal(exchange_live_count(), 0);
}

static void draining_lets_requests_finish(void **state)
{
	call_get(&caller);
	accept_service();
	hear_head(service);
	session_drain(connector);
	let_it_turn();
	assert_false(session_can_open(edge));
	assert_int_equal(connector_closes, 0);
	say(service, OK_RESPONSE);
	assert_answered(&caller, 200, "ok");
	WAIT_FOR(!edge && !connector);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, start_served, stop_served)
#define QUIET(test) cmocka_unit_test_setup_teardown(test, start_quiet, stop_served)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(a_request_goes_to_the_service_and_its_answer_back),
		SERVED(a_response_without_a_body_ends_with_its_head),
		SERVED(trailers_of_the_response_go_along),
		SERVED(a_large_upload_goes_through_as_the_service_takes_it),
		SERVED(a_stalled_edge_stops_the_service),
		SERVED(an_early_answer_ends_an_upload),
		SERVED(an_upgrade_is_raw_both_ways),
		SERVED(a_service_that_is_away_is_told_with_its_reason),
		SERVED(a_failure_does_not_wait_for_the_upload),
		SERVED(a_response_that_breaks_off_resets_the_stream),
		SERVED(what_breaks_off_in_one_go_is_no_whole_response),
		SERVED(a_stream_of_configuration_is_refused_in_words),
		SERVED(an_address_is_reached_only_where_the_configuration_says_so),
		QUIET(a_tcp_stream_is_raw_both_ways_and_counted),
		SERVED(a_head_that_is_full_leaves_no_room_for_ours),
		QUIET(host_and_decoded_path_choose_the_rule),
		QUIET(a_host_of_the_rules_own_replaces_the_visitors),
		QUIET(a_prefix_is_taken_off_in_whole_segments),
		QUIET(a_longer_prefix_may_end_with_a_slash),
		QUIET(fields_are_removed_and_then_set),
		SERVED(new_rules_are_for_new_requests),
		SERVED(a_cancelled_stream_lets_go_of_the_service),
		SERVED(a_lost_session_lets_go_of_every_service),
		SERVED(draining_lets_requests_finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
