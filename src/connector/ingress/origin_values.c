/* The values of originRequest that are more than one word: access, IP rules, fields, a prefix. */
#include <arpa/inet.h>

#include "connector/ingress/ingress_internal.h"
#include "http/head.h"

/* Fields one rule may set, and may remove: half of what a head may hold (LIMIT_HEAD_FIELDS). */
#define LIMIT_RULE_FIELDS 100
/* A value that is set: the longest cookies and tokens stay below. */
#define LIMIT_RULE_VALUE 8192
/* The URL of an issuer. */
#define LIMIT_TEAM_NAME 400

/* ------------------------------------------------------------------------------------------
 * access */

/* The rest of an https:// URL, or NULL. */
static const char *behind_https(const char *text)
{
	static const char https[] = "https://";

	return strncmp(text, https, strlen(https)) == 0 ? text + strlen(https) : NULL;
}

/* What stands in a host and port, and in a path where there may be one. */
static bool is_place(const char *text, bool may_have_path)
{
	for (const char *c = text; *c; c++) {
		bool is_word = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			       (*c >= '0' && *c <= '9') || strchr("-_.:[]", *c);
		if (!is_word && !(may_have_path && strchr("/~%", *c)))
			return false;
	}
	return *text && *text != '/';
}

/* "team", "host.example.com:8443" or "https://host/path". */
static bool is_team_name(const char *name)
{
	const char *rest = behind_https(name);

	return rest ? is_place(rest, true) : is_place(name, false);
}

static int team_name_read(struct origin_reading *r, const struct yaml_node *n, const char **ret)
{
	const char *text = "";
	int result = yaml_as_string(n, &text, r->err);

	/* "" stays what it was: the document does not live as long. */
	if (result < 0 || !*text)
		return result;
	if (strlen(text) > LIMIT_TEAM_NAME || !is_team_name(text))
		return yaml_error(n, r->err,
				  "access.teamName is \"%.100s\"; a team's name, a host name or an "
				  "https:// URL without a query is allowed",
				  text);
	*ret = arena_strdup(&r->in->arena, bytes_str(text));
	return 0;
}

static int issuer_read(struct origin_reading *r, const struct yaml_node *n, const char **ret)
{
	const char *text = "";
	int result = yaml_as_string(n, &text, r->err);

	if (result < 0 || !*text)
		return result;
	if (strlen(text) > LIMIT_TEAM_NAME || !behind_https(text) ||
	    !is_place(behind_https(text), true))
		return yaml_error(n, r->err,
				  "access.issuer is \"%.100s\"; an https:// URL without a query is "
				  "allowed, such as that of an edge's control host",
				  text);
	*ret = arena_strdup(&r->in->arena, bytes_str(text));
	return 0;
}

/* A name without a dot is a team of Cloudflare's. */
static const char *issuer_of(struct ingress *in, const struct ingress_access *access)
{
	const char *name = access->team_name;

	if (!*name || behind_https(name))
		return name;
	if (strpbrk(name, ".:"))
		return ingress_text(in, "https://%s", name);
	return ingress_text(in, "https://%s.%scloudflareaccess.com", name,
			    *access->environment ? "fed." : "");
}

static int audiences_read(struct origin_reading *r, const struct yaml_node *n,
			  struct ingress_access *access)
{
	const char **list, *text;
	int result = 0;

	if (yaml_kind(n) != YAML_NULL && yaml_kind(n) != YAML_SEQUENCE)
		return yaml_error(n, r->err, "access.audTag is not a list of strings");
	list = arena_alloc(&r->in->arena, yaml_count(n) * sizeof(*list) + 1);
	for (size_t i = 0; result == 0 && i < yaml_count(n); i++) {
		result = yaml_as_string(yaml_item(n, i), &text, r->err);
		if (result == 0)
			list[i] = arena_strdup(&r->in->arena, bytes_str(text));
	}
	access->audiences = list;
	access->audience_count = yaml_count(n);
	return result;
}

/* Who must have signed, from what was said of it. Two words for one thing have to mean the same. */
static int issuer_choose(struct origin_reading *r, const struct yaml_node *issuer,
			 struct ingress_access *access)
{
	access->issuer = issuer_of(r->in, access);
	if (!*access->own_issuer)
		return 0;
	if (*access->issuer && strcmp(access->issuer, access->own_issuer) != 0)
		return yaml_error(issuer, r->err,
				  "access.issuer is \"%.200s\", but access.teamName \"%.100s\" means "
				  "\"%.200s\"; leave one of them out",
				  access->own_issuer, access->team_name, access->issuer);
	access->issuer = access->own_issuer;
	return 0;
}

