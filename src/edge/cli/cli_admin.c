/* Commands that are one or two administration requests. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "edge/cli/command.h"
#include "store/files.h"
#include "store/names.h"
#include "store/store.h"

#define PASSWORD_BYTES_MAX (CLI_PASSWORD_BYTES - 2)
/* NIST SP 800-63B §5.1.1.1: at least eight; length is what counts. */
#define PASSWORD_BYTES_MIN 8

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* A list as a table; `names` are the members, `titles` the heading. Takes the reference. */
static int print_list(struct cli *c, json_t *list, const char *const *names,
		      const char *const *titles, size_t columns, const char *empty)
{
	size_t count = json_array_size(list);
	const char **cells;
	json_t *item;
	size_t i;

	if (c->is_json) {
		cli_print_json(list);
	} else if (count == 0) {
		printf("%s\n", empty);
	} else {
		cells = mem_alloc_array((count + 1) * columns, sizeof(*cells));
		for (i = 0; i < columns; i++)
			cells[i] = titles[i];
		json_array_foreach(list, i, item)
		{
			for (size_t column = 0; column < columns; column++) {
				const json_t *value = json_object_get(item, names[column]);
				cells[(i + 1) * columns + column] =
					json_is_boolean(value)
						? (json_is_true(value) ? "yes" : "no")
						: text_of(item, names[column]);
			}
		}
		cli_print_table(cells, count + 1, columns);
		mem_free((void *)cells);
	}
	json_decref(list);
	return EXIT_DONE;
}

/* --- Zones ------------------------------------------------------------------------------------ */

