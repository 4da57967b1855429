/* Zones and the routes in them. */
#include "base/mem.h"
#include "store/names.h"
#include "store/store_internal.h"

/* --- Zones ----------------------------------------------------------------------------------- */

#define ZONE_COLUMNS "id, account, name, created_at"

void store_zone_done(struct store_zone *z)
{
	z->name = mem_free(z->name);
}

static void zone_item_done(void *item)
{
	store_zone_done(item);
}

static int on_zone(void *ctx, const struct store_value *row)
{
	struct store_zone *z = store_rows_add(ctx);
	int r = store_column_uuid(&row[0], &z->id);

	if (r == 0)
		r = store_column_account(&row[1], z->account);
	z->name = store_column_text(&row[2]);
	z->created_at = row[3].number;
	return r;
}

static int select_zone(struct store *s, const char *sql, const char *key, struct store_zone *ret,
		       struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = zone_item_done };
	int r = store_rows_query(&rows, sql, STORE_PARAMS(store_text(key)), on_zone, err);

	return r < 0 ? r : store_rows_first(&rows, ret);
}

static int find_zone(struct store *s, const char *name, struct store_zone *ret, struct err *err)
{
	int r = select_zone(s, "SELECT " ZONE_COLUMNS " FROM zones WHERE name = $1", name, ret, err);

	return r == E_NOT_FOUND ? err_set(err, r, "there is no zone %s", name) : r;
}

int store_zone_find(struct store *s, const char *name, struct store_zone *ret, struct err *err)
{
	char zone[NAME_DNS_BYTES + 1];

	/* What cannot be a zone is not one. */
	if (name_zone(name, zone, NULL) < 0)
		return err_set(err, E_NOT_FOUND, "there is no such zone");
	return find_zone(s, zone, ret, err);
}

int store_zone_get(struct store *s, const struct uuid *id, struct store_zone *ret, struct err *err)
{
	char text[UUID_TEXT_SIZE];
	int r = select_zone(s, "SELECT " ZONE_COLUMNS " FROM zones WHERE id = $1",
			    uuid_text(id, text), ret, err);

	return r == E_NOT_FOUND ? err_set(err, r, "there is no zone %s", text) : r;
}

