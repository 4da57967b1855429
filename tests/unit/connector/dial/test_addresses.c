/* Addresses that nobody has to be asked for: loopback has a route to all of 127.0.0.0/8, so they are usable; what
 * needs a name server is in the end-to-end tests. */
#include "unit/io/turns.h"

#include "connector/dial/addresses.h"
#include "connector/dial/proxy.h"

static struct edge_pool *pool;
static int changes;

static void on_change(void *ctx)
{
	changes++;
	happened();
}

static int stop(void **state)
{
	pool = edge_pool_free(pool);
	return free_loop(state);
}

static void open_pool(char *const *edges, size_t count, int family)
{
	const struct edge_pool_options options = {
		.edges = edges,
		.edge_count = count,
		.family = family,
	};

	changes = 0;
	pool = edge_pool_new(loop, &options, on_change, NULL);
}

#define OPEN(family, ...)                                                                      \
	open_pool((char *const[]){ __VA_ARGS__ }, ARRAY_LEN(((char *const[]){ __VA_ARGS__ })), \
		  family)

#define E(text) ((char *)(text))

static const char *text_of(const struct edge_place *p)
{
	static char text[ADDRESS_TEXT_SIZE];

	return p->address.len ? address_text(&p->address, text) : p->name;
}

static struct edge_place picked[8];

static size_t pick_at(unsigned index, const struct edge_place *last, bool avoid_last,
		      const struct edge_place *const *others, size_t other_count)
{
	const struct edge_wish wish = {
		.index = index,
		.last = last,
		.avoid_last = avoid_last,
		.others = others,
		.other_count = other_count,
	};

	return edge_pool_pick(pool, &wish, picked, 3);
}

static void literals_are_known_at_once(void **state)
{
	OPEN(AF_UNSPEC, E("127.0.0.1:1"), E("127.0.0.1:1"), E("127.0.0.2:2"), E("127.0.0.3"));
	assert_int_equal(edge_pool_count(pool), 3); /* each once */
	assert_string_equal(text_of(edge_pool_place(pool, 0)), "127.0.0.1:1");
	assert_string_equal(text_of(edge_pool_place(pool, 2)), "127.0.0.3:7844");
	assert_int_equal(edge_pool_error(pool)->code, 0);
	/* Nothing to look up: asking for it does nothing. */
	edge_pool_refresh(pool, true);
	let_it_turn();
	assert_int_equal(changes, 0);
}

static void a_family_that_is_not_wanted_is_no_place(void **state)
{
	OPEN(AF_INET6, E("127.0.0.1:1"), E("[::1]:1"));
	assert_int_equal(edge_pool_count(pool), 1);
	assert_string_equal(text_of(edge_pool_place(pool, 0)), "[::1]:1");
	assert_string_equal(edge_pool_error(pool)->text, "127.0.0.1 has no IPv6 address");
}

static void connections_are_spread(void **state)
{
	const struct edge_place *others[4];
	static struct edge_place places[4];

	OPEN(AF_UNSPEC, E("127.0.0.1:1"), E("127.0.0.2:1"), E("127.0.0.3:1"));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pick_at(i, NULL, false, others, i), 3);
		places[i] = picked[0];
		others[i] = &places[i];
	}
	for (unsigned i = 0; i < 3; i++)
		for (unsigned k = 0; k < i; k++)
			assert_false(edge_place_eq(&places[i], &places[k]));
	/* Once it has a place, it comes back there. */
	assert_true(pick_at(1, &places[1], false,
			    (const struct edge_place *const[]){ others[0], others[2] }, 2) > 0);
	assert_true(edge_place_eq(&picked[0], &places[1]));
	/* Unless it is to go elsewhere. */
	assert_true(pick_at(1, &places[1], true, NULL, 0) > 0);
	assert_false(edge_place_eq(&picked[0], &places[1]));
}

static void families_alternate(void **state)
{
	OPEN(AF_UNSPEC, E("localhost:1"));
	assert_int_equal(edge_pool_count(pool), 2);
	struct address six = edge_pool_place(pool, 0)->address;
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool has_six = fd >= 0 && connect(fd, &six.any, six.len) == 0;
	close(fd);
	if (!has_six)
		skip();
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pick_at(i, NULL, false, NULL, 0), 2);
		assert_int_equal(picked[0].address.any.sa_family, i % 2 ? AF_INET : AF_INET6);
		/* The other one is raced. */
		assert_int_equal(picked[1].address.any.sa_family, i % 2 ? AF_INET6 : AF_INET);
	}
	pool = edge_pool_free(pool);
	/* With several of a family the other one still comes second. */
	OPEN(AF_UNSPEC, E("127.0.0.1:1"), E("127.0.0.2:1"), E("127.0.0.3:1"), E("[::1]:1"));
	assert_int_equal(pick_at(0, NULL, false, NULL, 0), 3);
	assert_int_equal(picked[0].address.any.sa_family, AF_INET);
	assert_int_equal(picked[1].address.any.sa_family, AF_INET6);
	assert_int_equal(picked[2].address.any.sa_family, AF_INET);
}

