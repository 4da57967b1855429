#include "edge/ports/ports.h"

#include <stdio.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/edge_config.h"
#include "edge/ports/open_port.h"
#include "edge/snapshot.h"
#include "edge/worker.h"
#include "io/conn.h"
#include "io/udp.h"

#define COMPONENT "edge/ports"

struct entry {
	struct list node;
	struct ports *ports;
	enum port_protocol protocol;
	uint16_t number;
	struct port *port;            /* counted */
	uint64_t generation;          /* of its sockets; 0: it is not open */
	struct ports_socket *sockets; /* owned array; the descriptors are the workers' */
	size_t socket_count;
	char error[PORTS_ERROR_SIZE];
	struct timer retry;
	bool is_wanted, is_guarded; /* by the latest snapshot */
};

struct ports {
	struct loop *loop;
	const struct edge_config *cfg;
	struct worker *const *workers;
	size_t worker_count;
	struct list entries;
	uint64_t generations;
	bool is_draining;
	struct ports_socket *inherited; /* owned array, with their descriptors */
	size_t inherited_count;
};

static struct port_allow allow_of(const struct edge_config *cfg)
{
	return (struct port_allow){ (const char *const *)cfg->ports_allow.list,
				    cfg->ports_allow.count };
}

/* --- Sockets ------------------------------------------------------------------------------------ */

static int open_socket(enum port_protocol protocol, struct address *address, bool shared,
		       struct err *err)
{
	return protocol == PORT_UDP ? udp_open(address, shared, err)
				    : listen_open(address, shared, err);
}

/* A descriptor that came with us; -1: there is none (any more). */
static int take_inherited(struct ports *p, enum port_protocol protocol,
			  const struct address *address)
{
	for (size_t i = 0; i < p->inherited_count; i++) {
		struct ports_socket *s = &p->inherited[i];
		if (s->fd >= 0 && s->protocol == protocol && s->address.len == address->len &&
		    memcmp(&s->address.any, &address->any, address->len) == 0) {
			int fd = s->fd;
			s->fd = -1;
			return fd;
		}
	}
	return -1;
}

static void drop_inherited(struct ports *p)
{
	for (size_t i = 0; i < p->inherited_count; i++)
		if (p->inherited[i].fd >= 0)
			close(p->inherited[i].fd); /* allowed: it never reached a loop */
	p->inherited = mem_free(p->inherited);
	p->inherited_count = 0;
}

static void add_socket(struct entry *e, const struct address *address, size_t worker, int fd)
{
	e->sockets = mem_resize(e->sockets, (e->socket_count + 1) * sizeof(*e->sockets));
	e->sockets[e->socket_count++] = (struct ports_socket){ e->protocol, *address, worker, fd };
}

/* One for each worker. */
static int open_address(struct entry *e, struct address *address, struct err *err)
{
	struct ports *p = e->ports;
	int first = take_inherited(p, e->protocol, address);

	if (first < 0) {
		/* Sockets that share a port do so with any other program of the same user, silently: one
		 * that does not share tells whether somebody is there already. */
		int probe = open_socket(e->protocol, address, false, err);
		if (probe < 0)
			return probe;
		close(probe); /* allowed: it never reached a loop */
	}
	for (size_t i = 0; i < p->worker_count; i++) {
		int fd = i == 0 ? first : take_inherited(p, e->protocol, address);
		if (fd < 0)
			fd = open_socket(e->protocol, address, true, err);
		if (fd < 0)
			return fd;
		add_socket(e, address, i, fd);
	}
	return 0;
}

static bool has_ipv4(const struct edge_texts *bind)
{
	struct address address;

	for (size_t i = 0; i < bind->count; i++)
		if (address_from_ip(bytes_str(bind->list[i]), 0, &address) &&
		    address.any.sa_family == AF_INET)
			return true;
	return false;
}

