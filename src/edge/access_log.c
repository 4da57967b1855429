#include "edge/access_log.h"

#include <stdio.h>
#include <time.h>

#include "base/redact.h"
#include "edge/edge_config.h"
#include "edge/snapshot.h"
#include "http/exchange_log.h"

#define COMPONENT "edge/access"

static enum edge_access_format style;

/* --- Fields ---------------------------------------------------------------------------------- */

static struct bytes header(const struct exchange *x, struct bytes name)
{
	const struct field *f = fields_find_text(&x->request.fields, name);

	return f ? f->value : BYTES_NONE;
}

static struct bytes user_agent(const struct exchange *x)
{
	const struct field *f = fields_find(&x->request.fields, HEAD_USER_AGENT);

	return f ? f->value : BYTES_NONE;
}

static struct bytes referer(const struct exchange *x)
{
	return redact_url(header(x, BYTES_LIT("referer")));
}

/* A connection or flow of a public port. */
static bool is_port(const struct exchange *x)
{
	return x->protocol && (strcmp(x->protocol, "tcp") == 0 || strcmp(x->protocol, "udp") == 0);
}

static const char *scheme_of(const struct exchange *x)
{
	if (is_port(x))
		return x->protocol;
	return x->is_tls ? "https" : "http";
}

static void write_fields(const struct exchange *x, const struct exchange_outcome *o)
{
	const struct snapshot_route *route = x->route;
	struct exchange_line line UNINITIALIZED;

	line.count = 0;
	exchange_line_add(&line, LOG_STR("cfRay", x->id));
	exchange_line_add(&line, LOG_BYTES("client", x->client_ip));
	exchange_line_request(&line, x);
	exchange_line_add(&line, LOG_STR("scheme", scheme_of(x)));
	exchange_line_add(&line, LOG_STR("proto", x->protocol));
	exchange_line_outcome(&line, o);
	if (route) {
		exchange_line_add(&line, LOG_STR("tunnel", route->tunnel->name));
		exchange_line_add(&line, LOG_UUID("tunnelID", &route->tunnel->id));
	}
	if (x->conn_index >= 0) {
		exchange_line_add(&line, LOG_UUID("connector", &x->connector));
		exchange_line_add(&line, LOG_INT("connIndex", x->conn_index));
	}
	exchange_line_failure(&line, x, o);
	exchange_line_text(&line, "referer", referer(x));
	exchange_line_text(&line, "userAgent", user_agent(x));
	line.fields[line.count].key = NULL;
	log_access(COMPONENT, "request", line.fields);
}

/* --- The formats of other servers ------------------------------------------------------------ */

/* Each part is bounded, so that all of them fit into a line of the log. */
#define CLF_PART_BYTES 1000
#define CLF_LINE_BYTES 4000

struct clf {
	char text[CLF_LINE_BYTES];
	size_t len;
};

static void clf_put(struct clf *c, const char *text, size_t len)
{
	if (len > sizeof(c->text) - c->len)
		len = sizeof(c->text) - c->len;
	memcpy(c->text + c->len, text, len);
	c->len += len;
}

static void clf_str(struct clf *c, const char *text)
{
	clf_put(c, text, strlen(text));
}

/* As nginx does it: what would end the string or is not printable ASCII is \xHH. */
static void clf_escaped(struct clf *c, struct bytes b)
{
	static const char hex[] = "0123456789ABCDEF";

	if (b.len == 0)
		clf_str(c, "-");
	b = bytes_first(b, CLF_PART_BYTES);
	size_t most = c->len + CLF_PART_BYTES;
	for (size_t i = 0; i < b.len && c->len + 4 <= most; i++) {
		uint8_t byte = b.ptr[i];
		if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\') {
			char escape[4] = { '\\', 'x', hex[byte >> 4], hex[byte & 15] };
			clf_put(c, escape, 4);
		} else {
			clf_put(c, (const char *)&byte, 1);
		}
	}
}

static void clf_number(struct clf *c, uint64_t n)
{
	char text[24];

	clf_put(c, text, (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)n));
}

