#include "base/clock.h"
#include "store/store_access.h"
#include "store/store_internal.h"

/* No change of the configuration: nobody needs to be told. */
int store_token_used(struct store *s, const char *token, struct err *err)
{
	if (s->is_read_only)
		return err_set(err, E_BUSY, "another process has taken this edge over");
	return store_query(s,
			   "INSERT INTO access_uses (token, at) VALUES ($1, $2) "
			   "ON CONFLICT (token) DO UPDATE SET at = excluded.at",
			   STORE_PARAMS(store_text(token), store_int(clock_wall_now())), NULL, NULL,
			   err) < 0
		       ? err->code
		       : 0;
}

static int on_use(void *ctx, const struct store_value *row)
{
	usec *at = ctx;

	*at = row[0].number;
	return 0;
}

usec store_token_seen(struct store *s, const char *token)
{
	usec at = 0;

	(void)store_query(s, "SELECT at FROM access_uses WHERE token = $1",
			  STORE_PARAMS(store_text(token)), on_use, &at, NULL);
	return at;
}
