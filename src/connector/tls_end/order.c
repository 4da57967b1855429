#include "connector/tls_end/order.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "acme/acme.h"
#include "base/hash.h"
#include "base/encode.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "connector/cli/files.h"
#include "connector/tls_end/site_internal.h"
#include "tls/request.h"

#define COMPONENT "connector/tls"

#define RETRY_FIRST (60 * USEC_PER_SEC)
#define RETRY_MAX (6 * 3600 * USEC_PER_SEC)
/* How often an authority is asked when it would like a certificate to be renewed (RFC 9773 §4.3). */
#define ASK_EVERY (6 * 3600 * USEC_PER_SEC)
/* The clock may be set meanwhile, so nothing is slept through in one go. */
#define NAP_MAX (600 * USEC_PER_SEC)
/* Connections of a tunnel that has just started come first. */
#define START_MS 2000
#define CSR_BYTES 16384
#define MAX_KEY_BYTES 16384

/* One visit to the authority. Belongs to the pool while work is under way. */
struct job {
	struct order *order;         /* NULL: nobody waits for it any more */
	struct tls_site *site;       /* counted; only what never changes is read off the loop */
	_Atomic(struct acme *) acme; /* owned; order_free() may see it while the pool works */
	atomic_bool is_cancelled;
	struct acme_order *acme_order;
	char *renewal_id;                  /* of the certificate there is; NULL: none */
	bool is_due;                       /* to be renewed, whatever the authority says */
	bool is_early;                     /* the authority wants no renewal yet */
	struct tls_certificate *challenge; /* counted; NULL: the name is proven already */
	struct tls_pair pair;
	usec retry_at;
	struct err err;
	bool has_failed;
};

struct order {
	struct tls_site *site; /* borrowed: it owns this */
	struct timer timer;
	struct job *job;  /* under way; NULL */
	char *renewal_id; /* owned; NULL */
	usec next_at;     /* wall */
	unsigned failures;
};

/* --- Files ---------------------------------------------------------------------------------------- */

static char *path_of(const struct tls_site *s)
{
	return mem_printf("%s/%s.pem", s->storage, s->hostname);
}

static char *account_path(const struct tls_site *s)
{
	uint8_t hash[HASH_SHA256_BYTES];
	char text[17];

	hash_sha256(bytes_str(s->directory), hash);
	hex_encode(bytes_of(hash, 8), text);
	text[16] = 0;
	return mem_printf("%s/account-%s.key", s->storage, text);
}

/* NULL with E_NOT_FOUND: there is none yet. */
static char *account_read(const char *path, struct err *err)
{
	struct buf b;

	if (file_read(path, MAX_KEY_BYTES, &b, err) < 0)
		return NULL;
	char *key = mem_strndup(buf_bytes(&b));
	buf_done(&b);
	return key;
}

static char *wiped(char *text)
{
	if (text)
		secret_wipe(text, strlen(text));
	return mem_free(text);
}

static int save(struct job *j)
{
	char *path = path_of(j->site);
	char *text = mem_printf("%s%s", j->pair.chain_pem, j->pair.key_pem);
	int r = file_overwrite(path, 0600, bytes_str(text), &j->err);

	wiped(text);
	mem_free(path);
	return r;
}

/* --- On the pool ------------------------------------------------------------------------------------ */

static int open_account(struct job *j)
{
	const struct tls_site *s = j->site;
	struct acme_options options = { .directory = s->directory,
					.ca_file = s->ca_file,
					.contact = s->email };
	char *path = account_path(s), *key;
	int r = 0;

	if (mkdir(s->storage, 0700) < 0 && errno != EEXIST)
		r = err_set_errno(&j->err, E_IO, errno, "mkdir %s", s->storage);
	key = r == 0 ? account_read(path, &j->err) : NULL;
	if (r == 0 && !key && j->err.code != E_NOT_FOUND)
		r = j->err.code;
	options.account_key = key;
	if (r == 0) {
		j->acme = acme_new(&options, &j->err);
		r = j->acme ? 0 : j->err.code;
	}
	if (r == 0 && j->is_cancelled)
		r = err_set(&j->err, E_CANCELLED, "given up");
	if (r == 0 && !key) {
		key = acme_account_key(j->acme);
		r = file_write_new(path, 0600, bytes_str(key), &j->err);
		/* Another rule was first: the next visit uses that account. */
		r = r == E_EXISTS ? 0 : r;
	}
	wiped(key);
	mem_free(path);
	return r;
}

