/* Shared between the files of src/store; nobody else includes it (tests of the store do). */
#pragma once

#include "store/schema/schema.h"
#include "store/seal.h"
#include "store/store.h"
#include "store/store_driver.h"

struct store {
	uint32_t magic;
	const struct store_driver *driver;
	struct store_db *db; /* owned */
	char *dir;           /* owned */
	struct seal_key key;
	bool has_key; /* it was given */
	int64_t rev;  /* of the write transaction that is open, else of the last one */
	bool is_read_only;
};

/* Changes older than this many revisions are forgotten. A node that was away longer reads everything
 * anew anyway; a row has about 60 bytes. */
#define STORE_KEPT_CHANGES 10000

/* Runs `count` steps, as far as the database does not have them yet. E_UNSUPPORTED: it has more. */
int store_migrate(struct store *s, const struct schema_step *steps, size_t count, struct err *err);

/* A write: begin, statements, end. end() with a negative `result` or no `what` rolls back and returns
 * `result`; otherwise it appends to `changes` and commits. s->rev is the new revision in between. */
int store_begin_write(struct store *s, struct err *err);
int store_end_write(struct store *s, int result, const char *what, struct err *err);

/* --- Parameters and columns ------------------------------------------------------------------ */

static inline struct store_value store_int(int64_t number)
{
	return (struct store_value){ STORE_INT, number, BYTES_NONE };
}

static inline struct store_value store_blob(struct bytes b)
{
	return (struct store_value){ STORE_BLOB, 0, b };
}

/* NULL text is SQL's NULL. */
static inline struct store_value store_text(const char *text)
{
	return (struct store_value){ text ? STORE_TEXT : STORE_NULL, 0, bytes_str(text) };
}

#define STORE_PARAMS(...)                            \
	(const struct store_value[]){ __VA_ARGS__ }, \
		sizeof((const struct store_value[]){ __VA_ARGS__ }) / sizeof(struct store_value)

int store_query(struct store *s, const char *sql, const struct store_value *params,
		size_t param_count, store_on_row *on_row, void *ctx, struct err *err);

/* E_INTERNAL when a column does not hold what the schema promises (a damaged database). */
int store_column_uuid(const struct store_value *v, struct uuid *ret);
int store_column_account(const struct store_value *v, char ret[33]);
/* NUL-terminated copy, owned; NULL for SQL's NULL. */
char *store_column_text(const struct store_value *v);

/* Of a struct store_balance: two parameters, and from two columns. */
struct store_value store_policy(const struct store_balance *b);
struct store_value store_choice(enum store_choice choice);
void store_column_balance(const struct store_value *v, struct store_balance *ret);

/* A result that grows by one zeroed item a row. */
struct store_rows {
	struct store *store;
	void *items; /* owned until taken */
	size_t item_size, count, cap;
	void (*item_done)(void *item);
};

void *store_rows_add(struct store_rows *rows);
void store_rows_drop(struct store_rows *rows); /* everything, with item_done() */
/* Runs a query into `rows`; on failure they are empty. */
int store_rows_query(struct store_rows *rows, const char *sql, const struct store_value *params,
		     size_t param_count, store_on_row *on_row, struct err *err);
/* Moves the first item to *ret; E_NOT_FOUND (without text) when there is none. */
int store_rows_first(struct store_rows *rows, void *ret);

/* Inside of a write: no A, AAAA or CNAME record may stand beside a route. E_EXISTS when one does and
 * !overwrite, else they are removed; returns how many. */
int store_dns_make_room(struct store *s, const char *hostname, bool overwrite, struct err *err);

/* Inside of a write. */
int store_certificate_put(struct store *s, const struct store_certificate *c, struct err *err);
