/* `tunnel login`: a person approves in a browser, we fetch the certificate from where the browser's side
 * leaves it (CONTROL §4). */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "connector/cli/browser.h"
#include "connector/cli/cli.h"
#include "connector/cli/files.h"
#include "http/fetch.h"

#define COMPONENT "connector/cli"

#define STOCK_LOGIN_URL "https://dash.cloudflare.com/argotunnel"
#define STOCK_CALLBACK_URL "https://login.cloudflareaccess.org/"
#define LOGIN_PATH "/argotunnel"
#define CALLBACK_PATH "/login/"
/* The login that was used last, beside the certificate. */
#define REMEMBERED "login-url"

/* The store holds each poll for 50 s, and the certificate for 10 min. */
#define POLL_TIMEOUT (60 * USEC_PER_SEC)
#define LOGIN_WINDOW (600 * USEC_PER_SEC)
/* A store that answers at once is not asked more often than this. */
#define POLL_PAUSE_MSEC 1000
/* Polls in a row that may fail on the way: a laptop that changes networks. */
#define POLL_FAILURES 5

struct login_run {
	struct cli *cli;
	char *directory; /* owned: ~/.adit */
	char *cert_path; /* owned */
	char *login_url; /* owned */
	char *callback;  /* owned, ends with "/" */
	char *key;       /* owned: 32 random bytes only the two sides know */
	char *ca_file;   /* owned; NULL: none */
};

static void run_done(struct login_run *run)
{
	mem_free(run->directory);
	mem_free(run->cert_path);
	mem_free(run->login_url);
	mem_free(run->callback);
	mem_free(run->key);
	mem_free(run->ca_file);
}

/* ------------------------------------------------------------------------------------------
 * Where to. */

/* "https://host[:port]" of a URL. */
static struct bytes url_origin(const char *url)
{
	const char *separator = strstr(url, "://");
	size_t start = separator ? (size_t)(separator - url) + 3 : 0;

	return bytes_first(bytes_str(url), start + strcspn(url + start, "/?#"));
}

static char *remembered_url(const struct login_run *run)
{
	char *path = mem_printf("%s/%s", run->directory, REMEMBERED), *url = NULL;
	struct buf text;

	if (file_read(path, TOKEN_URL_BYTES, &text, NULL) == 0) {
		struct bytes line = buf_bytes(&text);
		line = bytes_trim(bytes_first(line, bytes_index(line, '\n')));
		if (line.len)
			url = mem_strndup(line);
		buf_done(&text);
	}
	mem_free(path);
	return url;
}

static void remember_url(const struct login_run *run)
{
	char *path = mem_printf("%s/%s", run->directory, REMEMBERED);
	char *line = mem_printf("%s\n", run->login_url);
	struct err err = { 0 };

	if (file_overwrite(path, 0600, bytes_str(line), &err) < 0)
		log_warn(COMPONENT, "The address is not remembered for the next login",
			 LOG_STR("error", err.text));
	mem_free(line);
	mem_free(path);
}

/* The argument, the flag, what was used last, Cloudflare's. An address without a path is an edge's control
 * host, whose login page has a fixed place. */
static int choose_urls(struct login_run *run, struct err *err)
{
	const struct settings *s = &run->cli->settings;
	const char *arg = cli_arg(run->cli, 0), *flag = settings_text(s, FLAG_LOGIN_URL);
	const char *callback = settings_text(s, FLAG_CALLBACK_URL);
	const char *given = arg ? arg : flag;
	char *url = *given ? mem_strdup(given) : remembered_url(run);

	if (!url)
		url = mem_strdup(STOCK_LOGIN_URL);
	bool has_scheme = strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0;
	if (!has_scheme && !strstr(url, "://")) {
		char *longer = mem_printf("https://%s", url);
		mem_free(url);
		url = longer;
	} else if (!has_scheme) {
		err_set(err, E_INVALID,
			"%.200s is not an address to log in at, it should begin with "
			"https://",
			url);
		mem_free(url);
		return E_INVALID;
	}
	struct bytes origin = url_origin(url);
	struct bytes path = bytes_from(bytes_str(url), origin.len);
	if (path.len == 0 || bytes_eq(path, BYTES_LIT("/"))) {
		char *longer = mem_printf("%.*s%s", (int)origin.len, url, LOGIN_PATH);
		mem_free(url);
		url = longer;
		origin = url_origin(url);
	}
	run->login_url = url;
	if (*callback)
		run->callback = mem_printf("%s%s", callback,
					   callback[strlen(callback) - 1] == '/' ? "" : "/");
	else if (strcmp(url, STOCK_LOGIN_URL) == 0)
		run->callback = mem_strdup(STOCK_CALLBACK_URL);
	else
		run->callback = mem_printf("%.*s%s", (int)origin.len, url, CALLBACK_PATH);
	return 0;
}

