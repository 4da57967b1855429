#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "edge/cli/cli.h"
#include "edge/edge_config.h"
#include "store/store.h"
#include "wire/token.h"

static char dir[64];        /* the test's own; the state is in dir/edge */
static char data_flag[100]; /* --data=dir/edge */
static char out[64 * 1024]; /* what the last command printed on stdout and stderr */
static char ran_url[300];   /* the public URL `run` was called with */

static int setup(void **state)
{
	memcpy(dir, "/tmp/adit-edge-cli-XXXXXX", 26);
	assert_non_null(mkdtemp(dir));
	snprintf(data_flag, sizeof(data_flag), "--data=%s/edge", dir);
	ran_url[0] = 0;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	(void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return 0;
}

static int on_run(const struct edge_config *cfg)
{
	snprintf(ran_url, sizeof(ran_url), "%s", cfg->public_url);
	return 0;
}

/* Words are separated by blanks; "@" stands for the --data flag. `input` is standard input. */
static int edge(const char *line, const char *input)
{
	char words[600], *argv[24] = { (char[]){ "adit-edge" } }, *rest = words;
	int argc = 1, status, saved[3];
	FILE *to = tmpfile(), *from = tmpfile();
	size_t len;

	snprintf(words, sizeof(words), "%s", line);
	while (*rest && argc < 23) {
		char *word = rest;
		rest += strcspn(rest, " ");
		if (*rest)
			*rest++ = 0;
		argv[argc++] = strcmp(word, "@") ? word : data_flag;
	}
	assert_non_null(to);
	assert_non_null(from);
	(void)fputs(input ? input : "", from);
	rewind(from);
	(void)fflush(NULL);
	for (int i = 0; i < 3; i++)
		saved[i] = dup(i);
	(void)dup2(fileno(from), 0);
	(void)dup2(fileno(to), 1);
	(void)dup2(fileno(to), 2);
	clearerr(stdin);
	status = edge_cli_main(argc, argv, on_run);
	(void)fflush(NULL);
	for (int i = 0; i < 3; i++) {
		(void)dup2(saved[i], i);
		(void)close(saved[i]);
	}
	rewind(to);
	len = fread(out, 1, sizeof(out) - 1, to);
	out[len] = 0;
	(void)fclose(to);
	(void)fclose(from);
	return status;
}

static void expect(const char *line, const char *input, int status, const char *text)
{
	int got = edge(line, input);

	if (got != status || !strstr(out, text))
		fail_msg("adit-edge %s: status %d, wanted %d and \"%s\":\n%s", line, got, status,
			 text, out);
}

static char *in_dir(const char *name)
{
	static char path[200];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(in_dir(name), &st), 0);
	return st.st_mode & 0777;
}

static void help_is_there_at_every_level(void **state)
{
	expect("", NULL, 2, "Usage: adit-edge COMMAND");
	expect("help", NULL, 0, "zone remove  ");
	expect("--help", NULL, 0, "Exit status: 0 done");
	expect("help zone", NULL, 0, "zone add ZONE");
	expect("help zone add", NULL, 0, "Usage: adit-edge zone add [flags] ZONE");
	expect("zone --help", NULL, 0, "zone list");
	expect("zone", NULL, 2, "zone list");
	expect("run --help", NULL, 0, "--grace-period DURATION");
	expect("user password x -h", NULL, 0, "adit-edge user password");
	expect("help nosuch", NULL, 2, "there is no command 'nosuch'");
	expect("version", NULL, 0, "adit-edge version ");
	expect("--version", NULL, 0, "adit-edge version ");
}

static void mistakes_are_status_2_and_say_what_was_meant(void **state)
{
	expect("statsu", NULL, 2, "did you mean 'status'?");
	expect("zone ad x", NULL, 2, "did you mean 'zone add'?");
	expect("zone add @", NULL, 2, "ZONE is missing");
	expect("zone add a.b c.d @", NULL, 2, "'c.d' is one word too many");
	expect("run --wrkers 3", NULL, 2, "did you mean --workers?");
	expect("run --workers", NULL, 2, "--workers needs a value");
	expect("version --data x", NULL, 2, "there is no flag --data");
	expect("init --json @", NULL, 2, "there is no flag --json");
}

