#include "io/loop.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"

#define LOOP_MAGIC 0x6c6f6f70

/* The timer wheel: one slot per tick, one turn of the wheel every 16.4 s. A timer further out stays in
 * its slot and is looked at once per turn of the wheel. */
#define TICK_USEC ((usec)16000)
#define WHEEL_SLOTS 1024

/* Deferred calls may defer more. A chain longer than this gives file descriptors a turn first. */
#define DEFERRED_PER_TURN 20000

struct posted {
	struct list node;
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	uint32_t magic;
	uv_loop_t uv;
	/* Of our own rather than a uv_async_t: libuv's spins until the other thread has left its call. */
	uv_poll_t wake;
	int wake_fd;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle; /* runs only while deferred calls were left over */
	bool is_stopping;

	struct list events, flushes; /* deferred, borrowed nodes */

	uv_timer_t wheel_timer;
	usec armed_for; /* when wheel_timer fires; 0: not armed */
	int64_t last_tick;
	size_t timer_count;
	uint64_t occupied[WHEEL_SLOTS / 64];
	struct list slots[WHEEL_SLOTS];

	pthread_mutex_t posted_lock;
	struct list posted; /* owned nodes, guarded by posted_lock */
	bool stop_posted;
};

struct loop_watch {
	uv_poll_t poll;
	void (*fn)(void *arg, int events);
	void *arg;
	int events;
};

struct loop_signal {
	uv_signal_t signal;
	void (*fn)(void *arg, int signum);
	void *arg;
};

struct work {
	uv_work_t request;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

/* --- Deferred calls -------------------------------------------------------------------------- */

void deferred_init(struct deferred *d, void (*fn)(struct deferred *d))
{
	list_init(&d->node);
	d->fn = fn;
}

void loop_defer(struct loop *l, struct deferred *d)
{
	if (!list_is_linked(&d->node))
		list_append(&l->events, &d->node);
}

void loop_defer_flush(struct loop *l, struct deferred *d)
{
	if (!list_is_linked(&d->node))
		list_append(&l->flushes, &d->node);
}

void deferred_cancel(struct deferred *d)
{
	list_remove(&d->node);
}

static void on_idle(uv_idle_t *idle)
{
	(void)idle; /* its existence keeps the loop from sleeping */
}

static void run_deferred(struct loop *l)
{
	for (int n = 0; n < DEFERRED_PER_TURN; n++) {
		struct list *node = list_pop(&l->events);
		if (!node)
			node = list_pop(&l->flushes);
		if (!node) {
			uv_idle_stop(&l->idle);
			return;
		}
		struct deferred *d = LIST_ENTRY(node, struct deferred, node);
		d->fn(d);
	}
	uv_idle_start(&l->idle, on_idle);
}

static void on_prepare(uv_prepare_t *prepare)
{
	run_deferred(CONTAINER_OF(prepare, struct loop, prepare));
}

static void on_check(uv_check_t *check)
{
	run_deferred(CONTAINER_OF(check, struct loop, check));
}

/* --- Timers ---------------------------------------------------------------------------------- */

usec loop_now(struct loop *l)
{
	return (usec)uv_now(&l->uv) * USEC_PER_MSEC;
}

static void on_wheel(uv_timer_t *timer);

static void arm_wheel(struct loop *l, usec at)
{
	usec now = loop_now(l);

	l->armed_for = at;
	uv_timer_start(&l->wheel_timer, on_wheel,
		       at > now ? (uint64_t)((at - now + 999) / 1000) : 0, 0);
}

/* The first tick after the last one whose slot is not empty. */
static int64_t next_tick(const struct loop *l)
{
	for (int64_t i = 1; i <= WHEEL_SLOTS; i++) {
		size_t slot = (size_t)(l->last_tick + i) % WHEEL_SLOTS;
		if (slot % 64 == 0 && l->occupied[slot / 64] == 0) {
			i += 63;
			continue;
		}
		if (l->occupied[slot / 64] >> (slot % 64) & 1)
			return l->last_tick + i;
	}
	return l->last_tick + WHEEL_SLOTS;
}

static void on_wheel(uv_timer_t *timer)
{
	struct loop *l = CONTAINER_OF(timer, struct loop, wheel_timer);
	usec now = loop_now(l);
	int64_t tick = now / TICK_USEC;
	struct list due;

	list_init(&due);
	if (tick - l->last_tick > WHEEL_SLOTS)
		l->last_tick = tick - WHEEL_SLOTS;
	while (l->last_tick < tick) {
		l->last_tick++;
		size_t slot = (size_t)l->last_tick % WHEEL_SLOTS;
		LIST_FOR_EACH(node, &l->slots[slot]) {
			if (LIST_ENTRY(node, struct timer, node)->at <= now) {
				list_remove(node);
				list_append(&due, node);
			}
		}
		if (list_is_empty(&l->slots[slot]))
			l->occupied[slot / 64] &= ~(1ULL << (slot % 64));
	}
	for (struct list *node; (node = list_pop(&due));) {
		struct timer *t = LIST_ENTRY(node, struct timer, node);
		t->at = 0;
		l->timer_count--;
		t->fn(t);
	}
	l->armed_for = 0;
	if (l->timer_count)
		arm_wheel(l, next_tick(l) * TICK_USEC);
}

void timer_init(struct timer *t, struct loop *l, void (*fn)(struct timer *t))
{
	list_init(&t->node);
	t->loop = l;
	t->fn = fn;
	t->at = 0;
}

void timer_set(struct timer *t, int64_t msec)
{
	struct loop *l = t->loop;

	if (t->at == 0)
		l->timer_count++;
	list_remove(&t->node);
	t->at = loop_now(l) + (msec > 0 ? msec : 0) * USEC_PER_MSEC;
	/* Rounded up, so that a timer is never early; the current tick was handled already. */
	int64_t tick = (t->at + TICK_USEC - 1) / TICK_USEC;
	if (tick <= l->last_tick)
		tick = l->last_tick + 1;
	size_t slot = (size_t)tick % WHEEL_SLOTS;
	list_append(&l->slots[slot], &t->node);
	l->occupied[slot / 64] |= 1ULL << (slot % 64);
	if (l->armed_for == 0 || tick * TICK_USEC < l->armed_for)
		arm_wheel(l, tick * TICK_USEC);
}

void timer_stop(struct timer *t)
{
	if (t->at == 0)
		return;
	t->at = 0;
	t->loop->timer_count--;
	list_remove(&t->node);
}

bool timer_is_set(const struct timer *t)
{
	return t->at != 0;
}

struct loop_alarm {
	uv_timer_t timer;
	usec at; /* 0: not set */
	void (*fn)(void *arg);
	void *arg;
};

static void on_alarm(uv_timer_t *timer)
{
	struct loop_alarm *a = CONTAINER_OF(timer, struct loop_alarm, timer);

	a->at = 0;
	a->fn(a->arg);
}

struct loop_alarm *loop_alarm_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct loop_alarm *a = mem_alloc(sizeof(*a));

