/*
 * The main() of a fuzz target where there is no libFuzzer: feeds every file of the folders (or
 * the files) named on the command line to LLVMFuzzerTestOneInput, so that each build of each
 * compiler runs over everything the fuzzers ever found. A folder that does not exist is an empty
 * corpus. The empty input is always tried.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long replayed_count;

static int replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (file == NULL) {
		perror(path);
		return -1;
	}
	struct stat st;
	if (fstat(fileno(file), &st) != 0 || st.st_size < 0) {
		perror(path);
		(void)fclose(file);
		return -1;
	}
	/* Exactly as large as the input: a read past the end must be one past the allocation. */
	size_t size = (size_t)st.st_size;
	uint8_t *data = malloc(size > 0 ? size : 1);
	int rc = 0;
	if (data == NULL || fread(data, 1, size, file) != size) {
		(void)fprintf(stderr, "%s: cannot read\n", path);
		rc = -1;
	} else {
		(void)LLVMFuzzerTestOneInput(data, size);
		replayed_count++;
	}
	free(data);
	(void)fclose(file);
	return rc;
}

static int replay_path(const char *path)
{
	struct stat st;
	if (stat(path, &st) != 0) {
		return 0;
	}
	if (!S_ISDIR(st.st_mode)) {
		return replay_file(path);
	}
	struct dirent **names = NULL;
	int count = scandir(path, &names, NULL, alphasort);
	if (count < 0) {
		perror(path);
		return -1;
	}
	int rc = 0;
	for (int i = 0; i < count; i++) {
		char child[4096];
		int len = snprintf(child, sizeof(child), "%s/%s", path, names[i]->d_name);
		bool fits = len > 0 && (size_t)len < sizeof(child);
		if (fits && names[i]->d_name[0] != '.' && replay_path(child) != 0) {
			rc = -1;
		}
		free(names[i]);
	}
	free(names);
	return rc;
}

int main(int argc, char **argv)
{
	int rc = 0;
	(void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++) {
		if (replay_path(argv[i]) != 0) {
			rc = 1;
		}
	}
	printf("replayed %lu inputs\n", replayed_count);
	return rc;
}
