#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "edge/control/control_parts.h"

void answer_field(struct control_request *r, const char *name, struct bytes value)
{
	/* Ours are few: the limit is far away. */
	BUG_IF(fields_add(&r->fields, &r->arena, bytes_str(name), value) < 0);
}

enum ask_result answer(struct control_request *r, int status, const char *type, struct bytes body)
{
	r->status = status;
	r->content_type = bytes_str(type);
	r->answer = body;
	if (!fields_find_text(&r->fields, BYTES_LIT("Cache-Control")))
		answer_field(r, "Cache-Control", BYTES_LIT("no-store"));
	answer_field(r, "X-Content-Type-Options", BYTES_LIT("nosniff"));
	return ASK_ANSWERED;
}

enum ask_result answer_text(struct control_request *r, int status, const char *text)
{
	return answer(r, status, "text/plain; charset=utf-8",
		      arena_copy(&r->arena, bytes_str(text)));
}

/* --- The envelope --------------------------------------------------------------------------- */

/* Takes the reference. Clients compare the type byte for byte: no charset. */
static enum ask_result answer_json(struct ask *a, int status, json_t *root)
{
	struct control_request *r = a->request;
	size_t size = root ? json_dumpb(root, NULL, 0, JSON_COMPACT) : 0;
	struct bytes text = BYTES_LIT("{\"success\":false,\"errors\":[{\"code\":1100,\"message\":"
				      "\"internal error\"}],\"messages\":[],\"result\":null}");

	if (size) {
		uint8_t *to = arena_alloc_bytes(&r->arena, size);

		size = json_dumpb(root, (char *)to, size, JSON_COMPACT);
		text = bytes_of(to, size);
	} else {
		status = 500;
	}
	json_decref(root);
	return answer(r, status, "application/json", text);
}

/* Takes the references. */
static json_t *envelope(bool success, json_t *errors, json_t *result)
{
	return json_pack("{s:b, s:o, s:[], s:o}", "success", success, "errors", errors, "messages",
			 "result", result);
}

enum ask_result answer_result(struct ask *a, json_t *result)
{
	return answer_json(a, 200, envelope(true, json_array(), result ? result : json_null()));
}

enum ask_result answer_list(struct ask *a, json_t *list, uint64_t page, uint64_t per_page,
			    uint64_t total)
{
	size_t count = json_array_size(list);
	uint64_t pages = per_page ? (total + per_page - 1) / per_page : 1;
	json_t *root = envelope(true, json_array(), list ? list : json_array());

	if (root)
		(void)json_object_set_new(
			root, "result_info",
			json_pack("{s:I, s:I, s:I, s:I, s:I}", "page", (json_int_t)page, "per_page",
				  (json_int_t)per_page, "count", (json_int_t)count, "total_count",
				  (json_int_t)total, "total_pages", (json_int_t)pages));
	return answer_json(a, 200, root);
}

enum ask_result answer_error(struct ask *a, int status, int code, const char *fmt, ...)
{
	char text[512];
	va_list args;
	json_t *message;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* A peer's bytes may be in it, cut in the middle of a character. */
	message = json_string(text);
	if (!message) {
		for (char *p = text; *p; p++)
			if ((unsigned char)*p >= 0x80)
				*p = '?';
		message = json_string(text);
	}
	return answer_json(a, status,
			   envelope(false,
				    json_pack("[{s:i, s:o}]", "code", code, "message", message),
				    json_null()));
}

enum ask_result answer_store_error(struct ask *a, const struct err *err)
{
	switch (err->code) {
	case E_NOT_FOUND:
		return answer_error(a, 404, API_NOT_FOUND, "%s", err->text);
	case E_INVALID:
	case E_PARSE:
	case E_LIMIT:
		return answer_error(a, 400, API_INVALID, "%s", err->text);
	case E_EXISTS:
	case E_BUSY:
		return answer_error(a, 409, API_INVALID, "%s", err->text);
	case E_DENIED:
		return answer_error(a, 403, API_AUTHENTICATION, "%s", err->text);
	default:
		log_error("edge/control", "request failed",
			  LOG_BYTES("method", a->request->head.method), LOG_STR("error", err->text));
		/* The administrator may see why; a visitor may not. */
		if (a->request->is_admin)
			return answer_error(a, 500, API_INTERNAL, "%s", err->text);
		return answer_error(a, 500, API_INTERNAL,
				    "internal error; the edge's log says more");
	}
}
