#include "edge/acme/manager.h"

#include <stdatomic.h>
#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "edge/acme/job.h"
#include "edge/acme/show.h"
#include "edge/acme/wanted.h"
#include "edge/certificates.h"
#include "io/loop.h"
#include "store/names.h"
#include "store/store.h"

#define COMPONENT "edge/acme"

#define MINUTE (60 * USEC_PER_SEC)
#define HOUR (60 * MINUTE)
/* After a name has failed: a minute, then three times as long each time. Authorities count failures by name and hour
 * (Let's Encrypt: five), so the fifth comes after two hours. */
#define BACKOFF_FIRST MINUTE
#define BACKOFF_FACTOR 3
#define BACKOFF_MAX (12 * HOUR)
/* The same when the authority cannot be reached or wants none of us: it may be back any minute, and asking is cheap. */
#define PAUSE_FIRST (30 * USEC_PER_SEC)
#define PAUSE_MAX (10 * MINUTE)
/* A certificate that is in use is tried again more often the nearer its end is, but not more often than this. */
#define RETRY_MIN (10 * USEC_PER_SEC)
#define RETRY_PARTS 8
/* How often the authority is asked when to renew (RFC 9773 §4.3.3 names six hours), or after this part of a short life. */
#define ASK_EVERY (6 * HOUR)
#define ASK_PARTS 20
/* Workers that see names without certificates tell us so often at most; who asks comes again. */
#define HEAR_EVERY (100 * USEC_PER_MSEC)
#define LOOK_MAX_MS (3600 * 1000)

struct metric metric_acme_orders[2] = {
	{
		.name = "adit_edge_acme_orders_total",
		.labels = "result=\"ok\"",
		.help = "Certificates ordered from the ACME authority, by how it ended",
	},
	{
		.name = "adit_edge_acme_orders_total",
		.labels = "result=\"failed\"",
		.help = "Certificates ordered from the ACME authority, by how it ended",
	},
};
struct metric metric_acme_failing = {
	.name = "adit_edge_acme_failing",
	.help = "Certificates whose last order failed",
	.type = METRIC_GAUGE,
};

struct managed {
	struct acme_want want;        /* owned */
	struct store_acme_name state; /* owned */
	bool has_certificate;         /* one that is good now, whoever issued it */
	bool is_forced;
	usec ends_at;
};

struct acme_manager {
	struct store *store;
	struct loop *loop;
	const struct edge_config *config;
	struct acme_manager_hooks hooks;
	struct acme_show *show; /* borrowed */
	struct acme *acme;      /* owned; NULL: there is no account yet */
	struct managed *names;
	size_t count;
	struct acme_job *job; /* what is under way */
	enum { ON_POOL, SHOWING } phase;
	bool are_shown; /* the challenges of the job's order */
	struct timer tick;
	usec paused_until; /* wall: the authority wants none of us, or is not there */
	int64_t pauses;    /* since it last was */
	char *authority_error;
	bool is_paused, is_closing, is_stale, has_started;
	/* Names on demand. */
	usec asked_at;
	int64_t ask_tokens;
	_Atomic(usec) heard_at; /* when a worker last told us of a name */
};

/* --- Times ------------------------------------------------------------------------------------ */

/* A fifth more or less, so that many edges, or many names, do not come at once. */
static usec with_jitter(usec time)
{
	return time - time / 5 + (usec)random_below((uint64_t)(time / 5 * 2) + 1);
}

static usec grown(usec first, usec max, int64_t failures)
{
	usec time = first;

	while (--failures > 0 && time < max)
		time *= BACKOFF_FACTOR;
	return with_jitter(time < max ? time : max);
}

static usec backoff(const struct managed *n, usec now)
{
	usec wait = grown(BACKOFF_FIRST, BACKOFF_MAX, n->state.failures);
	usec rest = n->has_certificate ? (n->ends_at - now) / RETRY_PARTS : BACKOFF_MAX;

	rest = rest < RETRY_MIN ? RETRY_MIN : rest;
	return wait < rest ? wait : rest;
}

static bool is_of_this_authority(const struct acme_manager *m, const struct managed *n)
{
	return n->has_certificate && strcmp(n->state.directory, m->config->acme_directory) == 0;
}

