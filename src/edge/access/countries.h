/* Which country an address is in, by a database file in MaxMind's format (MMDB, version 2): GeoLite2-Country, DB-IP's
 * "IP to Country Lite", IPinfo's country file, or one of cities, which has countries too.
 *
 * The file is read once, into memory of ours: whoever replaces or cuts it afterwards disturbs nobody. A database is
 * immutable and counted; looking up is safe on any thread and takes about a microsecond.
 */
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "io/network.h"

struct countries;

/* Two letters and NUL; "" when nobody knows. */
#define COUNTRY_TEXT_SIZE 3

/* Reads the file. E_NOT_FOUND, E_IO: it is not there or cannot be read; E_PARSE: it is no such database, is damaged, or
 * has no countries (one of networks' owners, say); E_LIMIT: it is too large. The text names the file. */
struct countries *countries_open(const char *path, struct err *err);
struct countries *countries_ref(struct countries *c);   /* NULL is fine */
struct countries *countries_unref(struct countries *c); /* NULL is fine */

/* The country (ISO 3166-1 alpha-2, upper case) of an address; IPv4 in any spelling. Without a database (NULL), for an
 * address that it does not have and for a damaged record `ret` is "". */
void countries_find(const struct countries *c, const struct network *address,
		    char ret[COUNTRY_TEXT_SIZE]);
/* The same of an address as text. */
void countries_find_ip(const struct countries *c, struct bytes ip, char ret[COUNTRY_TEXT_SIZE]);

/* What the file says of itself: "GeoLite2-Country", and when it was made (wall time). */
const char *countries_type(const struct countries *c);
usec countries_built_at(const struct countries *c);
