#include "connector/access/access.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "connector/access/carry.h"
#include "connector/access/dial.h"
#include "connector/access/login.h"
#include "connector/access/target.h"
#include "io/conn.h"
#include "io/loop.h"
#include "io/stdio.h"

#define COMPONENT "access"

struct access {
	struct loop *loop;
	struct access_target *target;
	const char *const *login; /* NULL: none */
	struct login_child *login_child;
	struct list streams; /* struct access_stream, owned */
	size_t stream_count;
	void (*on_end)(struct access *a, const struct err *err);
	/* Standard input and output. */
	struct err *err; /* of the caller */
	int result;
	/* Listening. */
	struct listener *listener;
	struct timer grace;
	bool is_stopping;
};

/* One local stream and its way to the far end. */
struct access_stream {
	struct list node;
	struct access *access;
	struct byte_stream *local; /* owned until it is carried */
	struct access_dial *dial;
	struct access_carry *carry;
	bool has_logged_in; /* for the sake of this one: once is enough */
	bool waits;         /* for the login */
	struct err refusal; /* why it does */
};

static void stream_free(struct access_stream *s)
{
	list_remove(&s->node);
	s->access->stream_count--;
	access_dial_cancel(s->dial);
	access_carry_cancel(s->carry);
	byte_stream_close(s->local);
	mem_free(s);
}

static void stream_ended(struct access_stream *s, const struct err *err)
{
	struct access *a = s->access;

	stream_free(s);
	a->on_end(a, err);
}

static void on_carried(void *ctx, const struct err *err)
{
	struct access_stream *s = ctx;

	s->carry = NULL;
	stream_ended(s, err);
}

/* --- Logins ---------------------------------------------------------------------------------- */

static void on_dialled(void *ctx, struct byte_stream *remote, struct bytes early,
		       bool has_half_close, const struct err *err);

static void on_logged_in(void *ctx, struct bytes token)
{
	struct access *a = ctx;
	struct err err = { 0 };
	bool has_token = token.len && access_target_set_token(a->target, token, &err) == 0;

	a->login_child = login_child_free(a->login_child);
	LIST_FOR_EACH(node, &a->streams) {
		struct access_stream *s = LIST_ENTRY(node, struct access_stream, node);

		if (!s->waits)
			continue;
		s->waits = false;
		if (has_token) {
			s->dial = access_dial(a->loop, a->target, on_dialled, s);
		} else {
			/* It goes with the stream. */
			err = s->refusal;
			stream_ended(s, &err);
		}
	}
}

/* True: the stream waits for it. */
static bool log_in_first(struct access_stream *s, const struct err *err)
{
	struct access *a = s->access;
	struct err why = { 0 };

	if (err->code != E_DENIED || err->sys_errno != EACCES || !a->login || s->has_logged_in)
		return false;
	if (!a->login_child)
		a->login_child = login_child_start(a->loop, a->login, on_logged_in, a, &why);
	if (!a->login_child) {
		log_warn(COMPONENT, "No login", LOG_STR("error", why.text));
		return false;
	}
	s->has_logged_in = s->waits = true;
	s->refusal = *err;
	return true;
}

/* --- Streams --------------------------------------------------------------------------------- */

static void on_dialled(void *ctx, struct byte_stream *remote, struct bytes early,
		       bool has_half_close, const struct err *err)
{
	struct access_stream *s = ctx;

	s->dial = NULL;
	if (!remote && log_in_first(s, err))
		return;
	if (!remote) {
		stream_ended(s, err);
		return;
	}
	log_debug(COMPONENT, "Opened", LOG_BYTES("host", s->access->target->request.authority),
		  LOG_BOOL("halfClose", has_half_close));
	s->carry = access_carry(s->access->loop, TAKE(s->local), remote, early, has_half_close,
				on_carried, s);
}

static void stream_start(struct access *a, struct byte_stream *local)
{
	struct access_stream *s = mem_alloc(sizeof(*s));

	s->access = a;
	s->local = local;
	list_append(&a->streams, &s->node);
	a->stream_count++;
	s->dial = access_dial(a->loop, a->target, on_dialled, s);
}

static void end_streams(struct access *a)
{
	a->login_child = login_child_free(a->login_child);
	LIST_FOR_EACH(node, &a->streams)
		stream_free(LIST_ENTRY(node, struct access_stream, node));
}

static void access_init(struct access *a, struct access_target *target, const char *const *login,
			struct loop *loop)
{
	a->loop = loop;
	a->target = target;
	a->login = login;
	list_init(&a->streams);
}

/* --- Standard input and output --------------------------------------------------------------- */

static void on_stdio_end(struct access *a, const struct err *err)
{
	if (err) {
		*a->err = *err;
		a->result = err->code;
	}
	loop_stop(a->loop);
}

