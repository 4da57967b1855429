#include "edge/control/control_parts.h"

/* Longest pattern: accounts/:/teamnet/routes/ip/:. */
#define SEGMENTS_MAX 6

struct segments {
	struct bytes list[SEGMENTS_MAX];
	size_t count;
};

/* Empty segments (a slash at the end, two in a row) are no path of ours. */
static bool split(struct bytes path, struct segments *ret)
{
	ret->count = 0;
	if (path.len && path.ptr[path.len - 1] == '/')
		return false;
	while (path.len) {
		if (ret->count == SEGMENTS_MAX)
			return false;
		(void)bytes_split(&path, '/', &ret->list[ret->count++]);
	}
	return true;
}

static bool matches(const char *pattern, const struct segments *path, struct ask *a)
{
	struct bytes rest = bytes_str(pattern), want;
	size_t i = 0, arg_count = 0;

	while (bytes_split(&rest, '/', &want)) {
		if (i == path->count)
			return false;
		struct bytes have = path->list[i++];
		if (!bytes_eq(want, BYTES_LIT(":"))) {
			if (!bytes_eq(want, have))
				return false;
			continue;
		}
		BUG_IF(arg_count == ASK_ARGS_MAX);
		if (have.len == 0 ||
		    query_decode(have, false, &a->request->arena, &a->args[arg_count++]) < 0)
			return false;
	}
	return i == path->count;
}

static bool method_is(struct bytes method, const char *wanted)
{
	if (bytes_eq(method, bytes_str(wanted)))
		return true;
	return bytes_eq(method, BYTES_LIT("HEAD")) && bytes_eq(bytes_str(wanted), BYTES_LIT("GET"));
}

enum endpoint_match endpoint_find(const struct endpoint *table, size_t count, struct bytes path,
				  struct ask *a, const struct endpoint **ret)
{
	struct arena *arena = &a->request->arena;
	struct bytes allow = BYTES_NONE;
	struct segments segments;

	if (!split(path, &segments))
		return ENDPOINT_NO_PATH;
	for (size_t i = 0; i < count; i++) {
		if (!matches(table[i].pattern, &segments, a))
			continue;
		if (method_is(a->request->head.method, table[i].method)) {
			*ret = &table[i];
			return ENDPOINT_FOUND;
		}
		bool is_get = bytes_eq(bytes_str(table[i].method), BYTES_LIT("GET"));
		allow = arena_printf(arena, BYTES_FMT "%s%s%s", BYTES_ARG(allow),
				     allow.len ? ", " : "", table[i].method, is_get ? ", HEAD" : "");
	}
	if (allow.len == 0)
		return ENDPOINT_NO_PATH;
	answer_field(a->request, "Allow", allow);
	return ENDPOINT_NO_METHOD;
}
