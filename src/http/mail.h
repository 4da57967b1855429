/* One e-mail, handed to a mail server by libcurl while the caller waits (RFC 5321, RFC 5322; STARTTLS by RFC 3207).
 * It blocks: for threads of loop_work(). Safe from several threads at once.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"

/* Where mail goes out. All texts are borrowed. */
struct mail_server {
	const char *url;  /* "smtp://mail.example.com:587", "smtps://mail.example.com" */
	const char *user; /* NULL: no sign-in */
	const char *password;
	const char *ca_file; /* PEM, instead of the system's roots; NULL: those */
	/* smtp:// without TLS is for a server on this machine: without this the server must offer STARTTLS, and its
	 * certificate must be right. */
	bool may_be_plain;
};

struct mail {
	const char *from, *to; /* addresses: "adit@example.com" */
	const char *from_name; /* shown before `from`; "": none */
	const char *subject;
	const char *text; /* lines end with \n; UTF-8 */
};

/* E_INVALID: an address or a header with a line break or a control character, or no such URL; E_NOT_FOUND: no such
 * host; E_REFUSED, E_TIMEOUT, E_TLS; E_DENIED: the server wants (another) sign-in; E_PROTOCOL: it refused the mail,
 * `err` has its words. */
int mail_send(const struct mail_server *server, const struct mail *m, usec timeout, struct err *err);
