/* A path filter: RE2's syntax, as Go's regexp reads it, searched unanchored by PCRE2.
 *
 * The pattern is parsed here and written anew for PCRE2 with only what RE2 has, so nothing of PCRE2
 * beyond it (look-around, back-references, possessive and atomic groups, recursion, callouts, verbs) can
 * be reached, and what both spell alike but mean differently (\s, \v, {,n}, $) means what Go means.
 * Captures are not kept. Bytes are matched, not characters: a literal é works, also repeated, but
 * a dot stands for one byte, and characters beyond ASCII in a class, like \p, are refused.
 * Immutable after compilation; any thread may search.
 */
#pragma once

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

struct path_regex;

/* NULL with E_INVALID: "error parsing regexp: missing closing ): `(abc`". */
struct path_regex *path_regex_compile(const char *pattern, struct err *err);
struct path_regex *path_regex_free(struct path_regex *re);
/* 1 found, 0 not found, E_LIMIT when the search needed more work than LIMIT_REGEX_MATCH or
 * LIMIT_REGEX_DEPTH allow. */
int path_regex_search(const struct path_regex *re, struct bytes path);

/* The first half of compilation, apart for its own tests: appends PCRE2 syntax to `out`. */
int path_regex_translate(struct bytes pattern, struct buf *out, struct err *err) MUST_USE;
