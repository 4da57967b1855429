/* Each case is a process of its own that shuts itself in and then tries what it must not be able to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "sandbox/sandbox.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

static char folder[] = "/tmp/adit-sandbox-XXXXXX";
static char inside[64], outside[64], secret[80];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(inside, sizeof(inside), "%s/in", folder);
	(void)snprintf(outside, sizeof(outside), "%s/out", folder);
	(void)snprintf(secret, sizeof(secret), "%s/key", outside);
	if (mkdir(inside, 0700) < 0 || mkdir(outside, 0700) < 0)
		return -1;
	int fd = open(secret, O_CREAT | O_WRONLY, 0600);
	return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

/* The status that the process ended with: what `fn` returned, 100 and more when it could not be shut in. */
static int in_a_process(bool writable, int (*fn)(void))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		/* Some are killed, and nobody wants what they leave. */
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
		struct err err = { 0 };
		struct sandbox_paths *p = sandbox_paths_new();
		(writable ? sandbox_paths_write : sandbox_paths_read)(p, inside);
		int code = sandbox_enter(SANDBOX_REQUIRED, 1ULL << CAP_NET_BIND_SERVICE, p, &err);
		sandbox_paths_free(p);
		if (code < 0)
			(void)fprintf(stderr, "%s\n", err.text);
		_exit(code < 0 ? 100 : fn());
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* One that shuts itself in. */
static int alone(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Numbered, so that a failure says which line it was. */
#define WANT(number, condition)        \
	do {                           \
		if (!(condition))      \
			return number; \
	} while (0)

static bool denied(int fd)
{
	return fd < 0 && (errno == EACCES || errno == EPERM);
}

static int files_outside(void)
{
	WANT(1, denied(open(secret, O_RDONLY)));
	WANT(2, denied(open(secret, O_RDWR)));
	WANT(3, denied(open("/root", O_RDONLY | O_DIRECTORY)) || errno == ENOENT);
	WANT(4, denied(open("/var/lib", O_RDONLY | O_DIRECTORY)));
	WANT(5, denied(open("/usr/adit-test", O_CREAT | O_WRONLY, 0600)));
	WANT(6, unlink(secret) < 0);
	WANT(7, truncate(secret, 0) < 0);
	WANT(8, open("/proc/self/status", O_RDONLY) >= 0);
	WANT(9, open("/etc/hosts", O_RDONLY) >= 0);
	if (geteuid() == 0)
		WANT(10, denied(open("/etc/shadow", O_RDONLY)));
	return 0;
}

static int files_inside(void)
{
	char path[128], other[128];

	(void)snprintf(path, sizeof(path), "%s/a", inside);
	(void)snprintf(other, sizeof(other), "%s/b", inside);
	int fd = open(path, O_CREAT | O_RDWR, 0600);
	WANT(1, fd >= 0);
	WANT(2, ftruncate(fd, 10) == 0);
	WANT(3, rename(path, other) == 0);
	WANT(4, mkdir(path, 0700) == 0 && rmdir(path) == 0);
	WANT(5, unlink(other) == 0);
	(void)snprintf(other, sizeof(other), "%s/moved", outside);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	WANT(6, fd >= 0 && rename(path, other) < 0);
	return 0;
}

/* The folder `inside` has a secret, a folder that is written, and a file that is named. */
static int all_but_the_secret(void)
{
	char path[128], there[128];
	struct err err = { 0 };
	struct sandbox_paths *p = sandbox_paths_new();

	(void)snprintf(path, sizeof(path), "%s/secret", inside);
	(void)snprintf(there, sizeof(there), "%s/named", inside);
	WANT(101, close(open(path, O_CREAT | O_WRONLY, 0600)) == 0);
	WANT(102, close(open(there, O_CREAT | O_WRONLY, 0600)) == 0);
	sandbox_paths_keep_out(p, path);
	sandbox_paths_sockets(p, inside);
	sandbox_paths_read_beside(p, there);
	(void)snprintf(there, sizeof(there), "%s/db", inside);
	(void)mkdir(there, 0700);
	sandbox_paths_write(p, there);
	int code = sandbox_enter(SANDBOX_REQUIRED, 0, p, &err);
	sandbox_paths_free(p);
	if (code < 0)
		(void)fprintf(stderr, "%s\n", err.text);
	WANT(100, code == 0);
	WANT(1, denied(open(path, O_RDONLY)));
	WANT(2, denied(open(path, O_WRONLY)));
	(void)snprintf(there, sizeof(there), "/proc/self/root%s/secret", inside);
	WANT(3, denied(open(there, O_RDONLY)));
	(void)snprintf(there, sizeof(there), "%s/db/moved", inside);
	WANT(4, link(path, there) < 0 && rename(path, there) < 0);
	(void)snprintf(there, sizeof(there), "%s/renamed", inside);
	WANT(5, rename(path, there) < 0 && open(there, O_CREAT | O_WRONLY, 0600) < 0);
	WANT(6, symlink(path, there) < 0);
	WANT(7, open(inside, O_RDONLY | O_DIRECTORY) >= 0);
	(void)snprintf(there, sizeof(there), "%s/named", inside);
	WANT(8, open(there, O_RDONLY) >= 0);
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/sock", inside);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	WANT(9, bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && unlink(at.sun_path) == 0);
	(void)snprintf(there, sizeof(there), "%s/db/new", inside);
	WANT(10, open(there, O_CREAT | O_RDWR, 0600) >= 0 && unlink(there) == 0);
	return 0;
}

/* Somebody has named the folder. */
static int the_secret_is_named_away(void)
{
	char path[128];
	struct err err = { 0 };
	struct sandbox_paths *p = sandbox_paths_new();

	(void)snprintf(path, sizeof(path), "%s/secret", inside);
	WANT(101, close(open(path, O_CREAT | O_WRONLY, 0600)) == 0);
	sandbox_paths_keep_out(p, path);
	sandbox_paths_read(p, folder);
	int code = sandbox_enter(SANDBOX_REQUIRED, 0, p, &err);
	sandbox_paths_free(p);
	WANT(1, code == E_INVALID && strstr(err.text, "was named as a folder in reach"));
	return 0;
}

/* TLS reads them whenever it asks somebody, so a program that is shut in still has to. */
static int roots_of_choice(void)
{
	char file[160], other[160];

	(void)snprintf(file, sizeof(file), "%s/roots.pem", inside);
	WANT(1, close(open(file, O_CREAT | O_WRONLY, 0600)) == 0);
	WANT(2, setenv("SSL_CERT_FILE", file, 1) == 0 && setenv("SSL_CERT_DIR", outside, 1) == 0);
	struct sandbox_paths *p = sandbox_paths_new();
	WANT(3, sandbox_enter(SANDBOX_REQUIRED, 0, p, &(struct err){ 0 }) == 0);
	sandbox_paths_free(p);
	WANT(4, open(file, O_RDONLY) >= 0);
	WANT(5, open(secret, O_RDONLY) >= 0);
	WANT(6, denied(open(file, O_WRONLY)));
	(void)snprintf(other, sizeof(other), "%s/..", inside);
	WANT(7, denied(open(other, O_RDONLY | O_DIRECTORY)));
	return 0;
}

static int only_reading(void)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/a", inside);
	WANT(1, denied(open(path, O_CREAT | O_RDWR, 0600)));
	WANT(2, open(inside, O_RDONLY | O_DIRECTORY) >= 0);
	return 0;
}

