/* `import cloudflared`: tells what is there, writes Adit's files, says what is left to do, and does it with --create. */
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "connector/cli/files.h"
#include "connector/cli/import.h"
#include "connector/cli/render.h"

#define NAME_BYTES 64
#define ANY_EDGE "https://adit.example.com"

extern char **environ;

/* ------------------------------------------------------------------------------------------
 * What is left to do. */

/* The new tunnel's: that of the old one where it had a name, else of the first hostname. */
static void choose_name(const struct import *im, char name[NAME_BYTES])
{
	const char *host = "";
	struct uuid id;

	for (size_t i = 0; im->rules && !*host && i < ingress_count(im->rules); i++)
		host = ingress_rule(im->rules, i)->hostname;
	const char *from =
		*im->tunnel && !uuid_parse(bytes_str(im->tunnel), &id) ? im->tunnel : host;
	if (from == host && strncmp(from, "*.", 2) == 0)
		from += 2;
	size_t len = from == host ? strcspn(from, ".") : strlen(from);
	size_t used = 0;
	for (size_t i = 0; i < len && used < NAME_BYTES - 1; i++) {
		bool is_plain = (from[i] >= '0' && from[i] <= '9') || from[i] == '-' ||
				from[i] == '_' || (from[i] >= 'A' && from[i] <= 'Z') ||
				(from[i] >= 'a' && from[i] <= 'z');
		if (is_plain && (used || from[i] != '-'))
			name[used++] = from[i];
	}
	name[used] = 0;
	if (used == 0)
		(void)snprintf(name, NAME_BYTES, "imported");
}

