/* Connectors over QUIC: a UDP socket per worker on each address of the tunnel and the https listeners. Whoever
 * speaks another protocol (ALPN) than theirs is refused. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/metrics.h"

struct address;
struct quic_listener;
struct tls_context;
struct worker;

/* Seals Retry and stateless reset tokens: one for all workers. With the same one after a restart connectors learn
 * at once that their connections are gone. */
#define QUIC_SECRET_BYTES 32

struct quic_relay;
struct sockets;

struct quic_listen {
	struct worker *const *workers;
	size_t worker_count;
	struct sockets *sockets;
	struct quic_relay *relay; /* borrowed until the workers are freed */
	struct bytes secret;
	bool takes_connectors, takes_visitors; /* one at least */
};
/* Before the threads start, and after the workers have their TLS contexts: the address (its port is not 0) for
 * every worker. E_IO when somebody else has it; nothing is open then. */
int quic_listen_on_all(const struct quic_listen *how, const struct address *address,
		       struct err *err);

/* Any thread: a packet for that worker's endpoint of the address. */
void quic_listener_give(struct quic_listener *l, const struct address *from,
			const struct address *to, uint8_t ecn, struct bytes data);

/* --- On the worker's thread --- */

/* The worker's certificates for handshakes from now on. */
void quic_listener_set_tls(struct quic_listener *l);
/* New connections are refused; those that are there go on. */
void quic_listener_stop(struct quic_listener *l);

/* A successor reads the socket now. */
void quic_listener_hand_over(struct quic_listener *l);

/* After its thread has ended; the loop is freed between the two, and what other workers have posted runs then. */
void quic_listener_close(struct quic_listener *l);
struct quic_listener *quic_listener_free(struct quic_listener *l);

extern struct metric metric_quic_foreign, metric_quic_foreign_lost;
