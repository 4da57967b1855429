/* The settings of an edge: one table, read from DIR/edge.yml and from flags.
 *
 * Built once by the command line before any thread starts and not changed afterwards; any thread may
 * read it. Order of strength: flag, file, default. `--help`, `adit-edge check` and the parser read the
 * same table, edge_settings().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "edge/acme/settings.h"
#include "sandbox/sandbox.h"

struct edge_texts {
	char **list; /* owned, and each text */
	size_t count;
};

/* How lines of the access log look. CONSOLE and JSON are ours, the others those of Apache and nginx. */
enum edge_access_format {
	EDGE_ACCESS_AUTO, /* as the log on stderr and stdout, JSON in a file */
	EDGE_ACCESS_CONSOLE,
	EDGE_ACCESS_JSON,
	EDGE_ACCESS_COMMON,
	EDGE_ACCESS_COMBINED,
	EDGE_ACCESS_VCOMBINED, /* the same behind "host:port " */
};

/* Whether connectors, or visitors, may use QUIC. AUTO: where UDP cannot be opened a warning says so, and TCP goes on. */
enum edge_quic { EDGE_QUIC_AUTO, EDGE_QUIC_ON, EDGE_QUIC_OFF };

struct launcher;
struct seal_key;

/* Room for every row of the table, with some to spare (edge_config.c checks). */
#define EDGE_SETTINGS_MAX 96

/* What visitors may do (edge/listen/allowance.h) and how long they may take. */
struct edge_limits {
	uint32_t connections, connection_rate, requests,
		request_rate;     /* of one address; 0: any number */
	uint32_t dns_rate;        /* see edge/dns/rate.h; 0: no limit */
	uint32_t all_connections; /* 0: as many as there are descriptors for */
	int64_t buffers;          /* bytes; 0: any number */
	struct edge_texts exempt; /* networks, as network_parse() takes them */
	uint32_t body_rate;       /* bytes per second; 0: as slow as they like */
	usec body_grace;          /* how long it may be slower */
	usec handshake, head, keepalive, body;
};

struct edge_config {
	char *data_dir;  /* owned */
	char *file_name; /* owned; the file that was read, NULL when there was none */

	/* Addresses that address_parse() takes; none: that listener is off. */
	struct edge_texts https, http, tunnel, metrics;
	char *admin_socket; /* owned; DIR/admin.sock unless set */

	char *control_host; /* owned; from the store, by edge_config_complete() */
	char *public_url;   /* owned; "https://adit.example.com:8443", no slash at the end */
	struct edge_texts advertise; /* "host:port" of the tunnel listener, as connectors shall dial it */

	enum edge_quic tunnel_quic, https_quic;
	uint32_t https_quic_port;      /* UDP port that visitors are told; 0: the listener's own */
	usec https_quic_max_age;       /* how long they remember it */
	struct edge_texts ports_allow; /* as port_range_parse() takes them; none: no public ports */
	struct edge_texts ports_bind;  /* IP literals; none: all addresses */

	struct edge_texts proxy_from; /* networks of load balancers, as network_parse() takes them */
	struct edge_limits limits;
	char *acme_directory; /* owned; URL; NULL: certificates are the built-in CA's */
	char *acme_email;     /* owned; NULL: none is given */
	char *acme_eab;       /* owned; as acme_binding_load() takes it; NULL: none */
	char *acme_ca_file;   /* owned; trusted for the directory; NULL: the system's roots alone */
	enum acme_challenges acme_challenge;
	bool acme_on_demand; /* ordered when somebody asks for the name */

	char *country_database; /* owned; file in the MMDB format (edge/access/countries.h); NULL: none */

	struct edge_texts dns; /* where names are resolved; none: they are elsewhere */
	/* "ns1.example.net", or "ns2.example.com=203.0.113.9" where that one's address is another; none: ns1 and
	 * ns2 of each zone. */
	struct edge_texts dns_name_servers;
	struct edge_texts
		dns_addresses; /* IP literals: what hostnames resolve to; none: see edge/dns/settings.h */
	char *dns_contact;  /* owned; e-mail; NULL: hostmaster@ZONE */
	bool dns_sign;      /* DNSSEC */
	usec dns_ttl;       /* of records that are the zones' own */
	usec dns_ds_ttl;    /* of DS records in parent zones */
	char *dns_resolver; /* owned; IP:PORT, or "off"; NULL: the system's */

