/* healthCheck: how the connector sees whether a rule's service is well. */
#include "base/limits.h"
#include "connector/ingress/ingress_internal.h"

/* More often is a load, more rarely is no use. */
#define INTERVAL_MIN USEC_PER_SEC
#define INTERVAL_MAX (3600 * USEC_PER_SEC)
#define INTERVAL_PRESET (10 * USEC_PER_SEC)
#define TIMEOUT_MAX (60 * USEC_PER_SEC)
#define TIMEOUT_PRESET (5 * USEC_PER_SEC)
#define THRESHOLD_MAX 100
#define THRESHOLD_PRESET 2
#define PATH_BYTES 2048
#define CODES_MAX 20

struct reading {
	struct ingress *in;
	enum ingress_form form;
	struct ingress_rule *rule;
	struct ingress_health *health;
	bool has_path, has_codes;
	struct err *err;
};

/* ------------------------------------------------------------------------------------------
 * Values. */

static int type_read(struct reading *r, const struct yaml_node *n)
{
	const char *text;
	int result = yaml_as_string(n, &text, r->err);

	if (result < 0)
		return result;
	if (strcmp(text, "http") == 0)
		r->health->kind = INGRESS_CHECK_HTTP;
	else if (strcmp(text, "tcp") == 0)
		r->health->kind = INGRESS_CHECK_TCP;
	else
		return yaml_error(n, r->err,
				  "healthCheck.type is \"%.60s\"; \"http\" and \"tcp\" are allowed",
				  text);
	return 0;
}

static int path_read(struct reading *r, const struct yaml_node *n)
{
	const char *text;
	int result = yaml_as_string(n, &text, r->err);

	if (result < 0)
		return result;
	bool is_good = text[0] == '/' && strlen(text) <= PATH_BYTES;
	for (const char *c = text; *c; c++)
		is_good &= *c > ' ' && *c < 0x7f && *c != '#';
	if (!is_good)
		return yaml_error(n, r->err,
				  "healthCheck.path is \"%.100s\"; a path like /healthz is allowed",
				  text);
	r->health->path = arena_strdup(&r->in->arena, bytes_str(text));
	r->has_path = true;
	return 0;
}

static int duration_read(struct reading *r, const struct yaml_node *n, const char *name, usec min,
			 usec max, usec *ret)
{
	char from[40], to[40];
	int result = yaml_as_duration(n, r->form == INGRESS_JSON, ret, r->err);

	if (result == 0 && (*ret < min || *ret > max))
		return yaml_error(n, r->err, "healthCheck.%s must be from %s to %s", name,
				  duration_text(min, from), duration_text(max, to));
	return result;
}

/* "200", "200-399". */
static bool codes_parse(struct bytes text, struct ingress_codes *ret)
{
	uint64_t first, last;
	struct bytes rest = text, part;

	if (!bytes_split(&rest, '-', &part) || !bytes_to_u64(bytes_trim(part), &first))
		return false;
	last = first;
	if (rest.len && !bytes_to_u64(bytes_trim(rest), &last))
		return false;
	if (rest.len == 0 && part.len != text.len)
		return false; /* "200-" */
	if (first < 100 || last > 999 || first > last)
		return false;
	*ret = (struct ingress_codes){ (uint16_t)first, (uint16_t)last };
	return true;
}

/* A number, "200-299,404", or a list of those. */
static int codes_read(struct reading *r, const struct yaml_node *n)
{
	struct ingress_codes *list = arena_alloc(&r->in->arena, CODES_MAX * sizeof(*list));
	bool is_list = yaml_kind(n) == YAML_SEQUENCE;
	size_t count = 0, items = is_list ? yaml_count(n) : 1;

	for (size_t i = 0; i < items; i++) {
		const struct yaml_node *item = is_list ? yaml_item(n, i) : n;
		struct bytes rest = bytes_str(yaml_text(item)), part;
		bool is_good = rest.len > 0;
		while (is_good && bytes_split(&rest, ',', &part))
			is_good = count < CODES_MAX && codes_parse(bytes_trim(part), &list[count++]);
		if (!is_good)
			return yaml_error(item, r->err,
					  "healthCheck.expectedCodes is \"%.60s\"; status codes like "
					  "200, 200-399 or 200,204 are allowed",
					  yaml_text(item) ? yaml_text(item) : "");
	}
	if (count == 0)
		return yaml_error(n, r->err, "healthCheck.expectedCodes is empty");
	r->health->codes = list;
	r->health->code_count = count;
	r->has_codes = true;
	return 0;
}

