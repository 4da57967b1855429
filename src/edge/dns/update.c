#include "edge/dns/update.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "edge/dns/ask.h"
#include "edge/dns/update_message.h"
#include "store/store.h"

#define COMPONENT "edge/dns"
/* One message: 1, 2, 4 and 8 seconds. Who does not answer then is asked anew after a pause, which grows. */
#define ATTEMPTS 4
#define FIRST_MS 1000
#define PAUSE_MS 10000
#define PAUSE_MAX_MS 600000
#define STEPS_MAX 5
/* Stands for the records of an edge that does not know its addresses. */
#define NO_ADDRESS '?'

static struct metric metric_updated = {
	.name = "adit_edge_dns_updates_total",
	.labels = "result=\"ok\"",
	.help = "Names that other name servers were told of",
};
static struct metric metric_conflicts = {
	.name = "adit_edge_dns_updates_total",
	.labels = "result=\"conflict\"",
	.help = "Names that other name servers were told of",
};
static struct metric metric_failed = {
	.name = "adit_edge_dns_updates_total",
	.labels = "result=\"failed\"",
	.help = "Names that other name servers were told of",
};
static struct metric metric_troubled = {
	.name = "adit_edge_dns_update_names_failing",
	.help = "Names that other name servers do not have as they should",
	.type = METRIC_GAUGE,
};
static struct metric_set metric_answers = {
	.name = "adit_edge_dns_update_answers_total",
	.help = "Answers to DNS updates by response code",
	.label_names = { "rcode" },
	.max = 24,
};

void dns_updates_register_metrics(void)
{
	metric_register(&metric_updated);
	metric_register(&metric_conflicts);
	metric_register(&metric_failed);
	metric_register(&metric_troubled);
}

/* --- State ------------------------------------------------------------------------------------ */

enum name_state { WAITING, ASKING, CURRENT, CONFLICT, FAILED };

/* One zone that is kept elsewhere. */
struct target {
	struct store_dns_update facts;
	struct address server;
	bool has_server;
	const struct dns_tsig_key *key; /* borrowed from the caller of apply() */
	bool is_known;                  /* while the store is gone through */
};

/* One name: what should be there, and what is by us. */
struct name {
	struct list node;
	struct dns_updates *all;
	struct target *target;
	char *name, *wanted, *there;
	bool overwrite, is_challenge;
	bool is_checked; /* the server has said that `there` is so */
	enum name_state state;
	enum dns_update_step steps[STEPS_MAX];
	size_t step, step_count;
	char *goal; /* what the steps lead to */
	struct dns_ask *ask;
	usec again_at; /* FAILED and CONFLICT */
	int64_t pause_ms;
	struct err why;
};

struct challenge {
	char *name, *data;
};

struct dns_updates {
	struct store *store;
	struct loop *loop;
	const struct address *addresses;
	size_t address_count;
	struct target **targets;
	size_t target_count;
	struct list names;
	struct map *by_name; /* "ZONE NAME" */
	size_t asking;
	struct timer timer;
	bool is_paused;
	struct challenge *challenges;
	size_t challenge_count;
	void (*shown)(void *arg, const struct err *err);
	void *shown_arg;
	struct deferred tell;
};

static struct target *target_of(const struct dns_updates *u, const struct uuid *zone)
{
	for (size_t i = 0; i < u->target_count; i++)
		if (uuid_eq(&u->targets[i]->facts.zone, zone))
			return u->targets[i];
	return NULL;
}

static bool is_within(const char *name, const char *zone)
{
	size_t len = strlen(name), zone_len = strlen(zone);

	return len >= zone_len && strcasecmp(name + len - zone_len, zone) == 0 &&
	       (len == zone_len || name[len - zone_len - 1] == '.');
}

/* The longest zone that has the name. */
static struct target *target_for(const struct dns_updates *u, const char *name)
{
	struct target *best = NULL;

	for (size_t i = 0; i < u->target_count; i++) {
		struct target *t = u->targets[i];
		if (is_within(name, t->facts.zone_name) &&
		    (!best || strlen(t->facts.zone_name) > strlen(best->facts.zone_name)))
			best = t;
	}
	return best;
}

