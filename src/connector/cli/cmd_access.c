/* `access tcp` (ssh, rdp, smb): the command line becomes a target, then access/ does the work. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "connector/access/access.h"
#include "connector/access/target.h"
#include "connector/cli/browser.h"
#include "connector/cli/cmd_access.h"
#include "connector/cli/files.h"
#include "connector/cli/render.h"

#define COMPONENT "access"

/* A file of roots is 200 KB where distributions ship one. */
#define ROOTS_MAX_BYTES (4 * 1024 * 1024)

/* --- Whom to trust --------------------------------------------------------------------------- */

static int add_roots(struct buf *roots, const char *path, struct err *err)
{
	char *expanded = file_expand(path);
	struct buf text;
	int r = file_read(expanded, ROOTS_MAX_BYTES, &text, err);

	if (r < 0) {
		err_wrap(err, "trusted roots");
	} else {
		r = buf_append(roots, buf_bytes(&text));
		if (r == 0)
			r = buf_append_str(roots, "\n");
		if (r < 0)
			err_set(err, r, "trusted roots: %s is too large", expanded);
		buf_done(&text);
	}
	mem_free(expanded);
	return r;
}

/* The authority of one's own edge, as the login certificate names it. Having none, or an old one, is fine. */
static int add_login_roots(struct buf *roots, const char *origincert, struct err *err)
{
	char *path = *origincert ? file_expand(origincert) : file_find("cert.pem");
	struct login login;
	struct buf text;
	int r = 0;

	if (!path || (!*origincert && !file_exists(path)) ||
	    file_read(path, TOKEN_TEXT_BYTES, &text, err) < 0) {
		r = path && *origincert ? err->code : 0;
		mem_free(path);
		return r;
	}
	if (login_decode(buf_bytes(&text), &login, NULL) == 0) {
		if (login.place.ca &&
		    (buf_append_str(roots, login.place.ca) < 0 || buf_append_str(roots, "\n") < 0))
			r = err_set(err, E_LIMIT, "trusted roots: %s is too large", path);
		login_done(&login);
	} else {
		log_debug(COMPONENT, "cert.pem does not name an authority", LOG_STR("file", path));
	}
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
	mem_free(path);
	return r;
}

int access_roots(const struct cli *cli, struct buf *roots, bool *ret_no_system, struct err *err)
{
	const char *given = settings_text(&cli->settings, FLAG_CACERT);
	const char *system = getenv("SSL_CERT_FILE");
	buf_init(roots, 3 * ROOTS_MAX_BYTES);
	int r = add_login_roots(roots, settings_text(&cli->settings, FLAG_ORIGINCERT), err);

	if (r == 0 && *given)
		r = add_roots(roots, given, err);
	*ret_no_system = system && *system;
	if (r == 0 && *ret_no_system)
		r = add_roots(roots, system, err);
	return r;
}

/* --- Who asks -------------------------------------------------------------------------------- */

int access_refuse(const struct cli *cli)
{
	struct err err = { 0 };

	if (!settings_bool(&cli->settings, FLAG_ACCESS_FEDRAMP))
		return 0;
	err_set(&err, E_UNSUPPORTED,
		"--fedramp: it chooses another store of Cloudflare's; %s asks the edge that guards the "
		"application",
		cli->program);
	return cli_failed(cli, &err);
}

int access_output(const struct cli *cli, struct err *err)
{
	const char *format = settings_text(&cli->settings, FLAG_RENDER);

	if (*format && strcmp(format, "json") != 0 && strcmp(format, "yaml") != 0)
		return err_set(err, E_INVALID, "Unknown output format '%.100s'", format);
	return *format ? 1 : 0;
}

int access_render(const struct cli *cli, json_t *result, struct err *err)
{
	int r = render(stdout, settings_text(&cli->settings, FLAG_RENDER), result, err);

	json_decref(result);
	return r;
}

/* Standard output is for the token. */
static void announce(void *ctx, const char *url, const char *code)
{
	const struct cli *cli = ctx;

	if (browser_open(url))
		(void)fprintf(
			stderr,
			"A browser window should have opened at the following URL:\n\n%s\n\nIf the "
			"browser failed to open, please visit the URL above directly in your browser.\n",
			url);
	else
		cli_printf(cli, stderr,
			   "Please open the following URL and sign in:\n\n%s\n\nLeave @ running.\n",
			   url);
	(void)fprintf(stderr, "The page shows this code: %s\n", code);
}

