#include "edge/edge.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "edge/access/countries.h"
#include "edge/access/metrics.h"
#include "edge/acme/challenges.h"
#include "edge/acme/manager.h"
#include "edge/acme/show.h"
#include "edge/control/control.h"
#include "edge/control/gateway.h"
#include "edge/dns/control.h"
#include "edge/dns/server.h"
#include "edge/dns/tell.h"
#include "edge/certificates.h"
#include "edge/edge_keys.h"
#include "edge/edge_tls.h"
#include "edge/forward/dispatch.h"
#include "edge/forward/private_tcp.h"
#include "edge/guard.h"
#include "edge/key_move.h"
#include "edge/listen/local.h"
#include "edge/listen/sockets.h"
#include "edge/listen/announced.h"
#include "edge/listen/visitor.h"
#include "edge/ports/port_tcp.h"
#include "edge/ports/port_udp.h"
#include "edge/ports/ports.h"
#include "edge/rates.h"
#include "edge/stapling.h"
#include "edge/takeover/giver.h"
#include "edge/takeover/successor.h"
#include "edge/takeover/taker.h"
#include "edge/tickets.h"
#include "edge/tunnels/accept.h"
#include "edge/tunnels/quic_listener.h"
#include "edge/tunnels/quic_relay.h"
#include "edge/tunnels/service_report.h"
#include "edge/worker.h"
#include "io/conn.h"
#include "io/notify.h"
#include "io/watchdog.h"
#include "store/store.h"
#include "tls/key_box.h"
#include "tls/tls.h"

#define COMPONENT "edge"

/* A snapshot that could not be built (a full disk, say) is tried again after this. */
#define RETRY_SNAPSHOT_MS 10000
/* How often an edge that was taken over looks what its successor has written. */
#define FOLLOW_MS 2000

struct edge {
	const struct edge_config *config;
	struct store *store;
	struct loop *loop; /* the control thread's, which is the main thread */
	char *alt_svc;     /* owned; see struct worker; NULL: no HTTP/3 */
	struct control *control;
	struct control_gateway *gateway;
	struct directory *directory;
	struct snapshot *snapshot;     /* counted: the newest */
	struct challenges *challenges; /* counted: what authorities may be shown; NULL: nothing */
	struct acme_manager *acme;     /* NULL: no directory is configured */
	struct acme_show *acme_show;
	struct countries *countries; /* counted; NULL: there is no database */
	struct dns_control *dns;     /* NULL: names are resolved elsewhere */
	struct dns_tell *dns_tell;
	struct local_listeners *local;
	struct ports *ports;
	struct sockets *sockets;
	struct taker *taker;         /* of the edge before, until its sockets are ours */
	struct giver *giver;         /* NULL when there can be no successor */
	struct successor *successor; /* whom SIGUSR2 starts */
	struct watchdog *watchdog;   /* NULL: the service manager has none */
	struct quic_relay *relay;    /* to the edges before, and from the one after */
	int64_t generation;          /* how many edges handed on to each other, this one counted */
	struct worker **workers;
	pthread_t *threads;
	size_t worker_count, threads_started;
	atomic_size_t next_worker;
	struct tickets *tickets;
	struct stapling *stapling;
	struct guard *guard; /* what visitors are held to */
	struct rates *rates;
	struct timer renew, grace;
	struct timer follow; /* taken over: the successor writes, this one reads */
	int64_t followed;    /* revision */
	usec started_at;
	bool is_stopping, is_taken_over;
};

struct worker *edge_next_worker(struct edge *e)
{
	return e->workers[atomic_fetch_add_explicit(&e->next_worker, 1, memory_order_relaxed) %
			  e->worker_count];
}

/* --- The directory, told by workers ---------------------------------------------------------- */

static struct metric metric_connectors = {
	.name = "adit_edge_connectors",
	.help = "Connectors that have a connection now",
	.type = METRIC_GAUGE,
};
static struct metric metric_services = {
	.name = "adit_edge_services",
	.labels = "state=\"checked\"",
	.help = "Services that connectors check, and those of them that are down",
	.type = METRIC_GAUGE,
};
static struct metric metric_services_unhealthy = {
	.name = "adit_edge_services",
	.labels = "state=\"unhealthy\"",
	.help = "Services that connectors check, and those of them that are down",
	.type = METRIC_GAUGE,
};

static void update_health_metrics(const struct edge *e)
{
	struct directory_health health;

	directory_health(e->directory, NULL, &health);
	metric_set(&metric_connectors, (int64_t)health.connectors);
	metric_set(&metric_services, (int64_t)health.services);
	metric_set(&metric_services_unhealthy, (int64_t)health.services_unhealthy);
}

struct news {
	struct edge *edge;
	struct directory_record record;
	struct arena arena;
	bool is_up;
};

static void on_news(void *arg)
{
	struct news *n = arg;

	if (n->is_up)
		directory_add(n->edge->directory, &n->record);
	else
		directory_remove(n->edge->directory, &n->record.connection);
	update_health_metrics(n->edge);
	arena_done(&n->arena);
	mem_free(n);
}

void edge_session_up(struct edge *e, const struct directory_record *r)
{
	struct news *n = mem_alloc(sizeof(*n));

	arena_init(&n->arena);
	n->edge = e;
	n->is_up = true;
	n->record = *r;
	n->record.version = arena_strdup(&n->arena, bytes_str(r->version));
	n->record.arch = arena_strdup(&n->arena, bytes_str(r->arch));
	n->record.origin_ip = arena_strdup(&n->arena, bytes_str(r->origin_ip));
	n->record.location = arena_strdup(&n->arena, bytes_str(r->location));
	const char **features = arena_alloc(&n->arena, (r->feature_count + 1) * sizeof(*features));
	for (size_t i = 0; i < r->feature_count; i++)
		features[i] = arena_strdup(&n->arena, bytes_str(r->features[i]));
	n->record.features = features;
	loop_post(e->loop, on_news, n);
}

