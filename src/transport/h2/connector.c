/* The connector's end: what the edge wants of a stream, and the answer (PROTOCOL.md §2.2, §2.5). */
#include <stdio.h>

#include "base/limits.h"
#include "transport/h2/h2_tunnel.h"
#include "wire/heads.h"

/* Longer names are sent as they came. */
#define CANONICAL_NAME_BYTES 256
/* A buffer above this is given back after use. */
#define KEEP_SCRATCH_BYTES 4096

/* --- Requests -------------------------------------------------------------------------------- */

static void start_control(struct h2_tunnel *t, struct h2_stream *h2, const struct head *head,
			  bool fin)
{
	const struct field *features = fields_find_text(&head->fields, TUNNEL_FEATURES_NAME);
	const struct head answer = { .status = 200, .length = HEAD_LENGTH_UNKNOWN };

	/* One conversation per session; what comes after it is over is not ours to judge. */
	if (t->control_stream || t->base.control_is_over || fin) {
		h2_stream_reset(h2, H2_REFUSED_STREAM);
		return;
	}
	if (features)
		tunnel_add_peer_features(&t->base, features->value);
	h2_tunnel_set_control(t, h2);
	h2_stream_respond(h2, &answer, false);
	tunnel_pump_control(&t->base);
}

static enum stream_kind kind_of(const struct head *head, bool *ret_is_control)
{
	const struct field *upgrade = fields_find(&head->fields, HEAD_CF_UPGRADE);
	const struct field *src = fields_find(&head->fields, HEAD_CF_PROXY_SRC);

	*ret_is_control = false;
	if (upgrade && bytes_eq(upgrade->value, BYTES_LIT("update-configuration")))
		return STREAM_CONFIG;
	if (upgrade && bytes_eq(upgrade->value, BYTES_LIT("websocket")))
		return STREAM_WEBSOCKET;
	if (src && src->value.len)
		return STREAM_TCP;
	*ret_is_control = upgrade && bytes_eq(upgrade->value, BYTES_LIT("control-stream"));
	return STREAM_HTTP;
}

void connector_on_request(struct h2_tunnel *t, struct h2_stream *h2, const struct head *head,
			  bool fin)
{
	struct head mine = *head;
	bool is_control;
	enum stream_kind kind = kind_of(head, &is_control);

	CHECK(&t->base, TUNNEL_MAGIC);
	if (t->base.is_closing)
		return;
	if (is_control) {
		start_control(t, h2, head, fin);
		return;
	}
	if (!tunnel_may_serve(&t->base)) {
		h2_stream_reset(h2, H2_REFUSED_STREAM);
		return;
	}
	fields_remove(&mine.fields, HEAD_CF_UPGRADE);
	mine.is_upgrade = kind == STREAM_WEBSOCKET;
	struct tunnel_stream *ts = tunnel_stream_new(t, kind);
	ts->h2 = h2;
	ts->peer_ended = fin;
	h2_stream_set_ctx(h2, ts);
	t->base.base.events->on_stream(&t->base.base, &ts->base, kind, &mine, fin);
}

/* --- Answers --------------------------------------------------------------------------------- */

static int put(struct buf *out, struct bytes name, struct bytes value)
{
	uint8_t canonical[CANONICAL_NAME_BYTES];

	if (name.len <= sizeof(canonical)) {
		head_name_canonical(name, canonical);
		name = bytes_of(canonical, name.len);
	}
	return heads_put(out, name, value);
}

/* Fields that describe the connection to the origin. An upgrade says its own below. */
static bool is_one_hop(enum head_name token)
{
	return token == HEAD_CONNECTION || token == HEAD_UPGRADE ||
	       token == HEAD_TRANSFER_ENCODING || token == HEAD_KEEP_ALIVE ||
	       token == HEAD_PROXY_CONNECTION || token == HEAD_HTTP2_SETTINGS;
}

