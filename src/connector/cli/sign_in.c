#include "connector/cli/sign_in.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/box.h"
#include "base/encode.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "connector/access/target.h"
#include "connector/cli/token_file.h"
#include "connector/cli/files.h"
#include "http/fetch.h"
#include "jose/jwt.h"

#define COMPONENT "access"
#define ACCESS "/cdn-cgi/access/"
#define ASK_TIMEOUT (15 * USEC_PER_SEC)
/* The store holds each poll for 50 s, and what it has for 10 min. */
#define POLL_TIMEOUT (60 * USEC_PER_SEC)
#define WINDOW (600 * USEC_PER_SEC)
#define POLL_PAUSE_MSEC 1000
#define POLL_FAILURES 5
#define TOKENS_BYTES_MAX (4 * LIMIT_JWT_BYTES)
#define STOCK_SUFFIX ".cloudflareaccess.com"
/* Stock clients take keys as fresh until a day after the file's time: 2100-01-01. */
#define FAR_FUTURE 4102444800

/* --- Asking -------------------------------------------------------------------------------------- */

static int ask(const struct sign_in_client *c, const char *method, const char *url,
	       const struct fetch_header *extra, struct bytes body, usec timeout,
	       struct fetch_response *ret, struct err *err)
{
	char *agent = mem_printf("%s/%s", c->program, ADIT_VERSION);
	const struct fetch_header headers[] = {
		{ "User-Agent", agent },
		extra ? *extra : (struct fetch_header){ "Accept", "*/*" },
	};
	const struct fetch_request request = {
		.method = method,
		.url = url,
		.headers = headers,
		.header_count = ARRAY_LEN(headers),
		.body = body,
		.timeout = timeout,
		.body_max = TOKENS_BYTES_MAX,
		.ca_pem = c->ca_pem,
		.use_proxy = true,
	};
	int r = fetch(&request, ret, err);

	mem_free(agent);
	return r;
}

/* A cookie of an answer, owned; NULL: it sets none of that name. */
static char *cookie_of(const struct fetch_response *res, const char *name)
{
	struct bytes rest = buf_bytes(&res->head), line;
	size_t len = strlen(name);

	while (bytes_split(&rest, '\n', &line)) {
		size_t colon = bytes_index(line, ':');
		struct bytes value = bytes_trim(bytes_from(line, colon + 1));

		if (!bytes_eq_nocase(bytes_first(line, colon), BYTES_LIT("set-cookie")))
			continue;
		value = bytes_first(value, bytes_index(value, ';'));
		if (value.len > len + 1 && value.ptr[len] == '=' &&
		    bytes_eq(bytes_first(value, len), bytes_str(name)))
			return mem_strndup(bytes_from(value, len + 1));
	}
	return NULL;
}

static char *with_slash_path(const char *base, const char *path)
{
	return mem_printf("%s%s", base, path);
}

/* --- What guards a URL ----------------------------------------------------------------------------- */

static char *text_of(const json_t *claims, const char *name)
{
	const char *text = json_string_value(json_object_get(claims, name));

	return mem_strdup(text ? text : "");
}

static bool is_origin(const char *url)
{
	size_t end = strlen("https://");

	return strncmp(url, "https://", end) == 0 && url[end] && strlen(url) < 300 &&
	       !url[end + strcspn(url + end, "/?#@\\ \"\r\n")];
}

static int parse_url(const char *text, struct sign_in_app *app, struct bytes *ret_host,
		     struct arena *arena, struct err *err)
{
	struct bytes path;
	uint16_t port;
	int r = access_parse_hostname(arena, text, ret_host, &port, &path, err);

	if (r < 0)
		return r;
	bool is_v6 = bytes_index(*ret_host, ':') < ret_host->len;
	char number[8] = "";
	if (port != 443)
		(void)snprintf(number, sizeof(number), ":%u", port);
	app->origin = mem_printf("https://%s" BYTES_FMT "%s%s", is_v6 ? "[" : "",
				 BYTES_ARG(*ret_host), is_v6 ? "]" : "", number);
	app->url = mem_printf("%s" BYTES_FMT, app->origin, BYTES_ARG(path));
	return 0;
}

