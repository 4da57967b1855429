/* What ngtcp2 tells while it reads and writes packets. */
#include "base/mem.h"
#include "base/random.h"
#include "quic/quic_internal.h"

/* ngtcp2's decryption has no context: who reads on this thread just now. */
static _Thread_local struct quic_conn *reader;

void quic_reads(struct quic_conn *c)
{
	reader = c;
}

/* Of all AEADs that RFC 9001 allows. */
#define AEAD_TAG_BYTES 16

/* --- Keys ------------------------------------------------------------------------------------ */

/* Remembered until ngtcp2 has acted on the packet: it may open the stream. */
static void note_stop(void *ctx, int64_t id, uint64_t code)
{
	struct quic_conn *c = ctx;

	if (c->stop_count == c->stop_cap) {
		c->stop_cap = c->stop_cap ? 2 * c->stop_cap : 8;
		c->stops = mem_resize(c->stops, c->stop_cap * sizeof(*c->stops));
	}
	c->stops[c->stop_count++] = (struct quic_stop){ id, code };
}

static int decrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *ctx,
		   const uint8_t *ciphertext, size_t len, const uint8_t *nonce, size_t nonce_len,
		   const uint8_t *aad, size_t aad_len)
{
	int ret = ngtcp2_crypto_decrypt_cb(dest, aead, ctx, ciphertext, len, nonce, nonce_len, aad,
					   aad_len);

	if (ret != 0 || !reader)
		return ret;
	reader->received_packets++;
	/* ngtcp2 1.11 keeps a STOP_SENDING to itself. */
	if (reader->is_done)
		quic_frames_find_stops(bytes_of(dest, len - AEAD_TAG_BYTES), note_stop, reader);
	return ret;
}

static void fill_random(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx)
{
	(void)ctx;
	random_bytes(dest, len);
}

static int on_crypto_data(ngtcp2_conn *ng, ngtcp2_encryption_level level, uint64_t offset,
			  const uint8_t *data, size_t len, void *user)
{
	struct quic_conn *c = user;

	/* After the handshake only tickets could come, which we would not use. */
	if (!c->tls)
		return 0;
	return ngtcp2_crypto_recv_crypto_data_cb(ng, level, offset, data, len, user);
}

static int on_handshake_completed(ngtcp2_conn *ng, void *user)
{
	(void)ng;
	quic_conn_handshake_over(user);
	return 0;
}

/* --- Connection ids and paths ---------------------------------------------------------------- */

static int on_new_id(ngtcp2_conn *ng, ngtcp2_cid *cid, uint8_t *token, size_t len, void *user)
{
	struct quic_conn *c = user;
	struct quic_endpoint *e = c->endpoint;

	(void)ng;
	(void)len; /* CID_BYTES: what we began with */
	quic_id_new(e, cid);
	if (ngtcp2_crypto_generate_stateless_reset_token(token, e->secret, sizeof(e->secret), cid) <
	    0)
		return NGTCP2_ERR_CALLBACK_FAILURE;
	quic_id_own(e, cid, &c->owner);
	return 0;
}

static int on_id_retired(ngtcp2_conn *ng, const ngtcp2_cid *cid, void *user)
{
	struct quic_conn *c = user;

	(void)ng;
	quic_id_disown(c->endpoint, cid, &c->owner);
	return 0;
}

static int on_path_validated(ngtcp2_conn *ng, uint32_t flags, const ngtcp2_path *path,
			     const ngtcp2_path *fallback, ngtcp2_path_validation_result result,
			     void *user)
{
	struct quic_conn *c = user;

	(void)flags;
	(void)fallback;
	/* An old path may be tried once more, to see whether the new one is an attacker's. */
	if (result != NGTCP2_PATH_VALIDATION_RESULT_SUCCESS ||
	    !ngtcp2_path_eq(path, ngtcp2_conn_get_path(ng)))
		return 0;
	c->local = quic_address_of(&path->local);
	quic_conn_forget_black_hole(c);
	if (quic_same_address(&c->peer, &path->remote))
		return 0;
	c->peer = quic_address_of(&path->remote);
	if (c->is_ready && !c->is_ending && c->events->on_migrated)
		c->events->on_migrated(c);
	return 0;
}

static int on_peer_id(ngtcp2_conn *ng, ngtcp2_connection_id_status_type type, uint64_t seq,
		      const ngtcp2_cid *cid, const uint8_t *token, void *user)
{
	(void)ng;
	(void)seq;
	(void)cid;
	if (token && type == NGTCP2_CONNECTION_ID_STATUS_TYPE_ACTIVATE)
		quic_reset_token_add(user, token);
	else if (token)
		quic_reset_token_drop(user, token);
	return 0;
}

static int on_stateless_reset(ngtcp2_conn *ng, const ngtcp2_pkt_stateless_reset *reset, void *user)
{
	struct quic_conn *c = user;

	(void)ng;
	(void)reset;
	c->got_reset = true;
	return 0;
}

/* --- Streams --------------------------------------------------------------------------------- */

