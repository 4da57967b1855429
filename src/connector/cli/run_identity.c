/* Which tunnel `run` runs, and with what secret. */
#include "base/log.h"
#include "base/mem.h"
#include "connector/cli/apart.h"
#include "connector/cli/rest.h"
#include "connector/cli/config_file.h"
#include "connector/cli/files.h"
#include "connector/cli/run_config.h"

static struct bytes trim_lines(struct bytes b)
{
	while (b.len && strchr(" \t\r\n", b.ptr[b.len - 1]))
		b.len--;
	while (b.len && strchr(" \t\r\n", b.ptr[0]))
		b = bytes_from(b, 1);
	return b;
}

static int by_token(struct cli *cli, struct bytes text, struct token *ret)
{
	struct err err = { 0 };

	if (token_decode(text, ret, &err) == 0)
		return 0;
	log_debug("connector/cli", "token refused", LOG_STR("error", err.text));
	return cli_usage(cli, "Provided Tunnel token is not valid.");
}

static int by_token_file(struct cli *cli, const char *path, struct token *ret)
{
	char *expanded = file_expand(path);
	struct buf text;
	struct err err = { 0 };
	int code;

	if (file_read(expanded, TOKEN_TEXT_BYTES, &text, &err) < 0) {
		code = cli_usage(cli, "Failed to read token file: %s", err.text);
	} else {
		code = by_token(cli, trim_lines(buf_bytes(&text)), ret);
		secret_wipe(text.ptr, text.len);
		buf_done(&text);
	}
	mem_free(expanded);
	return code;
}

static int read_contents(const char *contents, struct token *ret, struct err *err)
{
	if (token_decode_credentials(bytes_str(contents), ret, err) == 0)
		return 0;
	log_error("connector/cli", "Invalid JSON when parsing credentials file",
		  LOG_STR("file", "TUNNEL_CRED_CONTENTS"), LOG_STR("error", err->text));
	return err_set(err, E_PARSE, "Invalid JSON when parsing tunnel credentials file");
}

/* Credentials that say nothing of the edge may lie beside a certificate that does. */
static void place_complete(const struct cli *cli, struct token *token)
{
	struct login login;
	char *path;

	if (token->place.edge_count || settings_is_set(&cli->settings, FLAG_EDGE) ||
	    file_read_login(cli->program, settings_text(&cli->settings, FLAG_ORIGINCERT), &login,
			    &path, NULL) < 0)
		return;
	if (strcmp(login.account, token->account) == 0) {
		token_place_done(&token->place);
		token_place_copy(&token->place, &login.place);
	}
	login_done(&login);
	mem_free(path);
}

static int by_credentials(const struct cli *cli, const struct uuid *id, struct token *ret,
			  struct err *err)
{
	const struct settings *s = &cli->settings;
	const char *contents = settings_text(s, FLAG_CREDENTIALS_CONTENTS);

	if (*contents)
		return read_contents(contents, ret, err);
	char *path = file_find_credentials(id, settings_text(s, FLAG_CREDENTIALS_FILE),
					   settings_text(s, FLAG_ORIGINCERT), err);
	if (!path)
		return E_NOT_FOUND;
	int r = file_read_credentials(cli->program, path, ret, err);
	mem_free(path);
	return r;
}

struct question {
	struct cli *cli;
	const char *reference;
};

static int find_by_name(void *arg, void *result, struct err *err)
{
	struct question *q = arg;
	struct rest api = { 0 };
	int r = rest_tunnel_find(q->cli, &api, q->reference, result, err);

	rest_done(&api);
	return r;
}

static int by_reference(struct cli *cli, const char *reference, struct token *ret)
{
	struct question question = { cli, reference };
	struct err err = { 0 };
	struct uuid id;
	int r = 0;

	if (!uuid_parse(bytes_str(reference), &id))
		r = apart_run(find_by_name, &question, &id, sizeof(id), &err);
	if (r < 0)
		err_wrap(&err, "error parsing tunnel ID");
	else
		r = by_credentials(cli, &id, ret, &err);
	if (r < 0)
		return cli_failed(cli, &err);
	/* As the stock connector: who was named counts, whatever the file says. Old files say nothing. */
	ret->tunnel = id;
	ret->has_tunnel = true;
	place_complete(cli, ret);
	return 0;
}

int run_identify(struct cli *cli, struct token *ret, char **ret_name)
{
	const struct settings *s = &cli->settings;
	const char *token = settings_text(s, FLAG_TOKEN), *file = settings_text(s, FLAG_TOKEN_FILE);
	const char *reference = cli_arg(cli, 0);
	struct err err = { 0 };
	struct uuid ignored;

	*ret_name = NULL;
	if (cli->line.arg_count > 1)
		return cli_usage(cli,
				 "\"@ tunnel run\" accepts only one argument, the ID or name of the "
				 "tunnel to run.");
	if (*token)
		return by_token(cli, trim_lines(bytes_str(token)), ret);
	if (*file)
		return by_token_file(cli, file, ret);
	if (!reference && config_file_tunnel(cli, &reference, &err) < 0)
		return cli_failed(cli, &err);
	if (!*reference)
		return cli_usage(
			cli, "\"@ tunnel run\" requires the ID or name of the tunnel to run as the "
			     "last command line argument or in the configuration file.");
	int code = by_reference(cli, reference, ret);
	if (code == 0 && !uuid_parse(bytes_str(reference), &ignored))
		*ret_name = mem_strdup(reference);
	return code;
}
