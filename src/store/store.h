/* What the edge remembers: accounts, users, zones, tunnels, routes, keys. Typed questions, not SQL.
 *
 * Used by the control thread only (it may block). Every write is one transaction and appends to
 * `changes`, whose highest revision store_revision() returns. Secrets are sealed with the node's
 * master key before they reach the disk. All strings in results are owned by the result; free them
 * with the matching *_done().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/uuid.h"
#include "io/network.h"

struct store;
struct seal_key;

/* In the state directory. A running edge is kept from master.key, for which that must be in no folder of what it writes. */
#define STORE_FOLDER "db"

/* The state directory: DIR/db/adit.db (SQLite, WAL, synchronous=FULL) and DIR/master.key (0600). A database of before
 * may be DIR/adit.db, and is used there until store_move_in().
 * `create`: make what is missing (DIR itself with 0700; its parent must be there). Several processes
 * may have it open. E_NOT_FOUND: no database and !create, or its key is gone; E_DENIED: another
 * database's key, or a key others may read; E_UNSUPPORTED: written by a newer program. */
struct store *store_open(const char *dir, bool create, struct err *err);
/* The same where DIR/master.key is out of reach: with what seal_key_load() made of it before. Without its
 * master key this process can open what is sealed but no private keys of the key process (tls/key_box.h), and its backups
 * lack the master key: whoever has them and the key's file makes them whole. The key is copied. */
struct store *store_open_with(const char *dir, const struct seal_key *key, struct err *err);
/* Is there a database? */
bool store_is_there(const char *dir);
/* Moves DIR/adit.db into DIR/db, unless it is there already. Whole at any moment: it is made one file, then gets its new
 * name. E_BUSY: somebody has it open, and it stays. */
int store_move_in(const char *dir, struct err *err);
/* The folder that is written to while the store is open, and holds nothing else: DIR/db, or DIR. Owned by the caller. */
char *store_folder(const char *dir);
struct store *store_close(struct store *s);
/* Every write fails with E_BUSY from now on, or works again: another process is the one that writes. */
void store_set_read_only(struct store *s, bool is_read_only);
/* Highest revision in `changes`; -1 on failure. */
int64_t store_revision(struct store *s, struct err *err);
/* A consistent copy of database and key in one file, while running (0600): an SQLite database whose
 * table `backup_key` holds the master key as it is, so keep it like the key. E_EXISTS if it is there. */
int store_backup(struct store *s, const char *path, struct err *err);
/* Puts the master key of `dir` into such a backup. A whole one stays as it is. */
int store_backup_complete(const char *path, const char *dir, struct err *err);
/* The reverse of store_backup(), into an empty or missing directory. */
int store_restore(const char *path, const char *dir, struct err *err);

/* --- Settings and sealed values (names are ours: "ca.cert", "ca.key", "control.host") --------- */

/* NUL-terminated, owned by the caller; NULL with E_NOT_FOUND when unset. Sealed ones come back open. */
char *store_setting_get(struct store *s, const char *name, struct err *err);
int store_setting_put(struct store *s, const char *name, const char *value, bool sealed,
		      struct err *err);
/* Those whose names begin so, one a line; owned by the caller, "" when there is none. NULL: see err. */
char *store_setting_names(struct store *s, const char *prefix, struct err *err);

/* --- Accounts, users, API tokens ------------------------------------------------------------- */

/* Account id: 32 hex digits, as in CONTROL. One account exists after init. */
int store_account_first(struct store *s, char id[33],
			struct err *err); /* creates it when there is none */

/* Administrators. Passwords are argon2id hashes. */
int store_user_add(struct store *s, const char *email, struct err *err); /* E_EXISTS */
int store_user_set_password(struct store *s, const char *email, const char *password,
			    struct err *err);
/* 0, or E_DENIED for a wrong password or unknown user (same time either way). */
int store_user_check(struct store *s, const char *email, const char *password, struct err *err);
int64_t store_user_count(struct store *s, struct err *err);
char *store_user_first(struct store *s, struct err *err); /* e-mail; owned; NULL: none */
struct store_user {
	char *email;
	bool has_password; /* else one-time links are the only way in */
	usec created_at;
};
void store_user_done(struct store_user *u);
/* By age. Array owned by the caller: *_done() each, then mem_free. */
int store_user_list(struct store *s, struct store_user **ret, size_t *ret_count, struct err *err);

