/* An established TLS session as a byte stream.
 *
 * In: one read of the lower stream fills a chunk, GnuTLS takes records out of it and decrypts into the
 * reader's buffer. Out: what is written in a turn gathers in a chunk and becomes one record when it is
 * full or when the turn ends; larger writes are encrypted from where they are. Ciphertext goes to the
 * lower stream's backlog; what has no room there waits in `overflow`, and as long as something waits
 * nothing is encrypted. So at most one record, with what GnuTLS itself answers, is ever in there.
 *
 * Chunks are held only while bytes are in them: an idle session is this struct and GnuTLS's own.
 */
#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "tls/tls_internal.h"

/* A record, and the answers of GnuTLS to a peer who does not read (alerts, KeyUpdate, tickets). Before
 * the end of the handshake: our flight, most of it the certificate chain. */
#define OVERFLOW_MAX_BYTES (128 * 1024)
/* Records without application data that one read goes through before others get their turn. */
#define SILENT_RECORDS_PER_READ 64

static struct tls_session *session_of(struct byte_stream *stream)
{
	struct tls_session *s = CONTAINER_OF(stream, struct tls_session, base);

	CHECK(s, SESSION_MAGIC);
	return s;
}

static void drop_staged(struct tls_session *s)
{
	bufq_chunk_return(TAKE(s->staged));
	s->staged_len = 0;
}

/* From here on reads report `err`. */
static struct err *session_failed(struct tls_session *s, const struct err *err)
{
	if (!s->failure) {
		s->failure = mem_alloc(sizeof(*s->failure));
		*s->failure = *err;
		drop_staged(s);
	}
	return s->failure;
}

/* --- Ciphertext in --------------------------------------------------------------------------- */

static ssize_t pull_blocked(struct tls_session *s)
{
	s->is_blocked = true;
	gnutls_transport_set_errno(s->gnutls, EAGAIN);
	return -1;
}

static ssize_t on_pull(gnutls_transport_ptr_t ptr, void *dst, size_t size)
{
	struct tls_session *s = ptr;

	if (!s->in) {
		if (s->has_lower_end)
			return 0;
		if (s->is_drained) {
			/* Spares the read that would only say so; keeps the interest armed. */
			byte_stream_want_read(s->lower);
			return pull_blocked(s);
		}
		struct err err = { 0 };
		uint8_t *chunk = bufq_chunk_take();
		ssize_t n = byte_stream_read(s->lower, chunk, BUFQ_CHUNK_BYTES, &err);
		if (n <= 0) {
			bufq_chunk_return(chunk);
			if (n == E_AGAIN)
				return pull_blocked(s);
			if (n == 0) {
				s->has_lower_end = true;
				return 0;
			}
			session_failed(s, &err);
			gnutls_transport_set_errno(s->gnutls, EIO);
			return -1;
		}
		s->in = chunk;
		s->in_start = 0;
		s->in_end = (uint32_t)n;
		s->is_drained = n < BUFQ_CHUNK_BYTES;
	}

	if (size > s->in_end - s->in_start)
		size = s->in_end - s->in_start;
	memcpy(dst, s->in + s->in_start, size);
	s->in_start += (uint32_t)size;
	if (s->in_start == s->in_end)
		bufq_chunk_return(TAKE(s->in));
	return (ssize_t)size;
}

/* GnuTLS asks this only where it would wait: it never shall. */
static int on_pull_timeout(gnutls_transport_ptr_t ptr, unsigned ms)
{
	struct tls_session *s = ptr;

	(void)ms;
	return s->in != NULL;
}

/* Plaintext or ciphertext that no event of the lower stream will announce. */
static bool has_buffered(struct tls_session *s)
{
	return s->in || gnutls_record_check_pending(s->gnutls) > 0;
}

static ssize_t fail_read(struct tls_session *s, int gnutls_code, struct err *err)
{
	struct err cause = { 0 };

	if (s->has_lower_end)
		gnutls_code = GNUTLS_E_PREMATURE_TERMINATION;
	tls_error(&cause, s->gnutls, gnutls_code);
	if (!s->failure && !s->has_lower_end && gnutls_code != GNUTLS_E_FATAL_ALERT_RECEIVED) {
		if (gnutls_code == GNUTLS_E_REHANDSHAKE)
			gnutls_alert_send(s->gnutls, GNUTLS_AL_FATAL, GNUTLS_A_NO_RENEGOTIATION);
		else
			gnutls_alert_send_appropriate(s->gnutls, gnutls_code);
	}
	const struct err *failure = session_failed(s, &cause);
	if (err)
		*err = *failure;
	return failure->code;
}

