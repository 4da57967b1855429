#include "edge/tunnels/service_report.h"

#include <string.h>

#include "base/limits.h"

/* Longer texts are cut: they are for people. */
#define TEXT_BYTES 512

static const char *const states[] = {
	[SERVICE_UNCHECKED] = "unchecked",
	[SERVICE_UNKNOWN] = "unknown",
	[SERVICE_HEALTHY] = "healthy",
	[SERVICE_UNHEALTHY] = "unhealthy",
};

/* --- Reading ---------------------------------------------------------------------------------- */

/* Cut between characters: jansson has checked that it is UTF-8. */
static const char *text_of(struct arena *arena, const json_t *object, const char *key)
{
	struct bytes text = bytes_str(json_string_value(json_object_get(object, key)));

	if (text.len > TEXT_BYTES) {
		text.len = TEXT_BYTES;
		while (text.len && (text.ptr[text.len] & 0xc0) == 0x80)
			text.len--;
	}
	return arena_strdup(arena, text);
}

static bool state_of(const json_t *object, enum service_state *ret)
{
	const char *text = json_string_value(json_object_get(object, "state"));

	for (size_t i = 0; text && i < ARRAY_LEN(states); i++) {
		if (strcmp(text, states[i]) == 0) {
			*ret = (enum service_state)i;
			return true;
		}
	}
	return false;
}

static void read_service(struct service_report *r, struct arena *arena, const json_t *object)
{
	struct service *s = &r->list[r->count];
	json_int_t rule = json_integer_value(json_object_get(object, "rule"));

	if (!state_of(object, &s->state))
		return;
	s->rule = rule >= 0 && rule < LIMIT_INGRESS_RULES ? (unsigned)rule : 0;
	s->hostname = text_of(arena, object, "hostname");
	s->path = text_of(arena, object, "path");
	s->service = text_of(arena, object, "service");
	s->error = text_of(arena, object, "error");
	s->since = text_of(arena, object, "since");
	r->checked += s->state != SERVICE_UNCHECKED;
	r->unhealthy += s->state == SERVICE_UNHEALTHY;
	r->count++;
}

static struct service_report *read_report(const json_t *health)
{
	const json_t *sequence = json_object_get(health, "sequence");
	json_t *rules = json_object_get(health, "rules"), *rule;
	struct arena arena;
	size_t i;

	if (!json_is_array(rules) || !json_is_integer(sequence) ||
	    json_integer_value(sequence) < 0 || json_array_size(rules) > LIMIT_HEALTH_HOSTS)
		return NULL;
	arena_init(&arena);
	struct service_report *r = arena_alloc(&arena, sizeof(*r));
	atomic_init(&r->refs, 1);
	r->sequence = (uint64_t)json_integer_value(sequence);
	r->list = arena_alloc(&arena, json_array_size(rules) * sizeof(*r->list) + 1);
	json_array_foreach(rules, i, rule) read_service(r, &arena, rule);
	r->arena = arena;
	return r;
}

struct service_report *service_report_parse(struct bytes json)
{
	struct service_report *r = NULL;

	/* The rules come the same way and may be much longer: nobody parses those. */
	if (json.len > LIMIT_HEALTH_REPORT_BYTES ||
	    !bytes_starts_with(json, BYTES_LIT("{\"adit\":")))
		return NULL;
	json_t *root = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *health = json_object_get(json_object_get(root, "adit"), "health");
	if (json_is_object(health))
		r = read_report(health);
	json_decref(root);
	return r;
}

/* --- Life ------------------------------------------------------------------------------------- */

struct service_report *service_report_ref(struct service_report *r)
{
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

struct service_report *service_report_unref(struct service_report *r)
{
	if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) > 1)
		return NULL;
	struct arena arena = r->arena;
	arena_done(&arena);
	return NULL;
}

/* --- Asking ----------------------------------------------------------------------------------- */

/* As the connector matches: the asterisk stands for one label or more. */
static bool matches(const char *hostname, struct bytes host)
{
	if (hostname[0] == 0 || strcmp(hostname, "*") == 0)
		return true;
	if (hostname[0] != '*')
		return bytes_eq_nocase(bytes_str(hostname), host);
	struct bytes suffix = bytes_str(hostname + 1);
	return host.len > suffix.len &&
	       bytes_eq_nocase(suffix, bytes_from(host, host.len - suffix.len));
}

bool service_report_is_down(const struct service_report *r, struct bytes host)
{
	const char *hostname = NULL;

	for (size_t i = 0; r->unhealthy && i < r->count; i++) {
		const struct service *s = &r->list[i];
		if (!hostname && matches(s->hostname, host))
			hostname = s->hostname;
		/* The edge does not know which of a host's paths leads where: one that is down is enough. */
		if (hostname && s->state == SERVICE_UNHEALTHY &&
		    bytes_eq_nocase(bytes_str(s->hostname), bytes_str(hostname)))
			return true;
	}
	return false;
}

json_t *service_report_json(const struct service_report *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->count; i++) {
		const struct service *s = &r->list[i];
		if (s->state == SERVICE_UNCHECKED)
			continue;
		json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s}", "rule",
						      (int)s->rule, "hostname", s->hostname, "path",
						      s->path, "service", s->service, "state",
						      states[s->state], "error", s->error, "since",
						      s->since));
	}
	return list;
}
