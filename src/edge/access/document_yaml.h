/* A document of Access (document.h) as people write it: YAML, and where in the file an error is. Pure. */
#pragma once

#include <jansson.h>

#include "config/yaml.h"

/* A new reference; NULL: E_INVALID when it is no mapping of sections, or so large that nobody wrote it. */
json_t *access_document_read(const struct yaml_doc *doc, struct err *err);
/* "policies[2]: include[0]: …", as access_document_apply() says it, with its place in the file in front. */
void access_document_locate(const struct yaml_doc *doc, const char *text, struct err *ret);