static char *key_make(void)
{
	uint8_t raw[32];

	random_bytes(raw, sizeof(raw));
	return base64_text(BASE64_URL, bytes_of(raw, sizeof(raw)));
}

/* The login page with "aud" and "callback" in its query. */
static char *page_url(const struct login_run *run)
{
	char *target = mem_printf("%s%s", run->callback, run->key);
	struct buf out;

	buf_init(&out, 3 * (strlen(target) + strlen(run->login_url)) + 64);
	int r = buf_printf(&out, "%s%saud=&callback=", run->login_url,
			   strchr(run->login_url, '?') ? "&" : "?");
	if (r == 0)
		r = fetch_escape(&out, bytes_str(target));
	BUG_IF(r < 0);
	char *url = buf_take_str(&out);
	buf_done(&out);
	mem_free(target);
	return url;
}

/* ------------------------------------------------------------------------------------------
 * The browser. */

static void announce(const struct login_run *run)
{
	char *url = page_url(run);

	if (browser_open(url))
		(void)fprintf(
			stderr,
			"A browser window should have opened at the following URL:\n\n%s\n\nIf the "
			"browser failed to open, please visit the URL above directly in your browser.\n",
			url);
	else
		cli_printf(
			run->cli, stderr,
			"Please open the following URL and log in:\n\n%s\n\nLeave @ running to download "
			"the cert automatically.\n",
			url);
	mem_free(url);
}

/* ------------------------------------------------------------------------------------------
 * The wait. */

static void pause_before(usec started)
{
	if (clock_now() - started < POLL_PAUSE_MSEC * USEC_PER_MSEC)
		(void)poll(NULL, 0, POLL_PAUSE_MSEC);
}

/* 1 with the certificate in *ret, 0 not yet, negative: no use to go on. */
static int poll_once(const struct login_run *run, struct buf *ret, struct err *err)
{
	char *url = mem_printf("%s%s", run->callback, run->key);
	char *agent = mem_printf("%s/%s", run->cli->program, ADIT_VERSION);
	const struct fetch_header headers[] = { { "User-Agent", agent } };
	const struct fetch_request request = {
		.url = url,
		.headers = headers,
		.header_count = 1,
		.timeout = POLL_TIMEOUT,
		.body_max = TOKEN_TEXT_BYTES,
		.ca_file = run->ca_file,
		.use_proxy = true,
	};
	struct fetch_response response;
	int r = fetch(&request, &response, err);

	mem_free(url);
	mem_free(agent);
	if (r < 0)
		return r;
	if (response.status == 200 && response.body.len > 0) {
		*ret = response.body;
		response.body = (struct buf){ 0 };
		fetch_response_done(&response);
		return 1;
	}
	if (response.status >= 500)
		r = err_set(err, E_CLOSED, "error on request %d: %.*s", response.status,
			    (int)(response.body.len > 200 ? 200 : response.body.len),
			    response.body.ptr ? (const char *)response.body.ptr : "");
	else if (response.status != 200)
		log_info(COMPONENT, "Waiting for login...");
	fetch_response_done(&response);
	return r;
}

static bool may_pass(int code)
{
	return code == E_TIMEOUT || code == E_CLOSED || code == E_IO || code == E_REFUSED ||
	       code == E_NOT_FOUND;
}

