/* What a worker cannot know and asks the control thread: who a session belongs to, and a signed statement for a
 * service.
 *
 * The asker makes a question, gate_ask() or the like posts it, the control thread fills the answer in, and
 * answered() comes on the asker's loop, exactly once, also while the edge stops.
 */
#pragma once

#include "edge/access/identity.h"
#include "io/loop.h"

struct control;
struct control_gateway;

enum access_question_kind {
	QUESTION_SESSION, /* subject: a session's id; also one whose time is over, if nobody ended it */
	QUESTION_ASSERTION, /* subject: a service token's id; app: the application's */
	QUESTION_DEVICE_ASSERTION, /* subject: the common name of a client certificate; app: the application's */
};

struct access_question {
	enum access_question_kind kind;
	struct loop *loop;                /* the asker's */
	char *subject, *app;              /* owned; NULL where there is none */
	int result;                       /* 0, or E_NOT_FOUND; other failures are ours */
	struct access_identity *identity; /* counted; QUESTION_SESSION */
	char *assertion;                  /* owned; of both kinds of them */
	usec expires_at;                  /* of the assertion; wall time */
	void (*answered)(struct access_question *q);
	void *asker;
	struct control_gateway *gateway; /* set by access_question_ask() */
};

struct access_question *access_question_new(enum access_question_kind kind, struct loop *loop,
					    void (*answered)(struct access_question *q),
					    void *asker);
struct access_question *access_question_free(struct access_question *q);
/* Any thread. */
void access_question_ask(struct access_question *q, struct control_gateway *g);

/* --- On the control thread ------------------------------------------------------------------- */

/* Answers now or later, with access_question_answer(). */
void access_desk_question(struct control *c, struct access_question *q);
/* Sends it back. */
void access_question_answer(struct access_question *q, int result);
