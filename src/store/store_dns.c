/* DNS records beside the routes. */
#include <string.h>

#include "base/mem.h"
#include "store/store_internal.h"

#define RECORD_COLUMNS "id, zone, name, type, data, ttl, created_at"
/* What a route says itself. */
#define ROUTED_TYPES "('A', 'AAAA', 'CNAME')"

void store_dns_record_done(struct store_dns_record *r)
{
	r->name = mem_free(r->name);
	r->type = mem_free(r->type);
	r->data = mem_free(r->data);
}

static void item_done(void *item)
{
	store_dns_record_done(item);
}

static int on_record(void *ctx, const struct store_value *row)
{
	struct store_dns_record *record = store_rows_add(ctx);
	int r = store_column_uuid(&row[0], &record->id);

	if (r == 0)
		r = store_column_uuid(&row[1], &record->zone);
	record->name = store_column_text(&row[2]);
	record->type = store_column_text(&row[3]);
	record->data = store_column_text(&row[4]);
	record->ttl = (uint32_t)row[5].number;
	record->created_at = row[6].number;
	return r;
}

int store_dns_record_list(struct store *s, const struct uuid *zone, struct store_dns_record **ret,
			  size_t *ret_count, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = item_done };
	char id[UUID_TEXT_SIZE];
	int r = store_rows_query(&rows,
				 "SELECT " RECORD_COLUMNS " FROM dns_records "
				 "WHERE CAST($1 AS TEXT) IS NULL OR zone = $1 "
				 "ORDER BY name, type, data",
				 STORE_PARAMS(store_text(zone ? uuid_text(zone, id) : NULL)),
				 on_record, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

int store_dns_record_get(struct store *s, const struct uuid *zone, const struct uuid *id,
			 struct store_dns_record *ret, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = item_done };
	char its[UUID_TEXT_SIZE], of[UUID_TEXT_SIZE];
	int r = store_rows_query(
		&rows, "SELECT " RECORD_COLUMNS " FROM dns_records WHERE id = $1 AND zone = $2",
		STORE_PARAMS(store_text(uuid_text(id, its)), store_text(uuid_text(zone, of))),
		on_record, err);

	if (r < 0)
		return r;
	r = store_rows_first(&rows, ret);
	return r == E_NOT_FOUND ? err_set(err, r, "there is no such record") : r;
}

/* --- Adding ---------------------------------------------------------------------------------- */

/* A CNAME stands alone (RFC 1034 §3.6.2), and a route is the edge's addresses. */
static int check_room(struct store *s, const struct store_dns_record *record, struct err *err)
{
	bool is_alias = strcmp(record->type, "CNAME") == 0;
	bool is_address = strcmp(record->type, "A") == 0 || strcmp(record->type, "AAAA") == 0;
	int r = store_query(s, "SELECT hostname FROM routes WHERE hostname = $1",
			    STORE_PARAMS(store_text(record->name)), NULL, NULL, err);

	if (r > 0 && (is_alias || is_address))
		return err_set(err, E_EXISTS, "%s is routed to a tunnel", record->name);
	if (r < 0)
		return r;
	r = store_query(s,
			is_alias ? "SELECT id FROM dns_records WHERE name = $1"
				 : "SELECT id FROM dns_records WHERE name = $1 AND type = 'CNAME'",
			STORE_PARAMS(store_text(record->name)), NULL, NULL, err);
	if (r > 0)
		return err_set(err, E_EXISTS, "%s has %s, and a CNAME stands alone", record->name,
			       is_alias ? "records" : "a CNAME");
	return r;
}

static int add_record(struct store *s, const struct store_dns_record *record, struct err *err)
{
	char id[UUID_TEXT_SIZE], zone[UUID_TEXT_SIZE];
	int r = store_query(s, "SELECT id FROM zones WHERE id = $1",
			    STORE_PARAMS(store_text(uuid_text(&record->zone, zone))), NULL, NULL,
			    err);

	if (r == 0)
		return err_set(err, E_NOT_FOUND, "there is no zone %s", zone);
	if (r > 0)
		r = check_room(s, record, err);
	if (r < 0)
		return r;
	r = store_query(s,
			"INSERT INTO dns_records (" RECORD_COLUMNS
			") VALUES ($1, $2, $3, $4, $5, $6, $7) "
			"ON CONFLICT (name, type, data) DO NOTHING RETURNING id",
			STORE_PARAMS(store_text(uuid_text(&record->id, id)), store_text(zone),
				     store_text(record->name), store_text(record->type),
				     store_text(record->data), store_int(record->ttl),
				     store_int(record->created_at)),
			NULL, NULL, err);
	return r == 0 ? err_set(err, E_EXISTS, "%s has this %s record already", record->name,
				record->type)
		      : r;
}

