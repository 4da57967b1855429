#include "edge/edge_config.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/nearest.h"
#include "base/process.h"
#include "config/yaml.h"
#include "edge/ports/port_allow.h"
#include "io/address.h"
#include "io/network.h"
#include "store/names.h"

enum source { FROM_DEFAULT, FROM_FILE, FROM_FLAG };

/* An operator lists a handful; four is what connectors use. */
#define TEXTS_MAX 32
#define WORKERS_MAX 256
#define ADVERTISE_COUNT 4
/* One minute less than what systemd and Kubernetes users ever raise their stop timeout to. */
#define GRACE_MAX (10 * 60 * USEC_PER_SEC)
/* Whoever took over serves meanwhile: as long as an idle WebSocket may live. */
#define TAKEOVER_GRACE_MAX (24 * 3600 * USEC_PER_SEC)
/* Whoever steals a key opens what it sealed. */
#define TICKET_ROTATION_MAX (7 * 24 * 3600 * USEC_PER_SEC)
/* Browsers remember no longer. */
#define ALT_SVC_MAX (30 * 24 * 3600 * USEC_PER_SEC)
/* More per second is what no bucket tells apart from no limit. */
#define LIMIT_MAX 1000000
/* A few hundred downloads to slow visitors. */
#define BUFFERS_MIN ((int64_t)64 * 1024 * 1024)
#define TIMEOUT_MIN (USEC_PER_SEC / 10)
#define TIMEOUT_MAX (3600 * USEC_PER_SEC)
#define PORT_DNS 53
/* A week: who keeps records longer than that is not waited for. */
#define TTL_MAX (7 * 24 * 3600 * USEC_PER_SEC)

