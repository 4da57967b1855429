/* What went wrong, for a program (code) and for a person (text).
 *
 * Functions that can fail return 0 or a positive result, or one of the negative codes below. What a
 * person, a file or a peer may cause also takes a last parameter `struct err *err`: it is filled
 * where the cause is known, err_wrap() adds context on the way up, the top prints it once.
 * `err` may be NULL everywhere: then only the code is returned.
 */
#pragma once

#include "base/check.h"

enum err_code {
	E_OK = 0,
	E_AGAIN = -1,   /* nothing now, an event will follow */
	E_CLOSED = -2,  /* the peer ended the connection */
	E_IO = -3,      /* the operating system refused; sys_errno says why */
	E_PARSE = -4,   /* malformed input */
	E_LIMIT = -5,   /* larger than a limit of base/limits.h */
	E_TIMEOUT = -6, /* a deadline passed */
	E_REFUSED = -7, /* the peer refused the connection */
	E_NOT_FOUND = -8,
	E_EXISTS = -9,     /* taken already, or in conflict */
	E_INVALID = -10,   /* the caller's or user's argument makes no sense */
	E_DENIED = -11,    /* who asks may not */
	E_TLS = -12,       /* handshake or certificate failure */
	E_PROTOCOL = -13,  /* the peer broke the protocol */
	E_CANCELLED = -14, /* given up by our side */
	E_UNSUPPORTED = -15,
	E_BUSY = -16, /* in use, e.g. a tunnel with live connections */
	E_INTERNAL = -17,
};

struct err {
	int code;       /* enum err_code; 0 when never set */
	int sys_errno;  /* errno where there was one, else 0 */
	char text[480]; /* one line for a person, no newline */
};

/* Fills *err and returns `code`. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* As err_set, with ": " and strerror(sys_errno) at the end. */
int err_set_errno(struct err *err, int code, int sys_errno, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* What is added wherever a file is refused (EACCES): whoever has shut the process in says so here, once, before threads. The
 * text stays the caller's; static. */
void err_explain_denied(const char *text);
/* Puts "context: " in front of the text; returns the code unchanged. */
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "timeout", "refused", … for logs. */
const char *err_name(int code);
/* "ECONNREFUSED" and the like; "" for 0. */
const char *err_errno_name(int sys_errno);
