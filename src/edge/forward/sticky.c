#include "edge/forward/sticky.h"

#include "edge/tunnels/replica.h"

/* With this prefix browsers take the cookie only if it is Secure, for "/", and for this host alone
 * (draft-ietf-httpbis-rfc6265bis §4.1.3). */
#define COOKIE_NAME "__Host-adit_replica"

struct bytes sticky_find(const struct fields *request)
{
	struct bytes rest, pair;

	for (size_t i = 0; i < request->count; i++) {
		if (request->list[i].token != HEAD_COOKIE)
			continue;
		rest = request->list[i].value;
		while (bytes_split(&rest, ';', &pair)) {
			pair = bytes_trim(pair);
			if (!bytes_starts_with(pair, BYTES_LIT(COOKIE_NAME "=")))
				continue;
			struct bytes tag = bytes_from(pair, strlen(COOKIE_NAME "="));
			return tag.len == REPLICA_TAG_LEN ? tag : BYTES_NONE;
		}
	}
	return BYTES_NONE;
}

void sticky_set(struct exchange *x, struct bytes tag)
{
	/* A response at the field limit goes without, and the visitor to any replica. */
	(void)fields_add(&x->response.fields, &x->arena, BYTES_LIT("Set-Cookie"),
			 arena_printf(&x->arena,
				      COOKIE_NAME "=" BYTES_FMT
						  "; Path=/; Secure; HttpOnly; SameSite=Lax",
				      BYTES_ARG(tag)));
}
