/* Whatever is typed as a reason: one line of UTF-8 comes out of it that is cleaned already, or nothing. */
#include "edge/access/purpose.h"

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes line, again;
	struct arena arena;

	arena_init(&arena);
	if (purpose_clean(bytes_of(data, size), &arena, &line)) {
		BUG_IF(line.len == 0 || line.len > size);
		for (size_t i = 0; i < line.len; i++)
			BUG_IF(line.ptr[i] < 0x20 || line.ptr[i] == 0x7f);
		BUG_IF(!purpose_clean(line, &arena, &again) || !bytes_eq(line, again));
	}
	arena_done(&arena);
	return 0;
}