int access_person_init(struct access_person *p, const struct cli *cli, struct err *err)
{
	bool no_system;
	int r;

	*p = (struct access_person){ .cli = cli, .directory = file_own_directory() };
	r = access_roots(cli, &p->roots, &no_system, err);
	p->client = (struct sign_in_client){
		.program = cli->program,
		.directory = p->directory,
		.ca_pem = buf_bytes(&p->roots),
		.announce = announce,
		.ctx = (void *)(uintptr_t)cli,
		.wants_close = settings_bool(&cli->settings, FLAG_ACCESS_AUTO_CLOSE),
	};
	if (r < 0)
		access_person_done(p);
	return r;
}

void access_person_done(struct access_person *p)
{
	p->directory = mem_free(p->directory);
	buf_done(&p->roots);
}

/* --- The target ------------------------------------------------------------------------------ */

static const char *env_either(const char *lower, const char *upper)
{
	const char *text = getenv(lower);

	return text && *text ? text : getenv(upper);
}

/* --destination alone, or with the control host of the edge that cert.pem is for, means a private network: then
 * the certificate's token lets one in, and goes nowhere else. `login` has to be ended where *ret_has_login. */
static int choose_network(const struct cli *cli, struct access_options *o, struct login *login,
			  bool *ret_has_login, struct err *err)
{
	const struct settings *s = &cli->settings;
	char *path = NULL;
	struct err why = { 0 };

	*ret_has_login = false;
	if (!*o->destination) {
		if (*o->vnet)
			return err_set(
				err, E_INVALID,
				"--vnet: say with --destination which address of it is meant");
		return 0;
	}
	*ret_has_login = file_read_login(cli->program, settings_text(s, FLAG_ORIGINCERT), login,
					 &path, &why) == 0;
	mem_free(path);
	const char *control = *ret_has_login ? login->place.api_url : NULL;
	bool is_private = control && (!*o->hostname || access_is_same_host(o->hostname, control));
	if (is_private) {
		o->hostname = control;
		o->api_token = bytes_of(login->api_token.ptr, login->api_token.len);
		return 0;
	}
	if (*o->vnet)
		return err_set(
			err, E_INVALID,
			"--vnet: virtual networks are reached at the control host of the edge, "
			"not at %.200s",
			*o->hostname ? o->hostname : "a host that is not known");
	if (*o->hostname)
		return 0;
	if (!*ret_has_login) {
		*err = why;
		return err_wrap(
			err, "--destination without --hostname needs the certificate of an edge");
	}
	return err_set(err, E_INVALID,
		       "the certificate names no edge, so that --destination needs --hostname");
}

static int make_target(const struct cli *cli, struct access_target *ret, struct err *err)
{
	const struct settings *s = &cli->settings;
	struct access_options options = {
		.program = cli->program,
		.hostname = settings_text(s, FLAG_ACCESS_HOSTNAME),
		.destination = settings_text(s, FLAG_ACCESS_DESTINATION),
		.vnet = settings_text(s, FLAG_VNET),
		.token_id = settings_text(s, FLAG_ACCESS_TOKEN_ID),
		.token_secret = settings_text(s, FLAG_ACCESS_TOKEN_SECRET),
		.connect_to = settings_text(s, FLAG_ACCESS_CONNECT_TO),
		.https_proxy = env_either("https_proxy", "HTTPS_PROXY"),
		.no_proxy = env_either("no_proxy", "NO_PROXY"),
	};
	struct login login;
	bool has_login = false;
	struct buf roots;

	options.header_count = settings_list(s, FLAG_ACCESS_HEADER, &options.headers);
	int r = access_roots(cli, &roots, &options.no_system_roots, err);
	options.ca_pem = buf_bytes(&roots);
	if (r == 0)
		r = choose_network(cli, &options, &login, &has_login, err);
	if (r == 0)
		r = access_target_init(ret, &options, err);
	if (has_login)
		login_done(&login);
	buf_done(&roots);
	return r;
}

/* --- Where to listen ------------------------------------------------------------------------- */

/* "localhost:2222", "tcp://127.0.0.1:2222", "unix:/run/x.sock". */
static int parse_listener(const char *url, struct address *ret, struct err *err)
{
	static const char *const schemes[] = { "http", "https", "rdp", "ssh", "smb", "tcp" };
	struct bytes text = bytes_str(url), host;
	const char *colon = strstr(url, "://");
	bool is_known = false;
	uint16_t port;

	if (bytes_starts_with(text, BYTES_LIT("unix:")))
		return address_parse(text, ret, err);
	if (colon) {
		struct bytes scheme = bytes_first(text, (size_t)(colon - url));
		for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
			is_known |= bytes_eq_nocase(scheme, bytes_str(schemes[i]));
		if (!is_known)
			return err_set(err, E_INVALID, "--url: %.*s:// is nothing to listen for",
				       (int)(scheme.len < 40 ? scheme.len : 40), url);
		text = bytes_from(text, scheme.len + 3);
		text = bytes_first(text, bytes_index(text, '/'));
	}
	if (address_split(text, &host, &port, err) < 0 || address_parse(text, ret, err) < 0)
		return err_wrap(err, "--url takes an address to listen at, as in localhost:2222");
	return 0;
}