void edge_session_down(struct edge *e, const struct uuid *connection)
{
	struct news *n = mem_alloc(sizeof(*n));

	arena_init(&n->arena);
	n->edge = e;
	n->record.connection = *connection;
	loop_post(e->loop, on_news, n);
}

struct services_news {
	struct edge *edge;
	struct uuid connector;
	struct service_report *report; /* counted */
};

static void on_services(void *arg)
{
	struct services_news *n = arg;

	directory_set_services(n->edge->directory, &n->connector, n->report);
	service_report_unref(n->report);
	update_health_metrics(n->edge);
	mem_free(n);
}

void edge_connector_services(struct edge *e, const struct uuid *connector,
			     struct service_report *report)
{
	struct services_news *n = mem_alloc(sizeof(*n));

	*n = (struct services_news){ e, *connector, service_report_ref(report) };
	loop_post(e->loop, on_services, n);
}

/* --- Snapshots ------------------------------------------------------------------------------- */

/* Gives `s`, and what authorities may be shown, to every worker. */
static int spread(struct edge *e, struct snapshot *s, struct err *err)
{
	struct worker_tls tls;

	if (edge_tls_make(e, s, e->challenges, &tls, err) < 0)
		return E_TLS;
	/* At the start directly: a worker that accepts must have certificates. */
	void (*give)(struct worker *, struct snapshot *, const struct worker_tls *) =
		e->threads_started ? worker_post_snapshot : worker_set_snapshot;
	for (size_t i = 0; i < e->worker_count; i++) {
		struct worker_tls its = edge_tls_ref(&tls);
		give(e->workers[i], snapshot_ref(s), &its);
	}
	edge_tls_done(&tls);
	return 0;
}

/* Builds a snapshot and gives it to every worker. */
static int spread_snapshot(struct edge *e, struct err *err)
{
	struct snapshot *s =
		snapshot_build(e->store, e->config->public_url, e->countries, e->snapshot, err);

	if (!s)
		return err_wrap(err, "reading the routes");
	if (spread(e, s, err) < 0) {
		snapshot_unref(s);
		return E_TLS;
	}
	snapshot_unref(e->snapshot);
	e->snapshot = s;
	/* At the start the edge's own listeners come first. */
	if (e->threads_started) {
		ports_update(e->ports, s);
		dns_control_update(e->dns);
		dns_tell_update(e->dns_tell);
		acme_manager_update(e->acme);
		stapling_update(e->stapling, s);
	}
	int64_t wait_ms = (snapshot_renew_at(s) - clock_wall_now()) / USEC_PER_MSEC;
	timer_set(&e->renew, wait_ms > RETRY_SNAPSHOT_MS ? wait_ms : RETRY_SNAPSHOT_MS);
	return 0;
}

static void on_stapled(void *ctx)
{
	struct edge *e = ctx;
	struct err err = { 0 };

	if (spread_snapshot(e, &err) < 0)
		log_error(COMPONENT, "cannot staple an OCSP answer", LOG_STR("error", err.text));
}

/* --- ACME ------------------------------------------------------------------------------------- */

static int spread_challenges(void *ctx, struct challenges *set, struct err *err)
{
	struct edge *e = ctx;

	challenges_unref(e->challenges);
	e->challenges = set;
	return spread(e, e->snapshot, err);
}

static bool hook_is_authoritative(void *ctx, const char *zone)
{
	const struct edge *e = ctx;

	return dns_control_serves(e->dns, zone) || dns_tell_serves(e->dns_tell, zone);
}

static void hook_certificate(void *ctx)
{
	struct edge *e = ctx;
	struct err err = { 0 };

	if (spread_snapshot(e, &err) == 0)
		return;
	log_error(COMPONENT, "a certificate is stored, but not served yet",
		  LOG_STR("error", err.text));
	timer_set(&e->renew, RETRY_SNAPSHOT_MS);
}

static void make_acme(struct edge *e)
{
	const struct acme_show_options show = {
		.loop = e->loop,
		.workers = e->workers,
		.count = e->worker_count,
		.dns = &e->dns,
		.tell = &e->dns_tell,
		.spread = spread_challenges,
		.ctx = e,
	};
	const struct acme_manager_hooks hooks = {
		.ctx = e,
		.is_authoritative = hook_is_authoritative,
		.changed = hook_certificate,
	};

	e->acme_show = acme_show_new(&show);
	e->acme = acme_manager_new(e->store, e->loop, e->config, e->acme_show, &hooks);
	if (e->acme)
		control_status_add(e->control, "acme", acme_manager_status, e->acme);
}

void edge_name_asked(struct edge *e, const struct snapshot *s, struct bytes server_name)
{
	if (acme_manager_may_ask(e->acme) && server_name.len &&
	    !snapshot_is_certified(s, server_name) && snapshot_route(s, server_name))
		acme_manager_ask(e->acme, server_name);
}

static void on_renew(struct timer *t)
{
	struct edge *e = CONTAINER_OF(t, struct edge, renew);
	struct err err = { 0 };

	if (spread_snapshot(e, &err) < 0) {
		log_error(COMPONENT, "cannot renew certificates", LOG_STR("error", err.text));
		timer_set(&e->renew, RETRY_SNAPSHOT_MS);
	}
	/* The keys of Access may be others now. */
	control_forget(e->control);
}

