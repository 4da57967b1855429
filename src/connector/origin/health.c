#include "connector/origin/health.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "connector/connector_metrics.h"
#include "connector/origin/origin_internal.h"

#define COMPONENT "connector/health"
#define CHECK_MAGIC 0x68636865

/* Of a page so much is read, so that its connection can be used again; of a longer one nobody needs more. */
#define PAGE_BYTES (64 * 1024)
/* First checks are spread over this, and all others by a tenth of their interval: not all at once. */
#define SPREAD_MS 500
#define TELL_AGAIN_MS 1000

/* One rule's service. */
struct check {
	uint32_t magic;
	struct health *health;
	const struct ingress_rule *rule; /* borrowed: the set has it */
	enum health_state state;
	usec since;       /* wall time; 0: never checked */
	unsigned against; /* results in a row that speak against the state */
	char error[256];  /* of the last result; "": it was well */
	struct timer next, deadline;
	/* While a check is under way. */
	struct exchange *x;
	struct origin_probe *probe;
	size_t page_bytes;
	int status; /* the answer's; 0 before */
};

struct health {
	struct loop *loop;
	struct origin_set *set; /* counted */
	const struct health_events *events;
	void *ctx;
	struct deferred telling;
	struct timer tell_again;
	size_t count;
	struct check checks[];
};

/* Over all objects of this process; one loop makes them. */
static uint64_t sequence;

static const char *const state_names[] = {
	[HEALTH_UNKNOWN] = "unknown",
	[HEALTH_UP] = "healthy",
	[HEALTH_DOWN] = "unhealthy",
};

/* --- Telling --------------------------------------------------------------------------------- */

static void show(const struct check *c)
{
	static const int values[] = { [HEALTH_UNKNOWN] = -1, [HEALTH_UP] = 1, [HEALTH_DOWN] = 0 };

	metric_set(connector_metrics_service_up(c->rule->label, c->rule->service), values[c->state]);
}

static void tell(struct health *h)
{
	if (!h->events->on_changed(h->ctx))
		timer_set(&h->tell_again, TELL_AGAIN_MS);
}

/* At the start, too: then the rules of before have just been taken off the metrics. */
static void on_telling(struct deferred *d)
{
	struct health *h = CONTAINER_OF(d, struct health, telling);

	for (size_t i = 0; i < h->count; i++)
		show(&h->checks[i]);
	tell(h);
}

static void on_tell_again(struct timer *t)
{
	tell(CONTAINER_OF(t, struct health, tell_again));
}

static void set_state(struct check *c, enum health_state state)
{
	bool was_unknown = c->state == HEALTH_UNKNOWN;

	c->state = state;
	c->since = clock_wall_now();
	c->against = 0;
	sequence++;
	loop_defer(c->health->loop, &c->health->telling);
	if (state == HEALTH_DOWN)
		log_warn(COMPONENT, "A service is down", LOG_STR("ingressRule", c->rule->label),
			 LOG_STR("originService", c->rule->service), LOG_STR("error", c->error));
	else if (was_unknown)
		log_info(COMPONENT, "A service is up", LOG_STR("ingressRule", c->rule->label),
			 LOG_STR("originService", c->rule->service));
	else
		log_warn(COMPONENT, "A service is up again", LOG_STR("ingressRule", c->rule->label),
			 LOG_STR("originService", c->rule->service));
}

/* --- One check ------------------------------------------------------------------------------- */

/* Whatever is under way is given up. */
static void end(struct check *c)
{
	timer_stop(&c->deadline);
	c->probe = origin_probe_cancel(c->probe);
	if (c->x)
		exchange_release_producer(TAKE(c->x));
}

static void finish(struct check *c, bool is_well, struct bytes error)
{
	int64_t interval = c->rule->health.interval / USEC_PER_MSEC;
	enum health_state found = is_well ? HEALTH_UP : HEALTH_DOWN;

	end(c);
	(void)snprintf(c->error, sizeof(c->error), BYTES_FMT, BYTES_ARG(error));
	timer_set(&c->next,
		  interval - interval / 20 + (int64_t)random_below((uint64_t)interval / 10 + 1));
	if (found == c->state)
		c->against = 0;
	else if (++c->against >= c->rule->health.threshold ||
		 (c->state == HEALTH_UNKNOWN && is_well)) /* the first good news are enough */
		set_state(c, found);
}

static void on_deadline(struct timer *t)
{
	struct check *c = CONTAINER_OF(t, struct check, deadline);
	char text[40], error[80];

	CHECK(c, CHECK_MAGIC);
	(void)snprintf(error, sizeof(error), "no answer within %s",
		       duration_text(c->rule->health.timeout, text));
	finish(c, false, bytes_str(error));
}

static void on_probed(void *ctx, const struct address *peer, const struct err *err, bool in_tls)
{
	struct check *c = ctx;

	(void)peer;
	(void)in_tls;
	CHECK(c, CHECK_MAGIC);
	c->probe = NULL;
	finish(c, !err, err ? bytes_str(err->text) : BYTES_NONE);
}

