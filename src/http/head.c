#include "http/head.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/limits.h"

/* A browser's request has about 15 fields; a list rarely grows more than once. */
#define FIRST_FIELDS 16

/* --- Fields ---------------------------------------------------------------------------------- */

static int fields_grow(struct fields *f, struct arena *a, size_t need)
{
	if (need > LIMIT_HEAD_FIELDS)
		return E_LIMIT;
	if (need <= f->cap)
		return 0;
	size_t cap = f->cap ? f->cap : FIRST_FIELDS;
	while (cap < need)
		cap *= 2;
	struct field *list = arena_alloc(a, cap * sizeof(*list));
	if (f->count)
		memcpy(list, f->list, f->count * sizeof(*list));
	f->list = list;
	f->cap = cap;
	return 0;
}

int fields_add(struct fields *f, struct arena *a, struct bytes name, struct bytes value)
{
	int ret = fields_grow(f, a, f->count + 1);

	if (ret < 0)
		return ret;
	f->list[f->count++] = (struct field){ name, value, head_name_of(name) };
	return 0;
}

struct field *fields_find(const struct fields *f, enum head_name token)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->list[i].token == token)
			return &f->list[i];
	return NULL;
}

struct field *fields_find_text(const struct fields *f, struct bytes name)
{
	for (size_t i = 0; i < f->count; i++)
		if (bytes_eq_nocase(f->list[i].name, name))
			return &f->list[i];
	return NULL;
}

void fields_remove(struct fields *f, enum head_name token)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->count; i++)
		if (f->list[i].token != token)
			f->list[kept++] = f->list[i];
	f->count = kept;
}

void fields_remove_text(struct fields *f, struct bytes name)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->count; i++)
		if (!bytes_eq_nocase(f->list[i].name, name))
			f->list[kept++] = f->list[i];
	f->count = kept;
}

int fields_set(struct fields *f, struct arena *a, enum head_name token, struct bytes value)
{
	fields_remove(f, token);
	return fields_add(f, a, head_name_text(token), value);
}

/* --- Copies ---------------------------------------------------------------------------------- */

static size_t fields_text_size(const struct fields *f)
{
	size_t size = 0;

	for (size_t i = 0; i < f->count; i++)
		size += f->list[i].name.len + f->list[i].value.len;
	return size;
}

static struct bytes put(uint8_t **at, struct bytes b)
{
	uint8_t *to = *at;

	if (b.len == 0)
		return BYTES_NONE;
	memcpy(to, b.ptr, b.len);
	*at += b.len;
	return bytes_of(to, b.len);
}

static int fields_copy_to(struct fields *to, const struct fields *from, struct arena *a,
			  uint8_t **at)
{
	*to = (struct fields){ 0 };
	if (from->count == 0)
		return 0;
	int ret = fields_grow(to, a, from->count);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < from->count; i++) {
		const struct field *field = &from->list[i];
		to->list[i] = (struct field){
			.name = put(at, field->name),
			.value = put(at, field->value),
			.token = field->token,
		};
	}
	to->count = from->count;
	return 0;
}

int fields_copy(struct fields *to, const struct fields *from, struct arena *a)
{
	uint8_t *at = arena_alloc_bytes(a, fields_text_size(from) + 1);

	return fields_copy_to(to, from, a, &at);
}

int head_copy(struct head *to, const struct head *from, struct arena *a)
{
	uint8_t *at =
		arena_alloc_bytes(a, from->method.len + from->scheme.len + from->authority.len +
					     from->path.len + fields_text_size(&from->fields) + 1);
	struct head copy = *from;

	copy.method = put(&at, from->method);
	copy.scheme = put(&at, from->scheme);
	copy.authority = put(&at, from->authority);
	copy.path = put(&at, from->path);
	int ret = fields_copy_to(&copy.fields, &from->fields, a, &at);
	if (ret < 0)
		return ret;
	*to = copy;
	return 0;
}

/* --- One hop --------------------------------------------------------------------------------- */

bool head_value_has_token(struct bytes value, struct bytes token)
{
	struct bytes part;

	while (bytes_split(&value, ',', &part))
		if (bytes_eq_nocase(bytes_trim(part), token))
			return true;
	return false;
}