static int fetch_keys(const struct sign_in_client *c, struct sign_in_app *app, struct err *err)
{
	char *url = with_slash_path(app->issuer, ACCESS "certs");
	struct fetch_response res;
	int r = ask(c, "GET", url, NULL, BYTES_NONE, ASK_TIMEOUT, &res, err);

	if (r == 0) {
		if (res.status != 200 || res.body.len == 0)
			r = err_set(err, E_PROTOCOL, "%s answered %d", url, res.status);
		else
			app->keys = mem_strndup(buf_bytes(&res.body));
		fetch_response_done(&res);
	}
	mem_free(url);
	return r < 0 ? err_wrap(err, "the keys of Access") : 0;
}

static int verify(const struct sign_in_app *app, const char *token, struct err *err)
{
	const char *const audiences[] = { app->aud };
	const struct jwt_expected expected = {
		.issuer = app->issuer,
		.audiences = audiences,
		.audience_count = 1,
		.now = clock_wall_now(),
	};
	struct key_set *keys = key_set_parse(bytes_str(app->keys), err);
	struct jwt_claims claims;
	struct arena arena;
	int r;

	if (!keys)
		return err ? err->code : E_PARSE;
	arena_init(&arena);
	r = jwt_verify(keys, bytes_str(token), &expected, &arena, &claims, err);
	arena_done(&arena);
	key_set_free(keys);
	return r;
}

static int make_paths(const struct sign_in_client *c, struct sign_in_app *app, struct err *err)
{
	char *host = token_file_part(app->host), *aud = token_file_part(app->aud);
	char *team = token_file_part(app->team[0] ? app->team : app->issuer + strlen("https://"));
	int r = host && aud && team
			? 0
			: err_set(err, E_PROTOCOL,
				  "what guards %s has a name that no file can have", app->url);

	if (r == 0) {
		app->token_path = mem_printf("%s/%s-%s-token", c->directory, host, aud);
		app->org_path = mem_printf("%s/%s-org-token", c->directory, team);
	}
	mem_free(host);
	mem_free(aud);
	mem_free(team);
	return r;
}

/* The claims were read without a check, to know whose keys to check them with; whose they are decides where the
 * organisation's token may go. */
static int take_metadata(const struct sign_in_client *c, struct sign_in_app *app, const char *token,
			 struct bytes host, struct err *err)
{
	json_t *claims = token_claims(bytes_str(token));
	const char *type = json_string_value(json_object_get(claims, "type"));
	const char *there = json_string_value(json_object_get(claims, "hostname"));
	const json_t *aud = json_object_get(claims, "aud");
	const char *first = json_string_value(json_is_array(aud) ? json_array_get(aud, 0) : aud);
	int r = 0;

	app->issuer = text_of(claims, "iss");
	app->host = text_of(claims, "app_hostname");
	app->team = text_of(claims, "auth_domain");
	app->aud = mem_strdup(first ? first : "");
	if (!app->host[0]) {
		mem_free(app->host);
		app->host = mem_strndup(host);
	}
	if (!type || strcmp(type, "match") != 0 || !app->aud[0] || !there ||
	    !bytes_eq_nocase(bytes_str(there), host) || !is_origin(app->issuer))
		r = err_set(err, E_PROTOCOL,
			    "%s says what guards it in a way that is not understood", app->url);
	json_decref(claims);
	if (r == 0)
		r = fetch_keys(c, app, err);
	if (r == 0 && verify(app, token, err) < 0)
		r = err_wrap(err, "what %s says of its guard", app->url);
	return r < 0 ? r : make_paths(c, app, err);
}

int sign_in_find(const struct sign_in_client *c, const char *text, struct sign_in_app *ret,
		 struct err *err)
{
	const struct fetch_header header = { "cf-access-metadata-request", "true" };
	struct fetch_response res;
	struct arena arena;
	struct bytes host;
	char *token = NULL;
	int r;

