#include "connector/dial/proxy.h"

#include <string.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/secret.h"
#include "io/address.h"

/* Of a name and of a password; some are tokens. */
#define USER_BYTES 1024
#define SOCKS_USER_BYTES 255 /* RFC 1929 */

/* --- Without a proxy ------------------------------------------------------------------------- */

static struct bytes address_bits(const struct address *a)
{
	if (a->any.sa_family == AF_INET)
		return bytes_of(&a->v4.sin_addr, 4);
	if (IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		return bytes_of(a->v6.sin6_addr.s6_addr + 12, 4);
	return bytes_of(&a->v6.sin6_addr, 16);
}

static bool is_loopback(struct bytes host)
{
	struct address a;

	if (bytes_eq_nocase(host, BYTES_LIT("localhost")))
		return true;
	if (!address_from_ip(host, 0, &a))
		return false;
	struct bytes bits = address_bits(&a);
	return bits.len == 4 ? bits.ptr[0] == 127 : IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr);
}

static bool is_in_network(struct bytes entry, const struct address *a)
{
	size_t slash = bytes_index(entry, '/');
	struct address network;
	uint64_t prefix;

	if (!address_from_ip(bytes_first(entry, slash), 0, &network) ||
	    !bytes_to_u64(bytes_from(entry, slash + 1), &prefix))
		return false;
	struct bytes bits = address_bits(a), wanted = address_bits(&network);
	if (bits.len != wanted.len || prefix > bits.len * 8)
		return false;
	size_t whole = prefix / 8;
	uint8_t mask = (uint8_t)(0xff00 >> prefix % 8);
	return memcmp(bits.ptr, wanted.ptr, whole) == 0 &&
	       (prefix % 8 == 0 || ((bits.ptr[whole] ^ wanted.ptr[whole]) & mask) == 0);
}

/* "example.com" is that name and those below, ".example.com" and "*.example.com" only those below. */
static bool is_name_of(struct bytes entry, struct bytes host)
{
	if (bytes_starts_with(entry, BYTES_LIT("*.")))
		entry = bytes_from(entry, 1);
	if (entry.len == 0 || host.len < entry.len)
		return false;
	struct bytes tail = bytes_from(host, host.len - entry.len);
	return bytes_eq_nocase(tail, entry) && (tail.len == host.len || entry.ptr[0] == '.' ||
						host.ptr[host.len - entry.len - 1] == '.');
}

static bool entry_fits(struct bytes entry, struct bytes host, uint16_t port)
{
	struct address address, wanted;
	struct bytes name;
	uint16_t wanted_port;
	bool is_ip = address_from_ip(host, 0, &address);

	if (bytes_eq(entry, BYTES_LIT("*")))
		return true;
	if (bytes_index(entry, '/') < entry.len)
		return is_ip && is_in_network(entry, &address);
	if (!address_from_ip(entry, 0, &wanted) &&
	    address_split(entry, &name, &wanted_port, NULL) == 0) {
		if (wanted_port != port)
			return false;
		entry = name;
	}
	if (is_ip)
		return address_from_ip(entry, 0, &wanted) &&
		       bytes_eq(address_bits(&address), address_bits(&wanted));
	return is_name_of(entry, host);
}

bool proxy_is_bypassed(const char *no_proxy, struct bytes host, uint16_t port)
{
	struct bytes rest = bytes_str(no_proxy), entry;

	if (is_loopback(host))
		return true;
	while (bytes_split(&rest, ',', &entry))
		if (entry_fits(bytes_trim(entry), host, port))
			return true;
	return false;
}

/* --- Through one ----------------------------------------------------------------------------- */

/* "%40" and the like; E_INVALID for what is no hexadecimal. */
static int percent_decode(struct bytes text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		if (c == '%') {
			if (text.len - i < 3 || !hex_decode(bytes_of(text.ptr + i + 1, 2), &c))
				return E_INVALID;
			i += 2;
		}
		if (buf_append(out, bytes_of(&c, 1)) < 0)
			return E_INVALID;
	}
	return 0;
}

