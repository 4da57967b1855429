/* What origins see beside and instead of the visitor's own fields, and the path they see. */
#include "base/encode.h"
#include "base/limits.h"
#include "connector/connector_config.h"
#include "connector/serve/serve_internal.h"

/* Length of the front of `path` that is `prefix` when decoded, in whole segments; 0 when it is none. An
 * encoded slash separates no segments, so it matches nothing. */
static size_t prefix_length(struct bytes path, struct bytes prefix)
{
	size_t at = 0;

	for (size_t i = 0; i < prefix.len; i++) {
		uint8_t byte;
		if (at + 2 < path.len && path.ptr[at] == '%' &&
		    hex_decode(bytes_of(path.ptr + at + 1, 2), &byte)) {
			if (byte == '/' || byte != prefix.ptr[i])
				return 0;
			at += 3;
		} else if (at < path.len && path.ptr[at] == prefix.ptr[i]) {
			at++;
		} else {
			return 0;
		}
	}
	return at == path.len || path.ptr[at] == '/' || path.ptr[at] == '?' ? at : 0;
}

/* stripPrefix: services that think they live at "/" learn where they really are from X-Forwarded-Prefix. */
static int strip_prefix(struct exchange *x, struct bytes prefix)
{
	struct head *request = &x->request;

	while (bytes_ends_with(prefix, BYTES_LIT("/")))
		prefix.len--;
	fields_remove_text(&request->fields, BYTES_LIT("x-forwarded-prefix"));
	size_t length = prefix_length(request->path, prefix);
	if (length == 0)
		return 0;
	struct bytes rest = bytes_from(request->path, length);
	request->path = bytes_starts_with(rest, BYTES_LIT("/"))
				? rest
				: arena_printf(&x->arena, "/" BYTES_FMT, BYTES_ARG(rest));
	return fields_add(&request->fields, &x->arena, BYTES_LIT("X-Forwarded-Prefix"), prefix);
}

/* The keys that are ours alone. They have the last word; the ingress lets them name no field that frames a
 * message or is for one hop. */
static int change_as_told(struct exchange *x, const struct ingress_origin *options)
{
	struct fields *f = &x->request.fields;
	int ret = 0;

	if (options->strip_prefix)
		ret |= strip_prefix(x, bytes_str(options->strip_prefix));
	for (size_t i = 0; i < options->remove_header_count; i++)
		fields_remove_text(f, bytes_str(options->remove_headers[i]));
	for (size_t i = 0; i < options->set_header_count; i++)
		fields_remove_text(f, bytes_str(options->set_headers[i].name));
	for (size_t i = 0; i < options->set_header_count; i++)
		ret |= fields_add(f, &x->arena, bytes_str(options->set_headers[i].name),
				  bytes_str(options->set_headers[i].value));
	return ret;
}

/* PROTOCOL §5.2. */
enum handled serve_headers(struct exchange *x, void *ctx)
{
	struct server *s = ctx;
	const struct ingress_rule *rule = x->route;
	struct fields *f = &x->request.fields;
	const struct field *client = fields_find(f, HEAD_CF_CONNECTING_IP);
	const char *host = rule->origin.http_host_header;
	int ret = 0;

	if (client && !x->client_ip.len)
		x->client_ip = client->value; /* whatever the rule removes */
	fields_remove(f, HEAD_CF_UPGRADE);
	fields_remove_text(f, BYTES_LIT("cf-trace-id"));
	ret |= fields_add(f, &x->arena, BYTES_LIT("Cf-Warp-Tag-Id"), bytes_str(s->connector_id));
	for (size_t i = 0; i < s->config->tag_count; i++)
		ret |= fields_add(f, &x->arena,
				  arena_printf(&x->arena, "Cf-Warp-Tag-%s", s->config->tags[i].name),
				  bytes_str(s->config->tags[i].value));
	if (host) {
		ret |= fields_set(f, &x->arena, HEAD_X_FORWARDED_HOST, x->request.authority);
		x->request.authority = bytes_str(host);
	}
	ret |= change_as_told(x, &rule->origin);
	if (ret < 0)
		return exchange_failed(x, FAILURE_CONNECTOR, 502, 0, "Too many header fields",
				       "The request has more than %d header fields.",
				       LIMIT_HEAD_FIELDS);
	return HANDLED_NEXT;
}
