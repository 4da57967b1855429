#include "edge/access/document.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/nearest.h"
#include "base/secret.h"
#include "edge/access/objects.h"
#include "edge/access/view.h"
#include "store/store_access.h"

/* In the order in which they may name each other. */
static const struct section {
	const char *name;
	enum access_kind kind;
} sections[] = {
	{ "organization", ACCESS_ORGANIZATION }, { "identity_providers", ACCESS_PROVIDER },
	{ "service_tokens", ACCESS_TOKEN },      { "groups", ACCESS_GROUPS },
	{ "policies", ACCESS_POLICY },           { "applications", ACCESS_APP },
};

/* Of objects, what is not a person's to write. */
static const char *const inner[] = { "id",
				     "uid",
				     "aud",
				     "created_at",
				     "updated_at",
				     "client_id",
				     "secret_sha256",
				     "previous_sha256",
				     "previous_until",
				     "expires_at" };

/* Selectors with one member that says it all: "email: a@example.com". */
static const struct {
	const char *selector, *member;
} shorts[] = {
	{ "email", "email" },
	{ "email_domain", "domain" },
	{ "ip", "ip" },
	{ "geo", "country_code" },
	{ "group", "name" },
	{ "service_token", "name" },
	{ "login_method", "name" },
	{ "auth_method", "auth_method" },
	{ "common_name", "common_name" },
};

/* Members of rules that name another object: with its id inside, with its name in a document. */
static const struct reference {
	const char *selector; /* NULL: any */
	const char *id, *name;
	enum access_kind kind;
} references[] = {
	{ "group", "id", "name", ACCESS_GROUPS },
	{ "service_token", "token_id", "name", ACCESS_TOKEN },
	{ "login_method", "id", "name", ACCESS_PROVIDER },
	{ NULL, "identity_provider_id", "identity_provider", ACCESS_PROVIDER },
};

static const char *const condition_lists[] = { "include", "require", "exclude" };

/* --- Objects by name --------------------------------------------------------------------------- */

/* What there will be. */
struct plan {
	struct access_object *objects; /* owned, and their bodies */
	size_t count;
	enum fate {
		FATE_STAYS,
		FATE_SAME,
		FATE_CHANGED,
		FATE_CREATED
	} *
		fates; /* of each; owned */
	json_t *secrets;
	bool has_countries;
};

static const char *text_of(const json_t *object, const char *member)
{
	const char *text = json_string_value(json_object_get(object, member));

	return text ? text : "";
}

/* By name, else by id. `count` when there is none; SIZE_MAX when there are several of the name. */
static size_t find(const struct access_object *objects, size_t count, enum access_kind kind,
		   const char *word)
{
	size_t found = count;

	for (size_t i = 0; i < count; i++) {
		if (objects[i].kind != kind)
			continue;
		if (strcmp(text_of(objects[i].body, "id"), word) == 0)
			return i;
		if (strcmp(text_of(objects[i].body, "name"), word) == 0)
			found = found == count ? i : SIZE_MAX;
	}
	return found;
}

static int find_one(const struct plan *p, enum access_kind kind, const char *word, size_t *ret,
		    struct err *err)
{
	*ret = find(p->objects, p->count, kind, word);
	if (*ret == SIZE_MAX)
		return err_set(err, E_INVALID,
			       "there are several of %s \"%.100s\": rename one, or say its id",
			       access_kind_text(kind), word);
	return *ret < p->count ? 0
			       : err_set(err, E_NOT_FOUND, "there is no %s \"%.100s\"",
					 access_kind_text(kind), word);
}

/* --- Rules: ids and names ----------------------------------------------------------------------- */

/* "everyone" and {"email": "…"} in full. */
static json_t *lengthen(json_t *rule)
{
	const char *selector;
	json_t *value;

	if (json_is_string(rule))
		return json_pack("{s:{}}", json_string_value(rule));
	if (json_object_size(rule) != 1)
		return json_incref(rule);
	selector = json_object_iter_key(json_object_iter(rule));
	value = json_object_get(rule, selector);
	for (size_t i = 0; i < ARRAY_LEN(shorts) && json_is_string(value); i++)
		if (strcmp(shorts[i].selector, selector) == 0)
			return json_pack("{s:{s:O}}", selector, shorts[i].member, value);
	return json_incref(rule);
}

