#include "acme/acme.h"

#include <jansson.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "acme/reply.h"
#include "base/encode.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "http/fetch.h"
#include "jose/signer.h"

#define NONCE_RETRIES 5
/* How long an authority may take over a name or a certificate, and how often it is asked if it does not say. */
#define PATIENCE (3 * 60 * USEC_PER_SEC)
#define POLL_FIRST (500 * USEC_PER_MSEC)
#define POLL (4 * USEC_PER_SEC)
#define POLL_MAX (30 * USEC_PER_SEC)
#define NAMES_MAX 100

struct acme {
	char *directory, *ca_file, *contact, *binding_id;
	struct secret binding_key;
	struct signer *key;
	char *account;                                            /* URL; NULL: not asked yet */
	char *new_nonce, *new_account, *new_order, *renewal_info; /* of the directory */
	char *nonce;                                              /* NULL: none is left */
	usec retry_at;
	atomic_bool is_cancelled;
};

static const char *const method_names[ACME_METHODS] = {
	[ACME_DNS_01] = "dns-01",
	[ACME_HTTP_01] = "http-01",
	[ACME_TLS_ALPN_01] = "tls-alpn-01",
};

const char *acme_method_name(enum acme_method m)
{
	return method_names[m];
}

/* --- Requests -------------------------------------------------------------------------------- */

static int exchange(struct acme *a, const char *method, const char *url, const char *body,
		    struct acme_reply *ret, struct err *err)
{
	const struct fetch_header type = { "Content-Type", "application/jose+json" };
	const struct fetch_request req = {
		.method = method,
		.url = url,
		.headers = &type,
		.header_count = body ? 1 : 0,
		.body = body ? bytes_str(body) : BYTES_NONE,
		.body_max = ACME_BODY_BYTES,
		.ca_file = a->ca_file,
		.use_proxy = true,
	};
	struct fetch_response res;

	if (atomic_load(&a->is_cancelled))
		return err_set(err, E_CANCELLED, "given up");
	if (strncmp(url, "https://", 8) != 0)
		return err_set(err, E_PROTOCOL, "the authority sends us to an address without TLS");
	int r = fetch(&req, &res, err);
	if (r < 0)
		return r;
	struct bytes nonce = fetch_response_header(&res, "Replay-Nonce");
	if (nonce.len) {
		mem_free(a->nonce);
		a->nonce = mem_strndup(nonce);
	}
	acme_reply_read(ret, res.status, buf_bytes(&res.body),
			fetch_response_header(&res, "Location"),
			fetch_response_header(&res, "Retry-After"));
	fetch_response_done(&res);
	return 0;
}

static int refused(struct acme *a, const struct acme_reply *r, const char *what, struct err *err)
{
	a->retry_at = r->retry_after ? clock_wall_now() + r->retry_after : 0;
	if (acme_reply_is(r, ":accountDoesNotExist"))
		a->account = mem_free(a->account);
	return acme_reply_error(r, what, err);
}

static int take_nonce(struct acme *a, struct err *err)
{
	struct acme_reply r = { 0 };

	if (a->nonce)
		return 0;
	int code = exchange(a, "HEAD", a->new_nonce, NULL, &r, err);
	if (code == 0 && !a->nonce)
		code = err_set(err, E_PROTOCOL, "the authority gives no nonce");
	acme_reply_done(&r);
	return code;
}

/* Signed by the account's key, which the account's URL names once there is one. `payload` NULL: POST-as-GET. Takes
 * the payload. */
static int post_once(struct acme *a, const char *url, const json_t *payload, struct acme_reply *ret,
		     struct err *err)
{
	int r = take_nonce(a, err);

	if (r < 0)
		return r;
	json_t *header = json_pack("{s:s, s:s}", "nonce", a->nonce, "url", url);
	if (a->account)
		json_object_set_new(header, "kid", json_string(a->account));
	else
		json_object_set_new(header, "jwk", signer_public(a->key));
	a->nonce = mem_free(a->nonce);
	char *text = payload ? json_dumps(payload, JSON_COMPACT) : NULL;
	json_t *flat = signer_sign(a->key, header, text ? bytes_str(text) : BYTES_NONE);
	char *body = json_dumps(flat, JSON_COMPACT);

