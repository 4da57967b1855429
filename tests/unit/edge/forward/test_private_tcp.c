/* TCP to private networks: who may, where to, and the bytes between a WebSocket and a tunnel stream. */
#include "unit/edge/line.h"

#include <ftw.h>

#include "edge/certificates.h"
#include "edge/forward/private_tcp.h"
#include "http/websocket.h"
#include "store/store.h"

/* --- A store with routes, and what workers know of it ------------------------------------------ */

static char dir[64], *token;
static struct snapshot *snapshot;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static void add_route(struct store *s, const char *account, const char *network,
		      const struct uuid *to, const struct uuid *vnet)
{
	struct store_network_route r = { 0 };
	struct network n;

	assert_true(network_parse(bytes_str(network), &n));
	assert_int_equal(store_network_route_add(s, account, &n, to, vnet, "", &r, NULL), 0);
	store_network_route_done(&r);
}

static int build(void **state)
{
	struct store_zone zone = { 0 };
	struct store_tunnel t = { 0 };
	struct store_vnet v = { 0 };
	struct err err = { 0 };
	char account[33];

	snprintf(dir, sizeof(dir), "/tmp/adit-test-private-XXXXXX");
	assert_non_null(mkdtemp(dir));
	struct store *s = store_open(dir, true, &err);
	assert_non_null(s);
	assert_int_equal(store_account_first(s, account, NULL), 0);
	assert_int_equal(certificates_init_ca(s, dir, &err), 0);
	assert_int_equal(store_setting_put(s, "control.host", "adit.example.com", false, NULL), 0);
	assert_int_equal(store_zone_add(s, account, "example.com", &zone, NULL), 0);
	token = store_token_create(s, account, &zone.id, "", NULL);
	assert_int_equal(store_tunnel_create(s, account, "office",
					     BYTES_LIT("0123456789abcdef0123456789abcdef"), &t,
					     NULL),
			 0);
	assert_int_equal(store_vnet_default(s, account, &v, NULL), 0);
	add_route(s, account, "10.0.0.0/8", &t.id, &v.id);
	add_route(s, account, "fd00::/8", &t.id, &v.id);
	store_vnet_done(&v);
	assert_int_equal(store_vnet_create(s, account, "lab", "", false, &v, NULL), 0);
	add_route(s, account, "192.168.0.0/16", &t.id, &v.id);
	store_vnet_done(&v);
	tunnel.id = t.id;
	snapshot = snapshot_build(s, "https://adit.example.com", NULL, NULL, &err);
	assert_non_null(snapshot);
	store_tunnel_done(&t);
	store_zone_done(&zone);
	store_close(s);
	return 0;
}

