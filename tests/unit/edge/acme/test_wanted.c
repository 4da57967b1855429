/* Which certificates are ordered, for which zones, routes and settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "edge/acme/wanted.h"

static struct store_zone zones[] = { { .id = { .b = { 1 } }, .name = "example.com" },
				     { .id = { .b = { 2 } }, .name = "example.org" } };
static struct store_route routes[] = {
	{ .hostname = "app.example.com", .zone = { .b = { 1 } } },
	{ .hostname = "x.deep.example.com", .zone = { .b = { 1 } } },
	{ .hostname = "*.example.org", .zone = { .b = { 2 } } },
	{ .hostname = "www.example.org", .zone = { .b = { 2 } } },
};
static struct acme_want_facts facts;

static bool is_com(void *ctx, const char *zone)
{
	(void)ctx;
	return strcmp(zone, "example.com") == 0;
}

static int set_up(void **state)
{
	(void)state;
	facts = (struct acme_want_facts){
		.zones = zones,
		.zone_count = ARRAY_LEN(zones),
		.routes = routes,
		.route_count = ARRAY_LEN(routes),
		.control_host = "adit.example.com",
		.is_authoritative = is_com,
		.has_http = true,
		.now = 1000,
	};
	return 0;
}

/* "name!; name; …": "!" where there is a problem. */
static void assert_wants(const char *wanted)
{
	struct acme_want *list;
	char text[1000] = "";
	size_t count;

	list = acme_wants(&facts, &count);
	for (size_t i = 0; i < count; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s%s%s",
			       i ? "; " : "", list[i].name, list[i].by_dns ? "" : " (direct)",
			       list[i].problem ? "!" : "");
	acme_wants_free(list, count);
	assert_string_equal(text, wanted);
}

static void wildcards_where_our_name_server_answers_names_elsewhere(void **state)
{
	(void)state;
	assert_wants("domain deep.example.com; domain example.com; host *.example.org (direct)!; "
		     "host www.example.org (direct)");
}

static void without_a_name_server_every_name_has_its_own(void **state)
{
	(void)state;
	facts.is_authoritative = NULL;
	assert_wants("host *.example.org (direct)!; host adit.example.com (direct); "
		     "host app.example.com (direct); host www.example.org (direct); "
		     "host x.deep.example.com (direct)");
}

static void what_is_passed_through_needs_none_of_ours(void **state)
{
	static struct store_site sites[] = {
		{ .hostname = (char *)"" },
		{ .hostname = (char *)"*.example.org", .passthrough = (char *)"on" },
		{ .hostname = (char *)"www.example.org", .passthrough = (char *)"off" },
		{ .hostname = (char *)"app.example.com", .passthrough = (char *)"on" },
	};

	(void)state;
	facts.is_authoritative = NULL;
	facts.sites = sites;
	facts.site_count = ARRAY_LEN(sites);
	assert_wants("host adit.example.com (direct); host www.example.org (direct); "
		     "host x.deep.example.com (direct)");
	assert_false(acme_name_is_served(&facts, "host any.example.org"));
	assert_true(acme_name_is_served(&facts, "host www.example.org"));
	assert_false(acme_name_is_served(&facts, "host app.example.com"));
}

static void dns_alone_says_what_it_cannot_do(void **state)
{
	(void)state;
	facts.challenges = ACME_ONLY_DNS_01;
	assert_wants(
		"domain deep.example.com; domain example.com; host *.example.org (direct)!; host www.example.org (direct)!");
}

static void another_method_needs_no_name_server(void **state)
{
	(void)state;
	facts.challenges = ACME_ONLY_HTTP_01;
	assert_wants("host *.example.org (direct)!; host adit.example.com (direct); "
		     "host app.example.com (direct); host www.example.org (direct); "
		     "host x.deep.example.com (direct)");
}

static void a_method_whose_listener_is_off_says_so(void **state)
{
	(void)state;
	facts.challenges = ACME_ONLY_HTTP_01;
	facts.has_http = false;
	facts.route_count = 1;
	assert_wants("host adit.example.com (direct)!; host app.example.com (direct)!");
}

static void a_wildcard_that_fails_again_and_again_leaves_it_to_names(void **state)
{
	const struct store_acme_name known[] = {
		{ .name = (char *)(uintptr_t) "domain example.com",
		  .directory = (char *)(uintptr_t) "",
		  .failures = 2 },
	};

	(void)state;
	facts.known = known;
	facts.known_count = 1;
	assert_wants("domain deep.example.com; domain example.com; host *.example.org (direct)!; "
		     "host adit.example.com (direct); host app.example.com (direct); "
		     "host www.example.org (direct)");
}

static void on_demand_only_what_was_asked_for_and_is_routed(void **state)
{
	const struct store_acme_name known[] = {
		{ .name = (char *)(uintptr_t) "host any.example.org",
		  .directory = (char *)(uintptr_t) "",
		  .is_on_demand = true },
		{ .name = (char *)(uintptr_t) "host a.b.elsewhere.net",
		  .directory = (char *)(uintptr_t) "",
		  .is_on_demand = true },
	};

	(void)state;
	facts.is_on_demand = true;
	facts.known = known;
	facts.known_count = ARRAY_LEN(known);
	assert_wants("domain deep.example.com; domain example.com; host any.example.org (direct)");
}

static void imported_certificates_that_are_good_come_first(void **state)
{
	struct store_certificate mine = { .name = (char *)(uintptr_t) "import www.example.org",
					  .hostnames = (char *)(uintptr_t) "www.example.org",
					  .expires_at = 2000 };

	(void)state;
	facts.certificates = &mine;
	facts.certificate_count = 1;
	assert_wants("domain deep.example.com; domain example.com; host *.example.org (direct)!; "
		     "host www.example.org (direct)!");
	mine.expires_at = 999;
	assert_wants("domain deep.example.com; domain example.com; host *.example.org (direct)!; "
		     "host www.example.org (direct)");
}

static void a_control_host_that_is_an_address_has_none(void **state)
{
	(void)state;
	facts.is_authoritative = NULL;
	facts.control_host = "192.0.2.1";
	facts.route_count = 1;
	assert_wants("host app.example.com (direct)");
}

static void tells_what_is_served(void **state)
{
	(void)state;
	assert_true(acme_name_is_served(&facts, "host app.example.com"));
	assert_true(acme_name_is_served(&facts, "host any.example.org"));
	assert_true(acme_name_is_served(&facts, "domain deep.example.com"));
	assert_false(acme_name_is_served(&facts, "host other.example.com"));
	assert_false(acme_name_is_served(&facts, "domain notexample.com"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
	const struct CMUnitTest tests[] = {
		TEST(wildcards_where_our_name_server_answers_names_elsewhere),
		TEST(without_a_name_server_every_name_has_its_own),
		TEST(dns_alone_says_what_it_cannot_do),
		TEST(what_is_passed_through_needs_none_of_ours),
		TEST(another_method_needs_no_name_server),
		TEST(a_method_whose_listener_is_off_says_so),
		TEST(a_wildcard_that_fails_again_and_again_leaves_it_to_names),
		TEST(on_demand_only_what_was_asked_for_and_is_routed),
		TEST(imported_certificates_that_are_good_come_first),
		TEST(a_control_host_that_is_an_address_has_none),
		TEST(tells_what_is_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
