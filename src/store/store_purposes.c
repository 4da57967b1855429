#include "store/store_access.h"
#include "store/store_internal.h"

/* No change of the configuration: nobody needs to be told. */
int store_purpose_put(struct store *s, const char *session, const char *app,
		      const struct store_purpose *p, struct err *err)
{
	if (s->is_read_only)
		return err_set(err, E_BUSY, "another process has taken this edge over");
	return store_query(s,
			   "INSERT INTO access_purposes (session, app, given_at, expires_at) "
			   "VALUES ($1, $2, $3, $4) ON CONFLICT (session, app) DO UPDATE "
			   "SET given_at = excluded.given_at, expires_at = excluded.expires_at",
			   STORE_PARAMS(store_text(session), store_text(app),
					store_int(p->given_at), store_int(p->expires_at)),
			   NULL, NULL, err) < 0
		       ? err->code
		       : 0;
}

static int on_purpose(void *ctx, const struct store_value *row)
{
	struct store_purpose *p = ctx;

	p->given_at = row[0].number;
	p->expires_at = row[1].number;
	return 0;
}

int store_purpose_get(struct store *s, const char *session, const char *app,
		      struct store_purpose *ret, struct err *err)
{
	int r;

	*ret = (struct store_purpose){ 0 };
	r = store_query(s,
			"SELECT given_at, expires_at FROM access_purposes WHERE session = $1 "
			"AND app = $2",
			STORE_PARAMS(store_text(session), store_text(app)), on_purpose, ret, err);
	if (r < 0)
		return r;
	return r ? 0 : err_set(err, E_NOT_FOUND, "nobody has said why");
}
