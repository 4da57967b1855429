/* The control plane: REST API, sign-in, administration, on a thread of its own that may block.
 *
 * Requests reach it as whole messages: workers collect a control-host request (bounded) and post it;
 * the admin socket and the command line (when no edge runs) ask the same function. The answer may come
 * later (the login poll waits for the approval).
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/uuid.h"
#include "edge/ports/port_allow.h"
#include "http/head.h"

struct control;
struct countries;
struct json_t;
struct loop;
struct ports_state;
struct snapshot;
struct store;

/* One request. Allocated by the asker, which frees it in answered(). */
struct control_request {
	struct arena arena; /* everything below may live here */
	struct head head;
	struct bytes body;
	struct bytes client_ip;
	bool is_admin; /* came by the admin socket or in-process: no token needed */
	/* the answer, filled in before answered() */
	int status;
	struct bytes content_type;
	struct fields fields; /* Location, Set-Cookie, Cache-Control … */
	struct bytes answer;
	/* On the control thread, exactly once, possibly inside control_ask(). */
	void (*answered)(struct control_request *r);
	void *asker; /* the asker's own */
};

/* What the control plane needs from the rest of the edge. Called on the control thread; NULL members
 * when no edge is running (offline administration). */
struct control_hooks {
	void *ctx;
	/* The store changed: build and spread a new snapshot. */
	int (*changed)(void *ctx, struct err *err);
	/* JSON text (owned by the caller) of the live connections of a tunnel: the array of
	 * CONTROL §3.2 `connections`: [{id, features, version, arch, run_at, conns:[…]}]. */
	char *(*connections)(void *ctx, const struct uuid *tunnel);
	size_t (*connection_count)(void *ctx, const struct uuid *tunnel);
	/* Closes live connections of the tunnel (of one connector when not NULL). */
	void (*disconnect)(void *ctx, const struct uuid *tunnel, const struct uuid *connector);
	/* JSON object (owned) with listeners, workers, sessions, exchanges, uptime: for `status`. */
	char *(*status)(void *ctx);
	/* How a public port is. */
	void (*port_state)(void *ctx, enum port_protocol protocol, uint16_t port,
			   struct ports_state *ret);
	/* JSON array (a new reference), as acme_manager_list(): certificates that are ordered. */
	struct json_t *(*tls_orders)(void *ctx);
	/* Orders them at once; see acme_manager_renew(). */
	int (*tls_renew)(void *ctx, const char *name, struct err *err);
};

struct control_options {
	const char *public_url; /* "https://adit.example.com:8443": where people reach the control host */
	const char *const *edge_addresses; /* "host:port" list that goes into cert.pem and credentials */
	size_t edge_address_count;
	struct port_allow ports; /* the public ports that tunnels may have; borrowed for good */
	/* There is a setting for it; and the database itself, NULL when it cannot be read (offline). */
	bool has_country_database;
	struct countries *countries; /* it takes a reference of its own */
};

/* (Not control_new(): transport/control.h, the control stream of a session, has that name.)
 * `loop` is the control thread's own (timers for waiting logins); NULL offline. */
struct control *control_plane_new(struct store *store, struct loop *loop,
				  const struct control_hooks *hooks,
				  const struct control_options *options);
/* Another database of countries, of which it takes a reference. */
void control_set_countries(struct control *c, struct countries *countries);
/* Adds a part to what `adit-edge status` says: `make` gives a JSON object or array (a new reference, never NULL) and
 * is asked on the control thread. `name` (a literal) is its member in the JSON. How it looks to people:
 * edge/cli/cli_status.c, which shows any object of numbers, texts and lists of objects without knowing it. */
void control_status_add(struct control *c, const char *name, struct json_t *(*make)(void *ctx),
			void *ctx);
/* The edge begins to stop: logins that wait are answered now (their clients ask again), so that they do
 * not hold up the drain. Control thread. */
void control_plane_drain(struct control *c);
/* A successor is starting: the store is not written any more, and who asks waits until control_plane_thaw() (it
 * has failed) or control_plane_hand_over() (it serves: only reading is left here). Control thread. */
void control_plane_freeze(struct control *c);
void control_plane_thaw(struct control *c);
void control_plane_hand_over(struct control *c);
/* What is kept in memory only (sign-ins, certificates that wait for `adit tunnel login`): JSON in ASCII, owned
 * by the caller: wipe it. And back; what is not understood is left out. */
char *control_plane_save(const struct control *c);
void control_plane_load(struct control *c, struct bytes json);
struct control *control_plane_free(struct control *c); /* answers what still waits with 503 */
void control_ask(struct control *c, struct control_request *r);
/* The store was changed by others than the control plane: what is kept of it is read again. */
void control_forget(struct control *c);
