/* Connection ids: making them, and who owns them. */
#include "base/mem.h"
#include "base/random.h"
#include "quic/quic_internal.h"

struct quic_owner *quic_id_find(const struct quic_endpoint *e, struct bytes id)
{
	return map_find(e->owners, id);
}

void quic_id_new(struct quic_endpoint *e, ngtcp2_cid *ret)
{
	do {
		ret->datalen = CID_BYTES;
		random_bytes(ret->data, CID_BYTES);
		ret->data[0] = e->index;
	} while (quic_id_find(e, bytes_of(ret->data, ret->datalen)));
}

void quic_id_own(struct quic_endpoint *e, const ngtcp2_cid *cid, struct quic_owner *owner)
{
	map_put(e->owners, bytes_of(cid->data, cid->datalen), owner);
}

void quic_id_disown(struct quic_endpoint *e, const ngtcp2_cid *cid, const struct quic_owner *owner)
{
	struct bytes id = bytes_of(cid->data, cid->datalen);

	if (map_find(e->owners, id) == owner)
		map_take(e->owners, id);
}

ngtcp2_cid *quic_ids_of(struct quic_conn *c, size_t *ret_count)
{
	size_t count = ngtcp2_conn_get_scid(c->ng, NULL);
	ngtcp2_cid *ids = mem_alloc_array(count + 1, sizeof(*ids));

	ngtcp2_conn_get_scid(c->ng, ids);
	if (c->is_server && c->client_dcid.datalen)
		ids[count++] = c->client_dcid;
	*ret_count = count;
	return ids;
}

static struct bytes token_of(const uint8_t *token)
{
	return bytes_of(token, NGTCP2_STATELESS_RESET_TOKENLEN);
}

void quic_reset_token_add(struct quic_conn *c, const uint8_t *token)
{
	if (c->reset_token_count == RESET_TOKENS)
		return; /* then it is a timeout that ends the connection */
	memcpy(c->reset_tokens[c->reset_token_count++], token, NGTCP2_STATELESS_RESET_TOKENLEN);
	map_put(c->endpoint->resets, token_of(token), c);
}

void quic_reset_token_drop(struct quic_conn *c, const uint8_t *token)
{
	for (unsigned i = 0; i < c->reset_token_count; i++) {
		if (!bytes_eq(token_of(token), token_of(c->reset_tokens[i])))
			continue;
		if (map_find(c->endpoint->resets, token_of(token)) == c)
			map_take(c->endpoint->resets, token_of(token));
		/* `token` may be the one that goes. */
		c->reset_token_count--;
		memmove(c->reset_tokens[i], c->reset_tokens[c->reset_token_count],
			NGTCP2_STATELESS_RESET_TOKENLEN);
		return;
	}
}

struct quic_conn *quic_reset_token_find(const struct quic_endpoint *e, struct bytes packet)
{
	if (packet.len < 5 + NGTCP2_STATELESS_RESET_TOKENLEN)
		return NULL;
	return map_find(e->resets, bytes_from(packet, packet.len - NGTCP2_STATELESS_RESET_TOKENLEN));
}
