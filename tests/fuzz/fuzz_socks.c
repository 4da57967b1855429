/* Greeting and request read whole and byte by byte must be the same, and leave the same payload. */
#include "connector/origin/socks.h"

#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct bytes in, size_t step, struct buf *out)
{
	struct socks_reader r;
	enum socks_event event = SOCKS_MORE;

	buf_init(out, 1 << 26);
	socks_reader_init(&r);
	while (in.len && (event == SOCKS_MORE || event == SOCKS_GREETED)) {
		struct bytes part = bytes_first(in, step);
		size_t offered = part.len;
		while ((event = socks_next(&r, &part)) != SOCKS_MORE) {
			BUG_IF(buf_printf(out, "%d:" BYTES_FMT ":%u|", event,
					  BYTES_ARG(event == SOCKS_REQUEST ? r.host : BYTES_NONE),
					  r.port) < 0 ||
			       buf_append(out, r.reply) < 0);
			if (event != SOCKS_GREETED)
				break;
		}
		in = bytes_from(in, offered - part.len);
	}
	BUG_IF(buf_append(out, in) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole, split;

	read_all(bytes_of(data, size), size + 1, &whole);
	read_all(bytes_of(data, size), 1, &split);
	BUG_IF(!bytes_eq(buf_bytes(&whole), buf_bytes(&split)));
	buf_done(&whole);
	buf_done(&split);
	return 0;
}
