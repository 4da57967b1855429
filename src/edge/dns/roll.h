/* The keys of a zone, and how one takes the place of another without anybody noticing (RFC 6781 §4.1, RFC 7583):
 *
 *   published   the new key stands beside the old one, until everybody has both;
 *   ds          the new key signs; the DNSKEY set is signed by both; the parent's DS record is to be replaced;
 *   retiring    the parent has the new one; the old key stays until nobody has the old DS or old signatures.
 *
 * One key is zone-signing and key-signing key at once, so one roll changes both. The state is in the store, sealed with
 * the keys: it survives restarts, takeovers and restores. Control thread.
 */
#pragma once

#include <jansson.h>

#include "base/uuid.h"
#include "edge/dns/zone.h"

struct store;

enum dns_roll_step {
	DNS_ROLL_NONE,
	DNS_ROLL_NEW, /* asked for; not published yet */
	DNS_ROLL_PUBLISHED,
	DNS_ROLL_DS,
	DNS_ROLL_RETIRING,
};

enum dns_roll_witness {
	DNS_SEEN_BY_NOBODY,
	DNS_SEEN_BY_US,
	DNS_SEEN_BY_RESOLVER,
	DNS_SEEN_BY_OPERATOR
};

struct dns_keys {
	struct dns_key *current; /* owned: the only one, or the old one */
	struct dns_key *next;    /* owned; NULL: no roll is under way */
	enum dns_roll_step step;
	enum dns_roll_witness seen_by; /* who saw the new DS record at the parent */
	/* Wall times. */
	usec since;        /* of the step */
	usec until;        /* earliest end of the step; INT64_MAX: it waits for the DS record */
	usec switched_at;  /* the new key signs from then on */
	uint32_t zone_ttl; /* the longest of what the old key had signed at that time; seconds */
};

/* What a zone's keys are kept for, in seconds. */
struct dns_roll_times {
	uint32_t key_ttl;  /* of the DNSKEY set */
	uint32_t zone_ttl; /* the longest of all records */
	uint32_t ds_ttl;   /* of the DS record at the parent */
	uint32_t margin;   /* until all secondaries have what was published */
};

/* Of what is in the store under "dns.key." and "dns.roll.": private keys that are not the key process's become so. 1 with
 * the new text, owned by the caller; 0: all are. */
int dns_keys_box(const char *text, char **ret_text, struct err *err);
/* A zone without gets its first one. */
int dns_keys_load(struct store *store, const struct uuid *zone, struct dns_keys *ret,
		  struct err *err);
int dns_keys_save(struct store *store, const struct uuid *zone, const struct dns_keys *k,
		  struct err *err);
void dns_keys_done(struct dns_keys *k);

/* Who signs the zone, and whose DS record the parent should have. */
const struct dns_key *dns_keys_signing(const struct dns_keys *k);
/* The one beside it; NULL. */
const struct dns_key *dns_keys_other(const struct dns_keys *k);
/* Takes the steps whose time has come. True: there was one, and the state has to be saved when it is published. */
bool dns_keys_advance(struct dns_keys *k, const struct dns_roll_times *times, usec now);
/* When dns_keys_advance() should be called again; INT64_MAX: something else has to happen. */
usec dns_keys_due(const struct dns_keys *k);

/* "published", "ds", "retiring"; "none", while nothing is under way. */
const char *dns_roll_step_name(enum dns_roll_step step);

/* --- What people ask for, by the zone's name: counts with the next publication ------------------ */

/* E_NOT_FOUND; E_BUSY: one is under way. */
int dns_roll_begin(struct store *store, const char *zone, struct err *err);
/* The parent has the new DS record; DNS_SEEN_BY_NOBODY: has not, after all. E_INVALID: that is not waited for. */
int dns_roll_seen(struct store *store, const char *zone, enum dns_roll_witness who, struct err *err);
/* E_INVALID: there is none, or it is too late. */
int dns_roll_cancel(struct store *store, const char *zone, struct err *err);
/* An object; NULL: *err says why. */
json_t *dns_roll_status(struct store *store, const char *zone, struct err *err);
