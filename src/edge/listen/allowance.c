#include "edge/listen/allowance.h"

#include <stdatomic.h>
#include <string.h>

#include "base/bufq.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/quota.h"
#include "io/address.h"
#include "io/network.h"

#define COMPONENT "edge/listen"

enum { KIND_CONNECTIONS, KIND_REQUESTS };
enum { NARROW, WIDE, SCOPES };

#define LIMITED(name_)                                                               \
	{                                                                            \
		.name = "adit_edge_limited_total", .labels = "limit=\"" name_ "\"",  \
		.help = "Connections and requests of visitors refused over a limit", \
	}
struct metric metric_limited[ALLOWANCE_ANSWERS] = {
	[ALLOWANCE_BUFFERS] = LIMITED("buffers"),
	[ALLOWANCE_ALL] = LIMITED("all-connections"),
	[ALLOWANCE_CONNECTIONS] = LIMITED("connections"),
	[ALLOWANCE_CONNECTION_RATE] = LIMITED("connection-rate"),
	[ALLOWANCE_REQUESTS] = LIMITED("requests"),
	[ALLOWANCE_REQUEST_RATE] = LIMITED("request-rate"),
};

struct metric metric_limited_addresses = {
	.name = "adit_edge_limited_addresses",
	.help = "Addresses of visitors (and networks) whose limits are counted now",
	.type = METRIC_GAUGE,
};

struct allowances {
	struct quota_table *table; /* owned */
	struct quota_limit limits[SCOPES][QUOTA_KINDS];
	uint32_t all_max;
	int64_t buffers_max;
	_Atomic uint32_t all;
	const struct network *exempt; /* borrowed */
	size_t exempt_count;
	_Atomic usec logged_at;
};

struct allowance {
	struct allowances *all;         /* borrowed */
	struct quota *quotas[SCOPES];   /* held; NULL: there is none to ask */
	size_t refs;                    /* the connection, and each request */
	char ip[ADDRESS_TEXT_SIZE / 2]; /* for the log */
};

static uint32_t times(uint32_t limit, uint32_t factor)
{
	return limit > UINT32_MAX / factor ? UINT32_MAX : limit * factor;
}

struct allowances *allowances_new(const struct allowance_limits *limits)
{
	struct allowances *a = mem_alloc(sizeof(*a));

	a->table = quota_table_new(LIMIT_VISITOR_ADDRESSES, &metric_limited_addresses);
	a->all_max = limits->all_connections;
	a->buffers_max = limits->buffers;
	a->exempt = limits->exempt;
	a->exempt_count = limits->exempt_count;
	for (uint32_t scope = 0; scope < SCOPES; scope++) {
		uint32_t factor = scope == WIDE ? LIMIT_VISITOR_WIDE : 1;
		a->limits[scope][KIND_CONNECTIONS] =
			(struct quota_limit){ times(limits->connections, factor),
					      times(limits->connection_rate, factor),
					      LIMIT_VISITOR_BURST_SEC };
		a->limits[scope][KIND_REQUESTS] =
			(struct quota_limit){ times(limits->requests, factor),
					      times(limits->request_rate, factor),
					      LIMIT_VISITOR_BURST_SEC };
	}
	return a;
}

struct allowances *allowances_free(struct allowances *a)
{
	if (!a)
		return NULL;
	quota_table_free(a->table);
	return mem_free(a);
}

const char *allowance_reason(enum allowance_answer answer)
{
	static const char *const texts[ALLOWANCE_ANSWERS] = {
		[ALLOWANCE_BUFFERS] = "This edge has no memory for another request just now.",
		[ALLOWANCE_ALL] = "too many connections of all visitors",
		[ALLOWANCE_CONNECTIONS] = "too many connections of your address at once",
		[ALLOWANCE_CONNECTION_RATE] = "too many new connections of your address",
		[ALLOWANCE_REQUESTS] = "Too many requests of your address are under way at once.",
		[ALLOWANCE_REQUEST_RATE] = "Your address sends more requests than it may.",
	};

	return texts[answer] ? texts[answer] : "";
}

/* A flood makes one line in ten seconds; the metrics have the numbers. */
static void note(struct allowances *a, enum allowance_answer answer, const char *ip)
{
	usec now = clock_now(), last = atomic_load_explicit(&a->logged_at, memory_order_relaxed);

	metric_add(&metric_limited[answer], 1);
	if ((last && now - last < LIMIT_VISITOR_LOG_MS * USEC_PER_MSEC) ||
	    !atomic_compare_exchange_strong(&a->logged_at, &last, now))
		return;
	log_warn(COMPONENT, "visitors are refused, as they are over a limit",
		 LOG_STR("limit", metric_limited[answer].labels), LOG_STR("client", ip));
}

static bool is_crowded(const struct allowances *a)
{
	return a->buffers_max && bufq_memory() > a->buffers_max;
}

