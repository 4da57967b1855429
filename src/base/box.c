#include "base/box.h"

#include <sodium.h>

#include "base/random.h"

_Static_assert(BOX_KEY_BYTES == crypto_box_PUBLICKEYBYTES, "as libsodium has it");
_Static_assert(BOX_KEY_BYTES == crypto_box_SECRETKEYBYTES, "as libsodium has it");
_Static_assert(BOX_OVERHEAD == crypto_box_NONCEBYTES + crypto_box_MACBYTES, "as libsodium has it");

int box_keys_new(struct box_keys *ret, struct err *err)
{
	if (sodium_init() < 0)
		return err_set(err, E_INTERNAL, "libsodium does not start");
	random_bytes(ret->secret_key, sizeof(ret->secret_key));
	if (crypto_scalarmult_base(ret->public_key, ret->secret_key) != 0)
		return err_set(err, E_INTERNAL, "no key pair could be made");
	return 0;
}

int box_seal(const struct box_keys *sender, const uint8_t receiver[BOX_KEY_BYTES],
	     struct bytes text, struct buf *out)
{
	uint8_t *nonce;
	int r = buf_reserve(out, text.len + BOX_OVERHEAD);

	if (r < 0)
		return r;
	nonce = out->ptr + out->len;
	random_bytes(nonce, crypto_box_NONCEBYTES);
	/* Fails for points of small order alone, with which anybody could read it. */
	if (crypto_box_easy(nonce + crypto_box_NONCEBYTES, text.ptr, text.len, nonce, receiver,
			    sender->secret_key) != 0)
		return E_INVALID;
	buf_added(out, text.len + BOX_OVERHEAD);
	return 0;
}

int box_open(const struct box_keys *receiver, const uint8_t sender[BOX_KEY_BYTES],
	     struct bytes sealed, struct buf *out)
{
	struct bytes box = bytes_from(sealed, crypto_box_NONCEBYTES);
	int r;

	if (sealed.len < BOX_OVERHEAD)
		return E_INVALID;
	r = buf_reserve(out, sealed.len - BOX_OVERHEAD + 1);
	if (r < 0)
		return r;
	if (crypto_box_open_easy(out->ptr + out->len, box.ptr, box.len, sealed.ptr, sender,
				 receiver->secret_key) != 0)
		return E_INVALID;
	buf_added(out, sealed.len - BOX_OVERHEAD);
	return 0;
}
