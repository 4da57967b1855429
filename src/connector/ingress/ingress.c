#include "connector/ingress/ingress_internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/nearest.h"

#define MAGIC_INGRESS 0x1a94e550u

/* Warnings beyond this many say nothing new. */
#define LIMIT_TEXTS 1000

const char *ingress_kind_name(enum ingress_kind kind)
{
	static const char *const names[] = {
		[INGRESS_HTTP] = "http",       [INGRESS_UNIX] = "unix",
		[INGRESS_STATUS] = "status",   [INGRESS_HELLO_WORLD] = "hello_world",
		[INGRESS_BASTION] = "bastion", [INGRESS_SOCKS] = "socks-proxy",
		[INGRESS_TCP] = "tcp",         [INGRESS_UDP] = "udp",
	};
	return names[kind];
}

void ingress_origin_defaults(struct ingress_origin *origin)
{
	*origin = (struct ingress_origin){
		.connect_timeout = 30 * USEC_PER_SEC,
		.tls_timeout = 10 * USEC_PER_SEC,
		.tcp_keepalive = 30 * USEC_PER_SEC,
		.keepalive_timeout = 90 * USEC_PER_SEC,
		.keepalive_connections = 100,
		.access = { .team_name = "", .issuer = "", .own_issuer = "", .environment = "" },
		.proxy_address = "127.0.0.1",
	};
}

/* ------------------------------------------------------------------------------------------
 * Life. */

struct ingress *ingress_new(size_t rule_count)
{
	struct ingress *in = mem_alloc(sizeof(*in));

	in->magic = MAGIC_INGRESS;
	atomic_init(&in->refs, 1);
	arena_init(&in->arena);
	in->rules = arena_alloc(&in->arena, rule_count * sizeof(*in->rules));
	in->count = rule_count;
	ingress_private_defaults(&in->private_network);
	return in;
}

struct ingress *ingress_ref(const struct ingress *in)
{
	struct ingress *self = (struct ingress *)(uintptr_t)in;

	CHECK(self, MAGIC_INGRESS);
	atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
	return self;
}

struct ingress *ingress_unref(const struct ingress *in)
{
	struct ingress *self = (struct ingress *)(uintptr_t)in;

	if (!self)
		return NULL;
	CHECK(self, MAGIC_INGRESS);
	if (atomic_fetch_sub_explicit(&self->refs, 1, memory_order_acq_rel) > 1)
		return NULL;
	for (size_t i = 0; i < self->count; i++)
		if (self->rules[i].matcher)
			path_regex_free(self->rules[i].matcher->path);
	mem_free(self->warnings.texts);
	mem_free(self->unknown.texts);
	arena_done(&self->arena);
	self->magic = 0;
	return mem_free(self);
}

struct ingress *ingress_none(void)
{
	struct ingress *in = ingress_single("http_status:503", NULL, NULL);

	BUG_IF(!in);
	return in;
}

/* ------------------------------------------------------------------------------------------
 * What people are told. */

PRINTF_LIKE(2, 0)
static const char *vtext(struct ingress *in, const char *fmt, va_list args)
{
	char text[512];
	int n = vsnprintf(text, sizeof(text), fmt, args);

	return arena_strdup(&in->arena,
			    bytes_of(text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1));
}

const char *ingress_text(struct ingress *in, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	const char *text = vtext(in, fmt, args);
	va_end(args);
	return text;
}

static void list_add(struct text_list *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->texts[i], text) == 0)
			return;
	if (list->count == LIMIT_TEXTS)
		return;
	list->texts = mem_resize(list->texts, (list->count + 1) * sizeof(*list->texts));
	list->texts[list->count++] = text;
}

void ingress_warn(struct ingress *in, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	list_add(&in->warnings, vtext(in, fmt, args));
	va_end(args);
}

