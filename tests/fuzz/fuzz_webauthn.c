/* What a browser says of a passkey that is made or used: two bytes with the length of its own statement, that, and the
 * authenticator's. */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/reader.h"
#include "edge/access/webauthn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char challenge[] = "a challenge of twenty-four";
	const struct webauthn_expected expected = {
		.rp_id = "adit.example.com",
		.origin = "https://adit.example.com:8443",
		.challenge = bytes_str(challenge),
	};
	struct reader r = reader_of(bytes_of(data, size));
	struct bytes client_data = reader_take(&r, reader_u16be(&r));
	struct bytes auth_data = reader_take(&r, r.left.len);
	struct webauthn_key key = { 0 };
	struct arena arena;
	uint32_t counter;

	arena_init(&arena);
	if (webauthn_register(&expected, client_data, auth_data, &arena, &key, NULL) < 0) {
		key.algorithm = -7;
		key.public_key = BYTES_LIT("0123456789abcdef0123456789abcdef"
					   "0123456789abcdef0123456789abcdef");
	}
	/* Nobody can sign without the key. */
	BUG_IF(webauthn_check(&expected, client_data, auth_data, BYTES_LIT("signature"), &key,
			      &counter, NULL) == 0);
	arena_done(&arena);
	return 0;
}
