#include "connector/origin/socks.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/check.h"

#define VERSION 5
#define NO_AUTHENTICATION 0
#define NO_METHOD 0xff
#define CONNECT 1
#define ADDRESS_IPV4 1
#define ADDRESS_NAME 3
#define ADDRESS_IPV6 4

void socks_reader_init(struct socks_reader *r)
{
	*r = (struct socks_reader){ 0 };
}

void socks_print_reply(enum socks_code code, uint8_t dst[SOCKS_REPLY_SIZE])
{
	memset(dst, 0, SOCKS_REPLY_SIZE);
	dst[0] = VERSION;
	dst[1] = (uint8_t)code;
	dst[3] = ADDRESS_IPV4;
}

static enum socks_event refuse(struct socks_reader *r, enum socks_code code)
{
	socks_print_reply(code, r->reply_bytes);
	r->reply = bytes_of(r->reply_bytes, SOCKS_REPLY_SIZE);
	return SOCKS_REFUSAL;
}

/* Bytes the message has, as far as its beginning tells; never more than SOCKS_MESSAGE_MAX. */
static size_t message_size(const struct socks_reader *r)
{
	const uint8_t *m = r->message;

	/* The first byte decides whether this is SOCKS at all, so it is looked at alone. */
	if (r->len < 2 || m[0] != VERSION)
		return r->len == 0 || m[0] != VERSION ? 1 : 2;
	if (!r->has_greeted)
		return 2 + (size_t)m[1];
	if (r->len < 5)
		return 5;
	switch (m[3]) {
	case ADDRESS_IPV4:
		return 4 + 4 + 2;
	case ADDRESS_IPV6:
		return 4 + 16 + 2;
	case ADDRESS_NAME:
		return 4 + 1 + (size_t)m[4] + 2;
	default:
		return 5;
	}
}

static enum socks_event read_greeting(struct socks_reader *r)
{
	bool is_offered = memchr(r->message + 2, NO_AUTHENTICATION, r->message[1]);

	r->has_greeted = true;
	r->len = 0;
	r->reply_bytes[0] = VERSION;
	r->reply_bytes[1] = is_offered ? NO_AUTHENTICATION : NO_METHOD;
	r->reply = bytes_of(r->reply_bytes, 2);
	return is_offered ? SOCKS_GREETED : SOCKS_REFUSAL;
}

/* Anything a resolver could take for something else than a name is none. */
static bool is_name(struct bytes name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] >= 0x7f || name.ptr[i] == '%')
			return false;
	return name.len > 0;
}

static enum socks_event read_request(struct socks_reader *r)
{
	const uint8_t *m = r->message, *port = m + r->len - 2;

	if (m[1] != CONNECT)
		return refuse(r, SOCKS_BAD_COMMAND);
	if (m[3] == ADDRESS_NAME) {
		r->host = bytes_of(m + 5, m[4]);
		if (!is_name(r->host))
			return refuse(r, SOCKS_HOST_UNREACHABLE);
	} else if (m[3] == ADDRESS_IPV4 || m[3] == ADDRESS_IPV6) {
		inet_ntop(m[3] == ADDRESS_IPV4 ? AF_INET : AF_INET6, m + 4, r->host_text,
			  sizeof(r->host_text));
		r->host = bytes_str(r->host_text);
	} else {
		return refuse(r, SOCKS_BAD_ADDRESS_TYPE);
	}
	r->port = (uint16_t)(port[0] << 8 | port[1]);
	return SOCKS_REQUEST;
}

enum socks_event socks_next(struct socks_reader *r, struct bytes *data)
{
	r->reply = BYTES_NONE;
	for (;;) {
		size_t want = message_size(r);
		if (r->len == want) {
			if (r->message[0] != VERSION)
				return SOCKS_REFUSAL; /* no SOCKS5, so no answer in it */
			return r->has_greeted ? read_request(r) : read_greeting(r);
		}
		struct bytes part = bytes_first(*data, want - r->len);
		if (part.len == 0)
			return SOCKS_MORE;
		memcpy(r->message + r->len, part.ptr, part.len);
		r->len += part.len;
		*data = bytes_from(*data, part.len);
	}
}

enum socks_code socks_code_of(const struct err *err)
{
	if (err->code == E_DENIED)
		return SOCKS_DENIED;
	if (err->code == E_REFUSED)
		return SOCKS_REFUSED;
	if (err->sys_errno == ENETUNREACH)
		return SOCKS_NETWORK_UNREACHABLE;
	if (err->code == E_INVALID)
		return SOCKS_FAILED;
	return SOCKS_HOST_UNREACHABLE;
}

bool socks_allows(const struct ingress_origin *origin, const struct address *to)
{
	uint8_t ip[16] = { [10] = 0xff, [11] = 0xff };

	if (to->any.sa_family == AF_INET)
		memcpy(ip + 12, &to->v4.sin_addr, 4);
	else if (to->any.sa_family == AF_INET6)
		memcpy(ip, &to->v6.sin6_addr, sizeof(ip));
	else
		return false;
	return ingress_ip_is_allowed(origin, ip, address_port(to));
}
