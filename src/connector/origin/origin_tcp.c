/* Services that are not HTTP: a WebSocket on the visitor's side, a TCP connection on the service's.
 *
 * tcp, ssh, rdp, smb and the like are dialled before the handshake is answered, so that a visitor learns
 * from the status that the service is down. bastion does the same with the destination that the request
 * names. socks-proxy answers at once, and dials what the SOCKS request inside asks for. */
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "connector/connector_metrics.h"
#include "connector/origin/origin_internal.h"
#include "connector/origin/page.h"
#include "connector/origin/socks.h"
#include "http/ws_server.h"

#define COMPONENT "connector"

#define LINK_MAGIC 0x7463706c

#define JUMP_FIELD "Cf-Access-Jump-Destination"
#define MAX_PAGE_BYTES (16 * 1024)
/* Of a chunk each; then others have their turn. */
#define READS_PER_TURN 32
/* Between two looks whether the service has taken the last bytes. */
#define DRAIN_MS 20

enum state {
	LINK_DIALLING, /* before the handshake is answered */
	LINK_SOCKS,    /* the visitor speaks SOCKS; a TCP service is connected already */
	LINK_ASKED,    /* SOCKS has named a destination, which is being dialled */
	LINK_OPEN,     /* bytes both ways */
	LINK_ENDING,   /* the service is still to get the last bytes */
};

/* A visitor and a service. */
struct link {
	uint32_t magic;
	enum state state;
	struct ws_server ws;
	struct origin *origin; /* borrowed; the exchange keeps its set */
	struct bytes target; /* for messages; in the exchange's arena. Empty: the rule's own service */
	struct origin_dial *dial;
	usec dialled_at;
	struct byte_stream *stream; /* owned; NULL before the dial is done */
	struct socks_reader *socks; /* owned; NULL after the SOCKS request */

	bool half_close;    /* agreed on: each direction ends by itself */
	bool visitor_ended; /* nothing more comes from there */
	bool service_ended;

	/* While ending. */
	uint16_t close_code;
	const char *close_reason; /* static */
	struct deferred look;
	struct timer look_again;
	size_t backlog;
	usec shrunk_at;
};

static void link_free(struct link *l)
{
	CHECK(l, LINK_MAGIC);
	deferred_cancel(&l->look);
	timer_stop(&l->look_again);
	origin_dial_cancel(l->dial);
	byte_stream_close(l->stream);
	mem_free(l->socks);
	l->magic = 0;
	mem_free(l);
}

static void close_now(struct link *l, uint16_t code, const char *reason)
{
	ws_server_close(&l->ws, code, reason);
	link_free(l);
}

/* --- Ending ---------------------------------------------------------------------------------- */

static void on_look(struct deferred *d)
{
	struct link *l = CONTAINER_OF(d, struct link, look);
	size_t backlog = byte_stream_backlog(l->stream);
	usec now = loop_now(l->origin->loop);

	CHECK(l, LINK_MAGIC);
	if (backlog < l->backlog)
		l->shrunk_at = now;
	l->backlog = backlog;
	if (backlog && now - l->shrunk_at < LIMIT_LINGER_MS * USEC_PER_MSEC)
		timer_set(&l->look_again, DRAIN_MS);
	else
		close_now(l, l->close_code, l->close_reason);
}

static void on_look_again(struct timer *t)
{
	on_look(&CONTAINER_OF(t, struct link, look_again)->look);
}

/* The service gets what is on its way to it, then both sides are closed, on this turn as a rule. What the
 * service says meanwhile is for nobody. */
static void end(struct link *l, uint16_t code, const char *reason)
{
	if (!l->stream) {
		close_now(l, code, reason);
		return;
	}
	l->state = LINK_ENDING;
	l->close_code = code;
	l->close_reason = reason;
	l->backlog = byte_stream_backlog(l->stream);
	l->shrunk_at = loop_now(l->origin->loop);
	byte_stream_shutdown(l->stream);
	byte_stream_want_read(l->stream);
	/* Behind the flush of the connection, which is due this turn, too. */
	loop_defer_flush(l->origin->loop, &l->look);
}

