/* Zones that another name server keeps, and what it was told. */
#include <string.h>

#include "base/mem.h"
#include "store/store_internal.h"

void store_dns_update_done(struct store_dns_update *u)
{
	u->zone_name = mem_free(u->zone_name);
	u->server = mem_free(u->server);
	u->key = mem_free(u->key);
	u->target = mem_free(u->target);
}

static void update_done(void *item)
{
	store_dns_update_done(item);
}

static int on_update(void *ctx, const struct store_value *row)
{
	struct store_dns_update *u = store_rows_add(ctx);
	int r = store_column_uuid(&row[0], &u->zone);

	u->zone_name = store_column_text(&row[1]);
	u->server = store_column_text(&row[2]);
	u->key = store_column_text(&row[3]);
	u->target = store_column_text(&row[4]);
	u->ttl = (uint32_t)row[5].number;
	return r;
}

int store_dns_update_list(struct store *s, struct store_dns_update **ret, size_t *ret_count,
			  struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = update_done };
	int r = store_rows_query(&rows,
				 "SELECT u.zone, z.name, u.server, u.key_name, u.target, u.ttl "
				 "FROM dns_updates u JOIN zones z ON z.id = u.zone ORDER BY z.name",
				 NULL, 0, on_update, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

static int has_zone(struct store *s, const char *id, struct err *err)
{
	int r = store_query(s, "SELECT id FROM zones WHERE id = $1", STORE_PARAMS(store_text(id)),
			    NULL, NULL, err);

	return r == 0 ? err_set(err, E_NOT_FOUND, "there is no zone %s", id) : r;
}

int store_dns_update_put(struct store *s, const struct store_dns_update *u, struct err *err)
{
	char id[UUID_TEXT_SIZE];
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = has_zone(s, uuid_text(&u->zone, id), err);
	if (r > 0)
		r = store_query(s,
				"INSERT INTO dns_updates (zone, server, key_name, target, ttl) "
				"VALUES ($1, $2, $3, $4, $5) ON CONFLICT (zone) DO UPDATE SET "
				"server = $2, key_name = $3, target = $4, ttl = $5",
				STORE_PARAMS(store_text(id), store_text(u->server),
					     store_text(u->key), store_text(u->target),
					     store_int(u->ttl)),
				NULL, NULL, err);
	r = store_end_write(s, r, "DNS updates set", err);
	return r < 0 ? r : 0;
}

int store_dns_update_remove(struct store *s, const struct uuid *zone, struct err *err)
{
	char id[UUID_TEXT_SIZE];
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s, "DELETE FROM dns_updates WHERE zone = $1 RETURNING zone",
			STORE_PARAMS(store_text(uuid_text(zone, id))), NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "no other server is told of the zone");
	if (r > 0)
		r = store_query(s, "DELETE FROM dns_updated_names WHERE zone = $1",
				STORE_PARAMS(store_text(id)), NULL, NULL, err);
	r = store_end_write(s, r, "DNS updates ended", err);
	return r < 0 ? r : 0;
}

/* --- What is there by us ----------------------------------------------------------------------- */

void store_dns_updated_done(struct store_dns_updated *u)
{
	u->name = mem_free(u->name);
	u->data = mem_free(u->data);
}

static void updated_done(void *item)
{
	store_dns_updated_done(item);
}

static int on_updated(void *ctx, const struct store_value *row)
{
	struct store_dns_updated *u = store_rows_add(ctx);
	int r = store_column_uuid(&row[0], &u->zone);

	u->name = store_column_text(&row[1]);
	u->data = store_column_text(&row[2]);
	u->overwrite = row[3].number != 0;
	return r;
}

int store_dns_updated_list(struct store *s, struct store_dns_updated **ret, size_t *ret_count,
			   struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = updated_done };
	int r = store_rows_query(&rows,
				 "SELECT zone, name, data, overwrite FROM dns_updated_names "
				 "ORDER BY name",
				 NULL, 0, on_updated, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

int store_dns_updated_put(struct store *s, const struct uuid *zone, const char *name,
			  const char *data, bool overwrite, struct err *err)
{
	char id[UUID_TEXT_SIZE];
	int r;

	uuid_text(zone, id);
	if (data)
		r = store_query(s,
				"INSERT INTO dns_updated_names (zone, name, data, overwrite) "
				"VALUES ($1, $2, $3, $4) ON CONFLICT (zone, name) "
				"DO UPDATE SET data = $3, overwrite = $4",
				STORE_PARAMS(store_text(id), store_text(name), store_text(data),
					     store_int(overwrite)),
				NULL, NULL, err);
	else
		r = store_query(s, "DELETE FROM dns_updated_names WHERE zone = $1 AND name = $2",
				STORE_PARAMS(store_text(id), store_text(name)), NULL, NULL, err);
	return r < 0 ? r : 0;
}

int store_dns_updated_allow(struct store *s, const struct uuid *zone, const char *name,
			    struct err *err)
{
	char id[UUID_TEXT_SIZE];
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s,
			"INSERT INTO dns_updated_names (zone, name, data, overwrite) "
			"SELECT zone, $1, '', 1 FROM dns_updates WHERE zone = $2 "
			"ON CONFLICT (zone, name) DO UPDATE SET overwrite = 1 RETURNING name",
			STORE_PARAMS(store_text(name), store_text(uuid_text(zone, id))), NULL, NULL,
			err);
	int count = r;
	r = store_end_write(s, r, "DNS records may be overwritten", err);
	return r < 0 ? r : count > 0;
}