/* When to order; INT64_MAX: never. */
static usec order_at(const struct acme_manager *m, const struct managed *n)
{
	if (n->want.problem)
		return INT64_MAX;
	if (n->is_forced)
		return 0;
	if (is_of_this_authority(m, n) && n->state.renew_at > n->state.next_at)
		return n->state.renew_at;
	return n->state.next_at;
}

static usec ask_at(const struct acme_manager *m, const struct managed *n)
{
	return !n->want.problem && is_of_this_authority(m, n) && n->state.renewal_id[0]
		       ? n->state.ask_at
		       : INT64_MAX;
}

static usec ask_interval(const struct managed *n)
{
	usec part = (n->ends_at - n->state.started_at) / ASK_PARTS;

	part = part < RETRY_MIN ? RETRY_MIN : part;
	return with_jitter(part < ASK_EVERY ? part : ASK_EVERY);
}

/* --- What there is ------------------------------------------------------------------------------ */

static void managed_done(struct managed *n)
{
	mem_free(n->want.name);
	mem_free(n->want.hostnames);
	store_acme_name_done(&n->state);
}

static void drop_names(struct acme_manager *m)
{
	for (size_t i = 0; i < m->count; i++)
		managed_done(&m->names[i]);
	m->names = mem_free(m->names);
	m->count = 0;
}

static struct managed *find(const struct acme_manager *m, const char *name)
{
	for (size_t i = 0; i < m->count; i++)
		if (strcmp(m->names[i].want.name, name) == 0)
			return &m->names[i];
	return NULL;
}

/* What the store says. */
struct reading {
	struct store_zone *zones;
	struct store_route *routes;
	struct store_certificate *certificates;
	struct store_acme_name *known;
	struct store_site *sites;
	size_t zone_count, route_count, certificate_count, known_count, site_count;
	char *control_host;
};

static void reading_done(struct reading *r)
{
	for (size_t i = 0; i < r->zone_count; i++)
		store_zone_done(&r->zones[i]);
	for (size_t i = 0; i < r->route_count; i++)
		store_route_done(&r->routes[i]);
	for (size_t i = 0; i < r->certificate_count; i++)
		store_certificate_done(&r->certificates[i]);
	for (size_t i = 0; i < r->known_count; i++)
		store_acme_name_done(&r->known[i]);
	for (size_t i = 0; i < r->site_count; i++)
		store_site_done(&r->sites[i]);
	mem_free(r->sites);
	mem_free(r->zones);
	mem_free(r->routes);
	mem_free(r->certificates);
	mem_free(r->known);
	mem_free(r->control_host);
}

static int read_all(struct store *s, struct reading *r, struct err *err)
{
	int rc = store_zone_list(s, &r->zones, &r->zone_count, err);

	if (rc == 0)
		rc = store_route_list(s, &r->routes, &r->route_count, err);
	if (rc == 0)
		rc = store_certificate_list(s, &r->certificates, &r->certificate_count, err);
	if (rc == 0)
		rc = store_acme_list(s, &r->known, &r->known_count, err);
	if (rc == 0)
		rc = store_site_list(s, &r->sites, &r->site_count, err);
	if (rc == 0)
		r->control_host = store_setting_get(s, "control.host", NULL);
	return rc;
}

static struct acme_want_facts facts_of(const struct acme_manager *m, const struct reading *r)
{
	return (struct acme_want_facts){
		.zones = r->zones,
		.zone_count = r->zone_count,
		.routes = r->routes,
		.route_count = r->route_count,
		.sites = r->sites,
		.site_count = r->site_count,
		.certificates = r->certificates,
		.certificate_count = r->certificate_count,
		.known = r->known,
		.known_count = r->known_count,
		.control_host = r->control_host ? r->control_host : "",
		.challenges = m->config->acme_challenge,
		.is_on_demand = m->config->acme_on_demand,
		.has_http = m->config->http.count > 0,
		.is_authoritative = m->hooks.is_authoritative,
		.ctx = m->hooks.ctx,
		.now = clock_wall_now(),
	};
}

static const struct store_certificate *certificate_of(const struct map *by_name, const char *name)
{
	char *full = mem_printf("acme %s", name);
	const struct store_certificate *c = map_find(by_name, bytes_str(full));

	mem_free(full);
	return c;
}

