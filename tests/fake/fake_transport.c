#include "fake/fake_transport.h"

#include "base/bufq.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/address.h"
#include "io/loop.h"

#define SESSION_MAGIC 0x66616b65
#define STREAM_MAGIC 0x66616b73

struct fake_stream;

struct fake_session {
	struct session base;
	uint32_t magic;
	struct fake_session *other; /* borrowed; NULL once it has ended */
	struct list streams;
	size_t stream_count;
	struct deferred deferred;
	struct address peer;

	/* Events due. */
	bool due_register, due_registered, due_config, due_report, due_draining, is_ending;
	enum reason why;

	/* Connector: its registration, as it will be seen. Edge: the answer, likewise. */
	struct arena arena;
	struct registration registration;
	struct bytes local_config;
	struct bytes report; /* edge: the latest, in the arena */
	struct registered answer;
	bool is_registered, is_answered, is_leaving;
};

/* One end of a stream. What it writes goes to the other end's `in`. */
struct fake_stream {
	struct stream base;
	uint32_t magic;
	struct fake_session *session; /* borrowed */
	struct fake_stream *other;    /* borrowed; NULL once it has ended */
	struct list node;
	enum stream_kind kind;
	struct arena arena; /* heads on their way to this end */

	/* Events due. */
	bool due_open, due_answer, due_writable, is_over;
	struct list interims; /* due before the answer; in the arena */
	enum reason why;
	struct head head; /* of due_open or due_answer */
	struct answer answer;
	bool head_fin;

	struct bufq in;
	size_t unconsumed; /* delivered or queued, not given back */
	struct fields trailers;
	bool in_ended, in_reported; /* the other side ended; the user knows */
	bool has_ended, is_answered, is_reset, was_short;
};

static struct fake_session *session_of(struct session *s)
{
	struct fake_session *f = CONTAINER_OF(s, struct fake_session, base);

	CHECK(f, SESSION_MAGIC);
	return f;
}

static struct fake_stream *stream_of(struct stream *st)
{
	struct fake_stream *f = CONTAINER_OF(st, struct fake_stream, base);

	CHECK(f, STREAM_MAGIC);
	return f;
}

/* Reads an event's flag and clears it. */
static bool was_due(bool *flag)
{
	bool due = *flag;

	*flag = false;
	return due;
}

static void wake(struct fake_session *s)
{
	if (s)
		loop_defer(s->base.loop, &s->deferred);
}

/* --- Streams --------------------------------------------------------------------------------- */

static struct fake_stream *stream_new(struct fake_session *s, enum stream_kind kind)
{
	struct fake_stream *st = mem_alloc(sizeof(*st));

	st->magic = STREAM_MAGIC;
	st->base.session = &s->base;
	st->session = s;
	st->kind = kind;
	arena_init(&st->arena);
	list_init(&st->interims);
	bufq_init(&st->in, FAKE_WINDOW);
	list_append(&s->streams, &st->node);
	s->stream_count++;
	return st;
}

static void stream_over(struct fake_stream *st, enum reason why)
{
	if (!st || st->is_over)
		return;
	st->is_over = true;
	st->why = why;
	wake(st->session);
}

static void stream_end(struct fake_stream *st)
{
	struct fake_session *s = st->session;

	list_remove(&st->node);
	s->stream_count--;
	if (st->other)
		st->other->other = NULL;
	if (st->base.events && st->base.events->on_closed)
		st->base.events->on_closed(&st->base, st->why);
	bufq_done(&st->in);
	arena_done(&st->arena);
	st->magic = 0;
	mem_free(st);
}

/* Both sides have ended and everything was delivered. */
static void check_done(struct fake_stream *st)
{
	if (st->has_ended && st->in_reported && (!st->other || st->other->in_reported)) {
		stream_over(st, REASON_DONE);
		stream_over(st->other, REASON_DONE);
	}
}

static void deliver_data(struct fake_stream *st)
{
	uint8_t block[1000];
	struct bytes run;

	/* Unaligned pieces: whoever counts on more is found out. */
	while (!st->is_over && !st->is_reset && bufq_peek(&st->in, &run, 1)) {
		run = bytes_first(run, sizeof(block));
		memcpy(block, run.ptr, run.len);
		bufq_consume(&st->in, run.len);
		st->base.events->on_data(&st->base, bytes_of(block, run.len), false);
	}
	if (st->is_over || st->is_reset || !st->in_ended || st->in_reported || bufq_len(&st->in))
		return;
	st->in_reported = true;
	if (st->trailers.count && st->base.events->on_trailers)
		st->base.events->on_trailers(&st->base, &st->trailers);
	else
		st->base.events->on_data(&st->base, BYTES_NONE, true);
	check_done(st);
}

