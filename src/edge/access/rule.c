#include "edge/access/rule.h"

#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/nearest.h"
#include "edge/access/policy.h"

/* Longest text of a condition: an e-mail address has 254 bytes, URLs and claims may be longer. */
#define TEXT_BYTES 2048

/* What the members of a selector's object are called. */
static const struct form {
	const char *kind;
	enum access_selector selector;
	const char *value, *detail; /* members; NULL: none */
	bool is_detail_optional;
	bool has_idp;     /* "identity_provider_id" is required */
	const char *text; /* in front of the value, for people */
} forms[] = {
	{ "everyone", ACCESS_EVERYONE, NULL, NULL, false, false, "everyone" },
	{ "email", ACCESS_EMAIL, "email", NULL, false, false, "e-mail address is" },
	{ "email_domain", ACCESS_EMAIL_DOMAIN, "domain", NULL, false, false,
	  "e-mail address is in" },
	{ "ip", ACCESS_IP, "ip", NULL, false, false, "address is in" },
	{ "geo", ACCESS_COUNTRY, "country_code", NULL, false, false, "country is" },
	{ "group", ACCESS_GROUP, "id", NULL, false, false, "is in the group" },
	{ "service_token", ACCESS_SERVICE_TOKEN, "token_id", NULL, false, false,
	  "has the service token" },
	{ "any_valid_service_token", ACCESS_ANY_SERVICE_TOKEN, NULL, NULL, false, false,
	  "has a valid service token" },
	{ "certificate", ACCESS_CERTIFICATE, NULL, NULL, false, false,
	  "has a valid client certificate" },
	{ "common_name", ACCESS_COMMON_NAME, "common_name", NULL, false, false,
	  "common name of the client certificate is" },
	{ "login_method", ACCESS_LOGIN_METHOD, "id", NULL, false, false, "signed in with" },
	{ "auth_method", ACCESS_AUTH_METHOD, "auth_method", NULL, false, false,
	  "identity was proven by" },
	{ "github-organization", ACCESS_GITHUB, "name", "team", true, true,
	  "is in the GitHub organisation" },
	{ "gsuite", ACCESS_PROVIDER_GROUP, "email", NULL, false, true, "is in the Google group" },
	{ "azureAD", ACCESS_PROVIDER_GROUP, "id", NULL, false, true, "is in the Entra group" },
	{ "okta", ACCESS_PROVIDER_GROUP, "name", NULL, false, true, "is in the Okta group" },
	{ "oidc", ACCESS_CLAIM, "claim_name", "claim_value", false, true, "claim" },
	{ "saml", ACCESS_CLAIM, "attribute_name", "attribute_value", false, true, "attribute" },
	{ "external_evaluation", ACCESS_EXTERNAL, "evaluate_url", "keys_url", false, false,
	  "is let in by" },
};

/* Selectors people may bring with their policies. */
static const char *const foreign[] = {
	"device_posture", "warp",    "gateway",          "user_risk_score", "auth_context",
	"email_list",     "ip_list", "linked_app_token", "common_names",
};

static const struct form *form_find(const char *kind)
{
	for (size_t i = 0; i < ARRAY_LEN(forms); i++)
		if (strcmp(forms[i].kind, kind) == 0)
			return &forms[i];
	return NULL;
}

