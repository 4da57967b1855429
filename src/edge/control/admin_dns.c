/* Administration of DNS: records, the DS record, keys and secondaries. */
#include <string.h>

#include "base/encode.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/nearest.h"
#include "base/random.h"
#include "edge/control/control_parts.h"
#include "edge/dns/publish.h"
#include "edge/dns/roll.h"
#include "edge/dns/tsig.h"
#include "store/names.h"

/* As long as the longest hash that is supported. */
#define KEY_BYTES_MAX 64
#define PORT_DNS 53

/* False after having answered. */
static bool first_account(struct ask *a)
{
	struct err err = { 0 };

	if (store_account_first(a->control->store, a->account, &err) == 0)
		return true;
	answer_store_error(a, &err);
	return false;
}

/* The zone that a name is in; false after having answered. */
static bool zone_of_name(struct ask *a, const char *name, struct store_zone *ret)
{
	size_t len = strlen(name);
	struct err err = { 0 };
	struct uuid id;

	char *plain = mem_strndup(bytes_of(name, len - (len && name[len - 1] == '.')));
	for (char *c = plain; *c; c++)
		*c = (char)bytes_lower((uint8_t)*c);
	bool is_found = first_account(a) && api_find_zone(a, plain, &id);
	mem_free(plain);
	if (!is_found)
		return false;
	if (store_zone_get(a->control->store, &id, ret, &err) == 0)
		return true;
	answer_store_error(a, &err);
	return false;
}

/* --- Records ---------------------------------------------------------------------------------- */

static json_t *record_json(const struct store_dns_record *r, const char *zone)
{
	char id[33];

	hex_encode(uuid_bytes(&r->id), id);
	id[32] = 0;
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s}", "id", id, "zone", zone, "name",
			 r->name, "type", r->type, "data", r->data, "ttl", (json_int_t)r->ttl,
			 "from", "record");
}

static json_t *route_json(const struct store_route *r, const char *zone)
{
	char tunnel[UUID_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:s, s:o, s:n, s:s}", "zone", zone, "name", r->hostname,
			 "type", "CNAME", "data",
			 json_sprintf("%s.cfargotunnel.com.", uuid_text(&r->tunnel, tunnel)), "ttl",
			 "from", "route");
}

static int add_zone_records(struct store *store, const struct store_zone *zone, json_t *list,
			    struct err *err)
{
	struct store_dns_record *records;
	size_t count;
	int r = store_dns_record_list(store, &zone->id, &records, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(list, record_json(&records[i], zone->name));
		store_dns_record_done(&records[i]);
	}
	mem_free(records);
	return 0;
}

static int add_zone_routes(struct store *store, const struct store_zone *zone, json_t *list,
			   struct err *err)
{
	struct store_route *routes;
	size_t count;
	int r = store_route_list(store, &routes, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		if (uuid_eq(&routes[i].zone, &zone->id))
			(void)json_array_append_new(list, route_json(&routes[i], zone->name));
		store_route_done(&routes[i]);
	}
	mem_free(routes);
	return 0;
}

/* For each zone, or the one of the parameter; `make` adds to the list. */
static enum ask_result for_zones(struct ask *a,
				 int (*make)(struct store *store, const struct store_zone *zone,
					     json_t *list, struct err *err))
{
	const char *wanted = ask_text(a, "zone");
	struct store *store = a->control->store;
	struct store_zone *zones = NULL;
	struct err err = { 0 };
	json_t *list = json_array();
	size_t count = 0;
	bool is_found = !wanted;

	int r = store_zone_list(store, &zones, &count, &err);
	for (size_t i = 0; i < count; i++) {
		if (r == 0 && (!wanted || strcasecmp(zones[i].name, wanted) == 0)) {
			r = make(store, &zones[i], list, &err);
			is_found = true;
		}
		store_zone_done(&zones[i]);
	}
	mem_free(zones);
	if (r == 0 && !is_found)
		r = err_set(&err, E_NOT_FOUND, "there is no zone %.253s", wanted);
	if (r == 0)
		return answer_result(a, list);
	json_decref(list);
	return answer_store_error(a, &err);
}

static int list_zone(struct store *store, const struct store_zone *zone, json_t *list,
		     struct err *err)
{
	int r = add_zone_routes(store, zone, list, err);

	return r < 0 ? r : add_zone_records(store, zone, list, err);
}

