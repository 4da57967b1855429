/* Tunnels: living ones with their secrets, deleted ones as a memory. */
#include "base/mem.h"
#include "store/names.h"
#include "store/store_internal.h"

#define TUNNEL_COLUMNS "id, account, name, secret, created_at, deleted_at, balance, eject_on_5xx"
/* Protocol: PROTOCOL.md asks for 32 random bytes; nobody has reason to send a kilobyte. */
#define SECRET_MIN_BYTES 32
#define SECRET_MAX_BYTES 1024

void store_tunnel_done(struct store_tunnel *t)
{
	t->name = mem_free(t->name);
	secret_done(&t->secret);
}

static void tunnel_item_done(void *item)
{
	store_tunnel_done(item);
}

#define PLACE_SIZE (UUID_TEXT_SIZE + 8)

static const char *secret_place(const struct uuid *id, char place[PLACE_SIZE])
{
	memcpy(place, "tunnel ", 7);
	uuid_text(id, place + 7);
	return place;
}

static int on_tunnel(void *ctx, const struct store_value *row)
{
	struct store_rows *rows = ctx;
	struct store_tunnel *t = store_rows_add(rows);
	char place[PLACE_SIZE];
	int r = store_column_uuid(&row[0], &t->id);

	if (r == 0)
		r = store_column_account(&row[1], t->account);
	t->name = store_column_text(&row[2]);
	t->created_at = row[4].number;
	t->deleted_at = row[5].number;
	store_column_balance(&row[6], &t->balance);
	if (r == 0 && row[3].type != STORE_NULL &&
	    seal_open(&rows->store->key, row[3].bytes, secret_place(&t->id, place), &t->secret,
		      NULL) < 0)
		r = E_INTERNAL;
	return r;
}

/* --- One tunnel ------------------------------------------------------------------------------ */

static int insert_tunnel(struct store *s, const struct store_tunnel *t, struct bytes sealed,
			 struct err *err)
{
	char id[UUID_TEXT_SIZE];
	int r = store_query(s,
			    "SELECT id FROM tunnels WHERE account = $1 AND name = $2 "
			    "AND deleted_at = 0",
			    STORE_PARAMS(store_text(t->account), store_text(t->name)), NULL, NULL,
			    err);

	if (r > 0)
		return err_set(err, E_EXISTS, "tunnel with name already exists");
	if (r < 0)
		return r;
	return store_query(
		s,
		"INSERT INTO tunnels (id, account, name, secret, created_at, deleted_at) "
		"VALUES ($1, $2, $3, $4, $5, 0)",
		STORE_PARAMS(store_text(uuid_text(&t->id, id)), store_text(t->account),
			     store_text(t->name), store_blob(sealed), store_int(t->created_at)),
		NULL, NULL, err);
}

int store_tunnel_create(struct store *s, const char *account, const char *name, struct bytes secret,
			struct store_tunnel *ret, struct err *err)
{
	struct store_tunnel t = { .id = uuid_random(), .created_at = clock_wall_now() };
	char place[PLACE_SIZE];
	size_t len = 0;
	int r = name_tunnel(name, err);

	if (r < 0)
		return r;
	if (secret.len < SECRET_MIN_BYTES || secret.len > SECRET_MAX_BYTES)
		return err_set(err, E_INVALID, "a tunnel secret has %d to %d bytes",
			       SECRET_MIN_BYTES, SECRET_MAX_BYTES);
	if (strlen(account) != 32)
		return err_set(err, E_INVALID, "an account id has 32 hex digits");
	r = store_begin_write(s, err);
	if (r < 0)
		return r;
	memcpy(t.account, account, sizeof(t.account));
	t.name = mem_strdup(name);
	uint8_t *sealed = seal_value(&s->key, secret, secret_place(&t.id, place), &len);
	r = insert_tunnel(s, &t, bytes_of(sealed, len), err);
	r = store_end_write(s, r, "tunnel created", err);
	mem_free(sealed);
	if (r < 0) {
		store_tunnel_done(&t);
		return r;
	}
	secret_set(&t.secret, secret);
	*ret = t;
	return 0;
}

static int not_found(const struct uuid *id, struct err *err)
{
	char text[UUID_TEXT_SIZE];

	return err_set(err, E_NOT_FOUND, "there is no tunnel %s", uuid_text(id, text));
}

int store_tunnel_get(struct store *s, const char *account, const struct uuid *id,
		     struct store_tunnel *ret, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = tunnel_item_done };
	char text[UUID_TEXT_SIZE];
	int r = store_rows_query(&rows,
				 "SELECT " TUNNEL_COLUMNS " FROM tunnels "
				 "WHERE id = $1 AND account = $2",
				 STORE_PARAMS(store_text(uuid_text(id, text)), store_text(account)),
				 on_tunnel, err);

	if (r < 0)
		return r;
	r = store_rows_first(&rows, ret);
	return r == E_NOT_FOUND ? not_found(id, err) : r;
}

static int delete_tunnel(struct store *s, const char *account, const struct uuid *id,
			 struct err *err)
{
	char text[UUID_TEXT_SIZE];
	int r = store_query(s,
			    "UPDATE tunnels SET deleted_at = $1, secret = NULL "
			    "WHERE id = $2 AND account = $3 AND deleted_at = 0 RETURNING id",
			    STORE_PARAMS(store_int(clock_wall_now()),
					 store_text(uuid_text(id, text)), store_text(account)),
			    NULL, NULL, err);

