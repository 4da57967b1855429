/* A hostile far end of `adit access tcp`: any bytes in the place of frames. The first byte chooses. */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "connector/access/carry.h"
#include "fake/memory_stream.h"

static void on_done(void *ctx, const struct err *err)
{
	struct access_carry **carry = ctx;

	BUG_IF(!*carry);
	*carry = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct byte_stream *local, *ours_local, *far, *ours_far;
	struct access_carry *carry;
	uint8_t scrap[1024];
	struct err err;

	if (size < 1)
		return 0;
	struct loop *loop = loop_new(&err);
	struct bytes rest = bytes_of(data + 1, size - 1);
	memory_stream_pair(loop, 20000, &local, &ours_local);
	memory_stream_pair(loop, 20000, &far, &ours_far);
	carry = access_carry(loop, ours_local, ours_far, bytes_first(rest, data[0] & 0xf),
			     data[0] & 0x80, on_done, &carry);
	rest = bytes_from(rest, data[0] & 0xf);
	memory_stream_set_read_max(ours_far, data[0] & 0x40 ? 3 : 0);
	(void)byte_stream_write(local, BYTES_LIT("local"));
	if (data[0] & 0x20)
		byte_stream_shutdown(local);
	(void)byte_stream_write(far, rest);
	for (int i = 0; i < 4; i++) {
		loop_settle(loop);
		while (byte_stream_read(local, scrap, sizeof(scrap), NULL) > 0)
			;
		while (byte_stream_read(far, scrap, sizeof(scrap), NULL) > 0)
			;
	}
	access_carry_cancel(carry);
	byte_stream_close(local);
	byte_stream_close(far);
	loop_free(loop);
	return 0;
}