static void todo(struct import *im, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void todo(struct import *im, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	json_array_append_new(im->todo, json_string(text));
}

/* Of the file that import_write() wrote; NULL: none. */
static const char *new_config(const struct import *im)
{
	for (size_t i = json_array_size(im->wrote); i-- > 0;)
		if (json_object_get(json_array_get(im->wrote, i), "config"))
			return json_string_value(
				json_object_get(json_array_get(im->wrote, i), "path"));
	return NULL;
}

static bool is_named_before(const struct ingress *rules, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (strcmp(ingress_rule(rules, i)->hostname,
			   ingress_rule(rules, index)->hostname) == 0)
			return true;
	return false;
}

/* What only an edge can do: a tunnel of its own, and the names. The login is that of who will install the service. */
static void plan_edge(struct import *im, const char *name)
{
	const char *as = im->is_machine_wide && geteuid() == 0 ? "sudo " : "";
	const char *edge = settings_text(&im->cli->settings, FLAG_IMPORT_EDGE);
	size_t hosts = 0;

	if (!im->has_login)
		todo(im, "%sadit tunnel login %s", as, *edge ? edge : ANY_EDGE);
	todo(im, "%sadit tunnel create %s", as, name);
	for (size_t i = 0; im->rules && i < ingress_count(im->rules); i++) {
		const char *host = ingress_rule(im->rules, i)->hostname;
		if (!*host || strcmp(host, "*") == 0 || is_named_before(im->rules, i))
			continue;
		todo(im, "%sadit tunnel route dns %s '%s'", as, name, host);
		hosts++;
	}
	if (!hosts)
		todo(im, "%sadit tunnel route dns %s app.example.com", as, name);
}

static void plan_run(struct import *im, const char *own)
{
	const char *config = new_config(im);
	bool is_ours = import_is_ours(im);

	if (!config)
		return;
	todo(im, "adit --config %s tunnel ingress validate", config);
	if (!im->is_installed) {
		todo(im, "adit --config %s tunnel run%s", config,
		     is_ours && im->is_token_run ? " --token-file ~/.adit/token" : "");
		return;
	}
	todo(im, "sudo systemctl disable --now cloudflared");
	if (is_ours && im->is_token_run)
		todo(im, "sudo adit service install --token-file %s/token",
		     im->is_machine_wide && geteuid() == 0 ? "/etc/adit" : own);
	else if (is_ours)
		todo(im, "sudo adit --config %s service install", config);
	else
		/* The new tunnel is looked up by its name, and its credentials are beside the certificate. */
		todo(im, "sudo adit --config %s --origincert %s/cert.pem service install", config,
		     own);
}

/* ------------------------------------------------------------------------------------------
 * Doing it. */

/* One of our own commands, with our terminal. */
static int run_own(const char *const *argv)
{
	char *program = file_own_program("adit");
	pid_t pid;
	int status = 0;

	(void)fflush(stdout);
	/* posix_spawnp() does not write to argv; its type is older than const. */
	int code = posix_spawnp(&pid, program, NULL, NULL, (char *const *)(uintptr_t)argv, environ);
	mem_free(program);
	if (code != 0)
		return -1;
	while (waitpid(pid, &status, 0) < 0)
		continue;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The commands of plan_edge(), one after the other; the first that fails ends it. How many were done. */
static size_t do_edge(const struct import *im, size_t count)
{
	size_t done = 0;

	for (; done < count; done++) {
		const char *words[8] = { 0 };
		char *line = mem_strdup(json_string_value(json_array_get(im->todo, done)));
		struct bytes rest = bytes_str(line), word;
		size_t used = 0;

		(void)printf("\n$ %s\n", line);
		while (used + 1 < ARRAY_LEN(words) && bytes_split(&rest, ' ', &word)) {
			char *at = (char *)(uintptr_t)word.ptr;
			at[word.len] = 0;
			if (*at == '\'') {
				at++;
				at[strlen(at) - 1] = 0;
			}
			/* We are root already where that is needed. */
			if (used || strcmp(at, "sudo") != 0)
				words[used++] = at;
		}
		int code = run_own(words);
		mem_free(line);
		if (code != 0)
			break;
	}
	return done;
}

/* ------------------------------------------------------------------------------------------
 * The report. */

static void print_list(const char *title, const json_t *list)
{
	size_t i;
	const json_t *line;

	if (json_array_size(list) == 0)
		return;
	(void)printf("%s\n", title);
	json_array_foreach(list, i, line)
	{
		const char *path = json_string_value(json_object_get(line, "path"));
		(void)printf("  %s%s%s\n", path ? path : "", path ? ": " : "",
			     json_string_value(json_object_get(line, "text")));
	}
	(void)printf("\n");
}

static void print_report(const struct import *im)
{
	size_t i;
	const json_t *line;

	print_list("Found:", im->found);
	print_list(im->is_dry ? "Would write:" : "Written:", im->wrote);
	print_list("To know:", im->left);
	if (json_array_size(im->todo))
		(void)printf("To do:\n");
	json_array_foreach(im->todo, i, line)(void) printf("  %s\n", json_string_value(line));
}

static int print_json(const struct import *im, const char *format, struct err *err)
{
	json_t *all = json_pack("{sO, sO, sO, sO}", "found", im->found, "wrote", im->wrote, "notes",
				im->left, "commands", im->todo);
	int r = render(stdout, format, all, err);

	json_decref(all);
	return r;
}

static int import_all(struct import *im, struct err *err)
{
	const struct settings *s = &im->cli->settings;
	const char *format = settings_text(s, FLAG_RENDER);
	bool creates = settings_bool(s, FLAG_IMPORT_CREATE);
	char name[NAME_BYTES];

	import_find(im);
	if (!im->config_path && !im->has_token)
		return err_set(
			err, E_NOT_FOUND,
			"nothing of cloudflared was found%s%s: no config.yml, and no service that "
			"runs it by a token%s",
			im->from ? " in " : "", im->from ? im->from : "",
			im->from ? "" : ". `--from DIR` says where else to look");
	choose_name(im, name);
	char *own = file_own_directory();
	int r = import_write(im, im->is_machine_wide && geteuid() == 0 ? "/etc/adit" : own, name,
			     err);
	if (!import_is_ours(im))
		plan_edge(im, name);
	size_t for_edge = json_array_size(im->todo);
	plan_run(im, own);
	mem_free(own);
	if (*format)
		return r < 0 ? r : print_json(im, format, err);
	if (r < 0 || !creates || im->is_dry || !for_edge) {
		print_report(im);
		return r;
	}
	json_t *commands = im->todo;
	im->todo = json_array();
	print_report(im);
	json_decref(im->todo);
	im->todo = commands;
	size_t done = do_edge(im, for_edge);
	for (size_t i = 0; i < done; i++)
		json_array_remove(im->todo, 0);
	(void)printf("\nTo do:\n");
	for (size_t i = 0; i < json_array_size(im->todo); i++)
		(void)printf("  %s\n", json_string_value(json_array_get(im->todo, i)));
	return done == for_edge
		       ? 0
		       : err_set(err, E_INVALID, "a command failed; what is left is above");
}

int cmd_import_cloudflared(struct cli *cli)
{
	const char *from = settings_text(&cli->settings, FLAG_IMPORT_FROM);
	struct err err = { 0 };
	struct import im = {
		.cli = cli,
		.from = *from ? from : NULL,
		.is_dry = settings_bool(&cli->settings, FLAG_IMPORT_DRY_RUN),
		.found = json_array(),
		.wrote = json_array(),
		.left = json_array(),
		.todo = json_array(),
		.tunnel = "",
	};

	if (cli->line.arg_count)
		return cli_usage(
			cli, "\"@ import cloudflared\" accepts no argument; --from names a folder.");
	if (strcmp(cli->program, IMPORT_STOCK) == 0)
		return cli_usage(cli,
				 "Started as cloudflared it reads cloudflared's files as they are; "
				 "start it as adit to move.");
	int r = import_all(&im, &err);
	import_done(&im);
	return r < 0 ? cli_failed(cli, &err) : 0;
}
