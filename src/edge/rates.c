#include "edge/rates.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "io/loop.h"

#define READ_MS 5000
/* A minute, and one to begin with. */
#define SAMPLES 13
#define WATCHED 32

struct watched {
	const char *name;
	int64_t (*total)(void *ctx);
	void *ctx;
	int64_t samples[SAMPLES];
};

struct rates {
	struct timer timer;
	struct watched list[WATCHED];
	size_t count;
	usec at[SAMPLES]; /* when they were read */
	size_t reads;     /* ever; the newest is (reads - 1) % SAMPLES */
};

void rates_read(struct rates *r, usec now)
{
	size_t slot = r->reads++ % SAMPLES;

	r->at[slot] = now;
	for (size_t i = 0; i < r->count; i++)
		r->list[i].samples[slot] = r->list[i].total(r->list[i].ctx);
}

static void on_timer(struct timer *t)
{
	struct rates *r = CONTAINER_OF(t, struct rates, timer);

	rates_read(r, clock_now());
	timer_set(t, READ_MS);
}

struct rates *rates_new(struct loop *loop)
{
	struct rates *r = mem_alloc(sizeof(*r));

	timer_init(&r->timer, loop, on_timer);
	timer_set(&r->timer, READ_MS);
	rates_read(r, clock_now());
	return r;
}

struct rates *rates_free(struct rates *r)
{
	if (!r)
		return NULL;
	timer_stop(&r->timer);
	return mem_free(r);
}

void rates_watch(struct rates *r, const char *name, int64_t (*total)(void *ctx), void *ctx)
{
	BUG_IF(r->count == WATCHED);
	struct watched *w = &r->list[r->count++];
	*w = (struct watched){ .name = name, .total = total, .ctx = ctx };
	/* As if it had been watched all the time. */
	for (size_t i = 0; i < SAMPLES; i++)
		w->samples[i] = total(ctx);
}

/* From the oldest reading of the last minute until now. */
static double rate_of(const struct rates *r, const struct watched *w, usec now)
{
	size_t oldest = r->reads < SAMPLES ? 0 : r->reads % SAMPLES;
	usec passed = now - r->at[oldest];

	return passed > 0 ? (double)(w->total(w->ctx) - w->samples[oldest]) * USEC_PER_SEC /
				    (double)passed
			  : 0;
}

double rates_of(const struct rates *r, const char *name, usec now)
{
	for (size_t i = 0; i < r->count; i++)
		if (strcmp(r->list[i].name, name) == 0)
			return rate_of(r, &r->list[i], now);
	return -1;
}

struct json_t *rates_json(void *rates)
{
	const struct rates *r = rates;
	json_t *object = json_object();
	usec now = clock_now();

	for (size_t i = 0; i < r->count; i++) {
		char name[64];
		(void)snprintf(name, sizeof(name), "%s_per_second", r->list[i].name);
		(void)json_object_set_new(object, name, json_real(rate_of(r, &r->list[i], now)));
	}
	return object;
}
