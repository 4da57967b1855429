/* Groups that providers do not put into a sign-in: Google's of a Workspace, and Entra's of who is in too many. */
#pragma once

#include "edge/access/oauth.h"

/* Whether a provider of this kind, so configured, says groups: Google does when it is asked (support_groups). */
bool oidc_has_groups(const char *kind, const json_t *config);
/* The scope that asking takes, with a blank in front; "": nobody is asked. */
const char *oidc_groups_scope(const struct oauth *o);
/* The groups of whom `claims` (of the ID token) is about, by the access token of `tokens`; *ret: a new reference, NULL
 * where the claims say all there is to know. False with o->err: they are not known, and nobody may be signed in as
 * somebody without them. */
bool oidc_groups(struct oauth *o, const json_t *tokens, const json_t *claims, const char *email,
		 json_t **ret);