/* --- The command ----------------------------------------------------------------------------- */

/* `access login` of this very program, for the same application and with the same trust. */
#define LOGIN_WORDS 10
struct login_words {
	const char *argv[LOGIN_WORDS];
	char *program; /* owned */
};

/* Who has a service token, or a network's, has no use for a person; where the name leads elsewhere by --connect-to alone,
 * a login would not find it. */
static const char *const *make_login(const struct cli *cli, const struct access_target *target,
				     struct login_words *w)
{
	const struct settings *s = &cli->settings;
	const char *ca = settings_text(s, FLAG_CACERT), *cert = settings_text(s, FLAG_ORIGINCERT);
	size_t n = 0;

	*w = (struct login_words){ 0 };
	if (*settings_text(s, FLAG_ACCESS_TOKEN_ID) || *settings_text(s, FLAG_ACCESS_CONNECT_TO) ||
	    fields_find_text(&target->request.fields, BYTES_LIT("Authorization")))
		return NULL;
	w->program = file_own_program(cli->program);
	w->argv[n++] = w->program;
	if (*ca) {
		w->argv[n++] = "--cacert";
		w->argv[n++] = ca;
	}
	if (*cert) {
		w->argv[n++] = "--origincert";
		w->argv[n++] = cert;
	}
	w->argv[n++] = "access";
	w->argv[n++] = "login";
	w->argv[n++] = "--no-verbose";
	w->argv[n++] = "--";
	w->argv[n] = settings_text(s, FLAG_ACCESS_HOSTNAME);
	return w->argv;
}

static int carry_stdio(struct cli *cli, struct access_target *target, const char *const *login)
{
	struct err err = { 0 };
	int r = access_stdio(target, login, &err);

	if (r == 0)
		return 0;
	if (r == E_CANCELLED || err.sys_errno == EPIPE) {
		/* Whoever ended it knows. */
		log_debug(COMPONENT, "Ended from here", LOG_STR("error", err.text));
		return 1;
	}
	log_error(COMPONENT, "failed to connect to origin",
		  LOG_BYTES("originURL", target->request.authority), LOG_STR("error", err.text));
	return cli_failed(cli, &err);
}

static int carry_connections(struct cli *cli, struct access_target *target,
			     const char *const *login, const char *url)
{
	struct address address;
	struct err err = { 0 };

	if (parse_listener(url, &address, &err) < 0 ||
	    access_listen(target, login, &address, &err) < 0)
		return cli_failed(cli, &err);
	return 0;
}

static void warn_of_secret(const struct cli *cli)
{
	if (cli->settings.values[FLAG_ACCESS_TOKEN_SECRET].source == SETTING_COMMAND)
		(void)fputs("Everybody on this machine can see a secret on a command line; put it "
			    "into TUNNEL_SERVICE_TOKEN_SECRET instead.\n",
			    stderr);
}

int cmd_access_tcp(struct cli *cli)
{
	const struct settings *s = &cli->settings;
	const char *url = settings_text(s, FLAG_ACCESS_URL), *arg = cli_arg(cli, 0);
	struct access_target target;
	struct login_words words;
	const char *const *login;
	struct err err = { 0 };
	int code = access_refuse(cli);

	if (code)
		return code;
	if (!*settings_text(s, FLAG_ACCESS_HOSTNAME) && !*settings_text(s, FLAG_ACCESS_DESTINATION))
		return cli_usage(cli, "\"@ access tcp\" needs --hostname, the hostname of the "
				      "application.");
	if (cli->line.arg_count > 1 || (arg && *url))
		return cli_usage(cli,
				 "\"@ access tcp\" listens at one place, given by --url or as its "
				 "only argument.");
	if (settings_is_set(s, FLAG_ACCESS_DEBUG_STREAM)) {
		err_set(&err, E_UNSUPPORTED,
			"--debug-stream: %s does not write into a log what it carries",
			cli->program);
		return cli_failed(cli, &err);
	}
	url = arg ? arg : url;
	/* The terminal belongs to the program whose stream this is, but for the error that ends it. */
	if (!*url && !settings_is_set(s, FLAG_LOGLEVEL))
		log_leave_stderr();
	warn_of_secret(cli);
	if (make_target(cli, &target, &err) < 0)
		return cli_failed(cli, &err);
	login = make_login(cli, &target, &words);
	code = *url ? carry_connections(cli, &target, login, url) : carry_stdio(cli, &target, login);
	mem_free(words.program);
	access_target_done(&target);
	return code;
}
