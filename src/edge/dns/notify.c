#include "edge/dns/notify.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/dns/ask.h"
#include "edge/dns/zone_internal.h"

#define COMPONENT "edge/dns"
/* 1, 2, 4, 8, 16 and 32 seconds: a secondary that restarts is told all the same. */
#define ATTEMPTS 6
#define FIRST_MS 1000

struct metric metric_dns_notifies[2] = {
	{ .name = "adit_edge_dns_notifies_total",
	  .labels = "result=\"ok\"",
	  .help = "New serials that secondaries were told of" },
	{ .name = "adit_edge_dns_notifies_total",
	  .labels = "result=\"failed\"",
	  .help = "New serials that secondaries were told of" },
};

enum news_state { WAITING, ASKING, TOLD, FAILED };

/* What one secondary is to know of one zone. */
struct news {
	struct list node;
	struct dns_notifier *notifier;
	const struct dns_secondary *secondary;
	char *zone;
	ldns_rr *soa; /* owned */
	uint32_t serial;
	enum news_state state;
	struct dns_ask *ask;
	struct err why;
	bool is_served; /* while zones are gone through */
};

struct dns_notifier {
	struct loop *loop;
	struct dns_peers *peers; /* counted; NULL: nothing was served yet */
	struct list news;
	size_t asking;
};

static void news_free(struct news *n)
{
	list_remove(&n->node);
	if (n->state == ASKING)
		n->notifier->asking--;
	dns_ask_free(n->ask);
	ldns_rr_free(n->soa);
	mem_free(n->zone);
	mem_free(n);
}

static void ask_waiting(struct dns_notifier *n);

static void on_done(void *ctx, int rcode, const struct err *err)
{
	struct news *n = ctx;
	char text[ADDRESS_TEXT_SIZE];
	bool is_told = rcode == LDNS_RCODE_NOERROR;

	n->ask = dns_ask_free(n->ask);
	n->notifier->asking--;
	n->state = is_told ? TOLD : FAILED;
	n->why = err ? *err : (struct err){ 0 };
	if (rcode > 0)
		err_set(&n->why, E_REFUSED, "it answers %s (%s)", dns_rcode_name(rcode),
			dns_rcode_meaning(rcode));
	metric_add(&metric_dns_notifies[is_told ? 0 : 1], 1);
	address_text(&n->secondary->notify, text);
	if (is_told)
		log_debug(COMPONENT, "secondary told of a new serial", LOG_STR("zone", n->zone),
			  LOG_STR("secondary", text), LOG_INT("serial", n->serial));
	else
		log_warn(COMPONENT, "a secondary cannot be told of a new serial",
			 LOG_STR("zone", n->zone), LOG_STR("secondary", text),
			 LOG_INT("serial", n->serial), LOG_STR("error", n->why.text));
	ask_waiting(n->notifier);
}

static ldns_pkt *message(const struct news *n)
{
	ldns_pkt *p = ldns_pkt_new();
	ldns_rr *question = ldns_rr_new();

	ldns_rr_set_question(question, true);
	ldns_rr_set_owner(question, ldns_rdf_clone(ldns_rr_owner(n->soa)));
	ldns_rr_set_type(question, LDNS_RR_TYPE_SOA);
	ldns_rr_set_class(question, LDNS_RR_CLASS_IN);
	ldns_pkt_set_opcode(p, LDNS_PACKET_NOTIFY);
	ldns_pkt_set_aa(p, true);
	ldns_pkt_push_rr(p, LDNS_SECTION_QUESTION, question);
	ldns_pkt_push_rr(p, LDNS_SECTION_ANSWER, ldns_rr_clone(n->soa));
	return p;
}

static void ask(struct news *n)
{
	const struct dns_asking how = {
		.server = &n->secondary->notify,
		.key = n->secondary->key,
		.attempts = ATTEMPTS,
		.first_ms = FIRST_MS,
	};

	n->state = ASKING;
	n->notifier->asking++;
	n->ask = dns_ask_new(n->notifier->loop, &how, message(n), on_done, n);
}

static void ask_waiting(struct dns_notifier *n)
{
	LIST_FOR_EACH(it, &n->news) {
		struct news *news = LIST_ENTRY(it, struct news, node);
		if (n->asking == LIMIT_DNS_NOTIFIES)
			return;
		if (news->state == WAITING)
			ask(news);
	}
}

static struct news *find(struct dns_notifier *n, const struct dns_secondary *s, const char *zone)
{
	LIST_FOR_EACH(it, &n->news) {
		struct news *news = LIST_ENTRY(it, struct news, node);
		if (news->secondary == s && strcasecmp(news->zone, zone) == 0)
			return news;
	}
	return NULL;
}

