/* What `adit tunnel run` runs with, after flags, environment, config file and defaults are merged.
 *
 * Built once by cli/ and never changed afterwards: any thread may read it while the connector runs.
 * All members are owned by it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/uuid.h"
#include "connector/ingress/ingress.h"

enum connector_protocol { CONNECTOR_AUTO, CONNECTOR_HTTP2, CONNECTOR_QUIC };
enum connector_ip_version { CONNECTOR_IP_AUTO, CONNECTOR_IP_4, CONNECTOR_IP_6 };

/* Each is a TLS session and a share of the edge's LIMIT_SESSIONS_PER_TUNNEL. */
#define CONNECTOR_MAX_CONNECTIONS 32

/* A `--tag NAME=VALUE`: origins see Cf-Warp-Tag-NAME: VALUE. */
struct connector_tag {
	char *name;
	char *value;
};

/* A flag that somebody set, for /diag/configuration. */
struct connector_flag {
	const char *name; /* static: without dashes */
	char *value;      /* never a secret */
};

struct connector_config {
	/* Who we are. */
	char *account_tag;
	struct secret tunnel_secret; /* raw bytes, at least 32 */
	struct uuid tunnel_id;
	char *tunnel_name; /* "" when only the id is known */

	/* Where the edge is. */
	char **edges; /* "host:port", "[v6]:port", "domain"; none: the stock edge, by its SRV records */
	size_t edge_count;
	char *region;                   /* without edges; NULL: the global one */
	char *edge_proxy;               /* a proxy's URL, with a password perhaps; NULL: none */
	const char *edge_proxy_setting; /* what it came from: "HTTPS_PROXY"; static */
	bool always_proxied;            /* else no_proxy and loopback go directly */
	char *no_proxy;                 /* NULL: nothing */
	char *edge_ca_pem; /* the only roots trusted for the edge; NULL: the system's roots */
	enum connector_ip_version ip_version;
	char *bind_address; /* local IP literal for connections to the edge; NULL: any */

	/* How connections to it live. */
	enum connector_protocol protocol;
	unsigned ha_connections; /* 4; 1 to 32 */
	unsigned retries;        /* 5: cap of the backoff's exponent */
	usec dial_timeout;       /* 15 s */
	usec rpc_timeout;        /* 5 s */
	usec grace_period;       /* 30 s, at most 3 min */

	/* What we say about us. */
	struct connector_tag *tags;
	size_t tag_count;
	char **features; /* opt-in names of --features, and what we are as a replica ("adit_weight=3") */
	size_t feature_count;
	char *label; /* "" or the connector's name for people */

	/* What we serve. */
	struct ingress *ingress; /* counted; the rules at start */
	char *config_path;       /* the file the rules came from, to be watched; NULL: none */

	/* --max-active-flows: wins over the configuration's; 0: unlimited. */
	bool has_max_active_flows;
	uint32_t max_active_flows;

	/* Beside the traffic. */
	char *metrics_address; /* "host:port"; "localhost:0" means the first free of 20241 to 20245,
	                         * else any */
	struct connector_flag *flags; /* for /diag/configuration */
	size_t flag_count;
	char *pidfile; /* written after the first registration; NULL: none */
};

void connector_config_init(struct connector_config *cfg); /* the defaults */
void connector_config_done(struct connector_config *cfg);

/* Reads the rules of config_path again (SIGHUP, or the file changed): a new reference, or NULL with the
 * file, line and column in `err`; the rules that run are untouched either way. With no config_path
 * the rules of the start are returned. Blocks on the disk: not on a worker. */
struct ingress *connector_config_reload(const struct connector_config *cfg, struct err *err);
