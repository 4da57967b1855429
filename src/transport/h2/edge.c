/* The edge's end: requests into streams, answers out of them (PROTOCOL.md §2.3 to §2.5).
 *
 * The edge trusts no connector: what an answer says about itself is checked before anybody acts on it. */
#include <stdio.h>

#include "base/limits.h"
#include "transport/h2/h2_tunnel.h"
#include "wire/heads.h"

#define AUTHORITY BYTES_LIT("adit-edge")

void edge_open_control(struct h2_tunnel *t)
{
	static const char *const features[] = { FEATURES_ALL };
	char names[128];
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_LEN(features); i++)
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i ? "," : "",
					features[i]);
	BUG_IF(len >= sizeof(names));
	struct field list[] = {
		{ head_name_text(HEAD_CF_UPGRADE), BYTES_LIT("control-stream"), HEAD_CF_UPGRADE },
		{ TUNNEL_FEATURES_NAME, bytes_of(names, len), HEAD_OTHER },
	};
	const struct head head = {
		.method = BYTES_LIT("GET"),
		.authority = AUTHORITY,
		.length = HEAD_LENGTH_UNKNOWN,
		.fields = { list, ARRAY_LEN(list), ARRAY_LEN(list) },
	};

	h2_tunnel_set_control(t, h2_session_open(t->h2, &head, false, NULL));
	BUG_IF(!t->control_stream); /* the first one of a new session */
}

/* --- Opening --------------------------------------------------------------------------------- */

/* What the stream is, in the one field that a connector looks at. */
static struct field kind_field(enum stream_kind kind)
{
	switch (kind) {
	case STREAM_WEBSOCKET:
		return (struct field){ head_name_text(HEAD_CF_UPGRADE), BYTES_LIT("websocket"),
				       HEAD_CF_UPGRADE };
	case STREAM_CONFIG:
		return (struct field){ head_name_text(HEAD_CF_UPGRADE),
				       BYTES_LIT("update-configuration"), HEAD_CF_UPGRADE };
	case STREAM_TCP:
		/* Any value will do. */
		return (struct field){ head_name_text(HEAD_CF_PROXY_SRC), AUTHORITY,
				       HEAD_CF_PROXY_SRC };
	case STREAM_HTTP:
		break;
	}
	return (struct field){ 0 };
}

struct stream *edge_open(struct session *s, enum stream_kind kind, const struct head *head,
			 bool fin, const struct stream_events *events, void *ctx)
{
	struct h2_tunnel *t = h2_tunnel_of(s);
	struct field list[LIMIT_HEAD_FIELDS + 1];
	struct head out = *head;

	if (!h2_transport.can_open(s))
		return NULL;
	out.fields = (struct fields){ .list = list, .cap = ARRAY_LEN(list) };
	for (size_t i = 0; i < head->fields.count && i < LIMIT_HEAD_FIELDS; i++) {
		const struct field *field = &head->fields.list[i];
		/* A visitor must never be able to choose the kind of a stream. */
		if (field->token != HEAD_CF_UPGRADE && field->token != HEAD_CF_PROXY_SRC)
			list[out.fields.count++] = *field;
	}
	if (kind != STREAM_HTTP)
		list[out.fields.count++] = kind_field(kind);
	if (!out.method.len)
		out.method = BYTES_LIT("GET");
	if (!out.authority.len)
		out.authority = AUTHORITY;
	if (fin)
		out.length = HEAD_LENGTH_NONE;
	else if (out.length == HEAD_LENGTH_NONE || kind == STREAM_WEBSOCKET || kind == STREAM_TCP)
		out.length = HEAD_LENGTH_UNKNOWN;

	struct tunnel_stream *ts = tunnel_stream_new(t, kind);
	ts->base.events = events;
	ts->base.ctx = ctx;
	ts->is_head = bytes_eq(out.method, BYTES_LIT("HEAD"));
	ts->h2 = h2_session_open(t->h2, &out, fin, ts);
	if (ts->h2)
		return &ts->base;
	t->base.streams--;
	tunnel_stream_free(ts);
	return NULL;
}

/* --- Answers --------------------------------------------------------------------------------- */

