/* What Access counts, for /metrics: decisions, sign-ins, tokens, revocations, sessions, identity providers. Any thread,
 * but for what says otherwise. docs/operations.md has the names.
 *
 * Labels are names that administrators gave (applications, providers) and words of ours: never what a visitor sends.
 */
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/metrics.h"

/* What became of a request, or of somebody who has just signed in. */
enum access_counted {
	COUNTED_ALLOWED,  /* a person */
	COUNTED_SERVICE,  /* a service token, a certificate */
	COUNTED_BYPASSED, /* nobody had to be known */
	COUNTED_SIGN_IN,  /* sent to sign in */
	COUNTED_REFUSED,
	COUNTED_KINDS,
};

/* Applications and providers that have series of their own; those beyond are counted together as "other". */
#define ACCESS_METRIC_NAMES 100

/* Takes a lock: whoever counts often keeps it. Lives as long as the process. */
struct metric *access_metric_decision(const char *app, enum access_counted what);
/* `method`: the provider's type ("password", "oidc"); `outcome`: "signed_in", "failed", "limited". */
void access_count_signin(const char *method, const char *outcome);
/* `type`: "app", "org" … */
void access_count_token(const char *type);
/* `of`: "person", "application", "logout". */
void access_count_revocation(const char *of);
/* A step at a provider (its name) is over: it answered, refused, or could not be asked. */
void access_count_provider(const char *provider, const char *outcome, usec took);
/* Of the store: how many are good. */
extern struct metric metric_access_sessions;

/* Before threads start. */
void access_register_metrics(void);