/* What nobody wants goes when it has ended, or when its names are not served any more; until then it may be all there
 * is for them. */
static void drop_unwanted(struct acme_manager *m, const struct reading *r,
			  const struct acme_want_facts *facts, const struct map *certificates,
			  const struct map *wanted)
{
	struct err err = { 0 };

	for (size_t i = 0; i < r->known_count; i++) {
		const char *name = r->known[i].name;
		const struct store_certificate *c = certificate_of(certificates, name);
		if (map_find(wanted, bytes_str(name)) ||
		    (c && c->expires_at > facts->now && acme_name_is_served(facts, name)))
			continue;
		if (store_acme_drop(m->store, name, &err) < 0)
			log_warn(COMPONENT, "cannot forget a certificate", LOG_STR("name", name),
				 LOG_STR("error", err.text));
	}
}

/* Takes the want. */
static void fill(struct managed *n, struct acme_want *want, struct store_acme_name *state,
		 const struct store_certificate *c, usec now)
{
	n->want = *want;
	if (state) {
		n->state = *state;
		*state = (struct store_acme_name){ 0 };
	} else {
		n->state.name = mem_strdup(want->name);
		n->state.directory = mem_strdup("");
		n->state.renewal_id = mem_strdup("");
		n->state.error = mem_strdup("");
	}
	n->has_certificate = c && c->expires_at > now && strcmp(c->hostnames, want->hostnames) == 0;
	n->ends_at = c ? c->expires_at : 0;
}

static void rebuild(struct acme_manager *m, struct reading *r)
{
	const struct acme_want_facts facts = facts_of(m, r);
	struct map *certificates = map_new(), *known = map_new(), *wanted = map_new();
	size_t count, failing = 0;
	struct acme_want *wants = acme_wants(&facts, &count);
	struct managed *names = mem_alloc_array(count + 1, sizeof(*names));

	for (size_t i = 0; i < r->certificate_count; i++)
		map_put(certificates, bytes_str(r->certificates[i].name), &r->certificates[i]);
	for (size_t i = 0; i < r->known_count; i++)
		map_put(known, bytes_str(r->known[i].name), &r->known[i]);
	for (size_t i = 0; i < count; i++)
		map_put(wanted, bytes_str(wants[i].name), &wants[i]);
	drop_unwanted(m, r, &facts, certificates, wanted);
	for (size_t i = 0; i < count; i++) {
		const struct managed *before = find(m, wants[i].name);
		names[i].is_forced = before && before->is_forced;
		fill(&names[i], &wants[i], map_find(known, bytes_str(wants[i].name)),
		     certificate_of(certificates, wants[i].name), facts.now);
		failing += names[i].state.error[0] && !names[i].want.problem;
	}
	drop_names(m);
	mem_free(wants);
	m->names = names;
	m->count = count;
	metric_set(&metric_acme_failing, (int64_t)failing);
	map_free(certificates);
	map_free(known);
	map_free(wanted);
}

static void look_again(struct acme_manager *m)
{
	struct reading r = { 0 };
	struct err err = { 0 };

	if (read_all(m->store, &r, &err) < 0)
		log_warn(COMPONENT, "cannot read what certificates are needed",
			 LOG_STR("error", err.text));
	else
		rebuild(m, &r);
	m->is_stale = false;
	reading_done(&r);
}

/* --- How jobs end ------------------------------------------------------------------------------- */

static void soon(struct acme_manager *m)
{
	timer_set(&m->tick, 1);
}

static void save(struct acme_manager *m, struct managed *n)
{
	struct err err = { 0 };

	if (store_acme_put(m->store, &n->state, NULL, &err) < 0)
		log_warn(COMPONENT, "cannot note how an order went", LOG_STR("name", n->want.name),
			 LOG_STR("error", err.text));
}

static void set_text(char **at, const char *text)
{
	char *copy = mem_strdup(text);

	mem_free(*at);
	*at = copy;
}

static void hide(struct acme_manager *m)
{
	if (m->are_shown)
		acme_show_stop(m->show);
	m->are_shown = false;
}

/* Also the manager, when it only waited for this. */
static void destroy(void *arg);

