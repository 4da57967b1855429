/* Any bytes as each of the three texts; what decodes must be the same after encoding and decoding. */
#include <stdlib.h>

#include "wire/token.h"

static void check_token(int (*decode)(struct bytes, struct token *, struct err *),
			int (*encode)(struct buf *, const struct token *), struct bytes text)
{
	struct token t, again;
	struct buf out;

	if (decode(text, &t, NULL) < 0)
		return;
	buf_init(&out, 4 * TOKEN_TEXT_BYTES);
	if (encode(&out, &t) == 0) {
		if (decode(buf_bytes(&out), &again, NULL) < 0 ||
		    !secret_eq(&t.secret, bytes_of(again.secret.ptr, again.secret.len)) ||
		    t.place.edge_count != again.place.edge_count || !t.place.ca != !again.place.ca)
			abort();
		token_done(&again);
	}
	buf_done(&out);
	token_done(&t);
}

static void check_login(struct bytes text)
{
	struct login l, again;
	struct buf out;

	if (login_decode(text, &l, NULL) < 0)
		return;
	buf_init(&out, 4 * TOKEN_TEXT_BYTES);
	if (login_encode(&out, &l) == 0) {
		if (login_decode(buf_bytes(&out), &again, NULL) < 0 ||
		    !bytes_eq(bytes_str(l.zone), bytes_str(again.zone)))
			abort();
		login_done(&again);
	}
	buf_done(&out);
	login_done(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* The bounds make it slow at sizes that find nothing new. */
	struct bytes text = bytes_first(bytes_of(data, size), 16384);

	check_token(token_decode, token_encode, text);
	check_token(token_decode_credentials, token_encode_credentials, text);
	check_login(text);
	return 0;
}
