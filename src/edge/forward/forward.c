#include "edge/forward/forward.h"

#include <jansson.h>

#include "base/limits.h"
#include "edge/forward/dispatch.h"
#include "edge/forward/rewrite.h"
#include "edge/worker.h"

/* What a connector says about its failure; longer is nonsense. */
#define MAX_REASON_BYTES 4096

/* The answerer's side of one exchange; in the exchange's arena. */
struct forward {
	struct exchange *x;
	struct worker *worker;
	struct stream *stream;          /* borrowed until its on_closed; NULL afterwards */
	struct tunnel_session *session; /* borrowed while there is a stream */
	struct forward_how how;
	bool request_ended;    /* our side of the stream has ended */
	bool response_ended;   /* the peer's has */
	bool ends_apart;       /* raw: each direction ends by itself (adit_half_close) */
	struct timer patience; /* raw, stock connector: the visitor's side has ended */
	uint64_t credited;     /* response bytes whose window was given back */
};

static void on_interim(struct stream *st, const struct head *head);
static void on_answer(struct stream *st, const struct answer *a);
static void on_data(struct stream *st, struct bytes data, bool fin);
static void on_trailers(struct stream *st, const struct fields *trailers);
static void on_stream_writable(struct stream *st);
static void on_stream_closed(struct stream *st, enum reason why);

static const struct stream_events stream_events = {
	.on_interim = on_interim,
	.on_answer = on_answer,
	.on_data = on_data,
	.on_trailers = on_trailers,
	.on_writable = on_stream_writable,
	.on_closed = on_stream_closed,
};

/* A stream whose exchange has gone: reset, its last events fall on the floor. */
static void ignore_answer(struct stream *st, const struct answer *a)
{
	(void)st;
	(void)a;
}
static void ignore_data(struct stream *st, struct bytes data, bool fin)
{
	(void)st;
	(void)data;
	(void)fin;
}
static void ignore_writable(struct stream *st)
{
	(void)st;
}
static void ignore_closed(struct stream *st, enum reason why)
{
	(void)st;
	(void)why;
}
static const struct stream_events orphan_events = {
	.on_answer = ignore_answer,
	.on_data = ignore_data,
	.on_writable = ignore_writable,
	.on_closed = ignore_closed,
};

static void on_request_data(struct exchange *x);
static void on_response_room(struct exchange *x);
static void on_cancelled(struct exchange *x);
static void on_patience_over(struct timer *t);

static const struct exchange_answerer answerer = {
	.name = "tunnel",
	.on_request_data = on_request_data,
	.on_response_room = on_response_room,
	.on_cancelled = on_cancelled,
};

/* --- Starting -------------------------------------------------------------------------------- */

enum handled forward_no_connector(struct exchange *x)
{
	return exchange_failed(
		x, FAILURE_TUNNEL, 530, 1033, "Tunnel not connected",
		"The route to %.*s exists, but no connector of its tunnel is connected to this edge. "
		"Start it with \"adit tunnel run\".",
		BYTES_ARG(x->host));
}

/* A stock connector asks origins for gzip when the visitor asked for nothing, and then hands on the
 * decompressed body without its length. Saying that nothing is wanted keeps responses as they are. */
static void keep_encoding(struct exchange *x, const struct session *s)
{
	struct fields *f = &x->request.fields;

	if (!session_has_feature(s, FEATURE_REASON) && !fields_find(f, HEAD_ACCEPT_ENCODING))
		(void)fields_add(f, &x->arena, BYTES_LIT("accept-encoding"), BYTES_LIT("identity"));
}

/* The origin's own word on "Expect: 100-continue" where it can come back; ours where it cannot. */
static void keep_expectation(struct exchange *x, const struct session *s)
{
	struct fields *f = &x->request.fields;

	fields_remove(f, HEAD_EXPECT); /* of an attempt before this one */
	if (!x->expects_continue || x->interim_count)
		return;
	if (session_has_feature(s, FEATURE_INTERIM)) {
		(void)fields_add(f, &x->arena, head_name_text(HEAD_EXPECT),
				 BYTES_LIT("100-continue"));
	} else {
		const struct head go_on = { .status = 100 };
		exchange_interim(x, &go_on);
	}
}

