#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "edge/dns/zone.h"

static void check(const char *type, const char *given, const char *expected)
{
	char *text = dns_record_from_people(type, given);
	const struct dns_record r = { "a.example.com", type, text, 300 };
	struct err err = { 0 };
	char *canonical = dns_record_canonical("example.com", &r, &err);

	if (expected)
		assert_string_equal(canonical, expected);
	else
		assert_null(canonical);
	mem_free(canonical);
	mem_free(text);
}

static void texts_are_quoted_where_people_do_not(void **state)
{
	(void)state;
	check("TXT", "v=spf1 mx -all", "\"v=spf1 mx -all\"");
	check("TXT", "\"two\" \"parts\"", "\"two\" \"parts\"");
	check("txt", "say \"hi\"; (ok) \\", "\"say \\\"hi\\\"; (ok) \\\\\"");
	check("TXT", "\xc3\xbc", "\"\\195\\188\"");
	check("TXT", "\n", "\"\\010\"");
	check("CAA", "0 issue letsencrypt.org", "0 issue \"letsencrypt.org\"");
	check("CAA", "128 iodef \"mailto:a@b.c\"", "128 iodef \"mailto:a@b.c\"");
}

static void long_texts_are_cut_into_strings(void **state)
{
	char text[301];

	(void)state;
	memset(text, 'x', 300);
	text[300] = 0;
	char *quoted = dns_record_from_people("TXT", text);
	assert_int_equal(strlen(quoted), 300 + 5);
	assert_memory_equal(quoted + 256, "\" \"", 3);
	mem_free(quoted);
}

static void names_are_written_in_full_and_in_lower_case(void **state)
{
	(void)state;
	check("CNAME", "B.Example.NET", "b.example.net.");
	check("MX", "10 Mail.example.com.", "10 mail.example.com.");
	check("SRV", "1  2 3 sip.example.com", "1 2 3 sip.example.com.");
	check("AAAA", "2001:DB8:0::1", "2001:db8::1");
}

static void what_is_no_record_is_refused(void **state)
{
	(void)state;
	check("A", "192.0.2", NULL);
	check("A", "192.0.2.1 192.0.2.2", NULL);
	check("A", "", NULL);
	check("MX", "mail.example.com", NULL);
	check("TXT", "\"open", NULL);
	check("TXT", "\"a\"\n$INCLUDE /etc/passwd", NULL);
	check("NS", "ns.example.net", NULL);
	check("CAA", "0", NULL);
	check("A", "192.0.2.1 ; what", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_quoted_where_people_do_not),
		cmocka_unit_test(long_texts_are_cut_into_strings),
		cmocka_unit_test(names_are_written_in_full_and_in_lower_case),
		cmocka_unit_test(what_is_no_record_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