	a->fn = fn;
	a->arg = arg;
	BUG_IF(uv_timer_init(&l->uv, &a->timer) != 0);
	return a;
}

void loop_alarm_set(struct loop_alarm *a, usec at)
{
	if (a->at == at)
		return;
	a->at = at;
	/* libuv's clock is the same one in whole milliseconds, read once a turn; rounding the end up and not
	 * the distance keeps the alarm from being early. */
	usec now = (usec)uv_now(a->timer.loop) * USEC_PER_MSEC;
	usec left = at > now ? (at - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC : 0;
	uv_timer_start(&a->timer, on_alarm, (uint64_t)left, 0);
}

void loop_alarm_stop(struct loop_alarm *a)
{
	if (a->at != 0)
		uv_timer_stop(&a->timer);
	a->at = 0;
}

static void on_alarm_closed(uv_handle_t *handle)
{
	mem_free(CONTAINER_OF((uv_timer_t *)handle, struct loop_alarm, timer));
}

struct loop_alarm *loop_alarm_free(struct loop_alarm *a)
{
	if (a)
		uv_close((uv_handle_t *)&a->timer, on_alarm_closed);
	return NULL;
}

/* --- Posting from other threads -------------------------------------------------------------- */

static void run_posted(struct loop *l)
{
	struct list taken;

	list_init(&taken);
	pthread_mutex_lock(&l->posted_lock);
	list_take_all(&taken, &l->posted);
	if (l->stop_posted)
		l->is_stopping = true;
	pthread_mutex_unlock(&l->posted_lock);
	for (struct list *node; (node = list_pop(&taken));) {
		struct posted *p = LIST_ENTRY(node, struct posted, node);
		p->fn(p->arg);
		mem_free(p);
	}
	if (l->is_stopping)
		uv_stop(&l->uv);
}

static void on_wake(uv_poll_t *wake, int status, int events)
{
	struct loop *l = CONTAINER_OF(wake, struct loop, wake);
	eventfd_t count;

	(void)status;
	(void)events;
	/* Before the list is taken: who adds to an empty one after that writes again. */
	(void)eventfd_read(l->wake_fd, &count);
	run_posted(l);
}

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct posted *p = mem_alloc(sizeof(*p));

	p->fn = fn;
	p->arg = arg;
	pthread_mutex_lock(&l->posted_lock);
	bool was_empty = list_is_empty(&l->posted);
	list_append(&l->posted, &p->node);
	/* Within the lock: what was posted may be the last that the loop lives for. */
	if (was_empty)
		(void)eventfd_write(l->wake_fd, 1);
	pthread_mutex_unlock(&l->posted_lock);
}