/* What is under way about an older serial is dropped. */
static void renew(struct dns_notifier *n, const struct dns_secondary *s, const struct dns_zone *z)
{
	struct news *news = find(n, s, dns_zone_name(z));

	if (!news) {
		news = mem_alloc(sizeof(*news));
		news->notifier = n;
		news->secondary = s;
		news->zone = mem_strdup(dns_zone_name(z));
		list_append(&n->news, &news->node);
	} else if (news->serial == dns_zone_serial(z)) {
		news->is_served = true;
		return;
	}
	if (news->state == ASKING)
		n->asking--;
	news->ask = dns_ask_free(news->ask);
	ldns_rr_free(news->soa);
	news->soa =
		ldns_rr_clone(ldns_rr_list_rr(dns_node_set(&z->nodes[0], LDNS_RR_TYPE_SOA)->rrs, 0));
	news->serial = dns_zone_serial(z);
	news->state = WAITING;
	news->is_served = true;
}

static bool is_same(const struct dns_secondary *a, const struct dns_secondary *b)
{
	char text[ADDRESS_TEXT_SIZE], other[ADDRESS_TEXT_SIZE];

	if (a->notify.len != b->notify.len || !a->key != !b->key)
		return false;
	return (a->notify.len == 0 ||
		strcmp(address_text(&a->notify, text), address_text(&b->notify, other)) == 0) &&
	       (!a->key || (strcmp(a->key->name, b->key->name) == 0 &&
			    strcmp(a->key->secret, b->key->secret) == 0));
}

static bool are_same(const struct dns_transfers *a, const struct dns_transfers *b)
{
	bool same = a->secondary_count == b->secondary_count;

	for (size_t i = 0; same && i < a->secondary_count; i++)
		same = is_same(&a->secondaries[i], &b->secondaries[i]);
	return same;
}

/* What secondaries that stay have been told already stays known; what is under way begins again. */
static void take_peers(struct dns_notifier *n, struct dns_peers *peers)
{
	const struct dns_transfers *who = dns_peers_allowed(peers);

	if (n->peers && are_same(dns_peers_allowed(n->peers), who))
		return;
	LIST_FOR_EACH(it, &n->news) {
		struct news *news = LIST_ENTRY(it, struct news, node);
		const struct dns_secondary *now = NULL;
		for (size_t i = 0; !now && i < who->secondary_count; i++)
			if (is_same(&who->secondaries[i], news->secondary))
				now = &who->secondaries[i];
		if (!now) {
			news_free(news);
			continue;
		}
		news->secondary = now;
		if (news->state == ASKING) {
			news->ask = dns_ask_free(news->ask);
			news->state = WAITING;
			n->asking--;
		}
	}
	dns_peers_unref(n->peers);
	n->peers = dns_peers_ref(peers);
}

void dns_notifier_zones(struct dns_notifier *n, struct dns_zones *zones, struct dns_peers *peers)
{
	take_peers(n, peers);
	const struct dns_transfers *who = dns_peers_allowed(n->peers);

	LIST_FOR_EACH(it, &n->news)
		LIST_ENTRY(it, struct news, node)->is_served = false;
	for (size_t i = 0; i < who->secondary_count; i++)
		for (size_t k = 0; who->secondaries[i].notify.len && k < dns_zones_count(zones); k++)
			renew(n, &who->secondaries[i], dns_zones_at(zones, k));
	LIST_FOR_EACH(it, &n->news) {
		struct news *news = LIST_ENTRY(it, struct news, node);
		if (!news->is_served)
			news_free(news);
	}
	ask_waiting(n);
}

struct json_t *dns_notifier_json(void *notifier)
{
	static const char *const states[] = { "waiting", "asking", "current", "failed" };
	const struct dns_notifier *n = notifier;
	json_t *list = json_array();
	char text[ADDRESS_TEXT_SIZE];

	LIST_FOR_EACH(it, &n->news) {
		const struct news *news = LIST_ENTRY(it, struct news, node);
		json_t *item = json_pack("{s:s, s:s, s:I, s:s}", "zone", news->zone, "secondary",
					 address_text(&news->secondary->notify, text), "serial",
					 (json_int_t)news->serial, "state", states[news->state]);
		if (news->state == FAILED)
			(void)json_object_set_new(item, "error", json_string(news->why.text));
		(void)json_array_append_new(list, item);
	}
	return list;
}

struct dns_notifier *dns_notifier_new(struct loop *l)
{
	struct dns_notifier *n = mem_alloc(sizeof(*n));

	n->loop = l;
	list_init(&n->news);
	return n;
}

struct dns_notifier *dns_notifier_free(struct dns_notifier *n)
{
	if (!n)
		return NULL;
	LIST_FOR_EACH(it, &n->news)
		news_free(LIST_ENTRY(it, struct news, node));
	dns_peers_unref(n->peers);
	return mem_free(n);
}
