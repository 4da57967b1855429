/* What workers need to know of the store, immutable and counted.
 *
 * The control thread builds a new one after each change and posts it to every worker; a request keeps
 * the one it started with. Read from any thread, never written after snapshot_build().
 */
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/uuid.h"
#include "edge/ports/port_allow.h"
#include "edge/ports/port_target.h"
#include "edge/tunnels/balance.h"
#include "io/network.h"

struct access_view;
struct countries;
struct snapshot;
struct store;
struct tls_certificate;
struct tls_policy;

/* How requests are shared among a tunnel's replicas. */
struct snapshot_balance {
	enum balance_policy policy;
	bool eject_on_5xx; /* the service's own 502, 503 and 504 count as failures of the replica */
};

struct snapshot_tunnel {
	struct uuid id;
	char account[33];
	const char *name;
	struct secret secret;
	struct snapshot_balance balance;
};

/* A virtual network of an account. */
struct snapshot_vnet {
	struct uuid id;
	char account[33];
	const char *name;
	bool is_default;
};

/* A private network and the tunnel that leads there. */
struct snapshot_network {
	struct network network;
	const struct snapshot_vnet *vnet;
	const struct snapshot_tunnel *tunnel;
};

struct snapshot_route {
	const char *hostname; /* as routed: "*.example.com" for a wildcard */
	const struct snapshot_tunnel *tunnel;
	struct snapshot_balance balance; /* the route's own, else the tunnel's */
};

/* How visitors of a hostname are served, where that is set for it or its zone. */
struct snapshot_site {
	const char *hsts;          /* value of Strict-Transport-Security; NULL: none */
	struct tls_policy *policy; /* NULL: nothing special is asked */
	bool asks_certificate;
	bool is_passthrough; /* TLS ends at the service: never here */
};

/* A public port and where it leads. */
struct snapshot_port {
	enum port_protocol protocol;
	uint16_t port;
	bool has_proxy_header;
	const struct snapshot_tunnel *tunnel;
	struct port_target target;
	bool is_guarded; /* Access guards the hostname it leads to: nobody is let in, for a port asks nobody */
};

/* Reads the store, and issues and keeps the certificates that are missing or due (edge/certificates.h).
 * What did not change is taken from `previous` (NULL: the first one), which stays the caller's. The
 * revision is that of before such an issue. `issuer` is the URL of the control host, as tokens of Access name it;
 * `countries` (NULL: none) is where addresses are looked up, of which it takes a reference.
 * E_NOT_FOUND when there is no CA yet. Control thread. */
struct snapshot *snapshot_build(struct store *store, const char *issuer, struct countries *countries,
				const struct snapshot *previous, struct err *err);
struct snapshot *snapshot_ref(struct snapshot *s);
/* What guards what; lives as long as the snapshot. */
struct access_view *snapshot_access(const struct snapshot *s);
struct snapshot *snapshot_unref(struct snapshot *s);
/* What CF-IPCountry says of an address: "PT", "XX" when the database does not know, "" without one. `s` may be NULL. */
#define COUNTRY_FIELD_SIZE 3
void snapshot_country(const struct snapshot *s, struct bytes ip, char ret[COUNTRY_FIELD_SIZE]);

int64_t snapshot_revision(const struct snapshot *s);
/* Wall time at which a certificate is due: build a new one then, even without a change. INT64_MAX:
 * never. */
usec snapshot_renew_at(const struct snapshot *s);
/* "": none is set. */
const char *snapshot_control_host(const struct snapshot *s);
/* Exact hostname, then the longest wildcard ("*.a.b" before "*.b"). `host` is lower case, no port. */
const struct snapshot_route *snapshot_route(const struct snapshot *s, struct bytes host);
const struct snapshot_tunnel *snapshot_tunnel(const struct snapshot *s, const struct uuid *id);
/* The account of an API token; NULL when nobody has it. */
const char *snapshot_token_account(const struct snapshot *s, struct bytes token);
/* A virtual network by its name or id; without either the account's default one. NULL: there is none. */
const struct snapshot_vnet *snapshot_vnet(const struct snapshot *s, const char *account,
					  struct bytes name);
/* The smallest network routed in `vnet` (of this snapshot) that holds the address; NULL: none. */
const struct snapshot_network *snapshot_network(const struct snapshot *s,
						const struct snapshot_vnet *vnet,
						const struct address *to);
size_t snapshot_network_count(const struct snapshot *s);
/* Of nobody: NULL. */
/* NULL also for one that is guarded. */
const struct snapshot_port *snapshot_port(const struct snapshot *s, enum port_protocol protocol,
					  uint16_t port);
/* All of them; borrowed from the snapshot. */
const struct snapshot_port *snapshot_ports(const struct snapshot *s, size_t *ret_count);
/* Of a hostname (lower case, no port): its own, then the longest wildcard's, then its zone's; NULL: nothing is set. A
 * zone's certificates of clients are not for the control host, where command lines go. */
const struct snapshot_site *snapshot_site(const struct snapshot *s, struct bytes host);
/* Whether any hostname's TLS is passed through; and the route of one whose is, NULL: it ends here,
 * also where Access guards the hostname. */
bool snapshot_has_passthrough(const struct snapshot *s);
const struct snapshot_route *snapshot_passthrough(const struct snapshot *s, struct bytes host);
/* The i-th certificate, without a staple, NULL after the last; borrowed. */
struct tls_certificate *snapshot_each_certificate(const struct snapshot *s, size_t i);
/* For listeners that visitors reach: exact name, then "*." of its parent, among certificates that people brought,
 * then those of ACME authorities, then those of the built-in CA; the tunnel names too, as connectors may come by the
 * same port. NULL when nothing covers the name. Without a name (clients that
 * go by IP address) the control host's if that is an address or there is no zone, else the first zone's:
 * they get a handshake, and can tell from it whom they reached. Borrowed from the snapshot, as the next. */
struct tls_certificate *snapshot_certificate(const struct snapshot *s, struct bytes server_name);
/* Whether another one than the built-in CA's is there for the name. */
bool snapshot_is_certified(const struct snapshot *s, struct bytes server_name);
/* For the tunnel listener: h2.cftunnel.com, quic.cftunnel.com, probe.cftunnel.com. */
struct tls_certificate *snapshot_tunnel_certificate(const struct snapshot *s);
/* Whether this is one of those names: whoever asks for it is a connector, whatever port it came by. */
bool snapshot_is_tunnel_name(const struct snapshot *s, struct bytes server_name);
