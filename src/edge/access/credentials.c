#include "edge/access/credentials.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define CLIENT_ID "cf-access-client-id"
#define CLIENT_SECRET "cf-access-client-secret"

static size_t cookies(const struct fields *f, const char *name, struct bytes *ret, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < f->count; i++) {
		struct bytes rest = f->list[i].value, part;

		/* HTTP/1 allows one field, but not everybody keeps to it. */
		if (f->list[i].token != HEAD_COOKIE)
			continue;
		while (count < max && bytes_split(&rest, ';', &part)) {
			part = bytes_trim(part);
			size_t equals = bytes_index(part, '=');
			if (bytes_eq(bytes_first(part, equals), bytes_str(name)) &&
			    equals + 1 < part.len)
				ret[count++] = bytes_from(part, equals + 1);
		}
	}
	return count;
}

struct bytes access_cookie(const struct fields *f, const char *name)
{
	struct bytes value = BYTES_NONE;

	(void)cookies(f, name, &value, 1);
	return value;
}

static bool is_browser(const struct fields *f)
{
	return fields_find_text(f, BYTES_LIT("sec-fetch-site")) != NULL;
}

struct bytes access_own_cookie(const struct fields *f, const char *name)
{
	char own[64];
	struct bytes value;

	snprintf(own, sizeof(own), ACCESS_HOST_PREFIX "%s", name);
	value = access_cookie(f, own);
	return value.len || is_browser(f) ? value : access_cookie(f, name);
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

	c.tokens[0] = single(f, "cf-access-token", &c.is_repeated);
	c.token_count = c.tokens[0].len > 0;
	c.client_id = single(f, CLIENT_ID, &c.is_repeated);
	c.client_secret = single(f, CLIENT_SECRET, &c.is_repeated);
	if (c.token_count == 0) {
		c.token_count = cookies(f, ACCESS_COOKIE, c.tokens, ACCESS_TOKENS_MAX);
		c.is_cookie = true;
		c.is_browser = is_browser(f);
	}
	c.app_session = access_own_cookie(f, ACCESS_APP_COOKIE);
	c.binding = access_cookie(f, ACCESS_HOST_PREFIX ACCESS_BINDING_COOKIE);
	if (token_header[0] && c.client_id.len == 0) {
		both = single(f, token_header, &c.is_repeated);
		if (both.len)
			read_json(x, both, &c);
	}
	return c;
}

/* --- Taking out ------------------------------------------------------------------------------- */

/* Names of cookies that are ours, whatever their case is: who reads them otherwise than we do shall see nothing. */
static bool is_ours(struct bytes cookie, struct bytes good)
{
	static const struct bytes names[] = {
		BYTES_LIT(ACCESS_COOKIE),
		BYTES_LIT(ACCESS_APP_COOKIE),
		BYTES_LIT(ACCESS_BINDING_COOKIE),
	};
	size_t equals = bytes_index(cookie, '=');
	struct bytes name = bytes_trim(bytes_first(cookie, equals));

	if (good.len && bytes_eq(name, BYTES_LIT(ACCESS_COOKIE)) &&
	    bytes_eq(bytes_from(cookie, equals + 1), good))
		return false;
	if (bytes_eq_nocase(bytes_first(name, strlen(ACCESS_HOST_PREFIX)),
			    BYTES_LIT(ACCESS_HOST_PREFIX)))
		name = bytes_from(name, strlen(ACCESS_HOST_PREFIX));
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (bytes_eq_nocase(name, names[i]))
			return true;
	return false;
}

/* The same list without ours; the very bytes when there is none of them. */
static struct bytes without_ours(struct exchange *x, struct bytes value, struct bytes good)
{
	struct bytes rest = value, part;
	bool has_ours = false;
	uint8_t *kept;
	size_t len = 0;

	while (bytes_split(&rest, ';', &part))
		has_ours = has_ours || is_ours(bytes_trim(part), good);
	if (!has_ours)
		return value;
	kept = arena_alloc_bytes(&x->arena, 2 * value.len + 2);
	for (rest = value; bytes_split(&rest, ';', &part);) {
		part = bytes_trim(part);
		if (part.len == 0 || is_ours(part, good))
			continue;
		if (len) {
			kept[len++] = ';';
			kept[len++] = ' ';
		}
		memcpy(kept + len, part.ptr, part.len);
		len += part.len;
	}
	return bytes_of(kept, len);
}

void access_credentials_strip(struct exchange *x, const char *token_header, struct bytes good)
{
	struct fields *f = &x->request.fields;
	size_t kept = 0;

	fields_remove_text(f, BYTES_LIT("cf-access-token"));
	fields_remove_text(f, BYTES_LIT(CLIENT_SECRET));
	if (token_header[0])
		fields_remove_text(f, bytes_str(token_header));
	for (size_t i = 0; i < f->count; i++) {
		if (f->list[i].token == HEAD_COOKIE) {
			f->list[i].value = without_ours(x, f->list[i].value, good);
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
