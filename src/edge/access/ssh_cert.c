#include "edge/access/ssh_cert.h"

#include <string.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/random.h"
#include "tls/private_key.h"

#define ECDSA_KIND "ecdsa-sha2-nistp256"
#define ECDSA_CERT_KIND "ecdsa-sha2-nistp256-cert-v01@openssh.com"
#define ED25519_KIND "ssh-ed25519"
#define ED25519_CERT_KIND "ssh-ed25519-cert-v01@openssh.com"
#define CURVE "nistp256"
#define ED25519_BYTES 32
#define USER_CERTIFICATE 1
#define NONCE_BYTES 32
/* A certificate has some 700 bytes; names are bounded by what an e-mail address is. */
#define BLOB_BYTES_MAX 8192

/* --- Writing (RFC 4251 §5) ----------------------------------------------------------------------- */

static int put_u32(struct buf *b, uint32_t value)
{
	uint8_t raw[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
			   (uint8_t)value };

	return buf_append(b, bytes_of(raw, sizeof(raw)));
}

static int put_u64(struct buf *b, uint64_t value)
{
	int r = put_u32(b, (uint32_t)(value >> 32));

	return r < 0 ? r : put_u32(b, (uint32_t)value);
}

static int put_string(struct buf *b, struct bytes text)
{
	int r = put_u32(b, (uint32_t)text.len);

	return r < 0 ? r : buf_append(b, text);
}

static int put_text(struct buf *b, const char *text)
{
	return put_string(b, bytes_str(text));
}

/* A positive number: a zero in front where the first bit would make it negative. */
static int put_mpint(struct buf *b, const uint8_t number[PRIVATE_KEY_P256_BYTES])
{
	static const uint8_t zero;
	struct bytes digits = bytes_of(number, PRIVATE_KEY_P256_BYTES);
	bool needs_zero;
	int r;

	while (digits.len && digits.ptr[0] == 0)
		digits = bytes_from(digits, 1);
	needs_zero = digits.len && (digits.ptr[0] & 0x80);
	r = put_u32(b, (uint32_t)(digits.len + needs_zero));
	if (needs_zero)
		r |= buf_append(b, bytes_of(&zero, 1));
	return r | buf_append(b, digits);
}

static int put_authority(struct buf *b, const struct private_key *ca)
{
	uint8_t point[PRIVATE_KEY_POINT_BYTES];

	private_key_point(ca, point);
	return put_text(b, ECDSA_KIND) | put_text(b, CURVE) |
	       put_string(b, bytes_of(point, sizeof(point)));
}

char *ssh_authority_line(const struct private_key *ca, const char *comment)
{
	struct buf blob;
	char *encoded, *line;
	int r;

	buf_init(&blob, BLOB_BYTES_MAX);
	r = put_authority(&blob, ca);
	BUG_IF(r < 0);
	encoded = base64_text(BASE64_STD, buf_bytes(&blob));
	line = mem_printf(ECDSA_KIND " %s %s", encoded, comment);
	mem_free(encoded);
	buf_done(&blob);
	return line;
}

/* --- Reading a public key ------------------------------------------------------------------------- */

struct user_key {
	bool is_ed25519;
	uint8_t raw[SSH_KEY_LINE_BYTES];
	struct bytes point; /* within raw */
};

static bool take_string(struct bytes *rest, struct bytes *ret)
{
	uint32_t len;

	if (rest->len < 4)
		return false;
	len = (uint32_t)rest->ptr[0] << 24 | (uint32_t)rest->ptr[1] << 16 |
	      (uint32_t)rest->ptr[2] << 8 | rest->ptr[3];
	if (len > rest->len - 4)
		return false;
	*ret = bytes_of(rest->ptr + 4, len);
	*rest = bytes_of(rest->ptr + 4 + len, rest->len - 4 - len);
	return true;
}

static bool take_is(struct bytes *rest, const char *wanted)
{
	struct bytes text;

	return take_string(rest, &text) && bytes_eq(text, bytes_str(wanted));
}

static bool parse_key(const char *line, struct user_key *ret)
{
	struct bytes rest = bytes_str(line), kind, encoded, blob;
	size_t len;

	if (rest.len > SSH_KEY_LINE_BYTES || !bytes_split(&rest, ' ', &kind) ||
	    !bytes_split(&rest, ' ', &encoded))
		return false;
	while (encoded.len && encoded.ptr[encoded.len - 1] == '\n')
		encoded.len--;
	if (!base64_decode(BASE64_STD, encoded, ret->raw, &len))
		return false;
	blob = bytes_of(ret->raw, len);
	ret->is_ed25519 = bytes_eq(kind, BYTES_LIT(ED25519_KIND));
	if (ret->is_ed25519)
		return take_is(&blob, ED25519_KIND) && take_string(&blob, &ret->point) &&
		       ret->point.len == ED25519_BYTES && blob.len == 0;
	return bytes_eq(kind, BYTES_LIT(ECDSA_KIND)) && take_is(&blob, ECDSA_KIND) &&
	       take_is(&blob, CURVE) && take_string(&blob, &ret->point) &&
	       ret->point.len == PRIVATE_KEY_POINT_BYTES && ret->point.ptr[0] == 4 && blob.len == 0;
}

