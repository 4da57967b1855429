#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "connector/cli/files.h"
#include "connector/cli/run_config.h"

#define ID "11111111-2222-4333-8444-555555555555"
#define SECRET "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
#define CREDENTIALS                                                                       \
	"{\"AccountTag\":\"acc\",\"TunnelSecret\":\"" SECRET "\",\"TunnelID\":\"" ID "\"" \
	",\"Endpoint\":\"\",\"Edge\":[\"edge.example.com:7844\"]}"

static char home[] = "/tmp/adit-run-XXXXXX";

static char *path_of(const char *name)
{
	return mem_printf("%s/%s", home, name);
}

static void file_put(const char *name, const char *text)
{
	char *path = path_of(name);
	struct err err = { 0 };

	if (file_overwrite(path, 0600, bytes_str(text), &err) < 0)
		fail_msg("%s", err.text);
	mem_free(path);
}

static int group_setup(void **state)
{
	assert_non_null(mkdtemp(home));
	setenv("HOME", home, 1);
	char *own = path_of(".adit"), *theirs = path_of(".cloudflared");
	mkdir(own, 0700);
	mkdir(theirs, 0700);
	mem_free(own);
	mem_free(theirs);
	return 0;
}

static int group_teardown(void **state)
{
	static const char *const names[] = { ".adit/" ID ".json",
					     ".adit/config.yml",
					     ".adit/new",
					     ".cloudflared/config.yml",
					     ".cloudflared/cert.pem",
					     ".adit",
					     ".cloudflared",
					     "ca.pem",
					     "rules.yml" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *path = path_of(names[i]);
		remove(path);
		mem_free(path);
	}
	rmdir(home);
	return 0;
}

struct run {
	struct cli cli;
	struct token token;
	struct connector_config cfg;
	struct err err;
	int result;
};

/* `adit tunnel run …` up to the connector; `config` is the text of the file. */
static void run(struct run *t, char *const *words, int count, const char *config)
{
	char *argv[24] = { (char *)"adit", (char *)"tunnel", (char *)"run" };

	*t = (struct run){ .cli.program = "adit" };
	for (int i = 0; i < count; i++)
		argv[3 + i] = words[i];
	assert_int_equal(command_parse(3 + count, argv, &t->cli.line, &t->cli.settings, &t->err), 0);
	if (config) {
		t->cli.config_path = mem_strdup("config.yml");
		t->cli.config = yaml_parse(bytes_str(config), "config.yml", &t->err);
		assert_non_null(t->cli.config);
		for (size_t i = 0; i < FLAG_COUNT; i++)
			assert_int_equal(settings_add_key(&t->cli.settings, (enum flag_id)i,
							  yaml_root(t->cli.config), &t->err),
					 0);
	}
	connector_config_init(&t->cfg);
	t->result = token_decode_credentials(BYTES_LIT(CREDENTIALS), &t->token, &t->err);
	assert_int_equal(t->result, 0);
	t->result = run_configure(&t->cli, &t->token, &t->cfg, &t->err);
}

static void done(struct run *t)
{
	token_done(&t->token);
	connector_config_done(&t->cfg);
	command_line_done(&t->cli.line);
	settings_done(&t->cli.settings);
	yaml_free(t->cli.config);
	mem_free(t->cli.config_path);
}

#define RUN(t, config, ...)                                    \
	run(&(t), (char *const[]){ (char *)"x", __VA_ARGS__ }, \
	    (int)(sizeof((char *const[]){ (char *)"x", __VA_ARGS__ }) / sizeof(char *)), config)

static void credentials_alone_are_enough(void **state)
{
	struct run t;

	RUN(t, NULL);
	if (t.result != 0)
		fail_msg("%s", t.err.text);
	assert_string_equal(t.cfg.account_tag, "acc");
	assert_int_equal(t.cfg.tunnel_secret.len, 32);
	assert_int_equal(t.cfg.edge_count, 1);
	assert_string_equal(t.cfg.edges[0], "edge.example.com:7844");
	assert_null(t.cfg.edge_ca_pem);
	assert_int_equal(t.cfg.ha_connections, 4);
	assert_int_equal(t.cfg.grace_period, 30 * USEC_PER_SEC);
	assert_int_equal(ingress_rule(t.cfg.ingress, 0)->status, 503);
	assert_null(t.cfg.config_path);
	done(&t);
}

static void flags_replace_what_credentials_carry(void **state)
{
	char *ca = path_of("ca.pem");
	struct run t;

	file_put("ca.pem", "PEM");
	RUN(t, "edge: [file:1]\nretries: 9\ntag: [a=b]\n", (char *)"--edge", (char *)"a:1,[::1]:2",
	    (char *)"--cacert", ca, (char *)"--grace-period=3m", (char *)"--url",
	    (char *)"localhost:9", (char *)"--http-host-header", (char *)"h.example.com");
	assert_int_equal(t.result, 0);
	assert_int_equal(t.cfg.edge_count, 2);
	assert_string_equal(t.cfg.edges[1], "[::1]:2");
	assert_string_equal(t.cfg.edge_ca_pem, "PEM");
	assert_int_equal(t.cfg.retries, 9);
	assert_int_equal(t.cfg.tag_count, 1);
	assert_string_equal(t.cfg.tags[0].name, "a");
	assert_string_equal(t.cfg.tags[0].value, "b");
	assert_string_equal(ingress_rule(t.cfg.ingress, 0)->service, "http://localhost:9");
	assert_string_equal(ingress_rule(t.cfg.ingress, 0)->origin.http_host_header,
			    "h.example.com");
	done(&t);
	mem_free(ca);
}

