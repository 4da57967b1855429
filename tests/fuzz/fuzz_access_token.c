/* A token: whoever it says it is for, it is for nobody unless the signature is right. The keys are of tests/data/jose;
 * the seeds have tokens that they signed. */
#include <stdio.h>

#include "base/check.h"
#include "edge/access/token.h"

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
	static struct key_set *keys;
	struct bytes token = bytes_of(data, size), audience;
	struct access_claims claims;
	struct arena arena;
	struct err err = { 0 };

	if (!keys)
		keys = known_keys();
	arena_init(&arena);
	audience = access_token_audience(token, &arena);
	BUG_IF(audience.len > size);
	if (keys) {
		for (enum access_token_type type = 0; type < TOKEN_TYPES; type++) {
			int r = access_token_check(keys, token, type, "https://team.example.com",
						   arena_strdup(&arena, audience),
						   1767225600 * USEC_PER_SEC, &arena, &claims, &err);

			BUG_IF(r > 0 || (r < 0 && !err.text[0]));
		}
	}
	arena_done(&arena);
	return 0;
}