static const struct edge_setting settings[] = {
	{ "https", "ADDR", ":443", "where visitors and the control host are served",
	  EDGE_SETTING_ADDRESSES, offsetof(struct edge_config, https) },
	{ "http", "ADDR", ":80", "redirects to https; \"off\" for none", EDGE_SETTING_ADDRESSES,
	  offsetof(struct edge_config, http) },
	{ "tunnel", "ADDR", ":7844",
	  "where connectors dial in; \"off\": where visitors do, which they may anyway",
	  EDGE_SETTING_ADDRESSES, offsetof(struct edge_config, tunnel) },
	{ "tunnel-quic", "MODE", "auto",
	  "QUIC for connectors, on UDP of --tunnel and --https: auto (where it can be opened), on, off",
	  EDGE_SETTING_QUIC, offsetof(struct edge_config, tunnel_quic) },
	{ "https-quic", "MODE", "auto",
	  "HTTP/3 for visitors, on UDP of --https: auto (where it can be opened), on, off",
	  EDGE_SETTING_QUIC, offsetof(struct edge_config, https_quic) },
	{ "https-quic-port", "PORT", "off",
	  "UDP port that visitors are told to use, where it is mapped; off: the listener's own",
	  EDGE_SETTING_LIMIT, offsetof(struct edge_config, https_quic_port) },
	{ "https-quic-max-age", "DURATION", "24h", "how long visitors may remember it",
	  EDGE_SETTING_DURATION, offsetof(struct edge_config, https_quic_max_age) },
	{ "metrics", "ADDR", "127.0.0.1:20249", "/metrics and /ready; \"off\" for none",
	  EDGE_SETTING_ADDRESSES, offsetof(struct edge_config, metrics) },
	{ "admin-socket", "PATH", NULL, "UNIX socket for these commands (DIR/admin.sock)",
	  EDGE_SETTING_PATH, offsetof(struct edge_config, admin_socket) },
	{ "public-url", "URL", NULL,
	  "how people reach the control host (https://CONTROLHOST and the port of --https)",
	  EDGE_SETTING_URL, offsetof(struct edge_config, public_url) },
	{ "advertise", "HOST:PORT", NULL,
	  "where connectors are told to dial (CONTROLHOST and the port of --tunnel)",
	  EDGE_SETTING_HOST_PORTS, offsetof(struct edge_config, advertise) },
	{ "workers", "COUNT", NULL, "threads that serve (one per core)", EDGE_SETTING_WORKERS,
	  offsetof(struct edge_config, workers) },
	{ "location", "NAME", NULL, "what CF-Ray and connectors call this node (the host's name)",
	  EDGE_SETTING_LOCATION, offsetof(struct edge_config, location) },
	{ "log-level", "LEVEL", "info", "debug, info, warn, error or fatal", EDGE_SETTING_LOG_LEVEL,
	  offsetof(struct edge_config, log_level) },
	{ "log-format", "FORMAT", "console", "console or json", EDGE_SETTING_LOG_FORMAT,
	  offsetof(struct edge_config, log_format) },
	{ "log-file", "PATH", NULL, "also appends the log to this file, as JSON lines",
	  EDGE_SETTING_PATH, offsetof(struct edge_config, log_file) },
	{ "log-directory", "DIR", NULL,
	  "the same in DIR/adit-edge.log, which rolls: 1 MB, five old ones", EDGE_SETTING_PATH,
	  offsetof(struct edge_config, log_directory) },
	{ "access-log", "WHERE", "log",
	  "a line per request: log (with the log), stderr, stdout, a path, or off",
	  EDGE_SETTING_PATH, offsetof(struct edge_config, access_log) },
	{ "access-log-format", "FORMAT", "auto",
	  "console, json, common, combined, vcombined; auto: as the log, json in a file",
	  EDGE_SETTING_ACCESS_FORMAT, offsetof(struct edge_config, access_format) },
	{ "ports-allow", "PORTS", NULL,
	  "public ports that tunnels may have: 2222, 20000-20100, 53/udp (none)",
	  EDGE_SETTING_PORTS, offsetof(struct edge_config, ports_allow) },
	{ "ports-bind", "IP", NULL, "addresses of this host where those ports listen (all)",
	  EDGE_SETTING_IPS, offsetof(struct edge_config, ports_bind) },
	{ "proxy-protocol-from", "NETWORKS", "off",
	  "load balancers, who must send a PROXY header (1 or 2) in front of https, http and tunnel",
	  EDGE_SETTING_NETWORKS, offsetof(struct edge_config, proxy_from) },
	{ "tls-ticket-rotation", "DURATION", "12h",
	  "how often session tickets get a new key; 0s: no tickets, every handshake is a full one",
	  EDGE_SETTING_DURATION, offsetof(struct edge_config, tls_ticket_rotation) },
	{ "limit-connections", "COUNT", "1024",
	  "connections of one address at once (IPv6: of a /64; of a /48 8 times as many), or off",
	  EDGE_SETTING_LIMIT, offsetof(struct edge_config, limits.connections) },
	{ "limit-connection-rate", "COUNT", "100",
	  "new ones per second, 5 seconds' worth in one go, or off", EDGE_SETTING_LIMIT,
	  offsetof(struct edge_config, limits.connection_rate) },
	{ "limit-requests", "COUNT", "4096",
	  "requests of one address under way at once, WebSockets among them, or off",
	  EDGE_SETTING_LIMIT, offsetof(struct edge_config, limits.requests) },
	{ "limit-request-rate", "COUNT", "1000",
	  "requests of one address per second, 5 seconds' worth in one go, or off",
	  EDGE_SETTING_LIMIT, offsetof(struct edge_config, limits.request_rate) },
	{ "limit-all-connections", "COUNT", "off",
	  "connections of all visitors; off: as many as there are file descriptors for",
	  EDGE_SETTING_LIMIT, offsetof(struct edge_config, limits.all_connections) },
	{ "limit-buffers", "BYTES", NULL,
	  "memory of bodies on their way: 512M, 2G, off (half of what there is)",
	  EDGE_SETTING_BYTES, offsetof(struct edge_config, limits.buffers) },
	{ "limit-exempt", "NETWORKS", "127.0.0.0/8, ::1/128",
	  "whom the limits of an address are not for; off: nobody", EDGE_SETTING_NETWORKS,
	  offsetof(struct edge_config, limits.exempt) },
	{ "min-body-rate", "BYTES", "100",
	  "what a visitor sends or takes per second at least while it is waited for, or off",
	  EDGE_SETTING_LIMIT, offsetof(struct edge_config, limits.body_rate) },
	{ "min-body-grace", "DURATION", "2m", "how long it may be slower than that",
	  EDGE_SETTING_TIMEOUT, offsetof(struct edge_config, limits.body_grace) },
	{ "timeout-handshake", "DURATION", "15s", "for the TLS handshake of a visitor",
	  EDGE_SETTING_TIMEOUT, offsetof(struct edge_config, limits.handshake) },
	{ "timeout-head", "DURATION", "30s", "for the whole head of a request",
	  EDGE_SETTING_TIMEOUT, offsetof(struct edge_config, limits.head) },
	{ "timeout-body", "DURATION", "5m",
	  "for a request of which nothing moves in either direction", EDGE_SETTING_TIMEOUT,
	  offsetof(struct edge_config, limits.body) },
	{ "timeout-keepalive", "DURATION", "1m15s",
	  "for a connection of a visitor without a request", EDGE_SETTING_TIMEOUT,
	  offsetof(struct edge_config, limits.keepalive) },
	{ "dns", "ADDR", "off",
	  "where names of zones are resolved, UDP and TCP: :53; off or wildcard: their records are elsewhere",
	  EDGE_SETTING_DNS, offsetof(struct edge_config, dns) },
	{ "dns-nameserver", "NAME[=IP]", NULL,
	  "name servers of the zones; IP where one is another host's (ns1.ZONE and ns2.ZONE)",
	  EDGE_SETTING_NAME_SERVERS, offsetof(struct edge_config, dns_name_servers) },
	{ "dns-address", "IP", NULL,
	  "what hostnames with a route resolve to (this host's public addresses)", EDGE_SETTING_IPS,
	  offsetof(struct edge_config, dns_addresses) },
	{ "dns-contact", "EMAIL", NULL, "who answers for the zones (hostmaster@ZONE)",
	  EDGE_SETTING_EMAIL, offsetof(struct edge_config, dns_contact) },
	{ "dns-sign", "SWITCH", "on", "zones are signed (DNSSEC)", EDGE_SETTING_SWITCH,
	  offsetof(struct edge_config, dns_sign) },
	{ "dns-ttl", "DURATION", "1h",
	  "how long resolvers may keep name servers and DNSSEC keys of zones", EDGE_SETTING_TTL,
	  offsetof(struct edge_config, dns_ttl) },
	{ "dns-ds-ttl", "DURATION", "24h",
	  "how long they may keep DS records that parent zones have: what rolls of keys wait for",
	  EDGE_SETTING_TTL, offsetof(struct edge_config, dns_ds_ttl) },
	{ "dns-resolver", "IP[:PORT]", NULL,
	  "is asked whether parent zones have a new DS record, or off (the system's)",
	  EDGE_SETTING_RESOLVER, offsetof(struct edge_config, dns_resolver) },
	{ "limit-dns-rate", "COUNT", "50",
	  "the same DNS answer per second to one network (IPv4 /24, IPv6 /56) without a cookie, or off",
	  EDGE_SETTING_LIMIT, offsetof(struct edge_config, limits.dns_rate) },
	{ "acme-directory", "URL", "off",
	  "who issues certificates: letsencrypt, letsencrypt-staging, zerossl, google, or a directory's URL",
	  EDGE_SETTING_ACME_DIRECTORY, offsetof(struct edge_config, acme_directory) },
	{ "acme-email", "EMAIL", NULL, "where the authority writes to about certificates (nowhere)",
	  EDGE_SETTING_EMAIL, offsetof(struct edge_config, acme_email) },
	{ "acme-eab", "PATH", NULL,
	  "file with the key id and the key of an external account, or credential:NAME (none)",
	  EDGE_SETTING_PATH, offsetof(struct edge_config, acme_eab) },
	{ "acme-ca-file", "PATH", NULL, "CA certificates trusted for the directory, too (none)",
	  EDGE_SETTING_PATH, offsetof(struct edge_config, acme_ca_file) },
	{ "acme-challenge", "METHOD", "auto",
	  "how names are proven: auto, dns-01, tls-alpn-01, http-01", EDGE_SETTING_ACME_CHALLENGE,
	  offsetof(struct edge_config, acme_challenge) },
	{ "acme-on-demand", "SWITCH", "off",
	  "on: a routed name gets its certificate when somebody first asks for it",
	  EDGE_SETTING_SWITCH, offsetof(struct edge_config, acme_on_demand) },
	{ "country-database", "PATH", NULL,
	  "file in the MMDB format (GeoLite2-Country.mmdb): for policies by country and CF-IPCountry (none)",
	  EDGE_SETTING_PATH, offsetof(struct edge_config, country_database) },
	{ "grace-period", "DURATION", "30s", "how long SIGTERM waits for requests in flight",
	  EDGE_SETTING_DURATION, offsetof(struct edge_config, grace_period) },
	{ "user", "NAME[:GROUP]", NULL,
	  "whom to become once started as root; ports below 1024 may still be opened (nobody)",
	  EDGE_SETTING_USER, offsetof(struct edge_config, user) },
	{ "sandbox", "MODE", "on",
	  "on: give up what is not needed, as far as the kernel can (docs/sandbox.md); required; off",
	  EDGE_SETTING_SANDBOX, offsetof(struct edge_config, sandbox) },
	{ "sandbox-read", "PATH", NULL,
	  "files or folders that it may read beside its own, like a ca_file of Access",
	  EDGE_SETTING_PATHS, offsetof(struct edge_config, sandbox_read) },
	{ "takeover-grace", "DURATION", "30m",
	  "how long requests and WebSockets may go on here once a successor has taken over",
	  EDGE_SETTING_DURATION, offsetof(struct edge_config, takeover_grace) },
};
_Static_assert(ARRAY_LEN(settings) <= EDGE_SETTINGS_MAX, "struct edge_config.source is too small");