void loop_stop(struct loop *l)
{
	pthread_mutex_lock(&l->posted_lock);
	l->stop_posted = true;
	(void)eventfd_write(l->wake_fd, 1);
	pthread_mutex_unlock(&l->posted_lock);
}

/* --- Life ------------------------------------------------------------------------------------ */

struct loop *loop_new(struct err *err)
{
	struct loop *l = mem_alloc(sizeof(*l));
	int ret = uv_loop_init(&l->uv);

	if (ret < 0) {
		err_set(err, E_IO, "cannot make an event loop: %s", uv_strerror(ret));
		return mem_free(l);
	}
	l->magic = LOOP_MAGIC;
	pthread_mutex_init(&l->posted_lock, NULL);
	list_init(&l->posted);
	list_init(&l->events);
	list_init(&l->flushes);
	for (size_t i = 0; i < WHEEL_SLOTS; i++)
		list_init(&l->slots[i]);
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ret = l->wake_fd < 0 ? uv_translate_sys_error(errno)
			     : uv_poll_init(&l->uv, &l->wake, l->wake_fd);
	if (ret < 0) {
		err_set(err, E_IO, "cannot make an event loop: %s", uv_strerror(ret));
		if (l->wake_fd >= 0)
			close(l->wake_fd);
		uv_loop_close(&l->uv);
		return mem_free(l);
	}
	uv_poll_start(&l->wake, UV_READABLE, on_wake);
	uv_prepare_init(&l->uv, &l->prepare);
	uv_check_init(&l->uv, &l->check);
	uv_idle_init(&l->uv, &l->idle);
	uv_timer_init(&l->uv, &l->wheel_timer);
	uv_prepare_start(&l->prepare, on_prepare);
	uv_check_start(&l->check, on_check);
	l->last_tick = loop_now(l) / TICK_USEC;
	return l;
}

void loop_run(struct loop *l)
{
	CHECK(l, LOOP_MAGIC);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	/* That stop was for this run. */
	pthread_mutex_lock(&l->posted_lock);
	l->stop_posted = l->is_stopping = false;
	pthread_mutex_unlock(&l->posted_lock);
}

static bool has_work(struct loop *l)
{
	pthread_mutex_lock(&l->posted_lock);
	bool has_posted = !list_is_empty(&l->posted);
	pthread_mutex_unlock(&l->posted_lock);
	return has_posted || !list_is_empty(&l->events) || !list_is_empty(&l->flushes) ||
	       uv_loop_alive(&l->uv);
}

struct loop *loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	CHECK(l, LOOP_MAGIC);
	/* Connections that linger and blocking work end first; their timers still run. A handle that its
	 * owner forgot keeps this running for ever: a bug to be seen, not hidden. */
	uv_unref((uv_handle_t *)&l->wake);
	uv_unref((uv_handle_t *)&l->prepare);
	uv_unref((uv_handle_t *)&l->check);
	uv_unref((uv_handle_t *)&l->wheel_timer);
	do {
		run_posted(l);
		run_deferred(l);
		uv_run(&l->uv, UV_RUN_DEFAULT);
		l->stop_posted = l->is_stopping = false; /* a stop has nothing to say any more */
	} while (has_work(l));
	uv_close((uv_handle_t *)&l->wake, NULL);
	uv_close((uv_handle_t *)&l->prepare, NULL);
	uv_close((uv_handle_t *)&l->check, NULL);
	uv_close((uv_handle_t *)&l->idle, NULL);
	uv_close((uv_handle_t *)&l->wheel_timer, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	BUG_IF(uv_loop_close(&l->uv) != 0);
	close(l->wake_fd);
	pthread_mutex_destroy(&l->posted_lock);
	l->magic = 0;
	return mem_free(l);
}

/* --- File descriptors ------------------------------------------------------------------------ */

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct loop_watch *w = CONTAINER_OF(poll, struct loop_watch, poll);
	int ready = 0;

	if (status < 0) {
		/* libuv has stopped watching: whoever reads or writes now learns the error. */
		w->events = 0;
		w->fn(w->arg, LOOP_READABLE | LOOP_WRITABLE);
		return;
	}
	if (events & UV_READABLE)
		ready |= LOOP_READABLE;
	if (events & UV_WRITABLE)
		ready |= LOOP_WRITABLE;
	if (events & UV_DISCONNECT)
		ready |= LOOP_HANGUP;
	w->fn(w->arg, ready);
}