static void end_job(struct acme_manager *m)
{
	hide(m);
	/* What was said of the authority's addresses and of our account may be over, too. */
	if (m->job->was_cancelled || m->job->is_of_authority)
		m->acme = acme_free(m->acme);
	m->job = acme_job_free(m->job);
	if (!m->is_closing)
		soon(m);
	else
		loop_post(m->loop, destroy, m);
}

/* Nothing is known of the attempt, as it was given up by us. */
static bool is_given_up(struct acme_manager *m)
{
	if (!m->is_paused && !m->is_closing && m->job->err.code != E_CANCELLED)
		return false;
	m->job->was_cancelled = true;
	end_job(m);
	return true;
}

static void pause_orders(struct acme_manager *m, const char *why, usec until)
{
	char at[40];

	m->pauses++;
	m->paused_until = clock_wall_now() + grown(PAUSE_FIRST, PAUSE_MAX, m->pauses);
	if (until > m->paused_until)
		m->paused_until = until;
	set_text(&m->authority_error, why);
	for (size_t i = 0; i < m->count; i++)
		m->names[i].is_forced = false;
	log_warn(COMPONENT, "no certificates can be ordered now", LOG_STR("error", why),
		 LOG_STR("again", clock_rfc3339(m->paused_until, at, sizeof(at))));
}

static void order_failed(struct acme_manager *m)
{
	struct acme_job *j = m->job;
	struct managed *n = find(m, j->name);
	usec now = clock_wall_now();
	char at[40];

	metric_add(&metric_acme_orders[1], 1);
	if (n) {
		n->is_forced = false;
		set_text(&n->state.error, j->err.text);
		n->state.tried_at = now;
		if (!j->is_of_authority) {
			n->state.failures++;
			n->state.next_at = now + backoff(n, now);
			if (j->retry_at > n->state.next_at)
				n->state.next_at = j->retry_at;
			log_warn(COMPONENT, "certificate not issued", LOG_STR("name", n->want.name),
				 LOG_STR("error", j->err.text),
				 LOG_STR("again", clock_rfc3339(n->state.next_at, at, sizeof(at))),
				 LOG_BOOL("has", n->has_certificate));
		}
		save(m, n);
	}
	/* A limit may be one of this name or of us: a moment for the others. */
	if (j->is_of_authority || j->err.code == E_LIMIT)
		pause_orders(m, j->err.text, j->is_of_authority ? j->retry_at : 0);
	m->is_stale = true;
	end_job(m);
}

static void note_issued(struct acme_manager *m, struct managed *n)
{
	const struct acme_job *j = m->job;
	usec life = j->ends_at - j->starts_at, now = clock_wall_now();

	n->state.failures = n->state.next_at = 0;
	n->state.tried_at = now;
	n->state.started_at = j->starts_at;
	n->ends_at = j->ends_at;
	n->has_certificate = true;
	set_text(&n->state.directory, m->config->acme_directory);
	set_text(&n->state.renewal_id, j->renewal_id ? j->renewal_id : "");
	set_text(&n->state.error, "");
	/* Two thirds, and up to a thirtieth less, so that what was ordered together is not renewed together. */
	n->state.renew_at =
		j->starts_at + life / 3 * 2 - (usec)random_below((uint64_t)(life / 30) + 1);
	n->state.ask_at = now + ask_interval(n);
	/* One that is handed out near its end (or a clock that is wrong) is no reason to order in a circle. */
	if (n->state.renew_at < now + MINUTE)
		n->state.renew_at = now + (j->ends_at - now) / 2;
	n->is_forced = false;
}

static void order_done(struct acme_manager *m)
{
	struct acme_job *j = m->job;
	struct managed *n = find(m, j->name);
	struct store_certificate c = {
		.name = mem_printf("acme %s", j->name),
		.hostnames = mem_strdup(n ? n->want.hostnames : ""),
		.issuer = mem_strdup(j->issuer),
		.expires_at = j->ends_at,
		.cert_pem = mem_strdup(j->chain_pem),
	};
	char until[40];
	int r = 0;

	if (n)
		r = certificate_take_key(&c, j->key_pem, &j->err);
	if (n && r == 0) {
		note_issued(m, n);
		r = store_acme_put(m->store, &n->state, &c, &j->err);
	}
	store_certificate_done(&c);
	if (r < 0) {
		err_wrap(&j->err, "keeping the certificate");
		order_failed(m);
		return;
	}
	m->pauses = 0;
	m->authority_error = mem_free(m->authority_error);
	metric_add(&metric_acme_orders[0], 1);
	log_info(COMPONENT, "certificate issued", LOG_STR("name", j->name),
		 LOG_STR("issuer", j->issuer),
		 LOG_STR("until", clock_rfc3339(j->ends_at, until, sizeof(until))));
	m->is_stale = true;
	end_job(m);
	m->hooks.changed(m->hooks.ctx);
}

