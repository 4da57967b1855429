/* Any text: a tree whose every value can be read as every type, or one refusal. */
#include "config/yaml.h"

/* libfyaml 0.7.12 forgets 2 KiB when a quoted scalar of many pieces turns out to be malformed. The unit
 * tests run without this, so what we owe the library is still seen. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so";
}

static void walk(const struct yaml_node *n, unsigned depth)
{
	const char *text;
	int64_t number;
	bool flag;
	usec duration;

	(void)yaml_as_string(n, &text, NULL);
	(void)yaml_as_bool(n, &flag, NULL);
	(void)yaml_as_int(n, INT64_MIN, INT64_MAX, &number, NULL);
	(void)yaml_as_duration(n, false, &duration, NULL);
	(void)yaml_as_duration(n, true, &duration, NULL);
	/* Shared nodes make a full walk exponential; four levels see each kind of node. */
	for (size_t i = 0; depth < 4 && i < yaml_count(n) && i < 8; i++) {
		const struct yaml_node *key, *value;
		walk(yaml_item(n, i), depth + 1);
		yaml_pair(n, i, &key, &value);
		walk(key, depth + 1);
		walk(value, depth + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[40];
	usec duration;
	struct yaml_doc *doc = yaml_parse(bytes_of(data, size), "fuzz", NULL);

	if (doc)
		walk(yaml_root(doc), 0);
	yaml_free(doc);
	if (duration_parse(bytes_of(data, size), &duration))
		(void)duration_text(duration, text);
	return 0;
}
