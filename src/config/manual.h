/* Manual pages (man(7)) and completions of shells, written from the tables of the programs.
 *
 * Everything goes below one folder laid out as a prefix's `share`: man/man1/adit.1,
 * bash-completion/completions/adit and so on. One thread; blocks on the disk.
 *
 * Texts are those of the help: '@' stands for the program's name, `words` are bold, lines that begin with two
 * blanks are shown as they are, an empty line begins a paragraph.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

/* One page that is being written. */
struct manual {
	FILE *out;
	char *path;          /* owned */
	const char *program; /* borrowed; what '@' stands for; NULL: for itself */
	bool has_items;      /* an entry came last: text behind it begins a paragraph */
};

/* Creates SHARE/man/manSECTION/NAME.SECTION. `built` is "YYYY-MM-DD…", the date of the page. */
int manual_open(struct manual *m, const char *share, const char *program, const char *name,
		int section, const char *built, const char *summary, struct err *err);
/* After success of manual_open(), exactly once. */
int manual_close(struct manual *m, struct err *err);

void manual_section(struct manual *m, const char *title);
/* Paragraphs. */
void manual_text(struct manual *m, const char *text);
/* An entry of a list: `bold` and `italic` in front (either may be NULL), manual_text() or
 * manual_item_text() behind it. */
void manual_item(struct manual *m, const char *bold, const char *italic);
/* What an entry says; its paragraphs stay indented. */
void manual_item_text(struct manual *m, const char *text);
/* Entries between these two belong to the entry before. */
void manual_nest(struct manual *m);
void manual_unnest(struct manual *m);
/* "name(1), name(5)": `names` separated by blanks, each "adit-edge.8". */
void manual_see_also(struct manual *m, const char *names);

/* A file of that path below `share`, and its folders. NULL: err says why. */
FILE *manual_create(const char *share, const char *path, struct err *err);
