/* The table of commands. */
#include "connector/cli/cli.h"

#define FLAGS(...)                                      \
	.flags = (const enum flag_id[]){ __VA_ARGS__ }, \
	.flag_count = sizeof((const enum flag_id[]){ __VA_ARGS__ }) / sizeof(enum flag_id)
#define CHILDREN(...)                               \
	.children = (const struct command *const[]) \
	{                                           \
		__VA_ARGS__, NULL                   \
	}

#define CONNECTOR_FLAGS                                                                         \
	FLAG_EDGE, FLAG_REGION, FLAG_EDGE_IP_VERSION, FLAG_EDGE_BIND_ADDRESS, FLAG_EDGE_PROXY,  \
		FLAG_PROTOCOL, FLAG_HA_CONNECTIONS, FLAG_RETRIES, FLAG_MAX_EDGE_ADDR_RETRIES,   \
		FLAG_RPC_TIMEOUT, FLAG_DIAL_EDGE_TIMEOUT, FLAG_GRACE_PERIOD, FLAG_LABEL,        \
		FLAG_WEIGHT, FLAG_BACKUP, FLAG_TAG, FLAG_FEATURES, FLAG_POST_QUANTUM,           \
		FLAG_METRICS, FLAG_METRICS_UPDATE_FREQ, FLAG_PIDFILE, FLAG_SANDBOX,             \
		FLAG_SANDBOX_READ, FLAG_ACCESS_LOG, FLAG_NO_PRECHECKS, FLAG_TRACE_OUTPUT,       \
		FLAG_MANAGEMENT_HOSTNAME, FLAG_MANAGEMENT_DIAGNOSTICS, FLAG_SERVICE_OP_IP,      \
		FLAG_WRITE_STREAM_TIMEOUT, FLAG_QUIC_DISABLE_PMTU, FLAG_QUIC_CONN_LIMIT,        \
		FLAG_QUIC_STREAM_LIMIT, FLAG_HEARTBEAT_INTERVAL, FLAG_HEARTBEAT_COUNT,          \
		FLAG_COMPRESSION_QUALITY, FLAG_USE_RECONNECT_TOKEN, FLAG_URL, FLAG_HELLO_WORLD, \
		FLAG_UNIX_SOCKET, FLAG_BASTION, FLAG_SOCKS5, FLAG_PROXY_CONNECT_TIMEOUT,        \
		FLAG_PROXY_TLS_TIMEOUT, FLAG_PROXY_TCP_KEEPALIVE, FLAG_PROXY_NO_HAPPY_EYEBALLS, \
		FLAG_PROXY_KEEPALIVE_CONNECTIONS, FLAG_PROXY_KEEPALIVE_TIMEOUT,                 \
		FLAG_PROXY_CONNECTION_TIMEOUT, FLAG_PROXY_EXPECT_CONTINUE_TIMEOUT,              \
		FLAG_HTTP_HOST_HEADER, FLAG_ORIGIN_SERVER_NAME, FLAG_ORIGIN_CA_POOL,            \
		FLAG_NO_TLS_VERIFY, FLAG_NO_CHUNKED_ENCODING, FLAG_HTTP2_ORIGIN,                \
		FLAG_MATCH_SNI_TO_HOST, FLAG_PROXY_ADDRESS, FLAG_PROXY_PORT

static const struct command version_command = {
	.name = "version",
	.summary = "Print the version",
	.usage = "[--short]",
	FLAGS(FLAG_VERSION_SHORT),
	.run = cmd_version,
};

#define LOGIN_COMMAND                                                                                \
	.name = "login", .summary = "Log in, and fetch the certificate that creates tunnels",        \
	.usage = "[options] [URL]",                                                                  \
	.description =                                                                               \
		"Opens the edge's login page in a browser, or prints its address where there is\n"   \
		"none. Once the request is approved there, the certificate is written to\n"          \
		"~/.adit/cert.pem. It names the edge and the API, so that no other command needs\n"  \
		"to be told.\n\n"                                                                    \
		"  $ @ tunnel login https://adit.example.com\n\n"                                    \
		"If the edge's own certificate comes from a private authority, give its file with\n" \
		"--cacert.",                                                                         \
	FLAGS(FLAG_LOGIN_URL, FLAG_CALLBACK_URL), .run = cmd_login

