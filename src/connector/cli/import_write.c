/* Adit's files for what was found. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "connector/cli/files.h"
#include "host/plain_file.h"
#include "connector/cli/import.h"

/* Other names that are tried when a file is there already. */
#define NAMES_MAX 9

struct writing {
	struct import *im;
	const char *folder;
	char *secret; /* owned; where the credentials are from now on, or NULL */
	struct buf out;
	bool is_full;
	struct err *err;
};

static bool is_there_already(const char *path, struct bytes text)
{
	struct err ignored;
	struct buf there;

	if (file_read(path, IMPORT_CONFIG_BYTES, &there, &ignored) < 0)
		return false;
	bool is_same = bytes_eq(buf_bytes(&there), text);
	secret_wipe(there.ptr, there.len);
	buf_done(&there);
	return is_same;
}

/* Under that name, or under NAME.imported, NAME.imported-2 and so on: what is there stays. *ret_path is owned. */
static int put(struct writing *w, const char *name, unsigned mode, struct bytes text,
	       const char *what, char **ret_path)
{
	int r = E_EXISTS;
	char *path = NULL;

	for (int i = 0; i <= NAMES_MAX && r == E_EXISTS; i++) {
		char suffix[24] = "";

		if (i > 0)
			(void)snprintf(suffix, sizeof(suffix), i > 1 ? ".imported-%d" : ".imported",
				       i);
		mem_free(path);
		path = mem_printf("%s/%s%s", w->folder, name, suffix);
		if (is_there_already(path, text)) {
			import_say(w->im->wrote, path, "is there already, the same");
			r = 0;
			break;
		}
		if (w->im->is_dry)
			r = file_exists(path) ? E_EXISTS : 0;
		else
			r = file_write_new(path, mode, text, w->err);
		if (r == 0 && i > 0)
			import_say(w->im->wrote, path, "%s; %s/%s was there and stays as it is",
				   what, w->folder, name);
		else if (r == 0)
			import_say(w->im->wrote, path, "%s", what);
		/* The service reads it as a user of its own, whatever root's umask is. */
		if (r == 0 && !w->im->is_dry)
			(void)chmod(path, mode);
	}
	*ret_path = path;
	return r;
}

static int make_folder(struct writing *w)
{
	unsigned mode = w->im->is_machine_wide ? 0755 : 0700;

	if (w->im->is_dry || mkdir(w->folder, mode) == 0 || errno == EEXIST)
		return 0;
	return err_set_errno(w->err, E_IO, errno, "create %s", w->folder);
}

/* A file that is copied as it is; *ret_path is owned. */
static int copy(struct writing *w, const char *from, const char *name, const char *what,
		char **ret_path)
{
	struct buf text;
	int r = file_read(from, TOKEN_TEXT_BYTES, &text, w->err);

	if (r < 0)
		return r;
	r = put(w, name, 0600, buf_bytes(&text), what, ret_path);
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
	return r;
}

/* ------------------------------------------------------------------------------------------
 * Secrets. Those of tunnels at Cloudflare stay where they are: no edge of ours knows them. */

static int write_secrets(struct writing *w)
{
	struct import *im = w->im;
	char *path = NULL;
	int r = 0;

	if (im->login_path)
		r = copy(w, im->login_path, "cert.pem", "the login certificate of your edge", &path);
	path = mem_free(path);
	if (r < 0 || !import_is_ours(im))
		return r;
	if (!im->is_token_run) {
		const char *slash = strrchr(im->secret_path, '/');
		return copy(w, im->secret_path, slash ? slash + 1 : im->secret_path,
			    "the credentials of the tunnel, for you alone", &w->secret);
	}
	struct buf text;
	buf_init(&text, TOKEN_TEXT_BYTES);
	r = token_encode(&text, &im->token);
	if (r == 0)
		r = put(w, "token", 0600, buf_bytes(&text),
			"the token of the tunnel, for you alone", &w->secret);
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
	return r;
}

/* ------------------------------------------------------------------------------------------
 * The configuration: the bytes of the file, but for the lines that name the tunnel and its secret. */

static void add_bytes(struct writing *w, struct bytes text)
{
	w->is_full |= buf_append(&w->out, text) < 0;
}

static void add(struct writing *w, const char *text)
{
	add_bytes(w, bytes_str(text));
}

/* Is it the line "key: …" of a block at the top? */
static bool is_key_line(struct bytes line, const char *key)
{
	size_t len = strlen(key);

	if (line.len < len || !bytes_eq(bytes_first(line, len), bytes_str(key)))
		return false;
	struct bytes rest = bytes_trim(bytes_from(line, len));
	return rest.len && rest.ptr[0] == ':';
}

static void add_line(struct writing *w, struct bytes line, const char *name, bool *has_tunnel)
{
	bool is_ours = import_is_ours(w->im);

	if (is_key_line(line, "tunnel") && !is_ours) {
		*has_tunnel = true;
		add(w, "# at Cloudflare: ");
		add_bytes(w, line);
		add(w, "\ntunnel: ");
		add(w, name);
		add(w, "\n");
		return;
	}
	if (is_key_line(line, "credentials-file") || is_key_line(line, "origincert")) {
		bool is_moved = is_ours && w->secret && is_key_line(line, "credentials-file");
		if (is_moved)
			add(w, "credentials-file: ");
		else
			add(w, "# at Cloudflare: ");
		add_bytes(w, is_moved ? bytes_str(w->secret) : line);
		add(w, "\n");
		return;
	}
	add_bytes(w, line);
	add(w, "\n");
}