	r = exchange(a, "POST", url, body, ret, err);
	free(body); /* allowed: jansson took it from malloc */
	free(text); /* allowed: the same */
	json_decref(flat);
	json_decref(header);
	return r;
}

static int post(struct acme *a, const char *url, json_t *payload, const char *what,
		struct acme_reply *ret, struct err *err)
{
	int r = 0;

	for (int i = 0; r == 0 && i < NONCE_RETRIES; i++) {
		acme_reply_done(ret);
		r = post_once(a, url, payload, ret, err);
		if (r < 0)
			err_wrap(err, "%s", what);
		if (r < 0 || ret->status < 300)
			break;
		/* A nonce can be too old: the answer has brought a new one (RFC 8555 §6.5). */
		if (!acme_reply_is(ret, ":badNonce") || i == NONCE_RETRIES - 1)
			r = refused(a, ret, what, err);
	}
	json_decref(payload);
	return r;
}

/* Sleeps, but not through a cancellation. */
static int wait_for(struct acme *a, usec time, struct err *err)
{
	usec until = clock_now() + time;

	while (clock_now() < until) {
		if (atomic_load(&a->is_cancelled))
			return err_set(err, E_CANCELLED, "given up");
		(void)poll(NULL, 0, 200);
	}
	return 0;
}

/* --- Account --------------------------------------------------------------------------------- */

/* In the place of what a directory before, which lacked something else, said. */
static void take_url(char **at, const json_t *directory, const char *key)
{
	const char *url = acme_text(directory, key);

	mem_free(*at);
	*at = url && strncmp(url, "https://", 8) == 0 ? mem_strdup(url) : NULL;
}

static int read_directory(struct acme *a, struct err *err)
{
	struct acme_reply r = { 0 };

	if (a->new_order)
		return 0;
	int code = exchange(a, "GET", a->directory, NULL, &r, err);
	if (code == 0 && r.status != 200)
		code = refused(a, &r, "reading the directory", err);
	if (code == 0) {
		take_url(&a->new_nonce, r.json, "newNonce");
		take_url(&a->new_account, r.json, "newAccount");
		take_url(&a->renewal_info, r.json, "renewalInfo");
		take_url(&a->new_order, r.json, "newOrder");
		if (!a->new_nonce || !a->new_account || !a->new_order)
			code = err_set(err, E_PROTOCOL, "%s is no ACME directory", a->directory);
		else if (json_is_true(json_object_get(json_object_get(r.json, "meta"),
						      "externalAccountRequired")) &&
			 !a->binding_id)
			code = err_set(err, E_INVALID,
				       "the authority wants an external account: set its key id and "
				       "key");
	}
	if (code < 0)
		a->new_order = mem_free(a->new_order);
	acme_reply_done(&r);
	return code;
}

/* The account's public key, signed with what the authority gave its customer. */
static json_t *binding(const struct acme *a, struct err *err)
{
	struct signer *s = signer_new_hs256(bytes_of(a->binding_key.ptr, a->binding_key.len), err);

	if (!s)
		return NULL;
	json_t *header = json_pack("{s:s, s:s}", "kid", a->binding_id, "url", a->new_account);
	json_t *public = signer_public(a->key);
	char *text = json_dumps(public, JSON_COMPACT);
	json_t *flat = signer_sign(s, header, bytes_str(text));

	free(text); /* allowed: jansson took it from malloc */
	json_decref(public);
	json_decref(header);
	signer_free(s);
	return flat;
}

static int open_account(struct acme *a, struct err *err)
{
	struct acme_reply r = { 0 };

	if (a->account)
		return 0;
	json_t *wanted = json_pack("{s:b}", "termsOfServiceAgreed", 1);
	if (a->contact) {
		char *mail = mem_printf("mailto:%s", a->contact);
		json_object_set_new(wanted, "contact", json_pack("[s]", mail));
		mem_free(mail);
	}
	if (a->binding_id) {
		json_t *bound = binding(a, err);
		if (!bound) {
			json_decref(wanted);
			return err_wrap(err, "binding the account");
		}
		json_object_set_new(wanted, "externalAccountBinding", bound);
	}
	int code = post(a, a->new_account, wanted, "opening the account", &r, err);
	if (code == 0 && !r.location)
		code = err_set(err, E_PROTOCOL, "the authority does not say where the account is");
	if (code == 0)
		a->account = TAKE(r.location);
	acme_reply_done(&r);
	return code;
}

