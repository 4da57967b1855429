#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "base/process.h"

static void sees_descriptors_come_and_go(void **state)
{
	struct process_facts before, after;

	process_read(&before);
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	process_read(&after);
	assert_int_equal(after.open_descriptors, before.open_descriptors + 1);
	close(fd);
	process_read(&after);
	assert_int_equal(after.open_descriptors, before.open_descriptors);
	assert_true(after.max_descriptors == -1 || after.max_descriptors > after.open_descriptors);
}

static void knows_memory_and_time(void **state)
{
	struct process_facts now, later;

	process_read(&now);
	assert_true(now.resident_bytes > 0 && now.resident_bytes <= now.virtual_bytes);
	assert_true(now.started_wall > 0 && now.started_wall <= clock_wall_now());
	for (volatile int i = 0; i < 10000000; i++)
		continue;
	process_read(&later);
	assert_true(later.cpu > now.cpu);
}

static void prints_what_prometheus_clients_print(void **state)
{
	static const char *const names[] = {
		"process_cpu_seconds_total",  "process_max_fds",
		"process_open_fds",           "process_resident_memory_bytes",
		"process_start_time_seconds", "process_virtual_memory_bytes",
	};
	struct buf out;

	process_metrics_update();
	process_metrics_update(); /* registers once */
	buf_init(&out, 1 << 16);
	assert_int_equal(metrics_print(&out), 0);
	char *text = buf_take_str(&out);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *line = mem_printf("\n%s ", names[i]);
		char *at = strstr(text, line);
		assert_non_null(at);
		assert_null(strstr(at + 1, line));
		assert_true(strtod(at + strlen(line), NULL) > 0);
		mem_free(line);
	}
	mem_free(text);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sees_descriptors_come_and_go),
		cmocka_unit_test(knows_memory_and_time),
		cmocka_unit_test(prints_what_prometheus_clients_print),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