/* --- One order ---------------------------------------------------------------------------------- */

static struct acme_job *job_new(struct acme_manager *m, enum acme_job_kind kind)
{
	struct acme_job *j = mem_alloc(sizeof(*j));

	j->kind = kind;
	j->owner = m;
	j->acme = m->acme;
	j->config = m->config;
	m->job = j;
	m->phase = ON_POOL;
	return j;
}

static void on_proven(void *arg)
{
	struct acme_job *j = arg;
	struct acme_manager *m = j->owner;

	if (is_given_up(m))
		return;
	if (j->chain_pem)
		order_done(m);
	else
		order_failed(m);
}

static void prove(struct acme_manager *m)
{
	m->phase = ON_POOL;
	loop_work(m->loop, acme_job_prove, on_proven, m->job);
}

static void on_shown(void *arg, const struct err *err)
{
	struct acme_manager *m = arg;

	if (err && err->code) {
		m->job->err = *err;
		err_wrap(&m->job->err, "showing the challenge");
		order_failed(m);
	} else {
		prove(m);
	}
}

static void on_ordered(void *arg)
{
	struct acme_job *j = arg;
	struct acme_manager *m = j->owner;

	if (is_given_up(m))
		return;
	if (!j->order) {
		order_failed(m);
		return;
	}
	if (j->order->challenge_count == 0) {
		prove(m);
		return;
	}
	m->phase = SHOWING;
	m->are_shown = true;
	acme_show_start(m->show, j->order->challenges, j->order->challenge_count, on_shown, m);
}

/* The two that need no name server take turns, as one may be impossible where the other is not (somebody else ends TLS
 * before us, or has the port of plain HTTP). */
static void set_methods(const struct acme_manager *m, const struct managed *n, struct acme_job *j)
{
	bool has_http = m->config->http.count > 0;
	bool prefers_http = n->state.failures % 2 == 1;

	j->method_count = 1;
	if (n->want.by_dns) {
		j->methods[0] = ACME_DNS_01;
	} else if (m->config->acme_challenge == ACME_ONLY_HTTP_01) {
		j->methods[0] = ACME_HTTP_01;
	} else if (m->config->acme_challenge == ACME_ONLY_TLS_ALPN_01 || !has_http) {
		j->methods[0] = ACME_TLS_ALPN_01;
	} else {
		j->methods[0] = prefers_http ? ACME_HTTP_01 : ACME_TLS_ALPN_01;
		j->methods[1] = prefers_http ? ACME_TLS_ALPN_01 : ACME_HTTP_01;
		j->method_count = 2;
	}
}

static void start_order(struct acme_manager *m, struct managed *n)
{
	struct acme_job *j = job_new(m, ACME_JOB_ORDER);

	acme_job_set_names(j, n->want.name, n->want.hostnames);
	set_methods(m, n, j);
	if (is_of_this_authority(m, n) && n->state.renewal_id[0])
		j->renewal_id = mem_strdup(n->state.renewal_id);
	log_debug(COMPONENT, "ordering a certificate", LOG_STR("name", n->want.name),
		  LOG_STR("method", acme_method_name(j->methods[0])));
	loop_work(m->loop, acme_job_order, on_ordered, j);
}

/* --- When to renew ------------------------------------------------------------------------------ */

static void on_time(void *arg)
{
	struct acme_job *j = arg;
	struct acme_manager *m = j->owner;
	struct managed *n = find(m, j->name);
	usec now = clock_wall_now();

	if (is_given_up(m))
		return;
	if (n && j->err.code == 0) {
		/* Late enough is no use when the authority fails then. */
		usec latest = n->ends_at - (n->ends_at - n->state.started_at) / 10;
		n->state.renew_at = j->renew_at < latest ? j->renew_at : latest;
	} else if (j->err.code) {
		log_debug(COMPONENT, "the authority does not say when to renew",
			  LOG_STR("name", j->name), LOG_STR("error", j->err.text));
	}
	if (n) {
		n->state.ask_at = now + ask_interval(n);
		if (j->retry_at > n->state.ask_at)
			n->state.ask_at = j->retry_at;
		save(m, n);
	}
	end_job(m);
}

