#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/mem.h"
#include "connector/cli/token_file.h"

#define ISSUER "https://adit.example.com"
#define NOW (1000 * USEC_PER_SEC)

static char *token_of(const char *claims)
{
	char *payload = base64_text(BASE64_URL_RAW, bytes_str(claims));
	char *token = mem_printf("e30.%s.c2ln", payload);

	mem_free(payload);
	return token;
}

static char *folder_path(void)
{
	return mem_printf("%s/adit-token-%d", "/tmp", (int)getpid());
}

static void put_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "wbe");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* What is read of a token with these claims. */
static bool is_taken(const char *claims)
{
	char *path = folder_path(), *token = token_of(claims), *read;
	bool taken;

	put_file(path, token);
	read = token_file_read(path, ISSUER, "app", NOW);
	taken = read != NULL;
	if (read)
		assert_string_equal(read, token);
	assert_int_equal(access(path, F_OK) == 0, taken);
	(void)unlink(path);
	mem_free(read);
	mem_free(token);
	mem_free(path);
	return taken;
}

static void a_token_is_taken_while_it_is_good_and_removed_afterwards(void **state)
{
	(void)state;
	assert_true(is_taken("{\"iss\":\"" ISSUER "\",\"aud\":[\"x\",\"app\"],\"exp\":1100}"));
	assert_true(is_taken("{\"iss\":\"" ISSUER "\",\"aud\":\"app\",\"exp\":1100}"));
	assert_false(is_taken("{\"iss\":\"" ISSUER "\",\"aud\":\"app\",\"exp\":1001}"));
	assert_false(is_taken("{\"iss\":\"" ISSUER "\",\"aud\":\"app\",\"exp\":999}"));
	assert_false(is_taken("{\"iss\":\"" ISSUER "\",\"aud\":\"app\"}"));
	assert_false(
		is_taken("{\"iss\":\"" ISSUER "\",\"aud\":\"app\",\"exp\":9223372036854775807}"));
}

static void a_token_for_others_or_by_others_is_not_taken(void **state)
{
	(void)state;
	assert_false(is_taken("{\"iss\":\"" ISSUER "\",\"aud\":\"other\",\"exp\":1100}"));
	assert_false(is_taken("{\"iss\":\"" ISSUER "\",\"aud\":[],\"exp\":1100}"));
	assert_false(is_taken("{\"iss\":\"https://evil.test\",\"aud\":\"app\",\"exp\":1100}"));
	assert_false(is_taken("{\"aud\":\"app\",\"exp\":1100}"));
	assert_false(is_taken("[]"));
	assert_false(is_taken("{"));
}

static void what_is_no_token_has_no_claims(void **state)
{
	static const char *const texts[] = { "",         "a",        "a.b",
					     "..",       "a.!.c",    "a.e30.b.c",
					     "e30.e30.", "e30..e30", "e30.W10.x" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_null(token_claims(bytes_str(texts[i])));
}

static void names_of_files_lead_nowhere_else(void **state)
{
	char *part = token_file_part("*.example.com/../x");

	(void)state;
	assert_string_equal(part, "-.example.com-..-x");
	mem_free(part);
	assert_null(token_file_part(""));
	assert_null(token_file_part("a b"));
	assert_null(token_file_part("a\nb"));
	assert_null(token_file_part("\xc3\xa4"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_is_taken_while_it_is_good_and_removed_afterwards),
		cmocka_unit_test(a_token_for_others_or_by_others_is_not_taken),
		cmocka_unit_test(what_is_no_token_has_no_claims),
		cmocka_unit_test(names_of_files_lead_nowhere_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
