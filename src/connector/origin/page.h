/* Small pages the connector answers itself: HTML without anything from elsewhere. */
#pragma once

#include "base/buf.h"
#include "http/exchange.h"

/* Up to the body's first element; dark and light. */
int page_begin(struct buf *b, const char *title) MUST_USE;
/* With & < > " ' escaped and other control bytes than blanks and line ends replaced: for text and quoted
 * attributes. */
int page_text(struct buf *b, struct bytes text) MUST_USE;
int page_end(struct buf *b) MUST_USE;
/* Answers with the page as text/html that no cache keeps. The buffer stays the caller's. */
void page_answer(struct exchange *x, int status, const struct buf *b);
