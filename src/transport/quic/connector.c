/* The connector's end: what the edge wants of a stream, and the answer (PROTOCOL.md §4.3, §4.4). */
#include <stdio.h>

#include "base/limits.h"
#include "transport/quic/quic_udp.h"

/* Longer names are sent as they came. */
#define CANONICAL_NAME_BYTES 256

/* --- Requests -------------------------------------------------------------------------------- */

struct reading {
	struct head head;
	bool is_chunked, is_framed, is_udp, is_leaving;
	struct bytes features;
};

static int read_field(struct reading *r, struct arena *a, const struct connect_pair *pair)
{
	struct bytes value = bytes_trim(pair->value);
	enum head_name token = head_name_of(pair->name);

	if (token == HEAD_TRANSFER_ENCODING) {
		/* How a body without a length is announced; nothing is chunked on the stream itself. */
		r->is_chunked |= head_value_has_token(value, BYTES_LIT("chunked"));
		return 0;
	}
	if (token == HEAD_HOST)
		return 0; /* HttpHost has it */
	if (token == HEAD_CONTENT_LENGTH) {
		uint64_t length;
		if (!bytes_to_u64(value, &length) ||
		    (r->head.length == HEAD_LENGTH_KNOWN && length != r->head.content_length))
			return E_PROTOCOL;
		r->head.length = HEAD_LENGTH_KNOWN;
		r->head.content_length = length;
	}
	if (!head_name_is_valid(pair->name) || !head_value_is_valid(value))
		return E_PROTOCOL;
	return fields_add(&r->head.fields, a, pair->name, value);
}