int origin_read_access(struct origin_reading *r, const struct yaml_node *n)
{
	static const char *const known[] = { "required", "teamName", "audTag", "environment",
					     "issuer" };
	const struct yaml_node *required = yaml_get(n, "required"), *team = yaml_get(n, "teamName"),
			       *environment = yaml_get(n, "environment"),
			       *issuer = yaml_get(n, "issuer");
	struct ingress_access access = { .team_name = "",
					 .issuer = "",
					 .own_issuer = "",
					 .environment = "" };
	int result = 0;

	if (yaml_kind(n) != YAML_MAPPING)
		return yaml_error(n, r->err,
				  "originRequest.access is not a map of required, teamName, issuer, "
				  "audTag and environment");
	ingress_check_keys(r->in, n, "access", known, ARRAY_LEN(known));
	if (yaml_kind(required) != YAML_NULL)
		result = yaml_as_bool(required, &access.is_required, r->err);
	if (result == 0 && yaml_kind(team) != YAML_NULL)
		result = team_name_read(r, team, &access.team_name);
	if (result == 0 && yaml_kind(issuer) != YAML_NULL)
		result = issuer_read(r, issuer, &access.own_issuer);
	if (result == 0 && yaml_kind(environment) != YAML_NULL)
		result = yaml_as_string(environment, &access.environment, r->err);
	if (result == 0)
		result = audiences_read(r, yaml_get(n, "audTag"), &access);
	if (result < 0)
		return result;
	if (*access.environment && strcmp(access.environment, "fed") != 0)
		return yaml_error(environment, r->err,
				  "access.environment is \"%.60s\"; \"fed\" and \"\" are allowed",
				  access.environment);
	access.environment = *access.environment ? "fed" : "";
	if (access.is_required && !*access.team_name && !*access.own_issuer && access.audience_count)
		return err_set(r->err, E_INVALID,
			       "access.TeamName cannot be blank when access.audTags are present");
	result = issuer_choose(r, issuer, &access);
	if (result < 0)
		return result;
	r->origin->access = access;
	return 0;
}

/* ------------------------------------------------------------------------------------------
 * ipRules */

