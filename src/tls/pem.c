#include "tls/pem.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

/* A chain of ten large certificates has 30 KiB. */
#define CHAIN_BYTES (128 * 1024)
#define CERTIFICATES_MAX 20
#define LABEL_BYTES 60

void pem_parts_done(struct pem_parts *p)
{
	mem_free(p->chain);
	secret_done(&p->key);
	*p = (struct pem_parts){ 0 };
}

static size_t find(struct bytes in, const char *what)
{
	const uint8_t *at = in.len ? memmem(in.ptr, in.len, what, strlen(what)) : NULL;

	return at ? (size_t)(at - in.ptr) : in.len;
}

/* The next block with both its lines; label without "BEGIN". False at the end, or with *err set. */
static bool next_block(struct bytes *rest, struct bytes *block, char label[LABEL_BYTES + 1],
		       struct err *err)
{
	char end[LABEL_BYTES + 20];

	*rest = bytes_from(*rest, find(*rest, "-----BEGIN "));
	if (rest->len == 0)
		return false;
	struct bytes after = bytes_from(*rest, 11);
	size_t len = find(after, "-----");
	if (len > LABEL_BYTES || len == after.len) {
		err_set(err, E_INVALID, "a line \"-----BEGIN\" of the file is damaged");
		return false;
	}
	(void)snprintf(label, LABEL_BYTES + 1, BYTES_FMT, BYTES_ARG(bytes_first(after, len)));
	(void)snprintf(end, sizeof(end), "-----END %s-----", label);
	size_t size = find(*rest, end);
	if (size == rest->len) {
		err_set(err, E_INVALID, "the block \"BEGIN %s\" of the file does not end", label);
		return false;
	}
	size += strlen(end);
	*block = bytes_first(*rest, size);
	*rest = bytes_from(*rest, size);
	return true;
}

static int take_key(struct pem_parts *p, struct bytes block, const char *label, struct err *err)
{
	if (strcmp(label, "ENCRYPTED PRIVATE KEY") == 0 || find(block, "ENCRYPTED") < block.len)
		return err_set(err, E_INVALID,
			       "the private key has a password: write it without one (openssl pkey "
			       "-in KEY -out NEW) and import that");
	if (p->key.len)
		return err_set(err, E_INVALID, "there is more than one private key");
	secret_set(&p->key, block);
	return 0;
}

static int take_certificate(struct pem_parts *p, struct buf *chain, struct bytes block,
			    struct err *err)
{
	if (++p->certificate_count > CERTIFICATES_MAX || buf_append(chain, block) < 0 ||
	    buf_append_str(chain, "\n") < 0)
		return err_set(err, E_LIMIT,
			       "there are more than %d certificates, or too large ones",
			       CERTIFICATES_MAX);
	return 0;
}

int pem_split(struct bytes text, struct pem_parts *ret, struct err *err)
{
	struct pem_parts p = { 0 };
	char label[LABEL_BYTES + 1];
	struct bytes block;
	struct err why = { 0 };
	struct buf chain;
	int r = 0;

	buf_init(&chain, CHAIN_BYTES);
	while (r == 0 && next_block(&text, &block, label, &why)) {
		if (strcmp(label, "CERTIFICATE") == 0)
			r = take_certificate(&p, &chain, block, &why);
		else if (bytes_ends_with(bytes_str(label), BYTES_LIT("PRIVATE KEY")))
			r = take_key(&p, block, label, &why);
	}
	if (r == 0)
		r = why.code;
	if (r == 0 && chain.len)
		p.chain = buf_take_str(&chain);
	buf_done(&chain);
	if (r < 0) {
		pem_parts_done(&p);
		if (err)
			*err = why;
		return r;
	}
	*ret = p;
	return 0;
}