static void what_a_replica_is_goes_among_the_features(void **state)
{
	struct run t;

	RUN(t, "label: web-1\nbackup: true\n", (char *)"--weight", (char *)"3",
	    (char *)"--features", (char *)"other");
	assert_int_equal(t.result, 0);
	assert_int_equal(t.cfg.feature_count, 4);
	assert_string_equal(t.cfg.features[0], "other");
	assert_string_equal(t.cfg.features[1], "adit_label=web-1");
	assert_string_equal(t.cfg.features[2], "adit_weight=3");
	assert_string_equal(t.cfg.features[3], "adit_backup");
	done(&t);
	RUN(t, NULL);
	assert_int_equal(t.cfg.feature_count, 0);
	done(&t);
}

static void rules_of_the_file_win_over_a_single_origin(void **state)
{
	struct run t;

	RUN(t, "ingress:\n- service: http_status:404\n", (char *)"--url", (char *)"localhost:9");
	assert_int_equal(t.result, 0);
	assert_int_equal(ingress_rule(t.cfg.ingress, 0)->status, 404);
	assert_string_equal(t.cfg.config_path, "config.yml");
	done(&t);
}

static void bad_rules_are_told_with_their_place(void **state)
{
	struct run t;

	RUN(t, "ingress:\n- service: http://x/\n");
	assert_true(t.result < 0);
	assert_non_null(strstr(t.err.text, "Validation failed: http://x/ is an invalid address"));
	assert_non_null(strstr(t.err.text, "\n  at config.yml:2:12"));
	done(&t);
}