bool dns_updates_has(const struct dns_updates *u, const char *name)
{
	return target_for(u, name) != NULL;
}

static char *key_of(const struct target *t, const char *name)
{
	return mem_printf("%s %s", t->facts.zone_name, name);
}

static void stop_asking(struct name *n)
{
	if (n->state != ASKING)
		return;
	n->ask = dns_ask_free(n->ask);
	n->all->asking--;
	n->state = WAITING;
}

static void name_free(struct name *n)
{
	char *key = key_of(n->target, n->name);

	stop_asking(n);
	(void)map_take(n->all->by_name, bytes_str(key));
	mem_free(key);
	list_remove(&n->node);
	mem_free(n->name);
	mem_free(n->wanted);
	mem_free(n->there);
	mem_free(n->goal);
	mem_free(n);
}

/* Made when it is not there: nothing wanted, nothing there. */
static struct name *name_get(struct dns_updates *u, struct target *t, const char *name)
{
	char *key = key_of(t, name);
	struct name *n = map_find(u->by_name, bytes_str(key));

	if (!n) {
		n = mem_alloc(sizeof(*n));
		n->all = u;
		n->target = t;
		n->name = mem_strdup(name);
		n->wanted = mem_strdup("");
		n->there = mem_strdup("");
		list_append(&u->names, &n->node);
		map_put(u->by_name, bytes_str(key), n);
	}
	mem_free(key);
	return n;
}

static void set_text(char **at, const char *text)
{
	char *copy = mem_strdup(text);

	mem_free(*at);
	*at = copy;
}

/* --- Challenges: who waits is told once all are there ------------------------------------------ */

static void on_tell(struct deferred *d)
{
	struct dns_updates *u = CONTAINER_OF(d, struct dns_updates, tell);
	const struct err *why = NULL;

	if (!u->shown)
		return;
	LIST_FOR_EACH(it, &u->names) {
		const struct name *n = LIST_ENTRY(it, struct name, node);
		if (!n->is_challenge || !*n->wanted)
			continue;
		if (n->state == WAITING || n->state == ASKING)
			return;
		if (n->state != CURRENT)
			why = &n->why;
	}
	void (*shown)(void *, const struct err *) = u->shown;
	u->shown = NULL;
	shown(u->shown_arg, why);
}

/* --- One name after the other ------------------------------------------------------------------ */

static void proceed(struct dns_updates *u);
static void ask_next(struct name *n);

static void remember(const struct name *n, const char *data)
{
	struct err err = { 0 };

	if (store_dns_updated_put(n->all->store, &n->target->facts.zone, n->name, data,
				  n->overwrite, &err) < 0)
		log_error(COMPONENT, "cannot write down what another name server was told",
			  LOG_STR("name", n->name), LOG_STR("error", err.text));
}

static void settle(struct name *n, enum name_state state)
{
	struct dns_updates *u = n->all;

	n->state = state;
	if (state == CURRENT) {
		n->pause_ms = 0;
		n->why = (struct err){ 0 };
	} else {
		n->pause_ms = n->pause_ms ? n->pause_ms * 2 : PAUSE_MS;
		if (n->pause_ms > PAUSE_MAX_MS || state == CONFLICT)
			n->pause_ms = PAUSE_MAX_MS;
		n->again_at = loop_now(u->loop) + n->pause_ms * USEC_PER_MSEC;
	}
	loop_defer(u->loop, &u->tell);
}

static void succeed(struct name *n)
{
	log_info(COMPONENT,
		 *n->goal ? "another name server has the name"
			  : "name withdrawn from another name server",
		 LOG_STR("name", n->name), LOG_STR("zone", n->target->facts.zone_name),
		 LOG_STR("server", n->target->facts.server));
	metric_add(&metric_updated, 1);
	n->overwrite = false;
	set_text(&n->there, n->goal);
	n->is_checked = true;
	remember(n, *n->there ? n->there : NULL);
	settle(n, strcmp(n->wanted, n->there) == 0 ? CURRENT : WAITING);
}

static void fail(struct name *n, const struct err *err)
{
	n->why = *err;
	log_warn(COMPONENT, "another name server could not be told of a name",
		 LOG_STR("name", n->name), LOG_STR("zone", n->target->facts.zone_name),
		 LOG_STR("server", n->target->facts.server), LOG_STR("error", err->text));
	metric_add(&metric_failed, 1);
	settle(n, FAILED);
}

