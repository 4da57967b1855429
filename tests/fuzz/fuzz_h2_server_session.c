/* Bytes of a hostile HTTP/2 client. The first byte says how the input is cut into reads, and whether the
 * preface is given for free. */
#include "base/mem.h"
#include "fake/memory_stream.h"
#include "http/h2_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_request(struct h2_session *s, struct h2_stream *st, const struct head *head, bool fin)
{
	struct head answer = { .status = 200, .length = HEAD_LENGTH_UNKNOWN };

	(void)s;
	(void)fin;
	if (head->path.len % 8 == 7)
		return; /* never answered */
	h2_stream_respond(st, &answer, false);
	h2_stream_write(st, head->path, head->path.len % 2);
}

static void on_data(struct h2_stream *st, struct bytes data, bool fin)
{
	h2_stream_consume(st, data.len);
	if (fin)
		h2_stream_reset(st, H2_INTERNAL_ERROR);
}

static void on_writable(struct h2_stream *st)
{
	h2_stream_write(st, BYTES_LIT("some more"), true);
}

static void on_closed(struct h2_session *s, const struct err *why)
{
	(void)why;
	*(bool *)h2_session_ctx(s) = true;
}

static const struct h2_events events = {
	.on_request = on_request,
	.on_data = on_data,
	.on_writable = on_writable,
	.on_closed = on_closed,
};
static const struct h2_options options = {
	.role = H2_SERVER,
	.max_streams = 8,
	.stream_window = 4096,
	.connection_window = 65535,
	.allow_connect_protocol = true,
	.is_window_shared = true,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	struct byte_stream *ours, *theirs;
	bool is_closed = false;

	if (size == 0)
		return 0;
	if (!loop)
		loop = loop_new(NULL);
	memory_stream_pair(loop, 1 << 20, &ours, &theirs);
	memory_stream_set_read_max(ours, data[0] & 0x7f);
	struct h2_session *s = h2_session_new(ours, &options, &events, &is_closed);
	if (data[0] & 0x80)
		byte_stream_write(theirs,
				  BYTES_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"));
	byte_stream_write(theirs, bytes_of(data + 1, size - 1));
	loop_settle(loop);
	if (!is_closed)
		h2_session_close(s, H2_NO_ERROR, "done");
	loop_settle(loop);
	if (!is_closed)
		__builtin_trap();
	byte_stream_close(theirs);
	loop_settle(loop);
	return 0;
}
