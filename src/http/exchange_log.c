#include "http/exchange_log.h"

#include "base/redact.h"

/* Of one line; longer heads take several. */
#define HEAD_PIECE_BYTES 1000

struct exchange_outcome exchange_outcome_of(const struct exchange *x)
{
	const struct body *out = &x->response_body;
	bool was_refused = x->has_failed || x->failure.status;
	bool is_whole = x->has_head && (body_is_done(out) || x->response.status == 101 || x->is_tcp);

	return (struct exchange_outcome){
		.status = x->has_head   ? x->response.status
			  : was_refused ? x->failure.status
					: 499,
		.is_aborted = !is_whole && !was_refused,
		.sent = out->total - out->queue.len,
		.received = x->request_body.total,
		.first_byte = x->has_head ? x->head_at - x->started_at : -1,
		.total = clock_now() - x->started_at,
	};
}

struct bytes exchange_path(const struct exchange *x)
{
	struct bytes path = x->asked_path.len ? x->asked_path : x->request.path;

	path = bytes_first(path, bytes_index(path, '?'));
	return bytes_first(path, bytes_index(path, '#'));
}

const char *exchange_hop_name(enum failure_hop hop)
{
	static const char *const names[] = {
		[FAILURE_EDGE] = "edge",           [FAILURE_TUNNEL] = "tunnel",
		[FAILURE_CONNECTOR] = "connector", [FAILURE_ORIGIN] = "origin",
		[FAILURE_VISITOR] = "visitor",
	};

	return names[hop];
}

void exchange_line_request(struct exchange_line *l, const struct exchange *x)
{
	exchange_line_add(l, LOG_BYTES("method", x->request.method));
	exchange_line_add(l, LOG_BYTES("host", x->host));
	exchange_line_add(l, LOG_BYTES("path", exchange_path(x)));
}

void exchange_line_outcome(struct exchange_line *l, const struct exchange_outcome *o)
{
	exchange_line_add(l, LOG_INT("status", o->status));
	exchange_line_add(l, LOG_INT("bytesOut", o->sent));
	exchange_line_add(l, LOG_INT("bytesIn", o->received));
	if (o->first_byte >= 0)
		exchange_line_add(l, LOG_MSEC("ttfbMs", o->first_byte));
	exchange_line_add(l, LOG_MSEC("totalMs", o->total));
}

void exchange_line_failure(struct exchange_line *l, const struct exchange *x,
			   const struct exchange_outcome *o)
{
	const struct failure *f = &x->failure;

	if (f->status) {
		exchange_line_add(l, LOG_STR("hop", exchange_hop_name(f->hop)));
		exchange_line_text(l, "errno", f->errno_name);
		exchange_line_text(l, "error", f->title);
	}
	if (o->is_aborted)
		exchange_line_add(l, LOG_BOOL("aborted", true));
}

/* --- Heads ----------------------------------------------------------------------------------- */

static size_t put(char *text, size_t len, struct bytes part)
{
	part = bytes_first(part, HEAD_PIECE_BYTES - len);
	if (part.len)
		memcpy(text + len, part.ptr, part.len);
	return len + part.len;
}

/* URLs are shown up to their query. */
static size_t put_value(char *text, size_t len, const struct field *f)
{
	if (redact_is_secret_name(f->name))
		return put(text, len, BYTES_LIT(REDACTED));
	size_t query = bytes_index(f->value, '?');
	len = put(text, len, bytes_first(f->value, query));
	return query < f->value.len ? put(text, len, BYTES_LIT("?" REDACTED)) : len;
}

static void write_piece(const char *component, const char *what, const struct exchange *x,
			const char *text, size_t len)
{
	log_debug(component, what, LOG_STR("cfRay", x->id),
		  LOG_BYTES("fields", bytes_of(text, len)));
}

void exchange_log_head(const char *component, const char *what, const struct exchange *x,
		       const struct head *head)
{
	char text[HEAD_PIECE_BYTES];
	size_t len = 0;

	if (!log_enabled(LOG_DEBUG))
		return;
	for (size_t i = 0; i < head->fields.count; i++) {
		const struct field *f = &head->fields.list[i];
		if (len && len + f->name.len + f->value.len + 4 > sizeof(text)) {
			write_piece(component, what, x, text, len);
			len = 0;
		}
		len = put(text, len, len ? BYTES_LIT("; ") : BYTES_NONE);
		len = put(text, len, f->name);
		len = put(text, len, BYTES_LIT(": "));
		len = put_value(text, len, f);
	}
	if (len)
		write_piece(component, what, x, text, len);
}
