/* Connecting: one address, or a name with its addresses raced (RFC 8305). */
#include <errno.h>
#include <netdb.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/conn.h"
#include "io/resolve.h"

#define ATTEMPT_MAGIC 0x61747470

/* RFC 8305 §5: the delay before the next address is tried beside the first. */
#define RACE_DELAY_MS 250
/* One after the other: what an address gets at least before its turn is over. */
#define SERIAL_MIN_MS 2000

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
	bool is_serial; /* no racing: the next address when the one before has failed */
	bool (*allows)(void *ctx, const struct address *to); /* NULL: every address */
	void *allows_ctx;
	struct address from; /* len 0: any */
	bool is_resolving, is_cancelled;
	int lookup_result;
	struct err lookup_err;
	struct address addresses[CONN_MAX_ADDRESSES];
	struct try tries[CONN_MAX_ADDRESSES];
	size_t address_count, started, failed;
	struct timer deadline;
	struct timer race; /* until the next address starts beside; serial: until this one's turn is over */
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
	char text[ADDRESS_TEXT_SIZE], from[ADDRESS_TEXT_SIZE] = "";
	struct try *t = &a->tries[index];

	t->watch = loop_watch_free(t->watch);
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	a->failed++;
	/* Of several failures the first is told, unless a later one comes from the host itself: "no route
	 * to [::1]" says nothing when 127.0.0.1 has refused. */
	if (a->from.len)
		address_ip_text(&a->from, from);
	if (a->failed == 1 || (sys_errno == ECONNREFUSED && a->err.code != E_REFUSED))
		err_set_errno(&a->err,
			      sys_errno == ECONNREFUSED ? E_REFUSED
			      : sys_errno == ETIMEDOUT  ? E_TIMEOUT
							: E_IO,
			      sys_errno, "connect %s%s%sto %s", *from ? "from " : "", from,
			      *from ? " " : "", address_text(&a->addresses[index], text));
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

/* The latest address's part of the time that is left. */
static int64_t share_ms(const struct conn_attempt *a)
{
	int64_t left_ms = (a->deadline.at - loop_now(a->loop)) / USEC_PER_MSEC;
	int64_t share = left_ms / (int64_t)(a->address_count - a->started + 1);

	return share > SERIAL_MIN_MS ? share : SERIAL_MIN_MS;
}

/* 0 or errno. */
static int bind_from(const struct conn_attempt *a, int fd, const struct address *to)
{
	int on = 1;

	if (a->from.len == 0)
		return 0;
	if (a->from.any.sa_family != to->any.sa_family)
		return EADDRNOTAVAIL;
	/* The port is chosen with the destination: far more connections fit. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	return bind(fd, &a->from.any, a->from.len) < 0 ? errno : 0;
}

static void start_next(struct conn_attempt *a)
{
	size_t index = a->started++;
	struct try *t = &a->tries[index];
	const struct address *to = &a->addresses[index];

	timer_stop(&a->race);
	t->attempt = a;
	t->watch = NULL;
	t->fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->fd < 0) {
		try_failed(a, index, errno);
		return;
	}
	int ret = bind_from(a, t->fd, to);
	if (ret != 0) {
		try_failed(a, index, ret);
		return;
	}
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
		timer_set(&a->race, a->is_serial ? share_ms(a) : RACE_DELAY_MS);
}

static void on_race(struct timer *t)
{
	struct conn_attempt *a = CONTAINER_OF(t, struct conn_attempt, race);

	if (a->started == a->address_count)
		return;
	if (a->is_serial)
		try_failed(a, a->started - 1, ETIMEDOUT); /* starts the next */
	else
		start_next(a);
}

