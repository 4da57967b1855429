/* Where lines go: files that roll, are opened again or cannot be written; the thread that writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

static struct {
	char folder[64];
	int saved_stderr;
	int stderr_fd; /* what stands for it: a file */
} t;

static int setup(void **state)
{
	snprintf(t.folder, sizeof(t.folder), "/tmp/test_log.XXXXXX");
	assert_non_null(mkdtemp(t.folder));
	t.saved_stderr = dup(STDERR_FILENO);
	char *path = mem_printf("%s/stderr", t.folder);
	t.stderr_fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
	mem_free(path);
	assert_true(dup2(t.stderr_fd, STDERR_FILENO) >= 0);
	log_setup(LOG_INFO, LOG_CONSOLE);
	log_access_to("off", LOG_CONSOLE);
	return 0;
}

static int teardown(void **state)
{
	log_stop();
	/* So that nobody holds a file of this test. */
	(void)log_to_file("/dev/null");
	(void)log_access_to("off", LOG_CONSOLE);
	log_setup_component("nobody", LOG_FATAL);
	dup2(t.saved_stderr, STDERR_FILENO);
	close(t.saved_stderr);
	close(t.stderr_fd);
	DIR *dir = opendir(t.folder);
	for (struct dirent *e; (e = readdir(dir));) {
		char *path = mem_printf("%s/%s", t.folder, e->d_name);
		(void)remove(path);
		mem_free(path);
	}
	closedir(dir);
	rmdir(t.folder);
	log_setup(LOG_ERROR, LOG_CONSOLE);
	return 0;
}

/* Owned. */
static char *in_folder(const char *name)
{
	return mem_printf("%s/%s", t.folder, name);
}

/* Owned; "" when there is no such file. */
static char *read_file(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		return mem_strdup("");
	assert_int_equal(fstat(fd, &st), 0);
	char *text = mem_alloc((size_t)st.st_size + 1);
	assert_int_equal(read(fd, text, (size_t)st.st_size), st.st_size);
	close(fd);
	return text;
}

static char *read_stderr(void)
{
	char *path = in_folder("stderr"), *text = read_file(path);

	mem_free(path);
	return text;
}

static size_t count_of(const char *text, const char *word)
{
	size_t count = 0;

	while ((text = strstr(text, word))) {
		count++;
		text += strlen(word);
	}
	return count;
}

/* Adds up what number `key` each line has, all of them JSON; returns how many lines. */
static size_t add_up(const char *path, const char *key, long long *sum)
{
	char *text = read_file(path);
	size_t lines = 0;

	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		json_error_t error;
		json_t *object = json_loadb(line, (size_t)(end - line), 0, &error);
		if (!object)
			fail_msg("%s: not JSON: %.*s", path, (int)(end - line), line);
		*sum += json_integer_value(json_object_get(object, key));
		json_decref(object);
		lines++;
	}
	if (*text)
		assert_int_equal(text[strlen(text) - 1], '\n');
	mem_free(text);
	return lines;
}

/* --- Rolling ---------------------------------------------------------------------------------- */

static size_t look_at_directory(const char *folder, long long *sum, size_t *ret_lines)
{
	size_t files = 0;
	DIR *dir = opendir(folder);

	assert_non_null(dir);
	*ret_lines = 0;
	for (struct dirent *e; (e = readdir(dir));) {
		if (strncmp(e->d_name, "adit", 4) != 0)
			continue;
		char *path = mem_printf("%s/%s", folder, e->d_name);
		struct stat st;
		assert_int_equal(stat(path, &st), 0);
		assert_true(st.st_size <= LIMIT_LOG_FILE_BYTES);
		*ret_lines += add_up(path, "n", sum);
		mem_free(path);
		files++;
	}
	closedir(dir);
	return files;
}

static void a_directory_gets_files_that_roll_and_no_line_is_lost(void **state)
{
	static char filler[900];
	const long long count = 4000; /* some 4 MB */
	long long sum = 0;
	size_t lines;

	memset(filler, 'x', sizeof(filler) - 1);
	log_setup(LOG_FATAL, LOG_CONSOLE);
	log_setup_component("rolling", LOG_INFO);
	assert_int_equal(log_to_directory(t.folder, "adit"), 0);
	for (long long i = 1; i <= count; i++)
		log_info("rolling", "line", LOG_INT("n", i), LOG_STR("filler", filler));
	assert_int_equal(look_at_directory(t.folder, &sum, &lines), 4);
	assert_int_equal(lines, count);
	assert_true(sum == count * (count + 1) / 2);
}