static ssize_t session_read(struct byte_stream *stream, uint8_t *dst, size_t cap, struct err *err)
{
	struct tls_session *s = session_of(stream);

	BUG_IF(cap == 0);
	if (s->has_peer_end)
		return 0;
	if (s->failure) {
		if (err)
			*err = *s->failure;
		return s->failure->code;
	}
	if (s->is_drained && !has_buffered(s)) {
		byte_stream_want_read(s->lower);
		return E_AGAIN;
	}

	for (int i = 0; i < SILENT_RECORDS_PER_READ; i++) {
		s->is_blocked = false;
		ssize_t n = gnutls_record_recv(s->gnutls, dst, cap);
		if (n > 0)
			return n;
		if (n == 0) {
			s->has_peer_end = true;
			return 0;
		}
		if (n == GNUTLS_E_REHANDSHAKE || gnutls_error_is_fatal((int)n))
			return fail_read(s, (int)n, err);
		/* A ticket, a key update or a warning was handled, unless there was nothing at all. */
		if (s->is_blocked)
			return E_AGAIN;
	}
	tls_session_wake(s);
	return E_AGAIN;
}

static void session_want_read(struct byte_stream *stream)
{
	struct tls_session *s = session_of(stream);

	if (s->failure || s->has_peer_end || has_buffered(s))
		tls_session_wake(s);
	else
		byte_stream_want_read(s->lower);
}

/* --- Ciphertext out -------------------------------------------------------------------------- */

static ssize_t on_push(gnutls_transport_ptr_t ptr, const void *src, size_t size)
{
	struct tls_session *s = ptr;
	struct bytes data = bytes_of(src, size);

	if (bufq_len(&s->overflow) == 0)
		data = bytes_from(data, byte_stream_write(s->lower, data));
	if (data.len > bufq_room(&s->overflow)) {
		gnutls_transport_set_errno(s->gnutls, ENOBUFS);
		return -1;
	}
	bufq_write_all(&s->overflow, data);
	return (ssize_t)size;
}

static bool has_overflow(const struct tls_session *s)
{
	return bufq_len(&s->overflow) > 0;
}

/* True when all of it went to the lower stream; otherwise its on_writable() follows. */
static bool push_overflow(struct tls_session *s)
{
	struct bytes run;

	while (bufq_peek(&s->overflow, &run, 1) == 1) {
		size_t taken = byte_stream_write(s->lower, run);
		bufq_consume(&s->overflow, taken);
		if (taken < run.len)
			return false;
	}
	return true;
}

static void fail_write(struct tls_session *s, int gnutls_code)
{
	struct err err;

	tls_error(&err, s->gnutls, gnutls_code);
	session_failed(s, &err);
	s->owes_error = true;
	loop_defer(s->base.loop, &s->event);
}

/* One record (several when the peer asked for short ones). False when the session has failed. */
static bool encrypt(struct tls_session *s, struct bytes plain)
{
	while (plain.len) {
		ssize_t n = gnutls_record_send(s->gnutls, plain.ptr, plain.len);
		if (n < 0) {
			fail_write(s, (int)n);
			return false;
		}
		plain = bytes_from(plain, (size_t)n);
	}
	return true;
}

static bool encrypt_staged(struct tls_session *s)
{
	bool is_fine = encrypt(s, bytes_of(s->staged, s->staged_len));

	drop_staged(s);
	return is_fine;
}

/* Encrypts what waits and says goodbye when that is wanted, as far as there is room. */
static void drive_output(struct tls_session *s)
{
	if (s->failure || has_overflow(s))
		return;
	if (s->staged_len && !encrypt_staged(s))
		return;
	if (s->wants_shutdown && !s->has_said_goodbye && !has_overflow(s)) {
		s->has_said_goodbye = true;
		gnutls_bye(s->gnutls, GNUTLS_SHUT_WR);
	}
}

static void on_flush(struct deferred *d)
{
	drive_output(CONTAINER_OF(d, struct tls_session, flush));
}

