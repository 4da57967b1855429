#include "edge/tunnels/ejection.h"

#include "base/limits.h"

/* Slots a host may be in, from the one its hash names. */
#define REACH 8

/* One host's state. As a word of 0 it says nothing. */
struct state {
	uint64_t at_ms;    /* counting: the window's end; out: until then */
	unsigned failures; /* in a row */
	unsigned level;    /* 0: counting; else out, for the level-th time in a row */
	bool is_probed;    /* out: a probe is under way, which may take until at_ms */
};

#define AT_BITS 44
#define FAILURES_SHIFT 44
#define LEVEL_SHIFT 52
#define PROBED_SHIFT 63
#define MAX_LEVEL 32

_Static_assert(LIMIT_EJECT_FAILURES < 256, "eight bits");

static struct state unpack(uint64_t word)
{
	return (struct state){
		.at_ms = word & ((UINT64_C(1) << AT_BITS) - 1),
		.failures = word >> FAILURES_SHIFT & 0xff,
		.level = word >> LEVEL_SHIFT & 0xff,
		.is_probed = word >> PROBED_SHIFT,
	};
}

static uint64_t pack(const struct state *s)
{
	return s->at_ms | (uint64_t)s->failures << FAILURES_SHIFT |
	       (uint64_t)s->level << LEVEL_SHIFT | (uint64_t)s->is_probed << PROBED_SHIFT;
}

static uint64_t ms_of(usec now)
{
	return (uint64_t)(now / USEC_PER_MSEC);
}

static uint64_t key_of(uint64_t host)
{
	return host ? host : 1; /* 0: never used */
}

static struct ejection_slot *slot_at(struct ejections *e, uint64_t host, size_t i)
{
	return &e->slots[(host + i) % EJECTION_SLOTS];
}

static struct ejection_slot *find(struct ejections *e, uint64_t host)
{
	uint64_t key = key_of(host);

	if (ejection_is_idle(e))
		return NULL;
	for (size_t i = 0; i < REACH; i++) {
		struct ejection_slot *slot = slot_at(e, host, i);
		if (atomic_load(&slot->host) == key && atomic_load(&slot->word))
			return slot;
	}
	return NULL;
}

/* Is the slot's word old news? Who has been due for a probe for so long has no visitors any more. */
static bool is_stale(uint64_t word, uint64_t now_ms)
{
	struct state s = unpack(word);

	return s.at_ms + (s.level ? 10 * LIMIT_EJECT_MAX_MS : 0) < now_ms;
}

/* The host's slot, or one it may have. Two hosts that take one at once mix up a failure or two: that costs
 * an ejection that comes early or late. */
static struct ejection_slot *find_or_take(struct ejections *e, uint64_t host, uint64_t now_ms)
{
	struct ejection_slot *slot = find(e, host);

	for (size_t i = 0; !slot && i < REACH; i++) {
		struct ejection_slot *at = slot_at(e, host, i);
		uint64_t word = atomic_load(&at->word);
		if (word && !is_stale(word, now_ms))
			continue;
		if (!atomic_compare_exchange_strong(&at->word, &word, 0))
			continue;
		if (word)
			atomic_fetch_sub(&e->used, 1);
		atomic_store(&at->host, key_of(host));
		slot = at;
	}
	return slot;
}

/* Counts what became of it; false when somebody else was faster. */
static bool replace(struct ejections *e, struct ejection_slot *slot, uint64_t *old,
		    const struct state *s)
{
	uint64_t word = s ? pack(s) : 0;

	if (!atomic_compare_exchange_strong(&slot->word, old, word))
		return false;
	if (*old == 0 && word)
		atomic_fetch_add(&e->used, 1);
	else if (*old && word == 0)
		atomic_fetch_sub(&e->used, 1);
	return true;
}

static uint64_t period_ms(unsigned level)
{
	uint64_t ms = LIMIT_EJECT_MS;

	for (unsigned i = 1; i < level && ms < LIMIT_EJECT_MAX_MS; i++)
		ms *= 2;
	return ms < LIMIT_EJECT_MAX_MS ? ms : LIMIT_EJECT_MAX_MS;
}

enum ejection ejection_look(struct ejections *e, uint64_t host, usec now)
{
	struct ejection_slot *slot = find(e, host);

	if (!slot)
		return EJECTION_NONE;
	struct state s = unpack(atomic_load(&slot->word));
	if (s.level == 0)
		return EJECTION_NONE;
	return ms_of(now) < s.at_ms ? EJECTION_OUT : EJECTION_DUE;
}

bool ejection_claim(struct ejections *e, uint64_t host, usec now)
{
	struct ejection_slot *slot = find(e, host);

	if (!slot)
		return false;
	uint64_t old = atomic_load(&slot->word);
	struct state s = unpack(old);
	if (s.level == 0 || ms_of(now) < s.at_ms)
		return false;
	s.is_probed = true;
	s.at_ms = ms_of(now) + LIMIT_EJECT_PROBE_MS;
	return replace(e, slot, &old, &s);
}

/* What a failure makes of a state; true when it is out by it. */
static bool fail(struct state *s, uint64_t now_ms, bool is_probe, bool may_eject)
{
	if (s->level) {
		/* Requests that were under way when it went out say nothing new. */
		if (!is_probe || (!s->is_probed && now_ms < s->at_ms))
			return false;
		s->level += s->level < MAX_LEVEL;
	} else {
		if (s->failures == 0 || now_ms > s->at_ms) {
			s->failures = 0;
			s->at_ms = now_ms + LIMIT_EJECT_WINDOW_MS;
		}
		s->failures += s->failures < LIMIT_EJECT_FAILURES;
		if (s->failures < LIMIT_EJECT_FAILURES || !may_eject)
			return false;
		s->level = 1;
	}
	s->is_probed = false;
	s->at_ms = now_ms + period_ms(s->level);
	return true;
}

bool ejection_failed(struct ejections *e, uint64_t host, usec now, bool is_probe, bool may_eject)
{
	struct ejection_slot *slot = find_or_take(e, host, ms_of(now));

	if (!slot)
		return false;
	uint64_t old = atomic_load(&slot->word);
	for (;;) {
		struct state s = unpack(old);
		bool is_out = fail(&s, ms_of(now), is_probe, may_eject);
		if (replace(e, slot, &old, &s))
			return is_out;
	}
}

bool ejection_answered(struct ejections *e, uint64_t host, bool is_probe)
{
	struct ejection_slot *slot = find(e, host);

	if (!slot)
		return false;
	uint64_t old = atomic_load(&slot->word);
	for (;;) {
		struct state s = unpack(old);
		if (s.level && !is_probe)
			return false; /* sent before it went out */
		if (replace(e, slot, &old, NULL))
			return s.level > 0;
	}
}
