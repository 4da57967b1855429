/* The built-in test pages, for trying a tunnel without a service: / shows the request, /uptime since when,
 * /_health "ok", /sse an event now and then, /ws a WebSocket that echoes. */
#include <stdio.h>

#include "base/mem.h"
#include "config/yaml.h"
#include "connector/origin/origin_internal.h"
#include "connector/origin/page.h"
#include "http/ws_server.h"

#define HELLO_MAGIC 0x68656c6f

#define TEXT_TYPE BYTES_LIT("text/plain; charset=utf-8")

/* How much of a request's body the page shows. */
#define MAX_SHOWN_BYTES (16 * 1024)
/* A head and a body of which each byte has become an entity, and the page around it. */
#define MAX_PAGE_BYTES (1024 * 1024)

/* As in the stock test server; no more often than this, whatever ?freq= says. */
#define EVENT_MS 10000
#define MIN_EVENT_MS 10

/* --- / --------------------------------------------------------------------------------------- */

struct hello {
	uint32_t magic;
	struct exchange *x;
	struct buf body;    /* its beginning */
	struct timer event; /* /sse */
	int64_t event_ms;
	unsigned event_count;
};

static void hello_free(struct hello *h)
{
	CHECK(h, HELLO_MAGIC);
	timer_stop(&h->event);
	buf_done(&h->body);
	h->magic = 0;
	mem_free(h);
}

static int row(struct buf *b, struct bytes name, struct bytes value)
{
	int ret = buf_append_str(b, "<tr><td>");

	ret |= page_text(b, name);
	ret |= buf_append_str(b, "</td><td>");
	ret |= page_text(b, value);
	return ret | buf_append_str(b, "</td></tr>\n");
}

static int write_page(struct exchange *x, struct bytes body, struct buf *b)
{
	const struct fields *f = &x->request.fields;
	char total[60] = "";
	int ret = page_begin(b, "The tunnel works");

	ret |= buf_append_str(b,
			      "<p>This page comes from the connector itself. Give it a service of "
			      "your own in place of <code>hello_world</code>, and visitors see "
			      "that.</p>\n<h2>Request</h2>\n<table>\n");
	ret |= row(b, BYTES_LIT("Method"), x->request.method);
	ret |= row(b, BYTES_LIT("Host"), x->request.authority);
	ret |= row(b, BYTES_LIT("Request URI"), x->request.path);
	ret |= buf_append_str(b, "</table>\n<h2>Header</h2>\n<table>\n");
	for (size_t i = 0; i < f->count; i++) {
		struct bytes name = f->list[i].name;
		uint8_t *canonical = arena_alloc_bytes(&x->arena, name.len + 1);
		head_name_canonical(name, canonical);
		ret |= row(b, bytes_of(canonical, name.len), f->list[i].value);
	}
	if (x->request_body.total > body.len)
		snprintf(total, sizeof(total), ", of which these are the first %zu", body.len);
	ret |= buf_printf(b, "</table>\n<h2>Body</h2>\n<p>%llu bytes%s</p>\n<pre>",
			  (unsigned long long)x->request_body.total, total);
	ret |= page_text(b, body);
	ret |= buf_append_str(b, "</pre>\n");
	return ret | page_end(b);
}

static void answer_page(struct exchange *x, struct bytes body)
{
	struct buf b;

	buf_init(&b, MAX_PAGE_BYTES);
	if (write_page(x, body, &b) == 0)
		page_answer(x, 200, &b);
	else
		exchange_answer_whole(x, 200, TEXT_TYPE,
				      BYTES_LIT("The request is too large to be shown.\n"));
	buf_done(&b);
}

static void on_request_data(struct exchange *x)
{
	struct hello *h = x->answerer_ctx;
	struct bytes run;

	CHECK(h, HELLO_MAGIC);
	while (body_peek(&x->request_body, &run, 1)) {
		struct bytes shown = bytes_first(run, MAX_SHOWN_BYTES - h->body.len);
		BUG_IF(buf_append(&h->body, shown) < 0);
		body_consume(&x->request_body, run.len);
	}
	if (!body_is_done(&x->request_body) || h->event_ms)
		return;
	answer_page(x, buf_bytes(&h->body));
	hello_free(h);
}