	int workers;      /* at least 1 */
	char location[9]; /* what connectors and CF-Ray call this node: 1 to 8 of a-z 0-9 - */
	enum log_level log_level;
	enum log_format log_format;
	char *log_file, *log_directory; /* owned; NULL: stderr only */
	char *access_log;               /* owned; as log_access_to() takes it */
	enum edge_access_format access_format;
	usec tls_ticket_rotation;       /* 0: no session tickets */
	usec grace_period;              /* how long a drain may take */
	usec takeover_grace;            /* the same once a successor serves */
	bool takes_over;                /* `run --takeover` */
	struct launcher *launcher;      /* borrowed: who starts the successor */
	const struct seal_key *sealing; /* borrowed: opens the store, without the master key */

	enum sandbox_mode sandbox;
	struct edge_texts sandbox_read; /* further paths that may be read */
	char *user;                     /* owned; whom root becomes; NULL: nobody else */

	unsigned char source[EDGE_SETTINGS_MAX]; /* per row: default, file or flag */
};

enum edge_setting_type {
	EDGE_SETTING_ADDRESSES,    /* list; "off" alone: none */
	EDGE_SETTING_HOST_PORTS,   /* list */
	EDGE_SETTING_PORTS,        /* list of "2222", "20000-20100/udp" */
	EDGE_SETTING_TTL,          /* a duration */
	EDGE_SETTING_RESOLVER,     /* IP, IP:PORT or off */
	EDGE_SETTING_IPS,          /* list of IP literals */
	EDGE_SETTING_DNS,          /* addresses; "off" or "wildcard" alone: none */
	EDGE_SETTING_NAME_SERVERS, /* list of "NAME" or "NAME=IP" */
	EDGE_SETTING_NETWORKS,     /* list of networks, or several in one text; "off" alone: none */
	EDGE_SETTING_BYTES,        /* "512M", "2G", a number, or "off" */
	EDGE_SETTING_LIMIT,        /* a number, or "off" */
	EDGE_SETTING_TIMEOUT,      /* a duration that is not 0 */
	EDGE_SETTING_PATH,
	EDGE_SETTING_URL, /* https://host[:port] */
	EDGE_SETTING_QUIC,
	EDGE_SETTING_WORKERS,
	EDGE_SETTING_LOCATION,
	EDGE_SETTING_LOG_LEVEL,
	EDGE_SETTING_LOG_FORMAT,
	EDGE_SETTING_ACCESS_FORMAT,
	EDGE_SETTING_DURATION,
	EDGE_SETTING_SWITCH, /* on or off */
	EDGE_SETTING_SANDBOX,
	EDGE_SETTING_USER,
	EDGE_SETTING_PATHS,
	EDGE_SETTING_ACME_DIRECTORY,
	EDGE_SETTING_ACME_CHALLENGE,
	EDGE_SETTING_EMAIL,
};

struct edge_setting {
	const char *key;      /* in edge.yml; the flag is "--" and the key */
	const char *argument; /* what help calls the value: "ADDR" */
	const char *preset; /* the default, as one would write it; NULL: worked out, help says how */
	const char *help;
	enum edge_setting_type type;
	size_t offset; /* of the member */
};

const struct edge_setting *edge_settings(size_t *ret_count);

/* All defaults. `data_dir` is copied. */
void edge_config_init(struct edge_config *c, const char *data_dir);
void edge_config_done(struct edge_config *c);

/* Reads a file over the defaults. Errors say FILE:LINE:COLUMN; an unknown key is one. E_NOT_FOUND when
 * there is no such file. */
int edge_config_load(struct edge_config *c, const char *path, struct err *err);
/* One flag, `key` without dashes. Flags of one list replace what the file said, then add up.
 * E_NOT_FOUND when no setting has that name, E_INVALID for a bad value. */
int edge_config_flag(struct edge_config *c, const char *key, const char *value, struct err *err);

/* Fills in what depends on the control host and checks what only makes sense together: public_url
 * (https://HOST, and the port of the first HTTPS listener unless it is 443) and advertise (the control
 * host, or the listener's own IP when it is a loopback one, with each tunnel listener's port (without any, each
 * https listener's), repeated
 * until there are four: stock connectors open one connection per address). May be called again after a
 * change of control host. */
int edge_config_complete(struct edge_config *c, const char *control_host, struct err *err);