static size_t session_write(struct byte_stream *stream, struct bytes data)
{
	struct tls_session *s = session_of(stream);
	struct bytes left = data;

	if (s->failure || s->wants_shutdown)
		return data.len; /* goes nowhere; reading tells */
	while (left.len) {
		if (!s->staged && left.len >= BUFQ_CHUNK_BYTES && !has_overflow(s)) {
			if (!encrypt(s, bytes_first(left, BUFQ_CHUNK_BYTES)))
				return data.len;
			left = bytes_from(left, BUFQ_CHUNK_BYTES);
			continue;
		}
		if (!s->staged)
			s->staged = bufq_chunk_take();
		struct bytes part = bytes_first(left, BUFQ_CHUNK_BYTES - s->staged_len);
		memcpy(s->staged + s->staged_len, part.ptr, part.len);
		s->staged_len += (uint32_t)part.len;
		left = bytes_from(left, part.len);
		if (s->staged_len < BUFQ_CHUNK_BYTES)
			break;
		if (has_overflow(s)) {
			s->is_write_short |= left.len > 0;
			return data.len - left.len;
		}
		if (!encrypt_staged(s))
			return data.len;
	}
	/* With overflow the lower stream's on_writable() goes on instead. */
	if (s->staged && !has_overflow(s))
		loop_defer_flush(stream->loop, &s->flush);
	return data.len;
}

static size_t session_backlog(const struct byte_stream *stream)
{
	const struct tls_session *s = CONTAINER_OF(stream, const struct tls_session, base);

	return s->staged_len + bufq_len(&s->overflow) + byte_stream_backlog(s->lower);
}

static void session_shutdown(struct byte_stream *stream)
{
	struct tls_session *s = session_of(stream);

	s->wants_shutdown = true;
	loop_defer_flush(stream->loop, &s->flush);
}

/* --- Events ---------------------------------------------------------------------------------- */

void tls_session_wake(struct tls_session *s)
{
	s->owes_readable = true;
	loop_defer(s->base.loop, &s->event);
}

/* Each callback below is the last thing done: the user may close the stream inside it. */

static void tell_error(struct tls_session *s, const struct err *err)
{
	if (s->base.events && s->base.events->on_error)
		s->base.events->on_error(s->base.ctx, err);
}

static void on_event(struct deferred *d)
{
	struct tls_session *s = CONTAINER_OF(d, struct tls_session, event);

	CHECK(s, SESSION_MAGIC);
	if (s->handshake) {
		tls_handshake_step(s);
	} else if (s->owes_error) {
		s->owes_error = s->owes_readable = false;
		tell_error(s, s->failure);
	} else if (s->owes_readable) {
		s->owes_readable = false;
		if (s->base.events)
			s->base.events->on_readable(s->base.ctx);
	}
}

static void on_lower_readable(void *ctx)
{
	struct tls_session *s = ctx;

	CHECK(s, SESSION_MAGIC);
	s->is_drained = false;
	if (s->handshake)
		tls_handshake_step(s);
	else if (!s->is_closing && s->base.events)
		s->base.events->on_readable(s->base.ctx);
}

static void on_lower_writable(void *ctx)
{
	struct tls_session *s = ctx;

	CHECK(s, SESSION_MAGIC);
	if (!push_overflow(s))
		return;
	drive_output(s);
	if (has_overflow(s))
		return;
	if (s->is_closing) {
		tls_session_destroy(s);
		return;
	}
	if (s->is_write_short && !s->handshake) {
		s->is_write_short = false;
		if (s->base.events && s->base.events->on_writable)
			s->base.events->on_writable(s->base.ctx);
	}
}

static void on_lower_error(void *ctx, const struct err *err)
{
	struct tls_session *s = ctx;

	CHECK(s, SESSION_MAGIC);
	if (s->is_closing)
		tls_session_destroy(s);
	else if (s->handshake)
		tls_handshake_fail(s, TLS_FAILURE_CLOSED, err);
	else
		tell_error(s, session_failed(s, err));
}

static const struct byte_stream_events lower_events = {
	.on_readable = on_lower_readable,
	.on_writable = on_lower_writable,
	.on_error = on_lower_error,
};

/* --- Life ------------------------------------------------------------------------------------ */

static bool session_delivered(const struct byte_stream *stream, uint64_t *ret)
{
	return byte_stream_delivered(CONTAINER_OF(stream, const struct tls_session, base)->lower,
				     ret);
}

