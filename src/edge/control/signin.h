/* Who is signed in on the pages, and who guesses passwords too often. In memory only, bounded; a
 * restart signs everybody out, a takeover does not. Control thread. `now` is clock_now(). */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/clock.h"

/* 32 random bytes in base64url, and a NUL. */
#define SIGNIN_TOKEN_SIZE 44

struct signin;

struct signin_session {
	const char *email;             /* borrowed until the session ends */
	char token[SIGNIN_TOKEN_SIZE]; /* the cookie */
	char csrf[SIGNIN_TOKEN_SIZE];  /* what every form must bring back */
	usec expires;
};

struct signin *signin_new(void);
struct signin *signin_free(struct signin *s);

/* A fresh session, valid for SIGNIN_SECONDS; the oldest one ends when there are too many. */
#define SIGNIN_SECONDS (12 * 3600)
const struct signin_session *signin_open(struct signin *s, const char *email, usec now);
/* NULL when unknown or over. */
const struct signin_session *signin_find(struct signin *s, struct bytes token, usec now);
void signin_close(struct signin *s, struct bytes token);

/* May this address (IPv6: its /64) try a password now? Counts the try; a sign-in that worked is
 * forgiven with signin_try_worked(). *ret_wait_seconds says when to come back after a refusal. */
bool signin_try(struct signin *s, struct bytes ip, usec now, int *ret_wait_seconds);
/* The same without the limit on all addresses together, for what costs us little: strangers who are many keep nobody out
 * then. */
bool signin_try_network(struct signin *s, struct bytes ip, usec now, int *ret_wait_seconds);
/* What counts as one network; in `room`, or in `ip`. */
struct bytes signin_network(struct bytes ip, uint8_t room[16]);
void signin_try_worked(struct signin *s, struct bytes ip);

/* The sessions, for the process that takes over on this host; an array, owned by the caller. What signin_load()
 * does not understand it leaves out. */
json_t *signin_save(const struct signin *s);
void signin_load(struct signin *s, const json_t *list, usec now);

void signin_random_token(char token[SIGNIN_TOKEN_SIZE]);
