/* application/x-www-form-urlencoded: query strings and form bodies. Pure, bounded. */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

/* The longest form and query here have fewer than ten. */
#define QUERY_PARAMS_MAX 32

struct query {
	struct query_param {
		struct bytes name,
			value; /* decoded, in the arena, a NUL after the end, none inside */
	} list[QUERY_PARAMS_MAX];
	size_t count;
};

/* `text` has no '?' in front. E_PARSE for a broken escape or an encoded NUL, E_LIMIT for too many. */
int query_parse(struct bytes text, struct arena *a, struct query *ret);
/* NUL-terminated; the first of that name, NULL when there is none. */
const char *query_find(const struct query *q, const char *name);
/* Percent-decodes ('+' is a blank when `is_form`) into the arena; E_PARSE as above. */
int query_decode(struct bytes text, bool is_form, struct arena *a, struct bytes *ret);
