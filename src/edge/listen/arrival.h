/* A fresh connection in its TLS handshake, a visitor's or a connector's. Worker thread. */
#pragma once

#include "base/err.h"
#include "io/byte_stream.h"

struct address;
struct allowance;
struct tls_context;
struct worker;

/* With the TLS stream and the allowance of arrival_start() (owned by the callee), or NULL, NULL and the reason. Not
 * called when the worker stops. */
typedef void arrival_done(struct worker *w, struct byte_stream *stream, struct allowance *allowance,
			  const struct err *err);

/* Takes the socket over, and the allowance: what a visitor's connection holds (edge/listen/allowance.h); NULL: it is
 * none. */
void arrival_start(struct worker *w, int fd, const struct address *peer, struct tls_context *tls,
		   struct allowance *allowance, arrival_done *done);
/* The same of a connection that is a stream already. */
void arrival_start_stream(struct worker *w, struct byte_stream *stream, struct tls_context *tls,
			  struct allowance *allowance, arrival_done *done);
/* The worker stops: whoever is still shaking hands is dropped. */
void arrival_cancel_all(struct worker *w);