static const struct command login_command = { LOGIN_COMMAND };
static const struct command top_login_command = { LOGIN_COMMAND, .is_hidden = true };

static const struct command create_command = {
	.name = "create",
	.summary = "Create a new tunnel with given name",
	.usage = "[options] NAME",
	.description =
		"Creates a tunnel and writes the credentials that run it to <UUID>.json beside the\n"
		"certificate. `@ tunnel route dns` gives it a hostname, `@ tunnel run` starts it.\n\n"
		"  $ @ tunnel create my-tunnel",
	FLAGS(FLAG_RENDER, FLAG_CREDENTIALS_FILE, FLAG_CREATE_SECRET),
	.reads_config = true,
	.run = cmd_create,
};

static const struct command list_command = {
	.name = "list",
	.summary = "List existing tunnels",
	.usage = "[options]",
	.description = "Shows the tunnels that exist, when they were created and their connections.",
	FLAGS(FLAG_RENDER, FLAG_LIST_SHOW_DELETED, FLAG_LIST_NAME, FLAG_LIST_NAME_PREFIX,
	      FLAG_LIST_EXCLUDE_PREFIX, FLAG_LIST_WHEN, FLAG_LIST_ID, FLAG_SHOW_DISCONNECTED,
	      FLAG_LIST_SORT_BY, FLAG_LIST_INVERT_SORT),
	.reads_config = true,
	.run = cmd_list,
};

static const struct command info_command = {
	.name = "info",
	.summary = "List details about the active connectors for a tunnel",
	.usage = "[options] TUNNEL",
	.description = "Shows the connectors of a tunnel, which is given by name or UUID.",
	FLAGS(FLAG_RENDER, FLAG_SHOW_DISCONNECTED, FLAG_INFO_SORT_BY, FLAG_INFO_INVERT_SORT),
	.reads_config = true,
	.run = cmd_info,
};

static const struct command delete_command = {
	.name = "delete",
	.summary = "Delete existing tunnels by UUID or name",
	.usage = "[options] TUNNEL...",
	.description =
		"Deletes tunnels, and their credentials files where they are found. A tunnel with\n"
		"active connections is only deleted with --force.",
	FLAGS(FLAG_CREDENTIALS_FILE, FLAG_DELETE_FORCE),
	.reads_config = true,
	.run = cmd_delete,
};

static const struct command cleanup_command = {
	.name = "cleanup",
	.summary = "Cleanup tunnel connections",
	.usage = "[options] TUNNEL...",
	.description = "Ends the connections of tunnels, which are given by name or UUID.",
	FLAGS(FLAG_CLEANUP_CONNECTOR),
	.reads_config = true,
	.run = cmd_cleanup,
};

static const struct command token_command = {
	.name = "token",
	.summary = "Fetch the token for an existing tunnel (by name or UUID) that allows to run it",
	.usage = "[options] TUNNEL",
	.description =
		"Prints what `@ tunnel run --token` takes. With --credentials-file it is written as\n"
		"a credentials file instead.",
	FLAGS(FLAG_CREDENTIALS_FILE),
	.reads_config = true,
	.run = cmd_token,
};

static const struct command route_dns_command = {
	.name = "dns",
	.summary = "Route a hostname to a tunnel",
	.usage = "[options] TUNNEL HOSTNAME",
	.description = "Makes requests for the hostname go to the tunnel.",
	FLAGS(FLAG_OVERWRITE_DNS, FLAG_PASSTHROUGH),
	.reads_config = true,
	.run = cmd_route_dns,
};

static const struct command route_ip_add_command = {
	.name = "add",
	.summary = "Add a network to the routing table",
	.usage = "[options] CIDR TUNNEL [COMMENT]",
	.description =
		"Addresses in the network become reachable through the tunnel, for whoever asks the edge\n"
		"with a certificate of this account; its connectors have to allow it (`warp-routing`).\n"
		"Of networks that overlap the smallest wins.\n\n"
		"  $ @ tunnel route ip add 10.0.0.0/24 my-tunnel \"the office\"\n"
		"  $ @ access tcp --destination 10.0.0.5:5432 --url localhost:5432",
	FLAGS(FLAG_VNET),
	.reads_config = true,
	.run = cmd_route_ip_add,
};

