#include "edge/access/provider_notes.h"

#include "base/map.h"
#include "base/mem.h"
#include "edge/access/metrics.h"

struct provider_notes {
	size_t refs;
	struct map *notes; /* id -> struct provider_note, owned */
};

struct provider_notes *provider_notes_new(void)
{
	struct provider_notes *n = mem_alloc(sizeof(*n));

	n->refs = 1;
	n->notes = map_new();
	return n;
}

struct provider_notes *provider_notes_ref(struct provider_notes *n)
{
	n->refs++;
	return n;
}

struct provider_notes *provider_notes_unref(struct provider_notes *n)
{
	struct bytes key;
	size_t cursor = 0;
	void *note;

	if (!n || --n->refs > 0)
		return NULL;
	while (map_next(n->notes, &cursor, &key, &note))
		mem_free(note);
	map_free(n->notes);
	return mem_free(n);
}

/* A provider's own words may be in it: bytes of whatever kind. */
static void take_text(char *to, size_t size, const char *text)
{
	size_t len = 0;

	for (; text[len] && len + 1 < size; len++)
		to[len] = (char)(text[len] >= ' ' && text[len] <= '~' ? text[len] : '?');
	to[len] = 0;
}

void provider_notes_add(struct provider_notes *n, const char *id, const char *name, usec took,
			const struct err *err)
{
	struct provider_note *note = map_find(n->notes, bytes_str(id));
	bool has_failed = err->code != 0 && err->code != E_DENIED;

	access_count_provider(name,
			      err->code == 0 ? "answered"
			      : has_failed   ? "failed"
					     : "denied",
			      took);
	if (!note) {
		if (map_count(n->notes) >= PROVIDER_NOTES_MAX)
			return;
		note = mem_alloc(sizeof(*note));
		map_put(n->notes, bytes_str(id), note);
	}
	if (has_failed) {
		note->failed++;
		note->failed_at = clock_wall_now();
		take_text(note->error, sizeof(note->error), err->text);
	} else {
		note->answered++;
		note->answered_at = clock_wall_now();
	}
}

const struct provider_note *provider_notes_find(const struct provider_notes *n, const char *id)
{
	return map_find(n->notes, bytes_str(id));
}
