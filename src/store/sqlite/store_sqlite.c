/* The store on SQLite: one file, no server.
 *
 * Journal: WAL with synchronous=FULL, so a committed write is on the disk before the caller hears of
 * it, and readers never wait for a writer. SQLite gives the -wal and -shm files the mode of the
 * database, which is made 0600 before SQLite sees it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"
#include "store/files.h"
#include "store/store_driver.h"

#define FILE_NAME "adit.db"
/* "Adit" in the header of the file, so that a foreign database is not taken for ours. */
#define APPLICATION_ID 0x41646974
/* How long to wait for another process (a command line, a backup) to end its write. Writes take
 * milliseconds; what holds the lock for longer than this hangs. */
#define BUSY_TIMEOUT_MS 10000
/* An edge of before that hands over has it open for good, and visitors wait for its successor. */
#define SETTLE_TIMEOUT_MS 500

struct store_db {
	sqlite3 *sql;
	struct map *statements; /* SQL text -> sqlite3_stmt, finalized in close */
};

/* --- Errors ---------------------------------------------------------------------------------- */

static int code_of(int sqlite_code)
{
	switch (sqlite_code) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return E_EXISTS;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return E_NOT_FOUND;
	}
	switch (sqlite_code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return E_BUSY;
	case SQLITE_NOTADB:
		return E_INVALID;
	default:
		return E_IO;
	}
}

static int failed(sqlite3 *sql, const char *doing, struct err *err)
{
	int code = sqlite3_extended_errcode(sql);

	return err_set(err, code_of(code), "database: %s: %s (%d)", doing, sqlite3_errmsg(sql),
		       code);
}

/* --- Statements ------------------------------------------------------------------------------ */

static int script(sqlite3 *sql, const char *text, struct err *err)
{
	return sqlite3_exec(sql, text, NULL, NULL, NULL) == SQLITE_OK ? 0
								      : failed(sql, "script", err);
}

static int prepare(struct store_db *db, const char *text, sqlite3_stmt **ret, struct err *err)
{
	sqlite3_stmt *st = map_find(db->statements, bytes_str(text));
	char name[16];

	if (!st) {
		if (sqlite3_prepare_v3(db->sql, text, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) !=
		    SQLITE_OK)
			return failed(db->sql, "prepare", err);
		/* SQLite numbers $N by first use; PostgreSQL goes by the number. Ours do both. */
		for (int i = 1; i <= sqlite3_bind_parameter_count(st); i++) {
			snprintf(name, sizeof(name), "$%d", i);
			BUG_IF(strcmp(sqlite3_bind_parameter_name(st, i), name) != 0);
		}
		BUG_IF(sqlite3_column_count(st) > STORE_MAX_COLUMNS);
		map_put(db->statements, bytes_str(text), st);
	}
	*ret = st;
	return 0;
}

