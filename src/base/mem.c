#include "base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static noreturn void out_of_memory(size_t size)
{
	if (size)
		fprintf(stderr, "adit: out of memory (%zu bytes wanted)\n", size);
	else
		fputs("adit: out of memory\n", stderr);
	log_flush_dying();
	abort();
}

void *mem_try_alloc(size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	return calloc(1, total ? total : 1);
}

void *mem_alloc(size_t size)
{
	void *ptr = mem_try_alloc(1, size);

	if (!ptr)
		out_of_memory(size);
	return ptr;
}

void *mem_alloc_array(size_t count, size_t size)
{
	void *ptr = mem_try_alloc(count, size);

	if (!ptr)
		out_of_memory(count);
	return ptr;
}

void *mem_try_resize(void *ptr, size_t size)
{
	return realloc(ptr, size ? size : 1);
}

void *mem_resize(void *ptr, size_t size)
{
	ptr = mem_try_resize(ptr, size);
	if (!ptr)
		out_of_memory(size);
	return ptr;
}

void *mem_made(void *object)
{
	if (!object)
		out_of_memory(0);
	return object;
}

void *mem_free(void *ptr)
{
	free(ptr);
	return NULL;
}

char *mem_strdup(const char *text)
{
	return text ? mem_strndup(bytes_str(text)) : NULL;
}

char *mem_strndup(struct bytes text)
{
	char *copy = mem_alloc(text.len + 1);

	if (text.len)
		memcpy(copy, text.ptr, text.len);
	return copy;
}

char *mem_printf(const char *fmt, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, fmt);
	int n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0)
		out_of_memory(strlen(fmt));
	return text;
}

void mem_return_large_blocks(void)
{
#ifdef M_MMAP_THRESHOLD
	mallopt(M_MMAP_THRESHOLD, MEM_RETURNED_BYTES);
	mallopt(M_TRIM_THRESHOLD, MEM_RETURNED_BYTES);
#endif
}