int store_zone_list(struct store *s, struct store_zone **ret, size_t *ret_count, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = zone_item_done };
	int r = store_rows_query(&rows, "SELECT " ZONE_COLUMNS " FROM zones ORDER BY created_at, id",
				 NULL, 0, on_zone, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

int store_zone_add(struct store *s, const char *account, const char *name, struct store_zone *ret,
		   struct err *err)
{
	char zone[NAME_DNS_BYTES + 1], id[UUID_TEXT_SIZE];
	struct uuid u = uuid_random();
	usec now = clock_wall_now();
	int r = name_zone(name, zone, err);

	if (r == 0)
		r = store_begin_write(s, err);
	if (r < 0)
		return r;
	r = store_query(s,
			"INSERT INTO zones (id, account, name, created_at) VALUES ($1, $2, $3, $4) "
			"ON CONFLICT (name) DO NOTHING RETURNING id",
			STORE_PARAMS(store_text(uuid_text(&u, id)), store_text(account),
				     store_text(zone), store_int(now)),
			NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_EXISTS, "the zone %s is there already", zone);
	/* What the zone above had at these names is this one's now; a deeper zone keeps its own. */
	if (r > 0)
		r = store_query(s,
				"UPDATE dns_records SET zone = $1 "
				"WHERE (name = $2 OR name LIKE '%.' || $2) AND zone IN "
				"(SELECT id FROM zones WHERE $2 LIKE '%.' || name)",
				STORE_PARAMS(store_text(id), store_text(zone)), NULL, NULL, err);
	r = store_end_write(s, r, "zone added", err);
	if (r < 0)
		return r;
	*ret = (struct store_zone){ .id = u, .name = mem_strdup(zone), .created_at = now };
	memcpy(ret->account, account, sizeof(ret->account));
	return 0;
}

static int remove_zone(struct store *s, const char *name, struct err *err)
{
	struct store_zone zone = { 0 };
	char id[UUID_TEXT_SIZE];
	int r = find_zone(s, name, &zone, err);

	if (r < 0)
		return r;
	uuid_text(&zone.id, id);
	store_zone_done(&zone);
	r = store_query(s, "SELECT hostname FROM routes WHERE zone = $1 LIMIT 1",
			STORE_PARAMS(store_text(id)), NULL, NULL, err);
	if (r > 0)
		return err_set(err, E_BUSY, "the zone %s still has routes", name);
	if (r < 0)
		return r;
	return store_query(s, "DELETE FROM zones WHERE id = $1", STORE_PARAMS(store_text(id)), NULL,
			   NULL, err);
}

int store_zone_remove(struct store *s, const char *name, struct err *err)
{
	char zone[NAME_DNS_BYTES + 1];

	if (name_zone(name, zone, NULL) < 0)
		return err_set(err, E_NOT_FOUND, "there is no such zone");
	int r = store_begin_write(s, err);
	return r < 0 ? r : store_end_write(s, remove_zone(s, zone, err), "zone removed", err);
}

/* --- Routes ---------------------------------------------------------------------------------- */

void store_route_done(struct store_route *r)
{
	r->hostname = mem_free(r->hostname);
}

static void route_item_done(void *item)
{
	store_route_done(item);
}

#define ROUTE_COLUMNS "hostname, zone, tunnel, created_at, balance, eject_on_5xx"

static int on_route(void *ctx, const struct store_value *row)
{
	struct store_route *route = store_rows_add(ctx);
	int r = store_column_uuid(&row[1], &route->zone);

	if (r == 0)
		r = store_column_uuid(&row[2], &route->tunnel);
	route->hostname = store_column_text(&row[0]);
	route->created_at = row[3].number;
	store_column_balance(&row[4], &route->balance);
	return r;
}

int store_route_list(struct store *s, struct store_route **ret, size_t *ret_count, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = route_item_done };
	int r = store_rows_query(&rows, "SELECT " ROUTE_COLUMNS " FROM routes ORDER BY hostname",
				 NULL, 0, on_route, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

/* What of a put is already so. */
static int compare_route(struct store *s, const struct store_route *wanted, bool overwrite,
			 enum store_route_change *ret, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(struct store_route),
				   .item_done = route_item_done };
	struct store_route old = { 0 };
	int r = store_rows_query(&rows, "SELECT " ROUTE_COLUMNS " FROM routes WHERE hostname = $1",
				 STORE_PARAMS(store_text(wanted->hostname)), on_route, err);

	if (r < 0)
		return r;
	r = store_rows_first(&rows, &old);
	*ret = r == E_NOT_FOUND ? ROUTE_NEW : ROUTE_UPDATED;
	if (r == 0 && uuid_eq(&old.tunnel, &wanted->tunnel)) {
		/* It moves on its own when a longer zone was added later. */
		if (uuid_eq(&old.zone, &wanted->zone))
			*ret = ROUTE_UNCHANGED;
	} else if (r == 0 && !overwrite) {
		store_route_done(&old);
		return err_set(err, E_EXISTS, "%s routes to another tunnel already",
			       wanted->hostname);
	}
	store_route_done(&old);
	return 0;
}

static int put_route(struct store *s, const struct store_route *wanted, bool overwrite,
		     enum store_route_change *ret, struct err *err)
{
	char zone[UUID_TEXT_SIZE], tunnel[UUID_TEXT_SIZE];
	int r = store_query(s, "SELECT id FROM tunnels WHERE id = $1 AND deleted_at = 0",
			    STORE_PARAMS(store_text(uuid_text(&wanted->tunnel, tunnel))), NULL,
			    NULL, err);

	if (r == 0)
		return err_set(err, E_NOT_FOUND, "there is no tunnel %s", tunnel);
	if (r > 0)
		r = compare_route(s, wanted, overwrite, ret, err);
	if (r < 0 || *ret == ROUTE_UNCHANGED)
		return r;
	r = store_dns_make_room(s, wanted->hostname, overwrite, err);
	if (r < 0)
		return r;
	if (r > 0)
		*ret = ROUTE_UPDATED;
	return store_query(s,
			   "INSERT INTO routes (hostname, zone, tunnel, created_at) "
			   "VALUES ($1, $2, $3, $4) ON CONFLICT (hostname) DO UPDATE SET "
			   "zone = excluded.zone, tunnel = excluded.tunnel",
			   STORE_PARAMS(store_text(wanted->hostname),
					store_text(uuid_text(&wanted->zone, zone)),
					store_text(tunnel), store_int(clock_wall_now())),
			   NULL, NULL, err);
}

int store_route_put(struct store *s, const struct uuid *zone, const char *hostname,
		    const struct uuid *tunnel, bool overwrite, enum store_route_change *ret,
		    struct err *err)
{
	char name[NAME_DNS_BYTES + 1];
	struct store_route wanted = { .hostname = name, .zone = *zone, .tunnel = *tunnel };
	enum store_route_change change = ROUTE_UNCHANGED;
	int r = name_hostname(hostname, name, err);

	if (r == 0)
		r = store_begin_write(s, err);
	if (r < 0)
		return r;
	r = put_route(s, &wanted, overwrite, &change, err);
	r = store_end_write(s, r, change == ROUTE_UNCHANGED ? NULL : "route put", err);
	if (r < 0)
		return r;
	*ret = change;
	return 0;
}

int store_route_remove(struct store *s, const char *hostname, struct err *err)
{
	char name[NAME_DNS_BYTES + 1];

	if (name_hostname(hostname, name, NULL) < 0)
		return err_set(err, E_NOT_FOUND, "there is no such route");
	int r = store_begin_write(s, err);
	if (r < 0)
		return r;
	r = store_query(s, "DELETE FROM routes WHERE hostname = $1 RETURNING hostname",
			STORE_PARAMS(store_text(name)), NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "%s is not routed", name);
	r = store_end_write(s, r, "route removed", err);
	return r < 0 ? r : 0;
}

int store_route_get(struct store *s, const char *hostname, struct store_route *ret, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = route_item_done };
	char name[NAME_DNS_BYTES + 1];

	if (name_hostname(hostname, name, NULL) < 0)
		return err_set(err, E_NOT_FOUND, "there is no such route");
	int r = store_rows_query(&rows, "SELECT " ROUTE_COLUMNS " FROM routes WHERE hostname = $1",
				 STORE_PARAMS(store_text(name)), on_route, err);
	if (r < 0)
		return r;
	r = store_rows_first(&rows, ret);
	return r == E_NOT_FOUND ? err_set(err, r, "there is no route for %s", name) : r;
}

int store_route_set_balance(struct store *s, const char *hostname,
			    const struct store_balance *balance, struct err *err)
{
	char name[NAME_DNS_BYTES + 1];

	if (name_hostname(hostname, name, NULL) < 0)
		return err_set(err, E_NOT_FOUND, "there is no such route");
	int r = store_begin_write(s, err);
	if (r < 0)
		return r;
	r = store_query(s,
			"UPDATE routes SET balance = $1, eject_on_5xx = $2 WHERE hostname = $3 "
			"RETURNING hostname",
			STORE_PARAMS(store_policy(balance), store_choice(balance->eject_on_5xx),
				     store_text(name)),
			NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "there is no route for %s", name);
	r = store_end_write(s, r, "route balance", err);
	return r < 0 ? r : 0;
}
