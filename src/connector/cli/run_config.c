#include "connector/cli/run_config.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "connector/cli/config_file.h"
#include "connector/cli/files.h"
#include "connector/dial/addresses.h"
#include "connector/dial/proxy.h"
#include "io/address.h"
#include "transport/transport.h"

#define COMPONENT "connector/cli"

#define LIMIT_GRACE (180 * USEC_PER_SEC)
#define LIMIT_CA_BYTES (1024 * 1024)

static char *text_or_null(const struct settings *s, enum flag_id id)
{
	const char *text = settings_text(s, id);

	return *text ? mem_strdup(text) : NULL;
}

/* ------------------------------------------------------------------------------------------
 * The edge. */

/* HOST:PORT, or the name of a domain. */
static bool is_edge(const char *text)
{
	struct bytes all = bytes_str(text), host;
	uint16_t port;

	if (all.len >= EDGE_NAME_BYTES || strpbrk(text, " \t\r\n/@"))
		return false;
	if (bytes_index(all, ':') == all.len)
		return all.len > 0 && all.ptr[0] != '[';
	return address_split(all, &host, &port, NULL) == 0 && host.len > 0 && port > 0;
}

/* --region, else what the credentials say; without edges alone. */
static int configure_region(const struct settings *s, const struct token *token,
			    struct connector_config *cfg, struct err *err)
{
	const char *region = settings_text(s, FLAG_REGION);

