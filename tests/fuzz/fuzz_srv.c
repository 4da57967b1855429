/* An answer of a name server: services with sound names and ports, or none. */
#include "io/resolve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct resolve_service services[4];
	uint32_t ttl;
	int count = resolve_parse_services(bytes_of(data, size), services, 4, &ttl);

	BUG_IF(count > 4);
	for (int i = 0; i < count; i++)
		BUG_IF(services[i].port == 0 || !*services[i].host ||
		       memchr(services[i].host, 0, sizeof(services[i].host)) == NULL);
	return 0;
}
