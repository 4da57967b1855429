#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "store/names.h"
#include "store/store_access.h"
#include "store/store_internal.h"

#define TOKEN_BYTES 30

void store_access_token_done(struct store_access_token *t)
{
	t->name = mem_free(t->name);
}

static void item_done(void *item)
{
	store_access_token_done(item);
}

static struct store_value hash_of(const char *token, uint8_t hash[STORE_TOKEN_HASH_BYTES])
{
	store_token_hash(bytes_str(token), hash);
	return store_blob(bytes_of(hash, STORE_TOKEN_HASH_BYTES));
}

char *store_access_token_create(struct store *s, const char *name, struct err *err)
{
	uint8_t raw[TOKEN_BYTES], hash[STORE_TOKEN_HASH_BYTES];

	if (!name[0]) {
		err_set(err, E_INVALID, "a token needs a name");
		return NULL;
	}
	if (name_note(name, err) < 0 || store_begin_write(s, err) < 0)
		return NULL;
	random_bytes(raw, sizeof(raw));
	char *text = base64_text(BASE64_URL_RAW, bytes_of(raw, sizeof(raw)));
	secret_wipe(raw, sizeof(raw));
	int r = store_query(s, "SELECT name FROM access_api_tokens WHERE name = $1",
			    STORE_PARAMS(store_text(name)), NULL, NULL, err);
	if (r > 0)
		r = err_set(err, E_EXISTS, "there is a token %s already", name);
	if (r == 0)
		r = store_query(s,
				"INSERT INTO access_api_tokens (hash, name, created_at) "
				"VALUES ($1, $2, $3)",
				STORE_PARAMS(hash_of(text, hash), store_text(name),
					     store_int(clock_wall_now())),
				NULL, NULL, err);
	r = store_end_write(s, r, "API token for Access created", err);
	if (r >= 0)
		return text;
	secret_wipe(text, strlen(text));
	return mem_free(text);
}

static int on_token(void *ctx, const struct store_value *row)
{
	struct store_access_token *t = store_rows_add(ctx);

	t->name = store_column_text(&row[0]);
	t->created_at = row[1].number;
	return 0;
}

int store_access_token_find(struct store *s, const char *token, struct store_access_token *ret,
			    struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = item_done };
	uint8_t hash[STORE_TOKEN_HASH_BYTES];
	int r = store_rows_query(&rows,
				 "SELECT name, created_at FROM access_api_tokens WHERE hash = $1",
				 STORE_PARAMS(hash_of(token, hash)), on_token, err);

	if (r < 0)
		return r;
	return store_rows_first(&rows, ret) < 0
		       ? err_set(err, E_DENIED, "the API token is not valid")
		       : 0;
}

int store_access_token_list(struct store *s, struct store_access_token **ret, size_t *ret_count,
			    struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = item_done };
	int r = store_rows_query(&rows,
				 "SELECT name, created_at FROM access_api_tokens "
				 "ORDER BY created_at, name",
				 NULL, 0, on_token, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

int store_access_token_remove(struct store *s, const char *name, struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s, "DELETE FROM access_api_tokens WHERE name = $1 RETURNING name",
			STORE_PARAMS(store_text(name)), NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "there is no token %s", name);
	return store_end_write(s, r, "API token for Access removed", err);
}
