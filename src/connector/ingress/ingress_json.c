/* Rules as JSON: for the edge, and for /config. */
#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>

#include "connector/ingress/ingress_internal.h"

/* In place of what may be a secret. */
#define REDACTED "*****"

struct writing {
	json_t *object;
	bool is_complete; /* /config: what is unset is "" or null there; else it is left out */
};

static void put(const struct writing *w, const char *key, json_t *value)
{
	json_object_set_new(w->object, key, value);
}

/* The stock connector reads whole seconds only, but writes fractions in /config. */
static void put_seconds(const struct writing *w, const char *key, usec value, usec unset)
{
	if (w->is_complete && value % USEC_PER_SEC)
		put(w, key, json_real((double)value / (double)USEC_PER_SEC));
	else if (w->is_complete || value != unset)
		put(w, key, json_integer((value + USEC_PER_SEC - 1) / USEC_PER_SEC));
}

static void put_bool(const struct writing *w, const char *key, bool value)
{
	if (value || w->is_complete)
		put(w, key, json_boolean(value));
}

static void put_text(const struct writing *w, const char *key, const char *value)
{
	if ((value && *value) || w->is_complete)
		put(w, key, json_string(value ? value : ""));
}

static void put_number(const struct writing *w, const char *key, uint32_t value, uint32_t unset)
{
	if (value != unset || w->is_complete)
		put(w, key, json_integer(value));
}

static json_t *texts_json(const char *const *texts, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(texts[i]));
	return list;
}

static json_t *ip_rule_json(const struct ingress_ip_rule *rule)
{
	bool is_v4 = rule->bits >= 96 && rule->prefix[10] == 0xff && rule->prefix[11] == 0xff;
	char ip[INET6_ADDRSTRLEN] = "";
	json_t *o = json_object(), *ports = json_array();

	for (size_t i = 0; is_v4 && i < 10; i++)
		is_v4 = rule->prefix[i] == 0;
	if (is_v4)
		(void)inet_ntop(AF_INET, rule->prefix + 12, ip, sizeof(ip));
	else
		(void)inet_ntop(AF_INET6, rule->prefix, ip, sizeof(ip));
	json_object_set_new(o, "prefix",
			    json_sprintf("%s/%u", ip, is_v4 ? rule->bits - 96 : rule->bits));
	for (size_t i = 0; i < rule->port_count; i++)
		json_array_append_new(ports, json_integer(rule->ports[i]));
	json_object_set_new(o, "ports", ports);
	json_object_set_new(o, "allow", json_boolean(rule->is_allowed));
	return o;
}

static void put_ip_rules(const struct writing *w, const struct ingress_origin *origin)
{
	json_t *list;

	if (origin->ip_rule_count == 0) {
		if (w->is_complete)
			put(w, "ipRules", json_null());
		return;
	}
	list = json_array();
	for (size_t i = 0; i < origin->ip_rule_count; i++)
		json_array_append_new(list, ip_rule_json(&origin->ip_rules[i]));
	put(w, "ipRules", list);
}

static void put_access(const struct writing *w, const struct ingress_access *access)
{
	json_t *o;

	if (!w->is_complete && !access->is_required && !*access->team_name &&
	    !*access->own_issuer && !access->audience_count && !*access->environment)
		return;
	o = json_object();
	if (access->is_required)
		json_object_set_new(o, "required", json_true());
	json_object_set_new(o, "teamName", json_string(access->team_name));
	json_object_set_new(o, "audTag",
			    access->audience_count
				    ? texts_json(access->audiences, access->audience_count)
				    : json_null());
	if (*access->environment)
		json_object_set_new(o, "environment", json_string(access->environment));
	if (*access->own_issuer)
		json_object_set_new(o, "issuer", json_string(access->own_issuer));
	put(w, "access", o);
}

