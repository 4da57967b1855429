/* originRequest.access: who comes without a valid token of the rule's team does not reach its service.
 *
 * The token is what Cf-Access-Jwt-Assertion carries. None, or one for another application: 403 without a
 * body, as the stock connector answers. One that is not valid: 403 with the reason on our error page. When the
 * team's keys cannot be had: 502. While they are fetched for the first time, or for a key id that is not among
 * them, the exchange is parked, twice LIMIT_ACCESS_WAIT_MS at most. The origin gets the token too and may look for
 * itself.
 */
#pragma once

#include "http/exchange.h"

/* Handler: its context is the server, x->route the rule. */
enum handled access_check_handle(struct exchange *x, void *ctx);
