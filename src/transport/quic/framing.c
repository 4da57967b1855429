/* Bodies between our own two programs, when they may end in trailers, which QUIC streams as stock peers use
 * them cannot carry: pieces of
 *
 *	4 bytes, big-endian: the top bit says "trailers", the others how many bytes follow | the bytes
 *
 * The trailers are the last piece, one serialized set (heads.h). FIN ends the body, between two pieces. A head of
 * all ones says that the body breaks off here. */
#include "base/limits.h"
#include "transport/quic/quic_tunnel.h"
#include "wire/heads.h"

#define TRAILERS_BIT 0x80000000u
#define BROKEN_OFF 0xffffffffu
#define MAX_PIECE (1u << 30)
/* A head's worth, in base64. */
#define MAX_TRAILERS (2 * LIMIT_HEAD_BYTES)

void quic_frames_start(struct quic_frames *f)
{
	f->is_on = true;
	buf_init(&f->trailers, MAX_TRAILERS);
}

void quic_frames_done(struct quic_frames *f)
{
	if (f->is_on)
		buf_done(&f->trailers);
}

/* --- Writing --------------------------------------------------------------------------------- */

static void set_head(struct quic_frames *f, uint32_t value)
{
	f->head[0] = (uint8_t)(value >> 24);
	f->head[1] = (uint8_t)(value >> 16);
	f->head[2] = (uint8_t)(value >> 8);
	f->head[3] = (uint8_t)value;
	f->head_len = sizeof(f->head);
}

/* True when nothing of the piece's head waits any more. */
static bool write_head(struct quic_frames *f, struct quic_stream *q)
{
	if (f->head_len) {
		struct bytes rest = bytes_of(f->head + sizeof(f->head) - f->head_len, f->head_len);
		f->head_len -= (uint8_t)quic_stream_write(q, rest, false);
	}
	return f->head_len == 0;
}

size_t quic_frames_write(struct quic_frames *f, struct quic_stream *q, struct bytes data, bool fin)
{
	size_t taken = 0;

	while (data.len) {
		if (f->left == 0) {
			f->left = data.len < MAX_PIECE ? (uint32_t)data.len : MAX_PIECE;
			set_head(f, f->left);
		}
		if (!write_head(f, q))
			return taken;
		struct bytes run = bytes_first(data, f->left);
		size_t n =
			quic_stream_write(q, run, fin && run.len == data.len && run.len == f->left);
		f->left -= (uint32_t)n;
		taken += n;
		if (n < run.len)
			return taken;
		data = bytes_from(data, n);
		if (data.len == 0)
			return taken;
	}
	if (fin)
		(void)quic_stream_write(q, BYTES_NONE, true);
	return taken;
}

void quic_frames_finish(struct quic_frames *f, struct quic_stream *q, const struct fields *trailers)
{
	struct buf out;
	bool fits = true;

	buf_init(&out, MAX_TRAILERS);
	for (size_t i = 0; trailers && i < trailers->count && fits; i++)
		fits = heads_put(&out, trailers->list[i].name, trailers->list[i].value) == 0;
	/* They are optional by definition: none rather than some. What is written here is small against the
	 * send queue, and the user has just been told of room or writes its last. */
	if (fits && out.len) {
		set_head(f, TRAILERS_BIT | (uint32_t)out.len);
		if (write_head(f, q))
			(void)quic_stream_write(q, buf_bytes(&out), false);
	}
	(void)quic_stream_write(q, BYTES_NONE, true);
	buf_done(&out);
}

bool quic_frames_break_off(struct quic_frames *f, struct quic_stream *q)
{
	if (f->left || f->head_len)
		return false;
	set_head(f, BROKEN_OFF);
	if (!write_head(f, q))
		return false;
	(void)quic_stream_write(q, BYTES_NONE, true);
	return true;
}

/* --- Reading --------------------------------------------------------------------------------- */

/* 1: the body breaks off. */
static int read_head(struct quic_frames *f, struct bytes *data)
{
	struct bytes part = bytes_first(*data, sizeof(f->head) - f->head_len);

	memcpy(f->head + f->head_len, part.ptr, part.len);
	f->head_len += (uint8_t)part.len;
	*data = bytes_from(*data, part.len);
	if (f->head_len < sizeof(f->head))
		return 0;
	uint32_t value = (uint32_t)f->head[0] << 24 | (uint32_t)f->head[1] << 16 |
			 (uint32_t)f->head[2] << 8 | f->head[3];
	f->head_len = 0;
	if (value == BROKEN_OFF)
		return 1;
	f->is_trailers = value & TRAILERS_BIT;
	f->left = value & ~TRAILERS_BIT;
	if (f->left == 0 || f->left > (f->is_trailers ? MAX_TRAILERS : MAX_PIECE))
		return E_PROTOCOL;
	return 0;
}

int quic_frames_next(struct quic_frames *f, struct bytes *data, struct bytes *ret_run)
{
	while (data->len) {
		if (f->left == 0) {
			if (f->is_trailers)
				return E_PROTOCOL; /* they are the last piece */
			int ret = read_head(f, data);
			if (ret < 0)
				return ret;
			if (ret > 0)
				return 3;
			continue;
		}
		*ret_run = bytes_first(*data, f->left);
		*data = bytes_from(*data, ret_run->len);
		f->left -= (uint32_t)ret_run->len;
		if (!f->is_trailers)
			return 1;
		if (buf_append(&f->trailers, *ret_run) < 0)
			return E_PROTOCOL;
		if (f->left == 0)
			return 2;
	}
	return 0;
}
