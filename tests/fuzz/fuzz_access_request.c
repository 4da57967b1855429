/* The head of a request, as HTTP/1 has it: what Access reads of its cookies and fields, and that nothing of it is left
 * for the service. The name of the field for both parts of a service token is "x-both". */
#include <string.h>

#include "base/check.h"
#include "edge/access/credentials.h"
#include "http/h1.h"
#include "io/loop.h"

static const struct exchange_producer producer = { .name = "fuzz" };

static bool is_left(const struct fields *f, const char *name, struct bytes good)
{
	for (size_t i = 0; i < f->count; i++) {
		struct bytes rest = f->list[i].value, part;

		if (f->list[i].token != HEAD_COOKIE)
			continue;
		while (bytes_split(&rest, ';', &part)) {
			part = bytes_trim(part);
			size_t equals = bytes_index(part, '=');

			if (bytes_eq_nocase(bytes_trim(bytes_first(part, equals)), bytes_str(name)) &&
			    !(good.len && bytes_eq(bytes_from(part, equals + 1), good)))
				return true;
		}
	}
	return false;
}

static void look_at(struct exchange *x)
{
	struct fields *f = &x->request.fields;
	struct access_credentials c = access_credentials_of(x, "x-both");
	struct bytes good = c.is_cookie && c.token_count ? c.tokens[c.token_count - 1] : BYTES_NONE;

	BUG_IF(c.token_count > ACCESS_TOKENS_MAX || (!c.is_cookie && c.token_count > 1));
	(void)access_is_navigation(&x->request);
	access_credentials_strip(x, "x-both", good);
	BUG_IF(fields_find_text(f, BYTES_LIT("cf-access-token")) ||
	       fields_find_text(f, BYTES_LIT("cf-access-client-secret")) ||
	       fields_find_text(f, BYTES_LIT("x-both")));
	BUG_IF(is_left(f, ACCESS_APP_COOKIE, BYTES_NONE) ||
	       is_left(f, ACCESS_BINDING_COOKIE, BYTES_NONE) ||
	       is_left(f, ACCESS_HOST_PREFIX ACCESS_APP_COOKIE, BYTES_NONE) ||
	       is_left(f, ACCESS_COOKIE, good));
	/* What is left says nothing that the next one would take. */
	c = access_credentials_of(x, "");
	BUG_IF(c.client_secret.len || c.app_session.len || c.binding.len ||
	       (c.token_count && !bytes_eq(c.tokens[0], good)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct loop *loop = loop_new(NULL);
	struct exchange *x = exchange_new(loop, &producer, NULL);
	struct h1_request_info info;
	struct err err = { 0 };

	if (h1_parse_request(arena_copy(&x->arena, bytes_of(data, size)), &x->arena, &x->request,
			     &info, &err) == 0)
		look_at(x);
	exchange_release_producer(x);
	loop_free(loop);
	return 0;
}
