#include "edge/access/pins.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "edge/access/cache.h"

#define PINS_MAX 16384
#define HOUR (3600 * USEC_PER_SEC)

struct pin {
	char digits[PIN_DIGITS_LONG + 1];
	char *email, *app; /* owned */
	usec until;
	int tries; /* left */
};

/* How many were sent to an address for browsers that nobody knows. */
struct sent {
	usec since;
	int count;
};

struct pins {
	struct cache *by_device; /* -> struct pin */
	struct cache *by_email;  /* -> struct sent */
};

static void drop_pin(void *value)
{
	struct pin *pin = value;

	secret_wipe(pin->digits, sizeof(pin->digits));
	mem_free(pin->email);
	mem_free(pin->app);
	mem_free(pin);
}

static void drop_sent(void *value)
{
	mem_free(value);
}

struct pins *pins_new(void)
{
	struct pins *p = mem_alloc(sizeof(*p));

	p->by_device = cache_new(PINS_MAX, drop_pin);
	p->by_email = cache_new(PINS_MAX, drop_sent);
	return p;
}

struct pins *pins_free(struct pins *p)
{
	if (!p)
		return NULL;
	cache_free(p->by_device);
	cache_free(p->by_email);
	return mem_free(p);
}

static bool is_asked_for_too_often(struct pins *p, struct bytes email, usec now)
{
	struct sent *s = cache_find(p->by_email, email);

	if (!s || now - s->since >= HOUR) {
		s = mem_alloc(sizeof(*s));
		s->since = now;
		cache_put(p->by_email, email, s);
	}
	return s->count++ >= PINS_SHORT;
}

/* Six digits. Each number is as likely as any other: what is above the last multiple of a million is drawn again. */
static void draw(char ret[PIN_DIGITS + 1])
{
	uint32_t number;

	do {
		random_bytes(&number, sizeof(number));
	} while (number >= 4294000000u);
	snprintf(ret, PIN_DIGITS + 1, "%06u", number % 1000000u);
}

void pins_make(struct pins *p, struct bytes device, struct bytes email, struct bytes app, usec now,
	       bool is_own, char ret[PIN_DIGITS_LONG + 1])
{
	struct pin *pin = mem_alloc(sizeof(*pin));

	draw(pin->digits);
	if (!is_own && is_asked_for_too_often(p, email, now))
		draw(pin->digits + PIN_DIGITS);
	pin->email = mem_strndup(email);
	pin->app = mem_strndup(app);
	pin->until = now + PIN_LIFE;
	pin->tries = PIN_TRIES;
	cache_put(p->by_device, device, pin);
	memcpy(ret, pin->digits, sizeof(pin->digits));
}

int pins_check(struct pins *p, struct bytes device, struct bytes email, struct bytes app,
	       struct bytes pin, usec now)
{
	struct pin *wanted = cache_find(p->by_device, device);
	bool is_right;

	if (!wanted)
		return E_DENIED;
	if (now >= wanted->until || --wanted->tries < 0) {
		cache_remove(p->by_device, device);
		return E_DENIED;
	}
	is_right = secret_bytes_eq(pin, bytes_str(wanted->digits)) &&
		   bytes_eq(email, bytes_str(wanted->email)) &&
		   bytes_eq(app, bytes_str(wanted->app));
	if (is_right)
		cache_remove(p->by_device, device);
	return is_right ? 0 : E_DENIED;
}
