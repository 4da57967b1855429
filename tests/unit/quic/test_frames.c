/* Finding STOP_SENDING among the frames of a packet. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "quic/quic_internal.h"

static size_t count;
static int64_t ids[64];
static uint64_t codes[64];

static void found(void *ctx, int64_t id, uint64_t code)
{
	assert_ptr_equal(ctx, ids);
	assert_true(count < 64);
	ids[count] = id;
	codes[count++] = code;
}

static void look(struct bytes payload)
{
	count = 0;
	quic_frames_find_stops(payload, found, ids);
}

static void it_is_found_behind_every_other_frame(void **state)
{
	static const struct bytes frames[] = {
		BYTES_LIT("\0\0\0\0"),                           /* PADDING */
		BYTES_LIT("\x01"),                               /* PING */
		BYTES_LIT("\x02\x40\x64\x05\0\x01"),             /* ACK, one range */
		BYTES_LIT("\x02\x10\0\x02\x01\x01\x02\x03\x04"), /* three */
		BYTES_LIT("\x03\x10\0\0\x01\x07\x08\x40\x09"),   /* with ECN counts */
		BYTES_LIT("\x04\x08\x05\x40\x80"),               /* RESET_STREAM */
		BYTES_LIT("\x06\0\x03\x05\x05\x05"),             /* CRYPTO */
		BYTES_LIT("\x07\x02\x05\x05"),                   /* NEW_TOKEN */
		BYTES_LIT("\x0a\x04\x03\x05\x05\x05"),           /* STREAM with length */
		BYTES_LIT("\x0e\x04\x40\x10\x03\x05\x05\x05"),   /* and offset */
		BYTES_LIT("\x0b\x04\0"),                         /* and end */
		BYTES_LIT("\x10\x80\x01\0\0"),                   /* MAX_DATA */
		BYTES_LIT("\x11\x05\x05"),                       /* MAX_STREAM_DATA */
		BYTES_LIT("\x12\x05"),                           /* MAX_STREAMS */
		BYTES_LIT("\x13\xc0\0\0\0\0\0\0\x05"),           /* in eight bytes */
		BYTES_LIT("\x14\x05"),                           /* DATA_BLOCKED */
		BYTES_LIT("\x15\x05\x05"),                       /* STREAM_DATA_BLOCKED */
		BYTES_LIT("\x16\x05"),                           /* STREAMS_BLOCKED */
		BYTES_LIT("\x17\x05"),                           /* the other kind */
		BYTES_LIT("\x18\x01\0\x04\x05\x05\x05\x05"
			  "0123456789abcdef"),                     /* NEW_CONNECTION_ID */
		BYTES_LIT("\x19\x05"),                             /* RETIRE_CONNECTION_ID */
		BYTES_LIT("\x1a\x05\x05\x05\x05\x05\x05\x05\x05"), /* PATH_CHALLENGE */
		BYTES_LIT("\x1b\x05\x05\x05\x05\x05\x05\x05\x05"), /* PATH_RESPONSE */
		BYTES_LIT("\x1e"),                                 /* HANDSHAKE_DONE */
		BYTES_LIT("\x31\x03\x05\x05\x05"),                 /* DATAGRAM with length */
	};
	uint8_t payload[2000];
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
		memcpy(payload + len, frames[i].ptr, frames[i].len);
		len += frames[i].len;
		payload[len++] = 0x05;
		payload[len++] = (uint8_t)i;
		payload[len++] = 0x40;
		payload[len++] = (uint8_t)(100 + i);
	}
	look(bytes_of(payload, len));
	assert_int_equal(count, ARRAY_LEN(frames));
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(ids[i], i);
		assert_int_equal(codes[i], 100 + i);
	}
}

static void bytes_of_streams_and_datagrams_are_no_frames(void **state)
{
	look(BYTES_LIT("\x08\x04\x05\x01\x02\x05\x01\x02"));
	assert_int_equal(count, 0);
	look(BYTES_LIT("\x0d\x04\x40\x05\x05\x01\x02\x05\x01\x02"));
	assert_int_equal(count, 0);
	look(BYTES_LIT("\x30\x05\x01\x02"));
	assert_int_equal(count, 0);
	look(BYTES_LIT("\x05\x08\x09\x1c\0\0\0\x05\x01\x02"));
	assert_int_equal(count, 1);
}

static void broken_payloads_end_the_search(void **state)
{
	static const struct bytes broken[] = {
		BYTES_LIT("\x05"),
		BYTES_LIT("\x05\x01"),
		BYTES_LIT("\x05\xc0\x01"),
		BYTES_LIT("\x02\x01\0\xff\xff\xff\xff\xff\xff\xff\xff\0\x05\x01\x01"), /* ranges */
		BYTES_LIT("\x06\0\xff\xff\xff\xff\xff\xff\xff\xff\x05\x01\x01"),
		BYTES_LIT("\x0a\x04\x7f\xff\x05\x01\x01"),
		BYTES_LIT("\x18\x01\0\xff\x05\x01\x01"),
		BYTES_LIT("\x2f\x05\x01\x01"),
		BYTES_LIT("\x40"),
		BYTES_LIT(""),
	};

	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		look(broken[i]);
		assert_int_equal(count, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_found_behind_every_other_frame),
		cmocka_unit_test(bytes_of_streams_and_datagrams_are_no_frames),
		cmocka_unit_test(broken_payloads_end_the_search),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
