/* The rules that choose an origin: hostname and path in, service and its options out.
 *
 * Parsed from the `ingress` and `originRequest` keys of config.yml, from the same keys as JSON (the
 * form the edge pushes, durations in whole seconds), or from the single-origin flags. Immutable and
 * counted: one thread builds it, any thread matches and holds references, so a reload is a swap of
 * one pointer and exchanges in flight finish on the rules they began with. Everything reachable from
 * a `struct ingress` lives until the last reference is gone.
 *
 * The texts of validation errors are those of `cloudflared` (CONTROL §2.7), without the words
 * "Validation failed: ".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "config/yaml.h"
#include "io/network.h"

enum ingress_kind {
	INGRESS_HTTP,        /* http:// https:// ws:// wss:// h2c:// */
	INGRESS_UNIX,        /* unix:/path unix+tls:/path, HTTP inside */
	INGRESS_STATUS,      /* http_status:N, no body */
	INGRESS_HELLO_WORLD, /* hello_world */
	INGRESS_BASTION,     /* bastion, or bastionMode: true */
	INGRESS_SOCKS,       /* socks-proxy */
	INGRESS_TCP,         /* tcp:// ssh:// rdp:// smb:// and any other scheme */
	INGRESS_UDP,         /* udp://host:port; ours alone: see ingress_match_udp() */
};

/* "http", "unix", "status", … for logs and messages. */
const char *ingress_kind_name(enum ingress_kind kind);

/* One rule of a SOCKS proxy: who may be reached. See ingress_ip_is_allowed(). */
struct ingress_ip_rule {
	uint8_t prefix[16];    /* IPv4 as v4-mapped IPv6 */
	unsigned bits;         /* of the 128; the other bits of the prefix are 0 */
	const uint16_t *ports; /* port_count of them; none: every port */
	size_t port_count;
	bool is_allowed;
};

/* A field that is set on requests to the origin. */
struct ingress_header {
	const char *name, *value;
};

enum ingress_proxy_protocol { INGRESS_PROXY_NONE, INGRESS_PROXY_V1, INGRESS_PROXY_V2 };

/* access: the connector checks Cf-Access-Jwt-Assertion itself. */
struct ingress_access {
	bool is_required;
	/* As written: "" when none; "team", "host.example.com[:port]" for a host of its own, or the https://
	 * URL of an issuer. */
	const char *team_name;
	const char *issuer; /* "" when none; who must have signed: "https://team.cloudflareaccess.com" */
	/* The key `issuer`, ours alone; as written, "" when none. `issuer` above is the same then. */
	const char *own_issuer;
	const char *environment; /* "" or "fed" */
	const char *const *audiences;
	size_t audience_count;
};

/* originRequest with the defaults resolved: rule, then top level, then built in. */
struct ingress_origin {
	/* Never 0, but for tcp_keepalive and keepalive_connections. */
	usec connect_timeout;           /* 30 s; TCP or Unix connect, name look-up included */
	usec tls_timeout;               /* 10 s */
	usec tcp_keepalive;             /* 30 s between probes; 0: off */
	usec keepalive_timeout;         /* 90 s; an idle connection is closed after it */
	uint32_t keepalive_connections; /* 100 idle connections at most; 0: none is kept */
	bool no_happy_eyeballs;         /* addresses one after the other, as resolved */
	bool no_tls_verify;
	bool disable_chunked_encoding; /* the request's Content-Length is sent where it has one */
	const char *http_host_header; /* NULL: the visitor's Host; else that moves to X-Forwarded-Host */
	const char *origin_server_name; /* NULL: the host of the service. SNI and name check */
	const char *ca_pool;            /* NULL, or a PEM file added to the system's roots */
	bool match_sni_to_host;         /* SNI and name check: the request's Host */
	bool http2_origin;              /* ALPN h2 is offered to https origins */
	bool is_socks; /* proxyType: socks. A TCP service speaks SOCKS5 over the stream */
	const struct ingress_ip_rule *ip_rules; /* the first that matches decides; none does: denied */
	size_t ip_rule_count;
	struct ingress_access access;
	bool is_bastion; /* bastionMode; the rule's kind says it too */
	/* Leftovers of the stock connector that only /config shows: nothing listens there. */
	const char *proxy_address; /* "127.0.0.1" */
	uint16_t proxy_port;

