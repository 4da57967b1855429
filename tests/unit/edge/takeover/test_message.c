#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "edge/takeover/message.h"
#include "edge/tunnels/quic_relay.h"

static struct arena arena;
static struct err err;

static int setup(void **state)
{
	arena_init(&arena);
	err = (struct err){ 0 };
	return 0;
}

static int teardown(void **state)
{
	arena_done(&arena);
	return 0;
}

static int read_text(const char *text, struct takeover_message *ret)
{
	return takeover_message_read(bytes_str(text), &arena, ret, &err);
}

static void sockets_survive_the_way(void **state)
{
	const struct takeover_message m = {
		.type = TAKEOVER_SOCKETS,
		.sockets = {
			{ "https", "127.0.0.1:443", SOCKET_STREAM, true },
			{ "https", "127.0.0.1:443", SOCKET_STREAM, false },
			{ "packets", "range:2", SOCKET_PAIR, true },
		},
		.socket_count = 3,
	};
	struct takeover_message read;
	struct buf text;

	buf_init(&text, TAKEOVER_MESSAGE_BYTES);
	assert_int_equal(takeover_message_print(&m, &text), 0);
	assert_int_equal(takeover_message_read(buf_bytes(&text), &arena, &read, &err), 0);
	assert_int_equal(read.type, TAKEOVER_SOCKETS);
	assert_int_equal(read.socket_count, 3);
	assert_string_equal(read.sockets[2].address, "range:2");
	assert_int_equal(read.sockets[2].kind, SOCKET_PAIR);
	assert_true(read.sockets[0].is_first);
	assert_false(read.sockets[1].is_first);
	buf_done(&text);
}

static void unknown_members_are_ignored(void **state)
{
	struct takeover_message m;

	assert_int_equal(
		read_text("{\"type\":\"all\",\"count\":3,\"generation\":9,\"new\":[1]}", &m), 0);
	assert_int_equal(m.count, 3);
	assert_int_equal(m.generation, 9);
}

static void nonsense_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{}",
		"{\"type\":1}",
		"{\"type\":\"helloo\"}",
		"{\"type\":\"state\"}",
		"{\"type\":\"state\",\"text\":7}",
		"{\"type\":\"sockets\"}",
		"{\"type\":\"sockets\",\"sockets\":{}}",
		"{\"type\":\"sockets\",\"sockets\":[1]}",
		"{\"type\":\"sockets\",\"sockets\":[{\"for\":\"a\",\"address\":\"b\",\"kind\":\"c\"}]}",
		"{\"type\":\"ready\",\"type\":\"hello\"}",
	};
	struct takeover_message m;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_int_equal(read_text(texts[i], &m), E_PARSE);
}

static void more_sockets_than_descriptors_are_refused(void **state)
{
	struct takeover_message m;
	struct buf text;

	buf_init(&text, TAKEOVER_MESSAGE_BYTES);
	assert_int_equal(buf_append_str(&text, "{\"type\":\"sockets\",\"sockets\":["), 0);
	for (int i = 0; i <= LOCAL_CHANNEL_FDS; i++)
		assert_int_equal(
			buf_printf(&text, "%s{\"for\":\"a\",\"address\":\"b\",\"kind\":\"stream\"}",
				   i ? "," : ""),
			0);
	assert_int_equal(buf_append_str(&text, "]}"), 0);
	assert_int_equal(takeover_message_read(buf_bytes(&text), &arena, &m, &err), E_LIMIT);
	buf_done(&text);
}

static void a_path_that_is_no_utf8_cannot_be_said(void **state)
{
	const struct takeover_message m = {
		.type = TAKEOVER_SOCKETS,
		.sockets = { { "admin", "unix:/\xff", SOCKET_STREAM, true } },
		.socket_count = 1,
	};
	struct buf text;

	buf_init(&text, TAKEOVER_MESSAGE_BYTES);
	assert_int_equal(takeover_message_print(&m, &text), E_INVALID);
	buf_done(&text);
}

static void packets_survive_the_way(void **state)
{
	struct relayed_packet p = { .number = 1, .worker = 63, .ecn = 2, .data = BYTES_LIT("@x") };
	struct relayed_packet read;
	uint8_t message[RELAYED_HEAD_BYTES + 2];

	assert_int_equal(address_parse(BYTES_LIT("[fe80::1]:4433"), &p.from, NULL), 0);
	assert_int_equal(address_parse(BYTES_LIT("127.0.0.1:7844"), &p.to, NULL), 0);
	size_t len = relayed_packet_write(&p, message, sizeof(message));
	assert_true(len > 0);
	assert_true(relayed_packet_read(bytes_of(message, len), &read));
	assert_int_equal(read.worker, 63);
	assert_int_equal(read.ecn, 2);
	assert_int_equal(read.from.len, p.from.len);
	assert_memory_equal(&read.from.v6.sin6_addr, &p.from.v6.sin6_addr, 16);
	assert_int_equal(address_port(&read.to), 7844);
	assert_true(bytes_eq(read.data, p.data));
	for (size_t cut = 0; cut + 2 <= len; cut++)
		assert_false(relayed_packet_read(bytes_of(message, cut), &read));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sockets_survive_the_way, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_members_are_ignored, setup, teardown),
		cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(more_sockets_than_descriptors_are_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_path_that_is_no_utf8_cannot_be_said, setup,
						teardown),
		cmocka_unit_test_setup_teardown(packets_survive_the_way, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
