/* What the edge changes in heads on their way through (DESIGN §7, PROTOCOL §6). */
#pragma once

#include "http/exchange.h"

/* Request: hop-by-hop fields and forged identity go, X-Forwarded-*, CF-Connecting-IP, CF-Ray,
 * CF-Visitor and CDN-Loop are set. HANDLED_FAILED with 508 when the request has been here before,
 * HANDLED_NEXT when all is well. `loop_token` names this installation (RFC 8586). */
enum handled rewrite_request(struct exchange *x, struct bytes loop_token, const char *location);
/* Response: hop-by-hop fields and tunnel-internal ones go, cf-ray is set. `x->response` is final. */
void rewrite_response(struct exchange *x, const char *location);
/* "4f2a…-HOME", in the arena. */
struct bytes rewrite_ray(struct exchange *x, const char *location);
