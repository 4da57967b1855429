/* Read as a connection is read, never more than what is said to be missing: the header ends where the whole does. */
#include "edge/listen/proxy_header.h"

#include <string.h>

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header h, again;
	size_t len = 0, missing;
	int rc;

	while ((rc = proxy_header_parse(bytes_of(data, len), &h, &missing, NULL)) == E_AGAIN) {
		BUG_IF(missing == 0 || len + missing > PROXY_HEADER_MAX);
		if (missing > size - len)
			return 0;
		len += missing;
	}
	BUG_IF(rc < 0 && h.has_visitor);
	if (rc < 0)
		return 0;
	BUG_IF(h.has_visitor && h.visitor.any.sa_family != AF_INET &&
	       h.visitor.any.sa_family != AF_INET6);
	/* In one piece it is the same, and a byte more is too much. */
	BUG_IF(proxy_header_parse(bytes_of(data, len), &again, &missing, NULL) != 0);
	BUG_IF(memcmp(&h, &again, sizeof(h)) != 0);
	BUG_IF(len < size &&
	       proxy_header_parse(bytes_of(data, len + 1), &again, &missing, NULL) != E_INVALID);
	return 0;
}
