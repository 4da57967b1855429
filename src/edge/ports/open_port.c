#include "edge/ports/open_port.h"

#include <unistd.h>

#include "base/mem.h"
#include "edge/ports/port_tcp.h"
#include "edge/ports/port_udp.h"
#include "edge/worker.h"
#include "io/conn.h"

static void open_port_free(struct open_port *o)
{
	list_remove(&o->node);
	listener_free(o->listener);
	port_udp_free(o->udp);
	port_unref(o->port);
	mem_free(o);
}

static void on_accept(void *ctx, int fd, const struct address *peer)
{
	struct open_port *o = ctx;

	port_tcp_accept(o->worker, o->port, fd, peer);
}

struct posted {
	struct worker *worker;
	struct port *port; /* counted; NULL: close */
	uint64_t generation;
	int fd;
};

static void on_open(void *arg)
{
	struct posted *p = arg;
	struct worker *w = p->worker;

	if (w->is_draining) {
		close(p->fd); /* allowed: a socket that never reached a loop */
		port_unref(p->port);
	} else {
		struct open_port *o = mem_alloc(sizeof(*o));
		o->worker = w;
		o->port = p->port;
		o->generation = p->generation;
		if (o->port->protocol == PORT_UDP)
			o->udp = port_udp_new(w, o->port, p->fd);
		else
			o->listener = listener_new(w->loop, p->fd, on_accept, o);
		list_append(&w->open_ports, &o->node);
	}
	mem_free(p);
}

static void on_close(void *arg)
{
	struct posted *p = arg;

	LIST_FOR_EACH(node, &p->worker->open_ports) {
		struct open_port *o = LIST_ENTRY(node, struct open_port, node);
		if (o->generation == p->generation)
			open_port_free(o);
	}
	mem_free(p);
}

void open_port_post(struct worker *w, struct port *port, uint64_t generation, int fd)
{
	struct posted *p = mem_alloc(sizeof(*p));

	*p = (struct posted){ w, port, generation, fd };
	loop_post(w->loop, on_open, p);
}

void open_port_post_close(struct worker *w, uint64_t generation)
{
	struct posted *p = mem_alloc(sizeof(*p));

	*p = (struct posted){ .worker = w, .generation = generation };
	loop_post(w->loop, on_close, p);
}

void open_ports_drain(struct worker *w)
{
	LIST_FOR_EACH(node, &w->open_ports)
		open_port_free(LIST_ENTRY(node, struct open_port, node));
}

void open_ports_abort(struct worker *w)
{
	open_ports_drain(w);
	port_tcp_close_all(w);
}