/* --- /sse ------------------------------------------------------------------------------------ */

static void on_event(struct timer *t)
{
	struct hello *h = CONTAINER_OF(t, struct hello, event);
	char text[40];
	size_t len = (size_t)snprintf(text, sizeof(text), "data: %u\n\n", h->event_count);

	CHECK(h, HELLO_MAGIC);
	timer_set(&h->event, h->event_ms);
	/* A visitor who does not read misses some. */
	if (body_room(&h->x->response_body) < len)
		return;
	body_write(&h->x->response_body, bytes_of(text, len));
	h->event_count++;
}

/* ?freq=1s */
static int64_t event_ms_of(struct bytes path)
{
	struct bytes query = bytes_from(path, bytes_index(path, '?') + 1), pair;
	usec freq;

	while (bytes_split(&query, '&', &pair))
		if (bytes_starts_with(pair, BYTES_LIT("freq=")) &&
		    duration_parse(bytes_from(pair, 5), &freq) && freq > 0)
			return freq / USEC_PER_MSEC > MIN_EVENT_MS ? freq / USEC_PER_MSEC
								   : MIN_EVENT_MS;
	return EVENT_MS;
}

static void start_events(struct hello *h)
{
	struct exchange *x = h->x;

	h->event_ms = event_ms_of(x->request.path);
	x->response.status = 200;
	x->response.length = HEAD_LENGTH_UNKNOWN;
	(void)fields_add(&x->response.fields, &x->arena, BYTES_LIT("Content-Type"),
			 BYTES_LIT("text/event-stream; charset=utf-8"));
	(void)fields_add(&x->response.fields, &x->arena, BYTES_LIT("Cache-Control"),
			 BYTES_LIT("no-cache"));
	exchange_respond(x);
	timer_set(&h->event, h->event_ms);
}

static void on_response_room(struct exchange *x)
{
	(void)x; /* the next event comes by itself */
}

static void on_cancelled(struct exchange *x)
{
	hello_free(x->answerer_ctx);
	exchange_release_answerer(x);
}

static const struct exchange_answerer answerer = {
	.name = "hello",
	.on_request_data = on_request_data,
	.on_response_room = on_response_room,
	.on_cancelled = on_cancelled,
};

/* --- /ws ------------------------------------------------------------------------------------- */

struct echo {
	uint32_t magic;
	struct ws_server ws;
	bool in_message; /* a part has gone back, the last one has not */
};

static struct echo *echo_of(struct ws_server *ws)
{
	struct echo *e = CONTAINER_OF(ws, struct echo, ws);

	CHECK(e, HELLO_MAGIC);
	return e;
}

static void send_back(struct echo *e, bool is_final, struct bytes part)
{
	ws_server_send(&e->ws, e->in_message ? WEBSOCKET_CONTINUATION : e->ws.reader.opcode,
		       is_final, part);
	e->in_message = !is_final;
}

static ssize_t on_payload(struct ws_server *ws, struct bytes run, bool is_last)
{
	struct bytes left = run;
	size_t room;

	/* What does not fit waits for on_room. */
	while (left.len && (room = ws_server_room(ws))) {
		struct bytes part = bytes_first(left, room);
		left = bytes_from(left, room);
		send_back(echo_of(ws), is_last && left.len == 0, part);
	}
	return (ssize_t)(run.len - left.len);
}

static enum ws_taken on_message(struct ws_server *ws)
{
	struct echo *e = echo_of(ws);

	if (!e->in_message && !ws->reader.is_empty)
		return WS_TAKEN;
	if (ws_server_room(ws) == 0)
		return WS_WAIT;
	send_back(e, true, BYTES_NONE);
	return WS_TAKEN;
}

static void on_room(struct ws_server *ws)
{
	ws_server_resume(ws);
}

static void echo_free(struct echo *e)
{
	e->magic = 0;
	mem_free(e);
}

