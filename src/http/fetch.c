#include "http/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/curl_library.h"
#include "io/resolve.h"

/* One API call must not hang a command or the control thread for longer; the stock client's number. */
#define FETCH_TIMEOUT (15 * USEC_PER_SEC)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void library_init(void)
{
	global_result =
		curl_library_load() ? curl_global_init(CURL_GLOBAL_DEFAULT) : CURLE_FAILED_INIT;
}

/* What one request needs while it runs. */
struct transfer {
	CURL *easy;
	struct curl_slist *headers;
	FILE *roots; /* a file in memory: system roots and the caller's; NULL: the library's default */
	struct buf body, head;
	bool is_body_over, is_head_over;
	char reason[CURL_ERROR_SIZE];
};

static void transfer_done(struct transfer *t)
{
	curl_easy_cleanup(t->easy);
	curl_slist_free_all(t->headers);
	if (t->roots)
		(void)fclose(t->roots);
	buf_done(&t->body);
	buf_done(&t->head);
}

static size_t on_body(char *ptr, size_t size, size_t count, void *user)
{
	struct transfer *t = user;

	if (buf_append(&t->body, bytes_of(ptr, size * count)) < 0) {
		t->is_body_over = true;
		return 0;
	}
	return size * count;
}

/* Line by line, those of 1xx answers too: a status line begins anew. */
static size_t on_head(char *ptr, size_t size, size_t count, void *user)
{
	struct transfer *t = user;
	struct bytes line = bytes_of(ptr, size * count);

	if (bytes_starts_with(line, BYTES_LIT("HTTP/")))
		buf_clear(&t->head);
	if (buf_append(&t->head, line) < 0) {
		t->is_head_over = true;
		return 0;
	}
	return line.len;
}

/* ------------------------------------------------------------------------------------------ */

static int copy_file(FILE *to, const char *path, struct err *err)
{
	/* A plain file read by a thread that may block. */
	FILE *from = fopen(path, "rbe");
	char chunk[8192];
	size_t total = 0, got;

	if (!from)
		return err_set_errno(err, E_INVALID, errno, "cannot read the certificates in %s",
				     path);
	while ((got = fread(chunk, 1, sizeof(chunk), from)) > 0) {
		total += got;
		if (total > LIMIT_ROOTS_BYTES || fwrite(chunk, 1, got, to) != got)
			break;
	}
	bool is_bad = ferror(from) || got > 0;
	(void)fclose(from);
	if (is_bad)
		return err_set(err, E_INVALID, "cannot read the certificates in %s", path);
	(void)fputc('\n', to);
	return 0;
}

static const char *env_or_null(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* The library takes one file of roots: what the caller adds goes behind the system's in memory. */
static int set_roots(struct transfer *t, const struct fetch_request *req, struct err *err)
{
	const char *bundle = curl_system_roots();
	const char *folder = env_or_null("SSL_CERT_DIR");
	char name[64];
	int r = 0;

	if (folder || bundle)
		curl_easy_setopt(t->easy, CURLOPT_CAPATH, folder);
	if (!req->ca_file && req->ca_pem.len == 0) {
		if (bundle)
			curl_easy_setopt(t->easy, CURLOPT_CAINFO, bundle);
		return 0;
	}
	int fd = memfd_create("roots", MFD_CLOEXEC);
	t->roots = fd >= 0 ? fdopen(fd, "w+b") : NULL;
	if (!t->roots)
		return err_set_errno(err, E_IO, errno, "cannot hold the certificates in memory");
	if (bundle)
		r = copy_file(t->roots, bundle, err);
	if (r == 0 && req->ca_file)
		r = copy_file(t->roots, req->ca_file, err);
	if (r < 0)
		return r;
	if (req->ca_pem.len)
		(void)fwrite(req->ca_pem.ptr, 1, req->ca_pem.len, t->roots);
	if (fflush(t->roots) != 0 || ferror(t->roots))
		return err_set_errno(err, E_IO, errno, "cannot hold the certificates in memory");
	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fileno(t->roots));
	curl_easy_setopt(t->easy, CURLOPT_CAINFO, name);
	return 0;
}

static int header_add(struct transfer *t, const char *line, struct err *err)
{
	struct curl_slist *longer = curl_slist_append(t->headers, line);

	if (!longer)
		return err_set(err, E_LIMIT, "out of memory");
	t->headers = longer;
	return 0;
}

static int set_headers(struct transfer *t, const struct fetch_request *req, struct err *err)
{
	bool has_type = false;
	int r = 0;

	for (size_t i = 0; r == 0 && i < req->header_count; i++) {
		const char *name = req->headers[i].name, *value = req->headers[i].value;

		if (!*name || strpbrk(name, ":; \t\r\n") || strpbrk(value, "\r\n"))
			return err_set(err, E_INVALID, "the header %.60s cannot be sent", name);
		has_type |= strcasecmp(name, "Content-Type") == 0;
		/* The semicolon is how the library is told of a header without a value. */
		char *line = mem_printf(*value ? "%s: %s" : "%s;", name, value);
		r = header_add(t, line, err);
		mem_free(line);
	}
	/* Without these the library would invent a type and wait for a 100. */
	if (r == 0 && !has_type)
		r = header_add(t, "Content-Type:", err);
	if (r == 0)
		r = header_add(t, "Expect:", err);
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
	return r;
}

static long msec(usec value)
{
	usec ms = (value > 0 ? value : FETCH_TIMEOUT) / USEC_PER_MSEC;

	if (ms < 1)
		ms = 1;
	return ms > 3600000 ? 3600000 : (long)ms;
}

