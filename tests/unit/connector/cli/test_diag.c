/* The parts of `tunnel diag` that need no connector; tests/e2e/test_56_local_api.py has the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/child.h"
#include "connector/cli/diag.h"
#include "connector/cli/files.h"
#include "connector/cli/instances.h"
#include "connector/cli/run_config.h"
#include "connector/cli/zip.h"

static char folder[] = "/tmp/adit-diag-XXXXXX";

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	return rmdir(folder);
}

/* --- Which hop is broken --------------------------------------------------------------------- */

static struct cli cli;
static struct diag diag;

static json_t *json_of(const char *text)
{
	json_error_t error;
	json_t *value = json_loads(text, 0, &error);

	if (!value)
		fail_msg("%s in %s", error.text, text);
	return value;
}

/* NULL for what the instance did not answer. */
static void judge(const char *state, const char *probe)
{
	diag = (struct diag){
		.cli = &cli,
		.address = (char *)"localhost:20241",
		.tasks =
			json_of("{\"tunnel state\":{\"result\":\"failure\",\"error\":\"refused\"}}"),
		.checks = json_array(),
		.state = state ? json_of(state) : NULL,
		.probe = probe ? json_of(probe) : NULL,
	};
	diag_check(&diag);
}

static void judged(void)
{
	json_decref(diag.tasks);
	json_decref(diag.checks);
	json_decref(diag.state);
	json_decref(diag.probe);
	settings_done(&cli.settings);
	cli = (struct cli){ 0 };
}

#define REGISTERED                                                                   \
	"{\"tunnelID\":\"t\",\"connectorID\":\"c\",\"connections\":[{\"index\":0}]," \
	"\"adit\":{\"version\":\"1\",\"connections\":[{\"index\":0,\"location\":\"fra\"}]}}"
#define UNREGISTERED(kind)                                                                     \
	"{\"tunnelID\":\"t\",\"connectorID\":\"c\",\"adit\":{\"version\":\"1\","               \
	"\"connections\":[{\"index\":0,\"lastError\":\"it said no\",\"lastErrorKind\":\"" kind \
	"\"}]}}"
#define GOOD_EDGE "{\"address\":\"edge:7844\",\"ok\":true,\"peer\":\"192.0.2.1:7844\",\"ms\":3}"
#define GOOD_RULE \
	"{\"rule\":0,\"label\":\"a\",\"service\":\"http://a\",\"ok\":true,\"peer\":\"[::1]:80\",\"ms\":0}"
#define NO_RULE \
	"{\"rule\":1,\"label\":\"*\",\"service\":\"http_status:404\",\"skipped\":\"nothing\"}"

static void assert_broken(const char *hop, const char *name, const char *fix_has)
{
	const json_t *broken = diag_first_broken(&diag);

	assert_non_null(broken);
	assert_string_equal(json_text_at(broken, "hop"), hop);
	assert_string_equal(json_text_at(broken, "name"), name);
	if (!strstr(json_text_at(broken, "fix"), fix_has))
		fail_msg("\"%s\" does not speak of \"%s\"", json_text_at(broken, "fix"), fix_has);
	judged();
}

static void finds_nothing_where_all_is_well(void **state)
{
	judge(REGISTERED, "{\"edges\":[" GOOD_EDGE "],\"rules\":[" GOOD_RULE "," NO_RULE "]}");
	assert_null(diag_first_broken(&diag));
	assert_int_equal(json_array_size(diag.checks), 5);
	assert_string_equal(json_text_at(json_array_get(diag.checks, 2), "detail"),
			    "1 of 1, at fra");
	assert_string_equal(json_text_at(json_array_get(diag.checks, 4), "status"), "skipped");
	judged();
}

static void names_the_connector_that_does_not_answer(void **state)
{
	judge(NULL, NULL);
	assert_string_equal(json_text_at(diag_first_broken(&diag), "detail"), "refused");
	assert_broken("connector", "localhost:20241", "--metrics");
}

static void names_the_edge_before_what_needs_it(void **state)
{
	judge(UNREGISTERED("refused"),
	      "{\"edges\":[" GOOD_EDGE ",{\"address\":\"other:7844\",\"ok\":false,"
	      "\"step\":\"connect\",\"errno\":\"ECONNREFUSED\",\"error\":\"e\",\"ms\":0}],"
	      "\"rules\":[" NO_RULE "]}");
	assert_broken("edge", "other:7844", "start adit-edge");
}

