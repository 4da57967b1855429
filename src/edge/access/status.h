/* The part "access" of `adit-edge status`: what is configured, how identity providers are, the signing key, sessions,
 * who was kept out lately. Control thread; also offline.
 */
#pragma once

struct control;
struct json_t;

/* A JSON object, a new reference; what cannot be read is left out, and the log says why. */
struct json_t *access_status(struct control *c);
