#include "edge/takeover/giver.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/takeover/message.h"
#include "io/conn.h"

#define COMPONENT "edge/takeover"
#define WHAT "takeover"

enum step { STEP_NONE, STEP_HELLO, STEP_SENDING, STEP_READY };

struct giver {
	struct loop *loop;
	struct sockets *sockets;
	int64_t generation;
	const struct giver_events *events;
	void *ctx;
	char *path;                /* owned; NULL once a successor has it */
	int listen_fd;             /* owned until there is a listener */
	struct listener *listener; /* NULL: successors wait */
	struct timer wait;

	/* The successor that is here now. */
	enum step step;
	int fd;
	struct loop_watch *watch;
	struct timer timer;
	pid_t pid;
	const struct socket_group *group; /* sent so far: up to the socket before this one */
	size_t socket;
	int64_t sent;
	char *state; /* owned */
	size_t state_sent;
};

char *giver_path(const char *data_dir)
{
	return mem_printf("%s/takeover.sock", data_dir);
}

/* --- Ends ------------------------------------------------------------------------------------ */

static void hang_up(struct giver *g)
{
	timer_stop(&g->timer);
	g->watch = loop_watch_free(g->watch);
	close(g->fd); /* allowed: its watch is gone */
	g->fd = -1;
	if (g->state)
		secret_wipe(g->state, strlen(g->state));
	g->state = mem_free(g->state);
	g->step = STEP_NONE;
}

static int say(int fd, const struct takeover_message *m, const int *fds, size_t fd_count,
	       struct err *err)
{
	struct buf text;

	buf_init(&text, TAKEOVER_MESSAGE_BYTES);
	int code = takeover_message_print(m, &text);
	if (code < 0)
		err_set(err, code, "a \"%s\" cannot be written", takeover_type_name(m->type));
	else
		code = local_channel_send(fd, buf_bytes(&text), fds, fd_count, err);
	if (m->type == TAKEOVER_STATE)
		secret_wipe(text.ptr, text.cap);
	buf_done(&text);
	return code;
}

static void refuse(int fd, const char *why)
{
	const struct takeover_message refused = { .type = TAKEOVER_REFUSED, .text = why };

	(void)say(fd, &refused, NULL, 0, NULL);
}

static void give_up(struct giver *g, const char *why)
{
	bool was_frozen = g->step > STEP_HELLO;

	hang_up(g);
	if (was_frozen)
		g->events->set_frozen(g->ctx, false);
	g->events->failed(g->ctx, why);
}

static void on_late(struct timer *t)
{
	struct giver *g = CONTAINER_OF(t, struct giver, timer);

	refuse(g->fd, "it took too long");
	give_up(g, "it took too long");
}

/* --- Sending --------------------------------------------------------------------------------- */

static size_t fill_sockets(struct giver *g, struct takeover_message *m, int *fds)
{
	const struct socket_group *group = g->group;
	size_t i = g->socket, n = 0;

	for (; group && n < LOCAL_CHANNEL_FDS; group = sockets_next(g->sockets, group), i = 0)
		for (; i < group->count && n < LOCAL_CHANNEL_FDS; i++) {
			m->sockets[n] = (struct takeover_socket){
				.what = group->what,
				.address = group->address,
				.kind = group->kind,
				.is_first = i == 0,
			};
			fds[n++] = group->fds[i];
		}
	m->socket_count = n;
	return n;
}

static void skip_sockets(struct giver *g, size_t n)
{
	g->sent += (int64_t)n;
	while (g->group && n >= g->group->count - g->socket) {
		n -= g->group->count - g->socket;
		g->group = sockets_next(g->sockets, g->group);
		g->socket = 0;
	}
	g->socket += n;
}

