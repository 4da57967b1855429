#include "connector/access/target.h"

#include <string.h>

#include "base/buf.h"
#include "base/idn.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/secret.h"
#include "http/h1.h"
#include "http/websocket.h"
#include "io/address.h"
#include "tls/tls.h"

#define COMPONENT "access"

#define HTTPS_PORT 443
/* Where an edge takes connections to private networks (docs/wire.md). */
#define PRIVATE_PATH "/cdn-cgi/adit/tcp"
#define HOST_MAX_BYTES 253 /* RFC 1035, as text */

/* --- The hostname ---------------------------------------------------------------------------- */

/* A name or an IP literal without brackets, in ASCII. */
static int take_host(struct arena *a, struct bytes text, struct bytes *ret)
{
	struct address literal;
	struct buf name;
	bool is_ip = address_from_ip(text, 0, &literal);
	int r;

	buf_init(&name, HOST_MAX_BYTES);
	r = idn_encode(text, &name);
	for (size_t i = 0; r == 0 && !is_ip && i < name.len; i++) {
		uint8_t c = bytes_lower(name.ptr[i]);
		bool is_letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		if (!is_letter && c != '-' && c != '.' && c != '_')
			r = E_INVALID;
		name.ptr[i] = c;
	}
	if (r == 0 && name.len)
		*ret = arena_copy(a, buf_bytes(&name));
	else
		r = E_INVALID;
	buf_done(&name);
	return r;
}

/* "host", "host:port", "[v6]", "[v6]:port", "v6"; *port stays when there is none. */
static int take_authority(struct arena *a, struct bytes text, struct bytes *ret_host, uint16_t *port)
{
	struct address literal;
	struct bytes host = text;

	if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
		host = bytes_of(text.ptr + 1, text.len - 2);
	else if (bytes_index(text, ':') < text.len && !address_from_ip(text, 0, &literal) &&
		 (address_split(text, &host, port, NULL) < 0 || *port == 0))
		return E_INVALID;
	return take_host(a, host, ret_host);
}

static bool take_prefix(struct bytes *text, struct bytes prefix)
{
	if (!bytes_eq_nocase(bytes_first(*text, prefix.len), prefix))
		return false;
	*text = bytes_from(*text, prefix.len);
	return true;
}

int access_parse_hostname(struct arena *a, const char *text, struct bytes *ret_host,
			  uint16_t *ret_port, struct bytes *ret_path, struct err *err)
{
	struct bytes rest = bytes_str(text), path;
	uint16_t port = HTTPS_PORT;
	size_t end;

	if (!take_prefix(&rest, BYTES_LIT("https://")))
		(void)take_prefix(&rest, BYTES_LIT("http://"));
	end = rest.len ? strcspn((const char *)rest.ptr, "/?#") : 0;
	path = bytes_from(rest, end);
	path = bytes_first(path, bytes_index(path, '#'));
	if (take_authority(a, bytes_first(rest, end), ret_host, &port) < 0)
		return err_set(err, E_INVALID, "\"%.200s\" is not the hostname of an application",
			       text);
	for (size_t i = 0; i < path.len; i++)
		if (path.ptr[i] <= ' ' || path.ptr[i] >= 0x7f)
			return err_set(err, E_INVALID,
				       "\"%.200s\": the path may have ASCII characters only, others "
				       "are written as %%XX",
				       text);
	*ret_port = port;
	*ret_path = path.len && path.ptr[0] == '?' ? arena_printf(a, "/" BYTES_FMT, BYTES_ARG(path))
		    : path.len                     ? arena_copy(a, path)
						   : BYTES_LIT("/");
	return 0;
}

bool access_is_same_host(const char *one, const char *other)
{
	struct bytes hosts[2], path;
	uint16_t ports[2];
	struct arena arena;

	arena_init(&arena);
	bool is_same =
		access_parse_hostname(&arena, one, &hosts[0], &ports[0], &path, NULL) == 0 &&
		access_parse_hostname(&arena, other, &hosts[1], &ports[1], &path, NULL) == 0 &&
		bytes_eq(hosts[0], hosts[1]) && ports[0] == ports[1];
	arena_done(&arena);
	return is_same;
}

/* Host as a URL has it: brackets around IPv6, the port unless it is the usual one. */
static struct bytes authority_of(struct arena *a, struct bytes host, uint16_t port)
{
	bool is_v6 = bytes_index(host, ':') < host.len;
	struct bytes text = is_v6 ? arena_printf(a, "[" BYTES_FMT "]", BYTES_ARG(host)) : host;

	return port == HTTPS_PORT ? text : arena_printf(a, BYTES_FMT ":%u", BYTES_ARG(text), port);
}

/* --- Elsewhere ------------------------------------------------------------------------------- */