static void only_so_many_old_files_are_kept(void **state)
{
	static char filler[1000];
	long long sum = 0;
	size_t lines;

	memset(filler, 'x', sizeof(filler) - 1);
	char *foreign = in_folder("adit-2020-01-01.log"),
	     *old = in_folder("adit-2020-01-01T00-00-00.000.log");
	close(open(foreign, O_WRONLY | O_CREAT, 0600));
	close(open(old, O_WRONLY | O_CREAT, 0600));
	log_setup(LOG_FATAL, LOG_CONSOLE);
	log_setup_component("rolling", LOG_INFO);
	assert_int_equal(log_to_directory(t.folder, "adit"), 0);
	for (int i = 0; i < 10000; i++)
		log_info("rolling", "line", LOG_INT("n", 1), LOG_STR("filler", filler));
	/* And the one that is none of ours. */
	assert_int_equal(look_at_directory(t.folder, &sum, &lines), 1 + LIMIT_LOG_OLD_FILES + 1);
	assert_int_equal(access(foreign, F_OK), 0);
	assert_int_equal(access(old, F_OK), -1);
	mem_free(foreign);
	mem_free(old);
}

static void a_directory_is_made(void **state)
{
	char *inner = in_folder("adit-a"), *deep = mem_printf("%s/b", inner);
	char *file = mem_printf("%s/adit.log", deep);

	assert_int_equal(log_to_directory(deep, "adit"), 0);
	log_info("c", "x");
	assert_int_equal(access(file, R_OK), 0);
	unlink(file);
	rmdir(deep);
	mem_free(inner);
	mem_free(deep);
	mem_free(file);
}

/* --- Files that fail -------------------------------------------------------------------------- */

static void a_full_disk_is_said_once_and_stops_nobody(void **state)
{
	assert_int_equal(log_to_file("/dev/full"), 0);
	for (int i = 0; i < 2000; i++)
		log_info("c", "line");
	char *text = read_stderr();
	assert_int_equal(count_of(text, " INF line\n"), 2000);
	assert_int_equal(
		count_of(text, "Unable to write log lines to=/dev/full error=\"No space left"), 1);
	mem_free(text);
}

/* A disk that is full in the middle of a line, as far as a process can have that by itself. */
static void a_line_that_was_cut_by_a_full_disk_is_completed_later(void **state)
{
	char *path = in_folder("adit.log");
	struct rlimit before, small;
	long long sum = 0, lost = 0;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	log_setup(LOG_FATAL, LOG_CONSOLE); /* stderr would meet the limit as well */
	log_setup_component("c", LOG_INFO);
	assert_int_equal(log_to_file(path), 0);
	int nowhere = open("/dev/null", O_WRONLY);
	assert_true(dup2(nowhere, STDERR_FILENO) >= 0);
	log_setup(LOG_FATAL, LOG_CONSOLE);

	small = before;
	small.rlim_cur = 10 * 1000 + 37;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 0; i < 2000; i++)
		log_info("c", "line", LOG_INT("n", 1));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	for (int i = 0; i < 5; i++)
		log_info("c", "line", LOG_INT("n", 1));
	size_t lines = add_up(path, "n", &sum);
	assert_int_equal(add_up(path, "lines", &lost), lines);
	assert_true(lost > 0);
	assert_int_equal(sum + lost, 2005);
	assert_int_equal(lines, sum + 1); /* and one that says how many were lost */
	close(nowhere);
	mem_free(path);
}

