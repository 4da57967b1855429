/* REST API: who may ask what, and the small questions. CONTROL.md §3. */
#include <string.h>

#include "base/encode.h"
#include "base/limits.h"
#include "base/mem.h"
#include "edge/access/api_access.h"
#include "edge/control/control_parts.h"
#include "store/store_access.h"

#define PER_PAGE_DEFAULT 20
#define PAGE_MAX 1000000

/* --- What handlers share -------------------------------------------------------------------- */

json_t *ask_body(struct ask *a)
{
	struct bytes body = a->request->body;
	json_error_t why;
	json_t *root;

	if (body.len > LIMIT_API_BODY_BYTES) {
		answer_error(a, 413, API_INVALID, "the body is larger than %d bytes",
			     LIMIT_API_BODY_BYTES);
		return NULL;
	}
	/* Without JSON_ALLOW_NUL a string cannot hide what follows a NUL from the store. jansson
	 * itself bounds the depth (JSON_PARSER_MAX_DEPTH). */
	root = json_loadb(body.len ? (const char *)body.ptr : "", body.len, JSON_REJECT_DUPLICATES,
			  &why);
	if (!root) {
		answer_error(a, 400, API_INVALID, "the body is not JSON: line %d, column %d: %s",
			     why.line, why.column, why.text);
		return NULL;
	}
	if (!json_is_object(root)) {
		json_decref(root);
		answer_error(a, 400, API_INVALID, "the body is not a JSON object");
		return NULL;
	}
	return root;
}

bool ask_string(struct ask *a, const json_t *body, const char *name, const char **ret)
{
	const json_t *member = json_object_get(body, name);

	if (member && !json_is_null(member) && !json_is_string(member)) {
		answer_error(a, 400, API_INVALID, "%s is not a string", name);
		return false;
	}
	*ret = json_string_value(member);
	return true;
}

bool ask_flag(struct ask *a, const json_t *body, const char *name, int *ret)
{
	const json_t *member = json_object_get(body, name);

	if (member && !json_is_null(member) && !json_is_boolean(member)) {
		answer_error(a, 400, API_INVALID, "%s is not a boolean", name);
		return false;
	}
	*ret = json_is_boolean(member) ? json_is_true(member) : -1;
	return true;
}

bool ask_id(struct ask *a, const json_t *body, const char *name, struct uuid *ret,
	    bool *ret_is_there)
{
	const char *text;

	if (!ask_string(a, body, name, &text))
		return false;
	if (text && !uuid_parse(bytes_str(text), ret)) {
		answer_error(a, 400, API_INVALID, "%s is not a UUID", name);
		return false;
	}
	*ret_is_there = text != NULL;
	return true;
}

const char *ask_param(struct ask *a, const char *name)
{
	return query_find(&a->query, name);
}

const char *ask_text(struct ask *a, const char *name)
{
	const char *text = ask_param(a, name);

	return text && text[0] ? text : NULL;
}

bool ask_number(struct ask *a, const char *name, uint64_t preset, uint64_t max, uint64_t *ret)
{
	const char *text = ask_text(a, name);

	*ret = preset;
	if (!text)
		return true;
	if (bytes_to_u64(bytes_str(text), ret) && *ret >= 1 && *ret <= max)
		return true;
	answer_error(a, 400, API_INVALID, "%s must be a number from 1 to %llu", name,
		     (unsigned long long)max);
	return false;
}

bool ask_bool(struct ask *a, const char *name, int *ret)
{
	const char *text = ask_text(a, name);

	if (!text)
		return true;
	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
		answer_error(a, 400, API_INVALID, "%s must be true or false", name);
		return false;
	}
	*ret = !strcmp(text, "true");
	return true;
}

bool ask_time(struct ask *a, const char *name, usec *ret)
{
	const char *text = ask_text(a, name);
	usec at = text ? clock_parse_rfc3339(text) : 0;

	if (!text)
		return true;
	if (at <= 0) {
		answer_error(a, 400, API_INVALID, "%s must be a time as in RFC 3339", name);
		return false;
	}
	*ret = at;
	return true;
}

bool ask_uuid(struct ask *a, const char *name, struct uuid *ret)
{
	const char *text = ask_text(a, name);

	if (text && uuid_parse(bytes_str(text), ret))
		return true;
	answer_error(a, 400, API_INVALID, "%s must be a UUID", name);
	return false;
}

