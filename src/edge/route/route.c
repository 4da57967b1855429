#include "edge/route/route.h"

#include "edge/control/gateway.h"
#include "edge/forward/private_tcp.h"
#include "edge/route/site.h"
#include "edge/worker.h"
#include "io/address.h"

/* Hosts a stock connector answers itself, without asking who calls (PROTOCOL §5.1): never routed. */
static const struct bytes management_host = BYTES_LIT("management.argotunnel.com");

static void drop_snapshot(void *snapshot)
{
	snapshot_unref(snapshot);
}

/* An IPv6 literal has brackets in a URL, and may be spelled in several ways. */
static bool is_control_host(struct bytes host, struct bytes control_host)
{
	struct address asked, ours;

	if (bytes_eq(host, control_host))
		return true;
	return bytes_starts_with(host, BYTES_LIT("[")) && bytes_ends_with(host, BYTES_LIT("]")) &&
	       address_from_ip(bytes_from(bytes_first(host, host.len - 1), 1), 0, &asked) &&
	       address_from_ip(control_host, 0, &ours) && asked.any.sa_family == AF_INET6 &&
	       ours.any.sa_family == AF_INET6 &&
	       IN6_ARE_ADDR_EQUAL(&asked.v6.sin6_addr, &ours.v6.sin6_addr);
}

enum handled route_handle(struct exchange *x, void *worker)
{
	struct worker *w = worker;

	x->host = head_host(x->request.authority, &x->arena);
	x->snapshot = snapshot_ref(w->snapshot);
	x->drop_snapshot = drop_snapshot;
	if (x->host.len == 0)
		return exchange_failed(x, FAILURE_VISITOR, 400, 0, "Bad request",
				       "The request names no host.");
	if (site_check(x, snapshot_site(w->snapshot, x->host)) == HANDLED_FAILED)
		return HANDLED_FAILED;
	if (is_control_host(x->host, bytes_str(snapshot_control_host(w->snapshot)))) {
		if (bytes_eq(x->request.path, BYTES_LIT(PRIVATE_TCP_PATH)))
			return private_tcp_handle(x, w);
		return control_gateway_handle(x, w->control, false);
	}
	/* A connection to another hostname of the same certificate and address (RFC 9110 §15.5.20). */
	if (snapshot_passthrough(w->snapshot, x->host)) {
		x->alt_svc = NULL; /* there is no HTTP/3 for it */
		return exchange_failed(x, FAILURE_VISITOR, 421, 0, "Misdirected request",
				       "TLS of %.*s ends at its service: it needs a connection of "
				       "its own.",
				       BYTES_ARG(x->host));
	}
	const struct snapshot_route *route =
		bytes_eq(x->host, management_host) ? NULL : snapshot_route(w->snapshot, x->host);
	if (!route)
		return exchange_failed(x, FAILURE_EDGE, 404, 0, "Unknown host",
				       "This edge does not know %.*s. If it is yours, add a route: "
				       "adit tunnel route dns TUNNEL %.*s",
				       BYTES_ARG(x->host), BYTES_ARG(x->host));
	x->route = (void *)(uintptr_t)route;
	return HANDLED_NEXT;
}

enum handled route_redirect(struct exchange *x, void *worker)
{
	struct worker *w = worker;
	struct bytes host = head_host(x->request.authority, &x->arena);
	struct bytes location;

	x->host = host;
	if (host.len == 0)
		return exchange_failed(x, FAILURE_VISITOR, 400, 0, "Bad request",
				       "The request names no host.");
	if (w->https_port == 443)
		location = arena_printf(&x->arena, "https://" BYTES_FMT BYTES_FMT, BYTES_ARG(host),
					BYTES_ARG(x->request.path));
	else
		location = arena_printf(&x->arena, "https://" BYTES_FMT ":%u" BYTES_FMT,
					BYTES_ARG(host), w->https_port, BYTES_ARG(x->request.path));
	(void)fields_set(&x->response.fields, &x->arena, HEAD_LOCATION, location);
	exchange_answer_whole(x, 301, BYTES_LIT("text/plain; charset=utf-8"),
			      BYTES_LIT("Moved to HTTPS.\n"));
	return HANDLED_TAKEN;
}