static void conflict(struct name *n)
{
	err_set(&n->why, E_EXISTS, "records of others are there; --overwrite-dns replaces them");
	log_warn(COMPONENT, "records of others are in the way at another name server",
		 LOG_STR("name", n->name), LOG_STR("zone", n->target->facts.zone_name),
		 LOG_STR("server", n->target->facts.server));
	metric_add(&metric_conflicts, 1);
	settle(n, CONFLICT);
}

/* The prerequisites did not hold: another way, or none. */
static bool is_about_records(int rcode)
{
	return rcode == LDNS_RCODE_YXRRSET || rcode == LDNS_RCODE_NXRRSET ||
	       rcode == LDNS_RCODE_YXDOMAIN || rcode == LDNS_RCODE_NXDOMAIN;
}

static void on_answer(void *ctx, int rcode, const struct err *err)
{
	struct name *n = ctx;
	struct dns_updates *u = n->all;
	char text[ADDRESS_TEXT_SIZE];
	struct err why;
	enum dns_update_step step = n->steps[n->step];

	stop_asking(n);
	metric_add(metric_of(&metric_answers, bytes_str(rcode < 0 ? "none" : dns_rcode_name(rcode)),
			     BYTES_NONE),
		   1);
	if (rcode == LDNS_RCODE_NOERROR && step != DNS_UPDATE_OVERWRITE) {
		succeed(n);
	} else if (rcode == LDNS_RCODE_NOERROR || is_about_records(rcode)) {
		if (++n->step < n->step_count)
			ask_next(n);
		else
			conflict(n);
	} else {
		if (rcode > 0)
			err_set(&why, E_REFUSED, "%s answers %s (%s)",
				address_text(&n->target->server, text), dns_rcode_name(rcode),
				dns_rcode_meaning(rcode));
		fail(n, err ? err : &why);
	}
	proceed(u);
}

static void ask_next(struct name *n)
{
	struct dns_updates *u = n->all;
	const struct dns_update update = {
		.zone = n->target->facts.zone_name,
		.name = n->name,
		.before = n->there,
		.records = n->goal,
		.ttl = n->target->facts.ttl,
	};
	const struct dns_asking how = {
		.server = &n->target->server,
		.key = n->target->key,
		.attempts = ATTEMPTS,
		.first_ms = FIRST_MS,
	};
	struct err err = { 0 };
	ldns_pkt *p = dns_update_message(&update, n->steps[n->step], &err);

	if (!p) {
		fail(n, &err);
		return;
	}
	n->state = ASKING;
	u->asking++;
	n->ask = dns_ask_new(u->loop, &how, p, on_answer, n);
}

static void add_step(struct name *n, enum dns_update_step step)
{
	n->steps[n->step_count++] = step;
}

static void begin(struct name *n)
{
	const struct target *t = n->target;
	struct err err;

	if (!t->has_server || (*t->facts.key && !t->key)) {
		err_set(&err, E_INVALID,
			t->has_server ? "there is no key \"%s\"" : "\"%s\" is no address",
			t->has_server ? t->facts.key : t->facts.server);
		fail(n, &err);
		return;
	}
	if (*n->wanted == NO_ADDRESS) {
		err_set(&err, E_INVALID,
			"what should hostnames resolve to? Set dns-address, or give the zone a "
			"target");
		fail(n, &err);
		return;
	}
	set_text(&n->goal, n->wanted);
	n->step = n->step_count = 0;
	if (n->is_challenge || !*n->goal) {
		add_step(n, DNS_UPDATE_MERGE);
	} else {
		if (*n->there)
			add_step(n, strcmp(n->there, n->goal) == 0 ? DNS_UPDATE_CHECK
								   : DNS_UPDATE_REPLACE);
		add_step(n, DNS_UPDATE_ADD);
		add_step(n, DNS_UPDATE_CHECK);
		if (n->overwrite) {
			add_step(n, DNS_UPDATE_OVERWRITE);
			add_step(n, DNS_UPDATE_CHECK);
		}
	}
	/* Before it is there: after a crash we still know that it may be by us. */
	if (!*n->there && *n->goal)
		remember(n, n->goal);
	ask_next(n);
}