struct interim {
	struct list node;
	struct head head;
};

static void deliver_interims(struct fake_stream *st)
{
	struct list *node;

	while (!st->is_over && !st->is_reset && (node = list_pop(&st->interims)))
		if (st->base.events->on_interim)
			st->base.events->on_interim(&st->base,
						    &LIST_ENTRY(node, struct interim, node)->head);
}

static void deliver_stream(struct fake_stream *st)
{
	struct fake_session *s = st->session;

	if (was_due(&st->due_open)) {
		if (st->head_fin)
			st->in_reported = true;
		if (!st->is_over)
			s->base.events->on_stream(&s->base, &st->base, st->kind, &st->head,
						  st->head_fin);
	}
	deliver_interims(st);
	if (was_due(&st->due_answer) && !st->is_over && !st->is_reset) {
		st->base.events->on_answer(&st->base, &st->answer);
		if (st->head_fin)
			st->in_ended = true;
	}
	if (st->base.events)
		deliver_data(st);
	if (was_due(&st->due_writable) && !st->is_over && !st->is_reset &&
	    st->base.events->on_writable)
		st->base.events->on_writable(&st->base);
	if (st->is_over)
		stream_end(st);
}

/* --- Sessions -------------------------------------------------------------------------------- */

static void session_over(struct fake_session *s, enum reason why)
{
	if (!s || s->is_ending)
		return;
	s->is_ending = true;
	s->why = why;
	wake(s);
}

static void session_end(struct fake_session *s)
{
	struct err err;

	while (!list_is_empty(&s->streams)) {
		struct fake_stream *st = LIST_ENTRY(s->streams.next, struct fake_stream, node);
		stream_over(st, st->is_reset ? st->why : REASON_LOST);
		stream_end(st);
	}
	if (s->other) {
		session_over(s->other, s->base.is_draining && s->why == REASON_DONE ? REASON_DONE
										    : REASON_LOST);
		s->other->other = NULL;
	}
	deferred_cancel(&s->deferred);
	err_set(&err, E_CLOSED, "the fake line ended: %s", reason_text(s->why));
	s->base.events->on_closed(&s->base, s->why, &err);
	arena_done(&s->arena);
	s->magic = 0;
	mem_free(s);
}

static void check_drained(struct fake_session *s)
{
	if (s->is_leaving && s->stream_count == 0)
		session_over(s, REASON_DONE);
}

static void deliver_register(struct fake_session *s)
{
	if (was_due(&s->due_register) && s->other && s->base.events->on_register)
		s->base.events->on_register(&s->base, &s->other->registration);
	if (was_due(&s->due_config) && s->other && s->base.events->on_local_config)
		s->base.events->on_local_config(&s->base, s->other->local_config);
	if (was_due(&s->due_report) && s->base.events->on_local_config)
		s->base.events->on_local_config(&s->base, s->report);
	if (was_due(&s->due_registered) && s->other) {
		s->is_registered = s->other->answer.ok;
		if (s->is_registered && s->registration.index == 0 &&
		    !s->other->answer.remotely_managed && s->local_config.len) {
			s->other->due_config = true;
			wake(s->other);
		}
		s->base.events->on_registered(&s->base, &s->other->answer);
		if (!s->is_registered) {
			session_over(s, REASON_REFUSED);
			session_over(s->other, REASON_REFUSED);
		}
	}
	if (was_due(&s->due_draining) && s->base.events->on_draining)
		s->base.events->on_draining(&s->base);
}

static void deliver(struct deferred *d)
{
	struct fake_session *s = CONTAINER_OF(d, struct fake_session, deferred);

	CHECK(s, SESSION_MAGIC);
	if (!s->is_ending)
		deliver_register(s);
	LIST_FOR_EACH(node, &s->streams) {
		if (s->is_ending)
			break;
		deliver_stream(LIST_ENTRY(node, struct fake_stream, node));
	}
	check_drained(s);
	if (s->is_ending)
		session_end(s);
}

/* --- Calls ----------------------------------------------------------------------------------- */

static struct session *fake_start(struct loop *l, const struct session_start *how)
{
	struct fake_session *s = mem_alloc(sizeof(*s));

