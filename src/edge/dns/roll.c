#include "edge/dns/roll.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "store/store.h"

/* Keys whose tags are the same can be told apart only by trying both. */
#define ATTEMPTS 16

static const char *const step_names[] = { "none", "published", "published", "ds", "retiring" };
static const char *const witness_names[] = { NULL, "this edge", "resolver", "operator" };

const char *dns_roll_step_name(enum dns_roll_step step)
{
	return step_names[step];
}

/* --- In the store: sealed, by the zone's id. A zone that is removed and added again gets new keys. -- */

static char *setting_name(const char *what, const struct uuid *zone)
{
	char id[UUID_TEXT_SIZE];

	return mem_printf("dns.%s.%s", what, uuid_text(zone, id));
}

static void forget(char *text)
{
	if (text)
		secret_wipe(text, strlen(text));
	mem_free(text);
}

/* NULL with 0: there is none. */
static int get(struct store *store, const char *what, const struct uuid *zone, char **ret,
	       struct err *err)
{
	char *name = setting_name(what, zone);
	struct err why = { 0 };

	*ret = store_setting_get(store, name, &why);
	mem_free(name);
	return *ret || why.code == E_NOT_FOUND ? 0 : err_set(err, why.code, "%s", why.text);
}

static int put(struct store *store, const char *what, const struct uuid *zone, const char *text,
	       struct err *err)
{
	char *name = setting_name(what, zone);
	int r = store_setting_put(store, name, text, true, err);

	mem_free(name);
	return r;
}

static int save_key(struct store *store, const struct uuid *zone, const struct dns_key *k,
		    struct err *err)
{
	char *text = dns_key_text(k);
	int r = put(store, "key", zone, text, err);

	forget(text);
	return r;
}

/* A line of numbers, and the key. */
static int save_roll(struct store *store, const struct uuid *zone, const struct dns_keys *k,
		     struct err *err)
{
	if (!k->next)
		return put(store, "roll", zone, "", err);
	char *key = dns_key_text(k->next);
	char *text = mem_printf("%d %d %" PRId64 " %" PRId64 " %" PRId64 " %" PRIu32 "\n%s", k->step,
				k->seen_by, k->since, k->until, k->switched_at, k->zone_ttl, key);
	int r = put(store, "roll", zone, text, err);

	forget(key);
	forget(text);
	return r;
}

static int parse_roll(const char *text, struct dns_keys *k, struct err *err)
{
	unsigned step = 0, seen_by = 0;
	const char *key = strchr(text, '\n');

	if (sscanf(text, "%u %u %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNu32 "\n", &step, &seen_by,
		   &k->since, &k->until, &k->switched_at, &k->zone_ttl) != 6 ||
	    step == DNS_ROLL_NONE || step > DNS_ROLL_RETIRING || seen_by > DNS_SEEN_BY_OPERATOR ||
	    !key)
		return err_set(err, E_INTERNAL, "the state of a key's roll cannot be read");
	k->step = step;
	k->seen_by = seen_by;
	k->next = dns_key_parse(key + 1, err);
	return k->next ? 0 : E_INVALID;
}

int dns_keys_box(const char *text, char **ret_text, struct err *err)
{
	bool is_roll = *text >= '0' && *text <= '9';
	const char *key = is_roll ? strchr(text, '\n') : text;
	char *boxed = NULL;
	int r = key ? dns_key_box(key + is_roll, &boxed, err)
		    : err_set(err, E_INTERNAL, "the state of a key's roll cannot be read");

	if (r > 0)
		*ret_text = mem_printf("%.*s%s", (int)(key + is_roll - text), text, boxed);
	forget(boxed);
	return r;
}

static void end_roll(struct dns_keys *k)
{
	*k = (struct dns_keys){ .current = k->current, .until = INT64_MAX };
}

static int read_keys(struct store *store, const struct uuid *zone, struct dns_keys *k,
		     struct err *err)
{
	char *key = NULL, *roll = NULL;
	int r = get(store, "key", zone, &key, err);

