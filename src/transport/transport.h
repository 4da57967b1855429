/* Tunnel sessions: the private line a connector dials and an edge sends requests down.
 *
 * Never "client" or "server": the connector *dials*, the edge *accepts*; the edge *opens* streams, the
 * connector *answers*. Two drivers implement one small interface (h2/, later quic/), a third lives in
 * tests/fake. A session and its streams belong to one loop for life.
 *
 * Rules: no event arrives inside a call. write() may take fewer bytes than offered, on_writable() then
 * follows. Received bytes count against the stream's window until consume() gives them back.
 * on_closed() of a stream comes once and last; all streams' come before the session's.
 */
#pragma once

#include "base/uuid.h"
#include "http/head.h"
#include "io/byte_stream.h"

struct session;
struct stream;
struct loop;
struct quic_conn;
/* See transport/udp_flow.h. */
struct udp_flow;
struct udp_flow_events;
struct udp_target;

/* --- Heads ----------------------------------------------------------------------------------- */

enum stream_kind {
	STREAM_HTTP,
	STREAM_WEBSOCKET, /* an HTTP upgrade: raw bytes both ways after 101 */
	STREAM_TCP,       /* raw bytes to head->authority, an IP:port literal */
	STREAM_CONFIG,    /* a configuration push, answered like HTTP */
};

/* Why a stream or session ended; each driver maps it to its protocol in one place. */
enum reason {
	REASON_DONE,      /* both sides ended well */
	REASON_CANCELLED, /* whoever wanted it has left */
	REASON_FAILED,    /* our side could not go on */
	REASON_REFUSED,   /* not processed at all: may be sent again elsewhere */
	REASON_PROTOCOL,  /* the peer broke the protocol */
	REASON_LOST,      /* the connection died under it */
	REASON_TIMEOUT,
	REASON_FLOOD,
};
const char *reason_text(enum reason why);

/* The connector's answer to an opened stream. */
struct answer {
	const struct head *head; /* status and the origin's fields; 101 for an upgrade */
	bool from_connector;     /* the connector failed: status is its own, not the origin's */
	bool flow_rate_limited;
	struct bytes failure_json; /* adit_reason: what failed, as a JSON object; empty if none */
};

/* --- Registration (control.c speaks it over any driver) --------------------------------------- */

struct registration {
	struct bytes account; /* account tag, text */
	struct bytes secret;  /* raw bytes */
	struct uuid tunnel;
	uint8_t index;         /* of the connection, 0-based */
	struct uuid connector; /* ClientInfo.clientId */
	struct bytes version, arch;
	const struct bytes *features; /* feature_count of them */
	size_t feature_count;
	uint8_t attempts;      /* numPreviousAttempts */
	struct bytes local_ip; /* 4 or 16 bytes, or empty */
};

struct registered {
	bool ok;
	struct uuid connection; /* ok */
	struct bytes location;  /* ok: the edge node's name */
	bool remotely_managed;  /* ok */
	struct bytes features; /* ok; what the edge can do, comma-separated: the drivers' own business */
	struct bytes cause; /* not ok: for a person */
	bool should_retry;  /* not ok */
	bool is_duplicate;  /* not ok: EDUPCONN */
};

/* --- Events ---------------------------------------------------------------------------------- */

struct session_events {
	/* Edge only: a connector asks to register. Borrowed until return. The edge answers with
	 * session_register(), now or later. */
	void (*on_register)(struct session *s, const struct registration *r);
	/* Connector only: the edge's word. !ok: the session closes itself afterwards. */
	void (*on_registered)(struct session *s, const struct registered *r);
	/* Edge only: the connector's ingress as JSON (index 0), or its report (FEATURE_HEALTH), which is an
	 * object with the one member "adit". Borrowed. NULL: ignored. */
	void (*on_local_config)(struct session *s, struct bytes json);
	/* Connector only: the edge opened a stream. `fin`: no request body follows. Borrowed head.
	 * Set the stream's context and answer now or later. */
	void (*on_stream)(struct session *s, struct stream *st, enum stream_kind kind,
			  const struct head *head, bool fin);
	/* Connector only: the edge opened a UDP flow. Set its events and context, then udp_flow_accept() or
	 * udp_flow_close(), now or later. Borrowed target. NULL: all are refused. */
	void (*on_udp)(struct session *s, struct udp_flow *f, const struct udp_target *target);
	/* A datagram of the peer was dropped; `why` is an enum udp_drop. NULL: nobody counts. */
	void (*on_udp_dropped)(struct session *s, int why);
	/* The peer takes (edge side: connector unregistered) or gives no new streams. */
	void (*on_draining)(struct session *s);
	/* The network says that nobody is at the peer's port, which anybody can forge. The peer was asked, and within some
	 * second either it answers, which ends the doubt, or the session closes as lost ones do. Until then requests
	 * are better off elsewhere. NULL: nobody cares. */
	void (*on_doubt)(struct session *s, bool is_over);
	/* Once, last; the session is gone after return. */
	void (*on_closed)(struct session *s, enum reason why, const struct err *err);
};

