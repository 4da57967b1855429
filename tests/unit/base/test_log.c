#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include <jansson.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

/* --- Errors ---------------------------------------------------------------------------------- */

static void error_carries_code_text_and_errno(void **state)
{
	struct err err = { 0 };

	assert_int_equal(err_set(&err, E_PARSE, "line %d", 3), E_PARSE);
	assert_int_equal(err.code, E_PARSE);
	assert_int_equal(err.sys_errno, 0);
	assert_string_equal(err.text, "line 3");
	assert_int_equal(err_set_errno(&err, E_REFUSED, ECONNREFUSED, "connect to %s", "x"),
			 E_REFUSED);
	assert_int_equal(err.sys_errno, ECONNREFUSED);
	assert_string_equal(err.text, "connect to x: Connection refused");
	assert_int_equal(err_set(&err, E_IO, "plain"), E_IO);
	assert_int_equal(err.sys_errno, 0);
}

static void context_goes_in_front_and_the_cause_stays(void **state)
{
	struct err err;

	err_set_errno(&err, E_IO, ENOENT, "open ca.pem");
	assert_int_equal(err_wrap(&err, "rule %d", 2), E_IO);
	assert_int_equal(err_wrap(&err, "starting"), E_IO);
	assert_int_equal(err.code, E_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	assert_string_equal(err.text, "starting: rule 2: open ca.pem: No such file or directory");
}

static void nobody_has_to_ask_for_the_text(void **state)
{
	assert_int_equal(err_set(NULL, E_LIMIT, "x"), E_LIMIT);
	assert_int_equal(err_set_errno(NULL, E_IO, EIO, "x"), E_IO);
	assert_true(err_wrap(NULL, "x") < 0);
}

static void long_error_texts_are_cut(void **state)
{
	struct err err;
	char text[2000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	err_set(&err, E_PARSE, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	err_set_errno(&err, E_IO, EIO, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	for (int i = 0; i < 10; i++)
		err_wrap(&err, "%s", "context");
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_memory_equal(err.text, "context: context: ", 18);
}

static void codes_and_errnos_have_names(void **state)
{
	for (int code = E_OK; code >= E_INTERNAL; code--)
		assert_string_not_equal(err_name(code), "unknown");
	assert_string_equal(err_name(E_OK), "ok");
	assert_string_equal(err_name(E_TIMEOUT), "timeout");
	assert_string_equal(err_name(E_NOT_FOUND), "not found");
	assert_string_equal(err_name(E_CANCELLED), "cancelled");
	assert_string_equal(err_name(E_INTERNAL), "internal");
	assert_string_equal(err_name(-1000), "unknown");
	assert_string_equal(err_errno_name(ECONNREFUSED), "ECONNREFUSED");
	assert_string_equal(err_errno_name(0), "");
	assert_string_equal(err_errno_name(99999), "");
	assert_string_equal(err_errno_name(-1), "");
}

/* --- Time ------------------------------------------------------------------------------------ */

static void times_are_written_as_rfc_3339(void **state)
{
	char text[32];

	assert_string_equal(clock_rfc3339(0, text, sizeof(text)), "1970-01-01T00:00:00.000000Z");
	assert_string_equal(clock_rfc3339(1767323045123456, text, sizeof(text)),
			    "2026-01-02T03:04:05.123456Z");
	assert_string_equal(clock_rfc3339(951782400LL * USEC_PER_SEC, text, sizeof(text)),
			    "2000-02-29T00:00:00.000000Z");
	assert_string_equal(clock_rfc3339(-1, text, sizeof(text)), "1969-12-31T23:59:59.999999Z");
}

static void times_are_read_as_rfc_3339(void **state)
{
	usec want = 1767323045LL * USEC_PER_SEC;

	assert_true(clock_parse_rfc3339("2026-01-02T03:04:05Z") == want);
	assert_true(clock_parse_rfc3339("2026-01-02T03:04:05.5Z") == want + 500000);
	assert_true(clock_parse_rfc3339("2026-01-02T03:04:05.123456789Z") == want + 123456);
	assert_true(clock_parse_rfc3339("2026-01-02T04:34:05+01:30") == want);
	assert_true(clock_parse_rfc3339("2026-01-01T19:04:05.25-08:00") == want + 250000);
	assert_true(clock_parse_rfc3339("1970-01-01T00:00:00Z") == 0);
	char text[32];
	usec now = clock_wall_now();
	assert_true(clock_parse_rfc3339(clock_rfc3339(now, text, sizeof(text))) == now);
}

static void other_times_are_refused(void **state)
{
	static const char *const wrong[] = {
		"",
		"2026-01-02",
		"2026-01-02T03:04:05",
		"2026-01-02 03:04:05Z",
		"2026-13-02T03:04:05Z",
		"2026-01-02T25:04:05Z",
		"2026-01-02T03:04:05+1",
		"2026-01-02T03:04:05+aa:bb",
		"2026-01-02T03:04:05Zx",
		"2026-01-02T03:04:05+01:00x",
		"2026-01-02T03:04:05.Z",
		"not a time",
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		if (clock_parse_rfc3339(wrong[i]) != -1)
			fail_msg("took \"%s\"", wrong[i]);
}

static void the_clock_does_not_go_back(void **state)
{
	usec last = clock_now();

	for (int i = 0; i < 1000; i++) {
		usec now = clock_now();
		assert_true(now >= last);
		last = now;
	}
	assert_true(clock_wall_now() > 1700000000LL * USEC_PER_SEC);
}

/* --- Metrics --------------------------------------------------------------------------------- */

static struct metric requests_ok = { .name = "t_requests_total",
				     .labels = "code=\"200\"",
				     .help = "Requests",
				     .type = METRIC_COUNTER };
static struct metric requests_bad = { .name = "t_requests_total",
				      .labels = "code=\"502\"",
				      .help = "Requests",
				      .type = METRIC_COUNTER };
static struct metric open_now = { .name = "t_open", .help = "Open now", .type = METRIC_GAUGE };

static void metrics_are_printed_as_prometheus_reads_them(void **state)
{
	struct buf out;

	metric_register(&requests_ok);
	metric_register(&requests_bad);
	metric_register(&open_now);
	metric_add(&requests_ok, 41);
	metric_add(&requests_ok, 1);
	metric_set(&open_now, 3);
	metric_add(&open_now, -5);
	buf_init(&out, 10000);
	assert_int_equal(metrics_print(&out), 0);
	char *text = buf_take_str(&out);
	assert_string_equal(text, "# HELP t_requests_total Requests\n"
				  "# TYPE t_requests_total counter\n"
				  "t_requests_total{code=\"200\"} 42\n"
				  "t_requests_total{code=\"502\"} 0\n"
				  "# HELP t_open Open now\n"
				  "# TYPE t_open gauge\n"
				  "t_open -2\n");
	size_t length = strlen(text);
	mem_free(text);
	for (size_t max = 1; max < length; max++) {
		buf_init(&out, max);
		assert_int_equal(metrics_print(&out), E_LIMIT);
		buf_done(&out);
	}
	buf_init(&out, length);
	assert_int_equal(metrics_print(&out), 0);
	buf_done(&out);
}

/* --- Log ------------------------------------------------------------------------------------- */

static char console[20000], json[20000];

static void read_back(int fd, char *dst, size_t size)
{
	ssize_t n = pread(fd, dst, size - 1, 0);

	assert_true(n >= 0);
	dst[n] = 0;
}

/* Runs fn() with stderr going to a file; fills `console` and `json`. */
static void capture(enum log_level level, enum log_format format, void (*fn)(void))
{
	char err_path[] = "/tmp/test_log_err.XXXXXX", file_path[] = "/tmp/test_log_file.XXXXXX";
	int err_fd = mkstemp(err_path), file_fd = mkstemp(file_path);
	int saved = dup(STDERR_FILENO);

	assert_true(err_fd >= 0 && file_fd >= 0 && saved >= 0);
	assert_true(dup2(err_fd, STDERR_FILENO) >= 0);
	log_setup(level, format);
	int ret = log_to_file(file_path);
	fn();
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_int_equal(ret, 0);
	read_back(err_fd, console, sizeof(console));
	read_back(file_fd, json, sizeof(json));
	close(err_fd);
	close(file_fd);
	unlink(err_path);
	unlink(file_path);
	log_setup(LOG_ERROR, LOG_CONSOLE);
}

static void one_event(void)
{
	log_info("edge/tunnels", "connector registered", LOG_STR("tunnel", "home"),
		 LOG_INT("index", -3), LOG_BOOL("again", true), LOG_STR("empty", ""),
		 LOG_STR("none", NULL), LOG_STR("two", "a b"));
}

static void a_line_has_time_level_message_and_fields(void **state)
{
	json_error_t error;

	capture(LOG_INFO, LOG_CONSOLE, one_event);
	/* 2026-01-02T03:04:05Z */
	assert_int_equal(strlen("2026-01-02T03:04:05Z "), 21);
	assert_true(console[19] == 'Z' && console[20] == ' ');
	assert_string_equal(console + 21, "INF connector registered tunnel=home index=-3 again=true "
					  "empty=\"\" none=\"\" two=\"a b\"\n");
	json_t *line = json_loads(json, JSON_DISABLE_EOF_CHECK, &error);
	assert_non_null(line);
	assert_string_equal(json_string_value(json_object_get(line, "level")), "info");
	assert_string_equal(json_string_value(json_object_get(line, "component")), "edge/tunnels");
	assert_string_equal(json_string_value(json_object_get(line, "message")),
			    "connector registered");
	assert_string_equal(json_string_value(json_object_get(line, "tunnel")), "home");
	assert_int_equal(json_integer_value(json_object_get(line, "index")), -3);
	assert_true(json_is_true(json_object_get(line, "again")));
	json_decref(line);
	assert_string_equal(strchr(json, '\n'), "\n");
}

static void every_level(void)
{
	log_debug("c", "first");
	log_info("c", "second");
	log_warn("c", "three");
	log_error("c", "four");
}

static void lower_levels_are_left_out(void **state)
{
	capture(LOG_WARN, LOG_JSON, every_level);
	assert_null(strstr(console, "first"));
	assert_null(strstr(console, "second"));
	assert_non_null(strstr(console, "\"level\":\"warn\""));
	assert_non_null(strstr(console, "\"message\":\"four\""));
	capture(LOG_DEBUG, LOG_CONSOLE, every_level);
	assert_non_null(strstr(console, "DBG first\n"));
	assert_non_null(strstr(console, "WRN three\n"));

	enum log_level level = LOG_DEBUG;
	assert_true(log_level_parse("warn", &level));
	assert_int_equal(level, LOG_WARN);
	assert_true(log_level_parse("fatal", &level));
	assert_false(log_level_parse("warning", &level));
	assert_false(log_level_parse("", &level));
	assert_int_equal(level, LOG_FATAL);
}

/* ESC, BEL, newline, quote, backslash, DEL; CSI as one C1 control in UTF-8; a byte that is no UTF-8; a
 * surrogate, an overlong slash, a cut sequence; and text that is fine. */
static const char nasty[] = "\033[2J\a\n\"\\\x7f|\xc2\x9b"
			    "31m|\x9b|\xff|\xed\xa0\x80|\xc0\xaf|"
			    "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80|\xe2\x82";

static void nasty_event(void)
{
	log_warn("c", "m\033[31m\n", LOG_STR("v", nasty));
}

static void no_control_byte_reaches_a_terminal_and_json_stays_json(void **state)
{
	json_error_t error;

	capture(LOG_INFO, LOG_CONSOLE, nasty_event);
	size_t length = strlen(console);
	assert_int_equal(console[length - 1], '\n');
	for (size_t i = 0; i + 1 < length; i++) {
		uint8_t c = (uint8_t)console[i], next = (uint8_t)console[i + 1];
		if (c < 0x20 || c == 0x7f || (c == 0xc2 && next < 0xa0))
			fail_msg("control byte %02x at %zu", c, i);
	}
	assert_non_null(strstr(console, "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"));
	json_t *line = json_loads(json, JSON_DISABLE_EOF_CHECK, &error);
	if (!line)
		fail_msg("not JSON: %s: %s", error.text, json);
	assert_string_equal(json_string_value(json_object_get(line, "message")), "m\033[31m\n");
	json_decref(line);
}

static void long_event(void)
{
	static char value[9000];

	memset(value, '\n', sizeof(value) - 1);
	log_warn("c", "long", LOG_STR("a", value), LOG_STR("b", value), LOG_STR("c", value));
	memset(value, 'x', sizeof(value) - 1);
	memcpy(value + 1023, "\xc3\xa4", 2); /* the cut goes through it */
	log_warn("c", "one", LOG_STR("a", value));
}

static void long_values_and_lines_are_cut(void **state)
{
	json_error_t error;

	capture(LOG_INFO, LOG_CONSOLE, long_event);
	char *second = strchr(console, '\n') + 1;
	assert_in_range(second - console, 1000, 4096);
	assert_int_equal(strlen(second), strcspn(second, "\n") + 1);
	assert_non_null(strstr(second, "..."));
	assert_in_range(strlen(second), 1024, 1200);
	/* The first one too is still JSON, and says that something is missing. */
	json_t *line = json_loads(json, JSON_DISABLE_EOF_CHECK, &error);
	assert_non_null(line);
	assert_true(json_is_true(json_object_get(line, "cut")));
	json_decref(line);
	assert_non_null(strstr(console, " cut=true\n"));
	line = json_loads(strchr(json, '\n') + 1, JSON_DISABLE_EOF_CHECK, &error);
	assert_non_null(line);
	assert_null(json_object_get(line, "cut"));
	json_decref(line);
}

static void event_with_secrets(void)
{
	log_info("c", "see https://u:p4ss@host/",
		 LOG_STR("url", "https://h/?access_token=s3cret&a=1"),
		 LOG_STR("field", "Authorization: Bearer s3crets3crets3cret"));
}

static void what_looks_like_a_secret_is_masked(void **state)
{
	capture(LOG_INFO, LOG_CONSOLE, event_with_secrets);
	assert_null(strstr(console, "s3cret"));
	assert_null(strstr(json, "s3cret"));
	assert_null(strstr(json, "p4ss"));
	assert_non_null(
		strstr(console, "https://*****@host/ url=\"https://h/?access_token=*****&a=1\""));
}

static void an_unusable_file_is_reported(void **state)
{
	assert_int_equal(log_to_file("/dev/null/log"), -ENOTDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_carries_code_text_and_errno),
		cmocka_unit_test(context_goes_in_front_and_the_cause_stays),
		cmocka_unit_test(nobody_has_to_ask_for_the_text),
		cmocka_unit_test(long_error_texts_are_cut),
		cmocka_unit_test(codes_and_errnos_have_names),
		cmocka_unit_test(times_are_written_as_rfc_3339),
		cmocka_unit_test(times_are_read_as_rfc_3339),
		cmocka_unit_test(other_times_are_refused),
		cmocka_unit_test(the_clock_does_not_go_back),
		cmocka_unit_test(metrics_are_printed_as_prometheus_reads_them),
		cmocka_unit_test(a_line_has_time_level_message_and_fields),
		cmocka_unit_test(lower_levels_are_left_out),
		cmocka_unit_test(no_control_byte_reaches_a_terminal_and_json_stays_json),
		cmocka_unit_test(long_values_and_lines_are_cut),
		cmocka_unit_test(what_looks_like_a_secret_is_masked),
		cmocka_unit_test(an_unusable_file_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