/* "[02/Jan/2026:03:04:05 +0000]", the same for all of a second. */
static void clf_time(struct clf *c)
{
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	static _Thread_local time_t last = -1;
	static _Thread_local char text[48];
	time_t now = (time_t)(clock_wall_now() / USEC_PER_SEC);

	if (now != last) {
		struct tm tm;
		gmtime_r(&now, &tm);
		/* Not strftime(): months in English wherever it runs. */
		(void)snprintf(text, sizeof(text), "[%02d/%s/%04d:%02d:%02d:%02d +0000]",
			       tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour,
			       tm.tm_min, tm.tm_sec);
		last = now;
	}
	clf_str(c, text);
}

static void write_clf(const struct exchange *x, const struct exchange_outcome *o)
{
	struct clf c UNINITIALIZED;

	c.len = 0;
	if (style == EDGE_ACCESS_VCOMBINED) {
		clf_escaped(&c, x->host);
		if (!is_port(x))
			clf_str(&c, x->is_tls ? ":443" : ":80");
		clf_str(&c, " ");
	}
	clf_escaped(&c, x->client_ip);
	clf_str(&c, " - - ");
	clf_time(&c);
	clf_str(&c, " \"");
	if (x->request.method.len) {
		clf_escaped(&c, x->request.method);
		clf_str(&c, " ");
		clf_escaped(&c, exchange_path(x));
		if (!is_port(x))
			clf_str(&c, x->protocol && strcmp(x->protocol, "h3") == 0   ? " HTTP/3.0"
				    : x->protocol && strcmp(x->protocol, "h2") == 0 ? " HTTP/2.0"
										    : " HTTP/1.1");
	}
	clf_str(&c, "\" ");
	clf_number(&c, (uint64_t)o->status);
	clf_str(&c, " ");
	clf_number(&c, o->sent);
	if (style != EDGE_ACCESS_COMMON) {
		clf_str(&c, " \"");
		clf_escaped(&c, referer(x));
		clf_str(&c, "\" \"");
		clf_escaped(&c, user_agent(x));
		clf_str(&c, "\"");
	}
	log_access_text(bytes_of(c.text, c.len));
}

/* --- Lines ----------------------------------------------------------------------------------- */

void access_log_begin(const struct exchange *x)
{
	exchange_log_head(COMPONENT, "request head", x, &x->request);
}

void access_log_end(const struct exchange *x)
{
	if (x->has_head)
		exchange_log_head(COMPONENT, "response head", x, &x->response);
	struct exchange_outcome o = exchange_outcome_of(x);
	access_log_write(x, &o);
}

void access_log_write(const struct exchange *x, const struct exchange_outcome *o)
{
	if (!log_access_enabled())
		return;
	if (style == EDGE_ACCESS_COMMON || style == EDGE_ACCESS_COMBINED ||
	    style == EDGE_ACCESS_VCOMBINED)
		write_clf(x, o);
	else
		write_fields(x, o);
}

/* --- Setting up ------------------------------------------------------------------------------ */

static enum log_format access_format(const struct edge_config *cfg)
{
	bool is_stdio =
		strcmp(cfg->access_log, "stderr") == 0 || strcmp(cfg->access_log, "stdout") == 0;

	if (cfg->access_format == EDGE_ACCESS_CONSOLE)
		return LOG_CONSOLE;
	if (cfg->access_format == EDGE_ACCESS_JSON || !is_stdio)
		return LOG_JSON;
	return cfg->log_format;
}

static void check(int ret, const char *path)
{
	if (ret < 0)
		log_error("edge", "Unable to write to the log file", LOG_STR("file", path),
			  LOG_STR("error", strerror(-ret)));
}

void edge_logs_setup(const struct edge_config *cfg)
{
	log_setup(cfg->log_level, cfg->log_format);
	if (cfg->log_file && cfg->log_directory)
		log_error("edge", "Both log-file and log-directory are set: log-file is used");
	if (cfg->log_file)
		check(log_to_file(cfg->log_file), cfg->log_file);
	else if (cfg->log_directory)
		check(log_to_directory(cfg->log_directory, "adit-edge"), cfg->log_directory);
	style = cfg->access_format;
	check(log_access_to(cfg->access_log, access_format(cfg)), cfg->access_log);
}