/* As io/conn.c: a slow line gets the rest. */
static void on_linger_timeout(struct timer *t)
{
	struct tls_session *s = CONTAINER_OF(t, struct tls_session, linger);
	uint64_t delivered = 0;

	if (byte_stream_delivered(s->lower, &delivered) &&
	    delivered - s->delivered >= LIMIT_LINGER_BYTES) {
		s->delivered = delivered;
		timer_set(&s->linger, LIMIT_LINGER_MS);
		return;
	}
	tls_session_destroy(s);
}

static void session_close(struct byte_stream *stream)
{
	struct tls_session *s = session_of(stream);

	s->base.events = NULL;
	s->wants_shutdown = true;
	deferred_cancel(&s->flush);
	deferred_cancel(&s->event);
	drive_output(s);
	if (s->failure || !has_overflow(s)) {
		tls_session_destroy(s); /* the lower stream sends the rest */
		return;
	}
	s->is_closing = true;
	(void)byte_stream_delivered(s->lower, &s->delivered);
	timer_set(&s->linger, LIMIT_LINGER_MS);
}

void tls_session_destroy(struct tls_session *s)
{
	deferred_cancel(&s->flush);
	deferred_cancel(&s->event);
	timer_stop(&s->linger);
	if (s->handshake) {
		timer_stop(&s->handshake->timeout);
		s->handshake = mem_free(s->handshake);
	}
	byte_stream_close(s->lower);
	if (s->gnutls)
		gnutls_deinit(s->gnutls);
	bufq_chunk_return(s->in);
	drop_staged(s);
	bufq_done(&s->overflow);
	tls_context_unref(s->context);
	mem_free(s->server_name);
	tls_peer_free(s->peer);
	mem_free(s->failure);
	s->magic = 0;
	mem_free(s);
}

static const struct byte_stream_ops session_ops = {
	.name = "tls",
	.read = session_read,
	.want_read = session_want_read,
	.write = session_write,
	.backlog = session_backlog,
	.shutdown = session_shutdown,
	.close = session_close,
	.delivered = session_delivered,
};

struct tls_session *tls_session_new(struct tls_context *c, struct byte_stream *lower)
{
	struct tls_session *s = mem_alloc(sizeof(*s));

	s->base = (struct byte_stream){
		.ops = &session_ops,
		.loop = lower->loop,
		.peer = lower->peer,
	};
	s->magic = SESSION_MAGIC;
	s->context = tls_context_ref(c);
	s->lower = lower;
	bufq_init(&s->overflow, OVERFLOW_MAX_BYTES);
	deferred_init(&s->flush, on_flush);
	deferred_init(&s->event, on_event);
	timer_init(&s->linger, lower->loop, on_linger_timeout);
	byte_stream_set_events(lower, &lower_events, s);
	return s;
}

void tls_session_attach(struct tls_session *s)
{
	gnutls_session_set_ptr(s->gnutls, s);
	gnutls_transport_set_ptr(s->gnutls, s);
	gnutls_transport_set_pull_function(s->gnutls, on_pull);
	gnutls_transport_set_pull_timeout_function(s->gnutls, on_pull_timeout);
	gnutls_transport_set_push_function(s->gnutls, on_push);
}

/* --- What was agreed ------------------------------------------------------------------------- */

static struct tls_session *tls_session_of(struct byte_stream *stream)
{
	BUG_IF(stream->ops != &session_ops);
	return session_of(stream);
}

struct bytes tls_alpn(struct byte_stream *stream)
{
	gnutls_datum_t name;

	if (gnutls_alpn_get_selected_protocol(tls_session_of(stream)->gnutls, &name) < 0)
		return BYTES_NONE;
	return bytes_of(name.data, name.size);
}

struct bytes tls_server_name(struct byte_stream *stream)
{
	return bytes_str(tls_session_of(stream)->server_name);
}

const char *tls_version_text(struct byte_stream *stream)
{
	const char *name = gnutls_protocol_get_name(
		gnutls_protocol_get_version(tls_session_of(stream)->gnutls));

	return name ? name : "unknown";
}

const struct tls_policy *tls_policy(struct byte_stream *stream)
{
	return tls_session_of(stream)->policy;
}

const struct tls_peer *tls_peer(struct byte_stream *stream)
{
	return tls_session_of(stream)->peer;
}
