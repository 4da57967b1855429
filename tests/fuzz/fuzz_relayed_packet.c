/* A QUIC packet that one edge passes on to the one before it: no crash, and what is read is written the same. */
#include <string.h>

#include "edge/tunnels/quic_relay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[RELAYED_HEAD_BYTES + RELAYED_PACKET_BYTES];
	struct relayed_packet p, again;

	if (size > sizeof(out) || !relayed_packet_read(bytes_of(data, size), &p))
		return 0;
	size_t len = relayed_packet_write(&p, out, sizeof(out));
	BUG_IF(len == 0 || !relayed_packet_read(bytes_of(out, len), &again));
	BUG_IF(again.number != p.number || again.worker != p.worker || again.ecn != p.ecn);
	BUG_IF(again.from.len != p.from.len || again.to.len != p.to.len);
	BUG_IF(memcmp(&again.from.any, &p.from.any, p.from.len) != 0);
	BUG_IF(!bytes_eq(again.data, p.data));
	return 0;
}
