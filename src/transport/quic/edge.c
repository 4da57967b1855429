/* The edge's end: requests into ConnectRequests, ConnectResponses into answers (PROTOCOL.md §4.3, §4.4).
 *
 * The edge trusts no connector: what an answer says about itself is checked before anybody acts on it. */
#include <stdio.h>

#include "base/limits.h"
#include "transport/quic/quic_tunnel.h"
#include "wire/heads.h"

/* --- Opening --------------------------------------------------------------------------------- */

struct pairs {
	struct connect_pair list[CONNECT_PAIRS];
	size_t count;
};

static void add(struct pairs *p, enum connect_key key, struct bytes name, struct bytes value)
{
	if (p->count < ARRAY_LEN(p->list))
		p->list[p->count++] = (struct connect_pair){ key, name, value };
}

static bool is_ours(const struct session *s)
{
	return session_has_feature(s, FEATURE_REASON);
}

/* How long the body is, as a connector is told: without either field it takes none. */
static void add_length(struct pairs *p, const struct head *head, bool fin, char number[24])
{
	if (fin || head->length == HEAD_LENGTH_NONE)
		return;
	if (head->length == HEAD_LENGTH_KNOWN) {
		int len = snprintf(number, 24, "%llu", (unsigned long long)head->content_length);
		add(p, CONNECT_FIELD, BYTES_LIT("Content-Length"), bytes_of(number, (size_t)len));
	} else {
		add(p, CONNECT_FIELD, BYTES_LIT("Transfer-Encoding"), BYTES_LIT("chunked"));
	}
}

static int put_request(struct buf *out, struct quic_tunnel_stream *ts, const struct head *head,
		       bool fin)
{
	const struct session *s = ts->base.session;
	struct pairs pairs = { .count = 0 };
	struct arena a;
	char number[24];

	if (ts->kind == STREAM_TCP)
		return connect_put_request(out, CONNECT_TCP, head->authority, NULL, 0);
	arena_init(&a);
	add(&pairs, CONNECT_METHOD, BYTES_NONE, head->method.len ? head->method : BYTES_LIT("GET"));
	add(&pairs, CONNECT_HOST, BYTES_NONE, head->authority);
	for (size_t i = 0; i < head->fields.count; i++) {
		const struct field *f = &head->fields.list[i];
		/* A colon in a name would make the whole head invalid; it is no valid name anyway. */
		if (f->token != HEAD_CONTENT_LENGTH && f->token != HEAD_TRANSFER_ENCODING &&
		    head_name_is_valid(f->name))
			add(&pairs, CONNECT_FIELD, f->name, f->value);
	}
	if (ts->kind == STREAM_HTTP)
		add_length(&pairs, head, fin, number);
	if (is_ours(s)) {
		add(&pairs, CONNECT_OTHER, QUIC_KEY_FEATURES, BYTES_LIT(QUIC_EDGE_FEATURES));
		if (ts->kind == STREAM_HTTP && !fin && head->length == HEAD_LENGTH_UNKNOWN &&
		    session_has_feature(s, FEATURE_TRAILERS)) {
			add(&pairs, CONNECT_OTHER, QUIC_KEY_FRAMED, BYTES_LIT("1"));
			quic_frames_start(&ts->out);
		}
	}
	struct bytes dest = arena_printf(&a, "https://" BYTES_FMT BYTES_FMT,
					 BYTES_ARG(head->authority), BYTES_ARG(head->path));
	int rc = connect_put_request(out,
				     ts->kind == STREAM_WEBSOCKET ? CONNECT_WEBSOCKET : CONNECT_HTTP,
				     dest, pairs.list, pairs.count);
	arena_done(&a);
	return rc;
}

struct stream *quic_edge_open(struct session *s, enum stream_kind kind, const struct head *head,
			      bool fin, const struct stream_events *events, void *ctx)
{
	struct quic_tunnel *t = quic_tunnel_of(s);
	struct buf out;

	/* Configuration travels by RPC here, not as a request. */
	if (!quic_transport.can_open(s) || kind == STREAM_CONFIG)
		return NULL;
	struct quic_stream *q = quic_open(t->conn, NULL);
	if (!q)
		return NULL;
	struct quic_tunnel_stream *ts = quic_tunnel_stream_new(t, kind, q);
	ts->base.events = events;
	ts->base.ctx = ctx;
	ts->is_head = bytes_eq(head->method, BYTES_LIT("HEAD"));
	buf_init(&out, CONNECT_BYTES);
	int rc = put_request(&out, ts, head, fin);
	/* A new stream has its whole send queue. */
	if (rc < 0 || quic_stream_write(q, buf_bytes(&out), fin) < out.len)
		quic_tunnel_stream_reset(ts, REASON_FAILED);
	buf_done(&out);
	return &ts->base;
}

