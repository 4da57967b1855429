/* Answers to packets of nobody: new connections, Retry, other versions, resets. Nothing is kept. */
#include "base/random.h"
#include "quic/quic_internal.h"

/* RFC 9000 §14.1: a first packet is so large, and so an answer to it is no amplification. */
#define FIRST_PACKET_BYTES 1200
/* RFC 9000 §7.2: an id that a client makes up has so many; ours are longer. */
#define FIRST_ID_BYTES 8
/* A reset looks like a short packet, and is smaller than what it answers so that two endpoints cannot reset each
 * other for ever (RFC 9000 §10.3). */
#define RESET_BYTES_MIN (5 + NGTCP2_STATELESS_RESET_TOKENLEN)
#define RESET_BYTES_MAX (24 + NGTCP2_STATELESS_RESET_TOKENLEN)

static const uint32_t versions[] = { NGTCP2_PROTO_VER_V1, NGTCP2_PROTO_VER_V2 };

/* A second's worth is used up: the packet stays unanswered. */
static bool is_too_much(struct quic_endpoint *e)
{
	usec now = loop_now(e->loop);

	if (now - e->stateless_since >= USEC_PER_SEC) {
		e->stateless_since = now;
		e->stateless_count = 0;
	}
	return ++e->stateless_count > LIMIT_QUIC_STATELESS_PER_SEC;
}

static void answer(struct quic_endpoint *e, const struct quic_packet *p, const uint8_t *data,
		   size_t len)
{
	ngtcp2_path path = { .local = quic_address(p->to), .remote = quic_address(p->from) };

	(void)quic_endpoint_send(e, &path, 0, bytes_of(data, len), len, NULL);
}

void quic_send_version_negotiation(struct quic_endpoint *e, const struct quic_packet *p,
				   const ngtcp2_version_cid *ids)
{
	uint8_t out[64 + 2 * 255];
	uint32_t offered[1 + ARRAY_LEN(versions)];
	uint8_t random;

	if (!e->is_server || p->data.len < FIRST_PACKET_BYTES || is_too_much(e))
		return;
	/* One that nobody has, so that nobody gets used to a fixed list (RFC 9000 §6.3). */
	offered[0] = 0x1a2a3a4a;
	memcpy(&offered[1], versions, sizeof(versions));
	random_bytes(&random, 1);
	ngtcp2_ssize n = ngtcp2_pkt_write_version_negotiation(out, sizeof(out), random, ids->scid,
							      ids->scidlen, ids->dcid, ids->dcidlen,
							      offered, ARRAY_LEN(offered));
	if (n > 0)
		answer(e, p, out, (size_t)n);
}

void quic_send_retry(struct quic_endpoint *e, const struct quic_packet *p, const ngtcp2_pkt_hd *head)
{
	uint8_t out[256 + NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2];
	uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2];
	ngtcp2_cid id;

	quic_id_new(e, &id);
	/* The wall clock: another process may take over with the same secret. */
	ngtcp2_ssize n = ngtcp2_crypto_generate_retry_token2(
		token, e->secret, sizeof(e->secret), head->version, &p->from->any, p->from->len,
		&id, &head->dcid, (ngtcp2_tstamp)clock_wall_now() * 1000);
	if (n < 0)
		return;
	n = ngtcp2_crypto_write_retry(out, sizeof(out), head->version, &head->scid, &id,
				      &head->dcid, token, (size_t)n);
	if (n > 0)
		answer(e, p, out, (size_t)n);
}

static void refuse(struct quic_endpoint *e, const struct quic_packet *p, const ngtcp2_pkt_hd *head,
		   uint64_t code)
{
	uint8_t out[FIRST_PACKET_BYTES];

	if (is_too_much(e))
		return;
	ngtcp2_ssize n = ngtcp2_crypto_write_connection_close(
		out, sizeof(out), head->version, &head->scid, &head->dcid, code, NULL, 0);
	if (n > 0)
		answer(e, p, out, (size_t)n);
}

