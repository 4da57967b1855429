/* Serialized heads and meta values: the vectors, and what no stock peer writes. */
#include "unit/wire/vectors.h"
#include "wire/heads.h"

#define BYTES (64 * 1024)

/* Decodes all; the number of pairs or E_PARSE. */
static int decode(struct bytes text, struct arena *a, struct wire_pair *pairs, int max)
{
	struct heads_reader r;
	int count = 0, rc;

	heads_reader_init(&r, text, a);
	while ((rc = heads_next(&r, &pairs[count])) == 1)
		assert_true(++count < max);
	return rc < 0 ? rc : count;
}

static void vectors_decode_and_encode_to_the_same_text(void **state)
{
	json_t *vectors = vectors_load();
	json_t *v;
	size_t i, seen = 0;

	json_array_foreach(vectors, i, v)
	{
		json_t *decoded = json_object_get(v, "decoded");
		json_t *headers = json_object_get(decoded, "headers");
		struct wire_pair pairs[16];
		struct arena a;
		struct buf bytes, again;
		const char *name;
		json_t *values, *value;
		size_t k, at = 0;

		if (!headers || strcmp(vector_text(v, "kind"), "header-value") != 0)
			continue;
		arena_init(&a);
		buf_init(&bytes, BYTES);
		buf_init(&again, BYTES);
		vector_bytes(v, &bytes);
		assert_text(buf_bytes(&bytes), vector_text(decoded, "text"));
		int count = decode(buf_bytes(&bytes), &a, pairs, 16);
		json_object_foreach(headers, name, values)
		{
			json_array_foreach(values, k, value)
			{
				assert_true((int)at < count);
				assert_text(pairs[at].name, name);
				assert_text(pairs[at].value, json_string_value(value));
				at++;
			}
		}
		assert_int_equal(count, at);
		for (int p = 0; p < count; p++)
			assert_int_equal(heads_put(&again, pairs[p].name, pairs[p].value), 0);
		assert_bytes_equal(buf_bytes(&again), buf_bytes(&bytes));
		buf_done(&bytes);
		buf_done(&again);
		arena_done(&a);
		seen++;
	}
	assert_int_equal(seen, 5);
	json_decref(vectors);
}

static void any_bytes_survive_the_round_trip(void **state)
{
	uint8_t blob[256];
	struct wire_pair pairs[64];
	struct arena a;
	struct buf out;

	for (size_t i = 0; i < sizeof(blob); i++)
		blob[i] = (uint8_t)(i * 7 + 3);
	arena_init(&a);
	buf_init(&out, BYTES);
	for (size_t i = 0; i < 30; i++)
		assert_int_equal(heads_put(&out, bytes_of(blob + i, i % 5 + 1), bytes_of(blob, i)),
				 0);
	assert_int_equal(decode(buf_bytes(&out), &a, pairs, 64), 30);
	for (size_t i = 0; i < 30; i++) {
		assert_bytes_equal(pairs[i].name, bytes_of(blob + i, i % 5 + 1));
		assert_bytes_equal(pairs[i].value, bytes_of(blob, i));
	}
	buf_done(&out);
	arena_done(&a);
}

static void malformed_values_are_invalid_as_a_whole(void **state)
{
	static const struct {
		const char *text;
		int want;
	} cases[] = {
		{ "", 0 },
		{ ";;;", 0 },
		{ ";QQ:Qg;;QQ:Qw;", 2 },
		{ ":", 1 }, /* an empty name: whoever validates names refuses it */
		{ "QQ:", 1 },
		{ "QQ", E_PARSE }, /* no colon */
		{ "QQ;QQ:", E_PARSE },
		{ "QQ:Qg:Qg", E_PARSE }, /* two */
		{ "QQ::", E_PARSE },
		{ "Q:Qg", E_PARSE }, /* one character makes no byte */
		{ "QQ:QgQgQ", E_PARSE },
		{ "QQ==:Qg", E_PARSE }, /* padding */
		{ "QQ:Qg==", E_PARSE },
		{ "QR:Qg", E_PARSE }, /* trailing bits */
		{ "QQ:QUF", E_PARSE },
		{ "QQ:Q-Q_", E_PARSE }, /* the other alphabet */
		{ "QQ:Qg ", E_PARSE },
		{ "QQ:Qg,QQ:Qg", E_PARSE },
		{ "QQ:Qg;\xff", E_PARSE },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct wire_pair pairs[8];
		struct arena a;

		arena_init(&a);
		int got = decode(bytes_str(cases[i].text), &a, pairs, 8);
		if (got != cases[i].want)
			fail_msg("\"%s\" gives %d", cases[i].text, got);
		arena_done(&a);
	}
}