static void *thread(void *arg)
{
	*(bool *)arg = denied(open(secret, O_RDONLY));
	return NULL;
}

static int threads(void)
{
	bool is_denied = false;
	pthread_t t;

	WANT(1, pthread_create(&t, NULL, thread, &is_denied) == 0);
	WANT(2, pthread_join(t, NULL) == 0);
	WANT(3, is_denied);
	return 0;
}

static int sockets(void)
{
	WANT(1, socket(AF_INET, SOCK_STREAM, 0) >= 0);
	WANT(2, socket(AF_INET6, SOCK_DGRAM, 0) >= 0);
	WANT(3, socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
	WANT(4, denied(socket(AF_PACKET, SOCK_RAW, 0)));
	WANT(5, denied(socket(AF_ALG, SOCK_SEQPACKET, 0)));
	WANT(6, denied(socket(AF_VSOCK, SOCK_STREAM, 0)));
	WANT(7, socket(AF_INET, SOCK_RAW, 1) < 0);
	return 0;
}

static int others(void)
{
	WANT(1, kill(getppid(), 0) < 0 && errno == EPERM);
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)getppid());
	WANT(2, denied(open(path, O_RDWR)));
	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)getppid());
	WANT(3, denied(open(path, O_RDONLY)));
	WANT(4, kill(getpid(), 0) == 0);
	return 0;
}

static int programs(void)
{
	char *const argv[] = { (char *)(uintptr_t) "true", NULL };

	execve("/bin/true", argv, NULL);
	return 1;
}

static int trace(void)
{
	(void)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
	return 1;
}

static int process(void)
{
	WANT(1, fork() < 0 && errno == EPERM);
	return 0;
}

