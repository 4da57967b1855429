/* Connecting: one address, or a name with its addresses raced (RFC 8305). */
#include <errno.h>
#include <netdb.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/conn.h"

#define ATTEMPT_MAGIC 0x61747470

/* More addresses than this are not tried: a name with many is still one service. */
#define MAX_ADDRESSES 8
/* RFC 8305 §5: the delay before the next address is tried beside the first. */
#define RACE_DELAY_MS 250

struct
try {
	struct conn_attempt *attempt;
	int fd; /* -1: not started or failed */
	struct loop_watch *watch;
};

struct conn_attempt {
	uint32_t magic;
	struct loop *loop;
	conn_done *done;
	void *ctx;
	char *host; /* while the look-up runs */
	uint16_t port;
	bool is_resolving, is_cancelled;
	int lookup_result;
	struct address addresses[MAX_ADDRESSES];
	struct try tries[MAX_ADDRESSES];
	size_t address_count, started, failed;
	struct timer deadline, race;
	struct deferred finish;
	struct byte_stream *result;
	struct err err;
};

static void attempt_free(struct conn_attempt *a)
{
	timer_stop(&a->deadline);
	timer_stop(&a->race);
	deferred_cancel(&a->finish);
	for (size_t i = 0; i < a->started; i++) {
		loop_watch_free(a->tries[i].watch);
		if (a->tries[i].fd >= 0)
			close(a->tries[i].fd);
	}
	mem_free(a->host);
	a->magic = 0;
	mem_free(a);
}

static void on_finish(struct deferred *d)
{
	struct conn_attempt *a = CONTAINER_OF(d, struct conn_attempt, finish);
	struct byte_stream *result = TAKE(a->result);
	conn_done *done = a->done;
	void *ctx = a->ctx;
	struct err err = a->err;

	/* A look-up under way still refers to the attempt: let it end it. */
	if (a->is_resolving) {
		a->is_cancelled = true;
		timer_stop(&a->deadline);
	} else {
		attempt_free(a);
	}
	done(ctx, result, result ? NULL : &err);
}

static void finish(struct conn_attempt *a)
{
	timer_stop(&a->deadline);
	timer_stop(&a->race);
	loop_defer(a->loop, &a->finish);
}

static void start_next(struct conn_attempt *a);

static void try_failed(struct conn_attempt *a, size_t index, int sys_errno)
{
	char text[ADDRESS_TEXT_SIZE];
	struct try *t = &a->tries[index];

	t->watch = loop_watch_free(t->watch);
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	a->failed++;
	/* Of several failures the first is told, unless a later one comes from the host itself: "no route
	 * to [::1]" says nothing when 127.0.0.1 has refused. */
	if (a->failed == 1 || (sys_errno == ECONNREFUSED && a->err.code != E_REFUSED))
		err_set_errno(&a->err,
			      sys_errno == ECONNREFUSED ? E_REFUSED
			      : sys_errno == ETIMEDOUT  ? E_TIMEOUT
							: E_IO,
			      sys_errno, "connect to %s", address_text(&a->addresses[index], text));
	if (a->started < a->address_count)
		start_next(a);
	else if (a->failed == a->address_count)
		finish(a);
}

static void try_succeeded(struct conn_attempt *a, size_t index)
{
	struct try *t = &a->tries[index];
	int fd = t->fd;

	t->watch = loop_watch_free(t->watch);
	t->fd = -1;
	a->result = conn_adopt(a->loop, fd, &a->addresses[index]);
	finish(a);
}

static void on_try_ready(void *arg, int events)
{
	struct try *t = arg;
	struct conn_attempt *a = t->attempt;
	size_t index = (size_t)(t - a->tries);
	int sys_errno = 0;
	socklen_t len = sizeof(sys_errno);

	(void)events;
	CHECK(a, ATTEMPT_MAGIC);
	if (a->result || timer_is_set(&a->deadline) == false)
		return;
	getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &sys_errno, &len);
	if (sys_errno)
		try_failed(a, index, sys_errno);
	else
		try_succeeded(a, index);
}

static void start_next(struct conn_attempt *a)
{
	size_t index = a->started++;
	struct try *t = &a->tries[index];
	const struct address *to = &a->addresses[index];

	t->attempt = a;
	t->watch = NULL;
	t->fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->fd < 0) {
		try_failed(a, index, errno);
		return;
	}
	int ret;
	do
		ret = connect(t->fd, &to->any, to->len);
	while (ret < 0 && errno == EINTR);
	if (ret < 0 && errno != EINPROGRESS) {
		try_failed(a, index, errno);
		return;
	}
	if (ret == 0) {
		try_succeeded(a, index);
		return;
	}
	t->watch = loop_watch_new(a->loop, t->fd, on_try_ready, t);
	BUG_IF(!t->watch);
	loop_watch_set(t->watch, LOOP_WRITABLE);
	if (a->started < a->address_count)
		timer_set(&a->race, RACE_DELAY_MS);
}

