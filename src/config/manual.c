#include "config/manual.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/mem.h"

/* mandoc complains about source lines of more than 80 bytes; an escape may follow the last word. */
#define LINE_BYTES 70

/* ------------------------------------------------------------------------------------------
 * Files. */

static int folders_make(char *path, struct err *err)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		int r = mkdir(path, 0755) == 0 || errno == EEXIST
				? 0
				: err_set_errno(err, E_IO, errno, "making %s", path);
		*slash = '/';
		if (r < 0)
			return r;
	}
	return 0;
}

FILE *manual_create(const char *share, const char *path, struct err *err)
{
	char *whole = mem_printf("%s/%s", share, path);
	FILE *out = NULL;

	if (folders_make(whole, err) == 0) {
		out = fopen(whole, "we");
		if (!out)
			err_set_errno(err, E_IO, errno, "writing %s", whole);
	}
	mem_free(whole);
	return out;
}

/* ------------------------------------------------------------------------------------------
 * Text. */

/* A character beyond ASCII, as its code point; returns how many bytes it took. */
static size_t put_utf8(FILE *out, struct bytes at)
{
	uint8_t first = at.ptr[0];
	size_t len = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
	uint32_t code = first & (0xffu >> (len + 1));

	if (at.len < len)
		return at.len;
	if (bytes_starts_with(at, BYTES_LIT("…"))) {
		(void)fputs("...", out); /* terminals that know ASCII alone have no sign for it */
		return len;
	}
	for (size_t i = 1; i < len; i++)
		code = code << 6 | (at.ptr[i] & 0x3fu);
	(void)fprintf(out, "\\[u%04X]", code);
	return len;
}

/* `is_bold` toggles at each backtick; NULL: they are characters like others. */
static void put(struct manual *m, struct bytes text, bool *is_bold)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];

		if (c == '`' && is_bold) {
			*is_bold = !*is_bold;
			(void)fputs(*is_bold ? "\\fB" : "\\fR", m->out);
		} else if (c == '@' && m->program) {
			put(m, bytes_str(m->program), NULL);
		} else if (c >= 0x80) {
			i += put_utf8(m->out, bytes_from(text, i)) - 1;
		} else if (strchr("\\-'`~^", c)) {
			static const char *const names[] = {
				['\\'] = "\\e",  ['-'] = "\\-",   ['\''] = "\\(aq",
				['`'] = "\\(ga", ['~'] = "\\(ti", ['^'] = "\\(ha",
			};
			(void)fputs(names[c], m->out);
		} else {
			(void)fputc(c, m->out);
		}
	}
}

/* Words into lines; *at is the column, 0 at the beginning of a line. */
static void put_words(struct manual *m, struct bytes text, size_t *at, bool *is_bold)
{
	struct bytes word;

	while (bytes_split(&text, ' ', &word)) {
		if (word.len == 0)
			continue;
		if (*at && *at + word.len > LINE_BYTES) {
			(void)fputc('\n', m->out);
			*at = 0;
		} else if (*at) {
			(void)fputc(' ', m->out);
		}
		/* A dot at the beginning of a line would be a request; apostrophes are escaped anyway. */
		if (*at == 0 && word.ptr[0] == '.')
			(void)fputs("\\&", m->out);
		put(m, word, is_bold);
		*at += word.len + 1;
	}
}

static void put_verbatim(struct manual *m, struct bytes line)
{
	if (line.len && line.ptr[0] == '.')
		(void)fputs("\\&", m->out);
	put(m, line, NULL);
	(void)fputc('\n', m->out);
}