	s->magic = SESSION_MAGIC;
	address_from_ip(BYTES_LIT("127.0.0.1"), how->side == SESSION_EDGE ? 1 : 2, &s->peer);
	s->base = (struct session){
		.transport = &fake_transport,
		.events = how->events,
		.ctx = how->ctx,
		.loop = l,
		.side = how->side,
		.peer = &s->peer,
	};
	list_init(&s->streams);
	arena_init(&s->arena);
	deferred_init(&s->deferred, deliver);
	if (how->registration) {
		struct registration *r = &s->registration;
		*r = *how->registration;
		r->account = arena_copy(&s->arena, r->account);
		r->secret = arena_copy(&s->arena, r->secret);
		r->version = arena_copy(&s->arena, r->version);
		r->arch = arena_copy(&s->arena, r->arch);
		r->local_ip = arena_copy(&s->arena, r->local_ip);
		struct bytes *features =
			arena_alloc(&s->arena, (r->feature_count + 1) * sizeof(*features));
		for (size_t i = 0; i < r->feature_count; i++)
			features[i] = arena_copy(&s->arena, r->features[i]);
		r->features = features;
		s->local_config = arena_copy(&s->arena, how->local_config);
	}
	return &s->base;
}

void fake_transport_pair(struct loop *l, const struct session_start *edge,
			 const struct session_start *connector, struct session **ret_edge,
			 struct session **ret_connector)
{
	struct fake_session *e = session_of(fake_start(l, edge));
	struct fake_session *c = session_of(fake_start(l, connector));

	e->other = c;
	c->other = e;
	e->due_register = true;
	wake(e);
	*ret_edge = &e->base;
	*ret_connector = &c->base;
}

void fake_transport_cut(struct session *s)
{
	session_over(session_of(s), REASON_LOST);
	session_over(session_of(s)->other, REASON_LOST);
}

static bool fake_can_open(const struct session *s)
{
	const struct fake_session *f = CONTAINER_OF(s, const struct fake_session, base);

	return s->side == SESSION_EDGE && f->is_registered && !s->is_draining && !f->is_ending &&
	       f->other && f->stream_count < FAKE_STREAMS;
}

static struct stream *fake_open(struct session *s, enum stream_kind kind, const struct head *head,
				bool fin, const struct stream_events *events, void *ctx)
{
	struct fake_session *f = session_of(s);

	if (!fake_can_open(s))
		return NULL;
	struct fake_stream *here = stream_new(f, kind), *there = stream_new(f->other, kind);
	here->other = there;
	there->other = here;
	here->base.events = events;
	here->base.ctx = ctx;
	here->has_ended = fin;
	there->in_ended = there->head_fin = fin;
	there->due_open = true;
	BUG_IF(head_copy(&there->head, head, &there->arena) < 0);
	there->head.is_upgrade = kind == STREAM_WEBSOCKET;
	wake(f->other);
	return &here->base;
}

static bool is_over(const struct fake_stream *st)
{
	return st->is_over || st->is_reset || !st->other;
}

static void fake_interim(struct stream *st, const struct head *head)
{
	struct fake_stream *f = stream_of(st), *to = f->other;

	BUG_IF(f->is_answered);
	if (is_over(f))
		return;
	struct interim *interim = arena_alloc(&to->arena, sizeof(*interim));
	list_init(&interim->node);
	BUG_IF(head_copy(&interim->head, head, &to->arena) < 0);
	list_append(&to->interims, &interim->node);
	wake(to->session);
}

static void fake_answer(struct stream *st, const struct answer *a, bool fin)
{
	struct fake_stream *f = stream_of(st), *to = f->other;

	BUG_IF(f->is_answered);
	f->is_answered = true;
	if (is_over(f))
		return;
	to->answer = *a;
	BUG_IF(head_copy(&to->head, a->head, &to->arena) < 0);
	to->answer.head = &to->head;
	to->answer.failure_json = arena_copy(&to->arena, a->failure_json);
	to->head_fin = fin;
	to->due_answer = true;
	f->has_ended = fin;
	wake(to->session);
}