static int wait_for_certificate(const struct login_run *run, struct buf *ret, struct err *err)
{
	usec end = clock_now() + LOGIN_WINDOW;
	unsigned failures = 0;
	bool has_answered = false;

	while (clock_now() < end) {
		usec started = clock_now();
		int r = poll_once(run, ret, err);

		if (r > 0)
			return 0;
		if (r == 0) {
			failures = 0;
			has_answered = true;
		} else if (r != E_TIMEOUT &&
			   (!has_answered || !may_pass(r) || ++failures > POLL_FAILURES)) {
			/* What cannot be reached even once will not be. */
			return r;
		}
		pause_before(started);
	}
	return err_set(err, E_TIMEOUT,
		       "Failed to fetch resource: nobody approved the login within 10 minutes");
}

/* ------------------------------------------------------------------------------------------ */

/* Decoded and encoded again: what is written is what we understood. */
static int certificate_save(const struct login_run *run, struct bytes pem, struct err *err)
{
	struct login login;
	struct buf text;
	int r = login_decode(pem, &login, err);

	if (r < 0) {
		err_wrap(err, "failed to decode origin certificate");
		return r;
	}
	buf_init(&text, TOKEN_TEXT_BYTES);
	r = login_encode(&text, &login);
	if (r < 0)
		err_set(err, r, "failed to encode origin certificate");
	else
		r = file_overwrite(run->cert_path, 0600, buf_bytes(&text), err);
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
	login_done(&login);
	return r;
}

/* Log lines of several lines would be escaped; people read these. */
static int login(struct login_run *run, struct err *err)
{
	struct buf pem = { 0 };

	announce(run);
	int r = wait_for_certificate(run, &pem, err);
	if (r < 0) {
		(void)fprintf(
			stderr,
			"Failed to write the certificate.\n\nYour browser will download the certificate "
			"instead. You will have to manually\ncopy it to the following path:\n\n%s\n\n",
			run->cert_path);
		if (r == E_TLS)
			(void)fputs(
				"If the edge's own certificate comes from a private authority, give its "
				"file with --cacert.\n\n",
				stderr);
		return r;
	}
	r = certificate_save(run, buf_bytes(&pem), err);
	secret_wipe(pem.ptr, pem.len);
	buf_done(&pem);
	if (r < 0)
		return r;
	remember_url(run);
	(void)fprintf(
		stderr,
		"You have successfully logged in.\nIf you wish to copy your credentials to a server, "
		"they have been saved to:\n%s\n",
		run->cert_path);
	return 0;
}

static bool is_empty_or_absent(const char *path)
{
	struct stat st;

	return stat(path, &st) != 0 || st.st_size == 0;
}

int cmd_login(struct cli *cli)
{
	const char *ca = settings_text(&cli->settings, FLAG_CACERT);
	struct login_run run = { .cli = cli };
	struct err err = { 0 };
	int code = 0, r;

	if (cli->line.arg_count > 1)
		return cli_usage(cli,
				 "\"@ tunnel login\" accepts only one argument, the address of the "
				 "edge's control host.");
	run.directory = file_own_directory();
	run.cert_path = mem_printf("%s/cert.pem", run.directory);
	run.ca_file = *ca ? file_expand(ca) : NULL;
	run.key = key_make();
	r = choose_urls(&run, &err);
	if (r == 0 && mkdir(run.directory, 0700) != 0 && errno != EEXIST)
		r = err_set_errno(&err, E_IO, errno, "mkdir %s", run.directory);
	if (r == 0 && !is_empty_or_absent(run.cert_path))
		/* Exit code 0, as the stock client. */
		(void)fprintf(
			stderr,
			"You have an existing certificate at %s which login would overwrite.\nIf this is "
			"intentional, please move or delete that file then run this command again.\n",
			run.cert_path);
	else if (r == 0)
		r = login(&run, &err);
	if (r < 0)
		code = cli_failed(cli, &err);
	run_done(&run);
	return code;
}