static json_t *shorten(json_t *rule)
{
	const char *selector = json_object_iter_key(json_object_iter(rule));
	json_t *value = selector ? json_object_get(rule, selector) : NULL;

	if (json_is_object(value) && json_object_size(value) == 0)
		return json_string(selector);
	for (size_t i = 0; i < ARRAY_LEN(shorts); i++) {
		json_t *only = json_object_get(value, shorts[i].member);
		if (selector && strcmp(shorts[i].selector, selector) == 0 && only &&
		    json_object_size(value) == 1)
			return json_pack("{s:O}", selector, only);
	}
	return json_incref(rule);
}

static bool applies(const struct reference *r, const char *selector)
{
	return !r->selector || strcmp(r->selector, selector) == 0;
}

static int rule_to_ids(const struct plan *p, json_t *rule, struct err *err)
{
	const char *selector;
	json_t *value;
	size_t at;

	json_object_foreach(rule, selector, value)
	{
		for (size_t i = 0; i < ARRAY_LEN(references); i++) {
			const struct reference *r = &references[i];
			const char *word = json_string_value(json_object_get(value, r->name));
			if (!applies(r, selector) || !word)
				continue;
			if (find_one(p, r->kind, word, &at, err) < 0)
				return err->code;
			json_object_set(value, r->id, json_object_get(p->objects[at].body, "id"));
			json_object_del(value, r->name);
		}
	}
	return 0;
}

static int rule_to_names(const struct plan *p, json_t *rule, struct err *err)
{
	const char *selector;
	json_t *value;

	(void)err;
	json_object_foreach(rule, selector, value)
	{
		for (size_t i = 0; i < ARRAY_LEN(references); i++) {
			const struct reference *r = &references[i];
			const char *id = json_string_value(json_object_get(value, r->id));
			size_t at = id && applies(r, selector)
					    ? find(p->objects, p->count, r->kind, id)
					    : p->count;
			if (at >= p->count)
				continue;
			json_object_set(value, r->name,
					json_object_get(p->objects[at].body, "name"));
			json_object_del(value, r->id);
		}
	}
	return 0;
}

/* Every rule of the object: lengthened and by id, or by name and shortened. */
static int rules_convert(const struct plan *p, json_t *body, bool to_names, struct err *err)
{
	json_t *rule;
	size_t k;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(condition_lists); i++) {
		json_t *list = json_object_get(body, condition_lists[i]);
		json_array_foreach(list, k, rule)
		{
			json_t *full = to_names ? json_incref(rule) : lengthen(rule);
			r = to_names ? rule_to_names(p, full, err) : rule_to_ids(p, full, err);
			if (r < 0) {
				json_decref(full);
				return err_wrap(err, "%s[%zu]", condition_lists[i], k);
			}
			json_array_set_new(list, k, to_names ? shorten(full) : json_incref(full));
			json_decref(full);
		}
	}
	return r;
}

/* A list of ids as a list of names, or back. */
static int list_convert(const struct plan *p, json_t *body, const char *member,
			enum access_kind kind, bool to_names, struct err *err)
{
	json_t *list = json_object_get(body, member), *one;
	size_t i, at;

	json_array_foreach(list, i, one)
	{
		const char *word =
			json_is_object(one) ? text_of(one, "name") : json_string_value(one);
		if (find_one(p, kind, word ? word : "", &at, err) < 0)
			return err_wrap(err, "%s[%zu]", member, i);
		json_array_set(list, i,
			       json_object_get(p->objects[at].body, to_names ? "name" : "id"));
	}
	return 0;
}

static int convert(const struct plan *p, enum access_kind kind, json_t *body, bool to_names,
		   struct err *err)
{
	int r = 0;

	if (kind == ACCESS_GROUPS || kind == ACCESS_POLICY)
		return rules_convert(p, body, to_names, err);
	if (kind == ACCESS_APP)
		r = list_convert(p, body, "policies", ACCESS_POLICY, to_names, err);
	if (kind == ACCESS_APP && r == 0)
		r = list_convert(p, body, "allowed_idps", ACCESS_PROVIDER, to_names, err);
	return r;
}