static size_t fake_write(struct stream *st, struct bytes data, bool fin)
{
	struct fake_stream *f = stream_of(st), *to = f->other;

	if (is_over(f))
		return data.len;
	BUG_IF(f->session->base.side == SESSION_CONNECTOR && !f->is_answered);
	BUG_IF(f->has_ended);
	size_t room = to->unconsumed < FAKE_WINDOW ? FAKE_WINDOW - to->unconsumed : 0;
	struct bytes taken = bytes_first(data, room < FAKE_WRITE_MAX ? room : FAKE_WRITE_MAX);
	bufq_write_all(&to->in, taken);
	to->unconsumed += taken.len;
	wake(to->session);
	if (taken.len < data.len) {
		/* With a window left, the event only waits for its turn. */
		f->was_short = room <= taken.len;
		f->due_writable = !f->was_short;
		wake(f->session);
	} else if (fin) {
		f->has_ended = to->in_ended = true;
	}
	return taken.len;
}

static void fake_finish(struct stream *st, const struct fields *trailers)
{
	struct fake_stream *f = stream_of(st);

	if (is_over(f))
		return;
	if (trailers)
		BUG_IF(fields_copy(&f->other->trailers, trailers, &f->other->arena) < 0);
	(void)fake_write(st, BYTES_NONE, true);
}

static void fake_consume(struct stream *st, size_t n)
{
	struct fake_stream *f = stream_of(st);

	BUG_IF(n > f->unconsumed); /* whoever gives back more than came would break a real window */
	f->unconsumed -= n;
	if (!is_over(f) && f->other->was_short && f->unconsumed <= FAKE_WINDOW / 2) {
		f->other->was_short = false;
		f->other->due_writable = true;
		wake(f->other->session);
	}
}

static void fake_reset(struct stream *st, enum reason why)
{
	struct fake_stream *f = stream_of(st);

	if (f->is_reset || f->is_over)
		return;
	f->is_reset = true;
	/* The answer is whole: this side only tells that it wants no more. */
	stream_over(f->other, why == REASON_DONE ? REASON_CANCELLED : why);
	stream_over(f, why);
}

static void fake_drain(struct session *s)
{
	struct fake_session *f = session_of(s);

	if (f->is_leaving || f->is_ending)
		return;
	f->is_leaving = s->is_draining = true;
	if (f->other && !f->other->base.is_draining) {
		f->other->base.is_draining = f->other->due_draining = true;
		wake(f->other);
	}
	wake(f);
}

static bool fake_ask_to_move(struct session *s)
{
	struct fake_session *f = session_of(s);

	if (f->is_ending || !f->other || f->other->base.is_draining)
		return true;
	f->other->base.is_draining = f->other->due_draining = true;
	wake(f->other);
	return true;
}

static void fake_close(struct session *s, enum reason why)
{
	session_over(session_of(s), why);
}

static void fake_reply(struct session *s, const struct registered *r)
{
	struct fake_session *f = session_of(s);

	if (f->is_answered || f->is_ending || !f->other)
		return;
	f->is_answered = true;
	f->is_registered = r->ok;
	f->answer = *r;
	f->answer.location = arena_copy(&f->arena, r->location);
	f->answer.cause = arena_copy(&f->arena, r->cause);
	f->other->due_registered = true;
	wake(f->other);
}

static size_t fake_stream_count(const struct session *s)
{
	return CONTAINER_OF(s, const struct fake_session, base)->stream_count;
}

static bool fake_has_feature(const struct session *s, const char *feature)
{
	const struct fake_session *f = CONTAINER_OF(s, const struct fake_session, base);

	static const char *const all[] = { FEATURES_ALL };

	for (size_t i = 0; s->side == SESSION_CONNECTOR && i < ARRAY_LEN(all); i++)
		if (bytes_eq(bytes_str(all[i]), bytes_str(feature)))
			return true;
	for (size_t i = 0; f->other && i < f->other->registration.feature_count; i++)
		if (bytes_eq(f->other->registration.features[i], bytes_str(feature)))
			return true;
	return false;
}

static bool fake_report(struct session *s, struct bytes json)
{
	struct fake_session *f = session_of(s);

	if (!f->is_registered || f->is_ending || !f->other)
		return false;
	f->other->report = arena_copy(&f->other->arena, json);
	f->other->due_report = true;
	wake(f->other);
	return true;
}

const struct transport fake_transport = {
	.name = "fake",
	.start = fake_start,
	.open = fake_open,
	.interim = fake_interim,
	.answer = fake_answer,
	.write = fake_write,
	.finish = fake_finish,
	.consume = fake_consume,
	.reset = fake_reset,
	.drain = fake_drain,
	.ask_to_move = fake_ask_to_move,
	.close = fake_close,
	.reply = fake_reply,
	.can_open = fake_can_open,
	.stream_count = fake_stream_count,
	.has_feature = fake_has_feature,
	.report = fake_report,
};