/* The origin's fields; hop-by-hop ones go, an upgrade is remembered. E_PARSE or E_LIMIT. */
static int read_fields(struct bytes text, struct arena *a, struct head *ret)
{
	struct heads_reader reader;
	struct wire_pair pair;
	int rc;

	heads_reader_init(&reader, text, a);
	while ((rc = heads_next(&reader, &pair)) > 0) {
		pair.value = bytes_trim(pair.value);
		if (!head_name_is_valid(pair.name) || !head_value_is_valid(pair.value))
			return E_PARSE;
		if (heads_is_filtered(pair.name))
			continue;
		rc = fields_add(&ret->fields, a, pair.name, pair.value);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* How long the body will be, by the origin's word. E_PARSE when it has two. */
static int read_length(struct tunnel_stream *ts, struct head *head, bool fin)
{
	uint64_t length = 0, other;
	bool has_length = false;

	for (size_t i = 0; i < head->fields.count; i++) {
		const struct field *field = &head->fields.list[i];
		if (field->token != HEAD_CONTENT_LENGTH)
			continue;
		if (!bytes_to_u64(field->value, &other) || (has_length && other != length))
			return E_PARSE;
		length = other;
		has_length = true;
	}
	bool no_body = ts->is_head || head->status == 204 || head->status == 304;
	if (no_body || fin) {
		if (!no_body && length)
			return E_PARSE;
		head->length = HEAD_LENGTH_NONE;
		ts->has_length = true;
		ts->length_left = 0;
	} else if (has_length && head->status != 101) {
		head->length = HEAD_LENGTH_KNOWN;
		head->content_length = length;
		ts->has_length = true;
		ts->length_left = length;
	} else {
		head->length = HEAD_LENGTH_UNKNOWN;
	}
	return 0;
}

static int read_answer(struct tunnel_stream *ts, const struct head *from, bool fin, struct arena *a,
		       struct head *head, struct answer *ret)
{
	const struct field *meta_field = fields_find(&from->fields, HEAD_CF_RESPONSE_META);
	const struct field *fields_field = fields_find(&from->fields, HEAD_CF_RESPONSE_HEADERS);
	struct heads_meta meta = { .from_connector = true };

	head->status = from->status;
	if (meta_field && heads_get_meta(meta_field->value, a, &meta) < 0)
		return E_PARSE;
	/* Without meta the connector's HTTP library has answered, which it does to refuse a request. Only a
	 * configuration push is answered that way by design. */
	if (!meta_field && head->status < 400 && ts->kind != STREAM_CONFIG)
		head->status = 502;
	if (!meta.from_connector && fields_field) {
		int rc = read_fields(fields_field->value, a, head);
		if (rc < 0)
			return rc;
	}
	if (ts->kind == STREAM_WEBSOCKET && !meta.from_connector &&
	    (head->status == 200 || head->status == 101) &&
	    fields_find(&head->fields, HEAD_SEC_WEBSOCKET_ACCEPT)) {
		head->status = 101;
		head->is_upgrade = true;
	}
	head_strip_hop_by_hop(head);
	*ret = (struct answer){
		.head = head,
		.from_connector = meta.from_connector,
		.flow_rate_limited = meta.flow_rate_limited,
		.failure_json = meta.adit,
	};
	return read_length(ts, head, fin);
}

void edge_on_interim(struct tunnel_stream *ts, const struct head *from)
{
	struct field list[LIMIT_HEAD_FIELDS];
	struct head head = {
		.status = from->status,
		.fields = { .list = list, .cap = ARRAY_LEN(list) },
	};

	/* 101 is no interim answer, and in HTTP/2 no answer at all. */
	if (head.status == 101 || ts->is_answered || !ts->base.events->on_interim)
		return;
	for (size_t i = 0; i < from->fields.count && i < LIMIT_HEAD_FIELDS; i++)
		if (!heads_is_filtered(from->fields.list[i].name))
			list[head.fields.count++] = from->fields.list[i];
	head_strip_hop_by_hop(&head);
	ts->base.events->on_interim(&ts->base, &head);
}

void edge_on_response(struct tunnel_stream *ts, const struct head *from, bool fin)
{
	struct arena arena;
	struct head head = { 0 };
	struct answer answer;

	arena_init(&arena);
	if (read_answer(ts, from, fin, &arena, &head, &answer) < 0) {
		tunnel_stream_reset(ts, REASON_PROTOCOL);
	} else {
		ts->is_answered = true;
		ts->base.events->on_answer(&ts->base, &answer);
		if (fin && !ts->is_reset) {
			ts->peer_ended = true;
			ts->base.events->on_data(&ts->base, BYTES_NONE, true);
		}
	}
	arena_done(&arena);
}

bool edge_check_length(struct tunnel_stream *ts, size_t size, bool fin)
{
	if (!ts->has_length)
		return true;
	if (size > ts->length_left)
		return false;
	ts->length_left -= size;
	return !fin || ts->length_left == 0;
}