static int root_again(void)
{
	/* Nothing is there that it could be. */
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	WANT(1, syscall(SYS_capget, &head, data) == 0);
	WANT(2, (data[0].permitted & ~(1U << CAP_NET_BIND_SERVICE)) == 0 && data[1].permitted == 0);
	WANT(3, (data[0].effective & ~(1U << CAP_NET_BIND_SERVICE)) == 0);
	WANT(4, chown(inside, 12345, 12345) < 0);
	WANT(5, mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	return 0;
}

static void test_files_outside_are_out_of_reach(void **state)
{
	(void)state;
	assert_int_equal(in_a_process(true, files_outside), 0);
}

static void test_files_inside_can_be_written(void **state)
{
	(void)state;
	assert_int_equal(in_a_process(true, files_inside), 0);
}

static void test_what_is_to_be_read_is_not_written(void **state)
{
	(void)state;
	assert_int_equal(in_a_process(false, only_reading), 0);
}

static void test_trusted_roots_of_choice_can_be_read(void **state)
{
	(void)state;
	assert_int_equal(alone(roots_of_choice), 0);
}

static void test_one_file_of_a_folder_is_kept_out(void **state)
{
	(void)state;
	assert_int_equal(alone(all_but_the_secret), 0);
	assert_int_equal(alone(the_secret_is_named_away), 0);
}

static void test_threads_started_later_are_inside(void **state)
{
	(void)state;
	assert_int_equal(in_a_process(true, threads), 0);
}

static void test_only_sockets_of_the_internet_and_of_unix(void **state)
{
	(void)state;
	assert_int_equal(in_a_process(true, sockets), 0);
}

static void test_other_processes_are_not_touched(void **state)
{
	(void)state;
	assert_int_equal(in_a_process(true, others), 0);
}

static void test_no_capability_comes_back(void **state)
{
	(void)state;
	assert_int_equal(in_a_process(true, root_again), 0);
}

/* What sanitizers need is allowed in their builds. */
static void test_starting_a_program_ends_the_process(void **state)
{
	(void)state;
	if (IS_SANITIZED)
		skip();
	assert_int_equal(in_a_process(true, programs), -SIGSYS);
	assert_int_equal(in_a_process(true, trace), -SIGSYS);
	assert_int_equal(in_a_process(true, process), 0);
}

static void test_another_user_is_for_good(void **state)
{
	struct err err = { 0 };

	(void)state;
	if (geteuid() != 0) {
		assert_int_equal(sandbox_become("nobody", 0, &err), E_INVALID);
		return;
	}
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (sandbox_become("nobody:nogroup", 1ULL << CAP_NET_BIND_SERVICE, &err) < 0)
			_exit(1);
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		struct sockaddr here = { .sa_family = AF_INET };
		if (geteuid() == 0 || setuid(0) == 0 || seteuid(0) == 0 || getgroups(0, NULL) != 1)
			_exit(2);
		/* Port 1 of any address: it keeps that right. */
		here.sa_data[1] = 1;
		if (bind(fd, &here, 16) < 0 && errno == EACCES)
			_exit(3);
		if (!denied(open(secret, O_RDONLY)))
			_exit(4);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_users_that_cannot_be(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(sandbox_become("no-such-user-here", 0, &err), E_INVALID);
	assert_non_null(strstr(err.text, "there is no user 'no-such-user-here'"));
	assert_int_equal(sandbox_become("nobody:no-such-group", 0, &err), E_INVALID);
	assert_non_null(strstr(err.text, "there is no group"));
	assert_int_equal(sandbox_become("root", 0, &err), E_INVALID);
}

static void test_modes(void **state)
{
	enum sandbox_mode mode;

	(void)state;
	assert_int_equal(sandbox_mode_parse("required", &mode), 0);
	assert_int_equal(mode, SANDBOX_REQUIRED);
	assert_int_equal(sandbox_mode_parse("off", &mode), 0);
	assert_int_equal(mode, SANDBOX_OFF);
	assert_int_equal(sandbox_mode_parse("ON", &mode), E_INVALID);
	/* Off is off. */
	struct sandbox_paths *p = sandbox_paths_new();
	assert_int_equal(sandbox_enter(SANDBOX_OFF, 0, p, NULL), 0);
	sandbox_paths_free(p);
	assert_true(open(secret, O_RDONLY) >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files_outside_are_out_of_reach),
		cmocka_unit_test(test_files_inside_can_be_written),
		cmocka_unit_test(test_what_is_to_be_read_is_not_written),
		cmocka_unit_test(test_trusted_roots_of_choice_can_be_read),
		cmocka_unit_test(test_one_file_of_a_folder_is_kept_out),
		cmocka_unit_test(test_threads_started_later_are_inside),
		cmocka_unit_test(test_only_sockets_of_the_internet_and_of_unix),
		cmocka_unit_test(test_other_processes_are_not_touched),
		cmocka_unit_test(test_no_capability_comes_back),
		cmocka_unit_test(test_starting_a_program_ends_the_process),
		cmocka_unit_test(test_another_user_is_for_good),
		cmocka_unit_test(test_users_that_cannot_be),
		cmocka_unit_test(test_modes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
