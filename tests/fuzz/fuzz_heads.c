/* Any bytes as a serialized head, which must survive a round trip if it decodes, and as a meta value. */
#include <stdlib.h>

#include "base/limits.h"
#include "wire/heads.h"

static void read_heads(struct bytes text, struct arena *a)
{
	struct heads_reader r, again;
	struct wire_pair pair, copy;
	struct buf out;
	int rc;

	buf_init(&out, 4 * LIMIT_HEAD_BYTES);
	heads_reader_init(&r, text, a);
	while ((rc = heads_next(&r, &pair)) == 1)
		if (heads_put(&out, pair.name, pair.value) < 0)
			abort();
	if (rc == 0) {
		heads_reader_init(&r, text, a);
		heads_reader_init(&again, buf_bytes(&out), a);
		while (heads_next(&r, &pair) == 1)
			if (heads_next(&again, &copy) != 1 || !bytes_eq(pair.name, copy.name) ||
			    !bytes_eq(pair.value, copy.value))
				abort();
		if (heads_next(&again, &copy) != 0)
			abort();
	}
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = bytes_first(bytes_of(data, size), LIMIT_HEAD_BYTES);
	struct heads_meta meta, again;
	struct arena a;
	struct buf out;

	arena_init(&a);
	read_heads(text, &a);
	if (heads_get_meta(text, &a, &meta) == 0) {
		buf_init(&out, 2 * HEADS_META_BYTES);
		if (heads_put_meta(&out, &meta) < 0 ||
		    heads_get_meta(buf_bytes(&out), &a, &again) < 0 ||
		    meta.from_connector != again.from_connector)
			abort();
		buf_done(&out);
	}
	arena_done(&a);
	return 0;
}
