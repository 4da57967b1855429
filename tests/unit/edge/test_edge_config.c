#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "edge/edge_config.h"

static struct edge_config config;
static char path[64];

static int setup(void **state)
{
	edge_config_init(&config, "/data");
	return 0;
}

static int teardown(void **state)
{
	edge_config_done(&config);
	if (path[0])
		(void)remove(path);
	path[0] = 0;
	return 0;
}

static int load(const char *text, struct err *err)
{
	int fd;
	FILE *file;

	memcpy(path, "/tmp/adit-edge-yml-XXXXXX", 26);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	assert_int_equal(fclose(file), 0);
	return edge_config_load(&config, path, err);
}

/* The error is "FILE:place: text", with `text` somewhere behind. */
static void assert_load_fails(const char *yaml, const char *place, const char *text)
{
	struct err err = { 0 };
	char wanted[200];

	assert_true(load(yaml, &err) < 0);
	snprintf(wanted, sizeof(wanted), "%s:%s: ", path, place);
	if (strncmp(err.text, wanted, strlen(wanted)) != 0 || !strstr(err.text, text))
		fail_msg("wanted %s…%s, got %s", wanted, text, err.text);
	(void)remove(path);
}

static void assert_texts(const struct edge_texts *t, size_t count, const char *first)
{
	assert_int_equal(t->count, count);
	if (count)
		assert_string_equal(t->list[0], first);
}

static void defaults_are_a_whole_edge(void **state)
{
	assert_texts(&config.https, 1, ":443");
	assert_texts(&config.http, 1, ":80");
	assert_texts(&config.tunnel, 1, ":7844");
	assert_texts(&config.metrics, 1, "127.0.0.1:20249");
	assert_string_equal(config.admin_socket, "/data/admin.sock");
	assert_string_equal(config.data_dir, "/data");
	assert_true(config.workers >= 1);
	assert_true(strlen(config.location) >= 1 && strlen(config.location) <= 8);
	assert_int_equal(config.log_level, LOG_INFO);
	assert_int_equal(config.log_format, LOG_CONSOLE);
	assert_int_equal(config.grace_period, 30 * USEC_PER_SEC);
	assert_int_equal(edge_config_complete(&config, "adit.example.com", NULL), 0);
	assert_string_equal(config.public_url, "https://adit.example.com");
	assert_texts(&config.advertise, 4, "adit.example.com:7844");
	assert_string_equal(config.advertise.list[3], "adit.example.com:7844");
}

static void file_beats_defaults_and_flags_beat_the_file(void **state)
{
	assert_int_equal(load("https: [\"127.0.0.1:8443\", \"[::1]:8443\"]\n"
			      "http: off\n"
			      "tunnel: 127.0.0.1:7000\n"
			      "workers: 3\n"
			      "location: ams1\n"
			      "log-level: debug\n"
			      "log-format: json\n"
			      "grace-period: 1m30s\n"
			      "metrics:\n",
			      NULL),
			 0);
	assert_texts(&config.https, 2, "127.0.0.1:8443");
	assert_texts(&config.http, 0, NULL);
	assert_texts(&config.metrics, 1, "127.0.0.1:20249");
	assert_int_equal(config.workers, 3);
	assert_int_equal(config.log_level, LOG_DEBUG);
	assert_int_equal(config.grace_period, 90 * USEC_PER_SEC);
	assert_string_equal(config.file_name, path);

	assert_int_equal(edge_config_flag(&config, "https", "127.0.0.1:9443", NULL), 0);
	assert_int_equal(edge_config_flag(&config, "https", "127.0.0.2:9443", NULL), 0);
	assert_int_equal(edge_config_flag(&config, "workers", "5", NULL), 0);
	assert_int_equal(edge_config_flag(&config, "metrics", "off", NULL), 0);
	assert_texts(&config.https, 2, "127.0.0.1:9443");
	assert_texts(&config.metrics, 0, NULL);
	assert_int_equal(config.workers, 5);

	assert_int_equal(edge_config_complete(&config, "adit.example.com", NULL), 0);
	assert_string_equal(config.public_url, "https://adit.example.com:9443");
	assert_texts(&config.advertise, 4, "127.0.0.1:7000");
}

