/* What the drivers' sessions have in common: the conversation on the control stream, registration and its
 * deadline, leaving in good order. A driver embeds struct tunnel and adds its connection. Included by the
 * drivers alone. One loop.
 */
#pragma once

#include "base/buf.h"
#include "io/address.h"
#include "io/loop.h"
#include "transport/control.h"
#include "transport/transport.h"

#define TUNNEL_MAGIC 0x74756e6e

/* All adit_* features of a peer, joined by commas. */
#define TUNNEL_FEATURES_BYTES 1024

struct tunnel;

/* What a driver does for it. */
struct tunnel_driver {
	const struct transport *transport;
	/* On the control stream, which is there; takes all or a part, tunnel_pump_control() is called again
	 * when there is room. With `fin` our side of it ends. */
	size_t (*write_control)(struct tunnel *t, struct bytes data, bool fin);
	/* Closes the connection; its closed event comes later and is the driver's to handle. */
	void (*disconnect)(struct tunnel *t, enum reason why);
	/* Edge: what it can do, as the answer to the registration of a connector of ours says it. NULL: such
	 * a connector knows it by other means. */
	const char *features;
	/* Streams may overtake what was said before them on the control stream: when a connector has left, the edge
	 * closes the connection. */
	bool edge_closes;
	/* Edge, leaving: tells the connector that no more streams will be opened. NULL: cannot be said. */
	void (*say_leaving)(struct tunnel *t);
	/* The peer leaves, after the session's user was told. NULL: it does not matter. */
	void (*draining)(struct tunnel *t);
};

struct tunnel {
	struct session base;
	uint32_t magic;
	const struct tunnel_driver *driver; /* static */
	struct control *control;            /* owned */
	size_t streams;                     /* without the control stream */
	size_t flows; /* connector: UDP flows that its leaving waits for; they are no streams */
	bool has_datagrams_v2, has_datagrams_v3; /* the connector's word, PROTOCOL.md §1.10 */
	bool has_control_stream;                 /* it is open, on either side */
	bool is_registered;
	bool is_refused;      /* edge: the answer was no; connector: it came */
	bool control_is_over; /* the peer ended it */
	bool said_goodbye;    /* we did */
	bool is_leaving;      /* drain() was called */
	bool lost_streams;    /* some ended with the connection */
	bool is_closing;
	enum reason why; /* once is_closing */
	enum reason deadline_reason;
	struct timer deadline;
	struct address peer;
	struct buf peer_features; /* text */
	struct buf local_config;  /* connector; JSON until sent */
};

static inline struct tunnel *tunnel_of(struct session *s)
{
	struct tunnel *t = CONTAINER_OF(s, struct tunnel, base);

	CHECK(t, TUNNEL_MAGIC);
	return t;
}

/* `t` is zeroed. Starts the deadline of the registration. */
void tunnel_init(struct tunnel *t, struct loop *l, const struct tunnel_driver *driver,
		 const struct session_start *how, const struct address *peer);
void tunnel_done(struct tunnel *t);
/* Once the connection is gone: reports it. `err` is why the connection ended. The last call before
 * tunnel_done(). */
void tunnel_closed(struct tunnel *t, const struct err *err);

void tunnel_close(struct tunnel *t, enum reason why);
/* Sends what the conversation has ready, and ends the stream when it is over. */
void tunnel_pump_control(struct tunnel *t);
/* What came on the control stream. */
void tunnel_feed_control(struct tunnel *t, struct bytes data, bool fin);
/* It ended without a FIN. */
void tunnel_lose_control(struct tunnel *t);
/* The peer opens (connector: takes) no more streams. */
void tunnel_set_draining(struct tunnel *t);
/* After a stream has ended. */
void tunnel_check_drained(struct tunnel *t);
/* Adds those of a comma-separated list that are extensions of ours. */
void tunnel_add_peer_features(struct tunnel *t, struct bytes list);
/* Whether a stream that the edge opens is to be served. It may overtake the answer to our registration: at
 * the edge HEADERS go before DATA. */
bool tunnel_may_serve(const struct tunnel *t);

/* For struct transport. */
void tunnel_reply(struct session *s, const struct registered *r);
void tunnel_drain(struct session *s);
bool tunnel_ask_to_move(struct session *s);
size_t tunnel_stream_count(const struct session *s);
bool tunnel_has_feature(const struct session *s, const char *feature);
bool tunnel_report(struct session *s, struct bytes json);
