/* For targets with a hostile peer of a tunnel session: users of both ends who do a little of everything and hold
 * the driver to what transport.h promises, and the words of a registration. */
#pragma once

#include <stdlib.h>

#include "base/buf.h"
#include "base/limits.h"
#include "transport/control.h"
#include "transport/transport.h"
#include "transport/udp_flow.h"

#define USER_STREAMS 64
#define USER_FLOWS 8

struct tunnel_user {
	struct session *session;
	uint8_t how; /* of the input: what the user does */
	bool is_closed, is_draining;
	bool may_open; /* edge: registered */
	size_t stream_count, flow_count, streams_open, flows_open;
	struct user_stream {
		struct tunnel_user *user;
		struct stream *st;
		enum stream_kind kind;
		bool is_answered, has_ended, is_closed;
	} streams[USER_STREAMS];
	struct user_flow {
		struct tunnel_user *user;
		struct udp_flow *flow;
	} flows[USER_FLOWS];
};

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* --- Streams --------------------------------------------------------------------------------- */

static struct user_stream *live(struct stream *st)
{
	struct user_stream *us = st->ctx;

	must(us->st == st && !us->is_closed && !us->user->is_closed);
	return us;
}

static void user_on_interim(struct stream *st, const struct head *head)
{
	must(!live(st)->is_answered && head->status >= 100 && head->status < 200 &&
	     head->status != 101);
}

static void user_on_answer(struct stream *st, const struct answer *a)
{
	struct user_stream *us = live(st);

	must(!us->is_answered && !us->has_ended && a->head->status >= 100 && a->head->status <= 999);
	us->is_answered = true;
	must(!a->from_connector || a->head->fields.count == 0);
	if (a->head->status == 101)
		stream_write(st, BYTES_LIT("frames"), us->user->how & 2);
}

static void user_on_data(struct stream *st, struct bytes data, bool fin)
{
	struct user_stream *us = live(st);

	must(!us->has_ended);
	must(st->session->side == SESSION_CONNECTOR || us->is_answered);
	us->has_ended = fin;
	/* Some are slow, some lose patience. */
	if (!(us->user->how & 4) || data.len % 8)
		stream_consume(st, data.len);
	if (data.len % 16 == 9)
		stream_reset(st, REASON_CANCELLED);
	else if (fin)
		stream_finish(st, NULL);
	else if (us->is_answered)
		stream_write(st, data, false);
}

static void user_on_trailers(struct stream *st, const struct fields *trailers)
{
	struct user_stream *us = live(st);

	must(!us->has_ended);
	us->has_ended = true;
	stream_finish(st, trailers);
}

static void user_on_writable(struct stream *st)
{
	live(st);
	stream_write(st, BYTES_LIT("some more"), true);
}

static void user_on_stream_closed(struct stream *st, enum reason why)
{
	struct user_stream *us = live(st);

	(void)why;
	us->is_closed = true;
	us->user->streams_open--;
}

static const struct stream_events user_stream_events = {
	.on_interim = user_on_interim,
	.on_answer = user_on_answer,
	.on_data = user_on_data,
	.on_trailers = user_on_trailers,
	.on_writable = user_on_writable,
	.on_closed = user_on_stream_closed,
};

/* NULL: it has had its share. */
static struct user_stream *user_stream_new(struct tunnel_user *u)
{
	if (u->stream_count == USER_STREAMS)
		return NULL;
	struct user_stream *us = &u->streams[u->stream_count++];
	us->user = u;
	u->streams_open++;
	return us;
}

/* --- UDP flows ------------------------------------------------------------------------------- */

static void user_on_datagram(struct udp_flow *f, struct bytes payload)
{
	struct user_flow *uf = f->ctx;

	must(uf->flow == f && payload.len <= 65536);
	if (payload.len % 16 == 9) {
		uf->flow = NULL;
		uf->user->flows_open--;
		udp_flow_close(f, REASON_DONE, BYTES_LIT("enough"));
	} else {
		(void)udp_flow_send(f, payload);
	}
}

static void user_on_flow_closed(struct udp_flow *f, enum reason why, struct bytes text)
{
	struct user_flow *uf = f->ctx;

	(void)why;
	must(uf->flow == f && (!text.len || text.ptr));
	uf->flow = NULL;
	uf->user->flows_open--;
}

static const struct udp_flow_events user_flow_events = {
	.on_datagram = user_on_datagram,
	.on_closed = user_on_flow_closed,
};

