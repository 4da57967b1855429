/* What the three forms of token.h share: bounded JSON members that name themselves in errors, and the
 * members of our own. Only for the files of token.h. */
#pragma once

#include <jansson.h>

#include "wire/token.h"

/* An object, or NULL. Free with token_json_free(), which wipes every text in it. */
json_t *token_json_parse(struct bytes text, struct err *err);
void token_json_free(json_t *root);

/* The last member of that name in any case; NULL when absent or null. */
json_t *token_json_find(json_t *root, const char *name);

/* A text of 1 to `max` printable ASCII characters without blanks. Absent or empty: NULL, or an error if
 * `is_required`. The result is owned by the caller. */
int token_json_text(json_t *root, const char *name, size_t max, bool is_required, char **ret,
		    struct err *err) MUST_USE;

struct place_names {
	const char *edge, *ca, *api_url;
};

extern const struct place_names place_names_lower; /* run token, login certificate */
extern const struct place_names place_names_upper; /* credentials file */

int token_json_place(json_t *root, const struct place_names *names, struct token_place *ret,
		     struct err *err) MUST_USE;

/* Encoding: room at once for all that follows, as far as `out` may grow: growing later would leave copies
 * of a secret in freed memory. */
int token_reserve(struct buf *out, const struct token_place *p) MUST_USE;
/* `"name":"text"` with a comma before it unless the object just began. */
int token_put_text(struct buf *out, const char *name, struct bytes text) MUST_USE;
int token_put_place(struct buf *out, const struct place_names *names,
		    const struct token_place *p) MUST_USE;
