/* Certificates of ACME authorities: how it stands with each. */
#include "base/mem.h"
#include "store/store_internal.h"

#define COLUMNS                                                                          \
	"name, directory, started_at, renewal_id, renew_at, ask_at, failures, next_at, " \
	"tried_at, error, on_demand"

void store_acme_name_done(struct store_acme_name *n)
{
	n->name = mem_free(n->name);
	n->directory = mem_free(n->directory);
	n->renewal_id = mem_free(n->renewal_id);
	n->error = mem_free(n->error);
}

static void item_done(void *item)
{
	store_acme_name_done(item);
}

static int on_name(void *ctx, const struct store_value *row)
{
	struct store_acme_name *n = store_rows_add(ctx);

	n->name = store_column_text(&row[0]);
	n->directory = store_column_text(&row[1]);
	n->started_at = row[2].number;
	n->renewal_id = store_column_text(&row[3]);
	n->renew_at = row[4].number;
	n->ask_at = row[5].number;
	n->failures = row[6].number;
	n->next_at = row[7].number;
	n->tried_at = row[8].number;
	n->error = store_column_text(&row[9]);
	n->is_on_demand = row[10].number != 0;
	return 0;
}

int store_acme_list(struct store *s, struct store_acme_name **ret, size_t *ret_count,
		    struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = item_done };
	int r = store_rows_query(&rows, "SELECT " COLUMNS " FROM acme_names ORDER BY name", NULL, 0,
				 on_name, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

static int put_name(struct store *s, const struct store_acme_name *n, struct err *err)
{
	return store_query(
		s,
		"INSERT INTO acme_names (" COLUMNS
		") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
		"ON CONFLICT (name) DO UPDATE SET directory = excluded.directory, "
		"started_at = excluded.started_at, renewal_id = excluded.renewal_id, "
		"renew_at = excluded.renew_at, ask_at = excluded.ask_at, "
		"failures = excluded.failures, next_at = excluded.next_at, "
		"tried_at = excluded.tried_at, error = excluded.error, "
		"on_demand = excluded.on_demand",
		STORE_PARAMS(store_text(n->name), store_text(n->directory ? n->directory : ""),
			     store_int(n->started_at),
			     store_text(n->renewal_id ? n->renewal_id : ""), store_int(n->renew_at),
			     store_int(n->ask_at), store_int(n->failures), store_int(n->next_at),
			     store_int(n->tried_at), store_text(n->error ? n->error : ""),
			     store_int(n->is_on_demand)),
		NULL, NULL, err);
}

int store_acme_put(struct store *s, const struct store_acme_name *n,
		   const struct store_certificate *certificate, struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = put_name(s, n, err);
	if (r >= 0 && certificate)
		r = store_certificate_put(s, certificate, err);
	return store_end_write(s, r, "ACME certificate", err);
}

int store_acme_drop(struct store *s, const char *name, struct err *err)
{
	char *certificate = mem_printf("acme %s", name);
	int r = store_begin_write(s, err);

	if (r == 0) {
		r = store_query(s, "DELETE FROM acme_names WHERE name = $1",
				STORE_PARAMS(store_text(name)), NULL, NULL, err);
		if (r >= 0)
			r = store_query(s, "DELETE FROM certificates WHERE name = $1",
					STORE_PARAMS(store_text(certificate)), NULL, NULL, err);
		r = store_end_write(s, r, "ACME certificate dropped", err);
	}
	mem_free(certificate);
	return r;
}