/* One-time sign-in links: a random token of which only the hash is kept. */
char *store_link_create(struct store *s, const char *email, int64_t valid_seconds,
			struct err *err); /* token text, owned */
/* Uses it up. Returns the e-mail (owned), or NULL with E_DENIED when unknown, used or too old. */
char *store_link_use(struct store *s, const char *token, struct err *err);

struct store_token {
	char account[33];
	struct uuid zone; /* zone ids are 32 hex digits on the wire: the UUID without dashes */
	char *note;
};
void store_token_done(struct store_token *t);
/* API tokens as in cert.pem; only a hash is kept. Text is owned by the caller. */
char *store_token_create(struct store *s, const char *account, const struct uuid *zone,
			 const char *note, struct err *err);
int store_token_find(struct store *s, const char *token, struct store_token *ret,
		     struct err *err); /* E_DENIED */
/* What is kept of a token instead of it, for those who compare without the store: see
 * store_token_hashes(). Any thread. */
#define STORE_TOKEN_HASH_BYTES 32
void store_token_hash(struct bytes token, uint8_t ret[STORE_TOKEN_HASH_BYTES]);
struct store_token_hash {
	uint8_t hash[STORE_TOKEN_HASH_BYTES];
	char account[33];
};
/* Of every API token. Array owned by the caller: mem_free. */
int store_token_hashes(struct store *s, struct store_token_hash **ret, size_t *ret_count,
		       struct err *err);

/* --- Zones ----------------------------------------------------------------------------------- */

struct store_zone {
	struct uuid id;
	char account[33];
	char *name; /* "example.com", lower case, no dot at the end */
	usec created_at;
};
void store_zone_done(struct store_zone *z);
int store_zone_add(struct store *s, const char *account, const char *name, struct store_zone *ret,
		   struct err *err); /* E_EXISTS, E_INVALID */
/* Its API tokens go with it. E_NOT_FOUND; E_BUSY while it has routes. */
int store_zone_remove(struct store *s, const char *name, struct err *err);
int store_zone_find(struct store *s, const char *name, struct store_zone *ret, struct err *err);
int store_zone_get(struct store *s, const struct uuid *id, struct store_zone *ret, struct err *err);
/* Array owned by the caller: *_done() each, then mem_free. */
int store_zone_list(struct store *s, struct store_zone **ret, size_t *ret_count, struct err *err);

/* --- Tunnels --------------------------------------------------------------------------------- */

/* How requests are shared among a tunnel's replicas; what is not set is inherited. */
#define STORE_POLICY_BYTES 31
struct store_balance {
	char policy[STORE_POLICY_BYTES + 1]; /* "": not set */
	enum store_choice { STORE_UNSET, STORE_NO, STORE_YES } eject_on_5xx;
};

struct store_tunnel {
	struct uuid id;
	char account[33];
	char *name;
	struct secret secret; /* raw bytes, at least 32; empty once deleted */
	usec created_at;
	usec deleted_at; /* wall time, as all times here; 0: it lives */
	struct store_balance balance;
};
void store_tunnel_done(struct store_tunnel *t);

int store_tunnel_create(struct store *s, const char *account, const char *name, struct bytes secret,
			struct store_tunnel *ret,
			struct err *err); /* E_EXISTS: a living one has the name */
int store_tunnel_get(struct store *s, const char *account, const struct uuid *id,
		     struct store_tunnel *ret, struct err *err);
/* Marks it deleted, and its network routes, and removes its routes and ports. E_NOT_FOUND. */
int store_tunnel_delete(struct store *s, const char *account, const struct uuid *id,
			struct err *err);

/* E_NOT_FOUND, also for a deleted one. Which policies there are is the caller's business. */
int store_tunnel_set_balance(struct store *s, const char *account, const struct uuid *id,
			     const struct store_balance *balance, struct err *err);

