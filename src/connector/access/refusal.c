#include "connector/access/refusal.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "base/mem.h"

#define LOGIN_PATH "/cdn-cgi/access/login"
#define USE_TOKEN                                                                             \
	"sign in (access login), or use a service token (--service-token-id, and the secret " \
	"in TUNNEL_SERVICE_TOKEN_SECRET)"

/* What the peer said, clipped, and without bytes that a terminal would obey. */
static void clean(char *text)
{
	for (; *text; text++)
		if ((uint8_t)*text < ' ' || (uint8_t)*text >= 0x7f)
			*text = '?';
}

static const char *member(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* The edge's own words (edge/route/error_page.c): error, detail, hop, code. False when it is another's. */
static bool explain_json(const struct head *answer, struct bytes body, const char *who,
			 struct err *err)
{
	json_t *object = json_loadb((const char *)body.ptr, body.len, 0, NULL);
	const char *title = member(object, "error"), *detail = member(object, "detail");
	const char *hop = member(object, "hop"), *request = member(object, "request_id");
	json_int_t code = json_integer_value(json_object_get(object, "code"));
	char number[32] = "";

	if (!*title) {
		json_decref(object);
		return false;
	}
	if (code)
		(void)snprintf(number, sizeof(number), ", code %lld", (long long)code);
	err_set(err, answer->status == 404 ? E_NOT_FOUND : E_PROTOCOL,
		"%s answered %d%s: %.80s%s%.20s%s%s%.160s%s%.40s%s", who, answer->status, number,
		title, *hop ? ", at the " : "", hop, *hop ? " hop" : "", *detail ? ": " : "",
		detail, *request ? " (request " : "", request, *request ? ")" : "");
	json_decref(object);
	return true;
}

/* "error code: 1033" and other answers in a line of text. */
static struct bytes first_line(const struct head *answer, struct bytes body)
{
	const struct field *type = fields_find(&answer->fields, HEAD_CONTENT_TYPE);

	if (!type || !bytes_eq_nocase(bytes_first(type->value, 10), BYTES_LIT("text/plain")))
		return BYTES_NONE;
	struct bytes line = bytes_first(body, bytes_index(body, '\n'));
	while (line.len && line.ptr[line.len - 1] == '\r')
		line.len--;
	return bytes_first(line, 200);
}

static bool contains(struct bytes text, struct bytes part)
{
	for (size_t i = 0; i + part.len <= text.len; i++)
		if (bytes_eq(bytes_of(text.ptr + i, part.len), part))
			return true;
	return false;
}

static void wants_login(const struct head *answer, const char *who, struct err *err)
{
	err_set(err, E_DENIED, "%s wants a login first (%d): " USE_TOKEN, who, answer->status);
	err->sys_errno = EACCES;
}

/* What an edge of ours says to programs, instead of a redirect. */
static bool asks_for_login(const struct head *answer)
{
	const struct field *f = fields_find_text(&answer->fields, BYTES_LIT("www-authenticate"));

	return answer->status == 401 && f &&
	       bytes_eq_nocase(f->value, BYTES_LIT("Cloudflare-Access"));
}

static void explain_redirect(const struct head *answer, const char *who, struct err *err)
{
	const struct field *location = fields_find(&answer->fields, HEAD_LOCATION);
	struct bytes to = location ? bytes_first(location->value, 200) : BYTES_NONE;

	/* The query has state of the login. */
	if (location && contains(bytes_first(location->value, bytes_index(location->value, '?')),
				 BYTES_LIT(LOGIN_PATH)))
		wants_login(answer, who, err);
	else
		err_set(err, E_PROTOCOL,
			"%s redirects (%d) to \"" BYTES_FMT
			"\" instead of opening a WebSocket: is this the right hostname?",
			who, answer->status, BYTES_ARG(bytes_first(to, bytes_index(to, '?'))));
}

void refusal_explain(const struct head *answer, struct bytes body, struct bytes authority,
		     struct err *err)
{
	char *who = mem_strndup(bytes_first(authority, 120));
	struct bytes line = first_line(answer, body);
	struct err why = { 0 };

	if (answer->status / 100 == 3)
		explain_redirect(answer, who, &why);
	else if (asks_for_login(answer))
		wants_login(answer, who, &why);
	else if (body.len && explain_json(answer, body, who, &why))
		;
	else if (answer->status == 401 || answer->status == 403)
		err_set(&why, E_DENIED,
			"%s refuses access (%d): its policies let nobody in without a login or a valid "
			"service token; " USE_TOKEN,
			who, answer->status);
	else if (answer->status / 100 == 2)
		err_set(&why, E_PROTOCOL,
			"%s answered %d instead of opening a WebSocket: its service is a web site, "
			"not one of the kind tcp://, ssh://, rdp:// or smb://",
			who, answer->status);
	else
		err_set(&why, answer->status == 404 ? E_NOT_FOUND : E_PROTOCOL,
			"%s answered %d%s%s instead of opening a WebSocket%s" BYTES_FMT, who,
			answer->status, *head_reason(answer->status) ? " " : "",
			head_reason(answer->status), line.len ? ": " : "", BYTES_ARG(line));
	clean(why.text);
	*err = why;
	mem_free(who);
}