	/* Ours alone; the stock connector has no such keys. */
	const char *strip_prefix; /* NULL, or "/app": taken off the front of the path, whole segments only */
	const struct ingress_header *set_headers; /* on the request, in this order */
	size_t set_header_count;
	const char *const *remove_headers; /* of the request, before set_headers */
	size_t remove_header_count;
	/* PROXY header at the start of each connection; UDP: of each datagram, v2 only. */
	enum ingress_proxy_protocol proxy_protocol;
	usec idle_timeout; /* no byte either way for so long ends an exchange; 0: never */
};

/* healthCheck: the connector looks after the service itself. Ours alone. */
enum ingress_check { INGRESS_CHECK_NONE, INGRESS_CHECK_HTTP, INGRESS_CHECK_TCP };

struct ingress_codes {
	uint16_t first, last;
};

struct ingress_health {
	enum ingress_check kind;
	const char *path;                  /* HTTP: what is asked for */
	usec interval, timeout;            /* from a result to the next check; of one check */
	const struct ingress_codes *codes; /* HTTP: what is well; code_count of them */
	size_t code_count;
	unsigned threshold; /* so many results in a row change the state */
};

/* tls: visitors' TLS that the edge passes through ends here. Ours alone. Either the files or ACME. */
struct ingress_tls {
	bool is_on;
	const char *certificate, *key; /* PEM files; NULL: ACME */
	const char *acme_directory;    /* URL; NULL: files */
	const char *acme_storage;      /* folder */
	const char *acme_email;        /* NULL: none is given */
	const char *acme_ca_file; /* PEM, trusted for the directory beside the system's roots; NULL */
};

struct ingress_rule {
	const char *hostname; /* as written; "" matches every host */
	const char *pattern;  /* the same as requests spell it: in punycode */
	const char *path;     /* the regular expression as written; "" matches every path */
	const char *label;    /* for messages: "app.example.com /api", "*" for the catch-all */

	enum ingress_kind kind;
	const char *service; /* as `ingress rule` prints it: "http://localhost:3000" */
	const char *scheme; /* "http", "https", "ws", "unix", "unix+tls", "ssh", …; "" otherwise */
	const char *host;   /* HTTP, TCP, UDP: name or IP literal without brackets; else "" */
	uint16_t port; /* HTTP, TCP, UDP: the scheme's default filled in; 0: none and no default */
	const char *unix_path; /* INGRESS_UNIX: else "" */
	uint16_t status;       /* INGRESS_STATUS: 100 to 999; else 0 */
	bool is_tls;           /* https, wss, unix+tls */

	struct ingress_origin origin;
	struct ingress_health health;
	struct ingress_tls tls;
	uint32_t index; /* 0-based, as in "Matched rule #N" */

	const struct ingress_matcher *matcher; /* private to ingress/ */
};

/* warp-routing: connections that the edge opens to addresses, beside the rules. */
struct ingress_private {
	/* The key is there, and `enabled` in it not false. Without it the edge reaches what the rules name and
	 * nothing else. */
	bool is_on;
	usec connect_timeout;      /* 5 s; never 0 */
	usec tcp_keepalive;        /* 30 s between probes; 0: off */
	uint32_t max_active_flows; /* 0: unlimited */
	bool has_allow;            /* then only these may be reached, and they may */
	const struct network *allow;
	size_t allow_count;
};

struct ingress;

/* Where the numbers count: YAML has duration strings, JSON whole seconds. */
enum ingress_form { INGRESS_YAML, INGRESS_JSON };

/* `root` is the mapping that holds `ingress` and, optionally, `originRequest`; it is not needed
 * afterwards. NULL with E_NOT_FOUND when there are no rules, E_INVALID for a rule that is wrong,
 * E_LIMIT beyond LIMIT_INGRESS_RULES. On failure *ret_place (may be NULL) is the node at fault, or
 * NULL where none can be named. The new object has one reference. */
struct ingress *ingress_parse(const struct yaml_node *root, enum ingress_form form,
			      const struct yaml_node **ret_place, struct err *err);
/* Reads `warp-routing` of the same mapping (ingress_parse() does it itself); before anybody else holds `in`.
 * E_INVALID with *ret_place as above. */
int ingress_read_private(struct ingress *in, const struct yaml_node *root, enum ingress_form form,
			 const struct yaml_node **ret_place, struct err *err);