/* What a unit says by flags and variables and the file does not. */
static void add_unit(struct writing *w)
{
	const struct yaml_node *root = w->im->config ? yaml_root(w->im->config) : NULL;
	bool has_title = false;

	for (size_t i = 0; i < FLAG_COUNT; i++) {
		const struct flag *flag = flag_get((enum flag_id)i);
		bool is_path =
			i == FLAG_PIDFILE || i == FLAG_CREDENTIALS_FILE || i == FLAG_ORIGINCERT;
		char *const *texts;

		if (!settings_is_set(&w->im->unit, (enum flag_id)i) || !flag->is_key || is_path ||
		    flag->is_secret || yaml_get(root, flag->name))
			continue;
		if (flag->effect != FLAG_WORKS) {
			if (flag->effect != FLAG_MOOT)
				import_say(w->im->left, NULL,
					   "the service's --%s has no effect in adit", flag->name);
			continue;
		}
		if (!has_title)
			add(w, "\n# What the service of cloudflared was told.\n");
		has_title = true;
		size_t count = settings_list(&w->im->unit, (enum flag_id)i, &texts);
		bool is_plain = flag->type == FLAG_BOOL || flag->type == FLAG_INT;
		bool is_list = flag->type == FLAG_LIST || flag->type == FLAG_TEXTS;
		add(w, flag->name);
		add(w, is_list ? ": [" : ": ");
		for (size_t t = 0; t < count; t++) {
			json_t *text = is_plain ? NULL : json_string(texts[t]);
			char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
			add(w, t ? ", " : "");
			add(w, quoted ? quoted : texts[t]);
			free(quoted); /* allowed: jansson's own */
			json_decref(text);
		}
		add(w, is_list ? "]\n" : "\n");
	}
}

static void skeleton(struct writing *w, const char *name)
{
	if (!import_is_ours(w->im)) {
		add(w, "tunnel: ");
		add(w, name);
	}
	add(w,
	    "\n"
	    "ingress:\n"
	    "  # One for each hostname. They were kept at Cloudflare: copy them from its dashboard.\n"
	    "  # - hostname: app.example.com\n"
	    "  #   service: http://localhost:3000\n"
	    "  - service: http_status:404\n");
}

static void edit(struct writing *w, const char *name)
{
	struct bytes rest = buf_bytes(&w->im->config_text), line;
	bool has_tunnel = import_is_ours(w->im);

	while (bytes_split(&rest, '\n', &line)) {
		if (rest.len || line.len)
			add_line(w, line, name, &has_tunnel);
	}
	if (!has_tunnel) {
		add(w, "\ntunnel: ");
		add(w, name);
		add(w, "\n");
	}
}

/* A file in braces, or one with a key twice after the edit, is left to its owner. */
static bool is_good(struct writing *w, const char *name)
{
	struct err why = { 0 };
	struct yaml_doc *doc = yaml_parse(buf_bytes(&w->out), "config.yml", &why);
	const char *tunnel = yaml_text(yaml_get(doc ? yaml_root(doc) : NULL, "tunnel"));
	bool is_right = doc && (import_is_ours(w->im) || (tunnel && strcmp(tunnel, name) == 0));

	yaml_free(doc);
	return is_right;
}

static int write_config(struct writing *w, const char *name)
{
	struct import *im = w->im;
	char *path = NULL;

	if (!im->config_path && !im->has_token)
		return 0;
	buf_init(&w->out, 2 * IMPORT_CONFIG_BYTES);
	if (im->config_path)
		edit(w, name);
	else
		skeleton(w, name);
	add_unit(w);
	const char *what = !im->config_path ? "a configuration without rules, for you to fill in"
			   : import_is_ours(im)
				   ? "the configuration as it was, with the path of the credentials"
				   : "the configuration as it was, for a tunnel at your edge";
	if (im->config_path && !is_good(w, name)) {
		buf_clear(&w->out);
		add_bytes(w, buf_bytes(&im->config_text));
		what = "the configuration as it was";
		import_say(
			im->left, im->config_path,
			"it is not written line by line: set `tunnel: %s` in the new one, and take "
			"`credentials-file` out",
			name);
	}
	int r = w->is_full ? err_set(w->err, E_LIMIT, "the configuration is too large")
			   : put(w, "config.yml", im->is_machine_wide ? 0644 : 0600,
				 buf_bytes(&w->out), what, &path);
	if (r == 0)
		json_object_set_new(json_array_get(im->wrote, json_array_size(im->wrote) - 1),
				    "config", json_true());
	mem_free(path);
	secret_wipe(w->out.ptr, w->out.len);
	buf_done(&w->out);
	return r;
}

int import_write(struct import *im, const char *folder, const char *name, struct err *err)
{
	struct writing w = { .im = im, .folder = folder, .err = err };
	int r = make_folder(&w);

	if (r == 0)
		r = write_secrets(&w);
	if (r == 0)
		r = write_config(&w, name);
	mem_free(w.secret);
	return r;
}
