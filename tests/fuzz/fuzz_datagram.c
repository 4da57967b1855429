/* Any bytes as a datagram of both versions; what decodes encodes again. */
#include <stdlib.h>

#include "wire/datagram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes bytes = bytes_of(data, size);
	struct datagram_v2 v2;
	struct datagram_v3 v3;
	struct buf out;

	buf_init(&out, 2 * DATAGRAM_BYTES);
	if (datagram_v2_decode(bytes, &v2) == 0 &&
	    (datagram_v2_encode(&out, &v2) < 0 || !bytes_eq(buf_bytes(&out), bytes)))
		abort();
	buf_clear(&out);
	/* A longer one than we would send is read; the text of a response may be any length. */
	if (size <= DATAGRAM_BYTES && datagram_v3_decode(bytes, &v3) == 0 &&
	    (datagram_v3_encode(&out, &v3) < 0 || datagram_v3_decode(buf_bytes(&out), &v3) < 0))
		abort();
	buf_done(&out);
	return 0;
}