/* --- Export ------------------------------------------------------------------------------------- */

static json_t *exported(const struct plan *p, const struct access_object *o)
{
	json_t *body = json_deep_copy(o->body);
	struct err ignored = { 0 };

	(void)convert(p, o->kind, body, true, &ignored);
	body = access_object_public(o->kind, body);
	for (size_t i = 0; i < ARRAY_LEN(inner); i++)
		json_object_del(body, inner[i]);
	if (o->kind == ACCESS_PROVIDER)
		json_object_del(json_object_get(body, "config"), "client_secret");
	return body;
}

json_t *access_document_export(struct store *store, struct err *err)
{
	struct plan p = { 0 };
	json_t *document;

	if (access_objects_load(store, &p.objects, &p.count, err) < 0)
		return NULL;
	document = json_object();
	for (size_t s = 0; s < ARRAY_LEN(sections); s++) {
		json_t *list = json_array();
		for (size_t i = 0; i < p.count; i++)
			if (p.objects[i].kind == sections[s].kind)
				json_array_append_new(list, exported(&p, &p.objects[i]));
		if (sections[s].kind == ACCESS_ORGANIZATION && json_array_size(list))
			json_object_set(document, sections[s].name, json_array_get(list, 0));
		else if (json_array_size(list))
			json_object_set(document, sections[s].name, list);
		json_decref(list);
	}
	access_objects_done(p.objects, p.count);
	return document;
}

/* --- Apply -------------------------------------------------------------------------------------- */

static void plan_done(struct plan *p)
{
	access_objects_done(p->objects, p->count);
	mem_free(p->fates);
	json_decref(p->secrets);
}

static int check_sections(const json_t *document, struct err *err)
{
	const char *names[ARRAY_LEN(sections)], *key, *near;
	json_t *value;

	for (size_t i = 0; i < ARRAY_LEN(sections); i++)
		names[i] = sections[i].name;
	json_object_foreach((json_t *)(uintptr_t)document, key, value)
	{
		bool is_known = false;
		for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
			bool is_list = sections[i].kind != ACCESS_ORGANIZATION;
			if (strcmp(sections[i].name, key) != 0)
				continue;
			is_known = true;
			if (!json_is_null(value) &&
			    !(is_list ? json_is_array(value) : json_is_object(value)))
				return err_set(err, E_PARSE, "%s must be a %s", key,
					       is_list ? "list" : "mapping");
		}
		if (is_known)
			continue;
		near = nearest_name(key, names, ARRAY_LEN(names));
		return err_set(err, E_PARSE, "there is no section \"%.40s\"%s%s%s", key,
			       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	}
	return 0;
}

static void plan_add(struct plan *p, enum access_kind kind, json_t *body, enum fate fate)
{
	p->objects = mem_resize(p->objects, (p->count + 1) * sizeof(*p->objects));
	p->fates = mem_resize(p->fates, (p->count + 1) * sizeof(*p->fates));
	p->objects[p->count] = (struct access_object){ kind, body };
	p->fates[p->count++] = fate;
}

/* The same but for when it was changed? */
static bool is_same(const json_t *a, const json_t *b)
{
	json_t *one = json_deep_copy(a), *other = json_deep_copy(b);

	json_object_del(one, "updated_at");
	json_object_del(other, "updated_at");
	bool same = json_equal(one, other);
	json_decref(one);
	json_decref(other);
	return same;
}

static int create(struct plan *p, enum access_kind kind, const json_t *sent, struct err *err)
{
	struct access_secret secret = { 0 };
	json_t *body = access_object_make(kind, sent, &secret, err);

	if (!body)
		return err->code;
	if (kind == ACCESS_TOKEN)
		json_array_append_new(p->secrets,
				      json_pack("{s:s, s:s, s:s}", "name", text_of(body, "name"),
						"client_id", secret.client_id, "client_secret",
						secret.client_secret));
	secret_wipe(&secret, sizeof(secret));
	plan_add(p, kind, body, FATE_CREATED);
	return 0;
}

