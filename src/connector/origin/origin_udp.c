#include "connector/origin/origin_udp.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "connector/connector_metrics.h"
#include "connector/origin/proxy_header.h"
#include "io/resolve.h"
#include "io/udp_peer.h"

#define COMPONENT "connector"
#define RELAY_MAGIC 0x72656c79
#define MAX_ADDRESSES 4

struct origin_udp {
	struct loop *loop;
	struct origin_private *private; /* borrowed */
	size_t flows, max;
	struct map *names; /* owned; struct name, by host and port */
};

/* What the name of a service means; asked again when it is old. */
struct name {
	struct origin_udp *udp; /* NULL: it is wanted no more, and goes when the look-up is done */
	char *key, *host;       /* owned */
	uint16_t port;
	struct address addresses[MAX_ADDRESSES];
	int count; /* or an error */
	struct err err;
	usec at;
	bool is_looking;
	struct list waiting; /* struct relay */
};

/* One flow and its socket. */
struct relay {
	uint32_t magic;
	struct list node; /* name.waiting */
	struct origin_udp *udp;
	struct udp_flow *flow;           /* borrowed until its on_closed */
	struct origin_set *set;          /* counted; NULL for an address */
	const struct ingress_rule *rule; /* of the set; NULL for an address */
	unsigned index;
	struct address client;
	bool has_proxy_header; /* the payloads have one already */
	struct address addresses[MAX_ADDRESSES];
	int count, next;       /* addresses; the one to be tried next */
	struct udp_peer *peer; /* owned; NULL until the flow is accepted */
	uint8_t header[PROXY_DATAGRAM_MAX];
	size_t header_len;
	bool is_accepted, has_answered, told_unreachable, told_too_large;
	/* The last datagram while another address may have to get it. */
	uint8_t *last; /* owned; NULL: none */
	size_t last_len;
};

/* --- Ends ------------------------------------------------------------------------------------ */

static void count_drop(const struct relay *r, const char *why)
{
	metric_add(connector_metrics_udp_dropped(r->index, why), 1);
}

static void relay_free(struct relay *r)
{
	CHECK(r, RELAY_MAGIC);
	list_remove(&r->node);
	udp_peer_free(r->peer);
	if (r->is_accepted)
		metric_add(&connector_metrics.udp_active_sessions, -1);
	if (!r->rule)
		r->udp->private->flows--;
	r->udp->flows--;
	origin_set_unref(r->set);
	mem_free(r->last);
	r->magic = 0;
	mem_free(r);
}

static const char *service_of(const struct relay *r, char text[ADDRESS_TEXT_SIZE])
{
	return r->rule ? r->rule->service : address_text(&r->addresses[0], text);
}

static void log_refusal(const char *target, unsigned index, const char *why)
{
	connector_metrics_udp_failed(index);
	log_info(COMPONENT, "UDP flow refused", LOG_INT("connIndex", index),
		 LOG_STR("target", target), LOG_STR("error", why));
}

static void fail(struct relay *r, const struct err *err)
{
	char text[ADDRESS_TEXT_SIZE];

	log_refusal(service_of(r, text), r->index, err->text);
	udp_flow_close(r->flow, REASON_FAILED, bytes_str(err->text));
	relay_free(r);
}

/* --- Service to edge ------------------------------------------------------------------------- */

static void on_reply(void *ctx, struct bytes data, bool is_cut)
{
	struct relay *r = ctx;
	char text[ADDRESS_TEXT_SIZE];

	CHECK(r, RELAY_MAGIC);
	r->has_answered = true;
	r->last = mem_free(r->last);
	size_t max = udp_flow_max_payload(r->flow);
	if (is_cut || data.len > max) {
		count_drop(r, "read_too_large");
		if (!r->told_too_large)
			log_warn(COMPONENT, "Datagram of a service is too large for the tunnel",
				 LOG_STR("service", service_of(r, text)),
				 LOG_INT("bytes", (int64_t)data.len), LOG_INT("max", (int64_t)max),
				 LOG_INT("connIndex", r->index));
		r->told_too_large = true;
	} else if (!udp_flow_send(r->flow, data)) {
		count_drop(r, "tunnel_full");
	}
}

static bool connect_next(struct relay *r, struct err *err);

static void on_unreachable(void *ctx, int sys_errno)
{
	struct relay *r = ctx;
	char text[ADDRESS_TEXT_SIZE];
	struct err err;

	CHECK(r, RELAY_MAGIC);
	/* "localhost" is two addresses, and a service may listen on the other one. */
	if (!r->has_answered && connect_next(r, &err)) {
		if (r->last)
			(void)udp_peer_send_two(r->peer, bytes_of(r->header, r->header_len),
						bytes_of(r->last, r->last_len));
		return;
	}
	count_drop(r, "read_failed");
	if (!r->told_unreachable)
		log_warn(COMPONENT, "UDP service is not reachable",
			 LOG_STR("service", service_of(r, text)),
			 LOG_STR("errno", err_errno_name(sys_errno)),
			 LOG_INT("connIndex", r->index));
	r->told_unreachable = true;
}