static enum stream_kind kind_of(const struct exchange *x)
{
	if (x->is_tcp)
		return STREAM_TCP;
	return x->request.is_upgrade ? STREAM_WEBSOCKET : STREAM_HTTP;
}

/* A request that has crossed is counted over there. */
static void count(const struct forward *f, int n)
{
	if (f->how.dispatch)
		replica_load_add(f->how.replica, f->worker->index, n);
}

static void pump_request(struct forward *f);

bool forward_on(struct worker *w, struct exchange *x, struct tunnel_session *ts,
		const struct forward_how *how)
{
	struct forward *f = arena_alloc(&x->arena, sizeof(*f));

	if (!x->is_tcp) {
		keep_encoding(x, ts->session);
		keep_expectation(x, ts->session);
	}
	bool is_empty = x->request.length == HEAD_LENGTH_NONE ||
			(x->request.length == HEAD_LENGTH_KNOWN && x->request.content_length == 0);
	bool fin = is_empty && !x->request.is_upgrade;

	f->stream = session_open(ts->session, kind_of(x), &x->request, fin, &stream_events, f);
	if (!f->stream)
		return false;
	f->x = x;
	f->worker = w;
	f->how = *how;
	f->session = ts;
	timer_init(&f->patience, w->loop, on_patience_over);
	x->connector = ts->connector;
	x->conn_index = ts->index;
	f->ends_apart =
		x->request.is_upgrade && session_has_feature(ts->session, FEATURE_HALF_CLOSE);
	f->request_ended = fin;
	count(f, +1);
	/* The stream's window bounds what may wait here. */
	x->response_body.queue.capacity = LIMIT_H2_STREAM_WINDOW;
	exchange_answer_by(x, &answerer, f);
	pump_request(f); /* what somebody else was sent before */
	return true;
}

/* The replica has left while the request crossed: another one that is here may take it. Sent back it would have to be short,
 * for of a long body a part has crossed, too. */
static struct tunnel_session *another_one(struct worker *w, struct exchange *x,
					  struct forward_how *how)
{
	struct registry_choice choice;
	const struct registry_ask ask = {
		.tunnel = &how->tunnel,
		.policy = BALANCE_LEAST,
		.host = x->host,
		.host_key = how->host_key,
		.only_here = true,
		.tries = { { .connector = how->connector, .is_final = true } },
		.try_count = 1,
	};

	if (!registry_choose(w, &ask, &choice))
		return NULL;
	how->is_probe = choice.is_probe;
	return choice.session;
}

enum handled forward_here(struct worker *w, struct exchange *x, const struct forward_how *how)
{
	struct tunnel_session *ts = registry_session_of(w, &how->tunnel, &how->connector);
	struct forward_how mine = *how;

	if (!ts)
		ts = another_one(w, x, &mine);
	mine.dispatch = NULL;
	mine.replay = arena_alloc(&x->arena, sizeof(*mine.replay));
	replay_init(mine.replay, x, 0);
	if (!ts || !forward_on(w, x, ts, &mine))
		return forward_no_connector(x);
	return HANDLED_TAKEN;
}

enum handled forward_handle(struct exchange *x, void *worker)
{
	struct worker *w = worker;
	const struct snapshot_route *route = x->route;
	struct bytes loop_token = arena_printf(&x->arena, "adit-%.8s", route->tunnel->account);

	if (rewrite_request(x, loop_token, w->location) == HANDLED_FAILED)
		return HANDLED_FAILED;
	x->relays_continue = x->expects_continue;
	return dispatch_start(w, x, route) ? HANDLED_TAKEN : forward_no_connector(x);
}

/* --- Request body: visitor -> stream --------------------------------------------------------- */

