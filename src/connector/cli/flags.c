#include "connector/cli/flags.h"

#include <string.h>

#include "base/check.h"
#include "config/yaml.h"

static const struct flag flags[FLAG_COUNT] = {
	[FLAG_CONFIG] = {
		.name = "config",
		.type = FLAG_TEXT,
		.value = "FILE",
		.help = "Read the configuration from FILE (YAML). Default: config.yml or "
			"config.yaml in the first of ~/.adit, /etc/adit, ~/.cloudflared, "
			"~/.cloudflare-warp, ~/cloudflare-warp, /etc/cloudflared, "
			"/usr/local/etc/cloudflared that has one.",
	},
	[FLAG_ORIGINCERT] = {
		.name = "origincert",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_ORIGIN_CERT",
		.value = "FILE",
		.help = "Path to the certificate that `@ tunnel login` fetched. Default: the "
			"first cert.pem in the same directories.",
	},
	[FLAG_API_URL] = {
		.name = "api-url",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_API_URL",
		.value = "URL",
		.help = "Base URL of the API. Default: what the certificate names, else "
			"https://api.cloudflare.com/client/v4.",
	},
	[FLAG_CACERT] = {
		.name = "cacert",
		.aliases = "ca-file",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_CACERT ADIT_CA_FILE",
		.value = "FILE",
		.help = "PEM file with the authority that signed the edge's and the API's "
			"certificates. Default: what the credentials and the certificate carry, "
			"else the system's roots.",
	},
	[FLAG_LOGLEVEL] = {
		.name = "loglevel",
		.aliases = "log-level",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_LOGLEVEL",
		.preset = "info",
		.value = "LEVEL",
		.choices = "debug info warn error fatal",
		.help = "Log this and worse: debug, info, warn, error, fatal.",
	},
	[FLAG_LOGFILE] = {
		.name = "logfile",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_LOGFILE",
		.value = "FILE",
		.help = "Also append the log to this file, as JSON lines.",
	},
	[FLAG_LOG_DIRECTORY] = {
		.name = "log-directory",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_LOGDIRECTORY",
		.value = "DIR",
		.help = "The same into DIR/adit.log, which rolls: 1 MB, and five old ones are kept. "
			"--logfile wins.",
	},
	[FLAG_LOG_OUTPUT] = {
		.name = "output",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_MANAGEMENT_OUTPUT TUNNEL_LOG_OUTPUT",
		.preset = "default",
		.value = "FORMAT",
		.choices = "default json",
		.help = "Format of the log: default or json.",
	},
	[FLAG_TRANSPORT_LOGLEVEL] = {
		.name = "transport-loglevel",
		.aliases = "proto-loglevel",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_PROTO_LOGLEVEL TUNNEL_TRANSPORT_LOGLEVEL",
		.preset = "info",
		.value = "LEVEL",
		.choices = "debug info warn error fatal",
		.help = "The same for the connections to the edge.",
	},
	[FLAG_ACCESS_LOG] = {
		.name = "access-log",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_ACCESS_LOG",
		.preset = "log",
		.value = "WHERE",
		.help = "Where a line for each request goes: log (with the log, level info), stderr, "
			"stdout, a file (as JSON lines), or off.",
	},
	[FLAG_MAX_FETCH_SIZE] = {
		.name = "max-fetch-size",
		.type = FLAG_INT,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_MAX_FETCH_SIZE",
		.help = "Ask the API for at most this many results at a time.",
	},
	[FLAG_NO_AUTOUPDATE] = {
		.name = "no-autoupdate",
		.type = FLAG_BOOL,
		.effect = FLAG_MOOT,
		.is_hidden = true,
		.is_key = true,
		.env = "NO_AUTOUPDATE",
		.help = "Accepted; @ never updates itself.",
	},
	[FLAG_NO_UPDATE_SERVICE] = {
		.name = "no-update-service",
		.type = FLAG_BOOL,
		.effect = FLAG_MOOT,
		.is_hidden = true,
		.help = "Accepted; @ never updates itself.",
	},
	[FLAG_AUTOUPDATE_FREQ] = {
		.name = "autoupdate-freq",
		.type = FLAG_DURATION,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.help = "@ never updates itself.",
	},
	[FLAG_EDGE] = {
		.name = "edge",
		.type = FLAG_LIST,
		.is_key = true,
		.env = "TUNNEL_EDGE",
		.value = "HOST:PORT",
		.help = "Address of the edge; may be given several times. Without a port it is a "
			"domain: its SRV records _adit-tunnel._tcp name the edges. Default: what "
			"the credentials carry.",
	},
	[FLAG_REGION] = {
		.name = "region",
		.type = FLAG_TEXT,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_REGION",
		.help = "Region of the stock edge, when no other is named.",
	},
	[FLAG_EDGE_IP_VERSION] = {
		.name = "edge-ip-version",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_EDGE_IP_VERSION",
		.preset = "auto",
		.value = "VERSION",
		.choices = "auto 4 6",
		.help = "IP version of connections to the edge: 4, 6, auto.",
	},
	[FLAG_EDGE_BIND_ADDRESS] = {
		.name = "edge-bind-address",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_EDGE_BIND_ADDRESS",
		.value = "IP",
		.help = "Local IP address of connections to the edge; its IP version is theirs.",
	},
	[FLAG_EDGE_PROXY] = {
		.name = "edge-proxy",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_EDGE_PROXY",
		.value = "URL",
		.help = "Reach the edge through this proxy: http://, https://, socks5:// or "
			"socks5h://HOST:PORT. A name and password in front of HOST are taken "
			"from the environment and the configuration file only. Default: "
			"HTTPS_PROXY, but for what NO_PROXY lists; none goes directly.",
	},
	[FLAG_PROTOCOL] = {
		.name = "protocol",
		.aliases = "p",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_TRANSPORT_PROTOCOL",
		.preset = "auto",
		.value = "NAME",
		.choices = "auto quic http2",
		.help = "How to speak to the edge: quic, http2, or auto: QUIC where UDP gets through, else "
			"HTTP/2.",
	},
	[FLAG_HA_CONNECTIONS] = {
		.name = "ha-connections",
		.type = FLAG_INT,
		.is_key = true,
		.preset = "4",
		.help = "Connections to the edge that are kept up.",
	},
	[FLAG_RETRIES] = {
		.name = "retries",
		.type = FLAG_INT,
		.is_key = true,
		.env = "TUNNEL_RETRIES",
		.preset = "5",
		.help = "Cap of the reconnection backoff: waits grow up to 0.1 s * 2^N, and to 1.6 s at "
			"most.",
	},
	[FLAG_MAX_EDGE_ADDR_RETRIES] = {
		.name = "max-edge-addr-retries",
		.type = FLAG_INT,
		.is_hidden = true,
		.is_key = true,
		.preset = "8",
		.help = "Has no effect: HTTP/2 is used as soon as QUIC does not answer, and QUIC again as "
			"soon as it does.",
		.effect = FLAG_NEVER,
	},
	[FLAG_RPC_TIMEOUT] = {
		.name = "rpc-timeout",
		.type = FLAG_DURATION,
		.is_hidden = true,
		.is_key = true,
		.preset = "5s",
		.help = "How long a registration may take.",
	},
	[FLAG_DIAL_EDGE_TIMEOUT] = {
		.name = "dial-edge-timeout",
		.type = FLAG_DURATION,
		.is_hidden = true,
		.is_key = true,
		.env = "DIAL_EDGE_TIMEOUT",
		.preset = "15s",
		.help = "How long a connection to the edge may take to come up.",
	},
	[FLAG_GRACE_PERIOD] = {
		.name = "grace-period",
		.type = FLAG_DURATION,
		.is_key = true,
		.env = "TUNNEL_GRACE_PERIOD",
		.preset = "30s",
		.help = "On SIGINT or SIGTERM, wait this long for requests in progress. A "
			"second signal ends the wait.",
	},
	[FLAG_LABEL] = {
		.name = "label",
		.type = FLAG_TEXT,
		.is_key = true,
		.value = "NAME",
		.help = "A name for this connector, one of its own among those of the tunnel. Visitors "
			"that belong to it find it again under it.",
	},
	[FLAG_WEIGHT] = {
		.name = "weight",
		.type = FLAG_INT,
		.is_key = true,
		.env = "TUNNEL_WEIGHT",
		.preset = "1",
		.value = "N",
		.help = "This connector's share of the tunnel's requests, beside those of the others: 1 "
			"to 1000. The edge must be adit-edge.",
	},
	[FLAG_BACKUP] = {
		.name = "backup",
		.type = FLAG_BOOL,
		.is_key = true,
		.env = "TUNNEL_BACKUP",
		.help = "Take requests only while no connector of the tunnel without --backup can. The "
			"edge must be adit-edge.",
	},
	[FLAG_TAG] = {
		.name = "tag",
		.type = FLAG_LIST,
		.is_key = true,
		.env = "TUNNEL_TAG",
		.value = "KEY=VALUE",
		.help = "Send origins the header Cf-Warp-Tag-KEY: VALUE; may be given several "
			"times.",
	},
	[FLAG_FEATURES] = {
		.name = "features",
		.aliases = "F",
		.type = FLAG_LIST,
		.is_key = true,
		.help = "Opt into features by name.",
	},
	[FLAG_POST_QUANTUM] = {
		.name = "post-quantum",
		.aliases = "pq",
		.type = FLAG_BOOL,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_POST_QUANTUM",
		.help = "Insist on a post-quantum key exchange with the edge.",
	},
	[FLAG_METRICS] = {
		.name = "metrics",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_METRICS",
		.preset = "localhost:0",
		.value = "HOST:PORT",
		.help = "Serve metrics and readiness here. localhost:0 is the first free port "
			"of 20241 to 20245, else any.",
	},
	[FLAG_METRICS_UPDATE_FREQ] = {
		.name = "metrics-update-freq",
		.type = FLAG_DURATION,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_METRICS_UPDATE_FREQ",
		.help = "How often metrics are updated.",
	},
	[FLAG_PIDFILE] = {
		.name = "pidfile",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_PIDFILE",
		.value = "FILE",
		.help = "Write the process id to this file after the first successful "
			"connection.",
	},
	[FLAG_SANDBOX] = {
		.name = "sandbox",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_SANDBOX",
		.preset = "on",
		.value = "MODE",
		.help = "on: give up every right that is not needed, as far as the kernel can; "
			"required: or do not start; off.",
	},
	[FLAG_SANDBOX_READ] = {
		.name = "sandbox-read",
		.type = FLAG_LIST,
		.is_key = true,
		.env = "TUNNEL_SANDBOX_READ",
		.value = "PATH",
		.help = "A file or folder that may be read beside those that the configuration "
			"names at the start; may be given several times.",
	},
	[FLAG_NO_PRECHECKS] = {
		.name = "no-prechecks",
		.type = FLAG_BOOL,
		.effect = FLAG_MOOT,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_NO_PRECHECKS",
		.help = "Accepted; @ makes no checks before it starts.",
	},
	[FLAG_TRACE_OUTPUT] = {
		.name = "trace-output",
		.type = FLAG_TEXT,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_TRACE_OUTPUT",
		.help = "Go trace file.",
	},
	[FLAG_MANAGEMENT_HOSTNAME] = {
		.name = "management-hostname",
		.type = FLAG_TEXT,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_MANAGEMENT_HOSTNAME",
		.help = "Host of the management service.",
	},
	[FLAG_MANAGEMENT_DIAGNOSTICS] = {
		.name = "management-diagnostics",
		.type = FLAG_BOOL,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_MANAGEMENT_DIAGNOSTICS",
		.help = "Diagnostics over the management service.",
	},
	[FLAG_SERVICE_OP_IP] = {
		.name = "service-op-ip",
		.type = FLAG_TEXT,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_SERVICE_OP_IP",
		.help = "Address used to learn the local IP.",
	},
	[FLAG_WRITE_STREAM_TIMEOUT] = {
		.name = "write-stream-timeout",
		.type = FLAG_DURATION,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_STREAM_WRITE_TIMEOUT",
		.help = "Write timeout of streams.",
	},
	[FLAG_QUIC_DISABLE_PMTU] = {
		.name = "quic-disable-pmtu-discovery",
		.type = FLAG_BOOL,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_DISABLE_QUIC_PMTU",
		.help = "QUIC path MTU discovery.",
	},
	[FLAG_QUIC_CONN_LIMIT] = {
		.name = "quic-connection-level-flow-control-limit",
		.type = FLAG_INT,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_QUIC_CONN_LEVEL_FLOW_CONTROL_LIMIT",
		.help = "QUIC flow control.",
	},
	[FLAG_QUIC_STREAM_LIMIT] = {
		.name = "quic-stream-level-flow-control-limit",
		.type = FLAG_INT,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_QUIC_STREAM_LEVEL_FLOW_CONTROL_LIMIT",
		.help = "QUIC flow control.",
	},
	[FLAG_HEARTBEAT_INTERVAL] = {
		.name = "heartbeat-interval",
		.type = FLAG_DURATION,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.help = "Old option.",
	},
	[FLAG_HEARTBEAT_COUNT] = {
		.name = "heartbeat-count",
		.type = FLAG_INT,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.help = "Old option.",
	},
	[FLAG_COMPRESSION_QUALITY] = {
		.name = "compression-quality",
		.type = FLAG_INT,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_COMPRESSION_LEVEL",
		.help = "Old option.",
	},
	[FLAG_USE_RECONNECT_TOKEN] = {
		.name = "use-reconnect-token",
		.type = FLAG_BOOL,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_USE_RECONNECT_TOKEN",
		.help = "Old option.",
	},
	[FLAG_MAX_ACTIVE_FLOWS] = {
		.name = "max-active-flows",
		.type = FLAG_INT,
		.is_key = true,
		.env = "TUNNEL_MAX_ACTIVE_FLOWS",
		.help = "Private network connections that are carried at once; more are refused. Wins over "
			"maxActiveFlows of warp-routing. 0: any number.",
	},
	[FLAG_DNS_RESOLVER_ADDRS] = {
		.name = "dns-resolver-addrs",
		.type = FLAG_LIST,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_DNS_RESOLVER_ADDRS",
		.help = "Resolvers of the private network.",
	},
	[FLAG_ICMPV4_SRC] = {
		.name = "icmpv4-src",
		.type = FLAG_TEXT,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_ICMPV4_SRC",
		.help = "Source of ICMP messages.",
	},
	[FLAG_ICMPV6_SRC] = {
		.name = "icmpv6-src",
		.type = FLAG_TEXT,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_ICMPV6_SRC",
		.help = "Source of ICMP messages.",
	},
	[FLAG_URL] = {
		.name = "url",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_URL",
		.value = "URL",
		.help = "Proxy every request to this local service; only without ingress rules.",
	},
	[FLAG_HELLO_WORLD] = {
		.name = "hello-world",
		.type = FLAG_BOOL,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_HELLO_WORLD",
		.help = "Serve a built-in page.",
	},
	[FLAG_UNIX_SOCKET] = {
		.name = "unix-socket",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_UNIX_SOCKET",
		.value = "PATH",
		.help = "Proxy every request to the HTTP service on this Unix socket.",
	},
	[FLAG_BASTION] = {
		.name = "bastion",
		.type = FLAG_BOOL,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_BASTION",
		.help = "Be a jump host.",
	},
	[FLAG_SOCKS5] = {
		.name = "socks5",
		.type = FLAG_BOOL,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_SOCKS",
		.help = "Be a SOCKS5 server.",
	},
	[FLAG_PROXY_CONNECT_TIMEOUT] = {
		.name = "proxy-connect-timeout",
		.type = FLAG_DURATION,
		.is_key = true,
		.preset = "30s",
		.help = "With --url: timeout of a new connection.",
	},
	[FLAG_PROXY_TLS_TIMEOUT] = {
		.name = "proxy-tls-timeout",
		.type = FLAG_DURATION,
		.is_key = true,
		.preset = "10s",
		.help = "With --url: timeout of a TLS handshake.",
	},
	[FLAG_PROXY_TCP_KEEPALIVE] = {
		.name = "proxy-tcp-keepalive",
		.type = FLAG_DURATION,
		.is_key = true,
		.preset = "30s",
		.help = "With --url: interval of TCP keep-alive probes.",
	},
	[FLAG_PROXY_NO_HAPPY_EYEBALLS] = {
		.name = "proxy-no-happy-eyeballs",
		.type = FLAG_BOOL,
		.is_key = true,
		.help = "With --url: do not race IPv4 and IPv6.",
	},
	[FLAG_PROXY_KEEPALIVE_CONNECTIONS] = {
		.name = "proxy-keepalive-connections",
		.type = FLAG_INT,
		.is_key = true,
		.preset = "100",
		.help = "With --url: idle connections kept.",
	},
	[FLAG_PROXY_KEEPALIVE_TIMEOUT] = {
		.name = "proxy-keepalive-timeout",
		.type = FLAG_DURATION,
		.is_key = true,
		.preset = "1m30s",
		.help = "With --url: how long they are kept.",
	},
	[FLAG_PROXY_CONNECTION_TIMEOUT] = {
		.name = "proxy-connection-timeout",
		.type = FLAG_DURATION,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.help = "Old option.",
	},
	[FLAG_PROXY_EXPECT_CONTINUE_TIMEOUT] = {
		.name = "proxy-expect-continue-timeout",
		.type = FLAG_DURATION,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.help = "Old option.",
	},
	[FLAG_HTTP_HOST_HEADER] = {
		.name = "http-host-header",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_HTTP_HOST_HEADER",
		.value = "HOST",
		.help = "With --url: the Host header sent to the service.",
	},
	[FLAG_ORIGIN_SERVER_NAME] = {
		.name = "origin-server-name",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_ORIGIN_SERVER_NAME",
		.value = "NAME",
		.help = "With --url: the name in the service's certificate.",
	},
	[FLAG_ORIGIN_CA_POOL] = {
		.name = "origin-ca-pool",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_ORIGIN_CA_POOL",
		.value = "FILE",
		.help = "With --url: PEM file with the authority of the service's certificate.",
	},
	[FLAG_NO_TLS_VERIFY] = {
		.name = "no-tls-verify",
		.type = FLAG_BOOL,
		.is_key = true,
		.env = "NO_TLS_VERIFY",
		.help = "With --url: accept any certificate of the service.",
	},
	[FLAG_NO_CHUNKED_ENCODING] = {
		.name = "no-chunked-encoding",
		.type = FLAG_BOOL,
		.is_key = true,
		.env = "TUNNEL_NO_CHUNKED_ENCODING",
		.help = "With --url: no chunked bodies to the service.",
	},
	[FLAG_HTTP2_ORIGIN] = {
		.name = "http2-origin",
		.type = FLAG_BOOL,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_ORIGIN_ENABLE_HTTP2",
		.help = "HTTP/2 to the service.",
	},
	[FLAG_MATCH_SNI_TO_HOST] = {
		.name = "match-sni-to-host",
		.type = FLAG_BOOL,
		.is_hidden = true,
		.is_key = true,
		.help = "SNI of the request's host.",
	},
	[FLAG_PROXY_ADDRESS] = {
		.name = "proxy-address",
		.type = FLAG_TEXT,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_PROXY_ADDRESS",
		.help = "Old option.",
	},
	[FLAG_PROXY_PORT] = {
		.name = "proxy-port",
		.type = FLAG_INT,
		.effect = FLAG_NOT_YET,
		.is_hidden = true,
		.is_key = true,
		.env = "TUNNEL_PROXY_PORT",
		.help = "Old option.",
	},
	[FLAG_CREDENTIALS_FILE] = {
		.name = "credentials-file",
		.aliases = "cred-file",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_CRED_FILE",
		.value = "FILE",
		.help = "File of the tunnel's credentials, to read or to write.",
	},
	[FLAG_CREDENTIALS_CONTENTS] = {
		.name = "credentials-contents",
		.type = FLAG_TEXT,
		.is_key = true,
		.is_secret = true,
		.env = "TUNNEL_CRED_CONTENTS",
		.value = "JSON",
		.help = "The credentials themselves, as JSON; wins over the file. Better given "
			"in the environment, where other users do not see it.",
	},
	[FLAG_TOKEN] = {
		.name = "token",
		.type = FLAG_TEXT,
		.is_key = true,
		.is_secret = true,
		.env = "TUNNEL_TOKEN",
		.value = "TOKEN",
		.help = "Token of the tunnel; wins over --token-file and credentials. Better "
			"given in the environment or a file, where other users do not see it.",
	},
	[FLAG_TOKEN_FILE] = {
		.name = "token-file",
		.type = FLAG_TEXT,
		.is_key = true,
		.env = "TUNNEL_TOKEN_FILE",
		.value = "FILE",
		.help = "File with the token; wins over credentials.",
	},
	[FLAG_LOGIN_URL] = {
		.name = "loginURL",
		.type = FLAG_TEXT,
		.value = "URL",
		.help = "Page to log in at: https://adit.example.com. Remembered for the next "
			"login.",
	},
	[FLAG_CALLBACK_URL] = {
		.name = "callbackURL",
		.type = FLAG_TEXT,
		.value = "URL",
		.help = "Where the certificate is fetched from. Default: /login/ beside the "
			"login page.",
	},
	[FLAG_CREATE_SECRET] = {
		.name = "secret",
		.aliases = "s",
		.type = FLAG_TEXT,
		.is_secret = true,
		.env = "TUNNEL_CREATE_SECRET",
		.value = "BASE64",
		.help = "Base64 of at least 32 bytes to use as the tunnel's secret. Default: "
			"random.",
	},
	[FLAG_RENDER] = {
		.name = "output",
		.aliases = "o",
		.type = FLAG_TEXT,
		.value = "FORMAT",
		.choices = "json yaml",
		.help = "Print as json or yaml.",
	},
	[FLAG_LIST_SHOW_DELETED] = {
		.name = "show-deleted",
		.aliases = "d",
		.type = FLAG_BOOL,
		.help = "Include deleted tunnels.",
	},
	[FLAG_LIST_NAME] = {
		.name = "name",
		.aliases = "n",
		.type = FLAG_TEXT,
		.help = "Only the tunnel of this name.",
	},
	[FLAG_LIST_NAME_PREFIX] = {
		.name = "name-prefix",
		.aliases = "np",
		.type = FLAG_TEXT,
		.value = "PREFIX",
		.help = "Only tunnels whose name begins so.",
	},
	[FLAG_LIST_EXCLUDE_PREFIX] = {
		.name = "exclude-name-prefix",
		.aliases = "enp",
		.type = FLAG_TEXT,
		.value = "PREFIX",
		.help = "Only tunnels whose name does not begin so.",
	},
	[FLAG_LIST_WHEN] = {
		.name = "when",
		.aliases = "w",
		.type = FLAG_TEXT,
		.value = "TIME",
		.help = "Only tunnels that existed at this time (RFC 3339).",
	},
	[FLAG_LIST_ID] = {
		.name = "id",
		.aliases = "i",
		.type = FLAG_TEXT,
		.value = "UUID",
		.help = "Only the tunnel with this UUID.",
	},
	[FLAG_LIST_SORT_BY] = {
		.name = "sort-by",
		.type = FLAG_TEXT,
		.env = "TUNNEL_LIST_SORT_BY",
		.preset = "name",
		.value = "FIELD",
		.help = "Sort by name, id, createdAt, deletedAt or numConnections.",
	},
	[FLAG_LIST_INVERT_SORT] = {
		.name = "invert-sort",
		.type = FLAG_BOOL,
		.env = "TUNNEL_LIST_INVERT_SORT",
		.help = "Turn the order round.",
	},
	[FLAG_SHOW_DISCONNECTED] = {
		.name = "show-recently-disconnected",
		.aliases = "rd",
		.type = FLAG_BOOL,
		.help = "Include connections that were lost a moment ago.",
	},
	[FLAG_INFO_SORT_BY] = {
		.name = "sort-by",
		.type = FLAG_TEXT,
		.env = "TUNNEL_INFO_SORT_BY",
		.preset = "createdAt",
		.value = "FIELD",
		.help = "Sort by id, createdAt, numConnections or version.",
	},
	[FLAG_INFO_INVERT_SORT] = {
		.name = "invert-sort",
		.type = FLAG_BOOL,
		.env = "TUNNEL_INFO_INVERT_SORT",
		.help = "Turn the order round.",
	},
	[FLAG_DELETE_FORCE] = {
		.name = "force",
		.aliases = "f",
		.type = FLAG_BOOL,
		.env = "TUNNEL_RUN_FORCE_OVERWRITE",
		.help = "Delete the tunnel even if it is connected or has routes.",
	},
	[FLAG_CLEANUP_CONNECTOR] = {
		.name = "connector-id",
		.aliases = "c",
		.type = FLAG_TEXT,
		.env = "TUNNEL_CLEANUP_CONNECTOR",
		.value = "UUID",
		.help = "Only the connections of this connector; `@ tunnel info` shows the ids.",
	},
	[FLAG_OVERWRITE_DNS] = {
		.name = "overwrite-dns",
		.aliases = "f",
		.type = FLAG_BOOL,
		.env = "TUNNEL_FORCE_PROVISIONING_DNS",
		.help = "Take the hostname over if it points elsewhere.",
	},
	[FLAG_PASSTHROUGH] = {
		.name = "passthrough",
		.type = FLAG_BOOL,
		.env = "TUNNEL_PASSTHROUGH",
		.help = "TLS ends at the connector (`tls` of its rule) or at the service: the edge passes the bytes on\n"
			"and never sees what is in them. --passthrough=false takes it back.",
	},
	[FLAG_PROXY_PROTOCOL] = {
		.name = "proxy-protocol",
		.type = FLAG_TEXT,
		.value = "v2",
		.choices = "v1 v2",
		.help = "Tell the service the visitor's address in a PROXY header.",
	},
	[FLAG_PORT_COMMENT] = {
		.name = "comment",
		.type = FLAG_TEXT,
		.value = "TEXT",
		.help = "A note for people.",
	},
	[FLAG_VNET] = {
		.name = "vnet",
		.aliases = "vn",
		.type = FLAG_TEXT,
		.value = "NAME",
		.help = "The virtual network, by name or id. Default: the account's default one.",
	},
	[FLAG_FILTER_DELETED] = {
		.name = "filter-is-deleted",
		.type = FLAG_BOOL,
		.help = "Only deleted routes, not only living ones.",
	},
	[FLAG_FILTER_TUNNEL] = {
		.name = "filter-tunnel-id",
		.type = FLAG_TEXT,
		.value = "UUID",
		.help = "Only routes to this tunnel.",
	},
	[FLAG_FILTER_SUBSET] = {
		.name = "filter-network-is-subset-of",
		.aliases = "nsub",
		.type = FLAG_TEXT,
		.value = "CIDR",
		.help = "Only routes of networks inside this one.",
	},
	[FLAG_FILTER_SUPERSET] = {
		.name = "filter-network-is-superset-of",
		.aliases = "nsup",
		.type = FLAG_TEXT,
		.value = "CIDR",
		.help = "Only routes of networks that this one is inside of.",
	},
	[FLAG_FILTER_COMMENT] = {
		.name = "filter-comment-is",
		.type = FLAG_TEXT,
		.value = "TEXT",
		.help = "Only routes with this comment.",
	},
	[FLAG_FILTER_VNET] = {
		.name = "filter-vnet-id",
		.type = FLAG_TEXT,
		.value = "UUID",
		.help = "Only routes of this virtual network.",
	},
	[FLAG_VNET_DEFAULT] = {
		.name = "default",
		.aliases = "d",
		.type = FLAG_BOOL,
		.help = "Make it the default one, which is meant where none is named.",
	},
	[FLAG_VNET_NAME] = {
		.name = "name",
		.aliases = "n",
		.type = FLAG_TEXT,
		.help = "Its new name.",
	},
	[FLAG_VNET_COMMENT] = {
		.name = "comment",
		.aliases = "c",
		.type = FLAG_TEXT,
		.value = "TEXT",
		.help = "Its new comment.",
	},
	[FLAG_VNET_FORCE] = {
		.name = "force",
		.aliases = "f",
		.type = FLAG_BOOL,
		.help = "Delete it with the routes in it.",
	},
	[FLAG_VNET_LIST_ID] = {
		.name = "id",
		.type = FLAG_TEXT,
		.value = "UUID",
		.help = "Only the one with this id.",
	},
	[FLAG_VNET_LIST_NAME] = {
		.name = "name",
		.type = FLAG_TEXT,
		.help = "Only those of this name.",
	},
	[FLAG_VNET_IS_DEFAULT] = {
		.name = "is-default",
		.type = FLAG_BOOL,
		.help = "Only the default one; with =false only the others.",
	},
	[FLAG_VNET_SHOW_DELETED] = {
		.name = "show-deleted",
		.type = FLAG_BOOL,
		.help = "Only deleted ones, not only living ones.",
	},
	[FLAG_DIAG_CONTAINER_ID] = {
		.name = "diag-container-id",
		.type = FLAG_TEXT,
		.value = "ID",
		.help = "Take the log from this container: its id or name.",
	},
	[FLAG_DIAG_POD_ID] = {
		.name = "diag-pod-id",
		.type = FLAG_TEXT,
		.value = "POD",
		.help = "Take the log from this Kubernetes pod.",
	},
	[FLAG_NO_DIAG_LOGS] = {
		.name = "no-diag-logs",
		.type = FLAG_BOOL,
		.help = "Leave the log out.",
	},
	[FLAG_NO_DIAG_METRICS] = {
		.name = "no-diag-metrics",
		.type = FLAG_BOOL,
		.help = "Leave the metrics out.",
	},
	[FLAG_NO_DIAG_SYSTEM] = {
		.name = "no-diag-system",
		.type = FLAG_BOOL,
		.help = "Leave the description of the machine out.",
	},
	[FLAG_NO_DIAG_RUNTIME] = {
		.name = "no-diag-runtime",
		.type = FLAG_BOOL,
		.effect = FLAG_MOOT,
		.is_hidden = true,
		.help = "There is no runtime whose profiles would be collected.",
	},
	[FLAG_NO_DIAG_NETWORK] = {
		.name = "no-diag-network",
		.type = FLAG_BOOL,
		.help = "Do not try the edge and the services, nor trace the way to the edge.",
	},
	[FLAG_INGRESS_JSON] = {
		.name = "json",
		.aliases = "j",
		.type = FLAG_TEXT,
		.env = "TUNNEL_INGRESS_VALIDATE_JSON",
		.value = "JSON",
		.help = "Take the configuration from this JSON, not from a file.",
	},
	[FLAG_ACCESS_HOSTNAME] = {
		.name = "hostname",
		.aliases = "tunnel-host T",
		.type = FLAG_TEXT,
		.env = "TUNNEL_SERVICE_HOSTNAME",
		.value = "HOST",
		.help = "The hostname of the application, with a port if it is not 443.",
	},
	[FLAG_ACCESS_DESTINATION] = {
		.name = "destination",
		.type = FLAG_TEXT,
		.env = "TUNNEL_SERVICE_DESTINATION",
		.value = "HOST:PORT",
		.help = "Behind a bastion: the machine to reach from there. Without --hostname: an IP "
			"address in a private network that `@ tunnel route ip` leads to.",
	},
	[FLAG_ACCESS_URL] = {
		.name = "url",
		.aliases = "listener L",
		.type = FLAG_TEXT,
		.env = "TUNNEL_SERVICE_URL",
		.value = "HOST:PORT",
		.help = "Listen here (or at unix:/PATH) and carry each connection. Without it standard "
			"input and output are carried.",
	},
	[FLAG_ACCESS_HEADER] = {
		.name = "header",
		.aliases = "H",
		.type = FLAG_TEXTS,
		.value = "\"NAME: VALUE\"",
		.help = "Send this header too; may be repeated.",
	},
	[FLAG_ACCESS_TOKEN_ID] = {
		.name = "service-token-id",
		.aliases = "id",
		.type = FLAG_TEXT,
		.env = "TUNNEL_SERVICE_TOKEN_ID",
		.value = "ID",
		.help = "Client ID of a service token that lets you in.",
	},
	[FLAG_ACCESS_TOKEN_SECRET] = {
		.name = "service-token-secret",
		.aliases = "secret",
		.type = FLAG_TEXT,
		.is_secret = true,
		.env = "TUNNEL_SERVICE_TOKEN_SECRET",
		.value = "SECRET",
		.help = "Its client secret; better in the environment, where nobody sees it.",
	},
	[FLAG_ACCESS_CONNECT_TO] = {
		.name = "connect-to",
		.type = FLAG_TEXT,
		.is_hidden = true,
		.value = "PLACE",
		.help = "Connect elsewhere, for tests: HOST, HOST:PORT or SNI:PORT:HOST. The certificate "
			"there has to be for the application's hostname, or for SNI.",
	},
	[FLAG_ACCESS_DEBUG_STREAM] = {
		.name = "debug-stream",
		.type = FLAG_TEXT,
		.is_hidden = true,
		.help = "Refused: @ does not log what it carries.",
	},
	[FLAG_ACCESS_SHORT_LIVED_CERT] = {
		.name = "short-lived-cert",
		.type = FLAG_BOOL,
		.help = "With certificates that hold for minutes, which `@ access ssh-gen` fetches.",
	},
	[FLAG_ACCESS_FEDRAMP] = {
		.name = "fedramp",
		.type = FLAG_BOOL,
		.is_hidden = true,
		.help = "Refused: it chooses another store of Cloudflare's, and your edge has its own.",
	},
	[FLAG_ACCESS_APP] = {
		.name = "app",
		.type = FLAG_TEXT,
		.value = "URL",
		.help = "The application; then nothing but its token is printed.",
	},
	[FLAG_ACCESS_QUIET] = {
		.name = "quiet",
		.aliases = "q",
		.type = FLAG_BOOL,
		.help = "Do not print the token.",
	},
	[FLAG_ACCESS_NO_VERBOSE] = {
		.name = "no-verbose",
		.type = FLAG_BOOL,
		.help = "Print nothing but the token, without a line break.",
	},
	[FLAG_ACCESS_AUTO_CLOSE] = {
		.name = "auto-close",
		.type = FLAG_BOOL,
		.help = "Ask the browser's page to close itself when all is done.",
	},
	[FLAG_ACCESS_SEED] = {
		.name = "seed-cloudflared",
		.type = FLAG_BOOL,
		.help = "Put what is known into ~/.cloudflared, too, so that a stock cloudflared is signed in.",
	},
	[FLAG_IMPORT_FROM] = {
		.name = "from",
		.type = FLAG_TEXT,
		.value = "DIR",
		.help = "Look into this folder alone, and at no service of this machine.",
	},
	[FLAG_IMPORT_DRY_RUN] = {
		.name = "dry-run",
		.type = FLAG_BOOL,
		.help = "Write nothing; say what would be written.",
	},
	[FLAG_IMPORT_CREATE] = {
		.name = "create",
		.type = FLAG_BOOL,
		.help = "Run the commands that create the tunnel at your edge and route its hostnames.",
	},
	[FLAG_IMPORT_EDGE] = {
		.name = "edge",
		.type = FLAG_TEXT,
		.value = "URL",
		.help = "Your edge, as `@ tunnel login` takes it.",
	},
	[FLAG_VERSION_SHORT] = {
		.name = "short",
		.aliases = "s",
		.type = FLAG_BOOL,
		.help = "Print only the version.",
	},
	[FLAG_VERSION] = {
		.name = "version",
		.aliases = "v V",
		.type = FLAG_BOOL,
		.help = "Print the version.",
	},
};

