#include "edge/ports/udp_carry.h"

#include <string.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/mem.h"
#include "edge/tunnels/registry.h"
#include "edge/worker.h"

#define CARRY_MAGIC 0x75637279

struct udp_carry {
	uint32_t magic;
	atomic_int refs; /* near, far while it has a flow, and every post under way */
	struct arena arena;
	struct udp_carry_start how; /* its target lives in the arena */

	/* Near's own. */
	bool has_near; /* neither closed by near nor told that it is over */
	struct deferred refusal;

	/* Far's own. */
	struct udp_flow *flow; /* NULL before it is open, and when it has closed */
	bool is_over;          /* near wants no more */
};

static void unref(struct udp_carry *c)
{
	CHECK(c, CARRY_MAGIC);
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	deferred_cancel(&c->refusal);
	port_unref(c->how.port);
	arena_done(&c->arena);
	c->magic = 0;
	mem_free(c);
}

static struct udp_carry *ref(struct udp_carry *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

static bool is_here(const struct udp_carry *c)
{
	return c->how.near == c->how.far;
}

/* --- Between the two ---------------------------------------------------------------------------- */

struct letter {
	struct udp_carry *carry; /* counted */
	enum reason why;
	size_t len;
	uint8_t data[];
};

static struct letter *letter_new(struct udp_carry *c, struct bytes data)
{
	struct letter *l = mem_alloc(sizeof(*l) + data.len);

	l->carry = ref(c);
	l->len = data.len;
	if (data.len)
		memcpy(l->data, data.ptr, data.len);
	return l;
}

static void letter_free(struct letter *l)
{
	unref(l->carry);
	mem_free(l);
}

/* A datagram's place on the way; false: there is none left. */
static bool take_place(struct udp_carry *c)
{
	atomic_uint *under_way = &c->how.port->under_way;

	if (atomic_fetch_add_explicit(under_way, 1, memory_order_relaxed) < LIMIT_PORT_UNDER_WAY)
		return true;
	atomic_fetch_sub_explicit(under_way, 1, memory_order_relaxed);
	return false;
}

static void leave_place(struct udp_carry *c)
{
	atomic_fetch_sub_explicit(&c->how.port->under_way, 1, memory_order_relaxed);
}

/* --- Far to near -------------------------------------------------------------------------------- */

static void near_datagram(void *arg)
{
	struct letter *l = arg;
	struct udp_carry *c = l->carry;

	leave_place(c);
	if (c->has_near)
		c->how.events->on_datagram(c->how.ctx, bytes_of(l->data, l->len));
	letter_free(l);
}

static void near_draining(void *arg)
{
	struct udp_carry *c = arg;

	if (c->has_near)
		c->how.events->on_draining(c->how.ctx);
	unref(c);
}

static void tell_closed(struct udp_carry *c, enum reason why, struct bytes text)
{
	if (!c->has_near)
		return;
	c->has_near = false;
	c->how.events->on_closed(c->how.ctx, why, text);
	unref(c);
}

static void near_closed(void *arg)
{
	struct letter *l = arg;

	tell_closed(l->carry, l->why, bytes_of(l->data, l->len));
	letter_free(l);
}

static void far_on_datagram(struct udp_flow *f, struct bytes payload)
{
	struct udp_carry *c = f->ctx;

	if (is_here(c)) {
		if (c->has_near)
			c->how.events->on_datagram(c->how.ctx, payload);
	} else if (take_place(c)) {
		loop_post(c->how.near->loop, near_datagram, letter_new(c, payload));
	}
}

static void far_on_draining(struct udp_flow *f)
{
	struct udp_carry *c = f->ctx;

	if (!is_here(c))
		loop_post(c->how.near->loop, near_draining, ref(c));
	else if (c->has_near)
		c->how.events->on_draining(c->how.ctx);
}

/* Far has no flow. */
static void say_closed(struct udp_carry *c, enum reason why, struct bytes text)
{
	if (is_here(c)) {
		tell_closed(c, why, text);
		return;
	}
	struct letter *l = letter_new(c, text);
	l->why = why;
	loop_post(c->how.near->loop, near_closed, l);
}

static void far_on_closed(struct udp_flow *f, enum reason why, struct bytes text)
{
	struct udp_carry *c = f->ctx;

	CHECK(c, CARRY_MAGIC);
	c->flow = NULL;
	say_closed(c, why, text);
	unref(c);
}

static const struct udp_flow_events flow_events = {
	.on_datagram = far_on_datagram,
	.on_draining = far_on_draining,
	.on_closed = far_on_closed,
};

/* --- Near to far -------------------------------------------------------------------------------- */

static bool open_flow(struct udp_carry *c)
{
	const struct udp_carry_start *how = &c->how;
	struct tunnel_session *ts = registry_udp_session_of(how->far, &how->tunnel, &how->connector,
							    how->target.hostname.len > 0);

	if (ts)
		c->flow = session_open_udp(ts->session, &how->target, how->idle_ms, &flow_events, c);
	if (c->flow)
		(void)ref(c);
	return c->flow != NULL;
}

#define NOBODY BYTES_LIT("no connection that carries UDP")

static void far_open(void *arg)
{
	struct udp_carry *c = arg;

	if (!c->is_over && !open_flow(c))
		say_closed(c, REASON_REFUSED, NOBODY);
	unref(c);
}

static void on_refusal(struct deferred *d)
{
	tell_closed(CONTAINER_OF(d, struct udp_carry, refusal), REASON_REFUSED, NOBODY);
}

struct udp_carry *udp_carry_open(const struct udp_carry_start *how)
{
	struct udp_carry *c = mem_alloc(sizeof(*c));

	c->magic = CARRY_MAGIC;
	atomic_init(&c->refs, 1);
	arena_init(&c->arena);
	c->how = *how;
	c->how.port = port_ref(how->port);
	c->how.target.hostname = arena_copy(&c->arena, how->target.hostname);
	c->has_near = true;
	deferred_init(&c->refusal, on_refusal);
	if (!is_here(c))
		loop_post(how->far->loop, far_open, ref(c));
	else if (!open_flow(c))
		loop_defer(how->near->loop, &c->refusal);
	return c;
}

static void far_datagram(void *arg)
{
	struct letter *l = arg;
	struct udp_carry *c = l->carry;

	leave_place(c);
	if (c->flow)
		(void)udp_flow_send(c->flow, bytes_of(l->data, l->len));
	letter_free(l);
}

bool udp_carry_send(struct udp_carry *c, struct bytes payload)
{
	CHECK(c, CARRY_MAGIC);
	if (is_here(c))
		return c->flow && udp_flow_send(c->flow, payload);
	if (!take_place(c))
		return false;
	loop_post(c->how.far->loop, far_datagram, letter_new(c, payload));
	return true;
}

static void close_flow(struct udp_carry *c)
{
	c->is_over = true;
	if (!c->flow)
		return;
	udp_flow_close(TAKE(c->flow), REASON_DONE, BYTES_NONE);
	unref(c);
}

static void far_close(void *arg)
{
	struct udp_carry *c = arg;

	close_flow(c);
	unref(c);
}

struct udp_carry *udp_carry_close(struct udp_carry *c)
{
	if (!c)
		return NULL;
	CHECK(c, CARRY_MAGIC);
	c->has_near = false;
	deferred_cancel(&c->refusal);
	if (is_here(c))
		close_flow(c);
	else
		loop_post(c->how.far->loop, far_close, ref(c));
	unref(c);
	return NULL;
}