static void pump_request(struct forward *f)
{
	struct replay *body = f->how.replay;
	const struct fields *trailers = &f->x->request_body.trailers;
	struct bytes run;

	while (f->stream && !f->request_ended && replay_peek(body, &run)) {
		bool fin = replay_is_last(body, run) && trailers->count == 0 &&
			   !f->x->request.is_upgrade;
		size_t taken = stream_write(f->stream, run, fin);
		replay_consume(body, taken);
		if (taken < run.len)
			return;
		f->request_ended = fin;
	}
	if (f->stream && !f->request_ended && replay_is_done(body)) {
		/* A stock connector takes the end of the visitor's side for the end of everything: the
		 * answer has a while to come. */
		if (f->x->request.is_upgrade && !f->ends_apart) {
			timer_set(&f->patience, LIMIT_STOCK_HALF_CLOSED_MS);
			return;
		}
		f->request_ended = true;
		if (trailers->count)
			stream_finish(f->stream, trailers);
		else
			(void)stream_write(f->stream, BYTES_NONE, true);
	}
}

static void on_patience_over(struct timer *t)
{
	struct forward *f = CONTAINER_OF(t, struct forward, patience);

	f->request_ended = true;
	if (f->stream)
		(void)stream_write(f->stream, BYTES_NONE, true);
}

static void on_request_data(struct exchange *x)
{
	pump_request(x->answerer_ctx);
}

static void on_stream_writable(struct stream *st)
{
	pump_request(st->ctx);
}

/* --- Response: stream -> visitor ------------------------------------------------------------- */

static struct bytes json_text(struct exchange *x, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? arena_copy(&x->arena, bytes_str(text)) : BYTES_NONE;
}

/* The connector's own words about its failure (adit_reason), bounded and never trusted as markup. */
static void read_reason(struct exchange *x, struct bytes json)
{
	struct failure *failure = &x->failure;

	if (json.len == 0 || json.len > MAX_REASON_BYTES)
		return;
	json_t *object = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(object)) {
		json_decref(object);
		return;
	}
	const char *hop = json_string_value(json_object_get(object, "hop"));
	json_int_t status = json_integer_value(json_object_get(object, "status"));
	struct bytes title = json_text(x, object, "title"), detail = json_text(x, object, "detail");
	if (hop && strcmp(hop, "origin") == 0)
		failure->hop = FAILURE_ORIGIN;
	if (status >= 400 && status <= 599)
		failure->status = (int)status;
	if (title.len)
		failure->title = title;
	if (detail.len)
		failure->detail = detail;
	failure->origin = json_text(x, object, "origin");
	failure->rule = json_text(x, object, "rule");
	failure->errno_name = json_text(x, object, "errno");
	failure->was_sent = !json_is_false(json_object_get(object, "sent"));
	json_decref(object);
}

/* Lets go of the stream; nothing more is heard of it. */
static struct stream *leave_stream(struct forward *f)
{
	struct stream *st = TAKE(f->stream);

	timer_stop(&f->patience);
	if (!st)
		return NULL;
	count(f, -1);
	st->events = &orphan_events;
	st->ctx = NULL;
	return st;
}

static void drop_stream(struct forward *f, enum reason why)
{
	struct stream *st = leave_stream(f);

	if (st)
		stream_reset(st, why);
}

/* Whether the replica's service does its work. */
static void judge(const struct forward *f, bool ok)
{
	const struct registry_verdict verdict = {
		.host = f->x->host,
		.host_key = f->how.host_key,
		.is_probe = f->how.is_probe,
		.ok = ok,
	};

	registry_judge(f->session, &verdict);
}

/* Of the service itself: it says that what is behind it is gone, or that it has no time. */
static bool is_failing(int status)
{
	return status == 502 || status == 503 || status == 504;
}

/* x->failure is filled in. */
static void fail(struct forward *f)
{
	struct exchange *x = f->x;

	if (!f->how.dispatch || !dispatch_again(f->how.dispatch))
		exchange_fail(x);
}

static void on_interim(struct stream *st, const struct head *head)
{
	struct forward *f = st->ctx;

	exchange_interim(f->x, head);
}

