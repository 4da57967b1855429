#include "edge/dns/tell.h"

#include "base/log.h"
#include "base/mem.h"
#include "edge/dns/notify.h"
#include "edge/dns/settings.h"
#include "edge/dns/update.h"

#define COMPONENT "edge/dns"
#define RETRY_MS 10000

struct dns_tell {
	struct store *store;
	struct dns_settings settings;
	struct dns_notifier *notifier;
	struct dns_updates *updates;
	struct dns_peers *peers; /* counted: whose keys the updates use */
	struct timer retry;
	bool is_paused;
};

void dns_tell_published(void *ctx, struct dns_zones *zones, struct dns_peers *peers)
{
	struct dns_tell *t = ctx;

	dns_notifier_zones(t->notifier, zones, peers);
}

void dns_tell_update(struct dns_tell *t)
{
	struct err err = { 0 };

	if (t->is_paused)
		return;
	struct dns_peers *peers = dns_peers_load(t->store, &err);
	const struct dns_transfers *allowed = peers ? dns_peers_allowed(peers) : NULL;
	if (!peers || dns_updates_apply(t->updates, allowed->keys, allowed->key_count, &err) < 0) {
		log_error(COMPONENT, "cannot read what other name servers are to be told",
			  LOG_STR("error", err.text));
		timer_set(&t->retry, RETRY_MS);
	}
	if (!peers)
		return;
	dns_peers_unref(t->peers);
	t->peers = peers;
}

static void on_retry(struct timer *timer)
{
	dns_tell_update(CONTAINER_OF(timer, struct dns_tell, retry));
}

void dns_tell_pause(struct dns_tell *t, bool is_paused)
{
	t->is_paused = is_paused;
	timer_stop(&t->retry);
	dns_updates_pause(t->updates, is_paused);
	dns_tell_update(t);
}

bool dns_tell_serves(const struct dns_tell *t, const char *name)
{
	return t && dns_updates_has(t->updates, name);
}

void dns_tell_show(struct dns_tell *t, const struct dns_challenge *list, size_t count,
		   void (*shown)(void *arg, const struct err *err), void *arg)
{
	struct dns_record *records = mem_alloc_array(count + 1, sizeof(records[0]));
	char **texts = mem_alloc_array(2 * count + 1, sizeof(texts[0]));

	for (size_t i = 0; i < count; i++) {
		texts[2 * i] = mem_printf("_acme-challenge.%s", list[i].name);
		texts[2 * i + 1] = mem_printf("\"%s\"", list[i].text);
		records[i] = (struct dns_record){
			.name = texts[2 * i],
			.type = "TXT",
			.data = texts[2 * i + 1],
		};
	}
	dns_updates_set_challenges(t->updates, records, count, shown, arg);
	for (size_t i = 0; i < 2 * count; i++)
		mem_free(texts[i]);
	mem_free(texts);
	mem_free(records);
}

json_t *dns_tell_secondaries(void *t)
{
	return dns_notifier_json(((struct dns_tell *)t)->notifier);
}

json_t *dns_tell_updates(void *t)
{
	return dns_updates_json(((struct dns_tell *)t)->updates);
}

void dns_tell_register_metrics(void)
{
	metric_register(&metric_dns_notifies[0]);
	metric_register(&metric_dns_notifies[1]);
	dns_updates_register_metrics();
}

struct dns_tell *dns_tell_new(const struct edge_config *config, struct store *store, struct loop *l)
{
	struct dns_tell *t = mem_alloc(sizeof(*t));

	t->store = store;
	/* Without addresses a zone with a target (CNAME) can be told of all the same. */
	if (dns_settings_make(config, &t->settings, NULL) < 0)
		t->settings = (struct dns_settings){ 0 };
	timer_init(&t->retry, l, on_retry);
	t->notifier = dns_notifier_new(l);
	t->updates = dns_updates_new(store, l, t->settings.addresses, t->settings.address_count);
	return t;
}

struct dns_tell *dns_tell_free(struct dns_tell *t)
{
	if (!t)
		return NULL;
	timer_stop(&t->retry);
	dns_notifier_free(t->notifier);
	dns_updates_free(t->updates);
	dns_peers_unref(t->peers);
	dns_settings_done(&t->settings);
	return mem_free(t);
}