static void on_stdio_signal(void *arg, int signum)
{
	struct access *a = arg;

	(void)signum;
	a->result = err_set(a->err, E_CANCELLED, "%s", "");
	loop_stop(a->loop);
}

int access_stdio(struct access_target *target, const char *const *login, struct err *err)
{
	static const int signums[] = { SIGINT, SIGTERM, SIGHUP };
	struct loop_signal *signals[ARRAY_LEN(signums)];
	struct access a = { .on_end = on_stdio_end, .err = err };
	struct loop *loop = loop_new(err);

	if (!loop)
		return err->code;
	access_init(&a, target, login, loop);
	struct byte_stream *local = stdio_open(loop, STDIN_FILENO, STDOUT_FILENO, err);
	if (!local) {
		loop_free(loop);
		return err->code;
	}
	void (*old_pipe)(int) = signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(signums); i++)
		signals[i] = loop_signal_new(loop, signums[i], on_stdio_signal, &a);
	stream_start(&a, local);
	loop_run(loop);
	end_streams(&a);
	for (size_t i = 0; i < ARRAY_LEN(signums); i++)
		loop_signal_free(signals[i]);
	loop_free(loop);
	(void)signal(SIGPIPE, old_pipe);
	return a.result;
}

/* --- Listening ------------------------------------------------------------------------------- */

static void stop_when_idle(struct access *a)
{
	if (a->is_stopping && a->stream_count == 0)
		loop_stop(a->loop);
}

static void on_stream_end(struct access *a, const struct err *err)
{
	/* A local program that leaves, however it does, is its own business. */
	if (err && err->sys_errno != EPIPE && err->sys_errno != ECONNRESET)
		log_error(COMPONENT, "failed to connect to origin",
			  LOG_BYTES("originURL", a->target->request.authority),
			  LOG_STR("error", err->text));
	else if (err)
		log_debug(COMPONENT, "connection lost", LOG_STR("error", err->text));
	stop_when_idle(a);
}

static void on_accept(void *ctx, int fd, const struct address *peer)
{
	struct access *a = ctx;
	struct byte_stream *local = conn_adopt(a->loop, fd, peer);
	char text[ADDRESS_TEXT_SIZE];

	if (a->stream_count >= LIMIT_ACCESS_STREAMS) {
		log_warn(COMPONENT, "Too many connections at once, this one is closed",
			 LOG_STR("client", address_text(peer, text)),
			 LOG_INT("limit", LIMIT_ACCESS_STREAMS));
		byte_stream_close(local);
		return;
	}
	log_debug(COMPONENT, "Accepted", LOG_STR("client", address_text(peer, text)));
	stream_start(a, local);
}

static void on_grace_over(struct timer *t)
{
	struct access *a = CONTAINER_OF(t, struct access, grace);

	end_streams(a);
	stop_when_idle(a);
}

static void on_stop_signal(void *arg, int signum)
{
	struct access *a = arg;

	if (a->is_stopping) {
		on_grace_over(&a->grace);
		return;
	}
	a->is_stopping = true;
	a->listener = listener_free(a->listener);
	log_info(COMPONENT, "Stopping",
		 LOG_STR("signal", signum == SIGINT ? "interrupt" : "terminated"),
		 LOG_INT("connections", a->stream_count));
	timer_set(&a->grace, LIMIT_ACCESS_DRAIN_MS);
	stop_when_idle(a);
}

int access_listen(struct access_target *target, const char *const *login, const struct address *at,
		  struct err *err)
{
	struct address address = *at;
	char text[ADDRESS_TEXT_SIZE];
	struct access a = { .on_end = on_stream_end };
	struct loop *loop = loop_new(err);

	if (!loop)
		return err->code;
	access_init(&a, target, login, loop);
	int fd = listen_open(&address, false, err);
	if (fd < 0) {
		loop_free(loop);
		return err_wrap(err, "failed to start forwarding server");
	}
	void (*old_pipe)(int) = signal(SIGPIPE, SIG_IGN);
	struct loop_signal *interrupt = loop_signal_new(loop, SIGINT, on_stop_signal, &a);
	struct loop_signal *term = loop_signal_new(loop, SIGTERM, on_stop_signal, &a);
	timer_init(&a.grace, loop, on_grace_over);
	a.listener = listener_new(loop, fd, on_accept, &a);
	log_info(COMPONENT, "Start Websocket listener",
		 LOG_STR("host", address_text(&address, text)));
	loop_run(loop);
	timer_stop(&a.grace);
	listener_free(a.listener);
	end_streams(&a);
	loop_signal_free(interrupt);
	loop_signal_free(term);
	loop_free(loop);
	if (address.any.sa_family == AF_UNIX)
		(void)unlink(address.local.sun_path);
	(void)signal(SIGPIPE, old_pipe);
	return 0;
}
