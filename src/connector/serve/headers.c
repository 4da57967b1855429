/* What origins see beside and instead of the visitor's own fields. */
#include "base/limits.h"
#include "connector/connector_config.h"
#include "connector/serve/serve_internal.h"

/* PROTOCOL §5.2. */
enum handled serve_headers(struct exchange *x, void *ctx)
{
	struct server *s = ctx;
	const struct ingress_rule *rule = x->route;
	struct fields *f = &x->request.fields;
	const char *host = rule->origin.http_host_header;
	int ret = 0;

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
	if (ret < 0)
		return exchange_failed(x, FAILURE_CONNECTOR, 502, 0, "Too many header fields",
				       "The request has more than %d header fields.",
				       LIMIT_HEAD_FIELDS);
	return HANDLED_NEXT;
}
