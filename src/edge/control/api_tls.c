/* Administration: certificates. Of the built-in CA, of an ACME authority, and of people. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "edge/certificates.h"
#include "edge/control/control_parts.h"
#include "tls/pem.h"
#include "tls/request.h"
#include "tls/tls.h"

#define COMPONENT "edge/control"
/* What clocks are apart. */
#define START_SLACK (5 * 60 * USEC_PER_SEC)

static json_t *lines_json(const char *text)
{
	struct bytes rest = bytes_str(text), line = BYTES_NONE;
	json_t *list = json_array();

	while (bytes_split(&rest, '\n', &line))
		json_array_append_new(list, json_stringn((const char *)line.ptr, line.len));
	return list;
}

/* --- The list --------------------------------------------------------------------------------- */

static const json_t *order_of(const json_t *orders, const char *name)
{
	for (size_t i = 0; i < json_array_size(orders); i++) {
		const json_t *order = json_array_get(orders, i);
		if (strcmp(json_string_value(json_object_get(order, "name")), name) == 0)
			return order;
	}
	return NULL;
}

static json_t *certificate_json(const struct store_certificate *c, const json_t *order)
{
	enum certificate_source source = certificate_source_of(c->name);
	bool is_over = c->expires_at <= clock_wall_now();
	json_t *item = json_pack("{s:s, s:s, s:o, s:s, s:o, s:s, s:s}", "name", c->name, "source",
				 certificate_source_text(source), "names", lines_json(c->hostnames),
				 "issuer", source == CERTIFICATE_BUILTIN ? "built-in CA" : c->issuer,
				 "expires_at", api_time_json(c->expires_at), "state",
				 is_over ? "expired" : "ready", "error", "");

	if (order) {
		json_t *more = json_copy((json_t *)(uintptr_t)order);
		json_object_del(more, "name");
		json_object_del(more, "names");
		json_object_update(item, more);
		json_decref(more);
	}
	return item;
}

static json_t *missing_json(const json_t *order)
{
	json_t *item = json_copy((json_t *)(uintptr_t)order);

	json_object_set_new(
		item, "name",
		json_sprintf("acme %s", json_string_value(json_object_get(order, "name"))));
	json_object_set_new(item, "source", json_string(certificate_source_text(CERTIFICATE_ACME)));
	json_object_set_new(item, "issuer", json_string(""));
	json_object_set_new(item, "expires_at", json_null());
	return item;
}

static json_t *list_json(const struct store_certificate *list, size_t count, json_t *orders)
{
	json_t *result = json_array(), *rest = json_array();

	for (size_t i = 0; i < json_array_size(orders); i++)
		json_array_append(rest, json_array_get(orders, i));
	for (size_t i = 0; i < count; i++) {
		const json_t *order = certificate_source_of(list[i].name) == CERTIFICATE_ACME
					      ? order_of(orders, list[i].name + 5)
					      : NULL;
		json_array_append_new(result, certificate_json(&list[i], order));
		for (size_t k = 0; order && k < json_array_size(rest); k++)
			if (json_array_get(rest, k) == order) {
				json_array_remove(rest, k);
				break;
			}
	}
	for (size_t i = 0; i < json_array_size(rest); i++)
		json_array_append_new(result, missing_json(json_array_get(rest, i)));
	json_decref(rest);
	return result;
}

static void free_list(struct store_certificate *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		store_certificate_done(&list[i]);
	mem_free(list);
}

enum ask_result admin_tls_list(struct ask *a)
{
	const struct control *c = a->control;
	struct store_certificate *list;
	struct err err = { 0 };
	size_t count;

	if (store_certificate_list(c->store, &list, &count, &err) < 0)
		return answer_store_error(a, &err);
	json_t *orders = c->hooks.tls_orders ? c->hooks.tls_orders(c->hooks.ctx) : json_array();
	json_t *result = list_json(list, count, orders);
	json_decref(orders);
	free_list(list, count);
	return answer_result(a, result);
}

/* --- Renewing --------------------------------------------------------------------------------- */

enum ask_result admin_tls_renew(struct ask *a)
{
	const struct control *c = a->control;
	const char *name = NULL;
	struct err err = { 0 };
	json_t *body = ask_body(a);