static bool is_exempt(const struct allowances *a, const struct network *one)
{
	for (size_t i = 0; i < a->exempt_count; i++)
		if (network_holds(&a->exempt[i], one))
			return true;
	return false;
}

static struct quota *hold(struct allowances *a, const struct network *one, size_t bytes, usec now)
{
	uint8_t key[sizeof(one->ip) + 1];

	/* The length, too: a /48 is not the /64 of the same bits. */
	memcpy(key, one->ip, bytes);
	key[bytes] = (uint8_t)bytes;
	return quota_hold(a->table, bytes_of(key, bytes + 1), now);
}

static void drop(struct allowance *h)
{
	usec now = clock_now();

	if (--h->refs)
		return;
	for (int i = 0; i < SCOPES; i++)
		if (h->quotas[i])
			quota_release(h->all->table, h->quotas[i], now);
	mem_free(h);
}

/* One more of a kind, in every scope or in none. */
static enum quota_answer take(struct allowance *h, int kind, usec *ret_wait)
{
	enum quota_answer answer = QUOTA_TAKEN;
	usec now = clock_now();

	for (int i = 0; i < SCOPES; i++) {
		if (!h->quotas[i])
			continue;
		answer = quota_take(h->quotas[i], kind, &h->all->limits[i][kind], now, ret_wait);
		if (answer == QUOTA_TAKEN)
			continue;
		while (i-- > 0)
			quota_give(h->quotas[i], kind);
		break;
	}
	return answer;
}

static void give(struct allowance *h, int kind)
{
	for (int i = 0; i < SCOPES; i++)
		if (h->quotas[i])
			quota_give(h->quotas[i], kind);
}

enum allowance_answer allowance_enter(struct allowances *a, const struct address *visitor,
				      struct allowance **ret)
{
	struct network one;
	char ip[ADDRESS_TEXT_SIZE];
	usec wait;

	*ret = NULL;
	if (!a)
		return ALLOWANCE_GIVEN;
	address_ip_text(visitor, ip);
	if (is_crowded(a)) {
		note(a, ALLOWANCE_BUFFERS, ip);
		return ALLOWANCE_BUFFERS;
	}
	uint32_t before = atomic_fetch_add_explicit(&a->all, 1, memory_order_relaxed);
	if (a->all_max && before >= a->all_max) {
		atomic_fetch_sub_explicit(&a->all, 1, memory_order_relaxed);
		note(a, ALLOWANCE_ALL, ip);
		return ALLOWANCE_ALL;
	}
	struct allowance *h = mem_alloc(sizeof(*h));
	h->all = a;
	h->refs = 1;
	memcpy(h->ip, ip, sizeof(h->ip) - 1);
	if (network_of_address(visitor, &one) && !is_exempt(a, &one)) {
		usec now = clock_now();
		bool is_v4 = network_is_v4(&one);
		h->quotas[NARROW] = hold(a, &one, is_v4 ? 16 : 8, now);
		h->quotas[WIDE] = is_v4 ? NULL : hold(a, &one, 6, now);
	}
	enum quota_answer answer = take(h, KIND_CONNECTIONS, &wait);
	if (answer == QUOTA_TAKEN) {
		*ret = h;
		return ALLOWANCE_GIVEN;
	}
	drop(h);
	atomic_fetch_sub_explicit(&a->all, 1, memory_order_relaxed);
	enum allowance_answer why =
		answer == QUOTA_RATE ? ALLOWANCE_CONNECTION_RATE : ALLOWANCE_CONNECTIONS;
	note(a, why, ip);
	return why;
}

struct allowance *allowance_leave(struct allowance *h)
{
	if (!h)
		return NULL;
	give(h, KIND_CONNECTIONS);
	atomic_fetch_sub_explicit(&h->all->all, 1, memory_order_relaxed);
	drop(h);
	return NULL;
}

enum allowance_answer allowance_begin(struct allowance *h, unsigned *ret_wait_sec)
{
	usec wait = USEC_PER_SEC;

	if (!h)
		return ALLOWANCE_GIVEN;
	*ret_wait_sec = 1;
	if (is_crowded(h->all)) {
		note(h->all, ALLOWANCE_BUFFERS, h->ip);
		return ALLOWANCE_BUFFERS;
	}
	enum quota_answer answer = take(h, KIND_REQUESTS, &wait);
	if (answer == QUOTA_TAKEN) {
		h->refs++;
		return ALLOWANCE_GIVEN;
	}
	enum allowance_answer why =
		answer == QUOTA_RATE ? ALLOWANCE_REQUEST_RATE : ALLOWANCE_REQUESTS;
	note(h->all, why, h->ip);
	*ret_wait_sec = (unsigned)((wait + USEC_PER_SEC - 1) / USEC_PER_SEC);
	return why;
}

void allowance_end(struct allowance *h)
{
	if (!h)
		return;
	give(h, KIND_REQUESTS);
	drop(h);
}
