#include "edge/dns/update_message.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/mem.h"

/* RFC 2136 §2.3 and §3. */
#define SECTION_PREREQUISITES LDNS_SECTION_ANSWER
#define SECTION_UPDATES LDNS_SECTION_AUTHORITY

static const ldns_rr_type routed_types[] = { LDNS_RR_TYPE_A, LDNS_RR_TYPE_AAAA, LDNS_RR_TYPE_CNAME };

static ldns_rr *rr_without_data(const char *owner, ldns_rr_type type, ldns_rr_class class)
{
	ldns_rr *rr = ldns_rr_new();

	ldns_rr_set_owner(rr, ldns_dname_new_frm_str(owner));
	ldns_rr_set_type(rr, type);
	ldns_rr_set_class(rr, class);
	ldns_rr_set_ttl(rr, 0);
	return rr;
}

/* Pushes each record of `texts`, with another class and TTL where these say something else. */
static int push_records(ldns_pkt *p, ldns_pkt_section section, const char *name, const char *texts,
			ldns_rr_class class, uint32_t ttl, struct err *err)
{
	struct bytes rest = bytes_str(texts);

	while (rest.len) {
		size_t len = bytes_index(rest, '\n');
		char *line = mem_printf("%s. %u IN %.*s", name, ttl, (int)len, rest.ptr);
		ldns_rr *rr = NULL;
		ldns_status status = ldns_rr_new_frm_str(&rr, line, 0, NULL, NULL);
		mem_free(line);
		if (status != LDNS_STATUS_OK)
			return err_set(err, E_INVALID, "\"%.*s\" is no record: %s", (int)len,
				       rest.ptr, ldns_get_errorstr_by_id(status));
		ldns_rr_set_class(rr, class);
		ldns_pkt_push_rr(p, section, rr);
		rest = bytes_from(rest, len < rest.len ? len + 1 : len);
	}
	return 0;
}

static bool has_type(const char *texts, ldns_rr_type type)
{
	char *word = ldns_rr_type2str(type);
	size_t word_len = strlen(word);
	bool has = false;

	for (const char *at = texts; *at && !has; at += *at == '\n') {
		has = strncmp(at, word, word_len) == 0 && at[word_len] == ' ';
		at += strcspn(at, "\n");
	}
	LDNS_FREE(word);
	return has;
}

/* Nothing of what a hostname cannot share its name with. A CNAME shares it with nothing (a server would ignore the
 * update without a word, RFC 2136 §3.4.2.2). */
static void require_room(ldns_pkt *p, const struct dns_update *u)
{
	if (has_type(u->records, LDNS_RR_TYPE_CNAME)) {
		ldns_pkt_push_rr(p, SECTION_PREREQUISITES,
				 rr_without_data(u->name, LDNS_RR_TYPE_ANY, LDNS_RR_CLASS_NONE));
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(routed_types); i++)
		ldns_pkt_push_rr(p, SECTION_PREREQUISITES,
				 rr_without_data(u->name, routed_types[i], LDNS_RR_CLASS_NONE));
}

/* These records and no others of addresses and CNAME. */
static int require_exactly(ldns_pkt *p, const struct dns_update *u, const char *texts,
			   struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(routed_types); i++)
		if (!has_type(texts, routed_types[i]))
			ldns_pkt_push_rr(
				p, SECTION_PREREQUISITES,
				rr_without_data(u->name, routed_types[i], LDNS_RR_CLASS_NONE));
	return push_records(p, SECTION_PREREQUISITES, u->name, texts, LDNS_RR_CLASS_IN, 0, err);
}

static void remove_sets(ldns_pkt *p, const struct dns_update *u)
{
	for (size_t i = 0; i < ARRAY_LEN(routed_types); i++)
		ldns_pkt_push_rr(p, SECTION_UPDATES,
				 rr_without_data(u->name, routed_types[i], LDNS_RR_CLASS_ANY));
}

static int add(ldns_pkt *p, const struct dns_update *u, struct err *err)
{
	return push_records(p, SECTION_UPDATES, u->name, u->records, LDNS_RR_CLASS_IN, u->ttl, err);
}

static int fill(ldns_pkt *p, const struct dns_update *u, enum dns_update_step step, struct err *err)
{
	int r = 0;

	switch (step) {
	case DNS_UPDATE_CHECK:
		return require_exactly(p, u, u->records, err);
	case DNS_UPDATE_ADD:
		require_room(p, u);
		break;
	case DNS_UPDATE_REPLACE:
		r = require_exactly(p, u, u->before, err);
		remove_sets(p, u);
		break;
	case DNS_UPDATE_OVERWRITE:
		remove_sets(p, u);
		break;
	case DNS_UPDATE_MERGE:
		r = push_records(p, SECTION_UPDATES, u->name, u->before, LDNS_RR_CLASS_NONE, 0, err);
		break;
	}
	return r < 0 ? r : add(p, u, err);
}

ldns_pkt *dns_update_message(const struct dns_update *u, enum dns_update_step step, struct err *err)
{
	ldns_pkt *p = ldns_pkt_new();
	ldns_rr *zone = rr_without_data(u->zone, LDNS_RR_TYPE_SOA, LDNS_RR_CLASS_IN);

	ldns_rr_set_question(zone, true);
	ldns_pkt_set_opcode(p, LDNS_PACKET_UPDATE);
	ldns_pkt_push_rr(p, LDNS_SECTION_QUESTION, zone);
	if (fill(p, u, step, err) < 0) {
		ldns_pkt_free(p);
		return NULL;
	}
	return p;
}
