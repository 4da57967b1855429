#include "edge/ports/port.h"

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/random.h"

struct port *port_new(enum port_protocol protocol, uint16_t number)
{
	struct port *p = mem_alloc(sizeof(*p));

	atomic_init(&p->refs, 1);
	p->protocol = protocol;
	p->number = number;
	random_bytes(p->key, sizeof(p->key));
	return p;
}

struct port *port_ref(struct port *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

struct port *port_unref(struct port *p)
{
	if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
		mem_free(p);
	return NULL;
}

size_t port_slot(const struct port *p, const struct address *visitor)
{
	struct bytes ip = BYTES_NONE;

	if (visitor->any.sa_family == AF_INET)
		ip = bytes_of(&visitor->v4.sin_addr, 4);
	else if (IN6_IS_ADDR_V4MAPPED(&visitor->v6.sin6_addr))
		ip = bytes_of(&visitor->v6.sin6_addr.s6_addr[12], 4);
	else
		ip = bytes_of(visitor->v6.sin6_addr.s6_addr, 8); /* one customer has a /64 */
	return hash_keyed(p->key, ip) % PORT_SLOTS;
}

static unsigned port_limit(const struct port *p)
{
	return p->protocol == PORT_UDP ? LIMIT_PORT_FLOWS : LIMIT_PORT_CONNECTIONS;
}

static unsigned address_limit(const struct port *p)
{
	return p->protocol == PORT_UDP ? LIMIT_PORT_ADDRESS_FLOWS : LIMIT_PORT_ADDRESS_CONNECTIONS;
}

enum port_entry port_enter(struct port *p, const struct address *visitor)
{
	size_t slot = port_slot(p, visitor);
	enum port_entry result = PORT_ENTERED;

	/* Up first, so that two that come at once do not both take the last place. */
	unsigned all = atomic_fetch_add_explicit(&p->in_use, 1, memory_order_relaxed);
	unsigned of_address = atomic_fetch_add_explicit(&p->slots[slot], 1, memory_order_relaxed);
	if (all >= port_limit(p))
		result = PORT_FULL;
	else if (of_address >= address_limit(p))
		result = PORT_ADDRESS_FULL;
	if (result == PORT_ENTERED) {
		atomic_fetch_add_explicit(&p->total, 1, memory_order_relaxed);
		return result;
	}
	atomic_fetch_add_explicit(&p->refused, 1, memory_order_relaxed);
	port_leave(p, visitor);
	return result;
}

void port_leave(struct port *p, const struct address *visitor)
{
	unsigned before = atomic_fetch_sub_explicit(&p->slots[port_slot(p, visitor)], 1,
						    memory_order_relaxed);

	BUG_IF(before == 0);
	atomic_fetch_sub_explicit(&p->in_use, 1, memory_order_relaxed);
}
