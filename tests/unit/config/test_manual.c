/* Manual pages: what stands in a table comes out as text, whatever characters it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/completion.h"
#include "config/manual.h"

/* The page that `write` makes, behind its .SH of the test. */
static char *page_of(void (*write)(struct manual *m))
{
	char folder[] = "/tmp/adit-manual-XXXXXX", text[4096] = "";
	struct err err = { 0 };
	struct manual m;

	assert_non_null(mkdtemp(folder));
	assert_int_equal(manual_open(&m, folder, "prog", "x", 1, "2026-11-02T00", "does it", &err),
			 0);
	manual_section(&m, "TEST");
	write(&m);
	assert_int_equal(manual_close(&m, &err), 0);
	char *path = mem_printf("%s/man/man1/x.1", folder);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = 0;
	(void)fclose(file);
	(void)unlink(path);
	for (char *slash = strrchr(path, '/'); slash && strlen(path) > strlen(folder);
	     slash = strrchr(path, '/')) {
		*slash = 0;
		(void)rmdir(path);
	}
	mem_free(path);
	assert_non_null(strstr(text, ".TH \"X\" 1 \"2026-11-02\""));
	char *rest = strstr(text, ".SH TEST\n");
	assert_non_null(rest);
	return mem_strdup(rest + strlen(".SH TEST\n"));
}

static void expect(void (*write)(struct manual *m), const char *wanted)
{
	char *text = page_of(write);

	assert_string_equal(text, wanted);
	mem_free(text);
}

static void odd(struct manual *m)
{
	manual_text(m, ".dot 'quote' back\\slash @ `a-b` …");
}

static void characters_of_roff_are_text(void **state)
{
	(void)state;
	expect(odd, "\\&.dot \\(aqquote\\(aq back\\eslash prog \\fBa\\-b\\fR ...\n");
}

static void examples(struct manual *m)
{
	manual_text(m, "one\ntwo\n\n  $ @ x\n  .y\n\nthree");
}

static void indented_lines_are_examples(void **state)
{
	(void)state;
	expect(examples, "one two\n.sp\n.RS 4\n.nf\n$ prog x\n\\&.y\n.fi\n.RE\n.PP\nthree\n");
}

static void items(struct manual *m)
{
	manual_item(m, "--flag", "VALUE");
	manual_item_text(m, "what\n\nmore");
	manual_text(m, "behind");
}

static void text_behind_entries_is_a_paragraph(void **state)
{
	(void)state;
	expect(items, ".TP\n\\fB\\-\\-flag\\fR \\fIVALUE\\fR\nwhat\n.IP\nmore\n.PP\nbehind\n");
}

static void offers_what_begins_so(void **state)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	completion_offer(out, "ru", "run", "go");
	completion_offer(out, "ru", "stop", "no");
	completion_choices(out, "", "a b");
	assert_true(completion_by_name(out, "FILE"));
	assert_false(completion_by_name(out, "NAME"));
	(void)fclose(out);
	assert_string_equal(text, "run\tgo\na\t\nb\t\n:files\n");
	free(text); /* allowed: open_memstream took it from malloc */
}

static void knows_three_shells(void **state)
{
	struct err err = { 0 };
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	assert_int_equal(completion_script("bash", "prog", out, &err), 0);
	assert_int_equal(completion_script("csh", "prog", out, &err), E_INVALID);
	(void)fclose(out);
	assert_non_null(strstr(text, "complete -F _prog prog\n"));
	assert_null(strstr(text, "@NAME@"));
	free(text); /* allowed: the same */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(characters_of_roff_are_text),
		cmocka_unit_test(indented_lines_are_examples),
		cmocka_unit_test(text_behind_entries_is_a_paragraph),
		cmocka_unit_test(offers_what_begins_so),
		cmocka_unit_test(knows_three_shells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
