/* Passkeys of people who sign in here. */
#include "base/mem.h"
#include "store/store_access.h"
#include "store/store_internal.h"

#define PASSKEY_QUERY                                                                    \
	"SELECT k.id, k.person, p.email, k.name, k.public_key, k.algorithm, k.counter, " \
	"k.created_at FROM access_passkeys k JOIN access_people p ON p.id = k.person "

void store_passkey_done(struct store_passkey *k)
{
	k->id = mem_free(k->id);
	k->email = mem_free(k->email);
	k->name = mem_free(k->name);
	secret_done(&k->public_key);
}

static void item_done(void *item)
{
	store_passkey_done(item);
}

static int on_passkey(void *ctx, const struct store_value *row)
{
	struct store_passkey *k = store_rows_add(ctx);
	int r = store_column_uuid(&row[1], &k->person);

	k->id = store_column_text(&row[0]);
	k->email = store_column_text(&row[2]);
	k->name = store_column_text(&row[3]);
	secret_set(&k->public_key, row[4].bytes);
	k->algorithm = (int)row[5].number;
	k->counter = (uint32_t)row[6].number;
	k->created_at = row[7].number;
	return r;
}

int store_passkey_add(struct store *s, const struct store_passkey *k, struct err *err)
{
	char person[UUID_TEXT_SIZE];
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(
		s,
		"INSERT INTO access_passkeys (id, person, name, public_key, algorithm, counter, "
		"created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING "
		"RETURNING id",
		STORE_PARAMS(store_text(k->id), store_text(uuid_text(&k->person, person)),
			     store_text(k->name),
			     store_blob(bytes_of(k->public_key.ptr, k->public_key.len)),
			     store_int(k->algorithm), store_int(k->counter),
			     store_int(clock_wall_now())),
		NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_EXISTS, "this passkey is known already");
	r = store_end_write(s, r, "passkey added", err);
	return r < 0 ? r : 0;
}

int store_passkey_find(struct store *s, const char *id, struct store_passkey *ret, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = item_done };
	int r = store_rows_query(&rows, PASSKEY_QUERY "WHERE k.id = $1",
				 STORE_PARAMS(store_text(id)), on_passkey, err);

	if (r < 0)
		return r;
	r = store_rows_first(&rows, ret);
	return r == E_NOT_FOUND ? err_set(err, r, "there is no such passkey") : r;
}

int store_passkey_list(struct store *s, const struct uuid *person, struct store_passkey **ret,
		       size_t *ret_count, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = item_done };
	char text[UUID_TEXT_SIZE];
	int r = store_rows_query(&rows,
				 PASSKEY_QUERY "WHERE k.person = $1 ORDER BY k.created_at, k.id",
				 STORE_PARAMS(store_text(uuid_text(person, text))), on_passkey, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

static int change(struct store *s, const char *sql, const struct store_value *params, size_t count,
		  const char *what, struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s, sql, params, count, NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "there is no such passkey");
	r = store_end_write(s, r, what, err);
	return r < 0 ? r : 0;
}

int store_passkey_count(struct store *s, const char *id, uint32_t counter, struct err *err)
{
	return change(s, "UPDATE access_passkeys SET counter = $1 WHERE id = $2 RETURNING id",
		      STORE_PARAMS(store_int(counter), store_text(id)), "passkey used", err);
}

int store_passkey_remove(struct store *s, const struct uuid *person, const char *id, struct err *err)
{
	char text[UUID_TEXT_SIZE];

	return change(s, "DELETE FROM access_passkeys WHERE person = $1 AND id = $2 RETURNING id",
		      STORE_PARAMS(store_text(uuid_text(person, text)), store_text(id)),
		      "passkey removed", err);
}
