#include "connector/origin/page.h"

#define BEGIN                                                                                  \
	"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"              \
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"           \
	"<meta name=\"color-scheme\" content=\"light dark\">\n"                                \
	"<title>%s</title>\n<style>\n"                                                         \
	"body { font: 1rem/1.5 system-ui, sans-serif; max-width: 48rem; margin: 3rem auto; "   \
	"padding: 0 1rem }\n"                                                                  \
	"code, pre, td { font-family: ui-monospace, monospace; font-size: .9rem }\n"           \
	"pre { padding: .75rem 1rem; border: 1px solid; border-radius: .4rem; "                \
	"overflow-x: auto }\n"                                                                 \
	"td { padding: .15rem 1rem .15rem 0; vertical-align: top; overflow-wrap: anywhere }\n" \
	"td:first-child { white-space: nowrap }\n"                                             \
	"</style>\n</head>\n<body>\n<h1>%s</h1>\n"

int page_begin(struct buf *b, const char *title)
{
	return buf_printf(b, BEGIN, title, title);
}

static const char *entity(uint8_t c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&#34;";
	case '\'':
		return "&#39;";
	case '\t':
	case '\n':
	case '\r':
		return NULL;
	default:
		return c < ' ' || c == 0x7f ? "\xef\xbf\xbd" : NULL;
	}
}

int page_text(struct buf *b, struct bytes text)
{
	int ret = 0;

	for (size_t i = 0, from = 0; i <= text.len && ret == 0; i++) {
		const char *e = i < text.len ? entity(text.ptr[i]) : "";
		if (!e)
			continue;
		ret = buf_append(b, bytes_first(bytes_from(text, from), i - from));
		if (ret == 0)
			ret = buf_append_str(b, e);
		from = i + 1;
	}
	return ret;
}

int page_end(struct buf *b)
{
	return buf_append_str(b, "</body>\n</html>\n");
}

void page_answer(struct exchange *x, int status, const struct buf *b)
{
	/* A fresh list has room. */
	(void)fields_add(&x->response.fields, &x->arena, BYTES_LIT("Cache-Control"),
			 BYTES_LIT("no-store"));
	exchange_answer_whole(x, status, BYTES_LIT("text/html; charset=utf-8"), buf_bytes(b));
}
