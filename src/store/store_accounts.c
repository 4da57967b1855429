/* Accounts, administrators, sign-in links, API tokens. */
#include <sodium.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/random.h"
#include "store/names.h"
#include "store/password.h"
#include "store/store_internal.h"

/* A token has as many random bytes as its hash: it cannot be guessed, so a plain hash keeps it. */
#define TOKEN_BYTES 32
#define HASH_BYTES 32

/* --- Accounts -------------------------------------------------------------------------------- */

struct account {
	char id[33];
};

static void account_done(void *item)
{
}

static int on_account(void *ctx, const struct store_value *row)
{
	struct account *account = store_rows_add(ctx);

	return store_column_account(&row[0], account->id);
}

static int first_account(struct store *s, char id[33], struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(struct account),
				   .item_done = account_done };
	struct account account;
	int r = store_rows_query(&rows, "SELECT id FROM accounts ORDER BY created_at, id LIMIT 1",
				 NULL, 0, on_account, err);

	if (r == 0)
		r = store_rows_first(&rows, &account);
	if (r == 0)
		memcpy(id, account.id, sizeof(account.id));
	return r;
}

int store_account_first(struct store *s, char id[33], struct err *err)
{
	char found[33] = "";
	int r = first_account(s, found, err);

	if (r == E_NOT_FOUND) {
		r = store_begin_write(s, err);
		if (r < 0)
			return r;
		/* Another process may have made it meanwhile. */
		r = first_account(s, found, err);
		const char *what = NULL;
		if (r == E_NOT_FOUND) {
			struct uuid u = uuid_random();
			hex_encode(uuid_bytes(&u), found);
			found[32] = 0;
			what = "account created";
			r = store_query(s, "INSERT INTO accounts (id, created_at) VALUES ($1, $2)",
					STORE_PARAMS(store_text(found), store_int(clock_wall_now())),
					NULL, NULL, err);
		}
		r = store_end_write(s, r, what, err);
	}
	if (r >= 0)
		memcpy(id, found, sizeof(found));
	return r < 0 ? r : 0;
}

/* --- Administrators -------------------------------------------------------------------------- */

static int on_text(void *ctx, const struct store_value *row)
{
	char **text = ctx;

	mem_free(*text);
	*text = store_column_text(&row[0]);
	return 0;
}

static int on_int(void *ctx, const struct store_value *row)
{
	*(int64_t *)ctx = row[0].number;
	return 0;
}

int store_user_add(struct store *s, const char *email, struct err *err)
{
	char name[NAME_EMAIL_BYTES + 1];
	int r = name_email(email, name, err);

	if (r == 0)
		r = store_begin_write(s, err);
	if (r < 0)
		return r;
	r = store_query(s,
			"INSERT INTO users (email, created_at) VALUES ($1, $2) "
			"ON CONFLICT (email) DO NOTHING RETURNING email",
			STORE_PARAMS(store_text(name), store_int(clock_wall_now())), NULL, NULL,
			err);
	if (r == 0)
		r = err_set(err, E_EXISTS, "there is a user %s already", name);
	r = store_end_write(s, r, "user added", err);
	return r < 0 ? r : 0;
}

int store_user_set_password(struct store *s, const char *email, const char *password,
			    struct err *err)
{
	char name[NAME_EMAIL_BYTES + 1];
	char hash[PASSWORD_HASH_SIZE];
	int r = name_email(email, name, err);

	if (r == 0)
		r = password_hash(password, hash, err);
	if (r == 0)
		r = store_begin_write(s, err);
	if (r < 0)
		return r;
	r = store_query(s, "UPDATE users SET password = $1 WHERE email = $2 RETURNING email",
			STORE_PARAMS(store_text(hash), store_text(name)), NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "there is no user %s", name);
	r = store_end_write(s, r, "password set", err);
	return r < 0 ? r : 0;
}