struct store_tunnel_filter {
	const char *account;
	const char *name, *name_prefix, *exclude_prefix; /* NULL: any */
	const struct uuid *id;                           /* NULL: any */
	int is_deleted;                                  /* -1: either, 0, 1 */
	usec existed_at;                                 /* 0: any */
	size_t offset, limit;                            /* limit 0: all */
};
int store_tunnel_list(struct store *s, const struct store_tunnel_filter *f,
		      struct store_tunnel **ret, size_t *ret_count, size_t *ret_total,
		      struct err *err);

/* --- Routes: hostname -> tunnel --------------------------------------------------------------- */

enum store_route_change { ROUTE_NEW, ROUTE_UPDATED, ROUTE_UNCHANGED };

struct store_route {
	char *hostname; /* lower case; may begin with "*." */
	struct uuid zone, tunnel;
	usec created_at;
	struct store_balance balance;
};
void store_route_done(struct store_route *r);
/* E_EXISTS when another tunnel has the hostname, or A, AAAA or CNAME records do, and !overwrite, which removes
 * these. The caller checked that it is in the zone. */
int store_route_put(struct store *s, const struct uuid *zone, const char *hostname,
		    const struct uuid *tunnel, bool overwrite, enum store_route_change *ret,
		    struct err *err);
/* E_NOT_FOUND. */
int store_route_remove(struct store *s, const char *hostname, struct err *err);
int store_route_get(struct store *s, const char *hostname, struct store_route *ret, struct err *err);
int store_route_set_balance(struct store *s, const char *hostname,
			    const struct store_balance *balance, struct err *err);
int store_route_list(struct store *s, struct store_route **ret, size_t *ret_count, struct err *err);

/* --- DNS: records of people, beside the routes ------------------------------------------------ */

struct store_dns_record {
	struct uuid id, zone;
	char *name; /* in full, lower case */
	char *type; /* upper case */
	char *data; /* presentation form; what makes sense is the caller's business */
	uint32_t ttl;
	usec created_at;
};
void store_dns_record_done(struct store_dns_record *r);
/* E_EXISTS: it is there, or the name has a CNAME (or other records, for one), or is routed and the record is
 * an A, AAAA or CNAME; E_NOT_FOUND: no such zone. id and created_at are filled in. */
int store_dns_record_add(struct store *s, struct store_dns_record *r, struct err *err);
/* All of `name`, those of `type` and `data` if these are not NULL. Returns how many; E_NOT_FOUND: none. */
int store_dns_record_remove(struct store *s, const struct uuid *zone, const char *name,
			    const char *type, const char *data, struct err *err);
/* By its id (E_NOT_FOUND). What replaces one keeps its id and created_at; see store_dns_record_add(). */
int store_dns_record_replace(struct store *s, struct store_dns_record *r, struct err *err);
int store_dns_record_get(struct store *s, const struct uuid *zone, const struct uuid *id,
			 struct store_dns_record *ret, struct err *err);
int store_dns_record_remove_one(struct store *s, const struct uuid *zone, const struct uuid *id,
				struct err *err);
/* Of one zone, or of all (NULL); by name and type. Array owned by the caller: *_done() each, then mem_free. */
int store_dns_record_list(struct store *s, const struct uuid *zone, struct store_dns_record **ret,
			  size_t *ret_count, struct err *err);
/* A new serial of the zone, higher than the last one (RFC 1982) and at least `now` in seconds since 1970, so that
 * it is higher after a restore, too. Not a change that others must follow. */
int store_dns_serial_next(struct store *s, const struct uuid *zone, uint32_t *ret, struct err *err);

/* A secret shared with another name server (TSIG). */
struct store_dns_key {
	char *name;           /* lower case, no dot at the end */
	char *algorithm;      /* "hmac-sha256" */
	struct secret secret; /* base64, with a NUL behind it that counts */
	usec created_at;
};
void store_dns_key_done(struct store_dns_key *k);
/* E_EXISTS: the name is taken. created_at is filled in. */
int store_dns_key_add(struct store *s, struct store_dns_key *k, struct err *err);
/* E_NOT_FOUND; E_BUSY: secondaries or updates use it; `err` says which. */
int store_dns_key_remove(struct store *s, const char *name, struct err *err);
/* By name. Array owned by the caller: *_done() each, then mem_free. */
int store_dns_key_list(struct store *s, struct store_dns_key **ret, size_t *ret_count,
		       struct err *err);