enum ask_result admin_dns_list(struct ask *a)
{
	return for_zones(a, list_zone);
}

/* name, type and data of the body; those that are not there are NULL. */
struct wanted {
	const char *name, *type, *data;
	json_int_t ttl;
};

static bool read_wanted(struct ask *a, const json_t *body, struct wanted *w)
{
	const json_t *ttl = json_object_get(body, "ttl");

	if (!ask_string(a, body, "name", &w->name) || !ask_string(a, body, "type", &w->type) ||
	    !ask_string(a, body, "data", &w->data))
		return false;
	if (ttl && !json_is_integer(ttl) && !json_is_null(ttl)) {
		answer_error(a, 400, API_INVALID, "ttl is not a number");
		return false;
	}
	w->ttl = json_is_integer(ttl) ? json_integer_value(ttl) : DNS_TTL_DEFAULT;
	if (w->name)
		return true;
	answer_error(a, 400, API_INVALID, "name is missing");
	return false;
}

static enum ask_result add_record(struct ask *a, const struct wanted *w)
{
	struct store_dns_record record = { 0 };
	struct store_zone zone;
	struct err err = { 0 };
	enum ask_result result = ASK_ANSWERED;

	if (!w->type || !w->data)
		return answer_error(a, 400, API_INVALID, "%s is missing", w->type ? "data" : "type");
	if (!zone_of_name(a, w->name, &zone))
		return ASK_ANSWERED;
	if (control_dns_record(a, &zone, w->name, false, w->type, w->data, (uint64_t)w->ttl,
			       &record)) {
		if (store_dns_record_add(a->control->store, &record, &err) < 0) {
			result = answer_store_error(a, &err);
		} else {
			control_changed(a->control);
			result = answer_result(a, record_json(&record, zone.name));
		}
	}
	store_dns_record_done(&record);
	store_zone_done(&zone);
	return result;
}

enum ask_result admin_dns_add(struct ask *a)
{
	json_t *body = ask_body(a);
	struct wanted w;

	if (body && read_wanted(a, body, &w))
		add_record(a, &w);
	json_decref(body);
	return ASK_ANSWERED;
}

static enum ask_result remove_records(struct ask *a, const struct wanted *w)
{
	struct store_dns_record record = { 0 };
	struct store_zone zone;
	struct err err = { 0 };
	enum ask_result result = ASK_ANSWERED;

	if (!zone_of_name(a, w->name, &zone))
		return ASK_ANSWERED;
	/* With data it is written as it was when it was added. */
	bool is_good = !w->data || control_dns_record(a, &zone, w->name, false, w->type, w->data,
						      DNS_TTL_DEFAULT, &record);
	if (is_good && !w->data) {
		size_t len = strlen(w->name);
		record.name = mem_strndup(bytes_of(w->name, len - (w->name[len - 1] == '.')));
		record.type = w->type ? mem_strdup(w->type) : NULL;
		for (char *c = record.name; *c; c++)
			*c = (char)bytes_lower((uint8_t)*c);
		for (char *c = record.type; c && *c; c++)
			*c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
	}
	if (is_good) {
		int r = store_dns_record_remove(a->control->store, &zone.id, record.name,
						record.type, record.data, &err);
		if (r < 0) {
			result = answer_store_error(a, &err);
		} else {
			control_changed(a->control);
			result = answer_result(a, json_pack("{s:i}", "removed", r));
		}
	}
	store_dns_record_done(&record);
	store_zone_done(&zone);
	return result;
}

enum ask_result admin_dns_remove(struct ask *a)
{
	json_t *body = ask_body(a);
	struct wanted w;

	if (body && read_wanted(a, body, &w)) {
		if (w.data && !w.type)
			answer_error(a, 400, API_INVALID, "type is missing");
		else
			remove_records(a, &w);
	}
	json_decref(body);
	return ASK_ANSWERED;
}

enum ask_result admin_route_remove(struct ask *a)
{
	struct err err = { 0 };

	if (store_route_remove(a->control->store, (const char *)a->args[0].ptr, &err) < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	return answer_result(a, NULL);
}

/* --- DNSSEC ----------------------------------------------------------------------------------- */

static int add_ds(struct store *store, const struct store_zone *zone, json_t *list, struct err *err)
{
	char *ds = dns_publisher_ds(store, zone->name, err);

	if (!ds)
		return err->code;
	size_t len = strcspn(ds, "\n");
	(void)json_array_append_new(list,
				    json_pack("{s:s, s:s%}", "zone", zone->name, "ds", ds, len));
	mem_free(ds);
	return 0;
}

enum ask_result admin_dns_ds(struct ask *a)
{
	return for_zones(a, add_ds);
}

static int add_roll(struct store *store, const struct store_zone *zone, json_t *list,
		    struct err *err)
{
	json_t *o = dns_roll_status(store, zone->name, err);

