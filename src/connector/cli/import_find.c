/* What cloudflared has on this machine. */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "connector/cli/config_file.h"
#include "connector/cli/files.h"
#include "host/plain_file.h"
#include "connector/cli/import.h"
#include "connector/cli/unit_file.h"

/* What a unit, a script or a list of variables may have. */
#define UNIT_BYTES (256 * 1024)
#define FILES_MAX 1000 /* in a folder; the rest is not looked at */

static const char *const folders[] = {
	"~/.cloudflared",   "~/.cloudflare-warp",         "~/cloudflare-warp",
	"/etc/cloudflared", "/usr/local/etc/cloudflared",
};

static const char *const units[] = {
	"/etc/systemd/system/cloudflared.service",
	"/usr/local/lib/systemd/system/cloudflared.service",
	"/lib/systemd/system/cloudflared.service",
	"/etc/init.d/cloudflared",
};

/* What updates cloudflared behind one's back. */
static const char *const updaters[][2] = {
	{ "/etc/systemd/system/cloudflared-update.timer",
	  "systemctl disable --now cloudflared-update.timer" },
	{ "/etc/cron.d/cloudflared", "rm /etc/cron.d/cloudflared" },
	{ "/etc/cron.daily/cloudflared", "rm /etc/cron.daily/cloudflared" },
	{ "/etc/cron.daily/cloudflared-update", "rm /etc/cron.daily/cloudflared-update" },
};

void import_say(json_t *list, const char *path, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* What is no UTF-8 cannot be told. */
	json_t *said = json_string(text);
	json_array_append_new(list, json_pack("{so*, so}", "path", path ? json_string(path) : NULL,
					      "text", said ? said : json_string("?")));
}

bool import_is_ours(const struct import *im)
{
	return im->has_token && im->token.place.edge_count > 0;
}

static const char *lives_at(const struct token *token)
{
	return token->place.edge_count ? "at an edge of yours" : "at Cloudflare";
}

/* ------------------------------------------------------------------------------------------
 * Services. */

/* $NAME of a unit as the flag would have it. */
static void take_variable(struct settings *s, const char *variable)
{
	const char *value = strchr(variable, '=') + 1;
	struct bytes name = bytes_of(variable, (size_t)(value - 1 - variable));
	struct err ignored = { 0 };

	for (size_t i = 0; i < FLAG_COUNT; i++) {
		struct bytes names = bytes_str(flag_get((enum flag_id)i)->env), known;

		while (bytes_split(&names, ' ', &known))
			if (bytes_eq(known, name) && !settings_is_set(s, (enum flag_id)i))
				(void)settings_add(s, (enum flag_id)i, value, &ignored);
	}
}

static void take_unit(struct import *im, const char *path, const struct unit_file *u)
{
	struct command_line line;
	struct err err = { 0 };

	im->is_installed = im->is_machine_wide = true;
	int r = command_parse((int)u->word_count, u->words, &line, &im->unit, &err);
	command_line_done(&line);
	if (r < 0)
		import_say(im->left, path, "its command has something that adit does not know: %s",
			   err.text);
	for (size_t i = 0; i < u->variable_count; i++)
		take_variable(&im->unit, u->variables[i]);
	const char *how = settings_is_set(&im->unit, FLAG_TOKEN) ? "a token on its command line"
			  : settings_is_set(&im->unit, FLAG_TOKEN_FILE) ? "a token in a file"
			  : settings_is_set(&im->unit, FLAG_CONFIG)
				  ? "a configuration that it names"
				  : "the configuration it finds";
	import_say(im->found, path, "a service that runs cloudflared by %s", how);
	if (settings_is_set(&im->unit, FLAG_TOKEN))
		import_say(
			im->left, path,
			"the token there can be read by everybody on this machine; take it out when you "
			"have moved");
}