static const struct command route_ip_show_command = {
	.name = "show",
	.aliases = "list",
	.summary = "Show the routing table",
	.usage = "[options]",
	.description = "Shows which networks are routed to which tunnels.",
	FLAGS(FLAG_RENDER, FLAG_FILTER_DELETED, FLAG_FILTER_TUNNEL, FLAG_FILTER_SUBSET,
	      FLAG_FILTER_SUPERSET, FLAG_FILTER_COMMENT, FLAG_FILTER_VNET),
	.reads_config = true,
	.run = cmd_route_ip_show,
};

static const struct command route_ip_delete_command = {
	.name = "delete",
	.summary = "Delete a row of the routing table",
	.usage = "[options] ID|CIDR",
	.description = "The network is no longer reached through its tunnel.",
	FLAGS(FLAG_VNET),
	.reads_config = true,
	.run = cmd_route_ip_delete,
};

static const struct command route_ip_get_command = {
	.name = "get",
	.summary = "Check which row of the routing table an address takes",
	.usage = "[options] IP",
	.description = "Shows the route of the smallest network that holds the address.",
	FLAGS(FLAG_VNET),
	.reads_config = true,
	.run = cmd_route_ip_get,
};

static const struct command route_ip_command = {
	.name = "ip",
	.summary = "Route private networks to tunnels",
	.usage = "COMMAND",
	.description =
		"Addresses of a private network are reached through a tunnel, without a hostname:\n\n"
		"  $ @ tunnel route ip add 10.0.0.0/24 my-tunnel\n"
		"  $ @ access tcp --destination 10.0.0.5:5432 --url localhost:5432\n\n"
		"Where two places use the same addresses, `@ tunnel vnet` keeps them apart.",
	CHILDREN(&route_ip_add_command, &route_ip_show_command, &route_ip_delete_command,
		 &route_ip_get_command),
};

static const struct command route_port_list_command = {
	.name = "list",
	.aliases = "show",
	.summary = "List the public ports of the account's tunnels",
	.usage = "[options]",
	.description = "Shows where each leads, and whether the edge could open it.",
	FLAGS(FLAG_RENDER),
	.reads_config = true,
	.run = cmd_route_port_list,
};

static const struct command route_port_delete_command = {
	.name = "delete",
	.summary = "Close a public port",
	.usage = "[options] ID|tcp://:PORT|udp://:PORT",
	.description =
		"Nobody can connect to it any more. Connections that are open go on until they end.",
	.reads_config = true,
	.run = cmd_route_port_delete,
};

static const struct command route_port_command = {
	.name = "port",
	.summary = "Route a public TCP or UDP port of the edge to a tunnel",
	.usage = "[options] TUNNEL tcp://:PORT|udp://:PORT SERVICE",
	.description =
		"What arrives at that port of the edge goes to SERVICE: a hostname of the connector's\n"
		"ingress rules, or an IP address and port behind it (`warp-routing`). The edge's operator\n"
		"has to allow the port (`ports-allow` in its edge.yml). UDP needs a connector over QUIC.\n\n"
		"  $ @ tunnel route port my-tunnel tcp://:2222 ssh.example.com\n"
		"  $ @ tunnel route port my-tunnel udp://:53 10.0.0.5:53\n"
		"  $ @ tunnel route port --proxy-protocol v2 my-tunnel tcp://:25 mail.example.com",
	FLAGS(FLAG_PROXY_PROTOCOL, FLAG_PORT_COMMENT),
	.reads_config = true,
	.run = cmd_route_port,
	CHILDREN(&route_port_list_command, &route_port_delete_command),
};