/* --- What the control plane asks of us ------------------------------------------------------- */

static int hook_changed(void *ctx, struct err *err)
{
	return spread_snapshot(ctx, err);
}

static char *hook_connections(void *ctx, const struct uuid *tunnel)
{
	const struct edge *e = ctx;

	return directory_json(e->directory, tunnel);
}

static size_t hook_connection_count(void *ctx, const struct uuid *tunnel)
{
	const struct edge *e = ctx;

	return directory_count(e->directory, tunnel);
}

static void hook_disconnect(void *ctx, const struct uuid *tunnel, const struct uuid *connector)
{
	struct edge *e = ctx;

	for (size_t i = 0; i < e->worker_count; i++)
		worker_post_disconnect(e->workers[i], tunnel, connector);
}

static json_t *hook_tls_orders(void *ctx)
{
	const struct edge *e = ctx;

	return acme_manager_list(e->acme);
}

static int hook_tls_renew(void *ctx, const char *name, struct err *err)
{
	const struct edge *e = ctx;

	return acme_manager_renew(e->acme, name, err);
}

static void hook_port_state(void *ctx, enum port_protocol protocol, uint16_t port,
			    struct ports_state *ret)
{
	const struct edge *e = ctx;

	ports_state(e->ports, protocol, port, ret);
}

static int64_t read_requests(void *ctx)
{
	int64_t requests = 0;

	(void)ctx;
	for (size_t i = 1; i < ARRAY_LEN(metric_requests); i++)
		requests += metric_get(&metric_requests[i]);
	return requests;
}

static int64_t read_handshakes(void *ctx)
{
	struct tls_totals totals;

	(void)ctx;
	tls_totals(&totals);
	return totals.full + totals.resumed;
}

static int64_t read_failed_handshakes(void *ctx)
{
	struct tls_totals totals;

	(void)ctx;
	tls_totals(&totals);
	return totals.failed;
}

static void add_status_parts(struct edge *e)
{
	rates_watch(e->rates, "requests", read_requests, NULL);
	rates_watch(e->rates, "tls_handshakes", read_handshakes, NULL);
	rates_watch(e->rates, "failed_tls_handshakes", read_failed_handshakes, NULL);
	control_status_add(e->control, "rates", rates_json, e->rates);
	control_status_add(e->control, "limits", guard_json, e->guard);
}

static char *hook_status(void *ctx)
{
	const struct edge *e = ctx;
	struct directory_health health;
	size_t ports_open, ports_failed;
	struct tls_totals tls;
	int64_t requests = read_requests(NULL);

	directory_health(e->directory, NULL, &health);
	ports_count(e->ports, &ports_open, &ports_failed);
	tls_totals(&tls);
	return mem_printf(
		"{\"version\":\"%s\",\"tls\":\"%s\",\"location\":\"%s\",\"uptime_seconds\":%lld,\"workers\":%zu,"
		"\"tunnel_connections\":%zu,\"tunnel_connections_http2\":%lld,"
		"\"tunnel_connections_quic\":%lld,\"connectors\":%zu,\"services_checked\":%zu,"
		"\"services_unhealthy\":%zu,\"ejections\":%lld,\"requests_retried\":%lld,\"ports_open\":%zu,\"ports_failed\":%zu,\"visitors\":%lld,\"exchanges\":%ld,\"requests\":%lld,"
		"\"tls_full_handshakes\":%lld,\"tls_resumed_handshakes\":%lld,\"tls_failed_handshakes\":%lld,"
		"\"revision\":%lld}",
		ADIT_VERSION, tls_library_version(), e->config->location,
		(long long)((clock_now() - e->started_at) / USEC_PER_SEC), e->worker_count,
		directory_count(e->directory, NULL), (long long)metric_get(&metric_tunnel_http2),
		(long long)metric_get(&metric_tunnel_quic), health.connectors, health.services,
		health.services_unhealthy, (long long)metric_get(&metric_ejections),
		(long long)metric_get(&metric_retried), ports_open, ports_failed,
		(long long)metric_get(&metric_visitors), exchange_live_count(), (long long)requests,
		(long long)tls.full, (long long)tls.resumed, (long long)tls.failed,
		(long long)snapshot_revision(e->snapshot));
}

/* --- Listeners ------------------------------------------------------------------------------- */

static void on_connector(void *worker, int fd, const struct address *peer)
{
	struct worker *w = worker;

	/* The connections of one connector are spread over the workers. */
	worker_post_connector(edge_next_worker(w->edge), fd, peer);
}

/* Each worker gets a socket of its own on the address; *ret has its port then. */
static int listen_on_all(struct edge *e, const char *text, const char *what,
			 void (*on_accept)(void *worker, int fd, const struct address *peer),
			 struct address *ret, struct err *err)
{
	struct address address;
	char shown[ADDRESS_TEXT_SIZE];
	struct socket_group *group =
		sockets_listen(e->sockets, what, text, true, e->worker_count, &address, err);

	if (!group)
		return err_wrap(err, "%s", what);
	/* Of an edge with another number of workers: some serve several sockets, or share one. */
	size_t count = group->count > e->worker_count ? group->count : e->worker_count;
	for (size_t i = 0; i < count; i++) {
		int fd = sockets_dup(group, i, err);
		if (fd < 0)
			return fd;
		worker_listen(e->workers[i % e->worker_count], fd, on_accept);
	}
	log_info(COMPONENT, "listening", LOG_STR("for", what),
		 LOG_STR("address", address_text(&address, shown)));
	*ret = address;
	return 0;
}