/* --- Service to visitor ---------------------------------------------------------------------- */

static void service_failed(struct link *l)
{
	if (l->state == LINK_ENDING)
		close_now(l, l->close_code, l->close_reason);
	else
		close_now(l, WEBSOCKET_CLOSE_INTERNAL, "the service broke the connection");
}

static void on_service_end(struct link *l)
{
	l->service_ended = true;
	if (l->state == LINK_ENDING)
		return;
	if (l->half_close)
		ws_server_send(&l->ws, WEBSOCKET_BINARY, true, BYTES_NONE);
	if (!l->half_close || l->visitor_ended)
		end(l, WEBSOCKET_CLOSE_NORMAL, NULL);
}

/* The last thing a caller does. */
static void read_service(struct link *l)
{
	uint8_t *scratch;
	ssize_t n = 1;

	if (l->service_ended || (l->state != LINK_OPEN && l->state != LINK_ENDING))
		return;
	scratch = bufq_chunk_take();
	for (int i = 0; i < READS_PER_TURN && n > 0; i++) {
		size_t room = BUFQ_CHUNK_BYTES;
		if (l->state == LINK_OPEN && ws_server_room(&l->ws) < room)
			room = ws_server_room(&l->ws);
		n = E_AGAIN;
		if (room == 0)
			break;
		n = byte_stream_read(l->stream, scratch, room, NULL);
		if (n > 0 && l->state == LINK_OPEN)
			ws_server_send(&l->ws, WEBSOCKET_BINARY, true, bytes_of(scratch, (size_t)n));
	}
	bufq_chunk_return(scratch);
	if (n == 0)
		on_service_end(l);
	else if (n < 0 && n != E_AGAIN)
		service_failed(l);
}

static void on_readable(void *ctx)
{
	struct link *l = ctx;

	CHECK(l, LINK_MAGIC);
	read_service(l);
}

static void on_writable(void *ctx)
{
	struct link *l = ctx;

	CHECK(l, LINK_MAGIC);
	ws_server_resume(&l->ws);
}

static void on_error(void *ctx, const struct err *err)
{
	struct link *l = ctx;

	(void)err;
	CHECK(l, LINK_MAGIC);
	service_failed(l);
}

static const struct byte_stream_events stream_events = {
	.on_readable = on_readable,
	.on_writable = on_writable,
	.on_error = on_error,
};

/* --- SOCKS ----------------------------------------------------------------------------------- */

static void on_dialled(void *ctx, struct byte_stream *stream, const struct err *err,
		       const char *title);

static bool ip_rules_allow(void *ctx, const struct address *to)
{
	return socks_allows(ctx, to);
}

static void socks_reply(struct link *l, enum socks_code code)
{
	uint8_t reply[SOCKS_REPLY_SIZE];

	socks_print_reply(code, reply);
	ws_server_send(&l->ws, WEBSOCKET_BINARY, true, bytes_of(reply, sizeof(reply)));
}

static void open_up(struct link *l)
{
	l->socks = mem_free(l->socks);
	l->state = LINK_OPEN;
	byte_stream_want_read(l->stream);
}

/* The exchange went well, so nothing else tells the operator. */
static void socks_fail(struct link *l, const struct err *err)
{
	log_info(COMPONENT, "SOCKS client not connected", LOG_BYTES("destination", l->socks->host),
		 LOG_INT("port", l->socks->port), LOG_STR("error", err->text),
		 LOG_STR("cfRay", l->ws.x->id), LOG_STR("ingressRule", l->origin->rule->label));
	socks_reply(l, socks_code_of(err));
	end(l, WEBSOCKET_CLOSE_NORMAL, NULL);
}

