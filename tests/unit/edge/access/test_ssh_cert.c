/* SSH certificates, as OpenSSH's own ssh-keygen reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "edge/access/ssh_cert.h"
#include "tls/private_key.h"

#define NOW (1767225600 * USEC_PER_SEC)

static struct private_key *ca;
static char dir[64];

static int start(void **state)
{
	struct err err = { 0 };

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/adit-test-ssh-XXXXXX");
	assert_non_null(mkdtemp(dir));
	ca = private_key_make(PRIVATE_KEY_P256, "ssh", &err);
	if (!ca)
		fail_msg("%s", err.text);
	return 0;
}

static int run(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return system(command);
}

static int end(void **state)
{
	(void)state;
	ca = private_key_free(ca);
	return run("rm -r %s", dir);
}

static char *read_file(const char *name)
{
	char path[128];
	FILE *f;
	char *text = mem_alloc(8192);

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	assert_non_null(f);
	(void)!fread(text, 1, 8191, f);
	fclose(f);
	return text;
}

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "%s\n", text);
	fclose(f);
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in:\n%s", part, text);
}

static void check_kind(const char *kind)
{
	char *key, *line, *said, *authority, *shown;
	struct err err = { 0 };

	assert_int_equal(run("ssh-keygen -q -t %s -N '' -f %s/%s", kind, dir, kind), 0);
	char name[32];
	snprintf(name, sizeof(name), "%s.pub", kind);
	key = read_file(name);
	struct ssh_certificate c = {
		.public_key = key,
		.key_id = "joe@example.com",
		.principal = "joe",
		.serial = 7,
		.valid_after = NOW,
		.valid_before = NOW + 240 * USEC_PER_SEC,
	};
	line = ssh_certificate_sign(ca, &c, &err);
	if (!line)
		fail_msg("%s", err.text);
	write_file("cert.pub", line);
	/* It verifies the signature as it reads. */
	assert_int_equal(run("TZ=UTC ssh-keygen -L -f %s/cert.pub > %s/said", dir, dir), 0);
	said = read_file("said");
	has(said, "user certificate");
	has(said, "Key ID: \"joe@example.com\"");
	has(said, "Serial: 7");
	has(said, "Valid: from 2026-01-01T00:00:00 to 2026-01-01T00:04:00");
	has(said, "                joe\n");
	has(said, "permit-pty");
	authority = ssh_authority_line(ca, "app");
	write_file("ca.pub", authority);
	assert_int_equal(run("ssh-keygen -l -f %s/ca.pub | cut -d' ' -f2 > %s/print", dir, dir), 0);
	shown = read_file("print");
	shown[strcspn(shown, "\n")] = 0;
	has(said, shown);
	mem_free(shown);
	mem_free(authority);
	mem_free(said);
	mem_free(line);
	mem_free(key);
}

static void ssh_keygen_accepts_a_certificate(void **state)
{
	(void)state;
	if (system("command -v ssh-keygen >/dev/null") != 0)
		skip();
	check_kind("ecdsa");
	check_kind("ed25519");
}

static void what_is_no_key_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"ecdsa-sha2-nistp256",
		"ecdsa-sha2-nistp256 ",
		"ecdsa-sha2-nistp256 !!!!",
		"ecdsa-sha2-nistp256 AAAA",
		"ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA==",
		"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQA=",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==",
		"ssh-ed25519 AAAA/////w==",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct ssh_certificate c = { .public_key = bad[i], .key_id = "x", .principal = "x" };
		struct err err = { 0 };

		assert_null(ssh_certificate_sign(ca, &c, &err));
		assert_int_equal(err.code, E_PARSE);
	}
}

static void a_principal_is_a_unix_user(void **state)
{
	static const struct {
		const char *email, *user;
	} cases[] = {
		{ "joe@example.com", "joe" },    { "Joe.Doe@example.com", "joe.doe" },
		{ "joe+x@example.com", "joex" }, { "-r@example.com", "r" },
		{ "$(reboot)@x", "reboot" },     { "@example.com", NULL },
		{ "+@example.com", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *user = ssh_principal(cases[i].email);

		if (cases[i].user)
			assert_string_equal(user, cases[i].user);
		else
			assert_null(user);
		mem_free(user);
	}
}

static void an_authority_survives_being_stored(void **state)
{
	struct err err = { 0 };
	char *pem = private_key_text(ca), *line = ssh_authority_line(ca, "x"), *again;
	struct private_key *same = private_key_parse(pem, &err);

	(void)state;
	assert_non_null(same);
	again = ssh_authority_line(same, "x");
	assert_string_equal(line, again);
	assert_null(private_key_parse("-----BEGIN PRIVATE KEY-----\n", &err));
	assert_int_equal(err.code, E_PARSE);
	private_key_free(same);
	mem_free(again);
	mem_free(line);
	mem_free(pem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ssh_keygen_accepts_a_certificate, start, end),
		cmocka_unit_test_setup_teardown(what_is_no_key_is_refused, start, end),
		cmocka_unit_test_setup_teardown(a_principal_is_a_unix_user, start, end),
		cmocka_unit_test_setup_teardown(an_authority_survives_being_stored, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
