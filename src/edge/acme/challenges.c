#include "edge/acme/challenges.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "edge/worker.h"
#include "tls/request.h"
#include "tls/tls.h"

#define PATH "/.well-known/acme-challenge/"

struct challenge {
	char *name;
	char *token, *page;                  /* HTTP-01 */
	struct tls_certificate *certificate; /* TLS-ALPN-01; counted */
};

struct challenges {
	atomic_uint refs;
	struct challenge *list;
	size_t count;
};

static struct tls_certificate *make_certificate(const struct acme_challenge *from, struct err *err)
{
	struct authority_pair pair = { 0 };
	struct tls_certificate *certificate = NULL;

	if (tls_challenge_certificate(from->name, from->hash, &pair, err) == 0)
		certificate = tls_certificate_load(bytes_str(pair.cert_pem),
						   bytes_str(pair.key_pem), err);
	authority_pair_done(&pair);
	return certificate;
}

static int add(struct challenges *c, const struct acme_challenge *from, struct err *err)
{
	struct challenge *to = &c->list[c->count];

	if (from->method != ACME_HTTP_01 && from->method != ACME_TLS_ALPN_01)
		return 0;
	c->count++;
	to->name = mem_strdup(from->name);
	if (from->method == ACME_HTTP_01) {
		to->token = mem_strdup(from->token);
		to->page = mem_strdup(from->key_authorization);
		return 0;
	}
	to->certificate = make_certificate(from, err);
	return to->certificate ? 0 : E_TLS;
}

struct challenges *challenges_new(const struct acme_challenge *list, size_t count, struct err *err)
{
	struct challenges *c = mem_alloc(sizeof(*c));
	int r = 0;

	atomic_init(&c->refs, 1);
	c->list = mem_alloc_array(count + 1, sizeof(*c->list));
	for (size_t i = 0; r == 0 && i < count; i++)
		r = add(c, &list[i], err);
	return r < 0 || c->count == 0 ? challenges_unref(c) : c;
}

struct challenges *challenges_ref(struct challenges *c)
{
	if (c)
		atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

struct challenges *challenges_unref(struct challenges *c)
{
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	for (size_t i = 0; i < c->count; i++) {
		mem_free(c->list[i].name);
		mem_free(c->list[i].token);
		mem_free(c->list[i].page);
		tls_certificate_unref(c->list[i].certificate);
	}
	mem_free(c->list);
	return mem_free(c);
}

struct bytes challenges_page(const struct challenges *c, struct bytes host, struct bytes token)
{
	for (size_t i = 0; c && i < c->count; i++)
		if (c->list[i].token && bytes_eq(bytes_str(c->list[i].token), token) &&
		    bytes_eq_nocase(bytes_str(c->list[i].name), host))
			return bytes_str(c->list[i].page);
	return BYTES_NONE;
}

struct tls_certificate *challenges_certificate(const struct challenges *c, struct bytes server_name)
{
	for (size_t i = 0; c && i < c->count; i++)
		if (c->list[i].certificate &&
		    bytes_eq_nocase(bytes_str(c->list[i].name), server_name))
			return c->list[i].certificate;
	return NULL;
}

enum handled challenges_handle(struct exchange *x, void *worker)
{
	const struct worker *w = worker;
	struct bytes path = x->request.path;

	if (!w->challenges || !bytes_starts_with(path, BYTES_LIT(PATH)))
		return HANDLED_NEXT;
	struct bytes page =
		challenges_page(w->challenges, head_host(x->request.authority, &x->arena),
				bytes_from(path, sizeof(PATH) - 1));
	if (page.len == 0)
		return HANDLED_NEXT;
	/* The set may go before the answer has left. */
	exchange_answer_whole(x, 200, BYTES_LIT("application/octet-stream"),
			      bytes_str(arena_strdup(&x->arena, page)));
	return HANDLED_TAKEN;
}
