/* The REST API of the edge's control plane (CONTROL §3), as far as the commands use it.
 *
 * Calls block. What they return lives in the caller's arena or is a JSON value the caller owns. Answers
 * are read tolerantly (unknown members are skipped) but not blindly: sizes are bounded, ids are UUIDs,
 * times are times. Error texts are the stock client's.
 */
#pragma once

#include <jansson.h>

#include "base/arena.h"
#include "base/clock.h"
#include "connector/cli/cli.h"
#include "wire/token.h"

struct rest {
	const struct cli *cli;
	struct login login;
	char *login_path; /* owned: where the certificate was found */
	char *base;       /* owned: "https://adit.example.com/client/v4" */
	char *ca_file;    /* owned: --cacert; NULL: none */
};

/* A text of the API's with its value; nothing is "0001-01-01T00:00:00Z" and 0. */
struct rest_time {
	const char *text;
	usec wall;
};

struct rest_connection {
	const char *location; /* colo_name */
	const char *id;
	bool is_pending_reconnect;
	const char *origin_ip; /* "" when there is none */
	struct rest_time opened_at;
};

struct rest_tunnel {
	struct uuid id;
	const char *name;
	struct rest_time created_at, deleted_at;
	struct rest_connection *connections;
	size_t connection_count;
	const char *token; /* of a new tunnel; else NULL */
};

/* A service that a connector checks. */
struct rest_service {
	const char *hostname, *path, *service, *state, *error, *since;
};

/* What an edge of ours says of a connector beside the stock members. */
struct rest_replica {
	bool is_told; /* false: the edge is another one's */
	const char *label;
	int64_t weight;
	bool is_backup;
	struct rest_service *services;
	size_t service_count;
};

struct rest_connector {
	const char *id, *version, *arch;
	const char **features;
	size_t feature_count;
	struct rest_time run_at;
	struct rest_connection *connections;
	size_t connection_count;
	struct rest_replica replica;
};

struct rest_filter {
	bool with_deleted;
	const char *name, *name_prefix, *exclude_prefix, *existed_at; /* NULL or "": any */
	const struct uuid *id;                                        /* NULL: any */
};

/* Reads the certificate and decides where the API is: --api-url, else the certificate's, else
 * Cloudflare's. On failure nothing is to be ended. */
int rest_open(const struct cli *cli, struct rest *ret, struct err *err);
void rest_done(struct rest *api);

int rest_tunnel_create(struct rest *api, struct arena *arena, const char *name, struct bytes secret,
		       struct rest_tunnel *ret, struct err *err);
int rest_tunnel_get(struct rest *api, struct arena *arena, const struct uuid *id,
		    struct rest_tunnel *ret, struct err *err);
int rest_tunnel_list(struct rest *api, struct arena *arena, const struct rest_filter *filter,
		     struct rest_tunnel **ret, size_t *ret_count, struct err *err);
int rest_tunnel_delete(struct rest *api, const struct uuid *id, bool cascade, struct err *err);
int rest_tunnel_connectors(struct rest *api, struct arena *arena, const struct uuid *id,
			   struct rest_connector **ret, size_t *ret_count, struct err *err);
/* `connector` NULL: all of them. */
int rest_tunnel_cleanup(struct rest *api, const struct uuid *id, const struct uuid *connector,
			struct err *err);
/* Owned by the caller, who wipes it. */
int rest_tunnel_token(struct rest *api, const struct uuid *id, char **ret, struct err *err);
/* `passthrough` NULL: as it is. *ret_change is "new", "updated", "unchanged" or what the API said, *ret_name the name that was routed. */
int rest_route_dns(struct rest *api, struct arena *arena, const struct uuid *id,
		   const char *hostname, bool overwrite, const bool *passthrough,
		   const char **ret_change, const char **ret_name, struct err *err);

/* What a person calls a tunnel, as a UUID: a UUID itself, else the tunnel of the credentials file that was
 * given, else by the API. `api` is opened when it is needed (zeroed before, ended by the caller). */
int rest_tunnel_find(const struct cli *cli, struct rest *api, const char *reference,
		     struct uuid *ret, struct err *err);

/* For `-o`: the members the stock client prints. */
json_t *rest_tunnel_json(const struct rest_tunnel *t);
json_t *rest_connections_json(const struct rest_connection *connections, size_t count);
/* Without the fraction: "2026-11-01T10:00:00Z". */
const char *rest_time_seconds(struct arena *arena, const struct rest_time *t);
/* "2xams01, 1xfra02": sorted, those about to come back left out unless asked for. */
const char *rest_connections_text(struct arena *arena, const struct rest_connection *connections,
				  size_t count, bool with_pending);

/* --- Private networks (rest_networks.c) --- */

struct rest_network_route {
	struct uuid id, tunnel, vnet;
	const char *network; /* "10.0.0.0/8" */
	bool has_vnet;
	const char *tunnel_name, *comment;
	struct rest_time created_at, deleted_at;
};