/* False: the answer is no, and the link has gone. */
static bool socks_dial(struct link *l)
{
	struct origin_target target = origin_target_of(l->ws.x);
	const struct ingress_origin *options = &l->origin->rule->origin;
	struct err err;

	if (options->ip_rule_count == 0) {
		/* Not even a name server needs to hear of it. */
		err_set(&err, E_DENIED,
			"the service socks-proxy has no ipRules, which allow nothing");
		socks_fail(l, &err);
		return false;
	}

	target.host = l->socks->host;
	target.port = l->socks->port;
	target.allows = ip_rules_allow;
	target.allows_ctx = (void *)(uintptr_t)options;
	l->state = LINK_ASKED;
	l->dial = origin_dial(l->origin, &target, on_dialled, l);
	return true;
}

/* The visitor asked for something; replies need room for a few bytes, which on_room brings. */
static ssize_t take_socks(struct link *l, struct bytes run)
{
	struct bytes left = run;

	while (l->state == LINK_SOCKS) {
		if (ws_server_room(&l->ws) == 0)
			return (ssize_t)(run.len - left.len);
		switch (socks_next(l->socks, &left)) {
		case SOCKS_MORE:
			return (ssize_t)run.len;
		case SOCKS_GREETED:
			ws_server_send(&l->ws, WEBSOCKET_BINARY, true, l->socks->reply);
			break;
		case SOCKS_REQUEST:
			if (!l->stream) {
				if (!socks_dial(l))
					return -1;
				break;
			}
			/* proxyType: socks. Whatever it asks for, it gets the rule's service. */
			socks_reply(l, SOCKS_OK);
			open_up(l);
			break;
		case SOCKS_REFUSAL:
			if (l->socks->reply.len)
				ws_server_send(&l->ws, WEBSOCKET_BINARY, true, l->socks->reply);
			end(l, WEBSOCKET_CLOSE_NORMAL, NULL);
			return -1;
		}
	}
	size_t taken = run.len - left.len;
	if (l->state == LINK_OPEN)
		taken += byte_stream_write(l->stream, left);
	return (ssize_t)taken;
}

/* --- Visitor to service ---------------------------------------------------------------------- */

static struct link *link_of(struct ws_server *ws)
{
	struct link *l = CONTAINER_OF(ws, struct link, ws);

	CHECK(l, LINK_MAGIC);
	return l;
}

static ssize_t on_payload(struct ws_server *ws, struct bytes run, bool is_last)
{
	struct link *l = link_of(ws);

	(void)is_last;
	switch (l->state) {
	case LINK_SOCKS:
		return take_socks(l, run);
	case LINK_OPEN:
		if (!l->visitor_ended)
			return (ssize_t)byte_stream_write(l->stream, run);
		end(l, WEBSOCKET_CLOSE_PROTOCOL, "data after the end");
		return -1;
	case LINK_ENDING:
		return (ssize_t)run.len;
	case LINK_DIALLING:
	case LINK_ASKED:
		break;
	}
	return 0;
}

static enum ws_taken on_message(struct ws_server *ws)
{
	struct link *l = link_of(ws);

	if (!l->half_close || !ws->reader.is_empty || ws->reader.opcode != WEBSOCKET_BINARY)
		return WS_TAKEN;
	if (l->state == LINK_ASKED)
		return WS_WAIT;
	if (l->state == LINK_SOCKS) {
		end(l, WEBSOCKET_CLOSE_NORMAL, NULL); /* it asked for nothing */
		return WS_GONE;
	}
	if (l->state != LINK_OPEN || l->visitor_ended)
		return WS_TAKEN;
	l->visitor_ended = true;
	byte_stream_shutdown(l->stream);
	if (l->service_ended)
		end(l, WEBSOCKET_CLOSE_NORMAL, NULL);
	return WS_TAKEN;
}

