/* libcurl, loaded when the first request is made.
 *
 * `adit tunnel run` and a busy edge rarely make outbound requests, and libcurl brings some twenty
 * libraries along (ssh, ldap, Kerberos, a second TLS library): 5 MB of memory and several milliseconds at every
 * start. So these few entry points are found at run time instead; everybody else sees curl/curl.h.
 */
#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "http/curl_library.h"

#undef curl_easy_setopt
#undef curl_easy_getinfo

#ifdef ADIT_LINKED_CURL

/* A static program has the library in it. */
bool curl_library_load(void)
{
	return true;
}

#else

static struct {
	CURLcode (*global_init)(long flags);
	CURL *(*easy_init)(void);
	void (*easy_cleanup)(CURL *easy);
	CURLcode (*easy_perform)(CURL *easy);
	CURLcode (*easy_setopt)(CURL *easy, CURLoption option, ...);
	CURLcode (*easy_getinfo)(CURL *easy, CURLINFO info, ...);
	const char *(*easy_strerror)(CURLcode code);
	struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
	void (*slist_free_all)(struct curl_slist *list);
	curl_version_info_data *(*version_info)(CURLversion version);
} lib;

static const struct {
	const char *name;
	void *slot;
} entries[] = {
	{ "curl_global_init", &lib.global_init },       { "curl_easy_init", &lib.easy_init },
	{ "curl_easy_cleanup", &lib.easy_cleanup },     { "curl_easy_perform", &lib.easy_perform },
	{ "curl_easy_setopt", &lib.easy_setopt },       { "curl_easy_getinfo", &lib.easy_getinfo },
	{ "curl_easy_strerror", &lib.easy_strerror },   { "curl_slist_append", &lib.slist_append },
	{ "curl_slist_free_all", &lib.slist_free_all }, { "curl_version_info", &lib.version_info },
};

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static bool is_loaded;

static void load(void)
{
	void *handle = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		handle = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return;
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		void *symbol = dlsym(handle, entries[i].name);
		if (!symbol)
			return;
		*(void **)entries[i].slot = symbol;
	}
	is_loaded = true;
}

bool curl_library_load(void)
{
	pthread_once(&load_once, load);
	return is_loaded;
}

#endif

/* One file; the library's default, a folder of some 150 files, is slower. */
const char *curl_system_roots(void)
{
	const char *bundle = getenv("SSL_CERT_FILE");

	if (!bundle || !*bundle)
		bundle = curl_version_info(CURLVERSION_NOW)->cainfo;
	if (!bundle)
		bundle = "/etc/ssl/certs/ca-certificates.crt";
	return access(bundle, R_OK) == 0 ? bundle : NULL;
}

#ifndef ADIT_LINKED_CURL
/* --- The entry points ------------------------------------------------------------------------ */

CURLcode curl_global_init(long flags)
{
	return lib.global_init(flags);
}

CURL *curl_easy_init(void)
{
	return lib.easy_init();
}

void curl_easy_cleanup(CURL *easy)
{
	if (easy)
		lib.easy_cleanup(easy);
}

CURLcode curl_easy_perform(CURL *easy)
{
	return lib.easy_perform(easy);
}

/* Options take a long, a pointer or a curl_off_t: one register each, but for the last on 32-bit machines. */
_Static_assert(sizeof(long) == sizeof(void *), "a pointer is not as wide as a long");

CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
	CURLcode code;
	va_list args;

	va_start(args, option);
	if (option / 10000 * 10000 == CURLOPTTYPE_OFF_T)
		code = lib.easy_setopt(easy, option, va_arg(args, curl_off_t));
	else
		code = lib.easy_setopt(easy, option, va_arg(args, void *));
	va_end(args);
	return code;
}

CURLcode curl_easy_getinfo(CURL *easy, CURLINFO info, ...)
{
	va_list args;

	va_start(args, info);
	void *value = va_arg(args, void *);
	va_end(args);
	return lib.easy_getinfo(easy, info, value);
}

const char *curl_easy_strerror(CURLcode code)
{
	return lib.easy_strerror(code);
}

struct curl_slist *curl_slist_append(struct curl_slist *list, const char *text)
{
	return lib.slist_append(list, text);
}

void curl_slist_free_all(struct curl_slist *list)
{
	if (list)
		lib.slist_free_all(list);
}

curl_version_info_data *curl_version_info(CURLversion version)
{
	return lib.version_info(version);
}

#endif
