/* People who sign in, and their sessions. */
#include "base/mem.h"
#include "store/names.h"
#include "store/password.h"
#include "store/store_access.h"
#include "store/store_internal.h"

#define PERSON_COLUMNS "id, email, name, password IS NOT NULL, created_at, seen_at, revoked_at"

/* --- People ---------------------------------------------------------------------------------- */

void store_person_done(struct store_person *p)
{
	p->email = mem_free(p->email);
	p->name = mem_free(p->name);
}

static void person_item_done(void *item)
{
	store_person_done(item);
}

static int on_person(void *ctx, const struct store_value *row)
{
	struct store_person *p = store_rows_add(ctx);
	int r = store_column_uuid(&row[0], &p->id);

	p->email = store_column_text(&row[1]);
	p->name = store_column_text(&row[2]);
	p->has_password = row[3].number != 0;
	p->created_at = row[4].number;
	p->seen_at = row[5].number;
	p->revoked_at = row[6].number;
	return r;
}

static int one_person(struct store *s, const char *sql, const struct store_value *params,
		      size_t param_count, struct store_person *ret, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = person_item_done };
	int r = store_rows_query(&rows, sql, params, param_count, on_person, err);

	return r < 0 ? r : store_rows_first(&rows, ret);
}

int store_person_find(struct store *s, const char *email, struct store_person *ret, struct err *err)
{
	int r = one_person(s, "SELECT " PERSON_COLUMNS " FROM access_people WHERE email = $1",
			   STORE_PARAMS(store_text(email)), ret, err);

	return r == E_NOT_FOUND ? err_set(err, r, "there is no person %s", email) : r;
}

int store_person_list(struct store *s, struct store_person **ret, size_t *ret_count, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = person_item_done };
	int r = store_rows_query(&rows,
				 "SELECT " PERSON_COLUMNS " FROM access_people ORDER BY email",
				 NULL, 0, on_person, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

/* E_NOT_FOUND: it is there already and `on_conflict` does nothing then. */
static int insert_person(struct store *s, const char *email, const char *name, usec seen_at,
			 bool may_exist, struct store_person *ret, struct err *err)
{
	struct uuid id = uuid_random();
	char id_text[UUID_TEXT_SIZE];

	return one_person(
		s,
		may_exist ? "INSERT INTO access_people (id, email, name, created_at, seen_at, "
			    "revoked_at) VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT (email) "
			    "DO UPDATE SET seen_at = excluded.seen_at, name = CASE WHEN "
			    "excluded.name = '' THEN access_people.name ELSE excluded.name END "
			    "RETURNING " PERSON_COLUMNS
			  : "INSERT INTO access_people (id, email, name, created_at, seen_at, "
			    "revoked_at) VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT (email) "
			    "DO NOTHING RETURNING " PERSON_COLUMNS,
		STORE_PARAMS(store_text(uuid_text(&id, id_text)), store_text(email),
			     store_text(name ? name : ""), store_int(clock_wall_now()),
			     store_int(seen_at)),
		ret, err);
}

int store_person_seen(struct store *s, const char *email, const char *name,
		      struct store_person *ret, struct err *err)
{
	char address[NAME_EMAIL_BYTES + 1];
	int r = name_email(email, address, err);

	if (r == 0)
		r = store_begin_write(s, err);
	if (r < 0)
		return r;
	r = insert_person(s, address, name, clock_wall_now(), true, ret, err);
	r = store_end_write(s, r, "person seen", err);
	return r < 0 ? r : 0;
}

int store_person_add(struct store *s, const char *email, const char *name, struct store_person *ret,
		     struct err *err)
{
	char address[NAME_EMAIL_BYTES + 1];
	int r = name_email(email, address, err);

	if (r == 0)
		r = store_begin_write(s, err);
	if (r < 0)
		return r;
	r = insert_person(s, address, name, 0, false, ret, err);
	if (r == E_NOT_FOUND)
		r = err_set(err, E_EXISTS, "there is a person %s already", address);
	r = store_end_write(s, r, "person added", err);
	return r < 0 ? r : 0;
}

/* A change of one person's row by its address. */
static int change_person(struct store *s, const char *sql, const struct store_value *params,
			 size_t param_count, const char *email, const char *what, struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s, sql, params, param_count, NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "there is no person %s", email);
	r = store_end_write(s, r, what, err);
	return r < 0 ? r : 0;
}