static bool is_expected(const struct ingress_health *h, int status)
{
	for (size_t i = 0; i < h->code_count; i++)
		if (status >= h->codes[i].first && status <= h->codes[i].last)
			return true;
	return false;
}

static void judge(struct check *c)
{
	char error[80];

	(void)snprintf(error, sizeof(error), "answered with status %d", c->status);
	bool is_well = is_expected(&c->rule->health, c->status);
	finish(c, is_well, is_well ? BYTES_NONE : bytes_str(error));
}

static void on_response_data(struct exchange *x)
{
	struct check *c = x->producer_ctx;
	struct bytes run;

	while (body_peek(&x->response_body, &run, 1)) {
		c->page_bytes += run.len;
		body_consume(&x->response_body, run.len);
	}
	if (body_is_done(&x->response_body) || c->page_bytes > PAGE_BYTES)
		judge(c);
}

static void on_head(struct exchange *x)
{
	struct check *c = x->producer_ctx;

	CHECK(c, CHECK_MAGIC);
	c->status = x->response.status;
	on_response_data(x);
}

static void on_request_room(struct exchange *x)
{
	(void)x; /* there is no body */
}

static void on_failed(struct exchange *x)
{
	struct check *c = x->producer_ctx;

	CHECK(c, CHECK_MAGIC);
	finish(c, false, x->failure.detail);
}

static const struct exchange_producer producer = {
	.name = "health",
	.on_head = on_head,
	.on_response_data = on_response_data,
	.on_request_room = on_request_room,
	.on_failed = on_failed,
};

static const struct handler handlers[] = { { "origin", origin_handle } };
static const struct handler_chain chain = { handlers, ARRAY_LEN(handlers), NULL, NULL };

static void drop_origins(void *origins)
{
	origin_set_unref(origins);
}

/* As a visitor's request would name it: the service may look at the host. */
static struct bytes authority_of(const struct ingress_rule *rule, struct arena *arena)
{
	if (rule->origin.http_host_header)
		return bytes_str(rule->origin.http_host_header);
	if (*rule->pattern && *rule->pattern != '*')
		return bytes_str(rule->pattern);
	if (!*rule->host)
		return BYTES_LIT("localhost");
	return strchr(rule->host, ':') ? arena_printf(arena, "[%s]:%u", rule->host, rule->port)
				       : arena_printf(arena, "%s:%u", rule->host, rule->port);
}

/* The fields that the rule sets on every request, a password among them perhaps. */
static void set_fields(struct exchange *x, const struct ingress_origin *origin)
{
	struct fields *f = &x->request.fields;

	(void)fields_add(f, &x->arena, BYTES_LIT("User-Agent"),
			 BYTES_LIT("adit-health-check/" ADIT_VERSION));
	for (size_t i = 0; i < origin->set_header_count; i++)
		fields_remove_text(f, bytes_str(origin->set_headers[i].name));
	for (size_t i = 0; i < origin->set_header_count; i++)
		(void)fields_add(f, &x->arena, bytes_str(origin->set_headers[i].name),
				 bytes_str(origin->set_headers[i].value));
}

static void ask(struct check *c)
{
	struct health *h = c->health;
	struct exchange *x = exchange_new(h->loop, &producer, c);

	c->x = x;
	c->status = 0;
	c->page_bytes = 0;
	x->snapshot = origin_set_ref(h->set);
	x->drop_snapshot = drop_origins;
	x->route = (void *)(uintptr_t)c->rule;
	x->request.method = BYTES_LIT("GET");
	x->request.scheme = BYTES_LIT("http");
	x->request.authority = authority_of(c->rule, &x->arena);
	x->request.path = bytes_str(c->rule->health.path);
	x->request.length = HEAD_LENGTH_NONE;
	x->host = head_host(x->request.authority, &x->arena);
	set_fields(x, &c->rule->origin);
	body_end(&x->request_body);
	exchange_start(x, &chain);
}

static void on_next(struct timer *t)
{
	struct check *c = CONTAINER_OF(t, struct check, next);

	CHECK(c, CHECK_MAGIC);
	timer_set(&c->deadline, c->rule->health.timeout / USEC_PER_MSEC);
	if (c->rule->health.kind == INGRESS_CHECK_HTTP)
		ask(c);
	else
		c->probe = origin_probe(c->health->set, c->rule->index, on_probed, c);
}

/* --- Life ------------------------------------------------------------------------------------ */

static bool is_same_check(const struct ingress_rule *a, const struct ingress_rule *b)
{
	return strcmp(a->label, b->label) == 0 && strcmp(a->service, b->service) == 0 &&
	       a->health.kind == b->health.kind && strcmp(a->health.path, b->health.path) == 0;
}

static void begin(struct check *c, const struct health *before)
{
	for (size_t i = 0; before && i < before->count; i++) {
		const struct check *old = &before->checks[i];
		if (!is_same_check(old->rule, c->rule))
			continue;
		c->state = old->state;
		c->since = old->since;
		memcpy(c->error, old->error, sizeof(c->error));
	}
	timer_set(&c->next, (int64_t)random_below(SPREAD_MS));
}

