/* What an identity provider said of somebody, as it is kept: an identity, or a reason. */
#include "base/check.h"
#include "edge/access/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	struct access_identity *i =
		access_identity_new("session", "person", bytes_of(data, size), 1, 2, &err);

	BUG_IF(!i && !err.text[0]);
	if (i) {
		BUG_IF(!i->facts.has_identity || i->facts.email.len > size);
		for (size_t k = 0; k < i->facts.membership_count; k++)
			BUG_IF(i->facts.memberships[k].team.len > size);
		for (size_t k = 0; k < i->facts.group_count; k++)
			BUG_IF(i->facts.groups[k].len > size);
	}
	access_identity_unref(i);
	return 0;
}