static void user_open_flow(struct tunnel_user *u, const struct udp_target *target)
{
	if (u->flow_count == USER_FLOWS || !session_can_open_udp(u->session, target->hostname.len))
		return;
	struct user_flow *uf = &u->flows[u->flow_count++];
	uf->user = u;
	uf->flow = session_open_udp(u->session, target, 0, &user_flow_events, uf);
	if (!uf->flow)
		return;
	u->flows_open++;
	(void)udp_flow_send(uf->flow, BYTES_LIT("early"));
}

/* --- The edge's user ------------------------------------------------------------------------- */

static void user_on_register(struct session *s, const struct registration *r)
{
	struct tunnel_user *u = s->ctx;
	const struct registered yes = { .ok = true, .location = BYTES_LIT("fuzz") };
	const struct registered no = { .cause = BYTES_LIT("Unauthorized") };

	must(r->feature_count <= LIMIT_FEATURES);
	u->may_open = !(u->how & 1);
	session_reply(s, u->may_open ? &yes : &no);
}

/* One stream of each kind, and one with a body whose length is not known. */
static __attribute__((unused)) void edge_user_open(struct tunnel_user *u)
{
	static struct field list[] = { { BYTES_LIT("accept"), BYTES_LIT("*/*"), HEAD_OTHER } };
	static const struct {
		enum stream_kind kind;
		const char *method;
		enum head_length length;
		bool fin;
	} asks[] = {
		{ STREAM_HTTP, "GET", HEAD_LENGTH_NONE, true },
		{ STREAM_HTTP, "HEAD", HEAD_LENGTH_NONE, true },
		{ STREAM_HTTP, "POST", HEAD_LENGTH_UNKNOWN, false },
		{ STREAM_WEBSOCKET, "GET", HEAD_LENGTH_UNKNOWN, false },
		{ STREAM_TCP, "", HEAD_LENGTH_UNKNOWN, false },
		{ STREAM_CONFIG, "PUT", HEAD_LENGTH_UNKNOWN, false },
	};
	struct udp_target target = { .hostname = BYTES_LIT("fuzz.example.com") };

	for (size_t i = 0; i < ARRAY_LEN(asks) && !u->is_closed && u->may_open; i++) {
		const struct head head = {
			.method = bytes_str(asks[i].method),
			.path = BYTES_LIT("/fuzz?er"),
			.authority = asks[i].kind == STREAM_TCP ? BYTES_LIT("192.0.2.1:22")
								: BYTES_LIT("fuzz.example.com"),
			.length = asks[i].length,
			.fields = { list, ARRAY_LEN(list), ARRAY_LEN(list) },
		};
		struct user_stream *us = session_can_open(u->session) ? user_stream_new(u) : NULL;
		if (!us)
			break;
		us->kind = asks[i].kind;
		us->st = session_open(u->session, us->kind, &head, asks[i].fin, &user_stream_events,
				      us);
		if (!us->st) {
			us->is_closed = true;
			u->streams_open--;
		} else if (!asks[i].fin) {
			stream_write(us->st, BYTES_LIT("hello"), false);
		}
	}
	if (u->is_closed || !u->may_open)
		return;
	user_open_flow(u, &target);
	target.hostname = BYTES_NONE;
	if (address_from_ip(BYTES_LIT("192.0.2.1"), 53, &target.ip))
		user_open_flow(u, &target);
}

/* --- The connector's user -------------------------------------------------------------------- */

static void user_on_registered(struct session *s, const struct registered *r)
{
	if (r->ok && r->location.len == 3)
		session_drain(s);
}

static void user_on_stream(struct session *s, struct stream *st, enum stream_kind kind,
			   const struct head *head, bool fin)
{
	struct tunnel_user *u = s->ctx;
	const struct head response = {
		.status = kind == STREAM_WEBSOCKET ? 101 : 200,
		.length = kind == STREAM_HTTP && head->path.len % 2 ? HEAD_LENGTH_UNKNOWN
								    : HEAD_LENGTH_NONE,
		.fields = head->fields,
	};
	const struct head interim = { .status = 103, .fields = head->fields };
	const struct answer failed = {
		.head = &(const struct head){ .status = 502 },
		.from_connector = true,
		.failure_json = BYTES_LIT("{}"),
	};
	const struct answer answer = { .head = &response };
	struct user_stream *us = user_stream_new(u);

	must(!u->is_closed);
	if (!us) {
		stream_reset(st, REASON_REFUSED);
		return;
	}
	us->st = st;
	us->kind = kind;
	us->is_answered = true;
	us->has_ended = fin;
	st->ctx = us;
	st->events = &user_stream_events;
	switch (head->path.len % 8) {
	case 3:
		stream_reset(st, REASON_FAILED);
		return;
	case 4:
		stream_answer(st, &failed, true);
		return;
	case 5:
		stream_interim(st, &interim);
		break;
	}
	stream_answer(st, &answer, fin);
	if (!fin)
		stream_write(st, head->path, false);
}

