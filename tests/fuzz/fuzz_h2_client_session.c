/* Bytes of a hostile HTTP/2 server, towards a client with three requests open. The first byte says how
 * the input is cut into reads. */
#include "base/mem.h"
#include "fake/memory_stream.h"
#include "http/h2_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_response(struct h2_stream *st, const struct head *head, bool fin)
{
	(void)fin;
	if (head->status == 500)
		h2_stream_reset(st, H2_CANCEL);
}

static void on_data(struct h2_stream *st, struct bytes data, bool fin)
{
	(void)fin;
	h2_stream_consume(st, data.len);
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
	.on_response = on_response,
	.on_data = on_data,
	.on_writable = on_writable,
	.on_closed = on_closed,
};
static const struct h2_options options = {
	.role = H2_CLIENT,
	.stream_window = 4096,
	.connection_window = 65535,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	static const uint8_t body[70000];
	struct byte_stream *ours, *theirs;
	bool is_closed = false;

	if (size == 0)
		return 0;
	if (!loop)
		loop = loop_new(NULL);
	memory_stream_pair(loop, 1 << 20, &ours, &theirs);
	memory_stream_set_read_max(ours, data[0] & 0x7f);
	struct h2_session *s = h2_session_new(ours, &options, &events, &is_closed);
	struct head head = {
		.method = BYTES_LIT("GET"),
		.authority = BYTES_LIT("a.example"),
		.path = BYTES_LIT("/"),
	};
	h2_session_open(s, &head, true, NULL);
	head.method = BYTES_LIT("HEAD");
	h2_session_open(s, &head, true, NULL);
	head.method = BYTES_LIT("POST");
	head.length = HEAD_LENGTH_UNKNOWN;
	struct h2_stream *st = h2_session_open(s, &head, false, NULL);
	h2_stream_write(st, bytes_of(body, sizeof(body)), true);
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
