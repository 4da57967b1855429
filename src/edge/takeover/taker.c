#include "edge/takeover/taker.h"

#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/takeover/giver.h"
#include "edge/takeover/message.h"

#define COMPONENT "edge/takeover"

struct taker {
	int fd;
	int64_t generation;
	bool is_over;
};

static int say(struct taker *t, const struct takeover_message *m, struct err *err)
{
	struct buf text;

	buf_init(&text, TAKEOVER_MESSAGE_BYTES);
	int code = takeover_message_print(m, &text);
	if (code == 0)
		code = local_channel_send(t->fd, buf_bytes(&text), NULL, 0, err);
	buf_done(&text);
	return code;
}

struct received {
	struct arena arena;
	struct takeover_message message;
	int fds[LOCAL_CHANNEL_FDS];
	size_t fd_count;
};

static void received_done(struct received *r)
{
	while (r->fd_count)
		close(r->fds[--r->fd_count]); /* allowed: none of them reached a loop */
	arena_done(&r->arena);
}

static int read_received(struct received *r, struct bytes text, struct err *err)
{
	int code = takeover_message_read(text, &r->arena, &r->message, err);

	if (code < 0)
		return err_wrap(err, "the running edge");
	if (r->message.type == TAKEOVER_REFUSED)
		return err_set(err, E_DENIED, "the running edge refused: %s", r->message.text);
	if (r->message.type != TAKEOVER_SOCKETS && r->fd_count)
		return err_set(err, E_PROTOCOL, "the running edge sent descriptors with a \"%s\"",
			       takeover_type_name(r->message.type));
	return 0;
}

/* The next message, in time; received_done() follows when it worked. */
static int hear(struct taker *t, int64_t timeout_ms, struct received *r, struct err *err)
{
	uint8_t *text = mem_alloc(TAKEOVER_MESSAGE_BYTES);
	ssize_t n = E_TIMEOUT;

	*r = (struct received){ 0 };
	arena_init(&r->arena);
	if (local_channel_wait(t->fd, timeout_ms))
		n = local_channel_receive(t->fd, text, TAKEOVER_MESSAGE_BYTES, r->fds, &r->fd_count,
					  err);
	else
		err_set(err, E_TIMEOUT, "the running edge does not answer");
	int code = n > 0 ? read_received(r, bytes_of(text, (size_t)n), err) : (int)n;
	mem_free(text);
	if (code < 0)
		received_done(r);
	return code;
}

static int take_sockets(struct received *r, struct sockets *sockets, struct err *err)
{
	const struct takeover_message *m = &r->message;

	if (m->socket_count != r->fd_count)
		return err_set(err, E_PROTOCOL, "%zu sockets were named, %zu came", m->socket_count,
			       r->fd_count);
	size_t count = r->fd_count;
	r->fd_count = 0;
	int code = 0;
	for (size_t i = 0; i < count; i++) {
		const struct takeover_socket *s = &m->sockets[i];
		if (code < 0)
			close(r->fds[i]); /* allowed: it never reached a loop */
		else
			code = sockets_inherit(sockets, s->what, s->address, s->kind, s->is_first,
					       r->fds[i], err);
	}
	return code;
}

/* One message of those between hello and all. Positive once that has come. */
static int take(struct taker *t, struct received *r, struct sockets *sockets, struct buf *state,
		size_t *sockets_seen, struct err *err)
{
	const struct takeover_message *m = &r->message;

	switch (m->type) {
	case TAKEOVER_SOCKETS:
		*sockets_seen += m->socket_count;
		if (*sockets_seen > LIMIT_TAKEOVER_SOCKETS)
			return err_set(err, E_LIMIT, "more than %d sockets", LIMIT_TAKEOVER_SOCKETS);
		return take_sockets(r, sockets, err);
	case TAKEOVER_STATE:
		if (buf_append_str(state, m->text) < 0)
			return err_set(err, E_LIMIT, "more than %zu bytes of state", state->max);
		return 0;
	case TAKEOVER_ALL:
		if (m->version != TAKEOVER_VERSION)
			return err_set(err, E_UNSUPPORTED,
				       "the running edge speaks version %lld of the takeover, "
				       "this program version %d: stop it and start this one",
				       (long long)m->version, TAKEOVER_VERSION);
		if (m->count != (int64_t)*sockets_seen || m->generation < 1)
			return err_set(err, E_PROTOCOL, "not all sockets came");
		t->generation = m->generation;
		return 1;
	default:
		return err_set(err, E_PROTOCOL, "the running edge said \"%s\" out of turn",
			       takeover_type_name(m->type));
	}
}

static int converse(struct taker *t, struct sockets *sockets, struct buf *state, struct err *err)
{
	const struct takeover_message hello = {
		.type = TAKEOVER_HELLO,
		.version = TAKEOVER_VERSION,
		.program = ADIT_VERSION,
	};
	size_t sockets_seen = 0;
	int code = say(t, &hello, err);

	/* Whoever hangs up at once has said why. */
	if (code == E_CLOSED)
		code = 0;
	while (code == 0) {
		struct received r;
		code = hear(t, LIMIT_TAKEOVER_ANSWER_MS, &r, err);
		if (code < 0)
			break;
		code = take(t, &r, sockets, state, &sockets_seen, err);
		received_done(&r);
	}
	return code < 0 ? code : 0;
}

int taker_begin(const char *data_dir, struct sockets *sockets, struct buf *state,
		struct taker **ret, struct err *err)
{
	char *path = giver_path(data_dir);
	int fd = local_channel_connect(path, err);

	mem_free(path);
	*ret = NULL;
	if (fd == E_NOT_FOUND)
		return 0;
	if (fd < 0)
		return err_wrap(err, "taking over");
	struct taker *t = mem_alloc(sizeof(*t));
	t->fd = fd;
	int code = converse(t, sockets, state, err);
	if (code < 0) {
		taker_free(t, err);
		return err_wrap(err, "taking over");
	}
	*ret = t;
	return 0;
}

int64_t taker_generation(const struct taker *t)
{
	return t->generation;
}

int taker_finish(struct taker *t, struct err *err)
{
	const struct takeover_message ready = { .type = TAKEOVER_READY };
	struct received r;
	int code = say(t, &ready, err);

	/* It may have hung up, and have said why before that. */
	if (code == 0 || code == E_CLOSED)
		code = hear(t, LIMIT_TAKEOVER_ANSWER_MS, &r, err);
	/* It did not say no: it is not there any more, and these are the only sockets left. */
	if (code == E_CLOSED) {
		log_warn(COMPONENT, "the edge before has ended in the middle of the takeover");
		t->is_over = true;
		return 0;
	}
	if (code < 0)
		return err_wrap(err, "taking over");
	enum takeover_type type = r.message.type;
	received_done(&r);
	if (type != TAKEOVER_DONE)
		return err_set(err, E_PROTOCOL,
			       "taking over: the running edge said \"%s\" at the end",
			       takeover_type_name(type));
	t->is_over = true;
	return 0;
}

struct taker *taker_free(struct taker *t, const struct err *why)
{
	if (!t)
		return NULL;
	if (!t->is_over && why && why->code) {
		const struct takeover_message refused = { .type = TAKEOVER_REFUSED,
							  .text = why->text };
		(void)say(t, &refused, NULL);
	}
	close(t->fd); /* allowed: no loop watches it */
	return mem_free(t);
}
