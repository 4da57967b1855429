/* Short-lived SSH certificates: an authority for each application, and what it signs (CONTROL §5.8, cert_sign). */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "edge/access/desk.h"
#include "edge/access/identity.h"
#include "edge/access/ssh_cert.h"
#include "tls/private_key.h"

#define COMPONENT "edge/access"
/* Clocks of servers may be behind. */
#define CERTIFICATE_LEEWAY (60 * USEC_PER_SEC)

static char *setting_name(const struct access_app *app)
{
	return mem_printf("access.ssh-ca %s", app->id);
}

/* NULL with E_NOT_FOUND: this application has none. */
static struct private_key *load_authority(struct control *c, const struct access_app *app,
					  struct err *err)
{
	char *name = setting_name(app), *pem = store_setting_get(c->store, name, err);
	struct private_key *ca = pem ? private_key_parse(pem, err) : NULL;

	if (pem)
		secret_wipe(pem, strlen(pem));
	mem_free(pem);
	mem_free(name);
	return ca;
}

static struct private_key *make_authority(struct control *c, const struct access_app *app,
					  struct err *err)
{
	struct private_key *ca = private_key_make(PRIVATE_KEY_P256, SSH_AUTHORITY_PLACE, err);
	char *name, *pem;

	if (!ca)
		return NULL;
	name = setting_name(app);
	pem = private_key_text(ca);
	if (store_setting_put(c->store, name, pem, true, err) < 0)
		ca = private_key_free(ca);
	secret_wipe(pem, strlen(pem));
	mem_free(pem);
	mem_free(name);
	return ca;
}

char *desk_ssh_authority(struct control *c, const struct access_app *app, struct err *err)
{
	struct err why = { 0 };
	struct private_key *ca = load_authority(c, app, &why);
	char *line;

	if (!ca && why.code == E_NOT_FOUND)
		ca = make_authority(c, app, &why);
	if (!ca) {
		*err = why;
		return NULL;
	}
	line = ssh_authority_line(ca, app->name);
	private_key_free(ca);
	return line;
}

/* --- Signing ---------------------------------------------------------------------------------------- */

/* As stock clients read it: both members. */
static enum ask_result refuse(struct ask *a, int status, const char *message)
{
	return answer(a->request, status, "application/json",
		      arena_printf(&a->request->arena, "{\"status\":%d,\"message\":\"%s\"}\n",
				   status, message));
}

/* The application that a token is for, and its session if that is alive. */
static const struct access_app *app_of_token(struct ask *a, const char *jwt,
					     struct desk_session *ret, struct access_claims *claims)
{
	const struct access_app *app = desk_app_of_token(a, TOKEN_APP, bytes_str(jwt), claims);

	if (!app || claims->session.len == 0 ||
	    !desk_session_find(a->control->desk, arena_strdup(&a->request->arena, claims->session),
			       ret))
		return NULL;
	return app;
}

/* What external services said, and the person, when the token was made holds for as long as it does. */
static bool may(struct ask *a, const struct access_app *app, const struct desk_session *s,
		const struct access_claims *claims)
{
	json_t *all = json_loadb((const char *)claims->json.ptr, claims->json.len, 0, NULL);
	const struct access_external_answer *said;
	size_t count = desk_said_of(a, all, &said);
	json_int_t purpose_until = json_integer_value(json_object_get(all, ACCESS_PURPOSE_CLAIM));
	struct access_verdict v = desk_decide(a, app, s->identity, said, count);

	json_decref(all);
	return v.outcome == ACCESS_ALLOWED &&
	       (!v.policy->asks_purpose || clock_wall_now() / USEC_PER_SEC < purpose_until);
}

static enum ask_result sign(struct ask *a, const struct access_app *app,
			    const struct desk_session *s, const char *public_key)
{
	struct arena *arena = &a->request->arena;
	usec now = clock_wall_now();
	struct err err = { 0 };
	struct private_key *ca = load_authority(a->control, app, &err);
	char *principal = ssh_principal(s->email), *line = NULL, until[40];
	struct ssh_certificate c = {
		.public_key = public_key,
		.key_id = s->email,
		.principal = principal,
		.valid_after = now - CERTIFICATE_LEEWAY,
		.valid_before = now + app->ssh_certificate,
	};
	enum ask_result result;

	random_bytes(&c.serial, sizeof(c.serial));
	if (ca)
		line = ssh_certificate_sign(ca, &c, &err);
	if (line) {
		log_info(COMPONENT, "SSH certificate signed", LOG_STR("user", s->email),
			 LOG_STR("principal", principal), LOG_STR("app", app->name),
			 LOG_BYTES("ip", a->request->client_ip));
		desk_audit(a, "ssh.certificate", s->email, app->name, "signed", "{}");
		result = answer(a->request, 200, "application/json",
				arena_printf(arena,
					     "{\"id\":\"%016llx\",\"certificate\":\"%s\","
					     "\"expires_at\":\"%s\"}\n",
					     (unsigned long long)c.serial, line,
					     clock_rfc3339(c.valid_before, until, sizeof(until))));
	} else if (!ca && err.code == E_NOT_FOUND) {
		result = refuse(a, 404,
				"this application has no SSH authority: adit-edge access ssh-ca");
	} else if (err.code == E_PARSE || err.code == E_INVALID) {
		result = refuse(a, 400, "the public key must be ecdsa-sha2-nistp256 or ssh-ed25519");
	} else {
		log_error(COMPONENT, "no SSH certificate", LOG_STR("error", err.text));
		result = refuse(a, 500, "the certificate could not be signed");
	}
	mem_free(line);
	mem_free(principal);
	private_key_free(ca);
	return result;
}

enum ask_result desk_cert_sign(struct ask *a)
{
	struct bytes text = a->request->body;
	json_t *body = json_loadb(text.len ? (const char *)text.ptr : "", text.len,
				  JSON_REJECT_DUPLICATES, NULL);
	const char *key = json_string_value(json_object_get(body, "public_key"));
	const char *jwt = json_string_value(json_object_get(body, "jwt"));
	const struct access_app *app;
	struct desk_session s;
	struct access_claims claims;
	enum ask_result result;

	app = key && jwt ? app_of_token(a, jwt, &s, &claims) : NULL;
	if (!app) {
		json_decref(body);
		return refuse(a, 401,
			      "sign in first: the token is missing, over, or not of a person");
	}
	if (may(a, app, &s, &claims))
		result = sign(a, app, &s, key);
	else
		result = refuse(a, 403, "no policy of the application lets you in");
	desk_session_done(&s);
	json_decref(body);
	return result;
}