	if (r == 0)
		r = get(store, "roll", zone, &roll, err);
	if (r == 0 && key && !(k->current = dns_key_parse(key, err)))
		r = E_INVALID;
	if (r == 0 && key && roll && *roll)
		r = parse_roll(roll, k, err);
	forget(key);
	forget(roll);
	return r;
}

int dns_keys_load(struct store *store, const struct uuid *zone, struct dns_keys *ret,
		  struct err *err)
{
	struct dns_keys k = { .until = INT64_MAX };
	int r = read_keys(store, zone, &k, err);

	if (r == 0 && !k.current) {
		k.current = dns_key_new(err);
		r = k.current ? save_key(store, zone, k.current, err) : E_INTERNAL;
	}
	/* The last step was saved by half: see dns_keys_save(). */
	if (r == 0 && k.next && dns_key_tag(k.next) == dns_key_tag(k.current)) {
		dns_key_free(k.next);
		end_roll(&k);
	}
	if (r < 0)
		dns_keys_done(&k);
	else
		*ret = k;
	return r;
}

int dns_keys_save(struct store *store, const struct uuid *zone, const struct dns_keys *k,
		  struct err *err)
{
	int r = k->next ? 0 : save_key(store, zone, k->current, err);

	return r == 0 ? save_roll(store, zone, k, err) : r;
}

void dns_keys_done(struct dns_keys *k)
{
	k->current = dns_key_free(k->current);
	k->next = dns_key_free(k->next);
}

/* --- Steps ------------------------------------------------------------------------------------ */

static bool has_switched(const struct dns_keys *k)
{
	return k->step == DNS_ROLL_DS || k->step == DNS_ROLL_RETIRING;
}

const struct dns_key *dns_keys_signing(const struct dns_keys *k)
{
	return has_switched(k) ? k->next : k->current;
}

const struct dns_key *dns_keys_other(const struct dns_keys *k)
{
	return has_switched(k) ? k->current : k->next;
}

static usec after(usec at, uint64_t seconds)
{
	return at + (usec)seconds * USEC_PER_SEC;
}

static void enter(struct dns_keys *k, enum dns_roll_step step, usec now, usec until)
{
	k->step = step;
	k->since = now;
	k->until = until;
}

static bool step_once(struct dns_keys *k, const struct dns_roll_times *t, usec now)
{
	usec ds_gone = after(now, (uint64_t)t->ds_ttl + t->margin);
	usec signatures_gone = after(k->switched_at, (uint64_t)k->zone_ttl + t->margin);

	switch (k->step) {
	case DNS_ROLL_NONE:
		return false;
	case DNS_ROLL_NEW:
		enter(k, DNS_ROLL_PUBLISHED, now, after(now, (uint64_t)t->key_ttl + t->margin));
		return true;
	case DNS_ROLL_PUBLISHED:
		if (now < k->until)
			return false;
		k->switched_at = now;
		k->zone_ttl = t->zone_ttl;
		enter(k, DNS_ROLL_DS, now, INT64_MAX);
		return true;
	case DNS_ROLL_DS:
		if (k->seen_by == DNS_SEEN_BY_NOBODY)
			return false;
		enter(k, DNS_ROLL_RETIRING, now,
		      ds_gone > signatures_gone ? ds_gone : signatures_gone);
		return true;
	case DNS_ROLL_RETIRING:
		if (k->seen_by == DNS_SEEN_BY_NOBODY) {
			enter(k, DNS_ROLL_DS, now, INT64_MAX);
			return true;
		}
		if (now < k->until)
			return false;
		dns_key_free(k->current);
		k->current = k->next;
		end_roll(k);
		return true;
	}
	return false;
}

bool dns_keys_advance(struct dns_keys *k, const struct dns_roll_times *times, usec now)
{
	bool has_changed = false;

	while (step_once(k, times, now))
		has_changed = true;
	return has_changed;
}

usec dns_keys_due(const struct dns_keys *k)
{
	return k->step == DNS_ROLL_NEW ? 0 : k->next ? k->until : INT64_MAX;
}

/* --- What people ask for ---------------------------------------------------------------------- */

static int load_by_name(struct store *store, const char *name, struct uuid *ret_id,
			struct dns_keys *ret, struct err *err)
{
	struct store_zone zone = { 0 };
	int r = store_zone_find(store, name, &zone, err);

