/* All that Access is configured to be, as one document that people keep in a file: `adit-edge access apply` and
 * `export`. Objects are known by their names, and name each other by them; the ids of the API stay inside. Rules may be
 * short: "everyone", {"email": "a@example.com"}. Control thread only.
 *
 *   organization: {…}              identity_providers, groups, policies, service_tokens, applications: [{name, …}]
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

struct store;

/* Without ids, times and secrets: applied again it changes nothing. A new reference. */
json_t *access_document_export(struct store *store, struct err *err);

struct access_apply {
	bool is_dry;        /* only say what would happen */
	bool prunes;        /* what the document does not name goes; the organisation stays */
	bool has_countries; /* see access_object_check_served() */
};
/* Puts the document in place, in one transaction or not at all. The result is {"changes": [{kind, name, action}],
 * "secrets": [{name, client_id, client_secret}]}: actions are created, changed, removed; secrets are of new service
 * tokens and never shown again. Errors begin with the place in the document: "policies[2]: …". */
json_t *access_document_apply(struct store *store, const json_t *document,
			      const struct access_apply *how, struct err *err);