	if (cfg->edge_count) {
		if (*region)
			log_warn(COMPONENT, "--region has no effect, for the edge is named");
		return 0;
	}
	if (*region && token->endpoint)
		return err_set(err, E_INVALID,
			       "--region cannot be given with credentials that name a region of "
			       "their own (%.60s)",
			       token->endpoint);
	if (!*region && token->endpoint)
		region = token->endpoint;
	if (region[strspn(region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")] ||
	    strlen(region) > 32)
		return err_set(err, E_INVALID, "invalid value for region: %.60s", region);
	cfg->region = *region ? mem_strdup(region) : NULL;
	log_info(COMPONENT,
		 "Neither --edge nor the credentials name an edge: looking for the stock "
		 "service's",
		 LOG_STR("region", *region ? region : "global"));
	return 0;
}

static int configure_edges(const struct settings *s, struct token *token,
			   struct connector_config *cfg, struct err *err)
{
	char *const *given;
	size_t count = settings_list(s, FLAG_EDGE, &given);

	if (count == 0) {
		count = token->place.edge_count;
		given = token->place.edges;
	}
	cfg->edges = mem_alloc_array(count + 1, sizeof(*cfg->edges));
	for (size_t i = 0; i < count; i++) {
		if (!is_edge(given[i]))
			return err_set(err, E_INVALID,
				       "\"%.200s\" is not the address of an edge, it should be "
				       "HOST:PORT, or a domain with SRV records",
				       given[i]);
		cfg->edges[cfg->edge_count++] = mem_strdup(given[i]);
	}
	return configure_region(s, token, cfg, err);
}

static const char *env_either(const char *lower, const char *upper, const char **ret_name)
{
	const char *text = getenv(lower);
	bool is_lower = text && *text;

	if (!is_lower)
		text = getenv(upper);
	*ret_name = is_lower ? lower : upper;
	return text && *text ? text : NULL;
}

/* --edge-proxy is for every edge, HTTPS_PROXY for those that NO_PROXY does not list. */
static int configure_proxy(const struct settings *s, struct connector_config *cfg, struct err *err)
{
	const char *given = settings_text(s, FLAG_EDGE_PROXY), *name;
	const struct setting *setting = &s->values[FLAG_EDGE_PROXY];
	struct arena arena;
	struct proxy proxy;
	int r = 0;

	if (strcmp(given, "none") == 0)
		return 0;
	if (*given && setting->source == SETTING_COMMAND && strchr(given, '@'))
		return err_set(err, E_INVALID,
			       "--edge-proxy: everybody on this host can read a command line, so a "
			       "name and password have to be in TUNNEL_EDGE_PROXY or in the "
			       "configuration file (edge-proxy:)");
	if (*given) {
		cfg->edge_proxy = mem_strdup(given);
		cfg->edge_proxy_setting = "edge-proxy";
		cfg->always_proxied = true;
	} else {
		cfg->edge_proxy = mem_strdup(env_either("https_proxy", "HTTPS_PROXY", &name));
		cfg->edge_proxy_setting = name;
		cfg->no_proxy = mem_strdup(env_either("no_proxy", "NO_PROXY", &name));
	}
	if (!cfg->edge_proxy)
		return 0;
	if (cfg->protocol == CONNECTOR_QUIC && cfg->always_proxied)
		return err_set(
			err, E_INVALID,
			"QUIC cannot pass a proxy, which takes TCP alone: with --edge-proxy the "
			"protocol has to be auto or http2");
	arena_init(&arena);
	r = proxy_parse(&arena, cfg->edge_proxy, cfg->edge_proxy_setting, &proxy, err);
	arena_done(&arena);
	return r;
}

/* --cacert replaces what the credentials carry. */
static int configure_ca(const struct settings *s, struct token *token, struct connector_config *cfg,
			struct err *err)
{
	const char *flag = settings_text(s, FLAG_CACERT);
	struct buf pem;

	if (!*flag) {
		cfg->edge_ca_pem = TAKE(token->place.ca);
		return 0;
	}
	char *path = file_expand(flag);
	int r = file_read(path, LIMIT_CA_BYTES, &pem, err);
	mem_free(path);
	if (r < 0) {
		err_wrap(err, "--cacert");
		return r;
	}
	cfg->edge_ca_pem = buf_take_str(&pem);
	buf_done(&pem);
	return 0;
}

static int configure_protocol(const struct settings *s, struct connector_config *cfg,
			      struct err *err)
{
	const char *name = settings_text(s, FLAG_PROTOCOL);
	const char *version = settings_text(s, FLAG_EDGE_IP_VERSION);
	const char *bind = settings_text(s, FLAG_EDGE_BIND_ADDRESS);
	uint8_t address[16];

	if (strcmp(name, "auto") == 0)
		cfg->protocol = CONNECTOR_AUTO;
	else if (strcmp(name, "http2") == 0 || strcmp(name, "h2mux") == 0)
		cfg->protocol = CONNECTOR_HTTP2;
	else if (strcmp(name, "quic") == 0)
		cfg->protocol = CONNECTOR_QUIC;
	else
		return err_set(
			err, E_INVALID,
			"unknown protocol %.60s, Available protocols: 'auto' - QUIC where UDP gets "
			"through to the edge, else HTTP/2; 'quic' - QUIC alone; 'http2' - HTTP/2 over "
			"TLS alone",
			name);
	if (strcmp(version, "4") == 0)
		cfg->ip_version = CONNECTOR_IP_4;
	else if (strcmp(version, "6") == 0)
		cfg->ip_version = CONNECTOR_IP_6;
	else if (strcmp(version, "auto") != 0)
		return err_set(err, E_INVALID, "invalid value for edge-ip-version: %.60s", version);
	if (*bind && inet_pton(AF_INET, bind, address) != 1 &&
	    inet_pton(AF_INET6, bind, address) != 1)
		return err_set(err, E_INVALID, "invalid value for edge-bind-address: %.60s", bind);
	bool is_v4 = strchr(bind, '.') != NULL && strchr(bind, ':') == NULL;
	if (*bind && cfg->ip_version != CONNECTOR_IP_AUTO &&
	    is_v4 != (cfg->ip_version == CONNECTOR_IP_4))
		return err_set(err, E_INVALID,
			       "edge-bind-address %.60s is no address of the IP version that "
			       "edge-ip-version asks for (%.60s)",
			       bind, version);
	cfg->bind_address = text_or_null(s, FLAG_EDGE_BIND_ADDRESS);
	if (settings_bool(s, FLAG_POST_QUANTUM))
		return err_set(
			err, E_UNSUPPORTED,
			"A post-quantum key exchange is not supported yet, so --post-quantum cannot be "
			"kept");
	return 0;
}

static int configure_numbers(const struct settings *s, struct connector_config *cfg, struct err *err)
{
	int64_t connections = settings_int(s, FLAG_HA_CONNECTIONS);

	if (connections < 1 || connections > CONNECTOR_MAX_CONNECTIONS)
		return err_set(err, E_INVALID, "ha-connections must be 1 to %d",
			       CONNECTOR_MAX_CONNECTIONS);
	cfg->ha_connections = (unsigned)connections;
	cfg->retries = (unsigned)settings_int(s, FLAG_RETRIES);
	cfg->has_max_active_flows = settings_is_set(s, FLAG_MAX_ACTIVE_FLOWS);
	cfg->max_active_flows = (uint32_t)settings_int(s, FLAG_MAX_ACTIVE_FLOWS);
	cfg->dial_timeout = settings_duration(s, FLAG_DIAL_EDGE_TIMEOUT);
	cfg->rpc_timeout = settings_duration(s, FLAG_RPC_TIMEOUT);
	cfg->grace_period = settings_duration(s, FLAG_GRACE_PERIOD);
	if (cfg->dial_timeout == 0 || cfg->rpc_timeout == 0)
		return err_set(err, E_INVALID,
			       "dial-edge-timeout and rpc-timeout must be longer than 0");
	if (cfg->grace_period > LIMIT_GRACE)
		return err_set(err, E_INVALID, "grace-period must be equal or less than 3m0s");
	return 0;
}

/* ------------------------------------------------------------------------------------------
 * What we say about us. */

/* A header name and value (RFC 9110 §5): tokens and visible text. */
static bool is_tag(struct bytes name, struct bytes value)
{
	if (name.len == 0)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.ptr[i];
		if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
			return false;
	}
	for (size_t i = 0; i < value.len; i++)
		if ((value.ptr[i] < ' ' && value.ptr[i] != '\t') || value.ptr[i] == 0x7f)
			return false;
	return true;
}

/* What only our edge looks at travels among the features. */
static int configure_replica(const struct settings *s, struct connector_config *cfg, struct err *err)
{
	int64_t weight = settings_int(s, FLAG_WEIGHT);

	cfg->label = mem_strdup(settings_text(s, FLAG_LABEL));
	if (*cfg->label && !feature_is_label(bytes_str(cfg->label)))
		return err_set(
			err, E_INVALID,
			"label must be 1 to %d printable ASCII characters without comma, quote "
			"and backslash",
			LIMIT_REPLICA_LABEL_BYTES);
	if (weight < 1 || weight > LIMIT_REPLICA_WEIGHT)
		return err_set(err, E_INVALID, "weight must be 1 to %d", LIMIT_REPLICA_WEIGHT);
	if (*cfg->label)
		cfg->features[cfg->feature_count++] = mem_printf(FEATURE_LABEL "=%s", cfg->label);
	if (weight > 1)
		cfg->features[cfg->feature_count++] =
			mem_printf(FEATURE_WEIGHT "=%lld", (long long)weight);
	if (settings_bool(s, FLAG_BACKUP))
		cfg->features[cfg->feature_count++] = mem_strdup(FEATURE_BACKUP);
	return 0;
}

static int configure_names(const struct settings *s, struct connector_config *cfg, struct err *err)
{
	char *const *texts;
	size_t count = settings_list(s, FLAG_TAG, &texts);

	cfg->tags = mem_alloc_array(count + 1, sizeof(*cfg->tags));
	for (size_t i = 0; i < count; i++) {
		struct bytes text = bytes_str(texts[i]);
		size_t equals = bytes_index(text, '=');
		struct bytes name = bytes_first(text, equals), value = bytes_from(text, equals + 1);

		if (equals == text.len || !is_tag(name, value))
			return err_set(err, E_INVALID,
				       "Cannot parse tag value %.100s: it should be KEY=VALUE",
				       texts[i]);
		cfg->tags[cfg->tag_count].name = mem_strndup(name);
		cfg->tags[cfg->tag_count++].value = mem_strndup(value);
	}
	count = settings_list(s, FLAG_FEATURES, &texts);
	cfg->features = mem_alloc_array(count + 3, sizeof(*cfg->features));
	for (size_t i = 0; i < count; i++) {
		if (strlen(texts[i]) > LIMIT_FEATURE_BYTES ||
		    cfg->feature_count == LIMIT_FEATURES / 2)
			return err_set(err, E_INVALID,
				       "too many features, or one with too long a name");
		cfg->features[cfg->feature_count++] = mem_strdup(texts[i]);
	}
	int r = configure_replica(s, cfg, err);
	if (r < 0)
		return r;
	cfg->metrics_address = mem_strdup(settings_text(s, FLAG_METRICS));
	const char *pidfile = settings_text(s, FLAG_PIDFILE);
	cfg->pidfile = *pidfile ? file_expand(pidfile) : NULL;
	return 0;
}

/* ------------------------------------------------------------------------------------------
 * What we serve. */

static void origin_from_flags(const struct settings *s, struct ingress_origin *origin)
{
	static const struct {
		enum flag_id flag;
		size_t offset;
	} durations[] = {
		{ FLAG_PROXY_CONNECT_TIMEOUT, offsetof(struct ingress_origin, connect_timeout) },
		{ FLAG_PROXY_TLS_TIMEOUT, offsetof(struct ingress_origin, tls_timeout) },
		{ FLAG_PROXY_TCP_KEEPALIVE, offsetof(struct ingress_origin, tcp_keepalive) },
		{ FLAG_PROXY_KEEPALIVE_TIMEOUT, offsetof(struct ingress_origin, keepalive_timeout) },
	};
	static const struct {
		enum flag_id flag;
		size_t offset;
	} texts[] = {
		{ FLAG_HTTP_HOST_HEADER, offsetof(struct ingress_origin, http_host_header) },
		{ FLAG_ORIGIN_SERVER_NAME, offsetof(struct ingress_origin, origin_server_name) },
		{ FLAG_ORIGIN_CA_POOL, offsetof(struct ingress_origin, ca_pool) },
	};

	ingress_origin_defaults(origin);
	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		usec value = settings_duration(s, durations[i].flag);
		if (value || durations[i].flag == FLAG_PROXY_TCP_KEEPALIVE)
			*(usec *)((char *)origin + durations[i].offset) = value;
	}
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const char *text = settings_text(s, texts[i].flag);
		if (*text)
			*(const char **)((char *)origin + texts[i].offset) = text;
	}
	origin->keepalive_connections = (uint32_t)settings_int(s, FLAG_PROXY_KEEPALIVE_CONNECTIONS);
	origin->no_happy_eyeballs = settings_bool(s, FLAG_PROXY_NO_HAPPY_EYEBALLS);
	origin->no_tls_verify = settings_bool(s, FLAG_NO_TLS_VERIFY);
	origin->disable_chunked_encoding = settings_bool(s, FLAG_NO_CHUNKED_ENCODING);
	origin->match_sni_to_host = settings_bool(s, FLAG_MATCH_SNI_TO_HOST);
	origin->http2_origin = settings_bool(s, FLAG_HTTP2_ORIGIN);
	origin->is_socks = settings_bool(s, FLAG_SOCKS5);
}

