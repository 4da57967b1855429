/* Smuggling oracle: what one of our programs reads and writes on must be read the same by the next. */
#include "base/limits.h"
#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next field that printing keeps as it is. */
static const struct field *next_kept(const struct fields *f, size_t *i, bool is_upgrade)
{
	while (*i < f->count) {
		const struct field *field = &f->list[(*i)++];
		if (field->token != HEAD_CONTENT_LENGTH && field->token != HEAD_TRANSFER_ENCODING &&
		    field->token != HEAD_CONNECTION && !(is_upgrade && field->token == HEAD_UPGRADE))
			return field;
	}
	return NULL;
}

static void compare(const struct head *a, const struct h1_request_info *ai, const struct head *b,
		    const struct h1_request_info *bi)
{
	size_t i = 0, j = 0;

	BUG_IF(!bytes_eq(a->method, b->method) || !bytes_eq(a->path, b->path));
	BUG_IF(!bytes_eq(a->authority, b->authority));
	BUG_IF(a->length != b->length || a->content_length != b->content_length);
	BUG_IF(a->is_upgrade != b->is_upgrade);
	BUG_IF(ai->is_chunked != bi->is_chunked || ai->keep_alive != bi->keep_alive);
	BUG_IF(!ai->is_http10 && ai->expects_continue != bi->expects_continue);
	for (;;) {
		const struct field *x = next_kept(&a->fields, &i, a->is_upgrade);
		const struct field *y = next_kept(&b->fields, &j, a->is_upgrade);
		if (!x || !y) {
			BUG_IF(x != y);
			return;
		}
		BUG_IF(!bytes_eq_nocase(x->name, y->name) || !bytes_eq(x->value, y->value));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = bytes_of(data, size);
	size_t scanned = 0;
	ssize_t len = h1_head_length(text, &scanned);
	struct arena arena;
	struct head first, second;
	struct h1_request_info info, again;
	struct err err = { 0 };
	struct buf out;

	arena_init(&arena);
	buf_init(&out, LIMIT_HEAD_BYTES);
	if (len > 0)
		text = bytes_first(text, (size_t)len);
	int ret = h1_parse_request(text, &arena, &first, &info, &err);
	if (ret < 0) {
		BUG_IF(ret != err.code || err.text[0] == 0);
		BUG_IF(h1_refusal_status(ret, text) < 400);
	}
	/* HTTP/1.0 without Host cannot be said in HTTP/1.1, and printing adds fields of its own, which may
	 * be too many for the reader. */
	if (ret == 0 && first.authority.len && first.fields.count <= LIMIT_HEAD_FIELDS - 3) {
		enum h1_framing framing = first.is_upgrade                    ? H1_RAW_UPGRADE
					  : info.is_chunked                   ? H1_CHUNKED
					  : first.length == HEAD_LENGTH_KNOWN ? H1_LENGTH
									      : H1_NO_BODY;
		BUG_IF(len <= 0);
		if (h1_print_request(&first, framing, info.keep_alive, size & 1, &out) == 0) {
			scanned = 0;
			BUG_IF(h1_head_length(buf_bytes(&out), &scanned) != (ssize_t)out.len);
			BUG_IF(h1_parse_request(buf_bytes(&out), &arena, &second, &again, &err) < 0);
			if (first.is_upgrade) /* "Connection: Upgrade" says nothing about staying */
				again.keep_alive = info.keep_alive;
			compare(&first, &info, &second, &again);
			head_strip_hop_by_hop(&second);
			BUG_IF(fields_find(&second.fields, HEAD_CONNECTION) != NULL);
			(void)head_host(second.authority, &arena);
		}
	}
	buf_done(&out);
	arena_done(&arena);
	return 0;
}