	*ret = (struct sign_in_app){ 0 };
	arena_init(&arena);
	r = parse_url(text, ret, &host, &arena, err);
	if (r == 0)
		r = ask(c, "HEAD", ret->url, &header, BYTES_NONE, ASK_TIMEOUT, &res, err);
	if (r == 0) {
		token = mem_strndup(fetch_response_header(&res, "cf-access-metadata"));
		fetch_response_done(&res);
		r = token[0] ? take_metadata(c, ret, token, host, err)
			     : err_set(err, E_NOT_FOUND, "failed to find Access application at %s",
				       ret->url);
	}
	mem_free(token);
	arena_done(&arena);
	if (r < 0)
		sign_in_app_done(ret);
	return r;
}

void sign_in_app_done(struct sign_in_app *app)
{
	mem_free(app->url);
	mem_free(app->origin);
	mem_free(app->issuer);
	mem_free(app->keys);
	mem_free(app->aud);
	mem_free(app->host);
	mem_free(app->team);
	mem_free(app->token_path);
	mem_free(app->org_path);
	*app = (struct sign_in_app){ 0 };
}

/* --- Tokens there are ------------------------------------------------------------------------------- */

static char *forget(char *secret)
{
	if (secret)
		secret_wipe(secret, strlen(secret));
	return mem_free(secret);
}

char *sign_in_stored(const struct sign_in_app *app)
{
	return token_file_read(app->token_path, app->issuer, app->aud, clock_wall_now());
}

bool sign_in_check(const struct sign_in_client *c, const struct sign_in_app *app, const char *token)
{
	char *url = with_slash_path(app->origin, ACCESS "get-identity");
	char *cookie = mem_printf("CF_Authorization=%s", token);
	const struct fetch_header header = { "Cookie", cookie };
	struct fetch_response res;
	bool is_over = false;

	/* What cannot be asked is not over. */
	if (ask(c, "GET", url, &header, BYTES_NONE, ASK_TIMEOUT, &res, NULL) == 0) {
		is_over = res.status == 401;
		fetch_response_done(&res);
	}
	if (is_over)
		(void)unlink(app->token_path);
	forget(cookie);
	mem_free(url);
	return !is_over;
}

/* --- By the organisation's token -------------------------------------------------------------------- */

static bool is_below(const char *url, const char *base, const char *path)
{
	size_t len = strlen(base);

	return strncmp(url, base, len) == 0 && strncmp(url + len, path, strlen(path)) == 0;
}

/* One step: HEAD with a cookie; where it leads to (owned) if that is a redirect, and a cookie that it sets (owned). */
static int step(const struct sign_in_client *c, const char *url, const char *cookie,
		const char *wanted, char **ret_to, char **ret_cookie, struct err *err)
{
	const struct fetch_header header = { "Cookie", cookie ? cookie : "" };
	struct fetch_response res;
	int r = ask(c, "HEAD", url, cookie ? &header : NULL, BYTES_NONE, ASK_TIMEOUT, &res, err);

	if (r < 0)
		return r;
	*ret_to = mem_strndup(res.status == 302 ? fetch_response_header(&res, "Location")
						: BYTES_NONE);
	*ret_cookie = wanted ? cookie_of(&res, wanted) : NULL;
	fetch_response_done(&res);
	return 0;
}

/* NULL when it does not work: the session may be over, or the application asks for another way to sign in. */
static char *exchange(const struct sign_in_client *c, const struct sign_in_app *app,
		      const char *org_token)
{
	char *login = NULL, *back = NULL, *end = NULL, *session = NULL, *none = NULL, *token = NULL;
	char *org = mem_printf("CF_Authorization=%s", org_token), *cookie = NULL;
	struct err err = { 0 };

	if (step(c, app->url, NULL, "CF_AppSession", &login, &session, &err) == 0 && session &&
	    is_below(login, app->issuer, ACCESS "login") &&
	    step(c, login, org, NULL, &back, &none, &err) == 0 &&
	    is_below(back, app->origin, ACCESS "authorized")) {
		cookie = mem_printf("CF_AppSession=%s", session);
		if (step(c, back, cookie, "CF_Authorization", &end, &token, &err) == 0 && token &&
		    verify(app, token, &err) < 0)
			token = forget(token);
	}
	if (!token)
		log_debug(COMPONENT, "The session of before gives no token",
			  LOG_STR("error", err.text));
	mem_free(login);
	forget(back);
	mem_free(end);
	forget(session);
	mem_free(none);
	forget(org);
	forget(cookie);
	return token;
}

