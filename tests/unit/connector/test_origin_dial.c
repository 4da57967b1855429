/* What does not show in a request: names, targets of one's own, giving up. */
#include "unit/connector/service.h"

#include "connector/origin/origin_internal.h"

static struct origin origin;
static struct ingress *rules;
static struct origin_dial *dial;
static int done_count;
static struct byte_stream *stream;
static struct err done_err;
static char done_title[64];

static void use(const char *url, const struct ingress_origin *options)
{
	rules = ingress_single(url, options, NULL);
	assert_non_null(rules);
	origin = (struct origin){ .loop = loop, .rule = ingress_rule(rules, 0) };
}

static int start_dial(void **state)
{
	start(state);
	done_count = 0;
	dial = NULL;
	stream = NULL;
	rules = NULL;
	return 0;
}

static int stop_dial(void **state)
{
	origin_dial_cancel(dial);
	byte_stream_close(stream);
	ingress_unref(rules);
	return stop(state);
}

static void on_done(void *ctx, struct byte_stream *s, const struct err *err, const char *title)
{
	assert_ptr_equal(ctx, &origin);
	done_count++;
	dial = NULL;
	stream = s;
	if (!s) {
		done_err = *err;
		snprintf(done_title, sizeof(done_title), "%s", title);
	}
	happened();
}

static void go(struct origin_target to)
{
	dial = origin_dial(&origin, &to, on_done, &origin);
	assert_int_equal(done_count, 0); /* never inside the call */
}

static void a_target_of_ones_own_goes_before_the_rules(void **state)
{
	listener = raw_listener("127.0.0.1", 0, 5, &service_address);
	set_nonblocking(listener);
	use("bastion", NULL);
	go((struct origin_target){ .host = BYTES_LIT("127.0.0.1"),
				   .port = address_port(&service_address) });
	WAIT_FOR(done_count == 1);
	assert_non_null(stream);
	accept_service();
}

static void a_service_without_a_port_is_out_of_reach(void **state)
{
	use("foo://127.0.0.1", NULL);
	go((struct origin_target){ 0 });
	WAIT_FOR(done_count == 1);
	assert_null(stream);
	assert_int_equal(done_err.code, E_INVALID);
	assert_non_null(strstr(done_err.text, "no port"));
	assert_string_equal(done_title, "Service unreachable");
}

static void a_socket_path_too_long_is_out_of_reach(void **state)
{
	char url[300] = "unix:/";

	memset(url + 6, 'x', 200);
	use(url, NULL);
	go((struct origin_target){ 0 });
	WAIT_FOR(done_count == 1);
	assert_null(stream);
	assert_non_null(strstr(done_err.text, "socket path"));
}

static void a_failure_names_the_address(void **state)
{
	char url[64], text[ADDRESS_TEXT_SIZE];

	close(raw_listener("127.0.0.1", 0, 5, &service_address));
	snprintf(url, sizeof(url), "http://%s", address_text(&service_address, text));
	use(url, NULL);
	go((struct origin_target){ 0 });
	WAIT_FOR(done_count == 1);
	assert_int_equal(done_err.code, E_REFUSED);
	assert_non_null(strstr(done_err.text, text));
	assert_string_equal(done_title, "Service unreachable");
}

static void nothing_follows_when_it_was_given_up(void **state)
{
	static const char *const urls[] = { "http://127.0.0.1:1", "foo://127.0.0.1",
					    "http://localhost:1", "unix:/does/not/exist" };

	assert_null(origin_dial_cancel(NULL));
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		use(urls[i], NULL);
		go((struct origin_target){ 0 });
		dial = origin_dial_cancel(dial);
		let_it_turn();
		assert_int_equal(done_count, 0);
		rules = ingress_unref(rules);
	}
}

static void assert_name(const char *url, const struct ingress_origin *options, bool varies,
			const char *want)
{
	use(url, options);
	assert_int_equal(origin_name_varies(&origin), varies);
	char *name = origin_server_name(&origin, BYTES_LIT("App.Example.com:8443"));
	assert_string_equal(name, want);
	mem_free(name);
	rules = ingress_unref(rules);
}

static void the_server_name_is_found_in_order(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	assert_name("http://inner:80", &options, false, "inner");
	assert_name("https://inner:443", &options, false, "inner");
	assert_name("https://[::1]:443", &options, false, "::1");
	assert_name("unix+tls:/a.sock", &options, true, "app.example.com");
	options.match_sni_to_host = true;
	assert_name("https://inner:443", &options, true, "app.example.com");
	assert_name("http://inner:80", &options, false, "inner");
	options.origin_server_name = "given.example.com";
	assert_name("https://inner:443", &options, false, "given.example.com");
	assert_name("unix+tls:/a.sock", &options, false, "given.example.com");
}

#define DIAL(test) cmocka_unit_test_setup_teardown(test, start_dial, stop_dial)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DIAL(a_target_of_ones_own_goes_before_the_rules),
		DIAL(a_service_without_a_port_is_out_of_reach),
		DIAL(a_socket_path_too_long_is_out_of_reach),
		DIAL(a_failure_names_the_address),
		DIAL(nothing_follows_when_it_was_given_up),
		DIAL(the_server_name_is_found_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
