/* What the files of ingress/ share. */
#pragma once

#include <stdatomic.h>

#include "base/arena.h"
#include "connector/ingress/ingress.h"
#include "connector/ingress/path_regex.h"

struct ingress_matcher {
	bool is_any_host;
	bool is_suffix;          /* host and idn_host begin with the dot behind the asterisk */
	struct bytes host;       /* as written */
	struct bytes idn_host;   /* in punycode, where that differs; else len 0 */
	struct path_regex *path; /* owned; NULL: every path */
};

struct text_list {
	const char **texts; /* owned; the texts live in the arena */
	size_t count;
};

struct ingress {
	uint32_t magic;
	atomic_uint refs;
	struct arena arena;         /* every text and matcher */
	struct ingress_rule *rules; /* in the arena */
	size_t count;
	struct text_list warnings;
	struct text_list unknown;
};

struct ingress *ingress_new(size_t rule_count);

/* Formats into the arena. */
const char *ingress_text(struct ingress *in, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same, appended to the warnings, unless the very text is there. */
void ingress_warn(struct ingress *in, const char *fmt, ...) PRINTF_LIKE(2, 3);
void ingress_note_unknown(struct ingress *in, const struct yaml_node *key, const char *type);

/* --- origin_request.c --- */

/* Options of one place, resolved over those before it. */
struct origin_options {
	struct ingress_origin origin;
	bool is_bastion;         /* bastionMode */
	bool is_access_required; /* access.required */
};

/* Lays the map `n` (NULL or null: nothing) over *options. ipRules are checked only where they are used. */
int origin_request_apply(struct ingress *in, const struct yaml_node *n, enum ingress_form form,
			 struct origin_options *options, const struct yaml_node **ret_place,
			 struct err *err);
/* The rules of a socks-proxy service: E_INVALID with the stock texts. */
int origin_request_check_ip_rules(const struct yaml_node *n, const struct yaml_node **ret_place,
				  struct err *err);

/* --- service.c --- */

/* Fills kind, service, scheme, host, port, unix_path, status and is_tls. */
int service_parse(struct ingress *in, const char *text, bool is_bastion, struct ingress_rule *rule,
		  struct err *err);

/* --- hostname.c --- */

/* The stock rules for hostname patterns; `index` and `count` say where the rule stands. */
int hostname_check(const char *hostname, const char *path, size_t index, size_t count,
		   struct err *err);
void hostname_compile(struct arena *arena, const char *hostname, struct ingress_matcher *m);
bool hostname_matches(const struct ingress_matcher *m, struct bytes host);
/* Without a port: "a:80" is "a", "[::1]:80" is "::1", anything else is itself. */
struct bytes hostname_without_port(struct bytes host);
