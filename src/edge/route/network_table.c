#include "edge/route/network_table.h"

#include <stdlib.h>

#include "base/mem.h"

#define NO_PARENT ((size_t)-1)

/* IPv4 and IPv6 hold nothing of each other, but their addresses lie between each other: they are sorted
 * apart. */
static size_t key_of(size_t table, const struct network *n)
{
	return table * 2 + network_is_v4(n);
}

void network_table_add(struct network_table *t, size_t table, const struct network *network,
		       const void *value)
{
	/* Doubles whenever the count is a power of two. */
	if ((t->count & (t->count - 1)) == 0)
		t->entries =
			mem_resize(t->entries, (t->count ? t->count * 2 : 1) * sizeof(*t->entries));
	t->entries[t->count++] = (struct network_entry){
		.key = key_of(table, network),
		.network = *network,
		.value = value,
	};
}

/* By table and first address; of those that begin alike the larger network comes first, so whatever holds an
 * address stands before it. */
static int compare_keys(size_t key_a, const struct network *a, size_t key_b, const struct network *b)
{
	if (key_a != key_b)
		return key_a < key_b ? -1 : 1;
	int r = memcmp(a->ip, b->ip, sizeof(a->ip));
	return r ? r : (a->bits > b->bits) - (a->bits < b->bits);
}

static int compare(const void *one, const void *other)
{
	const struct network_entry *a = one, *b = other;

	return compare_keys(a->key, &a->network, b->key, &b->network);
}

/* From `at` outwards, the first that holds it. */
static size_t climb(const struct network_table *t, size_t at, size_t key,
		    const struct network *inner)
{
	while (at != NO_PARENT &&
	       !(t->entries[at].key == key && network_holds(&t->entries[at].network, inner)))
		at = t->entries[at].parent;
	return at;
}

void network_table_sort(struct network_table *t)
{
	if (t->count)
		qsort(t->entries, t->count, sizeof(*t->entries), compare);
	for (size_t i = 0; i < t->count; i++) {
		struct network_entry *e = &t->entries[i];
		e->parent = i ? climb(t, i - 1, e->key, &e->network) : NO_PARENT;
	}
}

const void *network_table_find(const struct network_table *t, size_t table,
			       const struct network *address)
{
	size_t low = 0, high = t->count, key = key_of(table, address);

	/* The last entry that does not come behind the address: it, or what is around it. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct network_entry *e = &t->entries[middle];
		if (compare_keys(e->key, &e->network, key, address) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	size_t found = low ? climb(t, low - 1, key, address) : NO_PARENT;
	return found == NO_PARENT ? NULL : t->entries[found].value;
}

void network_table_done(struct network_table *t)
{
	mem_free(t->entries);
	*t = (struct network_table){ 0 };
}
