#include "base/secret.h"

#include <string.h>

#include "base/mem.h"

void secret_wipe(void *ptr, size_t len)
{
	if (ptr)
		explicit_bzero(ptr, len);
}

void secret_set(struct secret *s, struct bytes value)
{
	secret_done(s);
	s->ptr = (uint8_t *)mem_strndup(value);
	s->len = value.len;
}

void secret_done(struct secret *s)
{
	secret_wipe(s->ptr, s->len);
	s->ptr = mem_free(s->ptr);
	s->len = 0;
}

bool secret_bytes_eq(struct bytes a, struct bytes b)
{
	volatile uint8_t differs = a.len != b.len;
	size_t len = a.len < b.len ? a.len : b.len;

	for (size_t i = 0; i < len; i++)
		differs |= a.ptr[i] ^ b.ptr[i];
	return !differs;
}

bool secret_eq(const struct secret *s, struct bytes other)
{
	return secret_bytes_eq(bytes_of(s->ptr, s->len), other);
}
