/* The originRequest maps: one table of keys, read twice (top level, rule). */
#include "connector/ingress/ingress_internal.h"

#include <arpa/inet.h>

/* Idle connections kept for one rule: each is a descriptor. */
#define LIMIT_KEEPALIVE_CONNECTIONS 100000

enum option_type {
	OPTION_DURATION,
	OPTION_BOOL,
	OPTION_COUNT,
	OPTION_TEXT,
	OPTION_MAP,
	OPTION_LIST
};

static const struct option {
	const char *name;
	enum option_type type;
	size_t offset; /* in struct origin_options */
	bool has_effect;
	bool is_zero_meant; /* a duration of 0 says "off", not "the default" */
} options_table[] = {
#define FIELD(member) offsetof(struct origin_options, member), true
#define NO_EFFECT 0, false
	{ "connectTimeout", OPTION_DURATION, FIELD(origin.connect_timeout), false },
	{ "tlsTimeout", OPTION_DURATION, FIELD(origin.tls_timeout), false },
	{ "tcpKeepAlive", OPTION_DURATION, FIELD(origin.tcp_keepalive), true },
	{ "noHappyEyeballs", OPTION_BOOL, FIELD(origin.no_happy_eyeballs), false },
	{ "keepAliveConnections", OPTION_COUNT, FIELD(origin.keepalive_connections), false },
	{ "keepAliveTimeout", OPTION_DURATION, FIELD(origin.keepalive_timeout), false },
	{ "httpHostHeader", OPTION_TEXT, FIELD(origin.http_host_header), false },
	{ "originServerName", OPTION_TEXT, FIELD(origin.origin_server_name), false },
	{ "matchSNItoHost", OPTION_BOOL, NO_EFFECT, false },
	{ "caPool", OPTION_TEXT, FIELD(origin.ca_pool), false },
	{ "noTLSVerify", OPTION_BOOL, FIELD(origin.no_tls_verify), false },
	{ "disableChunkedEncoding", OPTION_BOOL, FIELD(origin.disable_chunked_encoding), false },
	{ "bastionMode", OPTION_BOOL, FIELD(is_bastion), false },
	{ "proxyAddress", OPTION_TEXT, NO_EFFECT, false },
	{ "proxyPort", OPTION_COUNT, NO_EFFECT, false },
	{ "proxyType", OPTION_TEXT, NO_EFFECT, false },
	{ "ipRules", OPTION_LIST, NO_EFFECT, false },
	{ "http2Origin", OPTION_BOOL, NO_EFFECT, false },
	{ "access", OPTION_MAP, NO_EFFECT, false },
#undef FIELD
#undef NO_EFFECT
};

struct reading {
	struct ingress *in;
	enum ingress_form form;
	struct origin_options *options;
	struct err *err;
};

/* What ends up in a header or a handshake must be one printable word. */
static bool is_clean(const char *text)
{
	for (; *text; text++)
		if ((uint8_t)*text <= ' ' || *text == 0x7f)
			return false;
	return true;
}

static void no_effect(struct reading *r, const struct option *option)
{
	ingress_warn(r->in, "originRequest.%s is not supported yet and has no effect", option->name);
}

static int duration_read(struct reading *r, const struct option *option, const struct yaml_node *n,
			 void *field)
{
	usec value;
	int result = yaml_as_duration(n, r->form == INGRESS_JSON, &value, r->err);

	if (result < 0)
		return result;
	if (value == 0 && !option->is_zero_meant)
		return yaml_error(n, r->err, "originRequest.%s must be longer than 0", option->name);
	*(usec *)field = value;
	return 0;
}

static int text_read(struct reading *r, const struct option *option, const struct yaml_node *n,
		     void *field)
{
	const char *value;
	int result = yaml_as_string(n, &value, r->err);

	if (result < 0)
		return result;
	if (!option->has_effect) {
		if (*value)
			no_effect(r, option);
		return 0;
	}
	if (strcmp(option->name, "caPool") != 0 && !is_clean(value))
		return yaml_error(n, r->err, "originRequest.%s holds a blank or a control byte",
				  option->name);
	*(const char **)field = *value ? arena_strdup(&r->in->arena, bytes_str(value)) : NULL;
	return 0;
}

static int count_read(struct reading *r, const struct option *option, const struct yaml_node *n,
		      void *field)
{
	int64_t value, max = option->has_effect ? LIMIT_KEEPALIVE_CONNECTIONS : 65535;
	int result = yaml_as_int(n, 0, max, &value, r->err);

	if (result < 0)
		return result;
	if (option->has_effect)
		*(uint32_t *)field = (uint32_t)value;
	else if (value)
		no_effect(r, option);
	return 0;
}

static int bool_read(struct reading *r, const struct option *option, const struct yaml_node *n,
		     void *field)
{
	bool value;
	int result = yaml_as_bool(n, &value, r->err);

	if (result < 0)
		return result;
	if (option->has_effect)
		*(bool *)field = value;
	else if (value)
		no_effect(r, option);
	return 0;
}

