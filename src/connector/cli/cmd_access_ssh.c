/* `access ssh-config` and `access ssh-gen`. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/encode.h"
#include "base/secret.h"
#include "connector/access/target.h"
#include "connector/cli/cmd_access.h"
#include "connector/cli/files.h"
#include "tls/private_key.h"

#define KEY_SUFFIX "-cf_key"
#define CERT_SUFFIX "-cert.pub"
#define ECDSA_KIND "ecdsa-sha2-nistp256"
#define CURVE "nistp256"
#define LINE_BYTES_MAX 1024

/* For the shell that ssh runs ProxyCommand with, and for ssh, which expands '%'. */
static void print_word(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_-+=./,:@";
	bool is_plain = strspn(word, plain) == strlen(word);

	(void)fputs(is_plain ? "" : "'", stdout);
	for (; *word; word++) {
		if (*word == '\'')
			(void)fputs("'\\''", stdout);
		else if (*word == '%')
			(void)fputs("%%", stdout);
		else
			(void)fputc(*word, stdout);
	}
	(void)fputs(is_plain ? "" : "'", stdout);
}

static void print_proxy(const char *program, const char *asked)
{
	(void)fputs("  ProxyCommand ", stdout);
	print_word(program);
	(void)fputs(" access ssh --hostname ", stdout);
	if (strcmp(asked, "%h") == 0)
		(void)fputs("%h", stdout);
	else
		print_word(asked);
	(void)fputs("\n", stdout);
}

static void print_plain(const char *program, struct bytes host, const char *asked)
{
	(void)printf("Host " BYTES_FMT "\n", BYTES_ARG(host));
	print_proxy(program, asked);
	(void)fputs("\n", stdout);
}

/* ssh takes the command of `exec` between double quotes. */
static void print_short_lived(const char *program, struct bytes host, const char *asked)
{
	(void)printf("Match host " BYTES_FMT " exec \"", BYTES_ARG(host));
	print_word(program);
	(void)fputs(" access ssh-gen --hostname ", stdout);
	if (strcmp(asked, "%h") == 0)
		(void)fputs("%h", stdout);
	else
		print_word(asked);
	(void)fputs("\"\n", stdout);
	print_proxy(program, asked);
	(void)printf("  IdentityFile ~/.adit/%%h" KEY_SUFFIX "\n"
		     "  CertificateFile ~/.adit/%%h" KEY_SUFFIX CERT_SUFFIX "\n");
}

int cmd_access_ssh_config(struct cli *cli)
{
	const char *hostname = settings_text(&cli->settings, FLAG_ACCESS_HOSTNAME);
	const char *home = getenv("HOME");
	struct bytes host = BYTES_LIT("[your hostname]"), path = BYTES_LIT("/");
	struct err err = { 0 };
	struct arena arena;
	uint16_t port = 443;

	arena_init(&arena);
	int r = *hostname ? access_parse_hostname(&arena, hostname, &host, &port, &path, &err) : 0;
	if (r == 0) {
		char *program = file_own_program(cli->program);
		/* ssh's %h is a bare name: a port or a path have to be written out. */
		bool is_bare = port == 443 && bytes_eq(path, BYTES_LIT("/"));
		const char *asked = is_bare ? "%h" : hostname;

		(void)printf("\nAdd to your %s/.ssh/config:\n", home ? home : "");
		if (settings_bool(&cli->settings, FLAG_ACCESS_SHORT_LIVED_CERT))
			print_short_lived(program, host, asked);
		else
			print_plain(program, host, asked);
		mem_free(program);
	}
	arena_done(&arena);
	return r < 0 ? cli_failed(cli, &err) : 0;
}

/* --- ssh-gen --------------------------------------------------------------------------------- */

static size_t put(uint8_t *blob, size_t at, struct bytes text)
{
	blob[at] = blob[at + 1] = 0;
	blob[at + 2] = (uint8_t)(text.len >> 8);
	blob[at + 3] = (uint8_t)text.len;
	memcpy(blob + at + 4, text.ptr, text.len);
	return at + 4 + text.len;
}

/* As in authorized_keys (RFC 5656 §3.1), with a line break; owned by the caller. */
static char *public_line(const struct private_key *key)
{
	uint8_t point[PRIVATE_KEY_POINT_BYTES], blob[256];
	size_t len = 0;
	char *encoded, *line;

	private_key_point(key, point);
	len = put(blob, len, BYTES_LIT(ECDSA_KIND));
	len = put(blob, len, BYTES_LIT(CURVE));
	len = put(blob, len, bytes_of(point, sizeof(point)));
	encoded = base64_text(BASE64_STD, bytes_of(blob, len));
	line = mem_printf(ECDSA_KIND " %s\n", encoded);
	mem_free(encoded);
	return line;
}