const struct edge_setting *edge_settings(size_t *ret_count)
{
	*ret_count = ARRAY_LEN(settings);
	return settings;
}

/* --- Lists of texts ------------------------------------------------------------------------- */

static void texts_clear(struct edge_texts *t)
{
	for (size_t i = 0; i < t->count; i++)
		mem_free(t->list[i]);
	t->list = mem_free(t->list);
	t->count = 0;
}

static void texts_add(struct edge_texts *t, const char *text)
{
	t->list = mem_resize(t->list, (t->count + 1) * sizeof(*t->list));
	t->list[t->count++] = mem_strdup(text);
}

static void text_set(char **at, const char *text)
{
	char *copy = mem_strdup(text);

	mem_free(*at);
	*at = copy;
}

/* --- One value ------------------------------------------------------------------------------ */

static bool is_list(const struct edge_setting *s)
{
	return s->type == EDGE_SETTING_ADDRESSES || s->type == EDGE_SETTING_HOST_PORTS ||
	       s->type == EDGE_SETTING_PORTS || s->type == EDGE_SETTING_IPS ||
	       s->type == EDGE_SETTING_NETWORKS || s->type == EDGE_SETTING_DNS ||
	       s->type == EDGE_SETTING_NAME_SERVERS || s->type == EDGE_SETTING_PATHS;
}

