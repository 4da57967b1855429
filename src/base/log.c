/* The queue of lines and the thread that writes them.
 *
 * Two buffers: whoever logs appends to the front one under a short lock, the thread takes it whole, leaves
 * the other in its place, and formats and writes without the lock. It sleeps a little before it takes
 * one, so that under load a wake-up and a system call serve many lines.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log_internal.h"
#include "base/mem.h"
#include "base/metrics.h"

/* Nobody who watches a log sees the delay. */
#define BATCH_MSEC 20
/* So many bytes are not kept waiting. */
#define BATCH_BYTES (64 * 1024)
/* A buffer that was fuller than this is given back to the system. */
#define KEEP_BYTES (256 * 1024)
/* How often it is said that lines were dropped. */
#define TELL_DROPPED_EVERY (10 * USEC_PER_SEC)
/* A process that dies waits so long for its last lines. */
#define DYING_MSEC 500
/* Formatting needs some KiB; the rest is for the C library. */
#define STACK_BYTES (128 * 1024)

struct metric metric_log_dropped = {
	.name = "adit_log_lines_dropped_total",
	.help = "Log lines that could not be written, or not in time",
};

/* --- Settings: read by every thread, written before there are several ------------------------- */

static enum log_level lowest_level = LOG_INFO; /* of any component */
static enum log_level main_level = LOG_INFO;
static const char *special_component; /* NULL: none */
static enum log_level special_level;

static struct {
	uint8_t route; /* 0: off */
	uint8_t format;
	bool is_event; /* level info counts */
} access_log;

static uint8_t event_route = LOG_AT_STDERR | LOG_AT_FILE; /* set before other threads exist */

/* --- Sinks: touched by the thread while there is one, under `direct` otherwise ----------------- */

static struct log_sink at_stderr = { .fd = STDERR_FILENO };
static struct log_sink at_file = { .fd = -1 };
static struct log_sink at_access = { .fd = -1 };
static pthread_mutex_t direct = PTHREAD_MUTEX_INITIALIZER;

static struct log_sink *const sinks[] = { &at_stderr, &at_file, &at_access };
static const char *const sink_names[] = { "stderr", "log file", "access log" };

/* --- The queue: under `lock` ------------------------------------------------------------------- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	pthread_t thread;
	bool is_running;
	struct buffer {
		uint8_t *bytes; /* owned, LIMIT_LOG_QUEUE_BYTES */
		size_t len;
	} front, back;  /* back is the thread's own */
	bool is_urgent; /* do not wait for more */
	bool wants_stop, wants_reopen;
	uint64_t flushes_wanted, flushes_done;
	uint64_t dropped_events, dropped_access;
} queue = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER,
};

static _Thread_local bool is_writer;

/* --- Writing records --------------------------------------------------------------------------- */

/* For a line that goes to several places in one form. */
struct formatted {
	struct log_line line;
	int key; /* format and colour; -1: nothing yet */
};

static void write_record(const struct log_record *r, struct formatted *f)
{
	f->key = -1;
	for (size_t i = 0; i < ARRAY_LEN(sinks); i++) {
		struct log_sink *s = sinks[i];
		if (!(r->route & 1 << i) || (s->fd < 0 && !s->has_path))
			continue;
		enum log_format format =
			r->format == LOG_FORMAT_OF_SINK ? s->format : (enum log_format)r->format;
		bool use_colour = s->use_colour && format == LOG_CONSOLE;
		int key = (int)format * 2 + use_colour;
		if (key != f->key)
			log_format_record(&f->line, r, format, use_colour);
		f->key = key;
		log_sink_add(s, &f->line, r->level);
	}
}

static void write_event(uint8_t route, enum log_level level, const char *message,
			const struct log_field *fields)
{
	_Alignas(8) uint8_t bytes[LOG_RECORD_BYTES] UNINITIALIZED;
	struct formatted f UNINITIALIZED;
	const struct log_record head = {
		.level = (uint8_t)level,
		.kind = LOG_EVENT,
		.route = route,
		.format = LOG_FORMAT_OF_SINK,
		.wall = clock_wall_now(),
		.component = "log",
	};

	(void)log_record_pack(bytes, &head, bytes_str(message), fields);
	write_record((const struct log_record *)(const void *)bytes, &f);
}