static int be_ready(struct acme *a, struct err *err)
{
	a->retry_at = 0;
	int r = read_directory(a, err);
	return r < 0 ? r : open_account(a, err);
}

/* --- Orders ---------------------------------------------------------------------------------- */

struct acme_order *acme_order_free(struct acme_order *o)
{
	if (!o)
		return NULL;
	for (size_t i = 0; i < o->challenge_count; i++) {
		struct acme_challenge *c = &o->challenges[i];
		mem_free(c->name);
		mem_free(c->token);
		mem_free(c->key_authorization);
		mem_free(c->text);
		mem_free(c->url);
		mem_free(c->authorization);
	}
	mem_free(o->challenges);
	mem_free(o->url);
	mem_free(o->finalize);
	return mem_free(o);
}

static void fill_challenge(const struct acme *a, struct acme_challenge *c, const json_t *from)
{
	char *thumbprint = signer_thumbprint(a->key);

	c->token = mem_strdup(acme_text(from, "token"));
	c->url = mem_strdup(acme_text(from, "url"));
	c->key_authorization = mem_printf("%s.%s", c->token, thumbprint);
	hash_sha256(bytes_str(c->key_authorization), c->hash);
	c->text = base64_text(BASE64_URL_RAW, bytes_of(c->hash, sizeof(c->hash)));
	mem_free(thumbprint);
}

static int choose(struct acme *a, struct acme_order *o, const char *url, const json_t *auth,
		  const enum acme_method *methods, size_t count, struct err *err)
{
	const char *name = acme_text(json_object_get(auth, "identifier"), "value");
	const char *status = acme_text(auth, "status");
	bool is_wildcard = json_is_true(json_object_get(auth, "wildcard"));

	if (!name || !status)
		return err_set(err, E_PROTOCOL, "the authority's authorization names nothing");
	if (strcmp(status, "valid") == 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		const json_t *from = is_wildcard && methods[i] != ACME_DNS_01
					     ? NULL
					     : acme_challenge_of(auth, methods[i]);
		if (!from)
			continue;
		struct acme_challenge *c = &o->challenges[o->challenge_count++];
		c->name = mem_strdup(name);
		c->method = methods[i];
		c->authorization = mem_strdup(url);
		fill_challenge(a, c, from);
		return 0;
	}
	char text[300];
	acme_shown(name, text);
	return err_set(err, E_UNSUPPORTED,
		       "%s%s: the authority offers no way to prove it that could be used here",
		       is_wildcard ? "*." : "", text);
}

static int read_authorizations(struct acme *a, struct acme_order *o, const json_t *order,
			       const enum acme_method *methods, size_t count, struct err *err)
{
	const json_t *list = json_object_get(order, "authorizations");
	size_t size = json_array_size(list);
	int r = 0;

	if (size > NAMES_MAX)
		return err_set(err, E_PROTOCOL, "the authority's order makes no sense");
	o->challenges = mem_alloc_array(size + 1, sizeof(o->challenges[0]));
	for (size_t i = 0; r == 0 && i < size; i++) {
		const char *url = json_string_value(json_array_get(list, i));
		struct acme_reply reply = { 0 };
		r = url ? post(a, url, NULL, "reading an authorization", &reply, err)
			: err_set(err, E_PROTOCOL, "the authority's order makes no sense");
		if (r == 0)
			r = choose(a, o, url, reply.json, methods, count, err);
		acme_reply_done(&reply);
	}
	return r;
}

static json_t *identifiers(const char *const *names, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:s}", "type", "dns", "value", names[i]));
	return list;
}

