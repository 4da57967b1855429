/* `access login`, `access token`, `access curl`. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "connector/cli/cmd_access.h"
#include "connector/cli/files.h"
#include "connector/cli/token_file.h"

#define COMPONENT "access"
#define STOCK_DIRECTORY "~/.cloudflared"
/* curl's own, for what could not be started. */
#define EXIT_NO_CURL 2

extern char **environ;

static void forget(char *token)
{
	if (token)
		secret_wipe(token, strlen(token));
	mem_free(token);
}

/* The application: --app, or the only argument. NULL after having complained; *ret_code then. */
static const char *which_app(struct cli *cli, int *ret_code)
{
	const char *app = settings_text(&cli->settings, FLAG_ACCESS_APP), *arg = cli_arg(cli, 0);

	*ret_code = access_refuse(cli);
	if (*ret_code)
		return NULL;
	if (cli->line.arg_count == (*app ? 0 : 1))
		return *app ? app : arg;
	*ret_code = cli_usage(cli, "Please provide the URL of one application.");
	return NULL;
}

/* The token, and what it says of itself. */
static json_t *token_json(const struct sign_in_app *app, const char *token)
{
	json_t *claims = token_claims(bytes_str(token));
	const char *email = json_string_value(json_object_get(claims, "email"));
	usec ends = json_integer_value(json_object_get(claims, "exp")) * USEC_PER_SEC;
	char at[40];
	json_t *o =
		json_pack("{s:s, s:s, s:s*, s:s, s:s}", "url", app->url, "aud", app->aud, "email",
			  email, "expires_at", clock_rfc3339(ends, at, sizeof(at)), "token", token);

	json_decref(claims);
	return o;
}

static int print_token(const struct cli *cli, const struct sign_in_app *app, const char *token,
		       struct err *err)
{
	const struct settings *s = &cli->settings;

	if (settings_bool(s, FLAG_ACCESS_QUIET))
		return 0;
	if (*settings_text(s, FLAG_RENDER))
		return access_render(cli, token_json(app, token), err);
	if (settings_bool(s, FLAG_ACCESS_NO_VERBOSE) || *settings_text(s, FLAG_ACCESS_APP))
		(void)fputs(token, stdout);
	else
		(void)printf("Successfully fetched your token:\n\n%s\n\n", token);
	return 0;
}

static int seed(const struct sign_in_app *app, struct err *err)
{
	char *directory = file_expand(STOCK_DIRECTORY);
	int r = sign_in_seed(app, directory, err);

	mem_free(directory);
	return r < 0 ? err_wrap(err, "--seed-cloudflared") : 0;
}

static int login(struct cli *cli, struct access_person *p, const char *url, struct err *err)
{
	struct sign_in_app app;
	char *token;
	int r = sign_in_find(&p->client, url, &app, err);

	if (r < 0)
		return r;
	token = sign_in(&p->client, &app, err);
	r = token ? 0 : err->code;
	if (token && settings_bool(&cli->settings, FLAG_ACCESS_SEED))
		r = seed(&app, err);
	if (r == 0)
		r = print_token(cli, &app, token, err);
	forget(token);
	sign_in_app_done(&app);
	return r;
}

int cmd_access_login(struct cli *cli)
{
	struct access_person person;
	struct err err = { 0 };
	int code, r;
	const char *url = which_app(cli, &code);

	if (!url)
		return code;
	r = access_output(cli, &err);
	if (r >= 0)
		r = access_person_init(&person, cli, &err);
	if (r == 0) {
		r = login(cli, &person, url, &err);
		access_person_done(&person);
	}
	return r < 0 ? cli_failed(cli, &err) : 0;
}

/* --- token ----------------------------------------------------------------------------------- */

int cmd_access_token(struct cli *cli)
{
	struct access_person person;
	struct sign_in_app app;
	struct err err = { 0 };
	char *token = NULL;
	int code, r;
	const char *url = which_app(cli, &code);

	if (!url)
		return code;
	r = access_output(cli, &err);
	if (r >= 0)
		r = access_person_init(&person, cli, &err);
	if (r < 0)
		return cli_failed(cli, &err);
	r = sign_in_find(&person.client, url, &app, &err);
	if (r == 0) {
		token = sign_in_stored(&app);
		if (token && *settings_text(&cli->settings, FLAG_RENDER))
			r = access_render(cli, token_json(&app, token), &err);
		else if (token)
			(void)fputs(token, stdout);
		sign_in_app_done(&app);
	}
	access_person_done(&person);
	if (r == 0 && !token)
		(void)fputs("Unable to find token for provided application. Please run login command "
			    "to generate token.\n",
			    stderr);
	code = r < 0 ? cli_failed(cli, &err) : token ? 0 : 1;
	forget(token);
	return code;
}