struct rest_network_filter {
	bool is_deleted;                     /* only deleted ones, else only living ones */
	const char *within, *over, *comment; /* NULL: any */
	const struct uuid *tunnel, *vnet;    /* NULL: any */
};

/* `vnet` NULL: the account's default one. */
int rest_network_add(struct rest *api, const char *network, const struct uuid *tunnel,
		     const struct uuid *vnet, const char *comment, struct err *err);
int rest_network_delete(struct rest *api, const struct uuid *id, struct err *err);
int rest_network_list(struct rest *api, struct arena *arena,
		      const struct rest_network_filter *filter, struct rest_network_route **ret,
		      size_t *ret_count, struct err *err);
/* The route that the address takes; *ret_is_found is false when there is none. */
int rest_network_by_ip(struct rest *api, struct arena *arena, const char *ip,
		       const struct uuid *vnet, struct rest_network_route *ret, bool *ret_is_found,
		       struct err *err);

struct rest_vnet {
	struct uuid id;
	const char *name, *comment;
	bool is_default;
	struct rest_time created_at, deleted_at;
};

struct rest_vnet_filter {
	const struct uuid *id; /* NULL: any */
	const char *name;      /* NULL: any */
	int is_default;        /* -1: either */
	bool is_deleted;       /* only deleted ones, else only living ones */
};

struct rest_vnet_change {
	const char *name, *comment; /* NULL: stays */
	int is_default;             /* -1: stays */
};

int rest_vnet_add(struct rest *api, struct arena *arena, const char *name, const char *comment,
		  bool is_default, struct rest_vnet *ret, struct err *err);
int rest_vnet_list(struct rest *api, struct arena *arena, const struct rest_vnet_filter *filter,
		   struct rest_vnet **ret, size_t *ret_count, struct err *err);
int rest_vnet_update(struct rest *api, const struct uuid *id, const struct rest_vnet_change *change,
		     struct err *err);
int rest_vnet_delete(struct rest *api, const struct uuid *id, bool force, struct err *err);
/* What a person calls a virtual network, as a UUID. */
int rest_vnet_find(struct rest *api, const char *reference, struct uuid *ret, struct err *err);

/* --- Public ports (rest_ports.c); an API of ours --- */

struct rest_port {
	struct uuid id, tunnel;
	const char *protocol; /* "tcp", "udp" */
	uint16_t port;
	const char *tunnel_name, *service, *proxy_protocol, *comment;
	const char *status, *error; /* "open", "failed" and why */
	struct rest_time created_at;
};

/* What the answer says of the new one: *ret. */
int rest_port_add(struct rest *api, struct arena *arena, const struct rest_port *port,
		  struct rest_port *ret, struct err *err);
int rest_port_list(struct rest *api, struct arena *arena, struct rest_port **ret, size_t *ret_count,
		   struct err *err);
int rest_port_delete(struct rest *api, const struct uuid *id, struct err *err);

/* --- between the files rest*.c --- */

int rest_unexpected(struct err *err, const char *what);
/* A member as text that a terminal can be given; "" when it is none. */
const char *rest_text_of(struct arena *arena, const json_t *object, const char *key);
int rest_time_of(struct arena *arena, const json_t *object, const char *key, struct rest_time *ret,
		 struct err *err);
int rest_uuid_of(const json_t *object, const char *key, struct uuid *ret, struct err *err);
/* Appends "key=value" with what it takes in front; nothing for no value. */
int rest_query_add(struct buf *query, const char *key, const char *value) MUST_USE;
/* "page" and, as --max-fetch-size has it, "per_page". */
int rest_query_add_page(struct buf *query, const struct rest *api, unsigned page) MUST_USE;

/* A list in pages. */
struct rest_pages {
	const char *operation, *path;
	const void *filter; /* for `query` */
	/* That of a page, owned by the caller; NULL: too long. */
	char *(*query)(const struct rest *api, const void *filter, unsigned page);
	size_t item_size;
	/* Reads one item into `ret`, texts into the arena. */
	int (*read)(struct arena *arena, const json_t *item, void *ret, struct err *err);
};
/* *ret is an array of items in the arena, as far as they were read. */
int rest_list(struct rest *api, struct arena *arena, const struct rest_pages *pages, void **ret,
	      size_t *ret_count, struct err *err);

struct rest_call {
	const char *operation; /* "create tunnel", for messages */
	const char *method;
	bool is_zone;          /* below the zone, else the account */
	const char *path;      /* behind that: "/cfd_tunnel" */
	const char *query;     /* encoded, without "?"; NULL: none */
	const json_t *body;    /* NULL: none */
	bool is_status_enough; /* the answer's body is not looked at */
	bool is_page;          /* a refusal is a failed request, in the stock client's words */
	const char *conflict;  /* what 409 means; NULL: nothing special */
};

/* *ret_envelope is the whole answer, owned by the caller (NULL with is_status_enough). */
int rest_call(struct rest *api, const struct rest_call *call, json_t **ret_envelope,
	      struct err *err);
