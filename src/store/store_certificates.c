/* Certificates that were issued or brought, with their keys. */
#include "base/mem.h"
#include "store/store_internal.h"

void store_certificate_done(struct store_certificate *c)
{
	c->name = mem_free(c->name);
	c->hostnames = mem_free(c->hostnames);
	c->issuer = mem_free(c->issuer);
	c->cert_pem = mem_free(c->cert_pem);
	secret_done(&c->key_pem);
	secret_done(&c->boxed_key);
}

static void certificate_item_done(void *item)
{
	store_certificate_done(item);
}

char *store_certificate_place(const char *name)
{
	return mem_printf("certificate %s", name);
}

static int on_certificate(void *ctx, const struct store_value *row)
{
	struct store_rows *rows = ctx;
	struct store_certificate *c = store_rows_add(rows);
	int r = 0;

	c->name = store_column_text(&row[0]);
	c->rev = row[1].number;
	c->hostnames = store_column_text(&row[2]);
	c->issuer = store_column_text(&row[3]);
	c->expires_at = row[4].number;
	c->cert_pem = store_column_text(&row[5]);
	if (row[6].type != STORE_NULL && row[6].bytes.len && row[6].bytes.ptr[0] == SEAL_FORM_KEY) {
		secret_set(&c->boxed_key, row[6].bytes);
	} else if (row[6].type != STORE_NULL) {
		char *place = store_certificate_place(c->name);
		r = seal_open(&rows->store->key, row[6].bytes, place, &c->key_pem, NULL);
		mem_free(place);
	}
	return r < 0 ? E_INTERNAL : 0;
}

int store_certificate_list(struct store *s, struct store_certificate **ret, size_t *ret_count,
			   struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret),
				   .item_done = certificate_item_done };
	int r = store_rows_query(&rows,
				 "SELECT name, rev, hostnames, issuer, expires_at, NULL, NULL "
				 "FROM certificates ORDER BY name",
				 NULL, 0, on_certificate, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

int store_certificate_get(struct store *s, const char *name, struct store_certificate *ret,
			  struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret),
				   .item_done = certificate_item_done };
	int r = store_rows_query(&rows,
				 "SELECT name, rev, hostnames, issuer, expires_at, cert, sealed_key "
				 "FROM certificates WHERE name = $1",
				 STORE_PARAMS(store_text(name)), on_certificate, err);

	if (r < 0)
		return r;
	r = store_rows_first(&rows, ret);
	return r == E_NOT_FOUND ? err_set(err, r, "there is no certificate %s", name) : r;
}

int store_certificate_put(struct store *s, const struct store_certificate *c, struct err *err)
{
	char *place = store_certificate_place(c->name);
	struct bytes key = bytes_of(c->boxed_key.ptr, c->boxed_key.len);
	uint8_t *sealed = NULL;

	if (!key.len) {
		sealed = seal_value(&s->key, bytes_of(c->key_pem.ptr, c->key_pem.len), place,
				    &key.len);
		key.ptr = sealed;
	}
	int r = store_query(s,
			    "INSERT INTO certificates (name, rev, hostnames, issuer, expires_at, "
			    "cert, sealed_key) VALUES ($1, $2, $3, $4, $5, $6, $7) "
			    "ON CONFLICT (name) DO UPDATE SET rev = excluded.rev, "
			    "hostnames = excluded.hostnames, issuer = excluded.issuer, "
			    "expires_at = excluded.expires_at, cert = excluded.cert, "
			    "sealed_key = excluded.sealed_key",
			    STORE_PARAMS(store_text(c->name), store_int(s->rev),
					 store_text(c->hostnames), store_text(c->issuer),
					 store_int(c->expires_at), store_text(c->cert_pem),
					 store_blob(key)),
			    NULL, NULL, err);

	mem_free(place);
	mem_free(sealed);
	return r;
}

int store_certificates_change(struct store *s, const struct store_certificate *put, size_t put_count,
			      const char *const *drop, size_t drop_count, struct err *err)
{
	int r = put_count + drop_count == 0 ? 0 : store_begin_write(s, err);

	if (r < 0 || put_count + drop_count == 0)
		return r;
	for (size_t i = 0; i < put_count && r >= 0; i++)
		r = store_certificate_put(s, &put[i], err);
	for (size_t i = 0; i < drop_count && r >= 0; i++)
		r = store_query(s, "DELETE FROM certificates WHERE name = $1",
				STORE_PARAMS(store_text(drop[i])), NULL, NULL, err);
	return store_end_write(s, r, "certificates changed", err);
}
