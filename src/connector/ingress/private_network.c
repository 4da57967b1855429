/* `warp-routing`: whether the edge may open connections to addresses, and to which. */
#include "connector/ingress/ingress_internal.h"

/* More is a list that a program should sum up. */
#define LIMIT_ALLOWED_NETWORKS 1000

static int duration_read(const struct yaml_node *map, const char *key, enum ingress_form form,
			 bool is_zero_meant, usec *ret, struct err *err)
{
	const struct yaml_node *n = yaml_get(map, key);
	usec value;

	if (yaml_kind(n) == YAML_NULL)
		return 0;
	int r = yaml_as_duration(n, form == INGRESS_JSON, &value, err);
	if (r < 0)
		return r;
	/* As elsewhere in the file, 0 is as if it were not there; but keep-alive can be turned off. */
	if (value || is_zero_meant)
		*ret = value;
	return 0;
}

static int allow_read(struct ingress *in, const struct yaml_node *n, struct err *err)
{
	struct ingress_private *p = &in->private_network;
	struct network *list;
	const char *text;

	if (yaml_kind(n) != YAML_SEQUENCE)
		return yaml_error(n, err,
				  "warp-routing.allow is not a list of networks like 10.0.0.0/8");
	if (yaml_count(n) > LIMIT_ALLOWED_NETWORKS)
		return yaml_error(n, err, "warp-routing.allow has more than %d networks",
				  LIMIT_ALLOWED_NETWORKS);
	list = arena_alloc(&in->arena, yaml_count(n) * sizeof(*list) + 1);
	for (size_t i = 0; i < yaml_count(n); i++) {
		int r = yaml_as_string(yaml_item(n, i), &text, err);
		if (r < 0)
			return r;
		if (!network_parse(bytes_str(text), &list[i]))
			return yaml_error(yaml_item(n, i), err,
					  "warp-routing.allow: \"%.60s\" is not a network like "
					  "10.0.0.0/8 or fd00::/8",
					  text);
	}
	p->allow = list;
	p->allow_count = yaml_count(n);
	p->has_allow = true;
	return 0;
}

void ingress_private_defaults(struct ingress_private *p)
{
	*p = (struct ingress_private){
		.connect_timeout = 5 * USEC_PER_SEC,
		.tcp_keepalive = 30 * USEC_PER_SEC,
	};
}

int ingress_read_private(struct ingress *in, const struct yaml_node *root, enum ingress_form form,
			 const struct yaml_node **ret_place, struct err *err)
{
	const struct yaml_node *map = yaml_get(root, "warp-routing");
	const struct yaml_node *enabled = yaml_get(map, "enabled"),
			       *flows = yaml_get(map, "maxActiveFlows"),
			       *allow = yaml_get(map, "allow");
	struct ingress_private *p = &in->private_network;
	int64_t max_flows = 0;
	int r = 0;

	ingress_private_defaults(p);
	if (yaml_kind(map) == YAML_NULL)
		return 0;
	if (ret_place)
		*ret_place = map;
	if (yaml_kind(map) != YAML_MAPPING)
		return yaml_error(map, err, "warp-routing is not a map");
	p->is_on = true;
	if (yaml_kind(enabled) != YAML_NULL)
		r = yaml_as_bool(enabled, &p->is_on, err);
	if (r == 0)
		r = duration_read(map, "connectTimeout", form, false, &p->connect_timeout, err);
	if (r == 0)
		r = duration_read(map, "tcpKeepAlive", form, true, &p->tcp_keepalive, err);
	if (r == 0 && yaml_kind(flows) != YAML_NULL)
		r = yaml_as_int(flows, 0, INT32_MAX, &max_flows, err);
	if (r == 0 && yaml_kind(allow) != YAML_NULL)
		r = allow_read(in, allow, err);
	p->max_active_flows = (uint32_t)max_flows;
	return r;
}

const struct ingress_private *ingress_private(const struct ingress *in)
{
	return &in->private_network;
}

/* --- Which destinations ---------------------------------------------------------------------- */

/* What is never meant by "the network behind the connector", unless somebody names it. */
static const struct {
	const char *network, *what;
} reserved[] = {
	{ "127.0.0.0/8", "a loopback address of the connector's own host" },
	{ "::1/128", "a loopback address of the connector's own host" },
	{ "169.254.0.0/16", "a link-local address, where clouds keep their hosts' secrets" },
	{ "fe80::/10", "a link-local address" },
};

/* Nobody is reached there by TCP or UDP of one peer. */
static const char *const never[] = { "0.0.0.0/8", "::/128", "224.0.0.0/4", "ff00::/8",
				     "255.255.255.255/32" };

static bool is_within(const char *text, const struct network *address)
{
	struct network n;

	BUG_IF(!network_parse(bytes_str(text), &n));
	return network_holds(&n, address);
}

const char *ingress_private_refusal(const struct ingress_private *p, const struct address *to)
{
	struct network address;

	if (!p->is_on)
		return "it carries no private network traffic unless its configuration says so: "
		       "\"warp-routing: {enabled: true}\"";
	if (!network_of_address(to, &address))
		return "it is no IP address";
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		if (is_within(never[i], &address))
			return "it is not the address of one host";
	for (size_t i = 0; i < p->allow_count; i++)
		if (network_holds(&p->allow[i], &address))
			return NULL;
	if (p->has_allow)
		return "it is in none of the networks of warp-routing.allow in its configuration";
	for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
		if (is_within(reserved[i].network, &address))
			return reserved[i].what;
	return NULL;
}
