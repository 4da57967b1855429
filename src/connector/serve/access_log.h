/* One line for each exchange that came down a tunnel. One loop. */
#pragma once

#include "http/exchange.h"

/* For server_on_stream(), once x->request is there: x->on_end writes the line. At level debug the
 * request's head is logged now, and what the service answered in the end. */
void access_log_begin(struct exchange *x);
