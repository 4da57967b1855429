/* Frames for streams that are gone.
 *
 * nghttp2 keeps no memory of closed streams here (it would cost a struct for each), and skips what comes
 * for them without a word. This file reads the frame heads before the library does and remembers, in two
 * bits per stream, what the peer may still send (RFC 9113 §5.1): after its own END_STREAM or RST_STREAM
 * nothing, after our reset whatever was on the way.
 */
#include "http/h2_internal.h"

#define PREFACE_BYTES 24
/* More of a stream that we have reset costs the peer as much as us; less is a flood. */
#define SMALL_FRAME 64

static bool test(const uint64_t *bits, uint32_t id)
{
	uint32_t at = id / 2 % H2_WATCHED;

	return bits[at / 64] >> at % 64 & 1;
}

static void set(uint64_t *bits, uint32_t id, bool value)
{
	uint32_t at = id / 2 % H2_WATCHED;
	uint64_t bit = (uint64_t)1 << at % 64;

	bits[at / 64] = value ? bits[at / 64] | bit : bits[at / 64] & ~bit;
}

void h2_watch_init(struct h2_watch *w, enum h2_role role)
{
	*w = (struct h2_watch){ .skip = role == H2_SERVER ? PREFACE_BYTES : 0 };
}

static void opened(struct h2_watch *w, uint32_t id)
{
	set(w->opened, id, true);
	set(w->over, id, false);
	/* Those between were passed over. */
	for (uint32_t n = 1; n < H2_WATCHED && id > 2 * n && id - 2 * n > w->last; n++) {
		set(w->opened, id - 2 * n, false);
		set(w->over, id - 2 * n, false);
	}
	w->last = id;
}

void h2_watch_over(struct h2_watch *w, int32_t id)
{
	if ((uint32_t)id <= w->last && w->last - (uint32_t)id < 2 * H2_WATCHED)
		set(w->over, (uint32_t)id, true);
}

/* A HEADERS or DATA frame for a stream that is not open. */
static void judge(struct h2_session *s, uint8_t type, uint32_t id, uint32_t length)
{
	const struct h2_watch *w = &s->watch;
	bool is_remembered = id <= w->last && w->last - id < 2 * H2_WATCHED;

	if (s->options.role == H2_SERVER && is_remembered && test(w->over, id))
		h2_session_end_with(s, H2_STREAM_CLOSED, E_PROTOCOL,
				    "a frame for a stream that the peer has closed");
	else if (s->options.role == H2_SERVER && is_remembered && !test(w->opened, id))
		h2_session_end_with(s, H2_PROTOCOL_ERROR, E_PROTOCOL,
				    "a stream identifier that was passed over");
	else if (type == NGHTTP2_HEADERS || length < SMALL_FRAME)
		h2_session_glitch(s);
}

/* Reads on to the end of the next frame head; returns how many bytes that took. */
static size_t next_head(struct h2_watch *w, struct bytes data)
{
	size_t skipped = w->skip < data.len ? w->skip : data.len;

	w->skip -= (uint32_t)skipped;
	data = bytes_from(data, skipped);
	struct bytes part = bytes_first(data, sizeof(w->head) - w->head_len);
	if (part.len)
		memcpy(w->head + w->head_len, part.ptr, part.len);
	w->head_len += part.len;
	return skipped + part.len;
}

size_t h2_watch_next(struct h2_session *s, struct bytes data, struct h2_frame_head *ret)
{
	struct h2_watch *w = &s->watch;
	size_t at = 0;

	while (at < data.len) {
		size_t fresh = w->head_len;
		at += next_head(w, bytes_from(data, at));
		if (w->head_len < sizeof(w->head))
			return data.len;
		fresh = sizeof(w->head) - fresh; /* bytes of the head that are in `data` */
		w->head_len = 0;
		const uint8_t *h = w->head;
		w->skip = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
		*ret = (struct h2_frame_head){
			.type = h[3],
			.length = w->skip,
			.id = ((uint32_t)h[5] << 24 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 8 |
			       h[8]) &
			      0x7fffffff,
		};
		if ((ret->type != NGHTTP2_HEADERS && ret->type != NGHTTP2_DATA) || ret->id == 0)
			continue;
		if (ret->type == NGHTTP2_HEADERS && s->options.role == H2_SERVER && ret->id % 2 &&
		    ret->id > w->last) {
			opened(w, ret->id);
		} else if (!nghttp2_session_get_stream_user_data(s->ng, (int32_t)ret->id)) {
			w->skip += (uint32_t)fresh; /* the head comes round again */
			return at - fresh;
		}
	}
	return data.len;
}

void h2_watch_judge(struct h2_session *s, const struct h2_frame_head *head)
{
	/* The stream may have been opened by what came just before. */
	if (head->id % 2 && !nghttp2_session_get_stream_user_data(s->ng, (int32_t)head->id))
		judge(s, head->type, head->id, head->length);
}
