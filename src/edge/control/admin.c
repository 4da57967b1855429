/* Administration, for `adit-edge` through the admin socket or in-process. The same envelope as the REST
 * API; whoever gets here may do everything. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "edge/access/api_access.h"
#include "edge/control/control_parts.h"

/* Long enough to open it on another machine, short enough for a link in a terminal's scrollback. */
#define LINK_SECONDS (24 * 3600)

/* --- Zones ---------------------------------------------------------------------------------- */

static json_t *zone_json(const struct store_zone *z)
{
	char id[33], created[40];

	zone_id_text(&z->id, id);
	return json_pack("{s:s, s:s, s:s}", "id", id, "name", z->name, "created_at",
			 clock_rfc3339(z->created_at, created, sizeof(created)));
}

static enum ask_result zone_list(struct ask *a)
{
	struct store_zone *zones;
	struct err err = { 0 };
	size_t count;
	json_t *list;

	if (store_zone_list(a->control->store, &zones, &count, &err) < 0)
		return answer_store_error(a, &err);
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(list, zone_json(&zones[i]));
		store_zone_done(&zones[i]);
	}
	mem_free(zones);
	return answer_result(a, list);
}

/* The one string a request is about; NULL after having answered. In the request's arena. */
static const char *body_string(struct ask *a, const char *name)
{
	json_t *body = ask_body(a);
	const char *text = NULL;

	if (!body)
		return NULL;
	if (ask_string(a, body, name, &text)) {
		if (text)
			text = arena_strdup(&a->request->arena, bytes_str(text));
		else
			answer_error(a, 400, API_INVALID, "%s is missing", name);
	} else {
		text = NULL;
	}
	json_decref(body);
	return text;
}

static enum ask_result zone_add(struct ask *a)
{
	const char *name = body_string(a, "name");
	struct store_zone zone;
	struct err err = { 0 };
	char account[33];
	json_t *result;

	if (!name)
		return ASK_ANSWERED;
	if (store_account_first(a->control->store, account, &err) < 0 ||
	    store_zone_add(a->control->store, account, name, &zone, &err) < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	result = zone_json(&zone);
	store_zone_done(&zone);
	return answer_result(a, result);
}

static const char *arg_text(const struct ask *a)
{
	/* endpoint_find() puts a NUL after each. */
	return (const char *)a->args[0].ptr;
}

static enum ask_result zone_remove(struct ask *a)
{
	struct err err = { 0 };

	if (store_zone_remove(a->control->store, arg_text(a), &err) < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	return answer_result(a, NULL);
}

static enum ask_result cert_make(struct ask *a)
{
	const char *name = body_string(a, "zone");
	struct store_zone zone;
	struct err err = { 0 };
	json_t *result;
	char *pem;

	if (!name)
		return ASK_ANSWERED;
	if (store_zone_find(a->control->store, name, &zone, &err) < 0)
		return answer_store_error(a, &err);
	pem = credentials_cert_pem(a->control, &zone, "adit-edge cert", &err);
	if (!pem) {
		store_zone_done(&zone);
		return answer_store_error(a, &err);
	}
	log_info("edge/control", "login certificate given out", LOG_STR("zone", zone.name),
		 LOG_STR("user", "adit-edge cert"));
	store_zone_done(&zone);
	result = json_string(pem);
	credentials_text_free(pem);
	return answer_result(a, result);
}

/* --- Users ---------------------------------------------------------------------------------- */

static enum ask_result user_list(struct ask *a)
{
	struct store_user *users;
	struct err err = { 0 };
	size_t count;
	json_t *list;

	if (store_user_list(a->control->store, &users, &count, &err) < 0)
		return answer_store_error(a, &err);
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		char created[40];

		(void)json_array_append_new(
			list,
			json_pack("{s:s, s:b, s:s}", "email", users[i].email, "has_password",
				  users[i].has_password, "created_at",
				  clock_rfc3339(users[i].created_at, created, sizeof(created))));
		store_user_done(&users[i]);
	}
	mem_free(users);
	return answer_result(a, list);
}

static enum ask_result user_add(struct ask *a)
{
	const char *email = body_string(a, "email");
	struct err err = { 0 };

	if (!email)
		return ASK_ANSWERED;
	if (store_user_add(a->control->store, email, &err) < 0)
		return answer_store_error(a, &err);
	return answer_result(a, json_pack("{s:s}", "email", email));
}

static enum ask_result user_password(struct ask *a)
{
	const char *password = body_string(a, "password");
	struct err err = { 0 };

	if (!password)
		return ASK_ANSWERED;
	if (store_user_set_password(a->control->store, arg_text(a), password, &err) < 0)
		return answer_store_error(a, &err);
	return answer_result(a, NULL);
}

static enum ask_result user_link(struct ask *a)
{
	struct err err = { 0 };
	char *token = store_link_create(a->control->store, arg_text(a), LINK_SECONDS, &err);
	struct bytes url;

	if (!token)
		return answer_store_error(a, &err);
	url = arena_printf(&a->request->arena, "%s/login/link?token=%s", a->control->public_url,
			   token);
	credentials_text_free(token);
	return answer_result(a, json_pack("{s:s%, s:i}", "url", url.ptr, url.len, "valid_seconds",
					  LINK_SECONDS));
}

/* --- The whole ------------------------------------------------------------------------------ */

static enum ask_result tunnel_list(struct ask *a)
{
	struct store_tunnel_filter filter = { .is_deleted = 0 };
	struct store_tunnel *tunnels;
	struct err err = { 0 };
	size_t count, total;
	char account[33];
	json_t *list;