/* What happened to one place is said in the others, and to itself when it is well again. */
static void tell_about(size_t i)
{
	struct log_sink *s = sinks[i];
	uint8_t here = (uint8_t)(1 << i), events = LOG_AT_STDERR | LOG_AT_FILE;
	struct bytes place = bytes_str(s->path ? s->path : sink_names[i]);

	if (s->tells_failure) {
		s->tells_failure = false;
		write_event(events & (uint8_t)~here, LOG_ERROR, "Unable to write log lines",
			    (const struct log_field[]){
				    LOG_BYTES("to", place),
				    LOG_STR("error", s->failed_errno == ETIMEDOUT
							     ? "nobody reads"
							     : strerror(s->failed_errno)),
				    { 0 } });
	}
	if (s->tells_recovery) {
		s->tells_recovery = false;
		write_event(events, LOG_WARN, "Log lines were dropped",
			    (const struct log_field[]){ LOG_BYTES("to", place),
							LOG_INT("lines", s->lost),
							{ 0 } });
		s->lost = 0;
	}
}

static void flush_sinks(bool patient)
{
	for (size_t i = 0; i < ARRAY_LEN(sinks); i++)
		log_sink_flush(sinks[i], patient);
	for (size_t i = 0; i < ARRAY_LEN(sinks); i++)
		tell_about(i);
	for (size_t i = 0; i < ARRAY_LEN(sinks); i++)
		log_sink_flush(sinks[i], patient);
}

static void reopen_sinks(void)
{
	for (size_t i = 0; i < ARRAY_LEN(sinks); i++)
		log_sink_reopen(sinks[i]);
	flush_sinks(false);
}

static void write_directly(const struct log_record *r)
{
	struct formatted f UNINITIALIZED;

	pthread_mutex_lock(&direct);
	write_record(r, &f);
	flush_sinks(true);
	pthread_mutex_unlock(&direct);
}

/* --- The thread -------------------------------------------------------------------------------- */

/* Counted since it was last said. */
struct dropped {
	uint64_t events, access;
	usec told_at;
};

static void tell_dropped(struct dropped *d, bool at_once)
{
	usec now = clock_now();

	if ((!d->events && !d->access) || (!at_once && now - d->told_at < TELL_DROPPED_EVERY))
		return;
	write_event(LOG_AT_STDERR | LOG_AT_FILE, LOG_WARN,
		    "Log lines were dropped: they came faster than they could be written",
		    (const struct log_field[]){ LOG_INT("access", d->access),
						LOG_INT("events", d->events),
						{ 0 } });
	*d = (struct dropped){ .told_at = now };
}

static void write_buffer(const struct buffer *b)
{
	struct formatted f UNINITIALIZED;

	for (size_t at = 0; at < b->len;) {
		const struct log_record *r =
			(const struct log_record *)(const void *)(b->bytes + at);
		write_record(r, &f);
		at += r->size;
	}
}

/* A pause of the disk should not cost memory for ever. */
static void empty(struct buffer *b)
{
	if (b->len > KEEP_BYTES) {
		mem_free(b->bytes);
		b->bytes =
			mem_alloc(LIMIT_LOG_QUEUE_BYTES); /* fresh pages, not there until touched */
	}
	b->len = 0;
}

static bool has_work(void)
{
	return queue.front.len || queue.wants_stop || queue.wants_reopen ||
	       queue.flushes_wanted != queue.flushes_done;
}

static struct timespec in_msec(clockid_t clock, long msec)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_nsec += msec * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

static void wait_for_work(void)
{
	while (!has_work())
		pthread_cond_wait(&queue.wake, &queue.lock);
	struct timespec until = in_msec(CLOCK_MONOTONIC, BATCH_MSEC);
	while (!queue.is_urgent)
		if (pthread_cond_timedwait(&queue.wake, &queue.lock, &until) == ETIMEDOUT)
			break;
}

static void *writer_main(void *arg)
{
	struct dropped dropped = { 0 };
	bool has_stopped = false;

	(void)arg;
	is_writer = true;
	(void)pthread_setname_np(pthread_self(), "log");
	pthread_mutex_lock(&queue.lock);
	while (!has_stopped) {
		wait_for_work();
		struct buffer taken = queue.front;
		queue.front = queue.back;
		queue.back = taken;
		bool wants_reopen = queue.wants_reopen;
		uint64_t flush = queue.flushes_wanted;
		has_stopped = queue.wants_stop;
		dropped.events += queue.dropped_events;
		dropped.access += queue.dropped_access;
		queue.dropped_events = queue.dropped_access = 0;
		queue.wants_reopen = queue.is_urgent = false;
		pthread_mutex_unlock(&queue.lock);

		write_buffer(&taken);
		tell_dropped(&dropped, has_stopped);
		flush_sinks(false);
		if (wants_reopen)
			reopen_sinks();
		empty(&queue.back);

		pthread_mutex_lock(&queue.lock);
		queue.flushes_done = flush;
		pthread_cond_broadcast(&queue.done);
	}
	pthread_mutex_unlock(&queue.lock);
	return NULL;
}

/* Under `lock`. */
static void hurry(void)
{
	queue.is_urgent = true;
	pthread_cond_signal(&queue.wake);
}

