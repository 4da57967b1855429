/* A third driver of transport/transport.h, in memory: an edge and a connector joined in one loop.
 *
 * It keeps the interface honest: windows are small, a write takes fewer bytes than offered, and every
 * event comes on a later turn. Tests of the edge and the connector use it where HTTP/2 would only be
 * in the way.
 */
#pragma once

#include "transport/transport.h"

/* Of each stream and direction. */
#define FAKE_WINDOW 8192
/* A write takes so much at most. */
#define FAKE_WRITE_MAX 3000
/* Streams a session may have open. */
#define FAKE_STREAMS 2000

extern const struct transport fake_transport;

/* Both ends; `stream` in either is not used. The connector's registration reaches the edge on a later
 * turn. The edge announces FEATURE_REASON, the connector what its registration lists. */
void fake_transport_pair(struct loop *l, const struct session_start *edge,
			 const struct session_start *connector, struct session **ret_edge,
			 struct session **ret_connector);
/* The line goes dead: both sessions get REASON_LOST. */
void fake_transport_cut(struct session *s);
