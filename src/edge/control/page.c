#include "edge/control/page.h"

#include <string.h>

#include "edge/control/assets.h"
#include "edge/control/signin.h"

struct bytes page_asset(const char *file)
{
	for (size_t i = 0; i < control_asset_count; i++)
		if (!strcmp(control_assets[i].name, file))
			return bytes_of(control_assets[i].data, control_assets[i].len);
	return BYTES_NONE;
}

static const char *entity(uint8_t c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

struct bytes page_escape(struct arena *a, struct bytes text)
{
	size_t len = 0;
	uint8_t *to;

	for (size_t i = 0; i < text.len; i++)
		len += entity(text.ptr[i]) ? strlen(entity(text.ptr[i])) : 1;
	to = arena_alloc_bytes(a, len + 1);
	len = 0;
	for (size_t i = 0; i < text.len; i++) {
		const char *e = entity(text.ptr[i]);

		if (e) {
			memcpy(to + len, e, strlen(e));
			len += strlen(e);
		} else {
			to[len++] = text.ptr[i];
		}
	}
	return bytes_of(to, len);
}

static struct bytes place_value(struct arena *a, struct bytes name, const struct page_value *values,
				size_t count)
{
	bool is_raw = bytes_starts_with(name, BYTES_LIT("&"));

	if (is_raw)
		name = bytes_from(name, 1);
	for (size_t i = 0; i < count; i++) {
		if (!bytes_eq(name, bytes_str(values[i].name)))
			continue;
		if (is_raw && values[i].is_html)
			return values[i].text;
		return page_escape(a, values[i].text);
	}
	return BYTES_NONE;
}

/* Cuts the text up to and including the next "{{" or "}}" off the front. */
static bool cut(struct bytes *rest, const char *mark, struct bytes *ret_before)
{
	const uint8_t *at = rest->len ? memmem(rest->ptr, rest->len, mark, 2) : NULL;

	if (!at)
		return false;
	*ret_before = bytes_of(rest->ptr, (size_t)(at - rest->ptr));
	*rest = bytes_from(*rest, ret_before->len + 2);
	return true;
}

struct bytes page_fill(struct arena *a, const char *file, const struct page_value *values,
		       size_t count)
{
	struct bytes rest = page_asset(file), before, name;
	struct bytes parts[64];
	size_t part_count = 0, len = 0;
	uint8_t *to;

	/* Templates are ours: one that is missing or has more places than fit is a mistake of ours. */
	BUG_IF(rest.len == 0);
	while (cut(&rest, "{{", &before)) {
		BUG_IF(!cut(&rest, "}}", &name) || part_count + 3 > ARRAY_LEN(parts));
		parts[part_count++] = before;
		parts[part_count++] = place_value(a, name, values, count);
	}
	parts[part_count++] = rest;
	for (size_t i = 0; i < part_count; i++)
		len += parts[i].len;
	to = arena_alloc_bytes(a, len + 1);
	len = 0;
	for (size_t i = 0; i < part_count; i++) {
		if (parts[i].len)
			memcpy(to + len, parts[i].ptr, parts[i].len);
		len += parts[i].len;
	}
	return bytes_of(to, len);
}

enum ask_result page_answer(struct ask *a, int status, const char *title, struct bytes body,
			    const struct signin_session *session)
{
	struct control_request *r = a->request;
	struct bytes account = BYTES_NONE;

	if (session) {
		const struct page_value values[] = {
			{ "email", bytes_str(session->email), false },
			{ "csrf", bytes_str(session->csrf), false },
		};
		account = page_fill(&r->arena, "account.html", values, ARRAY_LEN(values));
	}
	const struct page_value values[] = {
		{ "title", bytes_str(title), false },
		{ "body", body, true },
		{ "account", account, true },
	};
	body = page_fill(&r->arena, "layout.html", values, ARRAY_LEN(values));
	answer_field(
		r, "Content-Security-Policy",
		BYTES_LIT("default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
			  "base-uri 'none'; frame-ancestors 'none'"));
	answer_field(r, "X-Frame-Options", BYTES_LIT("DENY"));
	/* One-time links are addresses: no other site may learn where a visitor came from. */
	answer_field(r, "Referrer-Policy", BYTES_LIT("no-referrer"));
	return answer(r, status, "text/html; charset=utf-8", body);
}