static void tells_what_to_do_about_each_step(void **state)
{
	static const struct {
		const char *step, *error, *edge_fix, *service_fix;
	} cases[] = {
		{ "resolve", "", "DNS", "DNS" },
		{ "connect", "ECONNREFUSED", "start adit-edge", "start the service" },
		{ "connect", "EHOSTUNREACH", "firewall", "firewall" },
		{ "connect", "", "firewall", "firewall" },
		{ "connect", "ENOENT", "", "socket" },
		{ "connect", "EACCES", "", "rights" },
		{ "tls", "", "--cacert", "caPool" },
		{ "tls", "ECONNRESET", "--cacert", "http://" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *failure = mem_printf("\"ok\":false,\"step\":\"%s\",\"errno\":\"%s\"",
					   cases[i].step, cases[i].error);
		char *edge =
			mem_printf("{\"edges\":[{\"address\":\"e:1\",%s}],\"rules\":[]}", failure);
		char *rule = mem_printf("{\"edges\":[],\"rules\":[{\"rule\":3,\"label\":\"l\","
					"\"service\":\"s\",%s}]}",
					failure);
		judge(REGISTERED, edge);
		assert_broken("edge", "e:1", cases[i].edge_fix);
		judge(REGISTERED, rule);
		assert_broken("service", "rule 3: l -> s", cases[i].service_fix);
		mem_free(failure);
		mem_free(edge);
		mem_free(rule);
	}
}

static void tells_a_refusal_from_a_lost_connection(void **state)
{
	judge(UNREGISTERED("denied"), "{\"edges\":[" GOOD_EDGE "],\"rules\":[]}");
	assert_broken("tunnel", "registered connections", "adit tunnel list");
	judge(UNREGISTERED("closed"), "{\"edges\":[" GOOD_EDGE "],\"rules\":[]}");
	assert_string_equal(json_text_at(diag_first_broken(&diag), "detail"), "0 of 1: it said no");
	assert_broken("tunnel", "registered connections", "tries again");
}

static void does_without_probes(void **state)
{
	judge("{\"tunnelID\":\"t\",\"connectorID\":\"c\",\"connections\":[{},{}]}", NULL);
	assert_null(diag_first_broken(&diag));
	assert_string_equal(json_text_at(json_array_get(diag.checks, 1), "status"), "skipped");
	judged();
	judge("{\"tunnelID\":\"t\",\"connectorID\":\"c\"}", NULL);
	assert_broken("tunnel", "registered connections", "");
}

static void survives_an_answer_of_other_shapes(void **state)
{
	static const char *const odd[] = {
		"[]",
		"{}",
		"{\"edges\":5,\"rules\":\"x\"}",
		"{\"edges\":[5,{}],\"rules\":[null,[]]}",
		"{\"edges\":[{\"address\":7,\"ok\":\"yes\",\"step\":[]}]}",
	};

	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		judge(odd[i], odd[i]);
		(void)diag_first_broken(&diag);
		judged();
	}
}

static char *print_to_text(bool has_colour)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	diag_print(&diag, out, has_colour);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void prints_a_line_per_hop_and_the_verdict(void **state)
{
	judge(REGISTERED,
	      "{\"edges\":[" GOOD_EDGE "],\"rules\":[" GOOD_RULE ",{\"rule\":1,\"label\":\"b\","
	      "\"service\":\"http://b\\u001b[2J\",\"ok\":false,\"step\":\"connect\","
	      "\"errno\":\"ECONNREFUSED\",\"error\":\"refused\",\"ms\":0}]}");
	char *text = print_to_text(false);
	assert_null(strchr(text, '\033'));
	assert_non_null(
		strstr(text, "edge       ok     edge:7844: reached 192.0.2.1:7844 in 3 ms\n"));
	assert_non_null(strstr(text, "service    BROKEN rule 1: b -> http://b?[2J: refused "
				     "(ECONNREFUSED)\n"));
	assert_non_null(strstr(text, "\nThe first broken hop is the service: rule 1: b -> "));
	assert_null(strstr(text, " more "));
	free(text);
	text = print_to_text(true);
	assert_non_null(strstr(text, "\033[1;31mBROKEN\033[0m"));
	assert_null(strstr(text, "\033[2J"));
	free(text);
	judged();

	judge(REGISTERED, "{\"edges\":[],\"rules\":[]}");
	text = print_to_text(false);
	assert_non_null(strstr(text, "\nEvery hop that was tried works.\n"));
	free(text);
	judged();
}

/* --- traceroute ------------------------------------------------------------------------------ */