/* --- By a person ------------------------------------------------------------------------------------- */

static char *page_url(const struct sign_in_client *c, const struct sign_in_app *app, const char *key)
{
	char *back = mem_printf("%s%saud=%s&token=%s", app->url, strchr(app->url, '?') ? "&" : "?",
				app->aud, key);
	struct buf out;
	char *url;
	int r;

	buf_init(&out, 4 * (strlen(back) + strlen(app->origin)) + 512);
	r = buf_printf(&out, "%s" ACCESS "cli?aud=", app->origin);
	r |= fetch_escape(&out, bytes_str(app->aud));
	r |= buf_append_str(&out, "&edge_token_transfer=true&redirect_url=");
	r |= fetch_escape(&out, bytes_str(back));
	r |= buf_append_str(&out, "&send_org_token=true&token=");
	r |= fetch_escape(&out, bytes_str(key));
	if (c->wants_close)
		r |= buf_append_str(&out, "&close_interstitial=true");
	BUG_IF(r < 0);
	url = buf_take_str(&out);
	buf_done(&out);
	mem_free(back);
	return url;
}

/* As the page shows it (edge/access/desk_cli.c). */
static void code_of(const struct box_keys *keys, char text[10])
{
	uint8_t hash[HASH_SHA256_BYTES];
	char hex[8];

	hash_sha256(bytes_of(keys->public_key, BOX_KEY_BYTES), hash);
	hex_encode(bytes_of(hash, sizeof(hex) / 2), hex);
	(void)snprintf(text, 10, "%.4s-%.4s", hex, hex + 4);
}

/* 1 with the sealed text and its sender's key, 0 not yet, negative: it failed. */
static int poll_once(const struct sign_in_client *c, const char *url, struct fetch_response *ret,
		     struct err *err)
{
	int r = ask(c, "GET", url, NULL, BYTES_NONE, POLL_TIMEOUT, ret, err);

	if (r < 0)
		return r;
	if (ret->status == 200 && ret->body.len > 0)
		return 1;
	if (ret->status >= 500)
		r = err_set(err, E_CLOSED, "%s answered %d", url, ret->status);
	fetch_response_done(ret);
	return r;
}

static int wait_for_tokens(const struct sign_in_client *c, const char *url,
			   struct fetch_response *ret, struct err *err)
{
	usec end = clock_now() + WINDOW;
	unsigned failures = 0;

	while (clock_now() < end) {
		usec started = clock_now();
		int r = poll_once(c, url, ret, err);

		if (r > 0)
			return 0;
		if (r == 0)
			failures = 0;
		else if (r != E_TIMEOUT && ++failures > POLL_FAILURES)
			return r;
		if (clock_now() - started < POLL_PAUSE_MSEC * USEC_PER_MSEC)
			(void)poll(NULL, 0, POLL_PAUSE_MSEC);
	}
	return err_set(err, E_TIMEOUT, "nobody approved the sign-in within 10 minutes");
}

/* {"app_token", "org_token"}; a new reference, NULL: it is not for us. */
static json_t *unseal(const struct box_keys *keys, const struct fetch_response *res)
{
	struct bytes sender = fetch_response_header(res, "service-public-key");
	struct bytes text = bytes_trim(buf_bytes(&res->body));
	uint8_t key[2 * BOX_KEY_BYTES], *sealed = mem_alloc(text.len / 4 * 3 + 4);
	json_t *object = NULL;
	size_t len, key_len;
	struct buf open;

	buf_init(&open, TOKENS_BYTES_MAX);
	if (sender.len <= 44 && base64_decode(BASE64_URL, sender, key, &key_len) &&
	    key_len == BOX_KEY_BYTES && base64_decode(BASE64_STD, text, sealed, &len) &&
	    box_open(keys, key, bytes_of(sealed, len), &open) == 0)
		object = json_loadb((const char *)open.ptr, open.len, JSON_REJECT_DUPLICATES, NULL);
	secret_wipe(open.ptr, open.len);
	buf_done(&open);
	mem_free(sealed);
	return object;
}

