#include "connector/cli/zip.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <zip.h>

#include "base/check.h"

static struct {
	zip_t *(*open)(const char *path, int flags, int *code);
	zip_source_t *(*source_buffer)(zip_t *zip, const void *data, zip_uint64_t len, int freep);
	void (*source_free)(zip_source_t *source);
	zip_int64_t (*file_add)(zip_t *zip, const char *name, zip_source_t *source,
				zip_flags_t flags);
	int (*close)(zip_t *zip);
	void (*discard)(zip_t *zip);
	const char *(*text)(zip_t *zip);
	void (*error_init_with_code)(zip_error_t *error, int code);
	const char *(*error_text)(zip_error_t *error);
	void (*error_fini)(zip_error_t *error);
} lib;

static const struct {
	const char *name;
	void *slot;
} entry_points[] = {
	{ "zip_open", &lib.open },
	{ "zip_source_buffer", &lib.source_buffer },
	{ "zip_source_free", &lib.source_free },
	{ "zip_file_add", &lib.file_add },
	{ "zip_close", &lib.close },
	{ "zip_discard", &lib.discard },
	{ "zip_strerror", &lib.text },
	{ "zip_error_init_with_code", &lib.error_init_with_code },
	{ "zip_error_strerror", &lib.error_text },
	{ "zip_error_fini", &lib.error_fini },
};

/* The calls used here are the same in both. */
static bool library_load(void)
{
	void *handle = dlopen("libzip.so.4", RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		handle = dlopen("libzip.so.5", RTLD_NOW | RTLD_LOCAL);
	for (size_t i = 0; handle && i < ARRAY_LEN(entry_points); i++) {
		void *symbol = dlsym(handle, entry_points[i].name);
		if (!symbol)
			return false;
		*(void **)entry_points[i].slot = symbol;
	}
	return handle;
}

static zip_t *zip_start(const char *path, struct err *err)
{
	zip_error_t error;
	int code = 0;
	zip_t *zip = lib.open(path, ZIP_CREATE | ZIP_EXCL, &code);

	if (zip)
		return zip;
	lib.error_init_with_code(&error, code);
	err_set(err, code == ZIP_ER_EXISTS ? E_EXISTS : E_IO, "%s: %s", path,
		lib.error_text(&error));
	lib.error_fini(&error);
	return NULL;
}

static int add_all(zip_t *zip, const struct zip_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		zip_source_t *source =
			lib.source_buffer(zip, entries[i].data.ptr, entries[i].data.len, 0);
		if (!source)
			return -1;
		if (lib.file_add(zip, entries[i].name, source, ZIP_FL_ENC_UTF_8) < 0) {
			lib.source_free(source);
			return -1;
		}
	}
	return lib.close(zip);
}

int zip_write(const char *path, const struct zip_entry *entries, size_t count, struct err *err)
{
	if (!library_load())
		return err_set(
			err, E_UNSUPPORTED,
			"there is no libzip here, which writes the archive (Debian: libzip4)");
	zip_t *zip = zip_start(path, err);
	if (!zip)
		return err ? err->code : E_IO;
	/* The library makes the file, with the rights that are usual. */
	mode_t usual = umask(077);
	int r = add_all(zip, entries, count);
	umask(usual);
	if (r < 0) {
		err_set(err, E_IO, "%s: %s", path, lib.text(zip));
		lib.discard(zip);
		return E_IO;
	}
	return 0;
}
