/* What happened: who did what, from where, with which outcome. */
#include "base/mem.h"
#include "store/store_access.h"
#include "store/store_internal.h"

void store_audit_done(struct store_audit *a)
{
	a->action = mem_free(a->action);
	a->actor = mem_free(a->actor);
	a->address = mem_free(a->address);
	a->subject = mem_free(a->subject);
	a->outcome = mem_free(a->outcome);
	a->detail = mem_free(a->detail);
}

static void item_done(void *item)
{
	store_audit_done(item);
}

static int on_entry(void *ctx, const struct store_value *row)
{
	struct store_audit *a = store_rows_add(ctx);

	a->id = row[0].number;
	a->at = row[1].number;
	a->action = store_column_text(&row[2]);
	a->actor = store_column_text(&row[3]);
	a->address = store_column_text(&row[4]);
	a->subject = store_column_text(&row[5]);
	a->outcome = store_column_text(&row[6]);
	a->detail = store_column_text(&row[7]);
	return 0;
}

static int on_id(void *ctx, const struct store_value *row)
{
	*(int64_t *)ctx = row[0].number;
	return 0;
}

int store_audit_add(struct store *s, struct store_audit *a, struct err *err)
{
	int r;

	if (s->is_read_only)
		return err_set(err, E_BUSY, "another process has taken this edge over");
	a->at = clock_wall_now();
	r = store_query(s,
			"INSERT INTO audit (at, action, actor, address, subject, outcome, detail) "
			"VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
			STORE_PARAMS(store_int(a->at), store_text(a->action), store_text(a->actor),
				     store_text(a->address), store_text(a->subject),
				     store_text(a->outcome), store_text(a->detail)),
			on_id, &a->id, err);
	return r < 0 ? r : 0;
}

int store_audit_list(struct store *s, usec since, size_t limit, struct store_audit **ret,
		     size_t *ret_count, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = item_done };
	int r = store_rows_query(
		&rows,
		"SELECT * FROM (SELECT id, at, action, actor, address, subject, "
		"outcome, detail FROM audit WHERE at >= $1 ORDER BY id DESC LIMIT $2) "
		"AS newest ORDER BY id",
		STORE_PARAMS(store_int(since), store_int((int64_t)limit)), on_entry, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

int store_audit_sweep(struct store *s, usec before, int64_t keep, struct err *err)
{
	int r;

	if (s->is_read_only)
		return 0;
	r = store_query(s,
			"DELETE FROM audit WHERE at < $1 OR id <= (SELECT max(id) FROM audit) - $2",
			STORE_PARAMS(store_int(before), store_int(keep)), NULL, NULL, err);
	return r < 0 ? r : 0;
}