static void proceed(struct dns_updates *u)
{
	usec now = loop_now(u->loop), next = INT64_MAX;
	int64_t troubled = 0;

	LIST_FOR_EACH(it, &u->names) {
		struct name *n = LIST_ENTRY(it, struct name, node);
		if (!*n->wanted && !*n->there && n->state != ASKING) {
			name_free(n);
			continue;
		}
		bool is_trouble = n->state == FAILED || n->state == CONFLICT;
		if (is_trouble && n->again_at <= now)
			n->state = WAITING;
		else if (is_trouble && n->again_at < next)
			next = n->again_at;
		troubled += is_trouble;
		if (n->state != WAITING || u->is_paused || u->asking >= LIMIT_DNS_UPDATES)
			continue;
		begin(n);
	}
	metric_set(&metric_troubled, troubled);
	timer_stop(&u->timer);
	if (next != INT64_MAX)
		timer_set(&u->timer, (next - now) / USEC_PER_MSEC + 1);
}

static void on_timer(struct timer *t)
{
	proceed(CONTAINER_OF(t, struct dns_updates, timer));
}

/* Something else is wanted, or was checked never. What is under way leads elsewhere then. */
static void want(struct name *n, const char *wanted)
{
	bool is_same = strcmp(n->wanted, wanted) == 0;

	set_text(&n->wanted, wanted);
	if (is_same && n->state != WAITING)
		return;
	stop_asking(n);
	n->pause_ms = 0;
	n->state = n->is_checked && strcmp(n->there, wanted) == 0 ? CURRENT : WAITING;
	/* Somebody allowed to overwrite what is not wanted any more. */
	if (!*n->wanted && !*n->there && n->overwrite)
		remember(n, NULL);
}

/* --- From the store ---------------------------------------------------------------------------- */

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One a line, sorted; the lines are freed. */
static char *join(char **lines, size_t count)
{
	char *text = mem_strdup("");

	qsort(lines, count, sizeof(lines[0]), compare_lines);
	for (size_t i = 0; i < count; i++) {
		char *more = mem_printf("%s%s%s", text, i ? "\n" : "", lines[i]);
		mem_free(text);
		mem_free(lines[i]);
		text = more;
	}
	return text;
}

static char *records_of(const struct dns_updates *u, const struct target *t)
{
	char **lines, ip[ADDRESS_TEXT_SIZE];

	if (*t->facts.target)
		return mem_printf("CNAME %s.", t->facts.target);
	lines = mem_alloc_array(u->address_count + 1, sizeof(*lines));
	for (size_t i = 0; i < u->address_count; i++) {
		address_ip_text(&u->addresses[i], ip);
		lines[i] = mem_printf("%s %s", strchr(ip, ':') ? "AAAA" : "A", ip);
	}
	char *text = u->address_count ? join(lines, u->address_count) : mem_strdup("?");
	mem_free(lines);
	return text;
}

static void target_free(struct target *t)
{
	store_dns_update_done(&t->facts);
	mem_free(t);
}

