/* What people carry away: login certificates and run tokens, with our own addresses and CA in them, so
 * that `adit` needs no further flag. */
#include <string.h>

#include "base/mem.h"
#include "edge/control/control_parts.h"
#include "wire/token.h"

static struct token_place place_of(struct control *c, char *ca, char *api_url)
{
	/* At most as many as a decoder takes. */
	size_t count = c->edge_count < TOKEN_EDGES ? c->edge_count : TOKEN_EDGES;

	return (struct token_place){ c->edges, count, ca, api_url };
}

/* NULL without error when there is none: an edge whose certificates everybody trusts. */
static int ca_pem(struct control *c, char **ret, struct err *err)
{
	struct err why = { 0 };

	*ret = store_setting_get(c->store, "ca.cert", &why);
	if (*ret || why.code == E_NOT_FOUND)
		return 0;
	return err_set(err, why.code, "%s", why.text);
}

static char *take_text(struct buf *b, int rc, struct err *err)
{
	char *text = NULL;

	if (rc < 0)
		err_set(err, rc, "the certificate or token became too large");
	else
		text = mem_strndup(buf_bytes(b));
	if (b->ptr)
		secret_wipe(b->ptr, b->cap);
	buf_done(b);
	return text;
}

char *credentials_cert_pem(struct control *c, const struct store_zone *zone, const char *note,
			   struct err *err)
{
	char zone_id[33], *ca, *token, *text;
	char *api_url;
	struct buf out;

	if (ca_pem(c, &ca, err) < 0)
		return NULL;
	token = store_token_create(c->store, zone->account, &zone->id, note, err);
	if (!token) {
		mem_free(ca);
		return NULL;
	}
	zone_id_text(&zone->id, zone_id);
	api_url = mem_printf("%s/client/v4", c->public_url);
	/* Borrowed for the call: not ended with login_done(). */
	struct login login = {
		.zone = zone_id,
		.account = mem_strdup(zone->account),
		.api_token = { (uint8_t *)token, strlen(token) },
		.place = place_of(c, ca, api_url),
	};
	buf_init(&out, TOKEN_TEXT_BYTES);
	text = take_text(&out, login_encode(&out, &login), err);
	control_changed(c); /* workers know tokens, too */
	mem_free(login.account);
	mem_free(api_url);
	mem_free(ca);
	credentials_text_free(token);
	return text;
}

char *credentials_tunnel_token(struct control *c, const struct store_tunnel *t, struct err *err)
{
	char *ca, *account, *api_url, *text;
	struct buf out;

	if (ca_pem(c, &ca, err) < 0)
		return NULL;
	account = mem_strdup(t->account);
	api_url = mem_printf("%s/client/v4", c->public_url);
	struct token token = {
		.account = account,
		.secret = t->secret,
		.tunnel = t->id,
		.has_tunnel = true,
		.place = place_of(c, ca, api_url),
	};
	buf_init(&out, TOKEN_TEXT_BYTES);
	text = take_text(&out, token_encode(&out, &token), err);
	mem_free(api_url);
	mem_free(account);
	mem_free(ca);
	return text;
}

void credentials_text_free(char *text)
{
	if (text)
		secret_wipe(text, strlen(text));
	mem_free(text);
}
