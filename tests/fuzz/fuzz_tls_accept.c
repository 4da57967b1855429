/* Whatever a stranger sends first to a TLS listener: the handshake must end in an orderly refusal,
 * with nothing left behind. The input arrives in reads of changing sizes and is followed by the end. */
#include <string.h>

#include "base/check.h"
#include "io/address.h"
#include "io/byte_stream.h"
#include "io/loop.h"
#include "tls/authority.h"
#include "tls/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static struct tls_certificate *certificate;
static struct tls_context *context;

/* The input as a byte stream that swallows what is written to it. */
struct input {
	struct byte_stream base;
	struct bytes left;
	unsigned read_count;
	bool is_closed;
	struct deferred again;
};

static ssize_t input_read(struct byte_stream *s, uint8_t *dst, size_t cap, struct err *err)
{
	static const size_t sizes[] = { 16384, 1, 5, 300, 7 };
	struct input *in = CONTAINER_OF(s, struct input, base);
	size_t n = sizes[in->read_count++ % ARRAY_LEN(sizes)];

	(void)err;
	n = n < cap ? n : cap;
	n = n < in->left.len ? n : in->left.len;
	if (n)
		memcpy(dst, in->left.ptr, n);
	in->left = bytes_from(in->left, n);
	return (ssize_t)n;
}

static void input_want_read(struct byte_stream *s)
{
	loop_defer(s->loop, &CONTAINER_OF(s, struct input, base)->again);
}

static void on_again(struct deferred *d)
{
	struct input *in = CONTAINER_OF(d, struct input, again);

	in->base.events->on_readable(in->base.ctx);
}

static size_t input_write(struct byte_stream *s, struct bytes data)
{
	(void)s;
	return data.len;
}

static size_t input_backlog(const struct byte_stream *s)
{
	(void)s;
	return 0;
}

static void input_shutdown(struct byte_stream *s)
{
	(void)s;
}

static void input_close(struct byte_stream *s)
{
	struct input *in = CONTAINER_OF(s, struct input, base);

	BUG_IF(in->is_closed);
	in->is_closed = true;
	deferred_cancel(&in->again);
}

static const struct byte_stream_ops input_ops = {
	"input",       input_read,     input_want_read, input_write,
	input_backlog, input_shutdown, input_close,
};

static struct tls_certificate *choose(void *ctx, struct bytes name)
{
	(void)ctx;
	for (size_t i = 0; i < name.len; i++)
		BUG_IF(name.ptr[i] >= 'A' && name.ptr[i] <= 'Z');
	return bytes_eq(name, BYTES_LIT("unknown.test")) ? NULL : certificate;
}

static void set_up(void)
{
	static const char *const names[] = { "a.test" };
	static const char *const alpn[] = { "h2", "http/1.1", NULL };
	struct authority_pair ca, leaf;

	BUG_IF(authority_create("Fuzz CA", &ca, NULL) < 0);
	BUG_IF(authority_issue(&ca, names, 1, 30, &leaf, NULL) < 0);
	certificate = tls_certificate_load(bytes_str(leaf.cert_pem), bytes_str(leaf.key_pem), NULL);
	BUG_IF(!certificate);
	authority_pair_done(&ca);
	authority_pair_done(&leaf);
	context = tls_context_server(choose, NULL, NULL, alpn, NULL);
	loop = loop_new(NULL);
}

static void on_done(void *ctx, struct byte_stream *stream, const struct err *err)
{
	int *done_count = ctx;

	/* Nobody finishes a handshake without doing the mathematics. */
	BUG_IF(stream || !err || err->code == 0);
	++*done_count;
	loop_stop(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct address nobody = { .local = { .sun_family = AF_UNIX } };
	int done_count = 0;

	if (!loop)
		set_up();
	struct input in = {
		.base = { .ops = &input_ops, .loop = loop, .peer = &nobody },
		.left = bytes_of(data, size),
	};
	deferred_init(&in.again, on_again);
	tls_accept(context, &in.base, 10000, on_done, &done_count);
	loop_run(loop);
	BUG_IF(done_count != 1 || !in.is_closed);
	return 0;
}