static void user_on_udp(struct session *s, struct udp_flow *f, const struct udp_target *target)
{
	struct tunnel_user *u = s->ctx;

	must(target->hostname.len || target->ip.len);
	if (u->flow_count == USER_FLOWS) {
		udp_flow_close(f, REASON_FLOOD, BYTES_NONE);
		return;
	}
	struct user_flow *uf = &u->flows[u->flow_count++];
	uf->user = u;
	uf->flow = f;
	u->flows_open++;
	f->events = &user_flow_events;
	f->ctx = uf;
	udp_flow_accept(f);
}

/* --- Both ------------------------------------------------------------------------------------ */

static void user_on_draining(struct session *s)
{
	struct tunnel_user *u = s->ctx;

	must(!u->is_draining && !u->is_closed);
	u->is_draining = true;
}

static void user_on_closed(struct session *s, enum reason why, const struct err *err)
{
	struct tunnel_user *u = s->ctx;

	(void)why;
	(void)err;
	must(!u->is_closed && u->streams_open == 0 && u->flows_open == 0);
	u->is_closed = true;
}

static const struct session_events edge_user_events = {
	.on_register = user_on_register,
	.on_draining = user_on_draining,
	.on_closed = user_on_closed,
};

static const struct session_events connector_user_events = {
	.on_registered = user_on_registered,
	.on_stream = user_on_stream,
	.on_udp = user_on_udp,
	.on_draining = user_on_draining,
	.on_closed = user_on_closed,
};

/* --- A registration -------------------------------------------------------------------------- */

/* Which version of datagrams the connector announces: 3, unless this is set. */
static bool has_only_datagrams_v2;

static const struct registration *a_registration(void)
{
	static struct bytes features[] = {
		BYTES_LIT(""),
		{ (const uint8_t *)FEATURE_REASON, sizeof(FEATURE_REASON) - 1 },
		{ (const uint8_t *)FEATURE_INTERIM, sizeof(FEATURE_INTERIM) - 1 },
		{ (const uint8_t *)FEATURE_TRAILERS, sizeof(FEATURE_TRAILERS) - 1 },
		{ (const uint8_t *)FEATURE_UDP, sizeof(FEATURE_UDP) - 1 }
	};
	static const struct registration it = {
		.account = { (const uint8_t *)"account", 7 },
		.secret = { (const uint8_t *)"secret", 6 },
		.features = features,
		.feature_count = ARRAY_LEN(features),
	};

	features[0] = has_only_datagrams_v2 ? BYTES_LIT("support_datagram_v2")
					    : BYTES_LIT("support_datagram_v3_2");
	return &it;
}

struct answering_edge {
	struct control *control;
	bool has_answered;
};

static void say_yes(void *ctx, const struct registration *r)
{
	struct answering_edge *e = ctx;
	const struct registered yes = { .ok = true, .location = BYTES_LIT("fuzz") };

	(void)r;
	e->has_answered = control_reply(e->control, &yes);
}

/* What a connector says on the control stream, and what an edge answers. */
static void a_conversation(struct buf *ret_question, struct buf *ret_answer)
{
	static const struct control_events nothing;
	static const struct control_events events = { .on_register = say_yes };
	struct answering_edge edge = { 0 };
	struct control *connector = control_new(SESSION_CONNECTOR, &nothing, NULL, a_registration());

	edge.control = control_new(SESSION_EDGE, &events, &edge, NULL);
	must(buf_append(ret_question, control_output(connector)) == 0);
	must(control_feed(edge.control, control_output(connector), NULL) == 0 && edge.has_answered);
	must(buf_append(ret_answer, control_output(edge.control)) == 0);
	control_free(connector);
	control_free(edge.control);
}
