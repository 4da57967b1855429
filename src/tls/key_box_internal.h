/* What the two processes say to each other. Never included from outside the folder, but for its tests.
 *
 * Whole messages over SOCK_SEQPACKET, one answer to each question. Both ends are one program, so
 * numbers are little-endian for no other reason than that base/reader.h reads them so; yet the key process trusts
 * nothing that it is sent.
 *
 * question: verb (8 bits), algorithm (32), handle (64), length of the place (16), the place, the rest is data
 * answer:   code (8 bits, a negative enum err_code without its sign), the rest is data, or what went wrong in words
 */
#pragma once

#include <gnutls/abstract.h>
#include <stdnoreturn.h>

#include "base/bytes.h"
#include "base/err.h"
#include "tls/key_box.h"
#include "tls/private_key.h"

enum key_verb {
	KEY_SEAL = 1,  /* data: PEM; place -> sealed */
	KEY_OPEN,      /* data: sealed; place -> handle (64 bits), SubjectPublicKeyInfo in DER */
	KEY_SIGN_DATA, /* handle, algorithm, data -> signature */
	KEY_SIGN_HASH, /* the same of a digest that is made already (TLS 1.2) */
	KEY_CLOSE,     /* handle */
	/* algorithm (enum private_key_kind), place -> handle (64 bits), length of what follows (16 bits), SubjectPublicKeyInfo
	 * in DER, sealed */
	KEY_MAKE,
	KEY_VERBS,
};

/* A PEM of RSA with 16384 bits has 13 KiB. */
#define KEY_MESSAGE_BYTES (32 * 1024)
#define KEY_PLACE_BYTES 512
#define KEY_HEAD_BYTES 15

struct key_question {
	enum key_verb verb;
	uint32_t algorithm; /* gnutls_sign_algorithm_t */
	uint64_t handle;
	const char *place; /* NULL: none */
	struct bytes data;
};

/* Asks the key process: 0 with its answer in `answer` (KEY_MESSAGE_BYTES), or its error. */
int key_box_ask(const struct key_question *q, uint8_t *answer, size_t *ret_len, struct err *err);
/* The same with bytes as they are, for tests. */
int key_box_ask_raw(struct bytes question, uint8_t *answer, size_t *ret_len, struct err *err);

/* A key of GnuTLS that asks the key process; both are the caller's. */
int key_box_open(struct bytes sealed, const char *place, gnutls_pubkey_t *ret_public,
		 gnutls_privkey_t *ret_key, struct err *err);

/* The same of one that the key process makes. */
int key_box_make(enum private_key_kind kind, const char *place, struct secret *ret_sealed,
		 gnutls_pubkey_t *ret_public, gnutls_privkey_t *ret_key, struct err *err);

/* What the key process answers; KEY_MESSAGE_BYTES. For its fuzz target, too, which prepares it first. */
void key_process_prepare(const struct key_box_options *options);
size_t key_process_answer(struct bytes question, uint8_t *answer);

/* The key process, of that parent: says on `life` that it is ready (or why not), answers until an end is closed. Never returns. */
noreturn void key_process_run(const struct key_box_options *options, pid_t parent, int life,
			      const int *ends, size_t end_count);
