/* Opening, transactions, settings, backup. The questions are in store_*.c beside this file. */
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "store/files.h"
#include "store/store_internal.h"

#define MAGIC_STORE 0x73746f72

/* --- Queries --------------------------------------------------------------------------------- */

int store_query(struct store *s, const char *sql, const struct store_value *params,
		size_t param_count, store_on_row *on_row, void *ctx, struct err *err)
{
	CHECK(s, MAGIC_STORE);
	return s->driver->query(s->db, sql, params, param_count, on_row, ctx, err);
}

void *store_rows_add(struct store_rows *rows)
{
	if (rows->count == rows->cap) {
		rows->cap = rows->cap ? rows->cap * 2 : 8;
		rows->items = mem_resize(rows->items, rows->cap * rows->item_size);
	}
	void *item = (char *)rows->items + rows->count++ * rows->item_size;
	memset(item, 0, rows->item_size);
	return item;
}

void store_rows_drop(struct store_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		rows->item_done((char *)rows->items + i * rows->item_size);
	rows->items = mem_free(rows->items);
	rows->count = rows->cap = 0;
}

int store_rows_query(struct store_rows *rows, const char *sql, const struct store_value *params,
		     size_t param_count, store_on_row *on_row, struct err *err)
{
	int r = store_query(rows->store, sql, params, param_count, on_row, rows, err);

	if (r == E_INTERNAL)
		err_set(err, r, "the database holds something that Adit did not write");
	if (r < 0)
		store_rows_drop(rows);
	return r < 0 ? r : 0;
}

int store_rows_first(struct store_rows *rows, void *ret)
{
	if (rows->count == 0)
		return E_NOT_FOUND;
	memcpy(ret, rows->items, rows->item_size);
	memset(rows->items, 0, rows->item_size);
	store_rows_drop(rows);
	return 0;
}

int store_column_uuid(const struct store_value *v, struct uuid *ret)
{
	return uuid_parse(v->bytes, ret) ? 0 : E_INTERNAL;
}

int store_column_account(const struct store_value *v, char ret[33])
{
	if (v->bytes.len != 32)
		return E_INTERNAL;
	memcpy(ret, v->bytes.ptr, 32);
	ret[32] = 0;
	return 0;
}

char *store_column_text(const struct store_value *v)
{
	return v->type == STORE_NULL ? NULL : mem_strndup(v->bytes);
}

struct store_value store_policy(const struct store_balance *b)
{
	return store_text(b->policy[0] ? b->policy : NULL);
}

struct store_value store_choice(enum store_choice choice)
{
	return choice == STORE_UNSET ? store_text(NULL) : store_int(choice == STORE_YES);
}

void store_column_balance(const struct store_value *v, struct store_balance *ret)
{
	*ret = (struct store_balance){ 0 };
	if (v[0].type != STORE_NULL && v[0].bytes.len <= STORE_POLICY_BYTES)
		memcpy(ret->policy, v[0].bytes.ptr, v[0].bytes.len);
	if (v[1].type != STORE_NULL)
		ret->eject_on_5xx = v[1].number ? STORE_YES : STORE_NO;
}

static int on_int(void *ctx, const struct store_value *row)
{
	*(int64_t *)ctx = row[0].number;
	return 0;
}

/* --- Transactions ---------------------------------------------------------------------------- */

int64_t store_revision(struct store *s, struct err *err)
{
	int64_t rev = 0;
	int r = store_query(s, "SELECT coalesce(max(rev), 0) FROM changes", NULL, 0, on_int, &rev,
			    err);

	return r < 0 ? -1 : rev;
}

void store_set_read_only(struct store *s, bool is_read_only)
{
	CHECK(s, MAGIC_STORE);
	s->is_read_only = is_read_only;
}

int store_begin_write(struct store *s, struct err *err)
{
	if (s->is_read_only)
		return err_set(err, E_BUSY,
			       "another process has taken this edge over; ask that one");
	int r = s->driver->begin(s->db, true, err);

	if (r < 0)
		return r;
	int64_t rev = store_revision(s, err);
	if (rev < 0) {
		s->driver->rollback(s->db);
		return err ? err->code : E_IO;
	}
	s->rev = rev + 1;
	return 0;
}