static int unknown_selector(const char *kind, struct err *err)
{
	const char *names[ARRAY_LEN(forms)];
	const char *near;

	for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
		if (strcmp(foreign[i], kind) == 0)
			return err_set(err, E_UNSUPPORTED,
				       "the selector %s is not supported: this edge has no agent on "
				       "visitors' devices and no lists",
				       kind);
	for (size_t i = 0; i < ARRAY_LEN(forms); i++)
		names[i] = forms[i].kind;
	near = nearest_name(kind, names, ARRAY_LEN(names));
	return err_set(err, E_PARSE, "there is no selector \"%.40s\"%s%s%s", kind,
		       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/* --- Parsing ---------------------------------------------------------------------------------- */

/* A non-empty text without control characters. */
static int take_text(const struct form *f, const json_t *body, const char *member, bool is_optional,
		     struct arena *arena, struct bytes *ret, struct err *err)
{
	const json_t *value = json_object_get(body, member);
	struct bytes text;

	if (is_optional && (!value || json_is_null(value)))
		return 0;
	if (!json_is_string(value))
		return err_set(err, E_PARSE, "%s: \"%s\" must be a text", f->kind, member);
	text = bytes_of(json_string_value(value), json_string_length(value));
	if (text.len == 0 && is_optional)
		return 0;
	if (text.len == 0 || text.len > TEXT_BYTES)
		return err_set(err, E_PARSE, "%s: \"%s\" is %s", f->kind, member,
			       text.len ? "too long" : "empty");
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
			return err_set(err, E_PARSE, "%s: \"%s\" has a control character", f->kind,
				       member);
	*ret = arena_copy(arena, text);
	return 0;
}

static struct bytes lower(struct arena *arena, struct bytes text)
{
	uint8_t *copy = arena_alloc_bytes(arena, text.len);

	for (size_t i = 0; i < text.len; i++)
		copy[i] = bytes_lower(text.ptr[i]);
	return bytes_of(copy, text.len);
}

/* Of what is in lower case. */
static bool is_letter(uint8_t c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_url(struct bytes text)
{
	return bytes_starts_with(text, BYTES_LIT("https://")) && text.len > 8;
}

/* Tokens hold it, which are cookies of 4096 bytes, and services see them. */
#define MARK_BYTES 12

struct bytes access_external_mark(struct arena *arena, struct bytes evaluate_url,
				  struct bytes keys_url)
{
	uint8_t hash[HASH_SHA256_BYTES];
	char *text = (char *)arena_alloc_bytes(arena, base64_size(MARK_BYTES) + 1);
	size_t len;

	hash_sha256(arena_printf(arena, BYTES_FMT " " BYTES_FMT, BYTES_ARG(evaluate_url),
				 BYTES_ARG(keys_url)),
		    hash);
	len = base64_encode(BASE64_URL_RAW, bytes_of(hash, MARK_BYTES), text);
	text[len] = 0;
	return bytes_of(text, len);
}

/* "10.0.0.0/8", or one address. */
static bool parse_network(struct bytes text, struct network *ret)
{
	char full[NETWORK_TEXT_SIZE];
	bool is_v6 = bytes_index(text, ':') < text.len;

	if (bytes_index(text, '/') < text.len)
		return network_parse(text, ret);
	if (text.len + sizeof("/128") > sizeof(full))
		return false;
	snprintf(full, sizeof(full), BYTES_FMT "/%d", BYTES_ARG(text), is_v6 ? 128 : 32);
	return network_parse(bytes_str(full), ret);
}

/* What only makes sense in one shape. */
static int check_value(struct access_rule *r, struct arena *arena, struct err *err)
{
	size_t at;

	switch (r->selector) {
	case ACCESS_EMAIL:
		at = bytes_index(r->value, '@');
		if (at == 0 || at + 1 >= r->value.len)
			return err_set(err, E_PARSE, "email: \"" BYTES_FMT "\" is no e-mail address",
				       BYTES_ARG(r->value));
		r->value = lower(arena, r->value);
		return 0;
	case ACCESS_EMAIL_DOMAIN:
		if (r->value.ptr[0] == '@')
			r->value = bytes_from(r->value, 1);
		if (r->value.len == 0 || bytes_index(r->value, '@') < r->value.len)
			return err_set(err, E_PARSE,
				       "email_domain: the domain is what stands behind the @");
		r->value = lower(arena, r->value);
		return 0;
	case ACCESS_IP:
		if (!parse_network(r->value, &r->network))
			return err_set(err, E_PARSE,
				       "ip: \"" BYTES_FMT "\" is no network (10.0.0.0/8, fd00::/8)",
				       BYTES_ARG(r->value));
		return 0;
	case ACCESS_COUNTRY:
		r->value = lower(arena, r->value);
		if (r->value.len != 2 || !is_letter(r->value.ptr[0]) || !is_letter(r->value.ptr[1]))
			return err_set(err, E_PARSE,
				       "geo: a country is two letters (ISO 3166): \"PT\"");
		return 0;
	case ACCESS_EXTERNAL:
		if (!is_url(r->value) || !is_url(r->detail))
			return err_set(err, E_PARSE,
				       "external_evaluation: both URLs begin with https://");
		r->mark = access_external_mark(arena, r->value, r->detail);
		return 0;
	default:
		return 0;
	}
}

int access_rule_parse(const json_t *object, struct arena *arena, struct access_rule *ret,
		      struct err *err)
{
	void *only = json_object_iter((json_t *)(uintptr_t)object);
	const struct form *f;
	const json_t *body;
	int r = 0;

	*ret = (struct access_rule){ 0 };
	if (!json_is_object(object) || json_object_size(object) != 1)
		return err_set(err, E_PARSE,
			       "a rule is an object with one selector: {\"email\": {\"email\": "
			       "\"a@example.com\"}}");
	f = form_find(json_object_iter_key(only));
	if (!f)
		return unknown_selector(json_object_iter_key(only), err);
	body = json_object_iter_value(only);
	if (!json_is_object(body))
		return err_set(err, E_PARSE, "%s: must be an object", f->kind);
	ret->selector = f->selector;
	ret->kind = f->kind;
	if (f->value)
		r = take_text(f, body, f->value, false, arena, &ret->value, err);
	if (r == 0 && f->detail)
		r = take_text(f, body, f->detail, f->is_detail_optional, arena, &ret->detail, err);
	if (r == 0 && f->has_idp)
		r = take_text(f, body, "identity_provider_id", false, arena, &ret->idp, err);
	ret->ca_file = "";
	if (r == 0 && f->selector == ACCESS_EXTERNAL) {
		struct bytes ca = BYTES_NONE;

		r = take_text(f, body, "ca_file", true, arena, &ca, err);
		ret->ca_file = arena_strdup(arena, ca);
	}
	return r < 0 ? r : check_value(ret, arena, err);
}

static void put_text(json_t *body, const char *member, struct bytes text)
{
	if (member && text.len)
		json_object_set_new(body, member, json_stringn((const char *)text.ptr, text.len));
}

json_t *access_rule_json(const struct access_rule *r)
{
	const struct form *f = form_find(r->kind);
	json_t *body = json_object();

	if (r->selector == ACCESS_COUNTRY) {
		char code[3] = { (char)(r->value.ptr[0] - 32), (char)(r->value.ptr[1] - 32), 0 };
		json_object_set_new(body, f->value, json_string(code));
	} else {
		put_text(body, f->value, r->value);
	}
	put_text(body, f->detail, r->detail);
	put_text(body, "identity_provider_id", r->idp);
	put_text(body, "ca_file", bytes_str(r->ca_file));
	return json_pack("{s:o}", r->kind, body);
}

struct bytes access_rule_text(const struct access_rule *r, struct arena *arena)
{
	const struct form *f = form_find(r->kind);

	switch (r->selector) {
	case ACCESS_GROUP:
		return arena_printf(arena, "%s %s", f->text,
				    r->group ? r->group->name : "(removed)");
	case ACCESS_GITHUB:
		if (r->detail.len)
			return arena_printf(arena, "%s " BYTES_FMT ", team " BYTES_FMT, f->text,
					    BYTES_ARG(r->value), BYTES_ARG(r->detail));
		break;
	case ACCESS_CLAIM:
		return arena_printf(arena, "%s " BYTES_FMT " is " BYTES_FMT, f->text,
				    BYTES_ARG(r->value), BYTES_ARG(r->detail));
	default:
		break;
	}
	return r->value.len ? arena_printf(arena, "%s " BYTES_FMT, f->text, BYTES_ARG(r->value))
			    : bytes_str(f->text);
}

/* --- Answers ---------------------------------------------------------------------------------- */

bool access_rule_needs_identity(const struct access_rule *r)
{
	switch (r->selector) {
	case ACCESS_EMAIL:
	case ACCESS_EMAIL_DOMAIN:
	case ACCESS_LOGIN_METHOD:
	case ACCESS_AUTH_METHOD:
	case ACCESS_GITHUB:
	case ACCESS_PROVIDER_GROUP:
	case ACCESS_CLAIM:
	case ACCESS_EXTERNAL:
		return true;
	case ACCESS_GROUP:
		return r->group && access_conditions_need_identity(&r->group->conditions);
	default:
		return false;
	}
}

/* Behind the last @: quoted local parts may hold one (RFC 5321 §4.1.2). */
static struct bytes domain_of(struct bytes email)
{
	for (size_t i = email.len; i > 0; i--)
		if (email.ptr[i - 1] == '@')
			return bytes_from(email, i);
	return BYTES_NONE;
}

static bool is_among(const struct bytes *list, size_t count, struct bytes value, bool ignore_case)
{
	for (size_t i = 0; i < count; i++)
		if (ignore_case ? bytes_eq_nocase(list[i], value) : bytes_eq(list[i], value))
			return true;
	return false;
}

static bool is_member(const struct access_facts *facts, const struct access_rule *r)
{
	for (size_t i = 0; i < facts->membership_count; i++) {
		const struct access_membership *m = &facts->memberships[i];

		if (bytes_eq_nocase(m->organisation, r->value) &&
		    (r->detail.len == 0 || bytes_eq_nocase(m->team, r->detail)))
			return true;
	}
	return false;
}

/* One value of a claim as text; numbers and truth values as JSON writes them. */
static bool claim_is(const json_t *value, struct bytes wanted)
{
	char text[32];

	if (json_is_string(value))
		return bytes_eq(bytes_of(json_string_value(value), json_string_length(value)),
				wanted);
	if (json_is_integer(value)) {
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
		return bytes_eq(bytes_str(text), wanted);
	}
	if (json_is_boolean(value))
		return bytes_eq(json_is_true(value) ? BYTES_LIT("true") : BYTES_LIT("false"),
				wanted);
	return false;
}

static bool has_claim(const json_t *claims, const struct access_rule *r)
{
	const json_t *value = NULL, *element;
	size_t i;

	if (json_is_object(claims))
		value = json_object_getn(claims, (const char *)r->value.ptr, r->value.len);
	if (!json_is_array(value))
		return value && claim_is(value, r->detail);
	json_array_foreach((json_t *)(uintptr_t)value, i,
			   element) if (claim_is(element, r->detail)) return true;
	return false;
}

static const struct access_external_answer *external_find(const struct access_facts *facts,
							  struct bytes mark)
{
	for (size_t i = 0; i < facts->external_count; i++)
		if (bytes_eq(facts->external[i].mark, mark))
			return &facts->external[i];
	return NULL;
}

static enum access_answer external_answer(const struct access_facts *facts, struct bytes mark)
{
	const struct access_external_answer *found = external_find(facts, mark);

	return found ? found->answer : ACCESS_UNKNOWN;
}

bool access_rule_was_asked(const struct access_rule *r, const struct access_facts *facts)
{
	return external_find(facts, r->mark) != NULL;
}

static enum access_answer of_person(const struct access_rule *r, const struct access_facts *facts)
{
	bool yes = false;

	if (!facts->has_identity)
		return ACCESS_UNKNOWN;
	if (r->idp.len && !bytes_eq(r->idp, facts->idp))
		return ACCESS_NO;
	switch (r->selector) {
	case ACCESS_EMAIL:
		yes = bytes_eq_nocase(facts->email, r->value);
		break;
	case ACCESS_EMAIL_DOMAIN:
		yes = bytes_eq_nocase(domain_of(facts->email), r->value);
		break;
	case ACCESS_LOGIN_METHOD:
		yes = bytes_eq(facts->idp, r->value);
		break;
	case ACCESS_AUTH_METHOD:
		yes = is_among(facts->methods, facts->method_count, r->value, false);
		break;
	case ACCESS_GITHUB:
		yes = is_member(facts, r);
		break;
	case ACCESS_PROVIDER_GROUP:
		yes = is_among(facts->groups, facts->group_count, r->value, true);
		break;
	case ACCESS_CLAIM:
		yes = has_claim(facts->claims, r);
		break;
	case ACCESS_EXTERNAL:
		return external_answer(facts, r->mark);
	default:
		break;
	}
	return yes ? ACCESS_YES : ACCESS_NO;
}

bool access_rule_is_doubtful(const struct access_rule *r, const struct access_facts *facts)
{
	return r->selector == ACCESS_COUNTRY && !facts->country[0];
}

enum access_answer access_rule_answer(const struct access_rule *r, const struct access_facts *facts,
				      bool in_doubt)
{
	bool yes = false;

	switch (r->selector) {
	case ACCESS_EVERYONE:
		yes = true;
		break;
	case ACCESS_IP:
		yes = facts->has_address && network_holds(&r->network, &facts->address);
		break;
	case ACCESS_COUNTRY:
		yes = access_rule_is_doubtful(r, facts)
			      ? in_doubt
			      : bytes_eq_nocase(bytes_str(facts->country), r->value);
		break;
	case ACCESS_GROUP:
		/* One that was removed holds nobody, also where it is excluded: access_group_link()
		 * refuses such policies. */
		return r->group ? access_conditions_answer(&r->group->conditions, facts, in_doubt,
							   NULL)
				: ACCESS_NO;
	case ACCESS_SERVICE_TOKEN:
		yes = bytes_eq(facts->service_token, r->value);
		break;
	case ACCESS_ANY_SERVICE_TOKEN:
		yes = facts->service_token.len > 0;
		break;
	case ACCESS_CERTIFICATE:
		yes = facts->has_certificate;
		break;
	case ACCESS_COMMON_NAME:
		yes = facts->has_certificate && bytes_eq(facts->common_name, r->value);
		break;
	default:
		return of_person(r, facts);
	}
	return yes ? ACCESS_YES : ACCESS_NO;
}
