/* Other name servers: keys shared with them, and who may have whole zones. */
#include "base/mem.h"
#include "store/store_internal.h"

/* --- Keys ------------------------------------------------------------------------------------- */

void store_dns_key_done(struct store_dns_key *k)
{
	k->name = mem_free(k->name);
	k->algorithm = mem_free(k->algorithm);
	secret_done(&k->secret);
}

static void key_item_done(void *item)
{
	store_dns_key_done(item);
}

static char *key_place(const char *name)
{
	return mem_printf("dns key %s", name);
}

static int on_key(void *ctx, const struct store_value *row)
{
	struct store_rows *rows = ctx;
	struct store_dns_key *k = store_rows_add(rows);

	k->name = store_column_text(&row[0]);
	k->algorithm = store_column_text(&row[1]);
	k->created_at = row[3].number;
	char *place = key_place(k->name);
	int r = seal_open(&rows->store->key, row[2].bytes, place, &k->secret, NULL);
	mem_free(place);
	/* It is a text, and the NUL behind it was sealed, too. */
	return r < 0 || k->secret.len == 0 || k->secret.ptr[k->secret.len - 1] ? E_INTERNAL : 0;
}

int store_dns_key_list(struct store *s, struct store_dns_key **ret, size_t *ret_count,
		       struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = key_item_done };
	int r = store_rows_query(&rows,
				 "SELECT name, algorithm, sealed_secret, created_at "
				 "FROM dns_keys ORDER BY name",
				 NULL, 0, on_key, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

int store_dns_key_add(struct store *s, struct store_dns_key *k, struct err *err)
{
	int r = store_begin_write(s, err);
	size_t len = 0;

	if (r < 0)
		return r;
	k->created_at = clock_wall_now();
	char *place = key_place(k->name);
	uint8_t *sealed = seal_value(&s->key, bytes_of(k->secret.ptr, k->secret.len), place, &len);
	r = store_query(s,
			"INSERT INTO dns_keys (name, algorithm, sealed_secret, created_at) "
			"VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING RETURNING name",
			STORE_PARAMS(store_text(k->name), store_text(k->algorithm),
				     store_blob(bytes_of(sealed, len)), store_int(k->created_at)),
			NULL, NULL, err);
	mem_free(sealed);
	mem_free(place);
	if (r == 0)
		r = err_set(err, E_EXISTS, "there is a key %s already", k->name);
	r = store_end_write(s, r, "DNS key added", err);
	return r < 0 ? r : 0;
}

static int on_user(void *ctx, const struct store_value *row)
{
	struct store_rows *rows = ctx;

	*(char **)store_rows_add(rows) = store_column_text(&row[0]);
	return 0;
}

static void user_done(void *item)
{
	mem_free(*(char **)item);
}

/* E_BUSY names them. */
static int check_unused(struct store *s, const char *name, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(char *), .item_done = user_done };
	int r = store_rows_query(
		&rows,
		"SELECT 'the secondary ' || address FROM dns_secondaries "
		"WHERE key = $1 UNION ALL "
		"SELECT 'updates of ' || z.name FROM dns_updates u "
		"JOIN zones z ON z.id = u.zone WHERE LOWER(u.key_name) = $1 ORDER BY 1",
		STORE_PARAMS(store_text(name)), on_user, err);
	char *users = NULL;

	if (r < 0)
		return r;
	for (size_t i = 0; i < rows.count; i++) {
		char *more = mem_printf("%s%s%s", users ? users : "", users ? ", " : "",
					((char **)rows.items)[i]);
		mem_free(users);
		users = more;
		user_done((char **)rows.items + i);
	}
	mem_free(rows.items);
	if (users)
		r = err_set(err, E_BUSY, "the key %s is in use: %.300s", name, users);
	mem_free(users);
	return r;
}

static int remove_key(struct store *s, const char *name, struct err *err)
{
	int r = check_unused(s, name, err);

	if (r == 0)
		r = store_query(s, "DELETE FROM dns_keys WHERE name = $1 RETURNING name",
				STORE_PARAMS(store_text(name)), NULL, NULL, err);
	return r == 0 ? err_set(err, E_NOT_FOUND, "there is no key %s", name) : r;
}

int store_dns_key_remove(struct store *s, const char *name, struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_end_write(s, remove_key(s, name, err), "DNS key removed", err);
	return r < 0 ? r : 0;
}

/* --- Secondaries ------------------------------------------------------------------------------ */

void store_dns_secondary_done(struct store_dns_secondary *d)
{
	d->address = mem_free(d->address);
	d->key = mem_free(d->key);
}

static void secondary_item_done(void *item)
{
	store_dns_secondary_done(item);
}

static int on_secondary(void *ctx, const struct store_value *row)
{
	struct store_dns_secondary *d = store_rows_add(ctx);

	d->address = store_column_text(&row[0]);
	d->key = store_column_text(&row[1]);
	d->created_at = row[2].number;
	return 0;
}

int store_dns_secondary_list(struct store *s, struct store_dns_secondary **ret, size_t *ret_count,
			     struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = secondary_item_done };
	int r = store_rows_query(
		&rows, "SELECT address, key, created_at FROM dns_secondaries ORDER BY address",
		NULL, 0, on_secondary, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

static int add_secondary(struct store *s, const struct store_dns_secondary *d, struct err *err)
{
	int r = store_query(s, "SELECT name FROM dns_keys WHERE name = $1",
			    STORE_PARAMS(store_text(d->key)), NULL, NULL, err);

	if (r == 0)
		return err_set(err, E_NOT_FOUND, "there is no key %s", d->key);
	if (r > 0)
		r = store_query(s,
				"INSERT INTO dns_secondaries (address, key, created_at) "
				"VALUES ($1, $2, $3) ON CONFLICT (address) DO NOTHING "
				"RETURNING address",
				STORE_PARAMS(store_text(d->address), store_text(d->key),
					     store_int(d->created_at)),
				NULL, NULL, err);
	return r == 0 ? err_set(err, E_EXISTS, "%s is a secondary already", d->address) : r;
}

int store_dns_secondary_add(struct store *s, struct store_dns_secondary *d, struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	d->created_at = clock_wall_now();
	r = store_end_write(s, add_secondary(s, d, err), "DNS secondary added", err);
	return r < 0 ? r : 0;
}

int store_dns_secondary_remove(struct store *s, const char *address, struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s, "DELETE FROM dns_secondaries WHERE address = $1 RETURNING address",
			STORE_PARAMS(store_text(address)), NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "%s is no secondary", address);
	r = store_end_write(s, r, "DNS secondary removed", err);
	return r < 0 ? r : 0;
}
