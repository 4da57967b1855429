#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *explain_denied;

void err_explain_denied(const char *text)
{
	explain_denied = text;
}

#ifdef __GLIBC__

static const char *errno_text(int sys_errno, char *room, size_t size)
{
	return strerror_r(sys_errno, room, size);
}

static const char *errno_name(int sys_errno)
{
	return strerrorname_np(sys_errno);
}

#else

static const char *errno_text(int sys_errno, char *room, size_t size)
{
	return strerror_r(sys_errno, room, size) == 0 ? room : "unknown error";
}

/* What connections and files fail with; musl has no names. */
static const char *errno_name(int sys_errno)
{
#define NAME(code) \
	case code: \
		return #code
	switch (sys_errno) {
		NAME(EACCES);
		NAME(EADDRINUSE);
		NAME(EADDRNOTAVAIL);
		NAME(EAFNOSUPPORT);
		NAME(EAGAIN);
		NAME(ECONNABORTED);
		NAME(ECONNREFUSED);
		NAME(ECONNRESET);
		NAME(EHOSTUNREACH);
		NAME(EINVAL);
		NAME(EIO);
		NAME(EMFILE);
		NAME(EMSGSIZE);
		NAME(ENETDOWN);
		NAME(ENETUNREACH);
		NAME(ENFILE);
		NAME(ENOBUFS);
		NAME(ENOENT);
		NAME(ENOMEM);
		NAME(ENOSPC);
		NAME(ENOTCONN);
		NAME(EPERM);
		NAME(EPIPE);
		NAME(EPROTO);
		NAME(ETIMEDOUT);
	default:
		return NULL;
	}
#undef NAME
}

#endif

static void append_text(struct err *err, const char *text)
{
	size_t used = strlen(err->text);

	snprintf(err->text + used, sizeof(err->text) - used, "%s", text);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return code;
	err->code = code;
	err->sys_errno = 0;
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

int err_set_errno(struct err *err, int code, int sys_errno, const char *fmt, ...)
{
	va_list args;
	char reason[128];

	if (!err)
		return code;
	err->code = code;
	err->sys_errno = sys_errno;
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	append_text(err, ": ");
	append_text(err, errno_text(sys_errno, reason, sizeof(reason)));
	if (sys_errno == EACCES && explain_denied)
		append_text(err, explain_denied);
	return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	char inner[sizeof(err->text)];
	va_list args;

	if (!err)
		return E_INTERNAL;
	memcpy(inner, err->text, sizeof(inner));
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	append_text(err, ": ");
	append_text(err, inner);
	return err->code;
}

const char *err_name(int code)
{
	static const char *const names[] = {
		"ok",      "again",    "closed",    "io",          "parse",   "limit",
		"timeout", "refused",  "not found", "exists",      "invalid", "denied",
		"tls",     "protocol", "cancelled", "unsupported", "busy",    "internal",
	};
	size_t index = code <= 0 ? (size_t)-code : 0;

	return index < ARRAY_LEN(names) ? names[index] : "unknown";
}

const char *err_errno_name(int sys_errno)
{
	const char *name = sys_errno ? errno_name(sys_errno) : NULL;

	return name ? name : "";
}