/* What the single-origin flags ask for, in the stock connector's order; NULL: nothing. */
static char *single_service(const struct settings *s)
{
	if (settings_bool(s, FLAG_HELLO_WORLD))
		return mem_strdup("hello_world");
	if (settings_bool(s, FLAG_BASTION))
		return mem_strdup("bastion");
	if (settings_is_set(s, FLAG_URL))
		return mem_strdup(settings_text(s, FLAG_URL));
	if (settings_is_set(s, FLAG_UNIX_SOCKET))
		return mem_printf("unix:%s", settings_text(s, FLAG_UNIX_SOCKET));
	return NULL;
}

static void on_unknown(void *user, const char *text)
{
	(void)user;
	log_warn(COMPONENT, text);
}

/* Rules have their own options; those of the command line count without rules only. */
static void warn_of_single_origin(const struct settings *s)
{
	for (int i = FLAG_URL; i <= FLAG_PROXY_PORT; i++) {
		const struct flag *flag = flag_get((enum flag_id)i);

		if (flag->effect == FLAG_WORKS && settings_is_set(s, (enum flag_id)i)) {
			char *text = mem_printf(
				"--%s has no effect, for the configuration has ingress rules",
				flag->name);
			log_warn(COMPONENT, text);
			mem_free(text);
		}
	}
}

