/* A worker whose edge has been taken over, or leaves: its connectors go elsewhere while what they carry here goes
 * on. Those of ours are asked, open another connection first, and keep this one until we end it. Stock ones come
 * back only when a connection has ended: theirs end one after the other, each as soon as nothing runs over it.
 * Worker thread. */
#pragma once

#include "io/loop.h"

struct worker;

struct moving {
	struct timer timer;
	usec started_at; /* 0: nobody is asked to move */
};

void moving_init(struct worker *w);
/* `is_patient`: a successor serves, so that there is no hurry. Else they are only asked. */
void moving_start(struct worker *w, bool is_patient);
void moving_stop(struct worker *w);
/* They have had the time to open connections elsewhere. */
bool moving_is_over(const struct worker *w);
