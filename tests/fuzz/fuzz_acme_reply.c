/* A Retry-After value, a NUL, a body: whatever an authority says is taken apart, or named in printable words. */
#include "acme/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes input = bytes_of(data, size);
	size_t end = bytes_index(input, 0);
	struct acme_reply r;
	struct err err = { 0 };
	usec from, to;

	acme_reply_read(&r, (int)(size % 600), bytes_from(input, end + 1), BYTES_NONE,
			bytes_first(input, end));
	BUG_IF(r.retry_after < 0 || r.retry_after > ACME_RETRY_AFTER_MAX);
	BUG_IF(acme_reply_error(&r, "asking", &err) >= 0);
	for (const char *c = err.text; *c; c++)
		BUG_IF(*c < ' ' || *c > '~');
	for (int m = 0; m < ACME_METHODS; m++) {
		const json_t *c = acme_challenge_of(r.json, (enum acme_method)m);
		BUG_IF(c && (!acme_text(c, "url") || !acme_text(c, "token")));
	}
	(void)acme_failure_of(r.json);
	BUG_IF(acme_window_of(r.json, &from, &to) && to < from);
	acme_reply_done(&r);
	return 0;
}