static void errors_say_where(void **state)
{
	assert_load_fails("https: :443\nworkrs: 3\n", "2:1",
			  "unknown setting 'workrs', did you mean 'workers'?");
	assert_load_fails("zzzzzzzzzz: 3\n", "1:1", "unknown setting 'zzzzzzzzzz'");
	assert_load_fails("https: nonsense\n", "1:8", "https: ");
	assert_load_fails("https:\n  - :443\n  - [1]\n", "3:5", "https: a text expected");
	assert_load_fails("https: {a: b}\n", "1:8", "https: a value or a list of values expected");
	assert_load_fails("workers: [1]\n", "1:10", "workers: a value expected");
	assert_load_fails("workers: 0\n", "1:10", "a number from 1 to 256");
	assert_load_fails("workers: many\n", "1:10", "a number from 1 to 256");
	assert_load_fails("location: LONGNAME1\n", "1:11", "1 to 8 characters");
	assert_load_fails("location: AMS\n", "1:11", "a-z");
	assert_load_fails("log-level: loud\n", "1:12", "'loud'");
	assert_load_fails("log-format: xml\n", "1:13", "neither console nor json");
	assert_load_fails("grace-period: 30\n", "1:15", "a duration");
	assert_load_fails("grace-period: 1h\n", "1:15", "a duration");
	assert_load_fails("public-url: http://a.b\n", "1:13", "https://");
	assert_load_fails("public-url: https://a.b/path\n", "1:13", "https://HOST");
	assert_load_fails("advertise: a.example.com\n", "1:12", "advertise: ");
	assert_load_fails("advertise: a.example.com:0\n", "1:12", "no host:port");
	assert_load_fails("- https\n", "1:1", "key: value");
	assert_load_fails("https: :443\nhttps: :444\n", "2:1", "");
}

static void limits_are_numbers_or_off(void **state)
{
	(void)state;
	struct edge_config c;
	edge_config_init(&c, "/tmp");
	assert_int_equal(c.limits.connections, 1024);
	assert_texts(&c.limits.exempt, 2, "127.0.0.0/8");
	assert_true(c.limits.buffers >= 64 * 1024 * 1024);
	assert_int_equal(edge_config_flag(&c, "limit-connections", "off", NULL), 0);
	assert_int_equal(c.limits.connections, 0);
	assert_int_equal(edge_config_flag(&c, "limit-requests", "77", NULL), 0);
	assert_int_equal(c.limits.requests, 77);
	assert_int_equal(edge_config_flag(&c, "limit-exempt", "10.0.0.0/8, 2001:db8::/32", NULL), 0);
	assert_texts(&c.limits.exempt, 2, "10.0.0.0/8");
	assert_int_equal(edge_config_flag(&c, "limit-exempt", "off", NULL), 0);
	assert_int_equal(c.limits.exempt.count, 0);
	assert_int_equal(edge_config_flag(&c, "limit-buffers", "2G", NULL), 0);
	assert_true(c.limits.buffers == (int64_t)2 << 30);
	assert_int_equal(edge_config_flag(&c, "timeout-head", "2s", NULL), 0);
	assert_true(c.limits.head == 2 * USEC_PER_SEC);
	static const char *const wrong[][2] = {
		{ "limit-connections", "0" },
		{ "limit-connections", "-1" },
		{ "limit-request-rate", "1000001" },
		{ "limit-exempt", "10.0.0.1" },
		{ "limit-exempt", "10.0.0.0/33" },
		{ "limit-buffers", "1M" },
		{ "limit-buffers", "99999999999G" },
		{ "limit-buffers", "" },
		{ "timeout-head", "0s" },
		{ "timeout-body", "2h" },
	};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct err err = { 0 };
		assert_int_equal(edge_config_flag(&c, wrong[i][0], wrong[i][1], &err), E_INVALID);
	}
	edge_config_done(&c);
}

static void empty_file_is_fine_and_a_missing_one_is_told_apart(void **state)
{
	assert_int_equal(load("# nothing yet\n", NULL), 0);
	assert_int_equal(edge_config_load(&config, "/tmp/adit-there-is-no-such-file.yml", NULL),
			 E_NOT_FOUND);
}

static void empty_list_switches_a_listener_off(void **state)
{
	assert_int_equal(load("metrics: []\nhttp: []\n", NULL), 0);
	assert_int_equal(config.metrics.count, 0);
	assert_int_equal(config.http.count, 0);
}

static void bad_flags_are_refused(void **state)
{
	struct err err = { 0 };

	assert_int_equal(edge_config_flag(&config, "nosuch", "1", NULL), E_NOT_FOUND);
	assert_int_equal(edge_config_flag(&config, "workers", "x", &err), E_INVALID);
	assert_non_null(strstr(err.text, "--workers: "));
	assert_true(edge_config_flag(&config, "tunnel", "example.com:7844", &err) < 0);
	assert_true(edge_config_flag(&config, "admin-socket", "", &err) < 0);
	for (int i = 0; i < 32; i++)
		assert_int_equal(edge_config_flag(&config, "https", ":443", NULL), 0);
	assert_int_equal(edge_config_flag(&config, "https", ":443", NULL), E_LIMIT);
}