/* Kept in the store, as a restarted edge knows by it which connections were its own. */
static int get_quic_secret(struct store *store, uint8_t ret[QUIC_SECRET_BYTES], struct err *err)
{
	struct err why = { 0 };
	char *text = store_setting_get(store, "quic.secret", &why);
	int rc = 0;

	if (!text && why.code != E_NOT_FOUND) {
		if (err)
			*err = why;
		return why.code;
	}
	if (!text || strlen(text) != 2 * QUIC_SECRET_BYTES || !hex_decode(bytes_str(text), ret)) {
		mem_free(text);
		random_bytes(ret, QUIC_SECRET_BYTES);
		text = hex_text(bytes_of(ret, QUIC_SECRET_BYTES));
		rc = store_setting_put(store, "quic.secret", text, true, err);
	}
	secret_wipe(text, strlen(text));
	mem_free(text);
	return rc;
}

/* Of HTTP/3, on every answer to who came another way (RFC 7838). */
static void advertise_h3(struct edge *e, const struct address *address)
{
	const struct edge_config *cfg = e->config;
	unsigned port = cfg->https_quic_port ? cfg->https_quic_port : address_port(address);

	if (e->alt_svc)
		return; /* the first address is what visitors are redirected to, too */
	e->alt_svc = mem_printf("h3=\":%u\"; ma=%lld", port,
				(long long)(cfg->https_quic_max_age / USEC_PER_SEC));
	for (size_t i = 0; i < e->worker_count; i++)
		e->workers[i]->alt_svc = e->alt_svc;
}

/* UDP on an address where connectors may come by TCP, and visitors on those of `is_https`. */
static int listen_quic(struct edge *e, const struct address *address, bool is_https,
		       struct bytes secret, struct err *err)
{
	enum edge_quic tunnel = e->config->tunnel_quic;
	enum edge_quic https = is_https ? e->config->https_quic : EDGE_QUIC_OFF;
	struct err why = { 0 };
	char shown[ADDRESS_TEXT_SIZE];

	address_text(address, shown);
	if ((tunnel == EDGE_QUIC_OFF && https == EDGE_QUIC_OFF) || address->any.sa_family == AF_UNIX)
		return 0;
	const struct quic_listen how = {
		.workers = e->workers,
		.worker_count = e->worker_count,
		.sockets = e->sockets,
		.relay = e->relay,
		.secret = secret,
		.takes_connectors = tunnel != EDGE_QUIC_OFF,
		.takes_visitors = https != EDGE_QUIC_OFF,
	};
	if (quic_listen_on_all(&how, address, &why) == 0) {
		if (how.takes_connectors)
			log_info(COMPONENT, "listening", LOG_STR("for", "tunnel over QUIC"),
				 LOG_STR("address", shown));
		if (how.takes_visitors) {
			log_info(COMPONENT, "listening", LOG_STR("for", "HTTP/3"),
				 LOG_STR("address", shown));
			advertise_h3(e, address);
		}
		return 0;
	}
	if (tunnel == EDGE_QUIC_ON || https == EDGE_QUIC_ON) {
		*err = why;
		return err_wrap(err, tunnel == EDGE_QUIC_ON ? "tunnel" : "HTTP/3");
	}
	if (how.takes_connectors)
		log_warn(COMPONENT,
			 "no QUIC here, connectors use HTTP/2 (tunnel-quic: off is without this warning)",
			 LOG_STR("address", shown), LOG_STR("error", why.text));
	if (how.takes_visitors)
		log_warn(COMPONENT,
			 "no HTTP/3 here, visitors use TCP (https-quic: off is without this warning)",
			 LOG_STR("address", shown), LOG_STR("error", why.text));
	return 0;
}

/* With `quic_secret` connectors may come by QUIC, too. */
static int listen_on_texts(struct edge *e, const struct edge_texts *texts, const char *what,
			   void (*on_accept)(void *worker, int fd, const struct address *peer),
			   struct bytes quic_secret, struct err *err)
{
	struct address address;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < texts->count; i++) {
		rc = listen_on_all(e, texts->list[i], what, on_accept, &address, err);
		if (rc == 0 && quic_secret.len)
			rc = listen_quic(e, &address, on_accept == visitor_accept_https,
					 quic_secret, err);
	}
	return rc;
}

static int listen_for_all(struct edge *e, struct err *err)
{
	const struct edge_config *cfg = e->config;
	uint8_t bytes[QUIC_SECRET_BYTES];
	struct bytes secret = bytes_of(bytes, sizeof(bytes));
	int rc = get_quic_secret(e->store, bytes, err);

	if (rc == 0)
		rc = listen_on_texts(e, &cfg->https, "https", visitor_accept_https, secret, err);
	if (rc == 0)
		rc = listen_on_texts(e, &cfg->http, "http", visitor_accept_http, BYTES_NONE, err);
	if (rc == 0)
		rc = listen_on_texts(e, &cfg->tunnel, "tunnel", on_connector, secret, err);
	secret_wipe(bytes, sizeof(bytes));
	return rc;
}

static uint16_t first_https_port(const struct edge_config *cfg)
{
	struct address address;

	if (cfg->https.count == 0 ||
	    address_parse(bytes_str(cfg->https.list[0]), &address, NULL) < 0)
		return 443;
	return address_port(&address);
}

/* --- Life ------------------------------------------------------------------------------------ */

static void *worker_thread(void *arg)
{
	struct worker *w = arg;

	loop_run(w->loop);
	return NULL;
}