int store_dns_record_add(struct store *s, struct store_dns_record *r, struct err *err)
{
	int code = store_begin_write(s, err);

	if (code < 0)
		return code;
	r->id = uuid_random();
	r->created_at = clock_wall_now();
	code = store_end_write(s, add_record(s, r, err), "DNS record added", err);
	return code < 0 ? code : 0;
}

static int replace_record(struct store *s, const struct store_dns_record *record, struct err *err)
{
	char id[UUID_TEXT_SIZE], zone[UUID_TEXT_SIZE];
	int r = store_query(s, "DELETE FROM dns_records WHERE id = $1 AND zone = $2 RETURNING id",
			    STORE_PARAMS(store_text(uuid_text(&record->id, id)),
					 store_text(uuid_text(&record->zone, zone))),
			    NULL, NULL, err);

	if (r == 0)
		return err_set(err, E_NOT_FOUND, "there is no such record");
	return r < 0 ? r : add_record(s, record, err);
}

int store_dns_record_replace(struct store *s, struct store_dns_record *r, struct err *err)
{
	int code = store_begin_write(s, err);

	if (code < 0)
		return code;
	code = store_end_write(s, replace_record(s, r, err), "DNS record changed", err);
	return code < 0 ? code : 0;
}

/* --- Removing -------------------------------------------------------------------------------- */

int store_dns_record_remove(struct store *s, const struct uuid *zone, const char *name,
			    const char *type, const char *data, struct err *err)
{
	char id[UUID_TEXT_SIZE];
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s,
			"DELETE FROM dns_records WHERE zone = $1 AND name = $2 "
			"AND (CAST($3 AS TEXT) IS NULL OR type = $3) "
			"AND (CAST($4 AS TEXT) IS NULL OR data = $4) RETURNING id",
			STORE_PARAMS(store_text(uuid_text(zone, id)), store_text(name),
				     store_text(type), store_text(data)),
			NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "%s has no such record", name);
	return store_end_write(s, r, "DNS record removed", err);
}

int store_dns_record_remove_one(struct store *s, const struct uuid *zone, const struct uuid *id,
				struct err *err)
{
	char its[UUID_TEXT_SIZE], of[UUID_TEXT_SIZE];
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(
		s, "DELETE FROM dns_records WHERE id = $1 AND zone = $2 RETURNING id",
		STORE_PARAMS(store_text(uuid_text(id, its)), store_text(uuid_text(zone, of))), NULL,
		NULL, err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "there is no such record");
	r = store_end_write(s, r, "DNS record removed", err);
	return r < 0 ? r : 0;
}

int store_dns_make_room(struct store *s, const char *hostname, bool overwrite, struct err *err)
{
	int r = store_query(s,
			    overwrite ? "DELETE FROM dns_records WHERE name = $1 AND type "
					"IN " ROUTED_TYPES " RETURNING id"
				      : "SELECT id FROM dns_records WHERE name = $1 AND type "
					"IN " ROUTED_TYPES,
			    STORE_PARAMS(store_text(hostname)), NULL, NULL, err);

	if (r > 0 && !overwrite)
		return err_set(err, E_EXISTS, "%s has an A, AAAA or CNAME record already", hostname);
	return r;
}

/* --- Serials --------------------------------------------------------------------------------- */

static int on_serial(void *ctx, const struct store_value *row)
{
	*(int64_t *)ctx = row[0].number;
	return 0;
}

int store_dns_serial_next(struct store *s, const struct uuid *zone, uint32_t *ret, struct err *err)
{
	char id[UUID_TEXT_SIZE];
	int64_t serial = 0;
	int r = store_query(s,
			    "UPDATE zones SET dns_serial = CASE WHEN dns_serial < $1 THEN $1 "
			    "ELSE dns_serial + 1 END WHERE id = $2 RETURNING dns_serial",
			    STORE_PARAMS(store_int(clock_wall_now() / USEC_PER_SEC),
					 store_text(uuid_text(zone, id))),
			    on_serial, &serial, err);

	if (r == 0)
		return err_set(err, E_NOT_FOUND, "there is no zone %s", id);
	if (r < 0)
		return r;
	*ret = (uint32_t)serial;
	return 0;
}
