/* Documents: what they make of the configuration, and that it is all or nothing. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "edge/access/document.h"
#include "store/store_access.h"

static struct {
	char dir[64];
	struct store *store;
	struct err err;
} t;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int set_up(void **state)
{
	memset(&t, 0, sizeof(t));
	snprintf(t.dir, sizeof(t.dir), "/tmp/adit-test-document-XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	t.store = store_open(t.dir, true, NULL);
	assert_non_null(t.store);
	return 0;
}

static int tear_down(void **state)
{
	store_close(t.store);
	nftw(t.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

/* How many changes, -1 when it is refused: t.err says why then. Quotes are written as '. */
static int apply_with(const char *text, struct access_apply how)
{
	char *copy = mem_strdup(text);

	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	json_t *document = json_loads(copy, 0, NULL);
	assert_non_null(document);
	json_t *result = access_document_apply(t.store, document, &how, &t.err);
	int count = result ? (int)json_array_size(json_object_get(result, "changes")) : -1;
	json_decref(result);
	json_decref(document);
	mem_free(copy);
	return count;
}

static int apply(const char *text)
{
	return apply_with(text, (struct access_apply){ 0 });
}

static void assert_exported(const char *section, size_t count)
{
	json_t *document = access_document_export(t.store, NULL);

	assert_non_null(document);
	assert_int_equal(json_array_size(json_object_get(document, section)), count);
	json_decref(document);
}

static void assert_refused(const char *text, const char *why)
{
	assert_int_equal(apply(text), -1);
	if (!strstr(t.err.text, why))
		fail_msg("\"%s\" is not in \"%s\"", why, t.err.text);
}

#define GROUP "{'name': 'g', 'include': [{'email': 'a@example.com'}]}"
#define POLICY "{'name': 'p', 'decision': 'allow', 'include': [{'group': 'g'}, 'everyone']}"
#define APP "{'name': 'a', 'domain': 'app.example.com', 'policies': ['p']}"
#define ALL "{'groups': [" GROUP "], 'policies': [" POLICY "], 'applications': [" APP "]}"

static void objects_name_each_other_in_any_order(void **state)
{
	assert_int_equal(apply("{'applications': [" APP "], 'policies': [" POLICY
			       "], 'groups': [" GROUP "]}"),
			 3);
	assert_int_equal(apply(ALL), 0);
}

static void what_was_exported_changes_nothing(void **state)
{
	const struct access_apply prunes = { .prunes = true };

	assert_int_equal(apply(ALL), 3);
	json_t *document = access_document_export(t.store, NULL);
	json_t *result = access_document_apply(t.store, document, &prunes, &t.err);
	assert_int_equal(json_array_size(json_object_get(result, "changes")), 0);
	json_decref(result);
	/* Short again, and by name. */
	const json_t *policy = json_array_get(json_object_get(document, "policies"), 0);
	const json_t *include = json_object_get(policy, "include");
	const json_t *group = json_object_get(json_array_get(include, 0), "group");
	assert_string_equal(json_string_value(group), "g");
	assert_string_equal(json_string_value(json_array_get(include, 1)), "everyone");
	assert_null(json_object_get(policy, "id"));
	json_decref(document);
}

static void nothing_is_kept_of_what_is_refused(void **state)
{
	assert_refused("{'groups': [" GROUP "], 'policies': [{'name': 'p', 'decision': 'allow', "
		       "'include': [{'group': 'h'}]}]}",
		       "policies[0]: include[0]: there is no group \"h\"");
	assert_exported("groups", 0);
}

static void a_dry_run_keeps_nothing(void **state)
{
	assert_int_equal(apply_with(ALL, (struct access_apply){ .is_dry = true }), 3);
	assert_exported("applications", 0);
}

static void pruning_takes_away_what_is_not_named(void **state)
{
	assert_int_equal(apply(ALL), 3);
	assert_int_equal(apply("{}"), 0);
	assert_exported("applications", 1);
	assert_int_equal(
		apply_with("{'groups': [" GROUP "]}", (struct access_apply){ .prunes = true }), 2);
	assert_exported("applications", 0);
	assert_exported("groups", 1);
	/* What is still needed may not go. */
	assert_int_equal(apply(ALL), 2);
	assert_int_equal(apply_with("{'applications': [" APP "], 'groups': [" GROUP "]}",
				    (struct access_apply){ .prunes = true }),
			 -1);
	assert_exported("policies", 1);
}

static void mistakes_are_told_with_their_place(void **state)
{
	assert_refused("{'polices': []}", "did you mean \"policies\"");
	assert_refused("{'groups': {}}", "groups must be a list");
	assert_refused("{'groups': ['g']}", "groups[0]: is no mapping");
	assert_refused("{'groups': [{}]}", "groups[0]: \"name\" is missing");
	assert_refused("{'groups': [" GROUP ", " GROUP "]}",
		       "groups[1]: the name \"g\" is there twice");
	assert_refused("{'groups': [" GROUP ", {'name': 'h', 'include': [{'emial': 'x'}]}]}",
		       "groups[1]: ");
	assert_refused("{'applications': [" APP "]}",
		       "applications[0]: policies[0]: there is no policy");
	assert_refused("{'groups': [{'name': 'g', 'include': 3}]}", "groups[0]: ");
	assert_refused("{'groups': [{'name': 'g', 'include': [[]]}]}", "groups[0]: ");
	assert_refused("{'groups': [{'name': 'g', 'include': [{'email': 4}, 7, null]}]}",
		       "groups[0]: ");
	assert_refused("{'applications': [{'name': 'a', 'domain': 'x.example', 'policies': [7]}]}",
		       "applications[0]: policies[0]: ");
	assert_refused("{'organization': 5}", "organization must be a mapping");
}

static void secrets_of_new_tokens_are_told_once(void **state)
{
	const struct access_apply how = { 0 };
	json_t *document = json_pack("{s:[{s:s}]}", "service_tokens", "name", "probe");
	json_t *result = access_document_apply(t.store, document, &how, &t.err);
	const json_t *one = json_array_get(json_object_get(result, "secrets"), 0);

	assert_int_equal(json_string_length(json_object_get(one, "client_secret")), 64);
	json_decref(result);
	result = access_document_apply(t.store, document, &how, &t.err);
	assert_int_equal(json_array_size(json_object_get(result, "secrets")), 0);
	assert_int_equal(json_array_size(json_object_get(result, "changes")), 0);
	json_decref(result);
	json_decref(document);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(objects_name_each_other_in_any_order, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_was_exported_changes_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_kept_of_what_is_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_dry_run_keeps_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pruning_takes_away_what_is_not_named, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(mistakes_are_told_with_their_place, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(secrets_of_new_tokens_are_told_once, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