static int append_change(struct store *s, const char *what, struct err *err)
{
	int r = store_query(
		s, "INSERT INTO changes (rev, at, what) VALUES ($1, $2, $3)",
		STORE_PARAMS(store_int(s->rev), store_int(clock_wall_now()), store_text(what)),
		NULL, NULL, err);

	if (r < 0)
		return r;
	return store_query(s, "DELETE FROM changes WHERE rev <= $1",
			   STORE_PARAMS(store_int(s->rev - STORE_KEPT_CHANGES)), NULL, NULL, err);
}

int store_end_write(struct store *s, int result, const char *what, struct err *err)
{
	int r = result;

	if (r >= 0 && what)
		r = append_change(s, what, err);
	if (r >= 0 && what)
		r = s->driver->commit(s->db, err);
	if (r < 0 || !what) {
		s->driver->rollback(s->db);
		return r;
	}
	return result;
}

/* --- Opening --------------------------------------------------------------------------------- */

static int run_step(struct store *s, const struct schema_step *step, int64_t version,
		    struct err *err)
{
	int r = s->driver->script(s->db, step->sql, err);

	if (r == 0)
		r = s->driver->set_version(s->db, version, err);
	/* The first step made the table this reads. */
	int64_t rev = r == 0 ? store_revision(s, err) : -1;
	if (r == 0 && rev < 0)
		r = E_IO;
	s->rev = rev + 1;
	return r;
}

int store_migrate(struct store *s, const struct schema_step *steps, size_t count, struct err *err)
{
	for (;;) {
		int64_t version = s->driver->version(s->db, err);
		if (version < 0)
			return (int)version;
		if ((uint64_t)version > count)
			return err_set(err, E_UNSUPPORTED,
				       "the database in %s was written by a newer Adit (schema %lld, "
				       "this program knows %zu); upgrade this program",
				       s->dir, (long long)version, count);
		if ((uint64_t)version == count)
			return 0;
		int r = s->driver->begin(s->db, true, err);
		if (r < 0)
			return r;
		/* Another process may have been faster while we waited for the lock. */
		if (s->driver->version(s->db, err) != version) {
			s->driver->rollback(s->db);
			continue;
		}
		const struct schema_step *step = &steps[version];
		r = store_end_write(s, run_step(s, step, version + 1, err), step->name, err);
		if (r < 0)
			return err ? err_wrap(err, "schema step %s", step->name) : r;
	}
}

static int on_blob(void *ctx, const struct store_value *row)
{
	secret_set(ctx, row[0].bytes);
	return 0;
}

static const char proof_place[] = "master key";

static int read_proof(struct store *s, struct secret *proof, struct err *err)
{
	return store_query(s, "SELECT proof FROM sealing", NULL, 0, on_blob, proof, err);
}

static int make_proof(struct store *s, struct secret *proof, struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	/* Another process may have made it meanwhile. */
	r = read_proof(s, proof, err);
	if (r != 0)
		return store_end_write(s, r, NULL, err);
	size_t len = 0;
	uint8_t *sealed = seal_value(&s->key, BYTES_LIT("adit"), proof_place, &len);
	secret_set(proof, bytes_of(sealed, len));
	r = store_query(s, "INSERT INTO sealing (id, proof) VALUES (1, $1)",
			STORE_PARAMS(store_blob(bytes_of(sealed, len))), NULL, NULL, err);
	mem_free(sealed);
	return store_end_write(s, r, "sealing", err);
}

/* Makes the proof in a new database, checks the key against it in an old one. */
static int check_key(struct store *s, struct err *err)
{
	struct secret proof = { 0 }, plain = { 0 };
	int r = read_proof(s, &proof, err);

	if (r == 0)
		r = make_proof(s, &proof, err);
	if (r >= 0) {
		r = seal_open(&s->key, bytes_of(proof.ptr, proof.len), proof_place, &plain, NULL);
		if (r < 0)
			err_set(err, r, "%s/master.key is not the key of the database there",
				s->dir);
	}
	secret_done(&proof);
	secret_done(&plain);
	return r;
}

