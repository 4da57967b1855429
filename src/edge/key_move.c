#include "edge/key_move.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/access/keys.h"
#include "edge/access/ssh_cert.h"
#include "edge/acme/job.h"
#include "edge/boxed_signer.h"
#include "edge/certificates.h"
#include "edge/dns/roll.h"
#include "store/store.h"
#include "tls/authority.h"
#include "tls/key_box.h"

static int box_pem(const char *text, const char *place, char **ret_text, struct err *err)
{
	if (private_key_is_boxed(text))
		return 0;
	int r = private_key_box(text, place, ret_text, err);
	return r < 0 ? r : 1;
}

static int box_authority(const char *text, char **ret_text, struct err *err)
{
	return box_pem(text, AUTHORITY_PLACE, ret_text, err);
}

static int box_ssh(const char *text, char **ret_text, struct err *err)
{
	return box_pem(text, SSH_AUTHORITY_PLACE, ret_text, err);
}

static int box_account(const char *text, char **ret_text, struct err *err)
{
	if (private_key_is_boxed(text))
		return 0;
	int r = boxed_signer_move(text, ACME_ACCOUNT_PLACE, ret_text, err);
	return r < 0 ? r : 1;
}

/* Settings that hold private keys, by the beginning of their names. `move` gives 1 with the new text, 0: nothing is to be
 * done. */
static const struct kind {
	const char *prefix;
	int (*move)(const char *text, char **ret_text, struct err *err);
} kinds[] = {
	{ "access.keys", access_keys_box }, { "access.ssh-ca ", box_ssh },
	{ "acme.account ", box_account },   { "ca.key", box_authority },
	{ "dns.key.", dns_keys_box },       { "dns.roll.", dns_keys_box },
};

static void forget(char *text)
{
	if (text)
		secret_wipe(text, strlen(text));
	mem_free(text);
}

static int move_setting(struct store *store, const struct kind *kind, const char *name,
			struct err *err)
{
	char *text = store_setting_get(store, name, err), *moved = NULL;
	/* What ended is kept as an empty one. */
	int r = !text ? E_IO : *text ? kind->move(text, &moved, err) : 0;

	if (r > 0)
		r = store_setting_put(store, name, moved, true, err) < 0 ? E_IO : 1;
	forget(text);
	forget(moved);
	return r < 0 ? err_wrap(err, "the key %s", name) : r;
}

static int move_kind(struct store *store, const struct kind *kind, struct err *err)
{
	char *names = store_setting_names(store, kind->prefix, err);
	struct bytes rest = bytes_str(names ? names : ""), name = BYTES_NONE;
	int r = names ? 0 : E_IO, moved = 0;

	while (r >= 0 && rest.len && bytes_split(&rest, '\n', &name)) {
		char *copy = mem_strndup(name);
		r = move_setting(store, kind, copy, err);
		moved += r > 0;
		mem_free(copy);
	}
	mem_free(names);
	return r < 0 ? r : moved;
}

int key_move_all(struct store *store, struct err *err)
{
	struct err why = { 0 };
	int r = 0, certificates, others = 0;

	if (!key_box_is_running())
		return 0;
	certificates = r = certificates_box_all(store, &why);
	for (size_t i = 0; i < ARRAY_LEN(kinds) && r >= 0; i++) {
		r = move_kind(store, &kinds[i], &why);
		others += r > 0 ? r : 0;
	}
	if (r < 0) {
		if (err)
			*err = why;
		return why.code < 0 ? why.code : r;
	}
	if (certificates + others)
		log_info("edge/keys", "private keys are the key process's from now on",
			 LOG_INT("certificates", certificates), LOG_INT("others", others));
	return certificates + others;
}
