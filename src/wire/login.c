/* The login certificate of token.h: PEM (RFC 7468 in its loose form) around JSON. */
#include "base/encode.h"
#include "base/mem.h"
#include "wire/token.h"
#include "wire/token_json.h"

#define LABEL "ARGO TUNNEL TOKEN"
/* Zone and account tags have 32 characters, API tokens 40 to 200. */
#define TAG_BYTES 128
#define API_TOKEN_BYTES 1024
#define ENDPOINT_BYTES 64
#define PEM_COLUMNS 64

/* --- PEM ------------------------------------------------------------------------------------- */

static bool next_line(struct bytes *rest, struct bytes *ret)
{
	if (!bytes_split(rest, '\n', ret))
		return false;
	if (ret->len && ret->ptr[ret->len - 1] == '\r')
		ret->len--;
	*ret = bytes_trim(*ret);
	return true;
}

/* "-----BEGIN X-----" gives X. */
static bool boundary(struct bytes line, struct bytes word, struct bytes *ret_label)
{
	if (!bytes_starts_with(line, word) || !bytes_ends_with(line, BYTES_LIT("-----")) ||
	    line.len < word.len + 5)
		return false;
	*ret_label = bytes_of(line.ptr + word.len, line.len - word.len - 5);
	return true;
}

/* The next block: its label, and its base64 without blanks in `body`. 0 when there is none. */
static int next_block(struct bytes *rest, struct bytes *ret_label, struct buf *body, struct err *err)
{
	struct bytes line, label;

	buf_clear(body);
	do {
		if (!next_line(rest, &line))
			return 0;
	} while (!boundary(line, BYTES_LIT("-----BEGIN "), ret_label));
	while (next_line(rest, &line)) {
		if (boundary(line, BYTES_LIT("-----END "), &label) && bytes_eq(label, *ret_label))
			return 1;
		/* Headers of old encrypted keys: "Proc-Type: …". */
		if (bytes_index(line, ':') < line.len)
			continue;
		int rc = buf_append(body, line);
		if (rc < 0)
			return err_set(err, rc, "block too long");
	}
	return err_set(err, E_PARSE, "block " BYTES_FMT " in the certificate does not end",
		       BYTES_ARG(bytes_first(*ret_label, 64)));
}

/* --- Decoding -------------------------------------------------------------------------------- */

static int decode_json(json_t *root, struct login *ret, struct err *err)
{
	char *api_token = NULL;
	int rc = token_json_text(root, "zoneID", TAG_BYTES, false, &ret->zone, err);

	if (rc == 0)
		rc = token_json_text(root, "accountID", TAG_BYTES, false, &ret->account, err);
	if (rc == 0)
		rc = token_json_text(root, "apiToken", API_TOKEN_BYTES, false, &api_token, err);
	if (rc == 0)
		rc = token_json_text(root, "endpoint", ENDPOINT_BYTES, false, &ret->endpoint, err);
	if (rc == 0)
		rc = token_json_place(root, &place_names_lower, &ret->place, err);
	if (rc == 0 && (!ret->zone || !api_token))
		rc = err_set(err, E_PARSE, "missing token in the certificate");
	if (rc == 0) {
		secret_set(&ret->api_token, bytes_str(api_token));
		if (!ret->account)
			ret->account = mem_strdup("");
		for (char *c = ret->endpoint; c && *c; c++)
			*c = (char)bytes_lower((uint8_t)*c);
	}
	if (api_token)
		secret_wipe(api_token, strlen(api_token));
	mem_free(api_token);
	return rc;
}

static int decode_token(struct bytes base64, struct login *ret, struct err *err)
{
	size_t size = base64.len / 4 * 3 + 3, len = 0;
	uint8_t *json = mem_alloc(size);
	int rc;

	if (!base64_decode(BASE64_STD, base64, json, &len)) {
		rc = err_set(err, E_PARSE, "missing token in the certificate: not base64");
	} else {
		json_t *root = token_json_parse(bytes_of(json, len), err);
		rc = root ? decode_json(root, ret, err)
			  : err_wrap(err, "missing token in the certificate");
		if (!root)
			rc = E_PARSE;
		token_json_free(root);
	}
	secret_wipe(json, size);
	mem_free(json);
	return rc;
}

