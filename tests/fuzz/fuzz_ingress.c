/* Any configuration: rules that can be matched and written, or one refusal. What is written must be
 * read again. */
#include "base/check.h"
#include "connector/ingress/ingress.h"

__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
/* See fuzz_yaml.c. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so";
}

static void use(const struct ingress *in)
{
	int (*const writers[])(const struct ingress *,
			       struct buf *) = { ingress_write_json, ingress_write_config_json };
	static const uint8_t ip[16] = { [10] = 0xff, [11] = 0xff, 10, 0, 0, 1 };
	struct buf json;
	size_t index;

	(void)ingress_match(in, BYTES_LIT("app.example.com:80"), BYTES_LIT("/a/b.png"), &index);
	(void)ingress_match(in, BYTES_LIT("[::1]:80"), BYTES_LIT("/\xc3\xa9"), &index);
	for (size_t i = 0; i < ingress_count(in); i++) {
		(void)ingress_ip_is_allowed(&ingress_rule(in, i)->origin, ip, 80);
		(void)ingress_match(in, bytes_str(ingress_rule(in, i)->hostname),
				    bytes_str(ingress_rule(in, i)->path), &index);
	}
	for (size_t i = 0; i < ARRAY_LEN(writers); i++) {
		buf_init(&json, 1024 * 1024);
		if (writers[i](in, &json) == 0) {
			struct yaml_doc *doc = yaml_parse(buf_bytes(&json), "json", NULL);
			BUG_IF(!doc);
			yaml_free(doc);
		}
		buf_done(&json);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct yaml_doc *doc = yaml_parse(bytes_of(data, size), "fuzz", NULL);
	struct err err;

	if (!doc)
		return 0;
	for (int form = INGRESS_YAML; form <= INGRESS_JSON; form++) {
		const struct yaml_node *place = NULL;
		struct ingress *in =
			ingress_parse(yaml_root(doc), (enum ingress_form)form, &place, &err);
		if (in)
			use(in);
		ingress_unref(in);
	}
	yaml_free(doc);
	return 0;
}