static const struct command route_command = {
	.name = "route",
	.summary = "Define which traffic is routed to a tunnel",
	.usage = "COMMAND",
	.description = "To route a hostname to a tunnel:\n"
		       "  $ @ tunnel route dns <tunnel ID or name> <hostname>\n\n"
		       "To route a private network to a tunnel:\n"
		       "  $ @ tunnel route ip add <CIDR> <tunnel ID or name>\n\n"
		       "To route a public TCP or UDP port to a tunnel:\n"
		       "  $ @ tunnel route port <tunnel ID or name> tcp://:<port> <service>",
	CHILDREN(&route_dns_command, &route_ip_command, &route_port_command),
};

static const struct command vnet_add_command = {
	.name = "add",
	.summary = "Add a virtual network",
	.usage = "[options] NAME [COMMENT]",
	.description = "Routes are then added to it with `@ tunnel route ip add --vnet NAME`.",
	FLAGS(FLAG_VNET_DEFAULT),
	.reads_config = true,
	.run = cmd_vnet_add,
};

static const struct command vnet_list_command = {
	.name = "list",
	.summary = "List the virtual networks",
	.usage = "[options]",
	.description = "Shows the virtual networks of the account.",
	FLAGS(FLAG_RENDER, FLAG_VNET_LIST_ID, FLAG_VNET_LIST_NAME, FLAG_VNET_IS_DEFAULT,
	      FLAG_VNET_SHOW_DELETED),
	.reads_config = true,
	.run = cmd_vnet_list,
};

static const struct command vnet_delete_command = {
	.name = "delete",
	.summary = "Delete a virtual network",
	.usage = "[options] ID|NAME",
	.description = "One that has routes is only deleted with --force, and they with it.",
	FLAGS(FLAG_VNET_FORCE),
	.reads_config = true,
	.run = cmd_vnet_delete,
};

static const struct command vnet_update_command = {
	.name = "update",
	.summary = "Rename a virtual network, or make it the default one",
	.usage = "[options] ID|NAME",
	.description = "There is always one default. To change it, make another one the default.",
	FLAGS(FLAG_VNET_NAME, FLAG_VNET_COMMENT, FLAG_VNET_DEFAULT),
	.reads_config = true,
	.run = cmd_vnet_update,
};

static const struct command vnet_command = {
	.name = "vnet",
	.summary = "Keep private networks with the same addresses apart",
	.usage = "COMMAND",
	.description =
		"Each route of `@ tunnel route ip` belongs to a virtual network, the default one where\n"
		"none is named. Two places that use the same addresses get one each:\n\n"
		"  $ @ tunnel vnet add office\n"
		"  $ @ tunnel route ip add --vnet office 10.0.0.0/24 office-tunnel\n"
		"  $ @ access tcp --vnet office --destination 10.0.0.5:22",
	CHILDREN(&vnet_add_command, &vnet_list_command, &vnet_delete_command, &vnet_update_command),
};

static const struct command run_command = {
	.name = "run",
	.summary = "Proxy local services by running the given tunnel",
	.usage = "[options] [TUNNEL]",
	.description =
		"Keeps connections to the edge and serves the requests that come down them by the\n"
		"rules under `ingress` in the configuration. The tunnel is given by name or UUID here,\n"
		"as `tunnel:` in the configuration, or by a token.\n\n"
		"It needs the credentials that `@ tunnel create` wrote, or a token; the certificate only\n"
		"to look a name up.",
	FLAGS(FLAG_CREDENTIALS_FILE, FLAG_CREDENTIALS_CONTENTS, FLAG_TOKEN, FLAG_TOKEN_FILE,
	      FLAG_MAX_ACTIVE_FLOWS, FLAG_DNS_RESOLVER_ADDRS, FLAG_ICMPV4_SRC, FLAG_ICMPV6_SRC,
	      CONNECTOR_FLAGS),
	.reads_config = true,
	.run = cmd_run,
};

static const struct command ready_command = {
	.name = "ready",
	.summary = "Ask a running connector whether it is connected",
	.usage = "[--metrics HOST:PORT]",
	.description =
		"Exits 0 if the connector that serves metrics there has a connection to the edge. Without\n"
		"--metrics, the one connector that listens on localhost, ports 20241 to 20245.",
	.reads_config = true,
	.run = cmd_ready,
};