int store_user_check(struct store *s, const char *email, const char *password, struct err *err)
{
	char name[NAME_EMAIL_BYTES + 1];
	char *hash = NULL;
	bool ok;

	if (name_email(email, name, NULL) == 0) {
		int r = store_query(s, "SELECT password FROM users WHERE email = $1",
				    STORE_PARAMS(store_text(name)), on_text, &hash, err);
		if (r < 0)
			return r;
	}
	ok = password_is(hash, password);
	mem_free(hash);
	return ok ? 0 : err_set(err, E_DENIED, "wrong e-mail address or password");
}

int64_t store_user_count(struct store *s, struct err *err)
{
	int64_t count = 0;
	int r = store_query(s, "SELECT count(*) FROM users", NULL, 0, on_int, &count, err);

	return r < 0 ? -1 : count;
}

char *store_user_first(struct store *s, struct err *err)
{
	char *email = NULL;
	int r = store_query(s, "SELECT email FROM users ORDER BY created_at, email LIMIT 1", NULL,
			    0, on_text, &email, err);

	if (r == 0)
		err_set(err, E_NOT_FOUND, "there is no user yet");
	return email;
}

void store_user_done(struct store_user *u)
{
	u->email = mem_free(u->email);
}

static void user_item_done(void *item)
{
	store_user_done(item);
}

static int on_user(void *ctx, const struct store_value *row)
{
	struct store_user *u = store_rows_add(ctx);

	u->email = store_column_text(&row[0]);
	u->has_password = row[1].number != 0;
	u->created_at = row[2].number;
	return 0;
}

