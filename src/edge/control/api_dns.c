/* REST API: records of a zone (docs/dns.md). Routed hostnames are among them, as CNAMEs to
 * <tunnel id>.cfargotunnel.com, which clients of this API know; name servers answer with addresses. */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/nearest.h"
#include "edge/control/control_parts.h"
#include "edge/dns/zone.h"
#include "store/names.h"

#define TUNNEL_SUFFIX ".cfargotunnel.com"
#define TTL_MAX (7 * 86400)
/* What clients write for "whatever is usual". */
#define TTL_AUTO 1
#define TYPE_BYTES 10

/* --- From what people write ------------------------------------------------------------------- */

static const char *const type_names[] = { "A", "AAAA", "CNAME", "MX", "TXT", "SRV", "CAA" };

static bool is_known_type(const char *type)
{
	for (size_t i = 0; i < ARRAY_LEN(type_names); i++)
		if (strcmp(type_names[i], type) == 0)
			return true;
	return false;
}

static char *full_name(const char *name, const char *zone, bool is_relative)
{
	size_t len = strlen(name), zone_len = strlen(zone);

	len -= len > 0 && name[len - 1] == '.';
	bool is_full = len >= zone_len && strncasecmp(name + len - zone_len, zone, zone_len) == 0 &&
		       (len == zone_len || name[len - zone_len - 1] == '.');
	char *full = is_relative && strcmp(name, "@") == 0 ? mem_strdup(zone)
		     : is_relative && !is_full ? mem_printf("%.*s.%s", (int)len, name, zone)
					       : mem_strndup(bytes_of(name, len));

	for (char *c = full; *c; c++)
		*c = (char)bytes_lower((uint8_t)*c);
	return full;
}

bool control_dns_record(struct ask *a, const struct store_zone *zone, const char *name,
			bool is_relative, const char *type, const char *data, uint64_t ttl,
			struct store_dns_record *ret)
{
	struct err err = { 0 };

