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

struct api {
	const struct cli *cli;
	struct login login;
	char *login_path; /* owned: where the certificate was found */
	char *base;       /* owned: "https://adit.example.com/client/v4" */
	char *ca_file;    /* owned: --cacert; NULL: none */
};

/* A text of the API's with its value; nothing is "0001-01-01T00:00:00Z" and 0. */
struct api_time {
	const char *text;
	usec wall;
};

struct api_connection {
	const char *location; /* colo_name */
	const char *id;
	bool is_pending_reconnect;
	const char *origin_ip; /* "" when there is none */
	struct api_time opened_at;
};

struct api_tunnel {
	struct uuid id;
	const char *name;
	struct api_time created_at, deleted_at;
	struct api_connection *connections;
	size_t connection_count;
	const char *token; /* of a new tunnel; else NULL */
};

struct api_connector {
	const char *id, *version, *arch;
	const char **features;
	size_t feature_count;
	struct api_time run_at;
	struct api_connection *connections;
	size_t connection_count;
};

struct api_filter {
	bool with_deleted;
	const char *name, *name_prefix, *exclude_prefix, *existed_at; /* NULL or "": any */
	const struct uuid *id;                                        /* NULL: any */
};

/* Reads the certificate and decides where the API is: --api-url, else the certificate's, else
 * Cloudflare's. On failure nothing is to be ended. */
int api_open(const struct cli *cli, struct api *ret, struct err *err);
void api_done(struct api *api);

int api_tunnel_create(struct api *api, struct arena *arena, const char *name, struct bytes secret,
		      struct api_tunnel *ret, struct err *err);
int api_tunnel_get(struct api *api, struct arena *arena, const struct uuid *id,
		   struct api_tunnel *ret, struct err *err);
int api_tunnel_list(struct api *api, struct arena *arena, const struct api_filter *filter,
		    struct api_tunnel **ret, size_t *ret_count, struct err *err);
int api_tunnel_delete(struct api *api, const struct uuid *id, bool cascade, struct err *err);
int api_tunnel_connectors(struct api *api, struct arena *arena, const struct uuid *id,
			  struct api_connector **ret, size_t *ret_count, struct err *err);
/* `connector` NULL: all of them. */
int api_tunnel_cleanup(struct api *api, const struct uuid *id, const struct uuid *connector,
		       struct err *err);
/* Owned by the caller, who wipes it. */
int api_tunnel_token(struct api *api, const struct uuid *id, char **ret, struct err *err);
/* *ret_change is "new", "updated", "unchanged" or what the API said, *ret_name the name that was routed. */
int api_route_dns(struct api *api, struct arena *arena, const struct uuid *id, const char *hostname,
		  bool overwrite, const char **ret_change, const char **ret_name, struct err *err);

/* What a person calls a tunnel, as a UUID: a UUID itself, else the tunnel of the credentials file that was
 * given, else by the API. `api` is opened when it is needed (zeroed before, ended by the caller). */
int api_tunnel_find(const struct cli *cli, struct api *api, const char *reference, struct uuid *ret,
		    struct err *err);

/* For `-o`: the members the stock client prints. */
json_t *api_tunnel_json(const struct api_tunnel *t);
json_t *api_connections_json(const struct api_connection *connections, size_t count);
/* Without the fraction: "2026-11-01T10:00:00Z". */
const char *api_time_seconds(struct arena *arena, const struct api_time *t);
/* "2xams01, 1xfra02": sorted, those about to come back left out unless asked for. */
const char *api_connections_text(struct arena *arena, const struct api_connection *connections,
				 size_t count, bool with_pending);

/* --- between api.c and api_tunnels.c --- */

struct api_call {
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
int api_call(struct api *api, const struct api_call *call, json_t **ret_envelope, struct err *err);