static int transfer_init(struct transfer *t, const struct fetch_request *req, struct err *err)
{
	pthread_once(&once, library_init);
	t->easy = global_result == CURLE_OK ? curl_easy_init() : NULL;
	buf_init(&t->body, req->body_max ? req->body_max : LIMIT_API_BODY_BYTES);
	buf_init(&t->head, LIMIT_FETCH_HEAD_BYTES);
	if (!t->easy)
		return err_set(err, E_INTERNAL,
			       "libcurl (libcurl3-gnutls) is missing or cannot start");

	const char *method = req->method ? req->method : "GET";
	CURL *c = t->easy;
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->reason);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	if (curl_easy_setopt(c, CURLOPT_URL, req->url) != CURLE_OK)
		return err_set(err, E_INVALID, "%.200s is not a URL", req->url);
	if (!req->use_proxy)
		curl_easy_setopt(c, CURLOPT_PROXY, "");
	if (req->unix_path)
		curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, req->unix_path);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, msec(req->timeout));
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, msec(req->connect_timeout));
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_head);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	if (req->body.ptr) {
		curl_easy_setopt(c, CURLOPT_POST, 1L);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, (const char *)req->body.ptr);
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body.len);
	}
	if (strcmp(method, "HEAD") == 0)
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	int r = set_headers(t, req, err);
	return r == 0 ? set_roots(t, req, err) : r;
}

/* ------------------------------------------------------------------------------------------ */

static int code_of(CURLcode result, int sys_errno)
{
	switch (result) {
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return E_INVALID;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return E_NOT_FOUND;
	case CURLE_COULDNT_CONNECT:
		return sys_errno == ECONNREFUSED || sys_errno == ENOENT ? E_REFUSED : E_IO;
	case CURLE_OPERATION_TIMEDOUT:
		return E_TIMEOUT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return E_TLS;
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
		return E_CLOSED;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
	case CURLE_BAD_CONTENT_ENCODING:
		return E_PROTOCOL;
	default:
		return E_IO;
	}
}

/* "https://host:port" of the URL: enough to name the peer, and no query with secrets. */
static struct bytes origin_of(const char *url)
{
	struct bytes b = bytes_str(url);
	const char *slashes = strstr(url, "://");
	size_t start = slashes ? (size_t)(slashes - url) + 3 : 0;

	while (start < b.len && !strchr("/?#", b.ptr[start]))
		start++;
	b = bytes_first(b, start);
	/* user:password@ stays out of messages. */
	size_t at = bytes_index(b, '@');
	return at < b.len ? bytes_from(b, at + 1) : b;
}

static int transfer_error(struct transfer *t, const struct fetch_request *req, CURLcode result,
			  struct err *err)
{
	struct bytes origin = origin_of(req->url);
	const char *reason = t->reason[0] ? t->reason : curl_easy_strerror(result);
	long sys_errno = 0;

	if (t->is_body_over)
		return err_set(err, E_LIMIT, "the answer of " BYTES_FMT " is larger than %zu bytes",
			       BYTES_ARG(origin), t->body.max);
	if (t->is_head_over)
		return err_set(err, E_LIMIT,
			       "the head of the answer of " BYTES_FMT " is larger than %zu bytes",
			       BYTES_ARG(origin), t->head.max);
	curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &sys_errno);
	int code = code_of(result, (int)sys_errno);
	if (req->unix_path)
		err_set(err, code, "%s: %s", req->unix_path, reason);
	else
		err_set(err, code, BYTES_FMT ": %s", BYTES_ARG(origin), reason);
	if (code == E_NOT_FOUND)
		resolve_explain(err);
	if (err && (code == E_REFUSED || code == E_IO))
		err->sys_errno = (int)sys_errno;
	return code;
}

int fetch(const struct fetch_request *req, struct fetch_response *ret, struct err *err)
{
	struct transfer t = { 0 };
	int r = transfer_init(&t, req, err);

	if (r == 0) {
		CURLcode result = curl_easy_perform(t.easy);
		if (result != CURLE_OK) {
			r = transfer_error(&t, req, result, err);
		} else {
			long status = 0;
			const char *type = NULL;
			curl_easy_getinfo(t.easy, CURLINFO_RESPONSE_CODE, &status);
			curl_easy_getinfo(t.easy, CURLINFO_CONTENT_TYPE, &type);
			ret->status = (int)status;
			ret->content_type = mem_strdup(type ? type : "");
			ret->body = t.body;
			ret->head = t.head;
			buf_init(&t.body, 1);
			buf_init(&t.head, 1);
		}
	}
	transfer_done(&t);
	return r;
}

void fetch_response_done(struct fetch_response *res)
{
	res->content_type = mem_free(res->content_type);
	buf_done(&res->body);
	buf_done(&res->head);
}

struct bytes fetch_response_header(const struct fetch_response *res, const char *name)
{
	struct bytes rest = buf_bytes(&res->head), line;

	while (bytes_split(&rest, '\n', &line)) {
		size_t colon = bytes_index(line, ':');
		if (bytes_ends_with(line, BYTES_LIT("\r")))
			line.len--;
		if (colon < line.len && bytes_eq_nocase(bytes_first(line, colon), bytes_str(name)))
			return bytes_trim(bytes_from(line, colon + 1));
	}
	return BYTES_NONE;
}

int fetch_escape(struct buf *out, struct bytes text)
{
	static const char unreserved[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	int r = 0;

	for (size_t i = 0; r == 0 && i < text.len; i++) {
		uint8_t c = text.ptr[i];
		if (c && strchr(unreserved, c))
			r = buf_append(out, bytes_of(&c, 1));
		else
			r = buf_printf(out, "%%%02X", c);
	}
	return r;
}
