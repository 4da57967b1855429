/* Datagrams of both versions against the vectors, and cut short at every byte. */
#include "unit/wire/vectors.h"
#include "wire/datagram.h"

static void check_payload(struct bytes got, json_t *decoded)
{
	json_t *payload = json_object_get(decoded, "payload_hex");

	assert_hex(got, payload ? payload : json_object_get(decoded, "ip_packet_hex"));
}

static void check_v2(struct bytes bytes, json_t *decoded, struct buf *again)
{
	const char *session = json_string_value(json_object_get(decoded, "session_id"));
	char text[UUID_TEXT_SIZE];
	struct datagram_v2 d;

	assert_int_equal(datagram_v2_decode(bytes, &d), 0);
	assert_int_equal(d.type, json_integer_value(json_object_get(decoded, "type")));
	check_payload(d.payload, decoded);
	if (session)
		assert_string_equal(uuid_text(&d.session, text), session);
	assert_hex(d.trace, json_object_get(decoded, "trace_identity_hex"));
	assert_int_equal(datagram_v2_encode(again, &d), 0);
}

static void check_v3(struct bytes bytes, json_t *decoded, struct buf *again)
{
	json_t *flow = json_object_get(decoded, "request_id");
	struct datagram_v3 d;

	assert_int_equal(datagram_v3_decode(bytes, &d), 0);
	if (flow)
		assert_hex(bytes_of(d.flow, sizeof(d.flow)), flow);
	switch (d.type) {
	case DATAGRAM_V3_REGISTER: {
		const char *dest = json_string_value(json_object_get(decoded, "dest"));
		char want[64];
		if (d.address.len == 4)
			snprintf(want, sizeof(want), "%u.%u.%u.%u:%u", d.address.ptr[0],
				 d.address.ptr[1], d.address.ptr[2], d.address.ptr[3], d.port);
		else
			snprintf(want, sizeof(want), "[%x:%x::%x]:%u",
				 d.address.ptr[0] << 8 | d.address.ptr[1],
				 d.address.ptr[2] << 8 | d.address.ptr[3], d.address.ptr[15],
				 d.port);
		assert_string_equal(want, dest);
		assert_int_equal(d.idle_seconds,
				 json_integer_value(json_object_get(decoded, "idle_seconds")));
		assert_int_equal(d.is_traced, json_is_true(json_object_get(decoded, "traced")));
		check_payload(d.payload, decoded);
		break;
	}
	case DATAGRAM_V3_PAYLOAD:
	case DATAGRAM_V3_ICMP:
		check_payload(d.payload, decoded);
		break;
	case DATAGRAM_V3_RESPONSE:
		assert_int_equal(d.code,
				 json_integer_value(json_object_get(decoded, "response_type")));
		assert_text(d.text, json_string_value(json_object_get(decoded, "error_msg")));
		break;
	}
	assert_int_equal(datagram_v3_encode(again, &d), 0);
}

static void every_vector_decodes_and_encodes_to_the_same_bytes(void **state)
{
	json_t *vectors = vectors_load();
	json_t *v;
	size_t i, count = 0;

	json_array_foreach(vectors, i, v)
	{
		struct buf bytes, again;

		if (strcmp(vector_text(v, "kind"), "quic-datagram") != 0)
			continue;
		buf_init(&bytes, 4096);
		buf_init(&again, 4096);
		vector_bytes(v, &bytes);
		if (strcmp(vector_text(v, "group"), "datagram-v2") == 0)
			check_v2(buf_bytes(&bytes), json_object_get(v, "decoded"), &again);
		else
			check_v3(buf_bytes(&bytes), json_object_get(v, "decoded"), &again);
		assert_bytes_equal(buf_bytes(&again), buf_bytes(&bytes));
		buf_done(&bytes);
		buf_done(&again);
		count++;
	}
	assert_int_equal(count, 13);
	json_decref(vectors);
}

/* The hot path reads and writes what the codecs do. */
static void payloads_are_the_same_bytes_by_the_short_way(void **state)
{
	json_t *vectors = vectors_load();

	for (unsigned version = 2; version <= 3; version++) {
		json_t *v = vector_find(vectors,
					version == 2 ? "datagram-v2/udp" : "datagram-v3/payload");
		struct bytes id, payload;
		uint8_t again[64];
		struct buf bytes;

		buf_init(&bytes, 64);
		vector_bytes(v, &bytes);
		assert_true(datagram_get_payload(version, buf_bytes(&bytes), &id, &payload));
		check_payload(payload, json_object_get(v, "decoded"));
		datagram_put_payload(version, id, payload, again);
		assert_bytes_equal(bytes_of(again, bytes.len), buf_bytes(&bytes));
		for (size_t len = 0; len < DATAGRAM_OVERHEAD; len++)
			assert_false(datagram_get_payload(
				version, bytes_first(buf_bytes(&bytes), len), &id, &payload));
		/* The other version's are others. */
		bytes.ptr[version == 2 ? bytes.len - 1 : 0] = 2;
		assert_false(datagram_get_payload(version, buf_bytes(&bytes), &id, &payload));
		buf_done(&bytes);
	}
	json_decref(vectors);
}

