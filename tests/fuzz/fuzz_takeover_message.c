/* What comes on the takeover socket: no crash, and what is read prints and reads again. */
#include "edge/takeover/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct takeover_message m, again;
	struct arena arena;
	struct buf text;

	arena_init(&arena);
	buf_init(&text, 8 * TAKEOVER_MESSAGE_BYTES);
	if (takeover_message_read(bytes_of(data, size), &arena, &m, NULL) == 0 &&
	    takeover_message_print(&m, &text) == 0 && text.len <= TAKEOVER_MESSAGE_BYTES) {
		BUG_IF(takeover_message_read(buf_bytes(&text), &arena, &again, NULL) < 0);
		BUG_IF(again.type != m.type || again.socket_count != m.socket_count);
	}
	buf_done(&text);
	arena_done(&arena);
	return 0;
}
