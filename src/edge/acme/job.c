#include "edge/acme/job.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/acme/settings.h"
#include "edge/boxed_signer.h"
#include "store/store.h"
#include "tls/request.h"

/* A zone and its wildcard; more than two are never ordered together. */
#define MAX_NAMES 4
#define CSR_BYTES 16384

static char *wiped(char *text)
{
	if (text)
		secret_wipe(text, strlen(text));
	return mem_free(text);
}

struct acme_job *acme_job_free(struct acme_job *j)
{
	if (!j)
		return NULL;
	for (size_t i = 0; i < j->hostname_count; i++)
		mem_free(j->hostnames[i]);
	mem_free(j->hostnames);
	mem_free(j->name);
	wiped(j->account_key);
	mem_free(j->renewal_id);
	acme_order_free(j->order);
	mem_free(j->chain_pem);
	wiped(j->key_pem);
	mem_free(j->issuer);
	return mem_free(j);
}

void acme_job_set_names(struct acme_job *j, const char *name, const char *hostnames)
{
	struct bytes rest = bytes_str(hostnames), line = BYTES_NONE;

	j->name = mem_strdup(name);
	j->hostnames = mem_alloc_array(MAX_NAMES, sizeof(*j->hostnames));
	while (j->hostname_count < MAX_NAMES && bytes_split(&rest, '\n', &line))
		j->hostnames[j->hostname_count++] = mem_strndup(line);
}

/* --- On the pool ------------------------------------------------------------------------------ */

/* Whether what went wrong is about this name (and the others may go on), or not. */
static bool is_of_authority(const struct acme_job *j)
{
	switch (j->err.code) {
	case E_IO:
	case E_NOT_FOUND:
	case E_REFUSED:
	case E_CLOSED:
	case E_TLS:
	case E_INTERNAL:
		return true;
	case E_TIMEOUT:
		return !j->order;
	default:
		return !acme_has_account(j->acme);
	}
}

static void note_failure(struct acme_job *j)
{
	j->retry_at = acme_retry_at(j->acme);
	j->was_cancelled = j->err.code == E_CANCELLED;
	j->is_of_authority = is_of_authority(j);
}

void acme_job_account(void *job)
{
	struct acme_job *j = job;
	struct acme_options options = {
		.directory = j->config->acme_directory,
		.ca_file = j->config->acme_ca_file,
		.contact = j->config->acme_email,
	};
	struct secret binding_key = { 0 };
	char *binding_id = NULL, *key_text = NULL;
	int r = 0;

	if (j->config->acme_eab)
		r = acme_binding_load(j->config->acme_eab, &binding_id, &binding_key, &j->err);
	if (r == 0 && binding_id) {
		key_text = mem_strndup(bytes_of(binding_key.ptr, binding_key.len));
		options.binding_id = binding_id;
		options.binding_key = key_text;
	}
	if (r == 0)
		options.account = j->account_key ? boxed_signer_parse(j->account_key, &j->err)
						 : boxed_signer_make(PRIVATE_KEY_P256,
								     ACME_ACCOUNT_PLACE, &j->err);
	if (options.account)
		j->acme = acme_new(&options, &j->err);
	if (j->acme && !j->account_key)
		j->account_key = acme_account_key(j->acme);
	else
		j->account_key = wiped(j->account_key);
	wiped(key_text);
	secret_done(&binding_key);
	mem_free(binding_id);
}

void acme_job_time(void *job)
{
	struct acme_job *j = job;

	if (acme_renewal_time(j->acme, j->renewal_id, &j->renew_at, &j->err) < 0)
		note_failure(j);
	else
		j->retry_at = acme_retry_at(j->acme);
}

void acme_job_order(void *job)
{
	struct acme_job *j = job;

	j->order = acme_order(j->acme, (const char *const *)j->hostnames, j->hostname_count,
			      j->methods, j->method_count, j->renewal_id, &j->err);
	if (!j->order)
		note_failure(j);
}

static int check(struct acme_job *j)
{
	struct tls_chain_info info;
	int r = tls_chain_check(j->chain_pem, j->key_pem, (const char *const *)j->hostnames,
				j->hostname_count, &j->err);

	if (r == 0)
		r = tls_chain_info(j->chain_pem, &info, &j->err);
	if (r < 0)
		return err_wrap(&j->err, "what the authority issued");
	j->issuer = mem_strdup(info.issuer);
	j->starts_at = info.starts_at;
	j->ends_at = info.ends_at;
	mem_free(info.names);
	if (j->ends_at <= clock_wall_now() || j->ends_at <= j->starts_at)
		return err_set(&j->err, E_PROTOCOL, "the authority's certificate has ended already");
	mem_free(j->renewal_id);
	j->renewal_id = tls_renewal_id(j->chain_pem);
	return 0;
}

void acme_job_prove(void *job)
{
	struct acme_job *j = job;
	struct buf csr;
	int r = acme_prove(j->acme, j->order, &j->err);

	buf_init(&csr, CSR_BYTES);
	if (r == 0) {
		char *name = mem_printf("acme %s", j->name), *place = store_certificate_place(name);
		r = tls_request_make((const char *const *)j->hostnames, j->hostname_count, place,
				     &csr, &j->key_pem, &j->err);
		mem_free(place);
		mem_free(name);
	}
	if (r == 0) {
		j->chain_pem = acme_finish(j->acme, j->order, buf_bytes(&csr), &j->err);
		r = j->chain_pem ? check(j) : j->err.code;
	}
	buf_done(&csr);
	if (r < 0) {
		j->chain_pem = mem_free(j->chain_pem);
		note_failure(j);
	}
}
