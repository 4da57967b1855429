#include "http/ws_server.h"

#include "base/mem.h"

/* As the stock connector: often enough for proxies that cut silent connections off after a minute. */
#define PING_MS 54000
/* Frames with less payload than this wait for more room: heads would eat it up. */
#define MIN_PAYLOAD_BYTES 1024
#define CONTROL_BYTES (2 + WEBSOCKET_CONTROL_MAX) /* of our control frames, which have no mask */

/* --- Writing --------------------------------------------------------------------------------- */

/* A pong that found no room goes before what found none either. */
static void send_pong(struct ws_server *ws)
{
	struct body *body = &ws->x->response_body;
	uint8_t frame[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX];

	if (!ws->pong_waits)
		return;
	if (body_room(body) < CONTROL_BYTES) {
		body->wants_room = true;
		return;
	}
	ws->pong_waits = false;
	size_t len = websocket_print_control(WEBSOCKET_PONG,
					     bytes_of(ws->ping_payload, ws->ping_len), NULL, frame);
	body_write(body, bytes_of(frame, len));
}

size_t ws_server_room(struct ws_server *ws)
{
	struct body *body = &ws->x->response_body;
	size_t room = body_room(body);

	if (room >= WEBSOCKET_HEAD_MAX + MIN_PAYLOAD_BYTES)
		return room - WEBSOCKET_HEAD_MAX;
	body->wants_room = true;
	return 0;
}

void ws_server_send(struct ws_server *ws, enum websocket_opcode opcode, bool is_final,
		    struct bytes payload)
{
	uint8_t head[WEBSOCKET_HEAD_MAX];
	size_t len = websocket_print_head(opcode, payload.len, NULL, head);

	if (!is_final)
		head[0] &= 0x7f;
	body_write_all(&ws->x->response_body, bytes_of(head, len));
	body_write_all(&ws->x->response_body, payload);
	ws->active_at = loop_now(ws->x->loop);
}

void ws_server_close(struct ws_server *ws, uint16_t code, const char *reason)
{
	struct exchange *x = TAKE(ws->x);
	uint8_t frame[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX];
	size_t len = websocket_print_close(code, reason, NULL, frame);

	timer_stop(&ws->ping);
	timer_stop(&ws->idle);
	body_write_all(&x->response_body, bytes_of(frame, len));
	body_end(&x->response_body);
	exchange_release_answerer(x);
}

/* --- Reading --------------------------------------------------------------------------------- */

static void end(struct ws_server *ws, uint16_t code)
{
	ws->has_ended = true;
	ws->events->on_end(ws, code);
}

/* False when the user waits or has gone. */
static bool tell_payload(struct ws_server *ws)
{
	struct body *body = &ws->x->request_body;
	struct bytes run;

	while (ws->payload_left && body_peek(body, &run, 1)) {
		run = bytes_first(run, ws->payload_left);
		bool is_last = ws->payload_is_last && run.len == ws->payload_left;
		ssize_t taken = ws->events->on_payload(ws, run, is_last);
		if (taken < 0)
			return false;
		if (taken)
			ws->active_at = loop_now(ws->x->loop);
		ws->payload_left -= (size_t)taken;
		body_consume(body, (size_t)taken);
		if ((size_t)taken < run.len)
			return false;
	}
	return true;
}

static bool tell_message(struct ws_server *ws)
{
	if (!ws->message_waits)
		return true;
	enum ws_taken taken = ws->events->on_message ? ws->events->on_message(ws) : WS_TAKEN;
	if (taken == WS_TAKEN)
		ws->message_waits = false;
	return taken == WS_TAKEN;
}

/* False: it was a close. */
static bool take_control(struct ws_server *ws)
{
	if (ws->reader.opcode == WEBSOCKET_CLOSE) {
		end(ws, ws->reader.close_code);
		return false;
	}
	if (ws->reader.opcode == WEBSOCKET_PING) {
		ws->ping_len = (uint8_t)ws->reader.payload.len;
		if (ws->ping_len)
			memcpy(ws->ping_payload, ws->reader.payload.ptr, ws->ping_len);
		ws->pong_waits = true;
		send_pong(ws);
	}
	return true;
}