	if (r == 0)
		return not_found(id, err);
	if (r < 0)
		return r;
	r = store_query(s, "DELETE FROM routes WHERE tunnel = $1", STORE_PARAMS(store_text(text)),
			NULL, NULL, err);
	if (r >= 0)
		r = store_query(s, "DELETE FROM port_routes WHERE tunnel = $1",
				STORE_PARAMS(store_text(text)), NULL, NULL, err);
	if (r < 0)
		return r;
	return store_query(
		s, "UPDATE network_routes SET deleted_at = $1 WHERE tunnel = $2 AND deleted_at = 0",
		STORE_PARAMS(store_int(clock_wall_now()), store_text(text)), NULL, NULL, err);
}

int store_tunnel_delete(struct store *s, const char *account, const struct uuid *id, struct err *err)
{
	int r = store_begin_write(s, err);

	return r < 0 ? r
		     : store_end_write(s, delete_tunnel(s, account, id, err), "tunnel deleted", err);
}

int store_tunnel_set_balance(struct store *s, const char *account, const struct uuid *id,
			     const struct store_balance *balance, struct err *err)
{
	char text[UUID_TEXT_SIZE];
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s,
			"UPDATE tunnels SET balance = $1, eject_on_5xx = $2 "
			"WHERE id = $3 AND account = $4 AND deleted_at = 0 RETURNING id",
			STORE_PARAMS(store_policy(balance), store_choice(balance->eject_on_5xx),
				     store_text(uuid_text(id, text)), store_text(account)),
			NULL, NULL, err);
	if (r == 0)
		r = not_found(id, err);
	r = store_end_write(s, r, "tunnel balance", err);
	return r < 0 ? r : 0;
}

/* --- Lists ----------------------------------------------------------------------------------- */

/* A filter that is not set is NULL. CAST tells PostgreSQL the type of a parameter that only meets
 * NULL. substr() rather than LIKE: a prefix may contain % and _, and case counts. */
#define FILTER                                                                 \
	"(CAST($1 AS TEXT) IS NULL OR account = $1) AND "                      \
	"(CAST($2 AS TEXT) IS NULL OR name = $2) AND "                         \
	"(CAST($3 AS TEXT) IS NULL OR substr(name, 1, length($3)) = $3) AND "  \
	"(CAST($4 AS TEXT) IS NULL OR substr(name, 1, length($4)) <> $4) AND " \
	"(CAST($5 AS TEXT) IS NULL OR id = $5) AND "                           \
	"(CAST($6 AS BIGINT) IS NULL OR (deleted_at <> 0) = ($6 <> 0)) AND "   \
	"(CAST($7 AS BIGINT) IS NULL OR "                                      \
	"(created_at <= $7 AND (deleted_at = 0 OR deleted_at > $7)))"

#define FILTER_PARAMS 7

static int on_count(void *ctx, const struct store_value *row)
{
	*(size_t *)ctx = (size_t)row[0].number;
	return 0;
}

static struct store_value bound(size_t number)
{
	const uint64_t wide = number;

	return store_int(wide > INT64_MAX ? INT64_MAX : (int64_t)wide);
}

/* An empty prefix excludes nothing, as one that is not given. */
static const char *or_null(const char *text)
{
	return text && text[0] ? text : NULL;
}

static int list_tunnels(struct store_rows *rows, const struct store_tunnel_filter *f,
			size_t *ret_total, struct err *err)
{
	char id[UUID_TEXT_SIZE];
	struct store_value params[FILTER_PARAMS + 2] = {
		store_text(f->account),
		store_text(f->name),
		store_text(f->name_prefix),
		store_text(or_null(f->exclude_prefix)),
		store_text(f->id ? uuid_text(f->id, id) : NULL),
		f->is_deleted < 0 ? store_text(NULL) : store_int(f->is_deleted),
		f->existed_at == 0 ? store_text(NULL) : store_int(f->existed_at),
		bound(f->limit ? f->limit : SIZE_MAX),
		bound(f->offset),
	};
	int r = store_query(rows->store, "SELECT count(*) FROM tunnels WHERE " FILTER, params,
			    FILTER_PARAMS, on_count, ret_total, err);

	if (r < 0)
		return r;
	return store_rows_query(rows,
				"SELECT " TUNNEL_COLUMNS " FROM tunnels WHERE " FILTER
				" ORDER BY created_at, id LIMIT $8 OFFSET $9",
				params, ARRAY_LEN(params), on_tunnel, err);
}

int store_tunnel_list(struct store *s, const struct store_tunnel_filter *f,
		      struct store_tunnel **ret, size_t *ret_count, size_t *ret_total,
		      struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = tunnel_item_done };
	size_t total = 0;
	/* One transaction, so that the total belongs to the page. */
	int r = s->driver->begin(s->db, false, err);

	if (r < 0)
		return r;
	r = list_tunnels(&rows, f, &total, err);
	s->driver->rollback(s->db);
	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	if (ret_total)
		*ret_total = total;
	return 0;
}
