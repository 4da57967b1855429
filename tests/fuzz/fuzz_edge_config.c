/* A configuration of the edge: it is taken, and can be completed, or there is a reason. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "edge/edge_config.h"

/* See fuzz_yaml.c. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int file = -1;
	struct edge_config config;
	struct err err = { 0 };
	char path[64];

	if (file < 0)
		file = memfd_create("edge.yml", MFD_CLOEXEC);
	BUG_IF(file < 0 || ftruncate(file, 0) < 0);
	BUG_IF(pwrite(file, data, size, 0) != (ssize_t)size);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);

	edge_config_init(&config, "/nonexistent");
	int r = edge_config_load(&config, path, &err);
	BUG_IF(r < 0 && !err.text[0]);
	if (r == 0)
		r = edge_config_complete(&config, "edge.example.com", &err);
	BUG_IF(r < 0 && !err.text[0]);
	edge_config_done(&config);
	return 0;
}