static void a_file_that_could_not_be_opened_is_tried_again(void **state)
{
	char *folder = in_folder("later"), *path = mem_printf("%s/log", folder);
	long long sum = 0;

	close(open(folder, O_WRONLY | O_CREAT, 0600));
	assert_int_equal(log_to_file(path), -ENOTDIR);
	log_info("c", "lost");
	unlink(folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	log_reopen();
	log_info("c", "there", LOG_INT("n", 1));
	assert_true(add_up(path, "n", &sum) >= 1);
	assert_int_equal(sum, 1);
	unlink(path);
	mem_free(folder);
	mem_free(path);
}

static void a_renamed_file_is_made_again(void **state)
{
	char *path = in_folder("log"), *moved = in_folder("log.1");
	long long first = 0, second = 0;

	assert_int_equal(log_to_file(path), 0);
	for (int round = 0; round < 2; round++) {
		if (round)
			log_start(); /* the same when there is a thread */
		log_info("c", "before", LOG_INT("n", 1));
		log_flush();
		assert_int_equal(rename(path, moved), 0);
		log_info("c", "still there", LOG_INT("n", 10));
		log_flush();
		log_reopen();
		log_flush();
		log_info("c", "after", LOG_INT("n", 100));
		log_flush();
		first = second = 0;
		add_up(moved, "n", &first);
		add_up(path, "n", &second);
		assert_int_equal(first, round ? 111 : 11);
		assert_int_equal(second, 100);
	}
	mem_free(path);
	mem_free(moved);
}

/* --- The access log --------------------------------------------------------------------------- */

static void log_one(void)
{
	const struct log_field fields[] = { LOG_INT("n", 1),
					    LOG_MSEC("t", 1234),
					    LOG_MSEC("zero", 7),
					    LOG_UUID("id", (&(struct uuid){ { 0x12, 0xab } })),
					    { 0 } };

	log_access("access", "request", fields);
}

static void access_lines_go_where_they_are_sent(void **state)
{
	char *path = in_folder("access"), *log = in_folder("log"), *text;
	long long sum = 0;

	assert_int_equal(log_to_file(log), 0);
	assert_false(log_access_enabled());
	log_one();
	text = read_stderr();
	assert_string_equal(text, "");
	mem_free(text);

	assert_int_equal(log_access_to("log", LOG_JSON), 0);
	log_one();
	text = read_stderr();
	assert_string_equal(text + 20, " INF request n=1 t=1.234 zero=0.007 "
				       "id=12ab0000-0000-0000-0000-000000000000\n");
	mem_free(text);
	assert_int_equal(add_up(log, "n", &sum), 1);
	log_setup(LOG_WARN, LOG_CONSOLE);
	assert_false(log_access_enabled());
	log_one();

	assert_int_equal(log_access_to("stderr", LOG_JSON), 0);
	assert_true(log_access_enabled());
	log_one();
	text = read_stderr();
	assert_non_null(strstr(text, "\n{\"level\":\"info\",\"time\":\""));
	assert_int_equal(count_of(text, "\n"), 2);
	mem_free(text);
	assert_int_equal(add_up(log, "n", &sum), 1); /* as before */

	assert_int_equal(log_access_to(path, LOG_JSON), 0);
	log_one();
	log_one();
	assert_int_equal(add_up(path, "n", &sum), 2);
	text = read_file(path);
	json_t *object = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
	assert_float_equal(json_real_value(json_object_get(object, "t")), 1.234, 1e-9);
	json_decref(object);
	mem_free(text);

	assert_int_equal(log_access_to("/dev/null/log", LOG_JSON), -ENOTDIR);
	log_one();
	mem_free(path);
	mem_free(log);
}

static void ready_made_lines_stay_as_they_are(void **state)
{
	char *path = in_folder("access"), *text;

	assert_int_equal(log_access_to(path, LOG_CONSOLE), 0);
	log_access_text(BYTES_LIT("127.0.0.1 - - \"GET / HTTP/1.1\" 200 1"));
	text = read_file(path);
	assert_string_equal(text, "127.0.0.1 - - \"GET / HTTP/1.1\" 200 1\n");
	mem_free(text);
	mem_free(path);
}

static void components_have_levels_of_their_own(void **state)
{
	log_setup(LOG_WARN, LOG_CONSOLE);
	log_setup_component("transport", LOG_DEBUG);
	log_debug("transport", "one");
	log_debug("transport/h2", "two");
	log_info("transporter", "three");
	log_info("c", "four");
	log_warn("c", "five");
	log_setup(LOG_DEBUG, LOG_CONSOLE);
	log_setup_component("transport", LOG_ERROR);
	log_warn("transport/h2", "six");
	log_debug("c", "seven");
	char *text = read_stderr();
	assert_int_equal(count_of(text, "\n"), 4);
	assert_int_equal(count_of(text, " one\n") + count_of(text, " two\n") +
				 count_of(text, " five\n") + count_of(text, " seven\n"),
			 4);
	mem_free(text);
}

/* --- The thread ------------------------------------------------------------------------------- */

#define WRITERS 4
#define LINES 5000

static void *write_lines(void *arg)
{
	int *number = arg;

	for (int i = 1; i <= LINES; i++) {
		log_info("c", "line", LOG_INT("writer", *number), LOG_INT("n", i));
		if (i % 500 == 0)
			log_flush(); /* more than the queue holds must not be under way */
	}
	return NULL;
}

static void many_threads_lose_and_tear_no_line_and_keep_their_order(void **state)
{
	char *path = in_folder("log");
	pthread_t threads[WRITERS];
	int numbers[WRITERS];
	long long last[WRITERS] = { 0 };
	size_t lines = 0;

	log_setup(LOG_FATAL, LOG_CONSOLE);
	log_setup_component("c", LOG_INFO);
	assert_int_equal(log_to_file(path), 0);
	log_start();
	for (int i = 0; i < WRITERS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &numbers[i]), 0);
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	log_stop();
	char *text = read_file(path);
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		json_t *object = json_loadb(line, (size_t)(end - line), 0, NULL);
		assert_non_null(object);
		json_int_t writer = json_integer_value(json_object_get(object, "writer"));
		json_int_t n = json_integer_value(json_object_get(object, "n"));
		assert_in_range(writer, 0, WRITERS - 1);
		assert_int_equal(n, ++last[writer]);
		json_decref(object);
		lines++;
	}
	assert_int_equal(lines, WRITERS * LINES);
	mem_free(text);
	mem_free(path);
}

