#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/metrics.h"

/* All metrics as text, of which the part that begins with the family's HELP line. */
static char *exposition_of(const char *name)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	assert_int_equal(metrics_print(&out), 0);
	char *text = buf_take_str(&out), *help = mem_printf("# HELP %s ", name);
	char *from = strstr(text, help);
	if (!from) {
		fail_msg("%s is not in\n%s", name, text);
		return NULL;
	}
	char *end = strstr(from + 1, "# HELP ");
	char *part = mem_strndup(bytes_of(from, end ? (size_t)(end - from) : strlen(from)));
	assert_null(end ? strstr(end, help) : NULL);
	mem_free(help);
	mem_free(text);
	buf_done(&out);
	return part;
}

static void assert_exposition(const char *name, const char *want)
{
	char *got = exposition_of(name);

	assert_string_equal(got, want);
	mem_free(got);
}

static void prints_counters_and_gauges_with_help_and_type(void **state)
{
	static struct metric requests = { .name = "t_requests_total",
					  .help = "Requests",
					  .type = METRIC_COUNTER };
	static struct metric open = { .name = "t_open",
				      .labels = "where=\"here\"",
				      .help = "Open now",
				      .type = METRIC_GAUGE };

	metric_register(&requests);
	metric_register(&open);
	metric_add(&requests, 41);
	metric_add(&requests, 1);
	metric_set(&open, 5);
	metric_add(&open, -7);
	assert_exposition("t_requests_total", "# HELP t_requests_total Requests\n"
					      "# TYPE t_requests_total counter\n"
					      "t_requests_total 42\n");
	assert_exposition("t_open", "# HELP t_open Open now\n# TYPE t_open gauge\n"
				    "t_open{where=\"here\"} -2\n");
}

static void prints_parts_of_a_unit_as_decimals(void **state)
{
	static struct metric seconds = { .name = "t_seconds",
					 .help = "Time",
					 .type = METRIC_GAUGE,
					 .per_unit = 1000000 };

	metric_register(&seconds);
	metric_set(&seconds, 1795371720460000);
	assert_exposition(
		"t_seconds",
		"# HELP t_seconds Time\n# TYPE t_seconds gauge\nt_seconds 1795371720.46\n");
	metric_set(&seconds, 100000);
	assert_exposition("t_seconds",
			  "# HELP t_seconds Time\n# TYPE t_seconds gauge\nt_seconds 0.1\n");
}

static void keeps_the_series_of_a_set_together(void **state)
{
	static struct metric_set set = { .name = "t_by_code",
					 .help = "By code",
					 .type = METRIC_COUNTER,
					 .label_names = { "code" },
					 .max = 10 };
	static struct metric between = { .name = "t_between",
					 .help = "Registered between two series",
					 .type = METRIC_COUNTER };
	static struct metric at_the_end = { .name = "t_at_the_end",
					    .help = "Registered behind them",
					    .type = METRIC_COUNTER };

	struct metric *ok = metric_of(&set, BYTES_LIT("200"), BYTES_NONE);
	metric_add(ok, 1);
	metric_register(&between);
	metric_add(metric_of(&set, BYTES_LIT("502"), BYTES_NONE), 3);
	assert_ptr_equal(metric_of(&set, BYTES_LIT("200"), BYTES_LIT("ignored")), ok);
	metric_register(&at_the_end);
	metric_add(metric_of(&set, BYTES_LIT("404"), BYTES_NONE), 1);
	metric_add(ok, 1);
	assert_exposition("t_by_code", "# HELP t_by_code By code\n# TYPE t_by_code counter\n"
				       "t_by_code{code=\"200\"} 2\n"
				       "t_by_code{code=\"502\"} 3\n"
				       "t_by_code{code=\"404\"} 1\n");
	assert_exposition("t_at_the_end", "# HELP t_at_the_end Registered behind them\n"
					  "# TYPE t_at_the_end counter\nt_at_the_end 0\n");
}

static void counts_together_what_a_full_set_has_no_room_for(void **state)
{
	static struct metric_set set = { .name = "t_full",
					 .help = "Full",
					 .type = METRIC_COUNTER,
					 .label_names = { "a", "b" },
					 .max = 2 };
	char text[16];

	for (int i = 0; i < 1000; i++) {
		struct bytes value = bytes_of(text, (size_t)snprintf(text, sizeof(text), "%d", i));
		metric_add(metric_of(&set, value, BYTES_LIT("x")), 1);
	}
	metric_add(metric_of(&set, BYTES_LIT("1"), BYTES_LIT("x")), 1);
	assert_exposition("t_full", "# HELP t_full Full\n# TYPE t_full counter\n"
				    "t_full{a=\"0\",b=\"x\"} 1\n"
				    "t_full{a=\"1\",b=\"x\"} 2\n"
				    "t_full{a=\"other\",b=\"other\"} 998\n");
}

