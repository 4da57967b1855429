/* Every flag of every command: one table, from which the parser, the environment, the config file's keys
 * and the help come. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

enum flag_id {
	/* Everywhere. */
	FLAG_CONFIG,
	FLAG_ORIGINCERT,
	FLAG_API_URL,
	FLAG_CACERT,
	FLAG_LOGLEVEL,
	FLAG_LOGFILE,
	FLAG_LOG_DIRECTORY,
	FLAG_LOG_OUTPUT,
	FLAG_TRANSPORT_LOGLEVEL,
	FLAG_MAX_FETCH_SIZE,
	FLAG_NO_AUTOUPDATE,
	FLAG_NO_UPDATE_SERVICE,
	FLAG_AUTOUPDATE_FREQ,

	/* The connector. */
	FLAG_EDGE,
	FLAG_REGION,
	FLAG_EDGE_IP_VERSION,
	FLAG_EDGE_BIND_ADDRESS,
	FLAG_EDGE_PROXY,
	FLAG_PROTOCOL,
	FLAG_HA_CONNECTIONS,
	FLAG_RETRIES,
	FLAG_MAX_EDGE_ADDR_RETRIES,
	FLAG_RPC_TIMEOUT,
	FLAG_DIAL_EDGE_TIMEOUT,
	FLAG_GRACE_PERIOD,
	FLAG_LABEL,
	FLAG_WEIGHT,
	FLAG_BACKUP,
	FLAG_TAG,
	FLAG_FEATURES,
	FLAG_POST_QUANTUM,
	FLAG_METRICS,
	FLAG_METRICS_UPDATE_FREQ,
	FLAG_PIDFILE,
	FLAG_SANDBOX,
	FLAG_SANDBOX_READ,
	FLAG_ACCESS_LOG,
	FLAG_NO_PRECHECKS,
	FLAG_TRACE_OUTPUT,
	FLAG_MANAGEMENT_HOSTNAME,
	FLAG_MANAGEMENT_DIAGNOSTICS,
	FLAG_SERVICE_OP_IP,
	FLAG_WRITE_STREAM_TIMEOUT,
	FLAG_QUIC_DISABLE_PMTU,
	FLAG_QUIC_CONN_LIMIT,
	FLAG_QUIC_STREAM_LIMIT,
	FLAG_HEARTBEAT_INTERVAL,
	FLAG_HEARTBEAT_COUNT,
	FLAG_COMPRESSION_QUALITY,
	FLAG_USE_RECONNECT_TOKEN,
	FLAG_MAX_ACTIVE_FLOWS,
	FLAG_DNS_RESOLVER_ADDRS,
	FLAG_ICMPV4_SRC,
	FLAG_ICMPV6_SRC,

	/* One origin without rules: from FLAG_URL to FLAG_PROXY_PORT. */
	FLAG_URL,
	FLAG_HELLO_WORLD,
	FLAG_UNIX_SOCKET,
	FLAG_BASTION,
	FLAG_SOCKS5,
	FLAG_PROXY_CONNECT_TIMEOUT,
	FLAG_PROXY_TLS_TIMEOUT,
	FLAG_PROXY_TCP_KEEPALIVE,
	FLAG_PROXY_NO_HAPPY_EYEBALLS,
	FLAG_PROXY_KEEPALIVE_CONNECTIONS,
	FLAG_PROXY_KEEPALIVE_TIMEOUT,
	FLAG_PROXY_CONNECTION_TIMEOUT,
	FLAG_PROXY_EXPECT_CONTINUE_TIMEOUT,
	FLAG_HTTP_HOST_HEADER,
	FLAG_ORIGIN_SERVER_NAME,
	FLAG_ORIGIN_CA_POOL,
	FLAG_NO_TLS_VERIFY,
	FLAG_NO_CHUNKED_ENCODING,
	FLAG_HTTP2_ORIGIN,
	FLAG_MATCH_SNI_TO_HOST,
	FLAG_PROXY_ADDRESS,
	FLAG_PROXY_PORT,

	/* Credentials. */
	FLAG_CREDENTIALS_FILE,
	FLAG_CREDENTIALS_CONTENTS,
	FLAG_TOKEN,
	FLAG_TOKEN_FILE,

	/* One command each. */
	FLAG_LOGIN_URL,
	FLAG_CALLBACK_URL,
	FLAG_CREATE_SECRET,
	FLAG_RENDER,
	FLAG_LIST_SHOW_DELETED,
	FLAG_LIST_NAME,
	FLAG_LIST_NAME_PREFIX,
	FLAG_LIST_EXCLUDE_PREFIX,
	FLAG_LIST_WHEN,
	FLAG_LIST_ID,
	FLAG_LIST_SORT_BY,
	FLAG_LIST_INVERT_SORT,
	FLAG_SHOW_DISCONNECTED,
	FLAG_INFO_SORT_BY,
	FLAG_INFO_INVERT_SORT,
	FLAG_DELETE_FORCE,
	FLAG_CLEANUP_CONNECTOR,
	FLAG_OVERWRITE_DNS,
	FLAG_PASSTHROUGH,
	FLAG_PROXY_PROTOCOL,
	FLAG_PORT_COMMENT,
	FLAG_VNET,
	FLAG_FILTER_DELETED,
	FLAG_FILTER_TUNNEL,
	FLAG_FILTER_SUBSET,
	FLAG_FILTER_SUPERSET,
	FLAG_FILTER_COMMENT,
	FLAG_FILTER_VNET,
	FLAG_VNET_DEFAULT,
	FLAG_VNET_NAME,
	FLAG_VNET_COMMENT,
	FLAG_VNET_FORCE,
	FLAG_VNET_LIST_ID,
	FLAG_VNET_LIST_NAME,
	FLAG_VNET_IS_DEFAULT,
	FLAG_VNET_SHOW_DELETED,
	FLAG_INGRESS_JSON,
	FLAG_ACCESS_HOSTNAME,
	FLAG_ACCESS_DESTINATION,
	FLAG_ACCESS_URL,
	FLAG_ACCESS_HEADER,
	FLAG_ACCESS_TOKEN_ID,
	FLAG_ACCESS_TOKEN_SECRET,
	FLAG_ACCESS_CONNECT_TO,
	FLAG_ACCESS_DEBUG_STREAM,
	FLAG_ACCESS_SHORT_LIVED_CERT,
	FLAG_ACCESS_FEDRAMP,
	FLAG_ACCESS_APP,
	FLAG_ACCESS_QUIET,
	FLAG_ACCESS_NO_VERBOSE,
	FLAG_ACCESS_AUTO_CLOSE,
	FLAG_ACCESS_SEED,
	FLAG_DIAG_CONTAINER_ID,
	FLAG_DIAG_POD_ID,
	FLAG_NO_DIAG_LOGS,
	FLAG_NO_DIAG_METRICS,
	FLAG_NO_DIAG_SYSTEM,
	FLAG_NO_DIAG_RUNTIME,
	FLAG_NO_DIAG_NETWORK,
	FLAG_IMPORT_FROM,
	FLAG_IMPORT_DRY_RUN,
	FLAG_IMPORT_CREATE,
	FLAG_IMPORT_EDGE,
	FLAG_VERSION_SHORT,
	FLAG_VERSION,

	FLAG_COUNT
};

