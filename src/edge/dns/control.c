#include "edge/dns/control.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "edge/dns/parent.h"
#include "edge/dns/publish.h"
#include "edge/dns/roll.h"
#include "edge/dns/server.h"
#include "edge/dns/settings.h"
#include "edge/edge_config.h"
#include "edge/listen/sockets.h"
#include "edge/worker.h"
#include "io/conn.h"
#include "io/resolve.h"
#include "io/udp.h"
#include "store/store.h"

#define COMPONENT "edge/dns"
#define WHAT "dns"
/* Zones that could not be built or read are tried again. */
#define RETRY_MS 10000
/* Signatures last for days: nobody has to hit the second, and timers take no more. */
#define RENEW_MAX_MS (3600 * 1000)
#define RENEW_MIN_MS 1000
/* Parent zones change rarely. */
#define ASK_MIN_MS 1000
#define ASK_MAX_MS (3600 * 1000)
/* Whoever asks has just been told of a new one. */
#define CHALLENGE_TTL 1
#define CHALLENGES_MAX 200
#define COOKIES "dns.cookies"

static struct metric_set metric_zone_serial = {
	.name = "adit_edge_dns_zone_serial",
	.help = "Serial of each zone as it is served",
	.type = METRIC_GAUGE,
	.label_names = { "zone" },
	.max = 1000,
};
static struct metric metric_zones = {
	.name = "adit_edge_dns_zones",
	.help = "Zones that are served",
	.type = METRIC_GAUGE,
};

/* Goes from worker to worker behind the zones, and then home. Owned by whichever loop it is on. */
struct round {
	struct loop *home;
	struct worker *const *workers;
	size_t count, at;
	atomic_bool is_over; /* nobody waits for it any more, and home may be gone */
	struct dns_control *control;
	void (*shown)(void *arg);
	void *arg;
};

struct dns_control {
	struct dns_control_options options;
	struct dns_settings settings;
	char **hosts; /* owned, and each */
	size_t host_count;
	struct dns_publisher *publisher;
	struct dns_zones *zones;     /* counted: the newest */
	struct dns_peers *peers;     /* counted */
	struct dns_parents *parents; /* NULL: there is no resolver */
	struct timer renew;
	struct round *round; /* borrowed: under way */
	bool is_paused, has_started;
};

/* --- To the workers --------------------------------------------------------------------------- */

static void spread(struct dns_control *c)
{
	for (size_t i = 0; i < c->options.worker_count; i++) {
		struct worker *w = c->options.workers[i];
		if (c->has_started) {
			worker_post_dns(w, dns_zones_ref(c->zones), dns_peers_ref(c->peers));
		} else {
			dns_server_set_zones(w->dns, dns_zones_ref(c->zones));
			dns_server_set_peers(w->dns, dns_peers_ref(c->peers));
		}
	}
}

static void show_serials(const struct dns_control *c)
{
	metric_set(&metric_zones, (int64_t)dns_zones_count(c->zones));
	for (size_t i = 0; i < dns_zones_count(c->zones); i++) {
		const struct dns_zone *z = dns_zones_at(c->zones, i);
		metric_set(metric_of(&metric_zone_serial, bytes_str(dns_zone_name(z)), BYTES_NONE),
			   dns_zone_serial(z));
	}
}

static void set_timer(struct dns_control *c)
{
	usec at = dns_publisher_renew_at(c->publisher);
	int64_t wait_ms = at == INT64_MAX ? RENEW_MAX_MS
					  : (at - clock_wall_now()) / USEC_PER_MSEC + RENEW_MIN_MS;

	if (wait_ms < RENEW_MIN_MS)
		wait_ms = RENEW_MIN_MS;
	timer_set(&c->renew, wait_ms < RENEW_MAX_MS ? wait_ms : RENEW_MAX_MS);
}

static void watch_parents(struct dns_control *c)
{
	size_t count;
	const struct dns_roll_wait *list = dns_publisher_waits(c->publisher, &count);

	if (c->parents)
		dns_parents_set(c->parents, list, c->is_paused ? 0 : count);
}