	if (!body)
		return ASK_ANSWERED;
	if (!ask_string(a, body, "name", &name)) {
		json_decref(body);
		return ASK_ANSWERED;
	}
	if (name && strncmp(name, "acme ", 5) == 0)
		name += 5;
	int count = c->hooks.tls_renew
			    ? c->hooks.tls_renew(c->hooks.ctx, name, &err)
			    : err_set(&err, E_UNSUPPORTED,
				      "the edge does not run: it orders certificates when it does");
	json_decref(body);
	if (count < 0)
		return answer_error(a, err.code == E_NOT_FOUND ? 404 : 400,
				    err.code == E_NOT_FOUND ? API_NOT_FOUND : API_INVALID, "%s",
				    err.text);
	return answer_result(a, json_pack("{s:i}", "queued", count));
}

/* --- Importing -------------------------------------------------------------------------------- */

static bool is_within(struct bytes name, const char *zone)
{
	struct bytes end = bytes_str(zone);

	return bytes_ends_with(name, end) &&
	       (name.len == end.len || name.ptr[name.len - end.len - 1] == '.');
}

/* At least one name that visitors could ask for; a certificate often has others beside them. */
static int check_names(struct store *store, const char *names, struct err *err)
{
	struct bytes rest = bytes_str(names), line = BYTES_NONE;
	char *control_host = store_setting_get(store, "control.host", NULL);
	struct store_zone *zones;
	size_t count;
	int r = store_zone_list(store, &zones, &count, err);
	bool is_ours = false;

	while (r == 0 && !is_ours && bytes_split(&rest, '\n', &line)) {
		is_ours = control_host && bytes_eq(line, bytes_str(control_host));
		for (size_t i = 0; i < count; i++)
			is_ours |= is_within(line, zones[i].name);
	}
	for (size_t i = 0; r == 0 && i < count; i++)
		store_zone_done(&zones[i]);
	if (r == 0)
		mem_free(zones);
	mem_free(control_host);
	if (r < 0 || is_ours)
		return r;
	line = bytes_first(bytes_str(names), bytes_index(bytes_str(names), '\n'));
	return err_set(err, E_INVALID,
		       "no name of the certificate (" BYTES_FMT "%s) is in a zone of this edge: "
		       "`adit-edge zone add ZONE` adds one",
		       BYTES_ARG(line), line.len < strlen(names) ? ", …" : "");
}

static int check_dates(const struct tls_chain_info *info, struct err *err)
{
	char text[40];
	usec now = clock_wall_now();

	if (info->ends_at <= now)
		return err_set(err, E_INVALID,
			       "the certificate ended at %s: get a new one from %s, and import that",
			       clock_rfc3339(info->ends_at, text, sizeof(text)), info->issuer);
	if (info->starts_at > now + START_SLACK)
		return err_set(err, E_INVALID,
			       "the certificate is good from %s on: import it then, or set this "
			       "host's clock",
			       clock_rfc3339(info->starts_at, text, sizeof(text)));
	return 0;
}

static int check_parts(const struct pem_parts *p, struct err *err)
{
	if (!p->chain)
		return err_set(err, E_INVALID,
			       "there is no certificate in the file: it holds the server's own "
			       "(\"-----BEGIN CERTIFICATE-----\"), then those that signed it");
	if (p->key.len == 0)
		return err_set(err, E_INVALID,
			       "there is no private key in the file: put it there, or name its file "
			       "with --key");
	if (tls_chain_check(p->chain, (const char *)p->key.ptr, NULL, 0, err) < 0)
		return err_set(err, E_INVALID,
			       "the key does not belong to the first certificate of the file: put "
			       "the server's own first, then those that signed it, or give its key");
	/* The handshake library has the last word: a chain that it takes today is served tomorrow. */
	struct tls_certificate *tls =
		tls_certificate_load(bytes_str(p->chain), bytes_of(p->key.ptr, p->key.len), err);
	if (!tls)
		return err->code;
	tls_certificate_unref(tls);
	return 0;
}

static int put(struct control *c, const struct pem_parts *p, const struct tls_chain_info *info,
	       char **ret_name, struct err *err)
{
	struct bytes first =
		bytes_first(bytes_str(info->names), bytes_index(bytes_str(info->names), '\n'));
	struct store_certificate put = {
		.name = mem_printf("import " BYTES_FMT, BYTES_ARG(first)),
		.hostnames = mem_strdup(info->names),
		.issuer = mem_strdup(info->issuer),
		.expires_at = info->ends_at,
		.cert_pem = mem_strdup(p->chain),
	};
	int r = check_names(c->store, info->names, err);

	secret_set(&put.key_pem, bytes_of(p->key.ptr, p->key.len));
	if (r == 0)
		r = check_dates(info, err);
	if (r == 0)
		r = certificate_box(&put, err);
	if (r == 0)
		r = store_certificates_change(c->store, &put, 1, NULL, 0, err);
	if (r == 0)
		*ret_name = mem_strdup(put.name);
	store_certificate_done(&put);
	return r;
}

