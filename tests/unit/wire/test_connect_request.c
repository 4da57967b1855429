/* Heads of QUIC data streams against the vectors: the same fields, and the same bytes again. */
#include "unit/wire/vectors.h"
#include "wire/connect_request.h"

#define BYTES (256 * 1024)

static void check_pair(const struct connect_pair *p, json_t *want)
{
	const char *key = json_string_value(json_object_get(want, "key"));
	const char *value = json_string_value(json_object_get(want, "val"));

	assert_text(p->value, value);
	switch (p->key) {
	case CONNECT_METHOD:
		assert_string_equal(key, "HttpMethod");
		break;
	case CONNECT_HOST:
		assert_string_equal(key, "HttpHost");
		break;
	case CONNECT_STATUS:
		assert_string_equal(key, "HttpStatus");
		break;
	case CONNECT_FIELD:
		assert_int_equal(strncmp(key, "HttpHeader:", 11), 0);
		assert_text(p->name, key + 11);
		break;
	case CONNECT_FLOW_ID:
		assert_string_equal(key, "FlowID");
		break;
	case CONNECT_RATE_LIMITED:
		assert_string_equal(key, "FlowConnectRateLimited");
		break;
	case CONNECT_OTHER:
		assert_text(p->name, key);
		break;
	}
}

static void every_vector_decodes_and_encodes_to_the_same_bytes(void **state)
{
	json_t *vectors = vectors_load();
	json_t *v;
	size_t i, count = 0;

	json_array_foreach(vectors, i, v)
	{
		json_t *decoded = json_object_get(v, "decoded");
		json_t *metadata = json_object_get(decoded, "metadata");
		bool is_request = strcmp(vector_text(v, "group"), "connect-request") == 0;
		struct connect_pair pairs[16];
		struct connect_head head;
		struct buf bytes, again;
		size_t size = 0;

		if (!metadata)
			continue;
		buf_init(&bytes, BYTES);
		buf_init(&again, BYTES);
		vector_bytes(v, &bytes);
		for (size_t len = 0; len < 16; len++)
			assert_int_equal(
				connect_head_size(bytes_first(buf_bytes(&bytes), len), &size, NULL),
				E_AGAIN);
		assert_int_equal(connect_head_size(buf_bytes(&bytes), &size, NULL), 0);
		assert_int_equal(size, bytes.len);
		if (is_request) {
			assert_int_equal(connect_get_request(buf_bytes(&bytes), &head, NULL), 0);
			assert_text(head.dest, vector_text(decoded, "dest"));
			assert_int_equal(head.kind,
					 json_integer_value(json_object_get(decoded, "type")));
		} else {
			assert_int_equal(connect_get_response(buf_bytes(&bytes), &head, NULL), 0);
			assert_text(head.error, vector_text(decoded, "error"));
		}
		assert_int_equal(head.pairs.count, json_array_size(metadata));
		for (uint32_t k = 0; k < head.pairs.count; k++) {
			assert_int_equal(connect_pair_at(&head, k, &pairs[k]), 0);
			check_pair(&pairs[k], json_array_get(metadata, k));
		}
		if (is_request)
			assert_int_equal(connect_put_request(&again, head.kind, head.dest, pairs,
							     head.pairs.count),
					 0);
		else
			assert_int_equal(
				connect_put_response(&again, head.error, pairs, head.pairs.count),
				0);
		/* Without pairs stock writes an empty list in one place and null in another: ours is null. */
		if (head.pairs.count || !head.error.len)
			assert_bytes_equal(buf_bytes(&again), buf_bytes(&bytes));
		buf_done(&bytes);
		buf_done(&again);
		count++;
	}
	assert_int_equal(count, 12);
	json_decref(vectors);
}

static void streams_are_told_by_their_signature(void **state)
{
	enum connect_stream stream;
	struct buf out;
	size_t size;

	buf_init(&out, 64);
	assert_int_equal(connect_put_rpc_signature(&out), 0);
	assert_int_equal(connect_stream_of(bytes_first(buf_bytes(&out), 5), &stream), E_AGAIN);
	assert_int_equal(connect_stream_of(buf_bytes(&out), &stream), 0);
	assert_int_equal(stream, CONNECT_STREAM_RPC);
	assert_int_equal(connect_head_size(buf_bytes(&out), &size, NULL), E_PROTOCOL);
	assert_int_equal(connect_stream_of(BYTES_LIT("GET / HTTP"), &stream), 0);
	assert_int_equal(stream, CONNECT_STREAM_UNKNOWN);
	buf_done(&out);
}

static int get_request(enum connect_kind kind, const struct connect_pair *pairs, size_t count,
		       struct connect_pair *ret_first)
{
	struct connect_head head;
	struct buf out;

	buf_init(&out, BYTES);
	assert_int_equal(connect_put_request(&out, kind, BYTES_LIT("x"), pairs, count), 0);
	int rc = connect_get_request(buf_bytes(&out), &head, NULL);
	if (rc == 0 && count)
		rc = connect_pair_at(&head, 0, ret_first);
	buf_done(&out);
	return rc;
}

static void malformed_heads_are_refused(void **state)
{
	struct connect_pair first;
	struct connect_pair colon = { .key = CONNECT_FIELD, .name = BYTES_LIT("A:B") };

	assert_int_equal(get_request(3, NULL, 0, &first), E_PROTOCOL);
	assert_int_equal(get_request(CONNECT_HTTP, &colon, 1, &first), E_PROTOCOL);
}

static void heads_are_bounded(void **state)
{
	static struct connect_pair many[CONNECT_PAIRS + 1];
	struct connect_head head;
	struct buf out;
	size_t size;

	buf_init(&out, BYTES);
	assert_int_equal(connect_put_response(&out, BYTES_NONE, many, CONNECT_PAIRS + 1), E_LIMIT);
	assert_int_equal(out.len, 0);
	assert_int_equal(connect_put_response(&out, BYTES_NONE, many, CONNECT_PAIRS), 0);
	assert_int_equal(connect_get_response(buf_bytes(&out), &head, NULL), 0);
	buf_clear(&out);
	hex_append(&out, "0a36cd12a13e30310000000000000100");
	assert_int_equal(connect_head_size(buf_bytes(&out), &size, NULL), E_LIMIT);
	buf_done(&out);

	/* A list of many more, in a frame of its own. */
	struct capnp_writer w;
	buf_init(&out, BYTES);
	assert_int_equal(buf_append_str(&out, "\x0a\x36\xcd\x12\xa1\x3e"
					      "01"),
			 0);
	struct capnp_ref root = capnp_begin(&w, &out, 0, 2);
	capnp_put_struct_list(&w, root, 1, CONNECT_PAIRS + 1, 0, 2);
	assert_int_equal(capnp_end(&w), 0);
	assert_int_equal(connect_get_response(buf_bytes(&out), &head, NULL), E_LIMIT);
	buf_done(&out);
	buf_init(&out, 20);
	assert_int_equal(connect_put_response(&out, BYTES_LIT("why"), NULL, 0), E_LIMIT);
	assert_int_equal(out.len, 0);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_decodes_and_encodes_to_the_same_bytes),
		cmocka_unit_test(streams_are_told_by_their_signature),
		cmocka_unit_test(malformed_heads_are_refused),
		cmocka_unit_test(heads_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