static int access_read(struct reading *r, const struct yaml_node *n)
{
	const struct yaml_node *required = yaml_get(n, "required"), *team = yaml_get(n, "teamName"),
			       *tags = yaml_get(n, "audTag"), *key, *value;
	static const char *const known[] = { "required", "teamName", "audTag", "environment" };
	const char *team_name = "", *text;
	bool is_required = false;
	int result = 0;

	for (size_t i = 0; i < yaml_count(n); i++) {
		bool is_known = false;
		yaml_pair(n, i, &key, &value);
		for (size_t k = 0; k < ARRAY_LEN(known); k++)
			is_known |= yaml_text(key) && strcmp(yaml_text(key), known[k]) == 0;
		if (!is_known)
			ingress_note_unknown(r->in, key, "access");
	}
	if (yaml_kind(required) != YAML_NULL)
		result = yaml_as_bool(required, &is_required, r->err);
	if (result == 0 && yaml_kind(team) != YAML_NULL)
		result = yaml_as_string(team, &team_name, r->err);
	if (result == 0 && yaml_kind(tags) != YAML_NULL && yaml_kind(tags) != YAML_SEQUENCE)
		result = yaml_error(tags, r->err, "access.audTag is not a list of strings");
	for (size_t i = 0; result == 0 && i < yaml_count(tags); i++)
		result = yaml_as_string(yaml_item(tags, i), &text, r->err);
	if (result < 0)
		return result;
	if (is_required && !*team_name && yaml_count(tags) > 0)
		return err_set(r->err, E_INVALID,
			       "access.TeamName cannot be blank when access.audTags are present");
	/* A check that is asked for and not made would expose the service: such rules are not served. */
	r->options->is_access_required = is_required;
	return 0;
}

static int option_read(struct reading *r, const struct option *option, const struct yaml_node *n)
{
	void *field = (char *)r->options + option->offset;

	switch (option->type) {
	case OPTION_DURATION:
		return duration_read(r, option, n, field);
	case OPTION_BOOL:
		return bool_read(r, option, n, field);
	case OPTION_COUNT:
		return count_read(r, option, n, field);
	case OPTION_TEXT:
		return text_read(r, option, n, field);
	case OPTION_LIST:
		if (yaml_kind(n) != YAML_SEQUENCE)
			return yaml_error(n, r->err, "originRequest.%s is not a list", option->name);
		if (yaml_count(n))
			no_effect(r, option);
		return 0;
	case OPTION_MAP:
		if (yaml_kind(n) != YAML_MAPPING)
			return yaml_error(n, r->err, "originRequest.%s is not a map", option->name);
		return access_read(r, n);
	}
	return 0;
}

int origin_request_apply(struct ingress *in, const struct yaml_node *n, enum ingress_form form,
			 struct origin_options *options, const struct yaml_node **ret_place,
			 struct err *err)
{
	struct reading r = { .in = in, .form = form, .options = options, .err = err };
	const struct yaml_node *key, *value;

	if (yaml_kind(n) == YAML_NULL)
		return 0;
	*ret_place = n;
	if (yaml_kind(n) != YAML_MAPPING)
		return yaml_error(n, err, "originRequest is not a map");
	for (size_t i = 0; i < yaml_count(n); i++) {
		const struct option *option = NULL;

		yaml_pair(n, i, &key, &value);
		for (size_t k = 0; !option && k < ARRAY_LEN(options_table); k++)
			if (yaml_text(key) && strcmp(yaml_text(key), options_table[k].name) == 0)
				option = &options_table[k];
		if (!option) {
			ingress_note_unknown(in, key, "originRequest");
			continue;
		}
		if (yaml_kind(value) == YAML_NULL)
			continue;
		*ret_place = value;
		int result = option_read(&r, option, value);
		if (result < 0)
			return result;
	}
	return 0;
}

/* ------------------------------------------------------------------------------------------ */

static bool is_cidr(const char *text)
{
	struct bytes rest = bytes_str(text), ip;
	char name[INET6_ADDRSTRLEN];
	uint8_t address[16];
	uint64_t bits;

	if (!bytes_split(&rest, '/', &ip) || ip.len >= sizeof(name) || !bytes_to_u64(rest, &bits))
		return false;
	memcpy(name, ip.ptr, ip.len);
	name[ip.len] = 0;
	if (inet_pton(AF_INET, name, address) == 1)
		return bits <= 32;
	return inet_pton(AF_INET6, name, address) == 1 && bits <= 128;
}

static int ip_rule_check(const struct yaml_node *n, struct err *err)
{
	const struct yaml_node *prefix = yaml_get(n, "prefix"), *ports = yaml_get(n, "ports"),
			       *allow = yaml_get(n, "allow");
	const char *cidr = "";
	int64_t port;
	bool is_allowed;
	int r = 0;

	if (yaml_kind(n) != YAML_MAPPING)
		return yaml_error(n, err, "an IP rule is a map of prefix, ports and allow");
	if (yaml_kind(prefix) != YAML_NULL)
		r = yaml_as_string(prefix, &cidr, err);
	if (r == 0 && yaml_kind(allow) != YAML_NULL)
		r = yaml_as_bool(allow, &is_allowed, err);
	if (r < 0)
		return r;
	if (!*cidr)
		return err_set(err, E_INVALID,
			       "unable to create ip rule for socks-proxy: no prefix provided");
	if (!is_cidr(cidr))
		return err_set(
			err, E_INVALID,
			"unable to create ip rule for socks-proxy: unable to parse cidr: %.100s",
			cidr);
	for (size_t i = 0; i < yaml_count(ports); i++) {
		r = yaml_as_int(yaml_item(ports, i), INT32_MIN, INT32_MAX, &port, err);
		if (r < 0)
			return r;
		if (port < 1 || port > 65535)
			return err_set(
				err, E_INVALID,
				"unable to create ip rule for socks-proxy: invalid port %lld, needs "
				"to be between 1 and 65535",
				(long long)port);
	}
	return 0;
}

int origin_request_check_ip_rules(const struct yaml_node *n, const struct yaml_node **ret_place,
				  struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < yaml_count(n); i++) {
		*ret_place = yaml_item(n, i);
		r = ip_rule_check(*ret_place, err);
	}
	return r;
}