struct acme_order *acme_order(struct acme *a, const char *const *names, size_t name_count,
			      const enum acme_method *methods, size_t method_count,
			      const char *replaces, struct err *err)
{
	struct acme_order *o = mem_alloc(sizeof(*o));
	struct acme_reply r = { 0 };

	BUG_IF(name_count == 0 || name_count > NAMES_MAX);
	int code = be_ready(a, err);
	for (bool is_new = false; code == 0;) {
		json_t *wanted = json_pack("{s:o}", "identifiers", identifiers(names, name_count));
		if (replaces && a->renewal_info)
			json_object_set_new(wanted, "replaces", json_string(replaces));
		code = post(a, a->new_order, wanted, "ordering", &r, err);
		if (code == 0)
			break;
		if (!a->account && !is_new) {
			/* The authority has forgotten us; with the same key, so it may remember yet. */
			is_new = true;
			code = be_ready(a, err);
		} else if (code == E_DENIED && a->account && replaces && a->renewal_info) {
			/* One that was replaced already, say, by an order whose end we did not live to see. */
			replaces = NULL;
			code = 0;
		}
	}
	if (code == 0 && (!r.location || !acme_text(r.json, "finalize")))
		code = err_set(err, E_PROTOCOL, "the authority's order makes no sense");
	if (code == 0) {
		o->url = TAKE(r.location);
		o->finalize = mem_strdup(acme_text(r.json, "finalize"));
		code = read_authorizations(a, o, r.json, methods, method_count, err);
	}
	acme_reply_done(&r);
	return code < 0 ? acme_order_free(o) : o;
}

/* --- Waiting for the authority ---------------------------------------------------------------- */

static int invalid(struct acme *a, const json_t *object, const char *what, struct err *err)
{
	const json_t *problem = acme_failure_of(object);
	const struct acme_reply reply = {
		.status = (int)json_integer_value(json_object_get(problem, "status")),
		.json = (json_t *)(uintptr_t)problem,
		.text = (char *)(uintptr_t) "it did not say why",
	};

	return refused(a, &reply, what, err);
}

/* Asks until the object's status is one of the two, or invalid. */
static int wait_until(struct acme *a, const char *url, const char *done, const char *also,
		      const char *what, struct acme_reply *ret, struct err *err)
{
	usec until = clock_now() + PATIENCE, next = POLL_FIRST;

	for (;;) {
		acme_reply_done(ret);
		int r = post(a, url, NULL, what, ret, err);
		const char *status = r == 0 ? acme_text(ret->json, "status") : NULL;
		if (r < 0)
			return r;
		if (!status)
			return err_set(err, E_PROTOCOL, "%s: the authority's answer has no status",
				       what);
		if (strcmp(status, done) == 0 || strcmp(status, also) == 0)
			return 0;
		if (strcmp(status, "pending") != 0 && strcmp(status, "processing") != 0 &&
		    strcmp(status, "ready") != 0)
			return invalid(a, ret->json, what, err);
		if (clock_now() > until)
			return err_set(err, E_TIMEOUT, "%s: the authority takes too long", what);
		usec pause = ret->retry_after ? ret->retry_after : next;
		next = next < POLL ? next * 2 : next;
		r = wait_for(a, pause < POLL_MAX ? pause : POLL_MAX, err);
		if (r < 0)
			return r;
	}
}

int acme_prove(struct acme *a, const struct acme_order *o, struct err *err)
{
	struct acme_reply r = { 0 };
	int code = 0;

	a->retry_at = 0;
	for (size_t i = 0; code == 0 && i < o->challenge_count; i++)
		code = post(a, o->challenges[i].url, json_object(), "answering a challenge", &r,
			    err);
	for (size_t i = 0; code == 0 && i < o->challenge_count; i++) {
		char what[300];
		(void)snprintf(what, sizeof(what), "proving %s by %s", o->challenges[i].name,
			       method_names[o->challenges[i].method]);
		code = wait_until(a, o->challenges[i].authorization, "valid", "valid", what, &r,
				  err);
	}
	acme_reply_done(&r);
	return code;
}

