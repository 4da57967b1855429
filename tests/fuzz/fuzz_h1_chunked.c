/* A chunked body read whole, byte by byte, and written and read again must be the same body. */
#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns the last result, the payload in *out, the bytes not eaten in *ret_left. */
static int decode(struct h1_chunked *c, struct bytes text, size_t step, struct buf *out,
		  size_t *ret_left)
{
	int ret = 0;

	h1_chunked_init(c);
	buf_init(out, 1 << 24);
	while (text.len && ret == 0) {
		struct bytes rest = bytes_first(text, step), run;
		size_t offered = rest.len;
		while ((ret = h1_chunked_next(c, &rest, &run, NULL)) == 1)
			BUG_IF(run.len == 0 || buf_append(out, run) < 0);
		text = bytes_from(text, offered - rest.len);
	}
	*ret_left = text.len;
	return ret;
}

static void encode(struct bytes payload, struct buf *out)
{
	while (payload.len) {
		char line[20];
		struct bytes chunk = bytes_first(payload, payload.len % 7 + 1);
		size_t len = h1_print_chunk_head(chunk.len, line);
		BUG_IF(buf_append(out, bytes_of(line, len)) < 0 || buf_append(out, chunk) < 0 ||
		       buf_append_str(out, "\r\n") < 0);
		payload = bytes_from(payload, chunk.len);
	}
	BUG_IF(buf_append_str(out, "0\r\n\r\n") < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = bytes_of(data, size);
	struct h1_chunked whole, split;
	struct buf first, second;
	size_t left, left_again;
	int ret = decode(&whole, text, size + 1, &first, &left);
	int again = decode(&split, text, 1, &second, &left_again);

	BUG_IF(ret != again || !bytes_eq(buf_bytes(&first), buf_bytes(&second)));
	if (ret == 2) {
		struct arena arena;
		struct fields trailers, trailers_again;
		arena_init(&arena);
		BUG_IF(left != left_again);
		ret = h1_chunked_trailers(&whole, &arena, &trailers, NULL);
		again = h1_chunked_trailers(&split, &arena, &trailers_again, NULL);
		BUG_IF(ret != again || (ret == 0 && trailers.count != trailers_again.count));
		arena_done(&arena);

		struct h1_chunked third;
		struct buf printed, payload;
		buf_init(&printed, 1 << 24);
		encode(buf_bytes(&first), &printed);
		BUG_IF(decode(&third, buf_bytes(&printed), 5, &payload, &left) != 2 || left);
		BUG_IF(!bytes_eq(buf_bytes(&first), buf_bytes(&payload)));
		h1_chunked_done(&third);
		buf_done(&printed);
		buf_done(&payload);
	}
	h1_chunked_done(&whole);
	h1_chunked_done(&split);
	buf_done(&first);
	buf_done(&second);
	return 0;
}
