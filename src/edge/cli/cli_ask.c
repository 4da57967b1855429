/* Asking the edge: through its admin socket when it runs, else the same requests on the files. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "edge/access/countries.h"
#include "edge/cli/command.h"
#include "edge/control/control.h"
#include "http/fetch.h"
#include "store/store.h"

/* Lists of tunnels and zones; far more than one node serves. */
#define ANSWER_BYTES_MAX (64 * 1024 * 1024)
/* A backup of a large database is part of one request. */
#define ASK_TIMEOUT (300 * USEC_PER_SEC)

/* The envelope of an answer: 0 with the result, or the first error's message. */
static int read_answer(int status, struct bytes body, json_t **ret, struct err *err)
{
	json_t *root = json_loadb(body.len ? (const char *)body.ptr : "", body.len, 0, NULL);
	json_t *result = json_object_get(root, "result");
	json_t *first = json_array_get(json_object_get(root, "errors"), 0);
	const char *text = json_string_value(json_object_get(first, "message"));
	int rc = 0;

	if (status == 200 && result)
		*ret = json_incref(result);
	else if (status == 404)
		rc = err_set(err, E_NOT_FOUND, "%s", text ? text : "not found");
	else if (status == 409)
		rc = err_set(err, E_EXISTS, "%s", text ? text : "in conflict");
	else
		rc = err_set(err, E_INVALID, "%s", text ? text : "the edge gave no readable answer");
	json_decref(root);
	return rc;
}

/* --- The socket ------------------------------------------------------------------------------- */

/* E_REFUSED: nobody listens there. */
static int ask_socket(struct cli *c, const char *method, const char *path, struct bytes body,
		      json_t **ret, struct err *err)
{
	char *url = mem_printf("http://localhost%s", path);
	const struct fetch_header type = { "Content-Type", "application/json" };
	const struct fetch_request req = {
		.method = method,
		.url = url,
		.headers = &type,
		.header_count = 1,
		.body = body,
		.timeout = ASK_TIMEOUT,
		.body_max = ANSWER_BYTES_MAX,
		.unix_path = c->config.admin_socket,
	};
	struct fetch_response res;
	int rc = fetch(&req, &res, err);

	mem_free(url);
	if (rc < 0)
		return rc;
	rc = read_answer(res.status, buf_bytes(&res.body), ret, err);
	fetch_response_done(&res);
	return rc;
}

/* --- The files -------------------------------------------------------------------------------- */

static void on_answered(struct control_request *r)
{
	*(bool *)r->asker = true;
}

static int open_files(struct cli *c, struct err *err)
{
	int rc;

	c->store = cli_open_store(c, err);
	if (!c->store)
		return err->code;
	rc = cli_complete_config(c, c->store, err);
	if (rc < 0)
		return rc;
	/* What has nothing to do with countries works without them. */
	struct countries *countries = c->config.country_database
					      ? countries_open(c->config.country_database, NULL)
					      : NULL;
	const struct control_options options = {
		.public_url = c->config.public_url,
		.edge_addresses = (const char *const *)c->config.advertise.list,
		.edge_address_count = c->config.advertise.count,
		.has_country_database = c->config.country_database != NULL,
		.countries = countries,
	};
	c->control = control_plane_new(c->store, NULL, NULL, &options);
	countries_unref(countries);
	return 0;
}

static int ask_files(struct cli *c, const char *method, const char *path, struct bytes body,
		     json_t **ret, struct err *err)
{
	struct control_request r = { 0 };
	bool is_answered = false;
	int rc;

	arena_init(&r.arena);
	r.head.method = bytes_str(method);
	r.head.path = bytes_str(path);
	r.body = body;
	r.is_admin = true;
	r.answered = on_answered;
	r.asker = &is_answered;
	control_ask(c->control, &r);
	BUG_IF(!is_answered);
	rc = read_answer(r.status, r.answer, ret, err);
	arena_done(&r.arena);
	return rc;
}

/* --- Which ------------------------------------------------------------------------------------ */

static int ask_either(struct cli *c, const char *method, const char *path, struct bytes body,
		      json_t **ret, struct err *err)
{
	const char *socket = c->config.admin_socket;
	int rc;

	if (c->asks == ASKS_SOCKET)
		return ask_socket(c, method, path, body, ret, err);
	if (c->asks == ASKS_NOBODY && access(socket, F_OK) == 0) {
		if (access(socket, W_OK) != 0)
			return err_set_errno(err, E_DENIED, errno,
					     "%s: run this as the edge's user", socket);
		rc = ask_socket(c, method, path, body, ret, err);
		/* A socket that nobody listens on was left behind by an edge that was killed. */
		if (rc != E_REFUSED) {
			c->asks = ASKS_SOCKET;
			return rc;
		}
	}
	if (c->asks == ASKS_NOBODY) {
		rc = open_files(c, err);
		if (rc < 0)
			return rc;
		c->asks = ASKS_FILES;
	}
	return ask_files(c, method, path, body, ret, err);
}

int cli_ask(struct cli *c, const char *method, const char *path, json_t *body, json_t **ret,
	    struct err *err)
{
	size_t size = body ? json_dumpb(body, NULL, 0, JSON_COMPACT) : 0;
	char *text = size ? mem_alloc(size) : NULL;
	json_t *result = NULL;
	int rc = 0;

	if (body && json_dumpb(body, text, size, JSON_COMPACT) != size)
		rc = err_set(err, E_INVALID, "the request cannot be written as JSON");
	json_decref(body);
	if (!c->has_config && rc == 0)
		rc = cli_load_config(c, err);
	if (rc == 0)
		rc = ask_either(c, method, path, bytes_of(text, size), &result, err);
	/* A password may be in it. */
	if (text)
		secret_wipe(text, size);
	mem_free(text);
	if (rc < 0)
		return rc;
	if (ret)
		*ret = result;
	else
		json_decref(result);
	return 0;
}

char *cli_path(const char *prefix, const char *name, const char *suffix)
{
	struct buf b;
	char *text = NULL;

	buf_init(&b, 8192);
	if (buf_append_str(&b, prefix) == 0 && fetch_escape(&b, bytes_str(name)) == 0 &&
	    buf_append_str(&b, suffix) == 0)
		text = buf_take_str(&b);
	buf_done(&b);
	return text;
}

void cli_done(struct cli *c)
{
	control_plane_free(c->control);
	store_close(c->store);
	if (c->has_config)
		edge_config_done(&c->config);
}