static bool host_is_valid(struct bytes host)
{
	if (host.len == 0 || host.len > 253)
		return false;
	for (size_t i = 0; i < host.len; i++) {
		uint8_t c = bytes_lower(host.ptr[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.' &&
		    c != ':' && c != '_')
			return false;
	}
	return true;
}

/* "ns1.example.net" or "ns1.example.net=203.0.113.9". */
static int name_server_check(const char *value, struct err *err)
{
	struct bytes text = bytes_str(value);
	struct bytes name = bytes_first(text, bytes_index(text, '='));
	struct bytes ip = bytes_from(text, name.len + 1);
	char *copy = mem_strndup(name), known[NAME_DNS_BYTES + 1];
	struct address address;
	int rc = name_hostname(copy, known, err);

	mem_free(copy);
	if (rc == 0 && known[0] == '*')
		return err_set(err, E_INVALID, "a name server has one name, not '%.253s'", known);
	if (rc == 0 && name.len < text.len && !address_from_ip(ip, 0, &address))
		return err_set(err, E_INVALID, "'" BYTES_FMT "' is no IP address",
			       BYTES_ARG(bytes_first(ip, 100)));
	return rc;
}

static int list_add(const struct edge_setting *s, struct edge_texts *t, const char *value,
		    struct err *err)
{
	struct port_range range;
	struct address address;
	struct bytes host;
	uint16_t port;
	int rc;

	if (t->count >= TEXTS_MAX)
		return err_set(err, E_LIMIT, "more than %d values", TEXTS_MAX);
	if (s->type == EDGE_SETTING_ADDRESSES || s->type == EDGE_SETTING_DNS) {
		rc = address_parse(bytes_str(value), &address, err);
		if (rc < 0)
			return rc;
		if (s->type == EDGE_SETTING_DNS && address.any.sa_family == AF_UNIX)
			return err_set(err, E_INVALID, "names are not resolved at a path");
	} else if (s->type == EDGE_SETTING_PORTS) {
		rc = port_range_parse(bytes_str(value), &range, err);
		if (rc < 0)
			return rc;
	} else if (s->type == EDGE_SETTING_PATHS) {
		if (value[0] != '/')
			return err_set(err, E_INVALID,
				       "a path from the root expected, '%.100s' found", value);
	} else if (s->type == EDGE_SETTING_NAME_SERVERS) {
		rc = name_server_check(value, err);
		if (rc < 0)
			return rc;
	} else if (s->type == EDGE_SETTING_IPS) {
		if (!address_from_ip(bytes_str(value), 0, &address))
			return err_set(err, E_INVALID, "'%.100s' is no IP address", value);
	} else {
		rc = address_split(bytes_str(value), &host, &port, err);
		if (rc < 0)
			return rc;
		if (port == 0 || !host_is_valid(host))
			return err_set(err, E_INVALID, "'%.200s' is no host:port one could dial",
				       value);
	}
	texts_add(t, value);
	return 0;
}

/* "10.0.0.0/8, ::1/128": what one would write into a file is as good on a command line. */
static int networks_add(struct edge_texts *t, const char *value, struct err *err)
{
	struct bytes rest = bytes_str(value), part;
	struct network network;

	while (bytes_split(&rest, ',', &part)) {
		part = bytes_trim(part);
		if (!network_parse(part, &network))
			return err_set(err, E_INVALID,
				       "'" BYTES_FMT "' is no network like 192.0.2.0/24",
				       BYTES_ARG(bytes_first(part, 100)));
		if (t->count >= TEXTS_MAX)
			return err_set(err, E_LIMIT, "more than %d values", TEXTS_MAX);
		char *text = mem_strndup(part);
		texts_add(t, text);
		mem_free(text);
	}
	return 0;
}

static int limit_set(uint32_t *at, const char *value, struct err *err)
{
	uint64_t number = 0;

	if (strcmp(value, "off") != 0 &&
	    (!bytes_to_u64(bytes_str(value), &number) || number < 1 || number > LIMIT_MAX))
		return err_set(err, E_INVALID,
			       "a number from 1 to %d or off expected, '%.100s' found", LIMIT_MAX,
			       value);
	*at = (uint32_t)number;
	return 0;
}

/* Powers of 1024, as of systemd's MemoryMax=. */
static int bytes_set(int64_t *at, const char *value, struct err *err)
{
	struct bytes text = bytes_str(value);
	uint64_t number = 0;
	unsigned shift = bytes_ends_with(text, BYTES_LIT("K"))   ? 10
			 : bytes_ends_with(text, BYTES_LIT("M")) ? 20
			 : bytes_ends_with(text, BYTES_LIT("G")) ? 30
								 : 0;

	if (!strcmp(value, "off")) {
		*at = 0;
		return 0;
	}
	if (!bytes_to_u64(bytes_first(text, text.len - (shift ? 1 : 0)), &number) ||
	    number > (uint64_t)INT64_MAX >> shift || (int64_t)(number << shift) < BUFFERS_MIN)
		return err_set(
			err, E_INVALID,
			"a size like 512M or 2G, 64M at least, or off expected, '%.100s' found",
			value);
	*at = (int64_t)(number << shift);
	return 0;
}

static int timeout_set(usec *at, const char *value, struct err *err)
{
	usec duration;

	if (!duration_parse(bytes_str(value), &duration) || duration < TIMEOUT_MIN ||
	    duration > TIMEOUT_MAX)
		return err_set(err, E_INVALID,
			       "a duration from 100ms to 1h expected, '%.100s' found", value);
	*at = duration;
	return 0;
}

static int ttl_set(usec *at, const char *value, struct err *err)
{
	usec duration;

	if (!duration_parse(bytes_str(value), &duration) || duration < USEC_PER_SEC ||
	    duration > TTL_MAX)
		return err_set(err, E_INVALID,
			       "a duration from 1s to 168h expected, '%.100s' found", value);
	*at = duration;
	return 0;
}

static int resolver_set(char **at, const char *value, struct err *err)
{
	struct address address;
	char text[ADDRESS_TEXT_SIZE];

	if (strcmp(value, "off") == 0) {
		text_set(at, value);
		return 0;
	}
	if (!address_from_ip(bytes_str(value), PORT_DNS, &address) &&
	    (value[0] == ':' || address_parse(bytes_str(value), &address, NULL) < 0 ||
	     address.any.sa_family == AF_UNIX))
		return err_set(err, E_INVALID, "'%.100s' is neither an IP address nor off", value);
	text_set(at, address_text(&address, text));
	return 0;
}

/* "https://host[:port]"; a slash at the end is dropped by the caller. */
static int url_check(struct bytes url, struct bytes *ret_host, struct err *err)
{
	struct bytes rest, host;
	uint16_t port;

	if (!bytes_starts_with(url, BYTES_LIT("https://")))
		return err_set(err, E_INVALID, "a public URL begins with https://");
	rest = bytes_from(url, 8);
	host = rest;
	if (bytes_starts_with(rest, BYTES_LIT("[")) && bytes_ends_with(rest, BYTES_LIT("]"))) {
		host = bytes_first(bytes_from(rest, 1), rest.len - 2);
	} else if (bytes_index(rest, ':') < rest.len) {
		int rc = address_split(rest, &host, &port, err);

		if (rc < 0)
			return rc;
		if (port == 0)
			return err_set(err, E_INVALID, "port 0 cannot be reached");
	}
	if (!host_is_valid(host))
		return err_set(err, E_INVALID, "a public URL is https://HOST or https://HOST:PORT");
	*ret_host = host;
	return 0;
}

static int url_set(char **at, const char *value, struct err *err)
{
	struct bytes url = bytes_str(value), host;
	int rc;

	if (bytes_ends_with(url, BYTES_LIT("/")))
		url.len--;
	rc = url_check(url, &host, err);
	if (rc < 0)
		return rc;
	mem_free(*at);
	*at = mem_strndup(url);
	return 0;
}

static int location_set(char at[9], const char *value, struct err *err)
{
	size_t len = strlen(value);

	if (len < 1 || len > 8)
		return err_set(err, E_INVALID, "a location has 1 to 8 characters");
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)value[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
			return err_set(err, E_INVALID, "a location is made of a-z, 0-9 and -");
	}
	memcpy(at, value, len + 1);
	return 0;
}

