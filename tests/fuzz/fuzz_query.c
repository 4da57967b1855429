/* A query string or a form: within the limits, each value without a NUL inside and never longer than it was written. */
#include <string.h>

#include "base/check.h"
#include "edge/control/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = bytes_of(data, size), decoded;
	struct arena arena;
	struct query q;

	arena_init(&arena);
	if (query_parse(text, &arena, &q) == 0) {
		BUG_IF(q.count > QUERY_PARAMS_MAX);
		for (size_t i = 0; i < q.count; i++) {
			const struct query_param *p = &q.list[i];

			BUG_IF(p->name.len + p->value.len > size);
			BUG_IF(strlen((const char *)p->value.ptr) != p->value.len);
			BUG_IF(!query_find(&q, (const char *)p->name.ptr));
		}
	}
	for (int is_form = 0; is_form < 2; is_form++) {
		if (query_decode(text, is_form, &arena, &decoded) == 0)
			BUG_IF(decoded.len > size || decoded.ptr[decoded.len] != 0);
	}
	arena_done(&arena);
	return 0;
}