/* A registration cut short kills a stock connector; here it is an error at every length. */
static void datagrams_shorter_than_their_header_are_refused(void **state)
{
	static const uint8_t v3[64];
	static const size_t shortest[] = { 26, 17, 2, 20 };
	struct datagram_v3 d3;
	struct datagram_v2 d2;

	for (uint8_t type = 0; type < ARRAY_LEN(shortest); type++) {
		for (size_t len = 1; len < sizeof(v3); len++) {
			uint8_t copy[64];

			memcpy(copy, v3, sizeof(v3));
			copy[0] = type;
			assert_int_equal(datagram_v3_decode(bytes_of(copy, len), &d3),
					 len < shortest[type] ? E_PROTOCOL : 0);
			if (type != DATAGRAM_V3_REGISTER)
				continue;
			copy[1] = 1; /* IPv6 */
			assert_int_equal(datagram_v3_decode(bytes_of(copy, len), &d3),
					 len < 38 ? E_PROTOCOL : 0);
		}
	}
	assert_int_equal(datagram_v3_decode(BYTES_NONE, &d3), E_PROTOCOL);
	assert_int_equal(datagram_v3_decode(BYTES_LIT("\4xxxx"), &d3), E_UNSUPPORTED);
	/* A response that announces more text than there is. */
	assert_int_equal(datagram_v3_decode(BYTES_LIT("\3\xff"
						      "0123456789abcdef"
						      "\0\5"
						      "four"),
					    &d3),
			 E_PROTOCOL);

	assert_int_equal(datagram_v2_decode(BYTES_NONE, &d2), E_PROTOCOL);
	assert_int_equal(datagram_v2_decode(BYTES_LIT("0123456789abcde\0"), &d2), E_PROTOCOL);
	assert_int_equal(datagram_v2_decode(BYTES_LIT("0123456789abcdef\0"), &d2), 0);
	assert_int_equal(d2.payload.len, 0);
	assert_int_equal(datagram_v2_decode(BYTES_LIT("short\2"), &d2), E_PROTOCOL);
	assert_int_equal(datagram_v2_decode(BYTES_LIT("x\4"), &d2), E_UNSUPPORTED);
}

static void payloads_are_bounded(void **state)
{
	static uint8_t large[DATAGRAM_PAYLOAD_BYTES + 64];
	struct datagram_v2 d2 = { .type = DATAGRAM_V2_UDP };
	struct datagram_v3 d3 = { .type = DATAGRAM_V3_PAYLOAD };
	struct buf out;

	buf_init(&out, 4096);
	d2.payload = d3.payload = bytes_of(large, DATAGRAM_PAYLOAD_BYTES);
	assert_int_equal(datagram_v2_encode(&out, &d2), 0);
	assert_int_equal(datagram_v2_decode(buf_bytes(&out), &d2), 0);
	buf_clear(&out);
	assert_int_equal(datagram_v3_encode(&out, &d3), 0);
	assert_int_equal(datagram_v3_decode(buf_bytes(&out), &d3), 0);
	buf_clear(&out);
	d2.payload = d3.payload = bytes_of(large, DATAGRAM_PAYLOAD_BYTES + 1);
	assert_int_equal(datagram_v2_encode(&out, &d2), E_LIMIT);
	assert_int_equal(datagram_v3_encode(&out, &d3), E_LIMIT);
	assert_int_equal(datagram_v2_decode(bytes_of(large, DATAGRAM_PAYLOAD_BYTES + 18), &d2),
			 E_LIMIT);
	large[0] = DATAGRAM_V3_ICMP;
	assert_int_equal(datagram_v3_decode(bytes_of(large, DATAGRAM_PAYLOAD_BYTES + 2), &d3),
			 E_LIMIT);
	d3 = (struct datagram_v3){ .type = DATAGRAM_V3_RESPONSE,
				   .text = bytes_of(large, sizeof(large)) };
	assert_int_equal(datagram_v3_encode(&out, &d3), E_LIMIT);
	assert_int_equal(out.len, 0);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_decodes_and_encodes_to_the_same_bytes),
		cmocka_unit_test(payloads_are_the_same_bytes_by_the_short_way),
		cmocka_unit_test(datagrams_shorter_than_their_header_are_refused),
		cmocka_unit_test(payloads_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
