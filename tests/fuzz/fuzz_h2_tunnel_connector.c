/* What a hostile edge may send a connector: HTTP/2 frames after the preface. The first byte says how the
 * input is cut into reads. */
#include "base/mem.h"
#include "fake/memory_stream.h"
#include "transport/transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_data(struct stream *st, struct bytes data, bool fin)
{
	stream_consume(st, data.len);
	if (fin)
		stream_finish(st, NULL);
}

static void on_writable(struct stream *st)
{
	stream_write(st, BYTES_LIT("some more"), true);
}

static const struct stream_events stream_events = {
	.on_data = on_data,
	.on_writable = on_writable,
};

static void on_stream(struct session *s, struct stream *st, enum stream_kind kind,
		      const struct head *head, bool fin)
{
	const struct head response = { .status = kind == STREAM_WEBSOCKET ? 101 : 200,
				       .fields = head->fields };
	const struct answer answer = { .head = &response };

	(void)s;
	st->events = &stream_events;
	if (head->path.len % 4 == 3) {
		stream_reset(st, REASON_FAILED);
		return;
	}
	stream_answer(st, &answer, fin);
	if (!fin)
		stream_write(st, head->path, false);
}

static void on_registered(struct session *s, const struct registered *r)
{
	if (r->ok && r->location.len == 3)
		session_drain(s);
}

static void on_closed(struct session *s, enum reason why, const struct err *err)
{
	(void)why;
	(void)err;
	*(bool *)s->ctx = true;
}

static const struct session_events events = {
	.on_registered = on_registered,
	.on_stream = on_stream,
	.on_closed = on_closed,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	static const struct bytes features[] = { BYTES_LIT(FEATURE_REASON) };
	const struct registration registration = {
		.account = BYTES_LIT("account"),
		.secret = BYTES_LIT("secret"),
		.features = features,
		.feature_count = 1,
	};
	struct byte_stream *ours, *theirs;
	bool is_closed = false;

	if (size == 0)
		return 0;
	if (!loop)
		loop = loop_new(NULL);
	memory_stream_pair(loop, 1 << 20, &ours, &theirs);
	memory_stream_set_read_max(ours, data[0]);
	const struct session_start start = {
		.side = SESSION_CONNECTOR,
		.stream = ours,
		.events = &events,
		.ctx = &is_closed,
		.registration = &registration,
		.local_config = BYTES_LIT("{}"),
	};
	struct session *s = h2_transport.start(loop, &start);
	byte_stream_write(theirs, BYTES_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
	byte_stream_write(theirs, bytes_of(data + 1, size - 1));
	loop_settle(loop);
	if (!is_closed)
		session_close(s, REASON_DONE);
	loop_settle(loop);
	BUG_IF(!is_closed);
	byte_stream_close(theirs);
	loop_settle(loop);
	return 0;
}