static const struct udp_peer_events peer_events = {
	.on_datagram = on_reply,
	.on_unreachable = on_unreachable,
};

/* Replaces the socket by one to the next address that there is a way to. */
static bool connect_next(struct relay *r, struct err *err)
{
	while (r->next < r->count) {
		const struct address *to = &r->addresses[r->next++];
		struct udp_peer *peer = udp_peer_new(r->udp->loop, to, &peer_events, r, err);
		if (!peer)
			continue;
		udp_peer_free(r->peer);
		r->peer = peer;
		if (r->rule && r->rule->origin.proxy_protocol == INGRESS_PROXY_V2 &&
		    !r->has_proxy_header)
			r->header_len = proxy_header_datagram(&r->client, to, r->header);
		return true;
	}
	return false;
}

/* --- Edge to service ------------------------------------------------------------------------- */

static void keep_last(struct relay *r, struct bytes payload)
{
	r->last = mem_free(r->last);
	if (r->has_answered || r->next == r->count)
		return;
	r->last = mem_alloc(payload.len + 1);
	if (payload.len)
		memcpy(r->last, payload.ptr, payload.len);
	r->last_len = payload.len;
}

static void on_datagram(struct udp_flow *f, struct bytes payload)
{
	struct relay *r = f->ctx;

	CHECK(r, RELAY_MAGIC);
	keep_last(r, payload);
	int rc = udp_peer_send_two(r->peer, bytes_of(r->header, r->header_len), payload);
	if (rc < 0)
		count_drop(r, rc == E_AGAIN ? "write_full" : "write_failed");
}

static void on_closed(struct udp_flow *f, enum reason why, struct bytes text)
{
	struct relay *r = f->ctx;

	CHECK(r, RELAY_MAGIC);
	log_debug(COMPONENT, "UDP flow ended", LOG_INT("connIndex", r->index),
		  LOG_STR("reason", reason_text(why)), LOG_BYTES("text", text));
	relay_free(r);
}

static const struct udp_flow_events flow_events = {
	.on_datagram = on_datagram,
	.on_closed = on_closed,
};

/* --- Accepting ------------------------------------------------------------------------------- */

static void start(struct relay *r)
{
	char text[ADDRESS_TEXT_SIZE];
	struct err err = { .code = 0 };

	if (!connect_next(r, &err)) {
		fail(r, &err);
		return;
	}
	r->is_accepted = true;
	metric_add(&connector_metrics.udp_active_sessions, 1);
	metric_add(&connector_metrics.udp_total_sessions, 1);
	log_debug(COMPONENT, "UDP flow", LOG_INT("connIndex", r->index),
		  LOG_STR("service", service_of(r, text)),
		  LOG_STR("client", r->client.len ? address_ip_text(&r->client, text) : ""));
	if (r->rule && r->rule->origin.idle_timeout)
		udp_flow_limit_idle(r->flow, r->rule->origin.idle_timeout / USEC_PER_MSEC);
	udp_flow_accept(r->flow);
}

/* --- Names ----------------------------------------------------------------------------------- */

static void name_free(struct name *n)
{
	mem_free(n->key);
	mem_free(n->host);
	mem_free(n);
}

static void look_up(void *arg)
{
	struct name *n = arg;

	n->count = resolve_host(n->host, n->port, AF_UNSPEC, n->addresses, MAX_ADDRESSES, &n->err);
}

static void take_addresses(struct relay *r, const struct name *n)
{
	memcpy(r->addresses, n->addresses, sizeof(r->addresses));
	r->count = n->count;
	start(r);
}

static void on_looked_up(void *arg)
{
	struct name *n = arg;

	if (!n->udp) {
		name_free(n);
		return;
	}
	n->is_looking = false;
	n->at = loop_now(n->udp->loop);
	while (!list_is_empty(&n->waiting)) {
		struct relay *r = LIST_ENTRY(n->waiting.next, struct relay, node);
		list_remove(&r->node);
		if (n->count > 0)
			take_addresses(r, n);
		else
			fail(r, &n->err);
	}
}

static struct name *name_of(struct origin_udp *u, const struct ingress_rule *rule)
{
	char *key = mem_printf("%s %u", rule->host, rule->port);
	struct name *n = map_find(u->names, bytes_str(key));

	if (n) {
		mem_free(key);
		return n;
	}
	n = mem_alloc(sizeof(*n));
	n->udp = u;
	n->key = key;
	n->host = mem_strdup(rule->host);
	n->port = rule->port;
	list_init(&n->waiting);
	map_put(u->names, bytes_str(key), n);
	return n;
}

