/* Writes ZIP archives, for `tunnel diag`. Hides that it is libzip, which is loaded at the first use: a running
 * tunnel never needs it, nor the OpenSSL it brings along. Blocks. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

struct zip_entry {
	const char *name;
	struct bytes data;
};

/* A new file, readable by its owner alone. E_EXISTS, E_IO, E_UNSUPPORTED when there is no libzip here. */
int zip_write(const char *path, const struct zip_entry *entries, size_t count,
	      struct err *err) MUST_USE;
