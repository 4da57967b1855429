/* A request's body on its way to whoever takes the request: what has left is kept, as far as LIMIT_REPLAY_BYTES
 * go, so that it can be sent once more to somebody else. In an exchange's arena; its loop. */
#pragma once

#include "http/exchange.h"

struct replay {
	struct body *body;   /* borrowed, as the next */
	struct arena *arena; /* what is kept lives there */
	uint8_t *kept;
	size_t kept_len, kept_cap;
	size_t at;    /* of the kept bytes so many have been sent this time */
	size_t limit; /* 0: nothing is kept */
	bool is_lost; /* bytes have left that were not kept */
};

void replay_init(struct replay *r, struct exchange *x, size_t limit);
/* The next bytes to send; false when there are none now. */
bool replay_peek(const struct replay *r, struct bytes *run);
/* Are they, `run` from replay_peek(), the last ones? */
bool replay_is_last(const struct replay *r, struct bytes run);
void replay_consume(struct replay *r, size_t n);
/* The body has ended and everything was sent. */
bool replay_is_done(const struct replay *r);
bool replay_can_rewind(const struct replay *r);
/* From the first byte again. */
void replay_rewind(struct replay *r);