static int store(const char *path, const char *token, struct err *err)
{
	return file_overwrite(path, 0600, bytes_str(token), err);
}

static char *take_tokens(const struct sign_in_app *app, const json_t *tokens, struct err *err)
{
	const char *token = json_string_value(json_object_get(tokens, "app_token"));
	const char *org = json_string_value(json_object_get(tokens, "org_token"));
	struct err why = { 0 };

	if (!token) {
		err_set(err, E_PROTOCOL, "what the edge sent is not for this command");
		return NULL;
	}
	if (verify(app, token, err) < 0) {
		err_wrap(err, "the token that came");
		return NULL;
	}
	/* Next time it saves the browser; without it the sign-in is a good one, too. */
	if (org && store(app->org_path, org, &why) < 0)
		log_warn(COMPONENT, "The session is not remembered", LOG_STR("error", why.text));
	return mem_strdup(token);
}

static char *by_browser(const struct sign_in_client *c, const struct sign_in_app *app,
			struct err *err)
{
	struct fetch_response res;
	struct box_keys keys;
	char *key, *url, *token = NULL, code[10];
	json_t *tokens;

	if (box_keys_new(&keys, err) < 0)
		return NULL;
	key = base64_text(BASE64_URL, bytes_of(keys.public_key, BOX_KEY_BYTES));
	code_of(&keys, code);
	url = page_url(c, app, key);
	c->announce(c->ctx, url, code);
	mem_free(url);
	url = mem_printf("%s/transfer/%s", app->issuer, key);
	if (wait_for_tokens(c, url, &res, err) == 0) {
		tokens = unseal(&keys, &res);
		token = take_tokens(app, tokens, err);
		json_decref(tokens);
		fetch_response_done(&res);
	}
	mem_free(url);
	mem_free(key);
	secret_wipe(&keys, sizeof(keys));
	return token;
}

/* --- All of it -------------------------------------------------------------------------------------- */

/* Held until the process ends or the descriptor is closed, whichever way: nothing is ever stale. */
static int take_lock(const struct sign_in_client *c, const struct sign_in_app *app, struct err *err)
{
	char *path = mem_printf("%s.lock", app->token_path);
	int fd;

	if (mkdir(c->directory, 0700) != 0 && errno != EEXIST) {
		mem_free(path);
		return err_set_errno(err, E_IO, errno, "mkdir %s", c->directory);
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		err_set_errno(err, E_IO, errno, "open %s", path);
		mem_free(path);
		return E_IO;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		log_info(COMPONENT, "Waiting for another command that is signing in");
		while (flock(fd, LOCK_EX) != 0 && errno == EINTR)
			;
	}
	mem_free(path);
	return fd;
}

static char *fetch_token(const struct sign_in_client *c, const struct sign_in_app *app,
			 struct err *err)
{
	char *org = token_file_read(app->org_path, app->issuer, NULL, clock_wall_now());
	char *token = org ? exchange(c, app, org) : NULL;

	forget(org);
	if (!token)
		token = by_browser(c, app, err);
	if (token && store(app->token_path, token, err) < 0)
		token = forget(token);
	return token;
}

char *sign_in(const struct sign_in_client *c, const struct sign_in_app *app, struct err *err)
{
	int lock = take_lock(c, app, err);
	char *token;

	if (lock < 0)
		return NULL;
	token = sign_in_stored(app);
	if (token && !sign_in_check(c, app, token))
		token = forget(token);
	if (!token)
		token = fetch_token(c, app, err);
	close(lock); /* allowed: a lock file of this command line */
	return token;
}