static void pump(struct ws_server *ws)
{
	while (!ws->has_ended && tell_payload(ws) && tell_message(ws)) {
		struct body *body = &ws->x->request_body;
		struct bytes run = BYTES_NONE;
		bool is_done = !body_peek(body, &run, 1) && body->has_ended;
		/* Unmasked where it lies: nobody else reads these bytes. */
		uint8_t *at = (uint8_t *)(uintptr_t)run.ptr;
		size_t left = run.len;

		switch (websocket_next(&ws->reader, &at, &left)) {
		case WEBSOCKET_MORE:
			body_consume(body, run.len);
			if (is_done)
				end(ws, WEBSOCKET_CLOSE_NORMAL);
			if (run.len == 0)
				return;
			break;
		case WEBSOCKET_DATA:
			ws->payload_left = ws->reader.payload.len;
			ws->payload_is_last = websocket_is_last_run(&ws->reader);
			body_consume(body, run.len - left - ws->payload_left);
			break;
		case WEBSOCKET_MESSAGE:
			ws->message_waits = true;
			body_consume(body, run.len - left);
			break;
		case WEBSOCKET_CONTROL:
			body_consume(body, run.len - left);
			if (!take_control(ws))
				return;
			break;
		case WEBSOCKET_BROKEN:
			end(ws, ws->reader.close_code);
			return;
		}
	}
}

void ws_server_resume(struct ws_server *ws)
{
	if (ws->is_open)
		pump(ws);
}

/* --- Events of the exchange ------------------------------------------------------------------ */

static void on_request_data(struct exchange *x)
{
	ws_server_resume(x->answerer_ctx);
}

static void on_response_room(struct exchange *x)
{
	struct ws_server *ws = x->answerer_ctx;

	if (!ws->is_open)
		return;
	send_pong(ws);
	ws->events->on_room(ws);
}

static void on_cancelled(struct exchange *x)
{
	struct ws_server *ws = x->answerer_ctx;

	ws->x = NULL;
	timer_stop(&ws->ping);
	timer_stop(&ws->idle);
	ws->events->on_cancelled(ws);
	exchange_release_answerer(x);
}

static const struct exchange_answerer answerer = {
	.name = "websocket",
	.on_request_data = on_request_data,
	.on_response_room = on_response_room,
	.on_cancelled = on_cancelled,
};

/* --- Timers ---------------------------------------------------------------------------------- */

static void on_ping(struct timer *t)
{
	struct ws_server *ws = CONTAINER_OF(t, struct ws_server, ping);
	uint8_t frame[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX];
	size_t len = websocket_print_control(WEBSOCKET_PING, BYTES_NONE, NULL, frame);

	timer_set(&ws->ping, PING_MS);
	/* A full queue is on its way already: no need to show that we live. */
	if (body_room(&ws->x->response_body) >= len)
		body_write(&ws->x->response_body, bytes_of(frame, len));
}

static void on_idle(struct timer *t)
{
	struct ws_server *ws = CONTAINER_OF(t, struct ws_server, idle);
	int64_t idle_ms = (loop_now(t->loop) - ws->active_at) / USEC_PER_MSEC;

	if (idle_ms < ws->idle_ms)
		timer_set(&ws->idle, ws->idle_ms - idle_ms);
	else
		ws->events->on_idle(ws);
}

/* --- Life ------------------------------------------------------------------------------------ */

void ws_server_init(struct ws_server *ws, struct exchange *x, const struct ws_server_events *events)
{
	*ws = (struct ws_server){ .x = x, .events = events };
	websocket_reader_init(&ws->reader, WEBSOCKET_SERVER);
	timer_init(&ws->ping, x->loop, on_ping);
	timer_init(&ws->idle, x->loop, on_idle);
	exchange_answer_by(x, &answerer, ws);
}

void ws_server_refuse(struct ws_server *ws)
{
	exchange_fail(TAKE(ws->x));
}

void ws_server_accept(struct ws_server *ws, int64_t idle_ms)
{
	struct exchange *x = ws->x;
	const struct field *key = fields_find(&x->request.fields, HEAD_SEC_WEBSOCKET_KEY);
	char accept[WEBSOCKET_ACCEPT_SIZE];

	x->response.status = 101;
	x->response.is_upgrade = true;
	x->response.length = HEAD_LENGTH_UNKNOWN;
	/* Without a key (an edge may keep it to itself) there is nothing to prove. */
	if (key) {
		websocket_accept(key->value, accept);
		/* One field or two: far from the limit. */
		(void)fields_set(&x->response.fields, &x->arena, HEAD_SEC_WEBSOCKET_ACCEPT,
				 arena_copy(&x->arena, bytes_of(accept, sizeof(accept))));
	}
	exchange_respond(x);
	ws->is_open = true;
	ws->active_at = loop_now(x->loop);
	timer_set(&ws->ping, PING_MS);
	ws->idle_ms = idle_ms;
	if (idle_ms)
		timer_set(&ws->idle, idle_ms);
}
