/* The summary on the terminal. */
#include "connector/cli/diag.h"

#define GREEN "\033[32m"
#define RED "\033[1;31m"
#define DIM "\033[2m"
#define PLAIN "\033[0m"

/* Names and errors come from files and peers: no control byte reaches the terminal. */
static void put_text(FILE *out, const char *text)
{
	for (; *text; text++)
		(void)fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, out);
}

static const struct word {
	const char *status, *shown, *colour;
} words[] = {
	{ "ok", "ok", GREEN },
	{ "broken", "BROKEN", RED },
	{ "skipped", "-", DIM },
};

static void print_check(const json_t *check, FILE *out, bool has_colour)
{
	const struct word *word = words;

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(words[i].status, json_text_at(check, "status")) == 0)
			word = &words[i];
	(void)fprintf(out, "%-10s ", json_text_at(check, "hop"));
	(void)fprintf(out, "%s%-6s%s ", has_colour ? word->colour : "", word->shown,
		      has_colour ? PLAIN : "");
	put_text(out, json_text_at(check, "name"));
	if (*json_text_at(check, "detail")) {
		(void)fputs(": ", out);
		put_text(out, json_text_at(check, "detail"));
	}
	if (*json_text_at(check, "errno"))
		(void)fprintf(out, " (%s)", json_text_at(check, "errno"));
	(void)fputc('\n', out);
}

void diag_print(const struct diag *d, FILE *out, bool has_colour)
{
	const json_t *broken = diag_first_broken(d);
	json_t *check;
	size_t i, count = 0;

	json_array_foreach(d->checks, i, check)
	{
		print_check(check, out, has_colour);
		count += strcmp(json_text_at(check, "status"), "broken") == 0;
	}
	(void)fputc('\n', out);
	if (!broken) {
		(void)fputs("Every hop that was tried works.\n", out);
		return;
	}
	(void)fprintf(out, "The first broken hop is the %s: ", json_text_at(broken, "hop"));
	put_text(out, json_text_at(broken, "name"));
	(void)fputs("\n", out);
	put_text(out, json_text_at(broken, "fix"));
	(void)fputc('\n', out);
	if (count > 1)
		(void)fprintf(out, "%zu more %s broken, maybe for the same reason.\n", count - 1,
			      count == 2 ? "is" : "are");
}
