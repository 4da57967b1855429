/* A document of Access, over what is in a store already: it is put in place or refused with a reason, and what is in
 * place is exported so that applying it changes nothing. Only tried: the store stays as it was but for the first one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "edge/access/document.h"
#include "edge/access/document_yaml.h"
#include "store/store.h"

/* As in fuzz_yaml.c: what the library forgets is its own. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so";
}

static const char first[] =
	"organization: {name: Home, auth_domain: home.example}\n"
	"identity_providers: [{name: Codes, type: onetimepin}, {name: Here, type: password}]\n"
	"service_tokens: [{name: robot}]\n"
	"groups: [{name: family, include: [{email_domain: family.example}]}]\n"
	"policies:\n"
	"- {name: Family, decision: allow, include: [{group: family}]}\n"
	"- {name: Robots, decision: non_identity, include: [{service_token: robot}]}\n"
	"applications:\n"
	"- {name: Photos, domain: photos.example.com/private, policies: [Robots, Family]}\n";

static json_t *apply(struct store *store, struct bytes text, bool is_dry)
{
	const struct access_apply how = { .is_dry = is_dry, .prunes = text.len % 2 };
	struct err err = { 0 }, placed = { 0 };
	struct yaml_doc *doc = yaml_parse(text, "access.yml", &err);
	json_t *document = doc ? access_document_read(doc, &err) : NULL, *result = NULL;

	if (document) {
		result = access_document_apply(store, document, &how, &err);
		if (!result) {
			access_document_locate(doc, err.text, &placed);
			BUG_IF(!placed.text[0]);
		}
	}
	BUG_IF(!result && !err.text[0]);
	json_decref(document);
	yaml_free(doc);
	return result;
}

static struct store *make_store(void)
{
	static char dir[] = "/tmp/adit-fuzz-document-XXXXXX";
	char file[128];
	struct store *store = mkdtemp(dir) ? store_open(dir, true, NULL) : NULL;

	BUG_IF(!store);
	json_t *result = apply(store, bytes_str(first), false);
	BUG_IF(!result);
	json_decref(result);
	/* It goes on without its names. */
	static const char *const names[] = { "db/adit.db", "db/adit.db-wal", "db/adit.db-shm", "db",
					     "master.key" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(file, sizeof(file), "%s/%s", dir, names[i]);
		(void)remove(file);
	}
	(void)remove(dir);
	return store;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct store *store;

	if (!store)
		store = make_store();
	json_decref(apply(store, bytes_of(data, size), true));
	return 0;
}
