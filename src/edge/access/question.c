#include "edge/access/question.h"

#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "edge/control/gateway.h"

struct access_question *access_question_new(enum access_question_kind kind, struct loop *loop,
					    void (*answered)(struct access_question *q), void *asker)
{
	struct access_question *q = mem_alloc(sizeof(*q));

	q->kind = kind;
	q->loop = loop;
	q->answered = answered;
	q->asker = asker;
	return q;
}

struct access_question *access_question_free(struct access_question *q)
{
	if (!q)
		return NULL;
	mem_free(q->subject);
	mem_free(q->app);
	if (q->assertion)
		secret_wipe(q->assertion, strlen(q->assertion));
	mem_free(q->assertion);
	access_identity_unref(q->identity);
	return mem_free(q);
}

static void deliver(void *arg)
{
	struct access_question *q = arg;

	q->answered(q);
}

void access_question_answer(struct access_question *q, int result)
{
	q->result = result;
	loop_post(q->loop, deliver, q);
}

static void on_control(struct control *c, void *arg)
{
	if (c)
		access_desk_question(c, arg);
	else
		access_question_answer(arg, E_CANCELLED);
}

void access_question_ask(struct access_question *q, struct control_gateway *g)
{
	control_gateway_post(g, on_control, q);
}