static void put_our_own(const struct writing *w, const struct ingress_origin *origin)
{
	static const char *const protocols[] = {
		[INGRESS_PROXY_NONE] = "",
		[INGRESS_PROXY_V1] = "v1",
		[INGRESS_PROXY_V2] = "v2",
	};

	put_text(w, "stripPrefix", origin->strip_prefix);
	if (origin->set_header_count) {
		json_t *o = json_object();
		for (size_t i = 0; i < origin->set_header_count; i++)
			json_object_set_new(o, origin->set_headers[i].name, json_string(REDACTED));
		put(w, "setHeaders", o);
	} else if (w->is_complete) {
		put(w, "setHeaders", json_null());
	}
	if (origin->remove_header_count)
		put(w, "removeHeaders",
		    texts_json(origin->remove_headers, origin->remove_header_count));
	else if (w->is_complete)
		put(w, "removeHeaders", json_null());
	put_text(w, "proxyProtocol", protocols[origin->proxy_protocol]);
	put_seconds(w, "idleTimeout", origin->idle_timeout, 0);
}

static void put_connections(const struct writing *w, const struct ingress_origin *origin,
			    const struct ingress_origin *defaults)
{
	put_number(w, "keepAliveConnections", origin->keepalive_connections,
		   defaults->keepalive_connections);
}

/* The stock connector's two orders differ in one place: where keepAliveConnections stands. */
static json_t *origin_json(const struct ingress_origin *origin, bool is_complete)
{
	struct ingress_origin defaults;
	struct writing w = { .object = json_object(), .is_complete = is_complete };

	ingress_origin_defaults(&defaults);
	put_seconds(&w, "connectTimeout", origin->connect_timeout, defaults.connect_timeout);
	put_seconds(&w, "tlsTimeout", origin->tls_timeout, defaults.tls_timeout);
	put_seconds(&w, "tcpKeepAlive", origin->tcp_keepalive, defaults.tcp_keepalive);
	put_bool(&w, "noHappyEyeballs", origin->no_happy_eyeballs);
	if (!is_complete)
		put_connections(&w, origin, &defaults);
	put_seconds(&w, "keepAliveTimeout", origin->keepalive_timeout, defaults.keepalive_timeout);
	if (is_complete)
		put_connections(&w, origin, &defaults);
	put_text(&w, "httpHostHeader", origin->http_host_header);
	put_text(&w, "originServerName", origin->origin_server_name);
	put_bool(&w, "matchSNItoHost", origin->match_sni_to_host);
	put_text(&w, "caPool", origin->ca_pool);
	put_bool(&w, "noTLSVerify", origin->no_tls_verify);
	put_bool(&w, "disableChunkedEncoding", origin->disable_chunked_encoding);
	put_bool(&w, "bastionMode", origin->is_bastion);
	if (is_complete || !origin->proxy_address ||
	    strcmp(origin->proxy_address, defaults.proxy_address) != 0)
		put_text(&w, "proxyAddress", origin->proxy_address);
	put_number(&w, "proxyPort", origin->proxy_port, 0);
	put_text(&w, "proxyType", origin->is_socks ? "socks" : "");
	put_ip_rules(&w, origin);
	put_bool(&w, "http2Origin", origin->http2_origin);
	put_access(&w, &origin->access);
	put_our_own(&w, origin);
	return w.object;
}

/* ------------------------------------------------------------------------------------------ */

static int on_json(const char *text, size_t len, void *user)
{
	return buf_append(user, bytes_of(text, len)) < 0 ? -1 : 0;
}

static int write_out(json_t *root, struct buf *out)
{
	int r = json_dump_callback(root, on_json, out, JSON_COMPACT | JSON_REAL_PRECISION(15));

	json_decref(root);
	return r < 0 ? E_LIMIT : 0;
}

