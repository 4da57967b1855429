/* Compiling and searching; path_syntax.c has the syntax. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "connector/ingress/path_regex.h"

#include <pcre2.h>
#include <pthread.h>

#include "base/limits.h"
#include "base/mem.h"

/* A filter of a kilobyte is a large one; written anew it is at most ten times as long. */
#define LIMIT_PATTERN_BYTES 4096
#define LIMIT_TRANSLATED_BYTES (16 * LIMIT_PATTERN_BYTES)
/* Groups in groups. */
#define LIMIT_PATTERN_NESTING 100
/* KiB for the backtracking of one search: 64 bytes or so for each of LIMIT_REGEX_MATCH steps. */
#define LIMIT_SEARCH_KIB 8192

struct path_regex {
	pcre2_code *code;             /* owned */
	pcre2_match_context *context; /* owned; only read while searching */
};

/* Each thread has one place for the library to work in, so that a search allocates nothing. */
static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void scratch_free(void *scratch)
{
	pcre2_match_data_free(scratch);
}

static void scratch_init(void)
{
	int r = pthread_key_create(&scratch_key, scratch_free);
	BUG_IF(r != 0);
}

static pcre2_match_data *scratch(void)
{
	pthread_once(&scratch_once, scratch_init);
	pcre2_match_data *data = pthread_getspecific(scratch_key);
	if (!data) {
		data = pcre2_match_data_create(1, NULL);
		BUG_IF(!data || pthread_setspecific(scratch_key, data) != 0);
	}
	return data;
}

struct path_regex *path_regex_compile(const char *pattern, struct err *err)
{
	struct bytes text = bytes_str(pattern);
	struct buf translated;
	int code = 0;
	PCRE2_SIZE offset = 0;

	if (text.len > LIMIT_PATTERN_BYTES) {
		err_set(err, E_INVALID, "error parsing regexp: expression longer than %d bytes",
			LIMIT_PATTERN_BYTES);
		return NULL;
	}
	buf_init(&translated, LIMIT_TRANSLATED_BYTES);
	if (path_regex_translate(text, &translated, err) < 0) {
		buf_done(&translated);
		return NULL;
	}
	pcre2_compile_context *how = mem_made(pcre2_compile_context_create(NULL));
	pcre2_set_newline(how, PCRE2_NEWLINE_LF);
	pcre2_set_parens_nest_limit(how, 2 * LIMIT_PATTERN_NESTING);
	/* $ is the very end, (?m)^ also stands behind a last newline, as in Go. */
	uint32_t options = PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_CIRCUMFLEX | PCRE2_NEVER_UTF |
			   PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE;
	pcre2_code *compiled = pcre2_compile(translated.ptr ? translated.ptr : (const uint8_t *)"",
					     translated.len, options, &code, &offset, how);
	pcre2_compile_context_free(how);
	buf_done(&translated);
	if (!compiled) {
		char reason[160];
		pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof(reason));
		err_set(err, E_INVALID, "error parsing regexp: %s: `%.200s`", reason, pattern);
		return NULL;
	}
	struct path_regex *re = mem_alloc(sizeof(*re));
	re->code = compiled;
	re->context = mem_made(pcre2_match_context_create(NULL));
	pcre2_set_match_limit(re->context, LIMIT_REGEX_MATCH);
	pcre2_set_depth_limit(re->context, LIMIT_REGEX_DEPTH);
	pcre2_set_heap_limit(re->context, LIMIT_SEARCH_KIB);
	return re;
}

struct path_regex *path_regex_free(struct path_regex *re)
{
	if (!re)
		return NULL;
	pcre2_code_free(re->code);
	pcre2_match_context_free(re->context);
	return mem_free(re);
}

int path_regex_search(const struct path_regex *re, struct bytes path)
{
	const uint8_t *text = path.ptr ? path.ptr : (const uint8_t *)"";
	int r = pcre2_match(re->code, text, path.len, 0, 0, scratch(), re->context);

	if (r >= 0)
		return 1;
	return r == PCRE2_ERROR_NOMATCH ? 0 : E_LIMIT;
}