static void nothing_works_before_init(void **state)
{
	static const char *const lines[] = { "status @",    "cert @",  "zone list @",
					     "user list @", "check @", "run @" };

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		expect(lines[i], NULL, 1, "there is no edge in");
	expect("init @", NULL, 1, "--zone ZONE is needed");
	expect("init @ --zone nodots", NULL, 1, "not a valid zone");
	assert_int_not_equal(access(in_dir("edge"), F_OK), 0);
}

static void init_makes_a_whole_state_and_may_be_repeated(void **state)
{
	char *ca;
	FILE *file;

	expect("init @ --zone Example.com --https 127.0.0.1:8443", NULL, 0,
	       "https://adit.example.com:8443/login/link?token=");
	assert_int_equal(mode_of("edge"), 0700);
	assert_int_equal(mode_of("edge/master.key"), 0600);
	assert_int_equal(mode_of("edge/ca.pem"), 0644);
	ca = mem_alloc(8192);
	file = fopen(in_dir("edge/ca.pem"), "r");
	assert_non_null(file);
	assert_true(fread(ca, 1, 8191, file) > 100);
	(void)fclose(file);
	assert_memory_equal(ca, "-----BEGIN CERTIFICATE-----", 27);

	expect("init @ --zone example.com", NULL, 0, "control host    adit.example.com");
	assert_null(strstr(out, "token="));
	char *again = mem_alloc(8192);
	file = fopen(in_dir("edge/ca.pem"), "r");
	assert_non_null(file);
	assert_true(fread(again, 1, 8191, file) > 100);
	(void)fclose(file);
	assert_string_equal(ca, again);
	mem_free(ca);
	mem_free(again);
	expect("init @", NULL, 0, "zones           example.com");
	expect("init @ --zone home.lan --admin ada@home.lan", NULL, 0,
	       "administrator   ada@home.lan");
	expect("zone list @", NULL, 0, "home.lan");
	expect("init @ --control edge.example.com", NULL, 0, "control host    edge.example.com");
	expect("init @ --control *.example.com", NULL, 1, "not a wildcard");
	expect("init @ --control 192.0.2.1", NULL, 0, "control host    192.0.2.1");
}

static void cert_is_a_login_certificate(void **state)
{
	struct login login;

	assert_int_equal(edge("init @ --zone example.com", NULL), 0);
	/* Flags shape where it points to. */
	assert_int_equal(
		edge("cert @ --zone example.com --https :8443 --tunnel 127.0.0.1:7000", NULL), 0);
	assert_int_equal(login_decode(bytes_str(out), &login, NULL), 0);
	assert_string_equal(login.place.api_url, "https://adit.example.com:8443/client/v4");
	assert_int_equal(login.place.edge_count, 4);
	assert_string_equal(login.place.edges[0], "127.0.0.1:7000");
	assert_non_null(strstr(login.place.ca, "BEGIN CERTIFICATE"));
	login_done(&login);
	/* One zone needs no choice, two do. */
	assert_int_equal(edge("cert @", NULL), 0);
	assert_int_equal(edge("zone add home.lan @", NULL), 0);
	expect("cert @", NULL, 2, "several zones");
	expect("cert @ --zone nosuch.org", NULL, 1, "there is no");
}

