/* Where an Access application is: host and path with wildcards, and which of several a request is in.
 *
 * A place is written "app.example.com", "*.example.com/admin", "example.com/api/v*". A label or segment has
 * one `*` at most, which stands for any run of bytes within it; a first label that is `*` alone stands for one
 * label or more, as it does in routes: what a wildcard route lets through, its guard sees. A path covers
 * everything below it:
 * "/admin" holds "/admin" and "/admin/x", not "/administrator". Pure; any thread.
 *
 * Services read paths in many ways ("/%61dmin", "/%2561dmin", "/x/../admin", "//admin", "/admin;x", "/ADMIN",
 * "/admin."), so a path is looked up as it came and as the most generous services would read it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

struct access_place {
	struct bytes host; /* lower case */
	struct bytes path; /* segments with slashes between, none at either end; empty: the whole host */
	unsigned host_labels, host_stars, path_segments, path_stars;
};

#define ACCESS_PLACE_BYTES 1024

/* Texts go to the arena. E_PARSE: a scheme, port, query, two stars in one label … */
int access_place_parse(struct bytes text, struct arena *arena, struct access_place *ret,
		       struct err *err);
/* Less than 0 when `a` is the more specific: no star in the host, more labels, fewer stars, then a longer path, then
 * fewer stars in it. */
int access_place_compare(const struct access_place *a, const struct access_place *b);
/* `host` is in lower case. `path` is one of access_paths; of `resolved` case is ignored. */
bool access_place_holds(const struct access_place *p, struct bytes host, struct bytes path,
			bool ignore_case);

/* Some services decode twice. Nobody needs more. */
#define ACCESS_DECODINGS 4

struct access_paths {
	struct bytes as_sent; /* segments between slashes, as they came */
	/* Decoded once, twice … as often as that changes anything; in lower case, without dots, empty segments and
	 * parameters. */
	struct bytes resolved[ACCESS_DECODINGS];
	size_t count;    /* of those; 1 at least */
	bool is_endless; /* it could be decoded even further */
};

/* Of a request target ("/a/b?x", "*"); in the arena. */
struct access_paths access_paths_of(struct bytes target, struct arena *arena);
