/* What a database must be able to do to carry the store. Only src/store includes this.
 *
 * The questions of store.h are asked once, in SQL that SQLite and PostgreSQL both understand: numbered
 * parameters $1, $2 … (first use in that order), RETURNING, ON CONFLICT, CAST where a parameter's type
 * cannot be guessed. A driver runs them, keeps their prepared forms, and knows its own files.
 * One thread at a time. Errors: E_BUSY (another process kept its lock too long), E_EXISTS (a unique
 * value is taken), E_NOT_FOUND (a referenced row is missing), E_IO (everything else).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/uuid.h"

struct store_db; /* each driver's own */

/* A parameter, or a column of a result. */
struct store_value {
	enum store_type { STORE_NULL, STORE_INT, STORE_TEXT, STORE_BLOB } type;
	int64_t number;
	struct bytes bytes; /* borrowed; in results until the callback returns */
};

#define STORE_MAX_COLUMNS 12

/* One row of a result. A negative value stops the query, which returns it. */
typedef int store_on_row(void *ctx, const struct store_value *row);

struct store_driver {
	const char *name;
	/* `dir` is there. E_NOT_FOUND: it has no database and !create. */
	int (*open)(const char *dir, bool create, struct store_db **ret, struct err *err);
	/* Makes the database in `dir` one file, all of it on the disk, that could be moved. E_BUSY: somebody has it open. */
	int (*settle)(const char *dir, struct err *err);
	void (*close)(struct store_db *db);
	/* The schema's version; 0 in an empty database. E_INVALID: the database is not ours. */
	int64_t (*version)(struct store_db *db, struct err *err);
	/* Inside a write transaction. */
	int (*set_version)(struct store_db *db, int64_t version, struct err *err);
	/* Transactions do not nest. A write transaction locks out other writers from its start. */
	int (*begin)(struct store_db *db, bool write, struct err *err);
	int (*commit)(struct store_db *db, struct err *err);
	void (*rollback)(struct store_db *db);
	/* `sql` is one statement and a constant of the program. Returns the number of rows. */
	int (*query)(struct store_db *db, const char *sql, const struct store_value *params,
		     size_t param_count, store_on_row *on_row, void *ctx, struct err *err);
	/* Several statements without parameters. */
	int (*script)(struct store_db *db, const char *sql, struct err *err);
	/* A consistent copy into the empty file `path`; fsynced. */
	int (*backup)(struct store_db *db, const char *path, struct err *err);
	/* Puts `key` into such a copy; fsynced. */
	int (*add_key)(const char *path, struct bytes key, struct err *err);
	/* Copies a backup to the empty file `database` without the key, which it returns. */
	int (*restore)(const char *path, const char *database, uint8_t *ret_key, size_t key_size,
		       struct err *err);
	const char *file_name; /* of the database in its folder */
};

extern const struct store_driver store_sqlite;
