/* What Access is configured to be, and which tokens of which application are over. */
#include "base/mem.h"
#include "store/store_access.h"
#include "store/store_internal.h"

static char *body_place(const char *kind, const char *id)
{
	return mem_printf("access %s %s", kind, id);
}

/* --- Objects --------------------------------------------------------------------------------- */

void store_access_object_done(struct store_access_object *o)
{
	o->kind = mem_free(o->kind);
	o->id = mem_free(o->id);
	secret_done(&o->body);
}

static void object_item_done(void *item)
{
	store_access_object_done(item);
}

static int on_object(void *ctx, const struct store_value *row)
{
	struct store_rows *rows = ctx;
	struct store_access_object *o = store_rows_add(rows);
	char *place;
	int r;

	o->kind = store_column_text(&row[0]);
	o->id = store_column_text(&row[1]);
	place = body_place(o->kind, o->id);
	r = seal_open(&rows->store->key, row[2].bytes, place, &o->body, NULL);
	mem_free(place);
	return r < 0 ? E_INTERNAL : 0;
}

int store_access_object_list(struct store *s, struct store_access_object **ret, size_t *ret_count,
			     struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = object_item_done };
	int r = store_rows_query(&rows,
				 "SELECT kind, id, sealed_body FROM access_objects "
				 "ORDER BY kind, rank, id",
				 NULL, 0, on_object, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

/* `rank` counts for a new one only. */
static int put_object(struct store *s, const char *kind, const char *id, struct bytes body,
		      int64_t rank, struct err *err)
{
	char *place = body_place(kind, id);
	size_t len = 0;
	uint8_t *sealed = seal_value(&s->key, body, place, &len);
	int r = store_query(s,
			    "INSERT INTO access_objects (kind, id, rank, sealed_body) "
			    "VALUES ($1, $2, $3, $4) ON CONFLICT (kind, id) "
			    "DO UPDATE SET sealed_body = excluded.sealed_body",
			    STORE_PARAMS(store_text(kind), store_text(id), store_int(rank),
					 store_blob(bytes_of(sealed, len))),
			    NULL, NULL, err);

	mem_free(place);
	mem_free(sealed);
	return r;
}

int store_access_object_put(struct store *s, const char *kind, const char *id, struct bytes body,
			    struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = put_object(s, kind, id, body, s->rev, err);
	r = store_end_write(s, r, "Access changed", err);
	return r < 0 ? r : 0;
}

int store_access_object_remove(struct store *s, const char *kind, const char *id, struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s, "DELETE FROM access_objects WHERE kind = $1 AND id = $2 RETURNING id",
			STORE_PARAMS(store_text(kind), store_text(id)), NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "there is no %s %s", kind, id);
	r = store_end_write(s, r, "Access changed", err);
	return r < 0 ? r : 0;
}

int store_access_object_replace(struct store *s, const struct store_access_object *objects,
				size_t count, struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s, "DELETE FROM access_objects", NULL, 0, NULL, NULL, err);
	for (size_t i = 0; i < count && r >= 0; i++)
		r = put_object(s, objects[i].kind, objects[i].id,
			       bytes_of(objects[i].body.ptr, objects[i].body.len), (int64_t)i, err);
	r = store_end_write(s, r, "Access changed", err);
	return r < 0 ? r : 0;
}

/* --- Revocations ------------------------------------------------------------------------------ */

void store_revocation_done(struct store_revocation *r)
{
	r->app = mem_free(r->app);
}

static void revocation_item_done(void *item)
{
	store_revocation_done(item);
}

static int on_revocation(void *ctx, const struct store_value *row)
{
	struct store_revocation *r = store_rows_add(ctx);

	r->app = store_column_text(&row[0]);
	r->before = row[1].number;
	return 0;
}

int store_revocation_put(struct store *s, const char *app, usec before, struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s,
			"INSERT INTO access_revocations (app, before) VALUES ($1, $2) "
			"ON CONFLICT (app) DO UPDATE SET before = CASE WHEN excluded.before > "
			"access_revocations.before THEN excluded.before ELSE "
			"access_revocations.before + 1 END",
			STORE_PARAMS(store_text(app), store_int(before)), NULL, NULL, err);
	r = store_end_write(s, r, "tokens revoked", err);
	return r < 0 ? r : 0;
}

int store_revocation_list(struct store *s, struct store_revocation **ret, size_t *ret_count,
			  struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret),
				   .item_done = revocation_item_done };
	int r = store_rows_query(&rows, "SELECT app, before FROM access_revocations ORDER BY app",
				 NULL, 0, on_revocation, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}