/* Another name server for all zones. */
struct store_dns_secondary {
	char *address; /* IP:PORT, where it is told of changes */
	char *key;     /* what it signs with */
	usec created_at;
};
void store_dns_secondary_done(struct store_dns_secondary *d);
/* E_EXISTS: it is there; E_NOT_FOUND: there is no such key. created_at is filled in. */
int store_dns_secondary_add(struct store *s, struct store_dns_secondary *d, struct err *err);
int store_dns_secondary_remove(struct store *s, const char *address, struct err *err);
int store_dns_secondary_list(struct store *s, struct store_dns_secondary **ret, size_t *ret_count,
			     struct err *err);

/* --- DNS: zones that another name server keeps, which is told of hostnames (RFC 2136) ------------- */

struct store_dns_update {
	struct uuid zone;
	char *zone_name; /* ignored by _put() */
	char *server;    /* "IP:PORT" */
	char *key;       /* name of the key that signs; "": none */
	char *target;    /* hostnames become CNAMEs of it; "": they get the edge's addresses */
	uint32_t ttl;
};
void store_dns_update_done(struct store_dns_update *u);
/* Replaces what there is for the zone. E_NOT_FOUND: no such zone. */
int store_dns_update_put(struct store *s, const struct store_dns_update *u, struct err *err);
/* What was told of is forgotten, too. E_NOT_FOUND. */
int store_dns_update_remove(struct store *s, const struct uuid *zone, struct err *err);
/* By zone. Array owned by the caller: *_done() each, then mem_free. */
int store_dns_update_list(struct store *s, struct store_dns_update **ret, size_t *ret_count,
			  struct err *err);

/* What such a server has by us. */
struct store_dns_updated {
	struct uuid zone;
	char *name, *data; /* "A 203.0.113.7", one record a line; "": nothing yet */
	bool overwrite;    /* records that are in the way may go */
};
void store_dns_updated_done(struct store_dns_updated *u);
/* `data` NULL: nothing is there any more, forgets it. Ends permission to overwrite unless there is `overwrite`.
 * Not a change that others must follow. */
int store_dns_updated_put(struct store *s, const struct uuid *zone, const char *name,
			  const char *data, bool overwrite, struct err *err);
/* 1, or 0 when no other server keeps the zone. */
int store_dns_updated_allow(struct store *s, const struct uuid *zone, const char *name,
			    struct err *err);
/* By name. Array owned by the caller: *_done() each, then mem_free. */
int store_dns_updated_list(struct store *s, struct store_dns_updated **ret, size_t *ret_count,
			   struct err *err);

/* --- Private networks: virtual networks, and network -> tunnel in each ------------------------ */

struct store_vnet {
	struct uuid id;
	char account[33];
	char *name, *comment;
	bool is_default; /* exactly one living one of an account is */
	usec created_at, deleted_at;
};
void store_vnet_done(struct store_vnet *v);

/* `is_default` takes that from the one that had it. E_EXISTS: a living one has the name. */
int store_vnet_create(struct store *s, const char *account, const char *name, const char *comment,
		      bool is_default, struct store_vnet *ret, struct err *err);
/* The account's default one, made when there is none. */
int store_vnet_default(struct store *s, const char *account, struct store_vnet *ret,
		       struct err *err);
/* Living or deleted. E_NOT_FOUND. */
int store_vnet_get(struct store *s, const char *account, const struct uuid *id,
		   struct store_vnet *ret, struct err *err);
struct store_vnet_filter {
	const char *account, *name; /* NULL: any */
	const struct uuid *id;      /* NULL: any */
	int is_default, is_deleted; /* -1: either, 0, 1 */
};
/* By age. Array owned by the caller: *_done() each, then mem_free. */
int store_vnet_list(struct store *s, const struct store_vnet_filter *f, struct store_vnet **ret,
		    size_t *ret_count, struct err *err);
