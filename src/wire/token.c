#include "wire/token.h"

#include "base/encode.h"
#include "base/mem.h"
#include "wire/token_json.h"

/* Real ones are "fed" or "us". */
#define ENDPOINT_BYTES 64

/* How the two forms spell the same members. */
static const struct form {
	const char *account, *secret, *tunnel, *endpoint;
	const struct place_names *place;
	bool needs_tunnel;
	bool writes_empty_endpoint;
} run_form = { "a", "s", "t", "e", &place_names_lower, true, false }, credentials_form = {
	"AccountTag", "TunnelSecret", "TunnelID", "Endpoint", &place_names_upper, false, true,
};

/* --- Decoding -------------------------------------------------------------------------------- */

static int get_secret(json_t *root, const char *name, struct secret *ret, struct err *err)
{
	json_t *value = token_json_find(root, name);
	uint8_t raw[TOKEN_SECRET_BYTES + 8]; /* what base64_decode() asks for */
	size_t len = 0;

	if (!value)
		return err_set(err, E_PARSE, "\"%s\" is missing", name);
	if (!json_is_string(value))
		return err_set(err, E_PARSE, "\"%s\" is not a string", name);
	struct bytes text = bytes_of(json_string_value(value), json_string_length(value));
	if (text.len > base64_size(TOKEN_SECRET_BYTES))
		return err_set(err, E_LIMIT, "\"%s\" is longer than %d bytes", name,
			       TOKEN_SECRET_BYTES);
	int rc = 0;
	if (!base64_decode(BASE64_STD, text, raw, &len))
		rc = err_set(err, E_PARSE, "\"%s\" is not base64", name);
	else if (len < TOKEN_SECRET_MIN_BYTES)
		rc = err_set(err, E_PARSE, "\"%s\" is shorter than %d bytes", name,
			     TOKEN_SECRET_MIN_BYTES);
	else if (len > TOKEN_SECRET_BYTES)
		rc = err_set(err, E_LIMIT, "\"%s\" is longer than %d bytes", name,
			     TOKEN_SECRET_BYTES);
	else
		secret_set(ret, bytes_of(raw, len));
	secret_wipe(raw, sizeof(raw));
	return rc;
}

static int get_tunnel(json_t *root, const struct form *form, struct token *ret, struct err *err)
{
	char *text = NULL;
	int rc = token_json_text(root, form->tunnel, UUID_TEXT_SIZE, form->needs_tunnel, &text, err);

	if (rc == 0 && text) {
		ret->has_tunnel =
			uuid_parse(bytes_str(text), &ret->tunnel) && !uuid_is_zero(&ret->tunnel);
		if (!ret->has_tunnel)
			rc = err_set(err, E_PARSE, "\"%s\" is not the id of a tunnel", form->tunnel);
	}
	mem_free(text);
	return rc;
}

static int decode_json(struct bytes json, const struct form *form, struct token *ret,
		       struct err *err)
{
	struct token t = { 0 };
	json_t *root = token_json_parse(json, err);

	if (!root)
		return E_PARSE;
	int rc = token_json_text(root, form->account, TOKEN_ACCOUNT_BYTES, true, &t.account, err);
	if (rc == 0)
		rc = get_secret(root, form->secret, &t.secret, err);
	if (rc == 0)
		rc = get_tunnel(root, form, &t, err);
	if (rc == 0)
		rc = token_json_text(root, form->endpoint, ENDPOINT_BYTES, false, &t.endpoint, err);
	if (rc == 0)
		rc = token_json_place(root, form->place, &t.place, err);
	token_json_free(root);
	if (rc < 0)
		token_done(&t);
	*ret = t;
	return rc;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int token_decode(struct bytes text, struct token *ret, struct err *err)
{
	*ret = (struct token){ 0 };
	while (text.len && is_blank(text.ptr[0]))
		text = bytes_from(text, 1);
	while (text.len && is_blank(text.ptr[text.len - 1]))
		text.len--;
	if (text.len == 0)
		return err_set(err, E_PARSE, "empty token");
	if (text.len > TOKEN_TEXT_BYTES)
		return err_set(err, E_LIMIT, "token longer than %d bytes", TOKEN_TEXT_BYTES);
	size_t size = text.len / 4 * 3 + 3, len = 0;
	uint8_t *json = mem_alloc(size);
	int rc = base64_decode(BASE64_STD, text, json, &len)
			 ? decode_json(bytes_of(json, len), &run_form, ret, err)
			 : err_set(err, E_PARSE, "not base64");
	secret_wipe(json, size);
	mem_free(json);
	if (rc < 0)
		err_wrap(err, "tunnel token");
	return rc;
}

int token_decode_credentials(struct bytes json, struct token *ret, struct err *err)
{
	*ret = (struct token){ 0 };
	int rc = json.len > TOKEN_TEXT_BYTES
			 ? err_set(err, E_LIMIT, "longer than %d bytes", TOKEN_TEXT_BYTES)
			 : decode_json(json, &credentials_form, ret, err);
	if (rc < 0)
		err_wrap(err, "tunnel credentials");
	return rc;
}

/* --- Encoding -------------------------------------------------------------------------------- */

static int put_secret(struct buf *out, const char *name, const struct secret *s)
{
	char *text = base64_text(BASE64_STD, bytes_of(s->ptr, s->len));
	int rc = token_put_text(out, name, bytes_str(text));

	secret_wipe(text, strlen(text));
	mem_free(text);
	return rc;
}

static int put_json(struct buf *out, const struct token *t, const struct form *form)
{
	char id[UUID_TEXT_SIZE];
	int rc = token_reserve(out, &t->place);

	if (rc == 0)
		rc = buf_append_str(out, "{");

	if (rc == 0)
		rc = token_put_text(out, form->account, bytes_str(t->account));
	if (rc == 0)
		rc = put_secret(out, form->secret, &t->secret);
	if (rc == 0 && t->has_tunnel)
		rc = token_put_text(out, form->tunnel, bytes_str(uuid_text(&t->tunnel, id)));
	if (rc == 0 && (t->endpoint || form->writes_empty_endpoint))
		rc = token_put_text(out, form->endpoint, bytes_str(t->endpoint));
	if (rc == 0)
		rc = token_put_place(out, form->place, &t->place);
	return rc == 0 ? buf_append_str(out, "}") : rc;
}

int token_encode_credentials(struct buf *out, const struct token *t)
{
	size_t start = out->len;
	int rc = put_json(out, t, &credentials_form);

	if (rc < 0)
		out->len = start;
	return rc;
}

int token_encode(struct buf *out, const struct token *t)
{
	struct buf json;

	buf_init(&json, TOKEN_TEXT_BYTES / 4 * 3);
	int rc = put_json(&json, t, &run_form);
	if (rc == 0)
		rc = buf_reserve(out, base64_size(json.len));
	if (rc == 0)
		buf_added(out,
			  base64_encode(BASE64_STD, buf_bytes(&json), (char *)out->ptr + out->len));
	secret_wipe(json.ptr, json.cap);
	buf_done(&json);
	return rc;
}

void token_done(struct token *t)
{
	mem_free(t->account);
	secret_done(&t->secret);
	mem_free(t->endpoint);
	token_place_done(&t->place);
	*t = (struct token){ 0 };
}
