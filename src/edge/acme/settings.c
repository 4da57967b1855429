#include "edge/acme/settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/files.h"

/* An id and a key; those of today have less than 200. */
#define BINDING_FILE_BYTES 4096
#define URL_BYTES 1024

static const struct {
	const char *name, *url;
} directories[] = {
	{ "letsencrypt", "https://acme-v02.api.letsencrypt.org/directory" },
	{ "letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory" },
	{ "zerossl", "https://acme.zerossl.com/v2/DV90" },
	{ "google", "https://dv.acme-v02.api.pki.goog/directory" },
	{ "google-staging", "https://dv.acme-v02.test-api.pki.goog/directory" },
};

char *acme_directory_url(const char *text, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(directories); i++)
		if (strcmp(directories[i].name, text) == 0)
			return mem_strdup(directories[i].url);
	if (strncmp(text, "https://", 8) == 0 && strlen(text) < URL_BYTES && text[8])
		return mem_strdup(text);
	err_set(err, E_INVALID,
		"'%.100s' is neither an https:// URL nor one of letsencrypt, letsencrypt-staging, "
		"zerossl, google, google-staging",
		text);
	return NULL;
}

const char *acme_directory_name(const char *url)
{
	for (size_t i = 0; i < ARRAY_LEN(directories); i++)
		if (strcmp(directories[i].url, url) == 0)
			return directories[i].name;
	return url;
}

bool acme_challenges_parse(const char *text, enum acme_challenges *ret)
{
	static const char *const names[] = {
		[ACME_CHALLENGE_AUTO] = "auto",
		[ACME_ONLY_DNS_01] = "dns-01",
		[ACME_ONLY_TLS_ALPN_01] = "tls-alpn-01",
		[ACME_ONLY_HTTP_01] = "http-01",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i], text) == 0) {
			*ret = (enum acme_challenges)i;
			return true;
		}
	}
	return false;
}

/* --- The external account --------------------------------------------------------------------- */

static char *path_of(const char *text, struct err *err)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY"), *name = text + 11;

	if (strncmp(text, "credential:", 11) != 0)
		return mem_strdup(text);
	if (!folder || !*name || strchr(name, '/')) {
		err_set(err, E_INVALID,
			"acme-eab: %s: the service manager gives no such credential (LoadCredential=)",
			text);
		return NULL;
	}
	return mem_printf("%s/%s", folder, name);
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Empty at the end. */
static struct bytes next_word(struct bytes *rest)
{
	size_t len = 0;

	while (rest->len && is_blank(rest->ptr[0]))
		*rest = bytes_from(*rest, 1);
	while (len < rest->len && !is_blank(rest->ptr[len]))
		len++;
	struct bytes word = bytes_first(*rest, len);
	*rest = bytes_from(*rest, len);
	return word;
}

int acme_binding_load(const char *path, char **ret_id, struct secret *ret_key, struct err *err)
{
	char text[BINDING_FILE_BYTES], *file = path_of(path, err);
	size_t len = 0;

	if (!file)
		return E_INVALID;
	int r = file_load(file, text, sizeof(text), &len, err);
	struct bytes rest = bytes_of(text, len);
	struct bytes id = next_word(&rest), key = next_word(&rest);
	if (r == 0 && (key.len == 0 || next_word(&rest).len))
		r = err_set(err, E_INVALID,
			    "%s: two words expected: the id of the key and the key itself", file);
	if (r == 0) {
		*ret_id = mem_strndup(id);
		secret_set(ret_key, key);
	} else {
		err_wrap(err, "acme-eab");
	}
	secret_wipe(text, sizeof(text));
	mem_free(file);
	return r;
}