static void on_room(struct ws_server *ws)
{
	struct link *l = link_of(ws);

	if (l->state == LINK_SOCKS)
		ws_server_resume(ws);
	else if (l->state == LINK_OPEN && !l->service_ended)
		byte_stream_want_read(l->stream);
}

static void on_end(struct ws_server *ws, uint16_t code)
{
	end(link_of(ws), code, code == WEBSOCKET_CLOSE_PROTOCOL ? "protocol error" : NULL);
}

static void on_idle(struct ws_server *ws)
{
	close_now(link_of(ws), WEBSOCKET_CLOSE_GOING_AWAY, "idle for too long");
}

static void on_cancelled(struct ws_server *ws)
{
	link_free(link_of(ws));
}

static const struct ws_server_events ws_events = {
	.on_payload = on_payload,
	.on_message = on_message,
	.on_room = on_room,
	.on_end = on_end,
	.on_idle = on_idle,
	.on_cancelled = on_cancelled,
};

/* --- Dialling -------------------------------------------------------------------------------- */

static void answer_handshake(struct link *l)
{
	struct exchange *x = l->ws.x;
	const struct bytes field = BYTES_LIT(WEBSOCKET_HALF_CLOSE_FIELD);

	l->half_close = fields_find_text(&x->request.fields, field) != NULL;
	if (l->half_close)
		(void)fields_add(&x->response.fields, &x->arena, field, BYTES_LIT("1"));
	ws_server_accept(&l->ws, l->origin->rule->origin.idle_timeout / USEC_PER_MSEC);
}

static void speak_socks(struct link *l)
{
	l->state = LINK_SOCKS;
	l->socks = mem_alloc(sizeof(*l->socks));
	socks_reader_init(l->socks);
}

static void refuse(struct link *l, const struct err *err, const char *title)
{
	struct exchange *x = l->ws.x;

	metric_add(&connector_metrics.connect_streams_errors, 1);
	origin_failed(x, l->origin->rule, err, title, false);
	if (l->target.len) {
		x->failure.detail =
			arena_printf(&x->arena, "The destination " BYTES_FMT " did not answer: %s.",
				     BYTES_ARG(l->target), err->text);
		x->failure.origin = l->target;
	}
	ws_server_refuse(&l->ws);
	link_free(l);
}

static void on_dialled(void *ctx, struct byte_stream *stream, const struct err *err,
		       const char *title)
{
	struct link *l = ctx;

	CHECK(l, LINK_MAGIC);
	l->dial = NULL;
	l->stream = stream;
	if (stream)
		byte_stream_set_events(stream, &stream_events, l);
	if (l->state == LINK_ASKED) {
		if (!stream) {
			socks_fail(l, err);
			return;
		}
		socks_reply(l, SOCKS_OK);
		open_up(l);
	} else if (!stream) {
		refuse(l, err, title);
		return;
	} else {
		histogram_observe(&connector_metrics.connect_latency,
				  loop_now(l->origin->loop) - l->dialled_at);
		answer_handshake(l);
		if (l->origin->rule->origin.is_socks)
			speak_socks(l);
		else
			open_up(l);
	}
	ws_server_resume(&l->ws);
}

/* --- Bastion --------------------------------------------------------------------------------- */

static uint16_t default_port(struct bytes scheme)
{
	static const struct {
		const char *scheme;
		uint16_t port;
	} ports[] = { { "ssh", 22 }, { "rdp", 3389 }, { "smb", 445 } };

	for (size_t i = 0; i < ARRAY_LEN(ports); i++)
		if (bytes_eq_nocase(scheme, bytes_str(ports[i].scheme)))
			return ports[i].port;
	return 0;
}