int cli_zone_add(struct cli *c)
{
	struct err err = { 0 };
	json_t *zone;

	if (cli_ask(c, "POST", "/admin/v1/zones", json_pack("{s:s}", "name", c->words[0]), &zone,
		    &err) < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(zone);
	else
		printf("Zone %s is served. Point its DNS names (%s and *.%s) at this edge.\n",
		       text_of(zone, "name"), text_of(zone, "name"), text_of(zone, "name"));
	json_decref(zone);
	return EXIT_DONE;
}

int cli_zone_list(struct cli *c)
{
	static const char *const names[] = { "name", "id", "created_at" };
	static const char *const titles[] = { "NAME", "ID", "CREATED" };
	struct err err = { 0 };
	json_t *list;

	if (cli_ask(c, "GET", "/admin/v1/zones", NULL, &list, &err) < 0)
		return cli_fail(&err);
	return print_list(c, list, names, titles, ARRAY_LEN(names),
			  "There is no zone yet. `adit-edge zone add ZONE` makes one.");
}

int cli_zone_remove(struct cli *c)
{
	struct err err = { 0 };
	char *path = cli_path("/admin/v1/zones/", c->words[0], "");
	int rc = path ? cli_ask(c, "DELETE", path, NULL, NULL, &err)
		      : err_set(&err, E_INVALID, "this is no zone");

	mem_free(path);
	if (rc < 0)
		return cli_fail(&err);
	printf("Zone %s is gone.\n", c->words[0]);
	return EXIT_DONE;
}

/* With one zone there is no choice to make. Owned; NULL after having failed. */
static char *only_zone(struct cli *c)
{
	struct err err = { 0 };
	char *name = NULL;
	json_t *list;

	if (cli_ask(c, "GET", "/admin/v1/zones", NULL, &list, &err) < 0) {
		cli_fail(&err);
		return NULL;
	}
	if (json_array_size(list) == 1)
		name = mem_strdup(text_of(json_array_get(list, 0), "name"));
	else
		cli_usage_error(c, "--zone is missing, and there %s",
				json_array_size(list) ? "are several zones" : "is no zone yet");
	json_decref(list);
	return name;
}

int cli_cert(struct cli *c)
{
	const char *zone = cli_flag(c, "zone");
	char *found = zone ? mem_strdup(zone) : only_zone(c);
	struct err err = { 0 };
	json_t *pem;
	int rc;

	if (!found)
		return c->asks == ASKS_NOBODY ? EXIT_FAILED : EXIT_USAGE;
	rc = cli_ask(c, "POST", "/admin/v1/cert", json_pack("{s:s}", "zone", found), &pem, &err);
	mem_free(found);
	if (rc < 0)
		return cli_fail(&err);
	fputs(json_string_value(pem) ? json_string_value(pem) : "", stdout);
	json_decref(pem);
	return EXIT_DONE;
}

/* --- Users ------------------------------------------------------------------------------------ */

/* A link to sign in once; *ret owned. */
static int ask_link(struct cli *c, const char *email, json_t **ret, struct err *err)
{
	char *path = cli_path("/admin/v1/users/", email, "/link");
	int rc = path ? cli_ask(c, "POST", path, NULL, ret, err)
		      : err_set(err, E_INVALID, "this is no e-mail address");

	mem_free(path);
	return rc;
}

static int print_link(struct cli *c, json_t *link, const char *email)
{
	if (c->is_json)
		cli_print_json(link);
	else
		printf("%s signs in once with this link, within 24 hours:\n%s\n", email,
		       text_of(link, "url"));
	json_decref(link);
	return EXIT_DONE;
}

int cli_user_link(struct cli *c)
{
	struct err err = { 0 };
	json_t *link;

	if (ask_link(c, c->words[0], &link, &err) < 0)
		return cli_fail(&err);
	return print_link(c, link, c->words[0]);
}

int cli_user_add(struct cli *c)
{
	struct err err = { 0 };
	json_t *link;

	if (cli_ask(c, "POST", "/admin/v1/users", json_pack("{s:s}", "email", c->words[0]), NULL,
		    &err) < 0 ||
	    ask_link(c, c->words[0], &link, &err) < 0)
		return cli_fail(&err);
	return print_link(c, link, c->words[0]);
}

int cli_user_list(struct cli *c)
{
	static const char *const names[] = { "email", "has_password", "created_at" };
	static const char *const titles[] = { "E-MAIL", "PASSWORD", "CREATED" };
	struct err err = { 0 };
	json_t *list;

	if (cli_ask(c, "GET", "/admin/v1/users", NULL, &list, &err) < 0)
		return cli_fail(&err);
	return print_list(c, list, names, titles, ARRAY_LEN(names),
			  "There is no administrator yet. `adit-edge user add EMAIL` makes one.");
}

/* One line of standard input without its end; false at the end of input or when it is too long. */
static bool read_line(char line[PASSWORD_BYTES_MAX + 2])
{
	size_t len;

	if (!fgets(line, PASSWORD_BYTES_MAX + 2, stdin))
		return false;
	len = strcspn(line, "\r\n");
	if (len > PASSWORD_BYTES_MAX)
		return false;
	line[len] = 0;
	return true;
}

/* Without showing what is typed. */
static bool ask_terminal(const char *prompt, char line[PASSWORD_BYTES_MAX + 2])
{
	struct termios before, quiet;
	bool ok;

	fputs(prompt, stderr);
	if (tcgetattr(STDIN_FILENO, &before) != 0)
		return false;
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) != 0)
		return false;
	ok = read_line(line);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	fputc('\n', stderr);
	return ok;
}

bool cli_read_password(char password[CLI_PASSWORD_BYTES], struct err *err)
{
	char again[PASSWORD_BYTES_MAX + 2];
	bool ok;

	/* No copy of it in stdio's own buffer. */
	(void)setvbuf(stdin, NULL, _IONBF, 0);
	if (isatty(STDIN_FILENO)) {
		ok = ask_terminal("New password: ", password) && ask_terminal("Once more: ", again);
		if (ok && strcmp(password, again) != 0) {
			secret_wipe(again, sizeof(again));
			err_set(err, E_INVALID, "the two are not the same; nothing was changed");
			return false;
		}
		secret_wipe(again, sizeof(again));
	} else {
		ok = read_line(password);
	}
	if (!ok)
		err_set(err, E_INVALID, "no password of at most %d bytes was given",
			PASSWORD_BYTES_MAX);
	else if (strlen(password) < PASSWORD_BYTES_MIN)
		err_set(err, E_INVALID, "a password has at least %d characters", PASSWORD_BYTES_MIN);
	return ok && strlen(password) >= PASSWORD_BYTES_MIN;
}