struct reader {
	int fd;
	char *text; /* owned */
	size_t len, room;
};

static void *read_all(void *arg)
{
	struct reader *r = arg;
	ssize_t n;

	do {
		if (r->room - r->len < 65537) {
			r->room = r->room ? 2 * r->room : 1 << 20;
			r->text = mem_resize(r->text, r->room);
		}
		n = read(r->fd, r->text + r->len, 65536);
		r->len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	r->text[r->len] = 0;
	return NULL;
}

static long long number_after(const char *text, const char *word)
{
	long long sum = 0;

	for (text = strstr(text, word); text; text = strstr(text + 1, word))
		sum += strtoll(text + strlen(word), NULL, 10);
	return sum;
}

/* Nobody reads stderr: whoever logs goes on, and what is dropped is counted, warnings last. */
static void a_stderr_that_nobody_reads_holds_nobody_up(void **state)
{
	static char filler[900];
	const long long total = 10000; /* 10 MB */
	struct reader reader = { 0 };
	pthread_t thread;
	int fds[2];
	int64_t dropped_before = metric_get(&metric_log_dropped);

	memset(filler, 'x', sizeof(filler) - 1);
	assert_int_equal(pipe(fds), 0);
	assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
	close(fds[1]);
	log_setup(LOG_INFO, LOG_CONSOLE);
	assert_int_equal(log_access_to("log", LOG_CONSOLE), 0);
	log_start();
	for (long long i = 0; i < total; i++)
		log_access("access", "request",
			   (const struct log_field[]){ LOG_STR("filler", filler), { 0 } });
	log_warn("c", "important");
	reader.fd = fds[0];
	assert_int_equal(pthread_create(&thread, NULL, read_all, &reader), 0);
	log_flush();
	log_warn("c", "the last");
	log_stop();
	dup2(t.stderr_fd, STDERR_FILENO); /* closes the pipe */
	pthread_join(thread, NULL);
	close(fds[0]);
	assert_int_equal(count_of(reader.text, "WRN important\n"), 1);
	assert_int_equal(count_of(reader.text, "WRN the last\n"), 1);
	long long seen = (long long)count_of(reader.text, " INF request ");
	long long dropped =
		number_after(reader.text, "access=") + number_after(reader.text, " lines=");
	assert_true(dropped > 0);
	assert_int_equal(seen + dropped, total);
	assert_true(metric_get(&metric_log_dropped) - dropped_before == dropped);
	mem_free(reader.text);
}

static void a_child_of_a_fork_writes_for_itself(void **state)
{
	int status;

	log_start();
	log_info("c", "parent before");
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		log_info("c", "child");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	log_info("c", "parent after");
	log_stop();
	char *text = read_stderr();
	assert_int_equal(count_of(text, " parent before\n"), 1);
	assert_int_equal(count_of(text, " child\n"), 1);
	assert_int_equal(count_of(text, " parent after\n"), 1);
	mem_free(text);
}

static void a_bug_does_not_take_the_last_lines_with_it(void **state)
{
	int status;

	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit no_core = { 0 };
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL);
		log_start();
		log_info("c", "the last words");
		BUG_IF(true);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	char *text = read_stderr();
	assert_int_equal(count_of(text, " the last words\n"), 1);
	assert_int_equal(count_of(text, "adit: bug: "), 1);
	mem_free(text);
}

static void stopping_twice_or_without_a_start_is_fine(void **state)
{
	log_stop();
	log_start();
	log_start();
	log_info("c", "one");
	log_stop();
	log_stop();
	log_info("c", "two");
	log_start();
	log_info("c", "three");
	log_stop();
	char *text = read_stderr();
	assert_int_equal(count_of(text, "\n"), 3);
	mem_free(text);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_directory_gets_files_that_roll_and_no_line_is_lost),
		CASE(only_so_many_old_files_are_kept),
		CASE(a_directory_is_made),
		CASE(a_full_disk_is_said_once_and_stops_nobody),
		CASE(a_line_that_was_cut_by_a_full_disk_is_completed_later),
		CASE(a_file_that_could_not_be_opened_is_tried_again),
		CASE(a_renamed_file_is_made_again),
		CASE(access_lines_go_where_they_are_sent),
		CASE(ready_made_lines_stay_as_they_are),
		CASE(components_have_levels_of_their_own),
		CASE(many_threads_lose_and_tear_no_line_and_keep_their_order),
		CASE(a_stderr_that_nobody_reads_holds_nobody_up),
		CASE(a_child_of_a_fork_writes_for_itself),
		CASE(a_bug_does_not_take_the_last_lines_with_it),
		CASE(stopping_twice_or_without_a_start_is_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