static int access_format_set(enum edge_access_format *at, const char *value, struct err *err)
{
	static const char *const names[] = {
		[EDGE_ACCESS_AUTO] = "auto",         [EDGE_ACCESS_CONSOLE] = "console",
		[EDGE_ACCESS_JSON] = "json",         [EDGE_ACCESS_COMMON] = "common",
		[EDGE_ACCESS_COMBINED] = "combined", [EDGE_ACCESS_VCOMBINED] = "vcombined",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (!strcmp(value, names[i])) {
			*at = (enum edge_access_format)i;
			return 0;
		}
	}
	return err_set(err, E_INVALID,
		       "'%.100s' is not one of auto, console, json, common, combined, vcombined",
		       value);
}

static int quic_set(enum edge_quic *at, const char *value, struct err *err)
{
	static const char *const names[] = {
		[EDGE_QUIC_AUTO] = "auto",
		[EDGE_QUIC_ON] = "on",
		[EDGE_QUIC_OFF] = "off",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (!strcmp(value, names[i])) {
			*at = (enum edge_quic)i;
			return 0;
		}
	}
	return err_set(err, E_INVALID, "'%.100s' is not one of auto, on, off", value);
}

static usec duration_max(const struct edge_setting *s)
{
	if (s->offset == offsetof(struct edge_config, https_quic_max_age))
		return ALT_SVC_MAX;
	if (s->offset == offsetof(struct edge_config, takeover_grace))
		return TAKEOVER_GRACE_MAX;
	return s->offset == offsetof(struct edge_config, tls_ticket_rotation) ? TICKET_ROTATION_MAX
									      : GRACE_MAX;
}