	if (!o)
		return err->code;
	(void)json_array_append_new(list, o);
	return 0;
}

enum ask_result admin_dnssec_list(struct ask *a)
{
	return for_zones(a, add_roll);
}

static enum ask_result answer_roll(struct ask *a, int r, const struct err *err)
{
	const char *zone = (const char *)a->args[0].ptr;
	struct err why = { 0 };

	if (r < 0)
		return answer_store_error(a, err);
	control_changed(a->control);
	json_t *o = dns_roll_status(a->control->store, zone, &why);
	return o ? answer_result(a, o) : answer_store_error(a, &why);
}

enum ask_result admin_dnssec_roll(struct ask *a)
{
	struct err err = { 0 };

	return answer_roll(a, dns_roll_begin(a->control->store, (const char *)a->args[0].ptr, &err),
			   &err);
}

enum ask_result admin_dnssec_seen(struct ask *a)
{
	struct err err = { 0 };
	int r = dns_roll_seen(a->control->store, (const char *)a->args[0].ptr, DNS_SEEN_BY_OPERATOR,
			      &err);

	return answer_roll(a, r, &err);
}

enum ask_result admin_dnssec_cancel(struct ask *a)
{
	struct err err = { 0 };

	return answer_roll(
		a, dns_roll_cancel(a->control->store, (const char *)a->args[0].ptr, &err), &err);
}

/* --- Keys ------------------------------------------------------------------------------------- */

enum ask_result admin_dns_key_list(struct ask *a)
{
	struct store_dns_key *keys;
	struct err err = { 0 };
	size_t count;

	if (store_dns_key_list(a->control->store, &keys, &count, &err) < 0)
		return answer_store_error(a, &err);
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(list,
					    json_pack("{s:s, s:s, s:o}", "name", keys[i].name,
						      "algorithm", keys[i].algorithm, "created_at",
						      api_time_json(keys[i].created_at)));
		store_dns_key_done(&keys[i]);
	}
	mem_free(keys);
	return answer_result(a, list);
}

/* Owned: wipe it. */
static char *new_secret(const char *algorithm)
{
	uint8_t bytes[KEY_BYTES_MAX];
	size_t len = strstr(algorithm, "512") ? 64 : strstr(algorithm, "384") ? 48 : 32;

	random_bytes(bytes, len);
	char *text = base64_text(BASE64_STD, bytes_of(bytes, len));
	secret_wipe(bytes, sizeof(bytes));
	return text;
}

/* As the store has it: lower case, no dot at the end. Owned. */
static char *key_name(const char *given)
{
	char *name = mem_strndup(bytes_of(given, strnlen(given, NAME_DNS_BYTES)));
	size_t len = strlen(name);

	for (char *c = name; *c; c++)
		*c = (char)bytes_lower((uint8_t)*c);
	if (len && name[len - 1] == '.')
		name[len - 1] = 0;
	return name;
}

static enum ask_result store_key(struct ask *a, const char *name, const char *algorithm,
				 const char *secret)
{
	const char *dotted = dns_tsig_algorithm(algorithm);
	struct store_dns_key key = { 0 };
	enum ask_result result;
	struct err err = { 0 };
	char known[NAME_DNS_BYTES + 1];

	if (!dotted)
		return answer_error(a, 400, API_INVALID,
				    "'%.40s' is none of hmac-sha256, hmac-sha384, hmac-sha512, "
				    "hmac-sha1",
				    algorithm);
	char *plain = key_name(name);
	/* One label will do. */
	char *as_host = mem_printf("%s.key.invalid", plain);
	int r = strlen(as_host) <= NAME_DNS_BYTES && plain[0] != '*'
			? name_hostname(as_host, known, &err)
			: E_INVALID;
	mem_free(as_host);
	if (r < 0)
		err_set(&err, E_INVALID, "'%.100s' is no name for a key: transfer.example.com is",
			name);
	const struct dns_tsig_key tsig = { plain, dotted, secret };
	if (r == 0)
		r = dns_tsig_check_key(&tsig, &err);
	if (r == 0) {
		key.name = mem_strdup(plain);
		key.algorithm = mem_strndup(bytes_of(dotted, strlen(dotted) - 1));
		secret_set(&key.secret, bytes_of(secret, strlen(secret) + 1));
		r = store_dns_key_add(a->control->store, &key, &err);
	}
	mem_free(plain);
	if (r == 0) {
		log_info("edge/control", "DNS key added", LOG_STR("key", key.name));
		control_changed(a->control);
		result = answer_result(a, json_pack("{s:s, s:s, s:s}", "name", key.name,
						    "algorithm", key.algorithm, "secret", secret));
	} else {
		result = answer_store_error(a, &err);
	}
	store_dns_key_done(&key);
	return result;
}