static void on_grace_over(struct timer *t)
{
	struct edge *e = CONTAINER_OF(t, struct edge, grace);

	log_warn(COMPONENT, "grace period over: ending what still runs");
	for (size_t i = 0; i < e->worker_count; i++)
		worker_post_abort(e->workers[i]);
}

/* A thread that waits for the workers, so that the control loop can serve them meanwhile. */
static void join_workers(void *arg)
{
	struct edge *e = arg;

	for (size_t i = 0; i < e->threads_started; i++)
		pthread_join(e->threads[i], NULL);
}

static void on_workers_ended(void *arg)
{
	struct edge *e = arg;

	timer_stop(&e->grace);
	loop_stop(e->loop);
}

static void on_signal(void *arg, int signum)
{
	struct edge *e = arg;
	bool was_leaving = e->is_taken_over;

	if (e->is_stopping) {
		on_grace_over(&e->grace);
		return;
	}
	e->is_stopping = true;
	e->watchdog = watchdog_free(e->watchdog);
	log_info(COMPONENT, "stopping",
		 LOG_STR("signal", signum == SIGINT ? "interrupt" : "terminated"));
	acme_manager_pause(e->acme, true);
	stapling_pause(e->stapling, true);
	timer_set(&e->grace, e->config->grace_period / USEC_PER_MSEC);
	if (!was_leaving) {
		notify_service_manager("STOPPING=1");
		local_listeners_set_ready(e->local, false);
		e->giver = giver_free(e->giver);
		sockets_close_all(e->sockets);
		control_plane_drain(e->control);
		ports_drain(e->ports);
	}
	for (size_t i = 0; i < e->worker_count; i++)
		worker_post_drain(e->workers[i]);
	if (!was_leaving)
		loop_work(e->loop, join_workers, on_workers_ended, e);
}

/* --- Takeover: a successor serves from now on ------------------------------------------------- */

/* The successor writes: tunnels that are deleted there, say, have to end here, too. */
static void on_follow(struct timer *t)
{
	struct edge *e = CONTAINER_OF(t, struct edge, follow);
	int64_t revision = store_revision(e->store, NULL);
	struct err err = { 0 };

	if (revision > e->followed)
		tickets_follow(e->tickets);
	e->followed = revision;
	if (revision > snapshot_revision(e->snapshot) && spread_snapshot(e, &err) < 0)
		log_debug(COMPONENT, "cannot follow the successor", LOG_STR("error", err.text));
	timer_stop(&e->renew);
	timer_set(t, FOLLOW_MS);
}

/* Of public ports: their table has its own (edge/ports/ports.h), and changes while we run. */
static const char *const port_names[] = { [PORT_TCP] = "tcp port", [PORT_UDP] = "udp port" };

static void offer_port(void *ctx, const struct ports_socket *s)
{
	struct edge *e = ctx;
	char text[ADDRESS_TEXT_SIZE];
	int fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0)
		(void)sockets_add(e->sockets, port_names[s->protocol],
				  address_text(&s->address, text),
				  s->protocol == PORT_UDP ? SOCKET_DATAGRAM : SOCKET_STREAM, &fd, 1);
}

static enum port_protocol protocol_of(const struct socket_group *g)
{
	return strcmp(g->what, port_names[PORT_UDP]) == 0 ? PORT_UDP : PORT_TCP;
}

static bool is_port(const struct socket_group *g)
{
	return strcmp(g->what, port_names[protocol_of(g)]) == 0;
}

static void withdraw_ports(struct edge *e)
{
	const struct socket_group *next;

	for (const struct socket_group *g = sockets_next(e->sockets, NULL); g; g = next) {
		next = sockets_next(e->sockets, g);
		if (is_port(g))
			sockets_close(e->sockets, (struct socket_group *)(uintptr_t)g);
	}
}

static void inherit_ports(struct edge *e)
{
	for (const struct socket_group *g = sockets_next(e->sockets, NULL); g;
	     g = sockets_next(e->sockets, g)) {
		struct ports_socket s = { .protocol = protocol_of(g) };
		if (!is_port(g) || address_parse(bytes_str(g->address), &s.address, NULL) < 0)
			continue;
		for (size_t i = 0; i < g->count; i++)
			if ((s.fd = sockets_dup(g, i, NULL)) >= 0)
				ports_inherit(e->ports, &s);
	}
	withdraw_ports(e);
}

static void on_frozen(void *ctx, bool is_frozen)
{
	struct edge *e = ctx;
	struct err err = { 0 };

	if (is_frozen && quic_relay_offer(e->relay, e->loop, e->workers, &err) < 0)
		log_warn(COMPONENT, "connections over QUIC will not live on",
			 LOG_STR("error", err.text));
	withdraw_ports(e);
	if (is_frozen)
		ports_each_socket(e->ports, offer_port, e);
	acme_manager_pause(e->acme, is_frozen);
	stapling_pause(e->stapling, is_frozen);
	dns_control_pause(e->dns, is_frozen);
	dns_tell_pause(e->dns_tell, is_frozen);
	if (is_frozen)
		control_plane_freeze(e->control);
	else
		control_plane_thaw(e->control);
}

static char *on_state(void *ctx)
{
	const struct edge *e = ctx;

	return control_plane_save(e->control);
}

