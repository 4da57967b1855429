/* A hostile peer of a tunnel session over QUIC, either side: the bytes of streams in pieces of any size, resets,
 * datagrams, in any order. The packets below are fuzz_quic_peer.c's.
 *
 * Input: what our user does (one byte), how often writes find no room (one byte), then steps: a byte of what, a byte
 * of which stream, and for those with bytes two of length. */
#pragma once

#include "fake/memory_stream.h"
#include "fake_quic.h"
#include "transport/quic/quic_tunnel.h"
#include "tunnel_users.h"

#define REGISTERS_FIRST 8 /* of the first byte: the control stream is talked on properly at first */
#define DATAGRAMS_V2 16 /* and this is what they are: UDP sessions are registered by short calls */
#define STEPS_MAX 500

enum step {
	STEP_DATA,
	STEP_DATA_FIN,
	STEP_RESET,
	STEP_STOP,
	STEP_OPEN,
	STEP_DATAGRAM,
	STEP_ROOM,
	STEP_USER, /* our user opens what it wants */
	STEP_TURN,
	STEP_CLOSE,
	STEP_COUNT,
};

struct quic_peer {
	struct quic_conn *conn;
	struct tunnel_user *user;
	void (*user_acts)(struct tunnel_user *u);
	struct bytes input;
};

static unsigned peer_byte(struct quic_peer *p)
{
	unsigned value = p->input.len ? p->input.ptr[0] : 0;

	p->input = bytes_from(p->input, 1);
	return value;
}

static struct bytes peer_bytes(struct quic_peer *p)
{
	size_t size = peer_byte(p);

	size |= (size_t)peer_byte(p) << 8;
	struct bytes got = bytes_first(p->input, size);
	p->input = bytes_from(p->input, got.len);
	return got;
}

static void settle(struct quic_peer *p)
{
	loop_settle(p->conn->loop);
	fake_quic_turn(p->conn);
	loop_settle(p->conn->loop);
}

static void peer_step(struct quic_peer *p)
{
	unsigned step = peer_byte(p) % STEP_COUNT;
	size_t which = peer_byte(p);
	struct quic_stream *st = p->conn->count ? &p->conn->streams[which % p->conn->count] : NULL;

	switch ((enum step)step) {
	case STEP_DATA:
	case STEP_DATA_FIN:
		if (st)
			fake_quic_data(st, peer_bytes(p), step == STEP_DATA_FIN);
		break;
	case STEP_RESET:
		if (st)
			fake_quic_peer_reset(st, which & 64 ? QUIC_CODE_REFUSED : which >> 7);
		break;
	case STEP_STOP:
		if (st)
			fake_quic_peer_stop(st, which & 64 ? QUIC_CODE_REFUSED : which >> 7);
		break;
	case STEP_OPEN:
		(void)fake_quic_peer_opens(p->conn);
		break;
	case STEP_DATAGRAM:
		fake_quic_datagram(p->conn, peer_bytes(p));
		break;
	case STEP_ROOM:
		p->conn->room = which * which;
		fake_quic_datagram_room(p->conn);
		break;
	case STEP_USER:
		p->user_acts(p->user);
		break;
	case STEP_TURN:
		settle(p);
		break;
	case STEP_CLOSE:
		if (which == 255)
			quic_conn_close(p->conn, 0, "");
		break;
	case STEP_COUNT:
		break;
	}
}

static void run_peer(struct quic_peer *p)
{
	for (int i = 0; i < STEPS_MAX && p->input.len && !p->user->is_closed; i++)
		peer_step(p);
	settle(p);
	if (!p->user->is_closed)
		session_close(p->user->session, REASON_DONE);
	settle(p);
	must(p->user->is_closed);
	mem_free(p->conn);
}
