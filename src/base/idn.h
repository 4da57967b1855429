/* Host names in other scripts than ASCII, as they travel: "bücher.example" is "xn--bcher-kva.example".
 *
 * Encoding only (RFC 3492): people write names in their script, the wire has them in ASCII. Characters are
 * taken as they are but for ASCII's capitals; nothing is normalised. Pure.
 */
#pragma once

#include "base/buf.h"
#include "base/bytes.h"

/* Appends `name`, UTF-8, label by label: ASCII ones as they are. E_PARSE: a label is no UTF-8 or longer than
 * DNS allows; E_LIMIT: `out` is full. On failure `out` is as before. */
int idn_encode(struct bytes name, struct buf *out) MUST_USE;