bool ingress_key_is_unknown(const struct yaml_node *key, const char *where,
			    const char *const *known, size_t known_count, struct err *ret_what)
{
	const char *name = yaml_text(key);

	for (size_t i = 0; name && i < known_count; i++)
		if (strcmp(name, known[i]) == 0)
			return false;
	const char *near = name ? nearest_name(name, known, known_count) : NULL;
	if (name && origin_request_has_key(name))
		(void)yaml_error(key, ret_what,
				 "unknown key %.100s in %s; it belongs under originRequest", name,
				 where);
	else if (near)
		(void)yaml_error(key, ret_what, "unknown key %.100s in %s; did you mean %s?", name,
				 where, near);
	else
		(void)yaml_error(key, ret_what, "unknown key %.100s in %s", name ? name : "null",
				 where);
	return true;
}

void ingress_check_keys(struct ingress *in, const struct yaml_node *n, const char *where,
			const char *const *known, size_t known_count)
{
	const struct yaml_node *key, *value;
	struct err what;

	for (size_t i = 0; i < yaml_count(n); i++) {
		yaml_pair(n, i, &key, &value);
		if (ingress_key_is_unknown(key, where, known, known_count, &what))
			list_add(&in->unknown, ingress_text(in, "%s", what.text));
	}
}

size_t ingress_warning_count(const struct ingress *in)
{
	return in->warnings.count;
}

const char *ingress_warning(const struct ingress *in, size_t index)
{
	BUG_IF(index >= in->warnings.count);
	return in->warnings.texts[index];
}

size_t ingress_unknown_count(const struct ingress *in)
{
	return in->unknown.count;
}

const char *ingress_unknown(const struct ingress *in, size_t index)
{
	BUG_IF(index >= in->unknown.count);
	return in->unknown.texts[index];
}

/* ------------------------------------------------------------------------------------------
 * Matching. */

size_t ingress_count(const struct ingress *in)
{
	return in->count;
}

const struct ingress_rule *ingress_rule(const struct ingress *in, size_t index)
{
	BUG_IF(index >= in->count);
	return &in->rules[index];
}

const struct ingress_rule *ingress_match(const struct ingress *in, struct bytes host,
					 struct bytes path, size_t *ret_index)
{
	struct bytes name = hostname_without_port(host);
	size_t i = 0;
	int r = 1;

	CHECK(in, MAGIC_INGRESS);
	/* The last rule takes what is left: parsing made sure that it matches everything. */
	for (; i + 1 < in->count; i++) {
		const struct ingress_matcher *m = in->rules[i].matcher;
		if (!hostname_matches(m, name))
			continue;
		r = m->path ? path_regex_search(m->path, path) : 1;
		if (r != 0)
			break;
	}
	if (ret_index)
		*ret_index = i;
	return r < 0 ? NULL : &in->rules[i];
}

const struct ingress_rule *ingress_match_udp(const struct ingress *in, struct bytes host)
{
	struct bytes name = hostname_without_port(host);

	CHECK(in, MAGIC_INGRESS);
	for (size_t i = 0; i < in->count; i++)
		if (in->rules[i].kind == INGRESS_UDP &&
		    (i + 1 == in->count || hostname_matches(in->rules[i].matcher, name)))
			return &in->rules[i];
	return NULL;
}

/* ------------------------------------------------------------------------------------------
 * The rules of a SOCKS proxy. */

static bool has_bits(const uint8_t ip[16], const uint8_t prefix[16], unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(ip, prefix, whole) != 0)
		return false;
	return rest == 0 || ((ip[whole] ^ prefix[whole]) >> (8 - rest)) == 0;
}

bool ingress_ip_is_allowed(const struct ingress_origin *origin, const uint8_t ip[16], uint16_t port)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool is_v4 = memcmp(ip, mapped, sizeof(mapped)) == 0;

	for (size_t i = 0; i < origin->ip_rule_count; i++) {
		const struct ingress_ip_rule *rule = &origin->ip_rules[i];
		bool has_port = rule->port_count == 0;

		if ((is_v4 && rule->bits < 96) || !has_bits(ip, rule->prefix, rule->bits))
			continue;
		for (size_t k = 0; k < rule->port_count; k++)
			has_port |= rule->ports[k] == port;
		if (has_port)
			return rule->is_allowed;
	}
	return false;
}