static void reset(struct quic_endpoint *e, const struct quic_packet *p,
		  const ngtcp2_version_cid *ids)
{
	uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN];
	uint8_t random[RESET_BYTES_MAX], out[RESET_BYTES_MAX];
	ngtcp2_cid id;

	if (p->data.len <= RESET_BYTES_MIN || ids->dcidlen != CID_BYTES || is_too_much(e))
		return;
	ngtcp2_cid_init(&id, ids->dcid, ids->dcidlen);
	if (ngtcp2_crypto_generate_stateless_reset_token(token, e->secret, sizeof(e->secret), &id) <
	    0)
		return;
	size_t size = p->data.len - 1 < RESET_BYTES_MAX ? p->data.len - 1 : RESET_BYTES_MAX;
	random_bytes(random, sizeof(random));
	ngtcp2_ssize n = ngtcp2_pkt_write_stateless_reset(out, size, token, random,
							  size - NGTCP2_STATELESS_RESET_TOKENLEN);
	if (n > 0)
		answer(e, p, out, (size_t)n);
}

/* A token of ours, or of somebody before us, or garbage. 1: a Retry was answered, *ret_original is the id before
 * it; 0: as if there were none; negative: the peer lies about it. */
static int read_token(struct quic_endpoint *e, const struct quic_packet *p,
		      const ngtcp2_pkt_hd *head, ngtcp2_cid *ret_original)
{
	if (head->tokenlen == 0 || head->token[0] != NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2)
		return 0;
	int ret = ngtcp2_crypto_verify_retry_token2(
		ret_original, head->token, head->tokenlen, e->secret, sizeof(e->secret),
		head->version, &p->from->any, p->from->len, &head->dcid,
		LIMIT_QUIC_RETRY_TOKEN_MS * NSEC_PER_MSEC, (ngtcp2_tstamp)clock_wall_now() * 1000);
	if (ret == 0)
		return 1;
	return ret == NGTCP2_CRYPTO_ERR_VERIFY_TOKEN ? E_DENIED : 0;
}

static void welcome(struct quic_endpoint *e, const struct quic_packet *p, const ngtcp2_pkt_hd *head)
{
	ngtcp2_cid original;

	if (head->dcid.datalen < FIRST_ID_BYTES)
		return; /* ngtcp2_accept() lets them pass with a token */
	int has_token = read_token(e, p, head, &original);

	if (!e->is_accepting || e->conn_count >= e->limits.max_connections) {
		refuse(e, p, head, NGTCP2_CONNECTION_REFUSED);
	} else if (has_token < 0) {
		refuse(e, p, head, NGTCP2_INVALID_TOKEN);
	} else if (!has_token && (e->retry_above == 0 || e->handshake_count >= e->retry_above)) {
		quic_send_retry(e, p, head);
	} else if (e->handshake_count < LIMIT_QUIC_HANDSHAKES) {
		quic_conn_accept(e, p, head, has_token ? &original : NULL);
	}
}

void quic_stranger(struct quic_endpoint *e, const struct quic_packet *p,
		   const ngtcp2_version_cid *ids)
{
	bool is_long = p->data.ptr[0] & 0x80;
	ngtcp2_pkt_hd head;

	if (is_long && e->is_server && ngtcp2_accept(&head, p->data.ptr, p->data.len) == 0) {
		/* The first packet goes where the kernel puts the address; what follows it carries our id, and
		 * comes here too unless the address changes meanwhile. */
		welcome(e, p, &head);
		return;
	}
	struct quic_conn *forgotten = is_long ? NULL : quic_reset_token_find(e, p->data);
	if (forgotten) {
		quic_conn_read(forgotten, p);
		return;
	}
	if (e->on_foreign && !p->is_foreign && ids->dcidlen == CID_BYTES &&
	    ids->dcid[0] != e->index &&
	    e->on_foreign(e->ctx, ids->dcid[0], p->from, p->to, p->ecn, p->data))
		return;
	if (!is_long)
		reset(e, p, ids);
}
