/* Messages of the kernel as bytes; what a real kernel sends, the end-to-end tests show. */
#include "unit/io/turns.h"

#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "io/host_watch.h"

static struct host_links links;

static union {
	struct nlmsghdr align;
	uint8_t bytes[4096];
} message;
static size_t len;

static int stop(void **state)
{
	host_links_done(&links);
	return 0;
}

static void *add(uint16_t type, uint16_t flags, size_t size)
{
	struct nlmsghdr *h = (void *)(message.bytes + len);

	assert_true(len + NLMSG_SPACE(size) <= sizeof(message));
	memset(h, 0, NLMSG_SPACE(size));
	*h = (struct nlmsghdr){
		.nlmsg_len = (uint32_t)NLMSG_LENGTH(size),
		.nlmsg_type = type,
		.nlmsg_flags = flags,
	};
	len += NLMSG_SPACE(size);
	return NLMSG_DATA(h);
}

static int parse(void)
{
	int changes = host_parse_netlink(&links, bytes_of(message.bytes, len));

	len = 0;
	return changes;
}

static int link_message(uint16_t type, int index, unsigned flags)
{
	struct ifinfomsg *m = add(type, 0, sizeof(*m));

	m->ifi_index = index;
	m->ifi_flags = flags;
	return parse();
}

static int address_message(uint16_t type, uint8_t scope, uint8_t flags)
{
	struct ifaddrmsg *m = add(type, 0, sizeof(*m));

	m->ifa_scope = scope;
	m->ifa_flags = flags;
	return parse();
}

static int route_message(uint16_t type, uint16_t nl_flags, uint8_t kind, uint8_t table)
{
	struct rtmsg *m = add(type, nl_flags, sizeof(*m));

	m->rtm_type = kind;
	m->rtm_table = table;
	return parse();
}

static void a_link_counts_when_it_changes(void **state)
{
	const unsigned up = IFF_UP | IFF_RUNNING;

	assert_int_equal(link_message(RTM_NEWLINK, 2, up), NETWORK_GAINED);
	/* Wireless links tell of themselves all the time. */
	assert_int_equal(link_message(RTM_NEWLINK, 2, up), 0);
	assert_int_equal(link_message(RTM_NEWLINK, 2, IFF_UP), NETWORK_LOST); /* the cable is out */
	assert_int_equal(link_message(RTM_NEWLINK, 2, IFF_UP), 0);
	assert_int_equal(link_message(RTM_NEWLINK, 2, up), NETWORK_GAINED);
	assert_int_equal(link_message(RTM_DELLINK, 2, up), NETWORK_LOST);
	assert_int_equal(links.count, 0);
	assert_int_equal(link_message(RTM_NEWLINK, 3, IFF_UP), NETWORK_LOST); /* who knows */
	assert_int_equal(link_message(RTM_DELLINK, 3, 0), 0);
	assert_int_equal(link_message(RTM_NEWLINK, 1, up | IFF_LOOPBACK), 0);
}

static void an_address_counts_once_it_can_be_used(void **state)
{
	assert_int_equal(address_message(RTM_NEWADDR, RT_SCOPE_UNIVERSE, 0), NETWORK_GAINED);
	assert_int_equal(address_message(RTM_NEWADDR, RT_SCOPE_UNIVERSE, IFA_F_TENTATIVE), 0);
	assert_int_equal(address_message(RTM_NEWADDR, RT_SCOPE_HOST, 0), 0);
	assert_int_equal(address_message(RTM_DELADDR, RT_SCOPE_UNIVERSE, 0), NETWORK_LOST);
}

static void a_route_counts_unless_it_is_the_kernels_own(void **state)
{
	assert_int_equal(route_message(RTM_NEWROUTE, 0, RTN_UNICAST, RT_TABLE_MAIN), NETWORK_GAINED);
	assert_int_equal(route_message(RTM_DELROUTE, 0, RTN_UNICAST, RT_TABLE_MAIN), NETWORK_LOST);
	assert_int_equal(route_message(RTM_NEWROUTE, NLM_F_REPLACE, RTN_UNICAST, RT_TABLE_MAIN),
			 NETWORK_GAINED | NETWORK_LOST);
	assert_int_equal(route_message(RTM_NEWROUTE, 0, RTN_LOCAL, RT_TABLE_LOCAL), 0);
	assert_int_equal(route_message(RTM_NEWROUTE, 0, RTN_UNICAST, RT_TABLE_LOCAL), 0);
}

static void several_messages_come_in_one_datagram(void **state)
{
	struct rtmsg *gone = add(RTM_DELROUTE, 0, sizeof(*gone));

	gone->rtm_type = RTN_UNICAST;
	gone->rtm_table = RT_TABLE_MAIN;
	(void)add(NLMSG_NOOP, 0, 3);
	(void)add(RTM_NEWADDR, 0, sizeof(struct ifaddrmsg));
	assert_int_equal(parse(), NETWORK_GAINED | NETWORK_LOST);
}

static void cut_messages_mean_nothing(void **state)
{
	struct nlmsghdr *h;

	(void)add(RTM_NEWADDR, 0, 2);
	(void)add(RTM_NEWLINK, 0, 0);
	(void)add(RTM_NEWROUTE, 0, 1);
	assert_int_equal(parse(), 0);
	(void)add(RTM_NEWADDR, 0, sizeof(struct ifaddrmsg));
	h = &message.align;
	h->nlmsg_len = 3;
	assert_int_equal(parse(), 0);
	(void)add(RTM_NEWADDR, 0, sizeof(struct ifaddrmsg));
	h->nlmsg_len += 4;
	assert_int_equal(parse(), 0);
}

static void the_host_has_its_addresses_and_routes(void **state)
{
	struct address own, foreign, six;

	assert_true(address_from_ip(BYTES_LIT("127.0.0.1"), 1234, &own));
	assert_true(address_from_ip(BYTES_LIT("203.0.113.7"), 1234, &foreign));
	assert_true(address_from_ip(BYTES_LIT("::1"), 0, &six));
	assert_true(host_has_address(&own));
	assert_false(host_has_address(&foreign));
	assert_true(host_has_route(&own, NULL));
	assert_true(host_has_route(&own, &own));
	assert_false(host_has_route(&own, &foreign));
	assert_false(host_has_route(&own, &six));
}

static void on_change(void *ctx, int changes)
{
}

static void a_watch_comes_and_goes(void **state)
{
	struct host_watch *w = host_watch_new(loop, on_change, NULL);

	assert_non_null(w);
	let_it_turn();
	assert_null(host_watch_free(w));
	assert_null(host_watch_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_link_counts_when_it_changes, stop),
		cmocka_unit_test(an_address_counts_once_it_can_be_used),
		cmocka_unit_test(a_route_counts_unless_it_is_the_kernels_own),
		cmocka_unit_test(several_messages_come_in_one_datagram),
		cmocka_unit_test_teardown(cut_messages_mean_nothing, stop),
		cmocka_unit_test(the_host_has_its_addresses_and_routes),
		cmocka_unit_test_setup_teardown(a_watch_comes_and_goes, make_loop, free_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