static void on_deadline(struct timer *t)
{
	struct conn_attempt *a = CONTAINER_OF(t, struct conn_attempt, deadline);
	char text[ADDRESS_TEXT_SIZE];

	size_t waiting = 0; /* the first that has not answered: others may have refused */

	while (waiting + 1 < a->started && a->tries[waiting].fd < 0)
		waiting++;
	if (a->is_resolving)
		err_set(&a->err, E_TIMEOUT, "looking up %s: timed out", a->host);
	else
		err_set_errno(&a->err, E_TIMEOUT, ETIMEDOUT, "connect to %s",
			      address_text(&a->addresses[waiting], text));
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

/* The addresses are known: those that may be connected to are tried. */
static void start(struct conn_attempt *a)
{
	size_t known = a->address_count;
	char text[ADDRESS_TEXT_SIZE];

	if (a->allows) {
		a->address_count = 0;
		for (size_t i = 0; i < known; i++)
			if (a->allows(a->allows_ctx, &a->addresses[i]))
				a->addresses[a->address_count++] = a->addresses[i];
	}
	if (a->address_count) {
		start_next(a);
		return;
	}
	err_set(&a->err, E_DENIED, "%s may not be connected to",
		address_text(&a->addresses[0], text));
	finish(a);
}

struct conn_attempt *conn_connect_any(struct loop *l, const struct address *addresses, size_t count,
				      const struct address *from, int64_t timeout_ms,
				      conn_done *done, void *ctx)
{
	struct conn_attempt *a = attempt_new(l, timeout_ms, done, ctx);

	BUG_IF(count == 0 || count > CONN_MAX_ADDRESSES);
	memcpy(a->addresses, addresses, count * sizeof(addresses[0]));
	a->address_count = count;
	if (from)
		a->from = *from;
	start_next(a);
	return a;
}

/* --- Names ----------------------------------------------------------------------------------- */

static void take_address(struct conn_attempt *a, const struct addrinfo *it)
{
	struct address *to = &a->addresses[a->address_count++];

	memcpy(&to->any, it->ai_addr, it->ai_addrlen);
	to->len = it->ai_addrlen;
}

/* Families in turn, the resolver's first choice first (RFC 8305 §4). */
static void take_addresses_in_turn(struct conn_attempt *a, const struct addrinfo *found)
{
	const struct addrinfo *next[2] = { found, found };
	int family[2] = { found->ai_family, found->ai_family == AF_INET6 ? AF_INET : AF_INET6 };

	for (int turn = 0; a->address_count < CONN_MAX_ADDRESSES && (next[0] || next[1]);
	     turn ^= 1) {
		const struct addrinfo *it = next[turn];
		while (it && it->ai_family != family[turn])
			it = it->ai_next;
		if (it) {
			take_address(a, it);
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
	if (a->lookup_result != 0) {
		err_set(&a->lookup_err, E_NOT_FOUND, "lookup %s: %s", a->host,
			gai_strerror(a->lookup_result));
		resolve_explain(&a->lookup_err);
	}
	if (a->lookup_result == 0 && !a->is_serial)
		take_addresses_in_turn(a, found);
	for (const struct addrinfo *it = found;
	     a->is_serial && it && a->address_count < CONN_MAX_ADDRESSES; it = it->ai_next)
		if (it->ai_family == AF_INET || it->ai_family == AF_INET6)
			take_address(a, it);
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
		if (a->lookup_result == 0)
			err_set(&a->err, E_NOT_FOUND, "lookup %s: no address", a->host);
		else
			a->err = a->lookup_err;
		finish(a);
		return;
	}
	for (size_t i = 0; i < a->address_count; i++) {
		if (a->addresses[i].any.sa_family == AF_INET)
			a->addresses[i].v4.sin_port = htons(a->port);
		else
			a->addresses[i].v6.sin6_port = htons(a->port);
	}
	start(a);
}

struct conn_attempt *conn_connect_name_with(struct loop *l, struct bytes host, uint16_t port,
					    int64_t timeout_ms,
					    const struct conn_name_options *options,
					    conn_done *done, void *ctx)
{
	struct conn_attempt *a = attempt_new(l, timeout_ms, done, ctx);

	a->port = port;
	a->is_serial = options->is_serial;
	a->allows = options->allows;
	a->allows_ctx = options->allows_ctx;
	if (options->from)
		a->from = *options->from;
	if (address_from_ip(host, port, &a->addresses[0])) {
		a->address_count = 1;
		start(a);
		return a;
	}
	if (bytes_eq_nocase(host, BYTES_LIT("localhost"))) {
		address_from_ip(BYTES_LIT("::1"), port, &a->addresses[0]);
		address_from_ip(BYTES_LIT("127.0.0.1"), port, &a->addresses[1]);
		a->address_count = 2;
		start(a);
		return a;
	}
	a->host = mem_strndup(host);
	a->is_resolving = true;
	loop_work(l, look_up, on_looked_up, a);
	return a;
}

struct conn_attempt *conn_connect_name(struct loop *l, struct bytes host, uint16_t port,
				       int64_t timeout_ms, conn_done *done, void *ctx)
{
	const struct conn_name_options options = { 0 };

	return conn_connect_name_with(l, host, port, timeout_ms, &options, done, ctx);
}

struct conn_attempt *conn_connect_name_serial(struct loop *l, struct bytes host, uint16_t port,
					      int64_t timeout_ms, conn_done *done, void *ctx)
{
	const struct conn_name_options options = { .is_serial = true };

	return conn_connect_name_with(l, host, port, timeout_ms, &options, done, ctx);
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
