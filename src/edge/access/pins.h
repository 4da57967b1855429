/* One-time PINs that wait to be typed in: sent by e-mail, good for one browser, one person and one application, for ten
 * minutes and a few tries. In memory only, bounded. Control thread; `now` is clock_now().
 *
 * Who guesses has five tries a PIN. An address gets as many as edge/access/tries.h lets through; when somebody asks for
 * more than PINS_SHORT an hour in browsers that are not known to be the person's, they get longer: 300 guesses of a
 * million an hour at most, and nobody is kept out by what others ask for.
 */
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"

#define PIN_DIGITS 6
#define PIN_DIGITS_LONG 12
#define PIN_LIFE (600 * USEC_PER_SEC)
#define PIN_TRIES 5
#define PINS_SHORT 60

struct pins;

struct pins *pins_new(void);
struct pins *pins_free(struct pins *p); /* NULL is fine */

/* A new PIN takes the place of an older one of this browser. `is_own`: the person has signed in with it before. */
void pins_make(struct pins *p, struct bytes device, struct bytes email, struct bytes app, usec now,
	       bool is_own, char ret[PIN_DIGITS_LONG + 1]);
/* 0: right, and used up. E_DENIED: wrong, or another's, or too old, or tried too often. */
int pins_check(struct pins *p, struct bytes device, struct bytes email, struct bytes app,
	       struct bytes pin, usec now);