static void look_at_unit(struct import *im, const char *path)
{
	struct buf text, more;
	struct unit_file u;
	struct err err = { 0 };

	if (file_read(path, UNIT_BYTES, &text, &err) < 0) {
		if (err.code != E_NOT_FOUND)
			import_say(im->left, path, "cannot be read: %s", err.text);
		return;
	}
	bool has_command = unit_file_parse(buf_bytes(&text), IMPORT_STOCK, &u);
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
	if (has_command && u.variable_file &&
	    file_read(u.variable_file, UNIT_BYTES, &more, &err) == 0) {
		unit_file_variables(&u, buf_bytes(&more));
		secret_wipe(more.ptr, more.len);
		buf_done(&more);
	}
	if (has_command && !im->is_installed)
		take_unit(im, path, &u);
	/* Where systemd hands the token over, the file is what LoadCredential= names. */
	const char *file = settings_text(&im->unit, FLAG_TOKEN_FILE);
	const char *slash = strrchr(file, '/');
	if (u.credential_path && slash && (file[0] == '%' || file[0] == '$') &&
	    strcmp(slash + 1, u.credential_name) == 0)
		(void)settings_add(&im->unit, FLAG_TOKEN_FILE, u.credential_path, &err);
	unit_file_done(&u);
}

/* A process that nothing above explains: started by hand, in a terminal or a container. */
static void look_at_processes(struct import *im)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		char *path = mem_printf("/proc/%s/cmdline", entry->d_name);
		struct err ignored;
		struct buf text;

		/* Words end in NUL there: the first is the program. */
		if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name) &&
		    file_read(path, UNIT_BYTES, &text, &ignored) == 0) {
			if (text.len && memchr(text.ptr, 0, text.len) &&
			    unit_file_is_program((const char *)text.ptr, IMPORT_STOCK))
				import_say(im->found, NULL, "process %s runs %s now", entry->d_name,
					   (const char *)text.ptr);
			secret_wipe(text.ptr, text.len);
			buf_done(&text);
		}
		mem_free(path);
	}
	if (proc)
		(void)closedir(proc);
}

static void look_at_machine(struct import *im)
{
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		look_at_unit(im, units[i]);
	look_at_processes(im);
	for (size_t i = 0; i < ARRAY_LEN(updaters); i++) {
		if (!file_exists(updaters[i][0]))
			continue;
		import_say(im->found, updaters[i][0], "updates cloudflared by itself");
		import_say(im->left, updaters[i][0],
			   "adit never updates itself; when cloudflared is gone: sudo %s",
			   updaters[i][1]);
	}
}

/* ------------------------------------------------------------------------------------------
 * Folders. */

static void look_at_credentials(struct import *im, const char *path)
{
	struct buf text;
	struct err err = { 0 };
	struct token token;
	char id[UUID_TEXT_SIZE];

	if (file_read(path, TOKEN_TEXT_BYTES, &text, &err) < 0) {
		import_say(im->left, path, "cannot be read: %s", err.text);
		return;
	}
	if (token_decode_credentials(buf_bytes(&text), &token, &err) == 0) {
		import_say(im->found, path, "credentials of the tunnel %s, which lives %s",
			   token.has_tunnel ? uuid_text(&token.tunnel, id) : "that its name says",
			   lives_at(&token));
		token_done(&token);
	}
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
}

static void look_at_login(struct import *im, const char *path)
{
	struct buf text;
	struct err err = { 0 };
	struct login login;

	if (file_read(path, TOKEN_TEXT_BYTES, &text, &err) < 0) {
		import_say(im->left, path, "cannot be read: %s", err.text);
		return;
	}
	if (login_decode(buf_bytes(&text), &login, &err) < 0) {
		import_say(im->left, path, "is no login certificate: %s", err.text);
	} else {
		bool is_ours = login.place.api_url != NULL;
		import_say(im->found, path, "a login certificate %s",
			   is_ours ? "of an edge of yours" : "of an account at Cloudflare");
		if (is_ours && !im->login_path)
			im->login_path = mem_strdup(path);
		if (!is_ours)
			import_say(im->left, path,
				   "is for Cloudflare's API; `adit tunnel login` fetches one of your "
				   "edge");
		login_done(&login);
	}
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
}

static void look_at_config(struct import *im, const char *path)
{
	if (im->config_path) {
		if (strcmp(im->config_path, path) != 0)
			import_say(im->left, path,
				   "another configuration: %s counts, as for cloudflared",
				   im->config_path);
		return;
	}
	im->config_path = mem_strdup(path);
}

