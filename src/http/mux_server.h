/* Requests of a connection that carries many at once: what HTTP/2 and HTTP/3 have in common. h2_server.c and h3_server.c
 * put it on their sessions: they pass events on, and carry out what struct mux_protocol names.
 */
#pragma once

#include "base/clock.h"
#include "base/list.h"
#include "http/pace.h"
#include "http/server_internal.h"

/* Why a stream or a session is ended from here; the protocol has a code for each. */
enum mux_end { MUX_DONE, MUX_BROKEN, MUX_TOO_SLOW };

/* As the calls of h2_session.h. */
struct mux_protocol {
	struct http_server_ops ops; /* drain, leave and close are mux_server_…() */
	size_t body_capacity;       /* of a request: the largest window of a stream, bytes */
	void (*set_ctx)(void *stream, void *ctx);
	void (*respond)(void *stream, const struct head *head, bool fin);
	size_t (*write)(void *stream, struct bytes data, bool fin);
	void (*finish)(void *stream, const struct fields *trailers);
	void (*consume)(void *stream, size_t n);
	void (*reset)(void *stream, enum mux_end why);
	usec (*head_since)(const void *session);
	/* Whether something waits for the visitor to read, and all bytes it has ever taken. */
	bool (*waits_for_reader)(void *session, uint64_t *ret_delivered);
	/* A first exchange began, or the last one ended. May be NULL. */
	void (*on_busy)(void *session, bool is_busy);
	void (*drain)(void *session);
	void (*close)(void *session, enum mux_end why, const char *reason);
};

struct mux_server {
	struct http_server base;
	uint32_t magic;
	const struct mux_protocol *protocol; /* static */
	void *session;                       /* owned until its on_closed; NULL: to be set */
	struct loop *loop;                   /* borrowed */
	struct list visits;
	struct timer timer;
	usec idle_since; /* without a visit */
	usec drained_at;
	struct pace download;
	usec looked_at; /* at the pace of everybody */
	bool is_ready;  /* a request can come */
	bool is_draining;
};

/* The context of a stream: its request, and the exchange that it became. */
struct mux_visit;

/* Waits for mux_server_ready() as long as for a head. */
struct mux_server *mux_server_new(const struct mux_protocol *protocol, struct loop *loop,
				  const struct http_server_options *options);
void mux_server_ready(struct mux_server *m);
/* Sets the stream's context, of which the others are. */
void mux_server_request(struct mux_server *m, void *stream, const struct head *head, bool fin);
void mux_visit_data(struct mux_visit *v, struct bytes data, bool fin);
void mux_visit_trailers(struct mux_visit *v, const struct fields *trailers);
void mux_visit_writable(struct mux_visit *v);
void mux_visit_closed(struct mux_visit *v);
/* The session is over, and the server with it. */
void mux_server_closed(struct mux_server *m, const struct err *why);

/* For struct http_server_ops. */
void mux_server_drain(struct http_server *s);
void mux_server_close(struct http_server *s);