	if (store_account_first(a->control->store, account, &err) < 0)
		return answer_store_error(a, &err);
	filter.account = account;
	if (store_tunnel_list(a->control->store, &filter, &tunnels, &count, &total, &err) < 0)
		return answer_store_error(a, &err);
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(list, api_tunnel_json(a->control, &tunnels[i]));
		store_tunnel_done(&tunnels[i]);
	}
	mem_free(tunnels);
	return answer_result(a, list);
}

static enum ask_result backup(struct ask *a)
{
	const char *path = body_string(a, "path");
	struct err err = { 0 };

	if (!path)
		return ASK_ANSWERED;
	/* The edge runs in another directory than who asks. */
	if (path[0] != '/')
		return answer_error(a, 400, API_INVALID, "the path of a backup must be absolute");
	if (store_backup(a->control->store, path, &err) < 0)
		return answer_store_error(a, &err);
	log_info("edge/control", "backup written", LOG_STR("path", path));
	return answer_result(a, json_pack("{s:s}", "path", path));
}

/* --- The table ------------------------------------------------------------------------------ */

static const struct endpoint endpoints[] = {
	{ "GET", "status", admin_status },
	{ "GET", "zones", zone_list },
	{ "POST", "zones", zone_add },
	{ "DELETE", "zones/:", zone_remove },
	{ "GET", "sites", admin_site_list },
	{ "GET", "zones/:/site", admin_zone_site_get },
	{ "PATCH", "zones/:/site", admin_zone_site_update },
	{ "GET", "hosts/:/site", admin_host_site_get },
	{ "PATCH", "hosts/:/site", admin_host_site_update },
	{ "GET", "dns/updates", admin_dns_update_list },
	{ "PUT", "zones/:/dns-update", admin_dns_update_put },
	{ "DELETE", "zones/:/dns-update", admin_dns_update_remove },
	{ "POST", "cert", cert_make },
	{ "GET", "users", user_list },
	{ "POST", "users", user_add },
	{ "POST", "users/:/password", user_password },
	{ "POST", "users/:/link", user_link },
	{ "GET", "tunnels", tunnel_list },
	{ "GET", "tunnels/:", admin_tunnel_get },
	{ "PATCH", "tunnels/:", admin_tunnel_update },
	{ "GET", "routes", admin_route_list },
	{ "GET", "routes/:", admin_route_get },
	{ "PATCH", "routes/:", admin_route_update },
	{ "DELETE", "routes/:", admin_route_remove },
	{ "GET", "dns", admin_dns_list },
	{ "POST", "dns", admin_dns_add },
	{ "POST", "dns_removal", admin_dns_remove },
	{ "GET", "dns_ds", admin_dns_ds },
	{ "GET", "dnssec", admin_dnssec_list },
	{ "POST", "dnssec/:/roll", admin_dnssec_roll },
	{ "POST", "dnssec/:/ds_seen", admin_dnssec_seen },
	{ "DELETE", "dnssec/:/roll", admin_dnssec_cancel },
	{ "GET", "dns_keys", admin_dns_key_list },
	{ "POST", "dns_keys", admin_dns_key_add },
	{ "DELETE", "dns_keys/:", admin_dns_key_remove },
	{ "GET", "dns_secondaries", admin_dns_secondary_list },
	{ "POST", "dns_secondaries", admin_dns_secondary_add },
	{ "DELETE", "dns_secondaries/:", admin_dns_secondary_remove },
	{ "GET", "ports", admin_port_list },
	{ "GET", "tls", admin_tls_list },
	{ "POST", "tls", admin_tls_import },
	{ "POST", "tls/renew", admin_tls_renew },
	{ "DELETE", "tls/:", admin_tls_remove },
	{ "POST", "backup", backup },
	{ "GET", "access/people", api_people_list },
	{ "POST", "access/people", api_people_add },
	{ "POST", "people/:/revoke", api_people_revoke },
	{ "GET", "people/:/passkeys", api_people_passkeys },
	{ "DELETE", "people/:/passkeys/:", api_people_passkey_delete },
	{ "POST", "people/:/password", api_people_password },
	{ "DELETE", "people/:", api_people_remove },
	{ "GET", "access/document", api_access_export },
	{ "POST", "access/document", api_access_apply },
	{ "POST", "access/test", api_access_test },
	{ "GET", "access/audit", api_access_audit },
	{ "GET", "access/api_tokens", api_access_tokens_list },
	{ "POST", "access/api_tokens", api_access_tokens_add },
	{ "DELETE", "access/api_tokens/:", api_access_tokens_remove },
	{ "GET", "access/:", api_access_list },
	{ "POST", "access/:", api_access_create },
	{ "POST", "access/apps/:/ca", api_access_ca },
	{ "POST", "access/apps/:/revoke", api_access_revoke },
	{ "POST", "access/keys/rotate", api_access_rotate },
	{ "POST", "access/service_tokens/:/rotate", api_token_rotate },
	{ "POST", "access/service_tokens/:/refresh", api_token_refresh },
	{ "GET", "access/:/:", api_access_get },
	{ "PUT", "access/:/:", api_access_update },
	{ "DELETE", "access/:/:", api_access_delete },
};

enum ask_result admin_ask(struct ask *a, struct bytes path)
{
	const struct endpoint *endpoint = NULL;

	switch (endpoint_find(endpoints, ARRAY_LEN(endpoints), path, a, &endpoint)) {
	case ENDPOINT_NO_PATH:
		return answer_error(a, 404, API_NO_PATH, "there is no such request");
	case ENDPOINT_NO_METHOD:
		return answer_error(a, 405, API_METHOD, "method " BYTES_FMT " is not for this path",
				    BYTES_ARG(bytes_first(a->request->head.method, 20)));
	case ENDPOINT_FOUND:
		break;
	}
	return endpoint->handle(a);
}
