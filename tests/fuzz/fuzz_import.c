/* A folder of cloudflared's that is imported: the configuration, a NUL, the credentials, a NUL, the login certificate.
 * Nothing is written. Whatever they are there is a report, and what is reported is text.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "connector/cli/import.h"

/* See fuzz_yaml.c. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so";
}

#define TUNNEL "11111111-2222-4333-8444-555555555555"

static char folder[] = "/tmp/fuzz-import-XXXXXX";
static const char *const names[] = { "config.yml", TUNNEL ".json", "cert.pem" };

static void remove_all(void)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *path = mem_printf("%s/%s", folder, names[i]);
		(void)unlink(path);
		mem_free(path);
	}
	(void)rmdir(folder);
}

static void put(const char *name, struct bytes text)
{
	char *path = mem_printf("%s/%s", folder, name);
	FILE *file = fopen(path, "w");

	BUG_IF(!file ||
	       fwrite(text.len ? text.ptr : (const uint8_t *)"", 1, text.len, file) != text.len);
	(void)fclose(file);
	mem_free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_made;
	struct bytes rest = bytes_of(data, size);
	struct cli cli = { .program = "adit" };
	struct err err = { 0 };
	struct import im = {
		.cli = &cli,
		.from = folder,
		.is_dry = true,
		.found = json_array(),
		.wrote = json_array(),
		.left = json_array(),
		.todo = json_array(),
		.tunnel = "",
	};

	if (!is_made) {
		BUG_IF(!mkdtemp(folder));
		(void)setenv("HOME", folder, 1);
		(void)atexit(remove_all);
		is_made = true;
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct bytes one = bytes_first(rest, bytes_index(rest, 0));

		rest = bytes_from(rest, one.len + 1);
		put(names[i], one);
	}
	import_find(&im);
	BUG_IF(import_write(&im, "/nonexistent", "imported", &err) < 0 && !err.text[0]);
	char *report = json_dumps(im.found, 0);
	BUG_IF(!report);
	free(report); /* allowed: jansson took it from malloc */
	report = json_dumps(im.left, 0);
	BUG_IF(!report);
	free(report); /* allowed: the same */
	import_done(&im);
	return 0;
}
