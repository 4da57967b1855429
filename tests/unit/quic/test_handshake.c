/* Getting a connection, or not. */
#include "ends.h"

static void both_ends_are_up_and_know_each_other(void **state)
{
	connect_over(NULL);
	assert_int_equal(at_client->ready, 1);
	assert_true(bytes_eq(quic_conn_alpn(at_client->conn), BYTES_LIT("test")));
	assert_true(bytes_eq(quic_conn_alpn(at_server->conn), BYTES_LIT("test")));
	assert_true(bytes_eq(quic_conn_server_name(at_server->conn), BYTES_LIT("quic.test")));
	assert_int_equal(address_port(quic_conn_peer(at_server->conn)), address_port(&client.address));
	assert_int_equal(address_port(quic_conn_peer(at_client->conn)), address_port(&server.address));
	assert_int_equal(address_port(quic_conn_local(at_client->conn)), address_port(&client.address));
	assert_int_equal(quic_endpoint_connection_count(server.endpoint), 1);
	assert_int_equal(at_client->available, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_ends_are_up_and_know_each_other),
	};
	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