static void public_url_must_name_the_control_host(void **state)
{
	struct err err = { 0 };

	assert_int_equal(
		edge_config_flag(&config, "public-url", "https://adit.example.com:9443/", NULL), 0);
	assert_string_equal(config.public_url, "https://adit.example.com:9443");
	assert_int_equal(edge_config_complete(&config, "adit.example.com", NULL), 0);
	assert_int_equal(edge_config_complete(&config, "other.example.com", &err), E_INVALID);
	assert_non_null(strstr(err.text, "other.example.com"));
}

static void addresses_as_control_host_get_brackets(void **state)
{
	assert_int_equal(edge_config_flag(&config, "https", "[::1]:8443", NULL), 0);
	assert_int_equal(edge_config_complete(&config, "::1", NULL), 0);
	assert_string_equal(config.public_url, "https://[::1]:8443");
	assert_texts(&config.advertise, 4, "[::1]:7844");
	assert_int_equal(edge_config_flag(&config, "public-url", "https://[::1]:443", NULL), 0);
	assert_int_equal(edge_config_complete(&config, "::1", NULL), 0);
	assert_int_equal(edge_config_flag(&config, "public-url", "https://[::1]", NULL), 0);
	assert_int_equal(edge_config_complete(&config, "::1", NULL), 0);
}

static void several_tunnel_listeners_are_advertised_in_turn(void **state)
{
	assert_int_equal(edge_config_flag(&config, "tunnel", ":7844", NULL), 0);
	assert_int_equal(edge_config_flag(&config, "tunnel", "0.0.0.0:443", NULL), 0);
	assert_int_equal(edge_config_complete(&config, "adit.example.com", NULL), 0);
	assert_int_equal(config.advertise.count, 4);
	assert_string_equal(config.advertise.list[0], "adit.example.com:7844");
	assert_string_equal(config.advertise.list[1], "adit.example.com:443");
	assert_string_equal(config.advertise.list[2], "adit.example.com:7844");
	/* Again, with another host. */
	assert_int_equal(edge_config_complete(&config, "b.example.com", NULL), 0);
	assert_int_equal(config.advertise.count, 4);
	assert_string_equal(config.advertise.list[0], "b.example.com:7844");
	/* What was said stays. */
	assert_int_equal(edge_config_flag(&config, "advertise", "edge.example.net:7844", NULL), 0);
	assert_int_equal(edge_config_complete(&config, "b.example.com", NULL), 0);
	assert_texts(&config.advertise, 1, "edge.example.net:7844");
}

static void without_a_tunnel_listener_connectors_come_where_visitors_do(void **state)
{
	assert_int_equal(edge_config_flag(&config, "tunnel", "off", NULL), 0);
	assert_int_equal(edge_config_complete(&config, "adit.example.com", NULL), 0);
	assert_int_equal(config.advertise.count, 4);
	assert_string_equal(config.advertise.list[0], "adit.example.com:443");
}

static void quic_is_on_off_or_auto(void **state)
{
	assert_int_equal(config.tunnel_quic, EDGE_QUIC_AUTO);
	assert_int_equal(edge_config_flag(&config, "tunnel-quic", "off", NULL), 0);
	assert_int_equal(config.tunnel_quic, EDGE_QUIC_OFF);
	assert_int_equal(edge_config_flag(&config, "tunnel-quic", "on", NULL), 0);
	assert_int_equal(config.tunnel_quic, EDGE_QUIC_ON);
	assert_int_equal(edge_config_flag(&config, "tunnel-quic", "maybe", NULL), E_INVALID);
}

static void an_edge_needs_visitors(void **state)
{
	assert_int_equal(edge_config_flag(&config, "https", "off", NULL), 0);
	assert_int_equal(edge_config_complete(&config, "adit.example.com", NULL), E_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(defaults_are_a_whole_edge),
		TEST(file_beats_defaults_and_flags_beat_the_file),
		TEST(errors_say_where),
		TEST(limits_are_numbers_or_off),
		TEST(empty_file_is_fine_and_a_missing_one_is_told_apart),
		TEST(empty_list_switches_a_listener_off),
		TEST(bad_flags_are_refused),
		TEST(public_url_must_name_the_control_host),
		TEST(addresses_as_control_host_get_brackets),
		TEST(several_tunnel_listeners_are_advertised_in_turn),
		TEST(without_a_tunnel_listener_connectors_come_where_visitors_do),
		TEST(quic_is_on_off_or_auto),
		TEST(an_edge_needs_visitors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