int store_person_remove(struct store *s, const char *email, struct err *err)
{
	return change_person(s, "DELETE FROM access_people WHERE email = $1 RETURNING id",
			     STORE_PARAMS(store_text(email)), email, "person removed", err);
}

int store_person_set_password(struct store *s, const char *email, const char *password,
			      struct err *err)
{
	char hash[PASSWORD_HASH_SIZE];
	int r = password ? password_hash(password, hash, err) : 0;

	if (r < 0)
		return r;
	return change_person(s,
			     "UPDATE access_people SET password = $1 WHERE email = $2 RETURNING id",
			     STORE_PARAMS(store_text(password ? hash : NULL), store_text(email)),
			     email, "password set", err);
}

static int on_text(void *ctx, const struct store_value *row)
{
	char **text = ctx;

	mem_free(*text);
	*text = store_column_text(&row[0]);
	return 0;
}

int store_person_check(struct store *s, const char *email, const char *password, struct err *err)
{
	char *hash = NULL;
	bool is_right;
	int r = store_query(s, "SELECT password FROM access_people WHERE email = $1",
			    STORE_PARAMS(store_text(email)), on_text, &hash, err);

	if (r < 0)
		return r;
	is_right = password_is(hash, password);
	mem_free(hash);
	return is_right ? 0 : err_set(err, E_DENIED, "wrong e-mail address or password");
}

int store_person_revoke(struct store *s, const char *email, struct err *err)
{
	/* A clock that was ahead when they signed in keeps no session alive. */
	return change_person(
		s,
		"UPDATE access_people SET revoked_at = (SELECT MAX(t) FROM "
		"(SELECT CAST($1 AS BIGINT) AS t UNION ALL SELECT created_at FROM "
		"access_sessions WHERE person = access_people.id) AS times) WHERE email = $2 "
		"RETURNING id",
		STORE_PARAMS(store_int(clock_wall_now()), store_text(email)), email,
		"sessions revoked", err);
}

/* --- Sessions --------------------------------------------------------------------------------- */

#define SESSION_QUERY                                                                         \
	"SELECT x.id, x.person, p.email, x.provider, x.sealed_identity, x.address, x.agent, " \
	"x.created_at, x.expires_at FROM access_sessions x JOIN access_people p "             \
	"ON p.id = x.person "

static char *identity_place(const char *id)
{
	return mem_printf("access session %s", id);
}

void store_session_done(struct store_session *x)
{
	x->id = mem_free(x->id);
	x->email = mem_free(x->email);
	x->provider = mem_free(x->provider);
	x->address = mem_free(x->address);
	x->agent = mem_free(x->agent);
	secret_done(&x->identity);
}

static void session_item_done(void *item)
{
	store_session_done(item);
}

static int on_session(void *ctx, const struct store_value *row)
{
	struct store_rows *rows = ctx;
	struct store_session *x = store_rows_add(rows);
	int r = store_column_uuid(&row[1], &x->person);
	char *place;

	x->id = store_column_text(&row[0]);
	x->email = store_column_text(&row[2]);
	x->provider = store_column_text(&row[3]);
	x->address = store_column_text(&row[5]);
	x->agent = store_column_text(&row[6]);
	x->created_at = row[7].number;
	x->expires_at = row[8].number;
	place = identity_place(x->id);
	if (r == 0 && seal_open(&rows->store->key, row[4].bytes, place, &x->identity, NULL) < 0)
		r = E_INTERNAL;
	mem_free(place);
	return r;
}