/* --- Queueing ---------------------------------------------------------------------------------- */

static size_t capacity_for(const struct log_record *r)
{
	size_t cap = LIMIT_LOG_QUEUE_BYTES;

	if (r->level >= LOG_WARN && r->kind == LOG_EVENT)
		return cap;
	return cap - (size_t)LIMIT_LOG_RESERVE_BYTES * (r->kind == LOG_EVENT ? 1 : 2);
}

/* False when there is no thread. */
static bool enqueue(const struct log_record *r)
{
	pthread_mutex_lock(&queue.lock);
	if (!queue.is_running) {
		pthread_mutex_unlock(&queue.lock);
		return false;
	}
	struct buffer *b = &queue.front;
	if (b->len + r->size > capacity_for(r)) {
		*(r->kind == LOG_EVENT ? &queue.dropped_events : &queue.dropped_access) += 1;
		metric_add(&metric_log_dropped, 1);
	} else {
		bool was_idle = b->len == 0;
		bool was_short = b->len < BATCH_BYTES;
		memcpy(b->bytes + b->len, r, r->size);
		b->len += r->size;
		if ((was_short && b->len >= BATCH_BYTES) ||
		    (r->level >= LOG_WARN && !queue.is_urgent))
			hurry();
		else if (was_idle)
			pthread_cond_signal(&queue.wake);
	}
	pthread_mutex_unlock(&queue.lock);
	return true;
}

static void submit(const struct log_record *head, struct bytes message,
		   const struct log_field *fields)
{
	_Alignas(8) uint8_t bytes[LOG_RECORD_BYTES] UNINITIALIZED;
	const struct log_record *r = (const struct log_record *)(const void *)bytes;

	(void)log_record_pack(bytes, head, message, fields);
	if (!enqueue(r))
		write_directly(r);
}

/* --- Lines ------------------------------------------------------------------------------------- */

static bool is_within(const char *component, const char *whole)
{
	size_t len = strlen(whole);

	return strncmp(component, whole, len) == 0 && (component[len] == 0 || component[len] == '/');
}

static bool is_wanted(enum log_level level, const char *component)
{
	if (special_component && is_within(component, special_component))
		return level >= special_level;
	return level >= main_level;
}

bool log_enabled(enum log_level level)
{
	return level >= lowest_level;
}

void log_write(enum log_level level, const char *component, const char *message,
	       const struct log_field *fields)
{
	if (!is_wanted(level, component))
		return;
	const struct log_record head = {
		.level = (uint8_t)level,
		.kind = LOG_EVENT,
		.route = event_route,
		.format = LOG_FORMAT_OF_SINK,
		.wall = clock_wall_now(),
		.component = component,
	};
	submit(&head, bytes_str(message), fields);
}

bool log_access_enabled(void)
{
	return access_log.route && (!access_log.is_event || main_level <= LOG_INFO);
}

static void submit_access(enum log_kind kind, const char *component, struct bytes message,
			  const struct log_field *fields)
{
	if (!log_access_enabled())
		return;
	const struct log_record head = {
		.level = LOG_INFO,
		.kind = (uint8_t)kind,
		.route = access_log.route,
		.format = access_log.format,
		.wall = clock_wall_now(),
		.component = component,
	};
	submit(&head, message, fields);
}

void log_access(const char *component, const char *message, const struct log_field *fields)
{
	submit_access(LOG_ACCESS, component, bytes_str(message), fields);
}

void log_access_text(struct bytes line)
{
	submit_access(LOG_TEXT, "", line, NULL);
}

/* --- Settings ---------------------------------------------------------------------------------- */

static void find_lowest(void)
{
	lowest_level = special_component && special_level < main_level ? special_level : main_level;
}

void log_setup(enum log_level level, enum log_format format)
{
	main_level = level;
	at_stderr.format = format;
	at_stderr.use_colour = isatty(STDERR_FILENO);
	log_sink_open_fd(&at_stderr, STDERR_FILENO);
	find_lowest();
}

void log_leave_stderr(void)
{
	event_route = LOG_AT_FILE;
}

void log_setup_component(const char *component, enum log_level level)
{
	special_component = component;
	special_level = level;
	find_lowest();
}

static int set_file(const char *path, bool is_rolling)
{
	log_sink_close(&at_file);
	at_file.format = LOG_JSON;
	return log_sink_open_path(&at_file, path, is_rolling);
}

int log_to_file(const char *path)
{
	return set_file(path, false);
}

int log_to_directory(const char *directory, const char *name)
{
	char *path = mem_printf("%s/%s.log", directory, name);
	int ret = set_file(path, true);

	mem_free(path);
	return ret;
}