enum ask_result admin_dns_key_add(struct ask *a)
{
	const char *name, *algorithm, *secret;
	json_t *body = ask_body(a);

	if (body && ask_string(a, body, "name", &name) &&
	    ask_string(a, body, "algorithm", &algorithm) && ask_string(a, body, "secret", &secret)) {
		if (!algorithm)
			algorithm = "hmac-sha256";
		char *made = secret ? NULL : new_secret(algorithm);
		if (name)
			store_key(a, name, algorithm, secret ? secret : made);
		else
			answer_error(a, 400, API_INVALID, "name is missing");
		if (made)
			secret_wipe(made, strlen(made));
		mem_free(made);
	}
	json_decref(body);
	return ASK_ANSWERED;
}

enum ask_result admin_dns_key_remove(struct ask *a)
{
	char *name = key_name((const char *)a->args[0].ptr);
	struct err err = { 0 };
	int r = store_dns_key_remove(a->control->store, name, &err);

	mem_free(name);
	if (r < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	return answer_result(a, NULL);
}

/* --- Secondaries ------------------------------------------------------------------------------ */

enum ask_result admin_dns_secondary_list(struct ask *a)
{
	struct store_dns_secondary *list;
	struct err err = { 0 };
	size_t count;

	if (store_dns_secondary_list(a->control->store, &list, &count, &err) < 0)
		return answer_store_error(a, &err);
	json_t *result = json_array();
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(result,
					    json_pack("{s:s, s:s, s:o}", "address", list[i].address,
						      "key", list[i].key, "created_at",
						      api_time_json(list[i].created_at)));
		store_dns_secondary_done(&list[i]);
	}
	mem_free(list);
	return answer_result(a, result);
}

/* "IP:PORT", or an IP alone; false after having answered. */
static bool read_address(struct ask *a, const char *given, char text[ADDRESS_TEXT_SIZE])
{
	struct address address;

	if (!address_from_ip(bytes_str(given), PORT_DNS, &address) &&
	    (given[0] == ':' || address_parse(bytes_str(given), &address, NULL) < 0 ||
	     address.any.sa_family == AF_UNIX)) {
		answer_error(a, 400, API_INVALID,
			     "'%.100s' is no address: 192.0.2.53, or [2001:db8::53]:5353", given);
		return false;
	}
	address_text(&address, text);
	return true;
}

enum ask_result admin_dns_secondary_add(struct ask *a)
{
	const char *address, *key;
	char text[ADDRESS_TEXT_SIZE];
	struct err err = { 0 };
	json_t *body = ask_body(a);

	if (body && ask_string(a, body, "address", &address) && ask_string(a, body, "key", &key)) {
		if (!address || !key) {
			answer_error(a, 400, API_INVALID, "%s is missing",
				     address ? "key" : "address");
		} else if (read_address(a, address, text)) {
			struct store_dns_secondary d = { .address = text, .key = key_name(key) };
			if (store_dns_secondary_add(a->control->store, &d, &err) < 0) {
				answer_store_error(a, &err);
			} else {
				control_changed(a->control);
				answer_result(
					a, json_pack("{s:s, s:s}", "address", text, "key", d.key));
			}
			mem_free(d.key);
		}
	}
	json_decref(body);
	return ASK_ANSWERED;
}

enum ask_result admin_dns_secondary_remove(struct ask *a)
{
	char text[ADDRESS_TEXT_SIZE];
	struct err err = { 0 };

	if (!read_address(a, (const char *)a->args[0].ptr, text))
		return ASK_ANSWERED;
	if (store_dns_secondary_remove(a->control->store, text, &err) < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	return answer_result(a, NULL);
}