static void escapes_and_cuts_label_values(void **state)
{
	static struct metric_set set = { .name = "t_odd",
					 .help = "Odd",
					 .type = METRIC_GAUGE,
					 .label_names = { "v" },
					 .max = 10 };
	char longer[METRIC_LABEL_BYTES + 2];

	metric_set(metric_of(&set, BYTES_LIT("a\"b\\c\nd\x01\xff"), BYTES_NONE), 1);
	memset(longer, 'x', sizeof(longer));
	struct metric *cut = metric_of(&set, bytes_of(longer, sizeof(longer)), BYTES_NONE);
	assert_ptr_equal(metric_of(&set, bytes_of(longer, METRIC_LABEL_BYTES), BYTES_NONE), cut);
	metric_set(metric_of(&set, BYTES_NONE, BYTES_NONE), 2);
	char *text = exposition_of("t_odd");
	assert_non_null(strstr(text, "t_odd{v=\"a\\\"b\\\\c_d__\"} 1\n"));
	assert_non_null(strstr(text, "t_odd{v=\"\"} 2\n"));
	mem_free(text);
}

static void sorts_observations_into_cumulative_buckets(void **state)
{
	static const int64_t bounds[] = { 50000, 150000, 450000 };
	static struct histogram h = { .sum = { .name = "t_latency_secs",
					       .help = "Latency",
					       .type = METRIC_HISTOGRAM,
					       .labels = "method=\"register\"",
					       .per_unit = 1000000 },
				      .bounds = bounds,
				      .bound_count = 3 };

	histogram_register(&h);
	histogram_observe(&h, 0);
	histogram_observe(&h, 50000); /* a bound belongs to its bucket */
	histogram_observe(&h, 50001);
	histogram_observe(&h, 9000000);
	assert_exposition("t_latency_secs",
			  "# HELP t_latency_secs Latency\n# TYPE t_latency_secs histogram\n"
			  "t_latency_secs_bucket{method=\"register\",le=\"0.05\"} 2\n"
			  "t_latency_secs_bucket{method=\"register\",le=\"0.15\"} 3\n"
			  "t_latency_secs_bucket{method=\"register\",le=\"0.45\"} 3\n"
			  "t_latency_secs_bucket{method=\"register\",le=\"+Inf\"} 4\n"
			  "t_latency_secs_sum{method=\"register\"} 9.100001\n"
			  "t_latency_secs_count{method=\"register\"} 4\n");
}

static void prints_a_histogram_without_labels(void **state)
{
	static const int64_t bounds[] = { 1 };
	static struct histogram h = {
		.sum = { .name = "t_plain", .help = "Plain", .type = METRIC_HISTOGRAM },
		.bounds = bounds,
		.bound_count = 1
	};

	histogram_register(&h);
	histogram_observe(&h, 7);
	assert_exposition("t_plain", "# HELP t_plain Plain\n# TYPE t_plain histogram\n"
				     "t_plain_bucket{le=\"1\"} 0\nt_plain_bucket{le=\"+Inf\"} 1\n"
				     "t_plain_sum 7\nt_plain_count 1\n");
}

static void says_when_the_text_is_too_long(void **state)
{
	struct buf out;

	buf_init(&out, 50);
	assert_int_equal(metrics_print(&out), E_LIMIT);
	buf_done(&out);
}

/* --- Threads --------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 2000

static struct metric_set shared = { .name = "t_shared",
				    .help = "Shared",
				    .type = METRIC_COUNTER,
				    .label_names = { "n" },
				    .max = 8 };
static const int64_t shared_bounds[] = { 3, 10 };
static struct histogram shared_histogram = {
	.sum = { .name = "t_shared_size", .help = "Shared", .type = METRIC_HISTOGRAM },
	.bounds = shared_bounds,
	.bound_count = 2
};

static void *count_much(void *arg)
{
	char digit;

	for (int i = 0; i < ROUNDS; i++) {
		digit = (char)('0' + i % 4);
		metric_add(metric_of(&shared, bytes_of(&digit, 1), BYTES_NONE), 1);
		histogram_observe(&shared_histogram, i % 4);
	}
	return arg;
}

static void loses_nothing_between_threads(void **state)
{
	pthread_t threads[THREADS];
	char *text;

	histogram_register(&shared_histogram);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_much, NULL), 0);
	text = exposition_of("t_shared_size"); /* while they count */
	mem_free(text);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	text = exposition_of("t_shared");
	for (char digit = '0'; digit < '4'; digit++) {
		char *want = mem_printf("t_shared{n=\"%c\"} %d\n", digit, THREADS * ROUNDS / 4);
		assert_non_null(strstr(text, want));
		mem_free(want);
	}
	mem_free(text);
	text = exposition_of("t_shared_size");
	assert_non_null(strstr(text, "t_shared_size_bucket{le=\"3\"} 8000\n"));
	assert_non_null(strstr(text, "t_shared_size_sum 12000\n"));
	mem_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prints_counters_and_gauges_with_help_and_type),
		cmocka_unit_test(prints_parts_of_a_unit_as_decimals),
		cmocka_unit_test(keeps_the_series_of_a_set_together),
		cmocka_unit_test(counts_together_what_a_full_set_has_no_room_for),
		cmocka_unit_test(escapes_and_cuts_label_values),
		cmocka_unit_test(sorts_observations_into_cumulative_buckets),
		cmocka_unit_test(prints_a_histogram_without_labels),
		cmocka_unit_test(says_when_the_text_is_too_long),
		cmocka_unit_test(loses_nothing_between_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
