#include "config/completion.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "config/manual.h"

/* @NAME@ is the program's name. */
static const char bash[] =
	"# Completion of @NAME@ in bash.\n"
	"_@NAME@() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} line\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tcase $line in\n"
	"\t\t:files)\n"
	"\t\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
	"\t\t\t;;\n"
	"\t\t:dirs)\n"
	"\t\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\t\tmapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n"
	"\t\t\t;;\n"
	"\t\t*) COMPREPLY+=(\"${line%%$'\\t'*}\") ;;\n"
	"\t\tesac\n"
	"\tdone < <(\"${COMP_WORDS[0]/#\\~/$HOME}\" __complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
	"}\n"
	"complete -F _@NAME@ @NAME@\n";

static const char zsh[] =
	"#compdef @NAME@\n"
	"# Completion of @NAME@ in zsh.\n"
	"_@NAME@() {\n"
	"\tlocal line\n"
	"\tlocal -a found\n"
	"\tfor line in \"${(@f)$(${~words[1]} __complete -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\"; do\n"
	"\t\tcase $line in\n"
	"\t\t'') ;;\n"
	"\t\t:files) _files; return ;;\n"
	"\t\t:dirs) _files -/; return ;;\n"
	"\t\t*) found+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\") ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\t_describe '@NAME@' found\n"
	"}\n"
	"if [[ $funcstack[1] == _@NAME@ ]]; then\n"
	"\t_@NAME@ \"$@\"\n"
	"else\n"
	"\tcompdef _@NAME@ @NAME@\n"
	"fi\n";

/* Function names of fish may have dashes, as those of the others. */
static const char fish[] =
	"# Completion of @NAME@ in fish.\n"
	"function __@NAME@_complete\n"
	"\tset -l before (commandline -opc)\n"
	"\tset -l current (commandline -ct)\n"
	"\tset -l program $before[1]\n"
	"\tset -e before[1]\n"
	"\tfor line in ($program __complete -- $before \"$current\" 2>/dev/null)\n"
	"\t\tswitch $line\n"
	"\t\t\tcase :files\n"
	"\t\t\t\t__fish_complete_path \"$current\"\n"
	"\t\t\tcase :dirs\n"
	"\t\t\t\t__fish_complete_directories \"$current\"\n"
	"\t\t\tcase '*'\n"
	"\t\t\t\techo $line\n"
	"\t\tend\n"
	"\tend\n"
	"end\n"
	"complete -c @NAME@ -f -a '(__@NAME@_complete)'\n";

static const struct shell {
	const char *name, *text;
	const char *place; /* below share; @NAME@ is the program */
} shells[] = {
	{ "bash", bash, "bash-completion/completions/@NAME@" },
	{ "zsh", zsh, "zsh/site-functions/_@NAME@" },
	{ "fish", fish, "fish/vendor_completions.d/@NAME@.fish" },
};

#define MARK "@NAME@"

static void put(FILE *out, const char *text, const char *program)
{
	for (const char *mark = strstr(text, MARK); mark; mark = strstr(text, MARK)) {
		(void)fprintf(out, "%.*s%s", (int)(mark - text), text, program);
		text = mark + strlen(MARK);
	}
	(void)fputs(text, out);
}

int completion_script(const char *shell, const char *program, FILE *out, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
		if (strcmp(shells[i].name, shell) == 0) {
			put(out, shells[i].text, program);
			return 0;
		}
	}
	return err_set(err, E_INVALID, "'%.40s' is none of bash, zsh, fish", shell);
}

static int script_install(const char *share, const struct shell *shell, const char *program,
			  struct err *err)
{
	const char *mark = strstr(shell->place, MARK);
	char *path = mem_printf("%.*s%s%s", (int)(mark - shell->place), shell->place, program,
				mark + strlen(MARK));
	FILE *out = manual_create(share, path, err);
	int r = out ? 0 : err->code;

	if (out) {
		put(out, shell->text, program);
		bool is_bad = ferror(out);
		if (fclose(out) != 0 || is_bad)
			r = err_set(err, E_IO, "writing %s/%s failed", share, path);
	}
	mem_free(path);
	return r;
}

int completion_install(const char *share, const char *program, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(shells) && r == 0; i++)
		r = script_install(share, &shells[i], program, err);
	return r;
}

void completion_offer(FILE *out, const char *current, const char *candidate, const char *text)
{
	if (strncmp(candidate, current, strlen(current)) == 0)
		(void)fprintf(out, "%s\t%s\n", candidate, text);
}

void completion_choices(FILE *out, const char *current, const char *choices)
{
	struct bytes rest = bytes_str(choices), choice;

	while (bytes_split(&rest, ' ', &choice)) {
		char *word = mem_strndup(choice);
		completion_offer(out, current, word, "");
		mem_free(word);
	}
}

bool completion_by_name(FILE *out, const char *value)
{
	bool is_folder = strcmp(value, "DIR") == 0;
	bool is_file = strcmp(value, "FILE") == 0 || strcmp(value, "PATH") == 0;

	if (is_folder || is_file)
		(void)fprintf(out, "%s\n", is_folder ? COMPLETION_FOLDERS : COMPLETION_FILES);
	return is_folder || is_file;
}