const struct ingress_private *ingress_private(const struct ingress *in);
/* Why the connector does not connect to this address, to go behind a colon; NULL: it does. Without `allow`
 * everything may be reached but the host itself and the link. */
const char *ingress_private_refusal(const struct ingress_private *p, const struct address *to);
/* One catch-all rule with options already resolved (no lists among them; texts are copied): what `--url`, `--unix-socket`, `--hello-world` and
 * the like ask for. A URL without a scheme is http://, a path in it is ignored, as the stock connector
 * does. NULL `origin`: the defaults. E_INVALID. */
struct ingress *ingress_single(const char *service, const struct ingress_origin *origin,
			       struct err *err);
/* No rule was given: http_status:503 for everything. */
struct ingress *ingress_none(void);
struct ingress *ingress_ref(const struct ingress *in);
/* NULL is fine; returns NULL: in = ingress_unref(in). */
struct ingress *ingress_unref(const struct ingress *in);

void ingress_origin_defaults(struct ingress_origin *origin);

/* May a SOCKS client reach this address (IPv4 as v4-mapped) and port? The first rule that names both
 * decides, nobody else may pass. An IPv6 prefix never means IPv4: ::/0 does not hold 10.0.0.1. */
bool ingress_ip_is_allowed(const struct ingress_origin *origin, const uint8_t ip[16], uint16_t port);

/* The first rule that matches. `host` may carry a port, which is not looked at; case is ignored. `path`
 * is the decoded path of the request's target without the query. Never NULL but when a path's regular
 * expression needed more work than LIMIT_REGEX_MATCH allows: then the request must be refused, for
 * the rules that follow might belong to somebody else. *ret_index (may be NULL) is the rule that
 * matched or gave up. Does not allocate in the steady state. */
const struct ingress_rule *ingress_match(const struct ingress *in, struct bytes host,
					 struct bytes path, size_t *ret_index);

/* The first rule with a UDP service that has this hostname, whatever rules of other kinds have it too; NULL:
 * there is none. UDP has no paths. */
const struct ingress_rule *ingress_match_udp(const struct ingress *in, struct bytes host);

/* The first rule with `tls` that has this hostname; NULL: there is none. */
const struct ingress_rule *ingress_match_tls(const struct ingress *in, struct bytes host);

size_t ingress_count(const struct ingress *in);
const struct ingress_rule *ingress_rule(const struct ingress *in, size_t index);

/* The keys of originRequest, for the manual: what their value and they are. NULL behind the last. */
const char *ingress_origin_key(size_t index, const char **ret_value, const char **ret_help);

/* Things the user set that have no effect or cannot work; each is one sentence, printed once at start and
 * by `ingress validate`. */
size_t ingress_warning_count(const struct ingress *in);
const char *ingress_warning(const struct ingress *in, size_t index);
/* Keys inside `ingress` and `originRequest` that nobody knows: "config.yml:4:7: unknown key noTLSVerfy in
 * originRequest; did you mean noTLSVerify?". Errors for `ingress validate`, warnings at run. */
size_t ingress_unknown_count(const struct ingress *in);
const char *ingress_unknown(const struct ingress *in, size_t index);
/* Is `key` none of `known`? Then *ret_what is the text above: where it stands, `where` it is, and what was
 * meant. For maps outside the rules. */
bool ingress_key_is_unknown(const struct yaml_node *key, const char *where,
			    const char *const *known, size_t known_count, struct err *ret_what);

/* Appends {"ingress":[…],"warp-routing":{…}}, the form in which the first connection tells the edge of
 * local rules: durations in seconds, the top-level originRequest folded into each rule, only what
 * differs from the built-in defaults. The values of setHeaders may be secrets, so they are written as
 * "*****". E_LIMIT when `out` is full. */
int ingress_write_json(const struct ingress *in, struct buf *out) MUST_USE;
/* For the log: hostname, path and service of each rule, and nothing that may be a secret. */
int ingress_write_summary_json(const struct ingress *in, struct buf *out) MUST_USE;
/* Appends {"ingress":[…],"warp-routing":{…},"originRequest":{…}}, the `config` of the local API's /config:
 * every field, in the stock connector's order and spelling (CONTROL §7), then our own. E_LIMIT. */
int ingress_write_config_json(const struct ingress *in, struct buf *out) MUST_USE;