static void find_name(struct relay *r)
{
	struct origin_udp *u = r->udp;
	struct name *n = name_of(u, r->rule);
	bool is_fresh = n->at && n->count > 0 &&
			loop_now(u->loop) - n->at < LIMIT_UDP_NAME_MS * USEC_PER_MSEC;

	if (is_fresh && !n->is_looking) {
		take_addresses(r, n);
		return;
	}
	list_append(&n->waiting, &r->node);
	if (n->is_looking)
		return;
	n->is_looking = true;
	loop_work(u->loop, look_up, on_looked_up, n);
}

/* --- Opening --------------------------------------------------------------------------------- */

static void refuse(struct udp_flow *f, const struct udp_target *target, unsigned index,
		   enum reason why, const char *text)
{
	char name[ADDRESS_TEXT_SIZE];

	if (target->hostname.len)
		(void)snprintf(name, sizeof(name), BYTES_FMT,
			       BYTES_ARG(bytes_first(target->hostname, sizeof(name) - 1)));
	else
		address_text(&target->ip, name);
	log_refusal(name, index, text);
	udp_flow_close(f, why, bytes_str(text));
}

static struct relay *relay_new(struct origin_udp *u, struct udp_flow *f,
			       const struct udp_target *target, unsigned index)
{
	struct relay *r = mem_alloc(sizeof(*r));

	r->magic = RELAY_MAGIC;
	list_init(&r->node);
	r->udp = u;
	r->flow = f;
	r->index = index;
	r->client = target->client;
	r->has_proxy_header = target->has_proxy_header;
	u->flows++;
	f->events = &flow_events;
	f->ctx = r;
	return r;
}

static void open_rule(struct origin_udp *u, struct origin_set *set, struct udp_flow *f,
		      const struct udp_target *target, unsigned index)
{
	const struct ingress_rule *rule =
		ingress_match_udp(origin_set_ingress(set), target->hostname);

	if (!rule) {
		refuse(f, target, index, REASON_REFUSED,
		       "no ingress rule for this hostname has a service like udp://host:port");
		return;
	}
	struct relay *r = relay_new(u, f, target, index);
	r->set = origin_set_ref(set);
	r->rule = rule;
	metric_add(connector_metrics_rule_requests(rule->label), 1);
	if (address_from_ip(bytes_str(rule->host), rule->port, &r->addresses[0])) {
		r->count = 1;
		start(r);
	} else {
		find_name(r);
	}
}

static void open_address(struct origin_udp *u, struct origin_set *set, struct udp_flow *f,
			 const struct udp_target *target, unsigned index)
{
	const struct ingress_private *p = ingress_private(origin_set_ingress(set));
	struct origin_private *limits = u->private;
	uint32_t max = limits->has_max ? limits->max : p->max_active_flows;
	const char *why = ingress_private_refusal(p, &target->ip);

	if (!why && address_port(&target->ip) == 0)
		why = "a destination has a port";
	if (why) {
		refuse(f, target, index, REASON_REFUSED, why);
		return;
	}
	if (max && limits->flows >= max) {
		refuse(f, target, index, REASON_FLOOD,
		       "it carries as many private network connections as maxActiveFlows allows");
		return;
	}
	struct relay *r = relay_new(u, f, target, index);
	limits->flows++;
	r->addresses[0] = target->ip;
	r->count = 1;
	start(r);
}

void origin_udp_open(struct origin_udp *u, struct origin_set *set, struct udp_flow *f,
		     const struct udp_target *target, unsigned index)
{
	if (u->flows >= u->max)
		refuse(f, target, index, REASON_FLOOD, "the connector carries too many UDP flows");
	else if (target->hostname.len)
		open_rule(u, set, f, target, index);
	else
		open_address(u, set, f, target, index);
}

/* --- Life ------------------------------------------------------------------------------------ */

struct origin_udp *origin_udp_new(struct loop *loop, struct origin_private *private)
{
	struct origin_udp *u = mem_alloc(sizeof(*u));
	struct rlimit files;

	u->loop = loop;
	u->private = private;
	u->names = map_new();
	u->max = LIMIT_UDP_CONNECTOR_FLOWS;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 2 < u->max)
		u->max = (size_t)files.rlim_cur / 2;
	return u;
}

struct origin_udp *origin_udp_free(struct origin_udp *u)
{
	size_t cursor = 0;
	struct bytes key;
	void *value;

	if (!u)
		return NULL;
	BUG_IF(u->flows);
	while (map_next(u->names, &cursor, &key, &value)) {
		struct name *n = value;
		n->udp = NULL;
		if (!n->is_looking)
			name_free(n);
	}
	map_free(u->names);
	return mem_free(u);
}

size_t origin_udp_count(const struct origin_udp *u)
{
	return u->flows;
}
