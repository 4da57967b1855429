/* All registered connections of this node, for the API, the status and the metrics. Lives on the
 * control thread; workers tell it by loop posts. Nothing of it is in the store: who holds a session is
 * known only by the node that holds the socket. */
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/uuid.h"
#include "edge/tunnels/replica.h"

struct directory;
struct service_report;

struct directory_record {
	struct uuid tunnel, connector, connection;
	uint8_t index;
	const char *version, *arch, *origin_ip, *location;
	const char *const *features;
	size_t feature_count;
	usec opened_at; /* wall */
	struct replica_facts replica;
};

struct directory *directory_new(void);
struct directory *directory_free(struct directory *d);
/* Copies. */
void directory_add(struct directory *d, const struct directory_record *r);
void directory_remove(struct directory *d, const struct uuid *connection);
/* What a connector said of its services; nothing happens when it is not there. Takes a reference of its
 * own. */
void directory_set_services(struct directory *d, const struct uuid *connector,
			    struct service_report *report);
size_t directory_count(const struct directory *d,
		       const struct uuid *tunnel); /* NULL: of all tunnels */

/* What is up, and what is behind it. Of one tunnel, or of all (NULL). */
struct directory_health {
	size_t connectors;
	size_t services, services_unhealthy; /* checked rules of all connectors */
};
void directory_health(const struct directory *d, const struct uuid *tunnel,
		      struct directory_health *ret);
/* The `connections` array of CONTROL §3.2, one element per connector, with what is ours in its
 * member "adit"; JSON text owned by the caller. */
char *directory_json(const struct directory *d, const struct uuid *tunnel);
