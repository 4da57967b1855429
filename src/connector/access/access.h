/* `adit access tcp`: a TCP service behind an edge, as a stream of this process or on a local port.
 *
 * Both calls make a loop of their own, return when all is over, and want SIGPIPE ignored only while they
 * run. One thread.
 *
 * Where the far end wants a login, the program of the arguments `login` is run (NULL-terminated; NULL: there is none),
 * which prints a token and nothing else; what it has to tell a person goes to standard error. Connections wait for
 * it, and go on with the token.
 */
#pragma once

#include "base/err.h"
#include "io/address.h"

struct access_target;

/* Standard input and output are the stream. 0 when both directions ended properly; E_CANCELLED without a
 * text when a signal ended it; E_CLOSED with sys_errno EPIPE when nobody reads the output any more. */
int access_stdio(struct access_target *target, const char *const *login, struct err *err);

/* Listens there and carries each connection until SIGINT or SIGTERM: then listens no more, gives running
 * connections LIMIT_ACCESS_DRAIN_MS, and returns 0. A second signal ends them at once. Negative: cannot
 * listen. */
int access_listen(struct access_target *target, const char *const *login, const struct address *at,
		  struct err *err);