/* The next message of those between hello and ready. Positive after the last one. */
static int send_next(struct giver *g, struct err *err)
{
	struct takeover_message m = { .type = TAKEOVER_SOCKETS };
	int fds[LOCAL_CHANNEL_FDS];
	char piece[TAKEOVER_PIECE_BYTES + 1];

	if (g->group) {
		size_t n = fill_sockets(g, &m, fds);
		int code = say(g->fd, &m, fds, n, err);
		if (code == 0)
			skip_sockets(g, n);
		return code;
	}
	size_t left = strlen(g->state) - g->state_sent;
	if (left) {
		size_t n = left < TAKEOVER_PIECE_BYTES ? left : TAKEOVER_PIECE_BYTES;
		memcpy(piece, g->state + g->state_sent, n);
		piece[n] = 0;
		m.type = TAKEOVER_STATE;
		m.text = piece;
		int code = say(g->fd, &m, NULL, 0, err);
		if (code == 0)
			g->state_sent += n;
		secret_wipe(piece, sizeof(piece));
		return code;
	}
	m.type = TAKEOVER_ALL;
	m.version = TAKEOVER_VERSION;
	m.count = g->sent;
	m.generation = g->generation + 1;
	int code = say(g->fd, &m, NULL, 0, err);
	return code < 0 ? code : 1;
}

static void send_on(struct giver *g)
{
	struct err err = { 0 };
	int code;

	do
		code = send_next(g, &err);
	while (code == 0);
	if (code > 0) {
		g->step = STEP_READY;
		timer_set(&g->timer, LIMIT_TAKEOVER_START_MS);
		loop_watch_set(g->watch, LOOP_READABLE);
	} else if (code == E_AGAIN) {
		loop_watch_set(g->watch, LOOP_READABLE | LOOP_WRITABLE);
	} else {
		give_up(g, err.text);
	}
}

/* --- What the successor says ------------------------------------------------------------------ */

static void on_hello(struct giver *g, const struct takeover_message *m)
{
	char why[128];

	if (m->version != TAKEOVER_VERSION) {
		(void)snprintf(why, sizeof(why),
			       "it speaks version %lld of the takeover, this edge version %d",
			       (long long)m->version, TAKEOVER_VERSION);
		refuse(g->fd, why);
		give_up(g, why);
		return;
	}
	log_info(COMPONENT, "a successor is starting", LOG_INT("pid", g->pid),
		 LOG_STR("version", m->program ? m->program : ""));
	g->step = STEP_SENDING;
	g->events->set_frozen(g->ctx, true);
	g->state = g->events->state(g->ctx);
	g->state_sent = 0;
	g->group = sockets_next(g->sockets, NULL);
	g->socket = 0;
	g->sent = 0;
	timer_set(&g->timer, LIMIT_TAKEOVER_ANSWER_MS);
	send_on(g);
}

static void on_ready(struct giver *g)
{
	const struct takeover_message done = { .type = TAKEOVER_DONE };
	struct err err = { 0 };
	pid_t pid = g->pid;

	/* Who cannot be told has died, and this edge goes on. */
	int code = say(g->fd, &done, NULL, 0, &err);
	if (code < 0) {
		give_up(g, err.text);
		return;
	}
	hang_up(g);
	g->listener = listener_free(g->listener);
	g->path = mem_free(g->path);
	g->events->handed_over(g->ctx, pid);
}

static void on_message(struct giver *g, const struct takeover_message *m)
{
	char why[64];

	if (m->type == TAKEOVER_REFUSED) {
		give_up(g, m->text);
	} else if (m->type == TAKEOVER_HELLO && g->step == STEP_HELLO) {
		on_hello(g, m);
	} else if (m->type == TAKEOVER_READY && g->step == STEP_READY) {
		on_ready(g);
	} else {
		(void)snprintf(why, sizeof(why), "\"%s\" is out of turn",
			       takeover_type_name(m->type));
		refuse(g->fd, why);
		give_up(g, why);
	}
}

