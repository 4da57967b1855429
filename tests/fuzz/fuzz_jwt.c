/* A key set, a NUL, a token: whatever they are, the answer is a token with a right signature or a reason. The
 * keys of tests/data/jose are tried too, with the whole input as the token. */
#include <stdio.h>

#include "jose/jwt.h"

static void verify(const struct key_set *keys, struct bytes token)
{
	static const char *const audiences[] = { "app" };
	const struct jwt_expected expected = { .issuer = "https://team.example.com",
					       .audiences = audiences,
					       .audience_count = 1,
					       .now = 1767225600 * USEC_PER_SEC };
	struct jwt_claims claims;
	struct arena arena;
	struct err err = { 0 };

	arena_init(&arena);
	int r = jwt_verify(keys, token, &expected, &arena, &claims, &err);
	BUG_IF(r > 0 || (r < 0 && !err.text[0]));
	for (const char *c = err.text; *c; c++)
		BUG_IF(*c < ' ' || *c > '~');
	arena_done(&arena);
}

static struct key_set *known_keys(void)
{
	static char text[64 * 1024];
	FILE *file = fopen("tests/data/jose/keys.json", "r");
	size_t len = file ? fread(text, 1, sizeof(text), file) : 0;

	if (file)
		fclose(file);
	return key_set_parse(bytes_of(text, len), NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct key_set *known;
	struct bytes input = bytes_of(data, size);
	size_t end = bytes_index(input, 0);
	struct err err = { 0 };

	if (!known)
		known = known_keys();
	struct key_set *keys = key_set_parse(bytes_first(input, end), &err);
	BUG_IF(!keys && !err.text[0]);
	if (keys)
		verify(keys, bytes_from(input, end + 1));
	if (known)
		verify(known, input);
	key_set_free(keys);
	return 0;
}