static int directory_set(char **at, const char *value, struct err *err)
{
	bool is_off = strcmp(value, "off") == 0;
	char *url = is_off ? NULL : acme_directory_url(value, err);

	if (!url && !is_off)
		return E_INVALID;
	mem_free(*at);
	*at = url;
	return 0;
}

static int set_value(struct edge_config *c, const struct edge_setting *s, const char *value,
		     struct err *err)
{
	void *at = (char *)c + s->offset;
	char email[NAME_EMAIL_BYTES + 1];
	uint64_t number;

	switch (s->type) {
	case EDGE_SETTING_ADDRESSES:
	case EDGE_SETTING_HOST_PORTS:
	case EDGE_SETTING_PORTS:
	case EDGE_SETTING_IPS:
	case EDGE_SETTING_DNS:
	case EDGE_SETTING_NAME_SERVERS:
	case EDGE_SETTING_PATHS:
		return list_add(s, at, value, err);
	case EDGE_SETTING_NETWORKS:
		return networks_add(at, value, err);
	case EDGE_SETTING_BYTES:
		return bytes_set(at, value, err);
	case EDGE_SETTING_LIMIT:
		return limit_set(at, value, err);
	case EDGE_SETTING_TIMEOUT:
		return timeout_set(at, value, err);
	case EDGE_SETTING_TTL:
		return ttl_set(at, value, err);
	case EDGE_SETTING_RESOLVER:
		return resolver_set(at, value, err);
	case EDGE_SETTING_PATH:
	case EDGE_SETTING_USER:
		if (!value[0])
			return err_set(err, E_INVALID, "it is empty");
		text_set(at, value);
		return 0;
	case EDGE_SETTING_URL:
		return url_set(at, value, err);
	case EDGE_SETTING_QUIC:
		return quic_set(at, value, err);
	case EDGE_SETTING_WORKERS:
		if (!bytes_to_u64(bytes_str(value), &number) || number < 1 || number > WORKERS_MAX)
			return err_set(err, E_INVALID,
				       "a number from 1 to %d expected, '%.100s' found",
				       WORKERS_MAX, value);
		*(int *)at = (int)number;
		return 0;
	case EDGE_SETTING_LOCATION:
		return location_set(at, value, err);
	case EDGE_SETTING_LOG_LEVEL:
		if (!log_level_parse(value, at))
			return err_set(err, E_INVALID,
				       "'%.100s' is not one of debug, info, warn, error, fatal",
				       value);
		return 0;
	case EDGE_SETTING_LOG_FORMAT:
		if (!strcmp(value, "json"))
			*(enum log_format *)at = LOG_JSON;
		else if (!strcmp(value, "console"))
			*(enum log_format *)at = LOG_CONSOLE;
		else
			return err_set(err, E_INVALID, "'%.100s' is neither console nor json",
				       value);
		return 0;
	case EDGE_SETTING_ACCESS_FORMAT:
		return access_format_set(at, value, err);
	case EDGE_SETTING_DURATION:
		if (!duration_parse(bytes_str(value), at) || *(usec *)at < 0 ||
		    *(usec *)at > duration_max(s))
			return err_set(err, E_INVALID,
				       "a duration like 30s or 1m30s expected, '%.100s' found",
				       value);
		return 0;
	case EDGE_SETTING_SWITCH:
		if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
			return err_set(err, E_INVALID, "'%.100s' is neither on nor off", value);
		*(bool *)at = strcmp(value, "on") == 0;
		return 0;
	case EDGE_SETTING_SANDBOX:
		if (sandbox_mode_parse(value, at) < 0)
			return err_set(err, E_INVALID, "'%.100s' is not one of on, off, required",
				       value);
		return 0;
	case EDGE_SETTING_ACME_DIRECTORY:
		return directory_set(at, value, err);
	case EDGE_SETTING_ACME_CHALLENGE:
		if (!acme_challenges_parse(value, at))
			return err_set(err, E_INVALID,
				       "'%.100s' is not one of auto, dns-01, tls-alpn-01, http-01",
				       value);
		return 0;
	case EDGE_SETTING_EMAIL:
		if (name_email(value, email, err) < 0)
			return E_INVALID;
		text_set(at, email);
		return 0;
	}
	return err_set(err, E_INTERNAL, "setting %s has no type", s->key);
}

/* Lists hold what the strongest source said, so a stronger one clears first. */
static int take_value(struct edge_config *c, size_t row, enum source source, const char *value,
		      struct err *err)
{
	const struct edge_setting *s = &settings[row];

	if (is_list(s)) {
		struct edge_texts *t = (struct edge_texts *)(void *)((char *)c + s->offset);

		if (c->source[row] != source)
			texts_clear(t);
		c->source[row] = (unsigned char)source;
		bool has_off = s->type == EDGE_SETTING_ADDRESSES ||
			       s->type == EDGE_SETTING_NETWORKS || s->type == EDGE_SETTING_DNS;
		if ((has_off && !strcmp(value, "off")) ||
		    (s->type == EDGE_SETTING_DNS && !strcmp(value, "wildcard"))) {
			texts_clear(t);
			return 0;
		}
	}
	c->source[row] = (unsigned char)source;
	return set_value(c, s, value, err);
}