static int open_all(struct entry *e, struct err *err)
{
	const struct edge_texts *bind = &e->ports->cfg->ports_bind;
	struct address address;
	int r = 0;

	if (bind->count == 0) {
		char *text = mem_printf(":%u", e->number);
		r = address_parse(bytes_str(text), &address, err);
		mem_free(text);
		return r < 0 ? r : open_address(e, &address, err);
	}
	for (size_t i = 0; i < bind->count && r == 0; i++) {
		if (!address_from_ip(bytes_str(bind->list[i]), e->number, &address))
			return err_set(err, E_INVALID, "%s is no IP address", bind->list[i]);
		address.is_v6only = has_ipv4(bind);
		r = open_address(e, &address, err);
	}
	return r;
}

static void forget_sockets(struct entry *e)
{
	e->sockets = mem_free(e->sockets);
	e->socket_count = 0;
}

static void entry_fail(struct entry *e, const char *error)
{
	/* Once, not every ten seconds. */
	if (strcmp(e->error, error) != 0)
		log_error(COMPONENT, "a public port is not open",
			  LOG_STR("protocol", port_protocol_name(e->protocol)),
			  LOG_INT("port", e->number), LOG_STR("error", error));
	(void)snprintf(e->error, sizeof(e->error), "%s", error);
	timer_set(&e->retry, LIMIT_PORT_RETRY_MS);
}

static void entry_open(struct entry *e)
{
	const struct port_allow allow = allow_of(e->ports->cfg);
	struct err err = { 0 };

	if (e->is_guarded) {
		entry_fail(e,
			   "Access guards the hostname it leads to, and a port cannot ask who comes: "
			   "people use \"adit access tcp\"");
		return;
	}
	if (!port_allow_has(&allow, e->protocol, e->number)) {
		entry_fail(e, "not allowed by ports-allow of this edge");
		return;
	}
	if (open_all(e, &err) < 0) {
		for (size_t i = 0; i < e->socket_count; i++)
			close(e->sockets[i].fd); /* allowed: it never reached a loop */
		forget_sockets(e);
		char *error = mem_printf("cannot listen: %s", err.text);
		entry_fail(e, error);
		mem_free(error);
		return;
	}
	e->generation = ++e->ports->generations;
	for (size_t i = 0; i < e->socket_count; i++)
		open_port_post(e->ports->workers[e->sockets[i].worker], port_ref(e->port),
			       e->generation, e->sockets[i].fd);
	e->error[0] = 0;
	log_info(COMPONENT, "a public port is open",
		 LOG_STR("protocol", port_protocol_name(e->protocol)), LOG_INT("port", e->number));
}

static void entry_close(struct entry *e)
{
	if (e->generation == 0)
		return;
	for (size_t i = 0; i < e->ports->worker_count; i++)
		open_port_post_close(e->ports->workers[i], e->generation);
	e->generation = 0;
	forget_sockets(e);
}

static void on_retry(struct timer *t)
{
	entry_open(CONTAINER_OF(t, struct entry, retry));
}

/* --- The table ---------------------------------------------------------------------------------- */

static struct entry *entry_of(const struct ports *p, enum port_protocol protocol, uint16_t number)
{
	LIST_FOR_EACH(node, (struct list *)(uintptr_t)&p->entries) {
		struct entry *e = LIST_ENTRY(node, struct entry, node);
		if (e->protocol == protocol && e->number == number)
			return e;
	}
	return NULL;
}

static struct entry *entry_new(struct ports *p, const struct snapshot_port *route)
{
	struct entry *e = mem_alloc(sizeof(*e));

	e->ports = p;
	e->protocol = route->protocol;
	e->number = route->port;
	e->port = port_new(route->protocol, route->port);
	timer_init(&e->retry, p->loop, on_retry);
	list_append(&p->entries, &e->node);
	return e;
}

static void entry_free(struct entry *e)
{
	timer_stop(&e->retry);
	list_remove(&e->node);
	forget_sockets(e);
	port_unref(e->port);
	mem_free(e);
}

