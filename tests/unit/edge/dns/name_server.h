/* A name server on a UDP port of this process that answers as it is told, and keeps what it got. */
#pragma once

#include <ldns/ldns.h>

#include "base/check.h"
#include "base/mem.h"
#include "edge/dns/tsig.h"
#include "io/udp.h"

#define ASKED_MAX 32

struct name_server {
	struct loop *loop;
	struct udp_socket *socket;
	struct address address;
	const struct dns_tsig_key *key;        /* it knows this one; NULL: it does not look */
	const struct dns_tsig_key *answer_key; /* signs with it; NULL: not at all */
	int rcode;
	int rcodes[ASKED_MAX]; /* of the first ones, if there are more than none */
	size_t rcode_count;
	size_t ignores;     /* so many of the first ones */
	uint16_t change_id; /* xor */
	size_t count, good; /* packets; those signed well */
	ldns_pkt *asked[ASKED_MAX];
	size_t stop_at; /* ends the loop; 0: never */
};

static inline void name_server_answer(struct name_server *s, const struct udp_packet *packet)
{
	const struct dns_tsig_key *key;
	struct dns_tsig_mac mac = { .len = 0 };
	uint8_t message[1232];
	ldns_pkt *p, *reply = ldns_pkt_new();
	uint8_t *wire;
	size_t len;

	BUG_IF(s->count == ASKED_MAX);
	BUG_IF(ldns_wire2pkt(&p, packet->data.ptr, packet->data.len) != LDNS_STATUS_OK);
	if (s->key &&
	    dns_tsig_verify(packet->data, s->key, 1, clock_wall_now(), &key, &mac) == DNS_TSIG_GOOD)
		s->good++;
	size_t index = s->count++;
	s->asked[index] = p;
	if (s->stop_at == s->count)
		loop_stop(s->loop);
	if (index < s->ignores) {
		ldns_pkt_free(reply);
		return;
	}
	ldns_pkt_set_id(reply, ldns_pkt_id(p) ^ s->change_id);
	ldns_pkt_set_qr(reply, true);
	ldns_pkt_set_opcode(reply, ldns_pkt_get_opcode(p));
	ldns_pkt_set_rcode(reply, (uint8_t)(index < s->rcode_count ? s->rcodes[index] : s->rcode));
	BUG_IF(ldns_pkt2wire(&wire, reply, &len) != LDNS_STATUS_OK || len > sizeof(message));
	memcpy(message, wire, len);
	if (s->answer_key)
		BUG_IF(!dns_tsig_sign(message, &len, sizeof(message), s->answer_key,
				      clock_wall_now(), &mac, false));
	BUG_IF(udp_send(s->socket, NULL, &packet->from, 0, bytes_of(message, len), len, NULL) !=
	       (ssize_t)len);
	LDNS_FREE(wire);
	ldns_pkt_free(reply);
}

static inline void name_server_on_packets(void *ctx, const struct udp_packet *packets, size_t count)
{
	for (size_t i = 0; i < count; i++)
		name_server_answer(ctx, &packets[i]);
}

static inline void name_server_on_writable(void *ctx)
{
	(void)ctx;
}

static inline void name_server_start(struct name_server *s, struct loop *l)
{
	static const struct udp_events events = {
		.on_packets = name_server_on_packets,
		.on_writable = name_server_on_writable,
	};

	s->loop = l;
	BUG_IF(address_parse(BYTES_LIT("127.0.0.1:0"), &s->address, NULL) < 0);
	int fd = udp_open(&s->address, false, NULL);
	BUG_IF(fd < 0);
	s->socket = udp_new(l, fd, &events, s);
}

static inline void name_server_stop(struct name_server *s)
{
	udp_free(s->socket);
	for (size_t i = 0; i < s->count; i++)
		ldns_pkt_free(s->asked[i]);
}