static const struct command diag_command = {
	.name = "diag",
	.summary = "Find out which hop is broken, and collect a report",
	.usage = "[options]",
	.description =
		"Asks a connector of this machine how it is, and has it try each address of the edge and\n"
		"the service of each rule. Says which hop is the first that is broken and what to do, and\n"
		"writes adit-diag-<time>.zip to the current directory: state, settings without secrets,\n"
		"rules, metrics, log. Exits 0 if all is well, 1 if something is broken.\n\n"
		"Where several connectors run, --metrics says which one is meant.",
	FLAGS(FLAG_DIAG_CONTAINER_ID, FLAG_DIAG_POD_ID, FLAG_NO_DIAG_LOGS, FLAG_NO_DIAG_METRICS,
	      FLAG_NO_DIAG_SYSTEM, FLAG_NO_DIAG_RUNTIME, FLAG_NO_DIAG_NETWORK, FLAG_RENDER),
	.reads_config = true,
	.run = cmd_diag,
};

static const struct command ingress_validate_command = {
	.name = "validate",
	.summary = "Validate the ingress configuration",
	.usage = "[options]",
	.description =
		"Checks the rules of the configuration file, and lists keys that nobody reads.",
	FLAGS(FLAG_INGRESS_JSON),
	.reads_config = true,
	.run = cmd_ingress_validate,
};

static const struct command ingress_rule_command = {
	.name = "rule",
	.summary = "Check which ingress rule matches a given request URL",
	.usage = "URL",
	.description = "  $ @ tunnel ingress rule https://app.example.com/api",
	.reads_config = true,
	.run = cmd_ingress_rule,
};

static const struct command ingress_command = {
	.name = "ingress",
	.summary = "Validate and test the rules of the configuration",
	.usage = "COMMAND",
	.description =
		"Rules choose the local service by the hostname and path of a request. The first that\n"
		"matches counts, the last has to match everything:\n\n"
		"  ingress:\n"
		"    - hostname: www.example.com\n"
		"      service: http://localhost:8000\n"
		"    - hostname: \"*.example.xyz\"\n"
		"      path: /[a-zA-Z]+.html\n"
		"      service: https://localhost:8001\n"
		"    - service: http_status:404",
	CHILDREN(&ingress_validate_command, &ingress_rule_command),
};

static const struct command tunnel_command = {
	.name = "tunnel",
	.summary = "Create, route and run tunnels",
	.usage = "[options] COMMAND",
	.description =
		"A tunnel makes local services reachable through the edge, without an open port:\n\n"
		"  $ @ tunnel login https://adit.example.com\n"
		"  $ @ tunnel create my-tunnel\n"
		"  $ @ tunnel route dns my-tunnel app.example.com\n"
		"  $ @ tunnel run my-tunnel",
	FLAGS(FLAG_CREDENTIALS_FILE, CONNECTOR_FLAGS),
	CHILDREN(&login_command, &create_command, &list_command, &info_command, &delete_command,
		 &cleanup_command, &token_command, &route_command, &vnet_command, &run_command,
		 &ready_command, &diag_command, &ingress_command),
};

static const struct command access_tcp_command = {
	.name = "tcp",
	.aliases = "ssh rdp smb",
	.summary = "Reach a TCP service behind the edge",
	.usage = "[options] [HOST:PORT]",
	.description =
		"Carries standard input and output to the service, as a ProxyCommand of ssh does, or\n"
		"with --url each connection to a local port:\n\n"
		"  $ ssh -o ProxyCommand=\"@ access ssh --hostname %h\" ssh.example.com\n"
		"  $ @ access rdp --hostname rdp.example.com --url localhost:3389\n\n"
		"An address in a private network, behind `@ tunnel route ip`, needs no hostname, but the\n"
		"certificate of `@ tunnel login`:\n\n"
		"  $ @ access tcp --destination 10.0.0.5:5432 --url localhost:5432\n\n"
		"Else the service is one of the rules of a connector: tcp://, ssh://, rdp:// or smb://. The\n"
		"edge's certificate is verified against the system's roots and the authority that\n"
		"~/.adit/cert.pem names. HTTPS_PROXY and NO_PROXY are honoured.\n\n"
		"A guarded service wants a service token, or signs you in as `@ access login` does.",
	FLAGS(FLAG_ACCESS_HOSTNAME, FLAG_ACCESS_URL, FLAG_ACCESS_DESTINATION, FLAG_VNET,
	      FLAG_ACCESS_HEADER, FLAG_ACCESS_TOKEN_ID, FLAG_ACCESS_TOKEN_SECRET,
	      FLAG_ACCESS_CONNECT_TO, FLAG_ACCESS_DEBUG_STREAM),
	.run = cmd_access_tcp,
};