static int configure_rules(struct cli *cli, struct connector_config *cfg, struct err *err)
{
	const struct settings *s = &cli->settings;
	const struct yaml_node *root = cli->config ? yaml_root(cli->config) : NULL;
	const struct yaml_node *rules = yaml_get(root, "ingress");
	char *service = single_service(s);
	struct ingress_origin origin;

	if (yaml_kind(rules) != YAML_NULL &&
	    !(yaml_kind(rules) == YAML_SEQUENCE && !yaml_count(rules))) {
		cfg->ingress = config_file_ingress(root, INGRESS_YAML, cli->config_path, err);
		cfg->config_path = mem_strdup(cli->config_path);
		warn_of_single_origin(s);
	} else if (service) {
		origin_from_flags(s, &origin);
		cfg->ingress = ingress_single(service, &origin, err);
		if (!cfg->ingress && err)
			err_wrap(err, "Error validating origin URL");
	} else {
		cfg->ingress = ingress_none();
		if (!settings_is_set(s, FLAG_TOKEN) && !settings_is_set(s, FLAG_TOKEN_FILE)) {
			char *text = mem_printf(
				"No ingress rules were defined in provided config (if any) nor "
				"from the cli, %s will return 503 for all incoming HTTP "
				"requests",
				cli->program);
			log_warn(COMPONENT, text);
			mem_free(text);
		}
	}
	mem_free(service);
	if (!cfg->ingress)
		return E_INVALID;
	/* With rules it was read with them. */
	if (!cfg->config_path &&
	    config_file_private(root, cfg->ingress, cli->config ? cli->config_path : "", err) < 0)
		return E_INVALID;
	for (size_t i = 0; i < ingress_warning_count(cfg->ingress); i++)
		log_warn(COMPONENT, ingress_warning(cfg->ingress, i));
	config_file_unknown(root, cfg->ingress, on_unknown, NULL);
	return 0;
}

