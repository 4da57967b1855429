/* Heads on the way in and out of nghttp2 (RFC 9113 §8). */
#include <stdio.h>

#include "http/h2_internal.h"

/* --- Out ------------------------------------------------------------------------------------- */

static void add(struct h2_nva *out, struct bytes name, struct bytes value, uint8_t flags)
{
	/* The array has room for LIMIT_HEAD_FIELDS and every pseudo field. */
	if (out->count == ARRAY_LEN(out->list))
		return;
	out->list[out->count++] = (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name.ptr,
		.value = (uint8_t *)(uintptr_t)(value.len ? value.ptr : (const uint8_t *)""),
		.namelen = name.len,
		.valuelen = value.len,
		.flags = flags, /* nghttp2 copies both and puts the name in lower case */
	};
}

/* Values that differ every time only push useful ones out of the compression table. */
static uint8_t index_flag(enum head_name token)
{
	switch (token) {
	case HEAD_CF_RESPONSE_HEADERS:
	case HEAD_CF_RAY:
	case HEAD_AUTHORIZATION:
	case HEAD_CF_ACCESS_JWT_ASSERTION:
	case HEAD_SEC_WEBSOCKET_KEY:
	case HEAD_SEC_WEBSOCKET_ACCEPT:
		return NGHTTP2_NV_FLAG_NO_INDEX;
	default:
		return NGHTTP2_NV_FLAG_NONE;
	}
}

/* Fields that HTTP/2 forbids or carries in another way (RFC 9113 §8.2.2). */
static bool is_sent(const struct field *field)
{
	switch (field->token) {
	case HEAD_CONNECTION:
	case HEAD_HOST:
	case HEAD_HTTP2_SETTINGS:
	case HEAD_KEEP_ALIVE:
	case HEAD_PROXY_CONNECTION:
	case HEAD_TRANSFER_ENCODING:
	case HEAD_UPGRADE:
		return false;
	case HEAD_TE:
		return bytes_eq_nocase(field->value, BYTES_LIT("trailers"));
	default:
		return field->name.len && field->name.ptr[0] != ':';
	}
}

static void add_fields(struct h2_nva *out, const struct fields *fields, bool without_length)
{
	for (size_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->list[i];
		if (is_sent(field) && !(without_length && field->token == HEAD_CONTENT_LENGTH))
			add(out, field->name, field->value, index_flag(field->token));
	}
}

static void add_body_of(struct h2_nva *out, const struct head *head)
{
	/* Without a body the field is a statement about another message: HEAD and 304 keep it. */
	add_fields(out, &head->fields, head->length != HEAD_LENGTH_NONE);
	if (head->length != HEAD_LENGTH_KNOWN)
		return;
	int len = snprintf(out->length, sizeof(out->length), "%llu",
			   (unsigned long long)head->content_length);
	add(out, BYTES_LIT("content-length"), bytes_of(out->length, (size_t)len),
	    NGHTTP2_NV_FLAG_NONE);
}

void h2_nva_request(struct h2_nva *out, const struct head *head, bool extended_connect)
{
	out->count = 0;
	add(out, BYTES_LIT(":method"), extended_connect ? BYTES_LIT("CONNECT") : head->method,
	    NGHTTP2_NV_FLAG_NONE);
	if (extended_connect)
		add(out, BYTES_LIT(":protocol"), BYTES_LIT("websocket"), NGHTTP2_NV_FLAG_NONE);
	add(out, BYTES_LIT(":scheme"), head->scheme.len ? head->scheme : BYTES_LIT("https"),
	    NGHTTP2_NV_FLAG_NONE);
	if (head->authority.len)
		add(out, BYTES_LIT(":authority"), head->authority, NGHTTP2_NV_FLAG_NONE);
	add(out, BYTES_LIT(":path"), head->path.len ? head->path : BYTES_LIT("/"),
	    NGHTTP2_NV_FLAG_NONE);
	add_body_of(out, head);
}

void h2_nva_response(struct h2_nva *out, const struct head *head)
{
	out->count = 0;
	int len = snprintf(out->status, sizeof(out->status), "%d", head->status % 1000);
	add(out, BYTES_LIT(":status"), bytes_of(out->status, (size_t)len), NGHTTP2_NV_FLAG_NONE);
	add_body_of(out, head);
}

void h2_nva_trailers(struct h2_nva *out, const struct fields *trailers)
{
	out->count = 0;
	add_fields(out, trailers, true);
}

/* --- In -------------------------------------------------------------------------------------- */

void h2_head_drop(struct h2_session *s)
{
	arena_done(&s->head_arena);
	s->head = (struct head){ 0 };
	s->host = s->protocol = BYTES_NONE;
	s->head_bytes = 0;
	s->head_is_large = false;
	s->collecting = NULL;
	s->head_since = 0;
}