int log_access_to(const char *where, enum log_format format)
{
	log_sink_close(&at_access);
	access_log.route = LOG_AT_ACCESS;
	access_log.format = (uint8_t)format;
	access_log.is_event = false;
	at_access.format = format;
	if (strcmp(where, "off") == 0) {
		access_log.route = 0;
	} else if (strcmp(where, "log") == 0) {
		access_log.route = LOG_AT_STDERR | LOG_AT_FILE;
		access_log.format = LOG_FORMAT_OF_SINK;
		access_log.is_event = true;
	} else if (strcmp(where, "stderr") == 0) {
		access_log.route = LOG_AT_STDERR;
	} else if (strcmp(where, "stdout") == 0) {
		at_access.use_colour = isatty(STDOUT_FILENO);
		log_sink_open_fd(&at_access, STDOUT_FILENO);
	} else {
		return log_sink_open_path(&at_access, where, false);
	}
	return 0;
}

/* --- Life -------------------------------------------------------------------------------------- */

static void before_fork(void)
{
	pthread_mutex_lock(&queue.lock);
}

static void after_fork_parent(void)
{
	pthread_mutex_unlock(&queue.lock);
}

/* The thread is the parent's, and so is what waits. The sinks may be in any state: what they hold is the
 * parent's too. */
static void after_fork_child(void)
{
	queue.is_running = false;
	queue.front.len = queue.back.len = 0;
	for (size_t i = 0; i < ARRAY_LEN(sinks); i++)
		sinks[i]->len = sinks[i]->from = 0;
	pthread_mutex_unlock(&queue.lock);
}

static int start_thread(void)
{
	pthread_condattr_t monotonic;
	pthread_attr_t attr;
	sigset_t all, before;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&queue.wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	/* Signals are for others. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int ret = pthread_create(&queue.thread, &attr, writer_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

void log_start(void)
{
	static bool has_fork_handlers;

	if (queue.is_running)
		return;
	queue.front.bytes = mem_alloc(LIMIT_LOG_QUEUE_BYTES);
	queue.back.bytes = mem_alloc(LIMIT_LOG_QUEUE_BYTES);
	queue.wants_stop = false;
	if (!has_fork_handlers)
		pthread_atfork(before_fork, after_fork_parent, after_fork_child);
	has_fork_handlers = true;
	pthread_mutex_lock(&queue.lock);
	int ret = start_thread();
	queue.is_running = ret == 0;
	pthread_mutex_unlock(&queue.lock);
	if (ret)
		log_warn("log", "No thread for the log: every line is written at once",
			 LOG_STR("error", strerror(ret)));
}

void log_stop(void)
{
	pthread_mutex_lock(&queue.lock);
	bool was_running = queue.is_running;
	queue.wants_stop = true;
	if (was_running)
		hurry();
	pthread_mutex_unlock(&queue.lock);
	if (!was_running)
		return;
	/* A disk that does not answer must not keep the process. */
	struct timespec until = in_msec(CLOCK_REALTIME, 3 * LIMIT_LOG_STALL_MS);
	if (pthread_timedjoin_np(queue.thread, NULL, &until) != 0)
		return;
	pthread_mutex_lock(&queue.lock);
	queue.is_running = false;
	write_buffer(&queue.front); /* what came while it ended */
	flush_sinks(false);
	queue.front.len = 0;
	queue.front.bytes = mem_free(queue.front.bytes);
	queue.back.bytes = mem_free(queue.back.bytes);
	pthread_mutex_unlock(&queue.lock);
}

void log_reopen(void)
{
	pthread_mutex_lock(&queue.lock);
	bool is_running = queue.is_running;
	queue.wants_reopen = is_running;
	if (is_running)
		hurry();
	pthread_mutex_unlock(&queue.lock);
	if (is_running)
		return;
	pthread_mutex_lock(&direct);
	reopen_sinks();
	pthread_mutex_unlock(&direct);
}

void log_flush(void)
{
	pthread_mutex_lock(&queue.lock);
	if (queue.is_running) {
		uint64_t mine = ++queue.flushes_wanted;
		hurry();
		while (queue.flushes_done < mine)
			pthread_cond_wait(&queue.done, &queue.lock);
	}
	pthread_mutex_unlock(&queue.lock);
}

void log_flush_dying(void)
{
	struct timespec until = in_msec(CLOCK_REALTIME, DYING_MSEC);

	if (is_writer || pthread_mutex_timedlock(&queue.lock, &until) != 0)
		return;
	if (queue.is_running) {
		uint64_t mine = ++queue.flushes_wanted;
		hurry();
		while (queue.flushes_done < mine)
			if (pthread_cond_timedwait(&queue.done, &queue.lock, &until) != 0)
				break;
	}
	pthread_mutex_unlock(&queue.lock);
}
