/* What the commands of `access` share. */
#pragma once

#include <jansson.h>

#include "connector/cli/cli.h"
#include "connector/cli/sign_in.h"

/* Roots to trust beside the system's: of --cacert, of the edge that cert.pem is for, of SSL_CERT_FILE (then
 * *ret_no_system). `roots` is initialised here and ended by the caller, always. */
int access_roots(const struct cli *cli, struct buf *roots, bool *ret_no_system, struct err *err);
/* Refuses what cannot be done here at all; 0, or the exit code. */
int access_refuse(const struct cli *cli);

/* --output: 1 when results are for programs, 0 for people, else E_INVALID; said before anybody is asked to sign in. */
int access_output(const struct cli *cli, struct err *err);
/* Prints it as --output says; the reference is taken. */
int access_render(const struct cli *cli, json_t *result, struct err *err);

/* A client of sign_in.h that opens a browser, and what it borrows. */
struct access_person {
	struct sign_in_client client;
	const struct cli *cli;
	char *directory; /* owned */
	struct buf roots;
};
int access_person_init(struct access_person *p, const struct cli *cli, struct err *err);
void access_person_done(struct access_person *p);
