/* Zones that another name server keeps, and which of them is told of our hostnames. */
#include <string.h>

#include "base/mem.h"
#include "edge/control/control_parts.h"
#include "store/names.h"

#define DNS_PORT 53
#define TTL_DEFAULT 300
/* A week: what is longer outlives every change of address. */
#define TTL_MAX 604800

static json_t *update_json(const struct store_dns_update *u)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:I}", "zone", u->zone_name, "server", u->server,
			 "key", u->key, "target", u->target, "ttl", (json_int_t)u->ttl);
}

enum ask_result admin_dns_update_list(struct ask *a)
{
	struct store_dns_update *updates = NULL;
	struct err err = { 0 };
	size_t count = 0;

	if (store_dns_update_list(a->control->store, &updates, &count, &err) < 0)
		return answer_store_error(a, &err);
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(list, update_json(&updates[i]));
		store_dns_update_done(&updates[i]);
	}
	mem_free(updates);
	return answer_result(a, list);
}

/* "IP" or "IP:PORT" in its one form. False after having answered. */
static bool read_server(struct ask *a, const char *text, char ret[ADDRESS_TEXT_SIZE])
{
	struct address address;

	if (!address_from_ip(bytes_str(text), DNS_PORT, &address) &&
	    (address_parse(bytes_str(text), &address, NULL) < 0 ||
	     address.any.sa_family == AF_UNIX || address_port(&address) == 0)) {
		answer_error(a, 400, API_INVALID,
			     "\"%.80s\" is no address of a server: IP, or IP:PORT", text);
		return false;
	}
	address_text(&address, ret);
	return true;
}

/* Known to the store, or "". False after having answered. */
static bool has_key(struct ask *a, const char *name)
{
	struct store_dns_key *keys = NULL;
	struct err err = { 0 };
	size_t count = 0;
	bool has = !*name;

	if (store_dns_key_list(a->control->store, &keys, &count, &err) < 0) {
		answer_store_error(a, &err);
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		has = has || strcasecmp(keys[i].name, name) == 0;
		store_dns_key_done(&keys[i]);
	}
	mem_free(keys);
	if (!has)
		answer_error(a, 400, API_INVALID,
			     "there is no key \"%.80s\"; `adit-edge dns key add` makes one", name);
	return has;
}

/* A CNAME cannot stand where the zone begins, and leads to one name. */
static bool read_target(struct ask *a, const char *text, char ret[NAME_DNS_BYTES + 1])
{
	struct err err = { 0 };

	ret[0] = 0;
	if (!*text)
		return true;
	if (name_hostname(text, ret, &err) == 0 && ret[0] != '*')
		return true;
	answer_error(a, 400, API_INVALID, "the target is a hostname: %s",
		     err.code ? err.text : "no wildcard");
	return false;
}

static bool read_texts(struct ask *a, const json_t *body, struct store_dns_update *u)
{
	const char *server, *key, *target;
	char address[ADDRESS_TEXT_SIZE], host[NAME_DNS_BYTES + 1];
	const json_t *ttl = json_object_get(body, "ttl");

	if (!ask_string(a, body, "server", &server) || !ask_string(a, body, "key", &key) ||
	    !ask_string(a, body, "target", &target))
		return false;
	if (!server) {
		answer_error(a, 400, API_INVALID, "server is missing");
		return false;
	}
	if (!read_server(a, server, address) || !has_key(a, key ? key : "") ||
	    !read_target(a, target ? target : "", host))
		return false;
	json_int_t seconds = ttl ? json_integer_value(ttl) : TTL_DEFAULT;
	if (seconds < 1 || seconds > TTL_MAX) {
		answer_error(a, 400, API_INVALID, "ttl is a number of seconds, 1 to %d", TTL_MAX);
		return false;
	}
	u->server = mem_strdup(address);
	u->key = mem_strdup(key ? key : "");
	u->target = mem_strdup(host);
	u->ttl = (uint32_t)seconds;
	return true;
}

static bool find_zone(struct ask *a, struct store_zone *zone)
{
	struct err err = { 0 };

	/* endpoint_find() puts a NUL after it. */
	if (store_zone_find(a->control->store, (const char *)a->args[0].ptr, zone, &err) == 0)
		return true;
	answer_store_error(a, &err);
	return false;
}

enum ask_result admin_dns_update_put(struct ask *a)
{
	struct store_dns_update u = { 0 };
	struct store_zone zone = { 0 };
	struct err err = { 0 };
	enum ask_result result = ASK_ANSWERED;
	json_t *body = ask_body(a);

	if (body && find_zone(a, &zone)) {
		u.zone = zone.id;
		u.zone_name = mem_strdup(zone.name);
		if (read_texts(a, body, &u)) {
			if (store_dns_update_put(a->control->store, &u, &err) < 0) {
				result = answer_store_error(a, &err);
			} else {
				control_changed(a->control);
				result = answer_result(a, update_json(&u));
			}
		}
	}
	store_dns_update_done(&u);
	store_zone_done(&zone);
	json_decref(body);
	return result;
}

enum ask_result admin_dns_update_remove(struct ask *a)
{
	struct store_zone zone = { 0 };
	struct err err = { 0 };

	if (!find_zone(a, &zone))
		return ASK_ANSWERED;
	int r = store_dns_update_remove(a->control->store, &zone.id, &err);
	store_zone_done(&zone);
	if (r < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	return answer_result(a, json_null());
}
