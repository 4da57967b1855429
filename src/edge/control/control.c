#include "edge/control/control.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/access/cache.h"
#include "edge/access/countries.h"
#include "edge/access/desk.h"
#include "edge/access/pins.h"
#include "edge/control/control_parts.h"
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
	c->has_country_database = options->has_country_database;
	c->countries = countries_ref(options->countries);
	for (size_t i = 0; i < c->edge_count; i++)
		c->edges[i] = mem_strdup(options->edge_addresses[i]);
	c->signin = signin_new();
	c->logins = login_store_new(loop);
	c->desk = access_desk_new(c);
	list_init(&c->errands);
	c->pins = pins_new();
	c->flows = cache_new(LIMIT_ACCESS_FLOWS, desk_flow_drop);
	return c;
}

void control_plane_drain(struct control *c)
{
	CHECK(c, MAGIC_CONTROL);
	login_store_drain(c->logins);
}

/* --- Takeover --------------------------------------------------------------------------------- */

/* Whoever asks again asks the successor: the connection ends with this answer. */
static void refuse(struct control_request *r)
{
	answer_field(r, "Retry-After", BYTES_LIT("1"));
	(void)answer_text(r, 503, "This edge is being replaced by its successor; ask again\n");
	r->answered(r);
}

static void refuse_waiting(struct control *c)
{
	for (size_t i = 0; i < c->waiting_count; i++)
		refuse(c->waiting[i]);
	c->waiting_count = 0;
}

void control_plane_freeze(struct control *c)
{
	CHECK(c, MAGIC_CONTROL);
	c->phase = CONTROL_FROZEN;
	store_set_read_only(c->store, true);
}

void control_plane_thaw(struct control *c)
{
	size_t count = c->waiting_count;

	CHECK(c, MAGIC_CONTROL);
	c->phase = CONTROL_OPEN;
	store_set_read_only(c->store, false);
	c->waiting_count = 0;
	for (size_t i = 0; i < count; i++)
		control_ask(c, c->waiting[i]);
}

void control_plane_hand_over(struct control *c)
{
	CHECK(c, MAGIC_CONTROL);
	c->phase = CONTROL_HANDED_OVER;
	refuse_waiting(c);
	control_plane_drain(c);
}

char *control_plane_save(const struct control *c)
{
	CHECK(c, MAGIC_CONTROL);
	json_t *state = json_pack("{s:o, s:o}", "signins", signin_save(c->signin), "logins",
				  login_store_save(c->logins));
	char *dump = state ? json_dumps(state, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	char *ret = mem_strdup(dump ? dump : "{}");
	if (dump)
		secret_wipe(dump, strlen(dump));
	free(dump); /* allowed: jansson's own allocation */
	json_decref(state);
	return ret;
}

void control_plane_load(struct control *c, struct bytes json)
{
	json_t *state = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, NULL);

	CHECK(c, MAGIC_CONTROL);
	signin_load(c->signin, json_object_get(state, "signins"), clock_now());
	login_store_load(c->logins, json_object_get(state, "logins"), clock_now());
	json_decref(state);
}

/* False: it is answered, or will be. */
static bool may_ask(struct control *c, struct control_request *r)
{
	struct bytes method = r->head.method;
	bool reads = bytes_eq(method, BYTES_LIT("GET")) || bytes_eq(method, BYTES_LIT("HEAD"));

	if (c->phase == CONTROL_OPEN || (c->phase == CONTROL_HANDED_OVER && reads))
		return true;
	if (c->phase == CONTROL_FROZEN && c->waiting_count < LIMIT_API_FROZEN)
		c->waiting[c->waiting_count++] = r;
	else
		refuse(r);
	return false;
}

struct control *control_plane_free(struct control *c)
{
	if (!c)
		return NULL;
	CHECK(c, MAGIC_CONTROL);
	refuse_waiting(c);
	desk_errands_end(c);
	access_desk_free(c->desk);
	pins_free(c->pins);
	cache_free(c->flows);
	login_store_free(c->logins);
	signin_free(c->signin);
	for (size_t i = 0; i < c->edge_count; i++)
		mem_free(c->edges[i]);
	mem_free(c->edges);
	mem_free(c->public_url);
	countries_unref(c->countries);
	c->magic = 0;
	return mem_free(c);
}

void control_forget(struct control *c)
{
	CHECK(c, MAGIC_CONTROL);
	access_desk_changed(c->desk);
}

void control_set_countries(struct control *c, struct countries *countries)
{
	CHECK(c, MAGIC_CONTROL);
	countries_unref(c->countries);
	c->countries = countries_ref(countries);
	access_desk_changed(c->desk);
}

void control_changed(struct control *c)
{
	struct err err = { 0 };

	access_desk_changed(c->desk);
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
	path = bytes_from(path, 1);
	return access_desk_wants(a, path) ? access_desk_ask(a, path) : pages_ask(a, path);
}

void control_ask(struct control *c, struct control_request *r)
{
	struct ask a = { .control = c, .request = r, .actor = "administrator" };

	CHECK(c, MAGIC_CONTROL);
	if (!may_ask(c, r))
		return;
	if (ask(&a) == ASK_ANSWERED)
		r->answered(r);
}
