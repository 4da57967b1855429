#include "turns.h"

#include <netinet/udp.h>
#include <sys/ioctl.h>

#include "base/limits.h"
#include "io/udp.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { MANY = 2000, PACKET = 1500 };

static struct udp_packet got[MANY];
static uint8_t stored[MANY][PACKET];
static size_t got_count, most_in_a_turn, in_this_turn, writable_count;
static struct deferred end_of_turn;
static struct address unreachable;
static int unreachable_errno;
static struct udp_socket *a, *b;
static bool frees_in_event;

static void on_end_of_turn(struct deferred *d)
{
	if (in_this_turn > most_in_a_turn)
		most_in_a_turn = in_this_turn;
	in_this_turn = 0;
}

static void on_packets(void *ctx, const struct udp_packet *packets, size_t count)
{
	assert_ptr_equal(ctx, got);
	in_this_turn += count;
	loop_defer_flush(loop, &end_of_turn);
	for (size_t i = 0; i < count; i++) {
		assert_true(got_count < MANY && packets[i].data.len <= PACKET);
		got[got_count] = packets[i];
		memcpy(stored[got_count], packets[i].data.ptr, packets[i].data.len);
		got[got_count].data.ptr = stored[got_count];
		got_count++;
	}
	if (frees_in_event)
		b = udp_free(b);
	happened();
}

static void on_writable(void *ctx)
{
	writable_count++;
	happened();
}

static void on_unreachable(void *ctx, const struct address *to, int sys_errno)
{
	unreachable = *to;
	unreachable_errno = sys_errno;
	happened();
}

static const struct udp_events plain = { .on_packets = on_packets, .on_writable = on_writable };
static const struct udp_events with_errors = { on_packets, on_writable, on_unreachable };

static int start(void **state)
{
	got_count = most_in_a_turn = in_this_turn = writable_count = 0;
	unreachable_errno = 0;
	frees_in_event = false;
	deferred_init(&end_of_turn, on_end_of_turn);
	return make_loop(state);
}

static int stop(void **state)
{
	a = udp_free(a);
	b = udp_free(b);
	return free_loop(state);
}

static int open_on(const char *text, struct address *ret)
{
	struct err err = { 0 };

	assert_int_equal(address_parse(bytes_str(text), ret, NULL), 0);
	int fd = udp_open(ret, false, &err);
	if (fd < 0)
		fail_msg("%s", err.text);
	return fd;
}

static struct udp_socket *socket_on(const char *text, struct address *ret,
				    const struct udp_events *events)
{
	return udp_new(loop, open_on(text, ret), events, got);
}

static void assert_ip(const struct address *address, const char *ip)
{
	char text[ADDRESS_TEXT_SIZE];

	assert_string_equal(address_ip_text(address, text), ip);
}

static ssize_t send_to(struct udp_socket *s, const struct address *to, uint8_t ecn, const char *text)
{
	return udp_send(s, NULL, to, ecn, bytes_str(text), strlen(text), NULL);
}

static void a_packet_arrives_with_its_addresses_and_ecn(void **state)
{
	struct address at_a, at_b;

	a = socket_on("127.0.0.1:0", &at_a, &plain);
	b = socket_on("0.0.0.0:0", &at_b, &plain);
	assert_true(address_port(&at_a) && address_port(udp_local(b)) == address_port(&at_b));
	at_b.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 5);
	assert_int_equal(send_to(a, &at_b, 2, "hello"), 5);
	WAIT_FOR(got_count == 1);
	assert_true(bytes_eq(got[0].data, BYTES_LIT("hello")));
	assert_memory_equal(&got[0].from.v4, &at_a.v4, sizeof(at_a.v4));
	assert_ip(&got[0].to, "127.0.0.6");
	assert_int_equal(address_port(&got[0].to), address_port(&at_b));
	assert_int_equal(got[0].ecn, 2);

	assert_int_equal(send_to(a, &at_b, 0, "again"), 5);
	WAIT_FOR(got_count == 2);
	assert_int_equal(got[1].ecn, 0);
}

