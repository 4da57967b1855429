/* What an identity provider, GitHub's API or a service of external evaluation may answer, to somebody who signs in.
 *
 * Input: one letter for the kind of provider, its configuration (JSON), a NUL, then the replies (replies.h). "K" is the
 * set of keys of this test, and a token ("id_token" or "token") that is an object instead of a text is signed with them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "edge/access/evaluation.h"
#include "edge/access/keys.h"
#include "edge/access/oauth.h"
#include "replies.h"

static struct access_keys *keys;

static char *reply_made(struct bytes body)
{
	static const char *const tokens[] = { "id_token", "token" };
	json_t *object;
	char *made = NULL;

	if (bytes_eq(body, BYTES_LIT("K")))
		return access_keys_public(keys);
	if (!memmem(body.ptr ? body.ptr : (const uint8_t *)"", body.len, "token\":{", 8))
		return NULL;
	object = json_loadb((const char *)body.ptr, body.len, 0, NULL);
	for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
		json_t *claims = json_object_get(object, tokens[i]);

		if (!json_is_object(claims))
			continue;
		char *token = access_keys_sign(keys, json_incref(claims));
		json_object_set_new(object, tokens[i], json_string(token));
		mem_free(token);
	}
	char *text = json_dumps(object, 0);
	if (text)
		made = mem_strdup(text);
	free(text); /* allowed: jansson took it from malloc */
	json_decref(object);
	return made;
}

static void ask_service(struct bytes texts)
{
	struct access_rule rule = {
		.selector = ACCESS_EXTERNAL,
		.value = BYTES_LIT("https://judge.example.com/ask"),
		.detail = BYTES_LIT("https://judge.example.com/keys"),
	};
	struct evaluation *e = evaluation_new(&rule);

	mem_free(e->service->nonce);
	e->service->nonce = mem_strdup("n");
	e->service->may_ask_again = true;
	e->question = mem_strdup("question");
	replies_begin(texts);
	evaluation_ask(e);
	BUG_IF(e->answer == ACCESS_UNKNOWN && !e->err.text[0]);
	evaluation_free(e);
}

static void sign_in(const char *kind, const json_t *config, struct bytes texts)
{
	struct oauth *o = oauth_new(kind, config, "https://example.com/callback");

	mem_free(o->nonce);
	o->nonce = mem_strdup("n");
	o->code = mem_strdup("code");
	o->may_ask_again = true;
	replies_begin(texts);
	oauth_start(o);
	BUG_IF(!o->url && !o->err.text[0]);
	if (o->url) {
		o->err = (struct err){ 0 };
		oauth_finish(o);
		BUG_IF(!o->identity && !o->err.text[0]);
		BUG_IF(o->identity && !json_is_string(json_object_get(o->identity, "email")));
	}
	oauth_free(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const kinds[] = { "oidc",    "google", "google-apps",
					     "azureAD", "okta",   "github" };
	struct bytes input = bytes_of(data, size), head;
	json_t *config;

	if (size < 1)
		return 0;
	if (!keys)
		keys = access_keys_new(clock_wall_now(), NULL);
	BUG_IF(!keys);
	head = bytes_first(input, bytes_index(input, 0));
	input = bytes_from(input, head.len + 1);
	if (head.len == 0)
		return 0;
	if (head.ptr[0] == 'e') {
		ask_service(input);
		return 0;
	}
	config = json_loadb((const char *)head.ptr + 1, head.len - 1, 0, NULL);
	if (oauth_check(kinds[head.ptr[0] % ARRAY_LEN(kinds)], config, NULL) == 0)
		sign_in(kinds[head.ptr[0] % ARRAY_LEN(kinds)], config, input);
	json_decref(config);
	return 0;
}