/* Paragraphs, at the left or below an entry; `has_begun`: the first needs no macro. */
static void put_text(struct manual *m, const char *text, bool is_item, bool has_begun)
{
	const char *macro = is_item ? ".IP\n" : ".PP\n";
	struct bytes rest = bytes_str(text), line;
	bool is_verbatim = false, is_bold = false, is_due = !has_begun;
	size_t at = 0;

	while (bytes_split(&rest, '\n', &line)) {
		bool is_example = bytes_starts_with(line, BYTES_LIT("  "));

		if (line.len == 0) {
			is_due = true;
			continue;
		}
		if (is_verbatim && (!is_example || is_due)) {
			(void)fputs(".fi\n.RE\n", m->out);
			is_verbatim = false;
			is_due = true;
		}
		if (at && (is_due || is_example)) {
			(void)fputc('\n', m->out);
			at = 0;
		}
		if (is_example && !is_verbatim) {
			(void)fputs(is_due ? ".sp\n" : "", m->out);
			(void)fputs(is_item ? ".RS 11\n.nf\n" : ".RS 4\n.nf\n", m->out);
			is_verbatim = true;
		} else if (is_due && !is_example) {
			(void)fputs(macro, m->out);
		}
		is_due = false;
		if (is_verbatim)
			put_verbatim(m, bytes_from(line, 2));
		else
			put_words(m, line, &at, &is_bold);
	}
	if (at)
		(void)fputc('\n', m->out);
	if (is_verbatim)
		(void)fputs(".fi\n.RE\n", m->out);
}

/* ------------------------------------------------------------------------------------------
 * Pages. */

int manual_open(struct manual *m, const char *share, const char *program, const char *name,
		int section, const char *built, const char *summary, struct err *err)
{
	char *path = mem_printf("man/man%d/%s.%d", section, name, section);
	FILE *out = manual_create(share, path, err);
	char *title;

	*m = (struct manual){ .out = out, .path = path, .program = program };
	if (!out) {
		m->path = mem_free(path);
		return err->code;
	}
	title = mem_strdup(name);
	for (char *c = title; *c; c++)
		*c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
	(void)fprintf(out, ".TH \"%s\" %d \"%.10s\" \"Adit\" \"Adit\"\n.nh\n.ad l\n.SH NAME\n",
		      title, section, built);
	mem_free(title);
	put(m, bytes_str(name), NULL);
	(void)fputs(" \\-\n", out);
	manual_text(m, summary);
	return 0;
}

int manual_close(struct manual *m, struct err *err)
{
	bool is_bad = ferror(m->out);
	int r = 0;

	is_bad |= fclose(m->out) != 0;
	if (is_bad)
		r = err_set(err, E_IO, "writing %s failed", m->path);
	m->path = mem_free(m->path);
	m->out = NULL;
	return r;
}

void manual_section(struct manual *m, const char *title)
{
	(void)fprintf(m->out, ".SH %s\n", title);
	m->has_items = false;
}

void manual_text(struct manual *m, const char *text)
{
	put_text(m, text, false, !m->has_items);
	m->has_items = false;
}

void manual_item(struct manual *m, const char *bold, const char *italic)
{
	(void)fputs(".TP\n", m->out);
	m->has_items = true;
	if (bold) {
		(void)fputs("\\fB", m->out);
		put(m, bytes_str(bold), NULL);
		(void)fputs("\\fR", m->out);
	}
	if (italic && *italic) {
		(void)fputs(bold ? " \\fI" : "\\fI", m->out);
		put(m, bytes_str(italic), NULL);
		(void)fputs("\\fR", m->out);
	}
	(void)fputc('\n', m->out);
}

void manual_item_text(struct manual *m, const char *text)
{
	put_text(m, text, true, true);
}

void manual_nest(struct manual *m)
{
	(void)fputs(".RS\n", m->out);
}

void manual_unnest(struct manual *m)
{
	(void)fputs(".RE\n", m->out);
}

void manual_see_also(struct manual *m, const char *names)
{
	struct bytes rest = bytes_str(names), name;
	bool is_first = true;

	manual_section(m, "SEE ALSO");
	while (bytes_split(&rest, ' ', &name)) {
		if (name.len < 3)
			continue;
		(void)fputs(is_first ? ".BR " : ",\n.BR ", m->out);
		put(m, bytes_first(name, name.len - 2), NULL);
		(void)fprintf(m->out, " (%c)", name.ptr[name.len - 1]);
		is_first = false;
	}
	(void)fputc('\n', m->out);
}