bool ask_page(struct ask *a, struct ask_page *ret)
{
	if (!ask_number(a, "page", 1, PAGE_MAX, &ret->number) ||
	    !ask_number(a, "per_page", PER_PAGE_DEFAULT, LIMIT_API_PAGE, &ret->size))
		return false;
	ret->offset = (size_t)((ret->number - 1) * ret->size);
	return true;
}

json_t *api_time_json(usec wall)
{
	char text[40];

	return wall ? json_string(clock_rfc3339(wall, text, sizeof(text))) : json_null();
}

void zone_id_text(const struct uuid *id, char text[33])
{
	hex_encode(uuid_bytes(id), text);
	text[32] = 0;
}

bool zone_id_parse(struct bytes text, struct uuid *ret)
{
	return text.len == 32 && hex_decode(text, ret->b);
}

/* --- Who asks ------------------------------------------------------------------------------- */

/* The token of "Authorization: Bearer TOKEN"; none: BYTES_NONE. */
static struct bytes bearer(const struct control_request *r)
{
	const struct field *f = fields_find_text(&r->head.fields, BYTES_LIT("Authorization"));
	struct bytes value = f ? f->value : BYTES_NONE;

	if (!bytes_eq_nocase(bytes_first(value, 7), BYTES_LIT("Bearer ")))
		return BYTES_NONE;
	return bytes_trim(bytes_from(value, 7));
}

/* Access has tokens of its own, and they are good for nothing else. */
static bool is_of_access(const char *pattern)
{
	return bytes_starts_with(bytes_str(pattern), BYTES_LIT("accounts/:/access/"));
}

static int access_token_check(struct ask *a, const char *text, struct err *err)
{
	struct store_access_token token;
	int r = store_access_token_find(a->control->store, text, &token, err);

	if (r == 0) {
		a->actor = arena_strdup(&a->request->arena,
					arena_printf(&a->request->arena, "token %s", token.name));
		store_access_token_done(&token);
		r = store_account_first(a->control->store, a->account, err);
	}
	return r;
}

static int token_check(struct ask *a, const char *text, struct err *err)
{
	struct store_token token;
	int r = store_token_find(a->control->store, text, &token, err);

	if (r < 0)
		return r;
	memcpy(a->account, token.account, sizeof(a->account));
	a->zone = token.zone;
	a->has_zone = true;
	store_token_done(&token);
	return 0;
}

/* True when the request carries a good token (or needs none); otherwise it has been answered. */
static bool authenticate(struct ask *a, const char *pattern)
{
	struct err err = { 0 };
	struct bytes text;

	if (a->request->is_admin)
		return true;
	text = bearer(a->request);
	/* 401 and 403 are both "unauthorized" to clients; 401 asks for another token, 403 says that
	 * this one is for something else. */
	if (text.len == 0 || memchr(text.ptr, 0, text.len)) {
		answer_error(a, 401, API_AUTHENTICATION, "Authentication error");
		return false;
	}
	const char *token = arena_strdup(&a->request->arena, text);
	int r = is_of_access(pattern) ? access_token_check(a, token, &err)
				      : token_check(a, token, &err);
	if (r == 0)
		return true;
	if (r == E_DENIED || r == E_NOT_FOUND || r == E_INVALID || r == E_PARSE)
		answer_error(a, 401, API_AUTHENTICATION, "Authentication error");
	else
		answer_store_error(a, &err);
	return false;
}

/* The account or zone that the path begins with must be the token's. */
static bool authorize(struct ask *a, const char *pattern)
{
	struct err err = { 0 };
	struct uuid zone;

	if (bytes_starts_with(bytes_str(pattern), BYTES_LIT("accounts/:"))) {
		if (!a->request->is_admin && !bytes_eq(a->args[0], bytes_str(a->account))) {
			answer_error(a, 403, API_AUTHENTICATION, "Authentication error");
			return false;
		}
		if (a->args[0].len != sizeof(a->account) - 1) {
			answer_error(a, 404, API_NOT_FOUND, "there is no such account");
			return false;
		}
		memcpy(a->account, a->args[0].ptr, sizeof(a->account) - 1);
		return true;
	}
	if (a->request->is_admin && store_account_first(a->control->store, a->account, &err) < 0) {
		answer_store_error(a, &err);
		return false;
	}
	if (!bytes_starts_with(bytes_str(pattern), BYTES_LIT("zones/:")))
		return true;
	if (!zone_id_parse(a->args[0], &zone)) {
		answer_error(a, 400, API_INVALID, "a zone id has 32 hexadecimal digits");
		return false;
	}
	if (a->has_zone && !uuid_eq(&zone, &a->zone)) {
		answer_error(a, 403, API_AUTHENTICATION, "Authentication error");
		return false;
	}
	a->zone = zone;
	a->has_zone = true;
	return true;
}

