/* Frames read whole and byte by byte, by either end, must tell the same; nothing is lost on the way. */
#include "base/mem.h"
#include "http/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void note(struct buf *out, const struct websocket_reader *r, enum websocket_event event)
{
	BUG_IF(event != WEBSOCKET_DATA &&
	       buf_printf(out, "|%d,%d,%d,%u:", event, r->opcode, r->is_empty, r->close_code) < 0);
	if (event == WEBSOCKET_DATA || event == WEBSOCKET_CONTROL)
		BUG_IF(buf_append(out, r->payload) < 0);
}

static void read_all(enum websocket_end end, struct bytes in, size_t step, struct buf *out)
{
	struct websocket_reader r;
	enum websocket_event event = WEBSOCKET_MORE;

	buf_init(out, 1 << 26);
	websocket_reader_init(&r, end);
	while (in.len && event == WEBSOCKET_MORE) {
		struct bytes part = bytes_first(in, step);
		uint8_t *copy = mem_alloc(part.len), *at = copy;
		memcpy(copy, part.ptr, part.len);
		size_t left = part.len;
		while ((event = websocket_next(&r, &at, &left)) != WEBSOCKET_MORE) {
			note(out, &r, event);
			if (event == WEBSOCKET_BROKEN)
				break;
		}
		BUG_IF(event == WEBSOCKET_MORE && left);
		mem_free(copy);
		in = bytes_from(in, step);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int end = WEBSOCKET_SERVER; end <= WEBSOCKET_CLIENT; end++) {
		struct buf whole, split;
		read_all(end, bytes_of(data, size), size + 1, &whole);
		read_all(end, bytes_of(data, size), 1, &split);
		BUG_IF(!bytes_eq(buf_bytes(&whole), buf_bytes(&split)));
		buf_done(&whole);
		buf_done(&split);
	}
	return 0;
}
