/* OpenID Connect: the steps of oauth_start() and oauth_finish() for providers that speak it. */
#pragma once

#include "edge/access/oauth.h"

int oidc_start(struct oauth *o);
void oidc_finish(struct oauth *o);
int oidc_check(const struct oauth *o, struct err *err);