static const struct command access_ssh_config_command = {
	.name = "ssh-config",
	.summary = "Print what ~/.ssh/config needs to reach a hostname",
	.usage = "--hostname HOST",
	FLAGS(FLAG_ACCESS_HOSTNAME, FLAG_ACCESS_SHORT_LIVED_CERT),
	.run = cmd_access_ssh_config,
};

static const struct command access_login_command = {
	.name = "login",
	.summary = "Sign in to an application",
	.usage = "[options] URL",
	.description =
		"Opens the application's sign-in page in a browser, or prints its address where there is\n"
		"none. Once the request is approved there, the application's token is kept in ~/.adit,\n"
		"and that of your session, which signs you in to other applications without a browser.\n\n"
		"  $ @ access login https://app.example.com\n"
		"  $ @ access curl https://app.example.com/api/status",
	FLAGS(FLAG_ACCESS_APP, FLAG_ACCESS_QUIET, FLAG_ACCESS_NO_VERBOSE, FLAG_ACCESS_AUTO_CLOSE,
	      FLAG_ACCESS_SEED, FLAG_RENDER),
	.run = cmd_access_login,
};

static const struct command access_token_command = {
	.name = "token",
	.summary = "Print the token of an application one has signed in to",
	.usage = "[options] URL",
	.description =
		"For the field Cf-Access-Token of a request. It never opens a browser: without a token it\n"
		"exits 1.",
	FLAGS(FLAG_ACCESS_APP, FLAG_RENDER),
	.run = cmd_access_token,
};

static const struct command access_curl_command = {
	.name = "curl",
	.summary = "Run curl with the token of an application",
	.usage = "[--allow-request] URL [curl options]",
	.description =
		"Signs in first where that is needed; with --allow-request (-ar) it asks without a token\n"
		"instead. curl gets the token out of sight of other users, and its exit status is returned.\n"
		"What curl trusts is curl's own affair: see CURL_CA_BUNDLE, or `@ --cacert FILE access curl`.",
	.takes_all = true,
	.run = cmd_access_curl,
};

static const struct command access_ssh_gen_command = {
	.name = "ssh-gen",
	.summary = "Fetch a short-lived SSH certificate for a hostname",
	.usage = "--hostname HOST",
	.description =
		"Writes a key, and a certificate for it that the servers of the application accept, to\n"
		"~/.adit/HOST-cf_key, .pub and -cert.pub. `@ access ssh-config --short-lived-cert` says how ssh\n"
		"uses it.",
	FLAGS(FLAG_ACCESS_HOSTNAME, FLAG_RENDER),
	.run = cmd_access_ssh_gen,
};

static const struct command access_command = {
	.name = "access",
	.aliases = "forward",
	.summary = "Sign in to services behind the edge, and reach them from here",
	.usage = "COMMAND",
	FLAGS(FLAG_ACCESS_FEDRAMP),
	CHILDREN(&access_tcp_command, &access_ssh_config_command, &access_login_command,
		 &access_token_command, &access_curl_command, &access_ssh_gen_command),
};