static int make_challenge(struct job *j)
{
	struct authority_pair pair;
	const struct acme_challenge *c = j->acme_order->challenges;

	if (j->acme_order->challenge_count == 0)
		return 0;
	int r = tls_challenge_certificate(c->name, c->hash, &pair, &j->err);
	if (r < 0)
		return r;
	j->challenge =
		tls_certificate_load(bytes_str(pair.cert_pem), bytes_str(pair.key_pem), &j->err);
	authority_pair_done(&pair);
	return j->challenge ? 0 : j->err.code;
}

static int place_order(struct job *j)
{
	static const enum acme_method method = ACME_TLS_ALPN_01;
	const char *name = j->site->hostname;
	usec renew_at;
	int r = open_account(j);

	if (r < 0)
		return r;
	if (!j->is_due) {
		/* An authority that does not say has no wish. */
		j->is_early = acme_renewal_time(j->acme, j->renewal_id, &renew_at, &j->err) < 0 ||
			      renew_at > clock_wall_now();
		if (j->is_early)
			return 0;
	}
	j->acme_order = acme_order(j->acme, &name, 1, &method, 1, j->renewal_id, &j->err);
	return j->acme_order ? make_challenge(j) : j->err.code;
}

static int finish_order(struct job *j)
{
	const char *name = j->site->hostname;
	struct buf csr;
	int r = acme_prove(j->acme, j->acme_order, &j->err);

	buf_init(&csr, CSR_BYTES);
	if (r == 0)
		r = tls_request_make(&name, 1, "certificate", &csr, &j->pair.key_pem, &j->err);
	if (r == 0) {
		j->pair.chain_pem = acme_finish(j->acme, j->acme_order, buf_bytes(&csr), &j->err);
		r = j->pair.chain_pem
			    ? tls_chain_check(j->pair.chain_pem, j->pair.key_pem, &name, 1, &j->err)
			    : j->err.code;
	}
	buf_done(&csr);
	return r < 0 ? r : save(j);
}

static void note(struct job *j, int result)
{
	j->has_failed = result < 0;
	if (j->has_failed && j->acme)
		j->retry_at = acme_retry_at(j->acme);
}

static void order_work(void *arg)
{
	note(arg, place_order(arg));
}

static void finish_work(void *arg)
{
	note(arg, finish_order(arg));
}

/* --- On the loop ------------------------------------------------------------------------------------- */

static void job_free(struct job *j)
{
	acme_order_free(j->acme_order);
	acme_free(j->acme);
	mem_free(j->renewal_id);
	if (j->challenge)
		tls_certificate_unref(j->challenge);
	tls_pair_done(&j->pair);
	tls_site_unref(j->site);
	mem_free(j);
}

static usec due_at(const struct tls_site *s)
{
	return s->current ? s->starts_at + (s->ends_at - s->starts_at) / 3 * 2 : 0;
}

static void nap(struct order *o)
{
	usec left = o->next_at - clock_wall_now();

	left = left > NAP_MAX ? NAP_MAX : left;
	timer_set(&o->timer, left <= 0 ? 1 : left / USEC_PER_MSEC + 1);
}

static void plan(struct order *o, usec retry_at)
{
	usec now = clock_wall_now(), wait = RETRY_FIRST, due = due_at(o->site);

	if (o->failures == 0) {
		o->next_at = due < now + ASK_EVERY ? due : now + ASK_EVERY;
	} else {
		for (unsigned i = 1; i < o->failures && wait < RETRY_MAX; i++)
			wait *= 2;
		wait = wait < RETRY_MAX ? wait : RETRY_MAX;
		o->next_at = now + wait + (usec)random_below((uint64_t)wait / 10 + 1);
		if (retry_at > o->next_at)
			o->next_at = retry_at;
	}
	nap(o);
}

