#include "connector/ingress/ingress_internal.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"

#define MAGIC_INGRESS 0x1a94e550u

/* Warnings beyond this many say nothing new. */
#define LIMIT_TEXTS 1000

const char *ingress_kind_name(enum ingress_kind kind)
{
	static const char *const names[] = {
		[INGRESS_HTTP] = "http",       [INGRESS_UNIX] = "unix",
		[INGRESS_STATUS] = "status",   [INGRESS_HELLO_WORLD] = "hello_world",
		[INGRESS_BASTION] = "bastion", [INGRESS_SOCKS] = "socks-proxy",
		[INGRESS_TCP] = "tcp",
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

void ingress_note_unknown(struct ingress *in, const struct yaml_node *key, const char *type)
{
	const char *name = yaml_text(key);

	list_add(&in->unknown, ingress_text(in, "line %d: field %.100s not found in type %s",
					    yaml_line(key), name ? name : "null", type));
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

/* ------------------------------------------------------------------------------------------
 * The form the edge reads. */

static void set_seconds(json_t *o, const char *key, usec value, usec unset)
{
	if (value != unset)
		json_object_set_new(o, key, json_integer((value + USEC_PER_SEC - 1) / USEC_PER_SEC));
}

static void set_true(json_t *o, const char *key, bool value)
{
	if (value)
		json_object_set_new(o, key, json_true());
}

static void set_text(json_t *o, const char *key, const char *value)
{
	if (value && *value)
		json_object_set_new(o, key, json_string(value));
}

static json_t *origin_json(const struct ingress_origin *origin)
{
	struct ingress_origin unset;
	json_t *o = json_object();

	ingress_origin_defaults(&unset);
	set_seconds(o, "connectTimeout", origin->connect_timeout, unset.connect_timeout);
	set_seconds(o, "tlsTimeout", origin->tls_timeout, unset.tls_timeout);
	set_seconds(o, "tcpKeepAlive", origin->tcp_keepalive, unset.tcp_keepalive);
	set_true(o, "noHappyEyeballs", origin->no_happy_eyeballs);
	if (origin->keepalive_connections != unset.keepalive_connections)
		json_object_set_new(o, "keepAliveConnections",
				    json_integer(origin->keepalive_connections));
	set_seconds(o, "keepAliveTimeout", origin->keepalive_timeout, unset.keepalive_timeout);
	set_text(o, "httpHostHeader", origin->http_host_header);
	set_text(o, "originServerName", origin->origin_server_name);
	set_text(o, "caPool", origin->ca_pool);
	set_true(o, "noTLSVerify", origin->no_tls_verify);
	set_true(o, "disableChunkedEncoding", origin->disable_chunked_encoding);
	return o;
}

static int on_json(const char *text, size_t len, void *user)
{
	return buf_append(user, bytes_of(text, len)) < 0 ? -1 : 0;
}

int ingress_write_json(const struct ingress *in, struct buf *out)
{
	json_t *root = json_object(), *rules = json_array();

	CHECK(in, MAGIC_INGRESS);
	for (size_t i = 0; i < in->count; i++) {
		const struct ingress_rule *rule = &in->rules[i];
		json_t *o = json_object();

		set_text(o, "hostname", rule->hostname);
		set_text(o, "path", rule->path);
		set_text(o, "service", rule->service);
		json_object_set_new(o, "originRequest", origin_json(&rule->origin));
		json_array_append_new(rules, o);
	}
	json_object_set_new(root, "ingress", rules);
	json_object_set_new(root, "warp-routing", json_object());
	int r = json_dump_callback(root, on_json, out, JSON_COMPACT);
	json_decref(root);
	return r < 0 ? E_LIMIT : 0;
}