static const struct command service_install_command = {
	.name = "install",
	.summary = "Install the connector as a service of this machine",
	.usage = "[options] [TOKEN]",
	.description =
		"Starts the connector now and with the machine, by systemd, OpenRC or SysV, as a user of its\n"
		"own where the init system has that.\n\n"
		"With a token it serves that tunnel, and /etc/@/token keeps it. The token is better given by\n"
		"--token-file or in $TUNNEL_TOKEN, where other users do not see it.\n\n"
		"Without one it is the tunnel of the configuration, which is copied to /etc/@/config.yml,\n"
		"and its credentials to /etc/@/service-credentials.json.\n\n"
		"  $ sudo @ service install --token-file my-tunnel.token",
	FLAGS(FLAG_TOKEN, FLAG_TOKEN_FILE, FLAG_CREDENTIALS_FILE, FLAG_NO_UPDATE_SERVICE),
	.reads_config = true,
	.run = cmd_service_install,
};

static const struct command service_uninstall_command = {
	.name = "uninstall",
	.summary = "Stop the service and remove it",
	.usage = "",
	.description = "Removes what `@ service install` wrote, but for /etc/@/config.yml.",
	.run = cmd_service_uninstall,
};

static const struct command service_command = {
	.name = "service",
	.summary = "Run the connector as a service of this machine",
	.usage = "COMMAND",
	CHILDREN(&service_install_command, &service_uninstall_command),
};

static const struct command import_cloudflared_command = {
	.name = "cloudflared",
	.summary = "Move in from cloudflared",
	.usage = "[options]",
	.description =
		"Looks for configurations, credentials and services of cloudflared, says in plain words what\n"
		"they are, and writes @'s files: to /etc/@ as root for what serves the whole machine, else to\n"
		"~/.@. What exists is never changed. No secret is printed.\n\n"
		"A tunnel that lives at Cloudflare cannot move by itself: an edge of yours gets a new one, and\n"
		"the hostnames. The commands are printed; with --create they are run.\n\n"
		"  $ @ import cloudflared --dry-run\n"
		"  $ @ import cloudflared --create --edge https://adit.example.com",
	FLAGS(FLAG_IMPORT_FROM, FLAG_IMPORT_DRY_RUN, FLAG_IMPORT_CREATE, FLAG_IMPORT_EDGE,
	      FLAG_RENDER),
	.run = cmd_import_cloudflared,
};

static const struct command import_command = {
	.name = "import",
	.summary = "Move in from another program",
	.usage = "COMMAND",
	CHILDREN(&import_cloudflared_command),
};

static const struct command completion_command = {
	.name = "completion",
	.summary = "Print what bash, zsh or fish needs to complete command lines",
	.usage = "bash|zsh|fish",
	.description = "  $ source <(@ completion bash)\n"
		       "  $ @ completion fish >~/.config/fish/completions/@.fish\n\n"
		       "Packages have these files already.",
	.run = cmd_completion,
};

static const struct command complete_command = {
	.name = "__complete",
	.summary = "Print the candidates for a word of a command line",
	.usage = "-- WORD... CURRENT",
	.is_hidden = true,
	.takes_all = true,
	.run = cmd_complete,
};

/* The updater that old installations have in cron calls it. */
static const struct command update_command = {
	.name = "update",
	.summary = "Say how the program is updated",
	.usage = "",
	.is_hidden = true,
	.run = cmd_update,
};

static const struct command man_command = {
	.name = "man",
	.summary = "Write manual pages and completions",
	.usage = "DIR",
	.description = "DIR is laid out as /usr/share is: man, bash-completion, zsh, fish.\n\n"
		       "  $ @ man ~/.local/share",
	.run = cmd_man,
};

const struct command command_root = {
	.name = "",
	.summary = "Your own tunnels",
	.usage = "[options] COMMAND",
	FLAGS(FLAG_CONFIG, FLAG_ORIGINCERT, FLAG_API_URL, FLAG_CACERT, FLAG_LOGLEVEL, FLAG_LOGFILE,
	      FLAG_LOG_DIRECTORY, FLAG_LOG_OUTPUT, FLAG_TRANSPORT_LOGLEVEL, FLAG_MAX_FETCH_SIZE,
	      FLAG_NO_AUTOUPDATE, FLAG_AUTOUPDATE_FREQ, FLAG_VERSION),
	CHILDREN(&tunnel_command, &access_command, &service_command, &import_command,
		 &top_login_command, &completion_command, &complete_command, &man_command,
		 &update_command, &version_command),
};