char *acme_finish(struct acme *a, const struct acme_order *o, struct bytes csr, struct err *err)
{
	char *request = base64_text(BASE64_URL_RAW, csr), *chain = NULL;
	struct acme_reply r = { 0 };

	a->retry_at = 0;
	int code = wait_until(a, o->url, "ready", "valid", "waiting for the order", &r, err);
	if (code == 0)
		code = post(a, o->finalize, json_pack("{s:s}", "csr", request),
			    "handing in the request", &r, err);
	if (code == 0)
		code = wait_until(a, o->url, "valid", "valid", "waiting for the certificate", &r,
				  err);
	char *url = code == 0 && acme_text(r.json, "certificate")
			    ? mem_strdup(acme_text(r.json, "certificate"))
			    : NULL;
	if (code == 0 && !url)
		err_set(err, E_PROTOCOL, "the authority does not say where the certificate is");
	if (url && post(a, url, NULL, "fetching the certificate", &r, err) == 0)
		chain = TAKE(r.text);
	mem_free(url);
	mem_free(request);
	acme_reply_done(&r);
	return chain;
}

/* --- Renewal information ---------------------------------------------------------------------- */

int acme_renewal_time(struct acme *a, const char *renewal_id, usec *ret, struct err *err)
{
	struct acme_reply r = { 0 };
	usec start, end;
	int code = read_directory(a, err);

	if (code < 0)
		return code;
	if (!a->renewal_info)
		return err_set(err, E_UNSUPPORTED, "the authority gives no renewal information");
	char *url = mem_printf("%s/%s", a->renewal_info, renewal_id);
	code = exchange(a, "GET", url, NULL, &r, err);
	if (code == 0 && r.status != 200)
		code = refused(a, &r, "asking when to renew", err);
	if (code == 0 && !acme_window_of(r.json, &start, &end))
		code = err_set(err, E_PROTOCOL, "the authority's renewal window makes no sense");
	if (code == 0)
		a->retry_at = r.retry_after ? clock_wall_now() + r.retry_after : 0;
	if (code == 0)
		*ret = start + (usec)random_below((uint64_t)(end - start) + 1);
	mem_free(url);
	acme_reply_done(&r);
	return code;
}

/* --- Life ------------------------------------------------------------------------------------ */

static int take_binding(struct acme *a, const char *key, struct err *err)
{
	size_t len = strlen(key);
	uint8_t raw[512];

	if (len >= sizeof(raw) || !base64_decode(BASE64_URL_RAW, bytes_str(key), raw, &len) ||
	    len == 0)
		return err_set(err, E_INVALID,
			       "the key of the external account is no base64url text");
	secret_set(&a->binding_key, bytes_of(raw, len));
	secret_wipe(raw, sizeof(raw));
	return 0;
}

struct acme *acme_new(const struct acme_options *o, struct err *err)
{
	struct acme *a = mem_alloc(sizeof(*a));
	int r = 0;

	a->directory = mem_strdup(o->directory);
	a->ca_file = mem_strdup(o->ca_file);
	a->contact = mem_strdup(o->contact);
	a->binding_id = mem_strdup(o->binding_id);
	if (strncmp(o->directory, "https://", 8) != 0)
		r = err_set(err, E_INVALID, "an ACME directory begins with https://");
	if (r == 0 && o->binding_id)
		r = take_binding(a, o->binding_key ? o->binding_key : "", err);
	a->key = o->account;
	if (r == 0 && !a->key)
		a->key = o->account_key ? signer_parse(o->account_key, err) : signer_new_es256(err);
	return r == 0 && a->key ? a : acme_free(a);
}

struct acme *acme_free(struct acme *a)
{
	if (!a)
		return NULL;
	signer_free(a->key);
	secret_done(&a->binding_key);
	mem_free(a->directory);
	mem_free(a->ca_file);
	mem_free(a->contact);
	mem_free(a->binding_id);
	mem_free(a->account);
	mem_free(a->new_nonce);
	mem_free(a->new_account);
	mem_free(a->new_order);
	mem_free(a->renewal_info);
	mem_free(a->nonce);
	return mem_free(a);
}

void acme_cancel(struct acme *a)
{
	atomic_store(&a->is_cancelled, true);
}

char *acme_account_key(const struct acme *a)
{
	return signer_text(a->key);
}

bool acme_has_account(const struct acme *a)
{
	return a->account != NULL;
}

usec acme_retry_at(const struct acme *a)
{
	return a->retry_at;
}