static void assert_hops(const char *text, const char *want)
{
	json_t *hops = diag_parse_hops(bytes_str(text));
	char *got = json_dumps(hops, JSON_COMPACT);

	assert_string_equal(got, want);
	free(got);
	json_decref(hops);
}

static void reads_the_hops_of_traceroute(void **state)
{
	assert_hops("traceroute to 192.0.2.9 (192.0.2.9), 20 hops max, 60 byte packets\n"
		    " 1  192.0.2.1  12.874 ms  15.517 ms  15.311 ms\n"
		    " 2  gateway (192.0.2.2)  0.456 ms * 0.7 ms\n"
		    " 3  * * *\n"
		    " 4  2400:cb00::1  9.1 ms !H\n",
		    "[{\"hop\":1,\"domain\":\"192.0.2.1\",\"rtts\":[12874,15517,15311]},"
		    "{\"hop\":2,\"domain\":\"gateway (192.0.2.2)\",\"rtts\":[456,700]},"
		    "{\"hop\":3,\"domain\":\"*\"},"
		    "{\"hop\":4,\"domain\":\"2400:cb00::1 !H\",\"rtts\":[9100]}]");
}

static void passes_over_what_is_no_hop(void **state)
{
	assert_hops("", "[]");
	assert_hops("\n\n  \n", "[]");
	assert_hops("no route to host\n0 x\n65 y\n99999999999999999999 z\n-1 a\n", "[]");
	assert_hops("1 ms ms ms\n2 1e400 ms\n3 nan ms\n",
		    "[{\"hop\":1,\"domain\":\"ms ms ms\"},{\"hop\":2,\"domain\":\"1e400 ms\"},"
		    "{\"hop\":3,\"domain\":\"nan ms\"}]");
	assert_hops("3 a 99999999999999999999 ms\n",
		    "[{\"hop\":3,\"domain\":\"a 99999999999999999999 ms\"}]");
	assert_hops("7 \xff\xfe\n", "[{\"hop\":7,\"domain\":\"?\"}]");
}

/* --- Other programs -------------------------------------------------------------------------- */

static int run_shell(const char *script, size_t max, usec timeout, struct buf *out, struct err *err)
{
	const char *const argv[] = { "sh", "-c", script, NULL };

	*err = (struct err){ 0 };
	buf_init(out, max);
	return child_run(argv, timeout, out, err);
}

static void takes_output_and_status_of_a_program(void **state)
{
	struct buf out;
	struct err err;

	assert_int_equal(run_shell("cat; echo one; echo two >&2; exit 3", 1 << 16,
				   20 * USEC_PER_SEC, &out, &err),
			 3);
	assert_true(bytes_eq(buf_bytes(&out), BYTES_LIT("one\ntwo\n")));
	buf_done(&out);
	assert_int_equal(run_shell("kill -9 $$", 1 << 16, 20 * USEC_PER_SEC, &out, &err), 128 + 9);
	buf_done(&out);
}

static void ends_a_program_that_says_too_much_or_nothing(void **state)
{
	struct buf out;
	struct err err;

	assert_int_equal(run_shell("yes", 1 << 16, 20 * USEC_PER_SEC, &out, &err), E_LIMIT);
	assert_true(out.len > 0);
	buf_done(&out);
	assert_int_equal(run_shell("exec sleep 100", 1 << 16, 1, &out, &err), E_TIMEOUT);
	buf_done(&out);
}

static void says_that_a_program_is_not_installed(void **state)
{
	const char *const argv[] = { "adit-no-such-program", NULL };
	struct buf out;
	struct err err = { 0 };

	buf_init(&out, 1 << 16);
	assert_int_equal(child_run(argv, USEC_PER_SEC, &out, &err), E_NOT_FOUND);
	assert_string_equal(err.text, "adit-no-such-program is not installed");
	buf_done(&out);
}

/* --- The archive ----------------------------------------------------------------------------- */

