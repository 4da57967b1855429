/* Objects that several threads have by name: whoever asks first makes it, everybody else gets the same one,
 * the last who gives it back frees it. A lock at those three moments and none in between; what the object
 * holds is immutable or atomic.
 */
#pragma once

#include <pthread.h>
#include <stddef.h>

#include "base/bytes.h"

/* All objects of one kind. Static. */
struct shared_set {
	pthread_mutex_t lock;
	struct map *by_name;
};

#define SHARED_SET_INIT                            \
	{                                          \
		.lock = PTHREAD_MUTEX_INITIALIZER, \
	}

/* The first member of such an object. */
struct shared {
	struct shared_set *set;
	uint8_t *name; /* owned */
	size_t name_len, refs;
};

/* The object of that name with one more reference; `make` is called, under the lock, when there is none. It
 * returns a new object, with memory of its own. */
struct shared *shared_get(struct shared_set *set, struct bytes name,
			  struct shared *(*make)(const void *arg), const void *arg);
void shared_ref(struct shared *s);
/* `destroy` is called for the last reference. */
void shared_unref(struct shared *s, void (*destroy)(struct shared *s));
