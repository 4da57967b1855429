/* Where `adit access tcp` goes and what it says there: made once from the command line, then only read.
 *
 * The hostname of an application, as people write it ("h", "h:8443", "https://h/path", in any script), is
 * always asked over https. Texts are borrowed until access_target_done() by whoever reads the target.
 * Blocks on nothing but the trusted roots' files. One thread.
 */
#pragma once

#include "base/arena.h"
#include "connector/access/proxy.h"
#include "http/head.h"

struct tls_context;

/* The command line; every text may be NULL or empty but hostname. Borrowed for the call. */
struct access_options {
	const char *program; /* for User-Agent: "adit" */
	const char *hostname;
	const char *destination; /* of a bastion: "10.0.0.1:22" */
	/* A private network: `hostname` is the control host of an edge and `destination` an IP address and port
	 * behind it. The API token of the account lets one in; `vnet` is the virtual network, empty: the default. */
	struct bytes api_token;
	const char *vnet;
	const char *token_id, *token_secret; /* of a service token */
	char *const *headers;                /* "Name: value" */
	size_t header_count;
	/* Another place to connect to: "host", "host:port" or "sni:port:host". The certificate there is
	 * verified all the same: for the application's name, or for `sni`. */
	const char *connect_to;
	struct bytes ca_pem; /* trusted beside the system's roots */
	bool no_system_roots;
	const char *https_proxy, *no_proxy; /* as in the environment */
};

struct access_target {
	struct arena arena; /* owns every text */
	struct bytes host;  /* of the application, without port */
	uint16_t port;
	struct bytes connect_host; /* where TCP goes, unless a proxy does */
	uint16_t connect_port;
	struct bytes server_name; /* that the certificate has to be for */
	struct head request;      /* without Sec-WebSocket-Key */
	bool has_proxy;
	struct proxy proxy;
	struct tls_context *tls; /* counted */
};

/* E_INVALID, E_TLS, E_LIMIT with a sentence about the option that is wrong; nothing is to be ended then.
 * A header that a WebSocket's handshake sets itself is left out with a warning in the log. */
int access_target_init(struct access_target *t, const struct access_options *options,
		       struct err *err) MUST_USE;
void access_target_done(struct access_target *t);
/* The token that requests carry from now on, in place of an earlier one. E_INVALID, E_LIMIT: it cannot be sent. */
int access_target_set_token(struct access_target *t, struct bytes token, struct err *err) MUST_USE;

/* Do two hostnames, as people write them, mean the same place? */
bool access_is_same_host(const char *one, const char *other);

/* "h", "h:8443", "https://h:8443/path?x", "[::1]:443" and "::1" into host (IDNs in ASCII), port (443 when
 * there is none) and path ("/"), all from `a`. E_INVALID. */
int access_parse_hostname(struct arena *a, const char *text, struct bytes *ret_host,
			  uint16_t *ret_port, struct bytes *ret_path, struct err *err) MUST_USE;