static int publish(struct dns_control *c, struct err *err)
{
	struct dns_peers *peers = dns_peers_load(c->options.store, err);
	struct dns_zones *zones = peers ? dns_publisher_zones(c->publisher, err) : NULL;

	if (!zones) {
		dns_peers_unref(peers);
		timer_set(&c->renew, RETRY_MS);
		return err && err->code ? err->code : E_INTERNAL;
	}
	dns_zones_unref(c->zones);
	dns_peers_unref(c->peers);
	c->zones = zones;
	c->peers = peers;
	spread(c);
	show_serials(c);
	set_timer(c);
	watch_parents(c);
	if (c->options.published)
		c->options.published(c->options.ctx, zones, peers);
	return 0;
}

void dns_control_update(struct dns_control *c)
{
	struct err err = { 0 };

	if (c && !c->is_paused && publish(c, &err) < 0)
		log_error(COMPONENT, "zones stay as they were", LOG_STR("error", err.text));
}

static void on_renew(struct timer *t)
{
	dns_control_update(CONTAINER_OF(t, struct dns_control, renew));
}

void dns_control_pause(struct dns_control *c, bool is_paused)
{
	if (!c)
		return;
	c->is_paused = is_paused;
	if (is_paused)
		timer_stop(&c->renew);
	else
		set_timer(c);
	watch_parents(c);
}

/* --- Parent zones ------------------------------------------------------------------------------ */

static void on_told(void *ctx, const char *zone, bool has_ds)
{
	struct dns_control *c = ctx;
	struct err err = { 0 };

	if (dns_roll_seen(c->options.store, zone,
			  has_ds ? DNS_SEEN_BY_RESOLVER : DNS_SEEN_BY_NOBODY, &err) < 0)
		log_error(COMPONENT, "a key's roll does not go on", LOG_STR("zone", zone),
			  LOG_STR("error", err.text));
	else
		dns_control_update(c);
}

/* Often enough for the shortest step, and for nobody to mind. */
static int64_t asking_interval_ms(const struct edge_config *config)
{
	int64_t ms = config->dns_ds_ttl / USEC_PER_MSEC / 24;

	return ms < ASK_MIN_MS ? ASK_MIN_MS : ms > ASK_MAX_MS ? ASK_MAX_MS : ms;
}

static void make_parents(struct dns_control *c)
{
	const struct edge_config *config = c->options.config;
	struct address resolver;
	struct err err = { 0 };
	int r;

	if (config->dns_resolver && strcmp(config->dns_resolver, "off") == 0)
		return;
	r = config->dns_resolver ? address_parse(bytes_str(config->dns_resolver), &resolver, &err)
				 : resolve_server(&resolver, &err);
	if (r == 0)
		c->parents = dns_parents_new(c->options.loop, &resolver, asking_interval_ms(config),
					     on_told, c);
	else
		log_debug(COMPONENT, "parent zones are not watched", LOG_STR("error", err.text));
}

/* --- Challenges ------------------------------------------------------------------------------- */

static void on_home(void *arg)
{
	struct round *r = arg;

	if (!atomic_load(&r->is_over)) {
		r->control->round = NULL;
		r->shown(r->arg);
	}
	mem_free(r);
}

static void on_worker(void *arg)
{
	struct round *r = arg;

	if (atomic_load(&r->is_over))
		mem_free(r);
	else if (r->at < r->count)
		loop_post(r->workers[r->at++]->loop, on_worker, r);
	else
		loop_post(r->home, on_home, r);
}

static void give_up_round(struct dns_control *c)
{
	if (c->round)
		atomic_store(&c->round->is_over, true);
	c->round = NULL;
}

static void start_round(struct dns_control *c, void (*shown)(void *arg), void *arg)
{
	struct round *r = mem_alloc(sizeof(*r));

	r->home = c->options.loop;
	r->workers = c->options.workers;
	r->count = c->options.worker_count;
	r->control = c;
	r->shown = shown;
	r->arg = arg;
	c->round = r;
	on_worker(r);
}

