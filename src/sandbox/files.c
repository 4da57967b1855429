/* landlock(7), by system call: the library's header is older than most kernels. What a kernel does not know is asked for
 * by version and left out. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/internal.h"

/* linux/landlock.h, all versions. */
#define FS_EXECUTE (1ULL << 0)
#define FS_WRITE_FILE (1ULL << 1)
#define FS_READ_FILE (1ULL << 2)
#define FS_READ_DIR (1ULL << 3)
#define FS_REMOVE_DIR (1ULL << 4)
#define FS_REMOVE_FILE (1ULL << 5)
#define FS_MAKE_DIR (1ULL << 7)
#define FS_MAKE_REG (1ULL << 8)
#define FS_MAKE_SOCK (1ULL << 9)
#define FS_VERSION_1 ((1ULL << 13) - 1)
#define FS_REFER (1ULL << 13)     /* 2 */
#define FS_TRUNCATE (1ULL << 14)  /* 3 */
#define FS_IOCTL_DEV (1ULL << 15) /* 5 */
#define SCOPE_SIGNAL (1ULL << 1)
#define CREATE_VERSION (1U << 0)
#define RULE_PATH_BENEATH 1

struct ruleset {
	uint64_t handled_fs, handled_net, scoped;
};

struct path_beneath {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

#define READ (FS_READ_FILE | FS_READ_DIR)
#define WRITE                                                                                \
	(READ | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | \
	 FS_MAKE_SOCK | FS_REFER | FS_TRUNCATE)
/* What can be said of a file; the rest is of folders. */
#define OF_FILES (FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE)

static const uint64_t rights_of[] = {
	[SANDBOX_READ] = READ,
	[SANDBOX_WRITE] = WRITE,
	/* Without FS_REFER nothing goes to a folder where it could be read. */
	[SANDBOX_SOCKETS] = FS_READ_DIR | FS_MAKE_SOCK | FS_REMOVE_FILE,
};

static int allow(int ruleset, const struct sandbox_path *p, uint64_t handled, struct err *err)
{
	struct stat st;
	int fd = open(p->path, O_PATH | O_CLOEXEC);

	if (fd < 0) /* nothing is there, or nothing that we could reach anyway */
		return 0;
	uint64_t rights = rights_of[p->right] & handled;
	if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rights &= OF_FILES;
	const struct path_beneath rule = { .allowed = rights, .parent_fd = fd };
	long r = syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0);
	int code = r < 0 ? err_set_errno(err, E_IO, errno, "%s", p->path) : 0;
	close(fd); /* allowed: never near a loop */
	return code;
}

int sandbox_shut_files(const struct sandbox_paths *paths, char *ret_what, struct err *err)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
	int code = 0;

	if (version < 1)
		return err_set(err, E_UNSUPPORTED,
			       "this kernel has no landlock, or it is switched off (%s)",
			       errno == EOPNOTSUPP ? "lsm= on its command line"
						   : "since Linux 5.13");
	struct ruleset set = { .handled_fs = FS_VERSION_1 };
	if (version >= 2)
		set.handled_fs |= FS_REFER;
	if (version >= 3)
		set.handled_fs |= FS_TRUNCATE;
	if (version >= 5)
		set.handled_fs |= FS_IOCTL_DEV;
	if (version >= 6)
		set.scoped = SCOPE_SIGNAL;
	/* An older kernel takes a longer struct when what it does not know is zero. */
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &set, sizeof(set), 0);
	if (ruleset < 0)
		return err_set_errno(err, E_IO, errno, "landlock");
	for (size_t i = 0; i < paths->count && code == 0; i++)
		code = allow(ruleset, &paths->list[i], set.handled_fs, err);
	if (code == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		code = err_set_errno(err, E_IO, errno, "landlock");
	close(ruleset); /* allowed: never near a loop */
	(void)snprintf(ret_what, SANDBOX_WORDS, "%zu paths, landlock version %ld%s", paths->count,
		       version, version >= 6 ? ", no signals to others" : "");
	return code;
}