/* --- For stock clients ------------------------------------------------------------------------------ */

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len > end_len && strcmp(text + len - end_len, end) == 0;
}

static int seed_file(const char *directory, const char *name, const char *text, struct err *err)
{
	char *path = mem_printf("%s/%s", directory, name);
	int r = file_overwrite(path, 0600, bytes_str(text), err);

	mem_free(path);
	return r;
}

static int seed_keys(const char *directory, const char *team, const char *keys, struct err *err)
{
	const struct timespec times[] = { { FAR_FUTURE, 0 }, { FAR_FUTURE, 0 } };
	char *name = mem_printf("%s-jwks", team), *path = mem_printf("%s/%s", directory, name);
	int r = seed_file(directory, name, keys, err);

	if (r == 0 && utimensat(AT_FDCWD, path, times, 0) != 0)
		r = err_set_errno(err, E_IO, errno, "the time of %s", path);
	mem_free(name);
	mem_free(path);
	return r;
}

int sign_in_seed(const struct sign_in_app *app, const char *directory, struct err *err)
{
	char *token = sign_in_stored(app), *team = token_file_part(app->team);
	char *org = token_file_read(app->org_path, app->issuer, NULL, clock_wall_now());
	char *name = NULL;
	int r = 0;

	if (!team || !ends_with(team, STOCK_SUFFIX))
		r = err_set(err, E_UNSUPPORTED,
			    "cloudflared accepts only edges whose organisation is called "
			    "NAME" STOCK_SUFFIX " (auth_domain), and this one is called \"%.100s\"",
			    app->team);
	if (r == 0 && mkdir(directory, 0700) != 0 && errno != EEXIST)
		r = err_set_errno(err, E_IO, errno, "mkdir %s", directory);
	if (r == 0)
		r = seed_keys(directory, team, app->keys, err);
	if (r == 0 && token)
		r = seed_file(directory, strrchr(app->token_path, '/') + 1, token, err);
	if (r == 0 && org) {
		name = mem_printf("%s-org-token", team);
		r = seed_file(directory, name, org, err);
	}
	mem_free(name);
	mem_free(team);
	forget(token);
	forget(org);
	return r;
}

/* --- SSH certificates --------------------------------------------------------------------------------- */

static char *certificate_of(const struct fetch_response *res, struct err *err)
{
	json_t *object = json_loadb(res->body.ptr ? (const char *)res->body.ptr : "", res->body.len,
				    0, NULL);
	const char *line = json_string_value(json_object_get(object, "certificate"));
	const char *message = json_string_value(json_object_get(object, "message"));
	char *ret = NULL;

	if (res->status == 200 && line && !strpbrk(line, "\r\n"))
		ret = mem_strdup(line);
	else
		err_set(err, res->status == 404 ? E_NOT_FOUND : E_DENIED,
			"no SSH certificate (%d): %.200s", res->status, message ? message : "");
	json_decref(object);
	for (char *c = err->text; !ret && *c; c++)
		if ((uint8_t)*c < ' ' || (uint8_t)*c >= 0x7f)
			*c = '?';
	return ret;
}

char *sign_in_certificate(const struct sign_in_client *c, const struct sign_in_app *app,
			  const char *token, const char *public_key, struct err *err)
{
	const struct fetch_header header = { "Content-Type", "application/json" };
	json_t *body = json_pack("{s:s, s:s, s:s}", "public_key", public_key, "jwt", token,
				 "issuer", app->issuer);
	char *text = json_dumps(body, JSON_COMPACT), *line = NULL;
	char *url = with_slash_path(app->issuer, ACCESS "cert_sign");
	struct fetch_response res;

	if (ask(c, "POST", url, &header, bytes_str(text), ASK_TIMEOUT, &res, err) == 0) {
		line = certificate_of(&res, err);
		fetch_response_done(&res);
	}
	secret_wipe(text, strlen(text));
	free(text); /* allowed: jansson took it from malloc */
	json_decref(body);
	mem_free(url);
	return line;
}
