/* originRequest.access: who comes without a valid token of the rule's team does not reach its service. */
#pragma once

#include "http/exchange.h"

/* Handler: x->route is the rule. */
enum handled access_check_handle(struct exchange *x, void *ctx);
