#include "edge/listen/arrival.h"

#include "base/limits.h"
#include "base/mem.h"
#include "edge/worker.h"
#include "io/conn.h"
#include "tls/tls.h"

struct arrival {
	struct list node; /* in worker->handshakes */
	struct worker *worker;
	struct tls_handshake *handshake;
	arrival_done *done;
};

static void on_tls(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct arrival *a = ctx;
	struct worker *w = a->worker;
	arrival_done *done = a->done;

	list_remove(&a->node);
	mem_free(a);
	done(w, stream, err);
}

void arrival_start(struct worker *w, int fd, const struct address *peer, struct tls_context *tls,
		   arrival_done *done)
{
	struct arrival *a = mem_alloc(sizeof(*a));

	a->worker = w;
	a->done = done;
	list_append(&w->handshakes, &a->node);
	a->handshake =
		tls_accept(tls, conn_adopt(w->loop, fd, peer), LIMIT_TLS_HANDSHAKE_MS, on_tls, a);
}

void arrival_cancel_all(struct worker *w)
{
	for (struct list *node; (node = list_pop(&w->handshakes));) {
		struct arrival *a = LIST_ENTRY(node, struct arrival, node);
		tls_handshake_cancel(a->handshake);
		mem_free(a);
	}
}