static void on_end(struct ws_server *ws, uint16_t code)
{
	ws_server_close(ws, code, NULL);
	echo_free(echo_of(ws));
}

static void on_idle(struct ws_server *ws)
{
	ws_server_close(ws, WEBSOCKET_CLOSE_GOING_AWAY, "idle for too long");
	echo_free(echo_of(ws));
}

static void on_ws_cancelled(struct ws_server *ws)
{
	echo_free(echo_of(ws));
}

static const struct ws_server_events echo_events = {
	.on_payload = on_payload,
	.on_message = on_message,
	.on_room = on_room,
	.on_end = on_end,
	.on_idle = on_idle,
	.on_cancelled = on_ws_cancelled,
};

/* Pages of other hosts may not use a visitor's browser to get here. */
static bool is_same_origin(struct exchange *x)
{
	const struct field *f = fields_find_text(&x->request.fields, BYTES_LIT("origin"));
	const uint8_t *mark = f ? memmem(f->value.ptr, f->value.len, "://", 3) : NULL;

	if (!f || !mark)
		return !f;
	struct bytes authority = bytes_from(f->value, (size_t)(mark - f->value.ptr) + 3);
	return bytes_eq(head_host(authority, &x->arena), head_host(x->request.authority, &x->arena));
}

static void start_echo(struct origin *o, struct exchange *x)
{
	if (!x->request.is_upgrade) {
		(void)fields_add(&x->response.fields, &x->arena, BYTES_LIT("Sec-WebSocket-Version"),
				 BYTES_LIT("13"));
		exchange_answer_whole(x, 400, TEXT_TYPE, BYTES_LIT("Bad Request\n"));
	} else if (!is_same_origin(x)) {
		exchange_answer_whole(x, 403, TEXT_TYPE, BYTES_LIT("Forbidden\n"));
	} else {
		struct echo *e = mem_alloc(sizeof(*e));
		e->magic = HELLO_MAGIC;
		ws_server_init(&e->ws, x, &echo_events);
		ws_server_accept(&e->ws, o->rule->origin.idle_timeout / USEC_PER_MSEC);
	}
}

/* --- Paths ----------------------------------------------------------------------------------- */

static void answer_uptime(struct origin *o, struct exchange *x)
{
	char start[40], uptime[40], json[160];

	clock_rfc3339(o->opened_at, start, sizeof(start));
	duration_text(clock_wall_now() - o->opened_at, uptime);
	int len = snprintf(json, sizeof(json), "{\"startTime\":\"%s\",\"uptime\":\"%s\"}", start,
			   uptime);
	exchange_answer_whole(x, 200, BYTES_LIT("application/json"), bytes_of(json, (size_t)len));
}

void hello_world_start(struct origin *o, struct exchange *x)
{
	struct bytes path = bytes_first(x->request.path, bytes_index(x->request.path, '?'));
	bool is_sse = bytes_eq(path, BYTES_LIT("/sse"));
	bool is_head = bytes_eq(x->request.method, BYTES_LIT("HEAD"));

	if (bytes_eq(path, BYTES_LIT("/_health"))) {
		exchange_answer_whole(x, 200, TEXT_TYPE, BYTES_LIT("ok"));
	} else if (bytes_eq(path, BYTES_LIT("/uptime"))) {
		answer_uptime(o, x);
	} else if (bytes_eq(path, BYTES_LIT("/ws"))) {
		start_echo(o, x);
	} else if (is_sse && is_head) {
		exchange_answer_whole(x, 200, BYTES_LIT("text/event-stream; charset=utf-8"),
				      BYTES_NONE);
	} else if (x->request.is_upgrade && !is_sse) {
		answer_page(x, BYTES_NONE); /* its "body" has no end */
	} else {
		struct hello *h = mem_alloc(sizeof(*h));
		h->magic = HELLO_MAGIC;
		h->x = x;
		buf_init(&h->body, MAX_SHOWN_BYTES);
		timer_init(&h->event, x->loop, on_event);
		exchange_answer_by(x, &answerer, h);
		if (is_sse)
			start_events(h);
	}
}