static void zones_come_and_go(void **state)
{
	assert_int_equal(edge("init @ --zone example.com", NULL), 0);
	expect("zone add @ home.lan", NULL, 0, "Zone home.lan is served");
	expect("zone add @ home.lan", NULL, 1, "home.lan");
	expect("zone add @ lan", NULL, 1, "only one label");
	expect("zone list @ --json", NULL, 0, "\"name\": \"home.lan\"");
	expect("zone remove @ home.lan", NULL, 0, "is gone");
	expect("zone remove @ home.lan", NULL, 1, "there is no zone home.lan");
	expect("zone remove @ ..%2f..", NULL, 1, "adit-edge: ");
	assert_int_equal(edge("zone list @", NULL), 0);
	assert_null(strstr(out, "home.lan"));
}

static void users_get_links_and_passwords(void **state)
{
	struct store *store;

	assert_int_equal(edge("init @ --zone example.com", NULL), 0);
	expect("user add ada@example.com @", NULL, 0, "/login/link?token=");
	expect("user add ada@example.com @", NULL, 1, "ada@example.com");
	expect("user add nonsense @", NULL, 1, "not an e-mail address");
	expect("user link ada@example.com --json @", NULL, 0,
	       "\"url\": \"https://adit.example.com/login/link?token=");
	expect("user link eve@example.com @", NULL, 1, "eve@example.com");
	expect("user password ada@example.com @", "correct horse\n", 0, "has a new password");
	expect("user password ada@example.com @", "short\n", 1, "at least 8");
	expect("user password ada@example.com @", "", 1, "no password");
	expect("user password eve@example.com @", "correct horse\n", 1, "eve@example.com");
	expect("user list @", NULL, 0, "ada@example.com    yes");
	store = store_open(in_dir("edge"), false, NULL);
	assert_non_null(store);
	assert_int_equal(store_user_check(store, "ada@example.com", "correct horse", NULL), 0);
	store_close(store);
}

static void sharing_is_set_by_name(void **state)
{
	enum store_route_change change;
	struct store_tunnel tunnel;
	struct store_zone zone;
	char account[33];

	assert_int_equal(edge("init @ --zone example.com", NULL), 0);
	expect("tunnel list @", NULL, 0, "There is no tunnel yet");
	expect("tunnel routes @", NULL, 0, "There is no route yet");
	struct store *store = store_open(in_dir("edge"), false, NULL);
	assert_int_equal(store_account_first(store, account, NULL), 0);
	assert_int_equal(store_zone_find(store, "example.com", &zone, NULL), 0);
	assert_int_equal(store_tunnel_create(store, account, "home",
					     BYTES_LIT("0123456789abcdef0123456789abcdef"), &tunnel,
					     NULL),
			 0);
	assert_int_equal(store_route_put(store, &zone.id, "app.example.com", &tunnel.id, false,
					 &change, NULL),
			 0);
	store_tunnel_done(&tunnel);
	store_zone_done(&zone);
	store_close(store);

	expect("tunnel balance home @", NULL, 0, "shared by least; eject on 5xx: no");
	expect("tunnel balance home --policy cookie --eject-on-5xx yes @", NULL, 0,
	       "Requests of tunnel home are shared by cookie; eject on 5xx: yes");
	expect("tunnel balance app.example.com @", NULL, 0, "shared by the tunnel's policy");
	expect("tunnel balance app.example.com --policy client-hash @", NULL, 0,
	       "Requests for app.example.com are shared by client-hash; eject on 5xx: as the tunnel");
	expect("tunnel routes @", NULL, 0, "client-hash");
	expect("tunnel list @", NULL, 0, "cookie");
	expect("tunnel balance app.example.com --policy inherit @", NULL, 0, "the tunnel's policy");
	expect("tunnel balance app.example.com --json @", NULL, 0, "\"balance\": null");
	expect("tunnel balance home --policy random @", NULL, 1, "balance is least");
	expect("tunnel balance home --eject-on-5xx maybe @", NULL, 2, "yes, no or inherit");
	expect("tunnel balance nobody @", NULL, 1, "there is no tunnel and no route nobody");
	expect("tunnel balance @", NULL, 2, "NAME is missing");
}