static int on_stream_open(ngtcp2_conn *ng, int64_t id, void *user)
{
	struct quic_conn *c = user;

	quic_conn_tell_ready(c);
	if (c->is_ending)
		return 0;
	struct quic_stream *st = quic_stream_new(c, id);
	ngtcp2_conn_set_stream_user_data(ng, id, st);
	if (!ngtcp2_is_bidi_stream(id) && !c->events->on_uni_stream) {
		quic_stream_stop(st, 0); /* nobody listens */
		return 0;
	}
	st->is_announced = true;
	if (!ngtcp2_is_bidi_stream(id))
		c->events->on_uni_stream(c, st);
	else if (c->events->on_stream)
		c->events->on_stream(c, st);
	return 0;
}

static int on_stream_data(ngtcp2_conn *ng, uint32_t flags, int64_t id, uint64_t offset,
			  const uint8_t *data, size_t len, void *user, void *stream_user)
{
	(void)ng;
	(void)id;
	(void)offset;
	(void)user;
	if (stream_user)
		quic_stream_received(stream_user, bytes_of(data, len),
				     flags & NGTCP2_STREAM_DATA_FLAG_FIN);
	return 0;
}

static int on_acked(ngtcp2_conn *ng, int64_t id, uint64_t offset, uint64_t len, void *user,
		    void *stream_user)
{
	(void)ng;
	(void)id;
	(void)offset;
	quic_conn_note_acked(user, (size_t)len);
	if (stream_user)
		quic_stream_acked(stream_user, (size_t)len);
	return 0;
}

static int on_stream_close(ngtcp2_conn *ng, uint32_t flags, int64_t id, uint64_t code, void *user,
			   void *stream_user)
{
	struct quic_conn *c = user;

	c->lost_packets += ngtcp2_conn_get_stream_loss_count(ng, id);
	if (!ngtcp2_conn_is_local_stream(ng, id) && ngtcp2_is_bidi_stream(id))
		c->closed_by_peer++;
	else if (!ngtcp2_conn_is_local_stream(ng, id))
		ngtcp2_conn_extend_max_streams_uni(ng, 1);
	if (stream_user)
		quic_stream_gone(stream_user,
				 flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET ? code : 0);
	return 0;
}

static int on_stream_reset(ngtcp2_conn *ng, int64_t id, uint64_t final_size, uint64_t code,
			   void *user, void *stream_user)
{
	struct quic_conn *c = user;
	struct quic_stream *st = stream_user;

	(void)ng;
	(void)id;
	(void)final_size;
	if (st && !st->is_deaf && !st->is_gone && !c->is_ending) {
		st->is_deaf = true;
		if (c->events->on_peer_reset)
			c->events->on_peer_reset(st, code);
	}
	return 0;
}

static int on_stream_window(ngtcp2_conn *ng, int64_t id, uint64_t max_data, void *user,
			    void *stream_user)
{
	(void)ng;
	(void)id;
	(void)max_data;
	(void)user;
	if (stream_user)
		quic_stream_unblock(stream_user);
	return 0;
}

static int on_more_streams(ngtcp2_conn *ng, uint64_t max, void *user)
{
	struct quic_conn *c = user;

	(void)ng;
	if (max == 0 || !c->wants_streams)
		return 0;
	c->wants_streams = false;
	c->owes_streams = true;
	loop_defer(c->endpoint->loop, &c->deliver);
	return 0;
}

/* --- Datagrams ------------------------------------------------------------------------------- */

static int on_datagram(ngtcp2_conn *ng, uint32_t flags, const uint8_t *data, size_t len, void *user)
{
	struct quic_conn *c = user;

	(void)ng;
	(void)flags;
	quic_conn_tell_ready(c);
	if (!c->is_ending && c->events->on_datagram)
		c->events->on_datagram(c, bytes_of(data, len));
	return 0;
}

/* --- The tables ------------------------------------------------------------------------------ */

#define FOR_BOTH                                                                                  \
	.recv_crypto_data = on_crypto_data, .handshake_completed = on_handshake_completed,        \
	.encrypt = ngtcp2_crypto_encrypt_cb, .decrypt = decrypt,                                  \
	.hp_mask = ngtcp2_crypto_hp_mask_cb, .recv_stream_data = on_stream_data,                  \
	.acked_stream_data_offset = on_acked, .stream_open = on_stream_open,                      \
	.stream_close = on_stream_close, .rand = fill_random, .get_new_connection_id = on_new_id, \
	.remove_connection_id = on_id_retired, .update_key = ngtcp2_crypto_update_key_cb,         \
	.dcid_status = on_peer_id, .recv_stateless_reset = on_stateless_reset,                    \
	.path_validation = on_path_validated, .stream_reset = on_stream_reset,                    \
	.extend_max_local_streams_bidi = on_more_streams,                                         \
	.extend_max_stream_data = on_stream_window,                                               \
	.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,                        \
	.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,                    \
	.recv_datagram = on_datagram,                                                             \
	.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,                      \
	.version_negotiation = ngtcp2_crypto_version_negotiation_cb

const ngtcp2_callbacks quic_client_callbacks = {
	FOR_BOTH,
	.client_initial = ngtcp2_crypto_client_initial_cb,
	.recv_retry = ngtcp2_crypto_recv_retry_cb,
};

const ngtcp2_callbacks quic_server_callbacks = {
	FOR_BOTH,
	.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
};
