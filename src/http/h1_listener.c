#include "http/h1_listener.h"

#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "http/h1_server.h"
#include "io/conn.h"

struct h1_listener {
	struct loop *loop;
	struct listener *listener; /* NULL once leaving */
	const struct handler_chain *chain;
	struct list connections;
	size_t count, max;
	bool is_closing;
};

struct connection {
	struct list node;
	struct h1_listener *owner;
	struct http_server *server;
};

static void free_if_done(struct h1_listener *l)
{
	if (l->is_closing && l->count == 0)
		mem_free(l);
}

static void on_closed(void *ctx, const struct err *why)
{
	struct connection *c = ctx;
	struct h1_listener *l = c->owner;

	(void)why;
	list_remove(&c->node);
	mem_free(c);
	l->count--;
	free_if_done(l);
}

static void on_accept(void *ctx, int fd, const struct address *peer)
{
	struct h1_listener *l = ctx;

	if (l->count >= l->max) {
		close(fd); /* allowed: a socket that never reached a loop */
		return;
	}
	struct connection *c = mem_alloc(sizeof(*c));
	const struct http_server_options options = {
		.chain = l->chain,
		.scheme = BYTES_LIT("http"),
		.ctx = c,
		.on_closed = on_closed,
	};
	c->owner = l;
	list_append(&l->connections, &c->node);
	l->count++;
	c->server = h1_server_new(conn_adopt(l->loop, fd, peer), &options);
}

struct h1_listener *h1_listener_new(struct loop *loop, int fd, const struct handler_chain *chain,
				    size_t max_connections)
{
	struct h1_listener *l = mem_alloc(sizeof(*l));

	l->loop = loop;
	l->chain = chain;
	l->max = max_connections;
	list_init(&l->connections);
	l->listener = listener_new(loop, fd, on_accept, l);
	return l;
}

void h1_listener_leave(struct h1_listener *l)
{
	l->listener = listener_free(l->listener);
	LIST_FOR_EACH(node, &l->connections)
		http_server_leave(LIST_ENTRY(node, struct connection, node)->server);
}

struct h1_listener *h1_listener_close(struct h1_listener *l)
{
	if (!l)
		return NULL;
	l->listener = listener_free(l->listener);
	l->is_closing = true;
	LIST_FOR_EACH(node, &l->connections)
		http_server_close(LIST_ENTRY(node, struct connection, node)->server);
	free_if_done(l);
	return NULL;
}
