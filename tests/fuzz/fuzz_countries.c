/* A database of countries that somebody downloaded: it is refused, or says two letters or nothing of any address. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "edge/access/countries.h"

/* See test_countries.c. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libmaxminddb\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const addresses[] = { "127.0.0.1",   "0.0.0.0", "255.255.255.255",
						 "2001:db8::1", "::1",     "ffff::" };
	static int file = -1;
	char path[64], code[COUNTRY_TEXT_SIZE];
	struct err err = { 0 };

	if (file < 0)
		file = memfd_create("countries", MFD_CLOEXEC);
	BUG_IF(file < 0 || ftruncate(file, 0) < 0);
	BUG_IF(pwrite(file, data, size, 0) != (ssize_t)size);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);

	struct countries *c = countries_open(path, &err);
	BUG_IF(!c && !err.text[0]);
	for (size_t i = 0; c && i < ARRAY_LEN(addresses); i++) {
		countries_find_ip(c, bytes_str(addresses[i]), code);
		BUG_IF(strlen(code) != 0 && strlen(code) != 2);
	}
	countries_unref(c);
	return 0;
}