static int tear_down(void **state)
{
	snapshot = snapshot_unref(snapshot);
	mem_free(token);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

/* --- The visitor ------------------------------------------------------------------------------- */

static enum handled handle(struct exchange *x, void *worker)
{
	return private_tcp_handle(x, worker);
}

static const struct handler private_handlers[] = { { "private", handle } };
static const struct handler_chain private_chain = { private_handlers, 1, &workers[0], NULL };

static void drop(void *s)
{
	snapshot_unref(s);
}

static struct exchange *ask(struct visit *v, const char *bearer, const char *destination,
			    const char *vnet, bool half_close)
{
	struct exchange *x = prepare(v, &workers[0], "GET", HEAD_LENGTH_UNKNOWN);
	struct fields *f = &x->request.fields;

	x->route = NULL;
	x->request.is_upgrade = true;
	x->snapshot = snapshot_ref(snapshot);
	x->drop_snapshot = drop;
	if (bearer)
		assert_int_equal(fields_add(f, &x->arena, BYTES_LIT("authorization"),
					    arena_printf(&x->arena, "Bearer %s", bearer)),
				 0);
	assert_int_equal(fields_add(f, &x->arena, BYTES_LIT("sec-websocket-key"),
				    BYTES_LIT("MDEyMzQ1Njc4OWFiY2RlZg==")),
			 0);
	if (destination)
		assert_int_equal(fields_add(f, &x->arena, BYTES_LIT("cf-access-jump-destination"),
					    bytes_str(destination)),
				 0);
	if (vnet)
		assert_int_equal(fields_add(f, &x->arena, BYTES_LIT("adit-virtual-network"),
					    bytes_str(vnet)),
				 0);
	if (half_close)
		assert_int_equal(fields_add(f, &x->arena, BYTES_LIT(WEBSOCKET_HALF_CLOSE_FIELD),
					    BYTES_LIT("1")),
				 0);
	return x;
}

static void refused(struct exchange *x, int status, const char *detail_has)
{
	exchange_start(x, &private_chain);
	WAIT_FOR(visit.has_failed);
	assert_int_equal(visit.failure.status, status);
	if (!strstr(visit.detail, detail_has))
		fail_msg("\"%s\" does not speak of \"%s\"", visit.detail, detail_has);
	leave(&visit);
	assert_int_equal(call_count, 0);
	assert_int_equal(metric_get(&metric_private_tcp), 0);
}

static const uint8_t mask[4] = { 1, 2, 3, 4 };

static void send_frame(const char *text)
{
	uint8_t frame[WEBSOCKET_HEAD_MAX + 200];
	size_t len = strlen(text);
	size_t head = websocket_print_head(WEBSOCKET_BINARY, len, mask, frame);

	memcpy(frame + head, text, len);
	websocket_mask(frame + head, len, mask, 0);
	assert_int_equal(body_write(&visit.x->request_body, bytes_of(frame, head + len)),
			 head + len);
}

static void send_close(void)
{
	uint8_t frame[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX];
	size_t len = websocket_print_close(WEBSOCKET_CLOSE_NORMAL, NULL, mask, frame);

	body_write(&visit.x->request_body, bytes_of(frame, len));
}

/* "data(hello) end close(1000) ": what has come, and is dropped. */
static const char *heard(void)
{
	static char text[1000];
	struct websocket_reader r;
	uint8_t *at = visit.body.ptr;
	size_t left = visit.body.len, len = 0;
	enum websocket_event event;

	text[0] = 0;
	websocket_reader_init(&r, WEBSOCKET_CLIENT);
	while ((event = websocket_next(&r, &at, &left)) != WEBSOCKET_MORE) {
		if (event == WEBSOCKET_DATA)
			len += (size_t)snprintf(text + len, sizeof(text) - len, BYTES_FMT " ",
						BYTES_ARG(r.payload));
		else if (event == WEBSOCKET_MESSAGE && r.is_empty)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "end ");
		else if (event == WEBSOCKET_CONTROL)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "close(%u) ",
						r.close_code);
		assert_int_not_equal(event, WEBSOCKET_BROKEN);
	}
	buf_clear(&visit.body);
	return text;
}

static struct call *open_stream(bool half_close)
{
	exchange_start(ask(&visit, token, "10.0.0.5:5432", NULL, half_close), &private_chain);
	struct call *c = next_call();
	answer(c, 200, false);
	WAIT_FOR(visit.has_head);
	assert_int_equal(visit.x->response.status, 101);
	assert_int_equal(metric_get(&metric_private_tcp), 1);
	return c;
}

/* --- Who may, and where to ---------------------------------------------------------------------- */

static void only_who_holds_a_token_may_ask(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	refused(ask(&visit, NULL, "10.0.0.5:80", NULL, false), 401, "adit tunnel login");
	refused(ask(&visit, "", "10.0.0.5:80", NULL, false), 401, "adit tunnel login");
	refused(ask(&visit, "nonsense", "10.0.0.5:80", NULL, false), 401, "adit tunnel login");
	struct exchange *x = ask(&visit, token, "10.0.0.5:80", NULL, false);
	x->request.is_upgrade = false;
	body_end(&x->request_body);
	refused(x, 400, "WebSocket");
}