static int set_challenges(struct dns_control *c, const struct dns_challenge *list, size_t count,
			  struct err *err)
{
	struct dns_record *records = mem_alloc_array(count + 1, sizeof(records[0]));
	int r;

	for (size_t i = 0; i < count; i++)
		records[i] = (struct dns_record){
			.name = mem_printf("_acme-challenge.%s", list[i].name),
			.type = "TXT",
			.data = mem_printf("\"%s\"", list[i].text),
			.ttl = CHALLENGE_TTL,
		};
	dns_publisher_set_challenges(c->publisher, records, count);
	for (size_t i = 0; i < count; i++) {
		mem_free((char *)(uintptr_t)records[i].name);
		mem_free((char *)(uintptr_t)records[i].data);
	}
	mem_free(records);
	r = publish(c, err);
	if (r == 0 && !dns_publisher_is_well(c->publisher, err))
		r = err ? err->code : E_INTERNAL;
	return r;
}

int dns_control_show(struct dns_control *c, const struct dns_challenge *list, size_t count,
		     void (*shown)(void *arg), void *arg, struct err *err)
{
	if (!c)
		return count == 0 ? 0 : err_set(err, E_UNSUPPORTED, "DNS is off");
	give_up_round(c);
	if (c->is_paused)
		return err_set(err, E_BUSY, "a successor is starting");
	if (count > CHALLENGES_MAX)
		return err_set(err, E_LIMIT, "more than %d challenges", CHALLENGES_MAX);
	for (size_t i = 0; i < count; i++)
		if (!dns_control_serves(c, list[i].name))
			return err_set(err, E_NOT_FOUND, "%s is in no zone that is served here",
				       list[i].name);
	int r = set_challenges(c, list, count, err);
	if (r < 0 && count > 0)
		(void)set_challenges(c, NULL, 0, NULL);
	if (r == 0 && shown)
		start_round(c, shown, arg);
	return r;
}

/* --- What is served --------------------------------------------------------------------------- */

bool dns_control_serves(const struct dns_control *c, const char *name)
{
	for (; c && name; name = strchr(name, '.'), name += name != NULL)
		if (dns_zones_by_name(c->zones, name))
			return true;
	return false;
}

struct dns_zones *dns_control_zones(const struct dns_control *c)
{
	return c ? c->zones : NULL;
}

struct dns_peers *dns_control_peers(const struct dns_control *c)
{
	return c ? c->peers : NULL;
}

static json_t *zones_json(const struct dns_control *c)
{
	json_t *list = json_array();
	char text[40];

	for (size_t i = 0; i < dns_zones_count(c->zones); i++) {
		const struct dns_zone *z = dns_zones_at(c->zones, i);
		json_t *item = json_pack("{s:s, s:I, s:I}", "zone", dns_zone_name(z), "serial",
					 (json_int_t)dns_zone_serial(z), "names",
					 (json_int_t)dns_zone_name_count(z));
		usec at = dns_zone_resign_at(z);
		if (at != INT64_MAX)
			(void)json_object_set_new(
				item, "signed_again_at",
				json_string(clock_rfc3339(at, text, sizeof(text))));
		enum dns_roll_step step = dns_publisher_roll_step(c->publisher, dns_zone_name(z));
		if (step != DNS_ROLL_NONE)
			(void)json_object_set_new(item, "key_roll",
						  json_string(dns_roll_step_name(step)));
		(void)json_array_append_new(list, item);
	}
	return list;
}

static json_t *addresses_text(const struct dns_settings *s)
{
	char *all = mem_strdup(""), ip[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < s->address_count; i++) {
		char *more = mem_printf("%s%s%s", all, i ? ", " : "",
					address_ip_text(&s->addresses[i], ip));
		mem_free(all);
		all = more;
	}
	json_t *text = json_string(all);
	mem_free(all);
	return text;
}