/* --- Certificates ---------------------------------------------------------------------------------- */

/* What a user may do on a terminal; in the order that is prescribed. */
static int put_extensions(struct buf *b)
{
	static const char *const names[] = { "permit-X11-forwarding", "permit-agent-forwarding",
					     "permit-port-forwarding", "permit-pty",
					     "permit-user-rc" };
	struct buf list;
	int r = 0;

	buf_init(&list, BLOB_BYTES_MAX);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		r |= put_text(&list, names[i]) | put_text(&list, "");
	r |= put_string(b, buf_bytes(&list));
	buf_done(&list);
	return r;
}

static int put_principals(struct buf *b, const char *principal)
{
	int r = put_u32(b, (uint32_t)(4 + strlen(principal)));

	return r | put_text(b, principal);
}

static int put_signed_part(struct buf *b, const struct private_key *ca, const struct user_key *key,
			   const struct ssh_certificate *c)
{
	uint8_t nonce[NONCE_BYTES];
	struct buf authority;
	int r;

	random_bytes(nonce, sizeof(nonce));
	r = put_text(b, key->is_ed25519 ? ED25519_CERT_KIND : ECDSA_CERT_KIND);
	r |= put_string(b, bytes_of(nonce, sizeof(nonce)));
	if (!key->is_ed25519)
		r |= put_text(b, CURVE);
	r |= put_string(b, key->point);
	r |= put_u64(b, c->serial);
	r |= put_u32(b, USER_CERTIFICATE);
	r |= put_text(b, c->key_id);
	r |= put_principals(b, c->principal);
	r |= put_u64(b, (uint64_t)(c->valid_after / USEC_PER_SEC));
	r |= put_u64(b, (uint64_t)(c->valid_before / USEC_PER_SEC));
	r |= put_text(b, ""); /* critical options */
	r |= put_extensions(b);
	r |= put_text(b, ""); /* reserved */
	buf_init(&authority, BLOB_BYTES_MAX);
	r |= put_authority(&authority, ca);
	r |= put_string(b, buf_bytes(&authority));
	buf_done(&authority);
	return r < 0 ? E_LIMIT : 0;
}

static int put_signature(struct buf *b, const struct private_key *ca, struct err *err)
{
	uint8_t both[PRIVATE_KEY_SIGNATURE_BYTES];
	struct buf numbers, signature;
	size_t len = 0;
	int r = private_key_sign(ca, buf_bytes(b), both, &len, err);

	if (r < 0)
		return r;
	buf_init(&numbers, BLOB_BYTES_MAX);
	buf_init(&signature, BLOB_BYTES_MAX);
	r = put_mpint(&numbers, both) | put_mpint(&numbers, both + PRIVATE_KEY_P256_BYTES);
	r |= put_text(&signature, ECDSA_KIND) | put_string(&signature, buf_bytes(&numbers));
	r |= put_string(b, buf_bytes(&signature));
	buf_done(&numbers);
	buf_done(&signature);
	return r < 0 ? E_LIMIT : 0;
}

char *ssh_certificate_sign(const struct private_key *ca, const struct ssh_certificate *c,
			   struct err *err)
{
	char *encoded, *line = NULL;
	struct user_key key;
	struct buf blob;
	int r;

	if (!parse_key(c->public_key, &key)) {
		err_set(err, E_PARSE,
			"that is no public key of the kinds " ECDSA_KIND " and " ED25519_KIND);
		return NULL;
	}
	/* Without one it would be good for every user. */
	if (!c->principal || !c->principal[0]) {
		err_set(err, E_INVALID, "a certificate needs a user to be for");
		return NULL;
	}
	buf_init(&blob, BLOB_BYTES_MAX);
	r = put_signed_part(&blob, ca, &key, c);
	if (r == 0)
		r = put_signature(&blob, ca, err);
	else
		err_set(err, r, "the certificate is too long");
	if (r == 0) {
		encoded = base64_text(BASE64_STD, buf_bytes(&blob));
		line = mem_printf("%s %s %s", key.is_ed25519 ? ED25519_CERT_KIND : ECDSA_CERT_KIND,
				  encoded, c->key_id);
		mem_free(encoded);
	}
	buf_done(&blob);
	return line;
}

char *ssh_principal(const char *email)
{
	size_t len = strcspn(email, "@"), kept = 0;
	char *name = mem_strndup(bytes_of(email, len));

	for (size_t i = 0; i < len; i++) {
		char c = (char)bytes_lower((uint8_t)name[i]);

		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
		    (c == '-' && kept))
			name[kept++] = c;
	}
	name[kept] = 0;
	return kept ? name : mem_free(name);
}
