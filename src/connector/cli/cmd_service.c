/* `service install` and `service uninstall`: the connector as a service of this machine. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "connector/cli/files.h"
#include "connector/cli/run_config.h"
#include "host/service.h"

#define COMPONENT "service"
#define CONFIG_BYTES (4 * 1024 * 1024)

/* What an installation writes below /etc; what it wrote is removed when it fails. */
struct installation {
	char *folder, *config, *secret; /* owned: paths */
	char *args;                     /* owned: for struct service */
	bool wrote_config, wrote_secret;
	struct err err;
};

static void paths_init(struct installation *in, const char *name, const char *secret)
{
	in->folder = mem_printf("/etc/%s", name);
	in->config = mem_printf("/etc/%s/config.yml", name);
	in->secret = mem_printf("/etc/%s/%s", name, secret);
}

static void installation_done(struct installation *in)
{
	mem_free(in->folder);
	mem_free(in->config);
	mem_free(in->secret);
	mem_free(in->args);
}

static int fail(const struct cli *cli, struct installation *in)
{
	if (in->wrote_secret)
		(void)unlink(in->secret);
	if (in->wrote_config)
		(void)unlink(in->config);
	int code = cli_failed(cli, &in->err);
	installation_done(in);
	return code;
}

static int make_folder(struct installation *in)
{
	if (mkdir(in->folder, 0755) < 0 && errno != EEXIST)
		return err_set_errno(&in->err, E_IO, errno, "create %s", in->folder);
	/* Whatever root's umask is, the service's user has to read the configuration. */
	(void)chmod(in->folder, 0755);
	return 0;
}

static int write_secret(struct installation *in, struct bytes text)
{
	int r = make_folder(in);

	if (r == 0)
		r = file_overwrite(in->secret, 0600, text, &in->err);
	in->wrote_secret = r == 0;
	return r;
}

/* ------------------------------------------------------------------------------------------
 * By a token: that is all it needs. */

static int by_token(struct installation *in, const struct token *token)
{
	struct buf text;

	buf_init(&text, TOKEN_TEXT_BYTES);
	int r = token_encode(&text, token);
	r = r < 0 ? err_set(&in->err, r, "the token is too large")
		  : write_secret(in, buf_bytes(&text));
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
	in->args = mem_strdup("--no-autoupdate tunnel run --token-file @SECRET@");
	return r;
}

/* ------------------------------------------------------------------------------------------
 * By a configuration: it is copied to where the service reads it, with the credentials of its tunnel, which may
 * lie in a home that the service cannot read. */

static int copy_config(const struct cli *cli, struct installation *in)
{
	struct stat from, to;
	struct buf text;

	if (stat(cli->config_path, &from) == 0 && stat(in->config, &to) == 0) {
		if (from.st_ino == to.st_ino && from.st_dev == to.st_dev)
			return 0;
		return err_set(
			&in->err, E_EXISTS,
			"possible conflicting configuration in %s and %s. Either remove %s or run "
			"`%s --config %s service install`",
			cli->config_path, in->config, in->config, cli->program, in->config);
	}
	int r = file_read(cli->config_path, CONFIG_BYTES, &text, &in->err);
	if (r < 0)
		return r;
	r = make_folder(in);
	if (r == 0)
		r = file_write_new(in->config, 0644, buf_bytes(&text), &in->err);
	in->wrote_config = r == 0;
	if (r == 0)
		(void)chmod(in->config, 0644);
	buf_done(&text);
	return r;
}

static int by_config(struct cli *cli, struct installation *in, struct token *token)
{
	struct connector_config cfg;
	struct buf text;

	buf_init(&text, TOKEN_TEXT_BYTES);
	int r = token_encode_credentials(&text, token);
	r = r < 0 ? err_set(&in->err, r, "the credentials are too large") : 0;
	/* What `run` would refuse is better refused here. */
	connector_config_init(&cfg);
	cfg.tunnel_name = mem_strdup("");
	if (r == 0)
		r = run_configure(cli, token, &cfg, &in->err);
	connector_config_done(&cfg);
	if (r == 0)
		r = copy_config(cli, in);
	if (r == 0)
		r = write_secret(in, buf_bytes(&text));
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
	in->args = mem_printf("--no-autoupdate --config %s tunnel run --credentials-file @SECRET@",
			      in->config);
	return r;
}

