/* What the files of the HTTP/2 wrapper share. Included by them alone.
 *
 * h2_session.c: life, reading, the library's callbacks, events. h2_stream.c: the calls on streams and
 * the way out. h2_head.c: heads between nghttp2's form and ours.
 */
#pragma once

#include <nghttp2/nghttp2.h>

#include "base/bufq.h"
#include "base/limits.h"
#include "base/list.h"
#include "http/h2_session.h"
#include "io/loop.h"

#define H2_SESSION_MAGIC 0x68327365
#define H2_STREAM_MAGIC 0x68327374

/* What a stream whose write fell short waits for. */
enum h2_wait {
	H2_WAIT_NOTHING,
	H2_WAIT_STREAM,     /* its own window */
	H2_WAIT_CONNECTION, /* the connection's window or byte stream: it is in session->blocked */
};

/* What a closed stream's frames mean: see h2_watch.c. */
#define H2_WATCHED 1024 /* streams remembered; a visitor has 128 open at once */
struct h2_watch {
	uint8_t head[9]; /* of a frame, so far */
	size_t head_len;
	uint32_t skip; /* bytes until the next frame's head */
	uint32_t last; /* highest stream the peer has opened */
	uint64_t opened[H2_WATCHED / 64], over[H2_WATCHED / 64];
};

struct h2_frame_head {
	uint8_t type;
	uint32_t length, id;
};

/* Trailers of a request whose head has not left yet. */
struct h2_late_trailers {
	struct arena arena;
	struct fields fields;
};

struct h2_stream {
	uint32_t magic;
	int32_t id;
	struct h2_session *session;    /* borrowed */
	void *ctx;                     /* borrowed, the user's */
	struct list node;              /* in session->streams or session->gone */
	struct list wait_node;         /* in session->blocked while H2_WAIT_CONNECTION */
	struct h2_late_trailers *late; /* owned */
	enum h2_wait wait;
	size_t held;       /* received, not consumed: of a shared connection window */
	uint32_t window;   /* its receive window now */
	uint32_t consumed; /* since halved_at */
	usec halved_at;    /* when half a window was last consumed; 0: never */
	uint32_t code;     /* once gone */
	bool is_announced; /* the user knows it: it gets on_stream_closed */
	bool is_open;      /* nghttp2 knows it: a client's head has left */
	bool is_gone;      /* closed; the event is on its way */
	bool has_item;     /* nghttp2 has our data provider */
	bool has_head;     /* the final response head was received (client) or given (server) */
	bool has_ended;    /* our side: the end was accepted */
	bool end_left;     /* and was sent */
	bool reset_after_end;
	bool peer_ended;
	bool reset_by_peer;
};

struct h2_session {
	uint32_t magic;
	struct loop *loop;              /* borrowed */
	struct byte_stream *stream;     /* owned */
	nghttp2_session *ng;            /* owned */
	const struct h2_events *events; /* borrowed, static */
	void *ctx;                      /* borrowed, the user's */
	struct h2_options options;

	struct list streams, gone, blocked;
	struct h2_watch watch;
	size_t stream_count; /* of `streams` */

	/* What nghttp2 gave and the byte stream did not take: one frame at most. While there is any,
	 * nothing more is taken from nghttp2. */
	struct bufq overflow;
	struct h2_stream *writer; /* whose h2_stream_write() is running */
	struct bytes slice;       /* what is left of it */
	bool slice_fin;

	bool in_receive, in_send; /* inside nghttp2: neither may be entered again */
	bool is_ready;            /* the peer's first SETTINGS came */
	bool is_draining, got_goaway;
	bool is_ending; /* `why` is set, the events follow */
	bool wake;      /* blocked streams may go on */
	struct err why;
	char complaint[128];  /* nghttp2's last error text */
	uint32_t goaway_code; /* that we sent */
	struct deferred flush, deliver;

	usec round_trip;         /* with as little else on the way as can be; 0: not known */
	usec said_at, pinged_at; /* when our SETTINGS and the last ping were sent */
	size_t grown;            /* of all streams' windows, beyond what they began with */

	usec last_heard;
	int64_t pong_ms; /* 0: no ping is out */
	struct timer pong, drain;

	usec glitches_since;
	unsigned glitches;
	unsigned small_updates; /* WINDOW_UPDATEs that did no harm by themselves */

	/* The head being received; heads do not interleave. */
	struct h2_stream *collecting; /* NULL: none, or nobody wants it */
	struct arena head_arena;
	struct head head;
	struct bytes host, protocol; /* the Host field; :protocol */
	size_t head_bytes;
	bool head_is_large;
	usec head_since; /* 0: none is being received */
};

/* --- h2_session.c --- */
void h2_session_end(struct h2_session *s, const struct err *why);
/* The stream is over: its event follows. */
void h2_stream_gone(struct h2_stream *st, uint32_t code);
/* Streams in session->blocked get on_writable later in this turn. */
void h2_session_wake(struct h2_session *s);

/* Says why to the peer, and ends. */
void h2_session_end_with(struct h2_session *s, uint32_t code, int err_code, const char *reason);
/* Counts a frame that costs us more than the peer. */
void h2_session_glitch(struct h2_session *s);

/* --- h2_watch.c --- */
void h2_watch_init(struct h2_watch *w, enum h2_role role);
/* The peer has ended or reset its side of the stream. */
void h2_watch_over(struct h2_watch *w, int32_t id);
/* How much of `data` may go to nghttp2 before the frame in *ret, whose stream is not open, has to be judged;
 * all of it when there is none. */
size_t h2_watch_next(struct h2_session *s, struct bytes data, struct h2_frame_head *ret);
void h2_watch_judge(struct h2_session *s, const struct h2_frame_head *head);

/* --- h2_stream.c --- */
/* Moves what nghttp2 has ready to the byte stream; later when it may not be entered now. */
void h2_session_pump(struct h2_session *s);
/* True when nothing is left in the overflow. */
bool h2_session_drain_overflow(struct h2_session *s);
void h2_stream_block(struct h2_stream *st, enum h2_wait what);
void h2_stream_unblock(struct h2_stream *st);
/* Lets nghttp2 ask the stream for data. */
void h2_stream_activate(struct h2_stream *st);
/* Answers a request that the user never sees. */
void h2_stream_refuse(struct h2_stream *st, int status);
void h2_stream_send_late_trailers(struct h2_stream *st);
ssize_t h2_stream_give(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
		       nghttp2_data_source *source, void *user);
int h2_stream_send_frame(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t len,
			 nghttp2_data_source *source, void *user);

/* --- h2_head.c --- */
struct h2_nva {
	nghttp2_nv list[LIMIT_HEAD_FIELDS + 8];
	size_t count;
	char status[8];
	char length[24];
};
void h2_nva_request(struct h2_nva *out, const struct head *head, bool extended_connect);
void h2_nva_response(struct h2_nva *out, const struct head *head);
void h2_nva_trailers(struct h2_nva *out, const struct fields *trailers);

void h2_head_begin(struct h2_session *s, struct h2_stream *st);
void h2_head_add(struct h2_session *s, struct bytes name, struct bytes value);
void h2_head_drop(struct h2_session *s);
/* The same rules for HTTP/3's: `host` is the Host field, `protocol` that of an extended CONNECT. As the next. */
int h2_request_finish(struct head *head, struct arena *arena, struct bytes host,
		      struct bytes protocol, bool fin);
/* Completes session->head. 0, a status to refuse the request with, or E_PROTOCOL. */
int h2_head_finish_request(struct h2_session *s, bool fin);
void h2_head_finish_response(struct h2_session *s, bool fin);
