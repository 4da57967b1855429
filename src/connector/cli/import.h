/* Moving in from cloudflared: what is on this machine, what becomes of it, and what is left to do.
 *
 * Found first (import_find.c), then written (import_write.c); nothing that exists is changed. Secrets are in no
 * text of the report. Blocks; one command, one thread.
 */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "connector/cli/cli.h"
#include "connector/ingress/ingress.h"
#include "wire/token.h"

/* A configuration; the stock connector reads any size. */
#define IMPORT_CONFIG_BYTES (4 * 1024 * 1024)
#define IMPORT_STOCK "cloudflared"

struct import {
	struct cli *cli;
	const char *from; /* NULL: wherever cloudflared looks, and what starts it here */
	bool is_dry;
	json_t *found, *wrote, *left; /* owned: arrays of {"path","text"} */
	json_t *todo;                 /* owned: array of commands, comments begin with # */

	/* What counts. */
	char *config_path;       /* owned; NULL: there is none */
	struct buf config_text;  /* of that file */
	struct yaml_doc *config; /* owned; NULL: none, empty, or broken */
	struct ingress *rules;   /* counted; NULL: none that can be read */
	struct token token; /* how it is run: by token or credentials; has_token says that it is there */
	bool has_token;
	bool is_token_run; /* by a token: rules are where the tunnel lives, unless there is a file */
	char *secret_path; /* owned; file of the credentials, NULL: none was found, or a token */
	bool has_login; /* a cert.pem of an edge of ours is here already, or in the folder that is imported */
	char *login_path;     /* owned; that in the folder, to be copied; or NULL */
	struct settings unit; /* what a unit says on its command line and in its variables */
	bool is_installed;    /* as a service of this machine */
	bool is_machine_wide; /* from /etc, or by a unit */
	const char *tunnel;   /* borrowed from config; what `tunnel:` says, or "" */
};

void import_find(struct import *im);
/* The folder of the new files. 0 or a code; the report says what was written either way. */
int import_write(struct import *im, const char *folder, const char *name, struct err *err);
void import_done(struct import *im);

/* A line of the report. `path` may be NULL. */
void import_say(json_t *list, const char *path, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Does this tunnel live at an edge of ours? */
bool import_is_ours(const struct import *im);