/* ------------------------------------------------------------------------------------------ */

static void warn_of_flags(const struct settings *s)
{
	for (size_t i = 0; i < FLAG_COUNT; i++) {
		const struct flag *flag = flag_get((enum flag_id)i);
		bool is_said = flag->effect == FLAG_NOT_YET || flag->effect == FLAG_NEVER;

		if (is_said && settings_is_set(s, (enum flag_id)i)) {
			char *text =
				flag->effect == FLAG_NEVER
					? mem_printf("--%s: %s", flag->name, flag->help)
					: mem_printf("--%s is not supported yet and has no effect",
						     flag->name);
			log_warn(COMPONENT, text);
			mem_free(text);
		}
	}
}

int run_configure(struct cli *cli, struct token *token, struct connector_config *cfg,
		  struct err *err)
{
	const struct settings *s = &cli->settings;
	int r;

	cfg->account_tag = TAKE(token->account);
	cfg->tunnel_secret = token->secret;
	token->secret = (struct secret){ 0 };
	cfg->tunnel_id = token->tunnel;
	warn_of_flags(s);
	run_flags(s, cfg);
	r = configure_protocol(s, cfg, err);
	if (r == 0)
		r = configure_numbers(s, cfg, err);
	if (r == 0)
		r = configure_names(s, cfg, err);
	if (r == 0)
		r = configure_edges(s, token, cfg, err);
	if (r == 0)
		r = configure_proxy(s, cfg, err);
	if (r == 0)
		r = configure_ca(s, token, cfg, err);
	if (r == 0)
		r = configure_rules(cli, cfg, err);
	return r;
}
