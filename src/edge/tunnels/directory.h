/* All registered connections of this node, for the API, the status and the metrics. Lives on the
 * control thread; workers tell it by loop posts. Nothing of it is in the store: who holds a session is
 * known only by the node that holds the socket. */
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/uuid.h"

struct directory;

struct directory_record {
	struct uuid tunnel, connector, connection;
	uint8_t index;
	const char *version, *arch, *origin_ip, *location;
	const char *const *features;
	size_t feature_count;
	usec opened_at; /* wall */
};

struct directory *directory_new(void);
struct directory *directory_free(struct directory *d);
/* Copies. */
void directory_add(struct directory *d, const struct directory_record *r);
void directory_remove(struct directory *d, const struct uuid *connection);
size_t directory_count(const struct directory *d,
		       const struct uuid *tunnel); /* NULL: of all tunnels */
/* The `connections` array of CONTROL §3.2, one element per connector; JSON text owned by the caller. */
char *directory_json(const struct directory *d, const struct uuid *tunnel);
