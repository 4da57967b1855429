/* `tls` of a rule: the connector ends the TLS of visitors that the edge passes through. Ours alone. */
#include "base/limits.h"
#include "connector/ingress/ingress_internal.h"

/* Reads the keys of `n` that are texts; others are unknown. */
static int texts_read(struct ingress *in, const struct yaml_node *n, const char *const *known,
		      const char **const *texts, size_t count, const struct yaml_node **ret_place,
		      struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		const struct yaml_node *value = yaml_get(n, known[i]);
		const char *text;
		if (!texts[i] || yaml_kind(value) == YAML_NULL)
			continue;
		*ret_place = value;
		int r = yaml_as_string(value, &text, err);
		if (r < 0)
			return r;
		*texts[i] = arena_strdup(&in->arena, bytes_str(text));
	}
	return 0;
}

/* A misspelt key here may leave a service without the protection that was asked for, so it is no warning. */
static int keys_check(const struct yaml_node *n, const char *where, const char *const *known,
		      size_t count, const struct yaml_node **ret_place, struct err *err)
{
	const struct yaml_node *key, *value;
	struct err what;

	if (yaml_kind(n) != YAML_MAPPING)
		return yaml_error(n, err, "%s is not a map", where);
	for (size_t i = 0; i < yaml_count(n); i++) {
		yaml_pair(n, i, &key, &value);
		if (!ingress_key_is_unknown(key, where, known, count, &what))
			continue;
		*ret_place = key;
		return err_set(err, E_INVALID, "%s", what.text);
	}
	return 0;
}

static int acme_read(struct ingress *in, const struct yaml_node *n, struct ingress_rule *rule,
		     const struct yaml_node **ret_place, struct err *err)
{
	static const char *const known[] = { "directory", "storage", "email", "caFile" };
	struct ingress_tls *t = &rule->tls;
	const char **const texts[] = { &t->acme_directory, &t->acme_storage, &t->acme_email,
				       &t->acme_ca_file };

	*ret_place = n;
	int r = keys_check(n, "tls.acme", known, ARRAY_LEN(known), ret_place, err);
	if (r == 0)
		r = texts_read(in, n, known, texts, ARRAY_LEN(known), ret_place, err);
	if (r < 0)
		return r;
	*ret_place = n;
	if (!t->acme_directory ||
	    !bytes_starts_with(bytes_str(t->acme_directory), BYTES_LIT("https://")))
		return yaml_error(n, err, "tls.acme.directory is the https:// URL of an authority");
	if (!t->acme_storage || !*t->acme_storage)
		return yaml_error(
			n, err, "tls.acme.storage is the folder for the certificate and its keys");
	if (!*rule->hostname || rule->hostname[0] == '*')
		return yaml_error(
			n, err,
			"tls.acme proves one hostname by TLS-ALPN-01: the rule has to name it");
	return 0;
}

int ingress_tls_parse(struct ingress *in, const struct yaml_node *n, struct ingress_rule *rule,
		      const struct yaml_node **ret_place, struct err *err)
{
	static const char *const known[] = { "certificate", "key", "acme" };
	struct ingress_tls *t = &rule->tls;
	const char **const texts[] = { &t->certificate, &t->key, NULL };
	const struct yaml_node *acme = yaml_get(n, "acme");

	if (yaml_kind(n) == YAML_NULL)
		return 0;
	*ret_place = n;
	int r = keys_check(n, "tls", known, ARRAY_LEN(known), ret_place, err);
	if (r == 0)
		r = texts_read(in, n, known, texts, ARRAY_LEN(known), ret_place, err);
	if (r == 0 && yaml_kind(acme) != YAML_NULL)
		r = acme_read(in, acme, rule, ret_place, err);
	if (r < 0)
		return r;
	*ret_place = n;
	bool has_files = t->certificate && t->key;
	if ((t->certificate || t->key) && (!has_files || t->acme_directory))
		return yaml_error(n, err, "tls has either certificate and key, or acme");
	if (!has_files && !t->acme_directory)
		return yaml_error(n, err, "tls has neither certificate and key nor acme");
	if (*rule->path)
		return yaml_error(
			n, err, "tls is a hostname's, not a path's: it goes to a rule without path");
	if (rule->kind == INGRESS_TCP || rule->kind == INGRESS_UDP || rule->kind == INGRESS_SOCKS ||
	    rule->kind == INGRESS_BASTION)
		return yaml_error(
			n, err,
			"tls is for services that speak HTTP; %.200s gets the visitor's TLS "
			"as it is",
			rule->service);
	t->is_on = true;
	if (rule->origin.access.is_required)
		ingress_warn(in,
			     "Rule #%u (%s): access is required, but TLS that is passed through "
			     "brings no token of the edge, so every request of it will be refused",
			     rule->index + 1, rule->label);
	return 0;
}

const struct ingress_rule *ingress_match_tls(const struct ingress *in, struct bytes host)
{
	host = hostname_without_port(host);
	for (size_t i = 0; i < in->count; i++)
		if (in->rules[i].tls.is_on && hostname_matches(in->rules[i].matcher, host))
			return &in->rules[i];
	return NULL;
}