static void start_time(struct acme_manager *m, struct managed *n)
{
	struct acme_job *j = job_new(m, ACME_JOB_TIME);

	j->name = mem_strdup(n->want.name);
	j->renewal_id = mem_strdup(n->state.renewal_id);
	loop_work(m->loop, acme_job_time, on_time, j);
}

/* --- The account -------------------------------------------------------------------------------- */

static char *account_setting(const struct acme_manager *m)
{
	return mem_printf("acme.account %s", m->config->acme_directory);
}

/* Kept before it is used: an account whose key is lost is of no use, and there is a limit of new ones. */
static void on_account(void *arg)
{
	struct acme_job *j = arg;
	struct acme_manager *m = j->owner;
	char *setting = account_setting(m);

	if (j->acme && j->account_key && !m->is_paused && !m->is_closing &&
	    store_setting_put(m->store, setting, j->account_key, true, &j->err) < 0)
		j->acme = acme_free(j->acme);
	mem_free(setting);
	m->acme = TAKE(j->acme);
	if (is_given_up(m))
		return;
	if (!m->acme)
		pause_orders(m, j->err.text, 0);
	end_job(m);
}

static void start_account(struct acme_manager *m)
{
	struct acme_job *j = job_new(m, ACME_JOB_ACCOUNT);
	char *setting = account_setting(m);

	j->account_key = store_setting_get(m->store, setting, NULL);
	mem_free(setting);
	loop_work(m->loop, acme_job_account, on_account, j);
}

/* --- What is next ------------------------------------------------------------------------------- */

static void wait_until(struct acme_manager *m, usec at, usec now)
{
	int64_t msec = at <= now ? 1 : (at - now) / USEC_PER_MSEC + 1;

	timer_set(&m->tick, msec < LOOK_MAX_MS ? msec : LOOK_MAX_MS);
}

static void on_tick(struct timer *t)
{
	struct acme_manager *m = CONTAINER_OF(t, struct acme_manager, tick);
	struct managed *order = NULL, *ask = NULL;
	usec now = clock_wall_now();

	if (m->job || m->is_paused || m->is_closing)
		return;
	if (m->is_stale)
		look_again(m);
	for (size_t i = 0; i < m->count; i++) {
		struct managed *n = &m->names[i];
		if (!order || order_at(m, n) < order_at(m, order))
			order = n;
		if (!ask || ask_at(m, n) < ask_at(m, ask))
			ask = n;
	}
	usec first = !order                                ? INT64_MAX
		     : order_at(m, order) < ask_at(m, ask) ? order_at(m, order)
							   : ask_at(m, ask);
	first = first < m->paused_until ? m->paused_until : first;
	if (first > now) {
		/* Certificates end, which looking again notices. */
		m->is_stale = true;
		wait_until(m, first, now);
	} else if (!m->acme) {
		start_account(m);
	} else if (order_at(m, order) <= now) {
		start_order(m, order);
	} else {
		start_time(m, ask);
	}
}

/* --- From outside ------------------------------------------------------------------------------- */

struct acme_manager *acme_manager_new(struct store *store, struct loop *loop,
				      const struct edge_config *config, struct acme_show *show,
				      const struct acme_manager_hooks *hooks)
{
	if (!config->acme_directory)
		return NULL;
	struct acme_manager *m = mem_alloc(sizeof(*m));
	m->store = store;
	m->loop = loop;
	m->config = config;
	m->show = show;
	m->hooks = *hooks;
	m->ask_tokens = LIMIT_ACME_ASK_BURST;
	timer_init(&m->tick, loop, on_tick);
	return m;
}

static void destroy(void *arg)
{
	struct acme_manager *m = arg;

	acme_job_free(m->job);
	acme_free(m->acme);
	drop_names(m);
	mem_free(m->authority_error);
	mem_free(m);
}

