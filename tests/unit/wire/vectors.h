/* The byte vectors of tests/data: messages of stock cloudflared with what an independent reader saw in
 * them (vectors.json), and whole captured conversations (captured-registration.hex). */
#pragma once

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/mem.h"

/* The `vectors` list; free the result with json_decref() on it. */
static inline json_t *vectors_load(void)
{
	json_error_t why;
	json_t *root = json_load_file("tests/data/vectors.json", 0, &why);

	assert_non_null(root);
	json_t *list = json_incref(json_object_get(root, "vectors"));
	json_decref(root);
	assert_true(json_array_size(list) > 100);
	return list;
}

static inline const char *vector_text(json_t *vector, const char *member)
{
	const char *text = json_string_value(json_object_get(vector, member));

	return text ? text : "";
}

/* Appends the bytes of a text of hex digits. */
static inline void hex_append(struct buf *out, const char *hex)
{
	size_t len = strlen(hex) / 2;

	assert_int_equal(buf_reserve(out, len), 0);
	assert_true(hex_decode(bytes_str(hex), out->ptr + out->len));
	buf_added(out, len);
}

static inline void vector_bytes(json_t *vector, struct buf *out)
{
	hex_append(out, vector_text(vector, "hex"));
}

static inline json_t *vector_find(json_t *list, const char *name)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v) if (strcmp(vector_text(v, "name"), name) == 0) return v;
	fail_msg("no vector %s", name);
	return NULL;
}

static inline void assert_bytes_equal(struct bytes a, struct bytes b)
{
	assert_int_equal(a.len, b.len);
	if (a.len)
		assert_memory_equal(a.ptr, b.ptr, a.len);
}

static inline void assert_text(struct bytes got, const char *want)
{
	assert_bytes_equal(got, bytes_str(want));
}

/* `want` is hex; a JSON null stands for empty. */
static inline void assert_hex(struct bytes got, json_t *want)
{
	char *hex = hex_text(got);
	const char *text = json_string_value(want);

	assert_string_equal(hex, text ? text : "");
	mem_free(hex);
}