/* ------------------------------------------------------------------------------------------ */

/* Which tunnel: TOKEN, --token-file or $TUNNEL_TOKEN, else the configuration's. An exit code, told. */
static int identify(struct cli *cli, bool *ret_is_token, struct token *ret)
{
	const struct settings *s = &cli->settings;
	struct err err = { 0 };
	char *name = NULL;

	*ret_is_token = cli->line.arg_count || *settings_text(s, FLAG_TOKEN) ||
			*settings_text(s, FLAG_TOKEN_FILE);
	if (cli->line.arg_count) {
		if (token_decode(bytes_str(cli_arg(cli, 0)), ret, &err) == 0)
			return 0;
		return cli_usage(cli, "Provided tunnel token is not valid (%s).", err.text);
	}
	if (!*ret_is_token && !cli->config) {
		err_set(&err, E_NOT_FOUND,
			"no configuration was found to run as a service. Give the tunnel's token (%s "
			"tunnel token NAME prints it), or write ~/.%s/config.yml",
			cli->program, cli->program);
		return cli_failed(cli, &err);
	}
	int code = run_identify(cli, ret, &name);
	mem_free(name);
	return code;
}

static int install(struct cli *cli, struct installation *in, bool is_token, struct token *token)
{
	enum service_init init = service_init_detect();
	bool is_up = false;

	log_info(COMPONENT, "Setting up the service", LOG_STR("init", service_init_name(init)));
	int r = is_token ? by_token(in, token) : by_config(cli, in, token);
	if (r < 0)
		return r;
	char *program = file_own_program(cli->program);
	if (program[0] != '/' || !service_is_plain(program))
		r = err_set(&in->err, E_INVALID,
			    "%s is no path that init systems take: move the program to one without "
			    "blanks and special characters, as /usr/local/bin/%s",
			    program, cli->program);
	const struct service_credential secret = { strrchr(in->secret, '/') + 1, in->secret };
	const struct service service = {
		.role = SERVICE_CONNECTOR,
		.name = cli->program,
		.program = program,
		.args = in->args,
		.description = "connector of a tunnel",
		.credentials = &secret,
		.credential_count = 1,
	};
	if (r == 0)
		r = service_install(init, &service, &is_up, &in->err);
	mem_free(program);
	if (r < 0)
		return r;
	if (!is_up)
		log_warn(COMPONENT,
			 "It has no connection to the edge yet, and keeps trying; its log says why");
	log_info(COMPONENT, "Linux service installed successfully",
		 LOG_STR("service", cli->program), LOG_STR("credentials", in->secret));
	return 0;
}

int cmd_service_install(struct cli *cli)
{
	struct installation in = { 0 };
	struct token token = { 0 };
	bool is_token;

	if (cli->line.arg_count > 1)
		return cli_usage(cli,
				 "\"@ service install\" accepts only one argument, the token of "
				 "the tunnel to run.");
	if (service_may_install(cli->program, &in.err) < 0)
		return cli_failed(cli, &in.err);
	int code = identify(cli, &is_token, &token);
	if (code != 0)
		return code;
	paths_init(&in, cli->program, is_token ? "token" : "service-credentials.json");
	int r = install(cli, &in, is_token, &token);
	token_done(&token);
	if (r < 0)
		return fail(cli, &in);
	installation_done(&in);
	return 0;
}

int cmd_service_uninstall(struct cli *cli)
{
	static const char *const secrets[] = { "token", "service-credentials.json" };
	struct err err = { 0 };

	if (cli->line.arg_count)
		return cli_usage(cli, "\"@ service uninstall\" accepts no argument.");
	if (service_need_root(&err) < 0 ||
	    service_uninstall(service_init_detect(), cli->program, &err) < 0)
		return cli_failed(cli, &err);
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		char *path = mem_printf("/etc/%s/%s", cli->program, secrets[i]);
		(void)unlink(path);
		mem_free(path);
	}
	log_info(COMPONENT, "Linux service uninstalled successfully",
		 LOG_STR("service", cli->program));
	return 0;
}
