/* The page of the applications that somebody who is signed in may open (CONTROL §5.8's app launcher). */
#include <string.h>

#include "edge/access/desk.h"
#include "edge/control/page.h"

#define PAGE "/cdn-cgi/access/apps"
/* More is no page that anybody looks through; the rest is still open to them. */
#define ROWS_MAX 500

/* Where it begins, as far as that can be said: with a star in the host there is no such place, one in the path ends it.
 * Applications are where this host is, on its port. */
static struct bytes address_of(struct ask *a, const struct access_app *app)
{
	struct arena *arena = &a->request->arena;
	struct bytes own = bytes_from(bytes_str(a->control->public_url), strlen("https://"));
	struct bytes name = head_host(own, arena);
	/* An IPv6 address has its brackets there, and only there. */
	size_t port = bytes_starts_with(own, BYTES_LIT("[")) ? name.len + 2 : name.len;

	for (size_t i = 0; i < app->place_count; i++) {
		const struct access_place *p = &app->places[i];
		if (p->host_stars)
			continue;
		struct bytes path = bytes_first(p->path, bytes_index(p->path, '*'));
		if (path.len < p->path.len) /* back to the last whole segment */
			while (path.len && path.ptr[path.len - 1] != '/')
				path.len--;
		return arena_printf(arena, "https://" BYTES_FMT BYTES_FMT "/" BYTES_FMT,
				    BYTES_ARG(p->host), BYTES_ARG(bytes_from(own, port)),
				    BYTES_ARG(path));
	}
	return BYTES_NONE;
}

/* What an external service says is asked when they open it. */
static bool may_open(struct ask *a, const struct access_app *app,
		     const struct access_identity *identity)
{
	switch (desk_decide(a, app, identity, NULL, 0).outcome) {
	case ACCESS_PASS:
	case ACCESS_ALLOWED:
	case ACCESS_ASK:
		return true;
	case ACCESS_REFUSED:
	case ACCESS_SERVICE:
	case ACCESS_SIGN_IN:
		break;
	}
	return false;
}

static struct bytes row_of(struct ask *a, const struct access_app *app, struct bytes address)
{
	struct arena *arena = &a->request->arena;
	const struct page_value values[] = {
		{ "href", address, false },
		{ "name", bytes_str(app->name), false },
		{ "logo", bytes_str(app->logo_url), false },
		{ "address", bytes_from(address, strlen("https://")), false },
	};
	const char *asset = app->logo_url[0] ? "access_app_logo.html" : "access_app.html";

	return page_fill(arena, asset, values, ARRAY_LEN(values));
}

static struct bytes rows_of(struct ask *a, const struct access_set *set,
			    const struct access_identity *identity, struct bytes *ret_images)
{
	struct arena *arena = &a->request->arena;
	struct bytes html = BYTES_NONE;
	size_t count, rows = 0;
	const struct access_app *apps = access_set_apps(set, &count);

	*ret_images = BYTES_NONE;
	for (size_t i = 0; i < count && rows < ROWS_MAX; i++) {
		struct bytes address = address_of(a, &apps[i]);
		if (!apps[i].is_in_launcher || !address.len || !may_open(a, &apps[i], identity))
			continue;
		struct bytes row = row_of(a, &apps[i], address);
		struct bytes source = desk_image_source(bytes_str(apps[i].logo_url));
		html = arena_printf(arena, BYTES_FMT BYTES_FMT, BYTES_ARG(html), BYTES_ARG(row));
		if (source.len)
			*ret_images = arena_printf(arena, BYTES_FMT " " BYTES_FMT,
						   BYTES_ARG(*ret_images), BYTES_ARG(source));
		rows++;
	}
	if (!rows)
		return BYTES_LIT("<p>There is none that you may open. Whoever runs this edge can "
				 "change that.</p>");
	return arena_printf(arena, "<ul class=\"apps\">" BYTES_FMT "</ul>", BYTES_ARG(html));
}

enum ask_result desk_launcher(struct ask *a)
{
	struct arena *arena = &a->request->arena;
	struct desk_session s;
	struct err err = { 0 };
	struct bytes images;
	const struct access_view *view = desk_view(a->control->desk, &err);

	if (!desk_is_control_host(a))
		return answer_text(a->request, 404, "Applications are listed at the control host\n");
	if (!view)
		return desk_not_ready(a, &err);
	if (!access_set_organization(access_view_set(view))->has_launcher)
		return desk_message(a, 404, "No list of applications",
				    "Whoever runs this edge has switched it off.", "/",
				    "Go to the start");
	if (!desk_session_of_cookie(a, &s))
		return desk_message(
			a, 401, "Sign in first",
			"Open one of the applications you may use, sign in, and come back "
			"here.",
			PAGE, "Try again");
	const struct page_value values[] = {
		{ "email", bytes_str(s.email), false },
		{ "list", rows_of(a, access_view_set(view), s.identity, &images), true },
	};
	struct bytes body = page_fill(arena, "access_apps.html", values, ARRAY_LEN(values));
	desk_session_done(&s);
	return desk_page_with(a, 200, "Your applications", body, false, images);
}