static int import(struct ask *a, const char *pem, json_t **ret, struct err *err)
{
	struct tls_chain_info info = { 0 };
	struct pem_parts parts = { 0 };
	char *name = NULL;
	int r = pem_split(bytes_str(pem), &parts, err);

	if (r == 0)
		r = check_parts(&parts, err);
	if (r == 0)
		r = tls_chain_info(parts.chain, &info, err);
	if (r == 0)
		r = put(a->control, &parts, &info, &name, err);
	if (r == 0) {
		*ret = json_pack("{s:s, s:o, s:s, s:o, s:I}", "name", name, "names",
				 lines_json(info.names), "issuer", info.issuer, "expires_at",
				 api_time_json(info.ends_at), "certificates",
				 (json_int_t)parts.certificate_count);
		log_info(COMPONENT, "certificate imported", LOG_STR("name", name),
			 LOG_STR("issuer", info.issuer));
	}
	mem_free(name);
	mem_free(info.names);
	pem_parts_done(&parts);
	return r;
}

enum ask_result admin_tls_import(struct ask *a)
{
	json_t *body = ask_body(a), *result = NULL;
	struct err err = { 0 };
	const char *pem = NULL;

	if (!body)
		return ASK_ANSWERED;
	if (!ask_string(a, body, "pem", &pem)) {
		json_decref(body);
		return ASK_ANSWERED;
	}
	int r = import(a, pem ? pem : "", &result, &err);
	if (pem)
		secret_wipe((char *)(uintptr_t)pem, strlen(pem));
	json_decref(body);
	if (r == E_INVALID || r == E_LIMIT || r == E_TLS)
		return answer_error(a, 400, API_INVALID, "%s", err.text);
	if (r < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	return answer_result(a, result);
}

/* --- Removing --------------------------------------------------------------------------------- */

static bool has_name(const struct store_certificate *c, const char *name)
{
	struct bytes rest = bytes_str(c->hostnames), line = BYTES_NONE;

	if (strcmp(c->name, name) == 0)
		return true;
	while (bytes_split(&rest, '\n', &line))
		if (bytes_eq_nocase(line, bytes_str(name)))
			return true;
	return false;
}

/* What people brought before what was ordered. */
static const struct store_certificate *find(const struct store_certificate *list, size_t count,
					    const char *name)
{
	const struct store_certificate *found = NULL;

	for (size_t i = 0; i < count; i++)
		if (has_name(&list[i], name) &&
		    (!found ||
		     certificate_source_of(list[i].name) > certificate_source_of(found->name)))
			found = &list[i];
	return found;
}

static enum ask_result remove_one(struct ask *a, const struct store_certificate *c, const char *name)
{
	enum certificate_source source = c ? certificate_source_of(c->name) : CERTIFICATE_BUILTIN;
	struct err err = { 0 };
	int r;

	if (!c)
		return answer_error(a, 404, API_NOT_FOUND,
				    "there is no certificate for %.200s; `adit-edge tls list` shows "
				    "those there are",
				    name);
	if (source == CERTIFICATE_BUILTIN)
		return answer_error(
			a, 400, API_INVALID,
			"%.200s has a certificate of the built-in CA, which is made again as long as it "
			"is needed; `adit-edge tls import` puts another in its place",
			name);
	if (source == CERTIFICATE_ACME)
		r = store_acme_drop(a->control->store, c->name + 5, &err);
	else
		r = store_certificates_change(a->control->store, NULL, 0,
					      (const char *const *)&c->name, 1, &err);
	if (r < 0)
		return answer_store_error(a, &err);
	log_info(COMPONENT, "certificate removed", LOG_STR("name", c->name));
	control_changed(a->control);
	return answer_result(a, json_pack("{s:s, s:s}", "name", c->name, "source",
					  certificate_source_text(source)));
}

enum ask_result admin_tls_remove(struct ask *a)
{
	/* endpoint_find() puts a NUL after each. */
	const char *name = (const char *)a->args[0].ptr;
	struct store_certificate *list;
	struct err err = { 0 };
	size_t count;

	if (store_certificate_list(a->control->store, &list, &count, &err) < 0)
		return answer_store_error(a, &err);
	enum ask_result result = remove_one(a, find(list, count, name), name);
	free_list(list, count);
	return result;
}
