/* The control stream: how a connector registers its session, over any two-way byte channel.
 *
 * A pure state machine, both ends: no socket, no timer, no thread of its own. A driver (h2/, later
 * quic/) feeds it what the channel delivers and sends what control_output() holds. On the wire it is
 * Cap'n Proto RPC with the connector as the caller (docs/wire.md; PROTOCOL.md §3.5, §3.6).
 *
 * How a driver uses it, both sides:
 *
 *	c = control_new(side, &events, ctx, registration);
 *	bytes arrive:        rc = control_feed(c, bytes, &err);
 *	after every call:    while ((b = control_output(c)).len) { n = send(b); control_sent(c, n); }
 *	                     if (control_is_done(c) && nothing left to send) end our side of the channel;
 *	rc < 0:              send what is left if possible (an Abort may be in it), then close;
 *	channel ends:        control_free(c);
 *
 * Events arrive only from inside control_feed(), in the order of the messages, and borrow their
 * arguments until they return. An event may call any function here but control_free() and
 * control_feed(). Nothing arrives after a failed control_feed(), after on_ended, or once
 * control_is_done().
 * The session interface (transport.h) promises its users "no event inside a call"; that holds for a
 * driver as long as it feeds from its own read path.
 *
 * Memory is bounded: one message in (LIMIT_RPC_UNREGISTERED_BYTES until registered, LIMIT_RPC_BYTES
 * afterwards), LIMIT_RPC_ANSWERS questions, and a bounded output. A peer that asks without reading
 * our answers makes control_feed() fail with E_LIMIT. One thread.
 */
#pragma once

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "transport/transport.h"

struct control;

/* Any member may be NULL: the event is then dropped (an edge without on_register refuses everybody). */
struct control_events {
	/* Edge: the connector asks to register. Once per stream unless the first was refused. Copy what
	 * must outlive the call, the secret included. Answer with control_reply(), in this call or later;
	 * stock connectors give up after 5 s. The field values are bounded (LIMIT_FEATURES,
	 * LIMIT_FEATURE_BYTES, CONTROL_*_BYTES) but not judged: account, tunnel and secret are the peer's
	 * claim. */
	void (*on_register)(void *ctx, const struct registration *r);
	/* Edge: the connector leaves: send it nothing new. The answer is queued after this returns. At
	 * most once. */
	void (*on_unregister)(void *ctx);
	/* Edge: the connector's ingress, JSON text as sent, not validated. Only after it registered. */
	void (*on_local_config)(void *ctx, struct bytes json);
	/* Connector: the edge's word, once. A refused registration also ends the conversation:
	 * control_is_done() is true when this is called. */
	void (*on_registered)(void *ctx, const struct registered *r);
	/* Connector: the edge knows that we leave (or refused to know: it makes no difference). Once.
	 * control_is_done() is true when this is called. */
	void (*on_unregistered)(void *ctx);
	/* Both: the peer ended the conversation with an Abort; its reason, for a log line. Once, last.
	 * For an edge this is the normal end after on_unregister and after a refusal. */
	void (*on_ended)(void *ctx, struct bytes reason);
};

/* What an edge accepts in one registration, beyond the two limits of base/limits.h. Real ones are 32
 * bytes each; the token format allows more. */
#define CONTROL_ACCOUNT_BYTES 128
#define CONTROL_SECRET_BYTES 256

/* `events` is borrowed for life, `registration` (connector only, NULL for an edge) until return.
 * A connector's first output (Bootstrap and registerConnection) is ready at once. Never NULL.
 * The registration must respect the bounds above; what is too long makes control_output() empty
 * and control_is_done() true from the start (the caller validated its token and feature list, so
 * that is a bug of ours, not of a peer). */
struct control *control_new(enum session_side side, const struct control_events *events, void *ctx,
			    const struct registration *registration);
/* NULL is fine; returns NULL. Wipes what may hold a secret. No event. */
struct control *control_free(struct control *c);

/* Takes all of `data`, split anywhere. 0, or E_PROTOCOL (not Cap'n Proto, or a breach of the RPC
 * rules), E_LIMIT (too large, too much asked). After a failure the stream is dead: every further call
 * of control_feed() fails likewise; an Abort with the reason is in the output. Bytes that come
 * after control_is_done() are ignored. */
int control_feed(struct control *c, struct bytes data, struct err *err) MUST_USE;

/* What is to be sent next; empty when there is nothing. Valid until the next call on `c`. */
struct bytes control_output(const struct control *c);
/* The first `n` bytes of control_output() have been sent or copied. */
void control_sent(struct control *c, size_t n);
/* Our side of the conversation is over: end the channel once the output is sent. On an edge true only
 * after the peer's Abort or a failure. */
bool control_is_done(const struct control *c);

/* --- Edge ------------------------------------------------------------------------------------ */

/* Answers on_register. False when nobody waits for it any more (the connector gave up, or the stream
 * ended); nothing is sent then. After a refusal (!r->ok) the driver sends the output and closes the
 * whole connection: a stock connector would keep it open for ever. */
bool control_reply(struct control *c, const struct registered *r);
/* Registered and neither unregistered nor ended. */
bool control_is_registered(const struct control *c);

/* --- Connector ------------------------------------------------------------------------------- */

/* updateLocalConfiguration; the edge's answer does not matter. 0; E_INVALID before on_registered(ok)
 * and after control_unregister(); E_LIMIT when the text is larger than an edge accepts. */
int control_send_local_config(struct control *c, struct bytes json, struct err *err) MUST_USE;
/* unregisterConnection, once; then on_unregistered. Before the registration was answered, and when the
 * output is full, it is control_shutdown(). */
void control_unregister(struct control *c);
/* The orderly end without waiting for anybody: Finish for what is open, Release, Abort. For deadlines.
 * Idempotent; no event follows. Also fine on an edge: an Abort. */
void control_shutdown(struct control *c);
