#include "fake/lossy_link/link.h"

#include <string.h>

#include "base/list.h"
#include "base/mem.h"

#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PORT_BITS 0x3ff
#define LATE_USEC 5000
#define QUEUE_BYTES (256 * 1024)
/* All that may be under way at once: 1 Gbit/s for two seconds. */
#define UNDER_WAY_MAX ((size_t)256 * 1024 * 1024)

struct parcel {
	struct list node;
	usec due;
	size_t len;
	uint8_t data[];
};

struct direction {
	struct list parcels; /* owned, by due time */
	usec free_at;        /* when the line has sent what it was given */
	usec last_due;       /* of those that keep their order */
};

struct link {
	struct link_settings settings;
	struct link_counts counts;
	struct direction to[2]; /* by the side it leads to */
	size_t under_way;
	uint64_t random;
	uint16_t ports; /* what is flipped in ports of B */
	unsigned rebinds;
	struct parcel *taken; /* owned, lent by link_take() */
};

struct link *link_new(void)
{
	struct link *l = mem_alloc(sizeof(*l));

	list_init(&l->to[SIDE_A].parcels);
	list_init(&l->to[SIDE_B].parcels);
	l->settings.late = LATE_USEC;
	l->settings.queue = QUEUE_BYTES;
	link_seed(l, 1);
	return l;
}

struct link *link_free(struct link *l)
{
	struct list *node;

	if (!l)
		return NULL;
	for (int side = SIDE_A; side <= SIDE_B; side++)
		while ((node = list_pop(&l->to[side].parcels)))
			mem_free(LIST_ENTRY(node, struct parcel, node));
	mem_free(l->taken);
	return mem_free(l);
}

struct link_settings *link_settings(struct link *l)
{
	return &l->settings;
}

struct link_counts link_counts(const struct link *l)
{
	return l->counts;
}

void link_seed(struct link *l, uint64_t seed)
{
	/* xorshift64* must not begin with zero, and begins badly with a small number. */
	l->random = (seed + 1) * 0x9e3779b97f4a7c15ULL;
	if (l->random == 0)
		l->random = 1;
}

static uint64_t next_random(struct link *l)
{
	l->random ^= l->random >> 12;
	l->random ^= l->random << 25;
	l->random ^= l->random >> 27;
	return (l->random * 0x2545f4914f6cdd1dULL) >> 33;
}

static bool happens(struct link *l, unsigned of_million)
{
	return of_million && next_random(l) % 1000000 < of_million;
}

/* --- Ports ----------------------------------------------------------------------------------- */

struct transport {
	uint8_t protocol;
	uint8_t *head; /* NULL: a fragment, or too short for ports and checksum */
};

static struct transport find_transport(uint8_t *packet, size_t len)
{
	struct transport t = { 0 };
	size_t at;

	if (len >= 20 && packet[0] >> 4 == 4) {
		t.protocol = packet[9];
		at = (size_t)(packet[0] & 0xf) * 4;
		if ((packet[6] & 0x1f) || packet[7])
			return t;
	} else if (len >= 40 && packet[0] >> 4 == 6) {
		t.protocol = packet[6];
		at = 40;
	} else {
		return t;
	}
	size_t needed = t.protocol == PROTOCOL_TCP ? 20 : 8;
	if ((t.protocol == PROTOCOL_TCP || t.protocol == PROTOCOL_UDP) && at + needed <= len)
		t.head = packet + at;
	return t;
}

/* RFC 1624: the checksum follows without a look at the rest. */
static void flip_port(const struct transport *t, size_t at, uint16_t flips)
{
	uint8_t *sum_at = t->head + (t->protocol == PROTOCOL_TCP ? 16 : 6);
	uint8_t *port_at = t->head + at;
	uint32_t before = (uint32_t)port_at[0] << 8 | port_at[1];
	uint32_t after = before ^ flips;
	uint32_t sum = (uint32_t)sum_at[0] << 8 | sum_at[1];

	port_at[0] = (uint8_t)(after >> 8);
	port_at[1] = (uint8_t)after;
	if (t->protocol == PROTOCOL_UDP && sum == 0)
		return; /* none was made */
	sum = (~sum & 0xffff) + (~before & 0xffff) + after;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	if (t->protocol == PROTOCOL_UDP && sum == 0)
		sum = 0xffff;
	sum_at[0] = (uint8_t)(sum >> 8);
	sum_at[1] = (uint8_t)sum;
}

