#include "io/resolve.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <resolv.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/reader.h"

/* A DNS message over TCP has 64 KiB at most; records that matter to us come in a few hundred bytes. */
#define ANSWER_BYTES (16 * 1024)
#define HEADER_BYTES 12

/* --- Hosts ----------------------------------------------------------------------------------- */

static bool takes(int family, const struct address *a)
{
	return family == AF_UNSPEC || a->any.sa_family == family;
}

static int no_such_family(const char *host, int family, struct err *err)
{
	return err_set(err, E_NOT_FOUND, "%s has no %s address", host,
		       family == AF_INET ? "IPv4" : "IPv6");
}

void resolve_explain(struct err *err)
{
	static const char *const files[] = { "/etc/resolv.conf", "/etc/hosts" };
	char text[sizeof(err->text)];

	for (size_t i = 0; err && i < ARRAY_LEN(files); i++) {
		int fd = open(files[i], O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			close(fd); /* allowed: a plain file */
		} else if (errno == EACCES) {
			(void)snprintf(text, sizeof(text), "%s", err->text);
			(void)err_set_errno(err, err->code, EACCES, "%s; %s", text, files[i]);
			return;
		}
	}
}

static int ask_system(const char *host, uint16_t port, int family, struct address *ret, size_t max,
		      struct err *err)
{
	const struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	int count = 0;
	int r = getaddrinfo(host, NULL, &hints, &found);

	if (r != 0) {
		err_set(err, E_NOT_FOUND, "looking up %s: %s", host, gai_strerror(r));
		resolve_explain(err);
		return E_NOT_FOUND;
	}
	for (const struct addrinfo *it = found; it && (size_t)count < max; it = it->ai_next) {
		if (it->ai_family != AF_INET && it->ai_family != AF_INET6)
			continue;
		struct address *a = &ret[count++];
		*a = (struct address){ .len = it->ai_addrlen };
		memcpy(&a->any, it->ai_addr, it->ai_addrlen);
		if (it->ai_family == AF_INET)
			a->v4.sin_port = htons(port);
		else
			a->v6.sin6_port = htons(port);
	}
	freeaddrinfo(found);
	return count ? count : err_set(err, E_NOT_FOUND, "looking up %s: no address", host);
}

int resolve_host(const char *host, uint16_t port, int family, struct address *ret, size_t max,
		 struct err *err)
{
	static const char *const local[] = { "::1", "127.0.0.1" };
	bool is_local = bytes_eq_nocase(bytes_str(host), BYTES_LIT("localhost"));
	struct address a;
	int count = 0;

	BUG_IF(max == 0);
	if (address_from_ip(bytes_str(host), port, &a)) {
		if (!takes(family, &a))
			return no_such_family(host, family, err);
		ret[0] = a;
		return 1;
	}
	for (size_t i = 0; is_local && i < ARRAY_LEN(local) && (size_t)count < max; i++)
		if (address_from_ip(bytes_str(local[i]), port, &a) && takes(family, &a))
			ret[count++] = a;
	return is_local ? count : ask_system(host, port, family, ret, max, err);
}

#ifdef __GLIBC__

int resolve_server(struct address *ret, struct err *err)
{
	struct __res_state state = { 0 };
	const struct sockaddr_in6 *v6;

	*ret = (struct address){ 0 };
	if (res_ninit(&state) != 0)
		return err_set(err, E_NOT_FOUND, "the system's resolver is not set up");
	v6 = state._u._ext.nsaddrs[0];
	if (state.nscount > 0 && state.nsaddr_list[0].sin_family == AF_INET) {
		ret->v4 = state.nsaddr_list[0];
		ret->len = sizeof(ret->v4);
	} else if (state.nscount > 0 && v6) {
		ret->v6 = *v6;
		ret->len = sizeof(ret->v6);
	}
	res_nclose(&state);
	return ret->len ? 0 : err_set(err, E_NOT_FOUND, "the system has no name server");
}

#else

/* musl's resolver keeps nothing that could be asked: it reads the file at each question. */
int resolve_server(struct address *ret, struct err *err)
{
	FILE *file = fopen("/etc/resolv.conf", "re");
	char line[256], ip[64];
	bool is_found = false;

	*ret = (struct address){ 0 };
	while (file && !is_found && fgets(line, sizeof(line), file))
		is_found = sscanf(line, "nameserver %63s", ip) == 1 &&
			   address_from_ip(bytes_str(ip), NS_DEFAULTPORT, ret);
	if (file)
		(void)fclose(file);
	return is_found ? 0 : err_set(err, E_NOT_FOUND, "the system has no name server");
}

#endif

/* --- Services -------------------------------------------------------------------------------- */

/* A name in the message, which may point elsewhere in it; moves the cursor past it. */
static bool take_name(struct bytes message, struct reader *r, char name[RESOLVE_NAME_BYTES])
{
	const uint8_t *end = message.ptr + message.len;

	if (r->failed || r->left.len == 0)
		return false;
	/* Bounded by libc, loops included; fails for what does not fit as text. */
	int size = dn_expand(message.ptr, end, r->left.ptr, name, RESOLVE_NAME_BYTES);
	if (size < 0)
		return false;
	(void)reader_take(r, (size_t)size);
	return reader_ok(r);
}

