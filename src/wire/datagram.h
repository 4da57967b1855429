/* QUIC datagrams of a tunnel session: UDP flows and ICMP (PROTOCOL.md §4.7). Version 2 and 3 are not
 * compatible; a connector that announced `support_datagram_v3_2` uses 3, any other 2. Fields are
 * big-endian. Decoding borrows from the datagram. Any thread.
 */
#pragma once

#include "base/buf.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/uuid.h"

/* The largest UDP payload or IP packet inside. */
#define DATAGRAM_PAYLOAD_BYTES 1280
/* The largest datagram; what fits a 1400-byte path after QUIC's own bytes. */
#define DATAGRAM_BYTES 1350

/* --- Version 2: the type is the last byte, metadata stands before it ----------------------------- */

#define DATAGRAM_TRACE_BYTES 25 /* trace id 16, span id 8, flags 1 */

enum datagram_v2_type {
	DATAGRAM_V2_UDP = 0,       /* payload, session */
	DATAGRAM_V2_IP = 1,        /* payload: a raw ICMP packet with its IP header */
	DATAGRAM_V2_IP_TRACED = 2, /* the same, trace */
	DATAGRAM_V2_SPANS = 3,     /* payload: protobuf, connector to edge; trace */
};

struct datagram_v2 {
	enum datagram_v2_type type;
	struct uuid session;
	struct bytes payload;
	struct bytes trace; /* DATAGRAM_TRACE_BYTES, or empty */
};

/* E_PROTOCOL: short; E_UNSUPPORTED: unknown type; E_LIMIT: payload too large. Drop it in every case. */
int datagram_v2_decode(struct bytes datagram, struct datagram_v2 *ret) MUST_USE;
int datagram_v2_encode(struct buf *out, const struct datagram_v2 *d) MUST_USE;

/* --- Version 3: the type is the first byte ------------------------------------------------------- */

enum datagram_v3_type {
	DATAGRAM_V3_REGISTER = 0, /* edge to connector */
	DATAGRAM_V3_PAYLOAD = 1,
	DATAGRAM_V3_ICMP = 2,
	DATAGRAM_V3_RESPONSE = 3, /* connector to edge */
};

enum datagram_v3_code { /* of a response */
			DATAGRAM_V3_OK = 0x00,
			DATAGRAM_V3_UNREACHABLE = 0x01,
			DATAGRAM_V3_CANNOT_BIND = 0x02,
			DATAGRAM_V3_TOO_MANY = 0x03,
			DATAGRAM_V3_ERROR = 0xff, /* text says what */
};

struct datagram_v3 {
	enum datagram_v3_type type;
	uint8_t flow[16]; /* request id; all but ICMP */
	/* REGISTER */
	struct bytes address; /* 4 or 16 bytes */
	uint16_t port;
	uint16_t idle_seconds; /* 0: the connector's default, 210 */
	bool is_traced;
	/* RESPONSE */
	uint8_t code; /* enum datagram_v3_code, or what a newer peer sends */
	struct bytes text;
	/* PAYLOAD, ICMP; REGISTER may bundle the first one, which stock connectors do not forward */
	struct bytes payload;
};

/* As the ones of version 2. A registration shorter than its own header is E_PROTOCOL here and a crash in
 * stock connectors: the encoder cannot make one. */
int datagram_v3_decode(struct bytes datagram, struct datagram_v3 *ret) MUST_USE;
int datagram_v3_encode(struct buf *out, const struct datagram_v3 *d) MUST_USE;

/* --- Payloads of either version ----------------------------------------------------------------- */

/* Id and type around a payload. */
#define DATAGRAM_OVERHEAD 17
#define DATAGRAM_ID_BYTES 16

/* The hot path: a UDP payload and the id of its flow, of any size. False when it is another datagram. */
bool datagram_get_payload(unsigned version, struct bytes datagram, struct bytes *ret_id,
			  struct bytes *ret_payload);
/* Writes payload.len + DATAGRAM_OVERHEAD bytes. */
void datagram_put_payload(unsigned version, struct bytes id, struct bytes payload, uint8_t *dst);
