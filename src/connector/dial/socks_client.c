#include "connector/dial/socks_client.h"

#include "base/reader.h"
#include "base/writer.h"
#include "io/address.h"

#define VERSION 5
#define AUTH_VERSION 1
#define METHOD_NONE 0
#define METHOD_PASSWORD 2
#define METHOD_NO_MATCH 0xff
#define COMMAND_CONNECT 1
#define TYPE_IPV4 1
#define TYPE_NAME 3
#define TYPE_IPV6 4

static void say(struct buf *out, const struct writer *w)
{
	BUG_IF(!writer_ok(w) || buf_append(out, writer_bytes(w)) < 0);
}

void socks_client_start(struct socks_client *c, struct buf *out)
{
	uint8_t message[4];
	struct writer w = writer_of(message, sizeof(message));
	bool has_user = c->user.len > 0;

	c->state = SOCKS_CLIENT_METHOD;
	writer_u8(&w, VERSION);
	writer_u8(&w, has_user ? 2 : 1);
	writer_u8(&w, METHOD_NONE);
	if (has_user)
		writer_u8(&w, METHOD_PASSWORD);
	say(out, &w);
}

static void say_request(struct socks_client *c, struct buf *out)
{
	uint8_t message[SOCKS_CLIENT_OUT_BYTES];
	struct writer w = writer_of(message, sizeof(message));
	struct address a;

	c->state = SOCKS_CLIENT_REPLY;
	writer_u8(&w, VERSION);
	writer_u8(&w, COMMAND_CONNECT);
	writer_u8(&w, 0);
	if (!address_from_ip(c->host, c->port, &a)) {
		writer_u8(&w, TYPE_NAME);
		writer_u8(&w, (uint8_t)c->host.len);
		writer_put(&w, c->host);
	} else if (a.any.sa_family == AF_INET) {
		writer_u8(&w, TYPE_IPV4);
		writer_put(&w, bytes_of(&a.v4.sin_addr, 4));
	} else {
		writer_u8(&w, TYPE_IPV6);
		writer_put(&w, bytes_of(&a.v6.sin6_addr, 16));
	}
	writer_u16be(&w, c->port);
	say(out, &w);
}

static void say_password(struct socks_client *c, struct buf *out)
{
	uint8_t message[SOCKS_CLIENT_OUT_BYTES];
	struct writer w = writer_of(message, sizeof(message));

	c->state = SOCKS_CLIENT_AUTH;
	writer_u8(&w, AUTH_VERSION);
	writer_u8(&w, (uint8_t)c->user.len);
	writer_put(&w, c->user);
	writer_u8(&w, (uint8_t)c->password.len);
	writer_put(&w, c->password);
	say(out, &w);
	explicit_bzero(message, sizeof(message));
}

static int no_socks(struct err *err)
{
	return err_set(err, E_PROTOCOL, "it does not speak SOCKS 5");
}

static int on_method(struct socks_client *c, struct bytes message, struct buf *out, struct err *err)
{
	if (message.ptr[0] != VERSION)
		return no_socks(err);
	if (message.ptr[1] == METHOD_NONE)
		say_request(c, out);
	else if (message.ptr[1] == METHOD_PASSWORD && c->user.len)
		say_password(c, out);
	else if (message.ptr[1] == METHOD_NO_MATCH)
		return err_set(err, E_DENIED, "%s",
			       c->user.len ? "it takes neither no authentication nor a password"
					   : "it wants a name and password");
	else
		return no_socks(err);
	return 0;
}

static int on_auth(struct socks_client *c, struct bytes message, struct buf *out, struct err *err)
{
	if (message.ptr[1] != 0)
		return err_set(err, E_DENIED, "it refused the name and password");
	say_request(c, out);
	return 0;
}

static int refused(uint8_t code, struct err *err)
{
	static const struct {
		int code;
		const char *text;
	} replies[] = {
		[1] = { E_IO, "general failure" },
		[2] = { E_DENIED, "not allowed by its rules" },
		[3] = { E_IO, "network unreachable" },
		[4] = { E_IO, "host unreachable" },
		[5] = { E_REFUSED, "connection refused" },
		[6] = { E_IO, "TTL expired" },
		[7] = { E_UNSUPPORTED, "command not supported" },
		[8] = { E_UNSUPPORTED, "address type not supported" },
	};

	if (code >= ARRAY_LEN(replies))
		return err_set(err, E_REFUSED, "it refused to connect: %u", code);
	return err_set(err, replies[code].code, "it refused to connect: %u %s", code,
		       replies[code].text);
}

/* The length of a reply with all of its address; 0: more is needed to know. */
static size_t reply_length(struct bytes in)
{
	if (in.len < 5)
		return 0;
	switch (in.ptr[3]) {
	case TYPE_IPV4:
		return 4 + 4 + 2;
	case TYPE_IPV6:
		return 4 + 16 + 2;
	case TYPE_NAME:
		return 4 + 1 + in.ptr[4] + 2u;
	default:
		return 5; /* refused below */
	}
}

static int on_reply(struct bytes message, struct err *err)
{
	uint8_t type = message.ptr[3];

	if (message.ptr[0] != VERSION)
		return no_socks(err);
	if (type != TYPE_IPV4 && type != TYPE_IPV6 && type != TYPE_NAME)
		return no_socks(err);
	return 1;
}

int socks_client_feed(struct socks_client *c, struct bytes *in, struct buf *out, struct err *err)
{
	size_t size = c->state == SOCKS_CLIENT_REPLY ? reply_length(*in) : 2;

	/* Some refuse with less than a whole reply and close. */
	if (c->state == SOCKS_CLIENT_REPLY && in->len >= 2 && in->ptr[1] != 0)
		return in->ptr[0] == VERSION ? refused(in->ptr[1], err) : no_socks(err);
	if (size == 0 || in->len < size)
		return 0;
	struct bytes message = bytes_first(*in, size);
	*in = bytes_from(*in, size);
	switch (c->state) {
	case SOCKS_CLIENT_METHOD:
		return on_method(c, message, out, err);
	case SOCKS_CLIENT_AUTH:
		return on_auth(c, message, out, err);
	case SOCKS_CLIENT_REPLY:
		break;
	}
	return on_reply(message, err);
}
