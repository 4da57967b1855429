/* Memory that is not there, for programs under test: preloaded (LD_PRELOAD), the allocation with the number FAIL_AT
 * fails once, or with FAIL_ON=1 all from that one on. With FAIL_COUNT=FILE it says there at the end how many there were.
 * A crash says in which library it is: what others have not thought of cannot be mended here.
 *
 * Allocations are counted over all threads; what fails is therefore not always the same one. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unistd.h>

/* glibc's own, by the names it exports for this. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static atomic_ulong count;
static unsigned long fail_at;
static bool goes_on;
static int count_fd = -1;

static uintptr_t place_of(const ucontext_t *context)
{
#if defined(__x86_64__)
	return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return (uintptr_t)context->uc_mcontext.pc;
#else
	return (uintptr_t)context & 0;
#endif
}

/* dladdr() is not promised to be safe here; whoever comes here ends anyway. */
static void on_crash(int number, siginfo_t *info, void *context)
{
	Dl_info found;
	uintptr_t at = place_of(context);

	(void)info;
	if (!dladdr((void *)at, &found) || !found.dli_fname)
		found.dli_fname = "?", found.dli_fbase = NULL;
	dprintf(STDERR_FILENO, "crash in %s (%s) at +0x%lx\n", found.dli_fname,
		found.dli_sname ? found.dli_sname : "?",
		(unsigned long)(at - (uintptr_t)found.dli_fbase));
	_exit(128 + number);
}

/* Who it was that gave up. */
static void on_abort(int number)
{
	void *frames[12];

	backtrace_symbols_fd(frames, backtrace(frames, 12), STDERR_FILENO);
	signal(number, SIG_DFL);
	raise(number);
}

__attribute__((constructor)) static void begin(void)
{
	const char *at = getenv("FAIL_AT");
	const char *on = getenv("FAIL_ON");

	goes_on = on && *on == '1';
	/* Later the program may have shut itself in. */
	const char *path = getenv("FAIL_COUNT");
	if (path)
		count_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct sigaction crash = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &crash, NULL);
	sigaction(SIGBUS, &crash, NULL);
	void *frame;
	backtrace(&frame, 1); /* loads what it needs, while there is memory */
	signal(SIGABRT, on_abort);
	atomic_store(&count, 0);
	fail_at = at ? strtoul(at, NULL, 10) : 0;
}

__attribute__((destructor)) static void end(void)
{
	if (count_fd >= 0)
		dprintf(count_fd, "%lu\n", atomic_load(&count));
}

static bool is_gone(void)
{
	unsigned long number = atomic_fetch_add(&count, 1) + 1;

	if (!fail_at || (goes_on ? number < fail_at : number != fail_at))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return is_gone() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return is_gone() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	return is_gone() ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return is_gone() ? NULL : __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size)
{
	return is_gone() ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
	void *found = is_gone() ? NULL : __libc_memalign(alignment, size);

	if (!found)
		return ENOMEM;
	*memory = found;
	return 0;
}
