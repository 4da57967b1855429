/* Where an Access application is: host and path with wildcards, and which of several a request is in.
 *
 * A place is written "app.example.com", "*.example.com/admin", "example.com/api/v*". A label or segment has
 * one `*` at most, which stands for any run of bytes within it. A path covers everything below it:
 * "/admin" holds "/admin" and "/admin/x", not "/administrator". Pure; any thread.
 *
 * Services read paths in many ways ("/%61dmin", "/x/../admin", "//admin", "/admin;x", "/ADMIN"), so a path
 * is looked up as it came and as the most generous service would read it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

struct access_place {
	struct bytes host; /* lower case */
	struct bytes path; /* segments with slashes between, none at either end; empty: the whole host */
	unsigned host_stars, path_segments, path_stars;
};

#define ACCESS_PLACE_BYTES 1024

/* Texts go to the arena. E_PARSE: a scheme, port, query, two stars in one label … */
int access_place_parse(struct bytes text, struct arena *arena, struct access_place *ret,
		       struct err *err);
/* Less than 0 when `a` is the more specific: fewer stars in the host, then a longer path, then fewer stars in it. */
int access_place_compare(const struct access_place *a, const struct access_place *b);
/* `host` is in lower case. `path` is one of access_paths; of `resolved` case is ignored. */
bool access_place_holds(const struct access_place *p, struct bytes host, struct bytes path,
			bool ignore_case);

struct access_paths {
	struct bytes as_sent; /* segments between slashes, as they came */
	struct bytes resolved; /* decoded, in lower case, without dots, empty segments and parameters */
};

/* Of a request target ("/a/b?x", "*"); in the arena. */
struct access_paths access_paths_of(struct bytes target, struct arena *arena);