static void decoding_agrees_with_the_plain_decoder(void **state)
{
	/* Every length and both alphabets' characters, one byte changed at a time. */
	for (size_t len = 0; len < 12; len++) {
		char text[40] = "QQ:";
		uint8_t raw[12], want[40];
		size_t want_len = 0;

		memset(raw, 0xa5, sizeof(raw));
		size_t size = base64_encode(BASE64_STD_RAW, bytes_of(raw, len), text + 3);
		for (size_t i = 0; i < size; i++) {
			char old = text[3 + i];
			for (int c = 1; c < 256; c++) {
				struct wire_pair pair;
				struct heads_reader r;
				struct arena a;

				if (c == ';' || c == ':')
					continue;
				arena_init(&a);
				text[3 + i] = (char)c;
				bool is_good = base64_decode(
					BASE64_STD_RAW, bytes_of(text + 3, size), want, &want_len);
				heads_reader_init(&r, bytes_of(text, 3 + size), &a);
				assert_int_equal(heads_next(&r, &pair), is_good ? 1 : E_PARSE);
				if (is_good)
					assert_bytes_equal(pair.value, bytes_of(want, want_len));
				arena_done(&a);
			}
			text[3 + i] = old;
		}
	}
}

static void a_full_buffer_is_left_as_it_was(void **state)
{
	struct buf out;

	buf_init(&out, 16);
	assert_int_equal(heads_put(&out, BYTES_LIT("a"), BYTES_LIT("b")), 0);
	assert_int_equal(heads_put(&out, BYTES_LIT("name"), BYTES_LIT("value")), E_LIMIT);
	assert_text(buf_bytes(&out), "YQ:Yg");
	assert_int_equal(heads_put(&out, bytes_of(out.ptr, SIZE_MAX), BYTES_LIT("x")), E_LIMIT);
	buf_done(&out);
}