/* Tokens of Access, locks and the like: they are made again. */
static bool is_of_access(const char *name)
{
	struct bytes all = bytes_str(name);

	return bytes_ends_with(all, BYTES_LIT("-token")) ||
	       bytes_ends_with(all, BYTES_LIT("-jwks")) ||
	       bytes_ends_with(all, BYTES_LIT("-cf_key")) ||
	       bytes_ends_with(all, BYTES_LIT(".pub"));
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void look_at_folder(struct import *im, const char *folder)
{
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, is_visible, alphasort);
	size_t of_access = 0;

	if (count < 0 && (errno != ENOENT || im->from))
		import_say(im->left, folder, "cannot be read: %s", strerror(errno));
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		char *path = mem_printf("%s/%s", folder, name);
		struct stat st;
		bool is_file = i < FILES_MAX && stat(path, &st) == 0 && S_ISREG(st.st_mode);

		if (is_file && (strcmp(name, "config.yml") == 0 || strcmp(name, "config.yaml") == 0))
			look_at_config(im, path);
		else if (is_file && strcmp(name, "cert.pem") == 0)
			look_at_login(im, path);
		else if (is_file && bytes_ends_with(bytes_str(name), BYTES_LIT(".json")))
			look_at_credentials(im, path);
		else if (is_file)
			of_access += is_of_access(name);
		mem_free(path);
		free(entries[i]); /* allowed: scandir took it from malloc */
	}
	free(entries); /* allowed: the same */
	if (of_access)
		import_say(im->left, folder,
			   "%zu files of Access sign-ins: `adit access login` makes new ones",
			   of_access);
}

/* ------------------------------------------------------------------------------------------
 * What counts. */

static void on_unknown(void *user, const char *text)
{
	struct import *im = user;

	import_say(im->left, NULL, "%s; it has no effect", text);
}

/* Keys that are flags without an effect, in the file's order. */
static void look_at_keys(struct import *im)
{
	const struct yaml_node *root = yaml_root(im->config), *key, *value;

	for (size_t i = 0; yaml_kind(root) == YAML_MAPPING && i < yaml_count(root); i++) {
		yaml_pair(root, i, &key, &value);
		for (size_t id = 0; yaml_text(key) && id < FLAG_COUNT; id++) {
			const struct flag *flag = flag_get((enum flag_id)id);
			if (!flag->is_key || strcmp(flag->name, yaml_text(key)) != 0)
				continue;
			if (flag->effect == FLAG_MOOT)
				import_say(im->left, NULL,
					   "`%s` may stay: adit never updates itself nor "
					   "checks before it starts",
					   flag->name);
			else if (flag->effect != FLAG_WORKS)
				import_say(im->left, NULL, "`%s` has no effect in adit", flag->name);
		}
	}
}

static void read_config(struct import *im)
{
	struct err err = { 0 };

	if (file_read(im->config_path, IMPORT_CONFIG_BYTES, &im->config_text, &err) < 0) {
		buf_init(&im->config_text, IMPORT_CONFIG_BYTES);
		import_say(im->left, im->config_path, "cannot be read: %s", err.text);
		im->config_path = mem_free(im->config_path);
		return;
	}
	im->config = yaml_parse(buf_bytes(&im->config_text), im->config_path, &err);
	if (!im->config) {
		import_say(im->left, im->config_path, "is no YAML: %s", err.text);
		return;
	}
	const struct yaml_node *root = yaml_root(im->config);
	if (yaml_kind(yaml_get(root, "tunnel")) == YAML_SCALAR)
		im->tunnel = yaml_text(yaml_get(root, "tunnel"));
	if (yaml_get(root, "ingress"))
		im->rules = config_file_ingress(root, INGRESS_YAML, im->config_path, &err);
	if (yaml_get(root, "ingress") && !im->rules)
		import_say(im->left, im->config_path, "adit refuses its rules: %s", err.text);
	import_say(im->found, im->config_path, "a configuration with %zu rules%s%s",
		   im->rules ? ingress_count(im->rules) : 0, *im->tunnel ? " for the tunnel " : "",
		   im->tunnel);
	if (yaml_get(root, "warp-routing"))
		import_say(
			im->left, im->config_path,
			"`warp-routing`: which networks lead here is known where the tunnel lives; "
			"`cloudflared tunnel route ip show` lists them, `adit tunnel route ip add` "
			"makes them");
	look_at_keys(im);
	config_file_unknown(root, im->rules, on_unknown, im);
}