static int read_pairs(const struct connect_head *from, struct arena *a, struct reading *r)
{
	for (uint32_t i = 0; i < from->pairs.count; i++) {
		struct connect_pair pair;
		int rc = connect_pair_at(from, i, &pair);
		if (rc < 0)
			return rc;
		if (pair.key == CONNECT_METHOD)
			r->head.method = pair.value;
		else if (pair.key == CONNECT_HOST)
			r->head.authority = pair.value;
		else if (pair.key == CONNECT_FIELD)
			rc = read_field(r, a, &pair);
		else if (pair.key == CONNECT_OTHER && bytes_eq(pair.name, QUIC_KEY_FEATURES))
			r->features = pair.value;
		else if (pair.key == CONNECT_OTHER && bytes_eq(pair.name, QUIC_KEY_FRAMED))
			r->is_framed = true;
		else if (pair.key == CONNECT_OTHER && bytes_eq(pair.name, QUIC_KEY_UDP))
			r->is_udp = true;
		else if (pair.key == CONNECT_OTHER && bytes_eq(pair.name, QUIC_KEY_LEAVING))
			r->is_leaving = true;
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* "https://host/path?query": host and path; only the latter counts where HttpHost is there, too. */
static void read_dest(struct bytes dest, struct head *head)
{
	size_t at = 0;

	while (at + 3 <= dest.len && memcmp(dest.ptr + at, "://", 3) != 0)
		at++;
	struct bytes rest = at + 3 <= dest.len ? bytes_from(dest, at + 3) : dest;
	size_t end = 0;
	while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
		end++;
	if (head->authority.len == 0)
		head->authority = bytes_first(rest, end);
	head->path = bytes_from(rest, end);
	/* OPTIONS of the server as a whole has no path of its own. */
	if (head->authority.len && rest.len > head->authority.len &&
	    bytes_eq(bytes_from(rest, head->authority.len), BYTES_LIT("*")))
		head->path = BYTES_LIT("*");
}

static int read_request(struct quic_tunnel_stream *ts, const struct connect_head *from,
			struct arena *a, struct reading *r, bool *fin)
{
	int rc = read_pairs(from, a, r);

	if (rc < 0)
		return rc;
	ts->kind = from->kind == CONNECT_TCP         ? STREAM_TCP
		   : from->kind == CONNECT_WEBSOCKET ? STREAM_WEBSOCKET
						     : STREAM_HTTP;
	if (ts->kind == STREAM_TCP) {
		r->head.authority = from->dest;
		r->head.length = HEAD_LENGTH_UNKNOWN;
		return 0;
	}
	read_dest(from->dest, &r->head);
	if (r->head.path.len == 0)
		r->head.path = BYTES_LIT("/");
	else if (r->head.path.ptr[0] == '?')
		r->head.path = arena_printf(a, "/" BYTES_FMT, BYTES_ARG(r->head.path));
	if (r->head.method.len == 0)
		r->head.method = BYTES_LIT("GET");
	r->head.is_upgrade = ts->kind == STREAM_WEBSOCKET;
	if (r->head.is_upgrade) {
		r->head.length = HEAD_LENGTH_UNKNOWN;
	} else if (r->head.length == HEAD_LENGTH_KNOWN) {
		ts->has_length = true;
		ts->length_left = r->head.content_length;
		*fin |= ts->length_left == 0;
	} else if (r->is_chunked) {
		r->head.length = HEAD_LENGTH_UNKNOWN;
		if (r->is_framed)
			quic_frames_start(&ts->in);
	} else {
		ts->skips_body = true;
		*fin = true;
	}
	return 0;
}

bool quic_connector_on_head(struct quic_tunnel_stream *ts, struct bytes bytes, bool fin)
{
	struct tunnel *t = tunnel_of(ts->base.session);
	struct connect_head from;
	struct reading r = { .features = BYTES_NONE };
	struct arena a;
	struct err err;

	arena_init(&a);
	int rc = connect_get_request(bytes, &from, &err);
	if (rc == 0)
		rc = read_request(ts, &from, &a, &r, &fin);
	ts->has_head = true;
	if (rc < 0) {
		quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
	} else if (r.is_udp && ts->kind == STREAM_TCP) {
		(void)quic_udp_on_request(ts, &from);
	} else if (r.is_leaving) {
		ts->skips_body = true;
		(void)quic_stream_write(ts->q, BYTES_NONE, true);
		tunnel_set_draining(t);
	} else {
		/* The edge says on every request what it said on the first. */
		if (r.features.len && t->peer_features.len == 0)
			tunnel_add_peer_features(t, r.features);
		ts->peer_ended = fin;
		t->base.events->on_stream(&t->base, &ts->base, ts->kind, &r.head, fin);
	}
	arena_done(&a);
	return !ts->is_reset;
}

/* --- Answers --------------------------------------------------------------------------------- */

struct answering {
	struct connect_pair list[CONNECT_PAIRS];
	size_t count;
	struct arena arena;
};

static void add(struct answering *w, enum connect_key key, struct bytes name, struct bytes value)
{
	if (w->count < ARRAY_LEN(w->list))
		w->list[w->count++] = (struct connect_pair){ key, name, value };
}

static void add_field(struct answering *w, struct bytes name, struct bytes value)
{
	if (name.len <= CANONICAL_NAME_BYTES) {
		uint8_t *canonical = arena_alloc_bytes(&w->arena, name.len);
		head_name_canonical(name, canonical);
		name = bytes_of(canonical, name.len);
	}
	add(w, CONNECT_FIELD, name, value);
}

static void add_head(struct answering *w, const struct head *head)
{
	add(w, CONNECT_STATUS, BYTES_NONE, arena_printf(&w->arena, "%d", head->status));
	for (size_t i = 0; i < head->fields.count; i++) {
		const struct field *f = &head->fields.list[i];
		bool is_said_below =
			f->token == HEAD_CONTENT_LENGTH && head->length != HEAD_LENGTH_NONE;
		if (!is_said_below && f->token != HEAD_TRANSFER_ENCODING &&
		    f->token != HEAD_CONNECTION && f->token != HEAD_UPGRADE &&
		    head_name_is_valid(f->name))
			add_field(w, f->name, f->value);
	}
	if (head->length == HEAD_LENGTH_KNOWN)
		add(w, CONNECT_FIELD, BYTES_LIT("Content-Length"),
		    arena_printf(&w->arena, "%llu", (unsigned long long)head->content_length));
	if (head->status == 101) {
		add(w, CONNECT_FIELD, BYTES_LIT("Connection"), BYTES_LIT("Upgrade"));
		add(w, CONNECT_FIELD, BYTES_LIT("Upgrade"), BYTES_LIT("websocket"));
	}
}

static void send_head(struct quic_tunnel_stream *ts, const struct answering *w, struct bytes error,
		      bool fin)
{
	struct buf out;

	buf_init(&out, CONNECT_BYTES);
	/* Nothing was written before but small heads: the send queue has room. */
	if (connect_put_response(&out, error, w->list, w->count) < 0 ||
	    quic_stream_write(ts->q, buf_bytes(&out), fin) < out.len)
		quic_tunnel_stream_reset(ts, REASON_FAILED);
	buf_done(&out);
}

void quic_connector_interim(struct stream *st, const struct head *head)
{
	struct quic_tunnel_stream *ts = quic_tunnel_stream_of(st);
	struct answering w = { .count = 0 };

	BUG_IF(ts->is_answered);
	if (ts->is_reset || !session_has_feature(st->session, FEATURE_INTERIM))
		return;
	arena_init(&w.arena);
	add_head(&w, head);
	send_head(ts, &w, BYTES_NONE, false);
	arena_done(&w.arena);
}

void quic_connector_answer(struct stream *st, const struct answer *a, bool fin)
{
	struct quic_tunnel_stream *ts = quic_tunnel_stream_of(st);
	struct answering w = { .count = 0 };
	struct bytes error = BYTES_NONE;

	BUG_IF(ts->is_answered);
	ts->is_answered = true;
	if (ts->is_reset)
		return;
	arena_init(&w.arena);
	if (a->from_connector) {
		error = BYTES_LIT("Unable to reach the origin service.");
		if (a->flow_rate_limited)
			add(&w, CONNECT_RATE_LIMITED, BYTES_NONE, BYTES_LIT("true"));
		if (a->failure_json.len && session_has_feature(st->session, FEATURE_REASON))
			add(&w, CONNECT_OTHER, QUIC_KEY_REASON, a->failure_json);
	} else if (ts->kind != STREAM_TCP) {
		add_head(&w, a->head);
		if (!fin && a->head->status != 101 &&
		    session_has_feature(st->session, FEATURE_TRAILERS)) {
			add(&w, CONNECT_OTHER, QUIC_KEY_FRAMED, BYTES_LIT("1"));
			quic_frames_start(&ts->out);
		}
	}
	send_head(ts, &w, error, fin);
	arena_done(&w.arena);
}
