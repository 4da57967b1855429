/* The HTTP/1.1 connection's state, shared by its two halves: h1_server.c reads requests,
 * h1_answer.c writes responses. */
#pragma once

#include "http/h1.h"
#include "http/h1_server.h"
#include "http/pace.h"
#include "http/server_internal.h"

#define H1_SERVER_MAGIC 0x68317376

enum h1_phase {
	H1_IDLE,     /* no byte of a request has come */
	H1_HEAD,     /* a part of a head is in `input` */
	H1_EXCHANGE, /* `x` is under way */
	H1_DISCARD,  /* answered; the rest of the request's body is thrown away */
	H1_CLOSED,   /* on_closed() is due */
};

enum h1_answer {
	H1_ANSWER_NONE, /* no head yet */
	H1_ANSWER_BODY,
	H1_ANSWER_SHUT, /* raw: the answerer's side has ended, the visitor's has not */
	H1_ANSWER_LAST, /* over when `pending` has been written */
};

struct h1_server {
	struct http_server base;
	uint32_t magic;
	enum h1_phase phase;
	struct byte_stream *stream; /* owned; NULL once closed */
	struct exchange *x;         /* produced here; NULL outside H1_EXCHANGE */
	struct timer timer;
	struct deferred deferred; /* `input` is to be looked at, or on_closed() is due */
	struct pace upload, download;
	usec looked_at;  /* at their pace */
	usec active_at;  /* of the last byte read or written in an exchange */
	struct err *why; /* owned; NULL when it ended as it should */

	/* Bytes read but not understood yet: a part of a head, requests ahead of their turn, or a body
	 * without room. Holds no memory otherwise. */
	struct buf input;
	size_t scanned;    /* of a head in `input` */
	bool skipped_line; /* an empty line before the request */
	bool is_paused;    /* on_readable() came and nothing was read */
	bool has_eof;
	bool is_draining;
	bool is_leaving; /* the next head says "close" */

	/* The request being read. */
	struct h1_request_info info;
	struct h1_chunked chunked; /* when info.is_chunked */
	uint64_t request_left;     /* with a Content-Length */
	bool request_done;
	bool is_raw;        /* 101 was answered */
	size_t discarded;   /* bytes of a body that nobody wants */
	bool sent_continue; /* or none is needed */

	/* The response being written. */
	enum h1_answer answer;
	enum h1_framing framing;
	bool keep_alive;
	uint64_t response_left; /* of the length or of the current chunk */
	struct bytes pending; /* text to write first; static, in `frame` or in the exchange's arena */
	char frame[24];
};

/* Closes: what was written still leaves, the exchange is cancelled. `why` may be NULL. */
void h1_server_end(struct h1_server *h, const struct err *why);
/* The response was written whole. */
void h1_server_finish(struct h1_server *h);
/* 101 was answered: what the visitor sends from now on is raw. */
void h1_server_go_raw(struct h1_server *h);
/* No more request body will come; tells the answerer. */
void h1_server_end_request(struct h1_server *h);

/* Writes what there is and the stream takes. */
void h1_answer_pump(struct h1_server *h);
/* Answers in place of the answerer; only before a head was written. One line of text. */
void h1_answer_error(struct h1_server *h, int status, struct bytes title, struct bytes detail);
void h1_answer_continue(struct h1_server *h);
/* Any other interim head; not for HTTP/1.0 visitors, who know none. */
void h1_answer_interim(struct h1_server *h, const struct head *head);
/* An answer without an exchange. */
void h1_answer_refusal(struct h1_server *h, int status, const char *detail);
