/* Bytes that must not leak: not printable, compared in constant time, wiped when freed. */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

struct secret {
	uint8_t *ptr; /* owned */
	size_t len;
};

void secret_set(struct secret *s, struct bytes value); /* copies; wipes what was there */
void secret_done(struct secret *s);                    /* wipes and frees */
/* Time depends on the lengths only. */
bool secret_eq(const struct secret *s, struct bytes other);
bool secret_bytes_eq(struct bytes a, struct bytes b);
/* For buffers on the stack. */
void secret_wipe(void *ptr, size_t len);