/* --- Where it is ----------------------------------------------------------------------------- */

static char *name_in(const char *folder)
{
	return mem_printf("%s/%s", folder, store_sqlite.file_name);
}

static bool is_in(const char *folder)
{
	char *path = name_in(folder);
	bool is_there = access(path, F_OK) == 0;

	mem_free(path);
	return is_there;
}

static bool is_moved_in(const char *dir)
{
	char *folder = mem_printf("%s/" STORE_FOLDER, dir);
	bool is_there = is_in(folder);

	mem_free(folder);
	return is_there;
}

char *store_folder(const char *dir)
{
	return is_in(dir) ? mem_strdup(dir) : mem_printf("%s/" STORE_FOLDER, dir);
}

bool store_is_there(const char *dir)
{
	return is_in(dir) || is_moved_in(dir);
}

/* Moving leaves one: two are somebody's doing, and only they know which one counts. */
static int check_places(const char *dir, struct err *err)
{
	if (!is_in(dir) || !is_moved_in(dir))
		return 0;
	return err_set(err, E_EXISTS,
		       "there are two databases, %s/%s and %s/" STORE_FOLDER
		       "/%s; take one of them away",
		       dir, store_sqlite.file_name, dir, store_sqlite.file_name);
}

static int make_folder(const char *folder, struct err *err)
{
	if (mkdir(folder, 0700) == 0)
		return file_sync_directory_of(folder, err);
	return errno == EEXIST ? 0 : err_set_errno(err, E_IO, errno, "%s", folder);
}

/* --- Its parts --------------------------------------------------------------------------------- */

static int open_parts(struct store *s, bool create, struct err *err)
{
	struct err why = { 0 };

	/* An existing database never gets a new key: that would hide that the old one is lost. */
	int r = check_places(s->dir, &why);
	char *folder = store_folder(s->dir);
	if (r == 0)
		r = s->driver->open(folder, false, &s->db, &why);
	if (r < 0 && (r != E_NOT_FOUND || !create))
		goto out;
	bool is_new = r < 0 || s->driver->version(s->db, &why) == 0;
	if (is_new && !create) {
		r = err_set(&why, E_NOT_FOUND, "the database in %s is empty; run init first",
			    s->dir);
		goto out;
	}
	r = s->has_key ? 0 : seal_key_load(s->dir, is_new, &s->key, &why);
	if (r == E_NOT_FOUND)
		err_set(&why, r, "%s/master.key is missing; without it the database cannot be used",
			s->dir);
	if (r == 0 && !s->db)
		r = make_folder(folder, &why);
	if (r == 0 && !s->db)
		r = s->driver->open(folder, true, &s->db, &why);
	if (r == 0)
		r = store_migrate(s, schema_steps, schema_step_count, &why);
	if (r == 0)
		r = check_key(s, &why);
out:
	mem_free(folder);
	if (r < 0 && err)
		*err = why;
	return r;
}

/* One process opens at a time: SQLite does not wait while another one changes the journal mode of a
 * new file, and nobody should find a half-made store. The kernel drops the lock with the process. A descriptor. */
static int lock_directory(const char *dir, struct err *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX) == 0)
		return fd;
	int code = err_set_errno(err, errno == ENOENT ? E_NOT_FOUND : E_IO, errno, "%s", dir);
	if (fd >= 0)
		close(fd); /* allowed: a directory, not a socket of io/ */
	return code;
}

static int open_alone(struct store *s, bool create, struct err *err)
{
	int fd = lock_directory(s->dir, err);

	if (fd < 0)
		return fd;
	int r = open_parts(s, create, err);
	close(fd); /* allowed: a directory, not a socket of io/ */
	return r;
}

