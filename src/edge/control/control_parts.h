/* What the files of the control plane share. Control thread only. */
#pragma once

#include <jansson.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/secret.h"
#include "edge/control/control.h"
#include "edge/control/query.h"
#include "store/store.h"

struct access_desk;
struct cache;
struct login_store;
struct pins;
struct signin;

/* More than there are folders that could add one. */
#define CONTROL_STATUS_PARTS 16

struct control {
	uint32_t magic;
	struct store *store; /* borrowed */
	struct loop *loop;   /* borrowed; NULL offline */
	struct control_hooks hooks;
	char *public_url; /* owned */
	char **edges;     /* owned, and each; where connectors dial */
	size_t edge_count;
	struct port_allow ports;
	bool has_country_database;
	struct countries *countries; /* counted; NULL: none */
	struct signin *signin;       /* owned: who is signed in, who guesses passwords */
	struct list errands;         /* those who wait for an identity provider */
	struct cache *flows;         /* owned: sign-ins that are at an identity provider */
	struct pins *pins;           /* owned: codes that were sent by e-mail */
	struct access_desk *desk;    /* owned: sign-in to guarded services */
	struct login_store *logins;  /* owned: certificates that wait for `adit tunnel login` */
	struct control_status_part {
		const char *name;
		struct json_t *(*make)(void *ctx);
		void *ctx;
	} status_parts[CONTROL_STATUS_PARTS];
	size_t status_part_count;
	/* Of a takeover. */
	enum { CONTROL_OPEN, CONTROL_FROZEN, CONTROL_HANDED_OVER } phase;
	struct control_request *waiting[LIMIT_API_FROZEN]; /* borrowed: to be answered */
	size_t waiting_count;
};

/* --- One request on its way through an endpoint table ---------------------------------------- */

/* A handler has filled in the request's answer, or has kept the request and answers later. */
enum ask_result { ASK_ANSWERED, ASK_PARKED };

#define ASK_ARGS_MAX 3

struct ask {
	struct control *control;
	struct control_request *request;
	struct query query;              /* of the path */
	struct bytes args[ASK_ARGS_MAX]; /* what each ':' of the pattern stood for, decoded */
	/* Who asks, by its token. An administrator's request has no zone and may name any. */
	char account[33];
	bool has_zone;
	struct uuid zone;
	const char *actor; /* for the audit log of Access: "administrator", or the token's name */
};

struct endpoint {
	const char *method;  /* "GET" answers HEAD too */
	const char *pattern; /* "accounts/:/cfd_tunnel": a ':' segment takes anything but nothing */
	enum ask_result (*handle)(struct ask *a);
};

enum endpoint_match { ENDPOINT_FOUND, ENDPOINT_NO_PATH, ENDPOINT_NO_METHOD };

/* Looks the path up (no query, no slash in front; raw: each segment is percent-decoded by itself).
 * Fills in a->args. With ENDPOINT_NO_METHOD the answer's Allow field is set. */
enum endpoint_match endpoint_find(const struct endpoint *table, size_t count, struct bytes path,
				  struct ask *a, const struct endpoint **ret);

/* --- Answers --------------------------------------------------------------------------------- */

/* `body` must live in the request's arena or longer. Adds Cache-Control: no-store and nosniff. */
enum ask_result answer(struct control_request *r, int status, const char *type, struct bytes body);
void answer_field(struct control_request *r, const char *name, struct bytes value);
enum ask_result answer_text(struct control_request *r, int status, const char *text);

/* The envelope of CONTROL §3.1. The result's reference is taken; NULL is JSON null. */
enum ask_result answer_result(struct ask *a, json_t *result);
enum ask_result answer_list(struct ask *a, json_t *list, uint64_t page, uint64_t per_page,
			    uint64_t total);
