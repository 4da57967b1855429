#include "base/mem.h"
#include "connector/cli/rest.h"
#include "connector/cli/files.h"

/* The API's token, with the places of our certificate where it has none: it then runs anywhere. */
static int token_get(struct rest *api, const struct uuid *id, struct token *ret, struct err *err)
{
	char *text;
	int r = rest_tunnel_token(api, id, &text, err);

	if (r < 0)
		return r;
	r = token_decode(bytes_str(text), ret, err);
	secret_wipe(text, strlen(text));
	mem_free(text);
	if (r == 0 && ret->place.edge_count == 0 && api->login.place.edge_count) {
		token_place_done(&ret->place);
		token_place_copy(&ret->place, &api->login.place);
	}
	return r;
}

static int token_put(struct cli *cli, const struct token *token, struct err *err)
{
	const char *given = settings_text(&cli->settings, FLAG_CREDENTIALS_FILE);
	struct buf text;
	int r;

	buf_init(&text, TOKEN_TEXT_BYTES);
	if (*given) {
		char *path = file_expand(given);
		r = token_encode_credentials(&text, token);
		r = r < 0 ? err_set(err, r, "the credentials are too large")
			  : file_write_new(path, 0400, buf_bytes(&text), err);
		if (r < 0)
			err_wrap(err, "error writing token credentials to JSON file in path %s",
				 path);
		mem_free(path);
	} else {
		r = token_encode(&text, token);
		if (r < 0)
			err_set(err, r, "the token is too large");
		else
			(void)printf("%.*s\n", (int)text.len, (const char *)text.ptr);
	}
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
	return r;
}

int cmd_token(struct cli *cli)
{
	struct token token = { 0 };
	struct rest api = { 0 };
	struct err err = { 0 };
	struct uuid id;

	if (cli->line.arg_count != 1)
		return cli_usage(
			cli, "\"@ tunnel token\" requires exactly 1 argument, the name or UUID of "
			     "tunnel to fetch the credentials token for.");
	int r = rest_tunnel_find(cli, &api, cli_arg(cli, 0), &id, &err);
	if (r < 0)
		err_wrap(&err, "error parsing tunnel ID");
	else if (!api.cli)
		r = rest_open(cli, &api, &err);
	if (r == 0)
		r = token_get(&api, &id, &token, &err);
	if (r == 0)
		r = token_put(cli, &token, &err);
	token_done(&token);
	rest_done(&api);
	return r < 0 ? cli_failed(cli, &err) : 0;
}
