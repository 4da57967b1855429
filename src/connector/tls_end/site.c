#include "connector/tls_end/site.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "connector/cli/files.h"
#include "connector/tls_end/order.h"
#include "connector/tls_end/site_internal.h"
#include "tls/request.h"

#define COMPONENT "connector/tls"

/* A renewal is noticed within this. */
#define LOOK_EVERY_MS 2000
#define MAX_PEM_BYTES (256 * 1024)

struct tls_sites {
	struct tls_site **sites; /* owned; one per rule, NULL: it has none */
	size_t count;
};

/* --- Pairs of files ------------------------------------------------------------------------------- */

static char *read_text(const char *path, struct err *err)
{
	struct buf b;

	if (file_read(path, MAX_PEM_BYTES, &b, err) < 0)
		return NULL;
	char *text = mem_strndup(buf_bytes(&b));
	secret_wipe((void *)(uintptr_t)buf_bytes(&b).ptr, buf_bytes(&b).len);
	buf_done(&b);
	return text;
}

int tls_pair_read(const char *certificate, const char *key, struct tls_pair *ret, struct err *err)
{
	ret->chain_pem = read_text(certificate, err);
	ret->key_pem = ret->chain_pem ? read_text(key, err) : NULL;
	if (ret->key_pem)
		return 0;
	tls_pair_done(ret);
	return err->code;
}

void tls_pair_done(struct tls_pair *p)
{
	if (p->key_pem)
		secret_wipe(p->key_pem, strlen(p->key_pem));
	mem_free(p->key_pem);
	mem_free(p->chain_pem);
	*p = (struct tls_pair){ 0 };
}

/* --- What handshakes choose ------------------------------------------------------------------------ */

struct choice {
	struct tls_certificate *current, *challenge; /* counted; NULL */
	char *hostname;
};

static void drop_choice(void *ctx)
{
	struct choice *c = ctx;

	tls_certificate_unref(c->current);
	tls_certificate_unref(c->challenge);
	mem_free(c->hostname);
	mem_free(c);
}

/* The edge has looked at the name already. */
static struct tls_certificate *choose(void *ctx, struct bytes server_name)
{
	const struct choice *c = ctx;

	(void)server_name;
	return c->current;
}

static struct tls_certificate *choose_challenge(void *ctx, struct bytes server_name)
{
	const struct choice *c = ctx;

	return bytes_eq_nocase(server_name, bytes_str(c->hostname)) ? c->challenge : NULL;
}

static int make_context(struct tls_site *s, struct err *err)
{
	static const char *const alpn[] = { "h2", "http/1.1", NULL };
	struct choice *c = mem_alloc(sizeof(*c));

	c->current = s->current ? tls_certificate_ref(s->current) : NULL;
	c->challenge = s->challenge ? tls_certificate_ref(s->challenge) : NULL;
	c->hostname = mem_strdup(s->hostname);
	struct tls_context *context = tls_context_server(choose, c, drop_choice, alpn, err);
	if (!context) {
		drop_choice(c);
		return err->code;
	}
	if (c->challenge)
		tls_context_set_challenges(context, choose_challenge);
	tls_context_count(context);
	tls_context_unref(s->context);
	s->context = context;
	return 0;
}

int tls_site_use(struct tls_site *s, const struct tls_pair *p, struct err *err)
{
	struct tls_chain_info info;
	struct tls_certificate *c =
		tls_certificate_load(bytes_str(p->chain_pem), bytes_str(p->key_pem), err);

	if (!c || tls_chain_info(p->chain_pem, &info, err) < 0) {
		if (c)
			tls_certificate_unref(c);
		return err->code;
	}
	mem_free(info.names);
	if (s->current)
		tls_certificate_unref(s->current);
	s->current = c;
	s->starts_at = info.starts_at;
	s->ends_at = info.ends_at;
	return make_context(s, err);
}

void tls_site_challenge(struct tls_site *s, struct tls_certificate *challenge)
{
	struct err err;

	if (s->challenge)
		tls_certificate_unref(s->challenge);
	s->challenge = challenge ? tls_certificate_ref(challenge) : NULL;
	if (make_context(s, &err) < 0)
		log_error(COMPONENT, "cannot show a challenge", LOG_STR("hostname", s->hostname),
			  LOG_STR("error", err.text));
}

/* --- Files that change ----------------------------------------------------------------------------- */

struct reading {
	struct tls_site *site; /* counted */
	struct tls_pair pair;
	struct err err;
	bool is_read;
};

static void read_work(void *arg)
{
	struct reading *r = arg;

	r->is_read = tls_pair_read(r->site->certificate, r->site->key, &r->pair, &r->err) == 0;
}

static void refuse(const struct tls_site *s, const struct err *err)
{
	log_error(COMPONENT,
		  s->current ? "The new certificate is refused, the old one stays"
			     : "There is no certificate to end TLS with",
		  LOG_STR("hostname", s->hostname), LOG_STR("certificate", s->certificate),
		  LOG_STR("error", err->text));
}