static void small_packets_come_and_go_many_at_once(void **state)
{
	enum { COUNT = 150, BYTES = 64 };
	static char text[COUNT][16], large[BYTES + 1];
	static struct udp_message messages[COUNT + 1];
	struct address at_a, at_b, from = { 0 };
	size_t right = 0;

	a = socket_on("0.0.0.0:0", &at_a, &plain);
	int fd = open_on("0.0.0.0:0", &at_b);
	b = udp_new_small(loop, fd, BYTES, &plain, got);
	assert_true(udp_is_any(b));
	at_b.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 7);
	assert_int_equal(address_parse(BYTES_LIT("127.0.0.9:0"), &from, NULL), 0);
	for (int i = 0; i < COUNT; i++) {
		snprintf(text[i], sizeof(text[i]), "%d", i);
		messages[i] = (struct udp_message){ &from, &at_b, bytes_str(text[i]) };
	}
	/* Too large for the other side: nobody hears of it. */
	messages[COUNT] = (struct udp_message){ NULL, &at_b, bytes_of(large, sizeof(large)) };
	udp_send_many(a, messages, COUNT + 1);
	WAIT_FOR(got_count == COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		assert_ip(&got[i].from, "127.0.0.9");
		assert_ip(&got[i].to, "127.0.0.8");
		right += bytes_eq(got[i].data, bytes_str(text[i]));
	}
	assert_int_equal(right, COUNT);
}

static void a_packet_of_no_bytes_is_one(void **state)
{
	struct address at_a, at_b;

	a = socket_on("127.0.0.1:0", &at_a, &plain);
	b = socket_on("127.0.0.1:0", &at_b, &plain);
	assert_int_equal(udp_send_empty(a, NULL, &at_b, NULL), 0);
	assert_int_equal(send_to(a, &at_b, 0, "after"), 5);
	WAIT_FOR(got_count == 2);
	assert_int_equal(got[0].data.len, 0);
	assert_int_equal(address_port(&got[0].from), address_port(&at_a));
	assert_true(bytes_eq(got[1].data, BYTES_LIT("after")));
}

static void an_answer_leaves_from_the_address_that_was_asked(void **state)
{
	struct address at_a, at_b;

	a = socket_on("127.0.0.1:0", &at_a, &plain);
	b = socket_on("0.0.0.0:0", &at_b, &plain);
	at_b.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 8);
	send_to(a, &at_b, 1, "ask");
	WAIT_FOR(got_count == 1);
	struct address from = got[0].to, to = got[0].from;
	assert_int_equal(udp_send(b, &from, &to, 1, BYTES_LIT("answer"), 6, NULL), 6);
	WAIT_FOR(got_count == 2);
	assert_ip(&got[1].from, "127.0.0.9");
	assert_int_equal(got[1].ecn, 1);
}

static void ipv6_and_ipv4_share_a_socket(void **state)
{
	struct address at_a, at_b, at_6;

	a = socket_on("127.0.0.1:0", &at_a, &plain);
	b = socket_on("[::]:0", &at_b, &plain);
	struct address to = at_a;
	to.v4.sin_port = at_b.v6.sin6_port;
	send_to(a, &to, 2, "four");
	WAIT_FOR(got_count == 1);
	assert_ip(&got[0].from, "127.0.0.1");
	assert_ip(&got[0].to, "127.0.0.1");
	assert_int_equal(got[0].ecn, 2);
	/* Back, with everything: our address, ECN, several segments. */
	struct address back_from = got[0].to, back_to = got[0].from;
	assert_int_equal(udp_send(b, &back_from, &back_to, 1, BYTES_LIT("onetwothr4"), 3, NULL), 10);
	WAIT_FOR(got_count == 5);
	assert_true(bytes_eq(got[1].data, BYTES_LIT("one")));
	assert_true(bytes_eq(got[4].data, BYTES_LIT("4")));
	assert_int_equal(got[2].ecn, 1);

	got_count = 0;
	a = udp_free(a);
	a = socket_on("[::1]:0", &at_6, &plain);
	to = at_6;
	to.v6.sin6_port = at_b.v6.sin6_port;
	send_to(a, &to, 3, "six");
	WAIT_FOR(got_count == 1);
	assert_ip(&got[0].to, "::1");
	assert_int_equal(got[0].ecn, 3);
	back_from = got[0].to;
	assert_int_equal(udp_send(b, &back_from, &at_6, 2, BYTES_LIT("xyz"), 1, NULL), 3);
	WAIT_FOR(got_count == 4);
	assert_int_equal(got[3].ecn, 2);
}