struct store_vnet_change {
	const char *name, *comment; /* NULL: stays */
	bool make_default;
};
/* E_NOT_FOUND, also for a deleted one; E_EXISTS: another has the name. */
int store_vnet_update(struct store *s, const char *account, const struct uuid *id,
		      const struct store_vnet_change *change, struct err *err);
/* Marks it deleted; with `force` its routes, too. E_NOT_FOUND; E_BUSY while it has routes; E_INVALID: the
 * default one stays. */
int store_vnet_delete(struct store *s, const char *account, const struct uuid *id, bool force,
		      struct err *err);

struct store_network_route {
	struct uuid id;
	char account[33];
	struct network network;
	struct uuid tunnel, vnet;
	char *tunnel_name, *comment;
	usec created_at, deleted_at;
};
void store_network_route_done(struct store_network_route *r);

/* E_EXISTS: the virtual network has a living route for exactly this network (smaller and larger ones may
 * overlap it: the longest prefix wins); E_NOT_FOUND: no such living tunnel or virtual network. */
int store_network_route_add(struct store *s, const char *account, const struct network *network,
			    const struct uuid *tunnel, const struct uuid *vnet, const char *comment,
			    struct store_network_route *ret, struct err *err);
/* Living or deleted. E_NOT_FOUND. */
int store_network_route_get(struct store *s, const char *account, const struct uuid *id,
			    struct store_network_route *ret, struct err *err);
/* Marks it deleted. E_NOT_FOUND, also for a deleted one. */
int store_network_route_delete(struct store *s, const char *account, const struct uuid *id,
			       struct err *err);
struct store_network_filter {
	const char *account, *comment;       /* NULL: any */
	const struct uuid *tunnel, *vnet;    /* NULL: any */
	const struct network *within, *over; /* inside of, and around; NULL: any */
	int is_deleted;                      /* -1: either, 0, 1 */
	usec existed_at;                     /* 0: any */
	size_t offset, limit;                /* limit 0: all */
};
/* By virtual network, then address, the larger network first. Array owned by the caller. */
int store_network_route_list(struct store *s, const struct store_network_filter *f,
			     struct store_network_route **ret, size_t *ret_count, size_t *ret_total,
			     struct err *err);
/* The one that an address takes: the longest prefix. E_NOT_FOUND. */
int store_network_route_find(struct store *s, const char *account, const struct uuid *vnet,
			     const struct network *address, struct store_network_route *ret,
			     struct err *err);

/* --- Public ports: port of the edge -> service behind a tunnel ------------------------------- */

struct store_port {
	struct uuid id;
	char account[33];
	bool is_udp;
	uint16_t port;
	struct uuid tunnel;
	char *tunnel_name;
	char *service;         /* a hostname of the tunnel's ingress rules, or IP:PORT */
	bool has_proxy_header; /* PROXY protocol, version 2 */
	char *comment;
	usec created_at;
};
void store_port_done(struct store_port *p);

/* id, tunnel_name and created_at of `port` are ignored. E_EXISTS: somebody has the port, of this account or
 * another; E_NOT_FOUND: no such living tunnel. What a service may look like is the caller's business. */
int store_port_add(struct store *s, const struct store_port *port, struct store_port *ret,
		   struct err *err);
int store_port_get(struct store *s, const char *account, const struct uuid *id,
		   struct store_port *ret, struct err *err); /* E_NOT_FOUND */
int store_port_delete(struct store *s, const char *account, const struct uuid *id,
		      struct err *err); /* E_NOT_FOUND */
/* By protocol and port; of all accounts when it is NULL. Array owned by the caller: *_done() each, then
 * mem_free. */
int store_port_list(struct store *s, const char *account, struct store_port **ret,
		    size_t *ret_count, struct err *err);

/* --- Sites: how visitors of a zone or a hostname are served ----------------------------------- */

/* NULL: a hostname takes what its zone has, a zone what is built in. What the values may be is the caller's
 * business. */