/* "sni:port:host" cut into three, whose last may be a bracketed address with colons of its own. */
static bool split_in_three(struct bytes text, struct bytes parts[3])
{
	size_t first = bytes_index(text, ':');
	struct bytes rest = bytes_from(text, first + 1);
	size_t second = bytes_index(rest, ':');

	if (text.len == 0 || text.ptr[0] == '[' || second == rest.len)
		return false;
	parts[0] = bytes_first(text, first);
	parts[1] = bytes_first(rest, second);
	parts[2] = bytes_from(rest, second + 1);
	return true;
}

static int take_connect_to(struct access_target *t, const char *text, struct err *err)
{
	struct bytes parts[3];
	struct address literal;
	uint16_t none = 0;
	uint64_t port;
	bool ok;

	if (!address_from_ip(bytes_str(text), 0, &literal) &&
	    split_in_three(bytes_str(text), parts)) {
		port = 0;
		ok = bytes_to_u64(parts[1], &port) && port > 0 && port <= UINT16_MAX &&
		     take_host(&t->arena, parts[0], &t->server_name) == 0 &&
		     take_authority(&t->arena, parts[2], &t->connect_host, &none) == 0 && none == 0;
		t->connect_port = (uint16_t)port;
	} else {
		t->connect_port = HTTPS_PORT;
		ok = take_authority(&t->arena, bytes_str(text), &t->connect_host,
				    &t->connect_port) == 0;
	}
	if (ok)
		return 0;
	return err_set(err, E_INVALID,
		       "invalid connection override: %.200s; it is HOST, HOST:PORT or SNI:PORT:HOST",
		       text);
}

/* --- What is said there ---------------------------------------------------------------------- */

static int add(struct access_target *t, const char *name, const char *value, struct err *err)
{
	if (!value || !*value)
		return 0;
	if (!head_value_is_valid(bytes_str(value)))
		return err_set(err, E_INVALID, "a control character in the value of %s", name);
	return fields_add(&t->request.fields, &t->arena, bytes_str(name),
			  arena_copy(&t->arena, bytes_str(value)));
}

/* Set by the handshake itself; another value would break it. */
static bool is_ours(struct bytes name)
{
	switch (head_name_of(name)) {
	case HEAD_CONNECTION:
	case HEAD_CONTENT_LENGTH:
	case HEAD_EXPECT:
	case HEAD_HOST:
	case HEAD_KEEP_ALIVE:
	case HEAD_TE:
	case HEAD_TRAILER:
	case HEAD_TRANSFER_ENCODING:
	case HEAD_UPGRADE:
		return true;
	default:
		return bytes_eq_nocase(bytes_first(name, 14), BYTES_LIT("Sec-WebSocket-")) ||
		       bytes_eq_nocase(name, BYTES_LIT(WEBSOCKET_HALF_CLOSE_FIELD));
	}
}

static int add_header(struct access_target *t, const char *text, struct err *err)
{
	struct bytes all = bytes_str(text);
	size_t colon = bytes_index(all, ':');
	struct bytes name = bytes_trim(bytes_first(all, colon));
	struct bytes value = bytes_trim(bytes_from(all, colon + 1));

	/* The value may be a secret: it is not repeated. */
	if (colon == all.len || !head_name_is_valid(name))
		return err_set(err, E_INVALID,
			       "--header takes \"NAME: VALUE\"; \"%.*s\" is no header's name",
			       (int)(name.len < 60 ? name.len : 60), (const char *)name.ptr);
	if (!head_value_is_valid(value))
		return err_set(err, E_INVALID, "--header %.*s: a control character in the value",
			       (int)(name.len < 60 ? name.len : 60), (const char *)name.ptr);
	if (is_ours(name)) {
		log_warn(COMPONENT, "This header is set by the handshake itself, yours is left out",
			 LOG_BYTES("header", name));
		return 0;
	}
	return fields_add(&t->request.fields, &t->arena, arena_copy(&t->arena, name),
			  arena_copy(&t->arena, value));
}

/* Asks the control host for an address instead of an application for its service. */
static int make_private(struct access_target *t, const struct access_options *o, struct err *err)
{
	static const char *const names[] = { "Authorization", "Adit-Virtual-Network" };
	struct bytes bearer = arena_printf(&t->arena, "Bearer " BYTES_FMT, BYTES_ARG(o->api_token));
	const char *const values[] = { arena_strdup(&t->arena, bearer), o->vnet };
	struct address address;
	struct bytes host;
	uint16_t port;
	int r = 0;

	if (address_split(bytes_str(o->destination), &host, &port, NULL) < 0 || port == 0 ||
	    !address_from_ip(host, port, &address))
		return err_set(
			err, E_INVALID,
			"--destination %.100s: in a private network it is an IP address and port, "
			"as in 10.0.0.5:5432; nobody there is asked for names",
			o->destination);
	t->request.path = BYTES_LIT(PRIVATE_PATH);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(names); i++) {
		fields_remove_text(&t->request.fields, bytes_str(names[i]));
		r = add(t, names[i], values[i], err);
	}
	return r;
}

