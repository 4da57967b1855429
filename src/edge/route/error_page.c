#include "edge/route/error_page.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "edge/forward/rewrite.h"
#include "edge/worker.h"

#define COMPONENT "edge/forward"
#define PAGE_BYTES (32 * 1024)

static const char *const hop_names[] = {
	[FAILURE_EDGE] = "edge",           [FAILURE_TUNNEL] = "tunnel",
	[FAILURE_CONNECTOR] = "connector", [FAILURE_ORIGIN] = "origin",
	[FAILURE_VISITOR] = "request",
};

/* --- HTML ------------------------------------------------------------------------------------ */

static int put_escaped(struct buf *out, struct bytes text)
{
	int ret = 0;

	for (size_t i = 0; i < text.len; i++) {
		switch (text.ptr[i]) {
		case '&':
			ret |= buf_append_str(out, "&amp;");
			break;
		case '<':
			ret |= buf_append_str(out, "&lt;");
			break;
		case '>':
			ret |= buf_append_str(out, "&gt;");
			break;
		case '"':
			ret |= buf_append_str(out, "&quot;");
			break;
		default:
			ret |= buf_append(out, bytes_from(bytes_first(text, i + 1), i));
		}
	}
	return ret;
}

static int put_row(struct buf *out, const char *name, struct bytes value)
{
	int ret = 0;

	if (value.len == 0)
		return 0;
	ret |= buf_printf(out, "<dt>%s</dt><dd>", name);
	ret |= put_escaped(out, value);
	ret |= buf_append_str(out, "</dd>");
	return ret;
}

/* Where the request got to: every hop before the failing one is fine, those behind were not reached. */
static int put_hops(struct buf *out, enum failure_hop failed)
{
	static const struct {
		enum failure_hop hop;
		const char *name;
	} hops[] = {
		{ FAILURE_VISITOR, "You" },    { FAILURE_EDGE, "Edge" },
		{ FAILURE_TUNNEL, "Tunnel" },  { FAILURE_CONNECTOR, "Connector" },
		{ FAILURE_ORIGIN, "Service" },
	};
	bool reached = true;
	int ret = buf_append_str(out, "<ol class=hops>");

	for (size_t i = 0; i < ARRAY_LEN(hops); i++) {
		bool is_failed = hops[i].hop == failed;
		const char *state = is_failed ? "failed" : reached ? "ok" : "not reached";
		ret |= buf_printf(out, "<li class=\"%s\"><b>%s</b><span>%s</span></li>",
				  is_failed ? "bad"
				  : reached ? "ok"
					    : "none",
				  hops[i].name, state);
		if (is_failed)
			reached = false;
	}
	ret |= buf_append_str(out, "</ol>");
	return ret;
}

static int put_html(struct buf *out, struct exchange *x)
{
	const struct failure *f = &x->failure;
	int ret = buf_printf(
		out,
		"<!doctype html><html lang=en><head><meta charset=utf-8>"
		"<meta name=viewport content=\"width=device-width,initial-scale=1\"><title>%d ",
		f->status);

	ret |= put_escaped(out, f->title);
	ret |= buf_append_str(
		out,
		"</title><style>:root{color-scheme:light dark;--ok:#1a7f37;--bad:#cf222e;--dim:#6e7781}"
		"body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:12vh auto;padding:0 1.25rem}"
		"h1{font-size:1.6rem;margin:0 0 .5rem}h1 small{color:var(--dim);font-weight:400}"
		".hops{display:flex;flex-wrap:wrap;gap:.5rem;list-style:none;padding:0;margin:1.5rem 0}"
		".hops li{flex:1 1 6rem;border-top:4px solid var(--dim);padding:.4rem 0}"
		".hops .ok{border-color:var(--ok)}.hops .bad{border-color:var(--bad)}"
		".hops span{display:block;font-size:.85rem;color:var(--dim)}"
		"dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;font-size:.9rem}"
		"dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere;font-family:ui-monospace,monospace}"
		"</style></head><body><main><h1>");
	ret |= put_escaped(out, f->title);
	ret |= buf_printf(out, " <small>%d", f->status);
	if (f->code)
		ret |= buf_printf(out, " &middot; code %d", f->code);
	ret |= buf_append_str(out, "</small></h1><p>");
	ret |= put_escaped(out, f->detail);
	ret |= buf_append_str(out, "</p>");
	ret |= put_hops(out, f->hop);
	ret |= buf_append_str(out, "<dl>");
	ret |= put_row(out, "Host", x->host);
	ret |= put_row(out, "Service", f->origin);
	ret |= put_row(out, "Rule", f->rule);
	ret |= put_row(out, "Error", f->errno_name);
	ret |= put_row(out, "Request id", bytes_str(x->id));
	ret |= buf_append_str(out, "</dl></main></body></html>\n");
	return ret;
}

