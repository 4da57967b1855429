/* What an application answers browsers that ask first whether a page of another origin may send it a request (Fetch
 * standard, "CORS-preflight fetch"; CONTROL §5.10). Such a question brings no cookies, so a policy could only refuse it:
 * the edge answers by itself, and the service never sees it. Pure; any thread.
 */
#pragma once

#include <jansson.h>

#include "http/exchange.h"

/* `cors`: allowed_origins, allowed_methods, allowed_headers (lists of texts); allow_all_origins, allow_all_methods,
 * allow_all_headers, allow_credentials; max_age in seconds. E_PARSE. */
int access_cors_check(const json_t *cors, struct err *err);
/* Whether it is such a question. */
bool access_cors_is_preflight(const struct head *h);
/* Answers it: 204, or 403 when that origin may not. */
void access_cors_answer(const json_t *cors, struct exchange *x);
