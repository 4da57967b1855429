#include "fake/udp_relay.h"

#include "base/limits.h"
#include "base/mem.h"

#define REORDERED_USEC 5000

struct parcel {
	struct list node;
	usec due;
	bool to_server;
	uint8_t ecn;
	size_t len;
	uint8_t data[];
};

struct direction {
	usec free_at; /* when the line has sent what it was given */
};

struct udp_relay {
	struct loop *loop;
	struct udp_relay_options options;
	struct udp_relay_counts counts;
	struct udp_socket *front, *back;
	struct address address, server, client;
	struct list parcels; /* by due time */
	struct direction up, down;
	struct loop_alarm *alarm;
	uint64_t random;
	bool rebinds; /* before the next packet to the server */
};

static uint64_t next_random(struct udp_relay *r)
{
	/* xorshift64*: the same packets are lost on every run. */
	r->random ^= r->random >> 12;
	r->random ^= r->random << 25;
	r->random ^= r->random >> 27;
	return r->random * 0x2545f4914f6cdd1dULL;
}

static bool happens(struct udp_relay *r, unsigned of_10000)
{
	return next_random(r) >> 33 <= (1ULL << 31) / 10000 * of_10000 && of_10000;
}

static void deliver(struct udp_relay *r, struct parcel *p)
{
	struct udp_socket *s = p->to_server ? r->back : r->front;

	if (p->to_server || r->client.len)
		(void)udp_send(s, NULL, p->to_server ? &r->server : &r->client, p->ecn,
			       bytes_of(p->data, p->len), p->len, NULL);
	mem_free(p);
}

static void arm(struct udp_relay *r)
{
	if (list_is_empty(&r->parcels))
		loop_alarm_stop(r->alarm);
	else
		loop_alarm_set(r->alarm, LIST_ENTRY(r->parcels.next, struct parcel, node)->due);
}

static void on_alarm(void *arg)
{
	struct udp_relay *r = arg;
	usec now = clock_now();

	while (!list_is_empty(&r->parcels)) {
		struct parcel *p = LIST_ENTRY(r->parcels.next, struct parcel, node);
		if (p->due > now)
			break;
		list_remove(&p->node);
		deliver(r, p);
	}
	arm(r);
}

static void post(struct udp_relay *r, const struct udp_packet *packet, bool to_server, usec extra)
{
	struct direction *d = to_server ? &r->up : &r->down;
	usec now = clock_now(), leaves = now;
	size_t room = r->options.queue_bytes ? r->options.queue_bytes : 256 * 1024;

	if (r->options.bytes_per_sec) {
		if (d->free_at < now)
			d->free_at = now;
		size_t waiting = (size_t)((uint64_t)(d->free_at - now) * r->options.bytes_per_sec /
					  USEC_PER_SEC);
		if (waiting + packet->data.len > room) {
			r->counts.lost++;
			return;
		}
		d->free_at += (usec)(packet->data.len * USEC_PER_SEC / r->options.bytes_per_sec);
		leaves = d->free_at;
	}
	struct parcel *p = mem_alloc(sizeof(*p) + packet->data.len);
	p->due = leaves + r->options.delay + extra;
	p->to_server = to_server;
	p->ecn = packet->ecn;
	p->len = packet->data.len;
	memcpy(p->data, packet->data.ptr, p->len);
	struct list *at = r->parcels.prev;
	while (at != &r->parcels && LIST_ENTRY(at, struct parcel, node)->due > p->due)
		at = at->prev;
	list_insert_before(at->next, &p->node);
}

static void relay(struct udp_relay *r, const struct udp_packet *packets, size_t count,
		  bool to_server)
{
	for (size_t i = 0; i < count; i++) {
		r->counts.packets++;
		r->counts.marked += packets[i].ecn != 0;
		if (packets[i].data.len && packets[i].data.ptr[0] >> 4 == 0xf) {
			r->counts.retries++;
			r->rebinds |= r->options.rebinds_at_retry;
		}
		if (r->options.mtu && packets[i].data.len > r->options.mtu) {
			r->counts.too_large++;
			continue;
		}
		if (packets[i].data.len > r->counts.largest)
			r->counts.largest = packets[i].data.len;
		if (happens(r, r->options.loss) || (r->options.loses_answers && !to_server)) {
			r->counts.lost++;
			continue;
		}
		bool is_late = happens(r, r->options.reorder);
		r->counts.reordered += is_late;
		post(r, &packets[i], to_server, is_late ? REORDERED_USEC : 0);
		if (happens(r, r->options.repeat)) {
			r->counts.repeated++;
			post(r, &packets[i], to_server, 1000);
		}
	}
	on_alarm(r);
}

static void on_front(void *ctx, const struct udp_packet *packets, size_t count)
{
	struct udp_relay *r = ctx;

	r->client = packets[count - 1].from;
	if (r->rebinds)
		udp_relay_rebind(r);
	r->rebinds = false;
	relay(r, packets, count, true);
}

static void on_back(void *ctx, const struct udp_packet *packets, size_t count)
{
	relay(ctx, packets, count, false);
}

static void on_writable(void *ctx)
{
	(void)ctx; /* what did not fit was lost */
}

static const struct udp_events front_events = { .on_packets = on_front, .on_writable = on_writable };
static const struct udp_events back_events = { .on_packets = on_back, .on_writable = on_writable };

static struct udp_socket *open_socket(struct udp_relay *r, const struct udp_events *events,
				      struct address *ret)
{
	bool is_v4 = r->server.any.sa_family == AF_INET;

	BUG_IF(address_parse(is_v4 ? BYTES_LIT("127.0.0.1:0") : BYTES_LIT("[::1]:0"), ret, NULL) <
	       0);
	int fd = udp_open(ret, false, NULL);
	BUG_IF(fd < 0);
	return udp_new(r->loop, fd, events, r);
}

struct udp_relay *udp_relay_new(struct loop *l, const struct address *server,
				const struct udp_relay_options *options)
{
	struct udp_relay *r = mem_alloc(sizeof(*r));
	struct address unused;

	r->loop = l;
	r->options = *options;
	r->server = *server;
	r->random = options->seed ? options->seed : 88172645463325252ULL;
	list_init(&r->parcels);
	r->alarm = loop_alarm_new(l, on_alarm, r);
	r->front = open_socket(r, &front_events, &r->address);
	r->back = open_socket(r, &back_events, &unused);
	return r;
}

struct udp_relay *udp_relay_free(struct udp_relay *r)
{
	struct list *node;

	if (!r)
		return NULL;
	while ((node = list_pop(&r->parcels)))
		mem_free(LIST_ENTRY(node, struct parcel, node));
	udp_free(r->front);
	udp_free(r->back);
	loop_alarm_free(r->alarm);
	return mem_free(r);
}

const struct address *udp_relay_address(const struct udp_relay *r)
{
	return &r->address;
}

struct udp_relay_options *udp_relay_options(struct udp_relay *r)
{
	return &r->options;
}

void udp_relay_rebind(struct udp_relay *r)
{
	struct address unused;

	udp_free(r->back);
	r->back = open_socket(r, &back_events, &unused);
}

struct udp_relay_counts udp_relay_counts(const struct udp_relay *r)
{
	return r->counts;
}