struct loop_watch *loop_watch_new(struct loop *l, int fd, void (*fn)(void *arg, int events),
				  void *arg)
{
	struct loop_watch *w = mem_alloc(sizeof(*w));

	w->fn = fn;
	w->arg = arg;
	if (uv_poll_init(&l->uv, &w->poll, fd) != 0)
		return mem_free(w);
	return w;
}

void loop_watch_set(struct loop_watch *w, int events)
{
	int wanted = 0;

	if (w->events == events)
		return;
	w->events = events;
	if (events & LOOP_READABLE)
		wanted |= UV_READABLE;
	if (events & LOOP_WRITABLE)
		wanted |= UV_WRITABLE;
	if (events & LOOP_HANGUP)
		wanted |= UV_DISCONNECT;
	if (wanted)
		uv_poll_start(&w->poll, wanted, on_poll);
	else
		uv_poll_stop(&w->poll);
}

static void on_watch_closed(uv_handle_t *handle)
{
	mem_free(CONTAINER_OF((uv_poll_t *)handle, struct loop_watch, poll));
}

struct loop_watch *loop_watch_free(struct loop_watch *w)
{
	if (w)
		uv_close((uv_handle_t *)&w->poll, on_watch_closed);
	return NULL;
}

/* --- Signals --------------------------------------------------------------------------------- */

static void on_signal(uv_signal_t *handle, int signum)
{
	struct loop_signal *s = CONTAINER_OF(handle, struct loop_signal, signal);

	s->fn(s->arg, signum);
}

struct loop_signal *loop_signal_new(struct loop *l, int signum, void (*fn)(void *arg, int signum),
				    void *arg)
{
	struct loop_signal *s = mem_alloc(sizeof(*s));

	s->fn = fn;
	s->arg = arg;
	BUG_IF(uv_signal_init(&l->uv, &s->signal) != 0);
	BUG_IF(uv_signal_start(&s->signal, on_signal, signum) != 0);
	return s;
}

static void on_signal_closed(uv_handle_t *handle)
{
	mem_free(CONTAINER_OF((uv_signal_t *)handle, struct loop_signal, signal));
}

struct loop_signal *loop_signal_free(struct loop_signal *s)
{
	if (s)
		uv_close((uv_handle_t *)&s->signal, on_signal_closed);
	return NULL;
}

/* --- Blocking work --------------------------------------------------------------------------- */

static void run_work(uv_work_t *request)
{
	struct work *w = CONTAINER_OF(request, struct work, request);

	w->work(w->arg);
}

static void on_work_done(uv_work_t *request, int status)
{
	struct work *w = CONTAINER_OF(request, struct work, request);

	(void)status; /* never cancelled */
	w->done(w->arg);
	mem_free(w);
}

void loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct work *w = mem_alloc(sizeof(*w));

	w->work = work;
	w->done = done;
	w->arg = arg;
	BUG_IF(uv_queue_work(&l->uv, &w->request, run_work, on_work_done) != 0);
}

/* --- Files ----------------------------------------------------------------------------------- */

struct loop_file {
	uv_fs_poll_t poll;
	void (*fn)(void *arg);
	void *arg;
};

static void on_file(uv_fs_poll_t *poll, int status, const uv_stat_t *before, const uv_stat_t *now)
{
	struct loop_file *f = CONTAINER_OF(poll, struct loop_file, poll);

	(void)status;
	(void)before;
	(void)now;
	f->fn(f->arg);
}

struct loop_file *loop_file_new(struct loop *l, const char *path, int64_t msec,
				void (*fn)(void *arg), void *arg)
{
	struct loop_file *f = mem_alloc(sizeof(*f));

	f->fn = fn;
	f->arg = arg;
	BUG_IF(uv_fs_poll_init(&l->uv, &f->poll) != 0);
	BUG_IF(uv_fs_poll_start(&f->poll, on_file, path, (unsigned)msec) != 0);
	return f;
}

static void on_file_closed(uv_handle_t *handle)
{
	mem_free(CONTAINER_OF((uv_fs_poll_t *)handle, struct loop_file, poll));
}

struct loop_file *loop_file_free(struct loop_file *f)
{
	if (f)
		uv_close((uv_handle_t *)&f->poll, on_file_closed);
	return NULL;
}
