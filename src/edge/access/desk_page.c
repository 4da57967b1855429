/* How pages of Access look: their frame, with the organisation's name and logo, and what a browser may do there. They
 * are shown on the control host and on the hosts of applications; what they need comes from the same host. */
#include <string.h>

#include "edge/access/desk.h"
#include "edge/control/page.h"

#define OWN_BRAND "Adit"
#define ASSETS "/cdn-cgi/access/assets/"
#define OWN_LOGO ASSETS "icon.svg"

static const struct access_organization *organization(struct ask *a)
{
	const struct access_view *view = desk_view(a->control->desk, NULL);

	return view ? access_set_organization(access_view_set(view)) : NULL;
}

const char *desk_brand(struct ask *a)
{
	const struct access_organization *o = organization(a);

	return o && o->name[0] ? o->name : OWN_BRAND;
}

struct bytes desk_image_source(struct bytes url)
{
	struct bytes rest = bytes_from(url, strlen("https://"));

	if (!bytes_starts_with(url, BYTES_LIT("https://")))
		return bytes_starts_with(url, BYTES_LIT("data:")) ? BYTES_LIT("data:") : BYTES_NONE;
	return bytes_first(url, strlen("https://") + bytes_index(rest, '/'));
}

/* Chromium holds redirects that follow a form to form-action, too: who signs in is sent on to an identity provider or to
 * the application, and from there to wherever these want. Whatever is on a page of ours is ours, so no form on it goes
 * elsewhere by itself. */
static struct bytes content_policy(struct ask *a, struct bytes logo, bool has_script,
				   struct bytes images)
{
	return arena_printf(
		&a->request->arena,
		"default-src 'none'; style-src 'self'; img-src 'self' " BYTES_FMT BYTES_FMT
		"%s; form-action 'self' https:; base-uri 'none'; frame-ancestors 'none'",
		BYTES_ARG(desk_image_source(logo)), BYTES_ARG(images),
		has_script ? "; script-src 'self'" : "");
}

/* Browsers keep the sheet: other colours have another address. */
static struct bytes colours_link(struct ask *a, const struct access_organization *o)
{
	struct arena *arena = &a->request->arena;
	const struct colour *b = &o->background, *t = &o->text;
	const struct page_value values[] = {
		{ "version",
		  arena_printf(arena, "%02x%02x%02x%02x%02x%02x", b->red, b->green, b->blue, t->red,
			       t->green, t->blue),
		  false },
	};

	return page_fill(arena, "access_brand.html", values, ARRAY_LEN(values));
}

enum ask_result desk_page(struct ask *a, int status, const char *title, struct bytes body,
			  bool has_script)
{
	return desk_page_with(a, status, title, body, has_script, BYTES_NONE);
}

enum ask_result desk_page_with(struct ask *a, int status, const char *title, struct bytes body,
			       bool has_script, struct bytes images)
{
	struct control_request *r = a->request;
	const struct access_organization *o = organization(a);
	struct bytes logo = o && o->logo_url[0] ? bytes_str(o->logo_url) : BYTES_LIT(OWN_LOGO);
	const struct page_value values[] = {
		{ "title", bytes_str(title), false },
		{ "brand", bytes_str(desk_brand(a)), false },
		{ "logo", logo, false },
		{ "script",
		  has_script ? page_fill(&r->arena, "access_script.html", NULL, 0) : BYTES_NONE,
		  true },
		{ "colours", o && o->has_colours ? colours_link(a, o) : BYTES_NONE, true },
		{ "body", body, true },
	};

	answer_field(r, "Content-Security-Policy", content_policy(a, logo, has_script, images));
	answer_field(r, "X-Frame-Options", BYTES_LIT("DENY"));
	/* Addresses of pages hold states and one-time tokens. */
	answer_field(r, "Referrer-Policy", BYTES_LIT("no-referrer"));
	return answer(r, status, "text/html; charset=utf-8",
		      page_fill(&r->arena, "access_layout.html", values, ARRAY_LEN(values)));
}

enum ask_result desk_message(struct ask *a, int status, const char *title, const char *text,
			     const char *href, const char *link)
{
	const struct page_value values[] = {
		{ "title", bytes_str(title), false },
		{ "text", bytes_str(text), false },
		{ "href", bytes_str(href), false },
		{ "link", bytes_str(link), false },
	};

	return desk_page(a, status, title,
			 page_fill(&a->request->arena, "message.html", values, ARRAY_LEN(values)),
			 false);
}

struct bytes desk_notice(struct ask *a, const char *text)
{
	const struct page_value values[] = { { "text", bytes_str(text), false } };

	return text ? page_fill(&a->request->arena, "notice.html", values, 1) : BYTES_NONE;
}

enum ask_result desk_asset(struct ask *a)
{
	static const struct {
		const char *name, *type;
	} served[] = {
		{ "style.css", "text/css; charset=utf-8" },
		{ "icon.svg", "image/svg+xml" },
		{ "passkey.js", "text/javascript; charset=utf-8" },
		{ "close.js", "text/javascript; charset=utf-8" },
	};

	const struct access_organization *o = organization(a);

	if (bytes_eq(a->args[0], BYTES_LIT("brand.css")) && o && o->has_colours) {
		answer_field(a->request, "Cache-Control", BYTES_LIT("public, max-age=600"));
		return answer(a->request, 200, "text/css; charset=utf-8",
			      palette_css(&a->request->arena, o->background, o->text));
	}
	for (size_t i = 0; i < ARRAY_LEN(served); i++) {
		if (!bytes_eq(a->args[0], bytes_str(served[i].name)))
			continue;
		answer_field(a->request, "Cache-Control", BYTES_LIT("public, max-age=600"));
		return answer(a->request, 200, served[i].type, page_asset(served[i].name));
	}
	return answer_text(a->request, 404, "There is no such file\n");
}
