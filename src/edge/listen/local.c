#include "edge/listen/local.h"

#include <unistd.h>

#include "base/bufq.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "edge/control/gateway.h"
#include "edge/edge_config.h"
#include "edge/listen/sockets.h"
#include "http/h1_listener.h"
#include "io/conn.h"

#define COMPONENT "edge"

/* All metrics of an edge are some 10 KiB. */
#define METRICS_BYTES (1024 * 1024)
/* Operators and scrapers, not visitors. */
#define MAX_CONNECTIONS 64

struct local_listeners {
	struct loop *loop;
	struct control_gateway *gateway;
	struct sockets *sockets;        /* borrowed */
	struct h1_listener **listeners; /* owned */
	size_t listener_count;
	struct handler_chain admin, metrics;
	char *admin_path; /* owned: removed at the end */
	bool is_ready;
};

/* --- Handlers -------------------------------------------------------------------------------- */

static enum handled admin_handle(struct exchange *x, void *ctx)
{
	struct local_listeners *l = ctx;

	return control_gateway_handle(x, l->gateway, true);
}

static enum handled metrics_handle(struct exchange *x, void *ctx)
{
	const struct local_listeners *l = ctx;
	struct bytes path = bytes_first(x->request.path, bytes_index(x->request.path, '?'));
	struct bytes plain = BYTES_LIT("text/plain; charset=utf-8");

	if (bytes_eq(path, BYTES_LIT("/ready"))) {
		exchange_answer_whole(x, l->is_ready ? 200 : 503, plain,
				      l->is_ready ? BYTES_LIT("ready\n") : BYTES_LIT("not ready\n"));
	} else if (bytes_eq(path, BYTES_LIT("/metrics"))) {
		struct buf out;
		buf_init(&out, METRICS_BYTES);
		int ret = metrics_print(&out);
		ret |= buf_printf(&out,
				  "# HELP adit_edge_exchanges Requests under way now\n"
				  "# TYPE adit_edge_exchanges gauge\nadit_edge_exchanges %ld\n"
				  "# HELP adit_edge_buffer_bytes Memory of bodies on their way\n"
				  "# TYPE adit_edge_buffer_bytes gauge\n"
				  "adit_edge_buffer_bytes %lld\n",
				  exchange_live_count() - 1 /* but for this one */,
				  (long long)bufq_memory());
		if (ret < 0)
			buf_clear(&out);
		exchange_answer_whole(x, ret < 0 ? 500 : 200,
				      BYTES_LIT("text/plain; version=0.0.4; charset=utf-8"),
				      buf_bytes(&out));
		buf_done(&out);
	} else {
		exchange_answer_whole(x, 404, plain,
				      BYTES_LIT("There are /metrics and /ready here.\n"));
	}
	return HANDLED_TAKEN;
}

static const struct handler admin_handlers[] = { { "admin", admin_handle } };
static const struct handler metrics_handlers[] = { { "metrics", metrics_handle } };

/* --- Life ------------------------------------------------------------------------------------ */

static int listen_on(struct local_listeners *l, const char *text, const char *what,
		     const struct handler_chain *chain, struct err *err)
{
	char shown[ADDRESS_TEXT_SIZE];
	struct address address;
	struct socket_group *group = sockets_listen(l->sockets, what, text, false, 1, &address, err);
	int fd = group ? sockets_dup(group, 0, err) : -1;

	if (fd < 0)
		return err_wrap(err, "%s", what);
	l->listeners = mem_resize(l->listeners, (l->listener_count + 1) * sizeof(l->listeners[0]));
	l->listeners[l->listener_count++] = h1_listener_new(l->loop, fd, chain, MAX_CONNECTIONS);
	log_info(COMPONENT, "listening", LOG_STR("for", what),
		 LOG_STR("address", address_text(&address, shown)));
	return 0;
}

static int listen_all(struct local_listeners *l, const struct edge_config *cfg, struct err *err)
{
	for (size_t i = 0; i < cfg->metrics.count; i++)
		if (listen_on(l, cfg->metrics.list[i], "metrics", &l->metrics, err) < 0)
			return err->code;
	char *text = mem_printf("unix:%s", cfg->admin_socket);
	int ret = listen_on(l, text, "admin", &l->admin, err);
	mem_free(text);
	if (ret < 0)
		return err->code;
	l->admin_path = mem_strdup(cfg->admin_socket);
	return 0;
}

struct local_listeners *local_listeners_new(struct loop *loop, struct control_gateway *gateway,
					    struct sockets *sockets, const struct edge_config *cfg,
					    struct err *err)
{
	struct local_listeners *l = mem_alloc(sizeof(*l));

	l->loop = loop;
	l->gateway = gateway;
	l->sockets = sockets;
	l->admin = (struct handler_chain){ .handlers = admin_handlers, .count = 1, .ctx = l };
	l->metrics = (struct handler_chain){ .handlers = metrics_handlers, .count = 1, .ctx = l };
	if (listen_all(l, cfg, err) < 0) {
		local_listeners_close(l);
		return local_listeners_free(l);
	}
	return l;
}

struct local_listeners *local_listeners_free(struct local_listeners *l)
{
	if (!l)
		return NULL;
	mem_free(l->listeners);
	mem_free(l->admin_path);
	return mem_free(l);
}

void local_listeners_leave(struct local_listeners *l)
{
	for (size_t i = 0; i < l->listener_count; i++)
		h1_listener_leave(l->listeners[i]);
	l->admin_path = mem_free(l->admin_path);
}

void local_listeners_close(struct local_listeners *l)
{
	for (size_t i = 0; i < l->listener_count; i++)
		h1_listener_close(l->listeners[i]);
	l->listener_count = 0;
	if (l->admin_path)
		unlink(l->admin_path);
}

void local_listeners_set_ready(struct local_listeners *l, bool is_ready)
{
	l->is_ready = is_ready;
}
