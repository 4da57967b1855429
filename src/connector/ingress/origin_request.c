/* The originRequest maps: one table of keys, read twice (top level, rule). */
#include "connector/ingress/ingress_internal.h"

/* Idle connections kept for one rule: each is a descriptor. */
#define LIMIT_KEEPALIVE_CONNECTIONS 100000

struct option;

/* Readers of one word into the field at option->offset. */
static int duration_read(struct origin_reading *r, const struct option *option,
			 const struct yaml_node *n, void *field);
static int bool_read(struct origin_reading *r, const struct option *option,
		     const struct yaml_node *n, void *field);
static int text_read(struct origin_reading *r, const struct option *option,
		     const struct yaml_node *n, void *field);
static int connections_read(struct origin_reading *r, const struct option *option,
			    const struct yaml_node *n, void *field);
static int port_read(struct origin_reading *r, const struct option *option,
		     const struct yaml_node *n, void *field);
static int socks_read(struct origin_reading *r, const struct option *option,
		      const struct yaml_node *n, void *field);
static int proxy_protocol_read(struct origin_reading *r, const struct option *option,
			       const struct yaml_node *n, void *field);

static const struct option {
	const char *name;
	int (*read)(struct origin_reading *r, const struct option *option,
		    const struct yaml_node *n, void *field);
	size_t offset;      /* in struct ingress_origin */
	bool is_zero_meant; /* a duration of 0 says "off", not "the default" */
	bool is_legacy;     /* only /config shows it */
	/* Instead: values of more than one word (origin_values.c). */
	int (*read_whole)(struct origin_reading *r, const struct yaml_node *n);
	const char *value, *help; /* for the manual */
} options[] = {
#define FIELD(member) offsetof(struct ingress_origin, member)
	{ "connectTimeout", duration_read, FIELD(connect_timeout), .value = "TIME",
	  .help = "How long a connection to the service may take. Default: 30s." },
	{ "tlsTimeout", duration_read, FIELD(tls_timeout), .value = "TIME",
	  .help = "How long its TLS handshake may take. Default: 10s." },
	{ "tcpKeepAlive", duration_read, FIELD(tcp_keepalive), .is_zero_meant = true,
	  .value = "TIME", .help = "Interval of TCP keep-alive probes; 0s: none. Default: 30s." },
	{ "noHappyEyeballs", bool_read, FIELD(no_happy_eyeballs), .value = "BOOL",
	  .help = "Do not race IPv4 and IPv6." },
	{ "keepAliveConnections", connections_read, FIELD(keepalive_connections), .value = "NUMBER",
	  .help = "Idle connections that are kept. Default: 100." },
	{ "keepAliveTimeout", duration_read, FIELD(keepalive_timeout), .value = "TIME",
	  .help = "How long they are kept. Default: 1m30s." },
	{ "httpHostHeader", text_read, FIELD(http_host_header), .value = "TEXT",
	  .help = "The Host that the service sees; the visitor's is in X-Forwarded-Host." },
	{ "originServerName", text_read, FIELD(origin_server_name), .value = "NAME",
	  .help = "The name that the service's certificate has to have, and that it is asked for." },
	{ "matchSNItoHost", bool_read, FIELD(match_sni_to_host), .value = "BOOL",
	  .help = "That name is the host of each request." },
	{ "caPool", text_read, FIELD(ca_pool), .value = "FILE",
	  .help = "PEM file with authorities to trust for the service, beside the system's." },
	{ "noTLSVerify", bool_read, FIELD(no_tls_verify), .value = "BOOL",
	  .help = "Take any certificate of the service." },
	{ "disableChunkedEncoding", bool_read, FIELD(disable_chunked_encoding), .value = "BOOL",
	  .help = "Send bodies of requests with their length, collected up to 4 MiB where it is unknown." },
	{ "bastionMode", bool_read, FIELD(is_bastion), .value = "BOOL",
	  .help = "The destination is what the client names, as with the service `bastion`." },
	{ "proxyAddress", text_read, FIELD(proxy_address), .is_legacy = true, .value = "TEXT",
	  .help = "Of old versions; has no effect." },
	{ "proxyPort", port_read, FIELD(proxy_port), .is_legacy = true, .value = "NUMBER",
	  .help = "Of old versions; has no effect." },
	{ "proxyType", socks_read, FIELD(is_socks), .value = "TEXT",
	  .help = "`socks`: a TCP service is a SOCKS5 server that the connector is itself." },
	{ "ipRules", .read_whole = origin_read_ip_rules, .value = "LIST",
	  .help = "Where a SOCKS5 client may connect to: maps of `prefix` (a network), `ports` and `allow`. The first that fits decides, none refuses." },
	{ "http2Origin", bool_read, FIELD(http2_origin), .value = "BOOL",
	  .help = "Speak HTTP/2 to an https service that can." },
	{ "access", .read_whole = origin_read_access, .value = "MAP",
	  .help = "Let nobody in without a token of Access: `required`, `teamName` (a team, a host, or the https URL of the issuer), `audTag` (a list)." },
	/* Ours. */
	{ "stripPrefix", .read_whole = origin_read_strip_prefix, .value = "TEXT",
	  .help = "Take this off the front of the path, in whole segments. Not in cloudflared." },
	{ "setHeaders", .read_whole = origin_read_set_headers, .value = "MAP",
	  .help = "Fields that requests get, in place of what they have. Not in cloudflared." },
	{ "removeHeaders", .read_whole = origin_read_remove_headers, .value = "LIST",
	  .help = "Fields that requests lose. Not in cloudflared." },
	{ "proxyProtocol", proxy_protocol_read, FIELD(proxy_protocol), .value = "VERSION",
	  .help = "`v1` or `v2`: begin each connection with a PROXY header that names the visitor. Not in cloudflared." },
	{ "idleTimeout", duration_read, FIELD(idle_timeout), .is_zero_meant = true, .value = "TIME",
	  .help = "End an exchange that has been silent for so long; 0s: never. Not in cloudflared." },
#undef FIELD
};