int store_move_in(const char *dir, struct err *err)
{
	char *from = mem_printf("%s/%s", dir, store_sqlite.file_name);
	char *folder = mem_printf("%s/" STORE_FOLDER, dir), *to = name_in(folder);
	int fd = lock_directory(dir, err), r = fd < 0 ? fd : check_places(dir, err);

	/* Who opens it takes the lock first, so nobody comes between. */
	if (r == 0 && access(from, F_OK) == 0) {
		r = store_sqlite.settle(dir, err);
		if (r == 0)
			r = make_folder(folder, err);
		if (r == 0 && rename(from, to) < 0)
			r = err_set_errno(err, E_IO, errno, "%s", to);
		if (r == 0)
			r = file_sync_directory_of(to, err);
		if (r == 0)
			r = file_sync_directory_of(from, err);
	}
	if (fd >= 0)
		close(fd); /* allowed: a directory, not a socket of io/ */
	mem_free(to);
	mem_free(folder);
	mem_free(from);
	return r;
}

static struct store *open_store(const char *dir, bool create, const struct seal_key *key,
				struct err *err)
{
	struct store *s = mem_alloc(sizeof(*s));

	s->magic = MAGIC_STORE;
	s->driver = &store_sqlite;
	s->dir = mem_strdup(dir);
	s->has_key = key != NULL;
	if (key)
		s->key = *key;
	if (open_alone(s, create, err) < 0)
		return store_close(s);
	return s;
}

struct store *store_open(const char *dir, bool create, struct err *err)
{
	if (create && mkdir(dir, 0700) < 0 && errno != EEXIST) {
		err_set_errno(err, E_IO, errno, "%s", dir);
		return NULL;
	}
	return open_store(dir, create, NULL, err);
}

struct store *store_open_with(const char *dir, const struct seal_key *key, struct err *err)
{
	return open_store(dir, false, key, err);
}

struct store *store_close(struct store *s)
{
	if (!s)
		return NULL;
	CHECK(s, MAGIC_STORE);
	if (s->db)
		s->driver->close(s->db);
	seal_key_wipe(&s->key);
	mem_free(s->dir);
	s->magic = 0;
	return mem_free(s);
}

/* --- Settings -------------------------------------------------------------------------------- */

struct setting {
	bool is_found, is_sealed;
	struct secret value;
};

static int on_setting(void *ctx, const struct store_value *row)
{
	struct setting *setting = ctx;

	setting->is_found = true;
	setting->is_sealed = row[0].type == STORE_NULL;
	secret_set(&setting->value, row[setting->is_sealed ? 1 : 0].bytes);
	return 0;
}

char *store_setting_get(struct store *s, const char *name, struct err *err)
{
	struct setting setting = { 0 };
	int r = store_query(s, "SELECT value, sealed FROM settings WHERE name = $1",
			    STORE_PARAMS(store_text(name)), on_setting, &setting, err);

	if (r >= 0 && !setting.is_found)
		r = err_set(err, E_NOT_FOUND, "the setting %s is not there", name);
	if (r >= 0 && setting.is_sealed) {
		char *place = mem_printf("setting %s", name);
		struct secret sealed = setting.value;
		setting.value = (struct secret){ 0 };
		r = seal_open(&s->key, bytes_of(sealed.ptr, sealed.len), place, &setting.value, err);
		secret_done(&sealed);
		mem_free(place);
	}
	char *text = r >= 0 ? mem_strndup(bytes_of(setting.value.ptr, setting.value.len)) : NULL;
	secret_done(&setting.value);
	return text;
}

static int on_setting_name(void *ctx, const struct store_value *row)
{
	struct buf *names = ctx;
	int r = names->len ? buf_append(names, BYTES_LIT("\n")) : 0;

	return r < 0 ? r : buf_append(names, row[0].bytes);
}

char *store_setting_names(struct store *s, const char *prefix, struct err *err)
{
	struct buf names;

	buf_init(&names, SIZE_MAX);
	int r = store_query(s,
			    "SELECT name FROM settings WHERE substr(name, 1, $1) = $2 ORDER BY name",
			    STORE_PARAMS(store_int((int64_t)strlen(prefix)), store_text(prefix)),
			    on_setting_name, &names, err);
	char *text = r < 0 ? NULL : mem_strndup(buf_bytes(&names));
	buf_done(&names);
	return text;
}

int store_setting_put(struct store *s, const char *name, const char *value, bool sealed,
		      struct err *err)
{
	struct store_value open = store_text(sealed ? NULL : value), closed = { STORE_NULL };
	uint8_t *box = NULL;