int cli_user_password(struct cli *c)
{
	char password[PASSWORD_BYTES_MAX + 2] = "";
	struct err err = { 0 };
	char *path = cli_path("/admin/v1/users/", c->words[0], "/password");
	int rc = E_INVALID;

	if (!path)
		err_set(&err, E_INVALID, "this is no e-mail address");
	else if (cli_read_password(password, &err)) {
		json_t *body = json_pack("{s:s}", "password", password);
		rc = body ? cli_ask(c, "POST", path, body, NULL, &err)
			  : err_set(&err, E_INVALID, "the password is not UTF-8");
	}
	secret_wipe(password, sizeof(password));
	mem_free(path);
	if (rc < 0)
		return cli_fail(&err);
	printf("%s has a new password.\n", c->words[0]);
	return EXIT_DONE;
}

/* --- Backup ----------------------------------------------------------------------------------- */

/* Of a command: there is one thread. */
static uint8_t copy_block[64 * 1024];

/* All of `from` into `to`. */
static int copy_aside(const char *from, const char *to, struct err *err)
{
	FILE *in = fopen(from, "rbe"), *out = in ? fopen(to, "wbe") : NULL;
	size_t n = 0;
	bool ok = in && out;

	while (ok && (n = fread(copy_block, 1, sizeof(copy_block), in)) > 0)
		ok = fwrite(copy_block, 1, n, out) == n;
	ok = ok && !ferror(in) && fflush(out) == 0;
	int r = ok ? 0 : err_set_errno(err, E_IO, errno, "%s", in ? to : from);
	if (in)
		(void)fclose(in);
	if (out && fclose(out) != 0 && r == 0)
		r = err_set_errno(err, E_IO, errno, "%s", to);
	secret_wipe(copy_block, sizeof(copy_block));
	return r;
}

/* Takes what the edge has written beside its database to where this user wants it, with the master key, which a running
 * edge has not. */
static int take_backup(const char *written, const char *path, const char *dir, struct err *err)
{
	char *aside = file_aside(path, 0600, err);
	int r = aside ? copy_aside(written, aside, err) : err->code;

	if (r == 0)
		r = store_backup_complete(aside, dir, err);
	if (r == 0)
		r = file_sync(aside, err);
	if (r == 0)
		r = file_put_new(aside, path, err);
	else if (aside)
		(void)unlink(aside);
	mem_free(aside);
	return r;
}

/* An edge that runs as a service may write nowhere but there, and whoever asks may write somewhere else. */
int cli_backup(struct cli *c)
{
	const char *path = c->words[0];
	char *here = c->data_dir[0] == '/' ? NULL : getcwd(NULL, 0);
	struct err err = { 0 };
	uint8_t number[8];

	if (c->data_dir[0] != '/' && !here) {
		err_set_errno(&err, E_IO, errno, "the current directory");
		return cli_fail(&err);
	}
	random_bytes(number, sizeof(number));
	char *hex = hex_text((struct bytes){ number, sizeof(number) });
	char *folder = store_folder(c->data_dir);
	char *written =
		mem_printf("%s%s%s/backup-%s", here ? here : "", here ? "/" : "", folder, hex);
	mem_free(folder);
	mem_free(here);
	mem_free(hex);
	int rc = access(path, F_OK) == 0 ? err_set(&err, E_EXISTS, "%s is there already", path) : 0;
	if (rc == 0)
		rc = cli_ask(c, "POST", "/admin/v1/backup", json_pack("{s:s}", "path", written),
			     NULL, &err);
	if (rc == 0)
		rc = take_backup(written, path, c->data_dir, &err);
	(void)unlink(written);
	if (rc == 0)
		printf("Backup written to %s. It holds the master key: keep it safe.\n", path);
	mem_free(written);
	return rc < 0 ? cli_fail(&err) : EXIT_DONE;
}
