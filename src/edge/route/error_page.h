/* A failure as an answer: HTML for browsers, JSON for programs that ask for it, one plain line for
 * everybody else. Each names the hop that failed and the request id that the logs carry. */
#pragma once

#include "http/exchange.h"

/* For handler_chain.answer_failure; ctx is the worker. */
void error_page_answer(struct exchange *x, void *worker);