void quic_edge_say_leaving(struct quic_tunnel *t)
{
	const struct connect_pair pair = { CONNECT_OTHER, QUIC_KEY_LEAVING, BYTES_LIT("1") };
	struct buf out;

	if (!session_has_feature(&t->base.base, FEATURE_LEAVING))
		return;
	/* Nobody's stream: what comes on it is of no interest. When none can be opened the connector learns it
	 * when the connection ends. */
	struct quic_stream *q = quic_open(t->conn, NULL);
	if (!q)
		return;
	buf_init(&out, CONNECT_BYTES);
	if (connect_put_request(&out, CONNECT_HTTP, BYTES_NONE, &pair, 1) == 0)
		(void)quic_stream_write(q, buf_bytes(&out), true);
	buf_done(&out);
}

/* --- Answers --------------------------------------------------------------------------------- */

/* What a ConnectResponse says, before it is checked. */
struct reading {
	struct head head;
	struct bytes reason;
	bool has_status, is_limited, is_framed;
};

static int read_pairs(const struct connect_head *from, struct arena *a, struct reading *r)
{
	for (uint32_t i = 0; i < from->pairs.count; i++) {
		struct connect_pair pair;
		uint64_t status;
		if (connect_pair_at(from, i, &pair) < 0)
			return E_PROTOCOL;
		struct bytes value = bytes_trim(pair.value);
		if (pair.key == CONNECT_STATUS) {
			if (!bytes_to_u64(value, &status) || status < 100 || status > 999)
				return E_PROTOCOL;
			r->head.status = (int)status;
			r->has_status = true;
		} else if (pair.key == CONNECT_FIELD) {
			if (!head_name_is_valid(pair.name) || !head_value_is_valid(value))
				return E_PROTOCOL;
			if (!heads_is_filtered(pair.name) &&
			    fields_add(&r->head.fields, a, pair.name, value) < 0)
				return E_LIMIT;
		} else if (pair.key == CONNECT_RATE_LIMITED) {
			r->is_limited = bytes_eq(value, BYTES_LIT("true"));
		} else if (bytes_eq(pair.name, QUIC_KEY_REASON)) {
			r->reason = value;
		} else if (bytes_eq(pair.name, QUIC_KEY_FRAMED)) {
			r->is_framed = true;
		}
	}
	return 0;
}

/* How long the body will be, by the origin's word. E_PROTOCOL when it has two. */
static int read_length(struct quic_tunnel_stream *ts, struct head *head)
{
	bool no_body = ts->is_head || head->status == 204 || head->status == 304;
	bool has_length = false;
	uint64_t length = 0, other;

	for (size_t i = 0; i < head->fields.count; i++) {
		if (head->fields.list[i].token != HEAD_CONTENT_LENGTH)
			continue;
		if (!bytes_to_u64(head->fields.list[i].value, &other) ||
		    (has_length && other != length))
			return E_PROTOCOL;
		length = other;
		has_length = true;
	}
	head->length = no_body ? HEAD_LENGTH_NONE : HEAD_LENGTH_UNKNOWN;
	if (no_body) {
		ts->has_length = true;
		ts->length_left = 0;
	} else if (has_length && head->status != 101) {
		head->length = HEAD_LENGTH_KNOWN;
		head->content_length = length;
		ts->has_length = true;
		ts->length_left = length;
	}
	return 0;
}

static void report(struct quic_tunnel_stream *ts, struct reading *r, bool from_connector)
{
	const struct answer answer = {
		.head = &r->head,
		.from_connector = from_connector,
		.flow_rate_limited = r->is_limited,
		.failure_json = r->reason,
	};

	ts->has_head = true;
	ts->base.events->on_answer(&ts->base, &answer);
}

bool quic_edge_on_head(struct quic_tunnel_stream *ts, struct bytes bytes)
{
	struct connect_head from;
	struct reading r = { .reason = BYTES_NONE };
	struct arena a;
	struct err err;

	arena_init(&a);
	int rc = connect_get_response(bytes, &from, &err);
	if (rc == 0)
		rc = read_pairs(&from, &a, &r);
	if (rc < 0) {
		quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
	} else if (from.error.len || (!r.has_status && ts->kind != STREAM_TCP)) {
		/* The text may name addresses of the connector's network: it is not for visitors. */
		r.head = (struct head){ .status = 502 };
		ts->has_length = true;
		report(ts, &r, true);
	} else if (r.head.status < 200 && r.head.status != 101 && r.has_status) {
		head_strip_hop_by_hop(&r.head);
		if (ts->base.events->on_interim)
			ts->base.events->on_interim(&ts->base, &r.head);
	} else {
		if (ts->kind == STREAM_TCP && !r.has_status)
			r.head.status = 200;
		r.head.is_upgrade = ts->kind == STREAM_WEBSOCKET && r.head.status == 101;
		if (r.head.status == 101 && !r.head.is_upgrade)
			rc = E_PROTOCOL;
		else
			rc = read_length(ts, &r.head);
		head_strip_hop_by_hop(&r.head);
		if (r.is_framed && !r.head.is_upgrade && !ts->in.is_on)
			quic_frames_start(&ts->in);
		if (rc < 0)
			quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
		else
			report(ts, &r, false);
	}
	arena_done(&a);
	return !ts->is_reset;
}
