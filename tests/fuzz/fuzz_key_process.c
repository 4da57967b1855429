/* What a taken-over edge may say to its key process: several messages, each behind its length (16 bits). Whatever they
 * are, each is answered, and no answer has the key that the process holds. */
#include <string.h>

#include "base/mem.h"
#include "base/reader.h"
#include "base/writer.h"
#include "tls/key_box_internal.h"

#define PLACE "a"
#define HANDLES 64
/* In a message: the handle of the key that is held. */
#define THE_KEY UINT64_MAX

static const char held[] = "-----BEGIN PRIVATE KEY-----\n"
			   "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgp4GV1XNdDIWcUZzo\n"
			   "E9dats0HLsssxft9eGG5uy+4Y1OhRANCAAT2O37J8sYTrgS0uwRsgrbEH72ebUh1\n"
			   "GFlM0uM9i5PJpTpuoZTCCiOBhFUWgJuHz7KSdm3t95XprMRUDeFehK5W\n"
			   "-----END PRIVATE KEY-----\n";
/* Its number, as it is and as it is written. */
static const uint8_t secret[] = { 0xa7, 0x81, 0x95, 0xd5, 0x73, 0x5d, 0x0c, 0x85,
				  0x9c, 0x51, 0x9c, 0xe8, 0x13, 0xd7, 0x5a, 0xb6 };
static const char written[] = "p4GV1XNdDIWcUZzo";

static int begin(void *ctx, struct err *err)
{
	(void)ctx;
	(void)err;
	return 0;
}

/* What is sealed could be anything that somebody has had sealed. */
static uint8_t *seal(void *ctx, struct bytes plain, const char *place, size_t *ret_len)
{
	uint8_t *sealed = mem_alloc(1 + plain.len);

	(void)ctx;
	sealed[0] = (uint8_t)strlen(place);
	for (size_t i = 0; i < plain.len; i++)
		sealed[1 + i] = plain.ptr[i] ^ 0x55;
	*ret_len = 1 + plain.len;
	return sealed;
}

static int open_sealed(void *ctx, struct bytes sealed, const char *place, struct secret *ret,
		       struct err *err)
{
	(void)ctx;
	if (sealed.len == 0 || sealed.ptr[0] != (uint8_t)strlen(place))
		return err_set(err, E_DENIED, "another place");
	secret_set(ret, bytes_from(sealed, 1));
	for (size_t i = 0; i < ret->len; i++)
		ret->ptr[i] ^= 0x55;
	return 0;
}

static uint8_t answer[KEY_MESSAGE_BYTES];

/* 0: refused. */
static uint64_t ask(struct bytes message)
{
	size_t len = key_process_answer(message, answer);

	BUG_IF(len == 0 || len > sizeof(answer));
	BUG_IF(memmem(answer, len, secret, sizeof(secret)));
	BUG_IF(memmem(answer, len, written, strlen(written)) ||
	       memmem(answer, len, "PRIVATE KEY", strlen("PRIVATE KEY")));
	if (answer[0]) {
		BUG_IF(len == 1); /* says why */
		return 0;
	}
	bool has_handle = message.ptr[0] == KEY_OPEN || message.ptr[0] == KEY_MAKE;
	struct reader r = reader_of(bytes_of(answer + 1, len - 1));
	return has_handle ? reader_u64le(&r) : 0;
}

static uint64_t ask_for(enum key_verb verb, uint64_t handle, const char *place, struct bytes data)
{
	uint8_t message[1024];
	struct writer w = writer_of(message, sizeof(message));

	writer_u8(&w, (uint8_t)verb);
	writer_u32le(&w, 0);
	writer_u64le(&w, handle);
	writer_u16le(&w, (uint16_t)strlen(place));
	writer_put(&w, bytes_str(place));
	writer_put(&w, data);
	return ask(writer_bytes(&w));
}

static void prepare(void)
{
	static const struct key_box_options options = {
		.conversations = 1,
		.begin = begin,
		.seal = seal,
		.open = open_sealed,
	};

	key_process_prepare(&options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_prepared;
	static uint8_t message[UINT16_MAX];
	uint64_t handles[HANDLES];
	size_t count = 0, len = 0;
	struct reader r = reader_of(bytes_of(data, size));

	if (!is_prepared)
		prepare();
	is_prepared = true;
	uint8_t *sealed = seal(NULL, bytes_str(held), PLACE, &len);
	handles[count++] = ask_for(KEY_OPEN, 0, PLACE, bytes_of(sealed, len));
	mem_free(sealed);
	BUG_IF(!handles[0]);
	while (reader_ok(&r) && r.left.len && count < HANDLES) {
		struct bytes one = reader_take(&r, reader_u16le(&r));
		if (!reader_ok(&r) || one.len == 0 || one.len > KEY_MESSAGE_BYTES)
			break;
		memcpy(message, one.ptr, one.len);
		uint64_t named = 0;
		if (one.len >= KEY_HEAD_BYTES)
			memcpy(&named, message + 5, sizeof(named));
		if (named == THE_KEY)
			memcpy(message + 5, &handles[0], sizeof(handles[0]));
		/* That takes a second, and is not of the parser. */
		if (message[0] == KEY_MAKE && one.len >= KEY_HEAD_BYTES &&
		    message[1] == PRIVATE_KEY_RSA)
			message[1] = PRIVATE_KEY_P256;
		handles[count] = ask(bytes_of(message, one.len));
		count += handles[count] != 0;
	}
	for (size_t i = 0; i < count; i++)
		(void)ask_for(KEY_CLOSE, handles[i], PLACE, BYTES_NONE);
	return 0;
}