json_t *dns_control_status(void *ctx)
{
	const struct dns_control *c = ctx;
	struct err why = { 0 };

	if (!c)
		return json_pack("{s:s}", "mode", "wildcard");
	json_t *o = json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "mode",
			      "authoritative", "addresses", addresses_text(&c->settings),
			      "queries_udp", (json_int_t)metric_get(&metric_dns_queries_udp),
			      "queries_tcp", (json_int_t)metric_get(&metric_dns_queries_tcp),
			      "truncated", (json_int_t)metric_get(&metric_dns_truncated),
			      "rate_limited", (json_int_t)metric_get(&metric_dns_limited),
			      "dropped", (json_int_t)metric_get(&metric_dns_dropped), "secondaries",
			      (json_int_t)dns_peers_allowed(c->peers)->secondary_count, "zones",
			      zones_json(c));
	if (!dns_publisher_is_well(c->publisher, &why))
		(void)json_object_set_new(o, "error", json_string(why.text));
	return o;
}

void dns_control_register_metrics(void)
{
	metric_register(&metric_zones);
	dns_server_register_metrics();
}

/* --- Sockets ---------------------------------------------------------------------------------- */

/* Sockets that share a port do so with any other process of the same user, silently. */
static int probe_udp(struct address address, struct err *err)
{
	int fd = udp_open(&address, false, err);

	if (fd < 0)
		return fd;
	close(fd); /* allowed: it never reached a loop */
	return 0;
}

static struct socket_group *open_udp(const struct dns_control *c, struct address *address,
				     struct err *err)
{
	char name[ADDRESS_TEXT_SIZE];
	struct sockets *sockets = c->options.sockets;
	struct socket_group *group =
		sockets_claim(sockets, WHAT, address_text(address, name), SOCKET_DATAGRAM);

	if (group)
		return group;
	if (probe_udp(*address, err) < 0)
		return NULL;
	group = sockets_add(sockets, WHAT, name, SOCKET_DATAGRAM, NULL, 0);
	for (size_t i = 0; i < c->options.worker_count; i++) {
		int fd = udp_open(address, true, err);
		if (fd < 0) {
			sockets_close(sockets, group);
			return NULL;
		}
		sockets_append(group, fd);
	}
	return group;
}

/* Of an edge with another number of workers: some serve several sockets, or share one. */
static int give_sockets(const struct dns_control *c, const struct socket_group *group,
			void (*add)(struct dns_server *s, int fd), struct err *err)
{
	size_t workers = c->options.worker_count;
	size_t count = group->count > workers ? group->count : workers;

	for (size_t i = 0; i < count; i++) {
		int fd = sockets_dup(group, i, err);
		if (fd < 0)
			return fd;
		add(c->options.workers[i % workers]->dns, fd);
	}
	return 0;
}

static int listen_at(const struct dns_control *c, const char *text, struct err *err)
{
	char shown[ADDRESS_TEXT_SIZE];
	struct address address;
	struct socket_group *tcp = sockets_listen(c->options.sockets, WHAT, text, true,
						  c->options.worker_count, &address, err);
	struct socket_group *udp = tcp ? open_udp(c, &address, err) : NULL;

	if (!udp)
		return err_wrap(err, "dns");
	if (give_sockets(c, tcp, dns_server_add_tcp, err) < 0 ||
	    give_sockets(c, udp, dns_server_add_udp, err) < 0)
		return err ? err->code : E_IO;
	log_info(COMPONENT, "listening", LOG_STR("for", WHAT),
		 LOG_STR("address", address_text(&address, shown)));
	return 0;
}

/* --- Life ------------------------------------------------------------------------------------- */

/* A new secret at each start; the one before is still good, so that clients keep their cookies. */
static int get_cookies(struct store *store, uint8_t ret[2][DNS_COOKIE_SECRET_BYTES], struct err *err)
{
	struct err why = { 0 };
	char *text = store_setting_get(store, COOKIES, &why);

	if (!text && why.code != E_NOT_FOUND)
		return err_set(err, why.code, "%s", why.text);
	random_bytes(ret[0], DNS_COOKIE_SECRET_BYTES);
	if (!text || strlen(text) != 2 * DNS_COOKIE_SECRET_BYTES ||
	    !hex_decode(bytes_str(text), ret[1]))
		random_bytes(ret[1], DNS_COOKIE_SECRET_BYTES);
	mem_free(text);
	text = hex_text(bytes_of(ret[0], DNS_COOKIE_SECRET_BYTES));
	int r = store_setting_put(store, COOKIES, text, true, err);
	secret_wipe(text, strlen(text));
	mem_free(text);
	return r;
}

