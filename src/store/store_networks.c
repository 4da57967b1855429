/* Routes of private networks. */
#include "base/encode.h"
#include "base/mem.h"
#include "store/names.h"
#include "store/store_internal.h"

/* With the tunnel's name: a deleted tunnel keeps its own. */
#define SELECT_ROUTE                                                                          \
	"SELECT n.id, n.account, n.network, n.tunnel, n.virtual_network, t.name, n.comment, " \
	"n.created_at, n.deleted_at FROM network_routes n JOIN tunnels t ON t.id = n.tunnel WHERE "

void store_network_route_done(struct store_network_route *r)
{
	r->tunnel_name = mem_free(r->tunnel_name);
	r->comment = mem_free(r->comment);
}

static void route_item_done(void *item)
{
	store_network_route_done(item);
}

static int on_route(void *ctx, const struct store_value *row)
{
	struct store_network_route *n = store_rows_add(ctx);
	int r = store_column_uuid(&row[0], &n->id);

	if (r == 0)
		r = store_column_account(&row[1], n->account);
	if (r == 0 && !network_parse(row[2].bytes, &n->network))
		r = E_INTERNAL;
	if (r == 0)
		r = store_column_uuid(&row[3], &n->tunnel);
	if (r == 0)
		r = store_column_uuid(&row[4], &n->vnet);
	n->tunnel_name = store_column_text(&row[5]);
	n->comment = store_column_text(&row[6]);
	n->created_at = row[7].number;
	n->deleted_at = row[8].number;
	return r;
}

/* --- Addresses as the schema sorts them ------------------------------------------------------- */

#define KEY_SIZE 34 /* a digit, 32 hex digits, NUL */

static const char *address_key(const uint8_t ip[16], bool is_v4, char key[KEY_SIZE])
{
	size_t len = is_v4 ? 4 : 16;

	key[0] = is_v4 ? '4' : '6';
	hex_encode(bytes_of(ip + 16 - len, len), key + 1);
	key[1 + 2 * len] = 0;
	return key;
}

struct network_keys {
	char first[KEY_SIZE], last[KEY_SIZE];
};

static void keys_of(const struct network *n, struct network_keys *ret)
{
	uint8_t last[16];

	network_last(n, last);
	address_key(n->ip, network_is_v4(n), ret->first);
	address_key(last, network_is_v4(n), ret->last);
}

/* --- One route -------------------------------------------------------------------------------- */

/* Inside a write. */
static int insert_route(struct store *s, const struct store_network_route *n, struct err *err)
{
	char id[UUID_TEXT_SIZE], tunnel[UUID_TEXT_SIZE], vnet[UUID_TEXT_SIZE];
	char text[NETWORK_TEXT_SIZE];
	struct network_keys keys;
	int r = store_query(
		s, "SELECT id FROM tunnels WHERE id = $1 AND account = $2 AND deleted_at = 0",
		STORE_PARAMS(store_text(uuid_text(&n->tunnel, tunnel)), store_text(n->account)),
		NULL, NULL, err);

	if (r == 0)
		return err_set(err, E_NOT_FOUND, "there is no tunnel %s", tunnel);
	if (r > 0)
		r = store_query(
			s,
			"SELECT id FROM virtual_networks WHERE id = $1 AND account = $2 "
			"AND deleted_at = 0",
			STORE_PARAMS(store_text(uuid_text(&n->vnet, vnet)), store_text(n->account)),
			NULL, NULL, err);
	if (r == 0)
		return err_set(err, E_NOT_FOUND, "there is no virtual network %s", vnet);
	network_text(&n->network, text);
	if (r > 0)
		r = store_query(s,
				"SELECT id FROM network_routes WHERE virtual_network = $1 "
				"AND network = $2 AND deleted_at = 0",
				STORE_PARAMS(store_text(vnet), store_text(text)), NULL, NULL, err);
	if (r > 0)
		return err_set(err, E_EXISTS, "the virtual network routes %s already", text);
	if (r < 0)
		return r;
	keys_of(&n->network, &keys);
	return store_query(
		s,
		"INSERT INTO network_routes (id, account, network, first_address, last_address, "
		"bits, tunnel, virtual_network, comment, created_at) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		STORE_PARAMS(store_text(uuid_text(&n->id, id)), store_text(n->account),
			     store_text(text), store_text(keys.first), store_text(keys.last),
			     store_int(n->network.bits), store_text(tunnel), store_text(vnet),
			     store_text(n->comment), store_int(n->created_at)),
		NULL, NULL, err);
}

int store_network_route_add(struct store *s, const char *account, const struct network *network,
			    const struct uuid *tunnel, const struct uuid *vnet, const char *comment,
			    struct store_network_route *ret, struct err *err)
{
	struct store_network_route n = { .id = uuid_random(),
					 .network = *network,
					 .tunnel = *tunnel,
					 .vnet = *vnet,
					 .comment = (char *)(uintptr_t)comment,
					 .created_at = clock_wall_now() };
	int r = name_note(comment, err);

	if (r < 0)
		return r;
	if (strlen(account) != 32)
		return err_set(err, E_INVALID, "an account id has 32 hex digits");
	memcpy(n.account, account, sizeof(n.account));
	r = store_begin_write(s, err);
	if (r == 0)
		r = store_end_write(s, insert_route(s, &n, err), "network route added", err);
	return r < 0 ? r : store_network_route_get(s, account, &n.id, ret, err);
}

static int not_found(const struct uuid *id, struct err *err)
{
	char text[UUID_TEXT_SIZE];

	return err_set(err, E_NOT_FOUND, "there is no network route %s", uuid_text(id, text));
}