static int serialize(struct buf *out, const struct head *head, struct bytes length)
{
	int rc = 0;

	for (size_t i = 0; i < head->fields.count && rc == 0; i++) {
		const struct field *field = &head->fields.list[i];
		if (heads_is_filtered(field->name) || is_one_hop(field->token))
			continue;
		if (field->token == HEAD_CONTENT_LENGTH && head->length != HEAD_LENGTH_NONE)
			continue;
		rc = put(out, field->name, field->value);
	}
	if (rc == 0 && length.len)
		rc = heads_put(out, BYTES_LIT("Content-Length"), length);
	/* By these the edge knows a 101 that travels as 200. */
	if (rc == 0 && head->status == 101)
		rc = heads_put(out, BYTES_LIT("Connection"), BYTES_LIT("Upgrade"));
	if (rc == 0 && head->status == 101)
		rc = heads_put(out, BYTES_LIT("Upgrade"), BYTES_LIT("websocket"));
	return rc;
}

static void send_head(struct tunnel_stream *ts, const struct head *head,
		      const struct heads_meta *meta, struct bytes serialized, bool fin)
{
	struct buf text;
	struct field list[2];
	struct head out = {
		.status = head->status == 101 ? 200 : head->status,
		.length = head->length,
		.content_length = head->content_length,
		.fields = { list, 0, ARRAY_LEN(list) },
	};

	buf_init(&text, HEADS_META_BYTES);
	BUG_IF(heads_put_meta(&text, meta) < 0); /* it leaves out what does not fit */
	list[out.fields.count++] = (struct field){ head_name_text(HEAD_CF_RESPONSE_META),
						   buf_bytes(&text), HEAD_CF_RESPONSE_META };
	if (!meta->from_connector)
		list[out.fields.count++] = (struct field){ head_name_text(HEAD_CF_RESPONSE_HEADERS),
							   serialized, HEAD_CF_RESPONSE_HEADERS };
	h2_stream_respond(ts->h2, &out, fin);
	buf_done(&text);
}

void connector_interim(struct stream *st, const struct head *head)
{
	struct tunnel_stream *ts = tunnel_stream_of(st);

	BUG_IF(ts->is_answered);
	if (!ts->is_reset && session_has_feature(st->session, FEATURE_INTERIM))
		h2_stream_respond(ts->h2, head, false);
}

void connector_answer(struct stream *st, const struct answer *a, bool fin)
{
	struct tunnel_stream *ts = tunnel_stream_of(st);
	struct h2_tunnel *t = h2_tunnel_of(st->session);
	struct heads_meta meta = {
		.from_connector = a->from_connector,
		.flow_rate_limited = a->flow_rate_limited,
		.adit = tunnel_has_feature(st->session, FEATURE_REASON) ? a->failure_json
									: BYTES_NONE,
	};
	struct head head = *a->head;
	char length[24];
	int len = 0;

	BUG_IF(ts->is_answered);
	ts->is_answered = true;
	if (ts->is_reset)
		return;
	if (head.status == 101)
		head.length = HEAD_LENGTH_UNKNOWN;
	if (fin && head.length != HEAD_LENGTH_NONE &&
	    !(head.length == HEAD_LENGTH_KNOWN && !head.content_length))
		head.length = HEAD_LENGTH_NONE;
	if (head.length == HEAD_LENGTH_KNOWN)
		len = snprintf(length, sizeof(length), "%llu",
			       (unsigned long long)head.content_length);
	if (serialize(&t->scratch, &head, bytes_of(length, (size_t)len)) == 0) {
		send_head(ts, &head, &meta, buf_bytes(&t->scratch), fin);
	} else {
		const struct head too_large = { .status = 502 };
		meta = (struct heads_meta){ .from_connector = true };
		send_head(ts, &too_large, &meta, BYTES_NONE, true);
		ts->is_cut = true;
	}
	buf_clear(&t->scratch);
	if (t->scratch.cap > KEEP_SCRATCH_BYTES) {
		buf_done(&t->scratch);
		buf_init(&t->scratch, TUNNEL_SERIALIZED_BYTES);
	}
}