static void take(struct tls_site *s, const struct tls_pair *p)
{
	struct err err;

	if (tls_site_use(s, p, &err) < 0)
		refuse(s, &err);
	else
		log_info(COMPONENT, "TLS ends here", LOG_STR("hostname", s->hostname),
			 LOG_STR("certificate", s->certificate));
}

static void on_files_changed(void *arg);

static void read_done(void *arg)
{
	struct reading *r = arg;
	struct tls_site *s = r->site;

	s->is_reading = false;
	if (!s->is_gone && r->is_read)
		take(s, &r->pair);
	else if (!s->is_gone)
		refuse(s, &r->err);
	tls_pair_done(&r->pair);
	mem_free(r);
	if (!s->is_gone && s->is_wanted_again)
		on_files_changed(s);
	tls_site_unref(s);
}

static void on_files_changed(void *arg)
{
	struct tls_site *s = arg;

	s->is_wanted_again = s->is_reading;
	if (s->is_reading)
		return;
	s->is_reading = true;
	struct reading *r = mem_alloc(sizeof(*r));
	r->site = tls_site_ref(s);
	loop_work(s->loop, read_work, read_done, r);
}

/* --- Sites ------------------------------------------------------------------------------------------ */

static char *copy(const char *text)
{
	return text ? mem_strdup(text) : NULL;
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

struct tls_site *tls_site_ref(struct tls_site *s)
{
	s->refs++;
	return s;
}

void tls_site_unref(struct tls_site *s)
{
	if (--s->refs > 0)
		return;
	tls_context_unref(s->context);
	if (s->current)
		tls_certificate_unref(s->current);
	if (s->challenge)
		tls_certificate_unref(s->challenge);
	mem_free(s->hostname);
	mem_free(s->certificate);
	mem_free(s->key);
	mem_free(s->directory);
	mem_free(s->storage);
	mem_free(s->email);
	mem_free(s->ca_file);
	mem_free(s);
}

/* Nobody serves it any more. */
static void retire(struct tls_site *s)
{
	s->is_gone = true;
	s->certificate_file = loop_file_free(s->certificate_file);
	s->key_file = loop_file_free(s->key_file);
	s->order = order_free(s->order);
	tls_site_unref(s);
}

static struct tls_site *site_new(struct loop *loop, const struct ingress_rule *rule)
{
	const struct ingress_tls *t = &rule->tls;
	struct tls_site *s = mem_alloc(sizeof(*s));
	struct tls_pair pair = { 0 };
	struct err err;

	s->refs = 1;
	s->loop = loop;
	s->hostname = mem_strdup(rule->pattern);
	s->certificate = copy(t->certificate);
	s->key = copy(t->key);
	s->directory = copy(t->acme_directory);
	s->storage = copy(t->acme_storage);
	s->email = copy(t->acme_email);
	s->ca_file = copy(t->acme_ca_file);
	if (!s->certificate) {
		s->order = order_new(s);
		return s;
	}
	s->certificate_file =
		loop_file_new(loop, s->certificate, LOOK_EVERY_MS, on_files_changed, s);
	s->key_file = loop_file_new(loop, s->key, LOOK_EVERY_MS, on_files_changed, s);
	if (tls_pair_read(s->certificate, s->key, &pair, &err) < 0)
		refuse(s, &err);
	else
		take(s, &pair);
	tls_pair_done(&pair);
	return s;
}

static bool is_of(const struct tls_site *s, const struct ingress_rule *rule)
{
	const struct ingress_tls *t = &rule->tls;

	return strcmp(s->hostname, rule->pattern) == 0 && same(s->certificate, t->certificate) &&
	       same(s->key, t->key) && same(s->directory, t->acme_directory) &&
	       same(s->storage, t->acme_storage) && same(s->email, t->acme_email) &&
	       same(s->ca_file, t->acme_ca_file);
}

static struct tls_site *take_over(struct tls_sites *before, const struct ingress_rule *rule)
{
	for (size_t i = 0; before && i < before->count; i++)
		if (before->sites[i] && is_of(before->sites[i], rule))
			return TAKE(before->sites[i]);
	return NULL;
}

struct tls_sites *tls_sites_new(struct loop *loop, const struct ingress *in,
				struct tls_sites *before)
{
	struct tls_sites *s = mem_alloc(sizeof(*s));

	s->count = ingress_count(in);
	s->sites = mem_alloc_array(s->count + 1, sizeof(struct tls_site *));
	for (size_t i = 0; i < s->count; i++) {
		const struct ingress_rule *rule = ingress_rule(in, i);
		if (!rule->tls.is_on)
			continue;
		s->sites[i] = take_over(before, rule);
		if (!s->sites[i])
			s->sites[i] = site_new(loop, rule);
	}
	return s;
}

struct tls_sites *tls_sites_free(struct tls_sites *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->count; i++)
		if (s->sites[i])
			retire(s->sites[i]);
	mem_free(s->sites);
	return mem_free(s);
}

struct tls_context *tls_sites_context(const struct tls_sites *s, const struct ingress_rule *rule)
{
	const struct tls_site *site = rule->index < s->count ? s->sites[rule->index] : NULL;

	return site ? site->context : NULL;
}