/* --- Defaults ------------------------------------------------------------------------------- */

static int core_count(void)
{
	cpu_set_t set;
	int count = 0;

	/* What the process may use: containers and taskset narrow it. */
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		count = CPU_COUNT(&set);
	if (count < 1)
		count = 1;
	return count > WORKERS_MAX ? WORKERS_MAX : count;
}

static void location_from_host(char at[9])
{
	char name[256] = "";
	size_t len = 0;

	if (gethostname(name, sizeof(name) - 1) != 0)
		name[0] = 0;
	for (size_t i = 0; name[i] && name[i] != '.' && len < 8; i++) {
		uint8_t c = bytes_lower((uint8_t)name[i]);

		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')
			at[len++] = (char)c;
	}
	at[len] = 0;
	if (len == 0)
		memcpy(at, "edge", 5);
}

void edge_config_init(struct edge_config *c, const char *data_dir)
{
	memset(c, 0, sizeof(*c));
	c->data_dir = mem_strdup(data_dir);
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (settings[i].preset)
			BUG_IF(take_value(c, i, FROM_DEFAULT, settings[i].preset, NULL) < 0);
	c->admin_socket = mem_printf("%s/admin.sock", data_dir);
	c->workers = core_count();
	c->limits.buffers = process_memory_limit() / 2;
	if (c->limits.buffers < BUFFERS_MIN)
		c->limits.buffers = BUFFERS_MIN;
	location_from_host(c->location);
}

void edge_config_done(struct edge_config *c)
{
	texts_clear(&c->https);
	texts_clear(&c->http);
	texts_clear(&c->tunnel);
	texts_clear(&c->metrics);
	texts_clear(&c->advertise);
	texts_clear(&c->ports_allow);
	texts_clear(&c->ports_bind);
	texts_clear(&c->dns);
	texts_clear(&c->dns_name_servers);
	texts_clear(&c->dns_addresses);
	mem_free(c->dns_contact);
	mem_free(c->dns_resolver);
	texts_clear(&c->limits.exempt);
	texts_clear(&c->proxy_from);
	mem_free(c->data_dir);
	mem_free(c->file_name);
	mem_free(c->admin_socket);
	texts_clear(&c->sandbox_read);
	mem_free(c->user);
	mem_free(c->log_file);
	mem_free(c->log_directory);
	mem_free(c->access_log);
	mem_free(c->acme_directory);
	mem_free(c->acme_email);
	mem_free(c->acme_eab);
	mem_free(c->acme_ca_file);
	mem_free(c->country_database);
	mem_free(c->control_host);
	mem_free(c->public_url);
	memset(c, 0, sizeof(*c));
}

/* --- Sources -------------------------------------------------------------------------------- */

static size_t setting_row(const char *key)
{
	size_t row = 0;

	while (row < ARRAY_LEN(settings) && strcmp(settings[row].key, key) != 0)
		row++;
	return row;
}

static const char *nearest_key(const char *word)
{
	const char *names[ARRAY_LEN(settings)];

	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		names[i] = settings[i].key;
	return nearest_name(word, names, ARRAY_LEN(settings));
}

static int take_node(struct edge_config *c, size_t row, const struct yaml_node *value,
		     struct err *err)
{
	const struct edge_setting *s = &settings[row];
	struct err why = { 0 };

	if (yaml_kind(value) == YAML_SCALAR) {
		if (take_value(c, row, FROM_FILE, yaml_text(value), &why) < 0)
			return yaml_error(value, err, "%s: %s", s->key, why.text);
		return 0;
	}
	if (!is_list(s) || yaml_kind(value) != YAML_SEQUENCE)
		return yaml_error(value, err,
				  is_list(s) ? "%s: a value or a list of values expected"
					     : "%s: a value expected",
				  s->key);
	/* An empty list is a choice too: that listener is off. */
	if (c->source[row] == FROM_DEFAULT)
		texts_clear((struct edge_texts *)(void *)((char *)c + s->offset));
	c->source[row] = FROM_FILE;
	for (size_t i = 0; i < yaml_count(value); i++) {
		const struct yaml_node *item = yaml_item(value, i);

		if (yaml_kind(item) != YAML_SCALAR)
			return yaml_error(item, err, "%s: a text expected", s->key);
		if (take_value(c, row, FROM_FILE, yaml_text(item), &why) < 0)
			return yaml_error(item, err, "%s: %s", s->key, why.text);
	}
	return 0;
}

