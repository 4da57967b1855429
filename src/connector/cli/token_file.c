#include "connector/cli/token_file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/secret.h"

/* One that is over before it has arrived is of no use. */
#define MARGIN (5 * USEC_PER_SEC)
#define PART_BYTES_MAX 255

json_t *token_claims(struct bytes token)
{
	struct bytes rest = token, part;
	uint8_t *raw;
	json_t *claims = NULL;
	size_t len;

	if (token.len > LIMIT_JWT_BYTES || !bytes_split(&rest, '.', &part) ||
	    !bytes_split(&rest, '.', &part) || rest.len == 0 || bytes_index(rest, '.') < rest.len)
		return NULL;
	raw = mem_alloc(part.len / 4 * 3 + 4);
	if (base64_decode(BASE64_URL_RAW, part, raw, &len))
		claims = json_loadb((const char *)raw, len, JSON_REJECT_DUPLICATES, NULL);
	mem_free(raw);
	if (json_is_object(claims))
		return claims;
	json_decref(claims);
	return NULL;
}

bool token_is_for(const json_t *claims, const char *audience)
{
	const json_t *aud = json_object_get(claims, "aud");
	const char *text = json_string_value(aud);

	if (text)
		return strcmp(text, audience) == 0;
	for (size_t i = 0; i < json_array_size(aud); i++) {
		text = json_string_value(json_array_get(aud, i));
		if (text && strcmp(text, audience) == 0)
			return true;
	}
	return false;
}

char *token_file_part(const char *text)
{
	char *part;

	if (!text[0] || strlen(text) > PART_BYTES_MAX)
		return NULL;
	for (const char *c = text; *c; c++)
		if ((uint8_t)*c <= ' ' || (uint8_t)*c >= 0x7f)
			return NULL;
	part = mem_strdup(text);
	for (char *c = part; *c; c++)
		if (*c == '/' || *c == '*' || *c == '\\')
			*c = '-';
	return part;
}

static bool is_usable(const char *token, const char *issuer, const char *audience, usec now)
{
	json_t *claims = token_claims(bytes_str(token));
	const char *iss = json_string_value(json_object_get(claims, "iss"));
	json_int_t exp = json_integer_value(json_object_get(claims, "exp"));
	bool is_good = iss && strcmp(iss, issuer) == 0 && exp > 0 &&
		       exp < INT64_MAX / USEC_PER_SEC && exp * USEC_PER_SEC > now + MARGIN &&
		       (!audience || token_is_for(claims, audience));

	json_decref(claims);
	return is_good;
}

char *token_file_read(const char *path, const char *issuer, const char *audience, usec now)
{
	FILE *file = fopen(path, "rbe");
	char *text;
	size_t len;

	if (!file)
		return NULL;
	text = mem_alloc(LIMIT_JWT_BYTES + 1);
	len = fread(text, 1, LIMIT_JWT_BYTES, file);
	(void)fclose(file);
	while (len && (uint8_t)text[len - 1] <= ' ')
		len--;
	text[len] = 0;
	if (strlen(text) == len && is_usable(text, issuer, audience, now))
		return text;
	secret_wipe(text, len);
	mem_free(text);
	(void)unlink(path);
	return NULL;
}