struct acme_manager *acme_manager_free(struct acme_manager *m)
{
	if (!m)
		return NULL;
	m->is_closing = true;
	timer_stop(&m->tick);
	if (m->job)
		hide(m);
	/* What runs on the pool ends first, and then what workers have posted to us. */
	if (m->job && m->phase == ON_POOL && m->acme)
		acme_cancel(m->acme);
	else if (!m->job || m->phase != ON_POOL)
		loop_post(m->loop, destroy, m);
	return NULL;
}

void acme_manager_update(struct acme_manager *m)
{
	if (!m)
		return;
	m->is_stale = true;
	m->has_started = true;
	if (!m->job && !m->is_paused && !m->is_closing)
		soon(m);
}

void acme_manager_pause(struct acme_manager *m, bool is_paused)
{
	if (!m)
		return;
	m->is_paused = is_paused;
	timer_stop(&m->tick);
	if (is_paused && m->job && m->phase == SHOWING) {
		m->job->was_cancelled = true;
		end_job(m);
		timer_stop(&m->tick);
	} else if (is_paused && m->job && m->acme) {
		acme_cancel(m->acme);
	} else if (!is_paused && m->has_started) {
		acme_manager_update(m);
	}
}

/* --- On demand ---------------------------------------------------------------------------------- */

static bool take_token(struct acme_manager *m)
{
	usec now = clock_now();
	int64_t more = (now - m->asked_at) / (LIMIT_ACME_ASK_SECONDS * USEC_PER_SEC);

	if (more > 0) {
		m->ask_tokens = m->ask_tokens + more > LIMIT_ACME_ASK_BURST ? LIMIT_ACME_ASK_BURST
									    : m->ask_tokens + more;
		m->asked_at = now;
	}
	if (m->ask_tokens == 0)
		return false;
	m->ask_tokens--;
	return true;
}

static size_t count_on_demand(const struct acme_manager *m)
{
	size_t count = 0;

	for (size_t i = 0; i < m->count; i++)
		count += m->names[i].state.is_on_demand;
	return count;
}

static void ask_for(struct acme_manager *m, const char *hostname)
{
	char name[NAME_DNS_BYTES + 1];
	struct store_acme_name state = { 0 };
	struct err err = { 0 };

	if (m->is_paused || m->is_closing || name_hostname(hostname, name, NULL) < 0 ||
	    name[0] == '*')
		return;
	state.name = mem_printf("host %s", name);
	state.is_on_demand = true;
	if (!find(m, state.name) && count_on_demand(m) < LIMIT_ACME_ON_DEMAND && take_token(m)) {
		if (store_acme_put(m->store, &state, NULL, &err) < 0)
			log_warn(COMPONENT, "cannot note a name that was asked for",
				 LOG_STR("name", name), LOG_STR("error", err.text));
		acme_manager_update(m);
	}
	store_acme_name_done(&state);
}

struct asked {
	struct acme_manager *manager;
	char name[];
};

static void on_asked(void *arg)
{
	struct asked *a = arg;

	ask_for(a->manager, a->name);
	mem_free(a);
}

bool acme_manager_may_ask(const struct acme_manager *m)
{
	return m && m->config->acme_on_demand &&
	       clock_now() - atomic_load_explicit(&m->heard_at, memory_order_relaxed) >= HEAR_EVERY;
}

void acme_manager_ask(struct acme_manager *m, struct bytes hostname)
{
	usec before = atomic_load_explicit(&m->heard_at, memory_order_relaxed), now = clock_now();

	if (now - before < HEAR_EVERY || !atomic_compare_exchange_strong(&m->heard_at, &before, now))
		return;
	struct asked *a = mem_alloc(sizeof(*a) + hostname.len + 1);
	a->manager = m;
	memcpy(a->name, hostname.ptr, hostname.len);
	loop_post(m->loop, on_asked, a);
}

/* --- By hand ------------------------------------------------------------------------------------ */

static bool is_meant(const struct managed *n, const char *name)
{
	struct bytes rest = bytes_str(n->want.hostnames), line = BYTES_NONE;

	if (!name || strcmp(n->want.name, name) == 0)
		return true;
	while (bytes_split(&rest, '\n', &line))
		if (bytes_eq_nocase(line, bytes_str(name)))
			return true;
	return false;
}

