/* Which hop is broken, and what to do about it: in the order in which a connector comes up and a request
 * travels. */
#include "base/mem.h"
#include "connector/cli/diag.h"

/* Texts end in this array; an object is owned by it. */
static json_t *add_check(struct diag *d, const char *hop, const char *name, const char *status)
{
	json_t *check = json_object(), *text = json_string(name);

	json_object_set_new(check, "hop", json_string(hop));
	json_object_set_new(check, "name", text ? text : json_string("?"));
	json_object_set_new(check, "status", json_string(status));
	json_array_append_new(d->checks, check);
	return check;
}

static void set(json_t *check, const char *key, const char *value)
{
	json_t *text = *value ? json_string(value) : NULL;

	if (text)
		json_object_set_new(check, key, text);
}

static void setf(json_t *check, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void setf(json_t *check, const char *key, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	set(check, key, text);
}

/* ------------------------------------------------------------------------------------------
 * What a person can do. */

struct fix {
	const char *step;  /* of the probe */
	const char *error; /* errno's name; NULL: any other */
	const char *text;
};

static const struct fix edge_fixes[] = {
	{ "resolve", NULL,
	  "The name does not resolve where the connector runs: check DNS there, and the edge's name in "
	  "--edge or in the credentials." },
	{ "connect", "ECONNREFUSED",
	  "Nothing listens there: start adit-edge, or correct the address (its `tunnel` setting and "
	  "our --edge)." },
	{ "connect", NULL,
	  "There is no way to it: the edge's machine is down, or a firewall stops outgoing TCP to this "
	  "port." },
	{ "proxy", NULL,
	  "The proxy does not let us through: its rules, the name and password in its URL, or leave it "
	  "out with --edge-proxy none." },
	{ "tls", NULL,
	  "What answers is not this edge, or its certificate is of another authority than the credentials "
	  "name: create them again, or give the authority with --cacert." },
};

static const struct fix service_fixes[] = {
	{ "resolve", NULL,
	  "The service's name does not resolve where the connector runs: correct `service`, or DNS "
	  "there." },
	{ "connect", "ECONNREFUSED",
	  "Nothing listens there: start the service, or correct the address or port in `service`." },
	{ "connect", "ENOENT",
	  "There is no such socket: start the service, or correct the path in `service`." },
	{ "connect", "EACCES",
	  "The connector's user may not open it: correct the socket's rights." },
	{ "connect", NULL,
	  "There is no way to it: the service's machine is down, a firewall is between, or the address "
	  "in `service` is wrong." },
	{ "tls", NULL,
	  "TLS with the service fails: for a certificate of its own set originRequest.caPool (or "
	  "noTLSVerify), for another name originServerName; a service without TLS is http://." },
};

static const char *find_fix(const struct fix *fixes, size_t count, const json_t *result)
{
	const char *step = json_text_at(result, "step"), *error = json_text_at(result, "errno");

	for (size_t i = 0; i < count; i++)
		if (strcmp(fixes[i].step, step) == 0 &&
		    (!fixes[i].error || strcmp(fixes[i].error, error) == 0))
			return fixes[i].text;
	return "";
}

/* ------------------------------------------------------------------------------------------ */

static void check_connector(struct diag *d)
{
	const json_t *ours = json_object_get(d->state, "adit");
	const json_t *process = json_object_get(d->system, "process");
	const char *since = json_text_at(process, "startedAt");
	json_t *check = add_check(d, "connector", d->address, "ok");

	setf(check, "detail", "%s%s%s%.19s%s, tunnel %s, connector %s",
	     ours ? "adit " : "another program than adit", json_text_at(ours, "version"),
	     *since ? ", since " : "", since, *since ? "Z" : "", json_text_at(d->state, "tunnelID"),
	     json_text_at(d->state, "connectorID"));
}

void diag_check_absent(struct diag *d, const char *where, const char *detail)
{
	json_t *check = add_check(d, "connector", where, "broken");

	set(check, "detail", detail);
	set(check, "fix",
	    "Start it (`adit tunnel run`, or `systemctl start adit`); its own log says why if it does "
	    "not stay up. If it runs elsewhere, say where with --metrics HOST:PORT.");
}

/* A result of a probe becomes a check. */
static void check_result(json_t *check, const json_t *result, const struct fix *fixes, size_t count)
{
	if (json_is_true(json_object_get(result, "ok"))) {
		setf(check, "detail", "reached %s in %lld ms", json_text_at(result, "peer"),
		     (long long)json_integer_value(json_object_get(result, "ms")));
		return;
	}
	if (*json_text_at(result, "skipped")) {
		set(check, "detail", json_text_at(result, "skipped"));
		return;
	}
	set(check, "step", json_text_at(result, "step"));
	set(check, "errno", json_text_at(result, "errno"));
	set(check, "detail", json_text_at(result, "error"));
	set(check, "fix", find_fix(fixes, count, result));
}

static const char *status_of(const json_t *result)
{
	if (json_object_get(result, "skipped"))
		return "skipped";
	return json_is_true(json_object_get(result, "ok")) ? "ok" : "broken";
}

static void check_unprobed(struct diag *d, const char *hop, const char *name)
{
	set(add_check(d, hop, name, "skipped"), "detail",
	    diag_flag(d, FLAG_NO_DIAG_NETWORK)
		    ? "not tried: --no-diag-network"
		    : "not tried: the connector has no /diag/probe, or was too slow");
}

static void check_edges(struct diag *d)
{
	size_t i;
	json_t *edge;

	if (!d->probe)
		check_unprobed(d, "edge", "its addresses");
	json_array_foreach(json_object_get(d->probe, "edges"), i, edge)
		check_result(add_check(d, "edge", json_text_at(edge, "address"), status_of(edge)),
			     edge, edge_fixes, ARRAY_LEN(edge_fixes));
}

static bool must_have_udp(const struct diag *d)
{
	const json_t *protocol = json_object_get(json_object_get(d->state, "adit"), "protocol");

	return strcmp(json_text_at(protocol, "wanted"), "quic") == 0;
}

/* Nobody needs UDP who can do without: then it is worth knowing, and nothing is broken. */
static void check_udp(struct diag *d)
{
	size_t i;
	json_t *edge;

	json_array_foreach(json_object_get(d->probe, "udp"), i, edge)
	{
		const char *address = json_text_at(edge, "address");
		const char *port = strrchr(address, ':');
		bool is_reached = json_is_true(json_object_get(edge, "ok"));
		char *name = mem_printf("%s over UDP", address);
		json_t *check = add_check(d, "edge", name,
					  is_reached         ? "ok"
					  : must_have_udp(d) ? "broken"
							     : "skipped");
		mem_free(name);
		if (is_reached) {
			check_result(check, edge, NULL, 0);
			continue;
		}
		setf(check, "detail", "UDP %s blocked; %s: %s", port ? port + 1 : "",
		     must_have_udp(d) ? "--protocol quic cannot do without" : "running over http2",
		     json_text_at(edge, "error"));
		set(check, "errno", json_text_at(edge, "errno"));
		if (must_have_udp(d))
			set(check, "fix",
			    "Let UDP to this port out and its answers in, or run with --protocol auto, "
			    "which uses HTTP/2 where UDP does not get through.");
	}
}

/* "fra, ams" of those that are registered. */
static void list_locations(const json_t *connections, struct buf *out)
{
	size_t i, k;
	json_t *connection;

	json_array_foreach(connections, i, connection)
	{
		const char *location = json_text_at(connection, "location");
		bool is_new = *location;
		for (k = 0; k < i && is_new; k++)
			is_new = strcmp(location, json_text_at(json_array_get(connections, k),
							       "location")) != 0;
		if (is_new && buf_printf(out, "%s%.64s", out->len ? ", " : "", location) < 0)
			return;
	}
}

/* The one whose error says most: a refusal rather than a connection that was just lost. */
static const json_t *with_error(const json_t *connections)
{
	const json_t *first = NULL;
	size_t i;
	json_t *connection;

	json_array_foreach(connections, i, connection)
	{
		if (strcmp(json_text_at(connection, "lastErrorKind"), "denied") == 0)
			return connection;
		if (!first && *json_text_at(connection, "lastError"))
			first = connection;
	}
	return first;
}

static void check_registrations(struct diag *d)
{
	const json_t *all = json_object_get(json_object_get(d->state, "adit"), "connections");
	size_t registered = json_array_size(json_object_get(d->state, "connections"));
	size_t wanted = all ? json_array_size(all) : registered ? registered : 1;
	const json_t *failed = with_error(all);
	struct buf places;

	buf_init(&places, 1024);
	list_locations(all, &places);
	json_t *check = add_check(d, "tunnel", "registered connections",
				  registered == wanted ? "ok" : "broken");
	setf(check, "detail", "%zu of %zu%s" BYTES_FMT "%s%s", registered, wanted,
	     places.len ? ", at " : "", BYTES_ARG(buf_bytes(&places)), failed ? ": " : "",
	     failed ? json_text_at(failed, "lastError") : "");
	buf_done(&places);
	if (registered == wanted)
		return;
	if (strcmp(json_text_at(failed, "lastErrorKind"), "denied") == 0)
		set(check, "fix",
		    "The edge does not accept this tunnel: see with `adit tunnel list` whether it still "
		    "exists there, and whether the credentials are those of `adit tunnel create`.");
	else
		set(check, "fix",
		    "The connector tries again by itself; if it stays so, its log and the edge's tell "
		    "why.");
}

static void check_services(struct diag *d)
{
	size_t i;
	json_t *rule;

	if (!d->probe)
		check_unprobed(d, "service", "those of the rules");
	json_array_foreach(json_object_get(d->probe, "rules"), i, rule)
	{
		char *name = mem_printf("rule %lld: %s -> %s",
					(long long)json_integer_value(json_object_get(rule, "rule")),
					json_text_at(rule, "label"), json_text_at(rule, "service"));
		check_result(add_check(d, "service", name, status_of(rule)), rule, service_fixes,
			     ARRAY_LEN(service_fixes));
		mem_free(name);
	}
}

void diag_check(struct diag *d)
{
	if (!d->state) {
		diag_check_absent(d, d->address,
				  json_text_at(json_object_get(d->tasks, "tunnel state"), "error"));
		return;
	}
	check_connector(d);
	check_edges(d);
	check_udp(d);
	check_registrations(d);
	check_services(d);
}

const json_t *diag_first_broken(const struct diag *d)
{
	size_t i;
	json_t *check;

	json_array_foreach(d->checks, i, check) if (strcmp(json_text_at(check, "status"),
							   "broken") == 0) return check;
	return NULL;
}