static void on_handed_over(void *ctx, pid_t successor)
{
	struct edge *e = ctx;
	char word[32];

	log_info(COMPONENT, "a successor has taken over, finishing what runs here",
		 LOG_INT("pid", successor));
	e->is_taken_over = true;
	e->watchdog = watchdog_free(e->watchdog);
	(void)snprintf(word, sizeof(word), "MAINPID=%d", (int)successor);
	notify_service_manager(word);
	successor_forget(e->successor);
	quic_relay_leave(e->relay);
	ports_drain(e->ports);
	sockets_close_all(e->sockets);
	local_listeners_leave(e->local);
	control_plane_hand_over(e->control);
	timer_stop(&e->renew);
	tickets_follow(e->tickets);
	timer_set(&e->follow, FOLLOW_MS);
	timer_set(&e->grace, e->config->takeover_grace / USEC_PER_MSEC);
	for (size_t i = 0; i < e->worker_count; i++)
		worker_post_taken_over(e->workers[i]);
	loop_work(e->loop, join_workers, on_workers_ended, e);
}

static void on_not_handed_over(void *ctx, const char *why)
{
	(void)ctx;
	log_error(COMPONENT, "the takeover did not happen, this edge goes on",
		  LOG_STR("error", why));
	notify_service_manager("READY=1");
}

static const struct giver_events giver_events = {
	.set_frozen = on_frozen,
	.state = on_state,
	.handed_over = on_handed_over,
	.failed = on_not_handed_over,
};

static void on_upgrade(void *arg, int signum)
{
	struct edge *e = arg;
	struct err err = { 0 };
	char word[80];

	(void)signum;
	if (e->is_taken_over || e->is_stopping || !e->giver) {
		log_warn(COMPONENT, "no successor is started",
			 LOG_BOOL("takenOver", e->is_taken_over));
		return;
	}
	/* systemd's Type=notify-reload wants to know when it began. */
	(void)snprintf(word, sizeof(word), "RELOADING=1\nMONOTONIC_USEC=%lld",
		       (long long)clock_now());
	notify_service_manager(word);
	if (successor_start(e->successor, on_not_handed_over, e, &err) < 0)
		on_not_handed_over(e, err.text);
}

/* --- Starting and stopping --------------------------------------------------------------------- */

static int open_countries(const struct edge_config *cfg, struct countries **ret, struct err *err)
{
	*ret = NULL;
	if (!cfg->country_database)
		return 0;
	*ret = countries_open(cfg->country_database, err);
	return *ret ? 0 : err_wrap(err, "country-database");
}

static void log_countries(const struct countries *c)
{
	char built[40];

	if (c)
		log_info(COMPONENT, "countries of addresses are known",
			 LOG_STR("database", countries_type(c)),
			 LOG_STR("built",
				 clock_rfc3339(countries_built_at(c), built, sizeof(built))));
}

/* Somebody has put another file there. A broken one changes nothing. */
static void reload_countries(struct edge *e)
{
	struct countries *fresh;
	struct err err = { 0 };

	if (!e->config->country_database || e->is_stopping || e->is_taken_over)
		return;
	if (open_countries(e->config, &fresh, &err) < 0) {
		log_error(COMPONENT, "the database of countries stays the one of before",
			  LOG_STR("error", err.text));
		return;
	}
	countries_unref(e->countries);
	e->countries = fresh;
	control_set_countries(e->control, fresh);
	log_countries(fresh);
	if (spread_snapshot(e, &err) < 0) {
		log_error(COMPONENT, "the new database of countries is not used yet",
			  LOG_STR("error", err.text));
		timer_set(&e->renew, RETRY_SNAPSHOT_MS);
	}
}

/* Whoever rotates logs has renamed them. */
static void on_reopen(void *arg, int signum)
{
	log_reopen();
	log_info(COMPONENT, "log files are opened again");
	if (signum == SIGHUP)
		reload_countries(arg);
}

static int64_t read_dns_queries(void *ctx)
{
	(void)ctx;
	return metric_get(&metric_dns_queries_udp) + metric_get(&metric_dns_queries_tcp);
}

static int make_dns(struct edge *e, struct err *err)
{
	e->dns_tell = dns_tell_new(e->config, e->store, e->loop);
	const struct dns_control_options options = {
		.config = e->config,
		.store = e->store,
		.loop = e->loop,
		.sockets = e->sockets,
		.workers = e->workers,
		.worker_count = e->worker_count,
		.published = dns_tell_published,
		.ctx = e->dns_tell,
	};

	if (dns_control_new(&options, &e->dns, err) < 0)
		return err->code;
	if (e->dns)
		rates_watch(e->rates, "dns_queries", read_dns_queries, NULL);
	control_status_add(e->control, "dns", dns_control_status, e->dns);
	control_status_add(e->control, "dns_secondaries", dns_tell_secondaries, e->dns_tell);
	control_status_add(e->control, "dns_updates", dns_tell_updates, e->dns_tell);
	return 0;
}

static int make_workers(struct edge *e, struct err *err)
{
	e->worker_count = (size_t)e->config->workers;
	e->workers = mem_alloc_array(e->worker_count, sizeof(e->workers[0]));
	e->threads = mem_alloc_array(e->worker_count, sizeof(e->threads[0]));
	for (size_t i = 0; i < e->worker_count; i++) {
		const struct worker_start start = {
			.index = i,
			.edge = e,
			.location = e->config->location,
			.https_port = first_https_port(e->config),
			.control = e->gateway,
			.limits = guard_limits(e->guard),
			.hold_until = e->taker ? clock_now() + LIMIT_HOLD_MS * USEC_PER_MSEC : 0,
		};
		e->workers[i] = worker_new(&start, err);
		if (!e->workers[i])
			return err->code;
	}
	for (size_t i = 0; i < e->worker_count; i++) {
		e->workers[i]->peers = e->workers;
		e->workers[i]->peer_count = e->worker_count;
	}
	return 0;
}

static void forget_state(struct buf *state)
{
	secret_wipe(state->ptr, state->cap);
	buf_done(state);
}