static void control_names_are_filtered(void **state)
{
	static const struct {
		const char *name;
		bool is_filtered;
	} cases[] = {
		{ ":status", true },
		{ "cf-int-cloudflared-tracing", true },
		{ "CF-Int-X", true },
		{ "Cf-Cloudflared-Response-Meta", true },
		{ "cf-cloudflared-", true },
		{ "cf-proxy-worker", true },
		{ "Cf-Ray", false },
		{ "cf-int", false },
		{ "cf-cloudflared", false },
		{ "content-type", false },
		{ "x-cf-int-y", false },
		{ "c", false },
		{ "", false },
		{ "cf-", false },
		{ "cfxint-a", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(heads_is_filtered(bytes_str(cases[i].name)), cases[i].is_filtered);
}

/* --- Meta ------------------------------------------------------------------------------------ */

static void assert_meta(const char *text, int want, bool from_connector, bool limited,
			const char *adit)
{
	struct heads_meta m = { 0 };
	struct arena a;

	arena_init(&a);
	int rc = heads_get_meta(bytes_str(text), &a, &m);
	if (rc != want)
		fail_msg("%s gives %d", text, rc);
	if (rc == 0) {
		assert_int_equal(m.from_connector, from_connector);
		assert_int_equal(m.flow_rate_limited, limited);
		assert_text(m.adit, adit);
	}
	arena_done(&a);
}

static void meta_of_stock_reads_and_writes(void **state)
{
	static const struct {
		const char *name;
		struct heads_meta meta;
	} cases[] = {
		{ "http2-headers/meta-origin", { .from_connector = false } },
		{ "http2-headers/meta-cloudflared", { .from_connector = true } },
		{ "http2-headers/meta-ratelimited",
		  { .from_connector = true, .flow_rate_limited = true } },
	};
	json_t *vectors = vectors_load();

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf want, out;

		buf_init(&want, BYTES);
		buf_init(&out, BYTES);
		vector_bytes(vector_find(vectors, cases[i].name), &want);
		assert_int_equal(heads_put_meta(&out, &cases[i].meta), 0);
		assert_bytes_equal(buf_bytes(&out), buf_bytes(&want));
		assert_int_equal(buf_append(&out, bytes_of("", 1)), 0);
		assert_meta((const char *)out.ptr, 0, cases[i].meta.from_connector,
			    cases[i].meta.flow_rate_limited, "");
		buf_done(&want);
		buf_done(&out);
	}
	json_decref(vectors);
}

static void meta_of_others_is_read_with_tolerance(void **state)
{
	assert_meta(" {\"new\":[1,{}], \"src\" : \"origin\"}", 0, false, false, "");
	assert_meta("{\"src\":\"cloudflared\",\"flow_rate_limited\":false}", 0, true, false, "");
	assert_meta("{\"src\":\"cloudflared\",\"flow_rate_limited\":\"true\"}", 0, true, false, "");
	assert_meta(
		"{\"src\":\"cloudflared\",\"adit\":{ \"hop\" : \"origin\", \"errno\":\"ECONNREFUSED\"}}",
		0, true, false, "{\"hop\":\"origin\",\"errno\":\"ECONNREFUSED\"}");
	assert_meta("{\"src\":\"cloudflared\",\"adit\":\"text\"}", 0, true, false, "");
	assert_meta("", E_PARSE, 0, 0, "");
	assert_meta("{}", E_PARSE, 0, 0, "");
	assert_meta("[]", E_PARSE, 0, 0, "");
	assert_meta("{\"src\":1}", E_PARSE, 0, 0, "");
	assert_meta("{\"src\":\"Origin\"}", E_PARSE, 0, 0, "");
	assert_meta("{\"src\":\"origin\"} x", E_PARSE, 0, 0, "");
	assert_meta("{\"src\":\"origin\"", E_PARSE, 0, 0, "");
}

static void meta_is_bounded(void **state)
{
	struct heads_meta m;
	struct arena a;
	struct buf text;

	arena_init(&a);
	buf_init(&text, BYTES);
	assert_int_equal(buf_append_str(&text, "{\"src\":\"origin\",\"x\":"), 0);
	while (text.len < HEADS_META_BYTES)
		assert_int_equal(buf_append_str(&text, "["), 0);
	assert_int_equal(heads_get_meta(buf_bytes(&text), &a, &m), E_PARSE);
	assert_int_equal(buf_append_str(&text, "["), 0);
	assert_int_equal(heads_get_meta(buf_bytes(&text), &a, &m), E_LIMIT);
	buf_done(&text);
	arena_done(&a);
}

static void put_meta(const char *adit, const char *want)
{
	struct heads_meta m = { .from_connector = true, .adit = bytes_str(adit) };
	struct buf out;

	buf_init(&out, BYTES);
	assert_int_equal(heads_put_meta(&out, &m), 0);
	assert_text(buf_bytes(&out), want);
	buf_done(&out);
}

static void our_member_passes_only_when_it_can_stand_in_a_header(void **state)
{
	put_meta("{\"hop\":\"origin\"}", "{\"src\":\"cloudflared\",\"adit\":{\"hop\":\"origin\"}}");
	put_meta("", "{\"src\":\"cloudflared\"}");
	put_meta("[1]", "{\"src\":\"cloudflared\"}");
	put_meta("{\"a\":\r\n1}", "{\"src\":\"cloudflared\"}");
	struct buf large;
	buf_init(&large, BYTES);
	assert_int_equal(buf_printf(&large, "{\"a\":\"%*s\"}", HEADS_META_BYTES, "x"), 0);
	assert_int_equal(buf_append(&large, bytes_of("", 1)), 0);
	put_meta((const char *)large.ptr, "{\"src\":\"cloudflared\"}");
	buf_done(&large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_decode_and_encode_to_the_same_text),
		cmocka_unit_test(any_bytes_survive_the_round_trip),
		cmocka_unit_test(malformed_values_are_invalid_as_a_whole),
		cmocka_unit_test(decoding_agrees_with_the_plain_decoder),
		cmocka_unit_test(a_full_buffer_is_left_as_it_was),
		cmocka_unit_test(control_names_are_filtered),
		cmocka_unit_test(meta_of_stock_reads_and_writes),
		cmocka_unit_test(meta_of_others_is_read_with_tolerance),
		cmocka_unit_test(meta_is_bounded),
		cmocka_unit_test(our_member_passes_only_when_it_can_stand_in_a_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
