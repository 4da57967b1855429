/* What a hostile connector may do to an edge over QUIC: see quic_tunnel_peer.h. */
#include "quic_tunnel_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void user_acts(struct tunnel_user *u)
{
	if (!u->is_closed)
		edge_user_open(u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	static struct tunnel_user user;
	struct quic_peer peer = { .user = &user, .user_acts = user_acts };
	struct buf question, answer;

	if (size < 2)
		return 0;
	if (!loop)
		loop = loop_new(NULL);
	user = (struct tunnel_user){ .how = data[0] };
	has_only_datagrams_v2 = data[0] & DATAGRAMS_V2;
	peer.input = bytes_of(data + 2, size - 2);
	peer.conn = fake_quic_new(loop, false, &quic_tunnel_events);
	const struct session_start start = {
		.side = SESSION_EDGE,
		.quic = peer.conn,
		.events = &edge_user_events,
		.ctx = &user,
	};
	user.session = quic_transport.start(loop, &start);
	if (data[0] & REGISTERS_FIRST) {
		buf_init(&question, 65536);
		buf_init(&answer, 65536);
		a_conversation(&question, &answer);
		fake_quic_data(fake_quic_peer_opens(peer.conn), buf_bytes(&question), false);
		settle(&peer);
		user_acts(&user);
		settle(&peer);
		buf_done(&question);
		buf_done(&answer);
	}
	peer.conn->room = (size_t)data[1] << 6;
	run_peer(&peer);
	return 0;
}
