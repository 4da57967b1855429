#include "edge/listen/announced.h"

#include <stdatomic.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/listen/proxy_header.h"
#include "edge/worker.h"
#include "io/conn.h"
#include "io/network.h"

#define COMPONENT "edge/listen"

#define HEADERS(result_)                                                                     \
	{                                                                                    \
		.name = "adit_edge_proxy_headers_total", .labels = "result=\"" result_ "\"", \
		.help = "Connections of load balancers by their PROXY header"                \
	}
struct metric metric_proxy_headers = HEADERS("visitor");
struct metric metric_proxy_headers_local = HEADERS("local");
struct metric metric_proxy_headers_bad = HEADERS("bad");

struct announced {
	struct list node; /* in worker->announced */
	struct worker *worker;
	struct byte_stream *stream; /* owned */
	announced_done *done;
	struct timer timer;
	size_t len;
	uint8_t in[PROXY_HEADER_MAX];
};

bool announced_is_due(const struct worker *w, const struct address *peer)
{
	struct network one;

	if (!w->limits.balancer_count || !network_of_address(peer, &one))
		return false;
	for (size_t i = 0; i < w->limits.balancer_count; i++)
		if (network_holds(&w->limits.balancers[i], &one))
			return true;
	return false;
}

static struct byte_stream *end(struct announced *a)
{
	struct byte_stream *stream = a->stream;

	timer_stop(&a->timer);
	list_remove(&a->node);
	byte_stream_set_events(stream, NULL, NULL);
	mem_free(a);
	return stream;
}

/* A balancer that was not told to send headers sends none with any connection: one line in ten seconds. */
static void refuse(struct announced *a, const struct err *err)
{
	static _Atomic usec said_at;
	usec now = clock_now(), last = atomic_load_explicit(&said_at, memory_order_relaxed);
	char ip[ADDRESS_TEXT_SIZE];
	struct worker *w = a->worker;

	metric_add(&metric_proxy_headers_bad, 1);
	if ((!last || now - last >= LIMIT_VISITOR_LOG_MS * USEC_PER_MSEC) &&
	    atomic_compare_exchange_strong(&said_at, &last, now))
		log_warn(COMPONENT,
			 "a connection without the PROXY header that proxy-protocol-from asks for",
			 LOG_STR("from", address_ip_text(a->stream->peer, ip)),
			 LOG_STR("error", err->text));
	byte_stream_close(end(a));
	worker_check_drained(w);
}

static void take(struct announced *a, const struct proxy_header *h)
{
	struct worker *w = a->worker;
	announced_done *done = a->done;
	struct byte_stream *stream = end(a);

	metric_add(h->has_visitor ? &metric_proxy_headers : &metric_proxy_headers_local, 1);
	if (h->has_visitor)
		conn_set_peer(stream, &h->visitor);
	byte_stream_want_read(stream);
	done(w, stream);
}

static void on_readable(void *ctx)
{
	struct announced *a = ctx;
	struct proxy_header h;
	struct err err = { 0 };
	size_t missing;
	int rc;

	while ((rc = proxy_header_parse(bytes_of(a->in, a->len), &h, &missing, &err)) == E_AGAIN) {
		ssize_t n = byte_stream_read(a->stream, a->in + a->len, missing, &err);
		if (n == E_AGAIN)
			return;
		if (n == 0)
			err_set(&err, E_CLOSED, "the connection ended before its header did");
		if (n <= 0) {
			refuse(a, &err);
			return;
		}
		a->len += (size_t)n;
	}
	if (rc < 0)
		refuse(a, &err);
	else
		take(a, &h);
}

static void on_error(void *ctx, const struct err *err)
{
	refuse(ctx, err);
}

static const struct byte_stream_events events = {
	.on_readable = on_readable,
	.on_error = on_error,
};

static void on_timeout(struct timer *t)
{
	struct err err;

	err_set(&err, E_TIMEOUT, "no PROXY header in time");
	refuse(CONTAINER_OF(t, struct announced, timer), &err);
}

void announced_start(struct worker *w, int fd, const struct address *peer, announced_done *done)
{
	struct announced *a = mem_alloc(sizeof(*a));

	a->worker = w;
	a->done = done;
	a->stream = conn_adopt(w->loop, fd, peer);
	byte_stream_set_events(a->stream, &events, a);
	timer_init(&a->timer, w->loop, on_timeout);
	timer_set(&a->timer,
		  w->limits.handshake_ms ? w->limits.handshake_ms : LIMIT_TLS_HANDSHAKE_MS);
	list_append(&w->announced, &a->node);
}

void announced_cancel_all(struct worker *w)
{
	LIST_FOR_EACH(node, &w->announced)
		byte_stream_close(end(LIST_ENTRY(node, struct announced, node)));
}