/* --- Small questions ------------------------------------------------------------------------ */

static json_t *zone_json(const struct store_zone *z)
{
	char id[33], created[40];

	zone_id_text(&z->id, id);
	return json_pack("{s:s, s:s, s:s, s:b, s:s, s:s, s:{s:s, s:s}}", "id", id, "name", z->name,
			 "status", "active", "paused", 0, "type", "full", "created_on",
			 clock_rfc3339(z->created_at, created, sizeof(created)), "account", "id",
			 z->account, "name", "adit");
}

static enum ask_result info(struct ask *a)
{
	return answer_result(a, json_pack("{s:s, s:s}", "service", "adit-edge", "api", "v4"));
}

static enum ask_result token_verify(struct ask *a)
{
	char zone[33] = "";

	if (!a->has_zone)
		return answer_error(a, 400, API_INVALID, "no token was sent");
	zone_id_text(&a->zone, zone);
	return answer_result(a, json_pack("{s:s, s:s, s:s}", "status", "active", "account_id",
					  a->account, "zone_id", zone));
}

static json_t *account_json(const struct ask *a)
{
	return json_pack("{s:s, s:s}", "id", a->account, "name", "adit");
}

static enum ask_result account_list(struct ask *a)
{
	return answer_list(a, json_pack("[o]", account_json(a)), 1, 20, 1);
}

static enum ask_result account_get(struct ask *a)
{
	return answer_result(a, account_json(a));
}

static enum ask_result zone_list(struct ask *a)
{
	const char *name = ask_param(a, "name");
	struct store_zone *zones;
	struct err err = { 0 };
	size_t count;
	json_t *list;

	if (store_zone_list(a->control->store, &zones, &count, &err) < 0)
		return answer_store_error(a, &err);
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(zones[i].account, a->account) &&
		    (!name || bytes_eq_nocase(bytes_str(name), bytes_str(zones[i].name))))
			(void)json_array_append_new(list, zone_json(&zones[i]));
		store_zone_done(&zones[i]);
	}
	mem_free(zones);
	count = json_array_size(list);
	return answer_list(a, list, 1, count > 20 ? count : 20, count);
}

static enum ask_result zone_get(struct ask *a)
{
	struct store_zone zone;
	struct err err = { 0 };
	json_t *result;

	if (store_zone_get(a->control->store, &a->zone, &zone, &err) < 0)
		return answer_store_error(a, &err);
	result = zone_json(&zone);
	store_zone_done(&zone);
	return answer_result(a, result);
}

/* --- The table ------------------------------------------------------------------------------ */

