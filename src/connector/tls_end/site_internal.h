/* Shared inside connector/tls_end/ only. */
#pragma once

#include "base/list.h"
#include "base/secret.h"
#include "connector/tls_end/site.h"
#include "io/loop.h"
#include "tls/tls.h"

struct order;

/* One hostname, or pattern, whose TLS ends here. Counted: by its set of sites, and by work on the pool. */
struct tls_site {
	unsigned refs;
	struct loop *loop; /* borrowed */
	char *hostname;    /* owned, as all texts; "*.example.com", "" */
	char *certificate, *key;
	char *directory, *storage, *email, *ca_file;
	bool is_gone; /* nobody serves it any more */

	struct tls_context *context;                 /* counted; NULL: nothing to show */
	struct tls_certificate *current, *challenge; /* counted; NULL */
	usec starts_at, ends_at;                     /* wall: of `current`, where it was ordered */

	struct loop_file *certificate_file, *key_file; /* owned */
	bool is_reading, is_wanted_again;
	struct order *order; /* owned; NULL: files */
};

struct tls_site *tls_site_ref(struct tls_site *s);
void tls_site_unref(struct tls_site *s);

/* The files of a site, in memory. Texts are owned. */
struct tls_pair {
	char *chain_pem, *key_pem;
};
/* Blocks. */
int tls_pair_read(const char *certificate, const char *key, struct tls_pair *ret, struct err *err);
void tls_pair_done(struct tls_pair *p);

/* From now on that certificate is shown. */
int tls_site_use(struct tls_site *s, const struct tls_pair *p, struct err *err);
/* What is shown to an authority; NULL: nothing any more. Counted. */
void tls_site_challenge(struct tls_site *s, struct tls_certificate *challenge);
