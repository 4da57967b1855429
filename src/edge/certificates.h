/* Certificates that the built-in CA issues: which ones the edge needs, and keeping them in the store.
 *
 * One per domain: each zone, and each deeper domain that routed names are directly below. It covers
 * the domain and one label under it, "b.example.com" and "*.b.example.com", so a new route seldom
 * means a new certificate and none grows with the number of routes. One more for the control host and
 * one for the names connectors ask for. Below a wildcard route only one label has a certificate: TLS
 * knows no deeper wildcards (RFC 6125 §6.4.3).
 * Control thread and command line.
 */
#pragma once

#include <stddef.h>

#include "base/clock.h"
#include "base/err.h"
#include "store/store.h"

/* Beside them the store has certificates of ACME authorities, "acme NAME" (edge/acme/manager.h), and those that
 * people brought, "import NAME". */
enum certificate_source { CERTIFICATE_BUILTIN, CERTIFICATE_ACME, CERTIFICATE_IMPORTED };
#define CERTIFICATE_SOURCES 3
enum certificate_source certificate_source_of(const char *name);
const char *certificate_source_text(enum certificate_source source); /* "built-in", "acme", "imported" */

/* The store's names of these two; those of the others are "domain NAME". */
#define CERTIFICATE_CONTROL "control"
#define CERTIFICATE_TUNNEL "tunnel"

/* Makes the CA (settings "ca.cert" and sealed "ca.key") unless there is one, and writes it to
 * DIR/ca.pem (0644) unless it is there. Any number of times, but not twice at once. */
int certificates_init_ca(struct store *store, const char *dir, struct err *err);

/* What certificates depend on; borrowed. */
struct certificate_needs {
	const struct store_zone *zones;
	size_t zone_count;
	const struct store_route *routes;
	size_t route_count;
	const char *control_host; /* DNS name or IP literal; NULL: none */
};

/* Of those of the built-in CA: issues what is missing, ends in less than 30 days, or was issued by another CA or for other names;
 * drops what nobody needs; writes nothing when all is well. Then lists them all (as
 * store_certificate_list). *ret_renew_at: the wall time at which one is due; INT64_MAX when none ever
 * is, as all end with the CA. One of another source is due when it ends: what is served in its place changes. E_NOT_FOUND when there is no CA. */
int certificates_update(struct store *store, const struct certificate_needs *needs,
			struct store_certificate **ret, size_t *ret_count, usec *ret_renew_at,
			struct err *err);

struct tls_certificate;
/* Of one that store_certificate_get() gave: to serve. With its key in the key process, when that is where it was sealed.
 * NULL: E_TLS, E_DENIED, E_CLOSED. */
struct tls_certificate *certificate_use(const struct store_certificate *c, struct err *err);
/* Its key, a text of tls/private_key.h that was made for its place, or PEM; in the latter case as certificate_box(). */
int certificate_take_key(struct store_certificate *c, const char *text, struct err *err);
/* Before it is put: its key becomes the key process's, and is wiped here. Without a key process nothing happens. */
int certificate_box(struct store_certificate *c, struct err *err);
/* At the start: those whose keys are not yet. How many there were. */
int certificates_box_all(struct store *store, struct err *err);

/* Sets adit_edge_certificate_end_timestamp_seconds for these, and for no others. */
void certificates_report(const struct store_certificate *list, size_t count);
