#include "edge/listen/arrival.h"

#include "base/limits.h"
#include "base/mem.h"
#include "edge/listen/allowance.h"
#include "edge/worker.h"
#include "io/conn.h"
#include "tls/tls.h"

struct arrival {
	struct list node; /* in worker->handshakes */
	struct worker *worker;
	struct tls_handshake *handshake;
	struct allowance *allowance; /* owned */
	arrival_done *done;
};

static void on_tls(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct arrival *a = ctx;
	struct worker *w = a->worker;
	arrival_done *done = a->done;
	struct allowance *allowance = a->allowance;

	list_remove(&a->node);
	mem_free(a);
	if (!stream)
		allowance = allowance_leave(allowance);
	done(w, stream, allowance, err);
}

void arrival_start(struct worker *w, int fd, const struct address *peer, struct tls_context *tls,
		   struct allowance *allowance, arrival_done *done)
{
	arrival_start_stream(w, conn_adopt(w->loop, fd, peer), tls, allowance, done);
}

void arrival_start_stream(struct worker *w, struct byte_stream *stream, struct tls_context *tls,
			  struct allowance *allowance, arrival_done *done)
{
	struct arrival *a = mem_alloc(sizeof(*a));

	a->worker = w;
	a->done = done;
	a->allowance = allowance;
	list_append(&w->handshakes, &a->node);
	a->handshake =
		tls_accept(tls, stream,
			   w->limits.handshake_ms ? w->limits.handshake_ms : LIMIT_TLS_HANDSHAKE_MS,
			   on_tls, a);
}

void arrival_cancel_all(struct worker *w)
{
	for (struct list *node; (node = list_pop(&w->handshakes));) {
		struct arrival *a = LIST_ENTRY(node, struct arrival, node);
		tls_handshake_cancel(a->handshake);
		allowance_leave(a->allowance);
		mem_free(a);
	}
}