enum flag_type {
	FLAG_TEXT,
	FLAG_BOOL,
	FLAG_INT, /* not negative */
	FLAG_DURATION,
	FLAG_LIST,  /* given several times, or with commas */
	FLAG_TEXTS, /* given several times; a comma is part of the text */
};

enum flag_effect {
	FLAG_WORKS,
	FLAG_MOOT,    /* what it asks for is the case anyway */
	FLAG_NOT_YET, /* `run` says that it has no effect */
	FLAG_NEVER,   /* the same, and its help says why */
};

struct flag {
	const char *name;    /* without dashes */
	const char *aliases; /* "cred-file", "d", "np", separated by blanks; NULL: none */
	enum flag_type type;
	enum flag_effect effect;
	bool is_hidden;      /* works, but is not in the help */
	bool is_key;         /* also a key of the config file */
	bool is_secret;      /* never printed */
	const char *env;     /* names separated by blanks, the first that is set wins; NULL: none */
	const char *preset;  /* default, as text; NULL: none */
	const char *value;   /* what the help calls the value; NULL: by type */
	const char *choices; /* its values, separated by blanks, for completion; NULL: any */
	const char *help;    /* '@' stands for the program's name */
};

const struct flag *flag_get(enum flag_id id);
/* What the help calls its value: `value`, or a word for its type; "" for those that have none. */
const char *flag_value_name(enum flag_id id);
/* Is `name` the flag's name or one of its aliases? */
bool flag_is(enum flag_id id, struct bytes name);
/* Does `text` make a value of the flag's type? E_INVALID: "parse error". */
int flag_check(enum flag_id id, const char *text, struct err *err);
/* Go's strconv.ParseBool. */
bool flag_parse_bool(const char *text, bool *ret);