static int decode_blocks(struct bytes pem, struct buf *body, struct login *ret, struct err *err)
{
	struct bytes label;
	bool is_found = false;
	int rc;

	while ((rc = next_block(&pem, &label, body, err)) > 0) {
		if (bytes_eq(label, BYTES_LIT("PRIVATE KEY")) ||
		    bytes_eq(label, BYTES_LIT("CERTIFICATE")))
			continue; /* files from before 2019 carry them; nobody needs them */
		if (!bytes_eq(label, BYTES_LIT(LABEL)))
			return err_set(err, E_PARSE,
				       "unknown block " BYTES_FMT " in the certificate",
				       BYTES_ARG(bytes_first(label, 64)));
		if (is_found)
			return err_set(err, E_PARSE, "found multiple tokens in the certificate");
		is_found = true;
		rc = decode_token(buf_bytes(body), ret, err);
		if (rc < 0)
			return rc;
	}
	if (rc == 0 && !is_found)
		return err_set(err, E_PARSE, "missing token in the certificate");
	return rc;
}

int login_decode(struct bytes pem, struct login *ret, struct err *err)
{
	struct buf body;

	*ret = (struct login){ 0 };
	if (pem.len == 0)
		return err_set(err, E_PARSE, "cannot decode empty certificate");
	if (pem.len > TOKEN_TEXT_BYTES)
		return err_set(err, E_LIMIT, "certificate longer than %d bytes", TOKEN_TEXT_BYTES);
	buf_init(&body, TOKEN_TEXT_BYTES);
	/* At once, so that growing leaves no copies. */
	int rc = buf_reserve(&body, pem.len);
	if (rc == 0)
		rc = decode_blocks(pem, &body, ret, err);
	secret_wipe(body.ptr, body.cap);
	buf_done(&body);
	if (rc < 0)
		login_done(ret);
	return rc;
}

/* --- Encoding -------------------------------------------------------------------------------- */

static int put_json(struct buf *out, const struct login *l)
{
	int rc = token_reserve(out, &l->place);

	if (rc == 0)
		rc = buf_append_str(out, "{");
	if (rc == 0)
		rc = token_put_text(out, "zoneID", bytes_str(l->zone));
	if (rc == 0)
		rc = token_put_text(out, "accountID", bytes_str(l->account));
	if (rc == 0)
		rc = token_put_text(out, "apiToken", bytes_of(l->api_token.ptr, l->api_token.len));
	if (rc == 0 && l->endpoint)
		rc = token_put_text(out, "endpoint", bytes_str(l->endpoint));
	if (rc == 0)
		rc = token_put_place(out, &place_names_lower, &l->place);
	return rc == 0 ? buf_append_str(out, "}") : rc;
}

static int put_pem(struct buf *out, struct bytes json)
{
	char *text = base64_text(BASE64_STD, json);
	struct bytes left = bytes_str(text);
	int rc = buf_append_str(out, "-----BEGIN " LABEL "-----\n");

	for (; left.len && rc == 0; left = bytes_from(left, PEM_COLUMNS))
		rc = buf_printf(out, BYTES_FMT "\n", BYTES_ARG(bytes_first(left, PEM_COLUMNS)));
	if (rc == 0)
		rc = buf_append_str(out, "-----END " LABEL "-----\n");
	secret_wipe(text, strlen(text));
	mem_free(text);
	return rc;
}

int login_encode(struct buf *out, const struct login *l)
{
	size_t start = out->len;
	struct buf json;

	buf_init(&json, TOKEN_TEXT_BYTES / 4 * 3);
	int rc = put_json(&json, l);
	if (rc == 0)
		rc = put_pem(out, buf_bytes(&json));
	secret_wipe(json.ptr, json.cap);
	buf_done(&json);
	if (rc < 0)
		out->len = start;
	return rc;
}

void login_done(struct login *l)
{
	mem_free(l->zone);
	mem_free(l->account);
	secret_done(&l->api_token);
	mem_free(l->endpoint);
	token_place_done(&l->place);
	*l = (struct login){ 0 };
}
