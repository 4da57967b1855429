/* From a tree to rules. */
#include "connector/ingress/ingress_internal.h"

#include <stdio.h>

#include "base/limits.h"

struct parsing {
	struct ingress *in;
	enum ingress_form form;
	const struct yaml_node *place;
	struct err *err;
	size_t count;
};

static bool is_absent(const struct yaml_node *n)
{
	return yaml_kind(n) == YAML_NULL;
}

/* "" when absent. */
static int text_get(struct parsing *p, const struct yaml_node *rule, const char *key,
		    const char **ret)
{
	const struct yaml_node *n = yaml_get(rule, key);

	*ret = "";
	if (is_absent(n))
		return 0;
	p->place = n;
	int r = yaml_as_string(n, ret, p->err);
	if (r == 0)
		*ret = arena_strdup(&p->in->arena, bytes_str(*ret));
	return r;
}

static void rule_finish(struct ingress *in, struct ingress_rule *rule, size_t index,
			const struct ingress_origin *origin)
{
	const char *host = *rule->hostname ? rule->hostname : "*";

	const struct ingress_matcher *m = rule->matcher;
	rule->pattern = m->idn_host.len ? ingress_text(in, "%s" BYTES_FMT, m->is_suffix ? "*" : "",
						       BYTES_ARG(m->idn_host))
					: rule->hostname;
	rule->index = (uint32_t)index;
	rule->origin = *origin;
	rule->origin.is_bastion |= rule->kind == INGRESS_BASTION;
	rule->label = *rule->path ? ingress_text(in, "%.255s %.200s", host, rule->path)
				  : ingress_text(in, "%.255s", host);
	if (rule->kind == INGRESS_TCP && rule->port == 0)
		ingress_warn(
			in,
			"Rule #%zu (%s): the service %.200s names no port and its scheme has none, so "
			"no connection to it can be made",
			index + 1, rule->label, rule->service);
	if (rule->kind == INGRESS_UDP && *rule->path)
		ingress_warn(in, "Rule #%zu (%s): path has no effect on the UDP of %.200s",
			     index + 1, rule->label, rule->service);
	if (rule->kind == INGRESS_UDP && origin->access.is_required)
		ingress_warn(in,
			     "Rule #%zu (%s): access has no effect on the UDP of %.200s, which "
			     "carries no token",
			     index + 1, rule->label, rule->service);
	if (origin->access.is_required && origin->access.audience_count == 0)
		ingress_warn(in,
			     "Rule #%zu (%s): access is required but no audTag is named, so every "
			     "request will be refused",
			     index + 1, rule->label);
}

static int origin_apply(struct parsing *p, const struct yaml_node *n, struct ingress_origin *origin)
{
	struct origin_reading reading = { .in = p->in,
					  .form = p->form,
					  .origin = origin,
					  .place = n,
					  .err = p->err };
	int r = origin_request_apply(&reading, n);

	if (r < 0)
		p->place = reading.place;
	return r;
}

static int rule_parse(struct parsing *p, const struct yaml_node *n, size_t index)
{
	static const char *const known[] = { "hostname",      "path",        "service",
					     "originRequest", "healthCheck", "tls" };
	struct ingress *in = p->in;
	struct ingress_rule *rule = &in->rules[index];
	struct ingress_matcher *m = arena_alloc(&in->arena, sizeof(*m));
	struct ingress_origin origin = in->defaults;
	const char *service;

	p->place = n;
	rule->matcher = m;
	if (yaml_kind(n) != YAML_MAPPING)
		return yaml_error(n, p->err,
				  "an ingress rule is a map of hostname, path, service and "
				  "originRequest");
	ingress_check_keys(in, n, "an ingress rule", known, ARRAY_LEN(known));
	int r = text_get(p, n, "hostname", &rule->hostname);
	if (r == 0)
		r = text_get(p, n, "path", &rule->path);
	if (r == 0)
		r = text_get(p, n, "service", &service);
	if (r == 0)
		r = origin_apply(p, yaml_get(n, "originRequest"), &origin);
	if (r < 0)
		return r;

	p->place = is_absent(yaml_get(n, "service")) ? n : yaml_get(n, "service");
	r = service_parse(in, service, origin.is_bastion, rule, p->err);
	if (r < 0)
		return r;

	p->place = is_absent(yaml_get(n, "hostname")) ? n : yaml_get(n, "hostname");
	r = hostname_check(rule->hostname, rule->path, index, p->count, p->err);
	if (r < 0)
		return r;
	hostname_compile(&in->arena, rule->hostname, m);
	if (rule->kind == INGRESS_UDP && origin.proxy_protocol == INGRESS_PROXY_V1)
		return err_set(p->err, E_INVALID,
			       "Rule #%zu: originRequest.proxyProtocol v1 knows no UDP; v2 does",
			       index + 1);

	if (*rule->path) {
		p->place = yaml_get(n, "path");
		m->path = path_regex_compile(rule->path, p->err);
		if (!m->path) {
			if (p->err)
				err_wrap(p->err, "Rule #%zu has an invalid regex", index + 1);
			return E_INVALID;
		}
	}
	rule_finish(in, rule, index, &origin);
	r = ingress_health_parse(in, yaml_get(n, "healthCheck"), p->form, rule, &p->place, p->err);
	return r < 0 ? r : ingress_tls_parse(in, yaml_get(n, "tls"), rule, &p->place, p->err);
}