int store_network_route_get(struct store *s, const char *account, const struct uuid *id,
			    struct store_network_route *ret, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = route_item_done };
	char text[UUID_TEXT_SIZE];
	int r = store_rows_query(&rows, SELECT_ROUTE "n.id = $1 AND n.account = $2",
				 STORE_PARAMS(store_text(uuid_text(id, text)), store_text(account)),
				 on_route, err);

	if (r < 0)
		return r;
	r = store_rows_first(&rows, ret);
	return r == E_NOT_FOUND ? not_found(id, err) : r;
}

int store_network_route_delete(struct store *s, const char *account, const struct uuid *id,
			       struct err *err)
{
	char text[UUID_TEXT_SIZE];
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s,
			"UPDATE network_routes SET deleted_at = $1 "
			"WHERE id = $2 AND account = $3 AND deleted_at = 0 RETURNING id",
			STORE_PARAMS(store_int(clock_wall_now()), store_text(uuid_text(id, text)),
				     store_text(account)),
			NULL, NULL, err);
	if (r == 0)
		r = not_found(id, err);
	r = store_end_write(s, r, "network route deleted", err);
	return r < 0 ? r : 0;
}

int store_network_route_find(struct store *s, const char *account, const struct uuid *vnet,
			     const struct network *address, struct store_network_route *ret,
			     struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = route_item_done };
	char id[UUID_TEXT_SIZE], text[NETWORK_TEXT_SIZE];
	struct network_keys keys;

	keys_of(address, &keys);
	int r = store_rows_query(&rows,
				 SELECT_ROUTE
				 "n.account = $1 AND n.virtual_network = $2 AND n.deleted_at = 0 "
				 "AND n.first_address <= $3 AND n.last_address >= $4 "
				 "ORDER BY n.bits DESC LIMIT 1",
				 STORE_PARAMS(store_text(account), store_text(uuid_text(vnet, id)),
					      store_text(keys.first), store_text(keys.last)),
				 on_route, err);

	if (r < 0)
		return r;
	r = store_rows_first(&rows, ret);
	return r == E_NOT_FOUND ? err_set(err, r, "no route holds %s", network_text(address, text))
				: r;
}

/* --- Many ------------------------------------------------------------------------------------- */

/* A filter that is not set is NULL; CAST tells PostgreSQL the type of a parameter that only meets NULL. */
#define FILTER                                                                 \
	"(CAST($1 AS TEXT) IS NULL OR n.account = $1) AND "                    \
	"(CAST($2 AS TEXT) IS NULL OR n.comment = $2) AND "                    \
	"(CAST($3 AS TEXT) IS NULL OR n.tunnel = $3) AND "                     \
	"(CAST($4 AS TEXT) IS NULL OR n.virtual_network = $4) AND "            \
	"(CAST($5 AS TEXT) IS NULL OR n.first_address >= $5) AND "             \
	"(CAST($6 AS TEXT) IS NULL OR n.last_address <= $6) AND "              \
	"(CAST($7 AS TEXT) IS NULL OR n.first_address <= $7) AND "             \
	"(CAST($8 AS TEXT) IS NULL OR n.last_address >= $8) AND "              \
	"(CAST($9 AS BIGINT) IS NULL OR (n.deleted_at <> 0) = ($9 <> 0)) AND " \
	"(CAST($10 AS BIGINT) IS NULL OR "                                     \
	"(n.created_at <= $10 AND (n.deleted_at = 0 OR n.deleted_at > $10)))"

#define FILTER_PARAMS 10

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

static int list_routes(struct store_rows *rows, const struct store_network_filter *f,
		       size_t *ret_total, struct err *err)
{
	char tunnel[UUID_TEXT_SIZE], vnet[UUID_TEXT_SIZE];
	struct network_keys within, over;

	if (f->within)
		keys_of(f->within, &within);
	if (f->over)
		keys_of(f->over, &over);
	struct store_value params[FILTER_PARAMS + 2] = {
		store_text(f->account),
		store_text(f->comment),
		store_text(f->tunnel ? uuid_text(f->tunnel, tunnel) : NULL),
		store_text(f->vnet ? uuid_text(f->vnet, vnet) : NULL),
		store_text(f->within ? within.first : NULL),
		store_text(f->within ? within.last : NULL),
		store_text(f->over ? over.first : NULL),
		store_text(f->over ? over.last : NULL),
		f->is_deleted < 0 ? store_text(NULL) : store_int(f->is_deleted),
		f->existed_at == 0 ? store_text(NULL) : store_int(f->existed_at),
		bound(f->limit ? f->limit : SIZE_MAX),
		bound(f->offset),
	};
	int r = store_query(rows->store, "SELECT count(*) FROM network_routes n WHERE " FILTER,
			    params, FILTER_PARAMS, on_count, ret_total, err);

	if (r < 0)
		return r;
	return store_rows_query(rows,
				SELECT_ROUTE FILTER
				" ORDER BY n.virtual_network, n.first_address, n.bits, n.created_at, "
				"n.id LIMIT $11 OFFSET $12",
				params, ARRAY_LEN(params), on_route, err);
}

int store_network_route_list(struct store *s, const struct store_network_filter *f,
			     struct store_network_route **ret, size_t *ret_count, size_t *ret_total,
			     struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = route_item_done };
	size_t total = 0;
	/* One transaction, so that the total belongs to the page. */
	int r = s->driver->begin(s->db, false, err);

	if (r < 0)
		return r;
	r = list_routes(&rows, f, &total, err);
	s->driver->rollback(s->db);
	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	if (ret_total)
		*ret_total = total;
	return 0;
}
