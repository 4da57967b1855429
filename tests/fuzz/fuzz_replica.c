/* What decides over replicas and comes from outside: a visitor's cookies, a connector's feature strings. Each line
 * is one. */
#include <stdlib.h>

#include "edge/forward/sticky.h"
#include "edge/tunnels/replica.h"
#include "transport/transport.h"

static void read_cookies(struct bytes text)
{
	struct bytes line, all = text;
	struct fields request = { 0 };
	struct arena arena;

	arena_init(&arena);
	while (bytes_split(&all, '\n', &line))
		(void)fields_add(&request, &arena, BYTES_LIT("Cookie"), line);
	struct bytes tag = sticky_find(&request);
	if (tag.len && (tag.len != REPLICA_TAG_LEN || tag.ptr < text.ptr ||
			tag.ptr + tag.len > text.ptr + text.len))
		abort();
	arena_done(&arena);
}

static void read_features(struct bytes text)
{
	struct bytes list[32];
	size_t count = 0;
	struct replica_facts f;

	while (count < ARRAY_LEN(list) && bytes_split(&text, '\n', &list[count]))
		count++;
	replica_facts_read(&f, list, count, &(struct uuid){ { 1 } },
			   BYTES_LIT("0123456789abcdef0123456789abcdef"));
	if (f.weight < 1 || f.weight > LIMIT_REPLICA_WEIGHT || strlen(f.tag) != REPLICA_TAG_LEN ||
	    (f.label[0] && !feature_is_label(bytes_str(f.label))))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_cookies(bytes_of(data, size));
	read_features(bytes_of(data, size));
	return 0;
}
