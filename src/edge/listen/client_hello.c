#include "edge/listen/client_hello.h"

#include <string.h>
#include <sys/types.h>

#include "base/bufq.h"
#include "base/check.h"
#include "base/reader.h"

#define RECORD_HEAD_BYTES 5
#define RECORD_HANDSHAKE 22
#define MESSAGE_HEAD_BYTES 4
#define MESSAGE_CLIENT_HELLO 1
#define EXTENSION_SERVER_NAME 0
#define NAME_HOST 0

_Static_assert(CLIENT_HELLO_MAX <= BUFQ_CHUNK_BYTES, "the records' contents fit a chunk");

/* The contents of the records that have come, one behind the other, in `dst`; its length, or E_INVALID. */
static ssize_t join_records(struct bytes in, uint8_t *dst)
{
	size_t len = 0;

	while (in.len) {
		if (in.ptr[0] != RECORD_HANDSHAKE || (in.len > 1 && in.ptr[1] != 3))
			return E_INVALID;
		if (in.len < RECORD_HEAD_BYTES)
			break;
		size_t size = (size_t)in.ptr[3] << 8 | in.ptr[4];
		if (size == 0 || size > CLIENT_HELLO_MAX)
			return E_INVALID;
		struct bytes part = bytes_first(bytes_from(in, RECORD_HEAD_BYTES), size);
		BUG_IF(part.len > CLIENT_HELLO_MAX - len);
		if (part.len)
			memcpy(dst + len, part.ptr, part.len);
		len += part.len;
		in = bytes_from(in, RECORD_HEAD_BYTES + part.len);
	}
	return (ssize_t)len;
}

static bool take_name(struct bytes name, struct client_hello *ret)
{
	if (bytes_ends_with(name, BYTES_LIT(".")))
		name.len--;
	if (name.len == 0 || name.len >= sizeof(ret->name))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] <= ' ' || name.ptr[i] > '~')
			return false;
		ret->name[i] = (char)bytes_lower(name.ptr[i]);
	}
	ret->name[name.len] = 0;
	return true;
}

static bool take_server_name(struct bytes extension, struct client_hello *ret)
{
	struct reader r = reader_of(extension);
	struct reader list = reader_of(reader_take(&r, reader_u16be(&r)));
	bool is_host = reader_u8(&list) == NAME_HOST;
	struct bytes name = reader_take(&list, reader_u16be(&list));

	return reader_ok(&r) && reader_ok(&list) && r.left.len == 0 && is_host &&
	       take_name(name, ret);
}

static bool take_hello(struct bytes message, struct client_hello *ret)
{
	struct reader r = reader_of(message);

	reader_take(&r, 2 + 32);           /* version, random */
	reader_take(&r, reader_u8(&r));    /* session id */
	reader_take(&r, reader_u16be(&r)); /* cipher suites */
	reader_take(&r, reader_u8(&r));    /* compression */
	if (!reader_ok(&r))
		return false;
	if (r.left.len == 0)
		return true;
	struct reader extensions = reader_of(reader_take(&r, reader_u16be(&r)));
	if (!reader_ok(&r) || r.left.len)
		return false;
	while (reader_ok(&extensions) && extensions.left.len) {
		uint16_t type = reader_u16be(&extensions);
		struct bytes data = reader_take(&extensions, reader_u16be(&extensions));
		if (reader_ok(&extensions) && type == EXTENSION_SERVER_NAME)
			return take_server_name(data, ret);
	}
	return reader_ok(&extensions);
}

static int parse_message(struct bytes joined, struct client_hello *ret, size_t *ret_missing)
{
	if (joined.len && joined.ptr[0] != MESSAGE_CLIENT_HELLO)
		return E_INVALID;
	if (joined.len < MESSAGE_HEAD_BYTES) {
		*ret_missing = MESSAGE_HEAD_BYTES - joined.len;
		return E_AGAIN;
	}
	size_t size = (size_t)joined.ptr[1] << 16 | (size_t)joined.ptr[2] << 8 | joined.ptr[3];
	if (size > CLIENT_HELLO_MAX)
		return E_INVALID;
	joined = bytes_from(joined, MESSAGE_HEAD_BYTES);
	if (joined.len < size) {
		*ret_missing = size - joined.len;
		return E_AGAIN;
	}
	return take_hello(bytes_first(joined, size), ret) ? 0 : E_INVALID;
}

int client_hello_parse(struct bytes in, struct client_hello *ret, size_t *ret_missing)
{
	uint8_t *joined;
	ssize_t len;
	int rc;

	BUG_IF(in.len > CLIENT_HELLO_MAX);
	ret->name[0] = 0;
	*ret_missing = 0;
	joined = bufq_chunk_take();
	len = join_records(in, joined);
	rc = len < 0 ? E_INVALID : parse_message(bytes_of(joined, (size_t)len), ret, ret_missing);
	bufq_chunk_return(joined);
	if (rc < 0)
		ret->name[0] = 0;
	if (rc == E_AGAIN && *ret_missing > CLIENT_HELLO_MAX - in.len)
		rc = E_INVALID;
	return rc;
}