static void a_destination_is_an_address_with_a_route(void **state)
{
	static const char *const bad[] = { "db.internal:5432", "10.0.0.5",       "10.0.0.5:0",   "",
					   "fd00::1:80",       "10.0.0.5:80:80", "10.0.0.0/8:80" };

	line_up(&lines[0], &workers[0], 1, 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refused(ask(&visit, token, bad[i], NULL, false), 400, "IP address and port");
	refused(ask(&visit, token, NULL, NULL, false), 400, "IP address and port");
	refused(ask(&visit, token, "11.0.0.5:80", NULL, false), 404,
		"No tunnel leads to 11.0.0.5:80");
	refused(ask(&visit, token, "192.168.1.1:80", NULL, false), 404,
		"in the virtual network default");
	refused(ask(&visit, token, "10.0.0.5:80", "lab", false), 404, "in the virtual network lab");
	refused(ask(&visit, token, "10.0.0.5:80", "nowhere", false), 404,
		"no virtual network nowhere");
}

static void without_a_connector_it_is_said(void **state)
{
	refused(ask(&visit, token, "10.0.0.5:80", NULL, false), 530, "no connector");
}

/* --- Bytes -------------------------------------------------------------------------------------- */

static void the_connector_is_asked_for_the_address(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	struct call *c = open_stream(false);
	assert_int_equal(c->kind, STREAM_TCP);
	assert_string_equal(c->authority, "10.0.0.5:5432");
	assert_non_null(strstr(c->fields, "0123456789abcdef-ATTIC"));
	assert_non_null(strstr(c->fields, "192.0.2.7"));
	assert_null(strstr(c->fields, "Bearer"));
	assert_null(strstr(visit.fields, WEBSOCKET_HALF_CLOSE_FIELD));
	leave(&visit);
	WAIT_FOR(!c->stream);
	exchange_start(ask(&visit, token, "[fd00::1]:22", NULL, false), &private_chain);
	c = next_call();
	assert_string_equal(c->authority, "[fd00::1]:22");
	leave(&visit);
	WAIT_FOR(!c->stream);
	exchange_start(ask(&visit, token, "192.168.1.1:22", "lab", false), &private_chain);
	c = next_call();
	assert_string_equal(c->authority, "192.168.1.1:22");
	leave(&visit);
	WAIT_FOR(!c->stream);
	assert_int_equal(metric_get(&metric_private_tcp), 0);
}

static void each_direction_ends_by_itself(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	struct call *c = open_stream(true);
	assert_non_null(strstr(visit.fields, WEBSOCKET_HALF_CLOSE_FIELD));
	send_frame("ping");
	send_frame("");
	WAIT_FOR(c->has_fin);
	assert_int_equal(c->body.len, 4);
	c->reply = BYTES_LIT("pong");
	call_go_on(c);
	WAIT_FOR(visit.body.len >= 6);
	assert_string_equal(heard(), "pong ");
	c->reply_ends = true;
	call_go_on(c);
	WAIT_FOR(visit.has_end);
	assert_string_equal(heard(), "close(1000) ");
	WAIT_FOR(metric_get(&metric_private_tcp) == 0);
}

static void the_far_end_may_end_first(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	struct call *c = open_stream(true);
	c->reply = BYTES_LIT("bye");
	c->reply_ends = true;
	call_go_on(c);
	WAIT_FOR(visit.body.len >= 7);
	assert_string_equal(heard(), "bye end ");
	send_frame("more");
	WAIT_FOR(c->body.len == 4);
	send_frame("");
	WAIT_FOR(visit.has_end);
	assert_string_equal(heard(), "close(1000) ");
}

static void without_half_close_the_end_of_one_is_the_end_of_both(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	struct call *c = open_stream(false);
	c->reply = BYTES_LIT("bye");
	c->reply_ends = true;
	call_go_on(c);
	WAIT_FOR(visit.has_end);
	assert_string_equal(heard(), "bye close(1000) ");

	leave(&visit);
	c = open_stream(false);
	send_frame("last words");
	send_close();
	WAIT_FOR(visit.has_end);
	assert_string_equal(heard(), "close(1000) ");
	leave(&visit);
	/* What was said before still arrives. */
	WAIT_FOR(c->has_fin);
	assert_memory_equal(c->body.ptr, "last words", 10);
	c->reply_ends = true;
	call_go_on(c);
	WAIT_FOR(metric_get(&metric_private_tcp) == 0);
}

static void a_stalled_connector_stops_the_visitor(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	new_calls_stall = true;
	struct call *c = open_stream(false);
	char text[151] = { 0 };
	int written = 0;

	memset(text, 'x', 150);
	for (int idle = 0; idle < 200; let_it_turn()) {
		if (bufq_room(&visit.x->request_body.queue) > 200) {
			send_frame(text);
			written++;
			idle = 0;
		} else {
			idle++;
		}
		assert_true(written < 100000);
	}
	c->stalls = false;
	stream_consume(c->stream, c->owed);
	WAIT_FOR(c->body.len == (size_t)written * 150);
}

/* --- Failures ----------------------------------------------------------------------------------- */

static void the_connectors_reason_is_told(void **state)
{
	const struct head head = { .status = 502 };
	const struct answer no = {
		.head = &head,
		.from_connector = true,
		.flow_rate_limited = true,
		.failure_json =
			BYTES_LIT("{\"hop\":\"connector\",\"status\":429,\"title\":\"Too many\","
				  "\"detail\":\"It carries enough.\",\"sent\":false}"),
	};

	line_up(&lines[0], &workers[0], 1, 0);
	exchange_start(ask(&visit, token, "10.0.0.5:5432", NULL, false), &private_chain);
	stream_answer(next_call()->stream, &no, true);
	WAIT_FOR(visit.has_failed);
	assert_int_equal(visit.failure.status, 429);
	assert_true(visit.failure.is_rate_limited);
	assert_string_equal(visit.detail, "It carries enough.");
	assert_int_equal(metric_get(&metric_private_tcp), 0);
}

static void a_lost_connection_closes_the_socket(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	open_stream(true);
	line_cut(&lines[0]);
	WAIT_FOR(visit.has_end);
	assert_string_equal(heard(), "close(1011) ");
}

static void a_visitor_who_leaves_takes_the_stream_along(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	struct call *c = open_stream(true);
	leave(&visit);
	WAIT_FOR(!c->stream);
	assert_int_equal(metric_get(&metric_private_tcp), 0);
}

static void broken_frames_end_it(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	open_stream(false);
	body_write(&visit.x->request_body, BYTES_LIT("\x82\x05hello")); /* no mask */
	WAIT_FOR(visit.has_end);
	assert_string_equal(heard(), "close(1002) ");
}

static void it_crosses_to_the_worker_that_has_a_session(void **state)
{
	line_up(&lines[0], &workers[1], 1, 0);
	struct call *c = open_stream(true);
	assert_int_equal(c->kind, STREAM_TCP);
	send_frame("ping");
	send_frame("");
	WAIT_FOR(c->has_fin);
	assert_memory_equal(c->body.ptr, "ping", 4);
	c->reply = BYTES_LIT("pong");
	c->reply_ends = true;
	call_go_on(c);
	WAIT_FOR(visit.has_end);
	assert_string_equal(heard(), "pong close(1000) ");
	WAIT_FOR(metric_get(&metric_private_tcp) == 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(only_who_holds_a_token_may_ask),
		TEST(a_destination_is_an_address_with_a_route),
		TEST(without_a_connector_it_is_said),
		TEST(the_connector_is_asked_for_the_address),
		TEST(each_direction_ends_by_itself),
		TEST(the_far_end_may_end_first),
		TEST(without_half_close_the_end_of_one_is_the_end_of_both),
		TEST(a_stalled_connector_stops_the_visitor),
		TEST(the_connectors_reason_is_told),
		TEST(a_lost_connection_closes_the_socket),
		TEST(a_visitor_who_leaves_takes_the_stream_along),
		TEST(broken_frames_end_it),
		TEST(it_crosses_to_the_worker_that_has_a_session),
	};

	return cmocka_run_group_tests(tests, build, tear_down);
}