/* One object of the document. Its id is found or made now; what it names is looked up later. */
static int take(struct plan *p, enum access_kind kind, const json_t *sent, struct err *err)
{
	bool is_only = kind == ACCESS_ORGANIZATION;
	const char *name = text_of(sent, *text_of(sent, "id") ? "id" : "name");
	size_t at = 0;

	if (!json_is_object(sent))
		return err_set(err, E_PARSE, "is no mapping");
	if (!is_only && !name[0])
		return err_set(err, E_PARSE, "\"name\" is missing");
	if (access_object_check_served(sent, p->has_countries, err) < 0)
		return err->code;
	if (is_only) {
		while (at < p->count && p->objects[at].kind != kind)
			at++;
	} else {
		at = find(p->objects, p->count, kind, name);
	}
	if (at == SIZE_MAX || (at < p->count && p->fates[at] != FATE_STAYS))
		return err_set(err, E_EXISTS, "the name \"%.100s\" is there twice", name);
	if (at == p->count)
		return create(p, kind, sent, err);
	json_t *body = access_object_change(kind, p->objects[at].body, sent, err);
	if (!body)
		return err->code;
	/* How long a token is good is counted from when it was made. */
	if (kind == ACCESS_TOKEN && json_equal(json_object_get(body, "duration"),
					       json_object_get(p->objects[at].body, "duration")))
		json_object_set(body, "expires_at",
				json_object_get(p->objects[at].body, "expires_at"));
	json_decref(p->objects[at].body);
	p->objects[at].body = body;
	p->fates[at] = FATE_CHANGED;
	return 0;
}

/* Calls `each` for every object of the document, the place in front of what it says. */
static int each_sent(const json_t *document,
		     int (*each)(void *ctx, size_t section, json_t *sent, struct err *err),
		     void *ctx, struct err *err)
{
	for (size_t s = 0; s < ARRAY_LEN(sections); s++) {
		json_t *value = json_object_get(document, sections[s].name), *sent;
		size_t i;
		if (json_is_object(value) && each(ctx, s, value, err) < 0)
			return err_wrap(err, "%s", sections[s].name);
		json_array_foreach(value, i, sent)
		{
			if (each(ctx, s, sent, err) < 0)
				return err_wrap(err, "%s[%zu]", sections[s].name, i);
		}
	}
	return 0;
}

static int take_sent(void *ctx, size_t section, json_t *sent, struct err *err)
{
	return take(ctx, sections[section].kind, sent, err);
}

static size_t place_of(const struct plan *p, enum access_kind kind, const json_t *sent)
{
	if (kind != ACCESS_ORGANIZATION)
		return find(p->objects, p->count, kind,
			    text_of(sent, *text_of(sent, "id") ? "id" : "name"));
	for (size_t i = 0; i < p->count; i++)
		if (p->objects[i].kind == kind)
			return i;
	return p->count;
}

static int link_sent(void *ctx, size_t section, json_t *sent, struct err *err)
{
	struct plan *p = ctx;
	size_t at = place_of(p, sections[section].kind, sent);

	return at < p->count ? convert(p, sections[section].kind, p->objects[at].body, false, err)
			     : 0;
}

/* What works up to here? To find the one that does not. */
struct trial {
	const struct plan *plan;
	struct access_object *objects; /* borrowed bodies: those that stay, and what was tried */
	size_t count;
};

static int try_sent(void *ctx, size_t section, json_t *sent, struct err *err)
{
	struct trial *t = ctx;
	size_t at = place_of(t->plan, sections[section].kind, sent);

	if (at >= t->plan->count)
		return 0;
	t->objects[t->count++] = t->plan->objects[at];
	struct access_set *set = access_set_build(t->objects, t->count, err);
	int r = set ? access_set_check_groups(set, err) : err->code;
	access_set_unref(set);
	return r;
}

