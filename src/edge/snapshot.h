/* What workers need to know of the store, immutable and counted.
 *
 * The control thread builds a new one after each change and posts it to every worker; a request keeps
 * the one it started with. Read from any thread, never written after snapshot_build().
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/uuid.h"

struct snapshot;
struct store;
struct tls_certificate;

struct snapshot_tunnel {
	struct uuid id;
	char account[33];
	const char *name;
	struct secret secret;
};

struct snapshot_route {
	const char *hostname;          /* as routed: "*.example.com" for a wildcard */
	const struct snapshot_tunnel *tunnel;
};

/* Certificates: one per zone (apex, "*.zone" and every deeper routed name), one for the control host,
 * one for the tunnel names; issued by the built-in CA, kept in the store, renewed when less than 30
 * days are left. Control thread. */
struct snapshot *snapshot_build(struct store *store, struct err *err);
struct snapshot *snapshot_ref(struct snapshot *s);
struct snapshot *snapshot_unref(struct snapshot *s);

int64_t snapshot_revision(const struct snapshot *s);
const char *snapshot_control_host(const struct snapshot *s);
/* Exact hostname, then the longest wildcard ("*.a.b" before "*.b"). `host` is lower case, no port. */
const struct snapshot_route *snapshot_route(const struct snapshot *s, struct bytes host);
const struct snapshot_tunnel *snapshot_tunnel(const struct snapshot *s, const struct uuid *id);
/* For the HTTPS listener; NULL when no zone covers the name. */
struct tls_certificate *snapshot_certificate(const struct snapshot *s, struct bytes server_name);
/* For the tunnel listener: h2.cftunnel.com, quic.cftunnel.com, probe.cftunnel.com. */
struct tls_certificate *snapshot_tunnel_certificate(const struct snapshot *s);