struct stream_events {
	/* Edge only: an interim (1xx) head, any number before the answer (FEATURE_INTERIM). Borrowed until
	 * return. NULL: they are dropped. */
	void (*on_interim)(struct stream *st, const struct head *head);
	/* Edge only: the head of the answer. Borrowed until return. */
	void (*on_answer)(struct stream *st, const struct answer *a);
	/* Borrowed until return, take all of it; `fin`: the peer's side ended. */
	void (*on_data)(struct stream *st, struct bytes data, bool fin);
	/* Trailers, the peer's side ended. At the connector only with FEATURE_TRAILERS. NULL: as
	 * on_data(fin). */
	void (*on_trailers)(struct stream *st, const struct fields *trailers);
	void (*on_writable)(struct stream *st);
	void (*on_closed)(struct stream *st, enum reason why); /* once, last */
};

/* --- The interface a driver implements -------------------------------------------------------- */

enum session_side { SESSION_EDGE, SESSION_CONNECTOR };

struct session_start {
	enum session_side side;
	struct byte_stream *stream;          /* h2: an established TLS stream, taken over */
	struct quic_conn *quic;              /* quic: see transport/quic_endpoint.h; taken over */
	const struct session_events *events; /* borrowed, static */
	void *ctx;                           /* the session's owner */
	const struct registration *registration; /* connector: copied */
	/* Connector: its ingress rules as JSON, copied; sent after a registration of index 0 that is not
	 * remotely managed. Empty: none is sent. */
	struct bytes local_config;
};

struct transport {
	const char *name; /* "http2", "quic": in logs, metrics, flags */
	struct session *(*start)(struct loop *l, const struct session_start *how);
	/* Edge. NULL when the session takes no more. Sets the stream's context and events at once. */
	struct stream *(*open)(struct session *s, enum stream_kind kind, const struct head *head,
			       bool fin, const struct stream_events *events, void *ctx);
	/* Connector, before answer(): status 100 to 199 but 101. Dropped when the edge has not named
	 * FEATURE_INTERIM. */
	void (*interim)(struct stream *st, const struct head *head);
	/* Connector. Once per stream. */
	void (*answer)(struct stream *st, const struct answer *a, bool fin);
	size_t (*write)(struct stream *st, struct bytes data, bool fin);
	/* Ends our side with trailers. Where they cannot be carried (a request's to a stock connector) it
	 * just ends. */
	void (*finish)(struct stream *st, const struct fields *trailers);
	void (*consume)(struct stream *st, size_t n);
	void (*reset)(struct stream *st, enum reason why);
	/* Connector: unregister, go on with open streams, then on_closed. Edge: open no more. */
	void (*drain)(struct session *s);
	void (*close)(struct session *s, enum reason why);
	/* Edge: asks the connector to open another connection, which will reach the edge's successor or another edge.
	 * This one goes on as it is until somebody ends it. False: it has not named FEATURE_LEAVING. */
	bool (*ask_to_move)(struct session *s);
	/* Asks the peer whether it is there, whatever was heard before: silence for `timeout_ms` ends the session
	 * as any lost connection does. NULL: the driver finds out by itself soon enough. */
	void (*check)(struct session *s, int64_t timeout_ms);
	/* Edge: answers on_register. !ok closes the session after the answer left. */
	void (*reply)(struct session *s, const struct registered *r);
	bool (*can_open)(const struct session *s);
	size_t (*stream_count)(const struct session *s);
	/* What the peer announced beyond the stock protocol: "adit_reason", … */
	bool (*has_feature)(const struct session *s, const char *feature);
	/* Connector, once registered: `json` reaches the edge's on_local_config. False when it is not taken
	 * now; NULL: this driver cannot. */
	bool (*report)(struct session *s, struct bytes json);
	/* UDP; all NULL: this driver cannot. See transport/udp_flow.h, which is how users call them. */
	bool (*can_open_udp)(const struct session *s, bool is_hostname);
	struct udp_flow *(*open_udp)(struct session *s, const struct udp_target *target,
				     int64_t idle_ms, const struct udp_flow_events *events,
				     void *ctx);
	void (*udp_accept)(struct udp_flow *f);
	void (*udp_limit_idle)(struct udp_flow *f, int64_t idle_ms);
	bool (*udp_send)(struct udp_flow *f, struct bytes payload);
	size_t (*udp_max_payload)(const struct udp_flow *f);
	void (*udp_close)(struct udp_flow *f, enum reason why, struct bytes text);
};

