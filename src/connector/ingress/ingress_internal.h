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
	size_t check_count;             /* rules with a healthCheck */
	struct ingress_origin defaults; /* the top level's originRequest */
	struct ingress_private private_network;
	struct text_list warnings;
	struct text_list unknown;
};

struct ingress *ingress_new(size_t rule_count);

/* Formats into the arena. */
const char *ingress_text(struct ingress *in, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same, appended to the warnings, unless the very text is there. */
void ingress_warn(struct ingress *in, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Notes the keys of the map `n` that are not among `known`; `where` is "originRequest", "access", … */
void ingress_check_keys(struct ingress *in, const struct yaml_node *n, const char *where,
			const char *const *known, size_t known_count);

/* --- origin_request.c --- */

/* What the readers of one originRequest map share. */
struct origin_reading {
	struct ingress *in;
	enum ingress_form form;
	struct ingress_origin *origin; /* lies over what came before */
	const struct yaml_node *place; /* being read, for errors */
	struct err *err;
};

bool origin_request_has_key(const char *name);
/* Lays the map `n` (NULL or null: nothing) over r->origin. */
int origin_request_apply(struct origin_reading *r, const struct yaml_node *n);

/* --- origin_values.c: the values that are more than one word. Each replaces what came before. --- */

int origin_read_access(struct origin_reading *r, const struct yaml_node *n);
int origin_read_ip_rules(struct origin_reading *r, const struct yaml_node *n);
int origin_read_set_headers(struct origin_reading *r, const struct yaml_node *n);
int origin_read_remove_headers(struct origin_reading *r, const struct yaml_node *n);
int origin_read_strip_prefix(struct origin_reading *r, const struct yaml_node *n);

/* --- ingress_health.c --- */

/* Reads the map `n` (NULL or null: no check) for a rule whose service is known. *ret_place as in
 * ingress_parse(). E_LIMIT beyond LIMIT_HEALTH_CHECKS. */
int ingress_health_parse(struct ingress *in, const struct yaml_node *n, enum ingress_form form,
			 struct ingress_rule *rule, const struct yaml_node **ret_place,
			 struct err *err);

/* --- ingress_tls.c --- */

/* Reads the map `n` (NULL or null: none) for a rule that is complete otherwise. *ret_place as in ingress_parse(). */
int ingress_tls_parse(struct ingress *in, const struct yaml_node *n, struct ingress_rule *rule,
		      const struct yaml_node **ret_place, struct err *err);

/* --- private_network.c --- */

void ingress_private_defaults(struct ingress_private *p);

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