static const struct endpoint endpoints[] = {
	{ "GET", "user/tokens/verify", token_verify },
	{ "GET", "accounts", account_list },
	{ "GET", "accounts/:", account_get },
	{ "GET", "zones", zone_list },
	{ "GET", "zones/:", zone_get },
	{ "GET", "accounts/:/cfd_tunnel", api_tunnel_list },
	{ "POST", "accounts/:/cfd_tunnel", api_tunnel_create },
	{ "GET", "accounts/:/cfd_tunnel/:", api_tunnel_get },
	{ "PATCH", "accounts/:/cfd_tunnel/:", api_tunnel_update },
	{ "DELETE", "accounts/:/cfd_tunnel/:", api_tunnel_delete },
	{ "GET", "accounts/:/cfd_tunnel/:/token", api_tunnel_token },
	{ "GET", "accounts/:/cfd_tunnel/:/connections", api_connections_get },
	{ "DELETE", "accounts/:/cfd_tunnel/:/connections", api_connections_delete },
	{ "PUT", "zones/:/tunnels/:/routes", api_route_put },
	{ "GET", "zones/:/tunnel_routes", api_route_list },
	{ "GET", "zones/:/tunnel_routes/:", api_route_get },
	{ "PATCH", "zones/:/tunnel_routes/:", api_route_update },
	{ "GET", "zones/:/dns_records", api_dns_list },
	{ "POST", "zones/:/dns_records", api_dns_add },
	{ "GET", "zones/:/dns_records/:", api_dns_get },
	{ "PUT", "zones/:/dns_records/:", api_dns_update },
	{ "PATCH", "zones/:/dns_records/:", api_dns_update },
	{ "DELETE", "zones/:/dns_records/:", api_dns_remove },
	{ "GET", "accounts/:/ports", api_port_list },
	{ "POST", "accounts/:/ports", api_port_add },
	{ "GET", "accounts/:/ports/:", api_port_get },
	{ "DELETE", "accounts/:/ports/:", api_port_delete },
	{ "GET", "accounts/:/teamnet/routes", api_network_list },
	{ "POST", "accounts/:/teamnet/routes", api_network_add },
	{ "DELETE", "accounts/:/teamnet/routes/:", api_network_delete },
	{ "GET", "accounts/:/teamnet/routes/ip/:", api_network_by_ip },
	{ "GET", "accounts/:/teamnet/virtual_networks", api_vnet_list },
	{ "POST", "accounts/:/teamnet/virtual_networks", api_vnet_add },
	{ "GET", "accounts/:/teamnet/virtual_networks/:", api_vnet_get },
	{ "PATCH", "accounts/:/teamnet/virtual_networks/:", api_vnet_update },
	{ "DELETE", "accounts/:/teamnet/virtual_networks/:", api_vnet_delete },
	{ "GET", "accounts/:/access/organizations", api_access_organization_get },
	{ "PUT", "accounts/:/access/organizations", api_access_organization_put },
	{ "POST", "accounts/:/access/organizations", api_access_organization_put },
	{ "POST", "accounts/:/access/organizations/revoke_user", api_access_revoke_user },
	{ "GET", "accounts/:/access/users", api_people_list },
	{ "GET", "accounts/:/access/logs/access_requests", api_access_audit },
	{ "GET", "accounts/:/access/:", api_access_list },
	{ "POST", "accounts/:/access/:", api_access_create },
	{ "POST", "accounts/:/access/apps/:/ca", api_access_ca },
	{ "POST", "accounts/:/access/apps/:/revoke_tokens", api_access_revoke },
	{ "POST", "accounts/:/access/keys/rotate", api_access_rotate },
	{ "POST", "accounts/:/access/service_tokens/:/rotate", api_token_rotate },
	{ "POST", "accounts/:/access/service_tokens/:/refresh", api_token_refresh },
	{ "GET", "accounts/:/access/:/:", api_access_get },
	{ "PUT", "accounts/:/access/:/:", api_access_update },
	{ "DELETE", "accounts/:/access/:/:", api_access_delete },
};

enum ask_result api_ask(struct ask *a, struct bytes path)
{
	const struct endpoint *endpoint = NULL;

	if (path.len == 0)
		return info(a);
	switch (endpoint_find(endpoints, ARRAY_LEN(endpoints), path, a, &endpoint)) {
	case ENDPOINT_NO_PATH:
		return answer_error(a, 404, API_NO_PATH,
				    "Could not route to /client/v4/" BYTES_FMT
				    ", perhaps your object identifier is invalid?",
				    BYTES_ARG(bytes_first(path, 200)));
	case ENDPOINT_NO_METHOD:
		return answer_error(a, 405, API_METHOD, "method " BYTES_FMT " is not for this path",
				    BYTES_ARG(bytes_first(a->request->head.method, 20)));
	case ENDPOINT_FOUND:
		break;
	}
	if (!authenticate(a, endpoint->pattern) || !authorize(a, endpoint->pattern))
		return ASK_ANSWERED;
	/* What is behind the account is the administration's, too, and its handlers count from there. */
	if (is_of_access(endpoint->pattern))
		memmove(a->args, a->args + 1, sizeof(a->args) - sizeof(a->args[0]));
	return endpoint->handle(a);
}