static int start(struct edge *e, struct err *err)
{
	const struct edge_config *cfg = e->config;
	const struct control_hooks hooks = {
		.ctx = e,
		.changed = hook_changed,
		.connections = hook_connections,
		.connection_count = hook_connection_count,
		.disconnect = hook_disconnect,
		.port_state = hook_port_state,
		.tls_orders = hook_tls_orders,
		.tls_renew = hook_tls_renew,
		.status = hook_status,
	};
	struct control_options options = {
		.public_url = cfg->public_url,
		.edge_addresses = (const char *const *)cfg->advertise.list,
		.edge_address_count = cfg->advertise.count,
		.ports = { (const char *const *)cfg->ports_allow.list, cfg->ports_allow.count },
		.has_country_database = cfg->country_database != NULL,
	};
	struct buf state;
	struct err why = { 0 };

	buf_init(&state, LIMIT_TAKEOVER_STATE_BYTES);
	e->sockets = sockets_new();
	if (cfg->takes_over && taker_begin(cfg->data_dir, e->sockets, &state, &e->taker, err) < 0) {
		forget_state(&state);
		return err->code;
	}
	if (cfg->takes_over && !e->taker)
		log_info(COMPONENT, "no edge runs here that could be taken over, starting afresh",
			 LOG_STR("data", cfg->data_dir));
	e->generation = e->taker ? taker_generation(e->taker) : 1;
	e->store = store_open_with(cfg->data_dir, cfg->sealing, err);
	/* Not under the eyes of an edge that may be of before the key process, and may go on. */
	if (e->store && !e->taker && key_move_all(e->store, err) < 0)
		e->store = store_close(e->store);
	e->loop = e->store ? loop_new(err) : NULL;
	if (!e->loop) {
		forget_state(&state);
		return err->code;
	}
	timer_init(&e->renew, e->loop, on_renew);
	timer_init(&e->follow, e->loop, on_follow);
	timer_init(&e->grace, e->loop, on_grace_over);
	if (open_countries(cfg, &e->countries, err) < 0) {
		forget_state(&state);
		return err->code;
	}
	log_countries(e->countries);
	options.countries = e->countries;
	e->tickets = tickets_new(e->loop, e->store, cfg->tls_ticket_rotation);
	e->stapling = stapling_new(e->loop, e->store, on_stapled, e);
	e->directory = directory_new();
	e->control = control_plane_new(e->store, e->loop, &hooks, &options);
	control_status_add(e->control, "stapling", stapling_status, e->stapling);
	control_plane_load(e->control, buf_bytes(&state));
	e->guard = guard_new(cfg);
	e->rates = rates_new(e->loop);
	add_status_parts(e);
	forget_state(&state);
	e->gateway = control_gateway_new(e->loop, e->control);
	e->relay = quic_relay_new(e->sockets, e->generation, (size_t)cfg->workers);
	if (make_workers(e, err) < 0)
		return err->code;
	make_acme(e);
	e->ports = ports_new(e->loop, cfg, e->workers, e->worker_count);
	inherit_ports(e);
	if (spread_snapshot(e, err) < 0)
		return err->code;
	if (listen_for_all(e, err) < 0 || make_dns(e, err) < 0)
		return err->code;
	e->local = local_listeners_new(e->loop, e->gateway, e->sockets, cfg, err);
	if (!e->local || (e->taker && taker_finish(e->taker, err) < 0))
		return err->code;
	bool has_taken_over = e->taker != NULL;
	e->taker = taker_free(e->taker, NULL);
	if (has_taken_over) {
		int r = key_move_all(e->store, err);
		if (r > 0)
			r = spread_snapshot(e, err);
		if (r < 0)
			return err->code;
	}
	e->giver = giver_new(e->loop, cfg->data_dir, e->sockets, e->generation,
			     has_taken_over ? LIMIT_MOVE_MS : 0, &giver_events, e, &why);
	if (!e->giver)
		log_warn(COMPONENT, "this edge cannot be taken over", LOG_STR("error", why.text));
	sockets_drop_unclaimed(e->sockets);
	for (; e->threads_started < e->worker_count; e->threads_started++) {
		int ret = pthread_create(&e->threads[e->threads_started], NULL, worker_thread,
					 e->workers[e->threads_started]);
		if (ret)
			return err_set_errno(err, E_IO, ret, "starting a worker");
	}
	ports_update(e->ports, e->snapshot);
	dns_tell_update(e->dns_tell);
	acme_manager_update(e->acme);
	stapling_update(e->stapling, e->snapshot);
	return 0;
}

/* `why`: the start failed. */
static void stop(struct edge *e, const struct err *why)
{
	if (!e->is_stopping && !e->is_taken_over) {
		/* The start failed half-way. */
		for (size_t i = 0; i < e->threads_started; i++)
			worker_post_abort(e->workers[i]);
		join_workers(e);
	}
	if (e->loop) {
		timer_stop(&e->renew);
		timer_stop(&e->follow);
		timer_stop(&e->grace);
	}
	e->tickets = tickets_free(e->tickets);
	/* What the edge before listens on is still its own. */
	if (e->taker && e->local)
		local_listeners_leave(e->local);
	taker_free(e->taker, why);
	giver_free(e->giver);
	if (e->local)
		local_listeners_close(e->local);
	e->stapling = stapling_free(e->stapling);
	e->acme = acme_manager_free(e->acme);
	e->acme_show = acme_show_free(e->acme_show);
	e->dns = dns_control_free(e->dns);
	e->dns_tell = dns_tell_free(e->dns_tell);
	/* What workers posted last still runs when the loop is freed, and may answer back to them: so the
	 * control loop goes before the workers' loops, and asks nothing of a control plane that is gone. */
	e->control = control_plane_free(e->control);
	if (e->gateway)
		control_gateway_close(e->gateway);
	e->rates = rates_free(e->rates);
	e->ports = ports_free(e->ports);
	quic_relay_close(e->relay);
	loop_free(e->loop);
	local_listeners_free(e->local);
	for (size_t i = 0; i < e->worker_count; i++)
		worker_free(e->workers[i]);
	mem_free(e->workers);
	mem_free(e->threads);
	guard_free(e->guard);
	control_gateway_free(e->gateway);
	directory_free(e->directory);
	snapshot_unref(e->snapshot);
	countries_unref(e->countries);
	challenges_unref(e->challenges);
	store_close(e->store);
	quic_relay_free(e->relay);
	sockets_free(e->sockets);
	mem_free(e->alt_svc);
}