struct health *health_new(struct loop *loop, struct origin_set *set, const struct health *before,
			  const struct health_events *events, void *ctx)
{
	const struct ingress *in = origin_set_ingress(set);
	size_t count = 0;

	for (size_t i = 0; i < ingress_count(in); i++)
		count += ingress_rule(in, i)->health.kind != INGRESS_CHECK_NONE;
	struct health *h = mem_alloc(sizeof(*h) + count * sizeof(h->checks[0]));
	h->loop = loop;
	h->set = origin_set_ref(set);
	h->events = events;
	h->ctx = ctx;
	deferred_init(&h->telling, on_telling);
	timer_init(&h->tell_again, loop, on_tell_again);
	for (size_t i = 0; i < ingress_count(in); i++) {
		if (ingress_rule(in, i)->health.kind == INGRESS_CHECK_NONE)
			continue;
		struct check *c = &h->checks[h->count++];
		c->magic = CHECK_MAGIC;
		c->health = h;
		c->rule = ingress_rule(in, i);
		timer_init(&c->next, loop, on_next);
		timer_init(&c->deadline, loop, on_deadline);
		begin(c, before);
	}
	/* Other rules than before: the edge's picture is old. */
	if (count || (before && before->count)) {
		sequence++;
		loop_defer(loop, &h->telling);
	}
	return h;
}

struct health *health_free(struct health *h)
{
	if (!h)
		return NULL;
	for (size_t i = 0; i < h->count; i++) {
		struct check *c = &h->checks[i];
		end(c);
		timer_stop(&c->next);
		/* A rule that is gone says nothing any more. */
		metric_set(connector_metrics_service_up(c->rule->label, c->rule->service), -1);
		c->magic = 0;
	}
	deferred_cancel(&h->telling);
	timer_stop(&h->tell_again);
	origin_set_unref(h->set);
	return mem_free(h);
}

/* --- What is known --------------------------------------------------------------------------- */

size_t health_count(const struct health *h)
{
	return h->count;
}

enum health_state health_state_of(const struct health *h, size_t index)
{
	BUG_IF(index >= h->count);
	return h->checks[index].state;
}

static void set_text(json_t *o, const char *key, const char *value)
{
	json_t *text = json_string(value);

	json_object_set_new(o, key, text ? text : json_string("(not UTF-8)"));
}

static json_t *check_json(const struct check *c)
{
	json_t *o = json_object();
	char since[40];

	json_object_set_new(o, "rule", json_integer(c->rule->index));
	set_text(o, "hostname", c->rule->pattern);
	set_text(o, "path", c->rule->path);
	set_text(o, "service", c->rule->service);
	set_text(o, "state", state_names[c->state]);
	set_text(o, "error", c->error);
	set_text(o, "since", c->since ? clock_rfc3339(c->since, since, sizeof(since)) : "");
	return o;
}

json_t *health_json(const struct health *h)
{
	json_t *list = json_array();

	for (size_t i = 0; i < h->count; i++)
		json_array_append_new(list, check_json(&h->checks[i]));
	return list;
}

/* Does the pattern match hosts that the narrower one does? */
static bool covers(const char *pattern, const char *narrower)
{
	struct bytes suffix = bytes_str(pattern), host = bytes_str(narrower);

	if (suffix.len <= 1)
		return host.len > 0;
	suffix = bytes_from(suffix, 1);
	return *pattern == '*' && host.len > suffix.len &&
	       bytes_eq_nocase(suffix, bytes_from(host, host.len - suffix.len));
}

/* Is the rule one that the edge must know of, because it takes hosts away from a checked one behind it? */
static bool shadows(const struct health *h, const struct ingress_rule *rule)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->checks[i].rule->index > rule->index &&
		    covers(h->checks[i].rule->pattern, rule->pattern))
			return true;
	return false;
}

static json_t *rules_json(const struct health *h)
{
	const struct ingress *in = origin_set_ingress(h->set);
	json_t *list = json_array();
	size_t next = 0, room = LIMIT_HEALTH_HOSTS - h->count;

	for (size_t i = 0; next < h->count && i < ingress_count(in); i++) {
		const struct ingress_rule *rule = ingress_rule(in, i);
		if (h->checks[next].rule == rule) {
			json_array_append_new(list, check_json(&h->checks[next++]));
		} else if (room && shadows(h, rule)) {
			json_t *o = json_object();
			set_text(o, "hostname", rule->pattern);
			set_text(o, "state", "unchecked");
			json_array_append_new(list, o);
			room--;
		}
	}
	return list;
}

static int on_json(const char *text, size_t len, void *user)
{
	return buf_append(user, bytes_of(text, len)) < 0 ? -1 : 0;
}

int health_report(struct health *h, struct buf *out)
{
	if (sequence == 0)
		return 0;
	json_t *root = json_pack("{s:{s:{s:I, s:o}}}", "adit", "health", "sequence",
				 (json_int_t)sequence, "rules", rules_json(h));
	int r = json_dump_callback(root, on_json, out, JSON_COMPACT);

	json_decref(root);
	return r < 0 ? E_LIMIT : 0;
}
