/* The event loop: one per thread, the only place that sees libuv.
 *
 * An object belongs to one loop for life. The only calls allowed from other threads are loop_post()
 * and loop_stop(). A turn of the loop is: timers and file descriptors fire, then deferred events run
 * until none is left, then deferred flushes (everything written in the turn leaves in one system
 * call per connection), then the loop sleeps.
 */
#pragma once

#include <stdbool.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"

struct loop;

struct loop *loop_new(struct err *err);
/* Runs until loop_stop(), also one from before the call; may be run again. Afterwards the caller
 * closes what it owns and calls loop_free(), which runs the loop until every close has finished. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l); /* any thread */
struct loop *loop_free(struct loop *l);

/* Time of this turn: read once per turn. */
usec loop_now(struct loop *l);

/* Runs fn(arg) on the loop's thread in a later turn, in the order of the calls. Any thread. What is
 * posted to a stopped loop runs in loop_free(). */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

/* --- Deferred calls: "later in this turn" --------------------------------------------------- */

struct deferred {
	struct list node;
	void (*fn)(struct deferred *d);
};

void deferred_init(struct deferred *d, void (*fn)(struct deferred *d));
/* Runs once, after the callbacks of this turn. Calling it again before it ran does nothing. This is
 * how results reach a caller without calling back inside its call. */
void loop_defer(struct loop *l, struct deferred *d);
/* The same, but after all deferred events: for writing out what they produced. */
void loop_defer_flush(struct loop *l, struct deferred *d);
void deferred_cancel(struct deferred *d);

/* --- Timers --------------------------------------------------------------------------------- */

/* Coarse (about 16 ms late at most), one list operation to set or stop, no system call. */
struct timer {
	struct list node;
	usec at;
	struct loop *loop; /* borrowed */
	void (*fn)(struct timer *t);
};

void timer_init(struct timer *t, struct loop *l, void (*fn)(struct timer *t));
void timer_set(struct timer *t, int64_t msec); /* sets or moves */
void timer_stop(struct timer *t);
bool timer_is_set(const struct timer *t);

/* Precise to a millisecond, never early: for what paces packets. One per endpoint, not per connection. */
struct loop_alarm;
struct loop_alarm *loop_alarm_new(struct loop *l, void (*fn)(void *arg), void *arg);
/* Once, at that time of clock_now(); moves it when it is set. In the past: on the next turn. */
void loop_alarm_set(struct loop_alarm *a, usec at);
void loop_alarm_stop(struct loop_alarm *a);
struct loop_alarm *loop_alarm_free(struct loop_alarm *a);

/* --- File descriptors and signals ----------------------------------------------------------- */

#define LOOP_READABLE 1
#define LOOP_WRITABLE 2
#define LOOP_HANGUP 4 /* the peer has ended its side */

struct loop_watch; /* readiness of one descriptor (level-triggered) */

/* With any interest at all a broken connection (reset, timed out) is reported: as readable and
 * writable, and the watch has stopped then. The watch starts with no interest. The descriptor stays the caller's; close it after
 * loop_watch_free(). */
struct loop_watch *loop_watch_new(struct loop *l, int fd, void (*fn)(void *arg, int events),
				  void *arg);
void loop_watch_set(struct loop_watch *w, int events);
struct loop_watch *loop_watch_free(struct loop_watch *w);

struct loop_signal;
struct loop_signal *loop_signal_new(struct loop *l, int signum, void (*fn)(void *arg, int signum),
				    void *arg);
struct loop_signal *loop_signal_free(struct loop_signal *s);

/* --- Blocking work -------------------------------------------------------------------------- */

/* work(arg) runs on a thread of the pool, then done(arg) on the loop. It cannot be cancelled: `arg`
 * must live until done(). */
void loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* --- Files ----------------------------------------------------------------------------------- */

struct loop_file;

/* fn(arg) after the file at `path` (copied) has changed, appeared or gone; looked at every `msec` off the
 * loop, whatever way it was written or renamed. */
struct loop_file *loop_file_new(struct loop *l, const char *path, int64_t msec,
				void (*fn)(void *arg), void *arg);
struct loop_file *loop_file_free(struct loop_file *f);
