/* What has changed from one version of a zone to the next. */
#include "base/mem.h"
#include "edge/dns/zone_internal.h"

void dns_change_unref(struct dns_change *c)
{
	if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	ldns_rr_list_deep_free(c->removed);
	ldns_rr_list_deep_free(c->added);
	ldns_rr_free(c->soa_before);
	ldns_rr_free(c->soa_after);
	mem_free(c);
}

static bool has_record(const ldns_rr_list *list, const ldns_rr *rr)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *other = ldns_rr_list_rr(list, i);
		if (ldns_rr_ttl(other) == ldns_rr_ttl(rr) && ldns_rr_compare(other, rr) == 0)
			return true;
	}
	return false;
}

/* Those of `list` that `other` (NULL: none) has not. */
static void add_missing(ldns_rr_list *to, const ldns_rr_list *list, const ldns_rr_list *other)
{
	for (size_t i = 0; list && i < ldns_rr_list_rr_count(list); i++) {
		ldns_rr *rr = ldns_rr_list_rr(list, i);
		bool is_soa = ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA;
		if (!is_soa && (!other || !has_record(other, rr)))
			ldns_rr_list_push_rr(to, ldns_rr_clone(rr));
	}
}

static void add_node(ldns_rr_list *to, const struct dns_node *n, const struct dns_node *other)
{
	for (size_t i = 0; i < n->set_count; i++) {
		const struct dns_set *set = &n->sets[i];
		const struct dns_set *same = other ? dns_node_set(other, set->type) : NULL;
		add_missing(to, set->rrs, same ? same->rrs : NULL);
		add_missing(to, set->sigs, same ? same->sigs : NULL);
	}
}

/* The records of `z` that `other` has not. */
static ldns_rr_list *difference(const struct dns_zone *z, const struct dns_zone *other)
{
	ldns_rr_list *list = ldns_rr_list_new();
	size_t at;

	for (size_t i = 0; i < z->count; i++) {
		const struct dns_node *n = &z->nodes[i];
		add_node(list, n, dns_zone_find(other, n->key, n->key_len, &at));
	}
	return list;
}

static ldns_rr *soa_of(const struct dns_zone *z)
{
	return ldns_rr_clone(ldns_rr_list_rr(dns_node_set(&z->nodes[0], LDNS_RR_TYPE_SOA)->rrs, 0));
}

void dns_zone_follow(struct dns_zone *z, const struct dns_zone *before)
{
	size_t kept = before->change_count, first = 0;
	struct dns_change *c = mem_alloc(sizeof(*c));

	c->refs = 1;
	c->from = before->serial;
	c->to = z->serial;
	c->removed = difference(before, z);
	c->added = difference(z, before);
	c->soa_before = soa_of(before);
	c->soa_after = soa_of(z);
	/* Where nearly all is new, nobody is helped by the old: a whole transfer is shorter. */
	if (ldns_rr_list_rr_count(c->removed) + ldns_rr_list_rr_count(c->added) >
	    2 * z->count + 100) {
		dns_change_unref(c);
		return;
	}
	if (kept == DNS_CHANGES_KEPT)
		first = 1;
	for (size_t i = first; i < kept; i++) {
		__atomic_add_fetch(&before->changes[i]->refs, 1, __ATOMIC_RELAXED);
		z->changes[z->change_count++] = before->changes[i];
	}
	z->changes[z->change_count++] = c;
}