static void make_servers(struct dns_control *c, struct dns_server_options *options)
{
	options->id = c->options.config->location;
	options->rate_per_second = c->options.config->limits.dns_rate;
	for (size_t i = 0; i < c->options.worker_count; i++) {
		struct worker *w = c->options.workers[i];
		w->dns = dns_server_new(w->loop, options);
	}
}

static void add_host(struct dns_control *c, struct bytes host)
{
	struct address address;

	if (address_from_ip(host, 0, &address))
		return;
	for (size_t i = 0; i < c->host_count; i++)
		if (bytes_eq_nocase(bytes_str(c->hosts[i]), host))
			return;
	c->hosts[c->host_count++] = mem_strndup(host);
}

/* The names that the edge itself goes by: control host, where connectors dial. */
static void find_hosts(struct dns_control *c)
{
	const struct edge_config *config = c->options.config;
	struct bytes host;
	uint16_t port;

	c->hosts = mem_alloc_array(config->advertise.count + 1, sizeof(c->hosts[0]));
	if (config->control_host)
		add_host(c, bytes_str(config->control_host));
	for (size_t i = 0; i < config->advertise.count; i++)
		if (address_split(bytes_str(config->advertise.list[i]), &host, &port, NULL) == 0)
			add_host(c, host);
}

int dns_control_new(const struct dns_control_options *options, struct dns_control **ret,
		    struct err *err)
{
	const struct edge_config *config = options->config;
	struct dns_server_options server = { 0 };
	struct dns_control *c;

	*ret = NULL;
	if (config->dns.count == 0)
		return 0;
	c = mem_alloc(sizeof(*c));
	c->options = *options;
	timer_init(&c->renew, options->loop, on_renew);
	*ret = c;
	c->zones = dns_zones_new(NULL, 0);
	c->peers = dns_peers_new(NULL, 0, NULL, 0);
	int r = dns_settings_make(config, &c->settings, err);
	if (r == 0)
		r = get_cookies(options->store, server.cookie_secrets, err);
	if (r < 0)
		return r;
	make_servers(c, &server);
	secret_wipe(&server, sizeof(server));
	find_hosts(c);
	const struct dns_publisher_options publisher = {
		.name_servers = (const char *const *)c->settings.name_servers,
		.name_server_count = c->settings.name_server_count,
		.glue = c->settings.glue,
		.glue_count = c->settings.glue_count,
		.hosts = (const char *const *)c->hosts,
		.host_count = c->host_count,
		.addresses = c->settings.addresses,
		.address_count = c->settings.address_count,
		.contact = config->dns_contact,
		.is_signed = config->dns_sign,
		.ttl = (uint32_t)(config->dns_ttl / USEC_PER_SEC),
		.ds_ttl = (uint32_t)(config->dns_ds_ttl / USEC_PER_SEC),
	};
	c->publisher = dns_publisher_new(options->store, &publisher);
	make_parents(c);
	r = publish(c, err);
	for (size_t i = 0; i < config->dns.count && r == 0; i++)
		r = listen_at(c, config->dns.list[i], err);
	c->has_started = true;
	return r;
}

struct dns_control *dns_control_free(struct dns_control *c)
{
	if (!c)
		return NULL;
	give_up_round(c);
	timer_stop(&c->renew);
	dns_parents_free(c->parents);
	dns_publisher_free(c->publisher);
	dns_zones_unref(c->zones);
	dns_peers_unref(c->peers);
	dns_settings_done(&c->settings);
	for (size_t i = 0; i < c->host_count; i++)
		mem_free(c->hosts[i]);
	mem_free(c->hosts);
	return mem_free(c);
}
