/* Private keys in a process of their own, which signs for this one.
 *
 * This process has keys only as they lie on the disk: sealed, under a key that the key process alone has read. It
 * hands them over, gets a handle, and asks for signatures; no message of the list brings a private key back. The key
 * process is a child without an executable of its own (the same code, forked before there are threads). It
 * has no file and no socket but its ends of the conversation, cannot open any, and cannot be looked into by its own
 * user (PR_SET_DUMPABLE). It ends when this process does; when it ends before, nothing is signed any more,
 * key_box_life() says so, and the program has to end as well.
 *
 * Keys can be made there, too (tls/private_key.h), and then never are in this process.
 *
 * One box per process. Any thread; a call blocks until it is answered (some 100 us for a signature), and threads
 * have conversations of their own, so that they do not wait for each other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "tls/tls.h"

struct metric;

/* All of these run in the key process. */
struct key_box_options {
	size_t conversations; /* threads that ask at the same time; more share them */
	void *ctx;            /* borrowed */
	/* Reads what seals keys, while files can still be opened. */
	int (*begin)(void *ctx, struct err *err);
	/* Gives up what it has beyond that; NULL: what is said above is all. */
	int (*confine)(void *ctx, struct err *err);
	/* As store/seal.h: `place` is what the key is for, and a sealed one opens for no other. Any thread. */
	uint8_t *(*seal)(void *ctx, struct bytes plain, const char *place, size_t *ret_len);
	int (*open)(void *ctx, struct bytes sealed, const char *place, struct secret *ret,
		    struct err *err);
};

/* While this process has one thread. E_IO, or what begin() and confine() said. */
int key_box_start(const struct key_box_options *options, struct err *err);
/* Nothing uses a key any more. Waits for the process. */
void key_box_stop(void);
bool key_box_is_running(void);
pid_t key_box_pid(void);
/* A descriptor that becomes readable when the key process has ended; -1: there is none. Not the caller's. */
int key_box_life(void);

/* Seals a private key (PEM) for a place. The key was in this process, of course: for those that somebody brings. Owned by the
 * caller. E_INVALID: it is no key. */
int key_box_seal(struct bytes pem, const char *place, struct secret *ret, struct err *err);

/* As tls_certificate_load(), with a key that stays where it is. E_DENIED: sealed for another place, or damaged. */
struct tls_certificate *tls_certificate_load_boxed(struct bytes chain_pem, struct bytes sealed,
						   const char *place, struct err *err);

/* adit_edge_key_process_calls_total{kind}, …_failures_total: not registered by themselves. */
void key_box_register_metrics(void);