/* "ssh://user@host:port/path" and "host:port": host and port alone. False with a sentence for the visitor. */
static bool read_destination(struct exchange *x, struct origin_target *target,
			     const char **ret_problem)
{
	const struct field *field = fields_find_text(&x->request.fields, BYTES_LIT(JUMP_FIELD));
	struct bytes text = field ? field->value : BYTES_NONE, scheme = BYTES_NONE;

	*ret_problem = "The request does not say where to: give --destination host:port.";
	if (text.len == 0)
		return false;
	const uint8_t *mark = memmem(text.ptr, text.len, "://", 3);
	if (mark) {
		scheme = bytes_first(text, (size_t)(mark - text.ptr));
		text = bytes_from(text, scheme.len + 3);
	}
	for (size_t i = 0; i < text.len; i++)
		if (strchr("/?#", text.ptr[i]))
			text = bytes_first(text, i);
	for (size_t at; (at = bytes_index(text, '@')) < text.len;)
		text = bytes_from(text, at + 1);
	if (address_split(text, &target->host, &target->port, NULL) == 0 && target->host.len)
		return true;
	*ret_problem = "The destination of the request has no port: give --destination host:port.";
	target->host = text;
	target->port = default_port(scheme);
	if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
		target->host = bytes_from(bytes_first(text, text.len - 1), 1);
	else if (bytes_index(text, ':') < text.len)
		return false;
	return target->host.len && target->port;
}

/* --- Visitors without a WebSocket ------------------------------------------------------------ */

/* The scheme of a client's command: `adit access rdp`. */
static const char *command_of(const struct ingress_rule *rule)
{
	static const char *const schemes[] = { "ssh", "rdp", "smb" };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (strcmp(rule->scheme, schemes[i]) == 0)
			return schemes[i];
	return rule->kind == INGRESS_BASTION ? "ssh" : "tcp";
}

/* A browser, most likely. */
static void explain(struct origin *o, struct exchange *x, const char *problem)
{
	const char *command = command_of(o->rule);
	const char *more = o->rule->kind == INGRESS_BASTION ? " --destination HOST:PORT"
			   : strcmp(command, "ssh") == 0    ? ""
							    : " --url localhost:PORT";
	struct bytes host = x->host.len ? x->host : x->request.authority;
	struct buf b;
	int ret = 0;

	buf_init(&b, MAX_PAGE_BYTES);
	ret |= page_begin(&b, "Not a website");
	ret |= buf_append_str(&b, "<p>");
	ret |= page_text(&b, host);
	ret |= buf_append_str(&b, " is a service that speaks another protocol than HTTP, reached "
				  "through a WebSocket. ");
	ret |= buf_append_str(&b, problem ? problem : "");
	ret |= buf_printf(&b,
			  "</p>\n<p>On your own computer, run</p>\n<pre>adit access %s "
			  "--hostname ",
			  command);
	ret |= page_text(&b, host);
	ret |= buf_printf(&b, "%s</pre>\n", more);
	ret |= page_end(&b);
	/* Only a host name too long for any URL gets here. */
	if (ret < 0)
		buf_clear(&b);
	page_answer(x, 400, &b);
	buf_done(&b);
}

void origin_tcp_start(struct origin *o, struct exchange *x)
{
	const struct ingress_rule *rule = o->rule;
	struct origin_target target = origin_target_of(x);
	const char *problem = NULL;

	if (!x->request.is_upgrade ||
	    (rule->kind == INGRESS_BASTION && !read_destination(x, &target, &problem))) {
		explain(o, x, problem);
		return;
	}
	struct link *l = mem_alloc(sizeof(*l));
	l->magic = LINK_MAGIC;
	l->origin = o;
	deferred_init(&l->look, on_look);
	timer_init(&l->look_again, o->loop, on_look_again);
	ws_server_init(&l->ws, x, &ws_events);
	if (rule->kind == INGRESS_SOCKS) {
		answer_handshake(l);
		speak_socks(l);
		return;
	}
	if (target.host.len)
		l->target = arena_printf(&x->arena, BYTES_FMT ":%u", BYTES_ARG(target.host),
					 target.port);
	l->dialled_at = loop_now(o->loop);
	l->dial = origin_dial(o, &target, on_dialled, l);
}
