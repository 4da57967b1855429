/* Why there is no WebSocket: an HTTP answer that is not 101, in one sentence for a person. Pure. */
#pragma once

#include "http/head.h"

/* Fills *err (E_DENIED for a login or a refusal of access, E_NOT_FOUND, E_PROTOCOL;
 * with sys_errno EACCES a login helps) from the answer's head
 * and what came of its body. `authority` is who was asked. No byte of either reaches a terminal raw. */
void refusal_explain(const struct head *answer, struct bytes body, struct bytes authority,
		     struct err *err);
