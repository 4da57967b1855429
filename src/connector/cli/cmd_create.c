#include "base/encode.h"
#include "base/mem.h"
#include "base/random.h"
#include "connector/cli/rest.h"
#include "connector/cli/files.h"
#include "connector/cli/render.h"

static int secret_make(const struct cli *cli, struct secret *ret, struct err *err)
{
	uint8_t raw[TOKEN_SECRET_BYTES * 2];
	struct bytes text = bytes_str(settings_text(&cli->settings, FLAG_CREATE_SECRET));
	size_t len = TOKEN_SECRET_MIN_BYTES;

	if (text.len == 0)
		random_bytes(raw, len);
	else if (text.len > TOKEN_SECRET_BYTES || !base64_decode(BASE64_STD, text, raw, &len))
		return err_set(err, E_INVALID, "Couldn't decode tunnel secret from base64");
	else if (len < TOKEN_SECRET_MIN_BYTES)
		return err_set(err, E_INVALID,
			       "Decoded tunnel secret must be at least 32 bytes long");
	secret_set(ret, bytes_of(raw, len));
	secret_wipe(raw, sizeof(raw));
	return 0;
}

/* The credentials know the edge, the API and their authority as the certificate does, so that `run` needs
 * no flag. */
static int credentials_write(const struct rest *api, const struct uuid *id,
			     const struct secret *secret, const char *path, struct err *err)
{
	const struct token token = {
		.account = api->login.account,
		.secret = *secret,
		.tunnel = *id,
		.has_tunnel = true,
		.endpoint = api->login.endpoint,
		.place = api->login.place,
	};
	struct buf text;

	buf_init(&text, TOKEN_TEXT_BYTES);
	int r = token_encode_credentials(&text, &token);
	if (r < 0)
		err_set(err, r, "the credentials are too large");
	else
		r = file_write_new(path, 0400, buf_bytes(&text), err);
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
	return r;
}

/* Without its credentials the tunnel cannot run, so it goes again. */
static int undo(struct rest *api, const struct rest_tunnel *tunnel, const char *path,
		const struct err *why)
{
	const char *program = api->cli->program;
	char id[UUID_TEXT_SIZE];
	struct err err = { 0 };

	uuid_text(&tunnel->id, id);
	(void)fprintf(
		stderr,
		"failed to create tunnel: Your tunnel '%s' was created with ID %s. However, %s couldn't "
		"write tunnel credentials to %s.\nThe file-writing error is: %s\n",
		tunnel->name, id, program, path, why->text);
	if (rest_tunnel_delete(api, &tunnel->id, true, &err) < 0)
		(void)fprintf(
			stderr,
			"%s tried to delete the tunnel for you, but encountered an error. You should "
			"use `%s tunnel delete %s` to delete the tunnel yourself, because the tunnel "
			"can't be run without the tunnelfile.\nThe delete tunnel error is: %s\n",
			program, program, id, err.text);
	else
		(void)fputs("The tunnel was deleted, because the tunnel can't be run without the "
			    "credentials file\n",
			    stderr);
	return 1;
}

static int print(const struct cli *cli, const struct rest_tunnel *tunnel, const char *path,
		 bool is_default_path)
{
	const char *format = settings_text(&cli->settings, FLAG_RENDER);
	char id[UUID_TEXT_SIZE];
	struct err err = { 0 };

	if (!*format) {
		(void)printf("Tunnel credentials written to %s.", path);
		if (is_default_path)
			cli_print(
				cli, stdout,
				" @ chose this file based on where your origin certificate was found.");
		(void)printf(
			" Keep this file secret. To revoke these credentials, delete the tunnel.\n"
			"\nCreated tunnel %s with id %s\n",
			tunnel->name, uuid_text(&tunnel->id, id));
		return 0;
	}
	json_t *value = rest_tunnel_json(tunnel);
	json_t *token = json_string(tunnel->token ? tunnel->token : "");
	/* The stock client nests the tunnel in YAML and not in JSON. */
	if (strcmp(format, "yaml") == 0)
		value = json_pack("{s:o, s:o}", "tunnel", value, "token", token);
	else
		json_object_set_new(value, "token", token);
	int r = render(stdout, format, value, &err);
	json_decref(value);
	return r < 0 ? cli_failed(cli, &err) : 0;
}

static int create(struct cli *cli, struct rest *api, const struct secret *secret)
{
	const char *given = settings_text(&cli->settings, FLAG_CREDENTIALS_FILE);
	struct rest_tunnel tunnel;
	struct arena arena;
	struct err err = { 0 };
	int code;

	arena_init(&arena);
	int r = rest_tunnel_create(api, &arena, cli_arg(cli, 0), bytes_of(secret->ptr, secret->len),
				   &tunnel, &err);
	if (r < 0) {
		err_wrap(&err, "failed to create tunnel: Create Tunnel API call failed");
		code = cli_failed(cli, &err);
	} else {
		char *path = *given ? file_expand(given)
				    : file_credentials_path(&tunnel.id, api->login_path);
		r = credentials_write(api, &tunnel.id, secret, path, &err);
		code = r < 0 ? undo(api, &tunnel, path, &err) : print(cli, &tunnel, path, !*given);
		mem_free(path);
	}
	arena_done(&arena);
	return code;
}

int cmd_create(struct cli *cli)
{
	const char *format = settings_text(&cli->settings, FLAG_RENDER);
	struct secret secret = { 0 };
	struct rest api = { 0 };
	struct err err = { 0 };

	if (cli->line.arg_count != 1)
		return cli_usage(
			cli, "\"@ tunnel create\" requires exactly 1 argument, the name of tunnel "
			     "to create.");
	/* Said before anything is created, for then it would be too late. */
	if (*format && strcmp(format, "json") != 0 && strcmp(format, "yaml") != 0) {
		err_set(&err, E_INVALID, "failed to create tunnel: Unknown output format '%.100s'",
			format);
		return cli_failed(cli, &err);
	}
	int r = rest_open(cli, &api, &err);
	if (r < 0)
		err_wrap(&err, "couldn't create client to talk to Cloudflare Tunnel backend");
	else
		r = secret_make(cli, &secret, &err);
	if (r < 0)
		err_wrap(&err, "failed to create tunnel");
	int code = r < 0 ? cli_failed(cli, &err) : create(cli, &api, &secret);
	secret_done(&secret);
	rest_done(&api);
	return code;
}