static int threshold_read(struct reading *r, const struct yaml_node *n)
{
	int64_t value;
	int result = yaml_as_int(n, 1, THRESHOLD_MAX, &value, r->err);

	if (result == 0)
		r->health->threshold = (unsigned)value;
	return result;
}

/* ------------------------------------------------------------------------------------------ */

static int member_read(struct reading *r, const char *key, const struct yaml_node *n)
{
	struct ingress_health *h = r->health;

	if (strcmp(key, "type") == 0)
		return type_read(r, n);
	if (strcmp(key, "path") == 0)
		return path_read(r, n);
	if (strcmp(key, "interval") == 0)
		return duration_read(r, n, key, INTERVAL_MIN, INTERVAL_MAX, &h->interval);
	if (strcmp(key, "timeout") == 0)
		return duration_read(r, n, key, USEC_PER_MSEC, TIMEOUT_MAX, &h->timeout);
	if (strcmp(key, "expectedCodes") == 0)
		return codes_read(r, n);
	if (strcmp(key, "threshold") == 0)
		return threshold_read(r, n);
	return 0; /* told as unknown */
}

static bool speaks_http(const struct ingress_rule *rule)
{
	return rule->kind == INGRESS_HTTP || rule->kind == INGRESS_UNIX;
}

static int check_whole(struct reading *r, const struct yaml_node *n)
{
	const struct ingress_rule *rule = r->rule;
	struct ingress_health *h = r->health;

	if (!speaks_http(rule) && rule->kind != INGRESS_TCP) {
		ingress_warn(r->in,
			     "Rule #%u (%s): healthCheck has no effect, for %.200s is no service "
			     "to connect to",
			     rule->index + 1, rule->label, rule->service);
		h->kind = INGRESS_CHECK_NONE;
		return 0;
	}
	if (h->kind == INGRESS_CHECK_HTTP && !speaks_http(rule))
		return yaml_error(n, r->err,
				  "healthCheck.type is http, but %.200s does not speak it",
				  rule->service);
	if (h->kind == INGRESS_CHECK_NONE)
		h->kind = speaks_http(rule) ? INGRESS_CHECK_HTTP : INGRESS_CHECK_TCP;
	if (h->kind == INGRESS_CHECK_TCP && (r->has_path || r->has_codes))
		return yaml_error(n, r->err, "healthCheck.%s has no meaning for a check of type tcp",
				  r->has_path ? "path" : "expectedCodes");
	if (++r->in->check_count > LIMIT_HEALTH_CHECKS)
		return err_set(r->err, E_LIMIT, "More than %d rules have a healthCheck",
			       LIMIT_HEALTH_CHECKS);
	return 0;
}

int ingress_health_parse(struct ingress *in, const struct yaml_node *n, enum ingress_form form,
			 struct ingress_rule *rule, const struct yaml_node **ret_place,
			 struct err *err)
{
	static const char *const known[] = { "type",    "path",          "interval",
					     "timeout", "expectedCodes", "threshold" };
	static const struct ingress_codes preset = { 200, 399 };
	struct ingress_health *h = &rule->health;
	struct reading r = { in, form, rule, h, .err = err };
	const struct yaml_node *key, *value;

	if (yaml_kind(n) == YAML_NULL)
		return 0;
	*ret_place = n;
	if (yaml_kind(n) != YAML_MAPPING)
		return yaml_error(n, err,
				  "healthCheck is not a map of type, path, interval, timeout, "
				  "expectedCodes and threshold");
	*h = (struct ingress_health){
		.path = "/",
		.interval = INTERVAL_PRESET,
		.timeout = TIMEOUT_PRESET,
		.codes = &preset,
		.code_count = 1,
		.threshold = THRESHOLD_PRESET,
	};
	ingress_check_keys(in, n, "healthCheck", known, ARRAY_LEN(known));
	for (size_t i = 0; i < yaml_count(n); i++) {
		yaml_pair(n, i, &key, &value);
		if (!yaml_text(key) || yaml_kind(value) == YAML_NULL)
			continue;
		*ret_place = value;
		int result = member_read(&r, yaml_text(key), value);
		if (result < 0)
			return result;
	}
	*ret_place = n;
	return check_whole(&r, n);
}
