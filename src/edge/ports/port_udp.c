#include "edge/ports/port_udp.h"
struct port_udp *port_udp_new(struct worker *w, struct port *port, int fd)
{
	(void)w;
	(void)port;
	(void)fd;
	return 0;
}
struct port_udp *port_udp_free(struct port_udp *u)
{
	(void)u;
	return 0;
}