/* Drivers put these first in their structs. Read-only for users. */
struct session {
	const struct transport *transport;
	const struct session_events *events;
	void *ctx;
	struct loop *loop;
	enum session_side side;
	const struct address *peer; /* borrowed from the connection */
	bool is_draining;
};

struct stream {
	struct session *session;
	const struct stream_events *events; /* connector: set in on_stream */
	void *ctx;
};

extern const struct transport h2_transport;
extern const struct transport quic_transport;

/* How users call it. */
static inline struct stream *session_open(struct session *s, enum stream_kind kind,
					  const struct head *head, bool fin,
					  const struct stream_events *events, void *ctx)
{
	return s->transport->open(s, kind, head, fin, events, ctx);
}
static inline void session_reply(struct session *s, const struct registered *r)
{
	s->transport->reply(s, r);
}
static inline void session_drain(struct session *s)
{
	s->transport->drain(s);
}
static inline void session_close(struct session *s, enum reason why)
{
	s->transport->close(s, why);
}
static inline bool session_ask_to_move(struct session *s)
{
	return s->transport->ask_to_move(s);
}
static inline void session_check(struct session *s, int64_t timeout_ms)
{
	if (s->transport->check)
		s->transport->check(s, timeout_ms);
}
static inline bool session_can_open(const struct session *s)
{
	return s->transport->can_open(s);
}
static inline size_t session_stream_count(const struct session *s)
{
	return s->transport->stream_count(s);
}
static inline bool session_has_feature(const struct session *s, const char *feature)
{
	return s->transport->has_feature(s, feature);
}
static inline void stream_interim(struct stream *st, const struct head *head)
{
	st->session->transport->interim(st, head);
}
static inline void stream_answer(struct stream *st, const struct answer *a, bool fin)
{
	st->session->transport->answer(st, a, fin);
}
static inline size_t stream_write(struct stream *st, struct bytes data, bool fin)
{
	return st->session->transport->write(st, data, fin);
}
static inline void stream_finish(struct stream *st, const struct fields *trailers)
{
	st->session->transport->finish(st, trailers);
}
static inline void stream_consume(struct stream *st, size_t n)
{
	st->session->transport->consume(st, n);
}
static inline void stream_reset(struct stream *st, enum reason why)
{
	st->session->transport->reset(st, why);
}

/* Extensions of ours, named as docs/wire.md does. */
/* Failures carry a JSON object that names hop, rule and errno. */
#define FEATURE_REASON "adit_reason"
/* 1xx heads travel, and with them the visitor's Expect: 100-continue. */
#define FEATURE_INTERIM "adit_interim"
/* Trailers of requests travel. */
#define FEATURE_TRAILERS "adit_trailers"
/* Each direction of a raw stream ends by itself; to a stock peer the end of one is the end of both. */
#define FEATURE_HALF_CLOSE "adit_half_close"
/* The connector says when a service that it checks goes down or comes back: session_report(). */
#define FEATURE_HEALTH "adit_health"
/* UDP flows to ingress rules; over QUIC only. */
#define FEATURE_UDP "adit_udp"
/* The edge says that it leaves (over HTTP/2 by GOAWAY), and the connector opens another connection:
 * session_ask_to_move(). */
#define FEATURE_LEAVING "adit_leaving"
/* Connections of public ports say that they are such, and HTTP services take their bytes as they are. */
#define FEATURE_PORTS "adit_ports"
#define FEATURE_PORTS_FIELD "Adit-Port"
/* All of them, as both programs announce them. */
#define FEATURES_ALL                                                                           \
	FEATURE_REASON, FEATURE_INTERIM, FEATURE_TRAILERS, FEATURE_HALF_CLOSE, FEATURE_HEALTH, \
		FEATURE_UDP, FEATURE_LEAVING, FEATURE_PORTS
/* What a connector says about itself as a replica, as "adit_label=NAME" and "adit_weight=N" among its
 * features; only our edge looks at them. */
#define FEATURE_LABEL "adit_label"
#define FEATURE_WEIGHT "adit_weight"
#define FEATURE_BACKUP "adit_backup"
/* A label: 1 to LIMIT_REPLICA_LABEL_BYTES printable ASCII characters, no comma, quote or backslash, no blank
 * at either end. */
bool feature_is_label(struct bytes label);
/* To the edge's on_local_config. False when it is not taken now, or the edge has not named FEATURE_HEALTH. */
bool session_report(struct session *s, struct bytes json);