enum ask_result answer_error(struct ask *a, int status, int code, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* What the store said, as status and code; texts of our own failures stay in the log. */
enum ask_result answer_store_error(struct ask *a, const struct err *err);

/* Error codes. 1003, 1013, 1014, 1022, 7003, 81044, 81053 and 10000 are those of the service that clients know. */
enum api_code {
	API_INVALID = 1001,      /* body, parameter or identifier makes no sense */
	API_ROUTE_EXISTS = 1003, /* the hostname is taken, or may not be routed */
	API_HOSTNAME = 1004,     /* no valid hostname, or in no zone of ours */
	API_TUNNEL_EXISTS = 1013,
	API_NETWORK_EXISTS = 1014, /* the virtual network routes exactly this network */
	API_NOT_FOUND = 1020,      /* no such tunnel, zone, user */
	API_TUNNEL_ACTIVE = 1022,  /* has live connections */
	API_INTERNAL = 1100,       /* our failure; the log has it */
	API_UNSUPPORTED = 1101,
	API_VNET_EXISTS = 1102,   /* a virtual network has the name */
	API_VNET_USED = 1103,     /* it has routes */
	API_VNET_DEFAULT = 1104,  /* it has to stay the default */
	API_TUNNEL_ROUTES = 1105, /* private networks are routed to it */
	API_PORT_EXISTS = 1106,   /* the public port is taken */
	API_PORT_REFUSED = 1107,  /* this edge's operator does not allow it */
	API_NO_PATH = 7003,
	API_DNS_NOT_FOUND = 81044,
	API_DNS_EXISTS = 81053,
	API_METHOD = 10405,
	API_AUTHENTICATION = 10000,
};

/* --- The parts ------------------------------------------------------------------------------- */

enum ask_result api_ask(struct ask *a, struct bytes path);   /* after /client/v4/ */
enum ask_result admin_ask(struct ask *a, struct bytes path); /* after /admin/v1/ */
enum ask_result pages_ask(struct ask *a, struct bytes path); /* after / */

/* Tunnels (api_tunnels.c) */
enum ask_result api_tunnel_create(struct ask *a);
enum ask_result api_tunnel_list(struct ask *a);
enum ask_result api_tunnel_get(struct ask *a);
enum ask_result api_tunnel_delete(struct ask *a);
enum ask_result api_tunnel_token(struct ask *a);
enum ask_result api_connections_get(struct ask *a);
enum ask_result api_connections_delete(struct ask *a);
/* Owned; with its connections. */
json_t *api_tunnel_json(struct control *c, const struct store_tunnel *t);
/* Routes (api_routes.c) */
enum ask_result api_route_put(struct ask *a);
/* Sharing among replicas, and what is known of their services (api_balance.c) */
enum ask_result api_tunnel_update(struct ask *a);
enum ask_result api_route_list(struct ask *a);
enum ask_result api_route_get(struct ask *a);
enum ask_result api_route_update(struct ask *a);
enum ask_result admin_tunnel_get(struct ask *a);
enum ask_result admin_tunnel_update(struct ask *a);
enum ask_result admin_route_list(struct ask *a);
enum ask_result admin_route_get(struct ask *a);
enum ask_result admin_route_update(struct ask *a);
/* The member "adit" of a tunnel; `connectors` as hooks.connections gives them. Owned. */
json_t *api_tunnel_ours_json(const struct store_tunnel *t, const json_t *connectors);
/* Private networks (api_networks.c, api_vnets.c) */
enum ask_result api_network_list(struct ask *a);
enum ask_result api_network_add(struct ask *a);
enum ask_result api_network_delete(struct ask *a);
enum ask_result api_network_by_ip(struct ask *a);
enum ask_result api_vnet_list(struct ask *a);
enum ask_result api_vnet_add(struct ask *a);
enum ask_result api_vnet_get(struct ask *a);
enum ask_result api_vnet_update(struct ask *a);
enum ask_result api_vnet_delete(struct ask *a);

/* Public ports (api_ports.c) */
enum ask_result api_port_list(struct ask *a);
enum ask_result api_port_add(struct ask *a);
enum ask_result api_port_get(struct ask *a);
enum ask_result api_port_delete(struct ask *a);
enum ask_result admin_port_list(struct ask *a);
/* Certificates (api_tls.c) */
enum ask_result admin_tls_list(struct ask *a);
enum ask_result admin_tls_renew(struct ask *a);
enum ask_result admin_tls_import(struct ask *a);
enum ask_result admin_tls_remove(struct ask *a);

/* A host that means something to connectors or to this edge: nobody may route it (api_routes.c). */
bool api_host_is_reserved(struct ask *a, const char *hostname);

/* Sites: how visitors of a zone or a hostname are served (admin_sites.c) */
enum ask_result admin_dns_update_list(struct ask *a);
enum ask_result admin_dns_update_put(struct ask *a);
enum ask_result admin_dns_update_remove(struct ask *a);
enum ask_result admin_site_list(struct ask *a);
enum ask_result admin_zone_site_get(struct ask *a);
enum ask_result admin_zone_site_update(struct ask *a);
enum ask_result admin_host_site_get(struct ask *a);
enum ask_result admin_host_site_update(struct ask *a);

/* DNS: records, keys, secondaries (admin_dns.c, api_dns.c) */
enum ask_result admin_dns_list(struct ask *a);
enum ask_result admin_dns_add(struct ask *a);
enum ask_result admin_dns_remove(struct ask *a);
enum ask_result admin_dns_ds(struct ask *a);
enum ask_result admin_dnssec_list(struct ask *a);
enum ask_result admin_dnssec_roll(struct ask *a);
enum ask_result admin_dnssec_seen(struct ask *a);
enum ask_result admin_dnssec_cancel(struct ask *a);
enum ask_result admin_dns_key_list(struct ask *a);
enum ask_result admin_dns_key_add(struct ask *a);
enum ask_result admin_dns_key_remove(struct ask *a);
enum ask_result admin_dns_secondary_list(struct ask *a);
enum ask_result admin_dns_secondary_add(struct ask *a);
enum ask_result admin_dns_secondary_remove(struct ask *a);
enum ask_result admin_route_remove(struct ask *a);
enum ask_result api_dns_list(struct ask *a);
enum ask_result api_dns_get(struct ask *a);
enum ask_result api_dns_add(struct ask *a);
enum ask_result api_dns_update(struct ask *a);
enum ask_result api_dns_remove(struct ask *a);
/* A record from what people wrote: checked, in canonical form, lower case. `name` may be "@" or relative to the zone if
 * `is_relative`. False after having answered; *ret is the caller's then, too. */
bool control_dns_record(struct ask *a, const struct store_zone *zone, const char *name,
			bool is_relative, const char *type, const char *data, uint64_t ttl,
			struct store_dns_record *ret);
#define DNS_TTL_DEFAULT 300
/* The zone of the account that holds the name; false after having answered (api_routes.c). */
bool api_find_zone(struct ask *a, const char *name, struct uuid *ret);

/* status.c */
enum ask_result admin_status(struct ask *a);

/* The body as a JSON object, owned by the caller; NULL after having answered 400. */
json_t *ask_body(struct ask *a);
/* A string member; NULL when absent or null. False after having answered 400 (wrong type). */
bool ask_string(struct ask *a, const json_t *body, const char *name, const char **ret);
/* A boolean member: -1 when absent or null. False after having answered 400. */
bool ask_flag(struct ask *a, const json_t *body, const char *name, int *ret);
/* A UUID member; *ret_is_there is false when absent or null. False after having answered 400. */
bool ask_id(struct ask *a, const json_t *body, const char *name, struct uuid *ret,
	    bool *ret_is_there);
/* An absent parameter gives NULL. */
const char *ask_param(struct ask *a, const char *name);
/* The same, where an empty one counts as absent. */
const char *ask_text(struct ask *a, const char *name);
/* Parameters of the query, false after having answered 400: a number from 1 to `max`; "true" or "false" (else
 * *ret stays); a time as in RFC 3339 (else *ret stays); a UUID (has to be there). */
bool ask_number(struct ask *a, const char *name, uint64_t preset, uint64_t max, uint64_t *ret);
bool ask_bool(struct ask *a, const char *name, int *ret);
bool ask_time(struct ask *a, const char *name, usec *ret);
bool ask_uuid(struct ask *a, const char *name, struct uuid *ret);
/* Which part of a list: `page` and `per_page`. */
struct ask_page {
	uint64_t number, size;
	size_t offset;
};
bool ask_page(struct ask *a, struct ask_page *ret);
/* A string, or null for 0. */
json_t *api_time_json(usec wall);

/* Zone ids are UUIDs without dashes on the wire. */
void zone_id_text(const struct uuid *id, char text[33]);
bool zone_id_parse(struct bytes text, struct uuid *ret);

/* The store changed in a way workers must know. A failure is logged: the change itself is kept. */
void control_changed(struct control *c);

/* --- Certificates and tokens (credentials.c) -------------------------------------------------- */

/* cert.pem for a zone with a new API token; NUL-terminated, owned: wipe it. */
char *credentials_cert_pem(struct control *c, const struct store_zone *zone, const char *note,
			   struct err *err);
/* What `tunnel token` prints; NUL-terminated, owned: wipe it. */
char *credentials_tunnel_token(struct control *c, const struct store_tunnel *t, struct err *err);
/* Wipes and frees; NULL is fine. */
void credentials_text_free(char *text);