static int check(const struct plan *p, const json_t *document, struct err *err)
{
	struct access_set *set = access_set_build(p->objects, p->count, err);
	struct err first = { 0 };

	int r = set ? access_set_check_groups(set, err) : err->code;
	access_set_unref(set);
	if (r == 0)
		return 0;
	/* By itself and those before it, which is enough for all but conflicts with what is there. */
	struct trial t = { .plan = p };
	t.objects = mem_alloc_array(p->count + 1, sizeof(*t.objects));
	if (each_sent(document, try_sent, &t, &first) < 0)
		*err = first;
	mem_free(t.objects);
	return err->code;
}

static void drop(struct plan *p, size_t at)
{
	json_decref(p->objects[at].body);
	for (; at + 1 < p->count; at++) {
		p->objects[at] = p->objects[at + 1];
		p->fates[at] = p->fates[at + 1];
	}
	p->count--;
}

static void note(json_t *changes, const struct access_object *o, const char *action)
{
	json_array_append_new(changes,
			      json_pack("{s:s, s:s, s:s}", "kind", access_kind_text(o->kind),
					"name", text_of(o->body, "name"), "action", action));
}

/* Fills in what happens to each, and lets go what is pruned. */
static void settle(struct plan *p, const struct access_object *before, size_t before_count,
		   bool prunes, json_t *changes)
{
	for (size_t i = 0; i < p->count; i++) {
		const char *id = text_of(p->objects[i].body, "id");
		size_t old = find(before, before_count, p->objects[i].kind, id);
		if (p->fates[i] == FATE_CREATED)
			note(changes, &p->objects[i], "created");
		if (p->fates[i] != FATE_CHANGED || old >= before_count)
			continue;
		if (is_same(p->objects[i].body, before[old].body)) {
			json_decref(p->objects[i].body);
			p->objects[i].body = json_incref(before[old].body);
			p->fates[i] = FATE_SAME;
		} else {
			note(changes, &p->objects[i], "changed");
		}
	}
	for (size_t i = p->count; prunes && i-- > 0;) {
		if (p->fates[i] != FATE_STAYS || p->objects[i].kind == ACCESS_ORGANIZATION)
			continue;
		note(changes, &p->objects[i], "removed");
		drop(p, i);
	}
}

static int write_all(struct store *store, const struct plan *p, struct err *err)
{
	struct store_access_object *list = mem_alloc_array(p->count + 1, sizeof(*list));

	for (size_t i = 0; i < p->count; i++) {
		char *text = json_dumps(p->objects[i].body, JSON_COMPACT);
		list[i].kind = mem_strdup(access_kind_name(p->objects[i].kind));
		list[i].id = mem_strdup(text_of(p->objects[i].body, "id"));
		secret_set(&list[i].body, bytes_str(text));
		secret_wipe(text, strlen(text));
		free(text); /* allowed: jansson took it from malloc */
	}
	int r = store_access_object_replace(store, list, p->count, err);
	for (size_t i = 0; i < p->count; i++)
		store_access_object_done(&list[i]);
	mem_free(list);
	return r;
}

json_t *access_document_apply(struct store *store, const json_t *document,
			      const struct access_apply *how, struct err *err)
{
	struct access_object *before;
	struct plan p = { 0 };
	json_t *changes = json_array(), *result = NULL;
	size_t before_count;
	int r = check_sections(document, err);

	if (r == 0)
		r = access_objects_load(store, &before, &before_count, err);
	if (r < 0) {
		json_decref(changes);
		return NULL;
	}
	p.secrets = json_array();
	p.has_countries = how->has_countries;
	for (size_t i = 0; i < before_count; i++)
		plan_add(&p, before[i].kind, json_incref(before[i].body), FATE_STAYS);
	r = each_sent(document, take_sent, &p, err);
	if (r == 0)
		r = each_sent(document, link_sent, &p, err);
	if (r == 0) {
		settle(&p, before, before_count, how->prunes, changes);
		r = check(&p, document, err);
	}
	if (r == 0 && !how->is_dry && json_array_size(changes))
		r = write_all(store, &p, err);
	if (r == 0)
		result = json_pack("{s:O, s:o}", "changes", changes, "secrets",
				   how->is_dry ? json_array() : json_incref(p.secrets));
	json_decref(changes);
	plan_done(&p);
	access_objects_done(before, before_count);
	return result;
}