/* "10.0.0.0/8" or "fd00::/8", the bits behind the length cleared. */
static bool cidr_parse(const char *text, struct ingress_ip_rule *rule)
{
	struct bytes rest = bytes_str(text), ip;
	char name[INET6_ADDRSTRLEN];
	uint64_t bits;

	if (!bytes_split(&rest, '/', &ip) || ip.len >= sizeof(name) || !bytes_to_u64(rest, &bits))
		return false;
	memcpy(name, ip.ptr, ip.len);
	name[ip.len] = 0;
	memset(rule->prefix, 0, sizeof(rule->prefix));
	if (inet_pton(AF_INET, name, rule->prefix + 12) == 1) {
		rule->prefix[10] = rule->prefix[11] = 0xff;
		bits = bits <= 32 ? bits + 96 : 129;
	} else if (inet_pton(AF_INET6, name, rule->prefix) != 1) {
		return false;
	}
	if (bits > 128)
		return false;
	rule->bits = (unsigned)bits;
	for (unsigned i = rule->bits; i < 128; i++)
		rule->prefix[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	return true;
}

static int ports_read(struct origin_reading *r, const struct yaml_node *n,
		      struct ingress_ip_rule *rule)
{
	uint16_t *ports;
	int64_t port;

	if (yaml_kind(n) == YAML_NULL)
		return 0;
	if (yaml_kind(n) != YAML_SEQUENCE)
		return yaml_error(n, r->err, "the ports of an IP rule are not a list of numbers");
	ports = arena_alloc(&r->in->arena, yaml_count(n) * sizeof(*ports) + 1);
	for (size_t i = 0; i < yaml_count(n); i++) {
		int result = yaml_as_int(yaml_item(n, i), INT32_MIN, INT32_MAX, &port, r->err);
		if (result < 0)
			return result;
		if (port < 1 || port > 65535)
			return err_set(
				r->err, E_INVALID,
				"unable to create ip rule for socks-proxy: invalid port %lld, needs "
				"to be between 1 and 65535",
				(long long)port);
		ports[i] = (uint16_t)port;
	}
	rule->ports = ports;
	rule->port_count = yaml_count(n);
	return 0;
}

static int ip_rule_read(struct origin_reading *r, const struct yaml_node *n,
			struct ingress_ip_rule *rule)
{
	static const char *const known[] = { "prefix", "ports", "allow" };
	const struct yaml_node *prefix = yaml_get(n, "prefix"), *allow = yaml_get(n, "allow");
	const char *cidr = "";
	int result = 0;

	if (yaml_kind(n) != YAML_MAPPING)
		return yaml_error(n, r->err, "an IP rule is a map of prefix, ports and allow");
	ingress_check_keys(r->in, n, "an IP rule", known, ARRAY_LEN(known));
	if (yaml_kind(prefix) != YAML_NULL)
		result = yaml_as_string(prefix, &cidr, r->err);
	if (result == 0 && yaml_kind(allow) != YAML_NULL)
		result = yaml_as_bool(allow, &rule->is_allowed, r->err);
	if (result < 0)
		return result;
	if (!*cidr)
		return err_set(r->err, E_INVALID,
			       "unable to create ip rule for socks-proxy: no prefix provided");
	if (!cidr_parse(cidr, rule))
		return err_set(
			r->err, E_INVALID,
			"unable to create ip rule for socks-proxy: unable to parse cidr: %.100s",
			cidr);
	return ports_read(r, yaml_get(n, "ports"), rule);
}

int origin_read_ip_rules(struct origin_reading *r, const struct yaml_node *n)
{
	struct ingress_ip_rule *rules;

	if (yaml_kind(n) != YAML_SEQUENCE)
		return yaml_error(n, r->err, "originRequest.ipRules is not a list");
	rules = arena_alloc(&r->in->arena, yaml_count(n) * sizeof(*rules) + 1);
	for (size_t i = 0; i < yaml_count(n); i++) {
		r->place = yaml_item(n, i);
		int result = ip_rule_read(r, r->place, &rules[i]);
		if (result < 0)
			return result;
	}
	r->origin->ip_rules = rules;
	r->origin->ip_rule_count = yaml_count(n);
	return 0;
}

/* ------------------------------------------------------------------------------------------
 * setHeaders, removeHeaders */

/* What frames a message or concerns one connection only is made anew for each hop (RFC 9110 §7.6.1); a
 * rule that meddled would break it or smuggle requests. */
static const char *refusal_of(enum head_name name)
{
	switch (name) {
	case HEAD_HOST:
		return "use httpHostHeader";
	case HEAD_CONTENT_LENGTH:
	case HEAD_TRANSFER_ENCODING:
	case HEAD_TRAILER:
	case HEAD_TE:
		return "it says how the body is framed";
	case HEAD_CONNECTION:
	case HEAD_KEEP_ALIVE:
	case HEAD_PROXY_CONNECTION:
	case HEAD_PROXY_AUTHENTICATE:
	case HEAD_PROXY_AUTHORIZATION:
	case HEAD_UPGRADE:
	case HEAD_HTTP2_SETTINGS:
	case HEAD_EXPECT:
		return "it concerns one connection only and is made anew for each";
	case HEAD_SEC_WEBSOCKET_KEY:
	case HEAD_SEC_WEBSOCKET_ACCEPT:
	case HEAD_SEC_WEBSOCKET_VERSION:
		return "it belongs to the handshake of WebSocket";
	default:
		return NULL;
	}
}

static int name_read(struct origin_reading *r, const struct yaml_node *n, const char *key,
		     const char **ret)
{
	const char *text = yaml_text(n);

	if (!text || strlen(text) > LIMIT_RULE_VALUE || !head_name_is_valid(bytes_str(text)))
		return yaml_error(n, r->err,
				  "originRequest.%s: \"%.60s\" is not the name of a header field",
				  key, text ? text : "");
	const char *refusal = refusal_of(head_name_of(bytes_str(text)));
	if (refusal)
		return yaml_error(n, r->err, "originRequest.%s may not name %s: %s", key, text,
				  refusal);
	*ret = arena_strdup(&r->in->arena, bytes_str(text));
	return 0;
}

static int value_read(struct origin_reading *r, const struct yaml_node *key,
		      const struct yaml_node *n, const char **ret)
{
	const char *text = yaml_text(n), *name = yaml_text(key);

	if (!text)
		return yaml_error(key, r->err,
				  "originRequest.setHeaders.%.100s has no value; removeHeaders takes "
				  "fields away",
				  name);
	if (strlen(text) > LIMIT_RULE_VALUE)
		return yaml_error(n, r->err,
				  "originRequest.setHeaders.%.100s is longer than %d bytes", name,
				  LIMIT_RULE_VALUE);
	if (!head_value_is_valid(bytes_str(text)))
		return yaml_error(n, r->err, "originRequest.setHeaders.%.100s holds a control byte",
				  name);
	*ret = arena_strdup(&r->in->arena, bytes_trim(bytes_str(text)));
	return 0;
}

static int too_many(struct origin_reading *r, const struct yaml_node *n, const char *key)
{
	return yaml_error(n, r->err, "originRequest.%s names more than %d fields", key,
			  LIMIT_RULE_FIELDS);
}

int origin_read_set_headers(struct origin_reading *r, const struct yaml_node *n)
{
	static const char key[] = "setHeaders";
	const struct yaml_node *name, *value;
	struct ingress_header *list;

	if (yaml_kind(n) != YAML_MAPPING)
		return yaml_error(n, r->err, "originRequest.%s is not a map of names to values",
				  key);
	if (yaml_count(n) > LIMIT_RULE_FIELDS)
		return too_many(r, n, key);
	list = arena_alloc(&r->in->arena, yaml_count(n) * sizeof(*list) + 1);
	for (size_t i = 0; i < yaml_count(n); i++) {
		yaml_pair(n, i, &name, &value);
		int result = name_read(r, name, key, &list[i].name);
		if (result == 0)
			result = value_read(r, name, value, &list[i].value);
		if (result < 0)
			return result;
		for (size_t k = 0; k < i; k++)
			if (bytes_eq_nocase(bytes_str(list[k].name), bytes_str(list[i].name)))
				return yaml_error(name, r->err,
						  "originRequest.%s names %.100s twice", key,
						  list[i].name);
	}
	r->origin->set_headers = list;
	r->origin->set_header_count = yaml_count(n);
	return 0;
}

int origin_read_remove_headers(struct origin_reading *r, const struct yaml_node *n)
{
	static const char key[] = "removeHeaders";
	const char **list;

	if (yaml_kind(n) != YAML_SEQUENCE)
		return yaml_error(n, r->err, "originRequest.%s is not a list of names", key);
	if (yaml_count(n) > LIMIT_RULE_FIELDS)
		return too_many(r, n, key);
	list = arena_alloc(&r->in->arena, yaml_count(n) * sizeof(*list) + 1);
	for (size_t i = 0; i < yaml_count(n); i++) {
		int result = name_read(r, yaml_item(n, i), key, &list[i]);
		if (result < 0)
			return result;
	}
	r->origin->remove_headers = list;
	r->origin->remove_header_count = yaml_count(n);
	return 0;
}

/* ------------------------------------------------------------------------------------------
 * stripPrefix */

int origin_read_strip_prefix(struct origin_reading *r, const struct yaml_node *n)
{
	const char *text;
	int result = yaml_as_string(n, &text, r->err);
	bool is_good = true;

	if (result < 0)
		return result;
	struct bytes prefix = bytes_str(text), rest, segment;
	while (bytes_ends_with(prefix, BYTES_LIT("/")))
		prefix.len--;
	is_good = !*text || *text == '/';
	for (size_t i = 0; i < prefix.len; i++)
		is_good &=
			prefix.ptr[i] > ' ' && prefix.ptr[i] < 0x7f && !strchr("?#", prefix.ptr[i]);
	rest = bytes_from(prefix, 1);
	while (bytes_split(&rest, '/', &segment))
		is_good &= segment.len && !bytes_eq(segment, BYTES_LIT(".")) &&
			   !bytes_eq(segment, BYTES_LIT(".."));
	if (!is_good || prefix.len > LIMIT_RULE_VALUE)
		return yaml_error(
			n, r->err,
			"originRequest.stripPrefix is \"%.100s\"; a path like /app is allowed, as "
			"visitors' URLs have it, without query, \".\" and \"..\"",
			text);
	r->origin->strip_prefix = prefix.len ? arena_strdup(&r->in->arena, prefix) : NULL;
	return 0;
}