	if (sealed) {
		char *place = mem_printf("setting %s", name);
		size_t len = 0;
		box = seal_value(&s->key, bytes_str(value), place, &len);
		closed = store_blob(bytes_of(box, len));
		mem_free(place);
	}
	int r = store_begin_write(s, err);
	if (r == 0) {
		r = store_query(s,
				"INSERT INTO settings (name, value, sealed) VALUES ($1, $2, $3) "
				"ON CONFLICT (name) DO UPDATE SET value = excluded.value, "
				"sealed = excluded.sealed",
				STORE_PARAMS(store_text(name), open, closed), NULL, NULL, err);
		r = store_end_write(s, r, "setting", err);
	}
	mem_free(box);
	return r;
}

/* --- Backup ---------------------------------------------------------------------------------- */

static struct bytes master_of(const struct seal_key *k)
{
	return bytes_of(k->master, sizeof(k->master));
}

int store_backup_complete(const char *path, const char *dir, struct err *err)
{
	struct seal_key key;
	int r = seal_key_load(dir, false, &key, err);

	if (r < 0)
		return r;
	r = store_sqlite.add_key(path, master_of(&key), err);
	seal_key_wipe(&key);
	return r;
}

int store_backup(struct store *s, const char *path, struct err *err)
{
	struct err why = { 0 };

	CHECK(s, MAGIC_STORE);
	/* The new name is refused at the end too; this only saves the work. */
	if (access(path, F_OK) == 0)
		return err_set(err, E_EXISTS, "%s is there already", path);
	char *aside = file_aside(path, 0600, &why);
	int r = aside ? 0 : why.code;
	if (r == 0) {
		r = s->driver->backup(s->db, aside, &why);
		if (r == 0 && s->key.has_master)
			r = s->driver->add_key(aside, master_of(&s->key), &why);
		if (r < 0)
			unlink(aside);
		else
			r = file_put_new(aside, path, &why);
	}
	mem_free(aside);
	if (r < 0 && err)
		*err = why;
	return r;
}

/* Makes `dir` unless it is there and empty. */
static int claim_directory(const char *dir, struct err *err)
{
	if (mkdir(dir, 0700) == 0)
		return file_sync_directory_of(dir, err);
	if (errno != EEXIST)
		return err_set_errno(err, E_IO, errno, "%s", dir);
	DIR *d = opendir(dir);
	if (!d)
		return err_set_errno(err, E_IO, errno, "%s", dir);
	int r = 0;
	for (struct dirent *e = readdir(d); e && r == 0; e = readdir(d))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = err_set(err, E_EXISTS, "%s is not empty", dir);
	closedir(d);
	return r;
}

/* The database takes its name last: until then the directory is not a store. */
static int restore_into(const char *path, const char *dir, struct err *err)
{
	const struct store_driver *driver = &store_sqlite;
	char *folder = mem_printf("%s/" STORE_FOLDER, dir), *database = name_in(folder);
	uint8_t master[SEAL_KEY_BYTES];
	char *aside = make_folder(folder, err) == 0 ? file_aside(database, 0600, err) : NULL;
	int r = aside ? driver->restore(path, aside, master, sizeof(master), err) : E_IO;

	if (r == 0)
		r = seal_key_save(dir, master, err);
	if (r == 0)
		r = file_put_new(aside, database, err);
	else if (aside)
		unlink(aside);
	secret_wipe(master, sizeof(master));
	if (r < 0)
		(void)rmdir(folder); /* where it is empty: nothing is in the way of the next try */
	mem_free(aside);
	mem_free(database);
	mem_free(folder);
	return r;
}

int store_restore(const char *path, const char *dir, struct err *err)
{
	struct err why = { 0 };
	struct store *s = NULL;
	int r = claim_directory(dir, &why);

	if (r == 0)
		r = restore_into(path, dir, &why);
	if (r == 0) {
		/* Proves that key and database belong together, and brings an old schema up. */
		s = store_open(dir, false, &why);
		r = s ? 0 : why.code;
	}
	store_close(s);
	if (r < 0 && err)
		*err = why;
	return r;
}
