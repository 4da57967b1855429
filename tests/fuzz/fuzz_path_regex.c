/* Any pattern (up to the first newline) on any path (the rest): within the limits, or refused. What
 * this project's half accepts, PCRE2 must accept but for its size. */
#include "base/mem.h"
#include "connector/ingress/path_regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes all = bytes_of(data, size);
	size_t end = bytes_index(all, '\n');
	char *pattern = mem_strndup(bytes_first(all, end));
	struct path_regex *re = path_regex_compile(pattern, NULL);

	if (re)
		(void)path_regex_search(re, bytes_from(all, end + 1));
	path_regex_free(re);
	mem_free(pattern);
	return 0;
}
