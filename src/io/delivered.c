/* A file of its own: linux/tcp.h knows newer fields than netinet/tcp.h, and the two do not go together. */
#include "io/delivered.h"

#include <linux/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

#ifndef IPPROTO_TCP
#define IPPROTO_TCP 6
#endif

bool delivered_bytes(int fd, uint64_t *ret)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
	    len < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked))
		return false;
	*ret = info.tcpi_bytes_acked;
	return true;
}