static void assert_packets(size_t count, size_t size, size_t last)
{
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(got[i].data.len, i + 1 < count ? size : last);
		for (size_t at = 0; at < got[i].data.len; at++)
			assert_int_equal(stored[i][at], (uint8_t)(i * 7 + at));
	}
}

static void fill(uint8_t *data, size_t count, size_t size)
{
	for (size_t i = 0; i < count; i++)
		for (size_t at = 0; at < size; at++)
			data[i * size + at] = (uint8_t)(i * 7 + at);
}

static uint8_t data[200 * 1200];

static void segments_are_packets_of_their_own(void **state)
{
	struct address at_a, at_b;

	a = socket_on("127.0.0.1:0", &at_a, &plain);
	b = socket_on("127.0.0.1:0", &at_b, &plain);
	fill(data, 100, 1200);
	size_t size = 99 * 1200 + 700;
	assert_int_equal(udp_send(a, NULL, &at_b, 0, bytes_of(data, size), 1200, NULL), size);
	WAIT_FOR(got_count == 100);
	assert_packets(100, 1200, 700);
}

static void without_gso_segments_leave_one_by_one(void **state)
{
	struct address at_a, at_b;
	int on = 1;

	/* Without checksums the kernel refuses to segment. */
	int fd = open_on("127.0.0.1:0", &at_a);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)), 0);
	a = udp_new(loop, fd, &plain, got);
	b = socket_on("127.0.0.1:0", &at_b, &plain);
	fill(data, 50, 1000);
	for (int round = 0; round < 2; round++) {
		got_count = 0;
		assert_int_equal(udp_send(a, NULL, &at_b, 2, bytes_of(data, 49500), 1000, NULL),
				 49500);
		WAIT_FOR(got_count == 50);
		assert_packets(50, 1000, 500);
		assert_int_equal(got[49].ecn, 2);
	}
}

static void without_gro_packets_arrive_one_by_one(void **state)
{
	struct address at_a, at_b;
	int off = 0;

	a = socket_on("127.0.0.1:0", &at_a, &plain);
	int fd = open_on("127.0.0.1:0", &at_b);
	assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_GRO, &off, sizeof(off)), 0);
	b = udp_new(loop, fd, &plain, got);
	fill(data, 60, 1200);
	udp_send(a, NULL, &at_b, 0, bytes_of(data, 60 * 1200), 1200, NULL);
	WAIT_FOR(got_count == 60);
	assert_packets(60, 1200, 1200);
}

static void a_turn_reads_a_bounded_number_of_packets(void **state)
{
	struct address at_a, at_b;

	a = socket_on("127.0.0.1:0", &at_a, &plain);
	b = socket_on("127.0.0.1:0", &at_b, &plain);
	fill(data, 200, 100);
	for (int i = 0; i < 5; i++)
		udp_send(a, NULL, &at_b, 0, bytes_of(data, 200 * 100), 100, NULL);
	WAIT_FOR(got_count == 1000);
	assert_true(most_in_a_turn >= 200 && most_in_a_turn < LIMIT_UDP_PACKETS_PER_TURN + 4 * 64);
}

static void a_packet_too_large_is_dropped_and_told(void **state)
{
	static uint8_t large[70000];
	struct address at_a, at_b;
	struct err err = { 0 };

	a = socket_on("127.0.0.1:0", &at_a, &plain);
	b = socket_on("127.0.0.1:0", &at_b, &plain);
	assert_int_equal(udp_send(a, NULL, &at_b, 0, bytes_of(large, 65530), 65530, &err), E_LIMIT);
	assert_int_equal(err.code, E_LIMIT);
	assert_int_equal(send_to(a, &at_b, 0, "small"), 5);
	WAIT_FOR(got_count == 1);
}

