/* The longest prefix that holds an address, in several tables of networks that know nothing of each other.
 *
 * Filled and sorted once, then only read, from any thread. A search costs a bisection and a step for each
 * network around the address.
 */
#pragma once

#include <stddef.h>

#include "io/network.h"

struct network_entry {
	size_t key; /* private: the table it belongs to, and its family */
	struct network network;
	const void *value; /* borrowed */
	size_t parent;     /* private: the next larger network around it, or none */
};

struct network_table {
	struct network_entry *entries; /* owned */
	size_t count;
};

void network_table_add(struct network_table *t, size_t table, const struct network *network,
		       const void *value);
/* After the last add, before the first find. Of two equal networks in one table one is found. */
void network_table_sort(struct network_table *t);
/* The value of the smallest network that holds the address (a network of 128 bits); NULL when none does. */
const void *network_table_find(const struct network_table *t, size_t table,
			       const struct network *address);
void network_table_done(struct network_table *t);
