/* A stream arrived from the edge: it becomes an exchange, walks ingress and origin, and is answered.
 * One loop. */
#pragma once

#include "base/uuid.h"
#include "http/exchange.h"
#include "transport/udp_flow.h"

struct address;
struct connector_config;
struct health;
struct origin_set;
struct server;

/* `config` is borrowed for life; `origins` is counted. */
struct server *server_new(struct loop *loop, const struct connector_config *config,
			  const struct uuid *connector, struct origin_set *origins);
struct server *server_free(struct server *s);
/* From now on new exchanges use these rules; running ones finish on theirs. */
void server_set_origins(struct server *s, struct origin_set *origins);
/* Those that new exchanges use now. Borrowed. */
struct origin_set *server_origins(const struct server *s);
/* The checks of their services. Borrowed until the origins change. */
struct health *server_health(const struct server *s);
/* Who tells the edge about them: `on_changed` as in health_events. Before the first turn of the loop. */
void server_on_health(struct server *s, bool (*on_changed)(void *ctx), void *ctx);

/* Connections of visitors whose TLS ends here are asked to leave. */
void server_drain(struct server *s);

/* Where the connector's own API listens: nobody gets there through the tunnel. */
void server_set_own_api(struct server *s, const struct address *at);

/* For session_events.on_stream; `index` is the connection's, for the log. */
void server_on_stream(struct server *s, struct stream *st, enum stream_kind kind,
		      const struct head *head, bool fin, unsigned index);
/* For session_events.on_udp and on_udp_dropped. */
void server_on_udp(struct server *s, struct udp_flow *f, const struct udp_target *target,
		   unsigned index);
void server_on_udp_dropped(struct server *s, enum udp_drop why, unsigned index);
