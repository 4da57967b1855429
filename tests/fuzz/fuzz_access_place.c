/* A place, a host and a target, with newlines between: who asks for what is guarded is never taken for somebody who
 * does not. What the target says as it stands, it says in its plainest reading too, or the edge refuses it. */
#include "edge/access/place.h"

#include "base/check.h"

static void look_at(const struct access_place *p, struct bytes host, struct bytes target,
		    struct arena *arena)
{
	struct access_paths paths = access_paths_of(target, arena);
	struct access_place whole = *p;
	bool holds = access_place_holds(p, host, paths.as_sent, false);

	BUG_IF(paths.count < 1 || paths.count > ACCESS_DECODINGS);
	whole.path = BYTES_NONE;
	BUG_IF(holds && !access_place_holds(&whole, host, BYTES_NONE, false));
	for (size_t i = 0; i < paths.count; i++) {
		struct bytes path = paths.resolved[i], segment;

		BUG_IF(path.len > target.len);
		(void)access_place_holds(p, host, path, true);
		/* Nothing is left that could lead up again. */
		while (bytes_split(&path, '/', &segment))
			BUG_IF(segment.len == 0 || bytes_eq(segment, BYTES_LIT("..")) ||
			       bytes_eq(segment, BYTES_LIT(".")));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes rest = bytes_of(data, size), text = BYTES_NONE, host = BYTES_NONE;
	struct access_place p;
	struct arena arena;
	struct err err = { 0 };

	arena_init(&arena);
	(void)bytes_split(&rest, '\n', &text);
	(void)bytes_split(&rest, '\n', &host);
	if (access_place_parse(text, &arena, &p, &err) == 0) {
		BUG_IF(access_place_compare(&p, &p) != 0);
		look_at(&p, host, rest, &arena);
	} else {
		BUG_IF(!err.text[0]);
	}
	arena_done(&arena);
	return 0;
}
