/* Signing in with GitHub, which speaks OAuth and no OpenID Connect: who somebody is, is asked of its API. */
#pragma once

#include "edge/access/oauth.h"

/* As oauth_start() and oauth_finish(). */
int github_start(struct oauth *o);
void github_finish(struct oauth *o);