static void writes_an_archive_once_and_for_its_owner(void **state)
{
	const struct zip_entry entries[] = {
		{ "a.txt", BYTES_LIT("hello") },
		{ "empty.txt", BYTES_NONE },
	};
	char *path = mem_printf("%s/x.zip", folder);
	struct err err = { 0 };
	struct stat status;
	struct buf data;

	if (zip_write(path, entries, 2, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(file_read(path, 1 << 20, &data, &err), 0);
	assert_true(bytes_starts_with(buf_bytes(&data), BYTES_LIT("PK\003\004")));
	buf_done(&data);
	assert_int_equal(zip_write(path, entries, 2, &err), E_EXISTS);
	unlink(path);
	mem_free(path);
	assert_int_equal(zip_write("/nonexistent/x.zip", entries, 2, &err), E_IO);
}

/* --- Where the connector is ------------------------------------------------------------------ */

static void knows_where_metrics_means(void **state)
{
	static const struct {
		const char *given, *want;
	} cases[] = {
		{ "127.0.0.1:20241", "127.0.0.1:20241" },
		{ "http://10.0.0.1:99/", "10.0.0.1:99" },
		{ "0.0.0.0:20241", "localhost:20241" },
		{ ":20241", "localhost:20241" },
		{ "[::]:1", "localhost:1" },
		{ "[::1]:1", "[::1]:1" },
		{ "host.example.com:9", "host.example.com:9" },
		{ "localhost:0", NULL },
		{ "nonsense", "nonsense" },
	};
	struct settings s = { 0 };
	struct err err;

	assert_null(instance_given(&s));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(settings_add(&s, FLAG_METRICS, cases[i].given, &err), 0);
		char *got = instance_given(&s);
		if (cases[i].want)
			assert_string_equal(got, cases[i].want);
		else
			assert_null(got);
		mem_free(got);
	}
	settings_done(&s);
}

/* --- /diag/configuration --------------------------------------------------------------------- */

static const char *flag_value(const struct connector_config *cfg, const char *name)
{
	for (size_t i = 0; i < cfg->flag_count; i++)
		if (strcmp(cfg->flags[i].name, name) == 0)
			return cfg->flags[i].value;
	return NULL;
}

static void lists_flags_without_secrets(void **state)
{
	static const struct {
		enum flag_id id;
		const char *text;
	} set[] = {
		{ FLAG_TOKEN, "s3cret" },
		{ FLAG_CREDENTIALS_CONTENTS, "s3cret" },
		{ FLAG_URL, "http://user:s3cret@host:1/p@q" },
		{ FLAG_UNIX_SOCKET, "/run/a@b.sock" },
		{ FLAG_EDGE, "a:1,b:2" },
		{ FLAG_EDGE_PROXY, "user:s3cret@proxy:3128" },
		{ FLAG_LOGFILE, "log/adit.log" },
		{ FLAG_HELLO_WORLD, "true" },
	};
	struct settings s = { 0 };
	struct connector_config cfg;
	struct err err;

	connector_config_init(&cfg);
	for (size_t i = 0; i < ARRAY_LEN(set); i++)
		assert_int_equal(settings_add(&s, set[i].id, set[i].text, &err), 0);
	run_flags(&s, &cfg);
	assert_int_equal(cfg.flag_count, ARRAY_LEN(set) - 2);
	assert_string_equal(flag_value(&cfg, "url"), "http://*****@host:1/p@q");
	assert_string_equal(flag_value(&cfg, "unix-socket"), "/run/a@b.sock");
	assert_string_equal(flag_value(&cfg, "edge"), "[a:1 b:2]");
	assert_string_equal(flag_value(&cfg, "edge-proxy"), "*****@proxy:3128");
	assert_string_equal(flag_value(&cfg, "hello-world"), "true");
	assert_int_equal(flag_value(&cfg, "logfile")[0], '/');
	for (size_t i = 0; i < cfg.flag_count; i++)
		assert_null(strstr(cfg.flags[i].value, "s3cret"));
	connector_config_done(&cfg);
	settings_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_nothing_where_all_is_well),
		cmocka_unit_test(names_the_connector_that_does_not_answer),
		cmocka_unit_test(names_the_edge_before_what_needs_it),
		cmocka_unit_test(tells_what_to_do_about_each_step),
		cmocka_unit_test(tells_a_refusal_from_a_lost_connection),
		cmocka_unit_test(does_without_probes),
		cmocka_unit_test(survives_an_answer_of_other_shapes),
		cmocka_unit_test(prints_a_line_per_hop_and_the_verdict),
		cmocka_unit_test(reads_the_hops_of_traceroute),
		cmocka_unit_test(passes_over_what_is_no_hop),
		cmocka_unit_test(takes_output_and_status_of_a_program),
		cmocka_unit_test(ends_a_program_that_says_too_much_or_nothing),
		cmocka_unit_test(says_that_a_program_is_not_installed),
		cmocka_unit_test(writes_an_archive_once_and_for_its_owner),
		cmocka_unit_test(knows_where_metrics_means),
		cmocka_unit_test(lists_flags_without_secrets),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
