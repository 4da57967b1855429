#include "base/limits.h"
#include "http/server_internal.h"

static int64_t or_default(int64_t ms, int64_t otherwise)
{
	return ms ? ms : otherwise;
}

void http_server_init(struct http_server *s, const struct http_server_ops *ops,
		      const struct http_server_options *options)
{
	struct http_server_options *o = &s->options;

	s->ops = ops;
	*o = *options;
	o->head_ms = or_default(o->head_ms, LIMIT_REQUEST_HEAD_MS);
	o->idle_ms = or_default(o->idle_ms, LIMIT_KEEPALIVE_IDLE_MS);
	o->body_ms = or_default(o->body_ms, LIMIT_BODY_IDLE_MS);
	o->raw_ms = or_default(o->raw_ms, LIMIT_RAW_IDLE_MS);
	o->linger_ms = or_default(o->linger_ms, LIMIT_LINGER_MS);
	o->pace_ms = or_default(o->pace_ms, LIMIT_PACE_MS);
}

const char *http_server_protocol(const struct http_server *s)
{
	return s->ops->protocol;
}

void http_server_drain(struct http_server *s)
{
	s->ops->drain(s);
}

void http_server_leave(struct http_server *s)
{
	s->ops->leave(s);
}

void http_server_close(struct http_server *s)
{
	s->ops->close(s);
}
