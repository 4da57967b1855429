/* An origin's head, read, written on and read again, must mean the same. */
#include "base/limits.h"
#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct bytes methods[] = { BYTES_LIT("GET"), BYTES_LIT("HEAD"),
						BYTES_LIT("CONNECT") };
	struct bytes text = bytes_of(data, size);
	struct bytes method = methods[size % ARRAY_LEN(methods)];
	struct arena arena;
	struct head first, second;
	struct h1_response_info info, again;
	struct err err = { 0 };
	struct buf out;

	arena_init(&arena);
	buf_init(&out, LIMIT_HEAD_BYTES);
	int ret = h1_parse_response(text, method, &arena, &first, &info, &err);
	BUG_IF(ret < 0 && (ret != err.code || err.text[0] == 0));
	/* Printing adds framing fields of its own, which may be too many for the reader. */
	if (ret == 0 && first.fields.count <= LIMIT_HEAD_FIELDS - 3) {
		enum h1_framing framing = first.length == HEAD_LENGTH_NONE    ? H1_NO_BODY
					  : first.length == HEAD_LENGTH_KNOWN ? H1_LENGTH
					  : info.is_chunked                   ? H1_CHUNKED
									      : H1_UNTIL_CLOSE;
		if (h1_print_response(&first, framing, info.keep_alive, size & 1, &out) == 0) {
			ret = h1_parse_response(buf_bytes(&out), method, &arena, &second, &again,
						&err);
			BUG_IF(ret < 0);
			BUG_IF(first.status != second.status || first.length != second.length);
			BUG_IF(first.length == HEAD_LENGTH_KNOWN &&
			       first.content_length != second.content_length);
			BUG_IF(info.is_chunked != again.is_chunked);
			BUG_IF(info.ends_by_close != again.ends_by_close);
			BUG_IF(info.keep_alive != again.keep_alive);
		}
	}
	buf_done(&out);
	arena_done(&arena);
	return 0;
}
