/* The server's end of a WebSocket: an exchange that is answered here instead of by a service that speaks
 * HTTP. Used by the connector for TCP and SOCKS services and for hello_world, by the edge for private
 * networks.
 *
 * The user embeds a struct ws_server. It is the exchange's answerer from ws_server_init() on, and ends it in
 * one of three ways: ws_server_refuse() before the handshake is answered, ws_server_close() after, or
 * on_cancelled() when the visitor has left. Nothing is buffered here: what the user does not take stays in
 * the exchange's request body, what it sends goes into the response body while there is room. One loop.
 */
#pragma once

#include <sys/types.h>

#include "http/exchange.h"
#include "http/websocket.h"

struct ws_server;

/* What a user says to an event; after WS_GONE it has closed the WebSocket and nothing of it is touched. */
enum ws_taken { WS_TAKEN, WS_WAIT, WS_GONE };

/* Called from events of the exchange and from ws_server_resume(), never from another call. */
struct ws_server_events {
	/* Payload of a message of kind ws->reader.opcode; `is_last` when the message ends with it. Returns how
	 * many bytes were taken: fewer than given and ws_server_resume() has to follow; -1: WS_GONE. */
	ssize_t (*on_payload)(struct ws_server *ws, struct bytes run, bool is_last);
	/* A message has ended; ws->reader.is_empty. WS_WAIT: asked again after ws_server_resume(). NULL: of no
	 * interest. */
	enum ws_taken (*on_message)(struct ws_server *ws);
	/* Room for ws_server_send() that was missed. */
	void (*on_room)(struct ws_server *ws);
	/* The visitor has said its last: a close frame, the end of the stream (1000), or a violation of the
	 * protocol (1002). Everything before was taken. The user answers with ws_server_close(), possibly later. */
	void (*on_end)(struct ws_server *ws, uint16_t code);
	/* No payload either way for the time set. The user closes. */
	void (*on_idle)(struct ws_server *ws);
	/* The visitor has left: the user frees what it has, but for the exchange. Last event. */
	void (*on_cancelled)(struct ws_server *ws);
};

struct ws_server {
	struct exchange *x;                    /* NULL once closed */
	const struct ws_server_events *events; /* borrowed, static */
	struct websocket_reader reader;        /* of the event that is being told */
	/* Private. */
	size_t payload_left; /* at the front of the request body: unmasked and not taken yet */
	bool payload_is_last, message_waits, has_ended, is_open;
	bool pong_waits; /* the latest ping is still to be answered (RFC 6455 §5.5.3) */
	uint8_t ping_len, ping_payload[WEBSOCKET_CONTROL_MAX];
	struct timer ping, idle;
	int64_t idle_ms;
	usec active_at;
};

/* Becomes the exchange's answerer; no event but on_cancelled until ws_server_accept(). */
void ws_server_init(struct ws_server *ws, struct exchange *x, const struct ws_server_events *events);
/* Before ws_server_accept(), with x->failure filled in: fails the exchange. Free the memory afterwards. */
void ws_server_refuse(struct ws_server *ws);
/* Answers 101 with Sec-WebSocket-Accept. Further response fields are set before. Pings go out every
 * 54 s; `idle_ms` of 0: on_idle never comes. When the loop has turned since ws_server_init(),
 * ws_server_resume() follows: frames may have come with the handshake. */
void ws_server_accept(struct ws_server *ws, int64_t idle_ms);

/* How many bytes of payload one frame may have now; when too few to be worth it 0, and on_room follows. */
size_t ws_server_room(struct ws_server *ws);
/* One frame of at most ws_server_room() bytes; a few bytes whose number the protocol bounds may go out
 * whatever the room. The first frame of a message has its opcode, the others WEBSOCKET_CONTINUATION;
 * `is_final` ends the message. */
void ws_server_send(struct ws_server *ws, enum websocket_opcode opcode, bool is_final,
		    struct bytes payload);
/* Goes on with payload that was not taken; the last thing a caller does. */
void ws_server_resume(struct ws_server *ws);
/* Close frame, end of the response; the exchange is released. Free the memory afterwards. */
void ws_server_close(struct ws_server *ws, uint16_t code, const char *reason);