/* --- curl ------------------------------------------------------------------------------------ */

static bool is_allow(const char *arg)
{
	return strcmp(arg, "-ar") == 0 || strcmp(arg, "--allow-request") == 0 ||
	       strcmp(arg, "-allow-request") == 0;
}

/* A file that only curl sees: a command line is seen by everybody on this machine. Returns a descriptor. */
static int curl_config(const struct cli *cli, const char *token, struct err *err)
{
	const char *given = settings_text(&cli->settings, FLAG_CACERT);
	char *ca = file_expand(given), *text;
	int fd = memfd_create("curl", 0);
	size_t len;
	ssize_t n = -1;

	if (fd < 0) {
		mem_free(ca);
		return err_set_errno(err, E_IO, errno, "memory for curl's options");
	}
	text = mem_printf("%s%s%s%s%s%s", token ? "header = \"Cf-Access-Token: " : "",
			  token ? token : "", token ? "\"\n" : "", *given ? "cacert = \"" : "",
			  *given ? ca : "", *given ? "\"\n" : "");
	len = strlen(text);
	/* allowed: memory, not a socket */
	n = write(fd, text, len);
	if (n == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0) {
		forget(text);
		mem_free(ca);
		return fd;
	}
	err_set_errno(err, E_IO, errno, "memory for curl's options");
	close(fd); /* allowed: memory, not a socket */
	forget(text);
	mem_free(ca);
	return E_IO;
}

/* Its exit status is ours. */
static int run_curl(const char *const *argv)
{
	int status, code;
	pid_t pid;

	code = posix_spawnp(&pid, "curl", NULL, NULL, (char *const *)(uintptr_t)argv, environ);
	if (code != 0) {
		(void)fprintf(stderr, "curl: %s\n", strerror(code));
		return EXIT_NO_CURL;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_NO_CURL;
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (code != 0)
		(void)fprintf(stderr, "exit status %d\n", code);
	return code;
}

static int curl(const struct cli *cli, const char *const *args, size_t count, const char *token)
{
	const char **argv = mem_alloc_array(count + 4, sizeof(*argv));
	struct err err = { 0 };
	int fd = curl_config(cli, token, &err), code;
	char config[40];
	size_t n = 0;

	if (fd < 0) {
		mem_free((void *)argv);
		return cli_failed(cli, &err);
	}
	(void)snprintf(config, sizeof(config), "/dev/fd/%d", fd);
	argv[n++] = "curl";
	argv[n++] = "--config";
	argv[n++] = config;
	for (size_t i = 0; i < count; i++)
		argv[n++] = args[i];
	code = run_curl(argv);
	close(fd); /* allowed: memory, not a socket */
	mem_free((void *)argv);
	return code;
}

/* NULL with err->code 0: none, and none is wanted. */
static char *token_for(struct access_person *p, const char *url, bool allow, struct err *err)
{
	struct sign_in_app app;
	char *token;

	if (sign_in_find(&p->client, url, &app, err) < 0)
		return NULL;
	token = allow ? sign_in_stored(&app) : sign_in(&p->client, &app, err);
	if (!token && allow)
		log_info(COMPONENT, "You don't have an Access token set. Please run access token "
				    "<access application> to fetch one.");
	sign_in_app_done(&app);
	return token;
}

int cmd_access_curl(struct cli *cli)
{
	const char **args = mem_alloc_array(cli->line.arg_count + 1, sizeof(*args));
	struct access_person person;
	struct err err = { 0 };
	size_t count = 0;
	bool allow = false;
	char *token;
	int code = access_refuse(cli);

	for (size_t i = 0; i < cli->line.arg_count; i++) {
		/* Only in front: behind the URL it may be an option's value. */
		if (count == 0 && is_allow(cli->line.args[i]))
			allow = true;
		else
			args[count++] = cli->line.args[i];
	}
	if (code == 0 && (count == 0 || args[0][0] == '-'))
		code = cli_usage(cli, "Please provide the access app and command you wish to run.");
	if (code == 0 && access_person_init(&person, cli, &err) < 0)
		code = cli_failed(cli, &err);
	if (code) {
		mem_free((void *)args);
		return code;
	}
	token = token_for(&person, args[0], allow, &err);
	access_person_done(&person);
	code = !token && err.code ? cli_failed(cli, &err) : curl(cli, args, count, token);
	forget(token);
	mem_free((void *)args);
	return code;
}
