/* Every question of store.h, against a real database in a directory of its own. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/mem.h"
#include "store/files.h"
#include "store/store_internal.h"

/* --- A directory and a store for each test ---------------------------------------------------- */

struct fixture {
	char *dir; /* DIR/state does not exist yet; DIR does */
	char *state;
	struct store *store;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static struct store *open_ok(const char *dir, bool create)
{
	struct err err = { 0 };
	struct store *s = store_open(dir, create, &err);

	if (!s)
		print_error("store_open: %s\n", err.text);
	assert_non_null(s);
	return s;
}

static int set_up(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));

	f->dir = mem_strdup("/tmp/adit-test-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->state = mem_printf("%s/state", f->dir);
	f->store = open_ok(f->state, true);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	mem_free(f->state);
	mem_free(f->dir);
	mem_free(f);
	return 0;
}

static void reopen(struct fixture *f)
{
	f->store = store_close(f->store);
	f->store = open_ok(f->state, false);
}

static char *path_in(const struct fixture *f, const char *name)
{
	return mem_printf("%s/%s", f->dir, name);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

#define KEY_TEXT "0123456789abcdef0123456789abcdef"
#define KEY BYTES_LIT(KEY_TEXT)

static void account_of(struct store *s, char id[33])
{
	assert_int_equal(store_account_first(s, id, NULL), 0);
}

static struct uuid add_zone(struct store *s, const char *name)
{
	struct store_zone zone = { 0 };
	struct err err = { 0 };
	char account[33];

	account_of(s, account);
	int r = store_zone_add(s, account, name, &zone, &err);
	if (r < 0)
		print_error("%s\n", err.text);
	assert_int_equal(r, 0);
	struct uuid id = zone.id;
	store_zone_done(&zone);
	return id;
}

static struct uuid add_tunnel(struct store *s, const char *name)
{
	struct store_tunnel t = { 0 };
	struct err err = { 0 };
	char account[33];

	account_of(s, account);
	int r = store_tunnel_create(s, account, name, KEY, &t, &err);
	if (r < 0)
		print_error("%s\n", err.text);
	assert_int_equal(r, 0);
	struct uuid id = t.id;
	store_tunnel_done(&t);
	return id;
}

static enum store_route_change add_route(struct store *s, const struct uuid *zone,
					 const char *hostname, const struct uuid *tunnel)
{
	enum store_route_change change = ROUTE_UNCHANGED;
	struct err err = { 0 };
	int r = store_route_put(s, zone, hostname, tunnel, true, &change, &err);

	if (r < 0)
		print_error("%s\n", err.text);
	assert_int_equal(r, 0);
	return change;
}

/* Is `needle` anywhere in the database or its journal? */
static bool is_on_disk(const struct fixture *f, struct bytes needle)
{
	static const char *const names[] = { "state/db/adit.db", "state/db/adit.db-wal" };
	bool found = false;

	for (size_t i = 0; i < ARRAY_LEN(names) && !found; i++) {
		char *path = path_in(f, names[i]);
		size_t size = 16 << 20, len = 0;
		char *content = mem_alloc(size);
		if (file_load(path, content, size, &len, NULL) == 0)
			found = memmem(content, len, needle.ptr, needle.len) != NULL;
		mem_free(content);
		mem_free(path);
	}
	return found;
}

/* Changes the file behind the store's back. */
static void meddle(const char *path, const char *sql)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* --- Opening ----------------------------------------------------------------------------------- */

static void without_create_a_missing_store_is_not_found(void **state)
{
	struct fixture *f = *state;
	char *nowhere = path_in(f, "nowhere");
	struct err err = { 0 };

	assert_null(store_open(nowhere, false, &err));
	assert_int_equal(err.code, E_NOT_FOUND);
	assert_int_equal(access(nowhere, F_OK), -1);
	mem_free(nowhere);
}

static void files_are_for_their_owner_only(void **state)
{
	struct fixture *f = *state;
	char *key = path_in(f, "state/master.key"), *db = path_in(f, "state/db/adit.db");
	char *wal = path_in(f, "state/db/adit.db-wal"), *shm = path_in(f, "state/db/adit.db-shm");

	assert_int_equal(mode_of(f->state), 0700);
	assert_int_equal(mode_of(key), 0600);
	assert_int_equal(mode_of(db), 0600);
	assert_int_equal(mode_of(wal), 0600);
	assert_int_equal(mode_of(shm), 0600);
	mem_free(key);
	mem_free(db);
	mem_free(wal);
	mem_free(shm);
}

static void opening_again_changes_nothing(void **state)
{
	struct fixture *f = *state;
	int64_t before = store_revision(f->store, NULL);

	assert_true(before > 0);
	store_close(f->store);
	f->store = open_ok(f->state, true);
	assert_int_equal(store_revision(f->store, NULL), before);
}

static void an_init_cut_short_is_finished_by_the_next(void **state)
{
	struct fixture *f = *state;
	char *dir = path_in(f, "half"), *db = path_in(f, "half/db/adit.db");
	char *folder = path_in(f, "half/db");
	struct err err = { 0 };

	/* Killed after the key and the empty file, before the first schema step. */
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(mkdir(folder, 0700), 0);
	struct seal_key key;
	assert_int_equal(seal_key_load(dir, true, &key, NULL), 0);
	assert_int_equal(file_create(db, BYTES_NONE, 0600, NULL), 0);
	assert_null(store_open(dir, false, &err));
	assert_int_equal(err.code, E_NOT_FOUND);
	struct store *s = open_ok(dir, true);
	assert_memory_equal(s->key.master, key.master, sizeof(key.master));
	store_close(s);
	mem_free(dir);
	mem_free(folder);
	mem_free(db);
}

/* Where it was before there was a folder for it. */
static void move_out(struct fixture *f)
{
	char *new = path_in(f, "state/db/adit.db"), *old = path_in(f, "state/adit.db");

	f->store = store_close(f->store);
	assert_int_equal(rename(new, old), 0);
	mem_free(new);
	mem_free(old);
}

static void a_database_of_before_is_used_where_it_is_until_it_is_moved_in(void **state)
{
	struct fixture *f = *state;
	char *new = path_in(f, "state/db/adit.db"), *old = path_in(f, "state/adit.db");
	char *wal = path_in(f, "state/adit.db-wal"), *folder = path_in(f, "state/db");
	struct err err = { 0 };

	move_out(f);
	assert_int_equal(rmdir(folder), 0);
	f->store = open_ok(f->state, false);
	assert_int_equal(store_setting_put(f->store, "in", "the journal", false, NULL), 0);
	assert_int_equal(access(wal, F_OK), 0);
	assert_true(store_is_there(f->state));
	/* Somebody has it open. */
	assert_int_equal(store_move_in(f->state, &err), E_BUSY);
	assert_int_equal(access(old, F_OK), 0);
	assert_int_equal(access(new, F_OK), -1);
	assert_int_equal(store_setting_put(f->store, "and", "written on", false, NULL), 0);
	f->store = store_close(f->store);
	assert_int_equal(store_move_in(f->state, &err), 0);
	assert_int_equal(access(old, F_OK), -1);
	assert_int_equal(access(wal, F_OK), -1);
	assert_int_equal(mode_of(folder), 0700);
	assert_int_equal(mode_of(new), 0600);
	assert_int_equal(store_move_in(f->state, &err), 0);
	f->store = open_ok(f->state, false);
	static const char *const names[] = { "in", "and" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *value = store_setting_get(f->store, names[i], NULL);
		assert_non_null(value);
		mem_free(value);
	}
	mem_free(new);
	mem_free(old);
	mem_free(wal);
	mem_free(folder);
}

static void a_journal_that_a_killed_process_left_moves_with_its_database(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	int status;

	move_out(f);
	pid_t pid = fork();
	if (pid == 0) {
		struct store *s = store_open(f->state, false, NULL);
		_exit(s && store_setting_put(s, "kept", "in the journal", false, NULL) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(store_move_in(f->state, &err), 0);
	f->store = open_ok(f->state, false);
	char *value = store_setting_get(f->store, "kept", NULL);
	assert_string_equal(value, "in the journal");
	mem_free(value);
}

static void of_two_databases_none_is_taken(void **state)
{
	struct fixture *f = *state;
	char *old = path_in(f, "state/adit.db");
	struct err err = { 0 };

	f->store = store_close(f->store);
	assert_int_equal(file_create(old, BYTES_NONE, 0600, NULL), 0);
	assert_null(store_open(f->state, true, &err));
	assert_int_equal(err.code, E_EXISTS);
	assert_int_equal(store_move_in(f->state, &err), E_EXISTS);
	assert_non_null(strstr(err.text, "two databases"));
	mem_free(old);
}

static void it_opens_with_a_key_that_was_read_before(void **state)
{
	struct fixture *f = *state;
	char *path = path_in(f, "state/master.key");
	struct seal_key key;

	assert_int_equal(store_setting_put(f->store, "sealed", "value", true, NULL), 0);
	f->store = store_close(f->store);
	assert_int_equal(seal_key_load(f->state, false, &key, NULL), 0);
	seal_key_forget_master(&key);
	assert_int_equal(unlink(path), 0);
	f->store = store_open_with(f->state, &key, NULL);
	assert_non_null(f->store);
	char *value = store_setting_get(f->store, "sealed", NULL);
	assert_string_equal(value, "value");
	mem_free(value);
	mem_free(path);
}

static void a_lost_key_is_not_replaced(void **state)
{
	struct fixture *f = *state;
	char *key = path_in(f, "state/master.key");
	struct err err = { 0 };

	f->store = store_close(f->store);
	assert_int_equal(unlink(key), 0);
	assert_null(store_open(f->state, true, &err));
	assert_int_equal(err.code, E_NOT_FOUND);
	assert_non_null(strstr(err.text, "master.key is missing"));
	assert_int_equal(access(key, F_OK), -1);
	mem_free(key);
}

static void a_wrong_key_is_refused(void **state)
{
	struct fixture *f = *state;
	char *key = path_in(f, "state/master.key");
	char other[65];
	struct err err = { 0 };

	memset(other, 'a', 64);
	other[64] = '\n';
	f->store = store_close(f->store);
	assert_int_equal(file_replace(key, bytes_of(other, sizeof(other)), 0600, NULL), 0);
	assert_null(store_open(f->state, false, &err));
	assert_int_equal(err.code, E_DENIED);
	assert_non_null(strstr(err.text, "not the key"));
	mem_free(key);
}

static void a_key_that_is_open_to_others_or_malformed_is_refused(void **state)
{
	struct fixture *f = *state;
	char *key = path_in(f, "state/master.key");
	struct err err = { 0 };

	f->store = store_close(f->store);
	assert_int_equal(chmod(key, 0644), 0);
	assert_null(store_open(f->state, false, &err));
	assert_int_equal(err.code, E_DENIED);
	assert_int_equal(file_replace(key, BYTES_LIT("short\n"), 0600, NULL), 0);
	assert_null(store_open(f->state, false, &err));
	assert_int_equal(err.code, E_PARSE);
	mem_free(key);
}

static void a_database_of_a_newer_program_is_refused(void **state)
{
	struct fixture *f = *state;
	char *db = path_in(f, "state/db/adit.db");
	struct err err = { 0 };

	f->store = store_close(f->store);
	meddle(db, "PRAGMA user_version = 4711");
	assert_null(store_open(f->state, false, &err));
	assert_int_equal(err.code, E_UNSUPPORTED);
	assert_non_null(strstr(err.text, "newer Adit (schema 4711"));
	mem_free(db);
}

static void a_foreign_database_is_refused(void **state)
{
	struct fixture *f = *state;
	char *db = path_in(f, "state/db/adit.db");
	struct err err = { 0 };

	f->store = store_close(f->store);
	meddle(db, "PRAGMA application_id = 7");
	assert_null(store_open(f->state, true, &err));
	assert_int_equal(err.code, E_INVALID);
	assert_int_equal(
		file_replace(db, BYTES_LIT("this is not a database, but a text"), 0600, NULL), 0);
	assert_null(store_open(f->state, true, &err));
	assert_int_equal(err.code, E_INVALID);
	mem_free(db);
}

static void migrations_run_in_order_once_and_whole(void **state)
{
	struct fixture *f = *state;
	size_t n = schema_step_count;
	struct schema_step *steps = mem_alloc_array(n + 2, sizeof(*steps));
	struct err err = { 0 };

	memcpy(steps, schema_steps, n * sizeof(*steps));
	steps[n] = (struct schema_step){ "900_more.sql", "CREATE TABLE more (x INTEGER);"
							 "INSERT INTO more (x) VALUES (1)" };
	steps[n + 1] = (struct schema_step){ "901_bad.sql", "INSERT INTO more (x) VALUES (2);"
							    "INSERT INTO nowhere (x) VALUES (3)" };

	int64_t before = store_revision(f->store, NULL);
	assert_int_equal(store_migrate(f->store, steps, n + 1, &err), 0);
	assert_int_equal(store_revision(f->store, NULL), before + 1);
	assert_int_equal(store_migrate(f->store, steps, n + 1, &err), 0);
	assert_int_equal(store_query(f->store, "SELECT x FROM more", NULL, 0, NULL, NULL, NULL), 1);

	assert_true(store_migrate(f->store, steps, n + 2, &err) < 0);
	assert_non_null(strstr(err.text, "901_bad.sql"));
	assert_int_equal(f->store->driver->version(f->store->db, NULL), (int64_t)n + 1);
	assert_int_equal(store_query(f->store, "SELECT x FROM more", NULL, 0, NULL, NULL, NULL), 1);

	/* What the shipped program now says of it. */
	assert_int_equal(store_migrate(f->store, schema_steps, n, &err), E_UNSUPPORTED);
	mem_free(steps);
}

static void two_openers_see_each_others_writes(void **state)
{
	struct fixture *f = *state;
	struct store *second = open_ok(f->state, false);
	struct store_zone zone = { 0 };

	add_zone(f->store, "one.example");
	assert_int_equal(store_zone_find(second, "one.example", &zone, NULL), 0);
	store_zone_done(&zone);
	int64_t rev = store_revision(second, NULL);
	add_zone(second, "two.example");
	assert_int_equal(store_revision(f->store, NULL), rev + 1);
	store_close(second);
	add_zone(f->store, "three.example");
	assert_int_equal(store_revision(f->store, NULL), rev + 2);
}

/* Creates and writes in a process of its own; exits 0 when all went well. */
static pid_t start_writer(const char *dir, int number, int zones)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	struct err err = { 0 };
	struct store *s = store_open(dir, true, &err);
	char account[33], name[64];
	int r = s ? store_account_first(s, account, &err) : -1;
	for (int i = 0; i < zones && r == 0; i++) {
		struct store_zone zone = { 0 };
		snprintf(name, sizeof(name), "w%d-%d.example", number, i);
		r = store_zone_add(s, account, name, &zone, &err);
		store_zone_done(&zone);
	}
	if (r < 0 || !s)
		fprintf(stderr, "writer %d: %s\n", number, err.text);
	store_close(s);
	_exit(r < 0 || !s);
}

static void processes_that_create_and_write_at_once_agree(void **state)
{
	struct fixture *f = *state;
	char *dir = path_in(f, "shared");
	pid_t pids[4];
	struct store_zone *zones = NULL;
	size_t count = 0;

	for (int i = 0; i < 4; i++)
		pids[i] = start_writer(dir, i, 10);
	for (int i = 0; i < 4; i++) {
		int status = -1;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	struct store *s = open_ok(dir, false);
	assert_int_equal(store_zone_list(s, &zones, &count, NULL), 0);
	assert_int_equal(count, 40);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(zones[i].account, zones[0].account);
		store_zone_done(&zones[i]);
	}
	mem_free(zones);
	store_close(s);
	mem_free(dir);
}

static void kill_9_loses_no_acknowledged_write(void **state)
{
	struct fixture *f = *state;
	int pipe_fds[2], acknowledged = -1;

	f->store = store_close(f->store);
	assert_int_equal(pipe(pipe_fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct store *s = store_open(f->state, false, NULL);
		char value[32];
		for (int i = 0; s; i++) {
			snprintf(value, sizeof(value), "%d", i);
			if (store_setting_put(s, "count", value, i % 2, NULL) < 0 ||
			    write(pipe_fds[1], &i, sizeof(i)) != sizeof(i))
				break;
		}
		_exit(1);
	}
	close(pipe_fds[1]);
	while (acknowledged < 200) {
		int i = 0;
		assert_int_equal(read(pipe_fds[0], &i, sizeof(i)), sizeof(i));
		acknowledged = i;
	}
	kill(pid, SIGKILL);
	for (int i = 0; read(pipe_fds[0], &i, sizeof(i)) == sizeof(i);)
		acknowledged = i;
	close(pipe_fds[0]);
	waitpid(pid, NULL, 0);

	f->store = open_ok(f->state, false);
	char *value = store_setting_get(f->store, "count", NULL);
	assert_non_null(value);
	/* The next one may have been written but not acknowledged yet. */
	assert_in_range(strtol(value, NULL, 10), acknowledged, acknowledged + 1);
	mem_free(value);
}

/* --- Revisions ---------------------------------------------------------------------------------- */

static void every_write_raises_the_revision_and_failed_ones_do_not(void **state)
{
	struct fixture *f = *state;
	struct store_zone zone = { 0 };
	char account[33];

	account_of(f->store, account);
	int64_t rev = store_revision(f->store, NULL);
	assert_int_equal(store_setting_put(f->store, "a", "b", false, NULL), 0);
	assert_int_equal(store_revision(f->store, NULL), rev + 1);
	add_zone(f->store, "example.com");
	assert_int_equal(store_revision(f->store, NULL), rev + 2);
	assert_int_equal(store_zone_add(f->store, account, "example.com", &zone, NULL), E_EXISTS);
	assert_int_equal(store_zone_remove(f->store, "other.com", NULL), E_NOT_FOUND);
	assert_int_equal(store_revision(f->store, NULL), rev + 2);
}

static void old_changes_are_forgotten_but_the_revision_stays(void **state)
{
	struct fixture *f = *state;
	char *db = path_in(f, "state/db/adit.db");
	int64_t rev = 500000;

	meddle(db, "INSERT INTO changes (rev, at, what) VALUES (500000, 1, 'far')");
	assert_int_equal(store_revision(f->store, NULL), rev);
	assert_int_equal(store_setting_put(f->store, "a", "b", false, NULL), 0);
	assert_int_equal(store_revision(f->store, NULL), rev + 1);
	assert_int_equal(
		store_query(f->store, "SELECT rev FROM changes", NULL, 0, NULL, NULL, NULL), 2);
	mem_free(db);
}

/* --- Settings ------------------------------------------------------------------------------------ */

static void settings_survive_a_restart(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	assert_null(store_setting_get(f->store, "control.host", &err));
	assert_int_equal(err.code, E_NOT_FOUND);
	assert_int_equal(
		store_setting_put(f->store, "control.host", "adit.example.com", false, NULL), 0);
	assert_int_equal(store_setting_put(f->store, "ca.key", "very-secret-words", true, NULL), 0);
	reopen(f);
	char *plain = store_setting_get(f->store, "control.host", NULL);
	char *sealed = store_setting_get(f->store, "ca.key", NULL);
	assert_string_equal(plain, "adit.example.com");
	assert_string_equal(sealed, "very-secret-words");
	mem_free(plain);
	mem_free(sealed);
}

static void a_setting_can_be_replaced_sealed_or_not(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_setting_put(f->store, "x", "one", false, NULL), 0);
	assert_int_equal(store_setting_put(f->store, "x", "two", true, NULL), 0);
	char *value = store_setting_get(f->store, "x", NULL);
	assert_string_equal(value, "two");
	mem_free(value);
	assert_int_equal(store_setting_put(f->store, "x", "", false, NULL), 0);
	value = store_setting_get(f->store, "x", NULL);
	assert_string_equal(value, "");
	mem_free(value);
}

static void sealed_values_are_not_in_the_files(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_setting_put(f->store, "p", "this-is-plain", false, NULL), 0);
	assert_int_equal(store_setting_put(f->store, "s", "this-is-sealed", true, NULL), 0);
	add_tunnel(f->store, "home");
	assert_true(is_on_disk(f, BYTES_LIT("this-is-plain")));
	assert_false(is_on_disk(f, BYTES_LIT("this-is-sealed")));
	assert_false(is_on_disk(f, KEY));
	assert_false(is_on_disk(f, bytes_of(f->store->key.master, SEAL_KEY_BYTES)));
}

static void a_sealed_value_does_not_open_in_another_place(void **state)
{
	struct fixture *f = *state;
	char *db = path_in(f, "state/db/adit.db");
	struct err err = { 0 };

	assert_int_equal(store_setting_put(f->store, "one", "1", true, NULL), 0);
	assert_int_equal(store_setting_put(f->store, "two", "2", true, NULL), 0);
	meddle(db, "UPDATE settings SET sealed = (SELECT sealed FROM settings WHERE name = 'one') "
		   "WHERE name = 'two'");
	assert_null(store_setting_get(f->store, "two", &err));
	assert_int_equal(err.code, E_DENIED);
	meddle(db, "UPDATE settings SET sealed = x'01' WHERE name = 'two'");
	assert_null(store_setting_get(f->store, "two", &err));
	assert_int_equal(err.code, E_DENIED);
	mem_free(db);
}

/* --- Accounts, users, links, tokens --------------------------------------------------------------- */

static void the_first_account_is_made_once(void **state)
{
	struct fixture *f = *state;
	char one[33], two[33];

	account_of(f->store, one);
	assert_int_equal(strspn(one, "0123456789abcdef"), 32);
	reopen(f);
	account_of(f->store, two);
	assert_string_equal(one, two);
}

static void users_sign_in_with_their_password_only(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->store;

	assert_int_equal(store_user_count(s, NULL), 0);
	assert_null(store_user_first(s, NULL));
	assert_int_equal(store_user_add(s, "Root@Example.com", NULL), 0);
	assert_int_equal(store_user_add(s, "root@example.com", NULL), E_EXISTS);
	assert_int_equal(store_user_count(s, NULL), 1);
	char *first = store_user_first(s, NULL);
	assert_string_equal(first, "root@example.com");
	mem_free(first);

	/* No password yet: nothing signs in, not even an empty one. */
	assert_int_equal(store_user_check(s, "root@example.com", "", NULL), E_DENIED);
	assert_int_equal(store_user_set_password(s, "root@example.com", "", NULL), E_INVALID);
	assert_int_equal(store_user_set_password(s, "no@example.com", "pw", NULL), E_NOT_FOUND);
	assert_int_equal(store_user_set_password(s, "root@example.com", "correct horse", NULL), 0);
	reopen(f);
	s = f->store;
	assert_int_equal(store_user_check(s, "ROOT@example.com", "correct horse", NULL), 0);
	assert_int_equal(store_user_check(s, "root@example.com", "Correct horse", NULL), E_DENIED);
	assert_int_equal(store_user_check(s, "no@example.com", "correct horse", NULL), E_DENIED);
	assert_int_equal(store_user_check(s, "' OR 1=1 --", "x", NULL), E_DENIED);
	assert_false(is_on_disk(f, BYTES_LIT("correct horse")));
}

static void users_are_listed_by_age(void **state)
{
	struct fixture *f = *state;
	struct store_user *users = NULL;
	size_t count = 0;

	assert_int_equal(store_user_add(f->store, "zoe@example.com", NULL), 0);
	assert_int_equal(store_user_add(f->store, "amy@example.com", NULL), 0);
	assert_int_equal(store_user_set_password(f->store, "amy@example.com", "pw", NULL), 0);
	assert_int_equal(store_user_list(f->store, &users, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_string_equal(users[0].email, "zoe@example.com");
	assert_false(users[0].has_password);
	assert_string_equal(users[1].email, "amy@example.com");
	assert_true(users[1].has_password);
	assert_true(users[1].created_at >= users[0].created_at);
	store_user_done(&users[0]);
	store_user_done(&users[1]);
	mem_free(users);
}

static void names_that_are_no_email_address_are_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = { "",      "root",  "@example.com", "root@",
					   "a@b@c", "a b@c", "a\n@b",        "\xff@b" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(store_user_add(f->store, bad[i], NULL), E_INVALID);
}

static void a_link_signs_in_once_and_not_after_its_time(void **state)
{
	struct fixture *f = *state;
	char *db = path_in(f, "state/db/adit.db");
	struct err err = { 0 };

	assert_int_equal(store_user_add(f->store, "root@example.com", NULL), 0);
	assert_null(store_link_create(f->store, "no@example.com", 60, &err));
	assert_int_equal(err.code, E_NOT_FOUND);
	assert_null(store_link_create(f->store, "root@example.com", 0, &err));
	assert_int_equal(err.code, E_INVALID);
	assert_null(store_link_create(f->store, "root@example.com", INT64_MAX, &err));
	assert_int_equal(err.code, E_INVALID);

	char *token = store_link_create(f->store, "root@example.com", 60, NULL);
	assert_non_null(token);
	assert_false(is_on_disk(f, bytes_str(token)));
	reopen(f);
	char *email = store_link_use(f->store, token, NULL);
	assert_string_equal(email, "root@example.com");
	mem_free(email);
	assert_null(store_link_use(f->store, token, &err));
	assert_int_equal(err.code, E_DENIED);
	mem_free(token);

	token = store_link_create(f->store, "root@example.com", 60, NULL);
	meddle(db, "UPDATE links SET expires_at = 1");
	assert_null(store_link_use(f->store, token, &err));
	assert_int_equal(err.code, E_DENIED);
	mem_free(token);
	mem_free(db);
}

static void api_tokens_are_found_by_their_text_only(void **state)
{
	struct fixture *f = *state;
	struct uuid zone = add_zone(f->store, "example.com"), unknown = uuid_random();
	struct store_token found = { 0 };
	struct err err = { 0 };
	char account[33];

	account_of(f->store, account);
	assert_null(store_token_create(f->store, account, &unknown, "note", &err));
	assert_int_equal(err.code, E_NOT_FOUND);
	assert_null(store_token_create(f->store, KEY_TEXT, &zone, "another account", &err));
	assert_int_equal(err.code, E_NOT_FOUND);
	char *token = store_token_create(f->store, account, &zone, "laptop", NULL);
	assert_non_null(token);
	assert_false(is_on_disk(f, bytes_str(token)));
	reopen(f);
	assert_int_equal(store_token_find(f->store, token, &found, NULL), 0);
	assert_string_equal(found.account, account);
	assert_true(uuid_eq(&found.zone, &zone));
	assert_string_equal(found.note, "laptop");
	store_token_done(&found);
	assert_int_equal(store_token_find(f->store, "", &found, NULL), E_DENIED);
	token[0] = token[0] == 'A' ? 'B' : 'A';
	assert_int_equal(store_token_find(f->store, token, &found, NULL), E_DENIED);
	token[0] = 0;
	mem_free(token);
}

static void a_zone_takes_its_tokens_along(void **state)
{
	struct fixture *f = *state;
	struct uuid zone = add_zone(f->store, "example.com");
	struct store_token found = { 0 };
	char account[33];

	account_of(f->store, account);
	char *token = store_token_create(f->store, account, &zone, "", NULL);
	assert_int_equal(store_zone_remove(f->store, "example.com", NULL), 0);
	assert_int_equal(store_token_find(f->store, token, &found, NULL), E_DENIED);
	mem_free(token);
}

/* --- Zones ---------------------------------------------------------------------------------------- */

static void zones_are_kept_in_lower_case(void **state)
{
	struct fixture *f = *state;
	struct store_zone zone = { 0 }, *list = NULL;
	size_t count = 0;
	struct uuid id = add_zone(f->store, "Example.COM.");

	reopen(f);
	assert_int_equal(store_zone_find(f->store, "EXAMPLE.com", &zone, NULL), 0);
	assert_string_equal(zone.name, "example.com");
	assert_true(uuid_eq(&zone.id, &id));
	assert_true(zone.created_at > 0);
	store_zone_done(&zone);
	assert_int_equal(store_zone_get(f->store, &id, &zone, NULL), 0);
	assert_string_equal(zone.name, "example.com");
	store_zone_done(&zone);
	struct uuid other = uuid_random();
	assert_int_equal(store_zone_get(f->store, &other, &zone, NULL), E_NOT_FOUND);
	assert_int_equal(store_zone_find(f->store, "example", &zone, NULL), E_NOT_FOUND);
	add_zone(f->store, "home.lan");
	assert_int_equal(store_zone_list(f->store, &list, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_string_equal(list[0].name, "example.com");
	assert_string_equal(list[1].name, "home.lan");
	store_zone_done(&list[0]);
	store_zone_done(&list[1]);
	mem_free(list);
}

static void names_that_cannot_be_zones_are_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = { "",
					   ".",
					   "localhost",
					   "a..b",
					   ".example.com",
					   "-a.example",
					   "a-.example",
					   "a_b.example",
					   "*.example.com",
					   "exa mple.com",
					   "m\xc3\xbcll.de",
					   "10.0.0.1",
					   "example.com..",
					   "example.com\n" };
	struct store_zone zone = { 0 };
	char account[33], name[300];

	account_of(f->store, account);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(store_zone_add(f->store, account, bad[i], &zone, NULL), E_INVALID);
	memset(name, 'a', sizeof(name));
	memcpy(name + 64, ".com", 5);
	assert_int_equal(store_zone_add(f->store, account, name, &zone, NULL), E_INVALID);
	for (size_t i = 0; i < 250; i += 2)
		memcpy(name + i, "a.", 2);
	memcpy(name + 250, "abcd", 5);
	assert_int_equal(store_zone_add(f->store, account, name, &zone, NULL), E_INVALID);
	name[253] = 0;
	assert_int_equal(store_zone_add(f->store, account, name, &zone, NULL), 0);
	store_zone_done(&zone);
}

static void a_zone_with_routes_stays(void **state)
{
	struct fixture *f = *state;
	struct uuid zone = add_zone(f->store, "example.com"), tunnel = add_tunnel(f->store, "home");
	char account[33];

	account_of(f->store, account);
	add_route(f->store, &zone, "app.example.com", &tunnel);
	assert_int_equal(store_zone_remove(f->store, "example.com", NULL), E_BUSY);
	assert_int_equal(store_tunnel_delete(f->store, account, &tunnel, NULL), 0);
	assert_int_equal(store_zone_remove(f->store, "Example.com", NULL), 0);
	assert_int_equal(store_zone_remove(f->store, "example.com", NULL), E_NOT_FOUND);
}

/* --- Tunnels --------------------------------------------------------------------------------------- */

static void tunnels_keep_their_secret_over_a_restart(void **state)
{
	struct fixture *f = *state;
	struct store_tunnel t = { 0 };
	struct uuid id = add_tunnel(f->store, "h\xc3\xb6me server");
	char account[33];

	account_of(f->store, account);
	reopen(f);
	assert_int_equal(store_tunnel_get(f->store, account, &id, &t, NULL), 0);
	assert_true(uuid_eq(&t.id, &id));
	assert_string_equal(t.account, account);
	assert_string_equal(t.name, "h\xc3\xb6me server");
	assert_true(secret_eq(&t.secret, KEY));
	assert_true(t.created_at > 0);
	assert_int_equal(t.deleted_at, 0);
	store_tunnel_done(&t);
	assert_int_equal(store_tunnel_get(f->store, KEY_TEXT, &id, &t, NULL), E_NOT_FOUND);
}

static void tunnel_names_and_secrets_are_checked(void **state)
{
	struct fixture *f = *state;
	struct store_tunnel t = { 0 };
	struct bytes secret = KEY;
	static const char *const bad[] = { "",
					   "a\nb",
					   "a\x7f",
					   "a\xc2\x85",
					   "\xff",
					   "\xc0\xaf",
					   "\xed\xa0\x80",
					   "\xf4\x90\x80\x80",
					   "a\xe2\x82",
					   "6ff42ae2-765d-4adf-8112-31c55c1551ef" };
	char account[33], name[102];

	account_of(f->store, account);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(store_tunnel_create(f->store, account, bad[i], secret, &t, NULL),
				 E_INVALID);
	memset(name, 'n', 101);
	name[101] = 0;
	assert_int_equal(store_tunnel_create(f->store, account, name, secret, &t, NULL), E_INVALID);
	name[100] = 0;
	assert_int_equal(store_tunnel_create(f->store, account, name, secret, &t, NULL), 0);
	store_tunnel_done(&t);
	assert_int_equal(
		store_tunnel_create(f->store, account, "x", bytes_first(secret, 31), &t, NULL),
		E_INVALID);
	assert_int_equal(store_tunnel_create(f->store, "nobody", "x", secret, &t, NULL), E_INVALID);
	/* An account that does not exist. */
	assert_int_equal(store_tunnel_create(f->store, KEY_TEXT, "x", secret, &t, NULL),
			 E_NOT_FOUND);
}

static void a_name_is_free_again_once_its_tunnel_is_deleted(void **state)
{
	struct fixture *f = *state;
	struct store_tunnel t = { 0 };
	struct uuid first = add_tunnel(f->store, "home");
	struct err err = { 0 };
	char account[33];

	account_of(f->store, account);
	assert_int_equal(store_tunnel_create(f->store, account, "home", KEY, &t, &err), E_EXISTS);
	assert_string_equal(err.text, "tunnel with name already exists");
	assert_int_equal(store_tunnel_delete(f->store, KEY_TEXT, &first, NULL), E_NOT_FOUND);
	assert_int_equal(store_tunnel_delete(f->store, account, &first, NULL), 0);
	assert_int_equal(store_tunnel_delete(f->store, account, &first, NULL), E_NOT_FOUND);
	assert_int_equal(store_tunnel_get(f->store, account, &first, &t, NULL), 0);
	assert_true(t.deleted_at >= t.created_at);
	assert_int_equal(t.secret.len, 0);
	store_tunnel_done(&t);
	add_tunnel(f->store, "home");
}

static size_t count_tunnels(struct store *s, struct store_tunnel_filter f, const char *expected)
{
	struct store_tunnel *list = NULL;
	size_t count = 0, total = 0;
	char names[200] = "";

	assert_int_equal(store_tunnel_list(s, &f, &list, &count, &total, NULL), 0);
	for (size_t i = 0; i < count; i++) {
		size_t used = strlen(names);
		snprintf(names + used, sizeof(names) - used, "%s ", list[i].name);
		store_tunnel_done(&list[i]);
	}
	mem_free(list);
	assert_string_equal(names, expected);
	return total;
}

static void tunnels_are_listed_by_filter_and_page(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->store;
	char account[33];

	account_of(s, account);
	struct uuid a = add_tunnel(s, "web-a");
	add_tunnel(s, "web-b");
	struct uuid db = add_tunnel(s, "db_1");
	add_tunnel(s, "Web-c");
	assert_int_equal(store_tunnel_delete(s, account, &db, NULL), 0);

#define FIND(expected, deleted, ...)                                         \
	count_tunnels(s,                                                     \
		      (struct store_tunnel_filter){ .account = account,      \
						    .is_deleted = (deleted), \
						    __VA_ARGS__ },           \
		      expected)
	assert_int_equal(FIND("web-a web-b db_1 Web-c ", -1, .name = NULL), 4);
	assert_int_equal(FIND("db_1 ", 1, .name = NULL), 1);
	assert_int_equal(FIND("web-a web-b Web-c ", 0, .name = NULL), 3);
	assert_int_equal(FIND("web-b ", -1, .name = "web-b"), 1);
	assert_int_equal(FIND("web-a web-b ", -1, .name_prefix = "web"), 2);
	assert_int_equal(FIND("", -1, .name_prefix = "%"), 0);
	assert_int_equal(FIND("db_1 Web-c ", -1, .exclude_prefix = "web-"), 2);
	assert_int_equal(FIND("web-a web-b db_1 Web-c ", -1, .exclude_prefix = ""), 4);
	assert_int_equal(FIND("web-a ", -1, .id = &a), 1);
	assert_int_equal(FIND("web-b db_1 ", -1, .offset = 1, .limit = 2), 4);
	assert_int_equal(FIND("", -1, .offset = SIZE_MAX), 4);
	assert_int_equal(FIND("", -1, .existed_at = 1), 0);
	assert_int_equal(FIND("web-a web-b Web-c ", -1, .existed_at = clock_wall_now() + 1), 3);
#undef FIND
	assert_int_equal(count_tunnels(s, (struct store_tunnel_filter){ .account = KEY_TEXT }, ""),
			 0);
	assert_int_equal(count_tunnels(s, (struct store_tunnel_filter){ .is_deleted = 1 }, "db_1 "),
			 1);
}

/* --- Routes ------------------------------------------------------------------------------------------ */

static void how_requests_are_shared_is_kept(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->store;
	struct uuid zone = add_zone(s, "example.com"), id = add_tunnel(s, "one");
	const struct store_balance set = { .policy = "cookie", .eject_on_5xx = STORE_NO },
				   unset = { 0 };
	struct store_tunnel t = { 0 };
	struct store_route r = { 0 };
	const struct uuid nobody = { { 9 } };
	char account[33];

	account_of(s, account);
	add_route(s, &zone, "app.example.com", &id);
	assert_int_equal(store_tunnel_get(s, account, &id, &t, NULL), 0);
	assert_string_equal(t.balance.policy, "");
	assert_int_equal(t.balance.eject_on_5xx, STORE_UNSET);
	store_tunnel_done(&t);
	assert_int_equal(store_tunnel_set_balance(s, account, &id, &set, NULL), 0);
	assert_int_equal(store_route_set_balance(s, "App.example.com", &set, NULL), 0);
	assert_int_equal(store_tunnel_get(s, account, &id, &t, NULL), 0);
	assert_string_equal(t.balance.policy, "cookie");
	assert_int_equal(t.balance.eject_on_5xx, STORE_NO);
	store_tunnel_done(&t);
	/* Routing it anew keeps it. */
	add_route(s, &zone, "app.example.com", &id);
	assert_int_equal(store_route_get(s, "app.example.com", &r, NULL), 0);
	assert_string_equal(r.balance.policy, "cookie");
	assert_true(uuid_eq(&r.tunnel, &id));
	store_route_done(&r);
	assert_int_equal(store_route_set_balance(s, "app.example.com", &unset, NULL), 0);
	assert_int_equal(store_route_get(s, "app.example.com", &r, NULL), 0);
	assert_string_equal(r.balance.policy, "");
	store_route_done(&r);

	int64_t rev = store_revision(s, NULL);
	assert_int_equal(store_route_get(s, "no.example.com", &r, NULL), E_NOT_FOUND);
	assert_int_equal(store_route_get(s, "not a name", &r, NULL), E_NOT_FOUND);
	assert_int_equal(store_route_set_balance(s, "no.example.com", &set, NULL), E_NOT_FOUND);
	assert_int_equal(store_tunnel_set_balance(s, account, &nobody, &set, NULL), E_NOT_FOUND);
	assert_int_equal(store_tunnel_delete(s, account, &id, NULL), 0);
	assert_int_equal(store_tunnel_set_balance(s, account, &id, &set, NULL), E_NOT_FOUND);
	assert_int_equal(store_revision(s, NULL), rev + 1);
}

static void a_route_is_new_unchanged_refused_or_updated(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->store;
	struct uuid zone = add_zone(s, "example.com");
	struct uuid one = add_tunnel(s, "one"), two = add_tunnel(s, "two");
	struct store_route *routes = NULL;
	enum store_route_change change = ROUTE_UPDATED;
	size_t count = 0;
	struct err err = { 0 };

	assert_int_equal(add_route(s, &zone, "App.Example.com", &one), ROUTE_NEW);
	int64_t rev = store_revision(s, NULL);
	assert_int_equal(store_route_put(s, &zone, "app.example.com.", &one, false, &change, NULL),
			 0);
	assert_int_equal(change, ROUTE_UNCHANGED);
	assert_int_equal(store_revision(s, NULL), rev);
	assert_int_equal(store_route_put(s, &zone, "app.example.com", &two, false, &change, &err),
			 E_EXISTS);
	assert_int_equal(add_route(s, &zone, "app.example.com", &two), ROUTE_UPDATED);
	assert_int_equal(add_route(s, &zone, "*.dev.example.com", &one), ROUTE_NEW);
	assert_int_equal(add_route(s, &zone, "_acme.example.com", &one), ROUTE_NEW);

	reopen(f);
	assert_int_equal(store_route_list(f->store, &routes, &count, NULL), 0);
	assert_int_equal(count, 3);
	assert_string_equal(routes[0].hostname, "*.dev.example.com");
	assert_string_equal(routes[2].hostname, "app.example.com");
	assert_true(uuid_eq(&routes[2].tunnel, &two));
	assert_true(uuid_eq(&routes[2].zone, &zone));
	for (size_t i = 0; i < count; i++)
		store_route_done(&routes[i]);
	mem_free(routes);
}

static void a_route_needs_a_zone_a_living_tunnel_and_a_hostname(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->store;
	struct uuid zone = add_zone(s, "example.com"), tunnel = add_tunnel(s, "one");
	struct uuid nothing = uuid_random();
	enum store_route_change change;
	static const char *const bad[] = { "",
					   "*",
					   "*.",
					   "a.*.example.com",
					   "app",
					   "a b.example.com",
					   "x/y.example.com",
					   "**.example.com" };
	char account[33];

	account_of(s, account);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(store_route_put(s, &zone, bad[i], &tunnel, true, &change, NULL),
				 E_INVALID);
	assert_int_equal(store_route_put(s, &zone, "a.example.com", &nothing, true, &change, NULL),
			 E_NOT_FOUND);
	assert_int_equal(store_route_put(s, &nothing, "a.example.com", &tunnel, true, &change, NULL),
			 E_NOT_FOUND);
	assert_int_equal(store_tunnel_delete(s, account, &tunnel, NULL), 0);
	assert_int_equal(store_route_put(s, &zone, "a.example.com", &tunnel, true, &change, NULL),
			 E_NOT_FOUND);
}

static void a_deleted_tunnel_takes_its_routes_along(void **state)
{
	struct fixture *f = *state;
	struct uuid zone = add_zone(f->store, "example.com"), tunnel = add_tunnel(f->store, "one");
	struct store_route *routes = NULL;
	size_t count = 1;
	char account[33];

	account_of(f->store, account);
	add_route(f->store, &zone, "a.example.com", &tunnel);
	assert_int_equal(store_tunnel_delete(f->store, account, &tunnel, NULL), 0);
	assert_int_equal(store_route_list(f->store, &routes, &count, NULL), 0);
	assert_int_equal(count, 0);
	mem_free(routes);
}

/* --- Certificates ------------------------------------------------------------------------------------ */

static void certificates_keep_their_sealed_key(void **state)
{
	struct fixture *f = *state;
	char key[] = "-----BEGIN PRIVATE KEY-----";
	struct store_certificate c = { .name = (char *)"zone example.com",
				       .hostnames = (char *)"*.example.com\nexample.com",
				       .issuer = (char *)"aa:bb",
				       .expires_at = 1234,
				       .cert_pem = (char *)"the certificate",
				       .key_pem = { (uint8_t *)key, strlen(key) } };
	struct store_certificate *list = NULL, got = { 0 };
	const char *const drop[] = { "zone example.com", "zone unknown" };
	size_t count = 0;
	int64_t rev = store_revision(f->store, NULL);

	assert_int_equal(store_certificates_change(f->store, NULL, 0, NULL, 0, NULL), 0);
	assert_int_equal(store_revision(f->store, NULL), rev);
	assert_int_equal(store_certificates_change(f->store, &c, 1, NULL, 0, NULL), 0);
	assert_false(is_on_disk(f, bytes_str(key)));
	reopen(f);
	assert_int_equal(store_certificate_list(f->store, &list, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_string_equal(list[0].name, c.name);
	assert_string_equal(list[0].hostnames, c.hostnames);
	assert_string_equal(list[0].issuer, "aa:bb");
	assert_int_equal(list[0].rev, rev + 1);
	assert_int_equal(list[0].expires_at, 1234);
	assert_null(list[0].cert_pem);
	store_certificate_done(&list[0]);
	mem_free(list);
	assert_int_equal(store_certificate_get(f->store, c.name, &got, NULL), 0);
	assert_string_equal(got.cert_pem, "the certificate");
	assert_true(secret_eq(&got.key_pem, bytes_str(key)));
	store_certificate_done(&got);
	/* What the key process has sealed comes back as it was, and is of no use to who has the store open. */
	uint8_t boxed[] = { SEAL_FORM_KEY, 1, 2, 3 };
	c.key_pem = (struct secret){ 0 };
	c.boxed_key = (struct secret){ boxed, sizeof(boxed) };
	assert_int_equal(store_certificates_change(f->store, &c, 1, NULL, 0, NULL), 0);
	assert_int_equal(store_certificate_get(f->store, c.name, &got, NULL), 0);
	assert_int_equal(got.key_pem.len, 0);
	assert_true(secret_eq(&got.boxed_key, bytes_of(boxed, sizeof(boxed))));
	store_certificate_done(&got);
	assert_int_equal(store_certificates_change(f->store, NULL, 0, drop, 2, NULL), 0);
	assert_int_equal(store_certificate_get(f->store, c.name, &got, NULL), E_NOT_FOUND);
}

/* --- Backup ------------------------------------------------------------------------------------------- */

static void a_backup_restores_everything(void **state)
{
	struct fixture *f = *state;
	char *backup = path_in(f, "backup"), *dir = path_in(f, "restored");
	char *db = path_in(f, "restored/db/adit.db"), *content = mem_alloc(16 << 20);
	uint8_t master[SEAL_KEY_BYTES];
	struct store_tunnel t = { 0 };
	char account[33], other[33];
	size_t len = 0;

	account_of(f->store, account);
	add_zone(f->store, "example.com");
	struct uuid id = add_tunnel(f->store, "home");
	int64_t rev = store_revision(f->store, NULL);
	assert_int_equal(store_backup(f->store, backup, NULL), 0);
	assert_int_equal(mode_of(backup), 0600);
	assert_int_equal(store_backup(f->store, backup, NULL), E_EXISTS);
	/* Written afterwards: not in the backup. */
	add_zone(f->store, "later.example");
	memcpy(master, f->store->key.master, sizeof(master));
	f->store = store_close(f->store);

	assert_int_equal(store_restore(backup, dir, NULL), 0);
	assert_int_equal(mode_of(dir), 0700);
	struct store *s = open_ok(dir, false);
	assert_int_equal(store_revision(s, NULL), rev);
	account_of(s, other);
	assert_string_equal(account, other);
	assert_int_equal(store_tunnel_get(s, account, &id, &t, NULL), 0);
	assert_true(secret_eq(&t.secret, KEY));
	store_tunnel_done(&t);
	store_close(s);
	/* The key went to its own file and left no trace in the database. */
	assert_int_equal(file_load(db, content, 16 << 20, &len, NULL), 0);
	assert_null(memmem(content, len, master, sizeof(master)));
	assert_int_equal(mode_of(db), 0600);
	assert_int_equal(file_load(backup, content, 16 << 20, &len, NULL), 0);
	assert_non_null(memmem(content, len, master, sizeof(master)));

	struct err err = { 0 };
	assert_int_equal(store_restore(backup, dir, &err), E_EXISTS);
	mem_free(backup);
	mem_free(dir);
	mem_free(db);
	mem_free(content);
}

static void a_backup_without_the_master_key_is_made_whole_by_who_has_it(void **state)
{
	struct fixture *f = *state;
	char *backup = path_in(f, "partial.db"), *dir = path_in(f, "from-partial");
	struct err err = { 0 };

	f->store = store_close(f->store);
	struct seal_key key;
	assert_int_equal(seal_key_load(f->state, false, &key, NULL), 0);
	seal_key_forget_master(&key);
	f->store = store_open_with(f->state, &key, NULL);
	assert_int_equal(store_backup(f->store, backup, NULL), 0);
	assert_int_equal(store_restore(backup, dir, &err), E_INVALID);
	assert_int_equal(store_backup_complete(backup, f->state, NULL), 0);
	/* And once more, as a program of before would have given it. */
	assert_int_equal(store_backup_complete(backup, f->state, NULL), 0);
	assert_int_equal(mode_of(backup), 0600);
	mem_free(dir);
	dir = path_in(f, "from-whole");
	assert_int_equal(store_restore(backup, dir, NULL), 0);
	mem_free(backup);
	mem_free(dir);
}

static void what_is_not_a_backup_is_not_restored(void **state)
{
	struct fixture *f = *state;
	char *dir = path_in(f, "restored"), *missing = path_in(f, "missing");
	char *text = path_in(f, "text"), *db = path_in(f, "state/db/adit.db");
	struct err err = { 0 };

	assert_int_equal(store_restore(missing, dir, &err), E_NOT_FOUND);
	assert_int_equal(file_create(text, BYTES_LIT("hello, this is only text"), 0600, NULL), 0);
	assert_int_equal(store_restore(text, dir, &err), E_INVALID);
	/* A database without its key. */
	f->store = store_close(f->store);
	assert_int_equal(store_restore(db, dir, &err), E_INVALID);
	assert_non_null(strstr(err.text, "not a backup"));
	assert_null(store_open(dir, false, &err));
	assert_int_equal(err.code, E_NOT_FOUND);
	/* Nothing is left that would be in the way of the right one. */
	f->store = open_ok(f->state, false);
	char *backup = path_in(f, "backup");
	assert_int_equal(store_backup(f->store, backup, NULL), 0);
	assert_int_equal(store_restore(backup, dir, &err), 0);
	mem_free(dir);
	mem_free(missing);
	mem_free(text);
	mem_free(db);
	mem_free(backup);
}

static void a_backup_may_run_beside_writers(void **state)
{
	struct fixture *f = *state;
	char *backup = path_in(f, "backup");
	struct store *second = open_ok(f->state, false);

	assert_int_equal(store_begin_write(second, NULL), 0);
	assert_int_equal(store_backup(f->store, backup, NULL), 0);
	assert_int_equal(store_end_write(second, 0, "test", NULL), 0);
	store_close(second);
	mem_free(backup);
}

/* --- Damage --------------------------------------------------------------------------------------------- */

static void rows_that_adit_did_not_write_are_an_error(void **state)
{
	struct fixture *f = *state;
	char *db = path_in(f, "state/db/adit.db");
	struct store_zone *zones = NULL;
	size_t count = 0;
	struct err err = { 0 };

	add_zone(f->store, "example.com");
	meddle(db, "UPDATE zones SET id = 'not a uuid'");
	assert_int_equal(store_zone_list(f->store, &zones, &count, &err), E_INTERNAL);
	assert_non_null(strstr(err.text, "did not write"));
	mem_free(db);
}

static void failures_without_an_err_are_fine(void **state)
{
	struct fixture *f = *state;
	char *nowhere = path_in(f, "nowhere/deep");

	assert_null(store_open(nowhere, true, NULL));
	assert_null(store_open(nowhere, false, NULL));
	assert_null(store_setting_get(f->store, "nothing", NULL));
	assert_null(store_link_use(f->store, "nothing", NULL));
	assert_true(store_backup(f->store, nowhere, NULL) < 0);
	assert_true(store_restore(nowhere, nowhere, NULL) < 0);
	mem_free(nowhere);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_create_a_missing_store_is_not_found),
		TEST(files_are_for_their_owner_only),
		TEST(opening_again_changes_nothing),
		TEST(an_init_cut_short_is_finished_by_the_next),
		TEST(a_database_of_before_is_used_where_it_is_until_it_is_moved_in),
		TEST(a_journal_that_a_killed_process_left_moves_with_its_database),
		TEST(of_two_databases_none_is_taken),
		TEST(it_opens_with_a_key_that_was_read_before),
		TEST(a_lost_key_is_not_replaced),
		TEST(a_wrong_key_is_refused),
		TEST(a_key_that_is_open_to_others_or_malformed_is_refused),
		TEST(a_database_of_a_newer_program_is_refused),
		TEST(a_foreign_database_is_refused),
		TEST(migrations_run_in_order_once_and_whole),
		TEST(two_openers_see_each_others_writes),
		TEST(processes_that_create_and_write_at_once_agree),
		TEST(kill_9_loses_no_acknowledged_write),
		TEST(every_write_raises_the_revision_and_failed_ones_do_not),
		TEST(old_changes_are_forgotten_but_the_revision_stays),
		TEST(settings_survive_a_restart),
		TEST(a_setting_can_be_replaced_sealed_or_not),
		TEST(sealed_values_are_not_in_the_files),
		TEST(a_sealed_value_does_not_open_in_another_place),
		TEST(the_first_account_is_made_once),
		TEST(users_sign_in_with_their_password_only),
		TEST(users_are_listed_by_age),
		TEST(names_that_are_no_email_address_are_refused),
		TEST(a_link_signs_in_once_and_not_after_its_time),
		TEST(api_tokens_are_found_by_their_text_only),
		TEST(a_zone_takes_its_tokens_along),
		TEST(zones_are_kept_in_lower_case),
		TEST(names_that_cannot_be_zones_are_refused),
		TEST(a_zone_with_routes_stays),
		TEST(tunnels_keep_their_secret_over_a_restart),
		TEST(tunnel_names_and_secrets_are_checked),
		TEST(a_name_is_free_again_once_its_tunnel_is_deleted),
		TEST(tunnels_are_listed_by_filter_and_page),
		TEST(a_route_is_new_unchanged_refused_or_updated),
		TEST(how_requests_are_shared_is_kept),
		TEST(a_route_needs_a_zone_a_living_tunnel_and_a_hostname),
		TEST(a_deleted_tunnel_takes_its_routes_along),
		TEST(certificates_keep_their_sealed_key),
		TEST(a_backup_restores_everything),
		TEST(a_backup_without_the_master_key_is_made_whole_by_who_has_it),
		TEST(what_is_not_a_backup_is_not_restored),
		TEST(a_backup_may_run_beside_writers),
		TEST(rows_that_adit_did_not_write_are_an_error),
		TEST(failures_without_an_err_are_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