static const struct dns_tsig_key *find_key(const struct dns_tsig_key *keys, size_t count,
					   const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcasecmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static void drop_names(struct dns_updates *u, const struct target *t)
{
	LIST_FOR_EACH(it, &u->names) {
		struct name *n = LIST_ENTRY(it, struct name, node);
		if (n->target == t)
			name_free(n);
	}
}

static bool is_same_server(const struct store_dns_update *a, const struct store_dns_update *b)
{
	return strcmp(a->server, b->server) == 0 && strcmp(a->key, b->key) == 0 && a->ttl == b->ttl;
}

/* Takes over what is in `facts`. */
static void add_target(struct dns_updates *u, struct store_dns_update *facts)
{
	struct target *t = target_of(u, &facts->zone);

	if (t && !is_same_server(&t->facts, facts))
		drop_names(u, t); /* everything is asked anew */
	if (!t) {
		t = mem_alloc(sizeof(*t));
		u->targets = mem_resize(u->targets, (u->target_count + 1) * sizeof(u->targets[0]));
		u->targets[u->target_count++] = t;
	}
	store_dns_update_done(&t->facts);
	t->facts = *facts;
	*facts = (struct store_dns_update){ 0 };
	t->has_server = address_parse(bytes_str(t->facts.server), &t->server, NULL) == 0;
	t->is_known = true;
}

static int read_targets(struct dns_updates *u, const struct dns_tsig_key *keys, size_t key_count,
			struct err *err)
{
	struct store_dns_update *list = NULL;
	size_t count = 0, kept = 0;
	int r = store_dns_update_list(u->store, &list, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < u->target_count; i++)
		u->targets[i]->is_known = false;
	for (size_t i = 0; i < count; i++)
		add_target(u, &list[i]);
	mem_free(list);
	for (size_t i = 0; i < u->target_count; i++) {
		struct target *t = u->targets[i];
		t->key = find_key(keys, key_count, t->facts.key);
		if (t->is_known) {
			u->targets[kept++] = t;
		} else {
			drop_names(u, t);
			target_free(t);
		}
	}
	u->target_count = kept;
	return 0;
}

/* What is there by us, also of names that are not routed any more. */
static int read_there(struct dns_updates *u, struct err *err)
{
	struct store_dns_updated *list = NULL;
	size_t count = 0;
	int r = store_dns_updated_list(u->store, &list, &count, err);

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct target *t = target_of(u, &list[i].zone);
		struct name *n = t ? name_get(u, t, list[i].name) : NULL;
		if (n && n->state != ASKING && !n->is_checked)
			set_text(&n->there, list[i].data);
		if (n && list[i].overwrite && !n->overwrite) {
			n->overwrite = true;
			if (n->state == CONFLICT || n->state == FAILED)
				n->state = WAITING;
		}
		if (n)
			n->is_challenge = strncmp(n->there, "TXT ", 4) == 0;
		store_dns_updated_done(&list[i]);
	}
	mem_free(list);
	return r;
}

/* The TXT records of that name; "": none. */
static char *challenges_of(const struct dns_updates *u, const char *name)
{
	char **lines = mem_alloc_array(u->challenge_count + 1, sizeof(*lines));
	size_t count = 0;

	for (size_t i = 0; i < u->challenge_count; i++)
		if (strcasecmp(u->challenges[i].name, name) == 0)
			lines[count++] = mem_printf("TXT %s", u->challenges[i].data);
	char *text = join(lines, count);
	mem_free(lines);
	return text;
}

static void want_challenges(struct dns_updates *u)
{
	for (size_t i = 0; i < u->challenge_count; i++) {
		struct target *t = target_for(u, u->challenges[i].name);
		if (t)
			name_get(u, t, u->challenges[i].name)->is_challenge = true;
	}
	LIST_FOR_EACH(it, &u->names) {
		struct name *n = LIST_ENTRY(it, struct name, node);
		if (!n->is_challenge)
			continue;
		char *text = challenges_of(u, n->name);
		want(n, text);
		mem_free(text);
	}
}

static int want_routes(struct dns_updates *u, struct err *err)
{
	struct store_route *routes = NULL;
	struct map *routed = map_new();
	size_t count = 0;
	int r = store_route_list(u->store, &routes, &count, err);

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct target *t = target_of(u, &routes[i].zone);
		if (!t)
			continue;
		struct name *n = name_get(u, t, routes[i].hostname);
		char *text = records_of(u, t), *key = key_of(t, n->name);
		map_put(routed, bytes_str(key), n);
		mem_free(key);
		n->is_challenge = false;
		want(n, text);
		mem_free(text);
	}
	LIST_FOR_EACH(it, &u->names) {
		struct name *n = LIST_ENTRY(it, struct name, node);
		char *key = key_of(n->target, n->name);
		if (r == 0 && !n->is_challenge && !map_find(routed, bytes_str(key)))
			want(n, "");
		mem_free(key);
	}
	for (size_t i = 0; i < count; i++)
		store_route_done(&routes[i]);
	mem_free(routes);
	map_free(routed);
	return r;
}

