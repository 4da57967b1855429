/* Records as they go over the wire, made once when a zone is built, so that an answer is put together by copying.
 *
 * What stands for the owner is left out: an answer knows where its message has the name already. Names of the zone in
 * records whose names may be compressed (RFC 3597 §4) end in a pointer to the zone's own name, which is in every
 * message; where that is, is written into the copies.
 */
#pragma once

#include <ldns/ldns.h>

struct dns_image {
	uint8_t *bytes; /* owned: from type to data, one record after the other */
	size_t len;
	size_t *ends; /* owned: of each record in `bytes` */
	size_t count;
	size_t *pointers; /* owned: where in `bytes` the two bytes are; ascending */
	size_t pointer_count;
};

/* NULL or empty list: nothing. */
void dns_image_make(struct dns_image *image, const ldns_rr_list *records, const ldns_rdf *apex);
void dns_image_done(struct dns_image *image);

/* The name that stands before each record: labels, and then a pointer. */
struct dns_owner {
	const uint8_t *labels; /* borrowed; NULL: none */
	size_t len;
	uint16_t pointer; /* where in the message the name goes on */
};

static inline size_t dns_image_size(const struct dns_image *image, const struct dns_owner *owner)
{
	return image->len + image->count * (owner->len + 2);
}

/* Writes dns_image_size() bytes; `apex_at`: where in the message the zone's name is. */
void dns_image_write(const struct dns_image *image, const struct dns_owner *owner, uint16_t apex_at,
		     uint8_t *to);
