#include "store/seal.h"

#include <errno.h>
#include <sodium.h>
#include <sys/stat.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/random.h"
#include "store/files.h"

/* A sealed value: SEAL_FORM_…, the nonce, the ciphertext with its tag. */
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define KEY_FILE_BYTES (2 * SEAL_KEY_BYTES + 1)

_Static_assert(SEAL_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key size");
_Static_assert(SEAL_KEY_BYTES == crypto_kdf_KEYBYTES, "key size");

static char *key_path(const char *dir)
{
	return mem_printf("%s/master.key", dir);
}

static void derive(struct seal_key *k, uint8_t form)
{
	crypto_kdf_derive_from_key(k->values, sizeof(k->values), form, "aditseal", k->master);
	k->form = form;
	k->has_master = true;
}

static int save(const char *path, const uint8_t master[SEAL_KEY_BYTES], struct err *err)
{
	char text[KEY_FILE_BYTES];

	hex_encode(bytes_of(master, SEAL_KEY_BYTES), text);
	text[KEY_FILE_BYTES - 1] = '\n';
	int r = file_create(path, bytes_of(text, sizeof(text)), 0600, err);
	secret_wipe(text, sizeof(text));
	return r;
}

int seal_key_save(const char *dir, const uint8_t master[SEAL_KEY_BYTES], struct err *err)
{
	char *path = key_path(dir);
	int r = save(path, master, err);

	mem_free(path);
	return r;
}

static int create_key(const char *path, struct err *err)
{
	uint8_t master[SEAL_KEY_BYTES];

	random_bytes(master, sizeof(master));
	int r = save(path, master, err);
	secret_wipe(master, sizeof(master));
	/* Two processes may begin at once: the first one's key counts. */
	return r == E_EXISTS ? 0 : r;
}

static int load(const char *path, struct seal_key *ret, struct err *err)
{
	char text[KEY_FILE_BYTES + 1];
	struct stat st;
	size_t len = 0;

	if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
		return err_set(err, E_DENIED, "%s can be read by others; chmod 600 it", path);
	int r = file_load(path, text, sizeof(text), &len, err);
	if (r == 0) {
		struct bytes digits = bytes_first(bytes_of(text, len), KEY_FILE_BYTES - 1);
		bool ok = len == KEY_FILE_BYTES && text[len - 1] == '\n';
		if (!ok || !hex_decode(digits, ret->master))
			r = err_set(err, E_PARSE, "%s does not hold a key of 64 hex digits", path);
		else
			derive(ret, SEAL_FORM_VALUE);
	}
	secret_wipe(text, sizeof(text));
	return r;
}

int seal_key_load(const char *dir, bool create, struct seal_key *ret, struct err *err)
{
	char *path = key_path(dir);
	struct err why = { 0 };

	if (sodium_init() < 0) {
		mem_free(path);
		return err_set(err, E_INTERNAL, "libsodium does not start");
	}
	int r = load(path, ret, &why);
	if (r == E_NOT_FOUND && create) {
		r = create_key(path, &why);
		if (r == 0)
			r = load(path, ret, &why);
	}
	mem_free(path);
	if (r < 0 && err)
		*err = why;
	return r;
}

int seal_key_load_for_keys(const char *dir, struct seal_key *ret, struct err *err)
{
	int r = seal_key_load(dir, false, ret, err);

	if (r < 0)
		return r;
	derive(ret, SEAL_FORM_KEY);
	seal_key_forget_master(ret);
	return 0;
}

void seal_key_forget_master(struct seal_key *k)
{
	secret_wipe(k->master, sizeof(k->master));
	k->has_master = false;
}

void seal_key_wipe(struct seal_key *k)
{
	secret_wipe(k, sizeof(*k));
}

uint8_t *seal_value(const struct seal_key *k, struct bytes plain, const char *place, size_t *ret_len)
{
	uint8_t *sealed = mem_alloc(1 + NONCE_BYTES + plain.len + TAG_BYTES);
	uint8_t *nonce = sealed + 1;
	unsigned long long len = 0;

	sealed[0] = k->form;
	/* 192 random bits never repeat. */
	random_bytes(nonce, NONCE_BYTES);
	crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + NONCE_BYTES, &len, plain.ptr, plain.len,
						   (const uint8_t *)place, strlen(place), NULL,
						   nonce, k->values);
	*ret_len = 1 + NONCE_BYTES + (size_t)len;
	return sealed;
}

int seal_open(const struct seal_key *k, struct bytes sealed, const char *place, struct secret *ret,
	      struct err *err)
{
	if (sealed.len < 1 + NONCE_BYTES + TAG_BYTES || sealed.ptr[0] != k->form)
		return err_set(err, E_DENIED, "%s: not a sealed value this program knows", place);
	struct bytes nonce = bytes_first(bytes_from(sealed, 1), NONCE_BYTES);
	struct bytes box = bytes_from(sealed, 1 + NONCE_BYTES);
	struct secret plain = { mem_alloc(box.len - TAG_BYTES + 1), box.len - TAG_BYTES };
	unsigned long long len = 0;

	if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain.ptr, &len, NULL, box.ptr, box.len,
						       (const uint8_t *)place, strlen(place),
						       nonce.ptr, k->values) != 0) {
		secret_done(&plain);
		return err_set(err, E_DENIED,
			       "%s: does not open with this master.key, or is damaged", place);
	}
	secret_done(ret);
	*ret = plain;
	return 0;
}
