/* Answers that are no WebSocket: whatever they say, one clean line comes of it. */
#include <stddef.h>
#include <stdint.h>

#include "connector/access/refusal.h"
#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct h1_response_info info;
	struct arena arena;
	struct head head;
	struct err err = { 0 };
	size_t scanned = 0;
	ssize_t len = h1_head_length(bytes_of(data, size), &scanned);

	if (len <= 0)
		return 0;
	arena_init(&arena);
	if (h1_parse_response(bytes_of(data, (size_t)len), BYTES_LIT("GET"), &arena, &head, &info,
			      NULL) == 0) {
		refusal_explain(&head, bytes_from(bytes_of(data, size), (size_t)len),
				BYTES_LIT("h.example"), &err);
		BUG_IF(err.code >= 0);
		for (const char *at = err.text; *at; at++)
			BUG_IF(*at < ' ' || *at > '~');
	}
	arena_done(&arena);
	return 0;
}