/* Ours win over the same ones given with --header, as in the stock client, but for Accept. */
static int make_request(struct access_target *t, const struct access_options *o, struct err *err)
{
	static const char *const single[] = { "User-Agent", "Cf-Access-Client-Id",
					      "Cf-Access-Client-Secret",
					      "Cf-Access-Jump-Destination" };
	struct bytes agent = arena_printf(&t->arena, "%s/%s", o->program, ADIT_VERSION);
	const char *const values[] = { arena_strdup(&t->arena, agent), o->token_id, o->token_secret,
				       o->destination };
	struct fields *fields = &t->request.fields;
	int r = 0;

	t->request.method = BYTES_LIT("GET");
	t->request.authority = authority_of(&t->arena, t->host, t->port);
	t->request.is_upgrade = true;
	for (size_t i = 0; r == 0 && i < o->header_count; i++)
		r = add_header(t, o->headers[i], err);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(single); i++) {
		if (values[i] && *values[i])
			fields_remove_text(fields, bytes_str(single[i]));
		r = add(t, single[i], values[i], err);
	}
	if (r == 0 && o->api_token.len)
		r = make_private(t, o, err);
	/* The edge's errors then say in words what is wrong. */
	if (r == 0 && !fields_find(fields, HEAD_ACCEPT))
		r = add(t, "Accept", "application/json", err);
	if (r == 0)
		r = add(t, "Sec-WebSocket-Version", "13", err);
	if (r == 0)
		r = add(t, WEBSOCKET_HALF_CLOSE_FIELD, "1", err);
	if (r == E_LIMIT)
		err_set(err, r, "more headers than a request may have (%d)", LIMIT_HEAD_FIELDS);
	return r;
}

/* Whatever cannot be sent is found out here, before anything is connected. */
static int check_request(const struct access_target *t, struct err *err)
{
	struct buf text;

	/* Room for the key that each handshake adds. */
	buf_init(&text, LIMIT_HEAD_BYTES - 64);
	int r = t->request.fields.count < LIMIT_HEAD_FIELDS
			? h1_print_request(&t->request, H1_RAW_UPGRADE, true, false, &text)
			: E_LIMIT;
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
	if (r == E_LIMIT)
		return err_set(err, r,
			       "the headers are more than a request may have (%d, of %d bytes)",
			       LIMIT_HEAD_FIELDS, LIMIT_HEAD_BYTES);
	return r < 0 ? err_set(err, r, "the request cannot be written: a malformed header") : 0;
}

/* --- Life ------------------------------------------------------------------------------------ */

static int target_fill(struct access_target *t, const struct access_options *o, struct err *err)
{
	static const char *const alpn[] = { "http/1.1", NULL };
	const struct tls_client_options tls = {
		.ca_pem = o->ca_pem,
		.keep_system_roots = !o->no_system_roots,
		.alpn = alpn,
	};
	int r = access_parse_hostname(&t->arena, o->hostname, &t->host, &t->port, &t->request.path,
				      err);

	if (r < 0)
		return r;
	t->connect_host = t->server_name = t->host;
	t->connect_port = t->port;
	if (o->connect_to && *o->connect_to)
		r = take_connect_to(t, o->connect_to, err);
	if (r == 0)
		r = make_request(t, o, err);
	if (r == 0)
		r = check_request(t, err);
	if (r == 0)
		r = proxy_choose(&t->arena, o->https_proxy, o->no_proxy, t->connect_host,
				 t->connect_port, &t->proxy, err);
	if (r < 0)
		return r;
	t->has_proxy = r == 1;
	t->tls = tls_context_client(&tls, err);
	return t->tls ? 0 : err ? err->code : E_TLS;
}

int access_target_init(struct access_target *t, const struct access_options *options,
		       struct err *err)
{
	*t = (struct access_target){ 0 };
	arena_init(&t->arena);
	int r = target_fill(t, options, err);
	if (r < 0)
		access_target_done(t);
	return r;
}

void access_target_done(struct access_target *t)
{
	t->tls = tls_context_unref(t->tls);
	arena_done(&t->arena);
	*t = (struct access_target){ 0 };
}

int access_target_set_token(struct access_target *t, struct bytes token, struct err *err)
{
	static const struct bytes name = BYTES_LIT("Cf-Access-Token");
	int r = 0;

	fields_remove_text(&t->request.fields, name);
	if (token.len == 0 || !head_value_is_valid(token))
		return err_set(err, E_INVALID, "what came is no token");
	r = fields_add(&t->request.fields, &t->arena, name, arena_copy(&t->arena, token));
	return r < 0 ? r : check_request(t, err);
}
