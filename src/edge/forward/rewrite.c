#include "edge/forward/rewrite.h"

#include "base/limits.h"
#include "edge/route/site.h"
#include "edge/snapshot.h"
#include "transport/transport.h"

/* Names only the edge or the connector may set; whatever a visitor sends under them is a forgery. */
static bool is_forgeable(const struct field *f)
{
	static const struct bytes prefixes[] = {
		BYTES_LIT("cf-cloudflared-"),
		BYTES_LIT("cf-int-"),
		BYTES_LIT("cf-proxy-"),
		BYTES_LIT("cf-warp-tag-"),
		BYTES_LIT("cf-access-authenticated-user-"),
	};

	switch (f->token) {
	case HEAD_CF_ACCESS_JWT_ASSERTION:
	case HEAD_CF_ACCESS_EMAIL:
	case HEAD_CF_CONNECTING_IP:
	case HEAD_CF_IPCOUNTRY:
	case HEAD_CF_RAY:
	case HEAD_CF_VISITOR:
	case HEAD_CF_UPGRADE:
	case HEAD_CF_PROXY_SRC:
	case HEAD_CF_RESPONSE_HEADERS:
	case HEAD_CF_RESPONSE_META:
	case HEAD_TRUE_CLIENT_IP:
		return true;
	case HEAD_OTHER:
		break;
	default:
		return false;
	}
	if (bytes_eq_nocase(f->name, BYTES_LIT("cf-trace-id")) ||
	    bytes_eq_nocase(f->name, BYTES_LIT(FEATURE_PORTS_FIELD)))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (bytes_eq_nocase(bytes_first(f->name, prefixes[i].len), prefixes[i]))
			return true;
	return site_is_certificate_field(f->name);
}

static void strip_forgeries(struct fields *f)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->count; i++)
		if (!is_forgeable(&f->list[i]))
			f->list[kept++] = f->list[i];
	f->count = kept;
}

struct bytes rewrite_ray(struct exchange *x, const char *location)
{
	return arena_printf(&x->arena, "%.16s-%s", x->id, location);
}

/* The field's values, joined as one list, with ours at the end. */
static int append_to_list(struct exchange *x, enum head_name token, struct bytes ours)
{
	struct fields *f = &x->request.fields;
	struct bytes joined = BYTES_NONE;

	for (size_t i = 0; i < f->count; i++) {
		if (f->list[i].token != token || f->list[i].value.len == 0)
			continue;
		joined = joined.len ? arena_printf(&x->arena, BYTES_FMT ", " BYTES_FMT,
						   BYTES_ARG(joined), BYTES_ARG(f->list[i].value))
				    : f->list[i].value;
	}
	if (joined.len)
		ours = arena_printf(&x->arena, BYTES_FMT ", " BYTES_FMT, BYTES_ARG(joined),
				    BYTES_ARG(ours));
	return fields_set(f, &x->arena, token, ours);
}

/* RFC 8586: our own token in CDN-Loop means that the request has come round. */
static bool has_looped(const struct fields *f, struct bytes token)
{
	for (size_t i = 0; i < f->count; i++) {
		if (f->list[i].token != HEAD_CDN_LOOP)
			continue;
		struct bytes rest = f->list[i].value, part;
		while (bytes_split(&rest, ',', &part)) {
			part = bytes_trim(bytes_first(part, bytes_index(part, ';')));
			if (bytes_eq_nocase(part, token))
				return true;
		}
	}
	return false;
}

enum handled rewrite_request(struct exchange *x, struct bytes loop_token, const char *location)
{
	struct head *h = &x->request;
	struct fields *f = &h->fields;
	struct bytes proto = x->is_tls ? BYTES_LIT("https") : BYTES_LIT("http");
	char country[COUNTRY_FIELD_SIZE];
	int ret = 0;

	if (has_looped(f, loop_token))
		return exchange_failed(
			x, FAILURE_EDGE, 508, 0, "Loop detected",
			"The request has passed this edge before: the origin of %.*s leads back here.",
			BYTES_ARG(x->host));
	head_strip_hop_by_hop(h);
	strip_forgeries(f);
	ret |= append_to_list(x, HEAD_X_FORWARDED_FOR, x->client_ip);
	ret |= append_to_list(x, HEAD_CDN_LOOP, loop_token);
	ret |= fields_set(f, &x->arena, HEAD_X_FORWARDED_PROTO, proto);
	ret |= fields_set(f, &x->arena, HEAD_X_FORWARDED_HOST, h->authority);
	ret |= fields_set(f, &x->arena, HEAD_CF_CONNECTING_IP, x->client_ip);
	if (x->identity_token.len)
		ret |= fields_set(f, &x->arena, HEAD_CF_ACCESS_JWT_ASSERTION, x->identity_token);
	if (x->identity_email.len)
		ret |= fields_set(f, &x->arena, HEAD_CF_ACCESS_EMAIL, x->identity_email);
	ret |= fields_set(f, &x->arena, HEAD_CF_RAY, rewrite_ray(x, location));
	ret |= fields_set(f, &x->arena, HEAD_CF_VISITOR,
			  x->is_tls ? BYTES_LIT("{\"scheme\":\"https\"}")
				    : BYTES_LIT("{\"scheme\":\"http\"}"));
	snapshot_country(x->snapshot, x->client_ip, country);
	if (country[0])
		ret |= fields_set(f, &x->arena, HEAD_CF_IPCOUNTRY,
				  arena_copy(&x->arena, bytes_str(country)));
	ret |= site_add_certificate(x);
	if (ret < 0)
		return exchange_failed(x, FAILURE_VISITOR, 431, 0, "Request header fields too large",
				       "The request has more than %d header fields.",
				       LIMIT_HEAD_FIELDS);
	return HANDLED_NEXT;
}

void rewrite_response(struct exchange *x, const char *location)
{
	struct fields *f = &x->response.fields;
	size_t kept = 0;

	head_strip_hop_by_hop(&x->response);
	for (size_t i = 0; i < f->count; i++) {
		struct bytes name = f->list[i].name;
		if (f->list[i].token == HEAD_CF_RESPONSE_HEADERS ||
		    f->list[i].token == HEAD_CF_RESPONSE_META ||
		    bytes_eq_nocase(bytes_first(name, 7), BYTES_LIT("cf-int-")) ||
		    bytes_eq_nocase(bytes_first(name, 15), BYTES_LIT("cf-cloudflared-")))
			continue;
		f->list[kept++] = f->list[i];
	}
	f->count = kept;
	/* A response at the field limit goes without; the id is in the log all the same. */
	(void)fields_set(f, &x->arena, HEAD_CF_RAY, rewrite_ray(x, location));
}