	if (ttl > TTL_MAX || ttl < 1) {
		answer_error(a, 400, API_INVALID, "a ttl is a number of seconds from 1 to %d",
			     TTL_MAX);
		return false;
	}
	ret->zone = zone->id;
	ret->name = full_name(name, zone->name, is_relative);
	ret->type = mem_strndup(bytes_first(bytes_str(type), TYPE_BYTES));
	ret->ttl = (uint32_t)ttl;
	for (char *c = ret->type; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	if (!is_known_type(ret->type)) {
		const char *near = nearest_name(ret->type, type_names, ARRAY_LEN(type_names));
		answer_error(
			a, 400, API_INVALID,
			"'%.20s' is not a type of record that is served%s%s%s: A, AAAA, CNAME, MX, "
			"TXT, SRV and CAA are",
			type, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
		return false;
	}
	if (strlen(ret->name) > NAME_DNS_BYTES) {
		answer_error(a, 400, API_HOSTNAME, "the name is longer than %d bytes",
			     NAME_DNS_BYTES);
		return false;
	}
	char *text = dns_record_from_people(ret->type, data);
	const struct dns_record record = { ret->name, ret->type, text, ret->ttl };
	ret->data = dns_record_canonical(zone->name, &record, &err);
	mem_free(text);
	if (!ret->data)
		answer_error(a, 400, API_INVALID, "%s", err.text);
	return ret->data != NULL;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void id_text(const uint8_t id[16], char text[33])
{
	hex_encode(bytes_of(id, 16), text);
	text[32] = 0;
}

/* Of a route there is one per hostname: its id is made from that. */
static void route_id(const char *hostname, uint8_t ret[16])
{
	uint8_t hash[HASH_SHA256_BYTES];
	char *text = mem_printf("route %s", hostname);

	hash_sha256(bytes_str(text), hash);
	memcpy(ret, hash, 16);
	mem_free(text);
}

static json_t *record_base(const struct store_zone *zone, const uint8_t id[16], const char *name,
			   const char *type, usec created_at)
{
	char its[33], zones[33];

	id_text(id, its);
	zone_id_text(&zone->id, zones);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:{}, s:n, s:[], s:o, s:o}", "id", its,
			 "zone_id", zones, "zone_name", zone->name, "name", name, "type", type,
			 "locked", 0, "meta", "comment", "tags", "created_on",
			 api_time_json(created_at), "modified_on", api_time_json(created_at));
}

static json_t *route_json(const struct store_zone *zone, const struct store_route *r)
{
	char tunnel[UUID_TEXT_SIZE];
	uint8_t id[16];

	route_id(r->hostname, id);
	json_t *o = record_base(zone, id, r->hostname, "CNAME", r->created_at);
	(void)json_object_set_new(o, "content",
				  json_sprintf("%s" TUNNEL_SUFFIX, uuid_text(&r->tunnel, tunnel)));
	(void)json_object_set_new(o, "proxiable", json_true());
	(void)json_object_set_new(o, "proxied", json_true());
	(void)json_object_set_new(o, "ttl", json_integer(TTL_AUTO));
	return o;
}

/* A target without its dot. */
static json_t *target_json(const char *text)
{
	size_t len = strlen(text);

	return json_stringn(text, len - (len > 1 && text[len - 1] == '.'));
}

/* "10 5 5060 sip.example.com.": numbers first. */
static const char *read_numbers(const char *data, unsigned long *ret, size_t count)
{
	char *end = (char *)(uintptr_t)data;

	for (size_t i = 0; i < count; i++) {
		ret[i] = strtoul(data, &end, 10);
		data = end + (*end == ' ');
	}
	return data;
}

static void add_mx(json_t *o, const char *data)
{
	unsigned long number;
	const char *target = read_numbers(data, &number, 1);

	(void)json_object_set_new(o, "content", target_json(target));
	(void)json_object_set_new(o, "priority", json_integer((json_int_t)number));
}

static void add_srv(json_t *o, const char *data)
{
	unsigned long n[3];
	json_t *target = target_json(read_numbers(data, n, ARRAY_LEN(n)));

	(void)json_object_set_new(
		o, "content", json_sprintf("%lu %lu %s", n[1], n[2], json_string_value(target)));
	(void)json_object_set_new(o, "priority", json_integer((json_int_t)n[0]));
	(void)json_object_set_new(o, "data",
				  json_pack("{s:I, s:I, s:I, s:o}", "priority", (json_int_t)n[0],
					    "weight", (json_int_t)n[1], "port", (json_int_t)n[2],
					    "target", target));
}

static void add_caa(json_t *o, const char *data)
{
	unsigned long flags;
	const char *tag = read_numbers(data, &flags, 1);
	size_t tag_len = strcspn(tag, " ");
	const char *value = tag + tag_len + (tag[tag_len] == ' ');
	size_t value_len = strlen(value);

	if (value_len >= 2 && value[0] == '"') {
		value++;
		value_len -= 2;
	}
	(void)json_object_set_new(o, "content", json_string(data));
	(void)json_object_set_new(o, "data",
				  json_pack("{s:I, s:s%, s:s%}", "flags", (json_int_t)flags, "tag",
					    tag, tag_len, "value", value, value_len));
}

static json_t *record_json(const struct store_zone *zone, const struct store_dns_record *r)
{
	json_t *o = record_base(zone, r->id.b, r->name, r->type, r->created_at);

	if (strcmp(r->type, "MX") == 0)
		add_mx(o, r->data);
	else if (strcmp(r->type, "SRV") == 0)
		add_srv(o, r->data);
	else if (strcmp(r->type, "CAA") == 0)
		add_caa(o, r->data);
	else
		(void)json_object_set_new(o, "content",
					  strcmp(r->type, "CNAME") == 0 ? target_json(r->data)
									: json_string(r->data));
	(void)json_object_set_new(o, "proxiable", json_false());
	(void)json_object_set_new(o, "proxied", json_false());
	(void)json_object_set_new(o, "ttl", json_integer(r->ttl));
	return o;
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* False after having answered. */
static bool get_zone(struct ask *a, struct store_zone *ret)
{
	struct err err = { 0 };

	if (store_zone_get(a->control->store, &a->zone, ret, &err) == 0)
		return true;
	answer_store_error(a, &err);
	return false;
}

/* Takes the item. */
static void add_if_asked(struct ask *a, json_t *list, json_t *item)
{
	static const char *const names[] = { "type", "name", "content" };
	bool fits = true;

	for (size_t i = 0; i < ARRAY_LEN(names) && fits; i++) {
		const char *wanted = ask_text(a, names[i]);
		fits = !wanted ||
		       strcasecmp(wanted, json_string_value(json_object_get(item, names[i]))) == 0;
	}
	if (fits)
		(void)json_array_append_new(list, item);
	else
		json_decref(item);
}

/* NULL after having answered. */
static json_t *all_records(struct ask *a, const struct store_zone *zone)
{
	struct store_dns_record *records = NULL;
	struct store_route *routes = NULL;
	size_t count = 0, route_count = 0;
	struct err err = { 0 };
	json_t *list = NULL;

	if (store_dns_record_list(a->control->store, &zone->id, &records, &count, &err) < 0 ||
	    store_route_list(a->control->store, &routes, &route_count, &err) < 0)
		answer_store_error(a, &err);
	else
		list = json_array();
	for (size_t i = 0; i < route_count; i++) {
		if (list && uuid_eq(&routes[i].zone, &zone->id))
			add_if_asked(a, list, route_json(zone, &routes[i]));
		store_route_done(&routes[i]);
	}
	for (size_t i = 0; i < count; i++) {
		if (list)
			add_if_asked(a, list, record_json(zone, &records[i]));
		store_dns_record_done(&records[i]);
	}
	mem_free(routes);
	mem_free(records);
	return list;
}

enum ask_result api_dns_list(struct ask *a)
{
	struct store_zone zone;
	struct ask_page page;

	if (!ask_page(a, &page) || !get_zone(a, &zone))
		return ASK_ANSWERED;
	json_t *all = all_records(a, &zone), *part = json_array();
	store_zone_done(&zone);
	if (!all) {
		json_decref(part);
		return ASK_ANSWERED;
	}
	size_t total = json_array_size(all);
	for (size_t i = page.offset; i < total && i < page.offset + page.size; i++)
		(void)json_array_append(part, json_array_get(all, i));
	json_decref(all);
	return answer_list(a, part, page.number, page.size, total);
}

/* What the path names: a record, or a route (record.type NULL then). */
struct found {
	struct store_zone zone;
	struct store_dns_record record;
	struct store_route route;
	bool is_route;
};

static void found_done(struct found *f)
{
	store_zone_done(&f->zone);
	store_dns_record_done(&f->record);
	store_route_done(&f->route);
}

static int find_route(struct store *store, const struct uuid *zone, const uint8_t id[16],
		      struct store_route *ret, struct err *err)
{
	struct store_route *routes;
	size_t count;
	uint8_t its[16];
	int r = store_route_list(store, &routes, &count, err);
	bool is_found = false;

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		route_id(routes[i].hostname, its);
		if (!is_found && uuid_eq(&routes[i].zone, zone) && memcmp(its, id, 16) == 0) {
			*ret = routes[i];
			is_found = true;
		} else {
			store_route_done(&routes[i]);
		}
	}
	mem_free(routes);
	return is_found ? 0 : err_set(err, E_NOT_FOUND, "there is no such record");
}

/* False after having answered. */
static bool find(struct ask *a, struct found *f)
{
	struct err err = { 0 };
	struct uuid id;

	*f = (struct found){ 0 };
	if (!zone_id_parse(a->args[1], &id)) {
		answer_error(a, 400, API_INVALID, "the id of a record has 32 hexadecimal digits");
		return false;
	}
	if (!get_zone(a, &f->zone))
		return false;
	int r = store_dns_record_get(a->control->store, &f->zone.id, &id, &f->record, &err);
	if (r == E_NOT_FOUND) {
		r = find_route(a->control->store, &f->zone.id, id.b, &f->route, &err);
		f->is_route = r == 0;
	}
	if (r == 0)
		return true;
	found_done(f);
	if (r == E_NOT_FOUND)
		answer_error(a, 404, API_DNS_NOT_FOUND, "Record does not exist.");
	else
		answer_store_error(a, &err);
	return false;
}

enum ask_result api_dns_get(struct ask *a)
{
	struct found f;