/* Letters, digits, '-', '_' and '.': a name goes to logs and to a proxy. */
static bool is_host_name(const char *name)
{
	return *name && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					  "0123456789-_.")] == 0;
}

int resolve_parse_services(struct bytes answer, struct resolve_service *ret, size_t max,
			   uint32_t *ret_ttl_sec)
{
	struct reader r = reader_of(answer);
	char name[RESOLVE_NAME_BYTES];
	uint32_t least = UINT32_MAX;
	int count = 0;

	(void)reader_take(&r, 4);
	unsigned questions = reader_u16be(&r), answers = reader_u16be(&r);
	(void)reader_take(&r, HEADER_BYTES - 8);
	for (; questions && reader_ok(&r); questions--) {
		if (!take_name(answer, &r, name))
			return E_PARSE;
		(void)reader_take(&r, 4);
	}
	for (; answers && reader_ok(&r) && (size_t)count < max; answers--) {
		if (!take_name(answer, &r, name))
			return E_PARSE;
		uint16_t type = reader_u16be(&r), class = reader_u16be(&r);
		uint32_t ttl = reader_u32be(&r);
		uint16_t size = reader_u16be(&r);
		struct reader data = reader_of(reader_take(&r, size));
		if (!reader_ok(&r))
			return E_PARSE;
		if (class != ns_c_in || type != ns_t_srv)
			continue; /* an alias on the way there */
		struct resolve_service *s = &ret[count];
		s->priority = reader_u16be(&data);
		s->weight = reader_u16be(&data);
		s->port = reader_u16be(&data);
		if (!take_name(answer, &data, s->host))
			return E_PARSE;
		/* "." as the only target: the service is not offered here. */
		if (!is_host_name(s->host) || s->port == 0)
			continue;
		least = ttl < least ? ttl : least;
		count++;
	}
	if (!reader_ok(&r))
		return E_PARSE;
	*ret_ttl_sec = count ? least : 0;
	return count;
}

static void swap(struct resolve_service *a, struct resolve_service *b)
{
	struct resolve_service c = *a;

	*a = *b;
	*b = c;
}

/* RFC 2782: of those with the lowest priority that are left, one at random by weight; and again. */
static void put_in_order(struct resolve_service *s, size_t count)
{
	for (size_t at = 0; at < count; at++) {
		uint64_t total = 0;
		uint16_t lowest = UINT16_MAX;

		for (size_t i = at; i < count; i++)
			lowest = s[i].priority < lowest ? s[i].priority : lowest;
		for (size_t i = at; i < count; i++)
			if (s[i].priority == lowest)
				total += s[i].weight + 1u; /* none is left out for good */
		uint64_t left = random_below(total);
		for (size_t i = at; i < count; i++) {
			if (s[i].priority != lowest)
				continue;
			if (left < s[i].weight + 1u) {
				swap(&s[at], &s[i]);
				break;
			}
			left -= s[i].weight + 1u;
		}
	}
}

#ifdef __GLIBC__

/* The size of the answer, or -1. */
static int ask_servers(const char *name, uint8_t *answer, bool *ret_is_none)
{
	struct __res_state state = { 0 };
	int size = -1;

	if (res_ninit(&state) == 0) {
		size = res_nquery(&state, name, ns_c_in, ns_t_srv, answer, ANSWER_BYTES);
		*ret_is_none = state.res_h_errno == HOST_NOT_FOUND || state.res_h_errno == NO_DATA;
		res_nclose(&state);
	}
	return size;
}

#else

static int ask_servers(const char *name, uint8_t *answer, bool *ret_is_none)
{
	int size = res_query(name, ns_c_in, ns_t_srv, answer, ANSWER_BYTES);

	*ret_is_none = h_errno == HOST_NOT_FOUND || h_errno == NO_DATA;
	return size;
}

#endif

int resolve_services(const char *name, struct resolve_service *ret, size_t max,
		     uint32_t *ret_ttl_sec, struct err *err)
{
	uint8_t *answer = mem_alloc(ANSWER_BYTES);
	bool is_none = false;
	int r, size = ask_servers(name, answer, &is_none);

	if (size < 0) {
		r = err_set(err, is_none ? E_NOT_FOUND : E_IO, "looking up SRV records of %s: %s",
			    name, is_none ? "there are none" : "no name server answered");
	} else {
		r = resolve_parse_services(
			bytes_of(answer, (size_t)(size < ANSWER_BYTES ? size : ANSWER_BYTES)), ret,
			max, ret_ttl_sec);
		if (r < 0)
			err_set(err, r, "looking up SRV records of %s: malformed answer", name);
		else if (r == 0)
			r = err_set(err, E_NOT_FOUND,
				    "looking up SRV records of %s: there are none", name);
		else
			put_in_order(ret, (size_t)r);
	}
	mem_free(answer);
	return r;
}
