/* How visitors are served, per zone and hostname; and answers by OCSP. */
#include <string.h>

#include "base/mem.h"
#include "store/names.h"
#include "store/store_internal.h"

/* --- Sites ------------------------------------------------------------------------------------ */

#define SITE_COLUMNS "zone, hostname, hsts, min_tls, client_auth, client_ca, passthrough"

void store_site_done(struct store_site *p)
{
	p->hostname = mem_free(p->hostname);
	p->hsts = mem_free(p->hsts);
	p->min_tls = mem_free(p->min_tls);
	p->client_auth = mem_free(p->client_auth);
	p->client_ca = mem_free(p->client_ca);
	p->passthrough = mem_free(p->passthrough);
}

static void site_item_done(void *item)
{
	store_site_done(item);
}

static int on_site(void *ctx, const struct store_value *row)
{
	struct store_site *p = store_rows_add(ctx);
	int r = store_column_uuid(&row[0], &p->zone);

	p->hostname = store_column_text(&row[1]);
	p->hsts = store_column_text(&row[2]);
	p->min_tls = store_column_text(&row[3]);
	p->client_auth = store_column_text(&row[4]);
	p->client_ca = store_column_text(&row[5]);
	p->passthrough = store_column_text(&row[6]);
	return r;
}

int store_site_get(struct store *s, const struct uuid *zone, const char *hostname,
		   struct store_site *ret, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = site_item_done };
	char id[UUID_TEXT_SIZE];
	int r = store_rows_query(
		&rows, "SELECT " SITE_COLUMNS " FROM sites WHERE zone = $1 AND hostname = $2",
		STORE_PARAMS(store_text(uuid_text(zone, id)), store_text(hostname)), on_site, err);

	if (r < 0)
		return r;
	r = store_rows_first(&rows, ret);
	return r == E_NOT_FOUND ? err_set(err, r, "nothing is set") : r;
}

int store_site_list(struct store *s, struct store_site **ret, size_t *ret_count, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = site_item_done };
	int r = store_rows_query(&rows, "SELECT " SITE_COLUMNS " FROM sites ORDER BY hostname, zone",
				 NULL, 0, on_site, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

static bool is_below(const char *hostname, const char *wildcard)
{
	size_t len = strlen(hostname), suffix = strlen(wildcard) - 1;

	return wildcard[0] == '*' && len > suffix &&
	       strcmp(hostname + len - suffix, wildcard + 1) == 0;
}

bool store_site_passes(const struct store_site *sites, size_t count, const char *hostname)
{
	const struct store_site *best = NULL;
	size_t best_len = 0;

	for (size_t i = 0; i < count; i++) {
		const char *name = sites[i].hostname;
		if (strcmp(name, hostname) == 0) {
			best = &sites[i];
			break;
		}
		if (name[0] && strlen(name) > best_len && is_below(hostname, name)) {
			best = &sites[i];
			best_len = strlen(name);
		}
	}
	return best && best->passthrough && strcmp(best->passthrough, "on") == 0;
}

int store_site_put(struct store *s, const struct store_site *site, struct err *err)
{
	char id[UUID_TEXT_SIZE];
	bool is_empty = !site->hsts && !site->min_tls && !site->client_auth && !site->client_ca &&
			!site->passthrough;
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	uuid_text(&site->zone, id);
	if (is_empty)
		r = store_query(s, "DELETE FROM sites WHERE zone = $1 AND hostname = $2",
				STORE_PARAMS(store_text(id), store_text(site->hostname)), NULL,
				NULL, err);
	else
		r = store_query(
			s,
			"INSERT INTO sites (" SITE_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7) "
			"ON CONFLICT (zone, hostname) DO UPDATE SET hsts = excluded.hsts, "
			"min_tls = excluded.min_tls, client_auth = excluded.client_auth, "
			"client_ca = excluded.client_ca, passthrough = excluded.passthrough",
			STORE_PARAMS(store_text(id), store_text(site->hostname),
				     store_text(site->hsts), store_text(site->min_tls),
				     store_text(site->client_auth), store_text(site->client_ca),
				     store_text(site->passthrough)),
			NULL, NULL, err);
	r = store_end_write(s, r, "site set", err);
	return r < 0 ? r : 0;
}

/* --- OCSP ------------------------------------------------------------------------------------- */

void store_ocsp_done(struct store_ocsp *o)
{
	o->certificate = mem_free(o->certificate);
	o->response = mem_free(o->response);
}

static void ocsp_item_done(void *item)
{
	store_ocsp_done(item);
}

static int on_ocsp(void *ctx, const struct store_value *row)
{
	struct store_ocsp *o = store_rows_add(ctx);

	o->certificate = store_column_text(&row[0]);
	o->response = mem_alloc(row[1].bytes.len + 1);
	o->response_len = row[1].bytes.len;
	if (o->response_len)
		memcpy(o->response, row[1].bytes.ptr, o->response_len);
	o->fresh_until = row[2].number;
	o->next_try_at = row[3].number;
	return 0;
}

int store_ocsp_list(struct store *s, struct store_ocsp **ret, size_t *ret_count, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = ocsp_item_done };
	int r = store_rows_query(&rows,
				 "SELECT certificate, response, fresh_until, next_try_at FROM ocsp",
				 NULL, 0, on_ocsp, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

int store_ocsp_put(struct store *s, const struct store_ocsp *o, struct err *err)
{
	struct bytes response = bytes_of(o->response, o->response_len);
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s,
			"INSERT INTO ocsp (certificate, response, fresh_until, next_try_at) "
			"VALUES ($1, $2, $3, $4) ON CONFLICT (certificate) DO UPDATE SET "
			"response = excluded.response, fresh_until = excluded.fresh_until, "
			"next_try_at = excluded.next_try_at",
			STORE_PARAMS(store_text(o->certificate), store_blob(response),
				     store_int(o->fresh_until), store_int(o->next_try_at)),
			NULL, NULL, err);
	if (r >= 0)
		r = store_query(s, "DELETE FROM ocsp WHERE fresh_until < $1",
				STORE_PARAMS(store_int(clock_wall_now())), NULL, NULL, err);
	r = store_end_write(s, r, "ocsp", err);
	return r < 0 ? r : 0;
}
