/* What a proxy says, read whole and byte by byte, must come to the same end. */
#include "connector/dial/socks_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_all(struct bytes in, size_t step, bool has_user, size_t *ret_left)
{
	struct socks_client c = {
		.host = BYTES_LIT("edge.test"),
		.port = 7844,
		.user = has_user ? BYTES_LIT("user") : BYTES_NONE,
		.password = BYTES_LIT("password"),
	};
	size_t seen = 0;
	struct buf out;
	int r = 0;

	buf_init(&out, SOCKS_CLIENT_OUT_BYTES);
	socks_client_start(&c, &out);
	while (r == 0) {
		struct bytes part = bytes_first(in, seen);
		size_t before = part.len;
		buf_clear(&out);
		r = socks_client_feed(&c, &part, &out, NULL);
		in = bytes_from(in, before - part.len);
		seen = part.len;
		if (r != 0 || (before == part.len && seen >= in.len))
			break;
		if (before == part.len)
			seen = in.len - seen < step ? in.len : seen + step;
	}
	buf_done(&out);
	*ret_left = in.len;
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int has_user = 0; has_user < 2; has_user++) {
		size_t left[2];
		int whole = read_all(bytes_of(data, size), size + 1, has_user, &left[0]);
		int split = read_all(bytes_of(data, size), 1, has_user, &left[1]);
		BUG_IF(whole != split || (whole == 1 && left[0] != left[1]));
	}
	return 0;
}
