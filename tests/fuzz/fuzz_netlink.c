/* Datagrams of routing netlink, one after the other with the same memory of links: each has its length in front. */
#include "io/host_watch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct host_links links = { 0 };
	struct bytes rest = bytes_of(data, size);
	_Alignas(8) uint8_t datagram[256];

	while (rest.len) {
		struct bytes part = bytes_first(bytes_from(rest, 1), rest.ptr[0]);
		if (part.len)
			memcpy(datagram, part.ptr, part.len);
		BUG_IF(host_parse_netlink(&links, bytes_of(datagram, part.len)) &
		       ~(NETWORK_GAINED | NETWORK_LOST));
		rest = bytes_from(rest, 1 + part.len);
	}
	host_links_done(&links);
	return 0;
}