static void a_full_socket_takes_whole_segments_and_tells_when_there_is_room(void **state)
{
	struct address at_a, at_b;
	int size = 8192, queued = 1;
	bool was_short = false;

	int fd = open_on("127.0.0.1:0", &at_a);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	a = udp_new(loop, fd, &plain, got);
	/* Nobody reads at the far end, which keeps our buffer in use; on loopback the receiver's memory is
	 * charged instead, so this may never fall short there. */
	int far = open_on("127.0.0.1:0", &at_b);
	for (int i = 0; i < 2000 && !was_short; i++) {
		ssize_t n = udp_send(a, NULL, &at_b, 0, bytes_of(data, 100 * 1200), 1200, NULL);
		assert_true(n == 100 * 1200 || (n >= 0 && n % 1200 == 0));
		was_short = n < 100 * 1200;
	}
	if (was_short)
		WAIT_FOR(writable_count == 1);
	assert_int_equal(ioctl(far, FIONREAD, &queued), 0);
	assert_true(queued > 0);
	close(far);
}

static void a_closed_port_is_told_to_who_asks(void **state)
{
	struct address at_a, at_b;

	int gone = open_on("127.0.0.1:0", &at_b);
	close(gone);
	a = socket_on("127.0.0.1:0", &at_a, &with_errors);
	assert_int_equal(send_to(a, &at_b, 0, "anybody?"), 8);
	WAIT_FOR(unreachable_errno != 0);
	assert_int_equal(unreachable_errno, ECONNREFUSED);
	assert_int_equal(address_port(&unreachable), address_port(&at_b));

	/* It is no answer to packets for others, and the socket goes on. */
	b = socket_on("127.0.0.1:0", &at_b, &plain);
	assert_int_equal(send_to(a, &at_b, 0, "you"), 3);
	WAIT_FOR(got_count == 1);
	assert_int_equal(send_to(b, &at_a, 0, "me"), 2);
	WAIT_FOR(got_count == 2);
}

static void an_address_without_a_route_is_an_error(void **state)
{
	struct address at_a, to;
	struct err err = { 0 };

	a = socket_on("127.0.0.1:0", &at_a, &plain);
	address_parse(BYTES_LIT("255.255.255.255:9"), &to, NULL); /* broadcast, not permitted */
	assert_int_equal(udp_send(a, NULL, &to, 0, BYTES_LIT("x"), 1, &err), E_IO);
	assert_true(err.sys_errno != 0);
}

static void a_port_in_use_is_an_error_unless_shared(void **state)
{
	struct address at_a, same;
	struct err err = { 0 };

	address_parse(BYTES_LIT("127.0.0.1:0"), &at_a, NULL);
	int fd = udp_open(&at_a, true, &err);
	assert_true(fd >= 0);
	same = at_a;
	assert_int_equal(udp_open(&same, false, &err), E_IO);
	assert_int_equal(err.sys_errno, EADDRINUSE);
	int second = udp_open(&same, true, &err);
	assert_true(second >= 0);
	close(fd);
	close(second);
	address_parse(BYTES_LIT("unix:/tmp/x"), &same, NULL);
	assert_int_equal(udp_open(&same, true, &err), E_INVALID);
}

static void it_may_be_freed_in_an_event(void **state)
{
	struct address at_a, at_b;

	frees_in_event = true;
	a = socket_on("127.0.0.1:0", &at_a, &plain);
	b = socket_on("127.0.0.1:0", &at_b, &plain);
	fill(data, 200, 100);
	udp_send(a, NULL, &at_b, 0, bytes_of(data, 200 * 100), 100, NULL);
	WAIT_FOR(got_count > 0);
	let_it_turn();
	assert_null(b);
	assert_true(got_count <= 64);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(a_packet_arrives_with_its_addresses_and_ecn),
		TEST(a_packet_of_no_bytes_is_one),
		TEST(small_packets_come_and_go_many_at_once),
		TEST(an_answer_leaves_from_the_address_that_was_asked),
		TEST(ipv6_and_ipv4_share_a_socket),
		TEST(segments_are_packets_of_their_own),
		TEST(without_gso_segments_leave_one_by_one),
		TEST(without_gro_packets_arrive_one_by_one),
		TEST(a_turn_reads_a_bounded_number_of_packets),
		TEST(a_packet_too_large_is_dropped_and_told),
		TEST(a_full_socket_takes_whole_segments_and_tells_when_there_is_room),
		TEST(a_closed_port_is_told_to_who_asks),
		TEST(an_address_without_a_route_is_an_error),
		TEST(a_port_in_use_is_an_error_unless_shared),
		TEST(it_may_be_freed_in_an_event),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