static void register_metrics(void)
{
	metric_register(&metric_visitors);
	metric_register(&metric_visitors_refused);
	metric_register(&metric_proxy_headers);
	metric_register(&metric_proxy_headers_local);
	metric_register(&metric_proxy_headers_bad);
	guard_register_metrics();
	for (size_t i = 1; i < ARRAY_LEN(metric_requests); i++)
		metric_register(&metric_requests[i]);
	for (size_t i = 1; i < ARRAY_LEN(metric_requests_by_protocol); i++)
		metric_register(&metric_requests_by_protocol[i]);
	tls_register_metrics();
	key_box_register_metrics();
	metric_register(&metric_ocsp_answers);
	metric_register(&metric_ocsp_failures);
	metric_register(&metric_tunnel_sessions);
	metric_register(&metric_tunnel_http2);
	metric_register(&metric_tunnel_quic);
	metric_register(&metric_quic_foreign);
	metric_register(&metric_quic_foreign_lost);
	metric_register(&metric_tunnel_registered);
	metric_register(&metric_tunnel_refused);
	metric_register(&metric_acme_orders[0]);
	metric_register(&metric_acme_orders[1]);
	metric_register(&metric_acme_failing);
	metric_register(&metric_connectors);
	metric_register(&metric_services);
	metric_register(&metric_services_unhealthy);
	metric_register(&metric_ejections);
	metric_register(&metric_ejections_ended);
	metric_register(&metric_retried);
	metric_register(&metric_held);
	metric_register(&metric_private_tcp);
	metric_register(&metric_private_tcp_total);
	metric_register(&metric_port_connections);
	metric_register(&metric_port_connections_total);
	metric_register(&metric_port_connections_refused);
	metric_register(&metric_port_bytes_in);
	metric_register(&metric_port_bytes_out);
	metric_register(&metric_port_flows);
	metric_register(&metric_port_flows_total);
	metric_register(&metric_port_datagrams_in);
	metric_register(&metric_port_datagrams_out);
	for (size_t i = 0; i < PORT_DROP_COUNT; i++)
		metric_register(&metric_port_dropped[i]);
	access_register_metrics();
	dns_control_register_metrics();
	dns_tell_register_metrics();
	metric_register(&metric_log_dropped);
}

/* Once somebody has asked for it: all loops that carry traffic. */
static void watch(struct edge *e)
{
	struct loop **loops = mem_alloc_array(e->worker_count, sizeof(*loops));

	for (size_t i = 0; i < e->worker_count; i++)
		loops[i] = e->workers[i]->loop;
	e->watchdog = watchdog_new(e->loop, loops, e->worker_count);
	mem_free(loops);
}

int edge_run(const struct edge_config *cfg)
{
	struct edge e = { .config = cfg, .started_at = clock_now() };
	struct err err = { 0 };

	mem_return_large_blocks();
	signal(SIGPIPE, SIG_IGN);
	tls_global_init();
	register_metrics();
	bool has_started = start(&e, &err) == 0;
	if (has_started) {
		e.successor = successor_new(e.loop, cfg->launcher);
		struct loop_signal *term = loop_signal_new(e.loop, SIGTERM, on_signal, &e);
		struct loop_signal *interrupt = loop_signal_new(e.loop, SIGINT, on_signal, &e);
		struct loop_signal *hangup = loop_signal_new(e.loop, SIGHUP, on_reopen, &e);
		struct loop_signal *user1 = loop_signal_new(e.loop, SIGUSR1, on_reopen, &e);
		struct loop_signal *user2 = loop_signal_new(e.loop, SIGUSR2, on_upgrade, &e);
		local_listeners_set_ready(e.local, true);
		log_info(COMPONENT, "edge is ready", LOG_STR("version", ADIT_VERSION),
			 LOG_STR("control", cfg->public_url), LOG_INT("workers", e.worker_count),
			 LOG_STR("tls", tls_library_version()));
		notify_service_manager("READY=1");
		watch(&e);
		struct loop_watch *keys = edge_keys_watch(e.loop);
		loop_run(e.loop);
		loop_watch_free(keys);
		e.watchdog = watchdog_free(e.watchdog);
		loop_signal_free(term);
		loop_signal_free(interrupt);
		loop_signal_free(hangup);
		loop_signal_free(user1);
		loop_signal_free(user2);
		e.successor = successor_free(e.successor);
	} else {
		log_error(COMPONENT, "cannot start", LOG_STR("error", err.text));
	}
	stop(&e, has_started ? NULL : &err);
	if (has_started)
		log_info(COMPONENT, "edge has stopped");
	return has_started ? 0 : 1;
}