static bool is_one_hop(const struct field *field)
{
	switch (field->token) {
	case HEAD_CONNECTION:
	case HEAD_HTTP2_SETTINGS:
	case HEAD_KEEP_ALIVE:
	case HEAD_PROXY_AUTHENTICATE:
	case HEAD_PROXY_AUTHORIZATION:
	case HEAD_PROXY_CONNECTION:
	case HEAD_TRANSFER_ENCODING:
	case HEAD_UPGRADE:
		return true;
	default:
		return false;
	}
}

void head_strip_hop_by_hop(struct head *h)
{
	struct fields *f = &h->fields;
	bool takes_trailers = false;

	/* Whoever speaks of trailers here will get them from us too; gRPC insists on seeing it. It is
	 * decided first because TE is a name that Connection has to list. */
	for (size_t i = 0; i < f->count; i++)
		if (f->list[i].token == HEAD_TE &&
		    head_value_has_token(f->list[i].value, BYTES_LIT("trailers")))
			takes_trailers = true;

	/* Removing moves later fields down, so the lists are copied out one by one: only the structs
	 * move, the text stays where it is. */
	for (size_t i = 0; i < f->count; i++) {
		if (f->list[i].token != HEAD_CONNECTION)
			continue;
		struct bytes rest = f->list[i].value, name;
		f->list[i].token = HEAD_OTHER; /* done; removed by its name below */
		while (bytes_split(&rest, ',', &name)) {
			name = bytes_trim(name);
			if (name.len && head_name_of(name) != HEAD_TE &&
			    !bytes_eq_nocase(name, BYTES_LIT("connection")))
				fields_remove_text(f, name);
		}
		i = (size_t)-1; /* the list has changed: look again from the start */
	}

	size_t kept = 0;
	bool has_te = false;
	for (size_t i = 0; i < f->count; i++) {
		struct field field = f->list[i];
		if (is_one_hop(&field) || bytes_eq_nocase(field.name, BYTES_LIT("connection")))
			continue;
		if (field.token == HEAD_TE) {
			if (!takes_trailers || has_te)
				continue;
			has_te = true;
			field.value = BYTES_LIT("trailers");
		}
		f->list[kept++] = field;
	}
	f->count = kept;
}

/* The letters of names and IPv4 addresses. RFC 3986 allows percent escapes and punctuation too, but
 * no name of a web host has them, and a comma or an '@' reads differently elsewhere. */
static const bool is_host_byte[256] = {
	['-'] = 1,         ['.'] = 1,         ['_'] = 1,         ['~'] = 1,
	['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

bool head_authority_is_valid(struct bytes authority)
{
	size_t host_len;

	if (authority.len && authority.ptr[0] == '[') {
		char text[INET6_ADDRSTRLEN];
		struct in6_addr address;
		host_len = bytes_index(authority, ']');
		if (host_len == authority.len || host_len - 1 >= sizeof(text))
			return false;
		memcpy(text, authority.ptr + 1, host_len - 1);
		text[host_len - 1] = 0;
		if (memchr(text, 0, host_len - 1) || inet_pton(AF_INET6, text, &address) != 1)
			return false;
		host_len++;
	} else {
		host_len = bytes_index(authority, ':');
		for (size_t i = 0; i < host_len; i++)
			if (!is_host_byte[authority.ptr[i]])
				return false;
	}
	if (host_len == 0)
		return false;
	struct bytes port = bytes_from(authority, host_len);
	if (port.len == 0)
		return true;
	uint64_t number;
	if (port.ptr[0] != ':')
		return false;
	port = bytes_from(port, 1);
	return port.len == 0 || (port.len <= 5 && bytes_to_u64(port, &number) && number <= 65535);
}

bool head_path_is_valid(struct bytes path)
{
	for (size_t i = 0; i < path.len; i++)
		if (path.ptr[i] <= ' ' || path.ptr[i] == 0x7f || path.ptr[i] == '#')
			return false;
	return true;
}

struct bytes head_host(struct bytes authority, struct arena *a)
{
	size_t len;

	if (authority.len && authority.ptr[0] == '[') {
		/* An IPv6 literal keeps its brackets: it cannot be mistaken for a name then. */
		len = bytes_index(authority, ']');
		len = len < authority.len ? len + 1 : authority.len;
	} else {
		len = bytes_index(authority, ':');
	}
	if (len && authority.ptr[len - 1] == '.')
		len--;
	if (len == 0)
		return BYTES_NONE;
	uint8_t *host = arena_alloc_bytes(a, len);
	for (size_t i = 0; i < len; i++)
		host[i] = bytes_lower(authority.ptr[i]);
	return bytes_of(host, len);
}
