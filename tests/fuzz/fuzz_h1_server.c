/* Any bytes from a visitor, cut anywhere, against an answerer that echoes, answers at once, leaves
 * early or fails: what comes back must be responses, and nothing may be left over. */
#include "base/buf.h"
#include "fake/memory_stream.h"
#include "http/h1.h"
#include "http/h1_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_closed;

static void echo(struct exchange *x)
{
	struct bytes run;

	while (body_peek(&x->request_body, &run, 1)) {
		size_t taken = body_write(&x->response_body, run);
		body_consume(&x->request_body, taken);
		if (taken < run.len)
			return;
	}
	if (body_is_done(&x->request_body)) {
		x->response_body.trailers = x->request_body.trailers;
		body_end(&x->response_body);
		exchange_release_answerer(x);
	}
}

static const struct exchange_answerer answerer = {
	.name = "fuzz",
	.on_request_data = echo,
	.on_response_room = echo,
	.on_cancelled = exchange_release_answerer,
};

static enum handled handle(struct exchange *x, void *ctx)
{
	uint8_t kind = x->request.path.len > 1 ? x->request.path.ptr[1] : 0;

	(void)ctx;
	BUG_IF(x->request.method.len == 0 || x->request.path.len == 0);
	if (kind == 'w') {
		exchange_answer_whole(x, 200, BYTES_LIT("text/plain"), BYTES_LIT("whole"));
		return HANDLED_TAKEN;
	}
	if (kind == 'f')
		return exchange_failed(x, FAILURE_EDGE, 404, 0, "Not found", "nothing is here");
	exchange_answer_by(x, &answerer, NULL);
	x->response.status = x->request.is_upgrade ? 101 : 200;
	x->response.length = kind == 'u' ? HEAD_LENGTH_UNKNOWN : x->request.length;
	x->response.content_length = x->request.content_length;
	(void)fields_copy(&x->response.fields, &x->request.fields, &x->arena);
	exchange_respond(x);
	return HANDLED_TAKEN;
}

static const struct handler handlers[] = { { "fuzz", handle } };
static const struct handler_chain chain = { .handlers = handlers, .count = 1 };

static void on_closed(void *ctx, const struct err *why)
{
	(void)ctx;
	BUG_IF(why && (why->code >= 0 || why->text[0] == 0));
	has_closed = true;
}

static void read_all(struct byte_stream *s, struct buf *got)
{
	uint8_t piece[4096];
	ssize_t n;

	while ((n = byte_stream_read(s, piece, sizeof(piece), NULL)) > 0)
		BUG_IF(buf_append(got, bytes_of(piece, (size_t)n)) < 0);
}

/* The first head, at least, must be one that any client can read. */
static void check_answer(struct bytes got)
{
	size_t scanned = 0;
	ssize_t len = h1_head_length(got, &scanned);
	struct arena arena;
	struct head head;
	struct h1_response_info info;

	if (len <= 0) {
		BUG_IF(len < 0);
		return;
	}
	arena_init(&arena);
	BUG_IF(h1_parse_response(bytes_first(got, (size_t)len), BYTES_LIT("GET"), &arena, &head,
				 &info, NULL) < 0);
	arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	struct byte_stream *stream, *visitor;
	struct http_server_options options = { .chain = &chain,
					       .scheme = BYTES_LIT("http"),
					       .on_closed = on_closed };
	struct buf got;

	if (size < 2)
		return 0;
	if (!loop)
		loop = loop_new(NULL);
	has_closed = false;
	buf_init(&got, 1 << 24);
	size_t step = (size_t)data[0] * 8 + 1;
	memory_stream_pair(loop, data[1] & 1 ? 300 : 1 << 16, &stream, &visitor);
	struct http_server *h = h1_server_new(stream, &options);
	struct bytes rest = bytes_of(data + 2, size - 2);
	for (int stuck = 0; rest.len && stuck < 3 && !has_closed;) {
		size_t taken = byte_stream_write(visitor, bytes_first(rest, step));
		rest = bytes_from(rest, taken);
		stuck = taken ? 0 : stuck + 1;
		loop_settle(loop);
		if (data[1] & 2)
			read_all(visitor, &got);
	}
	if (!has_closed && data[1] & 4)
		http_server_drain(h);
	if (data[1] & 8)
		byte_stream_shutdown(visitor);
	/* Everything that was held back by the narrow stream comes out. */
	for (size_t before = 1; before != got.len;) {
		before = got.len;
		loop_settle(loop);
		read_all(visitor, &got);
		loop_settle(loop);
	}
	check_answer(buf_bytes(&got));
	byte_stream_close(visitor);
	loop_settle(loop);
	BUG_IF(!has_closed || exchange_live_count() != 0);
	buf_done(&got);
	return 0;
}
