#include "edge/access/credentials.h"

#include <jansson.h>
#include <string.h>

#define CLIENT_ID "cf-access-client-id"
#define CLIENT_SECRET "cf-access-client-secret"

struct bytes access_cookie(const struct fields *f, const char *name)
{
	for (size_t i = 0; i < f->count; i++) {
		struct bytes rest = f->list[i].value, part;

		/* HTTP/2 may send one field per cookie. */
		if (f->list[i].token != HEAD_COOKIE)
			continue;
		while (bytes_split(&rest, ';', &part)) {
			part = bytes_trim(part);
			size_t equals = bytes_index(part, '=');
			if (bytes_eq(bytes_first(part, equals), bytes_str(name)))
				return bytes_from(part, equals + 1);
		}
	}
	return BYTES_NONE;
}

/* A field that may be there once. */
static struct bytes single(const struct fields *f, const char *name, bool *is_repeated)
{
	const struct field *found = NULL;

	for (size_t i = 0; i < f->count; i++) {
		if (!bytes_eq_nocase(f->list[i].name, bytes_str(name)))
			continue;
		*is_repeated = *is_repeated || found;
		found = &f->list[i];
	}
	return found ? found->value : BYTES_NONE;
}

/* {"cf-access-client-id": …, "cf-access-client-secret": …} */
static void read_json(struct exchange *x, struct bytes value, struct access_credentials *c)
{
	json_t *object =
		json_loadb((const char *)value.ptr, value.len, JSON_REJECT_DUPLICATES, NULL);
	const char *id = json_string_value(json_object_get(object, CLIENT_ID));
	const char *secret = json_string_value(json_object_get(object, CLIENT_SECRET));

	if (id && secret) {
		c->client_id = arena_copy(&x->arena, bytes_str(id));
		c->client_secret = arena_copy(&x->arena, bytes_str(secret));
	}
	json_decref(object);
}

struct access_credentials access_credentials_of(struct exchange *x, const char *token_header)
{
	const struct fields *f = &x->request.fields;
	struct access_credentials c = { 0 };
	struct bytes both;

	c.token = single(f, "cf-access-token", &c.is_repeated);
	c.client_id = single(f, CLIENT_ID, &c.is_repeated);
	c.client_secret = single(f, CLIENT_SECRET, &c.is_repeated);
	if (c.token.len == 0) {
		c.token = access_cookie(f, ACCESS_COOKIE);
		c.is_cookie = true;
	}
	c.app_session = access_cookie(f, ACCESS_APP_COOKIE);
	c.binding = access_cookie(f, ACCESS_BINDING_COOKIE);
	if (token_header[0] && c.client_id.len == 0) {
		both = single(f, token_header, &c.is_repeated);
		if (both.len)
			read_json(x, both, &c);
	}
	return c;
}

/* --- Taking out ------------------------------------------------------------------------------- */

static bool is_ours(struct bytes cookie)
{
	struct bytes name = bytes_first(cookie, bytes_index(cookie, '='));

	return bytes_eq(name, BYTES_LIT(ACCESS_APP_COOKIE)) ||
	       bytes_eq(name, BYTES_LIT(ACCESS_BINDING_COOKIE));
}

/* The same list without ours; the very bytes when there is none of them. */
static struct bytes without_ours(struct exchange *x, struct bytes value)
{
	struct bytes rest = value, part, kept = BYTES_NONE;
	bool has_ours = false;

	while (bytes_split(&rest, ';', &part))
		has_ours = has_ours || is_ours(bytes_trim(part));
	if (!has_ours)
		return value;
	for (rest = value; bytes_split(&rest, ';', &part);) {
		part = bytes_trim(part);
		if (is_ours(part))
			continue;
		kept = kept.len ? arena_printf(&x->arena, BYTES_FMT "; " BYTES_FMT, BYTES_ARG(kept),
					       BYTES_ARG(part))
				: part;
	}
	return kept;
}

void access_credentials_strip(struct exchange *x, const char *token_header)
{
	struct fields *f = &x->request.fields;
	size_t kept = 0;

	fields_remove_text(f, BYTES_LIT("cf-access-token"));
	fields_remove_text(f, BYTES_LIT(CLIENT_SECRET));
	if (token_header[0])
		fields_remove_text(f, bytes_str(token_header));
	for (size_t i = 0; i < f->count; i++) {
		if (f->list[i].token == HEAD_COOKIE) {
			f->list[i].value = without_ours(x, f->list[i].value);
			if (f->list[i].value.len == 0)
				continue;
		}
		f->list[kept++] = f->list[i];
	}
	f->count = kept;
}

/* --- Navigations ------------------------------------------------------------------------------- */

static struct bytes value_of(const struct head *h, const char *name)
{
	const struct field *f = fields_find_text(&h->fields, bytes_str(name));

	return f ? f->value : BYTES_NONE;
}

static bool mentions(struct bytes text, const char *word)
{
	return text.len && memmem(text.ptr, text.len, word, strlen(word)) != NULL;
}

bool access_is_navigation(const struct head *h)
{
	struct bytes mode = value_of(h, "sec-fetch-mode"), accept = value_of(h, "accept");

	if (mode.len)
		return bytes_eq(mode, BYTES_LIT("navigate"));
	if (bytes_eq_nocase(value_of(h, "x-requested-with"), BYTES_LIT("XMLHttpRequest")))
		return false;
	/* Command lines say nothing, or that they take anything: they may follow, or tell the person. */
	return !mentions(accept, "application/json") || mentions(accept, "text/html");
}