	if (r < 0)
		return r;
	*ret_id = zone.id;
	store_zone_done(&zone);
	return dns_keys_load(store, ret_id, ret, err);
}

/* One whose tag is another's can be told from it. */
static struct dns_key *make_other(const struct dns_key *than, struct err *err)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		struct dns_key *k = dns_key_new(err);
		if (!k || dns_key_tag(k) != dns_key_tag(than))
			return k;
		dns_key_free(k);
	}
	err_set(err, E_INTERNAL, "no key with a tag of its own could be made");
	return NULL;
}

int dns_roll_begin(struct store *store, const char *zone, struct err *err)
{
	struct uuid id;
	struct dns_keys k = { 0 };
	int r = load_by_name(store, zone, &id, &k, err);

	if (r < 0)
		return r;
	if (k.next) {
		r = err_set(
			err, E_BUSY,
			"the key of %s is being rolled already; see `adit-edge dns dnssec status`",
			zone);
	} else {
		k.next = make_other(k.current, err);
		k.step = DNS_ROLL_NEW;
		k.since = clock_wall_now();
		r = k.next ? dns_keys_save(store, &id, &k, err) : E_INTERNAL;
	}
	dns_keys_done(&k);
	return r;
}

int dns_roll_seen(struct store *store, const char *zone, enum dns_roll_witness who, struct err *err)
{
	struct uuid id;
	struct dns_keys k = { 0 };
	int r = load_by_name(store, zone, &id, &k, err);

	if (r < 0)
		return r;
	if (!has_switched(&k)) {
		r = err_set(
			err, E_INVALID,
			k.next ? "%s: the new DS record is not to be entered yet: resolvers do not know the new key; see `adit-edge dns dnssec status`"
			       : "the key of %s is not being rolled",
			zone);
	} else if (k.seen_by != who) {
		k.seen_by = who;
		r = dns_keys_save(store, &id, &k, err);
	}
	dns_keys_done(&k);
	return r;
}

int dns_roll_cancel(struct store *store, const char *zone, struct err *err)
{
	struct uuid id;
	struct dns_keys k = { 0 };
	int r = load_by_name(store, zone, &id, &k, err);

	if (r < 0)
		return r;
	if (!k.next) {
		r = err_set(err, E_INVALID, "the key of %s is not being rolled", zone);
	} else if (has_switched(&k)) {
		r = err_set(
			err, E_INVALID,
			"the new key signs %s already: let the roll end, and roll again if you want another one",
			zone);
	} else {
		dns_key_free(k.next);
		end_roll(&k);
		r = dns_keys_save(store, &id, &k, err);
	}
	dns_keys_done(&k);
	return r;
}

static void add_key(json_t *o, const char *tag_name, const char *ds_name, const struct dns_key *k,
		    const char *zone)
{
	char *ds = dns_key_ds(k, zone);

	(void)json_object_set_new(o, tag_name, json_integer(dns_key_tag(k)));
	(void)json_object_set_new(o, ds_name, json_string(ds));
	mem_free(ds);
}

static void add_time(json_t *o, const char *name, usec at)
{
	char text[40];

	if (at > 0 && at != INT64_MAX)
		(void)json_object_set_new(o, name,
					  json_string(clock_rfc3339(at, text, sizeof(text))));
}

json_t *dns_roll_status(struct store *store, const char *zone, struct err *err)
{
	struct uuid id;
	struct dns_keys k = { 0 };

	if (load_by_name(store, zone, &id, &k, err) < 0)
		return NULL;
	json_t *o = json_pack("{s:s, s:s}", "zone", zone, "step", dns_roll_step_name(k.step));
	add_key(o, "key_tag", "ds", k.current, zone);
	if (k.next) {
		add_key(o, "new_key_tag", "new_ds", k.next, zone);
		add_time(o, "since", k.since);
		add_time(o, "until", k.until);
	}
	if (k.seen_by != DNS_SEEN_BY_NOBODY)
		(void)json_object_set_new(o, "ds_seen_by", json_string(witness_names[k.seen_by]));
	dns_keys_done(&k);
	return o;
}
