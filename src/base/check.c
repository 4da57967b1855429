#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

noreturn void check_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "adit: bug: %s:%d: %s\n", file, line, what);
	log_flush_dying();
	abort();
}