void h2_head_begin(struct h2_session *s, struct h2_stream *st)
{
	h2_head_drop(s);
	s->collecting = st;
	s->head_since = loop_now(s->loop);
}

static void add_pseudo(struct h2_session *s, struct bytes name, struct bytes value)
{
	struct head *head = &s->head;

	value = arena_copy(&s->head_arena, value);
	if (bytes_eq(name, BYTES_LIT(":method")))
		head->method = value;
	else if (bytes_eq(name, BYTES_LIT(":scheme")))
		head->scheme = value;
	else if (bytes_eq(name, BYTES_LIT(":authority")))
		head->authority = value;
	else if (bytes_eq(name, BYTES_LIT(":path")))
		head->path = value;
	else if (bytes_eq(name, BYTES_LIT(":protocol")))
		s->protocol = value;
	else if (bytes_eq(name, BYTES_LIT(":status")))
		/* nghttp2 checked that it is three digits. */
		head->status = (value.ptr[0] - '0') * 100 + (value.ptr[1] - '0') * 10 +
			       (value.ptr[2] - '0');
}

void h2_head_add(struct h2_session *s, struct bytes name, struct bytes value)
{
	if (!s->collecting || s->head_is_large)
		return;
	/* As RFC 9113 §6.5.2 counts: 32 for the overhead of a field. */
	s->head_bytes += name.len + value.len + 32;
	if (s->head_bytes > s->options.head_bytes) {
		s->head_is_large = true;
		return;
	}
	if (name.ptr[0] == ':') {
		add_pseudo(s, name, value);
		return;
	}
	enum head_name token = head_name_of(name);
	struct bytes kept = token ? head_name_text(token) : arena_copy(&s->head_arena, name);
	value = arena_copy(&s->head_arena, bytes_trim(value));
	if (token == HEAD_HOST)
		s->host = value;
	else if (fields_add(&s->head.fields, &s->head_arena, kept, value) < 0)
		s->head_is_large = true;
}

/* Browsers send cookies as several fields for better compression; everybody else wants one
 * (RFC 9113 §8.2.3). */
static void join_cookies(struct fields *f, struct arena *arena)
{
	size_t count = 0, size = 0;

	for (size_t i = 0; i < f->count; i++) {
		if (f->list[i].token == HEAD_COOKIE) {
			count++;
			size += f->list[i].value.len + 2;
		}
	}
	if (count < 2)
		return;
	uint8_t *joined = arena_alloc_bytes(arena, size);
	size_t len = 0, kept = 0;
	struct field *first = NULL;
	for (size_t i = 0; i < f->count; i++) {
		struct field field = f->list[i];
		if (field.token == HEAD_COOKIE) {
			if (len) {
				joined[len++] = ';';
				joined[len++] = ' ';
			}
			if (field.value.len)
				memcpy(joined + len, field.value.ptr, field.value.len);
			len += field.value.len;
			if (first)
				continue;
			first = &f->list[kept];
		}
		f->list[kept++] = field;
	}
	first->value = bytes_of(joined, len);
	f->count = kept;
}

static void set_length(struct head *head, bool fin)
{
	const struct field *field = fields_find(&head->fields, HEAD_CONTENT_LENGTH);

	if (fin)
		head->length = HEAD_LENGTH_NONE;
	else if (field && bytes_to_u64(field->value, &head->content_length))
		head->length = HEAD_LENGTH_KNOWN;
	else
		head->length = HEAD_LENGTH_UNKNOWN;
}

int h2_request_finish(struct head *head, struct arena *arena, struct bytes host,
		      struct bytes protocol, bool fin)
{
	if (head->path.len > LIMIT_TARGET_BYTES)
		return 414;
	if (!head->authority.len)
		head->authority = host;
	else if (host.len && !bytes_eq_nocase(host, head->authority))
		return E_PROTOCOL; /* two readers would pick two hosts (RFC 9113 §8.3.1) */
	/* nghttp2 and nghttp3 let through what HTTP/1 refuses, and services would read it in ways of their own. */
	if ((head->authority.len && !head_authority_is_valid(head->authority)) ||
	    !head_path_is_valid(head->path))
		return 400;
	if (bytes_eq(head->method, BYTES_LIT("CONNECT"))) {
		if (!bytes_eq_nocase(protocol, BYTES_LIT("websocket")))
			return 501;
		/* RFC 8441: the rest of the program knows the handshake as a GET with an upgrade. */
		head->method = BYTES_LIT("GET");
		head->is_upgrade = true;
	}
	join_cookies(&head->fields, arena);
	set_length(head, fin);
	return 0;
}

int h2_head_finish_request(struct h2_session *s, bool fin)
{
	if (s->head_is_large)
		return 431;
	return h2_request_finish(&s->head, &s->head_arena, s->host, s->protocol, fin);
}

void h2_head_finish_response(struct h2_session *s, bool fin)
{
	set_length(&s->head, fin);
}
