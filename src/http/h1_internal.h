/* What the HTTP/1.1 files share with each other. */
#pragma once

#include "http/h1.h"

/* Cuts the next line off *rest, without its CRLF. False (E_PARSE in err) on a bare LF or when there is
 * no line end. */
bool h1_take_line(struct bytes *rest, struct bytes *ret_line, struct err *err);
/* "Name: value" as it stands on one line; nothing is copied. E_PARSE says why not. */
int h1_parse_field(struct bytes line, struct bytes *ret_name, struct bytes *ret_value,
		   struct err *err);
/* False for fields that have to be known before the body: framing, routing, rights, the content. */
bool h1_may_be_trailer(struct bytes name);
