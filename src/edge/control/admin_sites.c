/* How visitors of a zone or a hostname are served: HSTS, TLS version, certificates of clients. */
#include <string.h>

#include "base/mem.h"
#include "edge/control/control_parts.h"
#include "store/names.h"
#include "tls/tls.h"

/* Ten years: what is longer is a slip of the finger. */
#define MAX_AGE_MAX 315360000
/* What browsers want before they build a name in (hstspreload.org). */
#define MAX_AGE_PRELOAD 31536000

/* --- What it is about ------------------------------------------------------------------------- */

struct subject {
	struct store_zone zone; /* owned */
	char hostname[NAME_DNS_BYTES + 1];
	struct store_site own, of_zone; /* owned; empty when nothing is set */
};

static void subject_done(struct subject *s)
{
	store_zone_done(&s->zone);
	store_site_done(&s->own);
	store_site_done(&s->of_zone);
}

static int get_site(struct store *store, const struct uuid *zone, const char *hostname,
		    struct store_site *ret, struct err *err)
{
	struct err why = { 0 };
	int r = store_site_get(store, zone, hostname, ret, &why);

	if (r == E_NOT_FOUND) {
		*ret = (struct store_site){ .zone = *zone, .hostname = mem_strdup(hostname) };
		return 0;
	}
	if (r < 0)
		*err = why;
	return r;
}

/* The longest zone that the hostname is in. */
static int find_zone(struct store *store, const char *hostname, struct store_zone *ret,
		     struct err *err)
{
	const char *name = strncmp(hostname, "*.", 2) ? hostname : hostname + 2;
	int r = E_NOT_FOUND;

	for (; name && r == E_NOT_FOUND; name = strchr(name, '.'), name += name != NULL)
		r = store_zone_find(store, name, ret, err);
	return r == E_NOT_FOUND ? err_set(err, r, "%s is in no zone of this edge", hostname) : r;
}

