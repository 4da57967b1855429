#include "base/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

noreturn void check_failed(const char *file, int line, const char *what)
{
	/* Where a library's call must succeed, memory that is gone comes here, too. */
	fprintf(stderr, "adit: bug: %s:%d: %s%s\n", file, line, what,
		errno == ENOMEM ? " (out of memory)" : "");
	log_flush_dying();
	abort();
}
