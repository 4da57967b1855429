#include "edge/control/control.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/control/control_internal.h"
#include "edge/control/login_store.h"
#include "edge/control/signin.h"

#define MAGIC_CONTROL 0x4354524c

struct control *control_plane_new(struct store *store, struct loop *loop,
				  const struct control_hooks *hooks,
				  const struct control_options *options)
{
	struct control *c = mem_alloc(sizeof(*c));

	c->magic = MAGIC_CONTROL;
	c->store = store;
	c->loop = loop;
	if (hooks)
		c->hooks = *hooks;
	c->public_url = mem_strdup(options->public_url);
	c->edges = mem_alloc_array(options->edge_address_count, sizeof(*c->edges));
	c->edge_count = options->edge_address_count;
	c->ports = options->ports;
	for (size_t i = 0; i < c->edge_count; i++)
		c->edges[i] = mem_strdup(options->edge_addresses[i]);
	c->signin = signin_new();
	c->logins = login_store_new(loop);
	return c;
}

void control_plane_drain(struct control *c)
{
	CHECK(c, MAGIC_CONTROL);
	login_store_drain(c->logins);
}

struct control *control_plane_free(struct control *c)
{
	if (!c)
		return NULL;
	CHECK(c, MAGIC_CONTROL);
	login_store_free(c->logins);
	signin_free(c->signin);
	for (size_t i = 0; i < c->edge_count; i++)
		mem_free(c->edges[i]);
	mem_free(c->edges);
	mem_free(c->public_url);
	c->magic = 0;
	return mem_free(c);
}

void control_changed(struct control *c)
{
	struct err err = { 0 };

	if (c->hooks.changed && c->hooks.changed(c->hooks.ctx, &err) < 0)
		log_error("edge/control", "the change is stored, but not served yet",
			  LOG_STR("error", err.text));
}

/* Cuts `prefix` off the front of a path if whole segments match: "/client/v4" takes "/client/v4/x"
 * and leaves "x", but not "/client/v42". */
static bool path_under(struct bytes path, struct bytes prefix, struct bytes *ret_rest)
{
	if (!bytes_starts_with(path, prefix))
		return false;
	path = bytes_from(path, prefix.len);
	if (path.len && path.ptr[0] != '/')
		return false;
	*ret_rest = bytes_from(path, 1);
	return true;
}

static enum ask_result ask(struct ask *a)
{
	struct control_request *r = a->request;
	struct bytes target = r->head.path;
	struct bytes path = bytes_first(target, bytes_index(target, '?'));
	struct bytes query = bytes_from(target, path.len + 1), rest;
	bool is_api = path_under(path, BYTES_LIT("/client/v4"), &rest);
	bool is_admin = !is_api && path_under(path, BYTES_LIT("/admin/v1"), &rest);
	int rc = query_parse(query, &r->arena, &a->query);

	if (rc < 0 && (is_api || is_admin))
		return answer_error(a, 400, API_INVALID, "the query cannot be read");
	if (rc < 0)
		return answer_text(r, 400, "The query cannot be read\n");
	if (is_api)
		return api_ask(a, rest);
	/* To visitors the administration does not exist. */
	if (is_admin && r->is_admin)
		return admin_ask(a, rest);
	if (path.len == 0 || path.ptr[0] != '/')
		return answer_text(r, 400, "The path must begin with a slash\n");
	return pages_ask(a, bytes_from(path, 1));
}

void control_ask(struct control *c, struct control_request *r)
{
	struct ask a = { .control = c, .request = r };

	CHECK(c, MAGIC_CONTROL);
	if (ask(&a) == ASK_ANSWERED)
		r->answered(r);
}
