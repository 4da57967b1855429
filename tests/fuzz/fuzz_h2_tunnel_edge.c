/* What a hostile connector may send an edge: HTTP/2 frames after its SETTINGS. The first byte says how the input is
 * cut into reads, the second what the edge's user does, and whether the connector registers properly first. */
#include "base/mem.h"
#include "fake/memory_stream.h"
#include "tunnel_users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REGISTERS_FIRST 8

static void frame(struct buf *out, uint8_t type, uint8_t flags, uint8_t stream, struct bytes payload)
{
	const uint8_t head[] = {
		(uint8_t)(payload.len >> 16),
		(uint8_t)(payload.len >> 8),
		(uint8_t)payload.len,
		type,
		flags,
		0,
		0,
		0,
		stream,
	};

	must(buf_append(out, bytes_of(head, sizeof(head))) == 0 && buf_append(out, payload) == 0);
}

/* SETTINGS; and when it registers the answer to the control stream, which is the edge's first request. */
static void send_beginning(struct byte_stream *to, bool registers)
{
	struct buf out, question, answer;

	buf_init(&out, 65536);
	buf_init(&question, 65536);
	buf_init(&answer, 65536);
	frame(&out, 4, 0, 0, BYTES_NONE);
	if (registers) {
		a_conversation(&question, &answer);
		frame(&out, 1, 4, 1, BYTES_LIT("\x88")); /* HEADERS: 200 */
		frame(&out, 0, 0, 1, buf_bytes(&question));
	}
	byte_stream_write(to, buf_bytes(&out));
	buf_done(&out);
	buf_done(&question);
	buf_done(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	static struct tunnel_user user;
	struct byte_stream *ours, *theirs;

	if (size < 2)
		return 0;
	if (!loop)
		loop = loop_new(NULL);
	memory_stream_pair(loop, 1 << 20, &ours, &theirs);
	user = (struct tunnel_user){ .how = data[1] };
	const struct session_start start = {
		.side = SESSION_EDGE,
		.stream = ours,
		.events = &edge_user_events,
		.ctx = &user,
	};
	user.session = h2_transport.start(loop, &start);
	loop_settle(loop); /* its request for the control stream leaves */
	send_beginning(theirs, data[1] & REGISTERS_FIRST);
	loop_settle(loop);
	must(!user.is_closed);
	memory_stream_set_read_max(ours, data[0]);
	edge_user_open(&user);
	byte_stream_write(theirs, bytes_of(data + 2, size - 2));
	loop_settle(loop);
	if (!user.is_closed)
		edge_user_open(&user);
	loop_settle(loop);
	if (!user.is_closed)
		session_close(user.session, REASON_DONE);
	loop_settle(loop);
	must(user.is_closed);
	byte_stream_close(theirs);
	loop_settle(loop);
	return 0;
}
