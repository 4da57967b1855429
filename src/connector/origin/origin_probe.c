#include "base/mem.h"
#include "connector/origin/origin_internal.h"

struct origin_probe {
	struct origin_dial *dial;
	origin_probe_done *done;
	void *ctx;
};

bool origin_can_probe(const struct ingress_rule *rule)
{
	return rule->kind == INGRESS_HTTP || rule->kind == INGRESS_UNIX || rule->kind == INGRESS_TCP;
}

static void on_dialled(void *ctx, struct byte_stream *stream, const struct err *err,
		       const char *title)
{
	struct origin_probe *p = ctx;

	/* The words for people tell a connection that failed from TLS that did. */
	bool in_tls = err && (strstr(title, "TLS") || strstr(err->text, "TLS"));
	p->done(p->ctx, stream ? stream->peer : NULL, err, in_tls);
	byte_stream_close(stream);
	mem_free(p);
}

struct origin_probe *origin_probe(struct origin_set *set, size_t rule, origin_probe_done *done,
				  void *ctx)
{
	struct origin *o = origin_of_rule(set, rule);
	struct origin_probe *p = mem_alloc(sizeof(*p));
	/* Where the request's name counts, one that visitors use. */
	const struct origin_target to = { .authority = bytes_str(o->rule->hostname) };

	BUG_IF(!origin_can_probe(o->rule));
	p->done = done;
	p->ctx = ctx;
	p->dial = origin_dial(o, &to, on_dialled, p);
	return p;
}

struct origin_probe *origin_probe_cancel(struct origin_probe *p)
{
	if (!p)
		return NULL;
	origin_dial_cancel(p->dial);
	return mem_free(p);
}