static const struct option *option_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (strcmp(name, options[i].name) == 0)
			return &options[i];
	return NULL;
}

const char *ingress_origin_key(size_t index, const char **ret_value, const char **ret_help)
{
	if (index >= ARRAY_LEN(options))
		return NULL;
	*ret_value = options[index].value;
	*ret_help = options[index].help;
	return options[index].name;
}

bool origin_request_has_key(const char *name)
{
	return option_find(name) != NULL;
}

/* ------------------------------------------------------------------------------------------
 * Values of one word. */

/* What ends up in a header or a handshake must be one printable word. */
static bool is_clean(const char *text)
{
	for (; *text; text++)
		if ((uint8_t)*text <= ' ' || *text == 0x7f)
			return false;
	return true;
}

static int duration_read(struct origin_reading *r, const struct option *option,
			 const struct yaml_node *n, void *field)
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

static int bool_read(struct origin_reading *r, const struct option *option,
		     const struct yaml_node *n, void *field)
{
	(void)option;
	return yaml_as_bool(n, field, r->err);
}

static int text_read(struct origin_reading *r, const struct option *option,
		     const struct yaml_node *n, void *field)
{
	const char *value;
	int result = yaml_as_string(n, &value, r->err);

	if (result < 0)
		return result;
	if (strcmp(option->name, "caPool") != 0 && !is_clean(value))
		return yaml_error(n, r->err, "originRequest.%s holds a blank or a control byte",
				  option->name);
	*(const char **)field = *value ? arena_strdup(&r->in->arena, bytes_str(value)) : NULL;
	return 0;
}

static int connections_read(struct origin_reading *r, const struct option *option,
			    const struct yaml_node *n, void *field)
{
	int64_t value;
	int result = yaml_as_int(n, 0, LIMIT_KEEPALIVE_CONNECTIONS, &value, r->err);

	(void)option;
	if (result == 0)
		*(uint32_t *)field = (uint32_t)value;
	return result;
}

static int port_read(struct origin_reading *r, const struct option *option,
		     const struct yaml_node *n, void *field)
{
	int64_t value;
	int result = yaml_as_int(n, 0, 65535, &value, r->err);

	(void)option;
	if (result == 0)
		*(uint16_t *)field = (uint16_t)value;
	return result;
}

static int socks_read(struct origin_reading *r, const struct option *option,
		      const struct yaml_node *n, void *field)
{
	const char *value;
	int result = yaml_as_string(n, &value, r->err);

	(void)option;
	if (result < 0)
		return result;
	if (*value && strcmp(value, "socks") != 0)
		return yaml_error(n, r->err,
				  "originRequest.proxyType is \"%.60s\"; \"socks\" and \"\" are "
				  "allowed",
				  value);
	*(bool *)field = *value;
	return 0;
}

static int proxy_protocol_read(struct origin_reading *r, const struct option *option,
			       const struct yaml_node *n, void *field)
{
	static const char *const names[] = {
		[INGRESS_PROXY_NONE] = "",
		[INGRESS_PROXY_V1] = "v1",
		[INGRESS_PROXY_V2] = "v2",
	};
	const char *value;
	int result = yaml_as_string(n, &value, r->err);

	(void)option;
	if (result < 0)
		return result;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(value, names[i]) == 0) {
			*(enum ingress_proxy_protocol *)field = (enum ingress_proxy_protocol)i;
			return 0;
		}
	}
	return yaml_error(n, r->err,
			  "originRequest.proxyProtocol is \"%.60s\"; \"v1\", \"v2\" and \"\" are "
			  "allowed",
			  value);
}

/* ------------------------------------------------------------------------------------------ */

static void note_unknown_keys(struct ingress *in, const struct yaml_node *n)
{
	const char *known[ARRAY_LEN(options)];

	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		known[i] = options[i].name;
	ingress_check_keys(in, n, "originRequest", known, ARRAY_LEN(known));
}

int origin_request_apply(struct origin_reading *r, const struct yaml_node *n)
{
	const struct yaml_node *key, *value;

	if (yaml_kind(n) == YAML_NULL)
		return 0;
	r->place = n;
	if (yaml_kind(n) != YAML_MAPPING)
		return yaml_error(n, r->err, "originRequest is not a map");
	note_unknown_keys(r->in, n);
	for (size_t i = 0; i < yaml_count(n); i++) {
		yaml_pair(n, i, &key, &value);
		const struct option *option = yaml_text(key) ? option_find(yaml_text(key)) : NULL;

		if (!option || yaml_kind(value) == YAML_NULL)
			continue;
		r->place = value;
		int result = option->read_whole ? option->read_whole(r, value)
						: option->read(r, option, value,
							       (char *)r->origin + option->offset);
		if (result < 0)
			return result;
		if (option->is_legacy)
			ingress_warn(r->in,
				     "originRequest.%s has no effect: bastion mode listens nowhere",
				     option->name);
	}
	return 0;
}