/* "user:password", decoded; RFC 7617 allows no colon in the user. */
static int take_user(struct arena *a, struct bytes user_info, struct proxy *p)
{
	size_t colon = bytes_index(user_info, ':');
	struct buf user, plain;

	buf_init(&user, USER_BYTES);
	buf_init(&plain, USER_BYTES + 1 + USER_BYTES);
	int r = percent_decode(bytes_first(user_info, colon), &user);
	if (r == 0)
		r = buf_append(&plain, buf_bytes(&user));
	if (r == 0)
		r = buf_append_str(&plain, ":");
	if (r == 0)
		r = percent_decode(bytes_from(user_info, colon + 1), &plain);
	struct bytes password = bytes_from(buf_bytes(&plain), user.len + 1);
	bool fits = p->kind == PROXY_SOCKS5
			    ? user.len <= SOCKS_USER_BYTES && password.len <= SOCKS_USER_BYTES
			    : bytes_index(buf_bytes(&user), ':') == user.len;
	if (r == 0 && !fits)
		r = E_INVALID;
	if (r == 0) {
		char *text = base64_text(BASE64_STD, buf_bytes(&plain));
		p->authorization = arena_printf(a, "Basic %s", text);
		p->user = arena_copy(a, buf_bytes(&user));
		p->password = arena_copy(a, password);
		secret_wipe(text, strlen(text));
		mem_free(text);
	}
	secret_wipe(plain.ptr, plain.cap);
	buf_done(&plain);
	buf_done(&user);
	return r < 0 ? E_INVALID : 0;
}

static const struct scheme {
	const char *name;
	enum proxy_kind kind;
	bool resolves;
	uint16_t port;
} schemes[] = {
	/* The first is what a proxy without a scheme is. */
	{ "http", PROXY_HTTP, true, 80 },
	{ "https", PROXY_HTTPS, true, 443 },
	{ "socks5", PROXY_SOCKS5, false, 1080 },
	{ "socks5h", PROXY_SOCKS5, true, 1080 },
};

const char *proxy_scheme(const struct proxy *p)
{
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (schemes[i].kind == p->kind && schemes[i].resolves == p->resolves)
			return schemes[i].name;
	return "";
}

static const struct scheme *find_scheme(struct bytes name)
{
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (bytes_eq_nocase(name, bytes_str(schemes[i].name)))
			return &schemes[i];
	return NULL;
}

/* The errors do not repeat the URL: a password may be in it. */
int proxy_parse(struct arena *a, const char *url, const char *setting, struct proxy *ret,
		struct err *err)
{
	struct bytes text = bytes_trim(bytes_str(url));
	const char *scheme_end = strstr(url, "://");
	const struct scheme *scheme = &schemes[0];
	struct proxy proxy = { 0 };
	struct address literal;

	if (scheme_end) {
		struct bytes name = bytes_first(text, (size_t)(scheme_end - (const char *)text.ptr));
		scheme = find_scheme(name);
		if (!scheme)
			return err_set(err, E_UNSUPPORTED,
				       "%s names a proxy of an unknown kind; it may be http://, "
				       "https://, socks5:// or socks5h://",
				       setting);
		text = bytes_from(text, name.len + 3);
	}
	proxy.kind = scheme->kind;
	proxy.resolves = scheme->resolves;
	proxy.port = scheme->port;
	text = bytes_first(text, bytes_index(text, '/'));
	size_t at = text.len;
	while (at > 0 && text.ptr[at - 1] != '@')
		at--;
	if (at > 0 && take_user(a, bytes_first(text, at - 1), &proxy) < 0)
		return err_set(err, E_INVALID,
			       "%s: the name and password before the \"@\" are malformed", setting);
	text = bytes_from(text, at);
	if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
		proxy.host = bytes_of(text.ptr + 1, text.len - 2);
	else if (bytes_index(text, ':') == text.len || address_from_ip(text, 0, &literal))
		proxy.host = text;
	else if (address_split(text, &proxy.host, &proxy.port, NULL) < 0)
		proxy.port = 0;
	bool is_text = proxy.host.len > 0 && proxy.port > 0;
	for (size_t i = 0; i < proxy.host.len; i++)
		is_text &= proxy.host.ptr[i] > ' ' && proxy.host.ptr[i] < 0x7f;
	if (!is_text)
		return err_set(err, E_INVALID,
			       "%s is no proxy's address: %s://[USER:PASSWORD@]HOST:PORT", setting,
			       scheme->name);
	bool is_v6 = bytes_index(proxy.host, ':') < proxy.host.len;
	proxy.host = arena_copy(a, proxy.host);
	proxy.text = arena_printf(a, "%s://%s" BYTES_FMT "%s:%u", scheme->name, is_v6 ? "[" : "",
				  BYTES_ARG(proxy.host), is_v6 ? "]" : "", proxy.port);
	*ret = proxy;
	return 0;
}