int store_session_add(struct store *s, const struct store_session *x, struct err *err)
{
	char person[UUID_TEXT_SIZE], *place = identity_place(x->id);
	size_t len = 0;
	uint8_t *sealed =
		seal_value(&s->key, bytes_of(x->identity.ptr, x->identity.len), place, &len);
	int r = store_begin_write(s, err);

	if (r == 0) {
		r = store_query(
			s,
			/* Later than what ended those before, whatever the clock says. */
			"INSERT INTO access_sessions (id, provider, sealed_identity, address, "
			"agent, created_at, expires_at, person) SELECT $1, $2, $3, $4, $5, "
			"CASE WHEN revoked_at < $6 THEN $6 ELSE revoked_at + 1 END, $7, id "
			"FROM access_people WHERE id = $8 RETURNING id",
			STORE_PARAMS(store_text(x->id), store_text(x->provider),
				     store_blob(bytes_of(sealed, len)), store_text(x->address),
				     store_text(x->agent), store_int(x->created_at),
				     store_int(x->expires_at),
				     store_text(uuid_text(&x->person, person))),
			NULL, NULL, err);
		if (r == 0)
			r = err_set(err, E_NOT_FOUND, "there is no such person");
		r = store_end_write(s, r, "signed in", err);
	}
	mem_free(place);
	mem_free(sealed);
	return r < 0 ? r : 0;
}

int store_session_get(struct store *s, const char *id, usec now, struct store_session *ret,
		      struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = session_item_done };
	int r = store_rows_query(&rows,
				 SESSION_QUERY "WHERE x.id = $1 AND x.expires_at > $2 "
					       "AND x.created_at > p.revoked_at",
				 STORE_PARAMS(store_text(id), store_int(now)), on_session, err);

	if (r < 0)
		return r;
	r = store_rows_first(&rows, ret);
	return r == E_NOT_FOUND ? err_set(err, r, "the session is over") : r;
}

int store_session_list(struct store *s, const char *email, usec now, size_t limit,
		       struct store_session **ret, size_t *ret_count, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = session_item_done };
	int r = store_rows_query(
		&rows,
		SESSION_QUERY "WHERE (CAST($1 AS TEXT) IS NULL OR p.email = $1) "
			      "AND x.expires_at > $2 AND x.created_at > p.revoked_at "
			      "ORDER BY x.created_at DESC, x.id LIMIT $3",
		STORE_PARAMS(store_text(email), store_int(now), store_int((int64_t)limit)),
		on_session, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}

static int on_count(void *ctx, const struct store_value *row)
{
	*(int64_t *)ctx = row[0].number;
	return 0;
}

int store_session_count(struct store *s, usec now, int64_t *ret, struct err *err)
{
	int r;

	*ret = 0;
	r = store_query(s,
			"SELECT count(*) FROM access_sessions x JOIN access_people p "
			"ON p.id = x.person WHERE x.expires_at > $1 AND x.created_at > p.revoked_at",
			STORE_PARAMS(store_int(now)), on_count, ret, err);
	return r < 0 ? r : 0;
}

int store_session_end(struct store *s, const char *id, struct err *err)
{
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s, "DELETE FROM access_sessions WHERE id = $1 RETURNING id",
			STORE_PARAMS(store_text(id)), NULL, NULL, err);
	if (r == 0)
		r = err_set(err, E_NOT_FOUND, "there is no such session");
	r = store_end_write(s, r, "signed out", err);
	return r < 0 ? r : 0;
}

int store_session_sweep(struct store *s, usec now, struct err *err)
{
	int count, r = store_begin_write(s, err);

	if (r < 0)
		return r;
	count = store_query(s, "DELETE FROM access_sessions WHERE expires_at <= $1 RETURNING id",
			    STORE_PARAMS(store_int(now)), NULL, NULL, err);
	r = store_end_write(s, count, count > 0 ? "sessions ended" : NULL, err);
	return r < 0 ? r : count;
}