void link_rebind(struct link *l)
{
	l->rebinds++;
	l->ports = (uint16_t)(l->rebinds * 0x95) & PORT_BITS;
}

/* --- Packets --------------------------------------------------------------------------------- */

static bool is_blocked(const struct link *l, uint8_t protocol)
{
	return l->settings.no_ip || (l->settings.no_udp && protocol == PROTOCOL_UDP) ||
	       (l->settings.no_tcp && protocol == PROTOCOL_TCP);
}

void link_put(struct link *l, enum link_side from, uint8_t *packet, size_t len, usec now)
{
	const struct link_settings *s = &l->settings;
	struct direction *d = &l->to[from == SIDE_A ? SIDE_B : SIDE_A];
	struct transport t = find_transport(packet, len);
	usec due = now;

	if (is_blocked(l, t.protocol)) {
		l->counts.blocked++;
		return;
	}
	if (s->mtu && len > s->mtu) {
		l->counts.too_large++;
		return;
	}
	if (happens(l, s->loss)) {
		l->counts.lost++;
		return;
	}
	if (s->rate) {
		if (d->free_at < now)
			d->free_at = now;
		uint64_t waiting = (uint64_t)(d->free_at - now) * s->rate / USEC_PER_SEC;
		if (waiting + len > s->queue) {
			l->counts.dropped++;
			return;
		}
		d->free_at += (usec)(len * (uint64_t)USEC_PER_SEC / s->rate);
		due = d->free_at;
	}
	if (l->under_way + len > UNDER_WAY_MAX) {
		l->counts.dropped++;
		return;
	}
	if (t.head && l->ports)
		flip_port(&t, from == SIDE_B ? 0 : 2, l->ports);
	due += s->delay;
	if (s->jitter)
		due += (usec)(next_random(l) % (uint64_t)(s->jitter + 1));
	if (happens(l, s->reorder)) {
		l->counts.reordered++;
		due += s->late;
	} else {
		if (due < d->last_due && s->jitter)
			due = d->last_due;
		d->last_due = due;
	}
	struct parcel *p = mem_alloc(sizeof(*p) + len);
	p->due = due;
	p->len = len;
	memcpy(p->data, packet, len);
	struct list *at = d->parcels.prev;
	while (at != &d->parcels && LIST_ENTRY(at, struct parcel, node)->due > due)
		at = at->prev;
	list_insert_before(at->next, &p->node);
	l->under_way += len;
}

static const struct parcel *first(const struct direction *d)
{
	return list_is_empty(&d->parcels) ? NULL : LIST_ENTRY(d->parcels.next, struct parcel, node);
}

const uint8_t *link_take(struct link *l, usec now, enum link_side *ret_to, size_t *ret_len)
{
	const struct parcel *a = first(&l->to[SIDE_A]), *b = first(&l->to[SIDE_B]);
	enum link_side to = !b || (a && a->due <= b->due) ? SIDE_A : SIDE_B;
	const struct parcel *p = to == SIDE_A ? a : b;

	l->taken = mem_free(l->taken);
	if (!p || p->due > now)
		return NULL;
	l->taken = LIST_ENTRY(list_pop(&l->to[to].parcels), struct parcel, node);
	l->under_way -= l->taken->len;
	l->counts.passed++;
	l->counts.bytes += l->taken->len;
	*ret_to = to;
	*ret_len = l->taken->len;
	return l->taken->data;
}

usec link_next(const struct link *l)
{
	const struct parcel *a = first(&l->to[SIDE_A]), *b = first(&l->to[SIDE_B]);

	if (a && b)
		return a->due < b->due ? a->due : b->due;
	return a ? a->due : b ? b->due : -1;
}
