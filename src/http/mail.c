#include "http/mail.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/random.h"
#include "http/curl_library.h"
#include "io/resolve.h"

#define MAIL_BYTES_MAX (64 * 1024)
#define ADDRESS_BYTES_MAX 254

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void library_init(void)
{
	global_result =
		curl_library_load() ? curl_global_init(CURL_GLOBAL_DEFAULT) : CURLE_FAILED_INIT;
}

/* --- The message -------------------------------------------------------------------------------- */

static bool is_line(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	return true;
}

/* What could end an address early, or begin another. */
static bool is_address(const char *text)
{
	return *text && strlen(text) <= ADDRESS_BYTES_MAX && is_line(text) &&
	       !strpbrk(text, "<>,; ") && strchr(text, '@');
}

/* A header's text outside ASCII goes as an encoded word (RFC 2047). */
static int append_words(struct buf *b, const char *text)
{
	char *encoded;
	int r;

	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c < 0x80)
			continue;
		encoded = base64_text(BASE64_STD, bytes_str(text));
		r = buf_printf(b, "=?utf-8?b?%s?=", encoded);
		mem_free(encoded);
		return r;
	}
	return buf_append_str(b, text);
}

static int append_date(struct buf *b)
{
	time_t now = (time_t)(clock_wall_now() / USEC_PER_SEC);
	char text[48];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S +0000", &tm);
	return buf_printf(b, "Date: %s\r\n", text);
}

static int append_id(struct buf *b, const char *from)
{
	uint8_t raw[16];
	char *text;
	int r;

	random_bytes(raw, sizeof(raw));
	text = hex_text(bytes_of(raw, sizeof(raw)));
	r = buf_printf(b, "Message-ID: <%s%s>\r\n", text, strrchr(from, '@'));
	mem_free(text);
	return r;
}

static int append_text(struct buf *b, const char *text)
{
	struct bytes rest = bytes_str(text), line;
	int r = 0;

	while (bytes_split(&rest, '\n', &line))
		r |= buf_printf(b, BYTES_FMT "\r\n", BYTES_ARG(line));
	return r;
}

static int print_mail(struct buf *b, const struct mail *m)
{
	int r = append_date(b);

	r |= append_id(b, m->from);
	r |= buf_append_str(b, "From: ");
	if (m->from_name && m->from_name[0]) {
		r |= append_words(b, m->from_name);
		r |= buf_append_str(b, " ");
	}
	r |= buf_printf(b, "<%s>\r\nTo: <%s>\r\nSubject: ", m->from, m->to);
	r |= append_words(b, m->subject);
	r |= buf_append_str(
		b, "\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
		   "Content-Transfer-Encoding: 8bit\r\nAuto-Submitted: auto-generated\r\n\r\n");
	r |= append_text(b, m->text);
	return r < 0 ? E_LIMIT : 0;
}

/* --- Sending ------------------------------------------------------------------------------------- */

static size_t on_read(char *to, size_t size, size_t count, void *user)
{
	struct bytes *left = user;
	struct bytes part = bytes_first(*left, size * count);

	if (part.len)
		memcpy(to, part.ptr, part.len);
	*left = bytes_from(*left, part.len);
	return part.len;
}

static int code_of(CURLcode rc)
{
	switch (rc) {
	case CURLE_COULDNT_RESOLVE_HOST:
		return E_NOT_FOUND;
	case CURLE_COULDNT_CONNECT:
		return E_REFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return E_TIMEOUT;
	case CURLE_USE_SSL_FAILED:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		return E_TLS;
	case CURLE_LOGIN_DENIED:
		return E_DENIED;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return E_INVALID;
	default:
		return E_PROTOCOL;
	}
}

static void set_server(CURL *easy, const struct mail_server *s)
{
	const char *roots = s->ca_file ? s->ca_file : curl_system_roots();

	curl_easy_setopt(easy, CURLOPT_URL, s->url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(easy, CURLOPT_USE_SSL,
			 (long)(s->may_be_plain ? CURLUSESSL_TRY : CURLUSESSL_ALL));
	if (roots)
		curl_easy_setopt(easy, CURLOPT_CAINFO, roots);
	if (s->user) {
		curl_easy_setopt(easy, CURLOPT_USERNAME, s->user);
		curl_easy_setopt(easy, CURLOPT_PASSWORD, s->password ? s->password : "");
	}
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
}

static int perform(CURL *easy, const struct mail_server *server, const struct mail *m,
		   struct bytes *message, usec timeout, struct err *err)
{
	struct curl_slist *to = curl_slist_append(NULL, m->to);
	char reason[CURL_ERROR_SIZE] = "";
	CURLcode rc;

	set_server(easy, server);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, reason);
	curl_easy_setopt(easy, CURLOPT_MAIL_FROM, m->from);
	curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, to);
	curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(easy, CURLOPT_READDATA, message);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(timeout / USEC_PER_MSEC));
	rc = curl_easy_perform(easy);
	curl_slist_free_all(to);
	if (rc == CURLE_OK)
		return 0;
	int code = err_set(err, code_of(rc), "the mail server %s: %s", server->url,
			   reason[0] ? reason : curl_easy_strerror(rc));
	if (code == E_NOT_FOUND)
		resolve_explain(err);
	return code;
}

int mail_send(const struct mail_server *server, const struct mail *m, usec timeout, struct err *err)
{
	struct bytes message;
	struct buf text;
	CURL *easy;
	int r;

	if (!is_address(m->from) || !is_address(m->to))
		return err_set(err, E_INVALID, "that is no e-mail address");
	if (!is_line(m->subject) || (m->from_name && !is_line(m->from_name)))
		return err_set(err, E_INVALID, "a header of a mail is one line");
	pthread_once(&once, library_init);
	if (global_result != CURLE_OK)
		return err_set(err, E_UNSUPPORTED, "libcurl is missing");
	buf_init(&text, MAIL_BYTES_MAX);
	r = print_mail(&text, m);
	easy = r == 0 ? curl_easy_init() : NULL;
	if (!easy) {
		buf_done(&text);
		return err_set(err, E_LIMIT, "the mail is too long");
	}
	message = buf_bytes(&text);
	r = perform(easy, server, m, &message, timeout, err);
	curl_easy_cleanup(easy);
	buf_done(&text);
	return r;
}