static int rules_parse(struct parsing *p, const struct yaml_node *rules,
		       const struct yaml_node *request)
{
	int r = origin_apply(p, request, &p->in->defaults);

	for (size_t i = 0; r == 0 && i < p->count; i++)
		r = rule_parse(p, yaml_item(rules, i), i);
	return r;
}

struct ingress *ingress_parse(const struct yaml_node *root, enum ingress_form form,
			      const struct yaml_node **ret_place, struct err *err)
{
	const struct yaml_node *rules = yaml_get(root, "ingress");
	struct parsing p = { .form = form, .err = err, .count = yaml_count(rules) };
	int r = 0;

	p.place = rules;
	if (!is_absent(root) && yaml_kind(root) != YAML_MAPPING) {
		p.place = root;
		r = yaml_error(root, err, "the configuration is not a map");
	} else if (is_absent(rules) || (yaml_kind(rules) == YAML_SEQUENCE && p.count == 0)) {
		r = err_set(err, E_NOT_FOUND, "The config file doesn't contain any ingress rules");
	} else if (yaml_kind(rules) != YAML_SEQUENCE) {
		r = yaml_error(rules, err, "ingress is not a list of rules");
	} else if (p.count > LIMIT_INGRESS_RULES) {
		r = err_set(err, E_LIMIT, "More than %d ingress rules", LIMIT_INGRESS_RULES);
	} else {
		p.in = ingress_new(p.count);
		ingress_origin_defaults(&p.in->defaults);
		r = rules_parse(&p, rules, yaml_get(root, "originRequest"));
		if (r == 0)
			r = ingress_read_private(p.in, root, form, &p.place, err);
	}
	if (r < 0) {
		if (ret_place)
			*ret_place = p.place;
		return ingress_unref(p.in);
	}
	return p.in;
}

/* The single-origin flags take what a browser's address bar would. */
static char *url_complete(struct ingress *in, const char *service)
{
	static const char *const words[] = { "hello_world", "hello-world", "socks-proxy",
					     "bastion" };
	static const char *const prefixes[] = { "unix:", "unix+tls:", "http_status:" };
	struct bytes text = bytes_str(service);

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(service, words[i]) == 0)
			return arena_strdup(&in->arena, text);
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (bytes_starts_with(text, bytes_str(prefixes[i])))
			return arena_strdup(&in->arena, text);
	const char *separator = strstr(service, "://");
	size_t start = separator ? (size_t)(separator - service) + 3 : 0;
	size_t end = start + bytes_index(bytes_from(text, start), '/');
	return (char *)(uintptr_t)ingress_text(in, "%s%.*s", separator ? "" : "http://", (int)end,
					       service);
}

struct ingress *ingress_single(const char *service, const struct ingress_origin *origin,
			       struct err *err)
{
	struct ingress *in = ingress_new(1);
	struct ingress_rule *rule = in->rules;
	struct ingress_matcher *m = arena_alloc(&in->arena, sizeof(*m));
	struct ingress_origin *defaults = &in->defaults;

	if (origin) {
		*defaults = *origin;
		const char **texts[] = { &defaults->http_host_header, &defaults->origin_server_name,
					 &defaults->ca_pool, &defaults->proxy_address };
		for (size_t i = 0; i < ARRAY_LEN(texts); i++)
			if (*texts[i])
				*texts[i] = arena_strdup(&in->arena, bytes_str(*texts[i]));
	} else {
		ingress_origin_defaults(defaults);
	}
	rule->hostname = rule->path = "";
	rule->matcher = m;
	hostname_compile(&in->arena, "", m);
	if (strlen(service) > 400) {
		err_set(err, E_INVALID, "the URL of the service is too long");
		return ingress_unref(in);
	}
	if (service_parse(in, url_complete(in, service), false, rule, err) < 0)
		return ingress_unref(in);
	rule_finish(in, rule, 0, defaults);
	return in;
}
