#include "edge/dns/rate.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"

/* 32 bytes each. Two floods that share a slot share its rate: no harm, as either is one. */
#define SLOTS 16384

struct slot {
	uint64_t who;
	usec filled_at;
	int32_t credit; /* in thousandths of an answer */
	bool drops;     /* the next one beyond the rate */
};

struct dns_rate {
	uint8_t key[HASH_KEY_BYTES];
	unsigned per_second;
	struct slot slots[SLOTS];
};

struct dns_rate *dns_rate_new(unsigned per_second)
{
	struct dns_rate *r = mem_alloc(sizeof(*r));

	random_bytes(r->key, sizeof(r->key));
	r->per_second = per_second;
	return r;
}

struct dns_rate *dns_rate_free(struct dns_rate *r)
{
	return mem_free(r);
}

static uint64_t name_of(const struct dns_rate *r, const struct address *from, uint64_t source)
{
	uint8_t input[8 + 1 + 7] = { 0 };

	memcpy(input, &source, 8);
	if (from->any.sa_family == AF_INET) {
		input[8] = 4;
		memcpy(input + 9, &from->v4.sin_addr, 3);
	} else {
		input[8] = 6;
		memcpy(input + 9, &from->v6.sin6_addr, 7);
	}
	return hash_keyed(r->key, bytes_of(input, sizeof(input)));
}

enum dns_rate_verdict dns_rate_check(struct dns_rate *r, const struct address *from,
				     uint64_t source, usec now)
{
	uint64_t who = name_of(r, from, source);
	struct slot *s = &r->slots[who % SLOTS];
	int64_t most = 2 * 1000 * (int64_t)r->per_second;
	int64_t earned = (now - s->filled_at) * r->per_second / (USEC_PER_SEC / 1000);

	/* A slot whose flood is over is anybody's. */
	if (s->who != who && s->credit + earned >= most) {
		s->who = who;
		s->drops = false;
	}
	if (earned > 0) {
		s->credit = (int32_t)(s->credit + earned < most ? s->credit + earned : most);
		s->filled_at = now;
	}
	if (s->credit >= 1000) {
		s->credit -= 1000;
		return DNS_RATE_PASS;
	}
	s->drops = !s->drops;
	return s->drops ? DNS_RATE_DROP : DNS_RATE_TRUNCATE;
}