int dns_updates_apply(struct dns_updates *u, const struct dns_tsig_key *keys, size_t key_count,
		      struct err *err)
{
	/* Keys may be other ones now: what is under way begins again. */
	LIST_FOR_EACH(it, &u->names)
		stop_asking(LIST_ENTRY(it, struct name, node));
	int r = read_targets(u, keys, key_count, err);
	if (r == 0)
		r = read_there(u, err);
	if (r == 0)
		r = want_routes(u, err);
	if (r < 0)
		return r;
	want_challenges(u);
	proceed(u);
	return 0;
}

static void drop_challenges(struct dns_updates *u)
{
	for (size_t i = 0; i < u->challenge_count; i++) {
		mem_free(u->challenges[i].name);
		mem_free(u->challenges[i].data);
	}
	u->challenges = mem_free(u->challenges);
	u->challenge_count = 0;
}

void dns_updates_set_challenges(struct dns_updates *u, const struct dns_record *list, size_t count,
				void (*shown)(void *arg, const struct err *err), void *arg)
{
	drop_challenges(u);
	u->challenges = mem_alloc_array(count + 1, sizeof(u->challenges[0]));
	for (size_t i = 0; i < count; i++)
		u->challenges[u->challenge_count++] =
			(struct challenge){ mem_strdup(list[i].name), mem_strdup(list[i].data) };
	u->shown = shown;
	u->shown_arg = arg;
	/* An order is a new attempt, whatever the last one was like. */
	LIST_FOR_EACH(it, &u->names) {
		struct name *n = LIST_ENTRY(it, struct name, node);
		if (n->is_challenge && n->state == FAILED)
			n->state = WAITING;
	}
	want_challenges(u);
	proceed(u);
	loop_defer(u->loop, &u->tell);
}

void dns_updates_pause(struct dns_updates *u, bool is_paused)
{
	u->is_paused = is_paused;
	if (is_paused)
		LIST_FOR_EACH(it, &u->names)
			stop_asking(LIST_ENTRY(it, struct name, node));
	proceed(u);
}

/* --- Status ------------------------------------------------------------------------------------ */

static json_t *target_json(const struct dns_updates *u, const struct target *t)
{
	json_int_t current = 0, waiting = 0;

	LIST_FOR_EACH(it, &u->names) {
		const struct name *n = LIST_ENTRY(it, struct name, node);
		if (n->target != t)
			continue;
		current += n->state == CURRENT;
		waiting += n->state == WAITING || n->state == ASKING;
	}
	return json_pack("{s:s, s:s, s:I, s:I}", "zone", t->facts.zone_name, "server",
			 t->facts.server, "current", current, "waiting", waiting);
}

struct json_t *dns_updates_json(void *updates)
{
	const struct dns_updates *u = updates;
	json_t *zones = json_array(), *troubles = json_array();

	for (size_t i = 0; i < u->target_count; i++)
		(void)json_array_append_new(zones, target_json(u, u->targets[i]));
	LIST_FOR_EACH(it, &u->names) {
		const struct name *n = LIST_ENTRY(it, struct name, node);
		if (n->state == CONFLICT || n->state == FAILED)
			(void)json_array_append_new(
				troubles, json_pack("{s:s, s:s, s:s}", "name", n->name, "state",
						    n->state == FAILED ? "failed" : "conflict",
						    "error", n->why.text));
	}
	return json_pack("{s:o, s:o}", "zones", zones, "troubles", troubles);
}

/* --- Life -------------------------------------------------------------------------------------- */

struct dns_updates *dns_updates_new(struct store *store, struct loop *l,
				    const struct address *addresses, size_t address_count)
{
	struct dns_updates *u = mem_alloc(sizeof(*u));

	u->store = store;
	u->loop = l;
	u->addresses = addresses;
	u->address_count = address_count;
	u->by_name = map_new();
	list_init(&u->names);
	timer_init(&u->timer, l, on_timer);
	deferred_init(&u->tell, on_tell);
	return u;
}

struct dns_updates *dns_updates_free(struct dns_updates *u)
{
	if (!u)
		return NULL;
	LIST_FOR_EACH(it, &u->names)
		name_free(LIST_ENTRY(it, struct name, node));
	for (size_t i = 0; i < u->target_count; i++)
		target_free(u->targets[i]);
	timer_stop(&u->timer);
	deferred_cancel(&u->tell);
	drop_challenges(u);
	map_free(u->by_name);
	mem_free(u->targets);
	return mem_free(u);
}