static int take_document(struct edge_config *c, const struct yaml_doc *doc, struct err *err)
{
	const struct yaml_node *root = yaml_root(doc);

	if (yaml_kind(root) == YAML_NULL)
		return 0;
	if (yaml_kind(root) != YAML_MAPPING)
		return yaml_error(root, err, "settings are written as \"key: value\"");
	for (size_t i = 0; i < yaml_count(root); i++) {
		const struct yaml_node *key, *value;
		const char *name, *near;
		size_t row;
		int rc;

		yaml_pair(root, i, &key, &value);
		name = yaml_text(key);
		if (!name)
			return yaml_error(key, err, "a setting's name expected");
		row = setting_row(name);
		if (row == ARRAY_LEN(settings)) {
			near = nearest_key(name);
			return yaml_error(key, err,
					  near ? "unknown setting '%.100s', did you mean '%s'?"
					       : "unknown setting '%.100s'%s",
					  name, near ? near : "");
		}
		/* "key:" with nothing after it leaves the default. */
		if (yaml_kind(value) == YAML_NULL)
			continue;
		rc = take_node(c, row, value, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int edge_config_load(struct edge_config *c, const char *path, struct err *err)
{
	struct err why = { 0 };
	struct yaml_doc *doc = yaml_load(path, &why);
	int rc = doc ? take_document(c, doc, &why) : why.code;

	yaml_free(doc);
	if (rc == 0)
		text_set(&c->file_name, path);
	else if (err)
		*err = why;
	return rc;
}

int edge_config_flag(struct edge_config *c, const char *key, const char *value, struct err *err)
{
	size_t row = setting_row(key);
	int rc;

	if (row == ARRAY_LEN(settings))
		return err_set(err, E_NOT_FOUND, "there is no setting '%.100s'", key);
	rc = take_value(c, row, FROM_FLAG, value, err);
	if (rc < 0)
		err_wrap(err, "--%s", key);
	return rc < 0 ? rc : 0;
}

/* --- What depends on the control host ------------------------------------------------------- */

/* 0 for a Unix path. */
static uint16_t listener_port(const char *text)
{
	struct address address;

	if (address_parse(bytes_str(text), &address, NULL) < 0 || address.any.sa_family == AF_UNIX)
		return 0;
	return address_port(&address);
}

static bool listener_is_loopback(const char *text)
{
	struct address a;

	if (address_parse(bytes_str(text), &a, NULL) < 0)
		return false;
	if (a.any.sa_family == AF_INET)
		return (ntohl(a.v4.sin_addr.s_addr) >> 24) == 127;
	return a.any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr);
}

/* As it stands in front of a port; a control host may be an address. Owned. */
static char *host_text(const char *host)
{
	return strchr(host, ':') ? mem_printf("[%s]", host) : mem_strdup(host);
}

static void derive_public_url(struct edge_config *c, const char *control_host)
{
	char *host = host_text(control_host);
	uint16_t port = 0;

	for (size_t i = 0; i < c->https.count && port == 0; i++)
		port = listener_port(c->https.list[i]);
	mem_free(c->public_url);
	c->public_url = port == 0 || port == 443 ? mem_printf("https://%s", host)
						 : mem_printf("https://%s:%u", host, port);
	mem_free(host);
}

static void derive_advertise(struct edge_config *c, const char *control_host)
{
	char *host = host_text(control_host);

	texts_clear(&c->advertise);
	/* Connectors may come by the visitors' addresses, too. */
	const struct edge_texts *from = c->tunnel.count ? &c->tunnel : &c->https;
	for (size_t i = 0; i < from->count && c->advertise.count < ADVERTISE_COUNT; i++) {
		uint16_t port = listener_port(from->list[i]);
		char *text;

		if (port == 0)
			continue;
		if (listener_is_loopback(from->list[i]))
			text = mem_strdup(from->list[i]);
		else
			text = mem_printf("%s:%u", host, port);
		texts_add(&c->advertise, text);
		mem_free(text);
	}
	mem_free(host);
	for (size_t i = 0; c->advertise.count > 0 && c->advertise.count < ADVERTISE_COUNT; i++)
		texts_add(&c->advertise, c->advertise.list[i]);
}

static size_t row_of(const void *base, const void *member)
{
	size_t offset = (size_t)((const char *)member - (const char *)base);

	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (settings[i].offset == offset)
			return i;
	BUG_IF(true);
	return 0;
}

int edge_config_complete(struct edge_config *c, const char *control_host, struct err *err)
{
	if (c->https_quic_port > UINT16_MAX)
		return err_set(err, E_INVALID, "https-quic-port: a port from 1 to 65535 or off");
	text_set(&c->control_host, control_host);
	if (c->source[row_of(c, &c->public_url)] == FROM_DEFAULT) {
		derive_public_url(c, control_host);
	} else {
		struct bytes host;
		int rc = url_check(bytes_str(c->public_url), &host, err);

		if (rc < 0)
			return rc;
		if (!bytes_eq_nocase(host, bytes_str(control_host)))
			return err_set(err, E_INVALID,
				       "public-url %s does not name the control host %s "
				       "(`adit-edge init --control HOST` changes that)",
				       c->public_url, control_host);
	}
	if (c->source[row_of(c, &c->advertise)] == FROM_DEFAULT)
		derive_advertise(c, control_host);
	if (!strcmp(c->access_log, "log") && c->access_format != EDGE_ACCESS_AUTO)
		return err_set(err, E_INVALID,
			       "access-log-format: within the log, lines look as the log does; set "
			       "access-log to stderr, stdout or a path as well");
	if (c->https.count == 0)
		return err_set(err, E_INVALID, "https: visitors need at least one address");
	return 0;
}
