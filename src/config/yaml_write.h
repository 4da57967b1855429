/* YAML for people, of JSON. */
#pragma once

#include "base/buf.h"

/* Blocks instead of braces, keys without quotes where they need none; strings stay quoted, so that what looks like a
 * number is read as a string again. `json` is well-formed and of ours. E_LIMIT. */
int yaml_of_json(const char *json, struct buf *ret) MUST_USE;