int store_user_list(struct store *s, struct store_user **ret, size_t *ret_count, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = user_item_done };
	int r = store_rows_query(&rows,
				 "SELECT email, CASE WHEN password IS NULL THEN 0 ELSE 1 END, "
				 "created_at FROM users ORDER BY created_at, email",
				 NULL, 0, on_user, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

/* --- Random texts of which the hash is kept -------------------------------------------------- */

static char *new_token(uint8_t hash[HASH_BYTES])
{
	uint8_t raw[TOKEN_BYTES];

	random_bytes(raw, sizeof(raw));
	char *text = base64_text(BASE64_URL_RAW, bytes_of(raw, sizeof(raw)));
	secret_wipe(raw, sizeof(raw));
	crypto_generichash(hash, HASH_BYTES, (const uint8_t *)text, strlen(text), NULL, 0);
	return text;
}

void store_token_hash(struct bytes token, uint8_t ret[STORE_TOKEN_HASH_BYTES])
{
	_Static_assert(STORE_TOKEN_HASH_BYTES == HASH_BYTES, "one hash");
	crypto_generichash(ret, HASH_BYTES, token.ptr, token.len, NULL, 0);
}

static struct store_value token_hash(const char *token, uint8_t hash[HASH_BYTES])
{
	store_token_hash(bytes_str(token), hash);
	return store_blob(bytes_of(hash, HASH_BYTES));
}

static char *drop_token(char *text)
{
	secret_wipe(text, strlen(text));
	return mem_free(text);
}

/* --- Sign-in links --------------------------------------------------------------------------- */

static int insert_link(struct store *s, const char *email, const uint8_t *hash, usec expires_at,
		       struct err *err)
{
	int r = store_query(s, "SELECT email FROM users WHERE email = $1",
			    STORE_PARAMS(store_text(email)), NULL, NULL, err);

	if (r == 0)
		return err_set(err, E_NOT_FOUND, "there is no user %s", email);
	if (r > 0)
		r = store_query(s, "DELETE FROM links WHERE expires_at <= $1",
				STORE_PARAMS(store_int(clock_wall_now())), NULL, NULL, err);
	if (r >= 0)
		r = store_query(s, "INSERT INTO links (hash, email, expires_at) VALUES ($1, $2, $3)",
				STORE_PARAMS(store_blob(bytes_of(hash, HASH_BYTES)),
					     store_text(email), store_int(expires_at)),
				NULL, NULL, err);
	return r;
}

char *store_link_create(struct store *s, const char *email, int64_t valid_seconds, struct err *err)
{
	char name[NAME_EMAIL_BYTES + 1];
	uint8_t hash[HASH_BYTES];
	usec expires_at = 0;

	if (name_email(email, name, err) < 0)
		return NULL;
	if (valid_seconds <= 0 || __builtin_mul_overflow(valid_seconds, USEC_PER_SEC, &expires_at) ||
	    __builtin_add_overflow(expires_at, clock_wall_now(), &expires_at)) {
		err_set(err, E_INVALID, "a link cannot be valid for %lld seconds",
			(long long)valid_seconds);
		return NULL;
	}
	if (store_begin_write(s, err) < 0)
		return NULL;
	char *text = new_token(hash);
	int r = insert_link(s, name, hash, expires_at, err);
	r = store_end_write(s, r, "sign-in link created", err);
	return r < 0 ? drop_token(text) : text;
}

char *store_link_use(struct store *s, const char *token, struct err *err)
{
	uint8_t hash[HASH_BYTES];
	char *email = NULL;
	int r = store_begin_write(s, err);

	if (r < 0)
		return NULL;
	r = store_query(s, "DELETE FROM links WHERE hash = $1 AND expires_at > $2 RETURNING email",
			STORE_PARAMS(token_hash(token, hash), store_int(clock_wall_now())), on_text,
			&email, err);
	if (r == 0)
		r = err_set(err, E_DENIED, "this link was used already, or is too old");
	r = store_end_write(s, r, "sign-in link used", err);
	return r < 0 ? mem_free(email) : email;
}

/* --- API tokens ------------------------------------------------------------------------------ */

void store_token_done(struct store_token *t)
{
	t->note = mem_free(t->note);
}

static void token_item_done(void *item)
{
	store_token_done(item);
}

char *store_token_create(struct store *s, const char *account, const struct uuid *zone,
			 const char *note, struct err *err)
{
	char zone_text[UUID_TEXT_SIZE];
	uint8_t hash[HASH_BYTES];

	if (name_note(note, err) < 0 || store_begin_write(s, err) < 0)
		return NULL;
	uuid_text(zone, zone_text);
	int r = store_query(s, "SELECT id FROM zones WHERE id = $1 AND account = $2",
			    STORE_PARAMS(store_text(zone_text), store_text(account)), NULL, NULL,
			    err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "the account has no zone %s", zone_text);
	char *text = new_token(hash);
	if (r > 0)
		r = store_query(s,
				"INSERT INTO tokens (hash, account, zone, note, created_at) "
				"VALUES ($1, $2, $3, $4, $5)",
				STORE_PARAMS(store_blob(bytes_of(hash, sizeof(hash))),
					     store_text(account), store_text(zone_text),
					     store_text(note), store_int(clock_wall_now())),
				NULL, NULL, err);
	r = store_end_write(s, r, "API token created", err);
	return r < 0 ? drop_token(text) : text;
}

static int on_token(void *ctx, const struct store_value *row)
{
	struct store_token *t = store_rows_add(ctx);
	int r = store_column_account(&row[0], t->account);

	t->note = store_column_text(&row[2]);
	return r < 0 ? r : store_column_uuid(&row[1], &t->zone);
}

int store_token_find(struct store *s, const char *token, struct store_token *ret, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = token_item_done };
	uint8_t hash[HASH_BYTES];
	int r = store_rows_query(&rows, "SELECT account, zone, note FROM tokens WHERE hash = $1",
				 STORE_PARAMS(token_hash(token, hash)), on_token, err);

	if (r < 0)
		return r;
	if (store_rows_first(&rows, ret) < 0)
		return err_set(err, E_DENIED, "the API token is not valid");
	return 0;
}

static void hash_item_done(void *item)
{
	(void)item;
}

static int on_token_hash(void *ctx, const struct store_value *row)
{
	struct store_token_hash *t = store_rows_add(ctx);

	if (row[0].bytes.len != sizeof(t->hash))
		return E_INTERNAL;
	memcpy(t->hash, row[0].bytes.ptr, sizeof(t->hash));
	return store_column_account(&row[1], t->account);
}

int store_token_hashes(struct store *s, struct store_token_hash **ret, size_t *ret_count,
		       struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = hash_item_done };
	int r = store_rows_query(&rows, "SELECT hash, account FROM tokens ORDER BY hash", NULL, 0,
				 on_token_hash, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}
