/* A fresh connection in its TLS handshake, a visitor's or a connector's. Worker thread. */
#pragma once

#include "base/err.h"
#include "io/byte_stream.h"

struct address;
struct tls_context;
struct worker;

/* With the TLS stream (owned by the callee), or NULL and the reason. Not called when the worker stops. */
typedef void arrival_done(struct worker *w, struct byte_stream *stream, const struct err *err);

/* Takes the socket over. */
void arrival_start(struct worker *w, int fd, const struct address *peer, struct tls_context *tls,
		   arrival_done *done);
/* The worker stops: whoever is still shaking hands is dropped. */
void arrival_cancel_all(struct worker *w);