int acme_manager_renew(struct acme_manager *m, const char *name, struct err *err)
{
	const char *problem = NULL;
	int count = 0;

	if (!m)
		return err_set(err, E_UNSUPPORTED,
			       "no ACME directory is configured (acme-directory in edge.yml); "
			       "certificates of the built-in CA renew themselves");
	if (m->is_paused)
		return err_set(err, E_BUSY, "this edge is being replaced by its successor");
	if (m->is_stale && !m->job)
		look_again(m);
	for (size_t i = 0; i < m->count; i++) {
		struct managed *n = &m->names[i];
		if (!is_meant(n, name))
			continue;
		problem = n->want.problem;
		if (problem)
			continue;
		n->is_forced = true;
		count++;
	}
	if (count == 0 && name && problem)
		return err_set(err, E_INVALID, "%.200s is not ordered: %s", name, problem);
	if (count == 0)
		return err_set(err, E_NOT_FOUND,
			       name ? "no certificate for %.200s is ordered from %s"
				    : "%snothing is ordered from %s",
			       name ? name : "", acme_directory_name(m->config->acme_directory));
	m->paused_until = 0;
	if (!m->job)
		soon(m);
	return count;
}

/* --- Telling ------------------------------------------------------------------------------------ */

static void set_time(json_t *o, const char *member, usec wall)
{
	char text[40];

	if (wall > 0)
		json_object_set_new(o, member, json_string(clock_rfc3339(wall, text, sizeof(text))));
}

static const char *state_of(const struct acme_manager *m, const struct managed *n)
{
	if (n->want.problem)
		return "not ordered";
	if (m->job && m->job->kind == ACME_JOB_ORDER && strcmp(m->job->name, n->want.name) == 0)
		return "ordering";
	if (n->is_forced)
		return "queued";
	if (n->state.error[0])
		return "failed";
	if (order_at(m, n) > clock_wall_now())
		return "ready";
	return m->authority_error ? "failed" : "queued";
}

static json_t *lines_json(const char *text)
{
	struct bytes rest = bytes_str(text), line = BYTES_NONE;
	json_t *list = json_array();

	while (bytes_split(&rest, '\n', &line))
		json_array_append_new(list, json_stringn((const char *)line.ptr, line.len));
	return list;
}

json_t *acme_manager_list(const struct acme_manager *m)
{
	json_t *list = json_array();

	for (size_t i = 0; m && i < m->count; i++) {
		const struct managed *n = &m->names[i];
		const char *error = n->want.problem                             ? n->want.problem
				    : n->state.error[0]                         ? n->state.error
				    : m->authority_error && !n->has_certificate ? m->authority_error
										: "";
		json_t *item = json_pack("{s:s, s:o, s:s, s:s, s:I}", "name", n->want.name, "names",
					 lines_json(n->want.hostnames), "state", state_of(m, n),
					 "error", error, "failures", (json_int_t)n->state.failures);
		if (n->has_certificate)
			set_time(item, "renew_at", n->state.renew_at);
		set_time(item, "tried_at", n->state.tried_at);
		if (n->state.failures)
			set_time(item, "again_at", n->state.next_at);
		json_array_append_new(list, item);
	}
	return list;
}

json_t *acme_manager_status(void *manager)
{
	const struct acme_manager *m = manager;
	json_t *problems = json_array(), *status;
	size_t issued = 0;

	for (size_t i = 0; i < m->count; i++) {
		const struct managed *n = &m->names[i];
		issued += n->has_certificate;
		if (!n->state.error[0] || n->want.problem)
			continue;
		json_t *item = json_pack("{s:s, s:b}", "name", n->want.name, "has_certificate",
					 n->has_certificate);
		set_time(item, "tried_at", n->state.tried_at);
		json_object_set_new(item, "error", json_string(n->state.error));
		json_array_append_new(problems, item);
	}
	status = json_pack("{s:s, s:I, s:I}", "directory",
			   acme_directory_name(m->config->acme_directory), "wanted",
			   (json_int_t)m->count, "issued", (json_int_t)issued);
	if (m->authority_error) {
		json_object_set_new(status, "error", json_string(m->authority_error));
		set_time(status, "again_at", m->paused_until);
	}
	if (json_array_size(problems))
		json_object_set(status, "problems", problems);
	json_decref(problems);
	return status;
}