void ports_update(struct ports *p, const struct snapshot *s)
{
	size_t count;
	const struct snapshot_port *routes = snapshot_ports(s, &count);

	if (p->is_draining)
		return;
	LIST_FOR_EACH(node, &p->entries)
		LIST_ENTRY(node, struct entry, node)->is_wanted = false;
	for (size_t i = 0; i < count; i++) {
		struct entry *e = entry_of(p, routes[i].protocol, routes[i].port);
		if (!e)
			e = entry_new(p, &routes[i]);
		e->is_wanted = true;
		e->is_guarded = routes[i].is_guarded;
	}
	LIST_FOR_EACH(node, &p->entries) {
		struct entry *e = LIST_ENTRY(node, struct entry, node);
		if (!e->is_wanted) {
			log_info(COMPONENT, "a public port is closed",
				 LOG_STR("protocol", port_protocol_name(e->protocol)),
				 LOG_INT("port", e->number));
			entry_close(e);
			entry_free(e);
		} else if (e->is_guarded) {
			entry_close(e);
			entry_open(e); /* which says why not */
		} else if (e->generation == 0 && !timer_is_set(&e->retry)) {
			entry_open(e);
		}
	}
	drop_inherited(p);
}

struct ports *ports_new(struct loop *loop, const struct edge_config *cfg,
			struct worker *const *workers, size_t worker_count)
{
	struct ports *p = mem_alloc(sizeof(*p));

	p->loop = loop;
	p->cfg = cfg;
	p->workers = workers;
	p->worker_count = worker_count;
	list_init(&p->entries);
	return p;
}

void ports_drain(struct ports *p)
{
	p->is_draining = true;
	LIST_FOR_EACH(node, &p->entries) {
		struct entry *e = LIST_ENTRY(node, struct entry, node);
		timer_stop(&e->retry);
		entry_close(e);
	}
}

struct ports *ports_free(struct ports *p)
{
	if (!p)
		return NULL;
	LIST_FOR_EACH(node, &p->entries)
		entry_free(LIST_ENTRY(node, struct entry, node));
	drop_inherited(p);
	return mem_free(p);
}

/* --- Looking at it ------------------------------------------------------------------------------ */

void ports_state(const struct ports *p, enum port_protocol protocol, uint16_t number,
		 struct ports_state *ret)
{
	const struct entry *e = entry_of(p, protocol, number);

	*ret = (struct ports_state){ .is_known = e != NULL };
	if (!e)
		return;
	ret->is_open = e->generation != 0;
	memcpy(ret->error, e->error, sizeof(ret->error));
	int trouble = atomic_load_explicit(&e->port->trouble, memory_order_relaxed);
	if (ret->is_open && trouble != PORT_WELL)
		(void)snprintf(
			ret->error, sizeof(ret->error), "%s",
			trouble == PORT_NO_TUNNEL
				? "its tunnel has no connector"
				: "its tunnel has no connection over QUIC, and HTTP/2 carries no UDP");
	ret->in_use = atomic_load_explicit(&e->port->in_use, memory_order_relaxed);
	ret->total = atomic_load_explicit(&e->port->total, memory_order_relaxed);
	ret->refused = atomic_load_explicit(&e->port->refused, memory_order_relaxed);
}

void ports_count(const struct ports *p, size_t *ret_open, size_t *ret_failed)
{
	*ret_open = *ret_failed = 0;
	LIST_FOR_EACH(node, (struct list *)(uintptr_t)&p->entries) {
		if (LIST_ENTRY(node, struct entry, node)->generation)
			++*ret_open;
		else
			++*ret_failed;
	}
}

void ports_each_socket(const struct ports *p, void (*fn)(void *ctx, const struct ports_socket *s),
		       void *ctx)
{
	LIST_FOR_EACH(node, (struct list *)(uintptr_t)&p->entries) {
		const struct entry *e = LIST_ENTRY(node, struct entry, node);
		for (size_t i = 0; i < e->socket_count; i++)
			fn(ctx, &e->sockets[i]);
	}
}

void ports_inherit(struct ports *p, const struct ports_socket *s)
{
	p->inherited = mem_resize(p->inherited, (p->inherited_count + 1) * sizeof(*p->inherited));
	p->inherited[p->inherited_count++] = *s;
}