	if (!find(a, &f))
		return ASK_ANSWERED;
	json_t *o = f.is_route ? route_json(&f.zone, &f.route) : record_json(&f.zone, &f.record);
	found_done(&f);
	return answer_result(a, o);
}

enum ask_result api_dns_remove(struct ask *a)
{
	struct err err = { 0 };
	struct found f;

	if (!find(a, &f))
		return ASK_ANSWERED;
	int r = f.is_route ? store_route_remove(a->control->store, f.route.hostname, &err)
			   : store_dns_record_remove_one(a->control->store, &f.zone.id,
							 &f.record.id, &err);
	found_done(&f);
	if (r < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	return answer_result(a, json_pack("{s:s%}", "id", a->args[1].ptr, a->args[1].len));
}

/* --- Writing ---------------------------------------------------------------------------------- */

/* A number of the object, or of its member "data"; `preset` when it is in neither. */
static json_int_t number_of(const json_t *body, const char *name, json_int_t preset)
{
	const json_t *value = json_object_get(json_object_get(body, "data"), name);

	if (!json_is_integer(value))
		value = json_object_get(body, name);
	return json_is_integer(value) ? json_integer_value(value) : preset;
}

static const char *text_in_data(const json_t *body, const char *name)
{
	return json_string_value(json_object_get(json_object_get(body, "data"), name));
}

/* As it stands in a zone file. Owned. */
static char *data_of(const json_t *body, const char *type, const char *content)
{
	long long priority = number_of(body, "priority", 0);

	if (strcasecmp(type, "MX") == 0)
		return mem_printf("%lld %s", priority, content ? content : "");
	if (strcasecmp(type, "SRV") == 0 && text_in_data(body, "target"))
		return mem_printf(
			"%lld %lld %lld %s", priority, (long long)number_of(body, "weight", 0),
			(long long)number_of(body, "port", 0), text_in_data(body, "target"));
	if (strcasecmp(type, "SRV") == 0)
		return mem_printf("%lld %s", priority, content ? content : "");
	if (strcasecmp(type, "CAA") == 0 && text_in_data(body, "tag"))
		return mem_printf("%lld %s %s", (long long)number_of(body, "flags", 0),
				  text_in_data(body, "tag"),
				  text_in_data(body, "value") ? text_in_data(body, "value") : "");
	return mem_strdup(content ? content : "");
}

static bool tunnel_of(const char *type, const char *content, struct uuid *ret)
{
	struct bytes text = bytes_str(content ? content : "");

	if (bytes_ends_with(text, BYTES_LIT(".")))
		text.len--;
	return strcasecmp(type, "CNAME") == 0 && text.len == 36 + strlen(TUNNEL_SUFFIX) &&
	       bytes_eq_nocase(bytes_from(text, 36), BYTES_LIT(TUNNEL_SUFFIX)) &&
	       uuid_parse(bytes_first(text, 36), ret);
}

static enum ask_result answer_taken(struct ask *a, const struct err *err)
{
	return answer_error(a, 400, API_DNS_EXISTS,
			    "An A, AAAA, or CNAME record with that host already exists. %s",
			    err->text);
}

/* A CNAME to a tunnel is a route. */
static enum ask_result put_route(struct ask *a, const struct store_zone *zone, const char *given,
				 const struct uuid *tunnel, bool overwrite)
{
	char *hostname = full_name(given, zone->name, true);
	enum store_route_change change;
	struct store_tunnel known = { 0 };
	struct store_route route;
	struct err err = { 0 };
	enum ask_result result;
	bool is_reserved = api_host_is_reserved(a, hostname);

	int r = store_tunnel_get(a->control->store, a->account, tunnel, &known, &err);
	store_tunnel_done(&known);
	if (r == 0 && is_reserved)
		r = err_set(&err, E_INVALID,
			    "%.253s belongs to the edge itself and cannot be routed to a tunnel",
			    hostname);
	if (r == 0)
		r = store_route_put(a->control->store, &zone->id, hostname, tunnel, overwrite,
				    &change, &err);
	if (r == 0)
		r = store_route_get(a->control->store, hostname, &route, &err);
	if (r == E_EXISTS) {
		result = answer_taken(a, &err);
	} else if (r < 0) {
		result = answer_store_error(a, &err);
	} else {
		control_changed(a->control);
		result = answer_result(a, route_json(zone, &route));
		store_route_done(&route);
	}
	mem_free(hostname);
	return result;
}

/* `old`: what it replaces; NULL: nothing. */
static enum ask_result put_record(struct ask *a, const struct store_zone *zone, const json_t *body,
				  const struct store_dns_record *old)
{
	const char *type, *name, *content;
	struct store_dns_record record = { 0 };
	struct err err = { 0 };
	struct uuid tunnel;

	if (!ask_string(a, body, "type", &type) || !ask_string(a, body, "name", &name) ||
	    !ask_string(a, body, "content", &content))
		return ASK_ANSWERED;
	if (!type && old)
		type = old->type;
	if (!name && old)
		name = old->name;
	if (!type || !name)
		return answer_error(a, 400, API_INVALID, "%s is missing", type ? "name" : "type");
	if (tunnel_of(type, content, &tunnel) && !old)
		return put_route(a, zone, name, &tunnel, false);
	bool keeps_data = old && !content && !json_object_get(body, "data") &&
			  !json_object_get(body, "priority");
	char *data = keeps_data ? mem_strdup(old->data) : data_of(body, type, content);
	json_int_t ttl = number_of(body, "ttl", old ? (json_int_t)old->ttl : TTL_AUTO);
	bool is_good =
		control_dns_record(a, zone, name, true, type, data,
				   ttl == TTL_AUTO ? DNS_TTL_DEFAULT : (uint64_t)ttl, &record);
	mem_free(data);
	int r = 0;
	if (is_good && old) {
		record.id = old->id;
		record.created_at = old->created_at;
		r = store_dns_record_replace(a->control->store, &record, &err);
	} else if (is_good) {
		r = store_dns_record_add(a->control->store, &record, &err);
	}
	if (is_good && r == E_EXISTS) {
		answer_taken(a, &err);
	} else if (is_good && r < 0) {
		answer_store_error(a, &err);
	} else if (is_good) {
		control_changed(a->control);
		answer_result(a, record_json(zone, &record));
	}
	store_dns_record_done(&record);
	return ASK_ANSWERED;
}

enum ask_result api_dns_add(struct ask *a)
{
	struct store_zone zone;

	if (!get_zone(a, &zone))
		return ASK_ANSWERED;
	json_t *body = ask_body(a);
	if (body)
		put_record(a, &zone, body, NULL);
	json_decref(body);
	store_zone_done(&zone);
	return ASK_ANSWERED;
}

/* Of a route only the tunnel may change; a record does not become a route. */
enum ask_result api_dns_update(struct ask *a)
{
	struct found f;
	struct uuid tunnel;
	const char *content;

	if (!find(a, &f))
		return ASK_ANSWERED;
	json_t *body = ask_body(a);
	if (body && !f.is_route) {
		put_record(a, &f.zone, body, &f.record);
	} else if (body && ask_string(a, body, "content", &content)) {
		if (!content)
			answer_result(a, route_json(&f.zone, &f.route));
		else if (tunnel_of("CNAME", content, &tunnel))
			put_route(a, &f.zone, f.route.hostname, &tunnel, true);
		else
			answer_error(
				a, 400, API_INVALID,
				"%.253s is routed to a tunnel: remove this record to add another",
				f.route.hostname);
	}
	json_decref(body);
	found_done(&f);
	return ASK_ANSWERED;
}
