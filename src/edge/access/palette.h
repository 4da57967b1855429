/* Colours of the organisation on pages of Access: two that it chooses, and the rest made of them. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"

struct colour {
	uint8_t red, green, blue;
};

/* What text needs to be read by people with moderately low vision (WCAG 2.2, success criterion 1.4.3). */
#define PALETTE_CONTRAST_MIN 4.5

/* "#1f5f5b", in either case; nothing else that CSS knows. */
bool colour_parse(const char *text, struct colour *ret);
/* From 1, the same, to 21, black on white (WCAG 2.2, "contrast ratio"). */
double colour_contrast(struct colour a, struct colour b);
/* A style sheet for behind style.css: in light and dark alike. In `arena`. */
struct bytes palette_css(struct arena *arena, struct colour background, struct colour text);
