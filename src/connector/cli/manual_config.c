/* adit-config(5): the keys of config.yml. Those that are flags come from their table, those of originRequest
 * from theirs. */
#include "connector/cli/cli.h"

#include "base/mem.h"
#include "config/manual.h"
#include "connector/ingress/ingress.h"

struct key {
	const char *name, *value, *help;
};

static const struct key top_keys[] = {
	{ "tunnel", "NAME",
	  "The tunnel that `@ tunnel run` runs without an argument: name or UUID." },
	{ "ingress", "LIST", "The rules; see below." },
	{ "originRequest", "MAP", "How services are spoken to, for all rules; see below." },
	{ "warp-routing", "MAP", "Private networks behind this connector; see below." },
};

static const struct key rule_keys[] = {
	{ "hostname", "NAME",
	  "Requests for this host. `*.example.com` is every name below that; none is every host." },
	{ "path", "PATTERN", "A regular expression that the path has to contain." },
	{ "service", "URL", "Where they go; see SERVICES. Every rule needs one." },
	{ "originRequest", "MAP",
	  "How this service is spoken to, in place of what stands at the top." },
	{ "healthCheck", "MAP",
	  "Ask the service how it is, and tell the edge. Not in cloudflared." },
	{ "tls", "MAP",
	  "End visitors' TLS here, for names routed with --passthrough: `certificate` and `key`, or `acme` with "
	  "`directory`, `storage`, `email`, `caFile`. Not in cloudflared." },
};

static const struct key check_keys[] = {
	{ "type", "TEXT", "`http`, or `tcp`: a connection is enough." },
	{ "path", "TEXT", "What is asked for. Default: `/`." },
	{ "interval", "TIME", "Between two checks. Default: 10s." },
	{ "timeout", "TIME", "How long the service may take. Default: 5s." },
	{ "expectedCodes", "TEXT", "Status codes of a service that is well. Default: 200 to 399." },
	{ "threshold", "NUMBER", "Checks in a row that change the verdict. Default: 2." },
};

static const struct key private_keys[] = {
	{ "allow", "LIST",
	  "The networks that may be reached; none: all but what is the host's own." },
	{ "connectTimeout", "TIME", "How long a connection may take. Default: 5s." },
	{ "maxActiveFlows", "NUMBER", "Connections at once; more are refused. 0: any number." },
	{ "tcpKeepAlive", "TIME", "Interval of TCP keep-alive probes. Default: 30s." },
	{ "enabled", "BOOL", "`false`: as if the key were not there." },
};

static const struct key services[] = {
	{ "http://HOST:PORT", NULL, "HTTP; https://, ws:// and wss:// likewise." },
	{ "h2c://HOST:PORT", NULL, "HTTP/2 without TLS. Not in cloudflared." },
	{ "unix:PATH", NULL, "HTTP on a Unix socket; unix+tls:PATH with TLS." },
	{ "tcp://HOST:PORT", NULL, "Any TCP service; ssh://, rdp:// and smb:// know their port." },
	{ "udp://HOST:PORT", NULL, "For public UDP ports. Not in cloudflared." },
	{ "http_status:NUMBER", NULL, "This status, and nothing else." },
	{ "hello_world", NULL, "A test page." },
	{ "bastion", NULL, "Wherever the client of `@ access tcp --destination` wants to go." },
	{ "socks-proxy", NULL, "A SOCKS5 server; `ipRules` say where to." },
};

static void write_keys(struct manual *m, const struct key *keys, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		manual_item(m, keys[i].name, keys[i].value);
		manual_item_text(m, keys[i].help);
	}
}

static void write_flag_keys(struct manual *m)
{
	for (size_t i = 0; i < FLAG_COUNT; i++) {
		const struct flag *flag = flag_get((enum flag_id)i);

		if (!flag->is_key || flag->is_hidden)
			continue;
		char *text = flag->preset
				     ? mem_printf("%s Default: `%s`.", flag->help, flag->preset)
				     : mem_strdup(flag->help);
		const char *value =
			flag->type == FLAG_BOOL ? "BOOL" : flag_value_name((enum flag_id)i);
		manual_item(m, flag->name, value);
		manual_item_text(m, text);
		mem_free(text);
	}
}

int manual_write_config(const char *share, struct err *err)
{
	struct manual m;
	const char *name, *value, *help;
	int r = manual_open(&m, share, "adit", "adit-config", 5, ADIT_BUILD_TIME,
			    "config.yml, the configuration of a connector", err);

	if (r < 0)
		return r;
	manual_section(&m, "DESCRIPTION");
	manual_text(
		&m,
		"A YAML file: config.yml or config.yaml in the first of ~/.adit, /etc/adit, "
		"~/.cloudflared, ~/.cloudflare-warp, ~/cloudflare-warp, /etc/cloudflared, "
		"/usr/local/etc/cloudflared that has one, or what --config names. Files of cloudflared are "
		"understood as they are. `@ tunnel ingress validate` checks it. A running connector "
		"takes changes of its rules by itself, and keeps the old ones if the file is bad.\n\n"
		"  tunnel: my-tunnel\n"
		"  ingress:\n"
		"    - hostname: app.example.com\n"
		"      service: http://localhost:3000\n"
		"    - service: http_status:404\n\n"
		"A TIME is like 30s, 1m30s or 24h.");
	manual_section(&m, "KEYS");
	write_keys(&m, top_keys, ARRAY_LEN(top_keys));
	manual_text(&m,
		    "Every option of `@ tunnel run` that may stand here has the name it has there:");
	write_flag_keys(&m);
	manual_section(&m, "INGRESS RULES");
	manual_text(
		&m,
		"The first rule that matches a request counts; the last has to match everything.");
	write_keys(&m, rule_keys, ARRAY_LEN(rule_keys));
	manual_section(&m, "SERVICES");
	write_keys(&m, services, ARRAY_LEN(services));
	manual_section(&m, "ORIGINREQUEST");
	for (size_t i = 0; (name = ingress_origin_key(i, &value, &help)); i++) {
		manual_item(&m, name, value);
		manual_item_text(&m, help);
	}
	manual_section(&m, "HEALTHCHECK");
	write_keys(&m, check_keys, ARRAY_LEN(check_keys));
	manual_section(&m, "WARP-ROUTING");
	write_keys(&m, private_keys, ARRAY_LEN(private_keys));
	manual_see_also(&m, "adit.1 adit-tunnel-run.1 adit-tunnel-ingress.1 adit-edge.8");
	return manual_close(&m, err);
}