static void on_race(struct timer *t)
{
	struct conn_attempt *a = CONTAINER_OF(t, struct conn_attempt, race);

	if (a->started < a->address_count)
		start_next(a);
}

static void on_deadline(struct timer *t)
{
	struct conn_attempt *a = CONTAINER_OF(t, struct conn_attempt, deadline);
	char text[ADDRESS_TEXT_SIZE];

	if (a->is_resolving)
		err_set(&a->err, E_TIMEOUT, "looking up %s: timed out", a->host);
	else
		err_set_errno(&a->err, E_TIMEOUT, ETIMEDOUT, "connect to %s",
			      address_text(&a->addresses[0], text));
	finish(a);
}

static struct conn_attempt *attempt_new(struct loop *l, int64_t timeout_ms, conn_done *done,
					void *ctx)
{
	struct conn_attempt *a = mem_alloc(sizeof(*a));

	a->magic = ATTEMPT_MAGIC;
	a->loop = l;
	a->done = done;
	a->ctx = ctx;
	deferred_init(&a->finish, on_finish);
	timer_init(&a->deadline, l, on_deadline);
	timer_init(&a->race, l, on_race);
	timer_set(&a->deadline, timeout_ms);
	return a;
}

struct conn_attempt *conn_connect(struct loop *l, const struct address *to, int64_t timeout_ms,
				  conn_done *done, void *ctx)
{
	struct conn_attempt *a = attempt_new(l, timeout_ms, done, ctx);

	a->addresses[0] = *to;
	a->address_count = 1;
	start_next(a);
	return a;
}

/* --- Names ----------------------------------------------------------------------------------- */

/* Families in turn, the resolver's first choice first (RFC 8305 §4). */
static void take_addresses(struct conn_attempt *a, const struct addrinfo *found)
{
	const struct addrinfo *next[2] = { found, found };
	int family[2] = { found->ai_family, found->ai_family == AF_INET6 ? AF_INET : AF_INET6 };

	for (int turn = 0; a->address_count < MAX_ADDRESSES && (next[0] || next[1]); turn ^= 1) {
		const struct addrinfo *it = next[turn];
		while (it && it->ai_family != family[turn])
			it = it->ai_next;
		if (it) {
			struct address *to = &a->addresses[a->address_count++];
			memcpy(&to->any, it->ai_addr, it->ai_addrlen);
			to->len = it->ai_addrlen;
			it = it->ai_next;
		}
		next[turn] = it;
	}
}

static void look_up(void *arg)
{
	struct conn_attempt *a = arg;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
	struct addrinfo *found = NULL;

	a->lookup_result = getaddrinfo(a->host, NULL, &hints, &found);
	if (a->lookup_result == 0)
		take_addresses(a, found);
	if (found)
		freeaddrinfo(found);
}

static void on_looked_up(void *arg)
{
	struct conn_attempt *a = arg;

	CHECK(a, ATTEMPT_MAGIC);
	a->is_resolving = false;
	if (a->is_cancelled) {
		attempt_free(a);
		return;
	}
	if (!timer_is_set(&a->deadline))
		return; /* timed out in this very turn: finish() is under way */
	if (a->lookup_result != 0 || a->address_count == 0) {
		err_set(&a->err, E_NOT_FOUND, "lookup %s: %s", a->host,
			a->lookup_result ? gai_strerror(a->lookup_result) : "no address");
		finish(a);
		return;
	}
	for (size_t i = 0; i < a->address_count; i++) {
		if (a->addresses[i].any.sa_family == AF_INET)
			a->addresses[i].v4.sin_port = htons(a->port);
		else
			a->addresses[i].v6.sin6_port = htons(a->port);
	}
	start_next(a);
}

struct conn_attempt *conn_connect_name(struct loop *l, struct bytes host, uint16_t port,
				       int64_t timeout_ms, conn_done *done, void *ctx)
{
	struct address literal;

	if (address_from_ip(host, port, &literal))
		return conn_connect(l, &literal, timeout_ms, done, ctx);

	struct conn_attempt *a = attempt_new(l, timeout_ms, done, ctx);
	a->port = port;
	if (bytes_eq_nocase(host, BYTES_LIT("localhost"))) {
		address_from_ip(BYTES_LIT("127.0.0.1"), port, &a->addresses[0]);
		address_from_ip(BYTES_LIT("::1"), port, &a->addresses[1]);
		a->address_count = 2;
		start_next(a);
		return a;
	}
	a->host = mem_strndup(host);
	a->is_resolving = true;
	loop_work(l, look_up, on_looked_up, a);
	return a;
}

struct conn_attempt *conn_attempt_cancel(struct conn_attempt *a)
{
	if (!a)
		return NULL;
	CHECK(a, ATTEMPT_MAGIC);
	byte_stream_close(TAKE(a->result));
	if (a->is_resolving) {
		a->is_cancelled = true;
		timer_stop(&a->deadline);
		deferred_cancel(&a->finish);
	} else {
		attempt_free(a);
	}
	return NULL;
}