/* False after having answered. */
static bool find_subject(struct ask *a, bool is_zone, struct subject *s)
{
	const char *name = (const char *)a->args[0].ptr; /* endpoint_find() puts a NUL after it */
	struct store *store = a->control->store;
	struct err err = { 0 };
	int r;

	*s = (struct subject){ 0 };
	if (is_zone) {
		r = store_zone_find(store, name, &s->zone, &err);
	} else {
		r = name_hostname(name, s->hostname, &err);
		if (r == 0)
			r = find_zone(store, s->hostname, &s->zone, &err);
	}
	if (r == 0)
		r = get_site(store, &s->zone.id, s->hostname, &s->own, &err);
	if (r == 0 && !is_zone)
		r = get_site(store, &s->zone.id, "", &s->of_zone, &err);
	if (r == 0)
		return true;
	subject_done(s);
	answer_store_error(a, &err);
	return false;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *text_json(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *hsts_json(const char *hsts)
{
	return hsts && !hsts[0] ? json_string("off") : text_json(hsts);
}

static const char *either(const char *own, const char *inherited, const char *preset)
{
	return own ? own : inherited ? inherited : preset;
}

static json_t *site_json(const struct store_site *p, const char *zone,
			 const struct store_site *above)
{
	json_t *effective =
		json_pack("{s:o, s:s, s:s}", "hsts", hsts_json(either(p->hsts, above->hsts, "")),
			  "min_tls", either(p->min_tls, above->min_tls, "1.2"), "client_cert",
			  either(p->client_auth, above->client_auth, "off"));

	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "zone", zone, "hostname",
			 p->hostname, "hsts", hsts_json(p->hsts), "min_tls", text_json(p->min_tls),
			 "client_cert", text_json(p->client_auth), "client_ca",
			 text_json(p->client_ca), "passthrough", text_json(p->passthrough),
			 "effective", effective);
}

static enum ask_result answer_site(struct ask *a, const struct subject *s)
{
	return answer_result(a, site_json(&s->own, s->zone.name, &s->of_zone));
}

/* --- Changing --------------------------------------------------------------------------------- */

/* Takes the text's place; false after having answered. */
typedef bool set_member(struct ask *a, const char *text, char **at);

static void put_text(char **at, const char *text)
{
	mem_free(*at);
	*at = text ? mem_strdup(text) : NULL;
}

static bool refuse(struct ask *a, const char *why)
{
	answer_error(a, 400, API_INVALID, "%s", why);
	return false;
}

/* "max-age=N" with ",includeSubDomains" and ",preload"; written as the header has it. */
static bool set_hsts(struct ask *a, const char *text, char **at)
{
	struct bytes rest = bytes_str(text), part;
	bool has_subdomains = false, has_preload = false, has_age = false;
	uint64_t age = 0;

	if (strcmp(text, "off") == 0) {
		put_text(at, "");
		return true;
	}
	while (bytes_split(&rest, bytes_index(rest, ';') < rest.len ? ';' : ',', &part)) {
		part = bytes_trim(part);
		if (bytes_eq_nocase(part, BYTES_LIT("includeSubDomains")))
			has_subdomains = true;
		else if (bytes_eq_nocase(part, BYTES_LIT("preload")))
			has_preload = true;
		else if (bytes_eq_nocase(bytes_first(part, 8), BYTES_LIT("max-age=")) &&
			 bytes_to_u64(bytes_from(part, 8), &age) && age <= MAX_AGE_MAX)
			has_age = true;
		else
			return refuse(a,
				      "hsts is off, or max-age=SECONDS with includeSubDomains and "
				      "preload if wanted, separated by commas");
	}
	if (!has_age)
		return refuse(a, "hsts needs max-age=SECONDS");
	if (has_preload && (!has_subdomains || age < MAX_AGE_PRELOAD))
		return refuse(a,
			      "preload needs includeSubDomains and a max-age of 31536000 at least");
	mem_free(*at);
	*at = mem_printf("max-age=%llu%s%s", (unsigned long long)age,
			 has_subdomains ? "; includeSubDomains" : "",
			 has_preload ? "; preload" : "");
	return true;
}

static bool set_min_tls(struct ask *a, const char *text, char **at)
{
	if (strcmp(text, "1.2") != 0 && strcmp(text, "1.3") != 0)
		return refuse(a, "min_tls is 1.2 or 1.3");
	put_text(at, text);
	return true;
}

static bool set_client_cert(struct ask *a, const char *text, char **at)
{
	if (strcmp(text, "off") != 0 && strcmp(text, "optional") != 0 &&
	    strcmp(text, "require") != 0)
		return refuse(a, "client_cert is off, optional or require");
	put_text(at, text);
	return true;
}

static bool set_client_ca(struct ask *a, const char *text, char **at)
{
	const struct tls_policy_options options = {
		.client_auth = TLS_CLIENT_REQUIRED,
		.client_ca_pem = bytes_str(text),
	};
	struct err err = { 0 };
	struct tls_policy *policy =
		text[0] ? tls_policy_new(&options, &err)
			: (err_set(&err, E_INVALID, "client CAs: the text is empty"), NULL);

	if (!policy)
		return refuse(a, err.text);
	tls_policy_unref(policy);
	put_text(at, text);
	return true;
}

static bool set_passthrough(struct ask *a, const char *text, char **at)
{
	if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
		return refuse(a, "passthrough is on or off");
	put_text(at, text);
	return true;
}

static bool read_body(struct ask *a, struct store_site *p)
{
	const struct {
		const char *name;
		char **at;
		set_member *set;
	} members[] = {
		{ "hsts", &p->hsts, set_hsts },
		{ "min_tls", &p->min_tls, set_min_tls },
		{ "client_cert", &p->client_auth, set_client_cert },
		{ "client_ca", &p->client_ca, set_client_ca },
		{ "passthrough", &p->passthrough, set_passthrough },
	};
	json_t *body = ask_body(a), *value;
	const char *name;
	bool is_good = body != NULL;

	if (!body)
		return false;
	json_object_foreach(body, name, value)
	{
		size_t i = 0;
		while (i < ARRAY_LEN(members) && strcmp(members[i].name, name) != 0)
			i++;
		if (i == ARRAY_LEN(members)) {
			answer_error(a, 400, API_INVALID, "there is no setting %.60s", name);
			is_good = false;
		} else if (json_is_null(value)) {
			put_text(members[i].at, NULL);
		} else if (!json_is_string(value)) {
			answer_error(a, 400, API_INVALID, "%s is a string or null", name);
			is_good = false;
		} else {
			is_good = members[i].set(a, json_string_value(value), members[i].at);
		}
		if (!is_good)
			break;
	}
	json_decref(body);
	return is_good;
}

static bool has_authorities(struct ask *a, const struct subject *s)
{
	const char *auth = either(s->own.client_auth, s->of_zone.client_auth, "off");

	if (strcmp(auth, "off") == 0 || s->own.client_ca || s->of_zone.client_ca)
		return true;
	return refuse(a, "client_cert needs client_ca: who may have issued the certificates?");
}

static bool is_of_hostname(struct ask *a, const struct subject *s)
{
	return s->own.hostname[0] || !s->own.passthrough ||
	       refuse(a, "passthrough is set for hostnames, *.example.com among them");
}

static enum ask_result update(struct ask *a, bool is_zone)
{
	struct subject s;
	struct err err = { 0 };
	enum ask_result result = ASK_ANSWERED;

	if (!find_subject(a, is_zone, &s))
		return ASK_ANSWERED;
	if (read_body(a, &s.own) && has_authorities(a, &s) && is_of_hostname(a, &s)) {
		if (store_site_put(a->control->store, &s.own, &err) < 0) {
			result = answer_store_error(a, &err);
		} else {
			control_changed(a->control);
			result = answer_site(a, &s);
		}
	}
	subject_done(&s);
	return result;
}

enum ask_result admin_zone_site_update(struct ask *a)
{
	return update(a, true);
}

enum ask_result admin_host_site_update(struct ask *a)
{
	return update(a, false);
}

/* --- Reading ---------------------------------------------------------------------------------- */

static enum ask_result get(struct ask *a, bool is_zone)
{
	struct subject s;

	if (!find_subject(a, is_zone, &s))
		return ASK_ANSWERED;
	enum ask_result result = answer_site(a, &s);
	subject_done(&s);
	return result;
}

enum ask_result admin_zone_site_get(struct ask *a)
{
	return get(a, true);
}

enum ask_result admin_host_site_get(struct ask *a)
{
	return get(a, false);
}

enum ask_result admin_site_list(struct ask *a)
{
	static const struct store_site nothing;
	struct store_site *sites;
	struct store_zone zone;
	struct err err = { 0 };
	size_t count;

	if (store_site_list(a->control->store, &sites, &count, &err) < 0)
		return answer_store_error(a, &err);
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		if (store_zone_get(a->control->store, &sites[i].zone, &zone, NULL) == 0) {
			const struct store_site *above = &nothing;
			for (size_t k = 0; k < count && sites[i].hostname[0]; k++)
				if (!sites[k].hostname[0] && uuid_eq(&sites[k].zone, &sites[i].zone))
					above = &sites[k];
			(void)json_array_append_new(list, site_json(&sites[i], zone.name, above));
			store_zone_done(&zone);
		}
	}
	for (size_t i = 0; i < count; i++)
		store_site_done(&sites[i]);
	mem_free(sites);
	return answer_result(a, list);
}