const struct flag *flag_get(enum flag_id id)
{
	BUG_IF((unsigned)id >= FLAG_COUNT);
	return &flags[id];
}

const char *flag_value_name(enum flag_id id)
{
	static const char *const by_type[] = {
		[FLAG_TEXT] = "TEXT",     [FLAG_BOOL] = "",     [FLAG_INT] = "NUMBER",
		[FLAG_DURATION] = "TIME", [FLAG_LIST] = "NAME", [FLAG_TEXTS] = "TEXT",
	};
	const struct flag *flag = flag_get(id);

	return flag->value ? flag->value : by_type[flag->type];
}

bool flag_is(enum flag_id id, struct bytes name)
{
	const struct flag *flag = flag_get(id);
	struct bytes aliases = bytes_str(flag->aliases), alias;

	if (bytes_eq(bytes_str(flag->name), name))
		return true;
	while (bytes_split(&aliases, ' ', &alias))
		if (bytes_eq(alias, name))
			return true;
	return false;
}

bool flag_parse_bool(const char *text, bool *ret)
{
	static const char *const words[2][6] = {
		{ "0", "f", "F", "FALSE", "false", "False" },
		{ "1", "t", "T", "TRUE", "true", "True" },
	};

	for (size_t value = 0; value < 2; value++) {
		for (size_t i = 0; i < ARRAY_LEN(words[value]); i++) {
			if (strcmp(text, words[value][i]) == 0) {
				*ret = value == 1;
				return true;
			}
		}
	}
	return false;
}

int flag_check(enum flag_id id, const char *text, struct err *err)
{
	usec duration;
	uint64_t number;
	bool flag, ok = true;

	switch (flag_get(id)->type) {
	case FLAG_BOOL:
		ok = flag_parse_bool(text, &flag);
		break;
	case FLAG_INT:
		ok = bytes_to_u64(bytes_str(text), &number) && number <= INT32_MAX;
		break;
	case FLAG_DURATION:
		ok = duration_parse(bytes_str(text), &duration) && duration >= 0;
		break;
	case FLAG_TEXT:
	case FLAG_LIST:
	case FLAG_TEXTS:
		break;
	}
	return ok ? 0 : err_set(err, E_INVALID, "parse error");
}
