#include "edge/dns/parent.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "edge/dns/ask.h"

#define COMPONENT "edge/dns"
#define ATTEMPTS 3
#define FIRST_MS 2000

struct dns_parents {
	struct loop *loop;
	struct address resolver;
	int64_t interval_ms;
	void (*told)(void *ctx, const char *zone, bool has_ds);
	void *ctx;
	struct timer timer;
	struct dns_roll_wait *list; /* owned, and each */
	size_t count, at;           /* the one that is asked about, or next */
	struct dns_ask *ask;        /* NULL: none is under way */
};

bool dns_parent_answer_has(const ldns_pkt *answer, const char *ds)
{
	const ldns_rr_list *list = ldns_pkt_answer(answer);
	ldns_rr *wanted = NULL;
	bool has = false;

	if (ldns_rr_new_frm_str(&wanted, ds, 0, NULL, NULL) != LDNS_STATUS_OK)
		return false;
	for (size_t i = 0; list && i < ldns_rr_list_rr_count(list) && !has; i++)
		has = ldns_rr_compare(ldns_rr_list_rr(list, i), wanted) == 0;
	ldns_rr_free(wanted);
	return has;
}

static void ask(struct dns_parents *p);

static void next(struct dns_parents *p)
{
	if (++p->at < p->count)
		ask(p);
	else
		timer_set(&p->timer, p->interval_ms);
}

static void on_done(void *ctx, int rcode, const struct err *err)
{
	struct dns_parents *p = ctx;
	const struct dns_roll_wait *w = &p->list[p->at];
	const ldns_pkt *answer = dns_ask_answer(p->ask);
	bool is_known = answer && rcode == LDNS_RCODE_NOERROR && !ldns_pkt_tc(answer);
	bool has_ds = is_known && dns_parent_answer_has(answer, w->ds);

	p->ask = dns_ask_free(p->ask);
	if (!is_known)
		log_debug(COMPONENT, "nobody can say whether the parent zone has the DS record",
			  LOG_STR("zone", w->zone),
			  LOG_STR("error", err ? err->text : dns_rcode_meaning(rcode)));
	if (!is_known || has_ds == w->is_seen) {
		next(p);
		return;
	}
	char *zone = mem_strdup(w->zone);
	next(p);
	p->told(p->ctx, zone, has_ds);
	mem_free(zone);
}

static void ask(struct dns_parents *p)
{
	const struct dns_asking how = {
		.server = &p->resolver,
		.attempts = ATTEMPTS,
		.first_ms = FIRST_MS,
	};
	ldns_rdf *name = ldns_dname_new_frm_str(p->list[p->at].zone);
	ldns_pkt *question = ldns_pkt_query_new(name, LDNS_RR_TYPE_DS, LDNS_RR_CLASS_IN, LDNS_RD);

	p->ask = dns_ask_new(p->loop, &how, question, on_done, p);
}

static void on_timer(struct timer *t)
{
	struct dns_parents *p = CONTAINER_OF(t, struct dns_parents, timer);

	p->at = 0;
	ask(p);
}

static void drop(struct dns_parents *p)
{
	p->ask = dns_ask_free(p->ask);
	for (size_t i = 0; i < p->count; i++) {
		mem_free(p->list[i].zone);
		mem_free(p->list[i].ds);
	}
	p->list = mem_free(p->list);
	p->count = p->at = 0;
}

static bool is_same(const struct dns_parents *p, const struct dns_roll_wait *list, size_t count)
{
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		if (list[i].is_final)
			continue;
		if (at == p->count || strcmp(p->list[at].ds, list[i].ds) != 0 ||
		    p->list[at].is_seen != list[i].is_seen)
			return false;
		at++;
	}
	return at == p->count;
}

void dns_parents_set(struct dns_parents *p, const struct dns_roll_wait *list, size_t count)
{
	if (is_same(p, list, count))
		return;
	drop(p);
	timer_stop(&p->timer);
	p->list = mem_alloc_array(count + 1, sizeof(p->list[0]));
	for (size_t i = 0; i < count; i++)
		if (!list[i].is_final)
			p->list[p->count++] = (struct dns_roll_wait){
				.zone = mem_strdup(list[i].zone),
				.ds = mem_strdup(list[i].ds),
				.is_seen = list[i].is_seen,
			};
	if (p->count)
		timer_set(&p->timer, p->interval_ms);
}

struct dns_parents *dns_parents_new(struct loop *l, const struct address *resolver,
				    int64_t interval_ms,
				    void (*told)(void *ctx, const char *zone, bool has_ds),
				    void *ctx)
{
	struct dns_parents *p = mem_alloc(sizeof(*p));

	p->loop = l;
	p->resolver = *resolver;
	p->interval_ms = interval_ms;
	p->told = told;
	p->ctx = ctx;
	timer_init(&p->timer, l, on_timer);
	return p;
}

struct dns_parents *dns_parents_free(struct dns_parents *p)
{
	if (!p)
		return NULL;
	timer_stop(&p->timer);
	drop(p);
	return mem_free(p);
}
