/* One-time PINs that wait to be typed in: six digits, sent by e-mail, good for one browser, one person and one
 * application, for ten minutes and a few tries. In memory only, bounded. Control thread; `now` is clock_now().
 *
 * Who guesses has five tries a PIN, and an address gets five PINs an hour: 25 guesses of a million.
 */
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"

#define PIN_DIGITS 6
#define PIN_LIFE (600 * USEC_PER_SEC)
#define PIN_TRIES 5
#define PINS_PER_HOUR 5

struct pins;

struct pins *pins_new(void);
struct pins *pins_free(struct pins *p); /* NULL is fine */

/* A new PIN takes the place of an older one of this browser. E_LIMIT: too many were asked for this address. */
int pins_make(struct pins *p, struct bytes device, struct bytes email, struct bytes app, usec now,
	      char ret[PIN_DIGITS + 1]);
/* 0: right, and used up. E_DENIED: wrong, or another's, or too old, or tried too often. */
int pins_check(struct pins *p, struct bytes device, struct bytes email, struct bytes app,
	       struct bytes pin, usec now);
