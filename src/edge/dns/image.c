#include "edge/dns/image.h"

#include <string.h>

#include "base/mem.h"

/* Type, class, TTL and length. */
#define FIXED_BYTES 10
#define POINTER_BITS 0xc000

static void put16(uint8_t *to, size_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

/* RFC 3597 §4 and RFC 4034: only those of RFC 1035. */
static bool may_compress(ldns_rr_type type)
{
	return type == LDNS_RR_TYPE_NS || type == LDNS_RR_TYPE_CNAME || type == LDNS_RR_TYPE_SOA ||
	       type == LDNS_RR_TYPE_MX;
}

static bool is_in(const ldns_rdf *name, const ldns_rdf *apex)
{
	return ldns_rdf_get_type(name) == LDNS_RDF_TYPE_DNAME &&
	       (ldns_dname_compare(name, apex) == 0 || ldns_dname_is_subdomain(name, apex));
}

static void add_record(struct dns_image *image, const ldns_rr *rr, const ldns_rdf *apex)
{
	bool compresses = may_compress(ldns_rr_get_type(rr));
	uint8_t *start = image->bytes + image->len, *at = start + FIXED_BYTES;
	uint32_t ttl = ldns_rr_ttl(rr);

	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
		const ldns_rdf *rdf = ldns_rr_rdf(rr, i);
		size_t len = ldns_rdf_size(rdf);
		bool is_short = compresses && is_in(rdf, apex);
		if (is_short)
			len -= ldns_rdf_size(apex);
		memcpy(at, ldns_rdf_data(rdf), len);
		at += len;
		if (is_short) {
			image->pointers[image->pointer_count++] = (size_t)(at - image->bytes);
			at += 2;
		}
	}
	put16(start, ldns_rr_get_type(rr));
	put16(start + 2, ldns_rr_get_class(rr));
	put16(start + 4, ttl >> 16);
	put16(start + 6, ttl);
	put16(start + 8, (size_t)(at - start) - FIXED_BYTES);
	image->len = (size_t)(at - image->bytes);
	image->ends[image->count++] = image->len;
}

void dns_image_make(struct dns_image *image, const ldns_rr_list *records, const ldns_rdf *apex)
{
	size_t count = records ? ldns_rr_list_rr_count(records) : 0, size = 0, names = 0;

	*image = (struct dns_image){ 0 };
	if (count == 0)
		return;
	for (size_t i = 0; i < count; i++) {
		const ldns_rr *rr = ldns_rr_list_rr(records, i);
		size += ldns_rr_uncompressed_size(rr) + 2 * ldns_rr_rd_count(rr);
		names += ldns_rr_rd_count(rr);
	}
	image->bytes = mem_alloc(size);
	image->ends = mem_alloc_array(count, sizeof(image->ends[0]));
	image->pointers = mem_alloc_array(names + 1, sizeof(image->pointers[0]));
	for (size_t i = 0; i < count; i++)
		add_record(image, ldns_rr_list_rr(records, i), apex);
	image->bytes = mem_resize(image->bytes, image->len);
	image->pointers = mem_resize(image->pointers,
				     (image->pointer_count + 1) * sizeof(image->pointers[0]));
}

void dns_image_done(struct dns_image *image)
{
	mem_free(image->bytes);
	mem_free(image->ends);
	mem_free(image->pointers);
	*image = (struct dns_image){ 0 };
}

void dns_image_write(const struct dns_image *image, const struct dns_owner *owner, uint16_t apex_at,
		     uint8_t *to)
{
	size_t from = 0, pointer = 0;

	for (size_t i = 0; i < image->count; i++) {
		size_t end = image->ends[i];
		if (owner->len)
			memcpy(to, owner->labels, owner->len);
		put16(to + owner->len, POINTER_BITS | owner->pointer);
		to += owner->len + 2;
		memcpy(to, image->bytes + from, end - from);
		for (; pointer < image->pointer_count && image->pointers[pointer] < end; pointer++)
			put16(to + image->pointers[pointer] - from, POINTER_BITS | apex_at);
		to += end - from;
		from = end;
	}
}