static void receive(struct giver *g)
{
	uint8_t *text = mem_alloc(TAKEOVER_MESSAGE_BYTES);
	int fds[LOCAL_CHANNEL_FDS];
	size_t fd_count;
	struct err err = { 0 };
	struct takeover_message m;
	struct arena arena;
	ssize_t n = local_channel_receive(g->fd, text, TAKEOVER_MESSAGE_BYTES, fds, &fd_count, &err);

	arena_init(&arena);
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]); /* allowed: nobody asked for them */
	if (n == E_AGAIN) {
		/* the watch tells again */
	} else if (n < 0) {
		give_up(g, err.text);
	} else if (takeover_message_read(bytes_of(text, (size_t)n), &arena, &m, &err) < 0) {
		refuse(g->fd, err.text);
		give_up(g, err.text);
	} else {
		on_message(g, &m);
	}
	arena_done(&arena);
	mem_free(text);
}

static void on_event(void *arg, int events)
{
	struct giver *g = arg;

	if (events & (LOOP_READABLE | LOOP_HANGUP))
		receive(g);
	if (g->step == STEP_SENDING && (events & LOOP_WRITABLE))
		send_on(g);
}

static void on_accept(void *ctx, int fd, const struct address *ignored)
{
	struct giver *g = ctx;
	struct local_channel_peer peer = { 0 };

	(void)ignored;
	if (!local_channel_peer(fd, &peer) || (peer.uid != geteuid() && peer.uid != 0)) {
		log_warn(COMPONENT, "a takeover by another user was refused",
			 LOG_INT("uid", peer.uid), LOG_INT("pid", peer.pid));
		refuse(fd, "another user's process");
		close(fd); /* allowed: it never reached a loop */
		return;
	}
	if (g->step != STEP_NONE) {
		refuse(fd, "another successor is just starting");
		close(fd); /* allowed: it never reached a loop */
		return;
	}
	g->fd = fd;
	g->pid = peer.pid;
	g->watch = loop_watch_new(g->loop, fd, on_event, g);
	if (!g->watch) {
		close(fd); /* allowed: it never reached a loop */
		return;
	}
	g->step = STEP_HELLO;
	timer_set(&g->timer, LIMIT_TAKEOVER_ANSWER_MS);
	loop_watch_set(g->watch, LOOP_READABLE);
}

static void on_waited(struct timer *t)
{
	struct giver *g = CONTAINER_OF(t, struct giver, wait);

	g->listener = listener_new(g->loop, g->listen_fd, on_accept, g);
	g->listen_fd = -1;
}

/* --- Life ------------------------------------------------------------------------------------ */

struct giver *giver_new(struct loop *loop, const char *data_dir, struct sockets *sockets,
			int64_t generation, int64_t wait_ms, const struct giver_events *events,
			void *ctx, struct err *err)
{
	char *path = giver_path(data_dir);
	char *name = mem_printf("unix:%s", path);
	struct socket_group *group = sockets_claim(sockets, WHAT, name, SOCKET_MESSAGES);
	int fd = group ? 0 : local_channel_listen(path, err);

	if (fd >= 0 && !group)
		group = sockets_add(sockets, WHAT, name, SOCKET_MESSAGES, &fd, 1);
	mem_free(name);
	fd = fd < 0 ? fd : sockets_dup(group, 0, err);
	if (fd < 0) {
		mem_free(path);
		return NULL;
	}
	struct giver *g = mem_alloc(sizeof(*g));
	g->loop = loop;
	g->sockets = sockets;
	g->generation = generation;
	g->events = events;
	g->ctx = ctx;
	g->path = path;
	g->fd = -1;
	timer_init(&g->timer, loop, on_late);
	g->listen_fd = fd;
	timer_init(&g->wait, loop, on_waited);
	if (wait_ms)
		timer_set(&g->wait, wait_ms);
	else
		on_waited(&g->wait);
	return g;
}

struct giver *giver_free(struct giver *g)
{
	if (!g)
		return NULL;
	if (g->step != STEP_NONE) {
		refuse(g->fd, "this edge is stopping");
		hang_up(g);
	}
	timer_stop(&g->wait);
	if (g->listen_fd >= 0)
		close(g->listen_fd); /* allowed: it never reached a loop */
	listener_free(g->listener);
	if (g->path)
		unlink(g->path);
	mem_free(g->path);
	return mem_free(g);
}