static void fail(struct order *o, const struct job *j)
{
	o->failures++;
	log_error(COMPONENT, "certificate not issued", LOG_STR("hostname", o->site->hostname),
		  LOG_STR("error", j->err.text), LOG_INT("failures", o->failures));
}

static void use(struct order *o, const struct job *j)
{
	struct err err;

	o->failures = 0;
	mem_free(o->renewal_id);
	o->renewal_id = tls_renewal_id(j->pair.chain_pem);
	if (tls_site_use(o->site, &j->pair, &err) < 0) {
		o->failures = 1;
		log_error(COMPONENT, "cannot use the new certificate",
			  LOG_STR("hostname", o->site->hostname), LOG_STR("error", err.text));
		return;
	}
	log_info(COMPONENT, "certificate issued", LOG_STR("hostname", o->site->hostname),
		 LOG_STR("directory", o->site->directory));
}

static void settle(struct job *j)
{
	struct order *o = j->order;

	if (o) {
		usec retry_at = j->retry_at;
		o->job = NULL;
		if (j->challenge)
			tls_site_challenge(o->site, NULL);
		if (j->has_failed)
			fail(o, j);
		else if (!j->is_early)
			use(o, j);
		plan(o, retry_at);
	}
	job_free(j);
}

static void finish_done(void *arg)
{
	settle(arg);
}

static void order_done(void *arg)
{
	struct job *j = arg;

	if (!j->order || j->has_failed || j->is_early) {
		settle(j);
		return;
	}
	if (j->challenge)
		tls_site_challenge(j->site, j->challenge);
	loop_work(j->site->loop, finish_work, finish_done, j);
}

static void on_timer(struct timer *t)
{
	struct order *o = CONTAINER_OF(t, struct order, timer);

	if (clock_wall_now() < o->next_at) {
		nap(o);
		return;
	}
	struct job *j = mem_alloc(sizeof(*j));
	j->order = o;
	j->site = tls_site_ref(o->site);
	j->renewal_id = o->renewal_id ? mem_strdup(o->renewal_id) : NULL;
	j->is_due = !o->renewal_id || clock_wall_now() >= due_at(o->site);
	o->job = j;
	loop_work(o->site->loop, order_work, order_done, j);
}

/* What an earlier run has left. */
static void load(struct order *o)
{
	struct tls_site *s = o->site;
	struct tls_pair pair = { 0 };
	struct err err;
	const char *name = s->hostname;
	char *path = path_of(s);
	int r = tls_pair_read(path, path, &pair, &err);

	if (r == 0)
		r = tls_chain_check(pair.chain_pem, pair.key_pem, &name, 1, &err);
	if (r == 0)
		r = tls_site_use(s, &pair, &err);
	if (r == 0)
		o->renewal_id = tls_renewal_id(pair.chain_pem);
	else if (r != E_NOT_FOUND)
		log_warn(COMPONENT, "the stored certificate is of no use", LOG_STR("path", path),
			 LOG_STR("error", err.text));
	tls_pair_done(&pair);
	mem_free(path);
}

struct order *order_new(struct tls_site *site)
{
	struct order *o = mem_alloc(sizeof(*o));

	o->site = site;
	load(o);
	timer_init(&o->timer, site->loop, on_timer);
	timer_set(&o->timer, START_MS);
	return o;
}

struct order *order_free(struct order *o)
{
	if (!o)
		return NULL;
	timer_stop(&o->timer);
	if (o->job) {
		o->job->order = NULL;
		o->job->is_cancelled = true;
		if (o->job->acme)
			acme_cancel(o->job->acme);
	}
	mem_free(o->renewal_id);
	return mem_free(o);
}
