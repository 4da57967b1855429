/* HTML pages from the templates in assets/. A template has places: {{name}} is replaced by the value,
 * escaped for text and quoted attributes; {{&name}} by HTML as it is, which only other templates make. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "edge/control/control_parts.h"

struct page_value {
	const char *name;
	struct bytes text;
	bool is_html; /* made by page_fill(); only then may {{&name}} take it */
};

/* Fills the template `file` ("home.html"). A place without a value stays empty. */
struct bytes page_fill(struct arena *a, const char *file, const struct page_value *values,
		       size_t count);
/* HTML-escapes & < > " ' . */
struct bytes page_escape(struct arena *a, struct bytes text);
/* An embedded file; BYTES_NONE when there is none. */
struct bytes page_asset(const char *file);

/* Answers with layout.html around `body` and the security fields of a page. `session` may be NULL. */
struct signin_session;
enum ask_result page_answer(struct ask *a, int status, const char *title, struct bytes body,
			    const struct signin_session *session);