static void backup_and_restore_keep_everything(void **state)
{
	char line[300];

	assert_int_equal(edge("init @ --zone example.com", NULL), 0);
	snprintf(line, sizeof(line), "backup %s/backup.db @", dir);
	expect(line, NULL, 0, "It holds the master key");
	assert_int_equal(mode_of("backup.db"), 0600);
	expect(line, NULL, 1, "backup.db");
	snprintf(line, sizeof(line), "restore %s/backup.db @", dir);
	expect(line, NULL, 1, "adit-edge: ");
	snprintf(line, sizeof(line), "restore %s/backup.db --data %s/other", dir, dir);
	expect(line, NULL, 0, "State restored");
	assert_int_equal(mode_of("other/ca.pem"), 0644);
	snprintf(line, sizeof(line), "check --data %s/other", dir);
	expect(line, NULL, 0, "OK");
}

static void check_finds_what_is_wrong(void **state)
{
	FILE *file;

	assert_int_equal(edge("init @ --zone example.com", NULL), 0);
	expect("check @", NULL, 0, "OK");
	expect("check @ --config /tmp/adit-there-is-no-such-file.yml", NULL, 1,
	       "adit-there-is-no-such-file.yml");
	file = fopen(in_dir("edge/edge.yml"), "w");
	assert_non_null(file);
	(void)fputs("https: :443\nworkrs: 2\n", file);
	(void)fclose(file);
	expect("check @", NULL, 1,
	       "edge.yml:2:1: unknown setting 'workrs', did you mean 'workers'?");
	expect("run @", NULL, 1, "edge.yml:2:1");
	assert_string_equal(ran_url, "");
	expect("check @ --config /dev/null", NULL, 0, "OK");
	expect("check @ --config /dev/null --public-url https://other.example.com", NULL, 1,
	       "control host");
	assert_int_equal(remove(in_dir("edge/master.key")), 0);
	expect("check @ --config /dev/null", NULL, 1, "adit-edge: ");
	assert_null(strstr(out, "makes one"));
}

static void run_gets_a_complete_configuration(void **state)
{
	assert_int_equal(edge("init @ --zone example.com", NULL), 0);
	/* Nobody leaves the sandbox again, and there are more tests. */
	assert_int_equal(edge("run @ --https 127.0.0.1:9443 --workers=2 --sandbox off", NULL), 0);
	assert_string_equal(ran_url, "https://adit.example.com:9443");
}

static void status_says_that_nothing_runs(void **state)
{
	assert_int_equal(edge("init @ --zone example.com", NULL), 0);
	expect("status @", NULL, 1, "is not running");
	expect("status @ --json", NULL, 1, "\"running\": false");
	/* A socket that an edge left behind when it was killed. */
	FILE *file = fopen(in_dir("edge/admin.sock"), "w");
	assert_non_null(file);
	(void)fclose(file);
	expect("status @", NULL, 1, "is not running");
}

static void data_directory_comes_from_the_environment(void **state)
{
	assert_int_equal(setenv("ADIT_EDGE_DATA", in_dir("env"), 1), 0);
	assert_int_equal(edge("init --zone example.com", NULL), 0);
	assert_int_equal(unsetenv("ADIT_EDGE_DATA"), 0);
	assert_int_equal(mode_of("env/db/adit.db"), 0600);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(help_is_there_at_every_level),
		TEST(mistakes_are_status_2_and_say_what_was_meant),
		TEST(nothing_works_before_init),
		TEST(init_makes_a_whole_state_and_may_be_repeated),
		TEST(cert_is_a_login_certificate),
		TEST(zones_come_and_go),
		TEST(users_get_links_and_passwords),
		TEST(sharing_is_set_by_name),
		TEST(backup_and_restore_keep_everything),
		TEST(check_finds_what_is_wrong),
		TEST(run_gets_a_complete_configuration),
		TEST(status_says_that_nothing_runs),
		TEST(data_directory_comes_from_the_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