struct store_site {
	struct uuid zone;
	char *hostname;    /* lower case; "": the zone itself */
	char *hsts;        /* value of Strict-Transport-Security; "": none is sent */
	char *min_tls;     /* "1.2", "1.3" */
	char *client_auth; /* "off", "optional", "require" */
	char *client_ca;   /* PEM */
	char *passthrough; /* "on": TLS ends at the service; of hostnames alone */
};
void store_site_done(struct store_site *p);
int store_site_get(struct store *s, const struct uuid *zone, const char *hostname,
		   struct store_site *ret, struct err *err); /* E_NOT_FOUND: nothing is set */
/* With nothing set it is forgotten. */
int store_site_put(struct store *s, const struct store_site *site, struct err *err);
/* Those of zones first. Array owned by the caller: *_done() each, then mem_free. */
int store_site_list(struct store *s, struct store_site **ret, size_t *ret_count, struct err *err);
/* Whether TLS of the hostname (may be a wildcard itself) is passed through: its own settings say so or, where it has
 * none at all, those of the longest wildcard above. Pure. */
bool store_site_passes(const struct store_site *sites, size_t count, const char *hostname);

/* --- OCSP: what authorities say of certificates ----------------------------------------------- */

struct store_ocsp {
	char *certificate; /* SHA-256 of its DER, hex */
	uint8_t *response; /* DER; owned */
	size_t response_len;
	usec fresh_until, next_try_at;
};
void store_ocsp_done(struct store_ocsp *o);
int store_ocsp_list(struct store *s, struct store_ocsp **ret, size_t *ret_count, struct err *err);
/* Also drops what is no longer fresh. */
int store_ocsp_put(struct store *s, const struct store_ocsp *o, struct err *err);

/* --- Certificates ---------------------------------------------------------------------------- */

struct store_certificate {
	char *name;      /* "zone example.com": what it is for */
	int64_t rev;     /* new with each put: name and rev say which certificate it is */
	char *hostnames; /* one a line, sorted */
	char *issuer;    /* fingerprint of the CA that signed it */
	usec expires_at;
	char *cert_pem; /* NULL in lists */
	/* One of the two, none in lists. The former is sealed by the store; the latter is what the key process has sealed
	 * for store_certificate_place(), and stays as it is. */
	struct secret key_pem, boxed_key;
};
/* "certificate NAME"; owned by the caller. */
char *store_certificate_place(const char *name);
void store_certificate_done(struct store_certificate *c);
/* Without certificates and keys; by name. Array owned by the caller. */
int store_certificate_list(struct store *s, struct store_certificate **ret, size_t *ret_count,
			   struct err *err);
int store_certificate_get(struct store *s, const char *name, struct store_certificate *ret,
			  struct err *err); /* E_NOT_FOUND */
/* Puts (rev is ignored) and drops in one transaction; nothing to do writes nothing. */
int store_certificates_change(struct store *s, const struct store_certificate *put, size_t put_count,
			      const char *const *drop, size_t drop_count, struct err *err);

/* --- ACME: how it stands with each certificate that an authority issues ------------------------ */

struct store_acme_name {
	char *name; /* "domain example.com", "host app.example.com"; the certificate is "acme NAME" */
	char *directory;        /* URL of the authority that issued it; "": there is none yet */
	char *renewal_id;       /* tls_renewal_id(); "": none */
	char *error;            /* of the last attempt; "": it went well */
	usec started_at;        /* from when on it is good; wall times, as all here */
	usec renew_at, ask_at;  /* when to renew, and when to ask the authority about that */
	usec next_at, tried_at; /* no attempt before; the last one */
	int64_t failures;       /* since the last success */
	bool is_on_demand;      /* it is there because somebody asked for the name */
};
void store_acme_name_done(struct store_acme_name *n);
/* By name. Array owned by the caller: *_done() each, then mem_free. */
int store_acme_list(struct store *s, struct store_acme_name **ret, size_t *ret_count,
		    struct err *err);
/* One transaction; `certificate` may be NULL: the one that is there stays. */
int store_acme_put(struct store *s, const struct store_acme_name *n,
		   const struct store_certificate *certificate, struct err *err);
/* With its certificate. Nothing there is fine. */
int store_acme_drop(struct store *s, const char *name, struct err *err);