static void what_failed_is_tried_last_until_it_works(void **state)
{
	struct edge_place first, second;

	OPEN(AF_UNSPEC, E("127.0.0.1:1"), E("127.0.0.2:1"), E("127.0.0.3:1"));
	first = *edge_pool_place(pool, 0);
	second = *edge_pool_place(pool, 1);
	edge_pool_failed(pool, &first);
	assert_int_equal(pick_at(0, &first, false, NULL, 0), 3);
	assert_string_equal(text_of(&picked[0]), "127.0.0.2:1");
	assert_string_equal(text_of(&picked[2]), "127.0.0.1:1");
	edge_pool_failed(pool, &second);
	edge_pool_failed(pool, edge_pool_place(pool, 2));
	assert_int_equal(pick_at(0, NULL, false, NULL, 0), 3); /* all failed: none is left out */
	edge_pool_worked(pool, &second);
	assert_int_equal(pick_at(0, NULL, false, NULL, 0), 3);
	assert_string_equal(text_of(&picked[0]), "127.0.0.2:1");
}

static void what_has_no_route_is_tried_last(void **state)
{
	/* No host has a route to multicast of an unknown scope; IPv4's class E is refused by the kernel. */
	OPEN(AF_UNSPEC, E("255.255.255.255:1"), E("127.0.0.1:1"));
	assert_int_equal(pick_at(0, NULL, false, NULL, 0), 2);
	assert_string_equal(text_of(&picked[0]), "127.0.0.1:1");
}

static void a_proxy_that_resolves_is_given_names(void **state)
{
	static char *const edges[] = { E("edge.invalid:7844"), E("127.0.0.1:1") };
	struct arena arena;
	struct proxy proxy;
	struct edge_pool_options options = { .edges = edges, .edge_count = 2, .proxy = &proxy };

	arena_init(&arena);
	assert_int_equal(proxy_parse(&arena, "http://proxy:3128", "X", &proxy, NULL), 0);
	pool = edge_pool_new(loop, &options, on_change, NULL);
	assert_int_equal(edge_pool_count(pool), 2);
	assert_true(edge_pool_place(pool, 0)->is_proxied);
	assert_int_equal(edge_pool_place(pool, 0)->address.len, 0);
	assert_false(edge_pool_place(pool, 1)->is_proxied); /* loopback */
	assert_int_equal(pick_at(0, NULL, false, NULL, 0), 1);
	assert_string_equal(text_of(&picked[0]), "edge.invalid:7844");
	pool = edge_pool_free(pool);

	options.always_proxied = true;
	assert_int_equal(proxy_parse(&arena, "socks5://proxy", "X", &proxy, NULL), 0);
	options.edges = &edges[1];
	options.edge_count = 1;
	pool = edge_pool_new(loop, &options, on_change, NULL);
	assert_true(edge_pool_place(pool, 0)->is_proxied);
	assert_string_equal(text_of(edge_pool_place(pool, 0)), "127.0.0.1:1");
	arena_done(&arena);
}

static void a_look_up_ends_on_the_loop(void **state)
{
	OPEN(AF_UNSPEC, E("no such name:1"), E("127.0.0.1:1"));
	assert_int_equal(edge_pool_count(pool), 0);
	edge_pool_refresh(pool, false);
	edge_pool_refresh(pool, false); /* one is under way */
	WAIT_FOR(changes == 1);
	assert_int_equal(edge_pool_count(pool), 1); /* of the other entry */
	assert_int_equal(edge_pool_error(pool)->code, E_NOT_FOUND);
	assert_true(edge_pool_has(pool, edge_pool_place(pool, 0)));
	/* Not again at once, but a second later. */
	edge_pool_refresh(pool, false);
	let_it_turn();
	assert_int_equal(changes, 1);
	WAIT_FOR(changes == 2);
}

static void a_look_up_may_outlive_the_pool(void **state)
{
	static char *const edges[] = { E("no such name:1") }; /* outlives the loop */

	open_pool(edges, ARRAY_LEN(edges), AF_UNSPEC);
	edge_pool_refresh(pool, false);
	pool = edge_pool_free(pool);
	let_it_turn();
	assert_int_equal(changes, 0);
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, make_loop, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(literals_are_known_at_once),
		ON_LOOP(a_family_that_is_not_wanted_is_no_place),
		ON_LOOP(connections_are_spread),
		ON_LOOP(families_alternate),
		ON_LOOP(what_failed_is_tried_last_until_it_works),
		ON_LOOP(what_has_no_route_is_tried_last),
		ON_LOOP(a_proxy_that_resolves_is_given_names),
		ON_LOOP(a_look_up_ends_on_the_loop),
		ON_LOOP(a_look_up_may_outlive_the_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
