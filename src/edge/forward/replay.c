#include "edge/forward/replay.h"

/* Most bodies that are kept are smaller. */
#define FIRST_BYTES 1024

void replay_init(struct replay *r, struct exchange *x, size_t limit)
{
	*r = (struct replay){ .body = &x->request_body, .arena = &x->arena, .limit = limit };
}

bool replay_peek(const struct replay *r, struct bytes *run)
{
	if (r->at < r->kept_len) {
		*run = bytes_of(r->kept + r->at, r->kept_len - r->at);
		return true;
	}
	return body_peek(r->body, run, 1);
}

bool replay_is_last(const struct replay *r, struct bytes run)
{
	size_t waiting = bufq_len(&r->body->queue);

	return r->body->has_ended &&
	       (r->at < r->kept_len ? waiting == 0 && r->at + run.len == r->kept_len
				    : run.len == waiting);
}

static void keep(struct replay *r, struct bytes data)
{
	if (r->is_lost)
		return;
	if (data.len > r->limit - r->kept_len) {
		r->is_lost = true;
		return;
	}
	if (data.len > r->kept_cap - r->kept_len) {
		size_t wanted = r->kept_len + data.len;
		size_t cap = r->kept_cap ? r->kept_cap * 4 : FIRST_BYTES;
		cap = cap < wanted ? wanted : cap < r->limit ? cap : r->limit;
		uint8_t *more = arena_alloc_bytes(r->arena, cap);
		if (r->kept_len)
			memcpy(more, r->kept, r->kept_len);
		r->kept = more;
		r->kept_cap = cap;
	}
	memcpy(r->kept + r->kept_len, data.ptr, data.len);
	r->kept_len += data.len;
	r->at = r->kept_len;
}

void replay_consume(struct replay *r, size_t n)
{
	struct bytes run;

	if (r->at < r->kept_len) {
		r->at += n;
		return;
	}
	if (n && body_peek(r->body, &run, 1))
		keep(r, bytes_first(run, n));
	body_consume(r->body, n);
}

bool replay_is_done(const struct replay *r)
{
	return r->at == r->kept_len && body_is_done(r->body);
}

bool replay_can_rewind(const struct replay *r)
{
	return !r->is_lost;
}

void replay_rewind(struct replay *r)
{
	r->at = 0;
}