/* The values outlive the statement's run, so SQLite need not copy them. */
static int bind(sqlite3_stmt *st, int at, const struct store_value *v)
{
	const void *ptr = v->bytes.ptr ? v->bytes.ptr : (const void *)"";

	switch (v->type) {
	case STORE_NULL:
		return sqlite3_bind_null(st, at);
	case STORE_INT:
		return sqlite3_bind_int64(st, at, v->number);
	case STORE_TEXT:
		return sqlite3_bind_text64(st, at, ptr, v->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
	case STORE_BLOB:
		return sqlite3_bind_blob64(st, at, ptr, v->bytes.len, SQLITE_STATIC);
	}
	return SQLITE_MISUSE;
}

static struct store_value column(sqlite3_stmt *st, int at)
{
	int type = sqlite3_column_type(st, at);

	if (type == SQLITE_NULL)
		return (struct store_value){ STORE_NULL };
	if (type == SQLITE_INTEGER)
		return (struct store_value){ STORE_INT, sqlite3_column_int64(st, at), BYTES_NONE };
	/* SQLite wants the pointer asked for before the length. */
	bool is_text = type == SQLITE_TEXT;
	const void *ptr =
		is_text ? (const void *)sqlite3_column_text(st, at) : sqlite3_column_blob(st, at);
	size_t len = ptr ? (size_t)sqlite3_column_bytes(st, at) : 0;
	return (struct store_value){ is_text ? STORE_TEXT : STORE_BLOB, 0, bytes_of(ptr, len) };
}

static int run(struct store_db *db, sqlite3_stmt *st, store_on_row *on_row, void *ctx,
	       struct err *err)
{
	struct store_value row[STORE_MAX_COLUMNS] = { 0 };
	int count = 0;

	for (;;) {
		int code = sqlite3_step(st);
		if (code == SQLITE_DONE)
			return count;
		if (code != SQLITE_ROW)
			return failed(db->sql, "query", err);
		count++;
		if (!on_row)
			continue;
		for (int i = 0; i < sqlite3_column_count(st); i++)
			row[i] = column(st, i);
		int r = on_row(ctx, row);
		if (r < 0)
			return r;
	}
}

static int query(struct store_db *db, const char *sql, const struct store_value *params,
		 size_t param_count, store_on_row *on_row, void *ctx, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int r = prepare(db, sql, &st, err);

	if (r < 0)
		return r;
	BUG_IF((size_t)sqlite3_bind_parameter_count(st) != param_count);
	for (size_t i = 0; i < param_count && r == 0; i++)
		if (bind(st, (int)i + 1, &params[i]) != SQLITE_OK)
			r = failed(db->sql, "bind", err);
	if (r == 0)
		r = run(db, st, on_row, ctx, err);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return r;
}

static int run_script(struct store_db *db, const char *sql, struct err *err)
{
	return script(db->sql, sql, err);
}

/* --- Transactions ---------------------------------------------------------------------------- */

static int begin(struct store_db *db, bool write, struct err *err)
{
	/* IMMEDIATE takes the lock now: upgrading later could fail half-way. */
	return query(db, write ? "BEGIN IMMEDIATE" : "BEGIN", NULL, 0, NULL, NULL, err);
}

static int commit(struct store_db *db, struct err *err)
{
	return query(db, "COMMIT", NULL, 0, NULL, NULL, err);
}

static void rollback(struct store_db *db)
{
	/* Some failures (disk full) have rolled back already. */
	if (!sqlite3_get_autocommit(db->sql))
		(void)query(db, "ROLLBACK", NULL, 0, NULL, NULL, NULL);
}

/* --- Opening --------------------------------------------------------------------------------- */

static int pragma_int(sqlite3 *sql, const char *pragma, int64_t *ret, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int r = 0;

	if (sqlite3_prepare_v2(sql, pragma, -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		r = failed(sql, pragma, err);
	else
		*ret = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return r;
}

/* Whose file is it? An empty one may become ours. */
static int64_t version_of(sqlite3 *sql, struct err *err)
{
	int64_t version = 0, id = 0, tables = 0;
	int r = pragma_int(sql, "PRAGMA user_version", &version, err);

	if (r == 0)
		r = pragma_int(sql, "PRAGMA application_id", &id, err);
	if (r == 0)
		r = pragma_int(sql, "SELECT count(*) FROM sqlite_master", &tables, err);
	if (r < 0)
		return r;
	bool is_empty = id == 0 && version == 0 && tables == 0;
	if ((id != APPLICATION_ID && !is_empty) || version < 0)
		return err_set(err, E_INVALID, "%s is a database of another program",
			       sqlite3_db_filename(sql, "main"));
	return version;
}

static int64_t version(struct store_db *db, struct err *err)
{
	return version_of(db->sql, err);
}

static int set_version(struct store_db *db, int64_t value, struct err *err)
{
	char text[96]; /* a pragma takes no parameter */

	snprintf(text, sizeof(text), "PRAGMA user_version = %lld; PRAGMA application_id = %d",
		 (long long)value, APPLICATION_ID);
	return script(db->sql, text, err);
}

static int connect(const char *path, int flags, sqlite3 **ret, struct err *err)
{
	sqlite3 *sql = NULL;
	int r = 0;

	/* One thread has it at a time: SQLite's own mutexes are not needed. */
	if (sqlite3_open_v2(path, &sql, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		r = sql ? failed(sql, path, err) : err_set(err, E_IO, "%s: no memory", path);
		sqlite3_close(sql);
		return r;
	}
	sqlite3_extended_result_codes(sql, 1);
	sqlite3_busy_timeout(sql, BUSY_TIMEOUT_MS);
	/* A manipulated file must not make SQLite run what its schema says. */
	sqlite3_db_config(sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	*ret = sql;
	return 0;
}

/* Makes the empty file, or takes rights away that others should not have. The file is never opened
 * here when it exists: closing it again would drop the locks that SQLite holds in this process. */
static int claim_file(const char *path, bool create, struct err *err)
{
	struct stat st;

	if (create) {
		int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
		if (fd >= 0) {
			close(fd); /* allowed: a plain file, not a socket of io/ */
			return file_sync_directory_of(path, err);
		}
		if (errno != EEXIST)
			return err_set_errno(err, E_IO, errno, "%s", path);
	}
	if (stat(path, &st) < 0) {
		int code = errno == ENOENT ? E_NOT_FOUND : E_IO;
		return err_set_errno(err, code, errno, "%s", path);
	}
	if ((st.st_mode & 077) != 0 && chmod(path, 0600) < 0)
		return err_set_errno(err, E_IO, errno, "%s", path);
	return 0;
}

static int set_up(sqlite3 *sql, struct err *err)
{
	int64_t found = version_of(sql, err);

	if (found < 0)
		return (int)found;
	return script(sql,
		      "PRAGMA journal_mode = WAL;"
		      "PRAGMA synchronous = FULL;"
		      "PRAGMA foreign_keys = ON;",
		      err);
}

static void close_db(struct store_db *db)
{
	size_t cursor = 0;
	void *st = NULL;

	while (map_next(db->statements, &cursor, NULL, &st))
		sqlite3_finalize(st);
	map_free(db->statements);
	sqlite3_close(db->sql);
	mem_free(db);
}

static int open_db(const char *dir, bool create, struct store_db **ret, struct err *err)
{
	char *path = mem_printf("%s/%s", dir, FILE_NAME);
	sqlite3 *sql = NULL;
	int r = claim_file(path, create, err);

	if (r == 0)
		r = connect(path, SQLITE_OPEN_READWRITE, &sql, err);
	mem_free(path);
	if (r < 0)
		return r;
	r = set_up(sql, err);
	if (r < 0) {
		sqlite3_close(sql);
		return r;
	}
	struct store_db *db = mem_alloc(sizeof(*db));
	db->sql = sql;
	db->statements = map_new();
	*ret = db;
	return 0;
}

/* --- Moving ---------------------------------------------------------------------------------- */

static int on_mode(void *ctx, int count, char **values, char **names)
{
	*(bool *)ctx = count > 0 && values[0] && strcmp(values[0], "delete") == 0;
	return 0;
}

/* Whoever has a database in WAL mode open has a lock on it, so that leaving this mode fails as long as anybody has.
 * SQLite writes the journal into the database, syncs that, and removes the journal. */
static int settle(const char *dir, struct err *err)
{
	char *path = mem_printf("%s/%s", dir, FILE_NAME);
	char *journal = mem_printf("%s-wal", path);
	sqlite3 *sql = NULL;
	bool is_left = false;
	int r = claim_file(path, false, err);

	if (r == 0)
		r = connect(path, SQLITE_OPEN_READWRITE, &sql, err);
	if (r == 0) {
		sqlite3_busy_timeout(sql, SETTLE_TIMEOUT_MS);
		int64_t found = version_of(sql, err);
		r = found < 0 ? (int)found : 0;
	}
	if (r == 0 &&
	    sqlite3_exec(sql, "PRAGMA journal_mode = DELETE", on_mode, &is_left, NULL) != SQLITE_OK)
		r = failed(sql, "leaving WAL", err);
	if (sql)
		sqlite3_close(sql);
	if (r == 0 && (!is_left || access(journal, F_OK) == 0))
		r = err_set(err, E_BUSY, "%s is open elsewhere", path);
	if (r == 0)
		r = file_sync(path, err);
	if (r == 0)
		r = file_sync_directory_of(path, err);
	mem_free(journal);
	mem_free(path);
	return r;
}

/* --- Backup ---------------------------------------------------------------------------------- */

/* One statement outside the cache, with up to one blob or text parameter. */
static int once(sqlite3 *sql, const char *text, const struct store_value *param, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool ok = sqlite3_prepare_v2(sql, text, -1, &st, NULL) == SQLITE_OK &&
		  (!param || bind(st, 1, param) == SQLITE_OK) && sqlite3_step(st) == SQLITE_DONE;
	int r = ok ? 0 : failed(sql, text, err);

	sqlite3_finalize(st);
	return r;
}

/* A plain copy without free pages; a reader's transaction while others write. */
static int copy_into(sqlite3 *sql, const char *path, struct err *err)
{
	struct store_value to = { STORE_TEXT, 0, bytes_str(path) };

	return once(sql, "VACUUM INTO $1", &to, err);
}

static int backup(struct store_db *db, const char *path, struct err *err)
{
	sqlite3 *copy = NULL;
	int r = copy_into(db->sql, path, err);

	if (r == 0)
		r = connect(path, SQLITE_OPEN_READWRITE, &copy, err);
	if (r < 0)
		return r;
	r = script(copy, "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL", err);
	sqlite3_close(copy);
	return r < 0 ? r : file_sync(path, err);
}

static int add_key(const char *path, struct bytes key, struct err *err)
{
	struct store_value value = { STORE_BLOB, 0, key };
	sqlite3 *copy = NULL;
	int r = connect(path, SQLITE_OPEN_READWRITE, &copy, err);

	if (r < 0)
		return r;
	r = script(copy,
		   "PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS backup_key "
		   "(id INTEGER PRIMARY KEY CHECK (id = 1), key BLOB NOT NULL)",
		   err);
	if (r == 0)
		r = once(copy, "INSERT OR REPLACE INTO backup_key (id, key) VALUES (1, $1)", &value,
			 err);
	sqlite3_close(copy);
	return r < 0 ? r : file_sync(path, err);
}

static int read_key(sqlite3 *sql, uint8_t *ret_key, size_t key_size, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int r = E_INVALID;

	if (sqlite3_prepare_v2(sql, "SELECT key FROM backup_key", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW) {
		struct store_value v = column(st, 0);
		if (v.type == STORE_BLOB && v.bytes.len == key_size) {
			memcpy(ret_key, v.bytes.ptr, key_size);
			r = 0;
		}
	}
	sqlite3_finalize(st);
	return r < 0 ? err_set(err, r, "it has no key, so it is not a backup") : 0;
}

static int on_check(void *ctx, int count, char **values, char **names)
{
	*(bool *)ctx = count > 0 && values[0] && strcmp(values[0], "ok") == 0;
	return 0;
}

static int check_backup(sqlite3 *sql, struct err *err)
{
	bool is_whole = false;
	int64_t v = version_of(sql, err);

	if (v < 0)
		return (int)v;
	if (v == 0)
		return err_set(err, E_INVALID, "it is empty");
	if (sqlite3_exec(sql, "PRAGMA integrity_check(1)", on_check, &is_whole, NULL) != SQLITE_OK)
		return failed(sql, "integrity check", err);
	return is_whole ? 0 : err_set(err, E_INVALID, "it is damaged");
}

/* The key leaves the copy: its bytes are overwritten, then the pages are rewritten. */
static int remove_key(const char *path, struct err *err)
{
	sqlite3 *copy = NULL;
	int r = connect(path, SQLITE_OPEN_READWRITE, &copy, err);

	if (r < 0)
		return r;
	r = script(copy,
		   "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL;"
		   "PRAGMA secure_delete = ON; DROP TABLE backup_key; VACUUM",
		   err);
	sqlite3_close(copy);
	return r < 0 ? r : file_sync(path, err);
}

static int restore(const char *path, const char *database, uint8_t *ret_key, size_t key_size,
		   struct err *err)
{
	sqlite3 *from = NULL;
	struct err why = { 0 };

	if (access(path, R_OK) < 0)
		return err_set_errno(err, errno == ENOENT ? E_NOT_FOUND : E_IO, errno, "%s", path);
	int r = connect(path, SQLITE_OPEN_READONLY, &from, &why);
	if (r == 0)
		r = check_backup(from, &why);
	if (r == 0)
		r = read_key(from, ret_key, key_size, &why);
	if (r == 0)
		r = copy_into(from, database, &why);
	sqlite3_close(from);
	if (r == 0)
		r = remove_key(database, &why);
	if (r < 0) {
		err_wrap(&why, "cannot restore %s", path);
		if (err)
			*err = why;
	}
	return r;
}

const struct store_driver store_sqlite = {
	.name = "sqlite",
	.file_name = FILE_NAME,
	.open = open_db,
	.settle = settle,
	.close = close_db,
	.version = version,
	.set_version = set_version,
	.begin = begin,
	.commit = commit,
	.rollback = rollback,
	.query = query,
	.script = run_script,
	.backup = backup,
	.add_key = add_key,
	.restore = restore,
};