static bool take_token(struct import *im, struct bytes text, const char *path)
{
	struct err err = { 0 };

	if (token_decode(text, &im->token, &err) < 0) {
		import_say(im->left, path, "the token cannot be read: %s", err.text);
		return false;
	}
	im->has_token = im->is_token_run = true;
	import_say(im->found, path, "a token of a tunnel that lives %s", lives_at(&im->token));
	return true;
}

static void find_token(struct import *im)
{
	const char *text = settings_text(&im->unit, FLAG_TOKEN);
	const char *path = settings_text(&im->unit, FLAG_TOKEN_FILE);
	struct err err = { 0 };
	struct buf file;

	if (*text) {
		(void)take_token(im, bytes_str(text), NULL);
	} else if (*path && file_read(path, TOKEN_TEXT_BYTES, &file, &err) == 0) {
		(void)take_token(im, bytes_trim(buf_bytes(&file)), path);
		secret_wipe(file.ptr, file.len);
		buf_done(&file);
	} else if (*path) {
		import_say(im->left, path, "cannot be read: %s", err.text);
	}
}

/* As `run` looks for them: named, else <UUID>.json beside the configuration, else in the folders. */
static void find_credentials(struct import *im)
{
	const char *given = settings_text(&im->unit, FLAG_CREDENTIALS_FILE), *named = NULL;
	struct err err = { 0 };
	struct uuid id;
	struct buf text;

	if (im->config &&
	    yaml_kind(yaml_get(yaml_root(im->config), "credentials-file")) == YAML_SCALAR)
		named = yaml_text(yaml_get(yaml_root(im->config), "credentials-file"));
	if (*given || named)
		im->secret_path = file_expand(*given ? given : named);
	else if (im->config_path && uuid_parse(bytes_str(im->tunnel), &id))
		im->secret_path = file_credentials_path(&id, im->config_path);
	if (im->secret_path && !file_exists(im->secret_path) && im->from) {
		/* A folder that was copied from another machine still names that one's paths. */
		const char *slash = strrchr(im->secret_path, '/');
		char *here = mem_printf("%s/%s", im->from, slash ? slash + 1 : im->secret_path);
		mem_free(im->secret_path);
		im->secret_path = here;
	}
	if (!im->secret_path)
		return;
	if (file_read(im->secret_path, TOKEN_TEXT_BYTES, &text, &err) < 0) {
		import_say(im->left, im->secret_path, "cannot be read: %s", err.text);
		im->secret_path = mem_free(im->secret_path);
		return;
	}
	im->has_token = token_decode_credentials(buf_bytes(&text), &im->token, &err) == 0;
	if (!im->has_token)
		import_say(im->left, im->secret_path, "are no credentials: %s", err.text);
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
}

/* Has this user a login at an edge of ours? */
static bool has_login(const struct import *im)
{
	struct login login;
	char *path;
	bool is_ours = false;

	if (file_read_login("adit", settings_text(&im->cli->settings, FLAG_ORIGINCERT), &login,
			    &path, NULL) == 0) {
		is_ours = login.place.api_url != NULL;
		login_done(&login);
		mem_free(path);
	}
	return is_ours;
}

void import_find(struct import *im)
{
	if (!im->from)
		look_at_machine(im);
	const char *named = settings_text(&im->unit, FLAG_CONFIG);
	if (*named)
		im->config_path = file_expand(named);
	if (im->from)
		look_at_folder(im, im->from);
	for (size_t i = 0; !im->from && i < ARRAY_LEN(folders); i++) {
		char *folder = file_expand(folders[i]);
		look_at_folder(im, folder);
		mem_free(folder);
	}
	if (im->config_path)
		read_config(im);
	find_token(im);
	if (!im->has_token)
		find_credentials(im);
	im->has_login = im->login_path || has_login(im);
	im->is_machine_wide |=
		im->config_path && (strncmp(im->config_path, "/etc/", 5) == 0 ||
				    strncmp(im->config_path, "/usr/local/etc/", 15) == 0);
}

void import_done(struct import *im)
{
	json_decref(im->found);
	json_decref(im->wrote);
	json_decref(im->left);
	json_decref(im->todo);
	ingress_unref(im->rules);
	yaml_free(im->config);
	secret_wipe(im->config_text.ptr, im->config_text.len);
	buf_done(&im->config_text);
	token_done(&im->token);
	settings_done(&im->unit);
	mem_free(im->config_path);
	mem_free(im->secret_path);
	mem_free(im->login_path);
}
