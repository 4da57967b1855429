#include "edge/edge_tls.h"

#include "base/mem.h"
#include "edge/acme/challenges.h"
#include "edge/edge.h"
#include "io/address.h"
#include "tls/tls.h"

/* --- Visitors --------------------------------------------------------------------------------- */

struct https_choice {
	struct edge *edge;             /* borrowed: it outlives its workers */
	struct snapshot *snapshot;     /* counted */
	struct challenges *challenges; /* counted */
};

static struct tls_certificate *choose_https(void *ctx, struct bytes server_name)
{
	const struct https_choice *c = ctx;
	struct address literal;

	/* Some clients send the address they dialled, which RFC 6066 does not allow: no name, then. */
	if (address_from_ip(server_name, 0, &literal))
		server_name = BYTES_NONE;
	/* TLS of others: over TCP it does not get here, over QUIC there is no way to pass it on. */
	if (snapshot_passthrough(c->snapshot, server_name))
		return NULL;
	edge_name_asked(c->edge, c->snapshot, server_name);
	return snapshot_certificate(c->snapshot, server_name);
}

static struct tls_policy *choose_policy(void *ctx, struct bytes server_name)
{
	const struct https_choice *c = ctx;
	const struct snapshot_site *site = snapshot_site(c->snapshot, server_name);

	return site ? site->policy : NULL;
}

static struct tls_certificate *choose_challenge(void *ctx, struct bytes server_name)
{
	const struct https_choice *c = ctx;

	return challenges_certificate(c->challenges, server_name);
}

static void drop_choice(void *ctx)
{
	struct https_choice *c = ctx;

	snapshot_unref(c->snapshot);
	challenges_unref(c->challenges);
	mem_free(c);
}

static struct tls_context *make_https(struct edge *e, struct snapshot *s,
				      struct challenges *challenges, bool is_quic, struct err *err)
{
	static const char *const tcp_alpn[] = { "h2", "http/1.1", NULL };
	/* Connectors ask for a tunnel's name, as over TCP. */
	static const char *const quic_alpn[] = { "argotunnel", "h3", NULL };
	const char *const *alpn = is_quic ? quic_alpn : tcp_alpn;
	struct https_choice *choice = mem_alloc(sizeof(*choice));

	*choice = (struct https_choice){ e, snapshot_ref(s), challenges_ref(challenges) };
	struct tls_context *context =
		tls_context_server(choose_https, choice, drop_choice, alpn, err);
	if (!context) {
		drop_choice(choice);
		return NULL;
	}
	if (!is_quic)
		tls_context_set_challenges(context, choose_challenge);
	tls_context_set_policies(context, choose_policy);
	tls_context_count(context);
	return context;
}

/* --- Connectors ------------------------------------------------------------------------------- */

static struct tls_certificate *choose_tunnel(void *ctx, struct bytes server_name)
{
	(void)server_name; /* one certificate has all tunnel names */
	return snapshot_tunnel_certificate(ctx);
}

static void drop_snapshot(void *ctx)
{
	snapshot_unref(ctx);
}

static struct tls_context *make_tunnel(struct snapshot *s, const char *const *alpn, struct err *err)
{
	struct tls_context *context =
		tls_context_server(choose_tunnel, snapshot_ref(s), drop_snapshot, alpn, err);

	if (!context)
		snapshot_unref(s);
	return context;
}

/* --- All -------------------------------------------------------------------------------------- */

int edge_tls_make(struct edge *e, struct snapshot *s, struct challenges *challenges,
		  struct worker_tls *ret, struct err *err)
{
	static const char *const quic_alpn[] = { "argotunnel", NULL };
	struct worker_tls tls = {
		.https = make_https(e, s, challenges, false, err),
		.tunnel = make_tunnel(s, NULL, err),
		.quic = make_tunnel(s, quic_alpn, err),
		.h3 = make_https(e, s, challenges, true, err),
		.challenges = challenges_ref(challenges),
	};

	if (!tls.https || !tls.tunnel || !tls.quic || !tls.h3) {
		edge_tls_done(&tls);
		return err_wrap(err, "preparing TLS");
	}
	*ret = tls;
	return 0;
}

struct worker_tls edge_tls_ref(const struct worker_tls *tls)
{
	return (struct worker_tls){
		.https = tls_context_ref(tls->https),
		.tunnel = tls_context_ref(tls->tunnel),
		.quic = tls_context_ref(tls->quic),
		.h3 = tls_context_ref(tls->h3),
		.challenges = challenges_ref(tls->challenges),
	};
}

void edge_tls_done(struct worker_tls *tls)
{
	tls_context_unref(tls->https);
	tls_context_unref(tls->tunnel);
	tls_context_unref(tls->quic);
	tls_context_unref(tls->h3);
	challenges_unref(tls->challenges);
	*tls = (struct worker_tls){ 0 };
}
