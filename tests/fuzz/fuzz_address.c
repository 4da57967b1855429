/* What is taken for an address has one text, which is the same address. */
#include <string.h>

#include "base/check.h"
#include "io/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = bytes_of(data, size), host;
	char shown[ADDRESS_TEXT_SIZE], again_shown[ADDRESS_TEXT_SIZE];
	struct address a, again;
	uint16_t port;

	(void)address_split(text, &host, &port, NULL);
	if (address_parse(text, &a, NULL) < 0)
		return 0;
	address_text(&a, shown);
	BUG_IF(address_parse(bytes_str(shown), &again, NULL) < 0);
	BUG_IF(strcmp(shown, address_text(&again, again_shown)) != 0);
	/* IPv4 in IPv6's clothes is shown as what it is. */
	BUG_IF(a.any.sa_family == AF_INET6 && again.any.sa_family == AF_INET6 &&
	       a.v6.sin6_scope_id != again.v6.sin6_scope_id);
	return 0;
}