static void on_answer(struct stream *st, const struct answer *a)
{
	struct forward *f = st->ctx;
	struct exchange *x = f->x;

	if (a->from_connector && a->head->status >= 500) {
		exchange_failed(
			x, FAILURE_CONNECTOR, a->head->status, 0, "Bad gateway",
			"The connector is up, but could not reach the service behind it. Its log has the reason "
			"under request id %s.",
			x->id);
		x->failure.was_sent = true;
		x->failure.is_rate_limited = a->flow_rate_limited;
		read_reason(x, a->failure_json);
		/* A stock connector does not say which it was; mostly it is the service. */
		if (x->failure.hop == FAILURE_ORIGIN || a->failure_json.len == 0)
			judge(f, false);
		drop_stream(f, REASON_DONE);
		fail(f);
		return;
	}
	judge(f, !f->how.eject_on_5xx || a->from_connector || !is_failing(a->head->status));
	if (head_copy(&x->response, a->head, &x->arena) < 0) {
		exchange_failed(
			x, FAILURE_CONNECTOR, 502, 0, "Bad gateway",
			"The service's response has more header fields than this edge carries.");
		drop_stream(f, REASON_PROTOCOL);
		exchange_fail(x);
		return;
	}
	x->response.is_upgrade = x->request.is_upgrade && a->head->status == (x->is_tcp ? 200 : 101);
	rewrite_response(x, f->worker->location);
	if (f->how.dispatch)
		dispatch_answered(f->how.dispatch);
	exchange_respond(x);
}

/* The response is complete: the stream has done its work even if the visitor is still sending. */
static void end_response(struct forward *f)
{
	struct exchange *x = f->x;

	f->response_ended = true;
	body_end(&x->response_body);
	/* A raw stream goes on the other way until the visitor ends, too. */
	if (f->ends_apart && x->response.is_upgrade)
		return;
	if (!f->request_ended) {
		drop_stream(f, REASON_DONE);
		exchange_release_answerer(x);
	}
}

static void on_data(struct stream *st, struct bytes data, bool fin)
{
	struct forward *f = st->ctx;
	struct body *body = &f->x->response_body;

	if (timer_is_set(&f->patience))
		timer_set(&f->patience, LIMIT_STOCK_HALF_CLOSED_MS); /* something comes */
	if (data.len) {
		body_write_all(body, data);
		/* Every byte taken is window to give back: ask to be told. */
		body->wants_room = true;
	}
	if (fin)
		end_response(f);
}

static void on_trailers(struct stream *st, const struct fields *trailers)
{
	struct forward *f = st->ctx;

	/* Beyond the field limit the rest is dropped: trailers are optional by definition. */
	(void)fields_copy(&f->x->response_body.trailers, trailers, &f->x->arena);
	end_response(f);
}

static void on_response_room(struct exchange *x)
{
	struct forward *f = x->answerer_ctx;
	uint64_t taken = x->response_body.total - bufq_len(&x->response_body.queue);

	if (f->stream && taken > f->credited) {
		stream_consume(f->stream, (size_t)(taken - f->credited));
		f->credited = taken;
	}
	x->response_body.wants_room = !f->response_ended;
}

/* --- Ends ------------------------------------------------------------------------------------ */

static void on_stream_closed(struct stream *st, enum reason why)
{
	struct forward *f = st->ctx;
	struct exchange *x = f->x;

	f->stream = NULL;
	count(f, -1);
	timer_stop(&f->patience);
	if (f->response_ended) {
		exchange_release_answerer(x);
		return;
	}
	exchange_failed(
		x, FAILURE_TUNNEL, 502, 0, "Tunnel connection lost",
		"The connection to the connector ended (%s) before the response was complete.",
		reason_text(why));
	x->failure.was_sent = why != REASON_REFUSED;
	fail(f);
}

static void on_cancelled(struct exchange *x)
{
	struct forward *f = x->answerer_ctx;

	/* Both directions have ended: what the stream has taken still has to get there, which a reset could overtake. */
	if (f->response_ended)
		pump_request(f);
	if (f->request_ended && f->response_ended)
		(void)leave_stream(f);
	else
		drop_stream(f, REASON_CANCELLED);
	exchange_release_answerer(x);
}
