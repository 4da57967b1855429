/* Why somebody opens an application: what they typed, fit for a log. Pure. */
#pragma once

#include "base/arena.h"
#include "base/clock.h"

/* Bytes as they are sent; the form takes 500 characters. */
#define PURPOSE_BYTES_MAX 2000
/* Time for the redirects that follow the form, however short a session is. */
#define PURPOSE_LIFE_MIN (5 * USEC_PER_SEC)

/* UTF-8: fit for a page. */
bool purpose_is_text(struct bytes typed);
/* One line of UTF-8 without control characters and without those that turn text around; in `arena`. False: it is none,
 * too long, or says nothing. */
bool purpose_clean(struct bytes typed, struct arena *arena, struct bytes *ret);