static void refuses_what_it_cannot_keep(void **state)
{
	static const struct {
		const char *flag, *value, *text;
	} cases[] = {
		{ "--protocol", "foo", "unknown protocol foo, Available protocols:" },
		{ "--edge-ip-version", "5", "invalid value for edge-ip-version: 5" },
		{ "--edge-bind-address", "x", "invalid value for edge-bind-address: x" },
		{ "--post-quantum", "x", "A post-quantum key exchange is not supported yet" },
		{ "--grace-period", "3m1s", "grace-period must be equal or less than 3m0s" },
		{ "--ha-connections", "33", "ha-connections must be 1 to 32" },
		{ "--rpc-timeout", "0s", "must be longer than 0" },
		{ "--weight", "0", "weight must be 1 to 1000" },
		{ "--weight", "1001", "weight must be 1 to 1000" },
		{ "--label", "a,b", "label must be 1 to 63 printable" },
		{ "--label", "caf\xc3\xa9", "label must be 1 to 63 printable" },
		{ "--edge", "no where", "\"no where\" is not the address of an edge" },
		{ "--edge", "::1", "\"::1\" is not the address of an edge" },
		{ "--edge-proxy", "http://u:s3cret@p:1", "everybody on this host can read" },
		{ "--edge-proxy", "ftp://p:1", "edge-proxy names a proxy of an unknown kind" },
		{ "--edge", "h:0", "\"h:0\" is not the address of an edge" },
		{ "--tag", "novalue", "Cannot parse tag value novalue" },
		{ "--tag", "a\nb=c", "Cannot parse tag value" },
		{ "--url", "x y", "Error validating origin URL" },
		{ "--cacert", "/nonexistent", "--cacert: open /nonexistent" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct run t;
		RUN(t, NULL, (char *)cases[i].flag, (char *)cases[i].value);
		assert_true(t.result < 0);
		if (!strstr(t.err.text, cases[i].text))
			fail_msg("\"%s\" does not contain \"%s\"", t.err.text, cases[i].text);
		done(&t);
	}
}

static void takes_every_protocol(void **state)
{
	static const struct {
		const char *name;
		enum connector_protocol protocol;
	} cases[] = {
		{ "auto", CONNECTOR_AUTO },
		{ "quic", CONNECTOR_QUIC },
		{ "http2", CONNECTOR_HTTP2 },
		{ "h2mux", CONNECTOR_HTTP2 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct run t;
		RUN(t, NULL, "--protocol", (char *)cases[i].name);
		assert_int_equal(t.result, 0);
		assert_int_equal(t.cfg.protocol, cases[i].protocol);
		done(&t);
	}
}

static void quic_and_a_proxy_for_all_is_refused(void **state)
{
	struct run t;

	RUN(t, NULL, "--protocol", "quic", "--edge-proxy", "http://p:3128");
	assert_true(t.result < 0);
	assert_non_null(strstr(t.err.text, "QUIC cannot pass a proxy"));
	done(&t);
}

static void a_reload_takes_the_new_rules_or_keeps_the_old(void **state)
{
	struct connector_config cfg;
	struct err err = { 0 };

	connector_config_init(&cfg);
	cfg.ingress = ingress_none();
	struct ingress *same = connector_config_reload(&cfg, &err);
	assert_ptr_equal(same, cfg.ingress);
	ingress_unref(same);

	cfg.config_path = path_of("rules.yml");
	file_put("rules.yml", "ingress:\n- service: http_status:410\n");
	struct ingress *next = connector_config_reload(&cfg, &err);
	assert_non_null(next);
	assert_int_equal(ingress_rule(next, 0)->status, 410);
	ingress_unref(next);

	file_put("rules.yml", "ingress:\n- service: http://x/\n");
	assert_null(connector_config_reload(&cfg, &err));
	assert_non_null(strstr(err.text, "rules.yml:2:12: http://x/ is an invalid address"));
	file_put("rules.yml", "ingress: [\n");
	assert_null(connector_config_reload(&cfg, &err));
	assert_non_null(strstr(err.text, "rules.yml:2:1: "));
	connector_config_done(&cfg);
}

/* ------------------------------------------------------------------------------------------ */

static void own_directories_come_first(void **state)
{
	char *own = path_of(".adit/config.yml"), *theirs = path_of(".cloudflared/config.yml");
	char *found;

	file_put(".cloudflared/config.yml", "a: b\n");
	found = file_find_config();
	assert_string_equal(found, theirs);
	mem_free(found);
	file_put(".adit/config.yml", "a: b\n");
	found = file_find_config();
	assert_string_equal(found, own);
	mem_free(found);
	mem_free(own);
	mem_free(theirs);
}

static void credentials_are_found_by_id_and_never_overwritten(void **state)
{
	struct token token;
	struct err err = { 0 };
	struct uuid id;
	struct stat st;

	assert_true(uuid_parse(BYTES_LIT(ID), &id));
	assert_null(file_find_credentials(&id, "", "", &err));
	assert_string_equal(err.text, "tunnel credentials file not found");
	assert_null(file_find_credentials(&id, "/nonexistent", "", &err));
	assert_string_equal(
		err.text, "Tunnel credentials file '/nonexistent' doesn't exist or is not a file");

	char *beside = path_of(".adit/cert.pem"), *path = file_credentials_path(&id, beside);
	assert_int_equal(file_write_new(path, 0400, BYTES_LIT(CREDENTIALS), &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0400);
	assert_int_equal(file_write_new(path, 0400, BYTES_LIT("x"), &err), E_EXISTS);
	assert_non_null(strstr(err.text, " already exists"));
	char *found = file_find_credentials(&id, "", "", &err);
	assert_string_equal(found, path);
	assert_int_equal(file_read_credentials("adit", found, &token, &err), 0);
	assert_true(uuid_eq(&token.tunnel, &id));
	token_done(&token);
	mem_free(found);
	mem_free(path);
	mem_free(beside);
}

static void a_missing_certificate_is_told_as_the_stock_client_does(void **state)
{
	struct login login;
	struct err err = { 0 };
	char *path;

	assert_true(file_read_login("adit", "", &login, &path, &err) < 0);
	assert_string_equal(err.text,
			    "Error locating origin cert: client didn't specify origincert path");
	file_put(".cloudflared/cert.pem",
		 "-----BEGIN NONSENSE-----\nAAAA\n-----END NONSENSE-----\n");
	assert_true(file_read_login("adit", "", &login, &path, &err) < 0);
	assert_non_null(strstr(err.text, "Error decoding origin cert"));
}

static void a_file_over_its_limit_is_refused(void **state)
{
	char *path = path_of("ca.pem");
	struct buf text;
	struct err err;

	file_put("ca.pem", "12345");
	assert_int_equal(file_read(path, 4, &text, &err), E_LIMIT);
	assert_int_equal(file_read(path, 5, &text, &err), 0);
	assert_true(bytes_eq(buf_bytes(&text), BYTES_LIT("12345")));
	buf_done(&text);
	mem_free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(credentials_alone_are_enough),
		cmocka_unit_test(flags_replace_what_credentials_carry),
		cmocka_unit_test(what_a_replica_is_goes_among_the_features),
		cmocka_unit_test(rules_of_the_file_win_over_a_single_origin),
		cmocka_unit_test(bad_rules_are_told_with_their_place),
		cmocka_unit_test(refuses_what_it_cannot_keep),
		cmocka_unit_test(takes_every_protocol),
		cmocka_unit_test(quic_and_a_proxy_for_all_is_refused),
		cmocka_unit_test(a_reload_takes_the_new_rules_or_keeps_the_old),
		cmocka_unit_test(own_directories_come_first),
		cmocka_unit_test(credentials_are_found_by_id_and_never_overwritten),
		cmocka_unit_test(a_missing_certificate_is_told_as_the_stock_client_does),
		cmocka_unit_test(a_file_over_its_limit_is_refused),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
