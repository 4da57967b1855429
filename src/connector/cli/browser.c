#include "connector/cli/browser.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

/* It gets no terminal of ours to write into. */
bool browser_open(const char *url)
{
	char *const argv[] = { (char *)(uintptr_t) "xdg-open", (char *)(uintptr_t)url, NULL };
	posix_spawn_file_actions_t files;
	int status = -1;
	pid_t pid;

	if (!getenv("DISPLAY") && !getenv("WAYLAND_DISPLAY"))
		return false;
	posix_spawn_file_actions_init(&files);
	for (int fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&files, fd, "/dev/null", fd ? O_WRONLY : O_RDONLY,
						 0);
	bool has_started = posix_spawnp(&pid, argv[0], &files, NULL, argv, environ) == 0;
	posix_spawn_file_actions_destroy(&files);
	while (has_started && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return has_started && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
