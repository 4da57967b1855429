#include "edge/access/palette.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"

bool colour_parse(const char *text, struct colour *ret)
{
	uint8_t rgb[3];

	if (text[0] != '#' || strlen(text) != 7 || !hex_decode(bytes_str(text + 1), rgb))
		return false;
	*ret = (struct colour){ rgb[0], rgb[1], rgb[2] };
	return true;
}

/* WCAG 2.2, "relative luminance". */
static double linear(uint8_t channel)
{
	double c = channel / 255.0;

	return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

static double luminance(struct colour c)
{
	return 0.2126 * linear(c.red) + 0.7152 * linear(c.green) + 0.0722 * linear(c.blue);
}

double colour_contrast(struct colour a, struct colour b)
{
	double x = luminance(a), y = luminance(b);

	return x > y ? (x + 0.05) / (y + 0.05) : (y + 0.05) / (x + 0.05);
}

/* What is soft or framed elsewhere has the text's colour here: a mixture might be hard to read. */
struct bytes palette_css(struct arena *arena, struct colour background, struct colour text)
{
	bool is_dark = luminance(background) < luminance(text);
	char page[8], ink[8];

	(void)snprintf(page, sizeof(page), "#%02x%02x%02x", background.red, background.green,
		       background.blue);
	(void)snprintf(ink, sizeof(ink), "#%02x%02x%02x", text.red, text.green, text.blue);
	return arena_printf(arena,
			    ":root {\n"
			    "\tcolor-scheme: %s;\n"
			    "\t--page: %s;\n\t--card: %s;\n\t--code: %s;\n\t--on-accent: %s;\n"
			    "\t--text: %s;\n\t--soft: %s;\n\t--line: %s;\n\t--accent: %s;\n"
			    "\t--alert: %s;\n\t--alert-page: %s;\n"
			    "}\n",
			    is_dark ? "dark" : "light", page, page, page, page, ink, ink, ink, ink,
			    is_dark ? "#ffb4a8" : "#8c2318", is_dark ? "#3a1d18" : "#fbe9e5");
}