/* --- JSON and plain -------------------------------------------------------------------------- */

static void set_text(json_t *object, const char *key, struct bytes text)
{
	if (text.len)
		json_object_set_new(object, key, json_stringn((const char *)text.ptr, text.len));
}

static int put_json(struct buf *out, struct exchange *x)
{
	const struct failure *f = &x->failure;
	json_t *object = json_object();

	json_object_set_new(object, "status", json_integer(f->status));
	if (f->code)
		json_object_set_new(object, "code", json_integer(f->code));
	set_text(object, "error", f->title);
	set_text(object, "detail", f->detail);
	set_text(object, "hop", bytes_str(hop_names[f->hop]));
	set_text(object, "host", x->host);
	set_text(object, "origin", f->origin);
	set_text(object, "rule", f->rule);
	set_text(object, "errno", f->errno_name);
	set_text(object, "request_id", bytes_str(x->id));
	char *text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	int ret = text ? buf_append_str(out, text) : -1;
	free(text); /* allowed: jansson's own allocation */
	return ret < 0 ? ret : buf_append_str(out, "\n");
}

static int put_plain(struct buf *out, struct exchange *x)
{
	const struct failure *f = &x->failure;
	int ret = buf_printf(out, "error code: %d: " BYTES_FMT ": " BYTES_FMT,
			     f->code ? f->code : f->status, BYTES_ARG(f->title),
			     BYTES_ARG(f->detail));

	if (f->origin.len)
		ret |= buf_printf(out, " origin=" BYTES_FMT, BYTES_ARG(f->origin));
	if (f->rule.len)
		ret |= buf_printf(out, " rule=\"" BYTES_FMT "\"", BYTES_ARG(f->rule));
	if (f->errno_name.len)
		ret |= buf_printf(out, " errno=" BYTES_FMT, BYTES_ARG(f->errno_name));
	ret |= buf_printf(out, " request-id=%s\n", x->id);
	return ret;
}

static bool accepts(const struct exchange *x, struct bytes type)
{
	const struct fields *f = &x->request.fields;

	for (size_t i = 0; i < f->count; i++) {
		if (f->list[i].token != HEAD_ACCEPT)
			continue;
		struct bytes rest = f->list[i].value, part;
		while (bytes_split(&rest, ',', &part))
			if (bytes_eq_nocase(bytes_trim(bytes_first(part, bytes_index(part, ';'))),
					    type))
				return true;
	}
	return false;
}

void error_page_answer(struct exchange *x, void *worker)
{
	struct worker *w = worker;
	const struct failure *f = &x->failure;
	struct bytes type;
	struct buf page;
	int ret;

	enum log_level level =
		f->hop == FAILURE_VISITOR || f->hop == FAILURE_EDGE ? LOG_DEBUG : LOG_WARN;
	log_at_(level, COMPONENT, "request failed", LOG_STR("cfRay", x->id),
		LOG_BYTES("host", x->host), LOG_INT("status", f->status), LOG_INT("code", f->code),
		LOG_STR("hop", hop_names[f->hop]), LOG_BYTES("error", f->title),
		LOG_BYTES("detail", f->detail), LOG_BYTES("origin", f->origin),
		LOG_BYTES("rule", f->rule), LOG_BYTES("errno", f->errno_name),
		LOG_BYTES("client", x->client_ip));

	buf_init(&page, PAGE_BYTES);
	if (accepts(x, BYTES_LIT("text/html"))) {
		type = BYTES_LIT("text/html; charset=utf-8");
		ret = put_html(&page, x);
	} else if (accepts(x, BYTES_LIT("application/json"))) {
		type = BYTES_LIT("application/json");
		ret = put_json(&page, x);
	} else {
		type = BYTES_LIT("text/plain; charset=utf-8");
		ret = put_plain(&page, x);
	}
	if (ret < 0)
		buf_clear(&page); /* an absurdly long host or rule: the status says it all */
	x->response = (struct head){ 0 };
	(void)fields_set(&x->response.fields, &x->arena, HEAD_CF_RAY, rewrite_ray(x, w->location));
	(void)fields_add(&x->response.fields, &x->arena, BYTES_LIT("Cache-Control"),
			 BYTES_LIT("no-store"));
	if (f->retry_after_sec)
		(void)fields_add(&x->response.fields, &x->arena, BYTES_LIT("Retry-After"),
				 arena_printf(&x->arena, "%u", f->retry_after_sec));
	exchange_answer_whole(x, f->status, type, buf_bytes(&page));
	buf_done(&page);
}