static int make_key(const char *path, const char *pub_path, char **ret_line, struct err *err)
{
	struct private_key *key = private_key_make(PRIVATE_KEY_P256, "ssh", err);
	char *pem;
	int r;

	if (!key)
		return err->code;
	pem = private_key_text(key);
	*ret_line = public_line(key);
	r = file_overwrite(path, 0600, bytes_str(pem), err);
	if (r == 0)
		r = file_overwrite(pub_path, 0600, bytes_str(*ret_line), err);
	secret_wipe(pem, strlen(pem));
	mem_free(pem);
	private_key_free(key);
	if (r < 0)
		*ret_line = mem_free(*ret_line);
	return r;
}

/* The key of before, where both halves are there. */
static int have_key(const char *path, char **ret_line, struct err *err)
{
	char *pub_path = mem_printf("%s.pub", path);
	struct buf text;
	int r = 0;

	if (file_exists(path) && file_read(pub_path, LINE_BYTES_MAX, &text, NULL) == 0) {
		*ret_line = mem_strndup(buf_bytes(&text));
		buf_done(&text);
	} else {
		r = make_key(path, pub_path, ret_line, err);
	}
	mem_free(pub_path);
	return r;
}

/* ~/.adit/HOST-cf_key, where ssh's %h finds it; with a path as CONTROL §5.2 has it. */
static char *key_path(const struct access_person *p, const char *hostname, struct err *err)
{
	struct arena arena;
	struct bytes host, path;
	uint16_t port;
	char *name = NULL, *full;

	arena_init(&arena);
	if (access_parse_hostname(&arena, hostname, &host, &port, &path, err) == 0) {
		path = bytes_first(path, bytes_index(path, '?'));
		name = mem_printf(BYTES_FMT BYTES_FMT KEY_SUFFIX, BYTES_ARG(host),
				  BYTES_ARG(path.len > 1 ? path : BYTES_NONE));
		for (char *c = name; *c; c++)
			*c = *c == '/' ? '-' : *c;
	}
	arena_done(&arena);
	full = name ? mem_printf("%s/%s", p->directory, name) : NULL;
	mem_free(name);
	return full;
}

static int print_files(const struct cli *cli, const char *url, const char *key,
		       const char *certificate, struct err *err)
{
	char *public = mem_printf("%s.pub", key);
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "url", url, "key", key, "public_key", public,
			      "certificate", certificate);

	mem_free(public);
	return access_render(cli, o, err);
}

static int fetch_certificate(struct access_person *p, const char *hostname, struct err *err)
{
	struct sign_in_app app;
	char *path, *token, *line = NULL, *certificate = NULL, *name;
	int r = sign_in_find(&p->client, hostname, &app, err);

	if (r < 0)
		return r;
	path = key_path(p, hostname, err);
	token = path ? sign_in(&p->client, &app, err) : NULL;
	if (token && have_key(path, &line, err) == 0)
		certificate = sign_in_certificate(&p->client, &app, token, line, err);
	r = certificate ? 0 : err->code;
	if (certificate) {
		name = mem_printf("%s" CERT_SUFFIX, path);
		r = file_overwrite(name, 0600, bytes_str(certificate), err);
		if (r == 0 && *settings_text(&p->cli->settings, FLAG_RENDER))
			r = print_files(p->cli, app.url, path, name, err);
		mem_free(name);
	}
	if (token)
		secret_wipe(token, strlen(token));
	mem_free(token);
	mem_free(line);
	mem_free(certificate);
	mem_free(path);
	sign_in_app_done(&app);
	return r;
}

int cmd_access_ssh_gen(struct cli *cli)
{
	const char *hostname = settings_text(&cli->settings, FLAG_ACCESS_HOSTNAME);
	struct access_person person;
	struct err err = { 0 };
	int r = access_refuse(cli);

	if (r)
		return r;
	if (!*hostname || cli->line.arg_count)
		return cli_usage(cli, "\"@ access ssh-gen\" needs --hostname, the hostname of the "
				      "application.");
	r = access_output(cli, &err);
	if (r >= 0)
		r = access_person_init(&person, cli, &err);
	if (r == 0) {
		r = fetch_certificate(&person, hostname, &err);
		access_person_done(&person);
	}
	return r < 0 ? cli_failed(cli, &err) : 0;
}