/* Ours alone: a stock edge does not get it. */
static json_t *health_json(const struct ingress_health *health)
{
	struct writing w = { .object = json_object(), .is_complete = true };
	json_t *codes = json_array();

	put_text(&w, "type", health->kind == INGRESS_CHECK_HTTP ? "http" : "tcp");
	put_seconds(&w, "interval", health->interval, 0);
	put_seconds(&w, "timeout", health->timeout, 0);
	put_number(&w, "threshold", health->threshold, 0);
	for (size_t i = 0; i < health->code_count; i++) {
		char range[16];
		(void)snprintf(range, sizeof(range), "%u-%u", health->codes[i].first,
			       health->codes[i].last);
		json_array_append_new(codes, json_string(range));
	}
	if (health->kind == INGRESS_CHECK_HTTP) {
		put_text(&w, "path", health->path);
		json_object_set(w.object, "expectedCodes", codes);
	}
	json_decref(codes);
	return w.object;
}

/* Ours alone, too; where the key lies is nobody's business. */
static json_t *tls_json(const struct ingress_tls *tls)
{
	struct writing w = { .object = json_object(), .is_complete = true };

	if (tls->certificate)
		put_text(&w, "certificate", tls->certificate);
	else
		put_text(&w, "acme", tls->acme_directory);
	return w.object;
}

static json_t *rule_json(const struct ingress_rule *rule, bool is_complete)
{
	struct writing w = { .object = json_object(), .is_complete = is_complete };

	put_text(&w, "hostname", rule->hostname);
	if (is_complete && !*rule->path)
		put(&w, "path", json_null());
	else
		put_text(&w, "path", rule->path);
	put_text(&w, "service", rule->service);
	if (is_complete)
		put(&w, "Handlers", json_null());
	put(&w, "originRequest", origin_json(&rule->origin, is_complete));
	if (is_complete && rule->health.kind != INGRESS_CHECK_NONE)
		put(&w, "healthCheck", health_json(&rule->health));
	if (is_complete && rule->tls.is_on)
		put(&w, "tls", tls_json(&rule->tls));
	return w.object;
}

/* Only what is said, as the stock connector: there is no telling a default from nothing. */
static json_t *private_json(const struct ingress_private *p, bool is_complete)
{
	struct ingress_private defaults;
	struct writing w = { .object = json_object(), .is_complete = false };

	ingress_private_defaults(&defaults);
	put_seconds(&w, "connectTimeout", p->connect_timeout, defaults.connect_timeout);
	put_seconds(&w, "tcpKeepAlive", p->tcp_keepalive, defaults.tcp_keepalive);
	put_number(&w, "maxActiveFlows", p->max_active_flows, 0);
	if (is_complete && p->is_on)
		put_bool(&w, "enabled", true);
	if (p->has_allow) {
		json_t *list = json_array();
		char text[NETWORK_TEXT_SIZE];
		for (size_t i = 0; i < p->allow_count; i++)
			json_array_append_new(list, json_string(network_text(&p->allow[i], text)));
		put(&w, "allow", list);
	}
	return w.object;
}

static json_t *rules_json(const struct ingress *in, bool is_complete)
{
	json_t *root = json_object(), *rules = json_array();

	for (size_t i = 0; i < in->count; i++)
		json_array_append_new(rules, rule_json(&in->rules[i], is_complete));
	json_object_set_new(root, "ingress", rules);
	json_object_set_new(root, "warp-routing", private_json(&in->private_network, is_complete));
	return root;
}

int ingress_write_json(const struct ingress *in, struct buf *out)
{
	return write_out(rules_json(in, false), out);
}

int ingress_write_summary_json(const struct ingress *in, struct buf *out)
{
	json_t *root = json_object(), *rules = json_array();

	for (size_t i = 0; i < in->count; i++) {
		struct writing w = { .object = json_object() };
		put_text(&w, "hostname", in->rules[i].hostname);
		put_text(&w, "path", in->rules[i].path);
		put_text(&w, "service", in->rules[i].service);
		json_array_append_new(rules, w.object);
	}
	json_object_set_new(root, "ingress", rules);
	return write_out(root, out);
}

int ingress_write_config_json(const struct ingress *in, struct buf *out)
{
	json_t *root = rules_json(in, true);

	json_object_set_new(root, "originRequest", origin_json(&in->defaults, true));
	return write_out(root, out);
}
